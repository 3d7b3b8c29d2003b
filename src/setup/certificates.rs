//! The certificates for traffic between nodes: a private authority and a certificate of it, made in
//! memory, as the archive that EMR reads; and what a rotation of them changes.
//!
//! Keys are RSA of 3072 bits with SHA-256: AWS documents RSA of 2048 bits, every program on a node
//! reads this size as well, and it is strong enough for certificates that are valid beyond 2030
//! (NIST SP 800-57 Part 1 Rev. 5, table 4). Nothing secret leaves memory that is overwritten
//! afterwards, except where a caller sends the archive, or keeps the authority's key.
//!
//! Source: Amazon EMR management guide, "Providing certificates for encrypting data in transit with
//! Amazon EMR encryption".

use std::{
    io::{self, Cursor, Write as _},
    path::Path,
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData, SerialNumber, SignatureAlgorithm, SigningKey,
};
use serde_json::Value;
use time::{
    Duration, OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description,
};
use zeroize::Zeroizing;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    base::{
        digest::{hex, sha256},
        names::S3Object,
        secret::Secret,
        time_format::days_until,
    },
    facts::{certificate_archive::Material, emr::canonical},
    setup::piece::{CertificateArchive, NamedConfiguration},
    system::output::write_new,
};

/// The size of all keys.
const KEY_SIZE: KeySize = KeySize::Rsa3072;
/// How long before the present time the certificates are valid: the clocks of nodes may be behind
/// the clock of the machine that makes them.
const CLOCK_SKEW: Duration = Duration::hours(1);
/// The length of a serial number in bytes. RFC 5280 allows 20; CAs use at least 8 random ones.
const SERIAL_LENGTH: usize = 16;
/// The longest common name. Source: RFC 5280, appendix A.1, `ub-common-name`.
const LONGEST_COMMON_NAME: usize = 64;
/// The longest DNS name, and its longest label. Source: RFC 1035, section 2.3.4.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;
/// The longest S3 key in bytes. Source: Amazon S3 user guide, Naming Amazon S3 objects.
const LONGEST_KEY: usize = 1024;

/// Why no certificates can be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// A name cannot be in a certificate of a node.
    #[error("`{name}` cannot be a name of the nodes' certificate: {why}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// There is no name.
    #[error("a certificate for nodes needs a name, such as *.ec2.internal")]
    NoName,
    /// They would be valid for no time, or too long.
    #[error("certificates cannot be valid for {0} days; expected 1 to 65535")]
    Days(u16),
    /// The cryptographic library failed.
    #[error("no key could be made, or it could not sign: the cryptographic library failed")]
    Crypto,
    /// A certificate could not be written.
    #[error("no certificate could be made: {0}")]
    Certificate(rcgen::Error),
    /// The archive could not be written.
    #[error("the archive could not be made: {0}")]
    Archive(io::Error),
}

impl From<aws_lc_rs::error::Unspecified> for CertificateError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Crypto
    }
}

impl From<rcgen::Error> for CertificateError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error)
    }
}

/// New certificates, and their keys.
#[derive(Debug)]
pub(crate) struct NodeCertificates {
    /// The zip with the certificates and the key of the nodes, as it is put to S3.
    pub(crate) archive: Secret<Zeroizing<Vec<u8>>>,
    /// The private authority's key (PKCS#8) and certificate, as PEM.
    pub(crate) authority: Secret<Zeroizing<String>>,
    /// SHA-256 of the nodes' certificate in DER, in hexadecimal: what `openssl x509 -fingerprint
    /// -sha256` shows.
    pub(crate) fingerprint: String,
    /// When they expire.
    pub(crate) not_after: OffsetDateTime,
}

impl NodeCertificates {
    /// Writes the authority's key and certificate to the new file `file`, which only its owner can
    /// read.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when there is something at this path; any other error when
    /// it cannot be written.
    pub(crate) fn keep_authority(&self, file: &Path) -> io::Result<()> {
        write_new(file, self.authority.reveal().as_bytes())
    }
}

