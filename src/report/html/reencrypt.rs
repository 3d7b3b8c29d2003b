//! The HTML page of a `reencrypt`: what was found, what was changed, what is left and why, and the
//! cost.

use maud::{Markup, html};

use crate::{
    base::{outcome::Outcome, text::size},
    checks::fix::CommandContext,
    reencrypt::{
        cost::{CostEstimate, Item, Paid},
        job::Job,
    },
    report::{
        html::{
            Frame, Sections, bar, caller, connections, fact, findings, grouped, headline,
            marks::Mark,
            signed,
            table::{Column, table},
            times::{lasted, time},
        },
        reencrypt_document::{
            BucketTarget, Mode, ReencryptReport, ReencryptedLocation, ReportedMethod,
        },
        signature::ReportSignature,
    },
};

/// The whole page.
pub(crate) fn page(document: &ReencryptReport, signature: &ReportSignature) -> String {
    let (mark, title, sentence) = conclusion(document);
    let sections = Sections::new([
        ("to-do", "What to do", to_do(document)),
        ("refused", "What the safety switch says", refused(document)),
        ("left", "What is not done", left(document)),
        ("who", "Who, what, when", Some(who(document, signature))),
        ("side-effects", "What changes set off", side_effects(document)),
        ("locations", "Location by location", locations(document)),
        ("uploads", "Open uploads in parts", open_uploads(document)),
        ("jobs", "Jobs of S3 Batch Operations", jobs(document)),
        ("cost", "What it costs", Some(cost(document))),
        ("connections", "Who answered as AWS", connections(&document.connections)),
    ]);
    let footer = html! {
        p { "Made from the document of a reencrypt (version " (document.version) ", by \
            emr-etl-guard " (document.guard) "). The document is what was found and done; this \
            page only shows it." }
    };
    let frame = Frame {
        title,
        subject: None,
        kind: "Encryption of what lies in S3",
        command: &document.command,
        started: document.started,
        skip: ("cost", "Skip to the cost"),
        footer: &footer,
    };
    frame.page(&html! {
        (headline(mark, title, &sentence, document.exit_code, &counts(document)))
        (sections.shown())
    })
}

fn found(document: &ReencryptReport, wanted: impl Fn(ReportedMethod) -> bool) -> u64 {
    document
        .locations
        .iter()
        .flat_map(|location| &location.found)
        .filter(|found| wanted(found.method))
        .map(|found| found.objects)
        .sum()
}

fn done(document: &ReencryptReport) -> u64 {
    document.locations.iter().flat_map(|location| &location.done).map(|done| done.objects).sum()
}

/// An icon, a title and a sentence.
pub(in crate::report) fn conclusion(document: &ReencryptReport) -> (Mark, &'static str, String) {
    let (to_do, done) = (found(document, |method| method != ReportedMethod::Leave), done(document));
    match (document.outcome, document.mode) {
        (Outcome::FactsUnknown, _) => (
            Mark::Open,
            "Not everything could be looked at",
            "What could not be looked at is named below; its encryption is unknown.".to_owned(),
        ),
        (Outcome::Ended(0), Mode::Apply) if done > 0 => (
            Mark::Passed,
            "Encrypted as it should be",
            format!(
                "{} were changed, and each was \
                looked at again before it counted.",
                objects(done)
            ),
        ),
        (Outcome::Ended(0), _) => (
            Mark::Passed,
            "Encrypted as it should be",
            "Every object that was looked at is \
                encrypted as it should be."
                .to_owned(),
        ),
        (_, Mode::DryRun) if document.asked.generate_manifest => (
            Mark::Open,
            "Jobs would be made",
            "S3 would list itself what is unencrypted. Nothing \
                was looked at, and nothing was changed."
                .to_owned(),
        ),
        (_, Mode::DryRun) => (
            Mark::Open,
            "Something is to be done",
            format!(
                "{} would be changed \
            by --apply. Nothing was changed.",
                objects(to_do)
            ),
        ),
        (_, Mode::Batch) => (
            Mark::Open,
            "Jobs wait for their confirmation",
            "S3 Batch Operations has jobs for what it can do without losing anything; nothing is \
             changed yet."
                .to_owned(),
        ),
        (_, Mode::BatchStatus) => (
            Mark::Open,
            "Not everything is done",
            "The jobs were followed, and the objects \
                looked at again; what is left is named below."
                .to_owned(),
        ),
        (_, Mode::Apply) => (
            Mark::Open,
            "Not everything is done",
            format!(
                "{} were changed, and each was looked at again before it counted. What is \
                left is named below.",
                objects(done)
            ),
        ),
    }
}

