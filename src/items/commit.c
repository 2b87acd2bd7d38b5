/* Receiving, and the one commit. A result changes the item's state in memory and stages its bytes; flush writes and syncs them; store puts
 * the changed pages and the head with the output's new mark into the same transaction; only then is anybody told. Whatever fails on the way, the
 * job goes back: states from the undo list, the output to its committed length, the writer to its committed state.
 *
 * An item whose result is in the group keeps its lease until the commit, so that a rollback finds it in flight as before. */
#include "items/job.h"

#include <inttypes.h>

#include "base/clock.h"
#include "data/json.h"
#include "items/journal.h"
#include "ledger/pages.h"
#include "ledger/records.h"

/* What nobody waits for (attempts, plans, notes) is stored with the next results, or after this time. */
enum { FLUSH_DELAY_MS = 200 };

/* ---- notes: the error list ---- */

const char *tt_errors_kind(uint64_t owner, char out[32])
{
    snprintf(out, 32, "errors/%" PRIu64, owner);
    return out;
}

void tt_job_note(tt_notes *notes, uint64_t id, tt_item_state state, unsigned attempts, tt_str reason, tt_str worker)
{
    tt_note note = {.id = id, .state = state, .attempts = attempts, .time_ms = tt_wall_ms()};
    note.reason = tt_str_dup(tt_str_slice(reason, 0, 4096));
    note.worker = tt_str_dup(tt_str_slice(worker, 0, 256));
    if (!tt_vec_push(notes, note)) { /* the state itself is kept; only its line in the list is lost */
        free(note.reason);
        free(note.worker);
    }
}

void tt_notes_clear(tt_notes *notes)
{
    for (size_t i = 0; i < notes->len; i++) {
        free(notes->ptr[i].reason);
        free(notes->ptr[i].worker);
    }
    tt_vec_clear(notes);
}

/* Moves all of from behind to. */
static void move_notes(tt_notes *to, tt_notes *from)
{
    for (size_t i = 0; i < from->len; i++)
        if (!tt_vec_push(to, from->ptr[i])) {
            free(from->ptr[i].reason);
            free(from->ptr[i].worker);
        }
    tt_vec_clear(from);
}

static tt_rc store_notes(tt_job *j, tt_txn *txn, const tt_notes *notes, tt_err *err)
{
    char kind[32], name[24];
    TT_BUF_AUTO tt_buf text = {0};
    tt_str kind_view = tt_str_of(tt_errors_kind(j->def.owner, kind));
    for (size_t i = 0; i < notes->len; i++) {
        const tt_note *n = &notes->ptr[i];
        snprintf(name, sizeof name, "%020" PRIu64, n->id);
        if (n->state == TT_ITEM_PENDING) {
            TT_TRY(tt_record_delete(txn, kind_view, tt_str_of(name), err));
            continue;
        }
        char when[TT_TIME_TEXT];
        tt_buf_clear(&text);
        tt_buf_printf(&text, "{\"id\":%" PRIu64 ",\"state\":\"%s\",\"attempts\":%u,\"time\":\"%s\",\"reason\":", n->id,
                      tt_item_state_name(n->state), n->attempts, tt_time_text(n->time_ms, when));
        tt_buf_json_str(&text, tt_str_of(n->reason));
        tt_buf_cstr_put(&text, ",\"worker\":");
        tt_buf_json_str(&text, tt_str_of(n->worker));
        tt_buf_char(&text, '}');
        TT_TRY(tt_buf_check(&text, err));
        TT_TRY(tt_record_put(txn, kind_view, tt_str_of(name), TT_ANY_VERSION, tt_buf_view(&text), NULL, err));
    }
    return TT_OK;
}

/* ---- rejects ---- */

static void put_reject(tt_buf *lines, uint64_t id, const char *file, const tt_bad_record *bad)
{
    tt_buf_printf(lines, "{\"id\":%" PRIu64, id);
    if (file) {
        tt_buf_cstr_put(lines, ",\"file\":");
        tt_buf_json_str(lines, tt_str_of(file));
        tt_buf_printf(lines, ",\"line\":%" PRIu64 ",\"offset\":%" PRIu64, bad->line, bad->offset);
    }
    tt_buf_cstr_put(lines, ",\"reason\":");
    tt_buf_json_str(lines, tt_str_of(bad->reason));
    tt_buf_cstr_put(lines, ",\"text\":");
    tt_buf_json_str(lines, bad->text);
    tt_buf_cstr_put(lines, "}\n");
}

void tt_job_note_bad(tt_job *j, tt_item_ref at, const tt_bad_record *bad)
{
    tt_dir_block *row = &j->blocks.rows.ptr[at.row];
    uint64_t id = tt_blocks_id(&j->blocks, at);
    TT_BUF_AUTO tt_buf reason = {0};
    tt_buf_printf(&reason, "%s (line %" PRIu64 ", byte %" PRIu64 ")", bad->reason, bad->line, bad->offset);
    tt_job_note(&j->notes, id, TT_ITEM_ERROR, 0, tt_buf_view(&reason), (tt_str){0});
    if (!tt_job_has_writer(j))
        return;
    put_reject(&j->reject_lines, id, j->def.inputs.ptr[row->block.file_no].path, bad);
    row->reject_batch = j->reject_batch;
}

/* ---- the participant ---- */

static tt_job *job_of(tt_participant *p) { return (tt_job *)p; }

static tt_rc flush_file(tt_job *j, tt_append *file, bool sync, tt_append_mark *mark, tt_err *err)
{
    tt_append_mark now;
    TT_TRY(tt_append_flush(file, sync, &now, err));
    pthread_mutex_lock(&j->lock); /* reports read it */
    *mark = now;
    pthread_mutex_unlock(&j->lock);
    return TT_OK;
}

