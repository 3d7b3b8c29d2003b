//! The rules for S3 Batch Operations: which objects and buckets a job may be created for, which
//! jobs may be confirmed, and when. A job runs later and without preconditions: it copies whatever
//! a line of its manifest names at that time.

#[cfg(feature = "mutants")]
use crate::reencrypt::machine::mutants::RepairMutant;
use crate::reencrypt::machine::{
    choice::RepairMethod, mutants::mutated, snapshot::Snapshot, versioning::Versioning,
};

/// The rules for jobs.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobRules {
    /// The deliberate fault.
    #[cfg(feature = "mutants")]
    pub mutant: Option<RepairMutant>,
}

/// The properties of a bucket that decide about a job in it.
#[derive(Clone, Copy, Debug)]
pub struct JobBucket {
    /// Its versioning.
    pub versioning: Versioning,
    /// Its objects' target is DSSE-KMS.
    pub dsse: bool,
}

/// The properties that its objects may have and a job would lose, as far as the bucket alone shows.
#[derive(Clone, Copy, Debug)]
pub struct HiddenLosses {
    /// They may be locked.
    pub locks: bool,
    /// They have ACLs.
    pub acls: bool,
    /// They may redirect: the bucket is a website.
    pub redirects: bool,
}

/// Why a job cannot do a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotForJob {
    /// The bucket has versions.
    Versions,
    /// Too large for a single copy.
    TooLarge,
    /// A job cannot request DSSE-KMS.
    Dsse,
    /// Object Lock.
    Lock,
    /// Permissions of others in its ACL.
    Acl,
    /// A website redirect.
    Redirect,
}

impl NotForJob {
    /// As a phrase about an object.
    pub fn of_object(self) -> &'static str {
        match self {
            Self::Versions => {
                "a job copies without preconditions, so that in a bucket with versions it could \
                 bring back what was overwritten or deleted since"
            }
            Self::TooLarge => "a job copies no more than 5 GiB",
            Self::Dsse => "a job cannot ask for DSSE-KMS",
            Self::Lock => "a job would lose its Object Lock",
            Self::Acl => "a job would lose its ACL",
            Self::Redirect => "a job would lose where it redirects to",
        }
    }

    /// As a phrase about a bucket whose list S3 would generate.
    pub fn of_bucket(self) -> &'static str {
        match self {
            // A list of all versions would restore old content.
            Self::Versions => {
                "it keeps versions, and a job that copies an old one makes it the current one"
            }
            Self::Lock => "its objects may be locked, and a job would lose that",
            Self::Acl => "its objects have ACLs, and a job would lose them",
            Self::Redirect => "it is a website, and a job would lose where its objects redirect to",
            Self::TooLarge | Self::Dsse => self.of_object(),
        }
    }
}

/// Which part of a job is outside of the run's locations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsidePlaces {
    /// Its source is in none of them.
    Source,
    /// Its copies go to another bucket.
    Target,
}

/// The operation of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOperationKind {
    /// It copies objects.
    Copy,
    /// It updates their encryption in place.
    Update,
    /// Neither.
    Other,
}

/// An objection to a confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobObjection<B> {
    /// Clusters of the pipeline run, and may use its places.
    ClustersRun,
    /// Its operation is none of this program's.
    OtherOperation,
    /// It copies, and this bucket has versions now.
    Versions(B, Versioning),
}

/// The phase of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobPhase {
    /// S3 reads or generates its list.
    Preparing,
    /// It waits for its confirmation; its list is complete.
    Awaiting,
    /// It was confirmed.
    Running,
    /// It has ended, successfully or not.
    Over,
}

impl JobPhase {
    /// Whether it still needs confirmation.
    pub fn awaits_confirmation(self) -> bool {
        matches!(self, Self::Preparing | Self::Awaiting)
    }

    /// What a run does about a job that it follows. A job is evaluated once its list is complete:
    /// versions that are created later cannot be in a list.
    pub fn next_step(self, confirm: bool, is_confirmed: bool) -> FollowStep {
        match self {
            Self::Over => FollowStep::Ended,
            Self::Awaiting if !confirm => FollowStep::Left,
            Self::Awaiting if !is_confirmed => FollowStep::JudgeAndConfirm,
            Self::Awaiting | Self::Preparing | Self::Running => FollowStep::Wait,
        }
    }
}

