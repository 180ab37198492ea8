//! The demo's last step: a drill. The server is killed under writers, its database comes back on another one, and the report
//! says how long that took and what was lost.

use super::stage::Stage;
use crate::error::{Context, Kind, Result};
use crate::postgres::throwaway::{Server, ThrowawayOptions};
use crate::postgres::{ConnInfo, connect};
use std::path::Path;

/// The scenario's file.
const FILE: &str = "server-lost.yaml";

/// The port of throw-away servers.
const PORT: u16 = 5432;

/// Kills the server, brings its database back on a spare one, and shows where the report is.
pub(super) async fn drill(directory: &Path, server: &Server, spare: ThrowawayOptions, stage: &Stage) -> Result<()> {
    let spare = stage.unless_stopped(Box::pin(Server::start(spare))).await?;
    let shown = Box::pin(show(directory, server, &spare, stage)).await;
    spare.stop().await?;
    shown
}

async fn show(directory: &Path, server: &Server, spare: &Server, stage: &Stage) -> Result<()> {
    let session = connect(&server.conn().with_database("shop"), "demo").await?;
    // A target lets faults in by saying so itself.
    let sql = "CREATE SCHEMA IF NOT EXISTS davit; CREATE TABLE davit.environment (name text, disposable boolean); \
               INSERT INTO davit.environment VALUES ('demo', true)";
    session.execute("opening the shop for a drill", sql).await?;
    session.close().await;
    let path = directory.join(FILE);
    std::fs::write(&path, scenario(&socket(server.conn()), &socket(spare.conn())))
        .context(Kind::Failed, || format!("writing {}", path.display()))?;
    stage.tell(&format!("A second server stands by, empty. What is to happen is in {FILE}: read it."))?;
    stage.run(&["drill", FILE, "--report", "reports"], &[0]).await?;
    stage.tell("reports/drill-….html is the same for a browser: one file, signed, with the graph of the outage.")
}

/// The directory of a server's socket.
fn socket(conn: &ConnInfo) -> String {
    conn.child_environment().into_iter().find(|(name, _)| name == "PGHOST").map(|(_, host)| host).unwrap_or_default()
}

/// The drill as a person would write it.
fn scenario(server: &str, spare: &str) -> String {
    format!(
        "\
title: The shop's server is lost
why: Servers die. This drill shows how long the shop is closed then, and which orders are gone.
owner: you

objectives: {{rto: 1m, rpo: 10m}}

target:
  service: shop
  environment: demo             # the database says the same about itself, in davit.environment
  processes:
    clients: postgres:///shop?user=demo&host={server},{spare}&port={PORT},{PORT}
    primary: {{url: \"postgres:///shop?user=demo&host={server}&port={PORT}\"}}

steady_state: {{for: 3s, p95: 500ms, p99: 1s, errors: 1%}}
load: {{writes: 100/s}}

fault:
  name: primary-crash           # kill -9 of the server and all its processes

recovery:
  by: restore from latest
  source: shop
  into: postgres:///shop?user=demo&host={spare}&port={PORT}
  decision: 1s                  # until somebody has decided

limits: {{hold: 3s, control_loop: 500ms, watch: 1m}}
"
    )
}
