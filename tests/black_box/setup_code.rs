//! The templates that `setup` writes, deployed in a model of the account: that is what the account
//! becomes when the same plan is carried out by `setup --apply`. Nothing is left out on either
//! side: a template's argument without a setting of the account is an error, and whole accounts are
//! compared.

mod account;
mod cloudformation;
mod terraform;

use emr_simulator::{
    BucketEncryption, Command as Set, PublicAccessBlock, PutBucket, PutKey,
    PutSecurityConfiguration, partition_of,
};
use serde_json::{Value, json};

use crate::{
    setup::{APPLY, empty_account, setup, writes},
    support::Stage,
};

use self::account::Resource;
pub(crate) use self::{account::Account, cloudformation::Template, terraform::Code};

const CODE: [&str; 2] = ["--terraform=terraform", "--cloudformation=setup.yml"];

/// A starting state with the templates for it, and what `--apply` makes of it.
struct Compared {
    before: Account,
    applied: Account,
    /// What the template's stack has while what exists is imported; none where nothing is.
    imported: Option<Vec<Resource>>,
    /// What the stack has in the end; none without a template.
    stack: Option<Vec<Resource>>,
    /// What Terraform manages.
    terraform: Vec<Resource>,
}

impl Compared {
    /// Plans as code, and then makes the same live. In a second region, buckets are only in the
    /// Terraform code, and the template is left out.
    fn of(stage: &mut Stage, region: &str, options: &[&str], s3_region: &str) -> Self {
        let partition = partition_of(region);
        let look = |stage: &Stage, before: Option<&Account>| {
            stage.sim.with_world(|world| Account::of(world, region, before))
        };
        let before = look(stage, None);
        let written = writes(stage).len();
        setup(stage, &[options, &CODE].concat()).expect_code(0);
        assert_eq!(writes(stage).len(), written);
        let text = std::fs::read_to_string(stage.path("setup.yml")).unwrap();
        let code = Code::read(&stage.path("terraform"), region, partition);
        setup(stage, &[options, &APPLY].concat()).expect_code(0);
        stage.check().expect_code(0);

        let template = |step| Template::read(&text, step, region, partition);
        let (change, import) = (template("change"), template("import"));
        assert_eq!(code.certificates(), change.certificates());
        // The archive itself is in neither.
        let applied = look(stage, Some(&before));
        let uris: Vec<String> = code.certificates().into_iter().collect();
        let is_new = uris.iter().any(|uri| !before.has_object(uri));
        let applied = if is_new { applied.without_objects(&uris) } else { applied };
        let is_whole = s3_region == region;
        Self {
            before,
            applied,
            imported: (is_whole && import.has_steps()).then(|| import.resources()),
            stack: is_whole.then(|| change.resources()),
            terraform: code.resources(),
        }
    }

    /// Asserts that all agree, and returns how many resources there are: in the template, imported
    /// by it, in the Terraform code, and imported by that.
    fn agrees(&self) -> [usize; 4] {
        let made = |resources: &[Resource]| {
            let deployed = self.before.deployed(resources).unwrap();
            assert_eq!(deployed.differences(&self.applied), [] as [&str; 0]);
            assert!(deployed == self.applied);
        };
        if let Some(imported) = &self.imported {
            assert!(imported.iter().all(|resource| resource.imported.is_some()));
            let deployed = self.before.deployed(imported).unwrap();
            assert_eq!(deployed.differences(&self.before), [] as [&str; 0]);
            assert!(deployed == self.before);
        }
        self.stack.iter().for_each(|stack| made(stack));
        made(&self.terraform);
        assert!(self.before != self.applied);
        let imports = self.terraform.iter().filter(|resource| resource.imported.is_some());
        [
            self.stack.as_ref().map_or(0, Vec::len),
            self.imported.as_ref().map_or(0, Vec::len),
            self.terraform.len(),
            imports.count(),
        ]
    }

