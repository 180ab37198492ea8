//! Statements on their way to the server, one after another; an error names the statement and its line.

use super::encoding::Encoding;
use super::tolerance::harmless;
use crate::error::{Error, Result};
use crate::postgres::Session;
use crate::postgres::script::Statement;
use bytes::Bytes;
use std::collections::BTreeMap;
use tokio_postgres::error::SqlState;

/// Many small statements are sent together; one round trip each would take hours for a dump made with `--inserts`.
const BATCH_BYTES: usize = 256 << 10;

/// How much of a statement is shown in a message.
const SHOWN_CHARS: usize = 200;

/// Sends statements over one session.
pub(super) struct Sender<'a> {
    session: &'a Session,
    encoding: Encoding,
    in_transaction: bool,
    batch: Vec<Item>,
    batch_bytes: usize,
    sent: u64,
    passed_over: BTreeMap<&'static str, (u64, u64)>,
}

struct Item {
    line: u64,
    sql: String,
    original: Bytes,
}

impl<'a> Sender<'a> {
    pub(super) fn new(session: &'a Session, encoding: Encoding) -> Self {
        Self {
            session,
            encoding,
            in_transaction: false,
            batch: Vec::new(),
            batch_bytes: 0,
            sent: 0,
            passed_over: BTreeMap::new(),
        }
    }

    pub(super) fn session(&self) -> &'a Session {
        self.session
    }

    pub(super) fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    pub(super) fn set_encoding(&mut self, encoding: Encoding) {
        self.encoding = encoding;
    }

    /// Statements that were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Errors that were passed over, each with how often and where first.
    pub(super) fn notes(&self) -> Vec<String> {
        let note = |(why, (times, line)): (&&str, &(u64, u64))| match times {
            1 => format!("line {line} was passed over: {why}"),
            _ => format!("{times} statements from line {line} on were passed over: {why}"),
        };
        self.passed_over.iter().map(note).collect()
    }

    /// Sends one statement, perhaps a little later together with others; `changed` is sent in its place.
    pub(super) async fn send(&mut self, statement: &Statement, changed: Option<String>) -> Result<()> {
        let sql = match changed {
            Some(sql) => sql,
            None => self.encoding.statement(&statement.text, statement.line)?.into_owned(),
        };
        let item = Item { line: statement.line, sql, original: statement.text.clone() };
        self.sent += 1;
        if !may_wait(&item.original) {
            self.flush().await?;
            self.one(&item).await?;
            self.follow_transaction(&item.original);
            return Ok(());
        }
        self.batch_bytes += item.sql.len();
        self.batch.push(item);
        if self.batch_bytes >= BATCH_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Sends what waits.
    pub(super) async fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(()) };
        let text = batch.iter().map(|item| item.sql.as_str()).collect::<Vec<_>>().join("\n");
        let Err(error) = self.session.client.batch_execute(&text).await else { return Ok(()) };
        drop(text);
        if self.in_transaction || self.session.is_closed() {
            let doing = format!("lines {} to {}", first.line, last.line);
            return Err(self.session.explain(&error, doing));
        }
        // They were one transaction and are undone; one by one they show which it was.
        for item in &batch {
            self.one(item).await?;
        }
        Ok(())
    }

    async fn one(&mut self, item: &Item) -> Result<()> {
        let Err(error) = self.session.client.batch_execute(&item.sql).await else { return Ok(()) };
        let text = String::from_utf8_lossy(&item.original);
        if let Some(code) = error.code()
            && !self.in_transaction
            && let Some(why) = harmless(&text, code)
        {
            self.passed_over.entry(why).or_insert((0, item.line)).0 += 1;
            return Ok(());
        }
        let explained = self.session.explain(&error, format!("line {}: {}", item.line, shown(&text)));
        Err(with_hint(explained, &text, error.code()))
    }

    fn follow_transaction(&mut self, text: &[u8]) {
        let is = |word: &str| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()));
        if is("BEGIN;") || is("START TRANSACTION") {
            self.in_transaction = true;
        } else if is("COMMIT;") || is("ROLLBACK;") || is("END;") {
            self.in_transaction = false;
        }
    }
}

/// Statements a dump may hold by the million.
fn may_wait(text: &[u8]) -> bool {
    [&b"INSERT INTO "[..], b"SELECT pg_catalog.lo", b"SELECT pg_catalog.setval("]
        .iter()
        .any(|head| text.starts_with(head))
}

/// A statement on one line, not too long.
pub(super) fn shown(text: &str) -> String {
    let mut words = text.split_whitespace();
    let mut line = words.next().unwrap_or_default().to_owned();
    for word in words {
        // A letter has at most four bytes.
        if line.len() > SHOWN_CHARS * 4 {
            break;
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.chars().count() > SHOWN_CHARS {
        line = line.chars().take(SHOWN_CHARS).collect();
        line.push('…');
    }
    line
}

fn with_hint(error: Error, statement: &str, code: Option<&SqlState>) -> Error {
    let about_role =
        [" OWNER TO ", "GRANT ", "REVOKE ", "SET SESSION AUTHORIZATION", "ALTER DEFAULT PRIVILEGES", "CREATE POLICY"]
            .iter()
            .any(|words| statement.contains(words));
    let hint = match code {
        Some(code) if *code == SqlState::UNDEFINED_OBJECT && about_role => {
            "create the role first, map it with --role-map OLD=NEW, or leave roles out with --no-owner --no-privileges"
        }
        Some(code) if statement.starts_with("CREATE EXTENSION") && *code != SqlState::INSUFFICIENT_PRIVILEGE => {
            "install the extension's package on the target server"
        }
        _ => return error,
    };
    error.hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_statement_is_shown_short_and_on_one_line() {
        assert_eq!(shown("CREATE TABLE t (\n    a int\n);"), "CREATE TABLE t ( a int );");
        let long = shown(&format!("SELECT '{}'", "ü ".repeat(5000)));
        assert_eq!(long.chars().count(), SHOWN_CHARS + 1);
        assert!(long.ends_with('…'));
    }
}
