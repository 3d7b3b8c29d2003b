//! Who a set of credentials belongs to.

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::{aws_calls, lookup::Lookup, names::AccountId};

/// An answer of `sts:GetCallerIdentity`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Identity")]
pub struct CallerIdentity {
    /// The account.
    pub account: AccountId,
    /// The user's or role session's ARN.
    pub arn: String,
}

/// Asks STS who the client's credentials are.
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
