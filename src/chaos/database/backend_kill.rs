//! `backend-kill`: ends sessions of the application, as an administrator or a failing network would.

use super::{TARGETS, rights};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::guard::Finding;
use crate::chaos::select::Victim;
use crate::error::{Error, Result};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a backend may take to die: it ends at its next interrupt.
const GONE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(in crate::chaos) struct BackendKill;

/// One session; its number alone may belong to another one by now.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Backend {
    pid: i32,
    started: String,
}

#[async_trait]
impl Fault for BackendKill {
    fn facts(&self) -> Facts {
        Facts {
            name: "backend-kill",
            class: Class::SelfHealing,
            targets: TARGETS,
            summary: "ends sessions of the application (pg_terminate_backend)",
            needs: "pg_signal_backend and, to see sessions of other roles, pg_read_all_stats; or a superuser",
            proof: "the session is gone from pg_stat_activity",
            heals: "the application connects again",
            expires: "at once",
            parameters: &[
                Parameter { name: "application", default: Some(""), what: "only sessions with this application_name" },
                Parameter { name: "user", default: Some(""), what: "only sessions of this role" },
                Parameter { name: "walsenders", default: Some("false"), what: "also sessions that stream to standbys" },
            ],
            rbac: &[],
            many: true,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        let session = scene.session().await?;
        let walsenders: bool = scene.parameters.read("walsenders", false)?;
        let application = scene.parameters.get("application").unwrap_or_default();
        let user = scene.parameters.get("user").unwrap_or_default();
        let sql = "SELECT pid, backend_start::text, coalesce(application_name, ''), coalesce(usename::text, ''), backend_type \
                   FROM pg_catalog.pg_stat_activity \
                   WHERE (datname = pg_catalog.current_database() AND backend_type = 'client backend' \
                          OR $1 AND backend_type = 'walsender') \
                     AND ($2 = '' OR application_name = $2) AND ($3 = '' OR usename = $3) \
                     AND pid <> pg_catalog.pg_backend_pid() AND application_name NOT LIKE 'davit/%' \
                   ORDER BY backend_start, pid";
        let rows = session.rows("listing the sessions", sql, &[&walsenders, &application, &user]).await?;
        session.close().await;
        let victim = |row: &tokio_postgres::Row| {
            let backend = Backend { pid: row.get(0), started: row.get(1) };
            let (application, user, kind): (String, String, String) = (row.get(2), row.get(3), row.get(4));
            let shown = format!("{kind} {} of {user} ({application})", backend.pid);
            Victim::new(format!("{}/{:010}", backend.started, backend.pid), shown).with(json!(backend))
        };
        Ok(rows.iter().map(victim).collect())
    }

    async fn objections(&self, scene: &Scene<'_>, victims: &[Victim]) -> Result<Vec<Finding>> {
        let session = scene.session().await?;
        let pids = victims.iter().filter_map(|victim| victim.facts["pid"].as_i64());
        let pids = pids.map(|pid| pid.to_string()).collect::<Vec<_>>().join(", ");
        let finding = rights::ask(&session, &[rights::end_sessions(&session, &format!("a.pid IN ({pids})"))]).await?;
        session.close().await;
        Ok(vec![finding])
    }

    async fn prepare(&self, _scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        Ok(Prepared { victim, prior: Value::Null, undo: "nothing; the application connects again".to_owned() })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let backend = backend(prepared)?;
        let session = scene.session().await?;
        let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
                   WHERE pid = $1 AND backend_start::text = $2";
        let rows = session.rows("ending a session", sql, &[&backend.pid, &backend.started]).await?;
        session.close().await;
        if rows.is_empty() {
            return Err(Error::failed(format!("ending {}: it was gone before", prepared.victim.shown)));
        }
        Ok(Held::nothing())
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let Backend { pid, started } = &backend(prepared)?;
        let session = &scene.session().await?;
        let look = || async move {
            let sql = "SELECT 1 FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND backend_start::text = $2";
            let left = session.rows("looking for a session", sql, &[pid, started]).await?;
            Ok(left.is_empty().then(|| format!("the session {pid} is gone from pg_stat_activity")))
        };
        scene.look(asked, GONE, "the session was not gone", look).await
    }

    async fn heal(&self, _scene: &Scene<'_>, _prepared: &Prepared) -> Result<()> {
        Ok(())
    }

    async fn read_back(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<ReadBack> {
        scene.session().await?.close().await;
        Ok(ReadBack::NothingToUndo { seen: "the server answers a fresh connection".to_owned() })
    }
}

fn backend(prepared: &Prepared) -> Result<Backend> {
    serde_json::from_value(prepared.victim.facts.clone())
        .map_err(|why| Error::failed(format!("reading what {} is", prepared.victim.shown)).because(why))
}
