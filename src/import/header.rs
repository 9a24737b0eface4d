//! The three kinds of file, told apart by their header. A header that is not exactly right
//! means that the columns may not be what they seem, so nothing of the file is taken.

use std::fmt;

use thiserror::Error;

use super::RowError;
use super::fields::Splitter;

/// The last column of a rejects file; an input may have it, and what it says is not read.
pub(super) const REJECT_REASON: &str = "reject_reason";

/// Most characters of a header that an error repeats.
const LONGEST_SHOWN: usize = 300;

pub(super) const PROGRAM_COLUMNS: [&str; 7] =
    ["program", "title", "currency", "hold_days", "min_payout", "auto_credit", "auto_payout"];

/// A column that a file of programs may have after the others.
pub(super) const TIMEZONE: &str = "timezone";

pub(super) const AFFILIATE_COLUMNS: [&str; 10] = [
    "affiliate_id",
    "program",
    "partner_id",
    "name",
    "email",
    "code",
    "status",
    "method",
    "destination",
    "method_status",
];

pub(super) const COMMISSION_COLUMNS: [&str; 7] = [
    "commission_id",
    "affiliate_id",
    "order_id",
    "order_amount",
    "amount",
    "currency",
    "converted_at",
];

/// What a file brings in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    Programs,
    Affiliates,
    Commissions,
}

/// A header that was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: FileKind,
    /// Whether programs say their time zone, in a column after the others.
    pub has_timezone: bool,
    /// Whether the file is a rejects file come back, with the reason as its last column.
    pub has_reason: bool,
}

/// A header that is missing or not exactly what it must be. Nothing of the file was taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    #[error("{file}: there is no header; expected \"{}\"", kind.columns().join(","))]
    Missing { file: String, kind: FileKind },
    #[error(
        "{file}: column {position} of the header is {}, expected {}; expected \"{}\", \
         found \"{found}\"",
        quoted_or_nothing(found_column.as_deref()),
        quoted_or_nothing(kind.columns().get(position - 1).copied()),
        kind.columns().join(",")
    )]
    Wrong {
        file: String,
        kind: FileKind,
        /// The first column that differs, counted from 1.
        position: usize,
        /// What stands there; `None` if the header is too short.
        found_column: Option<String>,
        /// The header as it was found, shortened if it is huge.
        found: String,
    },
}

impl FileKind {
    /// Every kind, in the order in which they must be brought in.
    pub const ALL: [Self; 3] = [Self::Programs, Self::Affiliates, Self::Commissions];

    /// The columns of such a file, in their order.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Programs => &PROGRAM_COLUMNS,
            Self::Affiliates => &AFFILIATE_COLUMNS,
            Self::Commissions => &COMMISSION_COLUMNS,
        }
    }

    /// The name under which `import` looks for such a file.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Programs => "programs.csv",
            Self::Affiliates => "affiliates.csv",
            Self::Commissions => "commissions.csv",
        }
    }
}

/// `programs`, `affiliates` or `commissions`.
impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Programs => "programs",
            Self::Affiliates => "affiliates",
            Self::Commissions => "commissions",
        })
    }
}

impl Header {
    /// How many fields each row must have.
    pub(super) fn width(self) -> usize {
        self.kind.columns().len() + usize::from(self.has_timezone) + usize::from(self.has_reason)
    }

    /// The columns that are read, in their order.
    pub(super) fn columns(self) -> impl Iterator<Item = &'static str> {
        let timezone = self.has_timezone.then_some(TIMEZONE);
        self.kind.columns().iter().copied().chain(timezone)
    }

    /// Holds the header `line` of `file` against the columns of `kind`; `None` is an empty file.
    ///
    /// # Errors
    /// [`HeaderError`] if it is not exactly theirs, with or without a `timezone` of programs and a last
    /// `reject_reason`.
    pub fn parse(kind: FileKind, file: &str, line: Option<&[u8]>) -> Result<Self, HeaderError> {
        let expected = kind.columns();
        let file = file.to_owned();
        let Some(line) = line else { return Err(HeaderError::Missing { file, kind }) };
        let found = columns_of(line);
        let same = expected.iter().zip(&found).take_while(|(left, right)| left == right).count();
        let rest: Vec<_> = found[same..].iter().map(String::as_str).collect();
        let is_whole = same == expected.len();
        let has_timezone =
            is_whole && kind == FileKind::Programs && rest.first() == Some(&TIMEZONE);
        match &rest[usize::from(has_timezone)..] {
            [] if is_whole => Ok(Self { kind, has_timezone, has_reason: false }),
            [REJECT_REASON] if is_whole => Ok(Self { kind, has_timezone, has_reason: true }),
            _ => Err(HeaderError::Wrong {
                file,
                kind,
                position: same + 1,
                found_column: rest.first().map(|column| shortened(column)),
                found: shortened(&String::from_utf8_lossy(line)),
            }),
        }
    }
}

