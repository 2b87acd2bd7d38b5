#include "query/dataset.h"

#include <math.h>

#include "query/pieces.h"

static const char *const modes[] = {[TT_VALIDATE_SINGLE] = "SINGLE", [TT_VALIDATE_FIRST_LAST] = "FIRST_LAST", [TT_VALIDATE_SAMPLE] = "SAMPLE"};

const char *tt_validation_mode_name(tt_validation_mode mode) { return modes[mode]; }

bool tt_validation_mode_find(tt_str name, tt_validation_mode *ret)
{
    for (size_t i = 0; i < TT_COUNT(modes); i++)
        if (tt_str_is(name, modes[i])) {
            *ret = (tt_validation_mode)i;
            return true;
        }
    return false;
}

static tt_str text_of(const json_t *v) { return (tt_str){json_string_value(v), json_string_length(v)}; }
static tt_str member(const json_t *object, const char *name) { return text_of(json_object_get(object, name)); }

/* ---- paths ---- */

static bool is_word(tt_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.ptr[i] | 0x20) >= 'a' && (s.ptr[i] | 0x20) <= 'z') && !(s.ptr[i] >= '0' && s.ptr[i] <= '9') && s.ptr[i] != '_')
            return false;
    return s.len > 0;
}

tt_rc tt_dataset_dir(tt_str basepath, tt_str *ret, tt_err *err)
{
    ptrdiff_t colon = tt_str_find(basepath, ':');
    *ret = basepath;
    if (colon < 0 || !is_word(tt_str_slice(basepath, 0, (size_t)colon)) || !tt_str_starts(tt_str_slice(basepath, (size_t)colon, basepath.len), TT_STR("://")))
        return TT_OK;
    tt_str protocol = tt_str_slice(basepath, 0, (size_t)colon);
    *ret = tt_str_slice(basepath, (size_t)colon + 3, basepath.len);
    if (tt_str_eq_nocase(protocol, TT_STR("file")) && ret->len)
        return TT_OK;
    if (tt_str_eq_nocase(protocol, TT_STR("s3")))
        return tt_fail(err, TT_UNPROCESSABLE, "Storage protocol 'S3' cannot be read by this version: copy the files into a local directory");
    return tt_fail(err, TT_UNPROCESSABLE, "Storage protocol '%.*s' is not in supported list: ['FILE']", TT_STR_ARG(protocol));
}

/* ---- columns ---- */

json_t *tt_query_columns_pack(const tt_query_columns *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->count; i++) {
        const tt_query_column *one = &c->columns[i];
        json_array_append_new(list, json_pack("[s%,s,s,I,s%,I]", one->name.ptr, one->name.len, tt_col_type_name(one->type), tt_col_type_name(one->element),
                                              (json_int_t)one->unit_ns, one->separator.ptr ? one->separator.ptr : "", one->separator.len, (json_int_t)one->stored_unit_ns));
    }
    return list;
}

/* Of lists that are text; older rows of other columns end before it. */
static bool unpack_separator(const json_t *row, tt_arena *arena, tt_query_column *ret)
{
    tt_str separator = text_of(json_array_get(row, 4));
    if (!separator.len)
        return json_array_size(row) == 4 || separator.ptr;
    char *copy = tt_arena_dup(arena, separator);
    ret->separator = (tt_str){copy, separator.len};
    return copy && separator.len <= TT_SEPARATOR_MAX && ret->type == TT_COL_LIST && ret->element == TT_COL_STRING;
}

static bool unpack_units(const json_t *row, tt_query_column *ret)
{
    const json_t *unit = json_array_get(row, 3), *stored = json_array_get(row, 5);
    bool is_time = ret->type == TT_COL_DATETIME || (ret->type == TT_COL_LIST && ret->element == TT_COL_DATETIME);
    ret->unit_ns = json_integer_value(unit);
    ret->stored_unit_ns = stored ? json_integer_value(stored) : -1; /* older rows do not say it */
    return json_array_size(row) <= 6 && json_is_integer(unit) && ret->unit_ns >= is_time && (!stored || json_is_integer(stored)) && ret->stored_unit_ns >= -1;
}

static bool unpack_column(const json_t *row, tt_arena *arena, tt_query_column *ret)
{
    tt_str name = text_of(json_array_get(row, 0));
    char *copy = tt_arena_dup(arena, name);
    *ret = (tt_query_column){.name = {copy, name.len}};
    return copy && name.ptr && tt_col_type_find(text_of(json_array_get(row, 1)), &ret->type) && tt_col_type_find(text_of(json_array_get(row, 2)), &ret->element) &&
           unpack_units(row, ret) && unpack_separator(row, arena, ret);
}

tt_rc tt_query_columns_unpack(const json_t *packed, tt_arena *arena, tt_query_columns *ret, tt_err *err)
{
    size_t count = json_array_size(packed);
    tt_query_column *columns = tt_arena_alloc(arena, (count + 1) * sizeof *columns);
    if (!columns)
        return tt_fail(err, TT_NOMEM, "out of memory for %zu columns", count);
    bool ok = json_is_array(packed);
    for (size_t i = 0; ok && i < count; i++)
        ok = unpack_column(json_array_get(packed, i), arena, &columns[i]);
    *ret = (tt_query_columns){.columns = columns, .count = count, .min_time = NAN, .max_time = NAN};
    return ok ? TT_OK : tt_fail(err, TT_CORRUPT, "these are no columns of a dataset");
}

