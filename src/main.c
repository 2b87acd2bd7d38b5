/* The command table: finds the command, hands it argv. To add a command: write `int fn(tt_cli *)` in the file of its noun
 * (src/cli), and add a row here. Help, completion and manual pages come from the row. What joins the command line to the
 * server's room stands here as well, because neither of the two knows the other. */
#include "base/log.h"
#include "base/sys.h"
#include "cli/cmds.h"
#include "server/reload.h"
#include "server/crew.h"
#include "server/server_main.h"
#include "server/supervisor.h"
#include "server/worker_main.h"
#include "transform/program_lake.h"
#include "transform/transform.h"
#include "work/program_c.h"

/* ---- the processes of the server's room ---- */

/* Settings, and a log as they want it. */
static tt_rc prepare(tt_cli *cli, tt_options **ret, tt_err *err)
{
    TT_TRY(tt_cli_options(cli, ret, err));
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
        rc = tt_parse_i64(tt_cli_flag(cli, "--concurrency"), &count, &err);
        if (rc == TT_OK && (count < 1 || count > MOST_WORKERS))
            rc = tt_fail(&err, TT_USAGE, "--concurrency takes 1 to %d", MOST_WORKERS);
    }
    if (rc != TT_OK)
        return tt_cli_fail(cli, &err);
    /* Views of arguments and of the environment: NUL-ended. */
    tt_worker_args args = {.name = tt_cli_flag(cli, "--name").ptr, .server = tt_cli_flag(cli, "--server").ptr, .queues = tt_cli_flag(cli, "--queue").ptr};
    return count ? tt_crew_main(options, &args, (unsigned)count) : tt_worker_main(options, &args);
}

/* The routes inside this process, for a command that finds no server: opened by the first call, closed at the end of main. */
static tt_house *house;

static tt_rc call_inside(tt_cli *cli, const char *method, const char *target, tt_str body, int *ret_status, tt_buf *ret_body, tt_err *err)
{
    tt_options *options;
    TT_TRY(tt_cli_options(cli, &options, err));
    if (!house) {
        tt_log_set_level(TT_LOG_ERROR);
        TT_TRY(tt_house_open_alone(options, &house, err));
    }
    return tt_server_local_call(tt_house_server(house), method, target, body, ret_status, ret_body, err);
}

/* ---- the table ---- */

#define JOB {"NAME", "the job", "job"}

static const tt_operand one_job[] = {JOB, {NULL}};
static const tt_operand maybe_job[] = {{"[NAME]", "the job", "job"}, {NULL}};
static const tt_operand new_job[] = {{"NAME", "its name: letters, digits, - and _"}, {NULL}};
static const tt_operand shell[] = {{"[SHELL]", "bash, zsh or fish", "bash|zsh|fish"}, {NULL}};
static const tt_operand one_schedule[] = {{"NAME", "the schedule"}, {NULL}};
static const tt_operand phrase[] = {{"PHRASE...", "words like `4 days back` or `every monday at 9`"}, {NULL}};
static const tt_operand one_secret[] = {{"NAME", "the secret, like dev/db/warehouse/read"}, {NULL}};
static const tt_operand page[] = {{"[PAGE]", "tutti, tutti-NOUN or tutti.ini"}, {NULL}};

