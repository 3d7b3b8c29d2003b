//! Owns asymmetric KMS keys: real keys, real signatures.

use aws_lc_rs::digest::{Algorithm, Digest, SHA256, SHA384, digest};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PSS_SHA256, RsaKeyPair,
};

/// The maximum length of a message that KMS itself hashes. Source: AWS KMS API reference, Sign.
const RAW: usize = 4096;

/// The data to sign.
pub enum MessageToSign<'a> {
    /// The message.
    Raw(&'a [u8]),
    /// Its digest.
    Digest(&'a [u8]),
}

/// Generates the private key of a key of this spec, as PKCS#8; `None` for a symmetric one.
///
/// # Errors
/// When that fails.
pub fn generate(spec: &str) -> Result<Option<Vec<u8>>, String> {
    let random = SystemRandom::new();
    let made = match spec {
        "ECC_NIST_P256" => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map(|it| it.as_ref().to_vec()),
        "ECC_NIST_P384" => EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &random)
            .map(|it| it.as_ref().to_vec()),
        "ECC_NIST_EDWARDS25519" => {
            Ed25519KeyPair::generate_pkcs8(&random).map(|it| it.as_ref().to_vec())
        }
        "RSA_2048" => {
            RsaKeyPair::generate(KeySize::Rsa2048).and_then(|it| Ok(it.as_der()?.as_ref().to_vec()))
        }
        _ => return Ok(None),
    };
    made.map(Some).map_err(|_| format!("no key of the spec {spec} could be made"))
}

/// The signing algorithms of a key of this spec; the simulator has fewer than KMS.
pub fn algorithms(spec: &str) -> &'static [&'static str] {
    match spec {
        "ECC_NIST_P256" => &["ECDSA_SHA_256"],
        "ECC_NIST_P384" => &["ECDSA_SHA_384"],
        "ECC_NIST_EDWARDS25519" => &["ED25519_SHA_512"],
        "RSA_2048" => &["RSASSA_PSS_SHA_256"],
        _ => &[],
    }
}

/// The public half, as SubjectPublicKeyInfo.
pub fn public(spec: &str, material: &[u8]) -> Option<Vec<u8>> {
    let der = match spec {
        "ECC_NIST_EDWARDS25519" => {
            Ed25519KeyPair::from_pkcs8(material).ok()?.public_key().as_der().ok()?.as_ref().to_vec()
        }
        "RSA_2048" => {
            RsaKeyPair::from_pkcs8(material).ok()?.public_key().as_der().ok()?.as_ref().to_vec()
        }
        _ => EcdsaKeyPair::from_pkcs8(ecdsa(spec)?.0, material)
            .ok()?
            .public_key()
            .as_der()
            .ok()?
            .as_ref()
            .to_vec(),
    };
    Some(der)
}

fn ecdsa(spec: &str) -> Option<(&'static EcdsaSigningAlgorithm, &'static Algorithm)> {
    match spec {
        "ECC_NIST_P256" => Some((&ECDSA_P256_SHA256_ASN1_SIGNING, &SHA256)),
        "ECC_NIST_P384" => Some((&ECDSA_P384_SHA384_ASN1_SIGNING, &SHA384)),
        _ => None,
    }
}

/// Signs.
///
/// # Errors
/// KMS's error for a message that it rejects.
pub fn sign(spec: &str, material: &[u8], message: &MessageToSign<'_>) -> Result<Vec<u8>, String> {
    let broken = |_| "the key cannot be used".to_owned();
    let digested = |algorithm: &'static Algorithm| match message {
        MessageToSign::Raw(message) if message.len() > RAW => {
            Err("Member must have length less than or equal to 4096".to_owned())
        }
        MessageToSign::Raw(message) => Ok(digest(algorithm, message)),
        MessageToSign::Digest(bytes) => Digest::import_less_safe(bytes, algorithm)
            .map_err(|_| "Digest is invalid length for algorithm".to_owned()),
    };
    match spec {
        "ECC_NIST_EDWARDS25519" => match message {
            MessageToSign::Raw(message) if message.len() <= RAW => {
                let pair = Ed25519KeyPair::from_pkcs8(material)
                    .map_err(|_| "the key cannot be used".to_owned())?;
                Ok(pair.sign(message).as_ref().to_vec())
            }
            MessageToSign::Raw(_) => {
                Err("Member must have length less than or equal to 4096".to_owned())
            }
            MessageToSign::Digest(_) => {
                Err("ED25519_SHA_512 takes MessageType RAW only".to_owned())
            }
        },
        "RSA_2048" => {
            let pair = RsaKeyPair::from_pkcs8(material)
                .map_err(|_| "the key cannot be used".to_owned())?;
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign_digest(&RSA_PSS_SHA256, &digested(&SHA256)?, &mut signature)
                .map_err(broken)?;
            Ok(signature)
        }
        _ => {
            let (algorithm, hash) = ecdsa(spec).ok_or_else(|| format!("{spec} signs nothing"))?;
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, material)
                .map_err(|_| "the key cannot be used".to_owned())?;
            Ok(pair.sign_digest(&digested(hash)?).map_err(broken)?.as_ref().to_vec())
        }
    }
}
