//! Short forms of the command line: a runner config alone is replaced by the runner's complete
//! command line. Also suggests the complete command line if its `--` is missing.
//!
//! The rules, for `check`, `seal`, `audit` and `reencrypt`:
//!
//! - `CONFIG` or `-c CONFIG` means `-- run -c CONFIG`; `-r RESOLVER` adds `-r RESOLVER` to it.
//! - For `audit` and `reencrypt`, a word that contains `://`, and an ARN, is a location, even if a
//!   file has that name. A word that contains `.` or `/`, and `-`, is a runner config, even if
//!   there is no such file. Every other word is an error, because it could be a bucket. `-c` names
//!   a config of any name.
//! - `run`, `lint` and `generate` are never files: they are commands of the runner and belong
//!   behind `--`. `./run` names a file.
//! - A config is named once: by a word, by `-c`, or behind `--`.

use std::ffi::OsString;

use clap::{Arg, Args, Command};

use crate::{base::text::shell_word, runners::emr_etl_runner::invocation::CommandLine};

/// The runner's own commands.
const RUNNER_COMMANDS: [&str; 3] = ["run", "lint", "generate"];

/// The files that a short form names.
#[derive(Args, Clone, Debug, Default)]
pub struct ShortForm {
    /// The runner config; short for `-- run -c FILE`
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<OsString>,
    /// The Iglu resolver of that run; short for `-- run -c ... -r FILE`
    #[arg(short, long, value_name = "FILE")]
    pub resolver: Option<OsString>,
}

/// Whether a word is a command of the runner.
pub(crate) fn is_runner_command(word: &str) -> bool {
    RUNNER_COMMANDS.contains(&word)
}

/// Whether a word is a location rather than a file.
pub(crate) fn is_location(word: &str) -> bool {
    word.contains("://") || word.starts_with("arn:")
}

impl ShortForm {
    /// The runner's arguments for this and the config files in `words`. `behind` are the arguments
    /// after `--`.
    ///
    /// # Errors
    /// What is named twice, or is missing.
    pub(crate) fn runner_arguments(
        self,
        words: impl IntoIterator<Item = OsString>,
        behind: Vec<OsString>,
    ) -> Result<Vec<OsString>, String> {
        let words: Vec<OsString> = words.into_iter().collect();
        if let Some(word) = words.iter().find(|word| RUNNER_COMMANDS.iter().any(|it| word == it)) {
            let word = word.display();
            return Err(format!(
                "`{word}` is a command of the runner, which belongs behind `--`; a file of that \
                 name is ./{word}"
            ));
        }
        let configs: Vec<OsString> = words.into_iter().chain(self.config).collect();
        match (configs.as_slice(), self.resolver) {
            ([], None) => Ok(behind),
            ([], Some(_)) => {
                Err("`-r` needs the runner config too; fix: add `-c config.yml`".to_owned())
            }
            ([first, second, ..], _) => Err(format!(
                "one runner config was expected; found {} and {}",
                first.display(),
                second.display()
            )),
            ([config], _) if !behind.is_empty() => Err(format!(
                "the runner config is named twice: {}, and behind `--`; fix: remove one of them",
                config.display()
            )),
            ([config], resolver) => {
                let resolver = resolver.map(|resolver| ["-r".into(), resolver]);
                let run = ["run".into(), "-c".into(), config.clone()];
                Ok(run.into_iter().chain(resolver.into_iter().flatten()).collect())
            }
        }
    }
}

/// The complete command line if the runner's arguments come without `--`, quoted for a shell.
///
/// `words` are those of the process, beginning with its name; `program` is the definition of its
/// command line. None if `words` contain `--`, or are not a command line of the runner.
pub(crate) fn with_separator(words: &[String], program: &Command) -> Option<String> {
    let (name, rest) = words.get(1..)?.split_first()?;
    let command = program.find_subcommand(name)?;
    if !command.get_arguments().any(Arg::is_last_set) || rest.iter().any(|word| word == "--") {
        return None;
    }
    let (own, runners) = separated(rest, command)?;
    let first = runners.first()?;
    let runners: Vec<String> = if is_runner_command(first) {
        runners
    } else if first.starts_with('-') {
        std::iter::once("run".to_owned()).chain(runners).collect()
    } else if runners.get(1).map_or(name == "run", |second| second.starts_with('-')) {
        ["run", "-c"].map(str::to_owned).into_iter().chain(runners).collect()
    } else {
        return None;
    };
    let as_runner: Vec<OsString> = runners.iter().map(OsString::from).collect();
    let missing: &[&str] = match CommandLine::read(&as_runner) {
        Ok(CommandLine::Run(run)) if run.resolver.is_none() && name == "run" => {
            &["-r", "resolver.json"]
        }
        Ok(CommandLine::Run(_) | CommandLine::Other(_)) => &[],
        _ => return None,
    };
    let before = ["emr-etl-guard", name].into_iter().chain(own.iter().map(String::as_str));
    let behind = runners.iter().map(String::as_str).chain(missing.iter().copied());
    let line: Vec<&str> = before.chain(["--"]).chain(behind).collect();
    program.clone().try_get_matches_from(&line).ok()?;
    Some(line.into_iter().map(shell_word).collect::<Vec<_>>().join(" "))
}

