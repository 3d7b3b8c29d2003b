//! Owns the reads of buckets: whether a folder is empty, which key is the last, and RDB Loader's
//! log files.

use crate::aws::{Answer, Aws, Failure};
use crate::stop::Stop;

/// Which keys count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// All but folder markers.
    Files,
    /// Clojure collector's log files: `.*localhost\_access\_log.*\.txt.*`.
    TomcatLogs,
    /// Stream Enrich's files: `.*.gz`.
    StreamEnriched,
    /// Keys in a run folder.
    InRunFolder,
}

impl Keys {
    /// Whether `key` counts.
    #[must_use]
    pub fn include(self, key: &str) -> bool {
        if key.ends_with("$folder$") || (key.ends_with('/') && self != Self::InRunFolder) {
            return false;
        }
        match self {
            Self::Files => true,
            Self::TomcatLogs => key
                .split_once("localhost_access_log")
                .is_some_and(|(_, rest)| rest.contains(".txt")),
            Self::StreamEnriched => key.rfind("gz").is_some_and(|place| place > 0),
            Self::InRunFolder => run_id(key).is_some(),
        }
    }
}

/// The run id in a key such as `enriched/good/run=2026-11-22-08-34-15/part-0`.
#[must_use]
pub fn run_id(key: &str) -> Option<&str> {
    let (_, rest) = key.rsplit_once("/run=")?;
    let (id, _) = rest.split_once('/')?;
    let fits = |letter: char| letter.is_ascii_digit() || letter == '-';
    (!id.is_empty() && id.chars().all(fits)).then_some(id)
}

/// The S3 queries for creating the steps.
pub trait Storage {
    /// Whether no key below `location` (an `s3://` path) counts.
    ///
    /// # Errors
    /// A crash, where S3 responds with an error.
    fn is_empty(&mut self, location: &str, keys: Keys) -> Result<bool, Stop>;

    /// The last of the keys below `location` that count, in alphabetical order.
    ///
    /// # Errors
    /// A crash, where S3 responds with an error.
    fn last_key(&mut self, location: &str, keys: Keys) -> Result<Option<String>, Stop>;
}

/// S3 as the runner sees it: path-style, signed for one region.
pub struct S3<'a> {
    aws: &'a Aws,
    region: String,
}

struct Page {
    keys: Vec<String>,
    next: Option<String>,
}

impl<'a> S3<'a> {
    /// A client for buckets in `region`.
    #[must_use]
    pub fn new(aws: &'a Aws, region: &str) -> Self {
        Self { aws, region: region.to_owned() }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// A crash, where S3 responds with an error.
    pub fn get(&self, location: &str) -> Result<Vec<u8>, Stop> {
        let (bucket, key) = split(location);
        let answer = self.send("GetObject", "GET", &path(bucket, key), bucket, key, &[])?;
        Ok(answer.body)
    }

    /// Copies an object within its bucket, without requesting encryption: the bucket's default
    /// decides.
    ///
    /// # Errors
    /// A crash, where S3 responds with an error.
    pub fn copy(&self, location: &str, new_location: &str) -> Result<(), Stop> {
        let (bucket, key) = split(location);
        let (_, new_key) = split(new_location);
        let source = path(bucket, key);
        let headers = [("x-amz-copy-source", source.as_str())];
        self.send("CopyObject", "PUT", &path(bucket, new_key), bucket, new_key, &headers)?;
        Ok(())
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// A crash, where S3 responds with an error.
    pub fn delete(&self, location: &str) -> Result<(), Stop> {
        let (bucket, key) = split(location);
        self.send("DeleteObject", "DELETE", &path(bucket, key), bucket, key, &[])?;
        Ok(())
    }

    fn list(&self, location: &str, token: Option<&str>) -> Result<Page, Stop> {
        let (bucket, prefix) = split(location);
        let target = listing(bucket, prefix, token);
        let answer = self.send("ListObjectsV2", "GET", &target, bucket, prefix, &[])?;
        page(&answer.body)
            .ok_or_else(|| Stop::crash("Seahorse::Client::NetworkingError", "unreadable listing"))
    }

    fn send(
        &self,
        operation: &str,
        method: &str,
        target: &str,
        bucket: &str,
        key: &str,
        extra: &[(&str, &str)],
    ) -> Result<Answer, Stop> {
        let mut headers = vec![
            ("user-agent", "aws-sdk-ruby3/3.96.1 jruby/2.6.8 java aws-sdk-s3/1.66.0"),
            ("accept", "*/*"),
        ];
        headers.extend_from_slice(extra);
        let mut region = self.region.clone();
        let mut attempt = 1;
        loop {
            let subject = format!("{bucket}/{key}");
            self.aws.journal.request("s3", operation, &subject, attempt);
            let sent = self.aws.send("s3", &region, method, target, &headers, b"");
            let status = sent.as_ref().ok().map(|answer| answer.status);
            self.aws.journal.answer(operation, status, None);
            // The SDK tries three more times, with short pauses, and follows redirects to a
            // bucket's region.
            let last = attempt > 3;
            match sent {
                Ok(answer) if answer.status < 300 => return Ok(answer),
                Ok(answer) if answer.status == 301 && !last && answer.bucket_region.is_some() => {
                    region = answer.bucket_region.unwrap_or_default();
                }
                Ok(answer) if answer.status < 500 || last => return Err(refused(&answer)),
                Err(failure) if last => {
                    return Err(Stop::crash("Seahorse::Client::NetworkingError", words(&failure)));
                }
                Ok(_) | Err(_) => {
                    std::thread::sleep(std::time::Duration::from_millis(150 << attempt));
                }
            }
            attempt += 1;
        }
    }
}

impl Storage for S3<'_> {
    fn is_empty(&mut self, location: &str, keys: Keys) -> Result<bool, Stop> {
        let mut token = None;
        loop {
            let page = self.list(location, token.as_deref())?;
            if page.keys.iter().any(|key| keys.include(key)) {
                return Ok(false);
            }
            if page.next.is_none() {
                return Ok(true);
            }
            token = page.next;
        }
    }

    fn last_key(&mut self, location: &str, keys: Keys) -> Result<Option<String>, Stop> {
        let mut last = None;
        let mut token = None;
        loop {
            let page = self.list(location, token.as_deref())?;
            let here = page.keys.into_iter().filter(|key| keys.include(key)).max();
            last = last.max(here);
            if page.next.is_none() {
                return Ok(last);
            }
            token = page.next;
        }
    }
}

/// Bucket and key of an `s3://` path.
fn split(location: &str) -> (&str, &str) {
    let path = location.split_once("://").map_or(location, |(_, path)| path);
    path.split_once('/').unwrap_or((path, ""))
}

fn path(bucket: &str, key: &str) -> String {
    let key: Vec<String> = key.split('/').map(encode).collect();
    format!("/{}/{}", encode(bucket), key.join("/"))
}

/// Percent-encodes all but letters, digits and `-._~`.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Path and query of a listing.
fn listing(bucket: &str, prefix: &str, token: Option<&str>) -> String {
    let token =
        token.map_or_else(String::new, |token| format!("continuation-token={}&", encode(token)));
    format!("/{}?{token}list-type=2&max-keys=50&prefix={}", encode(bucket), encode(prefix))
}

fn page(body: &[u8]) -> Option<Page> {
    let text = std::str::from_utf8(body).ok()?;
    let document = roxmltree::Document::parse(text).ok()?;
    let listing = document.root_element();
    let child = |parent: roxmltree::Node<'_, '_>, name: &str| {
        parent
            .children()
            .find(|node| node.tag_name().name() == name)
            .map(|node| node.text().unwrap_or_default().to_owned())
    };
    if listing.tag_name().name() != "ListBucketResult" {
        return None;
    }
    let truncated = child(listing, "IsTruncated").as_deref() == Some("true");
    Some(Page {
        keys: listing
            .children()
            .filter(|node| node.tag_name().name() == "Contents")
            .filter_map(|contents| child(contents, "Key"))
            .collect(),
        next: child(listing, "NextContinuationToken").filter(|_| truncated),
    })
}

/// S3's error as the Ruby SDK raises it: the class name is derived from the code.
fn refused(answer: &Answer) -> Stop {
    let text = String::from_utf8_lossy(&answer.body);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once('<').map(|(value, _)| value.to_owned())
    };
    let code = element("Code").unwrap_or_else(|| format!("Http{}Error", answer.status));
    let message = element("Message").unwrap_or_default();
    Stop::crash(&format!("Aws::S3::Errors::{code}"), message)
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::TimedOut => "Net::ReadTimeout".to_owned(),
        Failure::ConnectionRefused(text)
        | Failure::ConnectionReset(text)
        | Failure::Other(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Keys, listing, page, path, run_id, split};

