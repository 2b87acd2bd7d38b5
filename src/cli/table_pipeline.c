/* The commands of the lake, pipelines and their configuration: a row for each, below what its flags and operands are. */
#include "cli/tables.h"
#include "cli/cmds.h"

static const tt_operand one_program[] = {{"PROGRAM", "the program's name"}, {NULL}};
static const tt_flag pipeline_show_flags[] = {
    {"--file", "-f", "FILE", .help = "the file of the pipeline"},
    {"--text", .help = "as lines, which is what you get anyway"},
    {"--dot", .help = "for Graphviz"},
    {"--svg", .help = "as a picture"},
    {NULL},
};
static const tt_flag pipeline_drain_flags[] = {{"--wait", "-w", .help = "return when its last task has ended"}, {0}};
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
static const tt_operand named_pipeline[] = {{"[NAME]", "the pipeline, of the configuration"}, {NULL}};
static const tt_operand maybe_pipeline[] = {{"[NAME]", "only runs of this pipeline"}, {NULL}};
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

const tt_command tt_table_pipeline[] = {
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
    {"pipeline", "drain", "Pause a pipeline, and see that nothing of it runs.", .flags = pipeline_drain_flags, .operands = one_pipeline, .fn = tt_cmd_pipeline_drain,
     .details = "No run begins and no further group; tasks that are queued or run come to their end. With --wait, returns when they have. `pipeline resume` goes on.",
     .example = "tutti pipeline drain sales --wait"},
    {"pipeline", "resume", "Go on with a paused pipeline.", .operands = one_pipeline, .fn = tt_cmd_pipeline_resume},
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
    {0},
};
