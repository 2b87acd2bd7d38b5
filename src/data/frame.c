#include "data/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/map.h"
#include "base/vec.h"
#include "data/extension.h"
#include "data/frame_inner.h"
#include "data/parquet/codec.h"
#include "data/parquet/records.h"
#include "data/parquet/scan.h"
#include "data/parquet/statistics.h"
#include "io/fd.h"

typedef struct {
    char *path;                  /* in the arena; for messages where fd is taken */
    int fd;                      /* of a file without a name; -1: opened by path */
    tt_frame_constant *constants;
    size_t constant_count;
} part;

/* One of the frame's columns. */
typedef struct {
    tt_pq_field field;
    bool has_values;
} column;

/* Where a column of the part in hand comes from. */
typedef struct {
    int32_t scanned;             /* index among the scan's columns; -1: none */
    const tt_pq_column *from;
    bool is_constant;
    tt_datum constant;
} origin;

struct tt_frame {
    tt_arena arena, batch_arena;
    TT_VEC(part) parts;
    TT_VEC(column) columns;
    tt_map by_name;              /* index + 1 */
    tt_pq_field *fields;         /* once settled */
    uint32_t field_count;
    tt_frame_prune_fn *prune;
    void *prune_arg;
    tt_frame_keep_fn *keep;
    void *keep_arg;
    uint32_t hidden;             /* columns that only keep sees */
    /* the part in hand */
    size_t at;                   /* parts.len: the end */
    tt_pq_file *file;
    tt_pq_scan *scan;
    bool *left_out;
    origin *origins;
    tt_rows rows;
};

tt_rc tt_frame_new(tt_frame **ret, tt_err *err)
{
    *ret = TT_NEW(tt_frame);
    return TT_OK;
}

static void close_part(tt_frame *f)
{
    tt_pq_scan_free(f->scan);
    tt_pq_close(f->file);
    free(f->left_out);
    f->scan = NULL;
    f->file = NULL;
    f->left_out = NULL;
}

void tt_frame_free(tt_frame *f)
{
    if (!f)
        return;
    close_part(f);
    for (size_t i = 0; i < f->parts.len; i++)
        tt_fd_close(&f->parts.ptr[i].fd);
    tt_vec_deinit(&f->parts);
    tt_vec_deinit(&f->columns);
    tt_map_deinit(&f->by_name);
    free(f->fields);
    free(f->origins);
    free(f->rows.cells);
    tt_arena_deinit(&f->arena);
    tt_arena_deinit(&f->batch_arena);
    free(f);
}

/* ---- parts ---- */

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory"); }

tt_rc tt_frame_add_part(tt_frame *f, const char *path, const tt_frame_constant *constants, size_t count, tt_err *err)
{
    part p = {.path = tt_arena_dup(&f->arena, tt_str_of(path)), .fd = -1, .constant_count = count};
    p.constants = tt_arena_alloc(&f->arena, (count + 1) * sizeof *p.constants);
    if (!p.path || !p.constants)
        return no_memory(err);
    for (size_t i = 0; i < count; i++) {
        tt_frame_constant *c = &p.constants[i];
        *c = constants[i];
        c->field.name.ptr = tt_arena_dup(&f->arena, c->field.name);
        if (c->value.kind == TT_DATUM_BYTES)
            c->value.bytes.ptr = tt_arena_dup(&f->arena, c->value.bytes);
        if (!c->field.name.ptr || (c->value.kind == TT_DATUM_BYTES && !c->value.bytes.ptr))
            return no_memory(err);
    }
    return tt_vec_push(&f->parts, p) ? TT_OK : no_memory(err);
}

static const char *spool_dir(void)
{
    const char *dir = getenv("TMPDIR");
    return dir && *dir ? dir : "/tmp";
}

/* Columns that this file does not have are another one's. */
static tt_rc declare(tt_pq_table *table, tt_str columns, tt_err *err)
{
    json_t *declared = columns.len ? json_loadb(columns.ptr, columns.len, 0, NULL) : NULL, *type;
    const char *name;
    tt_rc rc = columns.len == 0 || json_is_object(declared) ? TT_OK : tt_fail(err, TT_INVALID, "columns: an object of names and types is expected");
    json_object_foreach (declared, name, type) {
        if (rc == TT_OK)
            rc = tt_pq_table_declare(table, tt_str_of(name), tt_str_of(json_is_string(type) ? json_string_value(type) : "?"), err);
        if (rc == TT_NOT_FOUND)
            rc = TT_OK;
    }
    json_decref(declared);
    return rc;
}

