#include "base/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/vec.h"

extern char **environ;

/* ---- spawn ---- */

/* Everything the child needs, made before the fork: behind it only async-signal-safe calls are allowed. */
typedef struct {
    const tt_child_spec *spec;
    char **env;
    int *moved_fds; /* room for keep_count + 3 numbers */
    pid_t parent;
    int report_fd;  /* gets errno and the step when something fails before exec */
} plan;

typedef enum { STEP_PARENT_DIED, STEP_GROUP, STEP_LIMIT, STEP_FDS, STEP_CWD, STEP_EXEC } step;
static const char *const step_texts[] = {
    [STEP_PARENT_DIED] = "its parent died",        [STEP_GROUP] = "cannot make a process group",
    [STEP_LIMIT] = "cannot set a resource limit",  [STEP_FDS] = "cannot hand over descriptors",
    [STEP_CWD] = "cannot enter its directory",     [STEP_EXEC] = "cannot execute",
};
typedef struct {
    int errnum;
    step at;
} report;

_Noreturn static void give_up(const plan *p, step at)
{
    report r = {errno, at};
    if (write(p->report_fd, &r, sizeof r) < 0)
        _exit(126);
    _exit(127);
}

static void set_limit(const plan *p, __rlimit_resource_t what, uint64_t max)
{
    struct rlimit limit = {.rlim_cur = max, .rlim_max = max};
    if (max && setrlimit(what, &limit) != 0)
        give_up(p, STEP_LIMIT);
}

static void close_others(unsigned first)
{
    if (syscall(SYS_close_range, first, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    struct rlimit files = {.rlim_cur = 1024};
    getrlimit(RLIMIT_NOFILE, &files);
    for (unsigned fd = first; fd < files.rlim_cur && fd < 65536; fd++)
        fcntl((int)fd, F_SETFD, FD_CLOEXEC);
}

/* Sources go to high numbers first, so that no target overwrites one; dup2 clears close-on-exec. */
static void place_fds(plan *p)
{
    const tt_child_spec *spec = p->spec;
    const int standard[] = {spec->stdin_fd, spec->stdout_fd, spec->stderr_fd};
    size_t count = spec->keep_count + 3;
    int above = (int)count;
    p->report_fd = fcntl(p->report_fd, F_DUPFD_CLOEXEC, above);
    for (size_t i = 0; i < count; i++) {
        int from = i < 3 ? standard[i] : spec->keep_fds[i - 3];
        p->moved_fds[i] = from < 0 ? -1 : fcntl(from, F_DUPFD_CLOEXEC, above);
        if (from >= 0 && p->moved_fds[i] < 0)
            give_up(p, STEP_FDS);
    }
    for (size_t i = 0; i < count; i++)
        if (p->moved_fds[i] >= 0 && dup2(p->moved_fds[i], (int)i) < 0)
            give_up(p, STEP_FDS);
    close_others((unsigned)above);
}

/* Handlers and masks of the parent are not the child's business. Called with all signals blocked. */
static void reset_signals(const sigset_t *blocked)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &plain, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, blocked ? blocked : &none, NULL);
}

_Noreturn static void run_child(plan *p)
{
    const tt_child_spec *spec = p->spec;
    reset_signals(spec->blocked);
    prctl(PR_SET_PDEATHSIG, spec->death_signal ? spec->death_signal : SIGKILL);
    if (getppid() != p->parent)
        give_up(p, STEP_PARENT_DIED);
    if (spec->own_group && setpgid(0, 0) != 0)
        give_up(p, STEP_GROUP);
    place_fds(p);
    if (spec->cwd && chdir(spec->cwd) != 0)
        give_up(p, STEP_CWD);
    set_limit(p, RLIMIT_CPU, spec->max_cpu_s);
    set_limit(p, RLIMIT_NOFILE, spec->max_files);
    set_limit(p, RLIMIT_AS, spec->max_memory_bytes);
    set_limit(p, RLIMIT_DATA, spec->max_data_bytes);
    execve(spec->argv[0], (char *const *)spec->argv, p->env);
    give_up(p, STEP_EXEC);
}

static bool same_name(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");
    return strncmp(a, b, len) == 0 && (b[len] == '=' || b[len] == '\0');
}

static size_t count_strings(char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

/* Ours without what env_add names, then env_add. The array is the caller's, the texts are not copied. */
static char **build_env(const char *const *env_add)
{
    char *const *add = (char *const *)env_add;
    size_t ours = count_strings(environ), added = count_strings(add), n = 0;
    char **env = tt_calloc(ours + added + 1, sizeof *env);
    for (size_t i = 0; env && i < ours; i++) {
        bool replaced = false;
        for (size_t j = 0; j < added; j++)
            replaced |= same_name(add[j], environ[i]);
        if (!replaced)
            env[n++] = environ[i];
    }
    for (size_t j = 0; env && j < added; j++)
        env[n++] = add[j];
    return env;
}

/* vfork: between it and execve the child runs in our memory while this thread waits, which spares copying the page tables (half of the cost of a
 * short program). It only makes system calls, has its own descriptors, signal handlers and limits, and writes nothing but what the plan holds for it. The
 * sanitizers want a memory of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FORK fork
#else
#define FORK vfork
#endif

static pid_t fork_child(plan *p)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = FORK();
    if (pid == 0)
        run_child(p);
    int errnum = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = errnum;
    return pid;
}

/* Waits until the child has executed (the pipe closes) or says why not. */
static tt_rc await_exec(int fd, const char *path, pid_t pid, tt_err *err)
{
    report r;
    ssize_t n;
    do
        n = read(fd, &r, sizeof r);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof r)
        return TT_OK;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return tt_fail_errno(err, r.errnum, "cannot start `%s`: %s", path, step_texts[r.at]);
}

