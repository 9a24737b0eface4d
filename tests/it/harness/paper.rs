//! A rail on paper: it does what a story tells it, and counts what it is asked.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use chrono::TimeDelta;
use payoutd::domain::{Currency, Destination, MethodKind, Notice, NoticeWord};
use payoutd::providers::{
    Found, Funds, ItemReport, Letter, Outgoing, OutgoingItem, Problem, Provider, Sent, Standing,
    Terms, Vetted,
};

/// Something that goes on elsewhere.
pub type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See the module. Cloning shares what it was told.
#[derive(Clone)]
pub struct Paper(Arc<Mutex<Told>>);

pub struct Told {
    pub terms: Terms,
    pub funds: Funds,
    pub vetted: Vetted,
    /// What a send comes to.
    pub sent: Sent,
    /// What a send comes to that holds this amount.
    pub about_one: Option<(i64, Sent)>,
    /// What a look-up says of each item; `None`: nothing is known.
    pub standing: Option<Standing>,
    pub problem: Option<Problem>,
    pub note: Option<String>,
    pub letters: Vec<Letter>,
    pub inbox_fails: Option<Problem>,
    pub in_the_outbox: bool,
    /// What happens elsewhere during the next look-up.
    pub meanwhile: Option<Meanwhile>,
    pub put_away: Vec<String>,
    /// The references that were sent, one list for each call.
    pub sends: Vec<Vec<String>>,
    pub called_off: Vec<String>,
    /// The words of all letters that the last look-up was handed.
    pub heard: Vec<NoticeWord>,
}

impl Paper {
    /// A rail that takes one transfer at a time, and settles at once.
    pub fn new() -> Self {
        let terms = Terms {
            batch_size: 1,
            resend_window: TimeDelta::hours(23),
            finds_by_reference: true,
            horizon: TimeDelta::days(10),
            watch: TimeDelta::days(60),
            call_off_after: None,
        };
        Self(Arc::new(Mutex::new(Told {
            terms,
            funds: Funds::CannotAsk,
            vetted: Vetted::Able,
            sent: Sent::Accepted { provider_batch_id: None },
            about_one: None,
            standing: Some(Standing::Settled),
            problem: None,
            note: None,
            letters: Vec::new(),
            inbox_fails: None,
            in_the_outbox: false,
            meanwhile: None,
            put_away: Vec::new(),
            sends: Vec::new(),
            called_off: Vec::new(),
            heard: Vec::new(),
        })))
    }

    /// What it was told, to be changed.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().expect("nobody panicked")
    }
}

/// A letter that says one thing of one transfer.
pub fn said(name: &str, reference: &str, word: NoticeWord, code: Option<&str>) -> Letter {
    let notice = Notice {
        reference: reference.to_owned(),
        whole: false,
        word,
        code: code.map(str::to_owned),
        message: None,
        amount: None,
        provider_id: None,
        account: None,
        on: None,
        correction: BTreeMap::new(),
    };
    Letter {
        name: name.to_owned(),
        hash: format!("hash of {name}"),
        kind: "test".to_owned(),
        about: vec![MethodKind::Ach],
        notices: vec![notice],
        statements: Vec::new(),
        problem: None,
    }
}

#[async_trait]
impl Provider for Paper {
    fn kind(&self) -> MethodKind {
        MethodKind::Ach
    }

    fn terms(&self) -> Terms {
        self.told().terms
    }

    fn render(&self, outgoing: &Outgoing) -> String {
        outgoing.reference.to_string()
    }

    async fn send(&self, outgoing: &Outgoing, _body: &str) -> Sent {
        let mut told = self.told();
        let references = outgoing.items.iter().map(|item| item.reference.to_string()).collect();
        told.sends.push(references);
        let about = told.about_one.as_ref();
        let minors = outgoing.items.iter().map(|item| item.amount.minor);
        match about.filter(|(minor, _)| minors.clone().any(|one| one == *minor)) {
            Some((_, sent)) => sent.clone(),
            None => told.sent.clone(),
        }
    }

    async fn look_up(&self, outgoing: &Outgoing) -> Found {
        let meanwhile = self.told().meanwhile.take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        let mut told = self.told();
        let heard = outgoing.items.iter().flat_map(|item| &item.heard);
        told.heard = heard.map(|notice| notice.word).collect();
        let Some(standing) = told.standing else {
            return Found::Nothing(Problem::new("unknown", "never heard of it"));
        };
        let report = |item: &OutgoingItem| ItemReport {
            reference: item.reference.clone(),
            provider_id: Some(format!("at-{}", item.reference)),
            standing,
            provider_status: format!("{standing:?}"),
            amount: Some(item.amount),
            problem: told.problem.clone(),
            note: told.note.clone(),
        };
        Found::Items(outgoing.items.iter().map(report).collect())
    }

    async fn ping(&self) -> Result<(), Problem> {
        Ok(())
    }

    async fn collect(&self) -> Result<Vec<Letter>, Problem> {
        let told = self.told();
        match &told.inbox_fails {
            Some(problem) => Err(problem.clone()),
            None => Ok(told.letters.clone()),
        }
    }

    async fn put_away(&self, letter: &Letter) -> Result<(), Problem> {
        self.told().put_away.push(letter.name.clone());
        Ok(())
    }

    async fn funds(&self, _currency: Currency) -> Funds {
        self.told().funds.clone()
    }

    async fn vet(&self, _destination: &Destination) -> Vetted {
        self.told().vetted.clone()
    }

    async fn may_still_leave(&self, _outgoing: &Outgoing) -> Option<Problem> {
        self.told().in_the_outbox.then(|| Problem::new("in_the_outbox", "it waits there"))
    }

    async fn call_off(&self, item: &OutgoingItem) -> Result<(), Problem> {
        let mut told = self.told();
        told.called_off.push(item.reference.to_string());
        told.standing = Some(Standing::Rejected);
        Ok(())
    }
}