/// What a run does about a job that it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowStep {
    /// It is over.
    Ended,
    /// It waits for a confirmation that this run does not give.
    Left,
    /// It is evaluated now, and confirmed if there is no objection.
    JudgeAndConfirm,
    /// A while passes.
    Wait,
}

/// The location (bucket and prefix) that holds every key with this `prefix`, if there is one.
pub fn place_around<'a>(
    places: impl IntoIterator<Item = (&'a str, &'a str)>,
    bucket: &str,
    prefix: &str,
) -> Option<usize> {
    places.into_iter().position(|(holds, start)| holds == bucket && prefix.starts_with(start))
}

impl JobRules {
    /// How a job may change an object that was looked up at `seen`, in milliseconds since 1970, or
    /// why no job may.
    ///
    /// # Errors
    /// [`NotForJob`]
    pub fn fit(
        self,
        seen: &Snapshot,
        method: RepairMethod,
        bucket: JobBucket,
        now: i64,
    ) -> Result<RepairMethod, NotForJob> {
        if method == RepairMethod::Update {
            if !seen.lock.protects(now) {
                // An update names a version, and moves no data.
                return Ok(method);
            }
            // S3 refuses an update under a lock. The alternative is a copy, which would lose the
            // lock.
            return self.fit(seen, RepairMethod::Copy, bucket, now);
        }
        let only_owner = seen.grants.is_empty()
            || matches!(seen.grants.as_slice(), [(_, permission)] if permission == "FULL_CONTROL");
        if bucket.versioning.has_versions() && !mutated!(self, JobsWhereVersionsAre) {
            Err(NotForJob::Versions)
        } else if method == RepairMethod::CopyInParts {
            Err(NotForJob::TooLarge)
        } else if bucket.dsse {
            Err(NotForJob::Dsse)
        } else if seen.lock.protects(now) {
            Err(NotForJob::Lock)
        } else if !only_owner && !mutated!(self, JobsLoseRights) {
            Err(NotForJob::Acl)
        } else if seen.headers.contains_key("website-redirect") {
            Err(NotForJob::Redirect)
        } else {
            Ok(method)
        }
    }

    /// Why S3 may not generate the list for copies in a bucket: a copy of unknown objects could
    /// lose properties.
    ///
    /// # Errors
    /// [`NotForJob`]
    pub fn may_list(self, bucket: JobBucket, hidden: HiddenLosses) -> Result<(), NotForJob> {
        if bucket.versioning.has_versions() && !mutated!(self, ListsWhereVersionsAre) {
            Err(NotForJob::Versions)
        } else if hidden.locks {
            Err(NotForJob::Lock)
        } else if hidden.acls && !mutated!(self, JobsLoseRights) {
            Err(NotForJob::Acl)
        } else if hidden.redirects {
            Err(NotForJob::Redirect)
        } else if bucket.dsse {
            Err(NotForJob::Dsse)
        } else {
            Ok(())
        }
    }

