/* How a verb reaches the routes: a server named by --server; else the socket of the data directory; else, when nobody
 * answers there and the verb allows it, the same routes inside this process. Chosen at the first call and then kept.
 * One thread. Errors are the server's own sentences with the code that belongs to them. */
#ifndef TT_CLI_TRANSPORT_H
#define TT_CLI_TRANSPORT_H

#include "cli/command.h"

typedef struct tt_transport tt_transport;

/* How long calls may wait beyond --timeout, because they ask the server to wait. Before the first call. */
void tt_transport_allow_ms(tt_cli *cli, int64_t extra_ms);
/* As tt_cli_call, but statuses of 400 and above are the caller's business. */
tt_rc tt_transport_call(tt_cli *cli, const char *method, const char *target, tt_str body,
                        int *ret_status, tt_buf *ret_body, tt_err *err) TT_MUST_CHECK;
/* A stream of bytes until its end or until on_bytes returns false. */
tt_rc tt_transport_stream(tt_cli *cli, const char *target, bool (*on_bytes)(void *arg, tt_str bytes), void *arg,
                          int *ret_status, tt_err *err) TT_MUST_CHECK;
/* The same of a POST with a body; in this process the bytes come all at once. */
tt_rc tt_transport_post_stream(tt_cli *cli, const char *target, tt_str body, bool (*on_bytes)(void *arg, tt_str bytes), void *arg,
                               int *ret_status, tt_err *err) TT_MUST_CHECK;
/* POST: the answer becomes the file at path, when all of it is there and its status is no error; that becomes ours. */
tt_rc tt_transport_fetch(tt_cli *cli, const char *target, tt_str body, const char *path, tt_err *err) TT_MUST_CHECK;
/* Chooses now; "unix:/path", "http://..." or "in this process". */
tt_rc tt_transport_where(tt_cli *cli, const char **ret, tt_err *err) TT_MUST_CHECK;
/* Whether the other side shares our files, so that relative paths may be made absolute here. */
tt_rc tt_transport_is_here(tt_cli *cli, bool *ret, tt_err *err) TT_MUST_CHECK;
/* A second connection to the same place, for another thread (tt_http_free); NULL inside this process. */
struct tt_http *tt_transport_second(tt_cli *cli, int64_t timeout_ms);
void tt_transport_free(tt_transport *t);

/* DIR/tutti.sock, in the command's arena. */
tt_rc tt_cli_socket_path(tt_cli *cli, const char **ret, tt_err *err) TT_MUST_CHECK;
tt_rc tt_cli_data_dir(tt_cli *cli, tt_str *ret, tt_err *err) TT_MUST_CHECK;
/* Turns an answer of 400 and above into an error; TT_OK for others. */
tt_rc tt_cli_check_status(tt_cli *cli, int status, tt_str body, tt_err *err) TT_MUST_CHECK;

/* Appends s percent-encoded, for paths and query values. */
void tt_buf_url(tt_buf *b, tt_str s);
/* Appends "?name=value" or "&name=value", when value is not empty. */
void tt_buf_query(tt_buf *b, const char *name, tt_str value);

#endif
