//! Owns the tests of multipart uploads: checksums of parts and of the whole, and the list of those
//! in progress.

use emr_simulator::{
    Attributes, Checksum, Command, PutBucket, PutObject, PutUpload, Simulator, Sse,
};

use crate::support::{Client, Got, stepped};

const GIB: u64 = 1024 * 1024 * 1024;
const SOURCE: (&str, &str) = ("x-amz-copy-source", "/b/big");

/// A bucket with an object of 6 GiB that was written in two parts.
fn stage(algorithm: &str, kind: &str) -> (Simulator, Client) {
    let sim = stepped();
    sim.apply(Command::PutBucket(PutBucket { name: "b".to_owned(), ..PutBucket::default() }))
        .unwrap();
    let checksum =
        Checksum { algorithm: algorithm.to_owned(), kind: kind.to_owned(), value: String::new() };
    sim.apply(Command::PutObject(PutObject {
        bucket: "b".to_owned(),
        key: "big".to_owned(),
        size: Some(6 * GIB),
        sse: Some(Sse::None),
        parts: Some(2),
        attributes: Attributes { checksum: Some(checksum), ..Attributes::default() },
        ..PutObject::default()
    }))
    .unwrap();
    let client = Client::new(&sim);
    (sim, client)
}

/// An upload of that object onto itself whose two parts are copied.
struct Copied<'a> {
    client: &'a Client,
    id: String,
    /// The `ETag` of each part.
    etags: Vec<String>,
    answers: Vec<Got>,
}

impl<'a> Copied<'a> {
    fn new(client: &'a Client, algorithm: &str, kind: &str) -> Self {
        let wanted = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)];
        let created = client.send("s3", "POST", "/b/big?uploads", &wanted, "").unwrap();
        assert_eq!(created.header("x-amz-checksum-algorithm"), Some(algorithm));
        let id = created.xml("UploadId").unwrap().to_owned();
        let answers: Vec<Got> = (1..=2)
            .map(|number| {
                let range = format!("bytes={}-{}", (number - 1) * 3 * GIB, number * 3 * GIB - 1);
                let headers = [SOURCE, ("x-amz-copy-source-range", range.as_str())];
                client.put(&format!("/b/big?partNumber={number}&uploadId={id}"), &headers, "")
            })
            .collect();
        let etags = answers.iter().map(|it| it.xml("ETag").unwrap().to_owned()).collect();
        Self { client, id, etags, answers }
    }

    /// The checksum of the part in each response.
    fn sums(&self, name: &str) -> Vec<String> {
        self.answers.iter().map(|it| it.xml(name).unwrap().to_owned()).collect()
    }

    /// `sum`: the XML of a part's checksum, by its index.
    fn complete(&self, headers: &[(&str, &str)], sum: impl Fn(usize) -> String) -> Got {
        let parts: Vec<String> = self
            .etags
            .iter()
            .enumerate()
            .map(|(index, etag)| {
                format!(
                    "<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag>{}</Part>",
                    index + 1,
                    sum(index)
                )
            })
            .collect();
        let body = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.concat());
        let path = format!("/b/big?uploadId={}", self.id);
        self.client.send("s3", "POST", &path, headers, &body).unwrap()
    }
}

