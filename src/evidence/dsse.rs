//! A report's signature: an in-toto Statement about its digest, in a DSSE envelope.
//!
//! The signature covers the statement, and the statement names the digest of the whole report. An
//! envelope has exactly one valid form, byte for byte, so that no change in it stays unnoticed.
//! Sources: in-toto Attestation Framework, Statement v1; DSSE v1.0.2, protocol and envelope.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    base::digest::sha256,
    evidence::{
        chain::ChainLink,
        keys::{KeyError, PublicKey, Signer},
    },
};

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The predicate type of a report's statement. It only names a format: nothing is fetched from this
/// address.
pub(crate) const DOCUMENT_PREDICATE: &str = "https://emr-etl-guard.example/document/v2";
/// The predicate type of the statement about a run before its launch.
pub(crate) const BEGUN_PREDICATE: &str = "https://emr-etl-guard.example/begun/v1";

/// A DSSE envelope.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: String,
    sig: String,
}

/// An in-toto Statement.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<StatementSubject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatementSubject {
    name: String,
    digest: Digest,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digest {
    sha256: String,
}

/// The statement's predicate: enough to find a report without having it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Predicate {
    /// The run.
    pub(crate) run: String,
    /// When it began, as the report says.
    pub(crate) started: String,
    /// Its place in the chain.
    pub(crate) chain: Option<ChainLink>,
    /// How it ended; absent in the statement before the launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<u8>,
}

impl Statement {
    /// A statement about a subject with this name and digest.
    pub(crate) fn new(
        predicate_type: &str,
        name: &str,
        sha256: String,
        predicate: Predicate,
    ) -> Self {
        Self {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![StatementSubject { name: name.to_owned(), digest: Digest { sha256 } }],
            predicate_type: predicate_type.to_owned(),
            predicate,
        }
    }
}

/// The bytes to sign: DSSE's pre-authentication encoding.
fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Signs a statement. Returns the text of the envelope's file.
///
/// # Errors
/// [`KeyError`] when the key cannot sign.
pub(crate) async fn sign(statement: &Statement, signer: &Signer) -> Result<String, KeyError> {
    let payload =
        serde_json::to_vec(statement).map_err(|error| KeyError::Unusable(error.to_string()))?;
    let signature = signer.sign(&pae(PAYLOAD_TYPE, &payload)).await?;
    let signatures =
        vec![Signature { keyid: signer.public().id().to_owned(), sig: STANDARD.encode(signature) }];
    let envelope = Envelope {
        payload: STANDARD.encode(payload),
        payload_type: PAYLOAD_TYPE.to_owned(),
        signatures,
    };
    written(&envelope).map_err(|error| KeyError::Unusable(error.to_string()))
}

fn written(envelope: &Envelope) -> serde_json::Result<String> {
    Ok(format!("{}\n", serde_json::to_string(envelope)?))
}

/// Why a report does not match its signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mismatch {
    /// There is no envelope to verify.
    #[error("its signature is not an envelope of emr-etl-guard: {0}")]
    NoEnvelope(String),
    /// Another key signed.
    #[error("it was signed by the key {seen}, not by the one given ({wanted})")]
    OtherKey {
        /// The id of the key that signed.
        seen: String,
        /// The id of the expected key.
        wanted: String,
    },
    /// The signature does not match this statement.
    #[error("its signature is not good: what was signed has been changed")]
    Signature,
    /// The report's digest is not the signed one.
    #[error("it has been changed: SHA-256 {seen}, signed was {wanted}")]
    Digest {
        /// The report's digest.
        seen: String,
        /// The digest in the statement.
        wanted: String,
    },
    /// The statement is about something else.
    #[error("what was signed is not about this document: {0}")]
    Other(String),
}

/// Verifies that `envelope` holds a valid signature by `key` about `document`. Returns the
/// statement's predicate.
///
/// # Errors
/// [`Mismatch`].
pub(crate) fn verify(
    document: &[u8],
    envelope: &[u8],
    key: &PublicKey,
) -> Result<Predicate, Mismatch> {
    let statement = open(envelope, key)?;
    let [subject] = statement.subject.as_slice() else {
        return Err(Mismatch::Other(format!("it has {} subjects", statement.subject.len())));
    };
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != DOCUMENT_PREDICATE {
        return Err(Mismatch::Other(format!(
            "it is a {} about a {}",
            statement.kind, statement.predicate_type
        )));
    }
    let seen = sha256(document);
    if seen != subject.digest.sha256 {
        return Err(Mismatch::Digest { seen, wanted: subject.digest.sha256.clone() });
    }
    Ok(statement.predicate)
}

