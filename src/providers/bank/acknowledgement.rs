//! A bank's own acknowledgement of a file, as text. Nacha specifies none; this reads the plain
//! form, one fact a line:
//!
//! ```text
//! FILE 0000000001-2611230930A
//! NAME SUBMISSION00001.ach
//! STATUS PART
//! ENTRY 999999990000001 PAYOUT-0001 250.00 ACCEPTED 2026-11-24
//! ENTRY 999999990000002 PAYOUT-0002 50.00 REJECTED R02 the account is closed
//! ```

use super::letters::{ByIdentity, News};
use crate::domain::{Money, Notice, NoticeWord, Reference};

/// Words of acceptance and of refusal, of a file or of an entry.
const TAKEN: &[&str] = &["ACCEPTED", "ACCP"];
const REFUSED: &[&str] = &["REJECTED", "RJCT"];
/// The entries say it, or nothing is said yet.
const SAYS_NOTHING: &[&str] = &["PART", "PARTIAL", "PENDING", "PDNG", "RECEIVED", "RCVD"];
/// Codes that say: we have had this one.
const DUPLICATE: &[&str] = &["DUPL", "AM05"];

/// Reads a text; `None` if it is no acknowledgement.
pub(super) fn read(text: &str, by_identity: ByIdentity) -> Option<News> {
    let lines = || text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of = |key: &str| {
        lines().find(|words| words.first().is_some_and(|first| first.eq_ignore_ascii_case(key)))
    };
    let is_one = of("ACKNOWLEDGEMENT").or_else(|| of("ACKNOWLEDGMENT")).is_some();
    if !is_one && (of("FILE").is_none() || of("STATUS").or_else(|| of("ENTRY")).is_none()) {
        return None;
    }
    let second = |key| of(key).and_then(|words| words.get(1).map(|word| (*word).to_owned()));
    let (mut notices, mut faults) = (Vec::new(), Vec::new());
    for (index, words) in lines().enumerate() {
        let said = match words.first().map(|word| word.to_ascii_uppercase()).as_deref() {
            Some("ENTRY") => entry(&words).map(Some),
            Some("STATUS") => {
                status(&words, || submission(second("NAME"), second("FILE"), by_identity))
            }
            _ => Ok(None),
        };
        match said {
            Ok(notice) => notices.extend(notice),
            Err(fault) => faults.push(format!("line {}: {fault}", index + 1)),
        }
    }
    Some(News::new("nacha_ack", notices, &faults))
}

/// `ENTRY <trace> <our reference> <amount> <word> <date, or code and message>`
fn entry(words: &[&str]) -> Result<Notice, String> {
    let at = words.iter().position(|word| is_of(TAKEN, word) || is_of(REFUSED, word));
    let at = at.ok_or("an entry that is neither accepted nor rejected")?;
    let [_, trace, reference, .., amount] = words[..at] else {
        return Err("an entry without trace, reference and amount".to_owned());
    };
    let dollars = "USD".parse().expect("the dollar is a currency");
    let amount = Money::parse(amount, dollars).map_err(|error| error.to_string())?;
    let taken = is_of(TAKEN, words[at]);
    let on = words.get(at + 1).and_then(|day| day.parse().ok()).filter(|_| taken);
    let mut notice = notice(reference, taken, &words[at + 1..]);
    notice.amount = Some(amount);
    notice.provider_id = Some(trace.to_owned());
    notice.on = on;
    Ok(notice)
}

/// `STATUS <word> <code and message>`, of the whole file.
fn status(
    words: &[&str],
    submission: impl FnOnce() -> Option<String>,
) -> Result<Option<Notice>, String> {
    let word = words.get(1).copied().unwrap_or_default();
    if is_of(SAYS_NOTHING, word) {
        return Ok(None);
    }
    let taken = is_of(TAKEN, word);
    if !taken && !is_of(REFUSED, word) {
        return Err(format!("the status \"{word}\" is not one that is known"));
    }
    let submission = submission().ok_or("a status of a file that is not named")?;
    let mut notice = notice(&submission, taken, &words[2..]);
    notice.whole = true;
    Ok(Some(notice))
}

fn notice(reference: &str, taken: bool, rest: &[&str]) -> Notice {
    let code = rest.first().filter(|_| !taken).map(|code| (*code).to_owned());
    let is_duplicate = code.as_deref().is_some_and(|code| is_of(DUPLICATE, code));
    let word = match (taken, is_duplicate) {
        (true, _) => NoticeWord::Accepted,
        (false, true) => NoticeWord::Duplicate,
        (false, false) => NoticeWord::Refused,
    };
    let message = rest.get(1..).unwrap_or_default().join(" ");
    Notice {
        reference: reference.to_owned(),
        whole: false,
        word,
        code,
        message: Some(message).filter(|message| !taken && !message.is_empty()),
        amount: None,
        provider_id: None,
        on: None,
        account: None,
        correction: Default::default(),
    }
}

/// Our submission, by the name of its file, or by what the bank tells files apart by. If it is
/// none that we know, the bank's own name for it.
fn submission(
    name: Option<String>,
    identity: Option<String>,
    by_identity: ByIdentity,
) -> Option<String> {
    let stem = name.as_deref().and_then(|name| name.split('.').next());
    let by_name = stem.filter(|stem| stem.parse::<Reference>().is_ok()).map(str::to_owned);
    by_name.or_else(|| identity.as_deref().and_then(by_identity)).or(identity).or(name)
}

fn is_of(words: &[&str], word: &str) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}
