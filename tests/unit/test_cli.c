#include <criterion/criterion.h>

#include <unistd.h>

#include "cli/completion.h"
#include "cli/feed.h"
#include "cli/help.h"
#include "cli/item.h"
#include "cli/man.h"
#include "cli/parse.h"
#include "cli/progress.h"
#include "cli/sse.h"

static int nothing(tt_cli *cli) { return 0; }

static const tt_operand job_name[] = {{"NAME", "the job", "job"}, {NULL}};
static const tt_operand many[] = {{"NAME...", "some names"}, {NULL}};
static const tt_operand maybe[] = {{"[SHELL]", "a shell", "bash|zsh"}, {NULL}};
static const tt_flag list_flags[] = {{"--limit", "-n", "N", "10", .help = "so many"}, {"--ids", NULL, "IDS", NULL, true, "these"}, {"--wait", .help = "a switch here"}, {"--unseen"}, {NULL}};
static const tt_flag pull_flags[] = {{"--wait", NULL, "DUR", "30s", .help = "takes a value here"}, {NULL}};
static const char *const up_options[] = {"--listen", "--insecure", NULL};
static const char *const all_options[] = {"*", NULL};
static const tt_command table[] = {
    {NULL, "serve", "Take every setting.", .options = all_options, .fn = nothing},
    {NULL, "up", "Start.", .options = up_options, .fn = nothing},
    {NULL, "worker", "Run a worker.", .fn = nothing},
    {NULL, "completion", "Complete.", .operands = maybe, .fn = nothing},
    {"job", "list", "List jobs.", .flags = list_flags, .fn = nothing},
    {"job", "show", "Show a job.", .operands = job_name, .fn = nothing, .details = "One paragraph.\nAnother, which is so long that it has to be wrapped at the end of the line.", .example = "tutti job show x"},
    {"job", "pull", "Pull.", .flags = pull_flags, .operands = job_name, .fn = nothing},
    {"job", "drop", "Drop.", .operands = many, .fn = nothing},
    {"worker", "list", "List workers.", .fn = nothing},
    {0},
};

enum { MAX_ARGS = 16 };

/* Parses "tutti " and the words of line; words are separated by single blanks. */
static tt_rc parse(const char *line, tt_parsed *p, tt_err *err)
{
    static char text[512];
    static char *argv[MAX_ARGS];
    int argc = 1;
    snprintf(text, sizeof text, "%s", line);
    argv[0] = (char *)"tutti";
    char *rest = text;
    for (char *word; *text && (word = strsep(&rest, " "));)
        argv[argc++] = word;
    return tt_parse_args(table, argc, argv, p, err);
}

static void expect_error(const char *line, const char *part)
{
    tt_parsed p;
    tt_err err = {0};
    cr_expect_eq(parse(line, &p, &err), TT_USAGE, "`%s` was taken", line);
    cr_expect(strstr(err.text, part), "`%s` said: %s", line, err.text);
    tt_parsed_deinit(&p);
}

static void expect_command(const char *line, const char *noun, const char *verb)
{
    tt_parsed p;
    tt_err err = {0};
    cr_assert_eq(parse(line, &p, &err), TT_OK, "`%s`: %s", line, err.text);
    cr_assert(p.command, "`%s` found no command", line);
    cr_expect_str_eq(p.command->verb, verb, "`%s`", line);
    cr_expect(noun ? p.command->noun && strcmp(p.command->noun, noun) == 0 : !p.command->noun, "`%s`", line);
    tt_parsed_deinit(&p);
}

Test(parse, finds_commands_wherever_flags_stand)
{
    expect_command("up", NULL, "up");
    expect_command("job list", "job", "list");
    expect_command("--json job list", "job", "list");
    expect_command("--server http://x job list", "job", "list");
    expect_command("--limit 3 job list", "job", "list");
    expect_command("job --server=http://x -q show demo", "job", "show");
    expect_command("worker", NULL, "worker");
    expect_command("worker list", "worker", "list");
    expect_command("worker -q", NULL, "worker");
}

