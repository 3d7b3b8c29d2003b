//! Explanations and fixes for the case that AWS, or a part of it, cannot be called at all.

use std::collections::BTreeSet;

use aws_config::profile;
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_types::os_shim_internal::{Env, Fs};

use crate::{
    base::{access::AccessCause, printable::Printable, text::shell_word},
    settings::aws_options::CredentialSource,
};

/// The source of the guard's credentials, as far as messages depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CredentialOrigin {
    /// The runner config, by the setting `credentials: runner-config`.
    RunnerConfig,
    /// The variables `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    Environment,
    /// The profile that `AWS_PROFILE` names.
    Profile {
        /// Its name.
        name: String,
        /// Whether the profile files contain it.
        exists: bool,
        /// Whether it gets its credentials from AWS SSO.
        is_sso: bool,
    },
    /// None of these: the profile `default`, a container or an instance.
    Default,
}

impl CredentialOrigin {
    /// Reads the settings, the environment and the profile files.
    pub(crate) async fn read(source: CredentialSource) -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if source == CredentialSource::RunnerConfig {
            return Self::RunnerConfig;
        }
        // The SDK tries the environment first.
        if is_set("AWS_ACCESS_KEY_ID") && is_set("AWS_SECRET_ACCESS_KEY") {
            return Self::Environment;
        }
        let Some(name) = std::env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty()) else {
            return Self::Default;
        };
        let files = EnvConfigFiles::default();
        let profiles = profile::load(&Fs::real(), &Env::real(), &files, None).await.ok();
        let found = profiles.as_ref().and_then(|profiles| profiles.get_profile(&name));
        let is_sso = found.is_some_and(|found| {
            found.get("sso_session").is_some() || found.get("sso_start_url").is_some()
        });
        Self::Profile { exists: found.is_some(), is_sso, name }
    }

    /// Describes the source; used as the end of a sentence.
    fn whose(&self) -> String {
        match self {
            Self::RunnerConfig => " of the runner config".to_owned(),
            Self::Environment => " in AWS_ACCESS_KEY_ID".to_owned(),
            Self::Profile { name, .. } => format!(" of profile `{name}`"),
            Self::Default => String::new(),
        }
    }

    /// How to get valid credentials.
    fn renew(&self) -> Vec<String> {
        match self {
            Self::RunnerConfig => vec![
                "put a working key pair into `aws.access_key_id` and `aws.secret_access_key` of \
                 the runner config"
                    .to_owned(),
            ],
            Self::Environment => vec![
                "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for a session, \
                 AWS_SESSION_TOKEN again"
                    .to_owned(),
                "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN; export \
                 AWS_PROFILE=NAME    # or so"
                    .to_owned(),
            ],
            Self::Profile { name, exists: false, .. } => vec![
                format!("aws configure --profile {}", shell_word(name)),
                "aws configure list-profiles    # then: export AWS_PROFILE=NAME".to_owned(),
            ],
            Self::Profile { name, is_sso: true, .. } => {
                vec![format!("aws sso login --profile {}", shell_word(name))]
            }
            Self::Profile { name, .. } => vec![
                format!("aws configure --profile {}", shell_word(name)),
                format!("aws sts get-caller-identity --profile {}", shell_word(name)),
            ],
            Self::Default => vec![
                "export AWS_PROFILE=NAME    # one of: aws configure list-profiles".to_owned(),
                "export AWS_ACCESS_KEY_ID=KEY AWS_SECRET_ACCESS_KEY=SECRET    # or so".to_owned(),
            ],
        }
    }
}

/// The explanation of a cause. It is shown once, however many calls fail for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    /// Its name in reports.
    pub(crate) name: &'static str,
    /// What happened, in half a line.
    pub(crate) what: Printable,
    /// How to fix it, one line each. Commands work as pasted.
    pub(crate) fixes: Vec<Printable>,
}

impl Explanation {
    fn new(name: &'static str, what: String, fixes: Vec<String>) -> Self {
        let fixes = fixes.into_iter().map(Printable::from).collect();
        Self { name, what: what.into(), fixes }
    }
}

