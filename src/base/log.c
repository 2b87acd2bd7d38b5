#include "base/log.h"

#include <pthread.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static tt_log_level current_level = TT_LOG_INFO;
static tt_log_format current_format = TT_LOG_LOGFMT;
static const char *process_name;

enum { MAX_SECRETS = 256, SHORTEST_SECRET = 4 };
static pthread_mutex_t secrets_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
static tt_str secrets[MAX_SECRETS];
static size_t secret_count;

void tt_log_setup(tt_log_level level, tt_log_format format)
{
    tt_log_set_level(level);
    __atomic_store_n(&current_format, format, __ATOMIC_RELAXED);
}

void tt_log_set_level(tt_log_level level) { __atomic_store_n(&current_level, level, __ATOMIC_RELAXED); }
tt_log_level tt_log_get_level(void) { return __atomic_load_n(&current_level, __ATOMIC_RELAXED); }
void tt_log_set_process(const char *name) { process_name = name; }

void tt_log_mask(tt_str secret)
{
    if (secret.len < SHORTEST_SECRET)
        return;
    pthread_mutex_lock(&secrets_lock);
    bool known = false;
    for (size_t i = 0; i < secret_count; i++)
        known |= tt_str_eq(secrets[i], secret);
    char *copy = known || secret_count == MAX_SECRETS ? NULL : tt_str_dup(secret);
    if (copy)
        secrets[secret_count++] = (tt_str){copy, secret.len};
    pthread_mutex_unlock(&secrets_lock);
}

static void mask_line(tt_buf *line)
{
    pthread_mutex_lock(&secrets_lock);
    for (size_t i = 0; i < secret_count; i++) {
        char *hit;
        while ((hit = memmem(line->ptr, line->len, secrets[i].ptr, secrets[i].len))) {
            size_t tail = line->len - (size_t)(hit - line->ptr) - secrets[i].len;
            memcpy(hit, "***", 3); /* a secret has at least four bytes */
            memmove(hit + 3, hit + secrets[i].len, tail);
            line->len -= secrets[i].len - 3;
        }
    }
    pthread_mutex_unlock(&secrets_lock);
}

static bool is_bare(tt_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7F)
            return false;
    }
    return s.len > 0;
}

static void put_value(tt_buf *line, tt_log_format format, const tt_log_field *f)
{
    if (f->kind == TT_FIELD_INT)
        tt_buf_i64(line, f->num);
    else if (format == TT_LOG_LOGFMT && is_bare(f->str))
        tt_buf_str(line, f->str);
    else
        tt_buf_json_str(line, f->str);
}

static void put_field(tt_buf *line, tt_log_format format, const tt_log_field *f)
{
    if (format == TT_LOG_JSON) {
        tt_buf_char(line, line->len > 1 ? ',' : ' ');
        tt_buf_json_str(line, tt_str_of(f->key));
        tt_buf_char(line, ':');
    } else {
        if (line->len)
            tt_buf_char(line, ' ');
        tt_buf_cstr_put(line, f->key);
        tt_buf_char(line, '=');
    }
    put_value(line, format, f);
}

void tt_log_write(tt_log_level level, const char *msg, const tt_log_field *fields, size_t count)
{
    TT_BUF_AUTO tt_buf line = {.limit_bytes = 64 * 1024};
    tt_log_format format = __atomic_load_n(&current_format, __ATOMIC_RELAXED);
    char when[TT_TIME_TEXT];
    if (format == TT_LOG_JSON)
        tt_buf_char(&line, '{');
    put_field(&line, format, &(tt_log_field)TT_F_CSTR("ts", tt_time_text(tt_wall_ms(), when)));
    put_field(&line, format, &(tt_log_field)TT_F_CSTR("level", level_names[level]));
    put_field(&line, format, &(tt_log_field)TT_F_CSTR("msg", msg));
    if (process_name)
        put_field(&line, format, &(tt_log_field)TT_F_CSTR("proc", process_name));
    for (size_t i = 0; i < count; i++)
        put_field(&line, format, &fields[i]);
    if (format == TT_LOG_JSON)
        tt_buf_char(&line, '}');
    tt_buf_char(&line, '\n');
    mask_line(&line);
    if (line.len && write(STDERR_FILENO, line.ptr, line.len) < 0)
        return; /* nobody is left to tell */
}
