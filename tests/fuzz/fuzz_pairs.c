/* Any body: a list that is taken is JSON, its pairs are its elements in order, and all vector levels give the same. */
#include "data/pairs.h"
#include "data/simd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    tt_pairs_result result;
    tt_pairs pairs;
    tt_pair_faults faults;
    tt_json_fault fault;
    tt_json_opts opts;
} parsed;

static void parse(tt_str body, bool ids, bool scalar_ok, bool strict, parsed *p)
{
    *p = (parsed){.opts.strict = strict};
    p->result = ids ? tt_ids_parse(body, &p->pairs, &p->faults, &p->fault) : tt_pairs_parse(body, scalar_ok, &p->opts, &p->pairs, &p->faults, &p->fault);
}

static void done(parsed *p)
{
    tt_vec_deinit(&p->pairs);
    tt_vec_deinit(&p->faults);
}

static void check_same(const parsed *a, const parsed *b)
{
    tt_assert(a->result == b->result && a->pairs.len == b->pairs.len && a->faults.len == b->faults.len && a->opts.nan_count == b->opts.nan_count);
    tt_assert(a->pairs.len == 0 || memcmp(a->pairs.ptr, b->pairs.ptr, a->pairs.len * sizeof *a->pairs.ptr) == 0);
    tt_assert(a->result != TT_PAIRS_NOT_JSON || (a->fault.offset == b->fault.offset && a->fault.reason == b->fault.reason));
}

static void check_against_walk(tt_str body, bool ids, const parsed *p)
{
    tt_json_opts opts = {.strict = !ids && p->opts.strict};
    tt_json_fault fault;
    tt_json_iter it;
    tt_str value, element, part;
    bool valid = tt_json_valid(body, true, &opts, &value, &fault);
    bool too_deep = !valid && strstr(fault.reason, "deeper");
    tt_assert(valid == (p->result != TT_PAIRS_NOT_JSON && body.len > 0) || too_deep);
    if (!valid)
        return;
    tt_assert(ids || p->opts.nan_count == opts.nan_count);
    if (p->result != TT_PAIRS_OK)
        return;
    size_t count = 0;
    tt_assert(tt_json_enter(value, &it));
    for (; tt_json_next_element(&it, &element); count++) {
        const tt_pair *pair = &p->pairs.ptr[count];
        tt_json_iter inner;
        tt_assert(count < p->pairs.len && pair->id <= INT64_MAX);
        if (ids)
            continue;
        tt_assert(tt_json_enter(element, &inner) && tt_json_next_element(&inner, &part) && tt_json_next_element(&inner, &part));
        tt_assert(part.ptr == body.ptr + pair->offset && part.len == pair->len && !tt_json_next_element(&inner, &part));
    }
    tt_assert(count == p->pairs.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    tt_str body = {(const char *)data + 1, size - 1};
    bool ids = data[0] & 1, scalar_ok = data[0] & 2, strict = data[0] & 4;
    parsed plain, other;
    tt_assert(tt_simd_use(TT_SIMD_BYTE));
    parse(body, ids, scalar_ok, strict, &plain);
    tt_assert((plain.result == TT_PAIRS_FAULTS) == (plain.faults.len > 0) || plain.result == TT_PAIRS_NOT_JSON);
    tt_assert(plain.result != TT_PAIRS_NOT_JSON || (plain.fault.reason && plain.fault.offset <= body.len));
    check_against_walk(body, ids, &plain);
    for (tt_simd level = TT_SIMD_WORD; level <= TT_SIMD_AVX2; level++) {
        if (!tt_simd_use(level))
            continue;
        parse(body, ids, scalar_ok, strict, &other);
        check_same(&plain, &other);
        done(&other);
    }
    done(&plain);
    return 0;
}
