#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/child.h"
#include "base/clock.h"

static const tt_child_spec plain = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};

/* `sh -c script` with its standard output in a pipe. */
static pid_t start(tt_child_spec spec, const char *script, int *ret_out)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    int fds[2];
    tt_err err;
    pid_t pid = 0;
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    spec.argv = argv;
    spec.stdout_fd = fds[1];
    cr_assert_eq(tt_child_spawn(&spec, &pid, &err), TT_OK, "%s", err.text);
    close(fds[1]);
    *ret_out = fds[0];
    return pid;
}

/* One line, without its end; "" when the writers are gone. */
static const char *read_line(int fd, char out[256])
{
    size_t n = 0;
    while (n < 255 && read(fd, out + n, 1) == 1 && out[n] != '\n')
        n++;
    out[n] = '\0';
    return out;
}

static int reap(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        cr_assert_eq(errno, EINTR);
    return status;
}

/* The pipe closes when its last writer is gone, whoever that is: no polling of /proc, no guessed sleeps. */
static void everybody_is_gone(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char byte;
    int64_t deadline = tt_mono_ms() + 10000;
    while (poll(&p, 1, (int)(deadline - tt_mono_ms())) == 1)
        if (read(fd, &byte, 1) == 0)
            return;
    cr_assert_fail("somebody still holds the pipe");
}

static void prints(tt_child_spec spec, const char *script, const char *want)
{
    char line[256];
    int out;
    pid_t pid = start(spec, script, &out);
    cr_expect_str_eq(read_line(out, line), want);
    cr_expect_eq(reap(pid), 0);
    close(out);
}

Test(child, environment_directory_group_and_limits)
{
    const char *const env[] = {"HOME=/h", "TUTTI_X=a=b", NULL};
    tt_child_spec spec = plain;
    spec.env_add = env;
    prints(spec, "echo $HOME $TUTTI_X", "/h a=b");
    spec = plain;
    spec.cwd = "/usr/share";
    prints(spec, "pwd", "/usr/share");
    spec = plain;
    spec.max_memory_bytes = 256 << 20;
    spec.max_cpu_s = 7;
    spec.max_files = 33;
    prints(spec, "echo $(ulimit -v) $(ulimit -t) $(ulimit -n)", "262144 7 33");
    spec = plain;
    spec.own_group = true;
    prints(spec, "awk '{print ($1 == $5) ? \"leads\" : \"follows\"}' /proc/$$/stat", "leads");
}

Test(child, only_chosen_descriptors_in_their_order)
{
    int a[2], b[2];
    cr_assert_eq(pipe(a) | pipe(b), 0); /* inheritable on purpose */
    cr_assert(dup2(a[1], 200) == 200);
    const int keep[] = {b[1], a[1], 4};
    tt_child_spec spec = plain;
    spec.keep_fds = keep;
    spec.keep_count = 2;
    char line[256];
    int out;
    pid_t pid = start(spec, "echo to-b >&3; echo to-a >&4; ls /proc/self/fd | tr '\\n' ' '", &out);
    cr_expect_str_eq(read_line(b[0], line), "to-b");
    cr_expect_str_eq(read_line(a[0], line), "to-a");
    cr_expect_str_eq(read_line(out, line), "0 1 2 3 4 5 "); /* 5 is ls' own */
    cr_expect_eq(reap(pid), 0);
}

Test(child, what_cannot_start_says_why)
{
    tt_err err;
    pid_t pid = -7;
    tt_child_spec spec = plain;
    const char *const missing[] = {"/nowhere/program", NULL};
    spec.argv = missing;
    cr_assert_eq(tt_child_spawn(&spec, &pid, &err), TT_NOT_FOUND);
    cr_assert(strstr(err.text, "/nowhere/program") && strstr(err.text, "cannot execute"), "%s", err.text);
    const char *const sh[] = {"/bin/sh", NULL};
    spec.argv = sh;
    spec.cwd = "/nowhere";
    cr_assert_eq(tt_child_spawn(&spec, &pid, &err), TT_NOT_FOUND);
    cr_assert(strstr(err.text, "directory"), "%s", err.text);
    cr_assert_eq(pid, -7);
    cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left behind */
}

