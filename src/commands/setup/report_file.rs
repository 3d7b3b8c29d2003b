//! The reports of earlier setups in files: `--undo` takes back what one of them says, and no report
//! replaces the record of what was made.

use std::{fs, path::Path};

use serde::Deserialize;

use crate::{
    base::printable::Printable,
    commands::setup::{flags::SetupFlags, live::LiveSetup},
    setup::{
        error::SetupError,
        journal::SetupIdentity,
        record::{AppliedAction, AppliedStep, SetupRecord},
        undo,
    },
};

/// What is read of a report.
#[derive(Deserialize)]
struct ReportOfSetup {
    command: String,
    record: Option<SetupRecord>,
}

impl LiveSetup<'_> {
    /// Fails if the report would replace the record of what an earlier setup made. A report of
    /// `--apply` continues it.
    pub(super) fn keeps_record(&self) -> Result<(), SetupError> {
        let SetupFlags { apply, undo, retire, .. } = self.flags;
        let is_later = undo.is_some() || retire.is_some();
        let continues = *apply && !is_later;
        let writes_none = is_later && !apply;
        let Some(file) = self.settings.report.file.as_deref() else { return Ok(()) };
        let has_changes = |record: SetupRecord| {
            record.steps.iter().any(|step| step.action != AppliedAction::Found)
        };
        if continues || writes_none || !record_in(file).is_ok_and(has_changes) {
            return Ok(());
        }
        Err(SetupError::File(format!(
            "{}: holds the record of what an earlier `setup --apply` made, which --undo needs, and \
             this report would replace it; fix: give another name to --report",
            file.display()
        )))
    }

    /// The steps that the report file has from earlier setups of `identity`, without those that
    /// `now` repeats.
    pub(super) fn earlier_steps(
        &self,
        identity: &SetupIdentity,
        now: &[AppliedStep],
    ) -> Vec<AppliedStep> {
        let file = self.settings.report.file.as_deref();
        let record = file.and_then(|file| record_in(file).ok());
        match record {
            Some(record) if undo::is_of(&record, identity).is_ok() => {
                not_repeated(record.steps, now)
            }
            Some(_) | None => Vec::new(),
        }
    }
}

/// Those of the earlier steps that the later ones do not repeat. An undo needs none that found
/// nothing to do; what was made again was gone; and what was stopped is completed by a later step
/// from the same settings.
fn not_repeated(earlier: Vec<AppliedStep>, now: &[AppliedStep]) -> Vec<AppliedStep> {
    let is_repeated = |step: &AppliedStep| {
        now.iter().any(|later| {
            let is_same_piece = later.piece.kind() == step.piece.kind()
                && later.piece.subject() == step.piece.subject();
            let is_made_again = later.action == AppliedAction::Create;
            let is_completed =
                !step.verified && later.action == step.action && later.before == step.before;
            later == step || (is_same_piece && (is_made_again || is_completed))
        })
    };
    let changes = earlier.into_iter().filter(|step| step.action != AppliedAction::Found);
    changes.filter(|step| !is_repeated(step)).collect()
}

/// What the report of a `setup --apply` says was made.
pub(super) fn record_in(file: &Path) -> Result<SetupRecord, SetupError> {
    let wrong = |what: String| {
        SetupError::File(format!(
            "{}: {what}; expected: the report of a `setup --apply` (--report FILE)",
            file.display()
        ))
    };
    let text = fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let report: ReportOfSetup = serde_json::from_slice(&text)
        .map_err(|error| wrong(format!("is no report of a setup ({error})")))?;
    if report.command != "setup" {
        return Err(wrong(format!("is the report of a `{}`", Printable::from(&report.command))));
    }
    report.record.ok_or_else(|| wrong("is the report of a plan, by which nothing was made".into()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::OffsetDateTime;

    use super::*;
    use crate::setup::{
        piece::{Bucket, KeyRotation, Piece},
        record::MadeIds,
    };

    fn bucket() -> Piece {
        Piece::Bucket(Bucket {
            bucket: "acme-out".parse().unwrap(),
            region: "eu-west-1".to_owned(),
            object_lock: false,
        })
    }

    fn rotation() -> Piece {
        Piece::KeyRotation(KeyRotation { key: "a-key".to_owned() })
    }

    fn step(piece: Piece, action: AppliedAction, before: Option<Value>) -> AppliedStep {
        AppliedStep {
            piece,
            action,
            before,
            made: MadeIds::default(),
            calls: Vec::new(),
            at: OffsetDateTime::UNIX_EPOCH,
            verified: true,
            error: None,
        }
    }

    #[test]
    fn a_record_continues_without_what_a_later_step_repeats() {
        use AppliedAction::{Change, Create, Found};
        let made = step(bucket(), Create, None);
        let changed = step(rotation(), Change, Some(json!(false)));
        let stopped = AppliedStep { verified: false, ..changed.clone() };
        let later = |step: &AppliedStep| AppliedStep {
            at: OffsetDateTime::UNIX_EPOCH + time::Duration::DAY,
            ..step.clone()
        };
        let kept = |earlier: &[&AppliedStep], now: &[AppliedStep]| {
            not_repeated(earlier.iter().copied().cloned().collect(), now)
        };
        let all = [&made, &changed];
        assert_eq!(kept(&all, &[]), [made.clone(), changed.clone()]);
        assert_eq!(kept(&all, &[made.clone(), changed.clone()]), []);
        assert_eq!(kept(&all, &[step(bucket(), Found, None)]), [made.clone(), changed.clone()]);
        // It was gone before it could be made again; a second change has another beginning.
        assert_eq!(kept(&[&made], &[later(&made)]), []);
        assert_eq!(kept(&[&stopped], &[later(&changed)]), []);
        assert_eq!(kept(&[&changed], &[later(&changed)]), [changed]);
        assert_eq!(kept(&[&step(bucket(), Found, None)], &[]), []);
    }
}
