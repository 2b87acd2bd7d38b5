/* Plain files behind io/source.h, for a tree in which the io library is not there yet; meson leaves this file out as soon as it is. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/source.h"

struct tt_source {
    int fd;
    char *path;
};

tt_rc tt_roots_new(const tt_str *dirs, size_t count, tt_roots **ret, tt_err *err) { return *ret = NULL, TT_OK; }
void tt_roots_free(tt_roots *roots) {}

tt_rc tt_source_open(const tt_roots *roots, tt_str path, const char *spool_dir, tt_source **ret, tt_err *err)
{
    char *text = tt_str_dup(path);
    int fd = open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        tt_rc rc = tt_fail_errno(err, errno, "`%s` cannot be opened", text);
        free(text);
        return rc;
    }
    *ret = TT_NEW(tt_source);
    **ret = (tt_source){fd, text};
    return TT_OK;
}

void tt_source_close(tt_source *s)
{
    close(s->fd);
    free(s->path);
    free(s);
}

const char *tt_source_path(const tt_source *s) { return s->path; }

tt_rc tt_source_read_at(tt_source *s, uint64_t at, void *buf, size_t cap, size_t *ret_len, tt_err *err)
{
    size_t len = 0;
    for (ssize_t n = 1; len < cap && n != 0; len += (size_t)n) {
        n = pread(s->fd, (char *)buf + len, cap - len, (off_t)(at + len));
        if (n < 0)
            return tt_fail_errno(err, errno, "`%s` cannot be read", s->path);
    }
    *ret_len = len;
    return TT_OK;
}
