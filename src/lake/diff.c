#include "lake/diff.h"

#include <math.h>
#include <xxhash.h>

enum { FIRST_SLOTS = 1 << 12 };

enum state { ONLY_OLDER, SAME, CHANGED };

/* A row of the older side. */
typedef struct {
    XXH128_hash_t key;
    uint64_t rest;      /* of the other columns */
    uint32_t count;     /* 0: a free slot. Without keys: how many are not yet matched, plus one */
    uint32_t state;
} slot;

typedef struct {
    const tt_diff_spec *spec;
    tt_diff_result *done;
    tt_arena arena;
    tt_frame *frame;
    size_t boundary;    /* parts before it are the older side's */
    uint32_t *keys, *rest;
    uint32_t key_count, rest_count;
    slot *slots, *newer; /* newer: keys seen on the newer side, where keys must be single */
    size_t cap, len, newer_cap, newer_len;
    tt_buf bytes;
} diff;

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory: the older side has too many rows for this machine"); }

/* ---- hashes ---- */

static void put_cell(tt_buf *out, const tt_datum *d)
{
    double number = d->kind == TT_DATUM_DOUBLE ? (isnan(d->d) ? (double)NAN : d->d == 0 ? 0.0 : d->d) : 0;
    uint64_t len = d->kind == TT_DATUM_BYTES ? d->bytes.len : d->kind == TT_DATUM_LIST ? d->count : 0;
    tt_buf_char(out, (char)d->kind);
    if (d->kind == TT_DATUM_INT)
        tt_buf_put(out, &d->i, sizeof d->i);
    else if (d->kind == TT_DATUM_DOUBLE)
        tt_buf_put(out, &number, sizeof number);
    else if (d->kind != TT_DATUM_NULL)
        tt_buf_put(out, &len, sizeof len);
    if (d->kind == TT_DATUM_BYTES)
        tt_buf_str(out, d->bytes);
    for (uint32_t i = 0; d->kind == TT_DATUM_LIST && i < d->count; i++)
        put_cell(out, &d->list[i]); /* a list holds no lists */
}

static tt_rc hash_of(diff *d, const tt_rows *rows, uint32_t r, const uint32_t *columns, uint32_t count, XXH128_hash_t *ret, tt_err *err)
{
    tt_buf_clear(&d->bytes);
    for (uint32_t i = 0; i < count; i++)
        put_cell(&d->bytes, tt_rows_cell(rows, columns[i], r));
    TT_TRY(tt_buf_check(&d->bytes, err));
    *ret = XXH3_128bits(d->bytes.ptr, d->bytes.len);
    return TT_OK;
}

static slot *find_slot(slot *slots, size_t cap, XXH128_hash_t key)
{
    size_t at = (size_t)key.low64 & (cap - 1);
    while (slots[at].count && !XXH128_isEqual(slots[at].key, key))
        at = (at + 1) & (cap - 1);
    return &slots[at];
}

/* Room for one more. */
static tt_rc grow(slot **slots, size_t *cap, size_t len, tt_err *err)
{
    if (*slots && len < *cap / 2)
        return TT_OK;
    size_t more = *slots ? *cap * 2 : FIRST_SLOTS;
    slot *to = tt_calloc(more, sizeof *to);
    if (!to)
        return no_memory(err);
    for (size_t i = 0; i < *cap; i++)
        if ((*slots)[i].count)
            *find_slot(to, more, (*slots)[i].key) = (*slots)[i];
    free(*slots);
    *slots = to;
    *cap = more;
    return TT_OK;
}

/* ---- rows ---- */

static tt_rc twice(const diff *d, const tt_rows *rows, uint32_t r, const char *side, tt_err *err)
{
    TT_BUF_AUTO tt_buf key = {0};
    for (uint32_t i = 0; i < d->key_count; i++) {
        tt_buf_cstr_put(&key, i ? ", " : "");
        tt_buf_str(&key, rows->fields[d->keys[i]].name);
        tt_buf_char(&key, '=');
        tt_datum_json(&rows->fields[d->keys[i]], tt_rows_cell(rows, d->keys[i], r), &key);
    }
    return tt_fail(err, TT_INVALID, "the %s side has more than one row with %.200s: name a key that tells its rows apart", side, tt_buf_cstr(&key));
}

static tt_rc take_older(diff *d, const tt_rows *rows, uint32_t r, tt_err *err)
{
    XXH128_hash_t key, rest = {0};
    TT_TRY(grow(&d->slots, &d->cap, d->len, err));
    TT_TRY(hash_of(d, rows, r, d->keys, d->key_count, &key, err));
    slot *s = find_slot(d->slots, d->cap, key);
    if (s->count && d->spec->key_count)
        return twice(d, rows, r, "older", err);
    if (d->rest_count)
        TT_TRY(hash_of(d, rows, r, d->rest, d->rest_count, &rest, err));
    d->len += s->count == 0;
    *s = (slot){.key = key, .rest = rest.low64, .count = (s->count ? s->count : 1) + 1, .state = ONLY_OLDER};
    return TT_OK;
}

