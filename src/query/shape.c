#include "query/shape.h"

#include <math.h>

#include "base/nearest.h"
#include "query/fault.h"
#include "query/plan.h"

enum { MOST_ENTRIES = 1000, MOST_VALUES = 100000 }; /* of conditions, steps, ...; of values behind an operator */

typedef tt_rc check_fn(const json_t *value, tt_err *err);

typedef struct {
    const char *name;
    check_fn *check;
    bool required;
} member;

/* ---- plain values ---- */

static tt_rc wrong_type(const json_t *value, const char *type, tt_err *err)
{
    char after[64];
    snprintf(after, sizeof after, " is not of type '%s'", type);
    return tt_query_fail_value(err, TT_QUERY_SCHEMA, "", value, after);
}

static tt_rc check_string(const json_t *value, tt_err *err) { return json_is_string(value) ? TT_OK : wrong_type(value, "string", err); }
static tt_rc check_bool(const json_t *value, tt_err *err) { return json_is_boolean(value) ? TT_OK : wrong_type(value, "boolean", err); }

static bool is_integral(const json_t *value)
{
    return json_is_integer(value) || (json_is_real(value) && trunc(json_real_value(value)) == json_real_value(value) && fabs(json_real_value(value)) < 9e18);
}

static tt_rc check_between(const json_t *value, int64_t least, int64_t most, tt_err *err)
{
    char after[64];
    if (!is_integral(value))
        return wrong_type(value, "integer", err);
    bool is_small = json_number_value(value) < (double)least;
    if (!is_small && json_number_value(value) <= (double)most)
        return TT_OK;
    snprintf(after, sizeof after, " is %s than the %s of %lld", is_small ? "less" : "greater", is_small ? "minimum" : "maximum", (long long)(is_small ? least : most));
    return tt_query_fail_value(err, TT_QUERY_SCHEMA, "", value, after);
}

static tt_rc check_count(const json_t *value, tt_err *err) { return check_between(value, 0, INT64_MAX, err); }
static tt_rc check_top(const json_t *value, tt_err *err) { return check_between(value, 1, 1000000, err); }

/* A number of the timestamp's units, or a duration ("2h"), which is read when the column is known. */
static tt_rc check_span(const json_t *value, tt_err *err)
{
    return json_is_string(value) ? TT_OK : check_count(value, err);
}

/* A number of the timestamp's units, or a date. */
static tt_rc check_moment(const json_t *value, tt_err *err)
{
    return json_is_string(value) ? TT_OK : check_count(value, err);
}

static tt_rc check_number(const json_t *value, tt_err *err) { return json_is_number(value) ? TT_OK : wrong_type(value, "number", err); }

/* near: offered all that it could be. */
static tt_rc not_one_of(const json_t *value, const char *list, const tt_nearest *near, tt_err *err)
{
    char after[512], hint[64];
    snprintf(after, sizeof after, " is not one of [%s]%s", list, json_is_string(value) ? tt_nearest_hint(near, hint, sizeof hint) : "");
    return tt_query_fail_value(err, TT_QUERY_SCHEMA, "", value, after);
}

/* Operators as messages list them; in targets the comparisons only. */
static tt_rc check_op_of(const json_t *value, bool is_target, tt_err *err)
{
    tt_str text = tt_str_of(json_string_value(value));
    const tt_op_row *row = json_is_string(value) ? tt_op_find(text) : NULL;
    char list[320] = "";
    size_t len = 0;
    tt_nearest near = tt_nearest_start(text);
    if (row && (row->is_comparison || !is_target))
        return TT_OK;
    for (size_t i = 0; (row = tt_op_at(i)) && len < sizeof list; i++) {
        if (is_target && !row->is_comparison)
            continue;
        len += (size_t)snprintf(list + len, sizeof list - len, "%s'%s'", len ? ", " : "", row->word);
        tt_nearest_offer(&near, tt_str_of(row->word));
    }
    return not_one_of(value, list, &near, err);
}

static tt_rc check_op(const json_t *value, tt_err *err) { return check_op_of(value, false, err); }
static tt_rc check_target_op(const json_t *value, tt_err *err) { return check_op_of(value, true, err); }

