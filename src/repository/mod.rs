//! The repository: one store laid out by Davit, with its keys, chunks, points and catalogue.
//!
//! The bucket is never the root of trust: whatever is read from it is believed only under a signature that leads to
//! the root key, which the key files pin. Data comes first and the signature of a manifest last; nothing but the
//! heads is ever replaced, so a crash leaves garbage and never a lie. `docs/format.md` says it byte for byte.

mod again;
pub mod catalogue;
pub mod chain;
pub mod charter;
pub mod check;
mod events;
pub mod evidence;
pub mod faults;
pub mod fetch;
pub mod hold;
pub mod index;
pub mod init;
pub mod intent;
pub mod keys;
pub mod layout;
pub mod lease;
pub mod lock;
pub mod manifest;
pub mod mark;
pub mod minisign;
pub mod reader;
pub mod readers;
pub mod record;
pub mod removal;
mod report;
mod reseal;
pub mod seal;
pub mod spec;
mod state;
mod survey;
pub mod tombstone;
mod unread;
pub mod writer;

#[cfg(test)]
mod tests;

pub use catalogue::{Depth, Hold, PointSummary, Verified};
pub use chain::{Commit, Head, HeadState, Link};
pub use charter::{Charter, Settings};
pub use check::{Audit, ChainReport, PointReport};
pub use evidence::{Check, Damage, Evidence};
pub use fetch::{ChunkDamage, FetchError};
pub use init::{InitOptions, Initialised};
pub use keys::{Keys, ReaderKey, WriterKey};
pub use reader::{ManifestReader, Point};
pub use readers::{Changed, KeyCheck, PointKeys};
pub use record::{Privacy, RecordError};
pub use spec::PointSpec;
pub use unread::{Refusal, Unread};
pub use writer::{BeginPoint, Committed, JournalPace, PointWriter, PutChunk, Totals};

use crate::clock::SharedClock;
use crate::error::{Error, Kind, Result};
use crate::id::RepositoryId;
use crate::store::{Features, SharedStore, StoreError};
use age::x25519::Identity;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use charter::IdKey;
use jiff::Timestamp;
use minisign::{PublicKey, Signature, SigningKey};
use seal::{Opening, Recipients};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How many requests of one kind run side by side; a store's latency is hidden, its limits are not met.
pub(crate) const SIDE_BY_SIDE: usize = 16;

/// An opened repository; cheap to clone.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    store: SharedStore,
    clock: SharedClock,
    cancel: CancellationToken,
    keys: Keys,
    charter: Charter,
    /// What opens manifests and records, and rows if a reader key is there.
    identities: Vec<Identity>,
    /// What manifests and records are sealed to besides the readers; newest first.
    manifest_identities: Vec<Identity>,
    id_key: Option<[u8; 32]>,
    id_keys: BTreeMap<u32, IdKey>,
    /// The recipients that the reader key at hand opens for.
    recipients: Vec<String>,
    memory: state::Memory,
    expect_seq: Option<u64>,
    /// Sealing and opening take a permit, so that many workers do not fight for few cores.
    cpu: Arc<Semaphore>,
}

/// What opening takes besides a store and keys.
#[derive(Debug, Clone)]
pub struct OpenContext {
    /// Time.
    pub clock: SharedClock,
    /// Ends what is under way.
    pub cancel: CancellationToken,
    /// Where the last seen sequence numbers are remembered.
    pub state_dir: Option<PathBuf>,
    /// The least sequence number that a source's newest point may have, as an outside witness says.
    pub expect_seq: Option<u64>,
}

impl OpenContext {
    /// A context that remembers nothing.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, cancel: CancellationToken::new(), state_dir: None, expect_seq: None }
    }
}

impl Repository {
    /// Opens the repository in `store`, which must be the one that `keys` pin.
    pub async fn open(store: SharedStore, keys: Keys, cx: OpenContext) -> Result<Self> {
        let (pinned, root) = keys.pins().ok_or_else(|| {
            Error::input("opening the repository: no key is at hand")
                .hint("--keys or DAVIT_KEYS says where writer.key or reader.key is")
        })?;
        let charter = init::read_charter(&store, &pinned, &root).await?;
        let memory = state::Memory::load(cx.state_dir.as_deref(), charter.repository)?;
        memory.meet_counter(charter.counter)?;
        Self::assemble(store, keys, charter, memory, cx)
    }

