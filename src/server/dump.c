#include "server/dump.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ledger/queue.h"
#include "server/inside.h"

enum { MOST_JOBS = 1000, MOST_REPORT_BYTES = 4096 };

static void say(const char *what, const tt_log_field *fields, size_t count) { tt_log_write(TT_LOG_INFO, what, fields, count); }
#define SAY(what, ...) say(what, (const tt_log_field[]){__VA_ARGS__}, sizeof((const tt_log_field[]){__VA_ARGS__}) / sizeof(tt_log_field))

/* The letter of a thread's state: R runs, S sleeps, D waits for a disk. Its name stands in parentheses before it. */
static void put_thread(const char *tid, tt_buf *out)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[len < 0 ? 0 : len] = '\0';
    char *open_mark = strchr(text, '('), *close_mark = strrchr(text, ')');
    if (!open_mark || !close_mark || close_mark < open_mark || strlen(close_mark) < 3)
        return;
    tt_buf_printf(out, "%s%.*s:%c", out->len ? "," : "", (int)(close_mark - open_mark - 1), open_mark + 1, close_mark[2]);
}

static void dump_threads(void)
{
    TT_BUF_AUTO tt_buf list = {0};
    int64_t count = 0;
    DIR *dir = opendir("/proc/self/task");
    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        if (entry->d_name[0] != '.') {
            put_thread(entry->d_name, &list);
            count++;
        }
    if (dir)
        closedir(dir);
    SAY("state: threads", TT_F_INT("count", count), TT_F_STR("threads", tt_buf_view(&list)));
}

static void dump_http(tt_server *s)
{
    SAY("state: http", TT_F_INT("connections", atomic_load(&s->stats.connections)), TT_F_INT("requests_running", atomic_load(&s->stats.requests_running)),
        TT_F_INT("requests_arriving", atomic_load(&s->stats.requests_arriving)), TT_F_INT("body_memory_bytes", atomic_load(&s->body_memory_bytes)),
        TT_F_INT("spool_bytes", atomic_load(&s->spool_bytes)), TT_F_INT("draining", atomic_load(&s->draining)),
        TT_F_INT("uptime_s", (tt_mono_ms() - s->started_ms) / 1000));
}

static void dump_writer(tt_ledger *ledger)
{
    tt_ledger_health h;
    tt_ledger_get_health(ledger, &h);
    SAY("state: writer", TT_F_INT("groups", h.groups), TT_F_INT("changes", h.changes), TT_F_INT("failures", h.failures),
        TT_F_INT("oldest_wait_ms", h.oldest_wait_ms), TT_F_INT("last_commit_us", h.last_commit_us), TT_F_CSTR("last_failure", h.last_failure));
}

static void dump_tasks(tt_tasks *tasks, tt_ledger *ledger)
{
    unsigned attached, consuming;
    tt_queue_counts counts = {0};
    tt_err err = {0};
    tt_tasks_count_workers(tasks, &attached, &consuming);
    SAY("state: workers", TT_F_INT("attached", attached), TT_F_INT("consuming", consuming));
    tt_tasks_count_query_workers(tasks, &attached, &consuming);
    SAY("state: query workers", TT_F_INT("attached", attached), TT_F_INT("consuming", consuming));
    if (tt_queue_count(ledger, (tt_str){0}, &counts, &err) != TT_OK) {
        SAY("state: queue", TT_F_CSTR("why", err.text));
        return;
    }
    tt_log_field fields[TT_TASK_CANCELED + 2];
    for (int s = TT_TASK_DEFERRED; s <= TT_TASK_CANCELED; s++)
        fields[s] = (tt_log_field)TT_F_INT(tt_task_state_name((tt_task_state)s), counts.by_state[s]);
    fields[TT_TASK_CANCELED + 1] = (tt_log_field)TT_F_INT("oldest_queued_ms", counts.oldest_queued_ms);
    say("state: queue", fields, TT_COUNT(fields));
}

static void dump_job(void *arg, tt_job *j)
{
    size_t *count = arg;
    TT_BUF_AUTO tt_buf report = {0};
    if ((*count)++ >= MOST_JOBS)
        return;
    tt_job_report(j, &report);
    SAY("state: job", TT_F_CSTR("job", tt_job_name(j)), TT_F_STR("report", tt_str_slice(tt_buf_view(&report), 0, MOST_REPORT_BYTES)));
}

static void dump_items(tt_items *items)
{
    tt_items_totals t;
    size_t count = 0;
    tt_items_count(items, &t);
    SAY("state: items", TT_F_INT("jobs", t.jobs), TT_F_INT("complete", t.complete), TT_F_INT("broken", t.broken), TT_F_INT("pending", t.pending),
        TT_F_INT("in_flight", t.served), TT_F_INT("received", t.received), TT_F_INT("errors", t.errors), TT_F_INT("dead", t.dead),
        TT_F_INT("leases", t.leases), TT_F_INT("oldest_lease_ms", t.oldest_lease_ms), TT_F_INT("cache_bytes", t.cache_bytes));
    tt_items_each(items, dump_job, &count);
    if (count > MOST_JOBS)
        SAY("state: more jobs", TT_F_INT("not_shown", count - MOST_JOBS));
}

void tt_dump_state(const tt_dump_parts *parts)
{
    dump_threads();
    dump_http(parts->server);
    dump_writer(parts->ledger);
    dump_tasks(parts->tasks, parts->ledger);
    dump_items(parts->items);
}
