//! The report of a `setup`: what was planned, what was made and changed, with the ids of AWS's
//! requests. The command writes it, its HTML page is rendered from it, and `setup --undo` reads it.
//! `schema-setup.json` beside this file describes it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    aws::trust::AwsConnections,
    base::{json::pretty, outcome::Outcome},
    report::caller::LocalCaller,
    setup::{
        piece::MADE_KEY,
        plan::{SetupPlan, Step, StepAction},
        record::{SetupRecord, UndoneStep},
    },
};

/// The version of this format; it increases when a field changes its meaning or is removed.
pub(crate) const VERSION: u32 = 1;

/// The schema of the field `version`.
fn version_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": VERSION})
}

/// The result of one `setup` by emr-etl-guard.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "The document of one setup by emr-etl-guard")]
#[schemars(rename = "SetupDocument")]
pub(crate) struct SetupReport {
    /// The version of this format.
    #[schemars(schema_with = "version_schema")]
    pub(crate) version: u32,
    /// The version of the program that wrote it.
    pub(crate) guard: String,
    /// `setup`.
    pub(crate) command: String,
    /// The mode of the command.
    pub(crate) mode: SetupMode,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) started: OffsetDateTime,
    /// When this report was written.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) ended: OffsetDateTime,
    /// Who ran it.
    pub(crate) who: LocalCaller,
    /// The runner config that it was made for; empty where it was made for a sentinel.
    pub(crate) config: String,
    /// The account.
    pub(crate) account: String,
    /// The region of clusters, keys and security configurations.
    pub(crate) region: String,
    /// What was planned, in order; for `apply`, before it was carried out. Empty for `undo` and
    /// `retire`, which plan nothing.
    pub(crate) plan: Vec<PlannedStep>,
    /// What was made and changed; none if nothing was to be.
    pub(crate) record: Option<SetupRecord>,
    /// What was taken back, or left and why, in order.
    pub(crate) taken_back: Vec<UndoneStep>,
    /// The security configuration that the runner config has to name; none if nothing was planned.
    pub(crate) security_configuration: Option<String>,
    /// The required checks that are left to people.
    pub(crate) left: Vec<String>,
    /// The certificate authorities that verified the AWS servers, and the proxies that were used.
    pub(crate) connections: AwsConnections,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// The exit code, after remapping.
    pub(crate) exit_code: u8,
}

/// What `setup` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SetupMode {
    /// It planned, and changed nothing.
    Plan,
    /// It carried the plan out.
    Apply,
    /// It took back what an earlier setup had made.
    Undo,
    /// It deleted a security configuration that is no longer used.
    Retire,
}

/// A step of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PlannedStep {
    /// The kind of piece: `bucket policy`.
    pub(crate) kind: String,
    /// What it is of: a bucket's name, an ARN.
    pub(crate) subject: String,
    /// What has to be done.
    pub(crate) action: PlannedAction,
    /// The checks that ask for it.
    pub(crate) checks: Vec<String>,
    /// The section of the setup guide or of AWS's documentation.
    pub(crate) source: String,
    /// What it costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cost: Option<String>,
    /// What it does not change, and what it means for others.
    pub(crate) notes: Vec<String>,
    /// The settings before a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Value>,
    /// The settings as they should be. A key that does not exist yet is `${emr-etl-guard:key-arn}`.
    pub(crate) wanted: Value,
    /// What was seen, where it is refused or unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<String>,
    /// What its owner can do, where it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "remediation")]
    pub(crate) fix: Option<String>,
}

/// What has to be done about a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PlannedAction {
    /// It does not exist, and is made.
    Create,
    /// It exists with other settings, and is changed.
    Change,
    /// It is as required.
    Keep,
    /// It cannot be made or changed without weakening or replacing what exists.
    Refuse,
    /// It could not be looked at.
    Unknown,
}

impl PlannedStep {
    /// The steps of a plan.
    ///
    /// # Errors
    /// When a piece has no JSON form, which would be a bug.
    pub(crate) fn all(plan: &SetupPlan) -> serde_json::Result<Vec<Self>> {
        plan.steps.iter().map(Self::of).collect()
    }

    fn of(step: &Step) -> serde_json::Result<Self> {
        let (action, before, seen, fix) = match &step.action {
            StepAction::Create => (PlannedAction::Create, None, None, None),
            StepAction::Change { before } => {
                (PlannedAction::Change, Some(before.clone()), None, None)
            }
            StepAction::Keep => (PlannedAction::Keep, None, None, None),
            StepAction::Refuse { saw, fix } => {
                (PlannedAction::Refuse, None, Some(saw.to_string()), Some(fix.to_string()))
            }
            StepAction::Unknown { error } => {
                (PlannedAction::Unknown, None, Some(error.to_string()), None)
            }
        };
        Ok(Self {
            kind: step.piece.kind().to_owned(),
            subject: step.piece.subject(),
            action,
            checks: step.checks.iter().map(|check| (*check).to_owned()).collect(),
            source: step.source.to_owned(),
            cost: step.cost.clone(),
            notes: step.notes.iter().map(ToString::to_string).collect(),
            before,
            wanted: step.piece.settings()?,
            seen,
            fix,
        })
    }

    /// The settings as they should be, as JSON text for people.
    pub(crate) fn wanted_text(&self) -> String {
        pretty(&self.wanted).unwrap_or_default().replace(MADE_KEY, "(the ARN of the new key)")
    }
}
