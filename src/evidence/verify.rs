//! The command `report verify`: whether reports match their signatures, whether any is missing
//! between them, and whether they belong to the expected chains. It makes no network call.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Deserialize;

use crate::{
    base::{
        digest::sha256,
        outcome::Outcome,
        printable::write_escaped_line,
        report_kind::{RUN_REPORT_VERSION, ReportKind, SENTINEL_REPORT_VERSION},
    },
    evidence::{
        chain::ChainLink,
        dsse::{self, Mismatch, Predicate},
        keys::PublicKey,
    },
};

/// What `report verify` takes.
#[derive(Args, Debug)]
pub struct VerifyArguments {
    /// Reports; of several, also that none of a chain is missing between them
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The public key of the signer (PEM)
    ///
    /// Of a key file: openssl pkey -in KEY.pem -pubout -out PUBLIC.pem. Of a KMS key: aws kms
    /// get-public-key, as the error without this option shows it.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The id of an expected chain; once for each of them. A report of another chain, and a chain
    /// without a report, are then errors. Without it all reports must be of one chain
    #[arg(long = "chain", value_name = "ID")]
    pub chains: Vec<String>,
    /// Accept reports of any chains, such as those of several hosts; that a chain has started again
    /// then only shows in what is printed
    #[arg(long, conflicts_with = "chains")]
    pub any_chain: bool,
}

/// The message without `--key`. It has a line for each way to get a key.
const NO_KEY: &str = "\
emr-etl-guard: error: `report verify` needs the public key of the signer: --key PUBLIC.pem
  fix: emr-etl-guard report verify --key PUBLIC.pem report.json
  get it of a key file: openssl pkey -in KEY.pem -pubout -out PUBLIC.pem
  get it of a KMS key: aws kms get-public-key --region REGION --key-id KEY --query PublicKey \
--output text | base64 -d | openssl pkey -pubin -inform DER -out PUBLIC.pem
";

/// The fields of a report that are compared with its signature.
#[derive(Debug, Deserialize)]
struct Head {
    version: u32,
    run: String,
    started: String,
    exit_code: u8,
    chain: Option<ChainLink>,
}

/// A report whose signature was verified.
#[derive(Debug)]
struct VerifiedReport {
    file: String,
    sha256: String,
    run: String,
    started: String,
    chain: Option<ChainLink>,
}

/// The reports of each chain with their places, by the chain's id.
type Chains<'a> = BTreeMap<&'a str, Vec<(&'a ChainLink, &'a VerifiedReport)>>;

/// Why a file was not verified. Of several faults, the last in this order decides the exit code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// It cannot be read.
    Unreadable(String),
    /// It has not the expected form.
    Malformed(String),
    /// It does not match what was signed.
    Broken(String),
}

impl Fault {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Unreadable(_) => Outcome::BadUsage,
            Self::Malformed(_) => Outcome::BadConfig,
            Self::Broken(_) => Outcome::Ended(1),
        }
    }

    fn text(&self) -> &str {
        let (Self::Unreadable(text) | Self::Malformed(text) | Self::Broken(text)) = self;
        text
    }
}

/// Verifies the files. Writes the results to `told` and the errors to `troubles`. Returns the
/// outcome.
pub(crate) fn verify(
    arguments: &VerifyArguments,
    told: &mut String,
    troubles: &mut String,
) -> Outcome {
    let Some(file) = &arguments.key else {
        troubles.push_str(NO_KEY);
        return Outcome::BadUsage;
    };
    let key = match public_key(file) {
        Ok(key) => key,
        Err(error) => {
            write_escaped_line!(troubles, "emr-etl-guard: {error}");
            return Outcome::BadUsage;
        }
    };
    let mut documents = Vec::new();
    let mut faults = Vec::new();
    for file in &arguments.files {
        match one(file, Some(&key)) {
            Ok(document) => documents.push(document),
            Err(fault) => {
                write_escaped_line!(
                    troubles,
                    "emr-etl-guard: {}: {}",
                    file.display(),
                    fault.text()
                );
                faults.push(fault);
            }
        }
    }
    for document in &documents {
        let number = document.chain.as_ref().map_or_else(
            || "in no chain".to_owned(),
            |chain| format!("number {} of chain {}", chain.sequence, chain.id),
        );
        write_escaped_line!(told, "{}: holds: run {}, {number}", document.file, document.run);
    }
    let chains = chains_of(&documents);
    for (id, of_one) in &chains {
        write_escaped_line!(told, "{}", in_words(id, of_one));
    }
    let wrong = missing(&chains).into_iter().map(|fault| fault.text).chain(unexpected(
        &chains,
        &arguments.chains,
        arguments.any_chain,
    ));
    for broken in wrong {
        write_escaped_line!(troubles, "emr-etl-guard: {broken}");
        faults.push(Fault::Broken(broken));
    }
    if faults.is_empty() {
        write_escaped_line!(told, "{} verified, signed by {}", documents.len(), key.id());
    }
    faults.iter().max().map_or(Outcome::Ended(0), Fault::outcome)
}

