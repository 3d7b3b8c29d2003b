"""Owns the stage on which definitions for schedulers and orchestrators are played: the simulator as
AWS, the stand-in as the runner, the real guard between them, once as a plain process and once in a
container made of the fields that such definitions have.

A container is made by bubblewrap: a root of its own that can be read-only, a user of its own with
no capability, the guard as process 1. No image is needed, and the paths in a definition are the
paths that the guard really sees.
"""

import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import traceback
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECORDINGS = ROOT / "tests" / "recordings"

# The scene's raw events: without them a run has nothing to do.
RAW = ["logs/2020-08-21-raw.lzo", "logs/_Tomcat_localhost_access_log.2020-08-21.txt.gz"]
# Far longer than anything here takes.
PATIENCE = 60


class Codes:
    """The exit codes from the built guard's own help, so that no list here can be outdated."""

    def __init__(self, programs: pathlib.Path):
        text = subprocess.run(
            [programs / "emr-etl-guard", "--help"], capture_output=True, text=True, check=True
        ).stdout
        first, _, rest = text[text.index("Exit codes:") :].partition(").")
        self.runner = {int(code) for code in re.findall(r"(\d+)\s[a-z]", first)}
        own = re.findall(r"^  (\d+(?:, \d+)*)  ", rest, re.MULTILINE)
        self.guard = {int(code) for group in own for code in group.split(", ")}
        if not (
            {0, 1, 3} <= self.runner
            and {64, 69, 71, 77, 126, 127} <= self.guard
            and "128+n" in rest
        ):
            raise AssertionError(
                f"the guard's help does not tell its exit codes as expected:\n{text}"
            )
        # The exit codes of kill -9, a regular stop, a lost terminal and a crash.
        self.signals = {
            128 + number
            for number in (
                signal.SIGHUP,
                signal.SIGINT,
                signal.SIGABRT,
                signal.SIGKILL,
                signal.SIGSEGV,
                signal.SIGTERM,
            )
        }

    @property
    def all(self) -> list[int]:
        """Every code that a supervisor can see."""
        return sorted(self.runner | self.guard | self.signals)


