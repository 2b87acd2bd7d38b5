/* Jobs are made, repaired, cleaned and deleted: rare, blocking, one at a time (items->admin), on the pool. Order of effects: what can be
 * refused is looked at first; then the ledger changes in one commit; only then are files of an old job given up. */
#include "items/items_inner.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "items/adopt.h"
#include "items/amend.h"
#include "items/spool.h"
#include "ledger/pages.h"
#include "ledger/records.h"

/* ---- giving up an old job ---- */

typedef struct {
    tt_job *old;        /* may be NULL */
    tt_job *replacement;/* may be NULL */
    bool remove_output;
    bool opens_again;   /* what the old one has is the new one's */
} exchange;

static tt_rc drop_rows(const tt_job *j, tt_txn *txn, tt_err *err)
{
    char kind[32];
    TT_TRY(tt_record_delete(txn, TT_STR("job"), tt_str_of(j->def.name), err));
    TT_TRY(tt_record_delete_kind(txn, tt_str_of(tt_errors_kind(j->def.owner, kind)), err));
    return j->def.owner ? tt_page_drop_owner(txn, j->def.owner, err) : TT_OK; /* none: its record could not be read */
}

/* The record and the head of j, with the next commit of its group. */
static tt_rc store_all(void *arg, tt_txn *txn, tt_err *err)
{
    tt_job *j = arg;
    pthread_mutex_lock(&j->lock);
    j->head_dirty = j->record_dirty = true;
    pthread_mutex_unlock(&j->lock);
    tt_txn_enlist(txn, &j->part);
    return TT_OK;
}

static tt_rc exchange_apply(void *arg, tt_txn *txn, tt_err *err)
{
    exchange *x = arg;
    if (x->old)
        TT_TRY(drop_rows(x->old, txn, err));
    if (!x->replacement)
        return TT_OK;
    TT_TRY(tt_page_new_owner(txn, &x->replacement->def.owner, err));
    return store_all(x->replacement, txn, err);
}

/* On the writer thread, which alone uses the output. */
static tt_rc give_up_files(void *arg, tt_txn *txn, tt_err *err)
{
    exchange *x = arg;
    tt_rc rc = TT_OK;
    if (tt_job_is_journaled(x->old) && !x->opens_again) {
        tt_job_remove_journal(x->old);
        if (x->remove_output)
            rc = tt_job_remove_target(x->old, err);
    } else if (x->remove_output && x->old->output) {
        rc = tt_append_remove(x->old->output, err);
        x->old->output = NULL;
    }
    if (!x->opens_again)
        tt_spool_remove(&x->old->def);
    tt_job_close_output(x->old);
    return rc;
}

static tt_job_life set_gone(tt_job *j)
{
    tt_claim *done = NULL;
    pthread_mutex_lock(&j->lock);
    tt_job_life before = j->life;
    j->life = TT_JOB_GONE;
    tt_claims_retry(j, &done); /* all of them are refused */
    tt_plan_resume(j);
    tt_job_disarm(j);
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
    return before;
}

/* It was to be deleted, and that failed: what stood still goes on. */
static void come_back(tt_job *j, tt_job_life life)
{
    pthread_mutex_lock(&j->lock);
    j->life = life;
    j->flush_due_ms = 0;
    tt_job_flush_soon(j);
    tt_job_arm(j, tt_mono_ms());
    pthread_mutex_unlock(&j->lock);
    tt_delivery_allow(j);
    if (life == TT_JOB_LIVE)
        tt_plan_start(j, false);
}

static tt_rc do_nothing(void *arg, tt_txn *txn, tt_err *err) { return TT_OK; }

/* What rides in the ledger goes with the job's pages: before that the output must be safe by itself. */
static tt_rc sync_output(void *arg, tt_txn *txn, tt_err *err)
{
    tt_job *j = arg;
    if (!j->output || !tt_redo_is_unsynced(&j->redo))
        return TT_OK;
    pthread_mutex_lock(&j->lock);
    j->sync_wanted = true;
    pthread_mutex_unlock(&j->lock);
    tt_txn_enlist(txn, &j->part);
    return TT_OK;
}

/* Nothing more is taken for j: results that were applied before it was gone fail with their group, which is the first one. An output that is not
 * ours any more needs no sync. */
