#include "data/sink.h"

#include "base/mem.h"
#include "data/sink_impl.h"

/* To add a sink: write sink_x.c with a row like theirs, declare the row in sink_impl.h, and add it here. The first that matches is taken. */
static const tt_sink_row *const rows[] = {&tt_sink_sql, &tt_sink_command, &tt_sink_parquet, &tt_sink_ordered, &tt_sink_packed, &tt_sink_plain};

static const char *const promise_names[] = {
    [TT_SINK_APPEND] = "exactly once",
    [TT_SINK_SWAP] = "exactly once, at the end",
    [TT_SINK_TRANSACTION] = "exactly once",
    [TT_SINK_AT_LEAST_ONCE] = "at least once",
};

const char *tt_sink_promise_name(tt_sink_promise promise) { return promise_names[promise]; }

const tt_sink_row *const *tt_sink_rows(size_t *ret_count)
{
    *ret_count = TT_COUNT(rows);
    return rows;
}

tt_rc tt_sink_find(const tt_sink_spec *spec, const tt_sink_row **ret, tt_err *err)
{
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (rows[i]->matches(spec)) {
            if (rows[i]->check)
                TT_TRY(rows[i]->check(spec, err));
            *ret = rows[i];
            return TT_OK;
        }
    return tt_fail(err, TT_INVALID, "`%.*s` cannot be written to: see docs/items.md for what can", TT_STR_ARG(tt_str_slice(spec->target, 0, 200)));
}

tt_rc tt_sink_open(const tt_sink_spec *spec, tt_sink **ret, tt_err *err)
{
    const tt_sink_row *row;
    TT_TRY(tt_sink_find(spec, &row, err));
    tt_sink *s = TT_NEW(tt_sink);
    s->row = row;
    s->spec = *spec;
    tt_rc rc = row->open(s, &s->spec, err);
    if (rc == TT_OK)
        *ret = s;
    else
        tt_sink_close(s);
    return rc;
}

void tt_sink_close(tt_sink *s)
{
    if (!s)
        return;
    s->row->close(s);
    free(s);
}

tt_rc tt_sink_put(tt_sink *s, uint64_t id, tt_str value, tt_err *err) { return s->row->put(s, id, value, err); }
tt_rc tt_sink_flush(tt_sink *s, tt_err *err) { return s->row->flush ? s->row->flush(s, err) : TT_OK; }

tt_rc tt_sink_prepare(tt_sink *s, tt_append_mark *ret, bool *ret_is_earlier, tt_err *err)
{
    *ret = (tt_append_mark){0};
    *ret_is_earlier = false;
    return s->row->prepare ? s->row->prepare(s, ret, ret_is_earlier, err) : TT_OK;
}

void tt_sink_discard(const tt_sink_row *row, const tt_sink_spec *spec)
{
    if (row->discard)
        row->discard(spec);
}

tt_rc tt_sink_commit(tt_sink *s, uint64_t position, tt_append_mark *ret, tt_err *err)
{
    TT_TRY(tt_sink_flush(s, err));
    return s->row->commit(s, position, ret, err);
}

tt_rc tt_sink_position(tt_sink *s, uint64_t *ret, tt_err *err) { return s->row->position ? s->row->position(s, ret, err) : TT_OK; }

void tt_sink_interrupt(tt_sink *s)
{
    if (s->row->interrupt)
        s->row->interrupt(s);
}

bool tt_sink_is_named(tt_str target)
{
    tt_sink_spec spec = {.target = target};
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (!rows[i]->is_file && rows[i]->matches(&spec))
            return true;
    return false;
}
