//! ISO 20022 messages: pain.001 out; pain.002, camt.053, camt.054 and pacs.004 in.
//!
//! Out is exactly pain.001.001.09. In is read by the local names of elements, whatever version
//! or namespace a bank writes; what an element's meaning depends on and is missing is a fault.

mod account;
mod initiation;
mod returned;
mod status;
mod tree;

use roxmltree::Document;
use thiserror::Error;

use crate::domain::{Notice, Statement};

pub use initiation::{Address, CreditTransfer, Initiation, Party, read_initiation, write};

/// What a bank's message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: MessageKind,
    /// Of single transfers, or of a whole submission.
    pub notices: Vec<Notice>,
    pub statements: Vec<Statement>,
    /// What in it could not be read.
    pub faults: Vec<String>,
}

/// The messages that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// pain.001: payments asked for. It is ours and tells nothing.
    Initiation,
    /// pain.002: what became of payments asked for.
    Status,
    /// camt.054: bookings as they happen.
    Notification,
    /// camt.053: all bookings of a time.
    Statement,
    /// pacs.004: payments that come back.
    Return,
}

impl MessageKind {
    /// The message's name, without its version: `pain.002`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initiation => "pain.001",
            Self::Status => "pain.002",
            Self::Notification => "camt.054",
            Self::Statement => "camt.053",
            Self::Return => "pacs.004",
        }
    }

    fn of(root: &str) -> Option<Self> {
        match root {
            "CstmrCdtTrfInitn" => Some(Self::Initiation),
            "CstmrPmtStsRpt" => Some(Self::Status),
            "BkToCstmrDbtCdtNtfctn" => Some(Self::Notification),
            "BkToCstmrStmt" => Some(Self::Statement),
            "PmtRtr" => Some(Self::Return),
            _ => None,
        }
    }
}

/// Why a text is no message that is read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unreadable {
    #[error("it is not well-formed XML: {0}")]
    NotXml(String),
    #[error("it is none of pain.001, pain.002, camt.053, camt.054 and pacs.004")]
    OtherMessage,
    #[error("its {0} is missing or cannot be read")]
    Missing(&'static str),
}

/// Reads a message.
///
/// # Errors
/// [`Unreadable`] if it is no XML, or another message.
pub fn read(text: &str) -> Result<Message, Unreadable> {
    let document = parse(text)?;
    let (kind, body) = message_in(&document).ok_or(Unreadable::OtherMessage)?;
    let mut message =
        Message { kind, notices: Vec::new(), statements: Vec::new(), faults: Vec::new() };
    match kind {
        MessageKind::Initiation => {}
        MessageKind::Status => status::read(body, &mut message),
        MessageKind::Notification => account::read(body, "Ntfctn", &mut message),
        MessageKind::Statement => account::read(body, "Stmt", &mut message),
        MessageKind::Return => returned::read(body, &mut message),
    }
    Ok(message)
}

fn parse(text: &str) -> Result<Document<'_>, Unreadable> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    Document::parse(text).map_err(|error| Unreadable::NotXml(error.to_string()))
}

/// The message's own element, which a bank may put into an envelope.
fn message_in<'a, 'input>(
    document: &'a Document<'input>,
) -> Option<(MessageKind, roxmltree::Node<'a, 'input>)> {
    let mut nodes = document.descendants().filter(roxmltree::Node::is_element);
    nodes.find_map(|node| MessageKind::of(node.tag_name().name()).map(|kind| (kind, node)))
}

#[cfg(test)]
mod tests;
