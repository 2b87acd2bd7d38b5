/* `tutti parquet`: what is in a Parquet file. Works on files alone: no server, no data directory. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"
#include "cli/parquet_columns.h"
#include "data/parquet/cell.h"
#include "data/parquet/rows.h"
#include "data/parquet/scan.h"
#include "data/parquet/statistics.h"

enum { BATCH_ROWS = 4096, OUT_BYTES = 1 << 16 };

static tt_rc open_operand(tt_cli *cli, tt_pq_file **ret, tt_err *err)
{
    return tt_pq_open(tt_cli_operand(cli, 0).ptr, NULL, ret, err);
}

static const char *unit_text(const tt_pq_column *c)
{
    static const char *const units[] = {[TT_PQ_MILLIS] = "ms", [TT_PQ_MICROS] = "us", [TT_PQ_NANOS] = "ns"};
    return units[c->unit];
}

/* "string", "timestamp[us, UTC]", "decimal(9,2)", "int32": in words that users of data frames know. */
static void put_type(const tt_pq_column *c, tt_buf *out)
{
    static const char *const kinds[] = {[TT_PQ_BOOL] = "bool", [TT_PQ_INT32] = "int32", [TT_PQ_INT64] = "int64", [TT_PQ_UINT32] = "uint32",
                                        [TT_PQ_UINT64] = "uint64", [TT_PQ_FLOAT] = "float", [TT_PQ_DOUBLE] = "double", [TT_PQ_BYTES] = "binary"};
    static const char *const meanings[] = {[TT_PQ_STRING] = "string", [TT_PQ_ENUM] = "enum", [TT_PQ_JSON] = "json", [TT_PQ_BSON] = "bson",
                                           [TT_PQ_UUID] = "uuid", [TT_PQ_DATE] = "date", [TT_PQ_INTERVAL] = "interval",
                                           [TT_PQ_FLOAT16] = "float16", [TT_PQ_NULL] = "null"};
    if (c->shape != TT_PQ_FLAT)
        tt_buf_cstr_put(out, c->shape == TT_PQ_LIST ? "list<" : "nested<");
    if (c->meaning == TT_PQ_DECIMAL)
        tt_buf_printf(out, "decimal(%d,%d)", c->precision, c->scale);
    else if (c->meaning == TT_PQ_TIME || c->meaning == TT_PQ_TIMESTAMP)
        tt_buf_printf(out, "%s[%s%s]", c->meaning == TT_PQ_TIME ? "time" : "timestamp", unit_text(c), c->is_utc ? ", UTC" : "");
    else if (c->meaning < TT_COUNT(meanings) && meanings[c->meaning])
        tt_buf_cstr_put(out, meanings[c->meaning]);
    else if (c->bit_width && c->bit_width < 32)
        tt_buf_printf(out, "%sint%u", c->kind == TT_PQ_UINT32 ? "u" : "", c->bit_width);
    else if (c->kind == TT_PQ_FIXED)
        tt_buf_printf(out, "fixed[%u]", c->width);
    else
        tt_buf_cstr_put(out, kinds[c->kind]);
    if (c->shape != TT_PQ_FLAT)
        tt_buf_char(out, '>');
}

static void put_member(tt_buf *out, const char *name, tt_str value)
{
    tt_buf_printf(out, ",\"%s\":", name);
    tt_buf_json_str(out, value);
}

/* ---- schema ---- */

static void put_hint(tt_buf *out, const char *name, tt_str value)
{
    if (value.len)
        put_member(out, name, value);
    else
        tt_buf_printf(out, ",\"%s\":null", name);
}

static void put_column_json(const tt_pq_column *c, tt_buf *out)
{
    TT_BUF_AUTO tt_buf type = {0};
    put_type(c, &type);
    tt_buf_cstr_put(out, "{\"name\":");
    tt_buf_json_str(out, c->name);
    put_member(out, "path", c->path);
    put_member(out, "type", tt_buf_view(&type));
    put_member(out, "physical", tt_str_of(tt_pq_type_name(c->type)));
    tt_buf_printf(out, ",\"nullable\":%s,\"max_definition_level\":%u,\"max_repetition_level\":%u,\"category\":%s,\"index\":%s",
                  c->is_nullable ? "true" : "false", c->max_def, c->max_rep, c->is_category ? "true" : "false", c->is_index ? "true" : "false");
    put_hint(out, "pandas_type", c->pandas_type);
    put_hint(out, "zone", c->zone);
    tt_buf_char(out, '}');
}