/* The records of r as a Parquet file in fd. */
static tt_rc write_spool(tt_reader *r, const tt_frame_intake *intake, int fd, const char *name, tt_err *err)
{
    TT_PQ_TABLE_AUTO tt_pq_table *table = NULL;
    TT_PQ_WRITER_AUTO tt_pq_writer *w = NULL;
    tt_pq_writer_options options = {.codec = TT_PQ_C_LZ4_RAW};
    TT_TRY(tt_pq_table_new(&table, err));
    TT_TRY(tt_pq_records_plan(r, table, err));
    TT_TRY(declare(table, intake->columns, err));
    TT_TRY(tt_pq_records_see(r, table, err));
    options.field_count = tt_pq_table_fields(table, &options.fields);
    TT_TRY(tt_pq_writer_new(fd, name, &options, &w, err));
    TT_TRY(tt_pq_records_put(r, table, w, err));
    return tt_pq_writer_finish(w, err);
}

static tt_rc add_text(tt_frame *f, char *path, const tt_frame_intake *intake, const char *kind, tt_err *err)
{
    tt_roots *roots = NULL;
    tt_reader *r = NULL;
    TT_FD_AUTO int fd = tt_fd_open_unlinked(spool_dir());
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot make a temporary file in %s", spool_dir());
    tt_rc rc = intake->roots ? TT_OK : tt_roots_new((tt_str[]){TT_STR("/")}, 1, &roots, err);
    tt_reader_spec spec = {.kind = tt_str_of(kind), .roots = intake->roots ? intake->roots : roots, .spool_dir = spool_dir(), .paths = &path, .path_count = 1,
                           .options = intake->reader_options};
    if (rc == TT_OK)
        rc = tt_reader_open(&spec, &r, err);
    if (rc == TT_OK)
        rc = write_spool(r, intake, fd, path, err);
    tt_reader_close(r);
    tt_roots_free(roots);
    part p = {.path = tt_arena_dup(&f->arena, tt_str_of(path)), .fd = fd};
    if (rc == TT_OK && (!p.path || !tt_vec_push(&f->parts, p)))
        rc = no_memory(err);
    if (rc == TT_OK)
        (void)tt_fd_take(&fd);
    return rc;
}

/* To add a form: a row. */
static const struct {
    const char *name, *reader; /* reader NULL: Parquet */
    const char *extensions[4];
} forms[] = {
    {"parquet", NULL, {".parquet", ".pq"}},
    {"csv", "CsvReader", {".csv", ".tsv", ".txt"}},
    {"jsonl", "JsonlReader", {".jsonl", ".ndjson", ".json"}},
};

static tt_rc find_form(tt_str path, tt_str form, size_t *ret, tt_err *err)
{
    for (*ret = 0; *ret < TT_COUNT(forms); ++*ret)
        if (form.len ? tt_str_is(form, forms[*ret].name) : tt_has_extension(path, forms[*ret].extensions))
            return TT_OK;
    if (form.len)
        return tt_fail(err, TT_INVALID, "no form `%.*s`: there are csv, jsonl and parquet", TT_STR_ARG(form));
    return tt_fail(err, TT_INVALID, "%.*s: cannot tell its form by its name: it ends in .csv, .tsv, .jsonl, .ndjson or .parquet (.gz or .zst behind text)", TT_STR_ARG(path));
}

/* The path with links resolved, below the roots; the caller frees it. */
static tt_rc real_path(const tt_frame_intake *intake, tt_str path, char **ret, tt_err *err)
{
    TT_FD_AUTO int fd = -1;
    TT_BUF_AUTO tt_buf text = {0};
    if (intake->roots)
        return tt_roots_open(intake->roots, path, O_RDONLY | O_CLOEXEC, 0, &fd, ret, err);
    tt_buf_str(&text, path);
    *ret = realpath(tt_buf_cstr(&text), NULL);
    return *ret ? TT_OK : tt_fail_errno(err, errno, "%.*s: cannot open", TT_STR_ARG(path));
}

