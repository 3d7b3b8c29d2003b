"""Owns the cases of docker/test: what the images hold, and how they behave under podman as an
operator runs them.

    cases.py FOLDER [WORD…]

FOLDER is for what containers mount; podman's environment and the images are as docker/test made
them; with WORDs, only cases whose names hold one of them, those that are switched off included.

The guard is run by the command line that the Dockerfile documents, read from there; only places and
names on its right-hand side are replaced. Each case has a simulated AWS of its own, in a network
that ends at itself.
"""

import contextlib
import json
import os
import pathlib
import re
import shlex
import struct
import subprocess
import sys
import time
import tomllib
import traceback
import zipfile
import zlib

import compose_spec

HERE = pathlib.Path(__file__).resolve().parent
IMAGE, JRE, REHEARSAL = (
    f"localhost/emr-etl-guard{suffix}" for suffix in ("", "-jre", "-rehearsal")
)
STATE = "/var/lib/emr-etl-guard"
RUNNER = "/opt/snowplow/snowplow-emr-etl-runner"
UID = 10001
# The time that docker and podman allow between SIGTERM and SIGKILL.
GRACE = 10
CASES = []


def case(name):
    """Registers a case; its name is the sentence that it proves."""

    def register(function):
        CASES.append((name, function))
        return function

    return register


