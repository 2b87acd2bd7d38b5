#include "work/native_files.h"

#include <stdlib.h>

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

const char *tt_native_join(tt_buf *out, const char *dir, const char *name)
{
    size_t len = strlen(dir);
    tt_buf_clear(out);
    tt_buf_printf(out, "%s%s%s", dir, len == 0 || dir[len - 1] == '/' ? "" : "/", name);
    return tt_buf_cstr(out);
}