    /// The index of the location that holds a job's target: an object, or all objects with this
    /// `prefix`. `target`: the bucket that its copies go to.
    ///
    /// # Errors
    /// [`OutsidePlaces`]
    pub fn place<'a>(
        self,
        places: impl IntoIterator<Item = (&'a str, &'a str)>,
        bucket: &str,
        prefix: &str,
        target: Option<&str>,
    ) -> Result<usize, OutsidePlaces> {
        if mutated!(self, OtherPlacesConfirmed) {
            return Ok(0);
        }
        match place_around(places, bucket, prefix) {
            None => Err(OutsidePlaces::Source),
            Some(_)
                if target.is_some_and(|target| target != bucket)
                    && !mutated!(self, CopyTargetIgnored) =>
            {
                Err(OutsidePlaces::Target)
            }
            Some(place) => Ok(place),
        }
    }

    /// Whether no job is confirmed at all: the same safety switch as for every other change.
    pub fn is_switched_off(self, confirm: bool, is_refused: bool) -> bool {
        confirm && is_refused && !mutated!(self, SwitchNotAsked)
    }

    /// The objections to confirming a job now. `clusters_run`: clusters of the pipeline that may
    /// use its locations; `buckets`: those of its locations, and their current versioning.
    pub fn objections<B>(
        self,
        kind: JobOperationKind,
        clusters_run: bool,
        buckets: impl IntoIterator<Item = (B, Versioning)>,
    ) -> Vec<JobObjection<B>> {
        let mut all = Vec::new();
        if clusters_run && !mutated!(self, ClustersIgnored) {
            all.push(JobObjection::ClustersRun);
        }
        match kind {
            JobOperationKind::Copy if !mutated!(self, VersionsSinceIgnored) => {
                let versioned = buckets.into_iter().filter(|(_, it)| it.has_versions());
                all.extend(versioned.map(|(bucket, it)| JobObjection::Versions(bucket, it)));
            }
            JobOperationKind::Other if !mutated!(self, AnyOperationConfirmed) => {
                all.push(JobObjection::OtherOperation);
            }
            _ => {}
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: JobRules = JobRules {
        #[cfg(feature = "mutants")]
        mutant: None,
    };

    #[test]
    fn a_bucket_whose_objects_may_carry_what_a_job_loses_is_left_to_a_look_at_each() {
        let bucket = |versioning, dsse| JobBucket { versioning, dsse };
        let plain = bucket(Versioning::Unversioned, false);
        let none = HiddenLosses { locks: false, acls: false, redirects: false };
        assert_eq!(RULES.may_list(plain, none), Ok(()));
        let table = [
            (bucket(Versioning::Enabled, false), none, NotForJob::Versions),
            (bucket(Versioning::Suspended, false), none, NotForJob::Versions),
            (plain, HiddenLosses { locks: true, ..none }, NotForJob::Lock),
            (plain, HiddenLosses { acls: true, ..none }, NotForJob::Acl),
            (plain, HiddenLosses { redirects: true, ..none }, NotForJob::Redirect),
            (bucket(Versioning::Unversioned, true), none, NotForJob::Dsse),
        ];
        for (bucket, hidden, why) in table {
            assert_eq!(RULES.may_list(bucket, hidden), Err(why));
        }
    }

    #[test]
    fn what_a_job_names_lies_in_a_place_and_is_copied_to_its_own_bucket() {
        let places = [("a", "in/"), ("b", "")];
        let place = |bucket, prefix, target| RULES.place(places, bucket, prefix, target);
        assert_eq!(place("a", "in/x", Some("a")), Ok(0));
        assert_eq!(place("b", "x", None), Ok(1));
        assert_eq!(place("a", "i", None), Err(OutsidePlaces::Source));
        assert_eq!(place("c", "in/x", None), Err(OutsidePlaces::Source));
        assert_eq!(place("b", "x", Some("a")), Err(OutsidePlaces::Target));
    }

    #[test]
    fn versions_speak_against_copies_alone_and_clusters_against_every_job() {
        let of = |kind, clusters| {
            let buckets = [("a", Versioning::Unversioned), ("b", Versioning::Enabled)].into_iter();
            RULES.objections(kind, clusters, buckets)
        };
        let versions = JobObjection::Versions("b", Versioning::Enabled);
        assert_eq!(of(JobOperationKind::Copy, false), [versions]);
        assert_eq!(of(JobOperationKind::Update, false), []);
        assert_eq!(of(JobOperationKind::Update, true), [JobObjection::ClustersRun]);
        assert_eq!(of(JobOperationKind::Other, false), [JobObjection::OtherOperation]);
    }

    #[test]
    fn a_job_is_judged_once_its_list_is_made_and_confirmed_once() {
        for (phase, confirm, is_confirmed, step) in [
            (JobPhase::Preparing, true, false, FollowStep::Wait),
            (JobPhase::Awaiting, false, false, FollowStep::Left),
            (JobPhase::Awaiting, true, false, FollowStep::JudgeAndConfirm),
            (JobPhase::Awaiting, true, true, FollowStep::Wait),
            (JobPhase::Running, false, false, FollowStep::Wait),
            (JobPhase::Over, true, true, FollowStep::Ended),
        ] {
            assert_eq!(phase.next_step(confirm, is_confirmed), step, "{phase:?}");
        }
    }
}
