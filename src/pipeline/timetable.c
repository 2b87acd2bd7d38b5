#include "pipeline/timetable.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "ledger/records.h"
#include "work/recur.h"

static const tt_str kind = {"timetable", 9};

/* The wall clock may jump, and a configuration may be changed by others: looked at least so often. */
enum { CLOCK_MS = 1000, READ_S = 2, GRACE_S = 60, MOST_MISSED = 200000, SWEEP_S = 60, SWEEP_RUNS = 20 };

/* One active pipeline with a schedule, as known here. */
typedef struct {
    char *name, *every, *zone, *missed;
    int64_t next_s;  /* INT64_MAX: never again, or it cannot be understood */
    bool seen;       /* in the last reading */
} place;

struct tt_timetable {
    tt_timetable_env env;
    pthread_mutex_t lock;  /* one pass at a time; guards what follows */
    TT_VEC(place) places;
    int64_t read_s;        /* when the configuration was read last */
    bool was_read, read_fails;
    int64_t sweep_s;       /* when old runs are looked for again */
    tt_timetable_counts counts;
    pthread_mutex_t timer_lock; /* guards what follows */
    pthread_cond_t idle;
    tt_timer timer;
    bool busy, closing;
};

static int64_t now_s(const tt_timetable *t) { return t->env.now_s ? t->env.now_s() : tt_wall_ms() / 1000; }

/* ---- rules ---- */

static bool is_by_hand(tt_str every) { return every.len == 0 || tt_str_eq_nocase(every, TT_STR("none")); }

/* "" is UTC. */
static tt_rc find_zone(tt_str name, const tt_zone **ret, tt_err *err) { return tt_zone_find(name.len ? name : TT_STR("UTC"), ret, err); }

static tt_rc parse(tt_str every, tt_str zone_name, int64_t base_s, tt_recur *ret, const tt_zone **ret_zone, tt_err *err)
{
    tt_err why = {0};
    TT_TRY(find_zone(zone_name, ret_zone, err));
    tt_rc rc = tt_recur_parse(every, base_s, *ret_zone, ret, &why);
    return rc == TT_OK ? TT_OK : tt_fail(err, TT_INVALID, "the schedule `%.*s`: %s", TT_STR_ARG(tt_str_slice(every, 0, 100)), why.text);
}

tt_rc tt_timetable_check(const tt_pipeline_schedule *s, tt_err *err)
{
    static const char *const choices[] = {"", "latest", "all", "skip"};
    tt_recur r;
    const tt_zone *zone;
    bool known = false;
    for (size_t i = 0; i < TT_COUNT(choices); i++)
        known |= tt_str_is(s->missed, choices[i]);
    if (!known)
        return tt_fail(err, TT_INVALID, "`missed` is `%.*s`: it may be latest, all or skip", TT_STR_ARG(tt_str_slice(s->missed, 0, 60)));
    TT_TRY(find_zone(s->zone, &zone, err));
    return is_by_hand(s->frequency) ? TT_OK : parse(s->frequency, s->zone, 0, &r, &zone, err);
}

tt_rc tt_timetable_times(const tt_pipeline_schedule *s, int64_t from_s, int64_t to_s, int64_t *ret, size_t most, size_t *ret_count, tt_err *err)
{
    tt_recur r;
    const tt_zone *zone;
    *ret_count = 0;
    if (is_by_hand(s->frequency))
        return tt_fail(err, TT_INVALID, "the pipeline has no schedule: it runs by hand only");
    TT_TRY(parse(s->frequency, s->zone, from_s, &r, &zone, err));
    for (int64_t at_s = from_s - 1;;) {
        tt_rc rc = tt_recur_next(&r, zone, from_s - 1, at_s, &at_s, err);
        if (rc == TT_NOT_FOUND || (rc == TT_OK && at_s >= to_s))
            return TT_OK;
        TT_TRY(rc);
        if (*ret_count == most)
            return tt_fail(err, TT_TOO_LARGE, "there are more than %zu times of the schedule between these: take a shorter time", most);
        ret[(*ret_count)++] = at_s;
    }
}

/* ---- records ---- */