def podman(*words, check=True, timeout=120):
    """Runs podman; returns standard output, standard error and exit code."""
    done = subprocess.run(
        ["podman", *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"podman {' '.join(map(str, words))}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done


def inspect(kind, name):
    return json.loads(podman(kind, "inspect", name).stdout)[0]


def inside(image, script):
    """The output of a shell in the image, as the image's user, or as root where a script has to see
    everything.
    """
    return podman("run", "--rm", "--network=none", "--entrypoint=sh", image, "-ec", script).stdout


def wait_for(what, condition, limit=30):
    """Waits until `condition` returns a true value, and returns it."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"after {limit} s still not: {what}")


def equal(saw, wanted, about=""):
    if saw != wanted:
        raise AssertionError(f"{about}\nsaw    {saw!r}\nwanted {wanted!r}")


def documented_run():
    """The words of the `docker run` in the Dockerfile's first comment; the documentation's page has
    the same.
    """
    comment = "\n".join(
        line.removeprefix("#")
        for line in (HERE / "Dockerfile").read_text().splitlines()
        if line.startswith("#")
    )
    page = (HERE.parent / "docs/running/docker.md").read_text()
    words, on_page = (
        shlex.split(
            re.search(r"docker (run --rm --read-only(?:.*\\\n)+.*)", text)[1].replace("\\\n", " ")
        )
        for text in (comment, page)
    )
    equal(on_page, words, "the page's command line, beside the Dockerfile's")
    equal(
        (words[0], words[-5:]),
        ("run", ["run", "-c", "/etc/snowplow/config.yml", "-r", "/etc/snowplow/resolver.json"]),
        "the documented command line",
    )
    return words


class World:
    """A simulated AWS in a container, and runs against it."""

    count = 0
    folder: pathlib.Path

    def __init__(self):
        World.count += 1
        self.number = World.count
        self.simulator = f"simulator-{self.number}"
        self.volume = f"state-{self.number}"
        self.containers = []

    def __enter__(self):
        podman(
            *(
                "run",
                "--detach",
                "--name",
                self.simulator,
                "--network=none",
                "--read-only",
                "--cap-drop=ALL",
                "--entrypoint=emr-simulator",
            ),
            *(REHEARSAL, "--port", 5000, "--scene", "acme", "--speed", 600),
        )
        wait_for(
            "the simulator's address",
            lambda: podman("logs", self.simulator).stdout.startswith("http://127.0.0.1:5000"),
        )
        return self

    def __exit__(self, *_):
        # Containers that share the simulator's network come first.
        for name in [*self.containers, self.simulator]:
            podman("rm", "--force", "--ignore", "--time", 0, name)
        podman("volume", "rm", "--force", self.volume)

    def requests(self, operation):
        """How often `operation` was called."""
        process = inspect("container", self.simulator)["State"]["Pid"]
        ask = f"import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:5000/_control/requests?operation={operation}').read().decode())"
        done = subprocess.run(
            ["nsenter", f"--net=/proc/{process}/ns/net", "python3", "-c", ask],
            capture_output=True,
            text=True,
            check=True,
        )
        return len(json.loads(done.stdout))

    def words(
        self, arguments, *, image=IMAGE, entrypoint=None, runner=None, options=(), **environment
    ):
        """The documented command line with this world's names in it."""
        words = documented_run()
        tail = words.index(next(word for word in words if word.startswith("acme/emr-etl-guard")))
        head = words[1:tail]
        replaced = {
            "/opt/snowplow:": f"{runner or World.folder / 'runner'}:",
            "/etc/snowplow:": f"{HERE / 'rehearsal'}:",
            "emr-etl-guard-state:": f"{self.volume}:",
        }
        for start, other in replaced.items():
            (index,) = (i for i, word in enumerate(head) if word.startswith(start))
            head[index] = head[index].replace(start, other, 1)
        environment = {
            "AWS_ENDPOINT_URL": "http://127.0.0.1:5000",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "AKIAGUARD",
            "AWS_SECRET_ACCESS_KEY": "guard-secret",
            "AWS_SNOWPLOW_ACCESS_KEY": "AKIAFAKE",
            "AWS_SNOWPLOW_SECRET_KEY": "runner-secret",
            "EMR_ETL_GUARD_ALLOW_ENDPOINTS": "http://127.0.0.1:5000",
            "EMR_ETL_GUARD_WATCH_INTERVAL": "100ms",
            "EMR_ETL_GUARD_REPORT": f"{STATE}/report.json",
            "STANDIN_POLL_MS": "200",
            "STANDIN_JOURNAL": f"{STATE}/standin.jsonl",
        } | environment
        more = [
            f"--network=container:{self.simulator}",
            *options,
            *(f"--env={name}={value}" for name, value in environment.items()),
        ]
        if entrypoint:
            more.append(f"--entrypoint={entrypoint}")
        return [*head, *more, image, *(words[tail + 1 :] if arguments is None else arguments)]

    def run(self, arguments=None, **how):
        """Runs to the end; without arguments, the documented ones."""
        return podman("run", *self.words(arguments, **how), check=False)

    def start(self, arguments=None, **how):
        """Starts, and returns the container's name."""
        name = f"guard-{self.number}-{len(self.containers)}"
        self.containers.append(name)
        words = [word for word in self.words(arguments, **how) if word != "--rm"]
        podman("run", "--detach", "--name", name, *words)
        return name

    def file(self, name):
        """A file on the state's volume, by its path outside of the container."""
        return pathlib.Path(inspect("volume", self.volume)["Mountpoint"]) / name

    def journal(self):
        """The stand-in runner's journal."""
        file = self.file("standin.jsonl")
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def runner_started(self):
        return any(entry["event"] == "started" for entry in self.journal())

    def hanging(self, how="hang", **more):
        """A run whose cluster is running and whose runner does not end by itself."""
        name = self.start(STANDIN_MISBEHAVE=how, **more)
        wait_for(
            "the runner's cluster",
            lambda: "started, waiting for jobflow" in podman("logs", name).stdout,
        )
        return name

    def ended(self, name):
        """The exit code of a container that has ended or is about to."""
        wait_for(f"{name}'s end", lambda: inspect("container", name)["State"]["Status"] == "exited")
        return inspect("container", name)["State"]["ExitCode"]


# The content of the image.


@case(
    "the image names its user by number, its entrypoint, volume, stop signal, and nothing that would be run instead"
)
def _():
    config = inspect("image", IMAGE)["Config"]
    equal(config["User"], f"{UID}:{UID}")
    equal(config["Entrypoint"], ["/usr/local/bin/snowplow-emr-etl-runner"])
    equal(config["StopSignal"], "SIGTERM")
    equal(list(config["Volumes"]), [STATE])
    equal(config.get("Cmd"), None)


@case(
    "labels tell title, licence, base and the version, which is that of Cargo.toml and of the binary"
)
def _():
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in inspect("image", IMAGE)["Labels"].items()
    }
    version = tomllib.loads((HERE.parent / "Cargo.toml").read_text())["package"]["version"]
    wanted = {
        "title": "emr-etl-guard",
        "licenses": "Apache-2.0",
        "version": version,
        "base.name": "docker.io/library/debian:bookworm-slim",
    }
    equal({name: labels.get(name) for name in wanted}, wanted)
    for name in ("description", "revision", "created"):
        assert name in labels, name
    equal(
        podman(
            "run", "--rm", "--network=none", "--entrypoint=emr-etl-guard", IMAGE, "--version"
        ).stdout,
        f"emr-etl-guard {version}\n",
    )


@case("no file is setuid or setgid or has capabilities")
def _():
    search = "find / -xdev -type f -perm /6000"
    for image in (IMAGE, JRE):
        equal(
            podman(
                "run", "--rm", "--network=none", "--user=0", "--entrypoint=sh", image, "-c", search
            ).stdout,
            "",
        )
        folder = podman("image", "mount", image).stdout.strip()
        try:
            marked = [
                str(file)
                for file in pathlib.Path(folder).rglob("*")
                if not file.is_symlink() and "security.capability" in os.listxattr(file)
            ]
        finally:
            podman("image", "unmount", image)
        equal(marked, [])


@case(
    "the image holds no compiler, no JRE, no way to fetch a program or to become another, no rehearsal"
)
def _():
    names = "as cc c++ cargo cpp curl emr-simulator gcc git java ld make nc pip python3 rustc ssh standin-runner sudo wget"
    equal(
        inside(IMAGE, f"for name in {names}; do command -v $name || true; done; ls /opt/snowplow"),
        "",
    )
    equal(inside(IMAGE, "ls /usr/local/bin"), "emr-etl-guard\nsnowplow-emr-etl-runner\n")


@case("its user can write to its state, to temporary folders, and nowhere else")
def _():
    script = r"find / -xdev \( -path /proc -o -path /sys -o -path /dev \) -prune -o ! -type l -writable -print 2> /dev/null || true"
    equal(sorted(inside(IMAGE, script).split()), ["/run/lock", "/tmp", STATE, "/var/tmp"])
    equal(
        inside(IMAGE, "id -u; id -g; id -G; stat -c %u:%g:%a ."),
        f"{UID}\n{UID}\n{UID}\n{UID}:{UID}:700\n",
    )


@case(
    "the SBOM is CycloneDX and lists every crate that is built into the guard, with Cargo.lock's version and checksum"
)
def _():
    sbom = json.loads(inside(IMAGE, "cat /usr/share/doc/emr-etl-guard/emr-etl-guard.cdx.json"))
    equal(
        (sbom["bomFormat"], sbom["specVersion"], sbom["metadata"]["component"]["name"]),
        ("CycloneDX", "1.5", "emr-etl-guard"),
    )
    locked = {
        (p["name"], p["version"]): p.get("checksum")
        for p in tomllib.loads((HERE.parent / "Cargo.lock").read_text())["package"]
    }
    listed = {
        (c["name"], c["version"]): {h["alg"]: h["content"] for h in c["hashes"]}["SHA-256"]
        for c in sbom["components"]
    }
    equal(
        listed,
        {crate: locked.get(crate) for crate in listed},
        "what the SBOM says against Cargo.lock",
    )
    tree = [
        "cargo",
        "tree",
        "--locked",
        "--package=emr-etl-guard",
        "--edges=normal,build",
        "--prefix=none",
        "--format={p}",
    ]
    lines = subprocess.run(
        tree, cwd=HERE.parent, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    built = {(name, version.removeprefix("v")) for name, version, *_ in map(str.split, lines)} - {
        ("emr-etl-guard", sbom["metadata"]["component"]["version"])
    }
    assert len(built) > 150, f"cargo tree lists only {len(built)} crates"
    equal(sorted(built - listed.keys()), [], "crates that the SBOM leaves out")
    for crate in ("proptest", "insta", "windows-sys"):
        assert crate not in {name for name, _ in listed}, (
            f"{crate} is in the SBOM, and not in the guard"
        )
    assert all(component.get("licenses") for component in sbom["components"]), (
        "a crate without a licence"
    )
    assert "Apache License" in inside(IMAGE, "cat /usr/share/doc/emr-etl-guard/LICENSE")


def section(program, wanted):
    """A section of a 64-bit ELF file. Source: elf(5)."""
    (start,) = struct.unpack_from("<Q", program, 0x28)
    size, count, names = struct.unpack_from("<HHH", program, 0x3A)
    headers = [
        struct.unpack_from("<IIQQQQ", program, start + index * size) for index in range(count)
    ]
    for name, _, _, _, offset, length in headers:
        begin = headers[names][4] + name
        if program[begin : program.index(b"\0", begin)] == wanted:
            return program[offset : offset + length]
    raise AssertionError(f"the program has no section {wanted}")


@case(
    "the program itself tells scanners every crate that is built into it, with Cargo.lock's version"
)
def _():
    program = World.folder / "program"
    podman_cp(program, image=IMAGE, path="/usr/local/bin/emr-etl-guard")
    packages = json.loads(zlib.decompress(section(program.read_bytes(), b".dep-v0")))["packages"]
    locked = {
        (p["name"], p["version"])
        for p in tomllib.loads((HERE.parent / "Cargo.lock").read_text())["package"]
    }
    told = {(p["name"], p["version"]) for p in packages}
    equal(sorted(told - locked), [], "crates that Cargo.lock does not know")
    for crate in ("aws-sdk-emr", "rustls", "tokio", "yaml_serde"):
        assert crate in {name for name, _ in told}, f"{crate} is not told"


# The behaviour, on a read-only root, without any capability, as documented.


@case("a good run exits 0 with nothing on standard error, and AWS saw one cluster")
def _():
    with World() as world:
        done = world.run()
        equal((done.returncode, done.stderr), (0, ""), done.stdout)
        assert (
            "Completed successfully" in done.stdout
            and "emr-etl-guard: confirmed: cluster j-" in done.stdout
        ), done.stdout
        equal(world.requests("RunJobFlow"), 1)
        equal(
            (
                world.file("report.json").stat().st_uid,
                json.loads(world.file("report.json").read_text())["outcome"],
            ),
            (UID, {"ended": 0}),
        )


@case("the runner's own codes pass through: 3 where there is no data, 9 where it says so")
def _():
    with World() as world:
        equal(world.run().returncode, 0)
        done = world.run()
        equal((done.returncode, done.stderr), (3, ""), done.stdout)
        equal(world.run(STANDIN_MISBEHAVE="exit=9").returncode, 9)


@case(
    "what a run remembers on the volume, the next container knows: the runner is asked for its version once"
)
def _():
    with World() as world:
        world.run()
        world.run()
        asked = [
            entry
            for entry in world.journal()
            if entry["event"] == "spawned" and entry["argv"] == ["--version"]
        ]
        equal(len(asked), 1)


@case("a refusal exits 77, starts no runner and no cluster")
def _():
    with World() as world:
        done = world.run(EMR_ETL_GUARD_SECURITY_CONFIGURATION="acme-missing")
        equal(done.returncode, 77, done.stdout + done.stderr)
        first = done.stderr.splitlines()[0]
        assert (
            first.startswith("emr-etl-guard: REFUSED, nothing was launched")
            and "acme-missing" in first
        ), first
        equal((world.runner_started(), world.requests("RunJobFlow")), (False, 0))


@case("an unsafe cluster is terminated: 76")
def _():
    with World() as world:
        done = world.run(STANDIN_MISBEHAVE="drop-security-configuration")
        equal(done.returncode, 76, done.stdout + done.stderr)
        assert world.requests("TerminateJobFlows") >= 1


@case("without a runner it exits 127 and names the place where one should be")
def _():
    with World() as world:
        (World.folder / "empty").mkdir(exist_ok=True)
        done = world.run(runner=World.folder / "empty")
        equal(done.returncode, 127, done.stdout)
        assert RUNNER in done.stderr, done.stderr


@case("the root is read-only and /tmp can be written to and executed from")
def _():
    with World() as world:
        script = "cp /bin/true /tmp/true && /tmp/true && touch $HOME/file && echo works; for place in / /etc /usr /opt; do ! touch $place/file; done"
        done = world.run(["-c", script], entrypoint="sh")
        equal(
            (done.returncode, done.stdout, done.stderr.count("Read-only file system")),
            (0, "works\n", 4),
            done.stderr,
        )


@case("the guard is PID 1, with no privilege, and the runner its child in a group of its own")
def _():
    with World() as world:
        name = world.hanging()
        state = inspect("container", name)["State"]
        guard = pathlib.Path(f"/proc/{state['Pid']}")
        equal(os.readlink(guard / "exe"), "/usr/local/bin/emr-etl-guard")
        status = dict(line.split(":\t", 1) for line in (guard / "status").read_text().splitlines())
        equal(status["NSpid"].split()[-1], "1")
        equal((set(status["Uid"].split()), set(status["Gid"].split())), ({str(UID)}, {str(UID)}))
        equal(
            (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]),
            (0, 0, "1"),
        )
        (child,) = (
            guard / "task" / str(state["Pid"]) / "children"
        ).read_text().split() or children(state["Pid"])
        equal(os.readlink(f"/proc/{child}/exe"), RUNNER)
        equal(os.getpgid(int(child)), int(child))


def children(process):
    """The child processes of all threads of `process`."""
    return [
        child
        for file in pathlib.Path(f"/proc/{process}/task").glob("*/children")
        for child in file.read_text().split()
    ]


def bare(world, signal):
    """The exit code of the runner alone, as PID 1, after a signal."""
    name = world.start(
        ["run", "-c", "/etc/snowplow/config.yml", "-r", "/etc/snowplow/resolver.json"],
        entrypoint=RUNNER,
        STANDIN_MISBEHAVE="hang",
    )
    wait_for(
        "the runner's cluster",
        lambda: "started, waiting for jobflow" in podman("logs", name).stdout,
    )
    podman("kill", "--signal", signal, name)
    return world.ended(name)


def signalled(signal, number, stop):
    """The guard's exit code is the runner's own, and the runner got the signal once."""
    with World() as world:
        equal(bare(world, signal), 128 + number, "the runner bare")
    with World() as world:
        name = world.hanging()
        began = time.monotonic()
        stop(name)
        equal(world.ended(name), 128 + number, podman("logs", name).stderr)
        took = time.monotonic() - began
        equal(
            [entry["signal"] for entry in world.journal() if entry["event"] == "signal"], [number]
        )
        assert world.file("report.json").exists(), "the guard did not come to its own end"
        assert took < GRACE, f"it took {took:.1f} s"
        equal(
            world.requests("TerminateJobFlows"),
            0,
            "a verified cluster goes on, as without the guard",
        )


@case(
    "`podman stop` (SIGTERM) reaches the runner, and both exit 143 within the stop timeout, as the runner does alone"
)
def _():
    signalled("TERM", 15, lambda name: podman("stop", "--time", GRACE, name))


@case("SIGINT ends both with 130, as the runner alone")
def _():
    signalled("INT", 2, lambda name: podman("kill", "--signal", "INT", name))


@case("SIGHUP ends both with 129, as the runner alone")
def _():
    signalled("HUP", 1, lambda name: podman("kill", "--signal", "HUP", name))


def ignoring(*grace):
    """A runner that ignores SIGTERM, and a stop within `grace` seconds, the documented ones by
    default; returns how long it took.
    """
    with World() as world:
        name = world.hanging("hang,ignore-sigterm")
        began = time.monotonic()
        podman("stop", *(f"--time={seconds}" for seconds in grace), name)
        took = time.monotonic() - began
        signals = [
            (entry["signal"], entry["ignored"])
            for entry in world.journal()
            if entry["event"] == "signal"
        ]
        # podman's own SIGKILL would give the same code. The difference is the report, which the
        # guard writes last.
        saw = (world.ended(name), signals, world.file("report.json").exists())
        equal(
            saw,
            (137, [(15, True)], True),
            f"code, the runner's signals, report; after {took:.1f} s: {podman('logs', name).stderr}",
        )
        return took


@case(
    "a runner that ignores SIGTERM is killed after half of stop_timeout (8 s), and the guard comes to its own end within the whole of it"
)
def _():
    took = ignoring()
    assert 4 <= took < 8 + 2, f"it took {took:.1f} s"


@case("the same holds within the 10 s that docker grants by itself")
def _():
    ignoring(GRACE)


@case("as PID 1 it reaps what the runner leaves: no zombie of 1000 orphans")
def _():
    folder = World.folder / "leaving"
    folder.mkdir(exist_ok=True)
    # Each subshell starts a process and ends at once, so that PID 1 becomes the parent of that
    # process for the seconds that it lives.
    script = '#!/bin/sh\n[ "$1" = --version ] || for _ in $(seq 1000); do (sleep 5 &); done\nexec /opt/snowplow/standin "$@"\n'
    (folder / "snowplow-emr-etl-runner").write_text(script)
    (folder / "snowplow-emr-etl-runner").chmod(0o755)
    podman_cp(folder / "standin")
    with World() as world:
        name = world.hanging(runner=folder)
        process = inspect("container", name)["State"]["Pid"]
        wait_for("1000 orphans of PID 1", lambda: len(children(process)) > 1000)
        states = lambda: [state for state in map(state_of, children(process)) if state]
        # A process that has just ended is a zombie until PID 1 reaps it; if it is never reaped,
        # this wait fails.
        wait_for(
            "the end of every orphan, zombies included, so that the runner alone is left",
            lambda: len(states()) == 1,
        )
        podman("stop", name)
        equal(world.ended(name), 143)


def state_of(process):
    """The state's letter, such as Z for a zombie; empty if there is no such process."""
    try:
        return re.search(
            r"^State:\t(.)", pathlib.Path(f"/proc/{process}/status").read_text(), re.MULTILINE
        )[1]
    # The process can end between opening the file and reading it.
    except (FileNotFoundError, ProcessLookupError):
        return None


@case("a run leaves its journal on the volume")
def _():
    with World() as world:
        equal(world.run().returncode, 0)
        left = [
            file
            for file in world.file(".").iterdir()
            if file.name not in (".cache", "report.json", "standin.jsonl")
        ]
        assert left, "the state's folder holds nothing of the guard's"


@case("without a place for its state the guard refuses to launch")
def _():
    with World() as world:
        done = world.run(EMR_ETL_GUARD_STATE_DIR="/nowhere")
        assert done.returncode not in (0, 3) and "/nowhere" in done.stderr, (
            done.returncode,
            done.stderr,
        )
        equal((world.runner_started(), world.requests("RunJobFlow")), (False, 0))


@case("--entrypoint emr-etl-guard reaches check, explain and the settings file in its place")
def _():
    with World() as world:
        arguments = documented_run()[-5:]
        done = world.run(["check", "--", *arguments], entrypoint="emr-etl-guard")
        equal((done.returncode, done.stderr), (0, ""), done.stdout)
        assert "emr-etl-guard: would launch" in done.stdout, done.stdout
        equal((world.runner_started(), world.requests("RunJobFlow")), (False, 0))
        done = world.run(["explain", "in-transit"], entrypoint="emr-etl-guard")
        assert done.returncode == 0 and "in-transit" in done.stdout, done
        settings = World.folder / "guard.yml"
        settings.write_text("security_configuration: acme-from-settings\n")
        done = world.run(options=[f"--volume={settings}:/etc/emr-etl-guard/guard.yml:ro"])
        assert done.returncode == 77 and "acme-from-settings" in done.stderr, done


# With a JRE, and on an image that contains the runner.


@case("with the JRE as a build argument, the runner may be a jar")
def _():
    folder = World.folder / "jar"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "runner.jar", "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Main-Class: Runner\n")
        jar.writestr("Runner.class", class_that_prints("snowplow-emr-etl-runner 1.0.4"))
    with World() as world:
        done = world.run(
            ["--version"],
            image=JRE,
            runner=folder,
            EMR_ETL_GUARD_RUNNER="/opt/snowplow/runner.jar",
            JAVA_OPTS="-Xmx32m",
        )
        equal(
            (done.returncode, done.stdout, done.stderr), (0, "snowplow-emr-etl-runner 1.0.4\n", "")
        )
        done = world.run(
            ["--version"], runner=folder, EMR_ETL_GUARD_RUNNER="/opt/snowplow/runner.jar"
        )
        equal(done.returncode == 0, False, "without a JRE")


