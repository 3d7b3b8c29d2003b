//! What follows from each error that AWS documents for a call of setup. Sources: the "Errors" of
//! the calls in the API references of IAM, AWS KMS, Amazon S3 and Amazon EMR.

use emr_simulator::FaultKind;

use super::*;

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    /// It is tried again: AWS does not know everywhere yet what was made before, or another change
    /// of the same thing is under way.
    Again,
    /// Setup ends with it, after one call: to try again would change nothing.
    Stops,
    /// The call may have taken effect: it is not made again, and what it should have made is looked
    /// at.
    LookedAt,
}

use Follows::{Again, LookedAt, Stops};

const ERRORS: [(&str, u16, &str, Follows); 37] = [
    ("CreateRole", 409, "EntityAlreadyExists", Stops),
    ("CreateRole", 409, "LimitExceeded", Stops),
    ("CreateRole", 400, "MalformedPolicyDocument", Stops),
    ("CreateRole", 409, "ConcurrentModification", Again),
    ("CreateRole", 500, "ServiceFailure", LookedAt),
    ("AttachRolePolicy", 404, "NoSuchEntity", Again),
    ("AttachRolePolicy", 400, "PolicyNotAttachable", Stops),
    ("AttachRolePolicy", 409, "LimitExceeded", Stops),
    ("CreateInstanceProfile", 409, "EntityAlreadyExists", Stops),
    ("CreateInstanceProfile", 409, "ConcurrentModification", Again),
    ("AddRoleToInstanceProfile", 404, "NoSuchEntity", Again),
    ("AddRoleToInstanceProfile", 409, "EntityAlreadyExists", Stops),
    ("AddRoleToInstanceProfile", 400, "UnmodifiableEntity", Stops),
    ("PutRolePolicy", 404, "NoSuchEntity", Again),
    ("PutRolePolicy", 409, "LimitExceeded", Stops),
    ("CreateKey", 400, "MalformedPolicyDocumentException", Again),
    ("CreateKey", 400, "LimitExceededException", Stops),
    ("CreateKey", 400, "UnsupportedOperationException", Stops),
    ("CreateKey", 500, "KMSInternalException", LookedAt),
    ("CreateKey", 503, "DependencyTimeoutException", LookedAt),
    ("CreateAlias", 400, "AlreadyExistsException", Stops),
    ("CreateAlias", 400, "LimitExceededException", Stops),
    ("CreateAlias", 400, "NotFoundException", Again),
    ("EnableKeyRotation", 400, "NotFoundException", Again),
    ("EnableKeyRotation", 400, "DisabledException", Stops),
    ("CreateBucket", 409, "BucketAlreadyOwnedByYou", Stops),
    ("CreateBucket", 409, "BucketAlreadyExists", Stops),
    ("CreateBucket", 409, "OperationAborted", Again),
    ("CreateBucket", 400, "TooManyBuckets", Stops),
    ("PutBucketEncryption", 404, "NoSuchBucket", Again),
    ("PutBucketEncryption", 409, "OperationAborted", Again),
    ("PutBucketPolicy", 400, "MalformedPolicy", Stops),
    ("PutBucketPolicy", 409, "OperationAborted", Again),
    ("PutObject", 409, "ConditionalRequestConflict", Again),
    ("PutObject", 412, "PreconditionFailed", Stops),
    ("CreateSecurityConfiguration", 400, "InvalidRequestException", Stops),
    ("CreateSecurityConfiguration", 500, "InternalServerException", LookedAt),
];

#[tokio::test]
async fn each_documented_error_is_tried_again_or_looked_at_or_ends_it() {
    let mut wrong = Vec::new();
    for (operation, status, code, follows) in ERRORS {
        let account = Account::empty();
        let (code, message) = (code.to_owned(), "a message".to_owned());
        let kind = FaultKind::Error { status, code: code.clone(), message };
        account.fault(Fault::nth(operation, 1, kind));
        let (result, steps) = account.apply(&everything()).await;
        let calls = account.writes().iter().filter(|it| *it == operation).count();
        let saw = match &result {
            Ok(()) => Again,
            Err(_) if status >= 500 => LookedAt,
            Err(_) => Stops,
        };
        // Two roles are made.
        let each = if operation == "CreateRole" && follows == Again { 2 } else { 1 };
        let expected = each + usize::from(follows == Again);
        let names_it = result.as_ref().err().is_none_or(|error| error.to_string().contains(&code));
        let is_recorded = result.is_ok() || steps.last().is_some_and(|step| !step.verified);
        if (saw, calls, names_it, is_recorded) != (follows, expected, true, true) {
            wrong.push(format!(
                "{operation} {code}: {saw:?} after {calls} calls, not {follows:?} after \
                 {expected}: {result:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
