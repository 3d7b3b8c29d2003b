//! The decisions of one history of an account, all drawn before it starts.

use crate::{
    accounts::cluster::{Fact, Launch, Timeline},
    random::Random,
    scenario::{HOUR, MINUTE, Ms, SECOND},
};

/// The times in which a place cannot be used are drawn from the numbers of another seed.
const ABSENCES: u64 = 0x9_1ACE;

/// After the last fault and crash, a history goes on for this long.
pub const QUIET: Ms = 23 * MINUTE;

/// What a fault concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Lists.
    Lists,
    /// Questions about clusters.
    Looks,
    /// Requests to terminate, and to lift protection.
    Requests,
    /// Everything.
    All,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Access is denied.
    Denied,
    /// EMR throttles.
    Throttled,
    /// No response comes; a request may have taken effect.
    Lost,
    /// The response comes minutes later.
    Late,
}

/// A fault of AWS in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: u8,
    /// From when.
    pub from: Ms,
    /// Until when.
    pub until: Ms,
    /// Which requests.
    pub target: Target,
    /// What happens to them.
    pub trouble: Trouble,
}

/// A `kill -9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Which sentinel.
    pub sentinel: usize,
    /// When.
    pub at: Ms,
    /// At the next event, so many actions are still performed.
    pub cut: usize,
    /// When it is started again, after that.
    pub down: Ms,
}

/// A suspension of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// From when.
    pub from: Ms,
    /// Until when.
    pub until: Ms,
    /// The clock goes on.
    pub counted: bool,
}

/// Events that somebody forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged {
    /// When.
    pub at: Ms,
    /// Where.
    pub place: u8,
    /// So many.
    pub count: u32,
    /// They name the cluster with this number, and not ids that do not exist.
    pub real: Option<usize>,
}

/// A time in which a place cannot be used: its region is disabled, or the regions of its account
/// are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// Which.
    pub place: u8,
    /// From when; before the start: it was never watched before.
    pub from: Ms,
    /// Until when; none: for good.
    pub until: Option<Ms>,
    /// How long after each of both a sentinel notices it.
    pub noticed: Ms,
    /// How long before the end a sentinel last looked for it in vain.
    pub looked: Ms,
}

impl Absence {
    /// Whether the place cannot be used then.
    #[must_use]
    pub fn covers(&self, at: Ms) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }

    /// Whether it does not concern this time, also as far as it is noticed later.
    #[must_use]
    pub fn is_apart(&self, from: Ms, until: Ms) -> bool {
        until < self.from || self.until.is_some_and(|end| end + self.noticed < from)
    }
}

/// All decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountScenario {
    /// The seed for latencies.
    pub noise: u64,
    /// How many places.
    pub places: u8,
    /// How many sentinels, each with a state of its own.
    pub sentinels: usize,
    /// It judges once.
    pub once: bool,
    /// The limit of terminations per hour.
    pub limit: u32,
    /// When it is asked to stop.
    pub stop: Option<Ms>,
    /// The end of everything but the quiet time.
    pub busy_until: Ms,
    /// The clusters.
    pub launches: Vec<Launch>,
    /// The faults of AWS.
    pub faults: Vec<Fault>,
    /// The times in which a place cannot be used.
    pub absences: Vec<Absence>,
    /// The crashes.
    pub crashes: Vec<Crash>,
    /// The suspension of the machine.
    pub sleep: Option<Sleep>,
    /// The forged events.
    pub forged: Vec<Forged>,
    /// So many of 100 events are delivered; none: there is no queue.
    pub events: Option<u64>,
}

impl AccountScenario {
    /// Whether nothing but clusters and events occurs.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.faults.is_empty()
            && self.absences.is_empty()
            && self.crashes.is_empty()
            && self.sleep.is_none()
            && self.forged.is_empty()
    }

    /// Whether this place cannot be used then.
    #[must_use]
    pub fn is_absent(&self, place: u8, at: Ms) -> bool {
        self.absences.iter().any(|absence| absence.place == place && absence.covers(at))
    }

    /// When the history ends.
    #[must_use]
    pub fn end(&self) -> Ms {
        self.busy_until + QUIET
    }
}

