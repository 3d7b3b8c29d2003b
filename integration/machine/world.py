"""Owns what the proofs in a throwaway machine have in common: a host with a runner and its config,
a simulated AWS, and how a case is told.

The programs are the built ones; the host's files are where the shipped ones expect them.
"""

import json
import os
import pathlib
import pwd
import shutil
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDINGS = ROOT / "tests" / "recordings"
RUNNER = pathlib.Path("/opt/snowplow/snowplow-emr-etl-runner")
# The stand-in runner's journal, which must be writable from within any sandbox.
JOURNAL = pathlib.Path("/var/lib/emr-etl-guard/standin-journal")


class World:
    """The simulator, the runner and its config; and the cases so far."""

    def __init__(self, programs: pathlib.Path, name: str):
        self.name, self.passed, self.failed = name, 0, 0
        self.simulator = subprocess.Popen(
            [programs / "emr-simulator", "--scene", "acme"], stdout=subprocess.PIPE, text=True
        )
        self.url = self.simulator.stdout.readline().strip()
        # Fast clusters, polled as often as that needs; their termination takes long enough for their
        # volumes to be checked on a busy machine.
        timings = {
            "starting": 0.02,
            "bootstrapping": 0.02,
            "step_start": 0.0,
            "step": 0.01,
            "terminating": 8.0,
        }
        self.control({"command": "set_quotas", "on": False}, {"command": "set_timings", **timings})
        pathlib.Path("/opt/snowplow").mkdir(parents=True, exist_ok=True)
        if not RUNNER.exists():
            shutil.copy(programs / "standin-runner", RUNNER)

    def control(self, *commands: dict):
        """Sets the simulated world."""
        request = urllib.request.Request(
            f"{self.url}/_control/apply",
            json.dumps(commands).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request):
            pass

    def raw_events(self):
        """Raw events to process, which every good run uses up."""
        body = {
            "bucket": "acme-raw-in",
            "key": "logs/2020-08-22-raw.lzo",
            "body": "hello\n",
            "sse": "AES256",
        }
        self.control({"command": "put_object", **body})

    def settings(self) -> str:
        """The additional settings in guard.yml here."""
        return f"runner: {RUNNER}\nallow_endpoints: ['{self.url}']\nwatch_interval: 200ms\nstop_timeout: 2s\n"

    def environment(self, **more: str) -> str:
        """The additional variables in the environment file here."""
        variables = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "AKIAGUARD",
            "AWS_SECRET_ACCESS_KEY": "guard-secret",
            "AWS_SNOWPLOW_ACCESS_KEY": "AKIAFAKE",
            "AWS_SNOWPLOW_SECRET_KEY": "runner-secret",
            "SNOWPLOW_RUN_ARGS": "-x analyze",
            "STANDIN_POLL_MS": "50",
            "STANDIN_JOURNAL": str(JOURNAL),
        }
        return "".join(f"{name}='{value}'\n" for name, value in (variables | more).items())

    def runner_config(self, owner: str, mode: int):
        """The runner's config and resolver in /etc/snowplow."""
        folder = pathlib.Path("/etc/snowplow")
        folder.mkdir(exist_ok=True)
        config = (RECORDINGS / "config.yml").read_text()
        assert config.count("security_configuration:\n") == 1
        put(
            folder / "config.yml",
            config.replace("security_configuration:\n", "security_configuration: acme-sc\n"),
            owner,
            mode,
        )
        put(folder / "resolver.json", (RECORDINGS / "resolver.json").read_text(), owner, mode)

    def tell(self, what: str, wrong: list[str], shown: str = ""):
        """Reports the result of a case; the error, and then the details."""
        if wrong:
            self.failed += 1
        else:
            self.passed += 1
        print(f"{self.name}: {'FAILED' if wrong else 'ok'} {what}", flush=True)
        for line in wrong:
            print(f"    {line}")
        if wrong and shown:
            print(f"    --- to be seen\n{shown[-6000:]}")

    def end(self) -> int:
        """Closes the world, and sums up."""
        self.simulator.kill()
        self.simulator.wait()
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def put(file: pathlib.Path, text: str, owner: str = "root", mode: int = 0o644):
    """Writes a file that belongs to `owner` and their group."""
    file.write_text(text)
    user = pwd.getpwnam(owner)
    os.chown(file, user.pw_uid, user.pw_gid)
    file.chmod(mode)


def events(kind: str, journal: pathlib.Path = JOURNAL) -> list[dict]:
    """The events of one kind in the stand-in runner's journal."""
    if not journal.exists():
        return []
    return [
        event
        for event in map(json.loads, journal.read_text().splitlines())
        if event["event"] == kind
    ]


def forget():
    """Empties the stand-in runner's journal; anybody may write to it."""
    JOURNAL.parent.mkdir(exist_ok=True)
    JOURNAL.write_text("")
    JOURNAL.chmod(0o666)


def wait_for(what: str, condition, seconds: float = 30):
    """Waits until `condition()` is true, and returns its value."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {seconds} s")
        time.sleep(0.05)
    return answer


def mails(user: str = "root") -> list[str]:
    """The messages in a user's mail spool, oldest first."""
    spool = pathlib.Path("/var/mail") / user
    if not spool.exists():
        return []
    return ["From " + mail for mail in ("\n" + spool.read_text()).split("\nFrom ")[1:]]


def sh(*words, **options) -> subprocess.CompletedProcess:
    """Runs a command to its end, with both its outputs in `stdout`."""
    return subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
        **options,
    )
