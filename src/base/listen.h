/* Listening sockets: parse an address, bind, tell its name; Unix sockets of any path length; sockets handed over by systemd.
 * All are close-on-exec and do not block. Any thread, except tt_listen_unix (it changes the umask for a moment). */
#ifndef TT_BASE_LISTEN_H
#define TT_BASE_LISTEN_H

#include <sys/socket.h>
#include <sys/types.h>

#include "base/str.h"

enum { TT_ADDRESS_TEXT = 128 };

typedef struct {
    struct sockaddr_storage addr;
    socklen_t len;
    bool both;        /* ":PORT": IPv6 and IPv4 on all interfaces */
    char *unix_path;  /* heap; NULL: TCP */
} tt_address;

/* `ADDR:PORT`, `localhost:PORT`, `[V6]:PORT`, `:PORT`, `unix:/PATH`. TT_INVALID says how to write one. */
tt_rc tt_address_parse(tt_str text, tt_address *ret, tt_err *err) TT_MUST_CHECK;
void tt_address_deinit(tt_address *a);
/* Whether only this machine can reach it. */
bool tt_address_is_local(const tt_address *a);
/* TT_DENIED for an address that others can reach when there is neither a token nor --insecure. */
tt_rc tt_address_check_access(const tt_address *a, bool has_token, bool insecure, tt_err *err) TT_MUST_CHECK;

/* Bind and listen. An address in use is TT_CONFLICT. A Unix socket gets mode 0660; a stale one in its place is removed. */
tt_rc tt_listen_open(const tt_address *a, int *ret_fd, tt_err *err) TT_MUST_CHECK;
/* A Unix socket at path with this mode. Whatever socket lies there is replaced: the caller knows that nobody serves it. */
tt_rc tt_listen_unix(const char *path, mode_t mode, int *ret_fd, tt_err *err) TT_MUST_CHECK;
/* What a listening socket is bound to. */
tt_rc tt_listen_address(int fd, tt_address *ret, tt_err *err) TT_MUST_CHECK;
/* "http://127.0.0.1:5005", "http://[::1]:80", "unix:/path" of a socket. */
const char *tt_listen_url(int fd, char out[TT_ADDRESS_TEXT]);
/* Sockets given by systemd (LISTEN_FDS, for this process): how many; they are 3, 4, ... The variables are taken out of the environment. */
size_t tt_listen_inherited(void);

#endif
