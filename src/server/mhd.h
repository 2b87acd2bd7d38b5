/* The functions of libmicrohttpd, which is loaded when a server starts: it brings a library for TLS and nine more with it, and half of the time that a command
 * which serves nothing would take to start. Set by tt_mhd_load, read by any thread afterwards. */
#ifndef TT_SERVER_MHD_H
#define TT_SERVER_MHD_H

#include <microhttpd.h>

#include "base/err.h"

/* Those that are used; one more needs a row. */
#define TT_MHD_FUNCTIONS(ROW) \
    ROW(MHD_add_response_header) ROW(MHD_create_response_from_buffer) ROW(MHD_create_response_from_buffer_with_free_callback) \
    ROW(MHD_create_response_from_callback) ROW(MHD_create_response_from_fd64) ROW(MHD_create_response_from_fd_at_offset64) \
    ROW(MHD_create_response_from_iovec) ROW(MHD_destroy_response) ROW(MHD_get_connection_info) ROW(MHD_get_connection_values_n) \
    ROW(MHD_queue_response) ROW(MHD_quiesce_daemon) ROW(MHD_resume_connection) ROW(MHD_start_daemon) ROW(MHD_stop_daemon) \
    ROW(MHD_suspend_connection)

typedef struct {
#define ROW(name) __typeof__(name) *name;
    TT_MHD_FUNCTIONS(ROW)
#undef ROW
} tt_mhd_functions;
extern tt_mhd_functions tt_mhd;

/* Any number of times. TT_UNSUPPORTED: it is not installed. */
tt_rc tt_mhd_load(tt_err *err) TT_MUST_CHECK;

#endif
