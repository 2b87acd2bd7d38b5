/* What changed in a job, into the ledger's transaction: its record, the pages of its items, the names in them, and the head with the output's mark. */
#include <inttypes.h>

#include "items/job.h"
#include "ledger/pages.h"
#include "ledger/records.h"

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
    tt_append_mark none = {0}, output = ends ? none : j->redo.flushed, safe = ends ? none : *tt_redo_synced_after(j);
    tt_buf_printf(&j->scratch,
                  "{\"v\":1,\"planned\":%s,\"fresh\":%s,\"generation\":%u,\"duplicates\":%" PRIu64 ",\"output_len\":%" PRIu64
                  ",\"output_hash\":\"%016" PRIx64 "\",\"synced_len\":%" PRIu64
                  ",\"synced_hash\":\"%016" PRIx64 "\",\"rejects_len\":%" PRIu64 ",\"rejects_hash\":\"%016" PRIx64 "\",\"delivery\":%s,\"writer\":",
                  j->storing_planned ? "true" : "false", j->fresh ? "true" : "false", j->generation, j->duplicates, output.length_bytes,
                  output.tail_hash, safe.length_bytes, safe.tail_hash, j->rejects_flushed.length_bytes, j->rejects_flushed.tail_hash, delivery);
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
    tt_notes_move(&j->storing_notes, &j->notes);
    j->head_dirty = false;
    j->storing_planned = j->plan == TT_PLAN_DONE;
    return anything;
}

tt_rc tt_job_store(tt_participant *p, tt_txn *txn, tt_err *err)
{
    tt_job *j = (tt_job *)p /* its first member */;
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
    TT_TRY(tt_notes_store(j, txn, &j->storing_notes, err));
    TT_TRY(tt_notes_store(j, txn, &j->group_notes, err));
    return store_head(j, txn, err);
}