/// The statement in an envelope that `key` signed.
fn open(bytes: &[u8], key: &PublicKey) -> Result<Statement, Mismatch> {
    let no_envelope = |error: &dyn std::fmt::Display| Mismatch::NoEnvelope(error.to_string());
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|error| no_envelope(&error))?;
    // The exact form is verified, too: the signature does not cover the key's id and the text
    // around the payload.
    if written(&envelope).map_err(|error| no_envelope(&error))?.as_bytes() != bytes {
        return Err(no_envelope(
            &"it is not in the form that the guard writes; it has been changed",
        ));
    }
    let [signature] = envelope.signatures.as_slice() else {
        return Err(no_envelope(&format!("{} signatures", envelope.signatures.len())));
    };
    if signature.keyid != key.id() {
        return Err(Mismatch::OtherKey {
            seen: signature.keyid.clone(),
            wanted: key.id().to_owned(),
        });
    }
    let payload = STANDARD.decode(&envelope.payload).map_err(|error| no_envelope(&error))?;
    let sig = STANDARD.decode(&signature.sig).map_err(|error| no_envelope(&error))?;
    if envelope.payload_type != PAYLOAD_TYPE
        || !key.verifies(&pae(&envelope.payload_type, &payload), &sig)
    {
        return Err(Mismatch::Signature);
    }
    serde_json::from_slice(&payload).map_err(|error| Mismatch::Other(error.to_string()))
}

/// The digest that the statement in an envelope names. Its signature is not verified. None if the
/// bytes are not the envelope of a report.
pub(crate) fn claimed_digest(bytes: &[u8]) -> Option<String> {
    let envelope: Envelope = serde_json::from_slice(bytes).ok()?;
    let payload = STANDARD.decode(&envelope.payload).ok()?;
    let statement: Statement = serde_json::from_slice(&payload).ok()?;
    let [subject] = statement.subject.as_slice() else { return None };
    (statement.predicate_type == DOCUMENT_PREDICATE).then(|| subject.digest.sha256.clone())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::evidence::keys::tests::local;
    use proptest::prelude::*;

    fn predicate() -> Predicate {
        let chain =
            ChainLink { id: "c".to_owned(), sequence: 7, previous: None, unrecorded: vec![] };
        Predicate {
            run: "r".to_owned(),
            started: "2026-11-25T16:00:00Z".to_owned(),
            chain: Some(chain),
            exit_code: Some(0),
        }
    }

    pub(crate) fn signed(document: &[u8]) -> (String, PublicKey) {
        let (signer, public) = local(&[7; 32]);
        let statement =
            Statement::new(DOCUMENT_PREDICATE, "report.json", sha256(document), predicate());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        (runtime.block_on(sign(&statement, &signer)).unwrap(), public)
    }

    #[test]
    fn what_is_signed_is_the_encoding_of_dsse() {
        // DSSE v1.0.2, protocol.md, "Test Vectors".
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
    }

    #[test]
    fn what_was_signed_verifies_and_says_what_it_is_about() {
        let (envelope, key) = signed(b"document");
        assert_eq!(verify(b"document", envelope.as_bytes(), &key), Ok(predicate()));
        let (_, other) = local(&[8; 32]);
        assert!(matches!(
            verify(b"document", envelope.as_bytes(), &other),
            Err(Mismatch::OtherKey { .. })
        ));
        assert!(matches!(verify(b"document", b"{}", &key), Err(Mismatch::NoEnvelope(_))));
    }

    #[test]
    fn a_statement_about_a_run_that_has_only_begun_is_none_about_its_document() {
        let (signer, public) = local(&[7; 32]);
        let statement =
            Statement::new(BEGUN_PREDICATE, "report.json", sha256(b"document"), predicate());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let envelope = runtime.block_on(sign(&statement, &signer)).unwrap();
        assert!(matches!(
            verify(b"document", envelope.as_bytes(), &public),
            Err(Mismatch::Other(_))
        ));
    }

    #[test]
    fn an_envelope_in_another_form_does_not_hold_although_its_signature_is_good() {
        let (envelope, key) = signed(b"document");
        for changed in [
            format!(" {envelope}"),
            envelope.trim_end().to_owned(),
            envelope.replace("\"payload\":", "\"payload\": "),
        ] {
            assert!(
                matches!(
                    verify(b"document", changed.as_bytes(), &key),
                    Err(Mismatch::NoEnvelope(_))
                ),
                "{changed}"
            );
        }
    }

    #[test]
    fn each_bit_of_an_envelope_counts() {
        let (envelope, key) = signed(b"document");
        for at in 0..envelope.len() {
            for bit in 0..8 {
                let mut changed = envelope.clone().into_bytes();
                changed[at] ^= 1 << bit;
                assert!(verify(b"document", &changed, &key).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_document_with_any_change_does_not_hold(document in proptest::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, change in 1_u8.., cut: prop::sample::Index) {
            let (envelope, key) = signed(&document);
            prop_assert!(verify(&document, envelope.as_bytes(), &key).is_ok());
            let mut changed = document.clone();
            changed[at.index(document.len())] ^= change;
            let changed = verify(&changed, envelope.as_bytes(), &key);
            let told = matches!(changed, Err(Mismatch::Digest { .. }));
            prop_assert!(told);
            prop_assert!(verify(&document[..cut.index(document.len())], envelope.as_bytes(), &key).is_err());
            prop_assert!(verify(&[document.as_slice(), b"\n"].concat(), envelope.as_bytes(), &key).is_err());
        }
    }
}
