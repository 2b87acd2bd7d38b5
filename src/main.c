/* The command table; finds the command, hands it argv. */
#include <signal.h>

#include "base/log.h"
#include "base/sys.h"
#include "server/server_main.h"
#include "server/supervisor.h"

int main(int argc, char **argv)
{
    tt_err err = {0};
    tt_options *o;
    tt_option_flag flags[32];
    size_t n = 0;
    int code = 0;
    for (int i = 2; i < argc; i++) {
        char *eq = strchr(argv[i], '=');
        if (eq) {
            *eq = 0;
            flags[n++] = (tt_option_flag){argv[i], eq + 1};
        } else if (i + 1 < argc) {
            flags[n++] = (tt_option_flag){argv[i], argv[i + 1]};
            i++;
        }
    }
    if (tt_sys_init(&err) != TT_OK || tt_options_load(flags, n, NULL, &o, &err) != TT_OK) {
        fprintf(stderr, "tutti: %s\n", err.text);
        return 2;
    }
    if (strcmp(argv[1], "server") == 0)
        return tt_server_main(o);
    tt_supervisor_options so = {.options = o};
    if (tt_supervise(&so, &code, &err) != TT_OK) {
        fprintf(stderr, "tutti: %s\n", err.text);
        return tt_rc_exit(err.code);
    }
    return code;
}
