//! The first hour of a new user: from no credentials to a passing check. Each message names the
//! next step.

use emr_simulator::{Command as Set, Fault, FaultKind, Named};

use crate::{
    fixes,
    refusals::without_default_encryption,
    support::{Played, Stage},
};

/// The JSON between `<<END_OF_JSON` and the line that ends it, with the two variables expanded as
/// in a shell.
fn sample_configuration(stdout: &str) -> serde_json::Value {
    let (_, after) = stdout.split_once("<<END_OF_JSON").expect("a sample is printed");
    let (_, json) = after.split_once('\n').expect("it begins in the next line");
    let (json, _) = json.split_once("\nEND_OF_JSON").expect("it has an end");
    let filled = [("EMR_KMS_KEY_ARN", fixes::KEY), ("EMR_CERTIFICATES_S3_URI", fixes::ARCHIVE)]
        .iter()
        .fold(json.to_owned(), |text, (name, value)| {
            let variable = regex::Regex::new(&format!(r"\$\{{{name}[^}}]*\}}")).unwrap();
            variable.replace_all(&text, *value).into_owned()
        });
    serde_json::from_str(&filled).unwrap_or_else(|error| panic!("{error}: {filled}"))
}

/// Adds a step's output to the snapshot, and checks that it contains `next`.
#[track_caller]
fn step(said: &mut String, what: &str, played: &Played, code: i32, next: &[&str]) {
    played.expect_code(code);
    assert!(!played.runner_started(), "a check launches nothing");
    for words in next {
        assert!(played.transcript().contains(words), "{words}: {}", played.transcript());
    }
    let first = played.redact(played.stderr.lines().next().unwrap_or_default());
    said.extend([what, ":\n  ", if first.is_empty() { "(silence)" } else { &first }, "\n"]);
}

#[test]
fn from_no_credentials_to_a_passing_check_each_message_names_the_next_step() {
    let mut said = String::new();
    let said = &mut said;
    let stage = Stage::acme().without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY");
    let next = ["export AWS_ACCESS_KEY_ID=KEY AWS_SECRET_ACCESS_KEY=SECRET"];
    step(said, "no credentials", &stage.check(), 69, &next);

    let stage = stage
        .env("AWS_ACCESS_KEY_ID", "AKIAGUARD")
        .env("AWS_SECRET_ACCESS_KEY", "guard-secret-GUARDSECRET");
    stage.set(Set::AddFault(Fault {
        service: Some("sts".to_owned()),
        ..Fault::every(
            "*",
            FaultKind::Error {
                status: 403,
                code: "ExpiredToken".to_owned(),
                message: "as AWS words it".to_owned(),
            },
        )
    }));
    let next = ["set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for a session"];
    step(said, "an expired session", &stage.check(), 69, &next);

    stage.set(Set::ClearFaults);
    stage.set(Set::AddFault(Fault {
        service: Some("kms".to_owned()),
        ..Fault::every("*", FaultKind::AccessDenied)
    }));
    let next = ["kms:DescribeKey", "emr-etl-guard explain --permissions"];
    step(said, "a role that may not use KMS", &stage.check(), 69, &next);

    stage.set(Set::ClearFaults);
    stage.set(Set::DeleteSecurityConfiguration(Named {
        name: "acme-sc".to_owned(),
        ..Default::default()
    }));
    stage.set(without_default_encryption("acme-out"));
    stage.write("guard.yml", "quiet: false\nrequre: [s3-at-rest]\n");
    let with_settings = |stage: Stage| stage.option("--settings=guard.yml");
    let stage = with_settings(stage);
    step(said, "a typing mistake", &stage.check(), 64, &["guard.yml:2", "`require`"]);

    stage.write("guard.yml", "quiet: false\n");
    let played = stage.check();
    let next = [
        "aws s3api put-bucket-encryption --region eu-west-1 --bucket acme-out",
        "aws emr create-security-configuration --region eu-west-1 --name acme-sc",
        "Asked next, once security-configuration-exists passes: ",
    ];
    step(said, "nothing prepared", &played, 77, &next);

    // The configuration that the printed commands create.
    let content = sample_configuration(&played.stdout);
    fixes::prepare(&stage, content);
    let played = stage.check();
    step(said, "as the fixes say", &played, 0, &["emr-etl-guard: would launch"]);
    insta::assert_snapshot!(said);
}
