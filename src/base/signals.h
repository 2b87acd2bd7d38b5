/* Signals as something to read: blocked for the whole process and taken from a descriptor in its loop, so that no code of
 * ours ever runs inside a handler. Open before any thread exists, because threads inherit the mask. */
#ifndef TT_BASE_SIGNALS_H
#define TT_BASE_SIGNALS_H

#include <signal.h>

#include "base/err.h"

/* What a long-lived process of tutti reads: TERM, INT, QUIT, HUP, USR1, USR2. A supervisor blocks them in its children from the start. */
void tt_signals_usual(sigset_t *ret);
/* Blocks the set and gives a descriptor (close-on-exec, not blocking) that is readable when one waits. SIGPIPE is ignored from here on. */
tt_rc tt_signals_open(const sigset_t *set, int *ret_fd, tt_err *err) TT_MUST_CHECK;
/* The next waiting signal's number, 0: none. */
int tt_signals_next(int fd);
/* SIGUSR1 raises this process's log level by one step, SIGUSR2 lowers it; others are ignored. */
void tt_signals_change_log_level(int signal);

#endif
