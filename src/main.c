/* The program: puts the command table together from those of the areas (cli/tables.h), finds the command, hands it argv. What joins
 * the command line to the server's room stands here, because neither of the two knows the other: the commands that are processes
 * of that room, and how a route is run inside this process. */
#include "base/log.h"
#include "base/sys.h"
#include "cli/tables.h"
#include "lake/contract.h"
#include "server/reload.h"
#include "server/crew.h"
#include "server/server_main.h"
#include "server/supervisor.h"
#include "server/worker_main.h"
#include "transform/program_lake.h"
#include "transform/transform.h"
#include "work/program_c.h"

/* ---- the processes of the server's room ---- */

/* Settings, and a log as they want it. An environment that is none is told here, and not by each task that publishes something. */
static tt_rc prepare(tt_cli *cli, tt_options **ret, tt_err *err)
{
    tt_str env;
    TT_TRY(tt_cli_options(cli, ret, err));
    TT_TRY(tt_contract_env(tt_option_str(*ret, "environment"), &env, err));
    return tt_reload_log(NULL, *ret, err);
}

static int up(tt_cli *cli)
{
    tt_err err = {0};
    tt_options *options;
    int code = 0;
    tt_rc rc = prepare(cli, &options, &err);
    if (rc == TT_OK)
        rc = tt_supervise(&(tt_supervisor_options){.options = options}, &code, &err);
    return rc == TT_OK ? code : tt_cli_fail(cli, &err);
}

static int server(tt_cli *cli)
{
    tt_err err = {0};
    tt_options *options;
    return prepare(cli, &options, &err) == TT_OK ? tt_server_main(options) : tt_cli_fail(cli, &err);
}

static int worker(tt_cli *cli)
{
    enum { MOST_WORKERS = 1024 };
    tt_err err = {0};
    tt_options *options;
    int64_t count = 0;
    tt_rc rc = tt_cli_options_patiently(cli, &options, &err);
    if (rc == TT_OK && !options)
        return 0;
    if (rc == TT_OK)
        rc = prepare(cli, &options, &err);
    if (rc == TT_OK && tt_cli_has(cli, "--concurrency")) {
        tt_str wanted = tt_cli_flag(cli, "--concurrency");
        if (tt_parse_i64(wanted, &count, NULL) != TT_OK || count < 1 || count > MOST_WORKERS)
            rc = tt_fail(&err, TT_USAGE, "--concurrency takes a whole number, 1 to %d, not `%.*s`", MOST_WORKERS, TT_STR_ARG(wanted));
    }
    if (rc != TT_OK)
        return tt_cli_fail(cli, &err);
    /* Views of arguments and of the environment: NUL-ended. */
    tt_worker_args args = {.name = tt_cli_flag(cli, "--name").ptr, .server = tt_cli_flag(cli, "--server").ptr, .queues = tt_cli_flag(cli, "--queue").ptr};
    return count ? tt_crew_main(options, &args, (unsigned)count) : tt_worker_main(options, &args);
}

/* The routes inside this process, for a command that finds no server: opened by the first call, closed at the end of main. */
static tt_house *house;

static tt_rc call_inside(tt_cli *cli, const char *method, const char *target, tt_str body, int *ret_status, tt_buf *ret_body, int *ret_file, tt_err *err)
{
    tt_options *options;
    TT_TRY(tt_cli_options(cli, &options, err));
    if (!house) {
        tt_log_set_level(TT_LOG_ERROR);
        TT_TRY(tt_house_open_alone(options, &house, err));
    }
    return tt_server_local_call(tt_house_server(house), method, target, body, ret_status, ret_body, ret_file, err);
}

/* ---- the commands that are processes ---- */

static const tt_flag worker_flags[] = {
    {"--name", NULL, "NAME", .help = "its name in lists; host and process when not given"},
    {"--queue", NULL, "A,B", .help = "the queues it serves, in this order; default: default"},
    {"--concurrency", NULL, "N", .help = "so many worker processes, NAME-1 to NAME-N, that are started again when they die"},
    {NULL},
};
static const char *const every_setting[] = {"*", NULL};

static const tt_command processes[] = {
    {NULL, "up", "Start the server and its workers on this machine.", .options = every_setting, .fn = up,
     .details = "Needs no configuration. Prints the addresses once it serves; stops at SIGTERM, at once at a second one.\n"
                "SIGHUP applies what changed in the configuration file, SIGQUIT writes the state into the log.",
     .example = "tutti up --data ./data --listen 127.0.0.1:5005"},
    {NULL, "server", "Start the server alone.", .options = every_setting, .fn = server},
    {NULL, "worker", "Start a worker for tasks, beside those that `tutti up` starts.", .flags = worker_flags, .options = tt_worker_flags, .fn = worker,
     .details = "Where the configuration file cannot be read, it says so and waits until it can. Stops at SIGTERM: what runs may end within the grace; at once at a second one.",
     .example = "tutti worker --queue default"},
    {0},
};

enum { MOST_COMMANDS = 256 };

/* All rows, in the order in which help lists them; an empty one ends them. */
static const tt_command *all_commands(void)
{
    static const tt_command *const tables[] = {processes, tt_table_system, tt_table_items, tt_table_work, tt_table_query, tt_table_pipeline};
    static tt_command all[MOST_COMMANDS + 1];
    size_t count = 0;
    for (size_t i = 0; i < TT_COUNT(tables); i++)
        for (const tt_command *row = tables[i]; row->noun || row->verb; row++)
            if (count < MOST_COMMANDS)
                all[count++] = *row;
    return all;
}

enum { MOST_ALIASED = 32 };

/* The older system's worker is called as `corebot run TRANSFORMATION RUN`: as is `tutti worker run ...` then, one word longer. */
static bool is_corebot(int argc, char **argv, const char *as[MOST_ALIASED + 1])
{
    const char *slash = argc ? strrchr(argv[0], '/') : NULL, *name = slash ? slash + 1 : argc ? argv[0] : "";
    if (strcmp(name, "corebot") != 0 || argc < 2 || argc >= MOST_ALIASED || strcmp(argv[1], "run") != 0)
        return false;
    as[0] = argv[0];
    as[1] = "worker";
    for (int i = 1; i < argc; i++)
        as[i + 1] = argv[i];
    return true;
}

int main(int argc, char **argv)
{
    tt_err err = {0};
    if (tt_sys_init(&err) != TT_OK) {
        fprintf(stderr, "tutti: %s\n", err.text);
        return tt_rc_exit(err.code);
    }
    tt_native_add(tt_transforms);
    tt_program_lake_add(&tt_transform_lake);
    if (argc > 1 && strcmp(argv[1], TT_PROGRAM_HOST_COMMAND) == 0)
        return tt_program_host_main(argc - 2, argv + 2);
    const char *as[MOST_ALIASED + 1] = {0};
    bool corebot = is_corebot(argc, argv, as);
    int code = tt_cli_main(all_commands(), call_inside, argc + corebot, corebot ? (char **)(uintptr_t)as : argv);
    tt_house_close(house);
    return code;
}
