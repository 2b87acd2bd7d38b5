#include "items/rejects.h"

#include <inttypes.h>

#include "items/job.h"

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

void tt_reject_value(tt_job *j, uint64_t id, tt_str value, tt_str worker, const tt_err *why)
{
    tt_bad_record bad = {.reason = why->text, .text = tt_str_slice(value, 0, 4096)};
    tt_job_note(&j->group_notes, id, TT_ITEM_ERROR, 0, tt_str_of(why->text), worker);
    put_reject(&j->group_reject_lines, id, NULL, &bad);
}

tt_rc tt_rejects_flush(tt_job *j, bool sync, tt_err *err)
{
    pthread_mutex_lock(&j->lock);
    tt_assert(j->flushing_lines.len == 0);
    j->flushing_lines = tt_buf_take(&j->reject_lines);
    j->flushed_batch = j->reject_batch++;
    pthread_mutex_unlock(&j->lock);
    if (j->flushing_lines.len + j->group_reject_lines.len == 0 && !j->rejects) /* one that is open may have to be cut */
        return TT_OK;
    TT_TRY(tt_job_open_rejects(j, err));
    tt_append_put(j->rejects, j->flushing_lines.ptr, j->flushing_lines.len);
    tt_append_put(j->rejects, j->group_reject_lines.ptr, j->group_reject_lines.len);
    return tt_append_flush(j->rejects, sync, &j->rejects_flushed, err);
}
