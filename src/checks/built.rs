//! Checks on a cluster's properties, which the runner's request sets: software settings, roles,
//! machine image, step arguments.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{aws_calls, wildcard::fits},
    checks::{
        finding::{Check, CheckSubject, Finding, Level, Stage},
        verified::{ClusterObservation, Origin, RequestedCluster, VerifiedConfiguration, entry},
    },
    facts::{
        emr::{BootstrapAction, ClusterFacts, ClusterProperty, GroupFacts},
        weakening::{self, WeakeningSeverity},
    },
    spec::s3_connector::S3Connector,
};

pub(super) static CONFIGURATIONS: Check = Check {
    name: "cluster-configurations",
    stage: Stage::Watch,
    level: Level::Required,
    why: "Properties of the cluster's software beat what EMR sets for traffic between nodes; what \
        the runner config says was judged before the launch, but a cluster can be started with \
        something else.",
    looks_at: "Configurations of elasticmapreduce:DescribeCluster, against the properties that \
        are documented to weaken encryption; of a cluster that this run started also against \
        aws.emr.configuration and what the runner adds to it.",
    asks: &[&aws_calls::DESCRIBE_CLUSTER],
    fix: "find out what changed the runner's request, then launch again",
    source: "Amazon EMR release guide, Configure applications; Amazon EMR management guide, \
        Encryption options; EmrEtlRunner, emr_job.rb",
};

pub(super) static ROLES: Check = Check {
    name: "cluster-roles",
    stage: Stage::Watch,
    level: Level::Required,
    why: "What the roles may do with the keys was verified for the roles that the runner config \
        names; with others the cluster may not be able to encrypt, or somebody else can read.",
    looks_at: "ServiceRole and IamInstanceProfile of elasticmapreduce:DescribeCluster, against \
        aws.emr.service_role and aws.emr.jobflow_role.",
    asks: &[&aws_calls::DESCRIBE_CLUSTER],
    fix: "find out what changed the runner's request, then launch again",
    source: "Amazon EMR API reference, DescribeCluster (ServiceRole, Ec2InstanceAttributes)",
};

pub(super) static AMI: Check = Check {
    name: "cluster-ami",
    stage: Stage::Watch,
    level: Level::Required,
    why: "A machine image of somebody's own can do as it likes with the data and with what EMR \
        sets up. The runner cannot ask for one, so that a cluster with one is not what the runner \
        asked for.",
    looks_at: "CustomAmiId of elasticmapreduce:DescribeCluster, and of each group in \
        ListInstanceGroups, or of each type in ListInstanceFleets.",
    asks: &[
        &aws_calls::DESCRIBE_CLUSTER,
        &aws_calls::LIST_INSTANCE_GROUPS,
        &aws_calls::LIST_INSTANCE_FLEETS,
    ],
    fix: "find out what changed the runner's request, then launch again",
    source: "Amazon EMR management guide, Using a custom AMI; Amazon EMR API reference, \
        DescribeCluster (CustomAmiId)",
};

pub(super) static BOOTSTRAP: Check = Check {
    name: "cluster-bootstrap-actions",
    stage: Stage::Watch,
    level: Level::Required,
    why: "Bootstrap scripts run as root on every node before anything else: one more than the \
        runner asked for can do as it likes with the data.",
    looks_at: "elasticmapreduce:ListBootstrapActions, once, against aws.emr.bootstrap and what \
        the runner adds to it. What an adopted cluster had run was judged before the launch.",
    asks: &[&aws_calls::DESCRIBE_CLUSTER, &aws_calls::LIST_BOOTSTRAP_ACTIONS],
    fix: "find out what changed the runner's request, then launch again",
    source: "Amazon EMR management guide, Create bootstrap actions; EmrEtlRunner, emr_job.rb",
};

