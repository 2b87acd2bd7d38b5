#include "transform/ends.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/nearest.h"
#include "data/frame_out.h"
#include "io/fd.h"
#include "io/wildcard.h"
#include "lake/fetch.h"
#include "lake/home.h"
#include "lake/publish.h"
#include "work/native.h"

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory"); }

/* ---- mistakes ---- */

tt_rc tt_ends_no_column(const char *setting, tt_str name, const char *of, const tt_pq_field *fields, uint32_t count, tt_err *err)
{
    enum { MOST_BYTES = 300 };
    char hint[160];
    TT_BUF_AUTO tt_buf names = {0};
    tt_nearest near = tt_nearest_start(name);
    for (uint32_t i = 0; i < count; i++) {
        tt_nearest_offer(&near, fields[i].name);
        if (names.len < MOST_BYTES && !tt_lake_is_metadata(fields[i].name))
            tt_buf_printf(&names, "%s%.*s", names.len ? ", " : "", TT_STR_ARG(fields[i].name));
        else if (names.len && names.len < MOST_BYTES + 1000 && !tt_lake_is_metadata(fields[i].name)) {
            tt_buf_cstr_put(&names, ", ...");
            break;
        }
    }
    return tt_fail(err, TT_NOT_FOUND, "setting `%s`: %s has no column `%.*s`%s (it has %s)", setting, of, TT_STR_ARG(tt_str_slice(name, 0, 200)), tt_nearest_hint(&near, hint, sizeof hint),
                   names.len ? tt_buf_cstr(&names) : "none");
}

tt_rc tt_ends_blame(const char *setting, tt_rc rc, const tt_err *why, tt_err *err)
{
    return rc == TT_OK ? TT_OK : tt_fail(err, rc, "setting `%s`: %s", setting, why->text);
}

/* ---- contracts and runs ---- */

const char *tt_ends_contract_of(const char *end)
{
    size_t len = strlen(TT_LAKE_PREFIX);
    return strncmp(end, TT_LAKE_PREFIX, len) == 0 ? end + len : NULL;
}

tt_rc tt_ends_store(tt_arena *arena, tt_store **ret, tt_err *err)
{
    const char *lake = getenv("TUTTI_LAKE"), *data = getenv("TUTTI_PROGRAM_DATA");
    const char *where = lake && *lake ? lake : tt_arena_printf(arena, "%s/lake", data ? data : ".");
    return where ? tt_store_open(tt_str_of(where), ret, err) : no_memory(err);
}

tt_rc tt_ends_lake(const tutti_host *t, const char *contract, tt_arena *arena, tt_store **ret, tt_contract *ret_contract, tt_err *err)
{
    tt_contract_home home;
    const char *env = getenv("TUTTI_ENVIRONMENT");
    if (!contract[0] && !(contract = t->task(t, "contract"))[0])
        return tt_fail(err, TT_INVALID, "`" TT_LAKE_PREFIX "` alone is the data set of a task: this is none, or its pipeline has no company and brand");
    TT_TRY(tt_contract_home_find(tt_str_of(env && *env ? env : "dev"), tt_str_of(getenv("TUTTI_BRANCH_NAME")), arena, &home, err));
    TT_TRY(tt_contract_parse(tt_str_of(contract), &home, arena, ret_contract, err));
    return tt_ends_store(arena, ret, err);
}

tt_rc tt_ends_run(const tutti_host *t, int64_t *ret, tt_err *err)
{
    const char *run = t->text(t, "run_id");
    if (!run[0])
        run = getenv("TUTTI_RUN_ID");
    if (!run || !run[0])
        return tt_fail(err, TT_INVALID, "setting `run_id`: publishing needs the id of a run");
    return tt_parse_i64(tt_str_of(run), ret, NULL) == TT_OK ? TT_OK : tt_fail(err, TT_INVALID, "setting `run_id`: `%.80s` is no number", run);
}

tt_rc tt_ends_path(const char *path, tt_arena *arena, const char **ret, tt_err *err)
{
    tt_roots *roots = NULL;
    TT_FD_AUTO int dir = -1;
    tt_str name;
    char *real = NULL;
    TT_TRY(tt_native_roots(&roots, err));
    tt_rc rc = tt_roots_open_parent(roots, tt_str_of(path), &dir, &name, &real, err);
    if (rc == TT_NOT_FOUND)
        rc = tt_fail(err, rc, "there is no directory for `%.200s` (%s): make it", path, tt_roots_dir(roots, 0));
    if (rc == TT_OK) {
        *ret = tt_arena_printf(arena, "%s/%.*s", real, TT_STR_ARG(name));
        rc = *ret ? TT_OK : no_memory(err);
    }
    free(real);
    tt_roots_free(roots);
    return rc;
}

