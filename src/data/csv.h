/* Comma-separated bytes as rows of cells, one row at a time, without a copy. As Python's csv and pandas read them: a quote counts only as the
 * first byte of a cell, is doubled inside, and what follows the closing quote belongs to the cell; line ends are LF, CR LF or CR.
 * A quote that is opened and not closed would swallow the rest of a file: it is bounded, and reading goes on with the next line.
 * Pure functions; any thread. */
#ifndef TT_DATA_CSV_H
#define TT_DATA_CSV_H

#include "base/buf.h"
#include "base/vec.h"

enum { TT_CSV_MAX_COLUMNS = 65536 };

typedef struct {
    char separator;
    size_t max_row_bytes;
    size_t max_cells; /* so many are kept of a row; the rest is only counted */
} tt_csv;

typedef struct {
    tt_str raw;   /* between the separators, with the quotes */
    bool quoted;  /* begins with a quote */
    bool direct;  /* the text is raw, or raw without its first and last byte when quoted */
} tt_csv_cell;

typedef struct {
    TT_VEC(tt_csv_cell) cells;
    size_t cell_count; /* also those that were not kept */
    bool any_quoted;
} tt_csv_row;

typedef enum {
    TT_CSV_ROW,      /* *ret_past is behind its line end */
    TT_CSV_BLANK,    /* a line of blanks; *ret_past is behind its line end */
    TT_CSV_MORE,     /* the bytes end before the row does (not `last`): come again from the same place with more of them */
    TT_CSV_LONG,     /* more than max_row_bytes; it ends with the first line end at or behind *ret_past */
    TT_CSV_UNCLOSED, /* a quote without an end within max_row_bytes; the row is cut at the first line end at or behind *ret_past */
    TT_CSV_NOMEM,
} tt_csv_result;

/* The row that begins at p (< end). last: the input ends at end. */
tt_csv_result tt_csv_next(const tt_csv *csv, const char *p, const char *end, bool last, tt_csv_row *row, const char **ret_past) TT_MUST_CHECK;
/* The cell's text: inside the row's bytes, or put together in scratch (cleared first). */
tt_str tt_csv_text(const tt_csv_cell *cell, tt_buf *scratch);
/* Which of , ; and TAB stands most often outside quotes in the first line that is not blank; usual wins a draw and when there is none. */
char tt_csv_sniff(tt_str text, char usual);
/* An option's text as a separator: one ASCII byte that is neither quote nor line end, or the word "tab". text may be NULL. */
tt_rc tt_csv_separator(const char *text, char *ret, tt_err *err) TT_MUST_CHECK;
/* TAB for .tsv (also .tsv.gz, .tsv.zst), a comma for all others. */
char tt_csv_usual_separator(tt_str path);

#endif
