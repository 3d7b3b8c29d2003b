//! Owns the tests of S3's writes of buckets and their settings.

use emr_simulator::{AccountBlock, Command, PublicAccessBlock, PutBucket};
use serde_json::{Value, json};

use crate::support::{Client, Got, stepped};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";

fn constraint(region: &str) -> String {
    format!(
        "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint>\
         </CreateBucketConfiguration>"
    )
}

fn is(got: &Got, status: u16, code: &str) {
    assert_eq!(got.error(), (status, code.to_owned()));
}

/// A policy that allows something to a principal.
fn allow(principal: &Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "Allow reads", "Effect": "Allow", "Principal": principal,
        "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::acme-out/*",
    }]})
}

#[test]
fn a_bucket_is_made_where_the_request_goes_and_names_its_region_outside_of_us_east_1() {
    let sim = stepped();
    let here = Client::new(&sim);
    let us = here.in_region("us-east-1");
    assert_eq!(here.put("/new-bucket", &[], &constraint("eu-west-1")).status, 200);
    is(&here.put("/other", &[], ""), 400, "IllegalLocationConstraintException");
    let wrong = here.put("/other", &[], &constraint("us-west-2"));
    is(&wrong, 400, "IllegalLocationConstraintException");
    assert_eq!(us.put("/us-bucket", &[], "").status, 200);
    is(&us.put("/other", &[], &constraint("us-east-1")), 400, "InvalidLocationConstraint");
    is(&us.put("/other", &[], &constraint("foo")), 400, "InvalidLocationConstraint");
    assert_eq!(us.put("/far-bucket", &[], &constraint("us-west-2")).status, 200);
    let region = |name: &str| sim.with_world(|world| world.buckets[name].region.clone());
    assert_eq!(
        ["new-bucket", "us-bucket", "far-bucket"].map(region),
        ["eu-west-1", "us-east-1", "us-west-2"]
    );
    is(&here.put("/Other", &[], &constraint("eu-west-1")), 400, "InvalidBucketName");
    is(&here.put("/10.0.0.1", &[], &constraint("eu-west-1")), 400, "InvalidBucketName");
}

#[test]
fn a_bucket_that_exists_is_an_error_but_for_the_owner_in_us_east_1() {
    let sim = stepped();
    let here = Client::new(&sim);
    let us = here.in_region("us-east-1");
    is(&here.put("/acme-out", &[], &constraint("eu-west-1")), 409, "BucketAlreadyOwnedByYou");
    let other = here.as_key("AKIAOTHER");
    is(&other.put("/acme-out", &[], &constraint("eu-west-1")), 409, "BucketAlreadyExists");
    assert_eq!((us.put("/mine", &[], "").status, us.put("/mine", &[], "").status), (200, 200));
    is(&us.as_key("AKIAOTHER").put("/mine", &[], ""), 409, "BucketAlreadyExists");
}

#[test]
fn a_new_bucket_blocks_public_access_and_sse_c() {
    let sim = stepped();
    let here = Client::new(&sim);
    here.put("/fresh", &[], &constraint("eu-west-1"));
    let rule = here.s3("GET", "/fresh?encryption", &[]);
    assert_eq!(
        (rule.xml("SSEAlgorithm"), rule.xml("EncryptionType")),
        (Some("AES256"), Some("SSE-C"))
    );
    let block = here.s3("GET", "/fresh?publicAccessBlock", &[]);
    assert_eq!(block.body.matches(">true<").count(), 4);
    let owner = here.s3("GET", "/fresh?ownershipControls", &[]);
    assert!(owner.body.contains("BucketOwnerEnforced"));
    assert_eq!(here.s3("GET", "/fresh?versioning", &[]).xml("Status"), None);
    let customer = [("x-amz-server-side-encryption-customer-algorithm", "AES256")];
    is(&here.put("/fresh/x", &customer, "x"), 403, "AccessDenied");
    let lock = [("x-amz-bucket-object-lock-enabled", "true")];
    here.put("/locked", &lock, &constraint("eu-west-1"));
    assert_eq!(here.s3("GET", "/locked?versioning", &[]).xml("Status"), Some("Enabled"));
    assert_eq!(here.s3("GET", "/locked?object-lock", &[]).status, 200);
}

