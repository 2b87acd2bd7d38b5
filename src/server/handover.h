/* What a server serves with: the locked data directory and the listening sockets. A supervisor makes it, keeps it open while servers come
 * and go, and hands it to each of them; a server that runs alone makes its own. So there is one place that locks and binds.
 *
 * Between the two processes: the server's descriptor 3 is the lock, 4 a pipe that says "ready" by one byte, 5 and up are the sockets,
 * DIR/tutti.sock first; TUTTI_HANDOVER=<supervisor's pid>:<number of sockets> says so. The server holds the lock as well: a directory is free
 * again only when nobody can write to it any more. Use from the main thread, before others exist. */
#ifndef TT_SERVER_HANDOVER_H
#define TT_SERVER_HANDOVER_H

#include "base/option.h"

typedef struct {
    bool is_owner;   /* made here: closing removes DIR/tutti.sock */
    char *socket_path;
    int lock_fd;
    int ready_fd;    /* -1: no supervisor waits */
    int *fds;        /* listening sockets, fds[0] is DIR/tutti.sock */
    size_t count;
    bool is_given;   /* the sockets belong to the HTTP server now, which closes them */
} tt_handover;

/* Create the directory (0700) when missing, lock it, bind server.listen (or take systemd's sockets) and DIR/tutti.sock (0600).
 * TT_LOCKED names the process that has the directory; TT_DENIED refuses an open address without a token; TT_CONFLICT: address in use. */
tt_rc tt_handover_make(const tt_options *o, tt_handover *ret, tt_err *err) TT_MUST_CHECK;
/* Only the directory and its lock, without sockets: for a command that finds no server running. */
tt_rc tt_handover_lock(const tt_options *o, tt_handover *ret, tt_err *err) TT_MUST_CHECK;
/* For a server: what its supervisor gave, else as tt_handover_make. */
tt_rc tt_handover_take(const tt_options *o, tt_handover *ret, tt_err *err) TT_MUST_CHECK;
/* The server serves: tells the supervisor, or (alone) systemd and standard output. */
void tt_handover_ready(tt_handover *h);
/* Are the addresses that are open still allowed with these settings? A reload may take the token away. */
tt_rc tt_handover_check(const tt_handover *h, const tt_options *o, tt_err *err) TT_MUST_CHECK;
/* `listening on http://ADDR:PORT` on standard output, for each socket but DIR/tutti.sock. */
void tt_handover_announce(const tt_handover *h);
void tt_handover_close(tt_handover *h);

#endif
