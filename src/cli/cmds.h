/* The commands of this room, for the tables of tables.h. Each is `int fn(tt_cli *)`: prints its result, returns the exit code. */
#ifndef TT_CLI_CMDS_H
#define TT_CLI_CMDS_H

#include "cli/command.h"

int tt_cmd_completion(tt_cli *cli); /* completion.c */
int tt_cmd_man(tt_cli *cli);        /* man.c */

int tt_cmd_query(tt_cli *cli);      /* cmd_query.c */
int tt_cmd_job_list(tt_cli *cli);
int tt_cmd_job_adopt(tt_cli *cli);  /* cmd_job_adopt.c */
/* The table of sinks, for help. */
void tt_cmd_list_sinks(void (*row)(void *arg, const char *head, const char *text), void *arg);   /* cmd_job.c */
int tt_cmd_job_redo(tt_cli *cli);
int tt_cmd_job_pause(tt_cli *cli);
int tt_cmd_job_resume(tt_cli *cli);   /* cmd_job.c */
int tt_cmd_job_show(tt_cli *cli);
int tt_cmd_job_report(tt_cli *cli);
int tt_cmd_job_errors(tt_cli *cli);
int tt_cmd_job_retry(tt_cli *cli);
int tt_cmd_job_clean(tt_cli *cli);
int tt_cmd_job_delete(tt_cli *cli);
int tt_cmd_job_start(tt_cli *cli);  /* cmd_job_start.c */
int tt_cmd_job_watch(tt_cli *cli);  /* cmd_job_watch.c */
int tt_cmd_job_pull(tt_cli *cli);   /* cmd_job_pull.c */
int tt_cmd_job_push(tt_cli *cli);   /* cmd_job_push.c */

int tt_cmd_program_list(tt_cli *cli);  /* cmd_program.c */
int tt_cmd_program_show(tt_cli *cli);
int tt_cmd_program_check(tt_cli *cli);
int tt_cmd_program_new(tt_cli *cli);
int tt_cmd_run(tt_cli *cli);           /* cmd_run.c */