static tt_rc quiet(tt_items *items, tt_job *j, tt_err *err)
{
    TT_TRY(tt_ledger_run(items->env.ledger, do_nothing, NULL, err));
    tt_rc rc = tt_ledger_run(items->env.ledger, sync_output, j, err);
    return rc == TT_CONFLICT ? TT_OK : rc;
}

/* The old job (may be NULL) leaves the ledger and the replacement (may be NULL) comes in, in one commit. */
static tt_rc replace(tt_items *items, tt_job *old, tt_job *replacement, bool remove_output, tt_err *err)
{
    exchange x = {old, replacement, remove_output};
    tt_job_life before = old ? set_gone(old) : TT_JOB_NEW;
    if (old) {
        tt_delivery_stop(old);
        tt_job_discard_part(old);
    }
    tt_rc rc = old ? quiet(items, old, err) : TT_OK;
    if (rc == TT_OK)
        rc = tt_ledger_run(items->env.ledger, exchange_apply, &x, err);
    if (rc != TT_OK) {
        if (old)
            come_back(old, before);
        return rc;
    }
    if (old) {
        rc = tt_ledger_run(items->env.ledger, give_up_files, &x, err);
        tt_items_remove(items, old);
        tt_cache_drop_owner(items->env.cache, old->def.owner);
    }
    return rc;
}

/* ---- starting ---- */

typedef struct {
    const char *path; /* absolute */
    const tt_job *except;
} output_search;

static bool has_output(void *arg, tt_job *j)
{
    output_search *s = arg;
    pthread_mutex_lock(&j->lock);
    bool has = j != s->except && j->def.output_real && strcmp(j->def.output_real, s->path) == 0;
    pthread_mutex_unlock(&j->lock);
    return has;
}

static tt_rc output_refused(const tt_definition *d, tt_err *err)
{
    return tt_fail(err, TT_CONFLICT, "Output path not allowed `%s`.", d->output);
}

/* No two jobs on one file. The spelling does not matter: links are resolved; the file's lock catches hard links. */
static tt_rc check_output(tt_items *items, const tt_definition *d, const tt_job *except, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    if (!d->output || d->mode == TT_MODE_READ || tt_sink_is_named(tt_str_of(d->output))) /* several may write to one table */
        return TT_OK;
    TT_TRY(tt_output_find(items->env.roots, d, &path, err));
    output_search s = {.path = tt_buf_cstr(&path), .except = except};
    return tt_items_any(items, has_output, &s) ? output_refused(d, err) : TT_OK;
}

