/* Taking over what the older service has left in a Redis: definitions, states, tokens; outputs are appended to. Reading goes first and
 * changes nothing; then each job is started with its states, in one commit, or skipped with a reason. Redis itself is not changed here. */
#include "items/adopt.h"

#include <fcntl.h>

#include "base/log.h"
#include "io/fd.h"
#include "items/mirror_inner.h"

typedef struct {
    char *name, *record, *token; /* NULL: there is none */
    tt_adopted states;
} candidate;

typedef struct {
    tt_items *items;
    const tt_adoption *wish;
    tt_redis *redis;
    TT_VEC(candidate *) list;
    tt_map by_name;
} adoption;

static void free_candidate(candidate *c)
{
    free(c->name);
    free(c->record);
    free(c->token);
    tt_vec_deinit(&c->states.items);
    free(c);
}

static void adoption_deinit(adoption *a)
{
    for (size_t i = 0; i < a->list.len; i++)
        free_candidate(a->list.ptr[i]);
    tt_vec_deinit(&a->list);
    tt_map_deinit(&a->by_name);
    tt_redis_free(a->redis);
}

/* ---- reading ---- */

static bool is_wanted(const adoption *a, tt_str name)
{
    for (size_t i = 0; i < a->wish->name_count; i++)
        if (tt_str_eq(name, a->wish->names[i]))
            return true;
    return a->wish->name_count == 0;
}

/* "JOB:name"; a blank after the colon is accepted. Empty: another key. */
static tt_str name_behind(tt_str key, const char *prefix)
{
    if (!tt_str_starts(key, tt_str_of(prefix)))
        return (tt_str){0};
    tt_str name = tt_str_slice(key, strlen(prefix), key.len);
    return name.len && name.ptr[0] == ' ' ? tt_str_slice(name, 1, name.len) : name;
}

typedef tt_rc page_fn(adoption *a, const tt_reply *keys, const tt_reply *values, tt_err *err);

static tt_rc get_values(adoption *a, const tt_reply *keys, tt_reply **ret, tt_err *err)
{
    tt_redis_begin(a->redis, keys->elements + 1);
    tt_redis_arg(a->redis, TT_STR("MGET"));
    for (size_t i = 0; i < keys->elements; i++)
        tt_redis_arg(a->redis, tt_reply_str(keys->element[i]));
    TT_TRY(tt_redis_next(a->redis, ret, err));
    if ((*ret)->type != REDIS_REPLY_ARRAY || (*ret)->elements != keys->elements)
        return tt_fail(err, TT_CORRUPT, "%s answers MGET with something else: is it a Redis?", tt_redis_shown(a->redis));
    return TT_OK;
}

/* Every key that matches, with its value. One may come twice. */
static tt_rc each_page(adoption *a, const char *pattern, page_fn *fn, tt_err *err)
{
    char cursor[24] = "0";
    do {
        TT_REPLY_AUTO tt_reply *page = NULL;
        TT_REPLY_AUTO tt_reply *values = NULL;
        TT_TRY(tt_redis_call(a->redis, &page, err, TT_STR("SCAN"), tt_str_of(cursor), TT_STR("MATCH"), tt_str_of(pattern), TT_STR("COUNT"), TT_STR("1000")));
        if (page->type != REDIS_REPLY_ARRAY || page->elements != 2)
            return tt_fail(err, TT_CORRUPT, "%s answers SCAN with something else: is it a Redis?", tt_redis_shown(a->redis));
        snprintf(cursor, sizeof cursor, "%.*s", TT_STR_ARG(tt_reply_str(page->element[0])));
        if (page->element[1]->elements == 0)
            continue;
        TT_TRY(get_values(a, page->element[1], &values, err));
        TT_TRY(fn(a, page->element[1], values, err));
    } while (strcmp(cursor, "0") != 0);
    return TT_OK;
}

