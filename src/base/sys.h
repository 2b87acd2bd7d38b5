/* The table of system calls that tests can make fail. Everything that tutti promises about durability goes
 * through it: tt_sys.write(...), tt_sys.fdatasync(...). Rows are in sys.def.
 *
 * Faults come from the environment, TUTTI_FAULT, a comma-separated list of CALL:N:WHAT where N counts this
 * process's calls of that row from 1, `N+` means the N-th and all later ones, and WHAT is an errno name
 * (EIO, ENOSPC, ENOMEM), `short` (half is written, then ENOSPC) or `kill` (SIGKILL instead of the call),
 * e.g. TUTTI_FAULT=fdatasync:3:EIO,pwrite:10+:ENOSPC. Without it the table holds libc's own functions and costs
 * one indirect call. Set once at start, before threads; tests in one process use tt_sys_fault_arm. */
#ifndef TT_BASE_SYS_H
#define TT_BASE_SYS_H

#include <sys/types.h>

#include "base/err.h"

typedef struct {
#define TT_SYS(name, type, params, args, failed) type(*name) params;
#include "base/sys.def"
#undef TT_SYS
} tt_sys_table;

extern tt_sys_table tt_sys;

/* Read TUTTI_FAULT, if set. TT_INVALID names the part that is wrong. */
tt_rc tt_sys_init(tt_err *err) TT_MUST_CHECK;
/* Replace the faults by the list in text (NULL or "": none) and set all counts to 0. */
tt_rc tt_sys_fault_arm(const char *text, tt_err *err) TT_MUST_CHECK;
/* How often CALL was made since arming (only counted while any fault is armed), and how many faults struck. */
uint64_t tt_sys_fault_calls(const char *call);
uint64_t tt_sys_fault_hits(void);

#endif
