/* Does a server answer at this socket, and may we talk to it? Any thread. */
#ifndef TT_IO_SOCKET_PROBE_H
#define TT_IO_SOCKET_PROBE_H

#include "base/err.h"

/* TT_UNAVAILABLE: nobody answers there. TT_DENIED: we may not connect, with the name of who may. */
tt_rc tt_socket_probe(const char *path, tt_err *err) TT_MUST_CHECK;

#endif
