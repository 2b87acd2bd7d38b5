/* Request bodies. Up to 1 MiB in one block of memory; what is longer, or comes while the memory for bodies is used up, goes to an unlinked
 * file in the spool directory and is mapped read-only at the end. Two budgets over all connections bound both; small bodies (4 KiB) are always
 * taken into memory. A body belongs to its request and is filled by one HTTP thread. */
#include "server/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"

enum { SMALL_BYTES = 4096, FIRST_BYTES = 16 * 1024, SPOOL_BUDGET_FACTOR = 16 };
static const uint64_t memory_budget_bytes = 32u << 20;

static bool budget_take(_Atomic uint64_t *used, uint64_t bytes, uint64_t budget)
{
    uint64_t before = atomic_fetch_add(used, bytes);
    if (before + bytes <= budget)
        return true;
    atomic_fetch_sub(used, bytes);
    return false;
}

void tt_body_init(tt_body *b, uint64_t declared_bytes, uint64_t limit_bytes)
{
    *b = (tt_body){.declared_bytes = declared_bytes, .limit_bytes = limit_bytes, .spool_fd = -1};
}

static bool memory_take(tt_server *s, uint64_t bytes)
{
    if (budget_take(&s->body_memory_bytes, bytes, memory_budget_bytes))
        return true;
    if (bytes > SMALL_BYTES)
        return false;
    atomic_fetch_add(&s->body_memory_bytes, bytes);
    return true;
}

static void memory_give(tt_server *s, tt_body *b)
{
    free(b->mem);
    atomic_fetch_sub(&s->body_memory_bytes, b->mem_cap);
    b->mem = NULL;
    b->mem_cap = 0;
}

/* Room for need bytes in memory. False: it has to be the spool. */
static bool memory_grow(tt_server *s, tt_body *b, uint64_t need)
{
    if (need <= b->mem_cap)
        return true;
    uint64_t cap = b->declared_bytes != UINT64_MAX ? b->declared_bytes : b->mem_cap ? b->mem_cap * 2 : FIRST_BYTES;
    if (cap < need)
        cap = need;
    if (need > TT_BODY_MEMORY_BYTES || cap > TT_BODY_MEMORY_BYTES)
        cap = need;
    if (need > TT_BODY_MEMORY_BYTES || !memory_take(s, cap - b->mem_cap))
        return false;
    char *mem = tt_realloc(b->mem, cap);
    if (!mem) {
        atomic_fetch_sub(&s->body_memory_bytes, cap - b->mem_cap);
        return false;
    }
    b->mem = mem;
    b->mem_cap = cap;
    return true;
}

static int open_unlinked(const char *dir)
{
    char path[4096];
    int fd = tt_sys.open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    static _Atomic unsigned serial;
    snprintf(path, sizeof path, "%s/body.%ld.%u", dir, (long)getpid(), atomic_fetch_add(&serial, 1));
    fd = tt_sys.open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        tt_sys.unlink(path);
    return fd;
}

static tt_rc spool_write(tt_server *s, tt_body *b, const char *ptr, size_t len, tt_err *err)
{
    if (!budget_take(&s->spool_bytes, len, atomic_load(&s->body_limit_bytes) * SPOOL_BUDGET_FACTOR))
        return tt_fail(err, TT_UNAVAILABLE, "too many large bodies at the same time: send this one again in a moment");
    b->spooled_bytes += len;
    while (len) {
        ssize_t n = tt_sys.write(b->spool_fd, ptr, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tt_fail_errno(err, errno, "cannot keep the body in %s", s->spool_dir);
        ptr += n;
        len -= (size_t)n;
    }
    return TT_OK;
}

static tt_rc spool_start(tt_server *s, tt_body *b, tt_err *err)
{
    size_t have = (size_t)b->size_bytes;
    if (!s->spool_dir)
        return tt_fail(err, TT_TOO_LARGE, "the body has more than %d bytes: this server has no directory for larger ones", TT_BODY_MEMORY_BYTES);
    b->spool_fd = open_unlinked(s->spool_dir);
    if (b->spool_fd < 0)
        return tt_fail_errno(err, errno, "cannot keep the body in %s", s->spool_dir);
    tt_rc rc = have ? spool_write(s, b, b->mem, have, err) : TT_OK;
    memory_give(s, b);
    return rc;
}

tt_rc tt_body_add(tt_server *s, tt_body *b, const char *ptr, size_t len, tt_err *err)
{
    uint64_t need = b->size_bytes + len;
    if (!b->discard && need <= b->limit_bytes) {
        bool declared_large = b->declared_bytes != UINT64_MAX && b->declared_bytes > TT_BODY_MEMORY_BYTES;
        if (b->spool_fd < 0 && (declared_large || !memory_grow(s, b, need)))
            TT_TRY(spool_start(s, b, err));
        if (b->spool_fd >= 0)
            TT_TRY(spool_write(s, b, ptr, len, err));
        else
            memcpy(b->mem + b->size_bytes, ptr, len);
    }
    b->size_bytes = need;
    return TT_OK;
}

tt_rc tt_body_seal(tt_server *s, tt_body *b, tt_err *err)
{
    if (b->spool_fd < 0) {
        b->view = (tt_str){b->mem, b->discard ? 0 : (size_t)b->size_bytes};
        return TT_OK;
    }
    void *map = mmap(NULL, b->size_bytes, PROT_READ, MAP_SHARED, b->spool_fd, 0);
    if (map == MAP_FAILED)
        return tt_fail_errno(err, errno, "cannot map the body of %" PRIu64 " bytes", b->size_bytes);
    b->map = map;
    b->view = (tt_str){map, (size_t)b->size_bytes};
    return TT_OK;
}

void tt_body_discard(tt_server *s, tt_body *b)
{
    memory_give(s, b);
    if (b->map)
        munmap(b->map, b->view.len);
    if (b->spool_fd >= 0)
        close(b->spool_fd);
    atomic_fetch_sub(&s->spool_bytes, b->spooled_bytes);
    b->spooled_bytes = 0;
    b->map = NULL;
    b->spool_fd = -1;
    b->view = (tt_str){0};
    b->discard = true;
}