static tt_rc check_aggregation_type(const json_t *value, tt_err *err)
{
    static const char *const types[] = {"count", "countPerValue", "groupsPerValue", "sumPerValue", "meanPerValue"};
    tt_nearest near = tt_nearest_start(tt_str_of(json_string_value(value)));
    for (size_t i = 0; json_is_string(value) && i < TT_COUNT(types); i++) {
        if (strcmp(json_string_value(value), types[i]) == 0)
            return TT_OK;
        tt_nearest_offer(&near, tt_str_of(types[i]));
    }
    return not_one_of(value, "'count', 'countPerValue', 'groupsPerValue', 'sumPerValue', 'meanPerValue'", &near, err);
}

static bool is_scalar(const json_t *value) { return json_is_string(value) || json_is_number(value) || json_is_boolean(value); }

static tt_rc too_long(size_t size, size_t most, tt_err *err)
{
    return tt_query_fail(err, TT_QUERY_SCHEMA, "a list of %zu entries is too long: at most %zu are taken", size, most);
}

static tt_rc check_operand(const json_t *value, tt_err *err)
{
    bool fits = is_scalar(value) || json_is_array(value);
    if (json_is_array(value) && json_array_size(value) == 0)
        return tt_query_fail(err, TT_QUERY_SCHEMA, "[] is too short: a list of values has at least one");
    if (json_array_size(value) > MOST_VALUES)
        return too_long(json_array_size(value), MOST_VALUES, err);
    for (size_t i = 0; fits && i < json_array_size(value); i++)
        fits = is_scalar(json_array_get(value, i));
    return fits ? TT_OK : tt_query_fail_value(err, TT_QUERY_SCHEMA, "", value, " is not of type 'string', 'number', 'boolean' or a list of them");
}

/* ---- objects and arrays ---- */

static const member *find_member(const member *members, const char *name)
{
    for (; members->name; members++)
        if (strcmp(members->name, name) == 0)
            return members;
    return NULL;
}

static void hint_member(const member *members, const char *key, char *out, size_t size)
{
    tt_nearest near = tt_nearest_start(tt_str_of(key));
    for (; members->name; members++)
        tt_nearest_offer(&near, tt_str_of(members->name));
    tt_nearest_hint(&near, out, size);
}

static tt_rc check_no_others(const json_t *value, const member *members, tt_err *err)
{
    TT_BUF_AUTO tt_buf names = {0};
    size_t count = 0;
    const char *key;
    char hint[64] = "";
    json_t *ignored;
    json_object_foreach((json_t *)value, key, ignored) {
        if (find_member(members, key))
            continue;
        tt_buf_printf(&names, "%s'%s'", count ? ", " : "", key);
        if (count++ == 0)
            hint_member(members, key, hint, sizeof hint);
    }
    if (count == 0)
        return TT_OK;
    tt_str shown = tt_str_slice(tt_buf_view(&names), 0, 240);
    return tt_query_fail(err, TT_QUERY_SCHEMA, "Additional properties are not allowed (%.*s %s unexpected)%s", TT_STR_ARG(shown), count == 1 ? "was" : "were", hint);
}

static tt_rc check_object(const json_t *value, const member *members, tt_err *err)
{
    if (!json_is_object(value))
        return wrong_type(value, "object", err);
    for (const member *m = members; m->name; m++) {
        const json_t *v = json_object_get(value, m->name);
        if (v)
            TT_TRY(m->check(v, err));
        else if (m->required)
            return tt_query_fail(err, TT_QUERY_SCHEMA, "'%s' is a required property", m->name);
    }
    return check_no_others(value, members, err);
}

static tt_rc check_array(const json_t *value, check_fn *check, size_t least, tt_err *err)
{
    if (!json_is_array(value))
        return wrong_type(value, "array", err);
    if (json_array_size(value) < least)
        return tt_query_fail_value(err, TT_QUERY_SCHEMA, "", value, " is too short");
    if (json_array_size(value) > MOST_ENTRIES)
        return too_long(json_array_size(value), MOST_ENTRIES, err);
    for (size_t i = 0; i < json_array_size(value); i++)
        TT_TRY(check(json_array_get(value, i), err));
    return TT_OK;
}

