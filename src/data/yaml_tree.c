#include "data/yaml_tree.h"

#include <math.h>
#include <yaml.h>

#include "base/mem.h"
#include "io/library.h"

/* The functions of libyaml that are used; one more needs a row. */
#define YAML_FUNCTIONS(ROW) \
    ROW(yaml_parser_initialize) ROW(yaml_parser_delete) ROW(yaml_parser_set_input_string) ROW(yaml_parser_set_encoding) ROW(yaml_parser_parse) ROW(yaml_event_delete)

static struct {
#define ROW(name) __typeof__(name) *name;
    YAML_FUNCTIONS(ROW)
#undef ROW
} lib;
static bool lib_loaded;

static tt_rc load(tt_err *err)
{
    static const char *const names[] = {"libyaml-0.so.2", NULL};
    static const tt_library_symbol symbols[] = {
#define ROW(name) {#name, (void **)&lib.name},
        YAML_FUNCTIONS(ROW)
#undef ROW
    };
    return tt_library_load_once(names, symbols, TT_COUNT(symbols), "libyaml-0-2", &lib_loaded, err);
}

/* ---- lines ---- */

/* A member is known by its container's address and its key or index. */
static void put_place(tt_buf *b, const json_t *container, const char *key, size_t index)
{
    tt_buf_printf(b, "%p", (const void *)container);
    if (key)
        tt_buf_printf(b, "/%s", key);
    else
        tt_buf_printf(b, "#%zu", index);
}

unsigned tt_yaml_line(const tt_yaml *y, const json_t *container, const char *key, size_t index)
{
    TT_BUF_AUTO tt_buf place = {0};
    put_place(&place, container, key, index);
    return place.failed ? 0 : (unsigned)(uintptr_t)tt_map_get(&y->lines, tt_buf_view(&place));
}

static tt_rc keep_line(tt_yaml *y, const json_t *container, const char *key, size_t index, size_t line, tt_err *err)
{
    TT_BUF_AUTO tt_buf place = {0};
    put_place(&place, container, key, index);
    if (place.failed || !tt_map_put(&y->lines, tt_buf_view(&place), (void *)(uintptr_t)(line + 1), NULL))
        return tt_fail(err, TT_NOMEM, "out of memory for a YAML document");
    return TT_OK;
}

/* ---- scalars ---- */

/* What is neither a number nor a text. To add a spelling: a row. */
static const struct {
    const char *text;
    json_type type;
} words[] = {
    {"", JSON_NULL}, {"~", JSON_NULL}, {"null", JSON_NULL}, {"Null", JSON_NULL}, {"NULL", JSON_NULL},
    {"true", JSON_TRUE}, {"True", JSON_TRUE}, {"TRUE", JSON_TRUE}, {"false", JSON_FALSE}, {"False", JSON_FALSE}, {"FALSE", JSON_FALSE},
};

static json_t *json_of_word(tt_str text)
{
    for (size_t i = 0; i < TT_COUNT(words); i++)
        if (tt_str_is(text, words[i].text))
            return words[i].type == JSON_NULL ? json_null() : json_boolean(words[i].type == JSON_TRUE);
    return NULL;
}

/* As JSON writes numbers: NULL when it is none. */
static json_t *json_of_number(tt_str text)
{
    int64_t whole;
    double real;
    bool is_real = false;
    size_t i = text.len && text.ptr[0] == '-';
    if (i == text.len || (text.ptr[i] == '0' && i + 1 < text.len && isdigit((unsigned char)text.ptr[i + 1])))
        return NULL;
    for (; i < text.len; i++) {
        if (!isdigit((unsigned char)text.ptr[i]) && !strchr("+-.eE", text.ptr[i]))
            return NULL;
        is_real |= !isdigit((unsigned char)text.ptr[i]) && i > 0;
    }
    if (!is_real)
        return tt_parse_i64(text, &whole, NULL) == TT_OK && !(text.ptr[0] == '-' && whole == 0) ? json_integer(whole) : NULL;
    bool begins = isdigit((unsigned char)text.ptr[text.ptr[0] == '-']), ends = isdigit((unsigned char)text.ptr[text.len - 1]);
    return begins && ends && tt_parse_f64(text, &real, NULL) == TT_OK && isfinite(real) ? json_real(real) : NULL;
}

