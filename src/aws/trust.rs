//! Which servers are trusted to be AWS: the certificate authority of each server, and the proxy
//! that is used.
//!
//! TLS verifies that an authority has signed a server's certificate, and this machine decides which
//! authorities it trusts. Whoever can add one, or set a bundle in `SSL_CERT_FILE`, can forge every
//! answer of AWS. So a server with an AWS name is trusted only if its authority is in the public
//! set (Mozilla's, as the crate `webpki-roots` has it), or if the setting `allow_roots` names the
//! authority by its digest. To any other server nothing is sent: the handshake fails with an error
//! that names the authority.
//!
//! A resumed TLS session shows no certificate. It continues an earlier session of this process with
//! the same server, which was verified then.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    error::Error,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::interceptors::{
        Intercept, context::BeforeSerializationInterceptorContextRef, dyn_dispatch_hint,
    },
};
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use hyper_util::client::proxy::matcher::Intercept as ProxyRoute;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::{prelude::FromDer as _, x509::X509Name};

use crate::{
    base::{
        digest::sha256,
        errors::find,
        printable::{Printable, printable},
    },
    settings::aws_options::RootDigest,
    spec::observations::{LauncherRoute, RouteKind},
    system::http,
};

/// Why an authority is trusted, or is not.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "RootStanding")]
pub enum RootStanding {
    /// It is in the public set.
    Public,
    /// The setting `allow_roots` names it.
    Allowed,
    /// Neither: nothing was sent to its servers.
    Refused,
}

/// A certificate authority that signed certificates of AWS's servers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AwsRoot")]
pub struct AwsRoot {
    /// Its name, from its certificate.
    pub subject: Printable,
    /// The SHA-256 digest of its certificate, in hexadecimal. None if this machine does not have
    /// its certificate, but trusts another one that it has signed.
    pub sha256: Option<String>,
    /// Why it is trusted, or is not.
    pub standing: RootStanding,
    /// The hosts whose certificates it signed, among those that the process connected to.
    pub hosts: BTreeSet<String>,
}

/// A proxy that was used for servers of AWS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AwsProxy")]
pub struct AwsProxy {
    /// Its address, without credentials.
    pub proxy: String,
    /// The hosts that were called through it.
    pub hosts: BTreeSet<String>,
}

/// The connections to AWS: their certificate authorities and proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AwsConnections")]
pub struct AwsConnections {
    /// Each authority of a server, over TLS.
    pub roots: Vec<AwsRoot>,
    /// Each proxy.
    pub proxies: Vec<AwsProxy>,
}

impl RootStanding {
    /// In one word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Allowed => "allowed",
            Self::Refused => "refused",
        }
    }
}

impl AwsConnections {
    /// Whether a server was refused because of its authority.
    pub(crate) fn has_refused(&self) -> bool {
        self.roots.iter().any(|root| root.standing == RootStanding::Refused)
    }
}

/// The authority of an AWS server's certificate is neither public nor allowed.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the certificate of {host} is signed by the authority \"{subject}\", which is not public: a \
     holder of its key can answer as AWS; if that is your company's own, name it in the setting \
     `allow_roots`: {sha256}"
)]
pub(crate) struct RefusedRoot {
    host: String,
    subject: Printable,
    sha256: String,
}

impl RefusedRoot {
    /// This error in another error's chain, if it is there.
    pub(crate) fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        match find(error)? {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
                other.downcast_ref()
            }
            _ => None,
        }
    }
}

/// The authorities that the clients of one run trust for AWS, and those that their servers used.
#[derive(Clone, Debug)]
pub(crate) struct AwsTrust {
    record: Arc<ConnectionRecord>,
    tls: Arc<OnceLock<Result<Arc<ClientConfig>, rustls::Error>>>,
}

impl AwsTrust {
    pub(crate) fn new(allowed: &[RootDigest]) -> Self {
        let record = ConnectionRecord { allowed: allowed.to_vec(), ..ConnectionRecord::default() };
        Self { record: Arc::new(record), tls: Arc::default() }
    }

