//! Why AWS, or a part of it, cannot be asked at all. Recognised by error codes and types, never by
//! the words of a message.

/// A cause that many questions to AWS share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessCause {
    /// No credentials were found: not in the environment, in no profile, in no container or
    /// instance.
    NoCredentials,
    /// A source of credentials is configured, and gave none: an SSO session that is over, a role
    /// that cannot be assumed, a program that failed.
    CredentialsFailed,
    /// The session of the credentials is over.
    ExpiredToken,
    /// AWS does not know the access key, or its session token.
    UnknownKey,
    /// The secret key is not the access key's.
    WrongSecret,
    /// This machine's clock differs from AWS's by more than AWS accepts: so many minutes, positive
    /// where this machine is ahead; none where the answer bore no date.
    ClockSkew(Option<i64>),
    /// No connection to this host could be made.
    Unreachable(String),
    /// No authority that this machine believes vouches for the server.
    Untrusted,
    /// The proxy of this address refuses, or does not answer.
    Proxy(String),
    /// The bucket is in another region than the one in which it was asked for: this one, where S3
    /// has said so.
    WrongRegion(Option<String>),
}

/// Codes with which AWS says that a session is over. Sources: S3 API reference, error responses;
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

/// Codes for a signature that is not the key's. AWS's services other than S3 use the same ones where
/// a request is dated too early or too late.
const WRONG_SIGNATURE: [&str; 2] = ["SignatureDoesNotMatch", "InvalidSignatureException"];

/// S3's code for a request dated too early or too late.
const TIME_SKEWED: &str = "RequestTimeTooSkewed";

/// S3's codes where a bucket is in another region than the one asked.
const OTHER_REGION: [&str; 2] = ["PermanentRedirect", "IllegalLocationConstraintException"];

/// S3's code where a request is signed for another region than the bucket's, and for anything else
/// that is wrong with the header: only with the bucket's region it is about that.
const OTHER_REGION_SIGNED: &str = "AuthorizationHeaderMalformed";

/// The smallest difference of clocks that AWS refuses, in minutes: five for most services, fifteen
/// for S3. Source: IAM user guide, "Troubleshooting Signature Version 4".
const LEAST_SKEW: i64 = 5;

impl AccessCause {
    /// What an error code means; `minutes_ahead` is how far this machine's clock was ahead of the
    /// answer's date, `bucket_region` what S3 has said of the bucket's region.
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

    /// Whether every question that is asked with the same credentials meets the same cause.
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

    /// Whether it is the same as another one: hosts that cannot be reached are one cause.
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
