"""Owns the proof that a real Airflow parses the DAGs and makes of each exit code of the guard what
it should.

    proof.py FOLDER

FOLDER holds the built emr-etl-guard, standin-runner and emr-simulator; /etc/snowplow and
/etc/emr-etl-guard are empty and can be written to.

Airflow runs the DAGs as they are shipped, by `dag.test()`: its own scheduling loop, task runner,
callbacks and a metadata database in a temporary folder; only the delay before a retry is made
short. The Bash DAG runs the real guard against the simulated AWS, the stand-in as its runner. So
does the Kubernetes DAG: the pod that its operator asks for is run as a container (see `stage.py`),
and the operator is told the exit code, in place of a cluster. Mail goes to a server in this
process.
"""

import contextlib
import datetime
import json
import os
import pathlib
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import unittest.mock

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "dags")]
from stage import Cases, Codes, Stage, expect, pod_container  # noqa: E402

SECRET = "secretOfTheRunnerQ7v2Zk9XbL4mT8wRsY1pN6cF3hJ5d"


class MailServer(socketserver.ThreadingTCPServer):
    """Receives mail over plain SMTP and stores it."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), MailConnection)
        self.mails: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class MailConnection(socketserver.StreamRequestHandler):
    """One of its connections."""

    def handle(self):
        self.say("220 stage")
        for line in iter(self.rfile.readline, b""):
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                self.say("354 go on")
                text = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.mails.append(text.decode(errors="replace"))
                self.say("250 kept")
            elif word == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def say(self, line: str):
        self.wfile.write(f"{line}\r\n".encode())


def subject(mail: str) -> str:
    """A mail's subject, unfolded."""
    head = mail.replace("\r\n", "\n").partition("\n\n")[0].replace("\n ", " ")
    [found] = [
        line.removeprefix("Subject: ") for line in head.splitlines() if line.startswith("Subject: ")
    ]
    return found


class Airflow:
    """Airflow with a home of its own, set up before it is imported, because it reads its settings
    then.
    """

    def __init__(self, home: pathlib.Path, stage: Stage, mail: MailServer):
        self.home, self.stage, self.mail = home, stage, mail
        self.log = home / "log"
        self.runs = 0
        for name in [
            name
            for name in os.environ
            if name.startswith(("AIRFLOW", "AWS_", "EMR_ETL_GUARD_", "STANDIN_", "XDG_"))
        ]:
            del os.environ[name]
        os.environ |= {
            # The guard's cache between runs is the worker's own, and deleted afterwards.
            "HOME": str(home),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW_CONN_SNOWPLOW_RUNNER": json.dumps(
                {"conn_type": "aws", "login": "AKIAFAKE", "password": SECRET}
            ),
            "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(
                {
                    "conn_type": "smtp",
                    "host": "127.0.0.1",
                    "port": mail.server_address[1],
                    "extra": json.dumps(
                        {
                            "disable_ssl": True,
                            "disable_tls": True,
                            "from_email": "airflow@acme.example",
                        }
                    ),
                }
            ),
            "PATH": f"{home}/bin:{pathlib.Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # As on a real worker: guard and runner on PATH, their files in /etc.
        (home / "bin").mkdir()
        for program, name in (
            ("emr-etl-guard", "emr-etl-guard"),
            ("standin-runner", "snowplow-emr-etl-runner"),
        ):
            (home / "bin" / name).symlink_to(stage.programs / program)
        for name in ("config.yml", "resolver.json"):
            shutil.copy(stage.folder / name, f"/etc/snowplow/{name}")
        pathlib.Path("/etc/emr-etl-guard/guard.yml").write_text("stop_timeout: 3s\n")
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            capture_output=True,
            text=True,
            check=False,
        )
        expect(done.returncode, 0, f"exit code of `airflow db migrate`\n{done.stdout}{done.stderr}")

    def import_dags(self):
        """Parses the folder as the DAG processor does."""
        with self.quiet():
            from airflow.dag_processing.dagbag import DagBag

            bag = DagBag(str(HERE / "dags"))
        expect(bag.import_errors, {}, "import errors")
        return bag.dags

    @contextlib.contextmanager
    def quiet(self):
        """The output of Airflow and its children goes to a file meanwhile."""
        sys.stdout.flush()
        kept = os.dup(1), os.dup(2)
        with self.log.open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            try:
                yield
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os.dup2(kept[0], 1)
                os.dup2(kept[1], 2)
                os.close(kept[0])
                os.close(kept[1])

    def test(self, dag, env: dict[str, str]) -> tuple[str, int]:
        """Runs a DAG to its end; returns the state of its task and the number of its tries."""
        self.runs += 1
        self.mail.mails.clear()
        [task] = dag.tasks
        # The shipped value is ten minutes.
        task.retry_delay, task.retry_exponential_backoff = datetime.timedelta(0), 0
        when = datetime.datetime(2026, 2, 1, 4, tzinfo=datetime.timezone.utc) + datetime.timedelta(
            days=self.runs
        )
        with unittest.mock.patch.dict(os.environ, self.stage.settings() | env), self.quiet():
            run = dag.test(logical_date=when)
            found = run.get_task_instance("run")
        return str(found.state), found.try_number

    def printed(self) -> str:
        """Airflow's last output."""
        return self.log.read_text(errors="replace")


