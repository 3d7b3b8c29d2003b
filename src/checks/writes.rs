//! Checks on the objects that this run will write: how each will be encrypted, by its writer and by
//! the bucket's settings.
//!
//! A request's own header overrides the bucket's default. s3-dist-cp and Spark send the header of
//! the security configuration's S3 part. EMR's logs, RDB Loader and the runner send none.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum as _;

use crate::{
    base::{
        aws_calls,
        lookup::Lookup,
        names::{KeyReference, partition},
        printable::Printable,
    },
    checks::{
        buckets,
        case::Case,
        finding::{Check, CheckSubject, Finding, Level, Stage},
        keys, security_configuration,
    },
    facts::{
        emr::S3AtRest,
        iam_policy::{self, AccessRequest, PolicyDecision},
        s3::{BucketFacts, DefaultEncryption},
    },
    settings::policy::{self, EncryptionKind, Protection},
    spec::data_paths::{Actor, DataLocation, WriteProtection},
};

pub(super) static WRITTEN: Check = Check {
    name: "written-encryption",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Each location is written by somebody else: some ask for encryption in the request, some \
        leave it to the bucket. Only both together say what the objects will be.",
    looks_at: "Who writes to each location of this run and by which connector (EMRFS, or S3A from \
        EMR 7.10.0 on), the security configuration's S3 part with its overrides, and \
        s3:GetBucketEncryption; against `accept_encryption` and `expected_keys`. Of a cluster that \
        runs already, only the security configuration's S3 part.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION, &aws_calls::GET_BUCKET_ENCRYPTION],
    fix: "for what s3-dist-cp and Spark write: EncryptionMode and AwsKmsKey in a new security \
        configuration; for the rest: the default encryption of the bucket, as \
        bucket-default-encryption says",
    source: "S3DistCp (s3-dist-cp), --s3ServerSideEncryption; Amazon S3 user guide, Setting \
        default server-side encryption; EmrEtlRunner, emr_job.rb",
};

pub(super) static DOWNGRADE: Check = Check {
    name: "no-silent-downgrade",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Where a bucket's default is a KMS key and the security configuration says SSE-S3, the \
        request for AES256 wins: the objects end under S3's own keys, silently.",
    looks_at: "s3:GetBucketEncryption on each bucket that s3-dist-cp or Spark writes to, against \
        the security configuration's S3 part and its overrides.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION, &aws_calls::GET_BUCKET_ENCRYPTION],
    fix: "use EncryptionMode SSE-KMS with the bucket's key in a new security configuration (or an \
        override for {subject}), or make the bucket's default AES256 if that is meant",
    source: "Amazon S3 user guide, Setting default server-side encryption (the request's header \
        takes precedence)",
};

pub(super) static POLICY_CLASH: Check = Check {
    name: "bucket-policy-clash",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A bucket policy that demands aws:kms, a certain key, or any encryption header denies \
        writers that send something else: the run fails half-way, with data in between.",
    looks_at: "s3:GetBucketPolicy on each bucket that this run writes to, held against each \
        writer's own request.",
    asks: &[&aws_calls::GET_BUCKET_POLICY],
    fix: "except the writer from the statement, or have it send what the statement demands (the \
        security configuration decides for s3-dist-cp and Spark)",
    source: "Amazon S3 user guide, Protecting data with server-side encryption (bucket policies); \
        AWS IAM user guide, Policy evaluation logic",
};

pub(super) static OVERRIDES: Check = Check {
    name: "security-configuration-overrides",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "An override gives one bucket another encryption than the rest: one that is incomplete \
        or names a weaker mode undoes what the main mode promises.",
    looks_at: "S3EncryptionConfiguration.Overrides of the security configuration.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION],
    fix: "give the override a BucketName, an EncryptionMode and, for KMS, an AwsKmsKey, in a new \
        security configuration",
    source: "Amazon EMR management guide, Create a security configuration (per bucket encryption \
        overrides)",
};

