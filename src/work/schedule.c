#include "work/schedule.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "ledger/records.h"
#include "work/execution.h"
#include "work/recur.h"

static const tt_str kind = {"schedule", 8};

struct tt_schedules {
    tt_schedules_env env;
    pthread_mutex_t lock; /* one change or pass at a time; guards the counts */
    tt_schedule_counts counts;
    pthread_mutex_t timer_lock; /* guards what follows */
    pthread_cond_t idle;
    tt_timer timer;
    bool busy;    /* the timer is armed, or a pass is under way */
    bool again;   /* something changed meanwhile */
    bool closing;
};

static int64_t now_s(const tt_schedules *s) { return s->env.now_s ? s->env.now_s() : tt_wall_ms() / 1000; }

static tt_str text_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return (tt_str){json_string_value(value), json_string_length(value)};
}

static int64_t int_of(const json_t *object, const char *name) { return json_integer_value(json_object_get(object, name)); }

/* ---- a record: {"def":{...},"sealed":"...","state":{...}} ---- */

typedef struct {
    tt_schedules *s;
    tt_str name;
    uint64_t version;
    json_t *root, *def, *state; /* def and state belong to root */
    tt_recur recur;
    const tt_zone *zone;
} entry;

static void entry_deinit(entry *e)
{
    json_decref(e->root);
    e->root = NULL;
}
#define ENTRY_AUTO __attribute__((cleanup(entry_deinit)))

static tt_rc entry_parse(entry *e, tt_str text, tt_err *err)
{
    e->root = json_loadb(text.ptr ? text.ptr : "", text.len, 0, NULL);
    e->def = json_object_get(e->root, "def");
    e->state = json_object_get(e->root, "state");
    if (!json_is_object(e->def) || !json_is_object(e->state))
        return tt_fail(err, TT_CORRUPT, "the record of the schedule `%.*s` is damaged: remove it and add it again", TT_STR_ARG(e->name));
    TT_TRY(tt_zone_find(text_of(e->def, "zone"), &e->zone, err));
    return tt_recur_parse(text_of(e->state, "rule"), int_of(e->state, "made_s"), e->zone, &e->recur, err);
}

static tt_rc entry_load(tt_schedules *s, tt_str name, entry *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    *ret = (entry){.s = s, .name = name};
    tt_rc rc = tt_record_get(s->env.ledger, kind, name, &text, &ret->version, err);
    if (rc == TT_NOT_FOUND)
        return tt_fail(err, TT_NOT_FOUND, "there is no schedule `%.*s`", TT_STR_ARG(tt_str_slice(name, 0, 100)));
    TT_TRY(rc);
    return entry_parse(ret, tt_buf_view(&text), err);
}

static tt_rc put_entry(entry *e, tt_txn *txn, tt_err *err)
{
    char *text = json_dumps(e->root, JSON_COMPACT);
    tt_rc rc = text ? tt_record_put(txn, kind, e->name, e->version, tt_str_of(text), &e->version, err) : tt_fail(err, TT_NOMEM, "no memory for a schedule");
    free(text);
    return rc;
}

static void set_next(entry *e, int64_t after_s)
{
    int64_t next_s;
    tt_rc rc = tt_recur_next(&e->recur, e->zone, int_of(e->state, "made_s"), after_s, &next_s, NULL);
    json_object_set_new(e->state, "next_s", rc == TT_OK ? json_integer(next_s) : json_null());
}

static void context_of(tt_str name, tt_buf *ret) { tt_buf_printf(ret, "schedule/%.*s", TT_STR_ARG(name)); }

/* {"settings":...,"storage":...} as it was given. */
static tt_rc open_wish(const entry *e, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf context = {0}, plain = {0};
    context_of(e->name, &context);
    TT_TRY(tt_vault_open(e->s->env.vault, tt_buf_view(&context), text_of(e->root, "sealed"), &plain, err));
    *ret = json_loadb(plain.ptr, plain.len, 0, NULL);
    return *ret ? TT_OK : tt_fail(err, TT_CORRUPT, "the settings of the schedule `%.*s` are damaged: add it again", TT_STR_ARG(e->name));
}

