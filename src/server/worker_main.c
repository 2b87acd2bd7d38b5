#include "server/worker_main.h"

#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/guard.h"
#include "base/log.h"
#include "base/signals.h"
#include "io/http.h"
#include "io/roots.h"
#include "io/socket_probe.h"
#include "query/kinds.h"
#include "server/server_main.h"
#include "server/reload.h"
#include "work/execution.h"
#include "work/worker_shared.h"

enum { LEASE_MS = 60000, WAIT_MS = 30000, CALL_TIMEOUT_MS = 15000 };

/* A connection for each thread that talks: `claims` waits for work, `watch` beside a long task; words (log, progress, coming and going) and reports. */
typedef struct {
    tt_http *claims, *watch, *words, *reports;
    char name[128];
    int64_t instance;      /* of this process */
    const char *queues;    /* may be NULL */
    char *socket;          /* its path; NULL: the server is somewhere else */
} http_transport;

/* ---- calls ---- */

/* The code that an error answer names; else one for its status. */
static tt_rc code_of(int status, const json_t *problem)
{
    const char *code = json_string_value(json_object_get(problem, "code"));
    for (int rc = TT_FAILED; code && rc <= TT_GONE; rc++)
        if (strcmp(tt_rc_name((tt_rc)rc), code) == 0)
            return (tt_rc)rc;
    return status == 401 ? TT_UNAUTHORIZED : status == 403 ? TT_DENIED : status == 404 ? TT_NOT_FOUND
         : status >= 500 || status == 429 ? TT_UNAVAILABLE : TT_FAILED;
}

static tt_rc explain(const char *target, int status, const json_t *problem, tt_err *err)
{
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    tt_rc rc = code_of(status, problem);
    if (detail)
        return tt_fail(err, rc, "%s", detail);
    return tt_fail(err, rc, "%.200s was answered with status %d", target, status);
}

/* *ret (may be NULL): the answer's JSON, the caller drops it. */
static tt_rc call(tt_http *h, const char *target, tt_str body, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {.limit_bytes = 256 * 1024 * 1024};
    int status;
    TT_TRY(tt_http_call(h, "POST", target, body, NULL, &status, &answer, err));
    json_t *root = json_loadb(answer.ptr ? answer.ptr : "", answer.len, JSON_ALLOW_NUL, NULL);
    tt_rc rc = status >= 400 ? explain(target, status, root, err) : root ? TT_OK : tt_fail(err, TT_FAILED, "%.200s was answered with something that is not JSON", target);
    if (rc == TT_OK && ret)
        *ret = root;
    else
        json_decref(root);
    return rc;
}

/* "/v1/tasks/7/VERB?lease=12" and more. */
static void task_target(char out[160], const char *verb, uint64_t id, uint64_t lease, const char *more)
{
    snprintf(out, 160, "/v1/tasks/%llu/%s?lease=%llu%s", (unsigned long long)id, verb, (unsigned long long)lease, more);
}

/* Secrets that settings refer to, as the server stores them. */
static tt_rc get_sealed(void *arg, tt_str name, tt_buf *ret, tt_err *err)
{
    http_transport *t = arg;
    TT_BUF_AUTO tt_buf answer = {.limit_bytes = 1024 * 1024}, target = {0};
    int status;
    tt_buf_printf(&target, "/v1/secrets/");
    for (size_t i = 0; i < name.len; i++)
        tt_buf_printf(&target, name.ptr[i] == '/' ? "%%2F" : "%c", name.ptr[i]);
    tt_buf_cstr_put(&target, "/sealed");
    TT_TRY(tt_http_call(t->words, "GET", tt_buf_cstr(&target), (tt_str){0}, NULL, &status, &answer, err));
    json_t *root = json_loadb(answer.ptr ? answer.ptr : "", answer.len, 0, NULL);
    const char *sealed = json_string_value(json_object_get(root, "sealed"));
    tt_rc rc = status >= 400 ? explain(tt_buf_cstr(&target), status, root, err) : sealed ? TT_OK : tt_fail(err, TT_FAILED, "the server sent no secret");
    if (rc == TT_OK)
        tt_buf_cstr_put(ret, sealed);
    json_decref(root);
    return rc;
}

