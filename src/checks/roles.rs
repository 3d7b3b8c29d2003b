//! Checks on the cluster's two roles: that they exist, and may use every key that they need.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{aws_calls, lookup::Lookup, names::KeyReference},
    checks::{
        case::Case,
        finding::{Check, CheckSubject, Finding, Level, Stage},
        guard_rights, keys,
    },
    facts::{
        iam::RoleFacts,
        iam_policy::{self, AccessRequest, PolicyDecision},
        kms::{Grant, KeyFacts, KeyUse, KeyUserSimulation, KmsKey, RoleKind, ViaService},
        simulation::{Simulated, SimulationVerdict},
    },
    spec::located::Located,
};

pub(super) static JOBFLOW_EXISTS: Check = Check {
    name: "jobflow-role-exists",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Without its instance profile the cluster does not start; which role is behind the \
        profile decides who may read the keys.",
    looks_at: "iam:GetInstanceProfile on aws.emr.jobflow_role.",
    asks: &[&aws_calls::GET_INSTANCE_PROFILE],
    fix: "name an instance profile with a role in aws.emr.jobflow_role, or create the default \
        one: `aws emr create-default-roles`",
    source: "Amazon EMR management guide, Service role for cluster EC2 instances (EC2 instance \
        profile)",
};

pub(super) static SERVICE_EXISTS: Check = Check {
    name: "service-role-exists",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Without its service role the cluster does not start; with EBS encryption that role must \
        also be able to use the key.",
    looks_at: "iam:GetRole on aws.emr.service_role.",
    asks: &[&aws_calls::GET_ROLE],
    fix: "name a role in aws.emr.service_role, or create the default one: `aws emr \
        create-default-roles`",
    source: "Amazon EMR management guide, Service role for Amazon EMR (EMR role)",
};

pub(super) static JOBFLOW_MAY_USE: Check = Check {
    name: "jobflow-role-may-use-key",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "The cluster's instances act as the role in aws.emr.jobflow_role; without \
        kms:GenerateDataKey and kms:Decrypt they cannot encrypt or read back, and the cluster \
        fails after minutes. The AWS-managed EMR policies contain no kms action.",
    looks_at: "iam:SimulatePrincipalPolicy, kms:GetKeyPolicy and kms:ListGrants, on every key of \
        the security configuration and of the buckets' defaults.",
    asks: &[
        &aws_calls::SIMULATE_PRINCIPAL_POLICY,
        &aws_calls::GET_KEY_POLICY,
        &aws_calls::LIST_GRANTS,
    ],
    fix: "add the role as a key user of {subject} in its key policy, or allow kms:GenerateDataKey \
        and kms:Decrypt on it in the role's policies",
    source: "Setup guide, Setting up end to end encryption, Local disks; AWS KMS developer guide, \
        Key policies",
};

pub(super) static SERVICE_MAY_USE: Check = Check {
    name: "service-role-may-use-key",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "With EBS encryption the EMR service has EC2 make volumes under the key: a service role \
        that may not do so ends the cluster while it starts.",
    looks_at: "iam:SimulatePrincipalPolicy, kms:GetKeyPolicy and kms:ListGrants, on the \
        local-disk key where EnableEbsEncryption is set.",
    asks: &[
        &aws_calls::SIMULATE_PRINCIPAL_POLICY,
        &aws_calls::GET_KEY_POLICY,
        &aws_calls::LIST_GRANTS,
    ],
    fix: "allow kms:Encrypt, Decrypt, ReEncrypt*, CreateGrant, GenerateDataKeyWithoutPlaintext \
        and DescribeKey on {subject} to the role in aws.emr.service_role, in its policies or in \
        the key's",
    source: "Amazon EMR management guide, Encryption options: Local disk encryption (EBS \
        encryption)",
};

