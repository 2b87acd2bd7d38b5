/* The commands of jobs, and the items that they hand out: a row for each, below what its flags and operands are. */
#include "cli/tables.h"
#include "cli/cmds.h"

#define JOB {"NAME", "the job", "job"}

static const tt_operand one_job[] = {JOB, {NULL}};
static const tt_operand maybe_job[] = {{"[NAME]", "the job", "job"}, {NULL}};
static const tt_operand new_job[] = {{"NAME", "its name: letters, digits, - and _"}, {NULL}};
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

const tt_command tt_table_items[] = {
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
    {0},
};
