//! Performs the watcher's actions.

use crate::{
    engine::{
        Engine,
        queue::{Item, Reply},
    },
    guard::Machine,
    history::What,
    model::{cluster::Id, runner::RunnerItem},
    scenario::{MINUTE, SECOND},
    watch::machine::{
        event::{Action, Entry, Event, Force, Question, RunnerEnd, WatchNotice},
        plan::WatchMode,
    },
};

impl<M: Machine> Engine<M> {
    pub(super) fn act(&mut self, action: Action<Id>) {
        self.record(What::Action(action.clone()));
        match action {
            Action::Ask(Question::Survivors) => self.ask_survivors(),
            Action::Ask(question) => self.ask(question),
            Action::Terminate(id) => self.ask_termination(id),
            Action::Unprotect(id) => self.ask_protection(id),
            Action::Wake(moment) => {
                let Some(guard) = &mut self.guard else { return };
                guard.wake = Some(moment);
                let (life, at) = (guard.life, guard.world_time(moment));
                self.queue.push(at.max(self.now), Item::Wake { life });
            }
            Action::StopRunner(force) => self.stop_runner(force),
            Action::EndSurvivors => {
                self.runner.end_survivor(self.now, self.scenario.survivor.as_ref());
                if let Some(gone) = self.runner.survivor_gone {
                    self.queue.push(gone.max(self.now), Item::Runner(RunnerItem::SurvivorEnds));
                }
            }
            Action::Note(Entry::Cluster(id)) => {
                self.journal.known.insert(id);
            }
            Action::Note(Entry::Stopped { terminate }) => {
                self.journal.stopped_to_end |= terminate;
            }
            Action::Tell(notice) => self.told(&notice),
            Action::Finish(conclusion) => self.finish(conclusion),
        }
    }

    fn ask_survivors(&mut self) {
        let Some(life) = self.guard.as_ref().map(|guard| guard.life) else { return };
        let left = self.runner.has_survivor(self.now);
        if !left {
            self.lives[life].survivors_gone.get_or_insert(self.now);
        }
        let answer = Box::new(Reply::Event(Event::Survivors(left)));
        self.queue.push(self.now + 5, Item::Deliver { life, answer });
    }

    fn stop_runner(&mut self, force: Force) {
        if !self.runner.is_alive() {
            return;
        }
        match force {
            Force::Ask => {
                let asked = std::mem::replace(&mut self.runner.asked, true);
                let on_ask = self.scenario.runner.as_ref().and_then(|runner| runner.on_ask);
                if let Some(after) = on_ask.filter(|_| !asked) {
                    let die = Item::Runner(RunnerItem::Die(RunnerEnd::Killed));
                    self.queue.push(self.now + after, die);
                }
            }
            Force::Kill => {
                let die = Item::Runner(RunnerItem::Die(RunnerEnd::Killed));
                self.queue.push(self.now + 20, die);
            }
        }
    }

    /// A person reads a notice, and acts if asked to.
    fn told(&mut self, notice: &WatchNotice<Id>) {
        let asks = match notice {
            WatchNotice::Help(id, _)
            | WatchNotice::Unsafe(id, _, false)
            | WatchNotice::EndUnconfirmed(id, _) => Some(*id),
            _ => None,
        };
        let is_attached = self
            .guard
            .as_ref()
            .is_some_and(|guard| self.lives[guard.life].mode == WatchMode::Attach);
        if let (Some(id), Some(after)) = (asks, self.scenario.person)
            && !self.helped.contains(&id)
        {
            self.helped.push(id);
            let after = if is_attached { after.min(5 * MINUTE) } else { after };
            self.queue.push(self.now + after.max(SECOND), Item::Person(id));
        }
    }
}
