//! The runner's process: its file, its environment, and that none of the guard's secrets are in it.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};

use nix::{
    sys::{
        resource::{Resource, setrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use crate::support::{Played, SECRET, Stage, wait_until};

/// Records that it ran and what it read, as a program in the runner's place could.
const EVIL: &str = "#!/bin/sh\ncat > stolen\nexit 0\n";
const TELL_VERSION: &str = "echo snowplow-emr-etl-runner 1.0.4";

fn write_program(stage: &Stage, name: &str, text: &str) {
    // Renamed into place: the program that was there keeps its inode.
    let next = format!("{name}.next");
    stage.program(&next, text);
    std::fs::rename(stage.path(&next), stage.path(name)).unwrap();
}

/// A stage whose runner is a script that runs `on_version` after it printed its version.
fn with_runner(on_version: &str) -> Stage {
    let stage = Stage::acme();
    write_program(
        &stage,
        "runner",
        &format!(
            "#!/bin/sh\n[ \"$1\" = --version ] && {{ {TELL_VERSION}; {on_version}; exit; }}\ncat \
             > /dev/null\n: > ran\nexit 3\n"
        ),
    );
    write_program(&stage, "evil", EVIL);
    let runner = stage.path("runner").display().to_string();
    stage.env("EMR_ETL_GUARD_RUNNER", &runner)
}

/// Checks that nothing ran, and the message.
#[track_caller]
fn assert_not_started(stage: &Stage, played: &Played, saying: &str) {
    played.expect_code(69);
    assert!(!stage.path("stolen").exists(), "another program read the sealed config");
    assert!(!stage.path("ran").exists(), "the runner ran");
    assert_eq!(stage.sim.requests_for("RunJobFlow").len(), 0);
    let said = played.redact(&played.unbroken());
    assert!(said.contains(saying), "{said}");
    assert_eq!(played.report["verdict"], "launch", "{}", played.report);
    assert_eq!(played.report["exit_code"], 69);
}

#[test]
fn a_program_that_was_put_in_the_runners_place_after_the_look_at_it_does_not_get_the_config() {
    let stage = with_runner("mv -f evil runner");
    let played = stage.run();
    assert_not_started(
        &stage,
        &played,
        "nothing was launched: EmrEtlRunner was not started: FOLDER/runner is not the file that \
         was looked at: \
         another file has its name; expected: the same file with the same content; fix: see who \
         replaces it, and \
         start again when that is done",
    );
    // The checked file is the original one.
    assert_ne!(played.report["inputs"]["runner"]["sha256"], serde_json::Value::Null);
}

#[test]
fn a_link_that_leads_to_another_program_after_the_look_at_it_does_not_get_the_config() {
    let stage = with_runner("ln -s evil other; mv -fT other link");
    std::os::unix::fs::symlink("runner", stage.path("link")).unwrap();
    let link = stage.path("link").display().to_string();
    let stage = stage.env("EMR_ETL_GUARD_RUNNER", &link);
    let played = stage.run();
    assert_not_started(&stage, &played, "FOLDER/link is not the file that was looked at");
}

#[test]
fn a_jar_that_was_replaced_after_the_look_at_it_does_not_get_the_config() {
    let stage = Stage::acme();
    std::fs::create_dir(stage.path("bin")).unwrap();
    write_program(
        &stage,
        "bin/java",
        &format!(
            "#!/bin/sh\n[ \"$3\" = --version ] && {{ {TELL_VERSION}; mv -f other.jar runner.jar; \
             exit; }}\ncat > stolen\nexit 3\n"
        ),
    );
    stage.write("runner.jar", "one");
    stage.write("other.jar", "two");
    let jar = stage.path("runner.jar").display().to_string();
    let path = format!("{}:/usr/bin:/bin", stage.path("bin").display());
    let stage = stage.env("EMR_ETL_GUARD_RUNNER", &jar).env("PATH", &path);
    let played = stage.run();
    assert_not_started(&stage, &played, "FOLDER/runner.jar is not the file that was looked at");
}

#[test]
fn a_runner_that_only_got_another_link_is_still_the_same() {
    let stage = with_runner("ln runner backup; touch other");
    stage.run().expect_code(3);
    assert!(stage.path("ran").exists());
}

#[test]
fn a_command_that_launches_nothing_is_not_given_to_a_program_that_took_the_runners_place() {
    let stage = with_runner("mv -f evil runner");
    let run = stage.bare_command("run");
    // The same command line, with a command that launches nothing after the `--`.
    let options = run.get_args().take_while(|argument| *argument != "--");
    let mut lint = crate::support::hermetic_command(run.get_program());
    lint.args(options).args(["--", "lint", "resolver", "-r", "resolver.json"]);
    stage.prepare(&mut lint);
    let played = stage.play(lint);
    played.expect_code(69);
    assert!(!stage.path("stolen").exists(), "another program ran");
}

/// The runner's environment, from the output of `env`, by name.
fn environment(stage: &Stage) -> std::collections::BTreeMap<String, String> {
    let text = std::fs::read_to_string(stage.path("environment")).unwrap();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A stage whose runner prints its environment and its limit of core dumps.
fn telling() -> Stage {
    Stage::acme().scripted(
        "env > environment; ulimit -c > limit; ulimit -H -c >> limit\ncat > /dev/null\nexit 3",
    )
}

#[test]
fn nothing_that_the_guard_starts_inherits_the_secrets_that_are_the_guards_own() {
    let stage = telling();
    write_program(&stage, "alert", "#!/bin/sh\nenv > environment\n");
    let alert = stage.path("alert").display().to_string();
    let secrets = [
        ("EMR_ETL_GUARD_ALERT_WEBHOOK", "https://127.0.0.1:9/services/GUARDSECRET"),
        ("EMR_ETL_GUARD_OTLP_ENDPOINT", "http://user:GUARDSECRET@127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=GUARDSECRET"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "authorization=GUARDSECRET"),
    ];
    let stage = secrets.iter().fold(stage, |stage, (name, value)| stage.env(name, value));
    let stage = stage
        .env("EMR_ETL_GUARD_ALERT_COMMAND", &alert)
        .env("EMR_ETL_GUARD_ALERT_TIMEOUT", "200ms")
        .env("OTEL_SERVICE_NAME", "etl");
    stage.run().expect_code(3);
    let found = environment(&stage);
    for (name, _) in secrets {
        assert!(!found.contains_key(name), "{name}");
    }
    // Variables that are not the guard's secrets stay.
    assert_eq!(found["OTEL_SERVICE_NAME"], "etl");
    assert_eq!(found["AWS_SNOWPLOW_SECRET_KEY"], SECRET);
    std::fs::remove_file(stage.path("environment")).unwrap();

    // An alert: the security configuration does not exist.
    let stage = stage.replace("acme-sc", "missing-sc");
    stage.run().expect_code(77);
    let found = environment(&stage);
    assert!(found.contains_key("GUARD_ALERT_KIND"), "the alert's own");
    for (name, _) in secrets {
        assert!(!found.contains_key(name), "{name}");
    }
}

#[test]
fn a_clean_environment_holds_what_an_allow_list_names_and_nothing_else() {
    let stage = telling()
        .env("EMR_ETL_GUARD_CLEAN_ENVIRONMENT", "true")
        .env("LD_LIBRARY_PATH", "/opt/lib")
        .env("RUBYOPT", "-rset")
        .env("LC_MESSAGES", "C")
        .env("https_proxy", "http://127.0.0.1:9")
        .env("NO_PROXY", "127.0.0.1");
    let played = stage.run();
    played.expect_code(3);
    let mut names: Vec<String> = environment(&stage).into_keys().collect();
    // Variables that the shell adds by itself.
    names.retain(|name| !matches!(name.as_str(), "PWD" | "OLDPWD" | "SHLVL" | "_"));
    assert_eq!(
        names,
        [
            "EMR_ETL_GUARD_INSIDE",
            "EMR_ETL_GUARD_RUN",
            "HOME",
            "LC_MESSAGES",
            "NO_PROXY",
            "PATH",
            "SSL_CERT_FILE",
            "TMPDIR",
            "https_proxy",
        ]
    );
    // Variables that do not reach the runner are not checked.
    assert_eq!(
        played.findings("environment-loads-code").into_values().collect::<Vec<_>>(),
        ["passed"]
    );
}

/// The soft limit of core dumps, in bytes, from /proc.
fn soft_limit(pid: u32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

/// A command that may dump core, as far as this machine allows it.
#[expect(unsafe_code, reason = "what is set between fork and exec cannot be set any other way")]
fn may_dump(mut command: std::process::Command) -> std::process::Command {
    // SAFETY: one system call, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            let (_, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_CORE)?;
            Ok(setrlimit(Resource::RLIMIT_CORE, hard.min(1 << 40), hard)?)
        });
    }
    command
}

/// Whether a guard with the setting, ended while its runner waits, leaves a core dump; and its
/// limit at that time.
fn dumps(core_dumps: &str) -> (bool, String) {
    let stage = Stage::acme().held().env("EMR_ETL_GUARD_CORE_DUMPS", core_dumps);
    let mut child = may_dump(stage.command("run")).spawn().unwrap();
    wait_until("the runner waits", || stage.path("held").exists());
    let limit = soft_limit(child.id());
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, Signal::SIGABRT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32));
    (status.core_dumped(), limit)
}

