//! The user's own checks: SQL that must hold in the restored database.
//!
//! A statement holds if it returns no rows, or exactly one row with one value that is `true`. It runs read-only, as the
//! role that handles rows. Values are never shown: a check may look at anything.

use super::request::SqlCheck;
use crate::backup::restore::site::Site;
use crate::error::{Error, Kind, Result};
use crate::postgres::Session;
use crate::postgres::script::{Lexer, Limits, Token};
use crate::repository::Check;
use tokio_postgres::types::Type;

/// Runs all checks.
pub(super) async fn run(site: &Site, checks: &[&SqlCheck]) -> Result<Vec<Check>> {
    if checks.is_empty() {
        return Ok(Vec::new());
    }
    let session = site.for_work().await?;
    let prepared = "SET default_transaction_read_only = on; SET search_path = \"$user\", public";
    session.execute("preparing for the checks", prepared).await?;
    let mut done = Vec::new();
    for check in checks {
        done.push(one(&session, check).await?);
    }
    session.close().await;
    Ok(done)
}

async fn one(session: &Session, check: &SqlCheck) -> Result<Check> {
    let name = format!("check {}", check.name);
    let statements = statements(check)?;
    for (number, statement) in statements.iter().enumerate() {
        let answer = session.client.query(statement.as_str(), &[]).await;
        let wrong = match &answer {
            Ok(rows) => against(rows),
            Err(error) => Some(session.explain(error, "it cannot be run").to_string()),
        };
        if session.is_closed() {
            return Err(Error::failed(format!("running check {}: the connection was lost", check.name)));
        }
        if let Some(wrong) = wrong {
            return Ok(Check { name, ok: Some(false), detail: format!("statement {}: {wrong}", number + 1) });
        }
    }
    Ok(Check { name, ok: Some(true), detail: format!("{} statements hold", statements.len()) })
}

/// What speaks against a statement that gave these rows.
fn against(rows: &[tokio_postgres::Row]) -> Option<String> {
    match rows {
        [] => None,
        [row] if row.columns().len() == 1 && *row.columns()[0].type_() == Type::BOOL => {
            match row.get::<_, Option<bool>>(0) {
                Some(true) => None,
                Some(false) => Some("it gave false".to_owned()),
                None => Some("it gave null".to_owned()),
            }
        }
        rows => Some(format!("it gave {} rows", rows.len())),
    }
}

/// The statements of a check; anything but SQL is bad input.
pub(super) fn statements(check: &SqlCheck) -> Result<Vec<String>> {
    let unreadable = |error: Error| error.as_kind(Kind::Input).during(format!("reading check {}", check.name));
    let mut lexer = Lexer::new(Limits::default());
    lexer.push(check.sql.as_bytes());
    // A last statement may lack its semicolon.
    lexer.push(b"\n;");
    lexer.finish();
    let mut statements = Vec::new();
    while let Some(token) = lexer.next_token().map_err(|error| unreadable(error.into()))? {
        if let Token::Statement(statement) = token {
            let text = String::from_utf8_lossy(&statement.text).into_owned();
            if text.trim_matches(|c: char| c == ';' || c.is_whitespace()).is_empty() {
                continue;
            }
            statements.push(text);
        }
    }
    if statements.is_empty() {
        return Err(Error::input(format!("reading check {}: it holds no statement", check.name)));
    }
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Result<Vec<String>> {
        statements(&SqlCheck { name: "c.sql".into(), sql: sql.into() })
    }

    #[test]
    fn a_check_is_one_or_several_statements_and_nothing_but_sql() {
        assert_eq!(of("SELECT 1;\n-- a comment\nSELECT ';'").unwrap().len(), 2);
        assert_eq!(of("SELECT 1;").unwrap().len(), 1);
        for sql in ["", "-- nothing", "\\! rm -rf /"] {
            assert_eq!(of(sql).unwrap_err().kind(), Kind::Input, "{sql}");
        }
    }
}
