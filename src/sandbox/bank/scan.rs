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
use super::post::Letter;
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
        let _ = scan(&mut sandbox.desk(), &sandbox);
    }
}

/// Scans every folder once.
pub(in crate::sandbox) fn scan(desk: &mut Desk, sandbox: &Sandbox) -> io::Result<()> {
    for door in desk.bank.doors.clone() {
        let outbox = door.outbox.to_string_lossy().into_owned();
        desk.recall(|life| life.bank.took_from(&outbox))?;
        for file in post::finished(&door.outbox)? {
            take(desk, &door, &file, sandbox)?;
        }
    }
    move_on(desk, sandbox)?;
    tell(desk, sandbox)
}

/// Takes one file away, and answers it.
fn take(desk: &mut Desk, door: &Door, file: &Path, sandbox: &Sandbox) -> io::Result<()> {
    let bytes = fs::read(file)?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let (today, at_once) = (desk.bank.today(&sandbox.clock), desk.bank.settles_at_once);
    let inbox = door.inbox.to_string_lossy();
    let mut judged = judge(&bytes, &inbox, Days { today, at_once }, &sandbox.clock);
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
    let (number, now) = (fresh_number(&sandbox.clock), desk.bank.now(&sandbox.clock));
    let answer = answer(&judged, &told, &name, &number, now);
    post::drop_letter(sandbox, &door.inbox, &number, &answer)
}

/// Lets time pass: what is due settles, and what is to come back does.
fn move_on(desk: &mut Desk, sandbox: &Sandbox) -> io::Result<()> {
    let today = desk.bank.today(&sandbox.clock);
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
fn tell(desk: &mut Desk, sandbox: &Sandbox) -> io::Result<()> {
    for ((origin, news), payments) in untold(desk, sandbox) {
        match news {
            News::Booked => tell_booked(desk, &origin, &payments, sandbox)?,
            News::CameBack => tell_come_back(desk, &origin, &payments, sandbox)?,
            News::Corrected => tell_changed(desk, &origin, &payments, sandbox)?,
        }
        let told = |one: Payment| Event::Told { id: one.id, news }.into();
        desk.record_all(payments.into_iter().map(told).collect())?;
    }
    Ok(())
}

/// By the file that brought them, the payments about which there is something to tell.
fn untold(desk: &Desk, sandbox: &Sandbox) -> BTreeMap<(Origin, News), Vec<Payment>> {
    let mut untold: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for one in desk.life().bank.payments() {
        for news in news_of(desk, one, sandbox) {
            untold.entry((one.origin.clone(), news)).or_default().push(one.clone());
        }
    }
    untold
}

fn news_of(desk: &Desk, one: &Payment, sandbox: &Sandbox) -> Vec<News> {
    let has_left = matches!(one.status, PaymentStatus::Settled | PaymentStatus::Returned);
    let is_ach = one.origin.rail == Rail::Ach;
    // What was rejected by ACH comes back too, on the day that it would have settled.
    let bounced = one.status == PaymentStatus::Rejected && is_ach;
    let bounced = bounced && one.settle_on <= desk.bank.today(&sandbox.clock);
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
    sandbox: &Sandbox,
) -> io::Result<()> {
    let bookings = payments.iter().map(|payment| Booking { payment, comes_back: false });
    notify(desk, origin, &bookings.collect::<Vec<_>>(), sandbox)
}

/// A return by the rail's own means, and a booking of the money.
fn tell_come_back(
    desk: &Desk,
    origin: &Origin,
    payments: &[Payment],
    sandbox: &Sandbox,
) -> io::Result<()> {
    let now = desk.bank.now(&sandbox.clock);
    let mut by_day: BTreeMap<_, Vec<&Payment>> = BTreeMap::new();
    for one in payments {
        by_day.entry(one.returned_on.unwrap_or(one.settle_on)).or_default().push(one);
    }
    for (on, payments) in by_day {
        let number = fresh_number(&sandbox.clock);
        let letter = match origin.rail {
            Rail::Ach => {
                let text =
                    nacha::returns(origin, &payments, on, &number, now).map_err(unwritable)?;
                Letter { kind: "nacha.return", extension: "ach", text }
            }
            Rail::Wire => {
                let text = iso::payment_return(origin, &payments, on, &number, now);
                Letter { kind: "pacs.004", extension: "xml", text }
            }
        };
        post::drop_letter(sandbox, Path::new(&origin.inbox), &number, &letter)?;
        // What was rejected never left the account, so nothing is booked of it.
        let booked = payments.iter().filter(|one| one.status == PaymentStatus::Returned);
        let bookings = booked.map(|payment| Booking { payment, comes_back: true });
        notify(desk, origin, &bookings.collect::<Vec<_>>(), sandbox)?;
    }
    Ok(())
}

fn tell_changed(
    desk: &Desk,
    origin: &Origin,
    payments: &[Payment],
    sandbox: &Sandbox,
) -> io::Result<()> {
    let change = |one| {
        let noc = desk.bank.behaviours.of(one)?;
        let code = noc.code.clone().unwrap_or_else(|| "C01".to_owned());
        Some((one, code, noc.corrected.clone().unwrap_or_default()))
    };
    let changes: Vec<_> = payments.iter().filter_map(change).collect();
    let (number, now) = (fresh_number(&sandbox.clock), desk.bank.now(&sandbox.clock));
    let text = nacha::changes(origin, &changes, &number, now).map_err(unwritable)?;
    let letter = Letter { kind: "nacha.noc", extension: "ach", text };
    post::drop_letter(sandbox, Path::new(&origin.inbox), &number, &letter)
}

fn notify(
    desk: &Desk,
    origin: &Origin,
    bookings: &[Booking<'_>],
    sandbox: &Sandbox,
) -> io::Result<()> {
    if bookings.is_empty() {
        return Ok(());
    }
    let number = fresh_number(&sandbox.clock);
    let text = iso::notification(origin, bookings, &number, desk.bank.now(&sandbox.clock));
    let letter = Letter { kind: "camt.054", extension: "xml", text };
    post::drop_letter(sandbox, Path::new(&origin.inbox), &number, &letter)
}

/// What does not fit a field was set by hand.
fn unwritable(error: Unfit) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// A message's number, unique for ever.
pub(super) fn fresh_number(clock: &Clock) -> String {
    format!("SB-{}", String::from(clock.mint::<Reference>()))
}
