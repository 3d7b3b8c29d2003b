//! Tests of the section `sentinel` of a settings file.

use std::{io::Write as _, time::Duration};

use crate::settings::{
    resolve::{Options, Settings, SettingsError},
    sentinel_options::SentinelOptions,
    sentinel_rules::OnUnsafe,
};

fn settings(text: &str) -> Result<(Settings, String), String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let name = file.path().display().to_string();
    match Settings::resolve(Options::default(), Some(file.path())) {
        Ok(settings) => Ok((settings, name)),
        Err(error) => Err(error.to_string().replace(&name, "guard.yml")),
    }
}

fn options(text: &str) -> Result<SentinelOptions, String> {
    let (settings, name) = settings(text)?;
    settings
        .sentinel_options()
        .map_err(|error: SettingsError| error.to_string().replace(&name, "guard.yml"))
}

/// The error about a section with this text, which `lines` precede.
fn error_after(lines: &str, section: &str) -> String {
    options(&format!("{lines}sentinel:\n{section}\n")).map(drop).unwrap_err()
}

fn error(section: &str) -> String {
    error_after("# one line\n", section)
}

#[test]
fn a_whole_section_is_read() {
    let options = options(
        "termination_timeout: 20m
sentinel:
  accounts:
    - id: '123456789012'
      role: arn:aws:iam::123456789012:role/guards/sentinel
      external_id: acme-1
      regions: [eu-west-1, us-east-1]
  regions: eu-central-1
  queues: [https://sqs.eu-west-1.amazonaws.com/123456789012/emr-etl-guard-sentinel]
  rules:
    - name: payroll
      match: {name: 'payroll-*', tags: {team: hr}, roles: [EMR_EC2_Payroll], subnet: subnet-1a}
      require: [s3-at-rest, local-disk, in-transit]
      expected_keys: [alias/payroll]
      on_unsafe: terminate
  terminations_per_hour: 3
  listen: 127.0.0.1:9477
",
    )
    .unwrap();
    assert_eq!(options.accounts[0].id.as_str(), "123456789012");
    assert_eq!(options.accounts[0].role.as_str(), "arn:aws:iam::123456789012:role/guards/sentinel");
    assert_eq!(options.accounts[0].external_id.as_deref(), Some("acme-1"));
    assert_eq!(options.accounts[0].regions, ["eu-west-1", "us-east-1"]);
    assert_eq!(options.regions, ["eu-central-1"]);
    assert_eq!(options.queues.len(), 1);
    assert_eq!(options.rules.rules[0].matches.subnet[0].as_str(), "subnet-1a");
    assert_eq!(options.rules.rules[0].on_unsafe, Some(OnUnsafe::Terminate));
    assert_eq!((options.terminations_per_hour, options.listen.unwrap().port()), (3, 9477));
    assert_eq!(options.termination, Duration::from_mins(20));
}

#[test]
fn without_a_section_nothing_is_terminated_and_the_defaults_hold() {
    for text in ["", "sentinel:\n", "sentinel: {}\n"] {
        let options = options(text).unwrap();
        assert!(options.accounts.is_empty() && options.regions.is_empty());
        assert!(options.queues.is_empty() && options.rules.rules.is_empty());
        assert_eq!(options.rules.otherwise, OnUnsafe::Alert);
        assert_eq!((options.terminations_per_hour, options.listen), (5, None));
        assert_eq!(options.interval, Duration::from_secs(30));
        assert_eq!(options.judge_within, Duration::from_mins(15));
        assert_eq!(options.report_every, Duration::from_hours(24));
    }
}

#[test]
fn every_mistake_has_one_error_with_its_place_and_what_is_expected() {
    let role = "role: arn:aws:iam::123456789012:role/s";
    let in_rule = |text: &str| error(&format!("  rules:\n    - name: x\n      {text}"));
    insta::assert_snapshot!(
        [
            error("  intervall: 30s"),
            error("  interval: 0s"),
            error("  interval: soon"),
            error("  report_every: 24"),
            error("  on_unsafe: kill"),
            error("  terminations_per_hour: -1"),
            error("  listen: localhost"),
            error("  listen: 9477"),
            error("  regions: []"),
            error("  regions: [eu-west-1, Ireland]"),
            error("  regions: [eu-west-1, eu-west-1]"),
            error("  regions: [eu-west-1, us-gov-west-1]"),
            error("  queues: [emr-etl-guard-sentinel]"),
            error("  queues:\n    - https://sqs.eu-west-1.amazonaws.com/1234/q"),
            error(&format!("  accounts:\n    - id: 12345678901\n      {role}")),
            error(&format!("  accounts:\n    - id: '1234'\n      {role}")),
            error(&format!("  accounts:\n    - id: '210987654321'\n      {role}")),
            error("  accounts:\n    - id: '123456789012'"),
            error("  accounts:\n    - id: '123456789012'\n      role: sentinel"),
            error(&format!("  accounts:\n    - &a {{id: '123456789012', {role}}}\n    - *a")),
            error(&format!("  accounts: [{{id: '123456789012', {role}, external_id: x}}]")),
            error(&format!(
                "  accounts:\n    - id: '123456789012'\n      {role}\n      regions:\n      - \
                 cn-north-1"
            )),
            in_rule("match: {subnets: subnet-1}"),
            in_rule("match: {subnet: 10.0.0.0/8}"),
            in_rule("match: {roles: []}"),
            in_rule("match: {roles: ['arn:aws:iam::123456789012:role/etl/EMR_EC2']}"),
            in_rule("match: {roles: ['EMR_*']}"),
            in_rule("match: {tags: [team]}"),
            in_rule("match: {accounts: 1234}"),
            in_rule("require: [in-transit, at-rest]"),
            in_rule("on_unsafe: [terminate]"),
            in_rule("exceptions: []"),
            error("  rules:\n    - name: ' '"),
            error("  rules:\n    - match: {name: x}"),
            error("  rules:\n    - {name: x, match: {name: x}}\n    - name: x"),
            error("  rules:\n    - name: all\n    - name: x\n      match: {name: x}"),
            error(&format!(
                "  accounts: [{{id: '123456789012', {role}}}]\n  rules:\n    - name: x\n      \
                 match:\n        accounts: '210987654321'"
            )),
        ]
        .join("\n")
    );
}

#[test]
fn a_rule_that_reads_name_or_tags_may_not_ask_for_less_than_what_applies_anyway() {
    let policy = "expected_keys: [alias/a, alias/b]\nadvise: [bucket-owner]\n";
    let rule = |matches: &str, asks: &str| {
        format!("  on_unsafe: terminate\n  rules:\n  - name: x\n    match: {matches}\n    {asks}")
    };
    let by_role = "  - {name: dev, match: {roles: EMR_Dev}, expected_keys: [alias/b]}";
    let other_subnet = by_role.replace("roles: EMR_Dev", "subnet: subnet-2");
    let named = "{name: 'payroll-*'}";
    let errors = [
        rule(named, "require: [s3-at-rest, local-disk]"),
        rule("{tags: {team: hr}}", "expected_keys: []"),
        rule(named, "expected_keys: [alias/a, alias/c]"),
        rule(named, &format!("expected_keys: [alias/a]\n{by_role}")),
        rule(named, "advise: [bucket-owner, kms-key-enabled]"),
        rule(named, "on_unsafe: alert"),
    ]
    .map(|section| error_after(policy, &section));
    insta::assert_snapshot!(errors.join("\n"));

    for accepted in [
        rule(named, "require: [in-transit, s3-at-rest, local-disk]"),
        rule(named, "expected_keys: [alias/b]"),
        rule(named, "advise: []"),
        rule(named, "on_unsafe: terminate"),
        // No cluster is in both subnets.
        rule("{name: x, subnet: subnet-1}", &format!("expected_keys: [alias/a]\n{other_subnet}")),
        // What the launcher does not choose freely may select less.
        rule("{accounts: [123456789012]}", "require: []"),
        rule("{roles: EMR_Dev}", "require: []"),
        rule("{subnet: subnet-1}", "on_unsafe: alert"),
        rule("{accounts: '123456789012'}", "expected_keys: []"),
    ] {
        options(&format!("{policy}sentinel:\n{accepted}\n")).unwrap();
    }
}

#[test]
fn a_rule_that_a_flag_makes_too_lenient_stops_the_sentinel_alone() {
    let text = "require: []\nsentinel: {rules: [{name: x, match: {name: y}, require: []}]}\n";
    assert!(options(text).is_ok());
    let (mut settings, _) = settings(text).unwrap();
    settings.policy.require = vec![crate::settings::policy::Protection::InTransit];
    let error = settings.sentinel_options().map(drop).unwrap_err().to_string();
    assert!(
        error.contains(":2: sentinel.rules[0].require: the rule `x` reads name or tags"),
        "{error}"
    );
}

#[test]
fn the_settings_in_the_documentation_are_accepted() {
    let page = include_str!("../../docs/sentinel.md");
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let read: Vec<SentinelOptions> = blocks.map(|block| options(block).unwrap()).collect();
    assert_eq!((read[0].rules.rules.len(), read[1].accounts.len()), (3, 2));
}
