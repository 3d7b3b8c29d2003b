//! The objects in S3 that every node fetches while it starts, because the security configuration
//! names them: whether they exist, and whether nodes may read them.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    aws::clients::Aws,
    base::{
        aws_calls,
        lookup::Lookup,
        names::{S3Object, partition},
    },
    facts::{
        iam::RoleFacts,
        s3,
        simulation::{self, Simulated, SimulationDecision, SimulationQuery},
        sts,
    },
};

/// The facts about one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NodeObject {
    /// Whether it exists; not looked up for certificate archives, which are fetched anyway.
    pub there: Option<Lookup<()>>,
    /// The simulated policies of the role behind `aws.emr.jobflow_role`, for reading it.
    #[schemars(with = "Lookup<SimulationDecision>")]
    pub identity: Lookup<Simulated>,
    /// Its bucket, if none of the run's own locations is in that bucket.
    pub bucket: Option<OtherBucket>,
}

/// A bucket of which only two facts are needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OtherBucket {
    /// Whether it belongs to the launching account.
    pub ours: Lookup<bool>,
    /// Its policy as JSON text, if it has one.
    #[serde(skip)]
    pub policy: Lookup<Option<String>>,
}

impl NodeObject {
    pub(super) fn not_asked(why: &str) -> Self {
        Self {
            there: Some(Lookup::not_asked(&aws_calls::HEAD_OBJECT, why)),
            identity: Lookup::not_asked(&aws_calls::SIMULATE_PRINCIPAL_POLICY, why),
            bucket: Some(OtherBucket {
                ours: Lookup::not_asked(&aws_calls::HEAD_BUCKET, why),
                policy: Lookup::not_asked(&aws_calls::GET_BUCKET_POLICY, why),
            }),
        }
    }
}

/// The action of the nodes.
const READ: &str = "s3:GetObject";

/// Looks up `object`, for `role`. `runner` is the account that should own its bucket; `known` means
/// that the bucket is looked up anyway.
pub(super) async fn node_object(
    aws: &Aws,
    region: &str,
    object: &S3Object,
    custom_provider: bool,
    known: bool,
    role: impl Future<Output = Lookup<RoleFacts>>,
    runner: impl Future<Output = Lookup<sts::CallerIdentity>>,
) -> NodeObject {
    let there = async {
        if !custom_provider {
            return None;
        }
        let result =
            aws.s3.head_object().bucket(object.bucket.as_str()).key(&object.key).send().await;
        Some(
            Lookup::from_call(
                &aws_calls::HEAD_OBJECT,
                &["NotFound", "NoSuchKey", "NoSuchBucket", "404"],
                result,
            )
            .map(drop),
        )
    };
    let identity = async {
        let Lookup::Found(role) = role.await else {
            return Lookup::not_asked(
                &aws_calls::SIMULATE_PRINCIPAL_POLICY,
                "the role is not known",
            );
        };
        let arn = object.arn(partition(region));
        let query = SimulationQuery {
            principal: &role.arn,
            actions: &[READ],
            resources: &[&arn],
            context: simulation::every_request(&role.arn, region),
            absent: &[],
        };
        simulation::simulate(&aws.iam, query).await.and_then(|decisions| {
            let decision = decisions.into_values().next();
            Lookup::expect_in_answer(&aws_calls::SIMULATE_PRINCIPAL_POLICY, decision)
        })
    };
    let bucket = async {
        if known {
            return None;
        }
        let ours = async {
            let runner = runner.await;
            s3::ours(&aws.s3, &object.bucket, runner.found().map(|identity| &identity.account))
                .await
        };
        let (ours, policy) = tokio::join!(ours, s3::policy(&aws.s3, &object.bucket));
        Some(OtherBucket { ours, policy })
    };
    let (there, identity, bucket) = tokio::join!(there, identity, bucket);
    NodeObject { there, identity, bucket }
}
