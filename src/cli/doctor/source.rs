//! One source: whether a backup of it would begin.

use super::findings::Findings;
use super::repository::skew;
use crate::backup::take;
use crate::cli::backup::of_source;
use crate::cli::shell::Shell;
use crate::config::Source;
use crate::error::Result;
use crate::humane::{bytes, counted};
use crate::postgres::{ConnInfo, connect, pooler};
use crate::repository::Repository;
use jiff::Timestamp;

/// Asks the server, and plans a backup that is not made.
pub(super) async fn look(findings: &mut Findings, shell: &Shell, source: &Source, repository: Option<&Repository>) {
    let check = format!("source {}", source.name);
    let connection = match shell.settings.connection_of(source) {
        Ok(connection) => connection,
        Err(error) => return findings.error(&check, &error),
    };
    match server_clock(&connection).await {
        Ok(theirs) => skew(findings, &format!("clock of {}", source.name), theirs, shell.clock.now()),
        Err(error) => return findings.error(&check, &error),
    }
    let Some(repository) = repository else {
        // Without a repository no plan can be made; a pooler is what most often stands in the way.
        match pooler::refuse_pooler(&connection).await {
            Ok(()) => findings.ok(&check, format!("{} answers", connection.describe())),
            Err(error) => findings.error(&check, &error),
        }
        return;
    };
    let request = match of_source(source, shell) {
        Ok(request) => request,
        Err(error) => return findings.error(&check, &error),
    };
    match take::plan(request, repository).await {
        Err(error) => findings.error(&check, &error),
        Ok(plan) => {
            let tables = counted(plan.tables() as u64, "table");
            findings.ok(&check, format!("{}: {tables}, about {}", plan.server, bytes(plan.bytes_estimate())));
            for warning in &plan.warnings {
                findings.warn(&check, warning.clone(), "see davit backup --dry-run");
            }
        }
    }
}

async fn server_clock(connection: &ConnInfo) -> Result<Timestamp> {
    const SQL: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";
    let session = connect(connection, "doctor").await?;
    let row = session.row("asking the server for its clock", SQL, &[]).await?;
    session.close().await;
    Ok(Timestamp::from_millisecond(row.get(0)).unwrap_or(Timestamp::UNIX_EPOCH))
}