pub(super) static GROUPS: Check = Check {
    name: "cluster-groups",
    stage: Stage::Watch,
    level: Level::Required,
    why: "Instance groups have Configurations of their own, which beat the cluster's; they can be \
        added and reconfigured while the cluster runs.",
    looks_at: "Configurations of each group in elasticmapreduce:ListInstanceGroups, or of each \
        type of the fleets in ListInstanceFleets, again as long as the cluster lives, against the \
        properties that are documented to weaken encryption.",
    asks: &[
        &aws_calls::DESCRIBE_CLUSTER,
        &aws_calls::LIST_INSTANCE_GROUPS,
        &aws_calls::LIST_INSTANCE_FLEETS,
    ],
    fix: "find out who reconfigures its groups, then launch again",
    source: "Amazon EMR management guide, Reconfigure an instance group in a running cluster",
};

pub(super) static STEP_ARGUMENTS: Check = Check {
    name: "step-arguments",
    stage: Stage::Watch,
    level: Level::Required,
    why: "A step can be given settings of its own (--conf of spark-submit, -D of Hadoop), which \
        beat the cluster's: one of them can switch encryption off for what the step does.",
    looks_at: "Arguments and Java properties of each step in elasticmapreduce:ListSteps, against \
        the properties that are documented to weaken encryption.",
    asks: &[&aws_calls::LIST_STEPS],
    fix: "find out who adds such steps, then launch again",
    source: "Spark, Configuration (dynamically loading properties) and Security; Hadoop, Commands \
        guide (generic options)",
};

/// All findings on a cluster's properties.
pub(super) fn judge(
    subject: &str,
    look: &ClusterObservation,
    verified: &VerifiedConfiguration,
    origin: Origin,
) -> Vec<Finding> {
    let by_cluster =
        |check: &'static Check,
         wanted: String,
         decide: &dyn Fn(CheckSubject, &ClusterFacts) -> Finding| {
            check
                .on(subject, wanted)
                .by(&look.cluster, "no such cluster", |subject, cluster| decide(subject, cluster))
        };
    vec![
        by_cluster(
            &CONFIGURATIONS,
            wanted_configurations(origin).to_owned(),
            &|subject, cluster| configurations(subject, cluster, verified, origin),
        ),
        match &verified.asked {
            Some(asked) => {
                let wanted = format!("{} and {}", asked.service_role, asked.instance_profile);
                by_cluster(
                    &ROLES,
                    wanted,
                    &|subject, cluster| match different_roles(cluster, asked) {
                        None => subject.passed("both"),
                        Some(difference) => subject.failed(difference),
                    },
                )
            }
            None => {
                ROLES.on(subject, "those verified").not_applicable(unknown_origin_reason(origin))
            }
        },
        by_cluster(&AMI, "one of EMR's own".to_owned(), &|subject, cluster| {
            if let Some(image) = &cluster.custom_ami {
                return subject.failed(image.clone());
            }
            subject.by(&look.closer.group_properties, "no such cluster", |subject, groups| {
                match custom_amis(groups) {
                    None => subject.passed("one of EMR's own"),
                    Some(images) => subject.failed(images),
                }
            })
        }),
        bootstrap_actions(subject, look, verified, origin),
        by_cluster(&GROUPS, "nothing that weakens encryption".to_owned(), &|subject, cluster| {
            subject.by(&look.closer.group_properties, "no such cluster", |subject, groups| {
                let properties = &groups.properties;
                let weak = weakenings(properties, cluster.s3_connector());
                let hidden = hidden_weakenings(properties);
                if weak.is_empty() && !hidden.is_empty() {
                    subject.hidden(not_shown(&hidden), LOOK)
                } else if weak.is_empty() {
                    subject.passed(format!(
                        "{} properties of groups, none against it",
                        properties.len()
                    ))
                } else {
                    subject.failed(weak.join("; "))
                }
            })
        }),
        step_arguments(subject, look),
    ]
}

