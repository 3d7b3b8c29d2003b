//! Checks: the catalogue of rules, and the findings they make. Every rule is a pure function of
//! facts; none asks AWS anything.

mod buckets;
pub(crate) mod built;
mod certificates;
pub(crate) mod clusters;
mod config;
mod data;
mod keys;
mod launch;
mod network;
mod node_objects;
pub(crate) mod outputs;
mod overrides;
mod persistent;
#[cfg(test)]
mod properties;
mod roles;
mod security_configuration;
pub(crate) mod stored;
mod traffic;
mod volumes;
mod writes;
pub(crate) mod written;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

pub(crate) use buckets::kind_name;

use crate::{
    aws::{Lookup, Obstacle, calls::Call},
    facts::Facts,
    plan::{Documents, Plan},
    runner_config::RunnerConfig,
    settings::{Exception, Policy},
};

/// One named rule.
#[derive(Debug)]
pub struct Check {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// When it is asked.
    pub stage: Stage,
    /// Whether it can refuse, unless the policy says otherwise.
    pub level: Level,
    /// What goes wrong without it.
    pub why: &'static str,
    /// The facts it is decided by.
    pub looks_at: &'static str,
    /// The calls that tell those facts: where one of them is denied or fails, the check is Unknown.
    pub asks: &'static [&'static Call],
    /// How to mend it; `{subject}` stands for what the finding is about.
    pub mend: &'static str,
    /// Where AWS or the setup guide says so.
    pub source: &'static str,
}

/// When a check is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Before the launch.
    PreFlight,
    /// On each cluster of the run, while it lives.
    Watch,
    /// After the run.
    Confirm,
}

/// Whether a check can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It must be proved.
    Required,
    /// It is reported only.
    Advised,
}

/// A check's answer on one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Facts show that it holds.
    Proved,
    /// Facts show that it does not.
    Refuted,
    /// The facts could not be established.
    Unknown,
    /// The policy or the config leaves nothing to check.
    NotApplicable,
    /// It is Refuted or Unknown, and an exception in the settings covers it.
    Excused,
}

/// What one check found on one subject.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Finding {
    /// The check.
    #[serde(serialize_with = "by_name")]
    #[schemars(with = "&str")]
    pub check: &'static Check,
    /// Whether it can refuse, by the policy.
    pub level: Level,
    /// What it is about: a bucket, a key, a cluster, ….
    pub subject: String,
    /// The answer.
    pub status: Status,
    /// What was seen.
    pub saw: String,
    /// What was wanted.
    pub wanted: String,
    /// Where in the runner config the subject stands, as `file:line:column`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What to do, when it is not proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// Why it is excused, and until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excused: Option<String>,
    /// The check that must be mended first, where this one is Unknown only because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<&'static str>,
    /// Unknown only because there is nothing to look at yet, or no longer: no proof, and nothing
    /// against it either.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not_there: bool,
}

impl Finding {
    /// Refuted or Unknown: something is left to do.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.status, Status::Refuted | Status::Unknown)
    }

    /// What was seen and wanted, in half a line.
    #[must_use]
    pub fn in_brief(&self) -> String {
        format!("{}: saw {}, wanted {}", self.check.name, self.saw, self.wanted)
    }

    /// The open ones of `findings` in brief, joined; where some are refuted, these alone: what
    /// nobody has looked at yet explains nothing then.
    pub(crate) fn open_in_brief<'a>(findings: impl IntoIterator<Item = &'a Self>) -> String {
        let open: Vec<&Self> = findings.into_iter().filter(|finding| finding.is_open()).collect();
        let refuted = open.iter().any(|finding| finding.status == Status::Refuted);
        let told = open.into_iter().filter(|finding| !refuted || finding.status == Status::Refuted);
        told.map(Self::in_brief).collect::<Vec<_>>().join("; ")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a field by reference")]
fn by_name<S: Serializer>(check: &&'static Check, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(check.name)
}

/// All checks, in the order of the line.
pub static CATALOGUE: &[&Check] = &[
    &config::AMBIGUOUS,
    &launch::AWS_ENDPOINT,
    &launch::RUNNER_VERSION,
    &launch::SAME_ACCOUNT,
    &launch::WATCHABLE,
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
    &roles::JOBFLOW_EXISTS,
    &roles::SERVICE_EXISTS,
    &roles::JOBFLOW_MAY_USE,
    &roles::SERVICE_MAY_USE,
    &roles::MAPPED_MAY_USE,
    &network::RELEASE,
    &network::SUBNET,
    &network::SUBNET_EXISTS,
    &network::VPC_DNS,
    &network::VPC_DHCP,
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

/// The check called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Check> {
    CATALOGUE.iter().copied().find(|check| check.name == name)
}

/// What the pre-flight checks look at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The runner config.
    pub config: &'a RunnerConfig,
    /// What the run will touch.
    pub plan: &'a Plan,
    /// The storage targets and enrichments that the run is given.
    pub documents: &'a Documents,
    /// The security configuration that will be sealed.
    pub security_configuration: Option<&'a str>,
    /// What is required.
    pub policy: &'a Policy,
    /// What AWS and the runner said.
    pub facts: &'a Facts,
}

