//! Checks on the run's clusters: each is compared with what was verified before the launch, while
//! it runs and after it ended.

use std::collections::BTreeSet;

use crate::{
    base::{aws_calls, lookup::Lookup, names::ReleaseLabel, text::shown},
    checks::{
        built,
        finding::{Check, Finding, Level, Stage},
        security_configuration,
        verified::{ClusterObservation, Origin, VerifiedConfiguration},
        volumes,
    },
    facts::emr::{ClusterFacts, ClusterState, ClusterStep, SecurityConfiguration},
    settings::policy::Protection,
};

pub(super) static SECURITY_CONFIGURATION: Check = Check {
    name: "cluster-security-configuration",
    stage: Stage::Watch,
    level: Level::Required,
    why: "Between pre-flight and launch a security configuration can be deleted and created again \
        under its name, and a runner can leave it out.",
    looks_at: "The name in elasticmapreduce:DescribeCluster; content and creation time of \
        elasticmapreduce:DescribeSecurityConfiguration, asked again.",
    asks: &[&aws_calls::DESCRIBE_CLUSTER, &aws_calls::DESCRIBE_SECURITY_CONFIGURATION],
    fix: "find out who changed the security configuration, then launch again",
    source: "Amazon EMR API reference, DescribeCluster, DescribeSecurityConfiguration",
};

pub(super) static PROTECTIONS: Check = Check {
    name: "cluster-protections",
    stage: Stage::Watch,
    level: Level::Required,
    why: "Nothing was checked before the launch of a cluster that was started by hand: that it \
        has a security configuration does not say what that protects.",
    looks_at: "The content of the cluster's security configuration in \
        elasticmapreduce:DescribeSecurityConfiguration, against the setting `require` and the \
        cluster's release. Asked of clusters that are named to `watch`.",
    asks: &[&aws_calls::DESCRIBE_CLUSTER, &aws_calls::DESCRIBE_SECURITY_CONFIGURATION],
    fix: "end the cluster, and start it again under a security configuration that protects as \
        required",
    source: "Amazon EMR management guide, Create a security configuration; Encryption options",
};

pub(super) static RELEASE: Check = Check {
    name: "cluster-release",
    stage: Stage::Watch,
    level: Level::Required,
    why: "Another release than the verified one may not support what the security configuration \
        asks.",
    looks_at: "ReleaseLabel of elasticmapreduce:DescribeCluster.",
    asks: &[&aws_calls::DESCRIBE_CLUSTER],
    fix: "launch again through the guard",
    source: "Amazon EMR API reference, DescribeCluster",
};

pub(super) static SUBNET: Check = Check {
    name: "cluster-subnet",
    stage: Stage::Watch,
    level: Level::Required,
    why: "Encryption in transit was verified for one subnet; another may lie in another network.",
    looks_at: "Ec2SubnetId of elasticmapreduce:DescribeCluster.",
    asks: &[&aws_calls::DESCRIBE_CLUSTER],
    fix: "launch again through the guard",
    source: "Amazon EMR API reference, DescribeCluster",
};

pub(super) static STEP_FLAG: Check = Check {
    name: "step-encryption-flag",
    stage: Stage::Watch,
    level: Level::Required,
    why: "An s3-dist-cp step without --s3ServerSideEncryption switches server-side encryption off \
        for what it writes.",
    looks_at: "The arguments of each s3-dist-cp step in elasticmapreduce:ListSteps.",
    asks: &[&aws_calls::LIST_STEPS],
    fix: "look for what the step wrote (its --dest) and copy it in place, then launch again",
    source: "S3DistCp (s3-dist-cp), --s3ServerSideEncryption; EmrEtlRunner, emr_job.rb",
};

pub(super) static ENDED: Check = Check {
    name: "cluster-ended",
    stage: Stage::Confirm,
    level: Level::Required,
    why: "A cluster that still works when the runner has ended is not watched by anything: it \
        costs, and what it does is not seen.",
    looks_at: "elasticmapreduce:DescribeCluster and ListSteps after the runner has ended.",
    asks: &[&aws_calls::DESCRIBE_CLUSTER, &aws_calls::LIST_STEPS],
    fix: "look at it, and terminate it if it is not needed: `aws emr terminate-clusters \
        --cluster-ids {subject}`",
    source: "EmrEtlRunner, emr_job.rb (run_transient_mode, manage_lifecycle_persistent)",
};

