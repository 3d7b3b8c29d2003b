//! The report for machines: one JSON object, with a version of its own form.

use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    checks::Finding,
    exit::Outcome,
    facts::{Facts, Written},
    gaps::Gap,
    plan::{Documents, Plan},
    runner_config::Change,
    settings::Policy,
    timeline::Moment,
    verdict::Verdict,
    watch::Watched,
};

/// The version of the form below; it grows when a field changes its meaning or goes away.
pub(crate) const VERSION: u32 = 1;

/// The record of one run.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    /// [`VERSION`].
    pub version: u32,
    /// This program's version.
    pub guard: &'static str,
    /// The run's id, which is also the value of its tag.
    pub run: &'a str,
    /// `run` or `check`.
    pub command: &'static str,
    /// Whether the verdict is by some checks only, at the user's wish.
    pub only: bool,
    /// When the guard started.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// When this record was written.
    #[serde(with = "time::serde::rfc3339")]
    pub ended: OffsetDateTime,
    /// What went in.
    pub inputs: Inputs<'a>,
    /// What AWS and the runner said.
    pub facts: &'a Facts,
    /// What the checks found: pre-flight first, then on the run.
    pub findings: Vec<&'a Finding>,
    /// What stays open whatever the checks prove.
    pub gaps: &'a [Gap],
    /// Launch or refuse.
    pub verdict: Verdict,
    /// The run's clusters, when it was launched.
    pub watched: Option<&'a Watched>,
    /// What was found of the objects that it wrote.
    pub written: &'a [Written],
    /// What happened when.
    pub timeline: Vec<Moment>,
    /// How it ended.
    pub outcome: Outcome,
    /// The exit code, after remapping.
    pub exit_code: u8,
}

/// The inputs of a run, by digest.
#[derive(Debug, Serialize)]
pub struct Inputs<'a> {
    /// The runner config's name.
    pub config: &'a str,
    /// SHA-256 of the runner config as read.
    pub config_sha256: &'a str,
    /// SHA-256 of the sealed config, when it was sealed.
    pub sealed_sha256: Option<&'a str>,
    /// What the seal set.
    pub sealed: &'a [Change],
    /// The policy in force.
    pub policy: &'a Policy,
    /// Its storage targets and enrichments.
    pub documents: &'a Documents,
    /// What the run would touch, by its arguments and config.
    pub plan: &'a Plan,
}
