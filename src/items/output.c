#include "items/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "io/fd.h"
#include "items/job.h"

#define JOURNAL_ENDING ".journal"
enum { ID_BYTES = 8 };

tt_rc tt_output_find(const tt_roots *roots, const tt_definition *d, tt_buf *path, tt_err *err)
{
    int dir;
    tt_str name;
    char *real_dir = NULL;
    if (tt_sink_is_named(tt_str_of(d->output))) {
        tt_buf_cstr_put(path, d->output);
        return tt_buf_check(path, err);
    }
    TT_TRY(tt_roots_open_parent(roots, tt_str_of(d->output), &dir, &name, &real_dir, err));
    close(dir);
    tt_buf_printf(path, "%s/%.*s", strcmp(real_dir, "/") == 0 ? "" : real_dir, TT_STR_ARG(name));
    free(real_dir);
    TT_TRY(tt_buf_check(path, err));
    char *resolved = realpath(tt_buf_cstr(path), NULL);
    if (resolved) {
        tt_buf_clear(path);
        tt_buf_cstr_put(path, resolved);
    }
    free(resolved);
    return tt_buf_check(path, err);
}

tt_str tt_job_output_path(const tt_job *j) { return tt_str_of(j->def.journal ? j->def.journal : j->def.output_real); }
const tt_roots *tt_job_output_roots(const tt_job *j) { return j->def.journal ? j->env->journal_roots : j->env->roots; }

/* The journal's name without directory and ending. */
static tt_str journal_id(const tt_job *j)
{
    tt_str path = tt_str_of(j->def.journal);
    for (ptrdiff_t slash; (slash = tt_str_find(path, '/')) >= 0;)
        path = tt_str_slice(path, (size_t)slash + 1, path.len);
    return tt_str_slice(path, 0, path.len < sizeof JOURNAL_ENDING ? 0 : path.len - (sizeof JOURNAL_ENDING - 1));
}

void tt_job_sink_spec(const tt_job *j, tt_sink_spec *ret)
{
    *ret = (tt_sink_spec){
        .target = tt_str_of(j->def.output_real ? j->def.output_real : j->def.output), .kind = tt_str_of(j->def.writer_name),
        .options = tt_str_of(j->def.metadata), .ordered = j->def.ordered, .declared = j->env->declared, .spool_dir = j->env->spool_dir, .job = tt_str_of(j->def.name), .id = journal_id(j), .roots = j->env->roots,
        .header = j->reader ? tt_reader_header(j->reader) : (tt_str){0},
    };
}

tt_rc tt_job_find_sink(tt_job *j, tt_err *err)
{
    tt_sink_spec spec;
    if (!tt_job_has_writer(j))
        return TT_OK;
    tt_job_sink_spec(j, &spec);
    TT_TRY(tt_sink_find(&spec, &j->delivery.row, err));
    if (j->delivery.row->promise == TT_SINK_SWAP && j->def.mode == TT_MODE_WRITE)
        return tt_fail(err, TT_INVALID, "the output `%.*s` would appear when the job is complete, and a job in mode write never is: name a plain file",
                       TT_STR_ARG(tt_str_slice(spec.target, 0, 200)));
    return TT_OK;
}

/* ---- the target before the job writes to it ---- */

static tt_rc check_directory(const tt_job *j, tt_err *err)
{
    TT_FD_AUTO int dir = -1;
    tt_str name;
    TT_TRY(tt_roots_open_parent(j->env->roots, tt_str_of(j->def.output_real), &dir, &name, NULL, err));
    if (faccessat(dir, ".", W_OK, AT_EACCESS) != 0)
        return tt_fail_errno(err, errno, "cannot write beside the output '%.256s'", j->def.output_real);
    return TT_OK;
}

static tt_rc put_aside(const tt_job *j, const tt_append_mark *mark, tt_err *err)
{
    tt_append *a = NULL;
    char *old = NULL;
    TT_TRY(tt_append_resume(j->env->roots, tt_str_of(j->def.output_real), mark, &a, err));
    tt_rc rc = tt_append_new_generation(a, &old, err);
    free(old);
    if (rc == TT_OK)
        return tt_append_remove(a, err); /* the new one, which is empty */
    tt_append_close(a);
    return rc;
}

static tt_rc look_at_target(tt_job *j, bool overwrite, tt_err *err)
{
    TT_FD_AUTO int fd = -1;
    struct stat st;
    j->delivery.base = (tt_append_mark){0};
    TT_TRY(check_directory(j, err));
    tt_rc rc = tt_roots_open(j->env->roots, tt_str_of(j->def.output_real), O_RDONLY, 0, &fd, NULL, err);
    if (rc == TT_NOT_FOUND)
        return TT_OK;
    TT_TRY(rc);
    tt_append_mark mark;
    int failed = fstat(fd, &st) != 0 ? errno : tt_append_mark_of(fd, (uint64_t)st.st_size, &mark);
    if (failed)
        return tt_fail_errno(err, failed, "cannot read '%.256s'", j->def.output_real);
    if (j->fresh && mark.length_bytes)
        return put_aside(j, &mark, err);
    if (!overwrite)
        j->delivery.base = mark;
    return TT_OK;
}