static tt_rc take_records(adoption *a, const tt_reply *keys, const tt_reply *values, tt_err *err)
{
    for (size_t i = 0; i < keys->elements; i++) {
        tt_str name = name_behind(tt_reply_str(keys->element[i]), "JOB:"), value = tt_reply_str(values->element[i]);
        if (name.len == 0 || !value.ptr || !is_wanted(a, name) || tt_map_get(&a->by_name, name))
            continue;
        candidate *c = TT_NEW(candidate);
        *c = (candidate){.name = tt_str_dup(name), .record = tt_str_dup(value)};
        if (!c->name || !c->record || !tt_vec_push(&a->list, c)) {
            free_candidate(c);
            return tt_fail(err, TT_NOMEM, "out of memory for the jobs in Redis");
        }
        if (!tt_map_put(&a->by_name, name, c, NULL))
            return tt_fail(err, TT_NOMEM, "out of memory for the jobs in Redis");
    }
    return TT_OK;
}

static tt_rc take_item(candidate *c, uint64_t id, tt_str value, tt_err *err)
{
    uint8_t key = tt_key_of_text(value);
    if (key != TT_KEY_OTHER && !tt_vec_push(&c->states.items, ((tt_adopted_item){id, key})))
        return tt_fail(err, TT_NOMEM, "out of memory for the items of job `%s`", c->name);
    return TT_OK;
}

static tt_rc take_items(adoption *a, const tt_reply *keys, const tt_reply *values, tt_err *err)
{
    for (size_t i = 0; i < keys->elements; i++) {
        tt_str key = tt_reply_str(keys->element[i]), value = tt_reply_str(values->element[i]), name = name_behind(key, "TOKEN:");
        candidate *c = name.len ? tt_map_get(&a->by_name, name) : NULL;
        uint64_t id;
        if (c && value.ptr) {
            free(c->token);
            c->token = tt_str_dup(value);
        } else if (value.ptr && tt_item_key_split(key, &name, &id) && (c = tt_map_get(&a->by_name, name))) {
            TT_TRY(take_item(c, id, value, err));
        }
    }
    return TT_OK;
}

/* RECEIVED before ERROR before SERVED, should a key be there in both spellings. */
static int by_id_and_weight(const void *left, const void *right)
{
    static const uint8_t weight[] = {[TT_KEY_RECEIVED] = 0, [TT_KEY_ERROR] = 1, [TT_KEY_SERVED] = 2};
    const tt_adopted_item *a = left, *b = right;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return weight[a->key] - weight[b->key];
}

static void count_states(tt_adopted *s)
{
    size_t kept = 0;
    if (s->items.len)
        qsort(s->items.ptr, s->items.len, sizeof *s->items.ptr, by_id_and_weight);
    for (size_t i = 0; i < s->items.len; i++) {
        if (kept && s->items.ptr[kept - 1].id == s->items.ptr[i].id)
            continue;
        s->items.ptr[kept++] = s->items.ptr[i];
        s->received += s->items.ptr[i].key == TT_KEY_RECEIVED;
        s->errors += s->items.ptr[i].key == TT_KEY_ERROR;
        s->served += s->items.ptr[i].key == TT_KEY_SERVED;
    }
    s->items.len = kept;
}

static tt_rc read_all(adoption *a, tt_err *err)
{
    tt_redis_spec spec = {.url = a->wish->redis_url, .password = a->wish->redis_password};
    if (spec.url.len == 0) {
        spec.url = a->items->options.redis_url;
        spec.password = a->items->options.redis_password;
    }
    if (spec.url.len == 0)
        return tt_fail(err, TT_INVALID, "no Redis is named: give its address, redis://[:PASSWORD@]HOST[:PORT][/DB]");
    TT_TRY(tt_redis_new(&spec, &a->redis, err));
    TT_TRY(tt_redis_connect(a->redis, err));
    TT_TRY(each_page(a, "JOB:*", take_records, err));
    if (a->list.len)
        TT_TRY(each_page(a, "*:*", take_items, err));
    for (size_t i = 0; i < a->list.len; i++)
        count_states(&a->list.ptr[i]->states);
    return TT_OK;
}

