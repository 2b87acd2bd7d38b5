/* The query language: what is accepted, what is refused and in which words (the older service's), and what a plan holds. */
#include <criterion/criterion.h>
#include <math.h>

#include "query/expand.h"
#include "query/plan.h"
#include "query/repr.h"

static const tt_query_column all_columns[] = {
    {.name = {"userId", 6}, .type = TT_COL_INT},        {.name = {"ts", 2}, .type = TT_COL_INT},
    {.name = {"eventId", 7}, .type = TT_COL_INT},       {.name = {"rowType", 7}, .type = TT_COL_STRING},
    {.name = {"eventType", 9}, .type = TT_COL_STRING},  {.name = {"eventValue", 10}, .type = TT_COL_FLOAT},
    {.name = {"isCool", 6}, .type = TT_COL_BOOL},       {.name = {"tags", 4}, .type = TT_COL_LIST, .element = TT_COL_STRING},
    {.name = {"day", 3}, .type = TT_COL_DATETIME, .unit_ns = 1000000},
};
static const tt_query_columns dataset = {.columns = all_columns, .count = TT_COUNT(all_columns), .group = 0, .time = 1,
                                         .min_time = 1609459200000.0, .max_time = 1609459210000.0};
static tt_query_columns dated(void)
{
    tt_query_columns c = dataset;
    c.time = 8;
    c.min_time = c.max_time = NAN;
    return c;
}

static tt_rc make_on(const char *query, const tt_query_columns *columns, tt_plan **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0}; /* ' stands for " in these tests */
    for (const char *p = query; *p; p++)
        tt_buf_char(&text, *p == '\'' ? '"' : *p);
    return tt_plan_make(tt_buf_view(&text), columns, ret, err);
}

static tt_plan *good(const char *query)
{
    tt_plan *plan = NULL;
    tt_err err = {0};
    cr_assert_eq(make_on(query, &dataset, &plan, &err), TT_OK, "%s: %s", query, err.text);
    return plan;
}

static void refused(const char *query, const char *text)
{
    tt_plan *plan = NULL;
    tt_err err = {0};
    tt_rc rc = make_on(query, &dataset, &plan, &err);
    cr_expect_eq(rc, TT_UNPROCESSABLE, "%s: %d %s", query, rc, err.text);
    cr_expect(strstr(err.text, text), "%s:\n%s\nlacks\n%s", query, err.text, text);
    tt_plan_free(plan);
}

#define CONDITION(text) "{'query':{'conditions':[" text "]}}"
#define FILTER "'filter':['eventId','==',1]"

Test(query_plan, an_empty_query_is_one)
{
    tt_plan *plan = good("{}");
    cr_assert_eq(plan->condition_count, 0);
    cr_assert(!plan->funnel.given && !plan->aggregations.given && plan->relation.count == 0);
    cr_assert(plan->column_used[0] && plan->column_used[1] && !plan->column_used[2]);
    tt_plan_free(plan);
    tt_plan_free(good("{'query':{}}"));
    tt_plan_free(good("{'query':{'conditions':[],'relation':'and'}}"));
    tt_plan_free(good("{'timeframe':{}}"));
}

Test(query_plan, objects_are_closed)
{
    refused("{'blah':123}", "ValidationError(SCHEMA: Additional properties are not allowed ('blah' was unexpected))");
    refused("[]", "[] is not of type 'object'");
    refused("{'funnel':{}}", "'sequence' is a required property");
    refused("{'funnel':{'sequence':[]}}", "[] is too short");
    refused(CONDITION("{" FILTER ",'x':1}"), "'x' was unexpected");
    refused(CONDITION("{'name':'a'}"), "is not valid under any of the given schemas");
    refused(CONDITION("{'filter':['eventId','==']}"), "a filter is [column, operator, value], not ['eventId', '==']");
    refused(CONDITION("{'filter':['eventId','~',1]}"), "'~' is not one of ['==', '!='");
    refused(CONDITION("{'filter':['eventId','==',null]}"), "None is not of type");
    refused(CONDITION("{" FILTER ",'target':['count','>=',-1]}"), "-1 is less than the minimum of 0");
    refused(CONDITION("{" FILTER ",'target':['max','>=',1]}"), "a target is");
    refused("{'query':{'aggregations':[{'column':'ts','type':'max'}]}}", "'max' is not one of ['count'");
}

