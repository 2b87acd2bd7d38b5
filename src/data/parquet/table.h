/* Records as columns: JSON objects (or arrays, with the columns' names in front) become rows of a Parquet file.
 *
 * Types are declared, or found out from all records in a first pass: numbers that are whole are int64, others double; columns that hold
 * different things, or objects, become text (JSON as it stands; strings as they are); arrays of one kind of value become lists.
 * A second pass puts the rows. One thread. */
#ifndef TT_DATA_PARQUET_TABLE_H
#define TT_DATA_PARQUET_TABLE_H

#include <jansson.h>

#include "data/parquet/writer.h"

typedef struct tt_pq_table tt_pq_table;

tt_rc tt_pq_table_new(tt_pq_table **ret, tt_err *err) TT_MUST_CHECK;
void tt_pq_table_free(tt_pq_table *t);
#define TT_PQ_TABLE_AUTO __attribute__((cleanup(tt_pq_table_cleanup)))
static inline void tt_pq_table_cleanup(tt_pq_table **t) { tt_pq_table_free(*t); }

/* Columns of records that are arrays: a JSON array of names. */
tt_rc tt_pq_table_header(tt_pq_table *t, tt_str names, tt_err *err) TT_MUST_CHECK;
/* A column's type in words: string, category, json, bool, int, int32, float, double, date, datetime, or a list of them: "list<int>". "list" is a
 * list of strings; text in such a column is cut at commas. It need not have been seen. */
tt_rc tt_pq_table_declare(tt_pq_table *t, tt_str name, tt_str type, tt_err *err) TT_MUST_CHECK;
/* The member `columns` of options, {name: type, ...}; TT_INVALID says what is wrong with it. options may be NULL. */
tt_rc tt_pq_table_declare_all(tt_pq_table *t, const json_t *options, tt_err *err) TT_MUST_CHECK;
/* "string, category, ...": the words of tt_pq_table_declare. */
const char *tt_pq_table_types(void);
/* A validated record of the first pass. TT_INVALID: it is no row, or a value does not fit into its declared column; it may be left out of both passes. */
tt_rc tt_pq_table_see(tt_pq_table *t, tt_str record, tt_err *err) TT_MUST_CHECK;
/* The columns, in the order in which they were seen. The types stand from now on. The table owns them. */
uint32_t tt_pq_table_fields(tt_pq_table *t, const tt_pq_field **ret);
/* A validated record as a row of w, which was made with the fields. TT_INVALID names the column of a value that does not fit; the writer can only be freed then. */
tt_rc tt_pq_table_put(tt_pq_table *t, tt_pq_writer *w, tt_str record, tt_err *err) TT_MUST_CHECK;

#endif
