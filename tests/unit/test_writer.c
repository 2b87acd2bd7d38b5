#include <criterion/criterion.h>

#include "data/writer.h"

static tt_writer *open_writer(const char *kind, const char *path, const char *header)
{
    tt_writer *w = NULL;
    tt_err err = {0};
    cr_assert_eq(tt_writer_open(&(tt_writer_spec){.kind = tt_str_of(kind), .output_path = tt_str_of(path), .header = tt_str_of(header)}, &w, &err), TT_OK, "%s", err.text);
    return w;
}

static tt_rc put(tt_writer *w, const char *value, tt_buf *out)
{
    size_t before = out->len;
    tt_err err = {0};
    tt_rc rc = tt_writer_put(w, tt_str_of(value), out, &err);
    cr_assert(rc == TT_OK || (out->len == before && err.text[0]));
    return rc;
}

/* values: ended by NULL; those that begin with `!` must be refused. */
static void expect(const char *path, const char *header, const char *const *values, const char *text)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_writer *w = open_writer(NULL, path, header);
    for (; *values; values++)
        cr_assert_eq(put(w, *values + (**values == '!'), &out), **values == '!' ? TT_INVALID : TT_OK, "%s", *values);
    cr_assert_str_eq(tt_buf_cstr(&out), text);
    tt_writer_close(w);
}

Test(jsonl_writer, bytes_as_they_are_on_one_line)
{
    const char *const values[] = {"{\"a\": 1.50,\r\n \"b\":\"\\n\"}", "[ NaN ]", "3", NULL};
    expect("x.jsonl", NULL, values, "{\"a\": 1.50,   \"b\":\"\\n\"}\n[ NaN ]\n3\n");
    tt_writer *w = open_writer("JsonlWriter", "x", NULL);
    cr_assert(tt_writer_is_plain(w));
    cr_assert_str_eq(tt_writer_kind(w), "JsonlWriter");
    tt_writer_close(w);
}

Test(writer, the_ending_before_the_packing_decides)
{
    const char *const names[][2] = {{"x.jsonl.gz", "JsonlWriter"}, {"x.csv.ZST", "CsvWriter"}};
    for (size_t i = 0; i < TT_COUNT(names); i++) {
        tt_writer *w = NULL;
        cr_assert_eq(tt_writer_open(&(tt_writer_spec){.output_path = tt_str_of(names[i][0])}, &w, NULL), TT_OK);
        cr_assert_str_eq(tt_writer_kind(w), names[i][1]);
        tt_writer_close(w);
    }
}

Test(csv_writer, begins_again_with_its_header)
{
    tt_writer *w = NULL;
    TT_BUF_AUTO tt_buf out = {0};
    cr_assert_eq(tt_writer_open(&(tt_writer_spec){.output_path = TT_STR("x.csv")}, &w, NULL), TT_OK);
    cr_assert_eq(tt_writer_put(w, TT_STR("{\"a\":1,\"b\":2}"), &out, NULL), TT_OK);
    tt_writer_rewind(w);
    cr_assert_eq(tt_writer_put(w, TT_STR("{\"b\":3}"), &out, NULL), TT_OK);
    cr_assert_eq(tt_writer_put(w, TT_STR("{\"a\":4}"), &out, NULL), TT_OK);
    cr_assert_str_eq(tt_buf_cstr(&out), "a,b\n1,2\na,b\n,3\n4,\n");
    tt_writer_close(w);
}

Test(csv_writer, arrays_under_the_inputs_header)
{
    const char *const values[] = {"[1, \"a,b\", true]", "[1.50,\"\",null]", "!{\"x\":1}", "![1,2]", "!7", "{\"c\":false,\"a\":\"q\\\"\\n\"}",
                                  "[{\"k\":\n[1,2]},\" x \",-0]", NULL};
    expect("out.csv", "[\"a\",\"b,c\",\"c\"]", values,
           "a,\"b,c\",c\n1,\"a,b\",True\n1.50,\"\",\n\"q\"\"\n\",,False\n\"{\"\"k\"\": [1,2]}\", x ,-0\n");
}

