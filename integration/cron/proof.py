"""Owns the proof of what is shipped for cron, under the real cron daemon: run by `run` in a
throwaway machine.

    proof.py FOLDER

FOLDER holds the built emr-etl-guard, standin-runner and emr-simulator.

Every scene is a pipeline of its own, with its own simulated AWS and an entry that is the shipped
one but for its minute, its mailbox and its environment file. All begin in the same minute, which is
waited for once.
"""

import pathlib
import pwd
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "machine"))
from world import ROOT, World, events, mails, put, sh, wait_for

HERE = ROOT / "integration" / "cron"
USER = "emr-etl-guard"
LIBEXEC = pathlib.Path("/usr/libexec/emr-etl-guard")
SHIPPED = (HERE / "emr-etl-guard.cron").read_text()
NIGHTLY = "0   4 *   *   *    "


def folder(path: pathlib.Path) -> pathlib.Path:
    """A folder of the runs' user, closed to others."""
    path.mkdir(parents=True, exist_ok=True)
    user = pwd.getpwnam(USER)
    shutil.chown(path, user.pw_uid, user.pw_gid)
    path.chmod(0o750)
    return path


def crontab(name: str, text: str):
    """An entry in /etc/cron.d."""
    put(pathlib.Path("/etc/cron.d") / name, text)


class Scene:
    """A pipeline: its world, its folders, its mailbox."""

    def __init__(self, programs: pathlib.Path, name: str, **more: str):
        self.name, self.more = name, more
        self.world = World(programs, "cron")
        self.mailbox = f"mail-{name}"
        subprocess.run(["useradd", "--no-create-home", self.mailbox], check=True)
        self.state = folder(pathlib.Path("/var/lib") / USER / name)
        # The scene `nightly` is as on a host with one pipeline; logrotate finds its logs.
        self.logs = folder(pathlib.Path("/var/log") / USER / ("" if name == "nightly" else name))
        self.journal = self.state / "standin-journal"
        self.settings = pathlib.Path(f"/etc/emr-etl-guard/{name}.yml")
        put(self.settings, self.world.settings())
        self.environment = pathlib.Path(f"/etc/emr-etl-guard/{name}.environment")
        # The shell gives the file's quotes a meaning that cron does not give to those of an entry's
        # line.
        self.variables = self.world.environment(
            EMR_ETL_GUARD_SETTINGS=str(self.settings),
            EMR_ETL_GUARD_STATE_DIR=str(self.state),
            EMR_ETL_GUARD_LOG_DIR=str(self.logs),
            STANDIN_JOURNAL=str(self.journal),
            **more,
        )
        shipped = (ROOT / "integration" / "debian" / "environment").read_text()
        put(self.environment, shipped + self.variables, USER, 0o640)

    def entry(self, times: int = 1):
        """The shipped entry, for the next minutes and this scene."""
        assert SHIPPED.count(NIGHTLY) == 1 and SHIPPED.count("MAILTO=root\n") == 1
        text = SHIPPED.replace(NIGHTLY, "* * * * * ")
        line = text.splitlines()[-1]
        text = text.replace(
            "MAILTO=root\n",
            f"MAILTO={self.mailbox}\nEMR_ETL_GUARD_ENVIRONMENT={self.environment}\n",
        )
        crontab(f"scene-{self.name}", text + f"{line}\n" * (times - 1))

    def log(self) -> str:
        """The output of its runs."""
        return "".join(
            file.read_text() for file in sorted(self.logs.glob("run.log*"), reverse=True)
        )

    def mails(self) -> list[str]:
        """Its mails."""
        return mails(self.mailbox)

    def seen(self) -> str:
        """The details for a failed case."""
        return f"{self.log()}\n--- mail\n{''.join(self.mails())}"


def text_of(mail: str) -> list[str]:
    """The lines of a message's text."""
    return mail.partition("\n\n")[2].splitlines()


