#include "query/plan.h"

#include <math.h>

#include "base/nearest.h"
#include "query/expand.h"
#include "query/fault.h"
#include "query/literal.h"
#include "query/regex.h"
#include "query/shape.h"

/* A plan in the making: what is const to its readers is not yet. */
typedef struct {
    tt_plan *plan;
    bool *used;
    tt_err *err;
} maker;

static const char *text_of(const json_t *object, const char *member) { return json_string_value(json_object_get(object, member)); }
static const tt_query_column *time_column(const maker *m) { return &m->plan->columns.columns[m->plan->columns.time]; }

static tt_rc no_memory(maker *m) { return tt_fail(m->err, TT_NOMEM, "out of memory for a query"); }
static void *take(maker *m, size_t count, size_t size) { return tt_arena_alloc(&m->plan->arena, (count ? count : 1) * size); }

static tt_rc copy_text(maker *m, tt_str text, tt_str *ret)
{
    char *copy = tt_arena_dup(&m->plan->arena, text);
    *ret = (tt_str){copy, text.len};
    return copy ? TT_OK : no_memory(m);
}

/* ---- columns ---- */

ptrdiff_t tt_query_column_find(const tt_query_columns *c, tt_str name)
{
    for (size_t i = 0; i < c->count; i++)
        if (tt_str_eq(c->columns[i].name, name))
            return (ptrdiff_t)i;
    return -1;
}

static tt_rc copy_columns(maker *m, const tt_query_columns *from)
{
    tt_query_column *columns = take(m, from->count, sizeof *columns);
    m->used = take(m, from->count, sizeof *m->used);
    if (!columns || !m->used)
        return no_memory(m);
    for (size_t i = 0; i < from->count; i++) {
        columns[i] = from->columns[i];
        TT_TRY(copy_text(m, from->columns[i].name, &columns[i].name));
    }
    m->plan->columns = *from;
    m->plan->columns.columns = columns;
    m->plan->column_used = m->used;
    m->used[from->group] = m->used[from->time] = true;
    return TT_OK;
}

static tt_rc find_column(maker *m, const char *name, uint32_t *ret)
{
    ptrdiff_t at = tt_query_column_find(&m->plan->columns, tt_str_of(name));
    char hint[240];
    tt_nearest near = tt_nearest_start(tt_str_of(name));
    *ret = (uint32_t)at;
    if (at >= 0)
        return TT_OK;
    for (size_t i = 0; i < m->plan->columns.count; i++)
        tt_nearest_offer(&near, m->plan->columns.columns[i].name);
    return tt_query_fail(m->err, TT_QUERY_DATASET_MISMATCH, "Column '%.200s' not in dataset%s", name, tt_nearest_hint(&near, hint, sizeof hint));
}

static tt_rc use_column(maker *m, const char *name, uint32_t *ret)
{
    TT_TRY(find_column(m, name, ret));
    m->used[*ret] = true;
    return TT_OK;
}

/* Of sums: INT or FLOAT. */
static tt_rc use_number_column(maker *m, const char *name, uint32_t *ret)
{
    TT_TRY(use_column(m, name, ret));
    tt_col_type type = m->plan->columns.columns[*ret].type;
    if (type == TT_COL_INT || type == TT_COL_FLOAT)
        return TT_OK;
    return tt_query_fail(m->err, TT_QUERY_TYPE_MISMATCH, "Column '%.200s' is of type %s, but should be one of ['INT', 'FLOAT']", name, tt_col_type_name(type));
}

/* ---- filters ---- */

static tt_rc read_count_operand(maker *m, const json_t *value, const tt_query_column *column, tt_literal *ret)
{
    static const tt_query_column whole = {.name = {"size", 4}, .type = TT_COL_INT};
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return tt_query_fail_value(m->err, TT_QUERY_TYPE_MISMATCH, "The size of a list is compared with a whole number, not with ", value, "");
    (void)column;
    return tt_literal_read(value, &whole, TT_COL_INT, ret, m->err);
}

