//! The certificate archive that EMR uses for encryption in transit: its content, without the
//! secret. The private key is verified and dropped.
//!
//! Source: Amazon EMR management guide, "Providing certificates for encrypting data in transit with
//! Amazon EMR encryption".

use std::io::{Cursor, Read as _};

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _,
    public_key::PublicKey,
};
use zeroize::Zeroizing;

/// The size limit of an archive in bytes. Real ones have a few KiB.
pub(crate) const LARGEST: usize = 1 << 20;
/// The size limit of a member in bytes.
const LARGEST_MEMBER: u64 = 256 << 10;

const KEY: &str = "privateKey.pem";
const CHAIN: &str = "certificateChain.pem";
const TRUSTED: &str = "trustedCertificates.pem";

/// The content of an archive, without the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Material {
    /// Whether the key can be used without a passphrase and belongs to the first certificate; if
    /// not, why.
    pub key: Result<(), String>,
    /// The chain; the nodes' own certificate comes first.
    pub chain: Vec<Certificate>,
    /// Whether the archive also has trusted certificates.
    pub trusted: bool,
}

impl Material {
    /// The names in the nodes' own certificate; none if there is no certificate.
    #[must_use]
    pub fn names(&self) -> &[String] {
        self.chain.first().map(|own| own.names.as_slice()).unwrap_or_default()
    }

    /// When the first certificate of the chain expires; none if there is no certificate.
    pub(crate) fn first_expiry(&self) -> Option<OffsetDateTime> {
        self.chain.iter().map(|certificate| certificate.not_after).min()
    }
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Certificate {
    /// Its subject.
    pub subject: String,
    /// Its common name and alternative names.
    pub names: Vec<String>,
    /// The start of its validity.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub not_before: OffsetDateTime,
    /// The end of its validity.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub not_after: OffsetDateTime,
    /// Whether the next certificate in the chain has signed it. For the last one: whether it is
    /// self-signed, or signed by a certificate that is not in the chain.
    pub signed_by_next: bool,
    /// Why it is too weak, if it is.
    pub weak: Option<String>,
}

/// Reads an archive.
///
/// # Errors
/// What is wrong with the archive itself: its form, its members, or that they are not certificates.
pub(crate) fn read(archive: &[u8]) -> Result<Material, String> {
    let mut zip =
        zip::ZipArchive::new(Cursor::new(archive)).map_err(|_| "no zip archive".to_owned())?;
    // If two members have the same name, ZIP readers differ in which one they use, and some show
    // only one of them. So the entries are counted here.
    let listed = archive.windows(4).filter(|window| *window == b"PK\x01\x02").count();
    if listed != zip.len() {
        return Err("an archive that has a member twice".to_owned());
    }
    let mut names: Vec<String> = zip
        .file_names()
        .map(|name| name.map(std::borrow::Cow::into_owned))
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    names.sort();
    let wanted = |names: &[&str], found: &[String]| {
        found.iter().map(String::as_str).eq(names.iter().copied())
    };
    let trusted = wanted(&[CHAIN, KEY, TRUSTED], &names);
    if !trusted && !wanted(&[CHAIN, KEY], &names) {
        let shown: Vec<String> =
            names.iter().take(5).map(|name| name.escape_debug().take(60).collect()).collect();
        return Err(format!(
            "the members {} ({} in all); expected exactly {KEY}, {CHAIN} and perhaps {TRUSTED}",
            shown.join(", "),
            names.len()
        ));
    }
    let key = member(&mut zip, KEY)?;
    let chain_text = member(&mut zip, CHAIN)?;
    if trusted {
        let text = member(&mut zip, TRUSTED)?;
        let count = CertificateDer::pem_slice_iter(&text).flatten().count();
        if count == 0 {
            return Err(format!("{TRUSTED} holds no certificate"));
        }
    }
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(&chain_text)
        .collect::<Result<_, _>>()
        .map_err(|_| format!("{CHAIN} is no PEM"))?;
    if chain.is_empty() {
        return Err(format!("{CHAIN} holds no certificate"));
    }
    let parsed: Vec<X509Certificate<'_>> = chain
        .iter()
        .map(|der| {
            X509Certificate::from_der(der)
                .map(|(_, certificate)| certificate)
                .map_err(|_| format!("{CHAIN} holds something that is no certificate"))
        })
        .collect::<Result<_, _>>()?;
    let certificates = parsed
        .iter()
        .enumerate()
        .map(|(index, certificate)| describe(certificate, parsed.get(index + 1), index == 0))
        .collect::<Result<_, _>>()?;
    Ok(Material { key: belongs(&key, &chain), chain: certificates, trusted })
}

fn member(
    zip: &mut zip::ZipArchive<Cursor<&[u8]>>,
    name: &str,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let entry = zip.by_name(name).map_err(|error| format!("{name} cannot be unpacked: {error}"))?;
    let mut bytes = Zeroizing::new(Vec::new());
    // The sizes that an archive declares may be wrong; the unpacked size counts.
    entry
        .take(LARGEST_MEMBER + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("{name} cannot be unpacked: {error}"))?;
    if bytes.len() as u64 > LARGEST_MEMBER {
        Err(format!("{name} is larger than {LARGEST_MEMBER} bytes"))
    } else {
        Ok(bytes)
    }
}

/// Whether the key has no passphrase, and belongs to the chain's first certificate.
fn belongs(pem: &[u8], chain: &[CertificateDer<'_>]) -> Result<(), String> {
    let text = String::from_utf8_lossy(pem);
    if text.contains("ENCRYPTED") {
        return Err("it has a passphrase; EMR needs one without".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| "it is no private key in PEM (PKCS#8, PKCS#1 or SEC1)".to_owned())?;
    let signing = aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|_| "it is of a kind that is not known".to_owned())?;
    let chain: Vec<CertificateDer<'static>> =
        chain.iter().map(|der| der.clone().into_owned()).collect();
    rustls::sign::CertifiedKey::new(chain, signing)
        .keys_match()
        .map_err(|_| "it does not belong to the first certificate of the chain".to_owned())
}

fn describe(
    certificate: &X509Certificate<'_>,
    next: Option<&X509Certificate<'_>>,
    is_leaf: bool,
) -> Result<Certificate, String> {
    let time = |time: x509_parser::time::ASN1Time| {
        OffsetDateTime::from_unix_timestamp(time.timestamp())
            .map_err(|_| "a certificate's time is out of range".to_owned())
    };
    let mut names: Vec<String> = certificate
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .map(str::to_owned)
        .collect();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        }));
    }
    let self_signed = certificate.issuer() == certificate.subject();
    let signed_by_next = match next {
        Some(next) => {
            certificate.issuer() == next.subject()
                && certificate.verify_signature(Some(next.public_key())).is_ok()
        }
        None => !self_signed || certificate.verify_signature(None).is_ok(),
    };
    // A root's signature of itself has no meaning, so its algorithm does not matter. A leaf's
    // algorithm does.
    let weak = weak_key(certificate)
        .or_else(|| if self_signed && !is_leaf { None } else { weak_signature(certificate) });
    Ok(Certificate {
        subject: certificate.subject().to_string(),
        names,
        not_before: time(certificate.validity().not_before)?,
        not_after: time(certificate.validity().not_after)?,
        signed_by_next,
        weak,
    })
}

