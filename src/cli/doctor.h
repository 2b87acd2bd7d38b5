/* What the files of `tutti doctor` share: the patient's state as far as it is known, and how a check says what it found. */
#ifndef TT_CLI_DOCTOR_H
#define TT_CLI_DOCTOR_H

#include <jansson.h>

#include "base/vec.h"
#include "cli/cli.h"

typedef enum { TT_GOOD, TT_SKIPPED, TT_WARN, TT_BAD } tt_verdict;

typedef struct {
    const char *check;
    tt_verdict verdict;
    char *found, *advice; /* in the command's arena */
} tt_finding;

typedef struct {
    tt_cli *cli;
    const char *check;    /* the one that runs */
    tt_options *options;  /* NULL: the configuration is wrong */
    char *dir;            /* the data directory; NULL: the configuration is wrong */
    bool dir_exists;
    bool server_answers;
    json_t *health;       /* or NULL */
    TT_VEC(tt_finding) findings;
} tt_doctor;

/* One row of the report, of the check that runs. advice: what to do; NULL: nothing. */
void tt_doctor_report(tt_doctor *d, tt_verdict v, const char *advice, const char *fmt, ...) TT_PRINTF(4, 5);
/* How much room there is where `path` is; what: its place in the sentence. */
void tt_doctor_report_space(tt_doctor *d, const char *what, const char *path);

/* doctor_data.c: the data directory. */
void tt_doctor_dir(tt_doctor *d);
void tt_doctor_disk(tt_doctor *d);
void tt_doctor_space(tt_doctor *d);
void tt_doctor_lock(tt_doctor *d);
void tt_doctor_ledger(tt_doctor *d);
/* doctor_server.c: the server, through its routes. */
void tt_doctor_server(tt_doctor *d);
void tt_doctor_health(tt_doctor *d);
void tt_doctor_ready(tt_doctor *d);
void tt_doctor_jobs(tt_doctor *d);
void tt_doctor_outputs(tt_doctor *d);
void tt_doctor_workers(tt_doctor *d);
void tt_doctor_mirror(tt_doctor *d);
void tt_doctor_rq(tt_doctor *d);
void tt_doctor_shared(tt_doctor *d);

#endif