Test(csv_writer, the_first_object_names_the_columns)
{
    const char *const values[] = {"{\"t\\u00e9\":1,\"b\":2,\"b\":3}", "{\"b\":4}", "!{\"z\":1}", "[5,6]", "![5]", "{}", NULL};
    expect("out.tsv", "[\"a\",\"b\"]", values, "t\xC3\xA9\tb\n1\t3\n\t4\n5\t6\n\t\n");
    const char *const subset[] = {"{\"b\":4}", NULL};
    expect("out.csv", "[\"a\",\"b\"]", subset, "a,b\n,4\n");
}

Test(csv_writer, arrays_without_names_have_no_header)
{
    const char *const values[] = {"![]", "!{}", "[1,2,3]", "!{\"a\":1}", "!1", "![1,2]", "[\"\",null,\"x\"]", NULL};
    expect("out.csv", NULL, values, "1,2,3\n\"\",,x\n");
    expect("out.csv", "[\"a\",\"b\"]", (const char *const[]){"[1,2,3]", NULL}, "1,2,3\n");
}

Test(csv_writer, a_row_is_never_a_blank_line)
{
    const char *const values[] = {"[null]", "[\" \"]", "[\"a\"]", "[\"\"]", NULL};
    expect("out.csv", "[\"a\"]", values, "a\n\"\"\n\" \"\na\n\"\"\n");
}

Test(csv_writer, state_goes_back_and_on)
{
    TT_BUF_AUTO tt_buf out = {0}, fresh = {0}, later = {0};
    tt_err err = {0};
    tt_writer *w = open_writer("CsvWriter", "out.csv", NULL);
    tt_writer_state(w, &fresh);
    cr_assert_eq(put(w, "{\"a\":1,\"b\":2}", &out), TT_OK);
    tt_writer_state(w, &later);
    tt_buf_clear(&out);
    cr_assert_eq(tt_writer_restore(w, tt_buf_view(&fresh), &err), TT_OK, "%s", err.text);
    cr_assert_eq(put(w, "{\"c\":1}", &out), TT_OK);
    cr_assert_str_eq(tt_buf_cstr(&out), "c\n1\n");
    tt_writer_close(w);

    tt_buf_clear(&out);
    tt_writer_spec spec = {.output_path = TT_STR("out.csv"), .state = tt_buf_view(&later), .output_has_rows = true, .options = TT_STR("{\"separator\":\";\"}")};
    cr_assert_eq(tt_writer_open(&spec, &w, &err), TT_OK, "%s", err.text);
    cr_assert_eq(put(w, "{\"b\":\"x;y\"}", &out), TT_OK);
    cr_assert_str_eq(tt_buf_cstr(&out), ";\"x;y\"\n");
    tt_writer_close(w);

    tt_buf_clear(&out);
    spec.state = (tt_str){0};
    cr_assert_eq(tt_writer_open(&spec, &w, &err), TT_OK, "%s", err.text);
    cr_assert_eq(put(w, "{\"b\":1}", &out), TT_OK);
    cr_assert_str_eq(tt_buf_cstr(&out), "1\n", "no header behind rows that are there");
    tt_writer_close(w);
}

Test(writer, what_cannot_be_opened)
{
    tt_writer *w = NULL;
    tt_err err = {0};
    cr_assert_eq(tt_writer_open(&(tt_writer_spec){.output_path = TT_STR("out.dat")}, &w, &err), TT_INVALID);
    cr_assert(strstr(err.text, "JsonlWriter"), "%s", err.text);
    cr_assert_eq(tt_writer_open(&(tt_writer_spec){.kind = TT_STR("XWriter")}, &w, &err), TT_INVALID);
    cr_assert_eq(tt_writer_open(&(tt_writer_spec){.kind = TT_STR("CsvWriter"), .options = TT_STR("[1]")}, &w, &err), TT_INVALID);
    cr_assert_eq(tt_writer_open(&(tt_writer_spec){.kind = TT_STR("CsvWriter"), .state = TT_STR("{\"started\":true,\"width\":-1}")}, &w, &err), TT_CORRUPT);
    cr_assert_str_eq(tt_writer_kinds()[1], "CsvWriter");
}
