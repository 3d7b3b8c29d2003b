//! The HTML page of an audit: the objects of each location, their encryption, which of them fail
//! the policy, and what could not be seen.

use maud::{Markup, html};

use crate::{
    audit::{
        source::{FactSource, InventorySource},
        tally::{ObjectJudgement, UncheckedObjects},
    },
    base::text::size,
    report::{
        audit_document::{AuditReport, AuditedEncryption, AuditedLocation},
        conclusion::{counted, is},
        html::{
            Frame, Sections, bar, caller, connections, fact, grouped, headline,
            marks::Mark,
            plot::small,
            signed,
            table::{Column, table},
            times::{day, lasted, time},
        },
        signature::ReportSignature,
    },
};

const WIDTH: f64 = 1148.0;
/// Left of the first are the names of the bars, right of the second their amounts.
const LEFT: f64 = 92.0;
const RIGHT: f64 = WIDTH - 130.0;
/// The distance between locations, and between bars.
const BLOCK: f64 = 112.0;
const BAR: f64 = 26.0;

/// The whole page.
pub(crate) fn page(document: &AuditReport, signature: &ReportSignature) -> String {
    let (mark, title, sentence) = conclusion(document);
    let sections = Sections::new([
        ("offenders", "What to do", offenders(document)),
        ("unseen", "What could not be seen", unseen(document)),
        ("who", "Who, what, when", Some(what(document, signature))),
        ("objects", "How the objects are encrypted", picture(document)),
        ("locations", "Location by location", Some(locations(document))),
        ("connections", "Who answered as AWS", connections(&document.connections)),
    ]);
    let footer = html! {
        p { "Made from the document of an audit (version " (document.version) ", by \
            emr-etl-guard " (document.guard) "). The document is what was found; this page only \
            shows it." }
    };
    let frame = Frame {
        title,
        subject: None,
        kind: "Audit of what lies in S3",
        command: &document.command,
        started: document.started,
        skip: ("locations", "Skip to the locations"),
        footer: &footer,
    };
    frame.page(&html! {
        (headline(mark, title, &sentence, document.exit_code, &counts(document)))
        (sections.shown())
    })
}

/// An icon, a title and a sentence.
pub(in crate::report) fn conclusion(document: &AuditReport) -> (Mark, &'static str, String) {
    let totals = &document.totals;
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let seen = format!("{} ({})", counted(number(totals.objects), "object"), size(totals.bytes));
    if totals.offenders > 0 {
        let verb = is(number(totals.offenders));
        let more = if document.complete { "" } else { " Besides, not everything could be seen." };
        let sentence = format!(
            "{} ({}) of {seen} {verb} not encrypted as required.{more}",
            grouped(totals.offenders),
            size(totals.offending_bytes)
        );
        return (Mark::Failed, "Not encrypted as required", sentence);
    }
    if !document.complete {
        let sentence = format!(
            "What was seen, {seen}, is encrypted as required; but not everything could be seen, \
             and that proves nothing."
        );
        return (Mark::Open, "Not all was seen", sentence);
    }
    let sentence = format!(
        "{seen} in {}: every one is encrypted as required.",
        counted(document.locations.len(), "location")
    );
    (Mark::Passed, "Encrypted as required", sentence)
}

/// The number of objects that pass, fail, or could not be evaluated.
fn counts(document: &AuditReport) -> Markup {
    let accepted = kinds(document)
        .filter(|kind| kind.judgement == ObjectJudgement::Accepted)
        .map(|kind| kind.counts.objects)
        .sum::<u64>();
    let counts = [
        (Mark::Failed, document.totals.offenders, "not as required"),
        (Mark::Open, document.totals.unseen, "not seen or judged"),
        (Mark::Passed, accepted, "as required"),
        (Mark::Nothing, document.totals.empty, "empty"),
        (Mark::Nothing, document.totals.delete_markers, "delete markers"),
    ];
    html! {
        ul.counts {
            @for (mark, number, what) in counts {
                @if number > 0 { li { (mark.with(&format!("{} {what}", grouped(number)))) } }
            }
        }
    }
}

