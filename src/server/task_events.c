/* Following a task as server-sent events: its log (`event: log`, data {"offset":N,"text":"..."}), or its state and progress (`event: task`). Both end
 * with `event: end` and the task. One follower per client: woken by the task's topics, it looks on the pool, because it reads files and the
 * ledger; also once in IDLE_MS so that a client sees that we live. area->followers_lock guards the list, `closing`, and each follower's busy and again. */
#include "base/clock.h"
#include "server/task_routes.h"

typedef struct tt_follower {
    tt_watch watches[2];   /* first: the task's end, and its log or progress */
    bool waiting[2];       /* the watch is the list's */
    tt_timer timer;
    tt_task_area *area;
    tt_stream *stream;
    uint64_t id, offset;
    bool is_log;
    int64_t spoke_ms;
    bool armed;            /* the timer is, or its callback is about to run */
    bool busy, again;      /* a look is under way; another is wanted behind it */
    bool ended;            /* taken off the list */
    unsigned refs;         /* the list's, one for each waiting watch, one for the timer, one for a look */
    struct tt_follower *prev, *next;
} follower;

enum { IDLE_MS = 2000, EVERY_MS = 100, PIECE_BYTES = 64 * 1024 };

/* ---- life; all locked but put ---- */

static void put(follower *f)
{
    tt_task_area *area = f->area;
    pthread_mutex_lock(&area->followers_lock);
    bool last = --f->refs == 0;
    pthread_mutex_unlock(&area->followers_lock);
    if (last)
        free(f);
}

static void look(void *arg);

static void want_look(follower *f)
{
    if (f->ended)
        return;
    f->again = f->busy;
    if (f->busy)
        return;
    f->busy = true;
    f->refs++;
    tt_pool_run(f->area->pool, look, f);
}

static void unlink_follower(follower *f)
{
    f->ended = true;
    if (f->prev)
        f->prev->next = f->next;
    else
        f->area->followers = f->next;
    if (f->next)
        f->next->prev = f->prev;
}

static void on_change(follower *f, size_t which)
{
    pthread_mutex_lock(&f->area->followers_lock);
    f->waiting[which] = false;
    want_look(f);
    pthread_mutex_unlock(&f->area->followers_lock);
    put(f);
}

static void on_task(tt_watch *w) { on_change((follower *)w, 0); }
static void on_word(tt_watch *w) { on_change((follower *)(w - 1), 1); }

static void on_time(void *arg)
{
    follower *f = arg;
    pthread_mutex_lock(&f->area->followers_lock);
    f->armed = false;
    want_look(f);
    pthread_mutex_unlock(&f->area->followers_lock);
    put(f);
}

/* Locked. One that fires now looks anyway. */
static void look_in(follower *f, int64_t in_ms)
{
    if (f->armed && !tt_timer_cancel(f->area->timers, &f->timer))
        return;
    f->refs += !f->armed;
    f->armed = true;
    tt_timer_set(f->area->timers, &f->timer, tt_mono_ms() + in_ms);
}

/* Before the look, so that no change falls between. */
static void listen_again(follower *f)
{
    for (size_t i = 0; i < 2; i++) {
        char topic[40];
        pthread_mutex_lock(&f->area->followers_lock);
        bool adds = !f->waiting[i] && !f->ended;
        f->waiting[i] |= adds;
        f->refs += adds;
        pthread_mutex_unlock(&f->area->followers_lock);
        snprintf(topic, sizeof topic, i == 0 ? "task/%llu" : f->is_log ? "log/%llu" : "progress/%llu", (unsigned long long)f->id);
        if (adds)
            tt_watch_add(f->area->watches, tt_str_of(topic), &f->watches[i]);
    }
}

/* Off the list already; nobody looks. */
static void finish(follower *f)
{
    for (size_t i = 0; i < 2; i++)
        if (f->waiting[i] && tt_watch_cancel(f->area->watches, &f->watches[i]))
            put(f);
    if (tt_timer_cancel(f->area->timers, &f->timer))
        put(f);
    tt_stream_end(f->stream);
    put(f);
}

/* ---- saying ---- */

static bool say(follower *f, const char *event, json_t *data)
{
    TT_BUF_AUTO tt_buf text = {0};
    char *line = json_dumps(data, JSON_COMPACT);
    json_decref(data);
    tt_buf_printf(&text, "event: %s\ndata: %s\n\n", event, line ? line : "null");
    free(line);
    f->spoke_ms = tt_mono_ms();
    return tt_buf_check(&text, NULL) == TT_OK && tt_stream_write(f->stream, tt_buf_view(&text));
}

static bool say_alive(follower *f)
{
    if (tt_mono_ms() - f->spoke_ms < IDLE_MS)
        return true;
    f->spoke_ms = tt_mono_ms();
    return tt_stream_write(f->stream, TT_STR(": alive\n\n"));
}

