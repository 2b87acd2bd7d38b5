#include "data/pairs.h"

#include <math.h>

enum { MAX_FAULTS = 100 };

typedef struct {
    const char *body, *end;
    bool scalar_ok;
    bool bare_ids; /* a list of ids, not of pairs */
    tt_json_opts *opts;
    tt_pairs *pairs;
    tt_pair_faults *faults;
    tt_json_fault *fault;
    bool nomem;
} parse;

typedef struct {
    const char *msg, *type;
} fault_text;
static const fault_text not_a_list = {"value is not a valid list", "type_error.list"};
static const fault_text not_a_dict = {"value is not a valid dict", "type_error.dict"};
static const fault_text not_a_tuple = {"value is not a valid tuple", "type_error.tuple"};
static const fault_text wrong_length = {"wrong tuple length", "value_error.tuple.length"};
static const fault_text not_an_integer = {"value is not a valid integer", "type_error.integer"};
static const fault_text is_null = {"none is not an allowed value", "type_error.none.not_allowed"};

static void add_fault(parse *s, int64_t index, int64_t position, fault_text text, int64_t actual_length)
{
    if (s->faults->len >= MAX_FAULTS)
        return;
    if (!tt_vec_push(s->faults, (tt_pair_fault){index, position, text.msg, text.type, actual_length}))
        s->nomem = true;
}

static const char *broken(parse *s, const char *at, const char *reason)
{
    *s->fault = (tt_json_fault){.reason = reason, .offset = (size_t)(at - s->body)};
    return NULL;
}

static const char *over_blanks(const char *p, const char *end)
{
    while (p < end && (unsigned char)*p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

static const char *skip(parse *s, const char *p)
{
    const char *past = tt_json_skip(p, s->end, s->opts, s->fault);
    if (!past)
        s->fault->offset += (size_t)(p - s->body);
    return past;
}

static bool is_digit(char c) { return (unsigned char)(c - '0') < 10; }

/* Digits as Python's int() takes them: single underscores between them. */
static bool digits_to_id(tt_str s, bool underscores, uint64_t *ret)
{
    uint64_t value = 0;
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (underscores && s.ptr[i] == '_' && i > 0 && i + 1 < s.len && s.ptr[i - 1] != '_')
            continue;
        if (!is_digit(s.ptr[i]) || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.ptr[i] - '0'), &value))
            return false;
    }
    *ret = value;
    return value <= INT64_MAX;
}

static bool string_to_id(tt_str quoted, uint64_t *ret)
{
    tt_str s = tt_str_trim(tt_str_slice(quoted, 1, quoted.len - 1));
    bool negative = s.len && s.ptr[0] == '-';
    if (s.len && (s.ptr[0] == '+' || negative))
        s = tt_str_slice(s, 1, s.len);
    return digits_to_id(s, true, ret) && (!negative || *ret == 0);
}

static bool number_to_id(tt_str s, uint64_t *ret)
{
    if (digits_to_id(s, false, ret))
        return true;
    bool whole = true;
    for (size_t i = 0; i < s.len; i++)
        whole = whole && (is_digit(s.ptr[i]) || s.ptr[i] == '-');
    double value;
    if (tt_parse_f64(s, &value, NULL) != TT_OK || !isfinite(value) || value <= -1 || value >= 0x1p63 || (whole && value != 0))
        return false;
    *ret = value < 0 ? 0 : (uint64_t)value;
    return true;
}

/* As the older service read integers: 5, "5", 5.7 (cut), true. */
static bool value_to_id(tt_str value, uint64_t *ret)
{
    switch (value.ptr[0]) {
    case '"': return string_to_id(value, ret);
    case 't': case 'f': return *ret = value.ptr[0] == 't', true;
    case '[': case '{': case 'n': case 'N': case 'I': return false;
    default: return number_to_id(value, ret);
    }
}

static bool check_id(parse *s, int64_t index, int64_t position, tt_str value, uint64_t *ret)
{
    if (value_to_id(value, ret))
        return true;
    add_fault(s, index, position, value.ptr[0] == 'n' ? is_null : not_an_integer, -1);
    return false;
}

static void check_value(parse *s, int64_t index, tt_str value)
{
    char c = value.ptr[0];
    if (c == '[' || c == '{' || s->scalar_ok)
        return;
    if (c == 'n') {
        add_fault(s, index, 1, is_null, -1);
        return;
    }
    add_fault(s, index, 1, not_a_dict, -1);
    add_fault(s, index, 1, not_a_list, -1);
}

static void add_pair(parse *s, uint64_t id, tt_str value)
{
    if (!tt_vec_push(s->pairs, (tt_pair){id, (uint32_t)(value.ptr - s->body), (uint32_t)value.len}))
        s->nomem = true;
}

