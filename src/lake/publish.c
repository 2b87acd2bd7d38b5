#include "lake/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/sys.h"
#include "data/parquet/codec.h"
#include "io/fd.h"
#include "lake/hive.h"

enum { MOST_OPEN = 256, MOST_FILES = 20000, FILE_BYTES = 64 << 20, METADATA_COLUMNS = 4 };

/* The files of one value of the partitions. */
typedef struct place {
    char *dir;               /* "region=EU/"; "" without partitions; in the arena */
    tt_pq_writer *writer;    /* NULL: none is open */
    uint32_t file_count;
    uint64_t used_at;        /* the row */
} place;

struct tt_publication {
    tt_publish_spec spec;
    tt_arena arena;
    tt_stage *stage;
    uint32_t *body;          /* columns that are written into the files */
    uint32_t body_count;
    uint32_t *partitions;    /* columns that become directories */
    tt_pq_field *fields;     /* of the files */
    tt_datum metadata[METADATA_COLUMNS];
    tt_pq_key_value key_values[2];
    tt_map by_dir;           /* place */
    TT_VEC(place *) places;
    place *last;             /* of the row before, whose partition values are in last_values */
    tt_buf dir;
    size_t open_count;
    tt_published done;
    const char *path;
};

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory"); }

/* ---- opening ---- */

static bool is_partition(const tt_publish_spec *spec, tt_str name)
{
    for (size_t i = 0; i < spec->partition_count; i++)
        if (tt_str_eq(spec->partitions[i], name))
            return true;
    return false;
}

static tt_rc find_partitions(tt_publication *p, tt_err *err)
{
    const tt_publish_spec *spec = &p->spec;
    p->partitions = tt_arena_alloc(&p->arena, (spec->partition_count + 1) * sizeof *p->partitions);
    if (!p->partitions)
        return no_memory(err);
    for (size_t i = 0; i < spec->partition_count; i++) {
        tt_str name = spec->partitions[i];
        uint32_t at = 0;
        TT_TRY(tt_hive_check_name(name, err));
        if (tt_lake_is_metadata(name))
            return tt_fail(err, TT_INVALID, "partition `%.*s`: each run is a partition already", TT_STR_ARG(name));
        while (at < spec->field_count && !tt_str_eq(spec->fields[at].name, name))
            at++;
        if (at == spec->field_count)
            return tt_fail(err, TT_NOT_FOUND, "partition `%.*s`: the data has no column of this name", TT_STR_ARG(name));
        if (!tt_hive_type_of(&spec->fields[at]))
            return tt_fail(err, TT_INVALID, "partition `%.*s`: values of its type cannot name directories: use text, whole numbers, numbers, true and false, dates or times", TT_STR_ARG(name));
        for (size_t k = 0; k < i; k++)
            if (p->partitions[k] == at)
                return tt_fail(err, TT_INVALID, "partition `%.*s` stands twice", TT_STR_ARG(name));
        p->partitions[i] = at;
    }
    return TT_OK;
}

static tt_rc make_fields(tt_publication *p, tt_err *err)
{
    static const tt_pq_field metadata[METADATA_COLUMNS] = {
        {.name = {TT_LAKE_RUN_TIME, sizeof TT_LAKE_RUN_TIME - 1}, .kind = TT_PQ_INT64, .meaning = TT_PQ_TIMESTAMP, .unit = TT_PQ_MICROS, .is_utc = true},
        {.name = {TT_LAKE_VERSION, sizeof TT_LAKE_VERSION - 1}, .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING},
        {.name = {TT_LAKE_TRANSFORM_TIME, sizeof TT_LAKE_TRANSFORM_TIME - 1}, .kind = TT_PQ_INT64, .meaning = TT_PQ_TIMESTAMP, .unit = TT_PQ_MICROS, .is_utc = true},
        {.name = {TT_LAKE_CONTRACT, sizeof TT_LAKE_CONTRACT - 1}, .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING},
    };
    size_t most = p->spec.field_count + METADATA_COLUMNS;
    p->body = tt_arena_alloc(&p->arena, most * sizeof *p->body);
    p->fields = tt_arena_alloc(&p->arena, most * sizeof *p->fields);
    if (!p->body || !p->fields)
        return no_memory(err);
    for (uint32_t i = 0; i < p->spec.field_count; i++) {
        const tt_pq_field *f = &p->spec.fields[i];
        if (tt_lake_is_metadata(f->name) || is_partition(&p->spec, f->name))
            continue;
        p->fields[p->body_count] = *f;
        p->body[p->body_count++] = i;
    }
    memcpy(p->fields + p->body_count, metadata, sizeof metadata);
    return TT_OK;
}

