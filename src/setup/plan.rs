//! A plan: what exists, what would be made or changed, in order and with reasons, and what is left
//! alone.

use serde::Serialize;
use serde_json::Value;

use crate::{
    base::{lookup::LookupError, printable::Printable},
    setup::piece::Piece,
};

/// A whole plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SetupPlan {
    /// The steps, in the order in which they are carried out.
    pub(crate) steps: Vec<Step>,
    /// The security configuration that the runner config has to name after the plan is carried out;
    /// none if the plan cannot say so yet.
    pub(crate) security_configuration: Option<String>,
    /// What only a person can do or decide, in order.
    pub(crate) advice: Vec<Advice>,
}

/// One piece and what has to be done about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Step {
    /// The piece as it should be.
    pub(crate) piece: Piece,
    /// What has to be done.
    #[serde(flatten)]
    pub(crate) action: StepAction,
    /// The names of the checks that ask for it, in the catalogue's order; the option, where no
    /// check does. None asks for what other pieces need, such as the role of an instance profile.
    pub(crate) checks: Vec<&'static str>,
    /// The section of the setup guide or of AWS's documentation.
    pub(crate) source: &'static str,
    /// What it costs, if it does: "$1.00 a month for the key, and $0.03 for 10,000 requests".
    pub(crate) cost: Option<String>,
    /// What it does not change, and what it means for others.
    pub(crate) notes: Vec<Printable>,
}

/// What has to be done about a piece.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub(crate) enum StepAction {
    /// It does not exist, and is made.
    Create,
    /// It exists with other settings, and is changed.
    Change {
        /// The present settings, in the form of the same field of the piece.
        before: Value,
    },
    /// It is as required, and is not touched.
    Keep,
    /// It cannot be made or changed without weakening or replacing something that exists.
    Refuse {
        /// What was seen.
        saw: Printable,
        /// What the owner can do.
        fix: Printable,
    },
    /// It is not known whether it has to be made or changed.
    Unknown {
        /// Why not.
        error: LookupError,
    },
}

/// Something that only a person can do or decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Advice {
    /// The check that finds it, if one does.
    pub(crate) check: Option<&'static str>,
    /// What was seen.
    pub(crate) saw: Printable,
    /// What to do.
    pub(crate) fix: Printable,
}

impl SetupPlan {
    /// The steps that change something, in order.
    pub(crate) fn changes(&self) -> impl Iterator<Item = &Step> {
        let changes =
            |step: &&Step| matches!(step.action, StepAction::Create | StepAction::Change { .. });
        self.steps.iter().filter(changes)
    }

    /// The steps that prevent the plan from being complete.
    pub(crate) fn obstacles(&self) -> impl Iterator<Item = &Step> {
        let stops = |step: &&Step| {
            matches!(step.action, StepAction::Refuse { .. } | StepAction::Unknown { .. })
        };
        self.steps.iter().filter(stops)
    }

    /// Whether the plan has this piece as one that is there after it. The policy and the rotation
    /// of a new key are parts of it.
    pub(crate) fn has(&self, piece: &Piece) -> bool {
        let is_of_key = matches!(piece, Piece::KeyPolicy(_) | Piece::KeyRotation(_));
        let mut there = self.steps.iter().filter(|step| {
            !matches!(step.action, StepAction::Refuse { .. } | StepAction::Unknown { .. })
        });
        there.any(|step| {
            let planned = &step.piece;
            (planned.kind() == piece.kind() && planned.subject() == piece.subject())
                || (is_of_key && matches!(planned, Piece::Key(_)))
        })
    }

    /// Whether some step could not be decided.
    pub(crate) fn is_unknown(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, StepAction::Unknown { .. }))
    }
}

impl Step {
    /// Whether the step changes something that this check asks for on `subject`. A check on a
    /// bucket is about that bucket; all others are about the account's one piece.
    pub(crate) fn resolves(&self, check: &str, subject: &str) -> bool {
        let of_bucket = matches!(
            self.piece,
            Piece::Bucket(_)
                | Piece::BucketEncryption(_)
                | Piece::BucketPolicy(_)
                | Piece::PublicAccessBlock(_)
        );
        matches!(self.action, StepAction::Create | StepAction::Change { .. })
            && self.checks.contains(&check)
            && (!of_bucket || self.piece.subject() == subject)
    }
}
