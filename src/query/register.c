/* Registering a dataset: its files are found here, samples of them are looked through by workers, compared with each other, and the record is written when
 * all of it fits together. What stood under the name before stays until then. */
#include <math.h>
#include <sys/random.h>
#include <time.h>

#include "base/civil.h"
#include "base/clock.h"
#include "ledger/records.h"
#include "query/columns_diff.h"
#include "query/dataset_job.h"
#include "query/discover.h"
#include "query/kinds.h"
#include "query/repr.h"

enum { LEAST_SAMPLES = 2, MOST_ADVICE = 20 };

typedef struct {
    tt_dataset_job job;
    const tt_register_wish *wish;
    tt_str dir;
    tt_dataset_file *files;
    size_t file_count;
    size_t *samples;         /* indices, rising */
    size_t sample_count;
    json_t **parts;          /* what the workers found out, by sample (borrowed from results) */
    char registered_at[48];
    double min_time, max_time;
    json_t *advice;          /* of files that were not looked through: [{"level", "about", "text"}] */
    json_t *record;
} registration;

static json_t *text(tt_str s) { return json_stringn(s.ptr, s.len); }

/* ---- which parts ---- */

static size_t random_below(size_t n)
{
    uint64_t r = 0;
    if (getrandom(&r, sizeof r, 0) != sizeof r)
        r = (uint64_t)tt_mono_us();
    return (size_t)(r % n);
}