class Proof:
    """The scenes, and their expected results."""

    def __init__(self, programs: pathlib.Path):
        # A folder that is not in cron's own PATH.
        shutil.copy(programs / "emr-etl-guard", "/usr/local/bin/emr-etl-guard")
        LIBEXEC.mkdir(parents=True)
        shutil.copy(HERE / "cron-run", LIBEXEC / "cron-run")
        put(
            pathlib.Path("/etc/logrotate.d/emr-etl-guard"),
            (HERE / "emr-etl-guard.logrotate").read_text(),
        )
        pathlib.Path("/etc/emr-etl-guard").mkdir()
        subprocess.run(
            ["useradd", "--system", "--user-group", "--home-dir", f"/var/lib/{USER}", USER],
            check=True,
        )
        folder(pathlib.Path("/var/lib") / USER)
        self.nightly = Scene(programs, "nightly")
        self.world = self.nightly.world
        self.world.runner_config(USER, 0o600)
        self.refused = Scene(
            programs, "refused", EMR_ETL_GUARD_SECURITY_CONFIGURATION="acme-missing"
        )
        self.empty = Scene(programs, "empty")
        self.failing = Scene(programs, "failing", STANDIN_MISBEHAVE="exit=1")
        self.long = Scene(programs, "long", STANDIN_MISBEHAVE="hang")
        self.plain = Scene(programs, "plain")
        self.scenes = [self.nightly, self.refused, self.empty, self.failing, self.long, self.plain]

    def before(self):
        """The checks without cron."""
        # Processes all events.
        first = sh(
            "runuser",
            "-u",
            USER,
            "--",
            "env",
            f"EMR_ETL_GUARD_ENVIRONMENT={self.empty.environment}",
            LIBEXEC / "cron-run",
        )
        wrong = [] if (first.returncode, first.stdout) == (0, "") else [f"exit {first.returncode}"]
        self.world.tell(
            "cron-run prints nothing on a good run", wrong, first.stdout + self.empty.log()
        )
        (started,) = events("started", self.empty.journal)
        wrong = [] if started["argv"][-2:] == ["-x", "analyze"] else [f"it got {started['argv']}"]
        self.world.tell(
            "the runner got the arguments of the environment file too, each by itself", wrong
        )
        words = (
            sh("sh", "-n", HERE / "cron-run").stdout + sh("dash", "-n", HERE / "cron-run").stdout
        )
        full = sh(
            "env",
            "EMR_ETL_GUARD_STATE_DIR=/proc",
            "EMR_ETL_GUARD_ENVIRONMENT=/nowhere",
            LIBEXEC / "cron-run",
        )
        if (
            full.returncode != 64
            or "emr-etl-guard: nothing was started: /proc/cron.lock cannot be written to by root"
            not in full.stdout
        ):
            words += f"exit {full.returncode}: {full.stdout}"
        self.world.tell(
            "a state folder that cannot be written to stops a run before it begins (64)",
            [words] if words else [],
        )
        put(self.nightly.logs / "run.log", "", USER, 0o640)
        debug = sh("logrotate", "--debug", "/etc/logrotate.d/emr-etl-guard")
        wrong = [
            line
            for line in debug.stdout.splitlines()
            if re.search("error|warning", line, re.IGNORECASE)
            and "debug mode does nothing" not in line
        ]
        if (
            debug.returncode != 0
            or "considering log /var/log/emr-etl-guard/run.log" not in debug.stdout
        ):
            wrong.append(f"exit {debug.returncode}")
        self.world.tell("logrotate -d accepts its file, and finds the log", wrong, debug.stdout)

    def readme_entry(self):
        """The line in the project's README, in a user's own crontab."""
        readme = (ROOT / "README.md").read_text()
        (line,) = re.findall(r"^0 4 \* \* \*  (cronic emr-etl-guard run .*)$", readme, re.MULTILINE)
        (path,) = re.findall(r"^PATH=.*\n", SHIPPED, re.MULTILINE)
        # cron removes quotes around a value, as a shell does.
        table = f"{path}MAILTO={self.plain.mailbox}\n{self.plain.variables}* * * * * {line}\n"
        subprocess.run(["crontab", "-u", USER, "-"], input=table, text=True, check=True)

    def during(self):
        """One minute of cron, with every scene in it."""
        for scene in self.scenes[:4]:
            scene.entry()
        # Two entries of one minute: the first takes the lock, and the other finds it held.
        self.long.entry(times=2)
        self.readme_entry()
        # Slow clusters for the nightly run, so that a rotation happens meanwhile.
        slow = {
            "starting": 2.0,
            "bootstrapping": 2.0,
            "step_start": 0.0,
            "step": 0.01,
            "terminating": 2.0,
        }
        self.nightly.world.control({"command": "set_timings", **slow})
        subprocess.run(["systemctl", "start", "cron.service"], check=True)
        wait_for(
            "nightly run with a cluster",
            lambda: any(
                e["operation"] == "RunJobFlow" for e in events("answer", self.nightly.journal)
            ),
            75,
        )
        # One minute is enough; the started runs continue.
        for file in pathlib.Path("/etc/cron.d").glob("scene-*"):
            file.unlink()
        subprocess.run(["crontab", "-u", USER, "-r"], check=True)

        before = (self.nightly.logs / "run.log").stat().st_ino
        rotate = sh(
            "logrotate",
            "--force",
            "--verbose",
            "--state",
            "/var/tmp/logrotate.state",
            "/etc/logrotate.d/emr-etl-guard",
        )
        rotated, fresh = self.nightly.logs / "run.log.1", self.nightly.logs / "run.log"
        size = rotated.stat().st_size if rotated.exists() else 0
        wait_for("the nightly run's end", lambda: " ended with " in self.nightly.log())
        wrong = [] if rotate.returncode == 0 and rotated.exists() else [f"exit {rotate.returncode}"]
        if not wrong:
            text = rotated.read_text()
            if rotated.stat().st_ino != before or fresh.stat().st_size != 0:
                wrong.append("the log was not renamed, or the run did not go on writing to it")
            if (fresh.owner(), fresh.stat().st_mode & 0o777) != (USER, 0o640):
                wrong.append(
                    f"the new log belongs to {fresh.owner()}, with mode {fresh.stat().st_mode:o}"
                )
            for whole in [
                "a run begins",
                " passed, ",
                "started, waiting for jobflow to complete",
                "Completed successfully",
                "confirmed: cluster",
                "ended with 0",
            ]:
                if text.count(whole) != 1:
                    wrong.append(f"the log has `{whole}` {text.count(whole)} times")
            if len(text) <= size:
                wrong.append("nothing was written after the rotation")
        self.world.tell(
            "a rotation in the middle of a run loses nothing of it",
            wrong,
            rotate.stdout + self.nightly.seen(),
        )

    def after(self):
        """Checks the results of the scenes."""
        nightly, refused, empty, failing, long, plain = self.scenes
        (mail,) = wait_for("mail about the refusal", refused.mails)
        lines = text_of(mail)
        wanted = [
            "Cronic detected failure or error output for the command:",
            "/usr/libexec/emr-etl-guard/cron-run",
            "",
            "RESULT CODE: 77",
            "",
            "ERROR OUTPUT:",
        ]
        said = "emr-etl-guard: REFUSED, nothing was launched: security-configuration-exists acme-missing: "
        wrong = [] if lines[:6] == wanted and lines[6].startswith(said) else ["they do not"]
        if events("started", refused.journal):
            wrong.append("the runner was started")
        self.world.tell(
            "a refusal mails one message whose first lines say it all (77)", wrong, refused.seen()
        )

        (mail,) = wait_for("mail about the failure", failing.mails)
        wrong = (
            []
            if "RESULT CODE: 1" in text_of(mail)
            and "The end of " in mail
            and "emr-etl-guard: " in mail.partition("STANDARD OUTPUT:")[2]
            else ["it does not"]
        )
        self.world.tell(
            "a runner that fails (1) mails one message, with the end of the log",
            wrong,
            failing.seen(),
        )

        (mail,) = wait_for("mail about the run that was kept out", long.mails)
        lines = text_of(mail)
        wrong = (
            []
            if len(events("started", long.journal)) == 1
            else [f"{len(events('started', long.journal))} runners were started"]
        )
        if (
            lines[3] != "RESULT CODE: 17"
            or lines[6]
            != f"emr-etl-guard: nothing was started: an earlier run is still under way (it holds {long.state}/cron.lock)"
        ):
            wrong.append("the mail says something else")
        self.world.tell(
            "a run that would overlap another is kept out, and says so (17)", wrong, long.seen()
        )
        # The shell with the lock is killed; the runner, which has inherited the lock, lives.
        (runner,) = events("started", long.journal)
        again = [
            "runuser",
            "-u",
            USER,
            "--",
            "env",
            f"EMR_ETL_GUARD_ENVIRONMENT={long.environment}",
            LIBEXEC / "cron-run",
        ]
        subprocess.run(["kill", "-KILL", *self.shells(long)], check=True)
        kept = sh(*again)
        self.world.tell(
            "the lock outlives a wrapper that was killed, as the guard goes on",
            [] if kept.returncode == 17 else [f"exit {kept.returncode}"],
            kept.stdout,
        )
        guard = pathlib.Path(f"/proc/{runner['pid']}/status").read_text()
        subprocess.run(["kill", "-TERM", re.search(r"PPid:\t(\d+)", guard)[1]], check=True)

        # When its last child has ended, cron has passed on all mail, and when the mail program's
        # last process has ended, all is delivered.
        daemon = sh(
            "systemctl", "show", "cron.service", "--property=MainPID", "--value"
        ).stdout.strip()
        wait_for(
            "end of every run",
            lambda: not sh("pgrep", "-u", USER).stdout and not sh("pgrep", "-P", daemon).stdout,
            60,
        )
        wait_for("end of every delivery", lambda: not sh("pgrep", "-x", "dma").stdout)
        started = [len(events("started", scene.journal)) for scene in (nightly, empty, plain)]
        # The empty scene has had a run before.
        wrong = [] if started == [1, 2, 1] else [f"{started} runs"]
        for scene in (nightly, plain):
            if scene.mails():
                wrong.append(f"{scene.name} has mailed")
        if " DEBUG -- : " not in nightly.log():
            wrong.append("the nightly run printed nothing at DEBUG, so this proves nothing")
        self.world.tell(
            "a good run mails nothing, though it prints at DEBUG: by cron-run, and by the README's own line",
            wrong,
            nightly.seen() + plain.seen(),
        )
        wrong = (
            []
            if "ended with 3" in empty.log() and "No logs to process" in empty.log()
            else ["it has not ended with 3"]
        )
        self.world.tell(
            "no data (3) mails nothing",
            wrong + (["it has mailed"] if empty.mails() else []),
            empty.seen(),
        )
        reports = [len(list(scene.logs.glob("report-*.json"))) for scene in self.scenes]
        wrong = [] if reports == [1, 1, 2, 1, 1, 0] else [f"there are {reports}"]
        self.world.tell("every run of cron-run has left a report of its own", wrong)

    @staticmethod
    def shells(scene: Scene) -> list[str]:
        """The processes of the scene's cron-run."""
        found = []
        for pid in sh(
            "pgrep", "-u", USER, "-f", "^/bin/sh /usr/libexec/emr-etl-guard/cron-run"
        ).stdout.split():
            if (
                f"EMR_ETL_GUARD_ENVIRONMENT={scene.environment}"
                in pathlib.Path(f"/proc/{pid}/environ").read_text()
            ):
                found.append(pid)
        return found


def main(programs: pathlib.Path) -> int:
    proof = Proof(programs)
    try:
        proof.before()
        proof.during()
        proof.after()
    except (TimeoutError, ValueError) as error:
        journal = sh("journalctl", "--no-pager", "--lines=80").stdout
        proof.world.tell(
            "nothing is waited for in vain",
            [str(error)],
            journal + "".join(scene.seen() for scene in proof.scenes),
        )
    for scene in proof.scenes[1:]:
        scene.world.simulator.kill()
    return proof.world.end()


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
