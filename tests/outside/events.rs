//! The events that the source can emit, by its text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What an event is emitted with: its levels, its fields.
pub type Events = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

/// Every event in `src/`, tests apart.
pub fn in_source() -> Events {
    let mut events = Events::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut events);
    events
}

fn visit(folder: &Path, events: &mut Events) {
    for entry in std::fs::read_dir(folder).expect("src/ is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "tests" {
            visit(&path, events);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            for (name, level, fields) in in_text(code) {
                let event = events.entry(name).or_default();
                event.0.insert(level);
                event.1.extend(fields);
            }
        }
    }
}

/// Every event in a text: its name, level and fields.
fn in_text(text: &str) -> Vec<(String, String, Vec<String>)> {
    const MARK: &str = "event = \"";
    let mut found = Vec::new();
    for (at, _) in text.match_indices(MARK) {
        let name = text[at + MARK.len()..].split('"').next().unwrap_or_default().to_owned();
        let levels = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];
        let opened = levels.iter().filter_map(|level| Some((text[..at].rfind(level)?, *level)));
        let (begins, level) = opened.max().expect("an event stands in a macro of tracing");
        let parts = arguments(&text[begins + level.len()..]);
        let fields = parts.iter().filter_map(|part| field(part)).filter(|name| name != "event");
        found.push((name, level.trim_end_matches("!(").to_owned(), fields.collect()));
    }
    found
}

/// The arguments of a macro, up to the parenthesis that closes it.
fn arguments(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 1);
    let (mut in_text, mut escaped) = (false, false);
    for c in text.chars() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            match c {
                '"' => in_text = true,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
        }
        if depth == 0 {
            break;
        }
        if c == ',' && depth == 1 && !in_text {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
    }
    parts.push(part);
    parts
}

/// The name of a field, unless the argument is a message.
fn field(part: &str) -> Option<String> {
    let name = part.split('=').next()?.trim().trim_start_matches(['%', '?']);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    (!name.is_empty() && name.chars().all(is_name)).then(|| name.to_owned())
}

#[test]
fn events_are_found_with_their_levels_and_fields() {
    let text = r#"
        info!(event = "a.b", x = f(1, "),"), %y, ?z, counts.seen = 3, "words, and more");
        warn!(event = "c");
    "#;
    let found = in_text(text);
    let fields = ["x", "y", "z", "counts.seen"].map(str::to_owned).to_vec();
    assert_eq!(found[0], ("a.b".to_owned(), "info".to_owned(), fields));
    assert_eq!(found[1], ("c".to_owned(), "warn".to_owned(), Vec::new()));
}
