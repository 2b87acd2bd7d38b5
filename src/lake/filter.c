#include "lake/filter.h"

#include <math.h>

#include "base/vec.h"

enum { MOST_DEPTH = 100, MOST_NODES = 100000, TEXT_BYTES_MAX = 1 << 20 };

typedef enum { EQ, NE, LT, LE, GT, GE, IN, BETWEEN, LIKE, IS_NULL, NOT, AND, OR } op;

/* What a condition can come to, as bits. */
enum { T = 1, F = 2, U = 4 };

typedef struct {
    op op;
    uint32_t left, right;      /* nodes, of NOT, AND, OR */
    uint32_t column;           /* index among the filter's columns */
    uint32_t first, count;     /* values */
} node;

typedef struct {
    tt_str text;
    bool is_text;              /* stood in quotes */
    tt_datum datum;            /* once bound */
} value;

struct tt_filter {
    tt_arena arena, bound;
    TT_VEC(node) nodes;
    TT_VEC(value) values;
    TT_VEC(tt_str) columns;
    int32_t *fields;           /* of each column: its index among the fields; -1: none */
    const tt_pq_field **types; /* of each column; NULL: not bound */
    unsigned char *outcomes;   /* of each node, while it is evaluated */
};

/* ---- words ---- */

typedef enum { END, NAME, TEXT, NUMBER, WORD, SIGN } token_kind;
typedef struct {
    token_kind kind;
    tt_str text;               /* of names and texts: without quotes, unescaped */
    size_t at;
} token;

typedef struct {
    tt_filter *f;
    tt_str all;
    size_t at;
    token next;
    int depth;
    tt_err *err;
} parser;

static tt_rc wrong(parser *p, const char *expected)
{
    tt_str near = tt_str_slice(p->all, p->next.at, p->next.at + 40);
    if (near.len == 0)
        return tt_fail(p->err, TT_INVALID, "filter: it ends where %s is expected", expected);
    return tt_fail(p->err, TT_INVALID, "filter, at byte %zu: %s is expected before `%.*s`", p->next.at, expected, TT_STR_ARG(near));
}

static bool is_name_byte(char c, bool is_first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 128 || (!is_first && ((c >= '0' && c <= '9') || c == '.'));
}

/* Up to the closing quote; a quote that stands twice is one. */
static tt_rc take_quoted(parser *p, char quote, token_kind kind)
{
    TT_BUF_AUTO tt_buf text = {0};
    for (size_t i = p->at + 1; i < p->all.len; i++) {
        if (p->all.ptr[i] != quote) {
            tt_buf_char(&text, p->all.ptr[i]);
        } else if (i + 1 < p->all.len && p->all.ptr[i + 1] == quote) {
            tt_buf_char(&text, quote);
            i++;
        } else {
            TT_TRY(tt_buf_check(&text, p->err));
            p->next.kind = kind;
            p->next.text = (tt_str){tt_arena_dup(&p->f->arena, text.len ? tt_buf_view(&text) : TT_STR("")), text.len};
            p->at = i + 1;
            return p->next.text.ptr ? TT_OK : tt_fail(p->err, TT_NOMEM, "out of memory");
        }
    }
    return tt_fail(p->err, TT_INVALID, "filter, at byte %zu: the quote %c has no end", p->at, quote);
}

static bool is_keyword(tt_str word)
{
    static const char *const words[] = {"and", "or", "not", "in", "between", "like", "is", "null", "true", "false"};
    for (size_t i = 0; i < TT_COUNT(words); i++)
        if (tt_str_eq_nocase(word, tt_str_of(words[i])))
            return true;
    return false;
}

static size_t number_end(tt_str s, size_t at)
{
    size_t i = at + (s.ptr[at] == '-' || s.ptr[at] == '+');
    for (; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_sign = (c == '-' || c == '+') && (s.ptr[i - 1] == 'e' || s.ptr[i - 1] == 'E');
        if (!((c >= '0' && c <= '9') || c == '.' || c == 'e' || c == 'E' || is_sign))
            break;
    }
    return i;
}

static void take_name(parser *p)
{
    size_t end = p->at;
    while (end < p->all.len && is_name_byte(p->all.ptr[end], end == p->at))
        end++;
    p->next.text = tt_str_slice(p->all, p->at, end);
    p->next.kind = is_keyword(p->next.text) ? WORD : NAME;
    p->at = end;
}

