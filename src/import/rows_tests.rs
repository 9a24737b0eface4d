//! Every kind of field that must be refused, and those that must not.

use super::{RowError, parse_affiliate, parse_commission, parse_program};
use crate::domain::{AffiliateStatus, MethodKind, MethodStatus};

const PROGRAM: [&str; 7] = ["creator", "Creator program", "USD", "30", "50.00", "true", "false"];
const AFFILIATE: [&str; 10] = [
    "aff-1",
    "creator",
    "partner-1",
    "Añá Ω",
    "a@b.c",
    "CODE1",
    "active",
    "paypal",
    r#"{"email":"a@b.c"}"#,
    "verified",
];
const COMMISSION: [&str; 7] =
    ["c-1", "aff-1", "o-1", "29.33", "2.93", "USD", "1997-01-01T12:00:00Z"];

fn with<const N: usize>(
    mut row: [&'static str; N],
    column: usize,
    text: &'static str,
) -> [&'static str; N] {
    row[column] = text;
    row
}

fn refused<T>(parsed: Result<T, RowError>) -> (&'static str, String) {
    let error = parsed.err().expect("a bad row");
    (error.column.expect("a column"), error.reason)
}

#[test]
fn a_good_program_keeps_what_its_row_says() {
    let program = parse_program(PROGRAM).expect("good");
    assert_eq!(program.program_id.as_str(), "creator");
    assert_eq!(program.title, "Creator program");
    assert_eq!((program.min_payout.minor, program.min_payout.currency.code()), (5_000, "USD"));
    assert_eq!((program.hold_days, program.auto_credit, program.auto_payout), (30, true, false));
}

#[test]
fn a_program_is_refused_by_the_column_that_does_not_fit() {
    for (index, text, column, part) in [
        (0, "", "program", "empty"),
        (0, "a b", "program", "space"),
        (1, "", "title", "empty"),
        (2, "usd", "currency", "ISO 4217"),
        (2, "XAU", "currency", "minor units"),
        (3, "-1", "hold_days", "from 0 to 3650"),
        (3, "+1", "hold_days", "whole number"),
        (3, "3651", "hold_days", "from 0 to 3650"),
        (3, "1.5", "hold_days", "whole number"),
        (3, "", "hold_days", "whole number"),
        (3, "99999999999999999999", "hold_days", "whole number"),
        (4, "-0.01", "min_payout", "below 0"),
        (4, "1.234", "min_payout", "3 digits"),
        (5, "True", "auto_credit", "neither true nor false"),
        (6, "1", "auto_payout", "neither true nor false"),
        (6, "", "auto_payout", "neither true nor false"),
    ] {
        let (found, reason) = refused(parse_program(with(PROGRAM, index, text)));
        assert_eq!(found, column, "{text}");
        assert!(reason.contains(part), "{reason}");
    }
    for (index, text) in [(3, "0"), (3, "3650"), (4, "0"), (4, "0.00")] {
        parse_program(with(PROGRAM, index, text)).expect("the edge is allowed");
    }
}

#[test]
fn a_good_affiliate_keeps_what_its_row_says() {
    let affiliate = parse_affiliate(AFFILIATE).expect("good");
    assert_eq!(affiliate.partner_id.as_str(), "partner-1");
    assert_eq!((affiliate.name.as_str(), affiliate.code.as_str()), ("Añá Ω", "CODE1"));
    assert_eq!(affiliate.status, AffiliateStatus::Active);
    let method = affiliate.method.expect("a method");
    assert_eq!(method.destination.kind(), MethodKind::Paypal);
    assert_eq!(method.status, MethodStatus::Verified);
    for empty in [3, 4, 5] {
        parse_affiliate(with(AFFILIATE, empty, "")).expect("name, email and code may be empty");
    }
}

#[test]
fn an_affiliate_is_refused_by_the_column_that_does_not_fit() {
    for (index, text, column, part) in [
        (0, "", "affiliate_id", "empty"),
        (1, "", "program", "empty"),
        (2, "a\u{2003}b", "partner_id", "space"),
        (6, "Active", "status", "expected one of pending, active, suspended"),
        (6, "", "status", "expected one of"),
        (7, "venmo", "method", "expected one of paypal, stripe-connect, ach, wire"),
        (7, "ach", "destination", "needs \"routingNumber\""),
        (7, "", "destination", "there is no method"),
        (8, "", "destination", "there is a paypal method"),
        (8, "{", "destination", "not a JSON object"),
        (8, r#"{"email":"nobody"}"#, "destination", "no e-mail address"),
        (9, "", "method_status", "there is a paypal method"),
        (9, "ok", "method_status", "expected one of"),
    ] {
        let (found, reason) = refused(parse_affiliate(with(AFFILIATE, index, text)));
        assert_eq!(found, column, "{text}");
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn the_three_columns_of_a_method_are_all_filled_or_all_empty() {
    let without = with(with(with(AFFILIATE, 7, ""), 8, ""), 9, "");
    assert_eq!(parse_affiliate(without).expect("good").method, None);
    let (column, _) = refused(parse_affiliate(with(without, 9, "verified")));
    assert_eq!(column, "method_status");
    let (column, _) = refused(parse_affiliate(with(without, 8, "{}")));
    assert_eq!(column, "destination");
}

#[test]
fn a_refused_destination_is_not_repeated_in_the_reason() {
    let secret = r#"{"email":"secret-address"}"#;
    let (_, reason) = refused(parse_affiliate(with(AFFILIATE, 8, secret)));
    assert!(!reason.contains("secret"), "{reason}");
}

#[test]
fn a_commissions_currency_decides_what_its_amounts_are() {
    let commission = parse_commission(COMMISSION).expect("good");
    assert_eq!((commission.order_amount.minor, commission.amount.minor), (2_933, 293));
    let dinars = with(with(COMMISSION, 4, "2.934"), 5, "KWD");
    assert_eq!(parse_commission(dinars).expect("three digits").amount.minor, 2_934);
    let free = with(with(COMMISSION, 3, "0.00"), 4, "0");
    assert_eq!(parse_commission(free).expect("a free order").amount.minor, 0);
}

#[test]
fn a_commission_is_refused_by_the_column_that_does_not_fit() {
    for (index, text, column, part) in [
        (0, "", "commission_id", "empty"),
        (1, "", "affiliate_id", "empty"),
        (2, "", "order_id", "empty"),
        (3, "-1.00", "order_amount", "\"-1.00\" is below 0"),
        (3, "1,00", "order_amount", "not an amount"),
        (4, "1.234", "amount", "\"1.234\" has 3 digits after the point, USD has 2"),
        (4, "-0.01", "amount", "below 0"),
        (4, "", "amount", "not an amount"),
        (4, "$1", "amount", "not an amount"),
        (4, "1e9", "amount", "not an amount"),
        (4, "99999999999999999999", "amount", "larger, or has more digits, than an amount can be"),
        (5, "", "currency", "ISO 4217"),
        (5, "JPY", "order_amount", "JPY has 0"),
        (6, "", "converted_at", "RFC 3339"),
        (6, "1997-01-01", "converted_at", "RFC 3339"),
        (6, "1997-02-30T12:00:00Z", "converted_at", "RFC 3339"),
        (6, "1997-01-01T12:00:00", "converted_at", "RFC 3339"),
        (6, "852120000", "converted_at", "RFC 3339"),
        (6, "1969-12-31T23:59:59Z", "converted_at", "years 1970 to 2200"),
        (6, "2201-01-01T00:00:00Z", "converted_at", "years 1970 to 2200"),
    ] {
        let (found, reason) = refused(parse_commission(with(COMMISSION, index, text)));
        assert_eq!(found, column, "{text}");
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn instants_of_any_offset_are_kept_in_utc_and_cut_to_milliseconds() {
    for (text, utc) in [
        ("1997-01-01T12:00:00Z", "1997-01-01T12:00:00Z"),
        ("1997-01-01T12:00:00.123999+05:30", "1997-01-01T06:30:00.123Z"),
        ("2201-01-01T00:00:00+01:00", "2200-12-31T23:00:00Z"),
    ] {
        let commission = parse_commission(with(COMMISSION, 6, text)).expect("an instant");
        assert_eq!(
            commission.converted_at,
            utc.parse::<chrono::DateTime<chrono::Utc>>().expect("UTC")
        );
    }
}
