/* An execution: a run of a program that somebody asked for, as a task of the kind `execution`. The server makes its payload from checked
 * settings; a worker finds the program by its name, compares its content with the hash that the task names, runs it, and gives
 * what it reported as the task's result. */
#ifndef TT_WORK_EXECUTION_H
#define TT_WORK_EXECUTION_H

#include "io/roots.h"
#include "ledger/queue.h"
#include "vault/vault.h"
#include "work/attempt.h"
#include "work/program.h"

/* For a worker process: register the kind. secrets: where those that settings refer to are found; files: below which files may be stored. Both must stay alive. */
tt_rc tt_execution_register(const tt_options *options, const tt_vault_store *secrets, const tt_roots *files, tt_err *err) TT_MUST_CHECK;
/* Behind the last task. */
void tt_execution_unregister(void);

enum { TT_EXECUTION_ID_BYTES = 200 };
/* `2017-10-15T00-06-53-123456--devTest--my_platform`: the local time, whose it is (empty: manual; characters that an id cannot hold become _), the program. */
void tt_execution_make_id(int64_t wall_us, tt_str owner, const char *program, char out[TT_EXECUTION_ID_BYTES + 1]);
/* An id as the older service wrote it (`TIME::OWNER::PROGRAM`) in today's form; others as they are. False: it can be no id. */
bool tt_execution_read_id(tt_str text, char out[TT_EXECUTION_ID_BYTES + 1]);

/* The kind of the records from ids to numbers of tasks. */
#define TT_EXECUTION_RECORD TT_STR("execution")
enum { TT_EXECUTION_NUMBER_BYTES = 24 };
/* The record that comes with the task: by it the task is found by the execution's id, of which there must be none yet. number and id must live as long as it. */
tt_task_record tt_execution_record(const char *id, uint64_t task, char number[TT_EXECUTION_NUMBER_BYTES]);
/* The number of the task of an id. TT_NOT_FOUND. Any thread. */
tt_rc tt_execution_task(tt_ledger *ledger, const char *id, uint64_t *ret, tt_err *err) TT_MUST_CHECK;

/* What a payload is made of. */
typedef struct {
    const char *id;
    const json_t *settings;  /* checked */
    const json_t *storage;   /* NULL: none */
    const json_t *context;   /* of a task of a run: an object that the program finds in $TUTTI_TASK; NULL: none */
    const json_t *env;       /* further variables of its environment, texts; NULL: none */
} tt_execution_order;
/* The payload: JSON with program, hash, id and context in clear, settings, storage and environment sealed. */
tt_rc tt_execution_payload(tt_vault *v, const tt_program *p, const tt_execution_order *order, tt_buf *out, tt_err *err) TT_MUST_CHECK;
/* By hand what a worker does with a task of such an order, without a queue: secrets are resolved and kept out of what the attempt and *ret_result show. Behind
 * tt_execution_register. */
tt_rc tt_execution_run(const tt_program *p, const tt_execution_order *order, tt_attempt *a, tt_buf *ret_result, tt_err *err) TT_MUST_CHECK;

#endif