pub(super) static ORPHANED: Check = Check {
    name: "no-orphan",
    stage: Stage::Confirm,
    level: Level::Advisory,
    why: "A cluster can outlive its run: a RunJobFlow that was sent again because its answer was \
        lost, a runner that was killed or lost its connection. It continues, costs, and what it \
        writes is not looked at.",
    looks_at: "elasticmapreduce:DescribeCluster and ListSteps once the runner has ended, on the \
        clusters that the run started; a persistent one may stay, but idle. After a stop the \
        setting `on_stop` decides instead.",
    asks: &[&aws_calls::DESCRIBE_CLUSTER, &aws_calls::LIST_STEPS],
    fix: "look at it, and terminate it if it is not needed: `aws emr terminate-clusters \
        --cluster-ids {subject}`; the setting `on_orphan: terminate` does so by itself",
    source: "EmrEtlRunner, emr_job.rb (run_transient_mode: RunJobFlow is not idempotent); Amazon \
        EMR API reference, RunJobFlow",
};

pub(super) static RUN_DID_ITS_WORK: Check = Check {
    name: "run-did-its-work",
    stage: Stage::Confirm,
    level: Level::Required,
    why: "A runner's exit 0 is no proof that anything ran: one whose clock is ahead of EMR's sees \
        none of its steps and calls that a success.",
    looks_at: "The steps of the run's clusters after an exit 0.",
    asks: &[&aws_calls::LIST_STEPS],
    fix: "look at the runner's log and at the clusters in the EMR console, then run again",
    source: "EmrEtlRunner, emr_job.rb (wait_for)",
};

/// Compares a cluster with what was verified. `subject` is its id. `require` are the protections
/// that a cluster needs that was not verified before its launch.
pub(crate) fn judge(
    subject: &str,
    look: &ClusterObservation,
    verified: &VerifiedConfiguration,
    origin: Origin,
    require: &[Protection],
) -> Vec<Finding> {
    let wanted = verified;
    let mut findings = vec![SECURITY_CONFIGURATION.on(subject, wanted.in_words()).by(
        &look.cluster,
        "no such cluster",
        |subject, cluster| {
            if let Some(difference) = different_name(cluster, wanted) {
                return subject.failed(difference);
            }
            subject.by(
                &look.security_configuration,
                "the security configuration has been deleted",
                |subject, now| match different_content(now, wanted) {
                    None => {
                        subject.passed(format!("`{}`, same content, same creation time", now.name))
                    }
                    Some(difference) => subject.failed(difference),
                },
            )
        },
    )];
    if origin == Origin::Attached {
        findings.push(protections(subject, look, require));
    }
    if let Some(release) = &verified.release {
        findings.push(RELEASE.on(subject, release.to_string()).by(
            &look.cluster,
            "no such cluster",
            |subject, cluster| {
                let seen = cluster.release.clone().unwrap_or_else(|| "none".to_owned());
                subject.decided(release.may_be_shown_as(&seen), seen)
            },
        ));
    }
    if let Some(subnet) = &verified.subnet {
        findings.push(SUBNET.on(subject, subnet.clone()).by(
            &look.cluster,
            "no such cluster",
            |subject, cluster| match seen_subnet(cluster) {
                SeenSubnet::Is(seen) => {
                    subject.decided(seen == Some(subnet), seen.unwrap_or("none"))
                }
                SeenSubnet::OneOf(requested) if !requested.contains(subnet) => {
                    subject.failed(format!("one of {}", joined(requested)))
                }
                SeenSubnet::OneOf(_) | SeenSubnet::NotThere => {
                    subject.not_there("EMR does not show a subnet yet")
                }
            },
        ));
    }
    findings.push(STEP_FLAG.on(subject, "--s3ServerSideEncryption on every s3-dist-cp step").by(
        &look.steps,
        "no such cluster",
        |subject, steps| {
            let ours = || steps.iter().filter(|step| step.is_s3_dist_cp);
            let bare: Vec<&str> = ours()
                .filter(|step| !step.has_encryption_flag)
                .map(|step| step.name.as_str())
                .collect();
            if bare.is_empty() {
                subject.passed(format!("on all {}", ours().count()))
            } else {
                subject.failed(format!("missing on: {}", bare.join("; ")))
            }
        },
    ));
    findings.extend(built::judge(subject, look, verified, origin));
    findings.push(volumes::judge(subject, look, verified));
    findings
}

