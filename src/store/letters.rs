//! What rails leave for us: letters, once each, and what they say of our transfers.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{
    Currency, MethodKind, Money, Notice, NoticeId, NoticeWord, OrgId, PayoutId, Reference,
    SubmissionId, TransferId,
};
use crate::vault::{Cell, OrgVault};

const LETTER_INSERT: &str = "
    INSERT INTO letters (letter_hash, method_kind, name, kind, notices, unmatched, problem,
                         received_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (letter_hash) DO NOTHING";
const LETTER_KNOWN: &str = "SELECT name FROM letters WHERE letter_hash = $1";

// References are unique enough to be found over all orgs: a file does not say whose it is.
const TRANSFERS_NAMED: &str = "
    WITH said(reference) AS MATERIALIZED ({rows})
    SELECT t.org_id, t.transfer_id, t.submission_id, t.payout_id, t.reference, s.method_kind,
           t.reference AS said
    FROM said CROSS JOIN transfers t
    JOIN submissions s ON s.org_id = t.org_id AND s.submission_id = t.submission_id
    WHERE t.reference = said.reference";
const SUBMISSIONS_NAMED: &str = "
    WITH said(reference) AS MATERIALIZED ({rows})
    SELECT t.org_id, t.transfer_id, t.submission_id, t.payout_id, t.reference, s.method_kind,
           s.reference AS said
    FROM said CROSS JOIN submissions s
    JOIN transfers t ON t.org_id = s.org_id AND t.submission_id = s.submission_id
    WHERE s.reference = said.reference";

const NOTICE_INSERT: &str = "
    INSERT INTO notices (org_id, notice_id, transfer_id, submission_id, letter_hash, word, code,
                         message, amount_minor, currency, provider_id, sealed_account,
                         account_index, said_on, sealed_correction, received_at)
    {rows}";
const NOTICES_OF: &str = "
    WITH wanted(submission_id) AS MATERIALIZED ({rows})
    SELECT n.notice_id, n.submission_id, n.transfer_id, t.reference, n.word, n.code, n.message, n.amount_minor,
           n.currency, n.provider_id, n.sealed_account, n.said_on, n.sealed_correction
    FROM wanted CROSS JOIN notices n
    JOIN transfers t ON t.org_id = n.org_id AND t.transfer_id = n.transfer_id
    WHERE n.org_id = $1 AND n.submission_id = wanted.submission_id ORDER BY n.notice_id";
const CHECK_NOW: &str = "
    WITH said(submission_id) AS MATERIALIZED ({rows})
    UPDATE submissions SET next_check_at = $2 FROM said
    WHERE submissions.org_id = $1 AND submissions.submission_id = said.submission_id
      AND submissions.state IN ('accepted', 'unknown', 'review')";
const ORGS_OF_RAIL: &str =
    "SELECT DISTINCT org_id FROM submissions WHERE method_kind = $1 ORDER BY org_id LIMIT 2";

/// A letter to be kept.
#[derive(Debug, Clone)]
pub struct NewLetter {
    pub letter_hash: String,
    pub method_kind: MethodKind,
    pub name: String,
    pub kind: String,
    pub notices: usize,
    /// Notices that are about nothing of ours.
    pub unmatched: usize,
    pub problem: Option<String>,
}

/// A transfer that a letter names, and how it named it.
#[derive(Debug, Clone, FromRow)]
pub struct NamedTransfer {
    pub org_id: OrgId,
    pub transfer_id: TransferId,
    pub submission_id: SubmissionId,
    pub payout_id: PayoutId,
    pub reference: Reference,
    pub method_kind: MethodKind,
    /// The reference in the letter: the transfer's, or that of its submission.
    pub said: String,
}

/// A notice to be kept with its transfer.
#[derive(Debug, Clone)]
pub struct NewNotice {
    pub notice_id: NoticeId,
    pub about: NamedTransfer,
    pub letter_hash: String,
    pub notice: Notice,
}

#[derive(Debug, FromRow)]
struct NoticeRow {
    notice_id: NoticeId,
    submission_id: SubmissionId,
    transfer_id: TransferId,
    reference: String,
    word: NoticeWord,
    code: Option<String>,
    message: Option<String>,
    amount_minor: Option<i64>,
    currency: Option<Currency>,
    provider_id: Option<String>,
    sealed_account: Option<String>,
    said_on: Option<String>,
    sealed_correction: Option<String>,
}

/// What was said of a transfer, as it is handed to its rail.
#[derive(Debug, Clone)]
pub struct HeardNotice {
    pub submission_id: SubmissionId,
    pub transfer_id: TransferId,
    pub notice: Notice,
}

/// The cells of what a notice holds of accounts.
pub(super) fn account_cell(notice_id: &str) -> Cell<'_> {
    Cell::new("notices", "sealed_account", notice_id)
}

pub(super) fn correction_cell(notice_id: &str) -> Cell<'_> {
    Cell::new("notices", "sealed_correction", notice_id)
}

/// The fingerprint of an account of ours, to look for its bookings.
pub(super) fn account_index(keys: &OrgVault, account: &str) -> Result<String, StoreError> {
    Ok(keys.fingerprint("our account", account)?)
}

