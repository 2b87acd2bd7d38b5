/* The log: one line per event on standard error, as logfmt or JSON: ts, level, msg, then fields.
 * Only the edge logs (routes, commands, worker loops), never a library. Secrets registered with
 * tt_log_mask are replaced by `***` wherever they occur in a line. Any thread. */
#ifndef TT_BASE_LOG_H
#define TT_BASE_LOG_H

#include "base/buf.h"

typedef enum { TT_LOG_ERROR, TT_LOG_WARN, TT_LOG_INFO, TT_LOG_DEBUG } tt_log_level;
typedef enum { TT_LOG_LOGFMT, TT_LOG_JSON } tt_log_format;

typedef struct {
    const char *key;
    enum { TT_FIELD_STR, TT_FIELD_INT } kind;
    tt_str str;
    int64_t num;
} tt_log_field;

#define TT_F_STR(k, s) {.key = (k), .kind = TT_FIELD_STR, .str = (s)}
#define TT_F_CSTR(k, s) {.key = (k), .kind = TT_FIELD_STR, .str = tt_str_of(s)}
#define TT_F_INT(k, n) {.key = (k), .kind = TT_FIELD_INT, .num = (int64_t)(n)}

/* May be called again while others log. */
void tt_log_setup(tt_log_level level, tt_log_format format);
void tt_log_set_level(tt_log_level level);
tt_log_level tt_log_get_level(void);
/* A name put into every line of this process as `proc=`. The text must stay alive. */
void tt_log_set_process(const char *name);
/* Never show this value, nor its form inside a JSON string, nor one of its longer lines (at least 4 bytes; shorter ones are ignored). Copies it. */
void tt_log_mask(tt_str secret);
/* Put `***` in the place of every such value: for text of others that is shown or kept, like what a program prints. */
void tt_log_mask_text(tt_buf *text);
void tt_log_write(tt_log_level level, const char *msg, const tt_log_field *fields, size_t count);

#define TT_LOG(level, msg, ...)                                                                  \
    do {                                                                                         \
        if ((level) <= tt_log_get_level()) {                                                     \
            const tt_log_field tt_fields_[] = {__VA_ARGS__};                                     \
            tt_log_write((level), (msg), tt_fields_, sizeof tt_fields_ / sizeof(tt_log_field));  \
        }                                                                                        \
    } while (0)
#define tt_log_error(msg, ...) TT_LOG(TT_LOG_ERROR, msg, __VA_ARGS__)
#define tt_log_warn(msg, ...) TT_LOG(TT_LOG_WARN, msg, __VA_ARGS__)
#define tt_log_info(msg, ...) TT_LOG(TT_LOG_INFO, msg, __VA_ARGS__)
#define tt_log_debug(msg, ...) TT_LOG(TT_LOG_DEBUG, msg, __VA_ARGS__)

#endif
