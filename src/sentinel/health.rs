//! The sentinel's health: what the driver's loop reports, and what the probes for liveness and
//! readiness make of it.
//!
//! Times are this process's monotonic clock, and are passed in.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::base::lookup::{LookupError, LookupErrorKind};

/// How often the driver's loop reports that it turns, at least: the loop has a timer of this
/// interval, since it may have nothing else to do for minutes.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);

/// The sentinel is alive if its loop has turned within this time. A loop never waits that long for
/// a single answer or file.
const LIVE_WITHIN: Duration = Duration::from_secs(60);

/// The time for the start, which asks AWS for the regions of each account, one after the other.
const START_WITHIN: Duration = Duration::from_secs(10 * 60);

/// The sentinel is ready if each place was listed within so many intervals: three times the longest
/// interval between two lists, which is four intervals, where nothing lives.
const LIST_WITHIN_INTERVALS: u32 = 12;

/// The state of a running sentinel, for probes.
#[derive(Clone, Debug)]
pub(crate) struct SentinelHealth {
    started: Instant,
    /// When the driver's loop last turned; at the start, when the sentinel started.
    turned: Instant,
    /// The time within which each place must be listed.
    list_within: Duration,
    /// Each place by the name that people see, such as `eu-west-1 of account 123456789012`; none:
    /// the places are not known yet.
    places: Option<BTreeMap<String, PlaceHealth>>,
    /// The account that the sentinel's own credentials belong to now, if it is another one than at
    /// the start.
    other_account: Option<String>,
}

/// The lists of one place.
#[derive(Clone, Debug, Default)]
struct PlaceHealth {
    /// When its clusters were last listed completely.
    listed: Option<Instant>,
    /// Why the last attempt failed, if it did.
    problem: Option<String>,
}

impl SentinelHealth {
    /// The state at the start, when no place is known. `interval` is the setting.
    pub(crate) fn starting(interval: Duration, now: Instant) -> Self {
        let list_within = interval.saturating_mul(LIST_WITHIN_INTERVALS);
        Self { started: now, turned: now, list_within, places: None, other_account: None }
    }

    /// The driver's loop turns.
    pub(crate) fn turned(&mut self, now: Instant) {
        self.turned = now;
    }

    /// The start is over: sets which places are to be watched, with those that cannot be.
    pub(crate) fn set_places(&mut self, places: impl IntoIterator<Item = String>, now: Instant) {
        let places = places.into_iter().map(|name| (name, PlaceHealth::default()));
        self.places = Some(places.collect());
        self.turned = now;
    }

    /// A place is to be watched, too.
    pub(crate) fn add_place(&mut self, name: String) {
        self.places.get_or_insert_default().entry(name).or_default();
    }

    /// A place is not to be watched any more.
    pub(crate) fn remove_place(&mut self, name: &str) {
        if let Some(places) = &mut self.places {
            places.remove(name);
        }
    }

    /// The sentinel's own credentials belong to this account now; none: to that of the start.
    pub(crate) fn set_other_account(&mut self, account: Option<String>) {
        self.other_account = account;
    }

    /// All clusters of a place were listed.
    pub(crate) fn listed(&mut self, place: &str, now: Instant) {
        if let Some(state) = self.place(place) {
            *state = PlaceHealth { listed: Some(now), problem: None };
        }
    }

    /// The clusters of a place could not be listed. Only the operation and the code of the error
    /// are shown, since the endpoint may be open to others than the readers of the log.
    pub(crate) fn not_listed(&mut self, place: &str, error: &LookupError) {
        if let Some(state) = self.place(place) {
            state.problem = Some(in_short(error));
        }
    }

    /// The regions of an account are unknown, by this problem.
    pub(crate) fn unknown(&mut self, account: &str, problem: &str) {
        if let Some(state) = self.place(account) {
            state.problem = Some(problem.to_owned());
        }
    }

    fn place(&mut self, name: &str) -> Option<&mut PlaceHealth> {
        self.places.as_mut().and_then(|places| places.get_mut(name))
    }

    /// The time since the clusters of a place were last listed; before that, since the start.
    pub(crate) fn list_age(&self, place: &str, now: Instant) -> Duration {
        let known = self.places.as_ref().and_then(|places| places.get(place));
        let since = known.and_then(|place| place.listed).unwrap_or(self.started);
        now.saturating_duration_since(since)
    }

