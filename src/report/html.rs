//! The HTML page: one document for auditors to read and file. It is a single file with its style
//! and pictures, without scripts or external resources. The content security policy in its head
//! enforces this in every browser, whatever the report contains.

pub(crate) mod audit;
mod findings;
pub(super) mod marks;
mod picture;
mod plot;
pub(crate) mod reencrypt;
pub(crate) mod sentinel;
pub(crate) mod setup;
mod table;
mod times;

use std::{collections::BTreeSet, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::{
    aws::trust::AwsConnections,
    base::text::shell_word,
    report::{
        caller::LocalCaller,
        conclusion::{Conclusion, Tone, counted},
        document::{
            RecordedCluster, RecordedEncryption, RecordedLookup, RecordedSurvey,
            RecordedTermination, RunReport,
        },
        html::{
            marks::Mark,
            table::{Column, table},
            times::{day, lasted, precise, time},
        },
        path::{DataPath, Proof, StationKind},
        signature::ReportSignature,
    },
};

const STYLE: &str = include_str!("html/page.css");

/// The common parts of every page.
struct Frame<'a> {
    title: &'a str,
    /// The subject of the page, if it has a name.
    subject: Option<&'a str>,
    /// The kind of report.
    kind: &'a str,
    command: &'a str,
    started: OffsetDateTime,
    /// The section that most readers want, and the text of the skip link to it.
    skip: (&'a str, &'a str),
    footer: &'a Markup,
}

impl Frame<'_> {
    /// The whole page.
    fn page(&self, content: &Markup) -> String {
        // Nothing but the one style of this page is allowed: no script, picture, font, form or
        // frame.
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
            BASE64.encode(Sha256::digest(STYLE))
        );
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="referrer" content="no-referrer";
                    meta name="generator" content={ "emr-etl-guard " (env!("CARGO_PKG_VERSION")) };
                    title { (self.title) " · " @if let Some(subject) = self.subject { (subject) " \
                        · " } (day(self.started)) " · emr-etl-guard" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a.skip href={ "#" (self.skip.0) } { (self.skip.1) }
                    header.masthead {
                        p.brand { "emr-etl-guard" span { " " (self.kind) } }
                        p.when { (self.command) ", " (time(self.started)) }
                    }
                    main { (content) }
                    footer { (self.footer) }
                }
            }
        };
        format!("{}\n", markup.into_string())
    }
}

/// The beginning of the page of an audit or a repair.
fn headline(mark: Mark, title: &str, sentence: &str, exit_code: u8, counts: &Markup) -> Markup {
    html! {
        section class={ "verdict " (mark.class()) } aria-labelledby="verdict" {
            (mark.sign())
            div {
                h1 id="verdict" { (title) }
                p.lead { (sentence) " Exit code " strong { (exit_code) } "." }
                (counts)
            }
        }
    }
}

/// The sections of a page, with their ids and titles.
struct Sections<'a>(Vec<(&'a str, &'a str, Markup)>);

impl<'a> Sections<'a> {
    /// The sections that have content.
    fn new(all: impl IntoIterator<Item = (&'a str, &'a str, Option<Markup>)>) -> Self {
        Self(all.into_iter().filter_map(|(id, title, markup)| Some((id, title, markup?))).collect())
    }

    /// The table of contents, then each section.
    fn shown(&self) -> Markup {
        html! {
            nav.contents aria-label="On this page" {
                ul { @for (id, title, _) in &self.0 { li { a href={ "#" (id) } { (title) } } } }
            }
            @for (id, title, markup) in &self.0 {
                section id=(id) aria-labelledby={ (id) "-title" } {
                    h2 id={ (id) "-title" } { (title) }
                    (markup)
                }
            }
        }
    }
}

/// The whole page of a run; `signature` says whether a signature is beside its report.
pub(crate) fn page(document: &RunReport, signature: &ReportSignature) -> String {
    let conclusion = Conclusion::of(document);
    let footer = html! {
        p { "Made from the document of run " code { (document.run) } " \
            (version " (document.version) ", by emr-etl-guard " (document.guard) "). The document \
            is the evidence; this page only shows it." }
    };
    let frame = Frame {
        title: conclusion.title,
        subject: document.inputs.as_ref().map(|inputs| inputs.config.as_str()),
        kind: "Encryption report",
        command: &document.command,
        started: document.started,
        skip: ("findings", "Skip to the findings"),
        footer: &footer,
    };
    frame.page(&content(document, &conclusion, signature))
}