/// Explains a cause of one or more failed calls.
///
/// `hosts` are the servers that could not be reached, for causes of that kind.
pub(crate) fn explain(
    cause: &AccessCause,
    hosts: &BTreeSet<String>,
    origin: &CredentialOrigin,
) -> Explanation {
    let whose = origin.whose();
    let (what, fixes) =
        match cause {
            AccessCause::NoCredentials => (no_credentials(origin), origin.renew()),
            AccessCause::CredentialsFailed => match origin {
                CredentialOrigin::Profile { name, is_sso: true, .. } => {
                    (format!("the AWS SSO session of profile `{name}` is over"), origin.renew())
                }
                _ => (format!("the source of the credentials{whose} failed"), origin.renew()),
            },
            AccessCause::ExpiredToken => {
                (format!("the session of the credentials{whose} has expired"), origin.renew())
            }
            AccessCause::UnknownKey => {
                (format!("AWS does not know the access key{whose}"), origin.renew())
            }
            AccessCause::WrongSecret => {
                (format!("the secret key does not belong to the access key{whose}"), origin.renew())
            }
            AccessCause::ClockSkew(minutes) => (
                match minutes {
                    Some(minutes) => format!(
                        "this machine's clock is {} minutes {} AWS's",
                        minutes.abs(),
                        if *minutes > 0 { "ahead of" } else { "behind" }
                    ),
                    None => "this machine's clock differs too much from AWS's".to_owned(),
                },
                vec!["timedatectl status".to_owned(), "sudo chronyc makestep".to_owned()],
            ),
            AccessCause::Unreachable(host) => (
                match hosts.len() {
                    0 | 1 => format!("{host} cannot be reached"),
                    several => format!("{host} and {} more hosts cannot be reached", several - 1),
                },
                vec![
                format!("curl -sS -o /dev/null https://{host}/"),
                "check `aws.emr.region` and `aws.s3.region`, this machine's DNS and its way out \
                 (firewall, VPC endpoints, HTTPS_PROXY)".to_owned(),
            ],
            ),
            AccessCause::Untrusted => (
                "no CA certificate on this machine signed the server's certificate".to_owned(),
                vec![
                "export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt    # or another bundle \
                 that has the CA".to_owned(),
            ],
            ),
            AccessCause::Proxy(proxy) => (
                format!("no way to AWS through the proxy {proxy}"),
                vec![
                    format!("curl -sS -o /dev/null -x {proxy} https://sts.amazonaws.com/"),
                    "correct HTTPS_PROXY, or ask AWS directly: export \
                 NO_PROXY=.amazonaws.com"
                        .to_owned(),
                ],
            ),
            AccessCause::WrongRegion(region) => (
                match region {
                    Some(region) => format!(
                        "S3 was asked in the wrong region; the data is in \
                    {region}"
                    ),
                    None => "S3 was asked in the wrong region".to_owned(),
                },
                vec![format!(
                    "set `aws.s3.region: {}` in the runner config",
                    region.as_deref().unwrap_or("REGION")
                )],
            ),
        };
    Explanation::new(cause.name(), what, fixes)
}

fn no_credentials(origin: &CredentialOrigin) -> String {
    match origin {
        CredentialOrigin::Profile { name, exists: false, .. } => {
            format!("the AWS profile `{name}` (AWS_PROFILE) does not exist")
        }
        CredentialOrigin::Profile { name, .. } => {
            format!("the AWS profile `{name}` (AWS_PROFILE) has no credentials")
        }
        _ => "no AWS credentials were found".to_owned(),
    }
}

/// Explains that a service, such as `kms`, denies every call.
pub(crate) fn denied(service: &'static str, actions: &BTreeSet<&str>) -> Explanation {
    let (name, shown) = match service {
        "ec2" => ("ec2-denied", "EC2"),
        "elasticmapreduce" => ("emr-denied", "EMR"),
        "iam" => ("iam-denied", "IAM"),
        "kms" => ("kms-denied", "KMS"),
        "s3" => ("s3-denied", "S3"),
        _ => ("service-denied", service),
    };
    let actions: Vec<&str> = actions.iter().copied().collect();
    Explanation::new(
        name,
        format!("access denied to every call of {shown}"),
        vec![
            format!("allow to the guard's credentials: {}", actions.join(", ")),
            "emr-etl-guard explain --permissions    # prints the whole policy".to_owned(),
        ],
    )
}

/// Explains that this one permission is denied, and of its service nothing more is known.
pub(crate) fn denied_call(action: &str) -> Explanation {
    Explanation::new(
        "access-denied",
        format!("access denied to {action}"),
        vec![
            format!("allow to the guard's credentials: {action}"),
            "emr-etl-guard explain --permissions    # prints the whole policy".to_owned(),
        ],
    )
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn shown(it: &Explanation) -> String {
        let fixes: Vec<&str> = it.fixes.iter().map(Printable::as_str).collect();
        format!("{}: {}\n  {}", it.name, it.what, fixes.join("\n  "))
    }

    fn profile(exists: bool, is_sso: bool) -> CredentialOrigin {
        CredentialOrigin::Profile { name: "acme-prod".to_owned(), exists, is_sso }
    }

    #[test]
    fn each_cause_has_a_short_name_for_what_is_wrong_and_something_to_do() {
        let causes = [
            AccessCause::NoCredentials,
            AccessCause::CredentialsFailed,
            AccessCause::ExpiredToken,
            AccessCause::UnknownKey,
            AccessCause::WrongSecret,
            AccessCause::ClockSkew(Some(17)),
            AccessCause::ClockSkew(Some(-17)),
            AccessCause::ClockSkew(None),
            AccessCause::Unreachable("elasticmapreduce.eu-west-1.amazonaws.com".to_owned()),
            AccessCause::Untrusted,
            AccessCause::Proxy("http://proxy.acme.example:3128".to_owned()),
            AccessCause::WrongRegion(Some("eu-central-1".to_owned())),
            AccessCause::WrongRegion(None),
        ];
        let origins = [
            CredentialOrigin::RunnerConfig,
            CredentialOrigin::Environment,
            profile(true, false),
            profile(true, true),
            profile(false, false),
            CredentialOrigin::Default,
        ];
        let mut all = String::new();
        let mut seen = BTreeSet::new();
        for cause in &causes {
            for origin in &origins {
                let it = explain(cause, &BTreeSet::new(), origin);
                assert!(!it.fixes.is_empty(), "{cause:?}");
                assert!(it.what.as_str().len() <= 72, "{}", it.what);
                if seen.insert(format!("{it:?}")) {
                    let _ = writeln!(all, "{}", shown(&it));
                }
            }
        }
        let kms = denied("kms", &BTreeSet::from(["kms:DescribeKey", "kms:ListGrants"]));
        let _ = writeln!(all, "{}", shown(&kms));
        let _ = writeln!(all, "{}", shown(&denied_call("elasticmapreduce:DescribeCluster")));
        insta::assert_snapshot!(all);
    }
}
