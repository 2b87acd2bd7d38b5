#include "work/program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "io/fd.h"
#include "work/native.h"
#include "work/program_c.h"
#include "work/program_inner.h"

/* ---- the env ---- */

typedef struct { const char *section, *key, *value; } override_row;

struct tt_program_env {
    tt_arena arena;
    TT_VEC(tt_str) dirs;
    TT_VEC(override_row) overrides;
    const char *data_dir, *own_dir, *maps_dir, *state_dir, *spool_dir, *cache_dir, *include_dir, *python_dir, *python, *compiler;
    const char *lake_env[8]; /* NAME=value; NULL behind the last */
    const char *environment, *branch;
    int64_t timeout_ms;
    uint64_t memory_bytes;
};

const tt_str *tt_program_dirs(const tt_program_env *env, size_t *ret_count) { return *ret_count = env->dirs.len, env->dirs.ptr; }
const char *tt_program_data_dir(const tt_program_env *env) { return env->data_dir; }
const char *tt_program_own_dir(const tt_program_env *env) { return env->own_dir; }
const char *tt_program_cache_dir(const tt_program_env *env) { return env->cache_dir; }
const char *tt_program_spool_dir(const tt_program_env *env) { return env->spool_dir; }
const char *tt_program_maps_dir(const tt_program_env *env) { return env->maps_dir; }
const char *tt_program_state_dir(const tt_program_env *env) { return env->state_dir; }
const char *const *tt_program_lake_env(const tt_program_env *env) { return env->lake_env; }
const char *tt_program_environment(const tt_program_env *env) { return env->environment; }
const char *tt_program_branch(const tt_program_env *env) { return env->branch; }
const char *tt_program_include_dir(const tt_program_env *env) { return env->include_dir; }
int64_t tt_program_default_timeout_ms(const tt_program_env *env) { return env->timeout_ms; }
uint64_t tt_program_default_memory_bytes(const tt_program_env *env) { return env->memory_bytes; }
const char *tt_program_compiler(const tt_program_env *env) { return env->compiler; }
const char *tt_program_default_python(const tt_program_env *env) { return env->python; }

const char *tt_program_override(const tt_program_env *env, const char *name, const char *key)
{
    static const char prefix[] = "program.";
    for (size_t i = 0; i < env->overrides.len; i++)
        if (strcmp(env->overrides.ptr[i].section + sizeof prefix - 1, name) == 0 && strcmp(env->overrides.ptr[i].key, key) == 0)
            return env->overrides.ptr[i].value;
    return NULL;
}

/* What a section [program.NAME] may say. */
static const char *const override_keys[] = {"python", "timeout", "memory", "cflags", "libs"};

typedef struct { tt_program_env *env; tt_rc rc; tt_err *err; } override_reader;

static void add_override(void *arg, const char *section, const char *name, const char *value)
{
    override_reader *r = arg;
    for (size_t i = 0; i < TT_COUNT(override_keys); i++)
        if (strcmp(name, override_keys[i]) == 0 && tt_vec_push(&r->env->overrides, (override_row){section, name, value}))
            return;
    if (r->rc == TT_OK)
        r->rc = tt_fail(r->err, TT_INVALID, "[%s] says `%s`, which is unknown: it may say python, timeout, memory, cflags and libs", section, name);
}

const char *tt_program_home(tt_arena *arena)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return ".";
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
    const char *home = tt_arena_dup(arena, tt_str_of(path));
    return home ? home : ".";
}

/* The folder above the program's own, spelled as people would: it stands in lists and errors. */
static const char *prefix_of(tt_program_env *env)
{
    const char *home = tt_program_home(&env->arena), *slash = strrchr(home, '/');
    const char *prefix = slash ? tt_arena_printf(&env->arena, "%.*s", (int)(slash - home), home) : *home ? ".." : "";
    return prefix ? prefix : "..";
}

/* What comes with the program: beside it when installed (PREFIX/bin and PREFIX/share), or in the tree that it was built in. */
static const char *find_part(tt_program_env *env, const char *installed, const char *in_tree)
{
    const char *prefix = prefix_of(env);
    const char *path = tt_arena_printf(&env->arena, "%s/%s", prefix, installed);
    if (path && access(path, R_OK) == 0)
        return path;
    path = tt_arena_printf(&env->arena, "%s/%s", prefix, in_tree);
    return path ? path : "";
}

