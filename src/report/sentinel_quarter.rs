//! The list of a quarter, for auditors: every cluster that lived in it, as far as a sentinel's
//! reports say, and every time at which it was not known which clusters there were. It never says
//! more than the reports do: what they do not cover is in the list, too.

use std::{fmt, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use serde::Serialize;
use time::{Date, Month, OffsetDateTime};

use crate::{
    base::{
        json::pretty,
        outcome::Outcome,
        printable::{Printable, write_escaped_line},
        time_format::rfc3339,
    },
    evidence::verify::{WholeChain, whole_chain},
    report::{
        html::sentinel::act_word,
        render::{RenderError, conclude, report_files, sentinel_reports},
        sentinel_document::{SentinelCounts, without_session},
        sentinel_history::{SentinelHistory, SightGap},
    },
    sentinel::record::{OpenFinding, SentinelActKind, SentinelCluster},
    system::output::err,
};

/// The version of the JSON form; it increases when a field changes its meaning or is removed.
const VERSION: u32 = 1;

/// What `report quarter` takes.
#[derive(Args, Debug)]
pub struct QuarterArguments {
    /// The quarter, such as 2026Q4, in UTC
    #[arg(value_name = "QUARTER")]
    pub quarter: Quarter,
    /// The reports of one sentinel, or folders with them
    #[arg(required = true, value_name = "FILE|FOLDER")]
    pub files: Vec<PathBuf>,
    /// The public key of the signer (PEM): the signature of each report must hold. Without it the
    /// list says that the signatures were not verified
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The form of the list
    #[arg(long, value_enum, default_value_t)]
    pub format: QuarterFormat,
    /// Where to write it [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// The forms of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum QuarterFormat {
    /// For spreadsheets: one line for each cluster, and one for each time without sight
    #[default]
    Csv,
    /// For programs
    Json,
}

/// A quarter of a year, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarter {
    year: i32,
    /// From 1 to 4.
    number: u8,
}

impl FromStr for Quarter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('Q').and_then(|(year, number)| {
            let is_year = year.len() == 4 && year.bytes().all(|digit| digit.is_ascii_digit());
            let quarter = Self { year: year.parse().ok()?, number: number.parse().ok()? };
            (is_year && number.len() == 1 && (1..=4).contains(&quarter.number)).then_some(quarter)
        });
        parsed.ok_or("is not a quarter; expected a year and a quarter, such as 2026Q4")
    }
}

impl fmt::Display for Quarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Q{}", self.year, self.number)
    }
}

impl Quarter {
    /// Its first moment, and the first one after it.
    fn bounds(self) -> (OffsetDateTime, OffsetDateTime) {
        let begin = |year, number: u8| {
            let month = Month::try_from(3 * (number - 1) + 1).unwrap_or(Month::January);
            let day = Date::from_calendar_date(year, month, 1).unwrap_or(Date::MIN);
            day.midnight().assume_utc()
        };
        let next = match self.number {
            4 => begin(self.year + 1, 1),
            number => begin(self.year, number + 1),
        };
        (begin(self.year, self.number), next)
    }
}

/// The list, in its JSON form.
#[derive(Debug, Serialize)]
struct QuarterList<'a> {
    version: u32,
    guard: &'static str,
    quarter: String,
    #[serde(with = "time::serde::rfc3339")]
    from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    until: OffsetDateTime,
    chain: String,
    /// The id of the key that signed each report; null: the signatures were not verified.
    signed_by: Option<String>,
    reports: Vec<ListedReport>,
    /// It was known at all times of the quarter which clusters there were, in the places that the
    /// reports name.
    complete: bool,
    /// Each place that a report names.
    places: Vec<ListedPlace<'a>>,
    /// The times at which it was not known.
    gaps: Vec<SightGap>,
    /// Reports that were begun and never written.
    unwritten: Vec<String>,
    counts: SentinelCounts,
    clusters: Vec<ListedCluster<'a>>,
}

#[derive(Debug, Serialize)]
struct ListedReport {
    sequence: u64,
    run: String,
    sha256: String,
}

#[derive(Debug, Serialize)]
struct ListedPlace<'a> {
    account: &'a str,
    region: &'a str,
}

/// A cluster, as the last report has it.
#[derive(Debug, Serialize)]
struct ListedCluster<'a> {
    #[serde(flatten)]
    cluster: &'a SentinelCluster,
    /// It has the tag of a guarded run, which is its launcher's own word.
    guarded: bool,
    /// People got an alert that it is unsafe, whatever the last verdict is.
    was_unsafe: bool,
}

