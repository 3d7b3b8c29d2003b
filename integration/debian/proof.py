"""Owns the proof of the Debian package, installed, used, upgraded, removed and purged: run by `run`
in a throwaway machine.

    proof.py FOLDER PACKAGE

FOLDER holds the built standin-runner and emr-simulator.
"""

import grp
import os
import pathlib
import re
import signal
import subprocess
import sys
import tomllib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "machine"))
from world import ROOT, RUNNER, World, events, forget, mails, put, sh, wait_for

USER = "emr-etl-guard"
SERVICE = "emr-etl-guard.service"
SENTINEL = "emr-etl-guard-sentinel.service"
UNITS = [
    SERVICE,
    "emr-etl-guard.timer",
    "emr-etl-guard-failure.service",
    SENTINEL,
    "emr-etl-guard-sentinel-failure.service",
]
GUARD_YML = pathlib.Path("/etc/emr-etl-guard/guard.yml")
ENVIRONMENT = pathlib.Path("/etc/emr-etl-guard/environment")
SENTINEL_ENVIRONMENT = pathlib.Path("/etc/emr-etl-guard/sentinel.environment")
RUN = ["run", "-c", "/etc/snowplow/config.yml", "-r", "/etc/snowplow/resolver.json"]
# Files of dpkg, the service manager and man, and those that this test writes.
NOT_OURS = re.compile(
    r"^/(proc|sys|dev|run|tmp|srv|var/lib/(dpkg|systemd)|var/log/(dpkg\.log|alternatives\.log|journal|wtmp|btmp|lastlog|faillog)|var/cache/(man|ldconfig|debconf)|var/tmp|var/spool"
    r"|var/mail|var/backups|opt/snowplow|etc/snowplow|etc/(passwd|group|shadow|gshadow)-)(/|$)"
)


def everything(bound: list[str]) -> set[str]:
    """All files and folders, users and groups."""
    found = {
        f"user {line.split(':')[0]}"
        for line in pathlib.Path("/etc/passwd").read_text().splitlines()
    }
    found |= {
        f"group {line.split(':')[0]}"
        for line in pathlib.Path("/etc/group").read_text().splitlines()
    }
    for top in ("/etc", "/usr", "/var", "/opt", "/lib", "/home"):
        for folder, folders, files in os.walk(top):
            folders[:] = [
                name
                for name in folders
                if not NOT_OURS.match(f"{folder}/{name}") and f"{folder}/{name}" not in bound
            ]
            found |= {
                f"{folder}/{name}"
                for name in (*folders, *files)
                if not NOT_OURS.match(f"{folder}/{name}")
            }
    return found


def shown(unit: str, name: str) -> str:
    """A unit's property."""
    return sh("systemctl", "show", unit, f"--property={name}", "--value").stdout.strip()


