/* Whole transfers at an offset of a file, through the table of system calls: interrupted and short calls are
 * continued. Results are errno values (0: done), because only the caller knows the sentence. Any thread. */
#ifndef TT_IO_FD_H
#define TT_IO_FD_H

#include "base/err.h"

/* An owned descriptor; starts as -1. */
#define TT_FD_AUTO __attribute__((cleanup(tt_fd_close)))
void tt_fd_close(int *fd); /* *fd becomes -1; -1 is fine */
static inline int tt_fd_take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* A new file in dir that has no name and is gone when it is closed; -1 with errno. */
int tt_fd_open_unlinked(const char *dir) TT_MUST_CHECK;
/* Up to cap bytes; *ret_len < cap only at the end of the file. */
int tt_fd_read_at(int fd, uint64_t at, void *buf, size_t cap, size_t *ret_len) TT_MUST_CHECK;
/* All bytes, or an error after an unknown part of them. */
int tt_fd_write_at(int fd, uint64_t at, const void *ptr, size_t len) TT_MUST_CHECK;

#endif
