//! A recorded answer of AWS, as `tests/contracts/` stores it.

use std::{collections::BTreeMap, path::Path};

use emr_simulator::Command;
use serde::Deserialize;
use serde_json::Value;

use crate::contracts::{
    form::{Form, form},
    proxy::{Answer, Wanted},
};

/// One answer. What each field means is in `tests/contracts/README.md`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fixture {
    /// The file's name without its ending.
    #[serde(skip)]
    pub(super) name: String,
    pub(super) service: String,
    pub(super) operation: String,
    pub(super) permission: String,
    pub(super) recorded: Recording,
    pub(super) state: String,
    #[serde(default)]
    pub(super) about: Value,
    #[serde(default)]
    pub(super) request: String,
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
    pub(super) expect: Value,
    #[serde(default)]
    pub(super) with: Vec<String>,
    pub(super) world: Vec<Command>,
    #[serde(default)]
    pub(super) not_simulated: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) only_simulated: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) differs: BTreeMap<String, String>,
}

/// Where a recorded answer was published.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recording {
    pub(super) repository: String,
    /// The path of a file, or of a thread: `issues/1222`.
    pub(super) path: String,
    /// Which entry of that file.
    #[serde(default)]
    pub(super) entry: String,
    pub(super) evidence: Evidence,
}

/// How reliable the source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Evidence {
    /// A test suite that records AWS's answers to it.
    Recorded,
    /// A user showed AWS's answer in a public thread.
    Thread,
    /// AWS's documentation shows it as an example's output.
    Example,
}

impl Fixture {
    /// Every fixture, by name.
    pub(super) fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|it| it == "json"))
            .collect();
        files.sort();
        files.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let read = serde_json::from_str(&text);
        let fixture: Self = read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let expected = format!("{}-{}", fixture.service, fixture.operation);
        assert!(name.starts_with(&expected), "{name}: named after another call than {expected}");
        Self { name, ..fixture }
    }

    /// The answer as AWS gives it, with a request id. Every answer of AWS has one; recordings leave
    /// it out, since it is different each time.
    pub(super) fn answer(&self) -> Answer {
        let (status, mut headers) = (self.status, self.headers.clone());
        let name =
            if self.service.starts_with("s3") { "x-amz-request-id" } else { "x-amzn-requestid" };
        headers.entry(name.to_owned()).or_insert_with(|| "RECORDED0REQUEST".to_owned());
        Answer { status, headers, body: self.body.clone().into_bytes() }
    }

    /// The call that it answers.
    pub(super) fn wanted(&self, is_answered: bool) -> Wanted {
        Wanted {
            operation: self.operation.clone(),
            request: self.request.clone(),
            answer: is_answered.then(|| self.answer()),
        }
    }

    fn form_of(&self, answer: &Answer) -> Form {
        let is_content = answer.status < 300
            && matches!(self.operation.as_str(), "GetObject" | "GetBucketPolicy");
        form(answer, &self.headers, is_content)
    }

    /// Lists where the simulator's answer has another form without a given reason, and given
    /// reasons that match no difference.
    pub(super) fn differences(&self, simulated: &Answer) -> Vec<String> {
        let (real, ours) = (self.form_of(&self.answer()), self.form_of(simulated));
        let mut found = Vec::new();
        let mut used = Vec::new();
        let paths: std::collections::BTreeSet<&String> = real.keys().chain(ours.keys()).collect();
        for path in paths {
            let (reasons, what) = match (real.get(path), ours.get(path)) {
                (Some(real), Some(ours)) if real == ours => continue,
                (Some(real), Some(ours)) => (&self.differs, format!("{real:?}, not {ours:?}")),
                (Some(real), None) => (&self.not_simulated, format!("{real:?} is missing")),
                (None, ours) => (&self.only_simulated, format!("{ours:?} is not AWS's")),
            };
            match reasons.keys().find(|reason| covers(reason, path)) {
                Some(reason) => used.push(reason.clone()),
                None => found.push(format!("{path}: {what}")),
            }
        }
        let reasons = [&self.not_simulated, &self.only_simulated, &self.differs];
        for reason in reasons.into_iter().flat_map(|it| it.keys()) {
            if !used.contains(reason) {
                found.push(format!("{reason}: a reason is given, and nothing differs"));
            }
        }
        found
    }
}

/// Whether `path` is the named one or is below it.
fn covers(named: &str, path: &str) -> bool {
    path.strip_prefix(named)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', '/', '@']))
}
