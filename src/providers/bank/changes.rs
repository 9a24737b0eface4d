//! What a notification of change says is right, as fields of a destination.

use std::collections::BTreeMap;

use crate::formats::nacha::{self, Change};

/// The fields that are to be changed. Empty if the code is about something that we do not keep,
/// or the data is not as the code demands: then nothing of it is taken over.
///
/// Places are those of the Nacha rules (moov-io/ach, `addenda98.go`).
pub(super) fn correction(change: &Change) -> BTreeMap<String, String> {
    let field = |first: usize, last: usize| {
        let last = last.min(change.corrected.len());
        change.corrected.get(first - 1..last).unwrap_or_default().trim()
    };
    let routing = || ("routingNumber", of_routing(field(1, 9)));
    let fields = match change.code.as_str() {
        "C01" => vec![("accountNumber", of_account(field(1, 17)))],
        "C02" => vec![routing()],
        "C03" => vec![routing(), ("accountNumber", of_account(field(13, 29)))],
        "C05" => vec![("accountType", of_type(field(1, 2)))],
        "C06" => vec![
            ("accountNumber", of_account(field(1, 17))),
            ("accountType", of_type(field(21, 22))),
        ],
        "C07" => vec![
            routing(),
            ("accountNumber", of_account(field(10, 26))),
            ("accountType", of_type(field(27, 28))),
        ],
        _ => Vec::new(),
    };
    // All or nothing: half of a correction is another account.
    let taken = fields.into_iter().map(|(name, value)| Some((name.to_owned(), value?)));
    taken.collect::<Option<_>>().unwrap_or_default()
}

fn of_routing(text: &str) -> Option<String> {
    nacha::is_routing_number(text).then(|| text.to_owned())
}

fn of_account(text: &str) -> Option<String> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let fits = text.bytes().all(is_allowed) && text.bytes().any(|b| b != b'-');
    fits.then(|| text.to_owned())
}

/// The account's type by the transaction code: twenties are checking, thirties savings.
fn of_type(code: &str) -> Option<String> {
    let is_code = code.len() == 2 && code.bytes().all(|b| b.is_ascii_digit());
    let name = match code.as_bytes().first() {
        Some(b'2') if is_code => "checking",
        Some(b'3') if is_code => "savings",
        _ => return None,
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corrected(code: &str, data: &str) -> String {
        let change = Change {
            code: code.to_owned(),
            original_trace: String::new(),
            original_rdfi: String::new(),
            corrected: data.to_owned(),
        };
        let fields = correction(&change);
        fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_code_has_its_own_places() {
        for (code, data, expected) in [
            ("C01", "1918171614", "accountNumber=1918171614"),
            ("C02", "091000019", "routingNumber=091000019"),
            ("C03", "091000019   1918-17", "accountNumber=1918-17 routingNumber=091000019"),
            ("C05", "32", "accountType=savings"),
            ("C06", "1918171614          22", "accountNumber=1918171614 accountType=checking"),
            ("C07", "09100001912345678901234567 37", ""),
            (
                "C07",
                "0910000191234567890123456737",
                "accountNumber=12345678901234567 accountType=savings routingNumber=091000019",
            ),
        ] {
            assert_eq!(corrected(code, data), expected, "{code}");
        }
    }

    #[test]
    fn what_cannot_be_right_is_not_taken_over_not_even_in_part() {
        for (code, data) in [
            ("C01", ""),
            ("C01", "12 34"),
            ("C02", "091000018"),
            ("C03", "091000018   1918"),
            ("C03", "091000019"),
            ("C05", "52"),
            ("C04", "ALEX AFFILIATE"),
            ("C09", "ANOTHER ID"),
        ] {
            assert_eq!(corrected(code, data), "", "{code} {data}");
        }
    }
}
