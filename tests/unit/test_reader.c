#include <criterion/criterion.h>

#include <inttypes.h>
#include <jansson.h>
#include <unistd.h>

#include "data/json.h"
#include "data/reader.h"
#include "shared_data.h"

/* Input files in a directory of their own, and a reader over them. */
typedef struct {
    char dir[64];
    char *paths[8];
    size_t count;
    tt_roots *roots;
    tt_reader *reader;
    tt_buf state; /* given to the next open */
    uint64_t max_item_bytes;
    tt_err err;
} inputs;

static void setup(inputs *in)
{
    *in = (inputs){.dir = "/tmp/tutti-reader-XXXXXX"};
    cr_assert(mkdtemp(in->dir));
    cr_assert_eq(tt_roots_new(&(tt_str){in->dir, strlen(in->dir)}, 1, &in->roots, &in->err), TT_OK);
}

static void add_file(inputs *in, const char *name, tt_str bytes)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", in->dir, name);
    FILE *f = fopen(path, "wb");
    cr_assert(f);
    cr_assert_eq(fwrite(bytes.ptr, 1, bytes.len, f), bytes.len);
    fclose(f);
    in->paths[in->count++] = tt_dup_cstr(path);
}

static tt_rc open_inputs(inputs *in, const char *options)
{
    tt_reader_close(in->reader);
    in->reader = NULL;
    return tt_reader_open(&(tt_reader_spec){.roots = in->roots, .spool_dir = in->dir, .paths = in->paths, .path_count = in->count,
                                            .options = tt_str_of(options), .max_item_bytes = in->max_item_bytes, .state = tt_buf_view(&in->state)},
                          &in->reader, &in->err);
}

static void teardown(inputs *in)
{
    tt_reader_close(in->reader);
    tt_roots_free(in->roots);
    tt_buf_deinit(&in->state);
    for (size_t i = 0; i < in->count; i++) {
        unlink(in->paths[i]);
        free(in->paths[i]);
    }
    rmdir(in->dir);
}

typedef TT_VEC(tt_block) blocks;

static blocks plan(inputs *in)
{
    blocks list = {0};
    tt_block b = {0};
    for (;;) {
        cr_assert_eq(tt_reader_next_block(in->reader, &b, &b, &in->err), TT_OK, "%s", in->err.text);
        if (!b.count)
            return list;
        cr_assert(tt_vec_push(&list, b));
    }
}

/* All items one behind the other, and a line for every bad record that is not silent. */
static void load_all(inputs *in, const blocks *list, tt_buf *items, tt_buf *bads)
{
    for (size_t i = 0; i < list->len; i++) {
        tt_loaded *l;
        cr_assert_eq(tt_reader_load(in->reader, &list->ptr[i], &l, &in->err), TT_OK, "%s", in->err.text);
        for (uint32_t k = 0; k < l->block.count; k++)
            cr_assert_leq(l->offsets[k], l->offsets[k + 1]);
        tt_buf_put(items, l->bytes, l->offsets[l->block.count]);
        for (uint32_t k = 0; k < l->bad_count; k++) {
            const tt_bad_record *bad = &l->bads[k];
            cr_assert_eq(l->offsets[bad->index], l->offsets[bad->index + 1]);
            if (!bad->silent)
                tt_buf_printf(bads, "%" PRIu64 " line %" PRIu64 " at %" PRIu64 ": %s: %.*s\n", l->block.first_id + bad->index, bad->line, bad->offset, bad->reason,
                              TT_STR_ARG(tt_str_slice(bad->text, 0, 20)));
        }
        tt_loaded_unref(tt_loaded_ref(l));
        tt_loaded_unref(l);
    }
}

/* Plan and load the inputs, and compare with what is expected. */
static void expect(inputs *in, const char *options, const char *items, const char *bads)
{
    TT_BUF_AUTO tt_buf got = {0}, got_bads = {0};
    cr_assert_eq(open_inputs(in, options), TT_OK, "%s", in->err.text);
    blocks list = plan(in);
    load_all(in, &list, &got, &got_bads);
    cr_assert_str_eq(tt_buf_cstr(&got), items);
    cr_assert_str_eq(tt_buf_cstr(&got_bads), bads);
    tt_vec_deinit(&list);
}

