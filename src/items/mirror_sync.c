#include "items/mirror_inner.h"

#include "base/log.h"

/* ---- shadows ---- */

void tt_shadow_set(tt_shadow *row, const uint8_t *keys)
{
    bool uniform = row->count == 0 || memcmp(keys, keys + 1, row->count - 1) == 0;
    row->known = true;
    if (!uniform && !row->keys)
        row->keys = tt_malloc(row->count);
    if (!uniform && row->keys) {
        memcpy(row->keys, keys, row->count);
        return;
    }
    row->known = uniform; /* or out of memory: it will be asked for when it matters */
    row->uniform = keys[0];
    free(row->keys);
    row->keys = NULL;
}

static void get_shadow(const tt_shadow *row, uint8_t *ret_keys)
{
    if (row->keys)
        memcpy(ret_keys, row->keys, row->count);
    else
        memset(ret_keys, row->uniform, row->count);
}

void tt_mirrored_free(tt_mirrored *mj)
{
    for (size_t i = 0; i < mj->rows.len; i++)
        free(mj->rows.ptr[i].keys);
    tt_vec_deinit(&mj->rows);
    free(mj->record.value);
    free(mj->token.value);
    free(mj->name);
    free(mj->definition);
    free(mj);
}

bool tt_mirrored_extend(tt_mirrored *mj, const tt_blocks *blocks)
{
    if (!tt_vec_reserve(&mj->rows, blocks->rows.len - mj->rows.len))
        return false;
    while (mj->rows.len < blocks->rows.len) {
        const tt_block *block = &blocks->rows.ptr[mj->rows.len].block;
        mj->rows.ptr[mj->rows.len++] = (tt_shadow){.first_id = block->first_id, .count = block->count};
    }
    return true;
}

/* ---- a moment ---- */

static void take_row(tt_mirrored *mj, const tt_job *j, uint32_t number, tt_moment *moment)
{
    const tt_dir_block *row = &j->blocks.rows.ptr[number];
    uint8_t *want = moment->want[moment->count];
    moment->is_seen[moment->count] = false;
    moment->numbers[moment->count++] = number;
    if (!row->states)
        memset(want, tt_key_of_state(row->uniform, mj->is_reading), row->block.count);
    for (uint32_t i = 0, copies = tt_blocks_copies(&j->blocks); row->states && i < row->block.count; i++)
        want[i] = copies == 1 ? tt_key_of_state(row->states[i], mj->is_reading) : tt_key_of_slots(&j->blocks, (tt_item_ref){number, i * copies});
}

/* What the group under way has changed is not committed. Its rows come again when it is. */
static void take_back_group(tt_mirrored *mj, const tt_job *j, tt_moment *moment)
{
    size_t slot = 0;
    if (tt_blocks_copies(&j->blocks) > 1) /* leases tell */
        return;
    for (size_t i = j->undo.len; i > 0 && moment->count; i--) {
        const tt_undo *u = &j->undo.ptr[i - 1];
        if (moment->numbers[slot] != u->at.row)
            for (slot = 0; slot < moment->count - 1 && moment->numbers[slot] != u->at.row; slot++)
                continue;
        if (moment->numbers[slot] == u->at.row)
            moment->want[slot][u->at.index] = tt_key_of_state(u->old, mj->is_reading);
    }
}

static bool begin(tt_mirrored *mj, tt_job *j, tt_moment *moment)
{
    moment->count = 0;
    moment->more = false;
    moment->is_complete = tt_job_is_complete(j);
    memcpy(moment->token_hash, j->def.token_hash, sizeof moment->token_hash);
    return j->life != TT_JOB_GONE && tt_mirrored_extend(mj, &j->blocks);
}

bool tt_mirror_take_touched(tt_mirrored *mj, tt_job *j, tt_moment *moment)
{
    pthread_mutex_lock(&j->lock);
    bool ok = begin(mj, j, moment);
    while (ok && j->blocks.touched.len && moment->count < TT_MIRROR_ROWS) {
        uint32_t number = tt_vec_pop(&j->blocks.touched);
        j->blocks.rows.ptr[number].touched = false;
        take_row(mj, j, number, moment);
    }
    take_back_group(mj, j, moment);
    moment->more = j->blocks.touched.len > 0;
    pthread_mutex_unlock(&j->lock);
    return ok;
}

