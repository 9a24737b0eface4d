//! "Log in with PayPal": the page on which a person consents, the code that it gives, and what a
//! token of that person's shows.
//!
//! Anybody can sign in as anybody: the page asks for nothing but an address. An address that
//! begins with `unconfirmed` is one that PayPal has not confirmed.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header::{AUTHORIZATION, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::Refusal;
use super::access::header;
use crate::domain::Reference;
use crate::sandbox::Sandbox;

/// How long a code may wait for its exchange.
const CODE_LIFE: TimeDelta = TimeDelta::minutes(10);
/// How long a person's token lives, in seconds.
const TOKEN_LIFE_SECONDS: i64 = 28_800;

/// A person's consent: a code that nobody has used yet, or a token.
#[derive(Debug)]
pub(in crate::sandbox) struct Consent {
    email: String,
    client_id: String,
    redirect_uri: String,
    ends_at: DateTime<Utc>,
}

/// What the page is asked for; `login` and `answer` are the person's.
#[derive(Deserialize)]
pub(super) struct Asked {
    client_id: String,
    redirect_uri: String,
    scope: String,
    #[serde(default)]
    state: String,
    login: Option<String>,
    #[serde(default)]
    answer: String,
}

/// `GET /signin/authorize`: the page, and with `login` what comes of it.
pub(super) async fn page(State(sandbox): State<Sandbox>, Query(asked): Query<Asked>) -> Response {
    let back = Url::parse(&asked.redirect_uri).ok();
    let back = back.filter(|url| matches!(url.scheme(), "https" | "http"));
    let Some(mut back) = back.filter(|_| !asked.client_id.is_empty()) else {
        return (StatusCode::BAD_REQUEST, "client_id or redirect_uri is not usable")
            .into_response();
    };
    if !asked.scope.split(' ').any(|scope| scope == "openid") {
        return (StatusCode::BAD_REQUEST, "the scope lacks openid").into_response();
    }
    let Some(email) = asked.login.clone() else {
        return Html(form(&asked)).into_response();
    };
    let mut answer = vec![("state", asked.state.clone())];
    if asked.answer == "decline" {
        answer.push(("error", "access_denied".to_owned()));
        answer.push(("error_description", "The person did not consent".to_owned()));
    } else {
        let code = format!("C21AA{}", sandbox.clock.mint::<Reference>());
        let ends_at = sandbox.clock.now() + CODE_LIFE;
        let Asked { client_id, redirect_uri, .. } = asked;
        let consent = Consent { email, client_id, redirect_uri, ends_at };
        sandbox.desk().consents.insert(code.clone(), consent);
        answer.push(("code", code));
    }
    back.query_pairs_mut().extend_pairs(answer);
    (StatusCode::FOUND, [(LOCATION, back.as_str().to_owned())]).into_response()
}

fn form(asked: &Asked) -> String {
    let hidden = |name: &str, value: &str| {
        format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escaped(value))
    };
    let fields = [
        hidden("client_id", &asked.client_id),
        hidden("redirect_uri", &asked.redirect_uri),
        hidden("scope", &asked.scope),
        hidden("state", &asked.state),
    ];
    format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Sandbox: log in with PayPal</title>\
         <h1>Log in with PayPal (sandbox)</h1><form>{}\
         <p><label>E-mail <input name=\"login\" type=\"email\" required></label></p>\
         <button name=\"answer\" value=\"agree\">Agree</button> \
         <button name=\"answer\" value=\"decline\">Decline</button></form>",
        fields.concat()
    )
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('"', "&quot;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

#[derive(Default)]
struct Exchange {
    code: String,
    redirect_uri: Option<String>,
}

impl Exchange {
    fn read(form: &str) -> Self {
        let mut asked = Self::default();
        for (name, value) in url::form_urlencoded::parse(form.as_bytes()) {
            match name.as_ref() {
                "code" => asked.code = value.into_owned(),
                "redirect_uri" => asked.redirect_uri = Some(value.into_owned()),
                _ => {}
            }
        }
        asked
    }
}

/// The token of a code, which is good for one, and for the application that asked for it.
pub(super) fn exchange(
    sandbox: &Sandbox,
    client_id: &str,
    form: &str,
) -> Result<Value, (&'static str, &'static str)> {
    let asked = Exchange::read(form);
    let now = sandbox.clock.now();
    let mut desk = sandbox.desk();
    let known = desk.consents.remove(&asked.code).filter(|consent| {
        let same_page = asked.redirect_uri.as_ref().is_none_or(|uri| *uri == consent.redirect_uri);
        consent.client_id == client_id && now < consent.ends_at && same_page
    });
    let Some(consent) = known else { return Err(("invalid_grant", "Invalid authorization code")) };
    let token = format!("U21AA{}", sandbox.clock.mint::<Reference>());
    let ends_at = now + TimeDelta::seconds(TOKEN_LIFE_SECONDS);
    desk.people.insert(token.clone(), Consent { ends_at, ..consent });
    Ok(json!({
        "scope": "openid email",
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": TOKEN_LIFE_SECONDS,
    }))
}

/// `GET /v1/identity/openidconnect/userinfo`.
pub(super) async fn show_person(
    State(sandbox): State<Sandbox>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let desk = sandbox.desk();
    let token = header(&headers, AUTHORIZATION.as_str(), "Bearer ").unwrap_or_default();
    let person = desk.people.get(token).filter(|person| sandbox.clock.now() < person.ends_at);
    let Some(person) = person else { return Err(Refusal::unauthenticated()) };
    let user = format!("https://www.paypal.com/webapps/auth/identity/user/{}", person.email);
    Ok(Json(json!({
        "user_id": user,
        "sub": user,
        "email": person.email,
        "email_verified": !person.email.starts_with("unconfirmed"),
    })))
}
