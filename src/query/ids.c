#include "query/ids.h"

#include "data/extension.h"
#include "data/parquet/rows.h"
#include "data/parquet/writer.h"
#include "io/whole_file.h"

struct tt_id_file {
    tt_pq_writer *parquet;   /* or: */
    tt_whole_file *csv;
    bool is_unsigned;
};

/* ---- lists ---- */

void tt_id_list_deinit(tt_id_list *l)
{
    tt_vec_deinit(&l->ints);
    tt_vec_deinit(&l->ends);
    tt_buf_deinit(&l->heap);
}

bool tt_id_list_add(tt_id_list *l, const tt_dense *groups, uint32_t group)
{
    if (!groups->is_bytes)
        return tt_vec_push(&l->ints, groups->ints.ptr[group]);
    tt_buf_str(&l->heap, tt_dense_text(groups, group));
    return !l->heap.failed && tt_vec_push(&l->ends, l->heap.len);
}

/* ---- the file ---- */

/* Whole numbers of several widths become the widest. */
static tt_pq_field field_for(tt_pq_file *const *files, size_t file_count, tt_str column)
{
    tt_pq_field field = {0};
    for (size_t i = 0; i < file_count; i++) {
        const tt_pq_column *c = tt_pq_column_at(files[i], (uint32_t)tt_pq_column_find(files[i], column));
        if (i == 0)
            field = tt_pq_field_of(c);
        else if (c->kind != field.kind || c->bit_width != field.bit_width)
            field = (tt_pq_field){.kind = c->kind == TT_PQ_UINT64 || field.kind == TT_PQ_UINT64 ? TT_PQ_UINT64 : TT_PQ_INT64};
    }
    field.name = column;
    field.is_nullable = false;
    return field;
}

tt_rc tt_id_file_create(const char *path, tt_pq_file *const *files, size_t file_count, tt_str column, tt_id_file **ret, tt_err *err)
{
    static const char *const parquet_names[] = {".parquet", ".pq", NULL}, *const csv_names[] = {".csv", NULL};
    tt_id_file *f = TT_NEW(tt_id_file);
    tt_pq_field field = field_for(files, file_count, column);
    tt_rc rc;
    f->is_unsigned = field.kind == TT_PQ_UINT64;
    if (tt_has_extension(tt_str_of(path), parquet_names))
        rc = tt_pq_writer_create(path, &(tt_pq_writer_options){.fields = &field, .field_count = 1, .codec = TT_PQ_C_ZSTD}, &f->parquet, err);
    else if (tt_has_extension(tt_str_of(path), csv_names))
        rc = tt_whole_file_create(path, &f->csv, err);
    else
        rc = tt_fail(err, TT_USAGE, "%s: cannot tell the form of a list of ids: name it .parquet or .csv", path);
    if (rc == TT_OK && f->csv) {
        tt_pq_put_csv_text(column, tt_whole_file_out(f->csv));
        tt_buf_char(tt_whole_file_out(f->csv), '\n');
    }
    if (rc == TT_OK)
        *ret = f;
    else
        tt_id_file_free(f);
    return rc;
}

void tt_id_file_free(tt_id_file *f)
{
    if (!f)
        return;
    tt_pq_writer_free(f->parquet);
    tt_whole_file_free(f->csv);
    free(f);
}

static tt_rc put_int(tt_id_file *f, int64_t id, tt_err *err)
{
    if (f->parquet) {
        tt_pq_put_int(f->parquet, 0, id);
        return tt_pq_end_row(f->parquet, err);
    }
    tt_buf *out = tt_whole_file_out(f->csv);
    if (f->is_unsigned)
        tt_buf_u64(out, (uint64_t)id);
    else
        tt_buf_i64(out, id);
    tt_buf_char(out, '\n');
    return tt_whole_file_flush(f->csv, err);
}

static tt_rc put_text(tt_id_file *f, tt_str id, tt_err *err)
{
    if (f->parquet) {
        tt_pq_put_bytes(f->parquet, 0, id);
        return tt_pq_end_row(f->parquet, err);
    }
    tt_pq_put_csv_text(id, tt_whole_file_out(f->csv));
    tt_buf_char(tt_whole_file_out(f->csv), '\n');
    return tt_whole_file_flush(f->csv, err);
}

tt_rc tt_id_file_add(tt_id_file *f, const tt_id_list *ids, tt_err *err)
{
    for (size_t i = 0; i < ids->ints.len; i++)
        TT_TRY(put_int(f, ids->ints.ptr[i], err));
    for (size_t i = 0; i < ids->ends.len; i++) {
        uint64_t start = i ? ids->ends.ptr[i - 1] : 0;
        TT_TRY(put_text(f, (tt_str){ids->heap.ptr + start, ids->ends.ptr[i] - start}, err));
    }
    return TT_OK;
}

tt_rc tt_id_file_finish(tt_id_file *f, tt_err *err) { return f->parquet ? tt_pq_writer_finish(f->parquet, err) : tt_whole_file_finish(f->csv, err); }
