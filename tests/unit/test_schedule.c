/* Schedules under a clock that the test holds: it stands, runs, jumps forward and back. */
#include <criterion/criterion.h>

#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "work/schedule.h"

static int64_t clock_s;
static int64_t read_clock(void) { return clock_s; }

static char dir[64];
static tt_ledger *ledger;
static tt_vault *vault;
static tt_schedules *schedules;

static void setup(void)
{
    char path[96];
    tt_log_setup(TT_LOG_ERROR, TT_LOG_LOGFMT);
    snprintf(dir, sizeof dir, "/tmp/tt-schedule-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/ledger.db", dir);
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = path}, &ledger, NULL), TT_OK);
    cr_assert_eq(tt_vault_new(tt_str_of(dir), (tt_str){0}, &vault, NULL), TT_OK);
    clock_s = 1767225600; /* 2026-01-01T00:00:00Z */
    schedules = tt_schedules_new(&(tt_schedules_env){.ledger = ledger, .vault = vault, .now_s = read_clock});
}

static void teardown(void)
{
    static const char *const files[] = {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db-lock", "vault.key"};
    tt_schedules_free(schedules);
    tt_vault_free(vault);
    tt_ledger_close(ledger);
    for (size_t i = 0; i < TT_COUNT(files); i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    cr_assert_eq(rmdir(dir), 0, "something is left in %s", dir);
}
TestSuite(schedule, .init = setup, .fini = teardown);

static void add(const char *when, const char *missed)
{
    tt_err err = {0};
    bool is_new;
    json_t *body = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "name", "x", "when", when, "zone", "UTC", "kind", "probe", "overlap", "allow", "missed", missed);
    cr_assert_eq(tt_schedules_put(schedules, body, false, &is_new, &err), TT_OK, "%s", err.text);
    json_decref(body);
}

static uint64_t queued(void)
{
    tt_queue_counts counts;
    cr_assert_eq(tt_queue_count(ledger, (tt_str){0}, &counts, NULL), TT_OK);
    return counts.by_state[TT_TASK_QUEUED];
}

/* Passes until nothing is due; how many tasks that made. */
static uint64_t settle(void)
{
    uint64_t before = queued();
    for (int i = 0; i < 1000 && tt_schedules_pass(schedules) <= clock_s; i++)
        ;
    return queued() - before;
}

static json_t *last(void)
{
    json_t *o = NULL;
    cr_assert_eq(tt_schedules_show(schedules, TT_STR("x"), &o, NULL), TT_OK);
    json_t *l = json_incref(json_object_get(o, "last"));
    json_decref(o);
    return l;
}

static void expect_last(const char *due)
{
    json_t *l = last();
    cr_expect_str_eq(json_string_value(json_object_get(l, "due")), due);
    json_decref(l);
}

Test(schedule, nothing_is_due_before_its_time)
{
    add("hourly", "latest");
    cr_expect_eq(settle(), 0);
    clock_s += 3599;
    cr_expect_eq(settle(), 0);
    clock_s += 1;
    cr_expect_eq(settle(), 1);
    cr_expect_eq(settle(), 0);
    expect_last("2026-01-01T01:00:00.000Z");
}

Test(schedule, a_clock_that_jumps_forward)
{
    add("hourly", "latest");
    clock_s += 10 * 86400 + 1800;
    cr_expect_eq(settle(), 1);
    expect_last("2026-01-11T00:00:00.000Z");
}

Test(schedule, all_missed_ones_fire)
{
    add("hourly", "all");
    clock_s += 2 * 86400;
    cr_expect_eq(settle(), 48);
    expect_last("2026-01-03T00:00:00.000Z");
}

Test(schedule, missed_ones_are_skipped)
{
    add("hourly", "skip");
    clock_s += 5 * 3600 + 1800;
    cr_expect_eq(settle(), 0);
    clock_s += 1800 + 10; /* ten seconds late is not missed */
    cr_expect_eq(settle(), 1);
    expect_last("2026-01-01T06:00:00.000Z");
}

Test(schedule, a_clock_that_goes_back_fires_nothing_twice)
{
    add("hourly", "latest");
    clock_s += 3 * 3600;
    cr_expect_eq(settle(), 1);
    clock_s -= 2 * 3600;
    cr_expect_eq(settle(), 0);
    clock_s += 2 * 3600 + 1;
    cr_expect_eq(settle(), 0);
    clock_s += 3600;
    cr_expect_eq(settle(), 1);
}

Test(schedule, a_clock_that_was_far_ahead)
{
    add("hourly", "latest");
    clock_s += 400 * 86400;
    cr_expect_eq(settle(), 1);
    clock_s -= 400 * 86400; /* it is put right */
    cr_expect_eq(settle(), 0);
    clock_s += 3600;
    cr_expect_eq(settle(), 1);
    expect_last("2026-01-01T01:00:00.000Z");
}

Test(schedule, one_that_ends)
{
    add("DTSTART:20260101T000000\nRRULE:FREQ=HOURLY;COUNT=3", "all");
    clock_s += 86400;
    cr_expect_eq(settle(), 2); /* the first was the moment in which it was made */
    clock_s += 86400;
    cr_expect_eq(settle(), 0);
}

Test(schedule, paused_times_are_not_missed)
{
    add("hourly", "all");
    cr_assert_eq(tt_schedules_enable(schedules, TT_STR("x"), false, NULL), TT_OK);
    clock_s += 86400;
    cr_expect_eq(settle(), 0);
    cr_assert_eq(tt_schedules_enable(schedules, TT_STR("x"), true, NULL), TT_OK);
    cr_expect_eq(settle(), 0);
    clock_s += 3600;
    cr_expect_eq(settle(), 1);
}

/* A disk that fails, at each of the first writes and syncs: the time fires once when it works again. */
Test(schedule, a_failing_disk_fires_once_later)
{
    static const char *const calls[] = {"db_write", "db_sync"};
    add("hourly", "latest");
    for (size_t i = 0; i < TT_COUNT(calls); i++)
        for (unsigned nth = 1; nth <= 3; nth++) {
            char fault[48];
            uint64_t before = queued();
            snprintf(fault, sizeof fault, "%s:%u:EIO", calls[i], nth);
            clock_s += 3600;
            cr_assert_eq(tt_sys_fault_arm(fault, NULL), TT_OK);
            tt_schedules_pass(schedules);
            cr_assert_eq(tt_sys_fault_arm("", NULL), TT_OK);
            settle();
            cr_expect_eq(queued() - before, 1, "%s", fault);
        }
}
