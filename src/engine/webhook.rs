//! Webhooks: hints. One that is proven to be the provider's is kept as it arrived, and brings the
//! check of what it is about forward; what became of the money is for reconcile to ask.

use tracing::{info, warn};

use super::{Engine, EngineError};
use crate::domain::{MethodKind, OrgId};
use crate::providers::{Delivery, Heard, Problem, ProviderEvent};
use crate::store::NewProviderEvent;

/// The longest id and type of an event, in characters.
const LONGEST_NAME: usize = 255;

/// Whether a rail's webhooks are taken for an org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookDoor {
    Open,
    /// The rail is not configured.
    NoRail,
    /// There is no such org.
    NoOrg,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// It is kept. `matched` submissions are checked soon because of it; `repeated` if it had been
    /// kept before.
    Kept { matched: u64, repeated: bool },
    /// It is not proven to be the provider's, or not for this org: nothing is kept.
    Refused(Problem),
    /// It is the provider's, and cannot be kept as it is.
    Unusable(Problem),
    /// Whether it is the provider's cannot be told now: nothing is kept, it is delivered again.
    Unclear(Problem),
}

impl Engine {
    /// Whether webhooks of `kind` are taken for `org`, before anything of one is read.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn webhook_door(
        &self,
        org: &OrgId,
        kind: MethodKind,
    ) -> Result<WebhookDoor, EngineError> {
        if self.provider(kind).is_none() {
            return Ok(WebhookDoor::NoRail);
        }
        let known = self.store.org_exists(org).await?;
        Ok(if known { WebhookDoor::Open } else { WebhookDoor::NoOrg })
    }

    /// Takes one delivery: is it genuine, keep it, look soon. It moves no money.
    ///
    /// # Errors
    /// [`EngineError::Store`]: nothing is kept.
    pub async fn receive_webhook(
        &self,
        org: &OrgId,
        kind: MethodKind,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Received, EngineError> {
        let Some(provider) = self.provider(kind) else {
            let words = format!("{kind} is not configured");
            return Ok(Received::Refused(Problem::new("rail_not_configured", words)));
        };
        let delivery = Delivery { org, headers, body, received_at: self.clock.now() };
        let received = match provider.authenticate(delivery).await {
            Heard::Genuine(event) => match read(&event, body) {
                Ok(body) => self.keep(org, kind, &event, body).await?,
                Err(problem) => Received::Unusable(problem),
            },
            Heard::Refused(problem) => Received::Refused(problem),
            Heard::Unclear(problem) => Received::Unclear(problem),
        };
        log_unless_kept(org, kind, &received);
        Ok(received)
    }

    async fn keep(
        &self,
        org: &OrgId,
        kind: MethodKind,
        event: &ProviderEvent,
        body: &str,
    ) -> Result<Received, EngineError> {
        let names = event.references.iter().chain(&event.provider_ids).map(String::as_str);
        // PostgreSQL takes no NUL in text, and nothing of ours has one.
        let names: Vec<&str> = names.filter(|name| !name.contains('\0')).collect();
        let (event_id, event_type) = (event.event_id.as_str(), event.event_type.as_str());
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.store.begin().await?;
            let matched = tx.submissions_check_now(org, kind, &names, now).await?;
            let event = NewProviderEvent { method_kind: kind, event_id, event_type, body, matched };
            let deliveries = tx.provider_event_keep(org, event, now).await?;
            tx.commit().await?;
            info!(event = "webhook.kept", org_id = %org, provider = %kind, event_id, event_type,
                  matched, deliveries);
            Ok(Received::Kept { matched, repeated: deliveries > 1 })
        })
        .await
    }
}

/// The body as the text that is kept, if it and the event's names can be kept.
fn read<'a>(event: &ProviderEvent, body: &'a [u8]) -> Result<&'a str, Problem> {
    let name_fits = |name: &str| {
        let length = name.chars().count();
        (1..=LONGEST_NAME).contains(&length) && !name.chars().any(char::is_control)
    };
    if !name_fits(&event.event_id) || !name_fits(&event.event_type) {
        return Err(Problem::new("event_unnamed", "its id or type is empty, too long or no text"));
    }
    let text = std::str::from_utf8(body).ok().filter(|text| !text.contains('\0'));
    text.ok_or_else(|| Problem::new("body_not_text", "its body is not text"))
}

/// Says why a delivery is not kept, without any of it.
fn log_unless_kept(org: &OrgId, kind: MethodKind, received: &Received) {
    let (word, problem) = match received {
        Received::Kept { .. } => return,
        Received::Refused(problem) => ("webhook.refused", problem),
        Received::Unusable(problem) => ("webhook.unusable", problem),
        Received::Unclear(problem) => ("webhook.unclear", problem),
    };
    let (code, message) = (problem.code.as_str(), problem.message.as_str());
    warn!(event = word, org_id = %org, provider = %kind, code, message);
}
