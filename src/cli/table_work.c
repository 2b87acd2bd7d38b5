/* The commands of programs, executions, queues, workers, schedules and secrets: a row for each, below what its flags and operands are. */
#include "cli/tables.h"
#include "cli/cmds.h"

static const tt_operand one_schedule[] = {{"NAME", "the schedule"}, {NULL}};
static const tt_operand phrase[] = {{"PHRASE...", "words like `4 days back` or `every monday at 9`"}, {NULL}};
static const tt_operand one_secret[] = {{"NAME", "the secret, like dev/db/warehouse/read"}, {NULL}};
static const tt_operand one_program[] = {{"PROGRAM", "the program's name"}, {NULL}};
static const tt_operand some_program[] = {{"PROGRAM", "the program's name; with --here also a path"}, {NULL}};
static const tt_operand program_file[] = {{"FILE", "the program", "file"}, {NULL}};
static const tt_operand new_program[] = {{"NAME", "its name: letters, digits, - and _"}, {NULL}};
static const tt_flag new_program_flags[] = {
    {"--kind", NULL, "KIND", "python", .help = "c, python, notebook or executable"},
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
static const tt_operand maybe_worker[] = {{"[NAME]", "a worker's name; none: all workers"}, {NULL}};
static const tt_flag drain_flags[] = {{"--wait", .help = "until nobody has anything in hand"}, {NULL}};
static const tt_operand one_key[] = {{"KEY", "the limit's key, which tasks name"}, {NULL}};
static const tt_operand task_by_numbers[] = {{"TRANSFORMATION", "its number"}, {"RUN", "the run's number"}, {NULL}};
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
static const char *const program_settings[] = {"--programs", NULL};

const tt_command tt_table_work[] = {
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

    {"worker", "drain", "Give a worker no task any more, or all workers.", .flags = drain_flags, .operands = maybe_worker, .fn = tt_cmd_worker_drain, .needs_server = true,
     .details = "What they have they end; the processes stay, and take work again after `tutti worker resume`. A restart changes nothing of it.",
     .example = "tutti worker drain --wait"},
    {"worker", "list", "List worker processes.", .fn = tt_cmd_worker_list, .needs_server = true},
    {"worker", "resume", "Give a drained worker tasks again, or all workers.", .operands = maybe_worker, .fn = tt_cmd_worker_resume, .needs_server = true},
    {"worker", "run", "Run one task of a run by hand, in the foreground.", .operands = task_by_numbers, .options = program_settings, .fn = tt_cmd_worker_run,
     .details = "As a worker does it: with the variables of the run's definition, their secrets and its environment. The run itself is left as it is. Called as `corebot`, the program takes `corebot run TRANSFORMATION RUN`.",
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

    {"secret", "set", "Set a secret; its value comes from standard input or a file.", .flags = set_flags, .operands = one_secret, .fn = tt_cmd_secret_set,
     .details = "One line break at the end is cut off. At a terminal, asks for the value without showing it.",
     .example = "tutti secret set dev/db/warehouse/read --file warehouse.json"},
    {"secret", "get", "Print the value of a secret.", .flags = get_flags, .operands = one_secret, .fn = tt_cmd_secret_get,
     .example = "tutti secret get dev/db/warehouse/read --field password"},
    {"secret", "list", "List the names of all secrets.", .fn = tt_cmd_secret_list},
    {"secret", "remove", "Remove a secret.", .operands = one_secret, .fn = tt_cmd_secret_remove},
    {"secret", "rotate", "Make a new key for the vault and seal all secrets again with it.", .flags = rotate_flags, .fn = tt_cmd_secret_rotate},
    {0},
};