impl<'a> QuarterList<'a> {
    /// The part of `history` in the quarter.
    fn of(quarter: Quarter, history: &'a SentinelHistory, chain: WholeChain) -> Self {
        let (from, until) = quarter.bounds();
        let lived = |cluster: &&SentinelCluster| {
            let is_later = cluster.is_over() && cluster.last_seen < from;
            cluster.created < until && !is_later
        };
        let clusters: Vec<&SentinelCluster> = history.clusters.iter().filter(lived).collect();
        let gaps = gaps(history, from, until);
        let reports = chain.reports.into_iter();
        Self {
            version: VERSION,
            guard: env!("CARGO_PKG_VERSION"),
            quarter: quarter.to_string(),
            from,
            until,
            chain: chain.id,
            signed_by: chain.signed_by,
            reports: reports
                .map(|(sequence, run, sha256)| ListedReport { sequence, run, sha256 })
                .collect(),
            complete: gaps.is_empty() && chain.unwritten.is_empty(),
            places: history
                .places()
                .into_iter()
                .map(|(account, region)| ListedPlace { account, region })
                .collect(),
            gaps,
            unwritten: chain.unwritten,
            counts: SentinelCounts::of(clusters.iter().copied()),
            clusters: clusters
                .into_iter()
                .map(|cluster| ListedCluster {
                    cluster,
                    guarded: cluster.run.is_some(),
                    was_unsafe: cluster.has(SentinelActKind::ToldUnsafe),
                })
                .collect(),
        }
    }

    /// The list as CSV. Whatever a cell has, no spreadsheet takes it for a formula.
    fn csv(&self) -> anyhow::Result<String> {
        let mut writer =
            csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
        writer.write_record(COLUMNS)?;
        let mut row =
            |cells: [String; COLUMNS.len()]| writer.write_record(cells.map(|cell| harmless(&cell)));
        for (place, gap) in self.gaps.iter().map(|gap| (gap_place(gap), gap)) {
            let note = if gap.listed_afterwards {
                format!("{}; its clusters were listed afterwards", gap.why)
            } else {
                format!("{}; clusters of this time may be missing here", gap.why)
            };
            row(line("not-seen", place, (gap.from, gap.until), note))?;
        }
        for report in &self.unwritten {
            row(line("no-report", EVERYWHERE, (self.from, self.until), report.clone()))?;
        }
        if self.signed_by.is_none() {
            let note = "the signatures of the reports were not verified: no --key".to_owned();
            row(line("not-verified", EVERYWHERE, (self.from, self.until), note))?;
        }
        for listed in &self.clusters {
            row(listed.cells())?;
        }
        Ok(String::from_utf8(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)?)
    }
}

/// The times of the quarter that no report covers, and those at which a place was not seen.
fn gaps(history: &SentinelHistory, from: OffsetDateTime, until: OffsetDateTime) -> Vec<SightGap> {
    let uncovered = |from, until, why: &str| SightGap {
        account: None,
        region: None,
        from,
        until,
        why: why.to_owned(),
        listed_afterwards: false,
    };
    let mut gaps = Vec::new();
    let (begun, ended) = (history.from(), history.until());
    if begun > from {
        gaps.push(uncovered(from, begun.min(until), "the first of the reports begins later"));
    }
    gaps.extend(history.gaps.iter().filter(|gap| gap.from < until && gap.until > from).map(
        |gap| SightGap { from: gap.from.max(from), until: gap.until.min(until), ..gap.clone() },
    ));
    if ended < until {
        gaps.push(uncovered(ended.max(from), until, "the last of the reports ends earlier"));
    }
    gaps
}

const COLUMNS: [&str; 21] = [
    "row",
    "account",
    "region",
    "cluster",
    "name",
    "from",
    "until",
    "state",
    "verdict",
    "was_unsafe",
    "judged",
    "guarded_run",
    "rule",
    "launcher",
    "launcher_program",
    "security_configuration",
    "release",
    "first_seen",
    "open_checks",
    "acts",
    "note",
];

const EVERYWHERE: (&str, &str) = ("all", "all");

fn gap_place(gap: &SightGap) -> (&str, &str) {
    (gap.account.as_deref().unwrap_or("all"), gap.region.as_deref().unwrap_or("all"))
}

/// A line that is not about a cluster.
fn line(
    row: &str,
    (account, region): (&str, &str),
    (from, until): (OffsetDateTime, OffsetDateTime),
    note: String,
) -> [String; COLUMNS.len()] {
    let mut cells = [const { String::new() }; COLUMNS.len()];
    let filled = [
        ("row", row.to_owned()),
        ("account", account.to_owned()),
        ("region", region.to_owned()),
        ("from", rfc3339(from)),
        ("until", rfc3339(until)),
        ("note", note),
    ];
    for (column, text) in filled {
        if let Some(at) = COLUMNS.iter().position(|known| *known == column) {
            cells[at] = text;
        }
    }
    cells
}

