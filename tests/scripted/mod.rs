//! A server that gives the answers it was told, one per connection, and is gone.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What PayPal grants for credentials.
pub const TOKEN: &str = "HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"T\",\"expires_in\":32400}";

pub struct Scripted {
    pub url: String,
    task: JoinHandle<Vec<String>>,
}

impl Scripted {
    /// Answers are whole: status line, headers, body. The end of the connection ends the body.
    pub async fn answering(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        let answers = answers.to_vec();
        let task = tokio::spawn(async move {
            let mut heard = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                heard.push(request_line(&mut stream).await);
                stream.write_all(answer.as_bytes()).await.expect("a caller who listens");
            }
            heard
        });
        Self { url, task }
    }

    /// The request lines, once all answers are given; from then on nobody listens.
    pub async fn heard(self) -> Vec<String> {
        self.task.await.expect("the script went to its end")
    }
}

/// Reads one request to its end: a connection that is closed before is reset.
async fn request_line(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().expect("a number"));
            if body.len() >= length {
                return head.lines().next().unwrap_or_default().to_owned();
            }
        }
        assert_ne!(stream.read_buf(&mut read).await.expect("a request"), 0, "a whole request");
    }
}
