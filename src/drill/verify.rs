//! What was written against what is there, which history survived, and whatever else had to be true.

use super::desk::Desk;
use super::dial::Open;
use super::observing::Kept;
use super::recovery::{ended, running, watched};
use super::replica;
use crate::error::{Error, Kind, Result};
use crate::observation::{Answer, Entry};
use crate::postgres::tools::Tools;
use crate::postgres::waldump::{commits_since, forks};
use crate::postgres::{Session, connect};
use crate::probe::http::{Good, HttpService};
use crate::probe::ledger::{Account, Ledger, Table};
use crate::probe::observer::Stream;
use crate::probe::tls::Trust;
use crate::probe::{Ask, Connection, MemorySink, Observer, StreamPlan};
use crate::report::journal::{CheckSeen, Event, Healing, PackedRead, PackedWrites, Stage, Survival};
use crate::scenario::{Check, CheckHow};
use crate::secret::Secret;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the surviving server may take to answer the final read.
const ANSWERS: Duration = Duration::from_secs(30);
/// The oldest server whose log is read.
const OLDEST_MAJOR: u32 = 13;

/// What a server was before the fault: the history that may end.
#[derive(Debug, Clone, Default)]
pub(super) struct Before {
    timeline: Option<u32>,
    data: Option<PathBuf>,
}

/// Where the log stands: the timeline is the first part of the name of the file that is written to.
const TIMELINE: &str = "SELECT pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8)";

/// Looks at the primary before anything happens.
pub(super) async fn look_before(desk: &Desk<'_>) -> Before {
    let Some(primary) = &desk.script.access.primary else { return Before::default() };
    let Ok(conn) = desk.conn(primary) else { return Before::default() };
    let Ok(session) = connect(&conn, "drill").await else { return Before::default() };
    let data = session.row("asking for its directory", "SHOW data_directory", &[]).await;
    let data = data.ok().map(|row| PathBuf::from(row.get::<_, String>(0))).filter(|path| path.is_dir());
    Before { timeline: timeline(&session).await, data }
}

async fn timeline(session: &Session) -> Option<u32> {
    let row = session.row("asking for its timeline", TIMELINE, &[]).await.ok()?;
    u32::from_str_radix(row.get::<_, &str>(0), 16).ok()
}

/// Compares everything, when nobody writes any more.
pub(super) async fn verify(desk: &Desk<'_>, kept: &Kept, before: &Before) -> Result<()> {
    desk.stage(Stage::Verification, "what was written is compared with what is there")?;
    if let (Some(table), Some(path)) = (&kept.table, &kept.ledger) {
        // A proxy may still lead elsewhere, as long as the drill waits for an answer of the writer.
        let standby = &AtomicBool::new(false);
        match desk.until(ANSWERS, || writer(desk, standby)).await {
            Ok(session) => Box::pin(compare(desk, session, table, path, before)).await?,
            Err(_) if standby.load(Ordering::Relaxed) => not_read(desk, path)?,
            Err(error) => return Err(error),
        }
    }
    for check in &desk.script.scenario.checks {
        let seen = look(desk, check).await;
        desk.notebook.note(Event::Check(seen))?;
    }
    Ok(())
}

/// A session of clients with a server that takes writes; whether the last one that answered is a standby is in `standby`.
async fn writer(desk: &Desk<'_>, standby: &AtomicBool) -> Result<Session> {
    let session = desk.client().await;
    let is_standby = session.as_ref().is_ok_and(Session::is_standby);
    standby.store(is_standby, Ordering::Relaxed);
    if is_standby { Err(Error::failed("looking for the writer: clients are led to a standby")) } else { session }
}

/// Reads all of it twice at the writer. A read of a day of writes is large: one at a time lies in memory unpacked.
async fn compare(desk: &Desk<'_>, session: Session, table: &Table, path: &Path, before: &Before) -> Result<()> {
    let survival = survival(desk, &session, before).await;
    let link = Open(session);
    let (account, mut beyond) = (Ledger::reread(path)?, BTreeSet::new());
    let first = pack(read(&link, table).await?, &account, &mut beyond);
    let mut rows = read(&link, table).await?;
    rows.sort_unstable();
    Box::pin(replica::compare(desk, &link.0, table, &rows)).await?;
    let last = pack(rows, &account, &mut beyond);
    written(desk, &account, beyond)?;
    for read in [first, last] {
        desk.notebook.note(Event::Read(read))?;
    }
    match survival {
        Some(survival) => desk.notebook.note(Event::Survival(survival)),
        None => Ok(()),
    }
}

