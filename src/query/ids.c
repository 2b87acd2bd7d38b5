#define XXH_INLINE_ALL
#include "query/ids.h"

#include <xxhash.h>

#include "data/extension.h"
#include "data/parquet/rows.h"
#include "data/parquet/writer.h"
#include "io/fd.h"
#include "io/whole_file.h"
#include "query/parcel.h"

struct tt_id_file {
    tt_pq_writer *parquet;   /* or: */
    tt_whole_file *csv;
    int fd;                  /* of neither a name */
    uint64_t at;             /* in it */
    tt_buf *out;             /* of csv, or: */
    tt_buf own;
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

/* ---- on their way ---- */

static const struct {
    const char *name;
    tt_pq_kind kind;
    tt_pq_meaning meaning;
} types[] = {{"int", TT_PQ_INT64, TT_PQ_PLAIN}, {"uint", TT_PQ_UINT64, TT_PQ_PLAIN}, {"text", TT_PQ_BYTES, TT_PQ_STRING}, {"bytes", TT_PQ_BYTES, TT_PQ_PLAIN}};
enum { INT, UINT, TEXT, BYTES };

const char *tt_id_type(const tt_pq_column *c)
{
    bool is_text = c->meaning == TT_PQ_STRING || c->meaning == TT_PQ_ENUM || c->meaning == TT_PQ_JSON;
    size_t type = c->kind == TT_PQ_UINT32 || c->kind == TT_PQ_UINT64 ? UINT : c->kind < TT_PQ_BYTES ? INT : is_text ? TEXT : BYTES;
    return types[type].name;
}

static void put_share(const tt_id_list *l, uint64_t share, uint64_t shares, tt_buf *out)
{
    for (size_t i = 0; i < l->ints.len; i++)
        if (shares == 1 || XXH3_64bits(&l->ints.ptr[i], 8) % shares == share)
            tt_buf_put(out, &l->ints.ptr[i], 8);
    for (size_t i = 0; i < l->ends.len; i++) {
        uint64_t start = i ? l->ends.ptr[i - 1] : 0;
        uint32_t len = (uint32_t)(l->ends.ptr[i] - start);
        if (shares != 1 && XXH3_64bits(l->heap.ptr ? l->heap.ptr + start : "", len) % shares != share)
            continue;
        tt_buf_put(out, &len, sizeof len);
        tt_buf_put(out, l->heap.ptr + start, len);
    }
}

tt_rc tt_id_list_pack(const tt_id_list *l, const char *type, uint64_t share, uint64_t shares, size_t most_bytes, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf bytes = {0};
    put_share(l, share, shares, &bytes);
    TT_TRY(tt_buf_check(&bytes, err));
    json_t *parcel = bytes.len <= most_bytes ? tt_parcel_pack(tt_buf_view(&bytes)) : NULL;
    if (parcel || bytes.len > most_bytes)
        *ret = parcel ? json_pack("{s:s,s:o}", "type", type, "ids", parcel) : json_pack("{s:s,s:I}", "type", type, "bytes", (json_int_t)bytes.len);
    return parcel || bytes.len > most_bytes ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for the ids of a part");
}

static bool take_ints(tt_str bytes, tt_id_list *l)
{
    if (bytes.len % 8 || !tt_vec_reserve(&l->ints, bytes.len / 8))
        return false;
    if (bytes.len)
        memcpy(l->ints.ptr, bytes.ptr, bytes.len);
    l->ints.len = bytes.len / 8;
    return true;
}

static bool take_texts(tt_str bytes, tt_id_list *l)
{
    for (size_t at = 0; at < bytes.len;) {
        uint32_t len;
        if (bytes.len - at < sizeof len)
            return false;
        memcpy(&len, bytes.ptr + at, sizeof len);
        at += sizeof len;
        if (len > bytes.len - at)
            return false;
        tt_buf_put(&l->heap, bytes.ptr + at, len);
        at += len;
        if (l->heap.failed || !tt_vec_push(&l->ends, l->heap.len))
            return false;
    }
    return true;
}

tt_rc tt_id_list_unpack(const json_t *packed, size_t most_bytes, tt_id_list *l, tt_err *err)
{
    TT_BUF_AUTO tt_buf bytes = {0};
    const char *type = json_string_value(json_object_get(packed, "type"));
    TT_TRY(tt_parcel_open(json_object_get(packed, "ids"), most_bytes, &bytes, err));
    bool is_int = type && (strcmp(type, types[INT].name) == 0 || strcmp(type, types[UINT].name) == 0);
    bool ok = type && (is_int ? take_ints(tt_buf_view(&bytes), l) : take_texts(tt_buf_view(&bytes), l));
    return ok ? TT_OK : tt_fail(err, TT_CORRUPT, "a part's ids are damaged: were worker and server of the same version?");
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

tt_rc tt_id_file_form(const char *path, bool *ret_is_csv, tt_err *err)
{
    static const char *const parquet_names[] = {".parquet", ".pq", NULL}, *const csv_names[] = {".csv", NULL};
    *ret_is_csv = tt_has_extension(tt_str_of(path), csv_names);
    return *ret_is_csv || tt_has_extension(tt_str_of(path), parquet_names) ? TT_OK
               : tt_fail(err, TT_USAGE, "%s: cannot tell the form of a list of ids: name it .parquet or .csv", path);
}

/* With its header, where it has one. */
static tt_rc take_file(tt_id_file *f, tt_rc rc, tt_str column, tt_id_file **ret)
{
    if (rc != TT_OK) {
        tt_id_file_free(f);
        return rc;
    }
    if (f->out) {
        tt_pq_put_csv_text(column, f->out);
        tt_buf_char(f->out, '\n');
    }
    *ret = f;
    return TT_OK;
}

tt_rc tt_id_file_create(const char *path, tt_pq_file *const *files, size_t file_count, tt_str column, tt_id_file **ret, tt_err *err)
{
    bool is_csv;
    TT_TRY(tt_id_file_form(path, &is_csv, err));
    tt_id_file *f = TT_NEW(tt_id_file);
    tt_pq_field field = field_for(files, file_count, column);
    tt_rc rc;
    f->is_unsigned = field.kind == TT_PQ_UINT64;
    if (!is_csv)
        rc = tt_pq_writer_create(path, &(tt_pq_writer_options){.fields = &field, .field_count = 1, .codec = TT_PQ_C_ZSTD}, &f->parquet, err);
    else
        rc = tt_whole_file_create(path, &f->csv, err);
    f->out = rc == TT_OK && f->csv ? tt_whole_file_out(f->csv) : NULL;
    return take_file(f, rc, column, ret);
}

tt_rc tt_id_file_new(int fd, bool is_csv, tt_str column, tt_str type, tt_id_file **ret, tt_err *err)
{
    size_t row = 0;
    while (row < TT_COUNT(types) && !tt_str_is(type, types[row].name))
        row++;
    if (row == TT_COUNT(types))
        return tt_fail(err, TT_CORRUPT, "a part's ids are of an unknown type: were worker and server of the same version?");
    const tt_pq_field field = {.name = column, .kind = types[row].kind, .meaning = types[row].meaning};
    tt_id_file *f = TT_NEW(tt_id_file);
    tt_rc rc = TT_OK;
    f->is_unsigned = field.kind == TT_PQ_UINT64;
    f->fd = fd;
    f->out = is_csv ? &f->own : NULL;
    if (!is_csv)
        rc = tt_pq_writer_new(fd, "a list of ids", &(tt_pq_writer_options){.fields = &field, .field_count = 1, .codec = TT_PQ_C_ZSTD}, &f->parquet, err);
    return take_file(f, rc, column, ret);
}

void tt_id_file_free(tt_id_file *f)
{
    if (!f)
        return;
    tt_pq_writer_free(f->parquet);
    tt_whole_file_free(f->csv);
    tt_buf_deinit(&f->own);
    free(f);
}

/* What waits, when it is much; all of it. */
static tt_rc flush(tt_id_file *f, bool all, tt_err *err)
{
    enum { MUCH = 256 << 10 };
    if (f->csv)
        return tt_whole_file_flush(f->csv, err);
    TT_TRY(tt_buf_check(&f->own, err));
    if (!all && f->own.len < MUCH)
        return TT_OK;
    int why = tt_fd_write_at(f->fd, f->at, f->own.ptr, f->own.len);
    f->at += f->own.len;
    tt_buf_clear(&f->own);
    return why ? tt_fail_errno(err, why, "cannot write a list of ids") : TT_OK;
}

static tt_rc put_int(tt_id_file *f, int64_t id, tt_err *err)
{
    if (f->parquet) {
        tt_pq_put_int(f->parquet, 0, id);
        return tt_pq_end_row(f->parquet, err);
    }
    if (f->is_unsigned)
        tt_buf_u64(f->out, (uint64_t)id);
    else
        tt_buf_i64(f->out, id);
    tt_buf_char(f->out, '\n');
    return flush(f, false, err);
}

static tt_rc put_text(tt_id_file *f, tt_str id, tt_err *err)
{
    if (f->parquet) {
        tt_pq_put_bytes(f->parquet, 0, id);
        return tt_pq_end_row(f->parquet, err);
    }
    tt_pq_put_csv_text(id, f->out);
    tt_buf_char(f->out, '\n');
    return flush(f, false, err);
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

tt_rc tt_id_file_finish(tt_id_file *f, tt_err *err)
{
    if (f->parquet)
        return tt_pq_writer_finish(f->parquet, err);
    return f->csv ? tt_whole_file_finish(f->csv, err) : flush(f, true, err);
}
