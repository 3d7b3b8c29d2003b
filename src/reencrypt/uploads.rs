//! Multipart uploads that are open below the locations of a repair, and that its ledger does not
//! contain.
//!
//! They are no objects yet: no listing and no HEAD shows them or their future encryption. They are
//! reported, so that a bucket with them does not look clean. They are never aborted: they may be a
//! writer's in progress. One may also be this tool's own, if the response to its
//! `CreateMultipartUpload` was lost.

use std::collections::BTreeSet;

use aws_sdk_s3::types::{EncodingType, MultipartUpload};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    base::{
        aws_calls,
        lookup::{Lookup, LookupError},
        names::S3Location,
        text::{self, shell_word},
    },
    checks::fix::CommandContext,
    facts::scan::pages::decoded,
    reencrypt::{
        cost::Cost,
        ledger::{Ledger, LedgerError, PAGE},
        machine::state::RepairState,
        place::{ObjectId, shown},
        scope::{RepairLocation, RepairScope},
    },
};

/// The number of uploads of each location that are listed.
const NAMED: usize = 3;

/// The open uploads of one location.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OpenUploads {
    /// `s3://…`.
    pub(crate) location: String,
    /// How many.
    pub(crate) uploads: u64,
    /// The first of them.
    pub(crate) first: Vec<OpenUpload>,
    /// Why the search could not continue.
    pub(crate) obstacle: Option<LookupError>,
}

/// A multipart upload that was neither completed nor aborted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OpenUpload {
    /// The key of its future object.
    pub(crate) key: String,
    /// Its id.
    pub(crate) upload_id: String,
    /// Its initiator: the ARN of a user or of a role's session, or an account's canonical id.
    pub(crate) initiator: Option<String>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<crate::base::time_format::Rfc3339>")]
    pub(crate) begun: Option<OffsetDateTime>,
}

/// Searches for open uploads that `ledger` does not contain. Returns the locations that have some,
/// or that could not be searched.
///
/// # Errors
/// [`LedgerError`] when the ledger cannot be read.
pub(crate) async fn find(
    scope: &RepairScope,
    ledger: Option<&Ledger>,
    spent: &mut Cost,
) -> Result<Vec<OpenUploads>, LedgerError> {
    let known = ledger.map(known).transpose()?.unwrap_or_default();
    let mut all = Vec::new();
    for wanted in &scope.wanted {
        let found = of_location(scope, wanted, &known, spent).await;
        if found.uploads > 0 || found.obstacle.is_some() {
            all.push(found);
        }
    }
    Ok(all)
}

/// The ids of the uploads in the ledger.
fn known(ledger: &Ledger) -> Result<BTreeSet<String>, LedgerError> {
    let mut known = BTreeSet::new();
    let mut after: Option<ObjectId> = None;
    loop {
        let page = ledger.page(after.as_ref(), PAGE, |state| {
            matches!(state, RepairState::Begun { upload: Some(_), .. } | RepairState::Stray { .. })
        })?;
        let Some((last, _)) = page.last() else { return Ok(known) };
        after = Some(last.clone());
        known.extend(page.into_iter().filter_map(|(_, state)| match state {
            RepairState::Begun { upload, .. } => upload,
            RepairState::Stray { upload } => Some(upload),
            _ => None,
        }));
    }
}

/// A page of the listing: its uploads, and the position of the next page.
struct UploadPage {
    uploads: Vec<OpenUpload>,
    next: Option<UploadPosition>,
}

/// Behind this upload.
struct UploadPosition {
    key: String,
    id: String,
}

/// The positions of one listing so far.
#[derive(Default)]
struct SeenPositions {
    key: String,
    /// Of that key.
    ids: BTreeSet<String>,
}

impl SeenPositions {
    /// Whether a listing that has reached this position can continue at the next one: keys ascend,
    /// and no upload of a key comes twice. Source: Amazon S3 API reference, ListMultipartUploads.
    fn goes_on_at(&mut self, next: &UploadPosition) -> bool {
        if next.key > self.key {
            self.key.clone_from(&next.key);
            self.ids.clear();
        }
        next.key == self.key && self.ids.insert(next.id.clone())
    }
}

async fn of_location(
    scope: &RepairScope,
    wanted: &RepairLocation,
    known: &BTreeSet<String>,
    spent: &mut Cost,
) -> OpenUploads {
    let mut found = OpenUploads {
        location: wanted.location.to_string(),
        uploads: 0,
        first: Vec::new(),
        obstacle: None,
    };
    let mut at: Option<UploadPosition> = None;
    let mut seen = SeenPositions::default();
    loop {
        spent.list();
        let page = match page(scope, wanted, at.as_ref()).await {
            Lookup::Found(page) => page,
            // Without a bucket there are no uploads.
            Lookup::Absent => return found,
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
                found.obstacle = Some(obstacle);
                return found;
            }
        };
        for upload in page.uploads {
            if known.contains(&upload.upload_id) {
                continue;
            }
            found.uploads += 1;
            if found.first.len() < NAMED {
                found.first.push(upload);
            }
        }
        match page.next {
            Some(next) if seen.goes_on_at(&next) => at = Some(next),
            Some(_) => {
                // A listing that goes back would never end.
                let call = &aws_calls::LIST_MULTIPART_UPLOADS;
                if let Lookup::Unreachable(obstacle) = Lookup::<()>::expect_in_answer(call, None) {
                    found.obstacle = Some(obstacle);
                }
                return found;
            }
            None => return found,
        }
    }
}

