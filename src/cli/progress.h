/* How far a job is, for people: one line on standard error that is drawn over on a terminal, and a line every 10 seconds elsewhere.
 * Nothing with --quiet or --json. One thread. */
#ifndef TT_CLI_PROGRESS_H
#define TT_CLI_PROGRESS_H

#include <jansson.h>

#include "cli/command.h"

typedef struct {
    tt_cli *cli;
    int64_t shown_ms; /* when the last line was written; 0: never */
    bool open;        /* the terminal's cursor stands in our line */
} tt_progress;

/* job: JOB as the server shows it. last: the final state, shown in any case. */
void tt_progress_show(tt_progress *p, const json_t *job, bool last);
/* Leaves the line, before something else is written. */
void tt_progress_end(tt_progress *p);

/* "3 of 4 parts" (what NULL: "75 %") in a line of the terminal that is drawn over, and gone with the last or before an error; nothing elsewhere, with --quiet or --json.
 * One thread at a time. */
void tt_cli_count(tt_cli *cli, const char *what, uint64_t done, uint64_t total);
void tt_cli_count_end(tt_cli *cli);

/* "1,234,567". */
const char *tt_grouped(int64_t value, char out[32]);
/* Items that have come to an end: received, in error, dead. */
int64_t tt_job_done(const json_t *job);
/* "demo: 450/1,000 (45 %)  1,200/s  ETA 4.5s  2 errors  3 workers". */
void tt_job_line(const json_t *job, tt_buf *out);

#endif
