//! The HTML page of one or several reports of a sentinel: the account over time, what is to be
//! done, the clusters by place and launcher, and when it was not known which clusters there were.

use maud::{Markup, html};
use time::{Duration, OffsetDateTime};

use crate::{
    checks::fix::CommandContext,
    report::{
        html::{
            Frame, Sections, caller, connections, digest, fact, grouped, headline,
            marks::Mark,
            optional,
            plot::small,
            signed,
            table::{Column, table},
            times::{clock, day, time},
        },
        sentinel_document::{
            ReportCause, ReportedPlace, SentinelCounts, SentinelReport, UnsafeConsequence,
            VerdictCounts,
        },
        sentinel_history::{SentinelHistory, SightGap},
        signature::ReportSignature,
    },
    sentinel::record::{SentinelActKind, SentinelCluster, SentinelVerdict},
    watch::terminate::manual_termination_commands,
};

/// The whole page. `signatures` has one entry for each file, in any order.
pub(crate) fn page(history: &SentinelHistory, signatures: &[ReportSignature]) -> String {
    let Some(last) = history.last() else { return String::new() };
    let counts = history.counts();
    let (mark, title, sentence) =
        conclusion(&history.clusters, !history.gaps.is_empty(), last.once);
    let sections = Sections::new([
        ("to-do", "What to do", to_do(history)),
        ("who", "Who, what, when", Some(who(history, last, signatures))),
        ("time", "The account over time", Some(over_time(history))),
        ("open", "Clusters that are not as required", open(history)),
        ("done", "What the sentinel did", done(history)),
        ("places", "By account and region", Some(places(history, last))),
        ("launchers", "By launcher", launchers(&counts)),
        ("unseen", "What could not be seen", unseen(history)),
        ("clusters", "All clusters", all_clusters(history)),
        ("rules", "What was required", Some(rules(last))),
        ("requests", "Calls to EMR", calls(history)),
        ("happened", "What happened besides", happened(history)),
        ("connections", "Who answered as AWS", connections(&last.connections)),
    ]);
    let footer = html! {
        p {
            "Made from " (counted(history.reports().len() as u64, "document"))
            " of a sentinel (version " (last.version) ", by emr-etl-guard " (last.guard)
            "). The documents are what was seen; this page only shows it."
        }
    };
    let subject = format!("{} to {}", day(history.from()), day(history.until()));
    let frame = Frame {
        title,
        subject: Some(&subject),
        kind: "Clusters of the account",
        command: &last.command,
        started: history.from(),
        skip: ("who", "Skip to who, what, when"),
        footer: &footer,
    };
    frame.page(&html! {
        (headline(mark, title, &sentence, last.exit_code, &head_counts(&counts)))
        (sections.shown())
    })
}

/// An icon, a title and a sentence. `gaps`: at some time it was not known which clusters there
/// were.
pub(in crate::report) fn conclusion(
    clusters: &[SentinelCluster],
    gaps: bool,
    once: bool,
) -> (Mark, &'static str, String) {
    let of = |verdict| clusters.iter().filter(move |cluster| cluster.verdict == verdict);
    let failed = of(SentinelVerdict::Unsafe).count() as u64;
    let alive = of(SentinelVerdict::Unsafe).filter(|cluster| !cluster.is_over()).count() as u64;
    let unjudged = of(SentinelVerdict::Unjudged).count() as u64;
    let all = clusters.len() as u64;
    let blind = match (gaps, once) {
        (false, _) => "",
        (true, true) => " Not every place could be seen.",
        (true, false) => " At some times it was not known which clusters there were.",
    };
    if alive > 0 {
        let sentence =
            format!("Unsafe, and not over when last seen: {}.{blind}", clusters_of(alive));
        return (Mark::Failed, "Act now", sentence);
    }
    if failed > 0 {
        let sentence = format!(
            "{} of {} {} not as required; all of these are over.{blind}",
            grouped(failed),
            clusters_of(all),
            if failed == 1 { "was" } else { "were" },
        );
        return (Mark::Failed, "Unsafe clusters ended", sentence);
    }
    if unjudged > 0 || gaps {
        let sentence = format!(
            "No required check failed on what was seen: {}, {} of them not judged.{blind}",
            clusters_of(all),
            grouped(unjudged),
        );
        return (Mark::Open, "Not all was seen", sentence);
    }
    let sentence =
        format!("{}: each is as its rule requires, as far as it was seen.", clusters_of(all));
    (Mark::Passed, "Clusters as required", sentence)
}

fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{} {what}s", grouped(number)) }
}

fn clusters_of(number: u64) -> String {
    counted(number, "cluster")
}

fn verdict_mark(verdict: SentinelVerdict) -> Mark {
    match verdict {
        SentinelVerdict::Unsafe => Mark::Failed,
        SentinelVerdict::Unjudged => Mark::Open,
        SentinelVerdict::Excepted => Mark::Excepted,
        SentinelVerdict::Passed => Mark::Passed,
    }
}

fn verdict_word(verdict: SentinelVerdict) -> &'static str {
    match verdict {
        SentinelVerdict::Unsafe => "unsafe",
        SentinelVerdict::Unjudged => "not judged",
        SentinelVerdict::Excepted => "excepted",
        SentinelVerdict::Passed => "passed",
    }
}

fn head_counts(counts: &SentinelCounts) -> Markup {
    html! {
        ul.counts {
            @for verdict in SentinelVerdict::ALL {
                @let number = counts.clusters.count(verdict);
                @if number > 0 {
                    li {
                        (verdict_mark(verdict)
                            .with(&format!("{} {}", grouped(number), verdict_word(verdict))))
                    }
                }
            }
            @if counts.terminated > 0 {
                li { (Mark::Nothing.with(&format!("{} terminated", grouped(counts.terminated)))) }
            }
            @if counts.limited > 0 {
                li {
                    (Mark::Open
                        .with(&format!("{} beyond the limit per hour", grouped(counts.limited))))
                }
            }
        }
    }
}

/// The unsafe clusters that were not over when they were seen for the last time.
fn to_do(history: &SentinelHistory) -> Option<Markup> {
    let living: Vec<&SentinelCluster> = history
        .clusters
        .iter()
        .filter(|cluster| cluster.verdict == SentinelVerdict::Unsafe && !cluster.is_over())
        .collect();
    (!living.is_empty()).then(|| {
        html! {
            ul.plain {
                @for cluster in living {
                    li {
                        (named(cluster)) " is unsafe and was " code { (cluster.state) } " at "
                        (time(cluster.last_seen)) ". End it: " code { (by_hand(cluster)) }
                    }
                }
            }
        }
    })
}

/// The commands that end a cluster by hand.
pub(in crate::report) fn by_hand(cluster: &SentinelCluster) -> String {
    manual_termination_commands(&cluster.id, &CommandContext::in_region(&cluster.region))
}

/// A cluster's id, name and place.
fn named(cluster: &SentinelCluster) -> Markup {
    html! {
        code { (cluster.id) } " (" (cluster.name) "), account " (cluster.account) ", "
        (cluster.region)
    }
}

fn who(history: &SentinelHistory, last: &SentinelReport, signatures: &[ReportSignature]) -> Markup {
    let cause = match last.cause {
        ReportCause::Termination => "a termination had concluded",
        ReportCause::Schedule => "its time had come (setting report_every)",
        ReportCause::End => "the sentinel ended",
    };
    html! {
        dl.facts {
            (fact("From", &html! { (time(history.from())) }))
            (fact("To", &html! { (time(history.until())) }))
            (optional("Sentinel", last.principal.as_deref()))
            (caller(Some(&last.who)))
            (fact("Written then because", &html! { (cause) }))
            @match signatures {
                [one] => { (fact("Signature", &signed(one))) }
                several => { (fact("Signatures", &signed_of_several(several))) }
            }
            (fact("Settings", &html! {
                @if let Some(file) = &last.settings.file { code { (file) } " " }
                "all in force: SHA-256 " (digest(&last.settings.sha256))
            }))
        }
        (chain(history))
    }
}

