/* Writes structs of Thrift's compact protocol into a buffer. Fields come in ascending order of their numbers. */
#ifndef TT_DATA_PARQUET_THRIFT_OUT_H
#define TT_DATA_PARQUET_THRIFT_OUT_H

#include "data/parquet/thrift.h"

enum { TT_THRIFT_OUT_DEPTH = 16 };

typedef struct {
    tt_buf *out;
    int16_t last[TT_THRIFT_OUT_DEPTH]; /* the field before, of each open struct */
    unsigned depth;
} tt_thrift_out;

void tt_thrift_out_i32(tt_thrift_out *t, int16_t id, int32_t value);
void tt_thrift_out_i64(tt_thrift_out *t, int16_t id, int64_t value);
void tt_thrift_out_i8(tt_thrift_out *t, int16_t id, int8_t value);
void tt_thrift_out_bool(tt_thrift_out *t, int16_t id, bool value);
void tt_thrift_out_str(tt_thrift_out *t, int16_t id, tt_str value);
/* A struct as a field; id 0: as an element of a list, or the outermost one. */
void tt_thrift_out_begin(tt_thrift_out *t, int16_t id);
void tt_thrift_out_end(tt_thrift_out *t);
/* A struct without fields: how unions name a choice. */
void tt_thrift_out_empty(tt_thrift_out *t, int16_t id);
/* The header of a list; its elements follow. */
void tt_thrift_out_list(tt_thrift_out *t, int16_t id, tt_thrift_type element, uint32_t count);
void tt_thrift_out_element_int(tt_thrift_out *t, int64_t value);
void tt_thrift_out_element_str(tt_thrift_out *t, tt_str value);
void tt_thrift_out_element_bool(tt_thrift_out *t, bool value);

#endif