static tt_rc no_form(const json_t *value, tt_err *err)
{
    return tt_query_fail_value(err, TT_QUERY_SCHEMA, "", value, " is not valid under any of the given schemas");
}

/* ---- filters ---- */

static tt_rc check_verbose_filter(const json_t *value, tt_err *err)
{
    static const member members[] = {{"column", check_string, true}, {"op", check_op, true}, {"value", check_operand, true}, {0}};
    return check_object(value, members, err);
}

static tt_rc check_filter(const json_t *value, tt_err *err)
{
    if (!json_is_array(value))
        return check_verbose_filter(value, err);
    if (json_array_size(value) != 3)
        return tt_query_fail_value(err, TT_QUERY_SCHEMA, "a filter is [column, operator, value], not ", value, "");
    TT_TRY(check_string(json_array_get(value, 0), err));
    TT_TRY(check_op(json_array_get(value, 1), err));
    return check_operand(json_array_get(value, 2), err);
}

static tt_rc check_filters(const json_t *value, tt_err *err) { return check_array(value, check_verbose_filter, 1, err); }

/* ---- targets ---- */

static tt_rc check_short_target(const json_t *value, tt_err *err)
{
    const char *type = json_string_value(json_array_get(value, 0));
    size_t size = json_array_size(value);
    if (type && strcmp(type, "count") == 0 && size == 3) {
        TT_TRY(check_target_op(json_array_get(value, 1), err));
        return check_count(json_array_get(value, 2), err);
    }
    if (type && strcmp(type, "sum") == 0 && size == 4) {
        TT_TRY(check_string(json_array_get(value, 1), err));
        TT_TRY(check_target_op(json_array_get(value, 2), err));
        return check_number(json_array_get(value, 3), err);
    }
    return tt_query_fail_value(err, TT_QUERY_SCHEMA, "a target is [\"count\", operator, number] or [\"sum\", column, operator, number], not ", value, "");
}

static tt_rc check_target(const json_t *value, tt_err *err)
{
    static const member counts[] = {{"type", check_string, true}, {"op", check_target_op, true}, {"value", check_count, true}, {0}};
    static const member sums[] = {{"type", check_string, true}, {"column", check_string, true}, {"op", check_target_op, true}, {"value", check_number, true}, {0}};
    if (json_is_array(value))
        return check_short_target(value, err);
    const char *type = json_string_value(json_object_get(value, "type"));
    if (type && strcmp(type, "count") == 0)
        return check_object(value, counts, err);
    if (type && strcmp(type, "sum") == 0)
        return check_object(value, sums, err);
    return no_form(value, err);
}

/* ---- steps, conditions, aggregations ---- */

/* Exactly one of the two forms. */
static tt_rc check_either(const json_t *value, const char *first, const member *if_first, const char *second, const member *if_second, tt_err *err)
{
    bool has_first = json_object_get(value, first) != NULL, has_second = json_object_get(value, second) != NULL;
    if (!json_is_object(value))
        return wrong_type(value, "object", err);
    if (has_first == has_second)
        return no_form(value, err);
    return check_object(value, has_first ? if_first : if_second, err);
}

#define STEP_MEMBERS {"rowFound", check_bool}, {"minGap", check_span}, {"maxGap", check_span}
static tt_rc check_step(const json_t *value, tt_err *err)
{
    static const member one[] = {{"filter", check_filter, true}, STEP_MEMBERS, {0}};
    static const member many[] = {{"filters", check_filters, true}, STEP_MEMBERS, {0}};
    return check_either(value, "filter", one, "filters", many, err);
}

static tt_rc check_steps(const json_t *value, tt_err *err) { return check_array(value, check_step, 1, err); }

