//! Lists of transfers, all pages of them.

use super::call::{Line, Question, Unread};
use super::wire::{Page, Transfer};
use crate::providers::Problem;

/// Transfers on one page; Stripe gives 1 to 100.
const PAGE_SIZE: usize = 100;
/// More transfers than this are a mistake in the question.
const MAX_PAGES: usize = 1_000;

/// Every transfer that fits `filter`, the latest first.
///
/// # Errors
/// [`Unread`] if one of the pages cannot be had, or there is no end of them.
pub(super) async fn transfers(
    line: &Line,
    filter: &[(&str, String)],
) -> Result<Vec<Transfer>, Unread> {
    let mut all: Vec<Transfer> = Vec::new();
    for _ in 0..MAX_PAGES {
        let mut query = filter.to_vec();
        query.push(("limit", PAGE_SIZE.to_string()));
        if let Some(last) = all.last() {
            query.push(("starting_after", last.id.clone()));
        }
        let question = Question { query: &query, ..Question::of(&["v1", "transfers"]) };
        let page: Page<Transfer> = line.read(question).await?;
        let more = page.has_more && !page.data.is_empty();
        all.extend(page.data);
        if !more {
            return Ok(all);
        }
    }
    let words = format!("the list goes on after {MAX_PAGES} pages of {PAGE_SIZE} transfers");
    Err(Unread::Unclear(Problem::new("too_many_pages", words)))
}
