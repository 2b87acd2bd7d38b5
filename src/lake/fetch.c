#include "lake/fetch.h"

static tt_rc choose_columns(tt_frame *frame, const tt_fetch_spec *spec, tt_arena *arena, tt_err *err)
{
    const tt_pq_field *fields;
    if (spec->column_count || !spec->no_metadata)
        return tt_frame_settle(frame, spec->columns, spec->column_count, err);
    TT_TRY(tt_frame_settle(frame, NULL, 0, err));
    uint32_t count = tt_frame_fields(frame, &fields), kept = 0;
    tt_str *names = tt_arena_alloc(arena, ((size_t)count + 1) * sizeof *names);
    if (!names)
        return tt_fail(err, TT_NOMEM, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        if (!tt_lake_is_metadata(fields[i].name))
            names[kept++] = fields[i].name;
    return tt_frame_choose(frame, names, kept, err);
}

static bool is_wanted(const tt_fetch_spec *spec, const tt_lake_file *f, int64_t latest)
{
    if (!spec->has_run && !spec->only_latest)
        return true;
    return f->has_run && f->run_id == (spec->has_run ? spec->run_id : latest);
}

static tt_rc add_files(tt_store *s, const tt_fetch_spec *spec, tt_frame *frame, tt_arena *arena, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_lake_files files = {0};
    int64_t latest = -1;
    tt_contract_put_path(spec->contract, &path);
    TT_TRY(tt_buf_check(&path, err));
    tt_rc rc = tt_lake_list_files(s, tt_buf_view(&path), arena, &files, err);
    if (rc == TT_OK && files.len == 0)
        rc = tt_fail(err, TT_NOT_FOUND, "dataset %s: there is nothing of it in the lake %s", tt_buf_cstr(&path), tt_store_where(s));
    (void)tt_lake_latest_run(&files, &latest);
    for (size_t i = 0; i < files.len && rc == TT_OK; i++)
        if (is_wanted(spec, &files.ptr[i], latest))
            rc = tt_lake_add_file(s, &files.ptr[i], frame, arena, err);
    tt_vec_deinit(&files);
    return rc;
}

tt_rc tt_lake_fetch(tt_store *s, const tt_fetch_spec *spec, tt_arena *arena, tt_frame **ret, tt_err *err)
{
    TT_FRAME_AUTO tt_frame *frame = NULL;
    if (spec->contract->form != TT_CONTRACT_DATASET)
        return tt_fail(err, TT_INVALID, "rows are fetched from a dataset: the contract names a %s", tt_contract_form_name(spec->contract->form));
    TT_TRY(tt_frame_new(&frame, err));
    TT_TRY(add_files(s, spec, frame, arena, err));
    if (tt_frame_part_count(frame) == 0)
        return tt_fail(err, TT_NOT_FOUND, "there is no such run: `tutti lake show` lists the runs of a dataset");
    TT_TRY(choose_columns(frame, spec, arena, err));
    *ret = frame;
    frame = NULL;
    return TT_OK;
}
