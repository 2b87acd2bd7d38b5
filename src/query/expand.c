#include "query/expand.h"

#include "base/map.h"
#include "query/fault.h"
#include "query/ops.h"
#include "query/relation.h"

/* jansson fails only when memory is out. */
static tt_rc built(int failed, tt_err *err) { return failed ? tt_fail(err, TT_NOMEM, "out of memory for a query") : TT_OK; }

static const char *text_of(const json_t *object, const char *member) { return json_string_value(json_object_get(object, member)); }

/* ---- short forms ---- */

static tt_rc name_members(json_t *object, const char *member, const char *const *names, tt_err *err)
{
    json_t *list = json_object_get(object, member), *named = json_object();
    int failed = !named;
    for (size_t i = 0; !failed && i < json_array_size(list); i++)
        failed = json_object_set(named, names[i], json_array_get(list, i));
    failed = failed || json_object_set(object, member, named);
    json_decref(named);
    return built(failed, err);
}

static tt_rc expand_filter(json_t *holder, tt_err *err)
{
    static const char *const names[] = {"column", "op", "value"};
    return json_is_array(json_object_get(holder, "filter")) ? name_members(holder, "filter", names, err) : TT_OK;
}

static tt_rc expand_steps(json_t *holder, tt_err *err)
{
    json_t *steps = json_object_get(holder, "sequence");
    for (size_t i = 0; i < json_array_size(steps); i++)
        TT_TRY(expand_filter(json_array_get(steps, i), err));
    return TT_OK;
}

static tt_rc expand_target(json_t *condition, tt_err *err)
{
    static const char *const counts[] = {"type", "op", "value"}, *const sums[] = {"type", "column", "op", "value"};
    json_t *target = json_object_get(condition, "target");
    if (!target)
        return built(json_object_set_new(condition, "target", json_pack("{s:s,s:s,s:i}", "type", "count", "op", ">=", "value", 1)), err);
    return json_is_array(target) ? name_members(condition, "target", json_array_size(target) == 3 ? counts : sums, err) : TT_OK;
}

/* ---- includeZero ---- */

typedef enum { ZERO_FREE, ZERO_IMPLIED, ZERO_GREATER, ZERO_NEGATIVE, ZERO_PRECLUDED, ZERO_SUM } zero_rule;

static zero_rule rule_of(const json_t *target)
{
    const char *op = text_of(target, "op");
    double value = json_number_value(json_object_get(target, "value"));
    if (strcmp(text_of(target, "type"), "sum") == 0)
        return ZERO_SUM;
    if (strcmp(op, ">") == 0)
        return ZERO_GREATER;
    if (strcmp(op, "<") == 0 && value == 0)
        return ZERO_NEGATIVE;
    if (strcmp(op, "==") == 0)
        return value == 0 ? ZERO_IMPLIED : ZERO_PRECLUDED;
    if ((strcmp(op, ">=") == 0 && value > 0) || (strcmp(op, "!=") == 0 && value == 0))
        return ZERO_PRECLUDED;
    return ZERO_FREE;
}

static tt_rc refuse_zero(zero_rule rule, const json_t *condition, tt_err *err)
{
    const json_t *target = json_object_get(condition, "target");
    char before[200];
    switch (rule) {
    case ZERO_SUM:
        return tt_query_fail_value(err, TT_QUERY_TYPE_MISMATCH, "'includeZero' is not applicable for target type 'sum'. In condition: ", condition, "");
    case ZERO_GREATER:
        return tt_query_fail_value(err, TT_QUERY_TYPE_MISMATCH, "For target operator '>', 'includeZero' cannot be true. In condition: ", condition, "");
    case ZERO_NEGATIVE:
        return tt_query_fail_value(err, TT_QUERY_TYPE_MISMATCH, "Target implies a negative value. In condition: ", condition, "");
    default:
        snprintf(before, sizeof before, "Target count %s %lld explicitly precludes zero, and thus 'includeZero' cannot be true. In condition: ",
                 text_of(target, "op"), (long long)json_number_value(json_object_get(target, "value")));
        return tt_query_fail_value(err, TT_QUERY_TYPE_MISMATCH, before, condition, "");
    }
}

