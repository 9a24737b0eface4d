//! Reading a body that may be too long, too slow or broken off, whatever its head promised.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use futures::StreamExt;

use super::Limits;
use super::problem::Problem;

/// The most of a body that is too long which is let go by, so that a caller who is still sending
/// hears the answer instead of a closed connection.
const LET_GO_BYTES: usize = 16 * 1024 * 1024;
/// The longest body that is read for nothing.
const LET_PASS_BYTES: usize = 64 * 1024;

/// Reads a body within `limits`.
///
/// # Errors
/// 413 if it is longer than may be, without keeping any of it; 408 if it takes too long; 400 if it
/// breaks off.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limits: Limits,
) -> Result<Vec<u8>, Problem> {
    let promised = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let promised = promised.and_then(|length| length.parse::<u64>().ok());
    let mut pieces = body.into_data_stream();
    if promised.is_some_and(|length| length > limits.body_bytes as u64) {
        // Who waits for our word before sending has not sent anything.
        if !headers.contains_key(header::EXPECT) {
            let_go(pieces, limits.body_time);
        }
        return Err(too_large(limits));
    }
    match tokio::time::timeout(limits.body_time, collect(&mut pieces, limits.body_bytes)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => {
            let_go(pieces, limits.body_time);
            Err(too_large(limits))
        }
        Ok(Err(_)) => {
            let detail = "the body broke off, or is not what its head said";
            Err(Problem::new(StatusCode::BAD_REQUEST, "body_unreadable", detail))
        }
        Err(_) => {
            let detail = format!("the body took longer than {} ms", limits.body_time.as_millis());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail))
        }
    }
}

/// The whole body; `None` once it is longer than `most`.
async fn collect(pieces: &mut BodyDataStream, most: usize) -> Result<Option<Vec<u8>>, axum::Error> {
    let mut body = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if body.len() + piece.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

/// Reads a short body of a request that is refused before anybody looked into it, so that the
/// connection can be used again. A long one costs the connection.
pub(super) async fn let_pass(request: Request, limits: Limits) {
    let (head, body) = request.into_parts();
    let limits = Limits { body_bytes: limits.body_bytes.min(LET_PASS_BYTES), ..limits };
    if !head.headers.contains_key(header::EXPECT) {
        let _ = read(&head.headers, body, limits).await;
    }
}

/// Lets the rest go by beside the answer, bounded in size and time.
fn let_go(mut pieces: BodyDataStream, time: Duration) {
    tokio::spawn(tokio::time::timeout(time, async move {
        let mut gone = 0;
        while let Some(Ok(piece)) = pieces.next().await {
            gone += piece.len();
            if gone > LET_GO_BYTES {
                break;
            }
        }
    }));
}

fn too_large(limits: Limits) -> Problem {
    let detail = format!("a body may have at most {} bytes", limits.body_bytes);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}
