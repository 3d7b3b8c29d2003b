//! What the sentinel watches, and how: the section `sentinel` of `guard.yml`, and the options that
//! it gives together with the policy.

use std::{collections::BTreeSet, net::SocketAddr, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    base::names::{AccountId, RoleArn, partition},
    settings::{
        policy::Policy,
        sentinel_rules::{
            self, OnUnsafe, SectionMistake, SentinelRule, SentinelRules, one_or_more, parsed,
        },
    },
};

/// The section as the file has it, with defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SentinelSettings {
    accounts: Vec<WatchedAccount>,
    #[serde(deserialize_with = "regions")]
    regions: Vec<String>,
    #[serde(deserialize_with = "queues")]
    queues: Vec<String>,
    rules: Vec<SentinelRule>,
    on_unsafe: OnUnsafe,
    terminations_per_hour: u32,
    #[serde(with = "span")]
    interval: Duration,
    #[serde(with = "span")]
    judge_within: Duration,
    #[serde(with = "span")]
    report_every: Duration,
    #[serde(deserialize_with = "listen")]
    listen: Option<SocketAddr>,
}

impl Default for SentinelSettings {
    fn default() -> Self {
        Self {
            accounts: Vec::new(),
            regions: Vec::new(),
            queues: Vec::new(),
            rules: Vec::new(),
            on_unsafe: OnUnsafe::Alert,
            terminations_per_hour: 5,
            interval: Duration::from_secs(30),
            judge_within: Duration::from_mins(15),
            report_every: Duration::from_hours(24),
            listen: None,
        }
    }
}

/// The options of one sentinel.
#[derive(Clone, Debug)]
pub struct SentinelOptions {
    /// The accounts; empty: the one of the sentinel's own credentials.
    pub accounts: Vec<WatchedAccount>,
    /// The regions, for accounts that name none; empty: all that are enabled.
    pub regions: Vec<String>,
    /// The rules, and what happens where none applies.
    pub rules: SentinelRules,
    /// The policy of the settings, with its exceptions.
    pub policy: Policy,
    /// The URLs of SQS queues with EMR's and CloudTrail's events.
    pub queues: Vec<String>,
    /// How many clusters may be terminated within an hour.
    pub terminations_per_hour: u32,
    /// The interval between two lists of one region.
    pub interval: Duration,
    /// The time limit in which every cluster must be judged.
    pub judge_within: Duration,
    /// How long the end of a cluster is awaited.
    pub termination: Duration,
    /// How often a report is closed and delivered although nothing was terminated.
    pub report_every: Duration,
    /// Where the HTTP endpoint for probes and metrics listens; none: nowhere.
    pub listen: Option<SocketAddr>,
}

/// An account to watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchedAccount {
    /// Its id.
    #[serde(deserialize_with = "parsed")]
    pub id: AccountId,
    /// The role in it that the sentinel assumes.
    #[serde(deserialize_with = "parsed")]
    pub role: RoleArn,
    /// The external id that the role's trust policy asks for.
    #[serde(default, deserialize_with = "external_id")]
    pub external_id: Option<String>,
    /// Its regions; empty: those of the options.
    #[serde(default, deserialize_with = "regions")]
    pub regions: Vec<String>,
}

