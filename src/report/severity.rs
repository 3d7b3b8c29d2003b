//! How much a finding matters, for the forms that rank findings.

use crate::report::document::{RecordedFinding, RecordedLevel, RecordedStatus};

/// From what only informs to what a person must act on at once; the numbers are OCSF's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FindingSeverity {
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
    Critical = 5,
}

impl FindingSeverity {
    /// That of a finding by itself: what is critical, only the whole report shows.
    pub(super) const fn of(finding: &RecordedFinding) -> Self {
        match (finding.status, finding.level) {
            (RecordedStatus::Failed, RecordedLevel::Required) => Self::High,
            (RecordedStatus::Unknown, RecordedLevel::Required) => Self::Medium,
            (RecordedStatus::Failed, RecordedLevel::Advisory) | (RecordedStatus::Excepted, _) => {
                Self::Low
            }
            (RecordedStatus::Unknown, RecordedLevel::Advisory)
            | (RecordedStatus::Passed | RecordedStatus::NotApplicable, _) => Self::Informational,
        }
    }

    /// OCSF's name for it; Security Hub has the same in capitals.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Informational => "Informational",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
            Self::Critical => "Critical",
        }
    }
}
