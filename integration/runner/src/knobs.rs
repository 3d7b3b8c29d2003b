//! Owns the environment variables that configure the stand-in; the real program does not have them.

use std::path::PathBuf;
use std::time::Duration;

use crate::misbehave::Misbehaviour;

/// The variables. All times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knobs {
    /// `STANDIN_ENDPOINT`, or else `AWS_ENDPOINT_URL`: the stand-in AWS, over plain HTTP.
    pub endpoint: Option<String>,
    /// `STANDIN_POLL_MS`: between two `ListSteps`; default 60 s.
    pub poll: Duration,
    /// `STANDIN_BOOTSTRAP_RETRY_MS`: before the next cluster; a random 1 to 600 s when unset.
    pub bootstrap_retry: Option<Duration>,
    /// `STANDIN_RETRY_MS`: before a failed EMR call is repeated; 34, 46 and 94 s when unset.
    pub retry: Option<Duration>,
    /// `STANDIN_HTTP_TIMEOUT_MS`: for one HTTP exchange; 120 s.
    pub http_timeout: Duration,
    /// `STANDIN_STARTUP_MS`: the start-up time of a JVM before it reads its arguments; default
    /// none.
    pub startup: Duration,
    /// `STANDIN_CLOCK_OFFSET_MS`: how far the runner's clock is ahead; negative when it is behind.
    ///
    /// Steps that are older than the run by this clock are not seen.
    pub clock_offset: i64,
    /// `STANDIN_VERSION`: the version that `--version` prints after the name.
    pub version: String,
    /// `STANDIN_JOURNAL`: the file that events are appended to.
    pub journal: Option<PathBuf>,
    /// `STANDIN_MISBEHAVE`.
    pub misbehave: Misbehaviour,
}

impl Knobs {
    /// Reads the environment through `env`.
    ///
    /// # Errors
    /// A sentence that names the variable with an invalid value.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let number = |name: &str| -> Result<Option<i64>, String> {
            set(name)
                .map(|value| {
                    value
                        .parse()
                        .map_err(|_| format!("{name}={value} is no whole number of milliseconds"))
                })
                .transpose()
        };
        let duration = |name: &str| -> Result<Option<Duration>, String> {
            number(name)?
                .map(|millis| {
                    u64::try_from(millis)
                        .map(Duration::from_millis)
                        .map_err(|_| format!("{name}={millis} is below zero"))
                })
                .transpose()
        };
        Ok(Self {
            endpoint: set("STANDIN_ENDPOINT").or_else(|| set("AWS_ENDPOINT_URL")),
            poll: duration("STANDIN_POLL_MS")?.unwrap_or(Duration::from_mins(1)),
            bootstrap_retry: duration("STANDIN_BOOTSTRAP_RETRY_MS")?,
            retry: duration("STANDIN_RETRY_MS")?,
            http_timeout: duration("STANDIN_HTTP_TIMEOUT_MS")?.unwrap_or(Duration::from_mins(2)),
            startup: duration("STANDIN_STARTUP_MS")?.unwrap_or_default(),
            clock_offset: number("STANDIN_CLOCK_OFFSET_MS")?.unwrap_or_default(),
            version: set("STANDIN_VERSION").unwrap_or_else(|| "1.0.4".to_owned()),
            journal: set("STANDIN_JOURNAL").map(PathBuf::from),
            misbehave: Misbehaviour::parse(&set("STANDIN_MISBEHAVE").unwrap_or_default())
                .map_err(|item| format!("STANDIN_MISBEHAVE: {item} is not understood"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Knobs;
    use std::time::Duration;

    #[test]
    fn the_real_programs_times_hold_where_nothing_is_set() {
        let knobs = Knobs::from_env(&|_| None).unwrap();
        assert_eq!(knobs.poll, Duration::from_mins(1));
        assert_eq!(knobs.http_timeout, Duration::from_mins(2));
        assert_eq!((knobs.retry, knobs.bootstrap_retry), (None, None));
        assert_eq!((knobs.version.as_str(), knobs.endpoint), ("1.0.4", None));
    }

    #[test]
    fn its_own_endpoint_beats_the_one_all_of_aws_shares() {
        let env = |name: &str| match name {
            "STANDIN_ENDPOINT" => Some("http://127.0.0.1:1".to_owned()),
            "AWS_ENDPOINT_URL" => Some("http://127.0.0.1:2".to_owned()),
            _ => None,
        };
        let knobs = Knobs::from_env(&env).unwrap();
        assert_eq!(knobs.endpoint.as_deref(), Some("http://127.0.0.1:1"));
    }

    #[test]
    fn a_value_that_is_not_understood_is_an_error_that_names_its_variable() {
        let env = |name: &str| (name == "STANDIN_POLL_MS").then(|| "-5".to_owned());
        assert_eq!(Knobs::from_env(&env), Err("STANDIN_POLL_MS=-5 is below zero".to_owned()));
    }
}