/* ---- inputs ---- */

/* Of a dataset or of raw files: only a run, only the latest. */
typedef struct {
    bool only_latest, has_run;
    int64_t run;
} choice;

static tt_rc read_choice(const tutti_host *t, choice *ret, tt_err *err)
{
    const char *run = t->text(t, "input_run");
    *ret = (choice){.only_latest = strcmp(run, "latest") == 0, .has_run = run[0] && strcmp(run, "latest") != 0};
    if (!ret->has_run)
        return TT_OK;
    if (strcmp(run, "this") == 0)
        return tt_ends_run(t, &ret->run, err);
    return tt_parse_i64(tt_str_of(run), &ret->run, NULL) == TT_OK ? TT_OK : tt_fail(err, TT_INVALID, "setting `input_run`: `%.80s` is neither a run's number nor `latest` nor `this`", run);
}

/* All files of a dataset, as parts. */
static tt_rc add_dataset(const tutti_host *t, tt_store *store, tt_str path, tt_arena *arena, tt_frame *frame, tt_err *err)
{
    tt_lake_files files = {0};
    choice c;
    TT_TRY(read_choice(t, &c, err));
    tt_rc rc = tt_lake_list_files(store, path, arena, &files, err);
    if (rc == TT_OK && c.only_latest)
        c.has_run = tt_lake_latest_run(&files, &c.run);
    for (size_t i = 0; i < files.len && rc == TT_OK; i++)
        if (!c.has_run || (files.ptr[i].has_run && files.ptr[i].run_id == c.run))
            rc = tt_lake_add_file(store, &files.ptr[i], frame, arena, err);
    tt_vec_deinit(&files);
    if (rc == TT_OK && tt_frame_part_count(frame) == 0)
        return c.has_run ? tt_fail(err, TT_NOT_FOUND, "dataset %.*s: the lake %s has nothing of run %lld", TT_STR_ARG(path), tt_store_where(store), (long long)c.run)
                         : tt_fail(err, TT_NOT_FOUND, "dataset %.*s: there is nothing of it in the lake %s", TT_STR_ARG(path), tt_store_where(store));
    return rc;
}

static tt_rc add_raw_file(tt_store *store, tt_str dir, const char *name, const tt_frame_intake *intake, tt_arena *arena, tt_frame *frame, tt_err *err)
{
    tt_frame_intake as = *intake;
    const char *local, *path = tt_arena_printf(arena, "%.*s/%s", TT_STR_ARG(dir), name);
    as.roots = NULL;
    if (!path)
        return no_memory(err);
    TT_TRY(tt_store_local(store, tt_str_of(path), arena, &local, err));
    return tt_frame_add_file(frame, tt_str_of(local), &as, err);
}

/* Files of the raw state whose names the contract's file says, which may be a pattern; all of them where it says none. */
static tt_rc add_raw(const tutti_host *t, tt_store *store, const tt_contract *c, const tt_frame_intake *intake, tt_arena *arena, tt_frame *frame, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_contract state = *c;
    tt_store_entries entries = {0};
    const tt_store_entry *newest = NULL;
    bool only_latest = strcmp(t->text(t, "input_run"), "latest") == 0;
    state.form = TT_CONTRACT_STATE;
    state.file = (tt_str){0};
    tt_contract_put_path(&state, &path);
    TT_TRY(tt_buf_check(&path, err));
    tt_str dir = tt_buf_view(&path), pattern = c->file.len ? c->file : TT_STR("*");
    tt_rc rc = tt_store_list(store, dir, arena, &entries, err);
    for (size_t i = 0; i < entries.len && rc == TT_OK; i++) {
        const tt_store_entry *e = &entries.ptr[i];
        if (e->is_dir || !tt_wildcard_match(pattern, tt_str_of(e->name)))
            continue;
        if (!newest || e->modified_ms >= newest->modified_ms)
            newest = e;
        if (!only_latest)
            rc = add_raw_file(store, dir, e->name, intake, arena, frame, err);
    }
    if (rc == TT_OK && only_latest && newest)
        rc = add_raw_file(store, dir, newest->name, intake, arena, frame, err);
    tt_vec_deinit(&entries);
    return rc != TT_OK || newest ? rc : tt_fail(err, TT_NOT_FOUND, "%.*s/%.*s: there is no such file in the lake %s", TT_STR_ARG(dir), TT_STR_ARG(pattern), tt_store_where(store));
}

