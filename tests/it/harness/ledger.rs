//! What must hold when a story ends.

use std::sync::atomic::Ordering;

use payoutd::domain::{Currency, Money};
use payoutd::sandbox::{BookRow, ItemStatus};
use sqlx::FromRow;

use super::{Expectations, Harness};

/// A payment, as both sides tell it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Payment {
    reference: String,
    recipient: String,
    currency: String,
    amount: String,
}

#[derive(FromRow)]
struct Settled {
    org_id: String,
    reference: String,
    destination_id: String,
    currency: String,
    amount_minor: i64,
}

impl Harness {
    /// The numbers of the invariants that are broken, with how many places.
    pub async fn broken(&self) -> Vec<(u32, usize)> {
        let lines = self.engine.audit().await.expect("an audit");
        let broken = lines.iter().filter(|line| !line.breaches.is_empty());
        broken.map(|line| (line.number, line.breaches.len())).collect()
    }

    pub(super) async fn check_ledger(&self, expects: &Expectations) {
        if !expects.broken_ledger.load(Ordering::SeqCst) {
            for line in self.engine.audit().await.expect("an audit") {
                let (number, rule) = (line.number, line.rule);
                assert!(line.breaches.is_empty(), "I{number} {rule}: {:?}", line.breaches);
            }
        }
        if !expects.open_sends.load(Ordering::SeqCst) {
            let open = "SELECT submission_id FROM submissions WHERE state = 'sending'";
            let open: Vec<(String,)> = self.database.rows(open).await;
            assert_eq!(open, [], "sends were left open");
        }
        self.check_nobody_is_paid_twice().await;
        let (ours, theirs) = (self.settled().await, self.booked(&[ItemStatus::Success]));
        if expects.money_under_way.load(Ordering::SeqCst) {
            for payment in ours {
                assert!(theirs.contains(&payment), "{payment:?} is not in the books: {theirs:?}");
            }
        } else {
            assert_eq!(ours, theirs, "our completed payouts and the sandbox's books differ");
        }
    }

    /// However a story ends: of all that left for one payout, at most one did not come back.
    pub async fn check_nobody_is_paid_twice(&self) {
        let attempts = "SELECT reference, payout_id FROM transfers";
        let attempts: Vec<(String, String)> = self.database.rows(attempts).await;
        let mut paid: Vec<&str> = Vec::new();
        for payment in self.booked(&ItemStatus::OUT) {
            let attempt = attempts.iter().find(|(reference, _)| *reference == payment.reference);
            let (_, payout) = attempt.unwrap_or_else(|| panic!("{payment:?} is none of ours"));
            assert!(!paid.contains(&payout.as_str()), "{payout} was paid twice");
            paid.push(payout);
        }
    }

    async fn settled(&self) -> Vec<Payment> {
        let text = "SELECT p.org_id, t.reference, p.destination_id, p.currency, p.amount_minor
             FROM payouts p JOIN transfers t ON t.org_id = p.org_id AND t.payout_id = p.payout_id
             WHERE p.status = 'completed' AND t.state = 'settled' AND p.method_kind = 'paypal'";
        let rows: Vec<Settled> = self.database.rows(text).await;
        let mut payments = Vec::with_capacity(rows.len());
        for row in rows {
            let currency: Currency = row.currency.parse().expect("a currency");
            let org = row.org_id.parse().expect("an id");
            let id = row.destination_id.parse().expect("an id");
            let destination = self.store.destination(&org, &id).await;
            let destination = destination.expect("a destination that opens");
            payments.push(Payment {
                reference: row.reference,
                recipient: destination.get("email").expect("an address").to_owned(),
                amount: Money::new(row.amount_minor, currency).to_string(),
                currency: row.currency,
            });
        }
        payments.sort();
        payments
    }

    fn booked(&self, statuses: &[ItemStatus]) -> Vec<Payment> {
        let payment = |row: BookRow| Payment {
            reference: row.reference,
            recipient: row.recipient,
            currency: row.currency,
            amount: row.amount,
        };
        let rows = self.at.sandbox.books().paypal.into_iter();
        let rows = rows.filter(|row| statuses.contains(&row.status));
        let mut payments: Vec<_> = rows.map(payment).collect();
        payments.sort();
        payments
    }
}

/// Statuses of money that left and did not come back.
trait Out {
    const OUT: [ItemStatus; 4];
}

impl Out for ItemStatus {
    const OUT: [ItemStatus; 4] = [Self::Success, Self::Pending, Self::Unclaimed, Self::Onhold];
}
