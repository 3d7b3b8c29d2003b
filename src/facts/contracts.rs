//! Makes one of this module's AWS calls, by the call's name in AWS, for the contract tests.

use std::collections::BTreeMap;

use aws_sdk_sts::error::ProvideErrorMetadata as _;
use aws_types::request_id::RequestId as _;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    aws::clients::Aws,
    base::{
        lookup::Lookup,
        names::{AccountId, BucketName, ClusterId, KeyReference, S3Location},
    },
    contracts::about::About,
    facts::{
        account_state::{self, PolicyHolder},
        alarm_state, ec2, emr, iam, kms, objects, s3, s3_configurations,
        scan::{self, scope::ScanScope},
        simulation::{self, SimulationQuery},
        sts::{self, CallerIdentity},
    },
};

/// The facts from the call; none if this module does not make it.
pub(crate) async fn ask(aws: &Aws, operation: &str, on: &str, about: About<'_>) -> Option<Value> {
    let service = on.split(':').next().unwrap_or_default();
    match service {
        "sts" => Some(plain(&sts::identity(&aws.sts).await)),
        "elasticmapreduce" => of_emr(aws, operation, about).await,
        "kms" => of_kms(aws, operation, about).await,
        "iam" => of_iam(aws, operation, about).await,
        "ec2" => of_ec2(aws, operation, about).await,
        "cloudwatch" => of_cloudwatch(aws, operation, about).await,
        "s3" => Box::pin(of_s3(aws, operation, on, about)).await,
        _ => None,
    }
}

fn plain(facts: &impl Serialize) -> Value {
    serde_json::to_value(facts).unwrap()
}

/// The same for facts that cannot be serialised.
fn shown<T>(facts: Lookup<T>, show: impl FnOnce(T) -> Value) -> Value {
    plain(&facts.map(show))
}

async fn of_emr(aws: &Aws, operation: &str, about: About<'_>) -> Option<Value> {
    let emr = &aws.emr;
    let id = || about.text("cluster").parse::<ClusterId>().unwrap();
    Some(match operation {
        "DescribeSecurityConfiguration" => {
            plain(&emr::security_configuration(emr, about.text("name")).await)
        }
        "DescribeCluster" => shown(emr::cluster(emr, &id()).await, |cluster| {
            let mut facts = plain(&cluster);
            facts["requested_subnets"] = plain(&cluster.requested_subnets);
            facts["has_fleets"] = cluster.has_fleets.into();
            facts
        }),
        "ListClusters" => shown(emr::list(emr, None, &[]).await, |listed| {
            let listed = listed.into_iter();
            listed.map(|it| json!({"id": it.id, "name": it.name, "status": it.status})).collect()
        }),
        "ListInstanceGroups" | "ListInstanceFleets" => {
            let has_fleets = operation == "ListInstanceFleets";
            shown(
                emr::groups(emr, &id(), has_fleets).await,
                |it| json!({"properties": it.properties, "custom_amis": it.custom_amis}),
            )
        }
        "ListBootstrapActions" => plain(&emr::bootstrap_actions(emr, &id()).await),
        "ListInstances" => shown(emr::nodes(emr, &id()).await, |nodes| {
            nodes
                .into_iter()
                .map(|it| json!({"instance": it.instance, "state": it.state}))
                .collect()
        }),
        "ListSteps" => plain(&emr::steps(emr, &id()).await),
        _ => return None,
    })
}

async fn of_kms(aws: &Aws, operation: &str, about: About<'_>) -> Option<Value> {
    let description = kms::describe(&aws.kms, &KeyReference::new(about.text("key"))).await;
    if operation == "DescribeKey" {
        return Some(plain(&description));
    }
    let roles = about.texts("roles");
    let roles = roles.iter().map(String::as_str).collect();
    let facts = kms::key(&aws.kms, description, &roles, None).await;
    match operation {
        "GetKeyRotationStatus" => Some(plain(&facts.rotation)),
        // White space in the policy does not matter.
        "GetKeyPolicy" => Some(shown(facts.policy, |text| serde_json::from_str(&text).unwrap())),
        "ListGrants" => Some(plain(&facts.grants)),
        _ => None,
    }
}

