//! The listening socket: open while connections are wanted, closed so that the kernel itself refuses, the port kept.

use super::connection::serve;
use super::{Mode, Shared, add};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The port, and the socket that keeps it ours while nobody listens.
pub(super) struct Door {
    address: SocketAddr,
    /// Bound, and never listening: a packet to it is refused, and nobody else gets the port.
    keeper: Socket,
    listener: Option<TcpListener>,
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Only sockets that ask for it, too, may share the port, and only those of this account.
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Door {
    /// Takes the port and opens.
    pub(super) fn new(address: SocketAddr) -> io::Result<Self> {
        let keeper = bound(address)?;
        let address = keeper.local_addr()?.as_socket().ok_or_else(|| io::Error::other("no address"))?;
        let mut door = Self { address, keeper, listener: None };
        door.open()?;
        Ok(door)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    fn open(&mut self) -> io::Result<()> {
        let socket = bound(self.address)?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        self.listener = Some(TcpListener::from_std(socket.into())?);
        Ok(())
    }

    /// Accepts until it is dropped; its connections end with it.
    pub(super) async fn keep(mut self, shared: Arc<Shared>) {
        let mut connections = JoinSet::new();
        let mut conditions = shared.conditions.subscribe();
        loop {
            let refuse = conditions.borrow_and_update().mode == Mode::Refuse;
            if refuse && self.listener.take().is_some() {
                add(&shared.counting.closed, 1);
            }
            if !refuse
                && self.listener.is_none()
                && let Err(error) = self.open()
            {
                tracing::error!("opening the door of a proxy at {} again: {error}", self.address);
            }
            tokio::select! {
                biased;
                changed = conditions.changed() => if changed.is_err() { return },
                client = accept(self.listener.as_ref()) => {
                    add(&shared.counting.accepted, 1);
                    connections.spawn(serve(client, Arc::clone(&shared)));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// The next connection; a closed door waits for ever.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            // One that was gone before it was accepted; or no free descriptor, which the next one may bring.
            Err(error) => {
                tracing::debug!("accepting in a proxy: {error}");
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        tracing::trace!("the proxy at {} is gone, its port {:?} is free", self.address, self.keeper);
    }
}