/// Makes a private authority, and a certificate of it with the names of `archive`, valid for its
/// days from `now` on. Takes about a second, for the keys.
///
/// # Errors
/// [`CertificateError`] when names or days are out of range, or the cryptographic library fails.
pub(crate) fn make(
    archive: &CertificateArchive,
    now: OffsetDateTime,
) -> Result<NodeCertificates, CertificateError> {
    let common_name = archive.names.first().ok_or(CertificateError::NoName)?;
    archive.names.iter().try_for_each(|name| check_name(name))?;
    if common_name.len() > LONGEST_COMMON_NAME {
        let why = "a common name has at most 64 letters";
        return Err(CertificateError::Name { name: common_name.clone(), why });
    }
    let days = Duration::days(i64::from(archive.days));
    let out_of_range = || CertificateError::Days(archive.days);
    // X.509 knows whole seconds only.
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let not_after = now.checked_add(days).filter(|end| *end > now).ok_or_else(out_of_range)?;
    let not_before = now.checked_sub(CLOCK_SKEW).ok_or_else(out_of_range)?;

    let (authority_key, node_key) = (NodeKey::generate()?, NodeKey::generate()?);
    let mut authority = CertificateParams::default();
    let serial = serial()?;
    // Each authority has a name of its own: two with one name and different keys confuse programs
    // that look for an issuer by its name.
    let name = format!("emr-etl-guard authority {}", &hex(serial.as_ref())[..8]);
    authority.distinguished_name = rcgen::DistinguishedName::new();
    authority.distinguished_name.push(DnType::CommonName, name);
    authority.serial_number = Some(serial);
    (authority.not_before, authority.not_after) = (not_before, not_after);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_certificate = authority.self_signed(&authority_key)?;

    let mut node = CertificateParams::new(archive.names.clone())?;
    node.distinguished_name = rcgen::DistinguishedName::new();
    node.distinguished_name.push(DnType::CommonName, common_name.as_str());
    node.serial_number = Some(self::serial()?);
    (node.not_before, node.not_after) = (not_before, not_after);
    node.is_ca = IsCa::ExplicitNoCa;
    // The second for cipher suites with RSA key exchange, which Hadoop's older Java may choose.
    node.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    // Each node is a server and a client of the others.
    node.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    node.use_authority_key_identifier_extension = true;
    let issuer = Issuer::from_params(&authority, &authority_key);
    let node_certificate = node.signed_by(&node_key, &issuer)?;

    let root = authority_certificate.pem();
    let chain = format!("{}{root}", node_certificate.pem());
    let members = [
        ("privateKey.pem", node_key.pem()?),
        ("certificateChain.pem", Zeroizing::new(chain)),
        ("trustedCertificates.pem", Zeroizing::new(root.clone())),
    ];
    let kept = authority_key.pem()?;
    let mut authority = Zeroizing::new(String::with_capacity(kept.len() + root.len()));
    authority.push_str(&kept);
    authority.push_str(&root);
    Ok(NodeCertificates {
        archive: Secret::new(zipped(&members).map_err(CertificateError::Archive)?),
        authority: Secret::new(authority),
        fingerprint: sha256(node_certificate.der()),
        not_after,
    })
}

/// Checks that `name` is a DNS name, perhaps with a wildcard as its first label.
fn check_name(name: &str) -> Result<(), CertificateError> {
    let refuse = |why| Err(CertificateError::Name { name: name.to_owned(), why });
    if name.len() > LONGEST_NAME {
        return refuse("a DNS name has at most 253 letters");
    }
    let host = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(is_letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.split('.').all(is_label) {
        Ok(())
    } else {
        refuse("expected a DNS name, or one behind `*.`")
    }
}

/// A random, positive serial number.
fn serial() -> Result<SerialNumber, CertificateError> {
    let mut bytes = [0; SERIAL_LENGTH];
    aws_lc_rs::rand::fill(&mut bytes)?;
    // The first bit is the sign, and a first byte that is not zero keeps the length.
    bytes[0] = (bytes[0] & 0x3f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// An RSA key. The library overwrites its memory when it is dropped.
struct NodeKey(RsaKeyPair);

impl NodeKey {
    fn generate() -> Result<Self, CertificateError> {
        Ok(Self(RsaKeyPair::generate(KEY_SIZE)?))
    }

    /// As PKCS#8 in PEM, without a passphrase.
    fn pem(&self) -> Result<Zeroizing<String>, CertificateError> {
        let der: Pkcs8V1Der<'_> = self.0.as_der()?;
        pem_of("PRIVATE KEY", der.as_ref()).ok_or(CertificateError::Crypto)
    }
}

impl PublicKeyData for NodeKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for NodeKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature)
    }
}