static json_t *json_of_scalar(tt_str text, bool is_plain)
{
    json_t *value = is_plain ? json_of_word(text) : NULL;
    if (!value && is_plain)
        value = json_of_number(text);
    return value ? value : json_stringn(text.ptr ? text.ptr : "", text.len);
}

/* ---- reading ---- */

typedef struct {
    tt_yaml *y;
    yaml_parser_t parser;
    json_t *open[TT_YAML_DEPTH]; /* borrowed: the tree owns them */
    char *keys[TT_YAML_DEPTH];   /* of open mappings: the key whose value is next; NULL: a key is next */
    size_t depth;
    bool ended;                  /* the document is */
} reading;

static tt_rc fail_at(size_t line, const char *what, tt_err *err) { return tt_fail(err, TT_INVALID, "line %zu: %s", line + 1, what); }

/* value is taken over. */
static tt_rc add_member(reading *r, json_t *value, size_t line, tt_err *err)
{
    json_t *in = r->depth ? r->open[r->depth - 1] : NULL;
    if (!value)
        return tt_fail(err, TT_NOMEM, "out of memory for a YAML document");
    if (!in) {
        r->y->root = value;
        return TT_OK;
    }
    if (json_is_array(in)) {
        TT_TRY(json_array_append_new(in, value) == 0 ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a YAML document"));
        return keep_line(r->y, in, NULL, json_array_size(in) - 1, line, err);
    }
    char *key = r->keys[r->depth - 1];
    r->keys[r->depth - 1] = NULL;
    tt_rc rc = json_object_set_new(in, key, value) == 0 ? keep_line(r->y, in, key, 0, line, err) : tt_fail(err, TT_NOMEM, "out of memory for a YAML document");
    free(key);
    return rc;
}

static bool wants_key(const reading *r) { return r->depth && json_is_object(r->open[r->depth - 1]) && !r->keys[r->depth - 1]; }

static tt_rc take_key(reading *r, tt_str text, size_t line, tt_err *err)
{
    if (text.len > TT_YAML_KEY_BYTES || memchr(text.ptr, '\0', text.len))
        return fail_at(line, "a key is too long, or holds a NUL", err);
    char *key = tt_str_dup(text);
    if (!key)
        return tt_fail(err, TT_NOMEM, "out of memory for a YAML document");
    if (json_object_get(r->open[r->depth - 1], key)) {
        tt_rc rc = tt_fail(err, TT_INVALID, "line %zu: the key `%.100s` is there twice", line + 1, key);
        free(key);
        return rc;
    }
    r->keys[r->depth - 1] = key;
    return TT_OK;
}

static tt_rc take_scalar(reading *r, const yaml_event_t *e, tt_err *err)
{
    tt_str text = {(const char *)e->data.scalar.value, e->data.scalar.length};
    size_t line = e->start_mark.line;
    if (e->data.scalar.anchor || e->data.scalar.tag)
        return fail_at(line, "anchors and tags are not understood here", err);
    if (!tt_utf8_valid(text.ptr, text.len))
        return fail_at(line, "this is no UTF-8", err);
    if (wants_key(r))
        return take_key(r, text, line, err);
    return add_member(r, json_of_scalar(text, e->data.scalar.plain_implicit && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE), line, err);
}

static tt_rc open_container(reading *r, json_t *fresh, const yaml_event_t *e, bool is_marked, tt_err *err)
{
    size_t line = e->start_mark.line;
    const char *wrong = is_marked ? "anchors and tags are not understood here" : wants_key(r) ? "a key must be a text" : r->depth == TT_YAML_DEPTH ? "this is nested too deeply" : NULL;
    if (wrong) {
        json_decref(fresh);
        return fail_at(line, wrong, err);
    }
    TT_TRY(add_member(r, fresh, line, err));
    r->open[r->depth] = fresh;
    r->keys[r->depth++] = NULL;
    return TT_OK;
}

static tt_rc take_event(reading *r, const yaml_event_t *e, tt_err *err)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT: return take_scalar(r, e, err);
    case YAML_SEQUENCE_START_EVENT: return open_container(r, json_array(), e, e->data.sequence_start.anchor || e->data.sequence_start.tag, err);
    case YAML_MAPPING_START_EVENT: return open_container(r, json_object(), e, e->data.mapping_start.anchor || e->data.mapping_start.tag, err);
    case YAML_SEQUENCE_END_EVENT: case YAML_MAPPING_END_EVENT: r->depth--; return TT_OK;
    case YAML_ALIAS_EVENT: return fail_at(e->start_mark.line, "aliases are not understood here", err);
    case YAML_DOCUMENT_START_EVENT: return r->ended ? fail_at(e->start_mark.line, "a second document begins here: one is enough", err) : TT_OK;
    case YAML_DOCUMENT_END_EVENT: r->ended = true; return TT_OK;
    default: return TT_OK;
    }
}

