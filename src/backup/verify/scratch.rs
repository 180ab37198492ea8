//! The server in which a point is restored to be proven: a throw-away one of this machine, or one that the user names.
//!
//! In the throw-away one a bootstrap superuser makes roles, extensions and definitions; rows, indexes, views and
//! checks, which may run code of whoever wrote the database, are the work of a role that may nothing beyond owning.

use super::request::Request;
use crate::backup::restore::Means;
use crate::backup::restore::globals::Globals;
use crate::error::{Error, Kind, Result};
use crate::postgres::throwaway::{Server, ThrowawayOptions};
use crate::postgres::tools::Tools;
use crate::postgres::{ConnInfo, Session, connect, quote};
use crate::secret::Secret;
use rand::RngExt;
use std::collections::BTreeSet;

/// Beyond what the tables take: indexes, write-ahead log, the cluster itself.
const ROOM_BYTES: u64 = 256 << 20;

/// The first major version that can keep event triggers from firing; login triggers came with it.
const EVENT_TRIGGERS_CAN_BE_OFF: u32 = 17;

/// A server for one proof.
pub(super) struct Scratch {
    /// The throw-away server; none where the user named one.
    server: Option<Server>,
    /// Whoever may create databases.
    admin: ConnInfo,
    /// Whoever handles rows.
    worker: ConnInfo,
    /// What a reader of the evidence should know of the place.
    pub(super) notes: Vec<String>,
}

impl Scratch {
    /// Finds or makes the server.
    pub(super) async fn open(means: &Means, request: &Request, major: u32, heap_bytes: u64) -> Result<Self> {
        if let Some(into) = &request.into {
            let notes = vec![format!("restored into a new database of {}", into.shown_hosts())];
            return Ok(Self { server: None, admin: into.clone(), worker: into.clone(), notes });
        }
        let tools = Tools::find_server(major, &means.tool_dirs, means.path.as_deref())
            .map_err(|error| error.as_kind(Kind::Undecided))?;
        let tools_major = tools.version().major;
        if !request.scratch_dir.is_dir() {
            let directory = request.scratch_dir.display();
            return Err(Error::undecided(format!("making a throw-away server: {directory} is no directory"))
                .hint("name one with room for the whole database: scratch in davit.yaml, DAVIT_SCRATCH or TMPDIR"));
        }
        let clock = means.repository.clock().clone();
        let mut options = ThrowawayOptions::new(tools, &request.scratch_dir, clock, means.cancel.clone());
        options.account.clone_from(&request.account);
        options.room_bytes = ROOM_BYTES + heap_bytes * 2;
        options.superuser = random_name("davit_bootstrap");
        if tools_major >= EVENT_TRIGGERS_CAN_BE_OFF {
            // A login trigger of the backup would run with every session of ours.
            options.settings.push(("event_triggers".to_owned(), "off".to_owned()));
        }
        let server = Server::start(options).await?;
        let (admin, worker) = (server.conn().clone(), server.conn().clone());
        let mut notes = vec![format!("restored into a throw-away server, {}", server.egress())];
        if server.shares_our_account() {
            notes.push("the throw-away server ran as our own account".to_owned());
        }
        Ok(Self { server: Some(server), admin, worker, notes })
    }

    /// Whether the server is ours alone.
    pub(super) fn is_own(&self) -> bool {
        self.server.is_some()
    }

    /// To a database that nobody uses, for its name. On a server that stays it is always the same, so that the next run
    /// finds and drops what a killed one left.
    pub(super) fn target(&self) -> ConnInfo {
        self.admin.with_database("davit_verify")
    }

    /// To a database as whoever makes definitions.
    pub(super) fn admin(&self, database: &str) -> ConnInfo {
        self.admin.with_database(database)
    }

    /// To a database as whoever handles rows.
    pub(super) fn worker(&self, database: &str) -> ConnInfo {
        self.worker.with_database(database)
    }

