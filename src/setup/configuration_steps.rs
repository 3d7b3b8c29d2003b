//! The steps for the certificates and the security configuration.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    base::{
        aws_calls,
        lookup::{Lookup, LookupError},
        names::{BucketName, KeyReference, S3Object},
        prices,
        printable::{Printable, printable},
    },
    checks::{
        node_names::regional_domain,
        sample_configuration::{ConfigurationParts, has_emr_certificates, has_metadata_v2},
        security_configuration::protects,
    },
    facts::{
        account_state::{AccountState, BucketEncryptionSettings},
        emr::Content,
        iam_policy::{AccessRequest, PolicyDecision, decide},
    },
    settings::policy::EncryptionKind,
    setup::{
        bucket_steps::{PlannedBucket, has_header_writers, is_same_key},
        certificates,
        desired::SetupInputs,
        documents::CERTIFICATES_SID,
        needs::archive_arn,
        options::SetupPart,
        piece::{CertificateArchive, MADE_KEY, NamedConfiguration, Piece},
        plan::{Step, StepAction},
        planning::{Availability, error_of, not_asked, refuse, step, unknown},
        role_steps::PlannedRole,
    },
};

const CHECKS: [&str; 9] = [
    "written-encryption",
    "no-silent-downgrade",
    "security-configuration-exists",
    "s3-at-rest",
    "local-disk-at-rest",
    "in-transit",
    "kerberos-not-configured",
    "instance-metadata-v2",
    "local-disk-key",
];
const SOURCE: &str = "Setup guide, Setting up end to end encryption, EMR security configuration; \
    Amazon EMR management guide, Create a security configuration";
const CERTIFICATE_CHECKS: [&str; 7] = [
    "certificate-object",
    "certificate-key",
    "certificate-chain",
    "certificate-validity",
    "certificate-names",
    "certificate-strength",
    "jobflow-role-may-read-object",
];

/// The default encryption of each bucket after the plan, as far as it is known.
pub(super) type Defaults<'a> = [(&'a BucketName, Option<&'a BucketEncryptionSettings>)];

/// Whether EMRFS has to ask for SSE-KMS: it may ask for less than the bucket's default nowhere. If
/// a default is not known, SSE-KMS is right for each that it can be.
pub(super) fn s3_by_key(inputs: &SetupInputs<'_>, defaults: &Defaults<'_>) -> bool {
    let accepts = |kind| inputs.policy.accept_encryption.contains(&kind);
    let by_s3 = |default: Option<&BucketEncryptionSettings>| {
        default.is_some_and(|default| default.kind == EncryptionKind::SseS3)
    };
    let mut written =
        defaults.iter().filter(|(bucket, _)| has_header_writers(inputs, bucket)).peekable();
    let any = written.peek().is_some();
    let all_by_s3 = any && written.all(|(_, default)| by_s3(*default));
    let may_be_s3 = accepts(EncryptionKind::SseS3) && inputs.policy.expected_keys.is_empty();
    accepts(EncryptionKind::SseKms) && !(may_be_s3 && all_by_s3)
}

/// Why it is not known whether EMRFS has to ask for SSE-KMS: SSE-S3 would do for all buckets but
/// one, whose default is not known.
pub(super) fn undecided(
    inputs: &SetupInputs<'_>,
    buckets: &[PlannedBucket],
) -> Option<LookupError> {
    let accepts = |kind| inputs.policy.accept_encryption.contains(&kind);
    let both = accepts(EncryptionKind::SseKms)
        && accepts(EncryptionKind::SseS3)
        && inputs.policy.expected_keys.is_empty();
    let written = buckets.iter().filter(|bucket| has_header_writers(inputs, &bucket.bucket));
    let by_kms = |bucket: &PlannedBucket| {
        bucket.default.as_ref().is_some_and(|default| default.kind != EncryptionKind::SseS3)
    };
    if !both || written.clone().any(by_kms) {
        return None;
    }
    written.filter(|bucket| bucket.default.is_none()).find_map(|bucket| {
        let step = bucket.encryption.as_ref().or(bucket.step.as_ref())?;
        let StepAction::Unknown { error } = &step.action else { return None };
        let message = format!("it needs the default of {}: {}", bucket.bucket, error.message);
        Some(LookupError { message, ..error.clone() })
    })
}

/// The text of the key in the content by which a configuration is named. For the key that setup
/// makes it is the same before and after the key exists.
fn key_in_name(inputs: &SetupInputs<'_>) -> String {
    if inputs.makes_key() { MADE_KEY.to_owned() } else { inputs.key().as_str().to_owned() }
}

