#include "base/log.h"

#include <pthread.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/vec.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static tt_log_level current_level = TT_LOG_INFO;
static tt_log_format current_format = TT_LOG_LOGFMT;
static const char *process_name;

enum { SHORTEST_SECRET = 4, SHORTEST_LINE = 16 };
static pthread_mutex_t secrets_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list */
static TT_VEC(tt_str) secrets;                                   /* the longest first, so that one that holds another goes whole */

void tt_log_setup(tt_log_level level, tt_log_format format)
{
    tt_log_set_level(level);
    __atomic_store_n(&current_format, format, __ATOMIC_RELAXED);
}

void tt_log_set_level(tt_log_level level) { __atomic_store_n(&current_level, level, __ATOMIC_RELAXED); }
tt_log_level tt_log_get_level(void) { return __atomic_load_n(&current_level, __ATOMIC_RELAXED); }
void tt_log_set_process(const char *name) { process_name = name; }

static void keep_secret(tt_str secret)
{
    size_t at = 0;
    while (at < secrets.len && (secrets.ptr[at].len > secret.len || (secrets.ptr[at].len == secret.len && !tt_str_eq(secrets.ptr[at], secret))))
        at++;
    if (secret.len < SHORTEST_SECRET || (at < secrets.len && tt_str_eq(secrets.ptr[at], secret)))
        return;
    char *copy = tt_str_dup(secret);
    if (!copy || !tt_vec_push(&secrets, (tt_str){copy, secret.len})) {
        free(copy);
        return;
    }
    memmove(secrets.ptr + at + 1, secrets.ptr + at, (secrets.len - 1 - at) * sizeof secrets.ptr[0]);
    secrets.ptr[at] = (tt_str){copy, secret.len};
}

void tt_log_mask(tt_str secret)
{
    TT_BUF_AUTO tt_buf quoted = {0};
    tt_str rest = secret, line;
    tt_buf_json_str(&quoted, secret);
    pthread_mutex_lock(&secrets_lock);
    keep_secret(secret);
    if (!quoted.failed)
        keep_secret(tt_str_slice(tt_buf_view(&quoted), 1, quoted.len - 1));
    while (tt_str_find(secret, '\n') >= 0 && tt_str_cut(&rest, '\n', &line))
        if (line.len >= SHORTEST_LINE)
            keep_secret(line);
    pthread_mutex_unlock(&secrets_lock);
}

void tt_log_mask_text(tt_buf *text)
{
    pthread_mutex_lock(&secrets_lock);
    for (size_t i = 0; i < secrets.len && text->len; i++) {
        tt_str s = secrets.ptr[i];
        size_t from = 0;
        char *hit;
        while (from < text->len && (hit = memmem(text->ptr + from, text->len - from, s.ptr, s.len))) {
            size_t at = (size_t)(hit - text->ptr), tail = text->len - at - s.len;
            memcpy(hit, "***", 3); /* a secret has at least four bytes */
            memmove(hit + 3, hit + s.len, tail);
            text->len -= s.len - 3;
            from = at + 3;
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
    tt_log_mask_text(&line);
    if (line.len && write(STDERR_FILENO, line.ptr, line.len) < 0)
        return; /* nobody is left to tell */
}