    /// The TLS configuration for AWS, for HTTP/1.1. It is created once, for the first connection:
    /// it loads every authority that this machine trusts, and keeps the sessions that can be
    /// resumed.
    ///
    /// # Errors
    /// When the cryptography provider offers no version of TLS, or this machine trusts no
    /// authority.
    pub(crate) fn tls(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        self.tls.get_or_init(|| self.make_tls().map(Arc::new)).clone()
    }

    fn make_tls(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            self.verifier(&provider, http::authorities(), webpki_roots::TLS_SERVER_ROOTS)?;
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(tls)
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
        authorities: &'static [CertificateDer<'static>],
        public: &'static [TrustAnchor<'static>],
    ) -> Result<RootVerifier, rustls::Error> {
        let mut roots = RootCertStore::empty();
        // If one certificate cannot be parsed, the others are still used.
        roots.add_parsable_certificates(authorities.iter().cloned());
        let roots = Arc::new(roots);
        let standard =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        let record = Arc::clone(&self.record);
        Ok(RootVerifier { standard, roots, authorities, public, record })
    }

    /// Records that `host` is called through a proxy.
    pub(crate) fn note_proxy(&self, host: &str, route: &ProxyRoute) {
        let proxy = http::proxy_address(route.uri()).unwrap_or_default();
        let mut seen = self.record.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.proxies.entry(proxy).or_default().insert(host.to_owned());
    }

    /// The authorities in the environment's certificate bundle that the guard refuses but other
    /// programs trust: they are neither public nor allowed. None if the environment names no
    /// bundle, or it has no such authority.
    pub(crate) fn private_authorities(&self) -> Option<LauncherRoute> {
        let name = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
            .into_iter()
            .find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))?;
        let private = private_names(http::authorities(), &self.record.allowed);
        let first = private.first()?;
        let others = match private.len() {
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        Some(LauncherRoute {
            name: name.to_owned(),
            kind: RouteKind::Authorities,
            what: printable!(
                "has the runner believe an authority that is neither public nor allowed, and whom \
                 the guard refuses: \"{first}\"{others}"
            ),
            source: "OpenSSL, SSL_CTX_load_verify_locations(3); JRuby-OpenSSL, X509Utils",
        })
    }

    /// The authorities and proxies that were used so far.
    pub(crate) fn connections(&self) -> AwsConnections {
        let seen = self.record.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let root = |(root, hosts): (&Root, &BTreeSet<String>)| AwsRoot {
            subject: root.subject.clone(),
            sha256: root.sha256.clone(),
            standing: root.standing,
            hosts: hosts.clone(),
        };
        let proxy = |(proxy, hosts): (&String, &BTreeSet<String>)| AwsProxy {
            proxy: proxy.clone(),
            hosts: hosts.clone(),
        };
        AwsConnections {
            roots: seen.roots.iter().map(root).collect(),
            proxies: seen.proxies.iter().map(proxy).collect(),
        }
    }

    /// The one of the client that makes a call.
    pub(super) fn of(config: &ConfigBag) -> Option<Self> {
        config.load::<Self>().cloned()
    }
}

impl Storable for AwsTrust {
    type Storer = StoreReplace<Self>;
}

/// Lets other parts of a client find it: see [`AwsTrust::of`].
#[dyn_dispatch_hint]
impl Intercept for AwsTrust {
    fn name(&self) -> &'static str {
        "AwsTrust"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(self.clone());
        Ok(())
    }
}

/// The authorities and proxies that the connections of one [`AwsTrust`] used.
#[derive(Debug, Default)]
struct ConnectionRecord {
    allowed: Vec<RootDigest>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    roots: BTreeMap<Root, BTreeSet<String>>,
    proxies: BTreeMap<String, BTreeSet<String>>,
    /// The authority by the digest of a server's certificates, which are the same on each
    /// connection.
    chains: HashMap<[u8; 32], Root>,
}

/// An authority.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Root {
    subject: Printable,
    sha256: Option<String>,
    standing: RootStanding,
}

/// Verifies servers as rustls does, and then determines the authority.
struct RootVerifier {
    standard: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    authorities: &'static [CertificateDer<'static>],
    public: &'static [TrustAnchor<'static>],
    record: Arc<ConnectionRecord>,
}

