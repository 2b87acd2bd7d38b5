#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/sys.h"
#include "base/timer.h"
#include "base/vec.h"

Test(err, carries_code_sentence_and_place)
{
    tt_err err = {0};
    cr_assert_eq(tt_fail(&err, TT_NOT_FOUND, "no job `%s`", "x"), TT_NOT_FOUND);
    cr_assert_str_eq(err.text, "no job `x`");
    cr_assert_eq(tt_rc_http(err.code), 404);
    cr_assert_eq(tt_rc_exit(err.code), 4);
    cr_assert_str_eq(tt_rc_name(TT_NOT_FOUND), "not_found");
    cr_assert_eq(tt_fail_errno(&err, ENOSPC, "cannot write"), TT_NOSPACE);
    cr_assert_str_eq(err.text, "cannot write: No space left on device");
}

Test(str, parses_durations_and_sizes)
{
    static const struct { const char *text; int64_t ms; } good[] = {
        {"90s", 90000}, {"2h30m", 9000000}, {"500ms", 500}, {"1.5s", 1500}, {"7", 7000}, {"1d", 86400000},
    };
    for (size_t i = 0; i < TT_COUNT(good); i++) {
        int64_t ms = -1;
        cr_assert_eq(tt_parse_duration_ms(tt_str_of(good[i].text), &ms, NULL), TT_OK, "%s", good[i].text);
        cr_assert_eq(ms, good[i].ms, "%s gave %ld", good[i].text, (long)ms);
    }
    static const char *const bad[] = {"", "s", "5x", "-1s", "1 s", "1e9d", ".."};
    for (size_t i = 0; i < TT_COUNT(bad); i++) {
        int64_t ms;
        cr_assert_neq(tt_parse_duration_ms(tt_str_of(bad[i]), &ms, NULL), TT_OK, "%s", bad[i]);
    }
    uint64_t size;
    cr_assert_eq(tt_parse_size(TT_STR("64MiB"), &size, NULL), TT_OK);
    cr_assert_eq(size, 64u << 20);
    cr_assert_eq(tt_parse_size(TT_STR("10MB"), &size, NULL), TT_OK);
    cr_assert_eq(size, 10000000u);
    cr_assert_neq(tt_parse_size(TT_STR("10 parsecs"), &size, NULL), TT_OK);
}

Test(str, integers_have_bounds)
{
    int64_t v;
    cr_assert_eq(tt_parse_i64(TT_STR("-9223372036854775808"), &v, NULL), TT_OK);
    cr_assert_eq(v, INT64_MIN);
    cr_assert_neq(tt_parse_i64(TT_STR("9223372036854775808"), &v, NULL), TT_OK);
    cr_assert_neq(tt_parse_i64(TT_STR("12a"), &v, NULL), TT_OK);
    cr_assert_neq(tt_parse_i64(TT_STR(""), &v, NULL), TT_OK);
}

Test(str, utf8_is_cut_between_characters)
{
    static const struct { const char *text; size_t most, kept; } rows[] = {
        {"abc", 5, 3}, {"abc", 2, 2}, {"", 3, 0}, {"a\xC3\xA9z", 1, 1}, {"a\xC3\xA9z", 2, 1}, {"a\xC3\xA9z", 3, 3}, {"\xF0\x9F\x98\x80", 3, 0}, {"\xF0\x9F\x98\x80", 4, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(tt_utf8_slice(tt_str_of(rows[i].text), rows[i].most).len, rows[i].kept, "row %zu", i);
}

Test(str, utf8_is_checked)
{
    cr_assert(tt_utf8_valid("plain ascii, long enough for words", 34));
    cr_assert(tt_utf8_valid("\xE2\x82\xAC", 3));
    cr_assert_not(tt_utf8_valid("\xED\xA0\x80", 3), "a surrogate");
    cr_assert_not(tt_utf8_valid("\xC0\xAF", 2), "an overlong form");
    cr_assert_not(tt_utf8_valid("\xF4\x90\x80\x80", 4), "beyond U+10FFFF");
    cr_assert_not(tt_utf8_valid("abc\xE2\x82", 5), "cut off");
}

Test(buf, grows_and_reports_its_limit_once)
{
    TT_BUF_AUTO tt_buf b = {.limit_bytes = 100};
    for (int i = 0; i < 10; i++)
        tt_buf_cstr_put(&b, "0123456789");
    cr_assert_eq(tt_buf_check(&b, NULL), TT_OK);
    cr_assert_eq(b.len, 100);
    tt_buf_char(&b, 'x');
    cr_assert_eq(tt_buf_check(&b, NULL), TT_TOO_LARGE);
    cr_assert_eq(b.len, 100);
}

Test(buf, json_strings_are_always_valid)
{
    TT_BUF_AUTO tt_buf b = {0};
    tt_buf_json_str(&b, (tt_str){"a\"\\\n\x01\xFF\xE2\x82\xAC", 9});
    cr_assert_str_eq(tt_buf_cstr(&b), "\"a\\\"\\\\\\n\\u0001\xEF\xBF\xBD\xE2\x82\xAC\"");
}

Test(map, keeps_what_was_put_and_forgets_what_was_removed)
{
    tt_map m = {0};
    char key[16];
    static int values[5000];
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "key%d", i);
        cr_assert(tt_map_put(&m, tt_str_of(key), &values[i], NULL));
    }
    for (int i = 0; i < 5000; i += 2) {
        snprintf(key, sizeof key, "key%d", i);
        cr_assert_eq(tt_map_remove(&m, tt_str_of(key)), &values[i]);
    }
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "key%d", i);
        cr_assert_eq(tt_map_get(&m, tt_str_of(key)), i % 2 ? &values[i] : NULL);
    }
    cr_assert_eq(m.len, 2500);
    tt_map_deinit(&m);
}