bool tt_mirror_take_rows(tt_mirrored *mj, tt_job *j, size_t from, size_t to, tt_moment *moment)
{
    pthread_mutex_lock(&j->lock);
    bool ok = begin(mj, j, moment);
    for (size_t row = from; ok && row < to && row < j->blocks.rows.len && moment->count < TT_MIRROR_ROWS; row++)
        take_row(mj, j, (uint32_t)row, moment);
    take_back_group(mj, j, moment);
    pthread_mutex_unlock(&j->lock);
    return ok;
}

/* What was taken could not be shown: it is asked for again. */
static void touch_again(tt_mirrored *mj, tt_job *j, const tt_moment *moment)
{
    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < moment->count; i++) {
        mj->rows.ptr[moment->numbers[i]].known = false;
        tt_blocks_touch(&j->blocks, moment->numbers[i]);
    }
    pthread_mutex_unlock(&j->lock);
}

/* ---- looking ---- */

static void ask_row(tt_mirrored *mj, const tt_shadow *row)
{
    tt_redis_begin(mj->m->redis, row->count + 1);
    tt_redis_arg(mj->m->redis, TT_STR("MGET"));
    for (uint32_t i = 0; i < row->count; i++)
        tt_redis_arg(mj->m->redis, tt_mirror_item_key(mj->m, mj->name, row->first_id + i));
}

static tt_rc read_row(tt_mirrored *mj, const tt_shadow *row, uint8_t *ret_seen, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    TT_TRY(tt_redis_next(mj->m->redis, &reply, err));
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != row->count)
        return tt_fail(err, TT_CORRUPT, "%s answers MGET with something else: is it a Redis?", tt_redis_shown(mj->m->redis));
    for (size_t i = 0; i < reply->elements; i++)
        ret_seen[i] = reply->element[i]->type == REDIS_REPLY_NIL ? TT_KEY_ABSENT : tt_key_of_text(tt_reply_str(reply->element[i]));
    return TT_OK;
}

static tt_rc look(tt_mirrored *mj, tt_moment *moment, bool check, tt_err *err)
{
    for (size_t i = 0; i < moment->count; i++) {
        const tt_shadow *row = &mj->rows.ptr[moment->numbers[i]];
        moment->is_seen[i] = check || !row->known;
        if (moment->is_seen[i])
            ask_row(mj, row);
    }
    for (size_t i = 0; i < moment->count; i++)
        if (moment->is_seen[i])
            TT_TRY(read_row(mj, &mj->rows.ptr[moment->numbers[i]], moment->seen[i], err));
    return TT_OK;
}

static bool find_deletions(const tt_mirrored *mj, const tt_moment *moment, tt_deletions *ret)
{
    uint8_t had[TT_BLOCK_ITEMS];
    for (size_t i = 0; i < moment->count; i++) {
        const tt_shadow *row = &mj->rows.ptr[moment->numbers[i]];
        if (!row->known || !moment->is_seen[i])
            continue;
        get_shadow(row, had);
        for (uint32_t k = 0; k < row->count; k++)
            if (had[k] != TT_KEY_ABSENT && moment->seen[i][k] == TT_KEY_ABSENT && !tt_vec_push(ret, ((tt_deletion){row->first_id + k, had[k]})))
                return false;
    }
    return true;
}

/* What the rows say now is asked for anew: the items have changed. */
static tt_rc honour(tt_mirrored *mj, tt_job *j, tt_moment *moment, const tt_deletions *deletions, tt_err *err)
{
    bool may_trust = false;
    TT_TRY(tt_mirror_may_trust(mj->m, &may_trust, err));
    if (!may_trust)
        return TT_OK; /* it is written again */
    TT_TRY(tt_mirror_honour(mj, j, deletions, err));
    pthread_mutex_lock(&j->lock);
    size_t count = moment->count;
    moment->count = 0;
    for (size_t i = 0; i < count; i++)
        take_row(mj, j, moment->numbers[i], moment);
    take_back_group(mj, j, moment);
    pthread_mutex_unlock(&j->lock);
    return TT_OK;
}

