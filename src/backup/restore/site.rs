//! The database that is being filled: sessions in it, set up for the work, and a way to end them all at once.

use super::made::Made;
use crate::error::{Error, Kind, Result};
use crate::postgres::session::{Canceller, prepare_data_session};
use crate::postgres::{ConnInfo, Fault, Session, classify, connect};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Memory for building one index, in kB; a server that is set to more keeps that. More is no quicker: runs that fit the
/// processor's cache are sorted in less time than they are merged (10 million rows of two columns: 8.4 and 9.3 s of
/// processor time with 64 MB, 9.9 and 11.6 s with 256 MB), and every worker takes it at once.
const BUILD_MEMORY_KB: i64 = 64 << 10;

/// Settings that decide how a value looks as text.
const LOOKS: [&str; 8] = [
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "extra_float_digits",
    "bytea_output",
    "lc_monetary",
    "xmloption",
];

/// How to get sessions in the database that is being filled.
pub(in crate::backup) struct Site {
    /// Whoever makes the definitions.
    definitions: ConnInfo,
    /// Whoever writes rows and runs what users wrote: functions in checks, indexes and views.
    work: ConnInfo,
    /// Triggers of a table that is there must not fire.
    silent: bool,
    /// The lock by which others see that this run is alive.
    alive: Option<String>,
    /// How rows look as text, as it was when they were backed up.
    looks: BTreeMap<String, String>,
    made: Made,
    running: Mutex<Vec<Canceller>>,
}

impl Site {
    /// A database where one role does everything.
    pub(in crate::backup) fn new(conn: ConnInfo) -> Self {
        Self {
            definitions: conn.clone(),
            work: conn,
            silent: false,
            alive: None,
            looks: BTreeMap::new(),
            made: Made::default(),
            running: Mutex::default(),
        }
    }

    /// A database where rows and users' code are handled by a lesser role.
    pub(in crate::backup) fn with_roles(definitions: ConnInfo, work: ConnInfo) -> Self {
        Self { work, ..Self::new(definitions) }
    }

    /// The same, where no trigger fires for what is written.
    pub(in crate::backup) fn silent(self) -> Self {
        Self { silent: true, ..self }
    }

    /// The same, where every session holds a lock: the server may work on after we are gone.
    pub(in crate::backup) fn holding(self, lock: String) -> Self {
        Self { alive: Some(lock), ..self }
    }

    /// The same, where rows are written and read under the settings of the backup's sessions.
    pub(in crate::backup) fn reading_as(self, recorded: &BTreeMap<String, String>) -> Self {
        let decides = |(name, _): &(&String, &String)| LOOKS.contains(&name.as_str());
        let looks = recorded.iter().filter(decides).map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { looks, ..self }
    }

    /// What was made here by this restore.
    pub(super) fn made(&self) -> &Made {
        &self.made
    }

    /// Where to note whose rows are ours: in tables that were there before.
    pub(super) fn notes_rows(&self) -> Option<&Made> {
        self.silent.then_some(&self.made)
    }

    /// A session for definitions.
    pub(in crate::backup) async fn for_definitions(&self) -> Result<Session> {
        self.session(&self.definitions).await
    }

    /// A session for rows, indexes and views.
    pub(in crate::backup) async fn for_work(&self) -> Result<Session> {
        self.session(&self.work).await
    }

    async fn session(&self, conn: &ConnInfo) -> Result<Session> {
        let session = Box::pin(connect(conn, "restore")).await?;
        prepare_data_session(&session).await?;
        session.execute("preparing a session for restoring", &self.settings()).await?;
        // A filled view may look at other views; what keeps a reader of rows safe would forbid it.
        session
            .rows(
                "preparing a session for restoring",
                "SELECT pg_catalog.set_config(name, '', false) FROM pg_catalog.pg_settings \
                 WHERE name = 'restrict_nonsystem_relation_kind'",
                &[],
            )
            .await?;
        let (names, values): (Vec<&str>, Vec<&str>) =
            self.looks.iter().map(|(name, value)| (name.as_str(), value.as_str())).unzip();
        let sql = "SELECT pg_catalog.set_config(name, value, false) FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS s(name, value)";
        session.rows("preparing a session for restoring", sql, &[&names, &values]).await?;
        if let Some(lock) = &self.alive {
            super::unfinished::hold(&session, lock).await?;
        }
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(session.canceller());
        Ok(session)
    }

    fn settings(&self) -> String {
        // Nothing is promised before the database gets its name, and that commit waits for the disk.
        let mut sql = format!(
            "SET synchronous_commit = off; SET check_function_bodies = off; SET client_min_messages = warning; \
             SET default_transaction_read_only = off; SET default_tablespace = ''; \
             SELECT pg_catalog.set_config('maintenance_work_mem', GREATEST(setting::bigint, {BUILD_MEMORY_KB})::text, false) \
             FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem'"
        );
        if self.silent {
            sql.push_str("; SET session_replication_role = replica");
        }
        sql
    }

    /// Asks the server to stop whatever our sessions run.
    pub(in crate::backup) async fn cancel(&self) {
        // Not taken away: whoever asks may be dropped half way, and the next one asks again.
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = running.iter().map(Canceller::cancel);
        for outcome in futures_util::future::join_all(asked).await {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a query could not be cancelled; its session is closed instead");
            }
        }
    }
}

/// Whether the session may load rows without foreign keys looking at each: a right of superusers and of few others.
pub(super) async fn may_look_away(session: &Session) -> Result<bool> {
    let sql = if session.major() >= 15 {
        "SELECT pg_catalog.has_parameter_privilege('session_replication_role', 'SET')"
    } else {
        "SELECT pg_catalog.current_setting('is_superuser') = 'on'"
    };
    Ok(session.row("asking what may be set", sql, &[]).await?.get(0))
}

/// A failure of the statement `sql` while `what` was done: with the beginning of the statement.
///
/// Its kind tells a verification what to make of it: what the server refuses speaks against the backup, what the
/// server lacks or may not do says nothing about it. To a restore all are failures.
pub(in crate::backup) fn failed(session: &Session, error: &tokio_postgres::Error, what: &str, sql: &str) -> Error {
    const SHOWN: usize = 400;
    let text: String = sql.chars().take(SHOWN).map(|c| if c == '\n' { ' ' } else { c }).collect();
    let more = if sql.chars().nth(SHOWN).is_some() { "…" } else { "" };
    let kind = match classify(error) {
        Fault::DiskFull | Fault::Denied | Fault::TooMany => Kind::Undecided,
        Fault::Gone | Fault::Cancelled | Fault::Starting | Fault::Timeout | Fault::Refused => Kind::Failed,
        _ => Kind::CheckFailed,
    };
    session.explain(error, format!("{what}: {text}{more}")).as_kind(kind)
}
