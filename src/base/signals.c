#include "base/signals.h"

#include <errno.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"

void tt_signals_usual(sigset_t *ret)
{
    static const int usual[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};
    sigemptyset(ret);
    for (size_t i = 0; i < TT_COUNT(usual); i++)
        sigaddset(ret, usual[i]);
}

tt_rc tt_signals_open(const sigset_t *set, int *ret_fd, tt_err *err)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* the write fails, with EFBIG */
    pthread_sigmask(SIG_BLOCK, set, NULL);
    int fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot read signals");
    *ret_fd = fd;
    return TT_OK;
}

int tt_signals_next(int fd)
{
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

void tt_signals_change_log_level(int signal)
{
    tt_log_level level = tt_log_get_level();
    if (signal == SIGUSR1 && level < TT_LOG_DEBUG)
        tt_log_set_level(level + 1);
    if (signal == SIGUSR2 && level > TT_LOG_ERROR)
        tt_log_set_level(level - 1);
}
