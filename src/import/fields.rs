//! One line as fields. A record never goes on past its line: a stray quote costs its own row,
//! not all the good rows up to the next quote.

use std::io::{self, Read};

use csv::{ByteRecord, ReaderBuilder, Terminator};

use super::RowError;

/// Splits lines, one at a time.
pub struct Splitter {
    csv: csv::Reader<Feed>,
    record: ByteRecord,
}

/// Where the fields of a line stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How many fields there are; at least one.
    pub fields: usize,
    /// Offset of the last field, in bytes.
    pub last_at: usize,
}

/// A quote that the csv crate would let pass, by guessing what was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrayQuote {
    /// Index of the field that the quote stands in.
    pub field: usize,
    reason: &'static str,
}

impl Splitter {
    /// A splitter of comma-separated fields, quoted where they need it.
    pub fn new() -> Self {
        let csv = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            // A lone carriage return inside a line is text, and refused as such later.
            .terminator(Terminator::Any(b'\n'))
            .from_reader(Feed::default());
        let mut splitter = Self { csv, record: ByteRecord::new() };
        // The csv crate drops a byte order mark from the first record it sees. Ours is dropped
        // where the file begins; anywhere else it is text, so the first record is this one.
        splitter.split(b"-", &[]).expect("a dash is one field");
        splitter
    }

    /// The fields of `line`, which must hold no line feed and not be blank.
    ///
    /// # Errors
    /// [`RowError`] if a quote is not closed or is followed by text; the column is named after
    /// `columns`.
    pub fn split(
        &mut self,
        line: &[u8],
        columns: &'static [&'static str],
    ) -> Result<&ByteRecord, RowError> {
        shape(line).map_err(|stray| {
            let column = columns.get(stray.field).copied();
            RowError { column, reason: stray.reason.to_owned() }
        })?;
        self.csv.get_mut().refill(line);
        let read = self.csv.read_byte_record(&mut self.record);
        debug_assert!(matches!(read, Ok(true)), "memory is readable and the line is not blank");
        Ok(&self.record)
    }
}

/// Where the fields of `line` stand, if its quotes are in order.
///
/// # Errors
/// [`StrayQuote`] if a quote is not closed or is followed by text.
pub fn shape(line: &[u8]) -> Result<Shape, StrayQuote> {
    let mut shape = Shape { fields: 1, last_at: 0 };
    loop {
        let field = &line[shape.last_at..];
        let stray = |reason| StrayQuote { field: shape.fields - 1, reason };
        let length = if field.starts_with(b"\"") {
            quoted_length(field)
                .ok_or_else(|| stray("the quote opened here is not closed on this line"))?
        } else {
            field.iter().position(|byte| *byte == b',').unwrap_or(field.len())
        };
        match field.get(length) {
            None => return Ok(shape),
            Some(b',') => shape.last_at += length + 1,
            Some(_) => return Err(stray("the closing quote is followed by text")),
        }
        shape.fields += 1;
    }
}

/// Length of a field that opens with a quote, up to and with the quote that closes it.
fn quoted_length(field: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += field[at..].iter().position(|byte| *byte == b'"')?;
        if field.get(at + 1) != Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The input of the csv reader: one line at a time, so that one reader (and its tables) serves
/// a whole file.
#[derive(Debug, Default)]
struct Feed {
    line: Vec<u8>,
    at: usize,
}

impl Feed {
    fn refill(&mut self, line: &[u8]) {
        self.line.clear();
        self.line.extend_from_slice(line);
        self.line.push(b'\n');
        self.at = 0;
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&self.line[self.at..]).read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: &[&str] = &["first", "second", "third"];

    fn split(line: &str) -> Result<Vec<String>, RowError> {
        let mut splitter = Splitter::new();
        let record = splitter.split(line.as_bytes(), COLUMNS)?;
        Ok(record.iter().map(|field| String::from_utf8_lossy(field).into()).collect())
    }

    #[test]
    fn quoted_fields_may_hold_commas_and_quotes() {
        let fields = split(r#"a,"b,""c""","#).expect("well formed");
        assert_eq!(fields, ["a", r#"b,"c""#, ""]);
        assert_eq!(split(r#"6" pipe,x"#).expect("a quote inside is text"), ["6\" pipe", "x"]);
        assert_eq!(split("a\rb,c").expect("a return is text"), ["a\rb", "c"]);
    }

    #[test]
    fn a_quote_that_is_not_closed_is_refused_by_its_column() {
        for line in [r#"a,"b,c"#, r#"a,""#, r#"a,"b"","#] {
            let refused = split(line).expect_err("unclosed");
            assert_eq!(refused.column, Some("second"));
            assert_eq!(refused.reason, "the quote opened here is not closed on this line");
        }
    }

    #[test]
    fn a_closed_quote_followed_by_text_is_refused_instead_of_guessed_at() {
        let refused = split(r#"a,b,"12"3"#).expect_err("not clear");
        assert_eq!(refused.column, Some("third"));
        assert_eq!(refused.reason, "the closing quote is followed by text");
        assert_eq!(split(r#"a,b,c,"d"#).expect_err("unclosed").column, None);
    }

    #[test]
    fn one_splitter_serves_many_lines_of_any_length() {
        let mut splitter = Splitter::new();
        for length in [1, 100_000, 3, 8_191, 8_192, 8_193] {
            let line = format!("{},{}", "x".repeat(length), "y".repeat(length));
            let record = splitter.split(line.as_bytes(), COLUMNS).expect("well formed");
            assert_eq!((record.len(), record[1].len()), (2, length));
            splitter.split(b"\"", COLUMNS).expect_err("unclosed, and without effect on the next");
        }
    }

    #[test]
    fn a_byte_order_mark_is_text_like_any_other() {
        assert_eq!(split("\u{feff}").expect("well formed"), ["\u{feff}"]);
        assert_eq!(split("\u{feff}a,b").expect("well formed"), ["\u{feff}a", "b"]);
    }

    proptest! {
        #[test]
        fn the_csv_crate_sees_the_same_fields(
            line in prop::collection::vec(prop::sample::select(b"a,\"\r\0 \xEF\xBB\xBF".to_vec()), 1..20),
        ) {
            let mut splitter = Splitter::new();
            if let Ok(shape) = shape(&line) {
                let record = splitter.split(&line, COLUMNS).expect("its quotes are in order");
                prop_assert_eq!(record.len(), shape.fields);
                let last = line[shape.last_at..].to_vec();
                let mut alone = Splitter::new();
                if !last.is_empty() {
                    let alone = alone.split(&last, COLUMNS).expect("its quotes are in order");
                    prop_assert_eq!(alone.get(0), record.get(shape.fields - 1));
                }
            }
        }
    }
}
