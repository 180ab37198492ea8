//! How a service comes back: by itself, by a promotion, by somebody's command, or by a restore of ours.

use super::desk::{Desk, LOOK};
use super::dial::Open;
use super::meter::Meter;
use super::namespace;
use super::observing::{Kept, table_name};
use super::plan::{point, restore_plan};
use crate::backup::restore::{self, PlannedTable};
use crate::error::{Context, Error, Kind, Result};
use crate::measure::{Instant, Interval};
use crate::postgres::{ConnInfo, connect};
use crate::probe::ledger::Table;
use crate::report::journal::{Event, RestorePhase, Restored, Stage};
use crate::repository::manifest::PointKind;
use crate::scenario::RecoveryBy;
use crate::units::Span;
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

/// How long is waited for a second failed probe before the drill goes on: it knows of the fault from its proof.
const NOTICED: Duration = Duration::from_secs(5);
/// A promotion replays what was received; this is more than any standby should need.
const PROMOTED: Duration = Duration::from_mins(10);

/// Brings the service back; `fault` is when it was proven to be broken.
pub(super) async fn recover(desk: &Desk<'_>, fault: Interval, kept: &mut Kept) -> Result<()> {
    let by = desk.script.scenario.recovery.by.clone();
    desk.stage(Stage::Recovery, &by.words())?;
    if by == RecoveryBy::Platform {
        return Ok(());
    }
    notice(desk, fault).await?;
    match by {
        RecoveryBy::Platform => Ok(()),
        RecoveryBy::Promote => promote(desk).await,
        RecoveryBy::Command(command) => {
            let from = desk.now();
            let outcome = run_watched(desk, &command).await;
            desk.notebook.step(&command.join(" "), from, &outcome)?;
            outcome.map(drop)
        }
        RecoveryBy::Restore { provision, .. } => Box::pin(restore(desk, &provision, kept)).await,
    }
}

/// Somebody notices, and decides.
async fn notice(desk: &Desk<'_>, fault: Interval) -> Result<()> {
    let judged = desk.script.judged_everywhere();
    let began = desk.now();
    let (at, evidence) = loop {
        if let Some(at) = desk.live.two_failed(&judged, fault.low) {
            break (at, "two probes in a row failed");
        }
        if desk.now().saturating_sub(began) >= NOTICED {
            break (Interval::exact(desk.now()), "no probe failed; the drill knows of the fault from its proof");
        }
        desk.sleep(LOOK).await?;
    };
    let at = Interval::new(at.low.max(fault.low), at.high.max(fault.low));
    desk.notebook.mark(Instant::Detected, at, evidence)?;
    desk.sleep(desk.script.scenario.recovery.decision).await?;
    desk.notebook.mark(Instant::Decided, Interval::exact(desk.now()), "the recovery begins")
}

async fn promote(desk: &Desk<'_>) -> Result<()> {
    let standby = desk.script.access.standby.as_ref();
    let standby = standby.ok_or_else(|| Error::input("promoting the standby: its URL is missing"))?;
    let conn = desk.conn(standby)?;
    let from = desk.now();
    let outcome = promote_at(desk, &conn).await;
    desk.notebook.step("promote the standby", from, &outcome)?;
    outcome?;
    routable(desk).await
}

/// Promotes, and looks between which instants the standby became a primary.
async fn promote_at(desk: &Desk<'_>, conn: &ConnInfo) -> Result<String> {
    let session = connect(conn, "drill").await?;
    let mut not_yet = desk.now();
    session.row("promoting the standby", "SELECT pg_catalog.pg_promote(false)", &[]).await?;
    let began = desk.now();
    let seen = loop {
        let looked = desk.now();
        let row = session.row("asking the standby", "SELECT pg_catalog.pg_is_in_recovery()", &[]).await?;
        if !row.get::<_, bool>(0) {
            break desk.now();
        }
        not_yet = looked;
        if desk.now().saturating_sub(began) > PROMOTED {
            return Err(Error::failed("promoting the standby: it is still in recovery after ten minutes"));
        }
        desk.sleep(LOOK).await?;
    };
    session.close().await;
    desk.notebook.mark(Instant::Writer, Interval::new(not_yet, seen), "pg_is_in_recovery is false on the standby")?;
    Ok("it is the primary now".to_owned())
}

/// Looks when the path of clients leads to a server that takes writes.
async fn routable(desk: &Desk<'_>) -> Result<()> {
    let mut not_yet = desk.now();
    let began = not_yet;
    while desk.now().saturating_sub(began) < desk.script.scenario.limits.watch {
        let looked = desk.now();
        if let Ok(session) = desk.client().await
            && !session.is_standby()
        {
            let seen = Interval::new(not_yet, desk.now());
            return desk.notebook.mark(Instant::Routable, seen, "the path of clients leads to the new primary");
        }
        not_yet = looked;
        desk.sleep(LOOK).await?;
    }
    Ok(())
}

