"""Owns the proof of the sentinel's unit, in the machine that proof.py has set up: its start, its
watchdog, its stop, its restarts and its sandbox.
"""

import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess

from units import UNITS, log_since, now, shown
from world import World, mails, put, sh, wait_for

SENTINEL = "emr-etl-guard-sentinel.service"
SETTINGS = pathlib.Path("/etc/emr-etl-guard/guard.yml")
STATE = pathlib.Path("/var/lib/private/emr-etl-guard-sentinel")

# What the sandbox must allow and what it must not, observed from within the unit.
PROBES = """
allowed() { "$@" > /dev/null 2>&1 || echo "denied: $*"; }
denied() { ! "$@" > /dev/null 2>&1 || echo "allowed: $*"; }
allowed touch "$STATE_DIRECTORY/probe" /tmp/probe
allowed cat "$CREDENTIALS_DIRECTORY/guard.yml"
denied cat /etc/emr-etl-guard/guard.yml
denied ls /var/lib/emr-etl-guard/runs
denied touch /etc/probe
denied touch /usr/probe
denied touch /var/lib/probe
denied ls /root
denied test -e /dev/kmsg
denied test -e /proc/1/status
denied test -e /proc/cpuinfo
denied unshare --user true
denied python3 -c 'import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)'
allowed python3 -c 'import socket; socket.socket(socket.AF_INET)'
denied python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'
denied grep -E 'Cap(Prm|Eff|Bnd|Amb):.*[1-9a-f]' /proc/self/status
allowed grep -E 'NoNewPrivs:.*1' /proc/self/status
rm -f "$STATE_DIRECTORY/probe"
"""


