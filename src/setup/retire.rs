//! Deletes one security configuration that `setup` made and that nothing uses any more.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    aws::{clients::Aws, patience::Patience},
    base::{
        digest::sha256,
        lookup::{Lookup, LookupError},
    },
    evidence::journal::open_runs,
    facts::emr::{self, canonical},
    setup::{
        apply::SettlingTime,
        journal::{SetupJournal, SetupJournalError},
        piece::{MADE_KEY, NamedConfiguration, Piece},
        record::{AppliedAction, AppliedCall, SetupRecord, UndoResult, UndoneStep},
        uses::{InUse, Uses, UsesQuery},
        writes::SetupWriter,
    },
};

/// The time for which throttled calls are tried again.
const PATIENCE: Duration = Duration::from_mins(10);

/// Why a security configuration is not deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RetireError {
    /// An endpoint must not be called.
    #[error("nothing was deleted: {0}")]
    Endpoint(String),
    /// There is none of that name.
    #[error("there is no security configuration {0}; nothing was deleted")]
    Absent(String),
    /// It cannot be read, or it is not known whether it is used.
    #[error("the security configuration {name} was left alone: {why}; fix that, then try again")]
    Unknown {
        /// The security configuration.
        name: String,
        /// Why not.
        why: String,
    },
    /// `setup` has not made it, as far as can be seen.
    #[error(
        "the security configuration {0} was left alone: nothing shows that setup made it (neither \
         its journal nor a report, and its name does not end with the digest of its content); if \
         you know that nothing uses it: `aws emr delete-security-configuration --name {0}`"
    )]
    NotMade(String),
    /// It is in use.
    #[error("the security configuration {name} was left alone: {by} uses it")]
    InUse {
        /// The security configuration.
        name: String,
        /// What uses it.
        by: String,
    },
    /// EMR refused.
    #[error("the security configuration {name} was not deleted: {why}")]
    Refused {
        /// The security configuration.
        name: String,
        /// Why.
        why: String,
    },
    /// It was to be deleted, and cannot be looked at afterwards.
    #[error(
        "whether the security configuration {name} is gone cannot be seen: {error}; EMR was asked \
         to delete it; fix that, then run the same command again"
    )]
    NotVerified {
        /// The security configuration.
        name: String,
        /// Why it cannot be seen.
        error: Box<LookupError>,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] SetupJournalError),
}

/// What decides whether a security configuration can be deleted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetireInputs<'a> {
    /// The security configuration.
    pub(crate) name: &'a str,
    /// The security configurations that configs or settings on the command line name.
    pub(crate) configured: &'a BTreeSet<String>,
    /// The state directory, with the journals of open runs.
    pub(crate) state_dir: &'a Path,
    /// A report of the setup that made it, if one is given.
    pub(crate) record: Option<&'a SetupRecord>,
}

/// Deletes the security configuration, and looks at it afterwards.
///
/// # Errors
/// [`RetireError`] when it is in use, not made by `setup`, or cannot be deleted.
pub(crate) async fn retire(
    aws: &Aws,
    journal: &mut SetupJournal,
    inputs: RetireInputs<'_>,
) -> Result<UndoneStep, RetireError> {
    retire_at(aws, journal, inputs, SettlingTime::REAL).await
}

pub(super) async fn retire_at(
    aws: &Aws,
    journal: &mut SetupJournal,
    inputs: RetireInputs<'_>,
    time: SettlingTime,
) -> Result<UndoneStep, RetireError> {
    let name = inputs.name;
    let aws = &aws.patient(&Patience::until(Instant::now() + PATIENCE));
    let content = unused(aws, journal.made_configuration(name), inputs).await?;
    let refused = |why: String| RetireError::Refused { name: name.to_owned(), why };
    let writer = SetupWriter::new(aws, &journal.identity().account);
    let answer = writer.delete_configuration(name).await;
    let request = match &answer {
        Ok(done) => done.request.clone(),
        Err(failure) => failure.request.clone(),
    };
    if let Err(failure) = answer.as_ref().map_err(Clone::clone).map(drop)
        && !failure.unclear
    {
        return Err(refused(failure.to_string()));
    }
    let mut attempt = 0;
    while time.pause(attempt).await {
        attempt += 1;
        match emr::security_configuration_content(&aws.emr, name).await {
            Lookup::Absent => {
                let piece = NamedConfiguration { name: name.to_owned(), content };
                let piece = Piece::SecurityConfiguration(piece);
                journal.undone(&piece)?;
                let operation = "DeleteSecurityConfiguration".to_owned();
                return Ok(UndoneStep {
                    piece,
                    result: UndoResult::Undone { stays: None },
                    calls: vec![AppliedCall { operation, request }],
                    at: OffsetDateTime::now_utc(),
                });
            }
            Lookup::Found(_) => {}
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                return Err(RetireError::NotVerified {
                    name: name.to_owned(),
                    error: Box::new(error),
                });
            }
        }
    }
    Err(refused(match answer {
        Ok(_) => "it is still there".to_owned(),
        Err(failure) => failure.to_string(),
    }))
}