fn public_key(file: &Path) -> Result<PublicKey, String> {
    let read = std::fs::read(file).map_err(|error| format!("cannot be read: {error}"));
    let key = read.and_then(|text| PublicKey::from_pem(&text).map_err(|error| error.to_string()));
    key.map_err(|error| format!("{} {error}", file.display()))
}

/// Reports of one chain, from which none is missing between the first and the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WholeChain {
    /// The chain's id.
    pub(crate) id: String,
    /// The id of the key that signed each of them; none: no key was given, and the signatures were
    /// not verified.
    pub(crate) signed_by: Option<String>,
    /// Each report: the number in the chain, the report's id, and the SHA-256 of its bytes.
    pub(crate) reports: Vec<(u64, String, String)>,
    /// Reports that were begun and never written, as the report after them says: in words.
    pub(crate) unwritten: Vec<String>,
}

/// Why reports are not one whole chain: the outcome, and each fault in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChainError {
    pub(crate) outcome: Outcome,
    pub(crate) faults: Vec<String>,
}

/// Verifies that `files` are reports of one chain, that none is missing between them, and with
/// `key`, the public key's file, that the signature of each holds.
///
/// # Errors
/// [`ChainError`] with every fault.
pub(crate) fn whole_chain(files: &[PathBuf], key: Option<&Path>) -> Result<WholeChain, ChainError> {
    let failed = |outcome, faults| Err(ChainError { outcome, faults });
    let key = match key.map(public_key).transpose() {
        Ok(key) => key,
        Err(error) => return failed(Outcome::BadUsage, vec![error]),
    };
    let (mut documents, mut faults) = (Vec::new(), Vec::new());
    for file in files {
        match one(file, key.as_ref()) {
            Ok(document) if document.chain.is_none() => faults.push(Fault::Broken(format!(
                "{}: is in no chain: the sentinel had no state directory, and whether a report is \
                 missing is unknown",
                document.file
            ))),
            Ok(document) => documents.push(document),
            Err(fault) => {
                let text = format!("{}: {}", file.display(), fault.text());
                faults.push(match fault {
                    Fault::Unreadable(_) => Fault::Unreadable(text),
                    Fault::Malformed(_) => Fault::Malformed(text),
                    Fault::Broken(_) => Fault::Broken(text),
                });
            }
        }
    }
    let chains = chains_of(&documents);
    let (unwritten, broken): (Vec<_>, Vec<_>) =
        missing(&chains).into_iter().partition(|fault| fault.is_explained);
    faults.extend(broken.into_iter().map(|fault| Fault::Broken(fault.text)));
    faults.extend(unexpected(&chains, &[], false).into_iter().map(Fault::Broken));
    if let Some(worst) = faults.iter().max() {
        let outcome = worst.outcome();
        return failed(outcome, faults.iter().map(|fault| fault.text().to_owned()).collect());
    }
    let Some((id, of_one)) = chains.iter().next() else {
        return failed(Outcome::BadUsage, vec!["no report was given".to_owned()]);
    };
    Ok(WholeChain {
        id: (*id).to_owned(),
        signed_by: key.map(|key| key.id().to_owned()),
        reports: of_one
            .iter()
            .map(|(chain, report)| (chain.sequence, report.run.clone(), report.sha256.clone()))
            .collect(),
        unwritten: unwritten.into_iter().map(|fault| fault.text).collect(),
    })
}

/// The path of a report's signature.
pub(crate) fn signature_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".dsse");
    name.into()
}

/// The kind of a report; that of a run for one that does not say it.
fn kind_of(document: &[u8]) -> ReportKind {
    #[derive(Deserialize)]
    struct Of {
        command: String,
    }
    let of = serde_json::from_slice::<Of>(document);
    of.map_or(ReportKind::Run, |of| ReportKind::of(&of.command))
}

