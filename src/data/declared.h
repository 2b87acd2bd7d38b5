/* What the configuration file declares beside its settings: database connections, and commands that read or write records. A request names
 * them; it never brings an address, a secret, a query or a command of its own.
 *
 *   [sql.NAME]     url=...  user=...  password=file:/PATH  tables=a,b  query.Q=SELECT ...
 *   [reader.NAME]  command=PROGRAM ARGUMENT "ONE WITH BLANKS"
 *   [sink.NAME]    command=...            (also [writer.NAME])
 *
 * Immutable; any thread. To add a member: a row in declared.c. */
#ifndef TT_DATA_DECLARED_H
#define TT_DATA_DECLARED_H

#include "base/option.h"
#include "base/vec.h"
#include "io/sql.h"

typedef struct {
    char *name, *text;
} tt_declared_query;

typedef struct {
    char *name;
    char *url, *user, *password; /* the last may be a reference (base/reference.h) */
    char *tables;                /* comma-separated; NULL: any */
    TT_VEC(tt_declared_query) queries;
    TT_VEC(char *) argv;         /* of a command, NULL-ended */
} tt_declaration;

typedef enum { TT_DECLARED_SQL, TT_DECLARED_READER, TT_DECLARED_SINK, TT_DECLARED_KINDS } tt_declared_kind;

typedef struct tt_declared tt_declared;

tt_rc tt_declared_new(const tt_options *options, tt_declared **ret, tt_err *err) TT_MUST_CHECK;
void tt_declared_free(tt_declared *d);
/* NULL: there is none of that name (or d is NULL). */
const tt_declaration *tt_declared_find(const tt_declared *d, tt_declared_kind kind, tt_str name);
/* Opens a connection to a declared database; its password is read now. */
tt_rc tt_declaration_connect(const tt_declaration *d, tt_sql_db **ret, tt_err *err) TT_MUST_CHECK;
/* In the order of the file. d may be NULL. */
void tt_declared_each(const tt_declared *d, tt_declared_kind kind, void (*fn)(void *arg, const tt_declaration *one), void *arg);
const char *tt_declaration_query(const tt_declaration *d, tt_str name); /* NULL: none */

#endif
