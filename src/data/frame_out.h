/* Rows of frames into a file: Parquet, CSV or JSON lines. The file appears under its name when it is complete and synced. One thread. */
#ifndef TT_DATA_FRAME_OUT_H
#define TT_DATA_FRAME_OUT_H

#include "data/frame.h"

/* Row r as a line, with its line end. CSV as RFC 4180: texts in quotes where they must be, and when they are empty; a null is nothing. */
void tt_rows_json_line(const tt_rows *rows, uint32_t r, tt_buf *out);
void tt_rows_csv_line(const tt_rows *rows, uint32_t r, tt_buf *out);
void tt_rows_csv_header(const tt_pq_field *fields, uint32_t count, tt_buf *out);

typedef struct {
    const char *path;
    tt_str form;                   /* "parquet", "csv", "jsonl"; empty: by the name */
    const tt_pq_field *fields;     /* of all rows that will be put; must stay */
    uint32_t field_count;
    const tt_pq_key_value *key_values; /* of Parquet */
    uint32_t key_value_count;
    char separator;                /* of CSV; 0: a comma */
    uint64_t group_bytes;          /* of Parquet; 0: as the writer likes it */
} tt_frame_out_spec;

typedef struct tt_frame_out tt_frame_out;

tt_rc tt_frame_out_create(const tt_frame_out_spec *spec, tt_frame_out **ret, tt_err *err) TT_MUST_CHECK;
void tt_frame_out_free(tt_frame_out *o);
#define TT_FRAME_OUT_AUTO __attribute__((cleanup(tt_frame_out_cleanup)))
static inline void tt_frame_out_cleanup(tt_frame_out **o) { tt_frame_out_free(*o); }
tt_rc tt_frame_out_put(tt_frame_out *o, const tt_rows *rows, uint32_t r, tt_err *err) TT_MUST_CHECK;
uint64_t tt_frame_out_bytes(const tt_frame_out *o); /* written so far, about */
tt_rc tt_frame_out_finish(tt_frame_out *o, tt_err *err) TT_MUST_CHECK;
/* All rows of a settled frame, as the file that the ending of path says. */
tt_rc tt_frame_out_all(tt_frame *frame, const char *path, tt_err *err) TT_MUST_CHECK;

#endif
