#include "transform/mirror.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/sys.h"
#include "base/vec.h"
#include "io/fd.h"
#include "io/wildcard.h"
#include "transform/ends.h"
#include "work/native_files.h"

enum { MOST_FILES = 100000 };

typedef struct {
    const tutti_host *t;
    tt_remote *remote;
    tt_store *store;
    tt_contract raw;              /* the state */
    const char *dir, *pattern;    /* there */
    uint64_t most_bytes;
    tt_arena arena;
    TT_VEC(tt_remote_entry) there;
    tt_store_entries here;
    tt_native_tally tally;
} mirror;

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory"); }

/* ---- what is there, and what is here ---- */

static tt_rc take_entry(void *arg, const tt_remote_entry *e, tt_err *err)
{
    mirror *m = arg;
    tt_remote_entry kept = *e;
    tt_err why = {0};
    if (e->is_dir || !tt_wildcard_match(tt_str_of(m->pattern), e->name))
        return TT_OK;
    if (m->there.len == MOST_FILES)
        return tt_fail(err, TT_TOO_LARGE, "`%.200s` of %s has more than %d files: choose some of them with `pattern`", m->dir, tt_remote_host(m->remote), MOST_FILES);
    if (tt_contract_check_part("the file", e->name, &why) != TT_OK)
        return tt_fail(err, TT_INVALID, "%s has a file that the lake cannot name: %s (leave it out with `pattern`)", tt_remote_host(m->remote), why.text);
    kept.name.ptr = tt_arena_dup(&m->arena, e->name);
    return kept.name.ptr && tt_vec_push(&m->there, kept) ? TT_OK : no_memory(err);
}

/* The last part of the address is a directory, a file or a pattern of files. */
static tt_rc list_there(mirror *m, tt_err *err)
{
    const char *path = tt_remote_path(m->remote), *last = strrchr(path, '/');
    tt_remote_entry e;
    bool is_pattern = last && tt_wildcard_is(tt_str_of(last + 1));
    m->dir = path;
    m->pattern = m->t->text(m->t, "pattern");
    if (is_pattern || (last && last[1] && strcmp(last, "/~") != 0 && tt_remote_stat(m->remote, path, &e, NULL) == TT_OK && !e.is_dir)) {
        m->dir = last == path ? "/" : tt_arena_dup(&m->arena, (tt_str){path, (size_t)(last - path)});
        m->pattern = last + 1;
    }
    if (!m->dir)
        return no_memory(err);
    TT_TRY(tt_remote_list(m->remote, m->dir, take_entry, m, err));
    return m->there.len ? TT_OK : tt_fail(err, TT_NOT_FOUND, "`%.200s` of %s has no file `%.200s`", m->dir, tt_remote_host(m->remote), m->pattern);
}

static tt_rc list_here(mirror *m, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    const char *output = m->t->text(m->t, "output"), *contract = tt_ends_contract_of(output);
    if (!contract)
        return tt_fail(err, TT_INVALID, "setting `output`: `%.200s` is no contract: it is lake:raw in a pipeline, else lake:PARENT/CHILD/raw (files_fetch fetches into a folder)", output);
    TT_TRY(tt_ends_lake(m->t, contract, &m->arena, &m->store, &m->raw, err));
    if (!tt_str_is(m->raw.state, "raw") || m->raw.file.len)
        return tt_fail(err, TT_INVALID, "setting `output`: `%.200s` is not the raw state: files keep their names there, so that the contract ends in /raw", output);
    tt_contract_put_path(&m->raw, &path);
    TT_TRY(tt_buf_check(&path, err));
    return tt_store_list(m->store, tt_buf_view(&path), &m->arena, &m->here, err);
}

static bool is_here(const mirror *m, const tt_remote_entry *e)
{
    for (size_t i = 0; i < m->here.len; i++)
        if (!m->here.ptr[i].is_dir && tt_str_is(e->name, m->here.ptr[i].name))
            return m->here.ptr[i].size_bytes == e->size_bytes && m->here.ptr[i].modified_ms / 1000 == e->changed_s;
    return false;
}

/* ---- a file ---- */

/* Named after the state of the original, so that another one is begun anew. */
static tt_rc fill(mirror *m, const char *there, const tt_remote_entry *e, const char *path, tt_err *err)
{
    TT_FD_AUTO int fd = tt_sys.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    return fd < 0 ? tt_fail_errno(err, errno, "%s: cannot create", path) : tt_native_get_file(m->t, m->remote, there, e, fd, err);
}

