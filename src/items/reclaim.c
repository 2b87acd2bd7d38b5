#include "items/reclaim.h"

#include <errno.h>
#include <fcntl.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "io/fd.h"
#include "items/job.h"

enum { END_BYTES = 4096 }; /* that a mark is over, io/append.h */

/* With the lock. */
static bool is_worth_it(const tt_job *j, uint64_t to)
{
    const tt_reclaim *r = &j->delivery.reclaim;
    return !r->impossible && to >= r->freed + TT_RECLAIM_STEP_BYTES;
}

bool tt_reclaim_is_near(const tt_job *j)
{
    uint64_t end = j->output_mark.length_bytes, taken = j->delivery.now.bytes;
    return end > END_BYTES && is_worth_it(j, taken < end - END_BYTES ? taken : end - END_BYTES);
}

/* The byte up to which the target has had everything for long enough; 0: it is not time to look. With the lock. */
static uint64_t find_due(tt_job *j)
{
    tt_reclaim *r = &j->delivery.reclaim;
    int64_t now_ms = tt_mono_ms();
    if (r->seen_ms && now_ms - r->seen_ms < TT_RECLAIM_KEEP_MS)
        return 0;
    uint64_t due = r->seen_ms ? r->seen : 0;
    r->seen = j->delivery.now.bytes;
    r->seen_ms = now_ms;
    return is_worth_it(j, due) ? due : 0;
}

typedef struct {
    tt_job *j;
    uint64_t due;
} freeing;

static tt_rc freeing_apply(void *arg, tt_txn *txn, tt_err *err)
{
    freeing *f = arg;
    tt_job *j = f->j;
    tt_txn_enlist(txn, &j->part);
    pthread_mutex_lock(&j->lock);
    uint64_t end = j->redo.synced.length_bytes; /* where the output would be opened again */
    uint64_t to = end < END_BYTES ? 0 : f->due < end - END_BYTES ? f->due : end - END_BYTES;
    if (is_worth_it(j, to) && j->def.journal && !j->removing) {
        j->delivery.reclaim.freeing = to;
        j->head_dirty = true;
    }
    pthread_mutex_unlock(&j->lock);
    return TT_OK;
}

void tt_reclaim_committed(tt_job *j)
{
    tt_reclaim *r = &j->delivery.reclaim;
    if (r->freeing)
        r->freed = r->freeing;
    r->freeing = 0;
}

void tt_reclaim_rolled_back(tt_job *j) { j->delivery.reclaim.freeing = 0; }

static int make_hole(const tt_items_env *env, tt_str path, uint64_t to)
{
    TT_FD_AUTO int fd = -1;
    if (tt_roots_open(env->journal_roots, path, O_WRONLY, 0, &fd, NULL, NULL) != TT_OK)
        return 0; /* whoever reads it says what is wrong */
    return tt_sys.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)to) == 0 ? 0 : errno;
}

void tt_reclaim_again(tt_job *j)
{
    pthread_mutex_lock(&j->lock);
    uint64_t to = j->delivery.reclaim.freed;
    char *path = to && j->def.journal ? tt_dup_cstr(j->def.journal) : NULL;
    pthread_mutex_unlock(&j->lock);
    if (!path)
        return;
    int failed = make_hole(j->env, tt_str_of(path), to);
    bool impossible = failed == EOPNOTSUPP || failed == ENOSYS || failed == EINVAL;
    if (failed) /* the next one begins at the front again */
        tt_log_warn(impossible ? "the file system cannot give back the front of a journal: it grows until its job is complete" : "space of a journal is not given back yet",
                    TT_F_CSTR("job", j->def.name), TT_F_CSTR("journal", path), TT_F_CSTR("error", strerror(failed)));
    free(path);
    pthread_mutex_lock(&j->lock);
    j->delivery.reclaim.impossible |= impossible;
    pthread_mutex_unlock(&j->lock);
}

tt_rc tt_reclaim_run(tt_job *j, tt_err *err)
{
    pthread_mutex_lock(&j->lock);
    freeing f = {j, find_due(j)};
    pthread_mutex_unlock(&j->lock);
    if (!f.due)
        return TT_OK;
    TT_TRY(tt_ledger_run(j->env->ledger, freeing_apply, &f, err));
    tt_reclaim_again(j);
    return TT_OK;
}