/* ---- the transport's table ---- */

static tt_rc present(http_transport *t, const char *target, tt_err *err)
{
    TT_BUF_AUTO tt_buf body = {0};
    tt_buf_cstr_put(&body, "{\"name\":");
    tt_buf_json_str(&body, tt_str_of(t->name));
    tt_buf_printf(&body, ",\"pid\":%d,\"instance\":%lld", (int)getpid(), (long long)t->instance);
    if (getenv("TUTTI_LAST_END")) { /* from our supervisor, about the one before us */
        tt_buf_cstr_put(&body, ",\"last_end\":");
        tt_buf_json_str(&body, tt_str_of(getenv("TUTTI_LAST_END")));
    }
    tt_buf_char(&body, '}');
    return call(t->words, target, tt_buf_view(&body), NULL, err);
}

/* A socket that nobody answers says why better than the connection did: another user's never will. */
static tt_rc do_attach(void *arg, tt_err *err)
{
    http_transport *t = arg;
    tt_err why = {0};
    tt_rc rc = present(t, "/v1/workers/attach", err);
    tt_rc seen = rc == TT_UNAVAILABLE && t->socket ? tt_socket_probe(t->socket, &why) : TT_OK;
    return seen == TT_OK ? rc : tt_fail(err, seen, "%s", why.text);
}

static tt_rc do_detach(void *arg, tt_err *err) { return present(arg, "/v1/workers/detach", err); }