static tt_rc flush_rejects(tt_job *j, bool sync, tt_err *err)
{
    pthread_mutex_lock(&j->lock);
    tt_assert(j->flushing_lines.len == 0);
    j->flushing_lines = tt_buf_take(&j->reject_lines);
    j->flushed_batch = j->reject_batch++;
    pthread_mutex_unlock(&j->lock);
    if (j->flushing_lines.len + j->group_reject_lines.len == 0)
        return TT_OK;
    TT_TRY(tt_job_open_rejects(j, err));
    tt_append_put(j->rejects, j->flushing_lines.ptr, j->flushing_lines.len);
    tt_append_put(j->rejects, j->group_reject_lines.ptr, j->group_reject_lines.len);
    return flush_file(j, j->rejects, sync, &j->rejects_mark, err);
}

static tt_rc job_flush(tt_participant *p, bool sync, tt_err *err)
{
    tt_job *j = job_of(p);
    if (j->group_rc != TT_OK)
        return tt_fail(err, j->group_rc, "out of memory while results of job `%s` were taken", j->def.name);
    pthread_mutex_lock(&j->lock);
    bool last = j->plan == TT_PLAN_DONE && tt_counts_pending(&j->blocks.counts) == 0; /* this group included */
    j->redo.want_sync |= j->sync_wanted;
    j->sync_wanted = false;
    pthread_mutex_unlock(&j->lock);
    if (j->output || j->redo.stale)
        TT_TRY(tt_redo_flush(j, sync, last, err));
    return flush_rejects(j, sync, err);
}

static tt_rc store_record(tt_job *j, tt_txn *txn, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    pthread_mutex_lock(&j->lock);
    bool is_dirty = j->record_dirty;
    tt_definition d = j->def;
    if (j->removing)
        d.output_real = NULL;
    if (j->removing || j->delivery.dropping)
        d.journal = NULL;
    if (is_dirty)
        tt_definition_write(&d, &text);
    j->record_dirty = false;
    pthread_mutex_unlock(&j->lock);
    if (!is_dirty)
        return TT_OK;
    TT_TRY(tt_buf_check(&text, err));
    return tt_record_put(txn, TT_STR("job"), tt_str_of(j->def.name), TT_ANY_VERSION, tt_buf_view(&text), NULL, err);
}

static void put_page(tt_job *j, const tt_dir_block *row, bool inspected, const uint8_t *states)
{
    if (j->blocks.answers)
        tt_page_encode_answers(&row->block, j->blocks.answers->copies, inspected, states, row->workers, row->uniform, &j->scratch);
    else
        tt_page_encode(&row->block, inspected, states, row->uniform, &j->scratch);
}

/* Its bad records are not in the file yet: as if it had not been looked at. It stays dirty. */
static void encode_early(tt_job *j, uint32_t number)
{
    const tt_dir_block *row = &j->blocks.rows.ptr[number];
    uint8_t states[TT_BLOCK_ITEMS * TT_RULES_MAX_OVERLAP];
    for (uint32_t i = 0; i < tt_blocks_slots(&j->blocks, number); i++) {
        uint8_t byte = tt_blocks_get(&j->blocks, (tt_item_ref){number, i});
        states[i] = byte == tt_item_unreadable() ? tt_item_byte(TT_ITEM_PENDING, false, 0) : byte;
    }
    put_page(j, row, false, states);
    tt_blocks_mark_dirty(&j->blocks, number);
}

static void encode_page(tt_job *j, uint32_t number)
{
    const tt_dir_block *row = &j->blocks.rows.ptr[number];
    if (row->reject_batch > j->flushed_batch)
        encode_early(j, number);
    else
        put_page(j, row, row->inspected, row->states);
}

/* Names that the pages of this group refer to, with the rest of their page. */
static tt_rc store_names(tt_job *j, tt_txn *txn, tt_err *err)
{
    tt_answers *a = j->blocks.answers;
    if (!a)
        return TT_OK;
    pthread_mutex_lock(&j->lock);
    size_t from = a->stored / TT_ANSWERS_PAGE_NAMES, count = a->workers.len, to = (count + TT_ANSWERS_PAGE_NAMES - 1) / TT_ANSWERS_PAGE_NAMES;
    bool any = count > a->stored;
    a->storing = count;
    pthread_mutex_unlock(&j->lock);
    for (size_t page = from; any && page < to; page++) {
        tt_buf_clear(&j->scratch);
        pthread_mutex_lock(&j->lock);
        tt_answers_encode_names(a, page, &j->scratch);
        pthread_mutex_unlock(&j->lock);
        TT_TRY(tt_buf_check(&j->scratch, err));
        TT_TRY(tt_page_put(txn, j->def.owner, TT_PAGE_WORKERS_FIRST + (int64_t)page, tt_buf_view(&j->scratch), err));
    }
    return TT_OK;
}

static tt_rc store_pages(tt_job *j, tt_txn *txn, tt_err *err)
{
    for (size_t i = 0; i < j->storing.len; i++) {
        uint32_t number = j->storing.ptr[i];
        tt_buf_clear(&j->scratch);
        pthread_mutex_lock(&j->lock);
        encode_page(j, number);
        pthread_mutex_unlock(&j->lock);
        TT_TRY(tt_buf_check(&j->scratch, err));
        TT_TRY(tt_page_put(txn, j->def.owner, number, tt_buf_view(&j->scratch), err));
    }
    return TT_OK;
}

