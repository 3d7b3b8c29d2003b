//! Owns the policies of buckets, and their public access blocks.

use serde_json::Value;

use super::request::{NAMESPACE, Request, denied};
use crate::call::Service;
use crate::reply::{Answer, Failure, Reply};
use crate::xml::{self, Xml};
use emr_world::access_block::{PublicAccessBlock, is_public};
use emr_world::partition::partition_of;
use emr_world::policy;
use emr_world::policy_document::{
    DocumentKind, GrammarError, canonical, check_grammar, counted_length, principals,
};
use emr_world::world::{Bucket, World};

/// The most bytes of a bucket policy, without white space.
const LARGEST_POLICY: usize = 20_480;

pub(super) fn bucket_policy(bucket: &Bucket) -> Answer {
    let policy = bucket.policy.as_ref().ok_or_else(|| no_such_policy(bucket))?;
    let body = policy.to_string().into_bytes();
    Ok(Reply { body, ..Reply::empty(200).header("content-type", "application/json") })
}

pub(super) fn policy_status(bucket: &Bucket) -> Answer {
    let policy = bucket.policy.as_ref().ok_or_else(|| no_such_policy(bucket))?;
    let mut xml = Xml::new();
    xml.root("PolicyStatus", NAMESPACE, |xml| {
        xml.text("IsPublic", is_public(policy).to_string());
    });
    Ok(Reply::xml(xml))
}

pub(super) fn public_access_block(bucket: &Bucket) -> Answer {
    let Some(block) = bucket.public_access_block else {
        return Err(Failure::new(
            404,
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
        )
        .with("BucketName", bucket.name.as_str()));
    };
    let mut xml = Xml::new();
    xml.root("PublicAccessBlockConfiguration", NAMESPACE, |xml| {
        for (setting, on) in block.settings() {
            xml.text(setting, on.to_string());
        }
    });
    Ok(Reply::xml(xml))
}

fn no_such_policy(bucket: &Bucket) -> Failure {
    Failure::new(404, "NoSuchBucketPolicy", "The bucket policy does not exist")
        .with("BucketName", bucket.name.as_str())
}

impl Request<'_> {
    pub(super) fn put_policy(&self, world: &mut World) -> Answer {
        let document = self.checked_policy(world)?;
        if let Some(bucket) = world.buckets.get_mut(&self.bucket) {
            bucket.policy = Some(document);
        }
        Ok(Reply::empty(204))
    }

    /// The policy of the request, as S3 stores it.
    fn checked_policy(&self, world: &World) -> Result<Value, Failure> {
        let is_object = self.call.body.first() == Some(&b'{');
        let document: Value =
            serde_json::from_slice(&self.call.body).ok().filter(|_| is_object).ok_or_else(
                || malformed("Policies must be valid JSON and the first byte must be '{'"),
            )?;
        if counted_length(&document) > LARGEST_POLICY {
            return Err(malformed("Policy exceeds the maximum allowed document size."));
        }
        check_grammar(&document, DocumentKind::Bucket)
            .map_err(|error| malformed(&describe(&error)))?;
        let bucket = world.buckets.get(&self.bucket);
        let region = bucket.map_or("", |bucket| bucket.region.as_str());
        let partition = partition_of(region);
        for resource in resources(&document) {
            let rest = resource.strip_prefix(&format!("arn:{partition}:s3:::"));
            let name = rest.unwrap_or_default().split('/').next().unwrap_or_default();
            if resource != "*" && !policy::wildcard(name, &self.bucket) {
                return Err(malformed("Policy has invalid resource"));
            }
        }
        for (kind, name) in principals(&document) {
            if !world.knows_principal(&kind, &name, partition) {
                let detail = if name == "*" { name } else { format!("\"{kind}\" : \"{name}\"") };
                return Err(malformed("Invalid principal in policy").with("Detail", detail));
            }
        }
        if let Some(problem) = policy::unsupported(&document) {
            return Err(Failure::not_modelled(Service::S3, &format!("policy: {problem}")));
        }
        let account = bucket.and_then(|bucket| world.account_blocks.get(&bucket.account));
        let own = bucket.and_then(|bucket| bucket.public_access_block.as_ref());
        let is_blocked = [account, own].into_iter().flatten().any(|it| it.block_public_policy);
        if is_blocked && is_public(&document) {
            let caller = self.caller.map_or("anonymous", |caller| caller.arn.as_str());
            let message = format!(
                "User: {caller} is not authorized to perform: s3:PutBucketPolicy on resource: \
                 \"arn:{partition}:s3:::{}\" because public policies are prevented by the \
                 BlockPublicPolicy setting in S3 Block Public Access.",
                self.bucket
            );
            return Err(Failure { message, ..denied() });
        }
        Ok(canonical(document, partition))
    }

    /// Also succeeds where there is no policy.
    pub(super) fn delete_policy(&self, world: &mut World) -> Reply {
        if let Some(bucket) = world.buckets.get_mut(&self.bucket) {
            bucket.policy = None;
        }
        Reply::empty(204)
    }

    /// A setting that the request does not name is off afterwards.
    pub(super) fn put_public_access_block(&self, world: &mut World) -> Answer {
        let body = self.body();
        if !xml::has(&body, "PublicAccessBlockConfiguration")
            && !body.contains("<PublicAccessBlockConfiguration ")
        {
            return Err(Failure::new(
                400,
                "MalformedXML",
                "The XML you provided was not well-formed or did not validate against our \
                 published schema",
            ));
        }
        let is_on = |name: &str| xml::text(&body, name).is_some_and(|it| it == "true");
        let block = PublicAccessBlock {
            block_public_acls: is_on("BlockPublicAcls"),
            ignore_public_acls: is_on("IgnorePublicAcls"),
            block_public_policy: is_on("BlockPublicPolicy"),
            restrict_public_buckets: is_on("RestrictPublicBuckets"),
        };
        if let Some(bucket) = world.buckets.get_mut(&self.bucket) {
            bucket.public_access_block = Some(block);
        }
        Ok(Reply::empty(200))
    }

    /// Also succeeds where there is none.
    pub(super) fn delete_public_access_block(&self, world: &mut World) -> Reply {
        if let Some(bucket) = world.buckets.get_mut(&self.bucket) {
            bucket.public_access_block = None;
        }
        Reply::empty(204)
    }
}

fn resources(document: &Value) -> Vec<String> {
    let named = policy::statements(document).iter().flat_map(|statement| {
        ["Resource", "NotResource"].into_iter().filter_map(|element| statement.get(element))
    });
    named.flat_map(policy::texts).collect()
}

fn describe(error: &GrammarError) -> String {
    match error {
        GrammarError::NoStatement => "Missing required field Statement".to_owned(),
        GrammarError::Missing(element) => format!("Missing required field {element}"),
        GrammarError::Action(_) => "Policy has invalid action".to_owned(),
        GrammarError::Resource(_) => "Policy has invalid resource".to_owned(),
        GrammarError::Version => "The policy must contain a valid version string".to_owned(),
        _ => "Invalid policy syntax.".to_owned(),
    }
}

fn malformed(message: &str) -> Failure {
    Failure::new(400, "MalformedPolicy", message)
}
