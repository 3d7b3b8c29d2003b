//! The shared context of a `reencrypt` command.

use crate::{
    base::{prices::Prices, printable::printable},
    commands::{cli::ReencryptArguments, reencrypt::options::acknowledged},
    reencrypt::{error::ReencryptError, scope::RepairScope, side_effects::SideEffects},
    report::reporter::Report,
    settings::resolve::Settings,
};

/// The shared context of a `reencrypt` command.
#[derive(Clone, Copy)]
pub(super) struct RepairContext<'a> {
    pub(crate) arguments: &'a ReencryptArguments,
    pub(crate) settings: &'a Settings,
    pub(crate) scope: &'a RepairScope,
    pub(crate) report: &'a Report,
}

impl RepairContext<'_> {
    pub(crate) fn quiet(&self) -> bool {
        self.settings.report.quiet || self.arguments.json
    }

    pub(crate) fn prices(&self) -> Prices {
        Prices::with(&self.settings.prices)
    }

    /// Reports why the safety switch would refuse any change.
    pub(crate) fn say_refusals(&self, effects: &SideEffects) {
        let objections = effects.objections(acknowledged(self.arguments));
        for refusal in self.scope.refusals.iter().chain(&objections) {
            self.report.say(printable!("--apply would be refused: {refusal}"));
        }
    }

    /// Reports the side effects of the changes, and stops if there are objections. `begun`: how
    /// many objects an earlier run has changed.
    pub(crate) fn check_side_effects(
        &self,
        effects: &SideEffects,
        begun: usize,
    ) -> Result<(), ReencryptError> {
        for line in &effects.said {
            self.report.say(printable!("{line}"));
        }
        let objections = effects.objections(acknowledged(self.arguments));
        match (self.arguments.apply && !objections.is_empty(), begun) {
            (false, _) => Ok(()),
            (true, 0) => Err(ReencryptError::Refused(objections.join("; "))),
            (true, _) => Err(ReencryptError::RefusedMore(objections.join("; "))),
        }
    }
}
