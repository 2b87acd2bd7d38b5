/* Thrift's compact protocol, as far as Parquet needs it: reading structs by tables of fields, and writing.
 *
 * A reader is bounded by its span and fails for good at the first thing that is malformed (`why` says what); every count is checked against
 * the bytes that are left, nesting against a depth. Fields that a table does not name, or that have another type than it says, are skipped
 * as if they were absent (their value is 0 or empty). Views point into the span.
 * To read one more field of a struct: a row in its table. */
#ifndef TT_DATA_PARQUET_THRIFT_H
#define TT_DATA_PARQUET_THRIFT_H

#include "base/buf.h"
#include "base/mem.h"

typedef enum {
    TT_THRIFT_STOP, TT_THRIFT_TRUE, TT_THRIFT_FALSE, TT_THRIFT_I8, TT_THRIFT_I16, TT_THRIFT_I32, TT_THRIFT_I64, TT_THRIFT_DOUBLE,
    TT_THRIFT_BINARY, TT_THRIFT_LIST, TT_THRIFT_SET, TT_THRIFT_MAP, TT_THRIFT_STRUCT, TT_THRIFT_UUID,
} tt_thrift_type;

typedef struct {
    const uint8_t *at, *end;
    const char *why;  /* static text; NULL: all is well */
    bool is_nomem;    /* an arena gave nothing */
    unsigned depth;
    tt_arena *arena;  /* for fields that allocate */
} tt_thrift;

typedef enum { TT_THRIFT_TO_I32, TT_THRIFT_TO_I64, TT_THRIFT_TO_BOOL, TT_THRIFT_TO_STR, TT_THRIFT_TO_FN } tt_thrift_into;

/* Where a field goes: an int32_t, int64_t, bool or tt_str at offset, or what fn does with the wire type and the whole struct. */
typedef struct {
    int16_t id;
    tt_thrift_into into;
    size_t offset;
    void (*fn)(tt_thrift *t, tt_thrift_type type, void *object);
} tt_thrift_field;

/* A struct by its table, which ends with id 0. */
void tt_thrift_struct(tt_thrift *t, const tt_thrift_field *fields, void *object);
/* A list's header: how many elements of which type follow. 0 after a failure. */
uint32_t tt_thrift_list(tt_thrift *t, tt_thrift_type type, tt_thrift_type *ret_element);
/* As above, of elements that must be structs, as `size` bytes each in the arena, read by fields. */
void *tt_thrift_structs(tt_thrift *t, tt_thrift_type type, const tt_thrift_field *fields, size_t size, uint32_t *ret_count);
int64_t tt_thrift_int(tt_thrift *t, tt_thrift_type type);
bool tt_thrift_bool(tt_thrift *t, tt_thrift_type type, bool in_list);
tt_str tt_thrift_binary(tt_thrift *t, tt_thrift_type type);
void tt_thrift_skip(tt_thrift *t, tt_thrift_type type, bool in_list);
/* The next field of a struct; false at its end. *last is 0 at first. */
bool tt_thrift_next(tt_thrift *t, int16_t *last, tt_thrift_type *ret_type);
void tt_thrift_fail(tt_thrift *t, const char *why);
static inline bool tt_thrift_is_int(tt_thrift_type type) { return type >= TT_THRIFT_I8 && type <= TT_THRIFT_I64; }

#endif