static void add_dir(tt_program_env *env, const char *path)
{
    if (path)
        tt_assert(tt_vec_push(&env->dirs, tt_str_of(path)));
}

/* Where the lake and the server are, where contracts are that do not say it, and which `tutti` asks them. */
static tt_rc fill_lake(tt_program_env *env, const tt_options *o, tt_err *err)
{
    static const struct {
        const char *name, *key;
    } rows[] = {{"TUTTI_DATA", "data"}, {"TUTTI_LAKE", "lake"}, {"TUTTI_ENVIRONMENT", "environment"}, {"TUTTI_APP_VERSION", "app_version"}, {"TUTTI_BRANCH_NAME", "branch_name"}, {"TUTTI_CONFIG_URL", "config.url"}};
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self);
    size_t n = 0;
    env->environment = tt_arena_dup(&env->arena, tt_option_str(o, "environment"));
    env->branch = tt_arena_dup(&env->arena, tt_option_str(o, "branch_name"));
    if (!env->environment || !env->branch || (len > 0 && !(env->lake_env[n++] = tt_arena_printf(&env->arena, "TUTTI_BIN=%.*s", (int)len, self))))
        return tt_fail(err, TT_NOMEM, "out of memory");
    for (size_t i = 0; i < TT_COUNT(rows); i++) {
        tt_str value = tt_option_str(o, rows[i].key);
        if (value.len && !(env->lake_env[n++] = tt_arena_printf(&env->arena, "%s=%.*s", rows[i].name, TT_STR_ARG(value))))
            return tt_fail(err, TT_NOMEM, "out of memory");
    }
    return TT_OK;
}

static tt_rc fill_env(tt_program_env *env, const tt_options *o, tt_err *err)
{
    const tt_str *given;
    override_reader reader = {.env = env, .err = err};
    size_t count = tt_option_list(o, "programs.dirs", &given);
    const char *data = env->data_dir = tt_arena_dup(&env->arena, tt_option_str(o, "data"));
    TT_TRY(fill_lake(env, o, err));
    for (size_t i = 0; i < count; i++)
        add_dir(env, tt_arena_dup(&env->arena, given[i]));
    add_dir(env, env->own_dir = tt_arena_printf(&env->arena, "%s/programs", data ? data : "."));
    add_dir(env, find_part(env, "share/tutti/programs", "programs"));
    env->maps_dir = tt_arena_printf(&env->arena, "%s/maps", data ? data : ".");
    env->state_dir = tt_arena_printf(&env->arena, "%s/state", data ? data : ".");
    env->spool_dir = tt_arena_printf(&env->arena, "%s/cache", data ? data : ".");
    env->cache_dir = tt_arena_printf(&env->arena, "%s/cache/programs", data ? data : ".");
    env->include_dir = find_part(env, "include/tutti/program.h", "include/tutti/program.h");
    env->python_dir = find_part(env, "share/tutti/python", "clients/python");
    env->python = tt_arena_dup(&env->arena, tt_option_str(o, "programs.python"));
    env->compiler = tt_arena_dup(&env->arena, tt_option_str(o, "programs.compiler"));
    env->timeout_ms = tt_option_int(o, "programs.timeout");
    env->memory_bytes = (uint64_t)tt_option_int(o, "programs.memory");
    char *header = tt_arena_dup(&env->arena, tt_str_of(env->include_dir));
    if (!data || !env->own_dir || !env->maps_dir || !env->state_dir || !env->spool_dir || !env->cache_dir || !env->python || !env->compiler || !header)
        return tt_fail(err, TT_NOMEM, "out of memory");
    header[strlen(header) - strlen("/tutti/program.h")] = '\0';
    env->include_dir = header;
    tt_options_each_declared(o, "program.", add_override, &reader);
    return reader.rc;
}

tt_rc tt_program_env_new(const tt_options *options, tt_program_env **ret, tt_err *err)
{
    tt_program_env *env = TT_NEW(tt_program_env);
    tt_rc rc = fill_env(env, options, err);
    if (rc != TT_OK) {
        tt_program_env_free(env);
        return rc;
    }
    *ret = env;
    return TT_OK;
}

