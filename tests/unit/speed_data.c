/* How fast data/ works on one core: `meson compile speed_data && tests/unit/speed_data [file.jsonl]`. Not a test.
 * Without a file it writes one of 256 MB below TMPDIR: objects of about 200 bytes, every eighth with a text of 1 KB. */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "data/json.h"
#include "data/pairs.h"
#include "data/reader.h"
#include "data/simd.h"

static void put_object(tt_buf *b, unsigned i)
{
    static const char words[] = "the quick brown fox jumps over the lazy dog and then some more of it ";
    tt_buf_printf(b, "{\"id\": %u, \"name\": \"user-%u\", \"email\": \"user%u@example.org\", \"score\": %u.%02u, \"active\": %s, \"tags\": [\"a\", \"b%u\"], "
                  "\"note\": null, \"text\": \"%.*s\"", i, i * 7919u, i, i % 1000, i % 100, i % 3 ? "true" : "false", i % 10, 40 + (int)(i % 25), words);
    if (i % 8 == 0) {
        tt_buf_cstr_put(b, ", \"long\": \"");
        for (int k = 0; k < 15; k++)
            tt_buf_cstr_put(b, words);
        tt_buf_char(b, '"');
    }
    tt_buf_char(b, '}');
}

static void report(const char *what, size_t bytes, int64_t from_us)
{
    int64_t us = tt_mono_us() - from_us;
    printf("%-44s %7.2f GB/s\n", what, (double)bytes / (double)us / 1000);
}

static void measure_skip(const tt_buf *objects, tt_simd level)
{
    static const char *const names[] = {"json_skip, bytes", "json_skip, words", "json_skip, SSE2", "json_skip, AVX2"};
    tt_simd before = tt_simd_level;
    tt_json_opts opts = {0};
    tt_json_fault fault;
    if (!tt_simd_use(level))
        return;
    int64_t t = tt_mono_us();
    size_t total = 0;
    for (int round = 0; round < 20; round++) {
        const char *p = objects->ptr, *end = p + objects->len;
        while (p < end && (p = tt_json_skip(p, end, &opts, &fault)))
            p++;
        if (!p)
            printf("FAULT %s\n", fault.reason);
        total += objects->len;
    }
    report(names[level], total, t);
    (void)!tt_simd_use(before);
}

static void measure_pairs(const tt_buf *body)
{
    tt_pairs pairs = {0};
    tt_pair_faults faults = {0};
    tt_json_opts opts = {0};
    tt_json_fault fault;
    int64_t t = tt_mono_us();
    for (int round = 0; round < 20; round++)
        if (tt_pairs_parse(tt_buf_view(body), false, &opts, &pairs, &faults, &fault) != TT_PAIRS_OK)
            printf("FAULT\n");
    report("pairs_parse", body->len * 20, t);
    tt_vec_deinit(&pairs);
}

static void measure_reader(char *path)
{
    tt_err err = {0};
    tt_reader *r = NULL;
    tt_roots *roots = NULL;
    if (tt_roots_new(&(tt_str){"/", 1}, 1, &roots, &err) != TT_OK ||
        tt_reader_open(&(tt_reader_spec){.paths = &path, .path_count = 1, .roots = roots, .spool_dir = "/tmp"}, &r, &err) != TT_OK) {
        printf("FAULT %s\n", err.text);
        return;
    }
    for (int round = 0; round < 2; round++) {
        size_t total = 0, out = 0, bad = 0;
        tt_block b = {0};
        int64_t t = tt_mono_us();
        while (tt_reader_next_block(r, &b, &b, &err) == TT_OK && b.count)
            total += b.length_bytes;
        report("next_block", total, t);
        t = tt_mono_us();
        b = (tt_block){0};
        while (tt_reader_next_block(r, &b, &b, &err) == TT_OK && b.count) {
            tt_loaded *l;
            if (tt_reader_load(r, &b, &l, &err) != TT_OK)
                printf("FAULT %s\n", err.text);
            out += l->offsets[b.count];
            bad += l->bad_count;
            tt_loaded_unref(l);
        }
        report("next_block + load", total, t);
        printf("  %zu bytes in, %zu out, %zu bad\n", total, out, bad);
    }
    tt_reader_close(r);
    tt_roots_free(roots);
}

int main(int argc, char **argv)
{
    TT_BUF_AUTO tt_buf objects = {0}, body = {0};
    char path[256];
    for (unsigned i = 0; objects.len < 16u << 20; i++) {
        tt_buf_printf(&body, "%s[%u,", i ? "," : "[", i);
        put_object(&body, i);
        tt_buf_char(&body, ']');
        put_object(&objects, i);
        tt_buf_char(&objects, '\n');
    }
    tt_buf_char(&body, ']');
    for (tt_simd level = TT_SIMD_BYTE; level <= TT_SIMD_AVX2; level++)
        measure_skip(&objects, level);
    measure_pairs(&body);
    if (argc > 1) {
        measure_reader(argv[1]);
        return 0;
    }
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/tutti-speed-%d.jsonl", dir ? dir : "/tmp", (int)getpid());
    FILE *f = fopen(path, "w");
    for (int i = 0; f && i < 16; i++)
        fwrite(objects.ptr, 1, objects.len, f);
    if (f)
        fclose(f);
    measure_reader(path);
    unlink(path);
    return 0;
}
