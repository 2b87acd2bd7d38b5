#include "data/parquet/rows.h"

#include "data/json.h"
#include "data/parquet/cell.h"

void tt_pq_put_json_line(const tt_pq_file *f, const uint32_t *columns, size_t count, const tt_pq_batch *batches, uint32_t row, tt_buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const tt_pq_column *c = tt_pq_column_at(f, columns[i]);
        tt_buf_char(out, i ? ',' : '{');
        tt_buf_json_str(out, c->name);
        tt_buf_char(out, ':');
        tt_pq_text_row(c, &batches[i], row, out);
    }
    tt_buf_cstr_put(out, count ? "}\n" : "{}\n");
}

/* RFC 4180. A text that is empty is in quotes, a null is not. */
void tt_pq_put_csv_text(tt_str text, tt_buf *out)
{
    bool is_plain = text.len > 0;
    for (size_t i = 0; i < text.len; i++)
        is_plain &= !strchr(",\"\r\n", text.ptr[i]) && text.ptr[i];
    if (is_plain) {
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

/* A string of JSON as a cell; text is scratch. */
static void put_csv_string(const tt_buf *json, tt_buf *text, tt_buf *out)
{
    tt_buf_clear(text);
    tt_json_unescape(tt_buf_view(json), text);
    tt_pq_put_csv_text(tt_buf_view(text), out);
}

void tt_pq_put_csv_line(const tt_pq_file *f, const uint32_t *columns, size_t count, const tt_pq_batch *batches, uint32_t row, tt_buf *out)
{
    TT_BUF_AUTO tt_buf json = {.limit_bytes = out->limit_bytes}, text = {.limit_bytes = out->limit_bytes};
    for (size_t i = 0; i < count && !out->failed; i++) {
        tt_buf_clear(&json);
        tt_pq_text_row(tt_pq_column_at(f, columns[i]), &batches[i], row, &json);
        if (i)
            tt_buf_char(out, ',');
        if (json.len && json.ptr[0] == '"') {
            put_csv_string(&json, &text, out);
        } else if (!tt_str_is(tt_buf_view(&json), "null")) {
            tt_pq_put_csv_text(tt_buf_view(&json), out);
        }
        out->failed |= json.failed || text.failed;
    }
    tt_buf_char(out, '\n');
}

void tt_pq_put_csv_header(const tt_pq_file *f, const uint32_t *columns, size_t count, tt_buf *out)
{
    TT_BUF_AUTO tt_buf json = {0}, text = {0};
    for (size_t i = 0; i < count; i++) {
        if (i)
            tt_buf_char(out, ',');
        tt_buf_clear(&json);
        tt_buf_json_str(&json, tt_pq_column_at(f, columns[i])->name); /* names may hold any bytes */
        put_csv_string(&json, &text, out);
    }
    tt_buf_char(out, '\n');
}