Test(parse, takes_values_in_every_form)
{
    static const char *const lines[] = {"job list --limit 5", "job list --limit=5", "job list -n 5", "job list -n5", "job list -n=5", "-n 5 job list", "job list --limit 9 -qn5"};
    for (size_t i = 0; i < TT_COUNT(lines); i++) {
        tt_parsed p;
        tt_err err = {0};
        cr_assert_eq(parse(lines[i], &p, &err), TT_OK, "%s: %s", lines[i], err.text);
        cr_expect(tt_str_is(tt_parsed_value(&p, "--limit"), "5"), "%s", lines[i]);
        tt_parsed_deinit(&p);
    }
}

Test(parse, a_flag_belongs_to_its_command)
{
    tt_parsed p;
    cr_assert_eq(parse("job list --wait", &p, NULL), TT_OK);
    cr_expect(tt_parsed_has(&p, "--wait"));
    tt_parsed_deinit(&p);
    cr_assert_eq(parse("job pull x --wait 5s", &p, NULL), TT_OK);
    cr_expect(tt_str_is(tt_parsed_value(&p, "--wait"), "5s"));
    cr_expect_eq(p.operands.len, 1u);
    tt_parsed_deinit(&p);
    expect_error("job show x --limit 3", "unknown flag `--limit`");
    expect_error("job list --wait=5", "takes no value");
}

Test(parse, rows_of_the_option_table_are_flags)
{
    tt_parsed p;
    cr_assert_eq(parse("up --listen :1 --listen=:2 --insecure", &p, NULL), TT_OK);
    cr_assert_eq(p.given.len, 3u);
    cr_expect(p.given.ptr[0].is_option);
    cr_expect_str_eq(p.given.ptr[1].value, ":2");
    cr_expect_null(p.given.ptr[2].value);
    tt_parsed_deinit(&p);
    cr_assert_eq(parse("serve --data d --workers 2 --access-log=false --log-level debug", &p, NULL), TT_OK);
    cr_expect(p.given.ptr[1].is_option && p.given.ptr[2].is_option && p.given.ptr[3].is_option);
    cr_expect_str_eq(p.given.ptr[2].value, "false");
    tt_parsed_deinit(&p);
}

Test(parse, two_dashes_end_flags)
{
    tt_parsed p;
    cr_assert_eq(parse("job show -- --json", &p, NULL), TT_OK);
    cr_expect_str_eq(p.operands.ptr[0], "--json");
    cr_expect_not(tt_parsed_has(&p, "--json"));
    tt_parsed_deinit(&p);
    cr_assert_eq(parse("job drop a -- -b c", &p, NULL), TT_OK);
    cr_expect_eq(p.operands.len, 3u);
    tt_parsed_deinit(&p);
    cr_assert_eq(parse("job show -", &p, NULL), TT_OK, "a single dash is a word");
    tt_parsed_deinit(&p);
}

Test(parse, help_and_version_win)
{
    static const char *const lines[] = {"", "-h", "--help", "job", "job --help", "help", "help job", "help job show", "job show --help", "job show -h --json", "worker --help"};
    for (size_t i = 0; i < TT_COUNT(lines); i++) {
        tt_parsed p;
        tt_err err = {0};
        cr_expect_eq(parse(lines[i], &p, &err), TT_OK, "%s: %s", lines[i], err.text);
        cr_expect(p.help, "%s", lines[i]);
        tt_parsed_deinit(&p);
    }
    tt_parsed p;
    cr_assert_eq(parse("-V", &p, NULL), TT_OK);
    cr_expect(p.version);
    tt_parsed_deinit(&p);
    cr_assert_eq(parse("job list -vv -v", &p, NULL), TT_OK);
    cr_expect_eq(p.verbosity, 3u);
    tt_parsed_deinit(&p);
}

Test(parse, says_what_was_meant)
{
    expect_error("jbo list", "did you mean `tutti job`");
    expect_error("job lst", "did you mean `tutti job list`");
    expect_error("job list --jsno", "did you mean `--json`");
    expect_error("job list --limt 3", "did you mean `--limit`");
    expect_error("job list --secre", "did you mean `--server`"); /* hidden flags are not offered */
    expect_error("up --lissten x", "did you mean `--listen`");
    expect_error("zzzzzz", "see `tutti --help`");
    expect_error("job list -x", "unknown flag `-x`");
    expect_error("job list -qx", "unknown flag `-x`");
    expect_error("--what", "unknown flag `--what`");
}

