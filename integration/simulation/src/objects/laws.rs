//! The laws of repairs: properties of every history, whatever happens in it.
//!
//! A limit of S3, which the threat model states: properties (ACL, redirect, class, locks) have no
//! precondition. [`crate::objects::engine`] lists the single round trips in which nobody acts. A
//! copy that lacks something and cannot be removed (it is under Object Lock, or its id is `null`,
//! or its owner has changed it since) does not break (a) or (b) as long as every further run
//! reports it.

use crate::{
    objects::{
        bucket::{A, Author, B, Defect},
        engine::{D, Ended, RepairHistory},
    },
    reencrypt::machine::{snapshot::NULL, state::RepairState, versioning::Versioning},
};

/// Law (c).
pub const C: &str = "(c) exit 0 means that all is as required";
/// Law (e).
pub const E: &str = "(e) no upload or job is left behind unnamed";
/// Law (f).
pub const F: &str = "(f) only jobs within the named places are confirmed, and none that is refused";

/// All laws.
pub const REPAIR_LAWS: [&str; 6] = [A, B, C, D, E, F];

/// A violated law, and a description.
pub type BrokenLaw = (&'static str, String);

/// The laws that a history violates, each once.
#[must_use]
pub fn check(history: &RepairHistory) -> Vec<BrokenLaw> {
    let mut broken = history.broken.clone();
    defects(history, &mut broken);
    exits(history, &mut broken);
    converged(history, &mut broken);
    copies(history, &mut broken);
    uploads(history, &mut broken);
    let mut seen = Vec::new();
    broken.retain(|(law, _)| {
        let is_new = !seen.contains(law);
        seen.push(*law);
        is_new
    });
    broken
}

/// The last run of each host.
fn last_runs(history: &RepairHistory) -> impl Iterator<Item = &Ended> {
    (0..2).filter_map(|host| history.runs.iter().rev().find(|run| run.host == host))
}

fn is_named(history: &RepairHistory, key: usize, why: &str) -> bool {
    last_runs(history).any(|run| run.named.contains(&(key, why.to_owned())))
}

/// (a) and (b): no copy at the end lacks a property that existed when it was made, or exposes a
/// private object.
fn defects(history: &RepairHistory, broken: &mut Vec<BrokenLaw>) {
    for (key, versions) in history.bucket.keys.iter().enumerate() {
        for version in versions {
            // It has all properties of its source, whose owner has changed it since.
            let is_equal = versions.iter().any(|it| {
                Some(it.serial) == version.source
                    && history.bucket.defect(Some(it), version) == Defect::default()
            });
            // Whoever changed it has dealt with it.
            if is_equal
                || version.defect.lost.is_empty()
                || version.touched
                || is_named(history, key, "damaged")
            {
                continue;
            }
            let what = format!("{} is made without {:?}", version.text(), version.defect.lost);
            broken.push((if version.defect.exposed { B } else { A }, what));
        }
    }
}

/// (c)
fn exits(history: &RepairHistory, broken: &mut Vec<BrokenLaw>) {
    for run in &history.runs {
        if run.exit == Some(0)
            && let Some((key, what)) = run.offending.first()
        {
            broken.push((C, format!("run {} ended 0, but key {key} has {what}", run.number)));
        }
    }
}

/// (d): the last runs agree, every current object is as required unless it cannot be, and only the
/// necessary ones are left.
fn converged(history: &RepairHistory, broken: &mut Vec<BrokenLaw>) {
    let bucket = &history.bucket;
    for host in 0..2 {
        let quiet: Vec<&Ended> =
            history.runs.iter().filter(|run| run.host == host && run.quiet).collect();
        if let [.., earlier, last] = quiet.as_slice()
            && (earlier.exit != last.exit || earlier.named != last.named)
        {
            let what = format!(
                "run {} ended {:?} with {:?}, run {} {:?} with {:?}",
                earlier.number, earlier.exit, earlier.named, last.number, last.exit, last.named
            );
            broken.push((D, what));
        }
        let Some(last) = quiet.last() else { continue };
        for (key, why) in &last.named {
            if !must_be_left(history, host, *key, why) {
                let what = format!("key {key} is left for no reason: {why}");
                broken.push((D, what));
            }
        }
    }
    for (key, versions) in bucket.keys.iter().enumerate() {
        let Some(current) = bucket.current(key) else { continue };
        let other_null = versions.iter().any(|it| it.id() == NULL) && current.id() != NULL;
        let would_replace = bucket.versioning == Versioning::Suspended && other_null;
        let blocked = would_replace || bucket.uploads.iter().any(|it| it.key == key);
        if bucket.offends(&current.snapshot) && !blocked {
            broken.push((D, format!("key {key} never gets its encryption: {}", current.text())));
        }
    }
}

/// Whether there really is a reason to leave something.
fn must_be_left(history: &RepairHistory, host: usize, key: usize, why: &str) -> bool {
    let bucket = &history.bucket;
    let versions = &bucket.keys[key];
    let has_second = history.runs.iter().any(|run| run.host == 1);
    let old_offends = |wanted: &dyn Fn(&crate::objects::bucket::Version) -> bool| {
        versions.iter().enumerate().any(|(index, it)| {
            let is_old = index > 0 && !it.marker;
            is_old && bucket.offends(&it.snapshot) && wanted(it)
        })
    };
    match why {
        // With `--purge-old-versions`, versions that this host's own copies replaced are removed.
        "left: OldVersion" => old_offends(&|it| {
            let purges = history.runs.last().is_some_and(|_| purges(history));
            let entry = (key, Some(it.id().to_owned()));
            let proved = history.ledgers[host].get(&entry).and_then(RepairState::made);
            let kept = proved.and_then(|made| versions.iter().find(|it| it.id() == made));
            !purges || it.touched || kept.is_none_or(|made| made.touched)
        }),
        "left: LockedVersion" => old_offends(&|it| bucket.is_locked(it)),
        "left: NullVersion" => old_offends(&|it| it.id() == NULL),
        "left: WouldReplaceVersion" => {
            bucket.versioning == Versioning::Suspended
                && versions.iter().any(|it| it.id() == NULL)
        }
        "left: UnknownUpload" => bucket.uploads.iter().any(|it| it.key == key),
        // Only a copy of this program is reported as damaged. A writer's object with the same
        // properties, and encrypted as requested, cannot be distinguished from a copy whose
        // response was lost; under KMS, and without a checksum, neither can other bytes of the same
        // size.
        "damaged" => history.ledgers[host].iter().any(|((number, _), state)| {
            matches!(state, RepairState::Damaged { left, .. } if *number == key
                && versions.iter().any(|it| it.snapshot == **left
                    && (it.author != Author::Other
                        || it.equal
                        || bucket.kms && it.snapshot.checksum.is_none())
                    && (it.touched || !it.defect.lost.is_empty() || history.disturbed[key] || has_second)))
        }),
        _ => false,
    }
}

fn purges(history: &RepairHistory) -> bool {
    let last = history.scenario.waves.last().and_then(|wave| wave.runs[0].as_ref());
    last.is_some_and(|last| last.purge)
}

/// (d): if nothing interfered, each object was copied once.
fn copies(history: &RepairHistory, broken: &mut Vec<BrokenLaw>) {
    let runs = || history.scenario.waves.iter().flat_map(|wave| &wave.runs).flatten();
    let is_calm = runs().all(|run| run.faults.is_empty() && !run.loses_ledger)
        && history.scenario.acts.is_empty()
        && history.scenario.jobs.stages.is_empty()
        && history.scenario.waves.iter().all(|wave| wave.runs[1].is_none());
    if is_calm && let Some((write, count)) = history.copies.iter().find(|(_, count)| **count > 1) {
        broken.push((D, format!("write {write} was copied {count} times")));
    }
}

/// (e): a run that ends reports the remaining uploads of this program. A host that has lost its
/// ledger cannot know which ones it had created.
fn uploads(history: &RepairHistory, broken: &mut Vec<BrokenLaw>) {
    let runs = || history.scenario.waves.iter().flat_map(|wave| &wave.runs).flatten();
    if runs().any(|run| run.loses_ledger) {
        return;
    }
    for run in history.runs.iter().filter(|run| run.exit.is_some()) {
        for (key, upload) in &run.uploads {
            let is_named = run.named.iter().any(|(named, _)| named == key) || run.exit == Some(69);
            if !is_named {
                broken.push((E, format!("run {} leaves {upload} of key {key}", run.number)));
            }
        }
    }
}
