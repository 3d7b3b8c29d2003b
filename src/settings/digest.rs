//! The digest of the effective settings, which shows whether two runs had the same.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    base::digest::sha256,
    settings::{
        alert_channels::{Channel, Channels},
        aws_options::AwsOptions,
        destination::Retention,
        evidence_options::EvidenceOptions,
        metrics_targets::Targets,
        report_options::ReportOptions,
        resolve::Settings,
        watch_options::{TerminationRules, WatchLimits},
    },
};

/// SHA-256 over the effective settings as compact JSON with sorted keys. It does not depend on
/// whether they came from flags, the environment or a file.
pub(crate) fn settings_digest(settings: &Settings) -> String {
    sha256(json!(in_force(settings)).to_string())
}

/// Every setting by its name in `guard.yml`, except that the policy's are grouped. Each struct is
/// destructured field by field, so that no new setting can be forgotten here.
fn in_force(settings: &Settings) -> BTreeMap<&'static str, Value> {
    let Settings {
        // The source of settings is not a setting; the report contains the file's name beside this
        // digest.
        file: _,
        provenance: _,
        runner,
        erb,
        clean_environment,
        security_configuration,
        policy,
        run_tag,
        aws:
            AwsOptions {
                allow_endpoints,
                allow_roots,
                credentials,
                timeout,
                confirm_timeout,
                event_queue,
            },
        pre_flight_timeout,
        version_timeout,
        stop_timeout,
        watch: WatchLimits { interval, judge_within, termination },
        termination:
            TerminationRules { on_stop, on_orphan, on_unjudged, adopted, attached, untagged },
        sentinel,
        state_dir,
        report: ReportOptions { file: report, progress, quiet, verbose: _ },
        evidence: EvidenceOptions { destinations, retention: Retention { keep, days }, sign_key },
        alerts: Channels { channels, limit },
        metrics: Targets { file: metrics_file, otlp, labels },
        prices,
        core_dumps,
        exit_codes,
    } = settings;
    let span = |span: &Duration| json!(humantime::format_duration(*span).to_string());
    // A path need not be UTF-8, and JSON must be.
    let path = |path: &std::path::Path| path.display().to_string();
    let channel = |find: fn(&Channel) -> Option<Value>| json!(channels.iter().find_map(find));
    BTreeMap::from([
        ("runner", json!(runner.as_deref().map(path))),
        ("erb", json!(erb)),
        ("clean_environment", json!(clean_environment)),
        ("security_configuration", json!(security_configuration)),
        ("policy", json!(policy)),
        ("run_tag", json!(run_tag)),
        ("allow_endpoints", json!(allow_endpoints)),
        ("allow_roots", json!(allow_roots)),
        ("credentials", json!(credentials)),
        ("aws_timeout", span(timeout)),
        ("pre_flight_timeout", span(pre_flight_timeout)),
        ("confirm_timeout", span(confirm_timeout)),
        ("version_timeout", span(version_timeout)),
        ("watch_interval", span(interval)),
        ("event_queue", json!(event_queue)),
        ("judge_within", span(judge_within)),
        ("termination_timeout", span(termination)),
        ("stop_timeout", span(stop_timeout)),
        ("on_stop", json!(on_stop)),
        ("on_orphan", json!(on_orphan)),
        ("on_unjudged", json!(on_unjudged)),
        ("terminate_adopted", json!(adopted)),
        ("terminate_untagged", json!(untagged)),
        ("terminate_attached", json!(attached)),
        ("sentinel", json!(sentinel)),
        ("state_dir", json!(state_dir.as_deref().map(path))),
        ("report", json!(report.as_deref().map(path))),
        ("evidence", json!(destinations)),
        ("evidence_keep", json!(keep)),
        ("evidence_days", json!(days)),
        ("sign_key", json!(sign_key.as_ref().map(ToString::to_string))),
        (
            "alert_sns",
            channel(|channel| match channel {
                Channel::Sns(topic) => Some(json!(topic.arn)),
                Channel::Webhook(_) | Channel::Command(_) => None,
            }),
        ),
        (
            "alert_webhook",
            channel(|channel| match channel {
                // The URL is a secret, and the digest of a guessable secret reveals it.
                Channel::Webhook(_) => Some(json!("(secret)")),
                Channel::Sns(_) | Channel::Command(_) => None,
            }),
        ),
        (
            "alert_command",
            channel(|channel| match channel {
                Channel::Command(program) => Some(json!(program.display().to_string())),
                Channel::Sns(_) | Channel::Webhook(_) => None,
            }),
        ),
        ("alert_timeout", span(limit)),
        ("metrics_file", json!(metrics_file.as_deref().map(path))),
        ("otlp_endpoint", json!(otlp)),
        ("metrics_labels", json!(labels.iter().collect::<BTreeMap<_, _>>())),
        ("prices", json!(prices)),
        ("progress", json!(progress)),
        ("quiet", json!(quiet)),
        ("core_dumps", json!(core_dumps)),
        ("exit_codes", json!(exit_codes)),
    ])
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io::Write as _};

    use clap::{Args as _, FromArgMatches as _};

    use super::*;
    use crate::settings::{
        locks::POLICY,
        resolve::{GivenOptions, Options},
    };

    /// Every option: its key, a value other than the default in the form of a flag, and the same in
    /// the form of `guard.yml`.
    const OTHERS: [(&str, &str, &str); 51] = [
        ("runner", "/opt/runner", "/opt/runner"),
        ("erb", "ruby", "ruby"),
        ("clean_environment", "true", "true"),
        ("security_configuration", "sealed", "sealed"),
        ("require", "in-transit,local-disk", "[in-transit, local-disk]"),
        ("accept_encryption", "SSE-KMS", "[SSE-KMS]"),
        ("expected_keys", "alias/a,alias/b", "[alias/a, alias/b]"),
        ("external_buckets", "partner-*", "[partner-*]"),
        ("advise", "bucket-owner", "[bucket-owner]"),
        ("enforce", "bucket-owner", "[bucket-owner]"),
        ("certificate_days", "7", "7"),
        ("data_objects", "5", "5"),
        ("confirm_objects", "5", "5"),
        ("on_unencrypted", "unsafe", "unsafe"),
        ("run_tag", "false", "false"),
        ("allow_endpoints", "http://127.0.0.1:5000", "['http://127.0.0.1:5000']"),
        (
            "allow_roots",
            "0ab10ab10ab10ab10ab10ab10ab10ab10ab10ab10ab10ab10ab10ab10ab10ab1",
            "[0ab10ab10ab10ab10ab10ab10ab10ab10ab10ab10ab10ab10ab10ab10ab10ab1]",
        ),
        ("credentials", "runner-config", "runner-config"),
        ("aws_timeout", "31s", "31s"),
        ("pre_flight_timeout", "3m", "180s"),
        ("confirm_timeout", "11m", "11m"),
        ("version_timeout", "1m", "1m"),
        ("watch_interval", "250ms", "250ms"),
        ("event_queue", "https://sqs/q", "'https://sqs/q'"),
        ("judge_within", "6m", "6m"),
        ("termination_timeout", "16m", "16m"),
        ("stop_timeout", "9s", "9s"),
        ("on_stop", "terminate", "terminate"),
        ("on_orphan", "terminate", "terminate"),
        ("on_unjudged", "alert", "alert"),
        ("terminate_adopted", "false", "false"),
        ("terminate_untagged", "true", "true"),
        ("terminate_attached", "true", "true"),
        ("state_dir", "/var/state", "/var/state"),
        ("report", "/tmp/report.json", "/tmp/report.json"),
        ("evidence", "/var/reports,s3://bucket/prefix/", "[/var/reports, 's3://bucket/prefix/']"),
        ("evidence_keep", "3", "3"),
        ("evidence_days", "3", "3"),
        ("sign_key", "alias/sign", "alias/sign"),
        (
            "alert_sns",
            "arn:aws:sns:eu-west-1:123456789012:etl",
            "'arn:aws:sns:eu-west-1:123456789012:etl'",
        ),
        ("alert_webhook", WEBHOOK, WEBHOOK),
        ("alert_command", "/bin/alert", "/bin/alert"),
        ("alert_timeout", "11s", "11s"),
        ("metrics_file", "/tmp/metrics.prom", "/tmp/metrics.prom"),
        ("otlp_endpoint", "http://collector:4318", "'http://collector:4318'"),
        ("metrics_labels", "stage=prod,pipeline=acme", "{pipeline: acme, stage: prod}"),
        ("prices", "write-STANDARD=0.0055", "{write-STANDARD: 0.0055}"),
        ("progress", "false", "false"),
        ("quiet", "true", "true"),
        ("core_dumps", "true", "true"),
        ("exit_codes", "77=90,69=91", "{69: 91, 77: 90}"),
    ];
    const WEBHOOK: &str = "https://hooks.example.com/services/T0/B0/a-secret";

    fn options() -> clap::Command {
        // The variables of the tests' own environment must not count.
        Options::augment_args(clap::Command::new("emr-etl-guard"))
            .mut_args(|arg| arg.env(clap::builder::Resettable::Reset))
    }

    fn by_flags(flags: &[String]) -> Settings {
        let name = "emr-etl-guard".to_owned();
        let matches = options().try_get_matches_from([&name].into_iter().chain(flags)).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let given = GivenOptions::from_arg_matches(&matches).unwrap();
        Settings::resolve(given, Some(file.path())).unwrap()
    }

    fn by_file(text: &str) -> Settings {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Settings::resolve(Options::default(), Some(file.path())).unwrap()
    }

    fn others() -> impl Iterator<Item = (&'static str, Settings, Settings)> {
        OTHERS.into_iter().map(|(key, flag, yaml)| {
            let flag = format!("--{}={flag}", key.replace('_', "-"));
            (key, by_flags(&[flag]), by_file(&format!("{key}: {yaml}\n")))
        })
    }

    #[test]
    fn the_digest_is_the_same_for_the_same_settings_from_flags_and_from_a_file() {
        for (key, flags, file) in others() {
            assert_eq!(settings_digest(&flags), settings_digest(&file), "{key}");
        }
        assert_eq!(settings_digest(&by_flags(&[])), settings_digest(&by_file("# nothing\n")));
    }

    #[test]
    fn the_digest_changes_with_every_setting() {
        let mut digests = BTreeSet::from([settings_digest(&by_flags(&[]))]);
        for (key, settings, _) in others() {
            assert!(digests.insert(settings_digest(&settings)), "{key}");
        }
        let with_exception = by_file(
            "exceptions: \
             [{check: bucket-owner, subject: '*', reason: ours, expires: 2999-12-31}]\n",
        );
        assert!(digests.insert(settings_digest(&with_exception)));
        for section in [
            "accounts: [{id: '123456789012', role: 'arn:aws:iam::123456789012:role/s'}]",
            "regions: [eu-west-1]",
            "queues: ['https://sqs/123456789012/q']",
            "rules: [{name: x}]",
            "rules: [{name: x, match: {name: y}}]",
            "rules: [{name: x, on_unsafe: terminate}]",
            "on_unsafe: terminate",
            "terminations_per_hour: 6",
            "interval: 31s",
            "judge_within: 16m",
            "report_every: 25h",
            "listen: 127.0.0.1:9477",
        ] {
            let settings = by_file(&format!("sentinel: {{{section}}}\n"));
            assert!(digests.insert(settings_digest(&settings)), "{section}");
        }
        let of_defaults = by_file("sentinel: {on_unsafe: alert, interval: 30s}\n");
        assert_eq!(settings_digest(&of_defaults), settings_digest(&by_flags(&[])));
        // No option is missing above, except for those that have no flag.
        let command = options();
        let all: BTreeSet<&str> =
            command.get_arguments().map(|arg| arg.get_id().as_str()).collect();
        assert_eq!(all, others().map(|(key, ..)| key).collect());
    }

    #[test]
    fn the_group_policy_is_every_setting_that_changes_the_policy() {
        let policy = |settings: &Settings| json!(settings.policy);
        let default = policy(&by_flags(&[]));
        let mut changing: Vec<&str> = others()
            .filter(|(_, settings, _)| policy(settings) != default)
            .map(|(key, ..)| key)
            .collect();
        changing.extend(["exceptions", "sentinel"]);
        assert_eq!(changing, POLICY);
    }

    #[test]
    fn what_is_digested_shows_no_webhook() {
        let settings = by_file(&format!("alert_webhook: {WEBHOOK}\n"));
        let digested = json!(in_force(&settings));
        assert_eq!(digested["alert_webhook"], "(secret)");
        assert!(!digested.to_string().contains("hooks.example.com"), "{digested}");
    }

    #[test]
    fn what_is_digested_of_the_defaults_stays_as_it_is() {
        let digested = json!(in_force(&by_flags(&[])));
        insta::assert_snapshot!(format!("{digested:#}"));
    }
}
