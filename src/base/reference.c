#include "base/reference.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"

enum { SECRET_LIMIT_BYTES = 64 * 1024 };

tt_rc tt_file_read_whole(const char *path, size_t limit_bytes, tt_buf *out, struct stat *ret_stat, tt_err *err)
{
    struct stat st;
    int fd = tt_sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot open `%s`", path);
    tt_rc rc = fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode) ? TT_OK : tt_fail(err, TT_INVALID, "`%s` is not a file", path);
    while (rc == TT_OK) {
        char piece[4096];
        ssize_t n = tt_sys.read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = tt_fail_errno(err, errno, "cannot read `%s`", path);
        if (n <= 0)
            break;
        tt_buf_put(out, piece, (size_t)n);
        if (out->len > limit_bytes)
            rc = tt_fail(err, TT_TOO_LARGE, "`%s` is larger than %zu bytes", path, limit_bytes);
    }
    close(fd);
    if (ret_stat)
        *ret_stat = st;
    return rc == TT_OK ? tt_buf_check(out, err) : rc;
}

static tt_rc read_file(const char *path, bool checked, tt_buf *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    struct stat st;
    TT_TRY(tt_file_read_whole(path, SECRET_LIMIT_BYTES, &text, &st, err));
    if (checked && (st.st_mode & 077))
        return tt_fail(err, TT_DENIED, "`%s` can be read by others (mode %03o): chmod 600 it", path, st.st_mode & 0777);
    tt_str secret = tt_str_trim(tt_buf_view(&text));
    if (secret.len == 0 || memchr(secret.ptr, '\0', secret.len))
        return tt_fail(err, TT_INVALID, "`%s` is empty, or no text", path);
    tt_buf_str(ret, secret);
    return tt_buf_check(ret, err);
}

static tt_rc from_file(const char *path, tt_buf *ret, tt_err *err) { return read_file(path, true, ret, err); }

static tt_rc from_variable(const char *name, tt_buf *ret, tt_err *err)
{
    const char *text = getenv(name);
    if (!text || !*text)
        return tt_fail(err, TT_INVALID, "the environment variable %s is not set", name);
    tt_buf_cstr_put(ret, text);
    return tt_buf_check(ret, err);
}

static tt_rc from_credential(const char *name, tt_buf *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    if (!dir || !*dir)
        return tt_fail(err, TT_INVALID, "there are no credentials: add LoadCredential=%s:/PATH to the systemd unit", name);
    if (!*name || *name == '.' || strchr(name, '/'))
        return tt_fail(err, TT_INVALID, "`%s` is not the name of a credential", name);
    tt_buf_printf(&path, "%s/%s", dir, name);
    return read_file(tt_buf_cstr(&path), false, ret, err);
}

/* To add a kind of reference: add a row. */
static const struct {
    const char *prefix;
    tt_rc (*read)(const char *rest, tt_buf *ret, tt_err *err);
} kinds[] = {
    {"file:", from_file},
    {"env:", from_variable},
    {"credential:", from_credential},
};

static size_t kind_of(tt_str text)
{
    size_t i = 0;
    while (i < TT_COUNT(kinds) && !tt_str_starts(text, tt_str_of(kinds[i].prefix)))
        i++;
    return i;
}

bool tt_reference_is(tt_str text) { return kind_of(text) < TT_COUNT(kinds); }

tt_rc tt_reference_read(tt_str reference, tt_buf *ret, tt_err *err)
{
    size_t kind = kind_of(reference);
    if (kind == TT_COUNT(kinds) || memchr(reference.ptr, '\0', reference.len))
        return tt_fail(err, TT_INVALID, "not a reference: use file:/PATH, env:NAME or credential:NAME");
    char *rest = tt_str_dup(tt_str_slice(reference, strlen(kinds[kind].prefix), reference.len));
    tt_rc rc = rest ? kinds[kind].read(rest, ret, err) : tt_fail(err, TT_NOMEM, "no memory for a reference");
    free(rest);
    return rc;
}
