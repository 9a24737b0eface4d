//! Mail: what rails leave for us in files. Each letter is kept once, by its hash, together with
//! what it says of our transfers; reconcile then hears it. It moves no money by itself.

use std::collections::{BTreeMap, HashMap};

use tracing::{info, warn};

use super::{Engine, EngineError, Tally, Work};
use crate::domain::{Destination, MethodStatus, Notice, NoticeWord, OrgId, PayoutId};
use crate::providers::{Letter, Provider};
use crate::store::{
    MethodChange, NamedTransfer, NewDestination, NewLetter, NewNotice, PaidMethod, Tx,
};

/// The notices of a letter, by the transfers that they are about.
#[derive(Default)]
struct Matched {
    notices: Vec<NewNotice>,
    /// References that nothing of ours has.
    unmatched: Vec<String>,
}

impl Engine {
    /// Reads what the rails have left, and puts it away.
    ///
    /// # Errors
    /// [`EngineError`] of the store. A rail whose inbox cannot be read is noted, and the others
    /// are read all the same.
    pub(super) async fn read_mail(
        &self,
        work: &Work,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        for provider in self.rails() {
            let letters = match provider.collect().await {
                Ok(letters) => letters,
                Err(problem) => {
                    let words =
                        format!("the inbox of {} cannot be read: {problem}", provider.kind());
                    warn!(event = "inbox.unreadable", provider = %provider.kind(),
                          code = problem.code.as_str(), message = problem.message.as_str());
                    self.tell_of_inbox(work, provider.as_ref(), &words).await?;
                    tally.note(words);
                    continue;
                }
            };
            for letter in letters {
                if work.stop.is_cancelled() {
                    return Ok(());
                }
                self.read_letter(work, provider.as_ref(), &letter, tally).await?;
            }
        }
        Ok(())
    }

