#include "server/server_main.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/signals.h"
#include "io/roots.h"
#include "query/kinds.h"
#include "server/alive.h"
#include "server/config_area.h"
#include "server/dataset_routes.h"
#include "server/execution_routes.h"
#include "server/dump.h"
#include "server/handover.h"
#include "server/items_calls.h"
#include "server/pulse.h"
#include "server/reload.h"
#include "server/rq_area.h"
#include "server/run_area.h"
#include "server/schedule_routes.h"
#include "server/secret_routes.h"
#include "server/shared_area.h"
#include "server/task_routes.h"
#include "server/worker_main.h"
#include "vault/aws.h"

struct tt_house {
    const tt_options *options;
    tt_handover handover;
    char *spool_dir, *journal_dir;
    tt_declared *declared;
    TT_VEC(tt_roots *) roots; /* the last are in force; earlier ones may still be in use */
    tt_ledger *ledger;
    tt_ledger *work; /* of tasks, schedules and secrets: the same one, or one that is shared with other machines */
    tt_watches *watches;
    tt_timers *timers;
    tt_pool *pool;  /* what serving needs: loads and plans */
    tt_pool *calls; /* routes that block: one of them may look through a whole input, and the others wait for it */
    tt_items *items;
    tt_items_area items_area;
    tt_tasks *tasks;
    tt_task_area task_area;
    tt_rq *rq; /* NULL: no queue asks for it */
    tt_logs *logs;
    tt_shared_area shared_area; /* unused when nothing is shared */
    tt_catalog *catalog;
    tt_execution_area execution_area;
    tt_vault *vault;
    tt_vault_aws *aws; /* NULL: not asked for */
    tt_secret_area secret_area;
    tt_schedule_area schedule_area;
    tt_pool *queries; /* each of its threads waits for one query */
    tt_roots *anywhere; /* where the datasets of a command's own house lie */
    tt_query_metrics *query_metrics;
    tt_dataset_area dataset_area;
    tt_config_area config_area;
    tt_run_area run_area;
    char *config_file;
    tt_server *server;
};

enum { POOL_THREADS = 3, CALL_THREADS = 2, QUERY_THREADS = 16 };

/* ---- opening, floor by floor ---- */

static tt_rc make_dir(const char *path, tt_err *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return tt_fail_errno(err, errno, "cannot make the directory `%s`", path);
    return TT_OK;
}

static tt_rc open_roots(tt_house *h, const tt_options *o, tt_err *err)
{
    tt_roots *roots = NULL;
    TT_TRY(tt_roots_of_options(o, &roots, err));
    if (tt_vec_push(&h->roots, roots))
        return TT_OK;
    tt_roots_free(roots);
    return tt_fail(err, TT_NOMEM, "out of memory for the job directories");
}

static const tt_roots *roots_of(const tt_house *h) { return h->roots.ptr[h->roots.len - 1]; }

static tt_rc open_ledger(tt_house *h, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0}, spool = {0}, journal = {0};
    tt_str data = tt_option_str(h->options, "data");
    tt_buf_printf(&spool, "%.*s/cache", TT_STR_ARG(data));
    tt_buf_printf(&path, "%.*s/ledger.db", TT_STR_ARG(data));
    TT_TRY(make_dir(tt_buf_cstr(&spool), err));
    h->spool_dir = tt_dup_cstr(tt_buf_cstr(&spool));
    tt_buf_printf(&journal, "%.*s/journal", TT_STR_ARG(data));
    h->journal_dir = tt_dup_cstr(tt_buf_cstr(&journal));
    tt_ledger_options options = {.path = tt_buf_cstr(&path), .relaxed = tt_str_is(tt_option_str(h->options, "ledger.durability"), "relaxed")};
    TT_TRY(tt_ledger_open(&options, &h->ledger, err));
    h->work = h->ledger;
    tt_ledger_options shared = {.shared_url = tt_option_str(h->options, "shared"), .shared_password = tt_option_str(h->options, "redis.password")};
    return shared.shared_url.len ? tt_ledger_open(&shared, &h->work, err) : TT_OK;
}