#define CONDITION_MEMBERS {"name", check_string}, {"target", check_target}, {"includeZero", check_bool}
static tt_rc check_condition(const json_t *value, tt_err *err)
{
    static const member one[] = {{"filter", check_filter, true}, CONDITION_MEMBERS, {0}};
    static const member many[] = {{"filters", check_filters, true}, CONDITION_MEMBERS, {0}};
    static const member steps[] = {{"name", check_string}, {"sequence", check_steps, true}, {"maxDuration", check_span}, {0}};
    if (!json_object_get(value, "sequence"))
        return check_either(value, "filter", one, "filters", many, err);
    return check_object(value, steps, err);
}

static tt_rc check_aggregation(const json_t *value, tt_err *err)
{
    static const member members[] = {{"column", check_string, true}, {"type", check_aggregation_type}, {"name", check_string},
                                     {"otherColumn", check_string}, {"top", check_top}, {0}};
    return check_object(value, members, err);
}

/* The older service's own pages show {"columns": [...]}, too. */
static tt_rc check_aggregations(const json_t *value, tt_err *err)
{
    const json_t *columns = json_object_get(value, "columns");
    return check_array(columns && json_object_size(value) == 1 ? columns : value, check_aggregation, 0, err);
}

static tt_rc check_conditions(const json_t *value, tt_err *err) { return check_array(value, check_condition, 0, err); }

/* ---- the query ---- */

static tt_rc check_timeframe(const json_t *value, tt_err *err)
{
    static const member members[] = {{"from", check_moment}, {"to", check_moment}, {0}};
    return check_object(value, members, err);
}

static tt_rc check_part(const json_t *value, tt_err *err)
{
    static const member members[] = {{"relation", check_string}, {"conditions", check_conditions}, {"aggregations", check_aggregations}, {0}};
    return check_object(value, members, err);
}

static tt_rc check_share(const json_t *value, tt_err *err)
{
    double share = json_number_value(value);
    return json_is_number(value) && share >= 0 && share <= 1 ? TT_OK : tt_query_fail_value(err, TT_QUERY_SCHEMA, "", value, " is not a number from 0 to 1");
}

static tt_rc check_quantiles(const json_t *value, tt_err *err)
{
    TT_TRY(check_array(value, check_share, 1, err));
    return json_array_size(value) <= TT_MOST_QUANTILES ? TT_OK : too_long(json_array_size(value), TT_MOST_QUANTILES, err);
}

static tt_rc check_times(const json_t *value, tt_err *err)
{
    static const member members[] = {{"quantiles", check_quantiles}, {0}};
    return json_is_object(value) ? check_object(value, members, err) : check_bool(value, err);
}

static tt_rc check_breakdown(const json_t *value, tt_err *err)
{
    static const member members[] = {{"column", check_string, true}, {"top", check_top}, {0}};
    return check_object(value, members, err);
}

static tt_rc check_funnel(const json_t *value, tt_err *err)
{
    static const member members[] = {{"sequence", check_steps, true}, {"maxDuration", check_span}, {"stepAggregations", check_aggregations},
                                     {"endAggregations", check_aggregations}, {"timeToConvert", check_times}, {"breakdown", check_breakdown}, {0}};
    return check_object(value, members, err);
}

/* Which rows: a filter, or several. */
static tt_rc check_rows(const json_t *value, tt_err *err)
{
    static const member one[] = {{"filter", check_filter, true}, {0}};
    static const member many[] = {{"filters", check_filters, true}, {0}};
    return check_either(value, "filter", one, "filters", many, err);
}

static tt_rc check_periods(const json_t *value, tt_err *err) { return check_between(value, 1, 366, err); }

/* A number of the timestamp's units, or a word or duration, which is read when the column is known. */
static tt_rc check_period(const json_t *value, tt_err *err) { return json_is_string(value) ? TT_OK : check_between(value, 1, INT64_MAX, err); }

static tt_rc check_retention(const json_t *value, tt_err *err)
{
    static const member members[] = {{"first", check_rows}, {"again", check_rows}, {"period", check_period, true}, {"periods", check_periods}, {0}};
    return check_object(value, members, err);
}

tt_rc tt_query_check_shape(const json_t *query, tt_err *err)
{
    static const member members[] = {{"timeframe", check_timeframe}, {"query", check_part}, {"funnel", check_funnel}, {"retention", check_retention}, {0}};
    return check_object(query, members, err);
}
