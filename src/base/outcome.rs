//! Exit codes: the only place where an outcome becomes a number.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the guard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The runner (or one of the guard's own commands) ended with this code, and nothing overrides
    /// it.
    Ended(u8),
    /// The runner was ended by this signal.
    Signalled(u8),
    /// The guard's own command line or settings are wrong.
    BadUsage,
    /// The runner's config or arguments cannot be parsed, or are not acceptable.
    BadConfig,
    /// Facts could not be established, so the launch was refused.
    FactsUnknown,
    /// A bug in the guard.
    Bug,
    /// An unsafe cluster may still be running.
    UnsafeClusterAlive,
    /// The run ended by itself, but its report could not be signed or could not be delivered
    /// everywhere.
    Undelivered,
    /// The run ended, but encryption could not be confirmed.
    Unconfirmed,
    /// An unsafe cluster was found, and its termination was confirmed.
    UnsafeClusterTerminated,
    /// A required check failed, so the launch was refused.
    Refused,
    /// The runner exists but cannot be executed.
    RunnerNotExecutable,
    /// The runner was not found.
    RunnerNotFound,
}

impl Outcome {
    /// The exit code of this outcome in the design, before any remapping.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ended(code) => code,
            Self::Signalled(signal) => 128_u8.saturating_add(signal),
            Self::BadUsage => 64,
            Self::BadConfig => 65,
            Self::FactsUnknown => 69,
            Self::Bug => 70,
            Self::UnsafeClusterAlive => 71,
            Self::Undelivered => 74,
            Self::Unconfirmed => 75,
            Self::UnsafeClusterTerminated => 76,
            Self::Refused => 77,
            Self::RunnerNotExecutable => 126,
            Self::RunnerNotFound => 127,
        }
    }

    /// The outcome of a run whose report was not delivered. It replaces a code of the runner, but
    /// no other outcome of the guard. If `remap` makes code 74 a success, it does not replace a
    /// failure of the runner either.
    #[must_use]
    pub fn undelivered(self, remap: &ExitCodes) -> Self {
        match self {
            Self::Ended(code) if code != 0 && Self::Undelivered.exit_code(remap) == 0 => self,
            Self::Ended(_) => Self::Undelivered,
            other => other,
        }
    }

    /// Whether the guard itself chose this outcome, so that settings may remap its code.
    fn is_guard_outcome(self) -> bool {
        !matches!(self, Self::Ended(_) | Self::Signalled(_))
    }

    /// The exit code after `remap`.
    #[must_use]
    pub fn exit_code(self, remap: &ExitCodes) -> u8 {
        match remap.0.get(&self.code()) {
            Some(&other) if self.is_guard_outcome() => other,
            _ => self.code(),
        }
    }
}

/// The exit codes of EmrEtlRunner itself: done, error, no data, earlier run unfinished, lock held,
/// cluster busy. Source: snowplow/emr-etl-runner, `bin/snowplow-emr-etl-runner`.
const RUNNER_CODES: [u8; 6] = [0, 1, 3, 4, 17, 18];

/// The guard's own codes, which can be remapped.
const GUARD_CODES: [u8; 11] = [64, 65, 69, 70, 71, 74, 75, 76, 77, 126, 127];

/// Codes from this one on give the signal that ended a process. 126 and 127 below it belong to the
/// shell. Source: POSIX, Shell Command Language, 2.8.2.
const SIGNALS: u8 = 128;

/// Other codes for the guard's own outcomes, from the setting `exit_codes`. None may be 0
/// ([`Outcome::Undelivered`] excepted), and none may be a code with another meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitCodes(BTreeMap<u8, u8>);

impl<'de> Deserialize<'de> for ExitCodes {
    /// Checks every pair, so that a duplicate key is an error and not silently lost. The error is
    /// raised during parsing, so that it has a line and column.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> serde::de::Visitor<'de> for Pairs {
            type Value = ExitCodes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of exit codes, such as {77: 90}")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<ExitCodes, A::Error> {
                let mut codes = ExitCodes::default();
                while let Some((from, to)) = map.next_entry::<i64, i64>()? {
                    let pair = exit_code(from).and_then(|from| Ok((from, exit_code(to)?)));
                    pair.and_then(|(from, to)| codes.add(from, to))
                        .map_err(serde::de::Error::custom)?;
                }
                Ok(codes)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl Serialize for ExitCodes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

fn exit_code(number: i64) -> Result<u8, String> {
    number.try_into().map_err(|_| format!("`{number}` is not an exit code (0 to 255)"))
}

impl ExitCodes {
    fn add(&mut self, from: u8, to: u8) -> Result<(), String> {
        if let Some(why) = why_not(from, to) {
            return Err(format!("exit code {from} cannot become {to}: {why}"));
        }
        match self.0.insert(from, to) {
            Some(_) => Err(format!("exit code {from} is given two others; leave one")),
            None => Ok(()),
        }
    }
}

/// Why the setting cannot remap the guard's code `from` to `to`.
fn why_not(from: u8, to: u8) -> Option<String> {
    const FREE: &str = "use one that nothing else has, such as 90";
    if !GUARD_CODES.contains(&from) {
        let codes = GUARD_CODES.map(|code| code.to_string()).join(", ");
        return Some(format!("{from} is not one of the guard's own ({codes})"));
    }
    match to {
        _ if to == from => None,
        0 if from == Outcome::Undelivered.code() => None,
        0 => Some(format!("0 means that all is well; {FREE}")),
        _ if RUNNER_CODES.contains(&to) => Some(format!("{to} is one of the runner's; {FREE}")),
        _ if GUARD_CODES.contains(&to) => {
            Some(format!("the guard's {to} means something else; {FREE}"))
        }
        _ if to >= SIGNALS => Some(format!("{to} says that a signal ended the run; {FREE}")),
        _ => None,
    }
}

impl std::str::FromStr for ExitCodes {
    type Err = String;

