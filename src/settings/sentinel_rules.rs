//! The rules of the sentinel as `guard.yml` has them, and what is wrong with them.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};

use crate::{
    base::names::AccountId,
    settings::policy::{Policy, Protection},
};

/// What happens to an unsafe cluster.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnsafe {
    /// It is reported, and people are alerted.
    #[default]
    Alert,
    /// It is terminated, too.
    Terminate,
}

/// All rules, in their order.
#[derive(Clone, Debug, Default)]
pub struct SentinelRules {
    /// The rules; the first that matches a cluster applies to it.
    pub rules: Vec<SentinelRule>,
    /// What happens to an unsafe cluster that no rule matches.
    pub otherwise: OnUnsafe,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentinelRule {
    /// Its name in messages and reports.
    #[serde(deserialize_with = "parsed")]
    pub name: RuleName,
    /// The clusters that it matches.
    #[serde(rename = "match", default)]
    pub matches: RuleMatch,
    /// Protections that must be verified; none: those of the policy.
    pub require: Option<Vec<Protection>>,
    /// Keys that must encrypt what is written; none: those of the policy.
    pub expected_keys: Option<Vec<String>>,
    /// Checks lowered to advisory; none: those of the policy.
    pub advise: Option<Vec<String>>,
    /// Checks raised to required; none: those of the policy.
    pub enforce: Option<Vec<String>>,
    /// What happens if such a cluster is unsafe; none: `alert`.
    pub on_unsafe: Option<OnUnsafe>,
}

/// The name of a rule, which is not blank.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RuleName(String);

impl RuleName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RuleName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Err("is blank; expected a name for messages and reports, such as `payroll`");
        }
        Ok(Self(text.to_owned()))
    }
}

/// The clusters that a rule matches: those that meet every condition that it has. Without any, it
/// matches every cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleMatch {
    /// The pattern of the name, with `*` and `?`.
    pub name: Option<String>,
    /// Tags that the cluster must have, all of them; the values are patterns with `*` and `?`.
    pub tags: BTreeMap<String, String>,
    /// The ids of accounts, one of which it must be in; empty: any.
    #[serde(deserialize_with = "one_or_more")]
    pub accounts: Vec<AccountId>,
    /// Names of roles, one of which must be its service role or its instance profile; empty: any.
    #[serde(deserialize_with = "one_or_more")]
    pub roles: Vec<RoleName>,
    /// The ids of subnets, one of which it must be in; empty: any.
    #[serde(deserialize_with = "one_or_more")]
    pub subnet: Vec<SubnetId>,
}

impl RuleMatch {
    /// Whether it reads what the launcher of a cluster chooses freely: its name, or its tags.
    #[must_use]
    pub fn reads_the_launchers_words(&self) -> bool {
        self.name.is_some() || !self.tags.is_empty()
    }

    /// Whether it matches every cluster.
    fn is_for_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether some cluster can match both: no cluster is in two accounts or two subnets.
    fn may_meet(&self, other: &Self) -> bool {
        fn overlap<T: PartialEq>(one: &[T], other: &[T]) -> bool {
            one.is_empty() || other.is_empty() || one.iter().any(|item| other.contains(item))
        }
        overlap(&self.accounts, &other.accounts) && overlap(&self.subnet, &other.subnet)
    }
}

/// The name of a role or of an instance profile, without a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RoleName(String);

impl RoleName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleName {
    type Err = String;

    /// Source: IAM API reference, CreateInstanceProfile.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(is_legal) {
            return Ok(Self(text.to_owned()));
        }
        let fix = match text.rsplit_once('/') {
            Some((_, name)) => format!("fix: write `{name}`; `accounts` limits a rule to accounts"),
            None => "fix: write each role as its name, without patterns".to_owned(),
        };
        Err(format!(
            "holds `{text}`; expected the name of a role or instance profile, such as \
             EMR_EC2_DefaultRole; {fix}"
        ))
    }
}

/// The id of a subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SubnetId(String);

impl SubnetId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubnetId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("subnet-").unwrap_or_default();
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("holds `{text}`; expected the id of a subnet, such as subnet-0a1b2c3d"))
    }
}

/// A mistake in the section `sentinel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionMistake {
    /// The path of the key, such as `sentinel.rules[1].match`.
    pub path: String,
    /// What was seen, what is expected, and how to fix it.
    pub what: String,
}

impl SectionMistake {
    pub(super) fn new(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { path: path.into(), what: what.into() }
    }
}

/// Finds what is wrong with `rules` whatever the policy is.
///
/// # Errors
/// The first mistake.
pub(super) fn check(rules: &[SentinelRule]) -> Result<(), SectionMistake> {
    for (index, rule) in rules.iter().enumerate() {
        let earlier = &rules[..index];
        let name = rule.name.as_str();
        if earlier.iter().any(|other| other.name == rule.name) {
            let what = format!(
                "`{name}` is the name of an earlier rule, too; expected a name of its own, by \
                 which reports tell the rules apart"
            );
            return Err(SectionMistake::new(format!("{}.name", path(index)), what));
        }
        if let Some(all) = earlier.iter().find(|other| other.matches.is_for_all()) {
            let what = format!(
                "the rule `{name}` can never apply: the rule `{}` before it matches every \
                 cluster; fix: move `{name}` before it, or remove it",
                all.name.as_str()
            );
            return Err(SectionMistake::new(path(index), what));
        }
    }
    Ok(())
}

