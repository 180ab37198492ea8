//! The way of probes to a PostgreSQL server: `postgres` opens the connections that `probe` uses.

use crate::error::Result;
use crate::postgres::{ConnInfo, Session, connect};
use crate::probe::sql::{Dial, Link, SharedDial, settings_of_a_transaction};
use async_trait::async_trait;
use std::sync::{Arc, OnceLock};
use tokio_postgres::Client;

/// Opens connections to one server, or to whichever of several hosts will do.
#[derive(Debug, Clone)]
pub struct Server {
    conn: ConnInfo,
    /// Whether sessions begin with the settings that they are opened with. A pooler keeps them to itself, or refuses them.
    heeds: Arc<OnceLock<bool>>,
}

impl Server {
    /// The server that this connection leads to.
    pub fn new(conn: ConnInfo) -> Self {
        Self { conn, heeds: Arc::default() }
    }

    /// The same, ready to be passed around.
    pub fn shared(conn: ConnInfo) -> SharedDial {
        Arc::new(Self::new(conn))
    }
}

#[async_trait]
impl Dial for Server {
    async fn dial(&self, settings: &[(&'static str, String)]) -> Result<Box<dyn Link>> {
        let heeds = self.heeds.get().copied();
        if settings.is_empty() || heeds == Some(true) {
            let session = connect(&self.conn.with_settings(settings), "probe").await?;
            return Ok(Box::new(Open(session)));
        }
        // Nobody knows yet, or it is known that they would not help.
        let session = match heeds {
            None => self.begin(settings).await?,
            Some(_) => None,
        };
        Ok(match session {
            Some(session) => Box::new(Open(session)),
            None => Box::new(Told {
                open: Open(connect(&self.conn, "probe").await?),
                before: settings_of_a_transaction(settings),
            }),
        })
    }
}

impl Server {
    /// The first session: nothing where it did not begin with its settings, and then no other one will.
    async fn begin(&self, settings: &[(&'static str, String)]) -> Result<Option<Session>> {
        let session = match connect(&self.conn.with_settings(settings), "probe").await {
            Ok(session) => session,
            Err(error) if error.to_string().contains(UNSUPPORTED) => {
                self.heeds.get_or_init(|| false);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some((name, wanted)) = settings.first() else { return Ok(Some(session)) };
        // As a number in the setting's own unit, which is what we give all of them in.
        let sql = format!("SELECT setting || coalesce(unit, '') FROM pg_catalog.pg_settings WHERE name = '{name}'");
        let said = session.texts("asking for its settings", &sql).await?;
        let told = said.first().and_then(|row| row.first()?.as_deref()) == Some(wanted.as_str());
        let heeds = *self.heeds.get_or_init(|| told);
        Ok(heeds.then_some(session))
    }
}

/// How poolers refuse settings that they do not know: `unsupported startup parameter: options`.
const UNSUPPORTED: &str = "unsupported startup parameter";

/// A connection whose settings are said with each transaction.
struct Told {
    open: Open,
    before: String,
}

#[async_trait]
impl Link for Told {
    fn client(&self) -> &Client {
        self.open.client()
    }

    fn before(&self) -> Option<&str> {
        Some(&self.before)
    }

    fn take_notices(&self) -> Vec<(String, String)> {
        self.open.take_notices()
    }

    async fn cancel(&self) {
        self.open.cancel().await;
    }
}

pub(super) struct Open(pub(super) Session);

#[async_trait]
impl Link for Open {
    fn client(&self) -> &Client {
        &self.0.client
    }

    fn take_notices(&self) -> Vec<(String, String)> {
        self.0.take_notices().into_iter().map(|notice| (notice.code, notice.message)).collect()
    }

    async fn cancel(&self) {
        if let Err(error) = self.0.cancel().await {
            tracing::debug!("{error}");
        }
    }
}
