//! A stage to run the guard on: the simulator as AWS, the stand-in as the runner, and the real
//! binary between them, all in a folder of its own. Shared by the black-box tests, the rehearsal
//! and the benchmark.
//!
//! Time is scaled, so that quotas, polls and clusters keep their real proportions: a simulated
//! minute takes a real second.

mod children;

use std::{
    collections::BTreeMap,
    io::Read,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use emr_simulator::{
    BucketEncryption, ClockMode, Command as Set, PutBucket, Recorded, SetClock, Simulator, Timings,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub(crate) use children::hermetic_command;

/// The config of the recordings.
pub(crate) const CONFIG: &str = include_str!("../recordings/config.yml");
const RESOLVER: &str = include_str!("../recordings/resolver.json");
/// A value that must never be outside of the runner's standard input.
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYGUARDSECRET";
/// Simulated seconds in a real one.
const SPEED: f64 = 60.0;

/// The programs under test, built by the same cargo.
pub(crate) struct Programs {
    pub(crate) guard: PathBuf,
    pub(crate) runner: PathBuf,
}

/// Builds the guard and the stand-in runner, if they are not up to date, and returns their paths.
///
/// Cargo gives a test only the path of its own package's binaries, and an example none at all, so
/// cargo is called.
pub(crate) fn programs() -> &'static Programs {
    &built().0
}

/// The programs under test, and what starts them in the state of [`hermetic_command`].
fn built() -> &'static (Programs, PathBuf) {
    static BUILT: OnceLock<(Programs, PathBuf)> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        children::isolate(&mut cargo);
        let output = cargo
            // `--report-time` of the test harness needs this variable; cargo would treat it as
            // another compiler and rebuild everything.
            .env_remove("RUSTC_BOOTSTRAP")
            // With an example, whose dependencies are those of the tests: the same features, or
            // cargo would rebuild every AWS crate.
            .args(["build", "--bin=emr-etl-guard", "--bin=standin-runner", "--example=isolated"])
            .arg("--message-format=json-render-diagnostics")
            .args((!cfg!(debug_assertions)).then_some("--release"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs, since it built this");
        assert!(output.status.success(), "the programs under test do not build");
        let lines = String::from_utf8_lossy(&output.stdout);
        let messages = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let built: BTreeMap<String, PathBuf> = messages
            .filter_map(|message| {
                Some((
                    message["target"]["name"].as_str()?.to_owned(),
                    PathBuf::from(message["executable"].as_str()?),
                ))
            })
            .collect();
        let of = |name: &str| {
            built.get(name).unwrap_or_else(|| panic!("cargo built no `{name}`")).clone()
        };
        let programs = Programs { guard: of("emr-etl-guard"), runner: of("standin-runner") };
        (programs, of("isolated"))
    })
}

/// The guard in the state of [`hermetic_command`], without a fork of the tests' process.
pub(crate) fn isolated_guard() -> Command {
    let (programs, isolated) = built();
    let mut command = Command::new(isolated);
    command.arg(&programs.guard);
    command
}

/// A certificate authority, and a loopback server with a certificate from it; all as PEM.
pub(crate) struct Authority {
    pub(crate) pem: String,
    /// The SHA-256 digest of its certificate, as `allow_roots` names it.
    pub(crate) digest: String,
    certificate: String,
    key: String,
}

impl Authority {
    /// A new one that nothing trusts yet.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let generate = || rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        // Two with the same name would differ only by their signatures.
        let name = format!("authority {}", NEXT.fetch_add(1, Ordering::Relaxed));
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = rcgen::CertifiedIssuer::self_signed(parameters, generate());
        let issuer = issuer.expect("a certificate");
        let key = generate();
        let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = server.signed_by(&key, &issuer).expect("a certificate").pem();
        let digest = digest(issuer.der());
        Self { pem: issuer.pem(), digest, certificate, key: key.serialize_pem() }
    }

    /// The only authority that the guard trusts on a stage. The machine's own are not needed in a
    /// test, and an unoptimised build takes longer to read 150 of them than for the rest of its
    /// start.
    pub(crate) fn of_stages() -> &'static Self {
        static AUTHORITY: OnceLock<Authority> = OnceLock::new();
        AUTHORITY.get_or_init(Self::new)
    }

    /// Makes a simulator also serve TLS at another address, with a certificate from this authority.
    pub(crate) fn serve(&self, sim: &Simulator) -> String {
        sim.serve_tls(&self.certificate, &self.key).expect("a port on loopback")
    }
}

