//! The guard as the runner's replacement: under its name, with its arguments, its streams and its
//! commands that launch nothing.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::support::{Stage, hermetic_command, programs};

/// The guard under the runner's name, with only the runner's arguments.
fn drop_in(stage: &Stage, arguments: &[&str]) -> Command {
    stage.command("run");
    let link = stage.path("snowplow-emr-etl-runner");
    if !link.exists() {
        std::os::unix::fs::symlink(&programs().guard, &link).unwrap();
    }
    let mut command = hermetic_command(link);
    command.args(arguments);
    stage.prepare(&mut command);
    command.env("EMR_ETL_GUARD_REPORT", "report.json");
    command
}

#[test]
fn called_by_the_runners_name_it_takes_the_runners_arguments() {
    let stage = Stage::acme();
    let played =
        stage.play(drop_in(&stage, &["run", "--config", "config.yml", "--resolver=resolver.json"]));
    played.expect_code(0);
    assert_eq!(played.stderr, "");
    assert_eq!(played.report["command"], "run");
}

#[test]
fn the_config_may_come_from_standard_input() {
    let stage = Stage::acme();
    let mut command = drop_in(&stage, &["run", "--config", "-", "--resolver", "resolver.json"]);
    command.stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stage.config.as_bytes()).unwrap();
    let played = stage.finish(child);
    played.expect_code(0);
    assert_eq!(played.report["inputs"]["config"], "<stdin>");
}

#[test]
fn commands_that_launch_nothing_go_straight_through() {
    let stage = Stage::acme();
    let version = stage.play(drop_in(&stage, &["--version"]));
    insta::assert_snapshot!(version.transcript(), @r"
    exit code: 0
    --- stdout
    snowplow-emr-etl-runner 1.0.4
    --- stderr
    ");
    stage
        .play(drop_in(&stage, &["lint", "resolver", "--resolver", "resolver.json"]))
        .expect_code(0);
    stage.play(drop_in(&stage, &["frobnicate"])).expect_code(1);
    assert_eq!(stage.sim.requests().len(), 0);
}

#[test]
fn a_runner_so_old_that_any_command_may_launch_gets_only_its_version_asked() {
    let stage = Stage::acme().env("STANDIN_VERSION", "0.9.6");
    stage.play(drop_in(&stage, &["--version"])).expect_code(0);
    let played = stage
        .play(drop_in(&stage, &["generate", "all", "-c", "config.yml", "-r", "resolver.json"]));
    played.expect_code(77);
    assert_eq!(
        played.stderr,
        "emr-etl-guard: nothing was started: the runner is 0.9.6; from 0.33.0 on, it is known \
         which commands launch nothing\n"
    );
}

#[test]
fn settings_come_from_a_file_that_the_environment_names() {
    let stage = Stage::acme();
    stage.write("guard.yml", "accept_encryption: [SSE-KMS]\nexit_codes: {77: 2}\n");
    let mut command = drop_in(&stage, &["run", "-c", "config.yml", "-r", "resolver.json"]);
    command.env("EMR_ETL_GUARD_SETTINGS", "guard.yml");
    stage.play(command).expect_code(2);
}

#[test]
fn the_next_runner_on_the_path_is_taken_and_never_the_guard_itself() {
    let stage = Stage::acme();
    // Before it on PATH is the guard itself, under the same name.
    let real = stage.path("real");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&programs().runner, real.join("snowplow-emr-etl-runner")).unwrap();
    let mut command = drop_in(&stage, &["--version"]);
    command
        .env_remove("EMR_ETL_GUARD_RUNNER")
        .env("PATH", format!("{}:{}", stage.folder.path().display(), real.display()));
    let played = stage.play(command);
    played.expect_code(0);
    assert_eq!(played.stdout, "snowplow-emr-etl-runner 1.0.4\n");

    let mut command = drop_in(&stage, &["--version"]);
    command.env_remove("EMR_ETL_GUARD_RUNNER").env("PATH", stage.folder.path());
    let played = stage.play(command);
    played.expect_code(127);
    assert_eq!(
        played.unbroken(),
        "emr-etl-guard: EmrEtlRunner was not found: no `snowplow-emr-etl-runner` on PATH; name it \
         in the setting `runner` or EMR_ETL_GUARD_RUNNER\n"
    );
}

/// A copy of the guard under the runner's name in a folder of its own. `another_build`: with one
/// more byte, as in another version.
fn copy_of_the_guard(stage: &Stage, folder: &str, another_build: bool) -> std::path::PathBuf {
    std::fs::create_dir(stage.path(folder)).unwrap();
    let name = format!("{folder}/snowplow-emr-etl-runner");
    let mut guard = std::fs::read(&programs().guard).unwrap();
    if another_build {
        guard.push(b'\n');
    }
    stage.program(&name, guard);
    stage.path(&name)
}

fn on_path(command: &mut Command, programs: &[&std::path::Path]) {
    let folders = programs.iter().map(|program| program.parent().unwrap());
    command.env_remove("EMR_ETL_GUARD_RUNNER").env("PATH", std::env::join_paths(folders).unwrap());
}

#[test]
fn copies_of_the_guard_are_passed_over_on_the_path() {
    let stage = Stage::acme();
    let (one, two) =
        (copy_of_the_guard(&stage, "one", false), copy_of_the_guard(&stage, "two", false));
    std::fs::create_dir(stage.path("real")).unwrap();
    let real = stage.path("real/snowplow-emr-etl-runner");
    std::os::unix::fs::symlink(&programs().runner, &real).unwrap();

    let mut command = hermetic_command(&one);
    command.arg("--version");
    stage.prepare(&mut command);
    on_path(&mut command, &[&one, &two, &real]);
    let played = stage.play(command);
    played.expect_code(0);
    assert_eq!(played.stdout, "snowplow-emr-etl-runner 1.0.4\n");

    let mut command = hermetic_command(&one);
    command.arg("--version");
    stage.prepare(&mut command);
    on_path(&mut command, &[&one, &two]);
    stage.play(command).expect_code(127);
}

#[test]
fn two_builds_of_the_guard_on_the_path_do_not_start_each_other_for_ever() {
    let stage = Stage::acme();
    stage.command("run");
    let (one, two) =
        (copy_of_the_guard(&stage, "one", false), copy_of_the_guard(&stage, "two", true));
    let outer = std::fs::canonicalize(&one).unwrap().display().to_string();
    let inner = std::fs::canonicalize(&two).unwrap().display().to_string();
    let refusal = format!(
        "emr-etl-guard: EmrEtlRunner cannot be executed: {inner}: this is emr-etl-guard, which \
         {outer} has started in the runner's place; \
         name the real runner in the setting `runner` or EMR_ETL_GUARD_RUNNER\n"
    );
    let play = |arguments: &[&str]| {
        let mut command = hermetic_command(&one);
        command.args(arguments);
        stage.prepare(&mut command);
        on_path(&mut command, &[&one, &two]);
        stage.play(command)
    };
    let played = play(&["--version"]);
    played.expect_code(126);
    assert_eq!((played.stdout.as_str(), played.unbroken()), ("", refusal.clone()));

    // A run, and commands that launch nothing, call `--version` first; the other guard's message is
    // shown.
    let played = play(&["run", "-c", "config.yml", "-r", "resolver.json"]);
    played.expect_code(69);
    assert!(played.unbroken().contains(refusal.trim_end()), "{}", played.stderr);
    let played = play(&["lint", "resolver", "-r", "resolver.json"]);
    played.expect_code(77);
    assert!(played.unbroken().contains(refusal.trim_end()), "{}", played.stderr);
}
