//! Owns the format of responses, above all of errors, in each service's own protocol.

use serde_json::{Value, json};

use crate::call::Service;
use crate::xml::Xml;

/// An answer before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) error: Option<String>,
    /// The value of `Content-Length` where there is no body to count, as for HEAD.
    pub(crate) length: Option<u64>,
}

impl Reply {
    /// The same page of a list, but without a next page.
    pub(crate) fn into_last_page(mut self) -> Self {
        if let Ok(Value::Object(mut json)) = serde_json::from_slice(&self.body) {
            json.remove("Marker");
            self.body = Value::Object(json).to_string().into_bytes();
            return self;
        }
        let mut xml = String::from_utf8_lossy(&self.body)
            .replace("<IsTruncated>true</IsTruncated>", "<IsTruncated>false</IsTruncated>");
        for name in ["NextContinuationToken", "NextKeyMarker", "NextVersionIdMarker", "NextToken"] {
            let (start, end) = (format!("<{name}>"), format!("</{name}>"));
            if let Some((before, rest)) = xml.split_once(&start)
                && let Some((_, after)) = rest.split_once(&end)
            {
                xml = format!("{before}{after}");
            }
        }
        self.body = xml.into_bytes();
        self
    }

    pub(crate) fn json(body: &Value) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/x-amz-json-1.1".to_owned())],
            body: body.to_string().into_bytes(),
            error: None,
            length: None,
        }
    }

    pub(crate) fn xml(xml: Xml) -> Self {
        Self {
            headers: vec![("content-type".to_owned(), "application/xml".to_owned())],
            body: xml.finish().into_bytes(),
            ..Self::empty(200)
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), error: None, length: None }
    }

    pub(crate) fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With the service's own `Content-Type`; S3 has several.
    pub(crate) fn of(mut self, service: Service) -> Self {
        if !matches!(service, Service::S3 | Service::S3Control) {
            for (name, value) in &mut self.headers {
                if name == "content-type" {
                    content_type(service).clone_into(value);
                }
            }
        }
        self
    }
}

/// Recorded from AWS in cloud-custodian's `tests/data/placebo`; SQS speaks JSON 1.0.
fn content_type(service: Service) -> &'static str {
    match service {
        Service::Emr | Service::Kms | Service::Events => "application/x-amz-json-1.1",
        Service::Sqs => "application/x-amz-json-1.0",
        Service::Iam | Service::Sts | Service::Sns | Service::CloudWatch => "text/xml",
        Service::Ec2 => "text/xml;charset=UTF-8",
        Service::S3 | Service::S3Control => "application/xml",
    }
}

/// A service's response to a call.
pub(crate) type Answer = Result<Reply, Failure>;