def the_dags_parse_and_are_what_they_should_be(airflow: Airflow, dags: dict):
    expect(sorted(dags), ["snowplow_batch_bash", "snowplow_batch_kubernetes"], "DAGs")
    for dag in dags.values():
        [task] = dag.tasks
        expect(
            (dag.max_active_runs, dag.catchup, task.retries),
            (1, False, 3),
            "concurrency, catch-up and retries",
        )
        expect(task.retry_delay, datetime.timedelta(minutes=10), "the delay before a retry")
        expect(
            task.execution_timeout < datetime.timedelta(days=1),
            True,
            "whether a run that hangs ends before the next is due",
        )
        expect(
            list(task.skip_on_exit_code)
            if not isinstance(task.skip_on_exit_code, int)
            else [task.skip_on_exit_code],
            [3],
            "codes that skip",
        )


def every_exit_code_of_the_guards_help_is_known(codes: Codes):
    from emr_etl_guard_outcomes import MEANINGS, NO_DATA, is_worth_another_try

    saw = {
        code: "again" if is_worth_another_try(code) else "fail"
        for code in codes.all
        if code not in (0, NO_DATA)
    }
    expect(
        saw,
        {
            code: "again" if code == 69 or code in codes.signals else "fail"
            for code in codes.all
            if code not in (0, 3)
        },
        "codes",
    )
    expect(
        set(MEANINGS),
        {code for code, fate in saw.items() if fate == "fail"},
        "codes with a meaning",
    )


def ends(airflow: Airflow, dag, code: int, state: str, tries: int, mail: str | None):
    saw = airflow.test(dag, airflow.stage.prepare(code))
    expect(saw, (state, tries), f"state and tries\n{airflow.printed()}")
    subjects = [subject(mail) for mail in airflow.mail.mails]
    expect(subjects, [mail] if mail else [], f"subjects of the mails\n{airflow.printed()}")
    urgent = ["X-Priority: 1" in mail for mail in airflow.mail.mails]
    expect(urgent, [code == 71] if mail else [], "which mails are urgent")
    expect(SECRET in airflow.printed(), False, "whether the runner's secret is in the log")


def a_try_that_could_not_ask_aws_is_repeated_and_may_succeed(airflow: Airflow, dag):
    airflow.stage.world()
    # All calls of the first try, and none of the second.
    fault = {
        "command": "add_fault",
        "operation": "DescribeSecurityConfiguration",
        "kind": "access_denied",
        "calls": {"range": {"from": 1, "to": 1}},
    }
    airflow.stage.control(fault)
    expect(airflow.test(dag, {}), ("success", 2), f"state and tries\n{airflow.printed()}")
    expect(
        "ended with 69" in airflow.printed() or "code 69" in airflow.printed(),
        True,
        f"whether the first try ended with 69\n{airflow.printed()}",
    )
    expect(airflow.mail.mails, [], "mails")