/// How many of several reports have a signature beside them.
fn signed_of_several(signatures: &[ReportSignature]) -> Markup {
    let beside = |one: &&ReportSignature| matches!(one, ReportSignature::Beside { .. });
    let other = |one: &&ReportSignature| matches!(one, ReportSignature::OfOtherContent { .. });
    let others = signatures.iter().filter(other).count();
    html! {
        (grouped(signatures.iter().filter(beside).count() as u64)) " of "
        (grouped(signatures.len() as u64))
        " documents are signed; this page does not verify it: "
        code { "emr-etl-guard report verify --key KEY" }
        @if others > 0 {
            "; " (Mark::Failed.with(&format!("{} of them", grouped(others as u64))))
            " have something beside them that is no signature of them"
        }
    }
}

/// The reports and their places in the chain.
fn chain(history: &SentinelHistory) -> Markup {
    html! {
        h3 { "The documents" }
        (table(
            &[
                Column::Number("In the chain"), Column::Text("Document"), Column::Date("From"),
                Column::Date("To"), Column::Number("Clusters"), Column::Text("The one before"),
            ],
            &html! {
                tbody {
                    @for report in history.reports() {
                        tr {
                            td.number data-label="In the chain" {
                                @match &report.chain {
                                    Some(chain) => (chain.sequence),
                                    None => "none",
                                }
                            }
                            th scope="row" { code { (report.run) } }
                            td.date data-label="From" { (time(report.started)) }
                            td.date data-label="To" { (time(report.ended)) }
                            td.number data-label="Clusters" {
                                (grouped(report.clusters.len() as u64))
                            }
                            td data-label="The one before" { (before(report)) }
                        }
                    }
                }
            },
        ))
    }
}

fn before(report: &SentinelReport) -> Markup {
    let Some(chain) = &report.chain else { return html! { "in no chain" } };
    html! {
        @match &chain.previous {
            Some(previous) => {
                "document " (previous.sequence) ", SHA-256 " (digest(&previous.sha256))
            }
            None => "none",
        }
        @for begun in &chain.unrecorded {
            "; document " (begun.sequence) " was begun and never written"
        }
    }
}

const WIDTH: f64 = 1148.0;
/// Left of this are the names of the lanes.
const LEFT: f64 = 132.0;
/// Right of this are their greatest counts.
const RIGHT: f64 = WIDTH - 92.0;
const LANE: f64 = 46.0;
const BAR: f64 = 34.0;
const TOP: f64 = 30.0;
/// The number of bars in a lane.
const BARS: u32 = 96;

/// A lane of the picture: how many clusters there were in each part of the time.
struct CountLane {
    name: &'static str,
    mark: Mark,
    counts: Vec<usize>,
}

/// The parts of the time between the first and the last report.
struct TimeScale {
    from: OffsetDateTime,
    span: Duration,
}

impl TimeScale {
    fn of(history: &SentinelHistory) -> Self {
        let span = (history.until() - history.from()).max(Duration::SECOND);
        Self { from: history.from(), span }
    }

    fn x(&self, at: OffsetDateTime) -> f64 {
        let share = (at - self.from).as_seconds_f64() / self.span.as_seconds_f64();
        LEFT + (RIGHT - LEFT) * share.clamp(0.0, 1.0)
    }

    /// The beginning of a part; the end of the one before.
    fn begins(&self, part: u32) -> OffsetDateTime {
        self.from + self.span * f64::from(part) / f64::from(BARS)
    }

    /// In each part, how many of `times` (from, until) have a moment in it.
    fn count(&self, times: &[(OffsetDateTime, OffsetDateTime)]) -> Vec<usize> {
        (0..BARS)
            .map(|part| {
                let (begin, end) = (self.begins(part), self.begins(part + 1));
                let is_last = part + 1 == BARS;
                let has = |(from, until): &&(OffsetDateTime, OffsetDateTime)| {
                    (*from < end || is_last && *from <= end) && *until >= begin
                };
                times.iter().filter(has).count()
            })
            .collect()
    }
}

