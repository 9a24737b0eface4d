//! Somebody who takes mail: a real SMTP server on loopback that keeps what it was given, and refuses
//! what it was told to refuse.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// One mail, as it came.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// Heads and text, as they were sent.
    pub text: String,
    /// Who signed in, in base64 as it was sent.
    pub signed_in: Option<String>,
}

impl Mail {
    /// A header of it, on one line.
    pub fn header(&self, name: &str) -> String {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_default().to_owned()
    }
}

#[derive(Default)]
struct State {
    mails: Vec<Mail>,
    /// What the next mails are answered instead of 250.
    refusals: Vec<String>,
}

/// See the module.
pub struct Postbox {
    pub port: u16,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Postbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Postbox {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let state = Arc::new(Mutex::new(State::default()));
        let kept = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(converse(stream, Arc::clone(&kept)));
            }
        });
        Self { port, state, task }
    }

    /// The next mail is answered so.
    pub fn refuses(&self, answer: &str) {
        self.state.lock().expect("a lock").refusals.push(answer.to_owned());
    }

    /// What came since this was asked before.
    pub fn mails(&self) -> Vec<Mail> {
        std::mem::take(&mut self.state.lock().expect("a lock").mails)
    }
}

async fn converse(stream: TcpStream, state: Arc<Mutex<State>>) {
    let (read, mut write) = stream.into_split();
    let (mut read, mut mail) = (BufReader::new(read), Mail::default());
    let mut answer = "220 postbox".to_owned();
    loop {
        if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            return;
        }
        let mut line = String::new();
        if read.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end();
        answer = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-postbox\r\n250 AUTH PLAIN".to_owned(),
            "AUTH" => {
                mail.signed_in = line.rsplit(' ').next().map(str::to_owned);
                "235 ok".to_owned()
            }
            "MAIL" => {
                mail.from = within(line);
                "250 ok".to_owned()
            }
            "RCPT" => {
                mail.to.push(within(line));
                "250 ok".to_owned()
            }
            "DATA" => {
                let _ = write.write_all(b"354 go on\r\n").await;
                loop {
                    let mut line = String::new();
                    if read.read_line(&mut line).await.unwrap_or(0) == 0 {
                        return;
                    }
                    if line == ".\r\n" {
                        break;
                    }
                    mail.text.push_str(line.strip_prefix('.').unwrap_or(&line));
                }
                take(&state, std::mem::take(&mut mail))
            }
            "QUIT" => "221 bye".to_owned(),
            _ => "502 what?".to_owned(),
        };
    }
}

fn take(state: &Mutex<State>, mail: Mail) -> String {
    let mut state = state.lock().expect("a lock");
    if let Some(refusal) = state.refusals.pop() {
        return refusal;
    }
    state.mails.push(mail);
    "250 taken".to_owned()
}

fn within(line: &str) -> String {
    let begins = line.find('<').map_or(0, |at| at + 1);
    line[begins..].split('>').next().unwrap_or_default().to_owned()
}
