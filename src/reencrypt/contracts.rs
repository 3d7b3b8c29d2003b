//! Makes one AWS call of this module, by AWS's name of the operation, for the contract tests.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::{
    aws::clients::Aws,
    base::{lookup::Lookup, names::BucketName},
    contracts::about::About,
    reencrypt::{
        cost::Cost,
        generate,
        machine::{
            event::{CallAnswer, CopyOrder},
            snapshot::Snapshot,
            state::TargetEncryption,
        },
        object_calls::ObjectCalls,
        pace::CopyPace,
        place::ObjectId,
        run, scope,
        snapshot::{self, HiddenMetadata},
    },
};

/// The result of the call; `None` if this module does not make it.
pub(crate) async fn ask(aws: &Aws, operation: &str, about: About<'_>) -> Option<Value> {
    let s3 = &aws.s3;
    let bucket = about.text("bucket");
    let name = || bucket.parse::<BucketName>().unwrap();
    match operation {
        "GetBucketWebsite" => {
            let found = generate::is_website(s3, bucket).await;
            return Some(json!(found.map_err(|error| error.to_string())));
        }
        "GetBucketOwnershipControls" => return Some(json!(scope::acls(s3, &name()).await)),
        "GetObjectLockConfiguration" => return Some(json!(scope::locks(s3, &name()).await)),
        _ => {}
    }
    let version = Some(about.text("version")).filter(|it| !it.is_empty()).map(str::to_owned);
    let place = ObjectId { bucket: bucket.to_owned(), key: about.text("key").to_owned(), version };
    let hidden = HiddenMetadata {
        acls: operation == "GetObjectAcl",
        locks: matches!(operation, "GetObjectRetention" | "GetObjectLegalHold"),
    };
    let look = async || snapshot::look(s3, &place, None, hidden).await;
    let part = |show: fn(Snapshot) -> Value| async move { json!(look().await.map(show)) };
    match operation {
        "HeadObject" => return Some(part(|it| json!(it)).await),
        "GetObjectTagging" => return Some(part(|it| json!(it.tags)).await),
        "GetObjectAcl" => return Some(part(|it| json!(it.grants)).await),
        "GetObjectRetention" | "GetObjectLegalHold" => {
            return Some(part(|it| json!(it.lock)).await);
        }
        _ => {}
    }
    let target = TargetEncryption {
        algorithm: if about.text("kms_key").is_empty() { "AES256" } else { "aws:kms" }.to_owned(),
        key: Some(about.text("kms_key")).filter(|it| !it.is_empty()).map(str::to_owned),
        bucket_key: !about.text("kms_key").is_empty(),
    };
    let (unlimited, spent) = (CopyPace::new(None, None), Mutex::new(Cost::default()));
    let writer = run::writer(s3);
    let calls = ObjectCalls {
        s3,
        writer: &writer,
        pace: &unlimited,
        spent: &spent,
        place: &place,
        target: &target,
    };
    calls.ask(operation, about).await
}

impl ObjectCalls<'_> {
    async fn ask(&self, operation: &str, about: About<'_>) -> Option<Value> {
        match operation {
            "ListMultipartUploads" => {
                return Some(match self.uploads().await {
                    Ok(uploads) => uploads
                        .into_iter()
                        .map(|it| json!({"id": it.id, "initiated": it.initiated}))
                        .collect(),
                    Err(error) => json!(error),
                });
            }
            // Deletes the newest listed version.
            "DeleteObject" => {
                let version = self.versions().await.unwrap().into_iter().find(|it| !it.is_marker);
                return Some(told(self.delete(version.unwrap().id).await));
            }
            "RestoreObject" => return Some(told(self.restore(None, Some(1)).await)),
            "AbortMultipartUpload" => return Some(told(self.abort(about.text("upload")).await)),
            _ => {}
        }
        let seen = snapshot::look(self.s3, self.place, None, HiddenMetadata::default()).await;
        let Lookup::Found(before) = seen else { return Some(json!({"not seen": seen})) };
        let order = CopyOrder {
            before: Box::new(before),
            lock: crate::reencrypt::machine::snapshot::ObjectLock::default(),
            if_match: true,
            source: None,
        };
        let mut parts = Vec::new();
        Some(match operation {
            "CopyObject" => told(self.copy(&order).await),
            "CreateMultipartUpload" => told(self.create_upload(&order).await),
            "ListParts" | "UploadPartCopy" | "CompleteMultipartUpload" => {
                // An existing upload, or a new one.
                let there = self.uploads().await.unwrap().into_iter().next().map(|it| it.id);
                let upload = match there {
                    Some(id) => id,
                    None => match self.create_upload(&order).await {
                        CallAnswer::Done(made) => made.upload.unwrap(),
                        other => return Some(told(other)),
                    },
                };
                let copied = self.copy_parts(&upload, &order, &mut parts).await;
                if operation == "CompleteMultipartUpload" {
                    return Some(told(self.complete(&upload, &order, parts, false).await));
                }
                let part = parts.iter().map(|it| json!([it.part_number(), it.e_tag()]));
                json!({"copied": told(copied), "parts": part.collect::<Value>()})
            }
            _ => return None,
        })
    }
}

fn told(answer: CallAnswer) -> Value {
    match answer {
        CallAnswer::Done(made) => json!({"done": {
            "version": made.version, "source": made.source, "etag": made.etag,
            "modified": made.modified, "upload": made.upload,
        }}),
        CallAnswer::Changed => "changed".into(),
        CallAnswer::NoUpload => "no upload".into(),
        CallAnswer::SlowDown => "slow down".into(),
        CallAnswer::Unclear(why) => json!({"unclear": why}),
        CallAnswer::Refused(why) => json!({"refused": why}),
    }
}
