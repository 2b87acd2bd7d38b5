#include "base/err.h"

#include <errno.h>

typedef struct {
    tt_rc code;
    const char *name;
    int http;
    int exit_code;
    const char *title;
} rc_row;

static const rc_row rows[] = {
#define TT_RC(name, number, http, exit_code, title) {TT_##name, #name, http, exit_code, title},
#include "base/rc.def"
#undef TT_RC
};

static const rc_row *row_of(tt_rc rc)
{
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (rows[i].code == rc)
            return &rows[i];
    return &rows[1];
}

const char *tt_rc_name(tt_rc rc)
{
    static char lower[TT_COUNT(rows)][24];
    static bool ready[TT_COUNT(rows)];
    const rc_row *row = row_of(rc);
    size_t at = (size_t)(row - rows);
    if (!__atomic_load_n(&ready[at], __ATOMIC_ACQUIRE)) {
        for (size_t i = 0; row->name[i] && i + 1 < sizeof lower[at]; i++)
            lower[at][i] = (char)tolower((unsigned char)row->name[i]);
        __atomic_store_n(&ready[at], true, __ATOMIC_RELEASE);
    }
    return lower[at];
}

const char *tt_rc_title(tt_rc rc) { return row_of(rc)->title; }
int tt_rc_http(tt_rc rc) { return row_of(rc)->http; }
int tt_rc_exit(tt_rc rc) { return row_of(rc)->exit_code; }

static const struct {
    int errnum;
    tt_rc code;
} errno_rows[] = {
    {ENOENT, TT_NOT_FOUND},  {ENOTDIR, TT_NOT_FOUND}, {EACCES, TT_DENIED},     {EPERM, TT_DENIED},
    {EXDEV, TT_DENIED},      {ELOOP, TT_DENIED},      {EROFS, TT_DENIED},      {EEXIST, TT_EXISTS},
    {ENOSPC, TT_NOSPACE},    {EDQUOT, TT_NOSPACE},    {EFBIG, TT_NOSPACE},     {ENOMEM, TT_NOMEM},
    {EISDIR, TT_INVALID},    {EINVAL, TT_INVALID},    {ENAMETOOLONG, TT_INVALID},
    {ECONNREFUSED, TT_UNAVAILABLE}, {ETIMEDOUT, TT_TIMEOUT}, {EWOULDBLOCK, TT_LOCKED},
    {EMFILE, TT_UNAVAILABLE}, {ENFILE, TT_UNAVAILABLE},
};

tt_rc tt_rc_from_errno(int errnum)
{
    for (size_t i = 0; i < TT_COUNT(errno_rows); i++)
        if (errno_rows[i].errnum == errnum)
            return errno_rows[i].code;
    return TT_IO;
}

tt_rc tt_err_vset(tt_err *err, const char *file, int line, tt_rc code, const char *fmt, va_list args)
{
    if (err) {
        char text[sizeof err->text]; /* fmt's arguments may point into err itself */
        vsnprintf(text, sizeof text, fmt, args);
        memcpy(err->text, text, sizeof text);
        err->code = code;
        err->file = file;
        err->line = line;
    }
    return code;
}

tt_rc tt_err_set(tt_err *err, const char *file, int line, tt_rc code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    tt_err_vset(err, file, line, code, fmt, args);
    va_end(args);
    return code;
}

tt_rc tt_err_sys(tt_err *err, const char *file, int line, int errnum, const char *fmt, ...)
{
    tt_rc code = tt_rc_from_errno(errnum);
    char what[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    char reason[96];
    return tt_err_set(err, file, line, code, "%s: %s", what, strerror_r(errnum, reason, sizeof reason));
}

void tt_assert_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "tutti: BUG: assertion `%s` failed at %s:%d; please report this line\n", expr, file, line);
    abort();
}