fn content(document: &RunReport, conclusion: &Conclusion, signature: &ReportSignature) -> Markup {
    let path = DataPath::of(document);
    let sections = Sections::new([
        ("findings", "What to do", findings::open(document)),
        ("who", "Who, what, when", who(document, signature)),
        ("path", "What protects the data", protections(document, &path)),
        ("timeline", "What happened when", timeline(document)),
        ("objects", "Objects by encryption", objects(document)),
        ("exceptions", "Exceptions", findings::exceptions(document)),
        ("residual-risks", "What no check can close", residual_risks(document)),
        ("requests", "Requests to AWS", requests(document)),
        ("connections", "Who answered as AWS", connections(&document.connections)),
        ("checks", "All checks", findings::all(document)),
    ]);
    html! {
        (verdict(document, conclusion))
        (sections.shown())
    }
}

fn verdict(document: &RunReport, conclusion: &Conclusion) -> Markup {
    let (class, mark) = match conclusion.tone {
        Tone::Good => ("passed", Mark::Passed),
        Tone::Bad => ("failed", Mark::Failed),
        Tone::Unsure => ("open", Mark::Open),
        Tone::Plain => ("nothing", Mark::Nothing),
    };
    html! {
        section class={ "verdict " (class) } aria-labelledby="verdict" {
            (mark.sign())
            div {
                h1 id="verdict" { (conclusion.title) }
                p.lead { (conclusion.sentence) " Exit code " strong { (document.exit_code) } "." }
                @for call in document.calls_to_act() {
                    p {
                        strong { (call.what) }
                        ": " (call.obstacle) ". End it now: " code { (call.commands) }
                    }
                }
                (findings::counts(document))
            }
        }
    }
}

/// A row of a list of facts: name and value.
fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn optional(name: &str, value: Option<&str>) -> Markup {
    html! { @if let Some(value) = value { (fact(name, &html! { code { (value) } })) } }
}

/// Who ran it; nothing where the report does not say.
fn caller(who: Option<&LocalCaller>) -> Markup {
    html! {
        @if let Some(who) = who {
            (optional("User", who.user.as_deref()))
            (optional("Host", Some(&who.host)))
        }
    }
}