static tt_rc open_items(tt_house *h, tt_err *err)
{
    const tt_options *o = h->options;
    TT_BUF_AUTO tt_buf redis = {0};
    tt_alive_redis_url(o, &redis);
    TT_TRY(tt_buf_check(&redis, err));
    TT_TRY(tt_declared_new(o, &h->declared, err));
    tt_items_options options = {
        .declared = h->declared,
        .ledger = h->ledger, .watches = h->watches, .timers = h->timers, .pool = h->pool, .roots = roots_of(h), .spool_dir = h->spool_dir, .journal_dir = h->journal_dir,
        .max_item_bytes = (uint64_t)tt_option_int(o, "limits.item"), .lease_ms = tt_option_int(o, "items.lease"),
        .max_attempts = (unsigned)tt_option_int(o, "items.max_attempts"),
        .token_matches = tt_token_matches, .token_hash = tt_token_hash,
        .redis_url = tt_buf_view(&redis), .redis_password = tt_option_str(o, "redis.password"),
    };
    TT_TRY(tt_items_open(&options, &h->items, err));
    h->items_area = (tt_items_area){
        .items = h->items, .pool = h->calls, .watches = h->watches, .timers = h->timers, .ledger = h->ledger,
        .token_lease_ms = tt_option_int(o, "items.token_lease"), .listeners_lock = PTHREAD_MUTEX_INITIALIZER,
    };
    return TT_OK;
}

/* Of a house without sockets nobody expects any. */
static int64_t expected_workers(const tt_house *h, const tt_options *o, const char *option) { return h->handover.count ? tt_option_int(o, option) : 0; }

static tt_rc open_tasks(tt_house *h, tt_err *err)
{
    enum { ATTEMPTS = 4, END_BYTES = 192 * 1024 }; /* of one task's log: so many attempts, each with its end */
    const tt_options *o = h->options;
    TT_BUF_AUTO tt_buf dir = {0};
    tt_buf_printf(&dir, "%.*s/logs", TT_STR_ARG(tt_option_str(o, "data")));
    TT_TRY(tt_logs_open(tt_buf_cstr(&dir), ATTEMPTS * ((uint64_t)tt_option_int(o, "work.log_size") + END_BYTES), &h->logs, err));
    if (tt_ledger_is_shared(h->work)) {
        tt_logs_use(h->logs, h->work);
        h->shared_area = (tt_shared_area){.work = h->work, .own = h->ledger, .timers = h->timers, .pool = h->calls};
        tt_shared_area_start(&h->shared_area);
    }
    tt_tasks_env env = {.ledger = h->work, .watches = h->watches, .timers = h->timers, .logs = h->logs,
                        .keep = {tt_option_int(o, "work.keep"), tt_option_int(o, "work.keep_failed"), (uint64_t)tt_option_int(o, "work.keep_count")}};
    TT_TRY(tt_tasks_open(&env, &h->tasks, err));
    h->task_area = (tt_task_area){
        .tasks = h->tasks, .ledger = h->work, .expected_workers = expected_workers(h, o, "workers"),
        .expected_query_workers = expected_workers(h, o, "query.workers"), .logs = h->logs,
        .keep_logs_ms = tt_option_int(o, "work.keep_logs"), .pool = h->calls, .watches = h->watches, .timers = h->timers,
        .followers_lock = PTHREAD_MUTEX_INITIALIZER,
    };
    tt_task_area_start(&h->task_area);
    return TT_OK;
}

/* A command's own house shows nothing: the next server does. */
static tt_rc open_rq(tt_house *h, tt_err *err)
{
    TT_BUF_AUTO tt_buf redis = {0};
    tt_alive_redis_url(h->options, &redis);
    if (!redis.len)
        tt_buf_str(&redis, tt_option_str(h->options, "shared"));
    TT_TRY(tt_buf_check(&redis, err));
    return h->handover.count ? tt_rq_area_open(h->options, tt_buf_view(&redis), h->work, h->tasks, &h->rq, err) : TT_OK;
}

static tt_rc open_vault(tt_house *h, tt_err *err)
{
    TT_TRY(tt_vault_new(tt_option_str(h->options, "data"), tt_option_str(h->options, "vault.key"), &h->vault, err));
    h->secret_area = (tt_secret_area){.secrets = {.ledger = h->work, .vault = h->vault, .lock = PTHREAD_MUTEX_INITIALIZER}, .pool = h->calls};
    tt_vault_add_store(h->vault, &(tt_vault_store){.get = tt_secrets_get_sealed, .arg = &h->secret_area.secrets});
    return tt_vault_aws_add(h->vault, h->options, &h->aws, err);
}