/// The fix for an unknown connector.
const USE_A_KNOWN_CONNECTOR: &str = "remove fs.s3.impl, fs.s3n.impl and \
    fs.s3a.emrfs.compatibility.enable from aws.emr.configuration, or set both fs.s3.impl and \
    fs.s3n.impl in core-site to com.amazon.ws.emr.hadoop.fs.EmrFileSystem (before emr-spark-8)";

/// The encryption header of a write request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Header {
    /// `AES256`.
    SseS3,
    /// `aws:kms`, with its key.
    SseKms(Option<KeyReference>),
    /// None; the objects are encrypted on the client side.
    ClientSide(String),
    /// None.
    None,
}

/// The header that an actor sends, by the S3 part of the security configuration.
fn header(actor: Actor, s3: Option<&S3AtRest>, bucket: &str) -> Header {
    let emrfs = |absent: Header| {
        let Some(s3) = s3 else { return absent };
        let other = s3.overrides.iter().find(|other| other.bucket == bucket);
        let (mode, key) =
            other.map_or((s3.mode.as_str(), &s3.key), |other| (other.mode.as_str(), &other.key));
        match mode {
            "SSE-S3" => Header::SseS3,
            "SSE-KMS" => Header::SseKms(key.clone()),
            other if other.starts_with("CSE-") => Header::ClientSide(other.to_owned()),
            _ => absent,
        }
    };
    match actor.protection() {
        // The flag alone sets AES256.
        WriteProtection::Flag => emrfs(Header::SseS3),
        WriteProtection::SecurityConfiguration => emrfs(Header::None),
        WriteProtection::BucketDefault => Header::None,
    }
}

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let mut writes = Vec::new();
    for location in &case.paths.locations {
        let actors: BTreeSet<Actor> = case.paths.plan.writers(&location.role);
        match case.facts.buckets.get(location.bucket()) {
            Some(facts) => {
                writes.extend(actors.into_iter().map(|actor| Write { location, actor, facts }));
            }
            // Buckets that the policy calls external are not looked up.
            None => findings.extend(actors.into_iter().map(|actor| {
                let subject = WRITTEN
                    .on(format!("{} by {actor}", location.role), "a bucket of one's own")
                    .at(Some(&location.at));
                subject.failed(format!(
                    "{}, which the setting `external_buckets` says is only read",
                    location.bucket()
                ))
            })),
        }
    }
    for check in [&WRITTEN, &DOWNGRADE, &POLICY_CLASH] {
        if writes.is_empty() {
            findings.push(
                check
                    .on("locations", "what is written")
                    .not_applicable("this run writes nothing to a bucket of its own"),
            );
        }
    }
    findings.extend(writes.iter().map(|write| write.encryption(case)));
    let mut downgraded: BTreeMap<&str, Finding> = BTreeMap::new();
    for write in
        writes.iter().filter(|write| write.actor.protection() != WriteProtection::BucketDefault)
    {
        let finding = write.downgrade(case);
        let kept =
            downgraded.entry(write.location.bucket().as_str()).or_insert_with(|| finding.clone());
        if finding.is_open() && !kept.is_open() {
            *kept = finding;
        }
    }
    findings.extend(downgraded.into_values());
    findings.extend(writes.iter().map(|write| write.clash(case)));
    overrides(case, findings);
}

