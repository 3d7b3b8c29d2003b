//! The steps for the KMS key.

use serde_json::Value;

use crate::{
    base::{
        lookup::Lookup,
        prices,
        printable::{Printable, printable},
    },
    facts::account_state::{AccountState, KeyState},
    setup::{
        desired::{SetupInputs, holder},
        documents::{self, KeyStanding, KeyUser, KeyUserKind},
        merge::{self, DocumentKind},
        needs,
        options::SetupPart,
        piece::{Key, KeyPolicy, KeyRotation, MADE_KEY, Piece},
        plan::{Step, StepAction},
        planning::{Availability, refuse, refuse_gone, step, unknown},
        role_steps::PlannedRoles,
    },
};

/// The checks that ask for a key and its policy.
const CHECKS: [&str; 7] = [
    "kms-key-exists",
    "kms-key-enabled",
    "kms-key-symmetric",
    "kms-key-region",
    "kms-key-customer-managed",
    "jobflow-role-may-use-key",
    "service-role-may-use-key",
];
const SOURCE: &str = "Amazon EMR management guide, Create keys and certificates for data encryption; \
    AWS KMS developer guide, Key policies in AWS KMS";

/// The key as it will be.
pub(super) struct PlannedKey {
    /// Its ARN, or [`MADE_KEY`].
    pub(super) key: Availability<String>,
    pub(super) steps: Vec<Step>,
}

/// Plans the key. If it is made, the caller drops the step where nothing uses the key.
pub(super) fn key(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    roles: &PlannedRoles,
) -> PlannedKey {
    match &state.key {
        Lookup::Found(key) => existing(inputs, key, roles),
        Lookup::Absent => missing(inputs, roles),
        Lookup::Denied(error) | Lookup::Unreachable(error) => {
            let piece = Key { alias: inputs.key().as_str().to_owned(), policy: Value::Null };
            PlannedKey {
                key: Availability::Unknown(error.clone()),
                steps: vec![step(Piece::Key(piece), unknown(error), &CHECKS, SOURCE)],
            }
        }
    }
}

/// The users of the key whose ARNs are known, and notes on those who are not.
fn users(inputs: &SetupInputs<'_>, roles: &PlannedRoles) -> (Vec<KeyUser>, Vec<Printable>) {
    let (mut users, mut notes) = (Vec::new(), Vec::new());
    for (kind, role, what) in [
        (KeyUserKind::Instances, &roles.instances, "the role of the instances"),
        (KeyUserKind::Service, &roles.service, "the service role"),
    ] {
        match role.there() {
            Some(role) => users.push(KeyUser { kind, arn: role.arn.clone() }),
            None => notes
                .push(printable!("it names {what} only once that exists; then run setup again")),
        }
    }
    let of_account = |arn: &&str| holder(arn, inputs.account).is_some();
    if needs::launcher_uses_objects(inputs)
        && let Some(arn) = inputs.launcher.filter(of_account)
    {
        users.push(KeyUser { kind: KeyUserKind::Launcher, arn: arn.to_owned() });
    }
    match inputs.guard.filter(of_account) {
        Some(arn) => users.push(KeyUser { kind: KeyUserKind::Guard, arn: arn.to_owned() }),
        None => notes.push(
            "it does not name the guard, whose credentials are of no user or role of this account"
                .into(),
        ),
    }
    (users, notes)
}

