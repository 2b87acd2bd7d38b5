#include "io/passing_hash.h"

#include <errno.h>
#include <xxhash.h>

#include "base/mem.h"
#include "io/fd.h"

enum { PIECE_BYTES = 256 << 10 };

void tt_passing_hash_init(tt_passing_hash *h)
{
    *h = (tt_passing_hash){0};
    pthread_mutex_init(&h->mutex, NULL);
}

static void set_state(tt_passing_hash *h, XXH3_state_t *state)
{
    XXH3_freeState(h->state);
    __atomic_store_n(&h->state, state, __ATOMIC_RELEASE);
    h->bytes = 0;
}

void tt_passing_hash_deinit(tt_passing_hash *h)
{
    set_state(h, NULL);
    pthread_mutex_destroy(&h->mutex);
}

static void start(tt_passing_hash *h)
{
    XXH3_state_t *state = XXH3_createState();
    if (state)
        (void)XXH3_64bits_reset(state);
    set_state(h, state);
    __atomic_store_n(&h->stepping, false, __ATOMIC_RELAXED);
}

void tt_passing_hash_start(tt_passing_hash *h)
{
    pthread_mutex_lock(&h->mutex);
    start(h);
    pthread_mutex_unlock(&h->mutex);
}

void tt_passing_hash_note(tt_passing_hash *h, uint64_t at, const void *ptr, size_t len)
{
    if (!__atomic_load_n(&h->state, __ATOMIC_ACQUIRE) || __atomic_load_n(&h->stepping, __ATOMIC_RELAXED))
        return;
    pthread_mutex_lock(&h->mutex);
    if (h->state && at <= h->bytes && at + len > h->bytes) {
        size_t known = (size_t)(h->bytes - at);
        (void)XXH3_64bits_update(h->state, (const char *)ptr + known, len - known);
        h->bytes = at + len;
    }
    pthread_mutex_unlock(&h->mutex);
}

/* With the mutex held. */
static int read_on(tt_passing_hash *h, int fd, uint64_t budget_bytes, bool *ret_end)
{
    char *piece = tt_malloc(PIECE_BYTES);
    int failed = piece ? 0 : ENOMEM;
    *ret_end = false;
    for (uint64_t read = 0; !failed && !*ret_end && read <= budget_bytes;) {
        size_t len = 0;
        failed = tt_fd_read_at(fd, h->bytes, piece, PIECE_BYTES, &len);
        (void)XXH3_64bits_update(h->state, piece, len);
        h->bytes += len;
        read += len;
        *ret_end = !failed && len < PIECE_BYTES;
    }
    free(piece);
    return failed;
}

int tt_passing_hash_step(tt_passing_hash *h, int fd, uint64_t budget_bytes, bool *ret_done, uint64_t *ret_hash, uint64_t *ret_bytes)
{
    bool end = false;
    pthread_mutex_lock(&h->mutex);
    if (!h->state)
        start(h);
    __atomic_store_n(&h->stepping, true, __ATOMIC_RELAXED); /* or who reads a block would wait for us */
    int failed = h->state ? read_on(h, fd, budget_bytes, &end) : ENOMEM;
    if (end) {
        *ret_hash = XXH3_64bits_digest(h->state);
        *ret_bytes = h->bytes;
        set_state(h, NULL);
    }
    *ret_done = end;
    pthread_mutex_unlock(&h->mutex);
    return failed;
}
