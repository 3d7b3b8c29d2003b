//! A report with its signature, as it is delivered.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    base::{digest::sha256, time_format::rfc3339},
    evidence::{
        chain::ChainLink,
        dsse::{DOCUMENT_PREDICATE, Predicate, Statement},
        retention,
    },
};

/// A report that is being delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedReport {
    /// Its file's name, without an extension.
    pub(crate) name: String,
    /// Its run.
    pub(crate) run: String,
    /// The metadata that the signature will include.
    pub(crate) said: SignatureMetadata,
    /// The text of the report.
    pub(crate) document: String,
    /// Its signature, after it was signed.
    pub(crate) envelope: Option<String>,
}

/// What a signature includes besides the report's digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignatureMetadata {
    pub(crate) started: String,
    pub(crate) exit_code: u8,
    pub(crate) chain: Option<ChainLink>,
}

impl SignedReport {
    pub(crate) fn new(
        run: &str,
        started: OffsetDateTime,
        exit_code: u8,
        chain: Option<&ChainLink>,
        document: String,
    ) -> Self {
        let said =
            SignatureMetadata { started: rfc3339(started), exit_code, chain: chain.cloned() };
        Self {
            name: retention::name(started, run),
            run: run.to_owned(),
            said,
            document,
            envelope: None,
        }
    }

    pub(crate) fn statement(&self) -> Statement {
        let said = self.said.clone();
        let predicate = Predicate {
            run: self.run.clone(),
            started: said.started,
            chain: said.chain,
            exit_code: Some(said.exit_code),
        };
        Statement::new(
            DOCUMENT_PREDICATE,
            &format!("{}.json", self.name),
            sha256(&self.document),
            predicate,
        )
    }

    /// Its files, the signature first.
    pub(crate) fn files(&self) -> impl Iterator<Item = (String, &str)> {
        let signature =
            self.envelope.as_deref().map(|envelope| (format!("{}.json.dsse", self.name), envelope));
        signature.into_iter().chain([(format!("{}.json", self.name), self.document.as_str())])
    }
}