static tt_rc look_and_honour(tt_mirrored *mj, tt_job *j, tt_moment *moment, bool check, tt_err *err)
{
    tt_deletions deletions = {0};
    moment->fillings = mj->m->fillings;
    tt_rc rc = look(mj, moment, check, err);
    if (rc == TT_OK && check && !find_deletions(mj, moment, &deletions))
        rc = tt_fail(err, TT_NOMEM, "out of memory for the keys of job `%s`", mj->name);
    for (size_t i = 0; rc == TT_OK && i < moment->count; i++)
        if (moment->is_seen[i])
            tt_shadow_set(&mj->rows.ptr[moment->numbers[i]], moment->seen[i]);
    if (rc == TT_OK && deletions.len)
        rc = honour(mj, j, moment, &deletions, err);
    tt_vec_deinit(&deletions);
    return rc;
}

/* ---- writing ---- */

/* Commands of many keys, as they fill up. */
typedef struct {
    tt_mirrored *mj;
    struct { uint64_t id; uint8_t key; } set[TT_MIRROR_PAIRS];
    uint64_t unset[TT_MIRROR_PAIRS];
    size_t set_count, unset_count;
    size_t commands;
    uint64_t keys;
} batch;

static void put_set(batch *b)
{
    tt_mirror *m = b->mj->m;
    if (b->set_count == 0)
        return;
    tt_redis_begin(m->redis, 1 + 2 * b->set_count);
    tt_redis_arg(m->redis, TT_STR("MSET"));
    for (size_t i = 0; i < b->set_count; i++) {
        tt_redis_arg(m->redis, tt_mirror_item_key(m, b->mj->name, b->set[i].id));
        tt_redis_arg(m->redis, tt_key_text(b->set[i].key));
    }
    b->keys += b->set_count;
    b->set_count = 0;
    b->commands++;
}

static void put_unset(batch *b)
{
    tt_mirror *m = b->mj->m;
    if (b->unset_count == 0)
        return;
    tt_redis_begin(m->redis, 1 + b->unset_count);
    tt_redis_arg(m->redis, TT_STR("UNLINK"));
    for (size_t i = 0; i < b->unset_count; i++)
        tt_redis_arg(m->redis, tt_mirror_item_key(m, b->mj->name, b->unset[i]));
    b->keys += b->unset_count;
    b->unset_count = 0;
    b->commands++;
}

static void put_key(batch *b, uint64_t id, uint8_t key)
{
    if (key == TT_KEY_ABSENT) {
        b->unset[b->unset_count++] = id;
        if (b->unset_count == TT_MIRROR_PAIRS)
            put_unset(b);
        return;
    }
    b->set[b->set_count].id = id;
    b->set[b->set_count++].key = key;
    if (b->set_count == TT_MIRROR_PAIRS)
        put_set(b);
}

static void put_row(batch *b, const tt_shadow *row, const uint8_t *want)
{
    uint8_t have[TT_BLOCK_ITEMS];
    get_shadow(row, have);
    if (memcmp(have, want, row->count) == 0)
        return;
    for (uint32_t i = 0; i < row->count; i++)
        if (have[i] != want[i])
            put_key(b, row->first_id + i, want[i]);
}

static bool is_same(const tt_shadow_text *have, const char *want)
{
    return have->known && (have->value && want ? strcmp(have->value, want) == 0 : have->value == want);
}

static void put_text(batch *b, const char *prefix, const char *want)
{
    tt_mirror *m = b->mj->m;
    tt_redis_begin(m->redis, want ? 3 : 2);
    tt_redis_arg(m->redis, want ? TT_STR("SET") : TT_STR("UNLINK"));
    tt_redis_arg(m->redis, tt_mirror_name_key(m, prefix, b->mj->name));
    if (want)
        tt_redis_arg(m->redis, tt_str_of(want));
    b->commands++;
    b->keys++;
}

