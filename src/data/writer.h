/* Writers: results into the bytes of an output file. To add one: write its functions and add a row to the table in writer.c.
 * One thread (the ledger's writer). */
#ifndef TT_DATA_WRITER_H
#define TT_DATA_WRITER_H

#include "base/buf.h"

typedef struct tt_writer tt_writer;

typedef struct {
    tt_str kind;        /* "JsonlWriter", "CsvWriter"; empty: by output_path's name */
    tt_str output_path;
    tt_str options;     /* JSON object, as for readers: "separator", ... */
    tt_str header;      /* the input's header (tt_reader_header); may be empty */
    tt_str state;       /* what tt_writer_state gave at the last commit; empty for a new output */
    bool output_has_rows; /* appended to a file that is not empty: no header is written */
} tt_writer_spec;

tt_rc tt_writer_open(const tt_writer_spec *spec, tt_writer **ret, tt_err *err) TT_MUST_CHECK;
void tt_writer_close(tt_writer *w);
const char *tt_writer_kind(const tt_writer *w);
/* Append the bytes of one validated JSON value to out (for the first row of a CSV with its header line before it).
 * TT_INVALID with a reason when the value does not fit (unknown column, scalar in a CSV): out is unchanged and the row goes to the rejects. */
tt_rc tt_writer_put(tt_writer *w, tt_str value, tt_buf *out, tt_err *err) TT_MUST_CHECK;
/* Fast path: true when put only copies the value's bytes (raw CR/LF to blanks) and adds LF, so that the caller may do so itself. */
bool tt_writer_is_plain(const tt_writer *w);
/* State after what was put so far (JSON; CSV: columns, header written). Kept in the same commit as the output. */
void tt_writer_state(const tt_writer *w, tt_buf *out);
/* Go back to a state that tt_writer_state gave (after a rollback). */
tt_rc tt_writer_restore(tt_writer *w, tt_str state, tt_err *err) TT_MUST_CHECK;
/* What is put next begins another output with what the state says so far (CSV: the same columns, and their header line again). */
void tt_writer_rewind(tt_writer *w);
const char *const *tt_writer_kinds(void); /* NULL-ended */

#endif
