/* The model of the configuration database, once: tables, columns, types, keys, unique names, references, comments. The statements that make it in both
 * engines come from here (ddl.h), and `tutti db check` compares what a database has with it.
 *
 * To add a table or a column: add a row with `since` of a new migration, and that migration's row in migration.c. What a migration made stays as it is:
 * rows with a smaller `since` do not change any more. Immutable; any thread. */
#ifndef TT_PIPELINE_MODEL_H
#define TT_PIPELINE_MODEL_H

#include "base/str.h"

typedef enum {
    TT_COLUMN_ID,   /* made by the database, never used again */
    TT_COLUMN_INT,
    TT_COLUMN_REAL,
    TT_COLUMN_TEXT,
    TT_COLUMN_BOOL,
    TT_COLUMN_TIME,
    TT_COLUMN_JSON, /* text that is JSON; its members keep their order */
} tt_column_type;

typedef struct {
    const char *name; /* NULL ends a table */
    tt_column_type type;
    bool optional;
    const char *preset;  /* SQL that both engines know, or "now"; NULL: none */
    const char *refers;  /* the table whose id it has */
    const char *comment;
    unsigned since;      /* the migration that adds it; 0: the table's own */
} tt_model_column;

typedef struct {
    const char *name; /* NULL ends the model */
    const char *schema; /* NULL: that of the connection. SQLite has none: there the name is SCHEMA_NAME */
    const char *comment;
    unsigned since;
    const tt_model_column *columns;
    const char *key;     /* "a,b": the primary key, for a table without id; NULL: its id, or none */
    const char *unique;  /* "a,b;c": the lists of columns that together are unique; NULL: none */
    const char *index;   /* likewise: further indexes */
    bool is_audited;
} tt_model_table;

/* In an order in which each refers to earlier ones. */
extern const tt_model_table tt_model[];
/* The migration that brings a database to this model. */
enum { TT_MODEL_VERSION = 1 };

static inline bool tt_model_has(const tt_model_table *table, const tt_model_column *column, unsigned version)
{
    return (column->since ? column->since : table->since) <= version;
}

#endif