static tt_rc fail_parser(const yaml_parser_t *p, tt_err *err)
{
    if (p->error == YAML_MEMORY_ERROR)
        return tt_fail(err, TT_NOMEM, "out of memory for a YAML document");
    return tt_fail(err, TT_INVALID, "line %zu: %s%s%s", p->problem_mark.line + 1, p->problem ? p->problem : "this is no YAML", p->context ? " " : "", p->context ? p->context : "");
}

static tt_rc read_events(reading *r, tt_err *err)
{
    for (yaml_event_type_t type = YAML_NO_EVENT; type != YAML_STREAM_END_EVENT;) {
        yaml_event_t event;
        if (!lib.yaml_parser_parse(&r->parser, &event))
            return fail_parser(&r->parser, err);
        type = event.type;
        tt_rc rc = take_event(r, &event, err);
        lib.yaml_event_delete(&event);
        TT_TRY(rc);
    }
    return r->y->root ? TT_OK : tt_fail(err, TT_INVALID, "line 1: there is nothing in it");
}

tt_rc tt_yaml_read(tt_str text, tt_yaml *ret, tt_err *err)
{
    tt_yaml y = {0};
    reading r = {.y = &y};
    *ret = y;
    if (text.len > TT_YAML_BYTES)
        return tt_fail(err, TT_TOO_LARGE, "a YAML document of %zu bytes: at most %d are read", text.len, TT_YAML_BYTES);
    TT_TRY(load(err));
    if (!lib.yaml_parser_initialize(&r.parser))
        return tt_fail(err, TT_NOMEM, "out of memory for a YAML document");
    lib.yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    lib.yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.ptr ? text.ptr : ""), text.len);
    tt_rc rc = read_events(&r, err);
    lib.yaml_parser_delete(&r.parser);
    for (size_t i = 0; i < r.depth; i++)
        free(r.keys[i]);
    if (rc == TT_OK)
        *ret = y;
    else
        tt_yaml_deinit(&y);
    return rc;
}

void tt_yaml_deinit(tt_yaml *y)
{
    json_decref(y->root);
    tt_map_deinit(&y->lines);
    *y = (tt_yaml){0};
}

/* ---- writing ---- */

/* Words that another reader of YAML may take for something else. */
static bool is_taken_word(tt_str text)
{
    static const char *const others[] = {"yes", "no", "on", "off", "y", "n"};
    for (size_t i = 0; i < TT_COUNT(others); i++)
        if (tt_str_eq_nocase(text, tt_str_of(others[i])))
            return true;
    return json_of_word(text) != NULL;
}