pub(super) static MAPPED_MAY_USE: Check = Check {
    name: "mapped-role-may-use-key",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Where the security configuration maps users to roles, EMRFS takes on the mapped role \
        for them: what that one may not do with a key, their reads and writes cannot.",
    looks_at: "iam:SimulatePrincipalPolicy, kms:GetKeyPolicy and kms:ListGrants, for each role of \
        RoleMappings on every key of S3.",
    asks: &[
        &aws_calls::DESCRIBE_SECURITY_CONFIGURATION,
        &aws_calls::SIMULATE_PRINCIPAL_POLICY,
        &aws_calls::GET_KEY_POLICY,
        &aws_calls::LIST_GRANTS,
    ],
    fix: "allow kms:GenerateDataKey and kms:Decrypt on {subject} to the mapped role, in its \
        policies or in the key's",
    source: "Amazon EMR management guide, Configure IAM roles for EMRFS requests to Amazon S3",
};

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let facts = case.facts;
    exists(
        &JOBFLOW_EXISTS,
        &case.cluster.instance_profile,
        &facts.role,
        "an instance profile with a role",
        findings,
    );
    exists(&SERVICE_EXISTS, &case.cluster.service_role, &facts.service_role, "a role", findings);
    let uses = facts.key_uses();
    mapped(case, &uses, findings);
    let unseen = keys::unseen(case);
    for (keys, first) in &unseen {
        findings.push(JOBFLOW_MAY_USE.on(keys.as_str(), "allowed to use them").waiting_for(first));
    }
    if uses.is_empty() && unseen.is_empty() {
        findings.push(
            JOBFLOW_MAY_USE.on("keys", "allowed to use them").not_applicable("no key is named"),
        );
    }
    // EBS volumes are encrypted only by the security configuration.
    if facts.security_configuration.as_ref().is_some_and(|lookup| lookup.found().is_none()) {
        findings.push(
            SERVICE_MAY_USE
                .on("keys", "allowed to use them")
                .waiting_for(&crate::checks::security_configuration::EXISTS),
        );
    } else if !uses.values().any(|uses| uses.contains(&KeyUse::Ebs)) {
        findings.push(
            SERVICE_MAY_USE
                .on("keys", "allowed to use them")
                .not_applicable("EBS encryption is not switched on"),
        );
    }
    for (reference, uses) in &uses {
        let Some(key) = facts.keys.get(reference) else { continue };
        let role = KeyUser::named(
            RoleKind::Jobflow,
            &JOBFLOW_MAY_USE,
            &JOBFLOW_EXISTS,
            &case.cluster.instance_profile,
            &facts.role,
        );
        findings.push(role.may_use(case, reference, key, uses));
        if uses.contains(&KeyUse::Ebs) {
            let role = KeyUser::named(
                RoleKind::Service,
                &SERVICE_MAY_USE,
                &SERVICE_EXISTS,
                &case.cluster.service_role,
                &facts.service_role,
            );
            findings.push(role.may_use(case, reference, key, uses));
        }
    }
}

/// The roles that EMRFS assumes, on each key that S3 uses.
fn mapped(
    case: &Case<'_>,
    uses: &BTreeMap<KeyReference, BTreeSet<KeyUse>>,
    findings: &mut Vec<Finding>,
) {
    let subject = || MAPPED_MAY_USE.on("RoleMappings", "allowed to use the keys of S3");
    let Some(configuration) = case.facts.security_configuration.as_ref().and_then(Lookup::found)
    else {
        findings.push(subject().waiting_for(&crate::checks::security_configuration::EXISTS));
        return;
    };
    let before = findings.len();
    if !configuration.content.mapped_roles.is_empty() {
        findings.extend(keys::unseen(case).iter().map(|(keys, first)| {
            MAPPED_MAY_USE.on(keys.as_str(), "allowed to use them").waiting_for(first)
        }));
    }
    for arn in &configuration.content.mapped_roles {
        let role = Lookup::Found(RoleFacts { arn: arn.clone() });
        let role = KeyUser {
            kind: RoleKind::Mapped(arn.clone()),
            check: &MAPPED_MAY_USE,
            exists: &JOBFLOW_EXISTS,
            name: arn,
            at: None,
            role: &role,
        };
        let keys = uses.iter().filter(|(_, uses)| uses.iter().any(KeyUse::is_by_s3));
        findings.extend(keys.filter_map(|(reference, uses)| {
            Some(role.may_use(case, reference, case.facts.keys.get(reference)?, uses))
        }));
    }
    if findings.len() == before {
        let none = configuration.content.mapped_roles.is_empty();
        findings.push(subject().not_applicable(if none {
            "no role is mapped"
        } else {
            "S3 asks for no key"
        }));
    }
}