static tt_rc open_programs(tt_house *h, tt_err *err)
{
    tt_program_env *env;
    TT_TRY(tt_program_env_new(h->options, &env, err));
    h->catalog = tt_catalog_new(env);
    h->execution_area = (tt_execution_area){.catalog = h->catalog, .vault = h->vault, .tasks = h->tasks, .ledger = h->work, .watches = h->watches, .timers = h->timers, .pool = h->calls,
                                             .waiters = {.watches = h->watches, .timers = h->timers, .pool = h->calls, .lock = PTHREAD_MUTEX_INITIALIZER}};
    tt_alive_init(&h->execution_area.alive, h->options, h->declared, h->ledger, h->tasks);
    return h->handover.count ? tt_catalog_watch(h->catalog, err) : TT_OK;
}

/* A command's own house fires nothing: it has no workers, and ends at once. */
static void open_schedules(tt_house *h)
{
    tt_schedules_env env = {.ledger = h->work, .vault = h->vault, .timers = h->timers, .pool = h->calls, .tasks = h->tasks, .catalog = h->catalog};
    h->schedule_area = (tt_schedule_area){.schedules = tt_schedules_new(&env), .pool = h->calls};
    if (h->handover.count)
        tt_schedules_start(h->schedule_area.schedules);
}

/* A command's own house has no workers: parts are worked on in here, by its user's rights alone. */
static tt_rc open_alone(tt_house *h, tt_err *err)
{
    const tt_str everything = TT_STR("/");
    TT_TRY(tt_roots_new(&everything, 1, &h->anywhere, err));
    return tt_query_worker_register(h->options, h->anywhere, h->spool_dir, err);
}

static tt_rc open_datasets(tt_house *h, tt_err *err)
{
    const tt_options *o = h->options;
    bool is_alone = h->handover.count == 0;
    TT_TRY(tt_pool_new(is_alone ? 1 : QUERY_THREADS, "queries", &h->queries, err));
    if (is_alone)
        TT_TRY(open_alone(h, err));
    h->query_metrics = tt_query_metrics_new();
    h->dataset_area = (tt_dataset_area){
        .datasets = {
            .ledger = h->work, .gang = {.tasks = h->tasks, .watches = h->watches, .is_inside = is_alone}, .roots = is_alone ? h->anywhere : roots_of(h),
            .most_parts = (size_t)tt_option_int(o, "dataset.max_parts"), .timeout_ms = tt_option_int(o, "query.timeout"),
            .prepare_timeout_ms = tt_option_int(o, "query.prepare_timeout"),
            .max_attempts = (uint32_t)tt_option_int(o, "query.max_attempts"), .sample_ratio = 0.1, .sample_most = (size_t)tt_option_int(o, "dataset.sample_max"),
            .categorical_ratio = 0.1, .top_count = (size_t)tt_option_int(o, "dataset.top_values"), .top_share = 0.01,
            .safety_ms = tt_option_int(o, "query.safety_interval"), .metrics = h->query_metrics,
        },
        .pool = h->queries, .spool_dir = h->spool_dir, .legacy_status = tt_option_bool(o, "query.legacy_status"), .is_pretty = tt_option_bool(o, "query.pretty"),
        .error_details = tt_option_bool(o, "query.error_details"), .admin_actions = tt_option_bool(o, "query.admin_actions"),
    };
    return TT_OK;
}

/* Nothing is opened before somebody asks. */
static void open_configs(tt_house *h)
{
    const tt_options *o = h->options;
    tt_configs_options options = {.url = tt_option_str(o, "config.url"), .password = tt_option_str(o, "config.password"), .data_dir = tt_option_str(o, "data"),
                                  .migrations_dir = tt_option_str(o, "config.migrations"), .read_only = tt_option_bool(o, "config.read_only"), .vault = h->vault};
    tt_configs *configs = tt_configs_new(&options);
    tt_signin_options signin = {.url = tt_option_str(o, "signin.url"), .client_id = tt_option_str(o, "signin.client_id"), .life_ms = tt_option_int(o, "signin.life"),
                                .configs = configs, .pool = h->calls, .ledger = h->work, .timers = h->timers};
    h->config_area = (tt_config_area){.configs = configs, .pool = h->calls, .catalog = h->catalog, .signin = tt_signin_new(&signin), .declared = h->declared};
    tt_signin_start(h->config_area.signin);
}

