/* CSV and TSV. The first value that is put fixes the columns, for good (they are part of the state):
 *   an array as long as the input's header, or an object whose members are all in it: the columns of the input's header
 *   another object: its members' names, in their order
 *   another array: so many columns without names, and no header line
 * The header line goes before the first row, unless the output had rows already. Later arrays of another length and objects with an unknown
 * member are refused; members that are missing are empty cells. Text as it is, in quotes where it must be, and when it is empty (an empty
 * cell is null); bools as True and False, as pandas writes them; numbers byte for byte; arrays and objects as JSON text. */
#include "base/map.h"
#include "base/vec.h"
#include "data/csv.h"
#include "data/json.h"
#include "data/writer_impl.h"

typedef struct {
    char separator;
    bool output_has_rows;
    json_t *input_header; /* array of strings, or NULL */
    bool started;         /* the columns are fixed */
    bool header_due;      /* the header line stands before the next row */
    json_t *columns;      /* array of strings, or NULL: without names */
    size_t width;
    tt_map places;        /* a column's name -> its place + 1 */
    TT_VEC(tt_str) cells; /* of one row; ptr NULL: missing */
    tt_buf scratch;
} csv_writer;

static tt_rc open_csv(tt_writer *w, const tt_writer_spec *spec, const json_t *options, tt_err *err)
{
    csv_writer *c = w->own = TT_NEW(csv_writer);
    const json_t *separator = json_object_get(options, "separator");
    c->output_has_rows = spec->output_has_rows;
    c->separator = tt_csv_usual_separator(spec->output_path);
    if (separator && !json_is_null(separator))
        TT_TRY(tt_csv_separator(json_string_value(separator), &c->separator, err));
    if (spec->header.len == 0)
        return TT_OK;
    c->input_header = json_loadb(spec->header.ptr, spec->header.len, JSON_ALLOW_NUL, NULL);
    if (!json_is_array(c->input_header))
        return tt_fail(err, TT_INVALID, "the input's header is not a JSON array");
    return TT_OK;
}

static void forget_columns(csv_writer *c)
{
    tt_map_deinit(&c->places);
    json_decref(c->columns);
    c->columns = NULL;
    c->width = 0;
    c->started = c->header_due = false;
}

static void close_csv(tt_writer *w)
{
    csv_writer *c = w->own;
    if (!c)
        return;
    forget_columns(c);
    json_decref(c->input_header);
    tt_vec_deinit(&c->cells);
    tt_buf_deinit(&c->scratch);
    free(c);
}

static tt_str name_at(const json_t *names, size_t i)
{
    const json_t *name = json_array_get(names, i);
    return (tt_str){json_string_value(name), json_string_length(name)};
}

/* Takes over names (may be NULL). */
static tt_rc use_columns(csv_writer *c, json_t *names, size_t width, tt_err *err)
{
    c->columns = names;
    c->width = width;
    for (size_t i = 0; names && i < width; i++) {
        tt_str name = name_at(names, i);
        if (!tt_map_get(&c->places, name) && !tt_map_put(&c->places, name, (void *)(uintptr_t)(i + 1), NULL))
            return tt_fail(err, TT_NOMEM, "out of memory for %zu columns", width);
    }
    c->started = true;
    return TT_OK;
}

static void rewind_csv(tt_writer *w)
{
    csv_writer *c = w->own;
    c->header_due = c->columns && !c->output_has_rows;
}

static void add_state(const tt_writer *w, json_t *out)
{
    const csv_writer *c = w->own;
    json_object_set_new(out, "started", json_boolean(c->started));
    json_object_set_new(out, "width", json_integer((json_int_t)c->width));
    if (c->columns)
        json_object_set(out, "columns", c->columns);
}

static tt_rc restore(tt_writer *w, const json_t *state, tt_err *err)
{
    csv_writer *c = w->own;
    json_t *columns = json_object_get(state, "columns");
    json_int_t width = json_integer_value(json_object_get(state, "width"));
    forget_columns(c);
    if (!json_is_true(json_object_get(state, "started")))
        return TT_OK;
    if (width < 1 || width > TT_CSV_MAX_COLUMNS || (columns && json_array_size(columns) != (size_t)width))
        return tt_fail(err, TT_CORRUPT, "the kept state of a CsvWriter does not say its columns");
    return use_columns(c, json_incref(columns), (size_t)width, err);
}