Test(jsonl, ids_are_physical_lines_over_all_files)
{
    inputs in;
    setup(&in);
    add_file(&in, "a.jsonl", TT_STR("\xEF\xBB\xBF{\"a\":1}\r\n\r\n  [1, 2]\t\r\"x\"\n \t \n"));
    add_file(&in, "b.jsonl", TT_STR(""));
    add_file(&in, "c.jsonl", TT_STR("\nnull\n3.50"));
    expect(&in, NULL, "[0,{\"a\":1}],[2,[1, 2]],[3,\"x\"],[6,null],[7,3.50],", "");
    cr_assert_str_eq(tt_reader_kind(in.reader), "JsonlReader");
    cr_assert(!tt_reader_plans_first(in.reader));
    cr_assert_eq(tt_reader_header(in.reader).len, 0u);
    teardown(&in);
}

Test(jsonl, bad_lines_have_reason_line_and_offset)
{
    inputs in;
    setup(&in);
    add_file(&in, "a.jsonl", TT_STR("1\n{\"a\":}\n\"\xFF\"\n[1] 2\n\"a\0\"\nNaN\n"));
    expect(&in, "", "[0,1],[5,NaN],",
           "1 line 2 at 2: a value is missing (at byte 5 of the line): {\"a\":}\n"
           "2 line 3 at 9: the text is not UTF-8 (at byte 1 of the line): \"\xFF\"\n"
           "3 line 4 at 13: something follows the value (at byte 4 of the line): [1] 2\n"
           "4 line 5 at 19: a NUL byte in a string (at byte 2 of the line): \"a\n");
    expect(&in, "{\"json\":\"strict\",\"chunk_size\":10}", "[0,1],",
           "1 line 2 at 2: a value is missing (at byte 5 of the line): {\"a\":}\n"
           "2 line 3 at 9: the text is not UTF-8 (at byte 1 of the line): \"\xFF\"\n"
           "3 line 4 at 13: something follows the value (at byte 4 of the line): [1] 2\n"
           "4 line 5 at 19: a NUL byte in a string (at byte 2 of the line): \"a\n"
           "5 line 6 at 24: NaN and Infinity are not JSON (at byte 0 of the line): NaN\n");
    teardown(&in);
}

Test(jsonl, long_lines_are_streamed_and_refused)
{
    inputs in;
    setup(&in);
    in.max_item_bytes = 3 << 20;
    TT_BUF_AUTO tt_buf text = {0};
    tt_buf_cstr_put(&text, "1\n\"");
    for (int i = 0; i < 5 << 20; i++)
        tt_buf_char(&text, 'x');
    tt_buf_cstr_put(&text, "\"\r\n2\n\"");
    for (int i = 0; i < 2 << 20; i++)
        tt_buf_char(&text, 'y');
    tt_buf_cstr_put(&text, "\"\r\n3\n");
    add_file(&in, "a.jsonl", tt_buf_view(&text));
    cr_assert_eq(open_inputs(&in, NULL), TT_OK);
    blocks list = plan(&in);
    TT_BUF_AUTO tt_buf items = {0}, bads = {0};
    load_all(&in, &list, &items, &bads);
    cr_assert_eq(items.len, strlen("[0,1],[2,2],[3,\"\"],[4,3],") + (2u << 20));
    cr_assert_str_eq(tt_buf_cstr(&bads), "1 line 2 at 2: the line is too long (5242884 bytes; the limit is 3145728): \"xxxxxxxxxxxxxxxxxxx\n");
    tt_vec_deinit(&list);
    teardown(&in);
}

Test(jsonl, small_limits_count_the_line_without_its_end)
{
    inputs in;
    setup(&in);
    in.max_item_bytes = 5;
    add_file(&in, "a.jsonl", TT_STR("\xEF\xBB\xBF" "12345\r\n123456\n12345"));
    expect(&in, NULL, "[0,12345],[2,12345],", "1 line 2 at 10: the line is longer than 5 bytes: 123456\n");
    teardown(&in);
}

static uint32_t step(uint32_t *x) { return *x = *x * 1664525u + 1013904223u; }