static tt_rc fetch_into(mirror *m, tt_stage *stage, const tt_remote_entry *e, tt_err *err)
{
    TT_BUF_AUTO tt_buf there = {0}, path = {0}, target = {0}, part = {0};
    tt_remote_entry now = *e;
    tt_native_join(&there, m->dir, e->name.ptr);
    TT_TRY(tt_buf_check(&there, err));
    if (e->changed_s == 0)
        TT_TRY(tt_remote_stat(m->remote, tt_buf_cstr(&there), &now, err));
    now.name = e->name;
    if (is_here(m, &now)) {
        tt_native_unchanged(m->t, &m->tally);
        return TT_OK;
    }
    if (now.size_bytes > m->most_bytes)
        return tt_fail(err, TT_TOO_LARGE, "`%.200s` of %s has %llu bytes, and `most_mb` allows %llu MiB", tt_buf_cstr(&there), tt_remote_host(m->remote),
                       (unsigned long long)now.size_bytes, (unsigned long long)(m->most_bytes >> 20));
    m->t->update(m->t, "transfer", e->name.ptr);
    tt_contract file = m->raw;
    file.form = TT_CONTRACT_RAW;
    file.file = e->name;
    tt_contract_put_path(&file, &target);
    tt_buf_printf(&part, "%016llx.%llu-%lld.part", (unsigned long long)XXH3_64bits(e->name.ptr, e->name.len), (unsigned long long)now.size_bytes, (long long)now.changed_s);
    tt_buf_printf(&path, "%s/%s", tt_stage_dir(stage), tt_buf_cstr(&part));
    TT_TRY(tt_buf_check(&path, err));
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(fill(m, tt_buf_cstr(&there), &now, tt_buf_cstr(&path), err));
    TT_TRY(tt_stage_commit(stage, tt_buf_cstr(&part), tt_buf_view(&target), err));
    tt_native_moved(m->t, &m->tally, e->name.ptr, now.size_bytes);
    return TT_OK;
}

/* Of the same directory there and state here. */
static tt_rc open_stage(mirror *m, tt_stage **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf what = {0};
    tt_buf_printf(&what, "%s %s ", tt_remote_host(m->remote), m->dir);
    tt_contract_put_path(&m->raw, &what);
    TT_TRY(tt_buf_check(&what, err));
    return tt_store_stage_again(m->store, XXH3_64bits(what.ptr, what.len), ret, err);
}

static tt_rc mirror_all(mirror *m, tt_err *err)
{
    TT_STAGE_AUTO tt_stage *stage = NULL;
    tt_rc rc = TT_OK;
    TT_TRY(list_here(m, err));
    TT_TRY(tt_native_connect(m->t, &m->remote, err));
    TT_TRY(list_there(m, err));
    TT_TRY(open_stage(m, &stage, err));
    for (size_t i = 0; i < m->there.len && rc == TT_OK; i++)
        rc = fetch_into(m, stage, &m->there.ptr[i], err);
    if (rc != TT_OK) /* what was begun goes on next time */
        tt_stage_keep(stage);
    return rc;
}

static int run(const tutti_host *t)
{
    tt_err err = {0};
    mirror m = {.t = t, .most_bytes = (uint64_t)t->integer(t, "most_mb") << 20};
    tt_rc rc = mirror_all(&m, &err);
    tt_remote_close(m.remote);
    tt_vec_deinit(&m.there);
    tt_vec_deinit(&m.here);
    tt_store_close(m.store);
    tt_arena_deinit(&m.arena);
    return tt_native_end(t, &m.tally, rc, &err);
}

static const tutti_setting settings[] = {
    {"url", TUTTI_STR, .description = "a directory, a file, or a pattern: sftp://HOST/PATH, ftp://, ftps://"},
    {"output", TUTTI_STR, "lake:raw", "the raw state that the files come into"},
    {"pattern", TUTTI_STR, "*", "names of files that are fetched"},
    {"most_mb", TUTTI_INT, "10240", "the largest file that is fetched, in MiB"},
    TT_CONNECTION_SETTINGS,
    {0},
};

const tutti_program tt_program_sftp_mirror = {
    .size = sizeof(tutti_program), .display_name = "SftpMirror", .description = "Files of another machine come into the raw state of the lake, each as it is, and again when it has changed.",
    .settings = settings, .run = run,
};
