/* Checking a dataset: what would make its queries faster, and what makes them wrong. Footers of all parts are read, and the ids of all groups. */
#include "query/columns_diff.h"
#include "query/dataset_job.h"
#include "query/discover.h"
#include "query/kinds.h"

enum { MOST_RIDERS = 64, GOOD_BYTES = 20 << 20, SMALL_BYTES = 4 << 20, MANY_FILES = 50, SMALL_GROUP_ROWS = 10000, MANY_ROWS = 200000, MOST_NAMES = 10 };
static const uint64_t large_bytes = 1ull << 30, lonely_bytes = 200ull << 20;

typedef struct {
    tt_dataset_job job;
    const tt_dataset *d;
    json_t *advice;          /* what is found: [{"level", "about", "text"}] */
    uint64_t rows, row_groups;
    json_t *plain_text;      /* {column: files in which it is no dictionary} */
    json_t *nested;          /* {column: 1} */
    bool *has_groups;        /* by file */
} check;

static void add(check *c, const char *level, const char *about, tt_buf *text)
{
    json_array_append_new(c->advice, json_pack("{s:s,s:s,s:s%}", "level", level, "about", about, "text", text->ptr ? text->ptr : "", text->len));
    tt_buf_deinit(text);
}

/* ---- what workers look at ---- */

static json_t *new_payload(const tt_dataset *d)
{
    json_t *p = tt_dataset_job_payload(d->dir, d->group, d->time);
    json_t *given = json_object_get(d->record, "given");
    json_object_set_new(p, "footerOnly", json_true());
    if (given)
        json_object_set(p, "given", given);
    json_object_set_new(p, "parts", json_array());
    return p;
}

static void put_size(tt_buf *out, uint64_t n)
{
    if (n >= 1 << 20)
        tt_buf_printf(out, "%.1f MiB", (double)n / (1 << 20));
    else
        tt_buf_printf(out, "%.1f KiB", (double)n / 1024);
}

static void count_names(json_t *into, const json_t *names)
{
    const json_t *name;
    size_t i;
    json_array_foreach(names, i, name)
        json_object_set_new(into, json_string_value(name), json_integer(json_integer_value(json_object_get(into, json_string_value(name))) + 1));
}

/* Do its ids mean the same as those of the dataset? */
static bool has_groups(const check *c, const json_t *part)
{
    const char *group = c->d->group.ptr;
    const json_t *here = json_object_get(json_object_get(json_object_get(part, "schema"), group), "coltype");
    return json_equal(here, json_object_get(json_object_get(json_object_get(json_object_get(c->d->record, "schema"), "columns"), group), "coltype"));
}

static void take_part(check *c, const json_t *part)
{
    size_t index = (size_t)json_integer_value(json_object_get(part, "part"));
    const char *fault = json_string_value(json_object_get(part, "fault"));
    tt_buf text = {0};
    if (index >= c->d->file_count)
        return;
    const tt_columns_of dataset = {json_object_get(c->d->record, "columns"), "the dataset"}, here = {json_object_get(part, "columns"), c->d->files[index].name.ptr};
    c->rows += (uint64_t)json_integer_value(json_object_get(part, "rows"));
    c->row_groups += (uint64_t)json_integer_value(json_object_get(part, "rowGroups"));
    c->has_groups[index] = !fault && has_groups(c, part);
    count_names(c->plain_text, json_object_get(part, "plainText"));
    count_names(c->nested, json_object_get(part, "nested"));
    if (fault)
        tt_buf_cstr_put(&text, fault);
    else if (tt_columns_diff(&dataset, &here, &text))
        tt_buf_cstr_put(&text, ": queries of these columns fail: write the files with the same columns and types, and register the dataset again");
    if (text.len)
        add(c, "fault", "schema", &text);
}

static tt_rc look_at_footers(check *c, tt_err *err)
{
    const tt_dataset *d = c->d;
    size_t count = 0;
    json_t **results = NULL, **payloads = tt_arena_alloc(&c->job.arena, (d->file_count + 1) * sizeof(json_t *));
    if (!payloads)
        return tt_fail(err, TT_NOMEM, "out of memory for the tasks of this work");
    for (size_t i = 0; i < d->file_count; i++) {
        if (i % MOST_RIDERS == 0)
            payloads[count++] = new_payload(d);
        json_array_append_new(json_object_get(payloads[count - 1], "parts"), tt_dataset_job_part(i, &d->files[i]));
    }
    const tt_dataset_gang gang = {.kind = TT_KIND_DATASET_PART, .about = d->name, .payloads = payloads, .count = count, .is_counted = true, .timeout_ms = c->job.ds->prepare_timeout_ms};
    tt_rc rc = tt_dataset_job_run(&c->job, &gang, &results, err);
    for (size_t i = 0; i < count; i++) {
        const json_t *part;
        size_t k;
        json_array_foreach(rc == TT_OK ? json_object_get(results[i], "parts") : NULL, k, part)
            take_part(c, part);
        json_decref(payloads[i]);
    }
    tt_dataset_job_drop(results, count);
    return rc;
}

