#include "server/shared_area.h"

#include "base/clock.h"
#include "base/log.h"
#include "ledger/records.h"

enum { EVERY_MS = 5000 };

static const tt_str kind = {"shared", 6}, name = {"epoch", 5};

static tt_rc put_epoch(void *area, tt_txn *txn, tt_err *err)
{
    return tt_record_put(txn, kind, name, TT_ANY_VERSION, tt_str_of(((tt_shared_area *)area)->epoch), NULL, err);
}

/* True: what was there before is lost. */
static bool note(tt_shared_area *area, const char *epoch)
{
    pthread_mutex_lock(&area->lock);
    bool is_new = strcmp(area->epoch, epoch) != 0, lost = is_new && area->epoch[0];
    if (is_new)
        snprintf(area->epoch, sizeof area->epoch, "%s", epoch);
    if (lost) {
        area->losses++;
        area->lost_ms = tt_wall_ms();
    }
    pthread_mutex_unlock(&area->lock);
    if (is_new && tt_ledger_run(area->own, put_epoch, area, NULL) != TT_OK)
        tt_log_warn("cannot note which shared ledger this is");
    return lost;
}

static void look_at(tt_shared_area *area, const tt_shared_status *s)
{
    if (s->online && s->epoch[0] && note(area, s->epoch))
        tt_log_error("Redis has lost the shared ledger: its tasks, schedules and secrets are gone, and a new one was begun", TT_F_CSTR("redis", s->shown));
}

static void look(void *arg)
{
    tt_shared_area *area = arg;
    tt_shared_status s;
    tt_ledger_shared_status(area->work, &s);
    look_at(area, &s);
    pthread_mutex_lock(&area->lock);
    area->busy = !area->closing;
    if (area->busy)
        tt_timer_set(area->timers, &area->timer, tt_mono_ms() + EVERY_MS);
    pthread_cond_broadcast(&area->idle);
    pthread_mutex_unlock(&area->lock);
}

static void on_time(void *arg)
{
    tt_shared_area *area = arg;
    tt_pool_run(area->pool, look, area);
}

void tt_shared_area_start(tt_shared_area *area)
{
    TT_BUF_AUTO tt_buf epoch = {0};
    pthread_mutex_init(&area->lock, NULL);
    pthread_cond_init(&area->idle, NULL);
    if (tt_record_get(area->own, kind, name, &epoch, NULL, NULL) == TT_OK)
        snprintf(area->epoch, sizeof area->epoch, "%.*s", TT_STR_ARG(tt_buf_view(&epoch)));
    area->timer = (tt_timer){.fn = on_time, .arg = area};
    area->busy = true;
    tt_pool_run(area->pool, look, area);
}

void tt_shared_area_close(tt_shared_area *area)
{
    if (!area->work)
        return;
    pthread_mutex_lock(&area->lock);
    area->closing = true;
    if (area->busy && tt_timer_cancel(area->timers, &area->timer))
        area->busy = false;
    while (area->busy)
        pthread_cond_wait(&area->idle, &area->lock);
    pthread_mutex_unlock(&area->lock);
}

/* ---- what is said ---- */

bool tt_shared_health(void *arg, json_t *object)
{
    tt_shared_area *area = arg;
    tt_shared_status s;
    tt_ledger_shared_status(area->work, &s);
    look_at(area, &s);
    pthread_mutex_lock(&area->lock);
    uint64_t losses = area->losses;
    pthread_mutex_unlock(&area->lock);
    const char *warning = losses ? "Redis has lost the shared ledger since this server started: tasks that were in it are gone" : s.warning;
    json_object_set_new(object, "shared", json_pack("{s:s,s:b,s:b,s:s,s:s,s:I,s:I,s:s,s:s}", "address", s.shown, "online", s.online, "appendonly", s.is_appending, "appendfsync", s.fsync,
                                                    "eviction", s.eviction, "refused", (json_int_t)s.refused, "losses", (json_int_t)losses, "warning", warning,
                                                    "last_failure", s.last_failure));
    return s.online;
}

void tt_shared_write_metrics(void *arg, tt_buf *out)
{
    tt_shared_area *area = arg;
    tt_shared_status s;
    tt_ledger_shared_status(area->work, &s);
    pthread_mutex_lock(&area->lock);
    uint64_t losses = area->losses;
    pthread_mutex_unlock(&area->lock);
    tt_buf_printf(out, "# HELP tutti_shared_online The Redis of the shared ledger answers.\n# TYPE tutti_shared_online gauge\ntutti_shared_online %d\n", s.online);
    tt_buf_printf(out, "# HELP tutti_shared_losses How often that Redis lost the ledger.\n# TYPE tutti_shared_losses counter\ntutti_shared_losses_total %llu\n", (unsigned long long)losses);
    if (s.online)
        tt_buf_printf(out, "# HELP tutti_shared_refused Words about tasks under a lease that was gone.\n# TYPE tutti_shared_refused counter\ntutti_shared_refused_total %llu\n",
                      (unsigned long long)s.refused);
}