/// What a running cluster writes to S3 by its security configuration, where the policy names keys
/// or does not accept every kind of encryption. Its locations are not known, so its main mode and
/// each override are judged; what leaves the encryption to a bucket is not.
pub(super) fn of_configuration(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let all_kinds = EncryptionKind::value_variants();
    if case.policy.expected_keys.is_empty()
        && all_kinds.iter().all(|kind| case.policy.accept_encryption.contains(kind))
    {
        return;
    }
    let subject = |of: &str| WRITTEN.on(of, buckets::wanted(case));
    let found = case.facts.security_configuration.as_ref().and_then(Lookup::found);
    let Some(found) = found else {
        let finding = subject("security configuration");
        findings.push(finding.waiting_for(&security_configuration::EXISTS));
        return;
    };
    let Some(s3) = found.content.s3.as_ref().filter(|_| found.content.at_rest_enabled) else {
        let finding = subject(&found.name);
        findings.push(if case.policy.requires(Protection::S3AtRest) {
            finding.waiting_for(&security_configuration::S3_AT_REST)
        } else {
            finding.unknown(
                "it says nothing of S3, and the cluster's buckets are not known",
                "encrypt S3 in a new security configuration, or leave `expected_keys` out of the \
                 rule for such clusters",
            )
        });
        return;
    };
    findings.push(by_mode(case, subject(&found.name), &s3.mode, s3.key.as_ref()));
    for other in &s3.overrides {
        let subject = subject(&format!("{}, override for {}", found.name, other.bucket));
        findings.push(by_mode(case, subject, &other.mode, other.key.as_ref()));
    }
}

/// Judges a mode of the S3 part with its key.
fn by_mode(
    case: &Case<'_>,
    subject: CheckSubject,
    mode: &str,
    key: Option<&KeyReference>,
) -> Finding {
    let accepts = |kind| buckets::is_accepted(case, kind, None);
    let shown = key.map_or_else(|| mode.to_owned(), |key| format!("{mode} under {key}"));
    let by_kms = case.policy.accept_encryption.contains(&EncryptionKind::SseKms);
    match (mode, key) {
        ("SSE-S3", _) => subject.decided(accepts(EncryptionKind::SseS3), shown),
        ("SSE-KMS", None) => subject.decided(accepts(EncryptionKind::SseKms), shown),
        ("SSE-KMS", Some(key)) if by_kms => keys::by_expected(case, subject, shown, key),
        ("CSE-KMS", Some(key)) => keys::by_expected(case, subject, shown, key),
        ("CSE-Custom", _) => subject.passed("CSE-Custom: encrypted on the cluster"),
        _ => subject.failed(shown),
    }
}

/// One writer at one location.
struct Write<'a> {
    location: &'a DataLocation,
    actor: Actor,
    facts: &'a BucketFacts,
}

