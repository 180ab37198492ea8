//! One write, in two steps: the row, then the commit. Between them its transaction is known, so that no commit can happen
//! of which the writer does not know the name.

use super::Link;
use crate::observation::{Outcome, parse_lsn};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::Severity;

/// What became of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How it ended.
    pub outcome: Outcome,
    /// Its transaction.
    pub xid: Option<u64>,
    /// The timeline of the server that took the row.
    pub timeline: Option<u32>,
    /// The end of the write-ahead log after the row and before the commit.
    pub lsn: Option<u64>,
    /// What the server said beside its answers: SQLSTATE and text.
    pub notices: Vec<(String, String)>,
    /// Why it is not ok.
    pub said: Option<String>,
}

/// Writes one row and commits it. `end` is at every moment what would be true if nothing more were heard.
pub async fn write(link: &dyn Link, table: &str, id: u64, payload: u64, end: &mut End) {
    // What an earlier user of the connection left is not about this write.
    drop(link.take_notices());
    let row = link.client().simple_query(&row_statement(link.before().unwrap_or_default(), table, id, payload)).await;
    end.notices.extend(link.take_notices());
    match row {
        Ok(answer) => end.take(&answer),
        Err(error) => {
            // No COMMIT was sent, so nothing can have been committed.
            end.said = Some(said(&error));
            return;
        }
    }
    end.outcome = Outcome::Unknown;
    end.said = Some("no answer to COMMIT".to_owned());
    let commit = link.client().simple_query("COMMIT").await;
    let beside = link.take_notices();
    (end.outcome, end.said) = judge(commit.as_ref().map(drop).map_err(Refusal::of), &beside);
    end.notices.extend(beside);
}

/// A query as a whole transaction that cannot write, whatever functions it calls, with the statements that come before it.
/// The query begins a line of its own and ends one, so that a comment in it hides nothing.
pub fn reading(before: &str, query: &str) -> String {
    format!("BEGIN READ ONLY;{before}\n{query}\n; COMMIT")
}

/// Whether an answer is one false: a query may know better than its being answered whether all is well.
pub(super) fn says_no(answer: &[SimpleQueryMessage]) -> bool {
    let mut rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    match (rows.next(), rows.next()) {
        (Some(only), None) => only.len() == 1 && only.get(0) == Some("f"),
        _ => false,
    }
}

fn row_statement(before: &str, table: &str, id: u64, payload: u64) -> String {
    let (id, payload) = (id.cast_signed(), payload.cast_signed());
    format!(
        "BEGIN;{before} INSERT INTO {table} (id, payload) VALUES ({id}, {payload}) RETURNING pg_catalog.txid_current(), \
         pg_catalog.pg_current_wal_insert_lsn(), pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn())"
    )
}

impl End {
    /// Nothing was sent.
    pub fn nothing() -> Self {
        let said = Some("no answer".to_owned());
        Self { outcome: Outcome::Fail, xid: None, timeline: None, lsn: None, notices: Vec::new(), said }
    }

    fn take(&mut self, answer: &[SimpleQueryMessage]) {
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let text = |column: usize| row.and_then(|row| row.get(column));
        self.xid = text(0).and_then(|xid| xid.parse().ok());
        self.lsn = text(1).and_then(parse_lsn);
        self.timeline = text(2).and_then(|file| u32::from_str_radix(file.get(..8)?, 16).ok());
    }
}

/// A server's no, as far as the judgement needs it.
struct Refusal {
    /// An error of the transaction, and not a farewell of the server.
    error: bool,
    code: Option<String>,
    said: String,
}

impl Refusal {
    fn of(error: &tokio_postgres::Error) -> Self {
        let db = error.as_db_error();
        Self {
            error: db.is_some_and(|db| db.parsed_severity() == Some(Severity::Error)),
            code: db.map(|db| db.code().code().to_owned()),
            said: said(error),
        }
    }

    /// Whether the transaction is certainly not there: an error of it, and not of the connection or the server.
    fn definite(&self) -> bool {
        // 22 data, 23 constraints, 25 and 40 the transaction, 42 the statement, 44 views, P0 code of the user's.
        let classes = ["22", "23", "25", "40", "42", "44", "P0"];
        // 40003: the completion is not known.
        let class = |code: &String| code != "40003" && classes.iter().any(|class| code.starts_with(class));
        self.error && self.code.as_ref().is_some_and(class)
    }
}

/// What the end of a COMMIT means. A server that gives up waiting for its synchronous standby warns and then answers as if
/// all were well: the row is on this server and perhaps nowhere else.
fn judge(commit: Result<(), Refusal>, beside: &[(String, String)]) -> (Outcome, Option<String>) {
    let cancelled = beside.iter().find(|(code, _)| code == "01000" || code == "57P01");
    match (commit, cancelled) {
        (Ok(()), None) => (Outcome::Ok, None),
        (Ok(()), Some((code, text))) => (Outcome::Unknown, Some(format!("{code}: {text}"))),
        (Err(refusal), None) if refusal.definite() => (Outcome::Fail, Some(refusal.said)),
        (Err(refusal), _) => (Outcome::Unknown, Some(refusal.said)),
    }
}

/// What the driver or the server said, with the SQLSTATE in front where there is one.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}: {}", db.code().code(), db.message()),
        None if error.is_closed() => "connection closed".to_owned(),
        None => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(next) = cause {
                text = format!("{text}: {next}");
                cause = next.source();
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(severity: &str, code: Option<&str>) -> Result<(), Refusal> {
        Err(Refusal { error: severity == "ERROR", code: code.map(str::to_owned), said: "no".to_owned() })
    }

    #[test]
    fn only_a_definite_no_is_a_failure() {
        let end = |commit| judge(commit, &[]).0;
        assert_eq!(end(Ok(())), Outcome::Ok);
        assert_eq!(end(refusal("ERROR", Some("40001"))), Outcome::Fail);
        assert_eq!(end(refusal("ERROR", Some("23505"))), Outcome::Fail);
        for (severity, code) in [
            ("ERROR", Some("40003")),
            ("ERROR", Some("57014")),
            ("FATAL", Some("57P01")),
            ("FATAL", Some("40001")),
            ("PANIC", Some("53100")),
            ("ERROR", Some("XX000")),
            ("", None),
        ] {
            assert_eq!(end(refusal(severity, code)), Outcome::Unknown, "{severity} {code:?}");
        }
    }

    #[test]
    fn a_cancelled_wait_for_a_standby_is_unknown_though_the_server_answers_commit() {
        let warning = [("01000".to_owned(), "canceling wait for synchronous replication".to_owned())];
        let (outcome, said) = judge(Ok(()), &warning);
        assert_eq!(outcome, Outcome::Unknown);
        assert!(said.unwrap().starts_with("01000"));
        let ended = [("57P01".to_owned(), "terminating connection".to_owned())];
        assert_eq!(judge(refusal("ERROR", Some("40001")), &ended).0, Outcome::Unknown);
        let other = [("01P01".to_owned(), "deprecated".to_owned())];
        assert_eq!(judge(Ok(()), &other).0, Outcome::Ok);
    }

    #[test]
    fn numbers_keep_their_bits_in_the_signed_columns() {
        assert_eq!(row_statement("", "t", u64::MAX, 7).matches("VALUES (-1, 7)").count(), 1);
    }
}