impl NoticeRow {
    fn into_heard(self, keys: &OrgVault) -> Result<HeardNotice, StoreError> {
        let id = self.notice_id.as_str();
        let open = |cell, sealed: Option<&String>| sealed.map(|text| keys.open(cell, text));
        let account = open(account_cell(id), self.sealed_account.as_ref()).transpose()?;
        let correction = open(correction_cell(id), self.sealed_correction.as_ref()).transpose()?;
        let correction = correction.map(|json| serde_json::from_str(&json)).transpose();
        let correction: Option<BTreeMap<String, String>> =
            correction.map_err(|source| StoreError::Corrupt { id: id.to_owned(), source })?;
        let amount = self.amount_minor.zip(self.currency);
        let notice = Notice {
            reference: self.reference,
            whole: false,
            word: self.word,
            code: self.code,
            message: self.message,
            amount: amount.map(|(minor, currency)| Money::new(minor, currency)),
            provider_id: self.provider_id,
            account,
            on: self.said_on.and_then(|day| day.parse::<NaiveDate>().ok()),
            correction: correction.unwrap_or_default(),
        };
        let (submission_id, transfer_id) = (self.submission_id, self.transfer_id);
        Ok(HeardNotice { submission_id, transfer_id, notice })
    }
}

impl Store {
    /// The orgs that have used a rail, by name; at most two, to tell one from several.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn orgs_of_rail(&self, kind: MethodKind) -> Result<Vec<OrgId>, StoreError> {
        let rows: Vec<(OrgId,)> = sql(ORGS_OF_RAIL).bind(&kind).read_all(&self.pools).await?;
        Ok(rows.into_iter().map(|(org,)| org).collect())
    }

    /// The fingerprint of an account of ours; `None` in an org that has never kept one.
    ///
    /// # Errors
    /// [`StoreError::Database`] or [`StoreError::Vault`].
    pub async fn account_index(
        &self,
        org: &OrgId,
        account: &str,
    ) -> Result<Option<String>, StoreError> {
        let keys = self.vault_of(org).await?;
        keys.is_complete().then(|| account_index(&keys, account)).transpose()
    }

    /// Whether a letter of this hash was kept before.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn letter_known(&self, hash: &str) -> Result<bool, StoreError> {
        let row: Option<(String,)> = sql(LETTER_KNOWN).bind(hash).read_maybe(&self.pools).await?;
        Ok(row.is_some())
    }
}

impl Tx {
    /// Keeps a letter; false if it was kept before, and then nothing of it may be applied again.
    pub async fn letter_insert(
        &mut self,
        letter: &NewLetter,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let insert = sql(LETTER_INSERT).bind(letter.letter_hash.as_str());
        let insert = insert.bind(&letter.method_kind).bind(letter.name.as_str());
        let insert = insert.bind(letter.kind.as_str()).bind(count(letter.notices));
        let insert = insert.bind(count(letter.unmatched)).bind(letter.problem.clone()).bind(now);
        Ok(insert.run(self).await? == 1)
    }

    /// The transfers that references name: their own, or those of whole submissions.
    pub async fn transfers_named(
        &mut self,
        references: &[&str],
        whole: bool,
    ) -> Result<Vec<NamedTransfer>, StoreError> {
        let rows: Vec<_> = references.iter().map(|text| vec![Value::from(*text)]).collect();
        let query = if whole { SUBMISSIONS_NAMED } else { TRANSFERS_NAMED };
        sql(query).all_with(self, &rows).await
    }

    /// Keeps what a letter says of transfers, and brings the checks of their submissions forward.
    pub async fn notices_insert(
        &mut self,
        notices: &[NewNotice],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut keys: HashMap<&OrgId, OrgVault> = HashMap::new();
        for new in notices {
            if !keys.contains_key(&new.about.org_id) {
                keys.insert(&new.about.org_id, self.vault_of(&new.about.org_id).await?);
            }
        }
        let row = |new: &NewNotice| {
            let NewNotice { notice_id, about, letter_hash, notice } = new;
            let amount = notice.amount;
            let (keys, id) = (&keys[&about.org_id], notice_id.as_str());
            let account = notice.account.as_deref();
            let index = account.map(|account| account_index(keys, account)).transpose()?;
            let account = account.map(|text| keys.seal(account_cell(id), text)).transpose()?;
            let correction = (!notice.correction.is_empty()).then(|| {
                let json = serde_json::to_string(&notice.correction);
                keys.seal(correction_cell(id), &json.expect("a map of text is always JSON"))
            });
            Ok::<_, StoreError>(vec![
                (&about.org_id).into(),
                notice_id.into(),
                (&about.transfer_id).into(),
                (&about.submission_id).into(),
                letter_hash.as_str().into(),
                (&notice.word).into(),
                notice.code.clone().into(),
                notice.message.clone().into(),
                Value::Int(amount.map(|amount| amount.minor)),
                amount.as_ref().map(|amount| &amount.currency).into(),
                notice.provider_id.clone().into(),
                account.into(),
                index.into(),
                notice.on.map(|day| day.to_string()).into(),
                correction.transpose()?.into(),
                now.into(),
            ])
        };
        let rows = notices.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        sql(NOTICE_INSERT).run_with(self, &rows).await?;
        let mut by_org: BTreeMap<&OrgId, Vec<&SubmissionId>> = BTreeMap::new();
        for notice in notices {
            by_org.entry(&notice.about.org_id).or_default().push(&notice.about.submission_id);
        }
        for (org, mut submissions) in by_org {
            submissions.sort();
            submissions.dedup();
            let rows: Vec<_> = submissions.iter().map(|id| vec![Value::from(*id)]).collect();
            sql(CHECK_NOW).bind(org).bind(now).run_with(self, &rows).await?;
        }
        Ok(())
    }

    /// What was said of the transfers of these submissions, in order of arrival.
    pub async fn notices_of(
        &mut self,
        org: &OrgId,
        submissions: &[&SubmissionId],
    ) -> Result<Vec<HeardNotice>, StoreError> {
        let rows: Vec<_> = submissions.iter().map(|id| vec![Value::from(*id)]).collect();
        let rows: Vec<NoticeRow> = sql(NOTICES_OF).bind(org).all_with(self, &rows).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.vault_of(org).await?;
        rows.into_iter().map(|row| row.into_heard(&keys)).collect()
    }
}