static tt_rc look_at_ids(check *c, tt_err *err)
{
    const tt_dataset *d = c->d;
    tt_buf text = {0};
    json_t **results = NULL, *payload = new_payload(d);
    for (size_t i = 0; i < d->file_count; i++)
        if (c->has_groups[i])
            json_array_append_new(json_object_get(payload, "parts"), tt_dataset_job_part(i, &d->files[i]));
    const tt_dataset_gang gang = {.kind = TT_KIND_DATASET_UNIQUES, .about = d->name, .payloads = &payload, .count = 1, .timeout_ms = c->job.ds->prepare_timeout_ms};
    tt_rc rc = tt_dataset_job_run(&c->job, &gang, &results, err);
    json_int_t shared = rc == TT_OK ? json_integer_value(json_object_get(results[0], "shared")) : 0;
    if (shared) {
        tt_buf_printf(&text, "%lld groups lie in more than one file: queries take them for several: write the files anew with `tutti dataset repartition`", (long long)shared);
        add(c, "fault", "ids", &text);
    }
    tt_dataset_job_drop(results, 1);
    json_decref(payload);
    return rc;
}

/* ---- advice ---- */

static void advise_on_sizes(check *c)
{
    const tt_dataset *d = c->d;
    tt_buf text = {0};
    uint64_t mean = d->size_bytes / d->file_count, largest = 0;
    size_t at = 0;
    for (size_t i = 0; i < d->file_count; i++)
        if (d->files[i].size_bytes > largest) {
            largest = d->files[i].size_bytes;
            at = i;
        }
    if (d->file_count >= MANY_FILES && mean < SMALL_BYTES) {
        tt_buf_printf(&text, "%zu files of ", d->file_count);
        put_size(&text, mean);
        tt_buf_cstr_put(&text, " on average: files of 20 to 100 MiB are faster: `tutti dataset repartition` merges them");
        add(c, "advice", "files", &text);
    }
    if (d->file_count == 1 && largest > lonely_bytes) {
        tt_buf_cstr_put(&text, "all rows are in one file, which one worker reads: `tutti dataset repartition` divides it");
        add(c, "advice", "files", &text);
    } else if (largest > large_bytes || (largest > 8 * mean && largest > GOOD_BYTES)) {
        tt_buf_printf(&text, "%.*s has ", TT_STR_ARG(d->files[at].name));
        put_size(&text, largest);
        tt_buf_cstr_put(&text, ", and every query waits for it: `tutti dataset repartition` makes files of the same size");
        add(c, "advice", "size", &text);
    }
    if (c->rows > MANY_ROWS && c->row_groups && c->rows / c->row_groups < SMALL_GROUP_ROWS) {
        tt_buf_printf(&text, "row groups of %llu rows on average: some 100,000 and more are packed better and read faster", (unsigned long long)(c->rows / c->row_groups));
        add(c, "advice", "row groups", &text);
    }
}

/* Text with few values that the files hold value by value. */
static void advise_on_categories(check *c)
{
    const char *name;
    json_t *files;
    json_object_foreach(c->plain_text, name, files) {
        const json_t *column = json_object_get(json_object_get(json_object_get(c->d->record, "schema"), "columns"), name), *a = json_object_get(column, "colattrs");
        tt_buf text = {0};
        if (!json_is_true(json_object_get(a, "categorical")))
            continue;
        tt_buf_printf(&text, "%s has few values, but is not stored as a dictionary in %lld of %zu files: write it as a category (pandas: astype(\"category\"))", name, (long long)json_integer_value(files),
                      c->d->file_count);
        add(c, "advice", "categories", &text);
    }
}

static void advise_on_nesting(check *c)
{
    tt_buf text = {0};
    const char *name;
    json_t *ignored;
    size_t n = 0;
    json_object_foreach(c->nested, name, ignored)
        if (n++ < MOST_NAMES)
            tt_buf_printf(&text, "%s%s", n > 1 ? ", " : "", name);
    if (n == 0)
        return;
    tt_buf_printf(&text, "%s: lists in lists, which queries do not know: flatten them before they are written", n > MOST_NAMES ? ", ..." : "");
    add(c, "advice", "nesting", &text);
}

static tt_rc run(check *c, tt_err *err)
{
    const tt_dataset *d = c->d;
    c->has_groups = tt_arena_alloc(&c->job.arena, (d->file_count + 1) * sizeof *c->has_groups);
    if (!c->has_groups)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    memset(c->has_groups, 0, d->file_count + 1);
    TT_TRY(tt_discover_check(c->job.ds->roots, d->dir, d->files, d->file_count, err));
    TT_TRY(look_at_footers(c, err));
    if (d->file_count > 1)
        TT_TRY(look_at_ids(c, err));
    advise_on_sizes(c);
    advise_on_categories(c);
    advise_on_nesting(c);
    return TT_OK;
}

tt_rc tt_datasets_check(const tt_datasets *ds, const tt_dataset *d, const tt_dataset_asker *asker, json_t **ret, tt_err *err)
{
    check c = {.d = d, .advice = json_array(), .plain_text = json_object(), .nested = json_object()};
    tt_dataset_job_begin(&c.job, ds, asker, false);
    c.job.stats.parts = d->file_count;
    c.job.stats.size_bytes = d->size_bytes;
    tt_rc rc = run(&c, err);
    json_t *more = rc == TT_OK ? json_pack("{s:O,s:I}", "advice", c.advice, "rows", (json_int_t)c.rows) : NULL;
    *ret = tt_dataset_job_answer(&c.job, rc, err, more);
    json_decref(c.advice);
    json_decref(c.plain_text);
    json_decref(c.nested);
    tt_dataset_job_deinit(&c.job);
    return rc;
}
