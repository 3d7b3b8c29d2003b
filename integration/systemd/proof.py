"""Owns the proof of the systemd units, under a real systemd: run by `run` in a throwaway machine.

    proof.py FOLDER

FOLDER holds the built emr-etl-guard, standin-runner and emr-simulator.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "machine"))
from sentinel_proof import SENTINEL, SentinelProof
from units import UNITS, log_since, now, shown
from world import ROOT, World, events, forget, mails, put, sh, wait_for

HERE = ROOT / "integration" / "systemd"
SERVICE = "emr-etl-guard.service"
# `systemd-analyze security` gives an exposure from 0 to 100; this value must not increase.
EXPOSURE = 12

# What the sandbox must allow and what it must not, observed from within a run of the unit.
PROBES = """
allowed() { "$@" > /tmp/probe 2>&1 || { echo "denied: $*"; cat /tmp/probe; }; }
denied() { ! "$@" > /dev/null 2>&1 || echo "allowed: $*"; }
allowed touch "$STATE_DIRECTORY/probe" "$LOGS_DIRECTORY/probe" "$CACHE_DIRECTORY/probe" /tmp/probe
allowed cat "$CREDENTIALS_DIRECTORY/config.yml"
denied touch /etc/probe
denied touch /usr/probe
denied touch /opt/snowplow/probe
denied touch /var/lib/probe
denied ls /root
denied ls /home
denied cat /etc/snowplow/config.yml
denied test -e /dev/kmsg
denied test -e /proc/1/status
denied unshare --user true
denied sysctl -w vm.swappiness=60
denied chrt --fifo 1 true
denied python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'
allowed python3 -c 'import socket; socket.socket(socket.AF_INET)'
denied python3 -c 'import os; os.setuid(0)'
denied grep -E 'Cap(Prm|Eff|Bnd|Amb):.*[1-9a-f]' /proc/self/status
allowed grep -E 'NoNewPrivs:.*1' /proc/self/status
"""


class Proof:
    """The units on a host, and their behaviour there."""

    def __init__(self, world: World, programs: pathlib.Path):
        self.world = world
        shutil.copy(programs / "emr-etl-guard", "/usr/bin/emr-etl-guard")
        pathlib.Path("/usr/libexec/emr-etl-guard").mkdir(parents=True)
        shutil.copy(HERE / "mail-failure", "/usr/libexec/emr-etl-guard/mail-failure")
        for unit in HERE.glob("emr-etl-guard*.*"):
            shutil.copy(unit, UNITS)
        # As long as another active unit refers to the service, systemd keeps its result.
        (UNITS / "pin.service").write_text(
            f"[Unit]\nAfter={SERVICE}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
        )
        home = "/var/lib/emr-etl-guard"
        subprocess.run(
            [
                "useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir",
                home,
                "emr-etl-guard",
            ],
            check=True,
        )
        pathlib.Path("/etc/emr-etl-guard").mkdir()
        # Only root can read them, so the run gets them from the service manager.
        put(pathlib.Path("/etc/emr-etl-guard/guard.yml"), world.settings(), mode=0o600)
        world.runner_config("root", 0o600)
        self.environment()
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemctl", "start", "pin.service"], check=True)

    def environment(self, **more: str):
        """The environment file, as shipped and with this world's additions."""
        shipped = (ROOT / "integration" / "debian" / "environment").read_text()
        put(
            pathlib.Path("/etc/emr-etl-guard/environment"),
            shipped + self.world.environment(**more),
            mode=0o600,
        )

    def drop_in(self, *lines: str):
        """Lines in the service's drop-in; none removes it."""
        folder = UNITS / f"{SERVICE}.d"
        shutil.rmtree(folder, ignore_errors=True)
        if lines:
            folder.mkdir()
            (folder / "test.conf").write_text("[Service]\n" + "\n".join(lines) + "\n")
        subprocess.run(["systemctl", "daemon-reload"], check=True)

    def run(
        self, what: str, result: str, status: int, launched: bool, says: str, started: int = 0
    ) -> str:
        """Starts the service and waits for its end, which must be as given. Returns the run's
        invocation id.
        """
        forget()
        sh("systemctl", "reset-failed", SERVICE)
        cursor = now()
        start = sh("systemctl", "start", SERVICE)
        seen = shown(
            SERVICE, "Result", "ExecMainStatus", "InvocationID", "NRestarts", "ActiveState"
        )
        log = log_since(SERVICE, cursor)
        wrong = []
        for name, wanted in {
            "Result": result,
            "ExecMainStatus": str(status),
            "NRestarts": "0",
            # And not `activating`, as while it waits for a restart.
            "ActiveState": "inactive" if result == "success" else "failed",
        }.items():
            if seen[name] != wanted:
                wrong.append(f"{name} is {seen[name]} instead of {wanted}")
        if (start.returncode == 0) != (result == "success"):
            wrong.append(f"`systemctl start` gave {start.returncode}")
        if bool(events("started")) != launched:
            wrong.append(f"the runner was {'not ' if launched else ''}started")
        if says not in log:
            wrong.append(f"the journal does not say: {says}")
        self.world.tell(what, wrong, start.stdout + log)
        return seen["InvocationID"]

    def accepted(self):
        """systemd's messages about the files themselves."""
        units = sorted(str(file) for file in UNITS.glob("emr-etl-guard*.*"))
        verify = sh("systemd-analyze", "verify", "--man=no", *units)
        self.world.tell(
            "systemd-analyze verify has nothing to say about the units",
            [] if (verify.returncode, verify.stdout) == (0, "") else ["it has"],
            verify.stdout,
        )
        for unit in (SERVICE, SENTINEL):
            security = sh(
                "systemd-analyze",
                "security",
                "--no-pager",
                "--offline=yes",
                f"--threshold={EXPOSURE}",
                UNITS / unit,
            )
            level = security.stdout.strip().splitlines()[-1]
            self.world.tell(
                f"systemd-analyze security: {level[2:]}",
                [] if security.returncode == 0 else [f"more than {EXPOSURE / 10}"],
                security.stdout,
            )

    def runs(self):
        """Runs, as they end."""
        run = self.run(
            "a good run succeeds, its config and settings read through credentials",
            "success",
            0,
            True,
            "Completed successfully",
        )
        (started,) = events("started")
        wrong = [] if started["argv"][-2:] == ["-x", "analyze"] else [f"it got {started['argv']}"]
        self.world.tell(
            "the runner got the arguments of the environment file too, each by itself", wrong
        )
        report = pathlib.Path(f"/var/log/emr-etl-guard/report-{run}.json")
        wrong = [] if report.exists() else ["there is none"]
        if not wrong and (report.owner(), report.stat().st_mode & 0o777) != (
            "emr-etl-guard",
            0o640,
        ):
            wrong.append(f"it belongs to {report.owner()}, with mode {report.stat().st_mode:o}")
        self.world.tell(
            "its report has the invocation's id in its name, and group and owner alone can read it",
            wrong,
        )
        mode = {
            name: pathlib.Path(f"/var/{name}/emr-etl-guard").stat().st_mode & 0o777
            for name in ("lib", "log", "cache")
        }
        self.world.tell(
            "its folders are closed to others", [f"{mode}"] if set(mode.values()) != {0o750} else []
        )

        self.run("no data (3) is a success", "success", 3, True, "No logs to process")
        self.world.tell(
            "neither has mailed anything", ["there is mail"] if mails() else [], "".join(mails())
        )

        self.world.raw_events()
        self.environment(EMR_ETL_GUARD_SECURITY_CONFIGURATION="acme-missing")
        self.run(
            "a refusal (77) fails, launches nothing and is not repeated",
            "exit-code",
            77,
            False,
            "REFUSED, nothing was launched",
        )
        wait_for(
            "end of the mail's unit",
            lambda: (
                shown("emr-etl-guard-failure.service", "ActiveState")["ActiveState"]
                in ("inactive", "failed")
            ),
        )
        failure = sh("journalctl", "--unit=emr-etl-guard-failure.service").stdout
        self.world.tell(
            "the failure unit ends well", [] if "Finished" in failure else ["it does not"], failure
        )
        (mail,) = wait_for("mail", mails)
        headers, _, body = mail.partition("\n\n")
        wrong = []
        if (
            "Subject: emr-etl-guard on batch-1: exit 77: refused: a required check failed\n"
            not in headers
        ):
            wrong.append("its subject is another")
        if (
            not body.startswith("refused: a required check failed\n\n")
            or "emr-etl-guard: REFUSED, nothing was launched" not in body
        ):
            wrong.append("its text is another")
        self.world.tell(
            "it mails one message whose subject says it all, with the run's log", wrong, mail
        )

        self.drop_in("Restart=on-failure", "RestartSec=100ms")
        self.run(
            "not even where a drop-in restarts failed runs",
            "exit-code",
            77,
            False,
            "REFUSED, nothing was launched",
        )
        self.environment(
            AWS_ENDPOINT_URL="http://127.0.0.1:9",
            EMR_ETL_GUARD_ALLOW_ENDPOINTS="http://127.0.0.1:9",
            EMR_ETL_GUARD_AWS_TIMEOUT="1s",
        )
        subprocess.run(["systemctl", "start", "--no-block", SERVICE], check=True)
        try:
            wait_for("restart", lambda: int(shown(SERVICE, "NRestarts")["NRestarts"]) > 0, 60)
            wrong = (
                []
                if shown(SERVICE, "ExecMainStatus")["ExecMainStatus"] in ("69", "0")
                else ["after another code"]
            )
        except TimeoutError as error:
            wrong = [str(error)]
        self.world.tell("there, what AWS did not answer (69) is tried again", wrong)
        subprocess.run(["systemctl", "stop", SERVICE], check=False)
        self.drop_in()

        self.environment()
        config = pathlib.Path("/etc/snowplow/config.yml")
        config.rename("/etc/snowplow/elsewhere.yml")
        # 243: the step in which the service manager reads credentials.
        self.run("a config that is missing fails the start", "exit-code", 243, False, "")
        pathlib.Path("/etc/snowplow/elsewhere.yml").rename(config)

    def stop(self):
        """A stop in the middle of a run."""
        # A runner that ignores signals and a cluster that continues: the guard has to end both.
        self.environment(STANDIN_MISBEHAVE="hang,ignore-sigterm")
        forget()
        cursor = now()
        subprocess.run(["systemctl", "start", "--no-block", SERVICE], check=True)
        wait_for(
            "cluster", lambda: any(event["operation"] == "RunJobFlow" for event in events("answer"))
        )
        # A second start joins the run.
        subprocess.run(["systemctl", "start", "--no-block", SERVICE], check=True)
        subprocess.run(["systemctl", "stop", SERVICE], check=False)
        seen = shown(SERVICE, "Result", "ExecMainStatus")
        # When systemd stops a process, it also sends SIGCONT, in case it is suspended.
        got = [event["signal"] for event in events("signal") if event["signal"] != signal.SIGCONT]
        wrong = [] if got == [15] else [f"the runner got {got}"]
        if len(events("started")) != 1:
            wrong.append(f"{len(events('started'))} runners were started")
        if seen["Result"] != "exit-code" or seen["ExecMainStatus"] not in ("137", "143"):
            wrong.append(f"it ended as {seen}")
        self.world.tell(
            "a stop reaches the guard alone, and the runner once, through the guard",
            wrong,
            log_since(SERVICE, cursor),
        )
        left = [
            pid
            for pid in os.listdir("/proc")
            if pid.isdigit() and "snowplow-emr-etl-runner" in name_of(pid)
        ]
        self.world.tell("nothing of the run is left", [f"processes {left}"] if left else [])
        self.environment()

    def timer(self):
        """The timer, after a night in which the host was off."""
        forget()
        # The run that was stopped is open. Its instances may be gone by now, and closing it would
        # then end with 75, and nothing new would be started.
        for run in pathlib.Path("/var/lib/emr-etl-guard/runs").glob("*"):
            run.unlink()
        stamp = pathlib.Path("/var/lib/systemd/timers/stamp-emr-etl-guard.timer")
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        before = time.time() - 2 * 24 * 3600
        os.utime(stamp, (before, before))
        # Without its delay, to save time.
        folder = UNITS / "emr-etl-guard.timer.d"
        folder.mkdir()
        (folder / "test.conf").write_text("[Timer]\nRandomizedDelaySec=0\nAccuracySec=1us\n")
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        enable = sh("systemctl", "enable", "--now", "emr-etl-guard.timer")
        wait_for("run", lambda: events("started"))
        wait_for("its end", lambda: shown(SERVICE, "ActiveState")["ActiveState"] == "inactive")
        wrong = [] if enable.returncode == 0 else ["it could not be enabled"]
        result = shown(SERVICE, "Result", "TriggeredBy")
        if result != {"Result": "success", "TriggeredBy": "emr-etl-guard.timer"}:
            wrong.append(f"the run ended as {result}")
        follows = shown("emr-etl-guard.timer", "NextElapseUSecRealtime")["NextElapseUSecRealtime"]
        if "04:00:00" not in sh("date", "--utc", "--date", follows, "+%T").stdout:
            wrong.append(f"the next one comes at {follows}")
        self.world.tell(
            "the timer makes up for a night that was missed, and the next run comes at 04:00 UTC",
            wrong,
            enable.stdout,
        )
        sh("systemctl", "disable", "--now", "emr-etl-guard.timer")

    def sandbox(self):
        """What is possible from within the unit."""
        script = pathlib.Path("/usr/local/bin/probes")
        script.write_text(f"#!/bin/bash\n{PROBES}")
        script.chmod(0o755)
        self.drop_in("ExecStart=", f"ExecStart={script}")
        sh("systemctl", "reset-failed", SERVICE)
        cursor = now()
        start = sh("systemctl", "start", SERVICE)
        log = log_since(SERVICE, cursor)
        wrong = re.findall(r"^(?:allowed|denied): .*$", log, re.MULTILINE)
        if start.returncode != 0:
            wrong.append("the probes did not end")
        self.world.tell(
            f"the sandbox holds, by {PROBES.count('allowed ') + PROBES.count('denied ')} probes from within",
            wrong,
            log,
        )

        ruby = "require 'socket'; require 'openssl'; require 'tmpdir'; puts 'ruby on ' + RUBY_PLATFORM; puts Dir.tmpdir; puts Process.getpgid(0) > 0"
        for what, extra, command, says in [
            ("a JVM runs in it", [], "/usr/bin/java -version", "Server VM"),
            (
                "so does JRuby, which the runner is written for",
                [],
                f'/usr/bin/jruby -e "{ruby}"',
                "ruby on java\n/tmp\ntrue\n",
            ),
            (
                "with MemoryDenyWriteExecute=yes no JVM would, which is why that is off",
                ["MemoryDenyWriteExecute=yes"],
                "/usr/bin/java -version",
                None,
            ),
        ]:
            self.drop_in("OnFailure=", *extra, "ExecStart=", f"ExecStart={command}")
            sh("systemctl", "reset-failed", SERVICE)
            cursor = now()
            start = sh("systemctl", "start", SERVICE)
            log = log_since(SERVICE, cursor)
            wrong = (
                []
                if (
                    start.returncode == 0 and says in log
                    if says
                    else start.returncode != 0 and "Server VM" not in log
                )
                else ["the other way round"]
            )
            self.world.tell(what, wrong, start.stdout + log)
        self.drop_in()


def name_of(pid: str) -> str:
    """A process' command line."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def main(programs: pathlib.Path) -> int:
    world = World(programs, "systemd")
    try:
        proof = Proof(world, programs)
        proof.accepted()
        proof.runs()
        proof.stop()
        proof.timer()
        proof.sandbox()
        SentinelProof(world).all()
    except TimeoutError as error:
        world.tell(
            "nothing is waited for in vain",
            [str(error)],
            sh("journalctl", "--lines=60", "--no-pager").stdout,
        )
    return world.end()


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