fn objects(number: u64) -> String {
    if number == 1 { "1 object".to_owned() } else { format!("{} objects", grouped(number)) }
}

fn counts(document: &ReencryptReport) -> Markup {
    let looked_at: u64 = document.locations.iter().map(|location| location.looked_at).sum();
    let unseen: u64 = document.locations.iter().map(|location| location.unseen).sum();
    let counts = [
        (Mark::Passed, done(document), "changed and verified"),
        (Mark::Inferred, document.restores_started, "restores started"),
        (Mark::Excepted, document.old_versions_removed, "old versions removed"),
        (
            Mark::Failed,
            found(document, |method| method == ReportedMethod::Leave),
            "must stay as they are",
        ),
        (Mark::Open, unseen, "not looked at"),
        (Mark::Nothing, looked_at, "looked at"),
    ];
    html! {
        ul.counts {
            @for (mark, number, what) in counts {
                @if number > 0 { li { (mark.with(&format!("{} {what}", grouped(number)))) } }
            }
        }
    }
}

/// The commands that go on, and what stands against each location's change.
fn to_do(document: &ReencryptReport) -> Option<Markup> {
    let locations: Vec<_> =
        document.locations.iter().filter(|location| document.left_in(location) > 0).collect();
    if locations.is_empty() {
        return None;
    }
    Some(html! {
        ul.plain {
            @for location in locations {
                li {
                    code { (location.location) } ": " (objects(document.left_in(location))) " not \
                    as required"
                    @if let Some(command) = location.command(document.mode) {
                        "; go on with " code { (command) }
                    }
                    @for why in location.found.iter().filter_map(|found| found.why.as_ref()) {
                        "; " (why)
                    }
                    "."
                }
            }
        }
    })
}

fn who(document: &ReencryptReport, signature: &ReportSignature) -> Markup {
    let asked_for = match document.mode {
        Mode::DryRun => "a dry run",
        Mode::Apply => "--apply",
        Mode::Batch => "--apply --batch",
        Mode::BatchStatus => "--batch-status",
    };
    let asked = &document.asked;
    let more: Vec<&str> = [
        (asked.restore, "--restore"),
        (asked.purge_old_versions, "--purge-old-versions"),
        (asked.purge_overwritten_versions, "--purge-overwritten-versions"),
        (asked.generate_manifest, "--generate-manifest"),
    ]
    .into_iter()
    .filter_map(|(on, word)| on.then_some(word))
    .collect();
    html! {
        dl.facts {
            (fact("Asked \
                for", &html! { code { (asked_for) } @for word in more { " " code { (word) } } }))
            (fact("Started", &html! { (time(document.started)) }))
            (fact("Ended", &html! {
                (time(document.ended)) " "
                span.soft { "after " (lasted(document.started, document.ended)) }
            }))
            (fact("Account", &html! { code { (document.account) } ", buckets \
                in " code { (document.region) } }))
            (caller(document.who.as_ref()))
            (fact("Signature", &signed(signature)))
        }
        h3 { "What objects get" }
        (table(
            &[
                Column::Text("Bucket"), Column::Text("Encryption"), Column::Text("Key"),
                Column::Text("Said by"), Column::Text("Versions"),
            ],
            &html! {
                tbody { @for target in &document.buckets { (row_of_target(target)) } }
            },
        ))
    }
}