/* Blocks cover every byte once and give the same items as one pass over the text, also after a restart in the middle. */
Test(jsonl, blocks_cover_all_bytes_once)
{
    for (uint32_t round = 1; round <= 12; round++) {
        inputs in;
        setup(&in);
        uint32_t x = round;
        TT_BUF_AUTO tt_buf text = {0}, expected = {0}, got = {0}, bads = {0};
        static const char *const ends[] = {"\n", "\r\n", "\r"};
        size_t lines = 3000 + step(&x) % 9000;
        for (size_t i = 0; i < lines; i++) {
            uint32_t size = (step(&x) >> 8) % (round % 3 ? 300 : 3000);
            if (size % 50) {
                tt_buf_printf(&text, "\"%0*u\"", (int)size + 1, 7u);
                tt_buf_printf(&expected, "[%zu,\"%0*u\"],", i, (int)size + 1, 7u);
            }
            tt_buf_cstr_put(&text, ends[round % 4 == 3 ? (step(&x) >> 9) % 2 : round % 4]);
        }
        add_file(&in, "a.jsonl", tt_buf_view(&text));
        cr_assert_eq(open_inputs(&in, NULL), TT_OK);
        blocks list = plan(&in);
        uint64_t at = 0, id = 0;
        for (size_t i = 0; i < list.len; i++) {
            cr_assert_eq(list.ptr[i].offset, at);
            cr_assert_eq(list.ptr[i].first_id, id);
            cr_assert(list.ptr[i].count <= TT_BLOCK_ITEMS && list.ptr[i].length_bytes <= TT_BLOCK_BYTES);
            at += list.ptr[i].length_bytes;
            id += list.ptr[i].count;
        }
        cr_assert_eq(at, text.len);
        cr_assert_eq(id, lines, "%lu of %zu", (unsigned long)id, lines);
        load_all(&in, &list, &got, &bads);
        cr_assert(tt_str_eq(tt_buf_view(&got), tt_buf_view(&expected)));
        cr_assert_eq(bads.len, 0u);
        tt_reader_state(in.reader, &in.state);
        cr_assert_eq(open_inputs(&in, NULL), TT_OK, "%s", in.err.text);
        tt_block again = {0};
        cr_assert_eq(tt_reader_next_block(in.reader, &list.ptr[0], &again, &in.err), TT_OK);
        if (list.len > 1)
            cr_assert(memcmp(&again, &list.ptr[1], sizeof again) == 0);
        tt_vec_deinit(&list);
        teardown(&in);
    }
}

Test(jsonl, a_changed_file_is_a_conflict)
{
    inputs in;
    setup(&in);
    add_file(&in, "a.jsonl", TT_STR("1\n2\n3\n"));
    cr_assert_eq(open_inputs(&in, NULL), TT_OK);
    blocks list = plan(&in);
    tt_loaded *l = NULL;
    FILE *f = fopen(in.paths[0], "wb");
    fputs("1\n2   ", f);
    fclose(f);
    cr_assert_eq(tt_reader_load(in.reader, &list.ptr[0], &l, &in.err), TT_CONFLICT);
    tt_block wild = list.ptr[0];
    wild.length_bytes = UINT64_MAX;
    cr_assert_eq(tt_reader_load(in.reader, &wild, &l, &in.err), TT_CORRUPT);
    tt_vec_deinit(&list);
    teardown(&in);
}

Test(reader, the_name_says_the_kind)
{
    inputs in;
    setup(&in);
    add_file(&in, "a.txt", TT_STR("1\n"));
    cr_assert_eq(open_inputs(&in, NULL), TT_INVALID);
    cr_assert(strstr(in.err.text, "JsonlReader"), "%s", in.err.text);
    cr_assert_eq(tt_reader_open(&(tt_reader_spec){.kind = TT_STR("XReader"), .paths = in.paths, .path_count = 1}, &in.reader, &in.err), TT_INVALID);
    cr_assert_str_eq(tt_reader_kinds()[0], "JsonlReader");
    teardown(&in);
}

