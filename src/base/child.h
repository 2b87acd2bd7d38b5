/* Child processes: spawn with limits and chosen descriptors, wait, kill whole trees. Children die with their parent (PR_SET_PDEATHSIG, re-checked after fork).
 * No shell anywhere: argv arrays. Use from one thread. */
#ifndef TT_BASE_CHILD_H
#define TT_BASE_CHILD_H

#include <signal.h>
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
    const sigset_t *blocked;      /* signals that stay blocked in the child until it reads them (signals.h), so that none is lost or kills it early; NULL: none */
    uint64_t max_memory_bytes;    /* RLIMIT_AS; 0: none */
    uint64_t max_data_bytes;      /* RLIMIT_DATA: what it can write to; reserved addresses do not count; 0: none */
    uint64_t max_cpu_s;           /* RLIMIT_CPU; 0: none */
    uint64_t max_files;           /* RLIMIT_NOFILE; 0: none */
} tt_child_spec;

tt_rc tt_child_spawn(const tt_child_spec *spec, pid_t *ret_pid, tt_err *err) TT_MUST_CHECK;
/* The process pid and everything below it, found through /proc (also what called setsid, and orphans that still are in its
 * process group or session), gets the signal; returns how many. All are stopped first, so that none escapes by forking
 * meanwhile. With our own pid: everything below us, not ourselves. */
size_t tt_child_kill_tree(pid_t pid, int signal);
/* As above for every process of this user (except us and our ancestors) in whose environment mark, "NAME=value", stands, and
 * what is below them: finds also what left its group, session and parents. A mark that ends with `/` stands for all that begin so. */
size_t tt_child_kill_marked(const char *mark, int signal);
/* From now on orphans below us become our children instead of init's, so that tt_child_kill_tree(getpid(), ...) finds them;
 * the caller then reaps children it does not know. */
void tt_child_adopt_orphans(void);
/* Our direct children that are not among known, dead ones that nobody waited for included; the first max of them into ret. */
size_t tt_child_strangers(const pid_t *known, size_t known_count, pid_t *ret, size_t max);
/* Memory of the process and everything below and around it (see tt_child_kill_tree), without what they share with files. */
uint64_t tt_child_tree_memory(pid_t pid);
/* "exit 3", "signal 11 (Segmentation fault)" for a wait status. */
const char *tt_child_status_text(int wait_status, char out[64]);

#endif