async fn of_iam(aws: &Aws, operation: &str, about: About<'_>) -> Option<Value> {
    Some(match operation {
        "GetInstanceProfile" => plain(&iam::instance_role(&aws.iam, about.text("name")).await),
        "GetRole" => plain(&iam::role(&aws.iam, about.text("name")).await),
        "ListAttachedRolePolicies" => {
            let role = account_state::role(&aws.iam, about.text("name")).await;
            plain(&role.and_then(|role| role.attached))
        }
        "GetRolePolicy" | "GetUserPolicy" => {
            let holder = match operation {
                "GetRolePolicy" => PolicyHolder::Role(about.text("name").to_owned()),
                _ => PolicyHolder::User(about.text("name").to_owned()),
            };
            plain(&account_state::inline_policy(&aws.iam, &holder, about.text("policy")).await)
        }
        "SimulatePrincipalPolicy" => {
            let (actions, resources) = (about.texts("actions"), about.texts("resources"));
            let query = SimulationQuery {
                principal: about.text("principal"),
                actions: &actions.iter().map(String::as_str).collect::<Vec<_>>(),
                resources: &resources.iter().map(String::as_str).collect::<Vec<_>>(),
                context: Vec::new(),
                absent: &[],
            };
            shown(simulation::simulate(&aws.iam, query).await, |simulated| {
                let of_one =
                    |((action, resource), it): ((String, String), simulation::Simulated)| {
                        json!({
                            "action": action, "resource": resource, "decision": it.decision,
                            "missing": it.missing, "boundary": it.boundary,
                            "organization": it.organization,
                        })
                    };
                simulated.into_iter().map(of_one).collect()
            })
        }
        _ => return None,
    })
}

async fn of_ec2(aws: &Aws, operation: &str, about: About<'_>) -> Option<Value> {
    let network = async || ec2::network(&aws.ec2, about.text("subnet")).await;
    Some(match operation {
        "GetEbsEncryptionByDefault" => plain(&ec2::encrypts_by_default(&aws.ec2).await),
        "DescribeVolumes" => {
            let id = about.text("cluster").parse::<ClusterId>().unwrap();
            let nodes = emr::nodes(&aws.emr, &id).await.into_found().unwrap();
            let mut instances = about.texts("instances");
            instances.extend(nodes.into_iter().filter_map(|node| node.instance));
            plain(&ec2::volumes(&aws.ec2, &instances).await)
        }
        "DescribeSubnets" => plain(&network().await.vpc),
        "DescribeVpcAttribute" if about.text("attribute") == "dns_hostnames" => {
            plain(&network().await.dns_hostnames)
        }
        "DescribeVpcAttribute" => plain(&network().await.dns_support),
        "DescribeVpcs" | "DescribeDhcpOptions" => plain(&network().await.dhcp),
        _ => return None,
    })
}

async fn of_s3(aws: &Aws, operation: &str, on: &str, about: About<'_>) -> Option<Value> {
    if on == "s3:GetAccountPublicAccessBlock" {
        let account = AccountId::new(about.text("account"));
        let control = std::sync::LazyLock::force(&aws.s3control);
        return Some(plain(&s3::account_block(control, &account).await));
    }
    let s3 = &aws.s3;
    let bucket = about.text("bucket").parse::<BucketName>().unwrap();
    Some(match (operation, on) {
        ("GetBucketEncryption", _) => plain(&s3::default_encryption(s3, &bucket).await),
        ("HeadBucket" | "GetBucketPolicy" | "GetPublicAccessBlock", _) => {
            let runner = CallerIdentity {
                account: AccountId::new(about.text("account")),
                arn: String::new(),
            };
            let facts = s3::bucket(
                s3,
                &bucket,
                async { Lookup::Found(runner) },
                s3::default_encryption(s3, &bucket),
                async { Lookup::Found([false; 4]) },
            );
            let facts = Box::pin(facts).await;
            match operation {
                "HeadBucket" => json!({"region": facts.region, "ours": facts.ours}),
                "GetBucketPolicy" => plain(&facts.policy),
                _ => plain(&facts.public_access_block),
            }
        }
        ("GetBucketVersioning", _) => shown(
            s3_configurations::versioning_status(s3, &bucket).await,
            |it| json!({"status": it.status, "mfa_delete": it.mfa_delete}),
        ),
        ("GetBucketRequestPayment", _) => {
            plain(&s3_configurations::requester_pays(s3, &bucket).await)
        }
        (
            "GetBucketNotificationConfiguration"
            | "GetBucketReplication"
            | "GetBucketLifecycleConfiguration",
            _,
        ) => configured(aws, operation, &bucket).await,
        ("ListObjectsV2", _) | ("HeadObject", "s3:GetObject") => {
            objects_of(aws, operation, about, false).await
        }
        ("ListObjectVersions" | "HeadObject", _) | ("GetObject", "s3:GetObjectVersion") => {
            objects_of(aws, operation, about, true).await
        }
        _ => return None,
    })
}

