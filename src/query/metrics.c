#include "query/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"

enum { MOST_BUCKETS = 8, MOST_SERIES = 2000, OVERFLOW_SERIES = 200 };

/* Upper bounds, as the older service's page wrote them. */
typedef struct {
    double up_to;
    const char *text;
} bucket;

static const bucket seconds[MOST_BUCKETS] = {{0.05, "0.05"}, {0.1, "0.1"}, {0.5, "0.5"}, {1, "1.0"}, {2, "2.0"}, {5, "5.0"}, {10, "10.0"}, {15, "15.0"}};
static const bucket counts[MOST_BUCKETS] = {{100, "100.0"}, {1000, "1000.0"}, {10000, "10000.0"}, {100000, "100000.0"}, {1e6, "1e+06"}, {1e7, "1e+07"}, {1e8, "1e+08"}, {5e8, "5e+08"}};
static const bucket bytes[MOST_BUCKETS] = {{1048576, "1.048576e+06"}, {16777216, "1.6777216e+07"}, {67108864, "6.7108864e+07"}, {134217728, "1.34217728e+08"}, {268435456, "2.68435456e+08"}};

enum { INVOKE_TO_RUN, TOTAL_RUN, TOTAL_LOAD, LOAD_FILE, RUN_QUERY, ROWS, GROUPS, MEMORY, TOTAL, ENQUEUE, POLL, FAMILIES };
static const struct {
    const char *name, *help;
    const bucket *buckets;
} families[FAMILIES] = {
    [INVOKE_TO_RUN] = {"invoke_to_run_seconds", "From handing out a part to the start of its work.", seconds},
    [TOTAL_RUN] = {"task_total_run_seconds", "A part, from its start to its end.", seconds},
    [TOTAL_LOAD] = {"task_total_load_seconds", "Opening a part.", seconds},
    [LOAD_FILE] = {"task_load_file_seconds", "Opening a part's file.", seconds},
    [RUN_QUERY] = {"task_run_query_seconds", "A part's query.", seconds},
    [ROWS] = {"scanned_rows", "Rows of a part in the query's timeframe.", counts},
    [GROUPS] = {"scanned_groups", "Groups of a part in the query's timeframe.", counts},
    [MEMORY] = {"machine_memory_bytes", "Memory of the machine that serves.", bytes},
    [TOTAL] = {"invoker_total_seconds", "A registration or a query.", seconds},
    [ENQUEUE] = {"async_enqueue_seconds", "Handing out its parts.", seconds},
    [POLL] = {"async_poll_seconds", "Waiting for them.", seconds},
};

/* One family under one set of labels. */
typedef struct {
    unsigned family;
    char *labels;
    uint64_t counts[MOST_BUCKETS], count;
    double sum;
} series;

struct tt_query_metrics {
    pthread_mutex_t lock;    /* guards all below */
    tt_map by_key;           /* "family/labels" -> series */
    TT_VEC(series *) list;   /* in the order of their birth */
};

tt_query_metrics *tt_query_metrics_new(void)
{
    tt_query_metrics *m = TT_NEW(tt_query_metrics);
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

void tt_query_metrics_free(tt_query_metrics *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->list.len; i++) {
        free(m->list.ptr[i]->labels);
        free(m->list.ptr[i]);
    }
    tt_vec_deinit(&m->list);
    tt_map_deinit(&m->by_key);
    free(m);
}

/* ---- adding ---- */

static void put_label_value(tt_buf *out, tt_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\n')
            tt_buf_cstr_put(out, "\\n");
        else if (s.ptr[i] == '"' || s.ptr[i] == '\\')
            tt_buf_printf(out, "\\%c", s.ptr[i]);
        else
            tt_buf_char(out, s.ptr[i]);
    }
}

/* Of a worker's metrics with the worker's own labels. */
static void put_labels(tt_buf *out, bool is_worker, tt_str dataset, bool is_query, bool success)
{
    tt_buf_printf(out, "component=\"%s\",success=\"%s\",dataset=\"", is_worker ? "worker" : "invoker", success ? "True" : "False");
    put_label_value(out, dataset);
    tt_buf_printf(out, "\",job_type=\"%s\"", is_query ? "query" : "register");
    if (is_worker)
        tt_buf_cstr_put(out, ",worker_startup=\"warm\",load_from=\"source\",part_select_method=\"set_by_invoker\"");
}

