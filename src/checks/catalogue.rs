//! The catalogue of checks, and their findings. Every check is a pure function of facts; none makes
//! AWS calls.

use crate::{
    base::text,
    checks::{
        buckets, built,
        case::Case,
        certificates, clusters, config, data,
        finding::{Check, Finding, Level, Stage, Status, apply_exceptions, apply_policy},
        guard_rights, keys, launch, network, node_names, node_objects, organization, outputs,
        overrides, persistent, release_lifecycle, roles, security_configuration, traffic, volumes,
        writes, written,
    },
    settings::policy::{Policy, PolicyException},
};

/// All checks, in the order in which a run uses them.
pub static CATALOGUE: &[&Check] = &[
    &config::AMBIGUOUS,
    &launch::AWS_ENDPOINT,
    &launch::AWS_TRUST_STORE,
    &launch::AWS_PROXY,
    &launch::RUNNER_ROUTE,
    &launch::RUNNER_VERSION,
    &launch::SAME_ACCOUNT,
    &launch::WATCHABLE,
    &guard_rights::MAY_WATCH,
    &guard_rights::MAY_TAG,
    &launch::REPLACED,
    &launch::ENVIRONMENT,
    &persistent::CLUSTER,
    &persistent::CONFIGURATION,
    &persistent::ONE,
    &buckets::EXISTS,
    &buckets::OWNER,
    &buckets::REGION,
    &buckets::DEFAULT_ENCRYPTION,
    &buckets::TLS_ONLY,
    &buckets::PUBLIC_ACCESS,
    &buckets::CLOJURE_COLLECTOR,
    &writes::WRITTEN,
    &writes::DOWNGRADE,
    &writes::POLICY_CLASH,
    &writes::OVERRIDES,
    &data::ENCRYPTED,
    &data::VERSIONS,
    &security_configuration::EXISTS,
    &security_configuration::S3_AT_REST,
    &security_configuration::LOCAL_DISK_AT_REST,
    &security_configuration::IN_TRANSIT,
    &security_configuration::NO_KERBEROS,
    &security_configuration::METADATA_SERVICE,
    &certificates::OBJECT,
    &certificates::KEY,
    &certificates::CHAIN,
    &certificates::VALIDITY,
    &certificates::NAMES,
    &certificates::STRENGTH,
    &node_objects::PROVIDER,
    &node_objects::MAY_READ,
    &keys::EXISTS,
    &keys::ENABLED,
    &keys::SYMMETRIC,
    &keys::REGION,
    &keys::ROTATION,
    &keys::CUSTOMER_MANAGED,
    &keys::LOCAL_DISK,
    &roles::JOBFLOW_EXISTS,
    &roles::SERVICE_EXISTS,
    &roles::JOBFLOW_MAY_USE,
    &roles::SERVICE_MAY_USE,
    &roles::MAPPED_MAY_USE,
    &organization::ALLOWS,
    &network::RELEASE,
    &release_lifecycle::SUPPORTED,
    &network::SUBNET,
    &network::SUBNET_EXISTS,
    &network::VPC_DNS,
    &node_names::VPC_DHCP,
    &network::EBS_BY_DEFAULT,
    &network::INSTANCE_TYPES,
    &overrides::WEAKENS,
    &overrides::REVIEW,
    &overrides::BOOTSTRAP,
    &overrides::ADDITIONAL_INFO,
    &traffic::TARGET_TLS,
    &traffic::ENRICHMENT_SOURCES,
    &traffic::MONITORING_TLS,
    &clusters::SECURITY_CONFIGURATION,
    &clusters::PROTECTIONS,
    &clusters::RELEASE,
    &clusters::SUBNET,
    &clusters::STEP_FLAG,
    &built::CONFIGURATIONS,
    &built::ROLES,
    &built::AMI,
    &built::BOOTSTRAP,
    &built::GROUPS,
    &volumes::VOLUMES,
    &built::STEP_ARGUMENTS,
    &clusters::ENDED,
    &clusters::ORPHANED,
    &clusters::RUN_DID_ITS_WORK,
    &outputs::OUTPUTS,
    &written::OBJECTS,
];