/// Every pre-flight finding on `case`.
#[must_use]
pub fn pre_flight(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = launch::endpoints(case);
    // Behind a refused endpoint nothing was asked: there is nothing else to judge, and no policy or
    // exception can make up for that.
    if case.facts.endpoints.iter().any(|endpoint| !endpoint.accepted) {
        return findings;
    }
    let rooms = [
        config::check,
        launch::check,
        persistent::check,
        buckets::check,
        writes::check,
        data::check,
        security_configuration::check,
        certificates::check,
        node_objects::check,
        keys::check,
        roles::check,
        network::check,
        overrides::check,
        traffic::check,
    ];
    for room in rooms {
        room(case, &mut findings);
    }
    apply_policy(&mut findings, case.policy);
    excuse(&mut findings, case.policy);
    findings
}

/// The pre-flight findings that a cluster itself can be asked about, whoever has started it; `case`
/// holds what it says of itself.
#[must_use]
pub(crate) fn of_cluster(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = launch::endpoints(case);
    if case.facts.endpoints.iter().any(|endpoint| !endpoint.accepted) {
        return findings;
    }
    for room in [
        security_configuration::check,
        certificates::check,
        node_objects::check,
        keys::check,
        roles::check,
        network::check,
    ] {
        room(case, &mut findings);
    }
    apply_policy(&mut findings, case.policy);
    excuse(&mut findings, case.policy);
    findings
}

/// Keeps the findings of the checks named. A check that said nothing, because another stands before
/// it, is Unknown: its silence must not pass for proof.
pub(crate) fn only(findings: Vec<Finding>, names: &[String]) -> Vec<Finding> {
    let mut kept: Vec<Finding> = findings
        .into_iter()
        .filter(|finding| names.iter().any(|name| name == finding.check.name))
        .collect();
    for check in names.iter().filter_map(|name| find(name)) {
        if !kept.iter().any(|finding| finding.check.name == check.name) {
            kept.push(check.on("-", "a finding").unknown(
                "nothing: another check stands before it",
                "check without --only, and mend what that says first",
            ));
        }
    }
    kept
}

/// Excuses what an exception covers. What waits for an excused finding stays Unknown: nobody has
/// looked at it.
fn excuse(findings: &mut [Finding], policy: &Policy) {
    for finding in findings.iter_mut().filter(|finding| finding.is_open()) {
        let covering = policy
            .exceptions
            .iter()
            .find(|exception| exception.covers(finding.check.name, &finding.subject));
        if let Some(exception) = covering {
            finding.status = Status::Excused;
            finding.excused = Some(format!("{} (until {})", exception.reason, exception.expires));
        }
    }
}

/// The exceptions that excused nothing: what they spoke of has been mended, or never was.
#[must_use]
pub fn idle_exceptions<'a>(findings: &[Finding], policy: &'a Policy) -> Vec<&'a Exception> {
    let used = |exception: &&Exception| {
        findings.iter().any(|finding| {
            finding.status == Status::Excused
                && exception.covers(finding.check.name, &finding.subject)
        })
    };
    policy.exceptions.iter().filter(|exception| !used(exception)).collect()
}

/// Gives each finding the level that the policy gives its check; where it names one twice, the
/// stricter level holds.
pub(crate) fn apply_policy(findings: &mut [Finding], policy: &Policy) {
    let names =
        |list: &[String], finding: &Finding| list.iter().any(|name| name == finding.check.name);
    for finding in findings {
        if names(&policy.enforce, finding) {
            finding.level = Level::Required;
        } else if names(&policy.advise, finding) {
            finding.level = Level::Advised;
        }
    }
}

/// A subject under a check, about to get its finding.
pub(crate) struct Subject {
    check: &'static Check,
    subject: String,
    wanted: Cow<'static, str>,
    at: Option<String>,
}