fn missing(inputs: &SetupInputs<'_>, roles: &PlannedRoles) -> PlannedKey {
    let alias = inputs.alias();
    if !inputs.makes_key() {
        let named = Printable::from(inputs.key().as_str());
        let saw = printable!("there is no key {named} in {}", Printable::from(inputs.region()));
        let action = refuse(
            saw.clone(),
            "name a key that exists, or none: then setup makes one with an alias of its own name",
        );
        let piece = Key { alias: inputs.key().as_str().to_owned(), policy: Value::Null };
        return PlannedKey {
            key: Availability::Missing(saw),
            steps: vec![step(Piece::Key(piece), action, &CHECKS, SOURCE)],
        };
    }
    if !inputs.makes(SetupPart::Key) {
        let why = printable!("the part `key` is switched off, and there is no {alias}");
        return PlannedKey { key: Availability::Missing(why), steps: Vec::new() };
    }
    let (users, notes) = users(inputs, roles);
    let unknown_role = unknown_role(roles);
    let (policy, action) = match documents::key_policy(inputs, &users) {
        Ok(policy) => (policy, unknown_role.unwrap_or(StepAction::Create)),
        Err(error) => (
            Value::Null,
            refuse(Printable::from(error.to_string()), "report this as a bug of emr-etl-guard"),
        ),
    };
    let mut checks = CHECKS.to_vec();
    checks.insert(4, "kms-key-rotation");
    let step = step(Piece::Key(Key { alias, policy }), action, &checks, SOURCE)
        .costing(prices::kms_key(inputs.partition()))
        .noting_any(notes)
        .noting(
            "the account administers it by IAM, and cannot use it: only the principals in its \
             policy can",
        )
        .noting("it is rotated every year; each of the first two rotations adds to its price");
    PlannedKey { key: Availability::of(&step.action, MADE_KEY.to_owned()), steps: vec![step] }
}

/// Why the key's policy is unknown, if a role that it has to name is.
fn unknown_role(roles: &PlannedRoles) -> Option<StepAction> {
    [(&roles.instances, "the role of the instances"), (&roles.service, "the service role")]
        .into_iter()
        .find_map(|(role, what)| match role {
            Availability::Unknown(_) => role.obstacle(what),
            _ => None,
        })
}

fn existing(inputs: &SetupInputs<'_>, key: &KeyState, roles: &PlannedRoles) -> PlannedKey {
    let arn = key.arn.as_str().to_owned();
    let named = Printable::from(&arn);
    let piece = |policy: Value| Piece::KeyPolicy(KeyPolicy { key: arn.clone(), policy });
    let present = || key.policy.found().cloned().unwrap_or(Value::Null);
    let unusable = unusable(inputs, key);
    if !inputs.makes(SetupPart::Key) {
        let availability = match unusable {
            None => Availability::There(arn),
            Some((saw, _)) => Availability::Missing(saw),
        };
        return PlannedKey { key: availability, steps: Vec::new() };
    }
    if let Some((saw, fix)) = unusable {
        let step = step(piece(present()), refuse(saw.clone(), fix), &CHECKS, SOURCE);
        return PlannedKey { key: Availability::Missing(saw), steps: vec![step] };
    }
    let unknown_role = unknown_role(roles);
    let (users, notes) = users(inputs, roles);
    let (policy, action) = match (&key.policy, unknown_role) {
        (Lookup::Found(policy), Some(obstacle)) => (policy.clone(), obstacle),
        (Lookup::Found(policy), None) => merged(inputs, policy, &users),
        (Lookup::Absent, _) => (
            Value::Null,
            refuse(
                printable!("KMS knows no policy of {named}"),
                "look whether the key still exists",
            ),
        ),
        (Lookup::Denied(error) | Lookup::Unreachable(error), _) => (Value::Null, unknown(error)),
    };
    let of_policy = step(piece(policy), action, &CHECKS, SOURCE)
        .noting_any(notes)
        .noting("its other statements, and its grants, are not touched");
    let availability = Availability::of(&of_policy.action, arn.clone());
    let mut steps = vec![of_policy];
    let rotation = match &key.rotation {
        Lookup::Found(true) => Some(StepAction::Keep),
        Lookup::Found(false) => Some(StepAction::Change { before: Value::Bool(false) }),
        Lookup::Absent => None,
        Lookup::Denied(error) | Lookup::Unreachable(error) => Some(unknown(error)),
    };
    steps.extend(rotation.map(|action| {
        let changes = matches!(action, StepAction::Change { .. });
        step(
            Piece::KeyRotation(KeyRotation { key: arn }),
            action,
            &["kms-key-rotation"],
            "AWS KMS developer guide, Rotate AWS KMS keys",
        )
        .noting_any(changes.then_some(
            "what is encrypted stays readable; each of the first two rotations adds to the price \
             of the key",
        ))
    }));
    PlannedKey { key: availability, steps }
}

