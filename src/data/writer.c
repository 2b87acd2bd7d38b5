#include "data/writer.h"

#include "base/mem.h"
#include "data/extension.h"
#include "data/lines.h"
#include "data/writer_impl.h"

/* To add a writer: write writer_x.c with a row like theirs, declare the row in writer_impl.h, and add it and its name here. */
static const tt_writer_row *const rows[] = {&tt_writer_jsonl, &tt_writer_csv, &tt_writer_parquet};
static const char *const kinds[] = {"JsonlWriter", "CsvWriter", "ParquetWriter", NULL};

const char *const *tt_writer_kinds(void) { return kinds; }

static tt_rc find_row(const tt_writer_spec *spec, const tt_writer_row **ret, tt_err *err)
{
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (spec->kind.len ? tt_str_is(spec->kind, rows[i]->kind) : tt_has_extension(spec->output_path, rows[i]->extensions))
            return *ret = rows[i], TT_OK;
    if (spec->kind.len)
        return tt_fail(err, TT_INVALID, "unknown writer `%.*s`: there are JsonlWriter, CsvWriter and ParquetWriter", TT_STR_ARG(tt_str_slice(spec->kind, 0, 100)));
    return tt_fail(err, TT_INVALID, "the name of `%.*s` does not say how to write it: name a writer, JsonlWriter, CsvWriter or ParquetWriter",
                   TT_STR_ARG(tt_str_slice(spec->output_path, 0, 200)));
}

static tt_rc parse_object(tt_str text, const char *what, json_t **ret, tt_err *err)
{
    json_t *root = text.len ? json_loadb(text.ptr, text.len, JSON_ALLOW_NUL, NULL) : json_object();
    if (!json_is_object(root)) {
        json_decref(root);
        return tt_fail(err, TT_INVALID, "%s is not a JSON object", what);
    }
    *ret = root;
    return TT_OK;
}

tt_rc tt_writer_open(const tt_writer_spec *spec, tt_writer **ret, tt_err *err)
{
    const tt_writer_row *row = NULL;
    json_t *options = NULL;
    TT_TRY(find_row(spec, &row, err));
    TT_TRY(parse_object(spec->options, "the writer's options", &options, err));
    tt_writer *w = TT_NEW(tt_writer);
    w->row = row;
    tt_rc rc = row->open(w, spec, options, err);
    json_decref(options);
    if (rc == TT_OK && spec->state.len)
        rc = tt_writer_restore(w, spec->state, err);
    if (rc != TT_OK) {
        tt_writer_close(w);
        return rc;
    }
    *ret = w;
    return TT_OK;
}

void tt_writer_close(tt_writer *w)
{
    if (!w)
        return;
    w->row->close(w);
    free(w);
}

const char *tt_writer_kind(const tt_writer *w) { return w->row->kind; }
bool tt_writer_is_plain(const tt_writer *w) { return w->row->plain; }

tt_rc tt_writer_put(tt_writer *w, tt_str value, tt_buf *out, tt_err *err)
{
    size_t before = out->len;
    tt_rc rc = w->row->put(w, value, out, err);
    if (rc == TT_OK)
        rc = tt_buf_check(out, err);
    if (rc != TT_OK)
        out->len = before;
    return rc;
}

void tt_writer_state(const tt_writer *w, tt_buf *out)
{
    json_t *state = json_pack("{s:s}", "kind", w->row->kind);
    w->row->state(w, state);
    char *text = json_dumps(state, JSON_COMPACT);
    if (text)
        tt_buf_cstr_put(out, text);
    else
        out->failed = true;
    free(text);
    json_decref(state);
}

tt_rc tt_writer_restore(tt_writer *w, tt_str text, tt_err *err)
{
    json_t *state = NULL;
    TT_TRY(parse_object(text, "the kept state of a writer", &state, err));
    tt_rc rc = w->row->restore(w, state, err);
    json_decref(state);
    return rc;
}

void tt_writer_rewind(tt_writer *w)
{
    if (w->row->rewind)
        w->row->rewind(w);
}

void tt_writer_put_value(tt_buf *out, tt_str value)
{
    size_t from = out->len;
    tt_buf_str(out, value);
    if (out->failed || !value.len)
        return;
    char *end = out->ptr + out->len;
    for (char *p = out->ptr + from; (p = (char *)tt_line_end(p, end)) < end;)
        *p = ' ';
}
