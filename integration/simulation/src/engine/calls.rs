//! AWS calls: they are sent, served, and answered.

use crate::{
    engine::{
        Engine,
        queue::{Call, CallKind, Item, Reply, text},
    },
    guard::Machine,
    history::World,
    model::{
        cluster::Id,
        emr::Termination,
        faults::{Fate, FaultKind, Operation, fate},
        knowledge::{RawDetails, RawLook, shown, steps_told},
    },
    scenario::{Defect, Ms},
    watch::machine::{
        event::{AwsAnswer, Event, Question, Refusal, RefusalKind},
        state::State,
    },
};

impl<M: Machine> Engine<M> {
    fn draw_fate(&mut self, life: usize, operation: Operation) -> Fate {
        self.calls.push((self.now, operation));
        let fate = fate(&self.scenario.faults, operation, self.now, &mut self.random);
        let met = match (fate.failed, fate.throttled, fate.no_effect) {
            (Some(kind), ..) => Some(kind),
            (None, true, _) => Some(FaultKind::Throttled),
            (None, _, true) => Some(FaultKind::NoEffect),
            (None, ..) => (fate.answered > 3_000).then_some(FaultKind::Slow),
        };
        if let Some(kind) = met {
            self.world(World::Fault(kind, operation));
        }
        if fate.throttled {
            let answer = Box::new(Reply::Event(Event::Throttled));
            self.queue.push(self.now + fate.answered / 2, Item::Deliver { life, answer });
        }
        fate
    }

    fn send(&mut self, life: usize, kind: CallKind, fates: &[Fate]) {
        let served = fates.iter().filter_map(|fate| fate.served).min().unwrap_or(0);
        let call = Call { life, sent: self.now, kind };
        self.queue.push(self.now + served, Item::Serve(Box::new(call)));
    }

    pub(super) fn ask(&mut self, question: Question<Id>) {
        let Some(guard) = &self.guard else { return };
        let life = guard.life;
        let known = |id| guard.knowledge.get(&id).cloned().unwrap_or_default();
        let mut operations = Vec::new();
        match &question {
            Question::Search => operations.push(Operation::List),
            Question::Look { id, cluster, steps } => {
                operations.extend(cluster.then_some(Operation::Describe));
                operations.extend(steps.then_some(Operation::Steps));
                let asks = *cluster || *steps;
                let wants = asks && known(*id).wants_security();
                operations.extend(wants.then_some(Operation::SecurityConfiguration));
            }
            Question::Details { id, groups, volumes } => {
                let bootstrap = known(*id).wants_bootstrap();
                operations.extend(bootstrap.then_some(Operation::BootstrapActions));
                operations.extend(groups.then_some(Operation::Groups));
                let volumes = *volumes && self.scenario.settings.volumes;
                operations.extend(volumes.then_some(Operation::Instances));
            }
            Question::Survivors => {}
        }
        let parts: Vec<(Operation, Fate)> = operations
            .into_iter()
            .map(|operation| (operation, self.draw_fate(life, operation)))
            .collect();
        let fates: Vec<Fate> = parts.iter().map(|(_, fate)| *fate).collect();
        self.send(life, CallKind::Question(question, parts), &fates);
    }

    pub(super) fn ask_termination(&mut self, id: Id) {
        let Some(life) = self.guard.as_ref().map(|guard| guard.life) else { return };
        let fate = self.draw_fate(life, Operation::Terminate);
        self.send(life, CallKind::Terminate(id, fate), &[fate]);
    }

    pub(super) fn ask_protection(&mut self, id: Id) {
        let Some(life) = self.guard.as_ref().map(|guard| guard.life) else { return };
        let fate = self.draw_fate(life, Operation::Protection);
        self.send(life, CallKind::Unprotect(id, fate), &[fate]);
    }

    /// A call has reached AWS: it takes effect, and its response is sent.
    pub(super) fn serve(&mut self, call: Call) {
        let Call { life, sent, kind } = call;
        let (answered, reply) = match kind {
            CallKind::Question(question, mut parts) => {
                let mut answered = parts.iter().map(|(_, fate)| fate.answered).max().unwrap_or(1);
                if self.shows_end(&question, &parts) {
                    // The final states of its steps count: the driver requests them as soon as it
                    // sees that a cluster is over.
                    let fate = self.draw_fate(life, Operation::Steps);
                    answered += fate.answered;
                    parts.push((Operation::Steps, fate));
                }
                self.describe_first(life, sent, answered, &question, &parts);
                (answered, self.answer(&question, &parts))
            }
            CallKind::Terminate(id, fate) => {
                let answer = self.terminate(id, &fate);
                (fate.answered, Reply::Event(Event::TerminationAnswered(id, answer)))
            }
            CallKind::Unprotect(id, fate) => {
                if fate.served.is_some() {
                    self.emr.unprotect(id);
                    self.protect_again(id);
                }
                let answer = refusal(&fate, Operation::Protection).map_or(Ok(()), Err);
                (fate.answered, Reply::Event(Event::ProtectionAnswered(id, answer)))
            }
        };
        let at = (sent + answered).max(self.now);
        self.queue.push(at, Item::Deliver { life, answer: Box::new(reply) });
    }