#[test]
fn only_an_empty_bucket_is_deleted() {
    let sim = stepped();
    let here = Client::new(&sim);
    here.put("/fresh", &[], &constraint("eu-west-1"));
    here.put("/fresh/x", &[], "x");
    is(&here.s3("DELETE", "/fresh", &[]), 409, "BucketNotEmpty");
    here.s3("DELETE", "/fresh/x", &[]);
    let other = [("x-amz-expected-bucket-owner", "999999999999")];
    is(&here.s3("DELETE", "/fresh", &other), 403, "AccessDenied");
    assert_eq!(here.s3("DELETE", "/fresh", &[]).status, 204);
    is(&here.s3("DELETE", "/fresh", &[]), 404, "NoSuchBucket");
    let versions = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    here.put("/fresh", &[], &constraint("eu-west-1"));
    here.put("/fresh?versioning", &[], versions);
    here.put("/fresh/x", &[], "x");
    here.s3("DELETE", "/fresh/x", &[]);
    is(&here.s3("DELETE", "/fresh", &[]), 409, "BucketNotEmpty");
}

#[test]
fn default_encryption_is_one_valid_rule_and_is_reset_by_its_deletion() {
    let sim = stepped();
    let here = Client::new(&sim);
    let put = |rule: &str| {
        let body = format!(
            "<ServerSideEncryptionConfiguration>{rule}</ServerSideEncryptionConfiguration>"
        );
        here.put("/acme-out?encryption", &[], &body)
    };
    let by_default = |inside: &str| {
        format!("<ApplyServerSideEncryptionByDefault>{inside}</ApplyServerSideEncryptionByDefault>")
    };
    let kms = by_default(&format!(
        "<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>{KEY}</KMSMasterKeyID>"
    ));
    let blocked = "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType>\
        </BlockedEncryptionTypes>";
    let full = format!("<Rule>{kms}<BucketKeyEnabled>true</BucketKeyEnabled>{blocked}</Rule>");
    assert_eq!(put(&full).status, 200);
    let got = here.s3("GET", "/acme-out?encryption", &[]);
    assert_eq!(
        ["SSEAlgorithm", "KMSMasterKeyID", "BucketKeyEnabled", "EncryptionType"]
            .map(|name| got.xml(name).unwrap()),
        ["aws:kms", KEY, "true", "SSE-C"]
    );
    is(&put(""), 400, "MalformedXML");
    is(&put(&format!("{full}{full}")), 400, "MalformedXML");
    let aes = by_default(&format!(
        "<SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>{KEY}</KMSMasterKeyID>"
    ));
    is(&put(&format!("<Rule>{aes}</Rule>")), 400, "InvalidArgument");
    let des = by_default("<SSEAlgorithm>DES</SSEAlgorithm>");
    is(&put(&format!("<Rule>{des}</Rule>")), 400, "MalformedXML");
    // The key is not looked at.
    let unknown = full.replace("11111111", "22222222");
    assert_eq!(put(&unknown).status, 200);
    let deleted = || here.s3("DELETE", "/acme-out?encryption", &[]).status;
    assert_eq!((deleted(), deleted()), (204, 204));
    let got = here.s3("GET", "/acme-out?encryption", &[]);
    assert_eq!((got.xml("SSEAlgorithm"), got.xml("KMSMasterKeyID")), (Some("AES256"), None));
}

#[test]
fn a_bucket_policy_is_stored_in_aws_own_form_and_deleted_as_often_as_asked() {
    let sim = stepped();
    let here = Client::new(&sim);
    let put = allow(&json!({"AWS": ["123456789012"]}));
    assert_eq!(here.put("/acme-out?policy", &[], &put.to_string()).status, 204);
    let read: Value = here.s3("GET", "/acme-out?policy", &[]).json();
    let statement = &read["Statement"][0];
    let root = json!({"AWS": "arn:aws:iam::123456789012:root"});
    assert_eq!((&statement["Principal"], &statement["Action"]), (&root, &json!("s3:GetObject")));
    assert_eq!(here.put("/acme-out?policy", &[], &read.to_string()).status, 204);
    let status = here.s3("GET", "/acme-out?policyStatus", &[]);
    assert_eq!(status.xml("IsPublic"), Some("false"));
    let delete = || here.s3("DELETE", "/acme-out?policy", &[]).status;
    assert_eq!((delete(), delete()), (204, 204));
    is(&here.s3("GET", "/acme-out?policy", &[]), 404, "NoSuchBucketPolicy");
    is(&here.s3("GET", "/acme-out?policyStatus", &[]), 404, "NoSuchBucketPolicy");
}

