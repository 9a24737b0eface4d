//! ACH: NACHA files of credits, placed in an outbox.
//!
//! No bank confirms an ACH credit. It is settled once the bank books it, or once so many banking
//! days have passed without a return; and most returns come within two days of that, a few within
//! sixty.

mod file;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Deserialize;

use super::bank::{Folders, Silence, Whereabouts, eastern, found};
use super::{Found, Letter, Outgoing, OutgoingItem, Problem, Provider, Sent, Terms};
use crate::domain::MethodKind;
use crate::domain::banking::{add_banking_days, is_banking_day, next_banking_day};

/// How files reach the bank, and what stands in them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AchSettings {
    /// The folder that the bank picks up from; empty if the rail is not used.
    pub outbox: String,
    /// The folder that the bank drops into.
    pub inbox: String,
    /// The folder that keeps what went and what came.
    pub archive: String,
    /// The most transfers that leave in one file, 1 to 9,000.
    pub batch_size: usize,
    /// The bank's routing number.
    pub immediate_destination: String,
    pub immediate_destination_name: String,
    /// Who sends files, as the bank has it on record.
    pub immediate_origin: String,
    pub immediate_origin_name: String,
    /// What payees read as the sender; at most 16 characters.
    pub company_name: String,
    /// The company's identification, at most 10 characters.
    pub company_id: String,
    /// The first eight digits of the originating bank's routing number.
    pub odfi: String,
    /// What payees read beside the amount; at most 10 characters.
    pub entry_description: String,
    /// Whether payments that leave early enough settle on the same day.
    pub same_day: bool,
    /// How long before the Federal Reserve's last cutoff a file has to be placed for that.
    pub same_day_margin_min: i64,
    /// The account that balances each batch; empty for files of credits alone.
    pub offset_routing: String,
    pub offset_account: String,
    /// `checking` or `savings`.
    pub offset_account_type: String,
    /// Banking days after the effective date without a return, after which a payment has
    /// settled; with 0 only the bank's booking settles it.
    pub settle_after_banking_days: u32,
}

impl AchSettings {
    /// Whether the rail is to be used at all.
    pub fn is_configured(&self) -> bool {
        !self.outbox.is_empty()
    }
}

/// The last cutoff of same-day ACH, in Eastern time.
const SAME_DAY_CUTOFF: NaiveTime = NaiveTime::from_hms_opt(16, 45, 0).expect("a time of day");
/// The largest amount that settles on the same day, in cents.
const LARGEST_SAME_DAY_MINOR: i64 = 100_000_000;
/// The largest file, in entries: the trace numbers of a file have four digits of their own.
const LARGEST_BATCH: usize = 9_000;

/// The ACH rail.
pub struct Ach {
    settings: AchSettings,
    folders: Folders,
}

impl Ach {
    /// The rail of these settings. No file is touched yet.
    ///
    /// # Errors
    /// [`Problem`] `bad_settings` if no bank would take a file that they make.
    pub fn new(settings: AchSettings) -> Result<Self, Problem> {
        if !(1..=LARGEST_BATCH).contains(&settings.batch_size) {
            let words = format!("ach.batch_size is not 1 to {LARGEST_BATCH}");
            return Err(Problem::new("bad_settings", words));
        }
        file::check_settings(&settings)?;
        let folders = Folders {
            outbox: settings.outbox.clone().into(),
            inbox: settings.inbox.clone().into(),
            archive: settings.archive.clone().into(),
        };
        Ok(Self { settings, folders })
    }

    fn name(outgoing: &Outgoing) -> String {
        format!("{}.ach", outgoing.reference)
    }

    /// What the bank's silence about an item means now. A bank that took the file after the
    /// effective date settles it on the banking day after that.
    fn silence(
        &self,
        outgoing: &Outgoing,
        item: &OutgoingItem,
        not_before: DateTime<Utc>,
    ) -> Silence {
        let days = self.settings.settle_after_banking_days;
        if days == 0 {
            return Silence::ProvesNothing;
        }
        let asked = effective_on(&self.settings, outgoing.sent_at, item.amount.minor);
        let taken = eastern(not_before).date();
        let effective = if taken > asked { next_banking_day(taken) } else { asked };
        match eastern(outgoing.now).date() >= add_banking_days(effective, days) {
            true => Silence::MeansSettled,
            false => Silence::TooShort,
        }
    }
}

/// The day that a payment should settle: today if that is wanted and can be reached, or else the
/// next banking day.
fn effective_on(settings: &AchSettings, sent_at: DateTime<Utc>, amount_minor: i64) -> NaiveDate {
    let local = eastern(sent_at);
    let margin = TimeDelta::minutes(settings.same_day_margin_min);
    let is_early = local + margin < local.date().and_time(SAME_DAY_CUTOFF);
    let may_be_today = settings.same_day
        && is_early
        && is_banking_day(local.date())
        && amount_minor <= LARGEST_SAME_DAY_MINOR;
    if may_be_today { local.date() } else { next_banking_day(local.date()) }
}

#[async_trait]
impl Provider for Ach {
    fn kind(&self) -> MethodKind {
        MethodKind::Ach
    }

    fn terms(&self) -> Terms {
        Terms {
            batch_size: self.settings.batch_size,
            // The archive proves for ever what was placed.
            resend_window: TimeDelta::days(365),
            finds_by_reference: false,
            horizon: TimeDelta::days(14),
            watch: TimeDelta::days(65),
            call_off_after: None,
        }
    }

    /// The bytes depend on the settings too: changing them changes what a submission renders to.
    /// Empty if a payment in it cannot be written; then [`Provider::send`] refuses it.
    fn render(&self, outgoing: &Outgoing) -> String {
        file::render(&self.settings, outgoing).unwrap_or_default()
    }

    async fn send(&self, outgoing: &Outgoing, body: &str) -> Sent {
        if let Some(refused) = file::refusal(&self.settings, outgoing) {
            return refused;
        }
        self.folders.place(outgoing, Self::name(outgoing), body).await
    }

    async fn look_up(&self, outgoing: &Outgoing) -> Found {
        let whereabouts = self.folders.whereabouts(outgoing, Self::name(outgoing)).await;
        let all_is_read = self.folders.all_is_read().await;
        match (whereabouts, all_is_read) {
            (Ok(whereabouts), Ok(all_is_read)) => {
                let silence = |item: &OutgoingItem| match whereabouts {
                    // What lies unread may be a return.
                    Whereabouts::PickedUp { not_before } if all_is_read => {
                        self.silence(outgoing, item, not_before)
                    }
                    _ => Silence::ProvesNothing,
                };
                found(outgoing, whereabouts, silence)
            }
            (Err(problem), _) | (_, Err(problem)) => Found::Unclear(problem),
        }
    }

    async fn ping(&self) -> Result<(), Problem> {
        self.folders.ping().await
    }

    async fn may_still_leave(&self, outgoing: &Outgoing) -> Option<Problem> {
        self.folders.may_still_leave(Self::name(outgoing)).await
    }

    async fn collect(&self) -> Result<Vec<Letter>, Problem> {
        self.folders.collect().await
    }

    async fn put_away(&self, letter: &Letter) -> Result<(), Problem> {
        self.folders.put_away(letter).await
    }
}
