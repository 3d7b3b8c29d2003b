//! `Lookup<T>`: the four possible results of asking for a fact.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{access::AccessCause, aws_calls::Call};

/// The result of asking for a fact. The four are never merged: only `Found` can pass a check, and
/// only `Absent` means that the thing does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lookup<T> {
    /// AWS answered.
    Found(T),
    /// AWS answered that it does not exist.
    Absent,
    /// AWS denied access.
    Denied(LookupError),
    /// No usable answer came: network, time limit, throttling, a server error, or an answer that
    /// lacks the fact.
    Unreachable(LookupError),
}

/// Why a fact could not be established.
// The name and the fields of the recorded form are those of version 1 of the reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[schemars(rename = "Obstacle")]
pub struct LookupError {
    /// The permission that allows the call, such as `kms:DescribeKey`.
    pub operation: String,
    /// AWS's error code, if an answer had one. Not recorded.
    #[serde(skip)]
    pub code: Option<String>,
    /// The kind of failure, for decisions. Not recorded: a report that is read back gives `Other`.
    #[serde(skip)]
    pub kind: LookupErrorKind,
    /// Why AWS cannot be called at all, if that is the reason. Not recorded.
    #[serde(skip)]
    pub cause: Option<AccessCause>,
    /// The message of AWS or the network.
    pub message: String,
}

/// How asking for a fact failed. Decisions depend on this or on AWS's error code, never on a
/// message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LookupErrorKind {
    /// The caller lacks the permission.
    Denied,
    /// AWS asked to slow down.
    Throttled,
    /// No answer came within the time limit.
    TimedOut,
    /// No connection: name resolution, network or TLS failed.
    Connection,
    /// AWS failed: the answer's status is 5xx.
    ServerError,
    /// The answer cannot be read, or lacks the fact.
    UnreadableAnswer,
    /// The request was not sent.
    NotAsked,
    /// Anything else, such as a request that AWS rejects as invalid.
    #[default]
    Other,
}

impl LookupError {
    /// An error without an AWS error code.
    pub(crate) fn new(
        operation: impl Into<String>,
        kind: LookupErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self { operation: operation.into(), code: None, kind, cause: None, message: message.into() }
    }
}

impl LookupError {
    /// Whether another question failed by the same cause: one that was recognised, or a denial of
    /// the same service.
    pub(crate) fn is_same_cause(&self, other: &Self) -> bool {
        let service = |error: &Self| error.operation.split(':').next().map(str::to_owned);
        match (&self.cause, &other.cause) {
            (Some(one), Some(other)) => one.is_same(other),
            (None, None) => {
                self.kind == LookupErrorKind::Denied
                    && other.kind == LookupErrorKind::Denied
                    && service(self) == service(other)
            }
            (Some(_), None) | (None, Some(_)) => false,
        }
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
    /// A fact that was not requested, because something else must be known or fixed first.
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

    /// The error, if by it AWS cannot be reached at all, or not with these credentials. A wrong
    /// region is an answer.
    pub(crate) fn never_reached(&self) -> Option<&LookupError> {
        match self {
            Self::Denied(error) | Self::Unreachable(error) => Some(error)
                .filter(|error| !matches!(error.cause, None | Some(AccessCause::WrongRegion(_)))),
            Self::Found(_) | Self::Absent => None,
        }
    }

    /// Applies `f` to the fact, if it was found.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(fact) => Lookup::Found(f(fact)),
            Self::Absent => Lookup::Absent,
            Self::Denied(obstacle) => Lookup::Denied(obstacle),
            Self::Unreachable(obstacle) => Lookup::Unreachable(obstacle),
        }
    }

    /// Continues with `f` if the fact was found. `f` returns `Unreachable` if the answer lacks the
    /// expected part.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Lookup<U>) -> Lookup<U> {
        match self.map(f) {
            Lookup::Found(inner) => inner,
            Lookup::Absent => Lookup::Absent,
            Lookup::Denied(obstacle) => Lookup::Denied(obstacle),
            Lookup::Unreachable(obstacle) => Lookup::Unreachable(obstacle),
        }
    }

    /// `Found` if `answer` holds the fact, else `Unreachable`: an answer without the requested fact
    /// shows nothing.
    pub fn expect_in_answer(call: &Call, answer: Option<T>) -> Self {
        answer.map_or_else(
            || Self::unusable(call, "what was asked for is missing in it"),
            Self::Found,
        )
    }

    /// An answer that cannot be used. `came` describes what it holds instead.
    pub fn unusable(call: &Call, came: &str) -> Self {
        Self::Unreachable(LookupError::new(
            call.permission,
            LookupErrorKind::UnreadableAnswer,
            format!("an answer to {} came, but {came}", call.operation),
        ))
    }
}
