//! The lines of a manifest: what one recovery point is made of.
//!
//! A manifest is JSON lines, read and written as a stream, so that a million chunks need no memory to match:
//! one `header`, then `range` lines as the workers finish them, then `object` lines with the totals, then `end`.
//! The repository knows nothing of databases or namespaces: what an object is lies in `details`, which belongs
//! to the verb that wrote it.

use crate::id::{ChunkId, Nonce, PointId, RepositoryId, RunId, Sha256, SourceName};
use crate::rowsum::RowSum;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The newest manifest format this build reads and the only one it writes.
pub const FORMAT: u32 = 1;

/// An object of this kind stands for something that should be in the point and is not: the point is incomplete, and
/// nothing calls it good.
pub const MISSING: &str = "missing";

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// The first line.
    Header(Box<Header>),
    /// Chunks that were read one after another from one object.
    Range(Range),
    /// One object, after all of its ranges.
    Object(Box<ObjectLine>),
    /// The last line; a manifest without it is truncated.
    End(End),
}

/// What a point is a point of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PointKind {
    /// One or several databases of a PostgreSQL server.
    Database,
    /// A Kubernetes namespace.
    Namespace,
    /// The output of a command.
    Command,
}

/// Who made the point, of what, and after which other point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// The repository it belongs to.
    pub repository: RepositoryId,
    /// The source it is a point of.
    pub source: SourceName,
    /// Its id.
    pub point: PointId,
    /// The run that made it.
    pub run: RunId,
    /// Its place in the source's chain, from 1.
    pub sequence: u64,
    /// SHA-256 of the sealed manifest before it in the chain.
    pub previous: Option<Sha256>,
    /// What it is a point of.
    pub kind: PointKind,
    /// What the source is bound to (system identifier and database oid; cluster and namespace uid).
    pub identity: String,
    /// When the run began.
    pub started: Timestamp,
    /// The instant the content is of.
    pub snapshot_time: Timestamp,
    /// The only retention tier that may keep it, if its maker named one.
    pub tier: Option<String>,
    /// `davit` and its version.
    pub tool: String,
    /// Whether the run could see a key that opens what it wrote.
    pub reader_key_visible: bool,
    /// Until when the point and every chunk it names are locked at least.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lock_until: Option<Timestamp>,
    /// SHA-256 of the run's intent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub intent: Option<Sha256>,
    /// The point whose chunks this one sealed again for other readers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resealed_from: Option<PointId>,
    /// Facts of the verb that wrote it.
    pub details: serde_json::Value,
}

/// Chunks of one object that follow each other; ranges of one object may be restored in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Number of the object.
    pub object: u32,
    /// Number of the range within the object, from 0.
    pub range: u32,
    /// Heap pages it was read from, the end excluded (`None`: unknown or open).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pages: Option<(u64, u64)>,
    /// The chunks in order. A row larger than a chunk goes on in the next one of the same range.
    pub chunks: Vec<Chunk>,
}

/// One chunk as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Keyed hash of the plaintext.
    pub id: ChunkId,
    /// Nonce of the sealed object.
    pub nonce: Nonce,
    /// The set of readers it is sealed to.
    pub epoch: u32,
    /// Plaintext bytes.
    pub bytes: u64,
    /// Bytes in the store.
    pub stored: u64,
    /// SHA-256 of the bytes in the store.
    pub sha256: Sha256,
    /// Rows that end in this chunk, and their sum.
    pub rows: RowSum,
}

/// One object: a table, the archive of definitions, the sequences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectLine {
    /// Its number in this manifest.
    pub object: u32,
    /// What it is, in the words of the verb that wrote it.
    pub kind: String,
    /// Its name for messages, such as `public.orders`.
    pub name: String,
    /// Rows and their sum over all its chunks.
    pub rows: RowSum,
    /// Plaintext bytes over all its chunks.
    pub bytes: u64,
    /// How many ranges.
    pub ranges: u32,
    /// How many chunks.
    pub chunks: u64,
    /// Facts of the verb that wrote it.
    pub details: serde_json::Value,
}

/// Totals; its presence says that the manifest is whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Objects.
    pub objects: u32,
    /// Objects of each kind, for lists that do not open the manifest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub kinds: BTreeMap<String, u32>,
    /// Chunks.
    pub chunks: u64,
    /// Chunks that this run stored; the others were in the repository already.
    pub chunks_new: u64,
    /// Rows.
    pub rows: u64,
    /// Plaintext bytes.
    pub bytes: u64,
    /// Bytes in the store of all chunks named.
    pub stored: u64,
    /// Bytes that this run added to the store.
    pub stored_new: u64,
    /// How long the run took until here.
    pub seconds: f64,
}

/// How much a point holds, as every report and list says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amounts {
    /// Plaintext bytes.
    pub bytes_read: u64,
    /// Bytes in the store of all it names.
    pub bytes_stored: u64,
    /// Of these, stored by the run that made it.
    pub bytes_new: u64,
    /// Chunks.
    pub chunks: u64,
    /// Of these, stored by the run that made it.
    pub chunks_new: u64,
}

impl End {
    /// How much the point holds.
    pub const fn amounts(&self) -> Amounts {
        Amounts {
            bytes_read: self.bytes,
            bytes_stored: self.stored,
            bytes_new: self.stored_new,
            chunks: self.chunks,
            chunks_new: self.chunks_new,
        }
    }
}
