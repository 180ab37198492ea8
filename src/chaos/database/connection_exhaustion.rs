//! `connection-exhaustion`: takes every connection that the server gives, and holds it.

use super::{TARGETS, only_sessions, sessions, whole};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::guard::{Finding, GuardName};
use crate::chaos::select::Victim;
use crate::error::{Error, Result};
use crate::postgres::{self, ConnInfo, Fault as PgFault, Session};
use async_trait::async_trait;
use std::time::Duration;

/// A server with more connections than this is not filled by one process.
const MOST: usize = 5000;
/// Opened side by side: each costs the server a fork.
const AT_ONCE: usize = 8;
/// So many refusals in a row mean that there is no place left.
const REFUSALS: u32 = 3;
/// How long the refusal may take.
const REFUSED: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(in crate::chaos) struct ConnectionExhaustion;

#[async_trait]
impl Fault for ConnectionExhaustion {
    fn facts(&self) -> Facts {
        Facts {
            name: "connection-exhaustion",
            class: Class::Reversible,
            targets: TARGETS,
            summary: "opens connections until the server refuses more, and holds them",
            needs: "a login; as a role that is no superuser it leaves the places that are kept for superusers",
            proof: "a fresh connection is refused with SQLSTATE 53300",
            heals: "its sessions are ended",
            expires: "the server ends idle transactions (idle_in_transaction_session_timeout), and all of them with the runner",
            parameters: &[Parameter {
                name: "as",
                default: Some(""),
                what: "URL of the role that takes the connections: the application's [the target's own]",
            }],
            rbac: &[],
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        taker(scene)?;
        whole(scene).await
    }

    async fn objections(&self, scene: &Scene<'_>, _victims: &[Victim]) -> Result<Vec<Finding>> {
        let conn = taker(scene)?;
        Ok(vec![match postgres::try_connect(&conn, "chaos").await {
            Ok(session) => {
                session.close().await;
                Finding::yes(GuardName::Permission, format!("{} logs in", conn.user()))
            }
            Err((_, error)) => Finding::no(GuardName::Permission, error.to_string()),
        }])
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        Ok(only_sessions(scene, victim, "end the sessions of this run"))
    }

    async fn inject(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<Held> {
        let conn = taker(scene)?;
        // One connection of our own first, so that healing needs no free place.
        let mut held = Held::nothing().keep(scene.session().await?);
        let mut taken = 0;
        loop {
            let wave = (0..AT_ONCE).map(|_| take(scene, &conn));
            let mut full = false;
            for outcome in futures_util::future::join_all(wave).await {
                match outcome {
                    Ok(session) => {
                        held = held.keep(session);
                        taken += 1;
                    }
                    Err((PgFault::TooMany, _)) => full = true,
                    Err((_, error)) => return Err(error),
                }
            }
            if full {
                break;
            }
            if taken >= MOST {
                return Err(Error::failed(format!(
                    "taking all connections: after {taken} the server still gives more"
                )));
            }
        }
        // Those of a wave that were refused stood in each other's way: the last places are taken one by one.
        let mut refusals = 0;
        while refusals < REFUSALS && taken < MOST {
            match take(scene, &conn).await {
                Ok(session) => {
                    held = held.keep(session);
                    taken += 1;
                    refusals = 0;
                }
                Err((PgFault::TooMany, _)) => refusals += 1,
                Err((_, error)) => return Err(error),
            }
        }
        Ok(held)
    }

    async fn proof(&self, scene: &Scene<'_>, _prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let conn = &taker(scene)?;
        let look = || async move {
            match postgres::try_connect(conn, "chaos").await {
                Err((PgFault::TooMany, _)) => Ok(Some("SQLSTATE 53300 on a fresh connection".to_owned())),
                _ => Ok(None),
            }
        };
        scene.look(asked, REFUSED, "no fresh connection was refused", look).await
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        sessions::end(scene, prepared).await
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        sessions::none_left(scene, prepared).await
    }
}

/// Who takes the connections.
fn taker(scene: &Scene<'_>) -> Result<ConnInfo> {
    match scene.parameters.get("as").filter(|url| !url.is_empty()) {
        Some(url) => ConnInfo::parse(url, &scene.means.postgres),
        None => scene.database(),
    }
}

/// One connection that the server ends after a time by itself.
async fn take(scene: &Scene<'_>, conn: &ConnInfo) -> std::result::Result<Session, (PgFault, Error)> {
    let session = postgres::try_connect(conn, &scene.mark()).await?;
    let hold = async {
        sessions::expire_idle(&session, scene.expiry()).await?;
        session.execute("holding a connection", "BEGIN").await
    };
    hold.await.map_err(|error| (PgFault::Other, error))?;
    Ok(session)
}
