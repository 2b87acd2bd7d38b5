#include "work/program_catalog.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/fd.h"

enum { KEEP_ERROR_MS = 10 * 1000, QUIET_MS = 50, LOOK_AGAIN_MS = 30 * 1000, FIRST_MS = 1000 };

typedef struct {
    tt_program *program;  /* a reference */
    uint64_t generation;  /* of the folders, when it was described */
    int64_t made_ms;
} entry;

struct tt_catalog {
    tt_program_env *env;
    pthread_mutex_t lock;   /* guards entries and generation */
    TT_VEC(entry) entries;
    uint64_t generation;    /* rises when something in a folder changes */
    pthread_t thread;
    bool watches;
    atomic_bool ends;
    int inotify_fd, wake_fd;
    int *wds;               /* by folder; -1: not watched, it may come later */
};

const tt_program_env *tt_catalog_env(const tt_catalog *c) { return c->env; }

tt_catalog *tt_catalog_new(tt_program_env *env)
{
    tt_catalog *c = TT_NEW(tt_catalog);
    c->env = env;
    c->inotify_fd = c->wake_fd = -1;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

/* ---- what is kept ---- */

static bool is_fresh(const tt_catalog *c, const entry *e, const tt_program_file *file)
{
    const tt_program *p = e->program;
    return strcmp(p->file.path, file->path) == 0 && strcmp(p->file.hash, file->hash) == 0 && p->file.kind == file->kind && e->generation == c->generation &&
           (p->rc == TT_OK || tt_mono_ms() - e->made_ms < KEEP_ERROR_MS);
}

static entry *find_entry(const tt_catalog *c, const char *name)
{
    for (size_t i = 0; i < c->entries.len; i++)
        if (strcmp(c->entries.ptr[i].program->file.name, name) == 0)
            return &c->entries.ptr[i];
    return NULL;
}

static void keep(tt_catalog *c, const entry *made)
{
    entry *e = find_entry(c, made->program->file.name);
    if (e) {
        tt_program_unref(e->program);
        *e = *made;
    } else if (!tt_vec_push(&c->entries, *made)) {
        tt_program_unref(made->program);
    }
}

/* The description of this very file; a reference. */
static tt_program *described(tt_catalog *c, const tt_program_file *file)
{
    pthread_mutex_lock(&c->lock);
    const entry *e = find_entry(c, file->name);
    tt_program *p = e && is_fresh(c, e, file) ? tt_program_ref(e->program) : NULL;
    uint64_t generation = c->generation;
    pthread_mutex_unlock(&c->lock);
    if (p)
        return p;
    p = tt_program_describe(c->env, file);
    pthread_mutex_lock(&c->lock);
    keep(c, &(entry){tt_program_ref(p), generation, tt_mono_ms()});
    pthread_mutex_unlock(&c->lock);
    return p;
}

tt_rc tt_catalog_find(tt_catalog *c, tt_str name, tt_program **ret, tt_err *err)
{
    tt_program_file *file = TT_NEW(tt_program_file);
    tt_rc rc = tt_program_locate(c->env, name, file, err);
    if (rc == TT_OK)
        *ret = described(c, file);
    free(file);
    return rc;
}

typedef struct {
    tt_catalog *c;
    void (*fn)(void *arg, const tt_program *p);
    void *arg;
} walk;

static bool visit(void *arg, const tt_program_file *file)
{
    const walk *w = arg;
    tt_program *p = described(w->c, file);
    w->fn(w->arg, p);
    tt_program_unref(p);
    return true;
}

void tt_catalog_each(tt_catalog *c, void (*fn)(void *arg, const tt_program *p), void *arg) { tt_program_each(c->env, visit, &(walk){c, fn, arg}); }

/* ---- watching ---- */

/* Folders that came to be since the last look; true: all are watched. */
static bool watch_dirs(tt_catalog *c)
{
    size_t count;
    bool all = true;
    const tt_str *dirs = tt_program_dirs(c->env, &count);
    for (size_t i = 0; i < count; i++) {
        if (c->wds[i] < 0)
            c->wds[i] = inotify_add_watch(c->inotify_fd, dirs[i].ptr, IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVE | IN_ATTRIB | IN_DELETE_SELF | IN_ONLYDIR);
        all &= c->wds[i] >= 0;
    }
    return all;
}

/* Reads what was told; true: anything. A folder that is gone is looked for again. */
static bool take_events(tt_catalog *c)
{
    char bytes[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    size_t count;
    bool any = false;
    tt_program_dirs(c->env, &count);
    for (ssize_t n; (n = read(c->inotify_fd, bytes, sizeof bytes)) > 0;)
        for (char *at = bytes; at < bytes + n;) {
            const struct inotify_event *e = (void *)at;
            for (size_t i = 0; i < count; i++)
                if (c->wds[i] == e->wd && (e->mask & IN_IGNORED))
                    c->wds[i] = -1;
            any = true;
            at += sizeof *e + e->len;
        }
    return any;
}

static bool is_over(const tt_catalog *c, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = c->wake_fd, .events = POLLIN}, {.fd = c->inotify_fd, .events = POLLIN}};
    poll(fds, TT_COUNT(fds), timeout_ms);
    return fds[0].revents != 0;
}