fn exists(
    check: &'static Check,
    named: &Located<String>,
    role: &Lookup<RoleFacts>,
    wanted: &'static str,
    findings: &mut Vec<Finding>,
) {
    let subject = check.on(named.value.as_str(), wanted).at(Some(&named.at));
    findings.push(subject.by(
        role,
        "no such role, or an instance profile without one",
        |subject, role| subject.passed(role.arn.clone()),
    ));
}

/// For a key that only other roles use.
const NO_USE: &str = "the role makes no use of it";

/// A role that may need a key.
struct KeyUser<'a> {
    kind: RoleKind,
    check: &'static Check,
    exists: &'static Check,
    name: &'a str,
    at: Option<&'a str>,
    role: &'a Lookup<RoleFacts>,
}

impl<'a> KeyUser<'a> {
    /// A role that the runner config names.
    fn named(
        kind: RoleKind,
        check: &'static Check,
        exists: &'static Check,
        named: &'a Located<String>,
        role: &'a Lookup<RoleFacts>,
    ) -> Self {
        Self { kind, check, exists, name: &named.value, at: Some(&named.at), role }
    }

    fn may_use(
        &self,
        case: &Case<'_>,
        reference: &KeyReference,
        facts: &KeyFacts,
        uses: &BTreeSet<KeyUse>,
    ) -> Finding {
        // For any other use, all actions are needed.
        let services = self.kind.services(uses);
        let all = services.iter().map(|via| self.kind.needed(uses, *via));
        let all = all.max_by_key(|actions| actions.len()).unwrap_or(self.kind.actions());
        let actions: Vec<&str> =
            all.iter().map(|action| action.trim_start_matches("kms:")).collect();
        let wanted = format!("kms:{} allowed to the role of `{}`", actions.join(", "), self.name);
        let subject = self.check.on(reference.as_str(), wanted).at(self.at);
        if services.is_empty() {
            return subject.not_applicable(NO_USE);
        }
        let Some(role) = self.role.found() else { return subject.waiting_for(self.exists) };
        let Some(key) = facts.description.found() else {
            return subject.waiting_for(&keys::EXISTS);
        };
        let Some(identity) = facts.identity.get(&self.kind) else {
            return subject.waiting_for(self.exists);
        };
        let not_read = String::new();
        subject.by(identity, "no such role", |subject, identity| {
            let foreign = key.arn.account().filter(|account| *account != account_of(&role.arn));
            let decide = |subject: CheckSubject, policy: &String| {
                subject.by(&facts.grants, "no such key", |subject, grants| {
                    let region = &case.cluster.region.value;
                    let evidence = RoleEvidence {
                        key,
                        policy,
                        grants,
                        identity,
                        role: &role.arn,
                        region,
                        foreign,
                    };
                    evidence.decide(subject, &self.kind, uses)
                })
            };
            if foreign.is_some() {
                decide(subject, &not_read)
            } else {
                subject.by(&facts.policy, "no such key", decide)
            }
        })
    }
}

