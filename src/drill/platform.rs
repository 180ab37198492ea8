//! What shows of the platform itself, beside what clients feel: when it noticed the fault (t3, where nobody else does), when
//! there is a writer again and users are led to it (t5, t6, where the platform brings it back), and when the service is as
//! redundant as it was (t10).

use super::desk::{Desk, stopped};
use crate::chaos;
use crate::cluster::{Cluster, Kind, Query};
use crate::error::{Error, Result};
use crate::humane::{self, counted};
use crate::measure::{Instant, Interval};
use crate::postgres::connect;
use crate::report::journal::Event;
use crate::scenario::{Place, ProcessTarget, RecoveryBy};
use crate::units::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often is looked. It bounds how exactly these instants are known, and costs a request or a query.
const LOOK: Duration = Duration::from_millis(250);

/// What is looked at.
pub(super) enum Platform {
    /// Pods of a namespace, and which of them were ready: by uid.
    Pods { namespace: String, labels: Option<String>, before: BTreeMap<String, bool> },
    /// The primary's standbys that streamed, and when its postmaster began.
    Servers { standbys: usize, postmaster: String },
    /// The process that its file named.
    Process { file: PathBuf, before: (i32, u64) },
    /// There is nothing to look at.
    Nothing,
}

/// What one look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    /// That the platform knows of the fault, and how that shows.
    noticed: Option<String>,
    /// That everything is there that was there before, and how that shows.
    whole: Option<String>,
    /// That there is a writer again.
    writer: Option<String>,
    /// That the path of clients leads to one.
    routable: bool,
}

/// Instants as they become known.
#[derive(Debug, Default)]
struct Known {
    /// When less than before was last seen since the fault.
    degraded: Option<Duration>,
    noticed: Option<(Interval, String)>,
    whole: Option<(Interval, String)>,
    writer: Option<(Interval, String)>,
    routable: Option<Interval>,
}

impl Platform {
    /// How it is before the fault.
    pub(super) async fn before(desk: &Desk<'_>) -> Self {
        match &desk.script.scenario.target.place {
            Place::Cluster(target) if target.primary.is_none() => {
                let Ok(cluster) = desk.means.chaos.cluster() else { return Self::Nothing };
                let (namespace, labels) = (target.namespace.clone(), target.pods.clone());
                match pods(cluster, &namespace, labels.as_deref()).await {
                    Ok(before) if !before.is_empty() => Self::Pods { namespace, labels, before },
                    _ => Self::Nothing,
                }
            }
            place if place.primary().is_some() && desk.is_database() => servers(desk).await.unwrap_or(Self::Nothing),
            Place::Processes(ProcessTarget { pid_file: Some(file), .. }) => match chaos::service_process(file) {
                Some(before) => Self::Process { file: file.clone(), before },
                None => Self::Nothing,
            },
            _ => Self::Nothing,
        }
    }

    /// Looks from the proven fault until `stop`, and then until the service is as redundant as before, if somebody wants
    /// to know; writes down what became known.
    pub(super) async fn watch(&self, desk: &Desk<'_>, fault: Interval, stop: &CancellationToken) -> Result<()> {
        if matches!(self, Self::Nothing) {
            stop.cancelled().await;
            return Ok(());
        }
        let known = Mutex::new(Known::default());
        let wanted = desk.script.scenario.objectives.redundancy.objective();
        tokio::select! {
            () = self.look_on(desk, fault, &known) => {}
            () = async {
                stop.cancelled().await;
                let limit = wanted.filter(|_| self.can_be_whole()).map_or(Duration::ZERO, |wanted| wanted.0 * 2);
                let until = desk.now() + limit;
                while desk.now() < until && known.lock().unwrap_or_else(PoisonError::into_inner).whole.is_none() {
                    if desk.sleep(LOOK).await.is_err() {
                        return;
                    }
                }
            } => {}
        }
        let known = known.into_inner().unwrap_or_else(PoisonError::into_inner);
        if desk.means.cancel().is_cancelled() {
            return Err(stopped());
        }
        self.write_down(desk, known)
    }

    /// Whether anything could ever show that it is as redundant as before: a database that stood alone was not redundant, and
    /// waiting for it to be would be in vain.
    const fn can_be_whole(&self) -> bool {
        !matches!(self, Self::Nothing | Self::Servers { standbys: 0, .. })
    }

    async fn look_on(&self, desk: &Desk<'_>, fault: Interval, known: &Mutex<Known>) {
        let mut not_yet = fault.low;
        loop {
            let looked = desk.now();
            if let Ok(seen) = self.look(desk).await {
                let between = Interval::new(not_yet, desk.now());
                known.lock().unwrap_or_else(PoisonError::into_inner).take(seen, between, fault);
                not_yet = looked;
            }
            desk.means.clock().sleep(LOOK).await;
        }
    }