/// Whether the security configuration would be deleted now: `setup` made it (`made`: by its
/// journal), and nothing uses it. Nothing is changed.
///
/// # Errors
/// As [`retire`].
pub(crate) async fn may_be_retired(
    aws: &Aws,
    made: bool,
    inputs: RetireInputs<'_>,
) -> Result<(), RetireError> {
    let aws = aws.patient(&Patience::until(Instant::now() + PATIENCE));
    unused(&aws, made, inputs).await.map(drop)
}

/// The content of a security configuration that `setup` made and that nothing uses.
async fn unused(aws: &Aws, made: bool, inputs: RetireInputs<'_>) -> Result<Value, RetireError> {
    if let Some(refused) = aws.refused_endpoints().next() {
        return Err(RetireError::Endpoint(refused.refusal()));
    }
    let name = inputs.name;
    let content = match emr::security_configuration_content(&aws.emr, name).await {
        Lookup::Found(content) => content,
        Lookup::Absent => return Err(RetireError::Absent(name.to_owned())),
        Lookup::Denied(error) | Lookup::Unreachable(error) => return Err(unknown(name, &error)),
    };
    let is_recorded = inputs.record.is_some_and(|record| is_made_in(record, name, &content));
    if !made && !is_recorded && !is_named_by_content(name, &content) {
        return Err(RetireError::NotMade(name.to_owned()));
    }
    let in_use = |by: String| RetireError::InUse { name: name.to_owned(), by };
    if inputs.configured.contains(name) {
        return Err(in_use("a config or the settings of this command".to_owned()));
    }
    let runs = open_runs(inputs.state_dir).map_err(|error| RetireError::Unknown {
        name: name.to_owned(),
        why: format!("the open runs are not known ({error})"),
    })?;
    if let Some(run) = runs.iter().find(|run| run.prepared.selector.verified.name == name) {
        return Err(in_use(format!("the open run {}", run.prepared.run)));
    }
    match Uses::look(aws, UsesQuery::OF_CONFIGURATION).await.of_configuration(name) {
        InUse::No => {}
        InUse::By(by) => return Err(in_use(by)),
        InUse::Unknown(why) => return Err(RetireError::Unknown { name: name.to_owned(), why }),
    }
    Ok(content)
}

fn unknown(name: &str, error: &LookupError) -> RetireError {
    RetireError::Unknown { name: name.to_owned(), why: format!("it cannot be read ({error})") }
}

fn is_made_in(record: &SetupRecord, name: &str, content: &Value) -> bool {
    record.steps.iter().any(|step| match &step.piece {
        Piece::SecurityConfiguration(made) => {
            step.action == AppliedAction::Create && made.name == name && made.content == *content
        }
        _ => false,
    })
}

/// Whether the name ends with the digest of the content, as `setup` names what it makes: of the
/// content itself, or of the content before its key was made.
fn is_named_by_content(name: &str, content: &Value) -> bool {
    let mut before = content.clone();
    without_key(&mut before);
    [content, &before].into_iter().any(|content| {
        let digest = sha256(canonical(content));
        name.strip_suffix(&digest[..8]).is_some_and(|start| start.ends_with('-'))
    })
}

/// Puts the placeholder of the key in place of each key's ARN.
fn without_key(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with("arn:") && text.contains(":key/") => {
            *text = MADE_KEY.to_owned();
        }
        Value::Array(items) => items.iter_mut().for_each(without_key),
        Value::Object(fields) => fields.values_mut().for_each(without_key),
        _ => {}
    }
}
