//! Alerts to a webhook, in the JSON format of Slack, which Mattermost, Rocket.Chat, Google Chat and
//! Discord (`/slack`) also accept.

use std::time::Duration;

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
    redirect::Policy,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    base::json::compact, report::alerts::message::Message, settings::alert_channels::Webhook,
    system::http,
};

/// The length of text that Slack displays.
const TEXT: usize = 3500;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Posts it, with retries where they may help. The caller's time limit ends it.
pub(crate) async fn send(
    webhook: &Webhook,
    message: &Message,
    limit: Duration,
) -> Result<(), String> {
    let url = webhook.0.reveal();
    let tls = tokio::task::spawn_blocking(http::tls)
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    // A redirect could send the secret, or the alert, elsewhere. The timeout leaves time for three
    // attempts, so that a single lost packet does not use it all up.
    let mut client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .timeout(limit / 3);
    if http::is_loopback(url) {
        client = client.no_proxy();
    }
    let client = client
        .user_agent(concat!("emr-etl-guard/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(http::describe)?;
    let body = compact(&json!({"text": escaped(&message.plain(TEXT))}))
        .map_err(|error| error.to_string())?;
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    for attempt in 1.. {
        let (why, wait) = match client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body.clone())
            .send()
            .await
        {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => {
                let status = answer.status();
                let why = format!("it answered HTTP {}", status.as_u16());
                if !is_retryable(status) {
                    return Err(why);
                }
                let asked = answer
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok()?.trim().parse().ok());
                (why, asked.map(Duration::from_secs))
            }
            Err(error) => (http::describe(error), None),
        };
        // Jitter, so that many guards that fail at once do not retry at once.
        let wait = wait.unwrap_or_else(|| pause.mul_f64(0.5 + fastrand::f64() / 2.0));
        if Instant::now() + wait >= deadline {
            return Err(format!("{why} (attempt {attempt})"));
        }
        tracing::debug!(why, attempt, "the webhook is tried again");
        sleep(wait).await;
        pause *= 2;
    }
    Err("was never tried".to_owned())
}

/// Whether the same request may succeed later.
fn is_retryable(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// Slack's rule for escaping its three control characters. Source: Slack API, Formatting text for
/// app surfaces.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_https_or_on_this_machine_and_no_error_shows_it() {
        for url in [
            "https://hooks.slack.com/services/T0/B0/SECRET",
            " http://127.0.0.1:9/SECRET\n",
            "http://localhost/SECRET",
        ] {
            let webhook = Webhook::parse(url).unwrap();
            assert!(!format!("{webhook:?}").contains("SECRET"), "{webhook:?}");
        }
        for url in [
            "http://hooks.slack.com/SECRET",
            "ftp://127.0.0.1/SECRET",
            "hooks.slack.com/SECRET",
            "https://:SECRET",
            "file:/no/such/SECRET-free",
        ] {
            let error = Webhook::parse(url).unwrap_err();
            assert!(
                error.starts_with("alert_webhook: ")
                    && !error.contains("SECRET/")
                    && !error.contains("/SECRET\""),
                "{error}"
            );
            assert!(url.starts_with("file:") || !error.contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn a_file_may_hold_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "https://hooks.slack.com/services/T0/B0/SECRET\n").unwrap();
        let webhook = Webhook::parse(&format!("file:{}", file.path().display())).unwrap();
        assert_eq!(webhook.0.reveal().path(), "/services/T0/B0/SECRET");
    }
}
