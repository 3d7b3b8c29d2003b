//! The guard in the runner's place beside the runner run bare, row by row. The table in `PARITY.md`
//! is made by this test.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, ExitStatus, Stdio},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};

use crate::{
    support::{Stage, hermetic_command, programs, runner_pid, signals_in_the_journal, wait_until},
    terminal::Terminal,
};

/// Tells, as the runner, how it finds the world: one line each, a name, a tab, a value.
const PROBE: &str = r#"s=/proc/$$
row() { printf '%s\t%s\n' "$1" "$2" >> probe.part; }
field() { sed 's/.*) //' $s/stat | cut -d ' ' -f $1; }
stream() { case $(readlink $s/fd/$1) in /dev/pts/*) echo a terminal;; pipe:*) echo a pipe;; *) readlink $s/fd/$1;; esac; }
# Before any other program is run: the shell unblocks all signals then.
while read -r name value; do case $name in SigBlk:) blocked=$value;; esac; done < $s/status
# Listed by a child that has neither a pipe nor a redirection of this shell, which would be one more; from 10 it reads this very file.
(ls -l $s/fd > listing)
others=$(awk '$9 > 2 && $9 != 10 { printf "%s %s %s ", $9, $10, $11 }' listing)
row arguments "$*"
row 'program name' "$0"
for fd in 0 1 2; do row "descriptor $fd" "$(stream $fd)"; done
row 'other descriptors' "$others"
row 'standard input' "$(if [ -t 0 ]; then echo the terminal; else cksum; fi)"
row environment "$(tr '\0\n' '\n ' < $s/environ | sort | tr '\n' '\001')"
row 'working directory' "$(pwd -P)"
row umask "$(umask)"
row niceness "$(field 17)"
row 'OOM score adjustment' "$(cat $s/oom_score_adj)"
row 'resource limits' "$(tr -s ' \n' '  ' < $s/limits)"
row 'user, groups, capabilities' "$(grep -E '^(Uid|Gid|Groups|Cap[A-Z][a-z]*|NoNewPrivs|Seccomp):' $s/status | tr '\t\n' '  ')"
row 'processors' "$(grep ^Cpus_allowed_list $s/status | tr '\t' ' ')"
row 'ignored signals' "$(grep ^SigIgn $s/status | cut -f 2)"
row 'blocked signals' "$blocked"
row parent "$([ "$PPID" = "$(cat starter)" ] && echo who started it || echo the guard)"
row 'process group' "$([ "$(field 3)" = $$ ] && echo its own || echo "that of who started it")"
row session "$([ "$(field 4)" = "$(cat starter)" ] && echo that of who started it || echo another)"
row 'controlling terminal' "$([ "$(field 5)" -ne 0 ] && echo the same || echo none)"
mv probe.part probe
exit 3"#;

/// Starts what follows as a careful supervisor might: not with what everybody has by default.
const STARTER: &str = r#"for fd in /proc/$$/fd/*; do fd=${fd##*/}; [ $fd -gt 2 ] && eval "exec $fd>&-"; done
echo $$ > starter; umask 027; ulimit -n 512; ulimit -c 0; exec 7< config.yml
nice -n 5 env --default-signal=INT,QUIT,TERM --ignore-signal=HUP,PIPE,USR1,TTOU --block-signal=USR2 "$@"; exit $?"#;