/// The SHA-256 digest of a certificate, as `allow_roots` names it.
pub(crate) fn digest(certificate: &[u8]) -> String {
    let halves = Sha256::digest(certificate).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.filter_map(|half| char::from_digit(half.into(), 16)).collect()
}

/// The setup of one guarded run.
pub(crate) struct Stage {
    pub(crate) sim: Simulator,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: String,
    pub(crate) arguments: Vec<String>,
    options: Vec<String>,
    report: String,
    env: BTreeMap<String, String>,
    /// The simulator's address over TLS.
    tls_url: Option<String>,
}

impl Stage {
    /// The simulator's scene `acme`: everything as required, with the security configuration
    /// `acme-sc` in the config.
    pub(crate) fn acme() -> Self {
        let sim = Simulator::acme().expect("a port on loopback");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let stage = Self {
            config: CONFIG
                .replace("security_configuration:\n", "security_configuration: acme-sc\n"),
            arguments: ["run", "-c", "config.yml", "-r", "resolver.json"]
                .map(str::to_owned)
                .to_vec(),
            options: Vec::new(),
            report: "report.json".to_owned(),
            env: BTreeMap::new(),
            tls_url: None,
            sim,
            folder,
        };
        let stage = stage.timed();
        stage.write("authority.pem", &Authority::of_stages().pem);
        let trusted = stage.path("authority.pem").display().to_string();
        let url = stage.sim.url();
        stage
            .env("PATH", children::PATH)
            .env("SSL_CERT_FILE", &trusted)
            .env("EMR_ETL_GUARD_ALLOW_ROOTS", &Authority::of_stages().digest)
            .env("AWS_ACCESS_KEY_ID", "AKIAGUARD")
            .env("AWS_SECRET_ACCESS_KEY", "guard-secret-GUARDSECRET")
            .env("AWS_ENDPOINT_URL", &url)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_SNOWPLOW_ACCESS_KEY", "AKIAFAKE")
            .env("AWS_SNOWPLOW_SECRET_KEY", SECRET)
            .env("EMR_ETL_GUARD_ALLOW_ENDPOINTS", &url)
            .env("EMR_ETL_GUARD_RUNNER", &programs().runner.display().to_string())
            .env("EMR_ETL_GUARD_STATE_DIR", "state")
            .env("EMR_ETL_GUARD_WATCH_INTERVAL", "30ms")
            .env("EMR_ETL_GUARD_AWS_TIMEOUT", "20s")
            .env("EMR_ETL_GUARD_STOP_TIMEOUT", "2s")
            .env("EMR_ETL_GUARD_TERMINATION_TIMEOUT", "20s")
            .env("STANDIN_ENDPOINT", &url)
            .env("STANDIN_POLL_MS", "500")
            .env("STANDIN_RETRY_MS", "100")
            .env("STANDIN_BOOTSTRAP_RETRY_MS", "300")
    }

    /// The same with the pace of a stage, which a reset of the world takes away.
    pub(crate) fn timed(self) -> Self {
        self.set(Set::SetClock(SetClock { mode: ClockMode::Scaled(SPEED), at: None }));
        // Long enough at the start for volumes to be checked on a busy machine.
        self.set(Set::SetTimings(Timings { bootstrapping: 36.0, ..Timings::all(6.0) }));
        self
    }

    /// The same with twelve buckets of its own, all as required.
    pub(crate) fn with_twelve_buckets() -> Self {
        let stage = Self::acme();
        let names: Vec<String> = (1..=7).map(|n| format!("acme-input-{n}")).collect();
        for name in &names {
            stage.set(Set::PutBucket(PutBucket {
                name: name.clone(),
                default_encryption: Some(BucketEncryption::aes256()),
                ..PutBucket::default()
            }));
        }
        let inputs: Vec<String> =
            names.iter().map(|name| format!("          - s3://{name}/logs\n")).collect();
        stage.replace("        in:\n", &format!("        in:\n{}", inputs.concat()))
    }