/// How long a cluster lived, as far as the reports say: to its last sight if it is over, else to
/// the end of the last report.
fn life(cluster: &SentinelCluster, until: OffsetDateTime) -> (OffsetDateTime, OffsetDateTime) {
    let end = if cluster.is_over() { cluster.last_seen } else { until };
    (cluster.created.min(end), end)
}

/// The lanes: living clusters by verdict, then the requests for a termination.
fn lanes(history: &SentinelHistory, scale: &TimeScale) -> Vec<CountLane> {
    let until = history.until();
    let mut lanes: Vec<CountLane> = SentinelVerdict::ALL
        .into_iter()
        .map(|verdict| {
            let of = history.clusters.iter().filter(|cluster| cluster.verdict == verdict);
            let times: Vec<_> = of.map(|cluster| life(cluster, until)).collect();
            CountLane {
                name: verdict_word(verdict),
                mark: verdict_mark(verdict),
                counts: scale.count(&times),
            }
        })
        .collect();
    let requested: Vec<_> = history
        .clusters
        .iter()
        .filter_map(|cluster| cluster.first(SentinelActKind::Terminated))
        .map(|at| (at, at))
        .collect();
    lanes.push(CountLane {
        name: "terminated",
        mark: Mark::Nothing,
        counts: scale.count(&requested),
    });
    lanes
}

fn over_time(history: &SentinelHistory) -> Markup {
    html! {
        figure {
            div.scroll tabindex="0" role="region" aria-label="Clusters over time" {
                (picture(history))
            }
        }
        p.soft {
            "Each lane has its own height: the number at its right is the most clusters of one bar. \
             A cluster counts under its last verdict in each bar in which it lived. A dashed box is \
             a time at which it was not known which clusters a place had."
        }
    }
}

fn picture(history: &SentinelHistory) -> Markup {
    let scale = TimeScale::of(history);
    let lanes = lanes(history, &scale);
    let unseen_at = TOP + LANE * small(lanes.len());
    let height = unseen_at + LANE;
    let number = |value: f64| format!("{value:.1}");
    html! {
        svg.plot viewBox={ "-2 0 " (WIDTH + 4.0) " " (number(height)) } role="img"
            aria-labelledby="time-plot-title time-plot-text" {
            title id="time-plot-title" { "Clusters by verdict over time" }
            desc id="time-plot-text" {
                "From " (clock(history.from())) " to " (clock(history.until())) ": "
                @for lane in &lanes {
                    (lane.name) ", at most " (most(lane)) " in one bar; "
                }
                (counted(history.gaps.len() as u64, "time"))
                " at which it was not known which clusters a place had. The tables below say the \
                 same in words."
            }
            @for (share, anchor) in [(0.0, "first"), (0.5, ""), (1.0, "last")] {
                @let at = scale.from + scale.span * share;
                @let x = number(scale.x(at));
                path class="tick" d={ "M" (x) " 22V" (number(height - 4.0)) } {}
                text class={ "axis " (anchor) } x=(x) y="14" { (clock(at)) }
            }
            @for (index, lane) in lanes.iter().enumerate() {
                (bars(lane, TOP + LANE * small(index)))
            }
            text class="lane-name" x="0" y=(number(unseen_at + 22.0)) { "not seen" }
            @for gap in &history.gaps {
                @let (from, to) = (scale.x(gap.from), scale.x(gap.until));
                rect class="stretch ends" x=(number(from)) y=(number(unseen_at + 6.0))
                    width=(number((to - from).max(3.0))) height="24" rx="3" {
                    title { (gap_place(gap)) ", from " (clock(gap.from)) " to "
                        (clock(gap.until)) ": " (gap.why) }
                }
            }
        }
    }
}

fn most(lane: &CountLane) -> usize {
    lane.counts.iter().copied().max().unwrap_or_default()
}

