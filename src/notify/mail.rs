//! Mail: an endpoint `mailto:ops@example.com` is told by SMTP what others are told by HTTP. The same
//! courier delivers it, tries it again and gives it up.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::address::AddressError;
use super::post::{Answer, Letter};
use super::wording;

/// What the address of such an endpoint begins with.
const SCHEME: &str = "mailto:";

/// `[notify.smtp]`: who takes mail. Without a host there is none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpSettings {
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    pub username: String,
    pub password: SecretString,
    pub from: String,
}

/// How the connection is kept private.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// From the first byte (port 465).
    Tls,
    /// After STARTTLS, and never without (port 587).
    #[default]
    Starttls,
    /// Not at all: for a server on this host.
    None,
}

/// Sends mail. Cloning shares the settings.
#[derive(Clone)]
pub(super) struct Mail {
    smtp: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
}

impl Mail {
    /// What sends mail by these settings; `None` if they name no server.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(settings: &SmtpSettings, timeout: Duration) -> Result<Option<Self>, String> {
        if settings.host.is_empty() {
            return Ok(None);
        }
        let from = settings.from.parse();
        let from = from.map_err(|_| "[notify.smtp] from is no mail address".to_owned())?;
        let host = settings.host.as_str();
        let smtp = match settings.tls {
            SmtpTls::Tls => AsyncSmtpTransport::<Tokio1Executor>::relay(host),
            SmtpTls::Starttls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host),
            SmtpTls::None => Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)),
        };
        let smtp = smtp.map_err(|error| format!("[notify.smtp] cannot be used: {error}"))?;
        let mut smtp = smtp.port(settings.port).timeout(Some(timeout));
        if !settings.username.is_empty() {
            let password = settings.password.expose_secret().to_owned();
            smtp = smtp.credentials(Credentials::new(settings.username.clone(), password));
        }
        Ok(Some(Self { smtp: smtp.build(), from, timeout }))
    }

    /// Sends one letter. What the server took is delivered, as far as anybody can know.
    pub(super) async fn send(&self, url: &str, letter: &Letter<'_>) -> Answer {
        let message = match self.message(url, letter) {
            Ok(message) => message,
            Err(problem) => return Answer::none(format!("not sent: {problem}")),
        };
        match tokio::time::timeout(self.timeout, self.smtp.send(message)).await {
            Err(_) => Answer::none(format!("no answer within {} ms", self.timeout.as_millis())),
            Ok(Err(error)) => Answer::none(format!("the mail server: {error}")),
            Ok(Ok(_)) => Answer { status: None, problem: None, retry_after: None },
        }
    }

    fn message(&self, url: &str, letter: &Letter<'_>) -> Result<Message, String> {
        let to = recipient(url).map_err(|error| error.to_string())?;
        let (subject, text) = wording::of(letter.org, letter.id, letter.body);
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            // The same however often it is sent: a second copy can be told.
            .message_id(Some(format!("<{}@payoutd>", letter.id)))
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| error.to_string())
    }
}

/// Whether an endpoint's address is one of mail.
pub(super) fn is_mail(url: &str) -> bool {
    let scheme = url.get(..SCHEME.len());
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

/// The one recipient of `mailto:somebody@example.com`: no headers, no lists.
///
/// # Errors
/// [`AddressError::NoMailbox`].
pub(super) fn recipient(url: &str) -> Result<Address, AddressError> {
    let address = url.get(SCHEME.len()..).ok_or(AddressError::NoMailbox)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@.+-_".contains(c);
    if !address.chars().all(is_plain) {
        return Err(AddressError::NoMailbox);
    }
    address.parse().map_err(|_| AddressError::NoMailbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mailbox_is_taken_and_nothing_that_could_be_more() {
        assert!(is_mail("mailto:ops@example.com") && is_mail("MAILTO:ops@example.com"));
        assert!(!is_mail("https://example.com"));
        assert!(recipient("mailto:ops+payoutd@example.com").is_ok());
        for bad in [
            "mailto:",
            "mailto:ops",
            "mailto:a@example.com,b@example.com",
            "mailto:a@example.com?bcc=b@example.com",
            "mailto:a@example.com%0d%0aBcc:b@example.com",
            "mailto:a b@example.com",
            "mailto:<a@example.com>",
        ] {
            assert_eq!(recipient(bad), Err(AddressError::NoMailbox), "{bad}");
        }
    }
}
