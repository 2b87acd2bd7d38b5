#include "base/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"

enum { PIPE_FD = 3, ROUNDS = 100, ROUND_MS = 20 };

/* Holds nothing open but the pipe, so that nobody who waits for an end of ours waits for the guard. */
static void let_go_of_all(int pipe_fd)
{
    int null_fd = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < PIPE_FD && null_fd >= 0; fd++)
        dup2(null_fd, fd);
    dup2(pipe_fd, PIPE_FD);
    close_range(PIPE_FD + 1, ~0u, 0);
}

static _Noreturn void guard(int pipe_fd, const char *mark)
{
    char byte;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid(); /* a terminal's signals are for the others */
    prctl(PR_SET_NAME, "tutti-guard");
    let_go_of_all(pipe_fd);
    (void)!chdir("/");
    while (read(PIPE_FD, &byte, 1) < 0 && errno == EINTR)
        ;
    for (int i = 0; i < ROUNDS && tt_child_kill_marked(mark, SIGKILL); i++)
        poll(NULL, 0, ROUND_MS);
    _exit(0);
}

/* Nobody's child, so that nobody takes it for one of theirs. */
tt_rc tt_guard_start(const char *mark, tt_err *err)
{
    int fds[2], status;
    if (getpid() == 1)
        return TT_OK; /* a container's first process: the kernel ends all with it */
    if (pipe2(fds, O_CLOEXEC) != 0)
        return tt_fail_errno(err, errno, "cannot make a pipe");
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[1]);
        pid_t second = fork();
        if (second == 0)
            guard(fds[0], mark);
        _exit(second < 0);
    }
    int failure = errno;
    close(fds[0]);
    if (pid < 0)
        return close(fds[1]), tt_fail_errno(err, failure, "cannot start a guard");
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0 ? TT_OK : tt_fail(err, TT_UNAVAILABLE, "cannot start a guard: no process can be made"); /* fds[1] stays open as long as we live */
}
