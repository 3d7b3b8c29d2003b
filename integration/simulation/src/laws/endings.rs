//! Unsafe clusters are terminated soon.

use crate::{
    guard::{IN_FLIGHT, TERMINATION},
    history::{History, Life, clock},
    laws::{
        bounds::{AGAIN, AT_ONCE, SOON, SOON_ADDED, SOON_BESIDE_ANOTHER, SOON_GROWN, SOON_NAMED},
        facts::{Facts, ends_if_unsafe, is_clear, is_of_run, owners, shows_defect},
    },
    model::{
        cluster::Cluster,
        faults::{FaultKind, Operation},
    },
    scenario::{Defect, HOUR, Ms, SECOND},
    watch::machine::{
        conclusion::Cause, event::WatchNotice, ownership::Ownership, plan::WatchMode,
    },
};

/// The calls that are needed to evaluate a cluster.
const JUDGING: [Operation; 6] = [
    Operation::Describe,
    Operation::Steps,
    Operation::SecurityConfiguration,
    Operation::BootstrapActions,
    Operation::Groups,
    Operation::Instances,
];

/// Law (d).
pub(super) fn unsafe_clusters_end_soon(history: &History, facts: &Facts) -> Result<(), String> {
    for (number, life) in history.lives.iter().enumerate() {
        what_the_log_names_is_asked_for(history, facts, number)?;
        for cluster in &history.clusters {
            if is_of_run(life, cluster) {
                one_ends_soon(history, facts, number, cluster)?;
                request_is_repeated(history, facts, number, cluster)?;
            }
        }
    }
    Ok(())
}

/// Whether another cluster of the run, or one that looks like it, works: the watch is slow then.
pub(super) fn works_beside(history: &History, life: &Life, cluster: &Cluster, at: Ms) -> bool {
    // The pause may have begun while a cluster worked that has ended since. One that never reached
    // a running state leaves no such pause.
    let works = |other: &Cluster| {
        let ended_since = other.over().is_some_and(|over| over > at - SOON_BESIDE_ANOTHER);
        other.lives(at) || (other.created < at && other.was_ready(at) && ended_since)
    };
    history
        .clusters
        .iter()
        .any(|other| other.id != cluster.id && is_of_run(life, other) && works(other))
}

/// Whether a request may be repeated after the one that created another cluster: the watch is quick
/// during that time.
fn may_be_sent_again(
    history: &History,
    facts: &Facts,
    number: usize,
    cluster: &Cluster,
    at: Ms,
) -> bool {
    let life = &history.lives[number];
    let runs = life.runner_end.is_none_or(|(ended, _)| ended > at + SOON);
    let mut others = history.clusters.iter().filter(|other| {
        let whose = owners(life, other)[0];
        let is_requested = matches!(whose, Some(Ownership::Ours | Ownership::Presumed));
        other.id != cluster.id && is_requested
    });
    life.mode == WatchMode::Run
        && runs
        && others.any(|other| {
            let found = facts.found(number, other.id);
            found.is_some_and(|found| found <= at && at + SOON < found + 2 * IN_FLIGHT)
        })
}

/// Whether EMR has throttled: the watch is slower for some time after that.
pub(super) fn is_slowed(history: &History, at: Ms) -> bool {
    history.scenario.faults.iter().any(|fault| {
        fault.kind == FaultKind::Throttled && fault.from < at && at < fault.until + HOUR
    })
}

/// From when on the guard can find it, and whether it does so by itself, without the list.
fn found_from(history: &History, facts: &Facts, number: usize, cluster: &Cluster) -> (Ms, bool) {
    let life = &history.lives[number];
    let by_itself = life.known.contains(&cluster.id)
        || life.named.contains(&cluster.id)
        || life.adoptable.contains(&cluster.id);
    let listed = cluster.created + cluster.traits.list_lag;
    let found = if by_itself { life.start } else { listed };
    let hint = facts.hints.get(&(number, cluster.id)).copied();
    (found.min(hint.unwrap_or(Ms::MAX)).max(life.start), by_itself)
}