/// Tells which kind of file the header `line` of `file` belongs to; `None` is an empty file.
///
/// # Errors
/// [`HeaderError`], against the kind that it resembles most, if it is none of the three.
pub fn identify(file: &str, line: Option<&[u8]>) -> Result<Header, HeaderError> {
    let parsed = FileKind::ALL.map(|kind| Header::parse(kind, file, line));
    let [programs, affiliates, commissions] = parsed;
    let nearest = |left, right| match (left, right) {
        (Ok(header), _) | (_, Ok(header)) => Ok(header),
        (Err(left), Err(right)) => {
            Err(if matching(&right) > matching(&left) { right } else { left })
        }
    };
    nearest(nearest(programs, affiliates), commissions)
}

/// How many columns were right before the first wrong one.
fn matching(error: &HeaderError) -> usize {
    match error {
        HeaderError::Missing { .. } => 0,
        HeaderError::Wrong { position, .. } => position - 1,
    }
}

fn columns_of(line: &[u8]) -> Vec<String> {
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    match Splitter::new().split(line, &[]) {
        Ok(record) => record.iter().map(text).collect(),
        // A header with a stray quote is wrong whatever its columns are.
        Err(RowError { .. }) => vec![text(line)],
    }
}

fn quoted_or_nothing(column: Option<&str>) -> String {
    column.map_or_else(|| "nothing".to_owned(), |column| format!("\"{column}\""))
}

/// `text` with control characters escaped, cut where it gets too long to be read.
fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    let escape = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.into() };
    shown.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMISSIONS: &str =
        "commission_id,affiliate_id,order_id,order_amount,amount,currency,converted_at";

    fn identified(line: &str) -> Result<Header, HeaderError> {
        identify("some.csv", Some(line.as_bytes()))
    }

    #[test]
    fn each_kind_is_known_by_its_header_with_and_without_reasons() {
        for kind in FileKind::ALL {
            let line = kind.columns().join(",");
            let header = Header { kind, has_timezone: false, has_reason: false };
            assert_eq!(identified(&line), Ok(header));
            let line = format!("{line},reject_reason");
            assert_eq!(identified(&line), Ok(Header { has_reason: true, ..header }));
        }
        let line = format!("{},timezone", PROGRAM_COLUMNS.join(","));
        let kind = FileKind::Programs;
        let header = Header { kind, has_timezone: true, has_reason: false };
        assert_eq!(identified(&line), Ok(header));
        let line = format!("{line},reject_reason");
        assert_eq!(identified(&line), Ok(Header { has_reason: true, ..header }));
        identified(&format!("{COMMISSIONS},timezone")).expect_err("no column of commissions");
        let quoted =
            COMMISSIONS.replace("amount", "\"amount\"").replace("order_\"amount\"", "order_amount");
        assert_eq!(
            identified(&quoted).expect("quotes are no difference").kind,
            FileKind::Commissions
        );
    }

    #[test]
    fn an_empty_file_is_named_with_the_header_it_should_have() {
        let error = Header::parse(FileKind::Commissions, "commissions.csv", None);
        let expected = format!("commissions.csv: there is no header; expected \"{COMMISSIONS}\"");
        assert_eq!(error.expect_err("empty").to_string(), expected);
        assert!(identify("x.csv", None).is_err());
    }

    #[test]
    fn the_first_column_that_differs_is_named() {
        let line = COMMISSIONS.replace(",amount", ",amout");
        let message = identified(&line).expect_err("misspelt").to_string();
        assert_eq!(
            message,
            format!(
                "some.csv: column 5 of the header is \"amout\", expected \"amount\"; \
                 expected \"{COMMISSIONS}\", found \"{line}\""
            )
        );
        for (line, part) in [
            (COMMISSIONS.replace(",converted_at", ""), "column 7 of the header is nothing"),
            (format!("{COMMISSIONS},note"), "column 8 of the header is \"note\", expected nothing"),
            (format!("{COMMISSIONS},reject_reason,x"), "column 8"),
            (COMMISSIONS.to_uppercase(), "column 1"),
            (COMMISSIONS.replace(',', ";"), "column 1"),
            (COMMISSIONS.replace(",order_id,order_amount", ",order_amount,order_id"), "column 3"),
            (format!("\"{COMMISSIONS}"), "column 1"),
        ] {
            let message = identified(&line).expect_err("wrong").to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_header_of_another_kind_is_wrong_for_this_one() {
        let parsed =
            Header::parse(FileKind::Programs, "programs.csv", Some(COMMISSIONS.as_bytes()));
        assert!(parsed.expect_err("not programs").to_string().contains("expected \"program\""));
    }

    #[test]
    fn a_huge_or_broken_header_is_shown_short_and_harmless() {
        let message = identified(&"x,".repeat(100_000)).expect_err("huge").to_string();
        assert!(message.len() < 1_500, "{}", message.len());
        let error = identify("x.csv", Some(b"\xFF\x00\x1B[31m,")).expect_err("broken");
        assert!(!error.to_string().contains(char::is_control));
    }
}
