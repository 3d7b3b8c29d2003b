//! All inputs of a verdict, and the verdict.

use crate::{
    aws::clients::Aws,
    checks::{finding::Finding, residual_risks::ResidualRisk, verdict::Verdict},
    evidence::{chain::ChainLink, delivery::ReportDelivery, journal::StateDir},
    facts::{gather::Facts, written::OutputSurvey},
    report::json,
};

/// All inputs of the verdict, and the verdict.
#[derive(Clone, Copy)]
pub(crate) struct Judged<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) findings: &'a [Finding],
    pub(crate) residual_risks: &'a [ResidualRisk],
    pub(crate) verdict: Verdict,
    /// The check of the objects that the run wrote; empty before it has ended.
    pub(crate) written: &'a [OutputSurvey],
    /// The AWS clients, with the requests so far.
    pub(crate) aws: &'a Aws,
    /// The runner, where there is one.
    pub(crate) runner: Option<&'a json::RunnerProgram>,
    /// Where the report is delivered.
    pub(crate) evidence: &'a ReportDelivery<'a>,
    /// The position of the run's report in the chain; a check has none.
    pub(crate) chain: Option<(&'a StateDir, &'a ChainLink)>,
}