static tt_rc decode_payload(const json_t *task, tt_arena *arena, tt_str *ret, tt_err *err)
{
    const json_t *plain = json_object_get(task, "payload"), *packed = json_object_get(task, "payload_base64");
    const json_t *text = plain ? plain : packed;
    size_t len = json_string_length(text);
    char *copy = tt_arena_alloc(arena, len + 1);
    if (!copy)
        return tt_fail(err, TT_NOMEM, "out of memory for a task's %zu bytes", len);
    if (plain)
        memcpy(copy, json_string_value(plain) ? json_string_value(plain) : "", len);
    else if (!packed || sodium_base642bin((unsigned char *)copy, len + 1, json_string_value(packed), len, NULL, &len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return tt_fail(err, TT_FAILED, "the server sent a task without a readable payload");
    *ret = (tt_str){copy, len};
    return TT_OK;
}

static tt_rc decode_task(const json_t *task, tt_arena *arena, tt_worker_task *ret, tt_err *err)
{
    tt_str payload;
    TT_TRY(decode_payload(task, arena, &payload, err));
    const char *kind = json_string_value(json_object_get(task, "kind"));
    char *copy = tt_arena_dup(arena, tt_str_of(kind));
    if (!copy)
        return tt_fail(err, TT_NOMEM, "out of memory for a task");
    *ret = (tt_worker_task){
        .id = (uint64_t)json_integer_value(json_object_get(task, "id")), .lease = (uint64_t)json_integer_value(json_object_get(task, "lease")),
        .attempt = (uint32_t)json_integer_value(json_object_get(task, "attempt")), .timeout_ms = json_integer_value(json_object_get(task, "timeout_ms")),
        .memory_bytes = (uint64_t)json_integer_value(json_object_get(task, "memory_bytes")), .kind = tt_str_of(copy), .payload = payload,
    };
    return TT_OK;
}

static tt_rc do_claim(void *arg, int64_t wait_ms, int64_t lease_ms, size_t most, tt_arena *arena, tt_worker_task *ret, size_t *ret_count, tt_err *err)
{
    http_transport *t = arg;
    json_t *root = NULL, *task;
    size_t i, count = 0;
    TT_BUF_AUTO tt_buf target = {0};
    tt_buf_printf(&target, "/v1/tasks/claim?worker=%s&wait=%lldms&lease=%lldms&max=%zu%s%s", t->name, (long long)wait_ms, (long long)lease_ms, most,
                  t->queues ? "&queue=" : "", t->queues ? t->queues : "");
    TT_TRY(call(t->claims, tt_buf_cstr(&target), TT_STR(""), &root, err));
    tt_rc rc = TT_OK;
    json_array_foreach(json_object_get(root, "tasks"), i, task)
        if (rc == TT_OK && count < most)
            rc = decode_task(task, arena, &ret[count++], err);
    json_decref(root);
    *ret_count = count;
    return rc;
}

static tt_rc do_extend(void *arg, uint64_t id, uint64_t lease, int64_t lease_ms, int64_t wait_ms, tt_err *err)
{
    char more[80], target[160];
    snprintf(more, sizeof more, "&for=%lldms&wait=%lldms", (long long)lease_ms, (long long)wait_ms);
    task_target(target, "extend", id, lease, more);
    return call(((http_transport *)arg)->watch, target, TT_STR(""), NULL, err);
}

/* What each way to end is called in a report. */
static const struct {
    const char *word, *text_member;
} ends_as[] = {
    [TT_END_FINISHED] = {"finished", "result"}, [TT_END_FAILED] = {"failed", "reason"}, [TT_END_FAILED_FOR_GOOD] = {"failed_for_good", "reason"},
    [TT_END_GIVEN_BACK] = {"given_back", NULL}, [TT_END_NOT_HERE] = {"not_here", "reason"}, [TT_END_CANCELED] = {"canceled", "reason"},
};

static bool is_text(tt_str bytes) { return tt_utf8_valid(bytes.ptr, bytes.len) && !memchr(bytes.ptr, '\0', bytes.len); }

static void put_base64(tt_buf *out, tt_str bytes)
{
    size_t size = sodium_base64_encoded_len(bytes.len, sodium_base64_VARIANT_ORIGINAL);
    if (!tt_buf_reserve(out, size))
        return;
    sodium_bin2base64(out->ptr + out->len, size, (const unsigned char *)bytes.ptr, bytes.len, sodium_base64_VARIANT_ORIGINAL);
    out->len += size - 1;
}

static void put_end(tt_buf *out, const tt_worker_end *e)
{
    const char *member = ends_as[e->how].text_member;
    tt_buf_printf(out, "{\"id\":%llu,\"lease\":%llu,\"how\":\"%s\"", (unsigned long long)e->id, (unsigned long long)e->lease, ends_as[e->how].word);
    if (member && e->text.len && is_text(e->text)) {
        tt_buf_printf(out, ",\"%s\":", member);
        tt_buf_json_str(out, e->text);
    } else if (member && e->text.len) {
        tt_buf_printf(out, ",\"%s_base64\":\"", member);
        put_base64(out, e->text);
        tt_buf_char(out, '"');
    }
    tt_buf_cstr_put(out, "},");
}

static void read_refusals(const json_t *root, size_t *ret_refused, tt_err *err)
{
    const json_t *refused = json_object_get(root, "refused"), *first = json_array_get(refused, 0);
    const char *why = json_string_value(json_object_get(first, "detail"));
    *ret_refused = json_array_size(refused);
    if (*ret_refused)
        (void)!tt_fail(err, TT_GONE, "%s", why ? why : "");
}

static tt_rc do_report(void *arg, const tt_worker_end *ends, size_t count, size_t *ret_refused, tt_err *err)
{
    http_transport *t = arg;
    json_t *root = NULL;
    TT_BUF_AUTO tt_buf body = {0};
    tt_buf_cstr_put(&body, "{\"ends\":[");
    for (size_t i = 0; i < count; i++)
        put_end(&body, &ends[i]);
    if (count)
        body.len--; /* the comma */
    tt_buf_cstr_put(&body, "]}");
    TT_TRY(tt_buf_check(&body, err));
    TT_TRY(call(t->reports, "/v1/tasks/report", tt_buf_view(&body), &root, err));
    read_refusals(root, ret_refused, err);
    json_decref(root);
    return TT_OK;
}

static tt_rc do_words(void *arg, const char *verb, uint64_t id, uint64_t lease, tt_str body, tt_err *err)
{
    char target[160];
    task_target(target, verb, id, lease, "");
    return call(((http_transport *)arg)->words, target, body, NULL, err);
}

static tt_rc do_log(void *arg, uint64_t id, uint64_t lease, tt_str bytes, tt_err *err) { return do_words(arg, "log", id, lease, bytes, err); }
static tt_rc do_progress(void *arg, uint64_t id, uint64_t lease, tt_str json, tt_err *err) { return do_words(arg, "progress", id, lease, json, err); }
static void do_interrupt(void *arg) { tt_http_interrupt(((http_transport *)arg)->claims); }
static void do_stop_watching(void *arg) { tt_http_interrupt(((http_transport *)arg)->watch); }

/* ---- main ---- */

typedef struct {
    http_transport http;
    tt_worker_shared *shared; /* NULL: over HTTP */
    tt_roots *roots;          /* below which files may be stored */
} worker_house;

/* Names stand in addresses and logs: letters, digits and a few marks (presence.c checks it again). */
static tt_rc set_name(http_transport *t, const char *name, tt_err *err)
{
    char host[64] = "worker";
    if (!name && gethostname(host, sizeof host) != 0)
        return tt_fail_errno(err, errno, "cannot find the host's name");
    host[sizeof host - 1] = '\0';
    if (name && (strlen(name) >= sizeof t->name || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@") != strlen(name) || !*name))
        return tt_fail(err, TT_USAGE, "`%.140s` is not a worker's name: use up to 127 letters, digits and - _ . : @", name);
    if (name)
        snprintf(t->name, sizeof t->name, "%s", name);
    else
        snprintf(t->name, sizeof t->name, "%s-%d", host, (int)getpid());
    return TT_OK;
}

static tt_rc set_queues(http_transport *t, const char *queues, tt_err *err)
{
    if (queues && (!*queues || strspn(queues, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,") != strlen(queues)))
        return tt_fail(err, TT_USAGE, "`%.140s` does not name queues: use letters, digits, - _ . and commas between them", queues);
    t->queues = queues;
    return TT_OK;
}

static tt_rc connect_to(http_transport *t, const tt_options *o, const char *server, tt_err *err)
{
    TT_BUF_AUTO tt_buf url = {0};
    tt_str token = tt_option_str(o, "server.token");
    if (server)
        tt_buf_cstr_put(&url, server);
    else
        tt_buf_printf(&url, "unix:%s/tutti.sock", tt_option_str(o, "data").ptr);
    TT_TRY(tt_buf_check(&url, err));
    if (tt_str_starts(tt_buf_view(&url), TT_STR("unix:")))
        t->socket = tt_dup_cstr(tt_buf_cstr(&url) + strlen("unix:"));
    TT_TRY(tt_http_new(tt_buf_view(&url), token, WAIT_MS + CALL_TIMEOUT_MS, &t->claims, err));
    TT_TRY(tt_http_new(tt_buf_view(&url), token, LEASE_MS / 3 + CALL_TIMEOUT_MS, &t->watch, err));
    TT_TRY(tt_http_new(tt_buf_view(&url), token, CALL_TIMEOUT_MS, &t->words, err));
    return tt_http_new(tt_buf_view(&url), token, CALL_TIMEOUT_MS, &t->reports, err);
}

/* Logs in Redis are in its memory. */
static uint64_t log_bytes_of(const tt_options *o)
{
    enum { SHARED_LOG_BYTES = 1 << 20 };
    int64_t bytes = tt_option_int(o, "work.log_size");
    return bytes > SHARED_LOG_BYTES ? SHARED_LOG_BYTES : (uint64_t)bytes;
}

static const tt_reload_row reloads[] = {TT_RELOAD_LOG, {0}};

/* Such that what it then takes to stop a program ends before the supervisor's patience with workers. */
static int64_t grace_of(const tt_options *o)
{
    enum { TO_STOP_MS = 2500 };
    int64_t grace_ms = tt_option_int(o, "shutdown.grace") * 3 / 4;
    return grace_ms > 2 * TO_STOP_MS ? grace_ms - TO_STOP_MS : grace_ms / 2;
}

static int64_t reload(void *options)
{
    tt_reload(options, reloads, NULL);
    return grace_of(options);
}

/* The strings live as long as the process. */
tt_rc tt_query_worker_register(const tt_options *o, const tt_roots *roots, const char *temp_dir, tt_err *err)
{
    static char dir[4096];
    int n = snprintf(dir, sizeof dir, "%s/cache/parts", tt_option_str(o, "data").ptr);
    if (n < 0 || (size_t)n >= sizeof dir)
        return tt_fail(err, TT_INVALID, "the path of the data directory is too long");
    tt_query_kinds_register(&(tt_query_kinds_env){
        .roots = roots, .temp_dir = temp_dir,
        .cache = {.dir = dir, .limit_bytes = (uint64_t)tt_option_int(o, "query.cache_size"), .prepare_after = (uint32_t)tt_option_int(o, "query.prepare_after")},
    });
    return TT_OK;
}

/* A hostile file costs its worker this much and no more: allocations fail then. Sanitizers have mappings of their own that are larger. */
static void limit_memory(const tt_options *o)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    uint64_t most = (uint64_t)tt_option_int(o, "query.memory");
    struct rlimit limit = {.rlim_cur = most, .rlim_max = most};
    if (setrlimit(RLIMIT_DATA, &limit) != 0)
        tt_log_warn("the memory of this worker is not limited", TT_F_CSTR("why", strerror(errno)));
#endif
}

/* Parts of queries are long enough to be claimed one by one, and somebody waits for the last of them. */
static bool takes_one(const http_transport *t) { return t->queues && strcmp(t->queues, "query") == 0; }

/* Started by hand, it has nobody above it that would kill what its programs leave behind when it is killed. */
static tt_rc guard_what_is_below(const http_transport *t, tt_err *err)
{
    char mark[32], value[200];
    if (getenv("TUTTI_TREE") || getenv("TUTTI_CREW"))
        return TT_OK;
    snprintf(mark, sizeof mark, "TUTTI_CREW=%d/", (int)getpid());
    snprintf(value, sizeof value, "%d/%s", (int)getpid(), t->name);
    if (setenv("TUTTI_CREW", value, 1) != 0)
        return tt_fail(err, TT_NOMEM, "out of memory");
    return tt_guard_start(mark, err);
}

/* Of machines that share a ledger, and of data directories on one, each may have a `sanjer1`: NAME@HOST-XXXX, unless the name says where it is. */
static void name_for_all(http_transport *t, const tt_options *o)
{
    char host[65] = "", real[4096];
    tt_str data = tt_option_str(o, "data");
    size_t len = strlen(t->name), room = sizeof t->name - 1 - sizeof "@-0000";
    if (strchr(t->name, '@'))
        return;
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    tt_str home = realpath(data.ptr, real) ? tt_str_of(real) : data;
    int host_len = len < room ? (int)(room - len) : 0;
    snprintf(t->name + len, sizeof t->name - len, "@%.*s-%04x", host_len, host, (unsigned)(XXH3_64bits(home.ptr, home.len) & 0xffff));
}

/* Over Redis where it is named, and no server is. */
static tt_rc choose_transport(worker_house *h, const tt_options *o, const tt_worker_args *args, tt_worker_transport *ret, tt_vault_store *ret_secrets, tt_err *err)
{
    http_transport *t = &h->http;
    tt_str shared = tt_option_str(o, "shared");
    t->instance = (int64_t)randombytes_random() + 1;
    if (args->server || !shared.len) {
        *ret = (tt_worker_transport){
            .arg = t, .attach = do_attach, .detach = do_detach, .claim = do_claim, .extend = do_extend, .report = do_report,
            .sink = {t, do_log, do_progress}, .interrupt = do_interrupt, .stop_watching = do_stop_watching,
        };
        *ret_secrets = (tt_vault_store){.get = get_sealed, .arg = t};
        return connect_to(t, o, args->server, err);
    }
    name_for_all(t, o);
    tt_worker_shared_spec spec = {.url = shared, .password = tt_option_str(o, "redis.password"), .name = t->name, .instance = t->instance, .queues = t->queues,
                                  .last_end = getenv("TUTTI_LAST_END"), .log_bytes = log_bytes_of(o)};
    TT_TRY(tt_worker_shared_new(&spec, &h->shared, err));
    tt_worker_shared_transport(h->shared, ret);
    *ret_secrets = (tt_vault_store){.get = tt_worker_shared_get_sealed, .arg = h->shared};
    return TT_OK;
}

static tt_rc run(worker_house *h, tt_options *o, const tt_worker_args *args, tt_err *err)
{
    sigset_t usual;
    int signal_fd;
    tt_worker_transport table;
    tt_vault_store secrets;
    http_transport *t = &h->http;
    tt_signals_usual(&usual);
    TT_TRY(tt_signals_open(&usual, &signal_fd, err));
    TT_TRY(set_name(t, args->name, err));
    TT_TRY(set_queues(t, args->queues, err));
    TT_TRY(guard_what_is_below(t, err));
    tt_log_set_process(t->name);
    prctl(PR_SET_NAME, "tutti-worker");
    if (sodium_init() < 0)
        return tt_fail(err, TT_FAILED, "cannot set up libsodium");
    TT_TRY(tt_roots_of_options(o, &h->roots, err));
    TT_TRY(choose_transport(h, o, args, &table, &secrets, err));
    TT_TRY(tt_execution_register(o, &secrets, h->roots, err));
    const char *temp_dir = getenv("TMPDIR");
    TT_TRY(tt_query_worker_register(o, h->roots, temp_dir && *temp_dir ? temp_dir : "/tmp", err));
    if (takes_one(t))
        limit_memory(o);
    const tt_worker_options options = {
        .name = t->name, .transport = &table, .signal_fd = signal_fd, .lease_ms = LEASE_MS, .wait_ms = WAIT_MS,
        .most = takes_one(t) ? 1 : (size_t)tt_option_int(o, "work.prefetch"), .log_bytes = h->shared ? log_bytes_of(o) : (uint64_t)tt_option_int(o, "work.log_size"),
        .grace_ms = grace_of(o), .reload = reload, .reload_arg = o,
    };
    return tt_worker_run(&options, err);
}

int tt_worker_main(tt_options *o, const tt_worker_args *args)
{
    worker_house h = {0};
    tt_err err = {0};
    tt_rc rc = run(&h, o, args, &err);
    if (rc != TT_OK)
        tt_log_error("the worker ends", TT_F_CSTR("why", err.text));
    tt_execution_unregister();
    tt_roots_free(h.roots);
    tt_worker_shared_free(h.shared);
    tt_http_free(h.http.claims);
    tt_http_free(h.http.watch);
    tt_http_free(h.http.words);
    tt_http_free(h.http.reports);
    free(h.http.socket);
    tt_log_set_process(NULL);
    return tt_rc_exit(rc);
}