    async fn look(&self, desk: &Desk<'_>) -> Result<Seen> {
        match self {
            Self::Pods { namespace, labels, before } => {
                let cluster = desk.means.chaos.cluster()?;
                Ok(compare(before, &pods(cluster, namespace, labels.as_deref()).await?))
            }
            Self::Servers { standbys, postmaster } => Ok(Self::look_at_servers(desk, *standbys, postmaster).await),
            Self::Process { file, before } => {
                // A supervisor tells nobody that it noticed: what it started shows it.
                let other = chaos::service_process(file).filter(|now| now != before);
                let seen = other.map(|(pid, _)| format!("process {pid} runs in its place"));
                Ok(Seen { noticed: seen.clone(), whole: seen, ..Seen::default() })
            }
            Self::Nothing => Ok(Seen::default()),
        }
    }

    async fn look_at_servers(desk: &Desk<'_>, standbys: usize, postmaster: &str) -> Seen {
        let mut seen = Seen::default();
        if let Some(primary) = &desk.script.access.primary
            && let Ok(conn) = desk.conn(primary)
            && let Ok(session) = connect(&conn, "drill").await
            && let Ok(row) = session.row("asking the primary", STANDING, &[]).await
        {
            let (began, is_standby): (String, bool) = (row.get(0), row.get(1));
            if began != postmaster {
                seen.noticed = Some(format!("a server that began at {began} answers in the primary's place"));
            }
            if !is_standby {
                seen.writer = Some("the primary's address leads to a server that takes writes".to_owned());
            }
            session.close().await;
        }
        if let Ok(session) = desk.client().await {
            seen.routable = !session.is_standby();
            if let Ok(row) = session.row("counting its standbys", STREAMING, &[]).await {
                seen.whole = as_many(standbys, &row.get::<_, Vec<i64>>(0), desk.script.scenario.limits.replica_lag);
            }
            session.close().await;
        }
        seen
    }

    fn write_down(&self, desk: &Desk<'_>, known: Known) -> Result<()> {
        let by_platform = desk.script.scenario.recovery.by == RecoveryBy::Platform;
        // Whoever else brings the service back has said when it noticed, and when it acted.
        if by_platform && let Some((at, evidence)) = known.noticed {
            desk.notebook.mark(Instant::Detected, at, evidence)?;
        }
        if by_platform && let (Self::Servers { .. }, Some((at, evidence))) = (self, known.writer) {
            desk.notebook.mark(Instant::Writer, at, evidence)?;
        }
        if by_platform && let (Self::Servers { .. }, Some(at)) = (self, known.routable) {
            desk.notebook.mark(Instant::Routable, at, "the path of clients leads to a server that takes writes")?;
        }
        match (known.whole, known.degraded) {
            (Some((at, evidence)), _) => desk.notebook.mark(Instant::Redundant, at, evidence),
            (None, Some(until)) => desk.notebook.note(Event::Degraded { until }),
            (None, None) => Ok(()),
        }
    }
}

impl Known {
    /// Takes what was seen between two instants. What is whole may break again: the last time that it became so counts.
    fn take(&mut self, seen: Seen, between: Interval, fault: Interval) {
        let between = Interval::new(between.low.max(fault.low), between.high.max(fault.low));
        if self.noticed.is_none() {
            self.noticed = seen.noticed.map(|evidence| (between, evidence));
        }
        if seen.whole.is_none() {
            self.degraded = Some(between.high);
        }
        // Until the platform knows of the fault, what it shows is from before.
        let known = self.degraded.is_some() || self.noticed.is_some();
        match seen.whole.filter(|_| known) {
            Some(evidence) if self.whole.is_none() => self.whole = Some((between, evidence)),
            Some(_) => {}
            None => self.whole = None,
        }
        match seen.writer {
            Some(evidence) if self.writer.is_none() => self.writer = Some((between, evidence)),
            Some(_) => {}
            None => self.writer = None,
        }
        match (seen.routable, self.routable) {
            (true, None) => self.routable = Some(between),
            (false, _) => self.routable = None,
            (true, Some(_)) => {}
        }
    }
}

/// When a server's postmaster began, and whether it is a standby.
const STANDING: &str = "SELECT pg_catalog.pg_postmaster_start_time()::text, pg_catalog.pg_is_in_recovery()";
/// How many bytes of a server's log each standby that streams from it has not replayed. What is not known is too much.
const STREAMING: &str = "SELECT coalesce(array_agg(coalesce((pg_catalog.pg_current_wal_lsn() - replay_lsn)::bigint, \
                         9223372036854775807)), '{}') FROM pg_catalog.pg_stat_replication WHERE state = 'streaming'";

async fn servers(desk: &Desk<'_>) -> Result<Platform> {
    let primary = desk.script.access.primary.as_ref();
    let primary = primary.ok_or_else(|| Error::input("looking at the primary: its URL is missing"))?;
    let session = connect(&desk.conn(primary)?, "drill").await?;
    let postmaster = session.row("asking the primary", STANDING, &[]).await?.get(0);
    let standbys = session.row("counting its standbys", STREAMING, &[]).await?.get::<_, Vec<i64>>(0).len();
    session.close().await;
    Ok(Platform::Servers { standbys, postmaster })
}

