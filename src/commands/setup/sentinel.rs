//! `setup --sentinel`: what a sentinel needs in AWS, written as infrastructure code. It asks AWS
//! nothing, and needs no runner config.

use std::fs;

use crate::{
    base::{
        outcome::Outcome,
        printable::{Printable, printable},
    },
    commands::{
        error::GuardError,
        sentinel_policy,
        setup::{code_file::write_marked, flags::SetupFlags},
    },
    report::reporter::Report,
    settings::{resolve::Settings, sentinel_options::SentinelOptions},
    setup::{
        cloudformation::sentinel::sentinel_template, error::SetupError,
        sentinel_parts::SentinelParts, terraform::sentinel::sentinel_terraform,
    },
};

/// The name of the file with Terraform code.
const TERRAFORM: &str = "sentinel.tf";

/// Writes the code that `flags` ask for.
///
/// # Errors
/// Wrong flags or settings, or a file that cannot be written.
pub(super) fn write(
    flags: &SetupFlags,
    settings: &Settings,
    report: &Report,
) -> Result<Outcome, GuardError> {
    let usage = |message: &str| SetupError::Usage(message.to_owned());
    if flags.terraform.is_none() && flags.cloudformation.is_none() {
        return Err(usage(
            "--sentinel only writes code; expected --terraform DIR or --cloudformation FILE; fix: \
             emr-etl-guard setup --sentinel --trust ecs-tasks --cloudformation sentinel.yml",
        )
        .into());
    }
    let parts = parts(flags, settings, &settings.sentinel_options()?)?;
    let failed = |file: &std::path::Path, error: std::io::Error| {
        SetupError::File(format!("{}: {error}", file.display()))
    };
    if let Some(folder) = &flags.terraform {
        fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let file = folder.join(TERRAFORM);
        write_marked(&file, &sentinel_terraform(&parts))?;
        report.say(printable!(
            "what a sentinel needs as Terraform code is in {}",
            Printable::from(file.display().to_string())
        ));
    }
    if let Some(file) = &flags.cloudformation {
        write_marked(file, &sentinel_template(&parts))?;
        report.say(printable!(
            "what a sentinel needs as a CloudFormation template is in {}",
            Printable::from(file.display().to_string())
        ));
    }
    Ok(Outcome::Ended(0))
}

/// What is written, of the sentinel itself or of an account.
fn parts(
    flags: &SetupFlags,
    settings: &Settings,
    options: &SentinelOptions,
) -> Result<SentinelParts, GuardError> {
    let Some(trust) = &flags.trust else {
        let why = "--sentinel needs --trust: who may assume the role that is made; expected `ec2`, \
                   `ecs-tasks`, `eks-pods`, `lambda`, or the ARN of a role or user";
        return Err(SetupError::Usage(why.to_owned()).into());
    };
    let Some(id) = &flags.account else {
        let delivery = sentinel_policy::delivery(settings);
        return Ok(SentinelParts::of_sentinel(&flags.name, trust, options, delivery));
    };
    let account = sentinel_policy::watched(settings, options, id)?;
    Ok(SentinelParts::of_account(&flags.name, trust, options, account))
}