/// The content of the configuration of setup, with this text for the key.
fn content(inputs: &SetupInputs<'_>, s3_by_key: bool, key: &str) -> Value {
    let archive = inputs.archive();
    let certificates = archive
        .map_or_else(String::new, |archive| format!("s3://{}/{}", archive.bucket, archive.key));
    ConfigurationParts {
        release: &inputs.cluster.release.value,
        s3_by_key,
        key,
        certificates: &certificates,
    }
    .content()
}

fn name_of(inputs: &SetupInputs<'_>, content: &Value) -> String {
    certificates::name_by_content(&inputs.options.name, content)
}

/// The name of the configuration of setup: by its content with the key's name, not its ARN, so that
/// plan, templates and what is made have one name before the key exists and afterwards.
fn first_name(inputs: &SetupInputs<'_>, s3_by_key: bool) -> String {
    name_of(inputs, &content(inputs, s3_by_key, &key_in_name(inputs)))
}

/// The names that the configuration of setup can have. `key` is the ARN of the key, if it is known:
/// then its content decides if the first name is taken by another content.
pub(super) fn possible_names(inputs: &SetupInputs<'_>, key: Option<&str>) -> Vec<String> {
    let of_kind = |by_key: bool| {
        let second = key.map(|key| name_of(inputs, &content(inputs, by_key, key)));
        [Some(first_name(inputs, by_key)), second].into_iter().flatten()
    };
    of_kind(true).chain(of_kind(false)).collect()
}

/// Why a security configuration does not do; `Ok` if it passes all checks that its content decides.
fn passes(
    inputs: &SetupInputs<'_>,
    json: &Value,
    key: &Availability<String>,
    defaults: &Defaults<'_>,
) -> Result<(), String> {
    let content = Content::read(json);
    let release = &inputs.cluster.release.value;
    protects(&content, release, &inputs.policy.require)?;
    if content.kerberos {
        return Err("it has a KerberosConfiguration".to_owned());
    }
    if has_metadata_v2(release) && content.metadata_service.is_none_or(|version| version < 2) {
        return Err("it does not require version 2 of the instance metadata service".to_owned());
    }
    let disk = content.local_disk.as_ref().filter(|_| content.at_rest_enabled);
    if let Some(named) = disk.and_then(|disk| disk.key.as_ref())
        && !is_expected(inputs, named.as_str(), key)
    {
        return Err(format!("its disks are under {named}, which is none of `expected_keys`"));
    }
    let s3 = content.s3.as_ref().filter(|_| content.at_rest_enabled);
    if let Some(s3) = s3 {
        writes(inputs, &s3.mode, s3.key.as_ref().map(KeyReference::as_str), key)?;
        for other in &s3.overrides {
            let named = inputs
                .paths
                .locations
                .iter()
                .any(|location| location.bucket().as_str() == other.bucket);
            if other.bucket.is_empty() {
                return Err("one of its overrides names no bucket".to_owned());
            }
            if named {
                let named = other.key.as_ref().map(KeyReference::as_str);
                writes(inputs, &other.mode, named, key)?;
            }
        }
    }
    for (bucket, default) in defaults {
        let Some(default) = default.filter(|_| has_header_writers(inputs, bucket)) else {
            continue;
        };
        let mode = s3.map_or("SSE-S3", |s3| {
            let other = s3.overrides.iter().find(|other| other.bucket == bucket.as_str());
            other.map_or(s3.mode.as_str(), |other| other.mode.as_str())
        });
        let is_less = match default.kind {
            EncryptionKind::SseS3 => false,
            EncryptionKind::SseKms => mode == "SSE-S3",
            EncryptionKind::DsseKms => matches!(mode, "SSE-S3" | "SSE-KMS"),
        };
        if is_less {
            return Err(format!("it asks for {mode}, which is less than the default of {bucket}"));
        }
    }
    Ok(())
}

/// Whether the policy accepts what EMRFS writes in this mode.
fn writes(
    inputs: &SetupInputs<'_>,
    mode: &str,
    named: Option<&str>,
    key: &Availability<String>,
) -> Result<(), String> {
    let accepts = |kind| inputs.policy.accept_encryption.contains(&kind);
    let is_expected = |named: &str| is_expected(inputs, named, key);
    let accepted = match mode {
        "SSE-S3" => accepts(EncryptionKind::SseS3) && inputs.policy.expected_keys.is_empty(),
        "SSE-KMS" => accepts(EncryptionKind::SseKms) && named.is_some_and(is_expected),
        "CSE-KMS" => named.is_some_and(is_expected),
        "CSE-Custom" => true,
        _ => false,
    };
    if accepted {
        Ok(())
    } else {
        let under = named.map_or_else(String::new, |named| format!(" under {named}"));
        Err(format!("it writes {mode}{under}, which the policy does not accept"))
    }
}