impl SentinelSettings {
    /// The URLs of the queues.
    pub(crate) fn queues(&self) -> &[String] {
        &self.queues
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[SentinelRule] {
        &self.rules
    }

    /// Finds mistakes that concern several keys together.
    ///
    /// # Errors
    /// The first mistake.
    pub(super) fn check(&self) -> Result<(), SectionMistake> {
        unrepeated("sentinel.regions", &self.regions)?;
        let mut ids = BTreeSet::new();
        for (index, account) in self.accounts.iter().enumerate() {
            let path = format!("sentinel.accounts[{index}]");
            let WatchedAccount { id, role, external_id: _, regions } = account;
            if role.account() != id.as_str() {
                let what = format!(
                    "the role {role} is in the account {}, and `id` is {id}; expected a role of \
                     the account itself; fix: correct one of the two",
                    role.account()
                );
                return Err(SectionMistake::new(format!("{path}.role"), what));
            }
            if !ids.insert(id) {
                let what = format!("the account {id} is listed twice; fix: list it once");
                return Err(SectionMistake::new(format!("{path}.id"), what));
            }
            unrepeated(&format!("{path}.regions"), regions)?;
        }
        self.check_partition()?;
        sentinel_rules::check(&self.rules)?;
        for (index, rule) in self.rules.iter().enumerate() {
            let unwatched = |id: &&AccountId| !ids.is_empty() && !ids.contains(id);
            if let Some(id) = rule.matches.accounts.iter().find(unwatched) {
                let what = format!(
                    "the account {id} is not watched; expected one of `sentinel.accounts`; fix: \
                     add it there, or remove it here"
                );
                let path = format!("sentinel.rules[{index}].match.accounts");
                return Err(SectionMistake::new(path, what));
            }
        }
        Ok(())
    }

    /// Checks that all regions and roles are in one partition: credentials hold in one alone.
    fn check_partition(&self) -> Result<(), SectionMistake> {
        let common = self.regions.iter().enumerate().map(|(index, region)| {
            (format!("sentinel.regions[{index}]"), region.as_str(), partition(region))
        });
        let of_accounts = self.accounts.iter().enumerate().flat_map(|(index, account)| {
            let path = format!("sentinel.accounts[{index}]");
            let role = (format!("{path}.role"), account.role.as_str(), account.role.partition());
            let regions = account.regions.iter().enumerate().map(move |(index, region)| {
                (format!("{path}.regions[{index}]"), region.as_str(), partition(region))
            });
            std::iter::once(role).chain(regions)
        });
        let mut all = common.chain(of_accounts);
        let Some((_, first, expected)) = all.next() else {
            return Ok(());
        };
        match all.find(|(_, _, partition)| *partition != expected) {
            Some((path, name, partition)) => Err(SectionMistake::new(
                path,
                format!(
                    "{name} is in the partition {partition}, and {first} in {expected}; expected \
                     one partition, because credentials hold in one alone; fix: run one sentinel \
                     for each"
                ),
            )),
            None => Ok(()),
        }
    }

    /// The options that the section gives with `policy`; `termination` is how long the end of a
    /// cluster is awaited.
    ///
    /// # Errors
    /// A rule that asks for less than the policy although it must not.
    pub(super) fn options(
        &self,
        policy: &Policy,
        termination: Duration,
    ) -> Result<SentinelOptions, SectionMistake> {
        let rules = SentinelRules { rules: self.rules.clone(), otherwise: self.on_unsafe };
        rules.check_against(policy)?;
        Ok(SentinelOptions {
            accounts: self.accounts.clone(),
            regions: self.regions.clone(),
            rules,
            policy: policy.clone(),
            queues: self.queues.clone(),
            terminations_per_hour: self.terminations_per_hour,
            interval: self.interval,
            judge_within: self.judge_within,
            termination,
            report_every: self.report_every,
            listen: self.listen,
        })
    }
}

fn unrepeated(path: &str, names: &[String]) -> Result<(), SectionMistake> {
    let repeated = |(index, name): &(usize, &String)| names[..*index].contains(name);
    match names.iter().enumerate().find(repeated) {
        Some((index, name)) => Err(SectionMistake::new(
            format!("{path}[{index}]"),
            format!("`{name}` is listed twice; fix: list it once"),
        )),
        None => Ok(()),
    }
}

/// A region by its form: AWS adds regions, so that no list of them can be complete.
struct RegionForm(String);

impl FromStr for RegionForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('-').collect();
        let is_word =
            |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
        match parts.split_last() {
            Some((number, words))
                if words.len() >= 2
                    && words.iter().all(is_word)
                    && number.len() == 1
                    && number.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(format!(
                "holds `{text}`; expected the name of a region, such as eu-west-1; fix: `aws \
                 account list-regions` prints those of the account"
            )),
        }
    }
}

fn regions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let all: Vec<RegionForm> = one_or_more(deserializer)?;
    Ok(all.into_iter().map(|region| region.0).collect())
}

/// The URL of a queue: `https://HOST/ACCOUNT/NAME`.
struct QueueForm(String);

impl FromStr for QueueForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let mut parts = rest.unwrap_or_default().split('/');
        let (host, account, name) = (parts.next(), parts.next(), parts.next());
        let is_name = |name: &str| {
            let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            !name.is_empty() && name.bytes().all(is_legal)
        };
        if host.is_some_and(|host| !host.is_empty())
            && account.is_some_and(|account| account.parse::<AccountId>().is_ok())
            && name.is_some_and(is_name)
            && parts.next().is_none()
        {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "holds `{text}`; expected the URL of a standard queue, such as \
             https://sqs.eu-west-1.amazonaws.com/123456789012/emr-etl-guard-sentinel; fix: `aws \
             sqs get-queue-url --queue-name NAME` prints it"
        ))
    }
}

fn queues<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let all: Vec<QueueForm> = one_or_more(deserializer)?;
    Ok(all.into_iter().map(|queue| queue.0).collect())
}

/// An external id as STS accepts it. Source: AWS STS API reference, AssumeRole.
struct ExternalIdForm(String);

impl FromStr for ExternalIdForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
        if (2..=1224).contains(&text.len()) && text.bytes().all(is_legal) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "holds `{text}`; expected 2 to 1224 letters, digits and characters of `_+=,.@:/-`, as \
             STS accepts it; fix: copy it from the role's trust policy"
        ))
    }
}

fn external_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let id: ExternalIdForm = parsed(deserializer)?;
    Ok(Some(id.0))
}

/// An address to listen on: IP address and port.
struct ListenForm(SocketAddr);

impl FromStr for ListenForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("holds `{text}`; expected an IP address and a port, such as 127.0.0.1:9477")
        })
    }
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let address: ListenForm = parsed(deserializer)?;
    Ok(Some(address.0))
}

/// A time such as `90s`, longer than none.
struct SpanForm(Duration);

impl FromStr for SpanForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(span) if span.is_zero() => {
                Err(format!("is `{text}`; expected more than 0s; write a time such as 30s"))
            }
            Ok(span) => Ok(Self(span)),
            Err(error) => Err(format!(
                "holds `{text}`, which is no time: {error}; write a time such as 90s or 10m"
            )),
        }
    }
}

mod span {
    //! Times as texts, for serde.

    use super::{Duration, SpanForm, parsed};

    pub(super) fn serialize<S: serde::Serializer>(
        span: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*span))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let SpanForm(span) = parsed(deserializer)?;
        Ok(span)
    }
}
