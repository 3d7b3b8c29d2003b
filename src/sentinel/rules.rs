//! The rules: which requirements apply to a cluster, and what happens to one that is unsafe.
//!
//! A name and tags are the launcher's own words. A rule that reads them can only make stricter what
//! would apply without them.

use std::collections::BTreeMap;

use crate::{
    base::{names::AccountId, wildcard},
    settings::{
        policy::Policy,
        sentinel_rules::{OnUnsafe, RuleMatch, SentinelRule, SentinelRules},
    },
};

/// What a rule reads of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct ClusterTraits<'a> {
    /// The account it is in.
    pub(crate) account: &'a AccountId,
    /// Its name.
    pub(crate) name: &'a str,
    /// Its tags.
    pub(crate) tags: &'a BTreeMap<String, String>,
    /// Its service role and its instance profile, as EMR names them.
    pub(crate) roles: [Option<&'a str>; 2],
    /// Its subnet.
    pub(crate) subnet: Option<&'a str>,
}

/// What applies to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The name of the rule; none: the policy of the settings applies.
    pub(crate) rule: Option<String>,
    /// The requirements, with the exceptions of the settings.
    pub(crate) policy: Policy,
    /// What happens if it is unsafe.
    pub(crate) on_unsafe: OnUnsafe,
}

impl SentinelRules {
    /// What applies to a cluster, where `policy` is the policy of the settings.
    ///
    /// The first rule that matches wins. If it reads name or tags, the stricter of it and of what
    /// would apply without them holds: the first match among the rules that read neither, else the
    /// policy.
    pub(crate) fn apply(&self, cluster: &ClusterTraits<'_>, policy: &Policy) -> Applied {
        let mut matching = self.rules.iter().filter(|rule| fits(&rule.matches, cluster));
        let Some(first) = matching.next() else {
            return self.of_policy(policy);
        };
        if !first.matches.reads_the_launchers_words() {
            return replaced(first, policy);
        }
        let without = matching
            .find(|rule| !rule.matches.reads_the_launchers_words())
            .map_or_else(|| self.of_policy(policy), |rule| replaced(rule, policy));
        stricter(first, without)
    }

    fn of_policy(&self, policy: &Policy) -> Applied {
        Applied { rule: None, policy: policy.clone(), on_unsafe: self.otherwise }
    }
}

/// Whether a cluster meets every condition.
fn fits(matches: &RuleMatch, cluster: &ClusterTraits<'_>) -> bool {
    let RuleMatch { name, tags, accounts, roles, subnet } = matches;
    // EMR shows a role as it was given to RunJobFlow: its name, with or without its path, or its
    // ARN.
    let is_one = |role: &str| {
        let given = role.rsplit('/').next().unwrap_or(role);
        roles.iter().any(|role| role.as_str() == given)
    };
    name.as_ref().is_none_or(|pattern| wildcard::fits(pattern, cluster.name))
        && tags.iter().all(|(key, pattern)| {
            cluster.tags.get(key).is_some_and(|value| wildcard::fits(pattern, value))
        })
        && (accounts.is_empty() || accounts.contains(cluster.account))
        && (roles.is_empty() || cluster.roles.into_iter().flatten().any(is_one))
        && (subnet.is_empty()
            || cluster.subnet.is_some_and(|id| subnet.iter().any(|one| one.as_str() == id)))
}

/// What applies by a rule alone: what it says takes the place of what the policy says.
fn replaced(rule: &SentinelRule, policy: &Policy) -> Applied {
    let SentinelRule { name, matches: _, require, expected_keys, advise, enforce, on_unsafe } =
        rule;
    let list = |of_rule: &Option<Vec<String>>, of_policy: &Vec<String>| {
        of_rule.as_ref().unwrap_or(of_policy).clone()
    };
    Applied {
        rule: Some(name.as_str().to_owned()),
        policy: Policy {
            require: require.as_ref().unwrap_or(&policy.require).clone(),
            expected_keys: list(expected_keys, &policy.expected_keys),
            advise: list(advise, &policy.advise),
            enforce: list(enforce, &policy.enforce),
            ..policy.clone()
        },
        on_unsafe: on_unsafe.unwrap_or_default(),
    }
}