/* Must not fail; to be freed. Of a sink that could not be found (its section is missing) what was known stays. */
static char *delivery_text(const tt_job *j)
{
    bool has_one = tt_job_is_journaled(j) || (j->def.journal && !j->delivery.row);
    json_t *state = has_one ? tt_delivery_to_json(j) : json_null();
    char *text = json_dumps(state, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(state);
    tt_assert(text);
    return text;
}

static tt_rc store_head(tt_job *j, tt_txn *txn, tt_err *err)
{
    TT_BUF_AUTO tt_buf state = {0};
    if (j->writer)
        tt_writer_state(j->writer, &state);
    else if (j->writer_state) /* of an output that is whole, in case of more */
        tt_buf_cstr_put(&state, j->writer_state);
    tt_buf_clear(&j->scratch);
    pthread_mutex_lock(&j->lock);
    char *delivery = delivery_text(j);
    bool ends = j->removing || j->delivery.dropping;
    tt_append_mark none = {0}, output = ends ? none : j->output_mark, safe = ends ? none : *tt_redo_synced_after(j);
    tt_buf_printf(&j->scratch,
                  "{\"v\":1,\"planned\":%s,\"fresh\":%s,\"generation\":%u,\"duplicates\":%" PRIu64 ",\"output_len\":%" PRIu64
                  ",\"output_hash\":\"%016" PRIx64 "\",\"synced_len\":%" PRIu64
                  ",\"synced_hash\":\"%016" PRIx64 "\",\"rejects_len\":%" PRIu64 ",\"rejects_hash\":\"%016" PRIx64 "\",\"delivery\":%s,\"writer\":",
                  j->storing_planned ? "true" : "false", j->fresh ? "true" : "false", j->generation, j->duplicates, output.length_bytes,
                  output.tail_hash, safe.length_bytes, safe.tail_hash, j->rejects_mark.length_bytes, j->rejects_mark.tail_hash, delivery);
    const char *paused = j->gate.paused ? "true" : "false";
    uint64_t redone = j->redone;
    pthread_mutex_unlock(&j->lock);
    free(delivery);
    tt_buf_json_str(&j->scratch, tt_buf_view(&state));
    tt_buf_printf(&j->scratch, ",\"paused\":%s,\"redone\":%" PRIu64 "}", paused, redone);
    TT_TRY(tt_buf_check(&j->scratch, err));
    TT_TRY(tt_page_put(txn, j->def.owner, TT_PAGE_HEAD, tt_buf_view(&j->scratch), err));
    if (!j->reader || j->reader_stored || !j->storing_planned)
        return TT_OK;
    tt_buf_clear(&j->scratch);
    tt_reader_state(j->reader, &j->scratch);
    TT_TRY(tt_buf_check(&j->scratch, err));
    pthread_mutex_lock(&j->lock); /* its neighbours are read together with it */
    j->reader_stored = true;
    pthread_mutex_unlock(&j->lock);
    return tt_page_put(txn, j->def.owner, TT_PAGE_READER_STATE, tt_buf_view(&j->scratch), err);
}

/* What changed up to here goes into the transaction; what changes from here on is for the next one. */
static bool take_dirty(tt_job *j)
{
    bool anything = j->head_dirty || j->redo.syncs || j->record_dirty || j->undo.len || j->blocks.dirty.len || j->notes.len || j->group_notes.len ||
                    j->flushing_lines.len || j->storing_notes.len;
    if (!tt_vec_reserve(&j->storing, j->blocks.dirty.len))
        j->group_rc = TT_NOMEM;
    else
        while (j->blocks.dirty.len) {
            uint32_t number = tt_vec_pop(&j->blocks.dirty);
            j->blocks.rows.ptr[number].dirty = false;
            j->storing.ptr[j->storing.len++] = number;
        }
    move_notes(&j->storing_notes, &j->notes);
    j->head_dirty = false;
    j->storing_planned = j->plan == TT_PLAN_DONE;
    return anything;
}

static tt_rc job_store(tt_participant *p, tt_txn *txn, tt_err *err)
{
    tt_job *j = job_of(p);
    pthread_mutex_lock(&j->lock);
    bool gone = j->life == TT_JOB_GONE, anything = take_dirty(j);
    pthread_mutex_unlock(&j->lock);
    if (j->group_rc != TT_OK)
        return tt_fail(err, TT_NOMEM, "out of memory for the pages of job `%s`", j->def.name);
    if (gone && j->undo.len) /* since they were applied */
        return tt_fail(err, TT_NOT_FOUND, "No known job: %s", j->def.name);
    if (gone || !anything || j->def.owner == 0) /* a job whose record cannot be read owns no pages */
        return TT_OK;
    TT_TRY(store_record(j, txn, err));
    TT_TRY(store_pages(j, txn, err));
    TT_TRY(store_names(j, txn, err));
    TT_TRY(tt_redo_store(j, txn, err));
    TT_TRY(store_notes(j, txn, &j->storing_notes, err));
    TT_TRY(store_notes(j, txn, &j->group_notes, err));
    return store_head(j, txn, err);
}

static void end_group(tt_job *j)
{
    tt_vec_clear(&j->undo);
    tt_vec_clear(&j->storing);
    tt_notes_clear(&j->group_notes);
    tt_buf_clear(&j->group_reject_lines);
    j->group_received = 0;
    j->group_rc = TT_OK;
}

static bool is_to_come(uint8_t byte) { return tt_item_state_of(byte) == TT_ITEM_PENDING || tt_item_state_of(byte) == TT_ITEM_HELD; }

void tt_job_notify(tt_job *j)
{
    char topic[256];
    snprintf(topic, sizeof topic, "job/%s", j->def.name);
    tt_watch_notify(j->env->watches, tt_str_of(topic), 0);
}

/* ---- deleting the output ---- */

void tt_job_remove_output(tt_job *j, tt_txn *txn)
{
    pthread_mutex_lock(&j->lock);
    j->removing = j->head_dirty = j->record_dirty = true;
    j->sync_wanted = true; /* should the deletion not come to pass, the file is whole */
    j->removal = (tt_err){0};
    pthread_mutex_unlock(&j->lock);
    tt_txn_enlist(txn, &j->part);
}

/* The ledger knows already that there is no output: a crash before this leaves the file, whole. */
static void remove_output(tt_job *j)
{
    tt_err err = {0};
    if (j->output)
        (void)!tt_append_remove(j->output, &err);
    if (tt_job_is_journaled(j) && err.code == TT_OK)
        (void)!tt_job_remove_target(j, &err);
    pthread_mutex_lock(&j->lock);
    tt_delivery_restart(j);
    free(j->def.journal);
    j->def.journal = NULL;
    j->output = NULL;
    j->output_known = false;
    j->output_mark = (tt_append_mark){0};
    tt_redo_start_at(j, &j->output_mark);
    free(j->def.output_real);
    j->def.output_real = NULL; /* the path is free for others */
    j->removing = false;
    j->leftover = err.code != TT_OK;
    j->removal = err;
    pthread_mutex_unlock(&j->lock);
}

/* Who waited for an item of this group is next. */
static void finish_lanes(tt_job *j)
{
    for (size_t i = 0; j->lanes && i < j->undo.len; i++)
        if (!is_to_come(tt_blocks_get(&j->blocks, j->undo.ptr[i].at)))
            tt_lanes_finish(j->lanes, &j->blocks, j->undo.ptr[i].at);
}

void tt_job_rebuild_lanes(tt_job *j)
{
    TT_VEC(tt_item_ref) unsettled = {0};
    if (!j->lanes)
        return;
    for (size_t i = 0; i < j->undo.len; i++)
        (void)!tt_vec_push(&unsettled, j->undo.ptr[i].at); /* out of memory: the next of its key may go out before it is committed */
    tt_lanes_rebuild(j->lanes, &j->blocks, unsettled.ptr, unsettled.len);
    tt_vec_deinit(&unsettled);
}

static void job_committed(tt_participant *p)
{
    tt_job *j = job_of(p);
    tt_claim *done = NULL;
    if (j->output) {
        tt_append_commit(j->output);
        tt_redo_committed(j);
    }
    j->output_known = j->output != NULL;
    if (j->rejects)
        tt_append_commit(j->rejects);
    if (j->removing)
        remove_output(j);
    else
        tt_delivery_committed(j);
    if (j->writer) {
        tt_buf_clear(&j->scratch);
        tt_writer_state(j->writer, &j->scratch);
    }
    pthread_mutex_lock(&j->lock);
    if (j->writer && (!j->writer_state || !tt_str_is(tt_buf_view(&j->scratch), j->writer_state))) {
        free(j->writer_state);
        j->writer_state = tt_str_dup(tt_buf_view(&j->scratch));
    }
    uint32_t last_row = UINT32_MAX;
    for (size_t i = 0; i < j->undo.len; i++) {
        tt_item_ref at = j->undo.ptr[i].at;
        tt_blocks_touch(&j->blocks, at.row);
        if (!is_to_come(tt_blocks_get(&j->blocks, at))) /* else it was tried again at once, and may be out again */
            tt_item_settle(j, at);
        if (at.row != last_row && last_row != UINT32_MAX)
            tt_blocks_pack(&j->blocks, last_row);
        last_row = at.row;
    }
    if (last_row != UINT32_MAX)
        tt_blocks_pack(&j->blocks, last_row);
    finish_lanes(j);
    if (tt_redo_is_unsynced(&j->redo) && !j->sync_due_ms) {
        j->sync_due_ms = tt_mono_ms() + TT_REDO_IDLE_MS;
        tt_job_arm(j, j->sync_due_ms);
    }
    tt_rate_add(&j->rate, tt_mono_ms(), j->group_received);
    if (j->blocks.answers && j->blocks.answers->storing > j->blocks.answers->stored)
        j->blocks.answers->stored = j->blocks.answers->storing;
    tt_buf_deinit(&j->flushing_lines);
    j->committed_batch = j->flushed_batch;
    tt_notes_clear(&j->storing_notes);
    end_group(j);
    if (j->blocks.observer)
        j->blocks.observer(j->blocks.observer_arg);
    tt_delivery_wake(j);
    if (tt_gate_follows_commits(j) || (j->parked && tt_job_is_complete(j))) /* else a commit opens nothing */
        tt_claims_retry(j, &done);
    pthread_mutex_unlock(&j->lock);
    tt_job_notify(j);
    tt_claims_finish(done);
}

static void undo_items(tt_job *j)
{
    while (j->undo.len) {
        tt_undo u = tt_vec_pop(&j->undo);
        uint8_t old = u.old;
        if (is_to_come(tt_blocks_get(&j->blocks, u.at)))
            continue; /* tried again within the group, and perhaps out again */
        if (tt_item_state_of(old) == TT_ITEM_PENDING && !tt_blocks_lease(&j->blocks, u.at)) /* the lease ended meanwhile */
            old &= (uint8_t)~TT_ITEM_LEASED;
        tt_assert(tt_blocks_set_by(&j->blocks, u.at, old, tt_item_is_leased(old) || tt_item_state_of(old) == TT_ITEM_RECEIVED ? u.worker : 0)); /* the row has its bytes: set succeeded before */
    }
}

static void job_rolled_back(tt_participant *p)
{
    tt_job *j = job_of(p);
    tt_claim *done = NULL;
    tt_err err = {0};
    bool cut = !j->output || tt_append_rollback(j->output, &err) == TT_OK;
    if (j->rejects && tt_append_rollback(j->rejects, &err) != TT_OK)
        cut = false;
    if (j->writer && j->writer_state && tt_writer_restore(j->writer, tt_str_of(j->writer_state), &err) != TT_OK)
        cut = false;
    pthread_mutex_lock(&j->lock);
    tt_redo_rolled_back(j);
    undo_items(j);
    tt_job_rebuild_lanes(j);
    if (j->blocks.answers)
        j->blocks.answers->storing = j->blocks.answers->stored;
    for (size_t i = 0; i < j->storing.len; i++)
        tt_blocks_mark_dirty(&j->blocks, j->storing.ptr[i]);
    move_notes(&j->storing_notes, &j->notes); /* the older first */
    tt_notes kept = j->notes;
    j->notes = j->storing_notes;
    j->storing_notes = kept;
    move_notes(&j->notes, &j->storing_notes);
    tt_buf_str(&j->flushing_lines, tt_buf_view(&j->reject_lines));
    tt_buf_deinit(&j->reject_lines);
    j->reject_lines = tt_buf_take(&j->flushing_lines);
    j->head_dirty = j->record_dirty = true;
    j->removing = false;
    tt_delivery_rolled_back(j);
    j->flushed_batch = j->committed_batch;
    j->reader_stored = false;
    end_group(j);
    if (!cut)
        snprintf(j->last_trouble, sizeof j->last_trouble, "%s", err.text); /* the next flush tries the cut again */
    tt_claims_retry(j, &done);
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
}

const tt_participant tt_job_participant = {
    .flush = job_flush, .store = job_store, .committed = job_committed, .rolled_back = job_rolled_back,
};

/* ---- what changed without anybody waiting for it ---- */

static tt_job *job_of_flush(tt_change *c) { return (tt_job *)((char *)c - offsetof(tt_job, flush_change)); }

static tt_rc flush_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    tt_txn_enlist(txn, &job_of_flush(c)->part);
    return TT_OK;
}

