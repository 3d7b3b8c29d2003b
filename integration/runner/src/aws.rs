//! Owns signed HTTP to the stand-in AWS: one request, one response, no retries.

use std::io;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use ureq::http::{Request, header::HOST};

use crate::journal::Journal;

/// A connection to the stand-in, with the configuration's static credentials.
pub struct Aws {
    agent: ureq::Agent,
    endpoint: String,
    credentials: Credentials,
    /// Where requests are recorded.
    pub journal: Journal,
}

/// A response, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `x-amz-bucket-region`, where S3 returns the bucket's region.
    pub bucket_region: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there was no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No response in time; the request may have taken effect.
    TimedOut,
    /// The connection was refused.
    ConnectionRefused(String),
    /// The connection broke; the request may have taken effect.
    ConnectionReset(String),
    /// Anything else.
    Other(String),
}

/// Checks that an endpoint is a stand-in's: plain HTTP, and no host of AWS.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check_endpoint(endpoint: Option<&str>) -> Result<String, String> {
    let Some(endpoint) = endpoint else {
        return Err(
            "no endpoint: set STANDIN_ENDPOINT or AWS_ENDPOINT_URL to a stand-in AWS".to_owned()
        );
    };
    if !endpoint.starts_with("http://") {
        return Err(format!("{endpoint} is no http:// address: the stand-in talks plain HTTP"));
    }
    if endpoint.contains("amazonaws") {
        return Err(format!("{endpoint} looks like the real AWS: the stand-in never talks to it"));
    }
    Ok(endpoint.trim_end_matches('/').to_owned())
}

impl Aws {
    /// A client for `endpoint` (see [`check_endpoint`]).
    #[must_use]
    pub fn new(
        endpoint: String,
        access_key_id: &str,
        secret_access_key: &str,
        timeout: Duration,
        journal: Journal,
    ) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // The real program opens a connection per request; a kept one could break and hide a
            // second attempt.
            .max_idle_connections(0)
            .proxy(None)
            .timeout_global(Some(timeout))
            .build()
            .new_agent();
        let credentials =
            Credentials::new(access_key_id, secret_access_key, None, None, "runner config");
        Self { agent, endpoint, credentials, journal }
    }

    /// Sends one request, signed for `service` in `region`. `target` is the path and query.
    ///
    /// # Errors
    /// A [`Failure`] where there is no complete response.
    pub fn send(
        &self,
        service: &str,
        region: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let other = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
        let mut builder =
            Request::builder().method(method).uri(format!("{}{target}", self.endpoint));
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let mut request = builder.body(()).map_err(|error| other(&error))?;
        self.sign(service, region, &mut request, body).map_err(Failure::Other)?;
        // It is signed, but the client itself writes it.
        request.headers_mut().remove(HOST);
        let sent = if body.is_empty() {
            self.agent.run(request)
        } else {
            self.agent.run(request.map(|()| body))
        };
        let mut response = sent.map_err(|error| failure(&error))?;
        let bucket_region = response
            .headers()
            .get("x-amz-bucket-region")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let body = response.body_mut().read_to_vec().map_err(|error| failure(&error))?;
        Ok(Answer { status: response.status().as_u16(), bucket_region, body })
    }

    fn sign(
        &self,
        service: &str,
        region: &str,
        request: &mut Request<()>,
        body: &[u8],
    ) -> Result<(), String> {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        // Each of the real program's two libraries signs its own selection of headers.
        settings.excluded_headers = Some(vec!["accept".into()]);
        if service == "s3" {
            settings.excluded_headers = Some(vec!["accept".into(), "user-agent".into()]);
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let uri = request.uri().to_string();
        let headers = request
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new(
            request.method().as_str(),
            uri,
            headers,
            SignableBody::Bytes(body),
        )
        .map_err(|error| error.to_string())?;
        let (instructions, _) =
            sign(signable, &parameters).map_err(|error| error.to_string())?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

fn failure(error: &ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(_) => Failure::TimedOut,
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::TimedOut,
            io::ErrorKind::ConnectionRefused => Failure::ConnectionRefused(error.to_string()),
            _ => Failure::ConnectionReset(error.to_string()),
        },
        error => Failure::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::check_endpoint;

    #[test]
    fn an_endpoint_must_be_named_and_be_no_aws_of_the_real_world() {
        assert_eq!(
            check_endpoint(Some("http://127.0.0.1:5000/")),
            Ok("http://127.0.0.1:5000".to_owned())
        );
        assert!(check_endpoint(None).is_err());
        assert!(check_endpoint(Some("https://127.0.0.1:5000")).is_err());
        assert!(check_endpoint(Some("http://s3.amazonaws.com")).is_err());
    }
}
