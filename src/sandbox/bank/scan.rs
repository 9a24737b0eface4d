//! A scan: files are taken away and answered, what is due settles or comes back, and what
//! happened is told.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use tokio_util::sync::CancellationToken;

use super::answer::answer;
use super::behaviour::Treatment;
use super::iso::Booking;
use super::judge::{Days, judge};
use super::ledger::{Event, News, Origin, Payment, PaymentStatus, Rail};
use super::{Door, iso, nacha, post};
use crate::clock::Clock;
use crate::domain::Reference;
use crate::domain::banking::add_banking_days;
use crate::formats::Unfit;
use crate::sandbox::Sandbox;
use crate::sandbox::desk::Desk;

/// How often the bank looks into its folders.
const PERIOD: std::time::Duration = std::time::Duration::from_secs(1);

/// Scans until `stop`. What cannot be read or written now is tried again at the next scan.
pub(in crate::sandbox) async fn keep_scanning(sandbox: Sandbox, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let _ = scan(&mut sandbox.desk(), &sandbox.clock);
    }
}

/// Scans every folder once.
pub(in crate::sandbox) fn scan(desk: &mut Desk, clock: &Clock) -> io::Result<()> {
    for door in desk.bank.doors.clone() {
        let outbox = door.outbox.to_string_lossy().into_owned();
        desk.recall(|life| life.bank.took_from(&outbox))?;
        for file in post::finished(&door.outbox)? {
            take(desk, &door, &file, clock)?;
        }
    }
    move_on(desk, clock)?;
    tell(desk, clock)
}

/// Takes one file away, and answers it.
fn take(desk: &mut Desk, door: &Door, file: &Path, clock: &Clock) -> io::Result<()> {
    let bytes = fs::read(file)?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let (today, at_once) = (desk.bank.today(clock), desk.bank.settles_at_once);
    let inbox = door.inbox.to_string_lossy();
    let mut judged = judge(&bytes, &inbox, Days { today, at_once }, clock);
    let identity = judged.origin.message_id.clone();
    if judged.fault.is_none() && desk.life().bank.had(&identity) {
        judged.fault = Some(("DUPL", format!("the file {identity} came before")));
    }
    if judged.fault.is_some() {
        judged.payments.clear();
    }
    for payment in &mut judged.payments {
        if desk.bank.behaviours.treatment(payment) == Treatment::Reject {
            payment.status = PaymentStatus::Rejected;
            payment.reason = desk.bank.behaviours.of(payment).and_then(|one| one.code.clone());
        }
    }
    let mut events: Vec<_> =
        judged.payments.iter().cloned().map(Box::new).map(Event::Taken).map(Into::into).collect();
    if judged.fault.is_none() {
        let outbox = door.outbox.to_string_lossy().into_owned();
        events.push(Event::Received { outbox, identity }.into());
    }
    desk.record_all(events)?;
    fs::remove_file(file)?;
    let told: Vec<_> =
        judged.payments.iter().filter(|one| !desk.bank.behaviours.is_silent(one)).collect();
    if told.is_empty() && !judged.payments.is_empty() {
        return Ok(());
    }
    let (number, now) = (fresh_number(clock), desk.bank.now(clock));
    let answer = answer(&judged, &told, &name, &number, now);
    let name = file_name(&number, answer.kind, answer.extension);
    post::drop_file(&door.inbox, &name, &answer.text)
}

/// Lets time pass: what is due settles, and what is to come back does.
fn move_on(desk: &mut Desk, clock: &Clock) -> io::Result<()> {
    let today = desk.bank.today(clock);
    let due = |one: &&Payment| one.status == PaymentStatus::Accepted && one.settle_on <= today;
    let due = desk.life().bank.payments().iter().filter(due);
    let settled = due.map(|one| Event::Settled { id: one.id.clone() }.into()).collect();
    desk.record_all(settled)?;
    let mut returned = Vec::new();
    for one in desk.life().bank.payments() {
        let behaviour = desk.bank.behaviours.of(one);
        let Some(behaviour) = behaviour.filter(|one| one.behaviour == Treatment::Return) else {
            continue;
        };
        let on = add_banking_days(one.settle_on, behaviour.days);
        if one.status == PaymentStatus::Settled && on <= today {
            let code = behaviour.code.clone().unwrap_or_else(|| "R02".to_owned());
            returned.push(Event::CameBack { id: one.id.clone(), code, on }.into());
        }
    }
    desk.record_all(returned)
}

/// Tells what happened and was not told yet, a file for each file that brought it.
fn tell(desk: &mut Desk, clock: &Clock) -> io::Result<()> {
    for ((origin, news), payments) in untold(desk, clock) {
        match news {
            News::Booked => tell_booked(desk, &origin, &payments, clock)?,
            News::CameBack => tell_come_back(desk, &origin, &payments, clock)?,
            News::Corrected => tell_changed(desk, &origin, &payments, clock)?,
        }
        let told = |one: Payment| Event::Told { id: one.id, news }.into();
        desk.record_all(payments.into_iter().map(told).collect())?;
    }
    Ok(())
}