    /// Every single value of the templates, changed: which of these changes nobody would notice.
    fn unnoticed(&self) -> Vec<String> {
        let sides = [
            (self.stack.as_ref(), &self.applied),
            (self.imported.as_ref(), &self.before),
            (Some(&self.terraform), &self.applied),
        ];
        let mut unnoticed = Vec::new();
        let mut tried = 0;
        for (resources, expected) in sides {
            for (nth, resource) in resources.into_iter().flatten().enumerate() {
                let whole = Value::Object(resource.arguments.clone());
                for path in leaves(&whole, "") {
                    tried += 1;
                    let mut changed = resources.unwrap().clone();
                    let mut arguments = whole.clone();
                    alter(arguments.pointer_mut(&path).unwrap());
                    changed[nth].arguments = arguments.as_object().unwrap().clone();
                    if self.before.deployed(&changed).as_ref() == Ok(expected) {
                        unnoticed.push(format!("{}{path}", resource.id));
                    }
                }
                // And the whole of it, missing: but for settings that S3 itself gives a new bucket,
                // and the versioning that comes with Object Lock.
                let mut fewer = resources.unwrap().clone();
                fewer.remove(nth);
                let may_be_default = [
                    "aws_s3_bucket_public_access_block",
                    "aws_s3_bucket_server_side_encryption_configuration",
                    "aws_s3_bucket_versioning",
                ]
                .contains(&resource.kind.as_str());
                let is_noticed = self.before.deployed(&fewer).as_ref() != Ok(expected);
                if expected == &self.applied && !may_be_default && !is_noticed {
                    unnoticed.push(resource.id.clone());
                }
            }
        }
        assert!(tried > 100, "{tried}");
        unnoticed
    }
}

/// The JSON pointers of all texts, numbers and truth values within a value.
pub(crate) fn leaves(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                let name = name.replace('~', "~0").replace('/', "~1");
                leaves(value, &format!("{path}/{name}"))
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(nth, item)| leaves(item, &format!("{path}/{nth}")))
            .collect(),
        _ => vec![path.to_owned()],
    }
}

pub(crate) fn alter(value: &mut Value) {
    *value = match &*value {
        Value::Bool(on) => json!(!on),
        Value::Number(number) => json!(number.as_u64().unwrap() + 1),
        Value::String(text) => json!(format!("{text}x")),
        other => json!([other]),
    };
}

/// The account of the scene with what the policy does not accept.
fn weaker() -> Stage {
    let stage = Stage::acme();
    for name in ["acme-log", "acme-raw-in2"] {
        stage.set(Set::PutBucket(PutBucket {
            name: name.to_owned(),
            public_access_settings: Some(PublicAccessBlock {
                block_public_acls: true,
                ..PublicAccessBlock::default()
            }),
            policy: Some(json!({
                "Version": "2012-10-17",
                "Statement": {
                    "Sid": "Auditors", "Effect": "Allow",
                    "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
                    "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{name}/*"),
                },
            })),
            ..PutBucket::default()
        }));
    }
    stage.set(Set::PutKey(PutKey {
        id: "11111111-1111-1111-1111-111111111111".to_owned(),
        aliases: vec!["alias/acme-etl".to_owned()],
        policy: Some(json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Sid": "Administrators", "Effect": "Allow",
                "Principal": {"AWS": [
                    "arn:aws:iam::123456789012:user/snowplow",
                    "arn:aws:iam::123456789012:role/etl/emr-etl-guard",
                ]},
                "Action": "kms:*", "Resource": "*",
            }],
        })),
        ..PutKey::default()
    }));
    stage.set(Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content: json!({"EncryptionConfiguration": {
            "EnableInTransitEncryption": false, "EnableAtRestEncryption": false,
        }}),
        ..PutSecurityConfiguration::default()
    }));
    stage
}

/// Buckets as they were made by hand, and nothing else.
fn buckets_only(stage: &Stage) {
    for name in ["acme-log", "acme-raw-in", "acme-raw-in2", "acme-etl", "acme-out", "acme-archive"]
    {
        stage.set(Set::PutBucket(PutBucket {
            name: name.to_owned(),
            default_encryption: (name != "acme-out").then(BucketEncryption::aes256),
            public_access_block: Some(name != "acme-etl"),
            ..PutBucket::default()
        }));
    }
}

const IRELAND: &str = "eu-west-1";

#[test]
fn code_for_an_empty_account_describes_what_apply_makes_in_every_partition() {
    for region in [IRELAND, "us-gov-west-1", "cn-north-1", "eusc-de-east-1"] {
        let mut stage = empty_account(region);
        let compared = Compared::of(&mut stage, region, &[], region);
        assert_eq!(compared.agrees(), [21, 0, 36, 0], "{region}");
        assert_eq!(compared.unnoticed(), [] as [&str; 0]);
    }
}

#[test]
fn code_for_buckets_in_another_region_describes_what_apply_makes() {
    let mut stage = empty_account(IRELAND)
        .replace("  s3:\n    region: eu-west-1\n", "  s3:\n    region: eu-central-1\n");
    let compared = Compared::of(&mut stage, IRELAND, &[], "eu-central-1");
    assert_eq!(compared.agrees(), [0, 0, 36, 0]);
    assert_eq!(compared.unnoticed(), [] as [&str; 0]);
}

