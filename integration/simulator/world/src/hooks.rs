//! Owns the commands that wait for a certain call.

use crate::command::{Command, Hook, Moment};
use crate::faults::Counter;
use crate::subject::Subject;

/// The hooks in force.
#[derive(Debug, Default)]
pub struct Hooks {
    hooks: Vec<(Hook, Counter)>,
}

impl Hooks {
    pub(crate) fn add(&mut self, hook: Hook) {
        let counter = Counter::new(hook.calls.clone());
        self.hooks.push((hook, counter));
    }

    pub(crate) fn clear(&mut self) {
        self.hooks.clear();
    }

    /// The commands due now.
    pub fn due(&mut self, subject: &Subject, moment: Moment) -> Vec<Command> {
        let mut due = Vec::new();
        for (hook, counter) in &mut self.hooks {
            let meant = hook.when == moment
                && subject.matches(
                    hook.service.as_deref(),
                    &hook.operation,
                    hook.matching.as_deref(),
                );
            if meant && counter.hit() {
                due.extend(hook.commands.iter().cloned());
            }
        }
        due
    }
}