tt_rc tt_frame_add_file(tt_frame *f, tt_str path, const tt_frame_intake *intake, tt_err *err)
{
    size_t form;
    char *real = NULL;
    TT_TRY(find_form(path, intake->form, &form, err));
    if (!forms[form].reader && tt_is_packed_name(path))
        return tt_fail(err, TT_UNSUPPORTED, "%.*s: a Parquet file is not packed as a whole: unpack it", TT_STR_ARG(path));
    TT_TRY(real_path(intake, path, &real, err));
    tt_rc rc = forms[form].reader ? add_text(f, real, intake, forms[form].reader, err) : tt_frame_add_part(f, real, NULL, 0, err);
    free(real);
    return rc;
}

size_t tt_frame_part_count(const tt_frame *f) { return f->parts.len; }
const char *tt_frame_part_path(const tt_frame *f, size_t i) { return f->parts.ptr[i].path; }

void tt_frame_prune(tt_frame *f, tt_frame_prune_fn *fn, void *arg)
{
    f->prune = fn;
    f->prune_arg = arg;
}

/* ---- columns ---- */

static bool is_whole(const tt_pq_field *a) { return a->meaning == TT_PQ_PLAIN && (a->kind == TT_PQ_INT32 || a->kind == TT_PQ_INT64 || a->kind == TT_PQ_UINT32); }
static bool is_number(const tt_pq_field *a)
{
    return is_whole(a) || (a->meaning == TT_PQ_PLAIN && (a->kind == TT_PQ_UINT64 || a->kind == TT_PQ_FLOAT || a->kind == TT_PQ_DOUBLE));
}
static bool is_timestamp(const tt_pq_field *a) { return a->meaning == TT_PQ_TIMESTAMP; }

bool tt_frame_same_type(const tt_pq_field *a, const tt_pq_field *b)
{
    return a->kind == b->kind && a->meaning == b->meaning && a->unit == b->unit && a->is_utc == b->is_utc && a->bit_width == b->bit_width && a->scale == b->scale &&
           a->precision == b->precision && a->width == b->width && a->is_list == b->is_list;
}

/* The type that holds the values of both. */
static tt_pq_field wider(tt_pq_field a, const tt_pq_field *b)
{
    tt_pq_field wide = {.name = a.name, .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING, .is_nullable = true};
    if (a.is_list || b->is_list)
        return wide;
    if (is_whole(&a) && is_whole(b)) {
        wide.kind = TT_PQ_INT64;
        wide.meaning = TT_PQ_PLAIN;
    } else if (is_number(&a) && is_number(b)) {
        wide.kind = TT_PQ_DOUBLE;
        wide.meaning = TT_PQ_PLAIN;
    } else if (is_timestamp(&a) && is_timestamp(b) && a.is_utc == b->is_utc) {
        wide = a;
        wide.unit = a.unit > b->unit ? a.unit : b->unit;
    } else if ((is_timestamp(&a) && b->meaning == TT_PQ_DATE) || (a.meaning == TT_PQ_DATE && is_timestamp(b))) {
        wide = is_timestamp(&a) ? a : *b;
        wide.name = a.name;
        wide.is_nullable = true;
    }
    return wide;
}

static tt_rc merge_column(tt_frame *f, tt_pq_field field, bool has_values, tt_err *err)
{
    uintptr_t at = (uintptr_t)tt_map_get(&f->by_name, field.name);
    field.is_nullable = true;
    field.bit_width = field.bit_width < 32 ? field.bit_width : 0; /* said or not, it is the same */
    if (!at) {
        field.name.ptr = tt_arena_dup(&f->arena, field.name);
        column c = {field, has_values};
        if (!field.name.ptr || !tt_vec_push(&f->columns, c) || !tt_map_put(&f->by_name, field.name, (void *)(uintptr_t)f->columns.len, NULL))
            return no_memory(err);
        return TT_OK;
    }
    column *c = &f->columns.ptr[at - 1];
    field.name = c->field.name;
    if (has_values && !c->has_values)
        c->field = field;
    else if (has_values && !tt_frame_same_type(&c->field, &field))
        c->field = wider(c->field, &field);
    c->has_values |= has_values;
    return TT_OK;
}

static bool has_values(const tt_pq_file *f, uint32_t i)
{
    tt_pq_statistics s;
    for (uint32_t g = 0; g < tt_pq_row_group_count(f); g++) {
        tt_pq_chunk_statistics(f, g, i, &s);
        if (!s.is_all_null && tt_pq_row_group_at(f, g)->row_count && s.null_count != (int64_t)tt_pq_row_group_at(f, g)->chunks[i].value_count)
            return true;
    }
    return false;
}

