//! Handles the responses from AWS.

use std::collections::BTreeMap;

use crate::watch::machine::{
    budget::Operation,
    cluster::{Cluster, Wanted},
    conclusion::Cause,
    event::{Action, AwsAnswer, Entry, Judgement, ListedCluster, Look, WatchNotice},
    mutants::mutated,
    ownership::{Ownership, ownership},
    plan::{Id, WatchMode},
    state::State,
    time::Moment,
    watcher::{HINT_TRIES, Watcher},
};

impl<I: Id> Watcher<I> {
    pub(super) fn listed(&mut self, now: Moment, answer: AwsAnswer<Vec<ListedCluster<I>>>) {
        self.search.under_way = false;
        let asked = self.search.asked;
        if std::mem::take(&mut self.search.again) {
            self.ask_search();
        }
        let listings = match answer {
            AwsAnswer::Found(listings) => {
                self.search.succeeded = Some(now);
                self.search.trouble = None;
                if std::mem::take(&mut self.told_lost) {
                    self.actions.push(Action::Tell(WatchNotice::SightBack(None)));
                }
                listings
            }
            AwsAnswer::Absent => Vec::new(),
            AwsAnswer::Failed(why) => {
                // Nothing was observed since that request.
                let since = self.search.trouble.take().map_or(asked, |(_, since)| since);
                self.search.trouble = Some((why, since));
                if mutated!(self.plan, AlarmsAtEveryError) {
                    self.actions.push(Action::Tell(WatchNotice::SightLost(None)));
                }
                Vec::new()
            }
        };
        let mut states: BTreeMap<I, State> = BTreeMap::new();
        for listing in listings {
            let is_new = !self.clusters.contains_key(&listing.id)
                && !self.strangers.contains(&listing.id)
                && !self.plan.earlier.contains(&listing.id);
            if is_new && listing.has_job_name {
                self.look_at_new(now, &listing.id);
            }
            states.insert(listing.id, listing.state);
        }
        let everything = self.last.is_some();
        let open: Vec<(I, Option<State>, Wanted)> = self
            .clusters
            .iter()
            // A cluster that was never described is polled in parallel with the search, not after
            // it. A list that was requested before the cluster was found says nothing about it.
            .filter(|(_, cluster)| {
                let is_known = cluster.described.is_some() && cluster.found < self.search.asked;
                is_known && !cluster.is_settled()
            })
            // The final polls request what is undecided; that other clusters are over counts, too.
            .filter(|(id, cluster)| {
                let ended = states.get(*id) == Some(&State::Over) && !cluster.is_over();
                !everything || (ended && self.is_decided(cluster))
            })
            .map(|(id, cluster)| {
                let listed = states.get(id).copied();
                (id.clone(), listed, cluster.wanted(listed, false, now, &self.plan))
            })
            .collect();
        for (id, listed, wanted) in open {
            let Some(cluster) = self.clusters.get_mut(&id) else { continue };
            let changed = listed.is_some() && listed != cluster.state();
            if let (Some(state), false) = (listed, wanted.cluster) {
                cluster.saw(state);
            }
            if wanted.cluster || wanted.steps || changed {
                self.ask_look(&id, wanted);
            }
        }
        #[cfg(feature = "mutants")]
        for (id, look) in std::mem::take(&mut self.deferred) {
            self.looked_now(now, id, look);
        }
    }

    pub(super) fn looked(&mut self, now: Moment, id: I, look: Look) {
        #[cfg(feature = "mutants")]
        if mutated!(self.plan, JudgementWaitsForSearch) && self.search.under_way {
            self.deferred.push((id, look));
            return;
        }
        self.looked_now(now, id, look);
    }