/// PEM of `der` in lines of 64 letters (RFC 7468), in memory that is overwritten; `None` if it
/// cannot be encoded, which does not happen.
fn pem_of(label: &str, der: &[u8]) -> Option<Zeroizing<String>> {
    // A text that grows leaves copies of itself behind.
    let mut pem = Zeroizing::new(String::with_capacity(der.len() * 3 / 2 + 256));
    pem.extend(["-----BEGIN ", label, "-----\n"]);
    for chunk in der.chunks(48) {
        let mut line = Zeroizing::new([0; 64]);
        let length = STANDARD.encode_slice(chunk, line.as_mut_slice()).ok()?;
        pem.push_str(std::str::from_utf8(line.get(..length)?).ok()?);
        pem.push('\n');
    }
    pem.extend(["-----END ", label, "-----\n"]);
    Some(pem)
}

/// A zip of `members`, uncompressed: a compressor's buffers would not be overwritten.
fn zipped(members: &[(&str, Zeroizing<String>)]) -> io::Result<Zeroizing<Vec<u8>>> {
    let size: usize = members.iter().map(|(name, text)| text.len() + 2 * name.len() + 256).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 256));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .unix_permissions(0o600);
    let mut zip = ZipWriter::new(Cursor::new(&mut *bytes));
    for (name, text) in members {
        zip.start_file(*name, options)?;
        zip.write_all(text.as_bytes())?;
    }
    zip.finish()?;
    Ok(bytes)
}

/// What a rotation of the certificates makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// Where the new archive is put. The present one stays: clusters that live fetch it when they
    /// grow.
    pub(crate) archive: S3Object,
    /// The new security configuration, which differs from the present one in the archive alone.
    pub(crate) configuration: NamedConfiguration,
    /// The names of the present nodes' certificate; none if they are not known.
    pub(crate) names: Vec<String>,
    /// The whole days until the first of the present certificates expires, negative afterwards;
    /// none if they are not known.
    pub(crate) days_left: Option<i64>,
}

/// Why certificates cannot be rotated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RotationError {
    /// It encrypts no traffic between nodes, or names no archive.
    #[error(
        "the security configuration {0} names no certificates; fix: run `setup` without \
         --rotate-certificates, which makes one that does"
    )]
    NoCertificates(String),
    /// EMR makes the certificates, and their names would be the same.
    #[error(
        "EMR makes the certificates of the security configuration {0}, for as long as its \
         ValidityInDays; fix: make one with another name by `aws emr \
         create-security-configuration`, with the content that `aws emr \
         describe-security-configuration` shows"
    )]
    MadeByEmr(String),
    /// A program of the owner's makes them.
    #[error(
        "a program of your own (provider Custom) gives the certificates of the security \
         configuration {0}; fix: rotate them there"
    )]
    Custom(String),
    /// The archive's location is not understood, or has no room for a longer key.
    #[error(
        "the security configuration {name} has its certificates at `{location}`; expected \
         s3://bucket/key, with a key of at most 1000 bytes"
    )]
    Location {
        /// The security configuration.
        name: String,
        /// The location.
        location: String,
    },
}

/// The form of the time in the name of a rotated archive.
const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("-[year][month][day]T[hour][minute][second]Z");

/// Where a security configuration names its certificates.
const TLS: &str =
    "/EncryptionConfiguration/InTransitEncryptionConfiguration/TLSCertificateConfiguration";

