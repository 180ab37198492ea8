//! `read-only`: the database takes no writes, as after a failover to the wrong place.

use super::replay_pause::Fuse;
use super::{TARGETS, rights, sessions, still_the_same, whole};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Prepared, Scene};
use crate::chaos::guard::Finding;
use crate::chaos::select::Victim;
use crate::error::{Error, Result};
use crate::postgres::Session;
use crate::postgres::quote::{ident, literal};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use tokio_postgres::error::SqlState;

const SOON: Duration = Duration::from_secs(10);
const SETTING: &str = "default_transaction_read_only";
/// Sessions keep the setting with which they began, so these are ended.
const OTHERS: &str = "a.datname = pg_catalog.current_database() AND a.backend_type = 'client backend' \
                      AND a.pid <> pg_catalog.pg_backend_pid() AND a.application_name NOT LIKE 'davit/%'";

#[derive(Debug)]
pub(in crate::chaos) struct ReadOnly;

#[derive(Debug, Serialize, Deserialize)]
struct Prior {
    database: String,
    /// What the database said for itself, if it did.
    own: Option<String>,
}

#[async_trait]
impl Fault for ReadOnly {
    fn facts(&self) -> Facts {
        Facts {
            name: "read-only",
            class: Class::Reversible,
            targets: TARGETS,
            summary: "the database takes no writes; its sessions are ended so that all of them notice",
            needs: "to own the database, pg_signal_backend and pg_read_all_stats",
            proof: "a write of a fresh session is refused with SQLSTATE 25006",
            heals: "the database's own setting is put back, and sessions that began read-only are ended",
            expires: "a session on the server itself puts the setting back",
            parameters: &[],
            rbac: &[],
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        whole(scene).await
    }

    async fn objections(&self, scene: &Scene<'_>, _victims: &[Victim]) -> Result<Vec<Finding>> {
        let session = scene.session().await?;
        let rights =
            [rights::own_database(&session), rights::see_sessions(&session), rights::end_sessions(&session, OTHERS)];
        let finding = rights::ask(&session, &rights).await?;
        session.close().await;
        Ok(vec![finding])
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let session = scene.session().await?;
        let doing = format!("making {} read-only", victim.shown);
        if session.is_standby() {
            return Err(Error::refused(format!("{doing}: it is a standby, and takes no writes anyway")));
        }
        let own = own(&session).await?;
        if own.as_deref().is_some_and(|own| ["on", "true", "1", "yes"].contains(&own)) {
            return Err(Error::refused(format!("{doing}: somebody else has done so")));
        }
        let prior = Prior { database: session.conn().database().to_owned(), own };
        session.close().await;
        let undo = format!("put {SETTING} of the database back, and end the sessions that began read-only");
        Ok(Prepared { victim, prior: json!(prior), undo })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let prior: Prior = prepared.prior()?;
        let undo = format!("BEGIN; {}; COMMIT; {}", back(&prior), end_others());
        let fuse = Fuse::light(scene, &undo).await?;
        let session = scene.session().await?;
        let set = format!("ALTER DATABASE {} SET {SETTING} = on", ident(&prior.database));
        session.execute("making the database read-only", &set).await?;
        session.execute("ending its sessions", &end_others()).await?;
        session.close().await;
        Ok(Held::nothing().keep(fuse))
    }

    async fn proof(&self, scene: &Scene<'_>, _prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let look = || async move {
            let session = scene.session().await?;
            let tried = session.client.batch_execute("BEGIN; CREATE TEMPORARY TABLE davit_write (); ROLLBACK").await;
            session.close().await;
            let refused = tried.is_err_and(|error| error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
            Ok(refused.then(|| "SQLSTATE 25006 on a write of a fresh session".to_owned()))
        };
        scene.look(asked, SOON, "a fresh session could still write", look).await
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        let prior: Prior = prepared.prior()?;
        let session = sessions::way_in(scene).await?;
        still_the_same(&session, prepared).await?;
        if own(&session).await? != prior.own {
            let back = back(&prior);
            // Two messages: a transaction that has begun read-only stays so.
            session.execute("allowing this session to write", &format!("SET {SETTING} = off")).await?;
            session.execute("putting the setting back", &back).await?;
            session.execute("ending sessions that began read-only", &end_others()).await?;
        }
        session.close().await;
        sessions::end(scene, prepared).await
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let prior: Prior = prepared.prior()?;
        let session = scene.session().await?;
        still_the_same(&session, prepared).await?;
        let is = own(&session).await?;
        session.close().await;
        if is != prior.own {
            return Ok(ReadBack::Not { why: format!("{SETTING} of the database is {is:?}, and was {:?}", prior.own) });
        }
        sessions::none_left(scene, prepared).await
    }
}

/// What the database says for itself, for all roles.
async fn own(session: &Session) -> Result<Option<String>> {
    let sql = "SELECT entry FROM pg_catalog.pg_db_role_setting s \
               JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, pg_catalog.unnest(s.setconfig) AS entry \
               WHERE d.datname = pg_catalog.current_database() AND s.setrole = 0 AND entry LIKE 'default\\_transaction\\_read\\_only=%'";
    let rows = session.rows("reading the database's own settings", sql, &[]).await?;
    Ok(rows.first().and_then(|row| row.get::<_, String>(0).split_once('=').map(|(_, value)| value.to_owned())))
}

fn end_others() -> String {
    format!("SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a WHERE {OTHERS}")
}

/// The statement that puts it back.
fn back(prior: &Prior) -> String {
    let database = ident(&prior.database);
    match &prior.own {
        Some(own) => format!("ALTER DATABASE {database} SET {SETTING} = {}", literal(own)),
        None => format!("ALTER DATABASE {database} RESET {SETTING}"),
    }
}
