//! Exit codes: the one place where an outcome becomes a number.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the guard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The runner (or a command of the guard's own) ended with this code, and nothing overrides it.
    Ended(u8),
    /// The runner was ended by this signal.
    Signalled(u8),
    /// The guard's own command line or settings are wrong.
    BadUsage,
    /// The runner's config or arguments cannot be understood or are not acceptable.
    BadConfig,
    /// Facts could not be established: refused.
    FactsUnknown,
    /// A bug in the guard.
    Bug,
    /// An unsafe cluster may still be running.
    UnsafeClusterAlive,
    /// The run ended by itself, but its document could not be delivered everywhere, or not be
    /// signed.
    Undelivered,
    /// The run ended, but encryption could not be confirmed.
    Unconfirmed,
    /// An unsafe cluster was found, and its end was confirmed.
    UnsafeClusterTerminated,
    /// A required check is Refuted: refused.
    Refused,
    /// The runner is there but cannot be executed.
    RunnerNotExecutable,
    /// The runner was not found.
    RunnerNotFound,
}

impl Outcome {
    /// The exit code that the design gives this outcome, before any remapping.
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

    /// The outcome of a run whose document is not where it must be: that hides no word of the
    /// guard's own, and the runner's code says nothing of it.
    #[must_use]
    pub fn undelivered(self) -> Self {
        match self {
            Self::Ended(_) => Self::Undelivered,
            other => other,
        }
    }

    /// Whether the guard itself chose this outcome, so that settings may give it another code.
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

/// Other codes for the guard's own outcomes, from the setting `exit_codes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExitCodes(BTreeMap<u8, u8>);

impl std::str::FromStr for ExitCodes {
    type Err = String;

    /// Parses `77=1,69=1`.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .filter(|part| !part.trim().is_empty())
            .map(|part| {
                let (from, to) = part
                    .split_once('=')
                    .ok_or_else(|| format!("`{part}` is not of the form 77=1"))?;
                let number = |text: &str| {
                    text.trim()
                        .parse::<u8>()
                        .map_err(|_| format!("`{text}` is not an exit code (0 to 255)"))
                };
                Ok((number(from)?, number(to)?))
            })
            .collect::<Result<_, String>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_that_is_not_delivered_beats_the_runners_code_and_nothing_else() {
        for code in [0, 1, 3] {
            assert_eq!(Outcome::Ended(code).undelivered().code(), 74);
        }
        for outcome in [
            Outcome::UnsafeClusterAlive,
            Outcome::UnsafeClusterTerminated,
            Outcome::Unconfirmed,
            Outcome::Refused,
            Outcome::Signalled(15),
        ] {
            assert_eq!(outcome.undelivered(), outcome);
        }
    }

    #[test]
    fn only_the_guards_own_codes_can_be_remapped() {
        let remap: ExitCodes = "77=1, 3=0".parse().unwrap();
        assert_eq!(Outcome::Refused.exit_code(&remap), 1);
        assert_eq!(Outcome::Ended(3).exit_code(&remap), 3);
        assert_eq!(Outcome::FactsUnknown.exit_code(&remap), 69);
        assert!("77:1".parse::<ExitCodes>().is_err());
    }
}