typedef struct {
    tt_timetable *t;
    tt_str name;
    uint64_t version; /* 0: there is none */
    json_t *root;
} entry;

static void entry_deinit(entry *e)
{
    json_decref(e->root);
    e->root = NULL;
}
#define ENTRY_AUTO __attribute__((cleanup(entry_deinit)))

static tt_str text_of(const json_t *o, const char *name) { return (tt_str){json_string_value(json_object_get(o, name)), json_string_length(json_object_get(o, name))}; }
static int64_t int_of(const json_t *o, const char *name) { return json_integer_value(json_object_get(o, name)); }

/* An empty object when there is none, or it is damaged: then it counts from now. */
static tt_rc load_entry(tt_timetable *t, tt_str name, entry *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    *ret = (entry){.t = t, .name = name};
    tt_rc rc = tt_record_get(t->env.runs->ledger, kind, name, &text, &ret->version, err);
    if (rc != TT_OK && rc != TT_NOT_FOUND)
        return rc;
    ret->root = rc == TT_OK ? json_loadb(text.ptr, text.len, 0, NULL) : NULL;
    if (!json_is_object(ret->root)) {
        json_decref(ret->root);
        ret->root = json_object();
    }
    return TT_OK;
}

static tt_rc put_entry(entry *e, tt_txn *txn, tt_err *err)
{
    char *text = json_dumps(e->root, JSON_COMPACT);
    tt_rc rc = text ? tt_record_put(txn, kind, e->name, e->version, tt_str_of(text), &e->version, err) : tt_fail(err, TT_NOMEM, "no memory for a timetable");
    free(text);
    return rc;
}

static tt_rc apply_put(void *arg, tt_txn *txn, tt_err *err) { return put_entry(arg, txn, err); }

static tt_rc next_of(const entry *e, int64_t after_s, int64_t *ret_s, tt_err *err)
{
    tt_recur r;
    const tt_zone *zone;
    TT_TRY(parse(text_of(e->root, "every"), text_of(e->root, "zone"), int_of(e->root, "made_s"), &r, &zone, err));
    tt_rc rc = tt_recur_next(&r, zone, int_of(e->root, "made_s"), after_s, ret_s, err);
    if (rc == TT_NOT_FOUND)
        *ret_s = INT64_MAX;
    return rc == TT_NOT_FOUND ? TT_OK : rc;
}

static void set_next(entry *e, int64_t next_s) { json_object_set_new(e->root, "next_s", next_s == INT64_MAX ? json_null() : json_integer(next_s)); }
static int64_t get_next(const entry *e)
{
    const json_t *next = json_object_get(e->root, "next_s");
    return json_is_integer(next) ? json_integer_value(next) : INT64_MAX;
}

/* ---- one pipeline ---- */

/* A schedule that is new or another than before counts from now. */
static tt_rc adopt(place *p, entry *e, int64_t at_s, tt_err *err)
{
    int64_t next_s;
    bool same = e->version && tt_str_is(text_of(e->root, "every"), p->every) && tt_str_is(text_of(e->root, "zone"), p->zone);
    if (same)
        return TT_OK;
    json_object_set_new(e->root, "every", json_string(p->every));
    json_object_set_new(e->root, "zone", json_string(p->zone));
    json_object_set_new(e->root, "made_s", json_integer(at_s));
    TT_TRY(next_of(e, at_s, &next_s, err));
    set_next(e, next_s);
    return tt_ledger_run(e->t->env.runs->ledger, apply_put, e, err);
}

/* Of the times that have come the one that is dealt with now; the record's next is the one behind it. False: none starts a run. */
static tt_rc choose_due(const place *p, entry *e, int64_t at_s, int64_t *ret_due_s, bool *ret_starts, tt_err *err)
{
    int64_t due_s = get_next(e), next_s;
    bool all = strcmp(p->missed, "all") == 0;
    TT_TRY(next_of(e, due_s, &next_s, err));
    for (int i = 0; !all && next_s <= at_s && i < MOST_MISSED; i++) {
        due_s = next_s;
        TT_TRY(next_of(e, due_s, &next_s, err));
    }
    set_next(e, next_s);
    *ret_due_s = due_s;
    *ret_starts = strcmp(p->missed, "skip") != 0 || at_s - due_s <= GRACE_S;
    return TT_OK;
}