static tt_rc fill_metadata(tt_publication *p, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0}, types = {0};
    tt_contract_put_path(p->spec.contract, &path);
    tt_buf_printf(&types, "{\"" TT_LAKE_RUN_ID "\":\"int\"");
    for (size_t i = 0; i < p->spec.partition_count; i++) {
        const tt_pq_field *f = &p->spec.fields[p->partitions[i]];
        tt_buf_char(&types, ',');
        tt_buf_json_str(&types, f->name);
        tt_buf_printf(&types, ":\"%s\"", tt_hive_type_of(f));
    }
    tt_buf_char(&types, '}');
    TT_TRY(tt_buf_check(&path, err));
    TT_TRY(tt_buf_check(&types, err));
    const char *contract = tt_arena_dup(&p->arena, tt_buf_view(&path)), *kept = tt_arena_dup(&p->arena, tt_buf_view(&types));
    p->path = tt_arena_printf(&p->arena, "%s/" TT_LAKE_RUN_ID "=%lld", contract ? contract : "", (long long)p->spec.run_id);
    if (!contract || !kept || !p->path)
        return no_memory(err);
    p->key_values[0] = (tt_pq_key_value){TT_STR(TT_LAKE_TYPES_KEY), tt_str_of(kept)};
    p->key_values[1] = (tt_pq_key_value){TT_STR("tutti.contract"), tt_str_of(contract)};
    p->metadata[0] = (tt_datum){.kind = TT_DATUM_INT, .i = p->spec.run_time_us};
    p->metadata[1] = (tt_datum){.kind = TT_DATUM_BYTES, .bytes = p->spec.app_version};
    p->metadata[2] = (tt_datum){.kind = TT_DATUM_INT, .i = tt_wall_ms() * 1000};
    p->metadata[3] = (tt_datum){.kind = TT_DATUM_BYTES, .bytes = tt_str_of(contract)};
    return TT_OK;
}

static tt_rc open_it(tt_publication *p, tt_store *s, tt_err *err)
{
    const char *data;
    if (p->spec.contract->form != TT_CONTRACT_DATASET)
        return tt_fail(err, TT_INVALID, "rows are published to a dataset: the contract names %s: write STATE/DATASET, of another state than raw", p->spec.contract->form == TT_CONTRACT_STATE ? "a state" : "files of the state raw");
    if (p->spec.run_id < 0)
        return tt_fail(err, TT_INVALID, "run %lld: it is 0 or more", (long long)p->spec.run_id);
    TT_TRY(find_partitions(p, err));
    TT_TRY(make_fields(p, err));
    TT_TRY(fill_metadata(p, err));
    TT_TRY(tt_store_stage(s, &p->stage, err));
    return tt_stage_mkdir(p->stage, TT_STR("run"), &p->arena, &data, err);
}

tt_rc tt_publication_open(tt_store *s, const tt_publish_spec *spec, tt_publication **ret, tt_err *err)
{
    tt_publication *p = TT_NEW(tt_publication);
    p->spec = *spec;
    tt_rc rc = open_it(p, s, err);
    if (rc == TT_OK)
        *ret = p;
    else
        tt_publication_free(p);
    return rc;
}

void tt_publication_free(tt_publication *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->places.len; i++)
        tt_pq_writer_free(p->places.ptr[i]->writer);
    tt_stage_free(p->stage);
    tt_map_deinit(&p->by_dir);
    tt_vec_deinit(&p->places);
    tt_buf_deinit(&p->dir);
    tt_arena_deinit(&p->arena);
    free(p);
}

/* ---- files ---- */

static tt_rc end_file(tt_publication *p, place *at, tt_err *err)
{
    tt_rc rc = tt_pq_writer_finish(at->writer, err);
    p->done.bytes += tt_pq_writer_bytes(at->writer);
    tt_pq_writer_free(at->writer);
    at->writer = NULL;
    p->open_count--;
    return rc;
}

static tt_rc end_oldest(tt_publication *p, tt_err *err)
{
    place *oldest = NULL;
    for (size_t i = 0; i < p->places.len; i++)
        if (p->places.ptr[i]->writer && (!oldest || p->places.ptr[i]->used_at < oldest->used_at))
            oldest = p->places.ptr[i];
    return end_file(p, oldest, err);
}

