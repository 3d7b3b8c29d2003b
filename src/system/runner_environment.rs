//! The runner's environment: the guard's own without the guard's secrets; or, with the setting for
//! a clean environment, only the variables of an allow-list.

use std::ffi::{OsStr, OsString};

/// The guard's own secrets: destinations and credentials for alerts and metrics. No child process
/// needs them.
///
/// Source: OpenTelemetry specification, OTLP exporter configuration, for the names that begin with
/// `OTEL_`.
pub(crate) const GUARD_SECRETS: [&str; 4] = [
    "EMR_ETL_GUARD_ALERT_WEBHOOK",
    "EMR_ETL_GUARD_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
];

/// The variables that a clean environment keeps: the runner's user and home, its language and time
/// zone, the Java and the commands that its start script looks up, and its proxy towards AWS. Names
/// that begin with `LC_` are kept too.
pub(crate) const KEPT: [&str; 23] = [
    "COLUMNS",
    "HOME",
    "HOSTNAME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "JAVA_HOME",
    "LANG",
    "LANGUAGE",
    "LINES",
    "LOGNAME",
    "NO_PROXY",
    "PATH",
    "PWD",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Whether the runner gets the variable `name`. With `clean`, only the allow-list passes.
pub(crate) fn reaches_runner(name: &OsStr, clean: bool) -> bool {
    if clean {
        KEPT.iter().any(|kept| name == *kept) || name.as_encoded_bytes().starts_with(b"LC_")
    } else {
        !GUARD_SECRETS.iter().any(|secret| name == *secret)
    }
}

/// The part of this process's environment that the runner gets.
pub(crate) fn inherited(clean: bool) -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| reaches_runner(name, clean)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_on_the_environment_has_every_name() {
        let page = include_str!("../../docs/environment.md");
        for name in KEPT.iter().chain(&GUARD_SECRETS) {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn a_clean_environment_has_no_variable_of_aws_of_java_or_of_the_guard() {
        for name in ["PATH", "LC_CTYPE", "JAVA_HOME", "https_proxy"] {
            assert!(reaches_runner(OsStr::new(name), true), "{name}");
        }
        for name in ["AWS_SECRET_ACCESS_KEY", "JAVA_OPTS", "LD_PRELOAD", "EMR_ETL_GUARD_RUNNER"] {
            assert!(!reaches_runner(OsStr::new(name), true), "{name}");
            assert!(reaches_runner(OsStr::new(name), false), "{name}");
        }
        for name in GUARD_SECRETS {
            assert!(!reaches_runner(OsStr::new(name), true), "{name}");
            assert!(!reaches_runner(OsStr::new(name), false), "{name}");
        }
    }
}
