//! Counts the results of the objects' repairs.

use std::collections::BTreeMap;

use crate::{
    base::lookup::LookupError,
    reencrypt::{
        cluster_gate::GateClosed,
        leftover::{self, Leftover},
        machine::{
            choice::RepairMethod,
            event::{RepairEnd, ReplacedVersion},
        },
        place::ObjectId,
    },
};

/// The results of the objects' repairs.
#[derive(Debug, Default)]
pub(crate) struct RepairTally {
    /// By index of the scope's location, and by method: number and size.
    pub(crate) done: BTreeMap<(usize, RepairMethod), (u64, u64)>,
    pub(crate) purged: u64,
    pub(crate) restoring: u64,
    /// Objects that were left, failed, or could not be looked up; with the first of each kind.
    pub(crate) left: BTreeMap<String, (u64, ObjectId)>,
    failed: u64,
    pub(crate) unseen: u64,
    /// Objects whose change was not started, because a cluster that may use their location had
    /// started.
    pub(crate) refused: u64,
}

impl RepairTally {
    /// Counts an object of `size`, in the scope's location `index`.
    pub(crate) fn count(
        &mut self,
        (place, size, index): (&ObjectId, u64, usize),
        end: RepairEnd<LookupError>,
    ) {
        let why = match end {
            RepairEnd::Done(method, old) => {
                let done = self.done.entry((index, method)).or_default();
                *done = (done.0 + 1, done.1.saturating_add(size));
                match old {
                    Some(ReplacedVersion::Left(reason)) => reason.advice().to_owned(),
                    None | Some(ReplacedVersion::ToPurge) => return,
                }
            }
            RepairEnd::Purged => {
                self.purged += 1;
                return;
            }
            RepairEnd::Restoring => {
                self.restoring += 1;
                return;
            }
            RepairEnd::Nothing => return,
            RepairEnd::Left(reason) => reason.advice().to_owned(),
            RepairEnd::Changed => {
                self.failed += 1;
                "another writer changed it meanwhile; run this again".to_owned()
            }
            RepairEnd::Damaged { losses, encryption_differs: true } => {
                self.failed += 1;
                format!(
                    "it is not as it was asked for: {}; look at what answers in S3's place (an \
                     endpoint of one's own), and at the bucket's policy and rule on encryption, \
                     then run this again",
                    losses.join(", ")
                )
            }
            RepairEnd::Damaged { losses, encryption_differs: false } => {
                self.failed += 1;
                format!(
                    "it is encrypted as asked, but no longer the same: {}; fix that by hand, or \
                     write it again, then run this again",
                    losses.join(", ")
                )
            }
            RepairEnd::UploadLeft(upload) => {
                self.failed += 1;
                format!(
                    "its upload in parts {upload} could not be aborted, and is billed until it \
                     is; run this again, or abort it by hand (s3:AbortMultipartUpload)"
                )
            }
            RepairEnd::Failed(why) => {
                self.failed += 1;
                why
            }
            RepairEnd::Unseen(obstacle) => {
                self.unseen += 1;
                leftover::unseen(&obstacle)
            }
        };
        self.left.entry(why).or_insert_with(|| (0, place.clone())).0 += 1;
    }

    /// Counts an object whose change was not started.
    pub(crate) fn hold(&mut self, place: &ObjectId, why: &GateClosed) {
        match why {
            GateClosed::InUse(_) => self.refused += 1,
            GateClosed::Unseen(_) => self.unseen += 1,
        }
        self.left.entry(why.to_string()).or_insert_with(|| (0, place.clone())).0 += 1;
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.values().map(|(objects, _)| objects).sum()
    }

    /// The objects that were not changed, by reason.
    pub(crate) fn leftovers(&self) -> Vec<Leftover> {
        let leftover = |(why, (number, first)): (&String, &(u64, ObjectId))| {
            let others =
                if *number == 1 { String::new() } else { format!(" and {} more", number - 1) };
            Leftover::of_objects(
                format!("{first}{others}: {why}"),
                why,
                *number,
                &first.to_string(),
            )
        };
        self.left.iter().map(leftover).collect()
    }
}