/// Runs somebody's program for as long as a recovery is awaited, and not beyond the end of the drill.
async fn run_watched(desk: &Desk<'_>, command: &[String]) -> Result<String> {
    watched(desk, &running(command), run(command)).await
}

/// What is done with a program.
pub(super) fn running(command: &[String]) -> String {
    format!("running {}", command.first().map_or("a command", String::as_str))
}

/// Waits for something that is somebody else's as long as a recovery is awaited, and not beyond the end of the drill.
pub(super) async fn watched<T>(desk: &Desk<'_>, doing: &str, what: impl Future<Output = Result<T>>) -> Result<T> {
    let limit = (desk.script.scenario.limits.watch, "limits.watch says for how long a recovery is awaited");
    tokio::select! {
        biased;
        () = desk.means.chaos.cancel.cancelled() => Err(Error::failed(format!("{doing}: interrupted"))),
        outcome = limited(desk, doing, limit, what) => outcome,
    }
}

/// Waits no longer than a limit, which is named beside it, also when the drill is given up: for what puts something back.
pub(super) async fn limited<T>(
    desk: &Desk<'_>,
    doing: &str,
    (limit, hint): (Duration, &str),
    what: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        outcome = what => outcome,
        () = desk.means.clock().sleep(limit) => {
            Err(Error::failed(format!("{doing}: it did not end within {}", Span(limit))).hint(hint))
        }
    }
}

/// Runs somebody's program to its end, which must be a good one; what it wrote last is what was seen.
pub(super) async fn run(command: &[String]) -> Result<String> {
    let (status, last) = ended(command).await?;
    if status.success() {
        Ok(last)
    } else {
        let program = command.first().map_or("", String::as_str);
        Err(Error::failed(format!("running {program}: {status}: {last}")))
    }
}

/// A program and all that it has begun: where its end is not awaited any more nothing of it goes on.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(why) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!("ending a command: {why}");
        }
    }
}

/// Runs somebody's program to its end: how it ended, and what it wrote last.
pub(super) async fn ended(command: &[String]) -> Result<(ExitStatus, String)> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Error::input("running a command: it has no words"));
    };
    let doing = || format!("running {program}");
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.process_group(0).kill_on_drop(true).spawn().context(Kind::Failed, doing)?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let mut group = Group(id.and_then(Pid::from_raw));
    let output = child.wait_with_output().await;
    // What it has left to run, a server that was started, is meant to.
    group.0 = None;
    let output = output.context(Kind::Failed, doing)?;
    let said = String::from_utf8_lossy(if output.stdout.is_empty() { &output.stderr } else { &output.stdout });
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned();
    Ok((output.status, last))
}

/// Provisions, restores, and asks the restored data their first question.
async fn restore(desk: &Desk<'_>, provision: &[String], kept: &mut Kept) -> Result<()> {
    let mut phases = Vec::new();
    if !provision.is_empty() {
        let from = desk.now();
        let outcome = run_watched(desk, provision).await;
        desk.notebook.step("provision a server", from, &outcome)?;
        outcome?;
        phases.push(RestorePhase { name: "provisioning".to_owned(), from, until: desk.now(), bytes: 0 });
    }
    let found = desk.means.restore.repository.resolve(&point(&desk.script.scenario)?).await?;
    if found.kind == PointKind::Namespace {
        return Box::pin(namespace::bring_back(desk, &found, phases)).await;
    }
    let start = desk.now();
    let meter = Meter::new(desk.means.clock(), desk.means.progress.clone());
    let means = restore::Means { progress: meter.clone(), ..desk.means.restore.clone() };
    let plan = Box::pin(restore_plan(desk.means, &desk.script.scenario, &desk.script.access)).await?;
    let summary = plan.summary();
    let outcome = Box::pin(restore::run(&means, plan)).await;
    let told = outcome.as_ref().map(|report| {
        let kept = report.kept.as_ref().map_or_else(String::new, |kept| {
            format!("; the database that was there is kept as {kept}, and the next backup wants --rebind")
        });
        format!("{} rows from point {}{kept}", report.rows, report.point)
    });
    let told = told.map_err(|error| Error::failed(error.to_string()));
    desk.notebook.step("restore the recovery point", start, &told)?;
    let report = outcome?;
    phases.extend(meter.parts(summary.bytes));
    let tables = selected(&desk.script.scenario.recovery.by);
    let ledger_covered = match (&tables[..], put_ledger_back(desk, kept).await?) {
        ([], Some(ledger)) => holds(&summary.table_rows, &ledger),
        // Of what was not restored nothing says how old that is which was.
        _ => false,
    };
    let from = desk.now();
    let answered = first_answer(desk, from).await?;
    phases.push(RestorePhase { name: "first good query".to_owned(), from, until: answered, bytes: 0 });
    phases.sort_by_key(|phase| phase.from);
    let newest = means.repository.resolve(&format!("{}@latest", summary.source).parse()?).await?;
    desk.notebook.note(Event::Restored(Box::new(Restored {
        point: summary.point.to_string(),
        source: summary.source.to_string(),
        snapshot_time: summary.snapshot_time,
        phases,
        rows: report.rows,
        objects: None,
        bytes: summary.bytes,
        bytes_today: today(summary.bytes, &tables, found.end.bytes, newest.end.bytes),
        proof: "every table was read back and is that of the backup".to_owned(),
        ledger_covered,
        tables,
    })))?;
    let validated = Interval::exact(answered.max(desk.now()));
    desk.notebook.mark(Instant::Validated, validated, "every table was read back, and the first query was answered")
}