fn bars(lane: &CountLane, y: f64) -> Markup {
    let most = most(lane);
    let number = |value: f64| format!("{value:.1}");
    let width = (RIGHT - LEFT) / f64::from(BARS);
    html! {
        g class=(lane.mark.class()) {
            text class="lane-name" x="0" y=(number(y + 24.0)) { (lane.name) }
            path class="tick" d={ "M" (number(LEFT)) " " (number(y + BAR)) "H" (number(RIGHT)) } {}
            @for (part, count) in lane.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                @let high = (BAR * small(*count) / small(most)).max(2.0);
                rect class="full" x=(number(LEFT + width * small(part)))
                    y=(number(y + BAR - high)) width=(number(width - 0.6)) height=(number(high)) {}
            }
            text class="axis last" x=(number(WIDTH)) y=(number(y + 24.0)) {
                "at most " (most)
            }
        }
    }
}

/// The clusters that failed or were not judged, with what is open.
fn open(history: &SentinelHistory) -> Option<Markup> {
    let open: Vec<&SentinelCluster> = history
        .clusters
        .iter()
        .filter(|cluster| {
            matches!(cluster.verdict, SentinelVerdict::Unsafe | SentinelVerdict::Unjudged)
        })
        .collect();
    (!open.is_empty()).then(|| {
        html! {
            ul.cards {
                @for cluster in open {
                    li class={ "card " (verdict_mark(cluster.verdict).class()) } {
                        h3 {
                            (verdict_mark(cluster.verdict).with(verdict_word(cluster.verdict)))
                            " " span.subject { (named(cluster)) }
                        }
                        dl {
                            (fact("Launcher", &launcher(cluster)))
                            (fact("Lived", &lived(cluster)))
                            (fact("Rule", &html! {
                                @match &cluster.rule {
                                    Some(rule) => code { (rule) },
                                    None => "none; the policy applied",
                                }
                            }))
                            @for finding in &cluster.open {
                                (fact(&finding.status, &html! {
                                    code { (finding.check) } " " (finding.subject) ": seen "
                                    (finding.seen) "; expected " (finding.expected)
                                }))
                            }
                        }
                    }
                }
            }
        }
    })
}

fn launcher(cluster: &SentinelCluster) -> Markup {
    html! {
        @match &cluster.launcher {
            Some(launcher) => {
                code { (launcher.arn) }
                @if let Some(program) = &launcher.program { ", by " (program) }
                @if let Some(address) = &launcher.address { ", from " (address) }
            }
            None => "unknown: no event of CloudTrail named it",
        }
    }
}

fn lived(cluster: &SentinelCluster) -> Markup {
    html! {
        "created " (time(cluster.created)) "; " code { (cluster.state) } " at "
        (time(cluster.last_seen))
    }
}

pub(in crate::report) const fn act_word(what: SentinelActKind) -> &'static str {
    match what {
        SentinelActKind::ToldUnsafe => "told people that it is unsafe",
        SentinelActKind::ToldUnjudged => "told people that it could not be judged in time",
        SentinelActKind::Cleared => "saw that no check fails any more",
        SentinelActKind::Limited => "did not terminate it: the limit per hour was reached",
        SentinelActKind::Terminated => "requested its termination",
        SentinelActKind::EndConfirmed => "confirmed its end",
        SentinelActKind::EndUnconfirmed => "could not confirm its end",
    }
}

/// Every act, in order.
fn done(history: &SentinelHistory) -> Option<Markup> {
    let mut acts: Vec<_> = history
        .clusters
        .iter()
        .flat_map(|cluster| cluster.acts.iter().map(move |act| (act.at, act, cluster)))
        .collect();
    acts.sort_by_key(|(at, act, cluster)| (*at, act.what, cluster.id.clone()));
    (!acts.is_empty()).then(|| {
        table(
            &[Column::Date("When"), Column::Text("What"), Column::Text("Cluster")],
            &html! {
                tbody {
                    @for (at, act, cluster) in acts {
                        tr {
                            td.date data-label="When" { (time(at)) }
                            td data-label="What" {
                                (act_word(act.what))
                                @if !act.detail.is_empty() { span.soft { ": " (act.detail) } }
                            }
                            th scope="row" { (named(cluster)) }
                        }
                    }
                }
            },
        )
    })
}

