#include "items/mirror_inner.h"

#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "ledger/records.h"

/* ---- what is kept between two starts ---- */

static void make_name(char *out, size_t bytes)
{
    uint8_t random[16];
    tt_assert(bytes <= sizeof random && getrandom(random, bytes, 0) == (ssize_t)bytes);
    for (size_t i = 0; i < bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", random[i]);
}

static void take_member(const json_t *root, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(root, name));
    snprintf(out, size, "%s", text ? text : "");
}

tt_rc tt_mirror_load_state(tt_mirror *m, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_rc rc = tt_record_get(m->items->env.ledger, TT_STR("mirror"), TT_STR("redis"), &text, NULL, err);
    if (rc == TT_OK) {
        json_t *root = json_loadb(text.ptr, text.len, 0, NULL);
        char shown[sizeof m->status.shown];
        take_member(root, "id", m->id, sizeof m->id);
        take_member(root, "epoch", m->epoch, sizeof m->epoch);
        take_member(root, "run_id", m->run_id, sizeof m->run_id);
        take_member(root, "redis", shown, sizeof shown);
        m->was_complete = json_is_true(json_object_get(root, "complete")) && strcmp(shown, tt_redis_shown(m->redis)) == 0;
        json_decref(root);
    } else if (rc != TT_NOT_FOUND) {
        return rc;
    }
    if (!m->id[0])
        make_name(m->id, 8);
    return TT_OK;
}

typedef struct {
    tt_mirror *m;
    bool is_complete;
} state_to_store;

static tt_rc put_state(void *arg, tt_txn *txn, tt_err *err)
{
    const state_to_store *s = arg;
    TT_BUF_AUTO tt_buf text = {0};
    tt_buf_printf(&text, "{\"schema\":1,\"id\":\"%s\",\"epoch\":\"%s\",\"run_id\":\"%s\",\"complete\":%s,\"redis\":", s->m->id, s->m->epoch, s->m->run_id,
                  s->is_complete ? "true" : "false");
    tt_buf_json_str(&text, tt_str_of(tt_redis_shown(s->m->redis)));
    tt_buf_char(&text, '}');
    TT_TRY(tt_buf_check(&text, err));
    return tt_record_put(txn, TT_STR("mirror"), TT_STR("redis"), TT_ANY_VERSION, tt_buf_view(&text), NULL, err);
}

tt_rc tt_mirror_store_state(tt_mirror *m, bool is_complete, tt_err *err)
{
    return tt_ledger_run(m->items->env.ledger, put_state, &(state_to_store){m, is_complete}, err);
}

/* ---- who is there ---- */

typedef struct {
    char run_id[48], version[24], eviction[24];
    bool is_appending, may_evict, is_replica;
    bool has_epoch; /* ours */
} who;

static void copy_field(tt_str info, const char *name, char *out, size_t size)
{
    snprintf(out, size, "%.*s", TT_STR_ARG(tt_redis_info_field(info, name)));
}

static void read_info(tt_str info, who *ret)
{
    copy_field(info, "run_id", ret->run_id, sizeof ret->run_id);
    copy_field(info, "redis_version", ret->version, sizeof ret->version);
    copy_field(info, "maxmemory_policy", ret->eviction, sizeof ret->eviction);
    ret->is_appending = tt_str_is(tt_redis_info_field(info, "aof_enabled"), "1");
    ret->is_replica = tt_str_is(tt_redis_info_field(info, "role"), "slave");
    ret->may_evict = !tt_str_is(tt_redis_info_field(info, "maxmemory"), "0") && strncmp(ret->eviction, "allkeys", 7) == 0;
}

