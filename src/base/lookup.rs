//! `Lookup<T>`: the four things that asking for a fact can end in.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::aws_calls::Call;

/// What asking for a fact came to. These four never merge: only `Found` can prove anything, only
/// `Absent` means "not there".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lookup<T> {
    /// AWS answered.
    Found(T),
    /// AWS answered that there is no such thing.
    Absent,
    /// AWS refused to say.
    Denied(Obstacle),
    /// No usable answer came: network, time limit, throttling, a server error, or an answer without
    /// the fact in it.
    Unreachable(Obstacle),
}

/// What stood in the way of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
pub struct Obstacle {
    /// The permission that allows the call, such as `kms:DescribeKey`.
    pub operation: String,
    /// What AWS or the network said.
    pub message: String,
}

impl Obstacle {
    /// Whether AWS has asked to slow down.
    pub(crate) fn is_throttling(&self) -> bool {
        THROTTLING.iter().any(|code| self.message.starts_with(code))
    }
}

/// Error codes by which AWS services ask to slow down.
pub(crate) const THROTTLING: [&str; 5] = [
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
];

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.message)
    }
}

impl<T> Lookup<T> {
    /// A fact that was not asked for, because something else must be known or mended first.
    pub fn not_asked(call: &Call, why: &str) -> Self {
        Self::Unreachable(Obstacle {
            operation: call.permission.to_owned(),
            message: why.to_owned(),
        })
    }

    /// The fact, if it was found.
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found(fact) => Some(fact),
            Self::Absent | Self::Denied(_) | Self::Unreachable(_) => None,
        }
    }

    /// The fact itself, if it was found.
    pub fn into_found(self) -> Option<T> {
        match self {
            Self::Found(fact) => Some(fact),
            Self::Absent | Self::Denied(_) | Self::Unreachable(_) => None,
        }
    }

    /// Applies `f` to a fact that was found.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(fact) => Lookup::Found(f(fact)),
            Self::Absent => Lookup::Absent,
            Self::Denied(obstacle) => Lookup::Denied(obstacle),
            Self::Unreachable(obstacle) => Lookup::Unreachable(obstacle),
        }
    }

    /// Continues with `f` where an answer came; an answer without the expected part is
    /// `Unreachable`.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Lookup<U>) -> Lookup<U> {
        match self.map(f) {
            Lookup::Found(inner) => inner,
            Lookup::Absent => Lookup::Absent,
            Lookup::Denied(obstacle) => Lookup::Denied(obstacle),
            Lookup::Unreachable(obstacle) => Lookup::Unreachable(obstacle),
        }
    }

    /// `Found` when `answer` holds the fact, else `Unreachable`: an answer that lacks what was
    /// asked for proves nothing.
    pub fn expect_in_answer(call: &Call, answer: Option<T>) -> Self {
        answer.map_or_else(
            || Self::not_asked(call, "the answer does not hold what was asked for"),
            Self::Found,
        )
    }
}
