//! All that a verdict rests on, and the verdict.

use crate::{
    aws::clients::Aws,
    checks::{finding::Finding, residual_risks::ResidualRisk, verdict::Verdict},
    evidence::{chain::ChainLink, delivery::ReportDelivery, journal::StateDir},
    facts::{gather::Facts, written::OutputSurvey},
    report::json,
};

/// All that the verdict rests on, and the verdict.
#[derive(Clone, Copy)]
pub(crate) struct Judged<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) findings: &'a [Finding],
    pub(crate) residual_risks: &'a [ResidualRisk],
    pub(crate) verdict: Verdict,
    /// What was found of the objects that the run wrote; nothing before it has ended.
    pub(crate) written: &'a [OutputSurvey],
    /// How AWS was asked, and what.
    pub(crate) aws: &'a Aws,
    /// The runner, where there is one.
    pub(crate) runner: Option<&'a json::RunnerProgram>,
    /// What becomes of the document.
    pub(crate) evidence: &'a ReportDelivery<'a>,
    /// The place of the run's document among the others; a check's has none.
    pub(crate) chain: Option<(&'a StateDir, &'a ChainLink)>,
}