static int by_index(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* The first, the last, and others at random, each at most once. */
static tt_rc choose_samples(registration *r, tt_err *err)
{
    const tt_datasets *ds = r->job.ds;
    size_t n = r->file_count, wanted = r->wish->mode == TT_VALIDATE_SINGLE || n == 1 ? 1 : LEAST_SAMPLES;
    size_t *all = tt_arena_alloc(&r->job.arena, (n + 1) * sizeof *all);
    if (!all)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    if (r->wish->mode == TT_VALIDATE_SAMPLE && n > LEAST_SAMPLES) {
        double share = floor((double)n * ds->sample_ratio + 1e-9);
        size_t more = share > (double)ds->sample_most ? ds->sample_most : (size_t)share;
        wanted = more > LEAST_SAMPLES ? more : LEAST_SAMPLES;
        wanted = wanted < n ? wanted : n;
    }
    for (size_t i = 0; i < n; i++)
        all[i] = i;
    if (wanted > 1) {
        all[1] = n - 1;
        all[n - 1] = n > 2 ? 1 : n - 1;
    }
    for (size_t i = 2; i < wanted; i++) {
        size_t with = i + random_below(n - i), kept = all[i];
        all[i] = all[with];
        all[with] = kept;
    }
    qsort(all, wanted, sizeof *all, by_index);
    r->samples = all;
    r->sample_count = wanted;
    return TT_OK;
}

static tt_rc find_files(registration *r, tt_err *err)
{
    tt_str path = r->wish->basepath;
    TT_TRY(tt_dataset_dir(path, &r->dir, err));
    const tt_discover_spec spec = {.roots = r->job.ds->roots, .dir = r->dir, .pattern = r->wish->pattern, .most_files = r->job.ds->most_parts};
    tt_rc rc = tt_discover(&spec, &r->job.arena, &r->files, &r->file_count, err);
    if (rc != TT_OK)
        return rc == TT_NOT_FOUND ? TT_UNPROCESSABLE : rc;
    if (r->file_count == 0)
        return tt_fail(err, TT_UNPROCESSABLE, "No files found at %.*s: no name there matches the pattern %.*s", TT_STR_ARG(tt_str_slice(path, 0, 400)),
                       TT_STR_ARG(tt_str_slice(r->wish->pattern, 0, 100)));
    r->job.stats.parts = r->file_count;
    for (size_t i = 0; i < r->file_count; i++)
        r->job.stats.size_bytes += r->files[i].size_bytes;
    return choose_samples(r, err);
}

/* ---- what workers do ---- */

static json_t *new_payload(const registration *r)
{
    const tt_datasets *ds = r->job.ds;
    json_t *p = tt_dataset_job_payload(r->dir, r->wish->group, r->wish->time);
    json_object_set_new(p, "categoricalRatio", json_real(ds->categorical_ratio));
    json_object_set_new(p, "topCount", json_integer((json_int_t)(ds->top_count + ds->top_count / 2)));
    if (r->wish->given)
        json_object_set(p, "given", (json_t *)(uintptr_t)r->wish->given);
    json_object_set_new(p, "parts", json_array());
    return p;
}

static void add_part(const registration *r, json_t *payload, size_t part)
{
    json_array_append_new(json_object_get(payload, "parts"), tt_dataset_job_part(part, &r->files[part]));
}

static void widen_times(registration *r, const json_t *part)
{
    const json_t *min = json_object_get(part, "minTime"), *max = json_object_get(part, "maxTime");
    r->min_time = json_is_number(min) ? fmin(r->min_time, json_number_value(min)) : r->min_time;
    r->max_time = json_is_number(max) ? fmax(r->max_time, json_number_value(max)) : r->max_time;
}

static tt_rc survey(registration *r, json_t ***ret_results, tt_err *err)
{
    size_t n = r->sample_count;
    json_t **payloads = tt_arena_alloc(&r->job.arena, (n + 1) * sizeof(json_t *));
    r->parts = tt_arena_alloc(&r->job.arena, (n + 1) * sizeof(json_t *));
    if (!payloads || !r->parts)
        return tt_fail(err, TT_NOMEM, "out of memory for the tasks of this work");
    for (size_t i = 0; i < n; i++) {
        payloads[i] = new_payload(r);
        add_part(r, payloads[i], r->samples[i]);
    }
    const tt_dataset_gang gang = {.kind = TT_KIND_DATASET_PART, .about = r->wish->name, .payloads = payloads, .count = n, .is_counted = true};
    tt_rc rc = tt_dataset_job_run(&r->job, &gang, ret_results, err);
    for (size_t i = 0; i < n; i++) {
        json_decref(payloads[i]);
        if (rc == TT_OK)
            r->parts[i] = json_array_get(json_object_get((*ret_results)[i], "parts"), 0);
        if (rc == TT_OK)
            widen_times(r, r->parts[i]);
    }
    return rc;
}

/* One worker reads the ids of all sampled parts: nothing of them comes here but two counts. */
static tt_rc check_uniques(registration *r, tt_err *err)
{
    json_t **results = NULL, *payload = new_payload(r);
    for (size_t i = 0; i < r->sample_count; i++)
        add_part(r, payload, r->samples[i]);
    const tt_dataset_gang gang = {.kind = TT_KIND_DATASET_UNIQUES, .about = r->wish->name, .payloads = &payload, .count = 1};
    tt_rc rc = tt_dataset_job_run(&r->job, &gang, &results, err);
    if (rc == TT_OK) {
        json_int_t unique = json_integer_value(json_object_get(results[0], "unique")), sum = json_integer_value(json_object_get(results[0], "sum"));
        if (unique != sum)
            rc = tt_fail(err, TT_UNPROCESSABLE, "Group IDs are not unique across the %zu sampled files! Count of unique IDs merged from all sampled files (%lld) should equal "
                         "the simple sum of the unique IDs counts from each file (%lld)", r->sample_count, (long long)unique, (long long)sum);
    }
    tt_dataset_job_drop(results, 1);
    json_decref(payload);
    return rc;
}

/* One that queries will fail on: the mode of validation lets it pass, but nobody should learn it only then. */
static void look_at_other(registration *r, const json_t *part)
{
    size_t index = (size_t)json_integer_value(json_object_get(part, "part"));
    const char *fault = json_string_value(json_object_get(part, "fault"));
    TT_BUF_AUTO tt_buf text = {0};
    if (index >= r->file_count)
        return;
    const tt_columns_of first = {json_object_get(r->parts[0], "columns"), r->files[r->samples[0]].name.ptr}, other = {json_object_get(part, "columns"), r->files[index].name.ptr};
    widen_times(r, part);
    if (fault)
        tt_buf_cstr_put(&text, fault);
    else if (tt_columns_diff(&first, &other, &text))
        tt_buf_cstr_put(&text, ": queries of these columns will fail: write the files with the same columns and types");
    if (text.len && json_array_size(r->advice) < MOST_ADVICE)
        json_array_append_new(r->advice, json_pack("{s:s,s:s,s:s}", "level", "fault", "about", other.name, "text", tt_buf_cstr(&text)));
}

/* Times and columns of the parts that are no samples, by their footers. */
static void look_at_others(registration *r)
{
    enum { MOST_RIDERS = 64 };
    size_t count = 0, riders = 0, sample = 0;
    json_t **results = NULL, **payloads = tt_arena_alloc(&r->job.arena, (r->file_count + 1) * sizeof(json_t *));
    tt_err ignored = {0};
    for (size_t i = 0; payloads && i < r->file_count; i++) {
        if (sample < r->sample_count && r->samples[sample] == i) {
            sample++;
            continue;
        }
        if (riders++ % MOST_RIDERS == 0) {
            payloads[count++] = new_payload(r);
            json_object_set_new(payloads[count - 1], "footerOnly", json_true());
        }
        add_part(r, payloads[count - 1], i);
    }
    const tt_dataset_gang gang = {.kind = TT_KIND_DATASET_PART, .about = r->wish->name, .payloads = payloads, .count = count};
    tt_rc rc = count ? tt_dataset_job_run(&r->job, &gang, &results, &ignored) : TT_FAILED;
    for (size_t i = 0; i < count; i++) {
        const json_t *part;
        size_t k;
        json_array_foreach(rc == TT_OK ? json_object_get(results[i], "parts") : NULL, k, part)
            look_at_other(r, part);
        json_decref(payloads[i]);
    }
    tt_dataset_job_drop(results, count);
}

/* ---- do they fit together? ---- */

/* {name: type} */
static json_t *types_of(const json_t *part)
{
    json_t *types = json_object();
    const char *name;
    json_t *column;
    json_object_foreach(json_object_get(part, "schema"), name, column)
        json_object_set(types, name, json_object_get(column, "coltype"));
    return types;
}

static void put_path(const registration *r, size_t sample, tt_buf *out)
{
    tt_str base = r->wish->basepath;
    tt_buf_str(out, base);
    if (!tt_str_ends(base, TT_STR("/")))
        tt_buf_char(out, '/');
    tt_buf_str(out, r->files[r->samples[sample]].name);
}

static void put_types(const registration *r, size_t sample, tt_buf *out)
{
    enum { MOST_REPR = 120 }; /* what differs comes behind it, and a sentence is not endless */
    TT_BUF_AUTO tt_buf repr = {0};
    json_t *types = types_of(r->parts[sample]);
    put_path(r, sample, out);
    tt_py_repr(types, &repr);
    tt_buf_printf(out, " (%zu columns):\n%.*s%s", json_object_size(types), TT_STR_ARG(tt_str_slice(tt_buf_view(&repr), 0, MOST_REPR)), repr.len > MOST_REPR ? "..." : "");
    json_decref(types);
}

static tt_columns_of columns_of(const registration *r, size_t sample)
{
    return (tt_columns_of){json_object_get(r->parts[sample], "columns"), r->files[r->samples[sample]].name.ptr};
}

static tt_rc compare_schemas(const registration *r, tt_err *err)
{
    const tt_columns_of first = columns_of(r, 0);
    for (size_t i = 1; i < r->sample_count; i++) {
        TT_BUF_AUTO tt_buf out = {0}, words = {0};
        const tt_columns_of other = columns_of(r, i);
        if (!tt_columns_diff(&first, &other, &words))
            continue;
        tt_buf_cstr_put(&out, "Schemas differ!\nIn ");
        put_types(r, 0, &out);
        tt_buf_cstr_put(&out, " vs.\nIn ");
        put_types(r, i, &out);
        tt_buf_printf(&out, "\n%s: write the files with the same columns and types", tt_buf_cstr(&words));
        return tt_fail(err, TT_UNPROCESSABLE, "%s", tt_buf_cstr(&out));
    }
    return TT_OK;
}

/* Ids of different types cannot be the same; that they differ is said with the schemas. */
static bool are_groups_alike(const registration *r)
{
    const char *group = r->wish->group.ptr;
    const json_t *first = json_object_get(json_object_get(json_object_get(r->parts[0], "schema"), group), "coltype");
    for (size_t i = 1; i < r->sample_count; i++)
        if (!json_equal(first, json_object_get(json_object_get(json_object_get(r->parts[i], "schema"), group), "coltype")))
            return false;
    return true;
}

/* ---- one schema of all ---- */

/* The attributes of a column in a sample. */
static const json_t *attributes(const registration *r, size_t sample, const char *column)
{
    return json_object_get(json_object_get(json_object_get(r->parts[sample], "schema"), column), "colattrs");
}

static void merge_bounds(const registration *r, const char *column, json_t *into)
{
    double min = NAN, max = NAN;
    for (size_t i = 0; i < r->sample_count; i++) {
        const json_t *low = json_object_get(attributes(r, i, column), "numericMin"), *high = json_object_get(attributes(r, i, column), "numericMax");
        min = json_is_number(low) ? fmin(min, json_number_value(low)) : min;
        max = json_is_number(high) ? fmax(max, json_number_value(high)) : max;
    }
    if (isfinite(min))
        json_object_set_new(into, "numericMin", json_real(min));
    if (isfinite(max))
        json_object_set_new(into, "numericMax", json_real(max));
}

typedef struct {
    const char *value;
    double share;
} ranked;

static int by_share(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->share != y->share ? (x->share < y->share ? 1 : -1) : strcmp(x->value, y->value);
}

/* The commonest of all samples: the mean of their shares, from top_share on. */
static json_t *merge_tops(const registration *r, const char *column)
{
    const tt_datasets *ds = r->job.ds;
    json_t *sums = json_object(), *top = json_object();
    const char *value;
    json_t *share;
    size_t n = 0;
    for (size_t i = 0; i < r->sample_count; i++)
        json_object_foreach(json_object_get(attributes(r, i, column), "catTopValues"), value, share)
            json_object_set_new(sums, value, json_real(json_number_value(json_object_get(sums, value)) + json_number_value(share)));
    ranked *all = tt_calloc(json_object_size(sums) + 1, sizeof *all);
    json_object_foreach(sums, value, share)
        if (all)
            all[n++] = (ranked){value, json_number_value(share) / (double)r->sample_count};
    if (n)
        qsort(all, n, sizeof *all, by_share);
    for (size_t i = 0; i < n && i < ds->top_count; i++)
        if (all[i].share >= ds->top_share - 1e-9)
            json_object_set_new(top, all[i].value, json_real(all[i].share));
    free(all);
    json_decref(sums);
    return top;
}

static void merge_category(const registration *r, const char *column, json_t *into)
{
    double ratios = 0;
    bool is_category = true;
    for (size_t i = 0; i < r->sample_count; i++) {
        is_category = is_category && json_is_true(json_object_get(attributes(r, i, column), "categorical"));
        ratios += json_number_value(json_object_get(attributes(r, i, column), "catUniqueRatio"));
    }
    json_object_set_new(into, "categorical", json_boolean(is_category));
    if (!is_category)
        return;
    json_object_set_new(into, "catUniqueRatio", json_real(ratios / (double)r->sample_count));
    if (r->job.ds->top_count)
        json_object_set_new(into, "catTopValues", merge_tops(r, column));
}

static json_t *merge_columns(const registration *r)
{
    json_t *columns = json_object();
    const char *name;
    json_t *first;
    json_object_foreach(json_object_get(r->parts[0], "schema"), name, first) {
        json_t *one = json_copy(first), *attrs = json_object();
        merge_category(r, name, attrs);
        merge_bounds(r, name, attrs);
        json_object_set(attrs, "unitNs", json_object_get(json_object_get(first, "colattrs"), "unitNs")); /* of times */
        json_object_set_new(one, "colattrs", attrs);
        json_object_set_new(columns, name, one);
    }
    return columns;
}

static json_t *real_or_null(double d) { return isfinite(d) ? json_real(d) : json_null(); }

/* ---- the record ---- */

static void set_now(registration *r)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    tt_civil c = tt_civil_of(now.tv_sec);
    char when[TT_CIVIL_TEXT];
    snprintf(r->registered_at, sizeof r->registered_at, "%s.%06ld+00:00", tt_civil_text(&c, when), now.tv_nsec / 1000);
}

