//! The bank's first answer to a file: an acknowledgement in text to a NACHA file, a pain.002 to a
//! pain.001.

use chrono::{DateTime, SecondsFormat, Utc};

use super::iso;
use super::judge::Judged;
use super::ledger::{Payment, PaymentStatus, Rail};
use super::post::Letter;

/// The answer to a file of that name; `told` are the payments that it may speak of.
pub(super) fn answer(
    judged: &Judged,
    told: &[&Payment],
    file_name: &str,
    number: &str,
    now: DateTime<Utc>,
) -> Letter {
    match judged.origin.rail {
        Rail::Ach => {
            let text = acknowledgement(judged, told, file_name, number, now);
            Letter { kind: "nacha.ack", extension: "txt", text }
        }
        Rail::Wire => {
            let text = iso::status_report(judged, told, status(judged, told), number, now);
            Letter { kind: "pain.002", extension: "xml", text }
        }
    }
}

/// The whole file's status.
fn status(judged: &Judged, told: &[&Payment]) -> &'static str {
    let rejected = told.iter().filter(|one| one.status == PaymentStatus::Rejected).count();
    match rejected {
        _ if judged.fault.is_some() => "RJCT",
        0 => "ACCP",
        all if all == judged.payments.len() => "RJCT",
        _ => "PART",
    }
}

/// One fact a line. A rejection of single entries names them, one of the file says why.
fn acknowledgement(
    judged: &Judged,
    told: &[&Payment],
    file_name: &str,
    number: &str,
    now: DateTime<Utc>,
) -> String {
    let mut lines = vec![
        format!("ACKNOWLEDGEMENT {number}"),
        format!("CREATED {}", now.to_rfc3339_opts(SecondsFormat::Secs, false)),
        format!("FILE {}", judged.origin.message_id),
        format!("NAME {file_name}"),
    ];
    match &judged.fault {
        Some((code, words)) => lines.push(format!("STATUS RJCT {code} {words}")),
        None => lines.push(format!("STATUS {}", status(judged, told))),
    }
    for one in told {
        let head = format!("ENTRY {} {} {}", one.trace, one.reference, one.money());
        lines.push(match one.status {
            PaymentStatus::Rejected => {
                let (code, words) = super::behaviour::reason(one.reason.as_deref(), Rail::Ach);
                format!("{head} REJECTED {code} {words}")
            }
            _ => format!("{head} ACCEPTED {}", one.settle_on),
        });
    }
    lines.push(String::new());
    lines.join("\n")
}
