//! What stays the same throughout a `reencrypt`.

use crate::{
    base::{prices::Prices, printable::printable},
    commands::{cli::ReencryptArguments, reencrypt::options::acknowledged},
    reencrypt::{error::ReencryptError, scope::RepairScope, side_effects::SideEffects},
    report::reporter::Report,
    settings::resolve::Settings,
};

/// What stays the same throughout a command.
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

    /// Says why the safety switch would let nothing be changed.
    pub(crate) fn say_refusals(&self, effects: &SideEffects) {
        let objections = effects.objections(acknowledged(self.arguments));
        for refusal in self.scope.refusals.iter().chain(&objections) {
            self.report.say(printable!("--apply would be refused: {refusal}"));
        }
    }

    /// Says what changes set off, and stops where something speaks against them. `begun`: so many
    /// objects of an earlier run were changed before.
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
