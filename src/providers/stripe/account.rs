//! Whether a connected account can receive transfers: asked when a method is verified, and again
//! before each transfer.

use serde_json::Value;

use super::call::{Line, Question, Unread};
use super::verdict::blames_the_payee;
use super::wire::Account;
use crate::providers::Problem;

/// Why an account is not known to be able.
pub(super) enum Closed {
    /// It cannot receive transfers; the problem is the method's.
    Unable(Problem),
    /// It could not be asked.
    Unasked(Unread),
}

/// Asks whether `account` has the capability `transfers`.
pub(super) async fn ask(line: &Line, account: &str) -> Result<(), Closed> {
    match line.read(Question::of(&["v1", "accounts", account])).await {
        Ok(known) => judge(&known),
        Err(Unread::Refused(_, no)) if blames_the_payee(&no) || no.code() == "resource_missing" => {
            Err(Closed::Unable(no.problem().of_method()))
        }
        Err(unread) => Err(Closed::Unasked(unread)),
    }
}

fn judge(account: &Account) -> Result<(), Closed> {
    let unable = |code, words: String| Err(Closed::Unable(Problem::new(code, words).of_method()));
    if account.deleted {
        return unable("account_deleted", "the connected account was deleted".to_owned());
    }
    let Some(capabilities) = &account.capabilities else {
        let words = "Stripe does not say what the connected account is capable of";
        let problem = Problem::new("capabilities_unknown", words);
        return Err(Closed::Unasked(Unread::Unclear(problem)));
    };
    match capabilities.get("transfers").and_then(Value::as_str) {
        Some("active") => Ok(()),
        state => {
            let state = state.unwrap_or("unrequested");
            let words = format!("the connected account's capability \"transfers\" is {state}");
            unable("transfers_not_active", words)
        }
    }
}
