//! One direction of one connection: what comes in is kept until it is due, and goes out no faster than the wire allows.

use super::{Conditions, Mode, Shared, add};
use rand::RngExt;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// No more than this is kept for one direction; then the sender has to wait.
pub(super) const KEPT_MAX: usize = 1 << 20;

/// What is read and written at once: small, so that connections take turns where bandwidth is limited.
const PIECE: usize = 4 * 1024;

/// Which direction, and what it shares with others.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    shared: &'a Shared,
    carried: &'a AtomicU64,
    free: &'a Mutex<Duration>,
}

impl<'a> Way<'a> {
    /// From the client to the server.
    pub(super) fn up(shared: &'a Shared) -> Self {
        Self { shared, carried: &shared.counting.up, free: &shared.free[0] }
    }

    /// From the server to the client.
    pub(super) fn down(shared: &'a Shared) -> Self {
        Self { shared, carried: &shared.counting.down, free: &shared.free[1] }
    }

    /// When something that comes in now is due.
    fn due(&self, conditions: &Conditions, before: Option<Duration>) -> Duration {
        let jitter = match conditions.jitter {
            Duration::ZERO => Duration::ZERO,
            most => rand::rng().random_range(Duration::ZERO..=most),
        };
        let due = self.shared.clock.monotonic() + conditions.latency + jitter;
        due.max(before.unwrap_or_default())
    }

    /// Waits until the wire has carried so many bytes.
    async fn carry(&self, bytes: usize, conditions: &Conditions) {
        if let Some(rate) = conditions.bandwidth {
            let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
            let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            let now = self.shared.clock.monotonic();
            let free = {
                let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
                *free = (*free).max(now).saturating_add(takes);
                *free
            };
            self.shared.clock.sleep_until(free).await;
            let waited = self.shared.clock.monotonic().saturating_sub(now);
            add(&self.shared.counting.waited, u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
        }
        add(self.carried, bytes as u64);
    }
}

/// What is under way.
#[derive(Default)]
struct Kept {
    pieces: VecDeque<(Duration, Vec<u8>)>,
    bytes: usize,
    /// The sender has closed.
    ended: bool,
    /// Something was lost, so nothing that comes after it may arrive.
    torn: bool,
}

impl Kept {
    fn put(&mut self, due: Duration, piece: Vec<u8>) {
        self.bytes += piece.len();
        self.pieces.push_back((due, piece));
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let (_, piece) = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }

    fn lose(&mut self) -> u64 {
        let lost = self.bytes as u64;
        *self = Self { ended: self.ended, torn: self.torn || lost > 0, ..Self::default() };
        lost
    }
}

/// Carries bytes until the sender closes and everything has arrived. An error ends both directions.
pub(super) async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    way: Way<'_>,
) -> io::Result<()> {
    let (clock, lost) = (&way.shared.clock, &way.shared.counting.lost);
    let mut watched = way.shared.conditions.subscribe();
    let mut kept = Kept::default();
    let mut piece = vec![0; PIECE];
    loop {
        let conditions = *watched.borrow_and_update();
        if conditions.mode == Mode::BlackHole || kept.torn {
            add(lost, kept.lose());
        }
        if kept.torn && kept.ended {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let passes = conditions.mode == Mode::Pass && !kept.torn;
        if passes && kept.ended && kept.pieces.is_empty() {
            clock.sleep(conditions.close_delay).await;
            return to.shutdown().await;
        }
        let due = kept.pieces.front().map(|(due, _)| *due).filter(|_| passes);
        tokio::select! {
            biased;
            changed = watched.changed() => if changed.is_err() { return Ok(()) },
            () = clock.sleep_until(due.unwrap_or_default()), if due.is_some() => {
                if let Some(piece) = kept.take() {
                    way.carry(piece.len(), &conditions).await;
                    to.write_all(&piece).await?;
                }
            }
            read = from.read(&mut piece), if !kept.ended && kept.bytes < KEPT_MAX => match read? {
                0 => kept.ended = true,
                read => {
                    let due = way.due(&conditions, kept.pieces.back().map(|(due, _)| *due));
                    kept.put(due, piece[..read].to_vec());
                }
            },
        }
    }
}
