#include "work/program_state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/sys.h"
#include "io/fd.h"

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
    return errnum == 0 ? TT_OK : tt_fail_errno(err, errnum, "cannot keep what a program remembers in `%s`", path);
}

static tt_rc replace(const char *path, const json_t *all, tt_err *err)
{
    TT_BUF_AUTO tt_buf made = {0};
    char *text = json_dumps(all, JSON_COMPACT);
    size_t len = text ? strlen(text) : 0;
    tt_buf_printf(&made, "%s.new", path);
    tt_rc rc = !text || made.failed ? tt_fail(err, TT_NOMEM, "out of memory")
               : len > TT_PROGRAM_STATE_BYTES ? tt_fail(err, TT_TOO_LARGE, "what the program remembers has %zu bytes: at most %d are kept", len, TT_PROGRAM_STATE_BYTES)
               : write_text(tt_buf_cstr(&made), (tt_str){text, len}, err);
    free(text);
    TT_TRY(rc);
    return tt_sys.rename(tt_buf_cstr(&made), path) == 0 ? TT_OK : tt_fail_errno(err, errno, "cannot keep what a program remembers in `%s`", path);
}

tt_rc tt_program_state_keep(const char *dir, const char *program, const json_t *changes, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    json_t *all = NULL;
    if (json_object_size(changes) == 0)
        return TT_OK;
    tt_buf_printf(&path, "%s/%s.json", dir, program);
    TT_TRY(tt_buf_check(&path, err));
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return tt_fail_errno(err, errno, "cannot make the directory `%s`", dir);
    TT_FD_AUTO int lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX) != 0)
        return tt_fail_errno(err, errno, "cannot lock the directory `%s`", dir);
    TT_TRY(changed(tt_buf_cstr(&path), changes, &all, err));
    tt_rc rc = replace(tt_buf_cstr(&path), all, err);
    json_decref(all);
    if (rc == TT_OK && tt_sys.fsync(lock) != 0)
        rc = tt_fail_errno(err, errno, "cannot keep what a program remembers in `%s`", dir);
    return rc;
}
