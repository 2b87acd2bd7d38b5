#include "query/repartition.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/sys.h"
#include "base/vec.h"
#include "data/parquet/scan.h"
#include "data/parquet/writer.h"
#include "io/fd.h"
#include "query/file_columns.h"
#include "query/filter.h"

enum { BATCH_ROWS = 4096, MOST_PARTS = 10000, LEAST_GROUP_BYTES = 1 << 20, MOST_THREADS = 64 };

/* One file that is written. */
typedef struct {
    pthread_mutex_t lock;     /* guards the writer */
    tt_pq_writer *writer;     /* NULL: no row came yet, or it is not of this pass */
    uint64_t rows;
} output;

typedef struct {
    const tt_repartition *r;
    tt_arena arena;
    tt_pq_file **files;
    tt_pq_field *fields;
    uint32_t field_count, group;
    tt_pq_writer_options options;
    char *parent;             /* of the output */
    char *name;               /* ".NAME.tutti-repartition" */
    int parent_fd, dir_fd;
    output *outputs;
    uint32_t parts, first, end; /* first .. end: of this pass */
    uint64_t all_rows;        /* of all passes */
    size_t next;              /* atomic: the input that is taken next */
    pthread_mutex_t lock;     /* guards all below */
    uint64_t done_rows;
    tt_rc rc;                 /* of the first failure */
    tt_err err;
} job;

/* ---- inputs ---- */

static bool is_same(const tt_pq_field *a, const tt_pq_field *b)
{
    return tt_str_eq(a->name, b->name) && a->kind == b->kind && a->meaning == b->meaning && a->unit == b->unit && a->is_utc == b->is_utc && a->bit_width == b->bit_width &&
           a->scale == b->scale && a->precision == b->precision && a->width == b->width && a->is_list == b->is_list;
}

static tt_rc take_fields(job *j, size_t input, tt_err *err)
{
    const tt_pq_file *f = j->files[input];
    uint32_t count = tt_pq_column_count(f);
    if (input == 0)
        j->fields = tt_arena_alloc(&j->arena, (count + 1) * sizeof *j->fields);
    if (!j->fields)
        return tt_fail(err, TT_NOMEM, "out of memory for the columns of %s", tt_pq_name(f));
    if (input > 0 && count != j->field_count)
        return tt_fail(err, TT_UNPROCESSABLE, "Schemas differ! %s has %u columns, %s has %u: write the files with the same ones", tt_pq_name(j->files[0]), j->field_count, tt_pq_name(f), count);
    for (uint32_t i = 0; i < count; i++) {
        const tt_pq_column *c = tt_pq_column_at(f, i);
        tt_pq_field field = tt_pq_field_of(c);
        TT_TRY(tt_pq_column_check(f, i, err));
        if (input > 0 && !is_same(&field, &j->fields[i]))
            return tt_fail(err, TT_UNPROCESSABLE, "Schemas differ! Column `%.*s` is not the same in %s and in %s: write the files with the same columns and types, in the same order", TT_STR_ARG(c->name), tt_pq_name(j->files[0]), tt_pq_name(f));
        field.is_nullable = field.is_nullable || (input > 0 && j->fields[i].is_nullable);
        j->fields[i] = field;
    }
    j->field_count = count;
    return TT_OK;
}

static tt_rc open_inputs(job *j, tt_err *err)
{
    const tt_repartition *r = j->r;
    uint64_t bytes = 0, target = r->target_bytes ? r->target_bytes : 64 << 20;
    for (size_t i = 0; i < r->input_count; i++) {
        TT_TRY(tt_pq_open(r->inputs[i].ptr, NULL, &j->files[i], err));
        TT_TRY(take_fields(j, i, err));
        bytes += tt_pq_size_bytes(j->files[i]);
        j->all_rows += tt_pq_row_count(j->files[i]);
    }
    int32_t group = tt_pq_column_find(j->files[0], r->group);
    if (group < 0)
        return tt_query_fail_missing(j->files[0], r->group, err);
    j->group = (uint32_t)group;
    const tt_pq_field *g = &j->fields[group];
    if (g->is_list || g->kind == TT_PQ_BOOL || g->kind == TT_PQ_FLOAT || g->kind == TT_PQ_DOUBLE)
        return tt_fail(err, TT_UNPROCESSABLE, "Group column %.*s type must be either integer or string: in %s it is neither", TT_STR_ARG(r->group), tt_pq_name(j->files[0]));
    uint64_t parts = r->parts ? r->parts : (bytes + target / 2) / target;
    j->parts = parts < 1 ? 1 : parts > MOST_PARTS ? MOST_PARTS : (uint32_t)parts;
    return TT_OK;
}

