//! What callers bring: bodies, queries and path ids. What cannot be read is a problem that says
//! where and why.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::{Desk, body};

/// A JSON body.
pub(super) struct Body<T>(pub T);

/// A JSON body, or none.
pub(super) struct MaybeBody<T>(pub Option<T>);

/// A JSON body, with its bytes as they came: what an idempotency key is bound to.
pub(super) struct ExactBody<T> {
    pub brought: T,
    pub bytes: Vec<u8>,
}

/// The longest text of a field, in characters.
const LONGEST_TEXT: usize = 256;

/// A text that is neither empty nor too long, and holds no control characters.
///
/// # Errors
/// 422 with the field's name, and without what stands there.
pub(super) fn checked_text(field: &str, text: String) -> Result<String, Problem> {
    let fits = (1..=LONGEST_TEXT).contains(&text.chars().count());
    if fits && !text.chars().any(char::is_control) {
        return Ok(text);
    }
    let detail = format!("{field} is to be 1 to {LONGEST_TEXT} characters, and no control ones");
    Err(Problem::meaningless("text_unusable", detail))
}

/// What stands behind the `?`.
pub(super) struct Asked<T>(pub T);

/// The ids in the path.
pub(super) struct Ids<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Desk> for ExactBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        check_json(&head.headers)?;
        let bytes = body::read(&head.headers, body, desk.limits).await?;
        Ok(Self { brought: read_json(&bytes)?, bytes })
    }
}

impl<T: DeserializeOwned> FromRequest<Desk> for MaybeBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let bytes = body::read(&head.headers, body, desk.limits).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        check_json(&head.headers)?;
        // The document calls the body optional, and `null` is how JSON leaves one out.
        if bytes.trim_ascii() == b"null" {
            return Ok(Self(None));
        }
        Ok(Self(Some(read_json(&bytes)?)))
    }
}

fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    if is_json(headers) {
        return Ok(());
    }
    let detail = "the body is to be application/json in UTF-8, not compressed, and to say so in \
                  content-type";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail))
}

fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // A shape of ours is an object. Its fields in a row would be taken for one otherwise.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Problem::unreadable("body_unreadable", "the body is to be a JSON object"));
    }
    let brought = serde_json::from_slice(bytes).map_err(|wrong| unreadable_body(&wrong))?;
    if holds_nul(bytes) {
        let detail = "a text of the body holds a NUL character";
        return Err(Problem::meaningless("text_unusable", detail));
    }
    Ok(brought)
}

/// Whether a body says that it is JSON, in UTF-8 and as it stands.
fn is_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map_or(Some(""), |value| value.to_str().ok());
    let Some(kind) = text(header::CONTENT_TYPE) else { return false };
    let (kind, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    let charset = parameters.split(';').filter_map(|pair| pair.split_once('='));
    let mut charset = charset.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    kind.trim().eq_ignore_ascii_case("application/json")
        && charset.all(|(_, set)| set.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
        && matches!(text(header::CONTENT_ENCODING), Some("" | "identity"))
}

impl<T: DeserializeOwned> FromRequest<Desk> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Problem> {
        ExactBody::from_request(request, desk).await.map(|exact| Self(exact.brought))
    }
}

/// Whether a text of this JSON holds a NUL: PostgreSQL keeps no such text, and no value of ours is
/// one. JSON writes it as `\u0000`; behind an escaped backslash it is four zeros.
fn holds_nul(json: &[u8]) -> bool {
    let escape = br"\u0000";
    let is_unescaped =
        |at: usize| json[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0;
    let is_escape = |at: usize| json[at..].starts_with(escape) && is_unescaped(at);
    (0..json.len()).any(is_escape)
}

/// Where a body is wrong, without repeating what stands there: it may be an account number.
fn unreadable_body(wrong: &serde_json::Error) -> Problem {
    let place = format!("line {}, column {}", wrong.line(), wrong.column());
    let what = match wrong.classify() {
        serde_json::error::Category::Data => shape_only(&wrong.to_string()),
        serde_json::error::Category::Eof => "it ends too early".to_owned(),
        _ => "it is not JSON".to_owned(),
    };
    Problem::unreadable("body_unreadable", format!("the body cannot be used at {place}: {what}"))
}

/// The parser's words as far as they speak of names and shapes of ours.
fn shape_only(words: &str) -> String {
    let ours = ["missing field", "unknown field", "duplicate field"];
    let words = words.rsplit_once(" at line ").map_or(words, |(words, _)| words);
    if ours.iter().any(|start| words.starts_with(start)) {
        return words.to_owned();
    }
    let expected = words.rsplit_once("expected ").map(|(_, expected)| expected);
    match expected {
        Some(expected) => format!("expected {expected}"),
        None => "a value there is none of those that are taken".to_owned(),
    }
}

impl<T: DeserializeOwned> FromRequestParts<Desk> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Problem> {
        // PostgreSQL takes no text with a NUL, and no value of ours holds one.
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Problem::unreadable("query_unreadable", "the query holds a NUL"));
        }
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, desk).await;
        query.map(|Query(asked)| Self(asked)).map_err(|wrong| {
            let words = wrong.body_text();
            let words = words.rsplit_once(": ").map_or(words.as_str(), |(_, words)| words);
            let detail = format!("the query cannot be used: {}", words.escape_debug());
            Problem::unreadable("query_unreadable", detail)
        })
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<Desk> for Ids<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Problem> {
        let path: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, desk).await;
        path.map(|Path(ids)| Self(ids)).map_err(|_| {
            // An id that cannot be one belongs to nothing.
            Problem::not_found("no_such_id", "the path holds an id that nothing has")
        })
    }
}