fn row_of_target(target: &BucketTarget) -> Markup {
    html! {
        tr {
            th scope="row" { code { (target.bucket) } }
            td { (target.encryption) }
            td data-label="Key" {
                @if let Some(key) = &target.kms_key { code { (key) } } @else { "–" }
            }
            td data-label="Said by" { (target.by) }
            td data-label="Versions" { @if target.versioned { "kept" } @else { "not kept" } }
        }
    }
}

fn open_uploads(document: &ReencryptReport) -> Option<Markup> {
    if document.open_uploads.is_empty() {
        return None;
    }
    // A report does not say which profile the guard had.
    let commands =
        CommandContext { s3_region: document.region.clone(), ..CommandContext::default() };
    Some(html! {
        @for open in &document.open_uploads {
            ul.plain { @for line in open.lines(&commands) { li { (line.trim_start()) } } }
        }
    })
}

fn side_effects(document: &ReencryptReport) -> Option<Markup> {
    if document.side_effects.is_empty() {
        return None;
    }
    Some(html! { ul.plain { @for effect in &document.side_effects { li { (effect) } } } })
}

fn refused(document: &ReencryptReport) -> Option<Markup> {
    if document.refusals.is_empty() {
        return None;
    }
    Some(html! { ul.plain { @for refusal in &document.refusals { li { (Mark::Failed.with("--apply \
    would be refused:")) " " (refusal) } } } })
}

fn left(document: &ReencryptReport) -> Option<Markup> {
    if document.left.is_empty() {
        return None;
    }
    Some(html! {
        ul.cards {
            @for left in &document.left {
                li class="card open" {
                    h3 {
                        (Mark::Open.with(&left.objects.map_or_else(|| "left".to_owned(), objects)))
                        @if let Some(first) = &left.first {
                            " " code.subject { (first) }
                            @if left.objects.is_some_and(|number| number > 1) {
                                span.soft { " and others" }
                            }
                        }
                    }
                    p { (left.why) }
                }
            }
        }
    })
}

fn word(method: ReportedMethod) -> (Mark, &'static str) {
    match method {
        ReportedMethod::UpdateObjectEncryption => (Mark::Inferred, "update the encryption"),
        ReportedMethod::Copy => (Mark::Inferred, "copy in place"),
        ReportedMethod::CopyInParts => (Mark::Inferred, "copy in place, in parts"),
        ReportedMethod::Restore => (Mark::Inferred, "restore first"),
        ReportedMethod::PurgeOldVersion => (Mark::Excepted, "remove the old version"),
        ReportedMethod::Leave => (Mark::Failed, "leave"),
    }
}

fn locations(document: &ReencryptReport) -> Option<Markup> {
    if document.locations.is_empty() {
        return None;
    }
    Some(table(
        &[
            Column::Text("Location"),
            Column::Text("What"),
            Column::Number("Objects"),
            Column::Number("Bytes"),
            Column::Text("Share of what was looked at"),
            Column::Text("First of them"),
        ],
        &html! {
            @for location in &document.locations { (rows(location)) }
        },
    ))
}

/// The rows of one location: what was found, then the results.
fn rows(location: &ReencryptedLocation) -> Markup {
    let mut rows: Vec<Markup> = Vec::new();
    for found in &location.found {
        let (mark, what) = word(found.method);
        rows.push(html! {
            td { (mark.with(what)) @if let Some(why) = &found.why { br; span.soft { (why) } } }
            td.number data-label="Objects" { (grouped(found.objects)) }
            td.number data-label="Bytes" { (grouped(found.bytes)) }
            td.share { (bar(found.objects, location.looked_at, mark)) }
            td data-label="First" {
                @for (index, key) in found.first.iter().enumerate() {
                    @if index > 0 { ", " } code { (key) }
                }
            }
        });
    }
    for done in &location.done {
        let (_, what) = word(done.method);
        rows.push(html! {
            td { (Mark::Passed.with("done and verified")) " " span.soft { "(" (what) ")" } }
            td.number data-label="Objects" { (grouped(done.objects)) }
            td.number data-label="Bytes" { (grouped(done.bytes)) }
            td.share { (bar(done.objects, location.looked_at, Mark::Passed)) } td {}
        });
    }
    if location.unseen > 0 {
        rows.push(html! {
            td colspan="5" {
                (Mark::Open.with(&format!("{} not looked at", grouped(location.unseen))))
                @if let Some(obstacle) = &location.obstacle {
                    " " span.soft { (obstacle.message) " (" (obstacle.operation) ")" }
                }
            }
        });
    }
    if rows.is_empty() {
        rows.push(html! { td colspan="5" { (Mark::Passed.with("as it should \
        be")) " " span.soft { (objects(location.looked_at)) " looked at" } } });
    }
    html! {
        tbody {
            @for (index, row) in rows.iter().enumerate() {
                tr {
                    @if index == 0 {
                        th scope="rowgroup" rowspan=(rows.len()) {
                            @if let Some(role) = &location.role { (role) br; }
                            code { (location.location) }
                        }
                    }
                    (row)
                }
            }
        }
    }
}

