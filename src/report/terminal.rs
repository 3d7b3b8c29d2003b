//! The report for people: passed rows folded, each failed row with what was seen, what was
//! expected, and the fix.

use std::fmt::Write as _;

use crate::{
    base::{
        lookup::Lookup,
        names::ClusterId,
        outcome::Outcome,
        printable::{FIRST_LINE, Printable, printable, write_escaped_line},
        reason::Reason,
    },
    checks::{
        catalogue::CATALOGUE,
        finding::{Finding, Level, Status},
        residual_risks::ResidualRisk,
        written::OBJECTS,
    },
    facts::written::OutputSurvey,
    report::{
        conclusion::{counted, is},
        fix_script,
        notice::{Notice, NoticeLine, shortened},
    },
};

/// A word and a colour for a row. The word is sufficient; the colour only helps.
fn badge(status: Status, level: Level, colour: bool) -> String {
    let (word, code) = match (status, level) {
        (Status::Passed, _) => ("passed", "32"),
        (Status::NotApplicable, _) => ("n/a", "2"),
        (Status::Excepted, _) => ("EXCEPTED", "1;35"),
        (Status::Failed, Level::Required) => ("FAILED", "1;31"),
        (Status::Unknown, Level::Required) => ("UNKNOWN", "1;33"),
        (Status::Failed, Level::Advisory) => ("failed", "33"),
        (Status::Unknown, Level::Advisory) => ("unknown", "33"),
    };
    if colour { format!("\x1b[{code}m{word:<8}\x1b[0m") } else { format!("{word:<8}") }
}

