//! A value that must never be seen: no `Display`, no `Serialize`, a redacted `Debug`.

mod place;

pub use place::SecretRef;

use std::borrow::Cow;
use std::fmt;

/// A password, key or URL with credentials. Reading it takes a visible call to [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself; for the one call that needs it, never for a message.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `text` with the passwords of URLs (`scheme://user:password@`) and of `password=…` pairs replaced: the last guard
/// before a text that others wrote is shown.
pub fn redact(text: &str) -> Cow<'_, str> {
    let urls = redact_urls(text);
    match redact_pairs(&urls) {
        Some(pairs) => Cow::Owned(pairs),
        None => urls,
    }
}

fn redact_urls(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        rest = after;
        // Up to the last '@' before a blank or quote: a password may itself hold '/' or '@' that nobody encoded.
        let end = after.find(|c: char| c.is_whitespace() || "\"'<>`".contains(c)).unwrap_or(after.len());
        if let Some(host) = after[..end].rfind('@')
            && let Some(colon) = after[..host].find(':')
        {
            shown.push_str(&after[..=colon]);
            shown.push('…');
            rest = &after[host..];
        }
    }
    if shown.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(shown + rest) }
}

fn redact_pairs(text: &str) -> Option<String> {
    const KEY: &str = "password=";
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.to_ascii_lowercase().find(KEY) {
        let (before, after) = rest.split_at(at + KEY.len());
        shown.push_str(before);
        shown.push('…');
        let quoted = after.strip_prefix('\'').and_then(|inner| inner.find('\'').map(|end| end + 2));
        let bare = || after.find(|c: char| c.is_whitespace() || c == '&').unwrap_or(after.len());
        rest = &after[quoted.unwrap_or_else(bare)..];
    }
    (!shown.is_empty()).then(|| shown + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_and_pairs_are_replaced_and_nothing_else_is() {
        for (text, shown) in [
            ("no backup of postgres://eva:hun/t@er@db:5432/shop?x=1", "no backup of postgres://eva:…@db:5432/shop?x=1"),
            ("s3://bucket/prefix and postgres://db/shop", "s3://bucket/prefix and postgres://db/shop"),
            ("host=db password='a b' user=eva", "host=db password=… user=eva"),
            ("postgres://db/shop?password=x&sslmode=require", "postgres://db/shop?password=…&sslmode=require"),
            ("PASSWORD=x", "PASSWORD=…"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(redact(text), shown);
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_value() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[redacted]");
    }
}