static tt_rc open_runs(tt_house *h, tt_err *err)
{
    TT_BUF_AUTO tt_buf file = {0};
    tt_buf_printf(&file, "%.*s/config.db", TT_STR_ARG(tt_option_str(h->options, "data")));
    h->config_file = tt_option_str(h->options, "config.url").len ? NULL : tt_dup_cstr(tt_buf_cstr(&file));
    h->run_area = (tt_run_area){
        .env = {.ledger = h->work, .vault = h->vault, .catalog = h->catalog, .tasks = h->tasks, .write_event = tt_event_write, .event_arg = &h->run_area.events},
        .events = {.configs = h->config_area.configs, .ledger = h->work}, .default_file = h->config_file, .ledger = h->work, .pool = h->calls, .watches = h->watches,
        .timers = h->timers, .keep_ms = tt_option_int(h->options, "pipeline.keep"), .waiters = {.watches = h->watches, .timers = h->timers, .pool = h->calls, .lock = PTHREAD_MUTEX_INITIALIZER},
    };
    return tt_run_area_start(&h->run_area, h->handover.count > 0, err);
}

static const tt_route own_routes[3];

/* The tables of all areas. To add an area: add its table here. */
static void add_areas(tt_house *h)
{
    tt_server_add_routes(h->server, tt_items_routes, &h->items_area);
    tt_server_add_routes(h->server, tt_jobs_routes, &h->items_area);
    tt_server_add_metrics(h->server, tt_items_write_metrics, &h->items_area);
    tt_server_add_health(h->server, tt_items_health, &h->items_area);
    tt_server_add_private_health(h->server, tt_items_broken_health, &h->items_area);
    tt_server_add_routes(h->server, tt_task_routes, &h->task_area);
    tt_server_add_routes(h->server, tt_worker_routes, &h->task_area);
    tt_server_add_routes(h->server, tt_worker_list_routes, &h->task_area);
    tt_server_add_metrics(h->server, tt_task_write_metrics, &h->task_area);
    tt_server_add_health(h->server, tt_task_health, &h->task_area);
    tt_server_add_routes(h->server, tt_execution_routes, &h->execution_area);
    tt_server_add_routes(h->server, tt_schedule_routes, &h->schedule_area);
    tt_server_add_metrics(h->server, tt_schedule_write_metrics, &h->schedule_area);
    tt_server_add_routes(h->server, tt_secret_routes, &h->secret_area);
    tt_server_add_routes(h->server, tt_dataset_routes, &h->dataset_area);
    tt_server_add_metrics(h->server, tt_query_metrics_write, h->query_metrics);
    tt_server_add_routes(h->server, tt_db_routes, &h->config_area);
    tt_server_add_routes(h->server, tt_run_routes, &h->run_area);
    tt_server_add_metrics(h->server, tt_run_write_metrics, &h->run_area);
    tt_server_add_routes(h->server, tt_config_routes, &h->config_area);
    tt_server_add_routes(h->server, tt_signin_routes, &h->config_area);
    tt_server_set_sessions(h->server, tt_signin_scope, h->config_area.signin);
    tt_server_add_routes(h->server, own_routes, h);
    if (h->shared_area.work) {
        tt_server_add_health(h->server, tt_shared_health, &h->shared_area);
        tt_server_add_metrics(h->server, tt_shared_write_metrics, &h->shared_area);
    }
    if (h->rq) {
        tt_server_add_health(h->server, tt_rq_health, h->rq);
        tt_server_add_metrics(h->server, tt_rq_write_metrics, h->rq);
    }
}

