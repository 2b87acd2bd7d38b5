#include <criterion/criterion.h>

#include "data/pairs.h"

typedef struct {
    tt_pairs pairs;
    tt_pair_faults faults;
    tt_json_opts opts;
    tt_json_fault fault;
} parsed;

static tt_pairs_result parse(const char *body, bool scalar_ok, parsed *p)
{
    p->opts = (tt_json_opts){0};
    return tt_pairs_parse(tt_str_of(body), scalar_ok, &p->opts, &p->pairs, &p->faults, &p->fault);
}

static void done(parsed *p)
{
    tt_vec_deinit(&p->pairs);
    tt_vec_deinit(&p->faults);
}

Test(pairs, splits_ids_and_values)
{
    parsed p = {0};
    const char *body = " [[0,{\"a\":1}] , [ 12 , [NaN, 2] ],[9223372036854775807,{}],[\"5\",[]],[5.7,{}],[true,{}],[1e3,{}],[-0,{}], [\" 1_000 \",{}]]\n";
    static const uint64_t ids[] = {0, 12, INT64_MAX, 5, 5, 1, 1000, 0, 1000};
    cr_assert_eq(parse(body, false, &p), TT_PAIRS_OK, "%s", p.fault.reason);
    cr_assert_eq(p.pairs.len, TT_COUNT(ids));
    for (size_t i = 0; i < TT_COUNT(ids); i++)
        cr_assert_eq(p.pairs.ptr[i].id, ids[i], "%zu: %lu", i, (unsigned long)p.pairs.ptr[i].id);
    cr_assert(tt_str_is((tt_str){body + p.pairs.ptr[1].offset, p.pairs.ptr[1].len}, "[NaN, 2]"));
    cr_assert_eq(p.opts.nan_count, 1u);
    cr_assert_eq(parse("[]", false, &p), TT_PAIRS_OK);
    cr_assert_eq(p.pairs.len, 0u);
    cr_assert_eq(parse("[[1,2],[2,null],[3,\"x\"]]", true, &p), TT_PAIRS_OK);
    cr_assert_eq(p.pairs.len, 3u);
    done(&p);
}

typedef struct {
    const char *body;
    int64_t index, position;
    const char *type;
    int64_t length;
} fault_case;

Test(pairs, faults_as_the_older_service_named_them)
{
    static const fault_case cases[] = {
        {"{\"a\":1}", -1, -1, "type_error.list", -1},       {"3", -1, -1, "type_error.list", -1},
        {"[[1,{}],5]", 1, -1, "type_error.tuple", -1},      {"[{\"a\":[1,2]}]", 0, -1, "type_error.tuple", -1},
        {"[[1]]", 0, -1, "value_error.tuple.length", 1},    {"[[]]", 0, -1, "value_error.tuple.length", 0},
        {"[[1,{},3]]", 0, -1, "value_error.tuple.length", 3}, {"[[\"x\",{}]]", 0, 0, "type_error.integer", -1},
        {"[[-1,{}]]", 0, 0, "type_error.integer", -1},      {"[[9223372036854775808,{}]]", 0, 0, "type_error.integer", -1},
        {"[[99999999999999999999999,{}]]", 0, 0, "type_error.integer", -1}, {"[[NaN,{}]]", 0, 0, "type_error.integer", -1},
        {"[[1e99,{}]]", 0, 0, "type_error.integer", -1},    {"[[null,{}]]", 0, 0, "type_error.none.not_allowed", -1},
        {"[[1,null]]", 0, 1, "type_error.none.not_allowed", -1}, {"[null]", 0, -1, "type_error.none.not_allowed", -1},
        {"[[[],{}]]", 0, 0, "type_error.integer", -1},      {"[[1,5]]", 0, 1, "type_error.dict", -1},
    };
    for (size_t i = 0; i < TT_COUNT(cases); i++) {
        parsed p = {0};
        cr_assert_eq(parse(cases[i].body, false, &p), TT_PAIRS_FAULTS, "%s", cases[i].body);
        tt_pair_fault f = p.faults.ptr[0];
        cr_assert(f.index == cases[i].index && f.position == cases[i].position && f.actual_length == cases[i].length, "%s", cases[i].body);
        cr_assert_str_eq(f.type, cases[i].type, "%s", cases[i].body);
        done(&p);
    }
    parsed p = {0};
    cr_assert_eq(parse("[[\"x\",5]]", false, &p), TT_PAIRS_FAULTS);
    cr_assert_eq(p.faults.len, 3u);
    cr_assert_str_eq(p.faults.ptr[1].type, "type_error.dict");
    cr_assert_str_eq(p.faults.ptr[2].type, "type_error.list");
    done(&p);
}

Test(pairs, not_json_and_missing)
{
    parsed p = {0};
    static const char *const broken[] = {"[", "[[", "[[1,{}", "[[1,{}]", "[[1,{}],]", "[[1,{}] [2,{}]]", "[[1,{]]", "[[01,{}]]", "[[1,{}]]x", " ", "[[1,]]", "[,]", "nul",
                                         "[[1,{}", "[[1,{\"a\":\"01234567890123456789\"}"};
    for (size_t i = 0; i < TT_COUNT(broken); i++) {
        cr_assert_eq(parse(broken[i], false, &p), TT_PAIRS_NOT_JSON, "%s", broken[i]);
        cr_assert(p.fault.offset <= strlen(broken[i]));
    }
    cr_assert_eq(parse("[[1,{}],[2,{\"a\":tru}], [3,{\"long enough to be plain\":1}]]", false, &p), TT_PAIRS_NOT_JSON);
    cr_assert_eq(p.fault.offset, 16u);
    cr_assert_eq(parse("", false, &p), TT_PAIRS_MISSING);
    cr_assert_eq(parse(" null ", false, &p), TT_PAIRS_MISSING);
    done(&p);
}

Test(pairs, faults_end_at_a_hundred)
{
    TT_BUF_AUTO tt_buf b = {0};
    parsed p = {0};
    for (int i = 0; i < 500; i++)
        tt_buf_cstr_put(&b, i ? ",[\"x\",{\"some\":\"more bytes\"}]" : "[7");
    tt_buf_char(&b, ']');
    cr_assert_eq(parse(tt_buf_cstr(&b), false, &p), TT_PAIRS_FAULTS);
    cr_assert_eq(p.faults.len, 100u);
    done(&p);
}

Test(pairs, bare_ids)
{
    parsed p = {0};
    cr_assert_eq(tt_ids_parse(TT_STR("[1, \"2\", 3.9, true]"), &p.pairs, &p.faults, &p.fault), TT_PAIRS_OK);
    cr_assert_eq(p.pairs.len, 4u);
    cr_assert_eq(p.pairs.ptr[2].id, 3u);
    cr_assert_eq(p.pairs.ptr[2].len, 0u);
    cr_assert_eq(tt_ids_parse(TT_STR("[1, [2], null]"), &p.pairs, &p.faults, &p.fault), TT_PAIRS_FAULTS);
    cr_assert_eq(p.faults.len, 2u);
    cr_assert_eq(p.faults.ptr[0].index, 1);
    cr_assert_eq(p.faults.ptr[0].position, -1);
    cr_assert_str_eq(p.faults.ptr[1].type, "type_error.none.not_allowed");
    cr_assert_eq(tt_ids_parse(TT_STR("{}"), &p.pairs, &p.faults, &p.fault), TT_PAIRS_FAULTS);
    done(&p);
}
