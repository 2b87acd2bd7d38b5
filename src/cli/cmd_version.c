/* `tutti version`: what this program is made of. */
#include <sys/utsname.h>

#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"

/* gcc gives its number alone, clang its name too. */
#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

static tt_rc version(tt_cli *cli, tt_err *err)
{
    struct utsname host = {0};
    TT_BUF_AUTO tt_buf out = {0};
    uname(&host);
    if (!tt_cli_json(cli))
        return tt_outf(cli, err, "tutti %s (%s, %s %s)\n", TT_VERSION, COMPILER, host.sysname, host.machine);
    tt_buf_cstr_put(&out, "{\"schema\":1,\"version\":\"" TT_VERSION "\",\"compiler\":");
    tt_buf_json_str(&out, TT_STR(COMPILER));
    tt_buf_cstr_put(&out, ",\"system\":");
    tt_buf_json_str(&out, tt_str_of(host.sysname));
    tt_buf_cstr_put(&out, ",\"machine\":");
    tt_buf_json_str(&out, tt_str_of(host.machine));
    tt_buf_cstr_put(&out, "}\n");
    return tt_out(cli, tt_buf_view(&out), err);
}
TT_CLI_COMMAND(tt_cmd_version, version)
