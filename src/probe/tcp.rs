//! A probe that opens a connection and, if asked to, says something and listens for the answer.

use super::service::{Reply, Service, Ticket};
use super::transport::{Tcp, Transport, said};
use async_trait::async_trait;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// No more of an answer than this is read.
const ANSWER_MAX: usize = 64 * 1024;

/// Asks over TCP.
pub struct TcpService {
    transport: Arc<dyn Transport>,
    address: String,
    send: Option<Vec<u8>>,
    expect: Option<Vec<u8>>,
}

impl TcpService {
    /// Asks whoever listens at `host:port`.
    pub fn new(address: &str, send: Option<&str>, expect: Option<&str>) -> Self {
        Self::over(Arc::new(Tcp), address, send, expect)
    }

    /// The same over another transport.
    pub fn over(transport: Arc<dyn Transport>, address: &str, send: Option<&str>, expect: Option<&str>) -> Self {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        Self { transport, address: address.to_owned(), send: bytes(send), expect: bytes(expect) }
    }

    async fn ask(&self) -> io::Result<Reply> {
        let mut wire = self.transport.connect(&self.address).await?;
        if let Some(send) = &self.send {
            wire.write_all(send).await?;
            wire.flush().await?;
        }
        let Some(expect) = &self.expect else { return Ok(Reply::Good) };
        let mut heard = Vec::new();
        while memchr::memmem::find(&heard, expect).is_none() {
            if heard.len() > ANSWER_MAX {
                return Ok(Reply::Refused("it answered something else".to_owned()));
            }
            if wire.read_buf(&mut heard).await? == 0 {
                let why = if heard.is_empty() { "connection closed" } else { "it answered something else" };
                return Ok(Reply::Refused(why.to_owned()));
            }
        }
        Ok(Reply::Good)
    }
}

#[async_trait]
impl Service for TcpService {
    async fn probe(&self, ticket: Ticket) -> Reply {
        tokio::select! {
            biased;
            asked = self.ask() => asked.unwrap_or_else(|error| Reply::Refused(said(&error))),
            () = ticket.give_up.cancelled() => Reply::Refused("given up".to_owned()),
        }
    }
}