/// A SHA-256, in groups for readability.
fn digest(digest: &str) -> Markup {
    html! {
        code.digest {
            @let characters: Vec<char> = digest.chars().collect();
            @for group in characters.chunks(8) { span { (group.iter().collect::<String>()) } wbr; }
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "sections that may be missing stand beside it")]
fn who(document: &RunReport, signature: &ReportSignature) -> Option<Markup> {
    Some(html! {
        dl.facts {
            (fact("Run", &html! { code { (document.run) } " " span.soft { "(" (document.command) ")" } }))
            (fact("Started", &html! { (time(document.started)) }))
            (fact("Ended", &html! {
                (time(document.ended)) " "
                span.soft { "after " (lasted(document.started, document.ended)) }
            }))
            (optional("Account", document.account()))
            (optional("Guard", document.principal()))
            (optional("Runner", document.runner_principal()))
            (optional("User", document.who.user.as_deref()))
            (optional("Host", document.who.host.as_deref()))
            (fact("Signature", &signed(signature)))
            @if let Some(chain) = &document.chain {
                (fact("In the chain", &html! {
                    "document " (chain.sequence)
                    @if let Some(previous) = &chain.previous {
                        ", after document " (previous.sequence) " of \
                         run " code { (previous.run) } ", SHA-256 " (digest(&previous.sha256))
                    } @else { ", the first" }
                    @for begun in &chain.unrecorded { "; run " code { (begun.run) } " \
                        (" (begun.sequence) ") began in between and left none" }
                }))
            }
        }
        (inputs(document))
    })
}

/// Whether the report is signed, and how to verify that.
fn signed(signature: &ReportSignature) -> Markup {
    let verify = |report: &Path| {
        let report = report.display().to_string();
        html! { code { "emr-etl-guard report verify --key KEY " (shell_word(&report)) } }
    };
    match signature {
        ReportSignature::Beside { report } => html! {
            "signed; this page does not verify it: " (verify(report))
        },
        ReportSignature::OfOtherContent { report } => html! {
            (Mark::Failed.with("not of this content:")) " what stands beside the report is no \
                signature of it: " (verify(report))
        },
        ReportSignature::Unsigned => html! { "not signed: no signature is beside the report" },
        ReportSignature::NotLooked => {
            html! { "not known: the report came from standard input" }
        }
    }
}

/// The inputs, with their digests.
fn inputs(document: &RunReport) -> Markup {
    let Some(inputs) = &document.inputs else { return html! {} };
    let facts = document.facts.as_ref();
    let configuration = facts
        .and_then(|facts| facts.security_configuration.as_ref())
        .and_then(RecordedLookup::found);
    let version = inputs
        .runner
        .as_ref()
        .map(|runner| &runner.version)
        .or_else(|| facts.and_then(|facts| facts.runner_version.as_ref()));
    html! {
        h3 { "What went in" }
        dl.facts {
            (fact("Runner config", &html! { code { (inputs.config) } " \
                SHA-256 " (digest(&inputs.config_sha256)) }))
            @if let Some(sealed) = &inputs.sealed_sha256 { (fact("Sealed \
                config", &html! { "SHA-256 " (digest(sealed)) })) }
            @if let Some(runner) = &inputs.runner {
                (fact("Runner's \
                    file", &html! { code { (runner.path) } @if let Some(sha256) = runner.sha256.found() { " SHA-256 " (digest(sha256)) } }))
            }
            @if let Some(version) = version.and_then(RecordedLookup::found) { (fact("Runner's \
                version", &html! { (version) })) }
            @if let Some(found) = configuration {
                (fact("Security configuration", &html! { code { (found.name) } ", \
                    created " (time(found.created)) ", SHA-256 " (digest(&found.digest)) }))
            }
            @if let Some(settings) = &inputs.settings {
                (fact("Settings", &html! {
                    @if let Some(file) = &settings.file { code { (file) } " " }
                    @if let Some(sha256) = &settings.file_sha256 {
                        "SHA-256 " (digest(sha256)) "; "
                    }
                    "all in force " (digest(&settings.sha256))
                }))
                @if let Some(base) = &settings.base_file { (fact("In place \
                    of", &html! { code { (base) } ", but for what that locks" })) }
                @if !settings.locks.is_empty() {
                    (fact("Locked", &html! { @for (index, lock) in settings.locks.iter().enumerate() {
                        @if index > 0 { ", " } code { (lock.setting) } " (" (lock.file) ", \
                            line " (lock.line) ")"
                    } }))
                }
                @if !settings.overrides.is_empty() {
                    (fact("Overridden", &html! { @for (index, one) in settings.overrides.iter().enumerate() {
                        @if index > 0 { "; " } code { (one.setting) } " by " code { (one.by) }
                        @if !one.over.is_empty() { " over " code { (one.over.join(", ")) } }
                    } }))
                }
            }
            (fact("Required", &html! { (inputs.policy.require.join(", ")) "; \
                objects " (inputs.policy.accept_encryption.join(" or "))
                @if !inputs.policy.expected_keys.is_empty() { ", \
                    by " code { (inputs.policy.expected_keys.join(", ")) } } }))
            @for (name, list) in [("Made advice", &inputs.policy.advise), ("Made \
                required", &inputs.policy.enforce)] {
                @if !list.is_empty() { (fact(name, &html! { (list.join(", ")) })) }
            }
            @let not_enforced = document.not_enforced();
            @if !not_enforced.is_empty() { (fact("Not \
                enforced", &html! { (Mark::Open.with("Advice \
                only:")) " " (not_enforced.join(", ")) })) }
        }
        @if !inputs.sealed.is_empty() {
            h3 { "What the seal set" }
            (table(
                &[Column::Text("Key"), Column::Text("Was"), Column::Text("Is")],
                &html! {
                    tbody { @for change in &inputs.sealed {
                        tr {
                            th scope="row" { code { (change.key) } }
                            td data-label="Was" {
                                code { (change.before.as_deref().unwrap_or("(missing)")) }
                            }
                            td data-label="Is" { code { (change.after) } }
                        }
                    } }
                },
            ))
        }
        @if let Some(facts) = facts {
            @let elsewhere: Vec<_> = facts.endpoints.iter().map(|endpoint| format!("{} at \
                {}", endpoint.service, endpoint.url)).collect();
            @if !elsewhere.is_empty() { p.note { (Mark::Open.with("Not AWS itself:")) " the \
                settings allow endpoints that stand in for it: " (elsewhere.join(", ")) "." } }
        }
    }
}

fn protections(document: &RunReport, path: &DataPath) -> Option<Markup> {
    // Without a plan there is no data path.
    document.inputs.as_ref()?;
    let told = |proof: Proof, what: &str, by: &BTreeSet<String>| {
        html! {
            td { (Mark::from(proof).with(proof.word())) }
            td {
                (findings::words(what)) @if !by.is_empty() {
                    " " span.soft {
                        "by " @for (index, check) in by.iter().enumerate() {
                            @if index > 0 { ", " } a href={ "#check-" (check) } { (check) }
                        }
                    }
                }
            }
        }
    };
    Some(html! {
        figure { div.scroll tabindex="0" role="region" aria-label="Picture of the data's \
            path" { (picture::picture(path)) } }
        h3 { "On the way" }
        (table(
            &[
                Column::Text("Way"), Column::Text("Carried by"), Column::Text("Shown"),
                Column::Text("Encryption in transit"),
            ],
            &html! {
                tbody {
                    @for (index, hop) in path.hops.iter().enumerate() {
                        tr {
                            th scope="row" { (index + 1) ". " (hop.from.title()) " \
                                → " (hop.to.title()) }
                            td { (hop.by.iter().cloned().collect::<Vec<_>>().join(", ")) }
                            (told(hop.protection.proof, &hop.protection.what, &hop.protection.by))
                        }
                    }
                }
            },
        ))
        h3 { "At rest, and within the cluster" }
        (table(
            &[
                Column::Text("Where"), Column::Text("Part"), Column::Text("Shown"),
                Column::Text("Encryption"),
            ],
            &html! {
                @for station in &path.stations {
                    tbody {
                        @for (index, part) in station.parts.iter().enumerate() {
                            tr {
                                @if index == 0 {
                                    th scope="rowgroup" rowspan=(station.parts.len()) {
                                        (station.kind.title())
                                    }
                                }
                                td {
                                    @if station.kind == StationKind::Cluster {
                                        (part.name)
                                    } @else {
                                        code { (part.name) }
                                    }
                                }
                                (told(part.protection.proof, &part.protection.what, &part.protection.by))
                            }
                        }
                    }
                }
            },
        ))
    })
}

fn timeline(document: &RunReport) -> Option<Markup> {
    let events = plot::events(document);
    if events.is_empty() {
        return None;
    }
    Some(html! {
        figure { div.scroll tabindex="0" role="region" aria-label="Plot of the run over \
            time" { (plot::plot(document, &events)) } }
        ol.events {
            @for event in &events {
                li {
                    (precise(event.at)) " " span.soft { (event.kind.word()) }
                    " " (findings::words(&event.what))
                }
            }
        }
        @if !document.clusters().is_empty() {
            h3 { "Clusters" }
            ul.plain { @for cluster in document.clusters() { li { (told(document, cluster)) } } }
        }
        @if let Some(watched) = &document.watched {
            @if let Some(trouble) = &watched.search_trouble { p.note { (Mark::Open.with("unknown")) " the run's clusters could not be searched for at the end: " (trouble) } }
            @for id in &watched.undecided { p.note { (Mark::Open.with("unknown")) " \
                cluster " code { (id) } " has the run's name, but whether it is the run's is \
                unknown" } }
        }
    })
}

/// One cluster, in a sentence.
fn told(document: &RunReport, cluster: &RecordedCluster) -> Markup {
    let steps = cluster
        .steps
        .found()
        .map(|steps| (steps.iter().filter(|step| step.state == "COMPLETED").count(), steps.len()));
    html! {
        code { (cluster.id) } " "
        @if cluster.is_unsafe { (Mark::Failed.with("unsafe")) } @else { (Mark::Passed.with("not \
            found unsafe")) }
        ", found by " (match cluster.found_by.as_str() { "log" => "the runner's \
         log", "list" => "ListClusters", other => other })
        @if let Some(facts) = cluster.cluster.found() {
            ", " @if let Some(release) = &facts.release { (release) ", " } "last \
             seen " (facts.status.state) @if let Some(reason) = &facts.status.reason { " \
             (" (reason) ")" }
        } @else { ", never described" }
        @if let Some((done, all)) = steps { ", " (done) " of " (all) " steps completed" }
        @if let Some(end) = &cluster.end { "; " (told_end(document, cluster, end)) }
        @if cluster.ended_by_stop { "; ended because the run was stopped" }
        "."
    }
}

/// The termination of a cluster, from the guard's actions and the observations.
fn told_end(document: &RunReport, cluster: &RecordedCluster, end: &RecordedTermination) -> Markup {
    // Reports contain the guard's actions since version 2.
    let asked = (!document.actions.is_empty()).then(|| document.asked_for_its_end(&cluster.id));
    html! {
        @match (asked, end) {
            (Some(Some(true)), RecordedTermination::Confirmed) => { "terminated by the guard, and \
                its end is confirmed" }
            (_, RecordedTermination::Confirmed) => { "its end is confirmed" }
            (Some(asked), RecordedTermination::Unconfirmed(why)) => {
                @match asked {
                    Some(true) => { "EMR accepted its termination, but " }
                    Some(false) => { "EMR did not accept its termination, and " }
                    None => { "the guard did not ask for its end, and " }
                }
                strong { "its end is not confirmed" } ": " (why)
            }
            (None, RecordedTermination::Unconfirmed(why)) => { strong { "its end is not \
                confirmed" } ": " (why) }
        }
    }
}

fn objects(document: &RunReport) -> Option<Markup> {
    let read = document
        .facts
        .iter()
        .flat_map(|facts| &facts.data)
        .filter_map(|(role, survey)| Some((role.as_str(), survey.found()?, None)));
    let written = document
        .written
        .iter()
        .map(|written| (written.role.as_str(), &written.survey, written.cut_short.as_deref()));
    let (read, written): (Vec<_>, Vec<_>) = (
        read.filter(|(_, survey, _)| survey.objects > 0).collect(),
        written.filter(|(_, survey, _)| survey.objects > 0).collect(),
    );
    if read.is_empty() && written.is_empty() {
        return None;
    }
    let tables = [
        ("Before the launch, where the run reads", read),
        ("After the run, where it wrote", written),
    ];
    Some(html! {
        @for (title, rows) in tables {
            @if !rows.is_empty() {
                h3 { (title) }
                (table(
                    &[
                        Column::Text("Location"), Column::Text("Encryption"),
                        Column::Number("Objects"), Column::Number("Bytes"), Column::Text("Share"),
                    ],
                    &html! {
                        @for (role, survey, cut) in rows { (location(role, survey, cut)) }
                    },
                ))
            }
        }
    })
}

/// The rows of one location: one for each kind of encryption, and one for objects that were not
/// looked up.
fn location(role: &str, survey: &RecordedSurvey, cut_short: Option<&str>) -> Markup {
    let unseen = survey.unseen.as_ref().map_or(0, |unseen| unseen.objects);
    let left = survey.objects - survey.objects.min(survey.looked_at + unseen);
    let mut rows: Vec<(Mark, String, u64, Option<u64>)> = survey
        .kinds
        .iter()
        .map(|tally| {
            let (mark, what) = stored(&tally.stored);
            (mark, what, tally.objects, Some(tally.bytes))
        })
        .collect();
    if unseen > 0 {
        rows.push((Mark::Open, "could not be looked at".to_owned(), unseen, None));
    }
    if left > 0 {
        let why = cut_short
            .map_or_else(|| "not in the sample".to_owned(), |why| format!("not looked at: {why}"));
        rows.push((Mark::Inferred, why, left, None));
    }
    let span = rows.len();
    html! {
        tbody {
            @for (index, (mark, what, objects, bytes)) in rows.iter().enumerate() {
                tr {
                    @if index == 0 { th scope="rowgroup" rowspan=(span) { code { (role) } } }
                    td { (mark.with(what)) }
                    td.number data-label="Objects" { (grouped(*objects)) }
                    td.number data-label="Bytes" {
                        @if let Some(bytes) = bytes { (grouped(*bytes)) } @else { "–" }
                    }
                    td.share { (bar(*objects, survey.objects, *mark)) }
                }
            }
        }
    }
}

fn stored(stored: &RecordedEncryption) -> (Mark, String) {
    match stored {
        RecordedEncryption::Unencrypted => (Mark::Failed, "unencrypted".to_owned()),
        RecordedEncryption::Kind(kind, None) => (Mark::Passed, kind.clone()),
        RecordedEncryption::Kind(kind, Some(key)) => (Mark::Passed, format!("{kind}, {key}")),
        RecordedEncryption::CustomerKey => {
            (Mark::Passed, "SSE-C, under a key of the writer's own".to_owned())
        }
        RecordedEncryption::Other(other) => (Mark::Open, other.clone()),
    }
}

/// A share as a bar; the number is shown beside it.
fn bar(part: u64, whole: u64, mark: Mark) -> Markup {
    let hundredths = part.saturating_mul(100).checked_div(whole).unwrap_or_default();
    html! {
        svg class={ "bar " (mark.class()) } viewBox="0 0 100 \
            8" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect class="rest" width="100" height="8" {}
            rect class="full" width=(hundredths.max(1)) height="8" {}
        }
        span { (hundredths) " %" }
    }
}

