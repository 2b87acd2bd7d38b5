/* `tutti dataset`: register, list, show, parts, check, prepare, unregister. */
#include <math.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/dataset_call.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "query/moment.h"

/* ---- register ---- */

/* A path of this machine is made absolute here: the server was started somewhere else. */
static tt_rc put_path(tt_cli *cli, json_t *body, tt_err *err)
{
    tt_str path = tt_cli_operand(cli, 1); /* NUL-ended */
    bool here, is_uri = strstr(path.ptr, "://") != NULL;
    TT_TRY(tt_transport_is_here(cli, &here, err));
    char *real = here && !is_uri ? realpath(path.ptr, NULL) : NULL;
    json_object_set_new(body, "basepath", json_string(real ? real : path.ptr));
    free(real);
    return json_object_get(body, "basepath") ? TT_OK : tt_fail(err, TT_USAGE, "the path is not UTF-8: rename the directory, or register it by a link with another name");
}

/* --column NAME=TYPE */
static tt_rc put_columns(tt_cli *cli, json_t *body, tt_err *err)
{
    tt_str one, name;
    json_t *columns = json_object();
    json_object_set_new(body, "columns", columns);
    for (size_t at = 0; tt_cli_flag_next(cli, "--column", &at, &one);) {
        tt_str type = one;
        if (!tt_str_cut(&type, '=', &name) || !name.len || !type.len)
            return tt_fail(err, TT_USAGE, "--column %.*s: give NAME=TYPE", TT_STR_ARG(one));
        if (json_object_setn_new(columns, name.ptr, name.len, json_stringn(type.ptr, type.len)) != 0)
            return tt_fail(err, TT_USAGE, "--column %.*s is not UTF-8", TT_STR_ARG(one));
    }
    return TT_OK;
}

static tt_rc put_text(tt_cli *cli, const char *flag, json_t *body, const char *member, tt_err *err)
{
    tt_str value = tt_cli_flag(cli, flag);
    if (!value.ptr)
        return TT_OK;
    json_t *text = json_stringn(value.ptr, value.len);
    return text && json_object_set_new(body, member, text) == 0 ? TT_OK : tt_fail(err, TT_USAGE, "%s %.*s is not UTF-8", flag, TT_STR_ARG(value));
}

static tt_rc make_body(tt_cli *cli, json_t *body, tt_err *err)
{
    static const char *const modes[][2] = {{"single", "SINGLE"}, {"first_last", "FIRST_LAST"}, {"sample", "SAMPLE"}};
    tt_str mode = tt_cli_flag(cli, "--validation"), name = tt_cli_operand(cli, 0);
    const char *time = tt_cli_has(cli, "--timestamp") ? "--timestamp" : "--time"; /* as queries of files call it */
    json_object_set_new(body, "name", json_stringn(name.ptr, name.len));
    if (!name.len || !json_object_get(body, "name"))
        return tt_fail(err, TT_USAGE, "%s: give the dataset a name by which queries ask for it", name.len ? "the name is not UTF-8" : "the name is empty");
    TT_TRY(put_path(cli, body, err));
    if (!tt_cli_flag(cli, "--group").len || !tt_cli_flag(cli, time).len)
        return tt_fail(err, TT_USAGE, "give the two columns that a dataset must have: --group COLUMN (users, cases) and --timestamp COLUMN");
    TT_TRY(put_text(cli, "--group", body, "groupIdColumn", err));
    TT_TRY(put_text(cli, time, body, "timestampColumn", err));
    TT_TRY(put_text(cli, "--pattern", body, "pattern", err));
    for (size_t i = 0; i < TT_COUNT(modes); i++)
        if (tt_str_eq_nocase(mode, tt_str_of(modes[i][0])))
            json_object_set_new(body, "validationMode", json_string(modes[i][1]));
    if (mode.ptr && !json_object_get(body, "validationMode"))
        return tt_fail(err, TT_USAGE, "--validation %.*s: give single, first_last or sample", TT_STR_ARG(mode));
    json_object_set_new(body, "validateUniques", json_boolean(!tt_cli_has(cli, "--skip-uniques")));
    json_object_set_new(body, "prepare", json_boolean(tt_cli_has(cli, "--prepare")));
    return put_columns(cli, body, err);
}