static tt_rc schema_json(tt_cli *cli, const tt_pq_file *f, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_buf_printf(&out, "{\"schema\":1,\"rows\":%llu,\"row_groups\":%u", (unsigned long long)tt_pq_row_count(f), tt_pq_row_group_count(f));
    put_member(&out, "created_by", tt_pq_created_by(f));
    tt_buf_cstr_put(&out, ",\"columns\":[");
    for (uint32_t i = 0; i < tt_pq_column_count(f); i++) {
        if (i)
            tt_buf_char(&out, ',');
        put_column_json(tt_pq_column_at(f, i), &out);
    }
    tt_buf_cstr_put(&out, "]}\n");
    TT_TRY(tt_buf_check(&out, err));
    return tt_out(cli, tt_buf_view(&out), err);
}

static tt_rc schema(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {"COLUMN", "TYPE", "NULLS", "PHYSICAL", NULL};
    TT_PQ_AUTO tt_pq_file *f = NULL;
    TT_TRY(open_operand(cli, &f, err));
    if (tt_cli_json(cli))
        return schema_json(cli, f, err);
    tt_say(cli, "%llu row%s in %u row group%s, written by %.*s", (unsigned long long)tt_pq_row_count(f), TT_S(tt_pq_row_count(f)), tt_pq_row_group_count(f), TT_S(tt_pq_row_group_count(f)),
           TT_STR_ARG(tt_pq_created_by(f)));
    if (tt_pq_stated_row_count(f) != tt_pq_row_count(f))
        tt_say(cli, "the footer says %llu: the row groups count", (unsigned long long)tt_pq_stated_row_count(f));
    tt_table *t = tt_table_new(headings);
    for (uint32_t i = 0; i < tt_pq_column_count(f); i++) {
        const tt_pq_column *c = tt_pq_column_at(f, i);
        TT_BUF_AUTO tt_buf type = {0};
        put_type(c, &type);
        if (c->is_category)
            tt_buf_cstr_put(&type, " category");
        tt_table_cell(t, c->name);
        tt_table_cell(t, tt_buf_view(&type));
        tt_table_cell(t, tt_str_of(c->is_nullable ? "yes" : "no"));
        tt_table_cell(t, tt_str_of(tt_pq_type_name(c->type)));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_parquet_schema, schema)

/* ---- stat ---- */

static void put_bound(const tt_pq_column *c, const tt_pq_bound *b, tt_buf *out)
{
    int32_t i32 = (int32_t)b->i;
    uint32_t u32 = (uint32_t)b->u, start = 0, length = (uint32_t)b->bytes.len;
    float f32 = (float)b->d;
    uint8_t flag = (uint8_t)b->i;
    const void *at[] = {[TT_PQ_BOOL] = &flag, [TT_PQ_INT32] = &i32, [TT_PQ_INT64] = &b->i, [TT_PQ_UINT32] = &u32, [TT_PQ_UINT64] = &b->u,
                        [TT_PQ_FLOAT] = &f32, [TT_PQ_DOUBLE] = &b->d, [TT_PQ_BYTES] = NULL, [TT_PQ_FIXED] = b->bytes.ptr};
    tt_pq_column as = *c;
    if (c->meaning == TT_PQ_DECIMAL && (c->kind == TT_PQ_BYTES || c->kind == TT_PQ_FIXED)) {
        as.kind = TT_PQ_INT64; /* statistics give it as a number */
        at[TT_PQ_INT64] = &b->i;
    }
    tt_pq_text_value(&as, &(tt_pq_values){.fixed = at[as.kind], .base = b->bytes.ptr, .start = &start, .length = &length}, 0, out);
}

static void put_encodings(uint32_t encodings, bool as_json, tt_buf *out)
{
    bool first = true;
    for (int i = 0; i < TT_PQ_ENCODINGS; i++) {
        if (!(encodings >> i & 1))
            continue;
        tt_buf_cstr_put(out, first ? "" : ",");
        tt_buf_printf(out, as_json ? "\"%s\"" : "%s", tt_pq_encoding_name(i));
        first = false;
    }
}

static void put_bound_json(const tt_pq_column *c, const char *name, bool has, const tt_pq_bound *b, tt_buf *out)
{
    tt_buf_printf(out, ",\"%s\":", name);
    if (has)
        put_bound(c, b, out);
    else
        tt_buf_cstr_put(out, "null");
}

/* One line of JSON per chunk. */
static tt_rc put_chunk_json(const tt_pq_file *f, uint32_t g, uint32_t i, tt_buf *out, tt_err *err)
{
    const tt_pq_column *c = tt_pq_column_at(f, i);
    const tt_pq_chunk *k = &tt_pq_row_group_at(f, g)->chunks[i];
    tt_pq_statistics s;
    tt_pq_page_index index;
    tt_arena arena = {0};
    tt_pq_chunk_statistics(f, g, i, &s);
    tt_rc rc = tt_pq_page_index_read(f, g, i, &arena, &index, err);
    tt_buf_printf(out, "{\"row_group\":%u,\"rows\":%llu,\"column\":", g, (unsigned long long)tt_pq_row_group_at(f, g)->row_count);
    tt_buf_json_str(out, c->name);
    put_member(out, "codec", tt_str_of(tt_pq_codec_name(k->codec)));
    tt_buf_cstr_put(out, ",\"encodings\":[");
    put_encodings(k->encodings, true, out);
    tt_buf_printf(out, "],\"values\":%llu,\"bytes\":%llu,\"unpacked_bytes\":%llu,\"nulls\":%lld", (unsigned long long)k->value_count,
                  (unsigned long long)k->length_bytes, (unsigned long long)k->unpacked_bytes, (long long)s.null_count);
    put_bound_json(c, "min", s.has_min, &s.min, out);
    put_bound_json(c, "max", s.has_max, &s.max, out);
    tt_buf_printf(out, ",\"pages\":%u,\"page_statistics\":%s,\"bloom\":%s}\n", index.page_count, index.has_statistics ? "true" : "false",
                  k->bloom_at ? "true" : "false");
    tt_arena_deinit(&arena);
    return rc;
}

static tt_rc stat_json(tt_cli *cli, const tt_pq_file *f, tt_err *err)
{
    for (uint32_t g = 0; g < tt_pq_row_group_count(f); g++)
        for (uint32_t i = 0; i < tt_pq_column_count(f); i++) {
            TT_BUF_AUTO tt_buf out = {0};
            TT_TRY(put_chunk_json(f, g, i, &out, err));
            TT_TRY(tt_buf_check(&out, err));
            TT_TRY(tt_out(cli, tt_buf_view(&out), err));
        }
    return TT_OK;
}

static void add_chunk_row(const tt_pq_file *f, uint32_t g, uint32_t i, tt_table *t)
{
    const tt_pq_column *c = tt_pq_column_at(f, i);
    const tt_pq_chunk *k = &tt_pq_row_group_at(f, g)->chunks[i];
    tt_pq_statistics s;
    TT_BUF_AUTO tt_buf encodings = {0}, min = {0}, max = {0};
    tt_pq_chunk_statistics(f, g, i, &s);
    put_encodings(k->encodings, false, &encodings);
    if (s.has_min)
        put_bound(c, &s.min, &min);
    if (s.has_max)
        put_bound(c, &s.max, &max);
    tt_table_int(t, g);
    tt_table_cell(t, c->name);
    tt_table_cell(t, tt_str_of(tt_pq_codec_name(k->codec)));
    tt_table_cell(t, tt_buf_view(&encodings));
    tt_table_int(t, (int64_t)k->length_bytes);
    tt_table_int(t, (int64_t)k->unpacked_bytes);
    if (s.null_count < 0)
        tt_table_cell(t, TT_STR("?"));
    else
        tt_table_int(t, s.null_count);
    tt_table_cell(t, tt_utf8_slice(tt_buf_view(&min), 24));
    tt_table_cell(t, tt_utf8_slice(tt_buf_view(&max), 24));
}

static tt_rc stat_(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {">GROUP", "COLUMN", "CODEC", "ENCODINGS", ">BYTES", ">UNPACKED", ">NULLS", "MIN", "MAX", NULL};
    TT_PQ_AUTO tt_pq_file *f = NULL;
    TT_TRY(open_operand(cli, &f, err));
    if (tt_cli_json(cli))
        return stat_json(cli, f, err);
    tt_table *t = tt_table_new(headings);
    for (uint32_t g = 0; g < tt_pq_row_group_count(f); g++)
        for (uint32_t i = 0; i < tt_pq_column_count(f); i++)
            add_chunk_row(f, g, i, t);
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_parquet_stat, stat_)

/* ---- cat, head ---- */

static tt_rc flush(tt_cli *cli, tt_buf *out, size_t above, tt_err *err)
{
    if (out->len <= above)
        return TT_OK;
    TT_TRY(tt_buf_check(out, err));
    TT_TRY(tt_out(cli, tt_buf_view(out), err));
    tt_buf_clear(out);
    return TT_OK;
}

static tt_rc print_rows(tt_cli *cli, const tt_pq_file *f, const tt_column_list *columns, uint64_t skip, uint64_t limit, tt_err *err)
{
    TT_PQ_SCAN_AUTO tt_pq_scan *scan = NULL;
    TT_BUF_AUTO tt_buf out = {.limit_bytes = TT_PQ_ROW_TEXT_MAX};
    const tt_pq_batch *batches;
    bool is_csv = tt_cli_has(cli, "--csv");
    tt_pq_put_line_fn *put = is_csv ? tt_pq_put_csv_line : tt_pq_put_json_line;
    TT_TRY(tt_pq_scan_new(f, columns->ptr, (uint32_t)columns->len, limit < BATCH_ROWS ? (limit ? (uint32_t)limit : 1) : BATCH_ROWS, &scan, err));
    TT_TRY(tt_pq_scan_seek(scan, skip < tt_pq_row_count(f) ? skip : tt_pq_row_count(f), err));
    if (is_csv)
        tt_pq_put_csv_header(f, columns->ptr, columns->len, &out);
    for (uint32_t rows; limit; limit -= rows) {
        tt_rc rc = tt_pq_scan_next(scan, limit < BATCH_ROWS ? (uint32_t)limit : BATCH_ROWS, &batches, &rows, err);
        if (rc != TT_OK || rows == 0) {
            TT_TRY(flush(cli, &out, 0, rc == TT_OK ? err : NULL));
            return rc;
        }
        for (uint32_t i = 0; i < rows; i++) {
            put(f, columns->ptr, columns->len, batches, i, &out);
            TT_TRY(tt_buf_check(&out, err));
            TT_TRY(flush(cli, &out, OUT_BYTES, err));
        }
    }
    return flush(cli, &out, 0, err);
}

static tt_rc print_file(tt_cli *cli, uint64_t limit, tt_err *err)
{
    TT_PQ_AUTO tt_pq_file *f = NULL;
    tt_column_list columns = {0};
    uint64_t skip;
    TT_TRY(tt_parse_u64(tt_cli_flag(cli, "--skip"), &skip, err));
    TT_TRY(open_operand(cli, &f, err));
    tt_rc rc = tt_choose_columns(cli, f, &columns, err);
    if (rc == TT_OK)
        rc = print_rows(cli, f, &columns, skip, limit, err);
    tt_vec_deinit(&columns);
    return rc;
}

static tt_rc cat(tt_cli *cli, tt_err *err) { return print_file(cli, UINT64_MAX, err); }
TT_CLI_COMMAND(tt_cmd_parquet_cat, cat)

static tt_rc head(tt_cli *cli, tt_err *err)
{
    uint64_t lines;
    TT_TRY(tt_parse_u64(tt_cli_flag(cli, "--lines"), &lines, err));
    return print_file(cli, lines, err);
}
TT_CLI_COMMAND(tt_cmd_parquet_head, head)