Test(query_plan, short_forms_and_defaults)
{
    tt_plan *plan = good(CONDITION("{" FILTER "},{" FILTER ",'target':['sum','eventValue','>',-2.5]},{" FILTER ",'target':['count','==',0]}"));
    const tt_condition *c = plan->conditions;
    cr_assert(c[0].kind == TT_CONDITION_COUNT && c[0].op == TT_OP_GE && c[0].value.i == 1 && !c[0].include_zero);
    cr_assert(c[1].kind == TT_CONDITION_SUM && c[1].op == TT_OP_GT && c[1].value.d == -2.5 && c[1].sum_column == 5);
    cr_assert(c[2].include_zero);
    cr_assert_eq(plan->relation.count, 5);
    tt_plan_free(plan);
}

Test(query_plan, counts_of_zero)
{
    static const struct { const char *target, *include, *fault; } rows[] = {
        {"['sum','eventValue','>',1]", "true", "not applicable for target type 'sum'"},
        {"['sum','eventValue','>',1]", "false", NULL},
        {"['count','==',0]", "false", "'includeZero' cannot be false"},
        {"['count','==',0]", "true", NULL},
        {"['count','==',2]", "true", "Target count == 2 explicitly precludes zero"},
        {"['count','>=',2]", "true", "Target count >= 2 explicitly precludes zero"},
        {"['count','!=',0]", "true", "Target count != 0 explicitly precludes zero"},
        {"['count','>',0]", "true", "For target operator '>'"},
        {"['count','<',0]", "true", "Target implies a negative value"},
        {"['count','<',0]", "false", NULL},
        {"['count','<',2]", "true", NULL},
        {"['count','!=',2]", "true", NULL},
        {"['count','<=',0]", "true", NULL},
        {"['count','>=',0]", "true", NULL},
    };
    for (size_t i = 0; i < TT_COUNT(rows); i++) {
        char query[300];
        snprintf(query, sizeof query, CONDITION("{" FILTER ",'target':%s,'includeZero':%s}"), rows[i].target, rows[i].include);
        if (rows[i].fault)
            refused(query, rows[i].fault);
        else
            tt_plan_free(good(query));
    }
}

Test(query_plan, columns_operators_and_values_must_fit)
{
    refused(CONDITION("{'filter':['nope','==',1]}"), "DATASET_MISMATCH: Column 'nope' not in dataset");
    refused(CONDITION("{'filter':['eventId','contains','a']}"), "TYPE_MISMATCH: Operator 'contains' is not applicable for column 'eventId' of type INT");
    refused(CONDITION("{'filter':['eventId','==','1']}"), "Value \"1\" (type STR) is not applicable for column 'eventId' of type INT");
    refused(CONDITION("{'filter':['eventId','==',true]}"), "Value True (type BOOL) is not applicable");
    refused(CONDITION("{'filter':['rowType','>','a']}"), "Operator '>' is not applicable for column 'rowType' of type STRING");
    refused(CONDITION("{'filter':['rowType','==',1]}"), "Value 1 (type INT) is not applicable for column 'rowType' of type STRING");
    refused(CONDITION("{'filter':['isCool','==',1]}"), "of type BOOL");
    refused(CONDITION("{'filter':['isCool','>',true]}"), "Operator '>' is not applicable");
    refused(CONDITION("{" FILTER ",'target':['sum','rowType','>',1]}"), "Column 'rowType' is of type STRING, but should be one of ['INT', 'FLOAT']");
    refused(CONDITION("{'filter':['rowType','in','a']}"), "Operator 'in' needs a list of values");
    refused(CONDITION("{'filter':['tags','==','a']}"), "of type LIST");
    refused(CONDITION("{'filter':['tags','contains',5]}"), "Value 5 (type INT)");
    tt_plan_free(good(CONDITION("{'filter':['rowType','in',['a','b']]},{'filter':['tags','containsAll',['a']]},{'filter':['tags','size >=',2]}")));
    tt_plan_free(good(CONDITION("{'filter':['rowType','not contains','a']},{'filter':['eventId','>',1.5]}")));
}