static void flush_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    tt_job *j = job_of_flush(c);
    pthread_mutex_lock(&j->lock);
    j->flush_queued = false;
    if (rc != TT_OK) {
        j->sync_wanted = tt_redo_is_unsynced(&j->redo);
        tt_job_flush_soon(j);
    }
    pthread_mutex_unlock(&j->lock);
    tt_job_unref(j);
}

static bool has_unstored(const tt_job *j)
{
    return j->sync_wanted || j->head_dirty || j->record_dirty || j->blocks.dirty.len || j->notes.len || j->reject_lines.len;
}

void tt_job_flush_soon(tt_job *j)
{
    if (j->flush_due_ms || j->flush_queued || j->life == TT_JOB_NEW || j->life == TT_JOB_GONE ||
        __atomic_load_n(&j->env->stopping, __ATOMIC_RELAXED)) /* the end of the house stores it */
        return;
    j->flush_due_ms = tt_mono_ms() + FLUSH_DELAY_MS;
    tt_job_arm(j, j->flush_due_ms);
}

void tt_job_flush_if_due(tt_job *j, int64_t now_ms)
{
    if (j->sync_due_ms && j->sync_due_ms <= now_ms) {
        j->sync_due_ms = 0;
        j->sync_wanted = true;
        j->flush_due_ms = now_ms;
    }
    if (!j->flush_due_ms || j->flush_due_ms > now_ms)
        return;
    j->flush_due_ms = 0;
    if (j->flush_queued || j->life == TT_JOB_GONE || !has_unstored(j))
        return;
    j->flush_queued = true;
    tt_job_ref(j);
    j->flush_change = (tt_change){.apply = flush_apply, .done = flush_done};
    tt_ledger_submit(j->env->ledger, &j->flush_change);
}

