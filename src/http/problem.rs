//! What went wrong, as callers read it: problem details (RFC 9457), and the one map from what the
//! engine refuses to a status.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use crate::domain::{GateCheck, LineDifference};
use crate::engine::{EngineError, MethodError, PlanError};
use crate::store::StoreError;

/// Seconds after which somebody may try again who was told to.
pub(super) const RETRY_AFTER_S: u32 = 2;

/// Why a method cannot be vetted, now or later.
const NOBODY_TO_ASK: [&str; 2] = ["rail_not_configured", "cannot_ask"];

/// The type of every body that is no success.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// An answer that is no success. `code` is stable, for programs; `detail` is for people.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    detail: String,
    errors: Vec<Fault>,
    retry_after_s: Option<u32>,
}

/// One of several things that are wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Fault {
    /// Stable, for programs.
    pub code: String,
    /// The field, or the gate, with its numbers.
    pub detail: String,
}

/// The body of every answer that is no success (RFC 9457, `application/problem+json`).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub title: &'static str,
    pub status: u16,
    /// Stable, for programs.
    pub code: &'static str,
    /// For people: what happened, to which id, and what to do.
    pub detail: String,
    /// The id of this request in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Everything that is wrong, where it is more than one thing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), retry_after_s: None }
    }

    /// 400: the request cannot be read.
    pub fn unreadable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 403: the caller may not.
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404: there is none, or it is somebody else's; the words are the same.
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 409: the state of things forbids it.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 409: a payout is refused. The first gate, in the order in which a person is answered, is the
    /// code; all that fail are in the errors.
    pub fn refused(failing: &[GateCheck]) -> Self {
        let mut failing: Vec<_> = failing.iter().collect();
        failing.sort_by_key(|check| check.gate.in_answer());
        let fault = |check: &&GateCheck| Fault {
            code: check.gate.to_string(),
            detail: format!("wants {}, found {}", check.wants, check.found),
        };
        let errors: Vec<_> = failing.iter().map(fault).collect();
        let words: Vec<_> = errors.iter().map(|f| format!("{} {}", f.code, f.detail)).collect();
        let code = failing.first().map_or("refused", |check| check.gate.as_str());
        let detail = format!("the request is refused: {}", words.join("; "));
        Self::conflict(code, detail).with_errors(errors)
    }

    /// 422: well-formed, and it means nothing.
    pub fn meaningless(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// The same with everything that is wrong.
    pub fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        self.errors = errors;
        self
    }

    /// The same for somebody who may try again after so many seconds.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// What it says to people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The answer, with the id of the request that it answers.
    pub fn answer(&self, request_id: Option<&str>) -> Response {
        let kind = [(header::CONTENT_TYPE, PROBLEM_JSON)];
        let mut answer = (self.status, kind, self.body(request_id)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let how = HeaderValue::from_static("Bearer");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, how);
        }
        if let Some(seconds) = self.retry_after_s {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }

    /// The body of the answer.
    pub fn body(&self, request_id: Option<&str>) -> String {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail.clone(),
            request_id: request_id.map(str::to_owned),
            errors: self.errors.clone(),
        };
        serde_json::to_string(&body).expect("texts and numbers are always JSON")
    }
}

impl IntoResponse for Problem {
    /// The answer carries the problem along, so that the request's id can be written into it.
    fn into_response(self) -> Response {
        let mut answer = self.answer(None);
        answer.extensions_mut().insert(self);
        answer
    }
}