/// The decisions of a seed.
#[must_use]
pub fn draw(seed: u64) -> AccountScenario {
    let mut random = Random::new(seed);
    let random = &mut random;
    let places = random.pick(&[1, 1, 1, 2, 3]);
    let sentinels = if random.chance(6) { 2 } else { 1 };
    let mut busy_until = if random.chance(3) {
        random.between(HOUR, 2 * HOUR)
    } else {
        random.between(2 * MINUTE, 10 * MINUTE)
    };
    let calm = random.chance(30);
    let many = random.chance(4);
    let count = if many { random.between(8, 16) } else { random.between(0, 4) };
    let together = many.then(|| random.between(0, busy_until));
    // Most have one each, which takes more of the quota.
    let one_configuration = seed.is_multiple_of(4);
    let launch = |number: i64| Launch {
        configuration: if one_configuration { 0 } else { u8::try_from(number).unwrap_or_default() },
        ..launch(random, places, busy_until, together)
    };
    let mut launches: Vec<Launch> = (0..count).map(launch).collect();
    let sleep = (!calm && random.chance(12)).then(|| sleep(random, busy_until));
    let mut faults = if calm { Vec::new() } else { faults(random, places, busy_until) };
    if let Some(sleep) = sleep.filter(|_| random.chance(50)) {
        // Terminations are under way when the machine is suspended.
        faults.insert(0, refusals_before(sleep));
    }
    // Many launches in a crash loop, each under a configuration of its own: what every start may
    // take of the quota must show.
    let in_a_loop = together.filter(|_| !calm && seed % 4 == 1);
    // From numbers of their own: all else stays as it is.
    let mut own = Random::new(seed ^ ABSENCES);
    let mut absences = Vec::new();
    if own.chance(20) {
        // Longer than what a sentinel that finds a place lists back to in any case.
        let is_long = own.chance(20);
        busy_until += if is_long { 30 * MINUTE } else { 0 };
        absences = drawn_absences(&mut own, (places, busy_until, is_long), &launches);
        let number = u8::try_from(launches.len()).unwrap_or_default();
        let brief = absences.first().and_then(|absence| brief(&mut own, absence));
        launches.extend(brief.map(|brief| Launch { configuration: number, ..brief }));
    }
    AccountScenario {
        noise: random.bits(),
        places,
        sentinels,
        once: sentinels == 1 && random.chance(15),
        limit: random.pick(&[1, 1, 2, 5, 5]),
        stop: random.chance(4).then(|| random.between(0, busy_until)),
        busy_until,
        faults,
        crashes: if calm {
            Vec::new()
        } else {
            let mut drawn = crashes(random, sentinels, busy_until);
            drawn.extend(crash_around(&mut own, &absences, busy_until));
            in_a_loop.map_or(drawn, |at| crash_loop(at, busy_until))
        },
        sleep,
        forged: if calm { Vec::new() } else { forged(random, places, busy_until, launches.len()) },
        events: random.chance(60).then(|| random.pick(&[100, 100, 50])),
        launches,
        absences,
    }
}

fn launch(random: &mut Random, places: u8, busy: Ms, together: Option<Ms>) -> Launch {
    let created = if random.chance(30) {
        -random.between(10 * SECOND, 30 * MINUTE)
    } else {
        together.unwrap_or_else(|| random.between(0, busy))
    };
    let short = random.chance(20);
    let life = if short { 2 * MINUTE } else { 50 * MINUTE };
    Launch {
        configuration: 0,
        place: u8::try_from(random.below(u64::from(places))).unwrap_or_default(),
        created,
        starting: random.between(5 * SECOND, 2 * MINUTE),
        bootstrapping: random.between(5 * SECOND, 2 * MINUTE),
        lasts: random.chance(60).then(|| random.between(10 * SECOND, life)),
        terminating: random.between(5 * SECOND, 2 * MINUTE),
        list_lag: if random.chance(15) { random.between(0, 60 * SECOND) } else { 0 },
        protected: random.chance(15),
        ends: random.chance(60),
        settings: timeline(random),
        volumes: timeline(random),
        person: random.chance(8).then(|| random.between(0, busy)),
    }
}

fn timeline(random: &mut Random) -> Timeline {
    let fact = |random: &mut Random| {
        random.pick(&[Fact::Good, Fact::Good, Fact::Good, Fact::Good, Fact::Bad, Fact::Unreadable])
    };
    Timeline {
        first: fact(random),
        change: random.chance(20).then(|| (random.between(SECOND, 20 * MINUTE), fact(random))),
    }
}

fn faults(random: &mut Random, places: u8, busy: Ms) -> Vec<Fault> {
    (0..random.below(4))
        .map(|_| {
            let from = random.between(0, busy);
            let length = if random.chance(30) { 30 * MINUTE } else { 3 * MINUTE };
            Fault {
                place: u8::try_from(random.below(u64::from(places))).unwrap_or_default(),
                from,
                until: (from + random.between(SECOND, length)).min(busy),
                target: random.pick(&[Target::Lists, Target::Looks, Target::Requests, Target::All]),
                trouble: random.pick(&[
                    Trouble::Denied,
                    Trouble::Throttled,
                    Trouble::Lost,
                    Trouble::Late,
                ]),
            }
        })
        .collect()
}