/* The epoch's key is asked for last: when it is there, nothing that was read before was lost with it. */
static tt_rc ask_who(tt_mirror *m, who *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *info = NULL;
    TT_REPLY_AUTO tt_reply *epoch = NULL;
    *ret = (who){0};
    TT_TRY(tt_redis_call(m->redis, &info, err, TT_STR("INFO")));
    read_info(tt_reply_str(info), ret);
    if (!ret->run_id[0])
        return tt_fail(err, TT_CORRUPT, "%s does not say who it is (INFO): is it a Redis?", tt_redis_shown(m->redis));
    TT_TRY(tt_redis_call(m->redis, &epoch, err, TT_STR("GET"), tt_mirror_name_key(m, "tutti:epoch:", m->id)));
    m->asked_at_ms = tt_mono_ms();
    ret->has_epoch = m->epoch[0] && tt_str_is(tt_reply_str(epoch), m->epoch);
    return TT_OK;
}

static void show_who(tt_mirror *m, const who *w)
{
    pthread_mutex_lock(&m->lock);
    tt_mirror_status *s = &m->status;
    s->is_appending = w->is_appending;
    snprintf(s->version, sizeof s->version, "%s", w->version);
    snprintf(s->eviction, sizeof s->eviction, "%s", w->eviction);
    snprintf(s->warning, sizeof s->warning, "%s",
             w->may_evict ? "this Redis evicts keys when its memory is full: deletions are not honoured, what is missing is written again"
             : !w->is_appending ? "appendonly is off: after a restart Redis may show an older state, until it is filled again" : "");
    pthread_mutex_unlock(&m->lock);
}

/* ---- filling it again ---- */

/* Every job is looked at once. is_lost: nothing of what was known holds any more. */
static void scan_everything(tt_mirror *m, bool is_lost)
{
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->jobs.len; i++) {
        tt_mirrored *mj = m->jobs.ptr[i];
        mj->scan_at = 0;
        mj->scan_end = SIZE_MAX; /* as many as there are by then */
        for (size_t row = 0; is_lost && row < mj->rows.len; row++)
            mj->rows.ptr[row].known = false;
        if (is_lost)
            mj->record.known = mj->token.known = false;
    }
    m->is_scanning = true;
    m->is_refilling |= is_lost;
    m->status.refills += is_lost;
    m->status.stale |= is_lost;
    pthread_mutex_unlock(&m->lock);
}

static tt_rc fill_again(tt_mirror *m, const who *w, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    m->fillings++;
    scan_everything(m, true);
    make_name(m->epoch, 16);
    snprintf(m->run_id, sizeof m->run_id, "%s", w->run_id);
    m->has_orphans = true;
    TT_TRY(tt_mirror_store_state(m, false, err));
    return tt_redis_call(m->redis, &reply, err, TT_STR("SET"), tt_mirror_name_key(m, "tutti:epoch:", m->id), tt_str_of(m->epoch));
}

static bool is_as_left(const tt_mirror *m, const who *w)
{
    return w->has_epoch && strcmp(w->run_id, m->run_id) == 0;
}

tt_rc tt_mirror_greet(tt_mirror *m, tt_err *err)
{
    who w;
    TT_TRY(ask_who(m, &w, err));
    if (w.is_replica)
        return tt_fail(err, TT_CONFLICT, "%s is a replica, which takes no changes: name its master", tt_redis_shown(m->redis));
    show_who(m, &w);
    bool as_left = is_as_left(m, &w) && (!m->is_first || m->was_complete);
    if (!as_left)
        TT_TRY(fill_again(m, &w, err));
    else if (m->is_first)
        scan_everything(m, false);
    m->is_first = false;
    return TT_OK;
}

tt_rc tt_mirror_may_trust(tt_mirror *m, bool *ret, tt_err *err)
{
    who w;
    TT_TRY(ask_who(m, &w, err));
    show_who(m, &w);
    bool as_left = is_as_left(m, &w);
    *ret = as_left && !w.may_evict;
    return as_left ? TT_OK : fill_again(m, &w, err);
}

/* ---- what people deleted ---- */

typedef struct {
    tt_mirrored *mj;
    tt_job *j;
    const tt_deletions *deletions;
    uint64_t honoured;
} unserving;