/* ---- results ---- */

static tt_rc may_receive(const tt_job *j, tt_err *err)
{
    if (j->life == TT_JOB_GONE)
        return tt_fail(err, TT_NOT_FOUND, "No known job: %s", j->def.name);
    if (j->def.mode == TT_MODE_READ)
        return tt_fail(err, TT_INVALID, "Trying to send to a read-only job");
    if (j->output_broken)
        return tt_fail(err, TT_CONFLICT, "job `%s` is broken: %s", j->def.name, j->broken);
    if (!tt_job_has_writer(j))
        return tt_fail(err, TT_INVALID, "No valid writer initialised");
    return TT_OK;
}

/* The writer's bytes of one value into the scratch. False: it does not fit (*err says why). */
static bool try_value(tt_job *j, tt_str value, tt_err *err)
{
    tt_buf_clear(&j->scratch);
    tt_rc rc = tt_writer_put(j->writer, value, &j->scratch, err);
    if (rc == TT_OK)
        rc = tt_buf_check(&j->scratch, err);
    if (rc == TT_NOMEM)
        j->group_rc = rc;
    return rc == TT_OK;
}

/* A journal holds the value itself; what the writer makes of it is only looked at. */
static bool keep_value(tt_job *j, uint64_t id, tt_str value, tt_err *err)
{
    if (!tt_writer_is_plain(j->writer) && !try_value(j, value, err))
        return false;
    tt_journal_put(j->output, id, value);
    return true;
}

/* One result into the output. False: it does not fit (*err says why). */
static bool write_value(tt_job *j, uint64_t id, tt_str value, tt_err *err)
{
    if (tt_job_is_journaled(j))
        return keep_value(j, id, value, err);
    if (tt_writer_is_plain(j->writer) && !memchr(value.ptr, '\n', value.len) && !memchr(value.ptr, '\r', value.len)) {
        tt_append_put(j->output, value.ptr, value.len);
        tt_append_put(j->output, "\n", 1);
        return true;
    }
    if (!try_value(j, value, err))
        return false;
    tt_append_put(j->output, j->scratch.ptr, j->scratch.len);
    return true;
}

static void reject_value(tt_job *j, uint64_t id, tt_str value, tt_str worker, const tt_err *why)
{
    tt_bad_record bad = {.reason = why->text, .text = tt_str_slice(value, 0, 4096)};
    tt_job_note(&j->group_notes, id, TT_ITEM_ERROR, 0, tt_str_of(why->text), worker);
    put_reject(&j->group_reject_lines, id, NULL, &bad);
}

/* worker: of an answer, with overlap. */
static bool set_state_by(tt_job *j, tt_item_ref at, tt_item_state state, unsigned attempts, uint16_t worker)
{
    uint8_t old = tt_blocks_get(&j->blocks, at), byte = tt_item_byte(state, false, attempts);
    if (state == TT_ITEM_ERROR && old == tt_item_unreadable())
        byte = old; /* a mark does not make it readable */
    if (tt_vec_push(&j->undo, ((tt_undo){at, old, tt_blocks_worker(&j->blocks, at)})) && tt_blocks_set_by(&j->blocks, at, byte, worker))
        return true;
    j->group_rc = TT_NOMEM;
    return false;
}

static bool set_state(tt_job *j, tt_item_ref at, tt_item_state state, unsigned attempts) { return set_state_by(j, at, state, attempts, 0); }