static const tt_flag start_flags[] = {
    {"--input", NULL, "FILE", NULL, true, "what to read: a path or a quoted glob; several are read one after the other"},
    {"--output", NULL, "FILE", .help = "where the results go"},
    {"--reader", NULL, "NAME", .help = "how to read the input; by its name's ending when not given"},
    {"--writer", NULL, "NAME", .help = "how to write the output; by its name's ending when not given"},
    {"--mode", NULL, "MODE", .help = "read-write, read (hand out only) or write (take in only)"},
    {"--clean-start", .help = "forget what a job of this name did, and start again"},
    {"--cont", .help = "go on with a job of this name"},
    {"--overwrite", .help = "write over an output that is there"},
    {"--order", NULL, "ORDER", .help = "arrival, or input: the output is in the input's order, and appears at the end"},
    {"--types", NULL, "HOW", .help = "cells of CSV: infer or text"},
    {"--strict-json", .help = "refuse NaN and Infinity"},
    {"--lease", NULL, "DUR", .help = "how long items stay with a worker before others may have them"},
    {"--max-attempts", NULL, "N", .help = "how often an item is handed out before it is parked as dead"},
    {"--rate", NULL, "N/s", .help = "hand out at most so many items: 100/s, 30/m, 10/h or 5/d"},
    {"--max-in-flight", NULL, "N", .help = "have at most so many items in the hands of workers"},
    {"--priority", NULL, "N", .help = "before jobs of a lower one, for workers that serve any job; default: 0"},
    {"--overlap", NULL, "N", .help = "take so many answers for each item, from different workers; default: 1"},
    {"--key", NULL, "COLUMN", .help = "hand out items with the same value in this column one after the other, in input order"},
    {"--job-token-file", NULL, "FILE", .help = "a file with a token that clients of this job must send"},
    {"--wait", .help = "wait for the end of the job"},
    {"--follow", .help = "wait, and show progress"},
    {NULL},
};
static const tt_flag list_flags[] = {
    {"--limit", "-n", "N", "0", .help = "show at most so many; 0: all"},
    {"--status", NULL, "STATUS", .help = "only those in this state: IN_PROGRESS, PAUSED, COMPLETE or BROKEN"},
    {NULL},
};
static const tt_flag errors_flags[] = {
    {"--limit", "-n", "N", "1000", .help = "show at most so many; 0: all"},
    {"--reason", NULL, "TEXT", .help = "only those whose reason has this text in it"},
    {"--state", NULL, "STATE", .help = "only those in this state: error or dead"},
    {NULL},
};
static const tt_flag retry_flags[] = {
    {"--ids", NULL, "ID,ID", NULL, true, "only these items"},
    {"--reason", NULL, "TEXT", .help = "only those whose reason has this text in it"},
    {"--state", NULL, "STATE", .help = "only those in this state: error or dead"},
    {NULL},
};
static const tt_flag redo_flags[] = {
    {"--id", NULL, "ID", NULL, true, "this item; several times, or ID,ID"},
    {"--all", .help = "every item that is received"},
    {NULL},
};
static const tt_flag adopt_flags[] = {
    {"--redis", NULL, "URL", .help = "where they are: redis://[:PASSWORD@]HOST[:PORT][/DB]; default: the server's own"},
    {"--dry-run", .help = "say what would be done, and change nothing"},
    {NULL},
};
static const tt_operand adopted_jobs[] = {{"[NAME...]", "these jobs; without names all that are there"}, {NULL}};
static const tt_flag clean_flags[] = {{"--output", .help = "delete the output file as well"}, {NULL}};
static const tt_flag pull_flags[] = {
    {"--any", .help = "of any job, the highest priority first; NAME is a quoted pattern then, and each line names its job"},
    {"--lines", "-n", "N", .help = "one batch of at most N items, instead of all until the job is complete"},
    {"--batch", NULL, "N", .help = "items asked for at once, without -n; default: as many as come back within about a second"},
    {"--wait", NULL, "DUR", "30s", .help = "how long the server may wait for items when all are handed out"},
    {"--worker", NULL, "NAME", .help = "the name under which the job shows these items; host and process when not given"},
    {"--lease", NULL, "DUR", "10m", .help = "how long the items stay ours"},
    {NULL},
};
static const tt_flag push_flags[] = {
    {"--worker", NULL, "NAME", .help = "who answers; who pulled the items, when not given"},
    {NULL},
};
static const tt_flag worker_flags[] = {
    {"--name", NULL, "NAME", .help = "its name in lists; host and process when not given"},
    {"--queue", NULL, "A,B", .help = "the queues it serves, in this order; default: default"},
    {"--concurrency", NULL, "N", .help = "so many worker processes, NAME-1 to NAME-N, that are started again when they die"},
    {NULL},
};
static const tt_operand one_program[] = {{"PROGRAM", "the program's name"}, {NULL}};
static const tt_operand some_program[] = {{"PROGRAM", "the program's name; with --here also a path"}, {NULL}};
static const tt_operand program_file[] = {{"FILE", "the program", "file"}, {NULL}};
static const tt_operand new_program[] = {{"NAME", "its name: letters, digits, - and _"}, {NULL}};
static const tt_flag new_program_flags[] = {
    {"--kind", NULL, "KIND", "python", .help = "c, python or executable"},
    {"--dir", NULL, "DIR", ".", .help = "the directory that it is written to"},
    {NULL},
};
static const tt_flag run_flags[] = {
    {"--set", "-s", "NAME=VALUE", NULL, true, "one setting; what is no text (a list, a number) is understood by its type"},
    {"--settings", NULL, "FILE", .help = "a file with settings, a JSON object; --set wins over it"},
    {"--here", .help = "run it in the foreground, without queue and server"},
    {"--wait", .help = "wait for its end; the exit code says how it ended"},
    {"--follow", .help = "wait, and show its log and its progress"},
    {"--owner", NULL, "NAME", .help = "whose it is; part of the id"},
    {"--queue", NULL, "NAME", .help = "the queue that it goes to; default: default"},
    {"--priority", NULL, "N", .help = "larger ones first"},
    {"--attempts", NULL, "N", .help = "how often it is tried before it has failed"},
    {"--storage", NULL, "JSON", .help = "where its records go: {\"type\":\"...\",\"settings\":{...}}"},
    {NULL},
};
static const tt_flag execution_list_flags[] = {
    {"--state", NULL, "STATE", .help = "only these: deferred, scheduled, queued, started, finished, failed or canceled"},
    {"--queue", NULL, "NAME", .help = "only those of this queue"},
    {"--kind", NULL, "NAME", .help = "only tasks of this kind"},
    {"--program", NULL, "NAME", .help = "only those of this program"},
    {"--limit", "-n", "N", "100", .help = "show at most so many; 0: all"},
    {"--before", NULL, "ID", .help = "only those older than this one"},
    {NULL},
};
static const tt_flag cancel_flags[] = {{"--reason", NULL, "TEXT", .help = "kept with it"}, {NULL}};
static const tt_flag execution_retry_flags[] = {
    {"--failed", .help = "all that failed"},
    {"--queue", NULL, "NAME", .help = "with --failed: only those of this queue"},
    {"--program", NULL, "NAME", .help = "with --failed: only those of this program"},
    {NULL},
};
static const tt_flag log_flags[] = {{"--follow", "-f", .help = "go on until it has ended"}, {NULL}};
static const tt_flag limit_flags[] = {
    {"--concurrency", NULL, "N", "0", .help = "so many of its tasks at once; 0: any number"},
    {"--rate", NULL, "N", .help = "so many of its tasks within --per"},
    {"--per", NULL, "DUR", "1s", .help = "the time of the rate"},
    {"--none", .help = "lift the limit"},
    {NULL},
};
static const tt_operand one_execution[] = {{"ID", "an execution's id, or a task's number"}, {NULL}};
static const tt_operand executions[] = {{"ID...", "executions' ids, or tasks' numbers"}, {NULL}};
static const tt_operand some_executions[] = {{"[ID]", "an execution's id, or a task's number"}, {NULL}};
static const tt_operand one_worker[] = {{"NAME", "a worker's name"}, {NULL}};
static const tt_operand one_key[] = {{"KEY", "the limit's key, which tasks name"}, {NULL}};
static const tt_flag show_flags[] = {{"--origin", .help = "say where each value comes from"}, {NULL}};
static const tt_flag completion_flags[] = {{"--jobs"}, {NULL}};
static const tt_flag pipeline_show_flags[] = {
    {"--file", "-f", "FILE", .help = "the file of the pipeline"},
    {"--text", .help = "as lines, which is what you get anyway"},
    {"--dot", .help = "for Graphviz"},
    {"--svg", .help = "as a picture"},
    {NULL},
};
static const tt_flag pipeline_run_flags[] = {
    {"--file", "-f", "FILE", .help = "the file of the pipeline"},
    {"--wait", "-w", .help = "follow the run until it has ended"},
    {NULL},
};
static const tt_flag pipeline_runs_flags[] = {{"--limit", "-n", "N", "20", .help = "at most so many, up to 1000"}, {NULL}};
static const tt_flag pipeline_logs_flags[] = {{"--follow", "-f", .help = "until the task has ended"}, {NULL}};
static const tt_flag reason_flags[] = {{"--reason", NULL, "TEXT", .help = "why; it is shown with it"}, {NULL}};
static const tt_flag pipeline_retry_flags[] = {
    {"--from", NULL, "TASK", .help = "instead of what failed: the task's group and all behind it"},
    {"--only", NULL, "TASK", .help = "instead of what failed: this task, and nothing behind it"},
    {"--wait", "-w", .help = "follow the run until it has ended"},
    {NULL},
};
static const tt_operand one_run[] = {{"RUN", "the run's number"}, {NULL}};
static const tt_operand run_and_task[] = {{"RUN", "the run's number"}, {"TASK", "the task's id in the DAG, or its number"}, {NULL}};
static const tt_operand run_and_maybe_task[] = {{"RUN", "the run's number"}, {"[TASK]", "the task's id in the DAG, or its number"}, {NULL}};
static const tt_operand one_pipeline[] = {{"NAME", "the pipeline"}, {NULL}};
static const tt_flag backfill_flags[] = {
    {"--from", NULL, "TIME", .help = "the first time: a date, or a phrase like `10 days back`"},
    {"--to", NULL, "TIME", "now", .help = "times before this one"},
    {"--dry-run", .help = "count the times, and start nothing"},
    {NULL},
};
static const tt_flag try_flags[] = {
    {"--set", "-s", "NAME=VALUE", NULL, true, "one variable"},
    {"--settings", NULL, "FILE", .help = "a file with variables, a JSON object; --set wins over it"},
    {"--state", NULL, "STATE", "raw", .help = "the state that it is told it is in"},
    {NULL},
};
static const tt_operand task_by_numbers[] = {{"TRANSFORMATION", "its number"}, {"RUN", "the run's number"}, {NULL}};
static const tt_operand named_pipeline[] = {{"[NAME]", "the pipeline, of the configuration"}, {NULL}};
static const tt_operand maybe_pipeline[] = {{"[NAME]", "only runs of this pipeline"}, {NULL}};
static const tt_flag schedule_flags[] = {
    {"--when", NULL, "TEXT", .help = "a phrase (`every monday at 9`), cron (`30 9 * * 1-5`) or a rule (`FREQ=DAILY`)"},
    {"--program", NULL, "NAME", .help = "the program that runs"},
    {"--set", "-s", "NAME=VALUE", NULL, true, "one setting of the program; dates like `yesterday` are understood when it runs"},
    {"--settings", NULL, "FILE", .help = "a file with settings, a JSON object; --set wins over it"},
    {"--storage", NULL, "JSON", .help = "where its records go: {\"type\":\"...\",\"settings\":{...}}"},
    {"--kind", NULL, "KIND", .help = "instead of a program: the kind of a task"},
    {"--payload", NULL, "TEXT", .help = "what such a task gets"},
    {"--zone", NULL, "ZONE", .help = "the time zone of its times; the server's own when not given"},
    {"--missed", NULL, "HOW", .help = "times that passed while no server ran: latest (the last one runs), all, or skip"},
    {"--overlap", NULL, "HOW", .help = "while the last run has not ended: skip or allow"},
    {"--queue", NULL, "NAME", .help = "the queue that its tasks go to; default: default"},
    {"--priority", NULL, "N", .help = "larger ones first"},
    {"--attempts", NULL, "N", .help = "how often each is tried before it has failed"},
    {"--paused", .help = "do not start it yet"},
    {"--replace", .help = "take the place of another schedule of this name"},
    {NULL},
};
static const tt_flag explain_flags[] = {
    {"--zone", NULL, "ZONE", .help = "a time zone, like Europe/Berlin; the server's own when not given"},
    {"--from", NULL, "PHRASE", .help = "as if now were this time"},
    {"--count", "-n", "N", .help = "how many times of a recurrence are shown; default: 5"},
    {NULL},
};
static const tt_flag set_flags[] = {{"--file", NULL, "FILE", .help = "read the value from this file; -: from standard input"}, {NULL}};
static const tt_flag get_flags[] = {{"--field", NULL, "NAME", .help = "only this field of a secret that is a JSON object"}, {NULL}};
static const tt_flag rotate_flags[] = {{"--forget-old", .help = "drop the keys before the new one"}, {NULL}};
static const tt_flag man_flags[] = {{"--dir", NULL, "DIR", .help = "write all pages into this directory"}, {NULL}};