int tt_cmd_config_show(tt_cli *cli); /* cmd_config.c */
int tt_cmd_config_docs(tt_cli *cli);
int tt_cmd_doctor(tt_cli *cli);      /* cmd_doctor.c */
int tt_cmd_version(tt_cli *cli);     /* cmd_version.c */
int tt_cmd_schedule_list(tt_cli *cli); /* cmd_schedule.c */
int tt_cmd_schedule_add(tt_cli *cli);
int tt_cmd_schedule_show(tt_cli *cli);
int tt_cmd_schedule_pause(tt_cli *cli);
int tt_cmd_schedule_resume(tt_cli *cli);
int tt_cmd_schedule_run(tt_cli *cli);
int tt_cmd_schedule_remove(tt_cli *cli);
int tt_cmd_schedule_explain(tt_cli *cli);
int tt_cmd_pipeline_show(tt_cli *cli); /* cmd_pipeline.c */
int tt_cmd_pipeline_run(tt_cli *cli);  /* cmd_pipeline_run.c */
int tt_cmd_pipeline_watch(tt_cli *cli);
int tt_cmd_pipeline_runs(tt_cli *cli);
int tt_cmd_pipeline_tasks(tt_cli *cli);
int tt_cmd_pipeline_logs(tt_cli *cli);
int tt_cmd_pipeline_cancel(tt_cli *cli);
int tt_cmd_pipeline_retry(tt_cli *cli);
int tt_cmd_pipeline_skip(tt_cli *cli);
int tt_cmd_pipeline_pause(tt_cli *cli);
int tt_cmd_pipeline_resume(tt_cli *cli);
int tt_cmd_pipeline_drain(tt_cli *cli);
int tt_cmd_pipeline_backfill(tt_cli *cli);
int tt_cmd_pipeline_try(tt_cli *cli);  /* cmd_pipeline_try.c */
int tt_cmd_worker_run(tt_cli *cli);
int tt_cmd_worker_drain(tt_cli *cli);
int tt_cmd_worker_resume(tt_cli *cli);
int tt_cmd_pipeline_schedule(tt_cli *cli);
int tt_cmd_pipeline_list(tt_cli *cli); /* cmd_pipeline_files.c */
int tt_cmd_pipeline_export(tt_cli *cli);
int tt_cmd_pipeline_apply(tt_cli *cli);
int tt_cmd_pipeline_diff(tt_cli *cli);
int tt_cmd_pipeline_delete(tt_cli *cli);
int tt_cmd_pipeline_import(tt_cli *cli);
int tt_cmd_administrator_list(tt_cli *cli); /* cmd_administrator.c */
int tt_cmd_administrator_add(tt_cli *cli);
int tt_cmd_administrator_remove(tt_cli *cli);
int tt_cmd_db_check(tt_cli *cli);
int tt_cmd_db_revision(tt_cli *cli);
int tt_cmd_db_create(tt_cli *cli);    /* cmd_db.c */
int tt_cmd_db_upgrade(tt_cli *cli);
int tt_cmd_db_downgrade(tt_cli *cli);
int tt_cmd_db_current(tt_cli *cli);
int tt_cmd_db_history(tt_cli *cli);
int tt_cmd_db_demo(tt_cli *cli);
int tt_cmd_secret_set(tt_cli *cli);   /* cmd_secret.c */
int tt_cmd_secret_get(tt_cli *cli);
int tt_cmd_secret_list(tt_cli *cli);
int tt_cmd_secret_remove(tt_cli *cli);
int tt_cmd_secret_rotate(tt_cli *cli);
int tt_cmd_dataset_register(tt_cli *cli); /* cmd_dataset.c */
int tt_cmd_dataset_list(tt_cli *cli);
int tt_cmd_dataset_show(tt_cli *cli);
int tt_cmd_dataset_parts(tt_cli *cli);
int tt_cmd_dataset_check(tt_cli *cli);
int tt_cmd_dataset_prepare(tt_cli *cli);
int tt_cmd_dataset_unregister(tt_cli *cli);
int tt_cmd_dataset_repartition(tt_cli *cli); /* cmd_dataset_repartition.c */
int tt_cmd_parquet_schema(tt_cli *cli); /* cmd_parquet.c */
int tt_cmd_parquet_stat(tt_cli *cli);
int tt_cmd_parquet_head(tt_cli *cli);
int tt_cmd_parquet_cat(tt_cli *cli);
int tt_cmd_parquet_prepare(tt_cli *cli); /* cmd_parquet_prepare.c */
int tt_cmd_parquet_convert(tt_cli *cli); /* cmd_parquet_convert.c */
int tt_cmd_lake_publish(tt_cli *cli); /* cmd_lake.c */
int tt_cmd_lake_fetch(tt_cli *cli);
int tt_cmd_lake_ls(tt_cli *cli);      /* cmd_lake_ls.c */
int tt_cmd_lake_show(tt_cli *cli);
int tt_cmd_lake_values(tt_cli *cli);
int tt_cmd_lake_diff(tt_cli *cli);    /* cmd_lake_diff.c */
int tt_cmd_worker_list(tt_cli *cli); /* cmd_worker.c */
int tt_cmd_worker_show(tt_cli *cli);
int tt_cmd_execution_list(tt_cli *cli); /* cmd_execution.c */
int tt_cmd_execution_show(tt_cli *cli);
int tt_cmd_execution_cancel(tt_cli *cli);
int tt_cmd_execution_retry(tt_cli *cli);
int tt_cmd_execution_delete(tt_cli *cli);
int tt_cmd_queue_list(tt_cli *cli);
int tt_cmd_queue_limits(tt_cli *cli);
int tt_cmd_queue_limit(tt_cli *cli);
int tt_cmd_execution_log(tt_cli *cli);  /* cmd_execution_follow.c */
int tt_cmd_execution_watch(tt_cli *cli);

#endif
