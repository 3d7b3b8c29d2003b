//! Why AWS, or a part of it, cannot be called at all. Causes are recognised by error codes and
//! types, never by the words of a message.

/// A cause that makes many calls to AWS fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessCause {
    /// No credentials were found in the environment, a profile, a container or an instance.
    NoCredentials,
    /// A source of credentials is configured, but gave none: an expired SSO session, a role that
    /// cannot be assumed, a program that failed.
    CredentialsFailed,
    /// The session of the credentials has expired.
    ExpiredToken,
    /// AWS does not know the access key, or its session token.
    UnknownKey,
    /// The secret key does not match the access key.
    WrongSecret,
    /// This machine's clock differs from AWS's by more than AWS accepts. The difference is in
    /// minutes, and positive if this machine is ahead; none if the answer had no date.
    ClockSkew(Option<i64>),
    /// No connection to this host could be made.
    Unreachable(String),
    /// The server's certificate is not signed by an authority that this machine trusts.
    Untrusted,
    /// The proxy at this address refuses, or does not answer.
    Proxy(String),
    /// The bucket is not in the region that was called. Its own region, if S3 gave it.
    WrongRegion(Option<String>),
}

/// Codes by which AWS says that a session has expired. Sources: S3 API reference, error responses;
/// STS, EMR and KMS API references, common errors; EC2 API reference, error codes.
const EXPIRED: [&str; 4] =
    ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"];

/// Codes for an access key or session token that AWS does not know. Sources: as above.
const UNKNOWN_KEY: [&str; 5] = [
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "UnrecognizedClientException",
    "InvalidToken",
    "AuthFailure",
];

/// Codes for a signature that the key did not make. AWS services other than S3 also use them if a
/// request is dated too early or too late.
const WRONG_SIGNATURE: [&str; 2] = ["SignatureDoesNotMatch", "InvalidSignatureException"];

/// S3's code for a request that is dated too early or too late.
const TIME_SKEWED: &str = "RequestTimeTooSkewed";

/// S3's codes for a bucket in another region than the one that was called.
const OTHER_REGION: [&str; 2] = ["PermanentRedirect", "IllegalLocationConstraintException"];

/// S3's code for a request that is signed for another region than the bucket's. S3 uses it for any
/// other fault of the header, too; it means the region only if the answer gives the bucket's
/// region.
const OTHER_REGION_SIGNED: &str = "AuthorizationHeaderMalformed";

/// The smallest difference of clocks that AWS refuses, in minutes: five for most services, fifteen
/// for S3. Source: IAM user guide, "Troubleshooting Signature Version 4".
const LEAST_SKEW: i64 = 5;

impl AccessCause {
    /// The cause for an error code. `minutes_ahead`: how far this machine's clock is ahead of the
    /// answer's date. `bucket_region`: the bucket's region, if S3 gave it.
    pub(crate) fn of_code(
        code: &str,
        minutes_ahead: Option<i64>,
        bucket_region: Option<&str>,
    ) -> Option<Self> {
        let is_skewed = minutes_ahead.is_some_and(|minutes| minutes.abs() >= LEAST_SKEW);
        match code {
            TIME_SKEWED => Some(Self::ClockSkew(minutes_ahead)),
            _ if WRONG_SIGNATURE.contains(&code) || code == "RequestExpired" => {
                Some(if is_skewed {
                    Self::ClockSkew(minutes_ahead)
                } else if code == "RequestExpired" {
                    Self::ExpiredToken
                } else {
                    Self::WrongSecret
                })
            }
            _ if EXPIRED.contains(&code) => Some(Self::ExpiredToken),
            _ if UNKNOWN_KEY.contains(&code) => Some(Self::UnknownKey),
            _ if OTHER_REGION.contains(&code)
                || (code == OTHER_REGION_SIGNED && bucket_region.is_some()) =>
            {
                Some(Self::WrongRegion(bucket_region.map(str::to_owned)))
            }
            _ => None,
        }
    }

    /// Whether every call with the same credentials fails for the same cause.
    pub(crate) fn blocks_everything(&self) -> bool {
        match self {
            Self::NoCredentials
            | Self::CredentialsFailed
            | Self::ExpiredToken
            | Self::UnknownKey
            | Self::WrongSecret
            | Self::ClockSkew(_) => true,
            Self::Unreachable(_) | Self::Untrusted | Self::Proxy(_) | Self::WrongRegion(_) => false,
        }
    }

    /// Whether both are the same cause. Unreachable hosts count as one cause.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unreachable(_), Self::Unreachable(_)) => true,
            (one, other) => one == other,
        }
    }

    /// Its name in reports.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::NoCredentials => "no-credentials",
            Self::CredentialsFailed => "credentials-failed",
            Self::ExpiredToken => "expired-token",
            Self::UnknownKey => "unknown-key",
            Self::WrongSecret => "wrong-secret",
            Self::ClockSkew(_) => "clock-skew",
            Self::Unreachable(_) => "unreachable",
            Self::Untrusted => "untrusted",
            Self::Proxy(_) => "proxy",
            Self::WrongRegion(_) => "wrong-region",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_cause_and_a_signature_refused_under_a_wrong_clock_is_the_clocks() {
        use AccessCause::{ClockSkew, ExpiredToken, UnknownKey, WrongRegion, WrongSecret};
        let of = |code, minutes| AccessCause::of_code(code, minutes, None);
        for code in EXPIRED {
            assert_eq!(of(code, Some(0)), Some(ExpiredToken), "{code}");
        }
        for code in UNKNOWN_KEY {
            assert_eq!(of(code, Some(60)), Some(UnknownKey), "{code}");
        }
        for code in WRONG_SIGNATURE {
            assert_eq!(of(code, Some(4)), Some(WrongSecret), "{code}");
            assert_eq!(of(code, None), Some(WrongSecret), "{code}");
            assert_eq!(of(code, Some(-5)), Some(ClockSkew(Some(-5))), "{code}");
        }
        assert_eq!(of("RequestExpired", Some(17)), Some(ClockSkew(Some(17))));
        assert_eq!(of("RequestTimeTooSkewed", None), Some(ClockSkew(None)));
        assert_eq!(of("AuthorizationHeaderMalformed", None), None);
        for code in OTHER_REGION.into_iter().chain([OTHER_REGION_SIGNED]) {
            let region = AccessCause::of_code(code, None, Some("eu-central-1"));
            assert_eq!(region, Some(WrongRegion(Some("eu-central-1".to_owned()))), "{code}");
        }
        for code in ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "SlowDown"] {
            assert_eq!(of(code, Some(60)), None, "{code}");
        }
    }
}
