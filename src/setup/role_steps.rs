//! The steps for roles, the instance profile, and inline policies.

use serde_json::Value;

use crate::{
    base::{
        aws_calls,
        lookup::{Lookup, LookupError},
        printable::{Printable, printable},
    },
    facts::account_state::{AccountState, PolicyHolder, RoleState},
    setup::{
        desired::SetupInputs,
        documents::{self, TrustedService},
        merge::{self, DocumentKind},
        needs::{self, Need},
        options::SetupPart,
        piece::{InlinePolicy, InstanceProfile, Piece, Role},
        plan::{Advice, Step, StepAction},
        planning::{Availability, not_asked, refuse, step, unknown},
    },
};

/// AWS's policy for the service role.
///
/// `AmazonEMRServicePolicy_v2` allows only what bears the tag
/// `for-use-with-amazon-emr-managed-policies`, which EmrEtlRunner 1.0.4 sets neither on clusters
/// nor on subnets. Source: Amazon EMR management guide, Amazon EMR managed policies.
const SERVICE_POLICY: &str = "service-role/AmazonElasticMapReduceRole";

/// A role as it will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedRole {
    pub(super) name: String,
    pub(super) arn: String,
    /// Whether the plan makes it.
    pub(super) is_new: bool,
}

/// The roles of the cluster.
pub(super) struct PlannedRoles {
    pub(super) service: Availability<PlannedRole>,
    pub(super) instances: Availability<PlannedRole>,
    pub(super) steps: Vec<Step>,
}

/// Plans both roles and the instance profile.
pub(super) fn roles(inputs: &SetupInputs<'_>, state: &AccountState) -> PlannedRoles {
    let (service, service_step) = service_role(inputs, state);
    let (instances, role_step, profile_step) = instance_role(inputs, state);
    let mut steps: Vec<Step> = Vec::new();
    for step in [service_step, role_step, profile_step].into_iter().flatten() {
        // Both may be one role.
        if !steps.iter().any(|other| other.piece == step.piece && other.action == step.action) {
            steps.push(step);
        }
    }
    PlannedRoles { service, instances, steps }
}

const ROLES_OFF: &str = "the part `roles` is switched off";

fn service_role(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
) -> (Availability<PlannedRole>, Option<Step>) {
    const CHECKS: [&str; 1] = ["service-role-exists"];
    const SOURCE: &str = "Amazon EMR management guide, Service role for Amazon EMR (EMR role)";
    let name = inputs.service_role();
    let named = &inputs.cluster.service_role.value;
    let policy = format!("arn:{}:iam::aws:policy/{SERVICE_POLICY}", inputs.partition());
    let new = Role {
        name: name.to_owned(),
        path: Role::NO_PATH.to_owned(),
        trust: TrustedService::Emr.trust(inputs),
        attached: vec![policy],
    };
    let lookup = role_lookup(state, name);
    let (piece, action) = role(inputs, &lookup, new, TrustedService::Emr, named);
    let is_new = action == StepAction::Create;
    if is_new && !inputs.makes(SetupPart::Roles) {
        return (Availability::Missing(ROLES_OFF.into()), None);
    }
    let planned = planned(inputs, name, &lookup, is_new);
    let notes = is_new.then_some(
        "AmazonElasticMapReduceRole is broad: among others it allows EC2 actions on every resource \
         and iam:PassRole on every role; its successor AmazonEMRServicePolicy_v2 works only where \
         cluster, subnet and security groups bear the tag for-use-with-amazon-emr-managed-policies",
    );
    let availability = available(&action, planned, &lookup);
    (availability, Some(step(Piece::Role(piece), action, &CHECKS, SOURCE).noting_any(notes)))
}

fn role_lookup(state: &AccountState, name: &str) -> Lookup<RoleState> {
    state.roles.get(name).cloned().unwrap_or_else(|| {
        Lookup::Unreachable(not_asked(&aws_calls::GET_ROLE, &format!("the role {name}")))
    })
}

fn planned(
    inputs: &SetupInputs<'_>,
    name: &str,
    lookup: &Lookup<RoleState>,
    is_new: bool,
) -> PlannedRole {
    let arn = lookup.found().map_or_else(|| inputs.role_arn(name), |role| role.arn.clone());
    PlannedRole { name: name.to_owned(), arn, is_new }
}

/// A role that exists is there, even if its trust policy is refused.
fn available(
    action: &StepAction,
    planned: PlannedRole,
    lookup: &Lookup<RoleState>,
) -> Availability<PlannedRole> {
    if lookup.found().is_some() {
        Availability::There(planned)
    } else {
        Availability::of(action, planned)
    }
}

