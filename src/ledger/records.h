/* Records: named values with versions. kind ("job", "token", "worker", ...) and name are the key; the value is bytes (JSON by custom).
 * put with expect_version: 0 = must not exist, TT_ANY_VERSION = whatever; otherwise TT_CONFLICT / TT_EXISTS when it differs. */
#ifndef TT_LEDGER_RECORDS_H
#define TT_LEDGER_RECORDS_H

#include "base/buf.h"
#include "ledger/ledger.h"

#define TT_ANY_VERSION UINT64_MAX

tt_rc tt_record_put(tt_txn *txn, tt_str kind, tt_str name, uint64_t expect_version, tt_str value, uint64_t *ret_version, tt_err *err) TT_MUST_CHECK;
tt_rc tt_record_delete(tt_txn *txn, tt_str kind, tt_str name, tt_err *err) TT_MUST_CHECK; /* absent is fine */
/* Committed value; TT_NOT_FOUND. Any thread. */
tt_rc tt_record_get(tt_ledger *ledger, tt_str kind, tt_str name, tt_buf *value, uint64_t *ret_version, tt_err *err) TT_MUST_CHECK;
/* Calls fn for each record of kind in name order until it returns false. Any thread; fn must not call the ledger. */
tt_rc tt_record_each(tt_ledger *ledger, tt_str kind, bool (*fn)(void *arg, tt_str name, uint64_t version, tt_str value), void *arg, tt_err *err) TT_MUST_CHECK;

/* As tt_record_each, but only names greater than after. */
tt_rc tt_record_each_after(tt_ledger *ledger, tt_str kind, tt_str after, bool (*fn)(void *arg, tt_str name, uint64_t version, tt_str value), void *arg, tt_err *err) TT_MUST_CHECK;
tt_rc tt_record_delete_kind(tt_txn *txn, tt_str kind, tt_err *err) TT_MUST_CHECK;

#endif
