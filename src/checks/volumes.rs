//! The check on the actual disks of a cluster's instances: EC2's data about each volume, including
//! root volumes.

use std::collections::BTreeSet;

use crate::{
    base::aws_calls,
    checks::{
        finding::{Check, CheckSubject, Finding, Level, Stage},
        verified::{ClusterObservation, VerifiedConfiguration},
    },
    facts::emr::{ClusterFacts, ClusterInstance, ClusterState, LocalDisk},
};

pub(super) static VOLUMES: Check = Check {
    name: "cluster-volumes",
    stage: Stage::Watch,
    level: Level::Required,
    why: "EBS encryption by the security configuration promises that every volume is encrypted by \
        its key, the root volumes too; what the instances really got is another question, for \
        those that join later as well.",
    looks_at: "elasticmapreduce:ListInstances once instances exist, and Encrypted and KmsKeyId of \
        each of their volumes in ec2:DescribeVolumes, again as long as the cluster lives. Where \
        the security configuration encrypts disks by LUKS alone, no API shows it.",
    asks: &[&aws_calls::DESCRIBE_CLUSTER, &aws_calls::LIST_INSTANCES, &aws_calls::DESCRIBE_VOLUMES],
    fix: "look at what gives instances other volumes (a custom AMI, a launch by hand), and at the \
        key, then launch again",
    source: "Amazon EMR management guide, Encryption options: Local disk encryption (EBS \
        encryption); Amazon EC2 API reference, DescribeVolumes",
};

/// Judges the volumes of a cluster: all that were ever seen, and whether every existing instance
/// has shown some.
pub(super) fn judge(
    subject: &str,
    look: &ClusterObservation,
    verified: &VerifiedConfiguration,
) -> Finding {
    let Some(ebs) = &verified.ebs else {
        let content =
            look.security_configuration.found().map(|configuration| &configuration.content);
        return VOLUMES.on(subject, "encrypted as verified").not_applicable(
            match content.and_then(|content| content.local_disk.as_ref()) {
                Some(LocalDisk { ebs: false, .. }) => {
                    "inferred: LUKS, by the security configuration; no API shows it"
                }
                _ => "EBS encryption is no part of what was verified",
            },
        );
    };
    let wanted = format!("every volume encrypted by {}", ebs.key.as_deref().unwrap_or("EBS"));
    VOLUMES.on(subject, wanted).by(&look.cluster, "no such cluster", |subject, cluster| {
        let wrong: Vec<String> =
            look.closer.volumes.values().filter_map(|volume| ebs.against(volume)).collect();
        if wrong.is_empty() {
            of_instances(subject, cluster, look)
        } else {
            subject.failed(wrong.join("; "))
        }
    })
}

/// The seen volumes are correct. Decides whether all volumes were seen.
fn of_instances(
    subject: CheckSubject,
    cluster: &ClusterFacts,
    look: &ClusterObservation,
) -> Finding {
    let volumes = &look.closer.volumes;
    let shown: BTreeSet<&str> = volumes.values().map(|volume| volume.instance.as_str()).collect();
    let passed = |subject: CheckSubject| {
        subject.passed(format!("{} volumes of {} instances", volumes.len(), shown.len()))
    };
    // An instance that EC2 has not started yet has no disk.
    let known: Vec<(&str, &ClusterInstance)> = look
        .closer
        .nodes
        .found()
        .into_iter()
        .flatten()
        .filter_map(|node| Some((node.instance.as_deref()?, node)))
        .collect();
    let bare: Vec<&(&str, &ClusterInstance)> =
        known.iter().filter(|(instance, _)| !shown.contains(instance)).collect();
    match cluster.status.state {
        ClusterState::Starting => subject.not_there("waits for instances"),
        ClusterState::Terminating
        | ClusterState::Terminated
        | ClusterState::TerminatedWithErrors => {
            let idle = look.steps.found().is_some_and(Vec::is_empty);
            match (volumes.is_empty(), bare.len()) {
                (false, 0) => passed(subject),
                (true, _) if idle || (cluster.status.state.is_over() && !cluster.was_ready) => {
                    subject.not_applicable("it was over before it could run a step")
                }
                _ => subject
                    .not_there("instances were gone before anybody could look at their volumes"),
            }
        }
        state => subject.by(&look.closer.nodes, "no such cluster", |subject, _| {
            subject.by(&look.closer.volumes_asked, "no answer", |subject, ()| {
                if let Some((instance, _)) = bare.iter().find(|(_, node)| node.state == "RUNNING") {
                    return subject.unknown(format!("no volume of {instance}"), FIX);
                }
                match (known.len(), bare.len()) {
                    (0, _) if state == ClusterState::Bootstrapping => {
                        subject.not_there("waits for instances")
                    }
                    (0, _) => subject.unknown("no instance", FIX),
                    (_, 0) => passed(subject),
                    (known, bare) => subject
                        .not_there(format!("waits for the volumes of {bare} of {known} instances")),
                }
            })
        }),
    }
}