static tt_rc read_one(maker *m, const json_t *value, const tt_query_column *column, tt_op_operand operand, tt_literal *ret)
{
    tt_col_type type = column->type == TT_COL_LIST ? column->element : column->type;
    TT_TRY(operand == TT_OPERAND_COUNT ? read_count_operand(m, value, column, ret) : tt_literal_read(value, column, type, ret, m->err));
    return ret->text.ptr ? copy_text(m, ret->text, &ret->text) : TT_OK;
}

/* It is made again wherever it is used: expressions are not shared by threads. */
static tt_rc check_regex(maker *m, tt_str pattern)
{
    tt_regex *regex = NULL;
    tt_rc rc = tt_regex_new(pattern, &regex, m->err);
    tt_regex_free(regex);
    return rc;
}

static tt_rc read_operand(maker *m, const json_t *value, const tt_query_column *column, const tt_op_row *op, tt_filter *f)
{
    bool is_list = json_is_array(value);
    if (is_list != (op->operand == TT_OPERAND_LIST))
        return tt_query_fail(m->err, TT_QUERY_TYPE_MISMATCH, "Operator '%s' needs %s", op->word, is_list ? "one value, not a list" : "a list of values");
    f->value_count = is_list ? json_array_size(value) : 1;
    tt_literal *values = take(m, f->value_count, sizeof *values);
    if (!values)
        return no_memory(m);
    for (size_t i = 0; i < f->value_count; i++)
        TT_TRY(read_one(m, is_list ? json_array_get(value, i) : value, column, op->operand, &values[i]));
    f->values = values;
    return op->op == TT_OP_REGEX ? check_regex(m, values[0].text) : TT_OK;
}

static tt_rc fail_operator(maker *m, const tt_op_row *op, const tt_query_column *column)
{
    TT_BUF_AUTO tt_buf known = {0};
    const tt_op_row *one;
    for (size_t i = 0; (one = tt_op_at(i)); i++)
        if (one->types & (1u << column->type))
            tt_buf_printf(&known, "%s%s", known.len ? ", " : "", one->word);
    return tt_query_fail(m->err, TT_QUERY_TYPE_MISMATCH, "Operator '%s' is not applicable for column '%.*s' of type %s: it takes %s", op->word,
                         TT_STR_ARG(tt_str_slice(column->name, 0, 200)), tt_col_type_name(column->type), tt_buf_cstr(&known));
}

static tt_rc read_filter(maker *m, const json_t *filter, tt_filter *f)
{
    const tt_op_row *op = tt_op_find(tt_str_of(text_of(filter, "op")));
    TT_TRY(use_column(m, text_of(filter, "column"), &f->column));
    const tt_query_column *column = &m->plan->columns.columns[f->column];
    if (!(op->types & (1u << column->type)))
        return fail_operator(m, op, column);
    f->op = op->op;
    return read_operand(m, json_object_get(filter, "value"), column, op, f);
}

/* `filter` or `filters` of a condition or step. */
static tt_rc read_test(maker *m, const json_t *holder, tt_row_test *ret)
{
    const json_t *one = json_object_get(holder, "filter"), *many = json_object_get(holder, "filters");
    size_t count = one ? 1 : json_array_size(many);
    tt_filter *filters = take(m, count, sizeof *filters);
    if (!filters)
        return no_memory(m);
    for (size_t i = 0; i < count; i++)
        TT_TRY(read_filter(m, one ? one : json_array_get(many, i), &filters[i]));
    *ret = (tt_row_test){filters, count};
    return TT_OK;
}

/* ---- sequences ---- */

static tt_rc read_span(maker *m, const json_t *holder, const char *member, int64_t *ret)
{
    const json_t *value = json_object_get(holder, member);
    *ret = -1;
    return value ? tt_literal_span(value, time_column(m), member, ret, m->err) : TT_OK;
}

