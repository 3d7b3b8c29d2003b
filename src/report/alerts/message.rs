//! What an alert says: one line that says it all, in the words of standard error; then what to do,
//! and all that is known of the run.

use std::fmt::{self, Write as _};

use serde::Serialize;
use time::OffsetDateTime;

use crate::base::{names::ClusterId, outcome::Outcome, secret::RunnerCredentials};

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Nothing was launched.
    Refused,
    /// A cluster was just found unsafe; its termination is under way.
    Unsafe,
    /// A cluster was unsafe, and is over.
    UnsafeOver,
    /// An unsafe cluster may still be running: somebody must act.
    UnsafeAlive,
    /// Nobody could confirm the run.
    Unconfirmed,
    /// The run's document is not where it must be.
    Undelivered,
    /// The guard failed.
    Bug,
}

impl Kind {
    /// What `outcome` is worth telling; none: it is the runner's own, which whoever runs it hears
    /// of as ever.
    pub(crate) fn of(outcome: Outcome) -> Option<Self> {
        Some(match outcome {
            Outcome::Ended(_) | Outcome::Signalled(_) => return None,
            Outcome::BadUsage
            | Outcome::BadConfig
            | Outcome::FactsUnknown
            | Outcome::Refused
            | Outcome::RunnerNotExecutable
            | Outcome::RunnerNotFound => Self::Refused,
            Outcome::UnsafeClusterTerminated => Self::UnsafeOver,
            Outcome::UnsafeClusterAlive => Self::UnsafeAlive,
            Outcome::Unconfirmed => Self::Unconfirmed,
            Outcome::Undelivered => Self::Undelivered,
            Outcome::Bug => Self::Bug,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Unsafe => "unsafe",
            Self::UnsafeOver => "unsafe-over",
            Self::UnsafeAlive => "unsafe-alive",
            Self::Unconfirmed => "unconfirmed",
            Self::Undelivered => "undelivered",
            Self::Bug => "bug",
        })
    }
}

/// What is known of the run so far.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Known {
    /// The guard's command.
    pub(crate) command: &'static str,
    pub(crate) run: Option<String>,
    /// The account that clusters are launched in.
    pub(crate) account: Option<String>,
    pub(crate) region: Option<String>,
    /// The runner config, by its path.
    pub(crate) config: Option<String>,
    /// This machine's name.
    pub(crate) host: Option<String>,
    /// The runner's own keys, for where the settings say that the guard uses them.
    #[serde(skip)]
    pub(crate) runner: Option<RunnerCredentials>,
}

/// An alert, as it is told to programs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Message {
    /// Of this form.
    version: u8,
    kind: Kind,
    /// The line that says it all.
    text: String,
    /// What was said after it, line by line.
    details: Vec<String>,
    /// What mends it, one action each.
    to_do: Vec<String>,
    /// The clusters that it names.
    clusters: Vec<ClusterId>,
    /// What the process will exit with; null while that is not decided.
    exit_code: Option<u8>,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(flatten)]
    known: Known,
}

impl Message {
    /// An alert of what was `said`: a paragraph as it stands on standard error. `mends` are actions
    /// that it does not name itself.
    pub(crate) fn new(
        kind: Kind,
        said: &str,
        mends: &[String],
        exit_code: Option<u8>,
        known: Known,
    ) -> Self {
        let said = said.trim();
        let mut lines = said.lines();
        let text = lines.next().unwrap_or_default().to_owned();
        let details: Vec<String> = lines.map(str::to_owned).collect();
        let mut to_do: Vec<String> = Vec::new();
        for action in said.lines().filter_map(action).chain(mends.iter().map(String::as_str)) {
            if !to_do.iter().any(|known| known == action) {
                to_do.push(action.to_owned());
            }
        }
        let mut clusters: Vec<ClusterId> = Vec::new();
        for id in said
            .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
            .filter_map(|word| word.parse().ok())
        {
            if !clusters.contains(&id) {
                clusters.push(id);
            }
        }
        Self {
            version: 1,
            kind,
            text,
            details,
            to_do,
            clusters,
            exit_code,
            at: OffsetDateTime::now_utc(),
            known,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn headline(&self) -> &str {
        &self.text
    }

    /// The runner's own keys, where they are known.
    pub(crate) fn runner(&self) -> Option<&RunnerCredentials> {
        self.known.runner.as_ref()
    }

    /// For programs.
    pub(crate) fn json(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }

    /// For people, at most about `limit` bytes long: what to do is never cut, what was said in
    /// detail is.
    pub(crate) fn plain(&self, limit: usize) -> String {
        let mut end = String::new();
        // What the details say already is not said twice.
        for action in self.to_do.iter().filter(|action| {
            !self
                .details
                .iter()
                .any(|line| crate::report::alerts::message::action(line) == Some(action.as_str()))
        }) {
            end.push_str("\nto do: ");
            end.push_str(action);
        }
        end.push('\n');
        end.push_str(&self.facts());
        let mut text = self.text.clone();
        for (index, line) in self.details.iter().enumerate() {
            if text.len() + line.len() + end.len() > limit && action(line).is_none() {
                let left = self.details.len() - index;
                let _ = write!(text, "\n({left} more lines; the report has them)");
                for line in
                    self.details[index..].iter().filter(|line| action(line).is_some()).take(3)
                {
                    text.push('\n');
                    text.push_str(line);
                }
                break;
            }
            text.push('\n');
            text.push_str(line);
        }
        text + &end
    }

    /// All that is known of the run, in one line.
    fn facts(&self) -> String {
        let ids: Vec<&str> = self.clusters.iter().map(ClusterId::as_str).collect();
        let clusters = (!ids.is_empty()).then(|| ids.join(" "));
        let code = self.exit_code.map(|code| code.to_string());
        let known = &self.known;
        [
            ("exit code", &code),
            ("run", &known.run),
            ("account", &known.account),
            ("region", &known.region),
            ("clusters", &clusters),
            ("config", &known.config),
            ("host", &known.host),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)))
        .collect::<Vec<_>>()
        .join(", ")
    }