Test(query_plan, relations)
{
    static const char *const fine[] = {"$0 and $1 and $b", " ( $0 && $1) || ((  $b )  ) ", "$0and$1", "OR", "$a&&($1)", "$01 or $A", "$0 or $1 and $b"};
    static const char *const wrong[] = {"", "  ", "mosh", "$1a", "$", "$a-3", "$3", "$name3", "$1 and", "$1 $2", "$1 and ()", "(($1)))", "$a$1", ")", "$1 and(x)", "*", "\\'", "$aand$b", "$0 and and $1"};
    char query[400];
    for (size_t i = 0; i < TT_COUNT(fine); i++) {
        snprintf(query, sizeof query, "{'query':{'relation':'%s','conditions':[{'name':'a'," FILTER "},{" FILTER "},{'name':'b'," FILTER "}]}}", fine[i]);
        tt_plan_free(good(query));
    }
    for (size_t i = 0; i < TT_COUNT(wrong); i++) {
        snprintf(query, sizeof query, "{'query':{'relation':'%s','conditions':[{'name':'a'," FILTER "},{" FILTER "},{'name':'b'," FILTER "}]}}", wrong[i]);
        refused(query, "ValidationError(RELATION: ");
    }
}

Test(query_plan, and_binds_closer_than_or)
{
    tt_plan *plan = good("{'query':{'relation':'$0 or $1 and $2','conditions':[{" FILTER "},{" FILTER "},{" FILTER "}]}}");
    static const tt_rel_kind kinds[] = {TT_REL_CONDITION, TT_REL_CONDITION, TT_REL_CONDITION, TT_REL_AND, TT_REL_OR};
    cr_assert_eq(plan->relation.count, TT_COUNT(kinds));
    for (size_t i = 0; i < TT_COUNT(kinds); i++)
        cr_assert_eq(plan->relation.ops[i].kind, kinds[i]);
    tt_plan_free(plan);
}

Test(query_plan, names)
{
    static const char *const wrong[] = {"1", "2asd", "$1", "import crazy", " a", "b ", "and", "OR", "||"};
    char query[300];
    for (size_t i = 0; i < TT_COUNT(wrong); i++) {
        snprintf(query, sizeof query, CONDITION("{'name':'%s'," FILTER "}"), wrong[i]);
        refused(query, "ValidationError(SCHEMA: ");
    }
    refused(CONDITION("{'name':'Abc'," FILTER "},{'name':'abc'," FILTER "}"), "is not unique in scope 'query.conditions.name'");
    refused("{'query':{'aggregations':[{'column':'ts','type':'count','name':'a'},{'column':'ts','type':'count','name':'a'}]}}", "scope 'query.aggregations.name'");
    tt_plan_free(good(CONDITION("{'name':'PORQUE'," FILTER "},{'name':'zrubi_1_a_234'," FILTER "}")));
}

Test(query_plan, aggregations)
{
    tt_plan *plan = good("{'query':{'aggregations':[{'column':'rowType','top':3},{'column':'rowType','type':'meanPerValue','otherColumn':'eventValue','name':'m'}]}}");
    cr_assert_eq(plan->aggregations.count, 4);
    cr_assert(plan->aggregations.list[0].type == TT_AGG_COUNT && plan->aggregations.list[0].top == 0);
    cr_assert(plan->aggregations.list[1].type == TT_AGG_COUNT_PER_VALUE && plan->aggregations.list[1].top == 3);
    cr_assert(plan->aggregations.list[3].other_column == 5 && tt_str_is(plan->aggregations.list[3].name, "m"));
    tt_plan_free(plan);
    tt_plan_free(good("{'query':{'aggregations':{'columns':[{'column':'rowType'}]}}}"));
    refused("{'query':{'aggregations':[{'column':'ts','name':'x'}]}}", "and thus a name attributeis not supported");
    refused("{'query':{'aggregations':[{'column':'ts','type':'sumPerValue'}]}}", "other column name is required but was not found");
    refused("{'query':{'aggregations':[{'column':'ts','type':'countPerValue','otherColumn':'eventValue'}]}}", "not relevant but was given");
    refused("{'query':{'aggregations':[{'column':'ts','type':'sumPerValue','otherColumn':'rowType'}]}}", "TYPE_MISMATCH");
}