/// Times in which one place cannot be used, one after the other.
fn drawn_absences(
    random: &mut Random,
    (places, busy, is_long): (u8, Ms, bool),
    launches: &[Launch],
) -> Vec<Absence> {
    let place = u8::try_from(random.below(u64::from(places))).unwrap_or_default();
    let here: Vec<Ms> = launches
        .iter()
        .filter(|launch| launch.place == place && launch.created + launch.list_lag > 0)
        .map(|launch| launch.created + launch.list_lag)
        .collect();
    let mut all: Vec<Absence> = Vec::new();
    // It comes and goes every few seconds, and all that is known there is asked for each time.
    let flickers = !is_long && random.chance(15);
    let unknown_at_first = !flickers && random.chance(40);
    for number in 0..if flickers { 6 } else { random.pick(&[1, 1, 1, 2, 3]) } {
        let noticed =
            if flickers || random.chance(50) { 0 } else { random.between(SECOND, MINUTE) };
        let earliest = all
            .last()
            .map_or(Some(0), |last| last.until.map(|until| until + last.noticed + SECOND));
        let latest = busy - noticed;
        let Some(earliest) = earliest.filter(|earliest| *earliest < latest) else { break };
        let from = if number == 0 && unknown_at_first {
            -HOUR
        } else if flickers && number > 0 {
            earliest
        } else if !here.is_empty() && random.chance(60) {
            // What was just launched is asked about, reported, or terminated.
            (random.pick(&here) + random.between(0, 2 * MINUTE)).clamp(earliest, latest)
        } else {
            random.between(earliest, latest)
        };
        let longest = random.pick(&[10 * SECOND, 5 * MINUTE, 5 * MINUTE]);
        let length = if is_long {
            random.between(15 * MINUTE, 30 * MINUTE)
        } else if flickers {
            SECOND
        } else {
            random.between(SECOND, longest)
        };
        let until = from.max(0) + length;
        let stays = until > latest || random.chance(10);
        let looked = random.between(0, 10 * MINUTE);
        all.push(Absence { place, from, until: (!stays).then_some(until), noticed, looked });
    }
    all
}

/// A cluster that is launched, and over, while a place cannot be used, if there is time for it.
fn brief(random: &mut Random, absence: &Absence) -> Option<Launch> {
    let (from, until) = (absence.from.max(0), absence.until?);
    let latest = until - 2 * MINUTE;
    if latest < from || random.chance(40) {
        return None;
    }
    let latest = if random.chance(50) { latest.min(from + MINUTE) } else { latest };
    Some(Launch {
        configuration: 0,
        place: absence.place,
        created: random.between(from, latest),
        starting: random.between(5 * SECOND, 30 * SECOND),
        bootstrapping: random.between(5 * SECOND, 30 * SECOND),
        lasts: Some(random.between(10 * SECOND, 30 * SECOND)),
        terminating: random.between(5 * SECOND, 20 * SECOND),
        list_lag: 0,
        protected: false,
        ends: random.chance(60),
        settings: timeline(random),
        volumes: timeline(random),
        person: None,
    })
}

/// A crash when a place goes or comes back, or a short time after that.
fn crash_around(random: &mut Random, absences: &[Absence], busy: Ms) -> Option<Crash> {
    let absence = absences.first().filter(|_| random.chance(40))?;
    let noticed = [Some(absence.from), absence.until].map(|at| at.map(|at| at + absence.noticed));
    let later = if random.chance(60) { 0 } else { random.between(0, 2 * MINUTE) };
    let at = random.pick(&noticed)? + later;
    let cut = usize::try_from(random.below(5)).unwrap_or_default();
    let down = random.between(SECOND, 2 * MINUTE);
    (0..busy).contains(&at).then_some(Crash { sentinel: 0, at, cut, down })
}

fn crashes(random: &mut Random, sentinels: usize, busy: Ms) -> Vec<Crash> {
    let count = random.pick(&[0, 0, 1, 1, 3]);
    (0..count)
        .map(|_| Crash {
            sentinel: usize::try_from(random.below(sentinels as u64)).unwrap_or_default(),
            at: random.between(0, busy),
            cut: usize::try_from(random.below(5)).unwrap_or_default(),
            down: random.between(SECOND, 2 * MINUTE),
        })
        .collect()
}

fn crash_loop(from: Ms, busy: Ms) -> Vec<Crash> {
    let crash = |number: Ms| Crash {
        sentinel: 0,
        at: (from + number * 4 * SECOND).min(busy),
        cut: 3,
        down: SECOND,
    };
    (1..=4).map(crash).collect()
}

fn sleep(random: &mut Random, busy: Ms) -> Sleep {
    let from = random.between(0, busy);
    let until = (from + random.between(MINUTE, HOUR)).min(busy);
    Sleep { from, until, counted: random.chance(50) }
}

fn refusals_before(sleep: Sleep) -> Fault {
    Fault {
        place: 0,
        from: sleep.from - 3 * MINUTE,
        until: sleep.until,
        target: Target::Requests,
        trouble: Trouble::Throttled,
    }
}

fn forged(random: &mut Random, places: u8, busy: Ms, launches: usize) -> Vec<Forged> {
    (0..random.pick(&[0, 0, 0, 1, 2]))
        .map(|_| Forged {
            at: random.between(0, busy),
            place: u8::try_from(random.below(u64::from(places))).unwrap_or_default(),
            count: random.pick(&[1, 5, 120]),
            real: (launches > 0 && random.chance(40))
                .then(|| usize::try_from(random.below(launches as u64)).unwrap_or_default()),
        })
        .collect()
}