    /// In a server of our own: makes the roles of the point, without their powers, and the one that handles rows.
    pub(super) async fn people(
        &mut self,
        means: &Means,
        globals: Option<&Globals>,
        named: &BTreeSet<String>,
    ) -> Result<()> {
        if !self.is_own() {
            return Ok(());
        }
        let session = Box::pin(connect(&self.admin, "verify")).await?;
        let made = if let Some(globals) = globals {
            let globals = globals.without_tablespaces();
            globals.bring(&session, &means.progress, &[]).await.map_err(|error| error.as_kind(Kind::CheckFailed))?.roles
        } else {
            self.notes.push("the point holds no roles: empty ones were made by their names".to_owned());
            make_named(&session, named).await?
        };
        let superusers = powers(&session).await?;
        disarm(&session, &made, &superusers).await?;
        let password = Secret::new(format!("{:032x}", rand::rng().random::<u128>()));
        let worker = random_name("davit_worker");
        let member = if made.is_empty() { String::new() } else { format!(" IN ROLE {}", list(&made)) };
        let sql = format!(
            "CREATE ROLE {} LOGIN BYPASSRLS PASSWORD {}{member}",
            quote::ident(&worker),
            quote::literal(password.reveal())
        );
        session.execute("making the role that handles rows", &sql).await?;
        session.close().await;
        self.worker = self.admin.with_user(&worker, Some(&password));
        Ok(())
    }

    /// Ends what was begun.
    pub(super) async fn close(self) -> Result<()> {
        match self.server {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

async fn make_named(session: &Session, named: &BTreeSet<String>) -> Result<Vec<String>> {
    let known = session.texts("listing roles", "SELECT rolname FROM pg_catalog.pg_roles").await?;
    let known: BTreeSet<String> = known.into_iter().flatten().flatten().collect();
    let made: Vec<String> = named.difference(&known).cloned().collect();
    for role in &made {
        session.execute(&format!("making role {role}"), &format!("CREATE ROLE {}", quote::ident(role))).await?;
    }
    Ok(made)
}

/// Superusers among the roles of the point.
async fn powers(session: &Session) -> Result<Vec<String>> {
    let sql = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper AND rolname <> current_user ORDER BY 1";
    Ok(session.texts("listing superusers", sql).await?.into_iter().flatten().flatten().collect())
}

/// Takes from the roles what lets code reach the machine; a former superuser still may use what the others own.
async fn disarm(session: &Session, made: &[String], superusers: &[String]) -> Result<()> {
    let mut sql: Vec<String> = made
        .iter()
        .map(|role| {
            format!("ALTER ROLE {} NOSUPERUSER NOCREATEROLE NOREPLICATION NOLOGIN PASSWORD NULL", quote::ident(role))
        })
        .collect();
    // The predefined roles that open files and programs (manual, predefined roles).
    let harmless = ["pg_read_all_data", "pg_write_all_data"];
    let unsafe_ones = ["pg_read_server_files", "pg_write_server_files", "pg_execute_server_program"];
    for role in made {
        sql.extend(unsafe_ones.iter().map(|power| format!("REVOKE {power} FROM {}", quote::ident(role))));
    }
    let mut below: Vec<String> = made.iter().filter(|role| !superusers.contains(role)).cloned().collect();
    for role in superusers.iter().filter(|role| made.contains(role)) {
        let owned = below.iter().map(|name| quote::ident(name)).chain(harmless.map(str::to_owned));
        for name in owned {
            // A role that is a member the other way round already cannot become one; then it needs no more.
            let grant = format!("GRANT {name} TO {}", quote::ident(role));
            sql.push(format!(
                "DO $davit$ BEGIN {grant}; EXCEPTION WHEN invalid_grant_operation THEN NULL; END $davit$"
            ));
        }
        below.push(role.clone());
    }
    for statement in sql {
        session.execute("taking powers from the restored roles", &statement).await?;
    }
    Ok(())
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| quote::ident(name)).collect::<Vec<_>>().join(", ")
}

fn random_name(what: &str) -> String {
    let letters: String = (0..8).map(|_| char::from(rand::rng().random_range(b'a'..=b'z'))).collect();
    format!("{what}_{letters}")
}

/// A failure of the place is no verdict on the backup.
pub(super) fn of_the_place(error: Error) -> Error {
    match error.kind() {
        Kind::Refused | Kind::Input => error.as_kind(Kind::Undecided),
        _ => error,
    }
}
