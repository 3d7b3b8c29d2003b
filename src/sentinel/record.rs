//! What is known of a cluster of the account, for reports and for a later sentinel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::base::names::ClusterId;

/// A cluster that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SentinelCluster {
    /// Its id.
    pub(crate) id: ClusterId,
    /// The account it is in.
    pub(crate) account: String,
    /// The region it is in.
    pub(crate) region: String,
    /// Its name, which its launcher has chosen.
    pub(crate) name: String,
    /// When it was created, by EMR's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) created: OffsetDateTime,
    /// When it was seen for the first time, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) first_seen: OffsetDateTime,
    /// When it was seen for the last time.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) last_seen: OffsetDateTime,
    /// The last state that EMR reported.
    pub(crate) state: String,
    /// Its release label, if EMR has shown it.
    pub(crate) release: Option<String>,
    /// The security configuration's name; none if it has none, or was not described.
    pub(crate) security_configuration: Option<String>,
    /// Who launched it, from CloudTrail alone; none: not seen. It decides nothing.
    pub(crate) launcher: Option<Launcher>,
    /// The run of a guard whose tag it has. The tag is the launcher's own word, and decides
    /// nothing.
    pub(crate) run: Option<String>,
    /// The rule that applied to it; none: no rule matched, and the policy applied.
    pub(crate) rule: Option<String>,
    /// The verdict on it.
    pub(crate) verdict: SentinelVerdict,
    /// When it was judged for the first time.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<crate::base::time_format::Rfc3339>")]
    pub(crate) judged: Option<OffsetDateTime>,
    /// The required checks that failed or are not decided.
    pub(crate) open: Vec<OpenFinding>,
    /// What the sentinel did about it, in order.
    pub(crate) acts: Vec<SentinelAct>,
}

impl SentinelCluster {
    /// Whether the last state that EMR reported is a final one.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "TERMINATED" | "TERMINATED_WITH_ERRORS")
    }

    /// Whether the sentinel did this about it.
    pub(crate) fn has(&self, what: SentinelActKind) -> bool {
        self.acts.iter().any(|act| act.what == what)
    }

    /// When the sentinel did this about it for the first time.
    pub(crate) fn first(&self, what: SentinelActKind) -> Option<OffsetDateTime> {
        self.acts.iter().find(|act| act.what == what).map(|act| act.at)
    }
}

/// The verdict on a cluster.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SentinelVerdict {
    /// A required check failed, by a fact that was read.
    Unsafe,
    /// Some required check could not be decided.
    Unjudged,
    /// Every required check has passed, as far as its subject existed; some by an exception.
    Excepted,
    /// Every required check has passed, as far as its subject existed.
    Passed,
}

impl SentinelVerdict {
    /// All of them, worst first.
    pub(crate) const ALL: [Self; 4] = [Self::Unsafe, Self::Unjudged, Self::Excepted, Self::Passed];

    /// Its name in reports, lists and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unsafe => "unsafe",
            Self::Unjudged => "unjudged",
            Self::Excepted => "excepted",
            Self::Passed => "passed",
        }
    }
}

/// A required check that is not passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OpenFinding {
    /// The check's name.
    pub(crate) check: String,
    /// Its subject.
    pub(crate) subject: String,
    /// `failed`, `unknown` or `excepted`.
    pub(crate) status: String,
    /// What was seen.
    pub(crate) seen: String,
    /// What is expected.
    pub(crate) expected: String,
}

/// Who launched a cluster, by CloudTrail's record of RunJobFlow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Launcher {
    /// `userIdentity.arn`.
    pub(crate) arn: String,
    /// `userIdentity.invokedBy` or `userAgent`: the program.
    pub(crate) program: Option<String>,
    /// `sourceIPAddress`.
    pub(crate) address: Option<String>,
}

/// Something the sentinel did about a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SentinelAct {
    /// When, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) at: OffsetDateTime,
    /// What.
    pub(crate) what: SentinelActKind,
    /// Details for people; empty where there are none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
}

/// The kinds of acts.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SentinelActKind {
    /// It was reported as unsafe.
    ToldUnsafe,
    /// It was reported that it could not be judged in time.
    ToldUnjudged,
    /// A later look showed no failed check any more.
    Cleared,
    /// It was not terminated, because the limit per hour was reached.
    Limited,
    /// Its termination was requested.
    Terminated,
    /// Its end was confirmed.
    EndConfirmed,
    /// Its end could not be confirmed.
    EndUnconfirmed,
}
