//! AWS is asked over TLS, and only where an authority that this machine trusts vouches for it.

use crate::support::{Authority, Stage};

/// Every endpoint that the report names.
fn endpoints(report: &serde_json::Value) -> Vec<&str> {
    let endpoints = report["facts"]["endpoints"].as_array().unwrap();
    endpoints.iter().map(|endpoint| endpoint["url"].as_str().unwrap()).collect()
}

#[test]
fn over_tls_a_check_and_a_run_pass_where_the_authority_is_trusted() {
    let stage = Stage::acme().over_tls();
    for played in [stage.check(), stage.run()] {
        played.expect_code(0);
        let endpoints = endpoints(&played.report);
        assert!(!endpoints.is_empty());
        assert!(endpoints.iter().all(|url| url.starts_with("https://")), "{endpoints:?}");
    }
}

#[test]
fn a_server_that_no_trusted_authority_vouches_for_is_asked_nothing_and_the_message_says_why() {
    let stage = Stage::acme().over_tls();
    stage.write("authority.pem", &Authority::new().pem);
    let why = "cannot be reached: invalid peer certificate: UnknownIssuer (no CA certificate on this machine vouches for it; if one should, name a bundle with it in SSL_CERT_FILE)";
    for played in [stage.check(), stage.run()] {
        played.expect_code(69);
        let first = format!(
            "emr-etl-guard: REFUSED, nothing was launched: facts could not be established: same-account guard and runner: saw no answer to sts:GetCallerIdentity: {why}, wanted one account (and 35 more)"
        );
        assert_eq!(played.stderr.lines().next(), Some(first.as_str()));
        assert!(!played.runner_started());
    }
    assert_eq!(stage.sim.requests().len(), 0);
}