impl ListedCluster<'_> {
    fn cells(&self) -> [String; COLUMNS.len()] {
        let Self { cluster, guarded, was_unsafe } = self;
        let launcher = cluster.launcher.as_ref();
        let word = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let unknown = |text: Option<&str>| text.unwrap_or("unknown").to_owned();
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let open = |open: &OpenFinding| {
            format!("{} {} ({}: {})", open.status, open.check, open.subject, open.seen)
        };
        let acts = cluster.acts.iter().map(|act| {
            let detail =
                if act.detail.is_empty() { String::new() } else { format!(" ({})", act.detail) };
            format!("{} {}{detail}", rfc3339(act.at), act_word(act.what))
        });
        [
            "cluster".to_owned(),
            cluster.account.clone(),
            cluster.region.clone(),
            cluster.id.to_string(),
            cluster.name.clone(),
            rfc3339(cluster.created),
            // While it lives its end is not known.
            if cluster.is_over() { rfc3339(cluster.last_seen) } else { String::new() },
            cluster.state.clone(),
            cluster.verdict.name().to_owned(),
            yes(*was_unsafe),
            cluster.judged.map(rfc3339).unwrap_or_default(),
            yes(*guarded),
            word(cluster.rule.as_deref()),
            unknown(launcher.map(|launcher| without_session(&launcher.arn))),
            unknown(launcher.and_then(|launcher| launcher.program.as_deref())),
            word(cluster.security_configuration.as_deref()),
            word(cluster.release.as_deref()),
            rfc3339(cluster.first_seen),
            cluster.open.iter().map(open).collect::<Vec<_>>().join("; "),
            acts.collect::<Vec<_>>().join("; "),
            String::new(),
        ]
    }
}

/// The signs with which a cell may begin a formula, also after blanks, and their full-width forms.
/// Source: OWASP, "CSV Injection".
const FORMULA_SIGNS: [char; 8] =
    ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// A cell that no spreadsheet takes for a formula: an apostrophe precedes what could be one.
fn harmless(cell: &str) -> String {
    let shown = Printable::from(cell);
    if shown.trim_start().starts_with(FORMULA_SIGNS) {
        format!("'{shown}")
    } else {
        shown.to_string()
    }
}

/// The command `report quarter`. Prints every fault of the reports; a list is written only where
/// there is none.
pub(crate) fn quarter(arguments: &QuarterArguments) -> Outcome {
    let files = match report_files(&arguments.files) {
        Ok(files) => files,
        Err(error) => return conclude(Err(error.into()), None),
    };
    match whole_chain(&files, arguments.key.as_deref()) {
        Ok(chain) => conclude(text(arguments, &files, chain), arguments.out.as_deref()),
        Err(error) => {
            let mut told = String::new();
            write_escaped_line!(
                &mut told,
                "emr-etl-guard: no list of {} was made: the reports are not one whole chain",
                arguments.quarter
            );
            for fault in &error.faults {
                write_escaped_line!(&mut told, "  {fault}");
            }
            write_escaped_line!(
                &mut told,
                "  fix: give every report of the sentinel, unchanged, from first to last"
            );
            err(&told);
            error.outcome
        }
    }
}