static void put_membership(batch *b, const char *command)
{
    tt_mirror *m = b->mj->m;
    tt_redis_begin(m->redis, 3);
    tt_redis_arg(m->redis, tt_str_of(command));
    tt_redis_arg(m->redis, tt_mirror_name_key(m, "tutti:jobs:", m->id));
    tt_redis_arg(m->redis, tt_str_of(b->mj->name));
    b->commands++;
}

static void set_text(tt_shadow_text *have, const char *value)
{
    char *copy = tt_dup_cstr(value);
    free(have->value);
    *have = (tt_shadow_text){true, copy};
}

static const char *token_text(const tt_moment *moment, char out[sizeof TT_MIRROR_HASH_PREFIX + 64])
{
    if (!moment->token_hash[0])
        return NULL;
    snprintf(out, sizeof TT_MIRROR_HASH_PREFIX + 64, TT_MIRROR_HASH_PREFIX "%s", moment->token_hash);
    return out;
}

void tt_mirror_assume_texts(tt_mirrored *mj, const tt_moment *moment)
{
    char text[sizeof TT_MIRROR_HASH_PREFIX + 64];
    set_text(&mj->record, moment->is_complete ? "COMPLETE" : mj->definition);
    set_text(&mj->token, token_text(moment, text));
    mj->is_complete = moment->is_complete;
}

static void put_texts(batch *b, const tt_moment *moment, const char *record, const char *token)
{
    if (!is_same(&b->mj->record, record)) {
        put_membership(b, "SADD");
        put_text(b, "JOB:", record);
    }
    if (!is_same(&b->mj->token, token))
        put_text(b, "TOKEN:", token);
}

static bool is_forgotten(tt_mirrored *mj)
{
    pthread_mutex_lock(&mj->m->lock);
    bool forgotten = mj->is_forgotten;
    pthread_mutex_unlock(&mj->m->lock);
    return forgotten;
}

static tt_rc write_moment(tt_mirrored *mj, const tt_moment *moment, tt_err *err)
{
    char text[sizeof TT_MIRROR_HASH_PREFIX + 64];
    const char *token = token_text(moment, text), *record = is_forgotten(mj) ? NULL : moment->is_complete ? "COMPLETE" : mj->definition;
    batch b = {.mj = mj};
    for (size_t i = 0; i < moment->count; i++)
        put_row(&b, &mj->rows.ptr[moment->numbers[i]], moment->want[i]);
    put_set(&b);
    put_unset(&b);
    put_texts(&b, moment, record, token);
    TT_TRY(tt_redis_skip(mj->m->redis, b.commands, err));
    for (size_t i = 0; i < moment->count; i++)
        tt_shadow_set(&mj->rows.ptr[moment->numbers[i]], moment->want[i]);
    set_text(&mj->record, record);
    set_text(&mj->token, token);
    mj->is_complete = moment->is_complete;
    pthread_mutex_lock(&mj->m->lock);
    mj->m->status.keys_written += b.keys;
    pthread_mutex_unlock(&mj->m->lock);
    return TT_OK;
}

/* It may have been found in Redis just now. */
static void take_token_hash(tt_job *j, tt_moment *moment)
{
    pthread_mutex_lock(&j->lock);
    memcpy(moment->token_hash, j->def.token_hash, sizeof moment->token_hash);
    pthread_mutex_unlock(&j->lock);
}

tt_rc tt_mirror_sync(tt_mirrored *mj, tt_job *j, tt_moment *moment, bool check, tt_err *err)
{
    tt_rc rc = mj->token.known ? TT_OK : tt_mirror_check_texts(mj, j, err); /* one that somebody has put there */
    if (rc == TT_OK)
        rc = look_and_honour(mj, j, moment, check, err);
    bool is_lost = moment->fillings != mj->m->fillings;
    if (rc == TT_OK && !is_lost) {
        take_token_hash(j, moment);
        rc = write_moment(mj, moment, err);
    }
    if (rc != TT_OK || is_lost) {
        touch_again(mj, j, moment);
        mj->record.known = mj->token.known = false;
    }
    return rc;
}