/// The cells of a row with the counts by verdict.
fn count_cells(counts: VerdictCounts) -> Markup {
    html! {
        @for verdict in SentinelVerdict::ALL {
            td.number data-label=(verdict_word(verdict)) { (grouped(counts.count(verdict))) }
        }
        td.number data-label="all" { (grouped(counts.total())) }
    }
}

const COUNT_COLUMNS: [Column; 5] = [
    Column::Number("Unsafe"),
    Column::Number("Not judged"),
    Column::Number("Excepted"),
    Column::Number("Passed"),
    Column::Number("All"),
];

fn places(history: &SentinelHistory, last: &SentinelReport) -> Markup {
    let columns: Vec<Column> = [Column::Text("Account"), Column::Text("Region")]
        .into_iter()
        .chain(COUNT_COLUMNS)
        .chain([Column::Date("Last list")])
        .collect();
    html! {
        (table(
            &columns,
            &html! {
                tbody {
                    @for (account, region) in history.places() {
                        @let here = history.clusters.iter().filter(|cluster| {
                            cluster.account == account && cluster.region == region
                        });
                        tr {
                            th scope="row" { (account) }
                            td data-label="Region" { (region) }
                            (count_cells(VerdictCounts::of(here)))
                            td.date data-label="Last list" { (last_list(last, account, region)) }
                        }
                    }
                }
            },
        ))
    }
}

fn last_list(last: &SentinelReport, account: &str, region: &str) -> Markup {
    let is_it = |place: &&ReportedPlace| place.account == account && place.region == region;
    html! {
        @match last.places.iter().find(is_it) {
            None => "not watched any more",
            Some(ReportedPlace { last_list: None, .. }) => (Mark::Open.with("none in the period")),
            Some(ReportedPlace { last_list: Some(at), .. }) => (time(*at)),
        }
    }
}

fn launchers(counts: &SentinelCounts) -> Option<Markup> {
    let columns: Vec<Column> = [Column::Text("Launcher"), Column::Text("Programs")]
        .into_iter()
        .chain(COUNT_COLUMNS)
        .collect();
    (!counts.launchers.is_empty()).then(|| {
        html! {
            p {
                "From CloudTrail's events in the sentinel's queues alone. A launcher that no event "
                "named is unknown. Who launched a cluster decides nothing."
            }
            (table(
                &columns,
                &html! {
                    tbody {
                        @for launcher in &counts.launchers {
                            tr {
                                th scope="row" {
                                    @match &launcher.launcher {
                                        Some(arn) => code { (arn) },
                                        None => (Mark::Open.with("unknown")),
                                    }
                                }
                                td data-label="Programs" {
                                    @for (index, program) in launcher.programs.iter().enumerate() {
                                        @if index > 0 { ", " } (program)
                                    }
                                }
                                (count_cells(launcher.clusters))
                            }
                        }
                    }
                },
            ))
            p.soft {
                (grouped(counts.guarded)) " of " (clusters_of(counts.clusters.total()))
                " have the tag of a guarded run. The tag is the launcher's own word."
            }
        }
    })
}

fn gap_place(gap: &SightGap) -> String {
    match (&gap.account, &gap.region) {
        (Some(account), Some(region)) => format!("account {account}, {region}"),
        (Some(account), None) => format!("account {account}"),
        _ => "all accounts and regions".to_owned(),
    }
}

