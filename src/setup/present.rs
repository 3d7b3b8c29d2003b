//! The present state of one piece, in the form in which plans and records have it, and whether it
//! is as the piece should be.

use aws_sdk_kms::{
    operation::{list_keys::ListKeysOutput, list_resource_tags::ListResourceTagsOutput},
    types::Tag,
};
use serde_json::{Value, json};

use crate::{
    aws::{clients::Aws, whole_list::whole_list},
    base::{
        aws_calls,
        lookup::Lookup,
        names::{AccountId, BucketName, KeyReference},
    },
    facts::{
        account_state::{
            SETUP_MARK, bucket_encryption, bucket_place, bucket_policy, in_region, inline_policy,
            instance_profile, key_state, public_access_block, role, stored_object,
        },
        alarm_state, emr, notification_state,
        object_lock::{self, VERSIONING_ON},
    },
    settings::policy::EncryptionKind,
    setup::{
        compare::says_the_same,
        piece::{EventRule, Piece, Role},
    },
};

/// Looks at pieces.
#[derive(Clone, Debug)]
pub(super) struct PieceReader<'a> {
    pub(super) aws: &'a Aws,
    pub(super) account: &'a AccountId,
}

impl PieceReader<'_> {
    /// The present state of a piece; `Absent` if it does not exist. `known_key` is the ARN of a key
    /// that was made and may have no alias yet.
    ///
    /// - role: `{trust, attached, arn}`
    /// - instance profile: the name of its role, or null
    /// - key: `{arn, policy, rotation, enabled, has_alias}`
    /// - key rotation: whether it is on
    /// - bucket: its region
    /// - certificates: `{etag, version, mark, kind, key}`
    /// - versioning: its status
    /// - Object Lock: the retention of new objects, or null
    /// - alert topic: `{key, policy, subscriptions}`
    /// - event queue: `{key, by_sqs, policy, url, retention}`
    /// - event rule: `{pattern, target, enabled, targets}`; `target` is the queue of the piece, or
    ///   null, and `targets` are the ids of all
    /// - alarm: its definition; null if it has none in this form
    /// - all others: the field that the piece has
    pub(super) async fn present(&self, piece: &Piece, known_key: Option<&str>) -> Lookup<Value> {
        match piece {
            Piece::Role(wanted) => {
                let found = role(&self.aws.iam, &wanted.name).await;
                found.and_then(|role| {
                    role.attached.map(|attached| {
                        json!({"trust": role.trust, "attached": attached, "arn": role.arn})
                    })
                })
            }
            Piece::InstanceProfile(profile) => {
                let found = instance_profile(&self.aws.iam, &profile.name).await;
                found.map(|profile| profile.role.map(|(name, _)| name).into())
            }
            Piece::Key(key) => self.key(&key.alias, known_key).await,
            Piece::KeyPolicy(of) => {
                let key = key_state(&self.aws.kms, &KeyReference::new(&of.key), self.account).await;
                key.and_then(|key| key.policy)
            }
            Piece::KeyRotation(of) => {
                let key = key_state(&self.aws.kms, &KeyReference::new(&of.key), self.account).await;
                key.and_then(|key| key.rotation.map(Value::from))
            }
            Piece::InlinePolicy(policy) => {
                inline_policy(&self.aws.iam, &policy.holder, &policy.name).await
            }
            Piece::Bucket(of) => self.bucket_region(&of.bucket).await.map(Value::from),
            Piece::BucketEncryption(of) => {
                let s3 = match self.s3_of(&of.bucket).await {
                    Lookup::Found(s3) => s3,
                    other => return other.map(|_| Value::Null),
                };
                let settings = bucket_encryption(&s3, Some(self.account), &of.bucket).await;
                settings.map(|settings| json!(settings))
            }
            Piece::PublicAccessBlock(of) => {
                let s3 = match self.s3_of(&of.bucket).await {
                    Lookup::Found(s3) => s3,
                    other => return other.map(|_| Value::Null),
                };
                let settings = public_access_block(&s3, Some(self.account), &of.bucket).await;
                settings.map(|settings| json!(settings))
            }
            Piece::BucketPolicy(of) => match self.s3_of(&of.bucket).await {
                Lookup::Found(s3) => bucket_policy(&s3, Some(self.account), &of.bucket).await,
                other => other.map(|_| Value::Null),
            },
            Piece::Certificates(archive) => {
                let s3 = match self.s3_of(&archive.object.bucket).await {
                    Lookup::Found(s3) => s3,
                    other => return other.map(|_| Value::Null),
                };
                let found = stored_object(&s3, self.account, &archive.object).await;
                found.map(|object| {
                    let (kind, key) = object.encryption.unzip();
                    json!({
                        "etag": object.etag, "version": object.version, "mark": object.mark,
                        "kind": kind, "key": key.flatten(),
                    })
                })
            }
            Piece::SecurityConfiguration(configuration) => {
                emr::security_configuration_content(&self.aws.emr, &configuration.name).await
            }
            Piece::BucketVersioning(of) => match self.s3_of(&of.bucket).await {
                Lookup::Found(s3) => {
                    object_lock::versioning(&s3, self.account, &of.bucket).await.map(Value::from)
                }
                other => other.map(|_| Value::Null),
            },
            Piece::ObjectLock(of) => match self.s3_of(&of.bucket).await {
                Lookup::Found(s3) => {
                    let lock = object_lock::lock(&s3, self.account, &of.bucket).await;
                    lock.map(|retention| json!(retention))
                }
                other => other.map(|_| Value::Null),
            },
            Piece::AlertTopic(of) => {
                let found = notification_state::topic(self.aws, &of.arn).await;
                found.map(|topic| {
                    json!({
                        "key": topic.key, "policy": topic.policy,
                        "subscriptions": topic.subscriptions,
                    })
                })
            }
            Piece::EventQueue(of) => {
                let found = notification_state::queue(self.aws, of.name()).await;
                found.map(|queue| {
                    json!({
                        "key": queue.key, "by_sqs": queue.by_sqs, "policy": queue.policy,
                        "url": queue.url, "retention": queue.retention,
                    })
                })
            }
            Piece::EventRule(of) => self.event_rule(of).await,
            Piece::Alarm(of) => {
                let found = alarm_state::alarm(self.aws, of.name()).await;
                found.map(|alarm| json!(alarm.definition))
            }
        }
    }

    async fn event_rule(&self, of: &EventRule) -> Lookup<Value> {
        let found = notification_state::rule(self.aws, of.name()).await;
        found.map(|rule| {
            let is_own = rule.targets.iter().any(|it| it.arn == of.queue && it.whole_events);
            let ids: Vec<&str> = rule.targets.iter().map(|it| it.id.as_str()).collect();
            json!({
                "pattern": rule.pattern, "target": is_own.then_some(&of.queue),
                "enabled": rule.enabled, "targets": ids,
            })
        })
    }

    async fn key(&self, alias: &str, known_key: Option<&str>) -> Lookup<Value> {
        let kms = &self.aws.kms;
        let by_alias = key_state(kms, &KeyReference::new(alias), self.account).await;
        let (state, has_alias) = match (by_alias, known_key) {
            (Lookup::Absent, Some(arn)) => {
                (key_state(kms, &KeyReference::new(arn), self.account).await, false)
            }
            (by_alias, _) => (by_alias, true),
        };
        state.and_then(|key| {
            let (arn, enabled) = (key.arn.to_string(), key.enabled);
            // A key without one of them exists nevertheless.
            let (policy, rotation) = (or_null(key.policy), or_null(key.rotation.map(Value::from)));
            policy.and_then(|policy| {
                rotation.map(|rotation| {
                    json!({
                        "arn": arn, "policy": policy, "rotation": rotation, "enabled": enabled,
                        "has_alias": has_alias,
                    })
                })
            })
        })
    }

    /// The region of a bucket of the account.
    pub(super) async fn bucket_region(&self, bucket: &BucketName) -> Lookup<String> {
        let place = bucket_place(&self.aws.s3, self.account, bucket).await;
        place.and_then(|(ours, region)| {
            if ours {
                Lookup::Found(region)
            } else {
                Lookup::not_asked(&aws_calls::HEAD_BUCKET, "the bucket belongs to another account")
            }
        })
    }

    /// The client for a bucket of the account, in the bucket's region.
    pub(super) async fn s3_of(&self, bucket: &BucketName) -> Lookup<aws_sdk_s3::Client> {
        let region = self.bucket_region(bucket).await;
        region.map(|region| in_region(&self.aws.s3, Some(&region)))
    }

    /// The ARN of the key with the tag value `mark`; `Absent` if there is none. Every key of
    /// the account is looked at, so it is asked only where a key may have been made and no answer
    /// said so.
    pub(super) async fn marked_key(&self, mark: &str) -> Lookup<String> {
        let keys = match self.keys().await {
            Lookup::Found(keys) => keys,
            other => return other.map(|_| String::new()),
        };
        let mut unreadable = None;
        for arn in keys {
            match self.tag(&arn).await {
                Lookup::Found(Some(value)) if value == mark => return Lookup::Found(arn),
                // KMS denies this for keys of AWS, and it may be denied for keys of others.
                Lookup::Found(_) | Lookup::Absent | Lookup::Denied(_) => {}
                Lookup::Unreachable(error) => unreadable = Some(error),
            }
        }
        unreadable.map_or(Lookup::Absent, Lookup::Unreachable)
    }

    /// The ARNs of all keys of the account in the region.
    pub(super) async fn keys(&self) -> Lookup<Vec<String>> {
        let kms = &self.aws.kms;
        let request = kms.list_keys();
        let pages = whole_list(
            &aws_calls::LIST_KEYS,
            &[],
            |marker| request.clone().set_marker(marker).send(),
            ListKeysOutput::next_marker,
            |page| Some(page.keys.as_ref()?.iter().filter_map(|key| key.key_id()).collect()),
        );
        pages.await.map(|pages| {
            let keys = pages.into_iter().flat_map(|page| page.keys.unwrap_or_default());
            keys.filter_map(|key| key.key_arn).collect()
        })
    }

    /// The value of the tag of `setup`, if the key has it.
    pub(super) async fn tag(&self, key: &str) -> Lookup<Option<String>> {
        let request = self.aws.kms.list_resource_tags().key_id(key);
        let pages = whole_list(
            &aws_calls::LIST_RESOURCE_TAGS,
            &["NotFoundException"],
            |marker| request.clone().set_marker(marker).send(),
            ListResourceTagsOutput::next_marker,
            |page| Some(page.tags.as_ref()?.iter().map(Tag::tag_key).collect()),
        );
        pages.await.map(|pages| {
            let mut tags = pages.into_iter().flat_map(|page| page.tags.unwrap_or_default());
            tags.find(|tag| tag.tag_key == SETUP_MARK).map(|tag| tag.tag_value)
        })
    }
}