/// All findings: one row for each check whose findings all passed, one paragraph for each other
/// finding.
pub(super) fn table(findings: &[Finding], colour: bool) -> String {
    let mut text = String::new();
    for check in CATALOGUE {
        let of_check: Vec<&Finding> =
            findings.iter().filter(|finding| finding.check.name == check.name).collect();
        let (open, rest): (Vec<&Finding>, Vec<&Finding>) =
            of_check.into_iter().partition(|finding| finding.is_open());
        let (excepted, well): (Vec<&Finding>, Vec<&Finding>) =
            rest.into_iter().partition(|finding| finding.status == Status::Excepted);
        if let Some(first) = well.first() {
            let status = if well.iter().any(|finding| finding.status == Status::Passed) {
                Status::Passed
            } else {
                Status::NotApplicable
            };
            let subjects = if well.len() == 1 {
                format!("{}: {}", first.subject, first.saw)
            } else {
                format!("{} subjects", well.len())
            };
            let _ = writeln!(
                text,
                "{} {:<30} {subjects}",
                badge(status, first.level, colour),
                check.name
            );
        }
        for finding in excepted {
            let why = finding.excepted.as_deref().unwrap_or_default();
            let _ = writeln!(
                text,
                "{} {:<30} {}: {why}",
                badge(finding.status, finding.level, colour),
                check.name,
                finding.subject
            );
            let _ = writeln!(text, "           seen      {}", finding.saw);
        }
        for finding in open.into_iter().filter(|finding| !finding.counted) {
            // Checks that cannot run yet are listed after the table.
            if finding.waits_for.is_some() {
                continue;
            }
            let advice = if finding.level == Level::Advisory { " (advice only)" } else { "" };
            let _ = writeln!(
                text,
                "{} {:<30} {}{advice}",
                badge(finding.status, finding.level, colour),
                check.name,
                finding.subject
            );
            for line in details(finding) {
                let _ = writeln!(text, "{}", line.text);
            }
            if finding.has_script {
                let _ = writeln!(text, "           paste   these lines:\n");
                for line in &finding.commands {
                    let _ = writeln!(text, "{line}");
                }
                text.push('\n');
            }
        }
    }
    for line in fix_script::asked_next(findings) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// The risks that remain whatever the checks show.
pub(super) fn residual_risks(residual_risks: &[ResidualRisk]) -> String {
    let mut text = "Residual risks, which no check can close:\n".to_owned();
    for residual_risk in residual_risks {
        write_escaped_line!(&mut text, "  {:<20} {}", residual_risk.name, residual_risk.what);
    }
    text
}

fn details(finding: &Finding) -> Vec<NoticeLine> {
    let at = finding.at.as_ref().map(|at| printable!(" ({at})")).unwrap_or_default();
    let mut lines = vec![
        NoticeLine::telling(printable!("           seen      {}{at}", finding.saw)),
        NoticeLine::telling(printable!("           expected  {}", finding.wanted)),
    ];
    let Some(cause) = &finding.cause else {
        let fix = finding.fix.as_ref().map(|fix| NoticeLine::fixing("           fix       ", fix));
        lines.extend(fix);
        return lines;
    };
    if cause.blocks > 0 {
        let findings = counted(cause.blocks, "other finding");
        let wait = if cause.blocks == 1 { "waits" } else { "wait" };
        lines.push(NoticeLine::telling(printable!(
            "           blocks    {findings}, which {wait} for this"
        )));
    }
    lines.extend(cause.fixes.iter().map(|fix| NoticeLine::fixing("           fix       ", fix)));
    lines
}

/// The first line of a refusal: what is wrong, and that nothing was launched.
fn refusal_headline(first: Option<&Finding>, others: usize) -> Printable {
    const CONSEQUENCE: &str = "emr-etl-guard: REFUSED, nothing was launched";
    let more = if others == 0 { String::new() } else { format!(" (and {others} more)") };
    let room = FIRST_LINE - CONSEQUENCE.len() - ": ".len() - more.len();
    let what = match first {
        None => return printable!("{CONSEQUENCE}{more}"),
        Some(Finding { cause: Some(cause), .. }) => shortened(&cause.what, room),
        Some(finding) => {
            let name = finding.check.name;
            let room = room.saturating_sub(name.len() + " ".len() + ": ".len());
            let saw = finding.saw.chars().count();
            let subject = shortened(&finding.subject, room.saturating_sub(saw).max(room / 2));
            let saw = shortened(&finding.saw, room.saturating_sub(subject.chars().count()));
            printable!("{name} {subject}: {saw}")
        }
    };
    printable!("{CONSEQUENCE}: {what}{more}")
}

/// The refusal: the summary as the first line (it will be the first line of an e-mail), then each
/// reason.
pub(super) fn refusal(findings: &[Finding], with_details: bool) -> Notice {
    let mut open: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.level == Level::Required && finding.is_open())
        .filter(|finding| !finding.counted)
        .collect();
    // Failed findings come before unknown ones, and those that many wait for before single ones;
    // otherwise the order is kept.
    open.sort_by_key(|finding| {
        (finding.waits_for.is_some(), finding.status != Status::Failed, finding.cause.is_none())
    });
    // A finding that only waits for another is not listed separately.
    let own = open.iter().filter(|finding| finding.waits_for.is_none()).count();
    let mut notice = Notice::new(refusal_headline(open.first().copied(), own.saturating_sub(1)));
    for finding in open.into_iter().filter(|finding| finding.waits_for.is_none()) {
        // A finding with a cause is always shown with its fix.
        if !with_details && finding.cause.is_none() {
            continue;
        }
        let badge = badge(finding.status, finding.level, false);
        notice.lines.push(NoticeLine::telling(printable!(
            "{badge} {} {}",
            finding.check.name,
            finding.subject
        )));
        notice.lines.extend(details(finding));
        notice.clusters.extend(finding.cluster.clone());
    }
    if with_details {
        let next = fix_script::asked_next(findings).into_iter();
        notice.lines.extend(next.map(NoticeLine::telling));
    }
    notice
}