Test(csv, one_type_per_column_for_the_whole_input)
{
    inputs in;
    setup(&in);
    add_file(&in, "a.csv", TT_STR("\xEF\xBB\xBFi,big,dec,b,zero,inf,mixed,t,gap\r\n"
                                  "1,123456789012345678901234567890,.5,true,007,1,1,x,1\r\n\r\n"
                                  "-0,0,5.,FALSE,1,inf,true,\"a \"\"b\"\"\nc\",\r\n"));
    add_file(&in, "b.csv", TT_STR("i,big,dec,b,zero,inf,mixed,t,gap\n3,4,-1.5e+3,True,2,2,2, y ,-2\n"));
    cr_assert_eq(open_inputs(&in, NULL), TT_OK, "%s", in.err.text);
    cr_assert(tt_reader_plans_first(in.reader));
    tt_reader_close(in.reader);
    in.reader = NULL;
    const char *items = "[0,[1,123456789012345678901234567890,0.5,true,\"007\",\"1\",\"1\",\"x\",1]],"
                        "[1,[-0,0,5.0,false,\"1\",\"inf\",\"true\",\"a \\\"b\\\"\\nc\",null]],"
                        "[2,[3,4,-1.5e+3,true,\"2\",\"2\",\"2\",\" y \",-2]],";
    expect(&in, NULL, items, "");
    cr_assert(tt_str_is(tt_reader_header(in.reader), "[\"i\",\"big\",\"dec\",\"b\",\"zero\",\"inf\",\"mixed\",\"t\",\"gap\"]"));
    cr_assert(!tt_reader_plans_first(in.reader));

    /* After a restart blocks load without a plan. */
    blocks list = plan(&in);
    TT_BUF_AUTO tt_buf got = {0}, bads = {0};
    tt_reader_state(in.reader, &in.state);
    cr_assert_eq(open_inputs(&in, NULL), TT_OK, "%s", in.err.text);
    cr_assert(!tt_reader_plans_first(in.reader));
    load_all(&in, &list, &got, &bads);
    cr_assert_str_eq(tt_buf_cstr(&got), items);
    tt_vec_deinit(&list);
    teardown(&in);
}

Test(csv, text_and_missing_values)
{
    inputs in;
    setup(&in);
    add_file(&in, "a.csv", TT_STR("a,b\n1,\nNA,\"\"\n2,x\n"));
    expect(&in, "{\"types\":\"text\"}", "[0,[\"1\",null]],[1,[\"NA\",\"\"]],[2,[\"2\",\"x\"]],", "");
    cr_assert(!tt_reader_plans_first(in.reader));
    expect(&in, NULL, "[0,[\"1\",null]],[1,[\"NA\",\"\"]],[2,[\"2\",\"x\"]],", "");
    expect(&in, "{\"na\":\"null\"}", "[0,[1,null]],[1,[null,null]],[2,[2,\"x\"]],", "");
    expect(&in, "{\"na\":\"keep\"}", "[0,[\"1\",\"\"]],[1,[\"NA\",\"\"]],[2,[\"2\",\"x\"]],", "");
    cr_assert_eq(open_inputs(&in, "{\"na\":\"maybe\"}"), TT_INVALID);
    cr_assert(strstr(in.err.text, "`na` cannot be `maybe`"), "%s", in.err.text);
    teardown(&in);
}

Test(csv, rows_that_do_not_fit)
{
    inputs in;
    setup(&in);
    add_file(&in, "a.csv", TT_STR("a,b\n1,2\n3\n\n4,5,6\n\"x\ny\",\xFF\n7,8\n\"open,9\n10,11\n"));
    expect(&in, NULL, "[0,[1,2]],[4,[7,8]],[6,[10,11]],",
           "1 line 3 at 8: the row has 1 cells, the header 2: 3\n"
           "2 line 5 at 11: the row has 3 cells, the header 2: 4,5,6\n"
           "3 line 6 at 17: the row is not UTF-8: \"x\ny\",\xFF\n"
           "5 line 9 at 29: a quote is opened and not closed: \"open,9\n");
    in.max_item_bytes = 8;
    expect(&in, NULL, "[0,[1,2]],[4,[7,8]],[6,[10,11]],",
           "1 line 3 at 8: the row has 1 cells, the header 2: 3\n"
           "2 line 5 at 11: the row has 3 cells, the header 2: 4,5,6\n"
           "3 line 6 at 17: the row is not UTF-8: \"x\ny\",\xFF\n"
           "5 line 9 at 29: a quote is opened and not closed: \"open,9\n");
    in.max_item_bytes = 4;
    expect(&in, NULL, "[0,[1,2]],[5,[7,8]],",
           "1 line 3 at 8: the row has 1 cells, the header 2: 3\n"
           "2 line 5 at 11: the row is longer than 4 bytes: 4,5,6\n"
           "3 line 6 at 17: a quote is opened and not closed: \"x\n"
           "4 line 7 at 20: the row is not UTF-8: y\",\xFF\n"
           "6 line 9 at 29: a quote is opened and not closed: \"open,9\n"
           "7 line 10 at 37: the row is longer than 4 bytes: 10,11\n");
    teardown(&in);
}