fn kinds(document: &AuditReport) -> impl Iterator<Item = &AuditedEncryption> {
    document.locations.iter().flat_map(|location| &location.kinds)
}

fn what(document: &AuditReport, signature: &ReportSignature) -> Markup {
    let policy = &document.policy;
    let accepted: Vec<&str> = policy
        .accept_encryption
        .iter()
        .map(|kind| crate::settings::policy::kind_name(*kind))
        .collect();
    html! {
        dl.facts {
            (fact("Started", &html! { (time(document.started)) }))
            (fact("Ended", &html! {
                (time(document.ended)) " "
                span.soft { "after " (lasted(document.started, document.ended)) }
            }))
            (caller(document.who.as_ref()))
            (fact("Signature", &signed(signature)))
            (fact("Required", &html! { (accepted.join(" \
                or ")) @if !policy.expected_keys.is_empty() { ", \
                by " code { (policy.expected_keys.join(", ")) } } }))
            @match &document.source {
                FactSource::Live { versions, slowed_down } => {
                    (fact("Source", &html! {
                        "S3 itself, object by object; " @if *versions { "old versions \
                         too" } @else { "current versions only (old \
                         ones: " code { "--versions" } ")" }
                        @if *slowed_down > 0 { "; S3 asked to slow \
                            down " (counted(*slowed_down, "time")) }
                    }))
                }
                FactSource::Inventory { inventories, outside } => {
                    @for inventory in inventories { (fact("Source", &of_inventory(inventory))) }
                    @if *outside > 0 { (fact("Besides", &html! { (grouped(*outside)) " rows of \
                        them lie in none of the locations" })) }
                }
            }
            @if let Some(file) = &document.offenders_file { (fact("Offenders", &html! { "all of \
                them are listed in " code { (file) } })) }
        }
        @if let FactSource::Inventory { .. } = document.source {
            p.note { (Mark::Inferred.with("inventory")) " What was written since an inventory was \
                made is not in it, nor what its configuration leaves out; it has no KMS keys." }
        }
    }
}

fn of_inventory(inventory: &InventorySource) -> Markup {
    html! {
        "an inventory of " code { (inventory.bucket) } " \
         (" (inventory.format) ", " (grouped(inventory.rows)) " rows), \
         made " (time(inventory.created)) ", "
        strong { (age(inventory.age_seconds)) " old" } ": " code.soft { (inventory.manifest) }
    }
}

fn age(seconds: i64) -> String {
    match seconds.max(0) / 3600 {
        0 => "less than an hour".to_owned(),
        hours @ 1..48 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    }
}

fn offenders(document: &AuditReport) -> Option<Markup> {
    if document.totals.offenders == 0 {
        return None;
    }
    let of = |encryption: &str| {
        kinds(document).any(|kind| {
            kind.judgement == ObjectJudgement::Offender && kind.encryption == encryption
        })
    };
    Some(html! {
        ul.plain {
            @if let Some(file) = &document.offenders_file {
                li { "Every one of them is listed in " code { (file) } "." }
            } @else {
                li { "Name them: the same audit with " code { "--offenders FILE" } "." }
            }
            @for location in document.locations.iter().filter(|location| location.offends()) {
                li { "Encrypt them in place: " code { (location.repair_command()) } ", a dry run; \
                    with " code { "--apply" } " it changes the objects." }
            }
            @if of("SSE-C") { li { "SSE-C objects can be rewritten only by their writer, who has \
                the key." } }
        }
    })
}