/* An element that is a list: its members are counted, and the first two kept. p is behind its bracket. */
static const char *parse_list(parse *s, int64_t index, const char *p)
{
    tt_str parts[2] = {{0}};
    int64_t count = 0;
    p = over_blanks(p, s->end);
    for (bool more = p == s->end || *p != ']'; more; count++) {
        const char *start = over_blanks(p, s->end);
        if (!(p = skip(s, start)))
            return NULL;
        if (count < 2)
            parts[count] = (tt_str){start, (size_t)(p - start)};
        p = over_blanks(p, s->end);
        if (p == s->end || (*p != ',' && *p != ']'))
            return broken(s, p, "a comma or a closing bracket is missing");
        more = *p == ',';
        p += more;
    }
    if (count != 2) {
        add_fault(s, index, -1, wrong_length, count);
        return p + 1;
    }
    uint64_t id = 0;
    bool id_ok = check_id(s, index, 0, parts[0], &id);
    check_value(s, index, parts[1]);
    if (id_ok)
        add_pair(s, id, parts[1]);
    return p + 1;
}

static const char *parse_element(parse *s, int64_t index, const char *p)
{
    if (!s->bare_ids && p < s->end && *p == '[')
        return parse_list(s, index, p + 1);
    const char *past = skip(s, p);
    uint64_t id = 0;
    if (!past)
        return NULL;
    if (!s->bare_ids)
        add_fault(s, index, -1, *p == 'n' ? is_null : not_a_tuple, -1);
    else if (check_id(s, index, -1, (tt_str){p, (size_t)(past - p)}, &id))
        add_pair(s, id, (tt_str){p, 0});
    return past;
}

/* The usual case, `[12,{...}]`, without a detour: gives the byte behind it, or NULL when it is anything else. */
static const char *parse_plain(parse *s, const char *p)
{
    const char *end = s->end;
    if (end - p < 24 || *p != '[' || !is_digit(p[1]) || (p[1] == '0' && is_digit(p[2])))
        return NULL;
    uint64_t id = 0;
    for (p++; is_digit(*p) && end - p > 2 && id < UINT64_C(100000000000000000); p++)
        id = id * 10 + (uint64_t)(*p - '0');
    p = over_blanks(p, end);
    if (p == end || *p != ',')
        return NULL;
    p = over_blanks(p + 1, end);
    if (p == end || (*p != '{' && *p != '['))
        return NULL;
    tt_json_opts opts = *s->opts;
    tt_json_fault ignored;
    const char *past = tt_json_skip(p, end, &opts, &ignored);
    if (!past)
        return NULL;
    const char *close = over_blanks(past, end);
    if (close == end || *close != ']')
        return NULL;
    s->opts->nan_count = opts.nan_count;
    add_pair(s, id, (tt_str){p, (size_t)(past - p)});
    return close + 1;
}

static const char *parse_elements(parse *s, const char *p)
{
    p = over_blanks(p, s->end);
    if (p < s->end && *p == ']')
        return p + 1;
    for (int64_t index = 0; !s->nomem; index++) {
        p = over_blanks(p, s->end);
        const char *past = s->bare_ids ? NULL : parse_plain(s, p);
        if (!past && !(past = parse_element(s, index, p)))
            return NULL;
        p = over_blanks(past, s->end);
        if (p == s->end || (*p != ',' && *p != ']'))
            return broken(s, p, p == s->end ? "an array is not closed" : "a comma or a closing bracket is missing");
        if (*p++ == ']')
            return p;
    }
    return NULL;
}

static tt_pairs_result run(parse *s, tt_str body)
{
    tt_vec_clear(s->pairs);
    tt_vec_clear(s->faults);
    if (body.len == 0)
        return TT_PAIRS_MISSING;
    if (body.len > UINT32_MAX)
        return broken(s, body.ptr, "the body is larger than 4 GiB"), TT_PAIRS_NOT_JSON;
    const char *p = s->body;
    if (body.len >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0)
        p += 3;
    p = over_blanks(p, s->end);
    const char *start = p;
    bool is_list = p < s->end && *p == '[';
    p = is_list ? parse_elements(s, p + 1) : skip(s, p);
    if (s->nomem)
        return TT_PAIRS_NOMEM;
    if (!p)
        return TT_PAIRS_NOT_JSON;
    p = over_blanks(p, s->end);
    if (p < s->end)
        return broken(s, p, "something follows the value"), TT_PAIRS_NOT_JSON;
    if (*start == 'n')
        return TT_PAIRS_MISSING;
    if (!is_list)
        add_fault(s, -1, -1, not_a_list, -1);
    return s->nomem ? TT_PAIRS_NOMEM : s->faults->len ? TT_PAIRS_FAULTS : TT_PAIRS_OK;
}

tt_pairs_result tt_pairs_parse(tt_str body, bool scalar_ok, tt_json_opts *opts, tt_pairs *pairs, tt_pair_faults *faults, tt_json_fault *ret_fault)
{
    parse s = {.body = body.ptr, .end = body.ptr + body.len, .scalar_ok = scalar_ok, .opts = opts, .pairs = pairs, .faults = faults, .fault = ret_fault};
    return run(&s, body);
}

tt_pairs_result tt_ids_parse(tt_str body, tt_pairs *ids, tt_pair_faults *faults, tt_json_fault *ret_fault)
{
    tt_json_opts opts = {0};
    parse s = {.body = body.ptr, .end = body.ptr + body.len, .bare_ids = true, .opts = &opts, .pairs = ids, .faults = faults, .fault = ret_fault};
    return run(&s, body);
}