/* Locked. NULL: there are too many, or there is no memory. */
static series *find(tt_query_metrics *m, unsigned family, const char *labels)
{
    TT_BUF_AUTO tt_buf key = {0};
    tt_buf_printf(&key, "%u/%s", family, labels);
    series *s = key.failed ? NULL : tt_map_get(&m->by_key, tt_buf_view(&key));
    if (s || key.failed || m->list.len >= MOST_SERIES)
        return s;
    s = TT_NEW(series);
    *s = (series){.family = family, .labels = tt_dup_cstr(labels)};
    if (tt_map_put(&m->by_key, tt_buf_view(&key), s, NULL) && tt_vec_push(&m->list, s))
        return s;
    tt_map_remove(&m->by_key, tt_buf_view(&key));
    free(s->labels);
    free(s);
    return NULL;
}

static void observe(tt_query_metrics *m, unsigned family, const char *labels, double value)
{
    series *s = find(m, family, labels);
    if (!s || value < 0)
        return;
    s->count++;
    s->sum += value;
    for (unsigned i = 0; i < MOST_BUCKETS && families[family].buckets[i].text; i++)
        s->counts[i] += value <= families[family].buckets[i].up_to;
}

static double machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (double)pages * (double)size : -1;
}

static void add_part(tt_query_metrics *m, const tt_part_time *t, bool is_query, const char *labels)
{
    observe(m, INVOKE_TO_RUN, labels, t->invoke_latency);
    observe(m, TOTAL_RUN, labels, t->total_time);
    observe(m, TOTAL_LOAD, labels, t->load_time);
    observe(m, LOAD_FILE, labels, t->load_time);
    observe(m, MEMORY, labels, machine_memory());
    if (!is_query)
        return;
    observe(m, RUN_QUERY, labels, t->run_time);
    observe(m, ROWS, labels, (double)t->scanned_rows);
    observe(m, GROUPS, labels, (double)t->scanned_groups);
}

void tt_query_metrics_add(tt_query_metrics *m, tt_str dataset, const tt_query_stats *stats, bool success)
{
    TT_BUF_AUTO tt_buf worker = {0}, invoker = {0};
    pthread_mutex_lock(&m->lock);
    /* Datasets beyond so many share a series: names come from outside. */
    tt_str name = m->list.len + OVERFLOW_SERIES < MOST_SERIES ? dataset : TT_STR("(others)");
    put_labels(&worker, true, name, stats->is_query, true);
    put_labels(&invoker, false, name, stats->is_query, success);
    for (size_t i = 0; i < stats->times.len; i++)
        add_part(m, &stats->times.ptr[i], stats->is_query, tt_buf_cstr(&worker));
    observe(m, TOTAL, tt_buf_cstr(&invoker), (double)(tt_mono_us() - stats->start_us) / 1e6);
    observe(m, ENQUEUE, tt_buf_cstr(&invoker), stats->enqueue_s);
    observe(m, POLL, tt_buf_cstr(&invoker), stats->poll_s);
    observe(m, MEMORY, tt_buf_cstr(&invoker), machine_memory());
    pthread_mutex_unlock(&m->lock);
}

/* ---- the page ---- */

static void write_series(const series *s, tt_buf *out)
{
    const char *name = families[s->family].name;
    for (unsigned i = 0; i < MOST_BUCKETS && families[s->family].buckets[i].text; i++)
        tt_buf_printf(out, "%s_bucket{%s,le=\"%s\"} %" PRIu64 "\n", name, s->labels, families[s->family].buckets[i].text, s->counts[i]);
    tt_buf_printf(out, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n%s_sum{%s} %.9g\n%s_count{%s} %" PRIu64 "\n", name, s->labels, s->count, name, s->labels, s->sum, name, s->labels, s->count);
}

void tt_query_metrics_write(void *arg, tt_buf *out)
{
    tt_query_metrics *m = arg;
    pthread_mutex_lock(&m->lock);
    for (unsigned f = 0; f < FAMILIES; f++) {
        tt_buf_printf(out, "# HELP %s %s\n# TYPE %s histogram\n", families[f].name, families[f].help, families[f].name);
        for (size_t i = 0; i < m->list.len; i++)
            if (m->list.ptr[i]->family == f)
                write_series(m->list.ptr[i], out);
    }
    pthread_mutex_unlock(&m->lock);
}