/// That as many standbys as before stream and are near enough to take over without a wait, and how that shows: one that
/// streams and has yet to replay a day of log is no redundancy.
fn as_many(before: usize, behind: &[i64], limit: Bytes) -> Option<String> {
    let size = |bytes: &i64| Bytes(u64::try_from(*bytes).unwrap_or(0));
    let near: Vec<Bytes> = behind.iter().map(size).filter(|bytes| *bytes <= limit).collect();
    let worst = near.iter().max().filter(|_| near.len() >= before && before > 0)?;
    Some(format!(
        "{} streaming, {} of log or less not replayed",
        counted(near.len() as u64, "standby"),
        humane::bytes(worst.0)
    ))
}

/// The pods of a service that are there and not going, and which of them are ready: by uid.
async fn pods(cluster: &Cluster, namespace: &str, labels: Option<&str>) -> Result<BTreeMap<String, bool>> {
    let kind = Kind::known("", "v1", "pods", "Pod");
    let mut listing = cluster.list(Query { namespace: Some(namespace), labels, ..Query::all(&kind) });
    let mut found = BTreeMap::new();
    while let Some(bytes) = listing.next().await.map_err(|why| why.during(format!("listing pods of {namespace}")))? {
        let pod: Value = serde_json::from_slice(&bytes)
            .map_err(|why| Error::failed(format!("reading a pod of {namespace}")).because(why))?;
        let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if ended || !pod["metadata"]["deletionTimestamp"].is_null() {
            continue;
        }
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
        found.insert(pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), ready);
    }
    Ok(found)
}

/// What pods say, compared with those of before: the platform has noticed when one of them is gone, or is ready no more, or
/// a new one is there; all is as before when as many are ready, and that is not only what nobody has noticed yet.
fn compare(before: &BTreeMap<String, bool>, now: &BTreeMap<String, bool>) -> Seen {
    let ready = |pods: &BTreeMap<String, bool>| pods.values().filter(|ready| **ready).count();
    let lost = before.iter().filter(|(uid, was)| **was && now.get(*uid) != Some(&true)).count();
    let new = now.keys().filter(|uid| !before.contains_key(*uid)).count();
    let wanted = ready(before);
    let noticed = (lost > 0 || new > 0)
        .then(|| format!("the control plane shows {lost} of {wanted} ready pods ready no more, and {new} new"));
    let whole = (ready(now) >= wanted).then(|| format!("{} ready, as many as before", counted(wanted as u64, "pod")));
    Seen { noticed, whole, ..Seen::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pods: &[(&str, bool)]) -> BTreeMap<String, bool> {
        pods.iter().map(|(uid, ready)| ((*uid).to_owned(), *ready)).collect()
    }

    fn between(low: u64, high: u64) -> Interval {
        Interval::new(Duration::from_millis(low), Duration::from_millis(high))
    }

    #[test]
    fn a_standby_that_streams_from_far_behind_is_not_there_yet() {
        let limit = Bytes(1000);
        assert_eq!(as_many(1, &[1001], limit), None);
        assert_eq!(as_many(2, &[1000, i64::MAX], limit), None);
        assert_eq!(as_many(2, &[1000], limit), None);
        // Nothing was there before: nothing says that it is as before.
        assert_eq!(as_many(0, &[], limit), None);
        let said = as_many(1, &[1000, 5, i64::MAX], limit).unwrap();
        assert!(said.starts_with("2 standbys streaming, 1000 B of log"), "{said}");
        // Between the two values of one look it has replayed more than the log had.
        assert!(as_many(1, &[-8], limit).is_some());
    }

    #[test]
    fn nobody_waits_for_a_database_that_stood_alone_to_be_redundant() {
        let servers = |standbys| Platform::Servers { standbys, postmaster: String::new() };
        assert!(servers(1).can_be_whole() && !servers(0).can_be_whole() && !Platform::Nothing.can_be_whole());
    }

    #[test]
    fn what_nobody_has_noticed_yet_is_not_as_before_and_what_breaks_again_begins_anew() {
        let before = of(&[("a", true), ("b", true), ("c", true)]);
        let fault = between(1000, 1100);
        let mut known = Known::default();
        // A dead node's pods are shown as ready for as long as nobody misses its heartbeat.
        known.take(compare(&before, &before), between(900, 1200), fault);
        assert!(known.noticed.is_none() && known.whole.is_none());
        known.take(compare(&before, &of(&[("a", true), ("b", true), ("c", false)])), between(1200, 1500), fault);
        assert_eq!(known.noticed.as_ref().unwrap().0, between(1200, 1500));
        assert!(known.whole.is_none());
        let again = of(&[("a", true), ("b", true), ("d", true)]);
        known.take(compare(&before, &again), between(1500, 1800), fault);
        known.take(compare(&before, &again), between(1800, 2100), fault);
        assert_eq!(known.whole.as_ref().unwrap().0, between(1500, 1800));
        known.take(compare(&before, &of(&[("a", true), ("d", true)])), between(2100, 2400), fault);
        assert!(known.whole.is_none());
        known.take(compare(&before, &again), between(2400, 2700), fault);
        assert_eq!(known.whole.unwrap().0, between(2400, 2700));
        assert_eq!(known.noticed.unwrap().0, between(1200, 1500), "the first time counts");
    }
}
