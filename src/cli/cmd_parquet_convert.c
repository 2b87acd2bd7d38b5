/* `tutti parquet convert`: CSV and JSON lines into Parquet, Parquet into them or into another Parquet file. */
#include <errno.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"
#include "cli/parquet_columns.h"
#include "data/extension.h"
#include "data/parquet/codec.h"
#include "data/parquet/records.h"
#include "data/parquet/rows.h"
#include "data/parquet/scan.h"
#include "io/whole_file.h"

enum { BATCH_ROWS = 4096 };

static const char *const parquet_names[] = {".parquet", ".pq", NULL};
static const char *const csv_names[] = {".csv", NULL};
static const char *const jsonl_names[] = {".jsonl", ".ndjson", NULL};

/* ---- settings ---- */

static tt_rc codec_of(tt_cli *cli, tt_pq_codec *ret, tt_err *err)
{
    tt_str name = tt_cli_flag(cli, "--codec");
    if (tt_pq_codec_find(name, ret))
        return TT_OK;
    return tt_fail(err, TT_USAGE, "--codec %.*s: cannot be written: use zstd, snappy, lz4_raw, gzip or none", TT_STR_ARG(name));
}

static tt_rc writer_options(tt_cli *cli, tt_pq_writer_options *ret, tt_err *err)
{
    TT_TRY(codec_of(cli, &ret->codec, err));
    TT_TRY(tt_parse_u64(tt_cli_flag(cli, "--group-rows"), &ret->group_rows, err));
    TT_TRY(tt_parse_size(tt_cli_flag(cli, "--group-size"), &ret->group_bytes, err));
    return ret->group_rows && ret->group_bytes ? TT_OK : tt_fail(err, TT_USAGE, "a row group needs at least one row: --group-rows and --group-size are 1 or more");
}

/* ---- records into Parquet ---- */

static tt_rc declare(tt_cli *cli, tt_pq_table *table, tt_err *err)
{
    tt_str value;
    for (size_t at = 0; tt_cli_flag_next(cli, "--column", &at, &value);) {
        ptrdiff_t sign = tt_str_find(value, '=');
        if (sign < 1)
            return tt_fail(err, TT_USAGE, "--column %.*s: write NAME=TYPE", TT_STR_ARG(value));
        TT_TRY(tt_pq_table_declare(table, tt_str_slice(value, 0, (size_t)sign), tt_str_slice(value, (size_t)sign + 1, value.len), err));
    }
    return TT_OK;
}

static tt_rc into_parquet(tt_cli *cli, tt_reader *r, const char *output, tt_err *err)
{
    TT_PQ_TABLE_AUTO tt_pq_table *table = NULL;
    TT_PQ_WRITER_AUTO tt_pq_writer *writer = NULL;
    tt_pq_writer_options options = {0};
    TT_TRY(writer_options(cli, &options, err));
    TT_TRY(tt_pq_table_new(&table, err));
    TT_TRY(tt_pq_records_plan(r, table, err));
    TT_TRY(declare(cli, table, err));
    TT_TRY(tt_pq_records_see(r, table, err));
    options.field_count = tt_pq_table_fields(table, &options.fields);
    if (options.field_count == 0)
        return tt_fail(err, TT_INVALID, "%.*s: no record has a member: a Parquet file needs a column (--column NAME=TYPE declares one)", TT_STR_ARG(tt_cli_operand(cli, 0)));
    TT_TRY(tt_pq_writer_create(output, &options, &writer, err));
    TT_TRY(tt_pq_records_put(r, table, writer, err));
    return tt_pq_writer_finish(writer, err);
}

static tt_rc records_into_parquet(tt_cli *cli, const char *input, const char *output, tt_err *err)
{
    tt_roots *roots = NULL;
    tt_reader *r = NULL;
    char *paths[] = {realpath(input, NULL)};
    if (!paths[0])
        return tt_fail_errno(err, errno, "%s: cannot open", input);
    const char *spool = getenv("TMPDIR");
    tt_rc rc = tt_roots_new((tt_str[]){TT_STR("/")}, 1, &roots, err);
    if (rc == TT_OK)
        rc = tt_reader_open(&(tt_reader_spec){.roots = roots, .spool_dir = spool && *spool ? spool : "/tmp", .paths = paths, .path_count = 1}, &r, err);
    if (rc == TT_OK)
        rc = into_parquet(cli, r, output, err);
    tt_reader_close(r);
    tt_roots_free(roots);
    free(paths[0]);
    return rc;
}

/* ---- Parquet into others ---- */