void tt_program_env_free(tt_program_env *env)
{
    if (!env)
        return;
    tt_vec_deinit(&env->dirs);
    tt_vec_deinit(&env->overrides);
    tt_arena_deinit(&env->arena);
    free(env);
}

/* ---- kinds ---- */

static const tt_program_kind kinds[] = {
    {"python", ".py", false, tt_program_prepare_python},
    {"notebook", ".ipynb", false, tt_program_prepare_notebook},
    {"c", ".c", true, tt_program_prepare_c},
    {"sql", ".sql", true, tt_program_prepare_native},
    {"executable", NULL, false, tt_program_prepare_executable},
};

/* No file has it: programs of native.h. */
static const tt_program_kind native_kind = {"built-in", NULL, true, tt_program_prepare_native};

static tt_str stem_of(tt_str file_name)
{
    for (size_t i = file_name.len; i > 0; i--)
        if (file_name.ptr[i - 1] == '.')
            return tt_str_slice(file_name, 0, i - 1);
    return file_name;
}

static const tt_program_kind *kind_of(tt_str file_name, mode_t mode)
{
    for (size_t i = 0; i < TT_COUNT(kinds); i++)
        if (kinds[i].suffix ? tt_str_ends(file_name, tt_str_of(kinds[i].suffix)) : (mode & 0111) != 0)
            return &kinds[i];
    return NULL;
}

/* ---- files ---- */

bool tt_program_name_ok(tt_str name)
{
    if (name.len == 0 || name.len > TT_PROGRAM_NAME_BYTES || name.ptr[0] == '_' || name.ptr[0] == '-' || tt_str_starts(name, TT_STR("base_")))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.ptr[i]) && name.ptr[i] != '_' && name.ptr[i] != '-')
            return false;
    return true;
}