static tt_rc open_file(const part *p, tt_pq_file **ret, tt_err *err)
{
    if (p->fd < 0)
        return tt_pq_open(p->path, NULL, ret, err);
    int fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? tt_fail_errno(err, errno, "%s: cannot open again", p->path) : tt_pq_open_fd(fd, p->path, NULL, ret, err);
}

static const tt_datum *find_constant(const part *p, tt_str name)
{
    for (size_t i = 0; i < p->constant_count; i++)
        if (tt_str_eq(p->constants[i].field.name, name))
            return &p->constants[i].value;
    return NULL;
}

const tt_frame_constant *tt_frame_part_constant(const tt_frame *f, size_t i, tt_str name)
{
    const part *p = &f->parts.ptr[i];
    for (size_t k = 0; k < p->constant_count; k++)
        if (tt_str_eq(p->constants[k].field.name, name))
            return &p->constants[k];
    return NULL;
}

bool tt_frame_part_value(const tt_frame *f, size_t i, uint32_t at, tt_arena *arena, tt_datum *ret)
{
    const tt_frame_constant *c = tt_frame_part_constant(f, i, f->fields[at].name);
    *ret = (tt_datum){.kind = TT_DATUM_NULL};
    return !c || tt_frame_constant_as(c, &f->fields[at], arena, ret);
}

void tt_frame_keep(tt_frame *f, tt_frame_keep_fn *fn, void *arg, uint32_t hidden)
{
    f->keep = fn;
    f->keep_arg = arg;
    f->hidden = hidden;
}

static tt_rc merge_part(tt_frame *f, const part *p, tt_err *err)
{
    TT_PQ_AUTO tt_pq_file *file = NULL;
    TT_TRY(open_file(p, &file, err));
    for (uint32_t i = 0; i < tt_pq_column_count(file); i++) {
        const tt_pq_column *c = tt_pq_column_at(file, i);
        if (find_constant(p, c->name))
            continue; /* the directory says it */
        TT_TRY(tt_pq_column_check(file, i, err));
        TT_TRY(merge_column(f, tt_pq_field_of(c), has_values(file, i), err));
    }
    for (size_t i = 0; i < p->constant_count; i++)
        TT_TRY(merge_column(f, p->constants[i].field, p->constants[i].value.kind != TT_DATUM_NULL, err));
    return TT_OK;
}

tt_rc tt_frame_choose(tt_frame *f, const tt_str *names, size_t count, tt_err *err)
{
    free(f->fields);
    free(f->origins);
    free(f->rows.cells);
    f->rows.cells = NULL;
    f->field_count = (uint32_t)(count ? count : f->columns.len);
    f->fields = tt_calloc((size_t)f->field_count + 1, sizeof *f->fields);
    f->origins = tt_calloc((size_t)f->field_count + 1, sizeof *f->origins);
    f->rows.cells = tt_calloc(((size_t)f->field_count + 1) * TT_FRAME_ROWS, sizeof *f->rows.cells);
    if (!f->fields || !f->origins || !f->rows.cells)
        return no_memory(err);
    for (size_t i = 0; i < f->field_count; i++) {
        uintptr_t at = count ? (uintptr_t)tt_map_get(&f->by_name, names[i]) : i + 1;
        if (!at)
            return tt_fail(err, TT_NOT_FOUND, "column `%.*s`: there is none of this name", TT_STR_ARG(tt_str_slice(names[i], 0, 200)));
        f->fields[i] = f->columns.ptr[at - 1].field;
    }
    f->rows.fields = f->fields;
    f->rows.field_count = f->field_count;
    f->rows.arena = &f->batch_arena;
    return TT_OK;
}

tt_rc tt_frame_settle(tt_frame *f, const tt_str *names, size_t count, tt_err *err)
{
    for (size_t i = 0; i < f->parts.len; i++)
        TT_TRY(merge_part(f, &f->parts.ptr[i], err));
    return tt_frame_choose(f, names, count, err);
}

uint32_t tt_frame_fields(const tt_frame *f, const tt_pq_field **ret)
{
    *ret = f->fields;
    return f->field_count - f->hidden;
}

uint32_t tt_frame_all_fields(const tt_frame *f, const tt_pq_field **ret)
{
    *ret = f->fields;
    return f->field_count;
}

