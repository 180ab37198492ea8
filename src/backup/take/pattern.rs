//! Which tables a user means: `name`, `schema.name`, with `*` and `?`.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A pattern for tables. A part in double quotes is taken as it is; without quotes letters fold to lower case, as
/// in SQL. A pattern without a schema means that table in every schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TablePattern {
    text: String,
    schema: Option<Part>,
    table: Part,
}

/// One part of a pattern: each character as it is or as a wildcard.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part(Vec<Glyph>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Glyph {
    Is(char),
    One,
    Any,
}

impl TablePattern {
    /// Whether it means this table.
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        self.table.matches(table) && self.schema.as_ref().is_none_or(|part| part.matches(schema))
    }
}

impl Part {
    fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut at, mut taken) = (0, 0);
        // Where the last `*` stands and how much of the name it has swallowed so far.
        let mut star: Option<(usize, usize)> = None;
        while taken < name.len() {
            match self.0.get(at) {
                Some(Glyph::Any) => {
                    star = Some((at, taken));
                    at += 1;
                }
                Some(Glyph::One) => (at, taken) = (at + 1, taken + 1),
                Some(Glyph::Is(c)) if *c == name[taken] => (at, taken) = (at + 1, taken + 1),
                _ => {
                    let Some((place, swallowed)) = star else { return false };
                    star = Some((place, swallowed + 1));
                    (at, taken) = (place + 1, swallowed + 1);
                }
            }
        }
        self.0[at..].iter().all(|glyph| *glyph == Glyph::Any)
    }
}

impl FromStr for TablePattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::input(format!("reading {text:?} as a pattern for tables: {why}"))
                .hint("write name, schema.name or \"Quoted Schema\".\"Quoted Name\"; * and ? stand for any letters")
        };
        let mut parts = vec![Vec::new()];
        let mut quoted = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let part = parts.last_mut().ok_or_else(|| wrong("it has no part"))?;
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    part.push(Glyph::Is('"'));
                }
                '"' => quoted = !quoted,
                _ if quoted => part.push(Glyph::Is(c)),
                '.' => parts.push(Vec::new()),
                '*' => part.push(Glyph::Any),
                '?' => part.push(Glyph::One),
                _ => part.extend(c.to_lowercase().map(Glyph::Is)),
            }
        }
        if quoted {
            return Err(wrong("a quote is not closed"));
        }
        if parts.iter().any(Vec::is_empty) {
            return Err(wrong("a part of it is empty"));
        }
        let mut parts = parts.into_iter().map(Part);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(table), None, None) => Ok(Self { text: text.to_owned(), schema: None, table }),
            (Some(schema), Some(table), None) => Ok(Self { text: text.to_owned(), schema: Some(schema), table }),
            _ => Err(wrong("it has more than two parts")),
        }
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for TablePattern {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<TablePattern> for String {
    fn from(pattern: TablePattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, schema: &str, table: &str) -> bool {
        pattern.parse::<TablePattern>().unwrap().matches(schema, table)
    }

    #[test]
    fn a_name_without_a_schema_means_every_schema() {
        assert!(matches("orders", "public", "orders"));
        assert!(matches("orders", "shop", "orders"));
        assert!(!matches("public.orders", "shop", "orders"));
    }

    #[test]
    fn letters_fold_unless_quoted_and_quotes_switch_wildcards_off() {
        assert!(matches("Public.ORDERS", "public", "orders"));
        assert!(!matches("\"Orders\"", "public", "orders"));
        assert!(matches("\"a.b*\".\"say \"\"hi\"\"\"", "a.b*", "say \"hi\""));
        assert!(!matches("\"log*\"", "public", "log_2026"));
    }

    #[test]
    fn wildcards_match_any_letters() {
        assert!(matches("log_*", "public", "log_"));
        assert!(matches("*.log_????", "audit", "log_2026"));
        assert!(!matches("log_????", "audit", "log_26"));
        assert!(matches("*a*b*", "s", "xxaxxbxbxx"));
        assert!(!matches("*a*b", "s", "xxaxxbxbxx"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", ".", "a.", ".b", "a.b.c", "\"a"] {
            assert!(text.parse::<TablePattern>().is_err(), "{text}");
        }
    }
}
