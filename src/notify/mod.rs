//! Notify: tells others what happened, by signed webhooks (Standard Webhooks 1.0), and
//! operators by mail.
//!
//! The engine writes events beside what made them happen; here they are delivered. A delivery is
//! made at least once, always with the same id and the same bytes, in no promised order.

mod address;
mod courier;
mod endpoints;
mod mail;
mod pings;
mod post;
mod replay;
mod secret;
mod wording;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde::Deserialize;
use thiserror::Error;

use crate::clock::Clock;
use crate::domain::{Actor, AuditId, EndpointId, EventId, OrgId};
use crate::store::{NewAudit, Store, StoreError, Tx};
use address::Guard;
use mail::Mail;
use post::Post;

pub use address::{AddressError, HostNames, Names};
pub use courier::Courier;
pub use endpoints::{EndpointChange, NewEndpoint, Revealed};
pub use mail::{SmtpSettings, SmtpTls};
pub use pings::{Pings, Sign};
pub use replay::{Again, Replay};
pub use secret::Secret;

/// Tries of a transaction that lost a race, before the error is passed on.
const MOST_TRIES: u32 = 6;

/// `[notify]`: how others are told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifySettings {
    /// Longest time of one delivery, in milliseconds.
    pub timeout_ms: u64,
    /// Whether endpoints may be in inner networks.
    pub allow_private: bool,
    /// How long an old secret signs beside its successor.
    pub secret_overlap_hours: u32,
    /// Who takes mail.
    #[serde(default)]
    pub smtp: SmtpSettings,
}

impl NotifySettings {
    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// How long a delivery in hand is trusted without a word: longer than it can take.
    fn lease(&self) -> TimeDelta {
        let timeout = i64::try_from(self.timeout_ms).unwrap_or(i64::MAX / 4);
        TimeDelta::milliseconds(timeout.saturating_mul(2)) + TimeDelta::seconds(30)
    }

    fn overlap(&self) -> TimeDelta {
        TimeDelta::hours(i64::from(self.secret_overlap_hours))
    }
}

/// What cannot be done about endpoints and deliveries. Display names the ids and what to do.
#[derive(Debug, Error)]
pub enum NotifyError {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("{endpoint_id} is no webhook endpoint of this org")]
    NoEndpoint { endpoint_id: EndpointId },
    #[error("{event_id} is no event of this org, or too old to be kept")]
    NoEvent { event_id: EventId },
    #[error("the address is refused: {0}")]
    Address(#[from] AddressError),
    #[error("the org has {most} webhook endpoints, which is the most there may be: delete one")]
    TooManyEndpoints { most: usize },
    #[error("endpoint {endpoint_id} has this address already: change that one")]
    AddressTaken { endpoint_id: EndpointId },
    #[error("a description has at most {most} characters, none of them a control character")]
    BadDescription { most: usize },
    #[error("the time ends before it begins")]
    BackwardTime,
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    #[error("{0}")]
    Smtp(String),
}

impl NotifyError {
    /// A stable code, for logs and for the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => "store_failed",
            Self::NoEndpoint { .. } => "no_endpoint",
            Self::NoEvent { .. } => "no_event",
            Self::Address(_) => "address_refused",
            Self::TooManyEndpoints { .. } => "too_many_endpoints",
            Self::AddressTaken { .. } => "address_taken",
            Self::BadDescription { .. } => "bad_description",
            Self::BackwardTime => "backward_time",
            Self::Client(_) => "http_client",
            Self::Smtp(_) => "smtp",
        }
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }
}

/// On whose behalf endpoints are changed.
#[derive(Debug, Clone)]
pub struct By {
    pub actor: Actor,
    /// The HTTP request that asked for it, for the audit log.
    pub request_id: Option<String>,
}

/// Everything about outgoing webhooks. Cloning shares it.
#[derive(Clone)]
pub struct Notifier {
    store: Store,
    clock: Clock,
    settings: NotifySettings,
    guard: Guard,
    post: Post,
}

impl Notifier {
    /// A notifier over `store`, which resolves names as the host does.
    ///
    /// # Errors
    /// [`NotifyError::Client`] if the host's TLS cannot be set up.
    pub fn new(store: Store, clock: Clock, settings: NotifySettings) -> Result<Self, NotifyError> {
        Self::with_names(store, clock, settings, Arc::new(HostNames))
    }

    /// The same with another resolver of names.
    ///
    /// # Errors
    /// As [`Notifier::new`].
    pub fn with_names(
        store: Store,
        clock: Clock,
        settings: NotifySettings,
        names: Arc<dyn Names>,
    ) -> Result<Self, NotifyError> {
        let guard = Guard::new(names, settings.allow_private);
        let mail = Mail::new(&settings.smtp, settings.timeout()).map_err(NotifyError::Smtp)?;
        let post = Post::new(guard.clone(), mail, settings.timeout());
        let post = post.map_err(NotifyError::Client)?;
        Ok(Self { store, clock, settings, guard, post })
    }

    /// Keeps an act in the audit log, within the transaction of the act.
    async fn keep_act(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        by: &By,
        (action, subject): (&'static str, &str),
        detail: serde_json::Value,
    ) -> Result<(), NotifyError> {
        let audit_id = self.clock.mint::<AuditId>();
        let (actor, request_id) = (by.actor.clone(), by.request_id.clone());
        let subject = subject.to_owned();
        let audit = NewAudit { audit_id, actor, action, subject, detail, request_id };
        Ok(tx.audit_insert(org, &audit, self.clock.now()).await?)
    }

    /// Runs a transaction again, from its start, when it lost a race.
    async fn retrying<T, F>(&self, transaction: impl Fn() -> F) -> Result<T, NotifyError>
    where
        F: Future<Output = Result<T, NotifyError>>,
    {
        let mut tries = 1;
        loop {
            match transaction().await {
                Err(error) if error.is_transient() && tries < MOST_TRIES => {
                    let wait = self.clock.jittered(TimeDelta::milliseconds(10 << tries));
                    tokio::time::sleep(wait.to_std().unwrap_or_default()).await;
                    tries += 1;
                }
                done => return done,
            }
        }
    }
}