static tt_rc say(const diff *d, const char *change, uint64_t *count, const tt_rows *rows, uint32_t r, tt_err *err)
{
    ++*count;
    return d->spec->row(d->spec->arg, change, rows, r, err);
}

static tt_rc check_newer(diff *d, XXH128_hash_t key, const tt_rows *rows, uint32_t r, tt_err *err)
{
    TT_TRY(grow(&d->newer, &d->newer_cap, d->newer_len, err));
    slot *s = find_slot(d->newer, d->newer_cap, key);
    if (s->count)
        return twice(d, rows, r, "newer", err);
    *s = (slot){.key = key, .count = 1};
    d->newer_len++;
    return TT_OK;
}

static tt_rc take_newer(diff *d, const tt_rows *rows, uint32_t r, tt_err *err)
{
    XXH128_hash_t key, rest = {0};
    TT_TRY(grow(&d->slots, &d->cap, d->len, err));
    TT_TRY(hash_of(d, rows, r, d->keys, d->key_count, &key, err));
    slot *s = find_slot(d->slots, d->cap, key);
    if (d->spec->key_count == 0) {
        if (s->count <= 1)
            return say(d, "added", &d->done->added, rows, r, err);
        s->count--;
        d->done->same++;
        return TT_OK;
    }
    if (!s->count || s->state != ONLY_OLDER)
        TT_TRY(s->count ? twice(d, rows, r, "newer", err) : check_newer(d, key, rows, r, err));
    if (!s->count)
        return say(d, "added", &d->done->added, rows, r, err);
    if (d->rest_count)
        TT_TRY(hash_of(d, rows, r, d->rest, d->rest_count, &rest, err));
    s->state = rest.low64 == s->rest ? SAME : CHANGED;
    if (s->state == CHANGED)
        return say(d, "after", &d->done->changed, rows, r, err);
    d->done->same++;
    return TT_OK;
}

/* What the newer side did not have, or has otherwise. */
static tt_rc take_left(diff *d, const tt_rows *rows, uint32_t r, tt_err *err)
{
    XXH128_hash_t key;
    uint64_t counted = 0;
    TT_TRY(hash_of(d, rows, r, d->keys, d->key_count, &key, err));
    slot *s = find_slot(d->slots, d->cap, key);
    if (d->spec->key_count == 0) {
        if (s->count <= 1)
            return TT_OK;
        s->count--;
        return say(d, "removed", &d->done->removed, rows, r, err);
    }
    if (s->state == ONLY_OLDER)
        return say(d, "removed", &d->done->removed, rows, r, err);
    return s->state == CHANGED ? say(d, "before", &counted, rows, r, err) : TT_OK;
}

static tt_rc run_over(diff *d, tt_err *err)
{
    tt_rows *rows;
    for (;;) {
        TT_TRY(tt_frame_next(d->frame, &rows, err));
        if (rows->count == 0)
            break;
        for (uint32_t r = 0; r < rows->count; r++)
            TT_TRY(rows->part < d->boundary ? take_older(d, rows, r, err) : take_newer(d, rows, r, err));
    }
    tt_frame_rewind(d->frame);
    for (;;) {
        TT_TRY(tt_frame_next(d->frame, &rows, err));
        if (rows->count == 0 || rows->part >= d->boundary)
            return TT_OK;
        for (uint32_t r = 0; r < rows->count; r++)
            TT_TRY(take_left(d, rows, r, err));
    }
}

/* ---- sides ---- */

/* The newest run, or the newest before another one. */
static bool newest(const tt_lake_files *files, int64_t before, int64_t *ret)
{
    bool found = false;
    for (size_t i = 0; i < files->len; i++) {
        const tt_lake_file *f = &files->ptr[i];
        if (f->has_run && f->run_id < before && (!found || f->run_id > *ret)) {
            *ret = f->run_id;
            found = true;
        }
    }
    return found;
}

static tt_rc add_run(diff *d, tt_store *s, const tt_lake_files *files, int64_t run, tt_err *err)
{
    size_t before = tt_frame_part_count(d->frame);
    for (size_t i = 0; i < files->len; i++)
        if (files->ptr[i].has_run && files->ptr[i].run_id == run)
            TT_TRY(tt_lake_add_file(s, &files->ptr[i], d->frame, &d->arena, err));
    return tt_frame_part_count(d->frame) > before ? TT_OK : tt_fail(err, TT_NOT_FOUND, "run %lld: there is none: `tutti lake show` lists the runs of a dataset", (long long)run);
}