static tt_rc read_step(maker *m, const json_t *step, size_t number, tt_step *s)
{
    TT_TRY(read_test(m, step, &s->test));
    s->forbidden = json_is_false(json_object_get(step, "rowFound"));
    TT_TRY(read_span(m, step, "minGap", &s->min_gap));
    TT_TRY(read_span(m, step, "maxGap", &s->max_gap));
    bool has_gap = s->min_gap >= 0 || s->max_gap >= 0;
    if (has_gap && (number == 0 || s->forbidden))
        return tt_query_fail(m->err, TT_QUERY_SCHEMA, "step %zu: a gap is the time since the step before: %s", number,
                             number == 0 ? "the first step has none" : "a step that must not happen has none");
    if (s->max_gap >= 0 && s->min_gap > s->max_gap)
        return tt_query_fail(m->err, TT_QUERY_SCHEMA, "step %zu: minGap is larger than maxGap", number);
    return TT_OK;
}

static tt_rc check_forbidden(maker *m, const tt_step *steps, size_t count)
{
    size_t wanted = 0;
    for (size_t i = 0; i < count; i++)
        wanted += !steps[i].forbidden;
    if (wanted)
        return TT_OK;
    return tt_query_fail(m->err, TT_QUERY_SCHEMA, "a sequence needs at least one step that happens: all of its steps have rowFound false");
}

static tt_rc read_sequence(maker *m, const json_t *holder, tt_sequence *ret)
{
    const json_t *list = json_object_get(holder, "sequence");
    size_t count = json_array_size(list);
    tt_step *steps = take(m, count, sizeof *steps);
    if (!steps)
        return no_memory(m);
    *ret = (tt_sequence){.steps = steps, .count = count, .is_plain = true};
    TT_TRY(read_span(m, holder, "maxDuration", &ret->max_duration));
    ret->is_plain = ret->max_duration < 0;
    for (size_t i = 0; i < count; i++) {
        TT_TRY(read_step(m, json_array_get(list, i), i, &steps[i]));
        ret->is_plain = ret->is_plain && !steps[i].forbidden && steps[i].min_gap < 0 && steps[i].max_gap < 0;
    }
    return check_forbidden(m, steps, count);
}

/* ---- conditions ---- */

static tt_rc read_target(maker *m, const json_t *target, tt_condition *c)
{
    static const tt_query_column counts = {.name = {"count", 5}, .type = TT_COL_INT}, sums = {.name = {"sum", 3}, .type = TT_COL_FLOAT};
    c->op = tt_op_find(tt_str_of(text_of(target, "op")))->op;
    if (strcmp(text_of(target, "type"), "count") == 0)
        return tt_literal_read(json_object_get(target, "value"), &counts, TT_COL_INT, &c->value, m->err);
    c->kind = TT_CONDITION_SUM;
    TT_TRY(use_number_column(m, text_of(target, "column"), &c->sum_column));
    bool is_int = m->plan->columns.columns[c->sum_column].type == TT_COL_INT;
    return tt_literal_read(json_object_get(target, "value"), is_int ? &counts : &sums, is_int ? TT_COL_INT : TT_COL_FLOAT, &c->value, m->err);
}

static tt_rc read_condition(maker *m, const json_t *condition, tt_condition *c)
{
    if (json_object_get(condition, "sequence")) {
        c->kind = TT_CONDITION_SEQUENCE;
        return read_sequence(m, condition, &c->sequence);
    }
    TT_TRY(read_test(m, condition, &c->test));
    TT_TRY(read_target(m, json_object_get(condition, "target"), c));
    c->include_zero = json_is_true(json_object_get(condition, "includeZero"));
    return TT_OK;
}

/* Columns of conditions that the relation leaves out are checked, but not read. */
static tt_rc read_conditions(maker *m, const json_t *list)
{
    tt_plan *plan = m->plan;
    size_t count = json_array_size(list);
    tt_condition *conditions = take(m, count, sizeof *conditions);
    bool *all_used = m->used, *aside = take(m, plan->columns.count, sizeof *aside);
    if (!conditions || !aside)
        return no_memory(m);
    plan->conditions = conditions;
    plan->condition_count = count;
    for (size_t i = 0; i < plan->relation.count; i++)
        if (plan->relation.ops[i].kind == TT_REL_CONDITION)
            conditions[plan->relation.ops[i].condition].is_used = true;
    for (size_t i = 0; i < count; i++) {
        m->used = conditions[i].is_used ? all_used : aside;
        TT_TRY(read_condition(m, json_array_get(list, i), &conditions[i]));
    }
    m->used = all_used;
    return TT_OK;
}

