//! Elements by their local names.

use chrono::NaiveDate;
use roxmltree::Node;

use crate::domain::{Currency, Money};

/// An element of a message.
pub(super) type Element<'a, 'input> = Node<'a, 'input>;

/// The children of that name, in order.
pub(super) fn children<'a, 'input: 'a>(
    node: Element<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Element<'a, 'input>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// The first element at the end of a path of names (`Sts/Cd`).
pub(super) fn find<'a, 'input: 'a>(
    node: Element<'a, 'input>,
    path: &'static str,
) -> Option<Element<'a, 'input>> {
    path.split('/').try_fold(node, |node, name| children(node, name).next())
}

/// The text at the end of a path, without spaces around; `None` if there is none.
pub(super) fn text<'a, 'input: 'a>(
    node: Element<'a, 'input>,
    path: &'static str,
) -> Option<&'a str> {
    find(node, path)?.text().map(str::trim).filter(|text| !text.is_empty())
}

/// The same, owned.
pub(super) fn string(node: Element<'_, '_>, path: &'static str) -> Option<String> {
    text(node, path).map(str::to_owned)
}

/// A code and nothing else: its `Cd`, its `Prtry`, or its own text in older versions.
pub(super) fn code(node: Element<'_, '_>, path: &'static str) -> Option<String> {
    let element = find(node, path)?;
    let own = element.text().map(str::trim).filter(|text| !text.is_empty());
    text(element, "Cd").or_else(|| text(element, "Prtry")).or(own).map(str::to_owned)
}

/// A date, or the date of an instant, as it stands in the text.
pub(super) fn date(node: Element<'_, '_>, path: &'static str) -> Option<NaiveDate> {
    let element = find(node, path)?;
    let own = element.text().map(str::trim).filter(|text| !text.is_empty());
    let text = text(element, "Dt").or_else(|| text(element, "DtTm")).or(own)?;
    text.get(..10)?.parse().ok()
}

/// An amount with its currency.
///
/// # Errors
/// What is wrong with it. An amount that its currency cannot express is never rounded.
pub(super) fn money(element: Element<'_, '_>) -> Result<Money, String> {
    let currency = element.attribute("Ccy").unwrap_or_default();
    let currency: Currency = currency.parse().map_err(|error| format!("{error}"))?;
    let text = element.text().unwrap_or_default().trim();
    money_of(text, currency)
}

/// An amount whose currency stands elsewhere. Zeros at the end say nothing: `1.50000` is 1.50.
pub(super) fn money_of(text: &str, currency: Currency) -> Result<Money, String> {
    let shortest = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    };
    Money::parse(shortest, currency).map_err(|error| format!("{error}"))
}