fn weak_key(certificate: &X509Certificate<'_>) -> Option<String> {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < 2048 => {
            Some(format!("an RSA key of {} bits", key.key_size()))
        }
        Ok(PublicKey::EC(key)) if key.key_size() < 256 => {
            Some(format!("an elliptic curve of {} bits", key.key_size()))
        }
        Ok(PublicKey::DSA(_)) => Some("a DSA key".to_owned()),
        _ => None,
    }
}

fn weak_signature(certificate: &X509Certificate<'_>) -> Option<String> {
    // md5WithRSAEncryption, sha1WithRSAEncryption, ecdsa-with-SHA1.
    let weak = [
        ("1.2.840.113549.1.1.4", "MD5"),
        ("1.2.840.113549.1.1.5", "SHA-1"),
        ("1.2.840.10045.4.1", "SHA-1"),
    ];
    let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
    weak.iter().find(|(id, _)| *id == algorithm).map(|(_, name)| format!("a signature by {name}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair,
    };
    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(members: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn leaf() -> CertificateParams {
        let mut params =
            CertificateParams::new(vec!["*.eu-west-1.compute.internal".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "*.eu-west-1.compute.internal");
        params
    }

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Acme root");
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn good() -> (String, String, String) {
        let (key, root) = (KeyPair::generate().unwrap(), authority());
        let issuer: &Issuer<'_, KeyPair> = &root;
        let certificate = leaf().signed_by(&key, issuer).unwrap();
        (key.serialize_pem(), certificate.pem(), root.pem())
    }

    #[test]
    fn a_good_archive_is_understood() {
        let (key, certificate, root) = good();
        let material =
            read(&archive(&[(KEY, &key), (CHAIN, &format!("{certificate}{root}"))])).unwrap();
        assert_eq!(material.key, Ok(()));
        assert!(!material.trusted);
        let seen: Vec<(&str, bool, &Option<String>)> = material
            .chain
            .iter()
            .map(|certificate| {
                (certificate.names[0].as_str(), certificate.signed_by_next, &certificate.weak)
            })
            .collect();
        assert_eq!(
            seen,
            [("*.eu-west-1.compute.internal", true, &None), ("Acme root", true, &None)]
        );
        let shown = format!("{material:?} {}", serde_json::to_string(&material).unwrap());
        assert!(!shown.contains("PRIVATE"), "{shown}");
        assert!(
            read(&archive(&[(KEY, &key), (CHAIN, &certificate), (TRUSTED, &root)]))
                .unwrap()
                .trusted
        );
    }

    #[test]
    fn a_chain_in_the_wrong_order_and_a_foreign_issuer_are_seen() {
        let (key, certificate, root) = good();
        let signed = |chain: &str| {
            let material = read(&archive(&[(KEY, &key), (CHAIN, chain)])).unwrap();
            material.chain.iter().map(|certificate| certificate.signed_by_next).collect::<Vec<_>>()
        };
        assert_eq!(signed(&format!("{certificate}{}", authority().pem())), [false, true]);
        assert_eq!(signed(&format!("{root}{certificate}")), [false, true]);
        assert_eq!(signed(&certificate), [true]);
    }

    #[test]
    fn a_key_of_somebody_else_with_a_passphrase_or_no_key_at_all_is_said() {
        let (_, certificate, _) = good();
        let said = |key: &str| {
            read(&archive(&[(KEY, key), (CHAIN, &certificate)])).unwrap().key.unwrap_err()
        };
        assert_eq!(
            said(&KeyPair::generate().unwrap().serialize_pem()),
            "it does not belong to the first certificate of the chain"
        );
        assert_eq!(
            said(
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
            ),
            "it has a passphrase; EMR needs one without"
        );
        assert_eq!(
            said(
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA \
                 PRIVATE KEY-----\n"
            ),
            "it has a passphrase; EMR needs one without"
        );
        assert_eq!(said("hello"), "it is no private key in PEM (PKCS#8, PKCS#1 or SEC1)");
    }

    #[test]
    fn a_short_rsa_key_and_an_old_hash_are_weak() {
        let text = include_str!("../../tests/certificates/weak.pem");
        let material = read(&archive(&[(KEY, "x"), (CHAIN, text)])).unwrap();
        assert_eq!(material.chain[0].weak.as_deref(), Some("an RSA key of 1024 bits"));
        let text = include_str!("../../tests/certificates/sha1.pem");
        let material = read(&archive(&[(KEY, "x"), (CHAIN, text)])).unwrap();
        assert_eq!(material.chain[0].weak.as_deref(), Some("a signature by SHA-1"));
    }

    #[test]
    fn hostile_archives_are_refused_in_words() {
        let (key, certificate, _) = good();
        let said = |members: &[(&str, &str)]| read(&archive(members)).unwrap_err();
        assert_eq!(read(b"hello").unwrap_err(), "no zip archive");
        let wanted = "expected exactly privateKey.pem, certificateChain.pem and perhaps \
            trustedCertificates.pem";
        assert_eq!(
            said(&[(KEY, &key)]),
            format!("the members privateKey.pem (1 in all); {wanted}")
        );
        assert_eq!(
            said(&[(KEY, &key), (CHAIN, &certificate), ("../etc/passwd", "x")]),
            format!(
                "the members ../etc/passwd, certificateChain.pem, privateKey.pem (3 in all); \
                 {wanted}"
            )
        );
        assert_eq!(
            said(&[("certs/privateKey.pem", &key), (CHAIN, &certificate)]),
            format!("the members certificateChain.pem, certs/privateKey.pem (2 in all); {wanted}")
        );
        let many: Vec<String> = (0..1000).map(|n| format!("m{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "")).collect();
        assert!(said(&many).ends_with(&format!("(1000 in all); {wanted}")));
        // A zip bomb: a few hundred bytes that unpack to 64 MiB.
        let bomb = "0".repeat(64 << 20);
        assert_eq!(
            said(&[(KEY, &bomb), (CHAIN, &certificate)]),
            "privateKey.pem is larger than 262144 bytes"
        );
        assert_eq!(
            said(&[(KEY, &key), (CHAIN, "hello")]),
            "certificateChain.pem holds no certificate"
        );
        let twice = String::from_utf8(vec![b'x'; 3]).unwrap();
        let mut twins =
            archive(&[(KEY, &key), (CHAIN, &certificate), ("certificateChain.pen", &twice)]);
        for at in 0..twins.len() - 20 {
            if twins[at..].starts_with(b"certificateChain.pen") {
                twins[at + 19] = b'm';
            }
        }
        assert_eq!(read(&twins).unwrap_err(), "an archive that has a member twice");
    }
}