/// A role: as it is if it exists, else `new`. `named` is the name or ARN in the config.
fn role(
    inputs: &SetupInputs<'_>,
    lookup: &Lookup<RoleState>,
    new: Role,
    service: TrustedService,
    named: &str,
) -> (Role, StepAction) {
    let is_another = |arn: &str| {
        let named_role = named.starts_with("arn:") && named.contains(":role/");
        named_role && named != arn
    };
    match lookup {
        Lookup::Found(role) => {
            let attached = role.attached.found().into_iter().flatten().cloned().collect();
            let piece = Role {
                name: new.name.clone(),
                path: Role::path_in(&role.arn),
                trust: role.trust.clone(),
                attached,
            };
            let action = if is_another(&role.arn) {
                another_arn(named, &role.arn)
            } else if service.is_trusted(inputs, &role.trust) {
                StepAction::Keep
            } else {
                let principal = service.principal(inputs);
                refuse(
                    printable!(
                        "the trust policy of the role {} does not let {principal} assume it",
                        Printable::from(&new.name)
                    ),
                    printable!(
                        "add to its trust policy: {}",
                        Printable::from(new.trust["Statement"][0].to_string())
                    ),
                )
            };
            (piece, action)
        }
        Lookup::Absent => {
            let arn = inputs.role_arn(&new.name);
            let action =
                if is_another(&arn) { another_arn(named, &arn) } else { StepAction::Create };
            (new, action)
        }
        Lookup::Denied(error) | Lookup::Unreachable(error) => (new, unknown(error)),
    }
}

fn another_arn(named: &str, arn: &str) -> StepAction {
    refuse(
        printable!(
            "the config names {}, and the role of this name is or would be {}",
            Printable::from(named),
            Printable::from(arn)
        ),
        "name the role by its name alone, or by its own ARN",
    )
}

fn instance_role(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
) -> (Availability<PlannedRole>, Option<Step>, Option<Step>) {
    const CHECKS: [&str; 1] = ["jobflow-role-exists"];
    const SOURCE: &str = "Amazon EMR management guide, Service role for cluster EC2 instances \
        (EC2 instance profile)";
    let name = inputs.instance_profile();
    let named = &inputs.cluster.instance_profile.value;
    let (role_name, before) = match &state.instance_profile {
        Lookup::Found(profile) => match &profile.role {
            Some((role, _)) => (role.as_str(), Ok(Some(true))),
            None => (name, Ok(Some(false))),
        },
        Lookup::Absent => (name, Ok(None)),
        Lookup::Denied(error) | Lookup::Unreachable(error) => (name, Err(error)),
    };
    let profile = |action| {
        let piece = InstanceProfile { name: name.to_owned(), role: role_name.to_owned() };
        step(Piece::InstanceProfile(piece), action, &CHECKS, SOURCE)
    };
    if let Err(error) = before {
        return (Availability::Unknown(error.clone()), None, Some(profile(unknown(error))));
    }
    let new = Role {
        name: role_name.to_owned(),
        path: Role::NO_PATH.to_owned(),
        trust: TrustedService::Ec2.trust(inputs),
        attached: Vec::new(),
    };
    let lookup = role_lookup(state, role_name);
    let (piece, action) = role(inputs, &lookup, new, TrustedService::Ec2, "");
    let of_both = role_name == inputs.service_role() && action == StepAction::Create;
    let action = if of_both {
        refuse(
            printable!(
                "service role and instance profile have one name, {}, and the role does not exist",
                Printable::from(role_name)
            ),
            "give them two names in the runner config, since each is trusted by another service",
        )
    } else {
        action
    };
    let is_new = action == StepAction::Create;
    let off = !inputs.makes(SetupPart::Roles);
    if off && (is_new || before != Ok(Some(true))) {
        return (Availability::Missing(ROLES_OFF.into()), None, None);
    }
    let is_another = match &state.instance_profile {
        Lookup::Found(found) => named.starts_with("arn:") && named != &found.arn,
        _ => {
            let arn = format!(
                "arn:{}:iam::{}:instance-profile/{name}",
                inputs.partition(),
                inputs.account
            );
            named.starts_with("arn:") && *named != arn
        }
    };
    let planned = planned(inputs, role_name, &lookup, is_new);
    let role_availability = available(&action, planned, &lookup);
    let of_profile = if is_another {
        refuse(
            printable!(
                "the config names {}, which is not the instance profile {} of this account",
                Printable::from(named.as_str()),
                Printable::from(name)
            ),
            "name the instance profile by its name alone, or by its own ARN",
        )
    } else {
        match (before, role_availability.obstacle(&format!("the role {role_name}"))) {
            (Ok(Some(true)), _) => StepAction::Keep,
            (_, Some(obstacle)) => obstacle,
            (Ok(Some(false)), None) => StepAction::Change { before: Value::Null },
            (_, None) => StepAction::Create,
        }
    };
    let role_step = step(Piece::Role(piece), action, &[], SOURCE);
    (role_availability, Some(role_step), Some(profile(of_profile)))
}

