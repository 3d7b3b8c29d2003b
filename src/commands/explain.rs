//! The command `explain`: the catalogue of checks, and the reason for each.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::{
    base::{markdown::cell, outcome::Outcome},
    checks::{
        catalogue::{CATALOGUE, find, no_such_check},
        finding::{Check, Level, Stage},
        fix,
    },
    system::output::{complain, out},
};

/// Prints the catalogue, or the check called `name`.
pub(crate) fn explain(name: Option<&str>) -> Outcome {
    match name {
        None => out(&catalogue()),
        Some(name) => match find(name) {
            Some(check) => out(&entry(check)),
            None => {
                complain(&no_such_check(name).into());
                return Outcome::BadUsage;
            }
        },
    }
    Outcome::Ended(0)
}

/// Prints the catalogue as Markdown: the file `src/checks/README.md`.
pub(crate) fn markdown() -> Outcome {
    out(&in_markdown());
    Outcome::Ended(0)
}

const STAGES: [(Stage, &str); 3] = [
    (Stage::PreFlight, "Before the launch"),
    (Stage::Watch, "On each cluster of the run"),
    (Stage::Confirm, "After the run"),
];

fn in_markdown() -> String {
    let mut text = "# The checks\n\nGenerated from the code by `emr-etl-guard explain \
        --markdown`; a test fails when this file is stale. A check that is *required* \
        refuses the launch (or ends the cluster) unless it is proved; one that is *advisory* is \
        reported. The settings `advise`, `enforce` and `exceptions` \
        change that.\n"
        .to_owned();
    for (stage, title) in STAGES {
        let _ = write!(text, "\n## {title}\n");
        for check in CATALOGUE.iter().filter(|check| check.stage == stage) {
            let level = match check.level {
                Level::Required => "required",
                Level::Advisory => "advisory",
            };
            let _ = write!(text, "\n### `{}` ({level})\n\n{}\n\n", check.name, cell(check.why));
            let _ = writeln!(text, "- Looks at: {}", cell(check.looks_at));
            let _ = writeln!(text, "- Fix: {}", cell(&fix(check)));
            let _ = writeln!(text, "- Source: {}", cell(check.source));
            if !check.asks.is_empty() {
                let permissions: BTreeSet<String> =
                    check.asks.iter().map(|call| format!("`{}`", call.permission)).collect();
                let _ = writeln!(
                    text,
                    "- Needs: {}",
                    permissions.into_iter().collect::<Vec<_>>().join(", ")
                );
            }
        }
    }
    text
}

fn fix(check: &Check) -> String {
    fix::example(check.fix)
}

fn catalogue() -> String {
    let mut text = String::new();
    for (stage, title) in STAGES {
        text.push_str(title);
        text.push('\n');
        for check in CATALOGUE.iter().filter(|check| check.stage == stage) {
            let looks_at = check.looks_at.trim_end_matches('.');
            let _ = writeln!(text, "  {:<32} {looks_at}", check.name);
        }
        text.push('\n');
    }
    text.push_str(
        "`emr-etl-guard explain CHECK` says why a check exists and how to fix what it finds.\n",
    );
    text
}

fn entry(check: &Check) -> String {
    let fix = fix(check);
    format!(
        "{}\n\nWhy       {}\nLooks at  {}\nFix       {fix}\nSource    {}\n",
        check.name, check.why, check.looks_at, check.source
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_in_the_repository_is_that_of_the_code() {
        let stale =
            "src/checks/README.md is stale: cargo run -- explain --markdown > src/checks/README.md";
        assert!(in_markdown() == include_str!("../checks/README.md"), "{stale}");
    }

    #[test]
    fn the_catalogue_reads_well() {
        insta::assert_snapshot!(catalogue());
    }

    #[test]
    fn an_entry_reads_well() {
        insta::assert_snapshot!(entry(find("step-encryption-flag").unwrap()));
    }
}