fn jobs(document: &ReencryptReport) -> Option<Markup> {
    if document.jobs.is_empty() {
        return None;
    }
    Some(table(
        &[
            Column::Text("Job"),
            Column::Text("Status"),
            Column::Number("Objects"),
            Column::Number("Done"),
            Column::Number("Failed"),
            Column::Text("Manifest"),
        ],
        &html! {
            tbody { @for job in &document.jobs { (row_of_job(job)) } }
        },
    ))
}

fn row_of_job(job: &Job) -> Markup {
    let mark = match (job.status.as_str(), job.failed) {
        ("Complete", 0) => Mark::Passed,
        ("Failed" | "Cancelled", _) | (_, 1..) => Mark::Failed,
        _ => Mark::Open,
    };
    html! {
        tr {
            th scope="row" { code { (job.id) } }
            td {
                (mark.with(&job.status)) @for failure in &job.failures {
                    br; span.soft { (failure) }
                }
            }
            td.number data-label="Objects" { (job.objects.map_or_else(|| "–".to_owned(), grouped)) }
            td.number data-label="Done" { (grouped(job.succeeded)) }
            td.number data-label="Failed" { (grouped(job.failed)) }
            td data-label="Manifest" { @if let Some(place) = &job.generated_manifest { "by \
                S3: " code { (place) } } @else { "by the guard" } }
        }
    }
}

fn said(item: &Item) -> &'static str {
    match item.what {
        Paid::Writes => "writes (PUT, COPY, POST)",
        Paid::Lists => "lists",
        Paid::Reads => "reads (GET, HEAD)",
        Paid::BytesRead => "bytes read from a rare class",
        Paid::KmsCalls => "calls to KMS, without bucket keys",
        Paid::Restores => "restores",
        Paid::BytesRestored => "bytes restored",
        Paid::BytesDeletedEarly => "bytes deleted before their class's least time",
        Paid::BatchJobs => "batch jobs",
        Paid::BatchObjects => "objects in batch jobs",
        Paid::ManifestObjects => "objects looked at for a manifest",
    }
}

