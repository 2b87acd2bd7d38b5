/* Files of pipelines. Input: a YAML text. Properties: a tree that is read is written as text that is read as the same tree; a definition that is taken
 * is written, taken again, and is the same; its DAG has a spacer for each group and every transformation once. */
#include "pipeline/dag.h"
#include "pipeline/definition_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tree(tt_str text)
{
    tt_yaml first, second;
    TT_BUF_AUTO tt_buf written = {0};
    if (tt_yaml_read(text, &first, NULL) != TT_OK)
        return;
    tt_yaml_write(first.root, &written);
    tt_assert(tt_yaml_read(tt_buf_view(&written), &second, NULL) == TT_OK);
    tt_assert(json_equal(first.root, second.root));
    tt_yaml_deinit(&first);
    tt_yaml_deinit(&second);
}

static void check_dag(const tt_pipeline *p)
{
    TT_DAG_AUTO tt_dag dag = {0};
    size_t tasks = 0;
    tt_assert(tt_dag_build(p, &dag, NULL) == TT_OK);
    for (size_t g = 0; g < dag.group_count; g++) {
        tt_assert(dag.groups[g].count > 0 && dag.groups[g].first == 1 + tasks);
        tasks += dag.groups[g].count;
    }
    tt_assert(tasks == tt_pipeline_count(p) && dag.count == 1 + tasks + dag.group_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TT_PIPELINE_AUTO tt_pipeline *p = NULL, *again = NULL;
    TT_BUF_AUTO tt_buf written = {0}, twice = {0};
    tt_str text = {(const char *)data, size};
    check_tree(text);
    if (tt_pipeline_read(text, &p, NULL) != TT_OK)
        return 0;
    tt_pipeline_write(p, &written);
    tt_assert(tt_pipeline_read(tt_buf_view(&written), &again, NULL) == TT_OK);
    tt_pipeline_write(again, &twice);
    tt_assert(tt_str_eq(tt_buf_view(&written), tt_buf_view(&twice)));
    check_dag(p);
    return 0;
}