static tt_rc hash_fd(int fd, const char *path, char out[TT_PROGRAM_HASH_TEXT], tt_err *err)
{
    char piece[65536];
    size_t len;
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return tt_fail(err, TT_NOMEM, "out of memory");
    XXH3_128bits_reset(state);
    int errnum = 0;
    for (uint64_t at = 0; (errnum = tt_fd_read_at(fd, at, piece, sizeof piece, &len)) == 0 && len > 0; at += len)
        XXH3_128bits_update(state, piece, len);
    XXH128_hash_t h = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    snprintf(out, TT_PROGRAM_HASH_TEXT, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
    return errnum == 0 ? TT_OK : tt_fail_errno(err, errnum, "cannot read the program `%s`", path);
}

static tt_rc examine(int fd, const char *path, tt_program_file *ret, tt_err *err)
{
    struct stat st;
    const char *slash = strrchr(path, '/');
    tt_str file_name = tt_str_of(slash ? slash + 1 : path), name = stem_of(file_name);
    if (fstat(fd, &st) != 0)
        return tt_fail_errno(err, errno, "cannot look at `%s`", path);
    if (!S_ISREG(st.st_mode))
        return tt_fail(err, TT_INVALID, "`%s` is no program: it is no plain file", path);
    if (!tt_program_name_ok(name))
        return tt_fail(err, TT_INVALID, "`%s` is no program: its name must be 1 to %d letters, digits, - and _, and not begin with _ or base_", path, TT_PROGRAM_NAME_BYTES);
    if ((ret->kind = kind_of(file_name, st.st_mode)) == NULL)
        return tt_fail(err, TT_INVALID, "`%s` is no program: it ends with none of .py, .ipynb, .c and .sql, and may not be executed: chmod +x makes it one", path);
    if (st.st_size > TT_PROGRAM_FILE_BYTES)
        return tt_fail(err, TT_TOO_LARGE, "`%s` has %lld bytes: a program may have %d", path, (long long)st.st_size, TT_PROGRAM_FILE_BYTES);
    if (strlen(path) >= sizeof ret->path)
        return tt_fail(err, TT_INVALID, "the path of a program is too long");
    snprintf(ret->path, sizeof ret->path, "%s", path);
    snprintf(ret->name, sizeof ret->name, "%.*s", TT_STR_ARG(name));
    return hash_fd(fd, path, ret->hash, err);
}

static tt_rc open_path(const char *path, tt_program_file *ret, tt_err *err)
{
    TT_FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot read the program `%s`", path);
    return examine(fd, path, ret, err);
}

tt_rc tt_program_open(tt_str path, tt_program_file *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_buf_str(&text, path);
    char *real = realpath(tt_buf_cstr(&text), NULL); /* one that holds from any directory */
    tt_rc rc = real ? open_path(real, ret, err) : tt_fail_errno(err, errno, "cannot read the program `%.*s`", TT_STR_ARG(path));
    free(real);
    return rc;
}

/* ---- folders ---- */

typedef TT_VEC(char *) name_list;

static void free_names(name_list *names)
{
    for (size_t i = 0; i < names->len; i++)
        free(names->ptr[i]);
    tt_vec_deinit(names);
}
#define NAMES_AUTO __attribute__((cleanup(free_names)))

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list_dir(tt_str dir, name_list *names)
{
    DIR *d = opendir(dir.ptr);
    for (const struct dirent *e; d && (e = readdir(d));) {
        char *copy = tt_program_name_ok(stem_of(tt_str_of(e->d_name))) ? tt_str_dup(tt_str_of(e->d_name)) : NULL;
        if (copy && !tt_vec_push(names, copy))
            free(copy);
    }
    if (d)
        closedir(d);
    if (names->len)
        qsort(names->ptr, names->len, sizeof *names->ptr, by_name);
}

static tt_rc open_in(tt_str dir, const char *file_name, tt_program_file *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_buf_printf(&path, "%.*s/%s", TT_STR_ARG(dir), file_name);
    TT_TRY(tt_buf_check(&path, err));
    return tt_program_open(tt_buf_view(&path), ret, err);
}

/* True: *ret is the program of that name in this folder. */
static bool find_in(tt_str dir, tt_str name, tt_program_file *ret)
{
    NAMES_AUTO name_list names = {0};
    list_dir(dir, &names);
    for (size_t i = 0; i < names.len; i++)
        if (tt_str_eq(stem_of(tt_str_of(names.ptr[i])), name) && open_in(dir, names.ptr[i], ret, NULL) == TT_OK)
            return true;
    return false;
}

/* One that is part of tutti. Its content is the version's. */
static void fill_native(const char *name, tt_program_file *ret)
{
    XXH128_hash_t h = XXH3_128bits(TT_VERSION, strlen(TT_VERSION));
    *ret = (tt_program_file){.kind = &native_kind};
    snprintf(ret->name, sizeof ret->name, "%s", name);
    snprintf(ret->path, sizeof ret->path, "%s%s", TT_NATIVE_PREFIX, name);
    snprintf(ret->hash, sizeof ret->hash, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

static void put_dirs(const tt_program_env *env, tt_buf *out)
{
    for (size_t i = 0; i < env->dirs.len; i++)
        tt_buf_printf(out, "%s%.*s", i ? ", " : "", TT_STR_ARG(env->dirs.ptr[i]));
}

tt_rc tt_program_locate(const tt_program_env *env, tt_str name, tt_program_file *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf dirs = {.limit_bytes = 400};
    for (size_t i = 0; tt_program_name_ok(name) && i < env->dirs.len; i++)
        if (find_in(env->dirs.ptr[i], name, ret))
            return TT_OK;
    for (size_t i = 0; tt_native_name(i); i++)
        if (tt_str_is(name, tt_native_name(i)))
            return fill_native(tt_native_name(i), ret), TT_OK;
    put_dirs(env, &dirs);
    return tt_fail(err, TT_NOT_FOUND, "there is no program `%.*s` in %s: `tutti program list` shows what there is", TT_STR_ARG(tt_str_slice(name, 0, 80)), tt_buf_cstr(&dirs));
}

/* Whether a folder before this one has a program of that name. */
static bool is_hidden(const tt_program_env *env, size_t dir, const char *name)
{
    tt_program_file other;
    for (size_t i = 0; i < dir; i++)
        if (find_in(env->dirs.ptr[i], tt_str_of(name), &other))
            return true;
    return false;
}

void tt_program_each(const tt_program_env *env, bool (*fn)(void *arg, const tt_program_file *file), void *arg)
{
    tt_program_file *file = TT_NEW(tt_program_file), before;
    bool goes_on = true;
    for (size_t d = 0; d < env->dirs.len && goes_on; d++) {
        NAMES_AUTO name_list names = {0};
        list_dir(env->dirs.ptr[d], &names);
        before.name[0] = '\0';
        for (size_t i = 0; i < names.len && goes_on; i++) {
            if (open_in(env->dirs.ptr[d], names.ptr[i], file, NULL) != TT_OK || strcmp(before.name, file->name) == 0 || is_hidden(env, d, file->name))
                continue;
            before = *file;
            goes_on = fn(arg, file);
        }
    }
    for (size_t i = 0; tt_native_name(i) && goes_on; i++) {
        fill_native(tt_native_name(i), file);
        goes_on = is_hidden(env, env->dirs.len, file->name) || fn(arg, file);
    }
    free(file);
}

/* ---- argv ---- */

const char *tt_program_find_command(tt_arena *arena, const char *name)
{
    const char *path = getenv("PATH");
    tt_str rest = tt_str_of(path ? path : "/usr/local/bin:/usr/bin:/bin"), dir;
    if (strchr(name, '/'))
        return access(name, X_OK) == 0 ? name : NULL;
    while (tt_str_cut(&rest, ':', &dir)) {
        const char *candidate = dir.len ? tt_arena_printf(arena, "%.*s/%s", TT_STR_ARG(dir), name) : NULL;
        if (candidate && access(candidate, X_OK) == 0)
            return candidate;
    }
    return NULL;
}

tt_rc tt_program_prepare_executable(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *const **ret_argv, tt_err *err)
{
    const char **argv = tt_arena_alloc(arena, 2 * sizeof *argv);
    if (!argv)
        return tt_fail(err, TT_NOMEM, "out of memory");
    argv[0] = file->path;
    *ret_argv = argv;
    return TT_OK;
}

tt_rc tt_program_prepare_native(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *const **ret_argv, tt_err *err)
{
    const char **argv = tt_arena_alloc(arena, 4 * sizeof *argv);
    if (!argv)
        return tt_fail(err, TT_NOMEM, "out of memory");
    argv[0] = "/proc/self/exe";
    argv[1] = TT_PROGRAM_HOST_COMMAND;
    argv[2] = file->path;
    *ret_argv = argv;
    return TT_OK;
}

/* host_name: of the Python package, what runs such files. */
static tt_rc prepare_with_python(const tt_program_env *env, const tt_program_file *file, const char *host_name, tt_arena *arena, const char *const **ret_argv, tt_err *err)
{
    const char *chosen = tt_program_override(env, file->name, "python");
    const char **argv = tt_arena_alloc(arena, 6 * sizeof *argv);
    const char *host = tt_arena_printf(arena, "%s/tutti/%s", env->python_dir, host_name);
    if (!argv || !host)
        return tt_fail(err, TT_NOMEM, "out of memory");
    argv[0] = tt_program_find_command(arena, chosen ? chosen : env->python);
    argv[1] = host;
    argv[2] = file->path;
    if (!argv[0])
        return tt_fail(err, TT_UNSUPPORTED, "`%s` needs Python, and there is no `%s`: install it, or set programs.python", file->name, chosen ? chosen : env->python);
    *ret_argv = argv;
    return TT_OK;
}

tt_rc tt_program_prepare_python(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *const **ret_argv, tt_err *err)
{
    return prepare_with_python(env, file, "_program_host.py", arena, ret_argv, err);
}

tt_rc tt_program_prepare_notebook(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *const **ret_argv, tt_err *err)
{
    return prepare_with_python(env, file, "_notebook_host.py", arena, ret_argv, err);
}

/* ---- environment ---- */

size_t tt_program_blank_env(const char **env, size_t n, tt_arena *arena)
{
    size_t count;
    const tt_option *rows = tt_option_rows(&count);
    for (size_t i = 0; i < count; i++) {
        char name[64];
        tt_str rest = tt_str_of(rows[i].aliases), alias;
        const char *blank = rows[i].secret ? tt_arena_printf(arena, "%s=", tt_option_env_name(&rows[i], name)) : NULL;
        if (!blank)
            continue;
        if (n < TT_PROGRAM_MOST_ENV)
            env[n++] = blank;
        while (tt_str_cut(&rest, ',', &alias) && n < TT_PROGRAM_MOST_ENV)
            if ((blank = tt_arena_printf(arena, "%.*s=", TT_STR_ARG(tt_str_slice(alias, 0, strcspn(alias.ptr, "*,"))))))
                env[n++] = blank;
    }
    return n;
}
