/* Inside of the connections to other machines' files: what remote.c and the protocols share. Nobody else includes this. */
#ifndef TT_IO_REMOTE_IMPL_H
#define TT_IO_REMOTE_IMPL_H

#include "io/remote.h"

typedef struct {
    const char *scheme;
    int port;
    tt_rc (*open)(tt_remote *r, const tt_remote_spec *spec, tt_err *err);
    void (*close)(tt_remote *r);
    tt_rc (*list)(tt_remote *r, const char *dir, tt_remote_entry_fn *fn, void *arg, tt_err *err);
    tt_rc (*stat)(tt_remote *r, const char *path, tt_remote_entry *ret, tt_err *err);
    tt_rc (*get)(tt_remote *r, const char *path, uint64_t at, int fd, uint64_t *ret_bytes, tt_err *err);
    tt_rc (*put)(tt_remote *r, const char *path, uint64_t at, int fd, tt_err *err);
    tt_rc (*rename)(tt_remote *r, const char *from, const char *to, tt_err *err);
    tt_rc (*remove)(tt_remote *r, const char *path, tt_err *err);
} tt_remote_protocol;

extern const tt_remote_protocol tt_remote_sftp, tt_remote_ftp, tt_remote_ftps;

struct tt_remote {
    const tt_remote_protocol *protocol;
    char *user, *password, *host, *path; /* "" when not given */
    char *shown;                         /* scheme and host */
    int port;
    int64_t timeout_ms;
    void *own;                           /* the protocol's */
};

#endif
