//! Halts: what a person stopped from being sent. Whoever is about to send asks in the transaction
//! that claims it, and once more right before the bytes leave.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::sql;
use super::{Queue, Store, StoreError, SubmissionRow, Tx};
use crate::domain::{Actor, Halt, HaltScope, MethodKind, OrgId, ProgramId};

// What is halted that a payout falls under, in words: NULL if nothing is. The arguments are its org,
// its rail and its program.
macro_rules! halted {
    ($org:literal, $kind:literal, $program:literal) => {
        concat!(
            "
        (SELECT MIN(CASE h.scope WHEN 'everything' THEN 'everything' WHEN 'org' THEN 'org'
                    ELSE h.scope || ' ' || h.subject END)
         FROM halts h
         WHERE h.org_id IN ('*', ",
            $org,
            ")
           AND (h.scope IN ('everything', 'org')
                OR (h.scope = 'provider' AND h.subject = ",
            $kind,
            ")
                OR (h.scope = 'program' AND h.subject = ",
            $program,
            ")))"
        )
    };
}
pub(super) use halted;

macro_rules! halts {
    ($tail:literal) => {
        concat!(
            "SELECT h.org_id, h.scope, h.subject, h.reason, h.halted_by, h.halted_at
    FROM halts h ",
            $tail
        )
    };
}
const HALTS: &str = halts!("ORDER BY h.org_id, h.scope, h.subject");
const HALTS_OF: &str = halts!("WHERE h.org_id IN ('*', $1) ORDER BY h.org_id, h.scope, h.subject");
const HALT: &str = "
    INSERT INTO halts (org_id, scope, subject, reason, halted_by, halted_at)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (org_id, scope, subject) DO NOTHING";
const LIFT: &str = "DELETE FROM halts WHERE org_id = $1 AND scope = $2 AND subject = $3";

// A submission is halted if any of its payouts is. $3 is its rail.
const SUBMISSION_HALTED: &str = "
    SELECT CASE h.scope WHEN 'everything' THEN 'everything' WHEN 'org' THEN 'org'
                ELSE h.scope || ' ' || h.subject END
    FROM halts h
    WHERE h.org_id IN ('*', $1)
      AND (h.scope IN ('everything', 'org') OR (h.scope = 'provider' AND h.subject = $3)
           OR (h.scope = 'program' AND EXISTS (
               SELECT 1 FROM transfers t
               JOIN payouts q ON q.org_id = t.org_id AND q.payout_id = t.payout_id
               WHERE t.org_id = $1 AND t.submission_id = $2 AND q.program_id = h.subject)))
    ORDER BY h.org_id, h.scope, h.subject LIMIT 1";

// What waits under a halt: queued, or put together and certainly not sent.
const HALTED_QUEUES: &str = concat!(
    "
    SELECT q.org_id, q.method_kind, q.currency, COUNT(*) AS payouts,
           CAST(SUM(q.amount_minor) AS BIGINT) AS amount_minor
    FROM (SELECT org_id, method_kind, currency, program_id, amount_minor FROM payouts
          WHERE (status = 'approved' OR (status = 'pending' AND requires_approval = 0))
          UNION ALL
          SELECT p.org_id, p.method_kind, p.currency, p.program_id, p.amount_minor
          FROM submissions s
          JOIN transfers t ON t.org_id = s.org_id AND t.submission_id = s.submission_id
          JOIN payouts p ON p.org_id = t.org_id AND p.payout_id = t.payout_id
          WHERE s.state = 'prepared' AND t.state = 'prepared') AS q
    WHERE ",
    halted!("q.org_id", "q.method_kind", "q.program_id"),
    " IS NOT NULL
    GROUP BY q.org_id, q.method_kind, q.currency ORDER BY q.org_id, q.method_kind, q.currency"
);

/// Something that is halted.
#[derive(Debug, Clone, FromRow)]
pub struct HaltRow {
    /// `*`: in every org.
    pub org_id: String,
    pub scope: HaltScope,
    /// The rail or the program; empty where the scope says it all.
    pub subject: String,
    pub reason: String,
    pub halted_by: String,
    pub halted_at: DateTime<Utc>,
}

impl HaltRow {
    /// Whether money of the org that goes by this rail is halted; without a program, all of it.
    pub fn covers(&self, kind: MethodKind, program: Option<&ProgramId>) -> bool {
        match self.scope {
            HaltScope::Everything | HaltScope::Org => true,
            HaltScope::Provider => self.subject == kind.as_str(),
            HaltScope::Program => program.is_some_and(|program| self.subject == program.as_str()),
        }
    }
}

impl Store {
    /// Everything that is halted, or what of it an org falls under.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn halts(&self, org: Option<&OrgId>) -> Result<Vec<HaltRow>, StoreError> {
        match org {
            None => sql(HALTS).read_all(&self.pools).await,
            Some(org) => sql(HALTS_OF).bind(org).read_all(&self.pools).await,
        }
    }

    /// What waits under a halt, by org, rail and currency.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn halted_queues(&self) -> Result<Vec<Queue>, StoreError> {
        sql(HALTED_QUEUES).read_all(&self.pools).await
    }

    /// What is halted that a submission falls under, in words.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn submission_halted(
        &self,
        row: &SubmissionRow,
    ) -> Result<Option<String>, StoreError> {
        let query = sql(SUBMISSION_HALTED).bind(&row.org_id).bind(&row.submission_id);
        let found: Option<(String,)> = query.bind(&row.method_kind).read_maybe(&self.pools).await?;
        Ok(found.map(|(what,)| what))
    }
}

impl Tx {
    /// Halts something; false if it is halted already: the first reason stays.
    pub async fn halt(
        &mut self,
        halt: &Halt,
        (actor, reason): (&Actor, &str),
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let insert = sql(HALT).bind(halt.org_key()).bind(&halt.scope).bind(halt.subject.as_str());
        Ok(insert.bind(reason).bind(actor.as_str()).bind(now).run(self).await? == 1)
    }

    /// Lifts a halt; false if there is none.
    pub async fn halt_lift(&mut self, halt: &Halt) -> Result<bool, StoreError> {
        let delete = sql(LIFT).bind(halt.org_key()).bind(&halt.scope).bind(halt.subject.as_str());
        Ok(delete.run(self).await? == 1)
    }

    /// What is halted that a submission falls under, in words.
    pub async fn submission_halted(
        &mut self,
        row: &SubmissionRow,
    ) -> Result<Option<String>, StoreError> {
        let query = sql(SUBMISSION_HALTED).bind(&row.org_id).bind(&row.submission_id);
        let found: Option<(String,)> = query.bind(&row.method_kind).maybe(self).await?;
        Ok(found.map(|(what,)| what))
    }
}
