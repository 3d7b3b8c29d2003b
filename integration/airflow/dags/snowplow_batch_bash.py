"""Owns the nightly Snowplow batch run on an Airflow worker that has the guard and the runner
installed.

Airflow Connection `snowplow_runner`: login is the runner's access key id, password its secret
(Airflow masks it in logs). The guard's own AWS credentials are the worker's: an instance or pod
role. The guard's settings are in /etc/emr-etl-guard/guard.yml on the worker, its journal in
/var/lib/emr-etl-guard: on a disk that outlives the worker, and the same one for the next try (a
queue of its own, or one worker).
"""

from __future__ import annotations

import datetime

from airflow.sdk import DAG

from emr_etl_guard_outcomes import GuardBashOperator, TellAPerson

with DAG(
    dag_id="snowplow_batch_bash",
    schedule="0 4 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    # Batch runs process everything in raw.in: a run for an earlier night would find nothing.
    catchup=False,
    # A second concurrent run would end with 4 or 17.
    max_active_runs=1,
    tags=["snowplow"],
):
    GuardBashOperator(
        task_id="run",
        # `exec`: no shell is between Airflow's SIGTERM and the guard.
        bash_command="exec emr-etl-guard run -- run -c /etc/snowplow/config.yml -r /etc/snowplow/resolver.json",
        env={
            "AWS_SNOWPLOW_ACCESS_KEY": "{{ conn.snowplow_runner.login }}",
            "AWS_SNOWPLOW_SECRET_KEY": "{{ conn.snowplow_runner.password }}",
            # By itself a user other than root has it below HOME, which a worker in a pod loses.
            "EMR_ETL_GUARD_STATE_DIR": "/var/lib/emr-etl-guard",
        },
        # PATH, HOME and the worker's AWS credentials.
        append_env=True,
        do_xcom_push=False,
        # Only for 69 and for signals; see emr_etl_guard_outcomes.
        retries=3,
        retry_delay=datetime.timedelta(minutes=10),
        retry_exponential_backoff=True,
        # Less than a day, so that a run that hangs does not block the next one. The guard gets
        # SIGTERM then.
        execution_timeout=datetime.timedelta(hours=23),
        on_failure_callback=TellAPerson(
            to="data-oncall@acme.example", from_email="airflow@acme.example"
        ),
    )
