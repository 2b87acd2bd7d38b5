/* The error list of a job: why an item failed, who worked on it, and when. Lines are noted where it happens, wait for the next commit, and are then
 * records of the ledger, one for each item: "errors/<owner>", under the item's number.
 *
 * With the job's lock held; storing: the ledger's writer thread. */
#ifndef TT_ITEMS_NOTES_H
#define TT_ITEMS_NOTES_H

#include "base/vec.h"
#include "items/blocks.h"
#include "ledger/ledger.h"

struct tt_job;

typedef struct {
    uint64_t id;
    tt_item_state state; /* error or dead; pending: the line is taken off */
    unsigned attempts;
    char *reason, *worker;
    int64_t time_ms;
} tt_note;
typedef TT_VEC(tt_note) tt_notes;

/* The ledger's record kind of a job's list. */
const char *tt_errors_kind(uint64_t owner, char out[32]);
void tt_job_note(tt_notes *notes, uint64_t id, tt_item_state state, unsigned attempts, tt_str reason, tt_str worker);
void tt_notes_clear(tt_notes *notes);
void tt_notes_move(tt_notes *to, tt_notes *from); /* all of from behind to */
tt_rc tt_notes_store(struct tt_job *j, tt_txn *txn, const tt_notes *notes, tt_err *err) TT_MUST_CHECK;

#endif
