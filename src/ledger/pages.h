/* Pages: packed state of something large (a job's items), as numbered blobs of an owner, changed in one commit
 * with whatever else the transaction holds. Each blob is stored with a checksum; one that does not match is TT_CORRUPT, never repaired.
 * The head (number TT_PAGE_HEAD) holds counters and the output's mark. Blobs are opaque here. */
#ifndef TT_LEDGER_PAGES_H
#define TT_LEDGER_PAGES_H

#include "base/buf.h"
#include "ledger/ledger.h"

#define TT_PAGE_HEAD (-1)

tt_rc tt_page_put(tt_txn *txn, uint64_t owner, int64_t number, tt_str blob, tt_err *err) TT_MUST_CHECK;
tt_rc tt_page_drop_owner(tt_txn *txn, uint64_t owner, tt_err *err) TT_MUST_CHECK;
tt_rc tt_page_get(tt_ledger *ledger, uint64_t owner, int64_t number, tt_buf *blob, tt_err *err) TT_MUST_CHECK; /* TT_NOT_FOUND */
/* All pages of owner in number order, head first. */
tt_rc tt_page_each(tt_ledger *ledger, uint64_t owner, bool (*fn)(void *arg, int64_t number, tt_str blob), void *arg, tt_err *err) TT_MUST_CHECK;
/* A new owner number, never used before. */
tt_rc tt_page_new_owner(tt_txn *txn, uint64_t *ret, tt_err *err) TT_MUST_CHECK;

#endif
