/* Descriptors on loan. The inputs and outputs of jobs can be ten thousands of files, and descriptors are few. So a file that is held for long has a
 * handle: while somebody uses it, it is pinned; else it may be closed when many are open, the one that was used longest ago first. At the next
 * use its owner opens it again, after a look whether it is still the same file.
 *
 *   closed --the owner opens it, tt_handle_opened--> pinned --the last unpin--> idle --too many are open--> closed
 *                                                       ^---------pin-----------'
 *
 * One table for the whole process, which lends at most half of the descriptors that the process may have (4096 at most); what is pinned is never closed, and
 * so may exceed that. Any thread. */
#ifndef TT_IO_HANDLE_H
#define TT_IO_HANDLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

typedef struct tt_handle {
    void (*close)(struct tt_handle *h); /* gives the descriptors up; quick, and must not come back here: the table is locked */
    /* the table's */
    unsigned pins, descriptors;
    bool open;
    struct tt_handle *newer, *older; /* idle ones */
} tt_handle;

/* True: it is open, and stays so until it is unpinned. False: the caller opens it and says tt_handle_opened; two must not do so at once. */
bool tt_handle_pin(tt_handle *h) TT_MUST_CHECK;
/* It holds so many descriptors, and is pinned. */
void tt_handle_opened(tt_handle *h, unsigned descriptors);
void tt_handle_unpin(tt_handle *h);
/* Closes it, whoever has pinned it: its owner ends. */
void tt_handle_drop(tt_handle *h);

/* An open failed with this errno: true when idle descriptors were closed, so that it is worth another try. */
bool tt_handles_make_room(int errnum);
/* So many are pinned that whoever need not keep one should not. */
bool tt_handles_are_scarce(void);
typedef struct {
    size_t limit, open, pinned; /* descriptors */
    size_t reopened;            /* times that a handle was opened after it had been closed for others */
} tt_handles_state;
void tt_handles_get(tt_handles_state *ret);
/* For tests: 0 is the limit that follows from the process's own. */
void tt_handles_limit(size_t descriptors);

#endif
