/* A guard: a small process that outlives the one that starts it, however that ends, and then kills everything that carries a mark in its environment
 * (tt_child_kill_marked). For a process that nobody watches, so that what its children have started is not left running when it is killed. */
#ifndef TT_BASE_GUARD_H
#define TT_BASE_GUARD_H

#include "base/err.h"

/* mark: "NAME=value", or "NAME=begin/". It guards until this process has ended. Before any thread exists, and before orphans are adopted. */
tt_rc tt_guard_start(const char *mark, tt_err *err) TT_MUST_CHECK;

#endif