/// 1234567 as 1 234 567, with narrow no-break spaces.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let groups = std::iter::once(head)
        .chain(tail.as_bytes().chunks(3).filter_map(|chunk| std::str::from_utf8(chunk).ok()));
    groups.filter(|group| !group.is_empty()).collect::<Vec<_>>().join("\u{202f}")
}

fn residual_risks(document: &RunReport) -> Option<Markup> {
    if document.residual_risks.is_empty() {
        return None;
    }
    Some(html! {
        p { "These are shown with every verdict, because silence is not proof." }
        ul.risks { @for residual_risk in &document.residual_risks {
            li {
                (Mark::Open.with(&residual_risk.name)) p { (findings::words(&residual_risk.what)) }
                p.soft { "Source: " (residual_risk.source) }
            }
        } }
    })
}

fn requests(document: &RunReport) -> Option<Markup> {
    if document.calls.is_empty() {
        return None;
    }
    let all: u64 = document.calls.iter().map(|calls| calls.count).sum();
    Some(html! {
        p { (counted(usize::try_from(all).unwrap_or(usize::MAX), "request")) " of the guard's \
            own. AWS knows each by its request id, in CloudTrail too; the document keeps more of \
            them than this page shows." }
        (table(
            &[
                Column::Text("Operation"), Column::Number("Requests"), Column::Number("Failed"),
                Column::Number("Attempts"), Column::Text("First request"),
            ],
            &html! {
                tbody { @for calls in &document.calls {
                    tr {
                        th scope="row" { (calls.service) " " code { (calls.operation) } }
                        td.number data-label="Requests" { (grouped(calls.count)) }
                        td.number data-label="Failed" { (grouped(calls.failed)) }
                        td.number data-label="Attempts" { (grouped(calls.attempts)) }
                        td { @if let Some(first) = calls.kept.first() {
                            @if let Some(subject) = &first.subject { code { (subject) } " " }
                            @if let Some(id) = &first.request_id { code.soft { (id) } }
                            @if let Some(status) = first.status {
                                " " span.soft { "HTTP " (status) }
                            }
                        } }
                    }
                } }
            },
        ))
    })
}

