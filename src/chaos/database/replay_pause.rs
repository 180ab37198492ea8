//! `replay-pause`: a standby receives the log and does not replay it.

use super::{TARGETS, rights, sessions, still_the_same, whole};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene, Server};
use crate::chaos::guard::{Finding, GuardName};
use crate::chaos::select::Victim;
use crate::error::{Error, Result};
use crate::postgres::{self, ConnInfo, Session};
use async_trait::async_trait;
use serde_json::json;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(in crate::chaos) struct ReplayPause;

#[async_trait]
impl Fault for ReplayPause {
    fn facts(&self) -> Facts {
        Facts {
            name: "replay-pause",
            class: Class::Reversible,
            targets: TARGETS,
            summary: "a standby receives the log and does not replay it",
            needs: "a superuser of the standby, or EXECUTE on pg_wal_replay_pause and pg_wal_replay_resume",
            proof: "the standby says that replay is paused",
            heals: "pg_wal_replay_resume",
            expires: "a session on the standby itself resumes replay, whoever is gone",
            parameters: &[Parameter {
                name: "primary",
                default: Some(""),
                what: "URL of the primary, to see that nobody waits for this standby [not asked]",
            }],
            rbac: &[],
            many: false,
        }
    }

    fn server(&self) -> Server {
        Server::Standby
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        whole(scene).await
    }

    async fn objections(&self, scene: &Scene<'_>, _victims: &[Victim]) -> Result<Vec<Finding>> {
        let session = scene.session().await?;
        let functions = ["pg_wal_replay_pause()", "pg_wal_replay_resume()"].map(|name| rights::call(&session, name));
        let allowed = rights::ask(&session, &functions).await?;
        session.close().await;
        Ok(vec![waited_for(scene).await?, allowed])
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let session = scene.session().await?;
        let doing = format!("pausing replay of {}", victim.shown);
        if !session.is_standby() {
            return Err(Error::refused(format!("{doing}: it is no standby"))
                .hint("name the server that follows the primary: its replay is what stands still"));
        }
        if paused(&session).await? {
            return Err(Error::refused(format!("{doing}: somebody else has paused it"))
                .hint("pg_wal_replay_resume() on the standby, if nobody needs the pause"));
        }
        session.close().await;
        Ok(Prepared { victim, prior: json!({ "paused": false }), undo: "resume replay".to_owned() })
    }

    async fn inject(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<Held> {
        let fuse = Fuse::light(scene, "SELECT pg_catalog.pg_wal_replay_resume()").await?;
        let session = scene.session().await?;
        session.execute("pausing replay", "SELECT pg_catalog.pg_wal_replay_pause()").await?;
        session.close().await;
        Ok(Held::nothing().keep(fuse))
    }

    async fn proof(&self, scene: &Scene<'_>, _prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let session = &scene.session().await?;
        let look = || async move {
            let paused = paused(session).await?;
            Ok(paused.then(|| "the standby says that replay is paused".to_owned()))
        };
        scene.look(asked, SOON, "replay was not paused", look).await
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        let session = scene.session().await?;
        still_the_same(&session, prepared).await?;
        // A standby that was promoted meanwhile replays nothing any more.
        if session.is_standby() {
            session.execute("resuming replay", "SELECT pg_catalog.pg_wal_replay_resume()").await?;
        }
        session.close().await;
        sessions::end(scene, prepared).await
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let session = scene.session().await?;
        still_the_same(&session, prepared).await?;
        if session.is_standby() && paused(&session).await? {
            return Ok(ReadBack::Not { why: "replay is still paused".to_owned() });
        }
        session.close().await;
        Ok(match sessions::none_left(scene, prepared).await? {
            ReadBack::AsBefore { .. } => ReadBack::AsBefore { seen: "replay goes on".to_owned() },
            other => other,
        })
    }
}

/// Whether commits wait for what this standby replays.
async fn waited_for(scene: &Scene<'_>) -> Result<Finding> {
    let guard = GuardName::Quorum;
    let Some(primary) = scene.parameters.get("primary").filter(|url| !url.is_empty()) else {
        let session = scene.session().await?;
        // Only commits that wait for replay are held up, and only the primary knows them.
        let waits = session.texts("reading a setting", "SHOW synchronous_commit").await?;
        let waits = waits.first().and_then(|row| row.first().cloned().flatten()).unwrap_or_default();
        session.close().await;
        let seen = "the primary was not asked whether commits wait for this standby's replay (--set primary=URL)";
        return Ok(Finding::of(guard, waits != "remote_apply", seen));
    };
    let session = postgres::connect(&ConnInfo::parse(primary, &scene.means.postgres)?, "chaos").await?;
    let sql = "SELECT pg_catalog.current_setting('synchronous_commit'), \
                   (SELECT count(*) FROM pg_catalog.pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))";
    let row = session.row("asking the primary who it waits for", sql, &[]).await?;
    let (waits, synchronous): (String, i64) = (row.get(0), row.get(1));
    session.close().await;
    let good = waits != "remote_apply" || synchronous > 1;
    let seen = format!("synchronous_commit is {waits}, and {synchronous} standbys are synchronous");
    Ok(Finding::of(guard, good, seen))
}

async fn paused(session: &Session) -> Result<bool> {
    let sql = if session.major() >= 14 {
        "SELECT pg_catalog.pg_get_wal_replay_pause_state() = 'paused'"
    } else {
        "SELECT pg_catalog.pg_is_wal_replay_paused()"
    };
    Ok(session.row("asking whether replay is paused", sql, &[]).await?.get(0))
}

/// A fuse inside the server: a session that sleeps and then undoes the fault. A backend that sleeps does not notice that
/// its client is gone, so it burns down also when the runner was killed.
pub(super) struct Fuse(tokio::task::JoinHandle<()>);

impl Drop for Fuse {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Fuse {
    /// Lights it; it is at work in the server when this returns.
    pub(super) async fn light(scene: &Scene<'_>, undo: &str) -> Result<Self> {
        let carrier = scene.carrier().await?;
        let mut settings = "SET statement_timeout = 0".to_owned();
        if carrier.major() >= 14 {
            settings.push_str("; SET client_connection_check_interval = 0");
        }
        carrier.execute("preparing the session that ends the fault by itself", &settings).await?;
        let pid = carrier.backend_pid();
        let sql = format!("SELECT pg_catalog.pg_sleep({}); {undo}", scene.expiry().as_secs_f64());
        let task = tokio::spawn(async move {
            // The whole session, not only its client.
            let carrier = carrier;
            if let Err(error) = carrier.client.batch_execute(&sql).await {
                tracing::debug!("the session that ends the fault by itself was ended: {error}");
            }
        });
        let fuse = Self(task);
        let session = &scene.session().await?;
        let burning = || async move {
            let sql = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'";
            Ok(session.row("looking for the session that ends the fault", sql, &[&pid]).await?.get::<_, i64>(0) == 1)
        };
        if !scene.until(SOON, burning).await? {
            return Err(Error::failed("preparing the session that ends the fault by itself: it does not run"));
        }
        Ok(fuse)
    }
}