const FIX: &str = "look at the instances in the EC2 console";

#[cfg(test)]
mod tests {
    use crate::{
        checks::verified::{Ebs, is_key},
        facts::ec2::Volume,
    };
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        base::lookup::{Lookup, LookupError, LookupErrorKind},
        checks::{
            clusters::tests::{look, verified},
            finding::Status,
        },
        facts::emr::ClusterStep,
    };

    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";

    fn volume(id: &str, instance: &str, key: Option<&str>) -> (String, Volume) {
        let volume = Volume {
            id: id.to_owned(),
            instance: instance.to_owned(),
            device: "/dev/xvda".to_owned(),
            encrypted: key.is_some(),
            key: key.map(str::to_owned),
        };
        (id.to_owned(), volume)
    }

    fn node(instance: &str, state: &str) -> ClusterInstance {
        ClusterInstance {
            instance: (!instance.is_empty()).then(|| instance.to_owned()),
            state: state.to_owned(),
        }
    }

    fn step() -> ClusterStep {
        ClusterStep {
            id: "s-1".to_owned(),
            name: "x".to_owned(),
            state: "COMPLETED".to_owned(),
            is_s3_dist_cp: false,
            has_encryption_flag: false,
            argued: Vec::new(),
            places: Vec::new(),
        }
    }

    fn judged(
        state: ClusterState,
        nodes: Lookup<Vec<ClusterInstance>>,
        volumes: Vec<(String, Volume)>,
    ) -> (Status, bool, String) {
        let mut look = look(state);
        look.steps = Lookup::Found(vec![step()]);
        look.closer.nodes = nodes;
        look.closer.volumes_asked = Lookup::Found(());
        look.closer.volumes = BTreeMap::from_iter(volumes);
        let verified = VerifiedConfiguration {
            ebs: Some(Ebs { key: Some(KEY.to_owned()), expected: Vec::new() }),
            ..verified()
        };
        let finding = judge("j-1", &look, &verified);
        (finding.status, finding.not_there, finding.saw.into())
    }

    #[test]
    fn while_there_is_nothing_to_see_it_is_neither_proved_nor_overdue() {
        use crate::facts::emr::ClusterState::{Bootstrapping, Running, Starting, Terminating};
        let lost = || Lookup::Unreachable(LookupError::new("x", LookupErrorKind::Other, "y"));
        for (state, nodes, not_there) in [
            (Starting, lost(), true),
            (Bootstrapping, Lookup::Found(vec![]), true),
            (Bootstrapping, Lookup::Found(vec![node("", "AWAITING_FULFILLMENT")]), true),
            (Bootstrapping, Lookup::Found(vec![node("i-1", "BOOTSTRAPPING")]), true),
            (Bootstrapping, lost(), false),
            (Running, Lookup::Found(vec![]), false),
            (Running, Lookup::Found(vec![node("i-1", "RUNNING")]), false),
            (Running, Lookup::Found(vec![node("i-1", "PROVISIONING")]), true),
            (Running, lost(), false),
            (Terminating, lost(), true),
        ] {
            let (status, waits, saw) = judged(state, nodes, vec![]);
            assert_eq!((status, waits), (Status::Unknown, not_there), "{state}: {saw}");
        }
    }

    #[test]
    fn every_volume_counts_and_an_instance_that_joins_later_is_waited_for() {
        let (one, two) = (node("i-1", "RUNNING"), node("i-2", "PROVISIONING"));
        let good = || vec![volume("vol-1", "i-1", Some(KEY)), volume("vol-2", "i-1", Some(KEY))];
        let (status, _, saw) =
            judged(ClusterState::Running, Lookup::Found(vec![one.clone()]), good());
        assert_eq!((status, saw.as_str()), (Status::Passed, "2 volumes of 1 instances"));
        let (status, not_there, _) =
            judged(ClusterState::Running, Lookup::Found(vec![one, two]), good());
        assert_eq!((status, not_there), (Status::Unknown, true));
        for bad in [
            volume("vol-3", "i-1", None),
            volume("vol-3", "i-1", Some("arn:aws:kms:eu-west-1:123456789012:key/2")),
        ] {
            // A volume stays recorded, even after its instance has ended.
            for state in
                [ClusterState::Bootstrapping, ClusterState::Running, ClusterState::Terminated]
            {
                let volumes = good().into_iter().chain([bad.clone()]).collect();
                assert_eq!(judged(state, Lookup::Found(vec![]), volumes).0, Status::Failed);
            }
        }
    }

    #[test]
    fn a_cluster_that_is_over_is_proved_by_what_was_seen_of_it() {
        let over = ClusterState::Terminated;
        assert_eq!(
            judged(over, Lookup::Found(vec![]), vec![volume("vol-1", "i-1", Some(KEY))]).0,
            Status::Passed
        );
        let (status, not_there, _) = judged(over, Lookup::Found(vec![]), vec![]);
        assert_eq!((status, not_there), (Status::Unknown, true), "it has run, and nobody looked");
        let (status, not_there, _) = judged(
            over,
            Lookup::Found(vec![node("i-2", "RUNNING")]),
            vec![volume("vol-1", "i-1", Some(KEY))],
        );
        assert_eq!(
            (status, not_there),
            (Status::Unknown, true),
            "one of its instances was never seen"
        );
    }

    #[test]
    fn a_key_is_compared_however_it_is_written_where_it_can_be() {
        for (wanted, same) in [
            (KEY, true),
            ("11111111-1111-1111-1111-111111111111", true),
            ("alias/unresolved", true),
            ("22222222-2222-2222-2222-222222222222", false),
            ("arn:aws:kms:eu-west-1:999999999999:key/11111111-1111-1111-1111-111111111111", false),
        ] {
            assert_eq!(is_key(KEY, wanted), same, "{wanted}");
        }
    }

    #[test]
    fn where_an_alias_could_not_be_looked_up_the_expected_keys_decide() {
        let ebs = |expected: &[&str]| Ebs {
            key: Some("alias/unresolved".to_owned()),
            expected: expected.iter().map(ToString::to_string).collect(),
        };
        let (_, seen) = volume("vol-1", "i-1", Some(KEY));
        let wrong = |expected: &[&str]| ebs(expected).against(&seen);
        assert_eq!(wrong(&[]), None);
        assert_eq!(wrong(&["arn:aws:kms:eu-west-1:123456789012:key/2", KEY]), None);
        assert_eq!(wrong(&["alias/unresolved-too"]), None, "it may be the same key");
        assert_eq!(
            wrong(&["arn:aws:kms:eu-west-1:123456789012:key/2"]),
            Some(format!("vol-1 (/dev/xvda of i-1) is encrypted by {KEY}"))
        );
    }

    #[test]
    fn without_ebs_encryption_there_is_nothing_to_see() {
        let finding = judge("j-1", &look(ClusterState::Running), &verified());
        assert_eq!(finding.status, Status::NotApplicable);
    }
}