static bool is_plain_text(tt_str text)
{
    if (text.len == 0 || text.len > 200 || !(isalpha((unsigned char)text.ptr[0]) || strchr("_/", text.ptr[0])) || text.ptr[text.len - 1] == ' ' || is_taken_word(text))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!isalnum((unsigned char)text.ptr[i]) && !memchr("_-./ ", text.ptr[i], 5))
            return false;
    return true;
}

/* The value of the well-formed UTF-8 sequence at the start; its bytes in *ret_len. */
static uint32_t next_point(tt_str text, size_t *ret_len)
{
    unsigned char lead = (unsigned char)text.ptr[0];
    *ret_len = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    uint32_t value = *ret_len == 1 ? lead : lead & (0xFFu >> (*ret_len + 1));
    for (size_t i = 1; i < *ret_len; i++)
        value = value << 6 | ((unsigned char)text.ptr[i] & 0x3F);
    return value;
}

/* What YAML does not take inside a text as it is, or takes for a line's end. */
static bool needs_number(uint32_t point)
{
    return (point >= 0x7F && point < 0xA0) || point == 0x2028 || point == 0x2029 || point == 0xFEFF || point == 0xFFFE || point == 0xFFFF;
}

/* In quotes, escaped as JSON is, and beyond. */
static void write_quoted(tt_buf *out, tt_str text)
{
    TT_BUF_AUTO tt_buf json = {0};
    tt_buf_json_str(&json, text);
    size_t len;
    for (tt_str rest = tt_buf_view(&json); rest.len; rest = tt_str_slice(rest, len, rest.len)) {
        uint32_t point = next_point(rest, &len);
        if (needs_number(point))
            tt_buf_printf(out, "\\u%04X", (unsigned)point);
        else
            tt_buf_put(out, rest.ptr, len);
    }
    out->failed |= json.failed;
}

static void write_text(tt_buf *out, tt_str text)
{
    if (is_plain_text(text))
        tt_buf_str(out, text);
    else
        write_quoted(out, text);
}

static void write_scalar(tt_buf *out, const json_t *value)
{
    if (json_is_string(value)) {
        write_text(out, (tt_str){json_string_value(value), json_string_length(value)});
        return;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    tt_buf_cstr_put(out, text ? text : "");
    out->failed |= !text;
    free(text);
}

static void write_value(tt_buf *out, const json_t *value, int indent, bool in_sequence);

static void write_break(tt_buf *out, int indent) { tt_buf_printf(out, "\n%*s", indent, ""); }

static void write_mapping(tt_buf *out, const json_t *object, int indent, bool in_sequence)
{
    const char *key;
    json_t *value;
    bool first = in_sequence;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        if (!first)
            write_break(out, indent);
        first = false;
        write_text(out, tt_str_of(key));
        tt_buf_char(out, ':');
        write_value(out, value, indent + 2, false);
    }
}

static void write_sequence(tt_buf *out, const json_t *array, int indent)
{
    size_t i;
    json_t *value;
    json_array_foreach(array, i, value) {
        write_break(out, indent);
        tt_buf_char(out, '-');
        write_value(out, value, indent + 2, true);
    }
}

/* Behind `key:` or `-`. */
static void write_value(tt_buf *out, const json_t *value, int indent, bool in_sequence)
{
    if (json_is_object(value) && json_object_size(value)) {
        tt_buf_cstr_put(out, in_sequence ? " " : "");
        write_mapping(out, value, indent, in_sequence);
    } else if (json_is_array(value) && json_array_size(value)) {
        write_sequence(out, value, indent);
    } else {
        tt_buf_char(out, ' ');
        write_scalar(out, value);
    }
}

void tt_yaml_write(const json_t *root, tt_buf *out)
{
    if (json_is_object(root) && json_object_size(root))
        write_mapping(out, root, 0, true);
    else if (json_is_array(root) && json_array_size(root))
        write_sequence(out, root, 0);
    else
        write_scalar(out, root);
    tt_buf_char(out, '\n');
}
