//! The look at the account before a plan: the findings of `check`, and what exists of the pieces.

use crate::{
    aws::{clients::Aws, read_memory::ReadMemory},
    base::{
        lookup::Lookup,
        names::{AccountId, KeyReference, S3Object},
        printable::{Printable, printable},
    },
    checks::{
        catalogue,
        finding::{Finding, Status},
    },
    commands::{cli::SetupArguments, error::GuardError, run::guarded_run::Run},
    evidence::journal::state_dir,
    facts::{
        account_state::{self, AccountState},
        gather::{self, Facts},
        guard_rights::{self, Principal},
        sts::NoAccess,
    },
    settings::{policy::EncryptionKind, resolve::Settings},
    setup::{
        error::SetupError,
        journal::{LeftUndone, SetupIdentity},
        options::{SetupOptions, SetupPart},
        plan::SetupPlan,
    },
};

/// What is known about the account, and the plan that follows from it.
pub(crate) struct Survey {
    pub(crate) account: AccountId,
    pub(crate) facts: Facts,
    /// What `check` finds on the account as it is.
    pub(crate) findings: Vec<Finding>,
    pub(crate) state: AccountState,
    pub(crate) plan: SetupPlan,
    /// What the plan leaves out because it could not be seen.
    pub(crate) unseen: Vec<Printable>,
}

/// The checks without which nothing in the account may be changed: AWS itself must have answered,
/// and the account must be the one that clusters are launched in.
const MUST_PASS: [&str; 3] = ["aws-endpoint", "aws-trust-store", "same-account"];

/// The options, by the flags.
pub(crate) fn options(arguments: &SetupArguments) -> Result<SetupOptions, SetupError> {
    let flags = &arguments.flags;
    check_name(&flags.name)?;
    if flags.network && flags.terraform.is_none() && flags.cloudformation.is_none() {
        return Err(SetupError::Usage(
            "--network: seen neither --terraform nor --cloudformation; expected one of them, \
             because a network is changed by code alone, and never live; fix: add \
             --terraform=DIR, or leave --network out"
                .to_owned(),
        ));
    }
    let certificates = flags.certificates.as_deref().map(|uri| {
        S3Object::parse(uri)
            .filter(|object| object.key.to_ascii_lowercase().ends_with(".zip"))
            .ok_or_else(|| {
                SetupError::Usage(format!(
                    "--certificates: seen `{uri}`; expected the S3 URI of an archive, such as \
                 s3://bucket/emr-certificates.zip"
                ))
            })
    });
    Ok(SetupOptions {
        name: flags.name.clone(),
        without: flags.without.iter().copied().collect(),
        with: flags.with.iter().copied().collect(),
        key: flags.key.as_deref().map(KeyReference::new),
        bucket_encryption: flags.bucket_encryption,
        certificates: certificates.transpose()?,
        certificate_days: flags.certificate_days,
    })
}

/// Checks the start of all names.
///
/// # Errors
/// [`SetupError::Usage`].
pub(crate) fn check_name(name: &str) -> Result<(), SetupError> {
    let legal =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let is_name = (3..=30).contains(&name.len())
        && name.chars().all(legal)
        && name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && !name.ends_with('-');
    if is_name {
        return Ok(());
    }
    Err(SetupError::Usage(format!(
        "--name: seen `{name}`; expected 3 to 30 lower-case letters, digits and hyphens, because it \
         starts the names of buckets, too; fix: give another name"
    )))
}

/// Looks at the account, and plans. No read is sent twice, although what `check` finds and what
/// exists overlap.
pub(crate) async fn survey(
    aws: &Aws,
    run: &Run<'_>,
    settings: &Settings,
    options: &SetupOptions,
) -> Result<Survey, GuardError> {
    let aws = &aws.remembering(&ReadMemory::default());
    let (account, facts, findings) = may_change(aws, run, settings).await?;
    let (guard, launcher) = tokio::join!(
        guard_rights::principal(&aws.iam, facts.guard.clone()),
        guard_rights::principal(&aws.iam, facts.runner.clone())
    );
    let inputs = run.setup_inputs(options, &account, simulated(&guard), simulated(&launcher));
    let mut state = account_state::look(aws, &inputs.query()).await;
    if let Some(again) = inputs.query_again(&state) {
        state = account_state::look(aws, &again).await;
    }
    let mut unseen: Vec<Printable> = [("the guard's", &guard), ("the runner's", &launcher)]
        .into_iter()
        .filter_map(|(owner, principal)| left_out(owner, principal))
        .collect();
    let identity = SetupIdentity {
        name: options.name.clone(),
        account: account.clone(),
        region: inputs.cluster.region.value.clone(),
    };
    match left_undone(settings, &identity) {
        Ok(undone) => take_as_missing(&mut state, &undone, options),
        Err(error) => unseen.push(printable!(
            "what an earlier setup may have begun is not in this plan: {}",
            Printable::from(error.to_string())
        )),
    }
    let plan = inputs.plan(&state);
    Ok(Survey { account, facts, findings, state, plan, unseen })
}

