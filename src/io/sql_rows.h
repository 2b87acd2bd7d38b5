/* The whole answer of a query, in an arena: for answers that are known to be small, and for code that asks the next question while it reads the last answer.
 * One thread, as its connection. */
#ifndef TT_IO_SQL_ROWS_H
#define TT_IO_SQL_ROWS_H

#include "base/mem.h"
#include "io/sql.h"

typedef struct {
    size_t count, columns;
    tt_sql_cell *cells; /* row by row; texts end with NUL */
} tt_sql_rows;

tt_rc tt_sql_all(tt_sql_db *db, tt_arena *arena, tt_str statement, const tt_sql_cell *params, size_t param_count, tt_sql_rows *ret, tt_err *err) TT_MUST_CHECK;

static inline const tt_sql_cell *tt_sql_at(const tt_sql_rows *rows, size_t row, size_t column)
{
    tt_dassert(row < rows->count && column < rows->columns);
    return &rows->cells[row * rows->columns + column];
}
/* NULL for an SQL null; else text that ends with NUL. */
const char *tt_sql_text_at(const tt_sql_rows *rows, size_t row, size_t column);
int64_t tt_sql_int_at(const tt_sql_rows *rows, size_t row, size_t column); /* 0 for a null and for what is no whole number */
/* `true`, and any number but 0: engines without booleans have numbers. */
bool tt_sql_bool_at(const tt_sql_rows *rows, size_t row, size_t column);

/* Parameters. */
static inline tt_sql_cell tt_sql_text(tt_str text) { return (tt_sql_cell){text.ptr ? TT_SQL_TEXT : TT_SQL_NULL, text}; }
static inline tt_sql_cell tt_sql_cstr(const char *text) { return tt_sql_text(tt_str_of(text)); }
static inline tt_sql_cell tt_sql_bool(bool value) { return (tt_sql_cell){TT_SQL_BOOL, value ? TT_STR("true") : TT_STR("false")}; }
/* digits: room for the text, which has to live as long as the cell. */
typedef struct { char text[24]; } tt_sql_digits;
tt_sql_cell tt_sql_int(int64_t value, tt_sql_digits *digits);

#endif