    #[test]
    fn an_s3_path_falls_into_bucket_and_key() {
        assert_eq!(split("s3://acme-raw-in/"), ("acme-raw-in", ""));
        assert_eq!(split("s3://acme-out/enriched/good/"), ("acme-out", "enriched/good/"));
        assert_eq!(path("acme-out", "a b/run=1/"), "/acme-out/a%20b/run%3D1/");
    }

    #[test]
    fn a_listing_is_asked_for_as_the_real_program_does() {
        assert_eq!(
            listing("acme-out", "enriched/good/", None),
            "/acme-out?list-type=2&max-keys=50&prefix=enriched%2Fgood%2F"
        );
        assert_eq!(
            listing("acme-raw-in", "", None),
            "/acme-raw-in?list-type=2&max-keys=50&prefix="
        );
    }

    #[test]
    fn folder_markers_never_count() {
        for keys in [Keys::Files, Keys::TomcatLogs, Keys::StreamEnriched] {
            assert!(!keys.include("good/run_$folder$"));
            assert!(!keys.include("localhost_access_log.txt.gz/"));
        }
    }

    #[test]
    fn each_collector_has_its_own_files() {
        let tomcat = "logs/_Tomcat_localhost_access_log.2020-08-21.txt.gz";
        assert!(Keys::TomcatLogs.include(tomcat) && Keys::StreamEnriched.include(tomcat));
        assert!(!Keys::TomcatLogs.include("logs/2020-08-21-raw.lzo"));
        assert!(!Keys::StreamEnriched.include("logs/2020-08-21-raw.lzo"));
    }

    #[test]
    fn a_run_folder_gives_its_run_id() {
        let key = "enriched/good/run=2026-11-22-08-34-15/part-0";
        assert_eq!(run_id(key), Some("2026-11-22-08-34-15"));
        assert_eq!(run_id("enriched/good/part-0"), None);
    }

    #[test]
    fn a_listing_gives_its_keys_unescaped_and_the_token_only_when_truncated() {
        let xml = "<?xml version=\"1.0\"?>\n<ListBucketResult \
            xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <IsTruncated>true</IsTruncated><Contents><Key>a&amp;b</Key></Contents>\
            <NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
        let first = page(xml.as_bytes()).unwrap();
        assert_eq!((first.keys, first.next), (vec!["a&b".to_owned()], Some("t".to_owned())));
        let whole = page(xml.replace("true", "false").as_bytes()).unwrap();
        assert_eq!(whole.next, None);
    }
}