/// Packs a read; ids that stand there beyond those that were certainly tried come to `beyond`.
fn pack(rows: Vec<(u64, u64)>, account: &Account, beyond: &mut BTreeSet<u64>) -> PackedRead {
    beyond.extend(rows.iter().map(|(id, _)| *id).filter(|id| account.beyond(*id)));
    PackedRead::of(rows, account.attempts([]))
}

/// What was written is told without what is there: a standby does not have what it has not replayed, and that is no loss.
fn not_read(desk: &Desk<'_>, path: &Path) -> Result<()> {
    written(desk, &Ledger::reread(path)?, BTreeSet::new())?;
    let what =
        "the path of clients leads to a standby, which may not have replayed what was written: nothing was compared";
    desk.notebook.note(Event::Surprise { what: what.to_owned() })
}

/// Puts all writes into the journal, those with ids `beyond` that stand in the table among them.
fn written(desk: &Desk<'_>, account: &Account, beyond: BTreeSet<u64>) -> Result<()> {
    for part in PackedWrites::parts(account.attempts(beyond)) {
        desk.notebook.note(Event::Writes(part))?;
    }
    Ok(())
}

/// All rows of the ledger; none where its table is gone.
async fn read(link: &Open, table: &Table) -> Result<Vec<(u64, u64)>> {
    let name = table.name().to_owned();
    let sql = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    let there: bool = link.0.row("looking for the ledger's table", sql, &[&name]).await?.get(0);
    if there { table.read(link).await } else { Ok(Vec::new()) }
}

/// Which history survived, and what the log of the old one shows, where it can be read.
async fn survival(desk: &Desk<'_>, session: &Session, before: &Before) -> Option<Survival> {
    let (old, new) = (before.timeline?, timeline(session).await?);
    if old == new {
        return Some(Survival { before: Some(old), after: Some(new), fork: None, old_commits: None });
    }
    let fork = match &desk.script.access.standby {
        Some(standby) => fork(desk, standby, old, new).await,
        None => None,
    };
    let old_commits = match (fork, &before.data) {
        (Some(fork), Some(data)) => commits(desk, data, old, fork).await,
        _ => None,
    };
    Some(Survival { before: Some(old), after: Some(new), fork, old_commits })
}

/// Where the new timeline left the old one, as the new primary's own history says.
async fn fork(desk: &Desk<'_>, standby: &Secret, old: u32, new: u32) -> Option<u64> {
    let session = connect(&desk.conn(standby).ok()?, "drill").await.ok()?;
    let sql = format!("SELECT pg_catalog.pg_read_file('pg_wal/{new:08X}.history')");
    let row = session.row("reading the history of the new timeline", &sql, &[]).await.ok()?;
    let history: String = row.get(0);
    forks(&history).into_iter().find(|(timeline, _)| *timeline == old).map(|(_, fork)| fork)
}

/// The transactions that the dead server had committed after the fork.
async fn commits(desk: &Desk<'_>, data: &Path, timeline: u32, fork: u64) -> Option<Vec<u32>> {
    let means = &desk.means.restore;
    let tools = Tools::find_server(OLDEST_MAJOR, &means.tool_dirs, means.path.as_deref()).ok()?;
    let read = commits_since(&tools.optional("pg_waldump")?, &data.join("pg_wal"), timeline, fork).await;
    match read {
        Ok(commits) => Some(commits.into_iter().map(|commit| commit.xid).collect()),
        Err(error) => {
            let what = format!("the log of the old server could not be read: {error}");
            drop(desk.notebook.note(Event::Surprise { what }));
            None
        }
    }
}

