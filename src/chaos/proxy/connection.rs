//! One connection: two directions, and the ends that a fault can bring to both.

use super::pump::{KEPT_MAX, Way, pump};
use super::{Mode, Shared, add};
use std::io;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How a connection ends.
enum Fate {
    /// By itself: its ends closed it, or one of them broke.
    Ended,
    /// A fault resets it.
    Reset,
    /// A fault closes it.
    Cut,
    /// A fault takes the server's end away.
    HalfOpen,
}

impl Fate {
    fn of(mode: Mode) -> Option<Self> {
        match mode {
            Mode::Pass | Mode::BlackHole | Mode::Hold => None,
            Mode::Refuse | Mode::Reset => Some(Self::Reset),
            Mode::Cut => Some(Self::Cut),
            Mode::HalfOpen => Some(Self::HalfOpen),
        }
    }
}

/// Serves one client until its connection ends.
pub(super) async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    drop(client.set_nodelay(true));
    let mut server = None;
    let fate = tokio::select! {
        biased;
        fate = fate(&shared) => fate,
        _ = run(&mut client, &mut server, &shared) => Fate::Ended,
    };
    let counting = &shared.counting;
    match fate {
        Fate::Ended => {}
        Fate::Reset => {
            add(&counting.reset, 1);
            for end in [Some(&client), server.as_ref()].into_iter().flatten() {
                // Nothing lingers: closing it sends a reset.
                drop(socket2::SockRef::from(end).set_linger(Some(std::time::Duration::ZERO)));
            }
        }
        Fate::Cut => add(&counting.cut, 1),
        Fate::HalfOpen => {
            add(&counting.half_open, 1);
            drop(server.take());
            until_closed(&mut client, &shared).await;
        }
    }
}

/// Waits for a mode that ends connections.
async fn fate(shared: &Shared) -> Fate {
    let mut conditions = shared.conditions.subscribe();
    loop {
        if let Some(fate) = Fate::of(conditions.borrow_and_update().mode) {
            return fate;
        }
        if conditions.changed().await.is_err() {
            return Fate::Ended;
        }
    }
}

async fn run(client: &mut TcpStream, server: &mut Option<TcpStream>, shared: &Shared) -> io::Result<()> {
    if shared.conditions.borrow().mode == Mode::BlackHole {
        until_closed(client, shared).await;
        return Ok(());
    }
    let Some(said) = until_released(client, shared).await? else { return Ok(()) };
    let address = shared.upstream.borrow().clone();
    let server = server.insert(TcpStream::connect(address).await?);
    server.set_nodelay(true)?;
    let (from_client, mut to_client) = client.split();
    let mut from_client = said.as_slice().chain(from_client);
    let (mut from_server, mut to_server) = server.split();
    let up = pump(&mut from_client, &mut to_server, Way::up(shared));
    let down = pump(&mut from_server, &mut to_client, Way::down(shared));
    tokio::try_join!(up, down).map(drop)
}

/// A connection that is made while everything is held reaches its server when it is released: gives what its client said
/// until then, or nothing where it has hung up.
async fn until_released(client: &mut TcpStream, shared: &Shared) -> io::Result<Option<Vec<u8>>> {
    let mut conditions = shared.conditions.subscribe();
    let mut said = Vec::new();
    while conditions.borrow_and_update().mode == Mode::Hold {
        tokio::select! {
            biased;
            changed = conditions.changed() => if changed.is_err() { return Ok(None) },
            read = client.read_buf(&mut said), if said.len() < KEPT_MAX => if read? == 0 { return Ok(None) },
        }
    }
    Ok(Some(said))
}

/// Loses what a client sends, until it closes.
async fn until_closed(client: &mut TcpStream, shared: &Shared) {
    let mut nothing = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = client.read(&mut nothing).await {
        add(&shared.counting.lost, read as u64);
    }
}