fn or_null(part: Lookup<Value>) -> Lookup<Value> {
    match part {
        Lookup::Absent => Lookup::Found(Value::Null),
        other => other,
    }
}

/// Whether the present state is as the piece should be.
pub(super) fn is_as_wanted(piece: &Piece, present: &Value) -> bool {
    match piece {
        Piece::Role(wanted) => {
            says_the_same(&wanted.trust, &present["trust"])
                && has_path(wanted, present)
                && missing(wanted, present).is_none()
        }
        Piece::InstanceProfile(profile) => *present == profile.role,
        Piece::Key(key) => {
            says_the_same(&key.policy, &present["policy"])
                && ["rotation", "enabled", "has_alias"].iter().all(|name| present[name] == true)
        }
        Piece::KeyPolicy(of) => says_the_same(&of.policy, present),
        Piece::KeyRotation(_) => *present == true,
        Piece::InlinePolicy(of) => says_the_same(&of.policy, present),
        Piece::Bucket(of) => *present == of.region,
        Piece::BucketEncryption(of) => *present == json!(of.settings),
        Piece::PublicAccessBlock(of) => *present == json!(of.settings),
        Piece::BucketPolicy(of) => says_the_same(&of.policy, present),
        // Two archives are never the same: each has keys of its own.
        Piece::Certificates(_) => false,
        Piece::SecurityConfiguration(of) => *present == of.content,
        Piece::BucketVersioning(_) => *present == VERSIONING_ON,
        Piece::ObjectLock(of) => *present == json!(of.retention),
        Piece::AlertTopic(of) => {
            says_the_same(&of.policy, &present["policy"]) && present["key"] == of.key
        }
        Piece::EventQueue(of) => {
            says_the_same(&of.policy, &present["policy"])
                && present["key"] == json!(of.key)
                && (of.key.is_some() || present["by_sqs"] == true)
                && (present["retention"].is_null() || present["retention"] == of.retention)
        }
        Piece::EventRule(of) => {
            says_the_same(&of.pattern, &present["pattern"])
                && present["target"] == of.queue
                && present["enabled"] == true
        }
        Piece::Alarm(of) => *present == json!(of.definition),
    }
}