static tt_rc spawn_with(plan *p, pid_t *ret_pid, tt_err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return tt_fail_errno(err, errno, "cannot start `%s`", p->spec->argv[0]);
    p->report_fd = fds[1];
    pid_t pid = fork_child(p);
    int errnum = errno;
    close(fds[1]);
    tt_rc rc = pid < 0 ? tt_fail_errno(err, errnum, "cannot fork for `%s`", p->spec->argv[0])
                       : await_exec(fds[0], p->spec->argv[0], pid, err);
    close(fds[0]);
    if (rc == TT_OK)
        *ret_pid = pid;
    return rc;
}

tt_rc tt_child_spawn(const tt_child_spec *spec, pid_t *ret_pid, tt_err *err)
{
    tt_assert(spec->argv && spec->argv[0]);
    plan p = {.spec = spec, .parent = getpid()};
    p.env = build_env(spec->env_add);
    p.moved_fds = tt_calloc(spec->keep_count + 3, sizeof *p.moved_fds);
    tt_rc rc = p.env && p.moved_fds ? spawn_with(&p, ret_pid, err) : tt_fail(err, TT_NOMEM, "out of memory for a child process");
    free(p.env);
    free(p.moved_fds);
    return rc;
}

void tt_child_adopt_orphans(void) { prctl(PR_SET_CHILD_SUBREAPER, 1L); }

/* ---- trees ---- */

typedef struct {
    pid_t pid, parent, group, session;
    bool is_dead; /* a zombie */
    bool is_kernel;
    bool is_victim;
    bool is_unsure; /* between two programs: its environment is not there to be read */
} process;
typedef TT_VEC(process) process_list;

static bool read_process(pid_t pid, process *ret)
{
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *after_name = strrchr(text, ')'); /* names may hold anything */
    char state;
    int parent, group, session;
    unsigned flags;
    enum { KERNEL_THREAD = 0x00200000 }; /* PF_KTHREAD of linux/sched.h */
    if (!after_name || sscanf(after_name + 1, " %c %d %d %d %*d %*d %u", &state, &parent, &group, &session, &flags) != 5)
        return false;
    *ret = (process){.pid = pid, .parent = parent, .group = group, .session = session,
                     .is_dead = state == 'Z' || state == 'X', .is_kernel = (flags & KERNEL_THREAD) != 0};
    return true;
}

static void list_processes(process_list *all)
{
    DIR *dir = opendir("/proc");
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        int64_t pid;
        process p;
        if (tt_parse_i64(tt_str_of(entry->d_name), &pid, NULL) == TT_OK && pid > 0 && read_process((pid_t)pid, &p) &&
            !tt_vec_push(all, p))
            break;
    }
    if (dir)
        closedir(dir);
}

/* Whose processes: those around a root, or those that carry a mark in their environment. */
typedef struct {
    pid_t root;       /* 0: by mark */
    const char *mark;
} target;

static const process *find_process(const process_list *all, pid_t pid)
{
    for (size_t i = 0; i < all->len; i++)
        if (all->ptr[i].pid == pid)
            return &all->ptr[i];
    return NULL;
}

static bool is_around(const process *p, pid_t root)
{
    return p->pid == root || p->parent == root || (root != getpid() && (p->group == root || p->session == root));
}

static bool holds_mark(tt_str environment, const char *mark)
{
    bool prefix = mark[strlen(mark) - 1] == '/';
    tt_str entry;
    while (tt_str_cut(&environment, '\0', &entry))
        if (prefix ? tt_str_starts(entry, tt_str_of(mark)) : tt_str_is(entry, mark))
            return true;
    return false;
}

/* A process that is just in execve has no environment for a moment (environ_read of Linux' fs/proc/base.c gives nothing): p is unsure then. */
static bool is_marked(process *p, const char *mark)
{
    enum { LIMIT_BYTES = 1024 * 1024 };
    TT_BUF_AUTO tt_buf text = {.limit_bytes = LIMIT_BYTES};
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)p->pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    while (fd >= 0 && tt_buf_reserve(&text, 8192) && (n = read(fd, text.ptr + text.len, 8192)) > 0)
        text.len += (size_t)n;
    if (fd >= 0)
        close(fd);
    p->is_unsure = n == 0 && text.len == 0 && !p->is_dead && !p->is_kernel;
    return holds_mark(tt_buf_view(&text), mark);
}

