//! The reporter: messages for people while the run goes on, and the record for programs at the end.
//! Neither contains a secret.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use crate::{
    base::{
        json::pretty,
        names::ClusterId,
        outcome::Outcome,
        printable::{Printable, neutralised, printable},
        reason::Reason,
    },
    checks::{
        finding::{Finding, Level, Status},
        fix::CommandContext,
        residual_risks::ResidualRisk,
        written::OutputCheck,
    },
    evidence::{signed_report::SignedReport, timeline::Timeline, verify},
    facts::written::OutputSurvey,
    report::{
        alerts::message::AlertContext,
        document::RunReport,
        fix_script,
        json::Record,
        judged::Judged,
        junit, markdown,
        metrics::MetricCounts,
        notice::{Notice, NoticeLine},
        notify::Notify,
        options::CheckOptions,
        summary::ReportSummary,
        terminal,
    },
    settings::report_options::ReportOptions,
    system::output::{complain, err, out, out_coloured, probe, say, write_whole},
    watch::{
        confirm::Confirmation,
        records::{ClusterRecord, ClusterVerdict, WatchResult},
        terminate::{self, TerminationResult},
    },
};

/// How much is printed on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verbosity {
    /// None of the guard's own messages.
    Quiet,
    /// The table of findings if requested, and on a terminal.
    Normal,
    /// The table in any case.
    Verbose,
}

/// Where the guard prints messages, and what it records.
#[derive(Debug)]
pub struct Report {
    /// The timeline of events.
    pub timeline: Timeline,
    /// The other recipients of the run's result.
    notify: Option<Notify>,
    verbosity: Verbosity,
    colour: bool,
    json_to_stdout: bool,
    files: Vec<(PathBuf, Form)>,
}

/// The report of a record.
///
/// # Errors
/// When it cannot be built, which is a bug.
pub fn document(record: &Record<'_>) -> anyhow::Result<String> {
    Form::Json.text(record)
}

/// The formats of a record.
#[derive(Clone, Copy, Debug)]
enum Form {
    Json,
    Junit,
    Markdown,
}

impl Form {
    fn text(self, record: &Record<'_>) -> anyhow::Result<String> {
        Ok(match self {
            Self::Json => format!("{}\n", pretty(record)?),
            Self::Junit => junit::junit(&ReportSummary::of_run(&RunReport::of(record)?))?,
            Self::Markdown => markdown::markdown(&ReportSummary::of_run(&RunReport::of(record)?)),
        })
    }
}