/* With overlap: the open slots of an item of which one has ended so. */
static void close_slots(tt_job *j, tt_item_ref at, tt_item_state state)
{
    uint32_t copies = tt_blocks_copies(&j->blocks);
    tt_item_ref s = {at.row, at.index - at.index % copies};
    for (uint32_t i = 0; i < copies; i++, s.index++) {
        uint8_t byte = tt_blocks_get(&j->blocks, s);
        if (tt_item_state_of(byte) == TT_ITEM_PENDING && !tt_item_is_leased(byte))
            (void)set_state(j, s, state, tt_item_attempts(byte));
    }
}

/* Which of an item's slots a value is of: with overlap it says so itself, among its first members (written_value). */
static uint32_t slot_of(const tt_job *j, tt_str value)
{
    tt_json_iter it;
    tt_str name, member;
    uint64_t answer = 0;
    if (!j->blocks.answers || !tt_json_enter(value, &it))
        return 0;
    for (unsigned i = 0; i < 3 && tt_json_next_member(&it, &name, &member); i++) /* the fourth may be cut off */
        if (tt_str_is(name, "answer") && tt_parse_u64(member, &answer, NULL) == TT_OK && answer >= 1 && answer <= j->blocks.answers->copies)
            return (uint32_t)answer - 1;
    return 0;
}

void tt_job_refuse(tt_job *j, uint64_t id, tt_str value, const char *why)
{
    size_t hint = 0;
    tt_item_ref at;
    tt_err reason = {0};
    if (!tt_blocks_find(&j->blocks, id, false, &hint, &at))
        return;
    at.index += slot_of(j, value);
    if (tt_item_state_of(tt_blocks_get(&j->blocks, at)) != TT_ITEM_RECEIVED) /* told already, before a crash */
        return;
    snprintf(reason.text, sizeof reason.text, "%s", why);
    if (!set_state(j, at, TT_ITEM_ERROR, 0))
        return;
    close_slots(j, at, TT_ITEM_ERROR);
    reject_value(j, id, value, (tt_str){0}, &reason);
}

static tt_rc too_scattered(const tt_job *j, tt_err *err)
{
    return tt_fail(err, TT_TOO_LARGE, "the ids of job `%s` are too scattered: of the ranges of 64 ids %zu may be in use: number the items from 0",
                   j->def.name, j->env->max_sparse_blocks);
}

/* A job without input has a block for every 64 ids that somebody names. */
static tt_rc check_scatter(tt_job *j, const tt_pairs *pairs, tt_err *err)
{
    size_t unknown = 0, hint = 0;
    tt_item_ref at;
    if (!j->blocks.sparse || j->blocks.rows.len + pairs->len <= j->env->max_sparse_blocks)
        return TT_OK;
    for (size_t i = 0; i < pairs->len; i++)
        unknown += !tt_blocks_find(&j->blocks, pairs->ptr[i].id, false, &hint, &at);
    if (j->blocks.rows.len + unknown <= j->env->max_sparse_blocks)
        return TT_OK;
    return too_scattered(j, err);
}

/* An item as a whole. */
static tt_item_state item_state(const tt_job *j, tt_item_ref at)
{
    return j->blocks.answers ? tt_answers_state(&j->blocks, at) : tt_item_state_of(tt_blocks_get(&j->blocks, at));
}

/* The item that a result is for, or with overlap the slot that it fills. False: it is counted, and that is all. */
static bool find_place(tt_job *j, tt_results *r, uint64_t id, size_t *hint, tt_item_ref *ret)
{
    if (!tt_blocks_find(&j->blocks, id, true, hint, ret)) {
        if (j->blocks.sparse)
            j->group_rc = TT_NOMEM;
        r->unknown++;
        return false;
    }
    tt_item_state state = item_state(j, *ret);
    bool unknown = state == TT_ITEM_HOLE && !j->blocks.sparse, duplicate = state == TT_ITEM_RECEIVED;
    if (!unknown && !duplicate && j->blocks.answers)
        duplicate = !tt_answers_pick_result(&j->blocks, *ret, r->answerer, ret);
    r->unknown += unknown;
    r->duplicate += duplicate;
    return !unknown && !duplicate;
}

/* What is written: with overlap the value beside who gave it, and the number of its slot. */
static tt_str written_value(const tt_job *j, const tt_results *r, const tt_pair *pair, tt_item_ref at, tt_buf *text)
{
    tt_str value = {r->body.ptr + pair->offset, pair->len};
    if (!j->blocks.answers)
        return value;
    tt_buf_printf(text, "{\"id\":%" PRIu64 ",\"worker\":", pair->id);
    tt_buf_json_str(text, r->worker);
    tt_buf_printf(text, ",\"answer\":%u,\"value\":", at.index % j->blocks.answers->copies + 1);
    tt_buf_str(text, value);
    tt_buf_char(text, '}');
    return tt_buf_view(text);
}

static void receive_one(tt_job *j, tt_results *r, const tt_pair *pair, size_t *hint)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_item_ref at;
    tt_err why = {0};
    if (!find_place(j, r, pair->id, hint, &at))
        return;
    tt_item_state state = tt_item_state_of(tt_blocks_get(&j->blocks, at));
    tt_str value = written_value(j, r, pair, at, &text);
    if (tt_buf_check(&text, NULL) != TT_OK) {
        j->group_rc = TT_NOMEM;
    } else if (write_value(j, pair->id, value, &why)) {
        r->accepted += set_state_by(j, at, TT_ITEM_RECEIVED, 0, r->answerer);
        if ((state == TT_ITEM_ERROR || state == TT_ITEM_DEAD) && (!j->blocks.answers || tt_answers_closed(&j->blocks, at) == TT_ITEM_PENDING))
            tt_job_note(&j->group_notes, pair->id, TT_ITEM_PENDING, 0, (tt_str){0}, (tt_str){0});
    } else {
        r->rejected += set_state(j, at, TT_ITEM_ERROR, 0);
        close_slots(j, at, TT_ITEM_ERROR);
        reject_value(j, pair->id, value, r->worker, &why);
    }
}