Test(arena, is_aligned_and_bounded)
{
    tt_arena a = {.limit_bytes = 10000};
    for (int i = 1; i < 50; i++) {
        char *p = tt_arena_alloc(&a, (size_t)i);
        cr_assert(p && (uintptr_t)p % 16 == 0);
        memset(p, 'x', (size_t)i);
    }
    cr_assert_null(tt_arena_alloc(&a, 10000));
    cr_assert_null(tt_arena_alloc(&a, SIZE_MAX));
    tt_arena_deinit(&a);
}

Test(sys, the_nth_call_fails_and_no_other)
{
    cr_assert_eq(tt_sys_fault_arm("fsync:2:EIO", NULL), TT_OK);
    int fd = open("/tmp", O_RDONLY);
    cr_assert_eq(tt_sys.fsync(fd), 0);
    cr_assert_eq(tt_sys.fsync(fd), -1);
    cr_assert_eq(errno, EIO);
    cr_assert_eq(tt_sys.fsync(fd), 0);
    cr_assert_eq(tt_sys_fault_hits(), 1);
    close(fd);
    static const char *const bad[] = {"fsync", "fsync:1", "nosuch:1:EIO", "fsync:x:EIO", "fsync:1:EWHAT", "fsync:1:EIO:x"};
    for (size_t i = 0; i < TT_COUNT(bad); i++)
        cr_assert_eq(tt_sys_fault_arm(bad[i], NULL), TT_INVALID, "%s", bad[i]);
    cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
}

Test(sys, out_of_memory_is_reported_by_everything_that_grows)
{
    TT_BUF_AUTO tt_buf b = {0};
    tt_map m = {0};
    TT_VEC(int) v = {0};
    cr_assert_eq(tt_sys_fault_arm("malloc:1+:ENOMEM,realloc:1+:ENOMEM", NULL), TT_OK);
    tt_buf_cstr_put(&b, "x");
    bool put = tt_map_put(&m, TT_STR("k"), &m, NULL), pushed = tt_vec_push(&v, 1);
    cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
    cr_assert_eq(tt_buf_check(&b, NULL), TT_NOMEM);
    cr_assert_not(put);
    cr_assert_not(pushed);
}

static void add_one(void *arg) { __atomic_add_fetch((int *)arg, 1, __ATOMIC_SEQ_CST); }

Test(pool, runs_everything_before_it_goes)
{
    tt_pool *pool;
    int count = 0;
    cr_assert_eq(tt_pool_new(3, "test", &pool, NULL), TT_OK);
    for (int i = 0; i < 1000; i++)
        tt_pool_run(pool, add_one, &count);
    tt_pool_free(pool);
    cr_assert_eq(count, 1000);
}

static int fired[3], fired_count;
static void note(void *arg) { fired[__atomic_fetch_add(&fired_count, 1, __ATOMIC_SEQ_CST)] = (int)(intptr_t)arg; }

Test(timer, fires_in_order_of_deadline_and_not_when_canceled)
{
    tt_timers *ts;
    cr_assert_eq(tt_timers_new(&ts, NULL), TT_OK);
    int64_t now = tt_mono_ms();
    tt_timer a = {.fn = note, .arg = (void *)1}, b = {.fn = note, .arg = (void *)2}, c = {.fn = note, .arg = (void *)3};
    tt_timer_set(ts, &a, now + 40);
    tt_timer_set(ts, &b, now + 10);
    tt_timer_set(ts, &c, now + 20);
    cr_assert(tt_timer_cancel(ts, &c));
    while (__atomic_load_n(&fired_count, __ATOMIC_SEQ_CST) < 2)
        usleep(1000);
    cr_assert_eq(fired[0], 2);
    cr_assert_eq(fired[1], 1);
    cr_assert_not(tt_timer_cancel(ts, &a));
    tt_timers_free(ts);
}

Test(log, masks_secrets_and_quotes_what_needs_it)
{
    int pipe_fds[2];
    cr_assert_eq(pipe(pipe_fds), 0);
    int saved = dup(2);
    dup2(pipe_fds[1], 2);
    tt_log_mask(TT_STR("hunter22"));
    tt_log_info("a b", TT_F_CSTR("url", "x?token=hunter22&y=1"), TT_F_INT("n", -5));
    dup2(saved, 2);
    char line[512] = {0};
    cr_assert_gt(read(pipe_fds[0], line, sizeof line - 1), 0);
    cr_assert(strstr(line, "msg=\"a b\""), "%s", line);
    cr_assert(strstr(line, "token=***&y=1"), "%s", line);
    cr_assert(strstr(line, "n=-5"), "%s", line);
    cr_assert_not(strstr(line, "hunter22"), "%s", line);
}
