#include "query/relation.h"

#include "base/buf.h"
#include "base/nearest.h"
#include "query/fault.h"

enum { MAX_DEPTH = 64, MAX_RELATION_BYTES = 64 * 1024 };

typedef struct {
    tt_str text;         /* trimmed, lower case */
    size_t at;
    size_t good;         /* end of the longest beginning that is a whole relation */
    size_t farthest;     /* where reading failed last */
    const json_t *conditions;
    tt_rel_op *ops;
    size_t count;
    tt_err *err;
} parser;

static char peek(const parser *p) { return p->at < p->text.len ? p->text.ptr[p->at] : '\0'; }
static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_name(char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '_'; }

static void skip_blanks(parser *p)
{
    while (is_blank(peek(p)))
        p->at++;
}

static tt_rc invalid(parser *p)
{
    size_t at = p->good ? p->good : p->at > p->farthest ? p->at : p->farthest;
    tt_str around = tt_str_slice(p->text, at, at + 20);
    if (around.len == 0)
        return tt_query_fail(p->err, TT_QUERY_RELATION, "Query relation '%.*s' is invalid", TT_STR_ARG(p->text));
    return tt_query_fail(p->err, TT_QUERY_RELATION, "Query relation is invalid around '%.*s' ", TT_STR_ARG(around));
}

static void emit(parser *p, tt_rel_kind kind, uint32_t condition) { p->ops[p->count++] = (tt_rel_op){kind, condition}; }

static tt_rc read_index(parser *p)
{
    uint64_t n = 0;
    for (; is_digit(peek(p)); p->at++)
        n = n > UINT32_MAX ? n : n * 10 + (uint64_t)(peek(p) - '0');
    if (n >= json_array_size(p->conditions))
        return tt_query_fail(p->err, TT_QUERY_RELATION, "Condition no. %llu does not exist", (unsigned long long)n);
    emit(p, TT_REL_CONDITION, (uint32_t)n);
    return TT_OK;
}

static tt_rc read_name(parser *p)
{
    size_t start = p->at;
    while (is_name(peek(p)))
        p->at++;
    tt_str name = tt_str_slice(p->text, start, p->at);
    tt_nearest near = tt_nearest_start(name);
    char hint[120];
    for (size_t i = 0; i < json_array_size(p->conditions); i++) {
        tt_str known = tt_str_of(json_string_value(json_object_get(json_array_get(p->conditions, i), "name")));
        if (tt_str_eq_nocase(known, name)) {
            emit(p, TT_REL_CONDITION, (uint32_t)i);
            return TT_OK;
        }
        if (known.len)
            tt_nearest_offer(&near, known);
    }
    return tt_query_fail(p->err, TT_QUERY_RELATION, "Condition named %.*s does not exist%s", TT_STR_ARG(name), tt_nearest_hint(&near, hint, sizeof hint));
}

static tt_rc read_or(parser *p, unsigned depth);

static tt_rc read_atom(parser *p, unsigned depth)
{
    if (peek(p) == '$' && p->at + 1 < p->text.len) {
        p->at++;
        if (is_digit(peek(p)))
            return read_index(p);
        if (is_name(peek(p)) && peek(p) != '_')
            return read_name(p);
        return invalid(p);
    }
    if (peek(p) != '(' || depth >= MAX_DEPTH)
        return invalid(p);
    p->at++;
    skip_blanks(p);
    TT_TRY(read_or(p, depth + 1));
    skip_blanks(p);
    if (peek(p) != ')')
        return invalid(p);
    p->at++;
    return TT_OK;
}

static bool take_word(parser *p, const char *word, const char *sign)
{
    tt_str rest = tt_str_slice(p->text, p->at, p->text.len);
    const char *found = tt_str_starts(rest, tt_str_of(word)) ? word : tt_str_starts(rest, tt_str_of(sign)) ? sign : NULL;
    p->at += found ? strlen(found) : 0;
    return found != NULL;
}

