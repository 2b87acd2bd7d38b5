/* The commands of datasets, queries and Parquet files: a row for each, below what its flags and operands are. */
#include "cli/tables.h"
#include "cli/cmds.h"

static const tt_operand query_files[] = {{"FILE...", "Parquet files; all rows of a group lie in one of them", "file"}, {NULL}};
static const tt_operand query_operands[] = {{"DATASET|FILE...", "a registered dataset (and the query, if no flag gives it); or Parquet files, with --group and --time", "file"}, {NULL}};
static const tt_operand new_dataset[] = {{"NAME", "its name"}, {"PATH", "the directory of its Parquet files, or file:///DIRECTORY", "dir"}, {NULL}};
static const tt_operand one_dataset[] = {{"NAME", "the dataset"}, {NULL}};
static const tt_flag register_flags[] = {
    {"--group", "-g", "COLUMN", .help = "the column of the group ids: users, cases, devices"},
    {"--timestamp", "-t", "COLUMN", .help = "the column of the timestamps"},
    {"--time", NULL, "COLUMN", .help = "the same"},
    {"--pattern", NULL, "GLOB", .help = "the names of its files; default: *.parquet"},
    {"--validation", NULL, "MODE", .help = "which files are looked through: single, first_last or sample; default: sample"},
    {"--skip-uniques", .help = "do not check that no group lies in two of these files"},
    {"--prepare", .help = "make prepared parts at once, for queries at the speed of memory"},
    {"--column", NULL, "NAME=TYPE", NULL, true, "category, string, int, float, bool, list, datetime; list[;] of text that is cut there, datetime[ms] (s, us, ns) of whole numbers"},
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
    {"--timestamp", NULL, "COLUMN", .help = "the same"},
    {"--file", "-f", "QUERY.json", .help = "the query, from a file; -: from standard input"},
    {"--string", "-e", "JSON", .help = "the query itself"},
    {"--string-s", "-s", "JSON", .help = "the same: Funnel Rocket's spelling"},
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
    {"--timestamp", NULL, "COLUMN", .help = "the same"},
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

const tt_command tt_table_query[] = {
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
    {0},
};
