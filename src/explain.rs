//! The command `explain`: the catalogue of checks, and why each exists.

use std::fmt::Write as _;

use crate::{
    checks::{CATALOGUE, Check, Stage, find},
    exit::Outcome,
};

/// Prints the catalogue, or the check called `name`.
pub(crate) fn explain(name: Option<&str>) -> Outcome {
    match name {
        None => print!("{}", catalogue()),
        Some(name) => match find(name) {
            Some(check) => print!("{}", entry(check)),
            None => {
                eprintln!("emr-etl-guard: there is no check `{name}`; `emr-etl-guard explain` lists them");
                return Outcome::BadUsage;
            }
        },
    }
    Outcome::Ended(0)
}

fn catalogue() -> String {
    let stages = [(Stage::PreFlight, "Before the launch"), (Stage::Watch, "On each cluster of the run"), (Stage::Confirm, "After the run")];
    let mut text = String::new();
    for (stage, title) in stages {
        text.push_str(title);
        text.push('\n');
        for check in CATALOGUE.iter().filter(|check| check.stage == stage) {
            let looks_at = check.looks_at.trim_end_matches('.');
            let _ = writeln!(text, "  {:<32} {looks_at}", check.name);
        }
        text.push('\n');
    }
    text.push_str("`emr-etl-guard explain CHECK` says why a check exists and how to mend what it finds.\n");
    text
}

fn entry(check: &Check) -> String {
    let mend = check.mend.replace("{subject}", "NAME");
    format!("{}\n\nWhy       {}\nLooks at  {}\nTo mend   {mend}\nSource    {}\n", check.name, check.why, check.looks_at, check.source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_reads_well() {
        insta::assert_snapshot!(catalogue());
    }

    #[test]
    fn an_entry_reads_well() {
        insta::assert_snapshot!(entry(find("step-encryption-flag").unwrap()));
    }
}