Test(parse, checks_operands_and_values)
{
    expect_error("job show", "NAME is missing");
    expect_error("job show a b", "one argument too many: `b`");
    expect_error("job drop", "NAME... is missing");
    expect_error("job list --limit", "needs a value");
    expect_error("job list -n", "needs a value");
    expect_error("completion bash zsh", "one argument too many");
}

Test(help, is_aligned_wrapped_and_short)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_help_style style = {60, "", ""};
    tt_help_command(&table[5], style, &out);
    tt_help_command(&table[4], style, &out);
    tt_help_all(table, style, &out);
    tt_help_noun(table, "job", style, &out);
    tt_str rest = tt_buf_view(&out);
    for (tt_str line; tt_str_cut(&rest, '\n', &line);) {
        cr_expect_leq(line.len, 60u + 30u * (tt_str_find(line, '/') >= 0), "`%.*s`", TT_STR_ARG(line));
        cr_expect_not(tt_str_ends(line, TT_STR(" ")), "`%.*s`", TT_STR_ARG(line));
    }
    const char *text = tt_buf_cstr(&out);
    cr_expect(strstr(text, "Usage: tutti job show NAME\n"));
    cr_expect(strstr(text, "-n, --limit N           so many (default: 10)\n"));
    cr_expect(strstr(text, "tutti job show x"));
    cr_expect_null(strstr(text, "--unseen"), "a flag without help is hidden");
}

Test(man, every_page_has_its_sections)
{
    static const char *const pages[] = {"tutti", "tutti-job", "tutti-worker", "tutti.ini"};
    for (size_t i = 0; i < TT_COUNT(pages); i++) {
        TT_BUF_AUTO tt_buf out = {0};
        cr_assert(tt_man_write(table, tt_str_of(pages[i]), &out));
        cr_expect(tt_str_starts(tt_buf_view(&out), TT_STR(".TH \"TUTTI")));
        cr_expect(strstr(tt_buf_cstr(&out), ".SH NAME\n"));
        cr_expect(strstr(tt_buf_cstr(&out), ".SH DESCRIPTION\n"));
    }
    TT_BUF_AUTO tt_buf out = {0};
    cr_expect_not(tt_man_write(table, TT_STR("tutti-nothing"), &out));
    cr_expect_eq(out.len, 0u);
}

Test(completion, carries_the_whole_table)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (size_t i = 0; i < TT_COUNT(shells); i++) {
        TT_BUF_AUTO tt_buf out = {0};
        cr_assert(tt_completion_write(table, tt_str_of(shells[i]), &out));
        for (const tt_command *c = table; !tt_command_is_end(c); c++)
            cr_expect(strstr(tt_buf_cstr(&out), c->verb), "%s lacks %s", shells[i], c->verb);
        cr_expect(strstr(tt_buf_cstr(&out), "limit"));
        cr_expect(strstr(tt_buf_cstr(&out), "listen"));
        cr_expect(strstr(tt_buf_cstr(&out), "completion --jobs"));
        cr_expect_null(strstr(tt_buf_cstr(&out), "unseen"));
    }
    TT_BUF_AUTO tt_buf out = {0};
    cr_expect_not(tt_completion_write(table, TT_STR("tcsh"), &out));
}

