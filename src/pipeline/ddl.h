/* The statements that bring a database from one version of the model to the next, or back, for SQLite and for PostgreSQL: tables, keys, indexes, comments,
 * and the triggers that keep updated_at and write down in auditing.events who changed what. Pure; any thread.
 *
 * The actor of a change is that of the connection: in PostgreSQL the setting `tutti.actor` of the transaction; in SQLite, whose triggers see no
 * temporary tables, the one row of auditing_actor, which is there only inside of the transaction that writes. Without it (a database's own shell) it is
 * the row's last_actor, and in PostgreSQL else the session's user. */
#ifndef TT_PIPELINE_DDL_H
#define TT_PIPELINE_DDL_H

#include "base/buf.h"
#include "pipeline/model.h"

typedef enum { TT_ENGINE_SQLITE, TT_ENGINE_POSTGRES, TT_ENGINE_COUNT } tt_engine;

/* From version - 1 to version, and back. */
void tt_ddl_put_up(tt_buf *out, tt_engine engine, unsigned version);
void tt_ddl_put_down(tt_buf *out, tt_engine engine, unsigned version);

/* Pieces, for what brings a database that has drifted back to the model. */
void tt_ddl_put_table(tt_buf *out, tt_engine engine, const tt_model_table *table, unsigned version); /* with its indexes, comments and triggers */
void tt_ddl_put_column(tt_buf *out, tt_engine engine, const tt_model_table *table, const tt_model_column *column); /* ALTER TABLE ... ADD COLUMN */
void tt_ddl_put_triggers(tt_buf *out, tt_engine engine, const tt_model_table *table, unsigned version);
void tt_ddl_put_drop_triggers(tt_buf *out, tt_engine engine, const tt_model_table *table);
void tt_ddl_put_unique(tt_buf *out, tt_engine engine, const tt_model_table *table, tt_str columns); /* as an index of its own */
void tt_ddl_put_index(tt_buf *out, tt_engine engine, const tt_model_table *table, tt_str columns);

void tt_ddl_put_comment(tt_buf *out, const tt_model_table *table, const tt_model_column *column); /* PostgreSQL's */
void tt_ddl_put_index_name(tt_buf *out, const tt_model_table *table, tt_str columns, const char *ending); /* table_a_b_key, table_a_index */

/* "auditing.events", or "auditing_events" where there are no schemas. */
void tt_ddl_put_table_name(tt_buf *out, tt_engine engine, const tt_model_table *table);
const char *tt_ddl_type(tt_engine engine, tt_column_type type); /* as the engine's own catalogue writes it */

/* Triggers of one audited table: their names are the table's with these behind; NULL-ended. */
const char *const *tt_ddl_trigger_endings(tt_engine engine);

#endif
