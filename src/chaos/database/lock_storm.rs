//! `lock-storm`: locks tables so that everybody waits, as a forgotten migration does.

use super::{TARGETS, only_sessions, rights, sessions, table, whole};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::guard::Finding;
use crate::chaos::select::Victim;
use crate::error::{Error, Result};
use async_trait::async_trait;
use serde_json::json;
use std::time::Duration;

/// How long a lock may have to wait for those who hold the table: a storm that never comes is no fault.
const GRANTED: Duration = Duration::from_secs(20);
const MODES: [&str; 4] = ["access exclusive", "exclusive", "share row exclusive", "share"];

#[derive(Debug)]
pub(in crate::chaos) struct LockStorm;

#[async_trait]
impl Fault for LockStorm {
    fn facts(&self) -> Facts {
        Facts {
            name: "lock-storm",
            class: Class::Reversible,
            targets: TARGETS,
            summary: "holds table locks that everybody else waits for",
            needs: "the rights to read the tables and to lock them (SELECT, and UPDATE, DELETE or TRUNCATE)",
            proof: "the lock is granted in pg_locks, and another session does not get the table",
            heals: "its session is ended",
            expires: "the server ends the idle transaction (idle_in_transaction_session_timeout), and it ends with the runner",
            parameters: &[
                Parameter { name: "tables", default: None, what: "the tables, parted by commas" },
                Parameter {
                    name: "mode",
                    default: Some("access exclusive"),
                    what: "the lock: access exclusive, exclusive, share row exclusive or share",
                },
            ],
            rbac: &[],
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        mode(scene)?;
        let session = scene.session().await?;
        for name in scene.parameters.list("tables") {
            table::find(&session, &name).await?;
        }
        session.close().await;
        whole(scene).await
    }

    async fn objections(&self, scene: &Scene<'_>, _victims: &[Victim]) -> Result<Vec<Finding>> {
        let session = scene.session().await?;
        let mut rights = Vec::new();
        for name in scene.parameters.list("tables") {
            rights.push(rights::lock(&session, &name).await?);
        }
        let finding = rights::ask(&session, &rights).await?;
        session.close().await;
        Ok(vec![finding])
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        Ok(only_sessions(scene, victim, "end the session of this run; its locks go with it"))
    }

    async fn inject(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<Held> {
        let session = scene.carrier().await?;
        sessions::expire_idle(&session, scene.expiry()).await?;
        let mut tables = Vec::new();
        for name in scene.parameters.list("tables") {
            tables.push(table::find(&session, &name).await?.quoted);
        }
        let sql = format!(
            "BEGIN; SET LOCAL lock_timeout = {}; LOCK TABLE {} IN {} MODE",
            GRANTED.as_millis(),
            tables.join(", "),
            mode(scene)?
        );
        session.execute("locking tables", &sql).await?;
        let pid = session.backend_pid();
        Ok(Held::nothing().noting(json!({ "pid": pid, "tables": tables })).keep(session))
    }

    async fn proof(&self, scene: &Scene<'_>, _prepared: &Prepared, held: &Held, asked: Duration) -> Result<Proof> {
        let pid = held.notes["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        let tables: Vec<&str> =
            held.notes["tables"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
        let (tables, session) = (&tables, &scene.session().await?);
        // The weakest lock that the mode keeps out is what an application would ask for.
        let wants = if mode(scene)? == "access exclusive" { "ACCESS SHARE" } else { "ROW EXCLUSIVE" };
        let look = || async move {
            let sql = "SELECT count(*) FROM pg_catalog.pg_locks WHERE pid = $1 AND locktype = 'relation' AND granted AND mode IN \
                       ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock')";
            let granted: i64 = session.row("looking for the lock", sql, &[&pid]).await?.get(0);
            if granted == 0 {
                return Ok(None);
            }
            for table in tables {
                let sql = format!("BEGIN; SET LOCAL lock_timeout = 50; LOCK TABLE {table} IN {wants} MODE");
                let tried = session.client.batch_execute(&sql).await;
                session.execute("letting go of a table", "ROLLBACK").await?;
                match tried {
                    Err(error) if crate::postgres::classify(&error) == crate::postgres::Fault::Locked => {}
                    Err(error) => return Err(session.explain(&error, "asking for a locked table")),
                    Ok(()) => return Ok(None),
                }
            }
            let seen = format!(
                "session {pid} holds the locks, and another session got SQLSTATE 55P03 on {}",
                tables.join(", ")
            );
            Ok(Some(seen))
        };
        scene.look(asked, Duration::from_secs(10), "the tables could still be had", look).await
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        sessions::end(scene, prepared).await
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        sessions::none_left(scene, prepared).await
    }
}

fn mode(scene: &Scene<'_>) -> Result<&'static str> {
    let wanted = scene.parameters.get("mode").unwrap_or(MODES[0]).to_lowercase();
    MODES.into_iter().find(|mode| *mode == wanted).ok_or_else(|| {
        Error::input(format!("reading the parameter mode={wanted:?}"))
            .hint(format!("it is one of {}", MODES.join(", ")))
    })
}
