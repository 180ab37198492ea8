//! From plans of streams to streams: each gets the service that it asks, after a look whether there is room for it.

use super::dial::Server;
use crate::error::{Error, Result};
use crate::postgres::{ConnInfo, connect};
use crate::probe::dns::DnsService;
use crate::probe::http::{Good, HttpService};
use crate::probe::ledger::Ledger;
use crate::probe::observer::Stream;
use crate::probe::sql::{self, SharedDial, SqlService};
use crate::probe::tcp::TcpService;
use crate::probe::tls::Trust;
use crate::probe::transport::{Named, Tcp, Transport};
use crate::probe::{Ask, SharedService, StreamPlan};
use std::sync::Arc;

/// What probes read where they do not write.
const READ: &str = "SELECT 1";

type Settings = Vec<(&'static str, String)>;

/// What the SQL streams of an observer need.
#[derive(Clone)]
pub struct Database {
    /// How to reach the target.
    pub conn: ConnInfo,
    /// For streams that write: the ledger, and the name of its table.
    pub ledger: Option<(Arc<Ledger>, String)>,
}

/// Gives each plan its service. For SQL it connects once, to learn the version and whether there is room for the probes.
///
/// # Errors
/// `Kind::Input` for a plan that lacks something, `Kind::Refused` where the target has no room.
pub async fn streams(plans: &[StreamPlan], database: Option<&Database>) -> Result<Vec<Stream>> {
    let wanted = connections(&plans.iter().collect::<Vec<_>>());
    let major = match database {
        Some(database) if wanted > 0 => Some(look(database, wanted).await?),
        _ => None,
    };
    plans.iter().map(|plan| stream(plan, database.zip(major))).collect()
}

/// The most connections that the SQL streams among these ever hold at once.
pub(super) fn connections(plans: &[&StreamPlan]) -> u32 {
    plans.iter().filter(|plan| plan.ask.is_sql()).map(|plan| plan.connections()).sum()
}

/// The target's major version, if it has room for so many connections.
async fn look(database: &Database, wanted: u32) -> Result<u32> {
    let session = connect(&database.conn, "probe").await?;
    let major = session.major();
    let free = sql::check_room(&super::dial::Open(session), wanted).await;
    free.map(|()| major)
}

/// The network, with names from whom the plan asks.
fn network(plan: &StreamPlan) -> Arc<dyn Transport> {
    match plan.names {
        Some(server) => Arc::new(Named { server }),
        None => Arc::new(Tcp),
    }
}

/// How a stream reaches its database, and the settings of its sessions.
fn way<'a>(plan: &StreamPlan, database: Option<(&'a Database, u32)>) -> Result<(&'a Database, SharedDial, Settings)> {
    let (database, major) = database
        .ok_or_else(|| Error::input(format!("planning the probes {:?}: there is no database to ask", plan.name)))?;
    Ok((database, Server::shared(database.conn.clone()), sql::settings(plan.deadline, major)))
}

fn stream(plan: &StreamPlan, database: Option<(&Database, u32)>) -> Result<Stream> {
    plan.check()?;
    let service: SharedService = match &plan.ask {
        Ask::Query { connection, query } => {
            let (_, dial, settings) = way(plan, database)?;
            Arc::new(SqlService::asking(dial, settings, *connection, query))
        }
        Ask::Sql { connection, write } => {
            let (database, dial, settings) = way(plan, database)?;
            if *write {
                let (ledger, table) = database.ledger.clone().ok_or_else(|| {
                    Error::input(format!("planning the probes {:?}: they write, and there is no ledger", plan.name))
                })?;
                Arc::new(SqlService::writing(dial, settings, *connection, ledger, &table))
            } else {
                Arc::new(SqlService::reading(dial, settings, *connection, READ))
            }
        }
        Ask::Http { url, connection, status, contains, ca } => {
            let good = Good { status: *status, contains: contains.clone() };
            let trust = ca.as_deref().map_or(Trust::System, Trust::Only);
            Arc::new(HttpService::over(network(plan), url, *connection, good)?.trusting(trust)?)
        }
        Ask::Tcp { address, send, expect } => {
            Arc::new(TcpService::over(network(plan), address, send.as_deref(), expect.as_deref()))
        }
        Ask::Dns { name, server, expect } => Arc::new(DnsService::new(name, server.or(plan.names), expect)),
    };
    Ok(Stream { plan: plan.clone(), service })
}