/// Judges the properties of a cluster's software.
fn configurations(
    subject: CheckSubject,
    cluster: &ClusterFacts,
    verified: &VerifiedConfiguration,
    origin: Origin,
) -> Finding {
    let weak = weakenings(&cluster.properties, cluster.s3_connector());
    if !weak.is_empty() {
        return subject.failed(weak.join("; "));
    }
    let count = cluster.properties.len();
    let asked = verified.asked.as_ref().filter(|_| origin != Origin::Adopted);
    let comparison = asked.map(|asked| compare_properties(&cluster.properties, asked));
    if let Some(different) = comparison.as_ref().and_then(PropertyComparison::different) {
        return subject.failed(different);
    }
    let hidden = hidden_weakenings(&cluster.properties);
    if !hidden.is_empty() {
        return subject.hidden(not_shown(&hidden), LOOK);
    }
    match comparison {
        None => subject.passed(format!("{count} properties, none against it")),
        Some(comparison) if comparison.not_shown.is_empty() => {
            subject.passed(format!("the {count} properties that the runner asks for"))
        }
        // None of them is known to affect encryption with any value.
        Some(comparison) => Finding {
            level: Level::Advisory,
            ..subject.hidden(
                format!("what the runner asks for, but {}", not_shown(&comparison.not_shown)),
                "nothing: no value of these is known to weaken encryption",
            )
        },
    }
}

/// The fix for a property whose value AWS masks.
pub(super) const LOOK: &str =
    "look at the property on a node of the cluster, in the file of its classification";

pub(super) fn not_shown(properties: &[String]) -> String {
    format!("AWS does not show the values of: {}", properties.join("; "))
}

/// The custom machine images of the groups, if there are any.
pub(super) fn custom_amis(groups: &GroupFacts) -> Option<String> {
    let images: Vec<&str> = groups.custom_amis.iter().map(String::as_str).collect();
    (!images.is_empty()).then(|| images.join(", "))
}

/// Why the cluster cannot be compared with a request.
fn unknown_origin_reason(origin: Origin) -> &'static str {
    match origin {
        Origin::Run | Origin::Adopted => "the guard that launched it did not write them down",
        Origin::Attached => "no runner config says what they should be",
    }
}

fn bootstrap_actions(
    subject: &str,
    look: &ClusterObservation,
    verified: &VerifiedConfiguration,
    origin: Origin,
) -> Finding {
    let subject = BOOTSTRAP.on(subject, "the scripts of the runner config, and the runner's own");
    match (origin, &verified.asked) {
        (Origin::Adopted, _) => {
            subject.not_applicable("they ran before the launch, and were judged then")
        }
        (Origin::Run, None) => subject.not_applicable(unknown_origin_reason(origin)),
        (Origin::Attached, None) => {
            subject.by(&look.closer.bootstrap_actions, "no such cluster", |subject, actions| {
                match actions.iter().find(|action| is_plain_http(&action.path)) {
                    Some(action) => {
                        subject.failed(format!("{}, which travels in clear", action.path))
                    }
                    None => subject.not_applicable(unknown_origin_reason(origin)),
                }
            })
        }
        (Origin::Run | Origin::Attached, Some(asked)) => {
            subject.by(&look.closer.bootstrap_actions, "no such cluster", |subject, actions| {
                match different_bootstrap(actions, asked) {
                    None => subject.passed(format!("{} scripts", actions.len())),
                    Some(difference) => subject.failed(difference),
                }
            })
        }
    }
}

/// How a cluster's bootstrap actions differ from the runner's request; `None` if they do not.
fn different_bootstrap(seen: &[BootstrapAction], asked: &RequestedCluster) -> Option<String> {
    let mut missing: Vec<&String> = asked.bootstrap.iter().collect();
    let mut differences = Vec::new();
    for action in seen {
        let own = missing.iter().position(|path| **path == action.path);
        if let Some(own) = own {
            missing.remove(own);
            // The runner config can set only paths, not arguments.
            if !action.arguments.is_empty() {
                differences.push(format!("{} with arguments", action.path));
            }
        } else if !asked.added_bootstrap.iter().any(|pattern| fits(pattern, &action.path)) {
            differences.push(format!("{}, which was not requested", action.path));
        }
    }
    differences.extend(missing.into_iter().map(|path| format!("no {path}")));
    (!differences.is_empty()).then(|| differences.join("; "))
}

/// Whether a script is fetched without encryption.
pub(super) fn is_plain_http(path: &str) -> bool {
    path.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}

fn wanted_configurations(origin: Origin) -> &'static str {
    match origin {
        Origin::Run => "nothing that weakens encryption, and what the runner config says",
        Origin::Adopted | Origin::Attached => "nothing that weakens encryption",
    }
}

