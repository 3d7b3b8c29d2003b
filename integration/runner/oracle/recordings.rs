//! Checks the oracles against the recordings of the real EmrEtlRunner: an oracle that disagrees
//! with them is no evidence about the guard.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ruby::Oracle;

/// One line of `config-loading.jsonl`.
#[derive(Deserialize)]
struct Recorded {
    name: String,
    config: String,
    /// On JRuby 9.3.9, as the runner ships.
    result: String,
    /// On MRI 3.1, where that differs.
    result_mri: Option<String>,
}

/// The recorded cases on which MRI 3.1 (Psych 4 on libyaml) differs from JRuby 9.3 (Psych 3 on
/// SnakeYAML), and how. A guard must refuse all of them.
const DIFFERENCES: &[(&str, &str)] = &[
    ("recursive alias", "both overflow the stack, each with an error of its own"),
    ("tab after colon", "SnakeYAML allows no tab between tokens"),
    ("BOM", "MRI takes the byte order mark for a part of the first key"),
];

/// Compares every recorded config and command line with the oracles of one Ruby; returns their
/// number.
///
/// # Errors
/// Names every case that differs.
pub(crate) fn check(configs: &mut Oracle, commands: &mut Oracle) -> anyhow::Result<(usize, usize)> {
    let recorded: Vec<Recorded> = include_str!("../../../tests/recordings/config-loading.jsonl")
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let env: BTreeMap<&str, &str> = [
        ("ENC", "true"),
        ("SC", "acme-sc"),
        ("AWS_SNOWPLOW_ACCESS_KEY", "AKIAFAKE"),
        ("AWS_SNOWPLOW_SECRET_KEY", "fake"),
    ]
    .into();
    let requests: Vec<Value> =
        recorded.iter().map(|case| json!({"config": case.config, "env": env})).collect();
    let mut wrong = Vec::new();
    let jruby = configs.ruby.contains("jruby");
    for (case, answer) in recorded.iter().zip(configs.ask(&requests)?) {
        let result = case.result_mri.as_ref().filter(|_| !jruby).unwrap_or(&case.result);
        if case.result_mri.is_some() != DIFFERENCES.iter().any(|(name, _)| *name == case.name) {
            wrong.push(format!(
                "{}: the list of differences between the Rubies is not what was recorded",
                case.name
            ));
        }
        if let Some(complaint) = differs(result, &answer) {
            wrong.push(format!("{}: {complaint}; recorded: {result}", case.name));
        }
    }

    let rows: Vec<Vec<&str>> = include_str!("../../../tests/recordings/argv.tsv")
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect())
        .collect();
    let requests: Vec<Value> =
        rows.iter().map(|row| json!({"argv": row[1].split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>()})).collect();
    for (row, answer) in rows.iter().zip(commands.ask(&requests)?) {
        let code: i64 = row[2].parse().with_context(|| format!("the exit code of {row:?}"))?;
        let refused = answer
            .get("exit")
            .and_then(Value::as_i64)
            .or_else(|| (!answer["ok"]["stops"].is_null() && is_run(&answer)).then_some(1));
        // Cases that the arguments alone do not decide may end with any code.
        if refused.is_some_and(|expected| expected != code) {
            wrong.push(format!("{}: recorded exit {code}, the oracle says {answer}", row[1]));
        }
    }
    if !wrong.is_empty() {
        bail!(
            "the oracles under {} differ from {} recordings:\n{}",
            configs.ruby,
            wrong.len(),
            wrong.join("\n")
        );
    }
    Ok((recorded.len(), rows.len()))
}

fn is_run(answer: &Value) -> bool {
    answer["ok"]["command"] == "run"
}

/// How `answer` differs from the recorded `result`.
fn differs(result: &str, answer: &Value) -> Option<String> {
    // The oracle does not cover the runner's contract, and what comes after loading.
    let loads = result.starts_with("ACCEPTED")
        || result.contains("ContractError")
        || result.starts_with("NoMethodError");
    let class = result.split([':', ' ']).next().unwrap_or_default();
    match (answer["error"].as_str(), loads) {
        (Some(error), true) => Some(format!("the oracle raises {error}")),
        (Some(error), false) => {
            (!error.starts_with(class)).then(|| format!("the oracle raises {error}"))
        }
        (None, false) => Some("the oracle raises nothing".to_owned()),
        (None, true) if !result.starts_with("ACCEPTED") => None,
        (None, true) => {
            let shown = format!(
                "ACCEPTED encrypted={} security_configuration={} ami={}",
                inspected(find(&answer["ok"], &["aws", "s3", "buckets", "encrypted"])),
                inspected(find(&answer["ok"], &["aws", "emr", "security_configuration"])),
                inspected(find(&answer["ok"], &["aws", "emr", "ami_version"])),
            );
            let same = result == shown
                || result.strip_prefix(&shown).is_some_and(|rest| rest.starts_with(" | "));
            (!same).then(|| format!("the oracle holds {shown}"))
        }
    }
}

fn find<'a>(dump: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(dump, |dump, key| {
        dump["map"]
            .as_array()?
            .iter()
            .find(|entry| entry[0] == json!({"symbol": key}))
            .map(|entry| &entry[1])
    })
}

/// A dump in the format of the recordings: Ruby's `inspect`, for the types that occur.
fn inspected(dump: Option<&Value>) -> String {
    match dump {
        None => "nil (no key)".to_owned(),
        Some(Value::Null) => "nil".to_owned(),
        Some(dump) => match dump["text"].as_str() {
            Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            None => dump.to_string(),
        },
    }
}