/// Whether a role has the path that it should have.
fn has_path(wanted: &Role, present: &Value) -> bool {
    let end = format!(":role{}{}", wanted.path, wanted.name);
    present["arn"].as_str().is_none_or(|arn| arn.ends_with(&end))
}

/// The first managed policy that a role lacks.
pub(super) fn missing<'a>(wanted: &'a Role, present: &Value) -> Option<&'a String> {
    let attached = present["attached"].as_array();
    let has = |policy: &&String| {
        attached.is_some_and(|attached| attached.iter().any(|other| *other == **policy))
    };
    wanted.attached.iter().find(|policy| !has(policy))
}

/// Whether the present state is the one that a plan saw before.
pub(super) fn is_as_before(piece: &Piece, before: &Value, present: &Value) -> bool {
    match piece {
        // A plan may have seen only the trust policy, or only what is attached.
        Piece::Role(_) if before.get("trust").is_some() || before.get("attached").is_some() => {
            ["trust", "attached"].iter().all(|name| {
                before.get(name).is_none_or(|before| says_the_same(before, &present[name]))
            })
        }
        Piece::Role(_) if before.is_array() => says_the_same(before, &present["attached"]),
        Piece::Role(_) => says_the_same(before, &present["trust"]),
        Piece::KeyRotation(_) => *present == false,
        Piece::InstanceProfile(_) => {
            present.is_null()
                && (before.is_null() || before.get("role").is_some_and(Value::is_null))
        }
        Piece::KeyPolicy(_) | Piece::InlinePolicy(_) | Piece::BucketPolicy(_) => {
            says_the_same(before, present)
        }
        Piece::AlertTopic(_) | Piece::EventQueue(_) | Piece::EventRule(_) => before
            .as_object()
            .into_iter()
            .flatten()
            .all(|(name, before)| says_the_same(before, &present[name])),
        Piece::Key(_)
        | Piece::Bucket(_)
        | Piece::BucketEncryption(_)
        | Piece::PublicAccessBlock(_)
        | Piece::Certificates(_)
        | Piece::SecurityConfiguration(_)
        | Piece::BucketVersioning(_)
        | Piece::ObjectLock(_)
        | Piece::Alarm(_) => before == present,
    }
}

/// Whether the present state is what AWS gives to every new bucket: SSE-S3 without a rule of one's
/// own, and no retention where it has Object Lock. Source: Amazon S3 user guide, "Setting default
/// server-side encryption behavior", "Configuring S3 Object Lock".
pub(super) fn is_default(piece: &Piece, present: &Value) -> bool {
    match piece {
        Piece::BucketEncryption(_) => {
            present["kind"] == json!(EncryptionKind::SseS3) && present["key"].is_null()
        }
        Piece::ObjectLock(_) => present.is_null(),
        _ => false,
    }
}
