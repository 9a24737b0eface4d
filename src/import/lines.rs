//! A file as lines of bytes, numbered from 1, in bounded memory however long a line is.

use std::io::{self, BufRead, Read};

/// What a file saved by a spreadsheet may begin with.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The lines of an input. Line endings (LF or CRLF) are not part of them.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    /// Most bytes of a line that are held at once.
    longest: usize,
    piece: Vec<u8>,
    /// Whether `piece` reaches to the end of its line.
    ended: bool,
    number: u64,
    bytes_read: u64,
}

/// One line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// The beginning of one too long to be held; [`Lines::next_piece`] has the rest.
    TooLong(&'a [u8]),
}

impl<R: BufRead> Lines<R> {
    /// The lines of `input`; one with more than `longest` bytes is [`Line::TooLong`].
    pub fn new(input: R, longest: usize) -> Self {
        Self { input, longest, piece: Vec::new(), ended: true, number: 0, bytes_read: 0 }
    }

    /// The number of the line at hand, blank ones counted.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes taken from the input so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Most bytes that a line may have.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The next line that is not blank, or `None` at the end. What is left of a long line that
    /// was not read to its end is skipped.
    ///
    /// # Errors
    /// Those of the input.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            while !self.ended {
                self.read_piece()?;
            }
            if self.read_piece()? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.number == 1 && self.piece.starts_with(BYTE_ORDER_MARK) {
                self.piece.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.ended {
                return Ok(Some(Line::TooLong(&self.piece)));
            }
            if !self.piece.trim_ascii().is_empty() {
                return Ok(Some(Line::Whole(&self.piece)));
            }
        }
    }

    /// The next piece of a long line, or `None` when all of it was handed out.
    ///
    /// # Errors
    /// Those of the input.
    pub fn next_piece(&mut self) -> io::Result<Option<&[u8]>> {
        if self.ended {
            return Ok(None);
        }
        self.read_piece()?;
        Ok(Some(&self.piece))
    }

    /// Reads to the end of the line or for `longest` bytes, whichever comes first, and returns
    /// how many bytes that took. At the end of the input it is none.
    fn read_piece(&mut self) -> io::Result<u64> {
        self.piece.clear();
        let mut limited = self.input.by_ref().take(self.longest as u64);
        let mut taken = limited.read_until(b'\n', &mut self.piece)? as u64;
        self.ended = true;
        if self.piece.last() == Some(&b'\n') {
            self.piece.pop();
        } else if self.piece.len() == self.longest {
            // A line of exactly this length has ended too: only the byte after it can tell.
            match self.input.fill_buf()?.first() {
                None => {}
                Some(b'\n') => {
                    self.input.consume(1);
                    taken += 1;
                }
                Some(_) => self.ended = false,
            }
        }
        if self.ended && self.piece.last() == Some(&b'\r') {
            self.piece.pop();
        }
        self.bytes_read += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every line with its number, long ones put together from their pieces and marked.
    fn read(input: &[u8], longest: usize) -> Vec<(u64, bool, Vec<u8>)> {
        let mut lines = Lines::new(input, longest);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().expect("memory is readable") {
            let (long, mut bytes) = match line {
                Line::Whole(bytes) => (false, bytes.to_vec()),
                Line::TooLong(start) => (true, start.to_vec()),
            };
            while let Some(piece) = lines.next_piece().expect("memory is readable") {
                assert!(piece.len() <= longest);
                bytes.extend_from_slice(piece);
            }
            found.push((lines.number(), long, bytes));
        }
        assert_eq!(lines.bytes_read(), input.len() as u64);
        found
    }

    fn texts(input: &[u8]) -> Vec<String> {
        let lines = read(input, 100);
        lines.into_iter().map(|(_, _, bytes)| String::from_utf8_lossy(&bytes).into()).collect()
    }

    #[test]
    fn line_endings_of_both_kinds_and_a_missing_last_one_are_no_part_of_a_line() {
        assert_eq!(texts(b"a\nb\r\nc"), ["a", "b", "c"]);
        assert_eq!(texts(b"a\nb\r\nc\r\n"), ["a", "b", "c"]);
        assert_eq!(texts(b"a\rb\nc\r"), ["a\rb", "c"], "a lone return is no line ending");
    }

    #[test]
    fn a_byte_order_mark_is_dropped_at_the_start_and_nowhere_else() {
        assert_eq!(texts(b"\xEF\xBB\xBFa\n\xEF\xBB\xBFb\n"), ["a", "\u{feff}b"]);
    }

    #[test]
    fn blank_lines_are_skipped_and_counted() {
        let found = read(b"\n \r\na\n\n\t\nb", 100);
        let numbers: Vec<_> = found.iter().map(|(number, _, _)| *number).collect();
        assert_eq!(numbers, [3, 6]);
        assert_eq!(read(b"", 100), []);
        assert_eq!(read(b"\n\n", 100), []);
    }

    #[test]
    fn only_a_line_over_the_limit_is_too_long_and_the_next_one_is_whole_again() {
        for ending in ["\n", "\r\n", ""] {
            let found = read(format!("1234\nab{ending}").as_bytes(), 4);
            assert_eq!(found, [(1, false, b"1234".to_vec()), (2, false, b"ab".to_vec())]);
            let found = read(format!("12345678\r9{ending}\nab").as_bytes(), 4);
            assert_eq!(found[0], (1, true, b"12345678\r9".to_vec()));
            assert_eq!(found.last().expect("two lines").2, b"ab");
        }
    }

    #[test]
    fn a_long_line_that_nobody_wants_is_skipped() {
        let mut lines = Lines::new(&b"123456789\nab"[..], 4);
        assert_eq!(lines.next_line().expect("readable"), Some(Line::TooLong(b"1234")));
        assert_eq!(lines.next_line().expect("readable"), Some(Line::Whole(b"ab")));
        assert_eq!(lines.next_line().expect("readable"), None);
        assert_eq!(lines.next_line().expect("readable"), None);
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_whole_input_whatever_the_limit(
            input in prop::collection::vec(prop::sample::select(b"ab\r\n ".to_vec()), 0..60),
            longest in 1..10_usize,
        ) {
            let whole = input.split(|byte| *byte == b'\n');
            let whole = whole.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            let expected: Vec<_> = whole.filter(|line| !line.trim_ascii().is_empty()).collect();
            let found = read(&input, longest);
            let found: Vec<_> = found.iter().map(|(_, _, bytes)| bytes.as_slice())
                .filter(|line| !line.trim_ascii().is_empty()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