Test(item, reads_lines)
{
    static const struct { const char *line, *id, *value, *error, *lease; bool final; } good[] = {
        {"{\"id\":17,\"value\":{\"a\": [1, 2.50]}}", "17", "{\"a\": [1, 2.50]}", NULL, NULL, false},
        {" {\"value\" : null, \"id\" : 0 , \"lease\":\"x\\u0041\"}\r", "0", "null", NULL, "\"x\\u0041\"", false},
        {"{\"id\":3,\"error\":\"it \\\"fell\\\"\",\"final\":true}", "3", NULL, "\"it \\\"fell\\\"\"", NULL, true},
        {"{\"id\":4,\"lease\":null,\"value\":NaN,\"extra\":{}}", "4", "NaN", NULL, NULL, false},
    };
    for (size_t i = 0; i < TT_COUNT(good); i++) {
        tt_item_line item;
        const char *why;
        size_t offset;
        cr_assert(tt_item_parse(tt_str_of(good[i].line), &item, &why, &offset), "%s: %s", good[i].line, why);
        cr_expect(tt_str_is(item.id, good[i].id));
        cr_expect(good[i].value ? tt_str_is(item.value, good[i].value) : !item.value.ptr);
        cr_expect(good[i].error ? tt_str_is(item.error, good[i].error) : !item.error.ptr);
        cr_expect(good[i].lease ? tt_str_is(item.lease, good[i].lease) : !item.lease.ptr);
        cr_expect_eq(item.final, good[i].final);
    }
}

Test(item, refuses_bad_lines_with_a_reason)
{
    static const struct { const char *line, *why; } bad[] = {
        {"nonsense", ""}, {"[1,2]", "object"}, {"7", "object"}, {"{\"value\":1}", "`id` is missing"}, {"{\"id\":1}", "is missing"},
        {"{\"id\":\"1\",\"value\":1}", "whole number"}, {"{\"id\":-1,\"value\":1}", "whole number"}, {"{\"id\":1.5,\"value\":1}", "whole number"},
        {"{\"id\":99999999999999999999,\"value\":1}", "whole number"}, {"{\"id\":1,\"error\":7}", "text"}, {"{\"id\":1,\"value\":1,\"error\":\"x\"}", "exclude"},
        {"{\"id\":1,\"value\":1,\"lease\":7}", "`lease`"}, {"{\"id\":1,\"value\":{}", ""}, {"", ""},
    };
    for (size_t i = 0; i < TT_COUNT(bad); i++) {
        tt_item_line item;
        const char *why = NULL;
        size_t offset;
        cr_expect_not(tt_item_parse(tt_str_of(bad[i].line), &item, &why, &offset), "%s", bad[i].line);
        cr_expect(why && strstr(why, bad[i].why), "%s: %s", bad[i].line, why ? why : "no reason");
    }
}

Test(item, prints_batches_byte_for_byte)
{
    tt_item_batch batch;
    size_t count;
    TT_BUF_AUTO tt_buf out = {0};
    tt_err err = {0};
    tt_str answer = TT_STR("{\"schema\":1,\"lease\":\"L\\/1\",\"lease_ms\":1,\"status\":\"IN_PROGRESS\",\"items\":[[1,{\"x\" :1.0}],[2,\"\xC3\xA9\\n\"],[3,[1,\n 2]]]}");
    cr_assert_eq(tt_item_batch_parse(answer, &batch, &err), TT_OK, "%s", err.text);
    cr_expect_not(batch.complete);
    cr_assert_eq(tt_item_batch_print(&batch, false, &out, &count, &err), TT_OK);
    cr_expect_eq(count, 3u);
    cr_expect_str_eq(tt_buf_cstr(&out), "{\"id\":1,\"lease\":\"L\\/1\",\"value\":{\"x\" :1.0}}\n{\"id\":2,\"lease\":\"L\\/1\",\"value\":\"\xC3\xA9\\n\"}\n"
                                         "{\"id\":3,\"lease\":\"L\\/1\",\"value\":[1,  2]}\n");
    static const char *const bad[] = {"", "[]", "{}", "<html>", "{\"items\":7}", "{\"items\":[]"};
    for (size_t i = 0; i < TT_COUNT(bad); i++)
        cr_expect_eq(tt_item_batch_parse(tt_str_of(bad[i]), &batch, &err), TT_UNAVAILABLE, "%s", bad[i]);
    cr_assert_eq(tt_item_batch_parse(TT_STR("{\"items\":[[1]]}"), &batch, &err), TT_OK);
    cr_expect_eq(tt_item_batch_print(&batch, true, &out, &count, &err), TT_UNAVAILABLE);
}

