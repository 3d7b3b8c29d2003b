//! Which clusters may be terminated.

use crate::{
    guard::JUDGE_WITHIN,
    history::{History, Life, clock},
    laws::{
        bounds::{AT_ONCE, HELD},
        facts::{Facts, owners},
    },
    model::cluster::{Cluster, Id},
    scenario::Ms,
    watch::machine::{event::WatchNotice, ownership::Ownership, plan::WatchMode},
};

/// A termination, and the data to check it.
struct Case<'a> {
    history: &'a History,
    facts: &'a Facts,
    number: usize,
    life: &'a Life,
    cluster: &'a Cluster,
    at: Ms,
}

impl Case<'_> {
    /// Whether a fact that makes it unsafe was received.
    fn is_known_unsafe(&self) -> bool {
        self.facts.is_known_unsafe(self.number, self.cluster.id, self.at)
    }

    /// Whether it could not be evaluated in time, because of faults.
    fn is_unjudged(&self) -> bool {
        let id = self.cluster.id;
        // Since its first request; the guard may have wanted to request it earlier, but had to wait
        // for the quotas.
        let since = self.facts.asked.get(&(self.number, id)).copied().unwrap_or(self.at);
        self.history.scenario.settings.rules.on_unjudged
            && self.at - since >= JUDGE_WITHIN - HELD - AT_ONCE - self.slept(since)
            && !self.facts.was_judged_wholly(self.number, id, self.at)
            && self.facts.faults.iter().any(|(_, life, _)| *life == self.number)
    }

    fn slept(&self, since: Ms) -> Ms {
        let slept = self.life.slept.iter().filter(|(from, _)| *from >= since);
        slept.map(|(from, until)| until - from).sum()
    }

    /// Whether the guard was asked to stop, and the settings terminate clusters then.
    fn is_stopped(&self) -> bool {
        let stopped = self.life.stops.iter().any(|stop| *stop <= self.at);
        (stopped && self.history.scenario.settings.rules.on_stop) || self.life.stopped_to_end
    }

    /// Whether nobody waits for it, and the settings terminate it then.
    fn is_orphaned(&self) -> bool {
        let runner_gone = self.life.mode == WatchMode::Resume
            || self.life.runner_end.is_some_and(|(ended, _)| ended <= self.at);
        self.history.scenario.settings.rules.on_orphan
            && self.life.mode != WatchMode::Attach
            && runner_gone
    }

    fn is_permitted(&self, whose: Ownership) -> bool {
        let rules = self.history.scenario.settings.rules;
        match whose {
            Ownership::Ours => {
                self.is_known_unsafe()
                    || self.is_unjudged()
                    || self.is_stopped()
                    || self.is_orphaned()
            }
            Ownership::Presumed => {
                rules.untagged
                    && (self.is_known_unsafe() || self.is_stopped() || self.is_orphaned())
            }
            Ownership::Adopted => {
                rules.adopted && self.cluster.has_steps_of_run(self.at) && self.is_known_unsafe()
            }
            Ownership::Named => rules.attached && self.is_known_unsafe(),
            // A run has no clusters of an account.
            Ownership::Account | Ownership::NotOurs => false,
        }
    }
}

fn cases<'a>(
    history: &'a History,
    facts: &'a Facts,
    requests: &'a [(Ms, usize, Id)],
) -> impl Iterator<Item = Result<Case<'a>, String>> {
    requests.iter().map(move |(at, number, id)| {
        let life = &history.lives[*number];
        let cluster = history
            .cluster(*id)
            .ok_or_else(|| format!("{}: {id} was to end, which does not exist", clock(*at)))?;
        Ok(Case { history, facts, number: *number, life, cluster, at: *at })
    })
}

/// Law (a).
pub(super) fn ended(history: &History, facts: &Facts) -> Result<(), String> {
    let requests = [("terminated", &facts.terminations), ("unprotected", &facts.protections)];
    for (what, requests) in requests {
        for case in cases(history, facts, requests) {
            let case = case?;
            let owners = owners(case.life, case.cluster);
            if !owners.iter().flatten().any(|whose| case.is_permitted(*whose)) {
                return Err(format!(
                    "{}: {} was {what}, which is {:?}; no setting and no fact allows it",
                    clock(case.at),
                    case.cluster.id,
                    owners[0]
                ));
            }
        }
    }
    for (at, number, notice) in &facts.notices {
        let WatchNotice::Found(id, whose) = notice else { continue };
        let of = history.cluster(*id).map(|cluster| owners(&history.lives[*number], cluster));
        if !of.is_some_and(|owners| owners.contains(&Some(*whose))) {
            return Err(format!("{}: {id} was taken for {whose:?}, but is {of:?}", clock(*at)));
        }
    }
    Ok(())
}

/// Law (j).
pub(super) fn no_good_cluster_ends(history: &History, facts: &Facts) -> Result<(), String> {
    let volumes = history.scenario.settings.volumes;
    for case in cases(history, facts, &facts.terminations) {
        let case = case?;
        let shown = case.cluster.shows_defect(volumes);
        let is_good = shown.is_none_or(|(from, _)| case.at < from);
        let rules = history.scenario.settings.rules;
        let may_end = match owners(case.life, case.cluster)[0] {
            Some(Ownership::Ours) => case.is_unjudged() || case.is_stopped() || case.is_orphaned(),
            Some(Ownership::Presumed) => {
                rules.untagged && (case.is_stopped() || case.is_orphaned())
            }
            _ => false,
        };
        if is_good && !may_end {
            return Err(format!(
                "{}: {} was terminated, and nothing is wrong with it",
                clock(case.at),
                case.cluster.id
            ));
        }
    }
    Ok(())
}