/* ---- into a job ---- */

static void take_state(tt_job *j, tt_adopted *s, const tt_adopted_item *item, size_t *hint)
{
    tt_item_ref at;
    bool is_reading = j->def.mode == TT_MODE_READ;
    if (!tt_blocks_find(&j->blocks, item->id, j->blocks.sparse, hint, &at)) {
        s->unknown++;
        return;
    }
    if (item->key == TT_KEY_SERVED && !is_reading) /* whoever has it may still send it */
        return;
    tt_item_state state = item->key == TT_KEY_ERROR ? TT_ITEM_ERROR : TT_ITEM_RECEIVED;
    bool is_set = tt_blocks_set(&j->blocks, at, tt_item_byte(state, false, 0));
    s->failed |= !is_set;
    if (is_set && state == TT_ITEM_ERROR)
        tt_job_note(&j->notes, item->id, state, 0, TT_STR("marked as an error before the job was taken over"), (tt_str){0});
}

tt_rc tt_adopted_apply(tt_job *j, tt_adopted *s, tt_err *err)
{
    size_t hint = 0;
    if (j->plan != TT_PLAN_DONE)
        TT_TRY(tt_plan_now(j, err));
    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < s->items.len; i++)
        take_state(j, s, &s->items.ptr[i], &hint);
    for (size_t row = 0; row < j->blocks.rows.len; row++)
        tt_blocks_pack(&j->blocks, (uint32_t)row);
    pthread_mutex_unlock(&j->lock);
    return s->failed ? tt_fail(err, TT_NOMEM, "out of memory for the items of job `%s`", j->def.name) : TT_OK;
}

/* ---- one job ---- */

/* Results that were received must be somewhere. */
static tt_rc check_output(adoption *a, const candidate *c, const tt_job_start *start, tt_err *err)
{
    const char *path = json_string_value(json_object_get(start->metadata, "output_file_path"));
    TT_FD_AUTO int fd = -1;
    if (c->states.received == 0 || !path || tt_str_is(start->mode, "read"))
        return TT_OK;
    tt_err why = {0};
    tt_rc rc = tt_roots_open(a->items->env.roots, tt_str_of(path), O_RDONLY, 0, &fd, NULL, &why);
    if (rc == TT_OK)
        return TT_OK;
    return tt_fail(err, rc, "%llu results were received, but its output is not there: %s", (unsigned long long)c->states.received, why.text);
}

static tt_rc check_input(adoption *a, const tt_job_start *start, tt_err *err)
{
    tt_definition d = {.metadata = json_dumps(start->metadata, JSON_COMPACT)};
    tt_paths paths = {0};
    tt_rc rc = tt_str_is(start->mode, "write") ? TT_OK : tt_definition_find_inputs(&d, a->items->env.roots, &paths, err);
    tt_paths_deinit(&paths);
    tt_definition_deinit(&d);
    return rc;
}

static tt_str member(const json_t *record, const char *name)
{
    const json_t *value = json_object_get(record, name);
    return json_is_string(value) ? (tt_str){json_string_value(value), json_string_length(value)} : (tt_str){0};
}

static tt_rc read_record(const candidate *c, json_t **ret, tt_err *err)
{
    json_error_t at;
    if (strcmp(c->record, "COMPLETE") == 0)
        return tt_fail(err, TT_CONFLICT, "it is complete, and its definition is not kept in Redis: nothing is left to do, its output stays as it is");
    *ret = json_loads(c->record, JSON_ALLOW_NUL, &at);
    if (!json_is_object(*ret) || !json_is_object(json_object_get(*ret, "metadata")))
        return tt_fail(err, TT_INVALID, "its record is not what the older service writes: %.100s", c->record);
    return TT_OK;
}