Test(csv, separators)
{
    inputs in;
    setup(&in);
    add_file(&in, "a.csv", TT_STR("\n\"a,x\";b;c\n1;2,5;3\n"));
    expect(&in, NULL, "[0,[1,\"2,5\",3]],", "");
    expect(&in, "{\"separator\":\",\"}", "", "0 line 3 at 11: the row has 2 cells, the header 1: 1;2,5;3\n");
    cr_assert_eq(open_inputs(&in, "{\"separator\":\"\\n\"}"), TT_INVALID);
    cr_assert_eq(open_inputs(&in, "{\"separator\":\"ab\"}"), TT_INVALID);
    teardown(&in);
    setup(&in);
    add_file(&in, "a.tsv", TT_STR("a\tb\n\t2"));
    expect(&in, NULL, "[0,[null,2]],", "");
    teardown(&in);
}

Test(csv, what_cannot_be_opened_is_named)
{
    static const struct { const char *bytes, *sentence; } cases[] = {
        {"", "is empty: a CSV file needs a header line"}, {"\n \r\n", "is empty"}, {"\"a,b\n1,2\n", "is a quote not closed?"}, {"a,\xFF\n", "is not UTF-8 text (column 2)"},
    };
    for (size_t i = 0; i < TT_COUNT(cases); i++) {
        inputs in;
        setup(&in);
        add_file(&in, "a.csv", tt_str_of(cases[i].bytes));
        cr_assert_eq(open_inputs(&in, NULL), TT_INVALID, "%s", cases[i].bytes);
        cr_assert(strstr(in.err.text, cases[i].sentence) && strstr(in.err.text, "a.csv"), "%s", in.err.text);
        teardown(&in);
    }
    inputs in;
    setup(&in);
    add_file(&in, "a.csv", TT_STR("a,b\n1,2\n"));
    add_file(&in, "b.csv", TT_STR("a,c\n1,2\n"));
    cr_assert_eq(open_inputs(&in, NULL), TT_INVALID);
    cr_assert(strstr(in.err.text, "b.csv"), "%s", in.err.text);
    teardown(&in);
    setup(&in);
    add_file(&in, "a.csv", TT_STR("a,b"));
    expect(&in, NULL, "", "");
    teardown(&in);
}

Test(csv, types_need_the_whole_plan)
{
    inputs in;
    setup(&in);
    add_file(&in, "a.csv", TT_STR("a\n1\n2\n"));
    cr_assert_eq(open_inputs(&in, NULL), TT_OK);
    tt_block b = {0}, next;
    tt_loaded *l;
    cr_assert_eq(tt_reader_next_block(in.reader, &b, &b, &in.err), TT_OK);
    cr_assert_eq(tt_reader_load(in.reader, &b, &l, &in.err), TT_CONFLICT);
    tt_reader_state(in.reader, &in.state);
    cr_assert_eq(open_inputs(&in, NULL), TT_OK);
    cr_assert_eq(tt_reader_next_block(in.reader, &b, &next, &in.err), TT_CONFLICT);
    blocks list = plan(&in);
    cr_assert_eq(list.len, 1u);
    cr_assert_eq(tt_reader_load(in.reader, &b, &l, &in.err), TT_OK);
    tt_loaded_unref(l);
    tt_vec_deinit(&list);
    teardown(&in);
}

/* Many blocks, rows longer than a block, an open quote in the middle; also planned anew from every block on. */
Test(csv, blocks_and_long_rows)
{
    inputs in;
    setup(&in);
    in.max_item_bytes = 2 << 20;
    TT_BUF_AUTO tt_buf text = {0}, expected = {0}, got = {0}, bads = {0};
    tt_buf_cstr_put(&text, "a,b\r\n");
    for (unsigned i = 0; i < 20000; i++) {
        size_t size = i == 7000 ? 1500000 : i == 9000 ? 3000000 : i % 60;
        tt_buf_printf(&text, "%u,%s%0*d%s\r\n%s", i, i % 3 ? "\"a\n\"\"" : "", (int)size + 1, 0, i % 3 ? "\"" : "", i % 10 ? "" : "\r\n");
        if (i == 9000)
            continue;
        tt_buf_printf(&expected, "[%u,[\"%u\",\"%s%0*d\"]],", i, i, i % 3 ? "a\\n\\\"" : "", (int)size + 1, 0);
    }
    add_file(&in, "a.csv", tt_buf_view(&text));
    cr_assert_eq(open_inputs(&in, "{\"types\":\"text\"}"), TT_OK);
    blocks list = plan(&in);
    cr_assert_gt(list.len, 5u);
    load_all(&in, &list, &got, &bads);
    cr_assert(tt_str_eq(tt_buf_view(&got), tt_buf_view(&expected)), "%zu against %zu", got.len, expected.len);
    cr_assert(strstr(tt_buf_cstr(&bads), "the row is too long"), "%s", tt_buf_cstr(&bads));
    tt_reader_state(in.reader, &in.state);
    for (size_t i = 0; i + 1 < list.len; i++) {
        tt_block next;
        cr_assert_eq(open_inputs(&in, "{\"types\":\"text\"}"), TT_OK);
        cr_assert_eq(tt_reader_next_block(in.reader, &list.ptr[i], &next, &in.err), TT_OK);
        cr_assert(memcmp(&next, &list.ptr[i + 1], sizeof next) == 0, "block %zu", i);
    }
    tt_vec_deinit(&list);
    teardown(&in);
}