static bool is_self_or_ancestor(const process_list *all, pid_t pid)
{
    const process *p = find_process(all, getpid());
    for (size_t depth = 0; p && depth < all->len; depth++, p = find_process(all, p->parent))
        if (p->pid == pid)
            return true;
    return false;
}

/* Parents may stand behind their children in the list, hence the rounds. */
static void mark_victims(process_list *all, const target *t)
{
    for (size_t i = 0; i < all->len; i++) {
        process *p = &all->ptr[i];
        p->is_victim = (t->root ? is_around(p, t->root) : is_marked(p, t->mark)) && !is_self_or_ancestor(all, p->pid);
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < all->len; i++) {
            process *p = &all->ptr[i];
            const process *parent = p->is_victim ? NULL : find_process(all, p->parent);
            if (!parent || !parent->is_victim || p->pid == getpid())
                continue;
            p->is_victim = changed = true;
        }
    }
}

/* Lists and stops the victims until a round finds nobody new; what is stopped cannot fork. Who is unsure is looked at again a little
 * later; a process without any environment stays so, hence the bound. */
static void stop_victims(const target *t, process_list *all)
{
    enum { MAX_ROUNDS = 16 };
    TT_VEC(pid_t) stopped = {0};
    size_t fresh = 1, unsure = 0;
    for (int round = 0; round < MAX_ROUNDS && (fresh || unsure); round++) {
        if (!fresh)
            poll(NULL, 0, 1);
        fresh = unsure = 0;
        tt_vec_clear(all);
        list_processes(all);
        mark_victims(all, t);
        for (size_t i = 0; i < all->len; i++) {
            const process *p = &all->ptr[i];
            unsure += p->is_unsure && !p->is_victim;
            bool known = !p->is_victim || p->is_dead;
            for (size_t k = 0; k < stopped.len && !known; k++)
                known = stopped.ptr[k] == p->pid;
            if (known)
                continue;
            fresh++;
            kill(p->pid, SIGSTOP);
            if (!tt_vec_push(&stopped, p->pid))
                break;
        }
    }
    tt_vec_deinit(&stopped);
}

static size_t kill_target(const target *t, int signal)
{
    process_list all = {0};
    size_t count = 0;
    stop_victims(t, &all);
    for (size_t i = 0; i < all.len; i++)
        if (all.ptr[i].is_victim && !all.ptr[i].is_dead && kill(all.ptr[i].pid, signal) == 0)
            count++;
    for (size_t i = 0; i < all.len && signal != SIGSTOP; i++)
        if (all.ptr[i].is_victim && !all.ptr[i].is_dead)
            kill(all.ptr[i].pid, SIGCONT);
    tt_vec_deinit(&all);
    return count;
}

size_t tt_child_kill_tree(pid_t pid, int signal)
{
    tt_assert(pid > 1 || pid == getpid());
    return kill_target(&(target){.root = pid}, signal);
}

size_t tt_child_kill_marked(const char *mark, int signal)
{
    tt_assert(strchr(mark, '='));
    return kill_target(&(target){.mark = mark}, signal);
}

/* ---- looking ---- */

static bool is_known(pid_t pid, const pid_t *known, size_t known_count)
{
    for (size_t i = 0; i < known_count; i++)
        if (known[i] == pid)
            return true;
    return false;
}

size_t tt_child_strangers(const pid_t *known, size_t known_count, pid_t *ret, size_t max)
{
    siginfo_t info;
    process_list all = {0};
    size_t count = 0;
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD)
        return 0; /* nobody at all: the usual case, for one system call */
    list_processes(&all);
    for (size_t i = 0; i < all.len; i++)
        if (all.ptr[i].parent == getpid() && !is_known(all.ptr[i].pid, known, known_count) && count < max)
            ret[count++] = all.ptr[i].pid;
    tt_vec_deinit(&all);
    return count;
}

/* Pages in memory that belong to it alone. */
static uint64_t own_pages(pid_t pid)
{
    char path[32], text[128];
    uint64_t size, resident, shared;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, &size, &resident, &shared) != 3)
        return 0;
    return resident > shared ? resident - shared : 0;
}

uint64_t tt_child_tree_memory(pid_t pid)
{
    process_list all = {0};
    uint64_t pages = 0;
    list_processes(&all);
    mark_victims(&all, &(target){.root = pid});
    for (size_t i = 0; i < all.len; i++)
        if (all.ptr[i].is_victim && !all.ptr[i].is_dead)
            pages += own_pages(all.ptr[i].pid);
    tt_vec_deinit(&all);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

const char *tt_child_status_text(int wait_status, char out[64])
{
    if (WIFEXITED(wait_status))
        snprintf(out, 64, "exit %d", WEXITSTATUS(wait_status));
    else if (WIFSIGNALED(wait_status))
        snprintf(out, 64, "signal %d (%.40s)", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
    else
        snprintf(out, 64, "wait status %d", wait_status);
    return out;
}