static tt_rc check_is_new(adoption *a, const candidate *c, tt_err *err)
{
    tt_job *old = tt_items_peek(a->items, tt_str_of(c->name));
    tt_job_unref(old);
    return old ? tt_fail(err, TT_EXISTS, "this server has a job of that name already") : TT_OK;
}

static tt_rc take_over(adoption *a, candidate *c, json_t **record, tt_err *err)
{
    TT_TRY(tt_job_name_check(tt_str_of(c->name), err));
    TT_TRY(read_record(c, record, err));
    TT_TRY(check_is_new(a, c, err));
    tt_job_start start = {
        .name = tt_str_of(c->name), .reader_name = member(*record, "reader_name"), .writer_name = member(*record, "writer_name"),
        .mode = member(*record, "mode"), .metadata = json_object_get(*record, "metadata"), .adopted = &c->states,
    };
    if (start.mode.len == 0)
        start.mode = TT_STR("read-write");
    tt_str token = tt_str_of(c->token), prefix = TT_STR(TT_MIRROR_HASH_PREFIX);
    if (tt_str_starts(token, prefix) && token.len == prefix.len + 64)
        start.token_hash = token.ptr + prefix.len;
    else if (token.len) {
        start.has_token = true;
        start.token = token;
    }
    TT_TRY(check_output(a, c, &start, err));
    TT_TRY(check_input(a, &start, err));
    if (a->wish->dry_run)
        return TT_OK;
    TT_BUF_AUTO tt_buf unknown = {0};
    bool existed;
    return tt_items_start(a->items, &start, &existed, &unknown, err);
}

static json_t *adopt_one(adoption *a, candidate *c)
{
    tt_err err = {0};
    json_t *record = NULL;
    tt_rc rc = take_over(a, c, &record, &err);
    const char *status = rc != TT_OK ? "skipped" : a->wish->dry_run ? "ready" : "adopted";
    json_decref(record);
    if (rc == TT_OK && !a->wish->dry_run)
        tt_log_info("a job is taken over", TT_F_CSTR("job", c->name), TT_F_INT("received", c->states.received));
    return json_pack("{s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:b}", "name", c->name, "status", status, "reason", rc == TT_OK ? "" : err.text,
                     "received", (json_int_t)c->states.received, "errors", (json_int_t)c->states.errors, "served", (json_int_t)c->states.served,
                     "unknown", (json_int_t)c->states.unknown, "protected", c->token && *c->token);
}

static int by_name(const void *a, const void *b) { return strcmp((*(candidate *const *)a)->name, (*(candidate *const *)b)->name); }

static void report_missing(const adoption *a, json_t *rows)
{
    for (size_t i = 0; i < a->wish->name_count; i++)
        if (!tt_map_get(&a->by_name, a->wish->names[i]))
            json_array_append_new(rows, json_pack("{s:s%,s:s,s:s}", "name", a->wish->names[i].ptr, a->wish->names[i].len, "status", "skipped",
                                                  "reason", "Redis has no JOB: key of that name"));
}

tt_rc tt_items_adopt(tt_items *items, const tt_adoption *wish, json_t *rows, tt_err *err)
{
    adoption a = {.items = items, .wish = wish};
    tt_rc rc = read_all(&a, err);
    if (rc == TT_OK && a.list.len)
        qsort(a.list.ptr, a.list.len, sizeof *a.list.ptr, by_name);
    for (size_t i = 0; rc == TT_OK && i < a.list.len; i++) {
        json_t *row = adopt_one(&a, a.list.ptr[i]);
        if (!row || json_array_append_new(rows, row) != 0)
            rc = tt_fail(err, TT_INVALID, "the name of a job in Redis is not UTF-8");
    }
    if (rc == TT_OK)
        report_missing(&a, rows);
    adoption_deinit(&a);
    return rc;
}
