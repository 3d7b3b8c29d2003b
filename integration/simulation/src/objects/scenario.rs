//! The decisions of a history of repairs: the content of the bucket, the acts of others, the
//! faults, and the runs.

use crate::{
    objects::{
        bucket::Time,
        job_scenario::{self, JobStory},
    },
    random::Random,
    reencrypt::machine::versioning::Versioning,
};

/// What somebody else writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Other bytes.
    New,
    /// The same bytes with other metadata and tags, and a private ACL, as every upload has.
    NewMetadata,
    /// The same bytes with all properties of the current object.
    Same,
}

/// The encryption of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Not at all.
    Plain,
    /// By S3's own keys.
    Aes,
    /// By the target's KMS key.
    Kms,
}

/// An act of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A writer.
    Put(Put, Stored),
    /// Deletes the key.
    Delete,
    /// Permanently deletes the version of this number; 0 is the newest.
    Remove(usize),
    /// Sets the ACL of a version: true, for everybody.
    Acl(usize, bool),
    /// Sets its tags.
    Tags(usize),
    /// Sets or lifts its legal hold.
    Hold(usize, bool),
    /// The lifecycle removes noncurrent versions.
    Lifecycle,
    /// A writer begins an upload in parts.
    BeginUpload,
    /// Writers' uploads end.
    EndUploads,
}

/// When, and on which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActAt {
    /// After this number of calls of all runs.
    pub tick: u32,
    /// The key's number.
    pub key: usize,
    /// The act.
    pub act: Act,
}

/// A fault of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFault {
    /// It takes effect, but the response is lost.
    Lost,
    /// There is no response; it takes effect this number of calls later.
    Late(u32),
    /// 5xx: it has no effect.
    Error,
    /// S3 throttles; true: it takes effect all the same.
    SlowDown(bool),
    /// S3 reports success, but it had no effect.
    Hollow,
    /// Access is denied.
    Denied,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPlan {
    /// Faults, by the number of the run's action.
    pub faults: Vec<(u32, CallFault)>,
    /// kill -9 after this number of actions.
    pub kill: Option<u32>,
    /// `--purge-old-versions`
    pub purge: bool,
    /// `--purge-overwritten-versions`
    pub overwritten: bool,
    /// The host's ledger is lost before it.
    pub loses_ledger: bool,
}

/// Concurrent runs: of the first host, and of a second one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    /// Each host's run.
    pub runs: [Option<RunPlan>; 2],
    /// The owner switches versioning before it.
    pub versioning: Option<Versioning>,
    /// The time that has passed before it.
    pub pause: Time,
}

/// An object that was written before the history starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct First {
    /// Its encryption.
    pub stored: Stored,
    /// Its bytes, by a number.
    pub content: u32,
    /// Too large for a single copy.
    pub large: bool,
    /// Everybody may read it.
    pub public: bool,
    /// It has metadata and tags.
    pub labels: bool,
    /// It has a redirect.
    pub redirect: bool,
    /// It has another class.
    pub class: bool,
    /// It has a COMPLIANCE lock for this time.
    pub lock: Option<Time>,
    /// A checksum: of the whole, or of its parts.
    pub checksum: Option<bool>,
    /// It was written while the bucket had no versions.
    pub early: bool,
    /// A delete marker follows.
    pub deleted: bool,
}

/// All decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairScenario {
    /// The bucket.
    pub versioning: Versioning,
    /// The target is SSE-KMS; else SSE-S3.
    pub kms: bool,
    /// UpdateObjectEncryption may be used.
    pub updatable: bool,
    /// The versions of each key, the oldest first.
    pub keys: Vec<Vec<First>>,
    /// The acts of others.
    pub acts: Vec<ActAt>,
    /// The runs.
    pub waves: Vec<Wave>,
    /// Which host continues next.
    pub turns: u64,
    /// Jobs of S3 Batch Operations.
    pub jobs: JobStory,
}

fn stored(random: &mut Random) -> Stored {
    random.pick(&[Stored::Plain, Stored::Plain, Stored::Aes, Stored::Kms])
}

/// Over before the last runs start, or long after them.
fn lock(random: &mut Random) -> Time {
    if random.chance(50) {
        random.between(1_000, 100_000)
    } else {
        random.between(1_000_000_000, 9_000_000_000)
    }
}