/* What is known of files that no query has asked yet. */
static void say_advice(tt_cli *cli, const json_t *advice)
{
    const json_t *one;
    size_t i;
    json_array_foreach(advice, i, one)
        tt_say(cli, "%s: %s", tt_json_member_str(one, "level").ptr, tt_json_member_str(one, "text").ptr);
}

static tt_rc dataset_register(tt_cli *cli, tt_err *err)
{
    TT_JSON_AUTO json_t *body = json_object(), *answer = NULL;
    char parts[32];
    TT_TRY(make_body(cli, body, err));
    char *text = json_dumps(body, JSON_COMPACT);
    if (!text)
        return tt_fail(err, TT_NOMEM, "out of memory for a request");
    tt_rc rc = tt_dataset_job(cli, "/datasets/register", tt_str_of(text), &answer, err);
    free(text);
    TT_TRY(rc);
    if (tt_cli_json(cli))
        return tt_dataset_print(cli, answer, err);
    say_advice(cli, json_object_get(answer, "advice"));
    int64_t count = tt_json_member_int(json_object_get(answer, "dataset"), "totalParts");
    return tt_outf(cli, err, "%.*s is registered: %s %s\n", TT_STR_ARG(tt_cli_operand(cli, 0)), tt_grouped(count, parts), count == 1 ? "part" : "parts");
}
TT_CLI_COMMAND(tt_cmd_dataset_register, dataset_register)

/* ---- list ---- */

static void add_row(tt_table *t, const json_t *d)
{
    const json_t *id = json_object_get(d, "id");
    tt_table_cell(t, tt_json_member_str(id, "name"));
    tt_table_cell(t, tt_str_slice(tt_json_member_str(id, "registeredAt"), 0, 19));
    tt_table_int(t, tt_json_member_int(d, "totalParts"));
    tt_table_cell(t, tt_json_member_str(d, "groupIdColumn"));
    tt_table_cell(t, tt_json_member_str(d, "timestampColumn"));
    tt_table_cell(t, tt_json_member_str(d, "basepath"));
}

static tt_rc dataset_list(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {"NAME", "REGISTERED (UTC)", ">PARTS", "GROUP", "TIMESTAMP", "PATH", NULL};
    TT_JSON_AUTO json_t *list = NULL;
    const json_t *one;
    size_t i;
    TT_TRY(tt_dataset_call(cli, "GET", "/datasets", (tt_str){0}, &list, err));
    if (tt_cli_json(cli)) {
        TT_JSON_AUTO json_t *all = json_pack("{s:O}", "datasets", list);
        return tt_dataset_print(cli, all, err);
    }
    if (json_array_size(list) == 0)
        tt_say(cli, "No datasets registered yet: tutti dataset register NAME DIRECTORY --group COLUMN --timestamp COLUMN");
    tt_table *t = tt_table_new(headings);
    json_array_foreach(list, i, one)
        add_row(t, one);
    tt_rc rc = json_array_size(list) ? tt_table_print(cli, t, err) : TT_OK;
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_dataset_list, dataset_list)

/* ---- show, parts ---- */

/* A time in its units as a date, a number as it is. */
static void put_bound(tt_buf *out, const json_t *column, const char *name)
{
    const json_t *attributes = json_object_get(column, "colattrs"), *v = json_object_get(attributes, name);
    static const int64_t micro_ns = 1000;
    int64_t unit_ns = tt_json_member_int(attributes, "unitNs");
    double d = json_number_value(v);
    if (!json_is_number(v))
        return;
    if (unit_ns > 0 && unit_ns < micro_ns)
        tt_moment_put(llround(d / (double)(micro_ns / unit_ns)), micro_ns, out); /* a double has no room for more */
    else if (unit_ns > 0 && fabs(d) < 9e18)
        tt_moment_put((int64_t)d, unit_ns, out);
    else
        tt_buf_printf(out, "%.15g", d);
}

