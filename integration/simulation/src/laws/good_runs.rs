//! A good run ends with its runner's result.

use crate::{
    history::{History, Life, clock},
    laws::{
        bounds::{
            BEFORE_THE_END, HARMLESS, LONGER, RECOVERED, SHOWN, SHOWN_SLOWLY, SOON_BESIDE_ANOTHER,
        },
        facts::{Facts, is_launched_by_run, is_of_run, owners, shows_defect},
    },
    model::{
        cluster::{Cluster, Id},
        faults::FaultKind,
    },
    scenario::{MINUTE, Ms},
    watch::machine::{
        conclusion::WatchVerdict,
        event::{RunnerEnd, WatchNotice},
        ownership::{Ownership, RunTag},
        plan::WatchMode,
    },
};

/// Law (i).
pub(super) fn end_as_the_runner_does(history: &History, facts: &Facts) -> Result<(), String> {
    let Some(ended) = good_end(history) else { return Ok(()) };
    let life = &history.lives[0];
    if let Some((at, _, notice)) = facts.notices.iter().find(|(.., notice)| is_alarm(notice)) {
        return Err(format!("a good run, and at {} an alarm: {notice:?}", clock(*at)));
    }
    if let Some((at, _, id)) = facts.terminations.first() {
        return Err(format!("a good run, and at {} {id} was terminated", clock(*at)));
    }
    if let Some((at, ..)) = facts.stops.first() {
        return Err(format!("a good run, and at {} the runner was stopped", clock(*at)));
    }
    let Some(conclusion) = life.conclusion() else { return Ok(()) };
    if conclusion.verdict() != WatchVerdict::Runner {
        return Err(format!("a good run, and its end is in doubt: {:?}", conclusion.doubts));
    }
    if !conclusion.open.is_empty() {
        return Err(format!("a good run, and it stays open: {:?}", conclusion.open));
    }
    if life.ended() > ended + LONGER {
        return Err(format!(
            "a good run ended at {}, and its guard {} s later",
            clock(ended),
            (life.ended() - ended) / 1_000
        ));
    }
    Ok(())
}

/// How much longer than its runner a good run took, if no fault was near its end.
#[must_use]
pub fn longer(history: &History) -> Option<Ms> {
    let ended = good_end(history)?;
    let life = history.lives.first()?;
    life.conclusion().map(|_| life.ended() - ended)
}

/// When the output of a good run ended, if it was one.
fn good_end(history: &History) -> Option<Ms> {
    let [life] = &history.lives[..] else { return None };
    let (ended, RunnerEnd::Succeeded) = life.runner_end? else { return None };
    let is_quiet = life.mode == WatchMode::Run
        && life.stops.is_empty()
        && life.slept.is_empty()
        && history.scenario.survivor.is_none();
    let mut of_run = history.clusters.iter().filter(|cluster| {
        let counts = owners(life, cluster)[0] != Some(Ownership::NotOurs);
        counts || is_launched_by_run(cluster)
    });
    let is_good = is_quiet
        && faults_are_harmless(history, ended)
        && of_run.all(|cluster| is_good_cluster(history, life, cluster))
        && did_work(history, life, ended);
    is_good.then_some(life.output_end?)
}

/// Whether they are shorter than the limits, and over before the end.
fn faults_are_harmless(history: &History, ended: Ms) -> bool {
    let faults = history.scenario.faults.iter().filter(|fault| fault.from < ended + 5 * MINUTE);
    let (mut first, mut last) = (Ms::MAX, Ms::MIN);
    for fault in faults {
        first = first.min(fault.from);
        last = last.max(fault.until);
    }
    last < first || (last - first <= HARMLESS && last + BEFORE_THE_END < ended)
}

/// Whether it is as verified, AWS showed that for long enough, and it ends as expected.
fn is_good_cluster(history: &History, life: &Life, cluster: &Cluster) -> bool {
    // Without the tag, the run's clusters cannot be distinguished from those of others.
    let has_tag = !is_launched_by_run(cluster) || cluster.tag == RunTag::This;
    let requested = cluster.matches && has_tag && is_of_run(life, cluster);
    // While the run's own cluster works, the polls are minutes apart: another launcher's cluster
    // that looks like the run's must be visible for longer.
    let is_presumed = owners(life, cluster)[0] == Some(Ownership::Presumed);
    let is_strangers = is_presumed && !is_launched_by_run(cluster);
    let is_slowed = |until: Ms| {
        let mut faults = history.scenario.faults.iter();
        faults.any(|fault| fault.kind == FaultKind::Throttled && fault.from < until)
    };
    let enough = |until: Ms| match (is_strangers, is_slowed(until)) {
        (false, false) => SHOWN,
        (false, true) => SHOWN_SLOWLY,
        (true, false) => SOON_BESIDE_ANOTHER,
        (true, true) => SOON_BESIDE_ANOTHER * 3,
    };
    let shown = |from: Ms, until: Ms| {
        // A fault hides facts; and after one the polls are far apart.
        let covered: Ms = history
            .scenario
            .faults
            .iter()
            .map(|fault| (fault.until + RECOVERED).min(until) - fault.from.max(from))
            .filter(|covered| *covered > 0)
            .sum();
        until - from - covered >= enough(until)
    };
    let from = cluster.created + cluster.traits.list_lag;
    let instances = cluster.instances().is_some_and(|(instances, until)| {
        shown(instances.max(from).max(life.start), until.min(life.ended()))
    });
    let adopted = life.adoptable.contains(&cluster.id);
    requested
        && !cluster.traits.masked
        && shows_defect(history, life, cluster).is_none()
        && shown(from.max(life.start), cluster.over().unwrap_or(Ms::MAX).min(life.ended()))
        && (instances || !history.scenario.settings.volumes)
        && (cluster.traits.stays
            || adopted
            || cluster.ends().is_some_and(|ends| ends < life.ended()))
}

/// Whether a cluster of the run has done its work, and none has any left.
fn did_work(history: &History, life: &Life, ended: Ms) -> bool {
    let mut done = false;
    for cluster in history.clusters.iter().filter(|cluster| is_of_run(life, cluster)) {
        let adopted = life.adoptable.contains(&cluster.id);
        let work = cluster.work(ended, adopted);
        done |= work.done;
        if work.open {
            return false;
        }
    }
    done
}

fn is_alarm(notice: &WatchNotice<Id>) -> bool {
    match notice {
        WatchNotice::Unsafe(..)
        | WatchNotice::Help(..)
        | WatchNotice::Ending(..)
        | WatchNotice::EndConfirmed(_)
        | WatchNotice::EndUnconfirmed(..)
        | WatchNotice::Blind(_)
        | WatchNotice::Unjudged(_)
        | WatchNotice::SightLost(_)
        | WatchNotice::Orphan(_) => true,
        WatchNotice::Found(..)
        | WatchNotice::Passed(..)
        | WatchNotice::SightBack(_)
        | WatchNotice::Twice(_)
        | WatchNotice::Done => false,
    }
}