/* Views of the settings. */
static tt_server_options server_options(const tt_house *h, const tt_options *o)
{
    tt_server_options options = {
        .listen_fds = h->handover.fds, .listen_count = h->handover.count,
        .threads = (unsigned)tt_option_int(o, "server.threads"), .max_connections = (unsigned)tt_option_int(o, "server.max_connections"),
        .idle_timeout_s = (unsigned)(tt_option_int(o, "server.idle_timeout") / 1000),
        .body_limit_bytes = (uint64_t)tt_option_int(o, "limits.body"), .spool_dir = h->spool_dir,
        .tokens = {[TT_SCOPE_ADMIN] = tt_option_str(o, "server.token"), [TT_SCOPE_OPERATOR] = tt_option_str(o, "server.operator_token"),
                   [TT_SCOPE_READ] = tt_option_str(o, "server.read_token")},
        .insecure = tt_option_bool(o, "server.insecure"),
        .access_log = tt_option_bool(o, "server.access_log"),
    };
    options.trust_count = tt_option_list(o, "server.trust", &options.trust_cidrs);
    options.allowed_host_count = tt_option_list(o, "server.allowed_hosts", &options.allowed_hosts);
    options.cors_count = tt_option_list(o, "server.cors", &options.cors_origins);
    options.static_dir = tt_option_str(o, "server.static");
    return options;
}

static tt_rc open_server(tt_house *h, tt_err *err)
{
    tt_server_options options = server_options(h, h->options);
    TT_TRY(tt_server_new(&options, &h->server, err));
    h->handover.is_given = true;
    add_areas(h);
    return TT_OK;
}

static tt_rc open_floors(tt_house *h, tt_err *err)
{
    TT_TRY(open_roots(h, h->options, err));
    TT_TRY(open_ledger(h, err));
    h->watches = tt_watches_new();
    TT_TRY(tt_timers_new(&h->timers, err));
    TT_TRY(tt_pool_new(POOL_THREADS, "pool", &h->pool, err));
    TT_TRY(tt_pool_new(CALL_THREADS, "calls", &h->calls, err));
    TT_TRY(open_items(h, err));
    TT_TRY(open_tasks(h, err));
    TT_TRY(open_rq(h, err));
    TT_TRY(open_vault(h, err));
    TT_TRY(open_programs(h, err));
    open_schedules(h);
    TT_TRY(open_datasets(h, err));
    open_configs(h);
    TT_TRY(open_runs(h, err));
    return open_server(h, err);
}

/* Large blocks come and go all the time: kept in few heaps instead of mapped anew each time, and given back when much is free. */
static void tune_malloc(void)
{
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 8 << 20);
}

static tt_rc open_house(const tt_options *options, tt_rc (*handover)(const tt_options *, tt_handover *, tt_err *), tt_house **ret, tt_err *err)
{
    tt_house *h = TT_NEW(tt_house);
    h->options = options;
    h->handover = (tt_handover){.lock_fd = -1, .ready_fd = -1};
    tune_malloc();
    tt_rc rc = handover(options, &h->handover, err);
    if (rc == TT_OK)
        rc = open_floors(h, err);
    if (rc != TT_OK) {
        tt_house_close(h);
        return rc;
    }
    *ret = h;
    return TT_OK;
}

tt_rc tt_house_open(const tt_options *options, tt_house **ret, tt_err *err) { return open_house(options, tt_handover_take, ret, err); }
tt_rc tt_house_open_alone(const tt_options *options, tt_house **ret, tt_err *err) { return open_house(options, tt_handover_lock, ret, err); }
tt_server *tt_house_server(tt_house *h) { return h->server; }

