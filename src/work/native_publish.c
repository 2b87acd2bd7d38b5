/* The program files_publish: files of this machine go to a folder of another one, each once and whole. A file is written beside its place
 * under a name that says of which content it is, goes on where an earlier run stopped, and takes its place when all of it is there. A file that is
 * there already is compared: the same content is well, another one is never overwritten. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/mem.h"
#include "io/fd.h"
#include "work/native.h"
#include "work/native_files.h"

typedef struct {
    const tutti_host *t;
    tt_remote *remote;
    tt_native_tally *tally;
} publish;

/* Of the first size bytes; another length is another hash. */
static tt_rc hash_of(int fd, uint64_t *ret, uint64_t *ret_size, tt_err *err)
{
    char piece[65536];
    size_t len = 0;
    int errnum = 0;
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return tt_fail(err, TT_NOMEM, "out of memory");
    XXH3_64bits_reset(state);
    uint64_t at = 0;
    for (; (errnum = tt_fd_read_at(fd, at, piece, sizeof piece, &len)) == 0 && len > 0; at += len)
        XXH3_64bits_update(state, piece, len);
    *ret = XXH3_64bits_digest(state);
    *ret_size = at;
    XXH3_freeState(state);
    return errnum == 0 ? TT_OK : tt_fail_errno(err, errnum, "cannot read a file that is to be published");
}

/* What is there is what is here: fetched once more and compared, for its size says little. */
static tt_rc compare(publish *p, const char *there, uint64_t hash, tt_err *err)
{
    uint64_t bytes = 0, other = 0;
    const char *tmp = getenv("TMPDIR");
    TT_FD_AUTO int fd = tt_fd_open_unlinked(tmp && *tmp ? tmp : "/tmp");
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot make a temporary file");
    TT_TRY(tt_remote_get(p->remote, there, 0, fd, &bytes, err));
    TT_TRY(hash_of(fd, &other, &bytes, err));
    return other == hash ? TT_OK : tt_fail(err, TT_EXISTS, "`%.200s` of %s is there already and has another content: it was left as it is", there, tt_remote_host(p->remote));
}

static tt_rc send(publish *p, const char *part, int fd, uint64_t size, tt_err *err)
{
    tt_remote_entry e;
    tt_rc rc = tt_remote_stat(p->remote, part, &e, err);
    uint64_t at = rc == TT_OK && e.size_bytes <= size ? e.size_bytes : 0;
    if (rc != TT_OK && rc != TT_NOT_FOUND)
        return rc;
    if (at)
        p->t->log(p->t, "%s: went on at byte %llu", part, (unsigned long long)at);
    if (at < size || at == 0)
        TT_TRY(tt_remote_put(p->remote, part, at, fd, err));
    TT_TRY(tt_remote_stat(p->remote, part, &e, err));
    if (e.size_bytes != size)
        return tt_fail(err, TT_UNAVAILABLE, "`%.200s` of %s has %llu bytes where %llu were sent", part, tt_remote_host(p->remote), (unsigned long long)e.size_bytes, (unsigned long long)size);
    return TT_OK;
}

static tt_rc publish_open(publish *p, int fd, const char *dir, const char *name, tt_err *err)
{
    TT_BUF_AUTO tt_buf there = {0}, part = {0}, hidden = {0};
    tt_remote_entry e;
    uint64_t hash = 0, size = 0;
    TT_TRY(hash_of(fd, &hash, &size, err));
    tt_native_join(&there, dir, name);
    tt_buf_printf(&hidden, ".%s.%016llx.part", name, (unsigned long long)hash);
    tt_native_join(&part, dir, tt_buf_cstr(&hidden));
    TT_TRY(tt_buf_check(&part, err));
    tt_rc rc = tt_remote_stat(p->remote, tt_buf_cstr(&there), &e, err);
    if (rc == TT_OK) {
        TT_TRY(compare(p, tt_buf_cstr(&there), hash, err));
        return tt_native_unchanged(p->t, p->tally), TT_OK;
    }
    if (rc != TT_NOT_FOUND)
        return rc;
    p->t->update(p->t, "transfer", name);
    TT_TRY(send(p, tt_buf_cstr(&part), fd, size, err));
    TT_TRY(tt_remote_rename(p->remote, tt_buf_cstr(&part), tt_buf_cstr(&there), err));
    tt_native_moved(p->t, p->tally, tt_buf_cstr(&there), size);
    return TT_OK;
}

tt_rc tt_native_publish_file(const tutti_host *t, tt_remote *remote, int fd, const char *name, tt_native_tally *tally, tt_err *err)
{
    publish p = {.t = t, .remote = remote, .tally = tally};
    if (!tt_remote_name_ok(tt_str_of(name)))
        return tt_fail(err, TT_INVALID, "`%.200s` is no name that can be published", name);
    return publish_open(&p, fd, tt_remote_path(remote), name, err);
}

static tt_rc publish_path(const tutti_host *t, tt_remote *remote, const tt_roots *roots, const char *path, tt_native_tally *tally, tt_err *err)
{
    TT_FD_AUTO int fd = -1;
    const char *slash = strrchr(path, '/');
    TT_TRY(tt_roots_open(roots, tt_str_of(path), O_RDONLY | O_CLOEXEC, 0, &fd, NULL, err));
    return tt_native_publish_file(t, remote, fd, slash ? slash + 1 : path, tally, err);
}

static tt_rc publish_all(const tutti_host *t, const tt_roots *roots, tt_native_tally *tally, tt_err *err)
{
    tt_paths paths = {0};
    tt_remote *remote = NULL;
    tt_rc rc = tt_roots_glob(roots, tt_str_of(t->text(t, "from")), &paths, err);
    if (rc == TT_OK)
        rc = tt_native_connect(t, &remote, err);
    for (size_t i = 0; i < paths.len && rc == TT_OK; i++)
        rc = publish_path(t, remote, roots, paths.ptr[i], tally, err);
    tt_paths_deinit(&paths);
    tt_remote_close(remote);
    return rc;
}

static int run(const tutti_host *t)
{
    tt_err err = {0};
    tt_native_tally tally = {0};
    tt_roots *roots = NULL;
    tt_rc rc = tt_native_roots(&roots, &err);
    if (rc == TT_OK)
        rc = publish_all(t, roots, &tally, &err);
    tt_roots_free(roots);
    return tt_native_end(t, &tally, rc, &err);
}

static const tutti_setting settings[] = {
    {"from", TUTTI_STR, .description = "a file here, or a pattern"},
    {"url", TUTTI_STR, .description = "the directory there: sftp://HOST/PATH, ftp://, ftps://"},
    TT_CONNECTION_SETTINGS,
    {0},
};

const tutti_program tt_native_files_publish = {
    .size = sizeof(tutti_program), .display_name = "FilesPublish", .description = "Publishes files over SFTP or FTP, each whole and never over another.", .settings = settings, .run = run,
};