    /// DescribeCluster is answered before the other calls of a look.
    fn describe_first(
        &mut self,
        life: usize,
        sent: Ms,
        last: Ms,
        question: &Question<Id>,
        parts: &[(Operation, Fate)],
    ) {
        let Question::Look { id, cluster: true, steps: true } = question else { return };
        let described = parts.iter().find(|(operation, _)| *operation == Operation::Describe);
        let Some(part) = described.filter(|(_, fate)| fate.answered < last) else { return };
        let raw = self.look(*id, std::slice::from_ref(part));
        let answer = Box::new(Reply::DescribedFirst(*id, raw));
        self.queue.push((sent + part.1.answered).max(self.now), Item::Deliver { life, answer });
    }

    /// Whether a poll that did not request a cluster's steps shows that it is over.
    fn shows_end(&self, question: &Question<Id>, parts: &[(Operation, Fate)]) -> bool {
        let Question::Look { id, cluster: true, steps: false } = question else { return false };
        let described = parts
            .iter()
            .any(|(operation, fate)| *operation == Operation::Describe && fate.failed.is_none());
        described && self.emr.describe(*id, self.now).is_some_and(|seen| seen.state == State::Over)
    }

    /// Somebody sets protection again, once, before the next event.
    fn protect_again(&mut self, id: Id) {
        if let Some(cluster) = self.emr.cluster_mut(id)
            && std::mem::take(&mut cluster.traits.protected_again)
        {
            cluster.protected = true;
            self.world(World::ProtectedAgain(id));
        }
    }

    fn terminate(&mut self, id: Id, fate: &Fate) -> Result<(), Refusal> {
        let taken = fate.served.map(|_| self.emr.terminate(id, self.now, !fate.no_effect));
        if let Some(refusal) = refusal(fate, Operation::Terminate) {
            return Err(refusal);
        }
        match taken {
            Some(Termination::Protected) => Err(Refusal {
                kind: RefusalKind::Other,
                text: "could not shut down as it has termination protection".to_owned(),
            }),
            Some(Termination::Accepted) | None => Ok(()),
        }
    }

    fn answer(&self, question: &Question<Id>, parts: &[(Operation, Fate)]) -> Reply {
        let now = self.now;
        match question {
            Question::Search => {
                let failed = parts.iter().find_map(|(_, fate)| fate.failed);
                Reply::Event(Event::Listed(match failed {
                    Some(kind) => AwsAnswer::Failed(text(kind, Operation::List)),
                    None => AwsAnswer::Found(self.emr.list(now)),
                }))
            }
            Question::Look { id, .. } => Reply::Look(*id, self.look(*id, parts)),
            Question::Details { id, .. } => Reply::Details(*id, self.details(*id, now, parts)),
            Question::Survivors => Reply::Event(Event::Survivors(self.runner.has_survivor(now))),
        }
    }

    fn look(&self, id: Id, parts: &[(Operation, Fate)]) -> RawLook {
        let now = self.now;
        let cluster = self.emr.cluster(id);
        let adopted = self.journal.adoptable.contains(&id);
        let mut raw = RawLook::default();
        for (operation, fate) in parts {
            let failed = fate.failed.map(|kind| text(kind, *operation));
            match operation {
                Operation::Describe => {
                    raw.describe = Some(match failed {
                        Some(why) => Err(why),
                        None => Ok(self
                            .emr
                            .describe(id, now)
                            .map(|seen| (seen, cluster.map(shown).unwrap_or_default()))),
                    });
                }
                Operation::Steps => {
                    raw.steps = Some(match (failed, cluster) {
                        (None, Some(cluster)) => Some(steps_told(cluster, now, adopted)),
                        _ => None,
                    });
                }
                Operation::SecurityConfiguration => {
                    let bad = cluster
                        .is_some_and(|cluster| cluster.traits.defect == Some(Defect::Replaced));
                    raw.security = Some(failed.is_none().then_some(bad));
                }
                _ => {}
            }
        }
        raw
    }

    fn details(&self, id: Id, now: Ms, parts: &[(Operation, Fate)]) -> RawDetails {
        let mut raw = RawDetails::default();
        let Some(cluster) = self.emr.cluster(id) else { return raw };
        for (operation, fate) in parts {
            let told = fate.failed.is_none();
            match operation {
                Operation::BootstrapActions => raw.bootstrap = Some(told),
                Operation::Groups => raw.groups = Some(told),
                Operation::Instances => {
                    let any = cluster.shows_instances(now);
                    let bad = cluster.shows_bad_volume(now);
                    raw.volumes = Some(told.then_some((any, bad)));
                }
                _ => {}
            }
        }
        raw
    }
}

/// The refusal of a call, if there was one.
fn refusal(fate: &Fate, operation: Operation) -> Option<Refusal> {
    let kind = match fate.failed? {
        FaultKind::Denied | FaultKind::OtherAccount => RefusalKind::Denied,
        FaultKind::Throttled => RefusalKind::Throttled,
        FaultKind::Outage | FaultKind::Lost | FaultKind::Slow | FaultKind::NoEffect => {
            RefusalKind::Other
        }
    };
    let text = fate.failed.map(|kind| text(kind, operation)).unwrap_or_default();
    Some(Refusal { kind, text })
}