    fn assemble(
        store: SharedStore,
        keys: Keys,
        charter: Charter,
        memory: state::Memory,
        cx: OpenContext,
    ) -> Result<Self> {
        if let Some(writer) = &keys.writer
            && charter.epoch < writer.epoch
        {
            return Err(Error::refused(format!(
                "checking davit.json against writer.key: it is of epoch {}, but the key pins epoch {}",
                charter.epoch, writer.epoch
            ))
            .hint("somebody put an older davit.json back; look at its newer versions"));
        }
        let (id_key, manifest_identities) = unlock(&keys, &charter);
        let rows = keys.reader.iter().flat_map(|reader| &reader.identities);
        let identities = rows.chain(&manifest_identities).cloned().collect();
        let id_keys = id_key.map(|id_key| {
            let derive = |epoch: &charter::Epoch| (epoch.epoch, IdKey::derive(&id_key, &epoch.readers));
            charter.epochs.iter().map(derive).collect()
        });
        let recipients = keys.reader.as_ref().map(ReaderKey::recipients).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Ok(Self(Arc::new(Inner {
            store,
            clock: cx.clock,
            cancel: cx.cancel,
            keys,
            charter,
            identities,
            manifest_identities,
            id_key,
            id_keys: id_keys.unwrap_or_default(),
            recipients,
            memory,
            expect_seq: cx.expect_seq,
            cpu: Arc::new(Semaphore::new(cores)),
        })))
    }

    /// Where the objects are.
    pub fn store(&self) -> &SharedStore {
        &self.0.store
    }

    /// Which repository this is.
    pub fn id(&self) -> RepositoryId {
        self.0.charter.repository
    }

    /// The signed facts about it.
    pub fn charter(&self) -> &Charter {
        &self.0.charter
    }

    /// What the store was seen to do when the repository was made.
    pub fn features(&self) -> &Features {
        &self.0.charter.settings.features
    }

    /// What every run obeys.
    pub fn settings(&self) -> &Settings {
        &self.0.charter.settings
    }

    /// The readers that new chunks are sealed to (`age1…`); none in a plain repository.
    pub fn readers(&self) -> &[String] {
        self.0.charter.readers()
    }

    /// Whether objects are sealed.
    pub fn encrypted(&self) -> bool {
        self.0.charter.encrypted
    }

    /// The clock it was opened with.
    pub fn clock(&self) -> &SharedClock {
        &self.0.clock
    }

    /// The token that ends what is under way.
    pub fn cancel(&self) -> &CancellationToken {
        &self.0.cancel
    }

    /// The keys it was opened with.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Whether a key that opens rows is at hand.
    pub fn can_read_rows(&self) -> bool {
        !self.encrypted() || self.0.keys.reader.as_ref().is_some_and(|reader| !reader.identities.is_empty())
    }

    /// Whether a key that signs is at hand.
    pub fn can_sign(&self) -> bool {
        self.signer().is_ok()
    }

    /// The key that signs for this machine: its writer key, else the root key.
    pub(super) fn signer(&self) -> Result<&SigningKey> {
        let keys = &self.0.keys;
        if let Some(writer) = &keys.writer {
            let active = |known: &&charter::Writer| known.key == writer.public() && known.retired.is_none();
            if self.0.charter.writers.iter().any(|known| active(&known)) {
                return Ok(&writer.signing);
            }
        }
        let root = keys.reader.as_ref().and_then(|reader| reader.signing.as_ref());
        root.ok_or_else(|| match keys.writer {
            Some(_) => Error::refused("signing: davit.json does not name this writer key, or says that it is retired")
                .hint("davit key new --writer makes another one where the reader key is"),
            None => Error::input("signing: there is no writer key and the reader key holds no root key")
                .hint("--keys or DAVIT_KEYS says where writer.key is"),
        })
    }