/* With overlap a result is somebody's. */
static tt_rc find_answerer(tt_job *j, tt_results *r, tt_err *err)
{
    if (!j->blocks.answers)
        return TT_OK;
    if (!r->is_named)
        return tt_job_refuse_nameless(j, err);
    r->answerer = tt_answers_worker(j->blocks.answers, r->worker, err);
    return r->answerer ? TT_OK : err->code;
}

/* Would any of these results be written? Repeated ones are only counted, and need no output. */
static bool any_is_new(tt_job *j, const tt_results *r)
{
    size_t hint = 0;
    tt_item_ref at;
    for (size_t i = 0; i < r->pairs.len; i++) {
        if (!tt_blocks_find(&j->blocks, r->pairs.ptr[i].id, false, &hint, &at)) {
            if (j->blocks.sparse)
                return true;
            continue;
        }
        tt_item_state state = item_state(j, at);
        bool is_over = state == TT_ITEM_RECEIVED || (state == TT_ITEM_HOLE && !j->blocks.sparse);
        if (!is_over && (!j->blocks.answers || tt_answers_pick_result(&j->blocks, at, r->answerer, &at)))
            return true;
    }
    return false;
}

static tt_rc refuse_unknown(const tt_pairs *pairs, tt_err *err)
{
    TT_BUF_AUTO tt_buf list = {0};
    for (size_t i = 0; i < pairs->len && i < 10; i++)
        tt_buf_printf(&list, "%s%" PRIu64, i ? ", " : "", pairs->ptr[i].id);
    return tt_fail(err, TT_INVALID, "No known item: %s%s", tt_buf_cstr(&list), pairs->len > 10 ? ", ..." : "");
}

static tt_rc results_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    tt_results *r = (tt_results *)c;
    tt_job *j = r->job;
    size_t hint = 0;
    tt_txn_enlist(txn, &j->part);
    pthread_mutex_lock(&j->lock);
    tt_rc rc = may_receive(j, err);
    if (rc == TT_OK)
        rc = check_scatter(j, &r->pairs, err);
    if (rc == TT_OK)
        rc = find_answerer(j, r, err);
    r->needs_output = rc == TT_OK && (!j->output_known || j->removing || j->delivery.dropping) && any_is_new(j, r);
    if (r->needs_output)
        rc = tt_fail(err, TT_UNAVAILABLE, "the output of job `%s` is being deleted: try again", j->def.name);
    bool may_write = rc == TT_OK && !j->redo.stale; /* else there may be no file; the flush mends it, and says whether it could */
    for (size_t i = 0; i < r->pairs.len && may_write; i++)
        receive_one(j, r, &r->pairs.ptr[i], &hint);
    if (rc == TT_OK && r->unknown && r->unknown == r->pairs.len)
        rc = refuse_unknown(&r->pairs, err);
    if (rc == TT_OK) {
        j->group_received += r->accepted;
        j->duplicates += r->duplicate;
        j->head_dirty |= r->duplicate > 0;
    }
    pthread_mutex_unlock(&j->lock);
    return rc;
}

/* ---- an output where there is none any more ----
 *
 * What lies behind the recorded end of an output is cut off after a crash. So the ledger has to know of a new file before anything is written
 * to it, and results wait for that commit. */

static tt_job *job_of_output(tt_change *c) { return (tt_job *)((char *)c - offsetof(tt_job, output_change)); }

static tt_rc output_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    tt_job *j = job_of_output(c);
    tt_txn_enlist(txn, &j->part);
    pthread_mutex_lock(&j->lock);
    bool make = !j->output && j->life != TT_JOB_GONE && !j->output_broken;
    tt_rc rc = make ? tt_job_create_output(j, false, err) : TT_OK;
    pthread_mutex_unlock(&j->lock);
    return rc;
}

static void results_end(tt_results *r, tt_rc rc, const tt_err *err)
{
    tt_job *j = r->job;
    r->done(r, rc, err);
    tt_job_unref(j);
}

static void output_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    tt_job *j = job_of_output(c);
    pthread_mutex_lock(&j->lock);
    tt_results **waiting = j->after_output.ptr;
    size_t count = j->after_output.len;
    j->after_output.ptr = NULL;
    j->after_output.len = j->after_output.cap = 0;
    j->output_making = false;
    pthread_mutex_unlock(&j->lock);
    for (size_t i = 0; i < count; i++) {
        if (rc == TT_OK)
            tt_ledger_submit(j->env->ledger, &waiting[i]->change);
        else
            results_end(waiting[i], rc, err);
    }
    free(waiting);
    tt_job_unref(j);
}

/* False: out of memory. */
static bool wait_for_output(tt_job *j, tt_results *r)
{
    pthread_mutex_lock(&j->lock);
    bool waits = tt_vec_push(&j->after_output, r), make = waits && !j->output_making;
    j->output_making |= make;
    pthread_mutex_unlock(&j->lock);
    if (make) {
        tt_job_ref(j);
        j->output_change = (tt_change){.apply = output_apply, .done = output_done};
        tt_ledger_submit(j->env->ledger, &j->output_change);
    }
    return waits;
}

static void results_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    tt_results *r = (tt_results *)c;
    tt_job *j = r->job;
    if (r->needs_output && wait_for_output(j, r))
        return;
    if (rc == TT_OK) {
        pthread_mutex_lock(&j->lock);
        tt_worker_row *worker = tt_job_worker(j, r->worker);
        if (worker)
            worker->received += r->accepted;
        pthread_mutex_unlock(&j->lock);
    }
    results_end(r, rc, err);
}

/* With the lock held: must this id wait until the plan has found it? */
static bool beyond_plan(const tt_job *j, uint64_t id)
{
    if (j->plan == TT_PLAN_DONE || j->life != TT_JOB_LIVE || j->blocks.sparse)
        return false;
    const tt_dir_block *last = j->blocks.rows.len ? &j->blocks.rows.ptr[j->blocks.rows.len - 1] : NULL;
    return !last || id >= last->block.first_id + last->block.count;
}

