//! The channels for alerts.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use reqwest::Url;

use crate::{base::secret::Secret, system::http};

/// The channels, as the settings name them.
#[derive(Debug)]
pub(crate) struct AlertChannelSettings {
    pub(crate) sns: Option<String>,
    pub(crate) webhook: Option<String>,
    pub(crate) command: Option<PathBuf>,
    pub(crate) limit: Duration,
}

/// The channels, understood.
#[derive(Clone, Debug)]
pub(crate) struct Channels {
    pub(crate) channels: Vec<Channel>,
    /// The time limit for sending one alert, retries included.
    pub(crate) limit: Duration,
}

/// One channel.
#[derive(Clone, Debug)]
pub(crate) enum Channel {
    Sns(Topic),
    Webhook(Webhook),
    Command(PathBuf),
}

impl Channels {
    /// Parses the settings. A blank value counts as not set.
    ///
    /// # Errors
    /// What is wrong with one, without any secret: an alert channel that cannot work must be
    /// reported before it is needed.
    pub(crate) fn of(named: AlertChannelSettings) -> Result<Self, String> {
        let named_text = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        if named.limit.is_zero() {
            return Err(
                "alert_timeout: must be longer than 0s; write a time such as 30s".to_owned()
            );
        }
        let sns = named_text(named.sns).map(|arn| arn.parse().map(Channel::Sns)).transpose()?;
        let webhook = named_text(named.webhook)
            .map(|text| Webhook::parse(&text).map(Channel::Webhook))
            .transpose()?;
        let command =
            named.command.filter(|program| !program.as_os_str().is_empty()).map(Channel::Command);
        Ok(Self {
            channels: [sns, webhook, command].into_iter().flatten().collect(),
            limit: named.limit,
        })
    }

    /// The topic's ARN, if there is one.
    pub(crate) fn topic(&self) -> Option<&str> {
        self.channels.iter().find_map(|channel| match channel {
            Channel::Sns(topic) => Some(topic.arn()),
            Channel::Webhook(_) | Channel::Command(_) => None,
        })
    }

    /// Whether there is no channel.
    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }
}

impl Channel {
    /// The name for operators; never the exact address, which may be a secret.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Sns(topic) => format!("the SNS topic {topic}"),
            Self::Webhook(_) => "the webhook".to_owned(),
            Self::Command(program) => format!("the command {}", program.display()),
        }
    }
}

/// A topic's ARN.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) arn: String,
    pub(crate) region: String,
}

impl FromStr for Topic {
    type Err = String;

    fn from_str(arn: &str) -> Result<Self, String> {
        let parts: Vec<&str> = arn.trim().split(':').collect();
        match parts.as_slice() {
            ["arn", partition, "sns", region, account, name]
                if partition.starts_with("aws")
                    && !region.is_empty()
                    && account.len() == 12
                    && !name.is_empty() =>
            {
                Ok(Self { arn: arn.trim().to_owned(), region: (*region).to_owned() })
            }
            _ => Err(format!(
                "alert_sns: `{arn}` is not a topic's ARN; expected one such as \
                 arn:aws:sns:eu-west-1:123456789012:etl-alerts"
            )),
        }
    }
}

impl Topic {
    pub(crate) fn arn(&self) -> &str {
        &self.arn
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

/// Its address. Whoever knows the URL can post there, so it is a secret.
#[derive(Clone, Debug)]
pub(crate) struct Webhook(pub(crate) Secret<Url>);

impl Webhook {
    /// Parses a URL, or `file:PATH` of a file that contains one. No error shows it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let url = match text.strip_prefix("file:") {
            Some(file) => {
                let path = Path::new(file);
                std::fs::read_to_string(path).map_err(|error| {
                    format!("alert_webhook: {}: cannot be read: {error}", path.display())
                })?
            }
            None => text.to_owned(),
        };
        let url: Url = url.trim().parse().map_err(|error| {
            format!("alert_webhook: is not a URL: {error}; expected https://… or file:PATH")
        })?;
        match url.scheme() {
            "https" => Ok(Self(Secret::new(url))),
            "http" if http::is_loopback(&url) => Ok(Self(Secret::new(url))),
            _ => Err("alert_webhook: must begin with https:// (http:// only where it leads to \
                this machine itself)"
                .to_owned()),
        }
    }
}
