//! Owns the commands that wait for a certain call.

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::faults::{Calls, Counter};
use crate::record::Subject;

/// The moment of a call at which a hook's commands are applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The call has come and nothing was done about it yet.
    Arrival,
    /// The call has had its effect and its answer is made, but not sent.
    #[default]
    Reply,
}

/// When these calls come, apply these commands.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// As in a [`Fault`](crate::Fault).
    #[serde(default)]
    pub service: Option<String>,
    /// As in a [`Fault`](crate::Fault).
    pub operation: String,
    /// Which of those calls, failed ones included; default: the first.
    #[serde(default = "first")]
    pub calls: Calls,
    /// As in a [`Fault`](crate::Fault).
    #[serde(default)]
    pub matching: Option<String>,
    /// Before or after the call has its effect.
    #[serde(default)]
    pub when: Moment,
    /// What to apply, in this order. A command that fails is reported on standard error.
    pub commands: Vec<Command>,
}

impl Hook {
    /// After the first call of an operation, before its reply is sent.
    #[must_use]
    pub fn after_first(operation: &str, commands: Vec<Command>) -> Self {
        Self {
            service: None,
            operation: operation.to_owned(),
            calls: first(),
            matching: None,
            when: Moment::Reply,
            commands,
        }
    }
}

fn first() -> Calls {
    Calls::Nth(1)
}

/// The hooks in force.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
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
    pub(crate) fn due(&mut self, subject: &Subject, moment: Moment) -> Vec<Command> {
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