/// The `properties` that are documented to weaken encryption of a cluster with this connector; a
/// short text for each.
pub(super) fn weakenings<'a>(
    properties: impl IntoIterator<Item = &'a ClusterProperty>,
    connector: S3Connector,
) -> Vec<String> {
    let weak =
        properties.into_iter().filter_map(|ClusterProperty { classification, name, value }| {
            let found = weakening::judge_shown(classification, name, value)
                .map(|found| found.on(connector))
                .filter(|found| found.weight == WeakeningSeverity::Weakens && !found.hidden)?;
            Some(format!(
                "{classification} {name}={}: {}",
                weakening::shown(name, value),
                found.effect
            ))
        });
    weak.collect()
}

/// The properties that may weaken encryption, and whose values AWS masks.
pub(super) fn hidden_weakenings<'a>(
    properties: impl IntoIterator<Item = &'a ClusterProperty>,
) -> Vec<String> {
    let hidden =
        properties.into_iter().filter(|ClusterProperty { classification, name, value }| {
            weakening::judge_shown(classification, name, value)
                .is_some_and(|found| found.weight == WeakeningSeverity::Weakens && found.hidden)
        });
    hidden
        .map(|ClusterProperty { classification, name, .. }| format!("{classification} {name}"))
        .collect()
}

/// The result of comparing a cluster's properties with the runner's request.
#[derive(Debug, Default, PartialEq, Eq)]
struct PropertyComparison {
    /// The kind of difference by the property's name.
    differences: BTreeMap<String, &'static str>,
    /// The properties whose values AWS masks.
    not_shown: Vec<String>,
}

