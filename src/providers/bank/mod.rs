//! What the rails by file share: an outbox that a bank picks up from, an inbox that it drops
//! into, an archive that proves what went and came, and the letters of banks.
//!
//! Each letter kind is understood whichever rail collects it, so both may use one set of folders.

mod acknowledgement;
mod changes;
mod inbox;
mod letters;
mod outbox;
mod reasons;
mod standing;

use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};
use chrono_tz::America::New_York;

use super::{Letter, Outgoing, Problem, Sent};
use outbox::Parcel;
pub(super) use outbox::Whereabouts;
pub(super) use standing::{Silence, found};

/// Where a rail's files lie.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    pub(super) outbox: PathBuf,
    pub(super) inbox: PathBuf,
    pub(super) archive: PathBuf,
}

impl Folders {
    /// Places a submission's file in the outbox, once: however often this is called, and wherever
    /// the process died before, the bank finds it once.
    pub(super) async fn place(&self, outgoing: &Outgoing, name: String, body: &str) -> Sent {
        let is_first = outgoing.now == outgoing.sent_at;
        let parcel = Parcel { name, body: body.to_owned(), now: outgoing.now, is_first };
        let folders = self.clone();
        let placed = tokio::task::spawn_blocking(move || outbox::place(&folders, &parcel));
        placed.await.unwrap_or_else(|error| Sent::Unknown(fault("outbox", &error.to_string())))
    }

    /// Where a submission's file is.
    pub(super) async fn whereabouts(
        &self,
        outgoing: &Outgoing,
        name: String,
    ) -> Result<Whereabouts, Problem> {
        let (folders, now) = (self.clone(), outgoing.now);
        in_thread(move || outbox::whereabouts(&folders, &name, now)).await
    }

    /// Whether all that the bank has said so far has been read.
    pub(super) async fn all_is_read(&self) -> Result<bool, Problem> {
        let folders = self.clone();
        in_thread(move || inbox::is_read(&folders)).await
    }

    /// Why a submission's file could still reach the bank, if it could.
    pub(super) async fn may_still_leave(&self, name: String) -> Option<Problem> {
        let (folders, place) = (self.clone(), self.outbox.join(&name));
        match in_thread(move || outbox::is_waiting(&folders, &name)).await {
            Ok(false) => None,
            Ok(true) => {
                let place = place.display();
                let words = format!("the bank can still pick up {place}: take it away first");
                Some(Problem::new("in_the_outbox", words))
            }
            Err(problem) => Some(problem),
        }
    }

    /// Every finished file of the inbox, read.
    pub(super) async fn collect(&self) -> Result<Vec<Letter>, Problem> {
        let folders = self.clone();
        in_thread(move || inbox::collect(&folders)).await
    }

    /// Moves a letter into the archive.
    pub(super) async fn put_away(&self, letter: &Letter) -> Result<(), Problem> {
        let (folders, letter) = (self.clone(), letter.clone());
        in_thread(move || inbox::put_away(&folders, &letter)).await
    }

    /// Whether all of them are there and can be written to.
    pub(super) async fn ping(&self) -> Result<(), Problem> {
        let folders = self.clone();
        in_thread(move || outbox::probe(&folders)).await
    }

    fn sent(&self) -> PathBuf {
        self.archive.join("sent")
    }
}

/// Files are touched on a thread that may wait.
async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(fault("files", &error.to_string())))
}

/// A problem with a file or a folder.
fn fault(what: &str, error: &str) -> Problem {
    Problem::new("files", format!("{what}: {error}"))
}

/// The same, of a path.
fn fault_at(path: &Path, error: &std::io::Error) -> Problem {
    fault(&path.display().to_string(), &error.to_string())
}

/// The time on the wall of the Federal Reserve.
pub(super) fn eastern(instant: DateTime<Utc>) -> NaiveDateTime {
    instant.with_timezone(&New_York).naive_local()
}