void tt_house_close(tt_house *h)
{
    if (!h)
        return;
    if (h->tasks)
        tt_tasks_drain(h->tasks);
    if (h->catalog)
        tt_execution_drain(&h->execution_area);
    if (h->run_area.pool) {
        tt_run_area_stop(&h->run_area);
        tt_run_area_drain(&h->run_area);
    }
    tt_schedules_stop(h->schedule_area.schedules);
    tt_dataset_drain(&h->dataset_area);
    tt_server_free(h->server);
    tt_pool_free(h->queries);
    if (h->tasks)
        tt_task_area_close(&h->task_area);
    if (h->items) {
        tt_job_events_close(&h->items_area);
        tt_items_stop(h->items);
    }
    tt_shared_area_close(&h->shared_area);
    tt_signin_stop(h->config_area.signin);
    tt_pool_free(h->calls);
    tt_alive_deinit(&h->execution_area.alive);
    tt_signin_free(h->config_area.signin);
    tt_configs_free(h->config_area.configs);
    tt_schedules_free(h->schedule_area.schedules);
    tt_timetable_free(h->run_area.timetable);
    free(h->config_file);
    tt_catalog_free(h->catalog);
    tt_pool_free(h->pool);
    tt_rq_close(h->rq);
    tt_tasks_close(h->tasks);
    tt_items_close(h->items);
    tt_vault_free(h->vault);
    tt_vault_aws_free(h->aws);
    if (h->work != h->ledger)
        tt_ledger_close(h->work);
    tt_ledger_close(h->ledger);
    tt_logs_close(h->logs);
    tt_timers_free(h->timers);
    tt_watches_free(h->watches);
    for (size_t i = 0; i < h->roots.len; i++)
        tt_roots_free(h->roots.ptr[i]);
    tt_vec_deinit(&h->roots);
    tt_query_metrics_free(h->query_metrics);
    tt_roots_free(h->anywhere);
    tt_handover_close(&h->handover);
    free(h->spool_dir);
    free(h->journal_dir);
    tt_declared_free(h->declared);
    free(h);
}

/* ---- what the house itself answers ---- */

static void answer_version(tt_req *req)
{
    tt_req_answer_json(req, 200, json_pack("{s:i,s:s}", "schema", 1, "version", TT_VERSION));
}

typedef struct {
    tt_change change; /* first */
    tt_req *req;
} pulse_call;

static void answer_pulse(tt_change *c, tt_rc rc, const tt_err *err)
{
    pulse_call call = *(pulse_call *)c;
    free(c);
    tt_req_answer_json(call.req, 200, json_pack("{s:i,s:b}", "schema", 1, "ok", 1));
}

static tt_rc feel_pulse(tt_change *c, tt_txn *txn, tt_err *err) { return TT_OK; }

/* Through the writer, without a wait for the disk. */
static void pulse(tt_req *req)
{
    pulse_call *call = TT_NEW(pulse_call);
    *call = (pulse_call){.change = {.apply = feel_pulse, .done = answer_pulse, .lazy = true}, .req = req};
    tt_ledger_submit(((tt_house *)tt_req_context(req))->ledger, &call->change);
}

static const tt_route own_routes[] = {
    {.method = "GET", .path = "/v1/pulse", .dialect = TT_DIALECT_V1, .access = TT_ACCESS_WORKER, .quiet = true, .handler = pulse,
     .summary = "Answers when the HTTP loop and the ledger's writer turn; the supervisor asks.", .response_example = "{\"schema\":1,\"ok\":true}"},
    {.method = "GET", .path = "/v1/version", .dialect = TT_DIALECT_V1, .access = TT_ACCESS_PUBLIC, .handler = answer_version,
     .summary = "The version of this server.", .response_example = "{\"schema\":1,\"version\":\"" TT_VERSION "\"}"},
    {0},
};

/* ---- settings that change while it runs ---- */

static tt_rc reload_server(void *arg, const tt_options *o, tt_err *err)
{
    tt_house *h = arg;
    tt_server_options options = server_options(h, o);
    TT_TRY(tt_handover_check(&h->handover, o, err));
    return tt_server_change(h->server, &options, err);
}

static tt_rc reload_items(void *arg, const tt_options *o, tt_err *err)
{
    tt_house *h = arg;
    h->items_area.token_lease_ms = tt_option_int(o, "items.token_lease");
    tt_items_limits limits = {
        .roots = roots_of(h), .max_item_bytes = (uint64_t)tt_option_int(o, "limits.item"), .lease_ms = tt_option_int(o, "items.lease"),
        .max_attempts = (unsigned)tt_option_int(o, "items.max_attempts"),
    };
    tt_items_change(h->items, &limits);
    return TT_OK;
}

static tt_rc reload_roots(void *arg, const tt_options *o, tt_err *err)
{
    TT_TRY(open_roots(arg, o, err));
    return reload_items(arg, o, err);
}

