/* What a running program says on descriptor 3: JSON lines, each an object with one or more of these members.
 *
 *   {"progress":{"login":"started"}}    the latest message per procedure; `original` and `processed` are datasets (CSV texts)
 *   {"counters":{"rows":5}}             numbers, added up
 *   {"result":ANY}                      kept with the task; the last one counts
 *   {"rows":[{...},...]}                records for the storage
 *   {"storage":{"type":...}}            where they go, when it is not what the request said
 *   {"remember":{"last":5}}             what the next run of the program finds, kept once the records are stored (program_state.h)
 *   {"error":"text"}                    why it is about to fail
 *   {"secret":"shop/login#password"}    only from C programs, which wait for the answer on standard input
 *   {"end":0}                           only from C programs, whose process goes on: the value that run() gave
 *
 * What is no such line is counted, the first one is kept to be shown, and nothing else happens: a program that writes rubbish
 * there hurts only its own progress. Every size is bounded. One thread. */
#ifndef TT_WORK_PROGRAM_REPORT_H
#define TT_WORK_PROGRAM_REPORT_H

#include <jansson.h>

#include "base/buf.h"

enum { TT_REPORT_LINE_BYTES = 8 * 1024 * 1024, TT_REPORT_ENTRIES = 200, TT_REPORT_TEXT_BYTES = 4096, TT_REPORT_RESULT_BYTES = 1024 * 1024 };

typedef struct tt_program_report {
    json_t *progress, *counters, *datasets, *result, *storage, *remember; /* NULL: nothing said */
    char error[512];          /* "" : none */
    bool ended;
    int64_t end;              /* valid when ended */
    uint64_t revision;        /* rises with each change of progress, counters or result */
    uint64_t bad_lines;
    char first_bad[200];      /* what was wrong with the first one */
    /* Each batch of rows, an array of objects; a failure is what the program fails with. NULL: rows are refused as a bad line. */
    tt_rc (*on_rows)(void *arg, const json_t *rows, tt_err *err);
    void *arg;
    /* Somebody waits for this secret. NULL: the line is a bad one. */
    void (*on_secret)(void *arg, const char *name);
    void *secret_arg;
    tt_rc rows_rc;            /* of the first failure of on_rows */
    tt_err rows_err;
    tt_buf line;              /* begun, not yet ended */
    bool skipping;            /* the rest of a line that is too long */
} tt_program_report;

void tt_program_report_deinit(tt_program_report *r);
/* Bytes as they came; whole lines take effect. */
void tt_program_report_feed(tt_program_report *r, tt_str bytes);
/* The stream has ended: what is left is a line too. */
void tt_program_report_end(tt_program_report *r);

#endif
