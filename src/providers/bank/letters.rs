//! What a bank wrote, whatever form it chose: NACHA returns and notifications of change, its own
//! acknowledgement, ISO 20022 messages.

use super::{acknowledgement, changes, reasons};
use crate::domain::{MethodKind, Money, Notice, NoticeWord, Statement};
use crate::formats::{iso20022, nacha};
use crate::providers::{Letter, Problem};

/// The kind of a file that nobody can read.
pub(super) const UNREADABLE: &str = "unreadable";
/// The problem of a file that asks for payments.
const NOT_A_LETTER: &str = "not_a_letter";
/// Faults that a problem names; the others are counted.
const NAMED_FAULTS: usize = 5;

/// Finds the submission that was sent under a NACHA file identity.
pub(super) type ByIdentity<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What was read of a file.
pub(super) struct News {
    pub(super) kind: String,
    pub(super) notices: Vec<Notice>,
    pub(super) statements: Vec<Statement>,
    pub(super) problem: Option<Problem>,
}

impl News {
    /// Notices, and what could not be read beside them.
    pub(super) fn new(kind: &str, notices: Vec<Notice>, faults: &[String]) -> Self {
        let problem = partly_unreadable(faults);
        let notices = notices.into_iter().map(about_us).collect();
        Self { kind: kind.to_owned(), notices, statements: Vec::new(), problem }
    }

    /// A file that tells nothing, and why it is kept.
    fn nothing(kind: &str, problem: Option<Problem>) -> Self {
        Self { kind: kind.to_owned(), notices: Vec::new(), statements: Vec::new(), problem }
    }
}

/// Reads a file of an inbox.
pub(super) fn read(name: String, hash: String, bytes: &[u8], by_identity: ByIdentity) -> Letter {
    match news(bytes, by_identity) {
        Ok(News { kind, notices, statements, problem }) => {
            let about = rails_of(&kind);
            Letter { name, hash, kind, about, notices, statements, problem }
        }
        Err(words) => unreadable(name, hash, words),
    }
}

/// A letter that nobody can read.
pub(super) fn unreadable(name: String, hash: String, words: String) -> Letter {
    let (notices, statements) = (Vec::new(), Vec::new());
    let problem = Some(Problem::new(UNREADABLE, words));
    let (kind, about) = (UNREADABLE.to_owned(), Vec::new());
    Letter { name, hash, kind, about, notices, statements, problem }
}

/// A bank's own forms speak of one rail; what it books, it books of both.
fn rails_of(kind: &str) -> Vec<MethodKind> {
    match kind {
        kind if kind.starts_with("nacha") => vec![MethodKind::Ach],
        "pain.002" | "pacs.004" => vec![MethodKind::Wire],
        _ => vec![MethodKind::Ach, MethodKind::Wire],
    }
}

fn news(bytes: &[u8], by_identity: ByIdentity) -> Result<News, String> {
    if bytes.starts_with(b"101") {
        return of_nacha(bytes);
    }
    let text = decode(bytes).ok_or("it is neither UTF-8 nor in an encoding that it names")?;
    let start = text.trim_start_matches('\u{feff}').trim_start();
    if start.starts_with('<') {
        return of_iso20022(start);
    }
    if let Some(news) = acknowledgement::read(start, by_identity) {
        return Ok(news);
    }
    match start.starts_with("01,") {
        // Balances and movements by BAI2: camt says the same and more.
        true => Ok(News::nothing("bai2", None)),
        false => Err("it is neither NACHA nor ISO 20022 nor an acknowledgement".to_owned()),
    }
}

/// UTF-8, or Latin-1 where an XML declaration says so.
fn decode(bytes: &[u8]) -> Option<String> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(text.to_owned());
    }
    let head = bytes.get(..bytes.len().min(100)).unwrap_or_default().to_ascii_lowercase();
    let names_latin = ["iso-8859-1", "windows-1252", "us-ascii"]
        .iter()
        .any(|name| head.windows(name.len()).any(|window| window == name.as_bytes()));
    names_latin.then(|| bytes.iter().map(|b| char::from(*b)).collect())
}

fn of_iso20022(text: &str) -> Result<News, String> {
    let message = iso20022::read(text).map_err(|error| error.to_string())?;
    if message.kind == iso20022::MessageKind::Initiation {
        return Ok(ours(message.kind.as_str()));
    }
    let mut news = News::new(message.kind.as_str(), message.notices, &message.faults);
    news.statements = message.statements;
    Ok(news)
}

