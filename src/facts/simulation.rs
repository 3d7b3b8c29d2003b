//! IAM's policy simulator: whether a role or user may do something, and how reliable the result is.
//! The simulator knows only the given context of a request, and evaluates the organisation's
//! policies only in part.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::{
    aws::{
        iam_query::{
            Iam, NO_ENTITY,
            simulation::{
                ContextValue, EvaluationDecision, EvaluationResult, ResourceResult,
                SimulationRequest,
            },
        },
        whole_list::whole_list,
    },
    base::{aws_calls, lookup::Lookup},
};

/// A decision of IAM's policy simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Identity")]
pub enum SimulationDecision {
    /// A policy allows it.
    Allowed,
    /// No policy allows it.
    NotAllowed,
    /// A policy denies it.
    Denied,
}

/// The simulator's result for one action on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulated {
    /// The decision.
    pub decision: SimulationDecision,
    /// The condition keys that policies use and the request to the simulator lacked
    /// (`MissingContextValues`).
    pub missing: BTreeSet<String>,
    /// Whether the permissions boundary allows it, if there is one.
    pub boundary: Option<bool>,
    /// Whether the organisation's policies allow it, if there are any.
    pub organization: Option<bool>,
}

impl Serialize for Simulated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.decision.serialize(serializer)
    }
}

/// The conclusion from a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SimulationVerdict {
    /// The principal's policies allow it.
    Allowed,
    /// None of the principal's policies allows it.
    NotAllowed,
    /// One of the principal's policies denies it.
    Denied,
    /// The policies allow it, but the permissions boundary does not.
    BoundedOut,
    /// The organisation's policies, as far as they are simulated, do not allow it; the decision of
    /// the others is not visible. `denied`: one of all these policies denies it.
    Organization { denied: bool },
    /// It is not allowed, but these condition keys were missing. `denied`: by a policy that denies
    /// it.
    Unclear { denied: bool, missing: String },
}

impl Simulated {
    /// A decision without any other details.
    #[cfg(test)]
    pub(crate) fn plain(decision: SimulationDecision) -> Self {
        Self { decision, missing: BTreeSet::new(), boundary: None, organization: None }
    }

    pub(crate) fn verdict(&self) -> SimulationVerdict {
        let denied = self.decision == SimulationDecision::Denied;
        match self.decision {
            SimulationDecision::Allowed => SimulationVerdict::Allowed,
            _ if self.organization == Some(false) => SimulationVerdict::Organization { denied },
            _ if !self.missing.is_empty() => {
                let keys: Vec<&str> = self.missing.iter().map(String::as_str).collect();
                SimulationVerdict::Unclear { denied, missing: keys.join(", ") }
            }
            SimulationDecision::Denied => SimulationVerdict::Denied,
            SimulationDecision::NotAllowed if self.boundary == Some(false) => {
                SimulationVerdict::BoundedOut
            }
            SimulationDecision::NotAllowed => SimulationVerdict::NotAllowed,
        }
    }
}

/// The condition keys of every request of the role or user with this ARN, in `region`. Source: AWS
/// IAM user guide, "AWS global condition context keys".
pub(crate) fn every_request(principal: &str, region: &str) -> Vec<ContextValue> {
    let mut context = vec![
        ContextValue::text("aws:RequestedRegion", region),
        ContextValue::truth("aws:SecureTransport", true),
        ContextValue::text("aws:PrincipalArn", principal),
    ];
    let account = principal.split(':').nth(4).filter(|account| !account.is_empty());
    context.extend(account.map(|account| ContextValue::text("aws:PrincipalAccount", account)));
    context
}

/// One call to the simulator.
pub(crate) struct SimulationQuery<'a> {
    /// The ARN of a role or user.
    pub(crate) principal: &'a str,
    pub(crate) actions: &'a [&'a str],
    /// The resources' ARNs.
    pub(crate) resources: &'a [&'a str],
    pub(crate) context: Vec<ContextValue>,
    /// Condition keys that the real request certainly lacks, too.
    pub(crate) absent: &'a [&'a str],
}

/// The results by action and resource.
pub(crate) type Simulations = BTreeMap<(String, String), Simulated>;

/// Simulates every action on every resource.
pub(super) async fn simulate(iam: &Iam, query: SimulationQuery<'_>) -> Lookup<Simulations> {
    let request = SimulationRequest {
        principal: query.principal,
        actions: query.actions,
        resources: query.resources,
        context: &query.context,
    };
    let pages = whole_list(
        &aws_calls::SIMULATE_PRINCIPAL_POLICY,
        NO_ENTITY,
        |marker| iam.simulate(&request, marker),
        |page| page.marker.as_deref(),
        |_| Some(Vec::new()),
    );
    pages.await.and_then(|pages| {
        let results: Vec<EvaluationResult> =
            pages.into_iter().flat_map(|page| page.items).collect();
        let mut simulations = Simulations::new();
        for action in query.actions {
            for resource in query.resources {
                let Some(mut simulated) = of_one(&results, action, resource) else {
                    return missing(action, resource, results.len());
                };
                simulated.missing.retain(|key| {
                    !query.absent.iter().any(|absent| absent.eq_ignore_ascii_case(key))
                });
                simulations.insert(((*action).to_owned(), (*resource).to_owned()), simulated);
            }
        }
        Lookup::Found(simulations)
    })
}

