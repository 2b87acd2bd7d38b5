#include "data/frame_out.h"

#include "data/extension.h"
#include "data/parquet/codec.h"
#include "data/parquet/rows.h"
#include "io/whole_file.h"

void tt_rows_json_line(const tt_rows *rows, uint32_t r, tt_buf *out)
{
    tt_buf_char(out, '{');
    for (uint32_t i = 0; i < rows->field_count; i++) {
        if (i)
            tt_buf_char(out, ',');
        tt_buf_json_str(out, rows->fields[i].name);
        tt_buf_char(out, ':');
        tt_datum_json(&rows->fields[i], tt_rows_cell(rows, i, r), out);
    }
    tt_buf_cstr_put(out, "}\n");
}

/* As tt_pq_put_csv_text, with another separator. */
static void put_cell(tt_str text, char separator, tt_buf *out)
{
    bool is_quoted = text.len == 0;
    for (size_t i = 0; i < text.len; i++)
        is_quoted |= text.ptr[i] == separator || text.ptr[i] == '"' || text.ptr[i] == '\r' || text.ptr[i] == '\n' || !text.ptr[i];
    if (!is_quoted || separator == ',') {
        if (separator == ',')
            tt_pq_put_csv_text(text, out);
        else
            tt_buf_str(out, text);
        return;
    }
    tt_buf_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"')
            tt_buf_char(out, '"');
        tt_buf_char(out, text.ptr[i]);
    }
    tt_buf_char(out, '"');
}

static void csv_line(const tt_rows *rows, uint32_t r, char separator, tt_buf *out)
{
    TT_BUF_AUTO tt_buf text = {0};
    for (uint32_t i = 0; i < rows->field_count; i++) {
        const tt_datum *d = tt_rows_cell(rows, i, r);
        if (i)
            tt_buf_char(out, separator);
        if (d->kind == TT_DATUM_NULL)
            continue;
        tt_buf_clear(&text);
        tt_datum_text(&rows->fields[i], d, &text);
        put_cell((tt_str){tt_buf_cstr(&text), text.len}, separator, out);
    }
    tt_buf_char(out, '\n');
}

static void csv_header(const tt_pq_field *fields, uint32_t count, char separator, tt_buf *out)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            tt_buf_char(out, separator);
        put_cell(fields[i].name, separator, out);
    }
    tt_buf_char(out, '\n');
}

static void json_line(const tt_rows *rows, uint32_t r, char separator, tt_buf *out) { tt_rows_json_line(rows, r, out); }

void tt_rows_csv_line(const tt_rows *rows, uint32_t r, tt_buf *out) { csv_line(rows, r, ',', out); }
void tt_rows_csv_header(const tt_pq_field *fields, uint32_t count, tt_buf *out) { csv_header(fields, count, ',', out); }

/* ---- files ---- */

struct tt_frame_out {
    tt_frame_out_spec spec;
    const struct form *form;
    tt_pq_writer *writer;  /* of Parquet */
    tt_whole_file *file;   /* of text */
    uint64_t bytes;
};

/* To add a form: a row. */
static const struct form {
    const char *name;
    const char *extensions[3];
    bool is_parquet;
    void (*header)(const tt_pq_field *fields, uint32_t count, char separator, tt_buf *out); /* NULL: none */
    void (*line)(const tt_rows *rows, uint32_t r, char separator, tt_buf *out);
} forms[] = {
    {"parquet", {".parquet", ".pq"}, true, NULL, NULL},
    {"csv", {".csv"}, false, csv_header, csv_line},
    {"jsonl", {".jsonl", ".ndjson"}, false, NULL, json_line},
};

static tt_rc find_form(const tt_frame_out_spec *spec, const struct form **ret, tt_err *err)
{
    tt_str path = tt_str_of(spec->path);
    if (tt_is_packed_name(path))
        return tt_fail(err, TT_UNSUPPORTED, "%s: compressed text is not written: write it plain and compress it", spec->path);
    for (size_t i = 0; i < TT_COUNT(forms); i++)
        if (spec->form.len ? tt_str_is(spec->form, forms[i].name) : tt_has_extension(path, forms[i].extensions))
            return *ret = &forms[i], TT_OK;
    if (spec->form.len)
        return tt_fail(err, TT_INVALID, "no form `%.*s`: there are csv, jsonl and parquet", TT_STR_ARG(spec->form));
    return tt_fail(err, TT_INVALID, "%s: cannot tell the form of the output: name it .csv, .jsonl or .parquet", spec->path);
}

static tt_rc open_out(tt_frame_out *o, tt_err *err)
{
    TT_TRY(find_form(&o->spec, &o->form, err));
    if (o->form->is_parquet) {
        tt_pq_writer_options options = {.fields = o->spec.fields, .field_count = o->spec.field_count, .codec = TT_PQ_C_ZSTD, .group_bytes = o->spec.group_bytes,
                                        .key_values = o->spec.key_values, .key_value_count = o->spec.key_value_count};
        return tt_pq_writer_create(o->spec.path, &options, &o->writer, err);
    }
    TT_TRY(tt_whole_file_create(o->spec.path, &o->file, err));
    if (o->form->header)
        o->form->header(o->spec.fields, o->spec.field_count, o->spec.separator, tt_whole_file_out(o->file));
    return TT_OK;
}

tt_rc tt_frame_out_create(const tt_frame_out_spec *spec, tt_frame_out **ret, tt_err *err)
{
    tt_frame_out *o = TT_NEW(tt_frame_out);
    o->spec = *spec;
    o->spec.separator = spec->separator ? spec->separator : ',';
    tt_rc rc = open_out(o, err);
    if (rc == TT_OK)
        *ret = o;
    else
        tt_frame_out_free(o);
    return rc;
}

void tt_frame_out_free(tt_frame_out *o)
{
    if (!o)
        return;
    tt_pq_writer_free(o->writer);
    tt_whole_file_free(o->file);
    free(o);
}

tt_rc tt_frame_out_put(tt_frame_out *o, const tt_rows *rows, uint32_t r, tt_err *err)
{
    if (o->file) {
        tt_buf *out = tt_whole_file_out(o->file);
        size_t before = out->len;
        o->form->line(rows, r, o->spec.separator, out);
        o->bytes += out->len - before;
        return tt_whole_file_flush(o->file, err);
    }
    for (uint32_t i = 0; i < rows->field_count; i++)
        tt_datum_put(o->writer, i, &rows->fields[i], tt_rows_cell(rows, i, r));
    return tt_pq_end_row(o->writer, err);
}

uint64_t tt_frame_out_bytes(const tt_frame_out *o) { return o->writer ? tt_pq_writer_bytes(o->writer) : o->bytes; }

tt_rc tt_frame_out_finish(tt_frame_out *o, tt_err *err) { return o->file ? tt_whole_file_finish(o->file, err) : tt_pq_writer_finish(o->writer, err); }

tt_rc tt_frame_out_all(tt_frame *frame, const char *path, tt_err *err)
{
    TT_FRAME_OUT_AUTO tt_frame_out *out = NULL;
    tt_frame_out_spec spec = {.path = path};
    tt_rows *rows;
    spec.field_count = tt_frame_fields(frame, &spec.fields);
    TT_TRY(tt_frame_out_create(&spec, &out, err));
    do {
        TT_TRY(tt_frame_next(frame, &rows, err));
        for (uint32_t r = 0; r < rows->count; r++)
            TT_TRY(tt_frame_out_put(out, rows, r, err));
    } while (rows->count);
    return tt_frame_out_finish(out, err);
}
