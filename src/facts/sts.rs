//! The identity of a set of credentials.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    aws::{
        access::{self, CredentialOrigin, Explanation},
        clients::Aws,
    },
    base::{
        aws_calls,
        lookup::{Lookup, LookupError},
        names::AccountId,
        printable::{Printable, printable},
        reason::Reason,
    },
    settings::aws_options::CredentialSource,
};

/// An answer of `sts:GetCallerIdentity`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Identity")]
pub struct CallerIdentity {
    /// The account.
    pub account: AccountId,
    /// The user's or role session's ARN.
    pub arn: String,
}

/// Asks STS for the identity of the client's credentials.
pub(crate) async fn identity(sts: &aws_sdk_sts::Client) -> Lookup<CallerIdentity> {
    Lookup::from_call(&aws_calls::GET_CALLER_IDENTITY, &[], sts.get_caller_identity().send().await)
        .and_then(|answer| {
            let identity = answer
                .account
                .zip(answer.arn)
                .map(|(account, arn)| CallerIdentity { account: AccountId::new(&account), arn });
            let call = &aws_calls::GET_CALLER_IDENTITY;
            let none = || Lookup::unusable(call, "it holds no account, or no ARN");
            identity.map_or_else(none, Lookup::Found)
        })
}

/// Why no AWS call is possible with the guard's credentials, if that is so. It makes one test call.
pub(crate) async fn probe(aws: &Aws, source: CredentialSource) -> Result<(), NoAccess> {
    match identity(&aws.sts).await {
        Lookup::Denied(error) | Lookup::Unreachable(error) => no_access(&error, source).await,
        Lookup::Found(_) | Lookup::Absent => Ok(()),
    }
}

/// The same for a call that has failed already.
pub(crate) async fn no_access(
    error: &LookupError,
    source: CredentialSource,
) -> Result<(), NoAccess> {
    let Some(cause) = error.cause.as_ref().filter(|cause| cause.blocks_everything()) else {
        return Ok(());
    };
    let origin = CredentialOrigin::read(source).await;
    let explanation = access::explain(cause, &BTreeSet::new(), &origin);
    Err(NoAccess { explanation, said: error.to_string().into() })
}

/// No AWS call is possible.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .explanation.what)]
pub(crate) struct NoAccess {
    explanation: Explanation,
    said: Printable,
}

impl NoAccess {
    /// The message about it; `consequence` is what was not done.
    pub(crate) fn reason(&self, consequence: &str) -> Reason {
        let what = printable!("{consequence}: {}", self.explanation.what);
        let reason = Reason::new(what).detail(printable!("seen: {}", self.said));
        self.explanation.fixes.iter().cloned().fold(reason, Reason::fix)
    }

    /// The same as lines for standard error.
    pub(crate) fn lines(&self, consequence: &str) -> Vec<Printable> {
        let mut lines = vec![
            printable!("{consequence}: {}", self.explanation.what),
            printable!("  seen: {}", self.said),
        ];
        lines.extend(self.explanation.fixes.iter().map(|fix| printable!("  fix: {fix}")));
        lines
    }
}
