#include "lake/home.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "data/parquet/moment.h"
#include "io/fd.h"

enum { HEAD_BYTES = 1024 };

/* The first line of a small file. */
static bool read_line(const char *path, char out[HEAD_BYTES])
{
    size_t len = 0;
    TT_FD_AUTO int fd = tt_sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0 || tt_fd_read_at(fd, 0, out, HEAD_BYTES - 1, &len) != 0)
        return false;
    out[len] = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    return true;
}

/* dir/.git is a directory, or a file that names one. *ret_branch stays empty when no branch is checked out. */
static bool look_into(const char *dir, tt_arena *arena, tt_str *ret_branch)
{
    static const char link[] = "gitdir: ", ref[] = "ref: refs/heads/";
    char line[HEAD_BYTES];
    const char *git = tt_arena_printf(arena, "%s/.git", dir), *head;
    if (!git || access(git, F_OK) != 0)
        return false;
    if (read_line(git, line) && strncmp(line, link, sizeof link - 1) == 0) {
        const char *to = line + sizeof link - 1;
        git = *to == '/' ? tt_arena_dup(arena, tt_str_of(to)) : tt_arena_printf(arena, "%s/%s", dir, to);
    }
    head = git ? tt_arena_printf(arena, "%s/HEAD", git) : NULL;
    if (head && read_line(head, line) && strncmp(line, ref, sizeof ref - 1) == 0)
        *ret_branch = tt_str_of(tt_arena_dup(arena, tt_str_of(line + sizeof ref - 1)));
    return true;
}

static tt_str git_branch(tt_arena *arena)
{
    tt_str branch = {0};
    char *dir = getcwd(NULL, 0);
    while (dir && dir[0] && !look_into(dir, arena, &branch)) {
        char *slash = strrchr(dir, '/');
        *(slash ? slash : dir) = '\0';
    }
    free(dir);
    return branch;
}

tt_rc tt_contract_home_find(tt_str env, tt_str branch, tt_arena *arena, tt_contract_home *ret, tt_err *err)
{
    TT_TRY(tt_contract_env(env, &ret->env, err));
    if (branch.len == 0 && !tt_str_is(ret->env, "dev"))
        branch = ret->env;
    if (branch.len == 0)
        branch = git_branch(arena);
    if (branch.len == 0)
        branch = tt_str_of(getenv("BRANCH_NAME"));
    ret->branch = branch.len ? branch : TT_STR("local");
    ret->parent = tt_str_of(getenv("TUTTI_PARENT"));
    ret->child = tt_str_of(getenv("TUTTI_CHILD"));
    return TT_OK;
}

tt_rc tt_lake_own_run(int64_t *ret_run, tt_err *err)
{
    const char *run = getenv("TUTTI_RUN_ID");
    uint32_t random;
    if (run && *run)
        return tt_parse_i64(tt_str_of(run), ret_run, err);
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return tt_fail(err, TT_IO, "no random numbers");
    *ret_run = 100000 + random % 900000;
    return TT_OK;
}

tt_rc tt_lake_own_time(int64_t *ret_us, tt_err *err)
{
    const char *began = getenv("TUTTI_RUN_TIMESTAMP");
    bool has_zone;
    *ret_us = tt_wall_ms() * 1000;
    return !began || !*began || tt_pq_parse_moment(tt_str_of(began), ret_us, &has_zone) ? TT_OK : tt_fail(err, TT_INVALID, "TUTTI_RUN_TIMESTAMP `%.40s` is no time", began);
}
