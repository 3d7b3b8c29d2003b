//! A cluster of the account: its truth, and its life. Everything at any time is computed.

use crate::{scenario::Ms, watch::machine::state::State};

/// Names a cluster.
pub type Id = u32;
/// Names a place.
pub type Place = u8;

/// A fact that a required check reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It passes.
    Good,
    /// It fails.
    Bad,
    /// AWS has it, and does not show it to the sentinel.
    Unreadable,
}

/// A fact over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// At the creation.
    pub first: Fact,
    /// Some time after it, and from then on.
    pub change: Option<(Ms, Fact)>,
}

impl Timeline {
    fn at(&self, age: Ms) -> Fact {
        self.change.filter(|(after, _)| *after <= age).map_or(self.first, |(_, fact)| fact)
    }

    /// Since which age it has been bad, without an end, if it is.
    fn bad_since(&self) -> Option<Ms> {
        match (self.first, self.change) {
            (Fact::Bad, None | Some((_, Fact::Bad))) => Some(0),
            (_, Some((after, Fact::Bad))) => Some(after),
            _ => None,
        }
    }

    /// From which age on it is good, without an end, if it is.
    fn good_from(&self) -> Option<Ms> {
        match (self.first, self.change) {
            (Fact::Good, None | Some((_, Fact::Good))) => Some(0),
            (_, Some((after, Fact::Good))) => Some(after),
            _ => None,
        }
    }

    fn all(&self) -> impl Iterator<Item = Fact> {
        [Some(self.first), self.change.map(|(_, fact)| fact)].into_iter().flatten()
    }
}

/// How a cluster was launched, and how it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Where.
    pub place: Place,
    /// Which security configuration it names.
    pub configuration: u8,
    /// When.
    pub created: Ms,
    /// How long it is STARTING.
    pub starting: Ms,
    /// How long it is BOOTSTRAPPING.
    pub bootstrapping: Ms,
    /// How long it runs; none: until it is terminated.
    pub lasts: Option<Ms>,
    /// How long it is TERMINATING.
    pub terminating: Ms,
    /// How late lists show it.
    pub list_lag: Ms,
    /// Termination protection is on.
    pub protected: bool,
    /// The rule that applies to it says that it is terminated.
    pub ends: bool,
    /// What a look shows.
    pub settings: Timeline,
    /// What its volumes show.
    pub volumes: Timeline,
    /// When a person terminates it.
    pub person: Option<Ms>,
}

/// What is read of the volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volumes {
    /// There are none yet, or no longer.
    None,
    /// They show this.
    Seen(Fact),
}

/// A cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its id.
    pub id: Id,
    /// How it lives.
    pub launch: Launch,
    /// Termination is refused.
    pub protected: bool,
    /// When EMR accepted its termination.
    pub terminated: Option<Ms>,
}

impl Cluster {
    /// When it runs.
    #[must_use]
    pub fn ready(&self) -> Ms {
        self.launch.created + self.launch.starting + self.launch.bootstrapping
    }

    /// When it starts to terminate.
    #[must_use]
    pub fn ends(&self) -> Option<Ms> {
        let by_itself = self.launch.lasts.map(|lasts| self.ready() + lasts);
        by_itself.into_iter().chain(self.terminated).min()
    }

    /// When it is over.
    #[must_use]
    pub fn over(&self) -> Option<Ms> {
        self.ends().map(|ends| ends + self.launch.terminating)
    }

    /// Its state then.
    #[must_use]
    pub fn state(&self, now: Ms) -> State {
        if self.over().is_some_and(|over| over <= now) {
            State::Over
        } else if self.ends().is_some_and(|ends| ends <= now) {
            State::Terminating
        } else if now < self.launch.created + self.launch.starting {
            State::Starting
        } else if now < self.ready() {
            State::Bootstrapping
        } else {
            State::Running
        }
    }

    /// Whether it lives then.
    #[must_use]
    pub fn lives(&self, now: Ms) -> bool {
        self.launch.created <= now && self.over().is_none_or(|over| now < over)
    }

    /// What a look shows then.
    #[must_use]
    pub fn settings(&self, now: Ms) -> Fact {
        self.launch.settings.at(now - self.launch.created)
    }

    /// What its volumes show then.
    #[must_use]
    pub fn volumes(&self, now: Ms) -> Volumes {
        match self.state(now) {
            State::Starting | State::Terminating | State::Over => Volumes::None,
            _ => Volumes::Seen(self.launch.volumes.at(now - self.launch.created)),
        }
    }

    /// Whether it ever had a fact that fails.
    #[must_use]
    pub fn was_ever_bad(&self) -> bool {
        let mut all = self.launch.settings.all().chain(self.launch.volumes.all());
        all.any(|fact| fact == Fact::Bad)
    }

    /// Since when it can be seen to fail, without an end.
    #[must_use]
    pub fn bad_since(&self) -> Option<Ms> {
        let settings = self.launch.settings.bad_since().map(|age| self.launch.created + age);
        let starts = self.launch.created + self.launch.starting;
        let volumes = self.launch.volumes.bad_since();
        let volumes = volumes.map(|age| starts.max(self.launch.created + age));
        settings.into_iter().chain(volumes).min()
    }

    /// From when on every fact of it passes, without an end.
    #[must_use]
    pub fn passes_from(&self) -> Option<Ms> {
        let settings = self.launch.settings.good_from()?;
        let volumes = self.launch.volumes.good_from()?;
        Some(self.ready().max(self.launch.created + settings.max(volumes)))
    }
}