impl From<EngineError> for Problem {
    fn from(cause: EngineError) -> Self {
        use EngineError as E;
        let (code, words) = (cause.code(), cause.to_string());
        match &cause {
            E::Store(error) => Self::of_store(error),
            E::NoWallet { .. }
            | E::NoAlert { .. }
            | E::NoBreak { .. }
            | E::UnknownProgram { .. }
            | E::NoAffiliate { .. }
            | E::NoPayout { .. }
            | E::NoProgram { .. }
            | E::NoCommission { .. }
            | E::NoMethod { .. }
            | E::NotHalted { .. } => Self::not_found(code, words),
            E::Refused { failing } => Self::refused(failing),
            E::FourEyes { .. } => Self::forbidden(code, words),
            E::BadAmount { .. } | E::WrongProgram { .. } | E::KeyReused { .. } => {
                Self::meaningless(code, words)
            }
            E::Method(error) => Self::of_method(error, words),
            E::Plan(error) => Self::of_plan(error, words),
            // Trying again asks nobody either.
            E::NotVetted { problem, .. } if NOBODY_TO_ASK.contains(&problem.code.as_str()) => {
                Self::conflict(code, words)
            }
            E::NotVetted { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, code, words).retry_after(RETRY_AFTER_S)
            }
            E::Wallet(_)
            | E::Money(_)
            | E::LeaseLost { .. }
            | E::WrongStatus { .. }
            | E::NothingLeft { .. }
            | E::OtherContent { .. }
            | E::AlreadyRetried { .. }
            | E::NotInReview { .. }
            | E::BeingAsked { .. }
            | E::MayStillLeave { .. }
            | E::Anomaly { .. } => Self::conflict(code, words),
        }
    }
}

impl Problem {
    /// What differs is named in `errors`.
    fn of_plan(cause: &PlanError, words: String) -> Self {
        let code = cause.code();
        match cause {
            PlanError::Unknown { .. } => Self::not_found(code, words),
            PlanError::NotAHash { .. } | PlanError::BadInstant { .. } => {
                Self::meaningless(code, words)
            }
            PlanError::Stale { differences, .. } => {
                let fault = |one: &LineDifference| Fault {
                    code: one.what.to_owned(),
                    detail: format!(
                        "{} {}: {} planned, {} now",
                        one.affiliate_id, one.currency, one.planned, one.found
                    ),
                };
                let faults = differences.lines.iter().map(fault).collect();
                Self::conflict(code, words).with_errors(faults)
            }
            PlanError::Ambiguous { .. }
            | PlanError::OtherJob { .. }
            | PlanError::Executed { .. }
            | PlanError::Taken { .. }
            | PlanError::TooOld { .. }
            | PlanError::Stopped => Self::conflict(code, words),
        }
    }

    fn of_method(cause: &MethodError, words: String) -> Self {
        use MethodError as M;
        let code = cause.code();
        match cause {
            M::NoAffiliate { .. } | M::NoMethod { .. } | M::UnknownState => {
                Self::not_found(code, words)
            }
            M::TooOften { retry_after_s } => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                Self::new(status, code, words).retry_after(*retry_after_s)
            }
            M::NotProven { problem, .. } => {
                let fault = Fault { code: problem.code.clone(), detail: problem.message.clone() };
                Self::conflict(code, words).with_errors(vec![fault])
            }
            M::TooMany { .. }
            | M::WrongStatus { .. }
            | M::OtherType { .. }
            | M::SameDestination { .. }
            | M::NotProvable { .. }
            | M::Unreadable { .. }
            | M::NotStarted { .. }
            | M::NotSentYet { .. }
            | M::WrongAmounts { .. }
            | M::Expired
            | M::StateUsed => Self::conflict(code, words),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(cause: StoreError) -> Self {
        Self::of_store(&cause)
    }
}

impl Problem {
    /// The database did not do it. What it said is for the log, not for callers.
    fn of_store(cause: &StoreError) -> Self {
        error!(event = "http.store.failed", cause = %Chain(cause));
        if cause.is_transient() || cause.is_out_of_reach() {
            let detail = "the database is busy or out of reach: try again, with the same ids";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_busy", detail)
                .retry_after(RETRY_AFTER_S);
        }
        let detail = "it failed on our side, and nothing was changed: the log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store_failed", detail)
    }
}

/// An error with its causes, for the log.
pub(super) struct Chain<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(next) = cause {
            write!(f, ": {next}")?;
            cause = next.source();
        }
        Ok(())
    }
}
