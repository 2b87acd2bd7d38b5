#include "data/parquet/records.h"

/* The values of a block: items are `[id,value],`. Without a writer they are only seen. */
static tt_rc each_of_block(const tt_loaded *l, tt_pq_table *t, tt_pq_writer *w, tt_err *err)
{
    for (uint32_t i = 0; i < l->block.count; i++) {
        tt_str item = {l->bytes + l->offsets[i], l->offsets[i + 1] - l->offsets[i]};
        ptrdiff_t comma = tt_str_find(item, ',');
        if (item.len == 0)
            continue; /* a blank line; bad ones were looked for before */
        tt_str record = tt_str_slice(item, (size_t)comma + 1, item.len - 2);
        TT_TRY(w ? tt_pq_table_put(t, w, record, err) : tt_pq_table_see(t, record, err));
    }
    return TT_OK;
}

static tt_rc refuse_bad(const tt_reader *r, const tt_loaded *l, tt_err *err)
{
    for (uint32_t i = 0; i < l->bad_count; i++)
        if (!l->bads[i].silent)
            return tt_fail(err, TT_INVALID, "%s: record %llu, at byte %llu: %s: mend or remove it", tt_source_path(tt_reader_file(r, l->block.file_no)),
                           (unsigned long long)(l->block.first_id + l->bads[i].index + 1), (unsigned long long)l->bads[i].offset, l->bads[i].reason);
    return TT_OK;
}

static tt_rc each_record(tt_reader *r, tt_pq_table *t, tt_pq_writer *w, tt_err *err)
{
    for (tt_block b = {0};;) {
        tt_loaded *l;
        TT_TRY(tt_reader_next_block(r, &b, &b, err));
        if (b.count == 0)
            return TT_OK;
        TT_TRY(tt_reader_load(r, &b, &l, err));
        tt_rc rc = refuse_bad(r, l, err);
        if (rc == TT_OK)
            rc = each_of_block(l, t, w, err);
        tt_loaded_unref(l);
        TT_TRY(rc);
    }
}

tt_rc tt_pq_records_plan(tt_reader *r, tt_pq_table *t, tt_err *err)
{
    for (tt_block b = {0}; tt_reader_plans_first(r);) {
        TT_TRY(tt_reader_next_block(r, &b, &b, err));
        if (b.count == 0)
            break;
    }
    return tt_reader_header(r).len ? tt_pq_table_header(t, tt_reader_header(r), err) : TT_OK;
}

tt_rc tt_pq_records_see(tt_reader *r, tt_pq_table *t, tt_err *err) { return each_record(r, t, NULL, err); }
tt_rc tt_pq_records_put(tt_reader *r, tt_pq_table *t, tt_pq_writer *w, tt_err *err) { return each_record(r, t, w, err); }
