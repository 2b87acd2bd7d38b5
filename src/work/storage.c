#include "work/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/fd.h"
#include "work/storage_inner.h"

enum { MAX_SPOOL_BYTES = 1 << 30 };

struct tt_storage {
    char *spool_dir;
    FILE *spool;       /* lines of JSON, in a file without a name; NULL: none yet */
    uint64_t bytes, rows;
    char *line;        /* getline's */
    size_t line_cap;
};

/* ---- types ---- */

/* What each type of storage asks for. To add one: a row, and a function that stores; probe may be NULL. */
static const struct {
    const char *type;
    const char *needs[5]; /* settings that must be texts */
    tt_rc (*store)(tt_storage *s, const tt_storage_call *call, const char *type, tt_err *err);
    tt_rc (*probe)(const tt_storage_call *call, const char *type, tt_err *err);
} types[] = {
    {"mysql", {"hostname", "db", "username", "password", "table"}, tt_storage_to_table, tt_storage_probe_table},
    {"mariadb", {"hostname", "db", "username", "password", "table"}, tt_storage_to_table, tt_storage_probe_table},
    {"postgresql", {"hostname", "db", "username", "password", "table"}, tt_storage_to_table, tt_storage_probe_table},
    {"sqlite", {"path", "table"}, tt_storage_to_table, tt_storage_probe_table},
    {"csv", {"path"}, tt_storage_to_file},
    {"jsonl", {"path"}, tt_storage_to_file},
};

static tt_rc find_type(const json_t *storage, size_t *ret, tt_err *err)
{
    const char *type = json_string_value(json_object_get(storage, "type"));
    for (size_t i = 0; type && i < TT_COUNT(types); i++)
        if (strcmp(type, types[i].type) == 0)
            return *ret = i, TT_OK;
    if (!type)
        return tt_fail(err, TT_INVALID, "storage needs a `type` and `settings`: {\"type\":\"sqlite\",\"settings\":{\"path\":\"a.db\",\"table\":\"t\"}}");
    return tt_fail(err, TT_INVALID, "there is no storage of type `%.60s`: mysql, mariadb, postgresql, sqlite, csv and jsonl are", type);
}

tt_rc tt_storage_check(const json_t *storage, tt_err *err)
{
    size_t row = 0;
    const json_t *settings = json_object_get(storage, "settings");
    TT_TRY(find_type(storage, &row, err));
    if (!json_is_object(settings))
        return tt_fail(err, TT_INVALID, "storage needs `settings`, an object");
    for (size_t i = 0; i < TT_COUNT(types[row].needs) && types[row].needs[i]; i++)
        if (!json_is_string(json_object_get(settings, types[row].needs[i])))
            return tt_fail(err, TT_INVALID, "storage of type %s needs the setting `%s`, a text", types[row].type, types[row].needs[i]);
    return TT_OK;
}

tt_rc tt_storage_probe(const json_t *storage, const tt_roots *roots, tt_err *err)
{
    size_t row = 0;
    tt_err why = {0};
    tt_storage_call call = {.settings = json_object_get(storage, "settings"), .roots = roots};
    TT_TRY(tt_storage_check(storage, err));
    TT_TRY(find_type(storage, &row, err));
    tt_rc rc = types[row].probe ? types[row].probe(&call, types[row].type, &why) : TT_OK;
    return rc == TT_INVALID ? tt_fail(err, rc, "%s", why.text) : TT_OK;
}

const char *tt_storage_setting(const tt_storage_call *call, const char *name)
{
    const char *value = json_string_value(json_object_get(call->settings, name));
    return value ? value : "";
}

/* ---- the spool ---- */

tt_storage *tt_storage_new(const char *spool_dir)
{
    tt_storage *s = TT_NEW(tt_storage);
    s->spool_dir = tt_dup_cstr(spool_dir);
    return s;
}

void tt_storage_free(tt_storage *s)
{
    if (!s)
        return;
    if (s->spool)
        fclose(s->spool);
    free(s->line);
    free(s->spool_dir);
    free(s);
}

bool tt_storage_is_empty(const tt_storage *s) { return s->rows == 0; }

/* errno says why. */
static tt_rc spool_failed(const tt_storage *s, tt_err *err)
{
    tt_err why;
    tt_rc rc = tt_fail_errno(&why, errno, "cannot spool records in `%s`", s->spool_dir);
    return tt_fail(err, rc, "%s%s", why.text, rc == TT_NOSPACE ? ": free some space on its disk, and run it again" : "");
}

static tt_rc open_spool(tt_storage *s, tt_err *err)
{
    int fd = open(s->spool_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    s->spool = fd < 0 ? NULL : fdopen(fd, "w+");
    if (!s->spool && fd >= 0)
        tt_fd_close(&fd);
    return s->spool ? TT_OK : spool_failed(s, err);
}

tt_rc tt_storage_put(tt_storage *s, const json_t *rows, tt_err *err)
{
    size_t i;
    json_t *row;
    if (!s->spool)
        TT_TRY(open_spool(s, err));
    json_array_foreach(rows, i, row) {
        char *text = json_dumps(row, JSON_COMPACT);
        size_t len = text ? strlen(text) : 0;
        bool written = text && fwrite(text, 1, len, s->spool) == len && fputc('\n', s->spool) != EOF;
        free(text);
        if (!written)
            return spool_failed(s, err);
        s->bytes += len + 1;
        s->rows++;
    }
    if (s->bytes > MAX_SPOOL_BYTES)
        return tt_fail(err, TT_TOO_LARGE, "the program gave more than %d bytes of records", MAX_SPOOL_BYTES);
    return TT_OK;
}

tt_rc tt_storage_next_text(tt_storage *s, tt_str *ret, tt_err *err)
{
    *ret = (tt_str){0};
    ssize_t n = getline(&s->line, &s->line_cap, s->spool);
    if (n < 0)
        return ferror(s->spool) ? tt_fail_errno(err, errno, "cannot read the spooled records") : TT_OK;
    *ret = (tt_str){s->line, (size_t)n - 1};
    return TT_OK;
}

tt_rc tt_storage_next(tt_storage *s, json_t **ret, tt_err *err)
{
    tt_str line;
    *ret = NULL;
    TT_TRY(tt_storage_next_text(s, &line, err));
    if (line.len == 0)
        return TT_OK;
    *ret = json_loadb(line.ptr, line.len, 0, NULL);
    return *ret ? TT_OK : tt_fail(err, TT_CORRUPT, "a spooled record cannot be read");
}

/* ---- storing ---- */

void tt_storage_outcome_deinit(tt_storage_outcome *o)
{
    tt_buf_deinit(&o->processed);
    tt_buf_deinit(&o->notes);
}

tt_rc tt_storage_commit(tt_storage *s, const json_t *storage, const tt_roots *roots, void (*note)(void *arg, const char *message), void *arg,
                        tt_storage_outcome *ret, tt_err *err)
{
    size_t row = 0;
    tt_storage_call call = {.settings = json_object_get(storage, "settings"), .roots = roots, .note = note, .arg = arg, .outcome = ret};
    TT_TRY(tt_storage_check(storage, err));
    TT_TRY(find_type(storage, &row, err));
    snprintf(call.id, sizeof call.id, "%dx%llx", (int)getpid(), (unsigned long long)tt_mono_us());
    ret->received = s->rows;
    if (fflush(s->spool) != 0)
        return spool_failed(s, err);
    rewind(s->spool);
    return types[row].store(s, &call, types[row].type, err);
}