static tt_rc expand_zero(json_t *condition, tt_err *err)
{
    const json_t *given = json_object_get(condition, "includeZero");
    zero_rule rule = rule_of(json_object_get(condition, "target"));
    if (rule == ZERO_IMPLIED && json_is_false(given))
        return tt_query_fail_value(err, TT_QUERY_TYPE_MISMATCH, "When using a target of count == 0, 'includeZero' cannot be false. Condition: ", condition, "");
    if (rule == ZERO_IMPLIED)
        return built(json_object_set_new(condition, "includeZero", json_true()), err);
    return json_is_true(given) && rule != ZERO_FREE ? refuse_zero(rule, condition, err) : TT_OK;
}

/* ---- names ---- */

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static bool is_identifier(tt_str name)
{
    bool fits = name.len > 0 && is_letter(name.ptr[0]);
    for (size_t i = 1; fits && i < name.len; i++)
        fits = is_letter(name.ptr[i]) || (name.ptr[i] >= '0' && name.ptr[i] <= '9') || name.ptr[i] == '_';
    return fits;
}

static bool same_name(tt_str a, tt_str b, bool any_case) { return any_case ? tt_str_eq_nocase(a, b) : tt_str_eq(a, b); }

/* any_case: conditions are looked up without regard to case. */
static tt_rc check_names(const json_t *list, const char *scope, bool any_case, tt_err *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        tt_str name = tt_str_of(text_of(json_array_get(list, i), "name"));
        if (name.len == 0)
            continue;
        for (size_t k = 0; k < i; k++)
            if (same_name(tt_str_of(text_of(json_array_get(list, k), "name")), name, any_case))
                return tt_query_fail(err, TT_QUERY_SCHEMA, "Identifier name '%.*s' is not unique in scope '%s'", TT_STR_ARG(name), scope);
        if (!is_identifier(name))
            return tt_query_fail(err, TT_QUERY_SCHEMA, "Invalid identifier name '%.*s'", TT_STR_ARG(name));
        if (any_case && (tt_str_eq_nocase(name, TT_STR("and")) || tt_str_eq_nocase(name, TT_STR("or"))))
            return tt_query_fail(err, TT_QUERY_SCHEMA, "'%.*s' is not a valid condition name", TT_STR_ARG(name));
    }
    return TT_OK;
}

/* ---- aggregations ---- */

static tt_rc add_defaults(json_t *list, const json_t *untyped, tt_err *err)
{
    static const char *const types[] = {"count", "countPerValue", "groupsPerValue"};
    for (size_t i = 0; i < TT_COUNT(types); i++) {
        json_t *typed = json_deep_copy(untyped);
        bool drops_top = i == 0; /* a count has no list */
        int failed = !typed || json_object_set_new(typed, "type", json_string(types[i]));
        if (drops_top && !failed)
            (void)json_object_del(typed, "top");
        failed = json_array_append_new(list, typed) || failed;
        TT_TRY(built(failed, err));
    }
    return TT_OK;
}

static tt_rc check_other_column(const json_t *aggregation, tt_err *err)
{
    char after[120];
    const char *type = text_of(aggregation, "type");
    bool needs = strcmp(type, "sumPerValue") == 0 || strcmp(type, "meanPerValue") == 0, has = text_of(aggregation, "otherColumn");
    snprintf(after, sizeof after, " with type '%s', other column name is %s", type, needs ? "required but was not found" : "not relevant but was given");
    return needs == has ? TT_OK : tt_query_fail_value(err, TT_QUERY_SCHEMA, "For aggregation ", aggregation, after);
}