/* ---- firing ---- */

typedef struct {
    entry *e;
    tt_task_spec spec;
    char key[200], id[TT_EXECUTION_ID_BYTES + 1], number[TT_EXECUTION_NUMBER_BYTES];
    char *text; /* of the schedule's record; heap */
    tt_buf payload;
    bool has_task, by_hand, committed;
    uint64_t task;
    int64_t due_s, at_s, timeout_ms;
    uint64_t memory_bytes;
    const char *outcome; /* "started", "skipped", "failed" */
    const char *reason;  /* NULL: none */
} firing;

static void firing_deinit(firing *f)
{
    tt_buf_deinit(&f->payload);
    free(f->text);
}
#define FIRING_AUTO __attribute__((cleanup(firing_deinit)))

static tt_rc make_execution(firing *f, const json_t *wish, tt_err *err)
{
    const tt_schedules_env *env = &f->e->s->env;
    TT_BUF_AUTO tt_buf owner = {0};
    tt_program *p = NULL;
    json_t *checked = NULL;
    struct timespec now;
    TT_TRY(tt_catalog_find(env->catalog, text_of(f->e->def, "program"), &p, err));
    tt_rc rc = p->rc == TT_OK ? tt_settings_check(&p->settings, json_object_get(wish, "settings"), &checked, err)
                              : tt_fail(err, TT_INVALID, "the program `%s` is broken: %s", p->file.name, p->error);
    clock_gettime(CLOCK_REALTIME, &now);
    tt_buf_printf(&owner, "schedule-%.*s", TT_STR_ARG(f->e->name));
    tt_execution_make_id((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, tt_buf_view(&owner), p->file.name, f->id);
    if (rc == TT_OK)
        rc = tt_execution_payload(env->vault, p, &(tt_execution_order){.id = f->id, .settings = checked, .storage = json_object_get(wish, "storage")}, &f->payload, err);
    f->timeout_ms = p->timeout_ms;
    f->memory_bytes = p->memory_bytes;
    json_decref(checked);
    tt_program_unref(p);
    return rc;
}

/* What comes to be with the task, so that no time fires twice, nor is passed over: the schedule's new state, and the execution's id. */
static tt_rc remember(void *arg, uint64_t task, tt_task_record ret[TT_TASK_RECORDS], size_t *ret_count, tt_err *err)
{
    firing *f = arg;
    json_t *last = json_object_get(f->e->state, "last");
    json_object_set_new(f->e->state, "task", json_integer((json_int_t)task));
    json_object_set_new(last, "task", json_integer((json_int_t)task));
    if (f->id[0]) {
        json_object_set_new(last, "execution", json_string(f->id));
        ret[(*ret_count)++] = tt_execution_record(f->id, task, f->number);
    }
    free(f->text);
    f->text = json_dumps(f->e->root, JSON_COMPACT);
    ret[(*ret_count)++] = (tt_task_record){kind, f->e->name, f->e->version, tt_str_of(f->text)};
    return f->text ? TT_OK : tt_fail(err, TT_NOMEM, "no memory for a schedule");
}

static tt_rc make_task(firing *f, tt_err *err)
{
    const json_t *def = f->e->def;
    json_t *wish = NULL;
    bool is_execution = text_of(def, "program").len > 0;
    if (is_execution) {
        TT_TRY(open_wish(f->e, &wish, err));
        tt_rc rc = make_execution(f, wish, err);
        json_decref(wish);
        TT_TRY(rc);
    } else {
        tt_buf_str(&f->payload, text_of(def, "payload"));
    }
    snprintf(f->key, sizeof f->key, "schedule/%.*s/%lld%s", TT_STR_ARG(f->e->name), (long long)f->due_s, f->by_hand ? "/by-hand" : "");
    tt_str queue = text_of(def, "queue");
    f->spec = (tt_task_spec){.queue = queue.len ? queue : TT_STR("default"), .kind = is_execution ? TT_STR("execution") : text_of(def, "kind"),
                             .unique_key = tt_str_of(f->key), .payload = tt_buf_view(&f->payload), .priority = (int32_t)int_of(def, "priority"),
                             .max_attempts = (uint32_t)int_of(def, "max_attempts"), .backoff_ms = 1000,
                             .program = text_of(def, "program"), .timeout_ms = f->timeout_ms, .memory_bytes = f->memory_bytes};
    f->spec.records = remember;
    f->spec.records_arg = f;
    f->has_task = true;
    return tt_buf_check(&f->payload, err);
}

static tt_rc apply_firing(void *arg, tt_txn *txn, tt_err *err)
{
    firing *f = arg;
    json_t *last = json_pack("{s:I,s:I,s:s,s:s?}", "due_s", (json_int_t)f->due_s, "at_s", (json_int_t)f->at_s, "outcome", f->outcome, "reason", f->reason);
    json_object_set_new(f->e->state, "last", last);
    if (!f->has_task)
        return put_entry(f->e, txn, err);
    TT_TRY(tt_queue_push(txn, &f->spec, &f->task, err));
    f->e->version++;
    return TT_OK;
}

/* TT_OK also when the task cannot be made: then that is what the schedule remembers. */
static tt_rc fire(firing *f, bool may_run, tt_err *err)
{
    tt_schedules *s = f->e->s;
    tt_err why = {0};
    f->outcome = may_run ? "started" : "skipped";
    if (!may_run)
        f->reason = "the run before it has not ended";
    tt_rc made = may_run ? make_task(f, &why) : TT_OK;
    if (made == TT_NOMEM)
        return tt_fail(err, TT_NOMEM, "%s", why.text);
    if (made != TT_OK) {
        f->outcome = "failed";
        f->reason = why.text;
        f->has_task = false;
    }
    TT_TRY(tt_ledger_run(s->env.ledger, apply_firing, f, err));
    f->committed = true;
    if (f->has_task && s->env.tasks)
        tt_tasks_wake(s->env.tasks);
    s->counts.fired += f->has_task;
    s->counts.skipped += !may_run;
    s->counts.failed += made != TT_OK;
    if (f->has_task)
        tt_log_info("schedule", TT_F_STR("name", f->e->name), TT_F_CSTR("outcome", f->outcome), TT_F_INT("task", f->task));
    else
        tt_log_warn("schedule", TT_F_STR("name", f->e->name), TT_F_CSTR("outcome", f->outcome), TT_F_CSTR("reason", f->reason));
    return made == TT_OK ? TT_OK : tt_fail(err, made, "%s", why.text);
}

static bool last_has_ended(const entry *e)
{
    tt_arena arena = {0};
    tt_task task;
    uint64_t id = (uint64_t)int_of(e->state, "task");
    bool runs = id && tt_queue_get(e->s->env.ledger, id, &arena, &task, NULL) == TT_OK && task.state < TT_TASK_FINISHED;
    tt_arena_deinit(&arena);
    return !runs;
}

/* Of the times that have come, the one that is dealt with now; the state's next_s is the one behind it. False: none of them fires. */
static bool choose_due(entry *e, int64_t at_s, int64_t *ret_due_s)
{
    enum { GRACE_S = 60, MOST = 200000 };
    tt_str missed = text_of(e->def, "missed");
    bool all = tt_str_is(missed, "all"), skip = tt_str_is(missed, "skip");
    int64_t due_s = int_of(e->state, "next_s");
    set_next(e, due_s);
    for (int i = 0; !all && i < MOST; i++) {
        const json_t *next = json_object_get(e->state, "next_s");
        if (!json_is_integer(next) || json_integer_value(next) > at_s)
            break;
        due_s = json_integer_value(next);
        set_next(e, due_s);
    }
    *ret_due_s = due_s;
    return !skip || at_s - due_s <= GRACE_S;
}

static tt_rc apply_put(void *arg, tt_txn *txn, tt_err *err) { return put_entry(arg, txn, err); }

static tt_rc fire_due(entry *e, int64_t at_s, tt_err *err)
{
    FIRING_AUTO firing f = {.e = e, .at_s = at_s};
    if (!choose_due(e, at_s, &f.due_s))
        return tt_ledger_run(e->s->env.ledger, apply_put, e, err);
    tt_rc rc = fire(&f, tt_str_is(text_of(e->def, "overlap"), "allow") || last_has_ended(e), err);
    return f.committed ? TT_OK : rc;
}

/* ---- passes ---- */

typedef struct {
    tt_schedules *s;
    int64_t at_s, next_s;
    TT_VEC(char *) due; /* names */
} look;

static bool is_enabled(const json_t *def) { return !json_is_false(json_object_get(def, "enabled")); }

/* The clock went back by more than a day behind the last time. */
static bool is_ahead(const json_t *state, int64_t at_s)
{
    enum { DAY_S = 86400 };
    return int_of(json_object_get(state, "last"), "due_s") > at_s + DAY_S && int_of(state, "next_s") > at_s + DAY_S;
}

static bool look_at(void *arg, tt_str name, uint64_t version, tt_str text)
{
    look *l = arg;
    json_t *root = json_loadb(text.ptr ? text.ptr : "", text.len, 0, NULL);
    const json_t *state = json_object_get(root, "state"), *next = json_object_get(state, "next_s");
    if (json_is_integer(next) && is_enabled(json_object_get(root, "def"))) {
        int64_t next_s = json_integer_value(next);
        char *copy = next_s <= l->at_s || is_ahead(state, l->at_s) ? tt_str_dup(name) : NULL;
        if (copy && !tt_vec_push(&l->due, copy))
            free(copy);
        l->next_s = next_s < l->next_s ? next_s : l->next_s;
    }
    json_decref(root);
    return true;
}

static tt_rc look_around(tt_schedules *s, look *ret)
{
    *ret = (look){.s = s, .at_s = now_s(s), .next_s = INT64_MAX};
    return tt_record_each(s->env.ledger, kind, look_at, ret, NULL);
}

static void look_deinit(look *l)
{
    for (size_t i = 0; i < l->due.len; i++)
        free(l->due.ptr[i]);
    tt_vec_deinit(&l->due);
}

static tt_rc attend(tt_schedules *s, const char *name, int64_t at_s, tt_err *err)
{
    ENTRY_AUTO entry e = {0};
    TT_TRY(entry_load(s, tt_str_of(name), &e, err));
    if (int_of(e.state, "next_s") <= at_s)
        return fire_due(&e, at_s, err);
    set_next(&e, at_s);
    json_object_del(e.state, "last");
    return tt_ledger_run(s->env.ledger, apply_put, &e, err);
}

/* Another server that shares the ledger was quicker: its task, and what it wrote. */
static bool is_anothers(const tt_schedules *s, tt_rc rc) { return tt_ledger_is_shared(s->env.ledger) && (rc == TT_CONFLICT || rc == TT_EXISTS); }

int64_t tt_schedules_pass(tt_schedules *s)
{
    look l;
    int64_t next_s;
    bool failed = false;
    pthread_mutex_lock(&s->lock);
    tt_rc rc = look_around(s, &l);
    for (size_t i = 0; i < l.due.len && rc == TT_OK; i++) {
        tt_err err = {0};
        tt_rc one = attend(s, l.due.ptr[i], l.at_s, &err);
        if (one != TT_OK && !is_anothers(s, one)) {
            failed = true; /* tried again by the next pass */
            tt_log_error("schedule", TT_F_CSTR("name", l.due.ptr[i]), TT_F_CSTR("error", err.text));
        }
    }
    look_deinit(&l);
    rc = look_around(s, &l);
    next_s = failed || rc != TT_OK ? l.at_s + 1 : l.next_s;
    look_deinit(&l);
    pthread_mutex_unlock(&s->lock);
    return next_s;
}

/* ---- the timer ---- */

/* Looked at least so often: the wall clock may jump. */
enum { LOOK_MS = 1000 };

static void arm(tt_schedules *s, int64_t next_s)
{
    int64_t wait_ms = next_s == INT64_MAX ? LOOK_MS : next_s * 1000 - tt_wall_ms();
    wait_ms = wait_ms < 0 ? 0 : wait_ms > LOOK_MS ? LOOK_MS : wait_ms;
    pthread_mutex_lock(&s->timer_lock);
    s->busy = !s->closing;
    if (s->busy)
        tt_timer_set(s->env.timers, &s->timer, tt_mono_ms() + (s->again ? 0 : wait_ms));
    s->again = false;
    pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->timer_lock);
}