impl fmt::Debug for RootVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootVerifier of {} authorities", self.authorities.len())
    }
}

impl RootVerifier {
    /// Records the authority of `host`.
    ///
    /// # Errors
    /// [`RefusedRoot`].
    fn judge(
        &self,
        host: &str,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), RefusedRoot> {
        let mut chain = Sha256::new();
        for certificate in std::iter::once(leaf).chain(intermediates) {
            chain.update(certificate.len().to_be_bytes());
            chain.update(certificate);
        }
        let chain = chain.finalize().into();
        let known = self.seen().chains.get(&chain).cloned();
        let root = known.unwrap_or_else(|| self.root(leaf, intermediates, now));
        let mut seen = self.seen();
        seen.chains.insert(chain, root.clone());
        seen.roots.entry(root.clone()).or_default().insert(host.to_owned());
        match root.standing {
            RootStanding::Public | RootStanding::Allowed => Ok(()),
            RootStanding::Refused => Err(RefusedRoot {
                host: host.to_owned(),
                subject: root.subject,
                sha256: root.sha256.unwrap_or_else(|| "(its certificate is not known)".to_owned()),
            }),
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.record.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The authority of a server that rustls has accepted.
    fn root(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Root {
        // The entries of the public set are used, since they limit some authorities to certain
        // names.
        let anchor = anchor_of(leaf, intermediates, now, self.public);
        if let Some(anchor) = anchor {
            let certificate = self.certificate(&anchor).map(|(_, sha256)| sha256);
            let subject = name(&anchor);
            return Root { subject, sha256: certificate, standing: RootStanding::Public };
        }
        let found = anchor_of(leaf, intermediates, now, &self.roots.roots)
            .and_then(|anchor| self.certificate(&anchor));
        let Some((subject, sha256)) = found else {
            // rustls has just found one. If this search does not, the server is not trusted.
            let subject = Printable::from("one that could not be determined");
            return Root { subject, sha256: None, standing: RootStanding::Refused };
        };
        let standing = if is_allowed(&self.record.allowed, &sha256) {
            RootStanding::Allowed
        } else {
            RootStanding::Refused
        };
        Root { subject, sha256: Some(sha256), standing }
    }

    /// Name and digest of the certificate that this machine has of an authority. If several have
    /// the same name and key, an allowed one is preferred.
    fn certificate(&self, anchor: &TrustAnchor<'_>) -> Option<(Printable, String)> {
        let same = |certificate: &&CertificateDer<'_>| {
            anchor_from_trusted_cert(certificate).is_ok_and(|own| {
                own.subject == anchor.subject
                    && own.subject_public_key_info == anchor.subject_public_key_info
            })
        };
        let mut digests = self.authorities.iter().filter(same).map(sha256).peekable();
        let first = digests.peek().cloned()?;
        let allowed = digests.find(|digest| is_allowed(&self.record.allowed, digest));
        Some((name(anchor), allowed.unwrap_or(first)))
    }
}

/// Whether the settings allow the authority with this digest.
fn is_allowed(allowed: &[RootDigest], sha256: &str) -> bool {
    allowed.iter().any(|allowed| allowed.as_str() == sha256)
}

/// The names of the authorities that are neither in the public set nor allowed.
fn private_names(authorities: &[CertificateDer<'_>], allowed: &[RootDigest]) -> Vec<Printable> {
    let public = |own: &TrustAnchor<'_>| {
        webpki_roots::TLS_SERVER_ROOTS
            .iter()
            .any(|public| public.subject_public_key_info == own.subject_public_key_info)
    };
    authorities
        .iter()
        .filter_map(|certificate| {
            let own = anchor_from_trusted_cert(certificate).ok()?;
            (!public(&own) && !is_allowed(allowed, &sha256(certificate))).then(|| name(&own))
        })
        .collect()
}

/// The one of `anchors` that signed a server's certificate chain.
fn anchor_of(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
    anchors: &[TrustAnchor<'_>],
) -> Option<TrustAnchor<'static>> {
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let leaf = EndEntityCert::try_from(leaf).ok()?;
    let path = leaf
        .verify_for_usage(
            algorithms,
            anchors,
            intermediates,
            now,
            KeyUsage::server_auth(),
            None,
            None,
        )
        .ok()?;
    Some(path.anchor().to_owned())
}

/// An authority's name, in the format of RFC 4514.
fn name(anchor: &TrustAnchor<'_>) -> Printable {
    // The crate's `subject` is the content of the name's SEQUENCE.
    let content = anchor.subject.as_ref();
    let mut der = vec![0x30];
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => der.push(length),
        _ => {
            der.push(0x82);
            der.extend(u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    der.extend(content);
    match X509Name::from_der(&der) {
        Ok((_, name)) => Printable::from(name.to_string()),
        Err(_) => Printable::from("a name that cannot be read"),
    }
}

impl ServerCertVerifier for RootVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.standard.verify_server_cert(leaf, intermediates, server, ocsp, now)?;
        self.judge(&server.to_str(), leaf, intermediates, now).map_err(|refused| {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(
                refused,
            ))))
        })?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.standard.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.standard.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.standard.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, GeneralSubtree, IsCa,
        KeyPair, NameConstraints,
    };

    use super::*;

    const HOST: &str = "kms.eu-west-1.amazonaws.com";

    /// An authority that may sign for `names`, or for all names if there are none.
    fn authority(name: &str, key: KeyPair, names: &[&str]) -> CertifiedIssuer<'static, KeyPair> {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.name_constraints = (!names.is_empty()).then(|| NameConstraints {
            permitted_subtrees: names
                .iter()
                .map(|name| GeneralSubtree::DnsName((*name).to_owned()))
                .collect(),
            excluded_subtrees: Vec::new(),
        });
        CertifiedIssuer::self_signed(parameters, key).unwrap()
    }

    fn leaked<T>(several: Vec<T>) -> &'static [T] {
        several.leak()
    }

    /// A server's certificate by `authority`, and the result of its verification if this machine
    /// trusts `own`, the public set is `public`, and `allowed` are the allowed digests.
    fn verified(
        authority: &CertifiedIssuer<'static, KeyPair>,
        own: &[&CertifiedIssuer<'static, KeyPair>],
        public: &[&CertifiedIssuer<'static, KeyPair>],
        allowed: &[String],
    ) -> (Result<(), rustls::Error>, AwsConnections) {
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        let server = server.signed_by(&key, authority).unwrap();
        let allowed: Vec<RootDigest> =
            allowed.iter().map(|digest| digest.parse().unwrap()).collect();
        let trust = AwsTrust::new(&allowed);
        let own = leaked(own.iter().map(|own| own.der().clone()).collect());
        let public: Vec<TrustAnchor<'static>> = public
            .iter()
            .map(|public| anchor_from_trusted_cert(public.der()).unwrap().to_owned())
            .collect();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = trust.verifier(&provider, own, leaked(public)).unwrap();
        let host = ServerName::try_from(HOST).unwrap();
        // A time within the validity of rcgen's certificates, which is very long.
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let verify = || verifier.verify_server_cert(server.der(), &[], &host, &[], now);
        let first = verify().map(|_| ());
        // The second time, the result comes from the record.
        assert_eq!(first.is_ok(), verify().is_ok());
        (first, trust.connections())
    }

    fn new(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        authority(name, KeyPair::generate().unwrap(), &[])
    }

    #[test]
    fn a_server_is_believed_by_a_public_or_an_allowed_authority_alone() {
        let (public, company) = (new("Public Root"), new("Company Root"));
        let own = [&public, &company];
        let digest = |of: &CertifiedIssuer<'static, KeyPair>| sha256(of.der());
        let root = |connections: AwsConnections| {
            let [root] = connections.roots.as_slice() else { panic!("{connections:?}") };
            assert_eq!(root.hosts, BTreeSet::from([HOST.to_owned()]));
            root.clone()
        };

        let (verified_as, seen) = verified(&public, &own, &[&public], &[]);
        assert_eq!(verified_as, Ok(()));
        let seen = root(seen);
        assert_eq!(seen.standing, RootStanding::Public);
        assert_eq!(seen.subject.as_str(), "CN=Public Root");
        assert_eq!(seen.sha256, Some(digest(&public)));

        let (verified_as, seen) = verified(&company, &own, &[&public], &[digest(&company)]);
        assert_eq!(verified_as, Ok(()));
        assert_eq!(root(seen).standing, RootStanding::Allowed);

        // The allowed digest belongs to another authority.
        let (verified_as, seen) = verified(&company, &own, &[&public], &[digest(&public)]);
        let error = verified_as.unwrap_err();
        let refused = RefusedRoot::find(&error).unwrap();
        assert_eq!(
            refused.to_string(),
            format!(
                "the certificate of {HOST} is signed by the authority \"CN=Company Root\", which \
                 is not public: a holder of its key can answer as AWS; if that is your company's \
                 own, name it in the setting `allow_roots`: {}",
                digest(&company)
            )
        );
        assert_eq!(root(seen).standing, RootStanding::Refused);
    }

    #[test]
    fn whom_this_machine_does_not_believe_is_refused_whatever_is_allowed() {
        let (public, stranger) = (new("Public Root"), new("Stranger"));
        let allowed = [sha256(stranger.der())];
        let (verified_as, seen) = verified(&stranger, &[&public], &[&public, &stranger], &allowed);
        assert_eq!(
            verified_as,
            Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
        );
        assert_eq!(seen, AwsConnections::default());
    }

    #[test]
    fn a_name_alone_makes_no_authority_public() {
        let (public, namesake) = (new("Public Root"), new("Public Root"));
        let (verified_as, seen) = verified(&namesake, &[&public, &namesake], &[&public], &[]);
        assert!(verified_as.is_err());
        assert_eq!(seen.roots[0].sha256, Some(sha256(namesake.der())));
    }

    #[test]
    fn an_authority_that_is_public_for_other_names_is_not_for_those_of_aws() {
        let key = KeyPair::generate().unwrap();
        let same = KeyPair::from_pem(&key.serialize_pem()).unwrap();
        let constrained = authority("National Root", key, &["gov.example"]);
        let own = authority("National Root", same, &[]);
        let (verified_as, seen) = verified(&own, &[&own], &[&constrained], &[]);
        assert!(verified_as.is_err());
        assert_eq!(seen.roots[0].standing, RootStanding::Refused);
    }

    #[test]
    fn the_authorities_that_vouch_for_aws_are_in_the_public_set() {
        let names: Vec<String> = webpki_roots::TLS_SERVER_ROOTS
            .iter()
            .map(|anchor| name(anchor).as_str().to_owned())
            .collect();
        for wanted in [
            "CN=Amazon Root CA 1",
            "CN=Amazon Root CA 2",
            "CN=Amazon Root CA 3",
            "CN=Amazon Root CA 4",
            "CN=Starfield Services Root Certificate Authority - G2",
        ] {
            assert!(names.iter().any(|name| name.contains(wanted)), "{wanted}: {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("cannot be read")), "{names:?}");
    }

    #[test]
    fn of_a_bundle_only_what_is_neither_public_nor_allowed_is_told() {
        let (one, other) = (new("One"), new("Other"));
        let bundle = [one.der().clone(), other.der().clone()];
        let allowed = [sha256(one.der()).parse().unwrap()];
        let names = private_names(&bundle, &allowed);
        assert_eq!(names.iter().map(Printable::as_str).collect::<Vec<_>>(), ["CN=Other"]);
    }

    #[test]
    fn a_proxy_is_told_without_its_password() {
        let trust = AwsTrust::new(&[]);
        let proxies = hyper_util::client::proxy::matcher::Matcher::builder()
            .https("http://user:hidden@proxy.example:3128")
            .build();
        let server = format!("https://{HOST}").parse().unwrap();
        trust.note_proxy(HOST, &proxies.intercept(&server).unwrap());
        assert_eq!(
            trust.connections().proxies,
            [AwsProxy {
                proxy: "http://proxy.example:3128".to_owned(),
                hosts: BTreeSet::from([HOST.to_owned()]),
            }]
        );
    }
}