/// What was restored may be older than the ledger's table: then it is made anew, so that probes can write again, and
/// everything written before is missing in it, as it should be.
///
/// Gives the name of the table, where there is one.
async fn put_ledger_back(desk: &Desk<'_>, kept: &mut Kept) -> Result<Option<String>> {
    let Some(table) = &mut kept.table else { return Ok(None) };
    let limit = Duration::from_secs(30);
    let session = desk.until(limit, || desk.client()).await?;
    let sql = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    let name = table.name().to_owned();
    let there: bool = session.row("looking for the ledger's table", sql, &[&name]).await?.get(0);
    if !there {
        *table = Table::create(&Open(session), &table_name(desk)).await?;
    }
    Ok(Some(name))
}

/// The tables that are restored, where it is not all of them.
fn selected(by: &RecoveryBy) -> Vec<String> {
    match by {
        RecoveryBy::Restore { tables, .. } => tables.clone(),
        _ => Vec::new(),
    }
}

/// Whether the point has the ledger's table, whose name is written as in SQL.
fn holds(point: &[PlannedTable], ledger: &str) -> bool {
    let plain = ledger.replace('"', "");
    point.iter().any(|table| table.table == plain)
}

/// How many bytes the newest point has of what was restored: as many more as that point as a whole is larger. Of single
/// tables nothing but reading that point would tell, and 0 says that nobody knows.
fn today(restored: u64, tables: &[String], point: u64, newest: u64) -> u64 {
    if !tables.is_empty() || point == 0 {
        return 0;
    }
    u64::try_from(u128::from(restored) * u128::from(newest) / u128::from(point)).unwrap_or(u64::MAX)
}

/// When the restored data first answered somebody who came the way of clients.
pub(super) async fn first_answer(desk: &Desk<'_>, since: Duration) -> Result<Duration> {
    let judged = desk.script.judged();
    let began = desk.now();
    loop {
        if let Some(at) = desk.live.first_good(&judged, since) {
            return Ok(at);
        }
        if desk.now().saturating_sub(began) >= desk.script.scenario.limits.watch {
            return Err(Error::failed("waiting for the first good query: clients do not reach the restored data"));
        }
        desk.sleep(LOOK).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_that_is_given_up_leaves_nothing_that_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("began");
        let script = format!("sleep 300 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let command = ["/bin/sh", "-c", script.as_str()].map(str::to_owned);
        let began = async {
            while !file.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = ended(&command) => panic!("{ended:?}"),
            () = began => {}
        }
        let pid = std::fs::read_to_string(&file).unwrap();
        let line = format!("/proc/{}/cmdline", pid.trim());
        // Who is gone has no file, or an empty one until somebody asks how it ended.
        while std::fs::read(&line).is_ok_and(|line| !line.is_empty()) {
            tokio::task::yield_now().await;
        }
        let (status, last) = ended(&["/bin/sh", "-c", "echo one; echo two"].map(str::to_owned)).await.unwrap();
        assert!(status.success() && last == "two", "{status} {last}");
    }

    #[test]
    fn a_ledger_is_covered_only_where_the_point_has_its_table() {
        let table = |name: &str| PlannedTable { table: name.to_owned(), rows: 1, bytes: None };
        let ledger = Table::known("20261121t031200z-k3f9ab").unwrap();
        let own = table("davit.ledger_20261121t031200z-k3f9ab");
        assert!(holds(&[table("public.orders"), own], ledger.name()));
        assert!(!holds(&[table("public.orders"), table("davit.ledger_20261121t031200z-other")], ledger.name()));
    }

    #[test]
    fn what_the_newest_point_has_of_single_tables_is_not_known() {
        assert_eq!(today(1_000, &[], 1_200, 1_200), 1_000, "the same point is as large as itself");
        assert_eq!(today(1_000, &[], 1_200, 2_400), 2_000);
        assert_eq!(today(1_000, &["public.orders".to_owned()], 1_200, 50_000), 0);
        assert_eq!(today(1_000, &[], 0, 50_000), 0);
    }
}