/// The checks that can be decided of a cluster that runs already, whoever started it: those on what
/// it depends on, and those on itself. `written-encryption` is judged by what others of them read.
pub(crate) fn of_running_clusters() -> impl Iterator<Item = &'static Check> {
    let on_surroundings = [
        &security_configuration::EXISTS,
        &security_configuration::S3_AT_REST,
        &security_configuration::LOCAL_DISK_AT_REST,
        &security_configuration::IN_TRANSIT,
        &security_configuration::NO_KERBEROS,
        &security_configuration::METADATA_SERVICE,
        &certificates::OBJECT,
        &certificates::KEY,
        &certificates::CHAIN,
        &certificates::VALIDITY,
        &certificates::NAMES,
        &certificates::STRENGTH,
        &node_objects::PROVIDER,
        &node_objects::MAY_READ,
        &keys::EXISTS,
        &keys::ENABLED,
        &keys::SYMMETRIC,
        &keys::REGION,
        &keys::ROTATION,
        &keys::CUSTOMER_MANAGED,
        &keys::LOCAL_DISK,
        &roles::JOBFLOW_EXISTS,
        &roles::SERVICE_EXISTS,
        &roles::JOBFLOW_MAY_USE,
        &roles::SERVICE_MAY_USE,
        &roles::MAPPED_MAY_USE,
        &organization::ALLOWS,
        &network::RELEASE,
        &network::SUBNET,
        &network::SUBNET_EXISTS,
        &network::VPC_DNS,
        &node_names::VPC_DHCP,
        &network::EBS_BY_DEFAULT,
        &network::INSTANCE_TYPES,
        &release_lifecycle::SUPPORTED,
    ];
    let on_itself = CATALOGUE.iter().copied().filter(|check| check.stage == Stage::Watch);
    on_surroundings.into_iter().chain(on_itself)
}

/// The check with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Check> {
    CATALOGUE.iter().copied().find(|check| check.name == name)
}

/// The error for an unknown check's `name`. It suggests a check with a similar name, if there is
/// one.
pub(crate) fn no_such_check(name: &str) -> String {
    match text::nearest(name, CATALOGUE.iter().map(|check| check.name)) {
        Some(meant) => format!("there is no check `{name}`; did you mean `{meant}`?"),
        None => format!("there is no check `{name}`; `emr-etl-guard explain` lists them"),
    }
}

/// The checks of a run that are required by default: those on its clusters, and those on its
/// output.
pub(crate) fn required_of_runs() -> impl Iterator<Item = &'static Check> {
    let of_output = [outputs::OUTPUTS.name, written::OBJECTS.name];
    CATALOGUE.iter().copied().filter(move |check| {
        check.level == Level::Required
            && (check.stage == Stage::Watch || of_output.contains(&check.name))
    })
}

/// Those of them that `policy` makes advisory. If they fail, the run continues, so the run must not
/// be called verified in their respect.
pub(crate) fn not_enforced(policy: &Policy) -> Vec<&'static Check> {
    let names = |list: &[String], check: &Check| list.iter().any(|name| name == check.name);
    required_of_runs()
        .filter(|check| names(&policy.advise, check) && !names(&policy.enforce, check))
        .collect()
}

/// All pre-flight findings on `case`.
#[must_use]
pub fn pre_flight(case: &Case<'_>) -> Vec<Finding> {
    let (mut findings, is_aws) = answered_by_aws(case);
    if !is_aws {
        return findings;
    }
    let rooms = [
        config::check,
        launch::check,
        guard_rights::check,
        persistent::check,
        buckets::check,
        writes::check,
        data::check,
        security_configuration::check,
        certificates::check,
        node_objects::check,
        keys::check,
        roles::check,
        organization::check,
        network::check,
        overrides::check,
        traffic::check,
    ];
    for room in rooms {
        room(case, &mut findings);
    }
    complete(&mut findings, case);
    findings
}

/// The findings on the servers that answered as AWS, and whether they were AWS's. If not, no other
/// call was made: nothing else can be judged, and no policy or exception can change that.
fn answered_by_aws(case: &Case<'_>) -> (Vec<Finding>, bool) {
    let mut findings = launch::endpoints(case);
    if case.facts.endpoints.iter().any(|endpoint| !endpoint.accepted) {
        return (findings, false);
    }
    findings.extend(launch::connections(case));
    if case.facts.connections.has_refused() {
        findings.retain(|finding| finding.status == Status::Failed);
        return (findings, false);
    }
    (findings, true)
}

/// The findings that say whether anything in the account may be changed: whose servers answered,
/// and whether guard and runner have the same account.
#[must_use]
pub(crate) fn of_account(case: &Case<'_>) -> Vec<Finding> {
    let (mut findings, is_aws) = answered_by_aws(case);
    if !is_aws {
        return findings;
    }
    findings.push(launch::same_account(case));
    complete(&mut findings, case);
    findings
}

/// The pre-flight findings that apply to an existing cluster, whoever has started it. `case` holds
/// the cluster's own properties.
#[must_use]
pub(crate) fn of_cluster(case: &Case<'_>) -> Vec<Finding> {
    let (mut findings, is_aws) = answered_by_aws(case);
    if !is_aws {
        return findings;
    }
    complete(&mut findings, case);
    findings.extend(of_cluster_alone(case));
    findings
}

