//! Codes of banks: what they mean, and whether the payee's account is at fault.

/// Codes that say that the account cannot be paid: nothing more should go there until it is
/// verified again. Others are about the payment, about us, or about this one time.
const OF_METHOD: &[&str] = &[
    // Nacha: closed, none, wrong number, branch sold, bad routing number, deceased (the
    // beneficiary), deceased (the holder), frozen, wrong in the file, no transaction account.
    "R02", "R03", "R04", "R12", "R13", "R14", "R15", "R16", "R17", "R20", "R28", "R34",
    // ISO 20022, external status and return reasons: number, creditor's number, closed, blocked,
    // creditor closed, account type, not allowed on it, unknown creditor, deceased, bank's number.
    "AC01", "AC03", "AC04", "AC06", "AC07", "AC14", "AG01", "BE06", "MD07", "RC01", "RC04",
];

/// Whether the code puts the destination at fault.
pub(super) fn is_of_method(code: &str) -> bool {
    OF_METHOD.contains(&code)
}

/// Whether the code is a bank's word in a dispute over an earlier return (R61 to R77), and not a
/// return itself.
pub(super) fn is_dispute(code: &str) -> bool {
    let number = code.strip_prefix('R').and_then(|number| number.parse::<u8>().ok());
    number.is_some_and(|number| (61..=77).contains(&number))
}

/// What a Nacha code means, where a payout may meet it.
pub(super) fn meaning(code: &str) -> Option<&'static str> {
    Some(match code {
        "R01" => "insufficient funds",
        "R02" => "the account is closed",
        "R03" => "there is no such account, or it is not the payee's",
        "R04" => "the account number is not valid",
        "R06" => "returned at our bank's request",
        "R12" => "the branch was sold to another bank",
        "R13" => "the routing number is not valid",
        "R14" => "the beneficiary has died, or cannot act",
        "R15" => "the account holder has died",
        "R16" => "the account is frozen",
        "R17" => "the bank could not process what the file says of the account",
        "R20" => "the account cannot take such payments",
        "R23" => "the payee refused the payment",
        "R24" => "the bank took it for a duplicate",
        "C01" => "the account number is another",
        "C02" => "the routing number is another",
        "C03" => "the routing number and the account number are others",
        "C04" => "the name is another",
        "C05" => "the account is of the other type",
        "C06" => "the account number is another, and the account of the other type",
        "C07" => "routing number, account number and type of account are others",
        _ => return None,
    })
}
