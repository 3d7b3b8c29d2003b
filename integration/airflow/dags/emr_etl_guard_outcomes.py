"""Owns what Airflow makes of the guard's exit codes: success, skip, try again, or fail for good and
tell a person.

For Airflow 3 (tested on the version in requirements.txt). It lies beside the DAGs, in the DAGs
folder, which Airflow puts on `sys.path`.

Airflow by itself knows 0, `skip_on_exit_code`, and one kind of failure that it retries as often as
`retries` says. For the guard that would be wrong: a refusal (77) is a decision that the next try
repeats, and 71 means that a person must act now, not after three more tries. So a code that a retry
cannot fix becomes an `AirflowFailException`, which Airflow never retries.
"""

from __future__ import annotations

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

# "No data": a quiet night, not a failure.
NO_DATA = 3

# AWS could not be reached: the only code of the guard's own that may go away with time.
FACTS_UNKNOWN = 69

# The first words for a person. A code that is not here is shown as its number.
MEANINGS = {
    1: "EmrEtlRunner failed; its log says where",
    4: "an earlier run is unfinished: its files are in the way",
    17: "another run holds the lock",
    18: "the persistent cluster is busy",
    64: "the guard's settings are wrong",
    65: "the runner's config or arguments are not acceptable",
    70: "a bug in the guard",
    71: "AN UNSAFE CLUSTER MAY STILL BE RUNNING: a person must act now",
    74: "the run ended, but its document could not be delivered everywhere, or not be signed",
    75: "the run ended, but encryption could not be confirmed",
    76: "an unsafe cluster was found and terminated",
    77: "refused: a required check failed",
    126: "the runner cannot be executed",
    127: "the runner was not found",
}


class GuardFailure(AirflowFailException):
    """A failure that another try would only repeat."""

    def __init__(self, code: int):
        self.code = code
        super().__init__(
            f"emr-etl-guard ended with {code}: {MEANINGS.get(code, 'a code of the runner that is not known here')}"
        )


def is_worth_another_try(code: int | None) -> bool:
    """Whether Airflow's own retries may go on.

    Signals (above 128; below 0 where Python saw the process itself die) are tried again because the
    guard's next start closes the run that was cut off, and the sooner the better. No code at all
    means that the guard never ran, or that nobody knows: the next start finds out.
    """
    return code is None or code < 0 or code > 128 or code == FACTS_UNKNOWN


class GuardBashOperator(BashOperator):
    """A BashOperator with the guard's exit codes. Begin its command with `exec`: then the guard,
    and not a shell, gets the signal when the task is killed.
    """

    def __init__(self, **kwargs):
        super().__init__(skip_on_exit_code=NO_DATA, **kwargs)

    def execute(self, context):
        try:
            return super().execute(context)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            process = self.subprocess_hook.sub_process
            code = process.returncode if process else None
            if is_worth_another_try(code):
                raise
            raise GuardFailure(code) from error


try:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
except ImportError:
    # A site without Kubernetes does not need the other operator.
    pass
else:

    class GuardPodOperator(KubernetesPodOperator):
        """A KubernetesPodOperator with the guard's exit codes."""

        def __init__(self, **kwargs):
            super().__init__(skip_on_exit_code=NO_DATA, **kwargs)

        def cleanup(self, pod, remote_pod, *args, **kwargs):
            try:
                super().cleanup(pod, remote_pod, *args, **kwargs)
            except AirflowSkipException:
                raise
            except AirflowException as error:
                code = self.exit_code(remote_pod)
                if is_worth_another_try(code):
                    raise
                raise GuardFailure(code) from error

        def exit_code(self, remote_pod) -> int | None:
            """The exit code of the guard's container; none if it did not end, or did not start."""
            for status in (remote_pod.status and remote_pod.status.container_statuses) or []:
                if (
                    status.name == self.base_container_name
                    and status.state
                    and status.state.terminated
                ):
                    return status.state.terminated.exit_code
            return None


class TellAPerson(SmtpNotifier):
    """The mail about a task that failed for good (`on_failure_callback`; Airflow does not call it
    for a try that it will repeat). Sent over `smtp_default`.

    71 is told apart in the subject and by `X-Priority`, so that a mail rule can page somebody.
    """

    def notify(self, context):
        error = context.get("exception")
        urgent = getattr(error, "code", None) == 71
        self.subject = f"{'ACT NOW: ' if urgent else ''}{context['ti'].dag_id}: {str(error).splitlines()[0] if error else 'failed'}"
        self.custom_headers = {"X-Priority": "1"} if urgent else {}
        self.html_content = (
            f"<p>{error}</p><p><a href='{context['ti'].log_url}'>The log</a> says more.</p>"
        )
        super().notify(context)
