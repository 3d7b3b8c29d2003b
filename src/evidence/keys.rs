//! Keys that sign and verify reports: Ed25519 in a file, or an asymmetric key in KMS.

use std::{
    fs::{File, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use aws_lc_rs::{
    digest::{SHA256, SHA384, digest},
    encoding::AsDer as _,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, Ed25519KeyPair, KeyPair as _,
        RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use aws_sdk_kms::{
    primitives::Blob,
    types::{KeyUsageType, MessageType, SigningAlgorithmSpec},
};
use nix::unistd::Uid;
use x509_parser::{pem::Pem, prelude::FromDer as _, x509::SubjectPublicKeyInfo};
use zeroize::Zeroizing;

use crate::{
    aws::answer::describe,
    base::{
        aws_calls::{self, Call},
        digest::sha256,
    },
};

/// Why a key cannot be used. The message continues after the key's name: "key.pem cannot …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// It is not a key that this program supports.
    #[error("{0}")]
    Unusable(String),
    /// An AWS call failed.
    #[error("{operation}: {message}")]
    Aws {
        /// The permission that allows the call.
        operation: &'static str,
        /// The message of AWS or the network.
        message: String,
    },
}

impl KeyError {
    fn unusable(why: impl Into<String>) -> Self {
        Self::Unusable(why.into())
    }

    fn aws(call: &'static Call, message: impl Into<String>) -> Self {
        Self::Aws { operation: call.permission, message: message.into() }
    }
}

/// The supported kinds of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyAlgorithm {
    Ed25519,
    P256,
    P384,
    Rsa,
}

impl KeyAlgorithm {
    fn of(spki: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let parameters = || {
            spki.algorithm
                .parameters
                .as_ref()
                .and_then(|parameters| parameters.as_oid().ok())
                .map(|oid| oid.to_id_string())
        };
        match spki.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => Some(Self::Ed25519),
            "1.2.840.10045.2.1" => match parameters()?.as_str() {
                "1.2.840.10045.3.1.7" => Some(Self::P256),
                "1.3.132.0.34" => Some(Self::P384),
                _ => None,
            },
            "1.2.840.113549.1.1.1" => Some(Self::Rsa),
            _ => None,
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Ed25519 => &ED25519,
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
            Self::Rsa => &RSA_PSS_2048_8192_SHA256,
        }
    }

    fn in_kms(self) -> SigningAlgorithmSpec {
        match self {
            Self::Ed25519 => SigningAlgorithmSpec::Ed25519Sha512,
            Self::P256 => SigningAlgorithmSpec::EcdsaSha256,
            Self::P384 => SigningAlgorithmSpec::EcdsaSha384,
            Self::Rsa => SigningAlgorithmSpec::RsassaPssSha256,
        }
    }

    /// The message type and the bytes that KMS signs for `message`. A digest has no limit on the
    /// message's length, but Ed25519 takes no digest.
    fn to_sign(self, message: &[u8]) -> (MessageType, Vec<u8>) {
        match self {
            Self::Ed25519 => (MessageType::Raw, message.to_owned()),
            Self::P256 | Self::Rsa => {
                (MessageType::Digest, digest(&SHA256, message).as_ref().to_owned())
            }
            Self::P384 => (MessageType::Digest, digest(&SHA384, message).as_ref().to_owned()),
        }
    }
}

/// The largest message that KMS signs without a digest, in bytes. Source: AWS KMS API reference,
/// Sign.
const RAW_MESSAGE: usize = 4096;

/// A public key.
#[derive(Clone, Debug)]
pub(crate) struct PublicKey {
    kind: KeyAlgorithm,
    key: Vec<u8>,
    id: String,
}

