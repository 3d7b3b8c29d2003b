//! The first EMR release that supports a feature of security configurations.

use crate::{base::names::ReleaseLabel, facts::emr::Content};

/// Security configurations exist since this release.
pub(super) const FIRST_WITH_SECURITY_CONFIGURATIONS: ReleaseLabel = ReleaseLabel::new(4, 8, 0);
/// Since this release Spark RPC is encrypted by AES, before by SASL. Source: Amazon EMR management
/// guide, Encryption options.
pub(super) const FIRST_WITH_AES_RPC: ReleaseLabel = ReleaseLabel::new(5, 9, 0);
/// `EnableEbsEncryption` works since this release.
pub(crate) const FIRST_WITH_EBS_ENCRYPTION: ReleaseLabel = ReleaseLabel::new(5, 24, 0);
/// The certificate provider `EMR` exists since this release.
pub(crate) const FIRST_WITH_EMR_CERTIFICATES: ReleaseLabel = ReleaseLabel::new(7, 11, 0);

/// The release that a security configuration needs, and the feature that needs it.
pub(super) fn needed(content: &Content) -> (ReleaseLabel, &'static str) {
    if content.tls.as_ref().is_some_and(|tls| tls.provider == "EMR") {
        (FIRST_WITH_EMR_CERTIFICATES, "certificates that EMR manages")
    } else if content.local_disk.as_ref().is_some_and(|disk| disk.ebs) {
        (FIRST_WITH_EBS_ENCRYPTION, "EBS encryption")
    } else {
        (FIRST_WITH_SECURITY_CONFIGURATIONS, "security configurations")
    }
}