Test(child, signals_start_out_plain)
{
    signal(SIGTERM, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int out;
    char text[64];
    pid_t pid = start(plain, "kill -TERM $$; sleep 5", &out);
    cr_assert_str_eq(tt_child_status_text(reap(pid), text), "signal 15 (Terminated)");
    cr_assert_str_eq(tt_child_status_text(3 << 8, text), "exit 3");
}

/* A shell, its background child, a grandchild in its own session, and that one's child: each tells its pid. */
#define TREE "sleep 100 & setsid sh -c 'sleep 100 & echo in; wait' & echo out; wait"

Test(child, a_tree_is_killed_with_what_left_the_group)
{
    char line[256];
    int out;
    tt_child_spec spec = plain;
    spec.own_group = true;
    pid_t pid = start(spec, TREE, &out);
    read_line(out, line);
    read_line(out, line);
    cr_expect_geq(tt_child_kill_tree(pid, SIGKILL), 4);
    everybody_is_gone(out);
    cr_assert_eq(WTERMSIG(reap(pid)), SIGKILL);
}

Test(child, a_tree_gets_a_milder_signal_too)
{
    char line[256];
    int out;
    pid_t pid = start(plain, TREE, &out);
    read_line(out, line);
    read_line(out, line);
    cr_expect_geq(tt_child_kill_tree(pid, SIGTERM), 4);
    everybody_is_gone(out);
    cr_assert_eq(WTERMSIG(reap(pid)), SIGTERM);
}

Test(child, orphans_are_adopted_and_found)
{
    char line[256];
    int out;
    tt_child_adopt_orphans();
    pid_t pid = start(plain, "setsid sh -c 'echo up; sleep 100' & exit 0", &out);
    cr_assert_eq(reap(pid), 0);
    cr_assert_str_eq(read_line(out, line), "up");
    cr_expect_geq(tt_child_kill_tree(getpid(), SIGKILL), 1);
    everybody_is_gone(out);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    cr_assert_eq(errno, ECHILD);
}

Test(child, what_carries_a_mark_is_found_wherever_it_went)
{
    const char *const env[] = {"TUTTI_TREE=test-child/a", NULL}, *const other[] = {"TUTTI_TREE=test-child/b", NULL};
    tt_child_spec spec = plain;
    char line[256];
    int out, out_b;
    spec.env_add = env;
    pid_t pid = start(spec, "setsid sh -c 'echo up; sleep 100' & exit 0", &out);
    cr_assert_eq(reap(pid), 0);
    cr_assert_str_eq(read_line(out, line), "up");
    spec.env_add = other;
    pid = start(spec, "echo up; sleep 100", &out_b);
    cr_assert_str_eq(read_line(out_b, line), "up");
    cr_expect_eq(tt_child_kill_marked("TUTTI_TREE=test-child", SIGKILL), 0);
    cr_expect_geq(tt_child_kill_marked("TUTTI_TREE=test-child/a", SIGKILL), 1); /* the shell may be stopped before it has forked */
    everybody_is_gone(out);
    cr_expect_geq(tt_child_kill_marked("TUTTI_TREE=test-child/", SIGKILL), 1);
    everybody_is_gone(out_b);
    reap(pid);
}

/* A process that forks as fast as it can must not outrun the walk. */
Test(child, a_forking_tree_is_stopped_first, .timeout = 60)
{
    char line[256];
    int out;
    tt_child_spec spec = plain;
    spec.own_group = true;
    pid_t pid = start(spec, "echo go; while :; do sleep 100 & sleep 0.01; done", &out);
    read_line(out, line);
    usleep(100000);
    cr_expect_geq(tt_child_kill_tree(pid, SIGKILL), 2);
    everybody_is_gone(out);
    reap(pid);
}

static void die_after_spawning(int out, int death_signal)
{
    const char *const argv[] = {"/bin/sh", "-c", "trap 'echo asked; exit' TERM; echo up; while :; do sleep 0.01; done", NULL};
    tt_child_spec spec = plain;
    pid_t pid;
    spec.argv = argv;
    spec.stdout_fd = out;
    spec.death_signal = death_signal;
    tt_rc rc = tt_child_spawn(&spec, &pid, NULL);
    pause();
    _exit(rc);
}

static void dies_with_parent(int death_signal, const char *last_word)
{
    int fds[2];
    char line[256];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0)
        die_after_spawning(fds[1], death_signal);
    close(fds[1]);
    cr_assert_str_eq(read_line(fds[0], line), "up");
    kill(parent, SIGKILL);
    reap(parent);
    if (*last_word)
        cr_assert_str_eq(read_line(fds[0], line), last_word);
    everybody_is_gone(fds[0]);
    close(fds[0]);
}

Test(child, dies_with_its_parent)
{
    dies_with_parent(0, "");
    dies_with_parent(SIGTERM, "asked");
}
