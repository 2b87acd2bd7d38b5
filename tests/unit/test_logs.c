#include <criterion/criterion.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "work/logs.h"

static char dir[64];
static tt_logs *logs;

static void open_logs(void)
{
    tt_err err;
    snprintf(dir, sizeof dir, "/tmp/tutti-logs-XXXXXX");
    cr_assert(mkdtemp(dir));
    cr_assert_eq(tt_logs_open(dir, 1000, &logs, &err), TT_OK, "%s", err.text);
}

static void close_logs(void)
{
    tt_logs_sweep(logs, -60000); /* all that there is */
    tt_logs_close(logs);
    cr_assert_eq(rmdir(dir), 0);
}

TestSuite(logs, .init = open_logs, .fini = close_logs, .timeout = 60);

static const char *read_from(uint64_t id, uint64_t offset, size_t max)
{
    static tt_buf text;
    tt_buf_clear(&text);
    cr_assert_eq(tt_logs_read(logs, id, offset, max, &text, NULL), TT_OK);
    return tt_buf_cstr(&text);
}

Test(logs, pieces_are_read_from_any_offset)
{
    cr_assert_str_eq(read_from(7, 0, 100), "");
    cr_assert_eq(tt_logs_append(logs, 7, TT_STR("one\n"), NULL), TT_OK);
    cr_assert_eq(tt_logs_append(logs, 7, TT_STR("two\n"), NULL), TT_OK);
    cr_assert_eq(tt_logs_append(logs, 7 + 4096, TT_STR("of another\n"), NULL), TT_OK);
    cr_assert_str_eq(read_from(7, 0, 100), "one\ntwo\n");
    cr_assert_str_eq(read_from(7, 4, 2), "tw");
    cr_assert_str_eq(read_from(7, 8, 100), "");
    cr_assert_str_eq(read_from(7, UINT64_MAX, 100), "");
    cr_assert_eq(tt_logs_size(logs, 7), 8);
    tt_logs_delete(logs, 7);
    cr_assert_eq(tt_logs_size(logs, 7), 0);
    cr_assert_str_eq(read_from(7 + 4096, 0, 100), "of another\n");
}

Test(logs, a_log_is_bounded)
{
    for (int i = 0; i < 50; i++)
        cr_assert_eq(tt_logs_append(logs, 1, TT_STR("thirty bytes of a log's line.\n"), NULL), TT_OK, "what is too much is taken, and not kept");
    cr_assert_eq(tt_logs_size(logs, 1), 1000);
}

Test(logs, the_tail_begins_with_a_whole_line)
{
    TT_BUF_AUTO tt_buf tail = {0};
    tt_logs_tail(logs, 1, 10, &tail);
    cr_assert_eq(tail.len, 0);
    cr_assert_eq(tt_logs_append(logs, 1, TT_STR("first\nsecond\nthird\n"), NULL), TT_OK);
    tt_logs_tail(logs, 1, 100, &tail);
    cr_assert_str_eq(tt_buf_cstr(&tail), "first\nsecond\nthird\n");
    tt_buf_clear(&tail);
    tt_logs_tail(logs, 1, 10, &tail);
    cr_assert_str_eq(tt_buf_cstr(&tail), "third\n");
}

Test(logs, old_ones_are_swept_and_others_stay)
{
    char path[128];
    struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    cr_assert_eq(tt_logs_append(logs, 1, TT_STR("old"), NULL), TT_OK);
    cr_assert_eq(tt_logs_append(logs, 2, TT_STR("new"), NULL), TT_OK);
    snprintf(path, sizeof path, "%s/0/1.log", dir);
    cr_assert_eq(utimensat(AT_FDCWD, path, old, 0), 0);
    cr_assert_eq(tt_logs_sweep(logs, 3600 * 1000), 1);
    cr_assert(tt_logs_size(logs, 1) == 0 && tt_logs_size(logs, 2) == 3);
}

Test(logs, a_link_in_its_place_is_not_followed)
{
    char path[128];
    snprintf(path, sizeof path, "%s/0", dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/0/3.log", dir);
    cr_assert_eq(symlink("/etc/passwd", path), 0);
    tt_err err;
    cr_assert_neq(tt_logs_append(logs, 3, TT_STR("x"), &err), TT_OK);
    cr_assert_eq(tt_logs_size(logs, 3), 0);
    cr_assert_eq(unlink(path), 0);
}