class Proof:
    """The package on a host that never had it."""

    def __init__(self, world: World, package: str):
        self.world, self.package = world, package
        self.name = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
        world.runner_config("root", 0o600)
        self.before = everything([str(pathlib.Path(package).parent)])

    def tell(self, what: str, wrong: list[str], seen: str = ""):
        """Says how a case went."""
        self.world.tell(what, wrong, seen)

    def as_user(self, *words: str, **more: str) -> subprocess.CompletedProcess:
        """Runs a command as the package's user, with the environment file's variables."""
        script = f'set -a; . {ENVIRONMENT}; set +a; exec "$@"'
        return sh(
            "runuser",
            "-u",
            USER,
            "--",
            "env",
            *(f"{name}={value}" for name, value in more.items()),
            "sh",
            "-c",
            script,
            "sh",
            *words,
            cwd="/",
        )

    def installed(self):
        """The content of the package."""
        install = sh("dpkg", "--install", self.package)
        version = sh("emr-etl-guard", "--version").stdout.strip()
        wrong = [] if install.returncode == 0 else ["dpkg fails"]
        if version != f"emr-etl-guard {self.name['version']}":
            wrong.append(f"it says it is {version}")
        if sh("dpkg-query", "-W", "-f", "${Version}", USER).stdout != f"{self.name['version']}-1":
            wrong.append("the changelog has another version than Cargo.toml")
        self.tell("it installs, and says its version", wrong, install.stdout)

        states = {
            unit: (sh("systemctl", "is-enabled", unit).stdout.strip(), shown(unit, "ActiveState"))
            for unit in UNITS
        }
        wrong = [
            f"{unit} is {state}"
            for unit, state in states.items()
            if state not in [("static", "inactive"), ("disabled", "inactive")]
        ]
        wrong += [str(file) for file in pathlib.Path("/etc/cron.d").glob("*emr*")]
        if sh("sh", "-c", "command -v snowplow-emr-etl-runner").stdout:
            wrong.append("the runner's name is taken")
        self.tell(
            "nothing is started, enabled or scheduled by it, and the runner's name is not taken",
            wrong,
        )
        verify = sh(
            "systemd-analyze", "verify", *(f"/usr/lib/systemd/system/{unit}" for unit in UNITS)
        )
        self.tell(
            "systemd accepts its units without a warning, manual pages and programs included",
            [verify.stdout] if verify.stdout or verify.returncode else [],
        )

        conffiles = sorted(
            line.split()[0]
            for line in sh("dpkg-query", "-W", "-f", "${Conffiles}", USER).stdout.splitlines()
            if line.strip()
        )
        wanted = [
            "/etc/emr-etl-guard/environment",
            "/etc/emr-etl-guard/guard.yml",
            "/etc/logrotate.d/emr-etl-guard",
        ]
        self.tell(
            "everything in /etc is a configuration file to dpkg",
            [f"{conffiles}"] if conffiles != wanted else [],
        )
        modes = {
            file: (
                pathlib.Path(file).owner(),
                pathlib.Path(file).group(),
                oct(pathlib.Path(file).stat().st_mode & 0o777),
            )
            for file in (
                "/etc/emr-etl-guard/environment",
                "/var/lib/emr-etl-guard",
                "/var/log/emr-etl-guard",
                "/var/cache/emr-etl-guard",
            )
        }
        wanted = [("root", USER, "0o640"), *[(USER, USER, "0o750")] * 3]
        self.tell(
            "its folders and its environment file are closed to others",
            [f"{modes}"] if list(modes.values()) != wanted else [],
        )
        logrotate = sh("logrotate", "--debug", "/etc/logrotate.d/emr-etl-guard")
        self.tell(
            "logrotate accepts its file",
            []
            if "error" not in logrotate.stdout and logrotate.returncode == 0
            else ["it does not"],
            logrotate.stdout,
        )

    def manual(self):
        """Manual pages and completions."""
        pages = sorted(
            line
            for line in sh("dpkg", "--listfiles", USER).stdout.splitlines()
            if re.search(r"/man/.*\.gz$", line)
        )
        commands = re.findall(
            r"^  (\w+) ",
            sh("emr-etl-guard", "--help").stdout.partition("Commands:")[2].partition("\n\n")[0],
            re.MULTILINE,
        )
        wanted = {
            "emr-etl-guard.1",
            "emr-etl-guard.yml.5",
            *(f"emr-etl-guard-{name}.1" for name in commands if name != "help"),
        }
        wrong = (
            []
            if {pathlib.Path(page).stem for page in pages} == wanted and len(wanted) > 4
            else [f"there are {pages}"]
        )
        for page in pages:
            for options in (
                ["--warnings", "--encoding=UTF-8", "-Tutf8"],
                ["--warnings", "-Tascii"],
            ):
                man = sh(
                    "sh",
                    "-c",
                    'man "$@" 2>&1 > /dev/null',
                    "sh",
                    *options,
                    "--local-file",
                    page,
                    env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
                )
                wrong += [f"{page}: {line}" for line in man.stdout.splitlines()]
            wrong += [] if sh("lexgrog", page).returncode == 0 else [f"{page}: no name in it"]
        text = sh(
            "man",
            "emr-etl-guard-run",
            env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "200", "LC_ALL": "C.UTF-8"},
        ).stdout
        for words in (
            "--stop-timeout",
            "EMR_ETL_GUARD_STOP_TIMEOUT",
            "refused: a required check failed",
        ):
            wrong += [] if words in text else [f"emr-etl-guard-run(1) lacks {words}"]
        self.tell(
            f"{len(pages)} manual pages, one for each command and one for guard.yml, render without a warning",
            wrong,
        )

        script = """
            source /usr/share/bash-completion/bash_completion
            _completion_loader emr-etl-guard
            function=$(complete -p emr-etl-guard | sed 's/.* -F \\([^ ]*\\).*/\\1/')
            press_tab() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "$function" emr-etl-guard "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"; echo "${COMPREPLY[*]}"; }
            press_tab emr-etl-guard ru
            press_tab emr-etl-guard run --stop
            press_tab emr-etl-guard run --erb runn
        """
        bash = sh("bash", "-c", script)
        self.tell(
            "bash completes commands, options and values",
            []
            if bash.stdout == "run\n--stop-timeout\nrunner-jar\n"
            else [f"it gives {bash.stdout!r}"],
        )
        fish = sh("fish", "-c", "complete -C 'emr-etl-guard ru'")
        self.tell(
            "so does fish", [] if fish.stdout.startswith("run\t") else [f"it gives {fish.stdout!r}"]
        )
        zsh = sh(
            "zsh",
            "-fc",
            "autoload -U compinit && compinit -u -D && whence -w _emr-etl-guard && print $_comps[emr-etl-guard]; autoload +X _emr-etl-guard",
        )
        self.tell(
            "zsh loads its completion",
            []
            if zsh.stdout == "_emr-etl-guard: function\n_emr-etl-guard\n" and zsh.returncode == 0
            else [f"it gives {zsh.stdout!r}"],
        )

    def settings(self):
        """The settings file, as shipped and with an operator's changes."""
        seal = ["emr-etl-guard", "seal", "--diff", "--", *RUN]
        keys = {
            **os.environ,
            "AWS_SNOWPLOW_ACCESS_KEY": "AKIAFAKE",
            "AWS_SNOWPLOW_SECRET_KEY": "runner-secret",
        }
        shipped = sh(*seal, env=keys)
        GUARD_YML.write_text(GUARD_YML.read_text() + "no_such_setting: 1\n")
        broken = sh(*seal, env=keys)
        wrong = [] if shipped.returncode == 0 else [f"exit {shipped.returncode}"]
        if broken.returncode != 64 or "no_such_setting" not in broken.stdout:
            wrong.append(f"with an unknown key: exit {broken.returncode}")
        self.tell(
            "the program accepts the shipped guard.yml, and reads it: an unknown key in it is refused (64)",
            wrong,
            shipped.stdout + broken.stdout,
        )
        GUARD_YML.write_text(
            GUARD_YML.read_text().replace("no_such_setting: 1\n", "locked: [policy]\n")
        )
        own = pathlib.Path("/tmp/own-guard.yml")
        own.write_text("advise: [cluster-security-configuration]\n")
        advise = {**keys, "EMR_ETL_GUARD_ADVISE": "cluster-security-configuration"}
        wrong, seen = [], ""
        for how, env in [
            ("a variable", advise),
            ("another file", {**keys, "EMR_ETL_GUARD_SETTINGS": str(own)}),
        ]:
            locked = sh(*seal, env=env)
            seen += locked.stdout
            if (
                locked.returncode != 64
                or "`advise` is locked (/etc/emr-etl-guard/guard.yml, line " not in locked.stdout
            ):
                wrong.append(f"by {how}: exit {locked.returncode}")
        own.write_text("quiet: true\n")
        wrong += (
            []
            if sh(*seal, env={**keys, "EMR_ETL_GUARD_SETTINGS": str(own)}).returncode == 0
            else ["another file that sets nothing locked is refused"]
        )
        own.unlink()
        self.tell(
            "what guard.yml locks, neither a variable nor another file sets (64)", wrong, seen
        )
        GUARD_YML.write_text(
            GUARD_YML.read_text().replace("locked: [policy]\n", self.world.settings())
            + "sentinel: {regions: [eu-west-1]}\n"
        )
        ENVIRONMENT.write_text(ENVIRONMENT.read_text() + self.world.environment())
        SENTINEL_ENVIRONMENT.write_text(self.world.environment())

    def runs(self):
        """Runs of the installed program."""
        # cron-run and the program read the config as the package's user.
        for file in pathlib.Path("/etc/snowplow").iterdir():
            os.chown(file, 0, grp.getgrnam(USER).gr_gid)
            file.chmod(0o640)
        forget()
        missing = {"EMR_ETL_GUARD_SECURITY_CONFIGURATION": "acme-missing"}
        refused = self.as_user("emr-etl-guard", "run", "--", *RUN, **missing)
        wrong = (
            []
            if refused.returncode == 77 and "REFUSED, nothing was launched" in refused.stdout
            else [f"exit {refused.returncode}"]
        )
        self.tell(
            "a refusal gives 77, and launches nothing",
            wrong + (["the runner was started"] if events("started") else []),
            refused.stdout,
        )
        refused = self.as_user("/usr/libexec/emr-etl-guard/cron-run", **missing)
        self.tell(
            "through cron-run as well",
            []
            if refused.returncode == 77 and not events("started")
            else [f"exit {refused.returncode}"],
            refused.stdout,
        )
        readme = pathlib.Path("/usr/share/doc/emr-etl-guard/README.Debian").read_text()
        (line,) = re.findall(rf"^ +sudo -u {USER} (sh -c '.*')$", readme, re.MULTILINE)
        check = sh("sh", "-c", f"runuser -u {USER} -- {line}", cwd="/")
        wrong = (
            []
            if check.returncode == 0 and "would launch" in check.stdout and not events("started")
            else [f"exit {check.returncode}"]
        )
        self.tell(
            "the check that README.Debian gives says that a run would be launched",
            wrong,
            check.stdout,
        )
        start = sh("systemctl", "start", SERVICE)
        log = sh("journalctl", f"--unit={SERVICE}").stdout
        wrong = (
            [] if start.returncode == 0 and len(events("started")) == 1 else ["it did not end well"]
        )
        self.tell("a run by its unit succeeds", wrong, start.stdout + log)
        self.tell("and mails nothing", ["there is mail"] if mails() else [], "".join(mails()))

    def drop_in(self):
        """The steps in README.Debian, taken from there."""
        readme = pathlib.Path("/usr/share/doc/emr-etl-guard/README.Debian").read_text()
        lines = re.findall(r"^ +(update-alternatives --install .*)$", readme, re.MULTILINE)
        wrong = [] if len(lines) == 2 else [f"README.Debian has {lines}"]
        for line in lines:
            made = sh("sh", "-c", line)
            wrong += [] if made.returncode == 0 else [made.stdout]
        self.world.raw_events()
        forget()
        name = "/usr/local/bin/snowplow-emr-etl-runner"
        good = self.as_user(name, *RUN)
        if (
            good.returncode != 0
            or len(events("started")) != 1
            or "confirmed: cluster" not in good.stdout
        ):
            wrong.append(f"a run by that name: exit {good.returncode}")
        version = self.as_user(name, "--version")
        if (
            version.returncode != 0
            or version.stdout != self.as_user(str(RUNNER), "--version").stdout
        ):
            wrong.append(f"--version is not the runner's own: {version.stdout}")
        self.tell(
            "as README.Debian says it, the guard takes the runner's name and arguments",
            wrong,
            good.stdout,
        )

    def upgrade(self):
        """An upgrade in the middle of a run."""
        ENVIRONMENT.write_text(ENVIRONMENT.read_text() + "STANDIN_MISBEHAVE='hang'\n")
        edited = (GUARD_YML.read_text(), ENVIRONMENT.read_text())
        sh("systemctl", "enable", "--now", "emr-etl-guard.timer")
        self.world.raw_events()
        forget()
        sentinel = sh("systemctl", "enable", "--now", SENTINEL)
        before = shown(SENTINEL, "MainPID")
        subprocess.run(["systemctl", "start", "--no-block", SERVICE], check=True)
        wait_for(
            "cluster", lambda: any(event["operation"] == "RunJobFlow" for event in events("answer"))
        )
        upgrade = sh("dpkg", "--install", self.package)
        wrong = [] if upgrade.returncode == 0 else ["dpkg fails"]
        if (GUARD_YML.read_text(), ENVIRONMENT.read_text()) != edited:
            wrong.append("it has overwritten what was edited")
        if (ENVIRONMENT.group(), ENVIRONMENT.stat().st_mode & 0o777) != (USER, 0o640):
            wrong.append("others can read the environment file now")
        if shown(SERVICE, "ActiveState") != "activating" or events("signal"):
            wrong.append("it has ended the run under way")
        if (
            sh("systemctl", "is-enabled", "emr-etl-guard.timer").stdout != "enabled\n"
            or shown("emr-etl-guard.timer", "ActiveState") != "active"
        ):
            wrong.append("the timer is no longer as it was")
        self.tell(
            "an upgrade leaves a run under way, the timer and what was edited alone",
            wrong,
            upgrade.stdout,
        )
        after = shown(SENTINEL, "MainPID"), shown(SENTINEL, "ActiveState")
        wrong = [] if sentinel.returncode == 0 else ["it did not start"]
        if after[0] in ("0", before) or after[1] != "active":
            wrong.append(f"its process was {before}, and is {after[0]}, {after[1]}")
        self.tell(
            "a sentinel that runs goes on with the new version",
            wrong,
            sentinel.stdout + sh("journalctl", f"--unit={SENTINEL}").stdout,
        )

    def gone(self):
        """Removal, and a purge."""
        remove = sh("dpkg", "--remove", USER)
        wrong = [] if remove.returncode == 0 else ["dpkg fails"]
        # When systemd stops a process, it also sends SIGCONT, in case it is suspended.
        if [event["signal"] for event in events("signal") if event["signal"] != signal.SIGCONT] != [
            15
        ]:
            wrong.append(f"the run under way got {events('signal')}")
        for unit in ("emr-etl-guard.timer", SENTINEL):
            if shown(unit, "ActiveState") == "active":
                wrong.append(f"{unit} still runs")
        if not GUARD_YML.exists() or not list(
            pathlib.Path("/var/log/emr-etl-guard").glob("report-*.json")
        ):
            wrong.append("settings or reports are gone")
        if os.path.realpath("/usr/local/bin/snowplow-emr-etl-runner") != str(RUNNER):
            wrong.append("the real runner has not got its name back")
        self.tell(
            "a removal stops the run, the timer and the sentinel, keeps settings and reports, and gives the runner its name back",
            wrong,
            remove.stdout,
        )

        purge = sh("dpkg", "--purge", USER)
        sh("update-alternatives", "--remove-all", "snowplow-emr-etl-runner")
        after = everything([str(pathlib.Path(self.package).parent)])
        wrong = [f"left: {name}" for name in sorted(after - self.before)] + [
            f"missing: {name}" for name in sorted(self.before - after)
        ]
        units = sh("systemctl", "list-unit-files", "--no-legend", "emr-etl-guard*").stdout
        wrong += [f"systemd still knows {units}"] if units else []
        if purge.returncode != 0 or sh("dpkg-query", "-W", USER).returncode == 0:
            wrong.append("dpkg still knows it")
        self.tell(
            f"a purge leaves nothing: of {len(after)} files, folders, users and groups none is new and none is missing",
            wrong,
            purge.stdout,
        )


def main(programs: pathlib.Path, package: str) -> int:
    world = World(programs, "debian")
    try:
        proof = Proof(world, package)
        proof.installed()
        proof.manual()
        proof.settings()
        proof.runs()
        proof.drop_in()
        proof.upgrade()
        proof.gone()
    except TimeoutError as error:
        world.tell(
            "nothing is waited for in vain",
            [str(error)],
            sh("journalctl", "--lines=60", "--no-pager").stdout,
        )
    return world.end()


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2]))
