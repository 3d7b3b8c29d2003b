"""Owns the proof that what the guard writes is what Prometheus' own tools read: promtool parses the
file, and node_exporter's textfile collector serves it.

    proof.py FOLDER

FOLDER holds emr-etl-guard, standin-runner and emr-simulator; promtool and prometheus-node-exporter
are on PATH.
"""

import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from stage import ROOT, RECORDINGS, Cases, Stage, expect  # noqa: E402

ARGUMENTS = [
    "--",
    "run",
    "-c",
    str(RECORDINGS / "config.yml"),
    "-r",
    str(RECORDINGS / "resolver.json"),
]


def guard(
    programs: pathlib.Path,
    stage: Stage,
    folder: pathlib.Path,
    command: str,
    code: int,
    **settings: str,
) -> str:
    """Runs the guard, which must end with `code`, and returns the metrics file."""
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "AWS_SNOWPLOW_ACCESS_KEY": "AKIAFAKE",
        "AWS_SNOWPLOW_SECRET_KEY": "runner",
        "STANDIN_JOURNAL": str(folder / "journal"),
        **stage.settings(),
        **stage.prepare(0),
        "EMR_ETL_GUARD_RUNNER": str(programs / "standin-runner"),
        "EMR_ETL_GUARD_STATE_DIR": str(folder / "state"),
        "EMR_ETL_GUARD_SECURITY_CONFIGURATION": "acme-sc",
        "EMR_ETL_GUARD_METRICS_FILE": str(folder / "textfile" / "emr-etl-guard.prom"),
        "EMR_ETL_GUARD_METRICS_LABELS": 'pipeline=a "quoted" \\ name',
        **settings,
    }
    ended = subprocess.run(
        [programs / "emr-etl-guard", command, *ARGUMENTS],
        env=env,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    expect(ended.returncode, code, f"the exit code of {command}\n{ended.stdout}{ended.stderr}")
    return (folder / "textfile" / "emr-etl-guard.prom").read_text()


def promtool(text: str):
    """Parses and checks a file of metrics with promtool."""
    ended = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True
    )
    expect((ended.returncode, ended.stderr), (0, ""), f"what promtool says of\n{text}")


def served(folder: pathlib.Path) -> tuple[dict[str, float], float]:
    """Our samples from node_exporter, and whether it failed to read the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = [
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={folder}",
        f"--web.listen-address={address}",
    ]
    exporter = subprocess.Popen(
        ["prometheus-node-exporter", *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    answer = []
    try:

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as response:
                    answer.append(response.read().decode())
                return True
            except (urllib.error.URLError, ConnectionError):
                return False

        Stage.until(None, answers, "node_exporter answers")
    finally:
        exporter.terminate()
        exporter.wait()
    lines = [line for line in answer[-1].splitlines() if not line.startswith("#")]
    samples = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    return {
        name: value for name, value in samples.items() if name.startswith("emr_etl_guard_")
    }, samples["node_textfile_scrape_error"]


OF_A_SENTINEL = (
    ROOT / "src/report/metrics/snapshots" / "emr_etl_guard__report__metrics__sentinel__tests__"
    "the_endpoint_answers_in_the_form_of_openmetrics.snap"
)


def main() -> int:
    programs = pathlib.Path(sys.argv[1]).resolve()
    cases = Cases("prometheus")

    def file_is_read():
        with tempfile.TemporaryDirectory() as folder, Stage(programs) as stage:
            folder = pathlib.Path(folder)
            (folder / "textfile").mkdir()
            for command, code, settings in [
                ("run", 0, {}),
                ("check", 0, {}),
                ("run", 77, {"EMR_ETL_GUARD_ACCEPT_ENCRYPTION": "DSSE-KMS"}),
            ]:
                text = guard(programs, stage, folder, command, code, **settings)
                promtool(text)
            written = [line for line in text.splitlines() if not line.startswith("#")]
            # node_exporter runs as another user.
            expect(
                os.stat(folder / "textfile" / "emr-etl-guard.prom").st_mode & 0o777,
                0o644,
                "who may read the file",
            )
            samples, error = served(folder / "textfile")
            expect(error, 0.0, "whether node_exporter failed to read the file")
            expect(len(samples), len(written), f"how many samples node_exporter serves of\n{text}")
            code = {
                re.search('command="(.*?)"', name)[1]: value
                for name, value in samples.items()
                if name.startswith("emr_etl_guard_run_exit_code")
            }
            expect(code, {"run": 77.0, "check": 0.0}, "the exit codes")

    def a_broken_file_would_be_seen():
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "x.prom").write_text(
                'emr_etl_guard_run_exit_code{command="run} 0\n'
            )
            expect(
                served(pathlib.Path(folder))[1],
                1.0,
                "whether node_exporter fails to read a broken file",
            )

    def documented():
        """Every metric in a rule or the documentation exists."""
        with tempfile.TemporaryDirectory() as folder, Stage(programs) as stage:
            folder = pathlib.Path(folder)
            (folder / "textfile").mkdir()
            text = guard(programs, stage, folder, "run", 0)
        # A sentinel's are at its endpoint; a unit test holds this text against what it answers.
        text += OF_A_SENTINEL.read_text()
        there = set(re.findall(r"^(emr_etl_guard_\w+)[{ ]", text, re.MULTILINE))
        for file in [HERE / "emr-etl-guard.rules.yml", ROOT / "docs/alerts-and-metrics.md"]:
            named = set(re.findall(r"\bemr_etl_guard_\w+", file.read_text()))
            expect(named - there, set(), f"metrics that {file.name} names and that are not there")
        expect(
            there
            - set(
                re.findall(
                    r"\bemr_etl_guard_\w+", (ROOT / "docs/alerts-and-metrics.md").read_text()
                )
            ),
            set(),
            "metrics that the documentation does not name",
        )

    cases.case("promtool and node_exporter read what the guard writes", file_is_read)
    cases.case("a file that they could not read would be noticed here", a_broken_file_would_be_seen)
    cases.case("every metric is documented, and none that is not there", documented)
    return cases.finish()


if __name__ == "__main__":
    sys.exit(main())
