/* data/ as a filter for test_data_peers.py: every line of output is JSON.
 *   data_tool read FILE [OPTIONS [MAX_ITEM_BYTES]]   `[id,value]` per item, `{"bad":id,...}` per bad record
 *   data_tool write PATH [HEADER [OPTIONS]]          JSON lines on standard input -> the output's bytes; refused ones to standard error
 *   data_tool json [strict]                          per line of standard input: 1 when it is one JSON value, else 0 */
#include <stdio.h>

#include "data/json.h"
#include "data/reader.h"
#include "data/writer.h"

static int fail(const tt_err *err)
{
    fprintf(stderr, "%s\n", err->text);
    return 1;
}

static void print_block(const tt_loaded *l)
{
    for (uint32_t i = 0; i < l->block.count; i++)
        if (l->offsets[i + 1] > l->offsets[i])
            printf("%.*s\n", (int)(l->offsets[i + 1] - l->offsets[i] - 1), l->bytes + l->offsets[i]);
    for (uint32_t i = 0; i < l->bad_count; i++)
        if (!l->bads[i].silent)
            printf("{\"bad\":%llu,\"line\":%llu}\n", (unsigned long long)(l->block.first_id + l->bads[i].index), (unsigned long long)l->bads[i].line);
}

static int read_file(int argc, char **argv)
{
    tt_err err = {0};
    tt_reader *r = NULL;
    tt_roots *roots = NULL;
    tt_block b = {0}, first = {0};
    tt_reader_spec spec = {.paths = &argv[2], .path_count = 1, .spool_dir = "/tmp", .options = tt_str_of(argc > 3 ? argv[3] : NULL)};
    if (argc > 4 && tt_parse_u64(tt_str_of(argv[4]), &spec.max_item_bytes, &err) != TT_OK)
        return fail(&err);
    if (tt_roots_new(&(tt_str){"/", 1}, 1, &roots, &err) != TT_OK)
        return fail(&err);
    spec.roots = roots;
    if (tt_reader_open(&spec, &r, &err) != TT_OK)
        return fail(&err);
    while (tt_reader_plans_first(r))
        if (tt_reader_next_block(r, &b, &b, &err) != TT_OK)
            return fail(&err);
    for (b = first;;) {
        tt_loaded *l;
        if (tt_reader_next_block(r, &b, &b, &err) != TT_OK)
            return fail(&err);
        if (b.count == 0)
            break;
        if (tt_reader_load(r, &b, &l, &err) != TT_OK)
            return fail(&err);
        print_block(l);
        tt_loaded_unref(l);
    }
    tt_reader_close(r);
    tt_roots_free(roots);
    return 0;
}

static int write_lines(int argc, char **argv)
{
    tt_err err = {0};
    tt_writer *w = NULL;
    TT_BUF_AUTO tt_buf out = {0};
    char *line = NULL;
    size_t cap = 0;
    tt_writer_spec spec = {.output_path = tt_str_of(argv[2]), .header = tt_str_of(argc > 3 ? argv[3] : NULL), .options = tt_str_of(argc > 4 ? argv[4] : NULL)};
    if (tt_writer_open(&spec, &w, &err) != TT_OK)
        return fail(&err);
    for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;)
        if (tt_writer_put(w, (tt_str){line, (size_t)n - 1}, &out, &err) != TT_OK)
            fail(&err);
    fwrite(out.ptr, 1, out.len, stdout);
    tt_writer_close(w);
    free(line);
    return 0;
}

static int check_lines(bool strict)
{
    char *line = NULL;
    size_t cap = 0;
    for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;) {
        tt_json_opts opts = {.strict = strict};
        tt_json_fault fault;
        printf("%d\n", tt_json_valid((tt_str){line, (size_t)n - 1}, false, &opts, NULL, &fault));
    }
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "read") == 0)
        return read_file(argc, argv);
    if (argc > 2 && strcmp(argv[1], "write") == 0)
        return write_lines(argc, argv);
    if (argc > 1 && strcmp(argv[1], "json") == 0)
        return check_lines(argc > 2);
    fprintf(stderr, "usage: data_tool read|write|json ...\n");
    return 2;
}