/// The path of a rule by its position.
fn path(index: usize) -> String {
    format!("sentinel.rules[{index}]")
}

impl SentinelRules {
    /// Finds rules that read name or tags and ask for less than what applies without them: as the
    /// stricter of both applies, what they ask for could never apply.
    ///
    /// # Errors
    /// The first mistake.
    pub(crate) fn check_against(&self, policy: &Policy) -> Result<(), SectionMistake> {
        for (index, rule) in self.rules.iter().enumerate() {
            if !rule.matches.reads_the_launchers_words() {
                continue;
            }
            let less = self.asks_for_less(rule, policy).or_else(|| self.keys_clash(rule, policy));
            if let Some((key, less)) = less {
                let what = format!(
                    "the rule `{}` reads name or tags, so it can only be stricter than what \
                     applies without it; {less}",
                    rule.name.as_str()
                );
                return Err(SectionMistake::new(format!("{}.{key}", path(index)), what));
            }
        }
        Ok(())
    }

    /// The key of `rule` that asks for less than the policy, and how.
    fn asks_for_less(
        &self,
        rule: &SentinelRule,
        policy: &Policy,
    ) -> Option<(&'static str, String)> {
        if let Some(require) = &rule.require
            && let Some(missing) = policy.require.iter().find(|one| !require.contains(one))
        {
            let missing = missing.name();
            return Some((
                "require",
                format!(
                    "it leaves out `{missing}`, which the policy requires; fix: add `{missing}`, \
                     or leave `require` out"
                ),
            ));
        }
        if let Some(advise) = &rule.advise
            && let Some(check) = advise.iter().find(|check| !policy.advise.contains(check))
        {
            return Some((
                "advise",
                format!(
                    "it makes `{check}` advisory, and the policy does not; fix: leave it out, or \
                     match by `roles` or `subnet`"
                ),
            ));
        }
        if rule.on_unsafe == Some(OnUnsafe::Alert) && self.otherwise == OnUnsafe::Terminate {
            return Some((
                "on_unsafe",
                "it only alerts, and `sentinel.on_unsafe` is `terminate`; fix: leave it out, or \
                 match by `roles` or `subnet`"
                    .to_owned(),
            ));
        }
        None
    }

    /// Where both `rule` and what applies without it name keys, the rule's must be among them: no
    /// key could meet both otherwise.
    fn keys_clash(&self, rule: &SentinelRule, policy: &Policy) -> Option<(&'static str, String)> {
        let keys = rule.expected_keys.as_deref()?;
        let others = self.rules.iter().filter(|other| {
            !other.matches.reads_the_launchers_words() && other.matches.may_meet(&rule.matches)
        });
        let others = others.filter_map(|other| {
            Some((format!("the rule `{}`", other.name.as_str()), other.expected_keys.as_deref()?))
        });
        let policy = ("the policy".to_owned(), policy.expected_keys.as_slice());
        for (who, accepted) in std::iter::once(policy).chain(others) {
            if accepted.is_empty() {
                continue;
            }
            let all = accepted.join("`, `");
            if keys.is_empty() {
                let less = format!(
                    "it accepts any key, and {who} only `{all}`; fix: leave `expected_keys` out"
                );
                return Some(("expected_keys", less));
            }
            if let Some(key) = keys.iter().find(|key| !accepted.contains(key)) {
                let less = format!(
                    "it names the key `{key}`, and {who} accepts only `{all}`; fix: name keys of \
                     these, written in the same form"
                );
                return Some(("expected_keys", less));
            }
        }
        None
    }
}

/// Reads a text and parses it, so that the error has its line.
///
/// # Errors
/// It is no text, or cannot be parsed.
pub(super) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    Ok(Parsed::deserialize(deserializer)?.0)
}

/// Reads one text, or a list that is not empty, and parses each.
///
/// # Errors
/// It is neither, or one cannot be parsed.
pub(super) fn one_or_more<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct OneOrMore<T>(std::marker::PhantomData<T>);

    impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for OneOrMore<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            Ok(vec![text.parse().map_err(E::custom)?])
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Vec<T>, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(Parsed(one)) = list.next_element()? {
                all.push(one);
            }
            if all.is_empty() {
                return Err(A::Error::custom("is empty; fix: leave it out, which means any"));
            }
            Ok(all)
        }
    }

    deserializer.deserialize_any(OneOrMore(std::marker::PhantomData))
}

/// A text, parsed. An account's id without quotation marks is a number for YAML.
struct Parsed<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(std::marker::PhantomData<T>);

        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
            type Value = Parsed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Parsed<T>, E> {
                text.parse().map(Parsed).map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Parsed<T>, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(Text(std::marker::PhantomData))
    }
}