/* What stands before an operator is a whole relation by itself, when no parenthesis is open. */
static tt_rc read_chain(parser *p, unsigned depth, tt_rel_kind kind, tt_rc (*part)(parser *p, unsigned depth))
{
    TT_TRY(part(p, depth));
    for (;;) {
        size_t before = p->at;
        if (depth == 0)
            p->good = before;
        skip_blanks(p);
        if (!(kind == TT_REL_AND ? take_word(p, "and", "&&") : take_word(p, "or", "||"))) {
            p->farthest = p->at > p->farthest ? p->at : p->farthest;
            p->at = before;
            return TT_OK;
        }
        skip_blanks(p);
        TT_TRY(part(p, depth));
        emit(p, kind, 0);
    }
}

static tt_rc read_and(parser *p, unsigned depth) { return read_chain(p, depth, TT_REL_AND, read_atom); }
static tt_rc read_or(parser *p, unsigned depth) { return read_chain(p, depth, TT_REL_OR, read_and); }

static tt_rc read_all(parser *p)
{
    TT_TRY(read_or(p, 0));
    return p->at == p->text.len ? TT_OK : invalid(p);
}

/* ---- the member ---- */

static tt_rc lower(tt_str text, tt_buf *out, tt_err *err)
{
    text = tt_str_trim(text);
    if (text.len > MAX_RELATION_BYTES)
        return tt_query_fail(err, TT_QUERY_RELATION, "Query relation has %zu bytes: at most %d are read", text.len, MAX_RELATION_BYTES);
    for (size_t i = 0; i < text.len; i++)
        tt_buf_char(out, text.ptr[i] >= 'A' && text.ptr[i] <= 'Z' ? (char)(text.ptr[i] + 32) : text.ptr[i]);
    return tt_buf_check(out, err);
}

tt_rc tt_relation_parse(const json_t *part, tt_arena *arena, tt_relation *ret, tt_err *err)
{
    const char *given = json_string_value(json_object_get(part, "relation"));
    TT_BUF_AUTO tt_buf text = {0};
    *ret = (tt_relation){0};
    if (!given)
        return TT_OK;
    TT_TRY(lower(tt_str_of(given), &text, err));
    if (text.len == 0)
        return tt_query_fail(err, TT_QUERY_RELATION, "Relation cannot be an empty string");
    parser p = {.text = tt_buf_view(&text), .conditions = json_object_get(part, "conditions"), .err = err};
    p.ops = tt_arena_alloc(arena, (text.len + 1) * sizeof *p.ops); /* an op has at least one byte of text */
    if (!p.ops)
        return tt_fail(err, TT_NOMEM, "out of memory for a query's relation");
    TT_TRY(read_all(&p));
    *ret = (tt_relation){p.ops, p.count};
    return TT_OK;
}

static const char *lone_operator(tt_str text)
{
    static const char *const words[] = {"and", "or", "&&", "||"};
    for (size_t i = 0; i < TT_COUNT(words); i++)
        if (tt_str_eq_nocase(text, tt_str_of(words[i])))
            return words[i];
    return NULL;
}

static tt_rc write_chain(json_t *part, const char *op, size_t count, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    for (size_t i = 0; i < count; i++)
        tt_buf_printf(&text, "%s%s%s$%zu", i ? " " : "", i ? op : "", i ? " " : "", i);
    TT_TRY(tt_buf_check(&text, err));
    if (json_object_set_new(part, "relation", json_stringn(text.ptr, text.len)))
        return tt_fail(err, TT_NOMEM, "out of memory for a query's relation");
    return TT_OK;
}

tt_rc tt_relation_expand(json_t *part, tt_err *err)
{
    size_t conditions = json_array_size(json_object_get(part, "conditions"));
    const json_t *given = json_object_get(part, "relation");
    const char *op = given ? lone_operator(tt_str_trim(tt_str_of(json_string_value(given)))) : "and";
    if (conditions == 0 && op) { /* nothing to join */
        (void)json_object_del(part, "relation");
        return TT_OK;
    }
    if (op)
        TT_TRY(write_chain(part, op, conditions, err));
    tt_arena arena = {0};
    tt_relation ignored;
    tt_rc rc = tt_relation_parse(part, &arena, &ignored, err);
    tt_arena_deinit(&arena);
    return rc;
}
