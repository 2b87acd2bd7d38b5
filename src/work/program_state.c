#include "work/program_state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/sys.h"
#include "io/dirs.h"
#include "io/fd.h"
#include "work/program_inner.h"

/* What is remembered already, with the changes. A new reference. */
static tt_rc changed(const char *path, const json_t *changes, json_t **ret, tt_err *err)
{
    const char *name;
    json_t *value;
    json_error_t where;
    json_t *all = access(path, F_OK) == 0 ? json_load_file(path, 0, &where) : json_object();
    if (!json_is_object(all)) {
        json_decref(all);
        return tt_fail(err, TT_CORRUPT, "`%s`, which a program remembers things in, holds no JSON object: remove it, and the program begins anew", path);
    }
    json_object_foreach((json_t *)(uintptr_t)changes, name, value) {
        if (json_is_null(value))
            json_object_del(all, name);
        else
            json_object_set(all, name, value);
    }
    *ret = all;
    return TT_OK;
}

static tt_rc write_text(const char *path, tt_str text, tt_err *err)
{
    TT_FD_AUTO int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int errnum = fd < 0 ? errno : tt_fd_write_at(fd, 0, text.ptr, text.len);
    if (errnum == 0 && tt_sys.fsync(fd) != 0)
        errnum = errno;
    return errnum == 0 ? TT_OK : tt_fail_errno(err, errnum, "cannot keep `%s`", path);
}

static tt_rc replace(const char *path, const json_t *all, tt_err *err)
{
    TT_BUF_AUTO tt_buf made = {0};
    char *text = json_dumps(all, JSON_COMPACT);
    size_t len = text ? strlen(text) : 0;
    tt_buf_printf(&made, "%s.new", path);
    tt_rc rc = !text || made.failed ? tt_fail(err, TT_NOMEM, "out of memory")
               : len > TT_PROGRAM_STATE_BYTES ? tt_fail(err, TT_TOO_LARGE, "`%s` would have %zu bytes: at most %d are kept", path, len, TT_PROGRAM_STATE_BYTES)
               : write_text(tt_buf_cstr(&made), (tt_str){text, len}, err);
    free(text);
    TT_TRY(rc);
    return tt_sys.rename(tt_buf_cstr(&made), path) == 0 ? TT_OK : tt_fail_errno(err, errno, "cannot keep `%s`", path);
}

/* Open and locked: calls for one directory come after each other. */
static tt_rc lock_dir(const char *dir, int *ret_fd, tt_err *err)
{
    TT_TRY(tt_dirs_make(dir, err));
    TT_FD_AUTO int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        return tt_fail_errno(err, errno, "cannot lock the directory `%s`", dir);
    *ret_fd = tt_fd_take(&fd);
    return TT_OK;
}

static tt_rc replace_and_sync(int dir_fd, const char *path, const json_t *all, tt_err *err)
{
    TT_TRY(replace(path, all, err));
    return tt_sys.fsync(dir_fd) == 0 ? TT_OK : tt_fail_errno(err, errno, "cannot keep `%s`", path);
}

tt_rc tt_program_state_keep(const char *dir, const char *program, const json_t *changes, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    TT_FD_AUTO int lock = -1;
    json_t *all = NULL;
    if (json_object_size(changes) == 0)
        return TT_OK;
    tt_buf_printf(&path, "%s/%s.json", dir, program);
    TT_TRY(tt_buf_check(&path, err));
    TT_TRY(lock_dir(dir, &lock, err));
    TT_TRY(changed(tt_buf_cstr(&path), changes, &all, err));
    tt_rc rc = replace_and_sync(lock, tt_buf_cstr(&path), all, err);
    json_decref(all);
    return rc;
}

tt_rc tt_program_write_json(const char *dir, const char *path, const json_t *all, tt_err *err)
{
    TT_FD_AUTO int lock = -1;
    TT_TRY(lock_dir(dir, &lock, err));
    return replace_and_sync(lock, path, all, err);
}
