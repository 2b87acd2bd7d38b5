/* A table of a database as the engine's catalogue shows it: the columns that can be written, and its unique keys; and the statements that
 * put rows into it. Sinks (data/sink_sql.h) and storages of programs (work/storage_table.c) write through it. Owned by who learnt it; one thread. */
#ifndef TT_IO_SQL_TABLE_H
#define TT_IO_SQL_TABLE_H

#include "base/map.h"
#include "base/vec.h"
#include "io/sql.h"

typedef struct {
    char *name;       /* of the index */
    uint32_t first, count; /* in key_columns */
    bool primary;
} tt_sql_key;

typedef struct {
    tt_buf quoted;             /* its name, as statements have it */
    TT_VEC(char *) columns;    /* in the table's order */
    TT_VEC(bool) hold_numbers; /* of each column */
    tt_map places;             /* column -> number + 1 */
    TT_VEC(char *) key_columns;
    TT_VEC(tt_sql_key) keys;
} tt_sql_table;

/* name: perhaps `schema.table`. TT_INVALID when there is no such table (no columns then). Deinit it in any case. */
tt_rc tt_sql_table_learn(tt_sql_db *db, tt_str name, tt_sql_table *ret, tt_err *err) TT_MUST_CHECK;
void tt_sql_table_deinit(tt_sql_table *t);

size_t tt_sql_table_place(const tt_sql_table *t, tt_str column); /* number + 1; 0: there is none that can be written */
const char *tt_sql_key_column(const tt_sql_table *t, const tt_sql_key *key, uint32_t i); /* of `count` */
bool tt_sql_key_has(const tt_sql_table *t, const tt_sql_key *key, tt_str column);
/* Are the key's columns those of `list` (with commas), in whatever order? */
bool tt_sql_key_is(const tt_sql_table *t, const tt_sql_key *key, tt_str list);
/* Every unique key as `(a, b), (c)`, for messages. */
void tt_sql_table_put_keys(const tt_sql_table *t, tt_buf *out);

/* INSERT of `rows` rows with `count` columns each; with a key (not NULL) an upsert: rows that are there take the values of the columns beside the key. */
tt_rc tt_sql_table_put_insert(const tt_sql_db *db, const tt_sql_table *t, const tt_str *columns, size_t count, size_t rows, const tt_sql_key *key,
                              tt_buf *out, tt_err *err) TT_MUST_CHECK;
size_t tt_sql_table_rows_at_once(const tt_sql_db *db, size_t columns); /* rows that are well sent in one statement; at least 1 */

#endif