fn listed(hosts: &BTreeSet<String>) -> String {
    hosts.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The certificate authorities that verified the AWS servers.
fn connections(AwsConnections { roots, proxies }: &AwsConnections) -> Option<Markup> {
    if roots.is_empty() && proxies.is_empty() {
        return None;
    }
    Some(html! {
        p { "Over TLS, the certificate authority of each server; where none is listed, AWS was \
            asked without TLS." }
        (table(
            &[
                Column::Text("By"), Column::Text("Standing"), Column::Text("Servers"),
                Column::Text("SHA-256 of its certificate"),
            ],
            &html! {
                tbody {
                    @for root in roots {
                        tr {
                            th scope="row" { (root.subject) }
                            td data-label="Standing" { (root.standing.word()) }
                            td data-label="Servers" { (listed(&root.hosts)) }
                            td data-label="SHA-256 of its \
                                certificate" { @if let Some(sha256) = &root.sha256 { code { (sha256) } } }
                        }
                    }
                    @for proxy in proxies {
                        tr {
                            th scope="row" { (proxy.proxy) }
                            td data-label="Standing" { "proxy" }
                            td data-label="Servers" { (listed(&proxy.hosts)) }
                            td {}
                        }
                    }
                }
            },
        ))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use regex::Regex;
    use serde_json::Value;

    use super::*;
    use crate::report::document::tests::{RECORDED, recorded};

    /// The page, one tag a line, without the style and its digest.
    pub(in crate::report) fn lines(page: &str) -> String {
        let style = page.find("<style>").unwrap() + 7..page.find("</style>").unwrap();
        let bare = format!("{}{}", &page[..style.start], &page[style.end..]).replace("><", ">\n<");
        Regex::new("sha256-[^']+").unwrap().replace(&bare, "sha256-OF-STYLE").into_owned()
    }

    #[test]
    fn the_page_of_a_document_is_the_same_every_time() {
        let mut document = recorded("refused-v2");
        // A few findings of each kind are enough for the snapshot.
        let mut seen = std::collections::BTreeMap::new();
        document.findings.retain(|finding| {
            let count = seen.entry((finding.status, finding.level)).or_insert(0);
            *count += 1;
            *count <= 3
        });
        document.calls.truncate(2);
        document.who.user = Some("snowplow".to_owned());
        let page = page(&document, &ReportSignature::Unsigned);
        assert_eq!(page, crate::report::html::page(&document, &ReportSignature::Unsigned));
        insta::assert_snapshot!(lines(&page));
    }

    #[test]
    fn the_page_says_what_to_do_before_any_digest_and_who_ran_it_and_whether_it_is_signed() {
        let mut document = recorded("refused-v2");
        document.who.user = Some("snowplow".to_owned());
        let report = Path::new("the report.json").to_owned();
        let made = |signature: &ReportSignature| lines(&page(&document, signature));
        let text = made(&ReportSignature::Beside { report: report.clone() });
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(place(r#"<section id="findings""#) < place(r#"<section id="who""#));
        assert!(place("<dt>Fix</dt>") < place(r#"<code class="digest">"#));
        assert!(text.contains("<dt>User</dt>\n<dd>\n<code>snowplow</code>"), "{text}");
        assert!(text.contains("signed; this page does not verify it"), "{text}");
        assert!(text.contains("report verify --key KEY 'the report.json'</code>"), "{text}");
        let other = made(&ReportSignature::OfOtherContent { report });
        assert!(other.contains("no signature of it"), "{other}");
        assert!(made(&ReportSignature::Unsigned).contains("not signed"));
        assert!(made(&ReportSignature::NotLooked).contains("not known"));
    }

    /// Values without which the JSON is not a valid report.
    const FIXED: [&str; 9] =
        ["started", "ended", "created", "seen", "status", "level", "verdict", "outcome", "end"];
    /// Values that determine the page's layout; unknown ones are shown as they are.
    const MEANT: [&str; 9] =
        ["command", "check", "access", "actor", "part", "role", "action", "purpose", "state"];

    /// Appends `more` to every text of a report, except those under the keys in `kept`.
    pub(in crate::report) fn with_texts(value: &mut Value, key: &str, kept: &[&str], more: &str) {
        match value {
            // Times, and the storage form of an object, are single words and stay.
            Value::String(text)
                if kept.contains(&key)
                    || (key == "at" && text.ends_with('Z'))
                    || key == "stored" => {}
            Value::String(text) => text.push_str(more),
            Value::Array(items) => {
                items.iter_mut().for_each(|item| with_texts(item, key, kept, more));
            }
            Value::Object(members) => {
                members.iter_mut().for_each(|(key, value)| with_texts(value, key, kept, more));
            }
            _ => {}
        }
    }

    /// Text from a report never becomes markup on the page that `made` renders, checked with markup
    /// appended to all texts.
    pub(in crate::report) fn texts_stay_texts(made: impl Fn(&str) -> String) {
        let hostile = "</code></title></svg></style><script>alert(1)</script>\"'><img/src=x/onerror=alert(2)>&lt;b&gt;<!--]]>";
        let tags = |page: &str| {
            Regex::new("</?[A-Za-z!][^ >]*")
                .unwrap()
                .find_iter(page)
                .map(|tag| tag.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        let page = made(hostile);
        assert_eq!(tags(&page), tags(&made(&"x".repeat(hostile.len()))));
        assert!(
            page.contains("&lt;script&gt;alert(1)")
                && !page.contains("<script")
                && !page.contains("<img")
        );
    }

    #[test]
    fn nothing_that_a_document_says_becomes_markup() {
        let hostile = "`</code></title></svg></style><script>alert(1)</script>\"'><img/src=x/onerror=alert(2)>&lt;b&gt;<!--]]>";
        let harmless: String =
            hostile.chars().map(|letter| if letter == '`' { '`' } else { 'x' }).collect();
        let tags = |more: &str, kept: &[&str], text: &str| {
            let mut value: Value = serde_json::from_str(text).unwrap();
            with_texts(&mut value, "", kept, more);
            let document = serde_json::from_value(value).unwrap();
            let page = page(&document, &ReportSignature::NotLooked);
            let names = Regex::new("</?[A-Za-z!][^ >]*")
                .unwrap()
                .find_iter(&page)
                .map(|tag| tag.as_str().to_owned())
                .collect::<Vec<_>>();
            let attributes = Regex::new(r#"<[a-z0-9]+((?: [a-zA-Z:-]+(?:="[^"<>]*")?)*)>"#)
                .unwrap()
                .find_iter(&page)
                .count();
            (names, attributes, page)
        };
        let laid_out = [FIXED, MEANT].concat();
        for ((name, text), kept) in RECORDED
            .into_iter()
            .flat_map(|recorded| [(recorded, laid_out.as_slice()), (recorded, &FIXED[..])])
        {
            let (names, attributes, page) = tags(hostile, kept, text);
            let (harmless_names, harmless_attributes, _) = tags(&harmless, kept, text);
            assert_eq!(names, harmless_names, "{name}: the same elements, whatever the words");
            assert_eq!(attributes, harmless_attributes, "{name}: and every tag is a whole one");
            assert!(
                page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
                "{name}: it is shown as it stands"
            );
            assert!(
                !page.contains("<script") && !page.contains("<img") && !page.contains("<!--"),
                "{name}"
            );
        }
    }

    /// A page refers to no other file, its policy allows only its own style, its ids are unique,
    /// and its headings skip no level.
    pub(in crate::report) fn is_one_page(page: &str) {
        let references = Regex::new(r#"(?:href|src|srcset|action|data|poster)="([^"]*)""#).unwrap();
        for reference in references.captures_iter(page) {
            assert!(reference[1].starts_with('#'), "{}", &reference[1]);
            assert!(
                page.contains(&format!("id=\"{}\"", &reference[1][1..])),
                "{} leads nowhere",
                &reference[1]
            );
        }
        let style = &page[page.find("<style>").unwrap() + 7..page.find("</style>").unwrap()];
        assert!(!style.contains("url(") && !style.contains("@import"));
        assert!(!page.contains(" style=") && !page.contains("<script"));
        let allowed = format!(
            "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
            BASE64.encode(Sha256::digest(style))
        );
        assert!(page.contains(&format!("content=\"{allowed}\"")));
        let (id, heading) =
            (Regex::new(r#" id="([^"]*)""#).unwrap(), Regex::new("<h([1-6])").unwrap());
        let mut ids = BTreeSet::new();
        for id in id.captures_iter(page) {
            assert!(ids.insert(id[1].to_owned()), "{} is there twice", &id[1]);
        }
        let levels: Vec<u32> =
            heading.captures_iter(page).map(|level| level[1].parse().unwrap()).collect();
        assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1);
        assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
    }

    #[test]
    fn the_page_names_no_other_file_lets_nothing_but_its_style_in_and_is_in_order() {
        for (name, _) in RECORDED {
            let page = page(&recorded(name), &ReportSignature::NotLooked);
            assert!(std::panic::catch_unwind(|| is_one_page(&page)).is_ok(), "{name}");
        }
    }

    #[test]
    fn numbers_are_grouped_so_that_they_can_be_read() {
        assert_eq!(
            [0, 12, 123, 1234, 1_234_567].map(grouped),
            ["0", "12", "123", "1\u{202f}234", "1\u{202f}234\u{202f}567"]
        );
    }
}
