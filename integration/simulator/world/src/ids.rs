//! Owns the names of accounts, regions and resources.

use md5::{Digest, Md5};

use crate::values::hex;

/// The account that owns things when a command does not name one.
pub const DEFAULT_ACCOUNT: &str = "123456789012";

/// The region things are in when a command does not name one.
pub const DEFAULT_REGION: &str = "eu-west-1";

/// A random version 4 UUID.
pub fn uuid(random: &mut fastrand::Rng) -> String {
    let bits = random.u128(..);
    let hex = format!("{bits:032x}");
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

/// Account, region and `alias/…` or key id out of a KMS ARN.
pub fn parse_kms_arn(text: &str) -> Option<(&str, &str, &str)> {
    let rest = text.strip_prefix("arn:")?;
    let parts: Vec<&str> = rest.splitn(5, ':').collect();
    let [_, "kms", region, account, resource] = parts.as_slice() else {
        return None;
    };
    let name = resource.strip_prefix("key/").unwrap_or(resource);
    Some((account, region, name))
}

/// An id as IAM makes them, such as `AROA…`: the same for the same text.
#[must_use]
pub fn iam_id(prefix: &str, text: &str) -> String {
    let digest = hex(&Md5::digest(text)).to_uppercase();
    format!("{prefix}{}", &digest[..17])
}

/// The id by which ACLs name an account.
#[must_use]
pub fn canonical_id(account: &str) -> String {
    let digest = hex(&Md5::digest(format!("canonical {account}")));
    format!("{digest}{digest}")
}
