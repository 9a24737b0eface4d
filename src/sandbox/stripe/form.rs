//! Stripe's parameters: `a=1&b[c]=2&d[]=3`, in a body or a query.

use std::collections::BTreeMap;

use super::Refusal;

/// Parameters that were given and not asked for yet. Whatever is left at the end is unknown.
#[derive(Debug, Clone, Default)]
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads `application/x-www-form-urlencoded` text.
    ///
    /// # Errors
    /// A refusal if a parameter is given twice: nobody can know which one was meant.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut given = BTreeMap::new();
        for (index, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let mut name = decode(name);
            if let Some(list) = name.strip_suffix("[]") {
                name = format!("{list}[{index}]");
            }
            if given.insert(name.clone(), decode(value)).is_some() {
                return Err(Refusal::duplicate_parameter(&name));
            }
        }
        Ok(Self(given))
    }

    /// All of it in one text, in one order: the same for the same parameters.
    pub(super) fn canonical(&self) -> String {
        format!("{:?}", self.0)
    }

    /// A parameter; empty is as good as none.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|text| !text.is_empty())
    }

    /// A parameter that must be there.
    pub(super) fn required(&mut self, name: &str) -> Result<String, Refusal> {
        self.text(name).ok_or_else(|| Refusal::missing(name))
    }

    /// A whole number.
    pub(super) fn integer(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Refusal::not_an_integer(name, &text))
    }

    /// The members of `name[…]`.
    pub(super) fn members(&mut self, name: &str) -> BTreeMap<String, String> {
        let start = format!("{name}[");
        let keys: Vec<_> = self.0.keys().filter(|key| key.starts_with(&start)).cloned().collect();
        let member = |key: String| {
            let value = self.0.remove(&key)?;
            let inner = key.strip_prefix(&start)?.strip_suffix(']')?.to_owned();
            Some((inner, value))
        };
        keys.into_iter().filter_map(member).collect()
    }

    /// Metadata, within Stripe's limits.
    pub(super) fn metadata(&mut self) -> Result<BTreeMap<String, String>, Refusal> {
        let metadata = self.members("metadata");
        let too_long = |(name, value): (&String, &String)| {
            name.chars().count() > 40 || value.chars().count() > 500
        };
        if metadata.len() > 50 || metadata.iter().any(too_long) {
            let words = "Metadata can have up to 50 keys of up to 40 characters, with values of \
                         up to 500 characters.";
            return Err(Refusal::invalid("metadata", words));
        }
        Ok(metadata)
    }

    /// Nothing may be left.
    pub(super) fn end(mut self) -> Result<(), Refusal> {
        // What would be expanded is ids only here.
        self.members("expand");
        self.0.keys().next().map_or(Ok(()), |name| Err(Refusal::unknown_parameter(name)))
    }
}

/// Decodes `+` and `%41`; what is no code is kept as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = code.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let (read, length) = match (byte, code) {
            (b'%', Some(code)) => (code, 3),
            (b'+', _) => (b' ', 1),
            _ => (*byte, 1),
        };
        decoded.push(read);
        at += length;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Whether a form gives this value to any of its parameters.
pub(in crate::sandbox) fn gives(body: &[u8], value: &str) -> bool {
    let text = String::from_utf8_lossy(body);
    text.split('&').filter_map(|pair| pair.split_once('=')).any(|(_, given)| decode(given) == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_gives_each_parameter_once_and_the_rest_is_unknown() {
        let mut form =
            Form::parse("a=1&metadata%5Bk%5D=v+w%C3%A9&expand[]=x&expand[]=y&b=").expect("a form");
        assert_eq!(form.integer("a").expect("a number"), Some(1));
        assert_eq!(form.metadata().expect("short")["k"], "v wé");
        assert_eq!(form.text("b"), None);
        form.end().expect("nothing is left");
        assert!(Form::parse("a=1&a=2").is_err());
        assert!(Form::parse("q=1").expect("a form").end().is_err());
        assert_eq!(decode("%zz%4"), "%zz%4");
        assert!(gives(b"x=1&destination=acct%5F1", "acct_1"));
    }
}
