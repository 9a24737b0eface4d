//! The HTTP server: what providers, partners and staff call. Thin: parse, call the engine, render.
//!
//! It speaks plain HTTP; TLS is a proxy's in front of it. Whatever goes wrong is answered by
//! problem details (RFC 9457) with a stable `code`.

mod body;
mod problem;
mod serve;
mod webhooks;

use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{get, post};

use crate::engine::Engine;
use problem::Problem;

pub use serve::serve;

/// How much of a request is listened to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest body that is taken, in bytes.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
}

/// What the handlers share.
#[derive(Clone)]
struct Desk {
    engine: Engine,
    limits: Limits,
}

fn routes(engine: Engine, limits: Limits) -> Router {
    Router::new()
        .route("/livez", get(alive))
        .route("/webhooks/{provider}/{org}", post(webhooks::receive))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(Desk { engine, limits })
}

/// The process is up and answers; whether its database does is for `doctor` to say.
async fn alive() -> &'static str {
    "ok\n"
}

async fn no_such_path(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", detail)
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
