//! The way of probes to a PostgreSQL server: `postgres` opens the connections that `probe` uses.

use crate::error::Result;
use crate::postgres::{ConnInfo, Session, connect};
use crate::probe::sql::{Dial, Link, SharedDial};
use async_trait::async_trait;
use std::sync::Arc;
use tokio_postgres::Client;

/// Opens connections to one server, or to whichever of several hosts will do.
#[derive(Debug, Clone)]
pub struct Server {
    conn: ConnInfo,
}

impl Server {
    /// The server that this connection leads to.
    pub fn new(conn: ConnInfo) -> Self {
        Self { conn }
    }

    /// The same, ready to be passed around.
    pub fn shared(conn: ConnInfo) -> SharedDial {
        Arc::new(Self::new(conn))
    }
}

#[async_trait]
impl Dial for Server {
    async fn dial(&self, settings: &[(&'static str, String)]) -> Result<Box<dyn Link>> {
        let session = connect(&self.conn.with_settings(settings), "probe").await?;
        Ok(Box::new(Open(session)))
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