    /// Parses `77=90,69=91`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut codes = Self::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (from, to) =
                part.split_once('=').ok_or_else(|| format!("`{part}` is not of the form 77=90"))?;
            let number = |text: &str| {
                let text = text.trim();
                text.parse().map_err(|_| format!("`{text}` is not an exit code (0 to 255)"))
            };
            codes.add(number(from)?, number(to)?)?;
        }
        Ok(codes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every outcome whose code can be remapped.
    const GUARD_OUTCOMES: [Outcome; 11] = [
        Outcome::BadUsage,
        Outcome::BadConfig,
        Outcome::FactsUnknown,
        Outcome::Bug,
        Outcome::UnsafeClusterAlive,
        Outcome::Undelivered,
        Outcome::Unconfirmed,
        Outcome::UnsafeClusterTerminated,
        Outcome::Refused,
        Outcome::RunnerNotExecutable,
        Outcome::RunnerNotFound,
    ];

    #[test]
    fn evidence_that_is_not_delivered_beats_the_runners_code_and_nothing_else() {
        let none = ExitCodes::default();
        for code in [0, 1, 3] {
            assert_eq!(Outcome::Ended(code).undelivered(&none).code(), 74);
        }
        for outcome in [
            Outcome::UnsafeClusterAlive,
            Outcome::UnsafeClusterTerminated,
            Outcome::Unconfirmed,
            Outcome::Refused,
            Outcome::Signalled(15),
        ] {
            assert_eq!(outcome.undelivered(&none), outcome);
        }
        let success: ExitCodes = "74=0".parse().unwrap();
        for code in 0..=255 {
            assert_eq!(Outcome::Ended(code).undelivered(&success).exit_code(&success), code);
        }
    }

    #[test]
    fn no_outcome_of_the_guards_ends_in_success_or_in_a_code_that_means_something_else() {
        let mut codes = GUARD_OUTCOMES.map(Outcome::code);
        codes.sort_unstable();
        assert_eq!(codes, GUARD_CODES);
        for outcome in GUARD_OUTCOMES {
            for to in 0..=255 {
                let Ok(remap) = format!("{}={to}", outcome.code()).parse::<ExitCodes>() else {
                    continue;
                };
                let code = outcome.exit_code(&remap);
                assert_eq!(code, to);
                let is_free = !RUNNER_CODES.contains(&to) && !codes.contains(&to) && to < SIGNALS;
                let undelivered = outcome == Outcome::Undelivered && to == 0;
                assert!(is_free || to == outcome.code() || undelivered, "{outcome:?} as {to}");
            }
        }
        for codes in ["77=90", "74=0", "71=2,76=125", "77=77", ""] {
            assert!(codes.parse::<ExitCodes>().is_ok(), "{codes}");
        }
    }

    #[test]
    fn the_file_takes_what_a_flag_takes() {
        let yaml = |text: &str| serde_yaml::from_str::<ExitCodes>(text).map_err(|e| e.to_string());
        assert_eq!(yaml("{77: 90, 69: 91}"), "77=90,69=91".parse());
        for text in ["{77: 0}", "{77: 1}", "{3: 90}", "{77: 90, 77: 91}", "{77: 300}", "{77: -1}"] {
            assert!(yaml(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_guards_own_codes_can_be_remapped() {
        let remap: ExitCodes = "77=90".parse().unwrap();
        assert_eq!(Outcome::Refused.exit_code(&remap), 90);
        assert_eq!(Outcome::Ended(77).exit_code(&remap), 77);
        assert_eq!(Outcome::FactsUnknown.exit_code(&remap), 69);
        assert!("77:1".parse::<ExitCodes>().is_err());
    }
}