/// A list of all reasons for unseen objects.
fn unseen(document: &AuditReport) -> Option<Markup> {
    let places = document.locations.iter().filter(|location| {
        !location.unseen.is_empty() || !location.unlisted.is_empty() || location.no_bucket
    });
    let mut places = places.peekable();
    let untold = kinds(document).any(|kind| kind.judgement == ObjectJudgement::Untold);
    if places.peek().is_none() && !untold {
        return None;
    }
    Some(html! {
        ul.risks {
            @for location in places {
                li {
                    (Mark::Open.with(&name(location)))
                    @if location.no_bucket { p { "There is no such bucket." } }
                    @for hidden in &location.unlisted { p { "Not listed to its \
                        end: " (why(hidden)) } }
                    @for hidden in &location.unseen {
                        p { (grouped(hidden.objects)) " not \
                            seen" @if let Some(first) = &hidden.first { ", the \
                            first " code { (first) } } ": " (why(hidden)) }
                    }
                }
            }
            @if untold { li { (Mark::Open.with("KMS keys")) p { "The policy expects a key, and an \
                inventory has none: audit those objects without " code { "--inventory" } "." } } }
        }
    })
}

fn why(hidden: &UncheckedObjects) -> Markup {
    html! {
        (hidden.obstacle.message)
        @if hidden.denied { "; \
            allow " code { (hidden.obstacle.operation) } } @else { span.soft { " \
            (" (hidden.obstacle.operation) ")" } }
    }
}

/// Its roles, or else its address.
fn name(location: &AuditedLocation) -> String {
    if location.roles.is_empty() { location.location.clone() } else { location.roles.join(", ") }
}

const fn mark(judgement: ObjectJudgement) -> Mark {
    match judgement {
        ObjectJudgement::Accepted => Mark::Passed,
        ObjectJudgement::Offender => Mark::Failed,
        ObjectJudgement::Untold => Mark::Open,
    }
}

/// The name of an encryption, with its key.
fn named(kind: &AuditedEncryption) -> String {
    let name = name_of(kind);
    kind.kms_key.as_ref().map_or_else(|| name.to_owned(), |key| format!("{name}, {key}"))
}

/// The name of an encryption.
fn name_of(kind: &AuditedEncryption) -> &str {
    if kind.encryption == "none" { "unencrypted" } else { &kind.encryption }
}

/// A kind of encryption in the legend, which identifies its segments in all bars.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LegendEntry {
    mark: Mark,
    what: String,
}

/// The kinds that occur, worst first.
fn legend(document: &AuditReport) -> Vec<LegendEntry> {
    let mut entries: Vec<LegendEntry> = kinds(document)
        .map(|kind| LegendEntry { mark: mark(kind.judgement), what: named(kind) })
        .collect();
    if document.locations.iter().any(|location| hidden(location) > 0) {
        entries.push(unseen_entry());
    }
    let rank = |mark: Mark| {
        [Mark::Failed, Mark::Open, Mark::Passed].iter().position(|other| *other == mark)
    };
    entries.sort_by(|a, b| (rank(a.mark), &a.what).cmp(&(rank(b.mark), &b.what)));
    entries.dedup();
    entries
}

fn unseen_entry() -> LegendEntry {
    LegendEntry { mark: Mark::Open, what: "could not be looked at".to_owned() }
}

fn hidden(location: &AuditedLocation) -> u64 {
    location.unseen.iter().map(|hidden| hidden.objects).sum()
}

/// A segment of a bar: its number in the legend, and its amount.
type Piece = (usize, u64);

/// The segments of a location's two bars: objects, and bytes. The size of unseen objects is
/// unknown.
fn pieces(location: &AuditedLocation, legend: &[LegendEntry]) -> (Vec<Piece>, Vec<Piece>) {
    let place =
        |entry: &LegendEntry| legend.iter().position(|other| other == entry).unwrap_or_default();
    let of = |amount: fn(&AuditedEncryption) -> u64| {
        location
            .kinds
            .iter()
            .map(|kind| {
                (
                    place(&LegendEntry { mark: mark(kind.judgement), what: named(kind) }),
                    amount(kind),
                )
            })
            .collect::<Vec<Piece>>()
    };
    let (mut objects, mut bytes) = (of(|kind| kind.counts.objects), of(|kind| kind.counts.bytes));
    let unseen = hidden(location);
    if unseen > 0 {
        objects.push((place(&unseen_entry()), unseen));
    }
    objects.sort_unstable();
    bytes.sort_unstable();
    (objects, bytes)
}

