/* Transforms: programs that are part of tutti and make one table of another, row by row. Each is a row of a few functions; what they share stands here:
 * where rows come from and go to (ends.h), and where rows go that do not fit.
 *
 *   plan    looks at the settings and the input's columns, and says the output's
 *   look    sees every row once before the first is put out (NULL: not needed)
 *   row     fills the cells of an output row, and says whether it is kept, dropped or rejected
 *
 * Memory: a batch, and what a transform keeps itself (groups, a map). To add one: write these functions, and a row of `tt_transforms` in transform.c.
 * They run in the process in which C programs run; one thread. */
#ifndef TT_TRANSFORM_TRANSFORM_H
#define TT_TRANSFORM_TRANSFORM_H

#include <jansson.h>

#include "data/frame.h"
#include "lake/filter.h"
#include "tutti/program.h"
#include "work/native.h"

typedef struct tt_transform tt_transform;
typedef enum { TT_KEEP, TT_DROP, TT_REJECT } tt_verdict;

typedef struct {
    const char *name;
    tt_rc (*plan)(tt_transform *x, tt_err *err);
    tt_rc (*look)(tt_transform *x, const tt_rows *rows, uint32_t r, tt_err *err);
    tt_rc (*row)(tt_transform *x, const tt_rows *rows, uint32_t r, tt_verdict *verdict, tt_err *err);
    void (*end)(tt_transform *x); /* frees what plan made; NULL: nothing */
} tt_transform_row;

struct tt_transform {
    const tutti_host *t;
    const tt_transform_row *row;
    tt_arena arena;              /* for plans, and what is kept of rows */
    const tt_pq_field *in;       /* the input's columns */
    uint32_t in_count;
    tt_pq_field *out;            /* the output's */
    int32_t *from;               /* of each: the input's column that it is filled with before `row`; -1: null */
    uint32_t out_count;
    tt_datum **cells;            /* of each: the cell in hand */
    tt_arena *batch;             /* for what cells point to */
    const char *reason;          /* why a row is rejected */
    uint64_t row_number;         /* of the input, from 0 */
    tt_buf scratch;
    void *own;                   /* the transform's */
};

/* ---- for plans ---- */

/* The output begins with all columns of the input. */
tt_rc tt_transform_keep_columns(tt_transform *x, tt_err *err) TT_MUST_CHECK;
/* One more column (or a changed one of this name): its index. */
tt_rc tt_transform_column(tt_transform *x, const tt_pq_field *field, int32_t from, uint32_t *ret, tt_err *err) TT_MUST_CHECK;
/* A column of the input; false: there is none. */
bool tt_transform_has(const tt_transform *x, tt_str name, uint32_t *ret);
/* The same, which a setting names; TT_NOT_FOUND. */
tt_rc tt_transform_find(const tt_transform *x, const char *setting, tt_str name, uint32_t *ret, tt_err *err) TT_MUST_CHECK;
/* The setting (or a part of it) as a filter of the input's rows; the caller frees it. */
tt_rc tt_transform_read_filter(const tt_transform *x, const char *setting, const char *text, tt_filter **ret, tt_err *err) TT_MUST_CHECK;
/* The setting as a list of names, each of a column of the input. */
tt_rc tt_transform_columns_of(tt_transform *x, const char *setting, uint32_t **ret, uint32_t *ret_count, tt_err *err) TT_MUST_CHECK;
/* A list or an object; the caller gives it back. */
tt_rc tt_transform_json(const tt_transform *x, const char *setting, json_t **ret, tt_err *err) TT_MUST_CHECK;
/* A value of JSON as text: strings as they are. NULL: null. In the arena. */
tt_rc tt_transform_text(tt_transform *x, const json_t *value, const char **ret, tt_err *err) TT_MUST_CHECK;
/* The field of a type in a word ("string", "int", "date", ...). */
tt_rc tt_transform_type(const char *word, tt_str name, tt_pq_field *ret, tt_err *err) TT_MUST_CHECK;
/* A copy of a cell that outlives its batch. */
bool tt_transform_copy(tt_transform *x, const tt_datum *d, tt_datum *ret) TT_MUST_CHECK;
/* A 128-bit hash of cells, as bytes for a map; in key. */
tt_rc tt_transform_key(tt_transform *x, const tt_rows *rows, uint32_t r, const uint32_t *columns, uint32_t count, char key[16], tt_err *err) TT_MUST_CHECK;

/* The rows of all of them. */
extern const tt_transform_row tt_transform_read_delimited, tt_transform_write_delimited, tt_transform_map_columns, tt_transform_cast_numbers, tt_transform_parse_dates,
    tt_transform_clean_text, tt_transform_replace_values, tt_transform_keep_in_domain, tt_transform_lookup_map, tt_transform_dedupe, tt_transform_fill_null,
    tt_transform_filter, tt_transform_case_when, tt_transform_pick_row;

/* The table for the programs of tutti; a row without name ends it. */
extern const tt_native_row tt_transforms[];

#endif