/* True: it is open now. */
static bool unserve_slot(tt_job *j, tt_item_ref at)
{
    tt_blocks *blocks = &j->blocks;
    uint8_t byte = tt_blocks_get(blocks, at);
    if (byte == tt_item_unreadable())
        return false;
    if (tt_item_state_of(byte) == TT_ITEM_PENDING) {
        if (tt_item_is_leased(byte))
            tt_item_give_back(j, at, true);
        return true;
    }
    return !tt_blocks_lease(blocks, at) && tt_blocks_set(blocks, at, tt_item_byte(blocks->sparse ? TT_ITEM_HOLE : TT_ITEM_PENDING, false, 0));
}

static void unserve(unserving *u, tt_item_ref first, uint8_t key)
{
    tt_blocks *blocks = &u->j->blocks;
    uint32_t copies = tt_blocks_copies(blocks);
    bool is_open = false;
    tt_item_ref at = first;
    tt_blocks_touch(blocks, at.row);
    uint8_t now = copies == 1 ? tt_key_of_state(tt_blocks_get(blocks, at), u->mj->is_reading) : tt_key_of_slots(blocks, first);
    if (now != key) /* something became of it meanwhile */
        return;
    if (key == TT_KEY_RECEIVED && !u->mj->is_reading && tt_job_may_grow(u->j, NULL) != TT_OK)
        return; /* its key is written again */
    for (uint32_t i = 0; i < copies; i++, at.index++)
        is_open |= unserve_slot(u->j, at);
    if (!is_open)
        return;
    if (!blocks->sparse) /* it may have been marked before anybody saw whether it can be served */
        blocks->rows.ptr[first.row].inspected = false;
    if (key == TT_KEY_ERROR)
        tt_job_note(&u->j->notes, tt_blocks_id(blocks, first), TT_ITEM_PENDING, 0, (tt_str){0}, (tt_str){0});
    u->j->redone += key == TT_KEY_RECEIVED;
    u->j->head_dirty = true;
    u->honoured++;
}

static tt_rc unserve_apply(void *arg, tt_txn *txn, tt_err *err)
{
    unserving *u = arg;
    size_t hint = 0;
    tt_item_ref at;
    tt_txn_enlist(txn, &u->j->part);
    pthread_mutex_lock(&u->j->lock);
    for (size_t i = 0; i < u->deletions->len; i++)
        if (tt_blocks_find(&u->j->blocks, u->deletions->ptr[i].id, false, &hint, &at))
            unserve(u, at, u->deletions->ptr[i].key);
    if (u->honoured)
        tt_job_rebuild_lanes(u->j);
    pthread_mutex_unlock(&u->j->lock);
    return TT_OK;
}

tt_rc tt_mirror_honour(tt_mirrored *mj, tt_job *j, const tt_deletions *deletions, tt_err *err)
{
    unserving u = {.mj = mj, .j = j, .deletions = deletions};
    tt_claim *done = NULL;
    TT_TRY(tt_ledger_run(j->env->ledger, unserve_apply, &u, err));
    pthread_mutex_lock(&j->lock);
    tt_claims_retry(j, &done);
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
    if (u.honoured)
        tt_log_warn("items whose keys were deleted in Redis are handed out again", TT_F_CSTR("job", mj->name), TT_F_INT("items", u.honoured));
    pthread_mutex_lock(&mj->m->lock);
    mj->m->status.deletions_honoured += u.honoured;
    pthread_mutex_unlock(&mj->m->lock);
    return TT_OK;
}

static tt_rc enlist(void *arg, tt_txn *txn, tt_err *err)
{
    tt_txn_enlist(txn, &((tt_job *)arg)->part);
    return TT_OK;
}

tt_rc tt_mirror_set_token(tt_job *j, const char *hash, tt_err *err)
{
    pthread_mutex_lock(&j->lock);
    snprintf(j->def.token_hash, sizeof j->def.token_hash, "%s", hash);
    j->record_dirty = j->head_dirty = true;
    pthread_mutex_unlock(&j->lock);
    tt_log_warn(hash[0] ? "a token found in Redis is the job's now" : "a job is open: its token was deleted in Redis", TT_F_CSTR("job", j->def.name));
    return tt_ledger_run(j->env->ledger, enlist, j, err);
}

