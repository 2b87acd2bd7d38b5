#include "work/program_c.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/child.h"
#include "io/dirs.h"
#include "work/program_capture.h"
#include "work/program_inner.h"

enum { COMPILE_TIMEOUT_MS = 5 * 60 * 1000, MOST_ARGS = 64, KEY_TEXT = 33 };

/* ---- the command ---- */

typedef struct {
    const char *args[MOST_ARGS + 1];
    size_t count;
} command;

static tt_rc add(command *c, const char *arg, tt_err *err)
{
    if (c->count == MOST_ARGS || !arg)
        return tt_fail(err, TT_INVALID, "the compiler's command has more than %d parts", MOST_ARGS);
    c->args[c->count++] = arg;
    return TT_OK;
}

/* Words of the configuration: `-lcurl -lxml2`. */
static tt_rc add_words(command *c, tt_arena *arena, const char *words, tt_err *err)
{
    tt_str rest = tt_str_of(words), word;
    while (tt_str_cut(&rest, ' ', &word))
        if (word.len)
            TT_TRY(add(c, tt_arena_dup(arena, word), err));
    return TT_OK;
}

static tt_rc make_command(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *out, command *c, tt_err *err)
{
    const char *compiler = tt_program_find_command(arena, tt_program_compiler(env));
    if (!compiler)
        return tt_fail(err, TT_UNSUPPORTED, "`%s` is written in C, and there is no compiler `%s` here: install gcc or clang, or set programs.compiler",
                       file->name, tt_program_compiler(env));
    const char *const fixed[] = {compiler, "-std=gnu17", "-O2", "-g", "-fPIC", "-shared", "-fvisibility=hidden", "-I", tt_program_include_dir(env)};
    for (size_t i = 0; i < TT_COUNT(fixed); i++)
        TT_TRY(add(c, fixed[i], err));
    TT_TRY(add_words(c, arena, tt_program_override(env, file->name, "cflags"), err));
    TT_TRY(add(c, "-o", err));
    TT_TRY(add(c, out, err));
    TT_TRY(add(c, file->path, err));
    TT_TRY(add_words(c, arena, tt_program_override(env, file->name, "libs"), err));
    return add(c, "-lm", err);
}

/* ---- the cache ---- */

/* Under which a compiled program is kept: its content, what it is compiled with, and the version that compiles it. */
static void make_key(const tt_program_env *env, const tt_program_file *file, char out[KEY_TEXT])
{
    TT_BUF_AUTO tt_buf text = {0};
    const char *parts[] = {file->hash, file->path, tt_program_compiler(env), tt_program_override(env, file->name, "cflags"), tt_program_override(env, file->name, "libs"), TT_VERSION};
    for (size_t i = 0; i < TT_COUNT(parts); i++)
        tt_buf_printf(&text, "%s\n", parts[i] ? parts[i] : "");
    XXH128_hash_t h = XXH3_128bits(text.ptr, text.len);
    snprintf(out, KEY_TEXT, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

/* What earlier contents of this program left. */
static void drop_older(const tt_program_env *env, const tt_program_file *file, const char *kept)
{
    DIR *d = opendir(tt_program_cache_dir(env));
    size_t name_len = strlen(file->name);
    for (const struct dirent *e; d && (e = readdir(d));) {
        bool ours = strncmp(e->d_name, file->name, name_len) == 0 && e->d_name[name_len] == '-' && strlen(e->d_name) == name_len + KEY_TEXT + 3 &&
                    strcmp(e->d_name, kept) != 0;
        if (ours)
            unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
}

/* The first line that names an error, else the last one. */
static tt_str telling_line(tt_str text)
{
    tt_str line, found = {0};
    while (tt_str_cut(&text, '\n', &line)) {
        if (memmem(line.ptr ? line.ptr : "", line.len, "error:", 6))
            return line;
        found = line.len ? line : found;
    }
    return found;
}

static tt_rc compile(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *object, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0}, errors = {0};
    int status = 0;
    command c = {0};
    static atomic_uint number; /* threads compile beside each other */
    const char *made = tt_arena_printf(arena, "%s.%d.%u", object, (int)getpid(), ++number), *name = strrchr(object, '/');
    TT_TRY(tt_dirs_make(tt_program_cache_dir(env), err));
    TT_TRY(make_command(env, file, arena, made, &c, err));
    TT_TRY(tt_capture(&(tt_capture_spec){.argv = c.args, .timeout_ms = COMPILE_TIMEOUT_MS, .max_out_bytes = 1024 * 1024}, &out, &errors, &status, err));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        tt_str line = telling_line(tt_buf_view(&errors));
        unlink(made);
        return tt_fail(err, TT_INVALID, "`%s` does not compile: %.*s", file->name, TT_STR_ARG(tt_str_slice(line, 0, 400)));
    }
    if (rename(made, object) != 0)
        return tt_fail_errno(err, errno, "cannot keep the compiled program `%s`", object);
    drop_older(env, file, name ? name + 1 : object);
    return TT_OK;
}

tt_rc tt_program_prepare_c(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *const **ret_argv, tt_err *err)
{
    char key[KEY_TEXT];
    make_key(env, file, key);
    const char **argv = tt_arena_alloc(arena, 4 * sizeof *argv);
    const char *object = tt_arena_printf(arena, "%s/%s-%s.so", tt_program_cache_dir(env), file->name, key);
    if (!argv || !object)
        return tt_fail(err, TT_NOMEM, "out of memory");
    if (access(object, R_OK) != 0)
        TT_TRY(compile(env, file, arena, object, err));
    argv[0] = "/proc/self/exe";
    argv[1] = TT_PROGRAM_HOST_COMMAND;
    argv[2] = object;
    *ret_argv = argv;
    return TT_OK;
}
