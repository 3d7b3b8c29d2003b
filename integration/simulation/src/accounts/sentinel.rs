//! The sentinel around the watcher: its ledger, its clock, and its knowledge of the clusters.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

#[cfg(feature = "mutants")]
use crate::watch::machine::account::mutants::AccountMutant;
use crate::{
    accounts::{
        cluster::{Cluster, Fact, Id, Place, Volumes},
        scenario::AccountScenario,
    },
    guard::span,
    scenario::{HOUR, MINUTE, Ms, SECOND},
    watch::machine::{
        account::{
            event::{AccountEntry, AccountNotice},
            plan::{AccountLimits, AccountPlan, KnownCluster},
            watcher::AccountWatcher,
        },
        event::Judgement,
        time::{AwsTime, Moment},
    },
};

/// `interval`.
pub const INTERVAL: Ms = 30 * SECOND;
/// `judge_within`.
pub const JUDGE_WITHIN: Ms = 6 * MINUTE;
/// How long an end is awaited.
pub const TERMINATION: Ms = 4 * MINUTE;
/// How long a cluster goes on without being looked at again.
pub const DRIFT: Ms = 6 * MINUTE;
/// Clusters of a place that is found are listed from so long before it was looked for in vain.
const CLOCKS_MAY_DIFFER: Ms = 10 * MINUTE;
/// AWS's clock shows this when the history's shows 0.
const AWS_CLOCK: Ms = 1_700_000_000_000;

/// The options of histories.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountOptions {
    /// The deliberate fault of the watcher.
    #[cfg(feature = "mutants")]
    pub mutant: Option<AccountMutant>,
}

/// The time of AWS's clock.
#[must_use]
pub fn aws_time(at: Ms) -> AwsTime {
    AwsTime(AWS_CLOCK + at)
}

/// The time of the history for one of AWS's clock.
#[must_use]
pub fn world_time(at: AwsTime) -> Ms {
    at.0 - AWS_CLOCK
}

/// What a sentinel has written for a later one.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    known: BTreeMap<(Place, Id), KnownCluster>,
    over: BTreeMap<(Place, Id), AwsTime>,
    seen_until: BTreeMap<Place, AwsTime>,
    ending: BTreeMap<(Place, Id), Ms>,
}

impl Ledger {
    /// An entry is written.
    pub fn note(&mut self, now: Ms, entry: &AccountEntry<Place, Id>) {
        match *entry {
            AccountEntry::Ending(place, id) => {
                self.ending.insert((place, id), now);
                self.known.entry((place, id)).or_default().ending = true;
            }
            AccountEntry::ToldUnsafe(place, id) => {
                self.known.entry((place, id)).or_default().told_unsafe = true;
            }
            AccountEntry::ToldUnjudged(place, id) => {
                self.known.entry((place, id)).or_default().told_unjudged = true;
            }
            AccountEntry::SeenUntil(place, until) => {
                self.seen_until.insert(place, until);
            }
        }
    }

    /// A notice is recorded; `created`: when that cluster was.
    pub fn told(
        &mut self,
        notice: &AccountNotice<Place, Id>,
        created: impl FnOnce(Id) -> Option<Ms>,
    ) {
        match *notice {
            AccountNotice::Found(place, id) => {
                self.known.entry((place, id)).or_default();
            }
            AccountNotice::Cleared(place, id) => {
                self.known.entry((place, id)).or_default().told_unsafe = false;
            }
            AccountNotice::Over(place, id, _) => {
                self.known.remove(&(place, id));
                if let Some(created) = created(id) {
                    self.over.insert((place, id), aws_time(created));
                }
            }
            _ => {}
        }
    }
}

/// What the sentinel's driver knows about a cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Knowledge {
    /// What the last look showed.
    pub settings: Option<Fact>,
    /// What the last detailed look showed.
    pub volumes: Option<Volumes>,
    /// When the settings were read.
    pub read: Ms,
    /// Its steps were listed.
    pub steps: bool,
}

impl Knowledge {
    /// The checks' result.
    #[must_use]
    pub fn judgement(self) -> Judgement {
        let seen = self.volumes.map(|volumes| match volumes {
            Volumes::None => None,
            Volumes::Seen(fact) => Some(fact),
        });
        let unreadable = |fact| fact == Fact::Unreadable;
        Judgement {
            failed: self.settings == Some(Fact::Bad) || seen.flatten() == Some(Fact::Bad),
            unknown: !self.steps
                || self.settings.is_none_or(unreadable)
                || seen.is_none_or(|seen| seen.is_some_and(unreadable)),
            unseen: seen == Some(None),
            awaits_instances: seen == Some(None),
            details_known: self.volumes.is_some(),
            groups_known: self.volumes.is_some(),
            steps_known: self.steps,
            ..Judgement::NOTHING
        }
    }

