//! Commands in the documentation, run as they are printed: each block of `console` with a command
//! of the guard is preceded by the world in which it is run, or by the reason why it is not:
//!
//! ```text
//! <!-- world: good -->
//! <!-- then -->
//! <!-- then: events have arrived -->
//! <!-- not run: it ends a cluster of yours -->
//! ```
//!
//! `then` goes on in the world of the block before it on the same page, as that has left it, or
//! after what has happened meanwhile.
//!
//! Where a block shows output, that is compared with what is printed: standard output, then
//! standard error. `[…]` matches anything, within a line or as a line for any lines. A command ends
//! with 0, or with the code in a comment behind it (`# exit 77`, `# a dry run, exit 75`).

use std::path::{Path, PathBuf};

use emr_simulator::{
    Command as Set, PutObject, PutRole, Seed, Sse, StartCluster, StartState, Timings,
};
use regex::Regex;
use serde_json::json;

use crate::{
    attach::like_the_runners,
    settings::guard_yml,
    support::{Stage, hermetic_command, programs},
};

/// A block of a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its first line, from 1.
    pub(crate) line: usize,
    pub(crate) marker: Marker,
    pub(crate) commands: Vec<Shown>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    World(String),
    /// What has happened since the block before it, if something has.
    Then(Option<String>),
    NotRun(String),
    None,
}

/// A command and the output that is shown for it; empty where none is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) command: String,
    pub(crate) output: Vec<String>,
}

impl Shown {
    pub(crate) fn is_the_guards(&self) -> bool {
        self.command.starts_with("emr-etl-guard ")
    }

    pub(crate) fn code(&self) -> i32 {
        let comment = self.command.split_once('#').map_or("", |(_, comment)| comment);
        comment.rsplit_once("exit ").map_or(0, |(_, code)| code.trim().parse().unwrap())
    }
}

pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut marker = Marker::None;
    let mut open: Option<Block> = None;
    for (index, line) in page.lines().enumerate() {
        let comment = |kind| line.strip_prefix(kind).and_then(|rest| rest.strip_suffix(" -->"));
        match &mut open {
            Some(block) => match line.strip_prefix("$ ") {
                Some(command) => {
                    block.commands.push(Shown { command: command.to_owned(), output: Vec::new() });
                }
                None if line == "```" => blocks.extend(open.take()),
                None => {
                    if let Some(shown) = block.commands.last_mut() {
                        shown.output.push(line.to_owned());
                    }
                }
            },
            None if line == "```console" => {
                let marker = std::mem::replace(&mut marker, Marker::None);
                open = Some(Block { line: index + 1, marker, commands: Vec::new() });
            }
            None => {
                if let Some(world) = comment("<!-- world: ") {
                    marker = Marker::World(world.to_owned());
                } else if line == "<!-- then -->" {
                    marker = Marker::Then(None);
                } else if let Some(meanwhile) = comment("<!-- then: ") {
                    marker = Marker::Then(Some(meanwhile.to_owned()));
                } else if let Some(why) = comment("<!-- not run: ") {
                    marker = Marker::NotRun(why.to_owned());
                } else if !line.is_empty() {
                    marker = Marker::None;
                }
            }
        }
    }
    blocks
}

/// The pages with commands, from the repository's root. Those of the runbook and of
/// `getting-started.md` are run by tests of their own, one after the other.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    let mut folders = vec![root.join("docs"), root.join("integration")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md")
                && !path.ends_with("runbook/README.md")
                && !path.ends_with("getting-started.md")
            {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// Settings of a sentinel that watches another account.
const SENTINEL: &str = "sentinel:
  accounts:
    - id: '210987654321'
      role: arn:aws:iam::210987654321:role/emr-etl-guard-sentinel
      external_id: acme-sentinel
      regions: [eu-west-1]
  interval: 1s
  rules:
    - {name: production, match: {subnet: subnet-0a1b2c3d}, on_unsafe: terminate}
";

/// The account that the sentinel watches: its role, and a cluster without a security configuration
/// in the subnet of the rule.
fn watched_account(stage: &Stage) {
    const ACCOUNT: &str = "210987654321";
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:role/etl/emr-etl-guard"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "acme-sentinel"}},
    }]});
    let anything = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "*", "Resource": "*",
    }]});
    stage.set(Set::PutRole(PutRole {
        name: "emr-etl-guard-sentinel".to_owned(),
        account: Some(ACCOUNT.to_owned()),
        trust: Some(trust),
        policies: vec![anything],
        ..PutRole::default()
    }));
    let mut request = like_the_runners();
    request.as_object_mut().unwrap().remove("SecurityConfiguration");
    request["Instances"]["Ec2SubnetId"] = "subnet-0a1b2c3d".into();
    let timings = Timings { terminating: 1.0, ..Timings::all(36_000.0) };
    stage.set(Set::SetTimings(timings));
    stage.set(Set::StartCluster(StartCluster {
        id: Some("j-2UNSAFE".to_owned()),
        account: Some(ACCOUNT.to_owned()),
        region: Some("eu-west-1".to_owned()),
        state: StartState::Running,
        request,
        ..StartCluster::default()
    }));
}

