//! The way of a sentinel's alerts to people where there are more of them than people can read: the
//! first are sent on their own, those after them together, and none is dropped.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::{
    base::printable::printable,
    report::{
        alerts::message::AlertKind,
        notice::{Notice, NoticeLine},
        notify::Notify,
    },
    sentinel::places::AccountRegion,
};

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SentinelAlert {
    pub(crate) kind: AlertKind,
    pub(crate) notice: Notice,
    /// The place that it is about; none for one about several.
    pub(crate) place: Option<AccountRegion>,
}

impl SentinelAlert {
    /// Several alerts of one kind as one: the first line of each, and what is to be done.
    fn digest(kind: AlertKind, alerts: &[Self]) -> Self {
        let mut notice = Notice::new(printable!(
            "emr-etl-guard: {} more alerts `{kind}` in one: there were more than {ON_THEIR_OWN} \
             within {} s",
            alerts.len(),
            WINDOW.as_secs()
        ));
        let mut place = alerts.first().and_then(|alert| alert.place.clone());
        for alert in alerts {
            let headline = alert.notice.lines.first();
            let text = headline.map(|line| line.text.trim_start_matches("emr-etl-guard: "));
            notice.lines.push(NoticeLine::telling(printable!("  {}", text.unwrap_or_default())));
            let fixes = alert.notice.lines.iter().filter(|line| line.fix.is_some());
            notice.lines.extend(fixes.cloned());
            notice.clusters.extend(alert.notice.clusters.iter().cloned());
            place = place.filter(|place| alert.place.as_ref() == Some(place));
        }
        Self { kind, notice, place }
    }
}

/// The length of a window.
const WINDOW: Duration = Duration::from_mins(1);
/// How many alerts of a window are sent on their own. Those after them wait for its end, and are
/// sent as one for each kind.
const ON_THEIR_OWN: usize = 20;

/// Lets the first alerts of a window through, and holds the others until its end.
#[derive(Debug, Default)]
struct AlertGate {
    /// When the latest alerts were sent on their own; at most [`ON_THEIR_OWN`].
    sent: VecDeque<Instant>,
    held: Vec<SentinelAlert>,
}

/// What happens to an alert.
#[derive(Debug, PartialEq, Eq)]
enum GateAnswer {
    /// It is sent now.
    Send(SentinelAlert),
    /// It is the first that is held, until then.
    HeldUntil(Instant),
    /// It is held with others.
    Held,
}

impl AlertGate {
    fn offer(&mut self, now: Instant, alert: SentinelAlert) -> GateAnswer {
        while self.sent.front().is_some_and(|sent| *sent + WINDOW <= now) {
            self.sent.pop_front();
        }
        // While some are held, a later one does not overtake them.
        if self.held.is_empty() && self.sent.len() < ON_THEIR_OWN {
            self.sent.push_back(now);
            return GateAnswer::Send(alert);
        }
        self.held.push(alert);
        match (self.held.len(), self.sent.front()) {
            (1, Some(first)) => GateAnswer::HeldUntil(*first + WINDOW),
            _ => GateAnswer::Held,
        }
    }

    /// The alerts that were held: one for each kind.
    fn release(&mut self) -> Vec<SentinelAlert> {
        let mut kinds: BTreeMap<AlertKind, Vec<SentinelAlert>> = BTreeMap::new();
        for alert in self.held.drain(..) {
            kinds.entry(alert.kind).or_default().push(alert);
        }
        let digest = |(kind, alerts): (AlertKind, Vec<SentinelAlert>)| match alerts.as_slice() {
            [one] => one.clone(),
            several => SentinelAlert::digest(kind, several),
        };
        kinds.into_iter().map(digest).collect()
    }
}

/// Sends a sentinel's alerts. Clones share the window.
#[derive(Clone, Debug)]
pub(crate) struct SentinelAlerts {
    notify: Notify,
    gate: Arc<Mutex<AlertGate>>,
}

impl SentinelAlerts {
    pub(crate) fn new(notify: Notify) -> Self {
        Self { notify, gate: Arc::default() }
    }

