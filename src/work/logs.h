/* The logs of tasks: one file each below DIR/logs, what all attempts wrote one after the other. Written in pieces, read from any
 * offset. A file is bounded; what a worker sends beyond that is counted as taken and not kept. Logs are for people: they are not synced, and a
 * failure to keep one (a full disk) is the caller's to tell, never a reason for a task to fail. Any thread; every call is file work, so not
 * for threads that must not wait. */
#ifndef TT_WORK_LOGS_H
#define TT_WORK_LOGS_H

#include "base/buf.h"
#include "ledger/ledger.h"

typedef struct tt_logs tt_logs;

/* dir is made when missing. max_bytes: of one task's log; 0: 11 MiB (a worker sends less). */
tt_rc tt_logs_open(const char *dir, uint64_t max_bytes, tt_logs **ret, tt_err *err) TT_MUST_CHECK;
void tt_logs_close(tt_logs *l); /* NULL is fine */
tt_rc tt_logs_append(tt_logs *l, uint64_t id, tt_str bytes, tt_err *err) TT_MUST_CHECK;
/* Logs that lie in a shared ledger instead, with the tasks, and go with them: no file is read or written from then on. max_bytes: as above. Before others use l. */
void tt_logs_use(tt_logs *l, tt_ledger *shared);
/* At most max bytes from offset on, appended to out; none: nothing there (yet). */
tt_rc tt_logs_read(tt_logs *l, uint64_t id, uint64_t offset, size_t max, tt_buf *out, tt_err *err) TT_MUST_CHECK;
uint64_t tt_logs_size(tt_logs *l, uint64_t id); /* 0: none */
/* The last max bytes, from a line's beginning on when there is one. Failures give nothing. */
void tt_logs_tail(tt_logs *l, uint64_t id, size_t max, tt_buf *out);
void tt_logs_delete(tt_logs *l, uint64_t id);
/* Deletes logs that nobody wrote to for keep_ms; how many. */
size_t tt_logs_sweep(tt_logs *l, int64_t keep_ms);

#endif
