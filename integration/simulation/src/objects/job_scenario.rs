//! The decisions about jobs of S3 Batch Operations: who creates and confirms them, and what others
//! do meanwhile.

use crate::{
    objects::scenario::{Act, Put, Stored},
    random::Random,
    reencrypt::machine::versioning::Versioning,
};

/// The keys' names, by their numbers.
pub const NAMES: [&str; 3] = ["a/0", "a/1", "b/2"];
/// The prefixes that a run can name, by their numbers.
pub const PREFIXES: [&str; 3] = ["", "a/", "b/"];

/// A job that this program did not create. All but one have its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignJob {
    /// It copies in another bucket.
    OtherBucket,
    /// It copies in this bucket, and at the end in another one.
    OtherBucketLast,
    /// It copies to another bucket.
    OtherTarget,
    /// It copies all objects, whatever they would lose, with their versions.
    Everything,
    /// It removes tags.
    OtherOperation,
    /// It copies in this bucket, and has another description.
    OtherDescription,
}

/// One step about jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStep {
    /// `--batch --apply` on this location; true: with `--generate-manifest`.
    Make(usize, bool),
    /// `--batch-status`.
    Status {
        /// On this place.
        place: usize,
        /// `--confirm`
        confirm: bool,
        /// With a job's id: 0 is the newest.
        named: Option<usize>,
        /// The bucket belongs to the pipeline, and was not named.
        unnamed: bool,
    },
    /// Somebody else creates a job.
    Foreign(ForeignJob),
}

/// An act of others between two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobAct {
    /// To this key.
    Object(usize, Act),
    /// The owner switches versioning.
    Versioning(Versioning),
    /// A cluster of the pipeline starts; false: it ends.
    Cluster(bool),
    /// A person confirms this job in the console.
    Console(usize),
}

/// A step, and the acts of others meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStage {
    /// It is before the runs of this number.
    pub before: usize,
    /// The step.
    pub step: JobStep,
    /// The acts of others, before its call of this number.
    pub acts: Vec<(u32, JobAct)>,
}

/// All decisions about jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobStory {
    /// Whether the pipeline uses each place.
    pub used: [bool; 3],
    /// In their order.
    pub stages: Vec<JobStage>,
    /// When S3 works on them.
    pub turns: u64,
}

fn act(random: &mut Random, keys: u64) -> JobAct {
    let key = usize::try_from(random.below(keys)).unwrap_or_default();
    let stored = random.pick(&[Stored::Plain, Stored::Plain, Stored::Aes, Stored::Kms]);
    match random.below(20) {
        0..=3 => JobAct::Object(key, Act::Put(Put::New, stored)),
        4 => JobAct::Object(key, Act::Put(Put::NewMetadata, stored)),
        5..=7 => JobAct::Object(key, Act::Delete),
        8 => JobAct::Object(key, Act::Acl(0, true)),
        9..=11 => JobAct::Versioning(Versioning::Enabled),
        12 => JobAct::Versioning(Versioning::Suspended),
        13 => JobAct::Cluster(true),
        14..=16 => JobAct::Cluster(false),
        _ => JobAct::Console(usize::try_from(random.below(4)).unwrap_or_default()),
    }
}

fn step(random: &mut Random, is_first: bool) -> JobStep {
    let place = random.pick(&[0, 0, 0, 1, 2]);
    match random.below(20) {
        0..=5 => JobStep::Make(place, random.chance(40)),
        _ if is_first => JobStep::Make(place, random.chance(40)),
        6..=16 => JobStep::Status {
            place,
            confirm: random.chance(85),
            named: random.chance(35).then(|| usize::try_from(random.below(3)).unwrap_or_default()),
            unnamed: random.chance(8),
        },
        _ => JobStep::Foreign(random.pick(&[
            ForeignJob::OtherBucket,
            ForeignJob::OtherBucketLast,
            ForeignJob::OtherTarget,
            ForeignJob::Everything,
            ForeignJob::OtherOperation,
            ForeignJob::OtherDescription,
        ])),
    }
}

/// The decisions of a seed.
#[must_use]
pub fn draw(seed: u64, keys: usize, waves: usize) -> JobStory {
    let mut random = Random::new(seed ^ 0x0B1E_C75E_10B5);
    if !random.chance(30) {
        return JobStory::default();
    }
    let used = [random.chance(40), random.chance(40), random.chance(40)];
    let mut before = 0;
    let mut stages = Vec::new();
    for number in 0..random.between(2, 6) {
        if before < waves && random.chance(25) {
            before += 1;
        }
        let mut acts: Vec<(u32, JobAct)> = (0..random.below(5))
            .map(|_| {
                let at = u32::try_from(random.below(14)).unwrap_or_default();
                (at, act(&mut random, keys as u64))
            })
            .collect();
        let step = step(&mut random, number == 0);
        if matches!(step, JobStep::Status { confirm: true, .. }) && random.chance(25) {
            // After the run has started, which a cluster does not prevent then.
            let at = u32::try_from(random.below(6)).unwrap_or_default();
            acts.push((at, JobAct::Cluster(true)));
        }
        stages.push(JobStage { before, step, acts });
    }
    JobStory { used, stages, turns: random.bits() }
}
