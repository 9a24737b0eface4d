//! Text in the characters that banks take.

use deunicode::deunicode;

/// The text in printable ASCII, on one line and without double spaces: letters with accents lose
/// them, other scripts are spelled in Latin letters, and what has no spelling is left out. May be
/// empty.
pub fn printable(text: &str) -> String {
    // Pictures have names too ("grinning"), which no bank should read as a payee's.
    let is_picture = |c: char| c >= '\u{2190}' && !c.is_alphanumeric();
    let spelled = deunicode(&text.replace(|c: char| c.is_control() || is_picture(c), " "));
    let spelled = spelled.replace(|c: char| c.is_ascii_control() || !c.is_ascii(), " ");
    spelled.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text in the characters that every bank takes in an ISO 20022 message (the SWIFT set X):
/// letters, digits, spaces and `/-?:().,'+`. Other characters become spaces.
pub fn swift(text: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || " /-?:().,'+".contains(c);
    let spelled = printable(text).replace('&', "+").replace(|c| !is_allowed(c), " ");
    spelled.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a text says nothing: it has neither letters nor digits.
pub fn is_blank(text: &str) -> bool {
    !text.bytes().any(|b| b.is_ascii_alphanumeric())
}

/// The first `most` characters of an ASCII text, without a space at the end.
pub fn cut(text: &str, most: usize) -> &str {
    text.get(..most).unwrap_or(text).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_script_become_ascii() {
        for (name, ascii) in [
            ("Zoë Müller-Ångström", "Zoe Muller-Angstrom"),
            ("  Łukasz\t\nŻółć ", "Lukasz Zolc"),
            ("Straße", "Strasse"),
            ("O’Brien “X”", "O'Brien \"X\""),
            ("\u{1}\u{7f}", ""),
            ("Zoë 😀🎉", "Zoe"),
        ] {
            assert_eq!(printable(name), ascii);
        }
        for name in ["北京", "Дмитрий", "أحمد", "さくら"] {
            assert!(printable(name).bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{name}");
            assert!(!printable(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn what_a_bank_does_not_take_becomes_a_space() {
        assert_eq!(swift("A&B \"Söhne\" <GmbH>; #1"), "A+B Sohne GmbH 1");
    }

    #[test]
    fn a_cut_text_does_not_end_in_a_space() {
        assert_eq!(cut("ALEX AFFILIATE", 5), "ALEX");
        assert_eq!(cut("ALEX", 5), "ALEX");
    }
}