static void compare_with_answer(const char *name, const char *csv, const char *answer)
{
    TT_BUF_AUTO tt_buf bytes = {0}, wanted = {0}, items = {0}, bads = {0}, got = {0};
    inputs in;
    setup(&in);
    cr_assert(read_whole(csv, &bytes) && read_whole(answer, &wanted));
    add_file(&in, "a.csv", tt_buf_view(&bytes));
    cr_assert_eq(open_inputs(&in, "{\"types\":\"text\"}"), TT_OK, "%s: %s", name, in.err.text);
    blocks list = plan(&in);
    load_all(&in, &list, &items, &bads);
    tt_buf_printf(&got, "[%.*s]", items.len ? (int)items.len - 1 : 0, items.ptr ? items.ptr : "");
    json_t *rows = json_loadb(got.ptr, got.len, 0, NULL), *objects = json_loadb(wanted.ptr, wanted.len, 0, NULL);
    json_t *header = json_loadb(tt_reader_header(in.reader).ptr, tt_reader_header(in.reader).len, 0, NULL);
    cr_assert_eq(json_array_size(rows), json_array_size(objects), "%s", name);
    for (size_t i = 0; i < json_array_size(rows); i++)
        for (size_t k = 0; k < json_array_size(header); k++) {
            const json_t *want = json_object_get(json_array_get(objects, i), json_string_value(json_array_get(header, k)));
            cr_assert(json_equal(json_array_get(json_array_get(json_array_get(rows, i), 1), k), want), "%s row %zu column %zu", name, i, k);
        }
    json_decref(rows);
    json_decref(objects);
    json_decref(header);
    tt_vec_deinit(&list);
    teardown(&in);
}

Test(csv, spectrum_gives_its_own_answers)
{
    char dir[4096], csv[4700], answer[4700];
    if (!shared_path("csv/csv-spectrum", dir))
        cr_skip_test("no csv-spectrum");
    /* Not location_coordinates: its answer is of another file. */
    static const char *const names[] = {"comma_in_quotes", "empty", "empty_crlf", "escaped_quotes", "json", "newlines",
                                        "newlines_crlf", "quotes_and_newlines", "simple", "simple_crlf", "utf8"};
    for (size_t i = 0; i < TT_COUNT(names); i++) {
        snprintf(csv, sizeof csv, "%s/csvs/%s.csv", dir, names[i]);
        snprintf(answer, sizeof answer, "%s/json/%s.json", dir, names[i]);
        compare_with_answer(names[i], csv, answer);
    }
}

/* Whatever the bytes: no crash, and every item is JSON. */
Test(csv, hostile_files)
{
    char dir[4096], path[4700];
    if (!shared_path("csv/arrow-testing-csv/fuzzing", dir))
        cr_skip_test("no fuzzing corpus");
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));) {
        TT_BUF_AUTO tt_buf bytes = {0}, items = {0}, bads = {0};
        inputs in;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] == '.' || !read_whole(path, &bytes))
            continue;
        setup(&in);
        add_file(&in, "a.csv", tt_buf_view(&bytes));
        if (open_inputs(&in, NULL) == TT_OK) {
            blocks list = plan(&in);
            load_all(&in, &list, &items, &bads);
            tt_json_opts opts = {.strict = true};
            tt_json_fault fault;
            for (const char *p = items.ptr, *end = p + items.len; p < end; p++)
                cr_assert((p = tt_json_skip(p, end, &opts, &fault)) && *p == ',', "%s: %s", e->d_name, fault.reason);
            tt_vec_deinit(&list);
        }
        teardown(&in);
    }
    closedir(d);
}