static const char *const program_settings[] = {"--programs", NULL};
static const char *const lake_settings[] = {"--lake", "--env", "--branch", NULL};
static const tt_operand lake_publish_operands[] = {{"CONTRACT", "PARENT/CHILD/STATE/DATASET, perhaps with ENV/BRANCH in front; a state raw takes files as they are"},
                                                   {"FILE...", "CSV, JSON lines or Parquet, by their endings", "file"}, {NULL}};
static const tt_operand lake_contract_operand[] = {{"CONTRACT", "PARENT/CHILD/STATE/DATASET, perhaps with ENV/BRANCH in front"}, {NULL}};
static const tt_operand lake_diff_operands[] = {{"CONTRACT", "the older side"}, {"[NEWER]", "the newer side; default: the newest run of the same dataset"}, {NULL}};
static const tt_flag lake_diff_flags[] = {
    {"--key", "-k", "A,B", NULL, true, "columns that tell the rows of a side apart; without, whole rows are compared"},
    {"--from", NULL, "ID", .help = "run of the older side; default: the newest, of one dataset the newest but one"},
    {"--to", NULL, "ID", .help = "run of the newer side; default: the newest"},
    {"--output", "-o", "FILE", .help = "into this file: .parquet, .csv or .jsonl"},
    {NULL},
};
static const tt_operand lake_values_operands[] = {{"CONTRACT", "PARENT/CHILD/STATE/DATASET, perhaps with ENV/BRANCH in front"}, {"PARTITION", "its name: __metadata_run_id"}, {NULL}};
static const tt_flag lake_values_flags[] = {{"--max", .help = "only the largest"}, {NULL}};
static const tt_flag lake_show_flags[] = {{"--parts", .help = "the contract alone, without a look into the lake"}, {NULL}};
static const tt_operand lake_path_operand[] = {{"[PATH]", "a contract, or the beginning of a path: dev, dev/local/acme"}, {NULL}};
static const tt_flag lake_publish_flags[] = {
    {"--run", NULL, "ID", .help = "the id of the run, a number; default: TUTTI_RUN_ID, else a new one. A run that is there already is replaced"},
    {"--run-time", NULL, "TIME", .help = "when the run began, in UTC; default: TUTTI_RUN_TIMESTAMP, else now"},
    {"--partition", NULL, "COLUMN", NULL, true, "a directory for each value of this column; in this order"},
    {"--column", NULL, "NAME=TYPE", NULL, true, "of CSV and JSON lines: a column's type: string, json, bool, int, int32, float, float32, date, datetime, list, list<TYPE>"},
    {"--text", .help = "of CSV: all columns are text"},
    {"--separator", NULL, "C", .help = "of CSV: what stands between cells"},
    {"--format", NULL, "csv|jsonl|parquet", .help = "what the files are, whatever they are named"},
    {NULL},
};
static const tt_flag lake_fetch_flags[] = {
    {"--where", "-w", "FILTER", NULL, true, "only rows for which this is true: \"amount >= 10 and region in ('EU', 'US')\""},
    {"--run", NULL, "ID|latest", .help = "only this run"},
    {"--columns", NULL, "A,B", NULL, true, "only these columns, in this order"},
    {"--no-metadata", .help = "without the five columns that publishing adds"},
    {"--csv", .help = "CSV with a header instead of JSON lines"},
    {"--output", "-o", "FILE", .help = "into this file: .parquet, .csv or .jsonl; of a raw file: its name here"},
    {NULL},
};
static const tt_operand query_files[] = {{"FILE...", "Parquet files; all rows of a group lie in one of them", "file"}, {NULL}};
static const tt_operand query_operands[] = {{"DATASET|FILE...", "a registered dataset (and the query, if no flag gives it); or Parquet files, with --group and --time", "file"}, {NULL}};
static const tt_operand new_dataset[] = {{"NAME", "its name"}, {"PATH", "the directory of its Parquet files, or file:///DIRECTORY", "dir"}, {NULL}};
static const tt_operand one_dataset[] = {{"NAME", "the dataset"}, {NULL}};
static const tt_flag register_flags[] = {
    {"--group", "-g", "COLUMN", .help = "the column of the group ids: users, cases, devices"},
    {"--timestamp", "-t", "COLUMN", .help = "the column of the timestamps"},
    {"--pattern", NULL, "GLOB", .help = "the names of its files; default: *.parquet"},
    {"--validation", NULL, "MODE", .help = "which files are looked through: single, first_last or sample; default: sample"},
    {"--skip-uniques", .help = "do not check that no group lies in two of these files"},
    {"--prepare", .help = "make prepared parts at once, for queries at the speed of memory"},
    {"--column", NULL, "NAME=TYPE", NULL, true, "category, string, int, float, bool, list, datetime; datetime[ms] (s, us, ns) of whole numbers"},
    {NULL},
};
static const tt_operand repartition_paths[] = {{"INPUT", "a directory of Parquet files, one file, or a dataset", "file"}, {"OUTPUT", "a new directory", "dir"}, {NULL}};
static const tt_flag repartition_flags[] = {
    {"--group", "-g", "COLUMN", .help = "the column of the group ids; a dataset knows its own"},
    {"--pattern", NULL, "GLOB", "*.parquet", .help = "the names of files in the directory"},
    {"--target-size", NULL, "SIZE", "64MiB", .help = "how large the files become, about"},
    {"--parts", NULL, "N", .help = "so many files instead"},
    {"--memory", NULL, "SIZE", "512MiB", .help = "for rows that wait to be written; the inputs are read again where it is not enough for all files at once"},
    {"--threads", NULL, "N", .help = "inputs that are read at the same time; default: one per core"},
    {"--codec", NULL, "CODEC", "snappy", .help = "zstd, snappy, lz4_raw, gzip or none"},
    {NULL},
};
static const tt_flag unregister_flags[] = {{"--force", .help = "also when it was queried just now"}, {NULL}};
static const tt_flag query_flags[] = {
    {"--group", "-g", "COLUMN", .help = "the column of the group ids: users, cases, devices"},
    {"--time", "-t", "COLUMN", .help = "the column of the timestamps"},
    {"--file", "-f", "QUERY.json", .help = "the query, from a file"},
    {"--string", "-e", "JSON", .help = "the query itself"},
    {"--empty", .help = "the empty query: how many groups and rows there are"},
    {"--explain", .help = "say what was read, and where the time went"},
    {"--threads", NULL, "N", .help = "threads that work at the same time; default: one per core"},
    {"--prepared", .help = "use prepared parts (tutti parquet prepare) where there are some, and make them at the third query of a file"},
    {"--cache", NULL, "DIR", .help = "where prepared parts are; default: cache/parts in the data directory"},
    {"--export", NULL, "FILE", .help = "write the ids of the groups that match into this file: .parquet or .csv"},
    {"--export-step", NULL, "N", .help = "instead those of the groups that passed step N of the funnel"},
    {"--export-dropped", NULL, "N", .help = "instead those that passed the step before N, but not step N"},
    {NULL},
};
static const tt_flag prepare_flags[] = {
    {"--group", "-g", "COLUMN", .help = "the group ids"},
    {"--time", "-t", "COLUMN", .help = "the timestamps"},
    {"--threads", NULL, "N", .help = "files that are worked on at the same time; default: one per core"},
    {"--cache", NULL, "DIR", .help = "where prepared parts are; default: cache/parts in the data directory"},
    {"--cache-size", NULL, "SIZE", "20GiB", .help = "of all prepared parts there; those that were not used for longest go"},
    {NULL},
};
static const tt_operand parquet_file[] = {{"FILE", "a Parquet file", "file"}, {NULL}};
static const tt_flag cat_flags[] = {
    {"--columns", NULL, "A,B", NULL, true, "only these columns, in this order"},
    {"--skip", NULL, "N", "0", .help = "pass over the first N rows; pages that hold nothing else are not read"},
    {"--csv", .help = "CSV with a header instead of JSON lines"},
    {NULL},
};
static const tt_operand convert_files[] = {{"INPUT", "a .csv, .tsv, .jsonl or .parquet file", "file"}, {"OUTPUT", "the same, by its ending", "file"}, {NULL}};
static const tt_flag convert_flags[] = {
    {"--column", NULL, "NAME=TYPE", NULL, true, "a column's type: string, category, json, bool, int, int32, float, float32, date, datetime, list, list<TYPE>"},
    {"--columns", NULL, "A,B", NULL, true, "from Parquet: only these columns, in this order"},
    {"--codec", NULL, "NAME", "zstd", .help = "of a Parquet output: zstd, snappy, lz4_raw, gzip or none"},
    {"--group-rows", NULL, "N", "1048576", .help = "rows of a row group, at most"},
    {"--group-size", NULL, "SIZE", "64MiB", .help = "memory of a row group, at most"},
    {NULL},
};
static const tt_flag head_flags[] = {
    {"--lines", "-n", "N", "10", .help = "so many rows"},
    {"--columns", NULL, "A,B", NULL, true, "only these columns, in this order"},
    {"--skip", NULL, "N", "0", .help = "pass over the first N rows; pages that hold nothing else are not read"},
    {"--csv", .help = "CSV with a header instead of JSON lines"},
    {NULL},
};

