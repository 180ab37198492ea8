//! `failover`: promotes a standby.

use super::{TARGETS, rights, whole};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Prepared, Scene, Server};
use crate::chaos::guard::{Finding, GuardName};
use crate::chaos::select::Victim;
use crate::error::{Error, Result};
use crate::postgres::Session;
use async_trait::async_trait;
use serde_json::json;
use std::time::Duration;

/// How long a promotion may take: it replays what has been received.
const PROMOTED: Duration = Duration::from_mins(2);

#[derive(Debug)]
pub(in crate::chaos) struct Failover;

/// Whether a login may promote a standby, and otherwise what it lacks.
pub async fn may_promote(session: &Session) -> Result<Finding> {
    rights::ask(session, &[rights::call(session, "pg_promote(boolean, integer)")]).await
}

#[async_trait]
impl Fault for Failover {
    fn facts(&self) -> Facts {
        Facts {
            name: "failover",
            class: Class::OneWay,
            targets: TARGETS,
            summary: "promotes a standby",
            needs: "a superuser of the standby, or EXECUTE on pg_promote",
            proof: "the standby is in recovery no more and writes on a newer timeline",
            heals: "not: a promoted standby stays primary; the old primary is rebuilt (pg_rewind, pg_basebackup)",
            expires: "at once",
            parameters: &[],
            rbac: &[],
            many: false,
        }
    }

    fn server(&self) -> Server {
        Server::Standby
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        let session = scene.session().await?;
        let standby = session.is_standby();
        session.close().await;
        if standby { whole(scene).await } else { Ok(Vec::new()) }
    }

    async fn objections(&self, scene: &Scene<'_>, _victims: &[Victim]) -> Result<Vec<Finding>> {
        let session = scene.session().await?;
        let sql = "SELECT coalesce((SELECT status FROM pg_catalog.pg_stat_wal_receiver), 'none')";
        let status: String = session.row("asking the standby for its primary", sql, &[]).await?.get(0);
        let allowed = may_promote(&session).await?;
        session.close().await;
        let guard = GuardName::SplitBrain;
        let alone = if status == "streaming" {
            Finding::no(guard, "the primary lives and would go on taking writes beside the promoted standby")
        } else {
            Finding::yes(guard, "the standby receives nothing from a primary")
        };
        Ok(vec![alone, allowed])
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let session = scene.session().await?;
        let sql = "SELECT greatest(c.timeline_id, r.received_tli) FROM pg_catalog.pg_control_checkpoint() c \
                   LEFT JOIN pg_catalog.pg_stat_wal_receiver r ON true";
        let timeline: i32 = session.row("reading the standby's timeline", sql, &[]).await?.get(0);
        session.close().await;
        let undo = "nothing undoes it: a promoted standby stays primary".to_owned();
        Ok(Prepared { victim, prior: json!({ "timeline": timeline }), undo })
    }

    async fn inject(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<Held> {
        let session = scene.session().await?;
        let sql = "SELECT pg_catalog.pg_promote(false, 60)";
        let asked: bool = session.row("promoting the standby", sql, &[]).await?.get(0);
        session.close().await;
        if asked {
            Ok(Held::nothing())
        } else {
            Err(Error::failed("promoting the standby: it did not take the request"))
        }
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let before = prepared.prior["timeline"].as_i64().unwrap_or_default();
        let session = &scene.session().await?;
        let look = || async move {
            let now = timeline(session).await?;
            Ok(now.filter(|now| *now > before).map(|now| format!("it writes on timeline {now}, and was on {before}")))
        };
        scene.look(asked, PROMOTED, "the standby did not become a primary", look).await
    }

    async fn heal(&self, _scene: &Scene<'_>, _prepared: &Prepared) -> Result<()> {
        Ok(())
    }

    async fn read_back(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<ReadBack> {
        let session = scene.session().await?;
        let seen = match timeline(&session).await? {
            Some(timeline) => format!("it is a primary on timeline {timeline}"),
            None => "it is still a standby".to_owned(),
        };
        Ok(ReadBack::NothingToUndo { seen })
    }
}

/// The timeline that a primary writes on; `None` on a standby. The control file would tell it seconds later.
async fn timeline(session: &Session) -> Result<Option<i64>> {
    let sql = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL \
               ELSE pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) END";
    let name: Option<String> = session.row("asking for the timeline", sql, &[]).await?.get(0);
    Ok(name.and_then(|name| i64::from_str_radix(&name, 16).ok()))
}
