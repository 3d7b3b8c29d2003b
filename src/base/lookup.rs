//! `Lookup<T>`: the four things that asking for a fact can end in.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{access::AccessCause, aws_calls::Call};

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
    Denied(LookupError),
    /// No usable answer came: network, time limit, throttling, a server error, or an answer without
    /// the fact in it.
    Unreachable(LookupError),
}

/// What stood in the way of a fact.
// The name and the fields of the recorded form are those of version 1 of the reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[schemars(rename = "Obstacle")]
pub struct LookupError {
    /// The permission that allows the call, such as `kms:DescribeKey`.
    pub operation: String,
    /// AWS's error code, where an answer had one. Not recorded.
    #[serde(skip)]
    pub code: Option<String>,
    /// What went wrong, for decisions. Not recorded: what is read back is `Other`.
    #[serde(skip)]
    pub kind: LookupErrorKind,
    /// Why AWS cannot be asked at all, where that is it. Not recorded.
    #[serde(skip)]
    pub cause: Option<AccessCause>,
    /// What AWS or the network said.
    pub message: String,
}

/// The ways in which asking for a fact fails. Decisions go by this or by AWS's error code, never by
/// a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LookupErrorKind {
    /// The caller may not ask.
    Denied,
    /// AWS has asked to slow down.
    Throttled,
    /// No answer came within the time limit.
    TimedOut,
    /// No connection: name, network, TLS.
    Connection,
    /// AWS failed, by the status of its answer (5xx).
    ServerError,
    /// An answer came that cannot be read, or without the fact in it.
    UnreadableAnswer,
    /// The question was not sent.
    NotAsked,
    /// Anything else, such as a request that AWS refuses for what it says.
    #[default]
    Other,
}

impl LookupError {
    /// An error without a code of AWS's.
    pub(crate) fn new(
        operation: impl Into<String>,
        kind: LookupErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self { operation: operation.into(), code: None, kind, cause: None, message: message.into() }
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

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.message)
    }
}

impl<T> Lookup<T> {
    /// A fact that was not asked for, because something else must be known or fixed first.
    pub fn not_asked(call: &Call, why: &str) -> Self {
        Self::Unreachable(LookupError::new(call.permission, LookupErrorKind::NotAsked, why))
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
            || Self::unusable(call, "what was asked for is missing in it"),
            Self::Found,
        )
    }

    /// An answer that came, and cannot be used: `came` says what it holds instead.
    pub fn unusable(call: &Call, came: &str) -> Self {
        Self::Unreachable(LookupError::new(
            call.permission,
            LookupErrorKind::UnreadableAnswer,
            format!("an answer to {} came, but {came}", call.operation),
        ))
    }
}
