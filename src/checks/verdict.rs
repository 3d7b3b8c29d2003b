//! The verdict: a pure function that decides from findings whether to launch or refuse.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    base::outcome::Outcome,
    checks::finding::{Finding, Level, Status},
};

/// Whether the runner may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every required check is Passed, NotApplicable or Excepted.
    Launch,
    /// A required check failed.
    RefuseFailed,
    /// None failed, but a required one is Unknown.
    RefuseUnknown,
}

impl Verdict {
    /// Its word in the timeline.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Launch => "Launch",
            Self::RefuseFailed => "RefuseFailed",
            Self::RefuseUnknown => "RefuseUnknown",
        }
    }

    /// Decides. Without any finding nothing is proved, so that refuses, too.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Self {
        let required = || findings.iter().filter(|finding| finding.level == Level::Required);
        if required().any(|finding| finding.status == Status::Failed) {
            Self::RefuseFailed
        } else if findings.is_empty() || required().any(|finding| finding.status == Status::Unknown)
        {
            Self::RefuseUnknown
        } else {
            Self::Launch
        }
    }

    /// The outcome of a refusal; `None` for a launch.
    #[must_use]
    pub fn refusal(self) -> Option<Outcome> {
        match self {
            Self::Launch => None,
            Self::RefuseFailed => Some(Outcome::Refused),
            Self::RefuseUnknown => Some(Outcome::FactsUnknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::catalogue::CATALOGUE;
    use proptest::prelude::*;

    fn finding(level: Level, status: Status) -> Finding {
        let mut finding = CATALOGUE[0].on("subject", "expected").passed("seen");
        finding.level = level;
        finding.status = status;
        finding
    }

    fn any_status() -> impl Strategy<Value = Status> {
        prop::sample::select(vec![
            Status::Passed,
            Status::Failed,
            Status::Unknown,
            Status::NotApplicable,
            Status::Excepted,
        ])
    }

    fn any_finding() -> impl Strategy<Value = Finding> {
        (prop::sample::select(vec![Level::Required, Level::Advisory]), any_status())
            .prop_map(|(level, status)| finding(level, status))
    }

    proptest! {
        #[test]
        fn making_any_finding_worse_never_turns_a_refusal_into_a_launch(mut findings in prop::collection::vec(any_finding(), 1..8), which in any::<prop::sample::Index>(), worse in prop::sample::select(vec![Status::Failed, Status::Unknown])) {
            let before = Verdict::of(&findings);
            let index = which.index(findings.len());
            findings[index].status = worse;
            let after = Verdict::of(&findings);
            prop_assert!(before == Verdict::Launch || after != Verdict::Launch || findings[index].level == Level::Advisory);
        }

        #[test]
        fn a_launch_needs_every_required_check_proved(findings in prop::collection::vec(any_finding(), 0..8)) {
            let launch = Verdict::of(&findings) == Verdict::Launch;
            let all = findings.iter().filter(|f| f.level == Level::Required).all(|f| matches!(f.status, Status::Passed | Status::NotApplicable | Status::Excepted));
            prop_assert_eq!(launch, all && !findings.is_empty());
        }
    }

    #[test]
    fn failed_beats_unknown_and_nothing_known_is_no_launch() {
        let failed = finding(Level::Required, Status::Failed);
        let unknown = finding(Level::Required, Status::Unknown);
        assert_eq!(Verdict::of(&[unknown.clone(), failed]), Verdict::RefuseFailed);
        assert_eq!(Verdict::of(&[unknown]), Verdict::RefuseUnknown);
        assert_eq!(Verdict::of(&[]), Verdict::RefuseUnknown);
    }
}