    /// Makes the guard call the simulator over TLS, with a certificate from the authority that it
    /// trusts. The stand-in runner still uses plain HTTP.
    pub(crate) fn over_tls(mut self) -> Self {
        let url = Authority::of_stages().serve(&self.sim);
        self.tls_url = Some(url.clone());
        self.env("AWS_ENDPOINT_URL", &url).env("EMR_ETL_GUARD_ALLOW_ENDPOINTS", &url)
    }

    /// The simulator's address over TLS.
    pub(crate) fn tls_url(&self) -> String {
        self.tls_url.clone().expect("it speaks TLS")
    }

    /// Changes the simulated world.
    pub(crate) fn set(&self, command: Set) {
        self.sim.apply(command).expect("a command the simulator understands");
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Makes the stand-in runner misbehave (see `standin_runner::misbehave`).
    pub(crate) fn misbehave(self, how: &str) -> Self {
        self.env("STANDIN_MISBEHAVE", how)
    }

    /// Makes a shell script the runner: `script` runs after its version was requested.
    pub(crate) fn scripted(self, script: &str) -> Self {
        let version = "[ \"$1\" = --version ] && { echo snowplow-emr-etl-runner 1.0.4; exit; }";
        self.program("runner", format!("#!/bin/sh\n{version}\n{script}\n"));
        let runner = self.path("runner").display().to_string();
        self.env("EMR_ETL_GUARD_RUNNER", &runner)
    }

    /// Makes the stand-in runner wait, after it has read its config, until it is
    /// [released](Self::release): a change meanwhile is effective at the launch, whatever the
    /// pre-flight saw.
    pub(crate) fn held(self) -> Self {
        let runner = programs().runner.display().to_string();
        self.scripted(&format!(
            "cat > sealed\n: > held\nwhile [ ! -e go ]; do sleep 0.02; done\nexec '{runner}' \
             \"$@\" < sealed"
        ))
    }

    /// Starts a guard whose runner is [held](Self::held), and waits until it is.
    pub(crate) fn start_held(&self) -> Child {
        let child = self.command("run").spawn().expect("the guard starts");
        wait_until("the runner waits", || self.path("held").exists());
        child
    }

    /// Lets a runner that is [held](Self::held) continue.
    pub(crate) fn release(&self) {
        self.write("go", "");
    }

    /// Adds an option of the guard.
    pub(crate) fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// Writes the report to another file.
    pub(crate) fn report_to(mut self, file: &str) -> Self {
        self.report = file.to_owned();
        self
    }

    /// Adds an argument of the runner.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Changes the runner config.
    pub(crate) fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.config.contains(from), "the config holds no `{from}`");
        self.config = self.config.replace(from, to);
        self
    }

    /// Changes every such text in the runner config.
    pub(crate) fn replace_all(mut self, from: &str, to: &str) -> Self {
        self.config = self.config.replace(from, to);
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The guard's command line, ready to start in the stage's folder.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        self.arranged(isolated_guard(), subcommand)
    }

    /// The same for a program that starts the guard itself, or for what is set between fork and
    /// exec.
    pub(crate) fn bare_command(&self, subcommand: &str) -> Command {
        self.command_of(&programs().guard, subcommand)
    }

    /// The same of another copy of the guard.
    pub(crate) fn command_of(&self, guard: &Path, subcommand: &str) -> Command {
        self.arranged(hermetic_command(guard), subcommand)
    }

    fn arranged(&self, mut command: Command, subcommand: &str) -> Command {
        self.write("config.yml", &self.config);
        self.write("resolver.json", RESOLVER);
        command.arg(subcommand).args(&self.options);
        if matches!(subcommand, "run" | "check") {
            command.arg("--report").arg(&self.report);
        }
        command.arg("--").args(&self.arguments);
        self.prepare(&mut command);
        command
    }

    /// The command line of another command with these options of its own.
    pub(crate) fn with_options(&self, subcommand: &str, options: &[&str]) -> Command {
        self.write("config.yml", &self.config);
        self.write("resolver.json", RESOLVER);
        let mut command = isolated_guard();
        command.arg(subcommand).args(options).arg("--").args(&self.arguments);
        self.prepare(&mut command);
        command
    }

    /// The command that closes open runs.
    pub(crate) fn watch_resume(&self) -> Command {
        let mut command = isolated_guard();
        command.args(["watch", "--resume"]);
        self.prepare(&mut command);
        command
    }

    /// The command that watches the whole account, by the settings in `guard.yml`.
    pub(crate) fn sentinel(&self, options: &[&str]) -> Command {
        let mut command = isolated_guard();
        command.args(["sentinel", "--settings", "guard.yml"]).args(options);
        self.prepare(&mut command);
        command
    }

    /// The command that watches running clusters: with the stage's runner config, or without it.
    pub(crate) fn watch(&self, clusters: &[&str], by_config: bool) -> Command {
        self.write("config.yml", &self.config);
        self.write("resolver.json", RESOLVER);
        let mut command = isolated_guard();
        command.arg("watch").args(&self.options).arg("--report").arg(&self.report).args(clusters);
        if by_config {
            command.arg("--").args(&self.arguments);
        }
        self.prepare(&mut command);
        command
    }

    /// Folder, environment and streams of any program on this stage.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .env("STANDIN_JOURNAL", self.path("journal.jsonl"))
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the stage's folder can be written to");
    }

    /// Writes a program that the guard, or a test, executes.
    ///
    /// Another program writes it: if this process did, children that other tests start meanwhile
    /// could have it open for writing until their exec, and executing it would fail with ETXTBSY.
    pub(crate) fn program(&self, name: &str, text: impl AsRef<[u8]>) {
        let draft = self.path(&format!("{name}.draft"));
        std::fs::write(&draft, text).expect("the stage's folder can be written to");
        let installed =
            Command::new("/usr/bin/install").arg("-m755").arg(&draft).arg(self.path(name)).status();
        assert!(installed.expect("install (coreutils) runs").success(), "{name} is not installed");
        std::fs::remove_file(&draft).expect("a file of the stage's own");
    }

    pub(crate) fn run(&self) -> Played {
        self.play(self.command("run"))
    }

    pub(crate) fn check(&self) -> Played {
        self.play(self.command("check"))
    }

    /// Starts a command and waits for its end.
    pub(crate) fn play(&self, mut command: Command) -> Played {
        let child = loop {
            match command.spawn() {
                // Another test's child process, between its fork and its exec, still holds the just
                // written file open.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                    std::thread::yield_now();
                }
                child => break child.expect("the guard starts"),
            }
        };
        self.finish(child)
    }

    /// The requests so far that came from the guard, not from the runner.
    pub(crate) fn requests_of_guard(&self) -> impl Iterator<Item = Recorded> {
        let requests = self.sim.requests().into_iter();
        requests.filter(|request| request.access_key.as_deref() == Some("AKIAGUARD"))
    }

    /// How many calls of an operation came from the guard, not from the runner.
    pub(crate) fn by_guard(&self, operation: &str) -> usize {
        let requests = self.sim.requests_for(operation).into_iter();
        requests.filter(|request| request.access_key.as_deref() == Some("AKIAGUARD")).count()
    }

    /// Waits for a started guard. Five minutes are far more than any scene takes, even on a busy
    /// machine: only a hanging process is killed.
    pub(crate) fn finish(&self, mut child: Child) -> Played {
        fn reader(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
            let mut stream = stream.expect("the stream is piped");
            let (sender, receiver) = mpsc::channel();
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes);
                let _ = sender.send(bytes);
            });
            receiver
        }
        let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
        let deadline = Instant::now() + Duration::from_secs(300);
        let status = loop {
            if let Some(status) = child.try_wait().expect("the guard can be waited for") {
                break Some(status);
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        // After a hang, output that an orphan still holds open is not waited for.
        let patience = Duration::from_secs(if status.is_some() { 60 } else { 1 });
        let text =
            |bytes: mpsc::Receiver<Vec<u8>>| bytes.recv_timeout(patience).unwrap_or_default();
        let (stdout, stderr) = (text(stdout), text(stderr));
        let stderr_text = String::from_utf8_lossy(&stderr);
        if let Some(line) = too_long(&stderr_text) {
            panic!("a message's first line has more than 119 characters\n{line}");
        }
        let Some(status) = status else {
            panic!(
                "the guard hung\n--- stdout\n{}\n--- stderr\n{}",
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            );
        };
        Played {
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            raw_stdout: stdout,
            report: std::fs::read(self.path("report.json"))
                .map(|bytes| valid_document(&bytes))
                .unwrap_or_default(),
            journal: lines(&self.path("journal.jsonl")),
            redactions: self.redactions(),
        }
    }

    fn redactions(&self) -> Vec<(String, String)> {
        let tls = self.tls_url.iter().map(|url| (url.clone(), "https://SIMULATOR".to_owned()));
        tls.chain([
            (self.sim.url(), "http://SIMULATOR".to_owned()),
            (self.folder.path().display().to_string(), "FOLDER".to_owned()),
            (programs().runner.display().to_string(), "RUNNER".to_owned()),
        ])
        .collect()
    }
}

