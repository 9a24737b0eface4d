//! Reads a file of `src/` as text: its code without comments and literals, its tests, the paths
//! that it names.

use std::fmt;
use std::fs;
use std::path::Path;

use Find::{Crate, OutsideTests, Word};

/// What a wall looks for.
#[derive(Clone, Copy)]
pub enum Find {
    /// A crate at the head of a path.
    Crate(&'static str),
    /// A path or a word.
    Word(&'static str),
    /// Any text, but not in tests.
    OutsideTests(&'static str),
}

/// A broken rule, with the place and the way out.
pub struct Breach {
    path: String,
    pub line: usize,
    pub what: String,
    instead: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}: {}", self.path, self.line, self.what, self.instead)
    }
}

/// One file.
pub struct Source {
    /// Below `src/`.
    pub path: String,
    pub text: String,
    /// The text with comments and literals blanked out.
    pub code: String,
    /// For each line, whether it belongs to tests.
    pub in_tests: Vec<bool>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = code_of(text);
        let whole = path.ends_with("/tests.rs") || path.contains("/tests/");
        let in_tests = if whole { vec![true; text.lines().count()] } else { test_lines(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, in_tests }
    }

    /// The module at the top of `src/` that this file is, or is a part of.
    pub fn room(&self) -> &str {
        let first = self.path.split('/').next().expect("a split has a first part");
        first.trim_end_matches(".rs")
    }

    pub fn is_in(&self, place: &str) -> bool {
        self.room() == place || self.path == place
    }

    pub fn breach(&self, line: usize, what: String, instead: &str) -> Breach {
        Breach { path: self.path.clone(), line, what, instead: instead.to_owned() }
    }

    /// Every item of the crate's root that this file names, with the line.
    pub fn named_rooms(&self) -> Vec<(usize, String)> {
        let mut starts: Vec<usize> = Vec::new();
        for root in ["crate::", "payoutd::"] {
            starts.extend(places_of(&self.code, root).iter().map(|at| at + root.len()));
        }
        starts.extend(self.supers_to_the_root());
        let mut named = Vec::new();
        for start in starts {
            let line = line_of(&self.code, start);
            named.extend(heads(&self.code[start..]).into_iter().map(|head| (line, head)));
        }
        named
    }

    /// Where `super::super::` climbs to the crate's root, the place behind it.
    fn supers_to_the_root(&self) -> Vec<usize> {
        let of_path = self.path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
        let depth = match of_path {
            "lib" | "main" => 0,
            path => path.split('/').count(),
        };
        let mut ends = Vec::new();
        for at in places_of(&self.code, "super::") {
            if self.code[..at].ends_with("::") {
                continue; // the middle of a climb that was followed from its beginning
            }
            let climb = self.code[at..].split("super::").take_while(|part| part.is_empty()).count();
            // An inline `mod tests` is one floor further down.
            let in_block = !self.path.ends_with("tests.rs") && self.is_test(at);
            if climb >= depth + usize::from(in_block) {
                ends.push(at + climb * "super::".len());
            }
        }
        ends
    }

    fn is_test(&self, at: usize) -> bool {
        self.in_tests.get(line_of(&self.code, at) - 1).copied().unwrap_or(false)
    }

    /// Where `find` stands, with what was found.
    pub fn found(&self, find: Find) -> Vec<(usize, &'static str)> {
        let code = &self.code;
        let (what, places): (_, Vec<usize>) = match find {
            Word(what) => (what, places_of(code, what)),
            OutsideTests(what) => {
                let places = code.match_indices(what).map(|(at, _)| at);
                (what, places.filter(|at| !self.is_test(*at)).collect())
            }
            Crate(what) => {
                let heads_a_path = |at: &usize| {
                    let (before, after) = (&code[..*at], &code[at + what.len()..]);
                    let is_head = before.strip_suffix("::").is_none_or(|path| !ends_in_word(path));
                    before.ends_with("use ") || is_head && after.starts_with("::")
                };
                (what, places_of(code, what).into_iter().filter(heads_a_path).collect())
            }
        };
        places.into_iter().map(|at| (line_of(code, at), what)).collect()
    }
}

/// All files of `src/`.
pub fn all() -> Vec<Source> {
    below(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), "")
}

fn below(folder: &Path, prefix: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("src/ can be read") {
        let path = entry.expect("src/ can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("names are UTF-8");
        if path.is_dir() {
            found.extend(below(&path, &format!("{prefix}{name}/")));
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("src/ can be read");
            found.push(Source::new(&format!("{prefix}{name}"), &text));
        }
    }
    found
}

/// Where `word` stands as a whole word.
pub fn places_of(text: &str, word: &str) -> Vec<usize> {
    let stands_alone = |at: &usize| {
        let after = text[at + word.len()..].chars().next().is_some_and(in_word);
        !(ends_in_word(&text[..*at]) || after && ends_in_word(word))
    };
    text.match_indices(word).map(|(at, _)| at).filter(stands_alone).collect()
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(in_word)
}

/// The line, from 1, of a place in a text.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The first names of the paths that begin here: one, or those of a `{…}` group. Macros are left
/// out, since they always live at the root.
fn heads(text: &str) -> Vec<String> {
    let name = |text: &str| -> Option<String> {
        let text = text.trim_start();
        let end = text.find(|c: char| !(in_word(c) || c == '*'));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        (!name.is_empty() && name != "self" && !rest.starts_with('!')).then(|| name.to_owned())
    };
    let Some(group) = text.strip_prefix('{') else { return name(text).into_iter().collect() };
    let (mut depth, mut names) = (1, name(group).into_iter().collect::<Vec<_>>());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.extend(name(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// For each line, whether it belongs to an item under `#[cfg(test)]`.
fn test_lines(code: &str) -> Vec<bool> {
    let mut lines = vec![false; code.lines().count()];
    for (start, mark) in code.match_indices("#[cfg(test)]") {
        let mut depth = 0;
        let body = &code[start + mark.len()..];
        let ends = |c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0 && (c == '}' || c == ';')
        };
        let end = start + mark.len() + body.find(ends).unwrap_or(body.len());
        lines[line_of(code, start) - 1..line_of(code, end).min(code.lines().count())].fill(true);
    }
    lines
}

/// `text` with comments and literals blanked out; every line and byte stays in its place.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let blank = blank_len(rest);
        if blank == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..blank].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }));
            rest = &rest[blank..];
        }
    }
    code
}

/// How many bytes the comment or literal takes that begins here; 0 if none does.
fn blank_len(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let until = |end: &str, from: usize| {
        rest[from..].find(end).map_or(rest.len(), |found| from + found + end.len())
    };
    match bytes[0] {
        b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
        b'/' if rest.starts_with("/*") => until("*/", 2),
        b'"' => escaped_len(bytes, b'"'),
        b'\'' if bytes.get(1) == Some(&b'\\') => escaped_len(bytes, b'\''),
        // A character, not a lifetime: the quote closes behind it.
        b'\'' => {
            let len = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            if bytes.get(len) == Some(&b'\'') { len + 1 } else { 0 }
        }
        b'r' => {
            let hashes = bytes[1..].iter().take_while(|b| **b == b'#').count();
            match bytes.get(1 + hashes) {
                Some(b'"') => until(&format!("\"{}", "#".repeat(hashes)), 2 + hashes),
                _ => 0,
            }
        }
        _ => 0,
    }
}

/// The length of a literal with escapes, with both its quotes.
fn escaped_len(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}
