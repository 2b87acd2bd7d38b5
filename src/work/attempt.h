/* One attempt at a task, as the function that runs it sees it: it writes the task's log, says how far it is, and hears that it must
 * stop. What it says goes to the server in bounded pieces, at most every TT_ATTEMPT_EVERY_MS while it lasts, and all of it before the
 * attempt's end is reported. A log is kept up to the task's limit from its beginning, and its last bytes in any case; what lies between is
 * counted. A server that is away costs log lines (a bounded buffer), never the attempt.
 * Stop is said by the worker's other threads (tt_attempt_stop); everything else belongs to the one thread that runs the task. To run
 * a child process under the task's limits, see runner.h. */
#ifndef TT_WORK_ATTEMPT_H
#define TT_WORK_ATTEMPT_H

#include "base/buf.h"

typedef struct tt_attempt tt_attempt;

enum { TT_ATTEMPT_EVERY_MS = 200, TT_ATTEMPT_PROGRESS_BYTES = 256 * 1024 };

/* Why an attempt must end before its work is done. The first reason stays. */
typedef enum { TT_STOP_NONE, TT_STOP_CANCELED, TT_STOP_LOST, TT_STOP_DRAINING, TT_STOP_TIMEOUT, TT_STOP_MEMORY } tt_stop;

/* ---- for kinds ---- */

/* Appends to the log; lines need not be whole. */
void tt_attempt_log(tt_attempt *a, tt_str bytes);
/* A line of tutti's own: "tutti: ...". */
void tt_attempt_note(tt_attempt *a, const char *fmt, ...) TT_PRINTF(2, 3);
/* Never show this value in the log (at least 4 bytes; shorter ones are ignored): `***` stands there instead. Copies it; false: out of memory. */
bool tt_attempt_mask(tt_attempt *a, tt_str secret) TT_MUST_CHECK;
/* The task's progress from now on: a JSON object, replaces the last one. TT_TOO_LARGE beyond TT_ATTEMPT_PROGRESS_BYTES. */
tt_rc tt_attempt_progress(tt_attempt *a, tt_str json, tt_err *err) TT_MUST_CHECK;

/* Readable as soon as the attempt must stop; for poll. */
int tt_attempt_stop_fd(const tt_attempt *a);
/* TT_OK, or the reason to stop as a result: TT_CANCELED (canceled, lost or draining: what it did is not wanted), TT_TIMEOUT. Also watches the time limit. */
tt_rc tt_attempt_check(tt_attempt *a, tt_err *err) TT_MUST_CHECK;
/* When check must be asked again because the time limit ends (monotonic ms); INT64_MAX: there is none. */
int64_t tt_attempt_deadline_ms(const tt_attempt *a);
uint64_t tt_attempt_memory_limit(const tt_attempt *a); /* bytes, 0: none */

/* Sends what has waited long enough; whoever waits for something else calls it at the time that it gave last (monotonic ms; INT64_MAX: nothing waits). */
int64_t tt_attempt_flush(tt_attempt *a);
/* The last whole lines of the log, at most max bytes, for a sentence that says why an attempt failed. Valid until the next call on a. */
tt_str tt_attempt_last_lines(tt_attempt *a, size_t max);

/* ---- for whoever runs kinds (worker.c, tests) ---- */

/* Where the words go. A failure is tried again with the next piece. NULL: dropped. */
typedef struct {
    void *arg;
    tt_rc (*log)(void *arg, uint64_t id, uint64_t lease, tt_str bytes, tt_err *err);
    tt_rc (*progress)(void *arg, uint64_t id, uint64_t lease, tt_str json, tt_err *err);
} tt_attempt_sink;

typedef struct {
    uint64_t id, lease;
    int64_t timeout_ms;       /* from now; 0: none */
    uint64_t memory_bytes;    /* 0: none */
    uint64_t log_bytes;       /* kept from the log's beginning; 0: 10 MiB */
    tt_attempt_sink sink;
} tt_attempt_spec;

tt_rc tt_attempt_new(const tt_attempt_spec *spec, tt_attempt **ret, tt_err *err) TT_MUST_CHECK;
/* Any thread, until tt_attempt_free. */
void tt_attempt_stop(tt_attempt *a, tt_stop why);
tt_stop tt_attempt_stopped(const tt_attempt *a);
/* Sends everything that is left. */
void tt_attempt_end(tt_attempt *a);
void tt_attempt_free(tt_attempt *a);

#endif
