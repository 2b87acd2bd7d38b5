/* Inside of the readers: what reader.c and the rows of its table share. Nobody else includes this. */
#ifndef TT_DATA_READER_IMPL_H
#define TT_DATA_READER_IMPL_H

#include <inttypes.h>
#include <jansson.h>

#include "data/loaded.h"
#include "data/marks.h"
#include "data/reader.h"
#include "data/window.h"

typedef enum { TT_NA_EMPTY, TT_NA_NULL, TT_NA_KEEP } tt_na;

/* The members of tt_reader_spec.options that readers know; what else stands there belongs to others. */
typedef struct {
    bool json_strict;  /* "json":"strict" */
    bool types_text;   /* "types":"text"; default "infer" */
    tt_na na;          /* "na":"null|keep" */
    char separator;    /* '\0': found out */
    uint32_t skip_rows; /* CSV: lines before the header, of each file */
    char encoding[64]; /* as iconv has it; empty: UTF-8 */
} tt_reader_options;

typedef struct {
    const char *kind;
    const char *const *extensions; /* NULL-ended */
    tt_rc (*open)(tt_reader *r, const json_t *state, tt_err *err); /* files are open; state may be NULL */
    void (*close)(tt_reader *r);
    bool (*plans_first)(const tt_reader *r);
    /* The block of file_no that begins at start->offset with start->first_id; count 0 at the end of this file. */
    tt_rc (*next_in_file)(tt_reader *r, tt_block *start, tt_err *err);
    void (*state)(const tt_reader *r, json_t *out);
    tt_rc (*load)(tt_reader *r, const tt_block *block, tt_loaded **ret, tt_err *err);
} tt_reader_row;

extern const tt_reader_row tt_reader_jsonl, tt_reader_csv, tt_reader_parquet;

struct tt_reader {
    const tt_reader_row *row;
    tt_reader_options options;
    uint64_t max_item_bytes;
    tt_source **files;
    size_t file_count;
    tt_window window;  /* the planning thread's */
    tt_marks marks;
    tt_buf header;     /* JSON array, or empty */
    void *own;         /* the row's */
};

/* Length bytes of the block's file into a new buffer, from `front` on, with TT_JSON_PADDING zero bytes behind. Fails with TT_CONFLICT when the file ends
 * before. The caller frees *ret. */
tt_rc tt_reader_read_block(tt_reader *r, const tt_block *block, size_t front, char **ret, tt_err *err) TT_MUST_CHECK;
/* The whole block is one record that is too long to be read: a bad record with its first bytes. */
tt_rc tt_reader_load_oversized(tt_reader *r, const tt_block *block, const char *reason, tt_loaded **ret, tt_err *err) TT_MUST_CHECK;
/* TT_CONFLICT: the bytes are not those that were planned. */
tt_rc tt_reader_changed(tt_reader *r, const tt_block *block, tt_err *err) TT_MUST_CHECK;

#endif
