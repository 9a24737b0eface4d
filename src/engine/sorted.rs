//! A provider's reports, sorted by what they do to our transfers: pure, nothing is written here.

use chrono::{DateTime, Utc};

use crate::domain::{Money, TransferState};
use crate::providers::{ItemReport, Standing};
use crate::store::{Transfer, TransferNews};

/// Whether the provider's answer about a transfer is still awaited.
pub(super) fn is_open(transfer: &Transfer) -> bool {
    matches!(
        transfer.state,
        TransferState::Accepted | TransferState::Unknown | TransferState::Sending
    )
}

/// A provider's reports, sorted by what they do to our transfers.
#[derive(Default)]
pub(super) struct Sorted {
    pub settled: Vec<TransferNews>,
    pub rejected: Vec<TransferNews>,
    pub returned: Vec<TransferNews>,
    /// News of transfers that stay where they are.
    pub noted: Vec<TransferNews>,
    pub still_open: Vec<Money>,
    pub open_before: u64,
    pub last_settled: Option<DateTime<Utc>>,
    /// What only a person can decide.
    pub disputes: Vec<Dispute>,
}

/// Where the provider and we disagree about a transfer.
pub(super) struct Dispute {
    pub kind: &'static str,
    /// The transfer.
    pub subject: String,
    pub words: String,
}

impl Sorted {
    /// Sorts `reports` by the transfers that they are about.
    pub fn new(transfers: &[Transfer], reports: &[ItemReport]) -> Self {
        let by_reference: std::collections::HashMap<_, _> =
            reports.iter().map(|report| (&report.reference, report)).collect();
        let mut sorted = Self::default();
        for transfer in transfers {
            sorted.last_settled = sorted.last_settled.max(transfer.settled_at);
            sorted.open_before += u64::from(is_open(transfer));
            match by_reference.get(&transfer.reference) {
                Some(report) => sorted.sort(transfer, report),
                None if is_open(transfer) => sorted.still_open.push(transfer.amount),
                None => {}
            }
        }
        sorted
    }

    fn sort(&mut self, transfer: &Transfer, report: &ItemReport) {
        let news = news(transfer, report);
        if let (Standing::Settled, Some(problem)) = (report.standing, &report.problem) {
            let words = format!("transfer {}: {problem}", transfer.transfer_id);
            self.disputes.push(Dispute::new("transfer_problem", transfer, words));
        }
        let differs = report.amount.filter(|amount| *amount != transfer.amount);
        match (report.standing, transfer.state) {
            (Standing::Settled, TransferState::Rejected | TransferState::Returned) => {
                // Its money is available again here: a person has to look.
                let words = format!(
                    "transfer {} ({}) is {} here, the provider says it was paid: look it up by hand",
                    transfer.transfer_id, transfer.reference, transfer.state
                );
                self.disputes.push(Dispute::new("paid_after_all", transfer, words));
            }
            (_, TransferState::Rejected | TransferState::Returned) => {}
            (Standing::Settled | Standing::Returned, _) if let Some(amount) = differs => {
                self.hold_for_a_person(transfer, amount, news);
            }
            (Standing::Settled, TransferState::Settled)
                if news.note.is_none() && news.code.is_none() => {}
            (Standing::Settled, TransferState::Settled) => self.noted.push(news),
            (Standing::Open | Standing::Unclaimed, TransferState::Settled) => {}
            (Standing::Settled, _) => self.settled.push(news),
            // What came back after it had arrived, whatever the provider calls it.
            (Standing::Rejected | Standing::Returned, TransferState::Settled) => {
                self.returned.push(news);
            }
            (Standing::Rejected, _) => self.rejected.push(news),
            // It arrived and came back while nobody asked: both happened, and both are kept.
            (Standing::Returned, _) => {
                let arrived = news.clone();
                self.settled.push(TransferNews { code: None, message: None, ..arrived });
                self.returned.push(news);
            }
            (Standing::Open | Standing::Unclaimed, _) => {
                self.noted.push(news);
                self.still_open.push(transfer.amount);
            }
        }
    }

    /// Nothing moves by another amount than was asked: a person has to look.
    fn hold_for_a_person(&mut self, transfer: &Transfer, amount: Money, news: TransferNews) {
        let words = format!(
            "transfer {} is {} {}, the provider says {amount} {}: look it up by hand",
            transfer.transfer_id, transfer.amount, transfer.amount.currency, amount.currency
        );
        self.disputes.push(Dispute::new("amount_mismatch", transfer, words.clone()));
        let (code, message) = (Some("amount_mismatch".to_owned()), Some(words));
        self.noted.push(TransferNews { code, message, ..news });
        if is_open(transfer) {
            self.still_open.push(transfer.amount);
        }
    }
}

impl Dispute {
    fn new(kind: &'static str, transfer: &Transfer, words: String) -> Self {
        Self { kind, subject: transfer.transfer_id.to_string(), words }
    }
}

fn news(transfer: &Transfer, report: &ItemReport) -> TransferNews {
    let (code, message) = report.problem.clone().map(|p| (p.code, p.message)).unzip();
    let gone = matches!(report.standing, Standing::Rejected | Standing::Returned);
    TransferNews {
        transfer_id: transfer.transfer_id.clone(),
        provider_id: report.provider_id.clone(),
        provider_status: Some(report.provider_status.clone()),
        code: code.or_else(|| gone.then(|| report.provider_status.clone())),
        message,
        note: report.note.clone(),
        of_method: report.problem.as_ref().is_some_and(|problem| problem.of_method),
    }
}