static tt_rc rows_into_parquet(tt_cli *cli, const tt_pq_file *f, const tt_column_list *columns, tt_pq_scan *scan, const char *output, tt_err *err)
{
    TT_PQ_WRITER_AUTO tt_pq_writer *writer = NULL;
    tt_pq_writer_options options = {.field_count = (uint32_t)columns->len};
    const tt_pq_batch *batches;
    TT_TRY(writer_options(cli, &options, err));
    tt_pq_field *fields = tt_arena_alloc(tt_cli_arena(cli), (columns->len + 1) * sizeof *fields);
    if (!fields)
        return tt_fail(err, TT_NOMEM, "out of memory");
    for (size_t i = 0; i < columns->len; i++)
        fields[i] = tt_pq_field_of(tt_pq_column_at(f, columns->ptr[i]));
    options.fields = fields;
    TT_TRY(tt_pq_writer_create(output, &options, &writer, err));
    for (uint32_t rows;;) {
        TT_TRY(tt_pq_scan_next(scan, BATCH_ROWS, &batches, &rows, err));
        if (rows == 0)
            return tt_pq_writer_finish(writer, err);
        for (uint32_t k = 0; k < rows; k++) {
            for (uint32_t i = 0; i < columns->len; i++)
                tt_pq_put_row(writer, i, tt_pq_column_at(f, columns->ptr[i]), &batches[i], k);
            TT_TRY(tt_pq_end_row(writer, err));
        }
    }
}

static tt_rc rows_into_text(const tt_pq_file *f, const tt_column_list *columns, tt_pq_scan *scan, const char *output, tt_err *err)
{
    TT_WHOLE_FILE_AUTO tt_whole_file *file = NULL;
    const tt_pq_batch *batches;
    bool is_csv = tt_has_extension(tt_str_of(output), csv_names);
    tt_pq_put_line_fn *put_line = is_csv ? tt_pq_put_csv_line : tt_pq_put_json_line;
    TT_TRY(tt_whole_file_create(output, &file, err));
    tt_whole_file_out(file)->limit_bytes = TT_PQ_ROW_TEXT_MAX;
    if (is_csv)
        tt_pq_put_csv_header(f, columns->ptr, columns->len, tt_whole_file_out(file));
    for (uint32_t rows;;) {
        TT_TRY(tt_pq_scan_next(scan, BATCH_ROWS, &batches, &rows, err));
        if (rows == 0)
            return tt_whole_file_finish(file, err);
        for (uint32_t i = 0; i < rows; i++) {
            put_line(f, columns->ptr, columns->len, batches, i, tt_whole_file_out(file));
            TT_TRY(tt_whole_file_flush(file, err));
        }
    }
}

static tt_rc from_parquet(tt_cli *cli, const char *input, const char *output, tt_err *err)
{
    TT_PQ_AUTO tt_pq_file *f = NULL;
    TT_PQ_SCAN_AUTO tt_pq_scan *scan = NULL;
    tt_column_list columns = {0};
    bool to_parquet = tt_has_extension(tt_str_of(output), parquet_names);
    if (!to_parquet && !tt_has_extension(tt_str_of(output), csv_names) && !tt_has_extension(tt_str_of(output), jsonl_names))
        return tt_fail(err, TT_USAGE, "%s: cannot tell the form of the output: name it .csv, .jsonl or .parquet", output);
    if (tt_is_packed_name(tt_str_of(output)))
        return tt_fail(err, TT_UNSUPPORTED, "%s: compressed text is not written: write it plain and compress it", output);
    TT_TRY(tt_pq_open(input, NULL, &f, err));
    tt_rc rc = tt_choose_columns(cli, f, &columns, err);
    if (rc == TT_OK)
        rc = tt_pq_scan_new(f, columns.ptr, (uint32_t)columns.len, BATCH_ROWS, &scan, err);
    if (rc == TT_OK)
        rc = to_parquet ? rows_into_parquet(cli, f, &columns, scan, output, err) : rows_into_text(f, &columns, scan, output, err);
    tt_vec_deinit(&columns);
    return rc;
}

/* ---- the command ---- */

static tt_rc check_input(const char *input, tt_err *err)
{
    static const char *const names[] = {".csv", ".tsv", ".jsonl", ".ndjson", ".json", NULL};
    struct stat st;
    if (stat(input, &st) != 0)
        return tt_fail_errno(err, errno, "%s: cannot open", input);
    if (S_ISDIR(st.st_mode))
        return tt_fail(err, TT_USAGE, "%s is a directory: give one of its files", input);
    if (!tt_has_extension(tt_str_of(input), names))
        return tt_fail(err, TT_USAGE, "%s: its name does not say what it is: let it end in .csv, .tsv, .jsonl, .ndjson or .parquet", input);
    return TT_OK;
}

static tt_rc convert(tt_cli *cli, tt_err *err)
{
    const char *input = tt_cli_operand(cli, 0).ptr, *output = tt_cli_operand(cli, 1).ptr;
    bool reads_parquet = tt_has_extension(tt_str_of(input), parquet_names), writes_parquet = tt_has_extension(tt_str_of(output), parquet_names);
    if (!reads_parquet && !writes_parquet)
        return tt_fail(err, TT_USAGE, "neither %s nor %s is a Parquet file by its name: one must end in .parquet", input, output);
    if (!reads_parquet)
        TT_TRY(check_input(input, err));
    if (reads_parquet && tt_cli_has(cli, "--column"))
        return tt_fail(err, TT_USAGE, "--column: a Parquet input has its types: the flag is for CSV and JSON lines");
    if (!reads_parquet && tt_cli_has(cli, "--columns"))
        return tt_fail(err, TT_USAGE, "--columns: only of a Parquet input can columns be chosen");
    return reads_parquet ? from_parquet(cli, input, output, err) : records_into_parquet(cli, input, output, err);
}
TT_CLI_COMMAND(tt_cmd_parquet_convert, convert)