/// What an earlier setup has begun.
fn left_undone(settings: &Settings, identity: &SetupIdentity) -> Result<LeftUndone, GuardError> {
    let folder = state_dir(settings.state_dir.as_deref())?;
    Ok(LeftUndone::read(&folder, identity).map_err(SetupError::from)?)
}

/// Takes what an earlier setup made in part for missing, so that the plan has all of it: a bucket
/// with S3's own default in place of the planned one, and a role without its policies. Neither was
/// anybody's choice.
fn take_as_missing(state: &mut AccountState, undone: &LeftUndone, options: &SetupOptions) {
    if !options.without.contains(&SetupPart::BucketEncryption) {
        for (name, bucket) in &mut state.buckets {
            let is_s3s_own = bucket.encryption.found().is_some_and(|settings| {
                settings.kind == EncryptionKind::SseS3 && settings.key.is_none()
            });
            if is_s3s_own && undone.buckets.contains(name.as_str()) {
                bucket.encryption = Lookup::Absent;
            }
        }
    }
    if !options.without.contains(&SetupPart::Roles) {
        for (name, role) in &mut state.roles {
            if role.found().is_some() && undone.roles.contains(name) {
                *role = Lookup::Absent;
            }
        }
    }
}

/// The account, once nothing forbids a change in it, with what `check` finds in it.
async fn may_change(
    aws: &Aws,
    run: &Run<'_>,
    settings: &Settings,
) -> Result<(AccountId, Facts, Vec<Finding>), GuardError> {
    let facts = gather::gather(aws, run.question(false)).await;
    has_access(aws, &facts, settings).await?;
    let findings = catalogue::pre_flight(&run.case(&facts));
    Ok((changeable(&facts, &findings)?, facts, findings))
}

/// The account, once nothing forbids a change in it. Only what decides that is asked.
pub(crate) async fn account_to_change(
    aws: &Aws,
    run: &Run<'_>,
    settings: &Settings,
) -> Result<AccountId, GuardError> {
    let facts = Box::pin(gather::identities(aws, &run.question(false))).await;
    has_access(aws, &facts, settings).await?;
    changeable(&facts, &catalogue::of_account(&run.case(&facts)))
}

/// Fails with the cause where no call is possible with the guard's credentials.
async fn has_access(aws: &Aws, facts: &Facts, settings: &Settings) -> Result<(), GuardError> {
    if let Lookup::Denied(error) | Lookup::Unreachable(error) = &facts.guard
        && facts.total_cause().is_some()
        && let Some(cause) = NoAccess::by(error, aws, settings.aws.credentials).await
    {
        return Err(SetupError::NoAccess(cause).into());
    }
    Ok(())
}

/// The account, unless a finding forbids any change in it.
fn changeable(facts: &Facts, findings: &[Finding]) -> Result<AccountId, GuardError> {
    if let Some(finding) = forbids_changes(findings) {
        let (word, ends): (_, fn(String) -> SetupError) = match finding.status {
            Status::Unknown => ("unknown", SetupError::NotSeen),
            _ => ("failed", SetupError::Refused),
        };
        return Err(ends(format!(
            "{} {word}: seen {}; expected {}; fix: {}",
            finding.check.name,
            finding.saw,
            finding.wanted,
            finding.fix.as_ref().map_or("run `emr-etl-guard check`", |fix| fix.as_str())
        ))
        .into());
    }
    Ok(account(facts)?)
}

/// The finding that forbids any change, if there is one.
fn forbids_changes(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().find(|finding| MUST_PASS.contains(&finding.check.name) && finding.is_open())
}

/// The account in which everything is made.
fn account(facts: &Facts) -> Result<AccountId, SetupError> {
    match &facts.guard {
        Lookup::Found(identity) => Ok(identity.account.clone()),
        Lookup::Denied(error) | Lookup::Unreachable(error) => Err(SetupError::Unseen {
            what: "the account of the credentials",
            error: Box::new(error.clone()),
        }),
        Lookup::Absent => {
            Err(SetupError::Refused("the account of the credentials does not exist".to_owned()))
        }
    }
}

/// Why the plan gives a principal no rights, if that is so.
fn left_out(owner: &str, principal: &Lookup<Principal>) -> Option<Printable> {
    let why = match principal {
        Lookup::Found(Principal::Simulated(_) | Principal::Root) => return None,
        Lookup::Found(Principal::Other(arn)) => {
            printable!("{} is neither a user nor a role", Printable::from(arn))
        }
        Lookup::Absent => printable!("the role does not exist"),
        Lookup::Denied(error) | Lookup::Unreachable(error) => error.to_string().into(),
    };
    Some(printable!("the plan gives {owner} credentials no rights: {why}"))
}

/// The ARN of a principal with policies that can be read; none for the account itself.
fn simulated(principal: &Lookup<Principal>) -> Option<&str> {
    match principal {
        Lookup::Found(Principal::Simulated(arn)) => Some(arn),
        _ => None,
    }
}
