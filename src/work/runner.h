/* A child process that works for attempts: in a process group of its own, under the attempt's limits on time and memory, its standard
 * output and error in the attempt's log, its reports on descriptor 3 given on. It may be used for one attempt and end with it (any
 * executable), or stay for the next ones (the process that runs C programs).
 * When an attempt must stop, the whole tree below dies, also what called setsid, ignores SIGTERM or was orphaned: this process adopts
 * orphans (call tt_runner_adopt once, before the first), so that nothing is below it that it does not know.
 * One thread; waits in poll, never in a loop over the clock. */
#ifndef TT_WORK_RUNNER_H
#define TT_WORK_RUNNER_H

#include "base/child.h"
#include "work/attempt.h"

typedef struct tt_runner tt_runner;

typedef struct {
    const char *const *argv;     /* NULL-ended; argv[0] is the path */
    const char *const *env_add;  /* "NAME=value", NULL-ended; may be NULL */
    const char *cwd;             /* NULL: ours */
    bool keeps_input;            /* standard input stays open between attempts (tt_runner_work.input is written to it) */
    uint64_t max_memory_bytes;   /* of the process's own data, for good; 0: the attempt's limit alone */
} tt_runner_spec;

typedef struct {
    tt_str input;                /* written to its standard input; which is closed behind it unless keeps_input */
    /* Bytes of descriptor 3 as they come. False: this piece of work is over, though the process lives on. NULL: they are dropped. */
    bool (*on_report)(void *arg, tt_str bytes);
    int also_fd;                 /* when this is readable, on_also is called; without on_also it is not looked at */
    void (*on_also)(void *arg);
    void *arg;
} tt_runner_work;

typedef struct {
    bool is_over;                /* on_report said so; else the process has ended */
    int status;                  /* of the process, when it has ended */
    size_t killed;               /* processes that had to be killed */
    uint64_t peak_memory_bytes;  /* of the tree, as far as it was seen */
} tt_runner_end;

/* Orphans below us become our children; once, in the process that uses runners. */
void tt_runner_adopt(void);
tt_rc tt_runner_start(const tt_runner_spec *spec, tt_runner **ret, tt_err *err) TT_MUST_CHECK;
/* Until the process ends or on_report says that the work is over. TT_OK: over, or exit code 0. Else why not, with the log's last lines:
 * TT_FAILED (exit code, signal, memory), TT_TIMEOUT, TT_CANCELED. After anything but is_over the process and all below it are gone. */
tt_rc tt_runner_attend(tt_runner *r, tt_attempt *a, const tt_runner_work *work, tt_runner_end *ret, tt_err *err) TT_MUST_CHECK;
/* More for its standard input while it is attended, behind what was written before. Only one that keeps its input. */
void tt_runner_say(tt_runner *r, tt_str bytes);
bool tt_runner_is_alive(const tt_runner *r);
/* Kills what is left. NULL is fine. */
void tt_runner_free(tt_runner *r);

/* Start, attend, free: for one attempt. */
tt_rc tt_runner_run(tt_attempt *a, const tt_runner_spec *spec, const tt_runner_work *work, tt_runner_end *ret, tt_err *err) TT_MUST_CHECK;

#endif