/* ---- reading a record ---- */

static bool read_files(tt_dataset *d, const json_t *list)
{
    size_t count = json_array_size(list);
    tt_dataset_file *files = tt_arena_alloc(&d->arena, (count + 1) * sizeof *files);
    for (size_t i = 0; files && i < count; i++) {
        const json_t *row = json_array_get(list, i), *size = json_array_get(row, 1);
        if (json_array_size(row) != 3 || !json_is_string(json_array_get(row, 0)) || json_integer_value(size) < 0)
            return false;
        files[i] = (tt_dataset_file){text_of(json_array_get(row, 0)), (uint64_t)json_integer_value(size), json_integer_value(json_array_get(row, 2))};
        d->size_bytes += files[i].size_bytes;
    }
    d->files = files;
    d->file_count = count;
    return files && count > 0;
}

static bool find_column(const tt_query_columns *c, tt_str name, uint32_t *ret)
{
    ptrdiff_t at = tt_query_column_find(c, name);
    *ret = (uint32_t)at;
    return at >= 0;
}

static bool read_record(tt_dataset *d)
{
    const json_t *r = d->record;
    d->name = member(r, "name");
    d->registered_at = member(r, "registeredAt");
    d->basepath = member(r, "basepath");
    d->group = member(r, "group");
    d->time = member(r, "time");
    if (!d->name.ptr || !d->registered_at.ptr || !d->basepath.ptr || !d->group.ptr || !d->time.ptr || !json_is_object(json_object_get(r, "schema")))
        return false;
    if (tt_dataset_dir(d->basepath, &d->dir, NULL) != TT_OK || !read_files(d, json_object_get(r, "files")) ||
        tt_query_columns_unpack(json_object_get(r, "columns"), &d->arena, &d->columns, NULL) != TT_OK)
        return false;
    const json_t *min = json_object_get(r, "minTimestamp"), *max = json_object_get(r, "maxTimestamp");
    d->columns.min_time = json_is_number(min) ? json_number_value(min) : NAN;
    d->columns.max_time = json_is_number(max) ? json_number_value(max) : NAN;
    return find_column(&d->columns, d->group, &d->columns.group) && find_column(&d->columns, d->time, &d->columns.time);
}

tt_rc tt_dataset_new(json_t *record_taken, tt_dataset **ret, tt_err *err)
{
    tt_dataset *d = TT_NEW(tt_dataset);
    d->record = record_taken;
    if (read_record(d)) {
        *ret = d;
        return TT_OK;
    }
    tt_dataset_free(d);
    return tt_fail(err, TT_CORRUPT, "the record of this dataset cannot be read: register it again");
}

void tt_dataset_free(tt_dataset *d)
{
    if (!d)
        return;
    json_decref(d->record);
    tt_arena_deinit(&d->arena);
    free(d);
}

/* ---- shapes ---- */

static json_t *json_of(tt_str s) { return json_stringn(s.ptr, s.len); }

json_t *tt_dataset_info(const tt_dataset *d)
{
    return json_pack("{s:o,s:I,s:{s:o,s:o},s:o,s:o}", "basepath", json_of(d->basepath), "totalParts", (json_int_t)d->file_count, "id", "name", json_of(d->name),
                     "registeredAt", json_of(d->registered_at), "groupIdColumn", json_of(d->group), "timestampColumn", json_of(d->time));
}

json_t *tt_dataset_parts(const tt_dataset *d)
{
    json_t *names = json_array();
    for (size_t i = 0; i < d->file_count; i++)
        json_array_append_new(names, json_of(d->files[i].name));
    return json_pack("{s:s,s:I,s:I,s:o}", "namingMethod", "LIST", "totalParts", (json_int_t)d->file_count, "totalSize", (json_int_t)d->size_bytes, "filenames", names);
}

/* Categories that were stored as such, and columns that could be. */
static json_t *short_schema(const tt_dataset *d, const json_t *columns)
{
    json_t *types = json_object(), *source = json_array(), *potential = json_array();
    const char *name;
    json_t *column;
    json_object_foreach((json_t *)(uintptr_t)columns, name, column) {
        bool is_category = json_is_true(json_object_get(json_object_get(column, "colattrs"), "categorical"));
        json_object_set(types, name, json_object_get(column, "coltype"));
        if (is_category)
            json_array_append_new(tt_str_is(member(column, "dtypeName"), "category") ? source : potential, json_string(name));
    }
    return json_pack("{s:o,s:O?,s:O?,s:o,s:o}", "columns", types, "minTimestamp", json_object_get(d->record, "minTimestamp"), "maxTimestamp",
                     json_object_get(d->record, "maxTimestamp"), "sourceCategoricals", source, "potentialCategoricals", potential);
}

json_t *tt_dataset_schema(const tt_dataset *d, bool full)
{
    json_t *schema = json_object_get(d->record, "schema");
    return full ? json_incref(schema) : short_schema(d, json_object_get(schema, "columns"));
}
