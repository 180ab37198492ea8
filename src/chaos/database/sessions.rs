//! The sessions that carry a fault: found again by the run's name, ended by anybody, proven to be gone.

use super::still_the_same;
use crate::chaos::evidence::ReadBack;
use crate::chaos::fault::{Prepared, Scene};
use crate::error::Result;
use crate::postgres::{self, Fault, Session};
use std::time::Duration;

/// How long ending them may take.
const ENDED: Duration = Duration::from_secs(20);

/// A way in, also while all connections are taken: their holders end by themselves, if nobody else does it.
pub(super) async fn way_in(scene: &Scene<'_>) -> Result<Session> {
    let conn = scene.database()?;
    let clock = &scene.means.clock;
    let (began, limit) = (clock.monotonic(), scene.expiry() + ENDED);
    loop {
        match postgres::try_connect(&conn, "chaos").await {
            Err((Fault::TooMany | Fault::Starting, _)) if clock.monotonic().saturating_sub(began) < limit => {
                clock.sleep(Duration::from_millis(200)).await;
            }
            other => return other.map_err(|(_, error)| error),
        }
    }
}

/// Ends all sessions of this run and waits until they are gone.
pub(super) async fn end(scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
    let session = way_in(scene).await?;
    still_the_same(&session, prepared).await?;
    let name = scene.application();
    let all =
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE application_name = $1";
    session.rows("ending the sessions that carry the fault", all, &[&name]).await?;
    let session = &session;
    scene.until(ENDED, || async { Ok(count(session, scene).await? == 0) }).await?;
    Ok(())
}

/// How many sessions of this run there are.
pub(super) async fn count(session: &Session, scene: &Scene<'_>) -> Result<i64> {
    let sql = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE application_name = $1";
    Ok(session.row("counting the sessions that carry the fault", sql, &[&scene.application()]).await?.get(0))
}

/// Looks whether none is left.
pub(super) async fn none_left(scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
    let session = way_in(scene).await?;
    still_the_same(&session, prepared).await?;
    Ok(match count(&session, scene).await? {
        0 => ReadBack::AsBefore { seen: "no session of this run is left, and a fresh connection is served".to_owned() },
        left => ReadBack::Not { why: format!("{left} sessions of this run are left") },
    })
}

/// Lets the server end a session's transaction after a time, whoever forgets it.
pub(super) async fn expire_idle(session: &Session, after: Duration) -> Result<()> {
    let millis = after.as_millis();
    let sql = format!("SET idle_in_transaction_session_timeout = {millis}; SET statement_timeout = {millis}");
    session.execute("limiting the session that carries the fault", &sql).await
}