static void note_last(entry *e, int64_t due_s, int64_t at_s, const char *outcome, const char *reason, uint64_t run)
{
    json_t *last = json_pack("{s:I,s:I,s:s,s:s?}", "due_s", (json_int_t)due_s, "at_s", (json_int_t)at_s, "outcome", outcome, "reason", reason);
    if (run)
        json_object_set_new(last, "run", json_integer((json_int_t)run));
    json_object_set_new(e->root, "last", last);
}

/* In a ledger that several servers share, one of them may have been a moment faster. */
static bool is_anothers(const tt_timetable *t, tt_rc rc) { return tt_ledger_is_shared(t->env.runs->ledger) && (rc == TT_CONFLICT || rc == TT_EXISTS); }

/* There the run is started by now: a record that another server has moved on is as good. */
static tt_rc put_with_run(void *arg, tt_txn *txn, uint64_t run, tt_err *err)
{
    entry *e = arg;
    json_object_set_new(json_object_get(e->root, "last"), "run", json_integer((json_int_t)run));
    tt_rc rc = put_entry(e, txn, err);
    return is_anothers(e->t, rc) ? TT_OK : rc;
}

static tt_rc start(entry *e, int64_t due_s, tt_err *err)
{
    TT_PIPELINE_AUTO tt_pipeline *p = NULL;
    uint64_t run;
    TT_TRY(e->t->env.load(e->t->env.arg, e->name, &p, err));
    TT_TRY(tt_pipeline_check(p, err));
    return tt_pipeline_run(e->t->env.runs, &(tt_run_wish){.pipeline = p, .cause = TT_STR("schedule"), .actor = TT_STR("schedule"), .due_ms = due_s * 1000, .also = put_with_run, .also_arg = e}, &run, err);
}

static bool is_passing(tt_rc rc) { return rc == TT_NOMEM || rc == TT_UNAVAILABLE || rc == TT_TIMEOUT || rc == TT_IO; }

/* TT_OK also when no run could be started: that is written down then. */
static tt_rc fire(place *p, entry *e, int64_t at_s, tt_err *err)
{
    int64_t due_s;
    bool starts;
    tt_err why = {0};
    TT_TRY(choose_due(p, e, at_s, &due_s, &starts, err));
    note_last(e, due_s, at_s, starts ? "started" : "skipped", NULL, 0);
    tt_rc rc = starts ? start(e, due_s, &why) : TT_OK;
    if (rc == TT_OK && starts) {
        e->t->counts.started++;
        tt_log_info("timetable", TT_F_STR("pipeline", e->name), TT_F_CSTR("outcome", "started"));
        return TT_OK;
    }
    if (is_passing(rc))
        return tt_fail(err, rc, "%s", why.text);
    if (rc != TT_OK) {
        bool others = rc == TT_EXISTS;
        note_last(e, due_s, at_s, others ? "elsewhere" : "failed", others ? "another server has started it" : why.text, 0);
        e->t->counts.failed += !others;
        tt_log_warn("timetable", TT_F_STR("pipeline", e->name), TT_F_CSTR("outcome", others ? "elsewhere" : "failed"), TT_F_CSTR("reason", why.text));
    }
    return tt_ledger_run(e->t->env.runs->ledger, apply_put, e, err);
}

static tt_rc attend(tt_timetable *t, place *p, int64_t at_s, tt_err *err)
{
    ENTRY_AUTO entry e = {0};
    bool paused = false;
    int64_t next_s;
    TT_TRY(load_entry(t, tt_str_of(p->name), &e, err));
    TT_TRY(adopt(p, &e, at_s, err));
    TT_TRY(tt_run_is_paused(t->env.runs->ledger, e.name, &paused, err));
    if (paused && get_next(&e) <= at_s) { /* its times pass */
        TT_TRY(next_of(&e, at_s, &next_s, err));
        set_next(&e, next_s);
        TT_TRY(tt_ledger_run(t->env.runs->ledger, apply_put, &e, err));
    } else if (get_next(&e) <= at_s) {
        TT_TRY(fire(p, &e, at_s, err));
    }
    p->next_s = get_next(&e);
    return TT_OK;
}

