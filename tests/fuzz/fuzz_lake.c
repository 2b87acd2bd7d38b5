/* Contracts, filters and directories of the lake. Input: three lines, one of each. Properties: a contract that is taken is a path that stays in its place and is taken
 * as the same again; of a row that a filter keeps, what is known of the row alone does not rule it out; a directory that is taken is written as one that says the same. */
#include "lake/contract.h"
#include "lake/filter.h"
#include "lake/hive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_contract(tt_str text)
{
    static const tt_contract_home home = {TT_STR("dev"), TT_STR("mine")};
    tt_arena arena = {0};
    TT_BUF_AUTO tt_buf path = {0}, again = {0};
    tt_contract c;
    if (tt_contract_parse(text, &home, &arena, &c, NULL) == TT_OK) {
        tt_str rest, part;
        tt_contract_put_path(&c, &path);
        rest = tt_buf_view(&path);
        while (tt_str_cut(&rest, '/', &part))
            tt_assert(part.len && part.ptr[0] != '.' && !memchr(part.ptr, '\0', part.len));
        tt_assert(tt_contract_parse(tt_buf_view(&path), &home, &arena, &c, NULL) == TT_OK);
        tt_contract_put_path(&c, &again);
        tt_assert(tt_str_eq(tt_buf_view(&path), tt_buf_view(&again)));
    }
    tt_arena_deinit(&arena);
}

static const tt_pq_field fields[] = {
    {.name = TT_STR("n"), .kind = TT_PQ_INT64},
    {.name = TT_STR("x"), .kind = TT_PQ_DOUBLE},
    {.name = TT_STR("s"), .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING},
    {.name = TT_STR("d"), .kind = TT_PQ_INT32, .meaning = TT_PQ_DATE},
};

static void check_row(const tt_filter *f, tt_datum cells[][TT_FRAME_ROWS], uint32_t r)
{
    const tt_str *names;
    tt_filter_known known[TT_COUNT(fields)] = {0};
    size_t count = tt_filter_columns(f, &names);
    tt_rows rows = {.fields = fields, .field_count = TT_COUNT(fields), .count = 1, .cells = &cells[0][0]};
    tt_assert(count <= TT_COUNT(fields));
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < TT_COUNT(fields); k++) {
            const tt_datum *cell = &cells[k][r];
            bool is_null = cell->kind == TT_DATUM_NULL, is_nan = cell->kind == TT_DATUM_DOUBLE && cell->d != cell->d;
            if (tt_str_eq(names[i], fields[k].name))
                known[i] = (tt_filter_known){.is_known = true, .has_min = !is_null && !is_nan, .has_max = !is_null && !is_nan, .min = *cell, .max = *cell,
                                             .may_be_null = is_null, .may_have_value = !is_null, .may_be_nan = is_nan};
        }
    if (tt_filter_keeps(f, &rows, r))
        tt_assert(tt_filter_may_keep(f, known));
}

static void try_filter(tt_str text)
{
    static tt_datum cells[TT_COUNT(fields)][TT_FRAME_ROWS];
    tt_filter *f = NULL;
    cells[0][0] = (tt_datum){.kind = TT_DATUM_INT, .i = 5};
    cells[1][0] = (tt_datum){.kind = TT_DATUM_DOUBLE, .d = -0.5};
    cells[2][0] = (tt_datum){.kind = TT_DATUM_BYTES, .bytes = TT_STR("abc")};
    cells[3][0] = (tt_datum){.kind = TT_DATUM_INT, .i = 20000};
    cells[1][1] = (tt_datum){.kind = TT_DATUM_DOUBLE, .d = __builtin_nan("")};
    cells[2][1] = (tt_datum){.kind = TT_DATUM_BYTES, .bytes = TT_STR("")};
    if (tt_filter_parse(text, &f, NULL) != TT_OK)
        return;
    if (tt_filter_bind(f, fields, TT_COUNT(fields), false, NULL) == TT_OK)
        for (uint32_t r = 0; r < 3; r++)
            check_row(f, cells, r);
    tt_filter_free(f);
}

static void try_directory(tt_str text)
{
    static const tt_pq_field field = {.kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING};
    tt_arena arena = {0};
    TT_BUF_AUTO tt_buf out = {0};
    tt_str name, value, name_again, value_again;
    if (tt_hive_parse(text, &arena, &name, &value) && tt_hive_check_name(name, NULL) == TT_OK) {
        tt_datum d = {.kind = value.ptr ? TT_DATUM_BYTES : TT_DATUM_NULL, .bytes = value};
        if (tt_hive_put(name, &field, &d, &out, NULL) == TT_OK) {
            tt_assert(!memchr(out.ptr, '/', out.len) && !memchr(out.ptr, '\0', out.len));
            tt_assert(tt_hive_parse(tt_buf_view(&out), &arena, &name_again, &value_again));
            tt_assert(tt_str_eq(name, name_again) && !value.ptr == !value_again.ptr && tt_str_eq(value, value_again));
        }
    }
    tt_arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tt_str rest = {(const char *)data, size}, line;
    void (*const tries[])(tt_str text) = {try_contract, try_filter, try_directory};
    for (size_t i = 0; i < TT_COUNT(tries) && tt_str_cut(&rest, '\n', &line); i++)
        tries[i](line);
    return 0;
}