def a_killed_task_stops_the_guard_and_through_it_the_runner(airflow: Airflow, dag):
    # A process of its own, because the signal goes to the whole process.
    journal = airflow.home / "journal"
    env = (
        os.environ
        | airflow.stage.settings()
        | airflow.stage.prepare(143)
        | {"STANDIN_JOURNAL": str(journal)}
    )
    command = [
        sys.executable,
        "-m",
        "airflow",
        "dags",
        "test",
        dag.dag_id,
        "2026-07-01T04:00:00+00:00",
    ]
    with airflow.log.open("wb") as log:
        process = subprocess.Popen(
            command, env=env, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    try:
        airflow.stage.until(
            lambda: process.poll() is not None or airflow.stage.requests("RunJobFlow"),
            f"a cluster is launched\n{airflow.printed()}",
        )
        process.send_signal(signal.SIGTERM)
        ended = "Command exited with return code 143"
        airflow.stage.until(
            lambda: ended in airflow.printed(), f"the guard ends with 143\n{airflow.printed()}"
        )
        events = [json.loads(line) for line in journal.read_text().splitlines()]
        signals = [
            event.get("signal") or event.get("name")
            for event in events
            if event["event"] == "signal"
        ]
        expect(len(signals), 1, f"signals that the runner got\n{events}")
        airflow.stage.until(
            lambda: "UP_FOR_RETRY" in airflow.printed() or "up_for_retry" in airflow.printed(),
            f"another try is planned\n{airflow.printed()}",
        )
    finally:
        process.kill()
        process.wait()


class Cluster:
    """Replaces a Kubernetes cluster: runs the pod of the operator, and returns its exit code."""

    def __init__(self, stage: Stage, code: int):
        from kubernetes import client

        self.stage, self.code, self.client = stage, code, client
        self.asked: list[dict] = []
        documents = HERE.parent / "kubernetes"
        self.documents = [
            *yaml.safe_load_all((documents / "emr-etl-guard.yml").read_text()),
            yaml.safe_load((documents / "secret.example.yml").read_text()),
        ]

    def create(self, _operator, pod_request_obj, context):
        asked = self.client.ApiClient().sanitize_for_serialization(pod_request_obj)
        self.asked.append(asked)
        ended = self.stage.play(pod_container(asked["spec"], self.documents, self.stage), self.code)
        print(ended.output)
        terminated = self.client.V1ContainerStateTerminated(exit_code=ended.code)
        status = self.client.V1ContainerStatus(
            name="emr-etl-guard",
            image="",
            image_id="",
            ready=False,
            restart_count=0,
            state=self.client.V1ContainerState(terminated=terminated),
        )
        pod_request_obj.status = self.client.V1PodStatus(
            phase="Failed" if ended.code else "Succeeded", container_statuses=[status]
        )
        self.pod = pod_request_obj
        return self.pod

    @contextlib.contextmanager
    def at_work(self):
        """The time in which the operator uses this cluster."""
        from emr_etl_guard_outcomes import GuardPodOperator as operator

        manager = unittest.mock.MagicMock(await_pod_completion=lambda *_: self.pod)
        hook = unittest.mock.MagicMock(is_in_cluster=False)
        with contextlib.ExitStack() as patches:
            patch = unittest.mock.patch.object
            patches.enter_context(
                patch(operator, "get_or_create_pod", autospec=True, side_effect=self.create)
            )
            patches.enter_context(patch(operator, "find_pod", lambda *_, **__: self.pod))
            for name in (
                "await_pod_start",
                "await_init_containers_completion",
                "await_pod_completion",
                "process_pod_deletion",
                "patch_already_checked",
            ):
                patches.enter_context(patch(operator, name, lambda *_, **__: None))
            patches.enter_context(patch(operator, "pod_manager", manager))
            patches.enter_context(patch(operator, "hook", hook))
            patches.enter_context(patch(operator, "client", unittest.mock.MagicMock()))
            yield self


def ends_in_a_pod(airflow: Airflow, dag, code: int, state: str, tries: int, mail: str | None):
    with Cluster(airflow.stage, code).at_work():
        ends(airflow, dag, code, state, tries, mail)


def the_pod_that_is_asked_for_is_the_cronjobs(airflow: Airflow, dag):
    with Cluster(airflow.stage, 0).at_work() as cluster:
        ends(airflow, dag, 0, "success", 1, None)
    [pod] = cluster.asked
    [cron] = [document for document in cluster.documents if document["kind"] == "CronJob"]
    template = cron["spec"]["jobTemplate"]["spec"]["template"]
    # Here Airflow handles 3, and the guard is process 1.
    template["spec"]["containers"][0]["command"] = ["emr-etl-guard"]
    # Without the fields that the operator adds by itself, and empty ones.
    spec = {
        key: value
        for key, value in pod["spec"].items()
        if value not in ([], {}, False) or key in template["spec"]
    }
    [container] = spec["containers"]
    spec["containers"] = [
        {key: value for key, value in container.items() if value not in ([], {}, None)}
    ]
    expect(spec, template["spec"], "the pod's spec")
    expect(
        template["metadata"]["labels"].items() <= pod["metadata"]["labels"].items(),
        True,
        "the label that the network policy goes by",
    )
    expect(pod["metadata"]["annotations"], template["metadata"]["annotations"], "annotations")
    expect(pod["metadata"]["namespace"], "snowplow", "namespace")


def main(programs: pathlib.Path) -> int:
    cases, codes = Cases("airflow"), Codes(programs)
    with tempfile.TemporaryDirectory() as home, MailServer() as mail, Stage(programs) as stage:
        airflow = Airflow(pathlib.Path(home), stage, mail)
        # The default folder, which is empty here and deleted afterwards.
        stage.states.append(pathlib.Path("/var/lib/emr-etl-guard"))
        import airflow as package

        version = package.__version__
        dags = airflow.import_dags()
        bash, kubernetes = dags["snowplow_batch_bash"], dags["snowplow_batch_kubernetes"]
        cases.case(
            f"Airflow {version} parses both DAGs without an error",
            the_dags_parse_and_are_what_they_should_be,
            airflow,
            dags,
        )
        cases.case(
            "every exit code of the guard's own help is known",
            every_exit_code_of_the_guards_help_is_known,
            codes,
        )
        story = "snowplow_batch_{}: emr-etl-guard ended with {}: {}"
        rows = [
            (0, "success", 1, None, "a good run: success"),
            (3, "skipped", 1, None, "a night without data: skipped, and no mail"),
            (
                77,
                "failed",
                1,
                "refused: a required check failed",
                "a refusal: failed at once, never retried, one mail",
            ),
            (
                76,
                "failed",
                1,
                "an unsafe cluster was found and terminated",
                "an unsafe cluster that was ended: failed at once",
            ),
            (
                71,
                "failed",
                1,
                "AN UNSAFE CLUSTER MAY STILL BE RUNNING: a person must act now",
                "an unsafe cluster that may be alive: failed at once, the mail is urgent",
            ),
        ]
        more = [
            (
                4,
                "failed",
                1,
                "an earlier run is unfinished: its files are in the way",
                "the runner's own 4: failed at once",
            ),
            (
                75,
                "failed",
                1,
                "the run ended, but encryption could not be confirmed",
                "a run that could not be confirmed: failed at once",
            ),
            (
                127,
                "failed",
                1,
                "the runner was not found",
                "a runner that is not there: failed at once",
            ),
        ]
        for name, dag, proof, table in (
            ("bash", bash, ends, rows + more),
            ("kubernetes", kubernetes, ends_in_a_pod, rows),
        ):
            for code, state, tries, meaning, sentence in table:
                told = meaning and ("ACT NOW: " if code == 71 else "") + story.format(
                    name, code, meaning
                )
                cases.case(f"{name}: {sentence}", proof, airflow, dag, code, state, tries, told)
        tired = "snowplow_batch_bash: Bash command failed. The command returned a non-zero exit code 69."
        cases.case(
            "bash: AWS cannot be asked: three retries, then failed, one mail",
            ends,
            airflow,
            bash,
            69,
            "failed",
            4,
            tired,
        )
        cases.case(
            "bash: AWS can be asked again: the second try succeeds, and no mail",
            a_try_that_could_not_ask_aws_is_repeated_and_may_succeed,
            airflow,
            bash,
        )
        cases.case(
            "bash: a killed task stops the guard and the runner, once, and is tried again",
            a_killed_task_stops_the_guard_and_through_it_the_runner,
            airflow,
            bash,
        )
        cases.case(
            "kubernetes: the pod that is asked for is the CronJob's",
            the_pod_that_is_asked_for_is_the_cronjobs,
            airflow,
            kubernetes,
        )
    return cases.finish()


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
