//! Outlook: which job pays an affiliate, and when it is due next. The command line and the API tell
//! the same.

use chrono::{DateTime, Utc};

use super::{Definition, JobKind, Runner};
use crate::domain::{AffiliateId, OrgId};
use crate::engine::{EngineError, Explanation};
use crate::store::PauseRow;

/// The job that pays an affiliate automatically.
#[derive(Debug, Clone)]
pub struct Outlook {
    pub job_id: String,
    pub enabled: bool,
    /// When its next run is due; `None` while it is off or paused.
    pub next_due: Option<DateTime<Utc>>,
    /// Why there is no next run.
    pub why_none: Option<String>,
    /// The next instant of its schedule, whether it runs then or not.
    pub next_instant: Option<DateTime<Utc>>,
    /// The zone that its schedule is read in.
    pub timezone: String,
}

impl Runner {
    /// Explains one affiliate: the job that pays it, what that is expected to do when it is due
    /// next, and the latest decisions.
    ///
    /// # Errors
    /// [`EngineError`]; [`EngineError::NoAffiliate`].
    pub async fn explain(
        &self,
        org: &OrgId,
        affiliate: &AffiliateId,
    ) -> Result<(Option<Outlook>, Explanation), EngineError> {
        let known = self.engine.store.affiliate(org, affiliate).await?;
        let Some(known) = known else {
            return Err(EngineError::NoAffiliate { affiliate_id: affiliate.clone() });
        };
        let (now, pauses) = (self.engine.clock.now(), self.engine.store.job_pauses().await?);
        let pays = |job: &&Definition| {
            job.kind == JobKind::RequestPayouts
                && job.scope.has_org(org)
                && job.scope.has_program(&known.program_id)
        };
        let jobs = self.catalog.iter().filter(pays).map(|job| (outlook(job, &pauses, now), job));
        // The first that is due; one that is not due comes after all that are.
        let first = jobs.min_by_key(|(outlook, _)| {
            outlook.next_due.map_or((true, DateTime::<Utc>::MAX_UTC), |due| (false, due))
        });
        let rules = first
            .as_ref()
            .and_then(|(outlook, job)| job.rules(outlook.next_instant.unwrap_or(now)));
        let explanation = self.engine.explain(org, affiliate, rules.as_ref()).await?;
        Ok((first.map(|(outlook, _)| outlook), explanation))
    }
}

fn outlook(job: &Definition, pauses: &[PauseRow], now: DateTime<Utc>) -> Outlook {
    let pause = pauses.iter().find(|pause| pause.job_id == job.job_id);
    let next_instant = job.schedule.next(now);
    let why_none = match (job.enabled, pause, next_instant) {
        (false, ..) => Some("the job is off: only a person runs it".to_owned()),
        (true, Some(pause), _) => {
            Some(format!("the job was paused by {}: {}", pause.paused_by, pause.reason))
        }
        (true, None, None) => Some("its schedule has no further instant".to_owned()),
        (true, None, Some(_)) => None,
    };
    Outlook {
        job_id: job.job_id.clone(),
        enabled: job.enabled,
        next_due: next_instant.filter(|_| why_none.is_none()),
        why_none,
        next_instant,
        timezone: job.schedule.zone().name().to_owned(),
    }
}
