//! Owns which topic a request is about, and the errors that the operations share.

use crate::call::Call;
use crate::reply::Failure;
use emr_world::world::Caller;

pub(super) const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

pub(super) fn invalid(what: &str) -> Failure {
    Failure::new(400, "InvalidParameter", format!("Invalid parameter: {what}"))
}

pub(super) fn not_found() -> Failure {
    Failure::new(404, "NotFound", "Topic does not exist")
}

pub(super) fn denied(call: &Call, caller: &Caller, arn: &str) -> Failure {
    let operation = &call.subject.operation;
    let message = format!(
        "User: {} is not authorized to perform: SNS:{operation} on resource: {arn}",
        caller.arn
    );
    Failure::new(403, "AuthorizationError", message)
}

/// The topic of a request, which is in the caller's account and in the region that is asked.
pub(super) fn topic_of(call: &Call, caller: &Caller) -> Result<String, Failure> {
    let arn = call
        .form
        .get("TopicArn")
        .ok_or_else(|| invalid("TopicArn or TargetArn Reason: no value for required parameter"))?;
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", _, "sns", region, account, _] = parts[..] else {
        return Err(invalid("TopicArn"));
    };
    if region != call.region {
        return Err(invalid("TopicArn"));
    }
    if account != caller.account {
        return Err(denied(call, caller, arn));
    }
    Ok(arn.clone())
}