impl Write<'_> {
    fn on(&self, check: &'static Check, wanted: impl Into<Printable>) -> CheckSubject {
        check
            .on(format!("{} by {}", self.location.role, self.actor), wanted)
            .at(Some(&self.location.at))
    }

    /// Decides by the request's header. If that depends on an unknown security configuration, the
    /// finding waits for it.
    fn by_header(
        &self,
        case: &Case<'_>,
        subject: CheckSubject,
        decide: impl FnOnce(CheckSubject, Header) -> Finding,
    ) -> Finding {
        let bucket = self.location.bucket().as_str();
        if self.actor.protection() == WriteProtection::BucketDefault {
            return decide(subject, Header::None);
        }
        match &case.facts.security_configuration {
            Some(lookup) => {
                subject.after(&security_configuration::EXISTS, lookup, |subject, found| {
                    let s3 = found.content.s3.as_ref().filter(|_| found.content.at_rest_enabled);
                    decide(subject, header(self.actor, s3, bucket))
                })
            }
            None => subject.waiting_for(&security_configuration::EXISTS),
        }
    }

    /// Why the request's header is unknown, independently of the security configuration.
    fn untold(&self, case: &Case<'_>) -> Option<&'static str> {
        let connector = case.cluster.s3_connector();
        connector.untold().filter(|_| self.actor.protection() != WriteProtection::BucketDefault)
    }

    fn encryption(&self, case: &Case<'_>) -> Finding {
        let subject = self.on(&WRITTEN, buckets::wanted(case));
        if let Some(why) = self.untold(case) {
            return subject.unknown(why, USE_A_KNOWN_CONNECTOR);
        }
        self.by_header(case, subject, |subject, header| {
            let judge = |subject: CheckSubject,
                         kind: EncryptionKind,
                         key: Option<&KeyReference>,
                         by: &str| {
                let shown = key.map_or_else(String::new, |key| format!(" under {key}"));
                let accepted = buckets::is_accepted(case, kind, key);
                subject.decided(accepted, format!("{}{shown}, {by}", policy::kind_name(kind)))
            };
            match header {
                Header::SseS3 => judge(subject, EncryptionKind::SseS3, None, "by its request"),
                Header::SseKms(key) => {
                    judge(subject, EncryptionKind::SseKms, key.as_ref(), "by its request")
                }
                Header::ClientSide(mode) => {
                    subject.passed(format!("{mode}: encrypted on the cluster before it is sent"))
                }
                Header::None => subject.after(
                    &buckets::DEFAULT_ENCRYPTION,
                    &self.facts.default_encryption,
                    |subject, default| match default {
                        DefaultEncryption::Kind { kind, key } => {
                            let key = key.as_deref().map(KeyReference::new);
                            judge(subject, *kind, key.as_ref(), "by the bucket's default")
                        }
                        DefaultEncryption::None => subject.failed(
                            "nothing: neither its request nor the bucket asks for encryption",
                        ),
                        DefaultEncryption::Other(kind) => subject
                            .failed(format!("the unknown kind `{kind}`, by the bucket's default")),
                    },
                ),
            }
        })
    }

    fn downgrade(&self, case: &Case<'_>) -> Finding {
        let subject = DOWNGRADE
            .on(
                self.location.bucket().as_str(),
                "objects encrypted as the bucket's default says, or better",
            )
            .at(Some(&self.location.at));
        if self.untold(case).is_some() {
            return subject.waiting_for(&WRITTEN);
        }
        self.by_header(case, subject, |subject, header| {
            subject.after(
                &buckets::DEFAULT_ENCRYPTION,
                &self.facts.default_encryption,
                |subject, default| match (header, default) {
                    (
                        Header::SseS3,
                        DefaultEncryption::Kind {
                            kind: kind @ (EncryptionKind::SseKms | EncryptionKind::DsseKms),
                            ..
                        },
                    ) => subject.failed(format!(
                        "{} asks for SSE-S3, against the default {}",
                        self.actor,
                        policy::kind_name(*kind)
                    )),
                    (
                        Header::SseKms(_),
                        DefaultEncryption::Kind { kind: EncryptionKind::DsseKms, .. },
                    ) => subject.failed(format!(
                        "{} asks for SSE-KMS, against the default DSSE-KMS",
                        self.actor
                    )),
                    _ => subject.passed("no request asks for less than the default"),
                },
            )
        })
    }

    fn clash(&self, case: &Case<'_>) -> Finding {
        let subject = self.on(&POLICY_CLASH, "a bucket policy that lets it write");
        if self.untold(case).is_some() {
            return subject.waiting_for(&WRITTEN);
        }
        let caller = match self.actor {
            Actor::Runner => case.facts.runner.found().map(|identity| identity.arn.as_str()),
            _ => case.facts.role.found().map(|role| role.arn.as_str()),
        };
        self.by_header(case, subject, |subject, header| {
            subject.by_existing(&buckets::EXISTS, &self.facts.policy, |subject, policy| {
                let Some(policy) = policy else { return subject.passed("no bucket policy") };
                let arn = format!(
                    "arn:{}:s3:::{}/{}",
                    partition(&case.paths.region.value),
                    self.location.bucket(),
                    format_args!("{}an-object", self.location.location.prefix)
                );
                let key = match &header {
                    Header::SseKms(Some(key)) => case.facts.resolved(key),
                    _ => None,
                };
                let mut context = BTreeMap::from([
                    ("aws:securetransport", Some("true")),
                    (
                        "s3:x-amz-server-side-encryption",
                        match header {
                            Header::SseS3 => Some("AES256"),
                            Header::SseKms(_) => Some("aws:kms"),
                            Header::ClientSide(_) | Header::None => None,
                        },
                    ),
                ]);
                match (&header, key) {
                    // If the key could not be resolved, its form in the request is unknown.
                    (Header::SseKms(Some(_)), None) => {}
                    (_, key) => {
                        context.insert("s3:x-amz-server-side-encryption-aws-kms-key-id", key);
                    }
                }
                if let Some(caller) = caller {
                    context.insert("aws:principalarn", Some(caller));
                    context.insert("aws:principalaccount", caller.split(':').nth(4));
                }
                let request = AccessRequest {
                    caller: caller.unwrap_or_default(),
                    action: "s3:PutObject",
                    resource: Some(&arn),
                    context,
                };
                match iam_policy::decide(policy, &request) {
                    PolicyDecision::Denies(statement) => {
                        subject.failed(format!("the bucket's policy denies it ({statement})"))
                    }
                    PolicyDecision::Unclear(statement) => {
                        let unclear = subject.unknown(
                            format!(
                                "the bucket's policy has parts that are not evaluated ({statement})"
                            ),
                            format!(
                                "look at `{statement}` in the policy of {}",
                                self.location.bucket()
                            ),
                        );
                        // A denied write fails visibly and leaves nothing unencrypted, so this
                        // alone is no reason to refuse.
                        Finding { level: Level::Advisory, ..unclear }
                    }
                    PolicyDecision::AllowsCaller
                    | PolicyDecision::DelegatesToAccount
                    | PolicyDecision::Silent => {
                        subject.passed("the bucket's policy does not deny it")
                    }
                }
            })
        })
    }
}