/* ---- the job's own keys ---- */

static void see_text(tt_shadow_text *have, tt_str seen)
{
    free(have->value);
    *have = (tt_shadow_text){true, seen.ptr ? tt_str_dup(seen) : NULL};
}

static tt_rc see_record(tt_mirrored *mj, tt_str seen, tt_err *err)
{
    bool may_trust = false, is_deleted = mj->record.known && mj->record.value && !seen.ptr;
    if (is_deleted)
        TT_TRY(tt_mirror_may_trust(mj->m, &may_trust, err));
    if (may_trust) {
        pthread_mutex_lock(&mj->m->lock);
        mj->is_forgotten = true;
        pthread_mutex_unlock(&mj->m->lock);
    }
    see_text(&mj->record, seen);
    return TT_OK;
}

static tt_rc take_token(tt_mirrored *mj, tt_job *j, tt_str plain, tt_err *err)
{
    char hash[65];
    tt_log_mask(plain);
    mj->m->items->options.token_hash(plain, hash);
    TT_TRY(tt_mirror_set_token(j, hash, err));
    return TT_OK;
}

static tt_rc see_token(tt_mirrored *mj, tt_job *j, tt_str seen, tt_err *err)
{
    bool may_trust = false, is_deleted = mj->token.known && mj->token.value && !seen.ptr;
    if (is_deleted)
        TT_TRY(tt_mirror_may_trust(mj->m, &may_trust, err));
    if (may_trust)
        TT_TRY(tt_mirror_set_token(j, "", err));
    if (seen.len && !tt_str_starts(seen, TT_STR(TT_MIRROR_HASH_PREFIX)))
        TT_TRY(take_token(mj, j, seen, err));
    see_text(&mj->token, seen);
    return TT_OK;
}

tt_rc tt_mirror_check_texts(tt_mirrored *mj, tt_job *j, tt_err *err)
{
    static const char *const prefixes[] = {"JOB:", "TOKEN:"};
    tt_mirror *m = mj->m;
    TT_REPLY_AUTO tt_reply *record = NULL;
    TT_REPLY_AUTO tt_reply *token = NULL;
    for (size_t i = 0; i < TT_COUNT(prefixes); i++) {
        tt_redis_begin(m->redis, 2);
        tt_redis_arg(m->redis, TT_STR("GET"));
        tt_redis_arg(m->redis, tt_mirror_name_key(m, prefixes[i], mj->name));
    }
    tt_rc rc = tt_redis_next(m->redis, &record, err), second = tt_redis_next(m->redis, &token, rc == TT_OK ? err : NULL);
    if (rc != TT_OK || second != TT_OK)
        return rc != TT_OK ? rc : second;
    uint64_t fillings = m->fillings;
    TT_TRY(see_record(mj, tt_reply_str(record), err));
    TT_TRY(see_token(mj, j, tt_reply_str(token), err));
    if (m->fillings != fillings) /* what was read may be lost by now */
        mj->record.known = mj->token.known = false;
    return TT_OK;
}

/* ---- the end of a job ---- */

tt_rc tt_mirror_bury(tt_mirrored *mj, tt_err *err)
{
    uint8_t have[TT_BLOCK_ITEMS];
    batch b = {.mj = mj};
    for (size_t i = 0; i < mj->rows.len; i++) {
        const tt_shadow *row = &mj->rows.ptr[i];
        get_shadow(row, have);
        for (uint32_t k = 0; k < row->count; k++)
            if (!row->known || have[k] != TT_KEY_ABSENT)
                put_key(&b, row->first_id + k, TT_KEY_ABSENT);
        if (b.commands >= TT_MIRROR_ROWS) {
            TT_TRY(tt_redis_skip(mj->m->redis, b.commands, err));
            b.commands = 0;
        }
    }
    put_unset(&b);
    put_text(&b, "JOB:", NULL);
    put_text(&b, "TOKEN:", NULL);
    put_membership(&b, "SREM");
    return tt_redis_skip(mj->m->redis, b.commands, err);
}
