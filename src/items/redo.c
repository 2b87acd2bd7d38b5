#include "items/redo.h"

#include "io/handle.h"
#include "items/job.h"
#include "ledger/pages.h"

enum { OFFSET_BYTES = 8 };

void tt_redo_deinit(tt_redo *r) { tt_buf_deinit(&r->bytes); }

bool tt_redo_is_unsynced(const tt_redo *r) { return r->committed_len > 0; }

const tt_append_mark *tt_redo_synced_after(const tt_job *j) { return j->redo.syncs ? &j->redo.flushed : &j->redo.synced; }

void tt_redo_start_at(tt_job *j, const tt_append_mark *mark)
{
    tt_buf_deinit(&j->redo.bytes);
    j->redo = (tt_redo){.synced = *mark, .flushed = *mark};
}

/* ---- flushing ---- */

/* Open the output at the synced mark and write what is behind it again. On success everything is synced. */
static tt_rc rewrite(tt_job *j, tt_err *err)
{
    tt_append_mark mark;
    tt_append_close(j->output);
    j->output = NULL;
    TT_TRY(tt_append_resume(tt_job_output_roots(j), tt_job_output_path(j), &j->redo.synced, &j->output, err));
    tt_append_put(j->output, j->redo.bytes.ptr, j->redo.committed_len);
    TT_TRY(tt_append_flush(j->output, true, &mark, err));
    if (mark.length_bytes != j->output_mark.length_bytes || mark.tail_hash != j->output_mark.tail_hash)
        return tt_fail(err, TT_CORRUPT, "job `%s`: the last bytes of `%s` cannot be made again from the ledger: put the file back as it "
                       "was, or start the job anew", j->def.name, j->def.output);
    tt_append_commit(j->output);
    tt_redo_start_at(j, &mark);
    return TT_OK;
}

static bool may_ride(const tt_job *j, bool last)
{
    const tt_redo *r = &j->redo;
    uint64_t staged = tt_append_staged(j->output);
    return staged > 0 && staged <= TT_REDO_GROUP_BYTES && !last && !r->want_sync && r->slots < TT_REDO_SLOTS && !tt_handles_are_scarce() &&
           r->committed_len + staged <= TT_REDO_BYTES && tt_append_staged_bytes(j->output).len == staged;
}

tt_rc tt_redo_flush(tt_job *j, bool sync, bool last, tt_err *err)
{
    tt_redo *r = &j->redo;
    if (r->stale) { /* staged bytes of this group would be lost with the file's handle: they fail, and come again */
        TT_TRY(rewrite(j, err));
        return tt_fail(err, TT_UNAVAILABLE, "the output of job `%s` was just mended: send again", j->def.name);
    }
    r->rides = sync && may_ride(j, last);
    if (r->rides) {
        tt_buf_str(&r->bytes, tt_append_staged_bytes(j->output));
        r->rides = tt_buf_check(&r->bytes, NULL) == TT_OK; /* else it is synced, which needs no memory */
    }
    r->syncs = !r->rides && (tt_append_staged(j->output) > 0 || (r->want_sync && tt_redo_is_unsynced(r)));
    tt_append_mark now;
    tt_rc rc = tt_append_flush(j->output, sync && r->syncs, &now, err);
    r->stale = rc != TT_OK && tt_append_sync_failed(j->output) && tt_redo_is_unsynced(r);
    TT_TRY(rc);
    r->flushed = now;
    return TT_OK;
}

tt_rc tt_redo_store(tt_job *j, tt_txn *txn, tt_err *err)
{
    tt_redo *r = &j->redo;
    if (!r->rides)
        return TT_OK;
    uint64_t offset = r->synced.length_bytes + r->committed_len;
    tt_buf_clear(&j->scratch);
    tt_buf_put(&j->scratch, &offset, OFFSET_BYTES); /* little-endian, as all machines that this runs on */
    tt_buf_put(&j->scratch, r->bytes.ptr + r->committed_len, r->bytes.len - r->committed_len);
    TT_TRY(tt_buf_check(&j->scratch, err));
    return tt_page_put(txn, j->def.owner, TT_PAGE_REDO_FIRST + r->slots, tt_buf_view(&j->scratch), err);
}

void tt_redo_committed(tt_job *j)
{
    tt_redo *r = &j->redo;
    j->output_mark = r->flushed;
    if (r->syncs) {
        tt_redo_start_at(j, &j->output_mark);
        return;
    }
    if (r->rides) {
        r->committed_len = r->bytes.len;
        r->slots++;
    }
    r->rides = false;
}

void tt_redo_rolled_back(tt_job *j)
{
    tt_redo *r = &j->redo;
    r->flushed = j->output_mark;
    r->bytes.len = r->committed_len;
    r->bytes.failed = false;
    r->rides = r->syncs = false;
}

/* ---- resume ---- */

tt_rc tt_redo_take_page(tt_job *j, int64_t number, tt_str blob, tt_err *err)
{
    tt_redo *r = &j->redo;
    uint64_t offset, have = r->synced.length_bytes + r->bytes.len;
    if (have >= j->output_mark.length_bytes || (uint64_t)(number - TT_PAGE_REDO_FIRST) != r->slots)
        return TT_OK; /* left over from before the last sync */
    if (blob.len < OFFSET_BYTES || (memcpy(&offset, blob.ptr, OFFSET_BYTES), offset != have))
        return tt_fail(err, TT_CORRUPT, "job `%s`: redo page %u does not fit", j->def.name, r->slots);
    tt_buf_put(&r->bytes, blob.ptr + OFFSET_BYTES, blob.len - OFFSET_BYTES);
    TT_TRY(tt_buf_check(&r->bytes, err));
    r->slots++;
    r->committed_len = r->bytes.len;
    return TT_OK;
}

tt_rc tt_redo_resume(tt_job *j, tt_err *err)
{
    if (j->redo.synced.length_bytes + j->redo.committed_len != j->output_mark.length_bytes)
        return tt_fail(err, TT_CORRUPT, "job `%s`: redo pages are missing", j->def.name);
    if (j->redo.committed_len == 0)
        return tt_append_resume(tt_job_output_roots(j), tt_job_output_path(j), &j->output_mark, &j->output, err);
    j->head_dirty = true;
    return rewrite(j, err);
}