static void pass_on_pool(void *arg)
{
    tt_schedules *s = arg;
    arm(s, tt_schedules_pass(s));
}

static void on_timer(void *arg)
{
    tt_schedules *s = arg;
    tt_pool_run(s->env.pool, pass_on_pool, s);
}

void tt_schedules_start(tt_schedules *s) { arm(s, 0); }

tt_schedules *tt_schedules_new(const tt_schedules_env *env)
{
    tt_schedules *s = TT_NEW(tt_schedules);
    s->env = *env;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->timer_lock, NULL);
    pthread_cond_init(&s->idle, NULL);
    s->timer = (tt_timer){.fn = on_timer, .arg = s};
    return s;
}

void tt_schedules_stop(tt_schedules *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->timer_lock);
    s->closing = true;
    if (s->busy && tt_timer_cancel(s->env.timers, &s->timer))
        s->busy = false;
    while (s->busy)
        pthread_cond_wait(&s->idle, &s->timer_lock);
    pthread_mutex_unlock(&s->timer_lock);
}

void tt_schedules_free(tt_schedules *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->timer_lock);
    pthread_cond_destroy(&s->idle);
    free(s);
}

/* ---- definitions ---- */

static const char *const missed_choices[] = {"latest", "all", "skip", NULL}, *const overlap_choices[] = {"skip", "allow", NULL};