    /// The same for a command's environment.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let ids: Vec<&str> = self.clusters.iter().map(ClusterId::as_str).collect();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        vec![
            ("GUARD_ALERT_KIND", self.kind.to_string()),
            ("GUARD_ALERT_TEXT", self.text.clone()),
            ("GUARD_ALERT_TO_DO", self.to_do.join("\n")),
            ("GUARD_ALERT_CLUSTERS", ids.join(" ")),
            (
                "GUARD_ALERT_EXIT_CODE",
                self.exit_code.map(|code| code.to_string()).unwrap_or_default(),
            ),
            ("GUARD_ALERT_RUN", text(&self.known.run)),
            ("GUARD_ALERT_ACCOUNT", text(&self.known.account)),
            ("GUARD_ALERT_REGION", text(&self.known.region)),
            ("GUARD_ALERT_CONFIG", text(&self.known.config)),
            ("GUARD_ALERT_HOST", text(&self.known.host)),
        ]
    }
}

/// The action that a line of a paragraph names, if it does: `to do   …` in a finding's details, `to
/// do: …` elsewhere.
fn action(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("to do")?;
    rest.starts_with([':', ' ']).then(|| rest.trim_start_matches(':').trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(said: &str, mends: &[&str]) -> Message {
        let known = Known {
            run: Some("0190".to_owned()),
            host: Some("etl-1".to_owned()),
            ..Known::default()
        };
        let mends: Vec<String> = mends.iter().map(ToString::to_string).collect();
        Message::new(Kind::UnsafeAlive, said, &mends, Some(71), known)
    }

    #[test]
    fn the_first_line_is_the_headline_and_actions_and_clusters_are_found_in_what_was_said() {
        let said = "emr-etl-guard: ACT NOW: cluster j-ABC is unsafe and MAY STILL BE RUNNING: denied\n  cluster-roles\n  to do: aws emr terminate-clusters --cluster-ids j-ABC\n  cluster j-D1\n           to do   mend it\n";
        let message = message(said, &["mend it", "look"]);
        assert_eq!(
            message.headline(),
            "emr-etl-guard: ACT NOW: cluster j-ABC is unsafe and MAY STILL BE RUNNING: denied"
        );
        assert_eq!(
            message.to_do,
            ["aws emr terminate-clusters --cluster-ids j-ABC", "mend it", "look"]
        );
        assert_eq!(
            message.clusters.iter().map(ClusterId::as_str).collect::<Vec<_>>(),
            ["j-ABC", "j-D1"]
        );
        insta::assert_snapshot!(message.plain(4000), @r"
        emr-etl-guard: ACT NOW: cluster j-ABC is unsafe and MAY STILL BE RUNNING: denied
          cluster-roles
          to do: aws emr terminate-clusters --cluster-ids j-ABC
          cluster j-D1
                   to do   mend it
        to do: look
        exit code 71, run 0190, clusters j-ABC j-D1, host etl-1
        ");
    }

    #[test]
    fn a_long_paragraph_is_cut_but_never_its_headline_its_actions_or_its_facts() {
        let long = (0..500).fold(String::new(), |text, line| text + &format!("line {line}\n"));
        let text = message(&format!("headline\n{long}to do: end it\n"), &[]).plain(1000);
        assert!(text.len() < 1200, "{}", text.len());
        assert!(text.starts_with("headline\nline 0\n"), "{text}");
        assert!(text.ends_with("more lines; the report has them)\nto do: end it\nexit code 71, run 0190, host etl-1"), "{text}");
    }

    #[test]
    fn what_the_runner_itself_says_is_nobody_elses_business() {
        for outcome in
            [Outcome::Ended(0), Outcome::Ended(1), Outcome::Ended(77), Outcome::Signalled(15)]
        {
            assert_eq!(Kind::of(outcome), None);
        }
    }
}
