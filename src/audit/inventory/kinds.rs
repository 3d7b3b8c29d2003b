//! The words by which an inventory names encryption, and how many rows are read at once.

use crate::{
    audit::inventory::limits, facts::stored::StoredEncryption, settings::policy::EncryptionKind,
};

/// How many rows are read before other tasks, such as signals, get their turn.
pub(super) const ROWS_AT_ONCE: usize = 8192;

/// How many unknown words are kept at most. S3 uses five words in all.
const MOST_KINDS: usize = 64;

/// The kinds of encryption that inventories name, created once.
#[derive(Debug)]
pub(super) struct Kinds {
    none: StoredEncryption,
    s3: StoredEncryption,
    kms: StoredEncryption,
    dsse: StoredEncryption,
    customer: StoredEncryption,
    others: Vec<StoredEncryption>,
}

impl Kinds {
    pub(crate) fn new() -> Self {
        Self {
            none: StoredEncryption::Unencrypted,
            s3: StoredEncryption::Kind(EncryptionKind::SseS3, None),
            // Inventories do not give the key.
            kms: StoredEncryption::Kind(EncryptionKind::SseKms, None),
            dsse: StoredEncryption::Kind(EncryptionKind::DsseKms, None),
            customer: StoredEncryption::CustomerKey,
            others: Vec::new(),
        }
    }

    /// What an inventory's word means; none where it is empty.
    ///
    /// # Errors
    /// When there are more different words than S3 can have.
    pub(crate) fn of(&mut self, status: &str) -> Result<Option<&StoredEncryption>, String> {
        Ok(Some(match status {
            "" => return Ok(None),
            "NOT-SSE" => &self.none,
            "SSE-S3" => &self.s3,
            "SSE-KMS" => &self.kms,
            "DSSE-KMS" => &self.dsse,
            "SSE-C" => &self.customer,
            other => {
                let known = self.others.iter().position(
                    |stored| matches!(stored, StoredEncryption::Other(name) if name == other),
                );
                let index = match known {
                    Some(index) => index,
                    None if self.others.len() == MOST_KINDS => {
                        return Err(format!(
                            "more than {MOST_KINDS} words for encryption, `{}` the next, which S3 \
                             does not have",
                            limits::excerpt(other)
                        ));
                    }
                    None => {
                        self.others.push(StoredEncryption::Other(other.to_owned()));
                        self.others.len() - 1
                    }
                };
                &self.others[index]
            }
        }))
    }
}
