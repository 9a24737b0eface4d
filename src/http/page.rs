//! Lists: pages that are told apart by the last key of the one before, never by an offset.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;

/// Rows on a page, where nobody asks for another number.
const USUAL: i64 = 50;
/// The most rows on a page.
const MOST: i64 = 200;

/// Which page of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<i64>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}

/// A page of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    pub data: Vec<T>,
    /// What asks for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// How many rows are wanted.
///
/// # Errors
/// 400 if it is not 1 to 200.
pub(super) fn limit(asked: Option<i64>) -> Result<i64, Problem> {
    let asked = asked.unwrap_or(USUAL);
    if (1..=MOST).contains(&asked) {
        return Ok(asked);
    }
    let detail = format!("limit is {asked}: it may be 1 to {MOST}");
    Err(Problem::unreadable("bad_limit", detail))
}

/// The key that a cursor stands for; empty for the first page.
///
/// # Errors
/// 400 if it is none of ours.
pub(super) fn key(cursor: Option<&str>) -> Result<String, Problem> {
    let Some(cursor) = cursor else { return Ok(String::new()) };
    let bytes = BASE64.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    // NUL is no part of any key, and PostgreSQL takes no text with one.
    bytes.filter(|key| !key.is_empty() && !key.contains('\0')).ok_or_else(bad_cursor)
}

/// The two parts of a key that has two; empty for the first page.
///
/// # Errors
/// 400 if it is none of ours.
pub(super) fn pair(cursor: Option<&str>) -> Result<(String, String), Problem> {
    let key = key(cursor)?;
    if key.is_empty() {
        return Ok((String::new(), String::new()));
    }
    let (first, second) = key.split_once(' ').ok_or_else(bad_cursor)?;
    Ok((first.to_owned(), second.to_owned()))
}

/// 400: the cursor is none of this list's.
pub(super) fn bad_cursor() -> Problem {
    Problem::unreadable("bad_cursor", "the cursor is none that a list gave out")
}

/// A word that a list is narrowed to; empty for all.
///
/// # Errors
/// 400 if it holds what no word can: PostgreSQL takes no text with a NUL.
pub(super) fn word(asked: Option<&str>) -> Result<&str, Problem> {
    let asked = asked.unwrap_or_default();
    if asked.contains('\0') {
        return Err(Problem::unreadable("query_unreadable", "the query holds a NUL character"));
    }
    Ok(asked)
}

impl<T> Page<T> {
    /// A page of `rows`, of which one more than `limit` was asked for; `key` is a row's key.
    pub fn of<R>(
        mut rows: Vec<R>,
        limit: i64,
        key: impl Fn(&R) -> String,
        show: impl FnMut(R) -> T,
    ) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more).map(&key);
        Self {
            data: rows.into_iter().map(show).collect(),
            next_cursor: last.map(|key| BASE64.encode(key)),
        }
    }
}

impl<T, E> Page<Result<T, E>> {
    /// The page, if all of it can be shown.
    pub fn whole(self) -> Result<Page<T>, E> {
        let data = self.data.into_iter().collect::<Result<_, _>>()?;
        Ok(Page { data, next_cursor: self.next_cursor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &[&str], limit: i64) -> Page<String> {
        let rows = rows.iter().map(|row| (*row).to_owned()).collect();
        Page::of(rows, limit, String::clone, |row| row)
    }

    #[test]
    fn a_cursor_leads_to_the_key_it_was_made_of_and_the_last_page_has_none() {
        let first = page(&["a", "b/é", "c"], 2);
        assert_eq!(first.data, ["a", "b/é"]);
        assert_eq!(key(first.next_cursor.as_deref()).expect("ours"), "b/é");
        assert_eq!(page(&["a", "b"], 2).next_cursor, None);
    }

    #[test]
    fn foreign_cursors_and_limits_out_of_range_are_refused() {
        for cursor in ["!", "", "AA", "_w"] {
            key(Some(cursor)).expect_err(cursor);
        }
        for wrong in [0, -1, 201, i64::MAX] {
            limit(Some(wrong)).expect_err("out of range");
        }
        assert_eq!(limit(None).expect("usual"), 50);
    }
}
