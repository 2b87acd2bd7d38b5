/* `tutti job push`: JSON lines from standard input become results (and failures) of a job, in batches.
 * A batch holds lines of one job and one kind under one lease; it goes out when it is full, large, or a second old. Sending
 * again is harmless (the first result wins), so an unreachable server is asked again for a minute. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/feed.h"
#include "cli/item.h"
#include "cli/job.h"
#include "cli/output.h"
#include "data/json.h"

enum {
    MAX_OPEN = 16,          /* batches being filled */
    MAX_ITEMS = 1000,
    MAX_BYTES = 1 << 20,
    MAX_AGE_MS = 1000,
    LINE_SLACK_BYTES = 4096, /* id, lease and reason beside the value */
    MAX_COMPLAINTS = 20,
};

typedef struct {
    bool fails;        /* POST fail, not POST results */
    char *job;         /* decoded */
    char *lease;       /* decoded; NULL: none */
    tt_buf body;
    size_t count;      /* 0: free */
    int64_t since_ms;
    uint64_t first_line, last_line;
} batch;

/* What the answers said; each row is a member of an answer and of the summary. To count one more, add a row. */
static const char *const counters[] = {"accepted", "duplicate", "unknown", "retry", "dead", "error"};
enum { UNKNOWN_AT = 2 };

typedef struct {
    tt_cli *cli;
    tt_feed feed;
    batch open[MAX_OPEN];
    int64_t counts[TT_COUNT(counters)];
    int64_t gone;      /* failures whose lease had run out: the items are on their way to somebody else */
    int64_t bad_lines;
} pusher;

/* ---- sending ---- */

static void take_answer(pusher *p, tt_str answer)
{
    TT_JSON_AUTO json_t *root = json_loadb(answer.ptr ? answer.ptr : "", answer.len, 0, NULL);
    for (size_t i = 0; i < TT_COUNT(counters); i++)
        p->counts[i] += tt_json_member_int(root, counters[i]);
}

static tt_rc send_batch(pusher *p, batch *b, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    tt_err why = {0};
    if (b->count == 0)
        return TT_OK;
    tt_buf_char(&b->body, ']');
    TT_TRY(tt_buf_check(&b->body, err));
    tt_job_target_of(tt_str_of(b->job), b->fails ? "/fail" : "/results", &target);
    tt_buf_query(&target, "lease", tt_str_of(b->lease));
    tt_buf_query(&target, "worker", tt_cli_flag(p->cli, "--worker"));
    tt_rc rc = tt_job_call_patiently(p->cli, "POST", tt_buf_cstr(&target), tt_buf_view(&b->body), &answer, &why);
    if (rc == TT_GONE || (rc == TT_CONFLICT && b->fails))
        p->gone += (int64_t)b->count;
    else if (rc != TT_OK)
        return tt_fail(err, rc, "lines %llu to %llu were not taken: %s", (unsigned long long)b->first_line, (unsigned long long)b->last_line, why.text);
    else
        take_answer(p, tt_buf_view(&answer));
    b->count = 0;
    tt_buf_clear(&b->body);
    return TT_OK;
}

static tt_rc send_all(pusher *p, tt_err *err)
{
    for (size_t i = 0; i < MAX_OPEN; i++)
        TT_TRY(send_batch(p, &p->open[i], err));
    return TT_OK;
}

static tt_rc send_old(pusher *p, tt_err *err)
{
    int64_t now = tt_mono_ms();
    for (size_t i = 0; i < MAX_OPEN; i++)
        if (p->open[i].count && now - p->open[i].since_ms >= MAX_AGE_MS)
            TT_TRY(send_batch(p, &p->open[i], err));
    return TT_OK;
}

/* Until the oldest open batch has its age; -1: none is open. */
static int64_t wait_ms(const pusher *p)
{
    int64_t oldest = INT64_MAX, now = tt_mono_ms();
    for (size_t i = 0; i < MAX_OPEN; i++)
        if (p->open[i].count && p->open[i].since_ms < oldest)
            oldest = p->open[i].since_ms;
    if (oldest == INT64_MAX)
        return -1;
    return oldest + MAX_AGE_MS > now ? oldest + MAX_AGE_MS - now : 0;
}

/* ---- gathering ---- */

static bool fits(const batch *b, bool fails, tt_str job, tt_str lease)
{
    return b->count && b->fails == fails && tt_str_eq(tt_str_of(b->lease), lease) && tt_str_eq(tt_str_of(b->job), job);
}

/* The batch for lines of this kind; where all are taken the oldest is sent. */
static tt_rc find_batch(pusher *p, bool fails, tt_str job, tt_str lease, batch **ret, tt_err *err)
{
    batch *best = &p->open[0];
    for (size_t i = 0; i < MAX_OPEN; i++) {
        batch *b = &p->open[i];
        if (fits(b, fails, job, lease))
            return *ret = b, TT_OK;
        if (best->count && (b->count == 0 || b->since_ms < best->since_ms))
            best = b;
    }
    TT_TRY(send_batch(p, best, err));
    free(best->lease);
    free(best->job);
    best->job = tt_str_dup(job);
    best->lease = lease.len ? tt_str_dup(lease) : NULL;
    best->fails = fails;
    best->since_ms = tt_mono_ms();
    best->first_line = p->feed.line;
    *ret = best;
    return TT_OK;
}