/* ---- reading the configuration ---- */

static void place_free(place *p)
{
    free(p->name);
    free(p->every);
    free(p->zone);
    free(p->missed);
}

static place *find_place(tt_timetable *t, tt_str name)
{
    for (size_t i = 0; i < t->places.len; i++)
        if (tt_str_is(name, t->places.ptr[i].name))
            return &t->places.ptr[i];
    return NULL;
}

static void set_text(char **slot, tt_str text)
{
    free(*slot);
    *slot = tt_str_dup(text);
}

static void take_row(void *arg, const tt_timetable_row *row)
{
    tt_timetable *t = arg;
    place *p = find_place(t, row->name);
    if (is_by_hand(row->every))
        return;
    if (p && tt_str_is(row->every, p->every) && tt_str_is(row->zone, p->zone) && tt_str_is(row->missed, p->missed)) {
        p->seen = true;
        return;
    }
    if (!p && !tt_vec_push(&t->places, (place){0}))
        return;
    p = p ? p : &t->places.ptr[t->places.len - 1];
    set_text(&p->name, row->name);
    set_text(&p->every, row->every);
    set_text(&p->zone, row->zone);
    set_text(&p->missed, row->missed);
    p->next_s = INT64_MIN; /* looked at in this pass */
    p->seen = p->name && p->every && p->zone && p->missed;
}

static void read_configuration(tt_timetable *t, int64_t at_s)
{
    tt_err err = {0};
    for (size_t i = 0; i < t->places.len; i++)
        t->places.ptr[i].seen = false;
    tt_rc rc = t->env.list(t->env.arg, take_row, t, &err);
    if (rc != TT_OK && !t->read_fails)
        tt_log_warn("timetable", TT_F_CSTR("error", err.text));
    t->read_fails = rc != TT_OK;
    t->read_s = at_s;
    t->was_read |= rc == TT_OK;
    for (size_t i = t->places.len; rc == TT_OK && i-- > 0;)
        if (!t->places.ptr[i].seen) {
            place_free(&t->places.ptr[i]);
            tt_vec_swap_remove(&t->places, i);
        }
}

/* ---- old runs ---- */

typedef struct { int64_t until_ms; size_t count; } sweeping;

static tt_rc apply_sweep(void *arg, tt_txn *txn, tt_err *err)
{
    sweeping *s = arg;
    return tt_run_forget_old(txn, s->until_ms, SWEEP_RUNS, &s->count, err);
}

/* A few at a time, and soon again while there are more. */
static void sweep(tt_timetable *t, int64_t at_s)
{
    sweeping s = {.until_ms = at_s * 1000 + 999 - t->env.keep_ms}; /* this second, to its end */
    tt_err err = {0};
    if (t->env.keep_ms < 0 || (at_s < t->sweep_s && t->sweep_s <= at_s + SWEEP_S))
        return;
    if (tt_ledger_run(t->env.runs->ledger, apply_sweep, &s, &err) != TT_OK)
        tt_log_warn("timetable", TT_F_CSTR("error", err.text));
    t->sweep_s = s.count == SWEEP_RUNS ? at_s : at_s + SWEEP_S;
}

int64_t tt_timetable_pass(tt_timetable *t)
{
    int64_t at_s = now_s(t), next_s = INT64_MAX;
    pthread_mutex_lock(&t->lock);
    if (!t->was_read || at_s >= t->read_s + READ_S || at_s < t->read_s)
        read_configuration(t, at_s);
    sweep(t, at_s);
    t->counts.passes++;
    for (size_t i = 0; i < t->places.len; i++) {
        place *p = &t->places.ptr[i];
        tt_err err = {0};
        if (p->next_s <= at_s && attend(t, p, at_s, &err) != TT_OK) {
            if (!is_anothers(t, err.code))
                tt_log_error("timetable", TT_F_CSTR("pipeline", p->name), TT_F_CSTR("error", err.text));
            p->next_s = err.code == TT_INVALID ? INT64_MAX : at_s + 1; /* what cannot be understood waits until it is changed */
        }
        next_s = p->next_s < next_s ? p->next_s : next_s;
    }
    pthread_mutex_unlock(&t->lock);
    return next_s;
}