/* What pandas and Arrow noted there still holds: columns and types are the same. */
static void keep_metadata(job *j)
{
    const tt_pq_key_value *list;
    size_t count = tt_pq_key_values(j->files[0], &list);
    for (uint32_t i = 0; i < j->field_count; i++)
        if (tt_pq_column_at(j->files[0], i)->type == TT_PQ_T_INT96)
            return; /* becomes another type */
    j->options.key_values = list;
    j->options.key_value_count = (uint32_t)count;
}

/* ---- the directory ---- */

static tt_rc find_names(job *j, tt_err *err)
{
    tt_str path = tt_str_of(j->r->output);
    while (path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    size_t slash = path.len;
    while (slash > 0 && path.ptr[slash - 1] != '/')
        slash--;
    tt_str name = tt_str_slice(path, slash, path.len), parent = slash ? tt_str_slice(path, 0, slash) : TT_STR(".");
    if (!name.len || tt_str_is(name, ".") || tt_str_is(name, ".."))
        return tt_fail(err, TT_USAGE, "%s is no name for a new directory", j->r->output);
    j->parent = tt_arena_dup(&j->arena, parent);
    j->name = tt_arena_printf(&j->arena, ".%.*s.tutti-repartition", TT_STR_ARG(name));
    return j->parent && j->name ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a path");
}

static const char *final_name(const job *j)
{
    const char *slash = strrchr(j->r->output, '/');
    return slash && slash[1] ? slash + 1 : j->r->output;
}

static tt_rc empty_dir(int dir_fd, tt_err *err)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d)
        return tt_fail_errno(err, errno, "cannot look into a directory that was left behind");
    for (const struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dir_fd, e->d_name, 0);
    closedir(d);
    return TT_OK;
}

static tt_rc open_dir(job *j, tt_err *err)
{
    struct stat st;
    if (stat(j->r->output, &st) == 0)
        return tt_fail(err, TT_EXISTS, "%s is there already: give another name, or remove it", j->r->output);
    j->parent_fd = open(j->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->parent_fd < 0)
        return tt_fail_errno(err, errno, "cannot open the directory %s", j->parent);
    if (mkdirat(j->parent_fd, j->name, 0777) != 0 && errno != EEXIST)
        return tt_fail_errno(err, errno, "cannot make a directory in %s", j->parent);
    j->dir_fd = openat(j->parent_fd, j->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (j->dir_fd < 0)
        return tt_fail_errno(err, errno, "cannot open %s/%s", j->parent, j->name);
    if (flock(j->dir_fd, LOCK_EX | LOCK_NB) != 0)
        return tt_fail(err, TT_LOCKED, "another run writes %s just now", j->r->output);
    return empty_dir(j->dir_fd, err);
}

static void leave_nothing(job *j)
{
    if (j->dir_fd < 0)
        return;
    if (empty_dir(j->dir_fd, NULL) == TT_OK)
        unlinkat(j->parent_fd, j->name, AT_REMOVEDIR);
}

static tt_rc publish(job *j, tt_err *err)
{
    char *to = tt_arena_printf(&j->arena, "%s", final_name(j));
    if (!to)
        return tt_fail(err, TT_NOMEM, "out of memory for a path");
    for (size_t len = strlen(to); len > 1 && to[len - 1] == '/'; len--)
        to[len - 1] = '\0';
    if (tt_sys.fsync(j->dir_fd) != 0 || renameat2(j->parent_fd, j->name, j->parent_fd, to, RENAME_NOREPLACE) != 0 || tt_sys.fsync(j->parent_fd) != 0)
        return tt_fail_errno(err, errno, "cannot give %s its name", j->r->output);
    return TT_OK;
}

/* ---- writing ---- */

/* Locked. The writer syncs the file and gives it its name, which nobody sees before the directory has its own. */
static tt_rc open_output(job *j, uint32_t part, tt_err *err)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s/part-%05u.parquet", j->parent, j->name, part);
    if (n < 0 || (size_t)n >= sizeof path)
        return tt_fail(err, TT_INVALID, "the path of the output is too long");
    return tt_pq_writer_create(path, &j->options, &j->outputs[part].writer, err);
}

static tt_rc put_rows(job *j, const tt_pq_file *f, uint32_t part, const tt_pq_batch *batches, const uint32_t *rows, uint32_t count, tt_err *err)
{
    output *o = &j->outputs[part];
    tt_rc rc = o->writer ? TT_OK : open_output(j, part, err);
    for (uint32_t i = 0; i < count && rc == TT_OK; i++) {
        for (uint32_t c = 0; c < j->field_count; c++)
            tt_pq_put_row(o->writer, c, tt_pq_column_at(f, c), &batches[c], rows[i]);
        rc = tt_pq_end_row(o->writer, err);
    }
    o->rows += count;
    return rc;
}

