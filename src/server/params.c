/* Parameters: the query string, split and decoded, checked against the route's rows. What is wrong is answered here, in the shape of the
 * route's dialect, all faults at once. Everything is made in the request's arena. */
#include "server/inside.h"

#include <inttypes.h>

#include "base/buf.h"

/* ---- decoding ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The length of the well-formed UTF-8 sequence at p, or 0. */
static size_t sequence_len(const char *p, size_t left)
{
    unsigned char c = (unsigned char)*p;
    size_t len = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xF0 && c < 0xF5 ? 4 : 0;
    return len && len <= left && tt_utf8_valid(p, len) ? len : 0;
}

static tt_str replace_invalid(tt_arena *arena, tt_str s)
{
    if (tt_utf8_valid(s.ptr, s.len))
        return s;
    char *out = tt_arena_alloc(arena, s.len * 3 + 1);
    size_t at = 0;
    if (!out)
        return (tt_str){0};
    for (size_t i = 0; i < s.len;) {
        size_t len = sequence_len(s.ptr + i, s.len - i);
        memcpy(out + at, len ? s.ptr + i : "\xEF\xBF\xBD", len ? len : 3);
        at += len ? len : 3;
        i += len ? len : 1;
    }
    return (tt_str){out, at};
}

static bool is_plain(tt_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] == '%' || text.ptr[i] == '+' || (unsigned char)text.ptr[i] >= 0x80)
            return false;
    return text.ptr != NULL;
}

tt_str tt_params_decode(tt_arena *arena, tt_str text, bool plus)
{
    if (is_plain(text))
        return text;
    char *out = tt_arena_alloc(arena, text.len + 1);
    size_t at = 0;
    if (!out)
        return (tt_str){0};
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        int high, low;
        if (c == '%' && i + 2 < text.len && (high = hex_digit(text.ptr[i + 1])) >= 0 && (low = hex_digit(text.ptr[i + 2])) >= 0) {
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        out[at++] = c;
    }
    return replace_invalid(arena, (tt_str){out, at});
}

tt_rc tt_params_split(tt_arena *arena, tt_str query, tt_pair_texts *ret, tt_err *err)
{
    tt_str piece;
    while (tt_str_cut(&query, '&', &piece)) {
        tt_str name, value = piece;
        if (piece.len == 0)
            continue;
        if (!tt_str_cut(&value, '=', &name))
            continue;
        tt_pair_text pair = {tt_params_decode(arena, name, true), tt_params_decode(arena, value, true)};
        if (!pair.name.ptr || !pair.value.ptr || !tt_vec_push(ret, pair))
            return tt_fail(err, TT_NOMEM, "no memory for the query string");
    }
    return TT_OK;
}

/* ---- values ---- */

/* The zeros of the decimal digit rows of Unicode. */
static const uint32_t digit_zeros[] = {
    0x0030, 0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6, 0x0E50, 0x0ED0, 0x0F20,
    0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0,
    0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730,
    0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0,
    0x1E950, 0x1FBF0,
};

static int unicode_digit(uint32_t c)
{
    for (size_t i = 0; i < TT_COUNT(digit_zeros); i++)
        if (c >= digit_zeros[i] && c < digit_zeros[i] + 10)
            return (int)(c - digit_zeros[i]);
    return -1;
}

static bool unicode_blank(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A)
        || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* One character of valid UTF-8; *at moves on. */
