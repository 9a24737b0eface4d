//! A process that a test starts: watched through files, ended by its id.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// After this long, what has not happened will not happen.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at what has not happened yet.
const GLANCE: Duration = Duration::from_millis(10);

/// Asks `look` until it answers.
pub fn soon<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(GLANCE);
    }
}

/// A process under way; killed when it is dropped.
pub struct Process {
    child: Child,
    line: String,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts `command` with its output in files in `folder`.
    pub fn start(mut command: Command, folder: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (folder.join(format!("{count}.out")), folder.join(format!("{count}.err")));
        let file = |path: &Path| Stdio::from(File::create(path).expect("a file of ours"));
        command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
        let line = format!("{command:?}");
        Self { child: command.spawn().expect("the program is built"), line, out, err }
    }

    /// What it has written to stdout so far.
    pub fn out(&self) -> String {
        read(&self.out)
    }

    /// What it has written to stderr so far.
    pub fn err(&self) -> String {
        read(&self.err)
    }

    /// Waits until it has written `text` to stderr.
    pub fn says(&mut self, text: &str) {
        soon(text, || {
            let err = self.err();
            let ended = self.child.try_wait().expect("a process of ours");
            assert!(ended.is_none() || err.contains(text), "{}: {ended:?}\n{err}", self.line);
            err.contains(text).then_some(())
        });
    }

    /// Whether it is still under way.
    pub fn is_up(&mut self) -> bool {
        self.child.try_wait().expect("a process of ours").is_none()
    }

    /// Sends it a signal by its name (`TERM`, `INT`, `STOP`).
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(sent.success(), "{kill}");
    }

    /// Kills it as nothing can prepare for, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("a process of ours");
        self.child.wait().expect("a process of ours");
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Ran {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a process of ours") {
                break status;
            }
            let told = || format!("{} does not end\n{}\n{}", self.line, self.out(), self.err());
            assert!(begun.elapsed() < PATIENCE, "{}", told());
            std::thread::sleep(GLANCE);
        };
        Ran { line: self.line.clone(), status, out: self.out(), err: self.err() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).expect("a file of ours")).into_owned()
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ran {
    line: String,
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// It ended by itself, with `code`.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        let Self { line, status, out, err } = &self;
        let told = format!("{line}\n{status} (signal {:?})\n{out}\n{err}", status.signal());
        assert_eq!(status.code(), Some(code), "{told}");
        assert!(!err.contains("panicked"), "{told}");
        self
    }

    /// It wrote every one of `texts` to stderr.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.err.contains(text), "{}\nno \"{text}\" in: {}", self.line, self.err);
        }
        self
    }

    /// It wrote every one of `texts` to stdout.
    #[track_caller]
    pub fn prints(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.out.contains(text), "{}\nno \"{text}\" in: {}", self.line, self.out);
        }
        self
    }

    /// What it wrote to stdout, all of which is JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", self.line, self.out))
    }
}