/// Whether the policy expects the key that a configuration names.
fn is_expected(inputs: &SetupInputs<'_>, named: &str, key: &Availability<String>) -> bool {
    let expected = &inputs.policy.expected_keys;
    let is_first = expected.first().is_some_and(|first| first == inputs.key().as_str())
        && key.there().is_some_and(|arn| is_same_key(named, arn));
    expected.is_empty() || is_first || expected.iter().any(|expected| expected == named)
}

/// What the security configuration that the config names says about the plan.
pub(super) enum Configured {
    /// It does: it is kept. The archive that it names, if it names one.
    Keeps { name: String, content: Value, archive: Option<S3Object> },
    /// It does not, or there is none: a note on it.
    Replaced(Option<Printable>),
    /// It does not, and has parts that the one of setup would not have.
    Refused { name: String, content: Value, action: StepAction },
    /// It is not known.
    Unknown(String, LookupError),
}

/// Judges the security configuration that the config names. `instances` is the role of the
/// instances.
pub(super) fn configured(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    key: &Availability<String>,
    defaults: &Defaults<'_>,
    instances: &Availability<PlannedRole>,
) -> Configured {
    let Some(name) = inputs.configured.filter(|name| !name.is_empty()) else {
        return Configured::Replaced(None);
    };
    let shown = Printable::from(name);
    let lookup = state.security_configurations.get(name).cloned().unwrap_or_else(|| {
        let what = format!("the security configuration {name}");
        Lookup::Unreachable(not_asked(&aws_calls::DESCRIBE_SECURITY_CONFIGURATION, &what))
    });
    match lookup {
        Lookup::Found(content) => match passes(inputs, &content, key, defaults)
            .and_then(|()| readable_archive(inputs, &content, instances))
        {
            Ok(archive) => Configured::Keeps { name: name.to_owned(), content, archive },
            Err(why) => {
                let why = Printable::from(&why);
                let extras = extras(&content);
                if extras.is_empty() {
                    return Configured::Replaced(Some(printable!(
                        "{shown}, which the config or the settings name now, is left as it is: \
                         {why}"
                    )));
                }
                let extras = Printable::from(extras.join(", "));
                let action = refuse(
                    printable!("{shown} does not do: {why}; a new one would not have its {extras}"),
                    "make a new one from its content by hand, and name that in the config; or name \
                     none: then setup makes one without these parts",
                );
                Configured::Refused { name: name.to_owned(), content, action }
            }
        },
        Lookup::Absent => Configured::Replaced(Some(printable!(
            "there is no {shown}, which the config or the settings name now"
        ))),
        Lookup::Denied(error) | Lookup::Unreachable(error) => {
            Configured::Unknown(name.to_owned(), error)
        }
    }
}

/// The certificate archive that a security configuration names. One that this setup does not look
/// after is unreadable for a role that it makes, because no step gives access to it.
fn readable_archive(
    inputs: &SetupInputs<'_>,
    content: &Value,
    instances: &Availability<PlannedRole>,
) -> Result<Option<S3Object>, String> {
    let tls = Content::read(content).tls.filter(|tls| !tls.is_by_emr());
    let archive = tls.and_then(|tls| S3Object::parse(&tls.s3_object?));
    match (&archive, instances.there()) {
        (Some(other), Some(role)) if role.is_new && inputs.archive().as_ref() != Some(other) => {
            Err(format!(
                "its certificates, s3://{}/{}, are not of this setup, so the new role {} could not \
                 read them",
                other.bucket, other.key, role.name
            ))
        }
        _ => Ok(archive),
    }
}

