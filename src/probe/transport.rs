//! How a probe reaches what it asks: over TCP, or in memory where time is simulated.

use super::dns::addresses_of;
use async_trait::async_trait;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// An open connection.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Opens connections.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Opens one to `host:port`.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Wire>>;
}

/// The network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

#[async_trait]
impl Transport for Tcp {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Wire>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// The network, as a process sees it that asks this name server: names are looked up for every connection anew.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// Whom to ask for names.
    pub server: SocketAddr,
}

#[async_trait]
impl Transport for Named {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Wire>> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("{address:?} is no host:port"));
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let port: u16 = port.parse().map_err(|_| invalid())?;
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return Tcp.connect(address).await;
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        for found in addresses_of(self.server, host, true, true).await.map_err(io::Error::other)? {
            match Tcp.connect(&SocketAddr::new(found, port).to_string()).await {
                Ok(wire) => return Ok(wire),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// What went wrong with a connection, in few words that are the same everywhere.
pub(super) fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        _ => error.to_string(),
    }
}