/* The largest first: answers have them by name. */
static void put_values(tt_buf *out, const json_t *attributes, size_t most_bytes)
{
    json_t *values = json_copy(json_object_get(attributes, "catTopValues")), *share;
    const char *value, *largest = "";
    while (json_object_size(values)) {
        TT_BUF_AUTO tt_buf one = {0};
        double most = -1;
        json_object_foreach(values, value, share)
            if (json_number_value(share) > most) {
                most = json_number_value(share);
                largest = value;
            }
        tt_buf_printf(&one, "%s%s %.1f %%", out->len ? ", " : "", largest, most * 100);
        if (out->len + one.len > most_bytes)
            break;
        tt_buf_str(out, tt_buf_view(&one));
        json_object_del(values, largest);
    }
    json_decref(values);
}

static void add_column(tt_table *t, const char *name, const json_t *column, bool is_plain, size_t most_bytes)
{
    TT_BUF_AUTO tt_buf min = {0}, max = {0}, values = {0};
    const json_t *a = json_object_get(column, "colattrs");
    put_bound(&min, column, "numericMin");
    put_bound(&max, column, "numericMax");
    put_values(&values, a, most_bytes);
    tt_table_cell(t, tt_str_of(name));
    tt_table_cell(t, tt_json_member_str(column, "coltype"));
    tt_table_cell(t, json_is_true(json_object_get(a, "categorical")) ? TT_STR("category") : (tt_str){0});
    if (is_plain) {
        tt_table_cell(t, tt_buf_view(&min));
        tt_table_cell(t, tt_buf_view(&max));
    } else if (min.len) {
        tt_buf_printf(&values, "%s to %s", tt_buf_cstr(&min), tt_buf_cstr(&max));
    }
    tt_table_cell(t, tt_buf_view(&values));
}

/* How much of the values fits behind names and types. */
static size_t room_for_values(const tt_cli *cli, const json_t *columns)
{
    enum { USUAL = 100, LEAST = 20, TYPES = 2 + 8 + 2 + 8 + 2 };
    size_t longest = 0, width = cli->stdout_tty ? tt_term_columns(1) : 0;
    const char *name;
    json_t *column;
    json_object_foreach((json_t *)(uintptr_t)columns, name, column)
        longest = strlen(name) > longest ? strlen(name) : longest;
    return !width ? USUAL : width > longest + TYPES + LEAST ? width - longest - TYPES : LEAST;
}

static tt_rc dataset_show(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {"COLUMN", "TYPE", "", "VALUES", NULL}, *const plain[] = {"COLUMN", "TYPE", "", ">FROM", ">TO", "COMMONEST", NULL};
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *schema = NULL;
    const char *name;
    json_t *column;
    tt_dataset_target(&target, tt_cli_operand(cli, 0));
    tt_buf_cstr_put(&target, "/schema?full=true");
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_dataset_call(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &schema, err));
    if (tt_cli_json(cli))
        return tt_dataset_print(cli, schema, err);
    TT_TRY(tt_outf(cli, err, "group %s, timestamp %s\n", tt_json_member_str(schema, "groupIdColumn").ptr, tt_json_member_str(schema, "timestampColumn").ptr));
    tt_table *t = tt_table_new(cli->plain ? plain : headings);
    size_t room = room_for_values(cli, json_object_get(schema, "columns"));
    json_object_foreach(json_object_get(schema, "columns"), name, column)
        add_column(t, name, column, cli->plain, room);
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    json_object_foreach(json_object_get(schema, "unsupportedColumns"), name, column)
        if (rc == TT_OK)
            rc = tt_outf(cli, err, "%s (%s) cannot be queried\n", name, json_string_value(column));
    return rc;
}
TT_CLI_COMMAND(tt_cmd_dataset_show, dataset_show)

