#include "data/parquet/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <xxhash.h>

#include "base/sys.h"
#include "data/parquet/pack.h"
#include "data/parquet/writer_impl.h"
#include "io/fd.h"
#include "io/whole_file.h"

enum {
    GROUP_ROWS = 1 << 20,
    GROUP_BYTES = 64 << 20,
    PAGE_ROWS = 20000,
    DICTIONARY_BYTES_MAX = 1 << 20,
    DICTIONARY_TRIAL = 16384, /* values after which a dictionary must have shown that it is worth it */
    TABLE_FIRST = 1024,
};
static const uint64_t ROW_BYTES_MAX = UINT64_C(1) << 30; /* beyond those of a row group: a row is in one, and a page has not more */

static const char no_memory[] = "out of memory";

/* ---- files ---- */

tt_rc tt_pq_append(tt_pq_writer *w, tt_str bytes, tt_err *err)
{
    int errnum = tt_fd_write_at(w->fd, w->at, bytes.ptr, bytes.len);
    if (errnum)
        return tt_fail_errno(err, errnum, "%s: cannot write", w->name);
    w->at += bytes.len;
    return TT_OK;
}

static tt_rc set_up_column(const tt_pq_field *field, tt_arena *arena, tt_pq_out_column *c, tt_err *err)
{
    static const struct {
        tt_pq_type type;
        uint32_t width;
    } types[] = {[TT_PQ_BOOL] = {TT_PQ_T_BOOLEAN, 1}, [TT_PQ_INT32] = {TT_PQ_T_INT32, 4}, [TT_PQ_INT64] = {TT_PQ_T_INT64, 8},
                 [TT_PQ_UINT32] = {TT_PQ_T_INT32, 4}, [TT_PQ_UINT64] = {TT_PQ_T_INT64, 8}, [TT_PQ_FLOAT] = {TT_PQ_T_FLOAT, 4},
                 [TT_PQ_DOUBLE] = {TT_PQ_T_DOUBLE, 8}, [TT_PQ_BYTES] = {TT_PQ_T_BYTE_ARRAY, 0}, [TT_PQ_FIXED] = {TT_PQ_T_FIXED, 0}};
    c->field = *field;
    c->field.name = (tt_str){tt_arena_dup(arena, field->name), field->name.len};
    c->type = types[field->kind].type;
    c->width = field->kind == TT_PQ_FIXED ? field->width : types[field->kind].width;
    c->max_def = field->is_nullable;
    if (field->is_list) {
        c->list_def = (uint8_t)(field->is_nullable + 1);
        c->max_def = (uint8_t)(c->list_def + field->is_nullable);
    }
    c->is_coded = c->type != TT_PQ_T_BOOLEAN;
    if (!c->field.name.ptr)
        return tt_fail(err, TT_NOMEM, "out of memory");
    if (field->kind == TT_PQ_FIXED && field->width == 0)
        return tt_fail(err, TT_INVALID, "column `%.*s`: values of 0 bytes", TT_STR_ARG(field->name));
    return TT_OK;
}

