//! Makes one AWS call of this module, by AWS's name of the operation, for the contract tests.

use serde_json::{Value, json};

use crate::{
    aws::clients::Aws,
    base::{
        lookup::Lookup,
        names::{AccountId, BucketName, S3Object},
    },
    contracts::about::About,
    facts::account_state::{BucketEncryptionSettings, PolicyHolder, PublicAccessBlockSettings},
    settings::policy::EncryptionKind,
    setup::{
        piece::{NamedConfiguration, Role},
        present::PieceReader,
        record::MadeIds,
        undo::{instance_profiles, role_policies},
        uses::of_archive,
        writes::{SetupWriter, WriteDone, WriteFailure},
    },
};

/// The result of the call; `None` if this module does not make it.
pub(crate) async fn ask(aws: &Aws, operation: &str, about: About<'_>) -> Option<Value> {
    if let Some(learnt) = Box::pin(read(aws, operation, about)).await {
        return Some(learnt);
    }
    let answer = match operation.find("Bucket").or_else(|| operation.find("Object")) {
        Some(_) => Box::pin(of_s3(aws, operation, about)).await,
        None if operation.contains("PublicAccess") => Box::pin(of_s3(aws, operation, about)).await,
        None => Box::pin(of_others(aws, operation, about)).await,
    };
    Some(match answer? {
        Ok(WriteDone { request, made }) => json!({"done": made, "request": request.is_some()}),
        Err(WriteFailure { code, unclear, request, .. }) => json!({
            "failed": code, "may_have_taken_effect": unclear, "request": request.is_some(),
        }),
    })
}

async fn read(aws: &Aws, operation: &str, about: About<'_>) -> Option<Value> {
    let account = AccountId::new("123456789012");
    let reader = PieceReader { aws, account: &account };
    let shown = |lookup: Lookup<Value>| serde_json::to_value(lookup).unwrap();
    Some(match operation {
        "ListKeys" => shown(reader.keys().await.map(Value::from)),
        "ListResourceTags" => shown(reader.tag(about.text("key")).await.map(Value::from)),
        "ListRolePolicies" => {
            shown(role_policies(&aws.iam, about.text("name")).await.map(Value::from))
        }
        "ListInstanceProfilesForRole" => {
            shown(instance_profiles(&aws.iam, about.text("name")).await.map(Value::from))
        }
        // Whether one of them names this archive.
        "ListSecurityConfigurations" => {
            format!("{:?}", of_archive(aws, about.text("archive")).await).into()
        }
        _ => return None,
    })
}

type WriteAnswer = Result<WriteDone, WriteFailure>;

/// A writer, and a document that it writes.
fn writer(aws: &Aws) -> (SetupWriter, Value) {
    let document = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }]});
    (SetupWriter::new(aws, &AccountId::new("123456789012")), document)
}

async fn of_others(aws: &Aws, operation: &str, about: About<'_>) -> Option<WriteAnswer> {
    let (writer, trust) = writer(aws);
    let (name, key) = (about.text("name"), about.text("key"));
    let holder = match about.text("user") {
        "" => PolicyHolder::Role(name.to_owned()),
        user => PolicyHolder::User(user.to_owned()),
    };
    let allowing = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::acme-log",
    }]});
    let of_key = json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "All", "Effect": "Allow", "Action": "kms:*", "Resource": "*",
        "Principal": {"AWS": about.text("principal")},
    }]});
    Some(match operation {
        "CreateRole" => {
            let path = Role::NO_PATH.to_owned();
            let (name, attached) = (name.to_owned(), Vec::new());
            writer.create_role(&Role { name, path, trust, attached }).await
        }
        "AttachRolePolicy" => writer.attach_role_policy(name, about.text("policy")).await,
        "DetachRolePolicy" => writer.detach_role_policy(name, about.text("policy")).await,
        "DeleteRole" => writer.delete_role(name).await,
        "CreateInstanceProfile" => writer.create_instance_profile(name).await,
        "AddRoleToInstanceProfile" => writer.add_role(name, about.text("role")).await,
        "RemoveRoleFromInstanceProfile" => writer.remove_role(name, about.text("role")).await,
        "DeleteInstanceProfile" => writer.delete_instance_profile(name).await,
        "PutRolePolicy" | "PutUserPolicy" => {
            writer.put_inline_policy(&holder, about.text("policy"), &allowing).await
        }
        "DeleteRolePolicy" | "DeleteUserPolicy" => {
            writer.delete_inline_policy(&holder, about.text("policy")).await
        }
        "CreateKey" => writer.create_key(&of_key, "emr-etl/mark").await,
        "CreateAlias" => writer.create_alias(about.text("alias"), key).await,
        "EnableKeyRotation" => writer.enable_rotation(key).await,
        "DisableKeyRotation" => writer.disable_rotation(key).await,
        "PutKeyPolicy" => writer.put_key_policy(key, &of_key).await,
        "CreateSecurityConfiguration" => {
            let content = json!({"EncryptionConfiguration": {
                "EnableAtRestEncryption": false, "EnableInTransitEncryption": false,
            }});
            let configuration = NamedConfiguration { name: name.to_owned(), content };
            writer.create_configuration(&configuration).await
        }
        "DeleteSecurityConfiguration" => writer.delete_configuration(name).await,
        _ => return None,
    })
}

async fn of_s3(aws: &Aws, operation: &str, about: About<'_>) -> Option<WriteAnswer> {
    let (mut writer, _) = writer(aws);
    let bucket: BucketName = about.text("bucket").parse().unwrap();
    writer.bucket_is_in(&bucket, "eu-west-1");
    Some(match operation {
        "CreateBucket" => writer.create_bucket(&bucket, false).await,
        "DeleteBucket" => writer.delete_bucket(&bucket).await,
        "PutBucketEncryption" => {
            let settings = BucketEncryptionSettings {
                kind: EncryptionKind::SseKms,
                key: Some(about.text("key").to_owned()),
                bucket_key: true,
                blocks_sse_c: true,
            };
            writer.put_bucket_encryption(&bucket, &settings).await
        }
        "DeleteBucketEncryption" => writer.delete_bucket_encryption(&bucket).await,
        "PutPublicAccessBlock" => {
            let off = PublicAccessBlockSettings::default();
            writer.put_public_access_block(&bucket, off).await
        }
        "DeletePublicAccessBlock" => writer.delete_public_access_block(&bucket).await,
        "PutBucketPolicy" => {
            let statement = json!({
                "Effect": "Deny", "Principal": "*", "Action": "s3:*",
                "Resource": format!("arn:aws:s3:::{bucket}/*"),
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            });
            let policy = match about.text("policy") {
                "" => json!({"Version": "2012-10-17", "Statement": [statement]}),
                text => serde_json::from_str(text).unwrap(),
            };
            writer.put_bucket_policy(&bucket, &policy).await
        }
        "DeleteBucketPolicy" => writer.delete_bucket_policy(&bucket).await,
        "DeleteObject" => {
            let object = S3Object { bucket, key: about.text("key").to_owned() };
            let etag = Some(about.text("etag").to_owned());
            let made = MadeIds { etag, ..MadeIds::default() };
            writer.delete_object(&object, &made).await
        }
        _ => return None,
    })
}
