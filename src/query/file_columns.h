/* The columns of Parquet files as queries see them: types from the files' own schemas (not from their values), so that nulls change nothing. */
#ifndef TT_QUERY_FILE_COLUMNS_H
#define TT_QUERY_FILE_COLUMNS_H

#include "base/buf.h"
#include "base/mem.h"
#include "data/parquet/parquet.h"
#include "query/columns.h"

/* Columns of types that queries do not know (decimals, structs in lists, binary in fixed width) are left out. group and time name the two columns
 * that every dataset has. TT_UNPROCESSABLE: one of them is missing or of a type that cannot be one. Everything lies in the arena. */
tt_rc tt_query_file_columns(const tt_pq_file *file, tt_str group, tt_str time, tt_arena *arena, tt_query_columns *ret, tt_err *err) TT_MUST_CHECK;
/* Where a dataset's column is in one of its files, if it can be read there as the dataset's type. TT_UNPROCESSABLE names the file and both types. */
tt_rc tt_query_column_in(const tt_query_column *column, const tt_pq_file *file, uint32_t *ret, tt_err *err) TT_MUST_CHECK;
/* TT_UNPROCESSABLE, with what the file has instead. */
tt_rc tt_query_fail_missing(const tt_pq_file *file, tt_str name, tt_err *err);
/* "INT", "DATETIME in us", "LIST of STRING"; what queries do not know in words: "a decimal". */
void tt_query_column_type_put(const tt_query_column *c, tt_buf *out);
/* Widens the known times by those of another file, and checks that the columns are the same: `Schemas differ!`. */
tt_rc tt_query_columns_join(tt_query_columns *c, const tt_query_columns *other, tt_str path, tt_str other_path, tt_err *err) TT_MUST_CHECK;

#endif
