#include "data/reader.h"

#include "data/csv.h"
#include "data/extension.h"
#include "data/json.h"
#include "data/reader_impl.h"
#include "io/recode.h"

/* To add a reader: write reader_x.c with a row like theirs, declare the row in reader_impl.h, and add it here. */
static const tt_reader_row *const rows[] = {&tt_reader_jsonl, &tt_reader_csv, &tt_reader_parquet};
static const char *const kinds[] = {"JsonlReader", "CsvReader", "ParquetReader", NULL};

static const uint64_t default_item_bytes = 8u << 20;
static const uint64_t max_item_bytes = 512u << 20; /* so that the offsets in a loaded block fit */

const char *const *tt_reader_kinds(void) { return kinds; }

static tt_rc find_row(const tt_reader_spec *spec, const tt_reader_row **ret, tt_err *err)
{
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (spec->kind.len ? tt_str_is(spec->kind, rows[i]->kind) : tt_has_extension(tt_str_of(spec->paths[0]), rows[i]->extensions))
            return *ret = rows[i], TT_OK;
    if (spec->kind.len)
        return tt_fail(err, TT_INVALID, "unknown reader `%.*s`: there are JsonlReader, CsvReader and ParquetReader", TT_STR_ARG(tt_str_slice(spec->kind, 0, 100)));
    return tt_fail(err, TT_INVALID, "the name of `%s` does not say how to read it: name a reader, JsonlReader, CsvReader or ParquetReader", spec->paths[0]);
}

typedef struct {
    const char *member;
    const char *word;
    void (*apply)(tt_reader_options *o);
} option_row;

static void set_strict(tt_reader_options *o) { o->json_strict = true; }
static void set_lax(tt_reader_options *o) { o->json_strict = false; }
static void set_text(tt_reader_options *o) { o->types_text = true; }
static void set_infer(tt_reader_options *o) { o->types_text = false; }
static void set_na_null(tt_reader_options *o) { o->na = TT_NA_NULL; }
static void set_na_keep(tt_reader_options *o) { o->na = TT_NA_KEEP; }

/* To add a choice: a row. Rows of one member stand together. */
static const option_row option_rows[] = {
    {"json", "strict", set_strict},  {"json", "lax", set_lax},       {"types", "text", set_text},
    {"types", "infer", set_infer},   {"na", "null", set_na_null},    {"na", "keep", set_na_keep},
};

static tt_rc apply_word(tt_reader_options *o, const char *member, const json_t *value, tt_err *err)
{
    const char *word = json_string_value(value);
    for (size_t i = 0; word && i < TT_COUNT(option_rows); i++)
        if (strcmp(option_rows[i].member, member) == 0 && strcmp(option_rows[i].word, word) == 0)
            return option_rows[i].apply(o), TT_OK;
    return tt_fail(err, TT_INVALID, "the reader option `%s` cannot be `%.60s`", member, word ? word : "something that is not a text");
}

static tt_rc parse_skip(const json_t *value, tt_reader_options *ret, tt_err *err)
{
    enum { MOST = 1000000 };
    if (!value || json_is_null(value))
        return TT_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > MOST)
        return tt_fail(err, TT_INVALID, "the reader option `skip_rows` is a number of lines, at most %d", MOST);
    ret->skip_rows = (uint32_t)json_integer_value(value);
    return TT_OK;
}

static tt_rc parse_encoding(const json_t *value, tt_reader_options *ret, tt_err *err)
{
    const char *name = NULL;
    if (!value || json_is_null(value))
        return TT_OK;
    if (!json_is_string(value) || json_string_length(value) >= sizeof ret->encoding)
        return tt_fail(err, TT_INVALID, "the reader option `encoding` is the name of one");
    TT_TRY(tt_recode_find(json_string_value(value), &name, err));
    snprintf(ret->encoding, sizeof ret->encoding, "%s", name ? name : "");
    return TT_OK;
}

