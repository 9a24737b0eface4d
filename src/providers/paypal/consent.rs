//! "Log in with PayPal": a payee signs in at PayPal and lets us see the account's e-mail address.
//!
//! The payee's browser goes to PayPal with our `state` and comes back with a code; the code buys a
//! token of the payee's, once, and the token shows the address (developer.paypal.com, "Log in with
//! PayPal"; identity v1, `userinfo.get`).

use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::call::Line;
use super::wire::problem_of;
use super::{Paypal, PaypalSettings};
use crate::domain::Destination;
use crate::providers::http::{Answer, Failure, base_url};
use crate::providers::{Problem, Vetted};

/// What we want to see: the account's address and whether it was confirmed.
const SCOPES: &str = "openid email";

/// The pages of PayPal's and ours that a consent goes over.
///
/// # Errors
/// [`Problem`] `bad_settings` if one of them is no address; ours may be empty.
pub(super) fn check_pages(settings: &PaypalSettings) -> Result<(), Problem> {
    base_url("paypal.authorize_url", &settings.authorize_url)?;
    if !settings.return_url.is_empty() {
        base_url("paypal.return_url", &settings.return_url)?;
    }
    Ok(())
}

/// Where a payee consents.
pub(super) fn address(settings: &PaypalSettings, state: &str) -> Result<String, Problem> {
    if settings.return_url.is_empty() {
        let words = "[providers.paypal] return_url is not set: nobody could come back from PayPal";
        return Err(Problem::new("no_return_url", words));
    }
    let mut url = base_url("paypal.authorize_url", &settings.authorize_url)?;
    url.query_pairs_mut().extend_pairs([
        ("flowEntry", "static"),
        ("response_type", "code"),
        ("client_id", settings.client_id.as_str()),
        ("scope", SCOPES),
        ("redirect_uri", settings.return_url.as_str()),
        ("state", state),
    ]);
    Ok(Url::into(url))
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
}

/// The payee as PayPal tells it. Which of the shapes it has depends on the application's age:
/// `email` with `email_verified`, or a list of `emails` that are `confirmed` each.
#[derive(Deserialize)]
struct Payee {
    email: Option<String>,
    email_verified: Option<Value>,
    #[serde(default)]
    emails: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    value: String,
    confirmed: Option<Value>,
}

impl Paypal {
    /// Whether a code leads to the account of the destination, at an address that PayPal has
    /// confirmed.
    pub(super) async fn hear(&self, code: &str, destination: &Destination) -> Vetted {
        let return_url = &self.settings.return_url;
        let granted = match self.line.buy_token(code, return_url).await {
            Ok(answer) if answer.is_ok() => answer,
            Ok(answer) => return of_refusal(&answer),
            Err(Failure::NoToken(problem) | Failure::Unsent(problem) | Failure::Lost(problem)) => {
                return Vetted::Unclear(problem);
            }
        };
        let Ok(granted) = serde_json::from_str::<Granted>(&granted.text) else {
            return unreadable("PayPal gave a token that cannot be read");
        };
        match who(&self.line, &granted.access_token).await {
            Ok(payee) => judge(&payee, destination.get("email").unwrap_or_default()),
            Err(problem) => Vetted::Unclear(problem),
        }
    }
}

/// A code that PayPal does not take proves nothing; a refusal of us says nothing of the payee.
fn of_refusal(answer: &Answer) -> Vetted {
    let problem = problem_of(answer);
    if answer.status == 400 && !matches!(problem.code.as_str(), "invalid_client" | "http_400") {
        return Vetted::Unable(Problem::new("code_refused", "PayPal does not take the code"));
    }
    Vetted::Unclear(problem)
}

fn unreadable(words: &str) -> Vetted {
    Vetted::Unclear(Problem::new("unreadable", words))
}

async fn who(line: &Line, token: &SecretString) -> Result<Payee, Problem> {
    let path = ["v1", "identity", "openidconnect", "userinfo"];
    let answer = line.get_for(token, &path, &[("schema", "openid".to_owned())]).await?;
    if !answer.is_ok() {
        return Err(problem_of(&answer));
    }
    let words = "PayPal tells of the payee in a way that cannot be read";
    serde_json::from_str(&answer.text).map_err(|_| Problem::new("unreadable", words))
}

fn judge(payee: &Payee, wanted: &str) -> Vetted {
    let first = payee.email.iter().map(|email| (email, &payee.email_verified));
    let others = payee.emails.iter().map(|listed| (&listed.value, &listed.confirmed));
    let mut known = first.chain(others).filter(|(email, _)| email.eq_ignore_ascii_case(wanted));
    let unable = |code, words| Vetted::Unable(Problem::new(code, words));
    let Some((_, confirmed)) = known.next() else {
        let words = "the PayPal account has another e-mail address than the method";
        return unable("email_differs", words);
    };
    if std::iter::once(confirmed).chain(known.map(|(_, said)| said)).any(is_true) {
        return Vetted::Able;
    }
    unable("email_not_confirmed", "PayPal has not confirmed the account's e-mail address")
}

/// PayPal writes its flags as booleans and, elsewhere, as text.
fn is_true(said: &Option<Value>) -> bool {
    match said {
        Some(Value::Bool(said)) => *said,
        Some(Value::String(said)) => said == "true",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(payee: &str) -> String {
        let payee: Payee = serde_json::from_str(payee).expect("a payee");
        match judge(&payee, "Ann@Example.com") {
            Vetted::Able => "able".to_owned(),
            Vetted::Unable(problem) => problem.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_confirmed_address_that_is_the_methods_own_proves_it() {
        for (payee, verdict) in [
            (r#"{"email":"ann@example.com","email_verified":true}"#, "able"),
            (r#"{"email":"ann@example.com","email_verified":"true"}"#, "able"),
            (r#"{"emails":[{"value":"ann@example.com","confirmed":true}]}"#, "able"),
            (
                r#"{"email":"other@example.com","email_verified":true,
                    "emails":[{"value":"ann@example.com","confirmed":"true"}]}"#,
                "able",
            ),
            (r#"{"email":"ann@example.com","email_verified":false}"#, "email_not_confirmed"),
            (r#"{"email":"ann@example.com","email_verified":"false"}"#, "email_not_confirmed"),
            (r#"{"email":"ann@example.com"}"#, "email_not_confirmed"),
            (r#"{"email":"ann@example.com","email_verified":1}"#, "email_not_confirmed"),
            (
                r#"{"email":"ann@example.com",
                    "emails":[{"value":"other@example.com","confirmed":true}]}"#,
                "email_not_confirmed",
            ),
            (r#"{"email":"ann@example.com.evil","email_verified":true}"#, "email_differs"),
            (r#"{"email":"other@example.com","email_verified":true}"#, "email_differs"),
            (r#"{"emails":[]}"#, "email_differs"),
            ("{}", "email_differs"),
        ] {
            assert_eq!(code(payee), verdict, "{payee}");
        }
    }

    #[test]
    fn a_method_without_an_address_is_proven_by_nobody() {
        let payee: Payee = serde_json::from_str(r#"{"email_verified":true}"#).expect("a payee");
        assert!(matches!(judge(&payee, ""), Vetted::Unable(_)));
    }
}
