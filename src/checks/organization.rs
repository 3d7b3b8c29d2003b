//! The check on the policies of the account's organisation, as far as IAM simulates them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{
        aws_calls,
        lookup::{Lookup, LookupErrorKind},
    },
    checks::{
        case::Case,
        finding::{Check, Finding, Level, Stage},
    },
    facts::{
        kms::RoleKind,
        simulation::{Simulated, SimulationVerdict},
    },
};

pub(super) static ALLOWS: Check = Check {
    name: "organization-allows",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "The policies of an AWS organisation (SCPs) stand above all that an account allows: what \
        they deny, the cluster's roles cannot do. IAM's simulation does not evaluate those with \
        conditions on global keys, such as a list of regions, and then tells of a denial that \
        need not be one; so this is reported, and never refuses by itself.",
    looks_at: "OrganizationsDecisionDetail of iam:SimulatePrincipalPolicy, of every action that \
        the cluster's roles need.",
    asks: &[&aws_calls::SIMULATE_PRINCIPAL_POLICY],
    fix: "ask the owner of the organisation's policies whether they allow it to {subject}",
    source: "IAM API reference, SimulatePrincipalPolicy (OrganizationsDecisionDetail); AWS IAM \
        user guide, Testing IAM policies with the IAM policy simulator",
};

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let mut all: BTreeMap<String, Vec<RoleDecisions<'_>>> = BTreeMap::new();
    for facts in case.facts.keys.values() {
        for (kind, lookup) in &facts.identity {
            let decisions = lookup.clone().map(drop);
            let found = lookup.found().into_iter().flat_map(|it| &it.0);
            let found: Vec<_> =
                found.map(|((_, action), simulated)| (action.as_str(), simulated)).collect();
            let name = kind.in_words().to_owned();
            all.entry(name).or_default().push(decisions.map(|()| found));
        }
    }
    for facts in case.facts.node_objects.values() {
        let decisions = facts.identity.clone().map(drop);
        let found = facts.identity.found().into_iter().map(|it| ("s3:GetObject", it)).collect();
        let name = RoleKind::Jobflow.in_words().to_owned();
        all.entry(name).or_default().push(decisions.map(|()| found));
    }
    if all.is_empty() {
        let subject = ALLOWS.on("the cluster's roles", WANTED);
        findings.push(subject.not_applicable("no permission of theirs is asked for"));
    }
    findings.extend(all.into_iter().map(|(role, lookups)| of_role(&role, lookups)));
}

/// The simulated decisions about a role, action by action.
type RoleDecisions<'a> = Lookup<Vec<(&'a str, &'a Simulated)>>;

const FIX: &str = "fix what the checks on roles and keys say first";

const WANTED: &str = "nothing that rests on a policy of the organisation";

fn of_role(role: &str, lookups: Vec<RoleDecisions<'_>>) -> Finding {
    let subject = ALLOWS.on(role, WANTED);
    let mut refused: BTreeSet<&str> = BTreeSet::new();
    let mut is_member = false;
    let mut lost = None;
    for lookup in lookups {
        match lookup {
            Lookup::Found(decisions) => {
                for (action, simulated) in decisions {
                    is_member |= simulated.organization.is_some();
                    let verdict = simulated.verdict();
                    if matches!(verdict, SimulationVerdict::Organization { .. }) {
                        refused.insert(action);
                    }
                }
            }
            other => lost = lost.or(Some(other)),
        }
    }
    if !refused.is_empty() {
        let actions: Vec<&str> = refused.into_iter().collect();
        return subject.unknown(
            format!(
                "the organisation's policies, as IAM simulates them, do not allow {}; it does not \
                 evaluate all their conditions",
                actions.join(", ")
            ),
            "ask the owner of the organisation's policies whether they allow it",
        );
    }
    match lost {
        Some(Lookup::Denied(error)) => subject.denied(&error),
        Some(Lookup::Unreachable(error)) if error.kind == LookupErrorKind::NotAsked => {
            subject.unknown(error.message, FIX)
        }
        Some(Lookup::Unreachable(error)) => subject.unreachable(&error),
        Some(Lookup::Absent | Lookup::Found(_)) => subject.unknown("IAM knows no such role", FIX),
        None if is_member => subject.passed("the organisation's policies allow all that is asked"),
        None => subject.passed("no policy of an organisation is in the way"),
    }
}
