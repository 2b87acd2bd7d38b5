#include "cli/parquet_columns.h"

tt_rc tt_choose_columns(tt_cli *cli, const tt_pq_file *f, tt_column_list *ret, tt_err *err)
{
    tt_str value, name;
    for (size_t at = 0; tt_cli_flag_next(cli, "--columns", &at, &value);)
        while (tt_str_cut(&value, ',', &name)) {
            int32_t i = tt_pq_column_find(f, name);
            if (i < 0)
                return tt_fail(err, TT_NOT_FOUND, "column `%.*s`: not in %s: `tutti parquet schema` lists the columns", TT_STR_ARG(name), tt_pq_name(f));
            if (!tt_vec_push(ret, (uint32_t)i))
                return tt_fail(err, TT_NOMEM, "out of memory");
        }
    for (uint32_t i = 0; !tt_cli_has(cli, "--columns") && i < tt_pq_column_count(f); i++)
        if (!tt_vec_push(ret, i))
            return tt_fail(err, TT_NOMEM, "out of memory");
    return TT_OK;
}