impl Check {
    /// Starts a finding on `subject`, for which `wanted` should hold.
    pub(crate) fn on(
        &'static self,
        subject: impl Into<String>,
        wanted: impl Into<Cow<'static, str>>,
    ) -> Subject {
        Subject { check: self, subject: subject.into(), wanted: wanted.into(), at: None }
    }
}

impl Subject {
    pub(crate) fn at(mut self, at: Option<&str>) -> Self {
        self.at = at.map(ToOwned::to_owned);
        self
    }

    fn finding(self, status: Status, saw: String, mend: Option<String>) -> Finding {
        Finding {
            check: self.check,
            level: self.check.level,
            subject: self.subject,
            status,
            saw,
            wanted: self.wanted.into_owned(),
            at: self.at,
            mend,
            waits_for: None,
            not_there: false,
            excused: None,
        }
    }

    pub(crate) fn proved(self, saw: impl Into<String>) -> Finding {
        self.finding(Status::Proved, saw.into(), None)
    }

    pub(crate) fn not_applicable(self, why: impl Into<String>) -> Finding {
        self.finding(Status::NotApplicable, why.into(), None)
    }

    pub(crate) fn refuted(self, saw: impl Into<String>) -> Finding {
        let mend = self.check.mend.replace("{subject}", &self.subject);
        self.finding(Status::Refuted, saw.into(), Some(mend))
    }

    /// Proved or Refuted, by `holds`.
    pub(crate) fn decided(self, holds: bool, saw: impl Into<String>) -> Finding {
        if holds { self.proved(saw) } else { self.refuted(saw) }
    }

    pub(crate) fn unknown(self, saw: impl Into<String>, mend: impl Into<String>) -> Finding {
        self.finding(Status::Unknown, saw.into(), Some(mend.into()))
    }

    /// Unknown, because what it is about is not there yet, or no longer.
    pub(crate) fn not_there(self, saw: impl Into<String>) -> Finding {
        Finding { not_there: true, ..self.unknown(saw, "nothing, unless it stays so") }
    }

    pub(crate) fn denied(self, obstacle: &Obstacle) -> Finding {
        let saw = format!("the guard may not look: {}", obstacle.message);
        self.unknown(saw, format!("allow `{}` to the guard's credentials", obstacle.operation))
    }

    pub(crate) fn unreachable(self, obstacle: &Obstacle) -> Finding {
        let saw = format!("no answer to {}: {}", obstacle.operation, obstacle.message);
        self.unknown(saw, "try again; if it stays so, look at network, endpoints and credentials")
    }

    /// Decides by a fact that `first` has judged already: where that is not proved, there is
    /// nothing to look at yet, and nothing more to say.
    pub(crate) fn after<T>(
        self,
        first: &'static Check,
        lookup: &Lookup<T>,
        decide: impl FnOnce(Self, &T) -> Finding,
    ) -> Finding {
        match lookup.found() {
            Some(fact) => decide(self, fact),
            None => self.waiting_for(first),
        }
    }

    /// Decides by a fact about something of which `exists` says whether it is there at all.
    pub(crate) fn by_existing<T>(
        self,
        exists: &'static Check,
        lookup: &Lookup<T>,
        decide: impl FnOnce(Self, &T) -> Finding,
    ) -> Finding {
        match lookup {
            Lookup::Absent => self.waiting_for(exists),
            lookup => self.by(lookup, "", decide),
        }
    }

    /// Unknown, because `first` must be mended first.
    pub(crate) fn waiting_for(self, first: &'static Check) -> Finding {
        let finding =
            self.unknown(format!("waits for {}", first.name), format!("mend {} first", first.name));
        Finding { waits_for: Some(first.name), ..finding }
    }

    /// Decides by a fact that was found; says `absent` where there is none, and Unknown where
    /// nobody could tell.
    pub(crate) fn by<T>(
        self,
        lookup: &Lookup<T>,
        absent: &str,
        decide: impl FnOnce(Self, &T) -> Finding,
    ) -> Finding {
        match lookup {
            Lookup::Found(fact) => decide(self, fact),
            Lookup::Absent => self.refuted(absent),
            Lookup::Denied(obstacle) => self.denied(obstacle),
            Lookup::Unreachable(obstacle) => self.unreachable(obstacle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            for text in [check.why, check.looks_at, check.mend, check.source] {
                assert!(text.len() > 10, "{}: {text}", check.name);
            }
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