class SentinelProof:
    """The sentinel's unit, and its behaviour."""

    def __init__(self, world: World):
        self.world = world
        # Clusters that live long enough to be looked at.
        self.world.control({"command": "set_timings", "bootstrapping": 600.0})
        put(SETTINGS, world.settings() + self.section(), mode=0o600)
        put(
            pathlib.Path("/etc/emr-etl-guard/sentinel.environment"),
            world.environment(),
            mode=0o600,
        )

    def section(self, more: str = "") -> str:
        """The section of guard.yml."""
        return (
            f"sentinel:\n  regions: [eu-west-1]\n  interval: 1s\n  listen: 127.0.0.1:9477\n{more}"
        )

    def drop_in(self, *lines: str):
        """Lines in the service's drop-in; none removes it."""
        folder = UNITS / f"{SENTINEL}.d"
        shutil.rmtree(folder, ignore_errors=True)
        if lines:
            folder.mkdir()
            (folder / "test.conf").write_text("[Service]\n" + "\n".join(lines) + "\n")
        subprocess.run(["systemctl", "daemon-reload"], check=True)

    def pid(self) -> int:
        """The main process."""
        return int(shown(SENTINEL, "MainPID")["MainPID"])

    def restarts(self) -> int:
        """How often systemd has started it again."""
        return int(shown(SENTINEL, "NRestarts")["NRestarts"])

    def probe(self, kind: str) -> subprocess.CompletedProcess:
        """The program's own probe, with the same settings."""
        return sh("emr-etl-guard", "sentinel", "--settings", SETTINGS, "--probe", kind)

    def all(self):
        """Every case."""
        self.starts()
        self.watches()
        self.watchdog()
        self.comes_back()
        self.stops()
        self.wrong_settings()
        self.sandbox()

    def starts(self):
        """A start, which is over when the sentinel has said that it is ready."""
        cursor = now()
        start = sh("systemctl", "start", SENTINEL)
        seen = shown(SENTINEL, "ActiveState", "SubState", "Type")
        wrong = [] if start.returncode == 0 else [f"`systemctl start` gave {start.returncode}"]
        if seen != {"ActiveState": "active", "SubState": "running", "Type": "notify"}:
            wrong.append(f"it is {seen}")
        self.world.tell(
            "the sentinel says when it is ready, and the unit is active then",
            wrong,
            start.stdout + log_since(SENTINEL, cursor),
        )

    def watches(self):
        """A cluster that is not encrypted, and what is left of it."""
        cursor = now()
        request = {"Name": "somebody's", "ReleaseLabel": "emr-6.15.0"}
        request["Instances"] = {"KeepJobFlowAliveWhenNoSteps": True}
        cluster = "j-SENTINELSEES1"
        self.world.control(
            {"command": "start_cluster", "id": cluster, "region": "eu-west-1", "request": request}
        )
        wait_for("word of the cluster", lambda: cluster in log_since(SENTINEL, cursor), 60)
        self.world.tell("a cluster without encryption is in the journal", [])
        ready = wait_for("readiness", lambda: self.probe("ready").returncode == 0, 60)
        self.world.tell("its own probe says that it is ready", [] if ready else ["it does not"])

        status = pathlib.Path(f"/proc/{self.pid()}/status").read_text()
        user = int(re.search(r"^Uid:\t(\d+)", status, re.MULTILINE)[1])
        wrong = []
        if user in (0, pwd.getpwnam("emr-etl-guard").pw_uid):
            wrong.append(f"its user is {user}")
        state = STATE.stat()
        if (state.st_uid, state.st_mode & 0o777) != (user, 0o700):
            wrong.append(f"its folder belongs to {state.st_uid}, with mode {state.st_mode:o}")
        if not any((STATE / "sentinel").glob("*.jsonl")):
            wrong.append(f"its folder holds {sorted(map(str, STATE.rglob('*')))}")
        self.world.tell("it has a user of its own, and its records are closed to others", wrong)

    def watchdog(self):
        """A sentinel that hangs."""
        self.drop_in("WatchdogSec=15s", "RestartSec=100ms")
        sh("systemctl", "restart", SENTINEL)
        before, hung = self.restarts(), self.pid()
        # A stopped process is one that turns no loop and answers no probe.
        os.kill(hung, signal.SIGSTOP)
        cursor = now()
        wait_for("restart", lambda: self.restarts() > before and self.pid() not in (0, hung), 60)
        log = log_since(SENTINEL, cursor)
        wrong = [] if "Watchdog timeout" in log else ["the watchdog did not end it"]
        self.world.tell("one that hangs is killed by the watchdog and started again", wrong, log)

    def comes_back(self):
        """A sentinel that is killed."""
        before, killed = self.restarts(), self.pid()
        os.kill(killed, signal.SIGKILL)
        wait_for("restart", lambda: self.restarts() > before and self.pid() not in (0, killed), 60)
        wait_for("readiness", lambda: self.probe("ready").returncode == 0, 60)
        self.world.tell("one that is killed is started again, with the same records", [])
        self.drop_in()

    def stops(self):
        """A stop."""
        sh("systemctl", "restart", SENTINEL)
        cursor = now()
        sh("systemctl", "stop", SENTINEL)
        seen = shown(SENTINEL, "Result", "ExecMainStatus", "ActiveState")
        wanted = {"Result": "success", "ExecMainStatus": "0", "ActiveState": "inactive"}
        self.world.tell(
            "a stop ends it with 0, and it stays stopped",
            [] if seen == wanted else [f"it is {seen}"],
            log_since(SENTINEL, cursor),
        )

    def wrong_settings(self):
        """An unknown key in the settings."""
        settings = SETTINGS.read_text()
        put(SETTINGS, settings + "  no_such_setting: 1\n", mode=0o600)
        cursor, known = now(), len(mails())
        sh("systemctl", "start", SENTINEL)
        seen = shown(SENTINEL, "ExecMainStatus", "ActiveState")
        wrong = []
        if seen != {"ExecMainStatus": "64", "ActiveState": "failed"}:
            wrong.append(f"it is {seen}")
        mail = wait_for("mail", lambda: mails()[known:])[0]
        if "exit 64: the guard's settings are wrong\n" not in mail:
            wrong.append("the mail's subject is another")
        if "/var/log/emr-etl-guard/report-" in mail:
            wrong.append("the mail names a report that a sentinel does not write")
        self.world.tell(
            "with wrong settings it fails, is not started again, and somebody gets a mail",
            wrong,
            log_since(SENTINEL, cursor) + mail,
        )
        put(SETTINGS, settings, mode=0o600)
        sh("systemctl", "reset-failed", SENTINEL)

    def sandbox(self):
        """What is possible from within the unit."""
        script = pathlib.Path("/usr/local/bin/sentinel-probes")
        script.write_text(f"#!/bin/bash\n{PROBES}")
        script.chmod(0o755)
        self.drop_in("Type=oneshot", "Restart=no", "ExecStart=", f"ExecStart={script}")
        cursor = now()
        start = sh("systemctl", "start", SENTINEL)
        log = log_since(SENTINEL, cursor)
        wrong = re.findall(r"^(?:allowed|denied): .*$", log, re.MULTILINE)
        if start.returncode != 0:
            wrong.append("the probes did not end")
        count = PROBES.count("\nallowed ") + PROBES.count("\ndenied ")
        self.world.tell(f"the sentinel's sandbox holds, by {count} probes from within", wrong, log)
        self.drop_in()
