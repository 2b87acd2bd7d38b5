#include "query/fault.h"

#include <string.h>

#include "query/repr.h"

static const char *const kinds[] = {
    [TT_QUERY_SCHEMA] = "SCHEMA",
    [TT_QUERY_TYPE_MISMATCH] = "TYPE_MISMATCH",
    [TT_QUERY_DATASET_MISMATCH] = "DATASET_MISMATCH",
    [TT_QUERY_RELATION] = "RELATION",
};

tt_rc tt_query_fail(tt_err *err, tt_query_fault kind, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return tt_fail(err, TT_UNPROCESSABLE, "Query validation failed: ValidationError(%s: %s)", kinds[kind], text);
}

tt_rc tt_query_fail_value(tt_err *err, tt_query_fault kind, const char *before, const json_t *value, const char *after)
{
    enum { SHOWN_BYTES = 240 };
    TT_BUF_AUTO tt_buf repr = {0};
    tt_py_repr(value, &repr);
    tt_str shown = tt_str_slice(tt_buf_view(&repr), 0, SHOWN_BYTES);
    return tt_query_fail(err, kind, "%s%.*s%s%s", before, TT_STR_ARG(shown), repr.len > SHOWN_BYTES ? "..." : "", after);
}

const char *tt_query_json_hint(tt_str text, const json_error_t *why)
{
    static const struct { const char *sign, *hint; } rows[] = {
        {"too big integer", ": whole numbers lie between -2^63 and 2^63 - 1; larger ones are written with an exponent, like 1e19"},
        {"near '" "''", ": names and texts stand in double quotes"},
        {"JSON_ALLOW_NUL", ": names and texts hold no NUL"},
        {"duplicate object key", ": name each member once"},
    };
    if (tt_str_trim(text).len == 0)
        return ": it is empty, and {} asks for all groups";
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (strstr(why->text, rows[i].sign))
            return rows[i].hint;
    return "";
}
