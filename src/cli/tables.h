/* The rows of the command table, a table for each area. To add a command: write `int fn(tt_cli *)` in the file of its noun, name
 * it in cmds.h, and add a row to the table of its area. Each table ends with an empty row. */
#ifndef TT_CLI_TABLES_H
#define TT_CLI_TABLES_H

#include "cli/command.h"

extern const tt_command tt_table_items[];    /* jobs */
extern const tt_command tt_table_work[];     /* programs, executions, queues, workers, schedules, secrets */
extern const tt_command tt_table_query[];    /* datasets, queries, Parquet files */
extern const tt_command tt_table_pipeline[]; /* the lake, pipelines, their configuration */
extern const tt_command tt_table_system[];   /* this machine, this program, its settings */

#endif
