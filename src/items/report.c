#include <inttypes.h>

#include "base/clock.h"
#include "items/items_inner.h"
#include "ledger/records.h"

/* What the sink has to bring to its place is there as well. */
static bool is_finished(const tt_job *j) { return tt_job_is_complete(j) && tt_delivery_is_done(j); }

const char *tt_job_status(const tt_job *j)
{
    if (j->life == TT_JOB_BROKEN)
        return "BROKEN";
    if (is_finished(j))
        return "COMPLETE";
    return j->gate.paused ? "PAUSED" : "IN_PROGRESS";
}

bool tt_job_finished(tt_job *j)
{
    pthread_mutex_lock(&j->lock);
    bool finished = is_finished(j);
    pthread_mutex_unlock(&j->lock);
    return finished;
}

bool tt_job_has_status(tt_job *j, tt_str status)
{
    if (status.len == 0)
        return true;
    pthread_mutex_lock(&j->lock);
    bool has = tt_str_is(status, tt_job_status(j));
    pthread_mutex_unlock(&j->lock);
    return has;
}

char *tt_job_why_broken(tt_job *j)
{
    pthread_mutex_lock(&j->lock);
    char *why = j->life == TT_JOB_BROKEN ? tt_dup_cstr(j->broken) : NULL;
    pthread_mutex_unlock(&j->lock);
    return why;
}

static void put_or_null(tt_buf *out, const char *name, bool known, int64_t value)
{
    tt_buf_printf(out, ",\"%s\":", name);
    if (known)
        tt_buf_i64(out, value);
    else
        tt_buf_cstr_put(out, "null");
}

static uint64_t total_of(const tt_item_counts *n)
{
    return tt_counts_pending(n) + n->of[TT_ITEM_RECEIVED] + n->of[TT_ITEM_ERROR] + n->of[TT_ITEM_DEAD];
}

/* Members that both forms have. */
static void put_numbers(const tt_job *j, tt_buf *out)
{
    const tt_item_counts *n = &j->blocks.counts;
    bool planned = j->plan == TT_PLAN_DONE && j->def.mode != TT_MODE_WRITE;
    int64_t now = tt_mono_ms(), oldest = tt_leases_oldest_ms(&j->leases, now);
    double rate = tt_rate_per_s(&j->rate, now);
    uint64_t pending = tt_counts_pending(n), left = pending;
    if (j->blocks.answers) /* results to come; roughly, where items are in error */
        left = total_of(n) * j->blocks.answers->copies - j->blocks.answers->received;
    tt_buf_printf(out, "\"served\":%" PRIu64 ",\"received\":%" PRIu64 ",\"status\":\"%s\",\"errors\":%" PRIu64 ",\"dead\":%" PRIu64
                  ",\"duplicates\":%" PRIu64 ",\"redone\":%" PRIu64 ",\"rate\":%.1f", n->in_flight, n->of[TT_ITEM_RECEIVED], tt_job_status(j),
                  n->of[TT_ITEM_ERROR], n->of[TT_ITEM_DEAD], j->duplicates, j->redone, rate);
    put_or_null(out, "total", planned, (int64_t)total_of(n));
    put_or_null(out, "pending", planned, (int64_t)pending);
    put_or_null(out, "eta_s", planned && (rate > 0 || pending == 0), rate > 0 ? (int64_t)((double)left / rate + 0.5) : 0);
    put_or_null(out, "oldest_lease_ms", oldest >= 0, oldest);
    tt_buf_printf(out, ",\"output_bytes\":%" PRIu64, tt_job_is_journaled(j) ? j->delivery.now.last.length_bytes : j->output_mark.length_bytes);
    tt_delivery_report(j, out);
}