static uint32_t next_char(tt_str s, size_t *at)
{
    static const unsigned char first_mask[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    size_t len = sequence_len(s.ptr + *at, s.len - *at);
    if (len == 0)
        return (*at)++, 0xFFFD;
    uint32_t c = (unsigned char)s.ptr[*at] & first_mask[len];
    for (size_t i = 1; i < len; i++)
        c = c << 6 | ((unsigned char)s.ptr[*at + i] & 0x3F);
    *at += len;
    return c;
}

static size_t skip_blanks(tt_str s, size_t at)
{
    while (at < s.len) {
        size_t next = at;
        if (!unicode_blank(next_char(s, &next)))
            break;
        at = next;
    }
    return at;
}

bool tt_params_python_int(tt_str s, int64_t *ret)
{
    size_t at = skip_blanks(s, 0);
    bool negative = at < s.len && s.ptr[at] == '-', after_digit = false, any = false, huge = false;
    int64_t value = 0; /* negative, so that INT64_MIN fits */
    if (at < s.len && (s.ptr[at] == '-' || s.ptr[at] == '+'))
        at++;
    while (at < s.len) {
        size_t next = at;
        uint32_t c = next_char(s, &next);
        int digit = unicode_digit(c);
        if (c == '_' && after_digit) {
            after_digit = false;
        } else if (digit >= 0) {
            huge = huge || __builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, digit, &value);
            after_digit = any = true;
        } else {
            break;
        }
        at = next;
    }
    if (!any || !after_digit || skip_blanks(s, at) != s.len)
        return false;
    if (huge)
        *ret = negative ? INT64_MIN : INT64_MAX;
    else
        *ret = negative ? value : value == INT64_MIN ? INT64_MAX : -value;
    return true;
}

static bool read_int(tt_str s, tt_dialect dialect, int64_t *ret)
{
    return dialect == TT_DIALECT_V1 ? tt_parse_i64(s, ret, NULL) == TT_OK : tt_params_python_int(s, ret);
}
static bool read_bool(tt_str s, tt_dialect dialect, int64_t *ret)
{
    bool value;
    if (tt_parse_bool(s, &value, NULL) != TT_OK)
        return false;
    *ret = value;
    return true;
}
static bool read_str(tt_str s, tt_dialect dialect, int64_t *ret)
{
    *ret = 0;
    return dialect != TT_DIALECT_V1 || memchr(s.ptr ? s.ptr : "", 0, s.len) == NULL;
}
static bool read_duration(tt_str s, tt_dialect dialect, int64_t *ret) { return tt_parse_duration_ms(s, ret, NULL) == TT_OK; }
static bool read_size(tt_str s, tt_dialect dialect, int64_t *ret)
{
    uint64_t bytes;
    if (tt_parse_size(s, &bytes, NULL) != TT_OK || bytes > INT64_MAX)
        return false;
    *ret = (int64_t)bytes;
    return true;
}

/* One row per type. To add a type: a row here and one in tt_param_type; openapi.c has its schema. */
static const struct {
    bool (*read)(tt_str s, tt_dialect dialect, int64_t *ret);
    const char *older_msg, *older_type; /* spec-items 3.2 */
    const char *wanted;                 /* "`x` must be ..." */
} types[] = {
    [TT_PARAM_STR] = {read_str, "str type expected", "type_error.str", "text without NUL"},
    [TT_PARAM_INT] = {read_int, "value is not a valid integer", "type_error.integer", "a whole number"},
    [TT_PARAM_BOOL] = {read_bool, "value could not be parsed to a boolean", "type_error.bool", "true or false"},
    [TT_PARAM_DURATION] = {read_duration, "invalid duration format", "value_error.duration", "a duration such as 30s, 500ms or 2m"},
    [TT_PARAM_SIZE] = {read_size, "invalid size format", "value_error.size", "a size such as 64KiB or 10MB"},
};

tt_rc tt_params_default(const tt_param *p, tt_value *ret, tt_err *err)
{
    *ret = (tt_value){.text = tt_str_of(p->default_text)};
    if (!p->default_text)
        return TT_OK;
    if (!types[p->type].read(ret->text, TT_DIALECT_V1, &ret->num))
        return tt_fail(err, TT_INVALID, "parameter `%s`: its default `%s` is not %s", p->name, p->default_text, types[p->type].wanted);
    return TT_OK;
}

/* ---- checking ---- */

typedef struct {
    tt_buf older;    /* the rows of {"detail":[...]} */
    tt_buf sentence; /* for our own dialect */
    const char *hint;
    bool any;
} fault_list;

