//! Whether a report has a signature beside it. It is only searched for; verifying it needs the
//! public key, and is done by `report verify`.

use std::path::{Path, PathBuf};

use crate::{
    base::digest::sha256,
    evidence::{dsse, verify::signature_of},
};

/// The signature beside a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReportSignature {
    /// A signature with the report's digest.
    Beside {
        /// The report.
        report: PathBuf,
    },
    /// A signature of other content, or an invalid one.
    OfOtherContent {
        /// The report.
        report: PathBuf,
    },
    /// There is none.
    Unsigned,
    /// The report came from standard input, or cannot be read again.
    NotLooked,
}

impl ReportSignature {
    /// Looks for a signature beside the report `file`; `-` is standard input.
    pub(crate) fn beside(file: &Path) -> Self {
        if file == Path::new("-") {
            return Self::NotLooked;
        }
        let Ok(envelope) = std::fs::read(signature_of(file)) else { return Self::Unsigned };
        let Ok(report) = std::fs::read(file) else { return Self::NotLooked };
        let file = file.to_owned();
        if dsse::claimed_digest(&envelope) == Some(sha256(report)) {
            Self::Beside { report: file }
        } else {
            Self::OfOtherContent { report: file }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_looked_for_beside_the_report_and_held_against_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report.json");
        std::fs::write(&report, "{}").unwrap();
        let found = || ReportSignature::beside(&report);
        assert_eq!(found(), ReportSignature::Unsigned);
        assert_eq!(ReportSignature::beside(Path::new("-")), ReportSignature::NotLooked);
        let envelope = folder.path().join("report.json.dsse");
        std::fs::write(&envelope, "no envelope").unwrap();
        let other = ReportSignature::OfOtherContent { report: report.clone() };
        assert_eq!(found(), other);
        std::fs::write(&envelope, dsse::tests::signed(b"{}").0).unwrap();
        assert_eq!(found(), ReportSignature::Beside { report: report.clone() });
        std::fs::write(&report, "{ }").unwrap();
        assert_eq!(found(), other);
    }
}