fn unseen(history: &SentinelHistory) -> Option<Markup> {
    (!history.gaps.is_empty()).then(|| {
        table(
            &[
                Column::Text("Where"),
                Column::Date("From"),
                Column::Date("To"),
                Column::Text("Why"),
                Column::Text("Clusters of that time"),
            ],
            &html! {
                tbody {
                    @for gap in &history.gaps {
                        tr {
                            th scope="row" { (gap_place(gap)) }
                            td.date data-label="From" { (time(gap.from)) }
                            td.date data-label="To" { (time(gap.until)) }
                            td data-label="Why" { (gap.why) }
                            td data-label="Clusters of that time" {
                                @if gap.listed_afterwards {
                                    (Mark::Inferred.with("listed afterwards"))
                                } @else {
                                    (Mark::Open.with("unknown"))
                                }
                            }
                        }
                    }
                }
            },
        )
    })
}

fn all_clusters(history: &SentinelHistory) -> Option<Markup> {
    let all = table(
        &[
            Column::Text("Cluster"),
            Column::Text("Verdict"),
            Column::Text("Place"),
            Column::Text("Security configuration"),
            Column::Text("Launcher"),
            Column::Text("Lived"),
        ],
        &html! {
            tbody {
                @for cluster in &history.clusters {
                    tr {
                        th scope="row" { code { (cluster.id) } " " (cluster.name) }
                        td data-label="Verdict" {
                            (verdict_mark(cluster.verdict).with(verdict_word(cluster.verdict)))
                        }
                        td data-label="Place" { (cluster.account) ", " (cluster.region) }
                        td data-label="Security configuration" {
                            @match &cluster.security_configuration {
                                Some(name) => code { (name) },
                                None => span.soft { "none, or not described" },
                            }
                        }
                        td data-label="Launcher" { (launcher(cluster)) }
                        td data-label="Lived" { (lived(cluster)) }
                    }
                }
            }
        },
    );
    (!history.clusters.is_empty()).then(|| {
        html! {
            details {
                summary {
                    (clusters_of(history.clusters.len() as u64)) " "
                    span.soft { "(each once, as last seen)" }
                }
                (all)
            }
        }
    })
}

const fn consequence(on_unsafe: UnsafeConsequence) -> &'static str {
    match on_unsafe {
        UnsafeConsequence::Alert => "people are told",
        UnsafeConsequence::Terminate => "it is terminated",
    }
}

fn rules(last: &SentinelReport) -> Markup {
    let settings = &last.settings;
    let protections: Vec<String> =
        settings.policy.require.iter().map(|protection| protection.name().to_owned()).collect();
    html! {
        (table(
            &[
                Column::Text("Rule"), Column::Text("Applies to"), Column::Text("Requires"),
                Column::Text("If unsafe"),
            ],
            &html! {
                tbody {
                    @for rule in &settings.rules {
                        tr {
                            th scope="row" { (rule.name) }
                            td data-label="Applies to" {
                                @if rule.conditions.is_empty() { "all clusters" }
                                @else { (rule.conditions.join("; ")) }
                            }
                            td data-label="Requires" {
                                (required(&rule.require, &rule.expected_keys))
                            }
                            td data-label="If unsafe" { (consequence(rule.on_unsafe)) }
                        }
                    }
                    tr {
                        th scope="row" { "the policy" }
                        td data-label="Applies to" { "clusters that no rule matches" }
                        td data-label="Requires" {
                            (required(&protections, &settings.policy.expected_keys))
                        }
                        td data-label="If unsafe" { (consequence(settings.on_unsafe)) }
                    }
                }
            },
        ))
        p.soft {
            "At most " (counted(u64::from(settings.terminations_per_hour), "termination"))
            " within an hour. The first rule that matches applies."
        }
    }
}

fn required(protections: &[String], keys: &[String]) -> Markup {
    html! {
        @if protections.is_empty() { "nothing" } @else { (protections.join(", ")) }
        @if !keys.is_empty() { "; by " code { (keys.join(", ")) } }
    }
}

fn calls(history: &SentinelHistory) -> Option<Markup> {
    let calls = history.emr_calls();
    let throttled: u64 = history.reports().iter().map(|report| report.throttled).sum();
    (!calls.is_empty()).then(|| {
        html! {
            (table(
                &[Column::Text("Operation"), Column::Number("Calls")],
                &html! {
                    tbody {
                        @for (operation, count) in calls {
                            tr {
                                th scope="row" { code { (operation) } }
                                td.number data-label="Calls" { (grouped(count)) }
                            }
                        }
                    }
                },
            ))
            p.soft { "EMR throttled " (counted(throttled, "call")) "." }
        }
    })
}

