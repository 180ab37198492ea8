//! `primary-crash`: kills the whole process tree of a server, as a failing machine or the kernel's memory killer would.

use super::local::{self, Local};
use super::{TARGETS, whole};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::host::process::kill_tree;
use crate::chaos::host::{Machine, gone, start_again};
use crate::chaos::select::Victim;
use crate::error::Result;
use crate::postgres::{self, Fault as PgFault};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// How long a start may take: it replays the log.
const STARTED: Duration = Duration::from_mins(2);

#[derive(Debug)]
pub(in crate::chaos) struct PrimaryCrash;

#[derive(Debug, Serialize, Deserialize)]
struct Prior {
    server: Local,
    start: String,
    /// Where `start` is run; nothing where there is nothing to run, and whether the server answers shows from anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<Machine>,
}

#[async_trait]
impl Fault for PrimaryCrash {
    fn facts(&self) -> Facts {
        Facts {
            name: "primary-crash",
            class: Class::SelfHealing,
            targets: TARGETS,
            summary: "kills the server's process tree at once (SIGKILL)",
            needs: "to run on the server's machine, as root or as its account; a login that may read data_directory",
            proof: "the first process and all its children are gone",
            heals: "its supervisor starts it, a standby takes over, or the command given as `start`",
            expires: "at once",
            parameters: &[Parameter {
                name: "start",
                default: Some(""),
                what: "command that starts the server again when healing begins [somebody else does]",
            }],
            rbac: &[],
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        whole(scene).await
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let server = local::of(scene).await?;
        let start = scene.parameters.get("start").unwrap_or_default().to_owned();
        let undo = if start.is_empty() {
            "nothing; its supervisor starts it, or a standby takes over".to_owned()
        } else {
            format!("run: {start}")
        };
        let shown = format!("{} (process {} and its children)", victim.shown, server.postmaster.pid);
        let machine = server.machine.clone().filter(|_| !start.is_empty());
        Ok(Prepared { victim: Victim { shown, ..victim }, prior: json!(Prior { server, start, machine }), undo })
    }

    async fn inject(&self, _scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let Prior { server, .. } = prepared.prior()?;
        let killed = kill_tree(server.postmaster)?;
        Ok(Held::nothing().noting(json!(killed)))
    }

    async fn proof(&self, scene: &Scene<'_>, _prepared: &Prepared, held: &Held, asked: Duration) -> Result<Proof> {
        gone(scene, held, asked).await
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        let Prior { start, server, .. } = prepared.prior()?;
        if start.is_empty() || server.status(scene).is_some() || answers(scene, prepared).await? {
            return Ok(());
        }
        start_again(&start, "the server").await?;
        scene.until(STARTED, || answers(scene, prepared)).await?;
        Ok(())
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let Prior { start, .. } = prepared.prior()?;
        Ok(match (answers(scene, prepared).await?, start.is_empty()) {
            (true, true) => ReadBack::NothingToUndo { seen: "the same server answers".to_owned() },
            (false, true) => ReadBack::NothingToUndo {
                seen: "the server is down; a standby or its supervisor takes over".to_owned(),
            },
            (true, false) => ReadBack::AsBefore { seen: "the same server was started and answers".to_owned() },
            (false, false) => ReadBack::Not { why: "the server was started and does not answer".to_owned() },
        })
    }
}

/// Whether the server that the intent is about answers.
async fn answers(scene: &Scene<'_>, prepared: &Prepared) -> Result<bool> {
    match postgres::try_connect(&scene.database()?, "chaos").await {
        Ok(session) => {
            let same = super::still_the_same(&session, prepared).await.is_ok();
            session.close().await;
            Ok(same)
        }
        Err((PgFault::Refused | PgFault::Starting | PgFault::Gone | PgFault::Timeout | PgFault::TooMany, _)) => {
            Ok(false)
        }
        Err((_, error)) => Err(error),
    }
}