/// A running run whose cluster the guard has evaluated, with an hour for each state.
pub(crate) fn under_way(stage: &Stage) -> Child {
    under_way_for(stage, Timings::all(3600.0))
}

/// The same, with these times.
pub(crate) fn under_way_for(stage: &Stage, timings: Timings) -> Child {
    stage.set(emr_simulator::Command::SetTimings(timings));
    let child = stage.command("run").spawn().expect("the guard starts");
    let judged = stage.sim.wait_for_request(
        |request| {
            request.operation() == "ListSteps" && request.access_key.as_deref() == Some("AKIAGUARD")
        },
        Duration::from_secs(120),
    );
    assert!(judged.is_some(), "the cluster is judged");
    child
}

/// The stand-in runner's pid, once it has started.
pub(crate) fn runner_pid(stage: &Stage) -> nix::unistd::Pid {
    let mut pid = None;
    wait_until("the runner has started", || {
        // Another process may be writing the last line.
        let text = std::fs::read_to_string(stage.path("journal.jsonl")).unwrap_or_default();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        pid = events
            .filter(|event| event["event"] == "started")
            .find_map(|event| event["pid"].as_i64());
        pid.is_some()
    });
    let pid = pid.and_then(|pid| i32::try_from(pid).ok()).expect("a pid");
    nix::unistd::Pid::from_raw(pid)
}