/// The estimated cost, and beside it the actual cost.
fn cost(document: &ReencryptReport) -> Markup {
    let spent = document.spent.as_ref();
    let mut items: Vec<&Item> =
        document.estimate.items.iter().chain(spent.iter().flat_map(|bill| &bill.items)).collect();
    items.sort_by_key(|item| (item.what, &item.storage_class));
    items.dedup_by_key(|item| (item.what, item.storage_class.clone()));
    let in_bill = |bill: &CostEstimate, wanted: &Item| {
        let item = bill
            .items
            .iter()
            .find(|item| (item.what, &item.storage_class) == (wanted.what, &wanted.storage_class));
        item.map_or_else(
            || "–".to_owned(),
            |item| format!("{}, {}", grouped(item.number), dollars(item.usd)),
        )
    };
    let mut columns = vec![Column::Text("What"), Column::Number("Estimate")];
    columns.extend(spent.map(|_| Column::Number("Came to")));
    html! {
        (table(
            &columns,
            &html! {
                tbody {
                    @for item in items {
                        tr {
                            th scope="row" {
                                (said(item)) @if let Some(class) = &item.storage_class {
                                    " in " code { (class) }
                                }
                            }
                            td.number data-label="Estimate" { (in_bill(&document.estimate, item)) }
                            @if let Some(spent) = spent { td.number data-label="Came \
                                to" { (in_bill(spent, item)) } }
                        }
                    }
                    tr {
                        th scope="row" { "bytes that S3 copies" }
                        td.number data-label="Estimate" { (size(document.estimate.bytes_copied)) }
                        @if let Some(spent) = spent { td.number data-label="Came \
                            to" { (size(spent.bytes_copied)) } }
                    }
                    tr {
                        th scope="row" { strong { "Together" } }
                        td.number data-label="Estimate" {
                            strong { "about " (dollars(document.estimate.usd)) }
                        }
                        @if let Some(spent) = spent { td.number data-label="Came \
                            to" { strong { "about " (dollars(spent.usd)) } } }
                    }
                }
            },
        ))
        p.soft { "By " (findings::words(&document.estimate.prices)) "." @if !document.estimate.changed_prices.is_empty() { " The settings have changed " (document.estimate.changed_prices.join(", ")) "." } }
    }
}

fn dollars(usd: f64) -> String {
    if usd > 0.0 && usd < 0.01 { format!("${usd:.5}") } else { format!("${usd:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::tests::{is_one_page, lines, texts_stay_texts, with_texts};

    const RECORDED: &str = include_str!("../../../tests/recordings/documents/reencrypt-v1.json");

    /// As a guard of today writes it: who ran it is in it, too.
    fn value() -> serde_json::Value {
        let mut value: serde_json::Value = serde_json::from_str(RECORDED).unwrap();
        value["who"] = serde_json::json!({"user": "snowplow", "host": "etl-1"});
        value
    }

    fn page(document: &ReencryptReport) -> String {
        super::page(document, &ReportSignature::Unsigned)
    }

    #[test]
    fn the_page_says_what_to_do_first_who_ran_it_and_whether_it_is_signed() {
        let text = lines(&page(&serde_json::from_value(value()).unwrap()));
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(place(r#"<section id="to-do""#) < place(r#"<section id="left""#));
        assert!(place(r#"<section id="left""#) < place(r#"<section id="who""#));
        let command = "<code>emr-etl-guard reencrypt s3://old/ --bucket old --apply</code>";
        assert!(text.contains(command), "{text}");
        assert!(text.contains("<dt>User</dt>\n<dd>\n<code>snowplow</code>"), "{text}");
        assert!(text.contains("not signed"), "{text}");
        // A report of an older guard does not say who ran it, and nobody is named.
        let older = page(&serde_json::from_str(RECORDED).unwrap());
        assert!(!older.contains("<dt>User</dt>"), "{older}");
    }

    #[test]
    fn the_page_of_a_reencrypt_is_whole_and_the_same_every_time() {
        let made = || page(&serde_json::from_value(value()).unwrap());
        let page = made();
        assert_eq!(page, made());
        is_one_page(&page);
        insta::assert_snapshot!(lines(&page));
    }

    #[test]
    fn jobs_that_wait_are_shown_with_what_they_will_cost() {
        let page = page(
            &serde_json::from_str(include_str!(
                "../../../tests/recordings/documents/reencrypt-batch-v1.json"
            ))
            .unwrap(),
        );
        is_one_page(&page);
        for part in
            ["Jobs wait for their confirmation", "New", "objects in batch jobs", "by the guard"]
        {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn nothing_that_the_document_says_becomes_markup() {
        let kept = [
            "started",
            "ended",
            "mode",
            "method",
            "what",
            "outcome",
            "accept_encryption",
            "require",
            "on_unencrypted",
            "command",
            "status",
        ];
        let made = |more: &str| {
            let mut value = value();
            with_texts(&mut value, "", &kept, more);
            page(&serde_json::from_value(value).unwrap())
        };
        texts_stay_texts(made);
    }
}
