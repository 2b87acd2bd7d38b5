/* A growable byte buffer. It owns its bytes. Appending never fails in the caller's face: when memory runs out
 * or the limit is passed the buffer turns `failed`, later appends do nothing, and the one check at the end
 * (tt_buf_check) reports it. Always room for a NUL behind the bytes (tt_buf_cstr). One thread at a time. */
#ifndef TT_BASE_BUF_H
#define TT_BASE_BUF_H

#include "base/str.h"

typedef struct {
    char *ptr;
    size_t len;
    size_t cap;
    size_t limit_bytes; /* 0: none */
    bool failed;
} tt_buf;

#define TT_BUF_AUTO __attribute__((cleanup(tt_buf_deinit)))

void tt_buf_deinit(tt_buf *b);               /* frees; b is empty and usable again */
void tt_buf_clear(tt_buf *b);                /* keeps the memory */
tt_buf tt_buf_take(tt_buf *b);               /* moves out; b is empty */
bool tt_buf_reserve(tt_buf *b, size_t more); /* room for more bytes; false: b->failed */
void tt_buf_put(tt_buf *b, const void *ptr, size_t len);
void tt_buf_str(tt_buf *b, tt_str s);
void tt_buf_cstr_put(tt_buf *b, const char *text);
void tt_buf_char(tt_buf *b, char c);
void tt_buf_u64(tt_buf *b, uint64_t value);
void tt_buf_i64(tt_buf *b, int64_t value);
void tt_buf_printf(tt_buf *b, const char *fmt, ...) TT_PRINTF(2, 3);
void tt_buf_vprintf(tt_buf *b, const char *fmt, va_list args) TT_PRINTF(2, 0);
/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void tt_buf_json_str(tt_buf *b, tt_str s);
/* Text inside HTML. */
void tt_buf_html(tt_buf *b, tt_str s);

static inline tt_str tt_buf_view(const tt_buf *b) { return (tt_str){b->ptr, b->len}; }
const char *tt_buf_cstr(tt_buf *b);          /* the bytes with a NUL behind; "" when failed */
tt_rc tt_buf_check(const tt_buf *b, tt_err *err) TT_MUST_CHECK;

/* Decimal digits of value into out (at least 20 bytes); returns how many. */
size_t tt_u64_digits(uint64_t value, char out[20]);

#endif
