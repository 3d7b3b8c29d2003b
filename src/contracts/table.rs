//! The table of stand-ins in `docs/stand-ins.md`: the evidence for each assumption about a call.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use crate::contracts::{
    calls::{self, NOT_RECORDED, Name},
    fixture::{Evidence, Fixture},
};

const MOTO: &str = "integration/moto/asked.txt";
const LOCALSTACK: &str = "integration/localstack/asked.txt";

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// How `integration/asked.py` writes a call.
fn label((operation, permission): &Name) -> String {
    let control = ["s3:GetAccountPublicAccessBlock", "s3:CreateJob", "s3:DescribeJob"];
    let is_control = control.contains(&permission.as_str())
        || matches!(operation.as_str(), "ListJobs" | "UpdateJobStatus");
    let service = permission.split(':').next().unwrap_or_default();
    let service = if is_control { "s3control" } else { service };
    let version = if permission.ends_with("ObjectVersion") { " of a version" } else { "" };
    format!("{service} {operation}{version}")
}

/// The calls that a stand-in's stage lists.
fn asked(file: &str) -> BTreeSet<String> {
    let text = read(file);
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn table() -> String {
    let fixtures = Fixture::all();
    let (made, recorded) = (calls::made(), calls::recorded(&fixtures));
    let (moto, localstack) = (asked(MOTO), asked(LOCALSTACK));
    let mut rows = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for call in &made {
        let label = label(call);
        let answers = recorded.get(call).map_or(&[][..], Vec::as_slice);
        let best = answers.iter().map(|it| it.recorded.evidence).min();
        let stood = moto.contains(&label) || localstack.contains(&label);
        let rests = match (best, stood) {
            (Some(Evidence::Recorded), _) => "a recording",
            (Some(Evidence::Thread), _) => "an answer in a public thread",
            (Some(Evidence::Example), _) => "an example of AWS's",
            (None, true) => "a stand-in",
            (None, false) => "**documents alone**",
        };
        *counts.entry(rests).or_default() += 1;
        let yes = |yes: bool| if yes { "yes" } else { "" };
        let mut links = String::new();
        for answer in answers {
            let name = answer.name.split_once('-').map_or("", |(_, name)| name);
            let (file, state) = (&answer.name, &answer.state);
            let _ = write!(links, "[{name}](../tests/contracts/{file}.json \"{state}\") ");
        }
        let reason = NOT_RECORDED.iter().find(|it| (it.0, it.1) == (&call.0, &call.1));
        let shown = if links.is_empty() { reason.map_or("", |it| it.2) } else { links.trim() };
        let row = format!(
            "| `{label}` | {shown} | {} | {} | {rests} |",
            yes(moto.contains(&label)),
            yes(localstack.contains(&label)),
        );
        rows.insert(label, row);
    }
    let counts: Vec<String> =
        counts.iter().map(|(what, count)| format!("{count} on {what}")).collect();
    let rows: Vec<&str> = rows.values().map(String::as_str).collect();
    let mut sources: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for recorded in fixtures.iter().map(|it| &it.recorded) {
        let place = format!("- `{}` `{}`", recorded.repository, recorded.path);
        sources.entry(place).or_default().insert(&recorded.entry);
    }
    let sources: Vec<String> = sources
        .into_iter()
        .map(|(place, entries)| {
            let entries: Vec<&str> = entries.into_iter().filter(|it| !it.is_empty()).collect();
            if entries.is_empty() { place } else { format!("{place}: {}", entries.join("; ")) }
        })
        .collect();
    let (number, counts) = (made.len(), counts.join(", "));
    let (rows, sources) = (rows.join("\n"), sources.join("\n"));
    format!(
        "{HEAD}\nOf {number} calls rest: {counts}.\n\n{COLUMNS}\n{rows}\n\n{SOURCES}\n\n{sources}\n"
    )
}

const SOURCES: &str = "## Where the recorded answers are from";

const HEAD: &str = "# What each belief about AWS rests on

<!-- Written by the tests of `src/contracts`: change nothing here by hand. -->

The guard's tests never reach AWS. They run against the simulator in `integration/simulator`, and a
simulator made by the same people can share their errors. This table says, for each call that the
guard makes, who else has confirmed what the guard believes of its answer:

- **Recorded answers** that real AWS gave, in `tests/contracts/`: the guard reads them as it reads
  any answer, its facts are compared with what the answer says, and the simulator must give the
  same answer in the same state, field by field.
- **moto** and **LocalStack**, stand-ins for AWS made by others: `yes` means that the guard asked
  it in `integration/moto` or `integration/localstack`, that it answered without an error, and that
  the run came to the end which that stage expects.

What rests on documents alone is what to look at first in a run against real AWS.
";

const COLUMNS: &str =
    "| call | recorded answers, or why there are none | moto | LocalStack | rests on |
| --- | --- | --- | --- | --- |";

#[test]
fn the_table_of_stand_ins_is_the_one_in_docs() {
    let (wanted, shown) = (table(), read("docs/stand-ins.md"));
    if wanted != shown {
        let place = std::env::temp_dir().join("stand-ins.md");
        std::fs::write(&place, &wanted).unwrap();
        panic!("docs/stand-ins.md is stale; fix: cp {} docs/stand-ins.md", place.display());
    }
}

#[test]
fn stand_ins_were_asked_for_no_call_that_the_guard_does_not_know() {
    let made: BTreeSet<String> = calls::made().iter().map(label).collect();
    for file in [MOTO, LOCALSTACK] {
        let unknown: Vec<String> = asked(file).difference(&made).cloned().collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?} are no calls of the guard's");
    }
}