#[test]
fn a_bucket_policy_that_aws_would_not_store_is_refused_and_the_old_one_stays() {
    let sim = stepped();
    let here = Client::new(&sim);
    let before = here.s3("GET", "/acme-out?policy", &[]).body;
    let refused = |document: &str, message: &str| {
        let got = here.put("/acme-out?policy", &[], document);
        is(&got, 400, "MalformedPolicy");
        assert_eq!(got.xml("Message"), Some(message));
    };
    let first_byte = "Policies must be valid JSON and the first byte must be '{'";
    refused("", first_byte);
    refused("[]", first_byte);
    refused("{}", "Missing required field Statement");
    let role = |name: &str| json!({"AWS": format!("arn:aws:iam::123456789012:{name}")});
    let unknown = "Invalid principal in policy";
    refused(&allow(&role("role/nobody")).to_string(), unknown);
    refused(&allow(&role("user/nobody")).to_string(), unknown);
    let with = |member: &str, value: Value| {
        let mut document = allow(&role("role/EMR_DefaultRole"));
        document["Statement"][0][member] = value;
        document.to_string()
    };
    refused(&with("Resource", json!("arn:aws:s3:::acme-in/*")), "Policy has invalid resource");
    refused(&with("Action", json!("GetObject")), "Policy has invalid action");
    refused(&with("Foo", json!("x")), "Invalid policy syntax.");
    let long = with("Sid", json!("a".repeat(20_480)));
    refused(&long, "Policy exceeds the maximum allowed document size.");
    assert_eq!(here.s3("GET", "/acme-out?policy", &[]).body, before);
    let good = with("Sid", json!("with spaces"));
    assert_eq!(here.put("/acme-out?policy", &[], &good).status, 204);
    // A principal of an account that is not in this world may exist.
    let foreign = allow(&json!({"AWS": "arn:aws:iam::210987654321:role/theirs"}));
    assert_eq!(here.put("/acme-out?policy", &[], &foreign.to_string()).status, 204);
}

#[test]
fn a_public_policy_needs_block_public_policy_to_be_off_in_bucket_and_account() {
    let sim = stepped();
    let here = Client::new(&sim);
    let put = || here.put("/acme-out?policy", &[], &allow(&json!("*")).to_string());
    let denied = put();
    is(&denied, 403, "AccessDenied");
    assert!(denied.xml("Message").unwrap().contains("BlockPublicPolicy"));
    let block = |settings: &str| {
        let body = format!(
            "<PublicAccessBlockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             {settings}</PublicAccessBlockConfiguration>"
        );
        here.put("/acme-out?publicAccessBlock", &[], &body)
    };
    let restrict = "<RestrictPublicBuckets>true</RestrictPublicBuckets>";
    assert_eq!(block(restrict).status, 200);
    let settings = PublicAccessBlock { block_public_policy: true, ..Default::default() };
    let account = AccountBlock { settings: Some(settings), ..Default::default() };
    sim.apply(Command::SetAccountPublicAccessBlock(account)).unwrap();
    is(&put(), 403, "AccessDenied");
    sim.apply(Command::SetAccountPublicAccessBlock(AccountBlock::default())).unwrap();
    assert_eq!(put().status, 204);
    let status = here.s3("GET", "/acme-out?policyStatus", &[]);
    assert_eq!(status.xml("IsPublic"), Some("true"));
    here.put("/acme-out/x", &[], "x");
    let other = here.as_key("AKIAOTHER");
    is(&other.s3("GET", "/acme-out/x", &[]), 403, "AccessDenied");
    assert_eq!(block("").status, 200);
    assert_eq!(other.s3("GET", "/acme-out/x", &[]).status, 200);
}