static tt_rc add_contract(const tutti_host *t, const char *contract, const tt_frame_intake *intake, tt_frame *frame, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_arena arena = {0};
    tt_store *store = NULL;
    tt_contract c;
    tt_rc rc = tt_ends_lake(t, contract, &arena, &store, &c, err);
    if (rc == TT_OK && (c.form == TT_CONTRACT_RAW || tt_str_is(c.state, "raw"))) {
        rc = add_raw(t, store, &c, intake, &arena, frame, err);
    } else if (rc == TT_OK) {
        tt_contract_put_path(&c, &path);
        rc = tt_buf_check(&path, err);
        if (rc == TT_OK)
            rc = add_dataset(t, store, tt_buf_view(&path), &arena, frame, err);
    }
    tt_store_close(store);
    tt_arena_deinit(&arena);
    return rc;
}

static tt_rc add_files(const char *pattern, const tt_frame_intake *intake, tt_frame *frame, tt_err *err)
{
    tt_paths paths = {0};
    tt_roots *roots = NULL;
    tt_frame_intake as = *intake;
    TT_TRY(tt_native_roots(&roots, err));
    as.roots = roots;
    tt_rc rc = tt_roots_glob(roots, tt_str_of(pattern), &paths, err);
    for (size_t i = 0; i < paths.len && rc == TT_OK; i++)
        rc = tt_frame_add_file(frame, tt_str_of(paths.ptr[i]), &as, err);
    if (rc == TT_NOT_FOUND)
        rc = tt_fail(err, rc, "there is no file `%.200s` (paths begin at %s)", pattern, tt_roots_dir(roots, 0));
    tt_paths_deinit(&paths);
    tt_roots_free(roots);
    return rc;
}

/* Settings that say nothing about this input are mistakes. */
static tt_rc check_input(const tutti_host *t, const tt_frame *frame, const tt_frame_intake *intake, bool is_file, tt_err *err)
{
    const tt_pq_field *fields;
    const char *name;
    json_t *type, *types = json_loadb(intake->columns.ptr ? intake->columns.ptr : "", intake->columns.len, 0, NULL);
    uint32_t count = tt_frame_fields(frame, &fields);
    tt_rc rc = TT_OK;
    if (is_file && t->text(t, "input_run")[0])
        rc = tt_fail(err, TT_INVALID, "setting `input_run`: the input is no contract of the lake, and has no runs");
    json_object_foreach (types, name, type)
        if (rc == TT_OK && tt_frame_find(frame, tt_str_of(name)) < 0)
            rc = tt_ends_no_column("types", tt_str_of(name), "the input", fields, count, err);
    json_decref(types);
    return rc;
}

tt_rc tt_ends_open_input(const tutti_host *t, const char *setting, const tt_frame_intake *intake, tt_frame **ret, tt_err *err)
{
    const char *input = t->text(t, setting), *contract = tt_ends_contract_of(input);
    tt_err why = {0};
    if (!input[0])
        return tt_fail(err, TT_INVALID, "setting `%s`: is empty: name a file, a pattern, or lake:CONTRACT", setting);
    TT_TRY(tt_frame_new(ret, err));
    tt_rc rc = contract ? add_contract(t, contract, intake, *ret, &why) : add_files(input, intake, *ret, &why);
    if (rc == TT_OK)
        rc = tt_frame_settle(*ret, NULL, 0, &why);
    if (rc == TT_OK && strcmp(setting, "input") == 0 && (rc = check_input(t, *ret, intake, !contract, err)) != TT_OK) {
        tt_frame_free(*ret);
        *ret = NULL;
        return rc;
    }
    if (rc == TT_OK)
        return TT_OK;
    tt_frame_free(*ret);
    *ret = NULL;
    return tt_ends_blame(setting, rc, &why, err);
}

tt_rc tt_ends_intake(const tutti_host *t, tt_arena *arena, tt_frame_intake *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf options = {0};
    const char *separator = t->text(t, "input_separator");
    tt_buf_cstr_put(&options, t->flag(t, "as_text") ? "{\"types\":\"text\"" : "{\"types\":\"infer\"");
    if (separator[0]) {
        tt_buf_cstr_put(&options, ",\"separator\":");
        tt_buf_json_str(&options, tt_str_of(separator));
    }
    if (t->integer(t, "skip_rows"))
        tt_buf_printf(&options, ",\"skip_rows\":%lld", (long long)t->integer(t, "skip_rows"));
    if (t->text(t, "encoding")[0]) {
        tt_buf_cstr_put(&options, ",\"encoding\":");
        tt_buf_json_str(&options, tt_str_of(t->text(t, "encoding")));
    }
    tt_buf_char(&options, '}');
    TT_TRY(tt_buf_check(&options, err));
    *ret = (tt_frame_intake){.form = tt_str_of(t->text(t, "input_format")), .reader_options = tt_str_of(tt_arena_dup(arena, tt_buf_view(&options))), .columns = tt_str_of(t->text(t, "types"))};
    return ret->reader_options.ptr ? TT_OK : no_memory(err);
}

