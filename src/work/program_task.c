#include "work/program_task.h"

#include "work/program_vars.h"

static const tt_program_lake *lake; /* of the room above; NULL: none */

void tt_program_lake_add(const tt_program_lake *table) { lake = table; }
const tt_program_lake *tt_program_lake_table(void) { return lake; }

void tt_program_said_deinit(tt_program_said *said)
{
    json_decref(said->vars);
    json_decref(said->task);
    *said = (tt_program_said){0};
}

/* Members of what a task is told that are variables as well. To add one: a row here, its name in base/option.c, and a line in docs/pipelines.md. */
static const struct {
    const char *member, *variable;
} rows[] = {
    {"run_id", "TUTTI_RUN_ID"}, {"run_timestamp", "TUTTI_RUN_TIMESTAMP"}, {"environment", "TUTTI_ENVIRONMENT"}, {"branch", "TUTTI_BRANCH_NAME"}, {"parent", "TUTTI_PARENT"},
    {"child", "TUTTI_CHILD"},   {"state", "TUTTI_STATE"},                 {"dataset", "TUTTI_DATASET"},         {"contract", "TUTTI_CONTRACT"},
};

static void put(json_t *vars, const char *name, const json_t *value)
{
    char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    json_object_set_new(vars, name, text ? json_string(text) : json_incref((json_t *)(uintptr_t)value));
    free(text);
}

static tt_rc say_task(const tt_program_job *job, tt_program_said *said, tt_err *err)
{
    said->task = json_loads(job->context, 0, NULL);
    if (!said->task)
        return tt_fail(err, TT_INVALID, "what this task is told about its run is no JSON object");
    if (lake)
        TT_TRY(lake->settle(said->task, tt_str_of(tt_program_environment(job->env)), tt_str_of(tt_program_branch(job->env)), err));
    for (size_t i = 0; i < TT_COUNT(rows); i++) {
        const json_t *value = json_object_get(said->task, rows[i].member);
        if (value && !json_is_null(value))
            put(said->vars, rows[i].variable, value);
    }
    put(said->vars, "TUTTI_TASK", said->task);
    return TT_OK;
}

static tt_rc add_given(const json_t *given, json_t *vars, tt_err *err)
{
    const char *name;
    json_t *value;
    tt_err why = {0};
    json_object_foreach((json_t *)(uintptr_t)given, name, value) {
        if (tt_program_vars_check(name, &why) != TT_OK)
            return tt_fail(err, TT_INVALID, "the pipeline's `env` names `%s`, which %s", name, why.text);
        json_object_set(vars, name, value);
    }
    return TT_OK;
}

tt_rc tt_program_say_about(const tt_program_job *job, tt_arena *arena, tt_program_said *ret, tt_err *err)
{
    const char *state_file = tt_arena_printf(arena, "%s/%s.json", tt_program_state_dir(job->env), job->file->name);
    ret->vars = json_object();
    if (!ret->vars || !state_file)
        return tt_fail(err, TT_NOMEM, "out of memory");
    TT_TRY(add_given(job->more_env, ret->vars, err));
    json_object_set_new(ret->vars, "TUTTI_EXECUTION", json_string(job->id));
    json_object_set_new(ret->vars, "TUTTI_STATE_FILE", json_string(state_file));
    return job->context ? say_task(job, ret, err) : TT_OK;
}