impl Report {
    /// A report according to the settings, and the options of `check`.
    ///
    /// The output files are tried now: one that cannot be written must refuse a launch, not lose
    /// the evidence of one.
    ///
    /// # Errors
    /// When a report file could not be created: its name, and why.
    pub fn open(settings: &ReportOptions, options: &CheckOptions) -> Result<Self, String> {
        let forms = [
            (&settings.file, Form::Json),
            (&options.junit, Form::Junit),
            (&options.markdown, Form::Markdown),
        ];
        let files: Vec<(PathBuf, Form)> =
            forms.into_iter().filter_map(|(file, form)| Some((file.clone()?, form))).collect();
        for (file, _) in &files {
            probe(file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        if let Some(file) = &options.fix_script {
            fix_script::probe(file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        let colour = std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        // A program that reads the record from standard output must find nothing else there.
        let verbosity = match (settings.quiet || options.json, settings.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        };
        Ok(Self {
            timeline: Timeline::default(),
            notify: None,
            verbosity,
            colour,
            json_to_stdout: options.json,
            files,
        })
    }

    /// Adds the other recipients.
    pub(crate) fn with(self, notify: &Notify) -> Self {
        Self { timeline: notify.timeline.clone(), notify: Some(notify.clone()), ..self }
    }

    /// Adds to the context for the other recipients.
    pub(crate) fn know(&self, tell: impl FnOnce(&mut AlertContext)) {
        if let Some(notify) = &self.notify {
            notify.know(tell);
        }
    }

    /// Sends an alert about a bad outcome, before the record is closed.
    pub(crate) async fn alert(&self, outcome: Outcome) {
        if let Some(notify) = &self.notify {
            notify.alert(outcome).await;
        }
    }

    /// The same about a report that could not be delivered, for a run that ends with `end`.
    pub(crate) async fn alert_undelivered(&self, end: Outcome) {
        if let Some(notify) = &self.notify {
            notify.alert_of(Outcome::Undelivered, end).await;
        }
    }

    /// Counts the results for the metrics.
    pub(crate) fn count(&self, judged: &Judged<'_>, watched: Option<&WatchResult>) {
        if let Some(notify) = &self.notify {
            notify.counted(MetricCounts::of(judged, watched));
        }
    }

    /// One line on standard output, in the format of all the guard's own lines.
    pub fn say(&self, line: impl Into<Printable>) {
        if self.verbosity != Verbosity::Quiet {
            say(&line.into());
        }
    }

    /// The findings and residual risks: a table if `table` is requested and on a terminal,
    /// otherwise one line. Returns whether the details were shown.
    pub(crate) fn findings(
        &self,
        findings: &[Finding],
        residual_risks: &[ResidualRisk],
        table: bool,
    ) -> bool {
        let table = match self.verbosity {
            Verbosity::Quiet => false,
            Verbosity::Normal => table || std::io::stdout().is_terminal(),
            Verbosity::Verbose => true,
        };
        if table {
            out_coloured(&terminal::table(findings, self.colour));
            out(&terminal::residual_risks(residual_risks));
        } else {
            let count = |status| findings.iter().filter(|finding| finding.status == status).count();
            let open = findings
                .iter()
                .filter(|finding| finding.level == Level::Advisory && finding.is_open())
                .count();
            for finding in findings.iter().filter(|finding| finding.status == Status::Excepted) {
                self.say(printable!(
                    "excepted: {} {}: {}",
                    finding.check.name,
                    finding.subject,
                    finding.excepted.as_deref().unwrap_or_default()
                ));
            }
            self.say(format!(
                "{} passed, {} not applicable, {} failed, {} unknown{}{}",
                count(Status::Passed),
                count(Status::NotApplicable),
                count(Status::Failed),
                count(Status::Unknown),
                match count(Status::Excepted) {
                    0 => String::new(),
                    excepted => format!(", {excepted} excepted"),
                },
                if open == 0 { String::new() } else { format!(" ({open} of them advice only)") },
            ));
        }
        table
    }

    /// The paragraph about a refusal: its first line is the summary; the details follow unless they
    /// have just been shown.
    pub fn refusal(&self, outcome: Outcome, findings: &[Finding], shown: bool) {
        err(&terminal::refusal(findings, !shown).text());
        if let Some(notify) = &self.notify {
            notify.said(outcome, terminal::refusal(findings, true));
        }
    }

    /// What completes a command about the run's clusters.
    pub(crate) fn commands(&self) -> CommandContext {
        self.notify.as_ref().map(Notify::commands).unwrap_or_default()
    }

    /// Reports an unsafe cluster at once: to the log and by alerts. The first line of standard
    /// error is what an operator is paged with, so standard error contains only facts that are
    /// certain: that the cluster is over, or that a person must terminate it.
    pub(crate) fn unsafe_cluster(&self, cluster: &ClusterId, findings: &[Finding], ends: bool) {
        let headline = terminal::unsafe_cluster(cluster, findings, ends);
        self.say(&headline);
        let mut notice = Notice::new(printable!("emr-etl-guard: {headline}")).about(cluster);
        if !ends {
            let commands = terminate::manual_termination_commands(cluster, &self.commands());
            notice.lines.push(NoticeLine::fixing("  fix: ", commands));
        }
        if let Some(notify) = &self.notify {
            notify.unsafe_cluster(&notice, findings);
        }
        self.timeline.note(printable!("stopping the runner: {headline}"));
    }

    /// Only a person can terminate a cluster that must end: reports that at once.
    pub(crate) fn help_needed(&self, cluster: &ClusterId, is_unsafe: bool, obstacle: &str) {
        let outcome = if is_unsafe { Outcome::UnsafeClusterAlive } else { Outcome::Unconfirmed };
        let commands = self.commands();
        let reason = terminate::operator_instructions(cluster, is_unsafe, &commands, obstacle);
        self.trouble(outcome, &[reason]);
    }

    /// The final result: what is confirmed, or why it is not. With `what_goes_on`, standard error
    /// also lists the clusters that continue, and what to do next.
    pub(crate) fn confirmation(
        &self,
        confirmation: &Confirmation,
        watched: &WatchResult,
        (objects, written): (OutputCheck, &[OutputSurvey]),
        what_goes_on: Option<&Reason>,
    ) {
        if what_goes_on.is_none() {
            let orphans = watched.clusters.iter().filter_map(ClusterRecord::orphan_line);
            orphans.for_each(|line| self.say(line));
        }
        if confirmation.reasons.is_empty() {
            self.confirmed(watched);
            if let OutputCheck::Leave(why) = objects {
                self.say(format!("what this run wrote was not looked at: {why}"));
            } else if !written.is_empty() {
                self.confirmed_objects(written, watched.enforces_objects());
            }
            if let Some(reason) = what_goes_on {
                terminal::what_goes_on(reason).print();
                self.timeline.note(reason.headline());
            }
        } else {
            let mut notice = terminal::trouble(confirmation.outcome, &confirmation.reasons);
            notice.lines.extend(what_goes_on.into_iter().flat_map(terminal::below));
            self.paragraph(confirmation.outcome, notice);
        }
        self.warn_of_advice(&watched.failed_advice(&confirmation.findings));
    }

    /// Warns of failed checks that the settings lower to advisory.
    pub(crate) fn warn_of_advice(&self, failed: &[Printable]) {
        failed.iter().for_each(|what| self.warning(printable!("NOT ENFORCED: {what}")));
    }

    /// The result of a run's clusters, if all is confirmed.
    fn confirmed(&self, watched: &WatchResult) {
        for record in &watched.clusters {
            let end = record.findings.last().map_or("", |finding| finding.saw.as_str());
            let stopped = match &record.end {
                _ if !record.ended_by_stop => "",
                Some(TerminationResult::Confirmed) => {
                    "; it was terminated, because the run was stopped"
                }
                _ => {
                    "; its termination was requested, because the run was stopped, but its end is \
                     not confirmed"
                }
            };
            self.say(match watched.verified_in_words(&record.id) {
                ClusterVerdict::Verified(words) => {
                    printable!("confirmed: {words}; {end}{stopped}")
                }
                ClusterVerdict::NotEnforced(words) => {
                    printable!("not enforced: {words}; {end}{stopped}")
                }
            });
        }
    }

    /// How many of the objects that a run wrote were looked up, if none is known to differ from the
    /// requirement; or, where that is not enforced, in any case.
    pub(crate) fn confirmed_objects(&self, written: &[OutputSurvey], is_enforced: bool) {
        self.say(terminal::written(written, is_enforced));
    }

    /// A text for people, on standard output.
    pub(crate) fn show(&self, text: &str) {
        if self.verbosity != Verbosity::Quiet {
            out(text);
        }
    }

    /// Writes a report of another kind than a run's to the JSON report's files.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write_document(&self, text: &str) -> anyhow::Result<()> {
        for (file, _) in self.files.iter().filter(|(_, form)| matches!(form, Form::Json)) {
            write_whole(file, text)?;
        }
        if self.json_to_stdout {
            out(text);
        }
        Ok(())
    }

    /// Why the outcome differs from the runner's own.
    pub fn trouble(&self, outcome: Outcome, reasons: &[Reason]) {
        self.paragraph(outcome, terminal::trouble(outcome, reasons));
    }

    /// One line on standard error, in the format of all the guard's own lines.
    pub(crate) fn tell(&self, line: impl Into<Printable>) {
        let line = line.into();
        complain(&line);
        self.timeline.note(line);
    }

    fn paragraph(&self, outcome: Outcome, notice: Notice) {
        notice.print();
        if let Some(notify) = &self.notify {
            notify.said(outcome, notice);
        }
    }

    /// Reports a problem that a person must check while the run goes on: at once, on standard error
    /// and by all alert channels.
    pub(crate) fn alarm(&self, reasons: &[Reason]) {
        let notice = terminal::trouble(Outcome::Unconfirmed, reasons);
        notice.print();
        if let Some(notify) = &self.notify {
            notify.alarm(&notice);
        }
    }

    /// A warning about a run that counts as good: a line on standard error.
    pub(crate) fn warning(&self, line: impl Into<Printable>) {
        let line = line.into();
        complain(&printable!("warning: {line}"));
        self.timeline.note(line);
    }

    /// Work that a repair leaves undone, and why; keys in `lines` are printable already.
    pub(crate) fn left(&self, outcome: Outcome, lines: &[String]) {
        let headline = if outcome == Outcome::FactsUnknown {
            "not everything could be looked at"
        } else {
            "not everything is done"
        };
        self.timeline.note(headline);
        let lines: Vec<_> = lines.iter().map(|line| neutralised(line)).collect();
        err(&format!("emr-etl-guard: {headline}\n  {}\n", lines.join("\n  ")));
    }

    /// Writes the record in every requested format; `parcel` is its report, with its signature.
    /// Errors are added to `troubles`.
    ///
    /// # Errors
    /// When a format cannot be built, which is a bug.
    pub(crate) fn write(
        &self,
        record: &Record<'_>,
        parcel: &SignedReport,
        troubles: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let mut put = |file: &Path, text: &str| {
            if let Err(error) = write_whole(file, text) {
                troubles.push(format!("it cannot be written to {}: {error}", file.display()));
            }
        };
        for (file, form) in &self.files {
            match form {
                Form::Json => {
                    let signature = verify::signature_of(file);
                    match &parcel.envelope {
                        Some(envelope) => put(&signature, envelope),
                        // The signature of an earlier run would not match this report.
                        None => drop(std::fs::remove_file(&signature)),
                    }
                    put(file, &parcel.document);
                }
                Form::Junit | Form::Markdown => put(file, &form.text(record)?),
            }
        }
        if self.json_to_stdout {
            out(&parcel.document);
        }
        Ok(())
    }
}
