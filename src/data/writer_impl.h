/* Inside of the writers: what writer.c and the rows of its table share. Nobody else includes this. */
#ifndef TT_DATA_WRITER_IMPL_H
#define TT_DATA_WRITER_IMPL_H

#include <jansson.h>

#include "data/writer.h"

typedef struct {
    const char *kind;
    const char *const *extensions; /* NULL-ended */
    bool plain;                    /* tt_writer_is_plain */
    tt_rc (*open)(tt_writer *w, const tt_writer_spec *spec, const json_t *options, tt_err *err);
    void (*close)(tt_writer *w);
    tt_rc (*put)(tt_writer *w, tt_str value, tt_buf *out, tt_err *err);
    void (*state)(const tt_writer *w, json_t *out);
    tt_rc (*restore)(tt_writer *w, const json_t *state, tt_err *err);
    void (*rewind)(tt_writer *w); /* NULL: nothing stands before the first value */
} tt_writer_row;

extern const tt_writer_row tt_writer_jsonl, tt_writer_csv, tt_writer_parquet;

struct tt_writer {
    const tt_writer_row *row;
    void *own; /* the row's */
};

/* Append value with its raw line ends (blanks between the tokens of a JSON text) as spaces. */
void tt_writer_put_value(tt_buf *out, tt_str value);

#endif