    /// Whether the loop turns.
    ///
    /// # Errors
    /// Text for people: one line, with its end of line.
    pub(crate) fn live(&self, now: Instant) -> Result<(), String> {
        let since = now.saturating_duration_since(self.turned);
        let (what, limit) = match self.places {
            None => ("the sentinel has been starting", START_WITHIN),
            Some(_) => ("the sentinel's loop has not turned", LIVE_WITHIN),
        };
        if since <= limit {
            return Ok(());
        }
        let (since, limit) = (since.as_secs(), limit.as_secs());
        Err(format!("{what} for {since} s (limit: {limit} s)\n"))
    }

    /// Whether the loop turns and each place was listed within the time limit.
    ///
    /// # Errors
    /// Text for people: a line for each cause, each with its end of line.
    pub(crate) fn ready(&self, now: Instant) -> Result<(), String> {
        let mut text = self.live(now).err().unwrap_or_default();
        if let Some(account) = &self.other_account {
            // Writing to a `String` does not fail.
            let _ = writeln!(
                text,
                "the credentials are of account {account} now, not of the one \
                of the start"
            );
        }
        match &self.places {
            None => text.push_str("the regions to watch are not known yet\n"),
            Some(places) => {
                let lines = places
                    .iter()
                    .filter_map(|(name, place)| Some((name, self.not_seen(place, now)?)));
                for (name, why) in lines {
                    // Writing to a `String` does not fail.
                    let _ = writeln!(text, "{name}: {why}");
                }
            }
        }
        if text.is_empty() { Ok(()) } else { Err(text) }
    }

    /// Why a place counts as not seen; none: it was listed in time.
    fn not_seen(&self, place: &PlaceHealth, now: Instant) -> Option<String> {
        let limit = self.list_within;
        let mut why = match place.listed.map(|at| now.saturating_duration_since(at)) {
            Some(since) if since <= limit => return None,
            Some(since) => {
                format!("last listed {} s ago (limit: {} s)", since.as_secs(), limit.as_secs())
            }
            None => "not listed yet".to_owned(),
        };
        if let Some(problem) = &place.problem {
            why.push_str("; ");
            why.push_str(problem);
        }
        Some(why)
    }
}

/// The operation and the code of an error.
pub(crate) fn in_short(error: &LookupError) -> String {
    format!("{}: {}", error.operation, short_cause(error))
}