/// Plans the rotation of the certificates of `current`. `name` starts the names of what `setup`
/// makes; `material` is the present archive, if it could be read.
///
/// # Errors
/// [`RotationError`] when the certificates are not an archive of PEM files.
pub(crate) fn rotation(
    name: &str,
    current: &NamedConfiguration,
    material: Option<&Material>,
    now: OffsetDateTime,
) -> Result<Rotation, RotationError> {
    let named = || current.name.clone();
    let tls = current.content.pointer(TLS).unwrap_or(&Value::Null);
    match tls["CertificateProviderType"].as_str() {
        Some("PEM") => {}
        Some("EMR") => return Err(RotationError::MadeByEmr(named())),
        Some(_) => return Err(RotationError::Custom(named())),
        None => return Err(RotationError::NoCertificates(named())),
    }
    let location = tls["S3Object"].as_str().unwrap_or_default();
    let not_understood =
        || RotationError::Location { name: named(), location: location.to_owned() };
    let present = S3Object::parse(location).ok_or_else(not_understood)?;
    let key = next_key(&present.key, now).ok_or_else(not_understood)?;
    // A location in the form of the present one: an ARN stays an ARN.
    let start = location.strip_suffix(&present.key).ok_or_else(not_understood)?;
    let mut content = current.content.clone();
    let place = content.pointer_mut(TLS).and_then(|tls| tls.get_mut("S3Object"));
    *place.ok_or_else(not_understood)? = Value::String(format!("{start}{key}"));
    Ok(Rotation {
        archive: S3Object { key, ..present },
        configuration: NamedConfiguration { name: name_by_content(name, &content), content },
        names: material.map(|material| each_once(material.names())).unwrap_or_default(),
        days_left: material.and_then(|material| days_left(material, now)),
    })
}

/// The names in their order. A certificate has its first one as subject and among the others.
fn each_once(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    all
}

/// The whole days until the first certificate expires, negative afterwards.
fn days_left(material: &Material, now: OffsetDateTime) -> Option<i64> {
    Some(days_until(material.first_expiry()?, now))
}

/// The name of a security configuration with this content: `NAME-` and 8 hexadecimal digits.
pub(crate) fn name_by_content(name: &str, content: &Value) -> String {
    format!("{name}-{}", &sha256(canonical(content))[..8])
}

/// The archives that rotations of this one make, with the wildcards of IAM policies.
pub(super) fn rotated(archive: &S3Object) -> S3Object {
    let (start, extension) = parts(&archive.key);
    let key = format!("{start}-????????T??????Z{extension}");
    S3Object { key, bucket: archive.bucket.clone() }
}

/// The parts of an archive's key before and after the time of a rotation: its folder and name, and
/// its extension.
fn parts(key: &str) -> (String, String) {
    let (folder, file) = match key.rsplit_once('/') {
        Some((folder, file)) => (format!("{folder}/"), file),
        None => (String::new(), key),
    };
    let (stem, extension) = match file.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
        _ => (file, String::new()),
    };
    let is_stamp = |text: &str| time::PrimitiveDateTime::parse(text, STAMP).is_ok();
    let stem = match stem.rfind('-') {
        Some(dash) if is_stamp(&stem[dash..]) => &stem[..dash],
        _ => stem,
    };
    (format!("{folder}{stem}"), extension)
}