Test(query_plan, timeframes_must_have_the_scale_of_the_dataset)
{
    refused("{'timeframe':{'from':123}}", "doesn't appear to be in same scale as minimum timestamp");
    refused("{'timeframe':{'to':123456789012345}}", "doesn't appear to be in same scale as maximum timestamp");
    refused("{'timeframe':{'from':1609459200005,'to':1609459200005}}", "should be larger than 'from'");
    tt_plan_free(good("{'timeframe':{'from':0,'to':1609459200005}}"));
}

Test(query_plan, sequences_with_gaps_and_forbidden_steps)
{
    tt_plan *plan = good("{'funnel':{'sequence':[{" FILTER "},{'rowFound':false," FILTER "},{'minGap':5,'maxGap':9," FILTER "}],'maxDuration':60}}");
    const tt_sequence *s = &plan->funnel.sequence;
    cr_assert(!s->is_plain && s->max_duration == 60 && s->steps[1].forbidden && s->steps[2].min_gap == 5 && s->steps[2].max_gap == 9 && s->steps[0].max_gap == -1);
    tt_plan_free(plan);
    refused("{'funnel':{'sequence':[{'minGap':1," FILTER "}]}}", "the first step has none");
    refused("{'funnel':{'sequence':[{'rowFound':false," FILTER "}]}}", "at least one step that happens");
    refused("{'funnel':{'sequence':[{" FILTER "},{'minGap':9,'maxGap':5," FILTER "}]}}", "minGap is larger");
    refused("{'funnel':{'maxDuration':'2h','sequence':[{" FILTER "}]}}", "holds numbers: give a number in its units");
}

Test(query_plan, durations_and_dates_of_datetime_columns)
{
    tt_query_columns columns = dated();
    tt_plan *plan = NULL;
    tt_err err = {0};
    cr_assert_eq(make_on("{'timeframe':{'from':'2021-01-01','to':'2021-01-01T00:00:01.5+01:00'},'funnel':{'maxDuration':'2h','sequence':[{" FILTER "}]}}", &columns, &plan, &err),
                 TT_UNPROCESSABLE, "%s", err.text); /* ends an hour before it begins */
    cr_assert_eq(make_on("{'timeframe':{'from':'2021-01-01','to':'2021-01-01T00:00:01.5'},'funnel':{'maxDuration':'2h','sequence':[{" FILTER "}]}}", &columns, &plan, &err),
                 TT_OK, "%s", err.text);
    cr_assert_eq(plan->from, 1609459200000);
    cr_assert_eq(plan->to, 1609459201500);
    cr_assert_eq(plan->funnel.sequence.max_duration, 7200000);
    tt_plan_free(plan);
}

Test(query_plan, unused_conditions_are_checked_but_not_read)
{
    tt_plan *plan = good("{'query':{'relation':'$0','conditions':[{" FILTER "},{'filter':['rowType','==','x']}]}}");
    cr_assert(plan->conditions[0].is_used && !plan->conditions[1].is_used);
    cr_assert(plan->column_used[2] && !plan->column_used[3]);
    tt_plan_free(plan);
    refused("{'query':{'relation':'$0','conditions':[{" FILTER "},{'filter':['nope','==','x']}]}}", "DATASET_MISMATCH");
}

Test(query_plan, python_representations)
{
    static const struct { const char *json, *repr; } rows[] = {
        {"{\"type\": \"count\", \"n\": [1, 2.0, true, false, null]}", "{'type': 'count', 'n': [1, 2.0, True, False, None]}"},
        {"\"it's\"", "\"it's\""}, {"\"a\\nb\\\\\"", "'a\\nb\\\\'"}, {"1e16", "1e+16"}, {"0.0001", "0.0001"}, {"0.00001", "1e-05"},
        {"123456789012345.0", "123456789012345.0"}, {"0.1", "0.1"}, {"-2.5e-7", "-2.5e-07"}, {"1e22", "1e+22"}, {"5e-324", "5e-324"},
    };
    for (size_t i = 0; i < TT_COUNT(rows); i++) {
        TT_BUF_AUTO tt_buf out = {0};
        json_t *value = json_loads(rows[i].json, JSON_DECODE_ANY, NULL);
        tt_py_repr(value, &out);
        cr_expect_str_eq(tt_buf_cstr(&out), rows[i].repr);
        json_decref(value);
    }
}
