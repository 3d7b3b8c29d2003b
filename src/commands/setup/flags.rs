//! The flags of `setup`.

use std::path::PathBuf;

use clap::Args;

use crate::{
    base::names::AccountId,
    settings::policy::EncryptionKind,
    setup::{
        options::{SetupExtra, SetupPart},
        sentinel_parts::SentinelTrust,
    },
};

const CODE: &str = "Infrastructure code and files";
const CHOICES: &str = "What is made";
const LATER: &str = "Later";
const SENTINEL: &str = "For a sentinel";

/// How `setup` works, and what it makes.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct SetupFlags {
    /// Make the plan live, step by step; without it nothing is changed
    ///
    /// Each step is looked at afterwards. The first failure ends it; the same command continues
    /// where it stopped.
    #[arg(long)]
    pub apply: bool,
    /// Print the report (JSON) on standard output, in place of the plan's text
    #[arg(hide_short_help = true, long)]
    pub json: bool,
    /// Write the plan as Terraform code into this folder
    #[arg(long, value_name = "DIR", help_heading = CODE)]
    pub terraform: Option<PathBuf>,
    /// Write the plan as a CloudFormation template
    #[arg(hide_short_help = true, long, value_name = "FILE", help_heading = CODE)]
    pub cloudformation: Option<PathBuf>,
    /// Add what is wrong with the VPC's DNS and DHCP options to the code
    ///
    /// A network is never changed live: it needs `--terraform` or `--cloudformation`. New DHCP
    /// options touch every instance in the VPC.
    #[arg(hide_short_help = true, long, help_heading = CODE, conflicts_with_all = ["undo", "retire"])]
    pub network: bool,
    /// Set the two settings for encryption in the runner config
    ///
    /// These are `aws.emr.security_configuration` and `aws.s3.buckets.encrypted`. Comments and
    /// layout stay. It is done once the security configuration exists.
    #[arg(long, help_heading = CODE)]
    pub write_config: bool,
    /// Write the guard's settings for what was decided
    #[arg(hide_short_help = true, long, value_name = "FILE", help_heading = CODE)]
    pub write_settings: Option<PathBuf>,
    /// The start of the names of everything that is made
    #[arg(hide_short_help = true, long, value_name = "NAME", default_value = "emr-etl", help_heading = CHOICES)]
    pub name: String,
    /// The KMS key to use: an ARN, id or alias [default: the setting `expected_keys`, else a new
    /// one with the alias alias/NAME]
    #[arg(hide_short_help = true, long, value_name = "KEY", help_heading = CHOICES)]
    pub key: Option<String>,
    /// The default encryption of all buckets [default: what the policy accepts stays]
    #[arg(hide_short_help = true, long, value_enum, value_name = "KIND", help_heading = CHOICES)]
    pub bucket_encryption: Option<EncryptionKind>,
    /// Where the archive with the nodes' certificates is [default: a bucket of its own]
    #[arg(hide_short_help = true, long, value_name = "S3_URI", help_heading = CHOICES)]
    pub certificates: Option<String>,
    /// The days for which new certificates are valid
    #[arg(hide_short_help = true,
        long,
        value_name = "DAYS",
        default_value_t = 365,
        value_parser = clap::value_parser!(u16).range(1..=3650),
        help_heading = CHOICES
    )]
    pub certificate_days: u16,
    /// Parts that are left alone
    #[arg(hide_short_help = true, long, value_enum, value_delimiter = ',', value_name = "PART", help_heading = CHOICES)]
    pub without: Vec<SetupPart>,
    /// Parts for the guard itself, which no launch demands
    #[arg(hide_short_help = true, long, value_enum, value_delimiter = ',', value_name = "PART", help_heading = CHOICES)]
    pub with: Vec<SetupExtra>,
    /// Write the key of the certificates' private authority to this new file
    #[arg(hide_short_help = true, long, value_name = "FILE", requires = "apply", help_heading = CHOICES)]
    pub keep_ca: Option<PathBuf>,
    /// Make new certificates, and a security configuration that names them
    #[arg(hide_short_help = true, long, help_heading = LATER, conflicts_with_all = ["undo", "retire"])]
    pub rotate_certificates: bool,
    /// Take back what the report of an earlier `setup --apply` says was made
    ///
    /// What is used, or was changed since, stays. Without `--apply` it says what would be done.
    #[arg(hide_short_help = true,
        long,
        value_name = "REPORT",
        help_heading = LATER,
        conflicts_with_all = ["retire", "terraform", "cloudformation", "write_config"]
    )]
    pub undo: Option<PathBuf>,
    /// Delete a security configuration that `setup` made and that nothing uses any more
    #[arg(hide_short_help = true,
        long,
        value_name = "NAME",
        help_heading = LATER,
        conflicts_with_all = ["terraform", "cloudformation", "write_config"]
    )]
    pub retire: Option<String>,
    /// Plan what the command `sentinel` needs, in place of all else
    ///
    /// Its role, a queue with events, and alarms for a sentinel that has stopped. `--apply` makes
    /// it live; `--terraform` and `--cloudformation` write code, and ask AWS nothing. It needs no
    /// runner config.
    #[arg(
        hide_short_help = true,
        long,
        help_heading = SENTINEL,
        conflicts_with_all = [
            "config_file", "network", "write_config", "key", "bucket_encryption", "certificates",
            "without", "with", "rotate_certificates", "retire",
        ]
    )]
    pub sentinel: bool,
    /// With `--sentinel`: who assumes the role: `ec2`, `ecs-tasks`, `eks-pods`, `lambda`, or the
    /// ARN of a role or user
    #[arg(
        hide_short_help = true,
        long,
        value_name = "WHO",
        help_heading = SENTINEL,
        requires = "sentinel"
    )]
    pub trust: Option<SentinelTrust>,
    /// With `--sentinel`: what this account needs, which the settings name, in place of the
    /// sentinel's own
    #[arg(
        hide_short_help = true,
        long,
        value_name = "ID",
        help_heading = SENTINEL,
        requires = "sentinel"
    )]
    pub account: Option<AccountId>,
    /// With `--sentinel`: the region of queue, rule and alarms [default: AWS_REGION or the profile]
    #[arg(
        hide_short_help = true,
        long,
        value_name = "REGION",
        help_heading = SENTINEL,
        requires = "sentinel"
    )]
    pub region: Option<String>,
    /// With `--sentinel`: the ARN of the SNS topic that the alarms tell [default: the setting
    /// `alert_sns`]
    #[arg(
        hide_short_help = true,
        long,
        value_name = "ARN",
        help_heading = SENTINEL,
        requires = "sentinel",
        conflicts_with_all = ["terraform", "cloudformation"]
    )]
    pub alarm_topic: Option<String>,
    /// Print the IAM policy that these flags need
    #[arg(hide_short_help = true, long, help_heading = LATER)]
    pub permissions: bool,
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use clap::CommandFactory as _;
    use regex::Regex;

    use crate::commands::cli::Cli;

    /// Options of the runner, and of the AWS CLI in commands of several lines.
    const OF_OTHERS: [&str; 7] = [
        "capabilities",
        "debug",
        "resources-to-import",
        "s3-bucket",
        "stack-name",
        "template-body",
        "template-url",
    ];

    /// The text of the code's files below a folder, or of one file.
    fn code(path: &Path) -> Vec<(String, String)> {
        if path.is_file() {
            return vec![(path.display().to_string(), fs::read_to_string(path).unwrap())];
        }
        let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let of_code = |path: &std::path::PathBuf| {
            path.is_dir() || path.extension().is_some_and(|it| it == "rs")
        };
        files.filter(of_code).flat_map(|path| code(&path)).collect()
    }

    #[test]
    fn each_option_that_the_texts_of_setup_name_exists_with_its_value() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let paths = ["setup", "commands/setup", "commands/setup.rs", "report/setup_text.rs"];
        // Options of the AWS CLI.
        let of_others = Regex::new(r"aws\s+[a-z0-9-]+\s+[a-z0-9-]+\s[^`]*").unwrap();
        let option =
            Regex::new(r"[^a-zA-Z0-9-]--([a-z][a-z0-9-]+)(?:[ =]([a-z][a-z-]*))?").unwrap();
        let cli = Cli::command();
        let known: BTreeSet<&str> = cli
            .get_subcommands()
            .flat_map(clap::Command::get_arguments)
            .filter_map(clap::Arg::get_long)
            .collect();
        let setup = cli.get_subcommands().find(|it| it.get_name() == "setup").unwrap();
        let values = |option: &str| -> BTreeSet<String> {
            let argument = setup.get_arguments().find(|it| it.get_long() == Some(option));
            let values = argument.unwrap().get_possible_values();
            values.iter().map(|value| value.get_name().to_owned()).collect()
        };
        let (mut seen, mut wrong) = (0, Vec::new());
        for (file, text) in paths.iter().flat_map(|path| code(&root.join(path))) {
            let text = text.replace("\\\n", " ");
            let text = of_others.replace_all(&text, " ");
            for found in option.captures_iter(&text) {
                let (name, value) = (&found[1], found.get(2).map(|value| value.as_str()));
                seen += 1;
                let is_one = known.contains(name) || OF_OTHERS.contains(&name);
                let has_value = match (name, value) {
                    ("with" | "without", Some(value)) => values(name).contains(value),
                    _ => true,
                };
                if !is_one || !has_value {
                    wrong.push(format!("{file}: --{name} {}", value.unwrap_or_default()));
                }
            }
        }
        assert_eq!(wrong, [] as [&str; 0]);
        assert!(seen > 30, "only {seen} were found");
    }
}