static tt_rc fill_aggregations(const json_t *given, json_t *list, tt_err *err)
{
    for (size_t i = 0; i < json_array_size(given); i++) {
        json_t *one = json_array_get(given, i);
        if (text_of(one, "type"))
            TT_TRY(built(json_array_append(list, one), err));
        else if (json_object_get(one, "name"))
            return tt_query_fail_value(err, TT_QUERY_SCHEMA, "Aggregation ", one,
                                       " expands into multiple default aggregations, and thus a name attributeis not supported");
        else
            TT_TRY(add_defaults(list, one, err));
    }
    for (size_t i = 0; i < json_array_size(list); i++)
        TT_TRY(check_other_column(json_array_get(list, i), err));
    return TT_OK;
}

static tt_rc expand_aggregations(json_t *holder, const char *member, const char *scope, tt_err *err)
{
    json_t *given = json_object_get(holder, member), *list = json_array();
    if (json_is_object(given))
        given = json_object_get(given, "columns");
    tt_rc rc = !given ? TT_OK : list ? fill_aggregations(given, list, err) : built(1, err);
    if (rc == TT_OK && given)
        rc = built(json_object_set(holder, member, list), err);
    json_decref(list);
    TT_TRY(rc);
    return check_names(json_object_get(holder, member), scope, false, err);
}

/* ---- the query ---- */

static tt_rc expand_condition(json_t *condition, tt_err *err)
{
    if (json_object_get(condition, "sequence"))
        return expand_steps(condition, err);
    TT_TRY(expand_filter(condition, err));
    TT_TRY(expand_target(condition, err));
    return expand_zero(condition, err);
}

static tt_rc expand_part(json_t *part, tt_err *err)
{
    json_t *conditions = json_object_get(part, "conditions");
    for (size_t i = 0; i < json_array_size(conditions); i++)
        TT_TRY(expand_condition(json_array_get(conditions, i), err));
    TT_TRY(expand_aggregations(part, "aggregations", "query.aggregations.name", err));
    TT_TRY(check_names(conditions, "query.conditions.name", true, err));
    return tt_relation_expand(part, err);
}

static tt_rc expand_funnel(json_t *funnel, tt_err *err)
{
    TT_TRY(expand_steps(funnel, err));
    TT_TRY(expand_aggregations(funnel, "stepAggregations", "funnel.stepAggregations.name", err));
    return expand_aggregations(funnel, "endAggregations", "funnel.endAggregations.name", err);
}

static tt_rc check_timeframe(const json_t *timeframe, tt_err *err)
{
    const json_t *from = json_object_get(timeframe, "from"), *to = json_object_get(timeframe, "to");
    bool are_whole = json_is_integer(from) && json_is_integer(to); /* nanoseconds are more than doubles can tell apart */
    if (!json_is_number(from) || !json_is_number(to) ||
        (are_whole ? json_integer_value(to) > json_integer_value(from) : json_number_value(to) > json_number_value(from)))
        return TT_OK;
    return tt_query_fail_value(err, TT_QUERY_SCHEMA, "Value of 'to' (exclusive) should be larger than 'from' (inclusive) in query timeframe: ", timeframe, "");
}

static tt_rc expand(json_t *query, tt_err *err)
{
    json_t *part = json_object_get(query, "query"), *funnel = json_object_get(query, "funnel"), *retention = json_object_get(query, "retention");
    if (part)
        TT_TRY(expand_part(part, err));
    if (funnel)
        TT_TRY(expand_funnel(funnel, err));
    if (retention) {
        TT_TRY(expand_filter(json_object_get(retention, "first"), err));
        TT_TRY(expand_filter(json_object_get(retention, "again"), err));
    }
    return check_timeframe(json_object_get(query, "timeframe"), err);
}

tt_rc tt_query_expand(const json_t *query, json_t **ret, tt_err *err)
{
    json_t *copy = json_deep_copy(query);
    if (!copy)
        return built(1, err);
    tt_rc rc = expand(copy, err);
    if (rc == TT_OK)
        *ret = copy;
    else
        json_decref(copy);
    return rc;
}
