/* The ends of tables: where rows come from (files, a pattern, `lake:CONTRACT`), and where they go (a file, a run of a contract). What is said about them are
 * settings, of the same names in all transforms (settings.h), and what the task of a run knows: its number, and whose pipeline it is.
 *
 * A contract may be as short as STATE/DATASET in a run: company, brand and branch are the pipeline's. One of the raw state names files, also by a pattern. In the process in which
 * C programs run; one thread. */
#ifndef TT_TRANSFORM_ENDS_H
#define TT_TRANSFORM_ENDS_H

#include "data/frame.h"
#include "lake/contract.h"
#include "lake/store.h"
#include "tutti/program.h"

#define TT_LAKE_PREFIX "lake:"

/* Rows of a table of settings. */
#define TT_INPUT_SETTINGS                                                                                                                                        \
    {"input", TUTTI_STR, .description = "a file, a pattern, or lake:CONTRACT"},                                                                                  \
    {"input_run", TUTTI_STR, "", "of the lake: only this run, `this` (the own one) or `latest`"},                                                                \
    {"input_format", TUTTI_STR, "", "csv, jsonl or parquet, whatever the input is named"}, {"input_separator", TUTTI_STR, "", "of delimited text: what stands between cells"}, \
    {"as_text", TUTTI_BOOL, "false", "of delimited text: all columns are text"}, {"types", TUTTI_DICT, "{}", "types of columns of text, {\"day\": \"date\"}"}
#define TT_RUN_SETTING {"run_id", TUTTI_STR, "", "of the lake: the run that is made (else the own one, or TUTTI_RUN_ID)"}
#define TT_OUTPUT_SETTINGS                                                                                                                                       \
    {"output", TUTTI_STR, .description = "a file (.parquet, .csv, .jsonl), or lake:CONTRACT"}, TT_RUN_SETTING,                                                   \
    {"partitions", TUTTI_LIST, "[]", "of an output in the lake: a directory for each value of these columns"},                                                   \
    {"separator", TUTTI_STR, "", "of a .csv output: what stands between cells"}

/* `lake:` and what stands behind it; NULL: it is a file. */
const char *tt_ends_contract_of(const char *end);
/* The lake of this machine; the caller closes it. */
tt_rc tt_ends_store(tt_arena *arena, tt_store **ret, tt_err *err) TT_MUST_CHECK;
/* The contract, and the lake that it is in; the caller closes it. */
tt_rc tt_ends_lake(const tutti_host *t, const char *contract, tt_arena *arena, tt_store **ret, tt_contract *ret_contract, tt_err *err) TT_MUST_CHECK;
/* The run whose rows are made: the setting `run_id`, else the task's, else TUTTI_RUN_ID. TT_INVALID: there is none. */
tt_rc tt_ends_run(const tutti_host *t, int64_t *ret, tt_err *err) TT_MUST_CHECK;
/* A path below the roots, absolute; in the arena. */
tt_rc tt_ends_path(const char *path, tt_arena *arena, const char **ret, tt_err *err) TT_MUST_CHECK;

/* TT_NOT_FOUND, with the columns that there are. of: "the input". */
tt_rc tt_ends_no_column(const char *setting, tt_str name, const char *of, const tt_pq_field *fields, uint32_t count, tt_err *err) TT_MUST_CHECK;
/* The same failure, with the setting that it is of in front. */
tt_rc tt_ends_blame(const char *setting, tt_rc rc, const tt_err *why, tt_err *err) TT_MUST_CHECK;

/* All rows of an input, settled; setting: which one it is, for messages. */
tt_rc tt_ends_open_input(const tutti_host *t, const char *setting, const tt_frame_intake *intake, tt_frame **ret, tt_err *err) TT_MUST_CHECK;
/* How the settings say that text is to be read. Texts in the arena. */
tt_rc tt_ends_intake(const tutti_host *t, tt_arena *arena, tt_frame_intake *ret, tt_err *err) TT_MUST_CHECK;

/* An output. */
typedef struct tt_outlet tt_outlet;

typedef struct {
    const char *setting;       /* which says where: `output`, `rejects` */
    const tt_pq_field *fields; /* must stay */
    uint32_t field_count;
    bool has_partitions;       /* the setting `partitions` is of this one */
} tt_outlet_spec;

tt_rc tt_outlet_open(const tutti_host *t, const tt_outlet_spec *spec, tt_outlet **ret, tt_err *err) TT_MUST_CHECK;
tt_rc tt_outlet_put(tt_outlet *o, const tt_rows *rows, uint32_t r, tt_err *err) TT_MUST_CHECK;
uint64_t tt_outlet_rows(const tt_outlet *o); /* NULL: 0 */
/* From now on it is there. */
tt_rc tt_outlet_finish(tt_outlet *o, tt_err *err) TT_MUST_CHECK;
void tt_outlet_free(tt_outlet *o); /* what is not finished was never there */

#endif