/* ---- the timer ---- */

static void arm(tt_timetable *t, int64_t next_s)
{
    int64_t wait_ms = next_s == INT64_MAX ? CLOCK_MS : next_s * 1000 - tt_wall_ms();
    wait_ms = wait_ms < 0 ? 0 : wait_ms > CLOCK_MS ? CLOCK_MS : wait_ms;
    pthread_mutex_lock(&t->timer_lock);
    t->busy = !t->closing;
    if (t->busy)
        tt_timer_set(t->env.timers, &t->timer, tt_mono_ms() + wait_ms);
    pthread_cond_broadcast(&t->idle);
    pthread_mutex_unlock(&t->timer_lock);
}

static void pass_on_pool(void *arg)
{
    tt_timetable *t = arg;
    arm(t, tt_timetable_pass(t));
}

static void on_timer(void *arg)
{
    tt_timetable *t = arg;
    tt_pool_run(t->env.pool, pass_on_pool, t);
}

void tt_timetable_start(tt_timetable *t) { arm(t, 0); }

tt_timetable *tt_timetable_new(const tt_timetable_env *env)
{
    tt_timetable *t = TT_NEW(tt_timetable);
    t->env = *env;
    pthread_mutex_init(&t->lock, NULL);
    pthread_mutex_init(&t->timer_lock, NULL);
    pthread_cond_init(&t->idle, NULL);
    t->timer = (tt_timer){.fn = on_timer, .arg = t};
    return t;
}

void tt_timetable_stop(tt_timetable *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->timer_lock);
    t->closing = true;
    if (t->busy && tt_timer_cancel(t->env.timers, &t->timer))
        t->busy = false;
    while (t->busy)
        pthread_cond_wait(&t->idle, &t->timer_lock);
    pthread_mutex_unlock(&t->timer_lock);
}

void tt_timetable_free(tt_timetable *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->places.len; i++)
        place_free(&t->places.ptr[i]);
    tt_vec_deinit(&t->places);
    pthread_mutex_destroy(&t->lock);
    pthread_mutex_destroy(&t->timer_lock);
    pthread_cond_destroy(&t->idle);
    free(t);
}

void tt_timetable_count(tt_timetable *t, tt_timetable_counts *ret)
{
    pthread_mutex_lock(&t->lock);
    *ret = t->counts;
    pthread_mutex_unlock(&t->lock);
}

/* ---- for people ---- */

static json_t *time_or_null(const json_t *seconds)
{
    char text[TT_TIME_TEXT];
    return json_is_integer(seconds) ? json_string(tt_time_text(json_integer_value(seconds) * 1000, text)) : json_null();
}

tt_rc tt_timetable_show(tt_ledger *ledger, tt_str name, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    TT_TRY(tt_record_get(ledger, kind, name, &text, NULL, err));
    json_t *root = json_loadb(text.ptr, text.len, 0, NULL), *last = json_object_get(root, "last");
    json_t *shown = json_is_object(last) ? json_pack("{s:o,s:o,s:O*,s:O*,s:O*}", "due", time_or_null(json_object_get(last, "due_s")), "at", time_or_null(json_object_get(last, "at_s")),
                                                     "outcome", json_object_get(last, "outcome"), "reason", json_object_get(last, "reason"), "run", json_object_get(last, "run"))
                                         : json_null();
    *ret = json_pack("{s:s%,s:O*,s:O*,s:o,s:o}", "pipeline", name.ptr, name.len, "every", json_object_get(root, "every"), "zone", json_object_get(root, "zone"),
                     "next", time_or_null(json_object_get(root, "next_s")), "last", shown);
    json_decref(root);
    return *ret ? TT_OK : tt_fail(err, TT_NOMEM, "no memory for a timetable");
}