/// Looking at an alarm, and the calls by which one is made and deleted.
async fn of_cloudwatch(aws: &Aws, operation: &str, about: About<'_>) -> Option<Value> {
    let name = about.text("name");
    let written = match operation {
        "DescribeAlarms" => return Some(plain(&alarm_state::alarm(aws, name).await)),
        "PutMetricAlarm" => {
            let alarm = serde_json::from_value(about.0["alarm"].clone()).unwrap();
            aws.cloudwatch.put_alarm(&alarm, &BTreeMap::new()).await
        }
        "DeleteAlarms" => aws.cloudwatch.delete_alarm(name).await,
        _ => return None,
    };
    Some(match written {
        Ok(done) => json!({"done": true, "request": done.request_id().is_some()}),
        Err(error) => {
            let request = error.request_id().is_some();
            let error = error.as_service_error();
            let (code, message) =
                (error.and_then(|it| it.code()), error.and_then(|it| it.message()));
            json!({"failed": code, "message": message, "request": request})
        }
    })
}

async fn configured(aws: &Aws, operation: &str, bucket: &BucketName) -> Value {
    let facts = s3_configurations::configurations(&aws.s3, bucket).await;
    match operation {
        "GetBucketNotificationConfiguration" => shown(facts.notifications, |it| {
            let rule = |rule: s3_configurations::NotificationRule| {
                json!({
                    "receiver": format!("{:?}", rule.receiver), "arn": rule.arn,
                    "events": rule.events, "prefix": rule.prefix, "suffix": rule.suffix,
                })
            };
            let rules: Value = it.rules.into_iter().map(rule).collect();
            json!({"rules": rules, "event_bridge": it.event_bridge})
        }),
        "GetBucketReplication" => shown(facts.replication, |routes| {
            let route = |it: s3_configurations::ReplicationRoute| {
                let (id, prefix) = (it.id, it.prefix);
                json!({"id": id, "prefix": prefix, "destination": it.destination})
            };
            routes.into_iter().map(route).collect()
        }),
        _ => shown(facts.lifecycle, |rules| {
            let rule = |it: s3_configurations::LifecycleSchedule| {
                json!({
                    "id": it.id, "prefix": it.prefix, "transitions": it.transitions,
                    "expires": it.expires, "noncurrent_days": it.noncurrent_days,
                })
            };
            rules.into_iter().map(rule).collect()
        }),
    }
}

/// Objects below a prefix as a scan finds them, with the fast client if possible: the fields from a
/// list, or from a HEAD of each object.
async fn objects_of(aws: &Aws, operation: &str, about: About<'_>, versions: bool) -> Value {
    let location = format!("s3://{}/{}", about.text("bucket"), about.text("prefix"));
    let mut location = S3Location::parse(&location).unwrap();
    about.text("prefix").clone_into(&mut location.prefix);
    let scope = ScanScope { location, versions, since: None, except: Vec::new() };
    let (mut listed, mut asked, crew) = (Vec::new(), Vec::new(), objects::crew());
    let end = scan::whole(
        &aws.s3,
        &scope,
        &crew,
        |it| {
            listed.push(json!({
                "key": it.key, "version": it.version_id, "is_latest": it.is_latest,
                "is_delete_marker": it.is_delete_marker, "size": it.size, "etag": it.etag,
                "modified": it.modified.map(crate::base::time_format::rfc3339),
                "storage_class": it.storage_class,
            }));
        },
        |it| asked.push(json!({"key": it.key, "stored": it.stored})),
    );
    let end = end.await;
    if operation.starts_with("List") {
        json!({"end": end, "listed": listed})
    } else {
        json!({"end": end, "asked": asked})
    }
}
