//! Roles and tablespaces of a cluster dump: what is missing on the target server is made, what is there is left as it
//! is. A role's password and powers are never changed by a restore. If the restore fails, what was made is dropped.

use crate::error::{Error, Kind, Result};
use crate::postgres::script::words::{Word, words};
use crate::postgres::{Session, quote};
use std::collections::BTreeSet;

/// One statement of the globals and its line in the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    /// The line it begins on.
    pub line: u64,
    /// Its text.
    pub text: String,
}

/// What was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Roles.
    pub roles: Vec<String>,
    /// Tablespaces.
    pub tablespaces: Vec<String>,
}

/// What a statement is about.
#[derive(Debug, PartialEq, Eq)]
enum About {
    CreateRole(String),
    Role(String),
    /// Membership in roles, for these.
    Membership(Vec<String>),
    CreateTablespace(String),
    Tablespace(String),
    /// A privilege on a setting of the server.
    Parameter,
    /// Drops something (`pg_dumpall --clean`).
    Drop,
    Other,
}

/// Makes what is missing, in the order of the dump; tablespaces only if `with_tablespaces`.
///
/// # Errors
///
/// Failed at the first statement the server refuses, after everything that was made is dropped again.
pub async fn make(server: &Session, globals: &[Global], with_tablespaces: bool) -> Result<Made> {
    let doing = "looking which roles and tablespaces are there";
    let names = async |sql: &str| -> Result<BTreeSet<String>> {
        Ok(server.rows(doing, sql, &[]).await?.iter().map(|row| row.get(0)).collect())
    };
    let roles = names("SELECT rolname::text FROM pg_catalog.pg_roles").await?;
    let tablespaces = names("SELECT spcname::text FROM pg_catalog.pg_tablespace").await?;
    let mut made = Made::default();
    for global in globals {
        let wanted = match about(&global.text) {
            About::CreateRole(name) if roles.contains(&name) => false,
            About::CreateRole(name) => {
                made.roles.push(name);
                true
            }
            About::Role(name) => made.roles.contains(&name),
            About::Membership(members) => members.iter().all(|name| made.roles.contains(name)),
            About::CreateTablespace(name) if !with_tablespaces || tablespaces.contains(&name) => false,
            About::CreateTablespace(name) => {
                made.tablespaces.push(name);
                true
            }
            About::Tablespace(name) => made.tablespaces.contains(&name),
            About::Parameter => true,
            About::Drop => false,
            About::Other => {
                let error = Error::input(format!("line {}: not a statement about roles: {}", global.line, global.text))
                    .hint("leave out --with-globals and make the roles yourself");
                return Err(undo_after(server, made, error).await);
            }
        };
        if wanted && let Err(error) = run(server, global).await {
            return Err(undo_after(server, made, error).await);
        }
    }
    Ok(made)
}

/// A tablespace is not made in a transaction, so statements go one by one.
async fn run(server: &Session, global: &Global) -> Result<()> {
    // The text of a role's statement holds its password; only its first words are shown.
    let shown: Vec<&str> = global.text.split_whitespace().take(3).collect();
    let doing = format!("line {}: {} …", global.line, shown.join(" "));
    let outcome = server.execute(&doing, &global.text).await;
    outcome.map_err(|error| {
        error.hint("make it yourself and leave out --with-globals; --no-tablespaces leaves tablespaces out")
    })
}

impl Made {
    /// Drops what was made, because the restore failed.
    ///
    /// # Errors
    ///
    /// Stuck if something is left; the text names it.
    pub async fn undo(self, server: &Session) -> Result<()> {
        let tablespaces =
            self.tablespaces.iter().rev().map(|name| format!("DROP TABLESPACE IF EXISTS {}", quote::ident(name)));
        let roles = self.roles.iter().rev().map(|name| format!("DROP ROLE IF EXISTS {}", quote::ident(name)));
        let mut left = None;
        for sql in tablespaces.chain(roles) {
            if let Err(error) = server.execute("dropping what the restore had made", &sql).await {
                left = left.or(Some(error.as_kind(Kind::Stuck).hint(sql)));
            }
        }
        left.map_or(Ok(()), Err)
    }
}

/// Drops what was made and gives the error that led here; a failed drop is the worse one.
pub async fn undo_after(server: &Session, made: Made, error: Error) -> Error {
    match made.undo(server).await {
        Ok(()) => error,
        Err(stuck) => {
            let hint = stuck.hint_text().unwrap_or_default().to_owned();
            Error::new(Kind::Stuck, error.to_string()).because(stuck).hint(hint)
        }
    }
}

fn about(statement: &str) -> About {
    let words = words(statement);
    let is = |place: usize, keyword: &str| words.get(place).is_some_and(|word| word.is(keyword));
    let name = |place: usize| words.get(place).and_then(Word::name).unwrap_or_default();
    let after = |phrase: [&str; 2]| {
        words.windows(2).position(|pair| pair[0].is(phrase[0]) && pair[1].is(phrase[1])).map(|place| name(place + 2))
    };
    if is(0, "CREATE") && is(1, "ROLE") {
        About::CreateRole(name(2))
    } else if is(0, "ALTER") && is(1, "ROLE") {
        About::Role(name(2))
    } else if is(0, "CREATE") && is(1, "TABLESPACE") {
        About::CreateTablespace(name(2))
    } else if is(0, "ALTER") && is(1, "TABLESPACE") {
        About::Tablespace(name(2))
    } else if is(0, "DROP") {
        About::Drop
    } else if let Some(role) = after(["ON", "ROLE"]) {
        About::Role(role)
    } else if let Some(tablespace) = after(["ON", "TABLESPACE"]) {
        About::Tablespace(tablespace)
    } else if after(["ON", "PARAMETER"]).is_some() {
        About::Parameter
    } else if is(0, "GRANT") && !words.iter().any(|word| word.is("ON")) {
        About::Membership(members(&words))
    } else {
        About::Other
    }
}

/// `GRANT a, b TO c, d …`: those who become members.
fn members(words: &[Word<'_>]) -> Vec<String> {
    let Some(to) = words.iter().position(|word| word.is("TO")) else { return Vec::new() };
    let mut members = Vec::new();
    for pair in words[to + 1..].chunks(2) {
        members.extend(pair[0].name());
        if !pair.get(1).is_some_and(|word| word.is_sign(",")) {
            break;
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_of_the_globals_is_told() {
        let role = |name: &str| About::Role(name.into());
        for (statement, expected) in [
            ("CREATE ROLE \"Odd; R\";", About::CreateRole("Odd; R".into())),
            ("ALTER ROLE app WITH LOGIN PASSWORD 'ON ROLE x';", role("app")),
            ("ALTER ROLE app SET search_path TO 'a', 'b';", role("app")),
            ("COMMENT ON ROLE app IS 'x';", role("app")),
            ("SECURITY LABEL FOR p ON ROLE app IS 'x';", role("app")),
            (
                "GRANT a, b TO app, ops WITH ADMIN OPTION GRANTED BY postgres;",
                About::Membership(vec!["app".into(), "ops".into()]),
            ),
            ("CREATE TABLESPACE fast OWNER app LOCATION '/x';", About::CreateTablespace("fast".into())),
            ("GRANT ALL ON TABLESPACE fast TO app;", About::Tablespace("fast".into())),
            ("GRANT SET ON PARAMETER work_mem TO app;", About::Parameter),
            ("DROP ROLE IF EXISTS app;", About::Drop),
            ("CREATE TABLE t();", About::Other),
            ("GRANT SELECT ON t TO app;", About::Other),
        ] {
            assert_eq!(about(statement), expected, "{statement}");
        }
    }
}