/* The same for a group in every run and on every machine. */
static uint64_t hash_row(const tt_pq_column *c, const tt_pq_batch *b, uint32_t i)
{
    bool codes = b->form == TT_PQ_FORM_CODES;
    const tt_pq_values *values = codes ? &b->dictionary->values : &b->values;
    uint32_t at = codes ? tt_pq_code(b, i) : i;
    if (c->kind == TT_PQ_BYTES || c->kind == TT_PQ_FIXED) {
        tt_str text = tt_pq_text_at(c, values, at);
        return XXH3_64bits(text.ptr ? text.ptr : "", text.len);
    }
    int64_t value = tt_pq_int_at(c, values, at);
    return XXH3_64bits(&value, sizeof value);
}

/* Rows of a batch, sorted by their output. */
typedef struct {
    uint32_t part_of[BATCH_ROWS], rows[BATCH_ROWS];
    uint32_t *starts;         /* by part, and one behind */
} sorter;

static tt_rc sort_rows(const job *j, const tt_pq_file *f, const tt_pq_batch *b, uint32_t n, sorter *s, tt_err *err)
{
    const tt_pq_column *c = tt_pq_column_at(f, j->group);
    memset(s->starts, 0, ((size_t)j->parts + 1) * sizeof *s->starts);
    for (uint32_t i = 0; i < n; i++) {
        if (!tt_pq_is_valid(b->validity, i))
            return tt_fail(err, TT_UNPROCESSABLE, "%s: Some values in column %.*s are null", tt_pq_name(f), TT_STR_ARG(j->r->group));
        s->part_of[i] = (uint32_t)(hash_row(c, b, i) % j->parts);
        s->starts[s->part_of[i] + 1]++;
    }
    for (uint32_t p = 0; p < j->parts; p++)
        s->starts[p + 1] += s->starts[p];
    for (uint32_t i = n; i-- > 0;) /* filled from behind: starts become those of the next part */
        s->rows[--s->starts[s->part_of[i] + 1]] = i;
    return TT_OK;
}

static tt_rc put_batch(job *j, const tt_pq_file *f, const tt_pq_batch *batches, uint32_t n, sorter *s, tt_err *err)
{
    TT_TRY(sort_rows(j, f, &batches[j->group], n, s, err));
    for (uint32_t p = j->first; p < j->end; p++) {
        uint32_t from = s->starts[p + 1], to = p + 1 < j->parts ? s->starts[p + 2] : n;
        if (from == to)
            continue;
        pthread_mutex_lock(&j->outputs[p].lock);
        tt_rc rc = put_rows(j, f, p, batches, s->rows + from, to - from, err);
        pthread_mutex_unlock(&j->outputs[p].lock);
        TT_TRY(rc);
    }
    return TT_OK;
}

/* ---- threads ---- */

/* False: it is over. */
static bool note(job *j, uint64_t rows, tt_rc rc, const tt_err *err)
{
    pthread_mutex_lock(&j->lock);
    j->done_rows += rows;
    if (rc != TT_OK && j->rc == TT_OK) {
        j->rc = rc;
        j->err = *err;
    }
    if (j->rc == TT_OK && rows && j->r->progress && !j->r->progress(j->r->arg, j->done_rows, j->all_rows))
        j->rc = tt_fail(&j->err, TT_CANCELED, "it was stopped");
    bool goes_on = j->rc == TT_OK;
    pthread_mutex_unlock(&j->lock);
    return goes_on;
}

static tt_rc read_input(job *j, const tt_pq_file *f, sorter *s, tt_err *err)
{
    TT_PQ_SCAN_AUTO tt_pq_scan *scan = NULL;
    const tt_pq_batch *batches;
    uint32_t n, *columns = tt_calloc((size_t)j->field_count + 1, sizeof *columns);
    if (!columns)
        return tt_fail(err, TT_NOMEM, "out of memory for the columns of %s", tt_pq_name(f));
    for (uint32_t i = 0; i < j->field_count; i++)
        columns[i] = i;
    tt_rc rc = tt_pq_scan_new(f, columns, j->field_count, BATCH_ROWS, &scan, err);
    free(columns);
    while (rc == TT_OK) {
        rc = tt_pq_scan_next(scan, BATCH_ROWS, &batches, &n, err);
        if (rc != TT_OK || n == 0)
            break;
        rc = put_batch(j, f, batches, n, s, err);
        if (rc == TT_OK && !note(j, n, TT_OK, NULL))
            break;
    }
    return rc;
}