static json_t *json_of_files(const registration *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->file_count; i++)
        json_array_append_new(list, json_pack("[s%,I,I]", r->files[i].name.ptr, r->files[i].name.len, (json_int_t)r->files[i].size_bytes, (json_int_t)r->files[i].changed_ns));
    return list;
}

static tt_rc make_record(registration *r, tt_err *err)
{
    const tt_register_wish *w = r->wish;
    json_t *unsupported = json_object_get(r->parts[0], "unsupported");
    json_t *schema = json_pack("{s:o,s:o,s:o,s:O}", "groupIdColumn", text(w->group), "timestampColumn", text(w->time), "columns", merge_columns(r), "unsupportedColumns", unsupported);
    r->record = json_pack("{s:i,s:o,s:s,s:o,s:o,s:o,s:o,s:s,s:b,s:o,s:O,s:o,s:o,s:o}", "version", 1, "name", text(w->name), "registeredAt", r->registered_at, "basepath",
                          text(w->basepath), "group", text(w->group), "time", text(w->time), "pattern", text(w->pattern), "mode", tt_validation_mode_name(w->mode), "uniques",
                          w->uniques, "files", json_of_files(r), "columns", json_object_get(r->parts[0], "columns"), "schema", schema, "minTimestamp",
                          real_or_null(r->min_time), "maxTimestamp", real_or_null(r->max_time));
    if (r->record && w->given)
        json_object_set(r->record, "given", (json_t *)(uintptr_t)w->given);
    return r->record ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for the record of a dataset");
}

