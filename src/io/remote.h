/* Files on another machine, over SFTP (libssh), FTP or FTPS (libcurl); the libraries are loaded when the first connection of their kind is
 * opened. To add a protocol: write remote_x.c with a row like theirs, and add it to the table in remote.c.
 *
 * Who answers is checked before a password is sent: an SFTP host by its key, an FTPS host by its certificate. Names that come from there are
 * only ever single names (no `/`, no `..`): others are left out. A connection is used by one thread; calls wait, at most as long as the
 * spec's timeout for each answer. Failures: TT_UNAVAILABLE (again later), TT_DENIED, TT_NOT_FOUND, TT_EXISTS, TT_TIMEOUT, else TT_FAILED. */
#ifndef TT_IO_REMOTE_H
#define TT_IO_REMOTE_H

#include "base/buf.h"

typedef struct tt_remote tt_remote;

typedef struct {
    tt_str url;                /* sftp://[USER@]HOST[:PORT]/PATH, ftp:// and ftps:// likewise; a PATH that begins with /~/ is below the user's home */
    tt_str user, password;     /* beside the URL's user; may be empty */
    tt_str key, key_password;  /* SFTP: a private key, as the text of its file; may be empty */
    tt_str host_key;           /* SFTP: the fingerprint that the host's key must have, `SHA256:...`; empty: known_hosts says */
    tt_str known_hosts;        /* SFTP: path; empty: the user's own */
    tt_str ca_file;            /* FTPS: who else may vouch for a certificate; may be empty */
    int64_t timeout_ms;        /* 0: a minute */
} tt_remote_spec;

typedef struct {
    tt_str name;
    bool is_dir;
    uint64_t size_bytes;
    int64_t changed_s;         /* wall clock; 0: unknown */
} tt_remote_entry;

tt_rc tt_remote_open(const tt_remote_spec *spec, tt_remote **ret, tt_err *err) TT_MUST_CHECK;
void tt_remote_close(tt_remote *r);         /* NULL is fine */
const char *tt_remote_path(const tt_remote *r);  /* of the URL, `/` at the beginning */
const char *tt_remote_host(const tt_remote *r);  /* for messages: sftp://HOST */

/* Files and directories of a directory; links to files count as files. fn's failure ends it. */
typedef tt_rc tt_remote_entry_fn(void *arg, const tt_remote_entry *entry, tt_err *err);
tt_rc tt_remote_list(tt_remote *r, const char *dir, tt_remote_entry_fn *fn, void *arg, tt_err *err) TT_MUST_CHECK;
/* ret->name is path's. TT_NOT_FOUND. */
tt_rc tt_remote_stat(tt_remote *r, const char *path, tt_remote_entry *ret, tt_err *err) TT_MUST_CHECK;
/* What stands in the file from offset at on goes to the same place of fd. *ret_bytes: where it ended. */
tt_rc tt_remote_get(tt_remote *r, const char *path, uint64_t at, int fd, uint64_t *ret_bytes, tt_err *err) TT_MUST_CHECK;
/* What fd holds from offset at on is written there, behind the at bytes that are there already; at 0 begins the file anew. */
tt_rc tt_remote_put(tt_remote *r, const char *path, uint64_t at, int fd, tt_err *err) TT_MUST_CHECK;
/* Whether a file of the new name gives way depends on the server: look first. */
tt_rc tt_remote_rename(tt_remote *r, const char *from, const char *to, tt_err *err) TT_MUST_CHECK;
tt_rc tt_remote_remove(tt_remote *r, const char *path, tt_err *err) TT_MUST_CHECK;

/* A name that may come from a server or go there: not empty, no `.` or `..`, no `/` and no control characters. */
bool tt_remote_name_ok(tt_str name);

#endif