static tt_rc parse_options(tt_str text, tt_reader_options *ret, tt_err *err)
{
    if (text.len == 0)
        return TT_OK;
    json_error_t fault;
    json_t *root = json_loadb(text.ptr, text.len, 0, &fault);
    tt_rc rc = json_is_object(root) ? TT_OK : tt_fail(err, TT_INVALID, "the reader's options are not a JSON object");
    const json_t *separator = json_object_get(root, "separator");
    for (size_t i = 0; rc == TT_OK && i < TT_COUNT(option_rows); i++) {
        const json_t *value = json_object_get(root, option_rows[i].member);
        bool repeated = i && strcmp(option_rows[i].member, option_rows[i - 1].member) == 0;
        if (value && !json_is_null(value) && !repeated)
            rc = apply_word(ret, option_rows[i].member, value, err);
    }
    if (rc == TT_OK && separator && !json_is_null(separator))
        rc = tt_csv_separator(json_string_value(separator), &ret->separator, err);
    if (rc == TT_OK)
        rc = parse_skip(json_object_get(root, "skip_rows"), ret, err);
    if (rc == TT_OK)
        rc = parse_encoding(json_object_get(root, "encoding"), ret, err);
    json_decref(root);
    return rc;
}

static tt_rc open_files(tt_reader *r, const tt_reader_spec *spec, tt_err *err)
{
    r->files = tt_calloc(spec->path_count, sizeof *r->files);
    if (!r->files)
        return tt_fail(err, TT_NOMEM, "out of memory for %zu input files", spec->path_count);
    for (size_t i = 0; i < spec->path_count; i++, r->file_count++) {
        TT_TRY(tt_source_open_in(spec->roots, tt_str_of(spec->paths[i]), spec->spool_dir, r->options.encoding[0] ? r->options.encoding : NULL, &r->files[i], err));
        if (spec->state.len == 0) /* the plan is going to read it all */
            tt_source_hash_reads(r->files[i]);
    }
    return TT_OK;
}

static tt_rc open_row(tt_reader *r, tt_str state_text, tt_err *err)
{
    json_error_t fault;
    json_t *state = state_text.len ? json_loadb(state_text.ptr, state_text.len, 0, &fault) : NULL;
    if (state_text.len && !json_is_object(state)) {
        json_decref(state);
        return tt_fail(err, TT_CORRUPT, "the kept state of a %s is not a JSON object", r->row->kind);
    }
    tt_marks_load(&r->marks, json_object_get(state, "lines"));
    tt_rc rc = r->row->open(r, state, err);
    json_decref(state);
    return rc;
}

tt_rc tt_reader_open(const tt_reader_spec *spec, tt_reader **ret, tt_err *err)
{
    const tt_reader_row *row = NULL;
    if (spec->path_count == 0 || spec->path_count > UINT32_MAX)
        return tt_fail(err, TT_INVALID, "a reader needs an input file");
    TT_TRY(find_row(spec, &row, err));
    tt_reader *r = TT_NEW(tt_reader);
    r->row = row;
    r->max_item_bytes = spec->max_item_bytes ? spec->max_item_bytes : default_item_bytes;
    if (r->max_item_bytes > max_item_bytes)
        r->max_item_bytes = max_item_bytes;
    tt_marks_init(&r->marks);
    tt_rc rc = parse_options(spec->options, &r->options, err);
    if (rc == TT_OK && row != &tt_reader_csv && r->options.skip_rows)
        rc = tt_fail(err, TT_INVALID, "`%s` is no CSV: `skip_rows` are lines before a header", spec->paths[0]);
    if (rc == TT_OK)
        rc = open_files(r, spec, err);
    if (rc == TT_OK)
        rc = open_row(r, spec->state, err);
    if (spec->state.len) /* planned already */
        tt_window_deinit(&r->window);
    if (rc != TT_OK) {
        tt_reader_close(r);
        return rc;
    }
    *ret = r;
    return TT_OK;
}

void tt_reader_close(tt_reader *r)
{
    if (!r)
        return;
    r->row->close(r);
    for (size_t i = 0; i < r->file_count; i++)
        tt_source_close(r->files[i]);
    free(r->files);
    tt_window_deinit(&r->window);
    tt_marks_deinit(&r->marks);
    tt_buf_deinit(&r->header);
    free(r);
}

const char *tt_reader_kind(const tt_reader *r) { return r->row->kind; }
size_t tt_reader_file_count(const tt_reader *r) { return r->file_count; }
bool tt_reader_plans_first(const tt_reader *r) { return r->row->plans_first(r); }
tt_str tt_reader_header(const tt_reader *r) { return tt_buf_view(&r->header); }

tt_source *tt_reader_file(const tt_reader *r, size_t file_no)
{
    tt_assert(file_no < r->file_count);
    return r->files[file_no];
}