static void *work(void *arg)
{
    job *j = arg;
    tt_err err = {0};
    sorter *s = tt_malloc(sizeof *s);
    uint32_t *starts = tt_calloc((size_t)j->parts + 2, sizeof *starts);
    if (!s || !starts) {
        tt_rc rc = tt_fail(&err, TT_NOMEM, "out of memory for a thread");
        note(j, 0, rc, &err);
    }
    for (size_t i; s && starts && (i = __atomic_fetch_add(&j->next, 1, __ATOMIC_RELAXED)) < j->r->input_count;) {
        s->starts = starts;
        tt_rc rc = read_input(j, j->files[i], s, &err);
        if (!note(j, 0, rc, &err))
            break;
    }
    free(starts);
    free(s);
    return NULL;
}

/* The caller works too: a thread that cannot be started is one less. */
static void run_threads(job *j)
{
    pthread_t threads[MOST_THREADS];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = j->r->threads ? j->r->threads : cores > 0 ? (size_t)cores : 1, started = 0;
    wanted = wanted < j->r->input_count ? wanted : j->r->input_count;
    for (size_t i = 1; i < wanted && i < MOST_THREADS; i++)
        started += pthread_create(&threads[started], NULL, work, j) == 0;
    (void)!work(j);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

/* ---- passes ---- */

static tt_rc finish_outputs(job *j, tt_repartition_result *ret, tt_err *err)
{
    for (uint32_t p = j->first; p < j->end; p++) {
        output *o = &j->outputs[p];
        if (!o->writer)
            continue;
        TT_TRY(tt_pq_writer_finish(o->writer, err));
        ret->bytes += tt_pq_writer_bytes(o->writer);
        ret->rows += o->rows;
        ret->parts++;
        tt_pq_writer_free(o->writer);
        o->writer = NULL;
    }
    return TT_OK;
}

static tt_rc run_passes(job *j, tt_repartition_result *ret, tt_err *err)
{
    uint64_t memory = j->r->memory_bytes ? j->r->memory_bytes : 512u << 20, at_once = memory / LEAST_GROUP_BYTES;
    at_once = at_once < 1 ? 1 : at_once > j->parts ? j->parts : at_once;
    j->options.group_bytes = memory / at_once < 64u << 20 ? memory / at_once : 64u << 20;
    j->all_rows *= (j->parts + at_once - 1) / at_once;
    for (j->first = 0; j->first < j->parts; j->first = j->end) {
        j->end = j->first + at_once < j->parts ? j->first + (uint32_t)at_once : j->parts;
        j->next = 0;
        ret->passes++;
        run_threads(j);
        if (j->rc != TT_OK)
            return tt_fail(err, j->rc, "%s", j->err.text);
        TT_TRY(finish_outputs(j, ret, err));
    }
    return TT_OK;
}

static tt_rc run(job *j, tt_repartition_result *ret, tt_err *err)
{
    TT_TRY(find_names(j, err));
    TT_TRY(open_inputs(j, err));
    j->options = (tt_pq_writer_options){.fields = j->fields, .field_count = j->field_count, .codec = j->r->codec};
    keep_metadata(j);
    j->outputs = tt_calloc((size_t)j->parts + 1, sizeof *j->outputs);
    if (!j->outputs)
        return tt_fail(err, TT_NOMEM, "out of memory for %u files", j->parts);
    for (uint32_t p = 0; p < j->parts; p++)
        pthread_mutex_init(&j->outputs[p].lock, NULL);
    TT_TRY(open_dir(j, err));
    tt_rc rc = run_passes(j, ret, err);
    for (uint32_t p = 0; p < j->parts; p++)
        tt_pq_writer_free(j->outputs[p].writer);
    if (rc == TT_OK)
        rc = publish(j, err);
    if (rc != TT_OK)
        leave_nothing(j);
    return rc;
}

tt_rc tt_repartition_run(const tt_repartition *r, tt_repartition_result *ret, tt_err *err)
{
    job j = {.r = r, .parent_fd = -1, .dir_fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};
    *ret = (tt_repartition_result){0};
    if (r->input_count == 0)
        return tt_fail(err, TT_UNPROCESSABLE, "there are no Parquet files to read");
    j.files = tt_calloc(r->input_count + 1, sizeof(tt_pq_file *));
    tt_rc rc = j.files ? run(&j, ret, err) : tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    for (size_t i = 0; j.files && i < r->input_count; i++)
        tt_pq_close(j.files[i]);
    free(j.files);
    free(j.outputs);
    tt_fd_close(&j.dir_fd);
    tt_fd_close(&j.parent_fd);
    tt_arena_deinit(&j.arena);
    return rc;
}
