//! The socket under a connection: opened here rather than by the driver, so that a tap can sit on it.

use super::conninfo::Keepalive;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Where one server listens.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// The file of a Unix socket.
    Unix(PathBuf),
    /// An address, and how its silence is noticed.
    Tcp(SocketAddr, Keepalive),
}

/// An open socket of either kind.
pub(super) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Place {
    /// Opens a socket to it.
    pub(super) async fn open(&self) -> io::Result<Socket> {
        match self {
            Self::Unix(file) => UnixStream::connect(file).await.map(Socket::Unix),
            Self::Tcp(address, keepalive) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let socket = socket2::SockRef::from(&stream);
                if let Some(limit) = keepalive.user_timeout {
                    socket.set_tcp_user_timeout(Some(limit))?;
                }
                if keepalive.on {
                    let probes = socket2::TcpKeepalive::new()
                        .with_time(keepalive.idle)
                        .with_interval(keepalive.interval)
                        .with_retries(keepalive.count);
                    socket.set_tcp_keepalive(&probes)?;
                }
                Ok(Socket::Tcp(stream))
            }
        }
    }
}

/// Calls the same method of whichever socket it is.
macro_rules! either {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket.get_mut() {
            Socket::Unix($stream) => $call,
            Socket::Tcp($stream) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, out))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