static tt_rc dataset_parts(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *parts = NULL;
    const json_t *name;
    size_t i;
    tt_dataset_target(&target, tt_cli_operand(cli, 0));
    tt_buf_cstr_put(&target, "/parts");
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_dataset_call(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &parts, err));
    if (tt_cli_json(cli))
        return tt_dataset_print(cli, parts, err);
    json_array_foreach(json_object_get(parts, "filenames"), i, name)
        TT_TRY(tt_outf(cli, err, "%s\n", json_string_value(name)));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_dataset_parts, dataset_parts)

/* ---- prepare ---- */

static tt_rc dataset_prepare(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *answer = NULL;
    char rows[32];
    tt_buf_cstr_put(&target, "/v1");
    tt_dataset_target(&target, tt_cli_operand(cli, 0));
    tt_buf_cstr_put(&target, "/prepare");
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_dataset_job(cli, tt_buf_cstr(&target), TT_STR(""), &answer, err));
    if (tt_cli_json(cli))
        return tt_dataset_print(cli, answer, err);
    const json_t *p = json_object_get(answer, "prepared");
    return tt_outf(cli, err, "%lld of %lld parts prepared, with %s rows; %.1f MiB in all\n", (long long)tt_json_member_int(p, "made"), (long long)tt_json_member_int(p, "parts"),
                   tt_grouped(tt_json_member_int(p, "rows"), rows), (double)tt_json_member_int(p, "bytes") / (1 << 20));
}
TT_CLI_COMMAND(tt_cmd_dataset_prepare, dataset_prepare)

/* ---- check ---- */

static tt_rc print_advice(tt_cli *cli, const json_t *advice, tt_err *err)
{
    size_t i;
    const json_t *one;
    json_array_foreach(advice, i, one)
        TT_TRY(tt_outf(cli, err, "%s: %s\n", tt_json_member_str(one, "level").ptr, tt_json_member_str(one, "text").ptr));
    return i ? TT_OK : tt_outf(cli, err, "nothing to mend\n");
}

/* Said the same way whatever was printed. */
static tt_rc fail_faults(const json_t *advice, tt_err *err)
{
    size_t i, faults = 0;
    const json_t *one;
    json_array_foreach(advice, i, one)
        faults += tt_str_is(tt_json_member_str(one, "level"), "fault");
    return faults ? tt_fail(err, TT_CHECK_FAILED, "%zu %s", faults, faults == 1 ? "fault" : "faults") : TT_OK;
}

static tt_rc dataset_check(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *answer = NULL;
    tt_buf_cstr_put(&target, "/v1");
    tt_dataset_target(&target, tt_cli_operand(cli, 0));
    tt_buf_cstr_put(&target, "/check");
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_dataset_job(cli, tt_buf_cstr(&target), TT_STR(""), &answer, err));
    const json_t *advice = json_object_get(answer, "advice");
    TT_TRY(tt_cli_json(cli) ? tt_dataset_print(cli, answer, err) : print_advice(cli, advice, err));
    return fail_faults(advice, err);
}
TT_CLI_COMMAND(tt_cmd_dataset_check, dataset_check)

/* ---- unregister ---- */

static tt_rc dataset_unregister(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *answer = NULL;
    tt_dataset_target(&target, tt_cli_operand(cli, 0));
    tt_buf_printf(&target, "/unregister%s", tt_cli_has(cli, "--force") ? "?force=true" : "");
    TT_TRY(tt_buf_check(&target, err));
    tt_rc rc = tt_dataset_call(cli, "POST", tt_buf_cstr(&target), TT_STR(""), &answer, err);
    if (rc == TT_CONFLICT)
        snprintf(cli->problem.hint, sizeof cli->problem.hint, "add --force");
    TT_TRY(rc);
    if (tt_cli_json(cli))
        return tt_dataset_print(cli, answer, err);
    bool found = json_is_true(json_object_get(answer, "datasetFound"));
    return tt_outf(cli, err, "%.*s %s\n", TT_STR_ARG(tt_cli_operand(cli, 0)), found ? "is unregistered; its files stay" : "was not registered");
}
TT_CLI_COMMAND(tt_cmd_dataset_unregister, dataset_unregister)