/// The signals that the stand-in runner recorded, in order.
pub(crate) fn signals_in_the_journal(stage: &Stage) -> Vec<i64> {
    let text = std::fs::read_to_string(stage.path("journal.jsonl")).unwrap_or_default();
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events
        .filter_map(
            |event| if event["event"] == "signal" { event["signal"].as_i64() } else { None },
        )
        .collect()
}

/// Waits for `condition`; half a minute is far more than any takes.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A report, validated against the published schema of its kind.
pub(crate) fn valid_document(bytes: &[u8]) -> Value {
    static SCHEMAS: OnceLock<[jsonschema::Validator; 3]> = OnceLock::new();
    let [runs, audits, repairs] = SCHEMAS.get_or_init(|| {
        let published = [
            include_str!("../../src/report/schema.json"),
            include_str!("../../src/report/schema-audit.json"),
            include_str!("../../src/report/schema-reencrypt.json"),
        ];
        published.map(|schema| {
            let schema = serde_json::from_str(schema).expect("the schema is JSON");
            jsonschema::options()
                .should_validate_formats(true)
                .build(&schema)
                .expect("the schema is one")
        })
    });
    let document: Value = serde_json::from_slice(bytes).expect("the document is JSON");
    let schema = match document["command"].as_str() {
        Some("audit") => audits,
        Some("reencrypt") => repairs,
        _ => runs,
    };
    let errors: Vec<String> = schema
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "the document is not what its schema says:\n{}", errors.join("\n"));
    document
}

/// A port of loopback at which every connection is refused, as long as what holds it lives. A port
/// that is only free may become another test's simulator.
pub(crate) fn closed_port() -> (OwnedFd, u16) {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket,
    };
    let held = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .expect("a socket that does not listen");
    bind(held.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a port of loopback");
    let address: SockaddrIn = getsockname(held.as_raw_fd()).expect("its address");
    (held, address.port())
}

/// What each message of the guard begins with.
const MESSAGE: &str = "emr-etl-guard: ";
/// The most characters of a message's first line.
const FIRST_LINE: usize = 119;

/// A message's first line that is longer than it may be. A line that tells to act at once holds the
/// command that ends the cluster, too.
fn too_long(stderr: &str) -> Option<&str> {
    let bounded =
        |line: &&str| line.starts_with(MESSAGE) && !line.starts_with("emr-etl-guard: ACT NOW: ");
    stderr.lines().filter(bounded).find(|line| line.chars().count() > FIRST_LINE)
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("the journal holds JSON lines"))
        .collect()
}