fn account_of(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

/// All facts that decide about one role and one key.
struct RoleEvidence<'a> {
    key: &'a KmsKey,
    policy: &'a str,
    grants: &'a [Grant],
    identity: &'a KeyUserSimulation,
    role: &'a str,
    region: &'a str,
    /// The key's account, if it is another than the role's. Then the key's policy cannot be read.
    foreign: Option<&'a str>,
}

/// The name of the organisation's policies as the reason of a decision.
pub(super) const BY_ORGANIZATION: &str = "the organisation's policies, as IAM simulates them, do \
    not allow it, so that what the role's own say does not show";
/// The fix for such a decision.
pub(super) const ASK_ORGANIZATION: &str =
    "nothing, where the organisation allows it all the same; see organization-allows";

/// The decision about one action, from the worst to the best.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Allowed {
    No(String),
    /// A fact that could be known is missing.
    Unclear(String),
    /// The account's own policies do not contradict it, but others decide, too, and the guard
    /// cannot read theirs. This is no proof, and no reason to refuse.
    Elsewhere(String, &'static str),
    Yes(&'static str),
}

impl RoleEvidence<'_> {
    fn decide(&self, subject: CheckSubject, kind: &RoleKind, uses: &BTreeSet<KeyUse>) -> Finding {
        let services = kind.services(uses);
        let mut decisions: Vec<(Allowed, &str)> = Vec::new();
        for service in services {
            decisions.extend(
                kind.needed(uses, service)
                    .iter()
                    .map(|action| (self.action(action, service), *action)),
            );
        }
        match decisions.into_iter().min() {
            None => subject.not_applicable(NO_USE),
            Some((Allowed::Yes(by), _)) => subject.passed(by),
            Some((Allowed::Elsewhere(why, fix), action)) => {
                guard_rights::advisory(subject.unknown(format!("{action}: {why}"), fix))
            }
            Some((Allowed::No(why), action)) => subject.failed(format!("{action}: {why}")),
            Some((Allowed::Unclear(why), action)) => subject.unknown(
                format!("{action}: {why}"),
                "name the role in a statement of the key's policy that has no condition",
            ),
        }
    }

    /// An explicit deny on either side wins. Otherwise it is allowed if the key's policy names the
    /// role, if the key's policy delegates to IAM and IAM allows it, or if a grant allows it.
    fn action(&self, action: &str, service: ViaService) -> Allowed {
        let asked = (service, action.to_owned());
        let Some(identity) = self.identity.0.get(&asked).map(Simulated::verdict) else {
            return Allowed::Unclear("it was not asked for".to_owned());
        };
        if let SimulationVerdict::Denied = identity {
            return Allowed::No(
                "a policy of the role or its permissions boundary denies it".to_owned(),
            );
        }
        match self.foreign {
            Some(account) => self.of_another_account(account, action, &identity),
            None => self.of_own_account(action, service, identity),
        }
    }

    fn granted(&self, action: &str, constrained: bool) -> bool {
        let operation = action.trim_start_matches("kms:");
        self.grants.iter().any(|grant| {
            grant.grantee == self.role
                && grant.operations.contains(operation)
                && grant.constrained == constrained
        })
    }

    /// A key of another account needs both the role's policies and the key's policy, which can be
    /// read only in that account. A grant replaces the key's policy.
    fn of_another_account(
        &self,
        account: &str,
        action: &str,
        identity: &SimulationVerdict,
    ) -> Allowed {
        let besides = format!(
            "which a key of another account ({account}) needs besides the key's own policy"
        );
        match identity {
            SimulationVerdict::Denied | SimulationVerdict::NotAllowed => {
                Allowed::No(format!("no policy of the role allows it, {besides}"))
            }
            SimulationVerdict::BoundedOut => {
                Allowed::No(format!("the role's permissions boundary does not allow it, {besides}"))
            }
            SimulationVerdict::Unclear { missing, .. } => Allowed::Unclear(not_told(missing)),
            SimulationVerdict::Organization { .. } => {
                Allowed::Elsewhere(BY_ORGANIZATION.to_owned(), ASK_ORGANIZATION)
            }
            SimulationVerdict::Allowed if self.granted(action, false) => {
                Allowed::Yes("the role's policies allow it, and a grant on the key gives it")
            }
            SimulationVerdict::Allowed => Allowed::Elsewhere(
                format!(
                    "the role's policies allow it; the key is one of account {account}, and only \
                     there its policy can be read"
                ),
                "ask the owner of that account whether the key's policy allows it to the role, or \
                 for a grant to the role",
            ),
        }
    }

    fn of_own_account(
        &self,
        action: &str,
        service: ViaService,
        identity: SimulationVerdict,
    ) -> Allowed {
        let account = account_of(self.role);
        let through = service.endpoint(self.region);
        let context = BTreeMap::from([
            ("kms:calleraccount", Some(account)),
            ("kms:viaservice", through.as_deref()),
            ("kms:grantisforawsresource", (action == "kms:CreateGrant").then_some("true")),
            ("aws:principalaccount", Some(account)),
            ("aws:principalarn", Some(self.role)),
            ("aws:requestedregion", Some(self.region)),
            ("aws:securetransport", Some("true")),
        ]);
        let policy = iam_policy::decide(
            self.policy,
            &AccessRequest { caller: self.role, action, resource: None, context },
        );
        match (identity, policy) {
            (_, PolicyDecision::Denies(statement)) => Allowed::No(format!(
                "the key's policy \
                denies it ({statement})"
            )),
            (SimulationVerdict::Organization { denied: true }, _) => {
                Allowed::Elsewhere(BY_ORGANIZATION.to_owned(), ASK_ORGANIZATION)
            }
            (SimulationVerdict::Unclear { denied: true, missing }, _) => {
                Allowed::Unclear(not_told(&missing))
            }
            // A permissions boundary also limits what a resource policy allows to a role.
            (SimulationVerdict::BoundedOut, _) => Allowed::No(
                "the role's permissions boundary \
                does not allow it"
                    .to_owned(),
            ),
            (_, PolicyDecision::AllowsCaller) => Allowed::Yes("the key's policy allows the role"),
            (SimulationVerdict::Allowed, PolicyDecision::DelegatesToAccount) => Allowed::Yes(
                "the \
                role's policies allow it, and the key's policy leaves it to them",
            ),
            (_, PolicyDecision::Unclear(statement)) => Allowed::Unclear(format!(
                "the key's policy \
                has parts that are not evaluated ({statement})"
            )),
            _ if self.granted(action, false) => Allowed::Yes("a grant on the key gives it"),
            _ if self.granted(action, true) => Allowed::Unclear(
                "a grant gives it for some \
                encryption contexts only"
                    .to_owned(),
            ),
            (SimulationVerdict::Organization { .. }, PolicyDecision::DelegatesToAccount) => {
                Allowed::Elsewhere(BY_ORGANIZATION.to_owned(), ASK_ORGANIZATION)
            }
            (SimulationVerdict::Unclear { missing, .. }, PolicyDecision::DelegatesToAccount) => {
                Allowed::Unclear(not_told(&missing))
            }
            (_, PolicyDecision::DelegatesToAccount) => Allowed::No(
                "the key's policy leaves it to IAM, and no policy of the role allows \
                    it"
                .to_owned(),
            ),
            (_, PolicyDecision::Silent) if self.key.aws_managed => Allowed::No(
                "AWS manages this key, and its policy, which cannot be edited, does \
                    not allow the role"
                    .to_owned(),
            ),
            (_, PolicyDecision::Silent) => Allowed::No(
                "the key's policy allows neither the role \
                nor its account"
                    .to_owned(),
            ),
        }
    }
}

fn not_told(missing: &str) -> String {
    format!(
        "no policy of the role allows it, as far as the simulation knows, which lacks {missing}"
    )
}