/// The same without the findings on this program's own connections to AWS.
#[must_use]
pub(crate) fn of_cluster_alone(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for room in [
        security_configuration::check,
        certificates::check,
        node_objects::check,
        keys::check,
        roles::check,
        organization::check,
        network::check,
        writes::of_configuration,
    ] {
        room(case, &mut findings);
    }
    complete(&mut findings, case);
    findings
}

/// Completes the fixes, and applies the policy with its exceptions.
fn complete(findings: &mut [Finding], case: &Case<'_>) {
    findings.iter_mut().for_each(|finding| finding.complete_fix(case.commands));
    apply_policy(findings, case.policy);
    apply_exceptions(findings, case.policy);
}

/// Keeps only the findings of the named checks. A named check without a finding is Unknown, because
/// an earlier check blocks it: no finding must not count as passed.
pub(crate) fn only(findings: Vec<Finding>, names: &[String]) -> Vec<Finding> {
    let mut kept: Vec<Finding> = findings
        .into_iter()
        .filter(|finding| names.iter().any(|name| name == finding.check.name))
        .collect();
    for check in names.iter().filter_map(|name| find(name)) {
        if !kept.iter().any(|finding| finding.check.name == check.name) {
            kept.push(check.on("-", "a finding").unknown(
                "skipped: blocked by an earlier check",
                "check without --only, and fix what that says first",
            ));
        }
    }
    kept
}

/// The exceptions that match no finding: the fault has been fixed, or was never there.
#[must_use]
pub fn unused_exceptions<'a>(findings: &[Finding], policy: &'a Policy) -> Vec<&'a PolicyException> {
    let used = |exception: &&PolicyException| {
        findings.iter().any(|finding| {
            finding.status == Status::Excepted
                && exception.covers(finding.check.name, &finding.subject)
        })
    };
    policy.exceptions.iter().filter(|exception| !used(exception)).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::checks::fix::{FilledFix, FixTemplate, example, tests::context};

    /// Every template of the catalogue, filled with values that an attacker could choose.
    fn hostile(text: &'static str) -> FilledFix {
        let evil = "x'; reboot; {region} `id` $(id) `aws kms create-key`";
        let template = ["subject", "key", "domain", "encryption", "locations", "buckets"]
            .into_iter()
            .fold(FixTemplate::new(text), |template, name| template.word(name, evil));
        template.fill(&context())
    }

    #[test]
    fn every_command_of_the_catalogue_is_complete_as_pasted() {
        let mut commands = 0;
        let left = regex::Regex::new(r"\{[a-z-]+\}").unwrap();
        for check in CATALOGUE {
            let prose: String = check.fix.split('`').step_by(2).collect();
            for unmarked in ["aws ", "emr-etl-guard ", "openssl "] {
                assert!(
                    !prose.split([' ', ':', '(']).any(|word| word == unmarked.trim()),
                    "{}: a command outside of backticks: {prose}",
                    check.name
                );
            }
            assert!(check.fix.matches('`').count().is_multiple_of(2), "{}", check.name);
            for command in hostile(check.fix).commands {
                commands += 1;
                let name = check.name;
                for (calls, option) in [
                    (command.matches("aws ").count(), " --region eu-"),
                    (command.matches("aws ").count(), " --profile 'night run'"),
                ] {
                    let evil = command.matches("`aws kms").count();
                    assert_eq!(command.matches(option).count(), calls - evil, "{name}: {command}");
                }
                let plain = example(check.fix);
                for placeholder in ["…", "KEY_ARN", "NEW", "file://…", "..."] {
                    assert!(!plain.contains(placeholder), "{name}: {plain}");
                }
                // Each value must be a single word, so that a shell can parse the command.
                let read = Command::new("sh").args(["-n", "-c", &command]).status().unwrap();
                assert!(read.success(), "{name}: {command}");
            }
            // An unknown placeholder would be pasted unchanged.
            let example = example(check.fix);
            assert!(!left.is_match(&example), "{}: {example}", check.name);
        }
        assert!(commands >= 20, "{commands}");
    }

    #[test]
    fn every_check_has_a_name_of_its_own_and_says_why_what_and_how() {
        let mut names: Vec<&str> = CATALOGUE.iter().map(|check| check.name).collect();
        for check in CATALOGUE {
            assert!(
                check
                    .name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{}",
                check.name
            );
            for text in [check.why, check.looks_at, check.fix, check.source] {
                assert!(text.len() > 10, "{}: {text}", check.name);
            }
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