int32_t tt_frame_find(const tt_frame *f, tt_str name)
{
    for (uint32_t i = 0; i < f->field_count; i++)
        if (tt_str_eq(f->fields[i].name, name))
            return (int32_t)i;
    return -1;
}

/* ---- rows ---- */

static tt_rc open_part(tt_frame *f, tt_err *err)
{
    const part *p = &f->parts.ptr[f->at];
    uint32_t count = 0;
    TT_TRY(open_file(p, &f->file, err));
    uint32_t *scanned = tt_calloc((size_t)f->field_count + 1, sizeof *scanned);
    f->left_out = tt_calloc((size_t)tt_pq_row_group_count(f->file) + 1, sizeof *f->left_out);
    if (!scanned || !f->left_out) {
        free(scanned);
        return no_memory(err);
    }
    for (uint32_t i = 0; i < f->field_count; i++) {
        const tt_frame_constant *constant = tt_frame_part_constant(f, f->at, f->fields[i].name);
        int32_t at = constant ? -1 : tt_pq_column_find(f->file, f->fields[i].name);
        f->origins[i] = (origin){.scanned = at < 0 ? -1 : (int32_t)count, .from = at < 0 ? NULL : tt_pq_column_at(f->file, (uint32_t)at), .is_constant = constant != NULL};
        if (constant && !tt_frame_constant_as(constant, &f->fields[i], &f->arena, &f->origins[i].constant)) {
            free(scanned);
            return no_memory(err);
        }
        if (at >= 0)
            scanned[count++] = (uint32_t)at;
    }
    tt_rc rc = f->prune ? f->prune(f->prune_arg, (uint32_t)f->at, f->file, f->left_out, err) : TT_OK;
    if (rc == TT_OK)
        rc = tt_pq_scan_new(f->file, scanned, count, TT_FRAME_ROWS, &f->scan, err);
    if (rc == TT_OK)
        tt_pq_scan_leave_out(f->scan, f->left_out);
    free(scanned);
    return rc;
}

static tt_rc fill_column(tt_frame *f, uint32_t i, const tt_pq_batch *batches, uint32_t rows, tt_err *err)
{
    static const tt_datum null = {.kind = TT_DATUM_NULL};
    const origin *o = &f->origins[i];
    tt_datum *cells = tt_rows_cell(&f->rows, i, 0);
    if (o->scanned < 0) {
        for (uint32_t r = 0; r < rows; r++)
            cells[r] = o->is_constant ? o->constant : null;
        return TT_OK;
    }
    for (uint32_t r = 0; r < rows; r++)
        if (!tt_datum_of_batch(o->from, &batches[o->scanned], r, &f->fields[i], &f->batch_arena, &cells[r]))
            return no_memory(err);
    return TT_OK;
}

/* Only the rows that are wanted stay. */
static void keep_rows(tt_frame *f)
{
    uint32_t kept = 0;
    f->rows.field_count = f->field_count;
    for (uint32_t r = 0; r < f->rows.count; r++) {
        if (!f->keep(f->keep_arg, &f->rows, r))
            continue;
        for (uint32_t i = 0; kept < r && i < f->field_count; i++)
            *tt_rows_cell(&f->rows, i, kept) = *tt_rows_cell(&f->rows, i, r);
        kept++;
    }
    f->rows.count = kept;
}

tt_rc tt_frame_next(tt_frame *f, tt_rows **ret, tt_err *err)
{
    const tt_pq_batch *batches;
    *ret = &f->rows;
    f->rows.count = 0;
    while (f->rows.count == 0 && f->at < f->parts.len) {
        tt_arena_deinit(&f->batch_arena);
        if (!f->scan)
            TT_TRY(open_part(f, err));
        TT_TRY(tt_pq_scan_next(f->scan, TT_FRAME_ROWS, &batches, &f->rows.count, err));
        if (f->rows.count == 0) {
            close_part(f);
            f->at++;
            continue;
        }
        for (uint32_t i = 0; i < f->field_count; i++)
            TT_TRY(fill_column(f, i, batches, f->rows.count, err));
        if (f->keep)
            keep_rows(f);
    }
    f->rows.part = (uint32_t)f->at;
    f->rows.field_count = f->field_count - f->hidden;
    return TT_OK;
}

void tt_frame_rewind(tt_frame *f)
{
    close_part(f);
    f->at = 0;
}
