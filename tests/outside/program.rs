//! The real program, with a folder of its own.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// After this long, what has not happened will not happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process of ours; killed when it is dropped.
pub struct Program {
    child: Child,
    pub folder: TempDir,
}

impl Program {
    /// Starts it in an empty folder, without any setting from around.
    pub fn new(arguments: &[&str]) -> Self {
        Self::with(arguments, &[])
    }

    /// The same with variables in its environment.
    pub fn with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::within(tempfile::tempdir().expect("a folder"), arguments, environment)
    }

    /// The same in a folder that is there.
    pub fn within(folder: TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let file = |name: &str| {
            Stdio::from(File::create(folder.path().join(name)).expect("a file of ours"))
        };
        let child = Command::new(env!("CARGO_BIN_EXE_payoutd"))
            .args(arguments)
            .env_clear()
            .env("HOME", folder.path())
            .envs(environment.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .expect("the program is built");
        Self { child, folder }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("err")).expect("its log")
    }

    /// Waits until `look` finds something in the log.
    pub fn finds<T>(&mut self, what: &str, look: impl Fn(&str) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(&self.log()) {
                return found;
            }
            let ended = self.child.try_wait().expect("a process of ours");
            let waits = begun.elapsed() < PATIENCE && ended.is_none();
            assert!(waits, "waited in vain for {what} ({ended:?}):\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to stop, as a service manager does.
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for its good end; what it logged.
    pub fn ends(mut self) -> String {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a process of ours") {
                assert!(status.success(), "{status}:\n{}", self.log());
                return self.log();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