/// The guard's own words, and the others. None if one of its own words holds a secret, which must
/// not be repeated.
fn separated(words: &[String], command: &Command) -> Option<(Vec<String>, Vec<String>)> {
    let (mut own, mut runners) = (Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").and_then(|flag| flag.split('=').next());
        let flag = name.and_then(|name| {
            let is_own = |arg: &&Arg| {
                arg.get_long() == Some(name) && !["config", "resolver"].contains(&name)
            };
            command.get_arguments().find(is_own)
        });
        match flag {
            Some(flag) if flag.is_hide_env_values_set() => return None,
            Some(flag) => {
                own.push(word.clone());
                let takes_next = flag.get_action().takes_values() && !flag.is_require_equals_set();
                if takes_next && !word.contains('=') {
                    own.extend(words.next().cloned());
                }
            }
            // For the runner, `-v` would be the whole command line: it prints its version.
            None if word == "-v" && runners.is_empty() => own.push(word.clone()),
            None if is_own_word(word, command) => own.push(word.clone()),
            None => runners.push(word.clone()),
        }
    }
    Some((own, runners))
}

/// Whether a word that is not an option belongs to the guard: a location, or a cluster.
fn is_own_word(word: &str, command: &Command) -> bool {
    match command.get_name() {
        "audit" | "reencrypt" => is_location(word),
        "watch" => word.starts_with("j-"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(config: Option<&str>, resolver: Option<&str>) -> ShortForm {
        ShortForm { config: config.map(Into::into), resolver: resolver.map(Into::into) }
    }

    #[test]
    fn a_config_by_itself_stands_for_the_runners_command_line() {
        let expanded = |form: ShortForm, words: &[&str], behind: &[&str]| {
            let behind = behind.iter().map(OsString::from).collect();
            let arguments = form.runner_arguments(words.iter().map(OsString::from), behind)?;
            let words: Vec<String> =
                arguments.iter().map(|word| word.display().to_string()).collect();
            Ok::<_, String>(words.join(" "))
        };
        for (form, words, behind, wanted) in [
            (short(None, None), &["c.yml"][..], &[][..], "run -c c.yml"),
            (short(None, Some("r.json")), &["c.yml"], &[], "run -c c.yml -r r.json"),
            (short(Some("c.yml"), Some("r.json")), &[], &[], "run -c c.yml -r r.json"),
            (short(Some("run"), None), &[], &[], "run -c run"),
            (short(None, None), &["-"], &[], "run -c -"),
            (short(None, None), &[], &["run", "-c", "c.yml"], "run -c c.yml"),
            (short(None, None), &[], &[], ""),
        ] {
            assert_eq!(expanded(form, words, behind).unwrap(), wanted);
        }
        let wrong = [
            expanded(short(None, None), &["a.yml", "b.yml"], &[]),
            expanded(short(Some("b.yml"), None), &["a.yml"], &[]),
            expanded(short(None, None), &["a.yml"], &["run", "-c", "a.yml"]),
            expanded(short(None, Some("r.json")), &[], &[]),
            expanded(short(None, Some("r.json")), &[], &["run", "-c", "a.yml"]),
            expanded(short(Some("c.yml"), None), &["run"], &[]),
        ]
        .map(Result::unwrap_err);
        insta::assert_snapshot!(wrong.join("\n"), @r"
        one runner config was expected; found a.yml and b.yml
        one runner config was expected; found a.yml and b.yml
        the runner config is named twice: a.yml, and behind `--`; fix: remove one of them
        `-r` needs the runner config too; fix: add `-c config.yml`
        `-r` needs the runner config too; fix: add `-c config.yml`
        `run` is a command of the runner, which belongs behind `--`; a file of that name is ./run
        ");
    }
}
