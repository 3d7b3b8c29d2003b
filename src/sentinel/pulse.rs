//! The signs of life of the driver's loop: for the HTTP endpoint, and for the service manager.

use std::time::{Duration, Instant};

use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{
    base::lookup::Lookup,
    sentinel::{
        health::{HEARTBEAT, SentinelHealth},
        numbers::SentinelNumbers,
        places::{AccountRegion, account_in_words},
    },
    system::service_manager::{ServiceManager, ServiceState},
};

/// A loop that turns many times a second says so once.
const OFTEN_ENOUGH: Duration = Duration::from_secs(1);

/// What others see of a running sentinel.
#[derive(Clone, Debug)]
pub(crate) struct SentinelView {
    /// Its health.
    pub(crate) health: watch::Receiver<SentinelHealth>,
    /// Its numbers; none before its loop has begun.
    pub(crate) numbers: watch::Receiver<Option<SentinelNumbers>>,
}

/// What the driver's loop reports of itself.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// Its health, which its start reports, too.
    pub(crate) health: watch::Sender<SentinelHealth>,
    numbers: watch::Sender<Option<SentinelNumbers>>,
    manager: ServiceManager,
    /// When it last said that it turns; none: it has not begun.
    said: Option<Instant>,
    beats: Option<Interval>,
}

impl Pulse {
    /// The pulse of a sentinel that is about to start, and how others see it.
    pub(crate) fn new(health: SentinelHealth, manager: ServiceManager) -> (Self, SentinelView) {
        let (health, see_health) = watch::channel(health);
        let (numbers, see_numbers) = watch::channel(None);
        let view = SentinelView { health: see_health, numbers: see_numbers };
        (Self { health, numbers, manager, said: None, beats: None }, view)
    }

    /// Returns when the loop must turn again, whatever else it waits for. It may be dropped before
    /// that.
    pub(crate) async fn beat(&mut self) {
        let beats = self.beats.get_or_insert_with(|| {
            let mut beats = interval(HEARTBEAT);
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beats
        });
        beats.tick().await;
    }

    /// The loop turns. The first turn means that the sentinel is ready. Returns whether it is time
    /// for new numbers.
    pub(crate) fn turned(&mut self) -> bool {
        let now = Instant::now();
        match self.said {
            Some(said) if now.saturating_duration_since(said) < OFTEN_ENOUGH => return false,
            Some(_) => self.manager.notify(ServiceState::Alive),
            None => self.manager.notify(ServiceState::Ready),
        }
        self.said = Some(now);
        self.health.send_modify(|health| health.turned(now));
        true
    }

    /// Shows new numbers.
    pub(crate) fn show(&self, numbers: SentinelNumbers) {
        self.numbers.send_replace(Some(numbers));
    }

    /// The loop was asked to end.
    pub(crate) fn stopping(&mut self) {
        self.manager.notify(ServiceState::Stopping);
    }

    /// A place is watched from now on.
    pub(crate) fn found(&self, place: &AccountRegion) {
        let place = place.in_words().to_string();
        self.health.send_modify(|health| health.add_place(place));
    }

    /// A place cannot be used any more.
    pub(crate) fn gone(&self, place: &AccountRegion) {
        let place = place.in_words().to_string();
        self.health.send_modify(|health| health.remove_place(&place));
    }

    /// The regions of an account are unknown by this problem; without one, they are known now.
    pub(crate) fn account(&self, account: &str, problem: Option<&str>) {
        let account = account_in_words(account);
        self.health.send_modify(|health| match problem {
            Some(problem) => health.unknown(&account, problem),
            None => health.remove_place(&account),
        });
    }

    /// A place has answered a list.
    pub(crate) fn listed<T>(&self, place: &AccountRegion, answer: &Lookup<T>) {
        let place = place.in_words().to_string();
        self.health.send_modify(|health| match answer {
            Lookup::Found(_) => health.listed(&place, Instant::now()),
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                health.not_listed(&place, error);
            }
            // A list is never absent.
            Lookup::Absent => {}
        });
    }
}