    /// Whether a record that the store says was written at `modified` is signed by somebody who might sign then;
    /// `check` tests one key. What a retired key signed before counts on, because only the store sets that time.
    fn signed_at(&self, modified: Timestamp, check: impl Fn(&PublicKey) -> bool) -> bool {
        let charter = &self.0.charter;
        let in_time = |writer: &charter::Writer| writer.retired.as_ref().is_none_or(|retired| modified <= retired.at);
        check(&charter.root) || charter.writers.iter().any(|writer| in_time(writer) && check(&writer.key))
    }

    /// Whether point `sequence` of `source` may have been signed by a key that passes `check`.
    fn signed_for(&self, source: &crate::id::SourceName, sequence: u64, check: impl Fn(&PublicKey) -> bool) -> bool {
        let charter = &self.0.charter;
        let in_time = |writer: &charter::Writer| match &writer.retired {
            None => true,
            Some(retired) => retired.heads.get(source).is_some_and(|head| sequence <= *head),
        };
        check(&charter.root) || charter.writers.iter().any(|writer| in_time(writer) && check(&writer.key))
    }

    /// Whether the trusted comment of a signature is by anybody who may or might sign.
    fn comment_is_known(&self, signature: &Signature) -> bool {
        let charter = &self.0.charter;
        signature.comment_is_by(&charter.root)
            || charter.writers.iter().any(|writer| signature.comment_is_by(&writer.key))
    }

    /// Whom manifests and records are sealed to.
    fn manifest_recipients(&self) -> Result<Recipients> {
        let charter = &self.0.charter;
        let all = charter.readers().iter().chain(&charter.manifest_recipients).map(String::as_str);
        Recipients::parse(all).map_err(|why| Error::failed(format!("reading the recipients in davit.json: {why}")))
    }

    /// Whom chunks are sealed to.
    fn chunk_recipients(&self) -> Result<Recipients> {
        let all = self.readers().iter().map(String::as_str);
        Recipients::parse(all).map_err(|why| Error::failed(format!("reading the readers in davit.json: {why}")))
    }

    /// What opens sealed bytes of this repository.
    fn opening(&self) -> Opening<'_> {
        if self.encrypted() { Opening::Keys(&self.0.identities) } else { Opening::Plain }
    }

    /// Runs heavy work off the async threads, no more of it at once than there are cores.
    async fn off_async<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let permit =
            self.0.cpu.clone().acquire_owned().await.map_err(|why| Error::failed("waiting for a core").because(why))?;
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        task.await.map_err(|why| Error::failed("working off the async threads").because(why))
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({} at {})", self.id(), self.0.store.describe())
    }
}

/// The id key and what opens manifests, from the writer key or from what the charter keeps sealed for readers.
fn unlock(keys: &Keys, charter: &Charter) -> (Option<[u8; 32]>, Vec<Identity>) {
    if let Some(writer) = &keys.writer {
        return (Some(writer.id_key), writer.identities.clone());
    }
    let reader = keys.reader.as_ref().map(|reader| reader.identities.as_slice()).unwrap_or_default();
    let Some(inner) = charter_secrets(charter, reader) else { return (None, Vec::new()) };
    let id_key = STANDARD.decode(&inner.id_key).ok().and_then(|bytes| bytes.try_into().ok());
    (id_key, inner.manifest_identities.iter().filter_map(|text| text.parse().ok()).collect())
}

/// Opens what the charter keeps sealed, if a key at hand does.
fn charter_secrets(charter: &Charter, identities: &[Identity]) -> Option<charter::Inner> {
    let stored = STANDARD.decode(&charter.secrets).ok()?;
    let keys = if charter.encrypted { Opening::Keys(identities) } else { Opening::Plain };
    let mut reader = seal::open_stream(&stored[..], keys).ok()?;
    serde_json::from_reader(&mut reader).ok()
}

/// A store's failure while `doing` something, in the middle of a run.
pub(crate) fn failed(doing: impl Into<String>) -> impl FnOnce(StoreError) -> Error {
    let doing = doing.into();
    move |why| why.explain(doing).as_kind(Kind::Failed)
}

/// A store's failure before anything was done: what the user can mend is told apart from what may pass.
pub(crate) fn refused(doing: impl Into<String>) -> impl FnOnce(StoreError) -> Error {
    let doing = doing.into();
    move |why| why.explain(doing)
}