static tt_rc reload_workers(void *arg, const tt_options *o, tt_err *err)
{
    tt_house *h = arg;
    h->task_area.expected_workers = expected_workers(h, o, "workers");
    h->task_area.expected_query_workers = expected_workers(h, o, "query.workers");
    return TT_OK;
}

static const tt_reload_row reloads[] = {
    TT_RELOAD_LOG,
    {"server.token,server.operator_token,server.read_token,server.trust,server.allowed_hosts,server.cors,limits.body,server.access_log", reload_server},
    {"server.roots", reload_roots},
    {"limits.item,items.lease,items.token_lease,items.max_attempts", reload_items},
    {"workers,query.workers", reload_workers},
    {0},
};

/* ---- the process ---- */

static int log_failure(const tt_err *err)
{
    tt_log_error("the server cannot start", TT_F_CSTR("error", err->text));
    return tt_rc_exit(err->code);
}

/* A server without a supervisor feeds systemd's watchdog itself: as long as its other threads turn. */
static void wait_and_feed(const tt_house *h, tt_pulse *pulse, int signal_fd)
{
    int64_t watchdog_ms = tt_notify_watchdog_ms();
    struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN}, {.fd = pulse->fd, .events = POLLIN}};
    int64_t wait_ms = pulse->next_ms - tt_mono_ms();
    poll(fds, TT_COUNT(fds), watchdog_ms == 0 ? -1 : wait_ms < 0 ? 0 : (int)wait_ms);
    if (fds[1].revents) {
        tt_pulse_read(pulse);
        if (pulse->misses == 0)
            tt_notify("WATCHDOG=1");
    }
    if (watchdog_ms > 0 && tt_mono_ms() >= pulse->next_ms)
        tt_pulse_beat(pulse, h->handover.socket_path, watchdog_ms);
}

/* Until TERM or INT; the others are dealt with on the way. */
static void wait_for_end(tt_house *h, tt_options *options, int signal_fd)
{
    tt_pulse pulse __attribute__((cleanup(tt_pulse_end))) = {.fd = -1};
    tt_pulse_begin(&pulse);
    for (;;) {
        wait_and_feed(h, &pulse, signal_fd);
        for (int signal; (signal = tt_signals_next(signal_fd));) {
            if (signal == SIGTERM || signal == SIGINT)
                return;
            if (signal == SIGHUP)
                tt_reload(options, reloads, h);
            else if (signal == SIGQUIT)
                tt_dump_state(&(tt_dump_parts){h->server, h->ledger, h->tasks, h->items});
            else
                tt_signals_change_log_level(signal);
        }
    }
}

static void *end_at_once(void *arg)
{
    for (struct pollfd p = {.fd = *(int *)arg, .events = POLLIN};; ) {
        poll(&p, 1, -1);
        int signal = tt_signals_next(p.fd);
        if (signal == SIGTERM || signal == SIGINT)
            _exit(128 + signal);
    }
}

int tt_server_main(tt_options *options)
{
    tt_err err = {0};
    tt_house *h = NULL;
    sigset_t signals;
    int signal_fd;
    pthread_t second;
    int64_t started_ms = tt_mono_ms();
    tt_log_set_process("server");
    prctl(PR_SET_NAME, "tutti-server"); /* in lists of processes, where it would be called after /proc/self/exe */
    tt_signals_usual(&signals);
    if (tt_signals_open(&signals, &signal_fd, &err) != TT_OK || tt_house_open(options, &h, &err) != TT_OK)
        return log_failure(&err);
    if (tt_server_start(h->server, &err) != TT_OK) {
        tt_house_close(h);
        return log_failure(&err);
    }
    tt_handover_ready(&h->handover);
    tt_log_info("serving", TT_F_INT("start_ms", tt_mono_ms() - started_ms));
    wait_for_end(h, options, signal_fd);
    tt_notify("STOPPING=1");
    tt_log_info("draining");
    if (pthread_create(&second, NULL, end_at_once, &signal_fd) == 0)
        pthread_detach(second);
    tt_tasks_drain(h->tasks);
    tt_execution_drain(&h->execution_area);
    tt_dataset_drain(&h->dataset_area);
    tt_items_drain(h->items);
    tt_server_drain(h->server, tt_option_int(options, "shutdown.grace"));
    tt_house_close(h);
    tt_log_info("stopped");
    return 0;
}
