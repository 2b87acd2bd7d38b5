/* `tutti lake diff`: what changed between two datasets, or two runs of one. */
#include "cli/cmds.h"
#include "cli/lake.h"
#include "cli/output.h"
#include "data/frame_out.h"
#include "lake/diff.h"

#define CHANGE "__change"

/* Where the rows go: JSON lines on standard output, or a file with a column for the change in front. */
typedef struct {
    tt_cli_lake *l;
    const char *path;       /* NULL: standard output */
    tt_frame_out *out;
    tt_pq_field *fields;
    tt_rows rows;           /* with the column in front, of the row in hand */
    tt_buf text;
} writer;

static tt_rc take_columns(void *arg, const tt_pq_field *fields, uint32_t count, tt_err *err)
{
    writer *w = arg;
    w->fields = tt_arena_alloc(w->l->arena, ((size_t)count + 1) * sizeof *w->fields);
    w->rows.cells = tt_arena_alloc(w->l->arena, ((size_t)count + 1) * TT_FRAME_ROWS * sizeof *w->rows.cells);
    if (!w->fields || !w->rows.cells)
        return tt_fail(err, TT_NOMEM, "out of memory");
    w->fields[0] = (tt_pq_field){.name = TT_STR(CHANGE), .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING};
    memcpy(w->fields + 1, fields, count * sizeof *fields);
    w->rows.fields = w->fields;
    w->rows.field_count = count + 1;
    tt_frame_out_spec spec = {.path = w->path, .fields = w->fields, .field_count = count + 1};
    return w->path ? tt_frame_out_create(&spec, &w->out, err) : TT_OK;
}

static tt_rc flush(writer *w, size_t above, tt_err *err)
{
    TT_TRY(tt_buf_check(&w->text, err));
    if (w->text.len > above) {
        TT_TRY(tt_out(w->l->cli, tt_buf_view(&w->text), err));
        tt_buf_clear(&w->text);
    }
    return TT_OK;
}

static tt_rc take_row(void *arg, const char *change, const tt_rows *rows, uint32_t r, tt_err *err)
{
    enum { OUT_BYTES = 1 << 16 };
    writer *w = arg;
    *tt_rows_cell(&w->rows, 0, 0) = (tt_datum){.kind = TT_DATUM_BYTES, .bytes = tt_str_of(change)};
    for (uint32_t i = 0; i < rows->field_count; i++)
        *tt_rows_cell(&w->rows, i + 1, 0) = *tt_rows_cell(rows, i, r);
    if (w->out)
        return tt_frame_out_put(w->out, &w->rows, 0, err);
    tt_rows_json_line(&w->rows, 0, &w->text);
    return flush(w, OUT_BYTES, err);
}

static tt_rc run_flag(tt_cli_lake *l, const char *flag, tt_diff_side *side, tt_err *err)
{
    tt_str text = tt_cli_flag(l->cli, flag);
    side->has_run = text.ptr != NULL;
    return text.ptr ? tt_parse_i64(text, &side->run_id, err) : TT_OK;
}

static tt_rc finish(writer *w, const tt_diff_result *done, tt_err *err)
{
    if (w->out)
        TT_TRY(tt_frame_out_finish(w->out, err));
    TT_TRY(flush(w, 0, err));
    tt_say(w->l->cli, "run %lld to run %lld: %llu added, %llu removed, %llu changed, %llu the same", (long long)done->older_run, (long long)done->newer_run,
           (unsigned long long)done->added, (unsigned long long)done->removed, (unsigned long long)done->changed, (unsigned long long)done->same);
    return TT_OK;
}

static tt_rc diff_verb(tt_cli_lake *l, tt_err *err)
{
    enum { MOST_KEYS = 64 };
    tt_str keys[MOST_KEYS], value, one;
    tt_contract older, newer;
    writer w = {.l = l, .path = tt_cli_flag(l->cli, "--output").ptr};
    tt_diff_spec spec = {.older = {.contract = &older}, .newer = {.contract = &newer}, .keys = keys, .row = take_row, .columns = take_columns, .arg = &w};
    tt_diff_result done;
    TT_TRY(tt_cli_contract(l, &older, err));
    newer = older;
    if (tt_cli_operand_count(l->cli) > 1)
        TT_TRY(tt_contract_parse(tt_cli_operand(l->cli, 1), &l->home, l->arena, &newer, err));
    TT_TRY(run_flag(l, "--from", &spec.older, err));
    TT_TRY(run_flag(l, "--to", &spec.newer, err));
    for (size_t at = 0; tt_cli_flag_next(l->cli, "--key", &at, &value);)
        while (tt_str_cut(&value, ',', &one)) {
            if (spec.key_count == MOST_KEYS)
                return tt_fail(err, TT_USAGE, "--key: more than %d columns", MOST_KEYS);
            keys[spec.key_count++] = one;
        }
    tt_rc rc = tt_lake_diff(l->store, &spec, &done, err);
    if (rc == TT_OK)
        rc = finish(&w, &done, err);
    tt_frame_out_free(w.out);
    tt_buf_deinit(&w.text);
    return rc;
}
static tt_rc diff(tt_cli *cli, tt_err *err) { return tt_cli_with_lake(cli, diff_verb, err); }
TT_CLI_COMMAND(tt_cmd_lake_diff, diff)