def class_that_prints(text):
    """A Java class `Runner` whose main prints `text`; written by hand, because this machine has no
    compiler.
    """
    pool = []

    def constant(tag, *parts):
        pool.append(bytes([tag]) + b"".join(parts))
        return len(pool)

    def short(number):
        return struct.pack(">H", number)

    def utf8(string):
        return constant(1, short(len(string)), string.encode())

    def class_of(name):
        return constant(7, short(utf8(name)))

    def member(tag, owner, name, kind):
        return constant(
            tag, short(class_of(owner)), short(constant(12, short(utf8(name)), short(utf8(kind))))
        )

    out = member(9, "java/lang/System", "out", "Ljava/io/PrintStream;")
    println = member(10, "java/io/PrintStream", "println", "(Ljava/lang/String;)V")
    said = constant(8, short(utf8(text)))
    this, parent = class_of("Runner"), class_of("java/lang/Object")
    main, kind, code = utf8("main"), utf8("([Ljava/lang/String;)V"), utf8("Code")
    # getstatic, ldc, invokevirtual, return
    body = b"\xb2" + short(out) + b"\x12" + bytes([said]) + b"\xb6" + short(println) + b"\xb1"
    attribute = short(2) + short(1) + struct.pack(">I", len(body)) + body + short(0) + short(0)
    method = (
        short(0x0009)
        + short(main)
        + short(kind)
        + short(1)
        + short(code)
        + struct.pack(">I", len(attribute))
        + attribute
    )
    # Version 49: the last one without stack maps.
    head = b"\xca\xfe\xba\xbe" + short(0) + short(49) + short(len(pool) + 1) + b"".join(pool)
    return (
        head
        + short(0x0021)
        + short(this)
        + short(parent)
        + short(0)
        + short(0)
        + short(1)
        + method
        + short(0)
    )


