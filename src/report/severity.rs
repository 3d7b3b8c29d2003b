//! The severity of a finding, for the formats that rank findings.

use crate::report::document::{RecordedFinding, RecordedLevel, RecordedStatus};

/// From informational to critical (a person must act at once); the numbers are OCSF's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FindingSeverity {
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
    Critical = 5,
}

impl FindingSeverity {
    /// The severity of a finding by itself; only the whole report shows what is critical.
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

    /// OCSF's name for it; Security Hub uses the same in capitals.
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