typedef struct {
    tt_str name, value;
} named;

/* What is registered anew was never asked. */
static tt_rc put(void *arg, tt_txn *txn, tt_err *err)
{
    const named *n = arg;
    TT_TRY(tt_record_put(txn, TT_DATASET_KIND, n->name, TT_ANY_VERSION, n->value, NULL, err));
    return tt_record_delete(txn, TT_DATASET_USED_KIND, n->name, err);
}

static tt_rc store(registration *r, tt_err *err)
{
    char *value = json_dumps(r->record, JSON_COMPACT);
    named n = {r->wish->name, tt_str_of(value)};
    tt_rc rc = value ? tt_ledger_run(r->job.ds->ledger, put, &n, err) : tt_fail(err, TT_NOMEM, "out of memory for the record of a dataset");
    free(value);
    return rc;
}

/* ---- */

static tt_rc run(registration *r, json_t ***results, tt_err *err)
{
    TT_TRY(find_files(r, err));
    set_now(r);
    TT_TRY(survey(r, results, err));
    if (r->wish->uniques && r->sample_count > 1 && are_groups_alike(r))
        TT_TRY(check_uniques(r, err));
    TT_TRY(compare_schemas(r, err));
    look_at_others(r);
    TT_TRY(make_record(r, err));
    return store(r, err);
}

