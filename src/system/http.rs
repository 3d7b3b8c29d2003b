//! The parts that all HTTP clients share: trusted authorities, and, for requests outside of AWS,
//! TLS and errors.

use std::sync::{Arc, LazyLock};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};

/// The certificate authorities that this machine trusts, or those of the bundle in SSL_CERT_FILE
/// and of the directories in SSL_CERT_DIR.
///
/// There are about 150, in as many files. They are read once, when the first client needs them.
pub(crate) fn authorities() -> &'static [CertificateDer<'static>] {
    static AUTHORITIES: LazyLock<Vec<CertificateDer<'static>>> =
        LazyLock::new(|| rustls_native_certs::load_native_certs().certs);
    &AUTHORITIES
}

/// The same TLS as for AWS: the same cryptography, and the same authorities.
///
/// # Errors
/// When the cryptography supports no version of TLS, which is a bug.
pub(crate) fn tls() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    // If one certificate cannot be parsed, the others are still used.
    roots.add_parsable_certificates(authorities().iter().cloned());
    let versions = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// `scheme://host:port` of a proxy, without credentials.
pub(crate) fn proxy_address(proxy: &::http::Uri) -> Option<String> {
    let authority = proxy.authority()?.as_str();
    let address = authority.rsplit('@').next().unwrap_or(authority).to_ascii_lowercase();
    Some(format!("{}://{address}", proxy.scheme_str().unwrap_or("http")))
}

/// Whether a URL's host is this machine.
pub(crate) fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The innermost error message, without the URL, which may be a secret.
pub(crate) fn describe(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer within the time limit".to_owned();
    }
    let error = error.without_url();
    let cause = crate::base::errors::innermost(&error);
    if error.is_connect() { format!("cannot be reached: {cause}") } else { cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        let is = |url: &str| is_loopback(&url.parse().unwrap());
        for url in [
            "http://127.0.0.1:80/x",
            "http://localhost/",
            "http://[::1]:8080/",
            "http://127.9.9.9/",
        ] {
            assert!(is(url), "{url}");
        }
        for url in [
            "http://localhost.evil.example/",
            "http://127.0.0.1.evil.example/",
            "http://user:127.0.0.1@evil.example/",
            "http://10.0.0.1/",
        ] {
            assert!(!is(url), "{url}");
        }
    }
}