#[test]
fn code_for_an_account_with_buckets_describes_what_apply_makes() {
    let mut stage = empty_account(IRELAND);
    buckets_only(&stage);
    let compared = Compared::of(&mut stage, IRELAND, &[], IRELAND);
    assert_eq!(compared.agrees(), [21, 6, 25, 7]);
    assert_eq!(compared.unnoticed(), [] as [&str; 0]);
}

#[test]
fn code_for_an_account_that_is_weaker_than_the_policy_describes_what_apply_makes() {
    let options = ["--key=alias/acme-etl", "--bucket-encryption=SSE-KMS"];
    let compared = Compared::of(&mut weaker(), IRELAND, &options, IRELAND);
    assert_eq!(compared.agrees(), [12, 9, 17, 12]);
    assert_eq!(compared.unnoticed(), [] as [&str; 0]);
}

#[test]
fn code_for_a_second_pipeline_with_the_same_key_and_buckets_describes_what_apply_makes() {
    let mut stage = empty_account(IRELAND);
    setup(&mut stage, &APPLY).expect_code(0);
    let second = empty_account(IRELAND)
        .replace("EMR_EC2_DefaultRole", "SecondInstances")
        .replace("EMR_DefaultRole", "SecondService");
    stage.config = second.config;
    let compared =
        Compared::of(&mut stage, IRELAND, &["--name=second", "--key=alias/emr-etl"], IRELAND);
    assert_eq!(compared.agrees(), [8, 1, 11, 1]);
    assert_eq!(compared.unnoticed(), [] as [&str; 0]);
}

#[test]
fn code_with_what_the_guard_itself_uses_describes_what_apply_makes_in_every_partition() {
    let options = ["--with=guard-policy,evidence-bucket,alert-topic,event-queue"];
    for region in [IRELAND, "us-gov-west-1", "cn-north-1", "eusc-de-east-1"] {
        let mut stage = empty_account(region);
        let compared = Compared::of(&mut stage, region, &options, region);
        assert_eq!(compared.agrees(), [29, 0, 49, 0], "{region}");
        assert_eq!(compared.unnoticed(), [] as [&str; 0]);
    }
}

#[test]
fn code_that_was_altered_does_not_describe_what_apply_makes() {
    let mut stage = empty_account(IRELAND);
    let compared = Compared::of(&mut stage, IRELAND, &[], IRELAND);
    compared.agrees();
    let text = std::fs::read_to_string(stage.path("setup.yml")).unwrap();
    for (from, to) in [
        ("EnableKeyRotation: true", "EnableKeyRotation: false"),
        ("BucketKeyEnabled: true", "BucketKeyEnabled: false"),
        ("- SSE-C", "- NONE"),
        ("RestrictPublicBuckets: true", "RestrictPublicBuckets: false"),
        ("EnableInTransitEncryption: true", "EnableInTransitEncryption: false"),
        ("aws:SecureTransport", "aws:secureTransport"),
        ("Default: alias/emr-etl", "Default: alias/other"),
        ("elasticmapreduce.amazonaws.com", "ec2.amazonaws.com"),
    ] {
        assert!(text.contains(from), "{from}");
        let altered = Template::read(&text.replacen(from, to, 1), "change", IRELAND, "aws");
        let deployed = compared.before.deployed(&altered.resources());
        assert_ne!(deployed.as_ref(), Ok(&compared.applied), "{from}");
    }
    for (file, from, to) in [
        ("kms.tf", "enable_key_rotation     = true", "enable_key_rotation     = false"),
        ("s3.tf", "bucket_key_enabled       = true", "bucket_key_enabled       = false"),
        ("s3.tf", "\"SSE-C\"", "\"NONE\""),
        ("s3.tf", "block_public_acls       = true", "block_public_acls       = false"),
        ("iam.tf", "elasticmapreduce.amazonaws.com", "ec2.amazonaws.com"),
        ("variables.tf", "\"alias/emr-etl\"", "\"alias/other\""),
    ] {
        let path = stage.path("terraform").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let altered = Code::read(&stage.path("terraform"), IRELAND, "aws");
        std::fs::write(&path, text).unwrap();
        let deployed = compared.before.deployed(&altered.resources());
        assert_ne!(deployed.as_ref(), Ok(&compared.applied), "{from}");
    }
}