/// The statements of a policy, as far as the function says that its holder lacks the action on the
/// resource.
pub(super) type LackingStatements<'a> = &'a dyn Fn(Lacks<'_>) -> Vec<Value>;
/// Whether a holder lacks an action on a resource.
pub(super) type Lacks<'a> = &'a dyn Fn(&str, &str) -> bool;

/// What an inline policy is for.
pub(super) struct PolicyNeeds<'a> {
    pub(super) holder: PolicyHolder,
    /// The policy's name.
    pub(super) name: String,
    pub(super) statements: LackingStatements<'a>,
    pub(super) is_new: bool,
    pub(super) checks: &'a [&'static str],
    pub(super) source: &'static str,
    /// What to do where the policy is too large.
    pub(super) too_large: Printable,
}

/// What to do about a policy that is too large.
const TOO_LARGE: &str =
    "allow what the plan shows by a managed policy of your own, which may be larger";

/// The statements that allow `needs`.
fn of_needs<'a>(
    inputs: &'a SetupInputs<'_>,
    needs: &'a [Need],
) -> impl Fn(Lacks<'_>) -> Vec<Value> + 'a {
    move |lacks| documents::allowing(&inputs.options.name, needs, lacks)
}

const INSTANCE_CHECKS: [&str; 1] = ["jobflow-role-may-read-object"];
const INSTANCE_SOURCE: &str = "Amazon EMR management guide, Service role for cluster EC2 instances \
    (least privilege)";
const OTHERS_STAY: &str = "its other policies are not touched";

/// Plans the inline policy of the role of the instances.
pub(super) fn instance_policy(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    role: &Availability<PlannedRole>,
) -> Option<Step> {
    let role = match role {
        Availability::There(role) => role,
        Availability::Missing(_) => return None,
        Availability::Unknown(error) => return Some(unknown_instance_policy(inputs, error)),
    };
    let part = if role.is_new { SetupPart::Roles } else { SetupPart::RolePolicies };
    if !inputs.makes(part) {
        return None;
    }
    let needs = needs::of_instances(inputs);
    let of = PolicyNeeds {
        holder: PolicyHolder::Role(role.name.clone()),
        name: inputs.inline_policy(),
        statements: &of_needs(inputs, &needs),
        is_new: role.is_new,
        checks: &INSTANCE_CHECKS,
        source: INSTANCE_SOURCE,
        too_large: TOO_LARGE.into(),
    };
    let step = inline_policy(state, &of)?;
    Some(step.noting(
        "it covers what the steps of this command line read and write; what enrichments, loaders or \
         the option --debug ask of other services (parameter store, SQS) is not among it",
    ))
}

fn unknown_instance_policy(inputs: &SetupInputs<'_>, error: &LookupError) -> Step {
    let needs = needs::of_instances(inputs);
    let statements = documents::allowing(&inputs.options.name, &needs, |_, _| true);
    let piece = InlinePolicy {
        holder: PolicyHolder::Role(inputs.instance_profile().to_owned()),
        name: inputs.inline_policy(),
        policy: merge::unsized_document(&statements),
    };
    let message = format!("it needs the role of the instances: {}", error.message);
    let error = LookupError { message, ..error.clone() };
    step(Piece::InlinePolicy(piece), unknown(&error), &INSTANCE_CHECKS, INSTANCE_SOURCE)
}

/// Plans the inline policy of the launcher.
pub(super) fn launcher_policy(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    roles: &PlannedRoles,
    advice: &mut Vec<Advice>,
) -> Option<Step> {
    if !inputs.makes(SetupPart::Launcher) {
        return None;
    }
    let Some((holder, _)) = inputs.launcher_holder() else {
        advice.push(Advice {
            check: Some("runner-may-tag-clusters"),
            saw: match inputs.launcher {
                None => "it is not known whose credentials the runner has".into(),
                Some(arn) => printable!(
                    "the runner's credentials are those of {}, which is no user or role of this \
                     account",
                    Printable::from(arn)
                ),
            },
            fix:
                "see to it that they allow what EmrEtlRunner calls: iam:PassRole on the two roles, \
                  elasticmapreduce:RunJobFlow and AddTags among others"
                    .into(),
        });
        return None;
    };
    let arn = |role: &Availability<PlannedRole>, name: &str| match role {
        Availability::There(role) => Ok(role.arn.clone()),
        Availability::Missing(_) => Ok(inputs.role_arn(name)),
        Availability::Unknown(error) => Err(error.clone()),
    };
    let arns = arn(&roles.service, inputs.service_role())
        .and_then(|service| Ok((service, arn(&roles.instances, inputs.instance_profile())?)));
    let (checks, source): (&[&str], _) = (
        &["runner-may-tag-clusters"],
        "Service authorization reference, Actions, resources, and condition keys for Amazon EMR; \
         Amazon EMR management guide, Securing iam:PassRole",
    );
    match arns {
        Ok((service, instances)) => {
            let needs = needs::of_launcher(inputs, &service, &instances);
            let of = PolicyNeeds {
                holder,
                name: inputs.inline_policy(),
                statements: &of_needs(inputs, &needs),
                is_new: false,
                checks,
                source,
                too_large: TOO_LARGE.into(),
            };
            inline_policy(state, &of)
        }
        Err(error) => {
            let piece = InlinePolicy { holder, name: inputs.inline_policy(), policy: Value::Null };
            let error = LookupError {
                message: format!("it names the cluster's roles: {}", error.message),
                ..error
            };
            Some(step(Piece::InlinePolicy(piece), unknown(&error), checks, source))
        }
    }
}

/// Plans an inline policy with what its holder lacks; none if it lacks nothing and has no such
/// policy.
pub(super) fn inline_policy(state: &AccountState, of: &PolicyNeeds<'_>) -> Option<Step> {
    let kind = match of.holder {
        PolicyHolder::Role(_) => DocumentKind::RoleInline,
        PolicyHolder::User(_) => DocumentKind::UserInline,
    };
    let made = |policy: Value, action: StepAction| {
        let piece = InlinePolicy { holder: of.holder.clone(), name: of.name.clone(), policy };
        Some(step(Piece::InlinePolicy(piece), action, of.checks, of.source).noting(OTHERS_STAY))
    };
    let everything = (of.statements)(&|_, _| true);
    let whole = |document: Result<Value, merge::MergeError>, action: StepAction| match document {
        Ok(document) => made(document, action),
        Err(error) => made(
            merge::unsized_document(&everything),
            refuse(Printable::from(error.to_string()), of.too_large.clone()),
        ),
    };
    if of.is_new {
        return whole(merge::fresh(kind, &everything), StepAction::Create);
    }
    let key = (of.holder.clone(), of.name.clone());
    let before = state.inline_policies.get(&key).cloned().unwrap_or_else(|| {
        Lookup::Unreachable(not_asked(&aws_calls::GET_ROLE, "the inline policy"))
    });
    let lacks = match state.lacks.get(&of.holder) {
        Some(Lookup::Found(lacks)) => lacks,
        Some(Lookup::Denied(error) | Lookup::Unreachable(error)) => {
            return made(merge::unsized_document(&everything), unknown(error));
        }
        None | Some(Lookup::Absent) => {
            let what = format!("what {} lacks", of.holder.name());
            let error = not_asked(&aws_calls::SIMULATE_PRINCIPAL_POLICY, &what);
            return made(merge::unsized_document(&everything), unknown(&error));
        }
    };
    let is_lacking =
        |action: &str, resource: &str| lacks.contains(&(action.to_owned(), resource.to_owned()));
    let statements = (of.statements)(&is_lacking);
    match (before, statements.is_empty()) {
        (Lookup::Found(policy), true) => made(policy, StepAction::Keep),
        (_, true) => None,
        (Lookup::Found(policy), false) => {
            let merged = merge::merge(kind, &policy, &statements);
            if merged.as_ref() == Ok(&policy) {
                let has = documents::ids(&statements);
                let saw = printable!(
                    "the policy has {has} already, and IAM's simulation does not allow it all the \
                     same"
                );
                return made(
                    policy,
                    refuse(
                        saw,
                        "look for a policy that denies it: an inline or managed policy, a \
                         permissions boundary, or a policy of the organisation",
                    ),
                );
            }
            whole(merged, StepAction::Change { before: policy })
        }
        (Lookup::Absent, false) => whole(merge::fresh(kind, &statements), StepAction::Create),
        (Lookup::Denied(error) | Lookup::Unreachable(error), false) => {
            made(merge::unsized_document(&statements), unknown(&error))
        }
    }
}
