#include "query/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/mem.h"
#include "query/fault.h"

enum {
    MOST_BYTES = 8192,
    MOST_NESTING = 64,
    MOST_STEPS = 200000,        /* of a match: a millisecond or so */
    MOST_HEAP_KIB = 4096,
    JIT_STACK_LEAST = 32 << 10,
    JIT_STACK_MOST = 1 << 20,
};

struct tt_regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    char *pattern;
    int failure;                /* of PCRE2, of the text that was given up */
    size_t failed_bytes;        /* how long that was */
};

static tt_rc unreadable(tt_str pattern, const char *why, size_t at, tt_err *err)
{
    return tt_query_fail(err, TT_QUERY_SCHEMA, "the regular expression '%.*s' cannot be read: %s (at byte %zu)", TT_STR_ARG(tt_str_slice(pattern, 0, 200)), why, at);
}

static tt_rc compile(tt_regex *r, tt_str pattern, tt_err *err)
{
    int code;
    PCRE2_SIZE at = 0;
    PCRE2_UCHAR text[120] = "";
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return tt_fail(err, TT_NOMEM, "out of memory for a regular expression");
    pcre2_set_parens_nest_limit(context, MOST_NESTING);
    r->code = pcre2_compile((PCRE2_SPTR)(pattern.ptr ? pattern.ptr : ""), pattern.len, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &at, context);
    pcre2_compile_context_free(context);
    if (r->code)
        return TT_OK;
    pcre2_get_error_message(code, text, sizeof text);
    return unreadable(pattern, (const char *)text, at, err);
}

/* Where the machine has no JIT the expression is interpreted, within the same limits. */
static tt_rc set_up(tt_regex *r, tt_str pattern, tt_err *err)
{
    if (pattern.len > MOST_BYTES)
        return tt_query_fail(err, TT_QUERY_SCHEMA, "the regular expression has %zu bytes: at most %d are read", pattern.len, MOST_BYTES);
    TT_TRY(compile(r, pattern, err));
    r->data = pcre2_match_data_create(1, NULL);
    r->context = pcre2_match_context_create(NULL);
    r->pattern = tt_str_dup(pattern);
    if (!r->data || !r->context || !r->pattern)
        return tt_fail(err, TT_NOMEM, "out of memory for a regular expression");
    pcre2_set_match_limit(r->context, MOST_STEPS);
    pcre2_set_heap_limit(r->context, MOST_HEAP_KIB);
    if (pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0)
        r->stack = pcre2_jit_stack_create(JIT_STACK_LEAST, JIT_STACK_MOST, NULL);
    if (r->stack)
        pcre2_jit_stack_assign(r->context, NULL, r->stack);
    return TT_OK;
}

tt_rc tt_regex_new(tt_str pattern, tt_regex **ret, tt_err *err)
{
    tt_regex *r = TT_NEW(tt_regex);
    tt_rc rc = set_up(r, pattern, err);
    if (rc == TT_OK)
        *ret = r;
    else
        tt_regex_free(r);
    return rc;
}

void tt_regex_free(tt_regex *r)
{
    if (!r)
        return;
    pcre2_match_data_free(r->data);
    pcre2_match_context_free(r->context);
    pcre2_jit_stack_free(r->stack);
    pcre2_code_free(r->code);
    free(r->pattern);
    free(r);
}

bool tt_regex_holds(tt_regex *r, tt_str text)
{
    if (r->failure) /* the query is lost: no further time for it */
        return false;
    int rc = pcre2_match(r->code, (PCRE2_SPTR)(text.ptr ? text.ptr : ""), text.len, 0, 0, r->data, r->context);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
        r->failure = rc;
        r->failed_bytes = text.len;
    }
    return rc >= 0;
}

tt_rc tt_regex_check(const tt_regex *r, tt_err *err)
{
    PCRE2_UCHAR text[120] = "";
    if (!r->failure)
        return TT_OK;
    pcre2_get_error_message(r->failure, text, sizeof text);
    return tt_fail(err, TT_UNPROCESSABLE, "the regular expression '%.200s' takes too long on a text of %zu bytes (%s): write it without repetitions inside of repetitions", r->pattern,
                   r->failed_bytes, (const char *)text);
}