    pub(super) fn looked_now(&mut self, now: Moment, id: I, look: Look) {
        self.looking.remove(&id);
        let again = self.look_again.remove(&id);
        let look_had_steps = self.clusters.get(&id).is_none_or(|cluster| cluster.look_has_steps);
        let tries = self.hint_looks.remove(&id);
        let standing = self.plan.standing(&id);
        let whose = look.described.found().map(|described| {
            let by_log = tries.is_some() && mutated!(self.plan, LogLineGivesOwnership);
            if by_log {
                Ownership::Ours
            } else {
                ownership(&described.evidence, standing, self.until, &self.plan)
            }
        });
        let is_new = !self.clusters.contains_key(&id);
        if is_new {
            match whose {
                Some(Ownership::NotOurs) => {
                    self.undecided.remove(&id);
                    self.strangers.insert(id);
                    return;
                }
                Some(whose) => self.add_found(now, &id, whose),
                None => {
                    // Clusters that the search lists are requested with every search; clusters that
                    // only the log names, a limited number of times.
                    if let Some(tries) = tries.filter(|tries| *tries < HINT_TRIES)
                        && look.described != AwsAnswer::Absent
                        && !self.undecided.contains_key(&id)
                    {
                        self.hints.push_back((id, tries));
                    } else if look.described == AwsAnswer::Absent {
                        self.hinted_since.remove(&id);
                        self.undecided.remove(&id);
                    }
                    return;
                }
            }
        }
        if again {
            self.ask_look(&id, Wanted::ALL);
        }
        let Some(cluster) = self.clusters.get_mut(&id) else { return };
        if look.steps_told {
            cluster.steps_told = Some(now);
        }
        // Another poll was requested since. This one may show the cluster as it was before the
        // termination request, unless it is over.
        let is_old =
            again && look.described.found().is_none_or(|described| described.state != State::Over);
        let ending = cluster.ending.as_mut().filter(|_| !is_old);
        let moves = ending.map(|ending| ending.looked(now, &look.described));
        let failed = matches!(look.described, AwsAnswer::Failed(_));
        let has_recovered = cluster.describe_failed && !failed;
        cluster.describe_failed = failed;
        if let AwsAnswer::Found(described) = look.described {
            // The final states of its steps are requested as soon as it is over.
            if described.state == State::Over && !look_had_steps {
                self.budget.spend(now, Operation::Steps);
            }
            cluster.take_description(described);
        }
        // Only a presumed ownership can change: a tag was seen, or was not.
        if cluster.whose == Ownership::Presumed
            && let Some(whose) = whose
        {
            cluster.whose = whose;
            if whose == Ownership::NotOurs && !cluster.is_ending() {
                self.clusters.remove(&id);
                self.strangers.insert(id);
                return;
            }
        }
        self.perform(now, &id, moves.unwrap_or_default());
        if failed && mutated!(self.plan, AlarmsAtEveryError) {
            self.actions.push(Action::Tell(WatchNotice::SightLost(Some(id.clone()))));
        }
        self.judge(now, &id, look.judgement);
        // While it could not be described, its steps were not requested, or not recently.
        if whose.is_some()
            && let Some(cluster) = self.clusters.get(&id)
            && !look.steps_told
            && !cluster.is_settled()
            && (is_new || has_recovered)
        {
            self.ask_look(&id, Wanted { cluster: false, steps: true });
        }
        self.decide_again(now, &id);
        self.ask_details(now, false);
    }

    /// A cluster that is unsafe by DescribeCluster alone must not run until its steps are known,
    /// which a throttled or slow ListSteps can delay by a minute. A cluster that is only presumed
    /// to be the run's waits for its steps, because they also decide its ownership.
    pub(super) fn described_first(&mut self, now: Moment, id: &I, look: Look) {
        let AwsAnswer::Found(described) = look.described else { return };
        if !look.judgement.failed {
            return;
        }
        let standing = self.plan.standing(id);
        let whose = ownership(&described.evidence, standing, self.until, &self.plan);
        if matches!(whose, Ownership::Presumed | Ownership::NotOurs) {
            return;
        }
        if !self.clusters.contains_key(id) {
            self.add_found(now, id, whose);
        }
        let Some(cluster) = self.clusters.get_mut(id) else { return };
        if cluster.is_unsafe() {
            return;
        }
        cluster.whose = whose;
        cluster.take_description(described);
        self.judge(now, id, look.judgement);
    }

    /// Adds a cluster of the run that was listed, or that the log named.
    fn add_found(&mut self, now: Moment, id: &I, whose: Ownership) {
        let hinted = self.hinted_since.remove(id);
        let listed = self.undecided.remove(id);
        self.add(now, id, whose);
        // The time limit for its evaluation counts from when it was listed.
        if let Some(cluster) = self.clusters.get_mut(id) {
            cluster.unknown_since = listed.into_iter().chain(hinted).min();
        }
    }

    pub(super) fn add(&mut self, now: Moment, id: &I, whose: Ownership) {
        self.clusters.insert(id.clone(), Cluster::new(whose, now));
        if self.plan.mode != WatchMode::Attach && !self.plan.known.contains(id) {
            self.actions.push(Action::Note(Entry::Cluster(id.clone())));
        }
        self.actions.push(Action::Tell(WatchNotice::Found(id.clone(), whose)));
    }

    pub(super) fn judge(&mut self, now: Moment, id: &I, judgement: Judgement) {
        let always = mutated!(self.plan, UnseenPasses)
            || (mutated!(self.plan, UnseenPassesOnResume) && self.plan.mode == WatchMode::Resume);
        let Some(cluster) = self.clusters.get_mut(id) else { return };
        cluster.judgement = judgement;
        cluster.was_decided |= !judgement.unknown;
        if always {
            cluster.judgement.unseen = false;
        }
        let is_known = cluster.described.is_some() && !judgement.unknown;
        if is_known {
            // A fact that was never observed is not evaluated yet; its time limit counts from when
            // it could be.
            cluster.was_judged |= !cluster.judgement.unseen;
            cluster.unknown_since = None;
            if std::mem::take(&mut cluster.told_lost) {
                self.actions.push(Action::Tell(WatchNotice::SightBack(Some(id.clone()))));
            }
        } else {
            cluster.unknown_since.get_or_insert(now);
        }
        if is_known && !judgement.failed && !std::mem::replace(&mut cluster.told_passed, true) {
            self.actions.push(Action::Tell(WatchNotice::Passed(id.clone(), judgement.unseen)));
        }
        // Verified at last: nothing more is requested of EMR.
        if cluster.cause == Some(Cause::Unjudged)
            && (is_known || judgement.failed)
            && let Some(ending) = &mut cluster.ending
        {
            ending.withdraw(!judgement.failed);
        }
        if judgement.failed && !cluster.is_unsafe() && cluster.end.is_none() {
            self.must_end(now, id, Cause::Failed);
        }
    }
}
