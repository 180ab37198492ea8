//! Scripts in another encoding than UTF-8. Our sessions speak UTF-8 only, so the server is asked to convert.

use crate::error::{Error, Result};
use crate::postgres::{Session, quote};
use bytes::Bytes;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The encoding a script declares with `SET client_encoding`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-8, or nothing but ASCII: as our sessions speak.
    Utf8,
    /// Another one, by its name.
    Other(String),
}

impl Encoding {
    pub(super) fn named(name: &str) -> Self {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        if ["UTF8", "UNICODE"].iter().any(|utf8| plain.eq_ignore_ascii_case(utf8)) {
            Self::Utf8
        } else {
            Self::Other(name.to_owned())
        }
    }

    /// A statement as it can be sent: itself, or, with other letters than ASCII, in words that let the server read it.
    pub(super) fn statement<'a>(&self, text: &'a [u8], line: u64) -> Result<Cow<'a, str>> {
        match (self, std::str::from_utf8(text)) {
            (Self::Utf8, Ok(text)) => Ok(Cow::Borrowed(text)),
            (Self::Other(_), Ok(text)) if text.is_ascii() => Ok(Cow::Borrowed(text)),
            (Self::Other(name), _) => {
                // Neither quotes nor backslashes: it means the same under every setting.
                let mut sql = "DO $davit$ BEGIN EXECUTE pg_catalog.convert_from(pg_catalog.decode('".to_owned();
                for byte in text {
                    // Writing to a `String` cannot fail.
                    let _written = write!(sql, "{byte:02x}");
                }
                let _written = write!(sql, "', 'hex'), {}); END $davit$", quote::literal(name));
                Ok(Cow::Owned(sql))
            }
            (Self::Utf8, Err(_)) => Err(Error::input(format!("line {line}: text that is not UTF-8"))
                .hint("the dump says it is UTF-8; SET client_encoding at its head may be wrong")),
        }
    }

    /// A statement in UTF-8, whatever the script's encoding.
    pub(super) async fn utf8<'a>(&self, session: &Session, text: &'a [u8], line: u64) -> Result<Cow<'a, str>> {
        match self {
            Self::Other(name) if !text.is_ascii() => {
                let sql = "SELECT pg_catalog.convert_from($1, $2::text::name)";
                let row =
                    session.row(&format!("line {line}: reading a statement in {name}"), sql, &[&text, name]).await?;
                Ok(Cow::Owned(row.get(0)))
            }
            _ => self.statement(text, line),
        }
    }

    /// A COPY statement as it can be sent; its rows stay as they are and the server converts them.
    pub(super) async fn copy(&self, session: &Session, text: &Bytes, line: u64) -> Result<String> {
        let Self::Other(name) = self else { return Ok(self.statement(text, line)?.into_owned()) };
        let text = self.utf8(session, text, line).await?;
        let head = text.trim_end_matches(';').trim_end();
        if !head.to_ascii_lowercase().ends_with("from stdin") {
            return Err(Error::input(format!("line {line}: cannot read this COPY statement in {name}: {head}")));
        }
        Ok(format!("{head} WITH (ENCODING {})", quote::literal(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_that_needs_it_is_converted() {
        let latin = Encoding::named("LATIN1");
        assert_eq!(latin.statement(b"SELECT 1;", 1).unwrap(), "SELECT 1;");
        assert_eq!(
            latin.statement(b"SELECT '\xfc';", 1).unwrap(),
            "DO $davit$ BEGIN EXECUTE pg_catalog.convert_from(pg_catalog.decode('53454c4543542027fc273b', 'hex'), 'LATIN1'); END $davit$"
        );
        assert_eq!(Encoding::named("utf-8"), Encoding::Utf8);
        assert_eq!(Encoding::Utf8.statement(b"\xfc;", 7).unwrap_err().to_string(), "line 7: text that is not UTF-8");
    }
}