#[test]
fn the_four_settings_of_a_public_access_block_are_kept_one_by_one() {
    let sim = stepped();
    let here = Client::new(&sim);
    let names =
        ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
    for on in names {
        let body = format!(
            "<PublicAccessBlockConfiguration><{on}>true</{on}></PublicAccessBlockConfiguration>"
        );
        assert_eq!(here.put("/acme-out?publicAccessBlock", &[], &body).status, 200);
        let got = here.s3("GET", "/acme-out?publicAccessBlock", &[]);
        let set: Vec<&str> =
            names.into_iter().filter(|name| got.xml(name) == Some("true")).collect();
        assert_eq!(set, [on]);
    }
    let delete = || here.s3("DELETE", "/acme-out?publicAccessBlock", &[]).status;
    assert_eq!((delete(), delete()), (204, 204));
    let gone = here.s3("GET", "/acme-out?publicAccessBlock", &[]);
    is(&gone, 404, "NoSuchPublicAccessBlockConfiguration");
    let settings = PublicAccessBlock { block_public_acls: true, ..PublicAccessBlock::default() };
    let put = PutBucket {
        name: "acme-out".to_owned(),
        public_access_settings: Some(settings),
        ..PutBucket::default()
    };
    sim.apply(Command::PutBucket(put)).unwrap();
    let got = here.s3("GET", "/acme-out?publicAccessBlock", &[]);
    assert_eq!(got.body.matches(">true<").count(), 1);
}

#[test]
fn versioning_and_tags_are_put_and_read() {
    let sim = stepped();
    let here = Client::new(&sim);
    let versioning = |status: &str| {
        let body = format!("<VersioningConfiguration>{status}</VersioningConfiguration>");
        here.put("/acme-out?versioning", &[], &body)
    };
    assert_eq!(versioning("<Status>Enabled</Status>").status, 200);
    assert_eq!(here.s3("GET", "/acme-out?versioning", &[]).xml("Status"), Some("Enabled"));
    is(&versioning("<Status>enabled</Status>"), 400, "MalformedXML");
    is(&versioning(""), 400, "IllegalVersioningConfigurationException");
    let lock = [("x-amz-bucket-object-lock-enabled", "true")];
    here.put("/locked", &lock, &constraint("eu-west-1"));
    let suspended = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    is(&here.put("/locked?versioning", &[], suspended), 409, "InvalidBucketState");
    is(&here.s3("GET", "/acme-out?tagging", &[]), 404, "NoSuchTagSet");
    let tag = |key: &str| {
        let body = format!(
            "<Tagging><TagSet><Tag><Key>{key}</Key><Value>v</Value></Tag></TagSet></Tagging>"
        );
        here.put("/acme-out?tagging", &[], &body)
    };
    assert_eq!((tag("one").status, tag("two").status), (204, 204));
    let read = here.s3("GET", "/acme-out?tagging", &[]);
    assert_eq!((read.xml("Key"), read.body.matches("<Tag>").count()), (Some("two"), 1));
    is(&tag("aws:x"), 400, "InvalidTag");
    assert_eq!(here.s3("DELETE", "/acme-out?tagging", &[]).status, 204);
    is(&here.s3("GET", "/acme-out?tagging", &[]), 404, "NoSuchTagSet");
}

