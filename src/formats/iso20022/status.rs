//! pain.002: what became of payments that were asked for. It says that a bank took them, or not;
//! never that money moved.

use super::Message;
use super::tree::{Element, children, code, date, find, money, string, text};
use crate::domain::{Notice, NoticeWord};

/// Statuses that say "taken", whatever stage they name.
const TAKEN: &[&str] = &["ACTC", "ACCP", "ACSP", "ACSC", "ACWC", "ACWP", "ACCC", "ACFC"];
/// Statuses that say nothing yet, or that the single payments say it.
const SAYS_NOTHING: &[&str] = &["RCVD", "PDNG", "PART", "PATC", "ACPD"];
/// Reasons that say: we have had this one.
const DUPLICATE: &[&str] = &["DUPL", "AM05", "DU01", "DU02", "DU03", "DU04", "DU05"];

/// Reads the message's body.
pub(super) fn read(body: Element<'_, '_>, message: &mut Message) {
    let group = find(body, "OrgnlGrpInfAndSts");
    let submission = group.and_then(|group| string(group, "OrgnlMsgId"));
    if let Some(group) = group {
        whole(group, "GrpSts", submission.as_deref(), message);
    }
    for payment in children(body, "OrgnlPmtInfAndSts") {
        // One of our messages has one payment information, so what is said of it is said of all.
        if find(payment, "TxInfAndSts").is_none() {
            whole(payment, "PmtInfSts", submission.as_deref(), message);
        }
        for transaction in children(payment, "TxInfAndSts") {
            single(transaction, message);
        }
    }
    for transaction in children(body, "TxInfAndSts") {
        single(transaction, message);
    }
}

fn whole(
    node: Element<'_, '_>,
    status: &'static str,
    submission: Option<&str>,
    message: &mut Message,
) {
    let Some(word) = word(node, status, message) else { return };
    match submission {
        Some(reference) => {
            let notice = notice(node, reference, true, word, message);
            message.notices.push(notice);
        }
        None => message.faults.push(format!("a {status} without OrgnlMsgId")),
    }
}

fn single(node: Element<'_, '_>, message: &mut Message) {
    let Some(word) = word(node, "TxSts", message) else { return };
    match text(node, "OrgnlEndToEndId") {
        Some(reference) => {
            let notice = notice(node, reference, false, word, message);
            message.notices.push(notice);
        }
        None => message.faults.push("a TxSts without OrgnlEndToEndId".to_owned()),
    }
}

/// What the status says; nothing if there is none, or one that decides nothing.
fn word(node: Element<'_, '_>, path: &'static str, message: &mut Message) -> Option<NoticeWord> {
    let status = text(node, path)?;
    if TAKEN.contains(&status) {
        return Some(NoticeWord::Accepted);
    }
    if status == "RJCT" {
        let is_duplicate = reason(node).is_some_and(|reason| DUPLICATE.contains(&reason.as_str()));
        return Some(if is_duplicate { NoticeWord::Duplicate } else { NoticeWord::Refused });
    }
    if !SAYS_NOTHING.contains(&status) {
        message.faults.push(format!("the {path} \"{status}\" is not one that is known"));
    }
    None
}

fn notice(
    node: Element<'_, '_>,
    reference: &str,
    whole: bool,
    word: NoticeWord,
    message: &mut Message,
) -> Notice {
    let amount = find(node, "OrgnlTxRef/Amt/InstdAmt").map(money).transpose();
    let amount = amount.unwrap_or_else(|fault| {
        message.faults.push(format!("{reference}: {fault}"));
        None
    });
    let words: Vec<&str> = children(node, "StsRsnInf")
        .flat_map(|reason| children(reason, "AddtlInf"))
        .filter_map(|words| words.text())
        .collect();
    Notice {
        reference: reference.to_owned(),
        whole,
        word,
        code: reason(node),
        message: Some(words.join(" ")).filter(|words| !words.is_empty()),
        amount,
        provider_id: string(node, "AcctSvcrRef"),
        on: date(node, "AccptncDtTm"),
        account: None,
        correction: Default::default(),
    }
}

fn reason(node: Element<'_, '_>) -> Option<String> {
    children(node, "StsRsnInf").find_map(|reason| code(reason, "Rsn"))
}
