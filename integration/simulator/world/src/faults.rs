//! Owns the rules that make calls fail.

use serde::{Deserialize, Serialize};

use crate::subject::Subject;

/// Which of the matching calls. Calls are counted from when the rule was added.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calls {
    /// All of them.
    #[default]
    Every,
    /// This one, 1-based.
    Nth(u64),
    /// From the first to the last of these, both included.
    Range {
        /// 1-based.
        from: u64,
        /// Included.
        to: u64,
    },
    /// By chance, the same with the same seed.
    Probability {
        /// 0 to 1.
        p: f64,
        /// The seed of this rule's own random numbers.
        seed: u64,
    },
}

/// The faults. Unless it says "applied", the call has no effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Applied; the reply is delayed by this time, in addition to other faults.
    Latency {
        /// Real milliseconds.
        ms: u64,
    },
    /// The service's own throttling error.
    Throttle,
    /// The service's own server error with this status.
    ServerError {
        /// 500, 503, …
        status: u16,
    },
    /// The service's own access-denied error.
    AccessDenied,
    /// Any other error.
    Error {
        /// HTTP status.
        status: u16,
        /// Error code.
        code: String,
        /// Error message.
        message: String,
    },
    /// Status 200 with an error in the body, as in S3's long-running copies.
    ErrorIn200 {
        /// Error code.
        code: String,
        /// Error message.
        message: String,
    },
    /// The connection is reset.
    Reset,
    /// There is never a response.
    Hang,
    /// The call waits, without an effect yet, until calls of its operation are
    /// [released](crate::command::Command::Release), or all faults are cleared. Then it is
    /// processed as if it came only then.
    Hold,
    /// Applied; half of the reply's body comes, then the connection ends.
    TruncatedBody,
    /// Applied; the reply's body is neither JSON nor XML.
    GarbageBody,
    /// Applied; the reply reports success, and is empty.
    EmptyAnswer,
    /// Applied; the reply reports success, and has no body at all.
    NoBody,
    /// The call never arrives: a proxy answers it with a page of its own.
    ProxyPage {
        /// 200, 302, 403, 404, 502, …
        status: u16,
    },
    /// A list's later page is the first one again; the first one is correct.
    FirstPageAgain {
        /// It is the last page; otherwise it has the same next page as the first time.
        ends: bool,
    },
    /// Applied, and answered with a server error.
    #[serde(rename = "applied_then_5xx")]
    AppliedThen5xx {
        /// 500, 503, …
        status: u16,
    },
    /// Applied, then the connection is reset.
    AppliedThenReset,
    /// Applied, and nothing ever comes back.
    AppliedThenHang,
}

/// A rule: these calls fail in this way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// `elasticmapreduce`, `s3`, `kms`, `iam`, `sts`, `ec2`, `sns`, `monitoring`; absent: any.
    #[serde(default)]
    pub service: Option<String>,
    /// `RunJobFlow`, `HeadObject`, …; `*`: any; [`ANY_WRITE`](crate::subject::ANY_WRITE): any that
    /// can change something.
    pub operation: String,
    /// Which of those calls.
    #[serde(default)]
    pub calls: Calls,
    /// Only calls about this cluster id, bucket, `bucket/key`, or name.
    #[serde(default)]
    pub matching: Option<String>,
    /// The fault.
    pub kind: FaultKind,
}

impl Fault {
    /// Every call of an operation goes wrong in this way.
    #[must_use]
    pub fn every(operation: &str, kind: FaultKind) -> Self {
        Self {
            service: None,
            operation: operation.to_owned(),
            calls: Calls::Every,
            matching: None,
            kind,
        }
    }

    /// The nth call (1-based) of an operation goes wrong in this way.
    #[must_use]
    pub fn nth(operation: &str, nth: u64, kind: FaultKind) -> Self {
        Self { calls: Calls::Nth(nth), ..Self::every(operation, kind) }
    }
}

/// Counts matching calls and selects the ones to fail.
#[derive(Debug)]
pub(crate) struct Counter {
    calls: Calls,
    seen: u64,
    dice: fastrand::Rng,
}

impl Counter {
    pub(crate) fn new(calls: Calls) -> Self {
        let seed = match calls {
            Calls::Probability { seed, .. } => seed,
            _ => 0,
        };
        Self { calls, seen: 0, dice: fastrand::Rng::with_seed(seed) }
    }

    /// Counts one call; true when it is meant.
    pub(crate) fn hit(&mut self) -> bool {
        self.seen += 1;
        match self.calls {
            Calls::Every => true,
            Calls::Nth(nth) => self.seen == nth,
            Calls::Range { from, to } => (from..=to).contains(&self.seen),
            Calls::Probability { p, .. } => self.dice.f64() < p,
        }
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Vec<(Fault, Counter)>,
}

/// The effect of the rules on one call.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The reply comes so many real milliseconds later.
    pub latency_ms: u64,
    /// The fault, if any.
    pub kind: Option<FaultKind>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        let counter = Counter::new(fault.calls.clone());
        self.rules.push((fault, counter));
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Ends all holds of an operation.
    pub(crate) fn release(&mut self, operation: &str) {
        self.rules
            .retain(|(fault, _)| fault.kind != FaultKind::Hold || fault.operation != operation);
    }

    /// Whether a call that was held still is.
    #[must_use]
    pub fn still_hold(&self, subject: &Subject) -> bool {
        self.rules.iter().any(|(fault, _)| {
            let (service, matching) = (fault.service.as_deref(), fault.matching.as_deref());
            fault.kind == FaultKind::Hold && subject.matches(service, &fault.operation, matching)
        })
    }

    /// Counts one call, and returns its faults.
    pub fn judge(&mut self, subject: &Subject) -> Verdict {
        let mut verdict = Verdict::default();
        for (fault, counter) in &mut self.rules {
            let meant = subject.matches(
                fault.service.as_deref(),
                &fault.operation,
                fault.matching.as_deref(),
            );
            if !meant || !counter.hit() {
                continue;
            }
            match &fault.kind {
                FaultKind::Latency { ms } => verdict.latency_ms += ms,
                kind => verdict.kind = verdict.kind.or_else(|| Some(kind.clone())),
            }
        }
        verdict
    }
}
