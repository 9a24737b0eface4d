//! pacs.004: payments that come back.

use super::Message;
use super::tree::{Element, children, code, date, find, money, string, text};
use crate::domain::{Notice, NoticeWord};

/// Reads the message's body.
pub(super) fn read(body: Element<'_, '_>, message: &mut Message) {
    let group_day = date(body, "GrpHdr/IntrBkSttlmDt");
    for transaction in children(body, "TxInf") {
        let Some(reference) = text(transaction, "OrgnlEndToEndId") else {
            message.faults.push("a returned payment without OrgnlEndToEndId".to_owned());
            continue;
        };
        let amount = find(transaction, "RtrdIntrBkSttlmAmt").map(money).transpose();
        let amount = amount.unwrap_or_else(|fault| {
            message.faults.push(format!("{reference}: {fault}"));
            None
        });
        message.notices.push(Notice {
            reference: reference.to_owned(),
            whole: false,
            word: NoticeWord::Returned,
            code: code(transaction, "RtrRsnInf/Rsn"),
            message: string(transaction, "RtrRsnInf/AddtlInf"),
            amount,
            provider_id: string(transaction, "RtrId"),
            on: date(transaction, "IntrBkSttlmDt").or(group_day),
            account: None,
            correction: Default::default(),
        });
    }
    if message.notices.is_empty() && message.faults.is_empty() {
        message.faults.push("it names no payment that comes back".to_owned());
    }
}
