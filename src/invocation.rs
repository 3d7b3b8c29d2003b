//! The invocation: the runner's own argv, read the way Ruby's `OptionParser` reads it (`order!`), so that guard and runner agree
//! on which config is meant and what the run will do.
//!
//! Evidence: the command lines and exit codes in `tests/recordings/argv.tsv`.

use std::{ffi::OsString, path::PathBuf};

/// Where the runner would read its config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// `--config -`.
    Stdin,
    /// A file, relative to the working directory as given.
    File(PathBuf),
}

/// A command line of the runner, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// `run`: the command that launches clusters.
    Run(RunInvocation),
    /// A command that launches none (`lint`, `generate`, `--version`, help), or one that the runner itself rejects at once.
    NoLaunch,
}

/// The `run` command's options, as far as they matter for what is launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInvocation {
    /// The last `--config`.
    pub config: ConfigSource,
    /// `--use-persistent-jobflow`.
    pub persistent: bool,
    /// The argv to hand over: the same words, but the config is `-`.
    pub sealed_argv: Vec<OsString>,
}

/// Why the arguments cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The runner would stop with a usage message; so does the guard.
    #[error("the runner's arguments: {0}")]
    Rejected(String),
}

/// An option of `run`: short letter, long name, whether it takes a value.
type OptionSpec = (Option<char>, &'static str, bool);

/// `snowplow-emr-etl-runner run --help` of 1.0.4, with the two that `OptionParser` adds.
const RUN_OPTIONS: &[OptionSpec] = &[
    (Some('c'), "config", true),
    (Some('n'), "enrichments", true),
    (Some('r'), "resolver", true),
    (Some('t'), "targets", true),
    (Some('d'), "debug", false),
    (Some('f'), "resume-from", true),
    (Some('x'), "skip", true),
    (Some('i'), "include", true),
    (Some('l'), "lock", true),
    (None, "ignore-lock-on-start", false),
    (None, "consul", true),
    (None, "use-persistent-jobflow", false),
    (None, "persistent-jobflow-duration", true),
    (Some('h'), "help", false),
];

/// One option as it was found.
struct Found {
    name: &'static str,
    value: Option<OsString>,
}

impl Invocation {
    /// Understands `argv`, the words after the runner's own name.
    ///
    /// # Errors
    /// [`InvocationError`] for what the runner rejects with a usage message after seconds of start-up.
    pub fn parse(argv: &[OsString]) -> Result<Self, InvocationError> {
        // Global options come first: `-v`, `--version`, `-h`, `--help` print and exit. All others are invalid there, and the runner says so itself.
        match argv.first().and_then(|word| word.to_str()) {
            Some("run") => {}
            _ => return Ok(Self::NoLaunch),
        }
        let mut words = Words { rest: argv[1..].to_vec().into(), sealed: vec![argv[0].clone()] };
        let mut config = None;
        let mut persistent = false;
        while let Some(found) = words.next_option()? {
            match found.name {
                "config" => config = found.value,
                "use-persistent-jobflow" => persistent = true,
                // Help wins over everything before it, because OptionParser prints and exits as soon as it meets it.
                "help" => return Ok(Self::NoLaunch),
                _ => {}
            }
        }
        let Some(config) = config else {
            return Err(InvocationError::Rejected("`run` needs a config: add `-c config.yml`, or `-c -` for standard input".to_owned()));
        };
        let config = if config == "-" { ConfigSource::Stdin } else { ConfigSource::File(config.into()) };
        Ok(Self::Run(RunInvocation { config, persistent, sealed_argv: words.sealed }))
    }
}

/// The words still to read, and the argv for the sealed run built along the way.
struct Words {
    rest: std::collections::VecDeque<OsString>,
    sealed: Vec<OsString>,
}

impl Words {
    /// The next option, or `None` at a stray word, `--`, or the end: the runner ignores what is behind them.
    fn next_option(&mut self) -> Result<Option<Found>, InvocationError> {
        let Some(word) = self.rest.pop_front() else { return Ok(None) };
        let Some(text) = word.to_str().map(str::to_owned) else {
            if word.as_encoded_bytes().starts_with(b"-") {
                return Err(InvocationError::Rejected(format!("`{}` is not valid UTF-8", word.display())));
            }
            self.stop(word);
            return Ok(None);
        };
        if text == "--" || !text.starts_with('-') || text == "-" {
            self.stop(word);
            return Ok(None);
        }
        if let Some(long) = text.strip_prefix("--") { self.long(&text, long).map(Some) } else { self.bundle(&text).map(Some) }
    }

    /// Hands the word that stops the parser, and all behind it, over as they are.
    fn stop(&mut self, word: OsString) {
        self.sealed.push(word);
        self.sealed.extend(self.rest.drain(..));
    }

    fn long(&mut self, word: &str, long: &str) -> Result<Found, InvocationError> {
        let (typed, glued) = match long.split_once('=') {
            Some((typed, value)) => (typed, Some(OsString::from(value))),
            None => (long, None),
        };
        let (_, name, takes_value) = by_long_name(typed)?;
        match (takes_value, glued) {
            (false, Some(_)) => Err(InvocationError::Rejected(format!("`--{name}` takes no value, found `{word}`"))),
            (false, None) => {
                self.sealed.push(word.into());
                Ok(Found { name, value: None })
            }
            (true, glued) => {
                let value = match glued {
                    Some(value) => value,
                    None => self.value_of(word)?,
                };
                self.hand_over(format!("--{typed}"), name, &value);
                Ok(Found { name, value: Some(value) })
            }
        }
    }

    /// Short options: `-c X`, `-cX`, `-dcX`. Reads one letter; what follows a letter without value goes back to be read next.
    fn bundle(&mut self, word: &str) -> Result<Found, InvocationError> {
        let mut letters = word.chars().skip(1);
        let letter = letters.next().unwrap_or_default();
        let rest: String = letters.collect();
        let Some((_, name, takes_value)) = RUN_OPTIONS.iter().find(|(short, _, _)| *short == Some(letter)) else {
            return Err(InvocationError::Rejected(format!(
                "`{word}` is not an option of `run` that can be told for sure; write long options with two hyphens"
            )));
        };
        if *takes_value {
            let value = if rest.is_empty() { self.value_of(word)? } else { OsString::from(rest) };
            self.hand_over(format!("-{letter}"), name, &value);
            return Ok(Found { name, value: Some(value) });
        }
        self.sealed.push(format!("-{letter}").into());
        if !rest.is_empty() {
            self.rest.push_front(format!("-{rest}").into());
        }
        Ok(Found { name, value: None })
    }

    fn value_of(&mut self, option: &str) -> Result<OsString, InvocationError> {
        self.rest.pop_front().ok_or_else(|| InvocationError::Rejected(format!("`{option}` needs a value")))
    }

    fn hand_over(&mut self, option: String, name: &str, value: &OsString) {
        self.sealed.push(option.into());
        self.sealed.push(if name == "config" { "-".into() } else { value.clone() });
    }
}

/// The option that `typed` names: in full, in any case, or by a prefix that fits only one.
fn by_long_name(typed: &str) -> Result<OptionSpec, InvocationError> {
    let lower = typed.to_ascii_lowercase();
    if let Some(exact) = RUN_OPTIONS.iter().find(|(_, name, _)| *name == lower) {
        return Ok(*exact);
    }
    let fitting: Vec<&OptionSpec> = RUN_OPTIONS.iter().filter(|(_, name, _)| !lower.is_empty() && name.starts_with(&lower)).collect();
    match fitting.as_slice() {
        [one] => Ok(**one),
        [] => Err(InvocationError::Rejected(format!("`--{typed}` is not an option of `run`"))),
        several => {
            let names: Vec<String> = several.iter().map(|(_, name, _)| format!("--{name}")).collect();
            Err(InvocationError::Rejected(format!("`--{typed}` could be {}; write it out", names.join(" or "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Invocation, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Invocation::parse(&words).map_err(|error| error.to_string())
    }

    fn run(line: &str) -> RunInvocation {
        match parse(line) {
            Ok(Invocation::Run(run)) => run,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn sealed(line: &str) -> String {
        run(line).sealed_argv.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_way_to_name_the_config_is_understood_and_handed_over_as_standard_input() {
        for (line, handed) in [
            ("run -c config.yml -r r", "run -c - -r r"),
            ("run -cconfig.yml -rr", "run -c - -r r"),
            ("run --config=config.yml --resolver=r", "run --config - --resolver r"),
            ("run --CONF config.yml -r r", "run --CONF - -r r"),
            ("run -dc config.yml", "run -d -c -"),
            ("run -dcconfig.yml", "run -d -c -"),
            ("run -c nope.yml -r r -c config.yml", "run -c - -r r -c -"),
        ] {
            let invocation = run(line);
            assert_eq!(invocation.config, ConfigSource::File("config.yml".into()), "{line}");
            assert_eq!(sealed(line), handed, "{line}");
        }
        assert_eq!(run("run -c - -r r").config, ConfigSource::Stdin);
        assert_eq!(run("run -c - -r r -c config.yml").config, ConfigSource::File("config.yml".into()));
    }

    #[test]
    fn what_stands_behind_a_stray_word_or_two_hyphens_is_not_read_but_handed_over() {
        assert!(!run("run -c c -r r -- --use-persistent-jobflow").persistent);
        assert!(!run("run -c c stray --use-persistent-jobflow").persistent);
        assert_eq!(sealed("run -c c -- -c d"), "run -c - -- -c d");
        assert!(parse("run stray -c c").is_err());
    }

    #[test]
    fn the_persistent_mode_is_seen_through_any_abbreviation() {
        for line in ["run -c c --use-persistent-jobflow", "run -c c --use", "run --u -c c"] {
            assert!(run(line).persistent, "{line}");
        }
        assert!(!run("run -c c --persistent-jobflow-duration 1d").persistent);
    }

    #[test]
    fn what_the_runner_rejects_is_rejected_before_it_starts() {
        for (line, message) in [
            ("run -r r", "the runner's arguments: `run` needs a config: add `-c config.yml`, or `-c -` for standard input"),
            ("run -r r -c", "the runner's arguments: `-c` needs a value"),
            ("run --con config.yml", "the runner's arguments: `--con` could be --config or --consul; write it out"),
            ("run -c c --nonsense", "the runner's arguments: `--nonsense` is not an option of `run`"),
            (
                "run -c c --use-persistent-jobflow=false",
                "the runner's arguments: `--use-persistent-jobflow` takes no value, found `--use-persistent-jobflow=false`",
            ),
        ] {
            assert_eq!(parse(line), Err(message.to_owned()), "{line}");
        }
    }

    #[test]
    fn commands_that_launch_nothing_are_told_apart() {
        for line in ["", "--version", "-v run -c c", "lint all", "generate all -c c", "run --help", "run -c c -h", "frobnicate"] {
            assert_eq!(parse(line), Ok(Invocation::NoLaunch), "{line}");
        }
    }
}