#[test]
fn the_guard_dumps_no_core_unless_the_setting_for_that_is_on() {
    assert_eq!(dumps("false"), (false, "0".to_owned()));
    // Where this machine would not dump core anyway, the limit still shows the difference.
    let mut sleeper = crate::support::hermetic_command("sleep");
    let folder = tempfile::tempdir().unwrap();
    sleeper.arg("600").current_dir(folder.path());
    let mut sleeper = may_dump(sleeper).spawn().unwrap();
    let limit = soft_limit(sleeper.id());
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let (_, with_setting) = dumps("true");
    assert_eq!(with_setting, limit);
}

#[test]
fn the_runner_keeps_the_limit_of_core_dumps_that_the_guard_was_given() {
    for setting in ["false", "true"] {
        let stage = telling().env("EMR_ETL_GUARD_CORE_DUMPS", setting);
        let mut bare = crate::support::hermetic_command("/bin/sh");
        bare.args(["-c", "ulimit -c; ulimit -H -c"]);
        let bare = may_dump(bare).output().unwrap();
        stage.play(may_dump(stage.command("run"))).expect_code(3);
        let found = std::fs::read_to_string(stage.path("limit")).unwrap();
        assert_eq!(found, String::from_utf8(bare.stdout).unwrap(), "core_dumps: {setting}");
    }
}

#[test]
fn the_log_for_debugging_shows_no_body_and_no_header_of_a_request() {
    let stage = Stage::acme()
        .env("EMR_ETL_GUARD_LOG", "trace")
        .env("AWS_SESSION_TOKEN", "token-GUARDSECRET");
    let played = stage.run();
    played.expect_code(0);
    for secret in ["GUARDSECRET", SECRET, "Signature=", "x-amz-target", "SecurityConfiguration\\\""]
    {
        let shown = played.stderr.lines().find(|line| line.contains(secret));
        assert_eq!(shown, None, "{secret}");
    }
    assert!(played.stderr.contains("emr_etl_guard"), "the guard's own lines are there");
}
