//! Clusters that only events name. Events can be forged, so that there is a limit to everything
//! remembered about them; lists show the real ones beyond it.

use std::collections::BTreeMap;

use crate::watch::machine::{
    account::{
        plan::AccountLimits,
        tracked::{UnderWay, rest},
    },
    time::Moment,
};

/// How many are remembered.
const REMEMBERED: usize = 64;
/// How often one is described if EMR does not answer.
const TRIES: u32 = 3;

/// A cluster that an event names.
#[derive(Clone, Debug)]
struct Name {
    under_way: Option<UnderWay>,
    tries: u32,
    due: Moment,
}

/// The clusters of one place that events name.
#[derive(Clone, Debug)]
pub(super) struct Names<I>(BTreeMap<I, Name>);

impl<I: Ord + Clone> Names<I> {
    /// None.
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An event names this cluster. Nothing is remembered beyond the limit, if there is one.
    pub(super) fn add(&mut self, now: Moment, id: I, limited: bool) {
        if self.0.len() < REMEMBERED || !limited {
            self.0.entry(id).or_insert(Name { under_way: None, tries: 0, due: now });
        }
    }

    /// Those that are to be described, and from when on.
    pub(super) fn due(&self) -> impl Iterator<Item = (&I, Moment)> {
        self.0.iter().filter(|(_, name)| name.under_way.is_none()).map(|(id, name)| (id, name.due))
    }

    /// Those whose answer has not come, if that is too late.
    pub(super) fn unanswered(&self, is_late: impl Fn(Moment) -> bool) -> Vec<I> {
        let is_late = |name: &Name| name.under_way.is_some_and(|way| is_late(way.asked));
        self.0.iter().filter(|(_, name)| is_late(name)).map(|(id, _)| id.clone()).collect()
    }

    /// When each question was asked that has no answer.
    pub(super) fn asked(&self) -> impl Iterator<Item = Moment> {
        self.0.values().filter_map(|name| name.under_way).map(|way| way.asked)
    }

    /// The question is sent.
    pub(super) fn sent(&mut self, id: &I, way: UnderWay) {
        if let Some(name) = self.0.get_mut(id) {
            name.under_way = Some(way);
        }
    }

    /// The question that has no answer yet.
    pub(super) fn under_way(&self, id: &I) -> Option<UnderWay> {
        self.0.get(id)?.under_way
    }

    /// EMR did not answer: it is described again later, a few times.
    pub(super) fn failed(&mut self, now: Moment, id: &I, limits: &AccountLimits) {
        let Some(name) = self.0.get_mut(id) else { return };
        name.under_way = None;
        name.due = now.after(rest(limits, name.tries));
        name.tries += 1;
        if name.tries >= TRIES {
            self.0.remove(id);
        }
    }

    /// It is known now, or does not exist. Returns the question that has no answer yet.
    pub(super) fn remove(&mut self, id: &I) -> Option<UnderWay> {
        self.0.remove(id)?.under_way
    }
}
