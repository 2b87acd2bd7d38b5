#include "transform/question.h"

#include <stdlib.h>

#include "query/answer.h"
#include "query/files.h"

tt_rc tt_question_ask(const tt_question *q, json_t **ret, tt_err *err)
{
    tt_str path = tt_str_of(q->path);
    tt_plan *plan = NULL;
    tt_query_result *result = NULL;
    const char *temp_dir = getenv("TMPDIR");
    const tt_query_files ask = {.paths = &path, .count = 1, .group = q->group, .time = q->time, .query = q->query, .threads = 1, .temp_dir = temp_dir && *temp_dir ? temp_dir : "/tmp"};
    TT_TRY(tt_query_run_files(&ask, &plan, &result, err));
    *ret = tt_query_result_json(result);
    tt_query_result_free(result);
    tt_plan_free(plan);
    return *ret ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for the answer");
}