/// Reads a report, and with `key` verifies its signature.
fn one(file: &Path, key: Option<&PublicKey>) -> Result<VerifiedReport, Fault> {
    let read = |file: &Path| {
        std::fs::read(file).map_err(|error| {
            Fault::Unreadable(format!("{} cannot be read: {error}", file.display()))
        })
    };
    let document = read(file)?;
    let version = match kind_of(&document) {
        ReportKind::Run => RUN_REPORT_VERSION,
        ReportKind::Sentinel => SENTINEL_REPORT_VERSION,
        kind @ (ReportKind::Audit | ReportKind::Reencrypt | ReportKind::Setup) => {
            let kind = kind.in_words();
            return Err(Fault::Malformed(format!(
                "is the document of {kind}, and those are not signed; signatures are of runs, \
                 checks, watches and sentinels"
            )));
        }
    };
    let said = match key {
        Some(key) => {
            let envelope = read(&signature_of(file))?;
            let said = dsse::verify(&document, &envelope, key);
            Some(said.map_err(|mismatch| match mismatch {
                Mismatch::NoEnvelope(_) => Fault::Malformed(mismatch.to_string()),
                _ => Fault::Broken(format!("does NOT hold: {mismatch}")),
            })?)
        }
        None => None,
    };
    let head: Head = serde_json::from_slice(&document)
        .map_err(|error| Fault::Malformed(format!("is no document: {error}")))?;
    if head.version != version {
        return Err(Fault::Malformed(format!(
            "is a document of version {}, expected {version}; use the guard of that version",
            head.version
        )));
    }
    let says = Predicate {
        run: head.run.clone(),
        started: head.started,
        chain: head.chain.clone(),
        exit_code: Some(head.exit_code),
    };
    if let Some(said) = said.filter(|said| *said != says) {
        return Err(Fault::Broken(format!(
            "does NOT hold: what was signed is about run {}, the document about run {}",
            said.run, head.run
        )));
    }
    Ok(VerifiedReport {
        file: file.display().to_string(),
        sha256: sha256(&document),
        run: head.run,
        started: says.started,
        chain: head.chain,
    })
}

/// The chains of the reports, each sorted by number and without copies.
fn chains_of(documents: &[VerifiedReport]) -> Chains<'_> {
    let mut chains = Chains::new();
    for document in documents {
        if let Some(chain) = &document.chain {
            chains.entry(&chain.id).or_default().push((chain, document));
        }
    }
    for of_one in chains.values_mut() {
        of_one.sort_by_key(|(chain, _)| chain.sequence);
        of_one.dedup_by(|a, b| a.1.sha256 == b.1.sha256);
    }
    chains
}

/// Describes which numbers of a chain are there, and from when. Whether there are reports before
/// the first or after the last of them is unknown.
fn in_words(id: &str, of_one: &[(&ChainLink, &VerifiedReport)]) -> String {
    let [(first, begun), ..] = of_one else { return String::new() };
    let (last, ended) = of_one.last().copied().unwrap_or((*first, *begun));
    let numbers = if first.sequence == last.sequence {
        format!("number {}", first.sequence)
    } else {
        format!("numbers {} to {}", first.sequence, last.sequence)
    };
    let documents = match of_one.len() {
        1 => "1 document".to_owned(),
        several => format!("{several} documents"),
    };
    let times = if begun.started == ended.started {
        format!("begun {}", begun.started)
    } else {
        format!("begun {} to {}", begun.started, ended.started)
    };
    let earlier = match first.sequence {
        1 => String::new(),
        first => format!("; those before number {first} were not given"),
    };
    format!("chain {id}: {numbers} ({documents}), {times}{earlier}")
}

/// An error in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ChainFault {
    text: String,
    /// A report was never written because its guard died, and the next report says so.
    is_explained: bool,
}

impl ChainFault {
    fn new(text: String) -> Self {
        Self { text, is_explained: false }
    }

    fn explained(text: String) -> Self {
        Self { text, is_explained: true }
    }
}

/// The errors within the chains: missing runs between the reports, and reports that do not fit.
fn missing(chains: &Chains<'_>) -> Vec<ChainFault> {
    let mut wrong = Vec::new();
    for of_one in chains.values() {
        for pair in of_one.windows(2) {
            let [(before, earlier), (chain, later)] = pair else { continue };
            wrong.extend(link(before, earlier, chain, later));
        }
    }
    wrong
}