fn one_ends_soon(
    history: &History,
    facts: &Facts,
    number: usize,
    cluster: &Cluster,
) -> Result<(), String> {
    let life = &history.lives[number];
    let Some((shown, shown_until)) = shows_defect(history, life, cluster) else { return Ok(()) };
    let (found, by_itself) = found_from(history, facts, number, cluster);
    let used = cluster.steps.iter().filter(|step| step.of_run).map(|step| step.added).min();
    // An existing cluster is terminated once the run uses it.
    let used = used.filter(|_| life.adoptable.contains(&cluster.id));
    let seen = shown.max(found).max(used.unwrap_or(Ms::MIN));
    let ends = ends_if_unsafe(history, life, cluster, seen);
    let is_step = cluster.bad_step() == Some(shown);
    let is_added = shown > cluster.ready()
        || (is_step && shown > cluster.created)
        || (by_itself && life.mode == WatchMode::Run);
    let bound = if cluster.traits.defect == Some(Defect::AddedVolumes) {
        SOON_GROWN
    } else if is_added || life.mode == WatchMode::Attach {
        SOON_ADDED
    } else if works_beside(history, life, cluster, seen)
        && !may_be_sent_again(history, facts, number, cluster, seen)
    {
        SOON_BESIDE_ANOTHER
    } else {
        SOON
    };
    let named = facts.hints.get(&(number, cluster.id)).filter(|_| {
        history.scenario.forged.is_empty()
            && !cluster.traits.defect.is_some_and(Defect::passes_away)
            && !is_added
    });
    let named = named
        .map(|hint| ((*hint).max(shown), SOON_NAMED))
        .filter(|(from, _)| is_clear(history, &JUDGING, from - 40 * SECOND, from + SOON_NAMED));
    let all = [&JUDGING[..], &[Operation::List]].concat();
    let general = Some((seen, bound))
        .filter(|(from, bound)| is_clear(history, &all, from - 40 * SECOND, from + bound))
        .filter(|(from, _)| !is_slowed(history, *from));
    let last_looks = life.output_end.or(life.stops.first().copied()).unwrap_or(Ms::MAX);
    for (from, bound) in named.into_iter().chain(general) {
        let limit = from + bound;
        let still = |at: Ms| {
            cluster.ends().is_none_or(|ends| at < ends || cluster.terminated_by_guard)
                && at < shown_until
        };
        if life.ended() <= limit || last_looks <= limit || !still(limit) {
            continue;
        }
        if life.mode == WatchMode::Run
            && life.runner_end.is_none_or(|(ended, _)| ended > limit + AT_ONCE)
            && !facts.stops.iter().any(|(at, of, _)| *of == number && *at <= limit)
        {
            return Err(format!(
                "{} is unsafe and showed it from {} on; the runner was not stopped by {}",
                cluster.id,
                clock(from),
                clock(limit)
            ));
        }
        let asked = facts.terminations.iter().chain(&facts.protections);
        if ends && !asked.clone().any(|(at, _, id)| *id == cluster.id && *at <= limit) {
            return Err(format!(
                "{} is unsafe and showed it from {} on; by {} it was not terminated",
                cluster.id,
                clock(from),
                clock(limit)
            ));
        }
    }
    Ok(())
}

/// A cluster that the log names is polled at once, also when the runner has ended.
fn what_the_log_names_is_asked_for(
    history: &History,
    facts: &Facts,
    number: usize,
) -> Result<(), String> {
    let life = &history.lives[number];
    if !history.scenario.forged.is_empty() {
        return Ok(());
    }
    for ((_, id), at) in facts.hints.iter().filter(|((of, _), _)| *of == number) {
        let limit = at + AT_ONCE;
        let asked = facts.asked.get(&(number, *id)).is_some_and(|asked| *asked <= limit);
        let is_own = history.cluster(*id).is_some_and(|cluster| is_of_run(life, cluster));
        // Clusters that were named before, and could not be described, are requested again in
        // between.
        let is_alone = !facts.named.iter().any(|(before, of, other)| {
            *of == number && other != id && (at - 20 * SECOND..=*at).contains(before)
        });
        let awake = is_clear(history, &[], *at, limit);
        if is_own && !asked && life.ended() > limit && is_alone && awake {
            return Err(format!("the log names {id} at {}, and it is not looked at", clock(*at)));
        }
    }
    Ok(())
}

/// A request that was refused, or had no effect, is repeated.
fn request_is_repeated(
    history: &History,
    facts: &Facts,
    number: usize,
    cluster: &Cluster,
) -> Result<(), String> {
    let life = &history.lives[number];
    let begun = facts.notices.iter().find(|(_, of, notice)| {
        *of == number
            && matches!(notice, WatchNotice::Unsafe(id, Cause::Failed, true) if *id == cluster.id)
    });
    let Some((begun, ..)) = begun else { return Ok(()) };
    if owners(life, cluster)[0] == Some(Ownership::NotOurs) {
        return Ok(());
    }
    let operations = [Operation::Terminate, Operation::Protection, Operation::Describe];
    let mut from = *begun;
    while !is_clear(history, &operations, from, from + AGAIN) {
        let next = history
            .scenario
            .faults
            .iter()
            .map(|fault| fault.until)
            .chain(life.slept.iter().map(|(_, until)| *until))
            .filter(|until| *until > from)
            .min();
        match next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
    let limit = from + AGAIN;
    let in_time = limit <= begun + TERMINATION - AGAIN && limit < life.ended();
    if in_time && cluster.ends().is_none_or(|ends| ends > limit) {
        return Err(format!(
            "{} must end since {}, and nothing stands in the way since {}; at {} it lives",
            cluster.id,
            clock(*begun),
            clock(from),
            clock(limit)
        ));
    }
    Ok(())
}
