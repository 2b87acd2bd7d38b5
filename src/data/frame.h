/* A frame: the rows of one or more files as the rows of one table, a batch of cells at a time.
 *
 *     tt_frame_new(&f); tt_frame_add_file(f, "a.csv", ...); tt_frame_settle(f, NULL, 0, err);
 *     for (;;) { tt_frame_next(f, &rows, err); if (!rows->count) break; ... tt_frame_cell(rows, column, row) ... }
 *
 * Columns are brought together by name, in the order in which they are first seen; one that a file lacks is null there. Where files differ, whole
 * numbers widen to int64, numbers to double, timestamps to the finer unit; a column without any value takes the type of the others; whatever else differs
 * becomes text. A part may bring constants beside the file's columns (the values of its directories). CSV and JSON lines are first made into a Parquet file
 * without a name, so that all else knows only Parquet. Memory: a batch, and what a Parquet reader takes. One thread. */
#ifndef TT_DATA_FRAME_H
#define TT_DATA_FRAME_H

#include "data/parquet/writer.h"
#include "io/roots.h"

enum { TT_FRAME_ROWS = 1024 };

/* A value. What i, d and bytes mean is said by the column's field, as for tt_pq_put_int and its siblings. */
typedef struct tt_datum tt_datum;
struct tt_datum {
    enum { TT_DATUM_NULL, TT_DATUM_INT, TT_DATUM_DOUBLE, TT_DATUM_BYTES, TT_DATUM_LIST } kind;
    uint32_t count; /* of a list */
    union {
        int64_t i;
        double d;
        tt_str bytes;
        const tt_datum *list;
    };
};

typedef struct {
    const tt_pq_field *fields;
    uint32_t field_count;
    uint32_t count;      /* rows; 0: the end */
    uint32_t part;       /* of which part */
    tt_datum *cells;     /* cell of column c and row r: cells[c * TT_FRAME_ROWS + r] */
    tt_arena *arena;     /* what the cells point to; cleared with the next batch */
} tt_rows;
static inline tt_datum *tt_rows_cell(const tt_rows *r, uint32_t column, uint32_t row) { return &r->cells[(size_t)column * TT_FRAME_ROWS + row]; }

typedef struct {
    tt_pq_field field;   /* the name is copied */
    tt_datum value;      /* bytes are copied; no list */
} tt_frame_constant;

/* How a file of text is read. */
typedef struct {
    const tt_roots *roots; /* below which it must lie; NULL: anywhere */
    tt_str form;           /* "csv", "jsonl", "parquet"; empty: by the name */
    tt_str reader_options; /* as tt_reader_spec.options; may be empty */
    tt_str columns;        /* a JSON object of declared types, {"name": "type"}, of columns that need not be in this file; may be empty */
} tt_frame_intake;

typedef struct tt_frame tt_frame;

tt_rc tt_frame_new(tt_frame **ret, tt_err *err) TT_MUST_CHECK;
void tt_frame_free(tt_frame *f);
#define TT_FRAME_AUTO __attribute__((cleanup(tt_frame_cleanup)))
static inline void tt_frame_cleanup(tt_frame **f) { tt_frame_free(*f); }

/* A file of any form. */
tt_rc tt_frame_add_file(tt_frame *f, tt_str path, const tt_frame_intake *intake, tt_err *err) TT_MUST_CHECK;
/* A Parquet file with constants. */
tt_rc tt_frame_add_part(tt_frame *f, const char *path, const tt_frame_constant *constants, size_t count, tt_err *err) TT_MUST_CHECK;
size_t tt_frame_part_count(const tt_frame *f);
const char *tt_frame_part_path(const tt_frame *f, size_t part);
/* What the part's constants say of a column, as it was given; NULL: nothing. */
const tt_frame_constant *tt_frame_part_constant(const tt_frame *f, size_t part, tt_str name);
/* Which row groups of a part need not be read; left_out has a flag for each, and starts false. Before the first batch. */
typedef tt_rc tt_frame_prune_fn(void *arg, uint32_t part, const tt_pq_file *file, bool *left_out, tt_err *err);
void tt_frame_prune(tt_frame *f, tt_frame_prune_fn *fn, void *arg);

/* The same as a value of a chosen column, bytes in arena or the frame. False: out of memory. */
bool tt_frame_part_value(const tt_frame *f, size_t part, uint32_t column, tt_arena *arena, tt_datum *ret);
/* Only rows for which fn is true are given out. The last `hidden` of the chosen columns are there for fn alone. Before the first batch. */
typedef bool tt_frame_keep_fn(void *arg, const tt_rows *rows, uint32_t r);
void tt_frame_keep(tt_frame *f, tt_frame_keep_fn *fn, void *arg, uint32_t hidden);

/* All parts are there: the columns. names: only these, in this order; count 0: all. TT_NOT_FOUND names one that no part has. */
tt_rc tt_frame_settle(tt_frame *f, const tt_str *names, size_t count, tt_err *err) TT_MUST_CHECK;
/* Chooses again, before the first batch. */
tt_rc tt_frame_choose(tt_frame *f, const tt_str *names, size_t count, tt_err *err) TT_MUST_CHECK;
uint32_t tt_frame_fields(const tt_frame *f, const tt_pq_field **ret);
/* With those that only the filter sees. */
uint32_t tt_frame_all_fields(const tt_frame *f, const tt_pq_field **ret);
int32_t tt_frame_find(const tt_frame *f, tt_str name); /* -1: none */
/* The next rows, all of one part. The frame owns them until the next call. */
tt_rc tt_frame_next(tt_frame *f, tt_rows **ret, tt_err *err) TT_MUST_CHECK;
/* From the first row again. */
void tt_frame_rewind(tt_frame *f);

/* ---- cells ---- */

/* The cell as a value of column of w, whose field it belongs to. */
void tt_datum_put(tt_pq_writer *w, uint32_t column, const tt_pq_field *field, const tt_datum *d);
/* As JSON. */
void tt_datum_json(const tt_pq_field *field, const tt_datum *d, tt_buf *out);
/* As plain text (no quotes around strings); nothing for null. */
void tt_datum_text(const tt_pq_field *field, const tt_datum *d, tt_buf *out);
/* Both null, or the same value; of cells of one field. NaN equals itself. */
bool tt_datum_same(const tt_datum *a, const tt_datum *b);
/* -1, 0 or 1; null is less than all else, NaN more. */
int tt_datum_cmp(const tt_pq_field *field, const tt_datum *a, const tt_datum *b);
/* Text as a value of the field, bytes in arena. False: it is none. */
bool tt_datum_parse(const tt_pq_field *field, tt_str text, tt_arena *arena, tt_datum *ret);

#endif
