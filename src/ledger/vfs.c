#include "ledger/vfs.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>

#include "base/sys.h"

static sqlite3_vfs *real; /* the unix VFS; set by tt_vfs_register */
static sqlite3_vfs shim;
static const tt_vfs_observer *observer;

/* SQLite allocates szOsFile bytes for it: our head, then the unix file. */
typedef struct {
    sqlite3_file base;
    const char *path; /* SQLite's, valid while open; NULL: a file that is not watched */
    int kind;         /* what tt_sys.db_write and db_sync are told: 0 the database, 1 its WAL */
    sqlite3_file *inner;
} shim_file;

static sqlite3_file *inner(sqlite3_file *file) { return ((shim_file *)file)->inner; }
static const char *watched(sqlite3_file *file) { return ((shim_file *)file)->path; }
static int kind(sqlite3_file *file) { return ((shim_file *)file)->kind; }
static const tt_vfs_observer *seen_by(void) { return __atomic_load_n(&observer, __ATOMIC_ACQUIRE); }

static int fault_code(int io_code)
{
    if (errno == ENOSPC || errno == EDQUOT)
        return SQLITE_FULL;
    return errno == ENOMEM ? SQLITE_IOERR_NOMEM : io_code;
}

static int shim_close(sqlite3_file *file) { return inner(file)->pMethods->xClose(inner(file)); }

static int shim_read(sqlite3_file *file, void *buf, int len, sqlite3_int64 at)
{
    return inner(file)->pMethods->xRead(inner(file), buf, len, at);
}

static int shim_write(sqlite3_file *file, const void *buf, int len, sqlite3_int64 at)
{
    if (watched(file) && tt_sys.db_write(kind(file)) != 0)
        return fault_code(SQLITE_IOERR_WRITE);
    int code = inner(file)->pMethods->xWrite(inner(file), buf, len, at);
    if (code == SQLITE_OK && watched(file) && seen_by())
        seen_by()->write(seen_by()->arg, watched(file), at, buf, (size_t)len);
    return code;
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (watched(file) && tt_sys.db_write(kind(file)) != 0)
        return fault_code(SQLITE_IOERR_TRUNCATE);
    int code = inner(file)->pMethods->xTruncate(inner(file), size);
    if (code == SQLITE_OK && watched(file) && seen_by())
        seen_by()->truncate(seen_by()->arg, watched(file), size);
    return code;
}

static int shim_sync(sqlite3_file *file, int flags)
{
    if (watched(file) && tt_sys.db_sync(kind(file)) != 0)
        return fault_code(SQLITE_IOERR_FSYNC);
    int code = inner(file)->pMethods->xSync(inner(file), flags);
    if (code == SQLITE_OK && watched(file) && seen_by())
        seen_by()->sync(seen_by()->arg, watched(file));
    return code;
}

static int shim_size(sqlite3_file *file, sqlite3_int64 *ret) { return inner(file)->pMethods->xFileSize(inner(file), ret); }
static int shim_lock(sqlite3_file *file, int level) { return inner(file)->pMethods->xLock(inner(file), level); }
static int shim_unlock(sqlite3_file *file, int level) { return inner(file)->pMethods->xUnlock(inner(file), level); }

static int shim_check_reserved(sqlite3_file *file, int *ret)
{
    return inner(file)->pMethods->xCheckReservedLock(inner(file), ret);
}

static int shim_control(sqlite3_file *file, int op, void *arg)
{
    return inner(file)->pMethods->xFileControl(inner(file), op, arg);
}

static int shim_sector_size(sqlite3_file *file) { return inner(file)->pMethods->xSectorSize(inner(file)); }
static int shim_traits(sqlite3_file *file) { return inner(file)->pMethods->xDeviceCharacteristics(inner(file)); }

static int shim_shm_map(sqlite3_file *file, int page, int page_size, int extend, void volatile **ret)
{
    return inner(file)->pMethods->xShmMap(inner(file), page, page_size, extend, ret);
}

static int shim_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return inner(file)->pMethods->xShmLock(inner(file), offset, count, flags);
}

static void shim_shm_barrier(sqlite3_file *file) { inner(file)->pMethods->xShmBarrier(inner(file)); }
static int shim_shm_unmap(sqlite3_file *file, int drop) { return inner(file)->pMethods->xShmUnmap(inner(file), drop); }

/* Version 2: with shared memory (WAL), without memory-mapped pages. */
static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector_size,
    .xDeviceCharacteristics = shim_traits,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)vfs;
    shim_file *f = (shim_file *)file;
    f->inner = (sqlite3_file *)(f + 1);
    f->path = flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL) ? name : NULL;
    f->kind = flags & SQLITE_OPEN_WAL ? 1 : 0;
    int code = real->xOpen(real, name, f->inner, flags, ret_flags);
    f->base.pMethods = f->inner->pMethods ? &methods : NULL;
    return code;
}

static int register_shim(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* no mutex at each allocation; too late is no harm */
    int code = sqlite3_initialize();
    if (code != SQLITE_OK)
        return code;
    real = sqlite3_vfs_find("unix");
    if (!real)
        return SQLITE_NOTFOUND;
    shim = *real; /* what is not replaced works on our copy of its data */
    shim.pNext = NULL;
    shim.zName = TT_VFS_NAME;
    shim.szOsFile = (int)sizeof(shim_file) + real->szOsFile;
    shim.xOpen = shim_open;
    return sqlite3_vfs_register(&shim, 0);
}

tt_rc tt_vfs_register(tt_err *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards registered */
    static bool registered;
    pthread_mutex_lock(&lock);
    int code = registered ? SQLITE_OK : register_shim();
    registered = code == SQLITE_OK;
    pthread_mutex_unlock(&lock);
    if (code == SQLITE_OK)
        return TT_OK;
    return tt_fail(err, code == SQLITE_NOMEM ? TT_NOMEM : TT_FAILED, "cannot set up SQLite's file layer: %s", sqlite3_errstr(code));
}

void tt_vfs_observe(const tt_vfs_observer *o) { __atomic_store_n(&observer, o, __ATOMIC_RELEASE); }
