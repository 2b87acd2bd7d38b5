#include "query/stats.h"

#include <math.h>

#include "base/clock.h"
#include "query/repr.h"

void tt_query_stats_begin(tt_query_stats *s, bool is_query)
{
    *s = (tt_query_stats){.start_us = tt_mono_us(), .enqueue_s = -1, .poll_s = -1, .is_query = is_query};
}

void tt_query_stats_deinit(tt_query_stats *s) { tt_vec_deinit(&s->times); }

bool tt_query_stats_add(tt_query_stats *s, const tt_gang_end *end, const json_t *result)
{
    const json_t *parts = json_object_get(result, "parts"), *one;
    double before = 0; /* those that rode in front */
    size_t i;
    json_array_foreach(parts, i, one) {
        tt_part_time t = {.part = (uint64_t)json_integer_value(json_object_get(one, "part")), .load_time = json_number_value(json_object_get(one, "loadTime")),
                          .run_time = json_number_value(json_object_get(one, "runTime"))};
        const json_t *counts = json_object_get(json_object_get(one, "result"), "counts");
        t.scanned_rows = (uint64_t)json_integer_value(json_array_get(counts, 0));
        t.scanned_groups = (uint64_t)json_integer_value(json_array_get(counts, 1));
        t.total_time = t.load_time + t.run_time;
        t.invoke_latency = fmax(0, (double)(end->started_ms - end->pushed_ms) / 1000) + before + 1e-6;
        before += t.total_time;
        if (!tt_vec_push(&s->times, t))
            return false;
    }
    return true;
}

/* ---- shapes ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* With linear interpolation between the two neighbours. */
static double percentile(const double *sorted, size_t count, double p)
{
    double at = p * (double)(count - 1), low = floor(at);
    size_t i = (size_t)low;
    return i + 1 < count ? sorted[i] + (sorted[i + 1] - sorted[i]) * (at - low) : sorted[i];
}

/* Few values say little of the far percentiles. */
static json_t *json_of_timing(const tt_query_stats *s, double (*get)(const tt_part_time *t))
{
    static const struct { double p; const char *name; size_t from; } rows[] = {{0.25, "25%", 20}, {0.5, "50%", 1}, {0.75, "75%", 20}, {0.95, "95%", 20}, {0.99, "99%", 100}};
    size_t n = s->times.len;
    double *sorted = tt_calloc(n + 1, sizeof *sorted), sum = 0;
    if (!sorted || n == 0) {
        free(sorted);
        return json_null();
    }
    for (size_t i = 0; i < n; i++)
        sum += sorted[i] = get(&s->times.ptr[i]);
    qsort(sorted, n, sizeof *sorted, by_value);
    json_t *o = json_pack("{s:f,s:f,s:f}", "min", sorted[0], "mean", sum / (double)n, "max", sorted[n - 1]);
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (n >= rows[i].from)
            json_object_set_new(o, rows[i].name, json_real(percentile(sorted, n, rows[i].p)));
    free(sorted);
    return o;
}

static double invoke_latency(const tt_part_time *t) { return t->invoke_latency; }
static double load_time(const tt_part_time *t) { return t->load_time; }
static double total_time(const tt_part_time *t) { return t->total_time; }

/* In slots of a quarter of a second. */
static json_t *success_over_time(const tt_query_stats *s)
{
    enum { SLOTS_PER_SECOND = 4 };
    json_t *slots = json_object();
    for (size_t i = 0; i < s->times.len; i++) {
        TT_BUF_AUTO tt_buf name = {0};
        double slot = ceil((s->times.ptr[i].invoke_latency + s->times.ptr[i].total_time) * SLOTS_PER_SECOND) / SLOTS_PER_SECOND;
        tt_py_float(slot, &name);
        json_int_t before = json_integer_value(json_object_get(slots, tt_buf_cstr(&name)));
        json_object_set_new(slots, tt_buf_cstr(&name), json_integer(before + 1));
    }
    return slots;
}

static json_t *seconds(double s) { return s < 0 ? json_null() : json_real(s); }

json_t *tt_query_stats_json(const tt_query_stats *s)
{
    json_int_t done = (json_int_t)s->times.len, failed = (json_int_t)s->failed;
    json_t *worker = json_pack("{s:I,s:I,s:o,s:o,s:o,s:{s:I,s:I}}", "coldTasks", (json_int_t)0, "warmTasks", done, "invokeLatency", json_of_timing(s, invoke_latency),
                               "loadTime", json_of_timing(s, load_time), "totalTime", json_of_timing(s, total_time), "cache", "source", done, "diskCache", (json_int_t)0);
    if (s->is_query && done) {
        json_object_set_new(worker, "scannedRows", json_integer((json_int_t)s->scanned_rows));
        json_object_set_new(worker, "scannedGroups", json_integer((json_int_t)s->scanned_groups));
    }
    json_t *dataset = s->parts ? json_pack("{s:I,s:I}", "totalSize", (json_int_t)s->size_bytes, "parts", (json_int_t)s->parts) : json_null();
    return json_pack("{s:f,s:{s:o,s:o,s:I,s:I,s:o},s:o,s:o}", "totalTime", (double)(tt_mono_us() - s->start_us) / 1e6, "invoker", "enqueueTime", seconds(s->enqueue_s),
                     "pollTime", seconds(s->poll_s), "totalTasks", done + failed, "failedTasks", failed, "taskSuccessOverTime", success_over_time(s), "worker", worker,
                     "dataset", dataset);
}
