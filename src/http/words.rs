//! What people say for the record: reasons and notes.

use super::problem::Problem;

/// The longest reason, in characters.
pub(super) const LONGEST_REASON: usize = 1_000;

/// A reason that somebody brings.
///
/// # Errors
/// 422 if it is empty or too long, or holds a control character other than a line's end (a NUL
/// cannot be stored).
pub(super) fn reason(text: &str) -> Result<&str, Problem> {
    if text.trim().is_empty() {
        return Err(unusable("it is empty"));
    }
    note(text)
}

/// A note, that may also be left empty.
///
/// # Errors
/// As [`reason`], but for the empty one.
pub(super) fn note(text: &str) -> Result<&str, Problem> {
    if text.chars().count() > LONGEST_REASON {
        return Err(unusable("it has more than 1000 characters"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(unusable("it holds a control character"));
    }
    Ok(text)
}

fn unusable(why: &str) -> Problem {
    Problem::meaningless("reason_unusable", format!("the reason cannot be kept: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_that_can_be_stored() {
        reason("ordered twice;\nthe second one was sent back").expect("usable");
        for wrong in ["", " \n", "a\0b", "a\u{7}b", &"x".repeat(1_001)] {
            reason(wrong).expect_err("unusable");
        }
        note("").expect("a note may be empty");
    }
}