/// Whether the cluster's security configuration has the required protections, and works on its
/// release.
fn protections(subject: &str, look: &ClusterObservation, require: &[Protection]) -> Finding {
    let names: Vec<&str> = require.iter().map(|protection| protection.name()).collect();
    let wanted = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    let release = look.cluster.found().and_then(|cluster| cluster.release.as_deref()?.parse().ok());
    PROTECTIONS.on(subject, wanted).by(&look.cluster, "no such cluster", |subject, cluster| {
        if cluster.security_configuration.is_none() {
            return subject.decided(require.is_empty(), "no security configuration");
        }
        subject.by(
            &look.security_configuration,
            "no such security configuration",
            |subject, found| {
                let Some(release) = &release else {
                    return subject.failed(format!(
                        "the release {}",
                        cluster.release.as_deref().unwrap_or("none")
                    ));
                };
                match security_configuration::protects(&found.content, release, require) {
                    Ok(saw) => subject.passed(saw),
                    Err(missing) => subject.failed(missing),
                }
            },
        )
    })
}

fn different_name(cluster: &ClusterFacts, wanted: &VerifiedConfiguration) -> Option<String> {
    match &cluster.security_configuration {
        None => Some("no security configuration".to_owned()),
        Some(name) if *name != wanted.name => Some(format!("the security configuration `{name}`")),
        Some(_) => None,
    }
}

fn different_content(
    now: &SecurityConfiguration,
    wanted: &VerifiedConfiguration,
) -> Option<String> {
    if now.digest != wanted.digest {
        Some(format!(
            "`{}` with other content than at pre-flight (created {})",
            now.name,
            shown(now.created)
        ))
    } else if now.created != wanted.created {
        Some(format!(
            "`{}` of the same content, but created again at {}",
            now.name,
            shown(now.created)
        ))
    } else {
        None
    }
}

/// The subnet of a cluster, as far as EMR shows it.
enum SeenSubnet<'a> {
    /// This subnet, or certainly none.
    Is(Option<&'a str>),
    /// One of these; which one is not shown yet.
    OneOf(&'a BTreeSet<String>),
    /// Not shown yet, or no longer.
    NotThere,
}

/// The subnet of a cluster. EMR may not show one while the cluster starts, or if it failed early.
/// If only one was requested, it is that one.
fn seen_subnet(cluster: &ClusterFacts) -> SeenSubnet<'_> {
    let requested = &cluster.requested_subnets;
    match (&cluster.subnet, requested.first()) {
        (Some(subnet), _) => SeenSubnet::Is(Some(subnet)),
        (None, Some(only)) if requested.len() == 1 => SeenSubnet::Is(Some(only)),
        (None, Some(_)) => SeenSubnet::OneOf(requested),
        (None, None) if cluster.has_started() => SeenSubnet::Is(None),
        (None, None) => SeenSubnet::NotThere,
    }
}