static void add_fault(fault_list *f, const char *where, const char *name, const char *msg, const char *type)
{
    if (f->any)
        tt_buf_char(&f->older, ',');
    tt_buf_cstr_put(&f->older, "{\"loc\":[");
    tt_buf_json_str(&f->older, tt_str_of(where));
    tt_buf_char(&f->older, ',');
    tt_buf_json_str(&f->older, tt_str_of(name));
    tt_buf_printf(&f->older, "],\"msg\":\"%s\",\"type\":\"%s\"}", msg, type);
    f->any = true;
}

static void add_sentence(fault_list *f, const char *fmt, ...) TT_PRINTF(2, 3);
static void add_sentence(fault_list *f, const char *fmt, ...)
{
    va_list args;
    if (f->sentence.len > 1024)
        return; /* enough is said */
    va_start(args, fmt);
    if (f->sentence.len)
        tt_buf_cstr_put(&f->sentence, "; ");
    tt_buf_vprintf(&f->sentence, fmt, args);
    va_end(args);
}

static const tt_str *path_value(const tt_req *req, const char *name)
{
    for (unsigned i = 0; i < req->entry->segment_count; i++)
        if (req->entry->is_brace[i] && tt_str_is(req->entry->segments[i], name))
            return &req->path_values[i];
    return NULL;
}

static const tt_str *find_value(const tt_req *req, const char *name)
{
    const tt_str *found = path_value(req, name);
    for (size_t i = 0; !found && i < req->query_pairs.len; i++)
        if (tt_str_is(req->query_pairs.ptr[req->query_pairs.len - 1 - i].name, name))
            found = &req->query_pairs.ptr[req->query_pairs.len - 1 - i].value;
    return found;
}

static void check_one(tt_req *req, const tt_param *p, tt_value *value, fault_list *faults)
{
    const tt_str *text = find_value(req, p->name);
    const char *where = path_value(req, p->name) ? "path" : "query";
    if (!text) {
        if (!p->required)
            return;
        add_fault(faults, where, p->name, "field required", "value_error.missing");
        add_sentence(faults, "parameter `%s` is missing", p->name);
        return;
    }
    value->text = *text;
    value->given = true;
    if (types[p->type].read(*text, req->entry->row->dialect, &value->num))
        return;
    add_fault(faults, where, p->name, types[p->type].older_msg, types[p->type].older_type);
    add_sentence(faults, "parameter `%s` is `%.*s`: it must be %s", p->name, TT_STR_ARG(tt_str_slice(*text, 0, 80)), types[p->type].wanted);
}

static bool is_known(const tt_req *req, tt_str name)
{
    bool known = tt_str_is(name, "token"); /* every route takes it: access.c */
    for (unsigned i = 0; i < req->entry->param_count && !known; i++)
        known = tt_str_is(name, req->entry->row->params[i].name) && !path_value(req, req->entry->row->params[i].name);
    return known;
}

static const char *nearest(tt_req *req, tt_str name)
{
    const char *best = NULL;
    unsigned best_distance = (unsigned)(name.len / 3 + 2);
    for (unsigned i = 0; i < req->entry->param_count; i++) {
        unsigned distance = tt_str_distance(name, tt_str_of(req->entry->row->params[i].name));
        if (distance < best_distance) {
            best_distance = distance;
            best = req->entry->row->params[i].name;
        }
    }
    return best ? tt_arena_printf(&req->arena, "did you mean `%s`?", best) : NULL;
}

/* A name as it may stand inside a quoted header value. */
static void put_header_safe(tt_buf *out, tt_str name)
{
    for (size_t i = 0; i < name.len && i < 64; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (isalnum(c) || (c < 0x80 && strchr("-_.~[]", c) && c))
            tt_buf_char(out, (char)c);
        else
            tt_buf_printf(out, "%%%02X", c);
    }
}

