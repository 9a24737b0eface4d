//! Where a transfer stands, by all that was heard of it. A pure function: the order in which
//! letters came does not matter, and none of them counts twice.

use super::{Whereabouts, reasons};
use crate::domain::{Money, Notice, NoticeWord};
use crate::providers::{Found, ItemReport, Outgoing, OutgoingItem, Problem, Standing};

/// What it means that a bank has said nothing about a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Nothing, however long it lasts.
    ProvesNothing,
    /// Nothing yet: the days for a return have not passed.
    TooShort,
    /// It settled: the file was taken, and the days for a return have passed.
    MeansSettled,
}

/// What is known of a submission's items: by its file, by what was heard of each of them, and by
/// what it means that nothing was.
pub(crate) fn found(
    outgoing: &Outgoing,
    whereabouts: Whereabouts,
    silence: impl Fn(&OutgoingItem) -> Silence,
) -> Found {
    let nothing_heard = outgoing.items.iter().all(|item| item.heard.is_empty());
    if whereabouts == Whereabouts::NotPlaced && nothing_heard {
        let words = "its file was never placed, or the archive was cleared of it";
        return Found::Nothing(Problem::new("not_placed", words));
    }
    let report = |item| report(item, whereabouts, silence(item));
    Found::Items(outgoing.items.iter().map(report).collect())
}

fn report(item: &OutgoingItem, whereabouts: Whereabouts, silence: Silence) -> ItemReport {
    let last = |word| item.heard.iter().rev().find(|notice| notice.word == word);
    let booked = last(NoticeWord::Booked);
    let refused = last(NoticeWord::Refused);
    let mut report = match (returned_most(item), booked, refused) {
        // A bank sends back what it refused: that is one refusal, and nothing had been paid.
        (Some(_), None, Some(refused)) if !item.settled => {
            because(item, Standing::Rejected, refused)
        }
        (Some(returned), ..) if returns_all(item, returned) => {
            because(item, Standing::Returned, returned)
        }
        (Some(returned), ..) => in_part(item, booked, returned),
        (None, Some(booked), _) => of_booking(item, booked),
        (None, None, Some(refused)) => because(item, Standing::Rejected, refused),
        (None, None, None) => undecided(item, whereabouts, silence),
    };
    report.note = note(item, booked, refused);
    report
}

/// The return of the largest amount: one return is told in several letters, and not added up.
fn returned_most(item: &OutgoingItem) -> Option<&Notice> {
    let returned = item.heard.iter().filter(|notice| notice.word == NoticeWord::Returned);
    returned.max_by_key(|notice| notice.amount.map_or(i64::MAX, |amount| amount.minor))
}

/// Whether all came back, as far as an amount is given.
fn returns_all(item: &OutgoingItem, returned: &Notice) -> bool {
    let fits = |amount: Money| {
        amount.currency == item.amount.currency && amount.minor >= item.amount.minor
    };
    returned.amount.is_none_or(fits)
}

fn blank(item: &OutgoingItem, standing: Standing, status: &str) -> ItemReport {
    let told = item.heard.iter().rev().find_map(|notice| notice.provider_id.clone());
    ItemReport {
        reference: item.reference.clone(),
        provider_id: told.or_else(|| item.provider_id.clone()),
        standing,
        provider_status: status.to_owned(),
        amount: None,
        problem: None,
        note: None,
    }
}

fn because(item: &OutgoingItem, standing: Standing, notice: &Notice) -> ItemReport {
    ItemReport {
        amount: notice.amount.filter(|_| standing == Standing::Returned),
        problem: Some(problem(notice)),
        ..blank(item, standing, notice.word.as_str())
    }
}

fn problem(notice: &Notice) -> Problem {
    let code = notice.code.clone().unwrap_or_else(|| notice.word.as_str().to_owned());
    let words = notice.message.clone();
    let words = words.or_else(|| reasons::meaning(&code).map(str::to_owned));
    let problem = Problem::new(code, words.unwrap_or_else(|| "the bank gave no words".to_owned()));
    if reasons::is_of_method(&problem.code) { problem.of_method() } else { problem }
}

fn of_booking(item: &OutgoingItem, booked: &Notice) -> ItemReport {
    let status = NoticeWord::Booked.as_str();
    match booked.amount {
        amount @ Some(_) => ItemReport { amount, ..blank(item, Standing::Settled, status) },
        None => {
            let words = "the bank booked it and did not say how much";
            let problem = Some(Problem::new("no_amount", words));
            ItemReport { problem, ..blank(item, Standing::Open, status) }
        }
    }
}

/// Less came back than went: fees, or a mistake. A person has to look; and what was never booked
/// does not settle because of a return.
fn in_part(item: &OutgoingItem, booked: Option<&Notice>, returned: &Notice) -> ItemReport {
    let came =
        returned.amount.map_or_else(String::new, |money| format!("{money} {}", money.currency));
    let went = item.amount;
    let words = format!("{came} of {went} {} came back: {}", went.currency, problem(returned));
    let went_for_certain = booked.is_some() || item.settled;
    let standing = if went_for_certain { Standing::Settled } else { Standing::Open };
    ItemReport {
        amount: booked.and_then(|booked| booked.amount).or(Some(went)),
        problem: Some(Problem::new("partly_returned", words)),
        ..blank(item, standing, returned.word.as_str())
    }
}

/// Neither booked nor refused nor returned.
fn undecided(item: &OutgoingItem, whereabouts: Whereabouts, silence: Silence) -> ItemReport {
    let heard = |word| item.heard.iter().find(|notice| notice.word == word);
    let accepted = heard(NoticeWord::Accepted);
    if let (Some(duplicate), None) = (heard(NoticeWord::Duplicate), accepted) {
        // It may be our own file that the bank had before, or another one of the same identity:
        // this says neither that it was paid nor that it was not.
        let mut report = blank(item, Standing::Open, duplicate.word.as_str());
        report.problem = Some(Problem { of_method: false, ..problem(duplicate) });
        return report;
    }
    match (whereabouts, silence) {
        (Whereabouts::PickedUp { .. }, Silence::MeansSettled) => {
            ItemReport { amount: Some(item.amount), ..blank(item, Standing::Settled, "no_return") }
        }
        (Whereabouts::PickedUp { .. }, _) => {
            blank(item, Standing::Open, accepted.map_or("picked_up", |notice| notice.word.as_str()))
        }
        (Whereabouts::Waiting, _) => blank(item, Standing::Open, "not_picked_up"),
        (Whereabouts::NotPlaced, _) => blank(item, Standing::Open, "not_placed"),
    }
}

/// What a person may want to know beside it.
fn note(item: &OutgoingItem, booked: Option<&Notice>, refused: Option<&Notice>) -> Option<String> {
    let mut notes = Vec::new();
    if let (Some(_), Some(refused)) = (booked, refused) {
        notes.push(format!("refused ({}), and booked all the same", problem(refused)));
    }
    let change = item.heard.iter().find(|notice| notice.word == NoticeWord::Corrected);
    if let Some(change) = change {
        notes.push(format!("the bank asks for a change: {}", problem(change)));
    }
    let bookings = item.heard.iter().filter(|notice| notice.word == NoticeWord::Booked);
    let ids: std::collections::BTreeSet<_> =
        bookings.filter_map(|notice| notice.provider_id.as_deref()).collect();
    if ids.len() > 1 {
        let ids = ids.into_iter().collect::<Vec<_>>().join(", ");
        notes.push(format!("booked under several numbers ({ids})"));
    }
    (!notes.is_empty()).then(|| notes.join("; "))
}