/// Plans the certificate archive at `object`. `bucket` says whether its bucket is there; `reader`
/// is the ARN of the role of the instances, if it is known.
pub(super) fn certificates(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    object: &S3Object,
    bucket: &Availability<()>,
    key: &Availability<String>,
    reader: Option<&str>,
) -> Step {
    let by_key = inputs.region() == inputs.s3_region()
        && inputs.policy.accept_encryption.contains(&EncryptionKind::SseKms);
    let lookup = state.certificates.clone().unwrap_or_else(|| {
        Lookup::Unreachable(not_asked(&aws_calls::HEAD_OBJECT, "the certificate archive"))
    });
    let of_bucket = bucket.obstacle(&format!("the bucket {}", object.bucket));
    let (action, note) = match (&lookup, of_bucket) {
        (Lookup::Found(_), None) => (
            StepAction::Keep,
            Some("what is there is not looked into and never written over; `check` judges it"),
        ),
        (_, Some(obstacle)) => (obstacle, None),
        (Lookup::Absent, None) => {
            let of_key = key.obstacle("the KMS key").filter(|_| by_key);
            (of_key.unwrap_or(StepAction::Create), Some(PRIVATE))
        }
        (Lookup::Denied(error) | Lookup::Unreachable(error), None) => (unknown(error), None),
    };
    let action = match action {
        StepAction::Create | StepAction::Keep => {
            let denied = reader.and_then(|reader| denied(inputs, state, object, reader));
            denied.unwrap_or(action)
        }
        other => other,
    };
    let archive = CertificateArchive {
        object: object.clone(),
        names: vec![format!("*.{}", regional_domain(inputs.region()))],
        days: inputs.options.certificate_days,
        key: key.there().filter(|_| by_key).cloned(),
    };
    step(
        Piece::Certificates(archive),
        action,
        &CERTIFICATE_CHECKS,
        "Amazon EMR management guide, Providing certificates for encrypting data in transit with \
         Amazon EMR encryption",
    )
    .noting_any(note)
}

/// The refusal if the policy of the archive's bucket denies it to the instances.
fn denied(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    object: &S3Object,
    reader: &str,
) -> Option<StepAction> {
    let policy = state.buckets.get(&object.bucket)?.policy.found()?;
    let arn = archive_arn(inputs, object);
    let context = BTreeMap::from([
        ("aws:securetransport", Some("true")),
        ("aws:principalarn", Some(reader)),
        ("aws:principalaccount", Some(inputs.account.as_str())),
    ]);
    let request =
        AccessRequest { caller: reader, action: "s3:GetObject", resource: Some(&arn), context };
    let PolicyDecision::Denies(statement) = decide(&policy.to_string(), &request) else {
        return None;
    };
    // The statement of setup itself is made again with the present role.
    (statement != CERTIFICATES_SID).then(|| {
        let (bucket, statement) =
            (Printable::from(object.bucket.as_str()), Printable::from(&statement));
        refuse(
            printable!("the policy of {bucket} denies the archive to the instances ({statement})"),
            printable!("except the role of the instances from `{statement}`"),
        )
    })
}

const PRIVATE: &str = "the private key of its authority is never written anywhere, and the \
    certificates expire: `emr-etl-guard setup --rotate-certificates` makes new ones";

/// Plans the security configuration; also gives the name that the config has to have.
pub(super) fn security_configuration(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    configured: Configured,
    defaults: &Defaults<'_>,
    key: &Availability<String>,
    archive: Option<&Availability<()>>,
    undecided: Option<&LookupError>,
) -> (Step, Option<String>) {
    let s3_by_key = s3_by_key(inputs, defaults);
    let made = |name: String, content: Value, action| {
        let piece = NamedConfiguration { name, content };
        step(Piece::SecurityConfiguration(piece), action, &CHECKS, SOURCE)
    };
    let text = key.there().cloned().unwrap_or_else(|| key_in_name(inputs));
    let wanted = content(inputs, s3_by_key, &text);
    let note = match configured {
        Configured::Keeps { name, content, .. } => {
            return (made(name.clone(), content, StepAction::Keep), Some(name));
        }
        Configured::Refused { name, content, action } => {
            return (made(name, content, action), None);
        }
        Configured::Unknown(name, error) => {
            return (made(name, wanted, unknown(&error)), None);
        }
        Configured::Replaced(note) => note,
    };
    let is_same = |content: &Value| {
        let read = |json: &Value| {
            let mut content = Content::read(json);
            // EMR adds the secret that it has made.
            if let Some(tls) = &mut content.tls {
                tls.secret = None;
            }
            content
        };
        read(content) == read(&wanted)
    };
    let mut chosen = None;
    for name in [first_name(inputs, s3_by_key), name_of(inputs, &wanted)] {
        let lookup = state.security_configurations.get(&name).cloned().unwrap_or_else(|| {
            let what = format!("the security configuration {name}");
            Lookup::Unreachable(not_asked(&aws_calls::DESCRIBE_SECURITY_CONFIGURATION, &what))
        });
        let action = match &lookup {
            Lookup::Found(content) if is_same(content) => StepAction::Keep,
            Lookup::Found(_) => refuse(
                printable!(
                    "there is a security configuration {} with another content",
                    Printable::from(&name)
                ),
                "let setup use another name (`--name`); no security configuration is ever replaced",
            ),
            Lookup::Absent => StepAction::Create,
            other => match error_of(other) {
                Some(error) => unknown(error),
                None => StepAction::Create,
            },
        };
        let taken = matches!(action, StepAction::Refuse { .. });
        let content = match (&action, lookup) {
            (StepAction::Keep, Lookup::Found(content)) => content,
            _ => wanted.clone(),
        };
        chosen = Some((name, content, action));
        if !taken {
            break;
        }
    }
    let (name, content, action) = chosen.unwrap_or((String::new(), json!(null), StepAction::Keep));
    let action = if action == StepAction::Create {
        let parts = [
            key.obstacle("the KMS key"),
            archive.and_then(|archive| archive.obstacle("the certificates")),
            off(inputs),
            undecided.map(unknown),
            region_obstacle(inputs, s3_by_key),
            own_obstacle(inputs, &content, key, defaults),
        ];
        parts.into_iter().flatten().next().unwrap_or(action)
    } else {
        action
    };
    let named = match &action {
        StepAction::Create | StepAction::Keep | StepAction::Change { .. } => Some(name.clone()),
        StepAction::Refuse { .. } | StepAction::Unknown { .. } => None,
    };
    let is_new = action == StepAction::Create;
    let mut step = made(name, content, action).noting_any(note);
    if is_new && has_emr_certificates(&inputs.cluster.release.value) {
        step = step
            .costing(prices::secret(inputs.partition()))
            .noting("EMR makes a secret for the certificate of its authority");
    }
    if is_new {
        step = step.noting(
            "clusters that run keep their own; the config has to name this one for new clusters",
        );
    }
    (step, named)
}

