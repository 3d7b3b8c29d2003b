//! Checks on the cluster that the runner would reuse in persistent mode. The runner selects it by
//! its name only, and the cluster keeps the settings with which it was started.

use crate::{
    base::aws_calls,
    checks::{
        built,
        case::Case,
        clusters,
        finding::{Check, Finding, Level, Stage},
        security_configuration,
        verified::VerifiedConfiguration,
    },
    facts::emr::{Adoptable, ClusterState, Persistent},
};

pub(super) static CLUSTER: Check = Check {
    name: "persistent-cluster",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "With --use-persistent-jobflow the runner adopts a live cluster by its name alone and \
        adds its steps to it: the cluster's security configuration is whatever it was started \
        with, and the config's is ignored.",
    looks_at: "elasticmapreduce:ListClusters (all that live) and DescribeCluster.",
    asks: &[&aws_calls::LIST_CLUSTERS, &aws_calls::DESCRIBE_CLUSTER, &aws_calls::LIST_STEPS],
    fix: "terminate {subject}, so that the runner starts a new one with the security \
        configuration: `aws emr terminate-clusters --cluster-ids {subject}`",
    source: "EmrEtlRunner, emr_job.rb (get_emr_jobflow_id)",
};

pub(super) static CONFIGURATION: Check = Check {
    name: "persistent-cluster-configuration",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "An adopted cluster keeps the Configurations and bootstrap actions it was started with, \
        and its instance groups can have been reconfigured since: aws.emr.configuration and \
        aws.emr.bootstrap are ignored.",
    looks_at: "Configurations of elasticmapreduce:DescribeCluster and of each group in \
        ListInstanceGroups (of fleets: of each type in ListInstanceFleets), against the \
        properties that are documented to weaken encryption; ListBootstrapActions, none of which \
        may come over plain http.",
    asks: &[
        &aws_calls::LIST_CLUSTERS,
        &aws_calls::DESCRIBE_CLUSTER,
        &aws_calls::LIST_INSTANCE_GROUPS,
        &aws_calls::LIST_INSTANCE_FLEETS,
        &aws_calls::LIST_BOOTSTRAP_ACTIONS,
    ],
    fix: "terminate {subject}, so that the runner starts a new one: `aws emr terminate-clusters \
        --cluster-ids {subject}`",
    source: "EmrEtlRunner, emr_job.rb (add_configuration unless found_persistent_jobflow); Amazon \
        EMR management guide, Reconfigure an instance group in a running cluster",
};

pub(super) static ONE: Check = Check {
    name: "persistent-cluster-is-one",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "The runner stops when two live clusters bear the name, and it lists for ever when more \
        than one page (50) of clusters is alive, since it never gives the marker back.",
    looks_at: "elasticmapreduce:ListClusters in WAITING and RUNNING.",
    asks: &[&aws_calls::LIST_CLUSTERS],
    fix: "list the live clusters, then terminate those that are not needed (terminate-clusters \
        with their ids): `aws emr list-clusters --cluster-states WAITING RUNNING`",
    source: "EmrEtlRunner, emr.rb (get_emr_jobflow_id)",
};

/// The number of clusters on one page of ListClusters. Source: Amazon EMR API reference.
const PAGE: usize = 50;

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let name = &case.cluster.name;
    let Some(lookup) = &case.facts.adoptable else {
        for check in [&CLUSTER, &CONFIGURATION, &ONE] {
            findings.push(
                check
                    .on(format!("clusters named `{name}`"), "safe to adopt")
                    .not_applicable("the run starts a cluster of its own"),
            );
        }
        return;
    };
    let Some(persistent) = lookup.found() else {
        for check in [&CLUSTER, &CONFIGURATION, &ONE] {
            findings.push(check.on(format!("clusters named `{name}`"), "safe to adopt").by(
                lookup,
                "no list",
                |subject, _| subject.not_applicable(""),
            ));
        }
        return;
    };
    if persistent.clusters.is_empty() {
        for check in [&CLUSTER, &CONFIGURATION] {
            findings.push(
                check
                    .on(format!("clusters named `{name}`"), "none, or one safe to adopt")
                    .passed("none is alive; the runner will start one"),
            );
        }
    }
    findings.extend(persistent.clusters.iter().map(|adoptable| cluster(case, adoptable)));
    findings.extend(persistent.clusters.iter().map(configuration));
    findings.push(one(name, persistent));
}

/// A cluster that the runner would reuse must equal a new one.
fn cluster(case: &Case<'_>, adoptable: &Adoptable) -> Finding {
    let cluster = &adoptable.cluster;
    let subject = CLUSTER.on(
        cluster.id.as_str(),
        "the verified security configuration, release, subnet and roles, since the cluster's start",
    )
    .cluster(&cluster.id);
    let Some(verified) =
        case.facts.security_configuration.as_ref().and_then(|lookup| lookup.found())
    else {
        return subject.waiting_for(&security_configuration::EXISTS);
    };
    let verified_for = VerifiedConfiguration::of(verified, case.cluster, case.facts);
    match clusters::difference_before_launch(cluster, &verified_for) {
        None if clusters::awaits_subnet(cluster, &verified_for) => subject.unknown(
            format!("{}, and EMR does not show its subnet yet", cluster.status.state),
            "launch again once the cluster runs",
        ),
        None => {
            let protected =
                if cluster.termination_protected { ", protected from termination" } else { "" };
            let logs = cluster
                .log_location
                .as_ref()
                .map_or_else(String::new, |logs| format!(", logs in {logs}"));
            subject.passed(format!("`{}` with `{}`{logs}{protected}", cluster.name, verified.name))
        }
        Some(difference) => subject.failed(difference),
    }
}

fn configuration(adoptable: &Adoptable) -> Finding {
    let subject = CONFIGURATION
        .on(adoptable.cluster.id.as_str(), "nothing that weakens encryption")
        .cluster(&adoptable.cluster.id);
    subject.by(&adoptable.group_properties, "no such cluster", |subject, groups| {
        let all = || adoptable.cluster.properties.iter().chain(&groups.properties);
        subject.by(&adoptable.bootstrap_actions, "no such cluster", |subject, actions| {
            let mut weak = built::weakenings(all(), adoptable.cluster.s3_connector());
            let images = built::custom_amis(groups);
            weak.extend(images.map(|images| format!("machine image {images}")));
            weak.extend(
                actions
                    .iter()
                    .filter(|action| built::is_plain_http(&action.path))
                    .map(|action| format!("bootstrap action {}", action.path)),
            );
            let hidden = built::hidden_weakenings(all());
            if weak.is_empty() && !hidden.is_empty() {
                subject.unknown(built::not_shown(&hidden), built::LOOK)
            } else if weak.is_empty() {
                subject.passed(format!("{} properties, none against it", all().count()))
            } else {
                subject.failed(weak.join("; "))
            }
        })
    })
}

fn one(name: &str, persistent: &Persistent) -> Finding {
    let adoptable = |state| matches!(state, ClusterState::Waiting | ClusterState::Running);
    let named =
        persistent.clusters.iter().filter(|found| adoptable(found.cluster.status.state)).count();
    let subject =
        ONE.on(format!("clusters named `{name}`"), "one at most, among 50 live ones at most");
    subject.decided(
        named <= 1 && persistent.live <= PAGE,
        format!("{named} of that name, {} alive", persistent.live),
    )
}