    fn gate(&self) -> MutexGuard<'_, AlertGate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends an alert in the background: at once, or with others where there are many.
    pub(crate) fn send(&self, alert: SentinelAlert) {
        let answer = self.gate().offer(Instant::now(), alert);
        match answer {
            GateAnswer::Send(alert) => self.tell(&alert),
            GateAnswer::HeldUntil(end) => {
                let alerts = self.clone();
                tokio::spawn(async move {
                    sleep_until(end).await;
                    alerts.release();
                });
            }
            GateAnswer::Held => {}
        }
    }

    fn tell(&self, alert: &SentinelAlert) {
        let place = alert.place.as_ref().map(|place| (&*place.account, &*place.region));
        self.notify.at_once(alert.kind, &alert.notice, place);
    }

    /// Sends what is held; at the end of the sentinel, too.
    pub(crate) fn release(&self) {
        let released = self.gate().release();
        released.iter().for_each(|alert| self.tell(alert));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(region: &str) -> AccountRegion {
        AccountRegion { account: "123456789012".to_owned(), region: region.to_owned() }
    }

    fn alert(kind: AlertKind, id: &str) -> SentinelAlert {
        let mut notice = Notice::new(printable!("emr-etl-guard: cluster {id} is UNSAFE"))
            .about(&id.parse().unwrap());
        notice.lines.push(NoticeLine::fixing("  fix: ", printable!("end {id}")));
        SentinelAlert { kind, notice, place: Some(place("eu-west-1")) }
    }

    #[test]
    fn of_very_many_alerts_the_first_are_sent_alone_and_the_others_in_one_and_none_is_lost() {
        let mut gate = AlertGate::default();
        let start = Instant::now();
        let (mut sent, mut until) = (0, Vec::new());
        for number in 0..300 {
            match gate.offer(start, alert(AlertKind::Unsafe, &format!("j-{number}"))) {
                GateAnswer::Send(_) => sent += 1,
                GateAnswer::HeldUntil(end) => until.push(end),
                GateAnswer::Held => {}
            }
        }
        assert_eq!((sent, until), (ON_THEIR_OWN, vec![start + WINDOW]));
        // One of another kind is not hidden among them.
        let other = alert(AlertKind::UnsafeAlive, "j-ALIVE");
        assert_eq!(gate.offer(start, other.clone()), GateAnswer::Held);
        let released = gate.release();
        assert_eq!(released.len(), 2);
        assert!(released.contains(&other), "one alone is sent as it is");
        let digest = released.iter().find(|alert| alert.kind == AlertKind::Unsafe).unwrap();
        assert_eq!(digest.notice.clusters.len(), 300 - ON_THEIR_OWN);
        assert_eq!(
            digest.notice.lines[0].text.as_str(),
            "emr-etl-guard: 280 more alerts `unsafe` in one: there were more than 20 within 60 s"
        );
        for number in ON_THEIR_OWN..300 {
            let command = format!("end j-{number}");
            let fixes = digest.notice.lines.iter().filter_map(|line| line.fix.as_ref());
            assert_eq!(fixes.filter(|fix| fix.as_str() == command).count(), 1, "{number}");
        }
        assert_eq!(digest.place, Some(place("eu-west-1")));
        assert!(gate.release().is_empty(), "each is sent once");
        // After the window, alerts are sent on their own again.
        let next = gate.offer(start + WINDOW, alert(AlertKind::Unsafe, "j-NEXT"));
        assert!(matches!(next, GateAnswer::Send(_)), "{next:?}");
    }

    #[test]
    fn a_digest_about_several_places_names_none_as_its_own() {
        let mut elsewhere = alert(AlertKind::Unsafe, "j-2");
        elsewhere.place = Some(place("us-east-1"));
        let alerts = [alert(AlertKind::Unsafe, "j-1"), elsewhere];
        assert_eq!(SentinelAlert::digest(AlertKind::Unsafe, &alerts).place, None);
    }
}
