"""Owns the nightly Snowplow batch run in a pod that Airflow starts. Instead of the CronJob of
integration/kubernetes, never beside it.

The pod's service account, ConfigMaps, claim and network policy are those of
integration/kubernetes/emr-etl-guard.yml: apply them without the CronJob.
"""

from __future__ import annotations

import datetime
import pathlib

from airflow.sdk import DAG

from emr_etl_guard_outcomes import GuardPodOperator, TellAPerson

with DAG(
    dag_id="snowplow_batch_kubernetes",
    schedule="0 4 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    catchup=False,
    max_active_runs=1,
    tags=["snowplow"],
):
    GuardPodOperator(
        task_id="run",
        name="emr-etl-guard",
        namespace="snowplow",
        pod_template_file=str(pathlib.Path(__file__).with_name("pod_template.yml")),
        base_container_name="emr-etl-guard",
        # The operator's default, `File`, would override the template's value, and the paragraph
        # with the reason would be lost.
        termination_message_policy="FallbackToLogsOnError",
        # Set again for the deletion of the pod when the task is killed: otherwise the operator
        # would use the API's default.
        termination_grace_period=60,
        # The first start of a claim on a new node is slow.
        startup_timeout_seconds=600,
        do_xcom_push=False,
        retries=3,
        retry_delay=datetime.timedelta(minutes=10),
        retry_exponential_backoff=True,
        execution_timeout=datetime.timedelta(hours=23),
        on_failure_callback=TellAPerson(
            to="data-oncall@acme.example", from_email="airflow@acme.example"
        ),
    )
