//! Owns the behaviour of the process without any AWS: exit codes, streams, signals, the journal.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[path = "../../../tests/support/children.rs"]
mod children;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use children::hermetic_command;
use serde_json::{Value, json};
use tempfile::TempDir;

const RUNNER: &str = env!("CARGO_BIN_EXE_standin-runner");
/// How soon a signalled runner must end: it takes a few milliseconds, a busy machine may take more.
const SOON: Duration = Duration::from_secs(1);

/// A folder with the recorded configuration, in which runs take place.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.yml"), include_str!("recorded/config.yml")).unwrap();
        fs::write(folder.path().join("resolver.json"), include_str!("recorded/resolver.json"))
            .unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str, arguments: &str) -> Command {
        let mut command = hermetic_command(program);
        command
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env_clear()
            .env("STANDIN_JOURNAL", self.path("journal"))
            .env("AWS_SNOWPLOW_ACCESS_KEY", "AKIAFAKE")
            .env("AWS_SNOWPLOW_SECRET_KEY", "keep-this-secret")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(RUNNER, arguments).output().unwrap()
    }

    /// A run that waits in its start-up, with its signal handlers installed.
    fn starting(&self, misbehave: &str) -> Child {
        let child = self
            .command(RUNNER, "run -c config.yml -r resolver.json")
            .env("STANDIN_STARTUP_MS", "60000")
            .env("STANDIN_MISBEHAVE", misbehave)
            .spawn()
            .unwrap();
        self.wait_for(|events| events.iter().any(|event| event["event"] == "spawned"));
        child
    }

    fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("journal")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn wait_for(&self, condition: impl Fn(&[Value]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition(&self.journal()) {
            assert!(Instant::now() < deadline, "journal: {:?}", self.journal());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn signal(child: &Child, name: &str) {
    let status =
        hermetic_command("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(status.unwrap().success());
}

/// The exit code of a child that must end soon.
fn code_soon(child: &mut Child) -> Option<i32> {
    let asked = Instant::now();
    let status = child.wait().unwrap();
    assert!(asked.elapsed() < SOON, "it took {:?}", asked.elapsed());
    status.code()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_version_is_the_real_programs_unless_another_is_wanted() {
    let place = Place::new();
    let output = place.run("--version");
    assert_eq!(text(&output.stdout), "snowplow-emr-etl-runner 1.0.4\n");
    assert_eq!(output.status.code(), Some(0));
    let old = place.command(RUNNER, "-v").env("STANDIN_VERSION", "0.32.0").output().unwrap();
    assert_eq!(text(&old.stdout), "snowplow-emr-etl-runner 0.32.0\n");
}

#[test]
fn command_lines_that_launch_nothing_end_as_recorded() {
    let place = Place::new();
    let rows = [
        ("", 1),
        ("--help", 0),
        ("run --help", 0),
        ("run --version", 1),
        ("frobnicate", 1),
        ("lint", 1),
        ("lint resolver", 1),
        ("lint resolver -r resolver.json", 0),
        ("lint resolver -r config.yml", 1),
        ("generate emr-config -c config.yml -r resolver.json", 0),
        ("generate all -c config.yml -r resolver.json", 0),
    ];
    for (arguments, code) in rows {
        assert_eq!(place.run(arguments).status.code(), Some(code), "{arguments}");
    }
}

#[test]
fn no_run_begins_without_a_stand_in_to_talk_to() {
    let place = Place::new();
    let output = place.run("run -c config.yml -r resolver.json");
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(text(&output.stdout), "");
    let aws = place
        .command(RUNNER, "run -c config.yml -r resolver.json")
        .env("AWS_ENDPOINT_URL", "http://elasticmapreduce.eu-west-1.amazonaws.com")
        .output()
        .unwrap();
    assert_eq!(aws.status.code(), Some(78));
}

#[test]
fn encrypted_that_is_no_boolean_breaks_the_contract_and_no_secret_is_repeated() {
    let place = Place::new();
    let config = include_str!("recorded/config.yml");
    for value in ["encrypted: \"true\"", "encrypted:", "encrypted: 1", "other: true"] {
        fs::write(place.path("config.yml"), config.replace("encrypted: false", value)).unwrap();
        let output = place
            .command(RUNNER, "run -c config.yml -r resolver.json")
            .env("STANDIN_ENDPOINT", "http://127.0.0.1:9")
            .output()
            .unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{value}");
        assert_eq!(
            stderr.lines().next(),
            Some("ReturnContractError: Contract violation for return value:"),
            "{value}"
        );
        assert!(stderr.contains("aws.s3.buckets.encrypted"), "{stderr}");
        assert!(!stderr.contains("keep-this-secret"));
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn arguments_and_files_that_do_not_fit_end_with_one() {
    let place = Place::new();
    for arguments in [
        "run -r resolver.json",
        "run -c nope.yml -r resolver.json",
        "run -c . -r resolver.json",
        "run -c config.yml -r nope.json",
        "run -c config.yml",
        "run stray -c config.yml -r resolver.json",
        "run -c config.yml -r resolver.json -f nope",
        "run -c config.yml -r resolver.json -f shred -x shred",
        "run -c config.yml -r resolver.json -t nope",
        "run -c - -r resolver.json",
    ] {
        let output = place
            .command(RUNNER, arguments)
            .env("STANDIN_ENDPOINT", "http://127.0.0.1:9")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        assert!(!output.stderr.is_empty(), "{arguments}");
    }
}

#[test]
fn a_signal_ends_it_at_once_with_its_own_code() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let place = Place::new();
        let mut child = place.starting("");
        signal(&child, name);
        assert_eq!(code_soon(&mut child), Some(code), "{name}");
        let journal = place.journal();
        assert_eq!(journal.last().unwrap(), &json!({"event": "exit", "code": code}));
    }
}

#[test]
fn a_signal_ends_it_while_a_request_is_in_flight() {
    let place = Place::new();
    // A server that accepts and never responds.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = place
        .command(RUNNER, "run -c config.yml -r resolver.json -l lock")
        .env("STANDIN_ENDPOINT", format!("http://{}", silent.local_addr().unwrap()))
        .spawn()
        .unwrap();
    let (_connection, _) = silent.accept().unwrap();
    signal(&child, "TERM");
    assert_eq!(code_soon(&mut child), Some(143));
    assert!(place.path("lock").exists(), "the lock stays");
}

#[test]
fn a_signal_the_parent_ignored_stays_ignored() {
    let place = Place::new();
    let script = format!("trap '' HUP; exec {RUNNER} run -c config.yml -r resolver.json");
    let mut child =
        place.command("sh", "-c").arg(script).env("STANDIN_STARTUP_MS", "60000").spawn().unwrap();
    place.wait_for(|events| !events.is_empty());
    signal(&child, "HUP");
    signal(&child, "TERM");
    assert_eq!(code_soon(&mut child), Some(143));
}

#[test]
fn told_to_ignore_sigterm_it_lives_on_until_another_signal() {
    let place = Place::new();
    let mut child = place.starting("ignore-sigterm");
    signal(&child, "TERM");
    place.wait_for(|events| {
        events.contains(&json!({"event": "signal", "signal": 15, "ignored": true}))
    });
    assert!(child.try_wait().unwrap().is_none());
    signal(&child, "INT");
    assert_eq!(code_soon(&mut child), Some(130));
}

#[test]
fn the_journal_tells_what_was_read_and_never_the_text() {
    let place = Place::new();
    let mut child = place
        .command(RUNNER, "run --config - -r resolver.json")
        .env("STANDIN_ENDPOINT", "http://127.0.0.1:9")
        .env("STANDIN_MISBEHAVE", "exit=9")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    child.stdin.take().unwrap().write_all(b"abc").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    let argv = json!(["run", "--config", "-", "-r", "resolver.json"]);
    assert_eq!(
        place.journal(),
        [
            json!({"event": "spawned", "argv": argv, "pid": pid}),
            json!({
                "event": "started",
                "argv": argv,
                "pid": pid,
                "stdin_bytes": 3,
                "config_sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            }),
            json!({"event": "exit", "code": 9}),
        ]
    );
}

#[test]
fn an_idle_run_ends_well_without_reading_anything() {
    let place = Place::new();
    let output = place
        .command(RUNNER, "run -c nope.yml -r nope.json")
        .env("STANDIN_MISBEHAVE", "exit-0-idle")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(place.journal()[1]["config_sha256"], Value::Null);
}

#[test]
fn a_wish_that_is_not_understood_is_refused() {
    let place = Place::new();
    let output =
        place.command(RUNNER, "--version").env("STANDIN_MISBEHAVE", "hangs").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(!Path::new(&place.path("journal")).exists());
}
