//! A server that gives the answers it was told, one per connection, and is gone.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a script waits for a call that never comes.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Scripted {
    pub url: String,
    task: JoinHandle<Vec<String>>,
}

impl Scripted {
    /// Answers are whole: status line, headers, body. The end of the connection ends the body.
    pub async fn answering<A: AsRef<str>>(answers: &[A]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        let answers: Vec<String> =
            answers.iter().map(|answer| answer.as_ref().to_owned()).collect();
        let task = tokio::spawn(async move {
            let mut heard = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                heard.push(request(&mut stream).await);
                stream.write_all(answer.as_bytes()).await.expect("a caller who listens");
            }
            heard
        });
        Self { url, task }
    }

    /// The requests, once all answers are given; from then on nobody listens.
    pub async fn heard(self) -> Vec<String> {
        let heard = timeout(PATIENCE, self.task).await.expect("every answer was asked for");
        heard.expect("the script went to its end")
    }
}

/// The first line of each request.
pub fn lines(requests: &[String]) -> Vec<&str> {
    requests.iter().map(|request| request.lines().next().unwrap_or_default()).collect()
}

/// Reads one request to its end: a connection that is closed before is reset.
async fn request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().expect("a number"));
            if body.len() >= length {
                return text.into_owned();
            }
        }
        assert_ne!(stream.read_buf(&mut read).await.expect("a request"), 0, "a whole request");
    }
}
