#include "io/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/sys.h"
#include "io/fd.h"

enum { FLUSH_BYTES = 1 << 20 };

struct tt_whole_file {
    char *path, *part;
    int fd;
    uint64_t at;
    tt_buf out;
    bool is_finished;
};

tt_rc tt_whole_file_check(const char *path, tt_err *err)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? tt_fail(err, TT_USAGE, "%s is a directory: give the name of a file in it", path) : TT_OK;
}

tt_rc tt_whole_file_fail_create(const char *path, tt_err *err)
{
    int why = errno;
    return tt_fail_errno(err, why, "%s: cannot create%s", path, why == ENOENT ? ", its directory is not there" : "");
}

static tt_rc open_part(tt_whole_file *f, tt_err *err)
{
    TT_BUF_AUTO tt_buf part = {0};
    tt_buf_printf(&part, "%s.part", f->path);
    TT_TRY(tt_buf_check(&part, err));
    TT_TRY(tt_whole_file_check(f->path, err));
    f->part = tt_dup_cstr(tt_buf_cstr(&part));
    f->fd = tt_sys.open(f->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return f->fd >= 0 ? TT_OK : tt_whole_file_fail_create(f->path, err);
}

tt_rc tt_whole_file_create(const char *path, tt_whole_file **ret, tt_err *err)
{
    tt_whole_file *f = TT_NEW(tt_whole_file);
    f->path = tt_dup_cstr(path);
    f->fd = -1;
    tt_rc rc = open_part(f, err);
    if (rc == TT_OK)
        *ret = f;
    else
        tt_whole_file_free(f);
    return rc;
}

void tt_whole_file_free(tt_whole_file *f)
{
    if (!f)
        return;
    if (f->fd >= 0 && !f->is_finished)
        tt_sys.unlink(f->part);
    tt_fd_close(&f->fd);
    tt_buf_deinit(&f->out);
    free(f->path);
    free(f->part);
    free(f);
}

tt_buf *tt_whole_file_out(tt_whole_file *f) { return &f->out; }

static tt_rc write_out(tt_whole_file *f, tt_err *err)
{
    TT_TRY(tt_buf_check(&f->out, err));
    int errnum = tt_fd_write_at(f->fd, f->at, f->out.ptr, f->out.len);
    if (errnum)
        return tt_fail_errno(err, errnum, "%s: cannot write", f->path);
    f->at += f->out.len;
    tt_buf_clear(&f->out);
    return TT_OK;
}

tt_rc tt_whole_file_flush(tt_whole_file *f, tt_err *err) { return f->out.len > FLUSH_BYTES ? write_out(f, err) : TT_OK; }

tt_rc tt_whole_file_finish(tt_whole_file *f, tt_err *err)
{
    TT_TRY(write_out(f, err));
    if (tt_sys.fsync(f->fd) != 0 || tt_sys.rename(f->part, f->path) != 0)
        return tt_fail_errno(err, errno, "%s: cannot complete", f->path);
    f->is_finished = true;
    return TT_OK;
}
