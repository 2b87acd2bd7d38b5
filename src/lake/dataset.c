#include "lake/dataset.h"

#include <jansson.h>

#include "lake/hive.h"

enum { MOST_DEPTH = 32 };

bool tt_lake_is_metadata(tt_str column)
{
    static const char *const names[] = {TT_LAKE_RUN_ID, TT_LAKE_RUN_TIME, TT_LAKE_VERSION, TT_LAKE_TRANSFORM_TIME, TT_LAKE_CONTRACT};
    for (size_t i = 0; i < TT_COUNT(names); i++)
        if (tt_str_is(column, names[i]))
            return true;
    return false;
}

const char *tt_lake_type_name(const tt_pq_field *field)
{
    tt_pq_field one = *field;
    one.is_list = false;
    const char *word = tt_hive_type_of(&one);
    if (field->is_list)
        return word && strcmp(word, "string") == 0 ? "list<string>" : word && strcmp(word, "int") == 0 ? "list<int>" : "list";
    if (word)
        return word;
    return field->meaning == TT_PQ_DECIMAL ? "decimal" : field->meaning == TT_PQ_JSON ? "json" : field->meaning == TT_PQ_TIME ? "time"
           : field->kind == TT_PQ_UINT64 ? "uint64" : field->meaning == TT_PQ_TIMESTAMP ? "datetime_ns" : field->bit_width ? "int" : "other";
}

/* ---- files ---- */

typedef struct {
    tt_store *store;
    tt_arena *arena;
    tt_lake_files *files;
    tt_lake_partition partitions[MOST_DEPTH];
} walk;

static tt_rc add_found(walk *w, const char *path, const tt_store_entry *e, size_t depth, tt_err *err)
{
    tt_lake_file file = {.path = path, .size_bytes = e->size_bytes, .modified_ms = e->modified_ms, .partition_count = depth};
    file.partitions = tt_arena_alloc(w->arena, (depth + 1) * sizeof *file.partitions);
    if (!file.partitions)
        return tt_fail(err, TT_NOMEM, "out of memory");
    for (size_t i = 0; i < depth; i++) {
        file.partitions[i] = w->partitions[i];
        if (tt_str_is(w->partitions[i].name, TT_LAKE_RUN_ID))
            file.has_run = tt_parse_i64(w->partitions[i].value, &file.run_id, NULL) == TT_OK;
    }
    return tt_vec_push(w->files, file) ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

static bool is_new(const walk *w, size_t depth, tt_str name)
{
    for (size_t i = 0; i < depth; i++)
        if (tt_str_eq(w->partitions[i].name, name))
            return false;
    return true;
}

static tt_rc walk_dir(walk *w, const char *path, size_t depth, tt_err *err)
{
    tt_store_entries entries = {0};
    tt_rc rc = tt_store_list(w->store, tt_str_of(path), w->arena, &entries, err);
    for (size_t i = 0; i < entries.len && rc == TT_OK; i++) {
        const tt_store_entry *e = &entries.ptr[i];
        const char *inner = tt_arena_printf(w->arena, "%s/%s", path, e->name);
        tt_lake_partition *p = &w->partitions[depth];
        if (!inner)
            rc = tt_fail(err, TT_NOMEM, "out of memory");
        else if (!e->is_dir && (tt_str_ends(tt_str_of(e->name), TT_STR(".parquet")) || tt_str_ends(tt_str_of(e->name), TT_STR(".pq"))))
            rc = add_found(w, inner, e, depth, err);
        else if (e->is_dir && depth + 1 < MOST_DEPTH && tt_hive_parse(tt_str_of(e->name), w->arena, &p->name, &p->value) && is_new(w, depth, p->name))
            rc = walk_dir(w, inner, depth + 1, err);
    }
    tt_vec_deinit(&entries);
    return rc;
}

tt_rc tt_lake_list_files(tt_store *s, tt_str path, tt_arena *arena, tt_lake_files *ret, tt_err *err)
{
    walk w = {.store = s, .arena = arena, .files = ret};
    const char *text = tt_arena_dup(arena, path);
    return text ? walk_dir(&w, text, 0, err) : tt_fail(err, TT_NOMEM, "out of memory");
}

bool tt_lake_latest_run(const tt_lake_files *files, int64_t *ret)
{
    bool found = false;
    for (size_t i = 0; i < files->len; i++)
        if (files->ptr[i].has_run && (!found || files->ptr[i].run_id > *ret)) {
            *ret = files->ptr[i].run_id;
            found = true;
        }
    return found;
}

/* ---- types of directories ---- */

/* {"name": "type"} of the file; NULL: it says nothing. */
static json_t *read_types(const tt_pq_file *f)
{
    const tt_pq_key_value *all;
    size_t count = tt_pq_key_values(f, &all);
    for (size_t i = 0; i < count; i++)
        if (tt_str_is(all[i].key, TT_LAKE_TYPES_KEY) && all[i].value.ptr)
            return json_loadb(all[i].value.ptr, all[i].value.len, 0, NULL);
    return NULL;
}

/* Nobody says what it is: a whole number is one, everything else is text. */
static tt_pq_field guess(tt_str value)
{
    int64_t i;
    bool is_int = value.ptr && tt_parse_i64(value, &i, NULL) == TT_OK && value.ptr[0] != '+' && (value.ptr[0] != '0' || value.len == 1);
    return (tt_pq_field){.kind = is_int ? TT_PQ_INT64 : TT_PQ_BYTES, .meaning = is_int ? TT_PQ_PLAIN : TT_PQ_STRING, .is_nullable = true};
}

static tt_rc constant_of(const tt_lake_file *file, const tt_lake_partition *p, const json_t *types, tt_arena *arena, tt_frame_constant *ret, tt_err *err)
{
    char name[256];
    snprintf(name, sizeof name, "%.*s", TT_STR_ARG(p->name));
    const char *type = json_string_value(json_object_get(types, name));
    if (!type || !tt_hive_field_of(tt_str_of(type), &ret->field))
        ret->field = guess(p->value);
    ret->field.name = p->name;
    ret->value = (tt_datum){.kind = TT_DATUM_NULL};
    if (p->value.ptr && !tt_datum_parse(&ret->field, p->value, arena, &ret->value))
        return tt_fail(err, TT_CORRUPT, "%s: the directory %.*s=%.*s is no %s", file->path, TT_STR_ARG(p->name), TT_STR_ARG(tt_str_slice(p->value, 0, 80)), type ? type : "value");
    return TT_OK;
}

tt_rc tt_lake_add_file(tt_store *s, const tt_lake_file *file, tt_frame *frame, tt_arena *arena, tt_err *err)
{
    TT_PQ_AUTO tt_pq_file *f = NULL;
    const char *local;
    tt_frame_constant constants[MOST_DEPTH];
    TT_TRY(tt_store_local(s, tt_str_of(file->path), arena, &local, err));
    TT_TRY(tt_pq_open(local, NULL, &f, err));
    json_t *types = read_types(f);
    tt_rc rc = TT_OK;
    for (size_t i = 0; i < file->partition_count && rc == TT_OK; i++)
        rc = constant_of(file, &file->partitions[i], types, arena, &constants[i], err);
    json_decref(types);
    return rc == TT_OK ? tt_frame_add_part(frame, local, constants, file->partition_count, err) : rc;
}
