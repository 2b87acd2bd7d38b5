#include <criterion/criterion.h>

#include <inttypes.h>
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
