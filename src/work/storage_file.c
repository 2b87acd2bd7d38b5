/* Storage in a file that appears whole: CSV, JSON lines, packed when its name ends so. What was there before gives way. */
#include "data/sink.h"
#include "work/storage_inner.h"

typedef struct {
    uint64_t count;
    char first[300];
} rejects;

static void reject(void *arg, uint64_t id, tt_str value, const char *why)
{
    rejects *r = arg;
    if (r->count++ == 0)
        snprintf(r->first, sizeof r->first, "record %llu: %.250s", (unsigned long long)id, why);
}

static tt_rc put_all(tt_storage *s, tt_sink *sink, rejects *r, uint64_t *ret_count, tt_err *err)
{
    for (uint64_t id = 0;; id++) {
        tt_str line;
        tt_err why;
        TT_TRY(tt_storage_next_text(s, &line, err));
        if (line.len == 0)
            return tt_sink_flush(sink, err);
        tt_rc rc = tt_sink_put(sink, id, line, &why);
        if (rc != TT_OK && rc != TT_INVALID)
            return tt_fail(err, rc, "%s", why.text);
        if (rc == TT_INVALID)
            reject(r, id, line, why.text);
        *ret_count += rc == TT_OK;
    }
}

tt_rc tt_storage_to_file(tt_storage *s, const tt_storage_call *call, const char *type, tt_err *err)
{
    rejects r = {0};
    tt_sink *sink = NULL;
    uint64_t count = 0;
    tt_sink_spec spec = {.target = tt_str_of(tt_storage_setting(call, "path")), .kind = strcmp(type, "csv") == 0 ? TT_STR("CsvWriter") : TT_STR("JsonlWriter"),
                         .id = tt_str_of(call->id), .roots = call->roots, .replaces = true, .reject = reject, .arg = &r};
    if (tt_sink_is_named(spec.target))
        return tt_fail(err, TT_INVALID, "storage of type %s: `%.*s` is no path", type, TT_STR_ARG(tt_str_slice(spec.target, 0, 100)));
    call->note(call->arg, "writing the file");
    tt_rc rc = tt_sink_open(&spec, &sink, err);
    if (rc == TT_OK)
        rc = put_all(s, sink, &r, &count, err);
    if (rc == TT_OK)
        rc = tt_sink_commit(sink, count, NULL, err);
    tt_sink_close(sink);
    call->outcome->stored = count;
    if (r.count)
        tt_buf_printf(&call->outcome->notes, "%llu record%s left out; the first is %s\n", (unsigned long long)r.count, r.count == 1 ? " does not fit and is" : "s do not fit and are", r.first);
    return rc;
}