/// Chains that are there but not expected, and expected chains that are not there. A new chain
/// begins if a state directory is lost, removed or replaced; its reports fit each other, so only
/// this comparison finds it.
fn unexpected(chains: &Chains<'_>, expected: &[String], any: bool) -> Vec<String> {
    if any {
        return Vec::new();
    }
    if expected.is_empty() {
        if chains.len() < 2 {
            return Vec::new();
        }
        let options: Vec<String> = chains.keys().map(|id| format!("--chain {id}")).collect();
        return vec![format!(
            "the documents are of {} chains, and one was expected: where a state directory is \
             lost, removed or replaced, a new chain begins, and no document says which runs it \
             hides; fix: find out why; where each is expected, name it: {}",
            chains.len(),
            options.join(" ")
        )];
    }
    let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    let others = chains.iter().filter(|(id, _)| !expected.contains(**id));
    let others = others.flat_map(|(id, of_one)| {
        of_one.iter().map(move |(_, document)| {
            format!("{} is of the chain {id}, which is not expected", document.file)
        })
    });
    let absent = expected.iter().filter(|id| !chains.contains_key(**id));
    let absent = absent.map(|id| format!("no report of the chain {id} was given"));
    others.chain(absent).collect()
}

/// The errors between two reports that follow each other among the given ones.
fn link(
    before: &ChainLink,
    earlier: &VerifiedReport,
    chain: &ChainLink,
    later: &VerifiedReport,
) -> Vec<ChainFault> {
    let (first, last) = (&earlier.file, &later.file);
    if before.sequence == chain.sequence {
        return vec![ChainFault::new(format!(
            "{first} and {last} both have number {}: the state directory was copied or set back, \
             and there are two chains of one id",
            chain.sequence
        ))];
    }
    // If a run's own guard died, the guard that closed the run writes its report, under a later
    // number.
    let closes = |number: &u64| {
        chain.unrecorded.iter().any(|begun| begun.sequence == *number && begun.run == later.run)
    };
    let unrecorded = |number: u64| chain.unrecorded.iter().find(|begun| begun.sequence == number);
    match &chain.previous {
        Some(previous) if previous.sequence == before.sequence => {
            if previous.sha256 != earlier.sha256 || previous.run != earlier.run {
                return vec![ChainFault::new(format!(
                    "{last} follows another document than {first}: it names run {}, SHA-256 {}; a \
                     document was put in another's place",
                    previous.run, previous.sha256
                ))];
            }
            // Runs that left no report took the numbers between, and this report names them.
            let between = (before.sequence + 1..chain.sequence)
                .filter(|number| !closes(number))
                .map(|number| match unrecorded(number) {
                    Some(begun) => ChainFault::explained(format!(
                        "run {} (number {number}) began and left no document: its guard died; \
                         {last} says so",
                        begun.run
                    )),
                    None => ChainFault::new(format!(
                        "number {number} is missing between {first} and {last}"
                    )),
                });
            between.collect()
        }
        previous => (before.sequence + 1..chain.sequence)
            .filter(|number| !closes(number))
            .map(|number| match (previous, unrecorded(number)) {
                (Some(previous), _) if previous.sequence == number => ChainFault::new(format!(
                    "the document of run {} (number {number}, SHA-256 {}) is missing between \
                         {first} and {last}",
                    previous.run, previous.sha256
                )),
                (_, Some(begun)) => ChainFault::explained(format!(
                    "run {} (number {number}) began and left no document: its guard died; {last} \
                     says so",
                    begun.run
                )),
                _ => ChainFault::new(format!(
                    "the document of number {number} is missing between {first} and {last}"
                )),
            })
            .chain(previous.is_none().then(|| {
                ChainFault::new(format!(
                    "{last} says that there is no document before it, but {first} is"
                ))
            }))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::chain::{BegunRun, PreviousReport};

    fn document(number: u64, previous: Option<u64>, unrecorded: &[u64]) -> VerifiedReport {
        let previous = previous.map(|number| PreviousReport {
            run: format!("run-{number}"),
            sequence: number,
            sha256: format!("digest-{number}"),
        });
        let unrecorded = unrecorded
            .iter()
            .map(|number| BegunRun { run: format!("run-{number}"), sequence: *number })
            .collect();
        let chain =
            Some(ChainLink { id: "one".to_owned(), sequence: number, previous, unrecorded });
        VerifiedReport {
            file: format!("{number}.json"),
            sha256: format!("digest-{number}"),
            run: format!("run-{number}"),
            started: format!("2026-11-{number:02}T04:00:00Z"),
            chain,
        }
    }

    /// The same report in another chain.
    fn of_chain(id: &str, document: VerifiedReport) -> VerifiedReport {
        let chain = document.chain.map(|chain| ChainLink { id: id.to_owned(), ..chain });
        VerifiedReport { chain, file: format!("{id}-{}", document.file), ..document }
    }

    fn chains(documents: &[VerifiedReport]) -> Vec<String> {
        missing(&chains_of(documents)).into_iter().map(|fault| fault.text).collect()
    }

    #[test]
    fn each_chain_is_told_by_its_id_its_numbers_and_its_times() {
        let documents = [
            document(3, Some(2), &[]),
            document(2, Some(1), &[]),
            document(2, Some(1), &[]),
            of_chain("two", document(1, None, &[])),
            VerifiedReport { chain: None, ..document(9, None, &[]) },
        ];
        let told: Vec<String> =
            chains_of(&documents).iter().map(|(id, of_one)| in_words(id, of_one)).collect();
        assert_eq!(
            told,
            [
                "chain one: numbers 2 to 3 (2 documents), begun 2026-11-02T04:00:00Z to \
                 2026-11-03T04:00:00Z; those before number 2 were not given",
                "chain two: number 1 (1 document), begun 2026-11-01T04:00:00Z"
            ]
        );
    }

    #[test]
    fn two_chains_with_a_number_1_each_are_not_one() {
        let one = || [document(1, None, &[]), document(2, Some(1), &[])];
        let two = || of_chain("two", document(1, None, &[]));
        let [first, second] = one();
        let documents = [first, second, two()];
        let all = chains_of(&documents);
        let expect = |ids: &[&str], any| {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            unexpected(&all, &ids, any)
        };
        assert!(
            expect(&[], false)[0]
                .starts_with("the documents are of 2 chains, and one was expected")
        );
        assert_eq!(expect(&["one", "two"], false), [] as [String; 0]);
        assert_eq!(expect(&[], true), [] as [String; 0]);
        assert_eq!(
            expect(&["one"], false),
            ["two-1.json is of the chain two, which is not expected"]
        );
        assert_eq!(
            expect(&["one", "two", "three"], false),
            ["no report of the chain three was given"]
        );
        // Reports in no chain cannot be in an unexpected one.
        let documents =
            [one().into_iter().next().unwrap(), VerifiedReport { chain: None, ..two() }];
        assert_eq!(unexpected(&chains_of(&documents), &[], false), [] as [String; 0]);
    }

    #[test]
    fn a_whole_chain_in_any_order_holds_also_where_it_does_not_begin_at_the_beginning() {
        let whole = [
            document(5, Some(4), &[]),
            document(3, Some(2), &[]),
            document(4, Some(3), &[]),
            document(4, Some(3), &[]),
        ];
        assert_eq!(chains(&whole), Vec::<String>::new());
        let none = VerifiedReport { chain: None, ..document(9, None, &[]) };
        assert_eq!(chains(&[none, document(1, None, &[])]), Vec::<String>::new());
    }

    #[test]
    fn a_missing_run_shows_and_is_named() {
        assert_eq!(
            chains(&[document(1, None, &[]), document(4, Some(3), &[])]),
            [
                "the document of number 2 is missing between 1.json and 4.json",
                "the document of run run-3 (number 3, SHA-256 digest-3) is missing between 1.json \
                 and 4.json"
            ]
        );
        assert_eq!(
            chains(&[document(1, None, &[]), document(3, Some(1), &[2])]),
            ["run run-2 (number 2) began and left no document: its guard died; 3.json says so"]
        );
        assert_eq!(
            chains(&[document(1, None, &[]), document(3, Some(1), &[])]),
            ["number 2 is missing between 1.json and 3.json"]
        );
    }

    #[test]
    fn a_run_that_another_guard_closed_is_not_missing() {
        let closing = VerifiedReport { run: "run-2".to_owned(), ..document(3, Some(1), &[2]) };
        assert_eq!(chains(&[document(1, None, &[]), closing]), Vec::<String>::new());
    }

    #[test]
    fn a_document_in_anothers_place_shows() {
        let other = VerifiedReport { sha256: "other".to_owned(), ..document(1, None, &[]) };
        assert_eq!(
            chains(&[other, document(2, Some(1), &[])]),
            ["2.json follows another document than 1.json: it names run run-1, SHA-256 \
                 digest-1; a document was put in another's place"]
        );
        let fork = VerifiedReport {
            file: "fork.json".to_owned(),
            sha256: "fork".to_owned(),
            ..document(1, None, &[])
        };
        assert!(
            chains(&[document(1, None, &[]), fork])[0]
                .starts_with("1.json and fork.json both have number 1")
        );
        let reset = document(2, None, &[]);
        assert_eq!(
            chains(&[document(1, None, &[]), reset]),
            ["2.json says that there is no document before it, but 1.json is"]
        );
    }
}
