//! Giving the new database its name, and clearing away what a killed run left.

use super::{Beside, Leftover, MARK, Mode, administration, look, name_beside};
use crate::error::{Error, Kind, Result};
use crate::postgres::{ConnInfo, Session, quote};

/// How often sessions that come back are ended again before the swap gives up.
const ATTEMPTS: u32 = 5;

/// How often sessions are ended while the server waits for them to go.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// What a swap did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swapped {
    /// Sessions of the old database that were ended.
    pub ended_sessions: i64,
    /// The old database's name now, if it is still there: on request, or because it could not be dropped.
    pub kept: Option<String>,
    /// Why it is still there, if nobody asked for that.
    pub not_dropped: Option<String>,
}

impl Beside {
    pub(super) async fn try_swap(&mut self, finishing: &[String], keep_replaced: bool) -> Result<Swapped> {
        let (new, name) = (self.name().to_owned(), self.name.clone());
        if self.existed && self.mode == Mode::Empty {
            // Somebody may have begun to use it while the restore ran.
            look::must_be_empty(&self.conn.with_database(&name)).await?;
        }
        if self.admin.is_closed() {
            self.admin = administration(&self.conn, &name).await?;
        }
        let old =
            name_beside(&name, &new[new.len().saturating_sub("_davit_abcdef".len())..].replace("_davit_", "_was_"));
        let mut steps = vec![format!("COMMENT ON DATABASE {} IS NULL", quote::ident(&new))];
        steps.extend(finishing.iter().map(|sql| on_database(sql, &new)));
        if self.existed {
            steps.push(rename(&name, &old));
        }
        steps.push(rename(&new, &name));
        let ended_sessions = self.rename_when_free(&steps, &[&name, &new]).await?;
        let mut swapped = Swapped { ended_sessions, kept: None, not_dropped: None };
        if self.existed {
            swapped.kept = Some(old.clone());
            if !keep_replaced {
                let sql = format!("DROP DATABASE {} WITH (FORCE)", quote::ident(&old));
                match self.admin.execute(&format!("dropping the replaced database, now called {old}"), &sql).await {
                    Ok(()) => swapped.kept = None,
                    Err(error) => swapped.not_dropped = Some(error.to_string()),
                }
            }
        }
        Ok(swapped)
    }

    /// Runs the steps as one transaction as soon as nobody is connected; a database in use cannot be renamed.
    ///
    /// Clients that come back faster than a rename begins would keep it from ever happening. But the rename locks the
    /// database first and then waits some seconds for others to leave: whoever is ended then, from beside, does not get in again.
    async fn rename_when_free(&mut self, steps: &[String], names: &[&str]) -> Result<i64> {
        let doing = format!("giving the restored database the name {}", self.name);
        let sql = format!("BEGIN; {}; COMMIT", steps.join("; "));
        let beside = administration(&self.conn, &self.name).await?;
        let mut ended = 0;
        let mut attempt = 1;
        loop {
            ended += end_sessions(&self.admin, names).await?;
            let renaming = self.admin.client.batch_execute(&sql);
            let renamed = tokio::select! {
                renamed = renaming => renamed,
                never = end_again(&beside, names, &mut ended) => match never {},
            };
            match renamed {
                Ok(()) => return Ok(ended),
                Err(error) => {
                    let in_use = error.code().is_some_and(|code| code.code() == "55006");
                    let explained = self.admin.explain(&error, doing.clone());
                    if self.admin.is_closed() {
                        // The commit may have happened; only looking tells.
                        return self.settle(explained).await.map(|()| ended);
                    }
                    self.admin.execute(&doing, "ROLLBACK").await?;
                    if !in_use || attempt == ATTEMPTS {
                        return Err(explained.as_kind(Kind::Failed));
                    }
                }
            }
            attempt += 1;
        }
    }

    /// After the connection broke at the commit: has the new database its name?
    async fn settle(&mut self, error: Error) -> Result<()> {
        let admin = administration(&self.conn, &self.name).await.map_err(|lost| lost.as_kind(Kind::Undecided))?;
        self.admin = admin;
        let unfinished = exists(&self.admin, self.name()).await?;
        if unfinished { Err(error) } else { Ok(()) }
    }
}