tt_rc tt_reader_next_block(tt_reader *r, const tt_block *prev, tt_block *ret, tt_err *err)
{
    tt_block next = {0};
    if (prev->count)
        next = (tt_block){.first_id = prev->first_id + prev->count, .file_no = prev->file_no, .offset = prev->offset + prev->length_bytes};
    for (; next.file_no < r->file_count; next.file_no++, next.offset = 0) {
        TT_TRY(r->row->next_in_file(r, &next, err));
        if (next.count)
            break;
    }
    if (next.count == 0) /* the plan is done; a job may live for long */
        tt_window_deinit(&r->window);
    *ret = next;
    return TT_OK;
}

void tt_reader_state(const tt_reader *r, tt_buf *out)
{
    json_t *state = json_pack("{s:s}", "kind", r->row->kind);
    json_object_set_new(state, "lines", tt_marks_json((tt_marks *)&r->marks));
    r->row->state(r, state);
    char *text = json_dumps(state, JSON_COMPACT);
    if (text)
        tt_buf_cstr_put(out, text);
    else
        out->failed = true;
    free(text);
    json_decref(state);
}

/* Blocks come back from a ledger: what they say is checked before memory is taken for it. */
static tt_rc check_block(const tt_reader *r, const tt_block *b, tt_err *err)
{
    if (b->count == 0 || b->count > TT_BLOCK_ITEMS || b->file_no >= r->file_count || b->offset > INT64_MAX || b->length_bytes > INT64_MAX ||
        (b->count > 1 && b->length_bytes > TT_BLOCK_BYTES))
        return tt_fail(err, TT_CORRUPT, "a block of %u records and %" PRIu64 " bytes in file %u cannot be: start the job anew", b->count,
                       b->length_bytes, b->file_no);
    return TT_OK;
}

tt_rc tt_reader_load(tt_reader *r, const tt_block *block, tt_loaded **ret, tt_err *err)
{
    TT_TRY(check_block(r, block, err));
    return r->row->load(r, block, ret, err);
}

tt_rc tt_reader_changed(tt_reader *r, const tt_block *block, tt_err *err)
{
    return tt_fail(err, TT_CONFLICT, "`%s` has changed: the %u records from byte %" PRIu64 " on are not what they were when the job was planned",
                   tt_source_path(r->files[block->file_no]), block->count, block->offset);
}

tt_rc tt_reader_read_block(tt_reader *r, const tt_block *block, size_t front, char **ret, tt_err *err)
{
    size_t length = (size_t)block->length_bytes, got = 0, capacity;
    if (__builtin_add_overflow(length, front + TT_JSON_PADDING, &capacity))
        return tt_fail(err, TT_TOO_LARGE, "a block of %" PRIu64 " bytes is too large", block->length_bytes);
    char *bytes = tt_malloc(capacity);
    if (!bytes)
        return tt_fail(err, TT_NOMEM, "out of memory for a block of %zu bytes", length);
    tt_rc rc = tt_source_read_at(r->files[block->file_no], block->offset, bytes + front, length, &got, err);
    if (rc == TT_OK && got < length)
        rc = tt_reader_changed(r, block, err);
    if (rc != TT_OK) {
        free(bytes);
        return rc;
    }
    memset(bytes + front + length, 0, TT_JSON_PADDING);
    *ret = bytes;
    return TT_OK;
}

tt_rc tt_reader_load_oversized(tt_reader *r, const tt_block *block, const char *reason, tt_loaded **ret, tt_err *err)
{
    char text[TT_BAD_TEXT_BYTES];
    size_t got = 0;
    TT_TRY(tt_source_read_at(r->files[block->file_no], block->offset, text, sizeof text, &got, err));
    tt_loaded *l = NULL;
    TT_TRY(tt_loaded_new(block, &l, err));
    tt_bad_record bad = {.line = tt_marks_line(&r->marks, block->file_no, block->first_id), .offset = block->offset, .text = {text, got}};
    bad.reason = tt_loaded_reason(l, "%s (%" PRIu64 " bytes; the limit is %" PRIu64 ")", reason, block->length_bytes, r->max_item_bytes);
    tt_rc rc = tt_loaded_add_bad(l, &bad, err);
    if (rc != TT_OK) {
        tt_loaded_unref(l);
        return rc;
    }
    tt_loaded_finish(l, 0);
    *ret = l;
    return TT_OK;
}