/// The stage on which a world's commands are run.
pub(crate) fn stage(world: &str) -> Stage {
    let stage = Stage::acme();
    stage.write("config.yml", &stage.config);
    stage.write("resolver.json", include_str!("../recordings/resolver.json"));
    match world {
        "good" => {}
        "old objects" => stage.set(Set::PutObject(PutObject {
            bucket: "acme-archive".to_owned(),
            key: "enriched/run=2019-01-01/part".to_owned(),
            body: Some("x".to_owned()),
            sse: Some(Sse::None),
            ..PutObject::default()
        })),
        "a report" => {
            stage.check().expect_code(0);
        }
        "empty account" => {
            stage.set(Set::Reset);
            stage.set(Set::Seed(Seed { scene: "empty".to_owned(), region: None }));
            let blank = stage
                .config
                .replace("security_configuration: acme-sc\n", "security_configuration:\n");
            stage.write("config.yml", &blank);
            return stage.timed();
        }
        "no security configuration" => {
            let blank = stage
                .config
                .replace("security_configuration: acme-sc\n", "security_configuration:\n");
            stage.write("config.yml", &blank);
        }
        "an empty account for a sentinel" => {
            stage.set(Set::Reset);
            stage.set(Set::Seed(Seed { scene: "empty".to_owned(), region: None }));
            return stage.timed().env("AWS_REGION", "eu-west-1");
        }
        "a sentinel" => {
            guard_yml(&stage, SENTINEL);
            watched_account(&stage);
            return stage.env("EMR_ETL_GUARD_SETTINGS", "guard.yml");
        }
        other => panic!("there is no world `{other}`"),
    }
    stage
}

/// Whether what is printed is what is shown.
pub(crate) fn is_as_shown(shown: &[String], printed: &str) -> bool {
    let lines: Vec<String> = shown
        .iter()
        .map(|line| match line.trim() {
            "[…]" => "(?:[^\n]*\n)*?".to_owned(),
            _ => {
                let parts: Vec<String> = line.trim_end().split("[…]").map(regex::escape).collect();
                format!("{}[ ]*\n", parts.join("[^\n]*?"))
            }
        })
        .collect();
    Regex::new(&format!("^{}$", lines.concat())).unwrap().is_match(printed)
}

#[test]
fn commands_of_the_documentation_do_what_is_said_of_them() {
    let mut wrong = Vec::new();
    let (mut run, mut compared) = (0, 0);
    let path = format!("{}:/usr/bin:/bin", programs().guard.parent().unwrap().display());
    for page in pages() {
        let mut last = None;
        for block in blocks(&std::fs::read_to_string(&page).unwrap()) {
            let place = format!("{}:{}", page.display(), block.line);
            if !block.commands.iter().any(Shown::is_the_guards) {
                continue;
            }
            let stage = match &block.marker {
                Marker::World(world) => last.insert(stage(world)),
                Marker::Then(None) => {
                    last.as_mut().unwrap_or_else(|| panic!("{place}: after what?"))
                }
                Marker::Then(Some(what)) => panic!("{place}: what is `{what}`?"),
                Marker::NotRun(why) => {
                    assert!(why.len() > 10, "{place}: {why}");
                    continue;
                }
                Marker::None => {
                    wrong.push(format!(
                        "{place}: say the world that it is run in, or why it is not"
                    ));
                    continue;
                }
            };
            for shown in block.commands.iter().filter(|shown| shown.is_the_guards()) {
                let mut shell = hermetic_command("sh");
                shell.args(["-c", &shown.command]);
                stage.prepare(&mut shell);
                shell.env("PATH", &path);
                let played = stage.play(shell);
                run += 1;
                let printed = format!("{}{}", played.stdout, played.stderr);
                let command = &shown.command;
                if played.code != Some(shown.code()) {
                    wrong.push(format!("{place}: $ {command}\nended {:?}\n{printed}", played.code));
                }
                if !shown.output.is_empty() {
                    compared += 1;
                    if !is_as_shown(&shown.output, &printed) {
                        wrong.push(format!("{place}: $ {command}\nprinted:\n{printed}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(run >= 10 && compared >= 2, "{run} were run, and the output of {compared} compared");
}

#[test]
fn blocks_are_read_with_their_markers_and_outputs() {
    let page = "<!-- world: good -->\n\n```console\n$ emr-etl-guard check    # exit 77\none […] line\n\
                […]\nlast\n$ ls\n```\n\n<!-- not run: it costs money -->\nText.\n\n```console\n$ ls\n```\n";
    let found = blocks(page);
    assert_eq!(found[0].marker, Marker::World("good".to_owned()));
    assert_eq!((found[0].line, found[0].commands[0].code()), (3, 77));
    assert!(found[0].commands[0].is_the_guards() && !found[0].commands[1].is_the_guards());
    assert_eq!(found[1].marker, Marker::None, "a marker belongs to the block right behind it");
    let shown = &found[0].commands[0].output;
    assert!(is_as_shown(shown, "one good line\nlast\n"));
    assert!(is_as_shown(shown, "one x line\ntwo\nthree\nlast\n"));
    assert!(!is_as_shown(shown, "one x line\ntwo\nlast one\n"));
    assert!(!is_as_shown(shown, "one x line\nlast\nmore\n"));
}