def buildah(*words):
    """Builds; returns exit code and both streams. As in docker/test, buildah's own failure with a
    sealed copy of itself is not the image's.
    """
    command = [
        "buildah",
        "bud",
        "--isolation=chroot",
        "--network=host",
        "--pull-never",
        *map(str, words),
    ]
    for _ in range(3):
        done = subprocess.run(
            command,
            cwd=HERE.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if "sealing memfd copy" not in done.stderr:
            break
    return done


@case(
    "over-runner.Dockerfile puts the guard over an image that has a runner and an entrypoint of its own"
)
def _():
    folder = World.folder / "theirs"
    folder.mkdir(exist_ok=True)
    podman_cp(folder / "runner")
    (folder / "entrypoint").write_text('#!/bin/sh\nexec snowplow-emr-etl-runner "$@"\n')
    (folder / "entrypoint").chmod(0o755)
    # A common installation: the runner in a folder of its own at the end of PATH, a user of its
    # own, a script that starts it.
    (folder / "Dockerfile").write_text(
        "FROM docker.io/library/debian:bookworm-slim\n"
        "RUN useradd --uid 1234 snowplow && apt-get -qq update && apt-get -qq install --yes --no-install-recommends ca-certificates > /dev/null\n"
        "COPY runner /snowplow/bin/snowplow-emr-etl-runner\nCOPY entrypoint /snowplow/entrypoint\n"
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snowplow/bin\n"
        'USER snowplow\nENTRYPOINT ["/snowplow/entrypoint"]\n'
    )
    built = buildah("--tag=localhost/theirs", folder)
    equal(built.returncode, 0, built.stdout + built.stderr)
    over = [
        f"--file={HERE / 'over-runner.Dockerfile'}",
        f"--build-arg=GUARD_IMAGE={IMAGE}",
        "--build-arg=IMAGE_USER=snowplow",
    ]

    def put_over(runner_image, runner):
        return buildah(
            "--tag=localhost/over",
            *over,
            f"--build-arg=RUNNER_IMAGE={runner_image}",
            f"--build-arg=RUNNER={runner}",
            ".",
        )

    built = put_over("localhost/theirs", "/snowplow/bin/snowplow-emr-etl-runner")
    equal(built.returncode, 0, built.stdout + built.stderr)
    try:
        with World() as world:
            done = world.run(image="localhost/over")
            equal((done.returncode, done.stderr), (0, ""), done.stdout)
            assert "emr-etl-guard: confirmed" in done.stdout, done.stdout
            equal(world.file("report.json").stat().st_uid, 1234)
            done = world.run(
                image="localhost/over", EMR_ETL_GUARD_SECURITY_CONFIGURATION="acme-missing"
            )
            equal(done.returncode, 77)
        for complaint, image, runner in (
            ("RUNNER: there is no /nowhere", "localhost/theirs", "/nowhere"),
            (
                "the image lacks ca-certificates: install them",
                "docker.io/library/debian:bookworm-slim",
                "/bin/true",
            ),
            (
                "/usr/local/bin/snowplow-emr-etl-runner is the guard's place: move the runner elsewhere in its own image",
                IMAGE,
                "/bin/true",
            ),
        ):
            # On a busy machine buildah can lose the output of a step that ended at once, but never
            # its exit code.
            for _ in range(3):
                built = put_over(image, runner)
                assert built.returncode != 0, (complaint, built)
                # On a line of its own, because the step itself is printed, too.
                if complaint in (built.stdout + built.stderr).splitlines():
                    break
            else:
                raise AssertionError((complaint, built))
    finally:
        podman("rmi", "--force", "localhost/over", "localhost/theirs", check=False)


# The rehearsal.


@case("compose.yml is what the Compose Specification allows")
def _():
    text = (HERE / "compose.yml").read_text()
    compose = compose_spec.PyCompose.from_yaml(text)
    compose.validate()
    equal(sorted(compose.service_names()), ["guard", "simulator"])
    for right, wrong in (("read_only: true", "readonly: true"), ("cap_drop: [ALL]", "cap_drop: 5")):
        with contextlib.suppress(ValueError):
            compose_spec.PyCompose.from_yaml(text.replace(right, wrong)).validate()
            raise AssertionError(f"{wrong} passed, too")


def compose(*words):
    command = [
        "podman-compose",
        "--no-ansi",
        "--in-pod=false",
        f"--file={HERE / 'compose.yml'}",
        *words,
    ]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )


@case(
    "compose.yml plays a good run (0), a refusal (77) and an unsafe cluster (76), in a network that ends at itself"
)
def _():
    try:
        done = compose("up", "--no-build", "--exit-code-from", "guard")
        equal(done.returncode, 0, done.stdout + done.stderr)
        assert "emr-etl-guard: confirmed: cluster j-" in done.stdout, done.stdout
        equal(compose("down", "--volumes").returncode, 0)
        # The commands in its comments, with -T because there is no terminal here.
        for code, variable in (
            (77, "EMR_ETL_GUARD_SECURITY_CONFIGURATION=acme-missing"),
            (76, "STANDIN_MISBEHAVE=drop-security-configuration"),
        ):
            assert f"run --rm -e {variable} guard" in (HERE / "compose.yml").read_text(), variable
            done = compose("run", "--rm", "-T", "-e", variable, "guard")
            equal(done.returncode, code, done.stdout + done.stderr)
        devices = podman(
            "exec", "emr-etl-guard-rehearsal_simulator_1", "cat", "/proc/net/dev"
        ).stdout
        equal(re.findall(r"^ *(\S+):", devices, re.MULTILINE), ["lo"])
    finally:
        compose("down", "--volumes")


# The sentinel, which is a service.

SENTINEL = HERE / "sentinel.compose.yml"