/* Those of a server that is about to end nobody needs. */
static bool visit_ahead(void *arg, const tt_program_file *file)
{
    tt_catalog *c = arg;
    tt_program_unref(described(c, file));
    return !c->ends;
}

static void *watch_main(void *arg)
{
    tt_catalog *c = arg;
    pthread_setname_np(pthread_self(), "programs");
    bool all = watch_dirs(c);
    if (is_over(c, FIRST_MS)) /* a server that has just started has more urgent things to do */
        return NULL;
    for (tt_program_each(c->env, visit_ahead, c); !is_over(c, all ? -1 : LOOK_AGAIN_MS);) {
        bool changed = take_events(c);
        all = watch_dirs(c);
        while (changed && !is_over(c, QUIET_MS) && take_events(c)) /* until whoever writes there pauses */
            ;
        pthread_mutex_lock(&c->lock);
        c->generation += changed;
        pthread_mutex_unlock(&c->lock);
        tt_program_each(c->env, visit_ahead, c);
    }
    return NULL;
}

tt_rc tt_catalog_watch(tt_catalog *c, tt_err *err)
{
    size_t count;
    tt_program_dirs(c->env, &count);
    const char *own = tt_program_own_dir(c->env);
    if (mkdir(own, 0700) != 0 && errno != EEXIST)
        return tt_fail_errno(err, errno, "cannot make the directory `%s`", own);
    c->wds = tt_new_bytes(count * sizeof *c->wds);
    for (size_t i = 0; i < count; i++)
        c->wds[i] = -1;
    c->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->inotify_fd < 0 || c->wake_fd < 0)
        return tt_fail_errno(err, errno, "cannot watch the folders of programs");
    int errnum = pthread_create(&c->thread, NULL, watch_main, c);
    c->watches = errnum == 0;
    return c->watches ? TT_OK : tt_fail_errno(err, errnum, "cannot start the thread that watches programs");
}

void tt_catalog_free(tt_catalog *c)
{
    uint64_t one = 1;
    if (!c)
        return;
    c->ends = true;
    if (c->watches && write(c->wake_fd, &one, sizeof one) > 0)
        pthread_join(c->thread, NULL);
    for (size_t i = 0; i < c->entries.len; i++)
        tt_program_unref(c->entries.ptr[i].program);
    tt_vec_deinit(&c->entries);
    tt_fd_close(&c->inotify_fd);
    tt_fd_close(&c->wake_fd);
    pthread_mutex_destroy(&c->lock);
    tt_program_env_free(c->env);
    free(c->wds);
    free(c);
}
