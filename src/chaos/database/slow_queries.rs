//! `slow-queries`: sessions that keep the server's cores busy, as a report without an index does.

use super::{TARGETS, only_sessions, sessions, whole};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::select::Victim;
use crate::error::{Error, Result};
use async_trait::async_trait;
use std::time::Duration;

const MOST: usize = 256;
/// How long all of them may take to be seen at work.
const AT_WORK: Duration = Duration::from_secs(10);
/// It computes for as long as it is let: no table is read, nothing is written, also not to disk for sorting.
const QUERY: &str = "SELECT pg_catalog.count(*) FROM (SELECT pg_catalog.generate_series(1, 10000000000000) AS n OFFSET 0) AS s \
                     WHERE pg_catalog.sqrt(n) < 0";

#[derive(Debug)]
pub(in crate::chaos) struct SlowQueries;

/// A query under way; dropping it lets the connection go.
struct AtWork(tokio::task::JoinHandle<()>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[async_trait]
impl Fault for SlowQueries {
    fn facts(&self) -> Facts {
        Facts {
            name: "slow-queries",
            class: Class::Reversible,
            targets: TARGETS,
            summary: "runs queries that keep the server's cores busy",
            needs: "a login",
            proof: "the queries are active in pg_stat_activity, all at once",
            heals: "its sessions are ended",
            expires: "the server cancels the queries (statement_timeout)",
            parameters: &[Parameter { name: "sessions", default: Some("8"), what: "how many queries run at once" }],
            rbac: &[],
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        wanted(scene)?;
        whole(scene).await
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        Ok(only_sessions(scene, victim, "end the sessions of this run"))
    }

    async fn inject(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<Held> {
        let mut held = Held::nothing();
        for _ in 0..wanted(scene)? {
            let session = scene.carrier().await?;
            let limit = format!("SET statement_timeout = {}", scene.expiry().as_millis());
            session.execute("limiting a slow query", &limit).await?;
            let task = tokio::spawn(async move {
                // The whole session, not only its client: without its task nothing would be sent.
                let session = session;
                // It never ends well: the server cancels it, or its session is ended.
                if let Err(error) = session.client.batch_execute(QUERY).await {
                    tracing::debug!("a slow query ended: {error}");
                }
            });
            held = held.keep(AtWork(task));
        }
        Ok(held)
    }

    async fn proof(&self, scene: &Scene<'_>, _prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let wanted = wanted(scene)?;
        let session = &scene.session().await?;
        let name = &scene.application();
        let look = || async move {
            let sql =
                "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE application_name = $1 AND state = 'active'";
            let active: i64 = session.row("counting the slow queries", sql, &[name]).await?.get(0);
            let all = usize::try_from(active).is_ok_and(|active| active >= wanted);
            Ok(all.then(|| format!("{active} queries of this run are active at once")))
        };
        scene.look(asked, AT_WORK, "not all queries were seen active at once", look).await
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        sessions::end(scene, prepared).await
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        sessions::none_left(scene, prepared).await
    }
}

fn wanted(scene: &Scene<'_>) -> Result<usize> {
    let wanted: usize = scene.parameters.read("sessions", 8)?;
    if (1..=MOST).contains(&wanted) {
        return Ok(wanted);
    }
    Err(Error::input(format!("reading the parameter sessions={wanted}")).hint(format!("it is from 1 to {MOST}")))
}
