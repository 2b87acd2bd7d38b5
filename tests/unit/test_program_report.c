#include <criterion/criterion.h>

#include "work/program_report.h"

static void feed(tt_program_report *r, const char *text)
{
    tt_program_report_feed(r, tt_str_of(text));
}

Test(program_report, keeps_the_latest_message_of_each_procedure)
{
    tt_program_report r = {0};
    feed(&r, "{\"progress\":{\"login\":\"started\"}}\n{\"progress\":{\"login\":\"completed\",\"n\":5}}\n{\"progress\":{\"pull\":");
    cr_assert_eq(json_object_size(r.progress), 2);
    cr_assert_str_eq(json_string_value(json_object_get(r.progress, "login")), "completed");
    cr_assert_str_eq(json_string_value(json_object_get(r.progress, "n")), "5");
    cr_assert_eq(r.revision, 2);
    feed(&r, "\"started\"}}");
    tt_program_report_end(&r);
    cr_assert_eq(json_object_size(r.progress), 3);
    cr_assert_eq(r.bad_lines, 0);
    tt_program_report_deinit(&r);
}

Test(program_report, adds_counters_up_also_beyond_whole_numbers)
{
    tt_program_report r = {0};
    feed(&r, "{\"counters\":{\"a\":9223372036854775807}}\n{\"counters\":{\"a\":1,\"b\":2}}\n{\"counters\":{\"b\":-5}}\n");
    cr_assert(json_is_real(json_object_get(r.counters, "a")));
    cr_assert_eq(json_integer_value(json_object_get(r.counters, "b")), -3);
    tt_program_report_deinit(&r);
}

Test(program_report, bounds_what_it_keeps)
{
    tt_program_report r = {0};
    TT_BUF_AUTO tt_buf line = {0};
    for (int i = 0; i < 2 * TT_REPORT_ENTRIES; i++) {
        tt_buf_clear(&line);
        tt_buf_printf(&line, "{\"progress\":{\"p%d\":\"x\"}}\n", i);
        feed(&r, tt_buf_cstr(&line));
    }
    cr_assert_eq(json_object_size(r.progress), TT_REPORT_ENTRIES);
    cr_assert_eq(r.bad_lines, TT_REPORT_ENTRIES);
    tt_buf_clear(&line);
    tt_buf_cstr_put(&line, "{\"progress\":{\"p1\":\"");
    for (int i = 0; i < TT_REPORT_TEXT_BYTES; i++)
        tt_buf_cstr_put(&line, "\xC3\xA9");
    tt_buf_cstr_put(&line, "\"}}\n");
    feed(&r, tt_buf_cstr(&line));
    cr_assert_eq(json_string_length(json_object_get(r.progress, "p1")), TT_REPORT_TEXT_BYTES);
    tt_program_report_deinit(&r);
}

Test(program_report, a_line_without_end_does_not_grow)
{
    tt_program_report r = {0};
    size_t len = 1 << 20;
    char *piece = malloc(len);
    memset(piece, 'x', len);
    for (int i = 0; i < 40; i++)
        tt_program_report_feed(&r, (tt_str){piece, len});
    cr_assert_leq(r.line.cap, 2u * TT_REPORT_LINE_BYTES);
    feed(&r, "\n{\"result\":1}\n");
    cr_assert_eq(r.bad_lines, 1);
    cr_assert_eq(json_integer_value(r.result), 1);
    free(piece);
    tt_program_report_deinit(&r);
}

static tt_rc refuse(void *arg, const json_t *rows, tt_err *err) { return tt_fail(err, TT_NOSPACE, "the disk is full"); }

Test(program_report, rows_that_cannot_be_kept_are_remembered)
{
    tt_program_report r = {.on_rows = refuse};
    feed(&r, "{\"rows\":[{\"a\":1}]}\n{\"rows\":[1]}\n");
    cr_assert_eq(r.rows_rc, TT_NOSPACE);
    cr_assert_str_eq(r.rows_err.text, "the disk is full");
    cr_assert_eq(r.bad_lines, 1);
    tt_program_report_deinit(&r);
}
