//! Micro-deposits: payoutd sends two small payouts of its own to prove a bank account. They are
//! ordinary payouts, of the house's wallet, so that ledger, rails, returns and statements treat
//! them as any other money; what is special about them is their origin.

use chrono::{DateTime, Utc};

use super::proving::{Started, no_rail};
use super::request::write_payouts;
use super::{Engine, EngineError, Work, ledger};
use crate::domain::{
    AdjustmentId, Bucket, Currency, DEPOSITS_LIVE, EntryKind, MethodKind, MicroDeposits, Movement,
    Nonce, OrgId, PayoutId, PayoutOrigin, TRIES, VerificationKind, house_program, house_wallet,
};
use crate::store::{HeldMethod, NewAdjustment, NewPayout, NewVerification, PaymentMethod, Tx};

impl Engine {
    /// Sends two deposits whose amounts nobody is told.
    pub(super) async fn start_deposits(
        &self,
        work: &Work,
        org: &OrgId,
        method: &PaymentMethod,
    ) -> Result<Started, EngineError> {
        if self.provider(MethodKind::Ach).is_none() {
            return Err(no_rail(method));
        }
        let until = self.clock.now() + DEPOSITS_LIVE;
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.begin(work).await?;
            let held = self.startable(&mut tx, (org, work), method).await?;
            let deposits: MicroDeposits = self.clock.mint();
            let salt: Nonce = self.clock.mint();
            let payouts = self.send_deposits(&mut tx, (org, work), &held, deposits, now).await?;
            let new = NewVerification {
                verification_id: self.clock.mint(),
                method_id: &held.method_id,
                affiliate_id: &held.affiliate_id,
                kind: VerificationKind::MicroDeposits,
                destination_id: &held.destination_id,
                salt: salt.as_str(),
                secret_hash: &deposits.hash(salt.as_str()),
                tries_left: TRIES,
                payouts: Some(payouts),
                expires_at: until,
            };
            self.keep_start(&mut tx, (org, work), &new).await?;
            tx.commit().await?;
            Ok(())
        })
        .await?;
        Ok(Started::Deposits { until })
    }

    async fn send_deposits(
        &self,
        tx: &mut Tx,
        (org, work): (&OrgId, &Work),
        held: &HeldMethod,
        deposits: MicroDeposits,
        now: DateTime<Utc>,
    ) -> Result<[PayoutId; 2], EngineError> {
        let currency: Currency = "USD".parse().expect("a currency");
        let [first, second] = deposits.minors();
        self.fund_house(tx, (org, work), (first + second, currency), now).await?;
        let wallet = house_wallet(currency);
        let payout = |amount_minor| NewPayout {
            payout_id: self.clock.mint(),
            affiliate_id: wallet.affiliate_id.clone(),
            program_id: house_program(),
            currency,
            amount_minor,
            method_id: held.method_id.clone(),
            method_kind: held.kind,
            destination_id: held.destination_id.clone(),
            origin: PayoutOrigin::Verification,
            approval: Vec::new(),
            period: None,
            run_id: None,
            retry_of: None,
        };
        let payouts = [payout(first), payout(second)];
        for payout in &payouts {
            // Lines are given to one payout of a wallet at a time.
            write_payouts(tx, org, std::slice::from_ref(payout), work, now).await?;
        }
        Ok(payouts.map(|payout| payout.payout_id))
    }

    /// Sees to it that the house can pay so much. Deposits that came back are spent first.
    async fn fund_house(
        &self,
        tx: &mut Tx,
        (org, work): (&OrgId, &Work),
        (wanted, currency): (i64, Currency),
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        let wallet = house_wallet(currency);
        tx.wallets_open(org, &[(&wallet, &house_program())], now).await?;
        let held = tx.wallets_lock(org, std::slice::from_ref(&wallet)).await?;
        let available = held.first().map_or(0, |(_, balances)| balances.available);
        let lacks = wanted.saturating_sub(available);
        if lacks <= 0 {
            return Ok(());
        }
        let adjustment_id: AdjustmentId = self.clock.mint();
        let new = NewAdjustment {
            adjustment_id: &adjustment_id,
            wallet: &wallet,
            amount_minor: lacks,
            reason: "deposits that prove bank accounts",
        };
        tx.adjustment_insert(org, &new, &work.actor, now).await?;
        let movement = Movement {
            wallet: wallet.clone(),
            kind: EntryKind::Adjust,
            from: Bucket::Earned,
            to: Bucket::Available,
            amount_minor: lacks,
            entry_key: format!("adjust:{adjustment_id}"),
        };
        ledger::post(tx, org, vec![movement], &work.actor, now).await
    }
}