static void put_workers(const tt_job *j, tt_buf *out)
{
    tt_buf_cstr_put(out, ",\"workers\":[");
    for (size_t i = 0; i < j->workers.len; i++) {
        tt_buf_cstr_put(out, i ? ",{\"worker\":" : "{\"worker\":");
        tt_buf_json_str(out, tt_str_of(j->workers.ptr[i].name));
        tt_buf_printf(out, ",\"in_flight\":%" PRIu64 ",\"received\":%" PRIu64 "}", j->workers.ptr[i].in_flight,
                      j->workers.ptr[i].received);
    }
    tt_buf_char(out, ']');
    if (j->life == TT_JOB_BROKEN) {
        tt_buf_cstr_put(out, ",\"detail\":");
        tt_buf_json_str(out, tt_str_of(j->broken));
    }
}

void tt_job_report(tt_job *j, tt_buf *out)
{
    pthread_mutex_lock(&j->lock);
    tt_buf_char(out, '{');
    put_numbers(j, out);
    put_workers(j, out);
    tt_buf_char(out, '}');
    pthread_mutex_unlock(&j->lock);
}

static void put_text(tt_buf *out, const char *name, const char *text)
{
    tt_buf_printf(out, ",\"%s\":", name);
    if (text)
        tt_buf_json_str(out, tt_str_of(text));
    else
        tt_buf_cstr_put(out, "null");
}

static void put_rules(const tt_job *j, tt_buf *out)
{
    const tt_rules *r = &j->def.rules;
    tt_buf_printf(out, ",\"paused\":%s", j->gate.paused ? "true" : "false");
    put_text(out, "rate_limit", r->rate_text[0] ? r->rate_text : NULL);
    tt_buf_printf(out, ",\"priority\":%d", r->priority);
    tt_buf_printf(out, ",\"overlap\":%u", r->overlap > 1 ? r->overlap : 1);
    put_text(out, "key", r->key);
    put_or_null(out, "answers", j->blocks.answers, j->blocks.answers ? (int64_t)j->blocks.answers->received : 0);
    put_or_null(out, "max_in_flight", r->max_in_flight > 0, (int64_t)r->max_in_flight);
}

void tt_job_describe(tt_job *j, tt_buf *out)
{
    char when[TT_TIME_TEXT];
    pthread_mutex_lock(&j->lock);
    const tt_definition *d = &j->def;
    tt_buf_cstr_put(out, "{\"name\":");
    tt_buf_json_str(out, tt_str_of(d->name));
    tt_buf_char(out, ',');
    put_numbers(j, out);
    put_text(out, "mode", tt_job_mode_name(d->mode));
    put_text(out, "reader", j->reader ? tt_reader_kind(j->reader) : d->reader_name);
    put_text(out, "writer", j->writer ? tt_writer_kind(j->writer) : d->writer_name);
    tt_buf_cstr_put(out, ",\"input\":[");
    for (size_t i = 0; i < d->inputs.len; i++) {
        if (i)
            tt_buf_char(out, ',');
        tt_buf_json_str(out, tt_str_of(d->inputs.ptr[i].path));
    }
    tt_buf_char(out, ']');
    put_text(out, "output", d->output_real ? d->output_real : d->output);
    put_text(out, "created", tt_time_text(d->created_ms, when));
    tt_buf_printf(out, ",\"protected\":%s,\"lease_ms\":%" PRId64 ",\"max_attempts\":%u", d->token_hash[0] ? "true" : "false",
                  d->lease_ms, d->max_attempts);
    put_rules(j, out);
    put_workers(j, out);
    tt_buf_char(out, '}');
    pthread_mutex_unlock(&j->lock);
}

static void add_totals(void *arg, tt_job *j)
{
    tt_items_totals *t = arg;
    pthread_mutex_lock(&j->lock);
    const tt_item_counts *n = &j->blocks.counts;
    int64_t oldest = tt_leases_oldest_ms(&j->leases, tt_mono_ms());
    t->jobs++;
    t->complete += is_finished(j);
    t->broken += j->life == TT_JOB_BROKEN;
    t->received += n->of[TT_ITEM_RECEIVED];
    t->served += n->in_flight;
    t->errors += n->of[TT_ITEM_ERROR];
    t->dead += n->of[TT_ITEM_DEAD];
    t->pending += tt_counts_pending(n);
    t->duplicates += j->duplicates;
    t->leases += tt_leases_count(&j->leases);
    if (oldest > t->oldest_lease_ms)
        t->oldest_lease_ms = oldest;
    pthread_mutex_unlock(&j->lock);
}