/// Why the outcome differs from the runner's own.
pub(super) fn trouble(outcome: Outcome, reasons: &[Reason]) -> Notice {
    let what = match outcome {
        Outcome::UnsafeClusterAlive => "ACT NOW",
        Outcome::UnsafeClusterTerminated => "UNSAFE",
        Outcome::Unconfirmed => "NOT CONFIRMED",
        Outcome::Undelivered => "NO EVIDENCE",
        _ => "trouble",
    };
    let mut notice = Notice::default();
    for (index, reason) in reasons.iter().enumerate() {
        let headline = reason.headline();
        let headline = NoticeLine::telling(if index == 0 {
            printable!("emr-etl-guard: {what}: {headline}")
        } else {
            printable!("  {headline}")
        });
        let fix = reason.command().cloned();
        notice.lines.push(NoticeLine { fix, ..headline });
        notice.lines.extend(details_and_fixes(reason));
        notice.clusters.extend_from_slice(reason.clusters());
    }
    notice.bounded()
}

fn details_and_fixes(reason: &Reason) -> impl Iterator<Item = NoticeLine> {
    let details =
        reason.details().iter().map(|detail| NoticeLine::telling(printable!("  {detail}")));
    details.chain(reason.fixes().iter().map(|fix| NoticeLine::fixing("  fix: ", fix)))
}

/// The lines of a reason that follows others.
pub(super) fn below(reason: &Reason) -> impl Iterator<Item = NoticeLine> {
    let headline = NoticeLine::telling(printable!("  {}", reason.headline()));
    std::iter::once(headline).chain(details_and_fixes(reason))
}

/// The clusters that continue after a stop, if nothing is worse, and what to do next.
pub(super) fn what_goes_on(reason: &Reason) -> Notice {
    let mut notice = Notice::new(printable!("emr-etl-guard: {}", reason.headline()));
    notice.lines.extend(details_and_fixes(reason));
    notice.bounded()
}

/// The result of the check of a run's objects, if none is known to differ from the requirement:
/// that they are encrypted, that there are none, or that they could not be seen.
///
/// If the check is not enforced (`is_enforced`), nothing is said about their encryption.
pub(super) fn written(written: &[OutputSurvey], is_enforced: bool) -> String {
    const LOGS: &str = "(logs that EMR still brings are not among them)";
    let sum = |of: fn(&OutputSurvey) -> u64| written.iter().map(of).sum::<u64>();
    let (looked_at, objects) =
        (sum(|written| written.survey.looked_at), sum(|written| written.survey.objects));
    let asked = || written.iter().filter(|written| !written.folders.is_empty());
    let obstacles: Vec<String> = asked().filter_map(unseen).collect();
    let not_seen = obstacles.join("; ");
    if looked_at == 0 && !obstacles.is_empty() {
        return format!("nothing that this run wrote could be looked at: {not_seen}");
    }
    if looked_at == 0 {
        return format!(
            "nothing was written: no object of this run is in the {} that it writes to {LOGS}",
            counted(asked().count(), "location")
        );
    }
    let seen = counted(usize::try_from(looked_at).unwrap_or(usize::MAX), "object");
    let locations = written.iter().filter(|written| written.survey.looked_at > 0).count();
    let locations = counted(locations, "location");
    let sample = if looked_at < objects && obstacles.is_empty() {
        format!(", an even sample of {objects},")
    } else {
        String::new()
    };
    let be = is(usize::try_from(looked_at).unwrap_or(usize::MAX));
    let rest = if obstacles.is_empty() {
        String::new()
    } else {
        format!("; not everything could be looked at: {not_seen}")
    };
    if !is_enforced {
        let were = if looked_at == 1 { "was" } else { "were" };
        return format!(
            "not enforced: {seen} in {locations}{sample} {were} looked at {LOGS}, and the \
             settings lower {} to advice{rest}",
            OBJECTS.name
        );
    }
    format!("confirmed: {seen} in {locations}{sample} {be} encrypted as required {LOGS}{rest}")
}

