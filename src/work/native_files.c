#include "work/native_files.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"

enum { MOST_NAME_BYTES = 64 * 1024 };

tt_rc tt_native_connect(const tutti_host *t, tt_remote **ret, tt_err *err)
{
    tt_remote_spec spec = {
        .url = tt_str_of(t->text(t, "url")), .user = tt_str_of(t->text(t, "user")), .password = tt_str_of(t->text(t, "password")),
        .key = tt_str_of(t->text(t, "key")), .key_password = tt_str_of(t->text(t, "key_password")), .host_key = tt_str_of(t->text(t, "host_key")),
        .known_hosts = tt_str_of(t->text(t, "known_hosts")), .ca_file = tt_str_of(t->text(t, "ca_file")), .timeout_ms = t->integer(t, "timeout_s") * 1000,
    };
    t->update(t, "login", "started");
    tt_rc rc = tt_remote_open(&spec, ret, err);
    t->update(t, "login", rc == TT_OK ? "completed" : "failed");
    return rc;
}

void tt_native_moved(const tutti_host *t, tt_native_tally *tally, const char *name, uint64_t bytes)
{
    tally->moved++;
    tally->bytes += (int64_t)bytes;
    if (tally->names.len < MOST_NAME_BYTES) {
        tt_buf_cstr_put(&tally->names, tally->names.len ? "," : "");
        tt_buf_json_str(&tally->names, tt_str_of(name));
    }
    t->count(t, "files", 1);
    t->count(t, "bytes", (int64_t)bytes);
}

void tt_native_unchanged(const tutti_host *t, tt_native_tally *tally)
{
    tally->unchanged++;
    t->count(t, "unchanged", 1);
}

int tt_native_end(const tutti_host *t, tt_native_tally *tally, tt_rc rc, const tt_err *err)
{
    TT_BUF_AUTO tt_buf result = {0};
    if (rc == TT_OK) {
        tt_buf_printf(&result, "{\"files\":%lld,\"bytes\":%lld,\"unchanged\":%lld,\"names\":[%s]}", (long long)tally->moved, (long long)tally->bytes,
                      (long long)tally->unchanged, tt_buf_cstr(&tally->names));
        t->result(t, tt_buf_cstr(&result));
        t->update(t, "transfer", "completed");
    } else {
        t->update(t, "transfer", "failed");
        t->fail(t, "%s", err->text);
    }
    tt_buf_deinit(&tally->names);
    return rc == TT_OK ? 0 : 1;
}

tt_rc tt_native_get_file(const tutti_host *t, tt_remote *remote, const char *there, const tt_remote_entry *e, int fd, tt_err *err)
{
    struct stat st;
    uint64_t end = 0;
    if (fstat(fd, &st) != 0)
        return tt_fail_errno(err, errno, "cannot look at a file that was begun");
    uint64_t at = e->changed_s && (uint64_t)st.st_size <= e->size_bytes ? (uint64_t)st.st_size : 0;
    if (tt_sys.ftruncate(fd, (off_t)at) != 0)
        return tt_fail_errno(err, errno, "cannot begin a file anew");
    if (at < e->size_bytes || at == 0)
        TT_TRY(tt_remote_get(remote, there, at, fd, &end, err));
    else
        end = at;
    if (at)
        t->log(t, "%s: went on at byte %llu", there, (unsigned long long)at);
    if (end != e->size_bytes)
        return tt_fail(err, TT_UNAVAILABLE, "`%.200s` of %s has changed while it was fetched: %llu bytes were listed, %llu came", there, tt_remote_host(remote),
                       (unsigned long long)e->size_bytes, (unsigned long long)end);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = e->changed_s, .tv_nsec = e->changed_s ? 0 : UTIME_OMIT}};
    if (futimens(fd, times) != 0 || tt_sys.fsync(fd) != 0)
        return tt_fail_errno(err, errno, "cannot keep `%.200s`", there);
    return TT_OK;
}

const char *tt_native_join(tt_buf *out, const char *dir, const char *name)
{
    size_t len = strlen(dir);
    tt_buf_clear(out);
    tt_buf_printf(out, "%s%s%s", dir, len == 0 || dir[len - 1] == '/' ? "" : "/", name);
    return tt_buf_cstr(out);
}