/// Where the guard may differ, and why.
const REASONS: [(&str, &str); 13] = [
    ("arguments", "the config comes sealed, through standard input; all else is as it was"),
    (
        "descriptor 0",
        "a pipe with the sealed config; a run whose config is a file reads nothing else",
    ),
    (
        "descriptor 1",
        "the guard reads along, to find the clusters of the run; every byte is passed on at once, \
         and the runner flushes each line by itself",
    ),
    ("standard input", "the sealed config"),
    (
        "environment",
        "one variable marks what the guard has started, so that two guards never start each other \
         for ever; the other one, the run's id, is how the next guard finds what a dead one's \
         runner left behind",
    ),
    ("parent", "the guard, with whose end the runner is killed: its clusters would not be watched"),
    (
        "process group",
        "a stop must reach what the runner has started too, and Ctrl-C must reach it once; the \
         guard passes on what it gets",
    ),
    (
        "ignored signals",
        "Rust ignores SIGPIPE for the guard before any of its code runs, so that what arrived is \
         no longer known; a runner gets the default",
    ),
    (
        "SIGUSR1",
        "the guard lives to judge the run, and ends with 128 + n as a shell reports it: `$?` is \
         the same",
    ),
    ("SIGUSR2", "as SIGUSR1"),
    (
        "SIGTSTP, then SIGCONT",
        "the guard first stops the runner, then itself, by the signal that cannot be caught; a \
         shell calls both stopped",
    ),
    ("exit by SIGKILL", "the guard ends with 128 + n, as a shell reports it"),
    ("exit by SIGSEGV", "the guard ends with 128 + n, as a shell reports it"),
];

#[derive(Debug, PartialEq)]
struct Row {
    behaviour: String,
    bare: String,
    guarded: String,
}

impl Row {
    fn new(behaviour: &str, bare: impl Into<String>, guarded: impl Into<String>) -> Self {
        Self { behaviour: behaviour.to_owned(), bare: bare.into(), guarded: guarded.into() }
    }

    fn reason(&self) -> Option<&'static str> {
        REASONS
            .iter()
            .find(|(behaviour, _)| *behaviour == self.behaviour)
            .map(|(_, reason)| *reason)
    }
}

/// A stage whose PATH has the guard under the runner's name, and behind it the probe as the real
/// runner.
fn probing() -> Stage {
    let stage = Stage::acme().scripted(PROBE);
    for folder in ["guard", "real"] {
        std::fs::create_dir(stage.path(folder)).unwrap();
    }
    std::os::unix::fs::symlink(&programs().guard, stage.path("guard/snowplow-emr-etl-runner"))
        .unwrap();
    std::fs::rename(stage.path("runner"), stage.path("real/snowplow-emr-etl-runner")).unwrap();
    let path =
        format!("{}:{}:/usr/bin:/bin", stage.path("guard").display(), stage.path("real").display());
    stage.without_env("EMR_ETL_GUARD_RUNNER").env("PATH", &path).env("EMR_ETL_GUARD_QUIET", "true")
}

