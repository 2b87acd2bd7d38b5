#include "items/job.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "io/fd.h"
#include "items/verify.h"
#include "ledger/pages.h"

tt_job *tt_job_new(tt_items_env *env, tt_definition *def_taken)
{
    tt_job *j = TT_NEW(tt_job);
    j->part = tt_job_participant;
    j->env = env;
    j->def = *def_taken;
    *def_taken = (tt_definition){0};
    j->refs = 1;
    j->parked_last = &j->parked;
    j->reject_batch = 1;
    j->tick = (tt_timer){.fn = tt_job_tick, .arg = j};
    j->blocks.sparse = j->def.mode == TT_MODE_WRITE;
    if (j->def.rules.overlap > 1)
        j->blocks.answers = tt_answers_new(j->def.rules.overlap);
    pthread_mutex_init(&j->lock, NULL);
    tt_delivery_init(j);
    return j;
}

tt_job *tt_job_ref(tt_job *j)
{
    __atomic_add_fetch(&j->refs, 1, __ATOMIC_RELAXED);
    return j;
}

void tt_job_close_output(tt_job *j)
{
    tt_append_close(j->output);
    tt_append_close(j->rejects);
    j->output = j->rejects = NULL;
}

void tt_job_unref(tt_job *j)
{
    if (!j || __atomic_sub_fetch(&j->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    tt_assert(!j->parked && j->after_plan.len == 0 && j->after_output.len == 0);
    tt_job_close_output(j);
    tt_reader_close(j->reader);
    tt_writer_close(j->writer);
    tt_cache_drop_owner(j->env->cache, j->def.owner);
    tt_blocks_deinit(&j->blocks);
    tt_lanes_free(j->lanes);
    tt_leases_deinit(&j->leases);
    for (size_t i = 0; i < j->workers.len; i++)
        free(j->workers.ptr[i].name);
    tt_vec_deinit(&j->workers);
    tt_map_deinit(&j->worker_rows);
    tt_vec_deinit(&j->after_plan);
    tt_vec_deinit(&j->after_output);
    tt_vec_deinit(&j->undo);
    tt_vec_deinit(&j->storing);
    tt_notes_clear(&j->notes);
    tt_notes_clear(&j->group_notes);
    tt_notes_clear(&j->storing_notes);
    tt_vec_deinit(&j->notes);
    tt_vec_deinit(&j->group_notes);
    tt_vec_deinit(&j->storing_notes);
    tt_buf_deinit(&j->reject_lines);
    tt_buf_deinit(&j->group_reject_lines);
    tt_buf_deinit(&j->flushing_lines);
    tt_buf_deinit(&j->scratch);
    tt_redo_deinit(&j->redo);
    free(j->writer_state);
    tt_definition_deinit(&j->def);
    tt_delivery_deinit(j);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

void tt_job_put(tt_job *j) { tt_job_unref(j); }
const char *tt_job_name(const tt_job *j) { return j->def.name; }

bool tt_job_is_complete(const tt_job *j)
{
    return j->plan == TT_PLAN_DONE && j->def.mode != TT_MODE_WRITE && tt_counts_pending(&j->blocks.counts) == 0 && j->undo.len == 0;
}

bool tt_job_is_whole(const tt_job *j)
{
    return tt_job_is_complete(j) && j->blocks.counts.of[TT_ITEM_ERROR] + j->blocks.counts.of[TT_ITEM_DEAD] == 0;
}

void tt_job_break(tt_job *j, bool output_too, const char *reason)
{
    j->output_broken |= output_too;
    if (j->life == TT_JOB_BROKEN || j->life == TT_JOB_GONE)
        return;
    j->life = TT_JOB_BROKEN;
    snprintf(j->broken, sizeof j->broken, "%s", reason);
    tt_plan_resume(j);
}

static tt_worker_row *add_worker(tt_job *j, tt_str name)
{
    char *copy = tt_str_dup(name);
    void *number = (void *)(uintptr_t)(j->workers.len + 1);
    if (!copy || !tt_vec_reserve(&j->workers, 1) || !tt_map_put(&j->worker_rows, name, number, NULL)) {
        free(copy);
        return NULL;
    }
    j->workers.ptr[j->workers.len++] = (tt_worker_row){.name = copy};
    return &j->workers.ptr[j->workers.len - 1];
}

static tt_worker_row *find_worker(tt_job *j, tt_str name)
{
    size_t number = (size_t)(uintptr_t)tt_map_get(&j->worker_rows, name);
    return number ? &j->workers.ptr[number - 1] : NULL;
}

const tt_worker_row *tt_job_find_worker(tt_job *j, tt_str name) { return find_worker(j, name); }

tt_worker_row *tt_job_worker(tt_job *j, tt_str name)
{
    enum { MAX_WORKERS = 1000 };
    const tt_str rest = TT_STR("others");
    tt_worker_row *known = find_worker(j, name);
    if (known)
        return known;
    if (j->workers.len < MAX_WORKERS)
        return add_worker(j, name);
    known = find_worker(j, rest);
    return known ? known : add_worker(j, rest);
}

/* ---- opening ---- */

static bool has_reader(const tt_job *j) { return j->def.mode != TT_MODE_WRITE; }
bool tt_job_has_writer(const tt_job *j) { return j->def.mode != TT_MODE_READ && j->def.output; }

void tt_job_rejects_path(const tt_job *j, tt_buf *out)
{
    if (j->delivery.row && !j->delivery.row->is_file)
        tt_buf_printf(out, "%s/%s.rejects.jsonl", j->env->journal_dir, j->def.name);
    else
        tt_buf_printf(out, "%s.rejects.jsonl", j->def.output_real ? j->def.output_real : j->def.output);
}

static const tt_roots *rejects_roots(const tt_job *j)
{
    return j->delivery.row && !j->delivery.row->is_file ? j->env->journal_roots : j->env->roots;
}

static tt_rc open_reader(tt_job *j, tt_str state, tt_err *err)
{
    tt_paths paths = {0};
    tt_rc rc = TT_OK;
    for (size_t i = 0; i < j->def.inputs.len; i++)
        if (!tt_vec_push(&paths, j->def.inputs.ptr[i].path))
            rc = tt_fail(err, TT_NOMEM, "out of memory for %zu input files", j->def.inputs.len);
    tt_reader_spec spec = {
        .kind = j->def.spool ? TT_STR("JsonlReader") : tt_str_of(j->def.reader_name), .roots = j->def.spool ? j->env->journal_roots : j->env->roots, .spool_dir = j->env->spool_dir,
        .paths = paths.ptr, .path_count = paths.len, .options = tt_str_of(j->def.metadata),
        .max_item_bytes = j->env->max_item_bytes, .state = state,
    };
    if (rc == TT_OK)
        rc = tt_reader_open(&spec, &j->reader, err);
    tt_vec_deinit(&paths);
    return rc;
}

static tt_rc open_writer(tt_job *j, tt_str state, bool has_rows, tt_err *err)
{
    bool is_file = !j->delivery.row || j->delivery.row->is_file; /* others take the values as they are */
    tt_writer_spec spec = {
        .kind = is_file ? tt_str_of(j->def.writer_name) : TT_STR("JsonlWriter"), .output_path = tt_str_of(j->def.output), .options = tt_str_of(j->def.metadata),
        .header = j->reader ? tt_reader_header(j->reader) : (tt_str){0}, .state = state, .output_has_rows = has_rows,
    };
    return tt_writer_open(&spec, &j->writer, err);
}

/* The ledger keeps paths as JSON. */
static tt_rc check_utf8(const char *path, tt_err *err)
{
    if (tt_utf8_valid(path, strlen(path)))
        return TT_OK;
    return tt_fail(err, TT_INVALID, "the name of `%.256s` is not UTF-8: give it (and its directories) another name", path);
}

static tt_rc find_inputs(tt_job *j, tt_err *err)
{
    tt_paths paths = {0};
    tt_rc rc = tt_definition_find_inputs(&j->def, j->env->roots, &paths, err);
    for (size_t i = 0; i < paths.len && rc == TT_OK; i++) {
        if (tt_vec_push(&j->def.inputs, ((tt_input){.path = paths.ptr[i]})))
            paths.ptr[i] = NULL;
        else
            rc = tt_fail(err, TT_NOMEM, "out of memory for %zu input files", paths.len);
    }
    tt_paths_deinit(&paths);
    return rc;
}

static tt_rc take_fingerprints(tt_job *j, tt_err *err)
{
    for (size_t i = 0; i < j->def.inputs.len; i++) {
        tt_input *in = &j->def.inputs.ptr[i];
        const tt_source *file = tt_reader_file(j->reader, i);
        free(in->path); /* the server may be started elsewhere the next time */
        in->path = tt_dup_cstr(tt_source_path(file));
        TT_TRY(check_utf8(in->path, err));
        TT_TRY(tt_source_fingerprint(tt_reader_file(j->reader, i), &in->print, err));
    }
    return TT_OK;
}

static tt_rc check_fingerprints(tt_job *j, tt_err *err)
{
    for (size_t i = 0; i < j->def.inputs.len; i++) {
        tt_fingerprint now;
        TT_TRY(tt_source_fingerprint(tt_reader_file(j->reader, i), &now, err));
        tt_input *in = &j->def.inputs.ptr[i];
        TT_TRY(tt_fingerprint_check(in->path, &in->print, &now, err));
        if (now.mtime_ns != in->print.mtime_ns && in->print.whole_hash)
            tt_verify_doubt(j, i);
        else
            in->print.mtime_ns = now.mtime_ns; /* nothing more is known of the file */
    }
    return TT_OK;
}

static void keep_writer_state(tt_job *j)
{
    tt_buf_clear(&j->scratch);
    tt_writer_state(j->writer, &j->scratch);
    free(j->writer_state);
    j->writer_state = tt_str_dup(tt_buf_view(&j->scratch));
}

static tt_rc open_lanes(tt_job *j, tt_err *err)
{
    if (!j->def.rules.key)
        return TT_OK;
    return tt_lanes_new(tt_str_of(j->def.rules.key), tt_reader_header(j->reader), &j->lanes, err);
}

tt_rc tt_job_create_input(tt_job *j, tt_err *err)
{
    if (!has_reader(j)) {
        j->plan = TT_PLAN_DONE;
        return TT_OK;
    }
    TT_TRY(find_inputs(j, err));
    TT_TRY(open_reader(j, (tt_str){0}, err));
    TT_TRY(open_lanes(j, err));
    TT_TRY(take_fingerprints(j, err));
    return tt_reader_plans_first(j->reader) ? tt_plan_now(j, err) : TT_OK;
}

/* The output has rows already. */
static bool has_rows(const tt_job *j)
{
    return (tt_job_is_journaled(j) ? j->delivery.base.length_bytes : j->output_mark.length_bytes) > 0;
}

/* The job is on its own file from here on, whose present length is recorded. goes_on: what is there is the job's own, and so are its columns. */
static tt_rc record_output(tt_job *j, bool goes_on, tt_err *err)
{
    tt_str state = goes_on && j->writer_state ? tt_str_of(j->writer_state) : (tt_str){0};
    if (!tt_job_is_journaled(j)) {
        free(j->def.output_real);
        j->def.output_real = tt_dup_cstr(tt_append_path(j->output));
    }
    TT_TRY(check_utf8(j->def.output_real, err));
    j->head_dirty = j->record_dirty = true;
    j->output_known = false;
    tt_writer_close(j->writer); /* of an output that was deleted */
    j->writer = NULL;
    TT_TRY(tt_append_flush(j->output, true, &j->output_mark, err)); /* the end of a last line, perhaps */
    tt_redo_start_at(j, &j->output_mark);
    TT_TRY(open_writer(j, state, has_rows(j), err));
    keep_writer_state(j);
    return TT_OK;
}

tt_rc tt_job_check_writer(tt_job *j, tt_err *err)
{
    if (!tt_job_has_writer(j))
        return TT_OK;
    TT_TRY(tt_job_find_sink(j, err));
    TT_TRY(open_writer(j, (tt_str){0}, false, err));
    tt_writer_close(j->writer);
    j->writer = NULL;
    return TT_OK;
}

static tt_rc put_aside(tt_append *a, tt_err *err)
{
    char *old = NULL;
    TT_TRY(tt_append_new_generation(a, &old, err));
    free(old);
    return TT_OK;
}

/* A file of rejects that is there is gone on with; its length is recorded before anything is added, as the output's is. */
static tt_rc record_rejects(tt_job *j, tt_append_mode mode, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    TT_FD_AUTO int fd = -1;
    tt_job_rejects_path(j, &path);
    tt_rc rc = tt_roots_open(rejects_roots(j), tt_buf_view(&path), O_RDONLY, 0, &fd, NULL, err);
    if (rc == TT_NOT_FOUND) {
        j->rejects_mark = j->rejects_flushed = (tt_append_mark){0};
        return TT_OK;
    }
    TT_TRY(rc);
    TT_TRY(tt_append_create(rejects_roots(j), tt_buf_view(&path), mode, &j->rejects, err));
    if (j->fresh && tt_append_length(j->rejects))
        TT_TRY(put_aside(j->rejects, err));
    TT_TRY(tt_append_flush(j->rejects, true, &j->rejects_mark, err));
    j->rejects_flushed = j->rejects_mark;
    return TT_OK;
}

static tt_rc create_output(tt_job *j, bool overwrite, tt_err *err)
{
    tt_append_mode mode = overwrite ? TT_APPEND_TRUNCATE : TT_APPEND_KEEP;
    tt_append_mark last = j->delivery.now.last;
    TT_TRY(tt_job_find_sink(j, err));
    if (tt_job_is_journaled(j))
        TT_TRY(tt_job_create_journal(j, overwrite, err));
    else
        TT_TRY(tt_append_create(j->env->roots, tt_str_of(j->def.output), mode, &j->output, err));
    if (!tt_job_is_journaled(j) && j->fresh && tt_append_length(j->output))
        TT_TRY(put_aside(j->output, err));
    if (j->life == TT_JOB_NEW)
        TT_TRY(record_rejects(j, mode, err));
    j->fresh = false;
    const tt_append_mark *base = &j->delivery.base;
    bool goes_on = tt_job_is_journaled(j) && last.length_bytes && base->length_bytes == last.length_bytes && base->tail_hash == last.tail_hash;
    return record_output(j, goes_on, err);
}

tt_rc tt_job_create_output(tt_job *j, bool overwrite, tt_err *err)
{
    if (!tt_job_has_writer(j))
        return TT_OK;
    tt_rc rc = create_output(j, overwrite, err);
    if (rc != TT_OK) { /* nothing half-open, whose lock would keep the next try away */
        tt_job_remove_journal(j);
        tt_job_close_output(j);
    }
    return rc;
}

/* ---- reading back what the ledger knows ---- */

static tt_rc read_head(tt_job *j, tt_str blob, tt_err *err)
{
    json_error_t at;
    json_t *root = json_loadb(blob.ptr, blob.len, JSON_ALLOW_NUL, &at);
    const char *output_hash, *synced_hash, *rejects_hash, *writer_state;
    json_int_t output_len, synced_len, rejects_len, duplicates;
    int version, planned, generation, fresh;
    tt_rc rc = TT_OK;
    if (!root || json_unpack(root, "{s:i, s:b, s:b, s:i, s:I, s:I, s:s, s:I, s:s, s:I, s:s, s:s}", "v", &version, "planned", &planned,
                             "fresh", &fresh, "generation", &generation, "duplicates", &duplicates, "output_len", &output_len, "output_hash", &output_hash,
                             "synced_len", &synced_len, "synced_hash", &synced_hash, "rejects_len", &rejects_len, "rejects_hash", &rejects_hash, "writer", &writer_state) != 0)
        rc = tt_fail(err, TT_CORRUPT, "the head page of job `%s` cannot be read", j->def.name);
    else {
        j->plan = planned ? TT_PLAN_DONE : TT_PLAN_NONE;
        j->fresh = fresh;
        j->generation = (uint32_t)generation;
        j->duplicates = (uint64_t)duplicates;
        j->output_mark = (tt_append_mark){(uint64_t)output_len, strtoull(output_hash, NULL, 16)};
        j->redo.synced = (tt_append_mark){(uint64_t)synced_len, strtoull(synced_hash, NULL, 16)};
        j->redo.flushed = j->output_mark;
        tt_delivery_from_json(j, json_object_get(root, "delivery"));
        j->rejects_mark = j->rejects_flushed = (tt_append_mark){(uint64_t)rejects_len, strtoull(rejects_hash, NULL, 16)};
        j->redone = (uint64_t)json_integer_value(json_object_get(root, "redone"));
        j->gate.paused = json_is_true(json_object_get(root, "paused"));
        free(j->writer_state);
        j->writer_state = tt_dup_cstr(writer_state);
    }
    json_decref(root);
    return rc;
}

static tt_rc add_states(tt_job *j, const tt_block *block, bool inspected, uint8_t *states, uint16_t *workers, uint8_t uniform, int64_t number, tt_err *err)
{
    if ((uint64_t)number != j->blocks.rows.len)
        return tt_fail(err, TT_CORRUPT, "job `%s`: page %zu of its item states is missing", j->def.name, j->blocks.rows.len);
    if (j->blocks.answers ? tt_blocks_add_answers(&j->blocks, block, inspected, states, workers, uniform)
                          : tt_blocks_add(&j->blocks, block, inspected, states, uniform, false))
        return TT_OK;
    return tt_fail(err, TT_NOMEM, "out of memory for the pages of job `%s`", j->def.name);
}

static tt_rc take_states(tt_job *j, int64_t number, tt_str blob, tt_err *err)
{
    tt_block block;
    bool inspected;
    uint8_t *states = NULL, uniform;
    uint16_t *workers = NULL;
    if (j->blocks.answers)
        TT_TRY(tt_page_decode_answers(blob, j->blocks.answers->copies, &block, &inspected, &states, &workers, &uniform, err));
    else
        TT_TRY(tt_page_decode(blob, &block, &inspected, &states, &uniform, err));
    tt_rc rc = add_states(j, &block, inspected, states, workers, uniform, number, err);
    if (rc != TT_OK) {
        free(states);
        free(workers);
    }
    return rc;
}

typedef struct {
    tt_job *j;
    tt_buf reader_state;
    tt_rc rc;
    tt_err *err;
} page_walk;

static bool take_page(void *arg, int64_t number, tt_str blob)
{
    page_walk *walk = arg;
    tt_blocks *blocks = &walk->j->blocks;
    if (number == TT_PAGE_HEAD) {
        walk->rc = read_head(walk->j, blob, walk->err);
        return walk->rc == TT_OK;
    }
    if (number == TT_PAGE_READER_STATE) {
        tt_buf_str(&walk->reader_state, blob);
        return true;
    }
    if (number >= TT_PAGE_REDO_FIRST) {
        walk->rc = tt_redo_take_page(walk->j, number, blob, walk->err);
        return walk->rc == TT_OK;
    }
    if (number >= TT_PAGE_WORKERS_FIRST && blocks->answers) {
        walk->rc = tt_answers_decode_names(blocks->answers, (size_t)(number - TT_PAGE_WORKERS_FIRST), blob, walk->err);
        return walk->rc == TT_OK;
    }
    walk->rc = take_states(walk->j, number, blob, walk->err);
    return walk->rc == TT_OK;
}

static tt_rc resume_reader(tt_job *j, tt_str state, tt_err *err)
{
    if (!has_reader(j))
        return TT_OK;
    TT_TRY(open_reader(j, state, err));
    TT_TRY(open_lanes(j, err));
    return check_fingerprints(j, err);
}

/* Behind the record lies what a crash left, and is cut off. But when nothing can have been under way, it is somebody else's. */
static tt_rc check_finished_output(const tt_job *j, tt_err *err)
{
    TT_FD_AUTO int fd = -1;
    struct stat st;
    if (!tt_job_is_whole(j))
        return TT_OK;
    if (tt_roots_open(j->env->roots, tt_str_of(j->def.output_real), O_RDONLY, 0, &fd, NULL, NULL) != TT_OK || fstat(fd, &st) != 0 ||
        (uint64_t)st.st_size <= j->output_mark.length_bytes)
        return TT_OK; /* what else may be wrong is found by those who open it for writing */
    return tt_fail(err, TT_CONFLICT, "the output '%.256s' has %ju bytes instead of %ju: something else has appended to it since the job was complete; "
                   "it is left as it is", j->def.output_real, (uintmax_t)st.st_size, (uintmax_t)j->output_mark.length_bytes);
}

static tt_rc resume_output(tt_job *j, tt_err *err)
{
    if (!tt_job_has_writer(j))
        return TT_OK;
    if (j->fresh)
        return tt_job_create_output(j, false, err);
    TT_TRY(tt_job_find_sink(j, err)); /* it says where the rejects are, too */
    if (!j->def.output_real) /* cleaned: made again when a result comes */
        return TT_OK;
    if (tt_job_is_journaled(j) && !j->def.journal) /* all of it is in the output */
        return TT_OK;
    if (!tt_job_is_journaled(j))
        TT_TRY(check_finished_output(j, err));
    TT_TRY(tt_redo_resume(j, err));
    j->output_known = true;
    j->output_whole = tt_job_is_whole(j);
    return open_writer(j, tt_str_of(j->writer_state), has_rows(j), err);
}

tt_rc tt_job_open_rejects(tt_job *j, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    if (j->rejects)
        return TT_OK;
    tt_job_rejects_path(j, &path);
    return tt_append_resume(rejects_roots(j), tt_buf_view(&path), &j->rejects_mark, &j->rejects, err);
}

/* Lines of a first group that was never committed, and nobody else's file. */
static bool has_stray_rejects(const tt_job *j)
{
    static const char BEGINNING[] = "{\"id\":";
    TT_BUF_AUTO tt_buf path = {0};
    TT_FD_AUTO int fd = -1;
    char first[sizeof BEGINNING - 1];
    size_t got = 0;
    tt_job_rejects_path(j, &path);
    return tt_roots_open(rejects_roots(j), tt_buf_view(&path), O_RDONLY, 0, &fd, NULL, NULL) == TT_OK && tt_fd_read_at(fd, 0, first, sizeof first, &got) == 0
        && got == sizeof first && memcmp(first, BEGINNING, got) == 0;
}

static tt_rc resume_rejects(tt_job *j, tt_err *err)
{
    if (!tt_job_has_writer(j) || (j->rejects_mark.length_bytes == 0 && !has_stray_rejects(j))) /* made when there is one */
        return TT_OK;
    return tt_job_open_rejects(j, err);
}

void tt_job_resume(tt_job *j)
{
    tt_err err = {0};
    page_walk walk = {.j = j, .err = &err};
    if (j->blocks.answers)
        j->blocks.answers->loading = true;
    tt_rc rc = tt_page_each(j->env->ledger, j->def.owner, take_page, &walk, &err);
    if (rc == TT_OK)
        rc = walk.rc;
    if (rc == TT_OK && j->blocks.answers)
        rc = tt_answers_loaded(&j->blocks, &err);
    bool pages_ok = rc == TT_OK;
    if (rc == TT_OK)
        rc = resume_reader(j, tt_buf_view(&walk.reader_state), &err);
    tt_buf_deinit(&walk.reader_state);
    pthread_mutex_lock(&j->lock);
    if (rc != TT_OK)
        tt_job_break(j, !pages_ok, err.text);
    if (pages_ok && ((rc = resume_output(j, &err)) != TT_OK || (rc = resume_rejects(j, &err)) != TT_OK))
        tt_job_break(j, true, err.text);
    if (j->life == TT_JOB_NEW)
        j->life = TT_JOB_LIVE;
    tt_delivery_wake(j);
    pthread_mutex_unlock(&j->lock);
    if (j->life != TT_JOB_LIVE)
        return;
    tt_plan_start(j, false);
    if (!tt_job_is_complete(j))
        tt_verify_start(j, false);
}
