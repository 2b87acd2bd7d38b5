/* Child processes: spawn with limits and chosen descriptors, wait, kill whole trees. Children die with their parent (PR_SET_PDEATHSIG, re-checked after fork).
 * No shell anywhere: argv arrays. Use from one thread. */
#ifndef TT_BASE_CHILD_H
#define TT_BASE_CHILD_H

#include <sys/types.h>

#include "base/err.h"

typedef struct {
    const char *const *argv;      /* NULL-ended; argv[0] is the path ("/proc/self/exe" for ourselves) */
    const char *const *env_add;   /* "NAME=value", NULL-ended; may be NULL */
    const char *cwd;              /* NULL: ours */
    const int *keep_fds;          /* inherited as 3, 4, ... in this order; all others are closed */
    size_t keep_count;
    int stdin_fd, stdout_fd, stderr_fd; /* -1: inherit */
    bool own_group;               /* its own process group (kill the tree with tt_child_kill_tree) */
    int death_signal;             /* sent to the child when the parent dies; 0: SIGKILL */
    uint64_t max_memory_bytes;    /* RLIMIT_AS; 0: none */
    uint64_t max_cpu_s;           /* RLIMIT_CPU; 0: none */
    uint64_t max_files;           /* RLIMIT_NOFILE; 0: none */
} tt_child_spec;

tt_rc tt_child_spawn(const tt_child_spec *spec, pid_t *ret_pid, tt_err *err) TT_MUST_CHECK;
/* Every process below pid, found through /proc (also those that called setsid), gets the signal; returns how many. */
size_t tt_child_kill_tree(pid_t pid, int signal);
/* "exit 3", "signal 11 (Segmentation fault)" for a wait status. */
const char *tt_child_status_text(int wait_status, char out[64]);

#endif