/// What the configuration of setup itself does not satisfy: the release does not support it, or it
/// would ask for less than a bucket's default.
fn own_obstacle(
    inputs: &SetupInputs<'_>,
    content: &Value,
    key: &Availability<String>,
    defaults: &Defaults<'_>,
) -> Option<StepAction> {
    let why = passes(inputs, content, key, defaults).err()?;
    Some(refuse(
        Printable::from(why),
        "change the release, the setting `accept_encryption`, or first what is said about the \
         buckets' defaults",
    ))
}

/// The parts of a security configuration that the one of setup would not have.
fn extras(json: &Value) -> Vec<String> {
    let content = Content::read(json);
    let beside = |value: &Value, known: &[&str]| -> Vec<String> {
        let fields = value.as_object().into_iter().flat_map(serde_json::Map::keys);
        fields.filter(|field| !known.contains(&field.as_str())).cloned().collect()
    };
    let mut extras =
        beside(json, &["EncryptionConfiguration", "InstanceMetadataServiceConfiguration"]);
    extras.extend(beside(
        &json["EncryptionConfiguration"],
        &[
            "EnableAtRestEncryption",
            "AtRestEncryptionConfiguration",
            "EnableInTransitEncryption",
            "InTransitEncryptionConfiguration",
        ],
    ));
    if let Some(s3) = &content.s3 {
        extras.extend(s3.mode.starts_with("CSE-").then(|| format!("EncryptionMode {}", s3.mode)));
        extras.extend((!s3.overrides.is_empty()).then(|| "Overrides".to_owned()));
    }
    let custom_disk = content.local_disk.is_some_and(|disk| disk.provider == "Custom");
    extras.extend(custom_disk.then(|| "a custom provider of disk keys".to_owned()));
    if let Some(tls) = &content.tls {
        let custom = tls.provider == "Custom";
        extras.extend(custom.then(|| "a custom provider of certificates".to_owned()));
        extras.extend(tls.wildcard_dns_suffix.is_some().then(|| "WildcardDnsSuffix".to_owned()));
    }
    extras
}

/// No one key serves S3 in one region and a cluster in another.
fn region_obstacle(inputs: &SetupInputs<'_>, s3_by_key: bool) -> Option<StepAction> {
    (s3_by_key && inputs.region() != inputs.s3_region()).then(|| {
        refuse(
            printable!(
                "the buckets are in {} and the cluster in {}, so that no one key serves both",
                Printable::from(inputs.s3_region()),
                Printable::from(inputs.region())
            ),
            "run the cluster in the region of the buckets, or accept SSE-S3",
        )
    })
}

fn off(inputs: &SetupInputs<'_>) -> Option<StepAction> {
    let by_emr = has_emr_certificates(&inputs.cluster.release.value);
    (!by_emr && inputs.archive().is_none()).then(|| {
        refuse(
            "it needs certificates, and the part `certificates` is switched off",
            "name an archive that exists, or switch the part on",
        )
    })
}

/// Whether the part is on.
pub(super) fn is_on(inputs: &SetupInputs<'_>) -> bool {
    inputs.makes(SetupPart::SecurityConfiguration)
}