/// The key of the archive after the one at `key`: with the time before its extension, in place of
/// an earlier rotation's.
fn next_key(key: &str, now: OffsetDateTime) -> Option<String> {
    let (start, extension) = parts(key);
    let named = |at: OffsetDateTime| {
        let at = at.to_offset(time::UtcOffset::UTC).format(STAMP).ok()?;
        let key = format!("{start}{at}{extension}");
        (key.len() <= LONGEST_KEY).then_some(key)
    };
    // Two rotations in a second have two names.
    named(now).filter(|new| new != key).or_else(|| named(now.checked_add(Duration::SECOND)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
    use serde_json::json;
    use time::macros::datetime;
    use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
    use x509_parser::{
        certificate::X509Certificate, extensions::ParsedExtension, prelude::FromDer as _,
        public_key::PublicKey,
    };

    use super::*;
    use crate::{
        base::lookup::Lookup,
        checks::{
            finding::Status,
            properties::{World, strict},
        },
        facts::certificate_archive,
    };

    const NOW: OffsetDateTime = datetime!(2026-11-30 02:00:00.5 UTC);

    fn wanted(names: &[&str], days: u16) -> CertificateArchive {
        CertificateArchive {
            object: S3Object::parse("s3://acme-certificates/emr.zip").unwrap(),
            names: names.iter().map(ToString::to_string).collect(),
            days,
            key: None,
        }
    }

    fn made() -> NodeCertificates {
        make(&wanted(&["*.eu-west-1.compute.internal", "*.acme.internal"], 365), NOW).unwrap()
    }

    fn member(made: &NodeCertificates, name: &str) -> String {
        let bytes: &[u8] = made.archive.reveal();
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        io::read_to_string(zip.by_name(name).unwrap()).unwrap()
    }

    fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn the_guards_own_reader_and_chain_verification_accept_what_is_made() {
        let made = made();
        let material = certificate_archive::read(made.archive.reveal()).unwrap();
        assert_eq!(material.key, Ok(()));
        assert!(material.trusted);
        let names = ["*.eu-west-1.compute.internal", "*.acme.internal"];
        assert_eq!(material.names(), [&[names[0]], &names[..]].concat());
        assert_eq!(material.chain.len(), 2);
        for certificate in &material.chain {
            assert!(certificate.signed_by_next && certificate.weak.is_none(), "{certificate:?}");
            assert_eq!(certificate.not_before, datetime!(2026-11-30 01:00:00 UTC));
            assert_eq!(certificate.not_after, datetime!(2027-11-30 02:00:00 UTC));
        }
        assert_eq!(made.not_after, datetime!(2027-11-30 02:00:00 UTC));
        assert_eq!(days_left(&material, NOW), Some(364));

        let chain = certificates(&member(&made, "certificateChain.pem"));
        let trusted = certificates(&member(&made, "trustedCertificates.pem"));
        assert_eq!(trusted, chain[1..]);
        assert_eq!(made.fingerprint, sha256(&chain[0]));
        let anchors = [anchor_from_trusted_cert(&trusted[0]).unwrap()];
        let node = EndEntityCert::try_from(&chain[0]).unwrap();
        let at = |time: OffsetDateTime| {
            let since = std::time::Duration::from_secs(time.unix_timestamp().unsigned_abs());
            UnixTime::since_unix_epoch(since)
        };
        let verified = |usage: KeyUsage, time: OffsetDateTime| {
            let algorithms = webpki::ALL_VERIFICATION_ALGS;
            node.verify_for_usage(algorithms, &anchors, &[], at(time), usage, None, None).is_ok()
        };
        for usage in [KeyUsage::server_auth, KeyUsage::client_auth] {
            assert!(verified(usage(), NOW));
            assert!(!verified(usage(), NOW - Duration::hours(2)));
            assert!(!verified(usage(), NOW + Duration::days(366)));
        }
        let name = |name: &str| name.to_owned().try_into().unwrap();
        for host in ["ip-10-0-0-1.eu-west-1.compute.internal", "ip-10-0-0-1.acme.internal"] {
            node.verify_is_valid_for_subject_name(&name(host)).unwrap();
        }
        let other = name("ip-10-0-0-1.eu-west-2.compute.internal");
        assert!(node.verify_is_valid_for_subject_name(&other).is_err());
    }

    #[test]
    fn every_check_of_certificates_passes_on_what_is_made() {
        let mut world = World::new(false, false);
        let judged = |world: &World| -> Vec<(&'static str, Status)> {
            let findings = world.findings(&strict(), &world.facts).into_iter();
            let of_certificates = findings.filter(|it| it.check.name.starts_with("certificate-"));
            of_certificates.map(|finding| (finding.check.name, finding.status)).collect()
        };
        let now = world.facts.asked_at;
        let names = ["*.eu-west-1.compute.internal"];
        for (days, validity) in [(31, Status::Passed), (29, Status::Failed)] {
            let made = make(&wanted(&names, days), now).unwrap();
            let read = certificate_archive::read(made.archive.reveal());
            world.facts.certificates = Some(Lookup::Found(read));
            let judged = judged(&world);
            assert_eq!(judged.len(), 6, "{judged:?}");
            for (check, status) in judged {
                let wanted =
                    if check == "certificate-validity" { validity } else { Status::Passed };
                assert_eq!(status, wanted, "{check} with {days} days");
            }
        }
    }

    #[test]
    fn the_certificates_say_what_they_may_be_used_for() {
        let made = made();
        let chain = certificates(&member(&made, "certificateChain.pem"));
        let parsed = |der: &'static [u8]| X509Certificate::from_der(der).unwrap().1;
        let leaked: Vec<&'static [u8]> =
            chain.iter().map(|der| &*Box::leak(der.to_vec().into_boxed_slice())).collect();
        let (node, root) = (parsed(leaked[0]), parsed(leaked[1]));
        let of = |certificate: &X509Certificate<'_>| {
            let mut seen: Vec<String> = certificate
                .extensions()
                .iter()
                .map(|extension| {
                    let what = match extension.parsed_extension() {
                        ParsedExtension::KeyUsage(usage) => format!("{usage}"),
                        ParsedExtension::ExtendedKeyUsage(usage) => {
                            format!("server {} client {}", usage.server_auth, usage.client_auth)
                        }
                        ParsedExtension::BasicConstraints(basic) => {
                            format!("ca {} {:?}", basic.ca, basic.path_len_constraint)
                        }
                        ParsedExtension::SubjectAlternativeName(names) => {
                            format!("{} names", names.general_names.len())
                        }
                        ParsedExtension::SubjectKeyIdentifier(_) => "own key".to_owned(),
                        ParsedExtension::AuthorityKeyIdentifier(_) => "issuer's key".to_owned(),
                        other => format!("{other:?}"),
                    };
                    format!("{what}{}", if extension.critical { " (critical)" } else { "" })
                })
                .collect();
            seen.sort();
            seen.join("\n")
        };
        insta::assert_snapshot!(format!("{}\n\n{}", of(&node), of(&root)));
        assert_eq!(
            node.subject().iter_common_name().next().unwrap().as_str().unwrap(),
            "*.eu-west-1.compute.internal"
        );
        for certificate in [&node, &root] {
            let Ok(PublicKey::RSA(key)) = certificate.public_key().parsed() else { panic!() };
            assert_eq!(key.key_size(), 3072);
            // sha256WithRSAEncryption.
            let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
            assert_eq!(algorithm, "1.2.840.113549.1.1.11");
            assert_eq!(certificate.raw_serial().len(), SERIAL_LENGTH);
        }
        let other = self::made();
        let others = certificates(&member(&other, "certificateChain.pem"));
        let serials = |chain: &[CertificateDer<'static>]| -> Vec<String> {
            chain
                .iter()
                .map(|der| X509Certificate::from_der(der).unwrap().1.raw_serial_as_string())
                .collect()
        };
        let mut all = [serials(&chain), serials(&others)].concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4, "{all:?}");
        let root_of_other = X509Certificate::from_der(&others[1]).unwrap().1.subject().to_string();
        assert_ne!(root_of_other, root.subject().to_string());
    }

    #[test]
    fn the_zip_has_three_whole_members_that_no_program_has_to_search_for() {
        let made = made();
        let bytes: &[u8] = made.archive.reveal();
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        for (index, name) in
            ["privateKey.pem", "certificateChain.pem", "trustedCertificates.pem"].iter().enumerate()
        {
            let entry = zip.by_index(index).unwrap();
            assert_eq!(&entry.name().unwrap(), name);
            assert_eq!(entry.compression(), CompressionMethod::Stored);
            assert_eq!(entry.unix_mode().unwrap() & 0o777, 0o600);
        }
        assert_eq!(zip.len(), 3);
        // Sizes in the header and not behind the member: Java's streams read no other form of
        // uncompressed members.
        assert_eq!(bytes[6] & 0x08, 0);
        let key = member(&made, "privateKey.pem");
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\nM"), "PKCS#8, no passphrase");
        assert!(key.ends_with("-----END PRIVATE KEY-----\n"));
        assert!(key.lines().all(|line| line.len() <= 64));
        let shown = format!("{made:?}");
        assert!(!shown.contains("PRIVATE") && !shown.contains("[80, 75"), "{shown}");
    }

    #[test]
    fn the_authoritys_key_is_written_for_its_owner_alone_and_over_nothing() {
        let made = made();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        made.keep_authority(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&file).unwrap();
        let kept = rcgen::KeyPair::from_pem(&text).unwrap();
        let root = &certificates(&text)[0];
        let root = X509Certificate::from_der(root).unwrap().1;
        assert_eq!(root.public_key().raw, kept.subject_public_key_info());
        assert_ne!(text.lines().nth(1), member(&made, "privateKey.pem").lines().nth(1));
        let link = folder.path().join("link.pem");
        symlink("nowhere", &link).unwrap();
        for taken in [&file, &link] {
            let refused = made.keep_authority(taken).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        assert!(!folder.path().join("nowhere").exists());
    }

    #[test]
    fn names_and_days_out_of_range_are_refused_in_words() {
        let said =
            |names: &[&str], days: u16| make(&wanted(names, days), NOW).unwrap_err().to_string();
        let long = format!("*.{}.internal", "a".repeat(60));
        let cases = [
            said(&[], 365),
            said(&["*.ec2.internal"], 0),
            said(&["ec2..internal"], 365),
            said(&["*.*.internal"], 365),
            said(&["*.ä.internal"], 365),
            said(&["a b"], 365),
            said(&[&long], 365),
            said(&[&"a.".repeat(150)], 365),
        ];
        insta::assert_snapshot!(cases.join("\n"));
    }

    fn configuration(tls: &Value) -> NamedConfiguration {
        let content = json!({"EncryptionConfiguration": {
            "EnableInTransitEncryption": true,
            "EnableAtRestEncryption": true,
            "InTransitEncryptionConfiguration": {"TLSCertificateConfiguration": tls},
        }});
        NamedConfiguration { name: "acme-00000000".to_owned(), content }
    }

    fn pem(location: &str) -> NamedConfiguration {
        configuration(&json!({"CertificateProviderType": "PEM", "S3Object": location}))
    }

    #[test]
    fn a_rotation_changes_the_archive_and_nothing_else() {
        let current = pem("s3://acme-certificates/emr/certificates.zip");
        let material = certificate_archive::read(made().archive.reveal()).unwrap();
        let next = rotation("acme", &current, Some(&material), NOW).unwrap();
        assert_eq!(next.archive.bucket.to_string(), "acme-certificates");
        assert_eq!(next.archive.key, "emr/certificates-20261130T020000Z.zip");
        assert_eq!(next.days_left, Some(364));
        assert_eq!(next.names, ["*.eu-west-1.compute.internal", "*.acme.internal"]);
        let wanted = pem("s3://acme-certificates/emr/certificates-20261130T020000Z.zip").content;
        assert_eq!(next.configuration.content, wanted);
        let digest = sha256(canonical(&wanted));
        assert_eq!(next.configuration.name, format!("acme-{}", &digest[..8]));

        // The next one replaces the time, even in the same second; an ARN stays an ARN.
        let again = rotation("acme", &next.configuration, None, NOW).unwrap();
        assert_eq!(again.archive.key, "emr/certificates-20261130T020001Z.zip");
        assert_eq!((again.days_left, again.names.len()), (None, 0));
        let arn = pem("arn:aws-cn:s3:::acme-certificates/x");
        let next = rotation("acme", &arn, None, NOW).unwrap();
        assert_eq!(
            next.configuration.content,
            pem("arn:aws-cn:s3:::acme-certificates/x-20261130T020000Z").content
        );
        for (now, days) in [
            (datetime!(2027-11-30 02:00:00 UTC), 0),
            (datetime!(2027-11-30 02:00:01 UTC), -1),
            (datetime!(2027-11-29 02:00:00 UTC), 1),
        ] {
            assert_eq!(days_left(&material, now), Some(days), "{now}");
        }
    }

    #[test]
    fn certificates_that_are_no_archive_are_not_rotated() {
        let said = |current: &NamedConfiguration| {
            rotation("acme", current, None, NOW).unwrap_err().to_string()
        };
        let cases = [
            said(&configuration(&json!({"CertificateProviderType": "EMR"}))),
            said(&configuration(
                &json!({"CertificateProviderType": "Custom", "S3Object": "s3://acme/x.jar"}),
            )),
            said(&configuration(&Value::Null)),
            said(&NamedConfiguration { name: "old".to_owned(), content: json!({}) }),
            said(&pem("https://example.com/x.zip")),
            said(&pem(&format!("s3://acme-certificates/{}.zip", "x".repeat(1010)))),
        ];
        insta::assert_snapshot!(cases.join("\n"));
    }
}