static void submit_or_wait(tt_job *j, tt_change *c, uint64_t highest_id)
{
    pthread_mutex_lock(&j->lock);
    bool wait = beyond_plan(j, highest_id) && tt_vec_push(&j->after_plan, c);
    pthread_mutex_unlock(&j->lock);
    if (!wait)
        tt_ledger_submit(j->env->ledger, c);
}

void tt_results_resume(tt_job *j)
{
    for (size_t i = 0; i < j->after_plan.len; i++)
        tt_ledger_submit(j->env->ledger, j->after_plan.ptr[i]);
    tt_vec_clear(&j->after_plan);
}

void tt_job_receive(tt_job *j, tt_results *r)
{
    uint64_t highest = 0;
    for (size_t i = 0; i < r->pairs.len; i++)
        highest = r->pairs.ptr[i].id > highest ? r->pairs.ptr[i].id : highest;
    r->job = tt_job_ref(j);
    r->change = (tt_change){.apply = results_apply, .done = results_done};
    submit_or_wait(j, &r->change, highest);
}

/* ---- failures and marks ---- */

static void fail_final(tt_job *j, tt_failures *f, const tt_failure *row, tt_item_ref at, tt_item_state state)
{
    unsigned attempts = tt_item_attempts(tt_blocks_get(&j->blocks, at));
    if (!set_state(j, at, state, attempts))
        return;
    close_slots(j, at, state);
    tt_job_note(&j->group_notes, row->id, state, attempts, row->reason, f->worker);
    *(state == TT_ITEM_DEAD ? &f->dead : &f->error) += 1;
}

static void fail_one(tt_job *j, tt_failures *f, const tt_failure *row, uint32_t slot, size_t *hint)
{
    tt_item_ref at;
    if (!tt_item_find_leased(j, row->id, slot, hint, &at) || tt_item_state_of(tt_blocks_get(&j->blocks, at)) != TT_ITEM_PENDING) {
        f->unknown++;
    } else if (row->final) {
        fail_final(j, f, row, at, TT_ITEM_ERROR);
    } else if (tt_item_attempts(tt_blocks_get(&j->blocks, at)) >= j->def.max_attempts) {
        fail_final(j, f, row, at, TT_ITEM_DEAD);
    } else {
        f->retry++;
        tt_item_give_back(j, at, false);
    }
}

static tt_rc apply_with_lease(tt_job *j, tt_failures *f, tt_claim **done, tt_err *err)
{
    tt_lease *lease = tt_leases_by_token(&j->leases, f->lease);
    size_t hint = 0;
    if (!lease)
        return tt_fail(err, TT_GONE, "the lease is gone: its time ran out, it was given back, or the server was started again");
    uint32_t slot = lease->slot + 1;
    for (size_t i = 0; i < f->count; i++)
        fail_one(j, f, &f->rows[i], slot, &hint);
    if (f->retry)
        tt_claims_retry(j, done);
    return TT_OK;
}

/* All slots that have no answer, also those in flight. */
static void mark_item(tt_job *j, tt_failures *f, const tt_failure *row, tt_item_ref at)
{
    bool told = false;
    for (uint32_t i = 0; i < tt_blocks_copies(&j->blocks); i++, at.index++) {
        uint8_t byte = tt_blocks_get(&j->blocks, at);
        if (j->blocks.answers && tt_item_state_of(byte) == TT_ITEM_RECEIVED)
            continue;
        if (told)
            (void)set_state(j, at, TT_ITEM_ERROR, tt_item_attempts(byte));
        else
            fail_final(j, f, row, at, TT_ITEM_ERROR);
        told = true;
    }
}

/* The older service's marks: all or none. */
static tt_rc apply_marks(tt_job *j, tt_failures *f, tt_err *err)
{
    tt_item_ref at;
    size_t hint = 0;
    if (j->blocks.sparse && j->blocks.rows.len + f->count > j->env->max_sparse_blocks)
        return too_scattered(j, err);
    for (size_t i = 0; i < f->count; i++) {
        bool known = tt_blocks_find(&j->blocks, f->rows[i].id, true, &hint, &at);
        tt_item_state state = known ? item_state(j, at) : TT_ITEM_HOLE;
        if (!known || (state == TT_ITEM_HOLE && !j->blocks.sparse))
            return tt_fail(err, TT_INVALID, "No known item: %" PRIu64, f->rows[i].id);
        if (state == TT_ITEM_RECEIVED)
            return tt_fail(err, TT_INVALID, "Item already received: %" PRIu64, f->rows[i].id);
    }
    for (size_t i = 0; i < f->count; i++)
        if (tt_blocks_find(&j->blocks, f->rows[i].id, true, &hint, &at))
            mark_item(j, f, &f->rows[i], at);
    return TT_OK;
}

static tt_rc failures_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    tt_failures *f = (tt_failures *)c;
    tt_job *j = f->job;
    tt_claim *done = NULL;
    tt_txn_enlist(txn, &j->part);
    pthread_mutex_lock(&j->lock);
    tt_rc rc;
    if (j->life == TT_JOB_GONE)
        rc = tt_fail(err, TT_NOT_FOUND, "No known job: %s", j->def.name);
    else
        rc = f->lease.len ? apply_with_lease(j, f, &done, err) : apply_marks(j, f, err);
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
    return rc;
}

static void failures_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    tt_failures *f = (tt_failures *)c;
    tt_job *j = f->job;
    f->done(f, rc, err);
    tt_job_unref(j);
}

void tt_job_fail(tt_job *j, tt_failures *f)
{
    uint64_t highest = 0;
    for (size_t i = 0; i < f->count; i++)
        highest = f->rows[i].id > highest ? f->rows[i].id : highest;
    f->job = tt_job_ref(j);
    f->change = (tt_change){.apply = failures_apply, .done = failures_done};
    submit_or_wait(j, &f->change, highest);
}
