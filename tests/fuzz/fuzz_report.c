/* What a program writes on descriptor 3. Property: however the bytes are cut into pieces, the same is understood, and it stays within its bounds. */
#include "work/program_report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static tt_rc count_rows(void *arg, const json_t *rows, tt_err *err)
{
    *(size_t *)arg += json_array_size(rows);
    return TT_OK;
}

static bool same(json_t *a, json_t *b) { return (!a && !b) || json_equal(a, b); }

static void check_bounds(const tt_program_report *r)
{
    const char *name;
    json_t *value;
    tt_assert(json_object_size(r->progress) <= TT_REPORT_ENTRIES && json_object_size(r->counters) <= TT_REPORT_ENTRIES && json_object_size(r->datasets) <= 2 && json_object_size(r->remember) <= TT_REPORT_ENTRIES);
    json_object_foreach(r->progress, name, value)
        tt_assert(!json_is_string(value) || json_string_length(value) <= TT_REPORT_TEXT_BYTES);
    json_object_foreach(r->counters, name, value)
        tt_assert(json_is_number(value));
    tt_assert(tt_utf8_valid(r->error, strlen(r->error)) && tt_utf8_valid(r->first_bad, strlen(r->first_bad)));
    tt_assert((r->bad_lines > 0) == (r->first_bad[0] != '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t rows_a = 0, rows_b = 0;
    size_t step = size ? data[0] % 7 + 1u : 1;
    tt_program_report a = {.on_rows = count_rows, .arg = &rows_a}, b = {.on_rows = count_rows, .arg = &rows_b};
    tt_program_report_feed(&a, (tt_str){(const char *)data, size});
    for (size_t at = 0; at < size; at += step)
        tt_program_report_feed(&b, tt_str_slice((tt_str){(const char *)data, size}, at, at + step));
    tt_program_report_end(&a);
    tt_program_report_end(&b);
    tt_assert(same(a.progress, b.progress) && same(a.counters, b.counters) && same(a.datasets, b.datasets) && same(a.result, b.result) && same(a.storage, b.storage) && same(a.remember, b.remember));
    tt_assert(rows_a == rows_b && a.bad_lines == b.bad_lines && a.ended == b.ended && strcmp(a.error, b.error) == 0 && a.revision == b.revision);
    check_bounds(&a);
    tt_program_report_deinit(&a);
    tt_program_report_deinit(&b);
    return 0;
}
