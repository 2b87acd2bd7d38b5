#include <criterion/criterion.h>

#include <jansson.h>

#include "data/json.h"
#include "data/lines.h"
#include "data/simd.h"
#include "shared_data.h"

static uint64_t seed = 0x9E3779B97F4A7C15u;
static uint32_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32);
}

/* Every level gives what the reference gives: the end or the fault, and the count of NaN. */
static bool all_levels(tt_str text, bool strict, size_t *ret_past)
{
    tt_simd before = tt_simd_level;
    tt_json_opts opts = {.strict = strict};
    tt_json_fault fault = {0};
    const char *past = tt_json_skip_scalar(text.ptr, text.ptr + text.len, &opts, &fault);
    for (tt_simd level = TT_SIMD_BYTE; level <= TT_SIMD_AVX2; level++) {
        if (!tt_simd_use(level))
            continue;
        tt_json_opts o = {.strict = strict};
        tt_json_fault f = {0};
        const char *got = tt_json_skip(text.ptr, text.ptr + text.len, &o, &f);
        cr_assert_eq(got, past, "level %d: %s against %s", (int)level, f.reason ? f.reason : "ok", fault.reason ? fault.reason : "ok");
        cr_assert_eq(o.nan_count, opts.nan_count);
        cr_assert(past || (f.offset == fault.offset && strcmp(f.reason, fault.reason) == 0), "%s at %zu against %s at %zu", f.reason, f.offset, fault.reason, fault.offset);
        cr_assert(past || f.offset <= text.len);
    }
    tt_simd_level = before;
    if (past && ret_past)
        *ret_past = (size_t)(past - text.ptr);
    return past != NULL;
}

/* A heap copy without a byte to spare, so that the sanitizer sees what reads too far. */
static bool valid_exactly(tt_str text, bool strict)
{
    char *copy = malloc(text.len ? text.len : 1);
    memcpy(copy, text.ptr, text.len);
    tt_str exact = {copy, text.len};
    tt_json_opts opts = {.strict = strict};
    tt_json_fault fault;
    size_t past = 0;
    bool skipped = all_levels(exact, strict, &past);
    bool valid = tt_json_valid(exact, true, &opts, NULL, &fault);
    cr_assert(skipped || !valid || (text.len > 3 && memcmp(copy, "\xEF\xBB\xBF", 3) == 0));
    free(copy);
    return valid;
}

Test(json, accepts_and_refuses)
{
    static const char *const good[] = {"1", " 1 ", "-0", "0.5e-7", "1E+2", "[]", "{}", "[ ]", "{ }", "\"\"", "\"\\ud800\"", "\"\xF0\x9F\x98\x80\"",
                                       "[1,2,[3,{\"a\":null}],true,false]", "{\"a\":{\"b\":[{}]}}", "NaN", "[Infinity,-Infinity]", "\"\x7f\"", "\xEF\xBB\xBF[1]"};
    static const char *const bad[] = {"", " ", "01", "-", "1.", ".5", "1e", "+1", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "[1 2]", "[1", "{\"a\":1",
                                      "\"a", "\"\\x\"", "\"\\u12g4\"", "\"a\nb\"", "tru", "nul", "-NaN", "\"\xC0\x80\"", "\"\xED\xA0\x80\"", "\"\xF4\x90\x80\x80\"",
                                      "\"\xFF\"", "\"\xE2\x82\"", "[1}", "1 1", "]", "'a'", "\xEF\xBB\xBF"};
    for (size_t i = 0; i < TT_COUNT(good); i++)
        cr_assert(valid_exactly(tt_str_of(good[i]), false), "%s", good[i]);
    for (size_t i = 0; i < TT_COUNT(bad); i++)
        cr_assert(!valid_exactly(tt_str_of(bad[i]), false), "%s", bad[i]);
    cr_assert(!valid_exactly(TT_STR("[NaN]"), true));
    cr_assert(!valid_exactly(TT_STR("[1,\0]"), false));
    cr_assert(!valid_exactly(TT_STR("\"a\0b\""), false));
}

Test(json, depth_ends_at_512)
{
    char text[2 * 513 + 1];
    for (size_t depth = 510; depth <= 513; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        cr_assert_eq(valid_exactly((tt_str){text, 2 * depth}, false), depth <= 512, "%zu", depth);
    }
}

Test(json, faults_say_where_and_nan_is_counted)
{
    tt_json_opts opts = {0};
    tt_json_fault fault;
    tt_str value;
    cr_assert(!tt_json_valid(TT_STR("  {\"a\": 1 \"b\": 2}"), false, &opts, NULL, &fault));
    cr_assert_eq(fault.offset, 10u);
    cr_assert(!tt_json_valid(TT_STR("[1] x"), false, &opts, NULL, &fault));
    cr_assert_str_eq(fault.reason, "something follows the value");
    cr_assert(tt_json_valid(TT_STR("\xEF\xBB\xBF [NaN, -Infinity] \n"), true, &opts, &value, &fault));
    cr_assert_eq(opts.nan_count, 2u);
    cr_assert(tt_str_is(value, "[NaN, -Infinity]"));
}

