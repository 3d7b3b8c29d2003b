//! The page of all settings, `docs/settings-reference.md`, made from the command line's definition.

use std::fmt::Write as _;

use clap::CommandFactory as _;

use crate::{
    base::{
        markdown::{cell, name},
        outcome::Outcome,
    },
    commands::{
        cli::Cli,
        manual::{self, Setting},
    },
    system::output::out,
};

const HEAD: &str = "# All settings

Generated from the code by `emr-etl-guard explain --settings`; a test fails when this file is stale.

Each is a key of `guard.yml`, and, unless it says otherwise, a flag (with `-` for `_`) and an \
environment
variable (`EMR_ETL_GUARD_` and the name in capitals). [Settings](settings.md) says which of them \
decides.
";

/// The heading of common settings, which have none in the help.
const COMMON: &str = "Common";

/// The heading of settings that only the file can set.
const FILE_ONLY: &str = "In the file only";

/// Prints the page.
pub(crate) fn print() -> Outcome {
    out(&page());
    Outcome::Ended(0)
}

fn page() -> String {
    let mut whole = Cli::command();
    whole.build();
    let settings = manual::settings(&whole);
    let mut groups: Vec<&str> = Vec::new();
    for setting in &settings {
        if !groups.contains(&group(setting)) {
            groups.push(group(setting));
        }
    }
    let mut text = HEAD.to_owned();
    for title in groups {
        let _ = write!(text, "\n## {title}\n\n| key | default | meaning |\n|---|---|---|\n");
        for setting in settings.iter().filter(|setting| group(setting) == title) {
            let default = setting.default.as_deref().map_or_else(|| "none".to_owned(), cell);
            let _ = writeln!(text, "| {} | {default} | {} |", name(&setting.key), meaning(setting));
        }
    }
    text
}

fn group(setting: &Setting) -> &str {
    match &setting.group {
        Some(group) => group,
        None if setting.variable.is_none() => FILE_ONLY,
        None => COMMON,
    }
}

/// Its description, and the meaning of each value if there are few.
fn meaning(setting: &Setting) -> String {
    let values = setting.values.iter().filter(|(_, meaning)| !meaning.is_empty());
    let values: Vec<String> = values
        .map(|(value, meaning)| format!("{}: {}", name(value), cell(meaning.trim_end_matches('.'))))
        .collect();
    let help = cell(setting.help.trim_end_matches('.'));
    if values.is_empty() { help } else { format!("{help}. {}", values.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_settings_in_the_repository_is_that_of_the_code() {
        let stale = "docs/settings-reference.md is stale: cargo run -- explain --settings > \
            docs/settings-reference.md";
        assert!(page() == include_str!("../../docs/settings-reference.md"), "{stale}");
    }

    #[test]
    fn every_setting_is_on_the_page_once() {
        let page = page();
        let mut whole = Cli::command();
        whole.build();
        let settings = manual::settings(&whole);
        assert!(settings.len() > 50, "{}", settings.len());
        for setting in settings {
            let row = format!("\n| `{}` | ", setting.key);
            assert_eq!(page.matches(&row).count(), 1, "{}", setting.key);
            assert!(!setting.help.is_empty(), "{}", setting.key);
        }
    }
}