@dataclasses.dataclass
class Container:
    """A definition's one container, in the terms that Kubernetes, ECS and Batch share."""

    command: list[str]
    env: dict[str, str]
    user: int = 0
    group: int = 0
    read_only_root: bool = False
    # (file or folder on this machine, path in the container, read-only); None for an empty folder
    # in memory.
    mounts: list[tuple[pathlib.Path | None, str, bool]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Ended:
    """How a guard ended."""

    code: int
    output: str


class Stage:
    """The simulator, a folder, and ways to run the guard. Use it in a `with`."""

    def __init__(self, programs: pathlib.Path):
        self.programs = programs
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name).resolve()
        # Users other than root must be able to enter it.
        self.folder.chmod(0o755)
        self.simulator = subprocess.Popen(
            [programs / "emr-simulator", "--scene", "acme"], stdout=subprocess.PIPE, text=True
        )
        self.url = self.simulator.stdout.readline().strip()
        config = (RECORDINGS / "config.yml").read_text()
        wanted = "security_configuration:\n"
        assert config.count(wanted) == 1
        (self.folder / "config.yml").write_text(
            config.replace(wanted, "security_configuration: acme-sc\n")
        )
        (self.folder / "resolver.json").write_text((RECORDINGS / "resolver.json").read_text())
        # Given explicitly, so that this machine's own settings are never read.
        (self.folder / "guard.yml").write_text("")
        # The state directories that guards on this stage use.
        self.states = [self.folder / "state"]
        plain = self.folder / "not-executable"
        plain.write_text("")
        plain.chmod(0o644)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.simulator.kill()
        self.simulator.wait()
        self.temporary.cleanup()

    def control(self, *commands: dict):
        """Sets the simulated world."""
        request = urllib.request.Request(
            f"{self.url}/_control/apply",
            json.dumps(commands).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request):
            pass

    def operations(self) -> list[str]:
        """The AWS calls in this world, in order."""
        with urllib.request.urlopen(f"{self.url}/_control/requests") as answer:
            return [request["operation"] for request in json.load(answer)]

    def requests(self, operation: str) -> int:
        """How many requests for this operation AWS has received in this world."""
        return self.operations().count(operation)

    def world(self):
        """The scene as it was at the start: a run in it ends with 0."""
        self.control(
            {"command": "reset"},
            {"command": "seed", "scene": "acme"},
            {"command": "set_quotas", "on": False},
        )
        # Open runs belong to the world before it.
        for state in self.states:
            for journal in (state / "runs").glob("*.journal"):
                journal.unlink()
        # The example keys of AWS's documentation, which definitions use, are valid here.
        self.control(
            {
                "command": "put_access_key",
                "id": "AKIAIOSFODNN7EXAMPLE",
                "arn": "arn:aws:iam::123456789012:user/snowplow",
            }
        )
        # Fast clusters whose termination takes some time, or their volumes could not be checked.
        self.control(
            {
                "command": "set_timings",
                "starting": 0.02,
                "bootstrapping": 0.02,
                "step_start": 0.0,
                "step": 0.01,
                "terminating": 2.0,
            }
        )

    def prepare(self, code: int) -> dict[str, str]:
        """Sets up a world in which a run ends with `code`, and returns the environment that the run
        needs for it.
        """
        self.world()
        match code:
            case 0:
                return {}
            case 3:
                self.control(
                    *(
                        {"command": "delete_object", "bucket": "acme-raw-in", "key": key}
                        for key in RAW
                    )
                )
                return {}
            case 64:
                return {"EMR_ETL_GUARD_WATCH_INTERVAL": "soon"}
            case 69:
                self.control(
                    {
                        "command": "add_fault",
                        "operation": "DescribeSecurityConfiguration",
                        "kind": "access_denied",
                    }
                )
                return {}
            case 71:
                # Its life is so long that it cannot end by itself meanwhile.
                timings = dict.fromkeys(
                    ("starting", "bootstrapping", "step_start", "step", "terminating"), 3600
                )
                self.control(
                    {"command": "set_timings", **timings},
                    {"command": "set_next_cluster", "termination": "refused"},
                )
                return {
                    "STANDIN_MISBEHAVE": "drop-security-configuration",
                    "EMR_ETL_GUARD_TERMINATION_TIMEOUT": "1s",
                }
            case 74:
                # The note that the run starts is delivered, its report is not.
                self.control(
                    {"command": "put_bucket", "name": "acme-evidence"},
                    {
                        "command": "add_fault",
                        "operation": "PutObject",
                        "matching": "acme-evidence",
                        "calls": {"range": {"from": 2, "to": 1000}},
                        "kind": "access_denied",
                    },
                )
                return {"EMR_ETL_GUARD_EVIDENCE": "s3://acme-evidence/"}
            case 75:
                return {"STANDIN_MISBEHAVE": "exit-0-idle"}
            case 76:
                return {"STANDIN_MISBEHAVE": "drop-security-configuration"}
            case 77:
                self.control({"command": "delete_security_configuration", "name": "acme-sc"})
                return {}
            case 126:
                return {"EMR_ETL_GUARD_RUNNER": str(self.folder / "not-executable")}
            case 127:
                return {"EMR_ETL_GUARD_RUNNER": str(self.folder / "not-there")}
            case 1 | 4 | 17 | 18:
                return {"STANDIN_MISBEHAVE": f"exit={code}"}
            case 143:
                return {"STANDIN_MISBEHAVE": "hang"}
        raise AssertionError(f"no world is known in which a run ends with {code}")

    def settings(self) -> dict[str, str]:
        """The settings that connect guard and stand-in to the stage; no operator would use them."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "AKIAGUARD",
            "AWS_SECRET_ACCESS_KEY": "guard",
            "EMR_ETL_GUARD_ALLOW_ENDPOINTS": self.url,
            "EMR_ETL_GUARD_WATCH_INTERVAL": "100ms",
            "STANDIN_POLL_MS": "50",
            "STANDIN_RETRY_MS": "50",
        }

    def plain(self, code: int) -> dict[str, str]:
        """The whole environment of a plain process whose run ends with `code`."""
        prepared = self.prepare(code)
        return {
            # Nothing from this machine's own environment, profiles or caches.
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "AWS_SNOWPLOW_ACCESS_KEY": "AKIAFAKE",
            "AWS_SNOWPLOW_SECRET_KEY": "runner",
            "EMR_ETL_GUARD_SETTINGS": str(self.folder / "guard.yml"),
            "EMR_ETL_GUARD_RUNNER": str(self.programs / "standin-runner"),
            **self.settings(),
            **prepared,
        }

    def contain(self, container: Container, code: int | None) -> subprocess.Popen:
        """Starts a container whose run ends with `code`, as far as its definition allows; without a
        code, in the current world. Only `settings` are added to the definition.
        """
        # The settings of the image of docker/ itself.
        env = {
            "PATH": "/image/bin:/usr/bin:/bin",
            "EMR_ETL_GUARD_RUNNER": "/opt/snowplow/snowplow-emr-etl-runner",
        } | container.env
        prepared = self.settings() | ({} if code is None else self.prepare(code))
        for name in prepared:
            if (
                name.startswith("EMR_ETL_GUARD_")
                and name in container.env
                and name not in ("EMR_ETL_GUARD_RUNNER", "EMR_ETL_GUARD_TERMINATION_TIMEOUT")
            ):
                raise AssertionError(f"the stage would hide the definition's own {name}")
        env |= prepared
        argv = [
            "bwrap",
            "--ro-bind",
            "/usr",
            "/usr",
            "--symlink",
            "usr/bin",
            "/bin",
            "--symlink",
            "usr/lib",
            "/lib",
            "--symlink",
            "usr/lib64",
            "/lib64",
        ]
        # The certificates of an image, without which the AWS SDK does not start.
        argv += ["--ro-bind", "/etc/ssl", "/etc/ssl"]
        argv += ["--dev", "/dev", "--proc", "/proc", "--ro-bind", self.folder, self.folder]
        argv += ["--ro-bind", self.programs / "emr-etl-guard", "/image/bin/emr-etl-guard"]
        argv += ["--symlink", "emr-etl-guard", "/image/bin/snowplow-emr-etl-runner"]
        argv += [
            "--ro-bind",
            self.programs / "standin-runner",
            "/opt/snowplow/snowplow-emr-etl-runner",
        ]
        for source, target, read_only in container.mounts:
            if source is None:
                argv += ["--tmpfs", target]
            else:
                argv += ["--ro-bind" if read_only else "--bind", source, target]
        if container.read_only_root:
            argv += ["--remount-ro", "/"]
        argv += [
            "--unshare-user",
            "--uid",
            container.user,
            "--gid",
            container.group,
            "--cap-drop",
            "ALL",
        ]
        argv += [
            "--unshare-pid",
            "--as-pid-1",
            "--unshare-ipc",
            "--new-session",
            "--die-with-parent",
            "--clearenv",
        ]
        for name, value in env.items():
            argv += ["--setenv", name, value]
        return subprocess.Popen(
            [str(word) for word in [*argv, "--", *container.command]],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def play(self, container: Container, code: int | None) -> Ended:
        """A container from its start to its end."""
        return finish(self.contain(container, code))

    def stop(self, process: subprocess.Popen, what: signal.Signals):
        """Sends a signal to process 1 of a container, as a container's runtime does."""
        if process.poll() is not None:
            raise AssertionError(f"it has ended before it could be stopped:\n{finish(process)}")
        children = (
            pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        )
        expect(len(children), 1, "children of bubblewrap: process 1 and no other")
        os.kill(int(children[0]), what)

    def until(self, condition, what: str):
        """Waits until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {PATIENCE} s in vain: {what}")
            time.sleep(0.02)


def pod_container(pod: dict, documents: list[dict], stage: Stage) -> Container:
    """The one container of a Kubernetes pod's spec: ConfigMaps of the manifest as files, claims and
    emptyDirs as empty folders.
    """
    named = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    [container] = pod["containers"]
    env = {}
    for variable in container["env"]:
        source = variable.get("valueFrom", {}).get("secretKeyRef")
        env[variable["name"]] = (
            named["Secret", source["name"]]["stringData"][source["key"]]
            if source
            else variable["value"]
        )
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = []
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        source = None
        if "emptyDir" not in volume:
            source = stage.folder / mount["name"]
            source.mkdir(exist_ok=True)
        if "configMap" in volume:
            for file, text in named["ConfigMap", volume["configMap"]["name"]]["data"].items():
                (source / file).write_text(text)
        mounts.append((source, mount["mountPath"], mount.get("readOnly", False)))
    return Container(
        command=container["command"] + container["args"],
        env=env,
        user=pod["securityContext"]["runAsUser"],
        group=pod["securityContext"]["runAsGroup"],
        read_only_root=container["securityContext"]["readOnlyRootFilesystem"],
        mounts=mounts,
    )


def finish(process: subprocess.Popen) -> Ended:
    """Waits for a process' end."""
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise AssertionError(f"did not end in {PATIENCE} s:\n{output}") from None
    return Ended(
        process.returncode if process.returncode >= 0 else 128 - process.returncode, output
    )


class Cases:
    """Counts the cases, and prints their results."""

    def __init__(self, name: str):
        self.name, self.passed, self.failed = name, 0, 0

    def case(self, sentence: str, proof, *arguments):
        """Runs one case: a function that raises AssertionError if its sentence is not true. Any
        other exception is also a failure, shown with its place.
        """
        try:
            proof(*arguments)
        except Exception as error:
            self.failed += 1
            told = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
            print(
                f"{self.name}: FAILED {sentence}\n    " + "\n    ".join(told[-6000:].splitlines()),
                flush=True,
            )
        else:
            self.passed += 1
            print(f"{self.name}: ok {sentence}", flush=True)

    def finish(self) -> int:
        """The closing line, and the exit code."""
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0


def expect(saw, wanted, what: str):
    """Raises if the value differs from the expected one."""
    if saw != wanted:
        raise AssertionError(f"{what}: saw {saw!r}, wanted {wanted!r}")