/* ---- the journal ---- */

tt_rc tt_journal_name(const tt_items_env *env, const char *ending, tt_buf *path, tt_err *err)
{
    unsigned char id[ID_BYTES];
    if (getrandom(id, sizeof id, 0) != sizeof id)
        return tt_fail(err, TT_IO, "no random numbers for the name of a journal");
    tt_buf_printf(path, "%s/", env->journal_dir);
    for (size_t i = 0; i < sizeof id; i++)
        tt_buf_printf(path, "%02x", id[i]);
    tt_buf_cstr_put(path, ending);
    return tt_buf_check(path, err);
}

tt_rc tt_job_create_journal(tt_job *j, bool overwrite, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0}, target = {0};
    TT_TRY(tt_output_find(j->env->roots, &j->def, &target, err));
    free(j->def.output_real);
    j->def.output_real = tt_dup_cstr(tt_buf_cstr(&target));
    if (j->delivery.row->is_file)
        TT_TRY(look_at_target(j, overwrite, err));
    TT_TRY(tt_journal_name(j->env, JOURNAL_ENDING, &path, err));
    TT_TRY(tt_append_create(j->env->journal_roots, tt_buf_view(&path), TT_APPEND_TRUNCATE, &j->output, err));
    free(j->def.journal);
    j->def.journal = tt_dup_cstr(tt_buf_cstr(&path));
    tt_delivery_restart(j);
    j->delivery.replaces = overwrite;
    return TT_OK;
}

void tt_job_remove_journal(tt_job *j)
{
    if (!j->output || !j->def.journal)
        return;
    (void)!tt_append_remove(j->output, NULL); /* else the next start does it */
    j->output = NULL;
}

void tt_job_discard_part(tt_job *j)
{
    tt_sink_spec spec;
    if (!tt_job_is_journaled(j) || !j->def.journal || !j->def.output_real)
        return;
    tt_job_sink_spec(j, &spec);
    tt_sink_discard(j->delivery.row, &spec);
}

tt_rc tt_job_remove_target(tt_job *j, tt_err *err)
{
    TT_FD_AUTO int dir = -1;
    tt_str name;
    if (!j->def.output_real || !j->delivery.row->is_file) /* rows of a table stay */
        return TT_OK;
    TT_TRY(tt_roots_open_parent(j->env->roots, tt_str_of(j->def.output_real), &dir, &name, NULL, err));
    TT_BUF_AUTO tt_buf path = {0};
    tt_buf_printf(&path, "/proc/self/fd/%d/%.*s", dir, TT_STR_ARG(name));
    if (tt_sys.unlink(tt_buf_cstr(&path)) != 0 && errno != ENOENT)
        return tt_fail_errno(err, errno, "cannot delete '%.256s'", j->def.output_real);
    return TT_OK;
}

tt_rc tt_job_may_grow(const tt_job *j, tt_err *err)
{
    tt_sink_spec spec;
    bool is_whole = tt_job_is_journaled(j) && j->delivery.row->is_file && j->def.output_real && (!j->def.journal || j->delivery.dropping);
    if (!is_whole || !j->delivery.row->check)
        return TT_OK;
    tt_job_sink_spec(j, &spec);
    spec.base.length_bytes = 1; /* whatever is in it */
    if (j->delivery.row->check(&spec, NULL) == TT_OK)
        return TT_OK;
    return tt_fail(err, TT_CONFLICT, "job `%s` is complete, and no rows can be added to `%s`: start the job anew, or delete its output (clean) before", j->def.name,
                   j->def.output_real);
}

void tt_journals_sweep(const char *dir, bool (*is_known)(void *arg, const char *path), void *arg)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        TT_BUF_AUTO tt_buf path = {0};
        tt_buf_printf(&path, "%s/%s", dir, e->d_name);
        bool is_ours = tt_str_ends(tt_str_of(e->d_name), TT_STR(JOURNAL_ENDING)) || tt_str_ends(tt_str_of(e->d_name), TT_STR(".input"));
        if (is_ours && !is_known(arg, tt_buf_cstr(&path)))
            tt_sys.unlink(tt_buf_cstr(&path));
    }
    if (d)
        closedir(d);
}

static void no_rejects(void *arg, uint64_t id, tt_str value, const char *why) {}

tt_rc tt_output_probe(tt_items_env *env, const tt_definition *d, tt_err *err)
{
    const tt_sink_row *row;
    tt_sink *sink = NULL;
    if (!d->output || d->mode == TT_MODE_READ)
        return TT_OK;
    tt_sink_spec spec = {.target = tt_str_of(d->output), .kind = tt_str_of(d->writer_name), .options = tt_str_of(d->metadata), .ordered = d->ordered,
                         .declared = env->declared, .job = tt_str_of(d->name), .probe = true, .roots = env->roots, .reject = no_rejects};
    TT_TRY(tt_sink_find(&spec, &row, err));
    if (row->is_file)
        return TT_OK;
    TT_TRY(tt_sink_open(&spec, &sink, err));
    tt_sink_close(sink);
    return TT_OK;
}
