//! The sealed config and the credentials go through a pipe and nowhere else.

use std::{path::Path, time::Duration};

use crate::support::{SECRET, Stage};

/// Every regular file below `folder` that contains one of `needles`.
fn files_holding(folder: &Path, needles: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_holding(&path, needles));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            if needles
                .iter()
                .any(|needle| bytes.windows(needle.len()).any(|window| window == needle.as_bytes()))
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Every process in the tree below `root`, itself included.
fn tree(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children =
                std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    all
}

#[test]
fn no_file_no_argv_no_report_and_no_output_holds_a_secret() {
    // The config itself takes its keys from the environment, as Snowplow's own sample does, so no
    // file contains one at first. The guard prevents other processes of its user from reading its
    // descriptors, which must be readable here.
    let stage = Stage::acme().misbehave("hang").env("EMR_ETL_GUARD_CORE_DUMPS", "true");
    let child = stage.command("run").spawn().unwrap();
    assert!(
        stage
            .sim
            .wait_for_request(
                |request| request.operation() == "RunJobFlow",
                Duration::from_secs(120)
            )
            .is_some()
    );

    let processes = tree(child.id());
    assert!(processes.len() >= 2, "guard and runner");
    for pid in &processes {
        let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let cmdline = String::from_utf8_lossy(&cmdline);
        assert!(!cmdline.contains(SECRET) && !cmdline.contains("GUARDSECRET"), "{cmdline}");
        for descriptor in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            let Ok(target) = std::fs::read_link(descriptor.path()) else { continue };
            // A file that was opened and unlinked would be visible here too.
            assert!(!target.display().to_string().contains("deleted"), "{}", target.display());
        }
    }
    let runner = processes.last().unwrap();
    let argv =
        String::from_utf8(std::fs::read(format!("/proc/{runner}/cmdline")).unwrap()).unwrap();
    let argv: Vec<&str> = argv.trim_end_matches('\0').split('\0').skip(1).collect();
    assert_eq!(argv, ["run", "-c", "-", "-r", "resolver.json"]);

    let runner = nix::unistd::Pid::from_raw(i32::try_from(*runner).unwrap());
    nix::sys::signal::kill(runner, nix::sys::signal::Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    assert_eq!(files_holding(stage.folder.path(), &[SECRET, "GUARDSECRET"]), Vec::<String>::new());
    assert!(!played.transcript().contains(SECRET));
    assert!(played.report["outcome"].is_object() || played.report["outcome"].is_string());
    let started = played.journal.iter().find(|entry| entry["event"] == "started").unwrap();
    assert_eq!(
        started["config_sha256"], played.report["inputs"]["sealed_sha256"],
        "the runner read exactly what was sealed"
    );
}

#[test]
fn seal_masks_credentials_unless_asked() {
    let stage = Stage::acme();
    let masked = stage.play(stage.command("seal"));
    masked.expect_code(0);
    assert!(!masked.stdout.contains(SECRET) && !masked.stdout.contains("AKIAFAKE"));
    insta::assert_snapshot!(masked.transcript());

    let shown = stage.option("--show-secrets");
    let shown = shown.play(shown.command("seal"));
    assert!(shown.stdout.contains(SECRET));
    assert_eq!(
        shown.stdout.replace(SECRET, "(masked)").replace("AKIAFAKE", "(masked)"),
        masked.stdout
    );
}
