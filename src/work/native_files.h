/* What the programs that fetch and publish files share: the settings of a connection, and the end of a run. */
#ifndef TT_WORK_NATIVE_FILES_H
#define TT_WORK_NATIVE_FILES_H

#include "io/remote.h"
#include "tutti/program.h"

/* Rows of a table of settings, for both. */
#define TT_CONNECTION_SETTINGS                                                                                                                  \
    {"user", TUTTI_STR, "", "who logs in"}, {"password", TUTTI_SECRET, "", "the password"},                                                     \
    {"key", TUTTI_SECRET, "", "a private key, as the text of its file (SFTP)"}, {"key_password", TUTTI_SECRET, "", "what opens the key"},        \
    {"host_key", TUTTI_STR, "", "the fingerprint of the host's key, SHA256:... (SFTP)"},                                                        \
    {"known_hosts", TUTTI_STR, "", "a file of known hosts, in place of the user's own (SFTP)"},                                                 \
    {"ca_file", TUTTI_STR, "", "who else may vouch for a certificate (FTPS)"}, {"timeout_s", TUTTI_INT, "60", "how long an answer may take"}

tt_rc tt_native_connect(const tutti_host *t, tt_remote **ret, tt_err *err) TT_MUST_CHECK;

/* What a run did. */
typedef struct {
    int64_t moved, unchanged, bytes;
    tt_buf names;     /* of the files that were moved, as the inside of a JSON list, as far as there is room */
} tt_native_tally;

void tt_native_moved(const tutti_host *t, tt_native_tally *tally, const char *name, uint64_t bytes);
void tt_native_unchanged(const tutti_host *t, tt_native_tally *tally);
/* The result, or the failure; what run() gives. */
int tt_native_end(const tutti_host *t, tt_native_tally *tally, tt_rc rc, const tt_err *err);
/* The file there into fd, which holds nothing or what an earlier run began of the same state of it (e: its size and time): then it goes on behind that. Synced, with its time. */
tt_rc tt_native_get_file(const tutti_host *t, tt_remote *remote, const char *there, const tt_remote_entry *e, int fd, tt_err *err) TT_MUST_CHECK;
/* What fd holds becomes the file NAME in the directory of the address: whole, once, never over another one (native_publish.c). */
tt_rc tt_native_publish_file(const tutti_host *t, tt_remote *remote, int fd, const char *name, tt_native_tally *tally, tt_err *err) TT_MUST_CHECK;
/* DIR and NAME with one slash between; NULL-ended, in out, which is cleared before. */
const char *tt_native_join(tt_buf *out, const char *dir, const char *name);

#endif
