/* One row of a table as it is to be: a list of columns with their values, compared with what the database has, and written when it differs. Inside of a
 * transaction. One thread, as the connection. */
#ifndef TT_PIPELINE_ROW_H
#define TT_PIPELINE_ROW_H

#include "base/vec.h"
#include "pipeline/config_db.h"

enum { TT_ROW_COLUMNS = 24 };

typedef struct {
    const char *table;
    size_t count;
    const char *columns[TT_ROW_COLUMNS];
    tt_sql_cell cells[TT_ROW_COLUMNS];
    tt_sql_digits digits[TT_ROW_COLUMNS];
} tt_row;

void tt_row_text(tt_row *r, const char *column, tt_str value); /* empty: null */
void tt_row_text_always(tt_row *r, const char *column, tt_str value);
void tt_row_int(tt_row *r, const char *column, int64_t value);
void tt_row_int_or_null(tt_row *r, const char *column, int64_t value, bool is_given);
void tt_row_bool(tt_row *r, const char *column, bool value);
void tt_row_cell(tt_row *r, const char *column, tt_sql_cell cell);

tt_rc tt_row_insert(tt_config_db *db, tt_row *r, tt_str actor, int64_t *ret_id, tt_err *err) TT_MUST_CHECK;
/* Many rows of one table at once, whose cells must live until they are written. Zeroed but for the first two members. */
typedef struct {
    const char *table;
    const char *columns; /* with commas; last_actor is added */
    TT_VEC(tt_sql_cell) cells;
} tt_row_batch;
bool tt_row_batch_add(tt_row_batch *b, const tt_sql_cell *cells, size_t count) TT_MUST_CHECK;
/* column_count: of columns. As few statements as may be; the batch is empty behind it, also when it fails. */
tt_rc tt_row_batch_write(tt_config_db *db, tt_row_batch *b, size_t column_count, tt_str actor, tt_err *err) TT_MUST_CHECK;
void tt_row_batch_deinit(tt_row_batch *b);

/* *ret_changed: it differed and was written. */
tt_rc tt_row_update(tt_config_db *db, tt_row *r, int64_t id, tt_str actor, bool *ret_changed, tt_err *err) TT_MUST_CHECK;
/* The id of the row with these values in its first key_count columns; it is made when it is missing. */
tt_rc tt_row_ensure(tt_config_db *db, tt_row *r, size_t key_count, tt_str actor, int64_t *ret_id, tt_err *err) TT_MUST_CHECK;
tt_rc tt_row_delete(tt_config_db *db, const char *table, const char *column, int64_t value, tt_err *err) TT_MUST_CHECK;

#endif