async fn page(
    scope: &RepairScope,
    wanted: &RepairLocation,
    at: Option<&UploadPosition>,
) -> Lookup<UploadPage> {
    let call = &aws_calls::LIST_MULTIPART_UPLOADS;
    let request = scope
        .aws
        .s3_bulk
        .list_multipart_uploads()
        .bucket(wanted.location.bucket.as_str())
        .prefix(&wanted.location.prefix)
        .encoding_type(EncodingType::Url)
        .set_key_marker(at.map(|at| at.key.clone()))
        .set_upload_id_marker(at.map(|at| at.id.clone()));
    Lookup::from_call(call, &["NoSuchBucket"], request.send().await).and_then(|page| {
        let encoded = page.encoding_type == Some(EncodingType::Url);
        let uploads: Option<Vec<OpenUpload>> = page
            .uploads
            .unwrap_or_default()
            .into_iter()
            .map(|upload| open_upload(upload, encoded))
            .collect();
        let next = page
            .next_key_marker
            .zip(page.next_upload_id_marker)
            .map(|(key, id)| UploadPosition { key: decoded(key, encoded), id });
        // S3 also returns the position of the last entry where nothing follows.
        let next = match (page.is_truncated.unwrap_or_default(), next) {
            (false, _) => Some(None),
            (true, next) => next.map(Some),
        };
        Lookup::expect_in_answer(
            call,
            uploads.zip(next).map(|(uploads, next)| UploadPage { uploads, next }),
        )
    })
}

fn open_upload(listed: MultipartUpload, encoded: bool) -> Option<OpenUpload> {
    Some(OpenUpload {
        key: decoded(listed.key?, encoded),
        upload_id: listed.upload_id?,
        initiator: listed.initiator.and_then(|initiator| initiator.id),
        begun: listed
            .initiated
            .and_then(|begun| OffsetDateTime::from_unix_timestamp_nanos(begun.as_nanos()).ok()),
    })
}

impl OpenUploads {
    /// The messages about them; `commands` completes the command that aborts one.
    pub(crate) fn lines(&self, commands: &CommandContext) -> Vec<String> {
        let mut lines = Vec::new();
        if self.uploads > 0 {
            let number = match self.uploads {
                1 => "1 upload in parts is open".to_owned(),
                several => format!("{several} uploads in parts are open"),
            };
            lines.push(format!(
                "{}: {number}: no objects yet, so their encryption was not checked; their parts \
                 are billed until they are completed or aborted",
                self.location
            ));
            lines.extend(self.first.iter().map(|upload| format!("  {}", upload.line())));
            let others = self.uploads - self.first.len() as u64;
            if others > 0 {
                lines.push(format!("  and {others} more"));
            }
            let bucket = S3Location::parse(&self.location);
            let bucket = bucket.as_ref().map_or("BUCKET", |location| location.bucket.as_str());
            lines.push(format!(
                "  fix: ask who began them; abort each that will not be completed by its key and \
                 id (or have a lifecycle rule with AbortIncompleteMultipartUpload do it), and run \
                 this again when the others are completed: aws s3api abort-multipart-upload{} \
                 --bucket {} --key KEY --upload-id ID",
                commands.options("s3api"),
                shell_word(bucket)
            ));
        }
        if let Some(obstacle) = &self.obstacle {
            lines.push(format!(
                "{}: whether uploads in parts are open could not be seen: {} ({})",
                self.location, obstacle.message, obstacle.operation
            ));
        }
        lines
    }
}

impl OpenUpload {
    fn line(&self) -> String {
        let begun = self.begun.map_or_else(|| "at an unknown time".to_owned(), text::shown);
        let who = self.initiator.as_deref().unwrap_or("an unknown initiator");
        format!(
            "{}, begun {begun} by {}, upload id {}",
            shown(&self.key),
            shown(who),
            shown(&self.upload_id)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_uploads_goes_on_only_where_it_has_not_been() {
        let mut seen = SeenPositions::default();
        let mut goes_on = |key: &str, id: &str| {
            seen.goes_on_at(&UploadPosition { key: key.to_owned(), id: id.to_owned() })
        };
        for (key, id, wanted) in [
            ("a", "2", true),
            ("a", "1", true),
            ("a", "2", false),
            ("b", "1", true),
            ("a", "3", false),
            ("b", "1", false),
        ] {
            assert_eq!(goes_on(key, id), wanted, "{key} {id}");
        }
    }

    #[test]
    fn what_is_said_of_open_uploads_names_some_and_counts_all() {
        let upload = |number: u64| OpenUpload {
            key: format!("k/{number}\n"),
            upload_id: format!("id-{number}"),
            initiator: (number > 0).then(|| "arn:aws:iam::1:user/x".to_owned()),
            begun: (number > 0).then_some(OffsetDateTime::UNIX_EPOCH),
        };
        let open = OpenUploads {
            location: "s3://bkt/k/".to_owned(),
            uploads: 5,
            first: (0..3).map(upload).collect(),
            obstacle: None,
        };
        let commands = CommandContext {
            profile: Some("nightly".to_owned()),
            ..CommandContext::in_region("eu-west-1")
        };
        insta::assert_snapshot!(open.lines(&commands).join("\n"), @r"
        s3://bkt/k/: 5 uploads in parts are open: no objects yet, so their encryption was not checked; their parts are billed until they are completed or aborted
          k/0\u{a}, begun at an unknown time by an unknown initiator, upload id id-0
          k/1\u{a}, begun 1970-01-01T00:00:00Z by arn:aws:iam::1:user/x, upload id id-1
          k/2\u{a}, begun 1970-01-01T00:00:00Z by arn:aws:iam::1:user/x, upload id id-2
          and 2 more
          fix: ask who began them; abort each that will not be completed by its key and id (or have a lifecycle rule with AbortIncompleteMultipartUpload do it), and run this again when the others are completed: aws s3api abort-multipart-upload --region eu-west-1 --profile nightly --bucket bkt --key KEY --upload-id ID
        ");
    }
}