/// A session that works: the one given, or a new one in its place.
pub(super) async fn alive(admin: Session, conn: &ConnInfo, target: &str) -> Result<Session> {
    if !admin.is_closed() {
        return Ok(admin);
    }
    let beside = conn.database().to_owned();
    administration(conn, target).await.map_err(|error| {
        error.as_kind(Kind::Stuck).hint(format!(
            "the unfinished database {beside} is left; the next restore into {target} drops it, or: DROP DATABASE {}",
            quote::ident(&beside)
        ))
    })
}

/// The server must not end our idle session while rows are loaded elsewhere; and whatever a role or a database is set to
/// begin with, we are here to write.
pub(super) async fn no_timeouts(session: &Session) -> Result<()> {
    let mut sql =
        "SET default_transaction_read_only = off; SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; \
         SET lock_timeout = 0"
            .to_owned();
    if session.major() >= 14 {
        sql.push_str("; SET idle_session_timeout = 0");
    }
    session.execute("preparing a session for creating databases", &sql).await
}

/// Takes the lock that says: the run that fills this database is alive.
pub(super) async fn lock(admin: &Session, database: &str) -> Result<()> {
    let sql = "SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended($1, 0))";
    admin.row("marking the new database as ours", sql, &[&owner_key(database)]).await.map(|_| ())
}

fn owner_key(database: &str) -> String {
    format!("davit restore {database}")
}

/// Drops half-filled databases of this target whose run is gone; gives what is known of them.
pub(super) async fn remove_leftovers(admin: &Session, target: &str) -> Result<Vec<Leftover>> {
    let doing = "looking for what an earlier restore left";
    let sql = "SELECT datname::text, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database \
               WHERE datname ~ '_davit_[a-z]{6}$'";
    let mut removed = Vec::new();
    for row in admin.rows(doing, sql, &[]).await? {
        let (name, comment): (String, Option<String>) = (row.get(0), row.get(1));
        let Some(note) = comment.as_deref().and_then(|text| text.strip_prefix(MARK)) else { continue };
        let note = Some(note.trim().to_owned()).filter(|note| !note.is_empty());
        let ending = &name[name.len() - "_davit_abcdef".len()..];
        if name_beside(target, ending) != name {
            continue;
        }
        let lock = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1, 0))";
        let dead: bool = admin.row(doing, lock, &[&owner_key(&name)]).await?.get(0);
        if dead {
            let sql = format!("DROP DATABASE {} WITH (FORCE)", quote::ident(&name));
            admin.execute(&format!("dropping {name}, which an earlier restore left"), &sql).await?;
            removed.push(Leftover { name, note });
        }
    }
    Ok(removed)
}

/// Only the first place is meant: a comment or a value may hold anything.
fn on_database(sql: &str, name: &str) -> String {
    sql.trim_end_matches(';').replacen("%DATABASE%", &quote::ident(name), 1)
}

fn rename(from: &str, to: &str) -> String {
    format!("ALTER DATABASE {} RENAME TO {}", quote::ident(from), quote::ident(to))
}

async fn exists(admin: &Session, name: &str) -> Result<bool> {
    let sql = "SELECT FROM pg_catalog.pg_database WHERE datname = $1::text";
    Ok(!admin.rows("looking for the new database", sql, &[&name]).await?.is_empty())
}

/// Ends sessions again and again, and counts them; what cannot be ended is said by the rename.
async fn end_again(beside: &Session, names: &[&str], ended: &mut i64) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(AGAIN).await;
        *ended += end_sessions(beside, names).await.unwrap_or_default();
    }
}

/// Ends all sessions in these databases; gives how many there were.
async fn end_sessions(admin: &Session, names: &[&str]) -> Result<i64> {
    // Every one is ended; those in the new database are our own and are not counted.
    let sql = "SELECT coalesce(pg_catalog.sum(pg_catalog.pg_terminate_backend(pid)::int4 * \
               (datname = ($1::text[])[1])::int4), 0)::int8 FROM pg_catalog.pg_stat_activity \
               WHERE datname = ANY ($1::text[]) AND pid <> pg_catalog.pg_backend_pid() \
               AND backend_type IS DISTINCT FROM 'autovacuum worker'";
    let row = admin.row("ending sessions of the database that gives way", sql, &[&names]).await;
    let row = row.map_err(|error| error.hint("stop what is connected to it, or use a role with pg_signal_backend"))?;
    Ok(row.get(0))
}
