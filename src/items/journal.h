/* The journal of a job whose sink is not a plain file: results in the order in which they came, in a file of the data directory that grows
 * exactly as plain outputs do (io/append.h, and the ledger's record of its length). A record is a line that says whose value follows and
 * how long it is, the value's bytes, and a line end; so that the journal can be read by people as well:
 *
 *   @17 12 1f0a93bc        item, bytes, low half of xxh3 over the bytes (seed: the item)
 *   {"square":4}
 *
 * Putting: the ledger's writer thread. Reading: any thread, up to a length that has been committed. */
#ifndef TT_ITEMS_JOURNAL_H
#define TT_ITEMS_JOURNAL_H

#include "io/append.h"

void tt_journal_put(tt_append *file, uint64_t id, tt_str value);

typedef struct tt_journal_reader tt_journal_reader;

/* Records from byte `from` (where one begins) up to byte `to` (where one ends). max_value_bytes: what no value is longer than. */
tt_rc tt_journal_open(const tt_roots *roots, tt_str path, uint64_t from, uint64_t to, uint64_t max_value_bytes, tt_journal_reader **ret, tt_err *err) TT_MUST_CHECK;
void tt_journal_close(tt_journal_reader *r);
/* *ret_end: there is none left. The value lives until the next call. TT_CORRUPT names the place. */
tt_rc tt_journal_next(tt_journal_reader *r, uint64_t *ret_id, tt_str *ret_value, bool *ret_end, tt_err *err) TT_MUST_CHECK;
uint64_t tt_journal_at(const tt_journal_reader *r); /* the byte behind the last record that was given */

#endif