/* What a row group may take, so that all open ones together stay small. */
static uint64_t group_bytes(size_t open) { return open < 4 ? 32u << 20 : open < 32 ? 2u << 20 : 512u << 10; }

static tt_rc open_file(tt_publication *p, place *at, tt_err *err)
{
    const char *dir;
    if (p->open_count == MOST_OPEN)
        TT_TRY(end_oldest(p, err));
    if (p->done.files == MOST_FILES)
        return tt_fail(err, TT_TOO_LARGE, "more than %d files would be made: sort the rows by the partitions, or choose partitions of fewer values", MOST_FILES);
    const char *inner = tt_arena_printf(&p->arena, "run/%s", at->dir);
    if (!inner)
        return no_memory(err);
    TT_TRY(tt_stage_mkdir(p->stage, tt_str_of(inner), &p->arena, &dir, err));
    const char *path = tt_arena_printf(&p->arena, "%s%spart-%05u.parquet", dir, at->dir[0] ? "" : "/", at->file_count++);
    if (!path)
        return no_memory(err);
    tt_pq_writer_options options = {.fields = p->fields, .field_count = p->body_count + METADATA_COLUMNS, .codec = TT_PQ_C_ZSTD,
                                    .group_bytes = group_bytes(p->open_count), .key_values = p->key_values, .key_value_count = TT_COUNT(p->key_values)};
    TT_TRY(tt_pq_writer_create(path, &options, &at->writer, err));
    p->open_count++;
    p->done.files++;
    return TT_OK;
}

static tt_rc put_dir(tt_publication *p, const tt_rows *rows, uint32_t r, tt_err *err)
{
    static const tt_datum null = {.kind = TT_DATUM_NULL};
    tt_buf_clear(&p->dir);
    for (size_t i = 0; i < p->spec.partition_count; i++) {
        const tt_pq_field *f = &p->spec.fields[p->partitions[i]];
        TT_TRY(tt_hive_put(f->name, f, rows ? tt_rows_cell(rows, p->partitions[i], r) : &null, &p->dir, err));
        tt_buf_char(&p->dir, '/');
    }
    return tt_buf_check(&p->dir, err);
}

static tt_rc find_place(tt_publication *p, place **ret, tt_err *err)
{
    *ret = tt_map_get(&p->by_dir, tt_buf_view(&p->dir));
    if (*ret)
        return TT_OK;
    place *at = tt_arena_alloc(&p->arena, sizeof *at);
    if (!at || !(at->dir = tt_arena_dup(&p->arena, tt_buf_view(&p->dir))) || !tt_vec_push(&p->places, at) || !tt_map_put(&p->by_dir, tt_buf_view(&p->dir), at, NULL))
        return no_memory(err);
    *ret = at;
    return TT_OK;
}

/* ---- rows ---- */

static bool same_place(const tt_publication *p, const tt_rows *rows, uint32_t r)
{
    if (!p->last)
        return false;
    for (size_t i = 0; i < p->spec.partition_count; i++)
        if (r == 0 || !tt_datum_same(tt_rows_cell(rows, p->partitions[i], r), tt_rows_cell(rows, p->partitions[i], r - 1)))
            return false;
    return true;
}

static void put_row(tt_publication *p, tt_pq_writer *w, const tt_rows *rows, uint32_t r)
{
    for (uint32_t i = 0; i < p->body_count; i++)
        tt_datum_put(w, i, &p->fields[i], tt_rows_cell(rows, p->body[i], r));
    for (uint32_t i = 0; i < METADATA_COLUMNS; i++)
        tt_datum_put(w, p->body_count + i, &p->fields[p->body_count + i], &p->metadata[i]);
}

tt_rc tt_publication_put(tt_publication *p, const tt_rows *rows, uint32_t r, tt_err *err)
{
    if (!same_place(p, rows, r)) {
        TT_TRY(put_dir(p, rows, r, err));
        TT_TRY(find_place(p, &p->last, err));
    }
    if (!p->last->writer)
        TT_TRY(open_file(p, p->last, err));
    p->last->used_at = ++p->done.rows;
    put_row(p, p->last->writer, rows, r);
    TT_TRY(tt_pq_end_row(p->last->writer, err));
    return tt_pq_writer_bytes(p->last->writer) > FILE_BYTES ? end_file(p, p->last, err) : TT_OK;
}