static tt_rc copy_key_values(tt_pq_writer *w, tt_err *err)
{
    tt_pq_key_value *copies = tt_arena_alloc(&w->arena, w->options.key_value_count * sizeof *copies);
    for (uint32_t i = 0; copies && i < w->options.key_value_count; i++) {
        const tt_pq_key_value *from = &w->options.key_values[i];
        copies[i] = (tt_pq_key_value){{tt_arena_dup(&w->arena, from->key), from->key.len}, {tt_arena_dup(&w->arena, from->value), from->value.len}};
        if (!copies[i].key.ptr || !copies[i].value.ptr)
            copies = NULL;
    }
    w->options.key_values = copies;
    struct tt_pq_sorting *sorting = tt_arena_alloc(&w->arena, w->options.sorting_count * sizeof *sorting);
    if (sorting && w->options.sorting_count)
        memcpy(sorting, w->options.sorting, w->options.sorting_count * sizeof *sorting);
    w->options.sorting = sorting;
    return copies && sorting ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

static tt_rc set_up(tt_pq_writer *w, const tt_pq_writer_options *options, tt_err *err)
{
    w->options = *options;
    if (!w->options.group_rows)
        w->options.group_rows = GROUP_ROWS;
    if (!w->options.group_bytes)
        w->options.group_bytes = GROUP_BYTES;
    if (!w->options.page_rows)
        w->options.page_rows = PAGE_ROWS;
    TT_TRY(tt_pq_pack_load(options->codec, w->name, err));
    w->columns = tt_calloc(options->field_count ? options->field_count : 1, sizeof *w->columns);
    if (!w->columns)
        return tt_fail(err, TT_NOMEM, "out of memory");
    for (uint32_t i = 0; i < options->field_count; i++)
        TT_TRY(set_up_column(&options->fields[i], &w->arena, &w->columns[i], err));
    TT_TRY(copy_key_values(w, err));
    return tt_pq_append(w, TT_STR("PAR1"), err);
}

static tt_rc new_writer(int fd, const char *name, bool owns_file, const tt_pq_writer_options *options, tt_pq_writer **ret, tt_err *err)
{
    tt_pq_writer *w = TT_NEW(tt_pq_writer);
    w->fd = fd;
    w->owns_file = owns_file;
    w->name = tt_dup_cstr(name);
    if (owns_file)
        w->temporary_path = tt_arena_printf(&w->arena, "%s.part", name);
    tt_rc rc = TT_OK;
    if (owns_file && !w->temporary_path)
        rc = tt_fail(err, TT_NOMEM, "out of memory");
    if (rc == TT_OK && owns_file)
        rc = tt_whole_file_check(name, err);
    if (rc == TT_OK && owns_file && (w->fd = tt_sys.open(w->temporary_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) < 0)
        rc = tt_whole_file_fail_create(name, err);
    if (rc == TT_OK)
        rc = set_up(w, options, err);
    if (rc != TT_OK) {
        tt_pq_writer_free(w);
        return rc;
    }
    *ret = w;
    return TT_OK;
}

tt_rc tt_pq_writer_create(const char *path, const tt_pq_writer_options *options, tt_pq_writer **ret, tt_err *err)
{
    return new_writer(-1, path, true, options, ret, err);
}

tt_rc tt_pq_writer_new(int fd, const char *name, const tt_pq_writer_options *options, tt_pq_writer **ret, tt_err *err)
{
    return new_writer(fd, name, false, options, ret, err);
}

static void free_chunks(tt_pq_out_group *g, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        tt_vec_deinit(&g->chunks[i].pages);
        tt_buf_deinit(&g->chunks[i].bounds);
    }
    free(g->chunks);
}

static void free_column(tt_pq_out_column *c)
{
    tt_buf_deinit(&c->defs);
    tt_buf_deinit(&c->reps);
    tt_buf_deinit(&c->dictionary);
    tt_buf_deinit(&c->plain);
    tt_vec_deinit(&c->codes);
    tt_vec_deinit(&c->starts);
    tt_vec_deinit(&c->lengths);
    tt_vec_deinit(&c->plain_lengths);
    free(c->table);
}

void tt_pq_writer_free(tt_pq_writer *w)
{
    if (!w)
        return;
    if (w->owns_file && w->fd >= 0) {
        tt_fd_close(&w->fd);
        tt_sys.unlink(w->temporary_path);
    }
    for (uint32_t i = 0; w->columns && i < w->options.field_count; i++)
        free_column(&w->columns[i]);
    for (size_t i = 0; i < w->groups.len; i++)
        free_chunks(&w->groups.ptr[i], w->options.field_count);
    tt_vec_deinit(&w->groups);
    tt_vec_deinit(&w->scratch);
    tt_pq_codec_deinit(&w->codec);
    tt_buf_deinit(&w->body);
    tt_buf_deinit(&w->packed);
    tt_buf_deinit(&w->header);
    free(w->columns);
    free((char *)w->name);
    tt_arena_deinit(&w->arena);
    free(w);
}

/* ---- values ---- */

static void fail_put(tt_pq_writer *w, const char *fault)
{
    if (!w->fault)
        w->fault = fault;
}

static void add_level(tt_pq_writer *w, tt_pq_out_column *c, uint8_t def)
{
    if (c->max_def)
        tt_buf_char(&c->defs, (char)def);
    if (c->list_def)
        tt_buf_char(&c->reps, c->is_in_list && c->has_elements);
    w->buffered_bytes += c->max_def ? 2 : 0;
    c->has_elements = true;
    c->slots++;
    c->rows += !c->is_in_list;
}

static bool add_plain(tt_pq_out_column *c, tt_str value)
{
    tt_buf_str(&c->plain, value);
    return !c->plain.failed && (c->width || tt_vec_push(&c->plain_lengths, (uint32_t)value.len));
}

/* The dictionary is not worth it: codes become values. */
static bool give_up_dictionary(tt_pq_out_column *c)
{
    c->is_coded = false;
    for (size_t i = 0; i < c->codes.len; i++) {
        uint32_t code = c->codes.ptr[i];
        if (!add_plain(c, (tt_str){c->dictionary.ptr + c->starts.ptr[code], c->lengths.ptr[code]}))
            return false;
    }
    tt_vec_clear(&c->codes);
    return true;
}

static uint64_t hash_of(tt_str value) { return XXH3_64bits(value.ptr, value.len); }

static bool grow_table(tt_pq_out_column *c)
{
    size_t size = c->table_size ? c->table_size * 2 : TABLE_FIRST;
    uint32_t *table = tt_calloc(size, sizeof *table);
    if (!table)
        return false;
    for (uint32_t i = 0; i < c->starts.len; i++) {
        size_t at = hash_of((tt_str){c->dictionary.ptr + c->starts.ptr[i], c->lengths.ptr[i]}) & (size - 1);
        while (table[at])
            at = (at + 1) & (size - 1);
        table[at] = i + 1;
    }
    free(c->table);
    c->table = table;
    c->table_size = size;
    return true;
}

/* The code of a value, a new one if need be. False: out of memory. */
static bool find_code(tt_pq_out_column *c, tt_str value, uint32_t *ret)
{
    if (c->starts.len * 2 >= c->table_size && !grow_table(c))
        return false;
    size_t at = hash_of(value) & (c->table_size - 1);
    for (; c->table[at]; at = (at + 1) & (c->table_size - 1)) {
        *ret = c->table[at] - 1;
        if (c->lengths.ptr[*ret] == value.len && memcmp(c->dictionary.ptr + c->starts.ptr[*ret], value.ptr, value.len) == 0)
            return true;
    }
    *ret = (uint32_t)c->starts.len;
    c->table[at] = *ret + 1;
    if (!tt_vec_push(&c->starts, (uint32_t)c->dictionary.len) || !tt_vec_push(&c->lengths, (uint32_t)value.len))
        return false;
    tt_buf_str(&c->dictionary, value);
    return !c->dictionary.failed;
}

static bool add_code(tt_pq_writer *w, tt_pq_out_column *c, tt_str value)
{
    uint32_t code;
    bool is_worth = c->values < DICTIONARY_TRIAL || c->starts.len * 2 < c->values;
    if (c->dictionary.len + c->starts.len * 4 + value.len > DICTIONARY_BYTES_MAX || !is_worth)
        return give_up_dictionary(c) && add_plain(c, value);
    w->buffered_bytes += 4;
    return find_code(c, value, &code) && tt_vec_push(&c->codes, code);
}

static void add_value(tt_pq_writer *w, uint32_t column, tt_str value)
{
    tt_assert(column < w->options.field_count);
    tt_pq_out_column *c = &w->columns[column];
    if (c->field.is_list && !c->is_in_list)
        fail_put(w, "a value outside of a list in a column of lists");
    if (value.len > INT32_MAX)
        fail_put(w, "a value is longer than 2 GiB");
    if (w->buffered_bytes > w->options.group_bytes && w->buffered_bytes - w->options.group_bytes > ROW_BYTES_MAX)
        fail_put(w, "its row is longer than 1 GiB");
    if (w->fault)
        return;
    add_level(w, c, c->max_def);
    if (!(c->is_coded ? add_code(w, c, value) : add_plain(c, value)))
        fail_put(w, no_memory);
    if (!c->is_coded)
        w->buffered_bytes += value.len + (c->width ? 0 : 4);
    c->values++;
}

void tt_pq_put_null(tt_pq_writer *w, uint32_t column)
{
    tt_assert(column < w->options.field_count);
    tt_pq_out_column *c = &w->columns[column];
    if (!c->field.is_nullable)
        fail_put(w, "a null in a column that has none");
    else
        add_level(w, c, c->is_in_list ? c->list_def : 0);
}

void tt_pq_put_list(tt_pq_writer *w, uint32_t column)
{
    tt_assert(column < w->options.field_count);
    tt_pq_out_column *c = &w->columns[column];
    if (!c->field.is_list || c->is_in_list)
        fail_put(w, "a list where none belongs");
    c->is_in_list = true;
    c->has_elements = false;
}

void tt_pq_end_list(tt_pq_writer *w, uint32_t column)
{
    tt_assert(column < w->options.field_count);
    tt_pq_out_column *c = &w->columns[column];
    if (!c->is_in_list)
        fail_put(w, "the end of a list that did not begin");
    if (!c->has_elements)
        add_level(w, c, (uint8_t)(c->list_def - 1));
    c->is_in_list = false;
    c->rows++;
}

void tt_pq_put_int(tt_pq_writer *w, uint32_t column, int64_t value)
{
    tt_assert(column < w->options.field_count);
    const tt_pq_out_column *c = &w->columns[column];
    bool fits = c->field.kind == TT_PQ_INT32 ? value == (int32_t)value : c->field.kind == TT_PQ_UINT32 ? value == (uint32_t)value : true;
    if (!fits || c->field.kind > TT_PQ_UINT64)
        fail_put(w, "an integer that does not fit into its column");
    uint8_t flag = value != 0;
    if (c->field.kind == TT_PQ_BOOL)
        add_value(w, column, (tt_str){(const char *)&flag, 1});
    else
        add_value(w, column, (tt_str){(const char *)&value, c->width}); /* little-endian */
}

void tt_pq_put_double(tt_pq_writer *w, uint32_t column, double value)
{
    tt_assert(column < w->options.field_count);
    tt_pq_kind kind = w->columns[column].field.kind;
    float narrow = (float)value;
    if (kind != TT_PQ_FLOAT && kind != TT_PQ_DOUBLE)
        fail_put(w, "a floating point number in a column of another kind");
    else
        add_value(w, column, kind == TT_PQ_FLOAT ? (tt_str){(const char *)&narrow, 4} : (tt_str){(const char *)&value, 8});
}

void tt_pq_put_bytes(tt_pq_writer *w, uint32_t column, tt_str value)
{
    tt_assert(column < w->options.field_count);
    const tt_pq_out_column *c = &w->columns[column];
    if (c->field.kind < TT_PQ_BYTES || (c->width && value.len != c->width))
        fail_put(w, "bytes that do not fit into their column");
    else
        add_value(w, column, value);
}

static void put_slot(tt_pq_writer *w, uint32_t column, const tt_pq_column *from, const tt_pq_batch *b, uint32_t i)
{
    if (!tt_pq_is_valid(b->validity, i)) {
        tt_pq_put_null(w, column);
        return;
    }
    const tt_pq_values *v = b->form == TT_PQ_FORM_CODES ? &b->dictionary->values : &b->values;
    if (b->form == TT_PQ_FORM_CODES)
        i = tt_pq_code(b, i);
    if (from->kind == TT_PQ_BYTES)
        add_value(w, column, (tt_str){v->base + v->start[i], v->length[i]});
    else
        add_value(w, column, (tt_str){(const char *)v->fixed + (size_t)i * from->width, from->width});
}

void tt_pq_put_row(tt_pq_writer *w, uint32_t column, const tt_pq_column *from, const tt_pq_batch *b, uint32_t i)
{
    const tt_pq_out_column *c = &w->columns[column];
    tt_assert(column < w->options.field_count && from->kind == c->field.kind && from->width == c->width && c->field.is_list == (from->shape == TT_PQ_LIST));
    if (from->shape == TT_PQ_FLAT) {
        put_slot(w, column, from, b, i);
    } else if (!tt_pq_is_valid(b->list_validity, i)) {
        tt_pq_put_null(w, column);
    } else {
        tt_pq_put_list(w, column);
        for (uint32_t k = b->list_offsets[i]; k < b->list_offsets[i + 1]; k++)
            put_slot(w, column, from, b, k);
        tt_pq_end_list(w, column);
    }
}

/* ---- rows, row groups ---- */

tt_rc tt_pq_end_row(tt_pq_writer *w, tt_err *err)
{
    w->rows++;
    for (uint32_t i = 0; i < w->options.field_count; i++) {
        const tt_pq_out_column *c = &w->columns[i];
        if (c->defs.failed || c->reps.failed)
            fail_put(w, no_memory);
        if (c->rows != w->rows || c->is_in_list)
            fail_put(w, "a column has no value, or more than one");
        if (w->fault)
            return tt_fail(err, w->fault == no_memory ? TT_NOMEM : TT_INVALID, "%s: row %llu, column `%.*s`: %s", w->name,
                           (unsigned long long)(w->total_rows + w->rows), TT_STR_ARG(c->field.name), w->fault);
    }
    return w->rows >= w->options.group_rows || w->buffered_bytes >= w->options.group_bytes ? tt_pq_end_group(w, err) : TT_OK;
}

static void clear_column(tt_pq_out_column *c)
{
    c->rows = c->slots = c->values = 0;
    tt_buf_clear(&c->defs);
    tt_buf_clear(&c->reps);
    tt_buf_clear(&c->dictionary);
    tt_buf_clear(&c->plain);
    tt_vec_clear(&c->codes);
    tt_vec_clear(&c->starts);
    tt_vec_clear(&c->lengths);
    tt_vec_clear(&c->plain_lengths);
    if (c->table)
        memset(c->table, 0, c->table_size * sizeof *c->table);
    c->is_coded = c->type != TT_PQ_T_BOOLEAN;
}

tt_rc tt_pq_end_group(tt_pq_writer *w, tt_err *err)
{
    if (w->rows == 0)
        return TT_OK;
    tt_pq_out_group g = {.row_count = w->rows, .at = w->at, .chunks = tt_calloc(w->options.field_count ? w->options.field_count : 1, sizeof *g.chunks)};
    if (!g.chunks || !tt_vec_push(&w->groups, g)) {
        free(g.chunks);
        return tt_fail(err, TT_NOMEM, "%s: out of memory", w->name);
    }
    for (uint32_t i = 0; i < w->options.field_count; i++) {
        TT_TRY(tt_pq_chunk_write(w, &w->columns[i], &g.chunks[i], err));
        clear_column(&w->columns[i]);
    }
    w->total_rows += w->rows;
    w->rows = w->buffered_bytes = 0;
    return TT_OK;
}

tt_rc tt_pq_writer_finish(tt_pq_writer *w, tt_err *err)
{
    TT_TRY(tt_pq_end_group(w, err));
    TT_TRY(tt_pq_footer_write(w, err));
    if (!w->owns_file)
        return TT_OK;
    if (tt_sys.fsync(w->fd) != 0 || tt_sys.rename(w->temporary_path, w->name) != 0)
        return tt_fail_errno(err, errno, "%s: cannot complete", w->name);
    tt_fd_close(&w->fd);
    return TT_OK;
}

uint64_t tt_pq_writer_bytes(const tt_pq_writer *w) { return w->at; }

tt_pq_field tt_pq_field_of(const tt_pq_column *c)
{
    bool keeps = c->meaning != TT_PQ_OTHER && c->meaning != TT_PQ_NULL;
    return (tt_pq_field){.name = c->name, .kind = c->kind, .meaning = keeps ? c->meaning : TT_PQ_PLAIN, .unit = c->unit, .is_utc = c->is_utc,
                         .bit_width = c->bit_width, .scale = c->scale, .precision = c->precision, .width = c->kind == TT_PQ_FIXED ? c->width : 0,
                         .is_nullable = c->max_def > (c->shape == TT_PQ_LIST ? 1 : 0), .is_list = c->shape == TT_PQ_LIST};
}