static tt_rc take_sign(parser *p)
{
    static const char *const signs[] = {"==", "!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ","};
    tt_str rest = tt_str_slice(p->all, p->at, p->all.len);
    for (size_t i = 0; i < TT_COUNT(signs); i++)
        if (tt_str_starts(rest, tt_str_of(signs[i]))) {
            p->next.kind = SIGN;
            p->next.text = tt_str_of(signs[i]);
            p->at += p->next.text.len;
            return TT_OK;
        }
    return wrong(p, "a name, a value or a comparison");
}

static tt_rc advance(parser *p)
{
    while (p->at < p->all.len && strchr(" \t\r\n", p->all.ptr[p->at]) && p->all.ptr[p->at])
        p->at++;
    p->next = (token){.kind = END, .at = p->at};
    if (p->at == p->all.len)
        return TT_OK;
    char c = p->all.ptr[p->at];
    if (c == '\'')
        return take_quoted(p, c, TEXT);
    if (c == '"' || c == '`')
        return take_quoted(p, c, NAME);
    if (is_name_byte(c, true))
        return take_name(p), TT_OK;
    if ((c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.') {
        size_t end = number_end(p->all, p->at);
        p->next.kind = NUMBER;
        p->next.text = tt_str_slice(p->all, p->at, end);
        p->at = end;
        return TT_OK;
    }
    return take_sign(p);
}

static bool is_word(const parser *p, const char *word) { return p->next.kind == WORD && tt_str_eq_nocase(p->next.text, tt_str_of(word)); }
static bool is_sign(const parser *p, const char *sign) { return p->next.kind == SIGN && tt_str_is(p->next.text, sign); }

/* ---- the tree ---- */

static tt_rc add_node(parser *p, node n, uint32_t *ret)
{
    if (p->f->nodes.len >= MOST_NODES)
        return tt_fail(p->err, TT_TOO_LARGE, "filter: more than %d conditions", MOST_NODES);
    *ret = (uint32_t)p->f->nodes.len;
    return tt_vec_push(&p->f->nodes, n) ? TT_OK : tt_fail(p->err, TT_NOMEM, "out of memory");
}

static tt_rc take_value(parser *p, node *n)
{
    bool is_bool = is_word(p, "true") || is_word(p, "false");
    if (p->next.kind != TEXT && p->next.kind != NUMBER && !is_bool)
        return wrong(p, "a value (texts stand in single quotes)");
    value v = {.text = p->next.text, .is_text = p->next.kind == TEXT};
    if (n->count++ == 0)
        n->first = (uint32_t)p->f->values.len;
    if (p->f->values.len >= MOST_NODES || !tt_vec_push(&p->f->values, v))
        return tt_fail(p->err, TT_TOO_LARGE, "filter: more than %d values", MOST_NODES);
    return advance(p);
}

static tt_rc take_column(parser *p, uint32_t *ret)
{
    if (p->next.kind != NAME)
        return wrong(p, "the name of a column");
    for (*ret = 0; *ret < p->f->columns.len; ++*ret)
        if (tt_str_eq(p->f->columns.ptr[*ret], p->next.text))
            return advance(p);
    return tt_vec_push(&p->f->columns, p->next.text) ? advance(p) : tt_fail(p->err, TT_NOMEM, "out of memory");
}

static tt_rc expect_sign(parser *p, const char *sign)
{
    return is_sign(p, sign) ? advance(p) : wrong(p, sign[0] == '(' ? "an opening parenthesis" : "a comma or a closing parenthesis");
}

static tt_rc take_list(parser *p, node *n)
{
    TT_TRY(expect_sign(p, "("));
    TT_TRY(take_value(p, n));
    while (is_sign(p, ",")) {
        TT_TRY(advance(p));
        TT_TRY(take_value(p, n));
    }
    return expect_sign(p, ")");
}

static tt_rc take_between(parser *p, node *n)
{
    TT_TRY(take_value(p, n));
    if (!is_word(p, "and"))
        return wrong(p, "`and` and the upper bound");
    TT_TRY(advance(p));
    return take_value(p, n);
}

/* To add a comparison that is a word: a row. */
static const struct {
    const char *word;
    op op;
    tt_rc (*take)(parser *p, node *n);
} word_rows[] = {{"in", IN, take_list}, {"between", BETWEEN, take_between}, {"like", LIKE, take_value}};

static const struct {
    const char *sign;
    op op;
} sign_rows[] = {{"==", EQ}, {"=", EQ}, {"!=", NE}, {"<>", NE}, {"<", LT}, {"<=", LE}, {">", GT}, {">=", GE}};

static tt_rc take_is_null(parser *p, node *n, bool *is_not)
{
    n->op = IS_NULL;
    TT_TRY(advance(p));
    if (is_word(p, "not")) {
        *is_not = true;
        TT_TRY(advance(p));
    }
    return is_word(p, "null") ? advance(p) : wrong(p, "`null`");
}

static tt_rc take_word_comparison(parser *p, node *n, bool *is_not)
{
    if (is_word(p, "is"))
        return take_is_null(p, n, is_not);
    if (is_word(p, "not")) {
        *is_not = true;
        TT_TRY(advance(p));
    }
    for (size_t i = 0; i < TT_COUNT(word_rows); i++)
        if (is_word(p, word_rows[i].word)) {
            n->op = word_rows[i].op;
            TT_TRY(advance(p));
            return word_rows[i].take(p, n);
        }
    return wrong(p, "a comparison (== != < <= > >= in between like is)");
}

static tt_rc take_comparison(parser *p, uint32_t *ret)
{
    node n = {0};
    bool is_not = false, found = false;
    TT_TRY(take_column(p, &n.column));
    for (size_t i = 0; i < TT_COUNT(sign_rows) && !found; i++)
        if (is_sign(p, sign_rows[i].sign)) {
            n.op = sign_rows[i].op;
            found = true;
        }
    if (found) {
        TT_TRY(advance(p));
        TT_TRY(take_value(p, &n));
    } else {
        TT_TRY(take_word_comparison(p, &n, &is_not));
    }
    TT_TRY(add_node(p, n, ret));
    return is_not ? add_node(p, (node){.op = NOT, .left = *ret}, ret) : TT_OK;
}

static tt_rc take_or(parser *p, uint32_t *ret);

static tt_rc take_not(parser *p, uint32_t *ret)
{
    if (++p->depth > MOST_DEPTH)
        return tt_fail(p->err, TT_INVALID, "filter: more than %d levels of parentheses and `not`", MOST_DEPTH);
    tt_rc rc;
    if (is_word(p, "not")) {
        rc = advance(p);
        if (rc == TT_OK)
            rc = take_not(p, ret);
        if (rc == TT_OK)
            rc = add_node(p, (node){.op = NOT, .left = *ret}, ret);
    } else if (is_sign(p, "(")) {
        rc = advance(p);
        if (rc == TT_OK)
            rc = take_or(p, ret);
        if (rc == TT_OK)
            rc = expect_sign(p, ")");
    } else {
        rc = take_comparison(p, ret);
    }
    p->depth--;
    return rc;
}

static tt_rc take_and(parser *p, uint32_t *ret)
{
    TT_TRY(take_not(p, ret));
    while (is_word(p, "and")) {
        node n = {.op = AND, .left = *ret};
        TT_TRY(advance(p));
        TT_TRY(take_not(p, &n.right));
        TT_TRY(add_node(p, n, ret));
    }
    return TT_OK;
}

static tt_rc take_or(parser *p, uint32_t *ret)
{
    TT_TRY(take_and(p, ret));
    while (is_word(p, "or")) {
        node n = {.op = OR, .left = *ret};
        TT_TRY(advance(p));
        TT_TRY(take_and(p, &n.right));
        TT_TRY(add_node(p, n, ret));
    }
    return TT_OK;
}

static tt_rc parse_all(tt_filter *f, tt_str text, tt_err *err)
{
    if (text.len > TEXT_BYTES_MAX)
        return tt_fail(err, TT_TOO_LARGE, "filter: more than %d bytes", TEXT_BYTES_MAX);
    parser p = {.f = f, .all = {tt_arena_dup(&f->arena, text.len ? text : TT_STR("")), text.len}, .err = err};
    if (!p.all.ptr)
        return tt_fail(err, TT_NOMEM, "out of memory");
    TT_TRY(advance(&p));
    uint32_t root;
    TT_TRY(take_or(&p, &root));
    if (p.next.kind != END)
        return wrong(&p, "`and`, `or` or the end");
    f->fields = tt_arena_alloc(&f->arena, (f->columns.len + 1) * sizeof *f->fields);
    f->types = tt_arena_alloc(&f->arena, (f->columns.len + 1) * sizeof *f->types);
    f->outcomes = tt_arena_alloc(&f->arena, f->nodes.len);
    return f->fields && f->types && f->outcomes ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

tt_rc tt_filter_parse(tt_str text, tt_filter **ret, tt_err *err)
{
    tt_filter *f = TT_NEW(tt_filter);
    tt_rc rc = parse_all(f, text, err);
    if (rc == TT_OK)
        *ret = f;
    else
        tt_filter_free(f);
    return rc;
}

void tt_filter_free(tt_filter *f)
{
    if (!f)
        return;
    tt_vec_deinit(&f->nodes);
    tt_vec_deinit(&f->values);
    tt_vec_deinit(&f->columns);
    tt_arena_deinit(&f->arena);
    tt_arena_deinit(&f->bound);
    free(f);
}

size_t tt_filter_columns(const tt_filter *f, const tt_str **ret)
{
    *ret = f->columns.ptr;
    return f->columns.len;
}

/* ---- binding ---- */

static tt_rc bind_value(tt_filter *f, const node *n, value *v, const tt_pq_field *type, tt_err *err)
{
    tt_str name = f->columns.ptr[n->column];
    if (n->op == LIKE && type->kind != TT_PQ_BYTES)
        return tt_fail(err, TT_INVALID, "filter: column `%.*s` is no text: `like` is for texts", TT_STR_ARG(name));
    if (tt_datum_parse(type, v->text, &f->bound, &v->datum))
        return TT_OK;
    double d;
    bool is_whole = type->meaning == TT_PQ_PLAIN && v->datum.kind == TT_DATUM_INT && type->kind != TT_PQ_BOOL;
    if (is_whole && n->op != LIKE && tt_parse_f64(v->text, &d, NULL) == TT_OK) { /* 2.5, or beyond the type: compared as a number */
        v->datum = (tt_datum){.kind = TT_DATUM_DOUBLE, .d = d};
        return TT_OK;
    }
    return tt_fail(err, TT_INVALID, "filter: column `%.*s` cannot be compared with `%.*s`: it is of another type", TT_STR_ARG(name), TT_STR_ARG(tt_str_slice(v->text, 0, 80)));
}

tt_rc tt_filter_bind(tt_filter *f, const tt_pq_field *fields, uint32_t count, bool is_part, tt_err *err)
{
    tt_arena_deinit(&f->bound);
    for (size_t c = 0; c < f->columns.len; c++) {
        f->fields[c] = -1;
        f->types[c] = NULL;
        for (uint32_t i = 0; i < count && !f->types[c]; i++)
            if (tt_str_eq(fields[i].name, f->columns.ptr[c])) {
                f->fields[c] = (int32_t)i;
                f->types[c] = &fields[i];
            }
        if (!f->types[c] && !is_part)
            return tt_fail(err, TT_NOT_FOUND, "filter: there is no column `%.*s`", TT_STR_ARG(tt_str_slice(f->columns.ptr[c], 0, 200)));
    }
    for (size_t i = 0; i < f->nodes.len; i++) {
        const node *n = &f->nodes.ptr[i];
        for (uint32_t k = 0; n->op < IS_NULL && k < n->count && f->types[n->column]; k++)
            TT_TRY(bind_value(f, n, &f->values.ptr[n->first + k], f->types[n->column], err));
    }
    return TT_OK;
}

/* ---- one row ---- */

/* A cell and a value; the value may be a number beside whole numbers. *ret_nan: one of them is NaN, and there is no order. */
static int compare(const tt_pq_field *type, const tt_datum *cell, const tt_datum *v, bool *ret_nan)
{
    tt_datum as_double;
    if (v->kind == TT_DATUM_DOUBLE && cell->kind == TT_DATUM_INT) {
        as_double = (tt_datum){.kind = TT_DATUM_DOUBLE, .d = type->kind == TT_PQ_UINT64 ? (double)(uint64_t)cell->i : (double)cell->i};
        cell = &as_double;
    }
    *ret_nan = (cell->kind == TT_DATUM_DOUBLE && isnan(cell->d)) || (v->kind == TT_DATUM_DOUBLE && isnan(v->d));
    return tt_datum_cmp(type, cell, v);
}

/* `%` is any text, `_` one byte. */
static bool is_like(tt_str text, tt_str pattern)
{
    size_t t = 0, p = 0, star = SIZE_MAX, from = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '%') {
            star = p++;
            from = t;
        } else if (p < pattern.len && (pattern.ptr[p] == '_' || pattern.ptr[p] == text.ptr[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '%')
        p++;
    return p == pattern.len;
}

static bool holds(op o, int order)
{
    return o == EQ ? order == 0 : o == NE ? order != 0 : o == LT ? order < 0 : o == LE ? order <= 0 : o == GT ? order > 0 : order >= 0;
}

static bool holds_for(const tt_filter *f, const node *n, const tt_datum *cell)
{
    const tt_pq_field *type = f->types[n->column];
    const value *v = &f->values.ptr[n->first];
    bool is_nan, other_nan;
    if (n->op == LIKE)
        return is_like(cell->bytes, v->datum.bytes);
    int order = compare(type, cell, &v->datum, &is_nan);
    if (n->op == BETWEEN)
        return !is_nan && order >= 0 && compare(type, cell, &v[1].datum, &other_nan) <= 0 && !other_nan;
    if (n->op != IN)
        return is_nan ? n->op == NE : holds(n->op, order);
    for (uint32_t i = 0; i < n->count; i++)
        if (compare(type, cell, &v[i].datum, &is_nan) == 0 && !is_nan)
            return true;
    return false;
}

static unsigned truth_not(unsigned a) { return (a & T ? F : 0) | (a & F ? T : 0) | (a & U); }
/* Of sets: every outcome of one with every outcome of the other. */
static unsigned truth_and(unsigned a, unsigned b)
{
    unsigned sum = 0;
    if (a & T && b & T)
        sum |= T;
    if (a & F || b & F)
        sum |= F;
    if ((a & U && b & (T | U)) || (b & U && a & (T | U)))
        sum |= U;
    return sum;
}

/* What a comparison can come to. */
typedef unsigned leaf_fn(const tt_filter *f, const node *n, const void *about);

/* Children stand before their parents, and the root is the last: no recursion, however long a chain is. */
static unsigned evaluate(const tt_filter *f, leaf_fn *leaf, const void *about)
{
    unsigned char *to = f->outcomes;
    for (size_t i = 0; i < f->nodes.len; i++) {
        const node *n = &f->nodes.ptr[i];
        unsigned sum;
        if (n->op == NOT)
            sum = truth_not(to[n->left]);
        else if (n->op == AND)
            sum = truth_and(to[n->left], to[n->right]);
        else if (n->op == OR)
            sum = truth_not(truth_and(truth_not(to[n->left]), truth_not(to[n->right])));
        else
            sum = leaf(f, n, about);
        to[i] = (unsigned char)sum;
    }
    return to[f->nodes.len - 1];
}

typedef struct {
    const tt_rows *rows;
    uint32_t r;
} one_row;

static unsigned leaf_of_row(const tt_filter *f, const node *n, const void *about)
{
    const one_row *row = about;
    const tt_datum *cell = tt_rows_cell(row->rows, (uint32_t)f->fields[n->column], row->r);
    if (n->op == IS_NULL)
        return cell->kind == TT_DATUM_NULL ? T : F;
    return cell->kind == TT_DATUM_NULL ? U : holds_for(f, n, cell) ? T : F;
}

bool tt_filter_keeps(const tt_filter *f, const tt_rows *rows, uint32_t r) { return evaluate(f, leaf_of_row, &(one_row){rows, r}) == T; }

/* ---- many rows ---- */

/* Outcomes of a comparison with one value, of cells between the bounds. */
static unsigned outcomes(const tt_pq_field *type, op o, const tt_filter_known *k, const tt_datum *v)
{
    bool is_nan;
    int low = k->has_min ? compare(type, &k->min, v, &is_nan) : -1, high = k->has_max ? compare(type, &k->max, v, &is_nan) : 1;
    bool less = low < 0, same = low <= 0 && high >= 0, more = high > 0;
    unsigned sum = 0;
    sum |= less ? (holds(o, -1) ? T : F) : 0;
    sum |= same ? (holds(o, 0) ? T : F) : 0;
    sum |= more ? (holds(o, 1) ? T : F) : 0;
    return sum;
}

static unsigned leaf_of_many(const tt_filter *f, const node *n, const void *about)
{
    const tt_filter_known *k = &((const tt_filter_known *)about)[n->column];
    const tt_pq_field *type = f->types[n->column];
    const value *v = &f->values.ptr[n->first];
    unsigned sum = 0;
    if (!k->is_known || !type)
        return T | F | U;
    if (n->op == IS_NULL)
        return (k->may_be_null ? T : 0) | (k->may_have_value ? F : 0);
    if (k->may_be_null)
        sum |= U;
    if (!k->may_have_value)
        return sum;
    if (n->op == LIKE)
        return sum | T | F;
    if (n->op == BETWEEN)
        sum |= truth_and(outcomes(type, GE, k, &v[0].datum), outcomes(type, LE, k, &v[1].datum));
    else if (n->op != IN)
        sum |= outcomes(type, n->op, k, &v->datum);
    unsigned none = T; /* that it is none of the values */
    for (uint32_t i = 0; n->op == IN && i < n->count; i++)
        none = truth_and(none, outcomes(type, NE, k, &v[i].datum));
    if (n->op == IN)
        sum |= truth_not(none);
    return k->may_be_nan ? sum | (n->op == NE ? T : F) : sum;
}

bool tt_filter_may_keep(const tt_filter *f, const tt_filter_known *known) { return evaluate(f, leaf_of_many, known) & T; }