tt_rc tt_publication_put_all(tt_publication *p, tt_frame *frame, tt_err *err)
{
    tt_rows *rows;
    do {
        TT_TRY(tt_frame_next(frame, &rows, err));
        for (uint32_t r = 0; r < rows->count; r++)
            TT_TRY(tt_publication_put(p, rows, r, err));
    } while (rows->count);
    return TT_OK;
}

tt_rc tt_publication_commit(tt_publication *p, tt_published *ret, tt_err *err)
{
    if (p->places.len == 0) { /* no row: the columns are told all the same */
        TT_TRY(put_dir(p, NULL, 0, err));
        TT_TRY(find_place(p, &p->last, err));
        TT_TRY(open_file(p, p->last, err));
    }
    for (size_t i = 0; i < p->places.len; i++)
        if (p->places.ptr[i]->writer)
            TT_TRY(end_file(p, p->places.ptr[i], err));
    TT_TRY(tt_stage_commit(p->stage, "run", tt_str_of(p->path), err));
    *ret = p->done;
    ret->path = p->path;
    return TT_OK;
}

/* ---- raw files ---- */

static tt_rc copy_file(int from, int to, const char *path, uint64_t *ret_bytes, tt_err *err)
{
    char piece[1 << 16];
    struct stat st;
    size_t len = 0;
    int errnum = 0;
    *ret_bytes = 0;
    while ((errnum = tt_fd_read_at(from, *ret_bytes, piece, sizeof piece, &len)) == 0 && len > 0) {
        errnum = tt_fd_write_at(to, *ret_bytes, piece, len);
        if (errnum)
            break;
        *ret_bytes += len;
    }
    if (errnum)
        return tt_fail_errno(err, errnum, "%s: cannot copy", path);
    if (fstat(from, &st) != 0 || futimens(to, (struct timespec[]){st.st_mtim, st.st_mtim}) != 0 || tt_sys.fsync(to) != 0)
        return tt_fail_errno(err, errno, "%s: cannot copy", path);
    return TT_OK;
}

tt_rc tt_lake_publish_raw(tt_store *s, const tt_contract *c, const char *path, uint64_t *ret_bytes, tt_err *err)
{
    TT_STAGE_AUTO tt_stage *stage = NULL;
    TT_BUF_AUTO tt_buf staged = {0}, target = {0};
    TT_FD_AUTO int from = tt_sys.open(path, O_RDONLY | O_CLOEXEC, 0), to = -1;
    struct stat st;
    if (from < 0 || fstat(from, &st) != 0)
        return tt_fail_errno(err, errno, "%s: cannot open", path);
    if (!S_ISREG(st.st_mode))
        return tt_fail(err, TT_INVALID, "%s: is no file", path);
    TT_TRY(tt_store_stage(s, &stage, err));
    tt_buf_printf(&staged, "%s/file", tt_stage_dir(stage));
    tt_contract_put_path(c, &target);
    TT_TRY(tt_buf_check(&staged, err));
    TT_TRY(tt_buf_check(&target, err));
    to = tt_sys.open(tt_buf_cstr(&staged), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (to < 0)
        return tt_fail_errno(err, errno, "%s: cannot create", tt_buf_cstr(&staged));
    TT_TRY(copy_file(from, to, path, ret_bytes, err));
    return tt_stage_commit(stage, "file", tt_buf_view(&target), err);
}

tt_rc tt_lake_copy_raw(const char *path, const char *target, tt_err *err)
{
    TT_BUF_AUTO tt_buf part = {0};
    TT_FD_AUTO int from = tt_sys.open(path, O_RDONLY | O_CLOEXEC, 0), to = -1;
    uint64_t bytes;
    if (from < 0)
        return tt_fail_errno(err, errno, "%s: cannot open", path);
    tt_buf_printf(&part, "%s.part", target);
    TT_TRY(tt_buf_check(&part, err));
    to = tt_sys.open(tt_buf_cstr(&part), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (to < 0)
        return tt_fail_errno(err, errno, "%s: cannot create", tt_buf_cstr(&part));
    TT_TRY(copy_file(from, to, path, &bytes, err));
    return tt_sys.rename(tt_buf_cstr(&part), target) == 0 ? TT_OK : tt_fail_errno(err, errno, "%s: cannot complete", target);
}
