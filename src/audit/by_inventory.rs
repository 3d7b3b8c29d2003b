//! The audit of objects that inventories list. Nothing is read from S3 except the inventories.

use time::OffsetDateTime;

use crate::{
    audit::{
        error::AuditError,
        inputs::AuditInputs,
        inventory::read::Inventory,
        object_row,
        progress::Progress,
        result::AuditResult,
        scope,
        source::FactSource,
        tally::{AuditTally, ObjectJudgement},
    },
    base::lookup::{Lookup, LookupError, LookupErrorKind},
};

/// Reads the inventories, and counts their rows by location.
///
/// # Errors
/// [`AuditError`] when an inventory cannot be read, or the list of offenders cannot be written.
pub(crate) async fn read_inventories(inputs: &AuditInputs) -> Result<AuditResult, AuditError> {
    let mut inventories = Vec::new();
    for manifest in &inputs.options.inventories {
        inventories.push(Inventory::open(&inputs.aws, manifest).await?);
    }
    let targets = if inputs.targets.is_empty() {
        scope::buckets(inventories.iter().map(Inventory::bucket))
    } else {
        inputs.targets.clone()
    };
    let mut tallies: Vec<AuditTally> = targets.iter().map(|_| AuditTally::default()).collect();
    for (target, tally) in targets.iter().zip(&mut tallies) {
        if !inventories.iter().any(|inventory| *inventory.bucket() == target.location.bucket) {
            let message = format!(
                "no inventory of the bucket {} was given (--inventory)",
                target.location.bucket
            );
            tally.stopped(&Lookup::Unreachable(LookupError::new(
                "s3:GetObject",
                LookupErrorKind::NotAsked,
                message,
            )));
        }
    }
    let mut list = inputs.open_list(None)?;
    let mut progress = Progress::new(inputs.options.quiet);
    let (mut sources, mut outside, mut trouble) = (Vec::new(), 0, None);
    let (files, mut files_done) =
        (inventories.iter().map(Inventory::files).sum::<usize>() as u64, 0);
    for inventory in &inventories {
        let mut rows = 0;
        let seen = |row: &object_row::ObjectRow<'_>| {
            rows += 1;
            let Some(index) = scope::target_of(&targets, row.bucket, row.key) else {
                outside += 1;
                return;
            };
            if let Some(seen) = tallies[index].listed(row)
                && ObjectJudgement::of(&inputs.wanted, seen.stored, false)
                    == ObjectJudgement::Offender
                && let Some(list) = list.as_mut()
                && let Err(error) = list.add(&seen, &targets[index].roles.join(" "))
            {
                trouble.get_or_insert(error);
            }
        };
        let done = |rows, is_file| {
            files_done += u64::from(is_file);
            progress.advance(rows, files, files_done);
        };
        inventory.read(&inputs.aws, seen, done).await?;
        sources.push(inventory.source(OffsetDateTime::now_utc(), rows));
    }
    progress.finish();
    match trouble {
        Some(error) => Err(AuditError::Offenders(error.to_string())),
        None => Ok(AuditResult {
            started: inputs.started,
            source: FactSource::Inventory { inventories: sources, outside },
            targets,
            tallies,
            offenders: list,
        }),
    }
}
