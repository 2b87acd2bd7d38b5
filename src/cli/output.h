/* What a command prints: results on standard output (a table, TSV, or JSON), everything else on standard error.
 * Bytes that come from outside are shown without control characters. One thread. */
#ifndef TT_CLI_OUTPUT_H
#define TT_CLI_OUTPUT_H

#include <jansson.h>

#include "cli/command.h"

/* To standard output, all of it. TT_CANCELED (and a quiet end) when its reader is gone. */
tt_rc tt_out(tt_cli *cli, tt_str bytes, tt_err *err) TT_MUST_CHECK;
tt_rc tt_outf(tt_cli *cli, tt_err *err, const char *fmt, ...) TT_PRINTF(3, 4) TT_MUST_CHECK;
/* The document as the server wrote it, with one line end. */
tt_rc tt_out_document(tt_cli *cli, tt_str json, tt_err *err) TT_MUST_CHECK;
/* A line for the person at the terminal, on standard error; nothing with --quiet or --json. */
void tt_say(tt_cli *cli, const char *fmt, ...) TT_PRINTF(2, 3);
/* Yes on standard error and standard input; --yes answers it. TT_USAGE when there is nobody to ask. */
tt_rc tt_confirm(tt_cli *cli, const char *question, tt_err *err) TT_MUST_CHECK;

/* Columns of a terminal at fd, 80 when it is none; at most 120. */
unsigned tt_term_columns(int fd);

typedef enum { TT_TINT_NONE, TT_TINT_BOLD, TT_TINT_GOOD, TT_TINT_WARN, TT_TINT_BAD } tt_tint;
/* Starts and ends a color; "" where none is wanted. stream: 1 or 2. */
const char *tt_tint_on(const tt_cli *cli, int stream, tt_tint tint);
const char *tt_tint_off(const tt_cli *cli, int stream);

/* A table: cells row by row, then tt_table_print. headings: NULL-ended. A heading in front of which stands ">" is aligned to the right. */
typedef struct tt_table tt_table;
tt_table *tt_table_new(const char *const *headings);
void tt_table_cell(tt_table *t, tt_str text);
void tt_table_tinted(tt_table *t, tt_str text, tt_tint tint);
void tt_table_int(tt_table *t, int64_t value);
tt_rc tt_table_print(tt_cli *cli, tt_table *t, tt_err *err) TT_MUST_CHECK;
void tt_table_free(tt_table *t);

/* Answers as trees. Absent members: "" and 0. */
tt_rc tt_json_answer(tt_str text, json_t **ret, tt_err *err) TT_MUST_CHECK;
tt_str tt_json_member_str(const json_t *object, const char *name);
int64_t tt_json_member_int(const json_t *object, const char *name);
double tt_json_member_num(const json_t *object, const char *name);
#define TT_JSON_AUTO __attribute__((cleanup(tt_json_cleanup)))
void tt_json_cleanup(json_t **root);

#endif
