//! How a probe reaches what it asks: over TCP, or in memory where time is simulated.

use async_trait::async_trait;
use std::io;
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

/// What went wrong with a connection, in few words that are the same everywhere.
pub(super) fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        _ => error.to_string(),
    }
}
