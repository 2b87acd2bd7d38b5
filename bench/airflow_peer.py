"""Airflow beside a run of tutti: the same DAG of Python functions that do nothing, in groups with a spacer before each, run by Airflow's own `dag.test()`: in one process, one task after the
other, without scheduler, queue and workers, over SQLite. That is the least that Airflow does for a task; what an installation with a scheduler does comes on top of it. Prints the
seconds from the call to the end of the run, as JSON; starting Python, importing Airflow and making its tables are not in them.

    airflow_peer.py DIRECTORY GROUPS WIDTH
"""
import json
import os
import sys
import time
from datetime import datetime, timezone


def nothing():
    pass


def make_dag(groups, width):
    from airflow import DAG
    from airflow.operators.empty import EmptyOperator
    from airflow.operators.python import PythonOperator
    with DAG("wide", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, catchup=False) as dag:
        before = []
        for group in range(groups):
            tasks = [PythonOperator(task_id=f"t{group}-{number}", python_callable=nothing) for number in range(width)]
            before >> EmptyOperator(task_id=f"spacer{group}") >> tasks
            before = tasks
    return dag


def main():
    directory, groups, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.environ.update(AIRFLOW_HOME=directory, AIRFLOW__CORE__LOAD_EXAMPLES="False", AIRFLOW__CORE__DAGS_FOLDER=os.path.join(directory, "dags"), AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR",
                      AIRFLOW__CORE__UNIT_TEST_MODE="False")
    from airflow import __version__
    from airflow.utils.db import initdb
    initdb()
    dag = make_dag(groups, width)
    begun = time.monotonic()
    run = dag.test(execution_date=datetime(2026, 1, 2, tzinfo=timezone.utc))
    seconds = time.monotonic() - begun
    states = [one.state for one in run.get_task_instances()]
    if states.count("success") != groups * (width + 1):
        sys.exit(f"airflow_peer.py: {states.count('success')} of {groups * (width + 1)} tasks succeeded")
    print(json.dumps({"seconds": seconds, "version": __version__}))


if __name__ == "__main__":
    main()
