//! Checks on the objects that every node fetches while it starts: certificate archives, and the
//! jars of custom providers.

use std::collections::BTreeMap;

use crate::{
    base::{
        aws_calls,
        lookup::Lookup,
        names::{S3Object, partition},
    },
    checks::{
        case::Case,
        finding::{Check, CheckSubject, Finding, Level, Stage},
        guard_rights, roles, security_configuration,
    },
    facts::{
        emr::NodeFetch,
        iam_policy::{self, AccessRequest, PolicyDecision},
        node_objects::NodeObject,
        simulation::SimulationVerdict,
    },
};

pub(super) static PROVIDER: Check = Check {
    name: "custom-provider-object",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Every node fetches the jar of a custom key or certificate provider while it starts; \
        without it the cluster fails after minutes.",
    looks_at: "s3:HeadObject on each S3Object of the security configuration that is a custom \
        provider's.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION, &aws_calls::HEAD_OBJECT],
    fix: "put the provider's jar at {subject}, or name another in a new security configuration",
    source: "Amazon EMR management guide, Create keys and certificates for data encryption \
        (custom key providers)",
};

pub(super) static MAY_READ: Check = Check {
    name: "jobflow-role-may-read-object",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Nodes fetch certificates and providers as the role in aws.emr.jobflow_role; where it \
        may not read them, the cluster fails while it starts.",
    looks_at: "iam:SimulatePrincipalPolicy of s3:GetObject, with the policy and the owner of the \
        object's bucket.",
    asks: &[
        &aws_calls::DESCRIBE_SECURITY_CONFIGURATION,
        &aws_calls::SIMULATE_PRINCIPAL_POLICY,
        &aws_calls::GET_BUCKET_POLICY,
        &aws_calls::HEAD_BUCKET,
    ],
    fix: "allow s3:GetObject on {subject} to the role in aws.emr.jobflow_role",
    source: "Amazon EMR management guide, Providing certificates for encrypting data in transit \
        with Amazon EMR encryption; AWS IAM user guide, Policy evaluation logic",
};

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Some(configuration) = case.facts.security_configuration.as_ref().and_then(Lookup::found)
    else {
        for check in [&PROVIDER, &MAY_READ] {
            findings.push(
                check
                    .on("objects", "objects that nodes can read")
                    .waiting_for(&security_configuration::EXISTS),
            );
        }
        return;
    };
    let fetches = configuration.content.node_fetches();
    if !fetches.iter().any(|fetch| fetch.custom_provider) {
        findings.push(
            PROVIDER
                .on("objects", "the provider's jar")
                .not_applicable("no custom provider is named"),
        );
    }
    if fetches.is_empty() {
        findings.push(
            MAY_READ.on("objects", "readable by the nodes").not_applicable("no object is named"),
        );
    }
    for NodeFetch { uri, custom_provider } in &fetches {
        let provider = custom_provider.then(|| PROVIDER.on(uri.as_str(), "the provider's jar"));
        let may_read = MAY_READ.on(
            uri.as_str(),
            format!(
                "s3:GetObject allowed to the role of `{}`",
                case.cluster.instance_profile.value
            ),
        );
        let may_read = may_read.at(Some(&case.cluster.instance_profile.at));
        let (Some(object), Some(facts)) = (S3Object::parse(uri), case.facts.node_objects.get(uri))
        else {
            findings.extend(
                provider.map(|subject| subject.failed("neither s3://bucket/key nor its ARN")),
            );
            findings.push(may_read.failed("neither s3://bucket/key nor its ARN"));
            continue;
        };
        findings.extend(provider.zip(facts.there.as_ref()).map(|(subject, there)| {
            subject.by(there, "no such object", |subject, ()| subject.passed("it is there"))
        }));
        findings.push(judge(case, may_read, &object, facts));
    }
}

fn judge(case: &Case<'_>, subject: CheckSubject, object: &S3Object, facts: &NodeObject) -> Finding {
    let Some(role) = case.facts.role.found() else {
        return subject.waiting_for(&roles::JOBFLOW_EXISTS);
    };
    let of_run =
        case.facts.buckets.get(&object.bucket).map(|bucket| (&bucket.ours, &bucket.policy));
    let Some((ours, policy)) =
        of_run.or_else(|| facts.bucket.as_ref().map(|bucket| (&bucket.ours, &bucket.policy)))
    else {
        return subject
            .unknown("its bucket was not looked at", "report this as a bug of emr-etl-guard");
    };
    subject.by(&facts.identity, "no such role", |subject, identity| {
        subject.by(policy, "no such bucket", |subject, policy| {
            subject.by(ours, "no such bucket", |subject, ours| {
                let arn = object.arn(partition(&case.paths.region.value));
                let context = BTreeMap::from([
                    ("aws:securetransport", Some("true")),
                    ("aws:principalarn", Some(role.arn.as_str())),
                    ("aws:principalaccount", role.arn.split(':').nth(4)),
                ]);
                let request = AccessRequest {
                    caller: &role.arn,
                    action: "s3:GetObject",
                    resource: Some(&arn),
                    context,
                };
                let decision = policy
                    .as_ref()
                    .map_or(PolicyDecision::Silent, |policy| iam_policy::decide(policy, &request));
                match (identity.verdict(), decision, ours) {
                    (SimulationVerdict::Denied, ..) => subject.failed(
                        "a policy of the role or \
                        its permissions boundary denies it",
                    ),
                    (_, PolicyDecision::Denies(statement), _) => subject.failed(format!(
                        "the \
                        bucket's policy denies it ({statement})"
                    )),
                    (_, PolicyDecision::Unclear(statement), _) => subject.unknown(
                        format!(
                            "the bucket's policy has parts that are not evaluated \
                            ({statement})"
                        ),
                        format!("look at `{statement}` in the policy of {}", object.bucket),
                    ),
                    (
                        SimulationVerdict::Organization { denied: false }
                        | SimulationVerdict::Unclear { denied: false, .. }
                        | SimulationVerdict::Allowed
                        | SimulationVerdict::NotAllowed,
                        PolicyDecision::AllowsCaller,
                        true,
                    ) => subject.passed("the bucket's policy allows the role"),
                    (SimulationVerdict::Organization { .. }, ..) => guard_rights::advisory(
                        subject.unknown(roles::BY_ORGANIZATION, roles::ASK_ORGANIZATION),
                    ),
                    (SimulationVerdict::Unclear { missing, .. }, ..) => subject.unknown(
                        format!(
                            "no policy of the role allows it, as far as the simulation knows, \
                            which lacks {missing}"
                        ),
                        "allow it to the role by a statement without such a condition, in its \
                         policies or in the bucket's",
                    ),
                    (SimulationVerdict::BoundedOut, ..) => subject.failed(
                        "the role's permissions \
                        boundary does not allow it",
                    ),
                    (SimulationVerdict::Allowed, _, true) => subject.passed(
                        "the role's policies \
                        allow it",
                    ),
                    (
                        SimulationVerdict::Allowed,
                        PolicyDecision::AllowsCaller | PolicyDecision::DelegatesToAccount,
                        false,
                    ) => subject.passed("the role's policies and the bucket's allow it"),
                    (SimulationVerdict::Allowed, PolicyDecision::Silent, false) => subject.failed(
                        "the bucket belongs to another account, and its policy \
                            does not allow the role",
                    ),
                    (SimulationVerdict::NotAllowed, ..) => subject.failed(
                        "no policy of the role \
                        allows it",
                    ),
                }
            })
        })
    })
}