/// The objects of a location that could not be looked up, and why.
fn unseen(written: &OutputSurvey) -> Option<String> {
    let role = &written.role;
    match (&written.look, written.cut_short, &written.survey.unseen) {
        (Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle), ..) => {
            Some(format!("{role}: {obstacle}"))
        }
        (Lookup::Absent, ..) => Some(format!("{role}: no such bucket any more")),
        (Lookup::Found(()), Some(why), _) => Some(format!("{role}: {why}")),
        (Lookup::Found(()), None, Some(unseen)) => {
            let number = counted(usize::try_from(unseen.objects).unwrap_or(usize::MAX), "object");
            let why = match &unseen.why {
                Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => obstacle.to_string(),
                Lookup::Found(()) | Lookup::Absent => "they were gone".to_owned(),
            };
            Some(format!("{role}: {number}: {why}"))
        }
        (Lookup::Found(()), None, None) => None,
    }
}

/// The meaning of an unsafe cluster, on one line.
pub(super) fn unsafe_cluster(cluster: &ClusterId, findings: &[Finding], ends: bool) -> Printable {
    let required = findings.iter().filter(|finding| finding.level == Level::Required);
    let what = if ends { "is unsafe and is being terminated" } else { "is unsafe" };
    printable!("cluster {cluster} {what}: {}", Finding::open_in_brief(required))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::catalogue::find;

    #[test]
    fn the_table_tells_the_same_with_and_without_colour() {
        let check = find("bucket-default-encryption").unwrap();
        let mut advisory = check.on("acme-log", "SSE-KMS").failed("SSE-S3");
        advisory.level = Level::Advisory;
        let findings = [
            check
                .on("acme-out", "SSE-KMS")
                .at(Some("config.yml:18:15"))
                .failed("no default encryption"),
            check.on("acme-in", "SSE-KMS").passed("SSE-KMS"),
            check.on("acme-etl", "SSE-KMS").passed("SSE-KMS"),
            advisory,
            find("subnet-set")
                .unwrap()
                .on("aws.emr.ec2_subnet_id", "a subnet")
                .not_applicable("not required"),
            find("kms-key-enabled").unwrap().on("key", "Enabled").unknown("no answer", "try again"),
        ];
        let (plain, coloured) = (table(&findings, false), table(&findings, true));
        let stripped =
            regex::Regex::new("\x1b\\[[0-9;]*m").unwrap().replace_all(&coloured, "").into_owned();
        assert_eq!(stripped, plain);
        assert_ne!(coloured, plain);
        insta::assert_snapshot!(plain);
    }

    #[test]
    fn what_was_written_is_told_as_what_was_seen_of_it() {
        use crate::{
            base::lookup::{LookupError, LookupErrorKind},
            facts::objects::LocationSurvey,
        };
        let location = |role: &str, looked_at: u64, objects: u64| OutputSurvey {
            role: role.to_owned(),
            folders: vec![crate::base::names::S3Location::parse("s3://acme/x/").unwrap()],
            survey: LocationSurvey { objects, looked_at, ..LocationSurvey::default() },
            look: Lookup::Found(()),
            cut_short: None,
        };
        let denied = |role: &str, looked_at| OutputSurvey {
            look: Lookup::Denied(LookupError::new("s3:ListBucket", LookupErrorKind::Denied, "no")),
            ..location(role, looked_at, looked_at)
        };
        let nowhere = OutputSurvey { folders: vec![], ..location("elsewhere", 0, 0) };
        let cut = OutputSurvey { cut_short: Some("time was over"), ..location("bad", 0, 7) };
        let lines = [
            written(&[location("raw", 4, 4), location("bad", 0, 0)], true),
            written(&[location("raw", 1, 1)], true),
            written(&[location("raw", 1, 1)], false),
            written(&[location("raw", 2, 9), location("bad", 3, 3)], false),
            written(&[location("raw", 2, 9), location("bad", 3, 3)], true),
            written(&[location("raw", 0, 0), location("bad", 0, 0), nowhere], true),
            written(&[denied("raw", 0)], true),
            written(&[location("raw", 4, 4), cut, denied("log", 0)], true),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }
}