fn text(
    arguments: &QuarterArguments,
    files: &[PathBuf],
    chain: WholeChain,
) -> Result<String, RenderError> {
    let history = SentinelHistory::of(sentinel_reports(files)?)?;
    let list = QuarterList::of(arguments.quarter, &history, chain);
    Ok(match arguments.format {
        QuarterFormat::Csv => list.csv()?,
        QuarterFormat::Json => format!("{}\n", pretty(&list).map_err(anyhow::Error::from)?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;
    use crate::report::sentinel_document::{
        UnseenTime,
        tests::{ACCOUNT, cluster, eventful, hours, period, report},
    };
    use crate::sentinel::record::SentinelVerdict;

    fn chain() -> WholeChain {
        WholeChain {
            id: "c1".to_owned(),
            signed_by: Some("key-1".to_owned()),
            reports: vec![(1, "r1".to_owned(), "aa".to_owned())],
            unwritten: Vec::new(),
        }
    }

    const Q4: Quarter = Quarter { year: 2026, number: 4 };

    #[test]
    fn a_quarter_has_its_months() {
        let bounds = |text: &str| text.parse::<Quarter>().map(Quarter::bounds);
        let from = datetime!(2026-10-01 00:00 UTC);
        assert_eq!(bounds("2026Q4"), Ok((from, datetime!(2027-01-01 00:00 UTC))));
        assert_eq!(bounds("2027Q1").unwrap().0, datetime!(2027-01-01 00:00 UTC));
        for text in ["2026q4", "2026Q5", "2026Q0", "26Q1", "Q1", "2026Q", "2026Q04", "+026Q1", ""] {
            assert!(bounds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_list_has_each_cluster_and_each_time_without_sight() {
        let mut other = period(2);
        let mut later = cluster("j-4PASSED", SentinelVerdict::Passed);
        later.state = "TERMINATED".to_owned();
        later.last_seen = hours(8);
        other.clusters = vec![later];
        let history = SentinelHistory::of([report(eventful()), report(other)]).unwrap();
        let list = QuarterList::of(Q4, &history, chain());
        let text = list.csv().unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        let named: Vec<(&str, &str, &str)> =
            rows.iter().map(|row| (&row[0], &row[3], &row[8])).collect();
        assert_eq!(
            named,
            [
                ("not-seen", "", ""),
                ("not-seen", "", ""),
                ("not-seen", "", ""),
                ("cluster", "j-1ENDED", "unsafe"),
                ("cluster", "j-2LIMITED", "unsafe"),
                ("cluster", "j-3UNJUDGED", "unjudged"),
                ("cluster", "j-4PASSED", "passed"),
                ("cluster", "j-5EXCEPTED", "excepted"),
            ]
        );
        // The last report has the end of a cluster; that of one that lives is not known.
        assert_eq!((&rows[6][6], &rows[4][6]), ("2026-11-30T08:00:00Z", ""));
        let value = serde_json::to_value(&list).unwrap();
        assert_eq!(value["counts"]["clusters"]["unsafe"], 2);
        assert_eq!(value["gaps"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_cluster_is_in_each_quarter_in_which_it_lived() {
        let mut before = eventful();
        before.clusters = vec![cluster("j-1", SentinelVerdict::Passed)];
        before.clusters[0].created = datetime!(2026-09-30 23:59 UTC);
        let mut over = before.clusters[0].clone();
        over.id = "j-2".parse().unwrap();
        over.state = "TERMINATED".to_owned();
        over.last_seen = datetime!(2026-09-30 23:59:59 UTC);
        before.clusters.push(over);
        let history = SentinelHistory::of([report(before)]).unwrap();
        let ids = |number| {
            let list = QuarterList::of(Quarter { year: 2026, number }, &history, chain());
            list.clusters.iter().map(|listed| listed.cluster.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids(2), Vec::<String>::new());
        assert_eq!(ids(3), ["j-1", "j-2"]);
        assert_eq!(ids(4), ["j-1"]);
    }

    /// One period over the whole quarter.
    fn whole_quarter(unseen: Vec<UnseenTime>) -> SentinelHistory {
        let mut whole = period(1);
        (whole.started, whole.ended) = Q4.bounds();
        whole.places.insert((ACCOUNT.to_owned(), "eu-west-1".to_owned()), (None, unseen));
        SentinelHistory::of([report(whole)]).unwrap()
    }

    #[test]
    fn a_list_is_complete_only_where_reports_cover_the_whole_quarter_with_sight() {
        let complete =
            |history: &SentinelHistory, chain| QuarterList::of(Q4, history, chain).complete;
        assert!(complete(&whole_quarter(Vec::new()), chain()));
        let unwritten = WholeChain { unwritten: vec!["one".to_owned()], ..chain() };
        assert!(!complete(&whole_quarter(Vec::new()), unwritten));
        let unseen = UnseenTime {
            from: hours(1),
            until: Some(hours(2)),
            why: "denied".to_owned(),
            listed_afterwards: true,
        };
        assert!(!complete(&whole_quarter(vec![unseen]), chain()));
        assert!(!complete(&SentinelHistory::of([report(eventful())]).unwrap(), chain()));
    }

    #[test]
    fn a_cell_that_could_be_a_formula_is_text() {
        for cell in ["=1+1", "+1", "-1", "@SUM(A1)", "  =cmd|' /C calc'!A0", "\u{ff1d}1", "\t=1"] {
            let shown = harmless(cell);
            let is_text = shown.starts_with('\'') || shown.starts_with("\\u{");
            assert!(is_text, "{cell:?}: {shown}");
        }
        assert_eq!(harmless("nightly = good"), "nightly = good");
    }

    proptest! {
        #[test]
        fn no_name_becomes_a_formula_or_another_row(name in ".{0,30}") {
            let mut period = eventful();
            period.clusters.truncate(1);
            period.clusters[0].name = name;
            let history = SentinelHistory::of([report(period)]).unwrap();
            let text = QuarterList::of(Q4, &history, chain()).csv().unwrap();
            let mut rows = csv::Reader::from_reader(text.as_bytes());
            let rows: Vec<csv::StringRecord> = rows.records().collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(rows.iter().filter(|row| &row[0] == "cluster").count(), 1);
            for cell in rows.iter().flatten() {
                prop_assert!(!cell.trim_start().starts_with(FORMULA_SIGNS), "{}", cell);
                prop_assert!(!cell.contains(['\n', '\r', '\t']), "{:?}", cell);
            }
        }
    }
}
