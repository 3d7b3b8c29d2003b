"""Owns the proof of what supervisord makes of the guard's exit codes, with the section that is
shipped and with its own defaults.

    proof.py FOLDER

FOLDER holds emr-etl-guard, standin-runner and emr-simulator; the files that the section names are
there or can be written to.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from stage import Cases, Stage, expect  # noqa: E402

NAME = "emr-etl-guard"
# The same command, as the same user, with all other settings at their defaults. The default
# startsecs would count the stage's quick refusals as failed starts; a real refusal, after the AWS
# calls, takes longer.
DEFAULTS = '[program:defaults]\nenvironment=HOME="/tmp"\ncommand=emr-etl-guard run -- run -c /etc/snowplow/config.yml -r /etc/snowplow/resolver.json\nuser=snowplow\nautostart=false\nstartsecs=0\n'


class Supervisord:
    """A supervisord with both sections. Use it in a `with`."""

    def __init__(self, stage: Stage, code: int, home: pathlib.Path):
        (home / "defaults.conf").write_text(DEFAULTS)
        conf = home / "supervisord.conf"
        conf.write_text(
            f"[unix_http_server]\nfile={home}/socket\n"
            f"[supervisord]\nnodaemon=true\nuser=root\nlogfile={home}/log\npidfile={home}/pid\nchildlogdir={home}\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{home}/socket\n"
            f"[include]\nfiles={HERE}/emr-etl-guard.conf {home}/defaults.conf\n"
        )
        self.home, self.conf, self.stage = home, conf, stage
        bin_folder = pathlib.Path(sys.executable).parent
        self.ctl = [bin_folder / "supervisorctl", "-c", conf]
        env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            # supervisord's own, which every program gets, whatever its `user` is.
            "HOME": "/root",
            "AWS_SNOWPLOW_ACCESS_KEY": "AKIAFAKE",
            "AWS_SNOWPLOW_SECRET_KEY": "runner",
            "STANDIN_JOURNAL": str(home / "journal"),
            **stage.settings(),
            **stage.prepare(code),
        }
        # For both users.
        home.chmod(0o777)
        self.process = subprocess.Popen(
            [bin_folder / "supervisord", "-c", conf],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stage.until(
            lambda: self.process.poll() is not None or (home / "socket").exists(),
            "supervisord starts",
        )
        expect(self.process.poll(), None, f"whether supervisord runs\n{self.log()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def control(self, *words: str) -> str:
        return subprocess.run(
            [*self.ctl, *words], capture_output=True, text=True, check=False
        ).stdout

    def log(self) -> str:
        file = self.home / "log"
        return file.read_text() if file.exists() else ""

    def starts(self, name: str) -> int:
        return len(re.findall(f"spawned: '{name}'", self.log()))

    def ends(self, name: str) -> list[str]:
        """As supervisord reports them: `exit status 77; not expected`."""
        return re.findall(rf"exited: {name} \((.*)\)", self.log())


def play(stage: Stage, code: int, proof):
    with (
        tempfile.TemporaryDirectory() as home,
        Supervisord(stage, code, pathlib.Path(home)) as supervisord,
    ):
        proof(supervisord)


def a_refusal_is_not_repeated(stage: Stage):
    def proof(supervisord: Supervisord):
        supervisord.control("start", NAME)
        stage.until(lambda: supervisord.ends(NAME), f"it ends\n{supervisord.log()}")
        # Long enough that supervisord would have restarted it several times.
        supervisord.control("start", "defaults")
        stage.until(lambda: supervisord.starts("defaults") >= 6, "the defaults start it anew")
        expect(
            (supervisord.starts(NAME), supervisord.ends(NAME)),
            (1, ["exit status 77; not expected"]),
            f"starts and ends\n{supervisord.log()}",
        )
        expect("EXITED" in supervisord.control("status", NAME), True, "state")
        expect(
            set(supervisord.ends("defaults")),
            {"exit status 77; not expected"},
            "ends with the defaults",
        )
        expect(
            "FATAL" in supervisord.control("status", "defaults"),
            False,
            "whether the defaults ever give up",
        )

    play(stage, 77, proof)


def an_end_is_expected(stage: Stage, code: int):
    def proof(supervisord: Supervisord):
        supervisord.control("start", NAME)
        stage.until(lambda: supervisord.ends(NAME), f"it ends\n{supervisord.log()}")
        log = pathlib.Path("/var/log/emr-etl-guard.log").read_text()
        expect(supervisord.ends(NAME), [f"exit status {code}; expected"], f"ends\n{log}")
        expect("emr-etl-guard: " in log, True, "whether the guard's lines are in the log")

    play(stage, code, proof)


def a_stop_reaches_guard_and_runner_once(stage: Stage):
    def proof(supervisord: Supervisord):
        supervisord.control("start", NAME)
        stage.until(
            lambda: supervisord.ends(NAME) or stage.requests("RunJobFlow"), "a cluster is launched"
        )
        supervisord.control("stop", NAME)
        expect(
            "stopped: emr-etl-guard (exit status 143)" in supervisord.log(),
            True,
            f"how it was stopped\n{supervisord.log()}",
        )
        journal = (supervisord.home / "journal").read_text()
        expect(journal.count('"event":"signal"'), 1, f"signals that the runner got\n{journal}")

    play(stage, 143, proof)


def main(programs: pathlib.Path) -> int:
    cases = Cases("supervisord")
    with Stage(programs) as stage:
        for name in ("config.yml", "resolver.json"):
            shutil.copy(stage.folder / name, f"/etc/snowplow/{name}")
        pathlib.Path("/etc/emr-etl-guard/guard.yml").write_text("")
        os.chown("/var/lib/emr-etl-guard", 10001, 10001)
        cases.case(
            "a refusal is started once, where supervisord's defaults start it anew without end",
            a_refusal_is_not_repeated,
            stage,
        )
        cases.case("a good run is expected, and logged", an_end_is_expected, stage, 0)
        cases.case("so is a night without data", an_end_is_expected, stage, 3)
        cases.case(
            "a stop reaches the guard and through it the runner, once",
            a_stop_reaches_guard_and_runner_once,
            stage,
        )
    return cases.finish()


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
