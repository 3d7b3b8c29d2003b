//! Owns the access control of buckets.

use super::request::denied;
use crate::call::Call;
use crate::reply::Failure;
use emr_world::access_block::is_public;
use emr_world::partition::partition_of;
use emr_world::policy::{self, Ask, Context, Decision};
use emr_world::world::{Bucket, Caller, World};

/// Real S3 answers for a bucket only in its own region, and names that region otherwise. Its
/// location can also be requested from us-east-1; unsigned requests have no region.
pub(super) fn check_region(
    call: &Call,
    operation: &str,
    bucket: &Bucket,
    signed: bool,
) -> Result<(), Failure> {
    let location_anywhere = operation == "GetBucketLocation" && call.region == "us-east-1";
    if !signed || call.region == bucket.region || location_anywhere {
        return Ok(());
    }
    let endpoint = format!("s3.{}.amazonaws.com", bucket.region);
    let message = "The bucket you are attempting to access must be addressed using the specified \
        endpoint. Please send all future requests to this endpoint.";
    Err(Failure::new(301, "PermanentRedirect", message)
        .with("Endpoint", endpoint)
        .with("Bucket", bucket.name.as_str())
        .header("x-amz-bucket-region", bucket.region.as_str()))
}

/// The context of a caller's requests, signed or not.
pub(super) fn context_of(world: &World, caller: Option<&Caller>) -> Context {
    match caller {
        Some(caller) => world.context_of(&caller.arn, &caller.account),
        None => policy::base_context("anonymous", ""),
    }
}

/// Owner expectation, ownership, publicity and bucket policy: whether this caller may do this.
/// Writes of objects evaluate the policy again with their headers.
pub(super) fn admit(
    bucket: &Bucket,
    call: &Call,
    (caller, context): (Option<&Caller>, &Context),
    action: &str,
) -> Result<(), Failure> {
    if let Some(owner) = call.header("x-amz-expected-bucket-owner") {
        if owner.len() != 12 || !owner.chars().all(|it| it.is_ascii_digit()) {
            let message = format!(
                "The value of the expected bucket owner parameter must be an AWS Account ID... \
                 [{owner}]"
            );
            return Err(Failure::new(400, "InvalidBucketOwnerAWSAccountID", message));
        }
        if owner != bucket.account {
            return Err(denied());
        }
    }
    let own = caller.is_some_and(|caller| caller.account == bucket.account);
    if bucket.configurations.requester_pays
        && !own
        && action != "GetBucketRequestPayment"
        && call.header("x-amz-request-payer") != Some("requester")
    {
        return Err(denied());
    }
    if bucket.configurations.mfa_delete
        && action == "DeleteObjectVersion"
        && call.header("x-amz-mfa").is_none()
    {
        let message = "Mfa Authentication must be used for this request";
        return Err(Failure::new(403, "AccessDenied", message));
    }
    let (arn, account) =
        caller.map_or(("anonymous", ""), |caller| (caller.arn.as_str(), caller.account.as_str()));
    let mut context = context.clone();
    if let Some(prefix) = call.query.get("prefix") {
        context.insert("s3:prefix".to_owned(), vec![prefix.clone()]);
    }
    let resource = match &call.subject.key {
        Some(key) => format!("arn:{}:s3:::{}/{key}", partition_of(&bucket.region), bucket.name),
        None => format!("arn:{}:s3:::{}", partition_of(&bucket.region), bucket.name),
    };
    let action_name = format!("s3:{action}");
    let ask = Ask { action: &action_name, resource: &resource, context: &context };
    let opinion = bucket.policy.as_ref().map_or(Decision::ImplicitDeny, |document| {
        policy::evaluate_resource(document, &ask, arn, account)
    });
    let writes_object = action == "PutObject";
    if writes_object {
        // The write itself decides; unsigned writes are denied.
        return caller.map(|_| ()).ok_or_else(denied);
    }
    let public =
        bucket.public && matches!(action, "GetObject" | "ListBucket" | "GetBucketLocation");
    // A public policy then opens the bucket to its own account only.
    let is_restricted = !own
        && bucket.public_access_block.is_some_and(|it| it.restrict_public_buckets)
        && bucket.policy.as_ref().is_some_and(is_public);
    match opinion {
        Decision::Allowed if is_restricted => Err(denied()),
        Decision::Allowed => Ok(()),
        Decision::ImplicitDeny if own || public => Ok(()),
        Decision::ImplicitDeny | Decision::ExplicitDeny => Err(denied()),
    }
}

/// May the caller read the source of a copy?
pub(super) fn admit_source(
    bucket: &Bucket,
    key: &str,
    caller: Option<&Caller>,
) -> Result<(), Failure> {
    let caller = caller.ok_or_else(denied)?;
    let context = policy::base_context(&caller.arn, &caller.account);
    let ask = Ask {
        action: "s3:GetObject",
        resource: &format!("arn:{}:s3:::{}/{key}", partition_of(&bucket.region), bucket.name),
        context: &context,
    };
    let opinion = bucket.policy.as_ref().map_or(Decision::ImplicitDeny, |document| {
        policy::evaluate_resource(document, &ask, &caller.arn, &caller.account)
    });
    let open = bucket.public || bucket.account == caller.account || opinion == Decision::Allowed;
    if opinion == Decision::ExplicitDeny || !open { Err(denied()) } else { Ok(()) }
}