/// The start and width of each segment. Even a very small share gets a visible width.
#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn placed(pieces: &[Piece], from: f64, width: f64) -> Vec<(usize, f64, f64)> {
    const LEAST: f64 = 3.0;
    let sum = pieces.iter().map(|(_, amount)| *amount).fold(0, u64::saturating_add).max(1) as f64;
    let wide: Vec<f64> =
        pieces.iter().map(|(_, amount)| (*amount as f64 / sum * width).max(LEAST)).collect();
    let scale = width / wide.iter().sum::<f64>().max(width);
    let mut at = from;
    pieces
        .iter()
        .zip(wide)
        .map(|((index, _), wide)| {
            let (begin, wide) = (at, wide * scale);
            at += wide;
            (*index, begin, wide)
        })
        .collect()
}

/// The oldest and the newest day of a location's objects.
fn period(location: &AuditedLocation) -> Option<String> {
    let oldest = location.kinds.iter().filter_map(|kind| kind.counts.oldest).min()?;
    let newest = location.kinds.iter().filter_map(|kind| kind.counts.newest).max()?;
    Some(if day(oldest) == day(newest) {
        format!("all from {}", day(oldest))
    } else {
        format!("oldest {}, newest {}", day(oldest), day(newest))
    })
}

/// Two bars for each location: its objects and its bytes, by encryption.
fn picture(document: &AuditReport) -> Option<Markup> {
    let legend = legend(document);
    let places: Vec<&AuditedLocation> = document
        .locations
        .iter()
        .filter(|location| !location.kinds.is_empty() || hidden(location) > 0)
        .collect();
    if places.is_empty() {
        return None;
    }
    let height = BLOCK * small(places.len());
    Some(html! {
        figure {
            div.scroll tabindex="0" role="region" aria-label="Picture of how objects are \
                encrypted" {
                svg.bars viewBox={ "0 \
                    0 " (WIDTH) " " (height) } role="img" aria-labelledby="bars-title bars-text" {
                    title id="bars-title" { "Objects and bytes by encryption" }
                    desc id="bars-text" { "Two bars for each \
                        of " (counted(places.len(), "location")) ", by objects and by bytes; \
                        their numbers are those of the list below, and the table says the same in \
                        figures." }
                    @for (index, location) in places.iter().enumerate() {
                        (block(location, &legend, BLOCK * small(index)))
                    }
                }
            }
        }
        ol.legend-of-bars { @for entry in &legend { li { (entry.mark.with(&entry.what)) } } }
    })
}