static void random_json(tt_buf *b, int depth)
{
    static const char *const atoms[] = {"0", "-12.5e+10", "true", "null", "NaN", "\"\"", "\"\\\\\\\"\\u00e9\"", "\"\xC3\xA9t\xC3\xA9 \xE2\x82\xAC\xF0\x9F\x98\x80\"", "123456789012345678901"};
    uint32_t kind = next_random() % 8;
    if (depth == 0 || kind > 4) {
        if (kind == 7) {
            tt_buf_char(b, '"');
            for (uint32_t n = next_random() % 100; n > 0; n--)
                tt_buf_char(b, (char)('a' + n % 26));
            tt_buf_char(b, '"');
        } else
            tt_buf_cstr_put(b, atoms[next_random() % TT_COUNT(atoms)]);
        return;
    }
    tt_buf_char(b, kind & 1 ? '[' : '{');
    for (uint32_t i = 0, n = next_random() % 5; i < n; i++) {
        tt_buf_cstr_put(b, i ? next_random() % 2 ? "," : " , \n" : "");
        if (!(kind & 1))
            tt_buf_printf(b, "\"k%u\"%s:", i, i % 2 ? " " : "");
        random_json(b, depth - 1);
    }
    tt_buf_char(b, kind & 1 ? ']' : '}');
}

Test(json, levels_agree_on_random_texts)
{
    TT_BUF_AUTO tt_buf b = {0};
    static const char spice[] = "\"\\[]{},: \n\x01\x80\xC3\xE2\xF0x0-.eE";
    for (int round = 0; round < 20000; round++) {
        tt_buf_clear(&b);
        random_json(&b, 4);
        cr_assert(valid_exactly(tt_buf_view(&b), false), "%.*s", TT_STR_ARG(tt_buf_view(&b)));
        for (int k = 0; k < 3; k++) {
            b.ptr[next_random() % b.len] = spice[next_random() % (sizeof spice - 1)];
            (void)valid_exactly(tt_str_slice(tt_buf_view(&b), 0, next_random() % (b.len + 1)), k == 1);
        }
    }
}

Test(json, walks_and_unescapes)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_json_iter it;
    tt_str key, value;
    cr_assert(tt_json_enter(TT_STR("{ \"a\" : [1, 2] ,\"b\\n\":\"x\"}"), &it));
    cr_assert(tt_json_next_member(&it, &key, &value) && tt_str_is(key, "a") && tt_str_is(value, "[1, 2]"));
    cr_assert(tt_json_next_member(&it, &key, &value) && tt_str_is(key, "b\\n") && tt_str_is(value, "\"x\""));
    cr_assert(!tt_json_next_member(&it, &key, &value));
    cr_assert(tt_json_enter(TT_STR("[ ]"), &it) && !tt_json_next_element(&it, &value));
    cr_assert(!tt_json_enter(TT_STR("12"), &it));
    tt_json_unescape(TT_STR("\"a\\n\\u20ac\\ud83d\\ude00\\ud800x\\/\\\"\\u0000\""), &out);
    cr_assert(tt_str_eq(tt_buf_view(&out), TT_STR("a\n\xE2\x82\xAC\xF0\x9F\x98\x80\xEF\xBF\xBDx/\"\0")));
}

/* Jansson bounds integers and refuses lone surrogates, and takes a NUL byte for the end: where it accepts the rest, so do we. */
Test(json, suite_of_files)
{
    char dir[4096], path[4700];
    if (!shared_path("json/JSONTestSuite/test_parsing", dir))
        cr_skip_test("no JSONTestSuite");
    DIR *d = opendir(dir);
    size_t count = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        TT_BUF_AUTO tt_buf text = {0};
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        cr_assert(read_whole(path, &text), "%s", path);
        bool valid = valid_exactly((tt_str){text.ptr ? text.ptr : "", text.len}, true);
        cr_assert(e->d_name[0] != 'y' || valid, "%s was refused", e->d_name);
        cr_assert(e->d_name[0] != 'n' || !valid, "%s was accepted", e->d_name);
        json_t *tree = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        cr_assert(!tree || valid || memchr(text.ptr, 0, text.len), "%s: jansson accepts it", e->d_name);
        json_decref(tree);
        count++;
    }
    closedir(d);
    cr_assert_gt(count, 300u);
}

Test(lines, levels_agree_on_random_bytes)
{
    static const char letters[] = "\n\r\r\nabcdefghijklmnop";
    tt_simd before = tt_simd_level;
    for (int round = 0; round < 20000; round++) {
        size_t len = next_random() % 400, letter_count = 2 + next_random() % (sizeof letters - 2);
        char *text = malloc(len ? len : 1);
        for (size_t i = 0; i < len; i++)
            text[i] = letters[next_random() % letter_count];
        bool last = next_random() % 2;
        size_t limit = 1 + next_random() % 300;
        const char *past, *expected_past;
        size_t expected = tt_lines_count_scalar(text, text + len, last, limit, &expected_past);
        const char *first = text;
        while (first < text + len && *first != '\n' && *first != '\r')
            first++;
        for (tt_simd level = TT_SIMD_BYTE; level <= TT_SIMD_AVX2; level++) {
            if (!tt_simd_use(level))
                continue;
            cr_assert_eq(tt_lines_count(text, text + len, last, limit, &past), expected);
            cr_assert_eq(past, expected_past, "level %d: %td against %td of %zu, %zu ends", (int)level, past - text, expected_past - text, len, expected);
            cr_assert_eq(tt_line_end(text, text + len), first);
        }
        free(text);
    }
    tt_simd_level = before;
}