tt_rc tt_datasets_register(const tt_datasets *ds, const tt_register_wish *wish, const tt_dataset_asker *asker, json_t **ret, tt_err *err)
{
    registration r = {.wish = wish, .min_time = NAN, .max_time = NAN, .advice = json_array()};
    json_t **results = NULL, *more = NULL, *prepared = NULL;
    tt_dataset *d = NULL;
    tt_dataset_job_begin(&r.job, ds, asker, false);
    tt_rc rc = run(&r, &results, err);
    if (rc == TT_OK)
        rc = tt_dataset_new(json_incref(r.record), &d, err);
    if (rc == TT_OK)
        more = json_pack("{s:o,s:O*}", "dataset", tt_dataset_info(d), "advice", json_array_size(r.advice) ? r.advice : NULL);
    if (rc == TT_OK && wish->prepare) {
        rc = tt_dataset_job_prepare(&r.job, d, NULL, false, &prepared, err);
        json_object_set_new(more, "prepared", prepared ? prepared : json_null());
    }
    if (ds->metrics)
        tt_query_metrics_add(ds->metrics, wish->name, &r.job.stats, rc == TT_OK);
    *ret = tt_dataset_job_answer(&r.job, rc, err, more);
    tt_dataset_free(d);
    json_decref(r.record);
    json_decref(r.advice);
    tt_dataset_job_drop(results, r.sample_count);
    tt_dataset_job_deinit(&r.job);
    return rc;
}
