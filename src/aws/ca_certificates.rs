//! Whether this machine has certificate authorities to trust.

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// No certificate authorities are configured on this machine.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "nothing was launched: AWS cannot be asked, because this machine has no CA certificates; \
     install the package ca-certificates, or name a bundle in SSL_CERT_FILE"
)]
pub struct MissingCaCertificates;

/// Verifies that this machine has CA certificates. Without them every call would fail with a
/// message that does not name the cause.
///
/// # Errors
/// [`MissingCaCertificates`].
pub fn check_ca_certificates() -> Result<(), MissingCaCertificates> {
    // On most machines the first certificate of one file is enough to know. The hundreds of others
    // are read once, when they are needed.
    let bundle =
        openssl_probe::probe().cert_file.filter(|_| std::env::var_os("SSL_CERT_DIR").is_none());
    let is_one = |bundle| {
        CertificateDer::pem_file_iter(bundle)
            .is_ok_and(|mut certificates| certificates.any(|certificate| certificate.is_ok()))
    };
    if bundle.is_some_and(is_one) || !rustls_native_certs::load_native_certs().certs.is_empty() {
        Ok(())
    } else {
        Err(MissingCaCertificates)
    }
}
