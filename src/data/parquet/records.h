/* The records of a reader (CSV, JSON lines) as rows of a Parquet table: plan, then declare types if any are known, then the two passes. A record that
 * is bad ends it, with its place. One thread. */
#ifndef TT_DATA_PARQUET_RECORDS_H
#define TT_DATA_PARQUET_RECORDS_H

#include "data/parquet/table.h"
#include "data/reader.h"

/* A CSV finds out its types from the whole file before the first record; its header becomes the table's. */
tt_rc tt_pq_records_plan(tt_reader *r, tt_pq_table *t, tt_err *err) TT_MUST_CHECK;
tt_rc tt_pq_records_see(tt_reader *r, tt_pq_table *t, tt_err *err) TT_MUST_CHECK;
tt_rc tt_pq_records_put(tt_reader *r, tt_pq_table *t, tt_pq_writer *w, tt_err *err) TT_MUST_CHECK;

#endif