// Amazon S3 API reference, CompletedPart and CompleteMultipartUpload; the errors are recorded from
// AWS in LocalStack's `test_complete_multipart_parts_checksum_composite` and
// `test_multipart_parts_checksum_exceptions_composite`.
#[test]
fn a_composite_checksum_wants_that_of_each_part_and_is_made_of_them() {
    for algorithm in ["CRC32", "CRC32C", "SHA1", "SHA256"] {
        let (_sim, client) = stage(algorithm, "COMPOSITE");
        let header = format!("x-amz-checksum-{}", algorithm.to_lowercase());
        let look = || client.s3("HEAD", "/b/big", &[("x-amz-checksum-mode", "ENABLED")]);
        let before = look().header(&header).unwrap().to_owned();
        assert!(before.ends_with("-2"), "{before}");
        let copied = Copied::new(&client, algorithm, "COMPOSITE");
        let name = format!("Checksum{algorithm}");
        let sums = copied.sums(&name);
        let listed = client.s3("GET", &format!("/b/big?uploadId={}", copied.id), &[]).body;
        for sum in &sums {
            assert!(listed.contains(&format!("<{name}>{sum}</{name}>")), "{listed}");
        }
        let given = |index: usize| format!("<{name}>{}</{name}>", sums[index]);
        let without = copied.complete(&[], |_| String::new());
        assert_eq!(without.error(), (400, "InvalidRequest".to_owned()));
        assert!(without.body.contains("It was missing for part 1 in the request."));
        let swapped = copied.complete(&[], |index| given(1 - index));
        assert_eq!(swapped.error(), (400, "InvalidPart".to_owned()));
        let other = copied
            .complete(&[], |_| "<ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>".to_owned());
        assert_eq!(other.error(), (400, "BadDigest".to_owned()));
        let mode = copied.complete(&[("x-amz-checksum-type", "FULL_OBJECT")], given);
        assert_eq!(mode.error(), (400, "InvalidRequest".to_owned()));
        let wrong = copied.complete(&[(&header, "AAAA-2")], given);
        assert_eq!(wrong.error(), (400, "BadDigest".to_owned()));
        assert_eq!(copied.complete(&[], given).status, 200);
        let after = look();
        assert_eq!(after.header("x-amz-checksum-type"), Some("COMPOSITE"));
        assert_eq!(after.header(&header), Some(before.as_str()), "the parts are the same");
    }
}

// Amazon S3 user guide, "Checking object integrity", full object checksums: parts need no checksum
// at completion, but a wrong one is refused.
#[test]
fn a_checksum_of_the_whole_needs_none_of_the_parts() {
    let (_sim, client) = stage("CRC32C", "FULL_OBJECT");
    let copied = Copied::new(&client, "CRC32C", "FULL_OBJECT");
    let wrong = copied.complete(&[], |_| "<ChecksumCRC32C>AAAAAA==</ChecksumCRC32C>".to_owned());
    assert_eq!(wrong.error(), (400, "InvalidPart".to_owned()));
    assert_eq!(copied.complete(&[], |_| String::new()).status, 200);
}

// Amazon S3 API reference, ListMultipartUploads: by key, then by creation time; with the
// initiators.
#[test]
fn uploads_under_way_are_listed_below_a_prefix_with_who_began_them_and_when() {
    let (sim, client) = stage("CRC32", "COMPOSITE");
    let put = |key: &str, age: f64| {
        let put = PutUpload {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            initiator: Some("arn:aws:iam::123456789012:user/etl/loader".to_owned()),
            age_seconds: age,
            parts: vec![8 * 1024 * 1024, 1],
        };
        sim.apply(Command::PutUpload(put)).unwrap().id.unwrap()
    };
    let elsewhere = put("x/1", 1.0);
    let (later, earlier) = (put("in/b", 10.0), put("in/b", 20.0));
    let first = put("in/a c", 5.0);
    let mut seen = Vec::new();
    let mut marker = String::new();
    loop {
        let path = format!("/b?uploads&prefix=in/&encoding-type=url&max-uploads=1{marker}");
        let got = client.s3("GET", &path, &[]);
        seen.push((got.xml("Key").unwrap().to_owned(), got.xml("UploadId").unwrap().to_owned()));
        let who = ["ID", "DisplayName"].map(|it| got.xml(it).unwrap().to_owned());
        assert_eq!(who, ["arn:aws:iam::123456789012:user/etl/loader", "loader"]);
        assert!(got.xml("Initiated").unwrap().ends_with('Z'));
        if got.xml("IsTruncated") == Some("false") {
            break;
        }
        let (key, id) = (got.xml("NextKeyMarker").unwrap(), got.xml("NextUploadIdMarker").unwrap());
        marker = format!("&key-marker={key}&upload-id-marker={id}");
    }
    let wanted = [("in/a%20c", first), ("in/b", earlier), ("in/b", later)];
    assert_eq!(seen, wanted.map(|(key, id)| (key.to_owned(), id)));
    let all = client.s3("GET", "/b?uploads", &[]).body;
    assert!(all.contains(&elsewhere) && all.matches("<Upload>").count() == 4);
    let parts = client.s3("GET", &format!("/b/x/1?uploadId={elsewhere}"), &[]).body;
    assert_eq!(parts.matches("<Part>").count(), 2);
}