#[test]
fn object_lock_needs_versioning_and_stays_on() {
    let sim = stepped();
    let here = Client::new(&sim);
    let put = |bucket: &str, rule: &str| {
        let body = format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}\
             </ObjectLockConfiguration>"
        );
        here.put(&format!("/{bucket}?object-lock"), &[], &body)
    };
    let rule = |inside: &str| format!("<Rule><DefaultRetention>{inside}</DefaultRetention></Rule>");
    let days = rule("<Mode>GOVERNANCE</Mode><Days>30</Days>");
    let get = || here.s3("GET", "/acme-out?object-lock", &[]);
    is(&get(), 404, "ObjectLockConfigurationNotFoundError");
    is(&put("acme-out", &days), 409, "InvalidBucketState");
    let status = |status: &str| {
        let body =
            format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        here.put("/acme-out?versioning", &[], &body)
    };
    status("Suspended");
    is(&put("acme-out", &days), 409, "InvalidBucketState");
    status("Enabled");
    is(&put("no-such-bucket", &days), 404, "NoSuchBucket");
    for wrong in [
        rule("<Mode>GOVERNANCE</Mode>"),
        rule("<Days>30</Days>"),
        rule("<Mode>LEGAL</Mode><Days>30</Days>"),
        rule("<Mode>GOVERNANCE</Mode><Days>30</Days><Years>1</Years>"),
    ] {
        is(&put("acme-out", &wrong), 400, "MalformedXML");
    }
    is(&put("acme-out", &rule("<Mode>GOVERNANCE</Mode><Days>0</Days>")), 400, "InvalidArgument");
    let long = rule("<Mode>GOVERNANCE</Mode><Years>101</Years>");
    is(&put("acme-out", &long), 400, "InvalidArgument");
    let empty = here.put("/acme-out?object-lock", &[], "<ObjectLockConfiguration/>");
    is(&empty, 400, "MalformedXML");

    assert_eq!(put("acme-out", &days).status, 200);
    let got = get();
    assert_eq!((got.xml("Mode"), got.xml("Days")), (Some("GOVERNANCE"), Some("30")));
    is(&status("Suspended"), 409, "InvalidBucketState");
    assert_eq!(put("acme-out", &rule("<Mode>COMPLIANCE</Mode><Years>2</Years>")).status, 200);
    let got = get();
    assert_eq!((got.xml("Mode"), got.xml("Years")), (Some("COMPLIANCE"), Some("2")));
    // Without a rule, new objects get no retention any more.
    assert_eq!(put("acme-out", "").status, 200);
    let got = get();
    assert_eq!((got.status, got.xml("Mode")), (200, None));
}

#[test]
fn a_new_object_gets_the_retention_of_its_bucket() {
    let sim = stepped();
    let here = Client::new(&sim);
    let put = PutBucket {
        name: "kept".to_owned(),
        versioning: Some("Enabled".to_owned()),
        object_lock_days: Some(30),
        ..PutBucket::default()
    };
    sim.apply(Command::PutBucket(put)).unwrap();
    let none = here.put("/kept/report", &[], "x");
    is(&none, 400, "InvalidRequest");
    let checksum = [("x-amz-checksum-crc32", "jNpvkA==")];
    assert_eq!(here.put("/kept/report", &checksum, "x").status, 200);
    let got = here.s3("GET", "/kept/report?retention", &[]);
    assert_eq!(got.xml("Mode"), Some("COMPLIANCE"));
    sim.with_world(|world| {
        let object = &world.buckets["kept"].objects["report"];
        let until = object.attributes.retention.as_ref().unwrap().until;
        assert_eq!(until, world.now + time::Duration::days(30));
    });
}

#[test]
fn every_setting_is_refused_where_another_account_was_expected_to_own_the_bucket() {
    let sim = stepped();
    let here = Client::new(&sim);
    let policy = allow(&json!({"AWS": "123456789012"})).to_string();
    let calls = [
        ("PUT", "encryption", "<Rule></Rule>"),
        ("DELETE", "encryption", ""),
        ("PUT", "policy", policy.as_str()),
        ("DELETE", "policy", ""),
        ("GET", "policyStatus", ""),
        ("PUT", "publicAccessBlock", "<PublicAccessBlockConfiguration/>"),
        ("DELETE", "publicAccessBlock", ""),
        ("PUT", "object-lock", "<ObjectLockConfiguration/>"),
        ("PUT", "versioning", "<Status>Enabled</Status>"),
        ("PUT", "tagging", "<Tagging/>"),
        ("GET", "tagging", ""),
    ];
    let owner = |owner| [("x-amz-expected-bucket-owner", owner)];
    for (method, what, body) in calls {
        let path = format!("/acme-out?{what}");
        let call = |owner: &[(&str, &str)]| here.send("s3", method, &path, owner, body).unwrap();
        is(&call(&owner("999999999999")), 403, "AccessDenied");
        is(&call(&owner("acme")), 400, "InvalidBucketOwnerAWSAccountID");
        assert_ne!(call(&owner("123456789012")).status, 403, "{method} {what}");
    }
}

#[test]
fn another_account_changes_no_bucket() {
    let sim = stepped();
    let other = Client::new(&sim).as_key("AKIAOTHER");
    for what in ["", "?encryption", "?policy", "?publicAccessBlock"] {
        is(&other.s3("DELETE", &format!("/acme-out{what}"), &[]), 403, "AccessDenied");
    }
}