/// Finds out whether something is true.
async fn look(desk: &Desk<'_>, check: &Check) -> CheckSeen {
    let seen = match &check.how {
        CheckHow::Sql(sql) => sql_check(desk, sql).await,
        CheckHow::Http { url, status } => http_check(desk, url, *status).await,
        CheckHow::Command(command) => command_check(desk, command).await,
    };
    let name = check.name.clone();
    match seen {
        Ok((ok, detail)) => CheckSeen { name, ok: Some(ok), detail },
        Err(error) => CheckSeen { name, ok: None, detail: error.to_string() },
    }
}

/// A program that ends well, in its time.
async fn command_check(desk: &Desk<'_>, command: &[String]) -> Result<(bool, String)> {
    let doing = running(command);
    let (status, last) = watched(desk, &doing, ended(command)).await?;
    Ok(if status.success() { (true, last) } else { (false, format!("{doing}: {status}: {last}")) })
}

/// A query that gives no rows, or one true. The server gives it up as well: it may wait for a lock.
async fn sql_check(desk: &Desk<'_>, sql: &str) -> Result<(bool, String)> {
    const DOING: &str = "making a check";
    let session = desk.until(ANSWERS, || desk.client()).await?;
    let limit = desk.script.scenario.limits.watch.as_millis();
    let sql = format!("BEGIN; SET LOCAL statement_timeout = {limit};\n{sql}\n; COMMIT");
    let rows = watched(desk, DOING, session.texts(DOING, &sql)).await?;
    let shown = |row: &[Option<String>]| {
        row.iter().map(|cell| cell.as_deref().unwrap_or("null")).collect::<Vec<_>>().join(", ")
    };
    Ok(match rows.as_slice() {
        [] => (true, "no rows".to_owned()),
        [only] if only.len() == 1 => (matches!(only[0].as_deref(), Some("t" | "true")), shown(only)),
        [first, ..] => (false, format!("{} rows, the first: {}", rows.len(), shown(first))),
    })
}

/// One request.
async fn http_check(desk: &Desk<'_>, url: &str, status: u16) -> Result<(bool, String)> {
    let sink = MemorySink::new();
    let ask = Ask::Http {
        url: url.to_owned(),
        connection: Connection::Fresh,
        status: Some(status),
        contains: None,
        ca: None,
    };
    let plan = StreamPlan::new("check", ask).paced(Duration::from_mins(1), Duration::from_secs(10));
    let service = HttpService::new(url, Connection::Fresh, Good { status: Some(status), contains: None })?;
    // It may be asked of anybody, and of the service as its clients trust it.
    let trust = desk.script.access.ca.as_deref().map_or(Trust::System, Trust::Also);
    let service = service.trusting(trust)?;
    let observer = Observer::new("check", desk.means.clock().clone(), sink.clone());
    let running = observer.start(vec![Stream { plan, service: Arc::new(service) }])?;
    let answered = || {
        sink.entries().into_iter().find_map(|entry| match entry {
            Entry::Sample { answer, .. } => Some(answer),
            _ => None,
        })
    };
    let answer = desk.until(Duration::from_secs(12), || {
        let answer = answered().ok_or_else(|| Error::failed(format!("asking {url}: no answer")));
        std::future::ready(answer)
    });
    let answer = answer.await;
    running.stop().await?;
    Ok(match answer? {
        Answer::Good => (true, format!("status {status}")),
        Answer::Refused(said) => (false, said),
        Answer::Silent | Answer::NotSent => (false, "no answer".to_owned()),
    })
}

/// Takes the ledger's table out of the target again, looks, and writes down what was seen.
pub(super) async fn remove_table(desk: &Desk<'_>, kept: &Kept) -> Result<()> {
    let Some(promised) = &kept.promised else { return Ok(()) };
    // A server that is out of reach for a moment is no reason to call for a person.
    let reached = desk.until(ANSWERS, || desk.client()).await;
    let removed = match reached {
        Ok(session) => {
            session.close().await;
            promised.keep(&desk.means.chaos).await
        }
        Err(error) => Err(error.as_kind(Kind::Stuck)),
    };
    let noted = desk.notebook.note(Event::Healing(Healing {
        nothing: false,
        what: format!("the ledger's table {}", promised.table()),
        proven: removed.is_ok(),
        detail: match &removed {
            Ok(seen) => seen.clone(),
            Err(error) => format!("{error}; davit chaos janitor tries again once the server answers"),
        },
    }));
    removed.and(noted)
}