impl PublicKey {
    /// Reads a public key (PEM, `PUBLIC KEY`).
    ///
    /// # Errors
    /// [`KeyError::Unusable`].
    pub(crate) fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        match pem(text)? {
            pem if pem.label == "PUBLIC KEY" => Self::from_spki(&pem.contents),
            pem if pem.label.contains("PRIVATE KEY") => Err(KeyError::unusable(
                "is a private key; give the public one (openssl pkey -in KEY -pubout), and keep \
                 this one where signatures are made",
            )),
            pem => Err(KeyError::unusable(format!(
                "holds a {}; expected a PUBLIC KEY in PEM",
                pem.label
            ))),
        }
    }

    fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der)
            .map_err(|_| KeyError::unusable("holds no public key that can be read"))?;
        if !rest.is_empty() {
            return Err(KeyError::unusable("holds more than a public key"));
        }
        let kind = KeyAlgorithm::of(&spki).ok_or_else(|| {
            KeyError::unusable(format!(
                "is of a kind that is not known ({}); expected Ed25519, ECDSA on P-256 or P-384, \
                 or RSA",
                spki.algorithm.algorithm.to_id_string()
            ))
        })?;
        Ok(Self {
            kind,
            key: spki.subject_public_key.data.to_vec(),
            id: format!("sha256:{}", sha256(der)),
        })
    }

    /// Its id: the digest of its DER form (SubjectPublicKeyInfo).
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether `signature` is a valid signature of `message` by this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.kind.verification(), &self.key)
            .verify(message, signature)
            .is_ok()
    }
}

/// The first block of a PEM file.
fn pem(text: &[u8]) -> Result<Pem, KeyError> {
    Pem::iter_from_buffer(text)
        .next()
        .and_then(Result::ok)
        .ok_or_else(|| KeyError::unusable("holds no PEM"))
}

/// The owner, group and mode of a file.
#[derive(Clone, Copy, Debug)]
struct FileOwner {
    uid: u32,
    mode: u32,
}

impl FileOwner {
    fn of(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid(), mode: metadata.mode() & 0o7777 }
    }
}

/// Verifies that only `user` and root can read or change a key: whoever can read it can sign
/// anything. If root owns it, a group may read it; in this way a service gets a key that it cannot
/// change. Source: PostgreSQL, which has the same rule for its server's key (Secure TCP/IP
/// Connections with SSL).
fn check_private(path: &Path, owner: FileOwner, user: u32) -> Result<(), KeyError> {
    const ROOT: u32 = 0;
    let FileOwner { uid, mode } = owner;
    if uid != ROOT && uid != user {
        return Err(KeyError::unusable(format!(
            "belongs to another user (uid {uid}), who can sign with it; expected the guard's own \
             (uid {user}) or root; fix: chown {user} {0}, and make a new key if that user should \
             not have had it",
            path.display()
        )));
    }
    let allowed = if uid == ROOT { 0o750 } else { 0o700 };
    if mode & 0o777 & !allowed != 0 {
        return Err(KeyError::unusable(format!(
            "can be read or changed by others (mode {mode:04o}), who can sign with it then; fix: \
             chmod 600 {}, and make a new key if others may have read it",
            path.display()
        )));
    }
    Ok(())
}

/// A key that signs.
#[derive(Debug)]
pub(crate) struct Signer {
    public: PublicKey,
    secret: PrivateKey,
}

#[derive(Debug)]
enum PrivateKey {
    Local(Ed25519KeyPair),
    Kms { client: aws_sdk_kms::Client, key: String },
}