@case("sentinel.compose.yml is what the Compose Specification allows")
def _():
    text = SENTINEL.read_text()
    compose = compose_spec.PyCompose.from_yaml(text)
    compose.validate()
    equal(list(compose.service_names()), ["sentinel"])
    with contextlib.suppress(ValueError):
        wrong = text.replace("interval: 30s", "interval: [30s]")
        compose_spec.PyCompose.from_yaml(wrong).validate()
        raise AssertionError("a health check with a list as its interval passed, too")


@case(
    "sentinel.compose.yml keeps a sentinel that is healthy once it watches, without any privilege; a second one on its volume is refused; a stop ends it with 0"
)
def _():
    folder = World.folder / "sentinel"
    folder.mkdir(exist_ok=True)
    (folder / SENTINEL.name).write_text(SENTINEL.read_text())
    (folder / "guard.yml").write_text(
        "require: [s3-at-rest]\nsentinel:\n  regions: [eu-west-1]\n  interval: 1s\n"
        "  listen: 127.0.0.1:9477\n"
    )
    name = "emr-etl-guard-sentinel_sentinel_1"
    with World() as world:
        # What the file takes from the environment.
        credentials = {
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "AKIAGUARD",
            "AWS_SECRET_ACCESS_KEY": "guard-secret",
            "AWS_SESSION_TOKEN": "",
        }
        environment = {
            "AWS_ENDPOINT_URL": "http://127.0.0.1:5000",
            "AWS_EC2_METADATA_DISABLED": "true",
            "EMR_ETL_GUARD_ALLOW_ENDPOINTS": "http://127.0.0.1:5000",
        }
        here = {
            "image": IMAGE,
            "network_mode": f"container:{world.simulator}",
            # As in the file that it is added to, a list.
            "environment": [f"{variable}={value}" for variable, value in environment.items()],
        }
        override = folder / "here.yml"
        # JSON is YAML.
        override.write_text(json.dumps({"services": {"sentinel": here}}))

        def sentinel(*words):
            files = [f"--file={file}" for file in (folder / SENTINEL.name, override)]
            return subprocess.run(
                ["podman-compose", "--no-ansi", "--in-pod=false", *files, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
                # podman's own timers for health checks need systemd; here the test asks.
                env=os.environ | credentials | {"DISABLE_HC_SYSTEMD": "true"},
            )

        try:
            done = sentinel("up", "--detach")
            equal(done.returncode, 0, done.stdout + done.stderr)
            try:
                wait_for(
                    "a sentinel that is healthy",
                    lambda: podman("healthcheck", "run", name, check=False).returncode == 0,
                    60,
                )
            except AssertionError as error:
                raise AssertionError(f"{error}\n{podman('logs', name)}") from error
            process = inspect("container", name)["State"]["Pid"]
            status = dict(
                line.split(":\t", 1)
                for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
            )
            equal(
                (set(status["Uid"].split()), int(status["CapBnd"], 16), status["NoNewPrivs"]),
                ({str(UID)}, 0, "1"),
            )
            touch = podman("exec", name, "touch", "/etc/file", check=False)
            assert "Read-only file system" in touch.stderr, touch
            second = sentinel("run", "--rm", "-T", "sentinel")
            assert second.returncode not in (0, 1, 125, 126, 127), second
            podman("stop", name, timeout=120)
            equal(inspect("container", name)["State"]["ExitCode"], 0, podman("logs", name))
        finally:
            sentinel("down", "--volumes")


def podman_cp(to, image=REHEARSAL, path=RUNNER):
    """Copies a file from an image; the stand-in runner by default."""
    name = podman("create", image).stdout.strip()
    podman("cp", f"{name}:{path}", to)
    podman("rm", "--volumes", name)


def main(folder, wanted):
    World.folder = folder / "mounted"
    World.folder.mkdir()
    # A container's user must be able to enter these folders.
    for place in (folder, World.folder):
        place.chmod(0o755)
    (World.folder / "runner").mkdir()
    podman_cp(World.folder / "runner" / "snowplow-emr-etl-runner")
    names = [name for name, _ in CASES]
    failed = 0
    ran = [
        (name, function)
        for name, function in CASES
        if not wanted or any(word in name for word in wanted)
    ]
    for name, function in ran:
        began = time.monotonic()
        try:
            function()
        except Exception as error:
            failed += 1
            print(f"docker: FAILED {name}")
            print(
                "    " + ("".join(traceback.format_exception(error))).replace("\n", "\n    "),
                flush=True,
            )
        else:
            print(f"docker: ok {name} ({time.monotonic() - began:.1f} s)", flush=True)
    print(f"{len(ran) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]))