/* ---- aggregations ---- */

static const char *const agg_types[] = {
    [TT_AGG_COUNT] = "count", [TT_AGG_COUNT_PER_VALUE] = "countPerValue", [TT_AGG_GROUPS_PER_VALUE] = "groupsPerValue",
    [TT_AGG_SUM_PER_VALUE] = "sumPerValue", [TT_AGG_MEAN_PER_VALUE] = "meanPerValue",
};

const char *tt_agg_type_name(tt_agg_type type)
{
    tt_assert((size_t)type < TT_COUNT(agg_types));
    return agg_types[type];
}

static tt_rc read_aggregation(maker *m, const json_t *one, tt_aggregation *a)
{
    while (strcmp(agg_types[a->type], text_of(one, "type")) != 0)
        a->type++;
    TT_TRY(use_column(m, text_of(one, "column"), &a->column));
    const char *other = text_of(one, "otherColumn");
    if (other)
        TT_TRY(use_number_column(m, other, &a->other_column));
    double top = json_number_value(json_object_get(one, "top"));
    if (top > 0 && a->type == TT_AGG_COUNT)
        return tt_query_fail_value(m->err, TT_QUERY_SCHEMA, "'top' is not applicable for type 'count': ", one, "");
    a->top = (uint32_t)top;
    return copy_text(m, tt_str_of(text_of(one, "name") ? text_of(one, "name") : ""), &a->name);
}

static tt_rc read_aggregations(maker *m, const json_t *list, tt_aggregations *ret)
{
    size_t count = json_array_size(list);
    tt_aggregation *all = take(m, count, sizeof *all);
    if (!all)
        return no_memory(m);
    for (size_t i = 0; i < count; i++)
        TT_TRY(read_aggregation(m, json_array_get(list, i), &all[i]));
    *ret = (tt_aggregations){all, count, list != NULL};
    return TT_OK;
}

/* ---- the timeframe ---- */

static int digits_of(double value)
{
    int n = 1;
    for (value = fabs(trunc(value)); value >= 10; value /= 10)
        n++;
    return n;
}

/* A time in seconds given for a column in milliseconds is a mistake that is worth an error. A date has no scale, and what lies among the known times has theirs. */
static tt_rc check_scale(maker *m, const json_t *timeframe, const char *member, double given, double known, const char *which)
{
    char before[200];
    bool is_among = given >= m->plan->columns.min_time && given <= m->plan->columns.max_time, is_date = json_is_string(json_object_get(timeframe, member));
    if (given == 0 || isnan(known) || is_among || is_date || abs(digits_of(given) - digits_of(known)) < 2)
        return TT_OK;
    snprintf(before, sizeof before, "Given timestamp %.0f doesn't appear to be in same scale as %s timestamp in dataset (%.0f). Query timeframe is: ", given, which, known);
    return tt_query_fail_value(m->err, TT_QUERY_TYPE_MISMATCH, before, timeframe, "");
}

static tt_rc read_moment(maker *m, const json_t *timeframe, const char *member, bool *ret_has, int64_t *ret, double *ret_f)
{
    const json_t *value = json_object_get(timeframe, member);
    tt_literal literal;
    *ret_has = value != NULL;
    if (!value)
        return TT_OK;
    TT_TRY(tt_literal_read(value, time_column(m), time_column(m)->type, &literal, m->err));
    *ret_f = literal.is_float ? literal.d : (double)literal.i;
    *ret = literal.is_float ? (int64_t)ceil(literal.d) : literal.i;
    return TT_OK;
}