fn first(random: &mut Random, versions: bool) -> First {
    let large = random.chance(20);
    First {
        stored: if random.chance(60) { Stored::Plain } else { stored(random) },
        content: u32::try_from(random.below(3)).unwrap_or_default(),
        large,
        public: random.chance(35),
        labels: random.chance(40),
        redirect: random.chance(15),
        class: random.chance(15),
        lock: (versions && random.chance(12)).then(|| lock(random)),
        checksum: random.chance(if large { 70 } else { 30 }).then(|| random.chance(40)),
        early: random.chance(30),
        deleted: versions && random.chance(6),
    }
}

fn act(random: &mut Random) -> Act {
    let number = usize::try_from(random.below(4)).unwrap_or_default();
    match random.below(20) {
        0..=2 => Act::Put(Put::New, stored(random)),
        3..=5 => Act::Put(Put::NewMetadata, stored(random)),
        6..=7 => Act::Put(Put::Same, stored(random)),
        8..=9 => Act::Delete,
        10 => Act::Remove(number),
        11..=14 => Act::Acl(number / 2, random.chance(30)),
        15..=16 => Act::Tags(number / 2),
        17 => Act::Hold(number / 2, random.chance(60)),
        18 => Act::Lifecycle,
        _ => random.pick(&[Act::BeginUpload, Act::EndUploads, Act::EndUploads]),
    }
}

fn fault(random: &mut Random) -> CallFault {
    match random.below(12) {
        0..=2 => CallFault::Lost,
        3..=5 => CallFault::Late(u32::try_from(random.below(25)).unwrap_or_default() + 1),
        6..=7 => CallFault::Error,
        8 => CallFault::SlowDown(false),
        9 => CallFault::SlowDown(true),
        10 => CallFault::Hollow,
        _ => CallFault::Denied,
    }
}

fn run(random: &mut Random, options: (bool, bool)) -> RunPlan {
    let faults = if random.chance(35) { random.below(4) } else { 0 };
    let mut all = Vec::new();
    for _ in 0..faults {
        let fault = fault(random);
        let first = u32::try_from(random.below(60)).unwrap_or_default();
        // Some last for a while.
        let long =
            if random.chance(30) { u32::try_from(random.below(12)).unwrap_or_default() } else { 0 };
        all.extend((first..=first + long).map(|number| (number, fault)));
    }
    RunPlan {
        faults: all,
        kill: random.chance(25).then(|| u32::try_from(random.below(45)).unwrap_or_default()),
        purge: options.0,
        overwritten: options.1,
        loses_ledger: random.chance(5),
    }
}

/// The decisions of a seed.
#[must_use]
pub fn draw(seed: u64) -> RepairScenario {
    let mut random = Random::new(seed ^ 0x0B1E_C75E_ED00);
    let versioning = random.pick(&[
        Versioning::Unversioned,
        Versioning::Enabled,
        Versioning::Enabled,
        Versioning::Suspended,
    ]);
    let versions = versioning != Versioning::Unversioned;
    let keys = random.pick(&[1, 1, 1, 2, 3]);
    let keys = (0..keys)
        .map(|_| {
            let count = if versions { random.between(1, 3) } else { 1 };
            (0..count).map(|_| first(&mut random, versions)).collect()
        })
        .collect::<Vec<Vec<First>>>();
    let options = (random.chance(50), random.chance(20));
    let mut waves = Vec::new();
    for number in 0..random.between(1, 3) {
        let second = random.chance(12).then(|| run(&mut random, options));
        let switched = number > 0 && random.chance(8);
        waves.push(Wave {
            runs: [Some(run(&mut random, options)), second],
            versioning: switched
                .then(|| random.pick(&[Versioning::Enabled, Versioning::Suspended])),
            pause: random.between(0, 100_000),
        });
    }
    let acts = if random.chance(75) { random.below(7) } else { 0 };
    let acts = (0..acts)
        .map(|_| ActAt {
            tick: u32::try_from(random.below(75)).unwrap_or_default(),
            key: usize::try_from(random.below(keys.len() as u64)).unwrap_or_default(),
            act: act(&mut random),
        })
        .collect();
    let jobs = job_scenario::draw(seed, keys.len(), waves.len());
    RepairScenario {
        versioning,
        kms: random.chance(35),
        updatable: random.chance(70),
        jobs,
        keys,
        acts,
        waves,
        turns: random.bits(),
    }
}