/// Whether a letter is a file of payments: then it is left where it lies, since a bank may be about
/// to pick it up there.
pub(super) fn is_payments(letter: &Letter) -> bool {
    letter.problem.as_ref().is_some_and(|problem| problem.code == NOT_A_LETTER)
}

/// A file of payments in the inbox: ours, in the wrong folder.
fn ours(kind: &str) -> News {
    let words = "it asks for payments, and tells nothing about any: it is left where it lies, and \
                 does not belong there";
    News::nothing(kind, Some(Problem::new(NOT_A_LETTER, words)))
}

fn of_nacha(bytes: &[u8]) -> Result<News, String> {
    let reading = nacha::read(bytes).map_err(|fault| fault.to_string())?;
    let (mut returns, mut changes) = (Vec::new(), Vec::new());
    let mut faults: Vec<String> = reading.faults.iter().map(ToString::to_string).collect();
    faults.extend(nacha::sums(&reading).iter().map(ToString::to_string));
    for batch in &reading.file.batches {
        for entry in &batch.entries {
            match of_entry(batch, entry) {
                Ok(Some(notice)) if notice.word == NoticeWord::Corrected => changes.push(notice),
                Ok(Some(notice)) => returns.push(notice),
                Ok(None) => {}
                Err(words) => faults.push(format!("line {}: {words}", entry.line)),
            }
        }
    }
    let entries = || reading.file.batches.iter().flat_map(|batch| &batch.entries);
    let says_why = |entry: &nacha::Entry| {
        let tells = |a: &_| matches!(a, nacha::Addenda::Return(_) | nacha::Addenda::Change(_));
        entry.addenda.iter().any(tells)
    };
    match () {
        () if !entries().any(says_why) && entries().next().is_some() => Ok(ours("nacha_payments")),
        () if returns.is_empty() && !changes.is_empty() => {
            Ok(News::new("nacha_change", changes, &faults))
        }
        () => {
            returns.append(&mut changes);
            Ok(News::new("nacha_return", returns, &faults))
        }
    }
}

/// What an entry tells of one of our transfers.
fn of_entry(batch: &nacha::Batch, entry: &nacha::Entry) -> Result<Option<Notice>, String> {
    let told = entry.addenda.iter().find_map(|addenda| match addenda {
        nacha::Addenda::Return(returned) => {
            Some((&returned.code, &returned.original_trace, NoticeWord::Returned))
        }
        nacha::Addenda::Change(change) => {
            Some((&change.code, &change.original_trace, NoticeWord::Corrected))
        }
        _ => None,
    });
    let Some((code, trace, word)) = told else { return Ok(None) };
    if entry.is_debit() {
        return Err(format!("{code} for a debit (trace {trace}): it is none of a payee"));
    }
    if reasons::is_dispute(code) {
        return Err(format!("{code}: a dispute over a return (trace {trace})"));
    }
    if entry.individual_id.is_empty() {
        return Err(format!("{code} for trace {trace} does not repeat our reference"));
    }
    let correction = entry.addenda.iter().find_map(|addenda| match addenda {
        nacha::Addenda::Change(change) => Some(changes::correction(change)),
        _ => None,
    });
    let dollars = "USD".parse().expect("the dollar is a currency");
    let amount = Money::new(entry.amount_minor, dollars);
    Ok(Some(Notice {
        reference: entry.individual_id.clone(),
        whole: false,
        word,
        code: Some(code.clone()),
        message: reasons::meaning(code).map(str::to_owned),
        amount: (word == NoticeWord::Returned).then_some(amount),
        provider_id: Some(trace.clone()),
        on: batch.effective,
        account: None,
        correction: correction.unwrap_or_default(),
    }))
}

/// A whole file is refused because of us, whatever its code would say of a payee's account: then
/// the code is told in words, so that no method is taken for closed.
fn about_us(notice: Notice) -> Notice {
    match &notice.code {
        Some(code) if notice.whole && reasons::is_of_method(code) => {
            let words = notice.message.as_deref().unwrap_or("said of the whole file");
            Notice { message: Some(format!("{code}: {words}")), code: None, ..notice }
        }
        _ => notice,
    }
}

fn partly_unreadable(faults: &[String]) -> Option<Problem> {
    let named = faults.iter().take(NAMED_FAULTS).cloned().collect::<Vec<_>>().join("; ");
    let more = faults.len().saturating_sub(NAMED_FAULTS);
    let words = if more == 0 { named } else { format!("{named}; and {more} more") };
    (!faults.is_empty()).then(|| Problem::new("partly_unreadable", words))
}
