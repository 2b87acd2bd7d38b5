/* The file of rejects: a line for each record of the input that cannot be read and each value that the output does not take, with the reason and the
 * beginning of its text. It grows in the same commit as the states that it explains (io/append.h): lines are collected by whoever loads a
 * block, or by the group under way, and flushed before the pages are stored.
 *
 * With the job's lock held; flushing: the ledger's writer thread, without. */
#ifndef TT_ITEMS_REJECTS_H
#define TT_ITEMS_REJECTS_H

#include "items/blocks.h"

struct tt_job;

/* A record of the input that cannot be served: into the error list and the rejects. */
void tt_job_note_bad(struct tt_job *j, tt_item_ref at, const tt_bad_record *bad);
/* A result that does not fit, in the group under way: the same. worker: may be empty. */
void tt_reject_value(struct tt_job *j, uint64_t id, tt_str value, tt_str worker, const tt_err *why);
tt_rc tt_rejects_flush(struct tt_job *j, bool sync, tt_err *err) TT_MUST_CHECK;

#endif
