/* The SQLite VFS of the ledger: the system's unix VFS with two additions at each write, truncate and sync of a main
 * database file or its WAL. Before it, tt_sys.db_write or tt_sys.db_sync is asked (so TUTTI_FAULT=db_sync:3:EIO works);
 * after it succeeded, an observer is told (the power-cut test builds disk states from that). All else passes through.
 * Registered once per process under TT_VFS_NAME; any thread. */
#ifndef TT_LEDGER_VFS_H
#define TT_LEDGER_VFS_H

#include "base/err.h"

#define TT_VFS_NAME "tutti"

tt_rc tt_vfs_register(tt_err *err) TT_MUST_CHECK;

typedef struct tt_vfs_observer {
    void (*write)(void *arg, const char *path, int64_t at, const void *ptr, size_t len);
    void (*truncate)(void *arg, const char *path, int64_t size_bytes);
    void (*sync)(void *arg, const char *path);
    void *arg;
} tt_vfs_observer;

/* For tests; NULL: none. The observer must live until it is replaced; it is called on the thread that writes. */
void tt_vfs_observe(const tt_vfs_observer *observer);

#endif