/// By the file that brought them, the payments about which there is something to tell.
fn untold(desk: &Desk, clock: &Clock) -> BTreeMap<(Origin, News), Vec<Payment>> {
    let mut untold: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for one in desk.life().bank.payments() {
        for news in news_of(desk, one, clock) {
            untold.entry((one.origin.clone(), news)).or_default().push(one.clone());
        }
    }
    untold
}

fn news_of(desk: &Desk, one: &Payment, clock: &Clock) -> Vec<News> {
    let has_left = matches!(one.status, PaymentStatus::Settled | PaymentStatus::Returned);
    let is_ach = one.origin.rail == Rail::Ach;
    // What was rejected by ACH comes back too, on the day that it would have settled.
    let bounced = one.status == PaymentStatus::Rejected && is_ach;
    let bounced = bounced && one.settle_on <= desk.bank.today(clock);
    let treatment = desk.bank.behaviours.treatment(one);
    let all = [
        (News::Booked, has_left),
        (News::CameBack, one.status == PaymentStatus::Returned || bounced),
        (News::Corrected, has_left && is_ach && treatment == Treatment::Noc),
    ];
    let said = |news: &News| treatment == Treatment::Silent || one.told.contains(news);
    all.into_iter().filter(|(news, is_so)| *is_so && !said(news)).map(|(news, _)| news).collect()
}

fn tell_booked(
    desk: &Desk,
    origin: &Origin,
    payments: &[Payment],
    clock: &Clock,
) -> io::Result<()> {
    let bookings = payments.iter().map(|payment| Booking { payment, comes_back: false });
    notify(desk, origin, &bookings.collect::<Vec<_>>(), clock)
}

/// A return by the rail's own means, and a booking of the money.
fn tell_come_back(
    desk: &Desk,
    origin: &Origin,
    payments: &[Payment],
    clock: &Clock,
) -> io::Result<()> {
    let now = desk.bank.now(clock);
    let mut by_day: BTreeMap<_, Vec<&Payment>> = BTreeMap::new();
    for one in payments {
        by_day.entry(one.returned_on.unwrap_or(one.settle_on)).or_default().push(one);
    }
    for (on, payments) in by_day {
        let number = fresh_number(clock);
        let (kind, extension, text) = match origin.rail {
            Rail::Ach => {
                let text =
                    nacha::returns(origin, &payments, on, &number, now).map_err(unwritable)?;
                ("nacha.return", "ach", text)
            }
            Rail::Wire => {
                let text = iso::payment_return(origin, &payments, on, &number, now);
                ("pacs.004", "xml", text)
            }
        };
        post::drop_file(Path::new(&origin.inbox), &file_name(&number, kind, extension), &text)?;
        // What was rejected never left the account, so nothing is booked of it.
        let booked = payments.iter().filter(|one| one.status == PaymentStatus::Returned);
        let bookings = booked.map(|payment| Booking { payment, comes_back: true });
        notify(desk, origin, &bookings.collect::<Vec<_>>(), clock)?;
    }
    Ok(())
}

fn tell_changed(
    desk: &Desk,
    origin: &Origin,
    payments: &[Payment],
    clock: &Clock,
) -> io::Result<()> {
    let change = |one| {
        let noc = desk.bank.behaviours.of(one)?;
        let code = noc.code.clone().unwrap_or_else(|| "C01".to_owned());
        Some((one, code, noc.corrected.clone().unwrap_or_default()))
    };
    let changes: Vec<_> = payments.iter().filter_map(change).collect();
    let (number, now) = (fresh_number(clock), desk.bank.now(clock));
    let text = nacha::changes(origin, &changes, &number, now).map_err(unwritable)?;
    let name = file_name(&number, "nacha.noc", "ach");
    post::drop_file(Path::new(&origin.inbox), &name, &text)
}

fn notify(desk: &Desk, origin: &Origin, bookings: &[Booking<'_>], clock: &Clock) -> io::Result<()> {
    if bookings.is_empty() {
        return Ok(());
    }
    let number = fresh_number(clock);
    let text = iso::notification(origin, bookings, &number, desk.bank.now(clock));
    post::drop_file(Path::new(&origin.inbox), &file_name(&number, "camt.054", "xml"), &text)
}

/// What does not fit a field was set by hand.
fn unwritable(error: Unfit) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// A message's number, unique for ever.
pub(super) fn fresh_number(clock: &Clock) -> String {
    format!("SB-{}", String::from(clock.mint::<Reference>()))
}

/// What a file is called: its kind, and its message's number.
pub(super) fn file_name(number: &str, kind: &str, extension: &str) -> String {
    format!("{kind}-{number}.{extension}")
}