/* Everything that the feed says about text, written into the pipe in pieces of step bytes: "a|<long>|b|END". */
static void feed_all(const char *text, size_t step, size_t max_bytes, tt_buf *out)
{
    int pipe_fds[2];
    cr_assert_eq(pipe(pipe_fds), 0);
    tt_feed feed = {.fd = pipe_fds[0], .max_bytes = max_bytes};
    size_t len = strlen(text), at = 0;
    for (;;) {
        tt_str line;
        tt_feed_event event = tt_feed_next(&feed, 0, &line, NULL);
        if (event == TT_FEED_LATER) {
            size_t n = len - at < step ? len - at : step;
            cr_assert_eq(write(pipe_fds[1], text + at, n), (ssize_t)n);
            at += n;
            if (at == len && pipe_fds[1] >= 0) {
                close(pipe_fds[1]);
                pipe_fds[1] = -1;
            }
            continue;
        }
        if (event == TT_FEED_END)
            break;
        if (event == TT_FEED_TOO_LONG)
            tt_buf_cstr_put(out, "<long>");
        else
            tt_buf_str(out, line);
        tt_buf_printf(out, "@%d|", (int)feed.line);
    }
    close(pipe_fds[0]);
    tt_feed_deinit(&feed);
}

Test(feed, cuts_lines_however_they_come)
{
    for (size_t step = 1; step < 30; step++) {
        TT_BUF_AUTO tt_buf out = {0};
        feed_all("one\n\n12345678901234567890\ntwo\r\nlast", step, 10, &out);
        cr_expect_str_eq(tt_buf_cstr(&out), "one@1|@2|<long>@3|two\r@4|last@5|", "step %zu: %s", step, tt_buf_cstr(&out));
    }
    TT_BUF_AUTO tt_buf out = {0};
    feed_all("x\n1234567890123456789", 3, 10, &out);
    cr_expect_str_eq(tt_buf_cstr(&out), "x@1|<long>@2|");
}

static bool note_event(void *arg, tt_str name, tt_str data)
{
    tt_buf_printf(arg, "%.*s=%.*s|", TT_STR_ARG(name), TT_STR_ARG(data));
    return !tt_str_is(data, "stop");
}

Test(sse, joins_events_from_any_pieces)
{
    static const char text[] = ": hello\r\nevent: job\r\ndata: {\"a\":1}\r\n\r\ndata:x\ndata: y\nid: 7\n\nevent: empty\n\ndata: last\r\rdata: unfinished\n";
    for (size_t step = 1; step < sizeof text; step++) {
        TT_BUF_AUTO tt_buf out = {0};
        tt_sse sse;
        tt_sse_init(&sse, note_event, &out);
        for (size_t at = 0; at < sizeof text - 1; at += step)
            cr_assert(tt_sse_feed(&sse, tt_str_slice(tt_str_of(text), at, at + step)));
        cr_expect_str_eq(tt_buf_cstr(&out), "job={\"a\":1}|message=x\ny|message=last|", "step %zu: %s", step, tt_buf_cstr(&out));
        tt_sse_deinit(&sse);
    }
    TT_BUF_AUTO tt_buf out = {0};
    tt_sse sse;
    tt_sse_init(&sse, note_event, &out);
    cr_expect_not(tt_sse_feed(&sse, TT_STR("data: stop\n\ndata: more\n\n")));
    cr_expect_str_eq(tt_buf_cstr(&out), "message=stop|");
    tt_sse_deinit(&sse);
}

Test(progress, says_it_in_one_line)
{
    char grouped[32];
    cr_expect_str_eq(tt_grouped(1234567, grouped), "1,234,567");
    cr_expect_str_eq(tt_grouped(-1000, grouped), "-1,000");
    cr_expect_str_eq(tt_grouped(0, grouped), "0");
    json_t *job = json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:f,s:i,s:[{}]}", "name", "demo", "status", "IN_PROGRESS", "total", 1000, "received", 448,
                            "errors", 1, "dead", 1, "rate", 1200.4, "eta_s", 4, "workers");
    TT_BUF_AUTO tt_buf out = {0};
    tt_job_line(job, &out);
    cr_expect_str_eq(tt_buf_cstr(&out), "demo: 450/1,000 (45 %)  1,200/s  ETA 4.0s  2 errors  1 worker");
    json_decref(job);
}