impl PropertyComparison {
    /// The differences in words; `None` if there are none.
    fn different(&self) -> Option<String> {
        let said: Vec<String> =
            self.differences.iter().map(|(name, what)| format!("{name}: {what}")).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// Compares a cluster's properties with the runner's request. Order and nesting do not matter, and
/// neither does the prefix for secrets, which EMR does not show.
fn compare_properties(
    properties: &[ClusterProperty],
    asked: &RequestedCluster,
) -> PropertyComparison {
    // An older guard's journal has names with the prefix for secrets.
    let asked_for = |entries: &BTreeSet<(String, String)>| -> BTreeSet<(String, String)> {
        let of_one = |(name, digest): &(String, String)| {
            let (classification, name) = name.split_once(' ').unwrap_or(("", name));
            (format!("{classification} {}", weakening::shown_name(name)), digest.clone())
        };
        entries.iter().map(of_one).collect()
    };
    let (wanted, added) = (asked_for(&asked.properties), asked_for(&asked.added_properties));
    let is_named = |entries: &BTreeSet<(String, String)>, name: &str| {
        entries.iter().any(|(known, _)| known == name)
    };
    let mut comparison = PropertyComparison::default();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for property in properties {
        let (name, digest) = entry(&property.classification, &property.name, &property.value);
        // EMR may remove blanks at the ends of a value.
        let (_, trimmed) = entry("", "", property.value.trim());
        seen.insert(name.clone());
        let is_asked = |entries: &BTreeSet<(String, String)>| {
            [&digest, &trimmed]
                .into_iter()
                .any(|digest| entries.contains(&(name.clone(), digest.clone())))
        };
        if is_asked(&wanted) || is_asked(&added) {
            continue;
        }
        let is_wanted = is_named(&wanted, &name);
        if weakening::is_masked(&property.value) && (is_wanted || is_named(&added, &name)) {
            comparison.not_shown.push(name);
        } else {
            let how = if is_wanted { "another value" } else { "not asked for" };
            comparison.differences.insert(name, how);
        }
    }
    for (name, _) in wanted {
        if !seen.contains(&name) {
            comparison.differences.insert(name, "missing");
        }
    }
    comparison
}

/// How a cluster's roles differ from the runner's request; `None` if they do not.
pub(super) fn different_roles(cluster: &ClusterFacts, asked: &RequestedCluster) -> Option<String> {
    let wrong = [
        ("service role", &cluster.service_role, &asked.service_role),
        ("instance profile", &cluster.instance_profile, &asked.instance_profile),
    ];
    let wrong = wrong
        .into_iter()
        .filter(|(_, seen, asked)| !seen.as_deref().is_some_and(|seen| is_same_role(seen, asked)));
    let said: Vec<String> = wrong
        .map(|(what, seen, _)| format!("{what} {}", seen.as_deref().unwrap_or("none")))
        .collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// Whether two texts name the same role or profile. Each may be an ARN or a plain name; within the
/// account these mean the same.
fn is_same_role(seen: &str, asked: &str) -> bool {
    let name = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
    if seen.starts_with("arn:") && asked.starts_with("arn:") {
        seen == asked
    } else {
        name(seen) == name(asked)
    }
}

fn step_arguments(subject: &str, look: &ClusterObservation) -> Finding {
    STEP_ARGUMENTS.on(subject, "nothing that weakens encryption").by(
        &look.steps,
        "no such cluster",
        |subject, steps| {
            // If the cluster is unknown, its steps are judged as with EMRFS.
            let connector = look.cluster.found().map(ClusterFacts::s3_connector);
            let is_s3a = connector.is_some_and(S3Connector::is_s3a);
            let said = |weakens: bool| -> Vec<String> {
                let of_steps = steps
                    .iter()
                    .flat_map(|step| step.argued.iter().map(move |argued| (step, argued)));
                of_steps
                    .filter(|(_, argued)| {
                        (if is_s3a { argued.weakens_s3a } else { argued.weakens }) == weakens
                    })
                    .map(|(step, argued)| format!("{}: {}", step.name, argued.what))
                    .collect()
            };
            let (weak, doubtful) = (said(true), said(false));
            if weak.is_empty() {
                let doubts = if doubtful.is_empty() {
                    String::new()
                } else {
                    format!(" known for sure; to review: {}", doubtful.join("; "))
                };
                subject.passed(format!("{} steps, nothing against it{doubts}", steps.len()))
            } else {
                subject.failed(weak.join("; "))
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::emr_etl_runner::config::RunnerConfig;

    fn property(classification: &str, name: &str, value: &str) -> ClusterProperty {
        ClusterProperty {
            classification: classification.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    fn asked() -> RequestedCluster {
        let config = RunnerConfig::parse(
            "config.yml",
            include_bytes!("../../tests/recordings/config.yml"),
            &|_: &str| Some("x".into()),
        )
        .unwrap();
        RequestedCluster::of(&config.cluster_spec())
    }

    /// The request of the recorded runner for the recorded config.
    fn recorded() -> Vec<ClusterProperty> {
        let request = include_str!(
            "../../integration/runner/tests/recorded/a02-encrypted-sc.run-job-flow.json"
        );
        let request: serde_json::Value = serde_json::from_str(request).unwrap();
        let classifications = request["Configurations"].as_array().unwrap().iter();
        let of_one = |one: &serde_json::Value| {
            let classification = one["Classification"].as_str().unwrap().to_owned();
            let properties = one["Properties"].as_object().unwrap().clone();
            properties
                .into_iter()
                .map(move |(name, value)| property(&classification, &name, value.as_str().unwrap()))
                .collect::<Vec<_>>()
        };
        classifications.flat_map(of_one).collect()
    }

    #[test]
    fn what_the_recorded_runner_sends_is_what_it_is_asked_for_with_or_without_what_it_adds() {
        assert_eq!(compare_properties(&recorded(), &asked()).different(), None);
        let added = ["io.file.buffer.size", "mapreduce.user.classpath.first"];
        let without: Vec<_> = recorded()
            .into_iter()
            .filter(|property| !added.contains(&property.name.as_str()))
            .collect();
        assert_eq!(without.len(), 2);
        assert_eq!(compare_properties(&without, &asked()).different(), None);
    }

    #[test]
    fn a_property_more_less_or_other_is_told_by_name_and_never_by_value() {
        let mut properties = recorded();
        properties.retain(|property| property.classification != "spark");
        properties.push(property("hive-site", "javax.jdo.option.ConnectionPassword", "hunter2"));
        for property in
            properties.iter_mut().filter(|property| property.classification == "yarn-site")
        {
            property.value = "9".to_owned();
        }
        assert_eq!(
            compare_properties(&properties, &asked()).different().unwrap(),
            "hive-site javax.jdo.option.ConnectionPassword: not asked for; spark \
             maximizeResourceAllocation: missing; yarn-site yarn.resourcemanager.am.max-attempts: \
             another value"
        );
        assert!(
            !serde_json::to_string(&asked()).unwrap().contains("65536"),
            "the journal holds no value"
        );
    }

    #[test]
    fn what_emr_shows_in_another_form_is_no_difference_and_what_it_does_not_show_is_none_either() {
        let mut asked = asked();
        // The forms in which an older guard and this one write it into the journal.
        asked.properties.insert(entry("hive-site", "EMR.secret@old", "arn:old"));
        asked.properties.insert(entry("hive-site", "new", "arn:new"));
        let shown = |value: &str| {
            let mut properties = recorded();
            properties.reverse();
            properties.push(property("hive-site", "new", " arn:new "));
            properties.push(property("hive-site", "old", value));
            compare_properties(&properties, &asked)
        };
        assert_eq!(shown("arn:old"), PropertyComparison::default());
        let masked = PropertyComparison {
            not_shown: vec!["hive-site old".to_owned()],
            ..PropertyComparison::default()
        };
        assert_eq!(shown("********"), masked);
        assert_eq!(shown("arn:other").different().unwrap(), "hive-site old: another value");
        let mut foreign = recorded();
        foreign.push(property("hive-site", "theirs", "********"));
        assert_eq!(
            compare_properties(&foreign, &asked).different().unwrap(),
            "hive-site new: missing; hive-site old: missing; hive-site theirs: not asked for"
        );
    }

    fn action(path: &str, arguments: &[&str]) -> BootstrapAction {
        BootstrapAction {
            path: path.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        }
    }

    #[test]
    fn bootstrap_actions_are_those_of_the_config_and_the_runners_own_from_the_regions_bucket() {
        let snowplow = action(
            "s3://snowplow-hosted-assets/common/emr/snowplow-ami5-bootstrap-0.1.0.sh",
            &["1.10"],
        );
        let asked =
            RequestedCluster { bootstrap: vec!["s3://acme-etl/a.sh".to_owned()], ..asked() };
        let own = action("s3://acme-etl/a.sh", &[]);
        assert_eq!(different_bootstrap(&[own.clone(), snowplow.clone()], &asked), None);
        assert_eq!(
            different_bootstrap(std::slice::from_ref(&own), &asked),
            None,
            "without Spark Enrich the runner adds none"
        );
        for (seen, difference) in [
            (vec![snowplow.clone()], "no s3://acme-etl/a.sh"),
            (
                vec![own.clone(), own.clone(), snowplow.clone()],
                "s3://acme-etl/a.sh, which was not requested",
            ),
            (
                vec![action("s3://acme-etl/a.sh", &["x"]), snowplow.clone()],
                "s3://acme-etl/a.sh with arguments",
            ),
            (
                vec![
                    own,
                    action(
                        "s3://snowplow-hosted-assets-evil/common/emr/snowplow-ami5-bootstrap-0.1.0.sh",
                        &[],
                    ),
                ],
                "s3://snowplow-hosted-assets-evil/common/emr/snowplow-ami5-bootstrap-0.1.0.sh, \
                 which was not requested",
            ),
        ] {
            assert_eq!(different_bootstrap(&seen, &asked).as_deref(), Some(difference));
        }
    }

    #[test]
    fn a_role_is_the_same_by_name_or_arn_but_not_in_another_account() {
        let arn = |account: &str| format!("arn:aws:iam::{account}:role/service/EMR_DefaultRole");
        for (seen, asked, same) in [
            ("EMR_DefaultRole", "EMR_DefaultRole", true),
            (arn("1").as_str(), "EMR_DefaultRole", true),
            ("EMR_DefaultRole", arn("1").as_str(), true),
            (arn("1").as_str(), arn("1").as_str(), true),
            (arn("1").as_str(), arn("2").as_str(), false),
            ("Other", "EMR_DefaultRole", false),
        ] {
            assert_eq!(is_same_role(seen, asked), same, "{seen} {asked}");
        }
    }
}
