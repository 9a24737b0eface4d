//! The append-only file from which a killed sandbox remembers: one JSON line per event.
//!
//! It is not synced: it has to outlive the process, not the host.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::life::{Event, Life};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// A life begins. Lives are numbered from 0 in the order of these lines.
    Opened,
    /// A former life came back, and is part of this one from here on.
    Recalled {
        life: usize,
    },
    Event(Box<Event>),
}

/// The file, open for appending.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

/// The lives that a journal tells of, by their number; `None` is one that became part of a later
/// life.
pub(super) type FormerLives = Vec<Option<Life>>;

impl Journal {
    /// Reads the former lives at `path` and begins a new one.
    pub(super) fn open(path: PathBuf) -> io::Result<(Self, FormerLives)> {
        let former = match File::open(&path) {
            Ok(file) => read(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        // A life that was killed may have left half a line behind: this one starts on its own.
        file.write_all(b"\n")?;
        let mut journal = Self { path, file };
        journal.write(&[Line::Opened])?;
        Ok((journal, former))
    }

    /// Appends events that happen together, in one write.
    pub(super) fn append(&mut self, events: &[Event]) -> io::Result<()> {
        self.write(&events.iter().cloned().map(Box::new).map(Line::Event).collect::<Vec<_>>())
    }

    pub(super) fn append_recall(&mut self, life: usize) -> io::Result<()> {
        self.write(&[Line::Recalled { life }])
    }

    /// Removes the file.
    pub(super) fn remove(self) -> io::Result<()> {
        drop(self.file);
        std::fs::remove_file(self.path)
    }

    fn write(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&serde_json::to_string(line)?);
            text.push('\n');
        }
        self.file.write_all(text.as_bytes())
    }
}

/// Lines that cannot be read are halves of what was never answered.
fn read(file: File) -> io::Result<FormerLives> {
    let mut lives = FormerLives::new();
    for line in BufReader::new(file).split(b'\n') {
        let Ok(line) = serde_json::from_slice(&line?) else { continue };
        match line {
            Line::Opened => lives.push(Some(Life::default())),
            Line::Recalled { life } => {
                let recalled = lives.get_mut(life).and_then(Option::take);
                let current = lives.last_mut().and_then(Option::as_mut);
                if let (Some(recalled), Some(current)) = (recalled, current) {
                    come_back(recalled, current);
                }
            }
            Line::Event(event) => {
                if let Some(Some(current)) = lives.last_mut() {
                    current.apply(*event);
                }
            }
        }
    }
    Ok(lives)
}

/// Puts a former life in front of the current one: what it took, it took before.
pub(super) fn come_back(former: Life, current: &mut Life) {
    let later = std::mem::replace(current, former);
    current.absorb(later);
}