fn joined(all: &BTreeSet<String>) -> String {
    all.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// How a cluster that the runner would reuse differs from a new one; `None` if it does not.
pub(super) fn difference_before_launch(
    cluster: &ClusterFacts,
    verified: &VerifiedConfiguration,
) -> Option<String> {
    if let Some(difference) = different_name(cluster, verified) {
        return Some(difference);
    }
    // EMR does not let anybody delete a configuration in use. A configuration newer than the
    // cluster would contradict that.
    if verified.created > cluster.status.created {
        return Some(format!(
            "started at {}, before the security configuration of today was made ({})",
            shown(cluster.status.created),
            shown(verified.created)
        ));
    }
    let is_shown = |release: &ReleaseLabel| {
        cluster.release.as_deref().is_some_and(|label| release.may_be_shown_as(label))
    };
    if verified.release.as_ref().is_some_and(|release| !is_shown(release)) {
        return Some(format!("release {}", cluster.release.as_deref().unwrap_or("unknown")));
    }
    if let Some(subnet) = &verified.subnet {
        match seen_subnet(cluster) {
            SeenSubnet::Is(seen) if seen == Some(subnet) => {}
            SeenSubnet::Is(seen) => {
                return Some(format!("subnet {}, and not {subnet}", seen.unwrap_or("none")));
            }
            SeenSubnet::OneOf(requested) if !requested.contains(subnet) => {
                return Some(format!("one of the subnets {}, and not {subnet}", joined(requested)));
            }
            SeenSubnet::OneOf(_) | SeenSubnet::NotThere => {}
        }
    }
    if let Some(image) = &cluster.custom_ami {
        return Some(format!("the machine image {image}"));
    }
    verified.asked.as_ref().and_then(|asked| built::different_roles(cluster, asked))
}

/// Whether EMR does not show yet if a cluster is in the expected subnet.
pub(super) fn awaits_subnet(cluster: &ClusterFacts, verified: &VerifiedConfiguration) -> bool {
    verified.subnet.is_some()
        && matches!(seen_subnet(cluster), SeenSubnet::OneOf(_) | SeenSubnet::NotThere)
}

/// Whether a cluster's release and roles match the run's request. If the request is unknown, they
/// do not.
pub(crate) fn matches_request(cluster: &ClusterFacts, verified: &VerifiedConfiguration) -> bool {
    let same_release = verified
        .release
        .as_ref()
        .zip(cluster.release.as_deref())
        .is_some_and(|(release, label)| release.may_be_shown_as(label));
    let same_roles = verified
        .asked
        .as_ref()
        .is_some_and(|asked| built::different_roles(cluster, asked).is_none());
    same_release && same_roles
}

/// The expected state at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpectedEnd {
    /// The runner succeeded on its own clusters: they have ended, or are terminating.
    Finished,
    /// The runner succeeded on a persistent cluster: it may continue to run, but must be idle.
    Persistent,
    /// The runner failed or was stopped. The state of its verified clusters is not judged.
    Failed,
}

/// Judges a cluster's state at the end of the run.
pub(crate) fn judge_end(
    subject: &str,
    look: &ClusterObservation,
    expected: ExpectedEnd,
) -> Finding {
    let wanted = match expected {
        ExpectedEnd::Finished => "over, or TERMINATING",
        ExpectedEnd::Persistent => "no step left to do",
        ExpectedEnd::Failed => "known",
    };
    ENDED.on(subject, wanted).by(&look.cluster, "no such cluster", |subject, cluster| {
        subject.by(&look.steps, "no such cluster", |subject, steps| {
            let state = cluster.status.state;
            let holds = match expected {
                ExpectedEnd::Finished => state.is_over() || state == ClusterState::Terminating,
                ExpectedEnd::Persistent => !steps.iter().any(ClusterStep::is_open),
                ExpectedEnd::Failed => true,
            };
            subject.decided(
                holds,
                format!("{state}, {} of {} steps COMPLETED", completed(steps), steps.len()),
            )
        })
    })
}

/// Judges whether a cluster of the run still runs after the run has ended.
pub(crate) fn judge_orphan(
    subject: &str,
    cluster: &Lookup<ClusterFacts>,
    is_orphan: bool,
) -> Finding {
    ORPHANED.on(subject, "over, or somebody waits for it").by(
        cluster,
        "no such cluster",
        |subject, cluster| {
            let state = cluster.status.state;
            match (is_orphan, state.is_over()) {
                (false, _) => subject.passed(state.to_string()),
                (true, true) => {
                    subject.passed(format!("{state}: nothing waited for it, and it has ended"))
                }
                (true, false) => subject.failed(format!("{state}, and nothing waits for it")),
            }
        },
    )
}

