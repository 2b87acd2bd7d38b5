#include "io/dirs.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/buf.h"

tt_rc tt_dirs_make(const char *path, tt_err *err)
{
    TT_BUF_AUTO tt_buf parent = {0};
    const char *slash = strrchr(path, '/');
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return TT_OK;
    if (errno != ENOENT || !slash || slash == path)
        return tt_fail_errno(err, errno, "cannot make the directory `%s`", path);
    tt_buf_put(&parent, path, (size_t)(slash - path));
    TT_TRY(tt_buf_check(&parent, err));
    TT_TRY(tt_dirs_make(tt_buf_cstr(&parent), err));
    return mkdir(path, 0700) == 0 || errno == EEXIST ? TT_OK : tt_fail_errno(err, errno, "cannot make the directory `%s`", path);
}
