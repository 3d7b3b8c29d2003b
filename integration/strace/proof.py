"""Owns the proof that the guard writes neither the sealed config nor a secret to any file, puts
neither in an argument, and prints no secret.

    proof.py FOLDER

FOLDER holds the built emr-etl-guard, standin-runner and emr-simulator.

Whole runs go under strace, the stand-in runner as their child, the simulator as AWS. From the
trace:

- every file opened for writing is on a short list, and so is every new name that a file gets;
- no bytes written to a file hold a secret or a part of the sealed config; a secret goes through one
  pipe, the runner's standard input, and through no socket;
- no program's arguments hold either;
- nothing is written in a way that these traces could not show (shared mappings, io_uring, splicing,
  memory files).

Afterwards no file in the run's folders holds a secret, and neither does what the guard printed. So
that this cannot pass by looking at nothing, each run must have shown what a good trace shows, and
at the end programs that do leak must be caught.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDINGS = ROOT / "tests" / "recordings"

# Letters and digits only, so that no encoding on the way (JSON, YAML, URLs, strace's own) changes
# them.
RUNNER_SECRET = "secretOfTheRunnerQ7v2Zk9XbL4mT8wRsY1pN6cF3hJ5d"
GUARD_SECRET = "secretOfTheGuardK3n8Vx5QzW1tB7yMgP9rL2jH6fC4s"
# A value of the runner config that is not a secret and that only the sealed config contains; the
# runner sends it to EMR.
SEALED = "keyNameInTheSealedConfigD5u9Ew2R"

# With a `?` a call may be missing, as the older ones are on newer architectures.
CALLS = {
    "opening": "open openat openat2 creat open_by_handle_at",
    "writing": "write writev pwrite64 pwritev pwritev2",
    "sending": "sendto sendmsg sendmmsg",
    "starting": "execve execveat",
    "naming": "rename renameat renameat2 link linkat symlink symlinkat mknod mknodat",
    "mapping": "mmap",
    # Ways to write to a file without showing the bytes, and files that are in memory only: none of
    # them is needed.
    "hidden": "io_uring_setup memfd_create copy_file_range sendfile splice tee vmsplice process_vm_writev setxattr lsetxattr fsetxattr",
}
KIND = {call: kind for kind, calls in CALLS.items() for call in calls.split()}

STRING_LIMIT = 4 << 20
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?')
LINE = re.compile(r"^(\w+)\((.*)\)\s+= (.*)$")
CUT = re.compile(r"^(\w+)\((.*?)\)? <(?:unfinished|detached) \.\.\.>()$")
# `3</tmp/x>`, `3<pipe:[77]>`, `3</dev/null<char 1:3>>`
DESCRIPTOR = re.compile(r"^(?:\d+|AT_FDCWD)<(.+?)>(?=, |$)")
WRITABLE = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE")


class Trace:
    """A run's system calls, read from strace's files, one for each thread."""

    def __init__(self, folder: pathlib.Path):
        self.trouble: list[str] = []
        # File: opened for writing.
        self.opened: set[str] = set()
        # (Old, new) name.
        self.named: set[tuple[str, str]] = set()
        # The target: all bytes, in the order each thread wrote them.
        self.written: dict[str, bytearray] = {}
        self.arguments: list[list[bytes]] = []
        for file in sorted(folder.iterdir()):
            for line in file.read_text(errors="surrogateescape").splitlines():
                self.read(line)

    def read(self, line: str):
        if line.startswith(("+++", "---")):
            return
        if line.startswith("???("):
            # A thread that was killed before its call began: strace could not read any more which
            # call it would have been, and the kernel did not carry it out (`__seccomp_filter` skips
            # the call of a thread with a fatal signal).
            return
        if line.startswith("syscall_0xfffffffffffff"):
            # A thread that was killed as its call returned. strace takes the result for the call's
            # number (they share a field of `ptrace_syscall_info`): here an error, so the call that
            # is meant has changed nothing.
            return
        # The thread was killed inside the call where the line ends differently; the trace still
        # shows the bytes that the call would have written.
        match = LINE.match(line) or CUT.match(line)
        if not match or match[1] not in KIND:
            self.trouble.append(f"a line that is not understood: {line[:200]}")
            return
        call, arguments, result = match[1], match[2], match[3]
        strings = []
        for text, cut in STRING.findall(arguments):
            if cut:
                self.trouble.append(f"a text that strace cut: {line[:200]}")
            strings.append(
                text.encode(errors="surrogateescape").decode("unicode_escape").encode("latin-1")
            )
        getattr(self, KIND[call])(call, arguments, strings, result)

    def opening(self, call, arguments, strings, result):
        if result.startswith("-1 ") or not (
            call == "creat" or any(flag in STRING.sub("", arguments) for flag in WRITABLE)
        ):
            return
        opened = re.match(r"^\d+<(.+)>$", result)
        if opened:
            self.opened.add(plain(opened[1]))
        elif re.fullmatch(r"|\?.*|\d+", result):
            # The process ended during this call, or before strace could ask for the name of what
            # it opened.
            folder = DESCRIPTOR.match(arguments)
            self.opened.add(
                os.path.join(plain(folder[1]) if folder else "", os.fsdecode(strings[0]))
            )
        else:
            self.trouble.append(
                f"an opened file without a name: {call}({arguments[:200]}) = {result}"
            )

    def writing(self, call, arguments, strings, _result):
        descriptor = DESCRIPTOR.match(arguments)
        if not descriptor:
            self.trouble.append(f"a descriptor without a name: {call}({arguments[:200]}")
            return
        self.written.setdefault(plain(descriptor[1]), bytearray()).extend(b"".join(strings))

    sending = writing

    def starting(self, _call, arguments, strings, result):
        # Without -v strace prints the number of variables instead of the environment.
        if "/*" not in arguments:
            self.trouble.append(f"a start that is not understood: {arguments[:200]}")
        if not result.startswith("-1 "):
            self.arguments.append(strings)

    def naming(self, call, _arguments, strings, result):
        if not result.startswith("-1 "):
            names = [os.fsdecode(name) for name in strings]
            self.named.add(
                (names[0], names[-1]) if call.startswith("rename") else (call, names[-1])
            )

    def mapping(self, call, arguments, _strings, _result):
        if (
            "MAP_SHARED" in arguments
            and "PROT_WRITE" in arguments
            and "MAP_ANONYMOUS" not in arguments
        ):
            self.trouble.append(f"a file mapped for writing: {call}({arguments[:200]})")

    def hidden(self, call, arguments, _strings, result):
        if not result.startswith("-1 "):
            self.trouble.append(f"a way of writing that shows no bytes: {call}({arguments[:200]})")


def plain(name: str) -> str:
    """A descriptor's name without strace's suffix for a device."""
    return re.sub(r"<(char|block) [\d:]+>$", "", name)


def draft(name: str) -> str:
    """The name of a temporary file for this name, as a regular expression, because it is
    unpredictable.
    """
    return f"\\.{re.escape(name)}\\.[0-9A-Za-z]{{16,}}\\.part"


def judge(trace: Trace, may_open: list[str], may_name: list[tuple[str, str]]) -> list[str]:
    """All violations. `may_open` and `may_name` are whole names as regular expressions."""
    wrong = list(trace.trouble)
    for name in sorted(trace.opened):
        if not any(re.fullmatch(pattern, name) for pattern in may_open):
            wrong.append(f"a file that is not on the list was opened for writing: {name}")
    for old, new in sorted(trace.named):
        if not any(re.fullmatch(a, old) and re.fullmatch(b, new) for a, b in may_name):
            wrong.append(f"a new name that is not on the list: {old} -> {new}")
    for target, text in trace.written.items():
        for what in (RUNNER_SECRET, GUARD_SECRET, SEALED):
            if target.startswith("/") and what.encode() in text:
                wrong.append(f"{what} was written to the file {target}")
        for secret in (RUNNER_SECRET, GUARD_SECRET):
            if not target.startswith(("/", "pipe:")) and secret.encode() in text:
                wrong.append(f"{secret} was written to {target}")
    pipes = [
        target
        for target, text in trace.written.items()
        if target.startswith("pipe:") and RUNNER_SECRET.encode() in text
    ]
    if len(pipes) > 1:
        wrong.append(f"the runner's secret went through {len(pipes)} pipes")
    if any(GUARD_SECRET.encode() in text for text in trace.written.values()):
        wrong.append("the guard's own secret was written somewhere")
    for words in trace.arguments:
        for what in (RUNNER_SECRET, GUARD_SECRET, SEALED):
            if any(what.encode() in word for word in words):
                wrong.append(f"{what} was an argument of {words[0].decode()}")
    return wrong


def strace(
    argv: list, folder: pathlib.Path, env: dict
) -> tuple[subprocess.CompletedProcess, Trace]:
    """Runs `argv` in `folder` under strace. The traces contain the secrets, so they are elsewhere,
    and deleted when this returns.
    """
    calls = ",".join(f"?{call}" for call in KIND)
    with tempfile.TemporaryDirectory() as traces:
        options = [
            "-ff",
            "-qqq",
            "-yy",
            "--seccomp-bpf",
            "-s",
            str(STRING_LIMIT),
            "-e",
            f"trace={calls}",
            "-e",
            "signal=none",
            "-o",
            f"{traces}/t",
        ]
        done = subprocess.run(
            ["strace", *options, *argv],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
            check=False,
        )
        return done, Trace(pathlib.Path(traces))


class Proof:
    """The simulator, and runs against it."""

    def __init__(self, programs: pathlib.Path, url: str, folder: pathlib.Path):
        self.programs, self.url, self.folder = programs, url, folder
        self.wrong: list[str] = []
        config = (RECORDINGS / "config.yml").read_text()
        for old, new in [
            ("security_configuration:\n", "security_configuration: acme-sc\n"),
            ("ec2_key_name: acme-key", f"ec2_key_name: {SEALED}"),
        ]:
            assert config.count(old) == 1, old
            config = config.replace(old, new)
        (folder / "config.yml").write_text(config)
        (folder / "resolver.json").write_text((RECORDINGS / "resolver.json").read_text())
        # Given explicitly, so that this machine's own settings are never read.
        (folder / "guard.yml").write_text("")
        self.env = {
            "PATH": os.environ["PATH"],
            # The guard prevents access to its memory, which also prevents an strace that is not
            # root's.
            "EMR_ETL_GUARD_CORE_DUMPS": "true",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "AWS_ENDPOINT_URL": url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "AKIAGUARD",
            "AWS_SECRET_ACCESS_KEY": GUARD_SECRET,
            "AWS_SNOWPLOW_ACCESS_KEY": "AKIAFAKE",
            "AWS_SNOWPLOW_SECRET_KEY": RUNNER_SECRET,
            "EMR_ETL_GUARD_SETTINGS": str(folder / "guard.yml"),
            "EMR_ETL_GUARD_RUNNER": str(programs / "standin-runner"),
            "EMR_ETL_GUARD_ALLOW_ENDPOINTS": url,
            "EMR_ETL_GUARD_WATCH_INTERVAL": "200ms",
            "EMR_ETL_GUARD_STATE_DIR": str(folder / "state"),
            "EMR_ETL_GUARD_REPORT": str(folder / "report.json"),
            # The log level of a person who debugs.
            "EMR_ETL_GUARD_LOG": "trace",
            "STANDIN_POLL_MS": "50",
            "STANDIN_JOURNAL": str(folder / "journal"),
        }
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        here = re.escape(str(folder))
        memory = f"{here}/home/\\.cache/emr-etl-guard"
        self.may_open = [
            "/dev/null",
            "/dev/tty",
            # The guard's files: the temporary files of the report, of the version cache and of the
            # chain, and the journal.
            f"{here}/{draft('report.json')}",
            f"{memory}/{draft('runner-versions.json')}",
            f"{here}/state/lock",
            f"{here}/state/{draft('chain.json')}",
            f"{here}/state/runs/[0-9a-f-]+\\.journal",
            # The stand-in runner's.
            f"{here}/journal",
            f"{here}/lock",
        ]
        self.may_name = [
            (f"{here}/{draft('report.json')}", f"{here}/report\\.json"),
            # In a folder of the guard's own, opened by its descriptor, so without the folder's
            # name.
            (draft("runner-versions.json"), "runner-versions\\.json"),
            (draft("chain.json"), "chain\\.json"),
        ]

    def control(self, *commands: dict):
        """Sets the simulated world."""
        request = urllib.request.Request(
            f"{self.url}/_control/apply",
            json.dumps(commands).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request):
            pass

    def guard(self, name: str, wanted: int, *words: str, **more: str) -> Trace:
        """Runs the guard under strace, and checks the trace."""
        done, trace = strace(
            [self.programs / "emr-etl-guard", *words], self.folder, self.env | more
        )
        wrong = judge(trace, self.may_open, self.may_name)
        if done.returncode != wanted:
            wrong.append(f"exit {done.returncode} instead of {wanted}")
        for stream, text in (("standard output", done.stdout), ("standard error", done.stderr)):
            for secret in (RUNNER_SECRET, GUARD_SECRET):
                if secret.encode() in text:
                    wrong.append(f"{secret} is on {stream}")
        for file in self.folder.rglob("*"):
            if file.is_file():
                for what in (RUNNER_SECRET, GUARD_SECRET, SEALED):
                    if what.encode() in file.read_bytes() and (file.name, what) != (
                        "config.yml",
                        SEALED,
                    ):
                        wrong.append(f"{what} is in {file}")
        self.tell(name, wrong, (done.stdout + done.stderr).decode(errors="replace"))
        return trace

    def tell(self, name: str, wrong: list[str], output: str = ""):
        """Prints a result."""
        self.wrong += wrong
        print(f"strace: {'FAILED' if wrong else 'ok'} {name}", flush=True)
        for line in wrong:
            print(f"    {line}")
        if wrong and output:
            print(f"    --- it printed\n{output[-8000:]}")

    def has_shown(self, name: str, trace: Trace, opened: list[str]):
        """A trace with fewer events than a run has is no evidence."""
        wrong = []
        for file in opened:
            if not any(re.fullmatch(file, seen) for seen in trace.opened):
                wrong.append(f"the trace does not show that {file} was opened")
        through = {
            what: {t.split(":")[0] for t, text in trace.written.items() if what.encode() in text}
            for what in (RUNNER_SECRET, SEALED)
        }
        if through[RUNNER_SECRET] != {"pipe"}:
            wrong.append(
                f"the sealed config's secret should go through a pipe, went through {sorted(through[RUNNER_SECRET])}"
            )
        if through[SEALED] != {"pipe", "TCP"}:
            wrong.append(
                f"the sealed config should go to the runner by a pipe and to EMR by TCP, went through {sorted(through[SEALED])}"
            )
        if not any(
            words[0].endswith(b"/standin-runner") and b"-" in words for words in trace.arguments
        ):
            wrong.append(
                "the trace does not show that the runner was started with its config on standard input"
            )
        self.tell(name, wrong)

    def reads(self):
        """What strace prints of threads that the end of their process kills, which few runs show."""
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "t.1"
            file.write_text(
                'write(3</a>, "one", 3)              = ? <unavailable>\n'
                'write(3</a>, "two", 3 <detached ...>\n'
                'write(3</a>, "three", 5 <unfinished ...>\n'
                'write(3</a>, "four", 4)             = ?\n'
                'openat(AT_FDCWD</b>, "c", O_WRONLY <detached ...>\n'
                'openat(AT_FDCWD</b>, "d", O_WRONLY) = ? <unavailable>\n'
                'openat(AT_FDCWD</b>, "/e", O_WRONLY) = 12\n'
                'rename("e", "f" <detached ...>\n'
                "???()                                   = ?\n"
                "syscall_0xfffffffffffffffe(0x1, 0x55e901d8d00e, 0x5, 0, 0, 0x7ff <detached ...>\n"
            )
            trace = Trace(file.parent)
            wrong = list(trace.trouble)
            if trace.written != {"/a": b"onetwothreefour"}:
                wrong.append(f"it read as written: {trace.written}")
            if trace.opened != {"/b/c", "/b/d", "/e"} or trace.named != {("e", "f")}:
                wrong.append(f"it read as opened: {trace.opened}, as named: {trace.named}")
            file.write_text("something else\n")
            if not Trace(file.parent).trouble:
                wrong.append("a line in no form of strace was accepted")
        self.tell("the calls of threads that were killed in them are read", wrong)

    def catches(self, name: str, script: str, wanted: str):
        """Programs that do leak must be detected by the same check, for the reason `wanted`."""
        _, trace = strace(["sh", "-c", script], self.folder, self.env)
        wrong = judge(trace, self.may_open, self.may_name)
        for file in ("leak", "journal"):
            (self.folder / file).unlink(missing_ok=True)
        self.tell(name, [] if wrong == [wanted] else [f"found {wrong} instead of {wanted!r}"])


def main(programs: pathlib.Path) -> int:
    run = ["run", "--", "run", "-c", "config.yml", "-r", "resolver.json", "-l", "lock"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [programs / "emr-simulator", "--scene", "acme"], stdout=subprocess.PIPE, text=True
        ) as simulator,
    ):
        try:
            proof = Proof(
                programs, simulator.stdout.readline().strip(), pathlib.Path(folder).resolve()
            )
            # Fast clusters, polled as often as that needs; their termination takes long enough for
            # their volumes to be checked on a busy machine.
            timings = {
                "starting": 0.02,
                "bootstrapping": 0.02,
                "step_start": 0.0,
                "step": 0.01,
                "terminating": 8.0,
            }
            proof.control(
                {"command": "set_quotas", "on": False}, {"command": "set_timings", **timings}
            )

            good = proof.guard(
                "a good run writes neither the sealed config nor a secret to a file", 0, *run
            )
            proof.has_shown(
                "the trace of the good run shows all that it should", good, proof.may_open[2:]
            )
            proof.guard(
                "neither does a refused run",
                77,
                *run,
                EMR_ETL_GUARD_SECURITY_CONFIGURATION="acme-missing",
            )
            # The good run has processed the scene's raw events.
            proof.control(
                {
                    "command": "put_object",
                    "bucket": "acme-raw-in",
                    "key": "logs/2020-08-22-raw.lzo",
                    "body": "hello\n",
                    "sse": "AES256",
                }
            )
            proof.guard(
                "neither does a run with an unsafe cluster",
                76,
                *run,
                STANDIN_MISBEHAVE="drop-security-configuration",
            )
            proof.guard("neither does `seal`, which masks secrets", 0, "seal", "--", *run[2:])
            proof.reads()
            proof.catches(
                "a secret in a file is caught",
                'printf %s "$AWS_SNOWPLOW_SECRET_KEY" > journal',
                f"{RUNNER_SECRET} was written to the file {proof.folder}/journal",
            )
            proof.catches(
                "the sealed config in a file is caught, however it is cut",
                f"{{ printf %s {SEALED[:9]}; printf %s {SEALED[9:]}; }} > journal",
                f"{SEALED} was written to the file {proof.folder}/journal",
            )
            proof.catches(
                "a secret in an argument is caught",
                f'{shutil.which("true")} "$AWS_SNOWPLOW_SECRET_KEY"; :',
                f"{RUNNER_SECRET} was an argument of {shutil.which('true')}",
            )
            proof.catches(
                "a file that is not on the list is caught",
                "echo hello > leak",
                f"a file that is not on the list was opened for writing: {proof.folder}/leak",
            )
            proof.catches(
                "a new name that is not on the list is caught",
                "echo hello > journal; mv journal leak",
                "a new name that is not on the list: journal -> leak",
            )
        finally:
            simulator.kill()
    print(f"strace: {len(proof.wrong)} things wrong")
    return 1 if proof.wrong else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