fn completed(steps: &[ClusterStep]) -> usize {
    steps.iter().filter(|step| step.state == "COMPLETED").count()
}

/// Judges whether a run that reports success has done its work. `clusters` are the steps of each of
/// its clusters.
///
/// A failed cluster does not count against it (the runner starts another one after a bootstrap
/// failure). Steps that failed on a persistent cluster and were submitted again do not count
/// either. But some cluster must have done the work, if the run's arguments include any
/// (`has_steps`).
pub(crate) fn judge_work<'a>(
    clusters: impl IntoIterator<Item = &'a [ClusterStep]>,
    expected: ExpectedEnd,
    has_steps: bool,
) -> Finding {
    let clusters: Vec<&[ClusterStep]> = clusters.into_iter().collect();
    let (wanted, done): (_, fn(&[ClusterStep]) -> bool) = match expected {
        _ if !has_steps => ("a cluster; these arguments leave it no step", |_| true),
        ExpectedEnd::Persistent => {
            ("a cluster with COMPLETED steps, and none left to do", |steps| {
                completed(steps) > 0 && !steps.iter().any(ClusterStep::is_open)
            })
        }
        _ => ("a cluster with every step COMPLETED", |steps| {
            !steps.is_empty() && completed(steps) == steps.len()
        }),
    };
    let counts: Vec<String> = clusters
        .iter()
        .map(|steps| format!("{} of {} steps COMPLETED", completed(steps), steps.len()))
        .collect();
    let saw =
        if counts.is_empty() { "no cluster of this run".to_owned() } else { counts.join("; ") };
    RUN_DID_ITS_WORK.on("the run", wanted).decided(clusters.iter().any(|steps| done(steps)), saw)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::checks::verified::ClusterDetails;
    use crate::{
        checks::finding::Status::{NotApplicable, Passed},
        facts::emr::ClusterStatus,
    };
    use std::collections::BTreeMap;
    use time::OffsetDateTime;

    /// A cluster in `state`; all other facts are unknown.
    pub(in crate::checks) fn look(state: ClusterState) -> ClusterObservation {
        let cluster = ClusterFacts {
            id: "j-1".parse().unwrap(),
            name: "Snowplow ETL".to_owned(),
            status: ClusterStatus { state, reason: None, created: OffsetDateTime::UNIX_EPOCH },
            release: None,
            subnet: None,
            requested_subnets: BTreeSet::default(),
            security_configuration: None,
            tags: BTreeMap::new(),
            termination_protected: false,
            log_location: None,
            properties: Vec::new(),
            service_role: None,
            instance_profile: None,
            was_ready: true,
            custom_ami: None,
            has_fleets: false,
        };
        let security_configuration =
            Lookup::not_asked(&aws_calls::DESCRIBE_SECURITY_CONFIGURATION, "a test");
        ClusterObservation {
            cluster: Lookup::Found(cluster),
            steps: Lookup::Found(Vec::new()),
            security_configuration,
            closer: ClusterDetails::default(),
        }
    }

    /// A verified configuration as an older guard's journal has it.
    pub(in crate::checks) fn verified() -> VerifiedConfiguration {
        let text = r#"{"name": "sc", "created": "1970-01-01T00:00:00Z", "digest": "00", "release": "emr-5.29.0", "subnet": null}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_cluster_of_an_older_guards_run_is_judged_by_what_that_guard_wrote_down() {
        let mut look = look(ClusterState::Running);
        look.closer.group_properties = Lookup::Found(crate::facts::emr::GroupFacts::default());
        let findings = judge("j-1", &look, &verified(), Origin::Run, &[]);
        let status =
            |name: &str| findings.iter().find(|finding| finding.check.name == name).unwrap().status;
        assert_eq!((status("cluster-configurations"), status("cluster-ami")), (Passed, Passed));
        for check in ["cluster-roles", "cluster-bootstrap-actions", "cluster-volumes"] {
            assert_eq!(status(check), NotApplicable, "{check}");
        }
    }
}