static tt_rc add_side(diff *d, tt_store *s, const tt_diff_side *side, bool is_before_newest, int64_t *ret_run, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_lake_files files = {0};
    if (side->contract->form != TT_CONTRACT_DATASET)
        return tt_fail(err, TT_INVALID, "datasets are compared: the contract names a %s", tt_contract_form_name(side->contract->form));
    tt_contract_put_path(side->contract, &path);
    TT_TRY(tt_buf_check(&path, err));
    tt_rc rc = tt_lake_list_files(s, tt_buf_view(&path), &d->arena, &files, err);
    bool found = rc == TT_OK && (side->has_run || newest(&files, INT64_MAX, ret_run));
    if (found && !side->has_run && is_before_newest)
        found = newest(&files, *ret_run, ret_run);
    if (side->has_run)
        *ret_run = side->run_id;
    if (rc == TT_OK && !found)
        rc = tt_fail(err, TT_NOT_FOUND, "dataset %s: there %s to compare in the lake %s", tt_buf_cstr(&path), is_before_newest ? "are no two runs" : "is no run", tt_store_where(s));
    if (rc == TT_OK)
        rc = add_run(d, s, &files, *ret_run, err);
    tt_vec_deinit(&files);
    return rc;
}

/* ---- columns ---- */

static tt_rc choose_columns(diff *d, tt_err *err)
{
    const tt_pq_field *fields;
    TT_TRY(tt_frame_settle(d->frame, NULL, 0, err));
    uint32_t all = tt_frame_fields(d->frame, &fields), count = 0;
    tt_str *names = tt_arena_alloc(&d->arena, ((size_t)all + 1) * sizeof *names);
    d->keys = tt_arena_alloc(&d->arena, ((size_t)all + d->spec->key_count + 1) * sizeof *d->keys);
    d->rest = tt_arena_alloc(&d->arena, ((size_t)all + 1) * sizeof *d->rest);
    if (!names || !d->keys || !d->rest)
        return no_memory(err);
    for (uint32_t i = 0; i < all; i++)
        if (!tt_lake_is_metadata(fields[i].name))
            names[count++] = fields[i].name;
    TT_TRY(tt_frame_choose(d->frame, names, count, err));
    for (size_t i = 0; i < d->spec->key_count; i++) {
        int32_t at = tt_frame_find(d->frame, d->spec->keys[i]);
        if (at < 0)
            return tt_fail(err, TT_NOT_FOUND, "key `%.*s`: there is no column of this name", TT_STR_ARG(tt_str_slice(d->spec->keys[i], 0, 200)));
        d->keys[d->key_count++] = (uint32_t)at;
    }
    for (uint32_t i = 0; i < count; i++) {
        bool is_key = false;
        for (uint32_t k = 0; k < d->key_count; k++)
            is_key |= d->keys[k] == i;
        if (!is_key)
            d->rest[d->rest_count++] = i;
    }
    if (d->spec->key_count == 0) {
        memcpy(d->keys, d->rest, d->rest_count * sizeof *d->keys);
        d->key_count = d->rest_count;
        d->rest_count = 0;
    }
    tt_frame_fields(d->frame, &fields);
    return d->spec->columns ? d->spec->columns(d->spec->arg, fields, count, err) : TT_OK;
}

static bool same_contract(const tt_contract *a, const tt_contract *b)
{
    return tt_str_eq(a->env, b->env) && tt_str_eq(a->branch, b->branch) && tt_str_eq(a->parent, b->parent) && tt_str_eq(a->child, b->child) && tt_str_eq(a->state, b->state) &&
           tt_str_eq(a->dataset, b->dataset);
}

static tt_rc compare(diff *d, tt_store *s, tt_err *err)
{
    TT_TRY(tt_frame_new(&d->frame, err));
    TT_TRY(add_side(d, s, &d->spec->older, same_contract(d->spec->older.contract, d->spec->newer.contract) && !d->spec->newer.has_run, &d->done->older_run, err));
    d->boundary = tt_frame_part_count(d->frame);
    TT_TRY(add_side(d, s, &d->spec->newer, false, &d->done->newer_run, err));
    TT_TRY(choose_columns(d, err));
    TT_TRY(grow(&d->slots, &d->cap, 0, err));
    return run_over(d, err);
}

tt_rc tt_lake_diff(tt_store *s, const tt_diff_spec *spec, tt_diff_result *ret, tt_err *err)
{
    *ret = (tt_diff_result){0};
    diff d = {.spec = spec, .done = ret};
    tt_rc rc = compare(&d, s, err);
    tt_frame_free(d.frame);
    free(d.slots);
    free(d.newer);
    tt_buf_deinit(&d.bytes);
    tt_arena_deinit(&d.arena);
    return rc;
}