/* Bytes of a character that is not whole yet wait for the rest. */
static size_t whole_bytes(tt_str text)
{
    size_t len = text.len;
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char c = (unsigned char)text.ptr[len - back];
        if ((c & 0xC0) == 0x80)
            continue;
        size_t needs = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
        return needs > back ? len - back : len;
    }
    return len;
}

/* What is new in the log; *ret_all: it was read to its end. */
static bool say_log(follower *f, bool over, bool *ret_all)
{
    TT_BUF_AUTO tt_buf bytes = {0}, quoted = {0};
    *ret_all = true;
    if (tt_logs_read(f->area->logs, f->id, f->offset, PIECE_BYTES, &bytes, NULL) != TT_OK || bytes.len == 0)
        return true;
    size_t len = over && bytes.len < PIECE_BYTES ? bytes.len : whole_bytes(tt_buf_view(&bytes));
    if (len == 0)
        return true;
    tt_buf_printf(&quoted, "event: log\ndata: {\"offset\":%llu,\"text\":", (unsigned long long)f->offset);
    tt_buf_json_str(&quoted, (tt_str){bytes.ptr, len});
    tt_buf_cstr_put(&quoted, "}\n\n");
    f->offset += len;
    f->spoke_ms = tt_mono_ms();
    *ret_all = bytes.len < PIECE_BYTES;
    return tt_buf_check(&quoted, NULL) == TT_OK && tt_stream_write(f->stream, tt_buf_view(&quoted));
}

/* False: it has come to its end. *ret_soon: look again at once. */
static bool speak(follower *f, bool *ret_soon)
{
    tt_arena arena = {0};
    tt_task t;
    bool all = true, alive = true;
    bool found = tt_tasks_get(f->area->tasks, f->id, &arena, &t, NULL) == TT_OK, over = !found || t.state >= TT_TASK_FINISHED;
    if (f->is_log)
        alive = say_log(f, over, &all);
    else if (found)
        alive = say(f, "task", tt_task_describe(&t, over));
    if (alive && over && all)
        alive = say(f, "end", found ? tt_task_describe(&t, false) : json_null());
    tt_arena_deinit(&arena);
    *ret_soon = !all;
    return alive && !(over && all) && say_alive(f);
}

static void look(void *arg)
{
    follower *f = arg;
    tt_task_area *area = f->area;
    bool soon = false;
    listen_again(f);
    bool goes_on = speak(f, &soon);
    pthread_mutex_lock(&area->followers_lock);
    bool was_on = !f->ended;
    goes_on = goes_on && was_on && !area->closing;
    int64_t in_ms = soon ? 0 : f->again ? EVERY_MS : IDLE_MS; /* changes that come quickly are told together */
    f->busy = f->again = false;
    if (goes_on)
        look_in(f, in_ms);
    else if (was_on)
        unlink_follower(f);
    pthread_mutex_unlock(&area->followers_lock);
    if (was_on && !goes_on)
        finish(f);
    put(f);
}

/* ---- routes ---- */

static void follow(tt_req *req, bool is_log)
{
    tt_task_area *area = tt_task_area_of(req);
    uint64_t id = (uint64_t)tt_req_int(req, "id"), lease;
    tt_task_state state;
    tt_err err;
    tt_rc rc = tt_queue_get_lease(area->ledger, id, &lease, &state, &err);
    int64_t offset = is_log ? tt_req_int(req, "offset") : 0;
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    follower *f = TT_NEW(follower);
    *f = (follower){.watches = {{.fn = on_task}, {.fn = on_word}}, .timer = {.fn = on_time, .arg = f}, .area = area, .id = id,
                    .offset = offset > 0 ? (uint64_t)offset : 0, .is_log = is_log, .spoke_ms = tt_mono_ms(), .refs = 1};
    f->stream = tt_req_stream(req, 200, "text/event-stream");
    pthread_mutex_lock(&area->followers_lock);
    bool closing = area->closing;
    f->ended = closing;
    if (!closing) {
        f->next = area->followers;
        if (f->next)
            f->next->prev = f;
        area->followers = f;
        want_look(f);
    }
    pthread_mutex_unlock(&area->followers_lock);
    if (closing)
        finish(f);
}

void tt_task_follow_log(tt_req *req) { follow(req, true); }
void tt_task_follow_state(tt_req *req) { follow(req, false); }

void tt_task_area_close(tt_task_area *area)
{
    follower *ended = NULL, *next;
    pthread_mutex_lock(&area->followers_lock);
    area->closing = true;
    for (follower *f = area->followers; f; f = next) {
        next = f->next;
        if (f->busy)
            continue; /* its look sees that we close */
        unlink_follower(f);
        f->next = ended;
        ended = f;
    }
    pthread_mutex_unlock(&area->followers_lock);
    tt_timer_cancel(area->timers, &area->sweep);
    for (; ended; ended = next) {
        next = ended->next;
        finish(ended);
    }
}