/// The result of a run.
pub(crate) struct Played {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) raw_stdout: Vec<u8>,
    /// The JSON report; null where none was written.
    pub(crate) report: Value,
    /// The stand-in runner's journal.
    pub(crate) journal: Vec<Value>,
    redactions: Vec<(String, String)>,
}

impl Played {
    /// Whether the runner was started to do its work (`--version` does not count).
    pub(crate) fn runner_started(&self) -> bool {
        self.journal.iter().any(|entry| entry["event"] == "started")
    }

    /// The statuses of a check's findings in the report, by subject.
    pub(crate) fn findings(&self, check: &str) -> BTreeMap<String, String> {
        let all = self.report["findings"].as_array().into_iter().flatten();
        let of_clusters = self.report["watched"]["clusters"].as_array().into_iter().flatten();
        let of_clusters =
            of_clusters.flat_map(|cluster| cluster["findings"].as_array().into_iter().flatten());
        all.chain(of_clusters)
            .filter(|finding| finding["check"] == check)
            .map(|finding| (text(&finding["subject"]), text(&finding["status"])))
            .collect()
    }

    /// The finding of a check, the only one of its kind.
    #[track_caller]
    pub(crate) fn finding(&self, check: &str) -> Value {
        let findings = self.report["findings"].as_array().expect("there are findings");
        let mut of_check = findings.iter().filter(|finding| finding["check"] == check);
        let found = of_check.next().unwrap_or_else(|| panic!("{check}\n{}", self.transcript()));
        assert!(of_check.next().is_none(), "{check}\n{}", self.transcript());
        found.clone()
    }

    /// Ids of the clusters in the report.
    pub(crate) fn clusters(&self) -> Vec<String> {
        self.report["watched"]["clusters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|cluster| text(&cluster["id"]))
            .collect()
    }

    /// Exit code and both streams, with everything that differs between runs replaced.
    pub(crate) fn transcript(&self) -> String {
        self.redact(&format!(
            "exit code: {}\n--- stdout\n{}--- stderr\n{}",
            self.code.map_or_else(|| "none".to_owned(), |code| code.to_string()),
            self.stdout,
            self.stderr
        ))
    }

    /// Standard error with complete first lines of its messages, where one was too long and
    /// continues on the next line.
    pub(crate) fn unbroken(&self) -> String {
        let mut whole = String::new();
        let mut lines = self.stderr.lines().peekable();
        while let Some(line) = lines.next() {
            whole.push_str(line);
            let goes_on = |rest: &&str| {
                line.starts_with(MESSAGE)
                    && rest.starts_with("  ")
                    && line.chars().count() + rest.trim_start().chars().count() >= FIRST_LINE
            };
            if let Some(rest) = lines.next_if(goes_on) {
                whole.push(' ');
                whole.push_str(rest.trim_start());
            }
            whole.push('\n');
        }
        whole
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.redactions {
            text = text.replace(from, to);
        }
        redact_times(&text)
    }

    /// Panics with all output, unless the exit code is `code`.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(
            self.code,
            Some(code),
            "\n{}\n--- timeline\n{}\n--- watched\n{}",
            self.transcript(),
            serde_json::to_string_pretty(&self.report["timeline"]).unwrap_or_default(),
            serde_json::to_string_pretty(&self.report["watched"]).unwrap_or_default()
        );
        self
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Times, ids and pids replaced.
pub(crate) fn redact_times(text: &str) -> String {
    // Built once: in an unoptimised build that takes longer than most tests' work.
    static VARYING: LazyLock<[(regex::Regex, &str); 6]> = LazyLock::new(|| {
        [
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( \+00:00:00|Z)?", "TIME"),
            (r"TIME, in \d+ days", "TIME, in N days"),
            (r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d", "RUN-TIME"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "RUN-ID"),
            (r"\bj-[A-Z0-9]+\b", "j-ID"),
            (r"#\d+\]", "#PID]"),
        ]
        .map(|(pattern, to)| (regex::Regex::new(pattern).expect("a regular expression"), to))
    });
    VARYING
        .iter()
        .fold(text.to_owned(), |text, (varies, to)| varies.replace_all(&text, *to).into_owned())
}