    /// What a request has shown is known from now on.
    pub fn learn(&mut self, at: Ms, settings: Option<Fact>, volumes: Option<Volumes>) {
        if settings.is_some() {
            self.read = at;
        }
        self.settings = settings.or(self.settings);
        // Volumes that are gone have been seen all the same.
        self.volumes = match (volumes, self.volumes) {
            (None | Some(Volumes::None), Some(known)) => Some(known),
            (volumes, _) => volumes,
        };
    }
}

/// A sentinel.
#[derive(Clone, Debug, Default)]
pub struct Sentinel {
    /// Its watcher, while it lives.
    pub watcher: Option<AccountWatcher<Place, Id>>,
    /// How often it was started.
    pub life: u32,
    start: Ms,
    uncounted: Ms,
    /// When it is to be woken.
    pub wake: Option<Ms>,
    /// It is killed after so many actions of the next event, and is started again then.
    pub dies: Option<(usize, Ms)>,
    /// The watch has ended.
    pub is_finished: bool,
    /// The places that it watches.
    pub places: BTreeSet<Place>,
    /// What it has written.
    pub ledger: Ledger,
    /// What its driver knows.
    pub knowledge: BTreeMap<Id, Knowledge>,
    /// The clusters that it judged, and found to pass.
    pub passed: BTreeSet<Id>,
    /// When each security configuration was read last.
    pub read: BTreeMap<(Place, u8), Ms>,
    /// The looks, by their numbers, that asked for a security configuration.
    pub asked: BTreeSet<u64>,
}

impl Sentinel {
    /// It starts.
    pub fn begin(&mut self, now: Ms, scenario: &AccountScenario, options: AccountOptions) {
        self.life += 1;
        self.start = now;
        self.uncounted = 0;
        self.knowledge.clear();
        self.passed.clear();
        self.read.clear();
        self.asked.clear();
        let usable = |place: &Place| !scenario.is_absent(*place, now);
        self.places = (0..scenario.places).filter(usable).collect();
        let requests = self.ledger.ending.values().map(|requested| now - requested);
        self.watcher = Some(AccountWatcher::new(AccountPlan {
            places: self.places.clone(),
            limits: AccountLimits {
                interval: span(INTERVAL),
                judge_within: span(JUDGE_WITHIN),
                termination: span(TERMINATION),
                drift: span(DRIFT),
                terminations_per_hour: scenario.limit,
            },
            once: scenario.once,
            seen_until: self.ledger.seen_until.clone(),
            known: self.ledger.known.clone(),
            over: self.ledger.over.clone(),
            terminated: requests.filter(|ago| *ago < HOUR).map(span).collect::<Vec<Duration>>(),
            seed: scenario.noise.wrapping_add(u64::from(self.life)),
            #[cfg(feature = "mutants")]
            mutant: options.mutant,
        }));
    }

    /// It finds a place that it last looked for in vain at this time. Returns since when clusters
    /// may have lived there unseen, unless it watches it already.
    pub fn finds(&mut self, place: Place, looked: Ms) -> Option<Ms> {
        // It looks at its start, too.
        self.places.insert(place).then(|| looked.max(self.start) - CLOCKS_MAY_DIFFER)
    }

    /// It cannot use a place any more. What it has read there is asked for again if it comes back.
    /// Returns whether it watched it.
    pub fn loses(&mut self, place: Place, clusters: &[Cluster]) -> bool {
        let here = |id: &Id| {
            clusters.iter().any(|cluster| cluster.id == *id && cluster.launch.place == place)
        };
        if !self.places.remove(&place) {
            return false;
        }
        self.knowledge.retain(|id, _| !here(id));
        self.passed.retain(|id| !here(id));
        self.read.retain(|(of, _), _| *of != place);
        true
    }

    /// Its clock did not go on for so long.
    pub fn stood_still(&mut self, length: Ms) {
        self.uncounted += length;
    }

    /// The time by its clock.
    #[must_use]
    pub fn moment(&self, now: Ms) -> Moment {
        Moment(span(now - self.start - self.uncounted))
    }

    /// When its clock shows `moment`, in whole milliseconds.
    #[must_use]
    pub fn world_time(&self, moment: Moment) -> Ms {
        let millis = i64::try_from(moment.0.as_nanos().div_ceil(1_000_000));
        self.start + self.uncounted + millis.unwrap_or(Ms::MAX / 4)
    }
}
