/* Which columns of a Parquet file a command is about. */
#ifndef TT_CLI_PARQUET_COLUMNS_H
#define TT_CLI_PARQUET_COLUMNS_H

#include "base/vec.h"
#include "cli/command.h"
#include "data/parquet/parquet.h"

typedef TT_VEC(uint32_t) tt_column_list;

/* --columns a,b (repeated too), or all; the caller frees the list, also after a failure. TT_NOT_FOUND names a column that is not there. */
tt_rc tt_choose_columns(tt_cli *cli, const tt_pq_file *f, tt_column_list *ret, tt_err *err) TT_MUST_CHECK;

#endif