/// What the probe tells when it is started as `program` in a terminal.
fn probe(stage: &Stage, program: &str) -> Vec<(String, String)> {
    // Writes the config.
    stage.command("run");
    let _ = std::fs::remove_file(stage.path("probe"));
    // Not `sh`, which closes no descriptor of two digits.
    let mut starter = hermetic_command("bash");
    starter.args(["-c", STARTER, "bash"]).arg(stage.path(program)).args([
        "run",
        "-c",
        "config.yml",
        "-r",
        "resolver.json",
        "-x",
        "shred",
    ]);
    let mut terminal = Terminal::start(stage, &starter);
    assert_eq!(terminal.exit_code(), Some(3), "{}", terminal.shown());
    let text = std::fs::read_to_string(stage.path("probe")).unwrap();
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn world_rows() -> Vec<Row> {
    let stage = probing();
    let (bare, guarded) = (
        probe(&stage, "real/snowplow-emr-etl-runner"),
        probe(&stage, "guard/snowplow-emr-etl-runner"),
    );
    let names: Vec<&String> = bare.iter().map(|(name, _)| name).collect();
    let of = |told: &[(String, String)]| told.iter().cloned().collect::<BTreeMap<String, String>>();
    let (bare, guarded) = (of(&bare), of(&guarded));
    assert_eq!(bare.keys().collect::<Vec<_>>(), guarded.keys().collect::<Vec<_>>());
    // The starter's wishes must have come true, or there is nothing to compare.
    assert_eq!(bare["umask"], "0027");
    assert!(
        bare["niceness"].parse::<i32>().unwrap() >= 5
            && bare["resource limits"].contains("open files 512 512"),
        "{bare:?}"
    );
    assert_eq!(
        (in_mask(&bare["ignored signals"]).as_str(), in_mask(&bare["blocked signals"]).as_str()),
        ("SIGHUP, SIGUSR1, SIGPIPE, SIGTTOU", "SIGUSR2")
    );
    let folder = stage.folder.path().canonicalize().unwrap().display().to_string();
    names.into_iter().map(|name| world_row(name, &bare[name], &guarded[name], &folder)).collect()
}

/// The signals in a mask as /proc shows it, those that have a name.
fn in_mask(mask: &str) -> String {
    let mask = u64::from_str_radix(mask, 16).unwrap();
    let named = Signal::iterator().filter(|signal| mask >> (*signal as i32 - 1) & 1 == 1);
    named.map(Signal::as_str).collect::<Vec<_>>().join(", ")
}

fn world_row(name: &str, bare: &str, guarded: &str, folder: &str) -> Row {
    let same = "as it came";
    match name {
        "environment" => {
            let variables = |text: &str| text.split('\u{1}').map(str::to_owned).collect::<Vec<_>>();
            let (bare, guarded) = (variables(bare), variables(guarded));
            let name =
                |variable: &&String| variable.split('=').next().unwrap_or_default().to_owned();
            let more: Vec<String> = guarded
                .iter()
                .filter(|variable| !bare.contains(variable))
                .map(|variable| format!("`{}`", name(&variable)))
                .collect();
            let less: Vec<String> = bare
                .iter()
                .filter(|variable| !guarded.contains(variable))
                .map(|variable| format!("`{}`", name(&variable)))
                .collect();
            assert!(less.is_empty(), "lost or changed: {less:?}");
            let guarded = if more.is_empty() {
                same.to_owned()
            } else {
                format!("{same}, and {}", more.join(", "))
            };
            Row::new("environment", same, guarded)
        }
        // Beyond the named ones there are those that libraries use for themselves.
        "ignored signals" | "blocked signals" => Row::new(name, in_mask(bare), in_mask(guarded)),
        "standard input" => Row::new(
            name,
            bare,
            if guarded == "the terminal" { guarded } else { "the sealed config" },
        ),
        // These are those of this machine.
        "resource limits"
        | "user, groups, capabilities"
        | "processors"
        | "OOM score adjustment"
        | "niceness"
            if bare == guarded =>
        {
            Row::new(name, same, same)
        }
        _ => Row::new(name, bare.trim().replace(folder, "…"), guarded.trim().replace(folder, "…")),
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("ended by {}", Signal::try_from(signal).unwrap()),
        (None, None) => unreachable!(),
    }
}

/// The runner, bare or under the guard, in a process group of its own as a shell with job control
/// would have it.
fn start(stage: &Stage, guarded: bool) -> Child {
    let guard = stage.command("run");
    let mut command = if guarded {
        guard
    } else {
        let mut bare = hermetic_command(&programs().runner);
        bare.args(&stage.arguments);
        stage.prepare(&mut bare);
        bare
    };
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap()
}

/// What the parent sees after `signals`, and how often the runner got what it can note.
fn signalled(signals: &[Signal], guarded: bool) -> String {
    let stage =
        Stage::acme().misbehave("hang").option("--quiet").env("EMR_ETL_GUARD_JUDGE_WITHIN", "2s");
    stage.set(emr_simulator::Command::SetTimings(emr_simulator::Timings::all(3600.0)));
    let mut child = start(&stage, guarded);
    let journal = stage.path("journal.jsonl");
    let launched = || {
        std::fs::read_to_string(&journal)
            .unwrap_or_default()
            .lines()
            .any(|line| line.contains("answer") && line.contains("RunJobFlow"))
    };
    wait_until("the runner has launched", launched);
    let runner = runner_pid(&stage);
    if guarded {
        let judged = stage.sim.wait_for_request(
            |request| {
                request.operation() == "ListSteps"
                    && request.access_key.as_deref() == Some("AKIAGUARD")
            },
            std::time::Duration::from_secs(120),
        );
        assert!(judged.is_some());
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let mut seen = Vec::new();
    for signal in signals {
        let before = signals_in_the_journal(&stage).len();
        kill(pid, *signal).unwrap();
        match signal {
            Signal::SIGTSTP => {
                let mut stopped = None;
                wait_until("it is stopped", || {
                    stopped =
                        match waitid(Id::Pid(pid), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG) {
                            Ok(WaitStatus::Stopped(_, by)) => Some(by),
                            _ => None,
                        };
                    stopped.is_some()
                });
                let told = |pid| {
                    std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
                };
                wait_until("the runner is stopped", || told(runner).contains("State:\tT"));
                seen.push(format!("stopped by {}", stopped.unwrap()));
            }
            Signal::SIGCONT | Signal::SIGQUIT | Signal::SIGWINCH => {
                wait_until("the runner has got it", || {
                    signals_in_the_journal(&stage).len() > before
                });
                assert!(child.try_wait().unwrap().is_none());
                seen.push("goes on".to_owned());
            }
            _ => {
                let mut status = None;
                wait_until("it has ended", || {
                    status = child.try_wait().unwrap();
                    status.is_some()
                });
                seen.push(in_words(status.unwrap()));
            }
        }
    }
    let noted: Vec<i64> = signals
        .iter()
        .map(|signal| i64::from(*signal as i32))
        .filter(|signal| [1, 2, 3, 15, 18, 28].contains(signal))
        .collect();
    assert_eq!(
        signals_in_the_journal(&stage),
        noted,
        "the runner gets each signal once ({signals:?}, guarded: {guarded})"
    );
    let _ = child.kill();
    let _ = child.wait();
    let gone = || {
        std::fs::read_to_string(format!("/proc/{runner}/status"))
            .is_ok_and(|status| !status.contains("State:\tZ"))
    };
    wait_until("the runner is gone", || !gone());
    seen.join(", then ")
}

fn signal_rows() -> Vec<Row> {
    let cases: [&'static [Signal]; 9] = [
        &[Signal::SIGTERM],
        &[Signal::SIGINT],
        &[Signal::SIGHUP],
        &[Signal::SIGQUIT],
        &[Signal::SIGUSR1],
        &[Signal::SIGUSR2],
        &[Signal::SIGWINCH],
        &[Signal::SIGTSTP, Signal::SIGCONT],
        &[Signal::SIGKILL],
    ];
    let name = |signals: &[Signal]| {
        signals.iter().map(|signal| signal.as_str()).collect::<Vec<_>>().join(", then ")
    };
    // Side by side: each waits for processes of its own.
    std::thread::scope(|scope| {
        let row = |signals: &'static [Signal]| {
            Row::new(&name(signals), signalled(signals, false), signalled(signals, true))
        };
        let rows = cases.map(|signals| scope.spawn(move || row(signals)));
        rows.into_iter().map(|row| row.join().unwrap()).collect()
    })
}

fn exit_rows() -> Vec<Row> {
    let ends =
        ["exit 1", "exit 3", "exit 4", "exit 17", "exit 18", "kill -KILL $$", "kill -SEGV $$"];
    let row = |end: &str| {
        let stage = Stage::acme()
            .option("--quiet")
            .scripted(&format!("[ \"$3\" = - ] && cat > /dev/null\n{end}"));
        let mut guard = stage.command("run");
        let mut bare = hermetic_command(stage.path("runner"));
        bare.args(&stage.arguments);
        stage.prepare(&mut bare);
        let [bare, guarded] = [&mut bare, &mut guard].map(|command| {
            in_words(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap())
        });
        let name = end.replace("kill -", "exit by SIG").replace(" $$", "");
        Row::new(&name, bare, guarded)
    };
    let mut rows = vec![{
        let stage = Stage::acme().option("--quiet");
        let guarded = in_words(start(&stage, true).wait().unwrap());
        let stage = Stage::acme();
        Row::new("exit 0", in_words(start(&stage, false).wait().unwrap()), guarded)
    }];
    rows.extend(ends.into_iter().map(row));
    rows
}

const PREFACE: &str = "# The runner bare and under the guard

Made by the test `parity` (`tests/black_box/parity.rs`), which runs both; a row that differs has \
its reason, or the test fails.
The guard stands in the runner's place, under its name, with the runner's arguments. The signals \
go to a stand-in for EmrEtlRunner that answers them as its
JVM does, and which notes that it gets each of them once. Other tests hold the streams against \
each other byte by byte (`streams.rs`), work in a terminal
(`terminal.rs`), and see to orphans and to a guard that is killed (`init.rs`).

What a table of single rows does not show:

- A second request to stop, half a second or more after the first, kills the whole process group \
of the runner; so does the end of `stop_timeout`.
- The runner is killed when the guard is; a wrapper script between the two would be, but not what \
it has started, which only the next guard ends: let it `exec` the runner.
- Orphans of the runner become the guard's children, not those of PID 1, and are reaped by it.
- A runner that would inherit SIGCHLD ignored or blocked finds the default, since the guard could \
not see how the runner ends otherwise.
- The runner is in the background of its terminal: with `stty tostop`, writing to standard error \
stops it.
- Standard streams that are closed at the start are `/dev/null`.
- While a run is stopped by Ctrl-Z, its clusters are not watched.
- Commands that launch nothing (`--version`, `lint`, …) become the runner's own process, and \
differ by the variable in the environment alone.
- The guard's own secrets (where alerts and metrics go, see `docs/environment.md`) are not in the \
runner's environment; with `clean_environment: true` it has what an allow-list names.
- The runner is not started (exit code 69) where its file is no longer the one that was looked at.
- The guard dumps no core, and keeps others of its user out of its memory; the runner's limit of \
core dumps is what the guard was given.
";

fn table(title: &str, rows: &[Row]) -> String {
    let mut text =
        format!("\n## {title}\n\n| behaviour | bare | under the guard | |\n|---|---|---|---|\n");
    for row in rows {
        let why = if row.bare == row.guarded {
            "identical"
        } else {
            row.reason().unwrap_or("NO REASON IS KNOWN")
        };
        let _ = writeln!(text, "| {} | {} | {} | {why} |", row.behaviour, row.bare, row.guarded);
    }
    text
}

#[test]
fn the_table_in_the_repository_is_what_both_do() {
    let (world, signals, exits) = (world_rows(), signal_rows(), exit_rows());
    let text = [
        PREFACE.to_owned(),
        table("What the runner finds", &world),
        table("What the parent sees of a signal", &signals),
        table("How it ends", &exits),
    ]
    .concat();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/black_box/PARITY.md");
    if std::env::var_os("PARITY_WRITE").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    for row in world.iter().chain(&signals).chain(&exits) {
        assert!(
            row.bare == row.guarded || row.reason().is_some(),
            "differs without a reason: {row:?}"
        );
        assert!(row.bare != row.guarded || row.reason().is_none(), "no longer differs: {row:?}");
    }
    let all: Vec<&str> =
        world.iter().chain(&signals).chain(&exits).map(|row| row.behaviour.as_str()).collect();
    assert!(REASONS.iter().all(|(behaviour, _)| all.contains(behaviour)), "a reason for no row");
    let stored = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        text == stored,
        "tests/black_box/PARITY.md is stale: PARITY_WRITE=1 cargo test --test black_box \
         parity\n{text}"
    );
}
