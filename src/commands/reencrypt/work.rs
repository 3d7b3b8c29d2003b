//! What stays the same throughout a `reencrypt`.

use crate::{
    base::prices::Prices, commands::cli::ReencryptArguments, reencrypt::scope::RepairScope,
    report::reporter::Report, settings::resolve::Settings,
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
    pub(crate) fn say_refusals(&self) {
        for refusal in &self.scope.refusals {
            self.report.say(&format!("--apply would be refused: {refusal}"));
        }
    }
}