/* ---- outputs ---- */

struct tt_outlet {
    const tutti_host *t;
    tt_arena arena;
    tt_store *store;
    tt_contract contract;
    tt_publication *publication;
    tt_frame_out *file;
    tt_str *partitions;
    size_t partition_count;
    uint64_t rows;
};

static tt_rc read_partitions(tt_outlet *o, tt_err *err)
{
    json_t *list = json_loads(o->t->text(o->t, "partitions"), 0, NULL), *name;
    size_t i;
    o->partitions = tt_arena_alloc(&o->arena, (json_array_size(list) + 1) * sizeof *o->partitions);
    json_array_foreach (list, i, name)
        if (o->partitions && json_is_string(name))
            o->partitions[o->partition_count++] = tt_str_of(tt_arena_dup(&o->arena, tt_str_of(json_string_value(name))));
    json_decref(list);
    return o->partitions ? TT_OK : no_memory(err);
}

static tt_rc open_publication(tt_outlet *o, const char *contract, const tt_outlet_spec *end, tt_err *err)
{
    const char *version = getenv("TUTTI_APP_VERSION");
    tt_publish_spec spec = {.contract = &o->contract, .app_version = tt_str_of(version && *version ? version : TT_VERSION),
                            .fields = end->fields, .field_count = end->field_count};
    TT_TRY(tt_lake_own_time(&spec.run_time_us, err));
    TT_TRY(tt_ends_run(o->t, &spec.run_id, err));
    TT_TRY(tt_ends_lake(o->t, contract, &o->arena, &o->store, &o->contract, err));
    if (end->has_partitions)
        TT_TRY(read_partitions(o, err));
    spec.partitions = o->partitions;
    spec.partition_count = o->partition_count;
    return tt_publication_open(o->store, &spec, &o->publication, err);
}

static tt_rc open_file(tt_outlet *o, const char *path, const tt_outlet_spec *end, tt_err *err)
{
    tt_frame_out_spec spec = {.fields = end->fields, .field_count = end->field_count};
    const char *separator = o->t->text(o->t, "separator");
    if (separator[0] && separator[1])
        return tt_fail(err, TT_INVALID, "is to be separated by `%.20s`: setting `separator` takes one character", separator);
    if (separator[0] && !tt_str_ends(tt_str_of(path), TT_STR(".csv")))
        return tt_fail(err, TT_INVALID, "`%.200s` is no .csv: the setting `separator` is of those", path);
    if (end->has_partitions && strcmp(o->t->text(o->t, "partitions"), "[]") != 0)
        return tt_fail(err, TT_INVALID, "`%.200s` is a file: the setting `partitions` is of contracts of the lake", path);
    TT_TRY(tt_ends_path(path, &o->arena, &spec.path, err));
    spec.separator = separator[0];
    return tt_frame_out_create(&spec, &o->file, err);
}

tt_rc tt_outlet_open(const tutti_host *t, const tt_outlet_spec *spec, tt_outlet **ret, tt_err *err)
{
    tt_outlet *o = TT_NEW(tt_outlet);
    const char *output = t->text(t, spec->setting), *contract = tt_ends_contract_of(output);
    tt_err why = {0};
    o->t = t;
    tt_rc rc = !output[0] ? tt_fail(&why, TT_INVALID, "is empty: name a file, or lake:CONTRACT") : contract ? open_publication(o, contract, spec, &why) : open_file(o, output, spec, &why);
    if (rc == TT_OK) {
        *ret = o;
        return TT_OK;
    }
    tt_outlet_free(o);
    return tt_ends_blame(spec->setting, rc, &why, err);
}

tt_rc tt_outlet_put(tt_outlet *o, const tt_rows *rows, uint32_t r, tt_err *err)
{
    o->rows++;
    return o->file ? tt_frame_out_put(o->file, rows, r, err) : tt_publication_put(o->publication, rows, r, err);
}

uint64_t tt_outlet_rows(const tt_outlet *o) { return o ? o->rows : 0; }

tt_rc tt_outlet_finish(tt_outlet *o, tt_err *err)
{
    tt_published done;
    return o->file ? tt_frame_out_finish(o->file, err) : tt_publication_commit(o->publication, &done, err);
}

void tt_outlet_free(tt_outlet *o)
{
    if (!o)
        return;
    tt_publication_free(o->publication);
    tt_frame_out_free(o->file);
    tt_store_close(o->store);
    tt_arena_deinit(&o->arena);
    free(o);
}