fn missing(action: &str, resource: &str, results: usize) -> Lookup<Simulations> {
    let came = format!("it holds {results} results, and none on {action} of {resource}");
    Lookup::unusable(&aws_calls::SIMULATE_PRINCIPAL_POLICY, &came)
}

/// The result for one action on one resource. If resources are named, each has its own result
/// within the action's, and only that has the missing keys.
fn of_one(results: &[EvaluationResult], action: &str, resource: &str) -> Option<Simulated> {
    let of_action = || results.iter().filter(|it| it.action.eq_ignore_ascii_case(action));
    let specific = of_action().find_map(|result| {
        Some((result, result.specific.iter().find(|own| own.resource == resource)?))
    });
    if let Some((result, own)) = specific {
        return Some(of_resource(result, own));
    }
    let result = of_action().find(|it| it.resource.as_deref() == Some(resource))?;
    Some(Simulated {
        decision: result.decision.into(),
        missing: result.missing.iter().cloned().collect(),
        boundary: result.boundary,
        organization: result.organization,
    })
}

fn of_resource(result: &EvaluationResult, own: &ResourceResult) -> Simulated {
    Simulated {
        decision: own.decision.into(),
        missing: result.missing.iter().chain(&own.missing).cloned().collect(),
        boundary: own.boundary.or(result.boundary),
        organization: result.organization,
    }
}

impl From<EvaluationDecision> for SimulationDecision {
    fn from(decision: EvaluationDecision) -> Self {
        match decision {
            EvaluationDecision::Allowed => Self::Allowed,
            EvaluationDecision::ImplicitDeny => Self::NotAllowed,
            EvaluationDecision::ExplicitDeny => Self::Denied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EvaluationDecision::{Allowed, ExplicitDeny, ImplicitDeny};

    fn result(decision: EvaluationDecision) -> EvaluationResult {
        EvaluationResult {
            action: "kms:Decrypt".to_owned(),
            resource: Some("arn:a".to_owned()),
            decision,
            missing: Vec::new(),
            boundary: None,
            organization: None,
            specific: Vec::new(),
        }
    }

    fn specific(resource: &str, decision: EvaluationDecision, missing: &[&str]) -> ResourceResult {
        ResourceResult {
            resource: resource.to_owned(),
            decision,
            missing: missing.iter().map(ToString::to_string).collect(),
            boundary: None,
        }
    }

    fn of(results: &[EvaluationResult], resource: &str) -> Option<SimulationVerdict> {
        of_one(results, "kms:Decrypt", resource).map(|it| it.verdict())
    }

    #[test]
    fn each_resource_has_a_result_of_its_own_within_the_actions() {
        let specific = [("arn:a", Allowed), ("arn:b", ExplicitDeny)]
            .map(|(resource, decision)| specific(resource, decision, &[]));
        let results = [EvaluationResult { specific: specific.into(), ..result(ImplicitDeny) }];
        assert_eq!(of(&results, "arn:a"), Some(SimulationVerdict::Allowed));
        assert_eq!(of(&results, "arn:b"), Some(SimulationVerdict::Denied));
        assert_eq!(of(&results, "arn:c"), None);
        assert_eq!(of_one(&results, "kms:Encrypt", "arn:a"), None);
        let without = [result(Allowed)];
        assert_eq!(of(&without, "arn:a"), Some(SimulationVerdict::Allowed));
    }

    #[test]
    fn a_denial_counts_only_where_the_simulation_knew_all_that_it_rests_on() {
        for (decision, plain, denied) in [
            (Allowed, SimulationVerdict::Allowed, None),
            (ImplicitDeny, SimulationVerdict::NotAllowed, Some(false)),
            (ExplicitDeny, SimulationVerdict::Denied, Some(true)),
        ] {
            assert_eq!(of(&[result(decision)], "arn:a"), Some(plain.clone()));
            let mut missing = result(decision);
            missing.specific = vec![specific("arn:a", decision, &["aws:SourceIp"])];
            let unclear = denied.map(|denied| SimulationVerdict::Unclear {
                denied,
                missing: "aws:SourceIp".to_owned(),
            });
            assert_eq!(of(&[missing], "arn:a"), Some(unclear.unwrap_or(plain.clone())));
            for allows in [false, true] {
                let mut organization = result(decision);
                organization.organization = Some(allows);
                let blind = denied.filter(|_| !allows);
                let expected = blind.map(|denied| SimulationVerdict::Organization { denied });
                assert_eq!(of(&[organization], "arn:a"), Some(expected.unwrap_or(plain.clone())));
            }
        }
        let mut bounded = result(ImplicitDeny);
        bounded.boundary = Some(false);
        assert_eq!(of(&[bounded], "arn:a"), Some(SimulationVerdict::BoundedOut));
    }
}
