//! What the parts of a plan share: steps, and what happens to a piece that others need.

use crate::{
    base::{
        aws_calls::Call,
        lookup::{Lookup, LookupError, LookupErrorKind},
        printable::{Printable, printable},
    },
    setup::{
        piece::Piece,
        plan::{Step, StepAction},
    },
};

/// A step without cost and notes. `checks` are in the catalogue's order.
pub(super) fn step(
    piece: Piece,
    action: StepAction,
    checks: &[&'static str],
    source: &'static str,
) -> Step {
    Step { piece, action, checks: checks.to_vec(), source, cost: None, notes: Vec::new() }
}

impl Step {
    /// The same with another note.
    pub(super) fn noting(mut self, note: impl Into<Printable>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The same with the note, if there is one.
    pub(super) fn noting_any<N: Into<Printable>>(self, notes: impl IntoIterator<Item = N>) -> Self {
        notes.into_iter().fold(self, Self::noting)
    }

    /// The same with this cost.
    pub(super) fn costing(self, cost: String) -> Self {
        Self { cost: Some(cost), ..self }
    }
}

/// A step that is refused.
pub(super) fn refuse(saw: impl Into<Printable>, fix: impl Into<Printable>) -> StepAction {
    StepAction::Refuse { saw: saw.into(), fix: fix.into() }
}

/// The refusal to write a document that names a principal that is gone.
pub(super) fn refuse_gone(principal: &str) -> StepAction {
    let principal = Printable::from(principal);
    refuse(
        printable!("the policy names {principal}, a role or user that was deleted"),
        printable!(
            "remove {principal} from the policy: AWS takes no policy that names it, not even with \
             other changes"
        ),
    )
}

/// A step that cannot be decided.
pub(super) fn unknown(error: &LookupError) -> StepAction {
    StepAction::Unknown { error: error.clone() }
}

/// The error of something that the query did not contain.
pub(super) fn not_asked(call: &Call, what: &str) -> LookupError {
    let why = format!("{what} was not asked for");
    LookupError::new(call.permission, LookupErrorKind::NotAsked, why)
}

/// What happens to something that pieces need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Availability<T> {
    /// It is there once the plan is carried out.
    There(T),
    /// It is not made, for a reason that another step gives.
    Missing(Printable),
    /// It is not known.
    Unknown(LookupError),
}

impl<T> Availability<T> {
    /// What is there.
    pub(super) fn there(&self) -> Option<&T> {
        match self {
            Self::There(thing) => Some(thing),
            Self::Missing(_) | Self::Unknown(_) => None,
        }
    }

    /// The action of a piece that needs this, called `what`, if it is not there.
    pub(super) fn obstacle(&self, what: &str) -> Option<StepAction> {
        match self {
            Self::There(_) => None,
            Self::Missing(why) => Some(refuse(
                printable!("it needs {}, and {why}", Printable::from(what)),
                printable!("first do what is said about {}", Printable::from(what)),
            )),
            Self::Unknown(error) => {
                let message = format!("it needs {what}: {}", error.message);
                Some(StepAction::Unknown { error: LookupError { message, ..error.clone() } })
            }
        }
    }

    /// What happens to the piece of `action`, where it is `thing` if it is there.
    pub(super) fn of(action: &StepAction, thing: T) -> Self {
        match action {
            StepAction::Create | StepAction::Change { .. } | StepAction::Keep => Self::There(thing),
            StepAction::Refuse { saw, .. } => Self::Missing(saw.clone()),
            StepAction::Unknown { error } => Self::Unknown(error.clone()),
        }
    }
}

/// The error of a fact that is neither found nor absent.
pub(super) fn error_of<T>(lookup: &Lookup<T>) -> Option<&LookupError> {
    match lookup {
        Lookup::Denied(error) | Lookup::Unreachable(error) => Some(error),
        Lookup::Found(_) | Lookup::Absent => None,
    }
}