    /// Returns and bookings go unheard while an inbox cannot be read: a person has to know.
    async fn tell_of_inbox(
        &self,
        work: &Work,
        provider: &dyn Provider,
        words: &str,
    ) -> Result<(), EngineError> {
        let kind = provider.kind();
        if let Some(org) = self.keeper(provider).await? {
            let mut tx = self.begin(work).await?;
            self.alert(&mut tx, &org, ("inbox", kind.as_str()), words, self.clock.now()).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Who is told of what no org is named in: the first that uses the rail, or the first there is.
    async fn keeper(&self, provider: &dyn Provider) -> Result<Option<OrgId>, EngineError> {
        let users = self.store.orgs_of_rail(provider.kind()).await?;
        match users.into_iter().next() {
            Some(org) => Ok(Some(org)),
            None => Ok(self.store.orgs().await?.into_iter().next()),
        }
    }

    /// Keeps one letter and puts it away. In this order: a letter that was kept and not put away
    /// is collected again, and known by its hash.
    async fn read_letter(
        &self,
        work: &Work,
        provider: &dyn Provider,
        letter: &Letter,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        if !self.store.letter_known(&letter.hash).await? {
            // What could not be read in full has gaps that would look like missing payments.
            let whole = letter.statements.iter().filter(|_| letter.problem.is_none());
            for statement in whole {
                let kind = provider.kind();
                let compared =
                    self.reconcile_statement(work, kind, statement, &letter.name).await?;
                if compared.found > 0 {
                    tally.note(format!(
                        "{}: {} breaks between it and our books, see `payoutd reconcile breaks`",
                        letter.name, compared.found
                    ));
                }
            }
            let kept = self.retrying(|| self.keep_letter(work, provider, letter)).await?;
            if kept {
                info!(event = "letter.read", provider = %provider.kind(), name = letter.name,
                      kind = letter.kind, notices = letter.notices.len());
            }
        }
        if let Err(problem) = provider.put_away(letter).await {
            tally.note(format!("{} cannot be put away: {problem}", letter.name));
            warn!(
                event = "letter.not_put_away",
                name = letter.name,
                code = problem.code.as_str(),
                message = problem.message.as_str()
            );
        }
        Ok(())
    }

    async fn keep_letter(
        &self,
        work: &Work,
        provider: &dyn Provider,
        letter: &Letter,
    ) -> Result<bool, EngineError> {
        let now = self.clock.now();
        let mut tx = self.begin(work).await?;
        let matched = self.match_notices(&mut tx, letter).await?;
        let kept = NewLetter {
            letter_hash: letter.hash.clone(),
            method_kind: provider.kind(),
            name: letter.name.clone(),
            kind: letter.kind.clone(),
            notices: letter.notices.len(),
            unmatched: matched.unmatched.len(),
            problem: letter.problem.as_ref().map(ToString::to_string),
        };
        if !tx.letter_insert(&kept, now).await? {
            return Ok(false);
        }
        tx.notices_insert(&matched.notices, now).await?;
        self.correct_methods(&mut tx, &matched.notices).await?;
        if let Some(words) = trouble(letter, &matched.unmatched) {
            match self.keeper(provider).await? {
                Some(org) => {
                    // Banks name their files alike, day after day.
                    let hash = letter.hash.get(..8).unwrap_or_default();
                    let subject = format!("{} {hash}", letter.name);
                    self.alert(&mut tx, &org, ("letter", &subject), &words, now).await?;
                }
                None => warn!(event = "letter.of_nobody", name = letter.name, message = words),
            }
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn match_notices(&self, tx: &mut Tx, letter: &Letter) -> Result<Matched, EngineError> {
        let mut matched = Matched::default();
        for whole in [false, true] {
            let notices = letter.notices.iter().filter(|notice| notice.whole == whole);
            let mut references: Vec<&str> =
                notices.clone().map(|notice| notice.reference.as_str()).collect();
            references.sort_unstable();
            references.dedup();
            let mut named: HashMap<String, Vec<NamedTransfer>> = HashMap::new();
            let ours = tx.transfers_named(&references, whole).await?;
            // A return of one rail that names another's transfer is somebody's mistake.
            for transfer in ours.into_iter().filter(|one| letter.about.contains(&one.method_kind)) {
                named.entry(transfer.said.clone()).or_default().push(transfer);
            }
            for notice in notices {
                match named.get(&notice.reference) {
                    None => matched.unmatched.push(notice.reference.clone()),
                    Some(transfers) => {
                        let new = |about: &NamedTransfer| self.new_notice(letter, about, notice);
                        matched.notices.extend(transfers.iter().map(new));
                    }
                }
            }
        }
        Ok(matched)
    }

    fn new_notice(&self, letter: &Letter, about: &NamedTransfer, notice: &Notice) -> NewNotice {
        NewNotice {
            notice_id: self.clock.mint(),
            about: about.clone(),
            letter_hash: letter.hash.clone(),
            notice: notice.clone(),
        }
    }

    /// A bank that names a destination's right numbers is believed; where it only says that they
    /// are wrong, the method is no longer verified. What was changed since stays as it is.
    async fn correct_methods(&self, tx: &mut Tx, notices: &[NewNotice]) -> Result<(), EngineError> {
        let mut by_org: BTreeMap<&OrgId, HashMap<&PayoutId, &Notice>> = BTreeMap::new();
        for new in notices.iter().filter(|new| new.notice.word == NoticeWord::Corrected) {
            let corrections = by_org.entry(&new.about.org_id).or_default();
            corrections.insert(&new.about.payout_id, &new.notice);
        }
        for (org, corrections) in by_org {
            let payouts: Vec<&PayoutId> = corrections.keys().copied().collect();
            let methods = tx.methods_of_payouts(org, &payouts).await?;
            let mut right = Vec::new();
            let mut changes = Vec::with_capacity(methods.len());
            for method in &methods {
                let Some(notice) = corrections.get(&method.payout_id) else { continue };
                let (mut status, mut destination_id) =
                    (MethodStatus::Failed, method.destination_id.clone());
                if let Some(destination) = corrected(method, notice) {
                    (status, destination_id) = (MethodStatus::Verified, self.clock.mint());
                    let destination_id = destination_id.clone();
                    right.push(NewDestination { destination_id, destination });
                }
                let (code, reason) = (notice.code.clone(), notice.message.clone());
                let method_id = method.method_id.clone();
                changes.push(MethodChange { method_id, destination_id, status, code, reason });
            }
            tx.destinations_insert(org, &right, self.clock.now()).await?;
            tx.methods_change(org, &changes).await?;
            for change in &changes {
                info!(event = "method.corrected", org_id = %org, method_id = %change.method_id,
                      status = %change.status, code = change.code.as_deref());
            }
        }
        Ok(())
    }
}

/// The destination as the bank says that it is, if it says that in a way that can be taken over.
fn corrected(method: &PaidMethod, notice: &Notice) -> Option<Destination> {
    let fields = (!notice.correction.is_empty()).then_some(&notice.correction);
    fields.zip(method.destination.as_ref()).and_then(|(fields, was)| was.with(fields).ok())
}

/// What a person has to know of a letter: what could not be read, and what is nobody's.
fn trouble(letter: &Letter, unmatched: &[String]) -> Option<String> {
    let mut words = Vec::new();
    if let Some(problem) = &letter.problem {
        words.push(format!(
            "could not be read in full ({problem}); while one that nobody can read lies in \
             `unreadable` of the archive, nothing settles by silence: take it away once you know \
             what it says"
        ));
    }
    if !unmatched.is_empty() {
        let shown: Vec<&str> = unmatched.iter().take(5).map(String::as_str).collect();
        words.push(format!(
            "speaks of {} transfers that are not ours, such as {}",
            unmatched.len(),
            shown.join(", ")
        ));
    }
    let words = words.join(", and ");
    (!words.is_empty()).then(|| format!("the letter {} ({}) {words}", letter.name, letter.kind))
}
