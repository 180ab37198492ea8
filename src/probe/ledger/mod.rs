//! The record of every write that was tried, on the observer's own disk and never in the system under test.
//!
//! Ids come in blocks, and a block is on the disk before the first of its ids is tried: whatever becomes of the observer, no
//! row can stand in the target that the ledger has never heard of. An outcome is written as soon as it is known, and synced
//! with others in groups; what a crash takes away was an outcome that nobody can be sure of, and counts as unknown.

mod line;
mod reread;
mod table;

pub use reread::Account;
pub use table::{LEFT, MAY_CREATE, Table};

use crate::clock::SharedClock;
use crate::error::{Context, Error, Kind, Result};
use crate::observation::{Attempt, Entry};
use crate::probe::sink::SharedSink;
use line::Line;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// So many ids are announced at once.
pub const BLOCK: u64 = 8192;

/// A ledger that travels in an observer's log has so many ids of its own: what stands in the target with one of them was
/// tried by that observer, even if the line that says so was lost with its node.
pub const SPACE: u64 = 1 << 40;

/// Outcomes are on the disk after at most this.
pub const SYNC: Duration = Duration::from_millis(50);

/// How long the thread gathers before it syncs; with the sync itself that stays within [`SYNC`].
const GATHER: Duration = Duration::from_millis(25);

/// One write that may be tried now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Unique in this ledger.
    pub id: u64,
    /// What is to be written.
    pub payload: u64,
    /// The instant of this call.
    pub invoked: Duration,
}

/// What stands in the row of this id.
pub(crate) fn payload(seed: u64, id: u64) -> u64 {
    xxh3_64_with_seed(&id.to_le_bytes(), seed)
}

/// A ledger that is written to.
pub struct Ledger {
    shared: Arc<Shared>,
    clock: SharedClock,
    seed: u64,
    thread: Option<JoinHandle<()>>,
}

/// Where the lines go.
enum Home {
    /// A local file.
    File(PathBuf, File),
    /// The observer's log, which is followed from elsewhere: what arrives there is durable.
    Log(SharedSink),
}

struct Shared {
    home: Home,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Ids below this are announced, on the disk.
    announced: u64,
    /// Something was written since the last sync began.
    dirty: bool,
    closed: bool,
    failed: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, line: &Line) -> std::io::Result<()> {
        match &self.home {
            Home::File(_, file) => {
                let mut file = file;
                file.write_all(line.text().as_bytes())
            }
            Home::Log(sink) => {
                sink.put(&Entry::Ledger { line: line.text().trim_end().to_owned() });
                Ok(())
            }
        }
    }

    fn sync(&self) -> std::io::Result<()> {
        match &self.home {
            Home::File(_, file) => file.sync_data(),
            Home::Log(sink) => sink.flush().map_err(std::io::Error::other),
        }
    }

    fn error(&self, doing: &str, why: String) -> Error {
        let which = match &self.home {
            Home::File(path, _) => format!("the ledger {}", path.display()),
            Home::Log(_) => "the ledger in the observer's log".to_owned(),
        };
        Error::failed(format!("{doing} {which}"))
            .because(why)
            .hint("acknowledgements that are not on the disk count as unknown: give it a disk that has room")
    }
}

impl Ledger {
    /// Makes a new ledger; `seed` decides what its rows contain.
    ///
    /// # Errors
    /// Where the file is there already or cannot be made durable.
    pub fn create(path: &Path, seed: u64, clock: SharedClock) -> Result<Arc<Self>> {
        let doing = || format!("making the ledger {}", path.display());
        let file = File::options().append(true).create_new(true).open(path).context(Kind::Failed, doing)?;
        let ledger = Self::begun(Home::File(path.to_owned(), file), seed, 0, clock).context(Kind::Failed, doing)?;
        // The name of the file must be durable, too.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).context(Kind::Failed, doing)?;
        Ok(ledger)
    }

    /// A ledger that travels in the log of an observer without a durable disk, such as a pod. Each observer of a run has
    /// a number of its own, from 1, so that no two use the same ids.
    ///
    /// # Errors
    /// Where the log cannot be written.
    pub fn travelling(sink: SharedSink, seed: u64, observer: u32, clock: SharedClock) -> Result<Arc<Self>> {
        let from = SPACE * u64::from(observer);
        Self::begun(Home::Log(sink), seed, from, clock)
            .context(Kind::Failed, || "beginning the ledger in an observer's log".to_owned())
    }