/// The stricter of a rule and of what applies `without` it, in each aspect.
fn stricter(rule: &SentinelRule, without: Applied) -> Applied {
    let SentinelRule { name, matches: _, require, expected_keys, advise, enforce, on_unsafe } =
        rule;
    let Applied { rule: _, mut policy, on_unsafe: otherwise } = without;
    let added = require.iter().flatten().filter(|one| !policy.require.contains(one));
    let added: Vec<_> = added.copied().collect();
    policy.require.extend(added);
    // An empty list means any key. So where the two have no key in common, which the settings
    // refuse, the keys without the rule stay.
    if let Some(keys) = expected_keys {
        let is_any = policy.expected_keys.is_empty();
        let accepted = |key: &&String| is_any || policy.expected_keys.contains(key);
        let both: Vec<String> = keys.iter().filter(accepted).cloned().collect();
        if !both.is_empty() {
            policy.expected_keys = both;
        }
    }
    if let Some(advise) = advise {
        policy.advise.retain(|check| advise.contains(check));
    }
    let added = enforce.iter().flatten().filter(|check| !policy.enforce.contains(check));
    let added: Vec<_> = added.cloned().collect();
    policy.enforce.extend(added);
    Applied {
        rule: Some(name.as_str().to_owned()),
        policy,
        on_unsafe: otherwise.max(on_unsafe.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::subsequence};

    use super::*;
    use crate::settings::{
        policy::{PolicyException, Protection},
        sentinel_rules::{RoleName, SubnetId},
    };

    /// A cluster with values of its own.
    #[derive(Clone, Debug)]
    struct SampleCluster {
        account: AccountId,
        name: String,
        tags: BTreeMap<String, String>,
        roles: [Option<String>; 2],
        subnet: Option<String>,
    }

    impl SampleCluster {
        fn traits(&self) -> ClusterTraits<'_> {
            ClusterTraits {
                account: &self.account,
                name: &self.name,
                tags: &self.tags,
                roles: self.roles.each_ref().map(Option::as_deref),
                subnet: self.subnet.as_deref(),
            }
        }
    }

    const ACCOUNTS: [&str; 2] = ["123456789012", "210987654321"];
    const NAMES: [&str; 3] = ["payroll-1", "payroll", "adhoc"];
    const ROLES: [&str; 4] =
        ["EMR_A", "EMR_B", "etl/EMR_A", "arn:aws:iam::123456789012:role/etl/EMR_B"];
    const KEYS: [&str; 3] = ["alias/a", "alias/b", "alias/c"];
    const CHECKS: [&str; 3] = ["required-one", "required-two", "advisory"];
    const PROTECTIONS: [Protection; 3] =
        [Protection::S3AtRest, Protection::LocalDisk, Protection::InTransit];

    fn texts(all: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        let count = all.len();
        subsequence(all, 0..=count)
    }

    fn one_of(all: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::sample::select(all).prop_map(str::to_owned)
    }

    fn protections() -> impl Strategy<Value = Vec<Protection>> {
        subsequence(PROTECTIONS.to_vec(), 0..=3)
    }

    fn on_unsafe() -> impl Strategy<Value = OnUnsafe> {
        prop::sample::select(&[OnUnsafe::Alert, OnUnsafe::Terminate][..])
    }

    fn clusters() -> impl Strategy<Value = SampleCluster> {
        let tags = prop::collection::btree_map(
            one_of(&["team", "stage"]),
            one_of(&["hr", "hr-1", ""]),
            0..=2,
        );
        let roles = (prop::option::of(one_of(&ROLES)), prop::option::of(one_of(&ROLES)));
        let subnet = prop::option::of(one_of(&["subnet-1", "subnet-2"]));
        (one_of(&ACCOUNTS), one_of(&NAMES), tags, roles, subnet).prop_map(
            |(account, name, tags, (service, profile), subnet)| SampleCluster {
                account: AccountId::new(&account),
                name,
                tags,
                roles: [service, profile],
                subnet,
            },
        )
    }

    fn matches() -> impl Strategy<Value = RuleMatch> {
        let name = prop::option::of(one_of(&["payroll-*", "payroll", "*", "ad?oc"]));
        let tags = prop::collection::btree_map(
            one_of(&["team", "stage"]),
            one_of(&["hr*", "hr", "*"]),
            0..=2,
        );
        // Most rules have only some of the conditions.
        let some =
            |all: &'static [&'static str]| prop_oneof![3 => Just(Vec::new()), 2 => texts(all)];
        let rest = (some(&ACCOUNTS), some(&["EMR_A", "EMR_B"]), some(&["subnet-1", "subnet-2"]));
        let launchers = prop_oneof![Just((None, BTreeMap::new())), (name, tags)];
        (launchers, rest).prop_map(|((name, tags), (accounts, roles, subnet))| RuleMatch {
            name,
            tags,
            accounts: accounts.iter().map(|id| AccountId::new(id)).collect(),
            roles: roles.iter().map(|name| name.parse::<RoleName>().unwrap()).collect(),
            subnet: subnet.iter().map(|id| id.parse::<SubnetId>().unwrap()).collect(),
        })
    }

    fn rules() -> impl Strategy<Value = SentinelRules> {
        let asks = (
            prop::option::of(protections()),
            prop::option::of(texts(&KEYS)),
            prop::option::of(texts(&CHECKS)),
            prop::option::of(texts(&CHECKS)),
            prop::option::of(on_unsafe()),
        );
        let rule = (matches(), asks).prop_map(
            |(matches, (require, expected_keys, advise, enforce, on_unsafe))| SentinelRule {
                matches,
                require,
                expected_keys,
                advise,
                enforce,
                on_unsafe,
                ..SentinelRule::default()
            },
        );
        (prop::collection::vec(rule, 0..=5), on_unsafe()).prop_map(|(mut rules, otherwise)| {
            for (index, rule) in rules.iter_mut().enumerate() {
                rule.name = index.to_string().parse().unwrap();
            }
            SentinelRules { rules, otherwise }
        })
    }

    fn policies() -> impl Strategy<Value = Policy> {
        (protections(), texts(&KEYS), texts(&CHECKS), texts(&CHECKS)).prop_map(
            |(require, expected_keys, advise, enforce)| Policy {
                require,
                expected_keys,
                advise,
                enforce,
                ..policy()
            },
        )
    }

    /// A policy with an exception.
    fn policy() -> Policy {
        Policy {
            require: PROTECTIONS.to_vec(),
            accept_encryption: Vec::new(),
            expected_keys: Vec::new(),
            external_buckets: Vec::new(),
            advise: Vec::new(),
            enforce: Vec::new(),
            certificate_days: 30,
            data_objects: 0,
            confirm_objects: None,
            on_unencrypted: crate::settings::policy::OnUnencrypted::default(),
            exceptions: vec![PolicyException {
                check: "required-two".to_owned(),
                subject: "*".to_owned(),
                reason: "known".to_owned(),
                expires: time::Date::MAX,
            }],
        }
    }

    /// Whether `policy` requires this check. All but the advisory one are required by themselves.
    fn requires(policy: &Policy, check: &str) -> bool {
        let has = |list: &[String]| list.iter().any(|name| name == check);
        has(&policy.enforce) || (check != "advisory" && !has(&policy.advise))
    }

    /// Whether every cluster that meets `one` meets `other`, and what happens to others is no less.
    fn is_as_strict(one: &Applied, other: &Applied) -> bool {
        let (strict, lenient) = (&one.policy, &other.policy);
        let keys = |keys: &[String], accepted: &[String]| {
            accepted.is_empty()
                || (!keys.is_empty() && keys.iter().all(|key| accepted.contains(key)))
        };
        lenient.require.iter().all(|protection| strict.require.contains(protection))
            && keys(&strict.expected_keys, &lenient.expected_keys)
            && CHECKS.iter().all(|check| requires(strict, check) || !requires(lenient, check))
            && one.on_unsafe >= other.on_unsafe
    }

    /// The rules that do not read what the launcher chooses freely.
    fn without_the_launchers_words(rules: &SentinelRules) -> SentinelRules {
        let mut rules = rules.clone();
        rules.rules.retain(|rule| rule.matches.name.is_none() && rule.matches.tags.is_empty());
        rules
    }

    proptest! {
        #[test]
        fn no_name_and_no_tag_makes_anything_more_lenient(
            rules in rules(),
            policy in policies(),
            cluster in clusters(),
        ) {
            let applied = rules.apply(&cluster.traits(), &policy);
            let without = without_the_launchers_words(&rules).apply(&cluster.traits(), &policy);
            prop_assert!(is_as_strict(&applied, &without), "{applied:?}\n{without:?}");
            // A name and tags that no rule knows select exactly that.
            if rules.rules.iter().all(|rule| rule.matches.name.as_deref() != Some("*")) {
                let name = "nobody".to_owned();
                let unknown = SampleCluster { name, tags: BTreeMap::new(), ..cluster };
                prop_assert_eq!(rules.apply(&unknown.traits(), &policy), without);
            }
        }

        #[test]
        fn the_first_rule_that_matches_alone_is_the_one_that_applies(
            rules in rules(),
            policy in policies(),
            cluster in clusters(),
        ) {
            let alone = rules.rules.iter().find(|rule| {
                let alone = SentinelRules { rules: vec![(*rule).clone()], otherwise: OnUnsafe::Alert };
                alone.apply(&cluster.traits(), &policy).rule.is_some()
            });
            let applied = rules.apply(&cluster.traits(), &policy);
            prop_assert_eq!(applied.rule.as_deref(), alone.map(|rule| rule.name.as_str()));
            if alone.is_none() {
                prop_assert_eq!(applied.policy, policy);
                prop_assert_eq!(applied.on_unsafe, rules.otherwise);
            }
        }

        #[test]
        fn what_a_rule_of_accepted_settings_asks_for_applies(
            rules in rules(),
            policy in policies(),
            cluster in clusters(),
        ) {
            prop_assume!(rules.check_against(&policy).is_ok());
            let Applied { rule: Some(name), policy: applied, on_unsafe } =
                rules.apply(&cluster.traits(), &policy)
            else {
                return Ok(());
            };
            let rule = rules.rules.iter().find(|rule| rule.name.as_str() == name).unwrap();
            let require = rule.require.iter().flatten();
            prop_assert!(require.clone().all(|one| applied.require.contains(one)));
            for keys in rule.expected_keys.iter().filter(|keys| !keys.is_empty()) {
                prop_assert_eq!(&applied.expected_keys, keys);
            }
            prop_assert!(rule.enforce.iter().flatten().all(|one| requires(&applied, one)));
            prop_assert!(on_unsafe >= rule.on_unsafe.unwrap_or_default());
        }

        #[test]
        fn the_exceptions_and_the_rest_of_the_policy_are_those_of_the_settings(
            rules in rules(),
            policy in policies(),
            cluster in clusters(),
        ) {
            let applied = rules.apply(&cluster.traits(), &policy).policy;
            let Policy { require, expected_keys, advise, enforce, .. } = policy.clone();
            let rest = Policy { require, expected_keys, advise, enforce, ..applied };
            prop_assert_eq!(rest, policy);
        }
    }

    fn rule(name: &str, matches: RuleMatch) -> SentinelRule {
        SentinelRule { name: name.parse().unwrap(), matches, ..SentinelRule::default() }
    }

    fn named(pattern: &str) -> RuleMatch {
        RuleMatch { name: Some(pattern.to_owned()), ..RuleMatch::default() }
    }

    fn of_role(role: &str) -> RuleMatch {
        RuleMatch { roles: vec![role.parse().unwrap()], ..RuleMatch::default() }
    }

    fn payroll() -> SampleCluster {
        SampleCluster {
            account: AccountId::new(ACCOUNTS[0]),
            name: "payroll-1".to_owned(),
            tags: BTreeMap::from([("team".to_owned(), "hr".to_owned())]),
            roles: [Some("EMR_Service".to_owned()), Some("etl/EMR_Payroll".to_owned())],
            subnet: Some("subnet-1".to_owned()),
        }
    }

    fn applies(matches: RuleMatch) -> bool {
        let rules = SentinelRules { rules: vec![rule("x", matches)], otherwise: OnUnsafe::Alert };
        rules.apply(&payroll().traits(), &policy()).rule.is_some()
    }

    #[test]
    fn each_condition_must_hold() {
        let tag = |key: &str, pattern: &str| RuleMatch {
            tags: BTreeMap::from([(key.to_owned(), pattern.to_owned())]),
            ..RuleMatch::default()
        };
        let subnet = |id: &str| RuleMatch { subnet: vec![id.parse().unwrap()], ..named("*") };
        let account = |id: &str| RuleMatch { accounts: vec![AccountId::new(id)], ..named("*") };
        assert!(applies(RuleMatch::default()));
        assert!(applies(named("payroll-*")) && !applies(named("payroll")));
        assert!(applies(tag("team", "h*")) && !applies(tag("team", "h")));
        // A tag that is missing does not match, whatever its value may be.
        assert!(!applies(tag("stage", "*")));
        assert!(applies(of_role("EMR_Payroll")) && applies(of_role("EMR_Service")));
        assert!(!applies(of_role("EMR_Pay")) && !applies(of_role("etl")));
        assert!(applies(subnet("subnet-1")) && !applies(subnet("subnet-11")));
        assert!(applies(account(ACCOUNTS[0])) && !applies(account(ACCOUNTS[1])));
        assert!(!applies(RuleMatch { name: Some("adhoc".to_owned()), ..of_role("EMR_Payroll") }));
    }

    #[test]
    fn a_rule_by_name_adds_to_the_rule_by_role_that_applies_without_it() {
        let lenient = SentinelRule {
            require: Some(vec![Protection::S3AtRest]),
            on_unsafe: Some(OnUnsafe::Terminate),
            ..rule("dev", of_role("EMR_Payroll"))
        };
        let strict = SentinelRule {
            require: Some(vec![Protection::LocalDisk]),
            ..rule("payroll", named("payroll-*"))
        };
        let rules = SentinelRules { rules: vec![strict, lenient], otherwise: OnUnsafe::Alert };
        let applied = rules.apply(&payroll().traits(), &policy());
        assert_eq!(applied.rule.as_deref(), Some("payroll"));
        assert_eq!(applied.policy.require, [Protection::S3AtRest, Protection::LocalDisk]);
        assert_eq!(applied.on_unsafe, OnUnsafe::Terminate);
    }
}