/// Why a key cannot be used, and the fix.
fn unusable(inputs: &SetupInputs<'_>, key: &KeyState) -> Option<(Printable, Printable)> {
    let arn = Printable::from(key.arn.as_str());
    if let Some(region) = key.arn.region().filter(|region| *region != inputs.region()) {
        return Some((
            printable!(
                "the key {arn} is of {}, and the cluster runs in {}",
                Printable::from(region),
                Printable::from(inputs.region())
            ),
            "name a key of the cluster's region".into(),
        ));
    }
    if let Some(account) = key.arn.account().filter(|account| *account != inputs.account.as_str()) {
        return Some((
            printable!("the key {arn} is one of account {}", Printable::from(account)),
            "name a key of this account; the policy of another account's key can be changed only \
             there"
                .into(),
        ));
    }
    if key.aws_managed {
        return Some((
            printable!("AWS manages the key {arn}, and its policy cannot be changed"),
            "name a key that the account manages, or none: then setup makes one".into(),
        ));
    }
    if !key.symmetric {
        return Some((
            printable!("the key {arn} is not a symmetric one for encryption"),
            "name a symmetric key, or none: then setup makes one".into(),
        ));
    }
    if !key.enabled {
        return Some((
            printable!("the key {arn} is disabled, or waits for its deletion"),
            printable!(
                "`aws kms enable-key --region {} --key-id {arn}` (first cancel its deletion, where \
                 that is pending), or name another key",
                Printable::from(inputs.region())
            ),
        ));
    }
    None
}

/// A key policy with what its users lack.
fn merged(inputs: &SetupInputs<'_>, policy: &Value, users: &[KeyUser]) -> (Value, StepAction) {
    let mut statements = Vec::new();
    for user in users {
        match user.standing(inputs, policy) {
            KeyStanding::Allowed => {}
            KeyStanding::Lacking => statements.extend(user.statements(inputs)),
            KeyStanding::Unclear { statement } => {
                // A statement that allows does no harm; one that may deny would contradict.
                statements.extend(user.statements(inputs));
                let with = merge::merge(DocumentKind::Key, policy, &statements);
                let clear =
                    with.is_ok_and(|with| user.standing(inputs, &with) == KeyStanding::Allowed);
                if !clear {
                    let saw = printable!(
                        "the key's policy has parts that are not evaluated ({}), and may deny {}",
                        Printable::from(&statement),
                        Printable::from(&user.arn)
                    );
                    let fix = printable!(
                        "look at `{}`, and except {} from it if it denies",
                        Printable::from(&statement),
                        Printable::from(&user.arn)
                    );
                    return (policy.clone(), refuse(saw, fix));
                }
            }
            KeyStanding::Denied { action, statement } => {
                let (arn, statement) = (Printable::from(&user.arn), Printable::from(&statement));
                let saw = printable!("the key's policy denies {action} to {arn} ({statement})");
                let fix = printable!("except {arn} from `{statement}`, or name another key");
                return (policy.clone(), refuse(saw, fix));
            }
        }
    }
    match merge::merge(DocumentKind::Key, policy, &statements) {
        Ok(merged) if merged == *policy => (merged, StepAction::Keep),
        Ok(merged) => match merge::gone_principal(&merged) {
            Some(principal) => (policy.clone(), refuse_gone(&principal)),
            None => (merged, StepAction::Change { before: policy.clone() }),
        },
        Err(error) => (
            policy.clone(),
            refuse(
                Printable::from(error.to_string()),
                "remove statements that nobody needs any more, or name another key",
            ),
        ),
    }
}