impl Signer {
    /// Reads the key in a file.
    ///
    /// # Errors
    /// [`KeyError`] when it cannot be read, is not a key, or can be read or changed by other users.
    pub(crate) fn local(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |error| KeyError::unusable(format!("cannot be read: {error}"));
        let mut file = File::open(path).map_err(unreadable)?;
        // Read from the open file: the path may lead to another file by now.
        let metadata = file.metadata().map_err(unreadable)?;
        check_private(path, FileOwner::of(&metadata), Uid::effective().as_raw())?;
        let mut text = Zeroizing::new(Vec::new());
        file.read_to_end(&mut text).map_err(unreadable)?;
        let mut pem = pem(&text)?;
        let contents = Zeroizing::new(std::mem::take(&mut pem.contents));
        if pem.label != "PRIVATE KEY" {
            return Err(KeyError::unusable(format!(
                "holds a {}; expected a PRIVATE KEY (PKCS#8) without passphrase",
                pem.label
            )));
        }
        // OpenSSL writes a form without the public key, so there is nothing to compare the secret
        // key with.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&contents).map_err(|_| {
            KeyError::unusable("is no Ed25519 key; make one: openssl genpkey -algorithm ed25519")
        })?;
        let der =
            pair.public_key().as_der().map_err(|_| KeyError::unusable("gives no public key"))?;
        Ok(Self { public: PublicKey::from_spki(der.as_ref())?, secret: PrivateKey::Local(pair) })
    }

    /// A key in KMS, by its ARN or alias.
    ///
    /// # Errors
    /// [`KeyError`] when KMS cannot describe it, or it is not a signing key.
    pub(crate) async fn kms(client: &aws_sdk_kms::Client, key: &str) -> Result<Self, KeyError> {
        let client = match region_of(key) {
            Some(region) => {
                let config = client
                    .config()
                    .to_builder()
                    .region(aws_config::Region::new(region.to_owned()))
                    .build();
                aws_sdk_kms::Client::from_conf(config)
            }
            None => client.clone(),
        };
        let answer = client.get_public_key().key_id(key).send().await;
        let answer =
            answer.map_err(|error| KeyError::aws(&aws_calls::GET_PUBLIC_KEY, describe(&error)))?;
        if answer.key_usage() != Some(&KeyUsageType::SignVerify) {
            let usage = answer.key_usage().map_or("unknown", KeyUsageType::as_str);
            return Err(KeyError::unusable(format!(
                "is a key for {usage}; expected one for SIGN_VERIFY"
            )));
        }
        let der = answer
            .public_key()
            .ok_or_else(|| KeyError::aws(&aws_calls::GET_PUBLIC_KEY, "the answer holds no key"))?;
        Ok(Self {
            public: PublicKey::from_spki(der.as_ref())?,
            secret: PrivateKey::Kms { client, key: key.to_owned() },
        })
    }

    /// The public half.
    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message`, and verifies the signature.
    ///
    /// # Errors
    /// [`KeyError`] when KMS does not sign.
    pub(crate) async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = match &self.secret {
            PrivateKey::Local(pair) => pair.sign(message).as_ref().to_owned(),
            PrivateKey::Kms { client, key } => {
                let (message_type, to_sign) = self.public.kind.to_sign(message);
                if message_type == MessageType::Raw && to_sign.len() > RAW_MESSAGE {
                    return Err(KeyError::unusable(format!(
                        "does not take a message of {} bytes; {RAW_MESSAGE} is the limit for \
                         Ed25519 in KMS",
                        to_sign.len()
                    )));
                }
                let request = client
                    .sign()
                    .key_id(key)
                    .message(Blob::new(to_sign))
                    .message_type(message_type);
                let answer = request.signing_algorithm(self.public.kind.in_kms()).send().await;
                let answer =
                    answer.map_err(|error| KeyError::aws(&aws_calls::SIGN, describe(&error)))?;
                answer
                    .signature
                    .ok_or_else(|| {
                        KeyError::aws(&aws_calls::SIGN, "the answer holds no signature")
                    })?
                    .into_inner()
            }
        };
        if self.public.verifies(message, &signature) {
            Ok(signature)
        } else {
            Err(KeyError::unusable("made a signature that its public half does not verify"))
        }
    }
}

/// The region in an ARN.
fn region_of(key: &str) -> Option<&str> {
    key.starts_with("arn:")
        .then(|| key.split(':').nth(3))
        .flatten()
        .filter(|region| !region.is_empty())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::settings::sign_key::KeyName;
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    fn in_pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    /// A key in the form that `openssl genpkey -algorithm ed25519` writes, and its public key.
    pub(crate) fn local(seed: &[u8]) -> (Signer, PublicKey) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let der = [bytes("302e020100300506032b657004220420"), seed.to_vec()].concat();
        std::fs::write(file.path(), in_pem("PRIVATE KEY", &der)).unwrap();
        let signer = Signer::local(file.path()).unwrap();
        let spki = [bytes("302a300506032b6570032100"), signer.public.key.clone()].concat();
        let public = PublicKey::from_pem(in_pem("PUBLIC KEY", &spki).as_bytes()).unwrap();
        (signer, public)
    }

    /// RFC 8032, section 7.1: secret key, public key, message, signature.
    const RFC_8032: [[&str; 4]; 3] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
    ];

    #[tokio::test]
    async fn signatures_are_those_of_rfc_8032() {
        for [seed, public_key, message, signature] in RFC_8032 {
            let (signer, public) = local(&bytes(seed));
            assert_eq!(public.key, bytes(public_key));
            assert_eq!(signer.public().id(), public.id());
            assert_eq!(signer.sign(&bytes(message)).await.unwrap(), bytes(signature));
            assert!(public.verifies(&bytes(message), &bytes(signature)));
            assert!(!public.verifies(b"other", &bytes(signature)));
        }
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        let told = |text: &str| PublicKey::from_pem(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(told("no key"), "holds no PEM");
        assert!(
            told(&in_pem("PRIVATE KEY", b"x")).starts_with("is a private key; give the public one")
        );
        assert_eq!(
            told(&in_pem("CERTIFICATE", b"x")),
            "holds a CERTIFICATE; expected a PUBLIC KEY in PEM"
        );
        assert_eq!(told(&in_pem("PUBLIC KEY", b"x")), "holds no public key that can be read");
        // X25519 is for key agreement, not for signatures.
        let x25519 = [bytes("302a300506032b656e032100"), vec![9; 32]].concat();
        assert!(
            told(&in_pem("PUBLIC KEY", &x25519))
                .starts_with("is of a kind that is not known (1.3.101.110)")
        );

        let file = tempfile::NamedTempFile::new().unwrap();
        let told = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            Signer::local(file.path()).unwrap_err().to_string()
        };
        assert_eq!(
            told(&in_pem("ENCRYPTED PRIVATE KEY", b"x")),
            "holds a ENCRYPTED PRIVATE KEY; expected a PRIVATE KEY (PKCS#8) without passphrase"
        );
        assert!(told(&in_pem("PRIVATE KEY", b"x")).starts_with("is no Ed25519 key; make one"));
        assert!(
            Signer::local(Path::new("/no/such/key"))
                .unwrap_err()
                .to_string()
                .starts_with("cannot be read: No such file")
        );
    }

    #[test]
    fn a_key_is_for_its_user_and_root_alone() {
        let judged = |uid, mode| {
            check_private(Path::new("key.pem"), FileOwner { uid, mode }, 1000)
                .map_err(|error| error.to_string())
        };
        for (uid, mode) in [(1000, 0o600), (1000, 0o400), (1000, 0o700), (0, 0o640), (0, 0o440)] {
            assert_eq!(judged(uid, mode), Ok(()), "{uid} {mode:o}");
        }
        for (uid, mode) in
            [(1000, 0o640), (1000, 0o604), (1000, 0o602), (0, 0o644), (0, 0o660), (0, 0o601)]
        {
            let told = judged(uid, mode).unwrap_err();
            assert!(told.starts_with("can be read or changed by others (mode 0"), "{told}");
        }
        let told = judged(1001, 0o600).unwrap_err();
        assert!(told.starts_with("belongs to another user (uid 1001)"), "{told}");
    }

    #[test]
    fn a_key_of_kms_is_known_by_its_name() {
        let name = |text: &str| text.parse::<KeyName>();
        assert_eq!(name("alias/evidence"), Ok(KeyName::Kms("alias/evidence".to_owned())));
        assert!(matches!(name("arn:aws:kms:eu-west-1:1:key/x"), Ok(KeyName::Kms(_))));
        assert_eq!(name("/etc/key.pem"), Ok(KeyName::File("/etc/key.pem".into())));
        assert!(name(" ").is_err());
        assert_eq!(region_of("arn:aws:kms:eu-west-1:1:key/x"), Some("eu-west-1"));
        assert_eq!(region_of("alias/x"), None);
    }
}