/* One row: its cells as JSON values. */

static tt_rc too_wide(tt_err *err) { return tt_fail(err, TT_INVALID, "more than %d columns", TT_CSV_MAX_COLUMNS); }

static tt_rc array_cells(csv_writer *c, tt_str value, tt_err *err)
{
    tt_json_iter it;
    tt_str cell;
    tt_vec_clear(&c->cells);
    if (!tt_json_enter(value, &it))
        return tt_fail(err, TT_INVALID, "not an array");
    while (tt_json_next_element(&it, &cell)) {
        if (c->cells.len == TT_CSV_MAX_COLUMNS)
            return too_wide(err);
        if (!tt_vec_push(&c->cells, cell))
            return tt_fail(err, TT_NOMEM, "out of memory for a row");
    }
    return TT_OK;
}

static bool has_escape(tt_str raw) { return raw.len && memchr(raw.ptr, '\\', raw.len); }

/* raw: between the quotes. */
static tt_str unescaped(csv_writer *c, tt_str raw)
{
    if (!has_escape(raw))
        return raw;
    tt_buf_clear(&c->scratch);
    tt_json_unescape((tt_str){raw.ptr - 1, raw.len + 2}, &c->scratch);
    return tt_buf_view(&c->scratch);
}

/* Of several members with one name the last counts. */
static tt_rc object_cells(csv_writer *c, tt_str value, tt_err *err)
{
    tt_json_iter it;
    tt_str key, cell;
    size_t next = 0;
    tt_vec_clear(&c->cells);
    if (!tt_json_enter(value, &it) || !tt_vec_reserve(&c->cells, c->width))
        return tt_fail(err, TT_NOMEM, "out of memory for a row");
    memset(c->cells.ptr, 0, c->width * sizeof *c->cells.ptr);
    c->cells.len = c->width;
    while (tt_json_next_member(&it, &key, &cell)) {
        key = unescaped(c, key);
        /* Members mostly come in the columns' order. */
        size_t place = next < c->width && c->columns && tt_str_eq(key, name_at(c->columns, next)) && !c->cells.ptr[next].ptr
                           ? next + 1 : (uintptr_t)tt_map_get(&c->places, key);
        if (place == 0)
            return tt_fail(err, TT_INVALID, "the output has no column `%.*s`", TT_STR_ARG(tt_str_slice(key, 0, 100)));
        c->cells.ptr[place - 1] = cell;
        next = place;
    }
    return TT_OK;
}

/* The first value decides the columns. */

static tt_rc member_names(csv_writer *c, tt_str value, json_t *names, tt_err *err)
{
    tt_json_iter it;
    tt_str key, ignored;
    bool entered = tt_json_enter(value, &it);
    while (entered && tt_json_next_member(&it, &key, &ignored)) {
        key = unescaped(c, key);
        if (json_array_size(names) == TT_CSV_MAX_COLUMNS)
            return too_wide(err);
        if (tt_map_get(&c->places, key))
            continue;
        if (json_array_append_new(names, json_stringn(key.ptr, key.len)) != 0 ||
            !tt_map_put(&c->places, key, (void *)(uintptr_t)json_array_size(names), NULL))
            return tt_fail(err, TT_NOMEM, "out of memory for %zu columns", json_array_size(names));
    }
    return TT_OK;
}

static tt_rc columns_of_object(csv_writer *c, tt_str value, tt_err *err)
{
    if (c->input_header) {
        TT_TRY(use_columns(c, json_incref(c->input_header), json_array_size(c->input_header), err));
        if (object_cells(c, value, NULL) == TT_OK)
            return TT_OK;
        forget_columns(c);
    }
    json_t *names = json_array();
    tt_rc rc = member_names(c, value, names, err);
    if (rc == TT_OK && json_array_size(names) == 0)
        rc = tt_fail(err, TT_INVALID, "an empty object cannot be the first row: it names no columns");
    if (rc != TT_OK) {
        json_decref(names);
        return rc;
    }
    return use_columns(c, names, json_array_size(names), err);
}

static tt_rc columns_of_array(csv_writer *c, tt_str value, tt_err *err)
{
    TT_TRY(array_cells(c, value, err));
    if (c->cells.len == 0)
        return tt_fail(err, TT_INVALID, "an empty array cannot be the first row: it has no columns");
    bool as_input = c->input_header && json_array_size(c->input_header) == c->cells.len;
    return use_columns(c, as_input ? json_incref(c->input_header) : NULL, c->cells.len, err);
}