fn block(location: &AuditedLocation, legend: &[LegendEntry], y: f64) -> Markup {
    let (objects, bytes) = pieces(location, legend);
    let sum =
        |pieces: &[Piece]| pieces.iter().map(|(_, amount)| *amount).fold(0, u64::saturating_add);
    let rows = [("objects", grouped(sum(&objects)), objects), ("bytes", size(sum(&bytes)), bytes)];
    html! {
        text class="lane-name" x="0" y=(y + 18.0) {
            (short(&name(location))) title { (name(location)) " " (location.location) }
        }
        @if let Some(period) = period(location) { text class="axis \
            last" x=(WIDTH) y=(y + 18.0) { (period) } }
        @for (row, (what, amount, pieces)) in rows.iter().enumerate() {
            @let top = y + 28.0 + (BAR + 8.0) * small(row);
            text class="state" x="0" y=(top + 17.0) { (what) }
            @for (index, begin, wide) in placed(pieces, LEFT, RIGHT - LEFT) {
                @let entry = &legend[index];
                g class={ "piece " (entry.mark.class()) } {
                    rect class="full" x=(number(begin)) y=(top) width=(number(wide)) height=(BAR) {
                        title { (entry.what) }
                    }
                    @if wide > 22.0 { text class="number \
                        on" x=(number(begin + wide / 2.0)) y=(top + 17.0) { (index + 1) } }
                }
            }
            text class="state" x=(RIGHT + 12.0) y=(top + 17.0) { (amount) }
        }
    }
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

/// A name, shortened to fit above its bars.
fn short(name: &str) -> String {
    const MOST: usize = 80;
    if name.chars().count() <= MOST {
        name.to_owned()
    } else {
        format!("{}…", name.chars().take(MOST - 1).collect::<String>())
    }
}

fn locations(document: &AuditReport) -> Markup {
    table(
        &[
            Column::Text("Location"),
            Column::Text("Encryption"),
            Column::Number("Objects"),
            Column::Number("Bytes"),
            Column::Date("Oldest"),
            Column::Date("Newest"),
            Column::Text("Share"),
        ],
        &html! {
            @for location in &document.locations { (rows(location)) }
        },
    )
}

/// The rows of one location: one for each kind of encryption, and those for unseen objects and for
/// empty ones.
fn rows(location: &AuditedLocation) -> Markup {
    let unseen = hidden(location);
    let whole = location.kinds.iter().map(|kind| kind.counts.objects).sum::<u64>() + unseen;
    let nothing: Vec<(u64, &str)> = [
        (location.empty, "empty"),
        (location.delete_markers, "delete markers"),
        (location.vanished, "gone when asked"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .collect();
    let unlisted = location.no_bucket || !location.unlisted.is_empty();
    let span =
        (location.kinds.len() + usize::from(unseen > 0) + usize::from(unlisted) + nothing.len())
            .max(1);
    let head = html! {
        th scope="rowgroup" rowspan=(span) {
            @if !location.roles.is_empty() { (location.roles.join(", ")) br; }
            code { (location.location) }
        }
    };
    let mut rows: Vec<Markup> = Vec::new();
    for kind in &location.kinds {
        let (counts, mark) = (&kind.counts, mark(kind.judgement));
        rows.push(html! {
            td {
                (mark.with(name_of(kind))) @if let Some(key) = &kind.kms_key { br; code { (key) } }
                @if counts.noncurrent > 0 {
                    " " span.soft { (grouped(counts.noncurrent)) " of them old versions" }
                }
            }
            td.number data-label="Objects" { (grouped(counts.objects)) }
            td.number data-label="Bytes" { (grouped(counts.bytes)) }
            td.date data-label="Oldest" { (counts.oldest.map_or_else(|| "–".to_owned(), day)) }
            td.date data-label="Newest" { (counts.newest.map_or_else(|| "–".to_owned(), day)) }
            td.share { (bar(counts.objects, whole, mark)) }
        });
    }
    if unseen > 0 {
        rows.push(html! {
            td { (Mark::Open.with("could not be looked at")) }
            td.number data-label="Objects" { (grouped(unseen)) }
            td.number data-label="Bytes" { "–" } td.date data-label="Oldest" { "–" }
            td.date data-label="Newest" { "–" }
            td.share { (bar(unseen, whole, Mark::Open)) }
        });
    }
    if unlisted {
        rows.push(html! { td colspan="6" { (Mark::Open.with(if location.no_bucket { "no such \
        bucket" } else { "not listed to its end" })) } });
    }
    for (number, what) in nothing {
        rows.push(html! {
            td { (Mark::Nothing.with(what)) }
            td.number data-label="Objects" { (grouped(number)) }
            td colspan="4" { span.soft { "nothing in them to encrypt" } }
        });
    }
    if rows.is_empty() {
        rows.push(html! { td colspan="6" { (Mark::Nothing.with("nothing there")) } });
    }
    html! {
        tbody {
            @for (index, row) in rows.iter().enumerate() { tr { @if index == 0 { (head) } (row) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::html::tests::{is_one_page, texts_stay_texts, with_texts};

    const RECORDED: &str = include_str!("../../../tests/recordings/documents/audit-v1.json");

    /// As a guard of today writes it: who ran it is in it, too.
    fn value() -> serde_json::Value {
        let mut value: serde_json::Value = serde_json::from_str(RECORDED).unwrap();
        value["who"] = serde_json::json!({"user": "snowplow", "host": "etl-1"});
        value
    }

    fn recorded() -> AuditReport {
        serde_json::from_value(value()).unwrap()
    }

    fn page(document: &AuditReport) -> String {
        super::page(document, &ReportSignature::Unsigned)
    }

    #[test]
    fn the_page_says_what_to_do_first_who_ran_it_and_whether_it_is_signed() {
        let text = crate::report::html::tests::lines(&page(&recorded()));
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(place(r#"<section id="offenders""#) < place(r#"<section id="unseen""#));
        assert!(place(r#"<section id="unseen""#) < place(r#"<section id="who""#));
        assert!(text.contains("<code>emr-etl-guard reencrypt s3://old/</code>"), "{text}");
        assert!(text.contains("<dt>User</dt>\n<dd>\n<code>snowplow</code>"), "{text}");
        assert!(text.contains("not signed"), "{text}");
        let beside = ReportSignature::Beside { report: "audit.json".into() };
        assert!(super::page(&recorded(), &beside).contains("report verify --key KEY audit.json"));
        // A report of an older guard does not say who ran it, and nobody is named.
        let older = page(&serde_json::from_str(RECORDED).unwrap());
        assert!(!older.contains("<dt>User</dt>"), "{older}");
    }

    #[test]
    fn the_page_of_an_audit_is_the_same_every_time() {
        let page = page(&recorded());
        assert_eq!(page, self::page(&recorded()));
        insta::assert_snapshot!(crate::report::html::tests::lines(&page));
    }

    #[test]
    fn the_page_is_whole_and_nothing_that_the_document_says_becomes_markup() {
        is_one_page(&page(&recorded()));
        let made = |more: &str| {
            let mut value = value();
            with_texts(
                &mut value,
                "",
                &[
                    "started",
                    "ended",
                    "created",
                    "oldest",
                    "newest",
                    "kind",
                    "judgement",
                    "command",
                    "accept_encryption",
                    "require",
                    "outcome",
                    "on_unencrypted",
                ],
                more,
            );
            page(&serde_json::from_value(value).unwrap())
        };
        texts_stay_texts(made);
    }

    #[test]
    fn the_age_of_an_inventory_is_told_and_what_is_not_in_it() {
        let mut document = recorded();
        let created = document.started - time::Duration::hours(50);
        let inventory = InventorySource {
            manifest: "s3://lists/old/manifest.json".to_owned(),
            format: "ORC".to_owned(),
            bucket: "old".to_owned(),
            created,
            age_seconds: 50 * 3600,
            rows: 1234,
        };
        document.source = FactSource::Inventory { inventories: vec![inventory], outside: 3 };
        document.locations[0].kinds[1].judgement = ObjectJudgement::Untold;
        let page = page(&document);
        is_one_page(&page);
        for part in [
            "<strong>2 days old</strong>",
            "(ORC, 1\u{202f}234 rows)",
            "3 rows of them lie in none of the locations",
            "an inventory has none",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(
            [-5, 3599, 7200, 200_000].map(age),
            ["less than an hour", "less than an hour", "2 h", "2 days"]
        );
    }

    proptest! {
        #[test]
        fn pieces_fill_their_bar_one_behind_the_other_and_each_can_be_seen(amounts in prop::collection::vec(0_u64..u64::MAX / 64, 1..24)) {
            let pieces: Vec<Piece> = amounts.iter().copied().enumerate().collect();
            let placed = placed(&pieces, 100.0, 900.0);
            let mut at = 100.0;
            for (index, begin, wide) in placed {
                prop_assert!((begin - at).abs() < 1e-6, "{index}");
                prop_assert!(wide > 2.0, "{index}: {wide}");
                at = begin + wide;
            }
            prop_assert!(at <= 1000.0 + 1e-6, "{at}");
        }
    }
}
