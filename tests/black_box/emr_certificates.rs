//! Certificates that EMR generates: they expire by the age of the security configuration, and their
//! key is checked like others.

use emr_simulator::{Command as Set, PutKey, PutSecurityConfiguration};
use serde_json::{Value, json};

use crate::support::{Played, Stage};

const SECRETS_KEY: &str = "33333333-3333-3333-3333-333333333333";
const SECRET: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:emr-ca-AbCdEf";

/// A stage whose security configuration is this many days old, with certificates that EMR
/// generates.
fn stage(age: i64, more: &Value) -> Stage {
    let stage = Stage::acme().replace("5.29.0", "7.11.0");
    let mut tls = json!({"CertificateProviderType": "EMR", "CACertificateSecretARN": SECRET});
    tls.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    stage.set(Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content: crate::networks::content(&tls),
        created: Some(time::OffsetDateTime::now_utc() - time::Duration::days(age)),
        ..Default::default()
    }));
    stage
}

/// The finding of a check whose subject contains this.
#[track_caller]
fn finding(played: &Played, check: &str, subject: &str) -> Value {
    let findings = played.report["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| {
        finding["check"] == check && finding["subject"].as_str().unwrap().contains(subject)
    });
    found.unwrap_or_else(|| panic!("{check} {subject}\n{}", played.transcript())).clone()
}

#[test]
fn emr_certificates_that_have_expired_or_soon_will_are_refused() {
    for (age, days, saw) in [(400, 365, "they expired at "), (350, 365, "they expire at ")] {
        let played = stage(age, &json!({"ValidityInDays": days})).run();
        played.expect_code(77);
        assert!(!played.runner_started());
        let found = finding(&played, "certificate-validity", "acme-sc");
        assert_eq!(found["status"], "failed");
        assert!(found["seen"].as_str().unwrap().contains(saw), "{found}");
        let fix = found["remediation"].as_str().unwrap();
        assert!(fix.contains("describe-security-configuration --region eu-west-1"), "{fix}");
    }
    // A smaller requirement in the settings is used.
    let fewer =
        stage(350, &json!({"ValidityInDays": 365})).env("EMR_ETL_GUARD_CERTIFICATE_DAYS", "7");
    fewer.run().expect_code(0);
}

#[test]
fn emr_certificates_that_are_valid_long_enough_are_not_refused_and_what_nobody_saw_is_said() {
    for more in [json!({"ValidityInDays": 365}), json!({})] {
        let played = stage(100, &more).run();
        played.expect_code(0);
        assert!(played.runner_started());
        assert_eq!(finding(&played, "certificate-validity", "acme-sc")["status"], "passed");
        let risks = played.report["residual_risks"].as_array().unwrap();
        let risk = risks.iter().find(|risk| risk["name"] == "emr-managed-certificates").unwrap();
        assert!(risk["what"].as_str().unwrap().contains(SECRET), "{risk}");
    }
}

#[test]
fn emr_certificates_whose_key_is_disabled_are_told_and_no_role_needs_that_key() {
    let key = format!("arn:aws:kms:eu-west-1:123456789012:key/{SECRETS_KEY}");
    let with_key = |state: &str| {
        let stage = stage(1, &json!({"AwsKmsKey": key}));
        stage.set(Set::PutKey(PutKey {
            id: SECRETS_KEY.to_owned(),
            // No policy of the cluster's roles allows it.
            state: Some(state.to_owned()),
            ..Default::default()
        }));
        stage.run()
    };
    let played = with_key("Enabled");
    played.expect_code(0);
    assert_eq!(finding(&played, "kms-key-enabled", SECRETS_KEY)["status"], "passed");
    let used = finding(&played, "jobflow-role-may-use-key", SECRETS_KEY);
    assert_eq!(used["status"], "not-applicable", "{used}");
    let played = with_key("Disabled");
    played.expect_code(77);
    assert_eq!(finding(&played, "kms-key-enabled", SECRETS_KEY)["status"], "failed");
}