static tt_rc read_timeframe(maker *m, const json_t *timeframe)
{
    tt_plan *p = m->plan;
    TT_TRY(read_moment(m, timeframe, "from", &p->has_from, &p->from, &p->from_f));
    TT_TRY(read_moment(m, timeframe, "to", &p->has_to, &p->to, &p->to_f));
    if (p->has_from)
        TT_TRY(check_scale(m, timeframe, "from", p->from_f, p->columns.min_time, "minimum"));
    if (p->has_to)
        TT_TRY(check_scale(m, timeframe, "to", p->to_f, p->columns.max_time, "maximum"));
    if (p->has_from && p->has_to && (time_column(m)->type == TT_COL_FLOAT ? p->to_f <= p->from_f : p->to <= p->from))
        return tt_query_fail_value(m->err, TT_QUERY_SCHEMA, "Value of 'to' (exclusive) should be larger than 'from' (inclusive) in query timeframe: ", timeframe, "");
    return TT_OK;
}

/* ---- the funnel ---- */

static tt_rc read_breakdown(maker *m, const json_t *breakdown, tt_breakdown *b)
{
    const char *name = text_of(breakdown, "column");
    TT_TRY(use_column(m, name, &b->column));
    b->given = true;
    b->top = (uint32_t)json_number_value(json_object_get(breakdown, "top"));
    if (m->plan->columns.columns[b->column].type != TT_COL_LIST)
        return TT_OK;
    return tt_query_fail(m->err, TT_QUERY_TYPE_MISMATCH, "Column '%.200s' is of type LIST: a funnel is broken down by one value for each group: use stepAggregations", name);
}

static tt_rc read_times(maker *m, const json_t *times, tt_funnel *f)
{
    static const double usual[] = {0.25, 0.5, 0.75, 0.95};
    const json_t *list = json_object_get(times, "quantiles");
    double *quantiles = take(m, TT_MOST_QUANTILES, sizeof *quantiles);
    if (!quantiles)
        return no_memory(m);
    f->time_to_convert = json_is_true(times) || json_is_object(times);
    f->quantile_count = list ? json_array_size(list) : TT_COUNT(usual);
    for (size_t i = 0; i < f->quantile_count; i++)
        quantiles[i] = list ? json_number_value(json_array_get(list, i)) : usual[i];
    f->quantiles = quantiles;
    return TT_OK;
}

static tt_rc read_funnel(maker *m, const json_t *funnel)
{
    tt_funnel *f = &m->plan->funnel;
    f->given = true;
    TT_TRY(read_times(m, json_object_get(funnel, "timeToConvert"), f));
    TT_TRY(read_sequence(m, funnel, &f->sequence));
    if (json_object_get(funnel, "breakdown"))
        TT_TRY(read_breakdown(m, json_object_get(funnel, "breakdown"), &f->breakdown));
    TT_TRY(read_aggregations(m, json_object_get(funnel, "stepAggregations"), &f->step));
    return read_aggregations(m, json_object_get(funnel, "endAggregations"), &f->end);
}

/* ---- retention ---- */

static tt_rc read_period(maker *m, const json_t *value, tt_retention *r)
{
    TT_BUF_AUTO tt_buf number = {0};
    const tt_query_column *time = time_column(m);
    const char *text = json_string_value(value);
    r->period = (tt_period){.unit_ns = time->unit_ns};
    if (!text) {
        r->period.units = tt_literal_whole(value);
        tt_buf_i64(&number, r->period.units);
        return copy_text(m, tt_buf_view(&number), &r->period_text);
    }
    if (time->type != TT_COL_DATETIME)
        return tt_query_fail(m->err, TT_QUERY_TYPE_MISMATCH, "period \"%.60s\": the timestamp column '%.*s' holds numbers: give a number in its units", text, TT_STR_ARG(time->name));
    if (!tt_period_read(tt_str_of(text), time->unit_ns, &r->period))
        return tt_query_fail(m->err, TT_QUERY_TYPE_MISMATCH, "period \"%.60s\" is none: write day, week, month, or a duration like 12h that the units of column '%.*s' divide", text,
                             TT_STR_ARG(time->name));
    return copy_text(m, tt_str_of(text), &r->period_text);
}