/* What a definition may hold. To add a member: a row, and what it does. */
static const struct member {
    const char *name, *what;
    json_type type;
    const char *const *choices; /* the first one is the default */
    bool sealed;
} members[] = {
    {"name", "a text", JSON_STRING}, {"when", "a text", JSON_STRING}, {"zone", "a text", JSON_STRING}, {"program", "a text", JSON_STRING},
    {"settings", "an object", JSON_OBJECT, .sealed = true}, {"storage", "an object", JSON_OBJECT, .sealed = true}, {"kind", "a text", JSON_STRING},
    {"payload", "a text", JSON_STRING}, {"missed", "latest, all or skip", JSON_STRING, missed_choices}, {"overlap", "skip or allow", JSON_STRING, overlap_choices},
    {"enabled", "true or false", JSON_TRUE}, {"queue", "a text", JSON_STRING}, {"priority", "a whole number", JSON_INTEGER}, {"max_attempts", "a whole number", JSON_INTEGER},
};

static const struct member *member_of(const char *name)
{
    for (size_t i = 0; i < TT_COUNT(members); i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

static bool fits(const struct member *m, const json_t *value)
{
    bool found = m->choices == NULL;
    if (m->type == JSON_TRUE ? !json_is_boolean(value) : json_typeof(value) != m->type)
        return false;
    for (const char *const *c = m->choices; c && *c; c++)
        found |= strcmp(*c, json_string_value(value)) == 0;
    return found;
}

/* Splits what came in into what is shown and what is sealed, both new references. */
static tt_rc split_body(const json_t *body, json_t **ret_def, json_t **ret_wish, tt_err *err)
{
    const char *name;
    json_t *value;
    *ret_def = json_object();
    *ret_wish = json_object();
    json_object_foreach((json_t *)(uintptr_t)body, name, value) {
        const struct member *m = member_of(name);
        if (!m)
            return tt_fail(err, TT_INVALID, "`%.60s` is no part of a schedule", name);
        if (!fits(m, value))
            return tt_fail(err, TT_INVALID, "`%s` must be %s", name, m->what);
        json_object_set(m->sealed ? *ret_wish : *ret_def, name, value);
    }
    for (size_t i = 0; i < TT_COUNT(members); i++)
        if (members[i].choices && !json_object_get(*ret_def, members[i].name))
            json_object_set_new(*ret_def, members[i].name, json_string(members[i].choices[0]));
    if (!json_object_get(*ret_def, "enabled"))
        json_object_set_new(*ret_def, "enabled", json_true());
    return TT_OK;
}

static tt_rc check_name(tt_str name, tt_err *err)
{
    enum { NAME_BYTES = 64 };
    bool good = name.len > 0 && name.len <= NAME_BYTES && !tt_str_is(name, "explain");
    for (size_t i = 0; i < name.len && good; i++)
        good = isalnum((unsigned char)name.ptr[i]) || name.ptr[i] == '-' || name.ptr[i] == '_';
    return good ? TT_OK : tt_fail(err, TT_INVALID, "`%.*s` is no name for a schedule: use up to %d letters, digits, - and _ (and not `explain`)",
                                  TT_STR_ARG(tt_str_slice(name, 0, 80)), NAME_BYTES);
}

static tt_rc check_program(tt_schedules *s, const json_t *def, const json_t *wish, tt_err *err)
{
    tt_program *p;
    json_t *checked = NULL;
    TT_TRY(tt_catalog_find(s->env.catalog, text_of(def, "program"), &p, err));
    tt_rc rc = p->rc == TT_OK ? tt_settings_check(&p->settings, json_object_get(wish, "settings"), &checked, err)
                              : tt_fail(err, TT_INVALID, "the program `%s` is broken: %s", p->file.name, p->error);
    json_decref(checked);
    tt_program_unref(p);
    return rc;
}

static tt_rc check_work(tt_schedules *s, const json_t *def, const json_t *wish, tt_err *err)
{
    tt_str program = text_of(def, "program"), task = text_of(def, "kind");
    int64_t priority = int_of(def, "priority"), attempts = json_object_get(def, "max_attempts") ? int_of(def, "max_attempts") : 1;
    if (!program.len == !task.len)
        return tt_fail(err, TT_INVALID, "a schedule runs a `program` (with `settings`) or a task of a `kind` (with a `payload`)");
    if (task.len && (tt_str_is(task, "execution") || json_object_size(wish)))
        return tt_fail(err, TT_INVALID, "a program with settings is given as `program`, not as `kind`");
    TT_TRY(tt_task_check_wish(text_of(def, "queue"), priority, attempts, err));
    return program.len ? check_program(s, def, wish, err) : TT_OK;
}

static tt_rc make_entry(tt_schedules *s, json_t *def, const json_t *wish, entry *e, tt_err *err)
{
    TT_BUF_AUTO tt_buf context = {0}, sealed = {0}, rule = {0};
    int64_t at_s = now_s(s);
    TT_TRY(check_name(e->name, err));
    if (!text_of(def, "when").len)
        return tt_fail(err, TT_INVALID, "`when` is missing (--when): say when it runs, like `daily at 2:30`, `every monday at 9` or `30 9 * * 1-5`");
    TT_TRY(tt_zone_find(text_of(def, "zone"), &e->zone, err));
    TT_TRY(tt_recur_parse(text_of(def, "when"), at_s, e->zone, &e->recur, err));
    TT_TRY(check_work(s, def, wish, err));
    context_of(e->name, &context);
    char *plain = json_dumps(wish, JSON_COMPACT | JSON_SORT_KEYS);
    tt_rc rc = tt_vault_seal(s->env.vault, tt_buf_view(&context), tt_str_of(plain), &sealed, err);
    free(plain);
    TT_TRY(rc);
    tt_recur_text(&e->recur, &rule);
    e->root = json_pack("{s:O,s:s,s:{s:s,s:I}}", "def", def, "sealed", tt_buf_cstr(&sealed), "state", "rule", tt_buf_cstr(&rule), "made_s", (json_int_t)at_s);
    e->def = json_object_get(e->root, "def");
    e->state = json_object_get(e->root, "state");
    set_next(e, at_s);
    return json_is_integer(json_object_get(e->state, "next_s")) ? TT_OK : tt_fail(err, TT_INVALID, "`%s` is never again", json_string_value(json_object_get(def, "when")));
}

/* Whether the schedule of this name is the very one; its version for a replacement. */
static bool is_same(tt_schedules *s, tt_str name, const json_t *def, const json_t *wish, bool *ret_there, uint64_t *ret_version)
{
    ENTRY_AUTO entry old = {0};
    json_t *old_wish = NULL;
    tt_rc rc = entry_load(s, name, &old, NULL);
    *ret_there = rc != TT_NOT_FOUND;
    *ret_version = old.version;
    bool same = rc == TT_OK && json_equal(old.def, def) && open_wish(&old, &old_wish, NULL) == TT_OK && json_equal(old_wish, wish);
    json_decref(old_wish);
    return same;
}

static tt_rc put_definition(tt_schedules *s, json_t *def, const json_t *wish, bool replace, bool *ret_is_new, tt_err *err)
{
    ENTRY_AUTO entry e = {.s = s, .name = text_of(def, "name")};
    bool there = false, same = is_same(s, e.name, def, wish, &there, &e.version);
    *ret_is_new = !same;
    if (same)
        return TT_OK;
    if (there && !replace)
        return tt_fail(err, TT_EXISTS, "there is another schedule `%.*s`: remove it first, or use replace (--replace)", TT_STR_ARG(e.name));
    TT_TRY(make_entry(s, def, wish, &e, err));
    return tt_ledger_run(s->env.ledger, apply_put, &e, err);
}

static void look_again(tt_schedules *s)
{
    pthread_mutex_lock(&s->timer_lock);
    if (s->busy && tt_timer_cancel(s->env.timers, &s->timer))
        tt_timer_set(s->env.timers, &s->timer, tt_mono_ms());
    else
        s->again = true;
    pthread_mutex_unlock(&s->timer_lock);
}

tt_rc tt_schedules_put(tt_schedules *s, const json_t *body, bool replace, bool *ret_is_new, tt_err *err)
{
    json_t *def = NULL, *wish = NULL;
    tt_rc rc = json_is_object(body) ? split_body(body, &def, &wish, err) : tt_fail(err, TT_INVALID, "a schedule is an object with name, when, and program or kind");
    pthread_mutex_lock(&s->lock);
    if (rc == TT_OK)
        rc = put_definition(s, def, wish, replace, ret_is_new, err);
    pthread_mutex_unlock(&s->lock);
    json_decref(def);
    json_decref(wish);
    look_again(s);
    return rc;
}

static tt_rc enable(tt_schedules *s, tt_str name, bool enabled, tt_err *err)
{
    ENTRY_AUTO entry e = {0};
    TT_TRY(entry_load(s, name, &e, err));
    if (is_enabled(e.def) == enabled)
        return TT_OK;
    json_object_set_new(e.def, "enabled", json_boolean(enabled));
    if (enabled)
        set_next(&e, now_s(s)); /* what passed while it was paused is not missed */
    return tt_ledger_run(s->env.ledger, apply_put, &e, err);
}

tt_rc tt_schedules_enable(tt_schedules *s, tt_str name, bool enabled, tt_err *err)
{
    pthread_mutex_lock(&s->lock);
    tt_rc rc = enable(s, name, enabled, err);
    pthread_mutex_unlock(&s->lock);
    look_again(s);
    return rc;
}

static tt_rc apply_remove(void *arg, tt_txn *txn, tt_err *err) { return tt_record_delete(txn, kind, ((entry *)arg)->name, err); }

tt_rc tt_schedules_remove(tt_schedules *s, tt_str name, tt_err *err)
{
    ENTRY_AUTO entry e = {0};
    pthread_mutex_lock(&s->lock);
    tt_rc rc = entry_load(s, name, &e, err);
    if (rc == TT_OK || rc == TT_CORRUPT)
        rc = tt_ledger_run(s->env.ledger, apply_remove, &e, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static tt_rc run_now(tt_schedules *s, tt_str name, uint64_t *ret_task, tt_err *err)
{
    ENTRY_AUTO entry e = {0};
    FIRING_AUTO firing f = {.e = &e, .at_s = now_s(s), .due_s = now_s(s), .by_hand = true};
    TT_TRY(entry_load(s, name, &e, err));
    TT_TRY(fire(&f, true, err));
    *ret_task = f.task;
    return TT_OK;
}

tt_rc tt_schedules_run(tt_schedules *s, tt_str name, uint64_t *ret_task, tt_err *err)
{
    pthread_mutex_lock(&s->lock);
    tt_rc rc = run_now(s, name, ret_task, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- for people ---- */

static json_t *time_or_null(const json_t *seconds)
{
    char text[TT_TIME_TEXT];
    return json_is_integer(seconds) ? json_string(tt_time_text(json_integer_value(seconds) * 1000, text)) : json_null();
}

static json_t *shown(const json_t *def, const json_t *state)
{
    json_t *o = json_copy((json_t *)(uintptr_t)def), *last = json_deep_copy(json_object_get(state, "last"));
    json_object_set_new(o, "rule", json_copy(json_object_get(state, "rule")));
    json_object_set_new(o, "made", time_or_null(json_object_get(state, "made_s")));
    json_object_set_new(o, "next", is_enabled(def) ? time_or_null(json_object_get(state, "next_s")) : json_null());
    if (last) {
        json_object_set_new(last, "due", time_or_null(json_object_get(last, "due_s")));
        json_object_set_new(last, "at", time_or_null(json_object_get(last, "at_s")));
        json_object_del(last, "due_s");
        json_object_del(last, "at_s");
    }
    json_object_set_new(o, "last", last ? last : json_null());
    return o;
}

/* As the program says what is secret; without the program nothing is shown. */
static void show_settings(tt_schedules *s, const entry *e, json_t *o)
{
    tt_program *p = NULL;
    json_t *wish = NULL;
    if (text_of(e->def, "program").len && open_wish(e, &wish, NULL) == TT_OK && tt_catalog_find(s->env.catalog, text_of(e->def, "program"), &p, NULL) == TT_OK) {
        const json_t *settings = json_object_get(wish, "settings"), *storage = json_object_get(wish, "storage");
        const tt_settings none = {0};
        json_object_set_new(o, "settings", settings ? tt_settings_mask(&p->settings, settings) : json_object());
        json_object_set_new(o, "storage", storage ? tt_settings_mask(&none, storage) : json_null());
    }
    tt_program_unref(p);
    json_decref(wish);
}

tt_rc tt_schedules_show(tt_schedules *s, tt_str name, json_t **ret, tt_err *err)
{
    ENTRY_AUTO entry e = {0};
    TT_TRY(entry_load(s, name, &e, err));
    *ret = shown(e.def, e.state);
    show_settings(s, &e, *ret);
    return TT_OK;
}

static bool list_one(void *arg, tt_str name, uint64_t version, tt_str text)
{
    json_t *root = json_loadb(text.ptr ? text.ptr : "", text.len, 0, NULL);
    json_array_append_new(arg, json_is_object(json_object_get(root, "def")) ? shown(json_object_get(root, "def"), json_object_get(root, "state"))
                                                                            : json_pack("{s:s%}", "name", name.ptr, name.len));
    json_decref(root);
    return true;
}

tt_rc tt_schedules_list(tt_schedules *s, json_t *array, tt_err *err) { return tt_record_each(s->env.ledger, kind, list_one, array, err); }

void tt_schedules_count(tt_schedules *s, tt_schedule_counts *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->counts;
    pthread_mutex_unlock(&s->lock);
}
