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
        access::AccessCause,
        aws_calls,
        lookup::{Lookup, LookupError, LookupErrorKind},
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
        Lookup::Denied(error) | Lookup::Unreachable(error) if error.cause.is_some() => {
            NoAccess::by(&error, aws, source).await.map_or(Ok(()), Err)
        }
        Lookup::Found(_) | Lookup::Absent | Lookup::Denied(_) | Lookup::Unreachable(_) => Ok(()),
    }
}

/// AWS, or one of its services, cannot be called, by a cause that other calls share.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .explanation.what)]
pub(crate) struct NoAccess {
    explanation: Explanation,
    said: Printable,
}

impl NoAccess {
    /// The cause of a failed call; none if the call failed by something that others need not share,
    /// such as throttling.
    pub(crate) async fn by(
        error: &LookupError,
        aws: &Aws,
        source: CredentialSource,
    ) -> Option<Self> {
        let explanation = match (&error.cause, error.kind) {
            (Some(cause), _) => {
                let host = match cause {
                    AccessCause::Unreachable(host) => Some(host.clone()),
                    _ => None,
                };
                let origin = CredentialOrigin::read(source).await;
                access::explain(cause, &host.into_iter().collect(), &origin)
            }
            (None, LookupErrorKind::Denied) => match aws.denies_as_a_whole(&error.operation) {
                Some(service) => access::denied(service, &BTreeSet::from([&*error.operation])),
                None => access::denied_call(&error.operation),
            },
            (None, _) => return None,
        };
        Some(Self { explanation, said: error.to_string().into() })
    }

    /// The same, with `what` as what could not be seen.
    pub(crate) fn unseen(self, what: &str) -> Self {
        Self {
            said: printable!("{} could not be seen: {}", Printable::from(what), self.said),
            ..self
        }
    }

    /// The same with one more fix.
    pub(crate) fn or(mut self, fix: &str) -> Self {
        self.explanation.fixes.push(fix.into());
        self
    }

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