static void check_unknown(tt_req *req, fault_list *faults)
{
    TT_BUF_AUTO tt_buf names = {.limit_bytes = 1024};
    tt_dialect dialect = req->entry->row->dialect;
    for (size_t i = 0; i < req->query_pairs.len; i++) {
        tt_str name = req->query_pairs.ptr[i].name;
        if (is_known(req, name))
            continue;
        atomic_fetch_add_explicit(&req->server->stats.unknown_parameters, 1, memory_order_relaxed);
        if (dialect == TT_DIALECT_V1 && !faults->hint)
            faults->hint = nearest(req, name);
        if (dialect == TT_DIALECT_V1)
            add_sentence(faults, "parameter `%.*s` is unknown here", TT_STR_ARG(tt_str_slice(name, 0, 80)));
        faults->any |= dialect == TT_DIALECT_V1;
        tt_buf_cstr_put(&names, names.len ? ", " : "");
        put_header_safe(&names, name);
    }
    if (dialect != TT_DIALECT_V1 && dialect != TT_DIALECT_PLAIN && names.len) {
        const char *text = tt_arena_printf(&req->arena, "299 tutti \"unknown parameters are ignored: %.*s\"", TT_STR_ARG(tt_buf_view(&names)));
        if (text)
            tt_req_add_header(req, "Warning", text);
    }
}

bool tt_body_is_blank(tt_str body)
{
    if (tt_str_starts(body, TT_STR("\xEF\xBB\xBF")))
        body = tt_str_slice(body, 3, body.len);
    if (body.len > 4096 && !isspace((unsigned char)body.ptr[0]))
        return false;
    body = tt_str_trim(body);
    return body.len == 0 || tt_str_is(body, "null");
}

/* What the bodies of the older dialect must be, for the case that other faults are listed with them; the handlers look deeper. */
static const struct {
    const char *body_name;
    json_type type;
    const char *msg, *fault_type;
} shapes[] = {
    {"metadata", JSON_OBJECT, "value is not a valid dict", "type_error.dict"},
    {"items", JSON_ARRAY, "value is not a valid list", "type_error.list"},
    {"ids", JSON_ARRAY, "value is not a valid list", "type_error.list"},
};

/* True: the body was not JSON at all, and that is answered. */
static bool check_body(tt_req *req, fault_list *faults)
{
    enum { LARGEST_LOOKED_AT = 1024 * 1024 };
    const char *name = req->entry->row->body_name;
    json_t *root;
    tt_err err = {0};
    if (!name)
        return false;
    if (tt_body_is_blank(tt_req_body(req))) {
        add_fault(faults, "body", name, "field required", "value_error.missing");
        add_sentence(faults, "the body is missing");
        return false;
    }
    if (!faults->any || tt_req_body(req).len > LARGEST_LOOKED_AT)
        return false;
    if (tt_req_json(req, &root, &err) != TT_OK) {
        tt_req_error(req, err.code, &err);
        return true;
    }
    for (size_t i = 0; i < TT_COUNT(shapes); i++)
        if (strcmp(name, shapes[i].body_name) == 0 && json_typeof(root) != shapes[i].type)
            add_fault(faults, "body", name, shapes[i].msg, shapes[i].fault_type);
    return false;
}

static void answer_faults(tt_req *req, fault_list *faults)
{
    if (req->entry->row->dialect == TT_DIALECT_PLANCHET) {
        tt_buf body = {0};
        tt_buf_cstr_put(&body, "{\"detail\":[");
        tt_buf_str(&body, tt_buf_view(&faults->older));
        tt_buf_cstr_put(&body, "]}");
        tt_req_answer(req, 422, "application/json", &body);
        return;
    }
    tt_req_problem(req, TT_INVALID, tt_buf_cstr(&faults->sentence), faults->hint);
}

bool tt_params_check(tt_req *req)
{
    const tt_entry *e = req->entry;
    fault_list faults = {.sentence = {.limit_bytes = 2048}};
    req->values = tt_arena_alloc(&req->arena, sizeof *req->values * (e->param_count + 1));
    if (!req->values) {
        tt_req_problem(req, TT_NOMEM, "no memory for the parameters", NULL);
        return false;
    }
    memcpy(req->values, e->defaults, sizeof *req->values * e->param_count);
    for (unsigned i = 0; i < e->param_count; i++)
        check_one(req, &e->row->params[i], &req->values[i], &faults);
    check_unknown(req, &faults);
    bool answered = check_body(req, &faults);
    if (faults.any && !answered)
        answer_faults(req, &faults);
    tt_buf_deinit(&faults.older);
    tt_buf_deinit(&faults.sentence);
    return !faults.any && !answered;
}