/* Bytes of the row. */

static bool needs_quotes(const csv_writer *c, tt_str text)
{
    bool blank = true;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];
        if (byte == c->separator || byte == '"' || byte == '\n' || byte == '\r')
            return true;
        blank = blank && (byte == ' ' || byte == '\t');
    }
    return blank && (text.len == 0 || c->width == 1); /* a line of blanks is no row */
}

static void put_text(const csv_writer *c, tt_str text, tt_buf *out)
{
    if (!needs_quotes(c, text)) {
        tt_buf_str(out, text);
        return;
    }
    tt_buf_char(out, '"');
    while (text.len) {
        ptrdiff_t quote = tt_str_find(text, '"');
        size_t plain = quote < 0 ? text.len : (size_t)quote + 1;
        tt_buf_put(out, text.ptr, plain);
        if (quote >= 0)
            tt_buf_char(out, '"');
        text = tt_str_slice(text, plain, text.len);
    }
    tt_buf_char(out, '"');
}

static void put_cell(csv_writer *c, tt_str cell, tt_buf *out)
{
    switch (cell.len ? cell.ptr[0] : 'n') {
    case '"': put_text(c, unescaped(c, tt_str_slice(cell, 1, cell.len - 1)), out); break;
    case 't': tt_buf_cstr_put(out, "True"); break;
    case 'f': tt_buf_cstr_put(out, "False"); break;
    case 'n': tt_buf_cstr_put(out, c->width == 1 ? "\"\"" : ""); break; /* an empty line is no row */
    case '[': case '{':
        tt_buf_clear(&c->scratch);
        tt_writer_put_value(&c->scratch, cell);
        put_text(c, tt_buf_view(&c->scratch), out);
        break;
    default: tt_buf_str(out, cell); break;
    }
}

static void put_header(csv_writer *c, tt_buf *out)
{
    for (size_t i = 0; i < c->width; i++) {
        if (i)
            tt_buf_char(out, c->separator);
        put_text(c, name_at(c->columns, i), out);
    }
    tt_buf_char(out, '\n');
}

static void put_cells(csv_writer *c, tt_buf *out)
{
    for (size_t i = 0; i < c->width; i++) {
        if (i)
            tt_buf_char(out, c->separator);
        put_cell(c, c->cells.ptr[i], out);
    }
    tt_buf_char(out, '\n');
}

static tt_rc row_cells(csv_writer *c, tt_str value, tt_err *err)
{
    if (value.ptr[0] == '{')
        return object_cells(c, value, err);
    TT_TRY(array_cells(c, value, err));
    if (c->cells.len != c->width)
        return tt_fail(err, TT_INVALID, "the row has %zu cells, the output %zu columns", c->cells.len, c->width);
    return TT_OK;
}

static tt_rc put_row(csv_writer *c, tt_str value, tt_buf *out, tt_err *err)
{
    TT_TRY(row_cells(c, value, err));
    if (c->header_due)
        put_header(c, out);
    c->header_due = false;
    put_cells(c, out);
    return tt_buf_check(&c->scratch, err);
}

static tt_rc put(tt_writer *w, tt_str value, tt_buf *out, tt_err *err)
{
    csv_writer *c = w->own;
    if (value.len < 2 || (value.ptr[0] != '[' && value.ptr[0] != '{'))
        return tt_fail(err, TT_INVALID, "a CSV row must be an array or an object");
    bool first = !c->started;
    tt_rc rc = TT_OK;
    if (first)
        rc = value.ptr[0] == '{' ? columns_of_object(c, value, err) : columns_of_array(c, value, err);
    if (rc == TT_OK && first)
        rewind_csv(w);
    if (rc == TT_OK)
        rc = put_row(c, value, out, err);
    if (rc == TT_OK && out->failed)
        rc = tt_buf_check(out, err);
    if (rc != TT_OK && first)
        forget_columns(c);
    return rc;
}

static const char *const extensions[] = {".csv", ".tsv", NULL};
const tt_writer_row tt_writer_csv = {
    .kind = "CsvWriter",
    .extensions = extensions,
    .open = open_csv,
    .close = close_csv,
    .put = put,
    .state = add_state,
    .restore = restore,
    .rewind = rewind_csv,
};
