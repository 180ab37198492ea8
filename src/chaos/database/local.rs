//! The server's processes and files, where they are on this machine.

use crate::chaos::fault::Scene;
use crate::chaos::host::Machine;
use crate::chaos::host::process::{self, Process, Status};
use crate::error::{Error, Result};
use crate::postgres::Session;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A server on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Local {
    /// Its data directory.
    pub(super) data: PathBuf,
    /// Its first process, the parent of all others.
    pub(super) postmaster: Process,
    /// The machine; intents of older versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) machine: Option<Machine>,
}

impl Local {
    /// What the kernel says of its first process; `None` if it is gone, also where the machine was started anew since and
    /// its number and its time are those of another one.
    pub(super) fn status(&self, scene: &Scene<'_>) -> Option<Status> {
        let restarted = self.machine.as_ref().is_some_and(|then| scene.means.machine.was_restarted(then));
        if restarted { None } else { self.postmaster.status() }
    }
}

/// Finds the server of the scene's database on this machine.
pub(super) async fn of(scene: &Scene<'_>) -> Result<Local> {
    let session = scene.session().await?;
    let server = find(&session).await?;
    session.close().await;
    Ok(Local { machine: Some(scene.means.machine.clone()), ..server })
}

/// Finds the server that a session is connected to on this machine. It is only believed to be here if the process that
/// serves us is a child of the one that its data directory names, and both tell the same second of their start.
pub(super) async fn find(session: &Session) -> Result<Local> {
    let doing = "looking for the server's processes on this machine";
    let sql = "SELECT pg_catalog.current_setting('data_directory'), \
               pg_catalog.floor(pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()))::bigint";
    let row = session.row(doing, sql, &[]).await?;
    let (data, started): (String, i64) = (row.get(0), row.get(1));
    let elsewhere = |what: &str| {
        Error::refused(format!("{doing}: {what}"))
            .hint("run davit on the server's own machine, as root or as its account; a server in a pod is hit through its pod")
    };
    let file = PathBuf::from(&data).join("postmaster.pid");
    let text = std::fs::read_to_string(&file)
        .map_err(|why| elsewhere(&format!("{} cannot be read", file.display())).because(why))?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let pid: i32 = lines.first().and_then(|line| line.parse().ok()).unwrap_or_default();
    let since: i64 = lines.get(2).and_then(|line| line.parse().ok()).unwrap_or_default();
    // The file is written a moment before the server counts its own beginning.
    if (since - started).abs() > 2 {
        return Err(elsewhere("the server there was started at another time than the one that answers"));
    }
    let backend = process::status(session.backend_pid());
    match (backend, Process::of(pid)) {
        (Some(backend), Some(postmaster)) if backend.parent == pid => {
            Ok(Local { data: data.into(), postmaster, machine: None })
        }
        _ => Err(elsewhere("the process that serves us is no child of it")),
    }
}