static tt_rc read_retention(maker *m, const json_t *retention)
{
    enum { DEFAULT_PERIODS = 12 };
    tt_retention *r = &m->plan->retention;
    const json_t *first = json_object_get(retention, "first"), *again = json_object_get(retention, "again"), *periods = json_object_get(retention, "periods");
    r->given = true;
    r->periods = periods ? (uint32_t)json_number_value(periods) : DEFAULT_PERIODS;
    if (first)
        TT_TRY(read_test(m, first, &r->first));
    r->again = r->first;
    if (again)
        TT_TRY(read_test(m, again, &r->again));
    return read_period(m, json_object_get(retention, "period"), r);
}

/* ---- */

/* Each test is a bit of a row's mask. */
static tt_rc check_test_count(maker *m)
{
    const tt_plan *p = m->plan;
    size_t count = p->funnel.sequence.count + (p->retention.given ? 2 : 0);
    for (size_t i = 0; i < p->condition_count; i++)
        if (p->conditions[i].is_used)
            count += p->conditions[i].kind == TT_CONDITION_SEQUENCE ? p->conditions[i].sequence.count : 1;
    if (count <= TT_MAX_TESTS)
        return TT_OK;
    return tt_query_fail(m->err, TT_QUERY_SCHEMA, "the query has %zu conditions and steps: more than %d conditions and steps cannot be looked for at once", count, TT_MAX_TESTS);
}

static tt_rc read_query(maker *m, const json_t *query, const tt_query_columns *columns)
{
    const json_t *part = json_object_get(query, "query"), *funnel = json_object_get(query, "funnel");
    TT_TRY(copy_columns(m, columns));
    TT_TRY(tt_relation_parse(part, &m->plan->arena, &m->plan->relation, m->err));
    TT_TRY(read_conditions(m, json_object_get(part, "conditions")));
    TT_TRY(read_aggregations(m, json_object_get(part, "aggregations"), &m->plan->aggregations));
    if (funnel)
        TT_TRY(read_funnel(m, funnel));
    if (json_object_get(query, "retention"))
        TT_TRY(read_retention(m, json_object_get(query, "retention")));
    TT_TRY(check_test_count(m));
    return read_timeframe(m, json_object_get(query, "timeframe"));
}

tt_rc tt_plan_make_json(const json_t *query, const tt_query_columns *columns, tt_plan **ret, tt_err *err)
{
    json_t *expanded = NULL;
    TT_TRY(tt_query_check_shape(query, err));
    TT_TRY(tt_query_expand(query, &expanded, err));
    maker m = {.plan = TT_NEW(tt_plan), .err = err};
    tt_rc rc = read_query(&m, expanded, columns);
    json_decref(expanded);
    if (rc == TT_OK)
        *ret = m.plan;
    else
        tt_plan_free(m.plan);
    return rc;
}

tt_rc tt_query_parse(tt_str query, json_t **ret, tt_err *err)
{
    enum { MAX_QUERY_BYTES = 1 << 20 };
    json_error_t fault = {0};
    if (query.len > MAX_QUERY_BYTES)
        return tt_fail(err, TT_TOO_LARGE, "the query has %zu bytes: at most %d are read", query.len, MAX_QUERY_BYTES);
    *ret = json_loadb(query.ptr ? query.ptr : "", query.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &fault);
    if (*ret)
        return TT_OK;
    return tt_fail(err, TT_INVALID, "the query is not JSON: %s (line %d, column %d)%s", fault.text, fault.line, fault.column, tt_query_json_hint(query, &fault));
}

tt_rc tt_plan_make(tt_str query, const tt_query_columns *columns, tt_plan **ret, tt_err *err)
{
    json_t *tree = NULL;
    TT_TRY(tt_query_parse(query, &tree, err));
    tt_rc rc = tt_plan_make_json(tree, columns, ret, err);
    json_decref(tree);
    return rc;
}

void tt_plan_free(tt_plan *plan)
{
    if (!plan)
        return;
    tt_arena arena = plan->arena;
    tt_arena_deinit(&arena);
    free(plan);
}