/// An error before it is formatted for its service.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    /// Further members of the error: of the JSON object, or elements of S3's.
    pub(crate) extra: Vec<(&'static str, String)>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Failure {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            extra: Vec::new(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.extra.push((name, value.into()));
        self
    }

    pub(crate) fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The service's own refusal of a caller it knows.
    pub(crate) fn access_denied(service: Service, operation: &str, arn: &str) -> Self {
        let action = format!("{}:{operation}", service.action_prefix());
        let message = format!("User: {arn} is not authorized to perform: {action}");
        match service {
            Service::Emr | Service::Kms | Service::Sqs | Service::Events => {
                Self::new(400, "AccessDeniedException", message)
            }
            Service::Iam | Service::Sts | Service::CloudWatch => {
                Self::new(403, "AccessDenied", message)
            }
            Service::Sns => Self::new(403, "AuthorizationError", message),
            Service::Ec2 => Self::new(
                403,
                "UnauthorizedOperation",
                "You are not authorized to perform this operation.",
            ),
            Service::S3 | Service::S3Control => Self::new(403, "AccessDenied", "Access Denied"),
        }
    }

    /// The service's own answer to too many calls.
    pub(crate) fn throttled(service: Service) -> Self {
        match service {
            Service::Emr | Service::Kms | Service::Sqs | Service::Events => {
                Self::new(400, "ThrottlingException", "Rate exceeded")
            }
            Service::Iam | Service::Sts | Service::Sns | Service::CloudWatch => {
                Self::new(400, "Throttling", "Rate exceeded")
            }
            Service::Ec2 => Self::new(503, "RequestLimitExceeded", "Request limit exceeded."),
            Service::S3 => Self::new(503, "SlowDown", "Please reduce your request rate."),
            Service::S3Control => Self::new(400, "TooManyRequestsException", "Too many requests"),
        }
    }

    /// The service's own server error.
    pub(crate) fn server(service: Service, status: u16) -> Self {
        let unavailable = status == 503;
        let (code, message) = match service {
            Service::Emr
            | Service::Kms
            | Service::Iam
            | Service::Sts
            | Service::Sns
            | Service::Sqs
            | Service::Events
            | Service::CloudWatch
                if unavailable =>
            {
                ("ServiceUnavailable", "The service is currently unavailable.")
            }
            Service::Emr => (
                "InternalServerException",
                "An internal server error occurred. Please retry your request.",
            ),
            Service::Events => (
                "InternalException",
                "The request processing has failed because of an unknown error.",
            ),
            Service::Kms => (
                "KMSInternalException",
                "The request was rejected because an internal exception occurred.",
            ),
            Service::Iam => {
                ("ServiceFailure", "The request processing has failed because of an unknown error.")
            }
            Service::Sts | Service::Sns | Service::Sqs | Service::CloudWatch => (
                "InternalFailure",
                "The request processing has failed because of an unknown error.",
            ),
            Service::Ec2 if unavailable => {
                ("Unavailable", "The server is overloaded and can't handle the request.")
            }
            Service::Ec2 => ("InternalError", "An internal error has occurred"),
            Service::S3 | Service::S3Control if unavailable => {
                ("ServiceUnavailable", "Service is unable to handle request.")
            }
            Service::S3 | Service::S3Control => {
                ("InternalError", "We encountered an internal error. Please try again.")
            }
        };
        Self::new(status, code, message)
    }

    /// The service's own response to an unsigned request.
    pub(crate) fn unsigned(service: Service) -> Self {
        match service {
            Service::Emr | Service::Kms | Service::Sqs | Service::Events => Self::new(
                400,
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            ),
            Service::Iam | Service::Sts | Service::Sns | Service::CloudWatch => Self::new(
                403,
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            ),
            Service::Ec2 => Self::new(
                401,
                "AuthFailure",
                "AWS was not able to validate the provided access credentials",
            ),
            Service::S3 | Service::S3Control => Self::new(403, "AccessDenied", "Access Denied"),
        }
    }

    /// The service's own response to an unknown access key.
    pub(crate) fn unknown_key(service: Service, access_key: &str) -> Self {
        let invalid = "The security token included in the request is invalid.";
        match service {
            Service::Emr | Service::Kms | Service::Sqs | Service::Events => {
                Self::new(400, "UnrecognizedClientException", invalid)
            }
            Service::Iam | Service::Sts | Service::Sns | Service::CloudWatch => {
                Self::new(403, "InvalidClientTokenId", invalid)
            }
            Service::Ec2 => Self::unsigned(service),
            Service::S3 | Service::S3Control => Self::new(
                403,
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
            )
            .with("AWSAccessKeyId", access_key),
        }
    }

    /// The service's own response to a session that is over. Sources: Amazon S3 API reference,
    /// Error responses; Amazon EC2 API reference, Error codes; aws/aws-sdk-java-v2 #1649 (STS) and
    /// getsops/sops #621 (KMS).
    pub(crate) fn expired(service: Service) -> Self {
        let expired = "The security token included in the request is expired";
        match service {
            Service::Emr | Service::Kms | Service::Sqs | Service::Events => {
                Self::new(400, "ExpiredTokenException", expired)
            }
            Service::Iam | Service::Sts | Service::Sns | Service::CloudWatch => {
                Self::new(403, "ExpiredToken", expired)
            }
            Service::Ec2 => Self::new(400, "RequestExpired", "Request has expired."),
            Service::S3 | Service::S3Control => {
                Self::new(400, "ExpiredToken", "The provided token has expired.")
            }
        }
    }

    /// The response for operations that the simulator does not model.
    pub(crate) fn not_modelled(service: Service, operation: &str) -> Self {
        let name = service.action_prefix();
        Self::new(501, "NotModelled", format!("emr-simulator does not model {name}:{operation}"))
    }

    /// The error in its service's format.
    pub(crate) fn reply(self, service: Service, request_id: &str, head: bool) -> Reply {
        let body = match service {
            Service::Emr | Service::Kms | Service::Sqs | Service::Events => self.json_body(),
            Service::Iam => {
                self.query_body("https://iam.amazonaws.com/doc/2010-05-08/", request_id)
            }
            Service::Sts => {
                self.query_body("https://sts.amazonaws.com/doc/2011-06-15/", request_id)
            }
            Service::Sns => self.query_body("http://sns.amazonaws.com/doc/2010-03-31/", request_id),
            Service::CloudWatch => {
                self.query_body("http://monitoring.amazonaws.com/doc/2010-08-01/", request_id)
            }
            Service::Ec2 => self.ec2_body(request_id),
            Service::S3Control => self.s3_control_body(request_id),
            Service::S3 if head => String::new(),
            Service::S3 => self.s3_body(request_id),
        };
        let mut headers = self.headers;
        headers.push(("content-type".to_owned(), content_type(service).to_owned()));
        Reply {
            status: self.status,
            headers,
            body: body.into_bytes(),
            error: Some(self.code),
            length: None,
        }
    }

    fn json_body(&self) -> String {
        // EMR's modelled exceptions use `Message`; the common ones of its front end use `message`.
        let modelled = matches!(
            self.code.as_str(),
            "InvalidRequestException" | "InternalServerException" | "AccessDeniedException"
        );
        let member = if modelled { "Message" } else { "message" };
        let mut body = json!({"__type": self.code, member: self.message});
        for (name, value) in &self.extra {
            body[*name] = json!(value);
        }
        body.to_string()
    }

    fn query_body(&self, namespace: &str, request_id: &str) -> String {
        let mut xml = Xml::new();
        xml.root("ErrorResponse", namespace, |xml| {
            xml.element("Error", |xml| {
                let kind = if self.status < 500 { "Sender" } else { "Receiver" };
                // CloudWatch has errors without a message.
                let message = Some(&self.message).filter(|message| !message.is_empty());
                xml.text("Type", kind).text("Code", &self.code).optional("Message", message);
            });
            xml.text("RequestId", request_id);
        });
        xml.finish()
    }

    /// Recorded from AWS in LocalStack's `test_crud_public_access_block` of S3's control plane.
    fn s3_control_body(&self, request_id: &str) -> String {
        let mut xml = Xml::new();
        xml.element("ErrorResponse", |xml| {
            xml.element("Error", |xml| {
                self.s3_fields(xml);
            });
            xml.text("RequestId", request_id).text("HostId", "c2ltdWxhdG9y");
        });
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", xml.finish())
    }

    /// The fields of an error of S3 and its control plane.
    fn s3_fields(&self, xml: &mut Xml) {
        xml.text("Code", &self.code).text("Message", &self.message);
        for (name, value) in &self.extra {
            xml.text(name, value);
        }
    }

    fn ec2_body(&self, request_id: &str) -> String {
        let mut xml = Xml::new();
        xml.element("Response", |xml| {
            xml.element("Errors", |xml| {
                xml.element("Error", |xml| {
                    xml.text("Code", &self.code).text("Message", &self.message);
                });
            });
            xml.text("RequestID", request_id);
        });
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", xml.finish())
    }

    fn s3_body(&self, request_id: &str) -> String {
        let mut xml = Xml::new();
        xml.element("Error", |xml| {
            self.s3_fields(xml);
            xml.text("RequestId", request_id).text("HostId", "c2ltdWxhdG9y");
        });
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", xml.finish())
    }
}
