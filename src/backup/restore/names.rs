//! Finds the tables a user names, and the nearest one for a name that is none.

use crate::error::{Error, Result};
use crate::postgres::quote;
use serde::{Deserialize, Serialize};

/// A table's schema and name, as the server has them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(in crate::backup) struct TableKey {
    pub(in crate::backup) schema: String,
    pub(in crate::backup) table: String,
}

impl TableKey {
    pub(in crate::backup) fn new(schema: &str, table: &str) -> Self {
        Self { schema: schema.to_owned(), table: table.to_owned() }
    }

    /// As SQL wants it.
    pub(in crate::backup) fn sql(&self) -> String {
        quote::qualified(&self.schema, &self.table)
    }
}

impl std::fmt::Display for TableKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// Which of `known` is meant by `wanted`: `schema.table` or `table`, quoted as SQL has it or written as it is.
pub(super) fn find(wanted: &str, known: &[TableKey]) -> Result<TableKey> {
    let mut meant: Vec<&TableKey> = known.iter().filter(|key| key.to_string() == wanted).collect();
    if meant.is_empty() {
        let (schema, table) = parts(wanted);
        let matches = |key: &&TableKey| key.table == table && schema.as_ref().is_none_or(|name| *name == key.schema);
        meant = known.iter().filter(matches).collect();
    }
    match meant[..] {
        [one] => Ok(one.clone()),
        [] => Err(unknown(wanted, known)),
        [one, ..] => Err(Error::input(format!("finding table {wanted}: there are {} of that name", meant.len()))
            .hint(format!("name its schema, such as {one}"))),
    }
}

fn unknown(wanted: &str, known: &[TableKey]) -> Error {
    let error = Error::input(format!("finding table {wanted}: the recovery point has none of that name"));
    let bare = |name: &str| name.to_lowercase();
    let distance = |key: &&TableKey| {
        let name = if wanted.contains('.') { key.to_string() } else { key.table.clone() };
        strsim::damerau_levenshtein(&bare(&name), &bare(wanted))
    };
    match known.iter().min_by_key(distance) {
        Some(nearest) => error.hint(format!("the nearest is {nearest}")),
        None => error.hint("it holds no tables at all"),
    }
}

/// Schema and name as SQL reads them: unquoted parts in lower case.
fn parts(wanted: &str) -> (Option<String>, String) {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut signs = wanted.chars().peekable();
    while let Some(sign) = signs.next() {
        let part = parts.last_mut();
        match sign {
            '"' if quoted && signs.next_if_eq(&'"').is_some() => part.into_iter().for_each(|part| part.push('"')),
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            sign if quoted => part.into_iter().for_each(|part| part.push(sign)),
            sign => part.into_iter().for_each(|part| part.extend(sign.to_lowercase())),
        }
    }
    let table = parts.pop().unwrap_or_default();
    (parts.pop(), table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<TableKey> {
        [("public", "orders"), ("public", "customers"), ("Odd \"S\"", "a.b"), ("old", "orders")]
            .map(|(schema, table)| TableKey::new(schema, table))
            .to_vec()
    }

    #[test]
    fn a_table_is_found_quoted_unquoted_and_without_its_schema() {
        let table = [
            ("public.orders", "public.orders"),
            ("PUBLIC.Orders", "public.orders"),
            ("customers", "public.customers"),
            ("\"Odd \"\"S\"\"\".\"a.b\"", "Odd \"S\".a.b"),
            ("Odd \"S\".a.b", "Odd \"S\".a.b"),
        ];
        for (wanted, found) in table {
            assert_eq!(find(wanted, &known()).unwrap().to_string(), found, "{wanted}");
        }
    }

    #[test]
    fn the_nearest_name_is_told_for_one_that_is_not_there() {
        for (wanted, nearest) in [("public.ordres", "public.orders"), ("customer", "public.customers")] {
            let error = find(wanted, &known()).unwrap_err();
            assert_eq!(error.hint_text(), Some(format!("the nearest is {nearest}").as_str()));
        }
        let ambiguous = find("orders", &known()).unwrap_err();
        assert!(ambiguous.to_string().contains("there are 2"), "{ambiguous}");
    }
}