static void put_item(batch *b, const tt_item_line *item)
{
    tt_buf_char(&b->body, b->count ? ',' : '[');
    if (b->fails) {
        tt_buf_printf(&b->body, "{\"id\":%.*s,\"reason\":", TT_STR_ARG(item->id));
        tt_buf_str(&b->body, item->error);
        tt_buf_printf(&b->body, ",\"final\":%s}", item->final ? "true" : "false");
    } else {
        tt_buf_printf(&b->body, "[%.*s,", TT_STR_ARG(item->id));
        tt_buf_str(&b->body, item->value);
        tt_buf_char(&b->body, ']');
    }
    b->count++;
}

static tt_rc add(pusher *p, const tt_item_line *item, tt_err *err)
{
    TT_BUF_AUTO tt_buf lease = {0}, job = {0};
    tt_str named = tt_cli_operand(p->cli, 0);
    batch *b;
    if (item->lease.ptr)
        tt_json_unescape(item->lease, &lease);
    if (!named.ptr)
        tt_json_unescape(item->job, &job);
    TT_TRY(find_batch(p, item->error.ptr != NULL, named.ptr ? named : tt_buf_view(&job), tt_buf_view(&lease), &b, err));
    put_item(b, item);
    b->last_line = p->feed.line;
    return b->count >= MAX_ITEMS || b->body.len >= MAX_BYTES ? send_batch(p, b, err) : TT_OK;
}

static void complain(pusher *p, const char *why, size_t offset)
{
    if (++p->bad_lines > MAX_COMPLAINTS || p->cli->json)
        return;
    fprintf(stderr, "tutti: line %llu: %s", (unsigned long long)p->feed.line, why);
    fprintf(stderr, offset ? " (byte %zu)\n" : "\n", offset);
    if (p->bad_lines == MAX_COMPLAINTS)
        fprintf(stderr, "tutti: further bad lines are only counted\n");
}

static tt_rc take_line(pusher *p, tt_str line, tt_err *err)
{
    tt_item_line item;
    const char *why;
    size_t offset;
    if (tt_str_trim(line).len == 0)
        return TT_OK;
    if (tt_item_parse(line, &item, &why, &offset)) {
        if (item.job.ptr || tt_cli_operand(p->cli, 0).ptr)
            return add(p, &item, err);
        why = "`job` is missing, and the command names none";
        offset = 0;
    }
    complain(p, why, offset);
    return TT_OK;
}

static tt_rc read_all(pusher *p, tt_err *err)
{
    tt_str line;
    for (;;) {
        tt_feed_event event = tt_feed_next(&p->feed, wait_ms(p), &line, err);
        if (event == TT_FEED_FAILED)
            return err->code;
        if (event == TT_FEED_END)
            return TT_OK;
        if (event == TT_FEED_TOO_LONG)
            complain(p, "longer than limits.item allows", 0);
        if (event == TT_FEED_LINE)
            TT_TRY(take_line(p, line, err));
        TT_TRY(send_old(p, err));
    }
}

/* ---- the command ---- */

static tt_rc sum_up(pusher *p, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    if (p->cli->json) {
        tt_buf_cstr_put(&text, "{\"schema\":1");
        for (size_t i = 0; i < TT_COUNT(counters); i++)
            tt_buf_printf(&text, ",\"%s\":%lld", counters[i], (long long)p->counts[i]);
        tt_buf_printf(&text, ",\"gone\":%lld,\"bad_lines\":%lld}\n", (long long)p->gone, (long long)p->bad_lines);
        return tt_out(p->cli, tt_buf_view(&text), err);
    }
    for (size_t i = 0; i < TT_COUNT(counters); i++)
        if (p->counts[i] || i <= UNKNOWN_AT)
            tt_buf_printf(&text, "%s%lld %s", text.len ? ", " : "", (long long)p->counts[i], counters[i]);
    if (p->gone)
        tt_buf_printf(&text, ", %lld failures came after their lease", (long long)p->gone);
    tt_say(p->cli, "%s", tt_buf_cstr(&text));
    return TT_OK;
}

static tt_rc push(pusher *p, tt_err *err)
{
    tt_err ignored = {0};
    tt_rc rc = read_all(p, err);
    if (rc == TT_OK)
        rc = send_all(p, err);
    if (sum_up(p, &ignored) != TT_OK && rc == TT_OK)
        return tt_fail(err, ignored.code, "%s", ignored.text);
    if (rc != TT_OK)
        return rc;
    if (p->bad_lines)
        return tt_fail(err, TT_CHECK_FAILED, "%lld lines were bad and were left out", (long long)p->bad_lines);
    if (p->counts[UNKNOWN_AT])
        return tt_fail(err, TT_CHECK_FAILED, "%lld results belong to no item of the job", (long long)p->counts[UNKNOWN_AT]);
    return TT_OK;
}

static tt_rc job_push(tt_cli *cli, tt_err *err)
{
    tt_options *options;
    const char *where;
    TT_TRY(tt_cli_options(cli, &options, err));
    TT_TRY(tt_transport_where(cli, &where, err)); /* where no server runs, that is said before anything is read */
    pusher *p = TT_NEW(pusher);
    p->cli = cli;
    p->feed.max_bytes = (size_t)tt_option_int(options, "limits.item") + LINE_SLACK_BYTES;
    tt_rc rc = push(p, err);
    for (size_t i = 0; i < MAX_OPEN; i++) {
        free(p->open[i].lease);
        free(p->open[i].job);
        tt_buf_deinit(&p->open[i].body);
    }
    tt_feed_deinit(&p->feed);
    free(p);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_job_push, job_push)