/// The code of an error, or its kind where AWS gave no code.
fn short_cause(error: &LookupError) -> &str {
    if let Some(code) = &error.code {
        return code;
    }
    match error.kind {
        LookupErrorKind::Denied => "access denied",
        LookupErrorKind::Throttled => "throttled",
        LookupErrorKind::TimedOut => "no answer within the time limit",
        LookupErrorKind::Connection => "no connection",
        LookupErrorKind::ServerError => "a server error",
        LookupErrorKind::UnreadableAnswer => "an answer that cannot be used",
        LookupErrorKind::NotAsked => "not asked",
        LookupErrorKind::Other => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);
    const PLACES: [&str; 2] =
        ["eu-west-1 of account 123456789012", "us-east-1 of account 123456789012"];

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// A sentinel at its start, with two places, and the time of its start.
    fn started() -> (SentinelHealth, Instant) {
        let now = Instant::now();
        let mut health = SentinelHealth::starting(INTERVAL, now);
        health.set_places(PLACES.map(str::to_owned), now);
        (health, now)
    }

    #[test]
    fn a_loop_that_no_longer_turns_is_not_alive_and_is_again_when_it_does() {
        let (mut health, start) = started();
        assert_eq!(health.live(start + seconds(60)), Ok(()));
        assert_eq!(
            health.live(start + seconds(61)).unwrap_err(),
            "the sentinel's loop has not turned for 61 s (limit: 60 s)\n"
        );
        health.turned(start + seconds(62));
        assert_eq!(health.live(start + seconds(100)), Ok(()));
    }

    #[test]
    fn it_is_ready_once_every_place_was_listed_and_as_long_as_each_is() {
        let (mut health, start) = started();
        health.listed(PLACES[0], start);
        assert_eq!(
            health.ready(start).unwrap_err(),
            "us-east-1 of account 123456789012: not listed yet\n"
        );
        health.listed(PLACES[1], start + seconds(10));
        assert_eq!(health.ready(start + seconds(10)), Ok(()));
        // Twelve intervals of thirty seconds.
        health.turned(start + seconds(361));
        assert_eq!(
            health.ready(start + seconds(361)).unwrap_err(),
            "eu-west-1 of account 123456789012: last listed 361 s ago (limit: 360 s)\n"
        );
        health.listed(PLACES[0], start + seconds(362));
        assert_eq!(health.ready(start + seconds(363)), Ok(()));
    }

    #[test]
    fn the_age_of_a_list_counts_from_the_start_before_the_first_one() {
        let (mut health, start) = started();
        health.listed(PLACES[0], start + seconds(5));
        let ages = PLACES.map(|place| health.list_age(place, start + seconds(7)));
        assert_eq!(ages, [seconds(2), seconds(7)]);
    }

    #[test]
    fn a_failed_list_is_named_by_operation_and_code_and_never_by_its_message() {
        let (mut health, start) = started();
        let mut error = LookupError::new(
            "elasticmapreduce:ListClusters",
            LookupErrorKind::Denied,
            "User arn:aws:iam::123456789012:user/x is not authorized",
        );
        error.code = Some("AccessDeniedException".to_owned());
        health.not_listed(PLACES[0], &error);
        error.code = None;
        error.kind = LookupErrorKind::Connection;
        health.not_listed(PLACES[1], &error);
        assert_eq!(
            health.ready(start).unwrap_err(),
            "eu-west-1 of account 123456789012: not listed yet; \
             elasticmapreduce:ListClusters: AccessDeniedException\n\
             us-east-1 of account 123456789012: not listed yet; \
             elasticmapreduce:ListClusters: no connection\n"
        );
    }

    #[test]
    fn one_failed_list_within_the_time_limit_changes_nothing() {
        let (mut health, start) = started();
        for place in PLACES {
            health.listed(place, start);
        }
        let error =
            LookupError::new("elasticmapreduce:ListClusters", LookupErrorKind::Throttled, "");
        health.not_listed(PLACES[0], &error);
        assert_eq!(health.ready(start + seconds(59)), Ok(()));
    }

    #[test]
    fn a_place_that_is_found_must_be_listed_and_one_that_is_gone_need_not() {
        let (mut health, start) = started();
        health.listed(PLACES[0], start);
        health.remove_place(PLACES[1]);
        assert_eq!(health.ready(start), Ok(()));
        health.add_place("af-south-1 of account 123456789012".to_owned());
        assert_eq!(
            health.ready(start).unwrap_err(),
            "af-south-1 of account 123456789012: not listed yet\n"
        );
        // What was listed already stays listed.
        health.add_place(PLACES[0].to_owned());
        health.remove_place("af-south-1 of account 123456789012");
        assert_eq!(health.ready(start), Ok(()));
    }

    #[test]
    fn credentials_of_another_account_make_it_not_ready_at_once() {
        let (mut health, start) = started();
        for place in PLACES {
            health.listed(place, start);
        }
        health.set_other_account(Some("210987654321".to_owned()));
        assert_eq!(
            health.ready(start).unwrap_err(),
            "the credentials are of account 210987654321 now, not of the one of the start\n"
        );
        assert_eq!(health.live(start), Ok(()));
        health.set_other_account(None);
        assert_eq!(health.ready(start), Ok(()));
    }

    #[test]
    fn at_its_start_it_is_not_ready_and_alive_for_a_longer_time() {
        let now = Instant::now();
        let health = SentinelHealth::starting(INTERVAL, now);
        assert_eq!(health.ready(now).unwrap_err(), "the regions to watch are not known yet\n");
        assert_eq!(health.live(now + seconds(600)), Ok(()));
        assert_eq!(
            health.live(now + seconds(601)).unwrap_err(),
            "the sentinel has been starting for 601 s (limit: 600 s)\n"
        );
    }

    #[test]
    fn a_sentinel_whose_loop_hangs_is_not_ready_either() {
        let (mut health, start) = started();
        for place in PLACES {
            health.listed(place, start);
        }
        assert_eq!(
            health.ready(start + seconds(70)).unwrap_err(),
            "the sentinel's loop has not turned for 70 s (limit: 60 s)\n"
        );
    }
}