    fn begun(home: Home, seed: u64, from: u64, clock: SharedClock) -> std::io::Result<Arc<Self>> {
        let travels = matches!(home, Home::Log(_));
        let state = State { next: from, announced: from + BLOCK, ..State::default() };
        let shared = Arc::new(Shared { home, state: Mutex::new(state), changed: Condvar::new() });
        shared.append(&Line::Began { format: line::FORMAT, seed, from, travels })?;
        shared.append(&Line::Block { from, until: from + BLOCK })?;
        shared.sync()?;
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("davit-ledger".to_owned());
        let thread = thread.spawn(move || keep_durable(&own))?;
        Ok(Arc::new(Self { shared, clock, seed, thread: Some(thread) }))
    }

    /// The next write. Waits only if ids are used up faster than blocks become durable.
    ///
    /// # Errors
    /// Where the ledger cannot be written any more.
    pub fn begin(&self) -> Result<Row> {
        let mut state = self.shared.lock();
        loop {
            if let Some(why) = &state.failed {
                return Err(self.shared.error("writing", why.clone()));
            }
            if state.next < state.announced {
                break;
            }
            self.shared.changed.notify_all();
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let id = state.next;
        state.next += 1;
        if state.announced - state.next == BLOCK / 2 {
            self.shared.changed.notify_all();
        }
        drop(state);
        Ok(Row { id, payload: payload(self.seed, id), invoked: self.clock.monotonic() })
    }

    /// Writes down what became of a write. It is in the file when this returns, and on the disk soon after.
    ///
    /// # Errors
    /// Where it cannot be written: the write is then of unknown outcome.
    pub fn settle(&self, attempt: &Attempt) -> Result<()> {
        let line = Line::of(attempt);
        if let Err(error) = self.shared.append(&line) {
            let why = error.to_string();
            self.shared.lock().failed = Some(why.clone());
            return Err(self.shared.error("writing", why));
        }
        let mut state = self.shared.lock();
        if !state.dirty {
            state.dirty = true;
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// Where a sync failed: what was written since the last good one may not be there.
    pub fn sync(&self) -> Result<()> {
        let outcome = self.shared.sync();
        let mut state = self.shared.lock();
        if let Err(error) = outcome {
            state.failed = Some(error.to_string());
        }
        match &state.failed {
            Some(why) => Err(self.shared.error("syncing", why.clone())),
            None => Ok(()),
        }
    }

    /// Reads a ledger, whether its writer ended well or was killed. What it gives is on the disk.
    ///
    /// # Errors
    /// Where there is no ledger, or a newer one.
    pub fn reread(path: &Path) -> Result<Account> {
        reread::read(path)
    }

    /// Reads a ledger that travelled in an observer's log: [`crate::observation::Observation::ledger`].
    ///
    /// # Errors
    /// Where its first line did not arrive, or it is a newer one.
    pub fn arrived(lines: &[String]) -> Result<Account> {
        reread::account("in an observer's log", lines.iter().map(|line| Ok(line.as_bytes().to_vec())))
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The thread: announces blocks ahead of their use, and syncs outcomes in groups.
fn keep_durable(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        let wanted = state.announced - state.next <= BLOCK / 2;
        if state.failed.is_some() || (state.closed && !state.dirty) {
            // Who waits for ids must not wait for ever.
            if !state.closed {
                shared.changed.notify_all();
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            return;
        }
        if !wanted && !state.dirty {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        if !wanted && !state.closed {
            // Others join the group meanwhile; a waiting writer ends the gathering.
            state = shared.changed.wait_timeout(state, GATHER).unwrap_or_else(PoisonError::into_inner).0;
        }
        let (from, announce) = (state.announced, state.announced - state.next <= BLOCK / 2);
        state.dirty = false;
        drop(state);
        let mut done = Ok(());
        if announce {
            done = shared.append(&Line::Block { from, until: from + BLOCK });
        }
        done = done.and_then(|()| shared.sync());
        state = shared.lock();
        match done {
            Ok(()) if announce => state.announced = from + BLOCK,
            Ok(()) => {}
            Err(error) => state.failed = Some(error.to_string()),
        }
        shared.changed.notify_all();
    }
}