fn overrides(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let wanted = || policy::accepted(&case.policy.accept_encryption);
    let Some(lookup) = &case.facts.security_configuration else {
        findings.push(
            OVERRIDES
                .on("security configuration", wanted())
                .waiting_for(&security_configuration::EXISTS),
        );
        return;
    };
    let Some(found) = lookup.found() else {
        findings.push(
            OVERRIDES
                .on("security configuration", wanted())
                .waiting_for(&security_configuration::EXISTS),
        );
        return;
    };
    let overrides = found.content.s3.iter().flat_map(|s3| &s3.overrides);
    if overrides.clone().next().is_none() {
        findings.push(OVERRIDES.on(found.name.as_str(), wanted()).not_applicable("it has none"));
    }
    for other in overrides {
        let subject = OVERRIDES.on(
            if other.bucket.is_empty() { "an override" } else { other.bucket.as_str() },
            wanted(),
        );
        let accepts = |kind| buckets::is_accepted(case, kind, other.key.as_ref());
        findings.push(match (other.mode.as_str(), &other.key) {
            _ if other.bucket.is_empty() => subject.failed("no BucketName"),
            _ if !case
                .paths
                .locations
                .iter()
                .any(|location| location.bucket().as_str() == other.bucket) =>
            {
                subject.not_applicable("not a bucket of this runner config")
            }
            ("SSE-S3", _) => subject.decided(accepts(EncryptionKind::SseS3), "SSE-S3"),
            ("SSE-KMS" | "CSE-KMS", None) => {
                subject.failed(format!("{} without AwsKmsKey", other.mode))
            }
            ("SSE-KMS", Some(key)) => {
                subject.decided(accepts(EncryptionKind::SseKms), format!("SSE-KMS under {key}"))
            }
            ("CSE-KMS", Some(key)) => {
                subject.decided(buckets::is_expected(case, key), format!("CSE-KMS under {key}"))
            }
            ("CSE-Custom", _) => subject.passed("CSE-Custom"),
            (mode, _) => subject.failed(format!("the unknown mode `{mode}`")),
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        base::{
            lookup::{Lookup, LookupError, LookupErrorKind},
            names::KeyReference,
        },
        checks::{
            catalogue::of_cluster,
            finding::{
                Finding,
                Status::{self, Failed, Passed, Unknown},
            },
            properties::{World, strict},
        },
        facts::emr::{Override, S3AtRest},
        settings::policy::{EncryptionKind, Policy},
        spec::cluster_spec::Property,
    };

    const EMRFS: &str = "com.amazon.ws.emr.hadoop.fs.EmrFileSystem";

    fn world(release: &str, properties: &[(&str, &str, &str)]) -> World {
        let mut world = World::new(true, false);
        world.cluster.release.value = release.parse().unwrap();
        let properties = properties.iter().map(|(classification, name, value)| Property {
            classification: (*classification).to_owned(),
            name: (*name).to_owned(),
            value: (*value).to_owned(),
            at: "config.yml:1:1".to_owned(),
        });
        world.cluster.properties.extend(properties);
        world
    }

    fn statuses(world: &World, check: &str) -> Vec<Status> {
        world.of_check(check).into_iter().map(|(status, ..)| status).collect()
    }

    #[test]
    fn newer_releases_what_a_connector_sends_of_which_nothing_is_known_is_unknown() {
        let off = ("core-site", "fs.s3a.emrfs.compatibility.enable", "false");
        let own = ("core-site", "fs.s3.impl", "com.acme.FileSystem");
        for (release, properties) in
            [("emr-7.12.0", [off]), ("emr-7.12.0", [own]), ("emr-spark-8.0.0", [off])]
        {
            let world = world(release, &properties);
            let written = statuses(&world, "written-encryption");
            assert!(written.contains(&Unknown), "{release} {properties:?} {written:?}");
            assert!(!written.contains(&Failed), "{release} {properties:?} {written:?}");
            // Writers that rely on the bucket's default do not depend on the connector.
            assert!(written.contains(&Passed), "{release} {properties:?} {written:?}");
            // One cause, one message.
            for check in ["no-silent-downgrade", "bucket-policy-clash"] {
                for (status, _, waits) in world.of_check(check) {
                    assert!(status == Passed || waits == Some("written-encryption"), "{check}");
                }
            }
        }
        let back = [("core-site", "fs.s3.impl", EMRFS), ("core-site", "fs.s3n.impl", EMRFS)];
        let good: [(&str, &[_]); 4] = [
            ("emr-7.12.0", &back),
            ("emr-7.12.0", &[]),
            ("emr-spark-8.0.0", &[]),
            ("emr-5.29.0", &[off]),
        ];
        for (release, properties) in good {
            let written = statuses(&world(release, properties), "written-encryption");
            assert!(written.iter().all(|status| *status == Passed), "{written:?}");
        }
    }

    #[test]
    fn newer_releases_properties_of_s3a_that_change_encryption_are_refused() {
        for property in [
            ("core-site", "fs.s3a.encryption.algorithm", ""),
            ("core-site", "fs.s3a.encryption.key", "another"),
            ("core-site", "fs.s3a.bucket.acme-out.encryption.algorithm", "AES256"),
            ("spark-defaults", "spark.hadoop.fs.s3a.encryption.algorithm", "AES256"),
        ] {
            let world = world("emr-7.12.0", &[property]);
            let found = statuses(&world, "configuration-weakens-encryption");
            assert_eq!(found, [Failed], "{property:?}");
        }
        // If EMRFS writes to S3, settings that Spark passes to S3A are only to be reviewed.
        let through = ("spark-defaults", "spark.hadoop.fs.s3a.encryption.algorithm", "AES256");
        let world = world("emr-5.29.0", &[through]);
        assert_eq!(statuses(&world, "configuration-weakens-encryption"), [Passed]);
        assert_eq!(statuses(&world, "configuration-review"), [Failed]);
    }

    /// Of a running cluster whose security configuration has this S3 part: its findings.
    fn of_running(s3: Option<S3AtRest>, policy: &Policy, lost: bool) -> Vec<Finding> {
        let mut world = World::new(true, false);
        let Some(Lookup::Found(found)) = &mut world.facts.security_configuration else {
            unreachable!()
        };
        found.content.s3 = s3;
        let error = || LookupError::new("kms:DescribeKey", LookupErrorKind::Other, "no");
        for facts in world.facts.keys.values_mut().filter(|_| lost) {
            facts.description = Lookup::Denied(error());
        }
        let mut findings = of_cluster(&world.case(policy, &world.facts));
        findings.retain(|finding| finding.check.name == "written-encryption");
        findings
    }

    #[test]
    fn a_running_cluster_must_write_under_the_keys_that_the_policy_names() {
        const KEY: &str =
            "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";
        let part = |mode: &str, key: Option<&str>| S3AtRest {
            mode: mode.to_owned(),
            key: key.map(KeyReference::new),
            provider_class: None,
            s3_object: None,
            overrides: Vec::new(),
        };
        let expecting = |key: &str| Policy { expected_keys: vec![key.to_owned()], ..strict() };
        let (expected, another) = (expecting(KEY), expecting("alias/another"));
        let judged = |part, policy: &Policy| {
            let findings = of_running(Some(part), policy, false);
            findings.into_iter().map(|finding| finding.status).collect::<Vec<_>>()
        };
        // A policy that accepts everything asks nothing.
        assert_eq!(judged(part("SSE-KMS", Some(KEY)), &strict()), []);
        assert_eq!(judged(part("SSE-KMS", Some(KEY)), &expected), [Passed]);
        assert_eq!(judged(part("CSE-KMS", Some(KEY)), &expected), [Passed]);
        assert_eq!(judged(part("SSE-S3", None), &expected), [Failed]);
        assert_eq!(judged(part("SSE-KMS", None), &expected), [Failed]);
        let no_s3 = Policy { accept_encryption: vec![EncryptionKind::SseKms], ..strict() };
        assert_eq!(judged(part("SSE-S3", None), &no_s3), [Failed]);
        assert_eq!(judged(part("SSE-KMS", Some(KEY)), &no_s3), [Passed]);
        // An override counts for itself.
        let other = |mode: &str, key: Option<&str>| Override {
            bucket: "acme".to_owned(),
            mode: mode.to_owned(),
            key: key.map(KeyReference::new),
        };
        let mut overridden = part("SSE-KMS", Some(KEY));
        overridden.overrides = vec![other("SSE-S3", None), other("SSE-KMS", Some(KEY))];
        assert_eq!(judged(overridden, &expected), [Passed, Failed, Passed]);
        // `alias/another` was not looked up, so it may be that key.
        assert_eq!(judged(part("SSE-KMS", Some(KEY)), &another), [Unknown]);
        assert_eq!(judged(part("SSE-S3", None), &another), [Failed]);
        let lost = of_running(Some(part("SSE-KMS", Some(KEY))), &expected, true);
        assert_eq!(lost[0].status, Passed, "the same text is the same key");
        // The owner of a key of another account need not let anybody look it up.
        let foreign = KEY.replace("123456789012", "999999999999");
        assert_eq!(judged(part("SSE-KMS", Some(&foreign)), &expected), [Failed]);
        assert_eq!(judged(part("SSE-KMS", Some("alias/a")), &expected), [Unknown]);
    }

    #[test]
    fn without_an_s3_part_the_key_of_a_running_cluster_is_not_known() {
        let expected = Policy { expected_keys: vec!["alias/a".to_owned()], ..strict() };
        let [waiting] = &of_running(None, &expected, false)[..] else { unreachable!() };
        assert_eq!(waiting.waits_for, Some("s3-at-rest"));
        let lenient = Policy { require: Vec::new(), ..expected };
        let [unknown] = &of_running(None, &lenient, false)[..] else { unreachable!() };
        assert_eq!((unknown.status, unknown.waits_for), (Unknown, None));
    }
}
