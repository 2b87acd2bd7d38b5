/* `tutti config`: the option table as this machine sets it. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"

/* `scheme://user:password@host`: what stands between the colon and the last @ is not shown. */
static tt_str without_password(tt_str value, tt_buf *out)
{
    const char *scheme = value.len ? memmem(value.ptr, value.len, "://", 3) : NULL, *at = scheme ? memrchr(scheme, '@', (size_t)(value.ptr + value.len - scheme)) : NULL;
    const char *colon = at ? memchr(scheme + 3, ':', (size_t)(at - scheme - 3)) : NULL;
    if (!colon)
        return value;
    tt_buf_printf(out, "%.*s:***%.*s", (int)(colon - value.ptr), value.ptr, (int)(value.ptr + value.len - at), at);
    return tt_buf_view(out);
}

static tt_str shown_value(const tt_options *options, const tt_option *row, tt_buf *joined)
{
    const tt_str *list;
    if (row->type != TT_OPT_LIST) {
        tt_str value = tt_option_str(options, row->key);
        return row->secret && value.len ? TT_STR("***") : without_password(value, joined);
    }
    size_t count = tt_option_list(options, row->key, &list);
    for (size_t i = 0; i < count; i++) {
        if (i)
            tt_buf_char(joined, ',');
        tt_buf_str(joined, list[i]);
    }
    return count ? tt_buf_view(joined) : (tt_str){0};
}

static void put_json_row(const tt_options *options, const tt_option *row, bool first, tt_buf *out)
{
    TT_BUF_AUTO tt_buf joined = {0};
    tt_str value = shown_value(options, row, &joined);
    tt_buf_cstr_put(out, first ? "{\"key\":" : ",{\"key\":");
    tt_buf_json_str(out, tt_str_of(row->key));
    tt_buf_cstr_put(out, ",\"value\":");
    value.ptr ? tt_buf_json_str(out, value) : tt_buf_cstr_put(out, "null");
    tt_buf_cstr_put(out, ",\"origin\":");
    tt_buf_json_str(out, tt_str_of(tt_option_origin(options, row->key)));
    tt_buf_printf(out, ",\"reload\":%s}", row->reload ? "true" : "false");
}

static tt_rc show_json(tt_cli *cli, const tt_options *options, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    size_t count;
    const tt_option *rows = tt_option_rows(&count);
    tt_buf_cstr_put(&out, "{\"schema\":1,\"options\":[");
    for (size_t i = 0; i < count; i++)
        put_json_row(options, &rows[i], i == 0, &out);
    tt_buf_cstr_put(&out, "]}\n");
    TT_TRY(tt_buf_check(&out, err));
    return tt_out(cli, tt_buf_view(&out), err);
}

static tt_rc config_show(tt_cli *cli, tt_err *err)
{
    static const char *const all[] = {"KEY", "VALUE", "ORIGIN", "CHANGE", NULL}, *const most[] = {"KEY", "VALUE", "CHANGE", NULL};
    bool origin = tt_cli_has(cli, "--origin");
    size_t count;
    tt_options *options;
    TT_TRY(tt_cli_options(cli, &options, err));
    const tt_option *rows = tt_option_rows(&count);
    if (tt_cli_json(cli))
        return show_json(cli, options, err);
    tt_table *t = tt_table_new(origin ? all : most);
    for (size_t i = 0; i < count; i++) {
        TT_BUF_AUTO tt_buf joined = {0};
        tt_table_cell(t, tt_str_of(rows[i].key));
        tt_table_cell(t, shown_value(options, &rows[i], &joined));
        if (origin)
            tt_table_cell(t, tt_str_of(tt_option_origin(options, rows[i].key)));
        tt_table_cell(t, rows[i].reload ? TT_STR("reload") : TT_STR("restart"));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_config_show, config_show)

static tt_rc config_docs(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_options_write_markdown(&out);
    TT_TRY(tt_buf_check(&out, err));
    return tt_out(cli, tt_buf_view(&out), err);
}
TT_CLI_COMMAND(tt_cmd_config_docs, config_docs)
