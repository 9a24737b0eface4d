//! Lists: newest first, a page at a time, with filters and cursors.

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::access::Caller;
use super::form::Form;
use super::ledger::{Ledger, Payout, Reversal, Transfer};
use super::{Refusal, Shown, show};
use crate::sandbox::Sandbox;
use crate::sandbox::told::Told;

/// How long an event can be listed.
const EVENT_LIFE: TimeDelta = TimeDelta::days(30);

/// Which part of a list is asked for.
struct Page {
    limit: usize,
    after: Option<String>,
    before: Option<String>,
}

impl Page {
    fn read(form: &mut Form) -> Result<Self, Refusal> {
        let limit = form.integer("limit")?.unwrap_or(10);
        let within = usize::try_from(limit).ok().filter(|limit| (1..=100).contains(limit));
        let limit = within
            .ok_or_else(|| Refusal::invalid("limit", "This value must be between 1 and 100."))?;
        let (after, before) = (form.text("starting_after"), form.text("ending_before"));
        if after.is_some() && before.is_some() {
            let words = "Only one of starting_after and ending_before can be given.";
            return Err(Refusal::invalid("ending_before", words));
        }
        Ok(Self { limit, after, before })
    }

    /// The page of `all`, which are newest first.
    fn of<T>(
        &self,
        all: &[T],
        url: &str,
        id: impl Fn(&T) -> &str,
        show: impl Fn(&T) -> Value,
    ) -> Result<Value, Refusal> {
        let place = |param: &str, cursor: &str| {
            let found = all.iter().position(|one| id(one) == cursor);
            found.ok_or_else(|| Refusal::no_such(param, "object", cursor))
        };
        let (page, more) = match (&self.after, &self.before) {
            (None, Some(cursor)) => {
                let end = place("ending_before", cursor)?;
                let start = end.saturating_sub(self.limit);
                (&all[start..end], start > 0)
            }
            (after, _) => {
                let start = match after {
                    Some(cursor) => place("starting_after", cursor)? + 1,
                    None => 0,
                };
                let end = all.len().min(start + self.limit);
                (&all[start..end], end < all.len())
            }
        };
        let data: Vec<_> = page.iter().map(show).collect();
        Ok(json!({"object": "list", "data": data, "has_more": more, "url": url}))
    }
}

/// A range of seconds: `created=5`, or `created[gte]=5&created[lt]=9`.
#[derive(Default)]
struct Created {
    from: Option<i64>,
    to: Option<i64>,
}

impl Created {
    fn read(form: &mut Form) -> Result<Self, Refusal> {
        if let Some(at) = form.integer("created")? {
            return Ok(Self { from: Some(at), to: Some(at) });
        }
        let mut range = Self::default();
        for (word, text) in form.members("created") {
            let name = format!("created[{word}]");
            let at: i64 = text.parse().map_err(|_| Refusal::not_an_integer(&name, &text))?;
            match word.as_str() {
                "gte" => range.from = range.from.max(Some(at)),
                "gt" => range.from = range.from.max(Some(at.saturating_add(1))),
                "lte" => range.to = Some(range.to.map_or(at, |to| to.min(at))),
                "lt" => range.to = Some(range.to.map_or(at - 1, |to| to.min(at - 1))),
                _ => return Err(Refusal::unknown_parameter(&name)),
            }
        }
        Ok(range)
    }

    fn holds(&self, at: DateTime<Utc>) -> bool {
        let at = at.timestamp();
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at <= to)
    }
}

/// `GET /v1/transfers`. A former life comes back if the list holds anything of it.
pub(super) async fn list_transfers(caller: Caller, State(sandbox): State<Sandbox>) -> Shown {
    let mut form = caller.query()?;
    let (page, created) = (Page::read(&mut form)?, Created::read(&mut form)?);
    let (destination, group) = (form.text("destination"), form.text("transfer_group"));
    form.end()?;
    let wanted = |transfer: &&Transfer| {
        created.holds(transfer.created)
            && destination.as_ref().is_none_or(|wanted| *wanted == transfer.destination)
            && group.as_ref().is_none_or(|wanted| Some(wanted) == transfer.transfer_group.as_ref())
    };
    let mut desk = sandbox.desk();
    desk.recall(|life| life.stripe.transfers().iter().any(|transfer| wanted(&transfer)))?;
    let newest: Vec<_> = desk.life().stripe.transfers().iter().rev().filter(wanted).collect();
    let shown = page.of(&newest, "/v1/transfers", |one| &one.id, |one| show::transfer(one))?;
    Ok(Json(shown))
}

/// `GET /v1/transfers/{id}/reversals`.
pub(super) async fn list_reversals(
    caller: Caller,
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
) -> Shown {
    let mut form = caller.query()?;
    let page = Page::read(&mut form)?;
    form.end()?;
    let mut desk = sandbox.desk();
    let transfer = super::known(&mut desk, &id)?;
    let url = format!("/v1/transfers/{id}/reversals");
    Ok(Json(page.of(&transfer.reversals, &url, |one: &Reversal| &one.id, show::reversal)?))
}

/// `GET /v1/payouts`, of the account in the header `Stripe-Account`. Our own account has none.
pub(super) async fn list_payouts(caller: Caller, State(sandbox): State<Sandbox>) -> Shown {
    let mut form = caller.query()?;
    let (page, created) = (Page::read(&mut form)?, Created::read(&mut form)?);
    let status = form.text("status");
    form.end()?;
    let wanted = |payout: &&Payout| {
        caller.account.as_ref() == Some(&payout.account)
            && created.holds(payout.created)
            && status.as_ref().is_none_or(|wanted| *wanted == payout.status)
    };
    let desk = sandbox.desk();
    let newest: Vec<_> = desk.life().stripe.payouts().iter().rev().filter(wanted).collect();
    Ok(Json(page.of(&newest, "/v1/payouts", |one| &one.id, |one| show::payout(one))?))
}

/// `GET /v1/events`.
pub(super) async fn list_events(caller: Caller, State(sandbox): State<Sandbox>) -> Shown {
    let mut form = caller.query()?;
    let (page, created) = (Page::read(&mut form)?, Created::read(&mut form)?);
    let mut kinds: Vec<_> = form.members("types").into_values().collect();
    kinds.extend(form.text("type"));
    form.end()?;
    let since = sandbox.clock.now() - EVENT_LIFE;
    let wanted = |told: &&Told| {
        told.created >= since
            && told.account == caller.account
            && created.holds(told.created)
            && (kinds.is_empty() || kinds.iter().any(|kind| fits(kind, &told.kind)))
    };
    let desk = sandbox.desk();
    let newest: Vec<_> = desk.life().stripe.told().iter().rev().filter(wanted).collect();
    Ok(Json(page.of(&newest, "/v1/events", |one| &one.id, |one| one.value())?))
}

/// `GET /v1/events/{id}`.
pub(super) async fn show_event(
    caller: Caller,
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
) -> Shown {
    caller.query()?.end()?;
    let desk = sandbox.desk();
    let told = find_event(&desk.life().stripe, &id);
    told.map(|told| Json(told.value())).ok_or_else(|| Refusal::not_found("event", &id))
}

fn find_event<'a>(ledger: &'a Ledger, id: &str) -> Option<&'a Told> {
    ledger.told().iter().find(|told| told.id == id)
}

/// Whether a kind of event is one that is asked for: `transfer.*` stands for all of its kinds.
fn fits(wanted: &str, kind: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => kind.starts_with(start),
        None => kind == wanted,
    }
}
