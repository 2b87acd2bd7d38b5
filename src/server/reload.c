#include "server/reload.h"

#include "base/log.h"

tt_rc tt_reload_log(void *arg, const tt_options *o, tt_err *err)
{
    static const char *const levels[] = {[TT_LOG_ERROR] = "error", [TT_LOG_WARN] = "warn", [TT_LOG_INFO] = "info", [TT_LOG_DEBUG] = "debug"};
    tt_log_level level = TT_LOG_INFO;
    for (size_t i = 0; i < TT_COUNT(levels); i++)
        if (tt_str_is(tt_option_str(o, "log.level"), levels[i]))
            level = (tt_log_level)i;
    tt_log_setup(level, tt_str_is(tt_option_str(o, "log.format"), "json") ? TT_LOG_JSON : TT_LOG_LOGFMT);
    return TT_OK;
}

/* The keys of changed settings, comma-separated: those that can be applied, or those that cannot. */
static void list_changes(const tt_options *a, const tt_options *b, bool reloadable, tt_buf *out)
{
    size_t count;
    const tt_option *rows = tt_option_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (rows[i].reload == reloadable && !tt_option_is_same(a, b, &rows[i]))
            tt_buf_printf(out, "%s%s", out->len ? "," : "", rows[i].key);
}

static bool is_concerned(const tt_reload_row *row, tt_str changed)
{
    tt_str keys = tt_str_of(row->keys), key, one;
    while (tt_str_cut(&keys, ',', &key))
        for (tt_str rest = changed; tt_str_cut(&rest, ',', &one);)
            if (tt_str_eq(key, one))
                return true;
    return false;
}

/* Swaps, applies; takes back what went well before the failure. */
static tt_rc change(tt_options *o, tt_options *next, const tt_reload_row *rows, void *arg, tt_str changed, tt_err *err)
{
    tt_rc rc = TT_OK;
    const tt_reload_row *row = rows;
    tt_options_swap(o, next);
    for (; row->keys && rc == TT_OK; row++)
        if (is_concerned(row, changed))
            rc = row->apply(arg, o, err);
    if (rc == TT_OK)
        return TT_OK;
    tt_options_swap(o, next);
    for (const tt_reload_row *failed = row - 1, *back = rows; back < failed; back++)
        if (is_concerned(back, changed) && back->apply(arg, o, NULL) != TT_OK)
            tt_log_error("a setting could not be taken back: restart tutti", TT_F_CSTR("settings", back->keys));
    return rc;
}

static void log_warnings(const tt_options *o)
{
    tt_str rest = tt_str_of(tt_options_warnings(o)), line;
    while (tt_str_cut(&rest, '\n', &line))
        if (line.len)
            tt_log_warn("settings", TT_F_STR("why", line));
}

bool tt_reload(tt_options *o, const tt_reload_row *rows, void *arg)
{
    TT_BUF_AUTO tt_buf changed = {0}, fixed = {0};
    tt_options *next = NULL;
    tt_err err = {0};
    tt_rc rc = tt_options_load_again(o, &next, &err);
    if (rc == TT_OK) {
        list_changes(o, next, true, &changed);
        list_changes(o, next, false, &fixed);
        log_warnings(next);
        tt_options_keep_fixed(next, o);
        rc = change(o, next, rows, arg, tt_buf_view(&changed), &err);
    }
    tt_options_free(next);
    if (rc != TT_OK) {
        tt_log_error("settings not reloaded: the old ones stay in force", TT_F_CSTR("why", err.text));
        return false;
    }
    tt_log_info("settings reloaded", TT_F_CSTR("changed", changed.len ? tt_buf_cstr(&changed) : "nothing"));
    if (fixed.len)
        tt_log_warn("changed settings need a restart", TT_F_CSTR("settings", tt_buf_cstr(&fixed)));
    return true;
}