/* ---- jobs that went while Redis was away ---- */

static tt_rc find_orphans(tt_mirror *m, tt_map *names, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *members = NULL;
    bool has_room = true;
    TT_TRY(tt_redis_call(m->redis, &members, err, TT_STR("SMEMBERS"), tt_mirror_name_key(m, "tutti:jobs:", m->id)));
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; members->type == REDIS_REPLY_ARRAY && i < members->elements && has_room; i++) {
        tt_str name = tt_reply_str(members->element[i]);
        if (!tt_map_get(&m->by_name, name))
            has_room = tt_map_put(names, name, m, NULL);
    }
    pthread_mutex_unlock(&m->lock);
    return has_room ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for the names of jobs in Redis");
}

static bool is_orphaned(const tt_map *names, tt_str key)
{
    static const char *const prefixes[] = {"JOB:", "TOKEN:"};
    tt_str name;
    uint64_t id;
    for (size_t i = 0; i < TT_COUNT(prefixes); i++)
        if (tt_str_starts(key, tt_str_of(prefixes[i])) && tt_map_get(names, tt_str_slice(key, strlen(prefixes[i]), key.len)))
            return true;
    return tt_item_key_split(key, &name, &id) && tt_map_get(names, name);
}

static tt_rc drop_page(tt_mirror *m, const tt_map *names, const tt_reply *keys, tt_err *err)
{
    size_t count = 0;
    for (size_t i = 0; i < keys->elements; i++) {
        tt_str key = tt_reply_str(keys->element[i]);
        if (!is_orphaned(names, key))
            continue;
        tt_redis_begin(m->redis, 2);
        tt_redis_arg(m->redis, TT_STR("UNLINK"));
        tt_redis_arg(m->redis, key);
        count++;
    }
    return tt_redis_skip(m->redis, count, err);
}

static tt_rc drop_keys_of(tt_mirror *m, const tt_map *names, tt_err *err)
{
    char cursor[24] = "0";
    do {
        TT_REPLY_AUTO tt_reply *page = NULL;
        TT_TRY(tt_redis_call(m->redis, &page, err, TT_STR("SCAN"), tt_str_of(cursor), TT_STR("COUNT"), TT_STR("1000")));
        if (page->type != REDIS_REPLY_ARRAY || page->elements != 2)
            return tt_fail(err, TT_CORRUPT, "%s answers SCAN with something else", tt_redis_shown(m->redis));
        snprintf(cursor, sizeof cursor, "%.*s", TT_STR_ARG(tt_reply_str(page->element[0])));
        TT_TRY(drop_page(m, names, page->element[1], err));
    } while (strcmp(cursor, "0") != 0);
    return TT_OK;
}

static tt_rc forget_names(tt_mirror *m, const tt_map *names, tt_err *err)
{
    tt_str name;
    void *value;
    size_t count = 0;
    for (size_t at = 0; tt_map_next(names, &at, &name, &value); count++) {
        tt_redis_begin(m->redis, 3);
        tt_redis_arg(m->redis, TT_STR("SREM"));
        tt_redis_arg(m->redis, tt_mirror_name_key(m, "tutti:jobs:", m->id));
        tt_redis_arg(m->redis, name);
    }
    return tt_redis_skip(m->redis, count, err);
}

tt_rc tt_mirror_drop_orphans(tt_mirror *m, tt_err *err)
{
    tt_map names = {0};
    tt_rc rc = find_orphans(m, &names, err);
    if (rc == TT_OK && names.len)
        rc = drop_keys_of(m, &names, err);
    if (rc == TT_OK && names.len)
        rc = forget_names(m, &names, err);
    tt_map_deinit(&names);
    m->has_orphans = rc != TT_OK;
    return rc;
}