void tt_items_count(tt_items *items, tt_items_totals *ret)
{
    *ret = (tt_items_totals){.oldest_lease_ms = -1, .cache_bytes = tt_cache_bytes(items->env.cache)};
    tt_items_each(items, add_totals, ret);
}

/* ---- errors ---- */

static tt_rc enlist(void *arg, tt_txn *txn, tt_err *err)
{
    tt_txn_enlist(txn, &((tt_job *)arg)->part);
    return TT_OK;
}

/* Lines of the list that wait for the next commit are stored now, so that the list agrees with the report. */
static tt_rc store_waiting_notes(tt_job *j, tt_err *err)
{
    pthread_mutex_lock(&j->lock);
    bool any = j->notes.len && j->life != TT_JOB_GONE;
    pthread_mutex_unlock(&j->lock);
    return any ? tt_ledger_run(j->env->ledger, enlist, j, err) : TT_OK;
}

typedef struct {
    const tt_error_filter *filter;
    bool (*fn)(void *arg, uint64_t id, tt_str entry);
    void *arg;
} error_walk;

static bool matches(const tt_error_filter *f, tt_str entry)
{
    if (!f->reason.len && !f->state.len)
        return true;
    json_t *root = json_loadb(entry.ptr, entry.len, JSON_ALLOW_NUL, NULL), *reason = json_object_get(root, "reason");
    const char *state = json_string_value(json_object_get(root, "state"));
    bool fits = !f->state.len || (state && tt_str_is(f->state, state));
    if (f->reason.len)
        fits &= json_is_string(reason) && memmem(json_string_value(reason), json_string_length(reason), f->reason.ptr, f->reason.len);
    json_decref(root);
    return fits;
}

static bool walk_error(void *arg, tt_str name, uint64_t version, tt_str entry)
{
    error_walk *walk = arg;
    uint64_t id;
    if (tt_parse_u64(name, &id, NULL) != TT_OK || !matches(walk->filter, entry))
        return true;
    return walk->fn(walk->arg, id, entry);
}

tt_rc tt_errors_each(tt_job *j, tt_str after_name, const tt_error_filter *filter, bool (*fn)(void *arg, uint64_t id, tt_str entry), void *arg, tt_err *err)
{
    char kind[32];
    error_walk walk = {filter, fn, arg};
    TT_TRY(store_waiting_notes(j, err));
    return tt_record_each_after(j->env->ledger, tt_str_of(tt_errors_kind(j->def.owner, kind)), after_name, walk_error, &walk, err);
}

typedef struct {
    tt_buf *out;
    size_t count, limit;
    uint64_t last;
    bool more;
} error_page;

static bool add_error(void *arg, uint64_t id, tt_str entry)
{
    error_page *page = arg;
    if (page->count == page->limit)
        return page->more = true, false;
    if (page->count++)
        tt_buf_char(page->out, ',');
    tt_buf_str(page->out, entry);
    page->last = id;
    return true;
}

tt_rc tt_items_errors(tt_items *items, tt_str name, uint64_t after, bool from_start, size_t limit, const tt_error_filter *filter, tt_buf *out, tt_err *err)
{
    char after_name[24] = "";
    error_page page = {.out = out, .limit = limit};
    tt_job *j = tt_items_find(items, name, err);
    if (!j)
        return TT_NOT_FOUND;
    if (!from_start)
        snprintf(after_name, sizeof after_name, "%020" PRIu64, after);
    tt_buf_cstr_put(out, "{\"schema\":1,\"errors\":[");
    tt_rc rc = tt_errors_each(j, tt_str_of(after_name), filter, add_error, &page, err);
    tt_job_unref(j);
    tt_buf_cstr_put(out, "]");
    put_or_null(out, "next", page.more, (int64_t)page.last);
    tt_buf_char(out, '}');
    return rc;
}