static const tt_operand some_pipelines[] = {{"[NAME...]", "the pipelines; all when not given"}, {NULL}};
static const tt_operand pipeline_files[] = {{"FILE...", "definitions, one in each file", "file"}, {NULL}};
static const tt_flag export_flags[] = {{"--dir", NULL, "DIR", .help = "write each into NAME.yaml of this directory"}, {NULL}};
static const tt_flag apply_flags[] = {
    {"--dry-run", .help = "show what would be changed, and change nothing"},
    {"--any-program", .help = "also when the server has no program of a template's name"},
    {NULL},
};
static const tt_flag diff_flags[] = {{"--any-program", .help = "also when the server has no program of a template's name"}, {NULL}};
static const tt_operand older_database[] = {{"NAME", "a database that the configuration file declares in a section [sql.NAME]"}, {NULL}};
static const tt_flag import_flags[] = {{"--dry-run", .help = "try it, and change nothing"}, {NULL}};
static const tt_operand one_address[] = {{"EMAIL", "the administrator's address"}, {NULL}};
static const tt_flag revision_flags[] = {
    {"--message", "-m", "TEXT", .help = "what it does; its words name the file"},
    {"--autogenerate", .help = "with the statements that bring the database to the model"},
    {NULL},
};
static const tt_operand up_to[] = {{"[REVISION]", "the last one to apply; all when not given"}, {NULL}};
static const tt_operand back_to[] = {{"[REVISION]", "the one to go back to, or base; one back when not given"}, {NULL}};

