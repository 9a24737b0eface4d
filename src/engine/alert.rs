//! Alerts: raised once per cause, closed by themselves when the cause is gone, or by a person.

use chrono::{DateTime, Utc};
use serde_json::json;
use tracing::{info, warn};

use super::{Engine, EngineError, Work};
use crate::domain::{AlertId, OrgId};
use crate::store::{NewAlert, Tx};

impl Engine {
    /// Raises an alert within `tx`; an open one of the same kind and subject is only counted. Whether
    /// it is new.
    pub(super) async fn alert(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        (kind, subject): (&'static str, &str),
        message: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, EngineError> {
        let alert_id = self.clock.mint::<AlertId>();
        let (subject, message) = (subject.to_owned(), message.to_owned());
        let alert = NewAlert { alert_id, kind, subject, message };
        let is_new = tx.alert_raise(org, &alert, now).await?;
        if is_new {
            warn!(event = "alert.opened", org_id = %org, alert_id = %alert.alert_id, kind,
                  subject = alert.subject.as_str(), message = alert.message.as_str());
        }
        Ok(is_new)
    }

    /// Closes an open alert within `tx`, because its cause is gone.
    pub(super) async fn alert_passes(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        (kind, subject): (&'static str, &str),
        work: &Work,
    ) -> Result<(), EngineError> {
        if tx.alert_pass(org, (kind, subject), &work.actor, self.clock.now()).await? {
            info!(event = "alert.passed", org_id = %org, kind, subject);
        }
        Ok(())
    }

    /// Closes an open alert by a person's word.
    ///
    /// # Errors
    /// [`EngineError::NoAlert`] if there is no such open alert in this org.
    pub async fn close_alert(
        &self,
        work: &Work,
        org: &OrgId,
        alert: &AlertId,
        note: &str,
    ) -> Result<(), EngineError> {
        let mut tx = self.begin(work).await?;
        if !tx.alert_close(org, alert, &work.actor, note, self.clock.now()).await? {
            return Err(EngineError::NoAlert { alert_id: alert.clone() });
        }
        let act = ("alert.closed", alert.as_str());
        self.keep_act(&mut tx, org, work, act, json!({ "note": note })).await?;
        tx.commit().await?;
        info!(event = "alert.closed", org_id = %org, alert_id = %alert, actor = %work.actor);
        Ok(())
    }
}