/* A job that wrote into its own input would destroy it. By inode: hard links count. */
static tt_rc check_not_input(tt_items *items, const tt_definition *d, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    struct stat out, in;
    if (!d->output || d->mode == TT_MODE_READ)
        return TT_OK;
    TT_TRY(tt_output_find(items->env.roots, d, &path, err));
    if (stat(tt_buf_cstr(&path), &out) != 0)
        return TT_OK;
    for (size_t i = 0; i < d->inputs.len; i++)
        if (stat(d->inputs.ptr[i].path, &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
            return tt_fail(err, TT_CONFLICT, "Output path not allowed `%s`: it is an input of the job; name another file", d->output);
    return TT_OK;
}

static tt_rc check_start(const tt_job_start *start, tt_err *err)
{
    TT_TRY(tt_job_name_check(start->name, err));
    if (!json_is_object(start->metadata))
        return tt_fail(err, TT_INVALID, "the metadata must be a JSON object");
    return TT_OK;
}

/* The writer is a command: whatever the output is called, it is the command's own business. */
static void name_sink(tt_definition *d)
{
    TT_BUF_AUTO tt_buf target = {0};
    tt_buf_printf(&target, "sink:%s", d->writer_name);
    free(d->output);
    d->output = tt_dup_cstr(tt_buf_cstr(&target));
}

static tt_rc define(tt_items *items, const tt_job_start *start, tt_definition *d, tt_buf *unknown, tt_err *err)
{
    d->name = tt_str_dup(start->name);
    d->reader_name = tt_str_dup(start->reader_name);
    d->writer_name = tt_str_dup(start->writer_name);
    d->lease_ms = items->env.lease_ms;
    d->max_attempts = items->env.max_attempts;
    d->created_ms = tt_wall_ms();
    TT_TRY(tt_job_mode_parse(start->mode, &d->mode, err));
    TT_TRY(tt_definition_read_metadata(d, start->metadata, unknown, err));
    TT_TRY(tt_rules_check(&d->rules, d->mode != TT_MODE_WRITE, d->mode != TT_MODE_READ, err));
    if (d->mode != TT_MODE_READ && tt_declared_find(items->env.declared, TT_DECLARED_SINK, start->writer_name))
        name_sink(d);
    if (d->mode == TT_MODE_READ_WRITE && !d->output)
        return tt_fail(err, TT_INVALID, "metadata: output_file_path is missing: it names the file that the results go to "
                       "(or use mode=read)");
    if (d->mode == TT_MODE_WRITE && !d->output)
        return tt_fail(err, TT_INVALID, "metadata: output_file_path is missing: it names the file that the results go to");
    return TT_OK;
}

static void take_token(tt_items *items, const tt_job_start *start, tt_definition *d)
{
    if (start->has_token && start->token.len) { /* an empty one means none */
        tt_log_mask(start->token);
        items->options.token_hash(start->token, d->token_hash);
    }
    if (start->token_hash)
        snprintf(d->token_hash, sizeof d->token_hash, "%s", start->token_hash);
}

/* The ledger knows the job; now it opens, and nothing is written before the ledger knows where. If the output fails at this point, the job
 * stays, broken, with the reason. */
static tt_rc go_live(tt_items *items, tt_job *j, bool open_output, bool overwrite, tt_err *err)
{
    tt_rc rc = open_output ? tt_job_create_output(j, overwrite, err) : TT_OK;
    if (rc == TT_OK && open_output)
        rc = tt_ledger_run(items->env.ledger, store_all, j, err);
    pthread_mutex_lock(&j->lock);
    if (rc == TT_OK)
        j->life = TT_JOB_LIVE;
    else
        tt_job_break(j, true, err->text);
    tt_delivery_wake(j);
    pthread_mutex_unlock(&j->lock);
    tt_items_set(items, tt_job_ref(j));
    if (rc == TT_OK)
        tt_plan_start(j, true);
    return rc;
}

/* The old job's file stays open until the exchange. */
static bool holds_output(tt_items *items, const tt_job *old, const tt_definition *d)
{
    TT_BUF_AUTO tt_buf path = {0};
    return old && old->def.output_real && d->output && tt_output_find(items->env.roots, d, &path, NULL) == TT_OK
        && tt_str_is(tt_buf_view(&path), old->def.output_real);
}

/* So does its file of rejects: that of all outputs that are no files, and that of an output which was cleaned. */
static bool holds_rejects(tt_job *old, const tt_definition *d)
{
    if (!old || !d->output)
        return false;
    pthread_mutex_lock(&old->lock);
    bool was_named = old->def.output && tt_sink_is_named(tt_str_of(old->def.output));
    /* What waits for its commit may have opened the file already, though nothing of it is marked yet. */
    bool has_rejects = old->rejects_mark.length_bytes || old->reject_lines.len || old->group_reject_lines.len || old->flushing_lines.len;
    bool holds = has_rejects && (!old->def.output_real || (was_named && tt_sink_is_named(tt_str_of(d->output))));
    pthread_mutex_unlock(&old->lock);
    return holds;
}

static tt_rc open_before_exchange(tt_job *j, bool overwrite, tt_err *err)
{
    tt_rc rc = tt_job_create_output(j, overwrite, err);
    return rc == TT_LOCKED ? output_refused(&j->def, err) : rc;
}

static tt_rc make_fresh(tt_items *items, const tt_job_start *start, tt_definition *d, tt_job *old, tt_err *err)
{
    bool overwrite = !start->adopted && json_is_true(json_object_get(start->metadata, "overwrite"));
    take_token(items, start, d);
    if (old && !start->has_token)
        memcpy(d->token_hash, old->def.token_hash, sizeof d->token_hash);
    tt_job *j = tt_job_new(&items->env, d);
    tt_rc rc = check_output(items, &j->def, old, err);
    if (rc == TT_OK)
        rc = tt_job_create_input(j, err);
    if (rc == TT_OK)
        rc = check_not_input(items, &j->def, err);
    if (rc == TT_OK && start->adopted)
        rc = tt_adopted_apply(j, start->adopted, err);
    /* What can go wrong goes wrong before the old job is given up. */
    bool is_held = holds_output(items, old, &j->def) || holds_rejects(old, &j->def);
    j->fresh = old && start->clean_start;
    j->generation = old ? old->generation + 1 : 0;
    if (rc == TT_OK)
        rc = is_held ? tt_job_check_writer(j, err) : open_before_exchange(j, overwrite, err);
    if (rc == TT_OK)
        rc = replace(items, old, j, false, err);
    if (rc != TT_OK) {
        tt_job_remove_journal(j);
        tt_spool_remove(&j->def);
    }
    if (rc == TT_OK)
        rc = go_live(items, j, is_held, overwrite, err);
    tt_job_unref(j);
    return rc;
}

/* ---- repairing ---- */

static tt_rc same_files(const tt_definition *old, const tt_definition *now, tt_err *err)
{
    json_t *a = json_loads(old->metadata, JSON_ALLOW_NUL, NULL), *b = json_loads(now->metadata, JSON_ALLOW_NUL, NULL);
    json_t *in_a = json_object_get(a, "input_file_path"), *in_b = json_object_get(b, "input_file_path");
    bool same_input = old->mode == TT_MODE_WRITE || (in_a && in_b && json_equal(in_a, in_b)) || (old->spool && !in_a && !in_b);
    bool same_output = strcmp(old->output ? old->output : "", now->output ? now->output : "") == 0;
    json_decref(a);
    json_decref(b);
    if (!same_input)
        return tt_fail(err, TT_CONFLICT, "job `%s` reads another input: a repair goes on with the same one; use clean_start, "
                       "or another name", old->name);
    if (!same_output)
        return tt_fail(err, TT_CONFLICT, "job `%s` writes to `%s`: a repair goes on with the same output; use clean_start, "
                       "or another name", old->name, old->output ? old->output : "nothing");
    return TT_OK;
}

static tt_rc why_broken(tt_job *j, tt_err *err)
{
    pthread_mutex_lock(&j->lock);
    tt_rc rc = j->life == TT_JOB_BROKEN ? tt_fail(err, TT_CONFLICT, "job `%s` is broken: %s", j->def.name, j->broken) : TT_OK;
    pthread_mutex_unlock(&j->lock);
    return rc;
}

/* A broken job is opened again from what the ledger knows: perhaps its files are back. Nobody finds the new one before it is open. */
static tt_rc reopen(tt_items *items, tt_job *old, tt_err *err)
{
    exchange x = {.old = old, .opens_again = true};
    TT_BUF_AUTO tt_buf text = {0};
    tt_definition def = {0};
    TT_TRY(tt_record_get(items->env.ledger, TT_STR("job"), tt_str_of(old->def.name), &text, NULL, err));
    TT_TRY(tt_definition_parse(tt_str_of(old->def.name), tt_buf_view(&text), &def, err));
    (void)!tt_ledger_run(items->env.ledger, store_all, old, NULL); /* what it still has to say, if it can */
    set_gone(old);
    tt_delivery_stop(old);
    tt_rc rc = tt_ledger_run(items->env.ledger, give_up_files, &x, err);
    tt_cache_drop_owner(items->env.cache, old->def.owner);
    tt_job *j = tt_job_new(&items->env, &def);
    tt_job_resume(j);
    tt_items_set(items, tt_job_ref(j));
    if (rc == TT_OK)
        rc = why_broken(j, err);
    tt_job_unref(j);
    return rc;
}

/* Whoever reads the definition's metadata outside of the lock has been stopped. */
static void amend(tt_items *items, tt_job *j, tt_amendment *a)
{
    tt_delivery_stop(j);
    pthread_mutex_lock(&j->lock);
    tt_amendment_apply(a, &j->def);
    j->gate.filled_ms = 0;
    j->record_dirty = true;
    pthread_mutex_unlock(&j->lock);
    tt_any_jobs_changed(&items->any); /* another priority, perhaps */
}

static tt_rc repair_live(tt_items *items, const tt_job_start *start, tt_amendment *a, tt_job *live, tt_err *err)
{
    tt_claim *done = NULL;
    bool stores = start->has_token || a->changes;
    if (a->changes)
        amend(items, live, a);
    pthread_mutex_lock(&live->lock);
    tt_leases_void(live);
    take_token(items, start, &live->def);
    tt_job_flush_soon(live);
    tt_claims_retry(live, &done);
    pthread_mutex_unlock(&live->lock);
    tt_claims_finish(done);
    tt_delivery_allow(live);
    return stores ? tt_ledger_run(items->env.ledger, store_all, live, err) : TT_OK;
}

static tt_rc repair(tt_items *items, const tt_job_start *start, const tt_definition *d, tt_job *j, tt_err *err)
{
    tt_amendment a = {0};
    TT_TRY(same_files(&j->def, d, err));
    TT_TRY(tt_amend(&j->def, d, &a, err));
    tt_rc rc = why_broken(j, NULL) == TT_OK ? TT_OK : reopen(items, j, err);
    tt_job *live = tt_items_peek(items, start->name);
    tt_assert(live);
    if (rc == TT_OK)
        rc = repair_live(items, start, &a, live, err);
    tt_amendment_deinit(&a);
    uint64_t retried;
    if (rc == TT_OK && json_is_true(json_object_get(start->metadata, "retry_errors")))
        rc = tt_items_retry(items, start->name, NULL, 0, &retried, err);
    tt_job_unref(live);
    return rc;
}

/* ---- joining ---- */

static char *real_path(const tt_items *items, const char *path)
{
    int fd;
    char *real = NULL;
    if (tt_roots_open(items->env.roots, tt_str_of(path), O_RDONLY, 0, &fd, &real, NULL) == TT_OK)
        close(fd);
    return real;
}

static bool is_same_file(const tt_items *items, const char *a, const char *b)
{
    char *real_a = real_path(items, a), *real_b = real_path(items, b);
    bool same = real_a && real_b && strcmp(real_a, real_b) == 0;
    free(real_a);
    free(real_b);
    return same;
}

static bool reads_the_same(const tt_items *items, const tt_job *old, const tt_definition *d)
{
    tt_paths paths = {0};
    bool same = d->mode == TT_MODE_WRITE ||
                (tt_definition_find_inputs(d, items->env.roots, &paths, NULL) == TT_OK && paths.len == old->def.inputs.len);
    for (size_t i = 0; i < paths.len && same; i++)
        same = is_same_file(items, paths.ptr[i], old->def.inputs.ptr[i].path);
    tt_paths_deinit(&paths);
    return same;
}

/* The same definition, however its paths are written: one worker names them from here, another from its own directory or as a list. */
static bool is_same_job(tt_items *items, tt_job *old, const tt_definition *d)
{
    if (tt_definition_same(&old->def, d))
        return true;
    if (!tt_definition_same_but_paths(&old->def, d) || !reads_the_same(items, old, d))
        return false;
    return d->mode == TT_MODE_READ || holds_output(items, old, d);
}

static tt_rc refuse_existing(const tt_job *old, const tt_job_start *start, tt_err *err)
{
    const tt_definition *d = &old->def;
    if (!start->same_is_fine)
        return tt_fail(err, TT_EXISTS, "Job %s already exists.", d->name);
    return tt_fail(err, TT_EXISTS, "Job %s already exists. Its definition is another one (mode %s, input %s%s, output %s): give the same to join it, "
                   "choose another name, or use clean_start (--clean-start) to start anew", d->name, tt_job_mode_name(d->mode),
                   d->inputs.len ? d->inputs.ptr[0].path : "none", d->inputs.len > 1 ? " and others" : "",
                   d->output ? d->output : "none");
}

/* ---- what Redis says of it ---- */

static tt_rc refuse_stranger(const tt_job_start *start, tt_err *err)
{
    return tt_fail(err, TT_EXISTS, "Job %.*s already exists. It is in Redis, where another service has left it: take it over with `tutti job adopt`, "
                   "choose another name, or use clean_start to start anew", TT_STR_ARG(start->name));
}

static bool has_begun(tt_job *j)
{
    pthread_mutex_lock(&j->lock);
    const tt_item_counts *n = &j->blocks.counts;
    bool begun = n->of[TT_ITEM_RECEIVED] + n->of[TT_ITEM_ERROR] + n->of[TT_ITEM_DEAD] + n->in_flight > 0;
    pthread_mutex_unlock(&j->lock);
    return begun;
}

/* Its record was deleted in Redis. With items that are still known there it goes on from them; else it begins again. */
static tt_rc start_forgotten(tt_items *items, const tt_job_start *start, tt_definition *d, tt_job *old, tt_err *err)
{
    if (!has_begun(old) || !is_same_job(items, old, d))
        return make_fresh(items, start, d, old, err);
    if (start->cont || start->has_token || why_broken(old, NULL) != TT_OK)
        return repair(items, start, d, old, err);
    return TT_OK;
}

static tt_rc start_locked(tt_items *items, const tt_job_start *start, tt_definition *d, bool *ret_existed, tt_err *err)
{
    tt_job *old = tt_items_peek(items, start->name);
    tt_rc rc = TT_OK;
    tt_mirror_view view = {0};
    if (!start->clean_start && !start->adopted)
        tt_mirror_look(items->mirror, start->name, start->cont, &view);
    bool is_forgotten = old && view.is_known && !view.has_record, is_strange = !old && view.is_known && view.has_record && !view.is_ours;
    *ret_existed = old != NULL && !is_forgotten;
    if (is_strange)
        rc = refuse_stranger(start, err);
    else if (is_forgotten)
        rc = start_forgotten(items, start, d, old, err);
    else if (!old || start->clean_start)
        rc = make_fresh(items, start, d, old, err);
    else if (start->cont)
        rc = repair(items, start, d, old, err);
    else if (start->same_is_fine && is_same_job(items, old, d))
        rc = old->life == TT_JOB_BROKEN ? reopen(items, old, err) : TT_OK;
    else
        rc = refuse_existing(old, start, err);
    if (rc == TT_OK && is_forgotten)
        tt_mirror_renew(items->mirror, start->name);
    tt_job_unref(old);
    return rc;
}

/* What may take long, before anybody has to wait for it. */
static tt_rc prepare(tt_items *items, tt_definition *d, tt_err *err)
{
    TT_TRY(tt_output_probe(&items->env, d, err));
    return tt_spool_is_needed(&items->env, d) ? tt_spool_fill(&items->env, d, err) : TT_OK;
}

static bool may_be_new(tt_items *items, const tt_job_start *start)
{
    tt_job *old = tt_items_peek(items, start->name);
    tt_job_unref(old);
    return !old || start->clean_start;
}

tt_rc tt_items_start(tt_items *items, const tt_job_start *start, bool *ret_existed, tt_buf *ret_unknown_metadata, tt_err *err)
{
    tt_definition d = {0};
    TT_TRY(check_start(start, err));
    tt_rc rc = define(items, start, &d, ret_unknown_metadata, err);
    if (rc == TT_OK && may_be_new(items, start))
        rc = prepare(items, &d, err);
    pthread_mutex_lock(&items->admin);
    if (rc == TT_OK)
        rc = start_locked(items, start, &d, ret_existed, err);
    pthread_mutex_unlock(&items->admin);
    tt_spool_remove(&d); /* nobody took it: another was faster */
    tt_definition_deinit(&d);
    return rc;
}

/* ---- ending ---- */

static tt_rc delete_locked(tt_items *items, tt_str name, bool output, tt_err *err)
{
    tt_job *j = tt_items_find(items, name, err);
    if (!j)
        return TT_NOT_FOUND;
    tt_rc rc = replace(items, j, NULL, output, err);
    tt_job_unref(j);
    return rc;
}

tt_rc tt_items_delete(tt_items *items, tt_str name, tt_err *err)
{
    pthread_mutex_lock(&items->admin);
    tt_rc rc = delete_locked(items, name, false, err);
    pthread_mutex_unlock(&items->admin);
    return rc;
}

static tt_rc remove_output(void *arg, tt_txn *txn, tt_err *err)
{
    tt_job *j = arg;
    if (j->leftover && !j->output && !tt_job_is_journaled(j))
        TT_TRY(tt_append_create(j->env->roots, tt_str_of(j->def.output), TT_APPEND_KEEP, &j->output, err));
    tt_job_remove_output(j, txn);
    return TT_OK;
}

static tt_rc clean_locked(tt_items *items, tt_job *j, bool output, tt_err *err)
{
    tt_claim *done = NULL;
    pthread_mutex_lock(&j->lock);
    tt_leases_void(j);
    j->def.token_hash[0] = '\0';
    tt_job_flush_soon(j);
    tt_claims_retry(j, &done);
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
    bool remove = output && tt_job_has_writer(j);
    if (remove) {
        tt_delivery_stop(j);
        tt_job_discard_part(j);
    }
    tt_rc rc = tt_ledger_run(items->env.ledger, remove ? remove_output : store_all, j, err);
    if (remove)
        tt_delivery_allow(j);
    TT_TRY(rc);
    if (remove && j->removal.code != TT_OK) {
        *err = j->removal;
        return err->code;
    }
    if (!tt_job_has_writer(j))
        return tt_fail(err, TT_INVALID, "No cleaning method found for writer type \"<class 'NoneType'>\"");
    return TT_OK;
}

tt_rc tt_items_clean(tt_items *items, tt_str name, bool output, tt_err *err)
{
    pthread_mutex_lock(&items->admin);
    tt_job *j = tt_items_peek(items, name);
    tt_rc rc = j ? clean_locked(items, j, output, err)
                 : tt_fail(err, TT_NOT_FOUND, "Could not find a job name \"%.*s\"", TT_STR_ARG(tt_str_slice(name, 0, 200)));
    tt_job_unref(j);
    pthread_mutex_unlock(&items->admin);
    return rc;
}

typedef struct {
    tt_items *items;
    bool output;
    tt_rc rc;
    tt_err *err;
} purge_walk;

static void purge_one(void *arg, tt_job *j)
{
    purge_walk *walk = arg;
    tt_err err = {0};
    tt_rc rc = delete_locked(walk->items, tt_str_of(j->def.name), walk->output, &err);
    if (rc != TT_OK && walk->rc == TT_OK) /* the others go all the same */
        walk->rc = tt_fail(walk->err, rc, "job `%s`: %s", j->def.name, err.text);
}

tt_rc tt_items_purge(tt_items *items, bool output, tt_err *err)
{
    purge_walk walk = {.items = items, .output = output, .rc = TT_OK, .err = err};
    pthread_mutex_lock(&items->admin);
    tt_items_each(items, purge_one, &walk);
    pthread_mutex_unlock(&items->admin);
    return walk.rc;
}

/* ---- pausing ---- */

typedef struct {
    tt_job *j;
    bool paused, was;
} pause_change;

static tt_rc pause_apply(void *arg, tt_txn *txn, tt_err *err)
{
    pause_change *p = arg;
    tt_txn_enlist(txn, &p->j->part);
    pthread_mutex_lock(&p->j->lock);
    p->was = p->j->gate.paused;
    p->j->gate.paused = p->paused;
    p->j->head_dirty = true;
    pthread_mutex_unlock(&p->j->lock);
    return TT_OK;
}

tt_rc tt_items_pause(tt_items *items, tt_str name, bool paused, tt_err *err)
{
    tt_claim *done = NULL;
    tt_job *j = tt_items_find(items, name, err);
    if (!j)
        return TT_NOT_FOUND;
    pause_change p = {.j = j, .paused = paused, .was = paused};
    tt_rc rc = tt_ledger_run(items->env.ledger, pause_apply, &p, err);
    pthread_mutex_lock(&j->lock);
    if (rc != TT_OK && j->gate.paused == paused)
        j->gate.paused = p.was;
    tt_claims_retry(j, &done);
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
    tt_job_unref(j);
    return rc;
}

/* ---- trying again ---- */

typedef struct {
    tt_job *j;
    const uint64_t *ids; /* NULL: all */
    size_t count;
    bool redo;           /* received items, instead of those in error */
    uint64_t opened;
} redrive;

static bool is_meant(const redrive *r, uint8_t byte)
{
    tt_item_state state = tt_item_state_of(byte);
    if (r->redo)
        return state == TT_ITEM_RECEIVED;
    return (state == TT_ITEM_ERROR || state == TT_ITEM_DEAD) && byte != tt_item_unreadable();
}

static uint8_t opened_byte(const redrive *r) { return tt_item_byte(r->j->blocks.sparse ? TT_ITEM_HOLE : TT_ITEM_PENDING, false, 0); }

/* An item, or with overlap one of its slots. */
static bool redrive_slot(redrive *r, tt_item_ref at)
{
    if (!is_meant(r, tt_blocks_get(&r->j->blocks, at)) || tt_blocks_lease(&r->j->blocks, at)) /* a lease: its result is not committed yet */
        return false;
    if (!tt_blocks_set_by(&r->j->blocks, at, opened_byte(r), 0))
        return false;
    if (!r->j->blocks.sparse) /* it may have been marked before anybody saw whether it can be served */
        r->j->blocks.rows.ptr[at.row].inspected = false;
    return true;
}

/* first: the item's first slot. */
static void redrive_item(redrive *r, tt_item_ref first)
{
    bool opened = false;
    tt_item_ref at = first;
    for (uint32_t i = 0; i < tt_blocks_copies(&r->j->blocks); i++, at.index++)
        opened |= redrive_slot(r, at);
    if (opened && !r->redo)
        tt_job_note(&r->j->notes, tt_blocks_id(&r->j->blocks, first), TT_ITEM_PENDING, 0, (tt_str){0}, (tt_str){0});
    r->opened += opened;
}

static void redrive_row(redrive *r, uint32_t number)
{
    tt_dir_block *row = &r->j->blocks.rows.ptr[number];
    if (!row->states && !is_meant(r, row->uniform))
        return;
    if (!row->states && r->redo && !row->lease_of) {
        tt_blocks_set_row(&r->j->blocks, number, opened_byte(r));
        row->inspected = false;
        r->opened += row->block.count;
        return;
    }
    for (uint32_t i = 0; i < tt_blocks_slots(&r->j->blocks, number); i += tt_blocks_copies(&r->j->blocks))
        redrive_item(r, (tt_item_ref){number, i});
}

static tt_rc redrive_apply(void *arg, tt_txn *txn, tt_err *err)
{
    redrive *r = arg;
    tt_blocks *blocks = &r->j->blocks;
    size_t hint = 0;
    tt_item_ref at;
    tt_txn_enlist(txn, &r->j->part);
    pthread_mutex_lock(&r->j->lock);
    tt_rc rc = r->redo ? tt_job_may_grow(r->j, err) : TT_OK;
    for (size_t i = 0; rc == TT_OK && r->ids && i < r->count; i++)
        if (tt_blocks_find(blocks, r->ids[i], false, &hint, &at))
            redrive_item(r, at);
    for (uint32_t row = 0; rc == TT_OK && !r->ids && row < blocks->rows.len; row++)
        redrive_row(r, row);
    if (r->opened)
        tt_job_rebuild_lanes(r->j);
    if (r->redo && r->opened) {
        r->j->redone += r->opened;
        r->j->head_dirty = true;
    }
    pthread_mutex_unlock(&r->j->lock);
    return rc;
}

static tt_rc open_again(tt_items *items, tt_str name, redrive r, uint64_t *ret_opened, tt_err *err)
{
    tt_job *j = tt_items_find(items, name, err);
    if (!j)
        return TT_NOT_FOUND;
    r.j = j;
    tt_rc rc = tt_ledger_run(items->env.ledger, redrive_apply, &r, err);
    tt_claim *done = NULL;
    pthread_mutex_lock(&j->lock);
    tt_claims_retry(j, &done);
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
    tt_job_unref(j);
    *ret_opened = r.opened;
    return rc;
}

tt_rc tt_items_retry(tt_items *items, tt_str name, const uint64_t *ids, size_t count, uint64_t *ret_retried, tt_err *err)
{
    return open_again(items, name, (redrive){.ids = ids, .count = count}, ret_retried, err);
}

typedef TT_VEC(uint64_t) id_list;

static bool add_id(void *arg, uint64_t id, tt_str entry)
{
    return tt_vec_push((id_list *)arg, id);
}

static tt_rc find_matching(tt_items *items, tt_str name, const tt_error_filter *filter, id_list *ret, tt_err *err)
{
    tt_job *j = tt_items_find(items, name, err);
    if (!j)
        return TT_NOT_FOUND;
    tt_rc rc = tt_errors_each(j, TT_STR(""), filter, add_id, ret, err);
    tt_job_unref(j);
    return rc;
}

tt_rc tt_items_retry_matching(tt_items *items, tt_str name, const tt_error_filter *filter, uint64_t *ret_retried, tt_err *err)
{
    id_list ids = {0};
    *ret_retried = 0;
    tt_rc rc = find_matching(items, name, filter, &ids, err);
    if (rc == TT_OK && ids.len)
        rc = tt_items_retry(items, name, ids.ptr, ids.len, ret_retried, err);
    tt_vec_deinit(&ids);
    return rc;
}

tt_rc tt_items_redo(tt_items *items, tt_str name, const uint64_t *ids, size_t count, uint64_t *ret_redone, tt_err *err)
{
    return open_again(items, name, (redrive){.ids = ids, .count = count, .redo = true}, ret_redone, err);
}
