/* Runs a program once, for an attempt at a task: its settings on standard input, its report on descriptor 3, its log and its limits
 * the attempt's (attempt.h, runner.h). C programs run in a child of ours that stays for the next one; whatever ends badly ends that
 * child, and the next program gets a new one. One run at a time in a process, on one thread. */
#ifndef TT_WORK_PROGRAM_RUN_H
#define TT_WORK_PROGRAM_RUN_H

#include "io/roots.h"
#include "work/attempt.h"
#include "work/program.h"
#include "work/program_report.h"

typedef struct {
    const tt_program_env *env;
    const tt_program_file *file;
    tt_str settings;          /* JSON */
    const tt_roots *roots;    /* below which its files may be, if it is one of ours; NULL: the current directory */
    const char *id;           /* what the program sees as $TUTTI_EXECUTION */
    const char *context;      /* and as $TUTTI_TASK: JSON about the run that it is a task of; NULL: of none */
    const json_t *more_env;   /* further variables, texts; NULL: none */
    void (*on_report)(void *arg, const tt_program_report *r); /* its revision rose */
    /* The value of a secret that the program asks for by name; NULL: there are none here. */
    tt_rc (*secret)(void *arg, tt_str name, tt_buf *ret, tt_err *err);
    void *arg;
} tt_program_job;

/* report: zeroed but for on_rows and arg; the caller deinits it. TT_FAILED with how it ended and what it said; TT_TIMEOUT, TT_CANCELED; what on_rows failed with. */
tt_rc tt_program_run(const tt_program_job *job, tt_attempt *a, tt_program_report *report, tt_err *err) TT_MUST_CHECK;
/* Ends the child that is kept for C programs, if there is one. */
void tt_program_run_finish(void);

#endif