fn happened(history: &SentinelHistory) -> Option<Markup> {
    let moments: Vec<_> = history.reports().iter().flat_map(|report| &report.timeline).collect();
    (!moments.is_empty()).then(|| {
        html! {
            ol.events {
                @for moment in moments { li { (time(moment.at)) " " (moment.what) } }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::{
        html::tests::{is_one_page, lines, texts_stay_texts, with_texts},
        sentinel_document::tests::{eventful, hours, period, report},
    };

    const FIRST: &str = include_str!("../../../tests/recordings/documents/sentinel-1-v1.json");
    const SECOND: &str = include_str!("../../../tests/recordings/documents/sentinel-2-v1.json");

    fn read(text: &str) -> SentinelReport {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_page_of_two_reports_shows_the_account_over_their_whole_time() {
        let history = SentinelHistory::of([read(FIRST), read(SECOND)]).unwrap();
        let page = page(&history, &[ReportSignature::Unsigned, ReportSignature::Unsigned]);
        is_one_page(&page);
        for part in [
            "j-1KX2ENDED",
            "j-4GUARDED",
            "j-7ALIVE",
            "j-8UNJUDGED",
            "request 7b9f2c1e-3d52-4a0f-8d51-2f5d1c9a0e11",
            "ListClusters: access denied",
            "listed afterwards",
            "arn:aws:sts::123456789012:assumed-role/Analyst",
            "role EMR_EC2_Analysts",
            "0 of 2 documents are signed",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn the_page_says_first_what_is_unsafe_and_alive_and_how_to_end_it() {
        let history = SentinelHistory::of([report(eventful())]).unwrap();
        let text = lines(&page(&history, &[ReportSignature::NotLooked]));
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(at("Act now") < at(r#"<section id="to-do""#));
        assert!(at("--cluster-ids j-2LIMITED") < at(r#"<section id="who""#));
        assert!(!text.contains("--cluster-ids j-1ENDED"), "it is over");
    }

    #[test]
    fn a_page_without_clusters_says_so() {
        let history = SentinelHistory::of([report(period(1))]).unwrap();
        let page = page(&history, &[ReportSignature::Unsigned]);
        is_one_page(&page);
        assert!(page.contains("Clusters as required") && page.contains("0 clusters"), "{page}");
        assert!(!page.contains(r#"id="open""#) && !page.contains(r#"id="done""#));
    }

    #[test]
    fn a_bar_counts_each_cluster_that_lived_in_its_time() {
        let history = SentinelHistory::of([report(period(1))]).unwrap();
        let scale = TimeScale::of(&history);
        let counts = scale.count(&[(hours(0), hours(6)), (hours(3), hours(3))]);
        assert_eq!(counts.len(), BARS as usize);
        let twice: Vec<usize> =
            counts.iter().enumerate().filter(|(_, count)| **count == 2).map(|it| it.0).collect();
        assert_eq!((counts[0], counts[95], twice), (1, 1, vec![48]));
    }

    #[test]
    fn nothing_that_a_report_says_becomes_markup() {
        let kept = [
            "started",
            "ended",
            "created",
            "first_seen",
            "last_seen",
            "judged",
            "from",
            "until",
            "last_list",
            "cause",
            "command",
            "outcome",
            "id",
            "verdict",
            "what",
            "on_unsafe",
            "require",
            "accept_encryption",
            "on_unencrypted",
            "state",
            "region",
            "account",
        ];
        texts_stay_texts(|more| {
            let mut value: Value = serde_json::from_str(FIRST).unwrap();
            with_texts(&mut value, "", &kept, more);
            let history = SentinelHistory::of([serde_json::from_value(value).unwrap()]).unwrap();
            page(&history, &[ReportSignature::Unsigned])
        });
    }
}