static const char *const every_setting[] = {"*", NULL};

static const tt_command commands[] = {
    {NULL, "up", "Start the server and its workers on this machine.", .options = every_setting, .fn = up,
     .details = "Needs no configuration. Prints the addresses once it serves; stops at SIGTERM, at once at a second one.\n"
                "SIGHUP applies what changed in the configuration file, SIGQUIT writes the state into the log.",
     .example = "tutti up --data ./data --listen 127.0.0.1:5005"},
    {NULL, "server", "Start the server alone.", .options = every_setting, .fn = server},
    {NULL, "worker", "Start a worker for tasks, beside those that `tutti up` starts.", .flags = worker_flags, .options = tt_worker_flags, .fn = worker,
     .details = "Where the configuration file cannot be read, it says so and waits until it can. Stops at SIGTERM: what runs may end within the grace; at once at a second one.",
     .example = "tutti worker --queue default"},
    {NULL, "doctor", "Check this machine, the data directory and the server.", .fn = tt_cmd_doctor, .needs_server = true,
     .details = "Exits with 1 when a check fails."},
    {NULL, "version", "Show the version, the compiler and the system.", .fn = tt_cmd_version},
    {NULL, "completion", "Print a completion script.", .flags = completion_flags, .operands = shell, .fn = tt_cmd_completion, .needs_server = true,
     .example = "source <(tutti completion bash)"},
    {NULL, "man", "Print a manual page.", .flags = man_flags, .operands = page, .fn = tt_cmd_man, .example = "tutti man tutti-job | man -l -"},

    {"job", "list", "List all jobs.", .flags = list_flags, .fn = tt_cmd_job_list},
    {"job", "start", "Start a job.", .flags = start_flags, .operands = new_job, .fn = tt_cmd_job_start,
     .details = "A job that is there already with the same definition is left as it is.",
     .list_title = "Outputs, and what is promised", .list = tt_cmd_list_sinks,
     .example = "tutti job start demo --input 'in/*.jsonl' --output out.jsonl"},
    {"job", "adopt", "Take over jobs that the older service left in a Redis.", .flags = adopt_flags, .operands = adopted_jobs, .fn = tt_cmd_job_adopt,
     .details = "Definitions, states of items and tokens are taken over; outputs are appended to. Complete jobs are skipped: Redis does not keep their definition.\n"
                "Stop the older service first. Exits with 3 when a job was skipped.",
     .example = "tutti job adopt --redis redis://localhost:6379 --dry-run"},
    {"job", "show", "Show one job.", .operands = one_job, .fn = tt_cmd_job_show},
    {"job", "watch", "Show progress until the job is complete.", .operands = one_job, .fn = tt_cmd_job_watch, .needs_server = true,
     .details = "Exits with 3 when items ended in error. With --json, a line for each change."},
    {"job", "report", "Show the report that older clients know.", .operands = one_job, .fn = tt_cmd_job_report},
    {"job", "errors", "List items that are in error or dead, and why.", .flags = errors_flags, .operands = one_job, .fn = tt_cmd_job_errors},
    {"job", "retry", "Hand out items in error once more.", .flags = retry_flags, .operands = one_job, .fn = tt_cmd_job_retry},
    {"job", "clean", "Give back what is in flight; with --output, delete the output as well.", .flags = clean_flags, .operands = one_job, .fn = tt_cmd_job_clean},
    {"job", "redo", "Work on received items once more; their new results are appended.", .flags = redo_flags, .operands = one_job, .fn = tt_cmd_job_redo,
     .details = "The lines that the output has stay there.", .example = "tutti job redo demo --id 17 --id 42"},
    {"job", "pause", "Hand nothing out until the job is resumed; results are taken.", .operands = one_job, .fn = tt_cmd_job_pause},
    {"job", "resume", "Hand out again.", .operands = one_job, .fn = tt_cmd_job_resume},
    {"job", "delete", "Delete a job; its output stays.", .operands = one_job, .fn = tt_cmd_job_delete},
    {"job", "pull", "Print items as JSON lines, for a program that works on them.", .flags = pull_flags, .operands = maybe_job, .fn = tt_cmd_job_pull, .needs_server = true,
     .details = "Each line is {\"id\":17,\"lease\":\"...\",\"value\":...}, the value's bytes as they are. With -n, exits with 4 when nothing is left.",
     .example = "tutti job pull demo -n 100 | my-program | tutti job push demo"},
    {"job", "push", "Read results as JSON lines and hand them in.", .flags = push_flags, .operands = maybe_job, .fn = tt_cmd_job_push, .needs_server = true,
     .details = "A line is {\"id\":17,\"value\":...}, or {\"id\":17,\"error\":\"reason\"} for an item that failed, in any order; \"lease\" is passed on.\n"
                "Without NAME each line names its \"job\", as those of `tutti job pull --any` do.\n"
                "A bad line is named by its number and left out; then the exit code is 3."},

    {NULL, "run", "Run a program.", .flags = run_flags, .operands = some_program, .options = program_settings, .fn = tt_cmd_run, .needs_server = true,
     .details = "Prints the execution's id. With --here its log goes to standard output and its progress to standard error.",
     .example = "tutti run hello --set name=world --wait"},
    {"program", "list", "List all programs.", .options = program_settings, .fn = tt_cmd_program_list},
    {"program", "show", "Show one program and its settings.", .operands = one_program, .options = program_settings, .fn = tt_cmd_program_show},
    {"program", "check", "Check a file that is to be a program.", .operands = program_file, .options = program_settings, .fn = tt_cmd_program_check,
     .details = "Describes it as a worker would, compiles it if it is C, and says what is wrong. Exits with 3 when it is broken."},
    {"program", "new", "Write a working program to begin with.", .flags = new_program_flags, .operands = new_program, .options = program_settings, .fn = tt_cmd_program_new,
     .example = "tutti program new hello --kind python"},

    {"execution", "list", "List tasks, newest first.", .flags = execution_list_flags, .fn = tt_cmd_execution_list,
     .example = "tutti execution list --state failed"},
    {"execution", "show", "Show one task: state, attempts, progress, result.", .operands = one_execution, .fn = tt_cmd_execution_show},
    {"execution", "log", "Print what a task wrote.", .flags = log_flags, .operands = one_execution, .fn = tt_cmd_execution_log,
     .details = "Standard output and standard error of all its attempts. With --json and --follow, a line for each piece."},
    {"execution", "watch", "Show state and progress until a task ends.", .operands = one_execution, .fn = tt_cmd_execution_watch, .needs_server = true,
     .details = "Exits with 1 when it failed, with 8 when it was canceled. With --json, a line for each change."},
    {"execution", "cancel", "Cancel tasks, and kill what runs for them.", .flags = cancel_flags, .operands = executions, .fn = tt_cmd_execution_cancel},
    {"execution", "retry", "Try a failed or canceled task again, with all its attempts.", .flags = execution_retry_flags, .operands = some_executions, .fn = tt_cmd_execution_retry,
     .example = "tutti execution retry --failed --queue reports"},
    {"execution", "delete", "Forget ended tasks and their logs.", .operands = executions, .fn = tt_cmd_execution_delete},

    {"queue", "list", "List queues with tasks that have not ended.", .fn = tt_cmd_queue_list},
    {"queue", "limits", "List limits, and what each lets run and holds.", .fn = tt_cmd_queue_limits},
    {"queue", "limit", "Set a limit that tasks share by its key.", .flags = limit_flags, .operands = one_key, .fn = tt_cmd_queue_limit,
     .example = "tutti queue limit api --rate 100 --per 1m"},

    {"worker", "list", "List worker processes.", .fn = tt_cmd_worker_list, .needs_server = true},
    {"worker", "run", "Run one task of a run by hand, in the foreground.", .operands = task_by_numbers, .options = program_settings, .fn = tt_cmd_worker_run,
     .details = "With the variables of the run's definition. The run itself is left as it is. Called as `corebot`, the program takes `corebot run TRANSFORMATION RUN`.",
     .example = "tutti worker run 41 17"},
    {"worker", "show", "Show one worker process.", .operands = one_worker, .fn = tt_cmd_worker_show, .needs_server = true},

    {"schedule", "list", "List all schedules.", .fn = tt_cmd_schedule_list},
    {"schedule", "add", "Run a program again and again.", .flags = schedule_flags, .operands = one_schedule, .fn = tt_cmd_schedule_add,
     .details = "The same schedule once more changes nothing.", .example = "tutti schedule add nightly --when 'daily at 2:30' --program report --set day=yesterday"},
    {"schedule", "show", "Show one schedule.", .operands = one_schedule, .fn = tt_cmd_schedule_show},
    {"schedule", "pause", "Let the times of a schedule pass.", .operands = one_schedule, .fn = tt_cmd_schedule_pause},
    {"schedule", "resume", "Go on with a schedule, from now.", .operands = one_schedule, .fn = tt_cmd_schedule_resume},
    {"schedule", "run", "Run a schedule now, beside its times.", .operands = one_schedule, .fn = tt_cmd_schedule_run},
    {"schedule", "remove", "Remove a schedule; what it started goes on.", .operands = one_schedule, .fn = tt_cmd_schedule_remove},
    {"schedule", "explain", "Show how a phrase for a date or a recurrence is understood.", .flags = explain_flags, .operands = phrase, .fn = tt_cmd_schedule_explain,
     .example = "tutti schedule explain 4 days back"},

    {"pipeline", "list", "List the pipelines of the configuration.", .fn = tt_cmd_pipeline_list},
    {"pipeline", "show", "Show the DAG of a pipeline.", .flags = pipeline_show_flags, .operands = named_pipeline, .fn = tt_cmd_pipeline_show,
     .details = "States come in their order, transformations with the same order side by side. A state without transformations is left out and named.",
     .example = "tutti pipeline show -f sales.yaml --svg"},
    {"pipeline", "run", "Start a run of a pipeline.", .flags = pipeline_run_flags, .operands = named_pipeline, .fn = tt_cmd_pipeline_run, .needs_server = true,
     .details = "Prints the run's number. With --wait, exits with 1 when it failed, with 8 when it was canceled. The run keeps the definition that it started with.",
     .example = "tutti pipeline run -f sales.yaml --wait"},
    {"pipeline", "watch", "Follow a run until it has ended.", .operands = one_run, .fn = tt_cmd_pipeline_watch, .needs_server = true,
     .details = "Exits with 1 when it failed, with 8 when it was canceled. With --json, a line for each change."},
    {"pipeline", "runs", "List runs, newest first.", .flags = pipeline_runs_flags, .operands = maybe_pipeline, .fn = tt_cmd_pipeline_runs},
    {"pipeline", "tasks", "List the tasks of a run, in the order of its DAG.", .operands = one_run, .fn = tt_cmd_pipeline_tasks},
    {"pipeline", "logs", "Print what the tasks of a run wrote, or one of them.", .flags = pipeline_logs_flags, .operands = run_and_maybe_task, .fn = tt_cmd_pipeline_logs},
    {"pipeline", "cancel", "Cancel a run, and kill what runs for it.", .flags = reason_flags, .operands = one_run, .fn = tt_cmd_pipeline_cancel},
    {"pipeline", "retry", "Run what failed and what did not run, or a part of a run again.", .flags = pipeline_retry_flags, .operands = one_run, .fn = tt_cmd_pipeline_retry,
     .example = "tutti pipeline retry 17 --from sales_ingest_clean_3"},
    {"pipeline", "skip", "Go on as if a task of a run had finished.", .flags = reason_flags, .operands = run_and_task, .fn = tt_cmd_pipeline_skip},
    {"pipeline", "try", "Run a program as the one task of a pipeline that is made for it.", .flags = try_flags, .operands = one_program, .fn = tt_cmd_pipeline_try, .needs_server = true,
     .details = "Waits for its end, and prints its log and its result. The run is kept; its company is `scratch`, its brand `try`.",
     .example = "tutti pipeline try clean_orders --set prefix=orders_"},
    {"pipeline", "backfill", "Start a run for each past time of a pipeline's schedule that has none.", .flags = backfill_flags, .operands = one_pipeline, .fn = tt_cmd_pipeline_backfill,
     .needs_server = true, .example = "tutti pipeline backfill sales --from '10 days back'"},
    {"pipeline", "schedule", "Show when a pipeline runs next, and what became of the last time.", .operands = one_pipeline, .fn = tt_cmd_pipeline_schedule},
    {"pipeline", "pause", "Begin no run of a pipeline, and no further group of those that run.", .operands = one_pipeline, .fn = tt_cmd_pipeline_pause},
    {"pipeline", "resume", "Go on with a paused pipeline.", .operands = one_pipeline, .fn = tt_cmd_pipeline_resume},

    {"secret", "set", "Set a secret; its value comes from standard input or a file.", .flags = set_flags, .operands = one_secret, .fn = tt_cmd_secret_set,
     .details = "One line break at the end is cut off. At a terminal, asks for the value without showing it.",
     .example = "tutti secret set dev/db/warehouse/read --file warehouse.json"},
    {"secret", "get", "Print the value of a secret.", .flags = get_flags, .operands = one_secret, .fn = tt_cmd_secret_get,
     .example = "tutti secret get dev/db/warehouse/read --field password"},
    {"secret", "list", "List the names of all secrets.", .fn = tt_cmd_secret_list},
    {"secret", "remove", "Remove a secret.", .operands = one_secret, .fn = tt_cmd_secret_remove},
    {"secret", "rotate", "Make a new key for the vault and seal all secrets again with it.", .flags = rotate_flags, .fn = tt_cmd_secret_rotate},
    {"dataset", "register", "Register Parquet files under a name, so that they can be queried.", .flags = register_flags, .operands = new_dataset, .fn = tt_cmd_dataset_register,
     .details = "Samples of the files are looked through: whether every row has a group and a time, whether no group lies in two files, and whether their columns "
                "are the same. A dataset of the same name is replaced when all is well.",
     .example = "tutti dataset register shop ./events --group user --timestamp ts"},
    {"dataset", "list", "List the registered datasets, newest first.", .fn = tt_cmd_dataset_list},
    {"dataset", "show", "Show the columns of a dataset.", .operands = one_dataset, .fn = tt_cmd_dataset_show},
    {"dataset", "parts", "List the files of a dataset.", .operands = one_dataset, .fn = tt_cmd_dataset_parts},
    {"dataset", "check", "Say what would make queries of a dataset faster, and what makes them wrong.", .operands = one_dataset, .fn = tt_cmd_dataset_check,
     .details = "Looks at the number and size of files, at text columns that would better be categories, at columns that cannot be queried, and reads the ids of all groups: "
                "one that lies in two files is a fault (exit code 3)."},
    {"dataset", "prepare", "Sort the parts of a dataset by group and time into a cache, for queries at the speed of memory.", .operands = one_dataset,
     .fn = tt_cmd_dataset_prepare, .details = "A prepared part is used as long as its file is the same. Parts that are asked often are prepared by themselves (query.prepare_after)."},
    {"dataset", "unregister", "Forget a dataset; its files stay.", .flags = unregister_flags, .operands = one_dataset, .fn = tt_cmd_dataset_unregister},
    {"dataset", "repartition", "Write Parquet files anew so that each group lies in one of them.", .flags = repartition_flags, .operands = repartition_paths,
     .fn = tt_cmd_dataset_repartition,
     .details = "A row goes to the file that the hash of its group says; columns and types stay as they are. The directory appears under its name when all is written.",
     .example = "tutti dataset repartition ./daily ./by-user --group user"},
    {NULL, "query", "Ask who did what, and in which order, of a dataset or of Parquet files.", .flags = query_flags, .operands = query_operands, .fn = tt_cmd_query,
     .details = "The query language is that of docs/queries.md: conditions over the rows of each group, funnels, and aggregations. Parts of a dataset are worked on by "
                "the query workers of the server; without a server, and for files, in this process.",
     .example = "tutti query events.parquet --group user --time ts -e '{\"funnel\":{\"sequence\":[{\"filter\":[\"event\",\"==\",\"view\"]},{\"filter\":[\"event\",\"==\",\"buy\"]}]}}'"},
    {"lake", "publish", "Publish files into the data lake, as a run of a dataset.", .flags = lake_publish_flags, .operands = lake_publish_operands, .options = lake_settings,
     .fn = tt_cmd_lake_publish,
     .details = "Appears as a whole or not at all; publishing a run again replaces it.",
     .example = "tutti lake publish acme/widget/ingest/orders orders.csv --run 42 --partition region"},
    {"lake", "fetch", "Print the rows of a dataset, or write them into a file.", .flags = lake_fetch_flags, .operands = lake_contract_operand, .options = lake_settings,
     .fn = tt_cmd_lake_fetch,
     .example = "tutti lake fetch acme/widget/ingest/orders --run latest --columns id,amount --csv"},
    {"lake", "diff", "Show what changed between two datasets, or two runs of one.", .flags = lake_diff_flags, .operands = lake_diff_operands, .options = lake_settings,
     .fn = tt_cmd_lake_diff,
     .details = "Each row that differs has a __change in front: added, removed, or before and after of one that changed.",
     .example = "tutti lake diff acme/widget/ingest/orders --key id --from 41 --to 42"},
    {"lake", "values", "List the values of a partition, in order.", .flags = lake_values_flags, .operands = lake_values_operands, .options = lake_settings, .fn = tt_cmd_lake_values},
    {"lake", "ls", "List the datasets and raw files of the lake.", .operands = lake_path_operand, .options = lake_settings, .fn = tt_cmd_lake_ls},
    {"lake", "show", "Show a contract: its parts, and a dataset's columns and runs.", .flags = lake_show_flags, .operands = lake_contract_operand,
     .options = lake_settings, .fn = tt_cmd_lake_show},
    {"parquet", "schema", "Show the columns of a Parquet file.", .operands = parquet_file, .fn = tt_cmd_parquet_schema},
    {"parquet", "stat", "Show what a Parquet file says about its column chunks.", .operands = parquet_file, .fn = tt_cmd_parquet_stat,
     .details = "Codec, encodings, sizes, null counts and bounds. With --json, a line for each chunk."},
    {"parquet", "head", "Print the first rows of a Parquet file.", .flags = head_flags, .operands = parquet_file, .fn = tt_cmd_parquet_head},
    {"parquet", "cat", "Print all rows of a Parquet file, as JSON lines or CSV.", .flags = cat_flags, .operands = parquet_file, .fn = tt_cmd_parquet_cat,
     .details = "Members of structs are columns named `a.b`, lists are arrays; lists of lists cannot be read.",
     .example = "tutti parquet cat events.parquet --columns ts,event --csv"},
    {"parquet", "prepare", "Sort Parquet files by group and time into a cache, for queries at the speed of memory.", .flags = prepare_flags, .operands = query_files,
     .fn = tt_cmd_parquet_prepare,
     .details = "A prepared part is used by tutti query --prepared as long as its file is the same, and made anew when it has changed.",
     .example = "tutti parquet prepare events.parquet --group user --time ts"},
    {"parquet", "convert", "Convert CSV or JSON lines into Parquet, or Parquet into them.", .flags = convert_flags, .operands = convert_files,
     .fn = tt_cmd_parquet_convert,
     .details = "Types of columns that are not given are found out from the whole input. The output appears under its name when it is complete.",
     .example = "tutti parquet convert events.csv events.parquet --column ts=datetime"},

    {"pipeline", "export", "Print pipelines of the configuration as YAML.", .flags = export_flags, .operands = some_pipelines, .fn = tt_cmd_pipeline_export,
     .example = "tutti pipeline export --dir pipelines"},
    {"pipeline", "apply", "Bring the configuration to what files say.", .flags = apply_flags, .operands = pipeline_files, .fn = tt_cmd_pipeline_apply,
     .details = "Each file in one transaction: all of it or, with a sentence that says where the mistake is, nothing. A file that was applied before changes nothing.",
     .example = "tutti pipeline apply pipelines/*.yaml"},
    {"pipeline", "diff", "Show what `pipeline apply` would change.", .flags = diff_flags, .operands = pipeline_files, .fn = tt_cmd_pipeline_diff,
     .details = "Exits with 3 when there is a difference."},
    {"pipeline", "delete", "Delete a pipeline that has no runs.", .operands = one_pipeline, .fn = tt_cmd_pipeline_delete},

    {"pipeline", "import", "Move the configuration of a CORE database over.", .flags = import_flags, .operands = older_database, .fn = tt_cmd_pipeline_import,
     .details = "Into an empty configuration, with all ids. What cannot stand there is refused and named, and nothing is changed."},

    {"administrator", "list", "List who may sign in.", .fn = tt_cmd_administrator_list},
    {"administrator", "add", "Let somebody sign in and change the configuration.", .operands = one_address, .fn = tt_cmd_administrator_add},
    {"administrator", "remove", "Remove an administrator, whose sessions end at once.", .operands = one_address, .fn = tt_cmd_administrator_remove},

    {"db", "create", "Make the tables of the configuration database.", .fn = tt_cmd_db_create,
     .details = "Of the default database, config.db in the data directory, they are made when it is first used.",
     .example = "TUTTI_CONFIG_URL=postgresql://configurator@db.example/configuration tutti db create"},
    {"db", "upgrade", "Apply migrations to the configuration database.", .operands = up_to, .fn = tt_cmd_db_upgrade,
     .details = "Each runs in one transaction. Those of the site (NUMBER_WORDS.sql in the folder of migrations) come after tutti's own."},
    {"db", "downgrade", "Undo migrations of the configuration database.", .operands = back_to, .fn = tt_cmd_db_downgrade},
    {"db", "current", "Show the migration that was applied last.", .fn = tt_cmd_db_current},
    {"db", "history", "List all migrations, and when they were applied.", .fn = tt_cmd_db_history},
    {"db", "check", "Compare the configuration database with the model.", .fn = tt_cmd_db_check, .details = "Exits with 3 when something is missing or other. What is there beyond the model is named."},
    {"db", "revision", "Write a new migration of the site.", .flags = revision_flags, .fn = tt_cmd_db_revision, .example = "tutti db revision -m 'regions of brands'"},
    {"db", "demo", "Fill an empty configuration database with demonstration rows.", .fn = tt_cmd_db_demo},

    {"config", "show", "Show the settings in force, secrets masked.", .flags = show_flags, .fn = tt_cmd_config_show},
    {"config", "docs", "Print a page about all settings, as markdown.", .fn = tt_cmd_config_docs},
    {0},
};

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
    int code = is_corebot(argc, argv, as) ? tt_cli_main(commands, call_inside, argc + 1, (char **)(uintptr_t)as) : tt_cli_main(commands, call_inside, argc, argv);
    tt_house_close(house);
    return code;
}
