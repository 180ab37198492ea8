//! Making a repository, and reading its charter back.

use super::charter::{self, Charter, Epoch, FORMAT, Settings, Writer};
use super::keys::{self, Keys, ReaderKey, WriterKey};
use super::minisign::{PublicKey, SigningKey};
use super::seal::{self, Recipients};
use super::{OpenContext, Repository, layout, refused, state};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::id::RepositoryId;
use crate::store::{Features, LockMode, Put, SharedStore, StoreError};
use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use std::path::PathBuf;

/// How a repository is to be made.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Whether to seal objects; a plain repository is readable by whoever reads the store.
    pub encrypt: bool,
    /// Recipients (`age1…`) that open rows; none means that a reader is made.
    pub readers: Vec<String>,
    /// Where the reader key goes instead of beside the writer key. If a reader key is there already, its root key
    /// and identities serve this repository, too, and its file says so afterwards.
    pub reader_path: Option<PathBuf>,
    /// Lock objects with this mode.
    pub lock: Option<LockMode>,
    /// zstd level.
    pub level: i32,
    /// Write `writer.key` and `reader.key` here before the repository exists, so that a crash between the two leaves
    /// keys without a repository and never a repository without keys.
    pub keys_dir: Option<PathBuf>,
    /// Accept a store that ignores conditions; one runner at a time is then the user's business.
    pub accept_unconditional_store: bool,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self {
            encrypt: true,
            readers: Vec::new(),
            reader_path: None,
            lock: None,
            level: 1,
            keys_dir: None,
            accept_unconditional_store: false,
        }
    }
}

impl InitOptions {
    /// Refuses readers that are none, and key files that are in the way, before anything is made.
    pub fn check(&self) -> Result<()> {
        parse_readers(&self.readers)?;
        let taken_over = self.reader_path.as_ref().filter(|path| path.exists());
        if taken_over.is_some() {
            reader_for(self, RepositoryId::random())?;
        }
        let Some(directory) = &self.keys_dir else { return Ok(()) };
        let (writer, reader) = keys::paths(directory);
        let wanted = [Some(writer), self.reader_path.is_none().then_some(reader)];
        match wanted.into_iter().flatten().find(|path| path.exists()) {
            None => Ok(()),
            Some(path) => Err(Error::refused(format!("writing key file {}: there is one already", path.display()))
                .hint("it belongs to another repository: name a directory for the new keys with --keys")),
        }
    }
}

/// The recipients of a repository's readers.
fn parse_readers(readers: &[String]) -> Result<()> {
    let parsed = Recipients::parse(readers.iter().map(String::as_str));
    parsed.map(drop).map_err(|why| Error::input(format!("reading a reader: {why}")).hint("a reader looks like age1…"))
}

/// A repository that was just made.
#[derive(Debug)]
pub struct Initialised {
    /// The repository, opened with all its keys.
    pub repository: Repository,
    /// The key of the backup host.
    pub writer: WriterKey,
    /// The key to move away. Without an identity in it (readers were given as recipients) it only authorises.
    pub reader: ReaderKey,
    /// Whether the reader key was there before.
    pub reader_was_there: bool,
    /// What the store was seen to do.
    pub features: Features,
}

impl Repository {
    /// Makes a repository in an empty place.
    pub async fn init(store: SharedStore, options: &InitOptions, clock: SharedClock) -> Result<Initialised> {
        refuse_taken(&store).await?;
        let features = store.probe().await.map_err(refused(format!("trying out {}", store.describe())))?;
        check_features(&store, options, &features)?;
        let made = Made::new(options, &features, &clock)?;
        let written = made.write_keys(options)?;
        if let Err(error) = put_charter(&store, &made).await {
            remove_new_keys(&written);
            return Err(error);
        }
        let keys = Keys { writer: Some(made.writer.clone()), reader: Some(made.reader.clone()) };
        let memory = state::Memory::load(None, made.charter.repository)?;
        let repository = Self::assemble(store, keys, made.charter, memory, OpenContext::new(clock))?;
        let reader_was_there = made.reader_was_there;
        Ok(Initialised { repository, writer: made.writer, reader: made.reader, reader_was_there, features })
    }
}

impl Repository {
    /// Whether there is a repository in a store already.
    pub async fn is_at(store: &SharedStore) -> Result<bool> {
        match store.head(&layout::charter(), None).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound(_)) => Ok(false),
            Err(error) => Err(refused(format!("looking at {}", store.describe()))(error)),
        }
    }

    /// Has all that is made from now on locked in this mode; gives the repository as it is then. What was made before
    /// is locked by `retain`, as far as rules or holds promise to keep it.
    pub async fn lock_from_now_on(&self, mode: LockMode) -> Result<Self> {
        let doing = "switching on object lock";
        let place = self.store().describe();
        match self.settings().lock {
            Some(known) if known == mode => {
                return Err(Error::refused(format!("{doing} at {place}: it is on already, in this mode")));
            }
            Some(LockMode::Compliance) => {
                return Err(Error::refused(format!("{doing} at {place}: it promises compliance, which is stronger"))
                    .hint("another prefix makes another repository"));
            }
            _ => {}
        }
        let features = self.store().probe().await.map_err(refused(format!("trying out {place}")))?;
        must_lock(self.store(), &features, doing)?;
        let change = |charter: &mut Charter| {
            charter.settings.lock = Some(mode);
            charter.settings.features = features;
        };
        self.amend(None, change).await
    }
}

async fn refuse_taken(store: &SharedStore) -> Result<()> {
    if !Repository::is_at(store).await? {
        return Ok(());
    }
    Err(Error::refused(format!("making a repository at {}: there is one already", store.describe()))
        .hint("davit backup uses it, --object-lock has it lock; another prefix or directory makes another one"))
}

pub(super) fn check_features(store: &SharedStore, options: &InitOptions, features: &Features) -> Result<()> {
    let conditional = features.put_if_absent && features.put_if_match;
    if !conditional && !options.accept_unconditional_store {
        let ignored = if features.put_if_absent { "If-Match" } else { "If-None-Match" };
        return Err(Error::refused(format!(
            "making a repository at {}: the store ignores {ignored}, so two runners could overwrite each other",
            store.describe()
        ))
        .hint("use a store with conditional writes"));
    }
    if options.lock.is_some() { must_lock(store, features, "making a locked repository") } else { Ok(()) }
}

/// Refuses locks that the store does not know.
fn must_lock(store: &SharedStore, features: &Features, doing: &str) -> Result<()> {
    if features.object_lock {
        return Ok(());
    }
    Err(Error::refused(format!("{doing} at {}: the bucket has no object lock", store.describe()))
        .hint("object lock is switched on when a bucket is made"))
}

async fn put_charter(store: &SharedStore, made: &Made) -> Result<()> {
    let root = made
        .reader
        .signing
        .as_ref()
        .ok_or_else(|| Error::input("signing davit.json: the reader key holds no root key"))?;
    let put = Put::new(made.charter.sign(root)?);
    let doing = format!("making a repository at {}", store.describe());
    match store.put_new(&layout::charter(), put).await {
        Ok(_) => Ok(()),
        Err(StoreError::AlreadyExists(_)) => Err(Error::refused(format!("{doing}: somebody else just made one"))),
        Err(error) => Err(refused(doing)(error)),
    }
}

/// Keys and charter of a repository that is about to exist.
struct Made {
    charter: Charter,
    writer: WriterKey,
    reader: ReaderKey,
    reader_was_there: bool,
}

impl Made {
    fn new(options: &InitOptions, features: &Features, clock: &SharedClock) -> Result<Self> {
        let repository = RepositoryId::random();
        let (reader, reader_was_there) = reader_for(options, repository)?;
        let mut readers = options.readers.clone();
        if options.encrypt {
            readers.extend(reader.recipients());
        }
        readers.sort();
        readers.dedup();
        parse_readers(&readers)?;
        let signing = new_signing_key()?;
        let identity = Identity::generate();
        let writer = WriterKey {
            repository,
            root: reader.root,
            epoch: 1,
            id_key: rand::rng().random(),
            signing,
            identities: vec![identity],
        };
        let now = clock.now();
        let charter = Charter {
            format: FORMAT,
            repository,
            counter: 1,
            made: now,
            root: reader.root,
            encrypted: options.encrypt,
            epoch: 1,
            epochs: vec![Epoch { epoch: 1, since: now, readers: readers.clone() }],
            writers: vec![Writer { key: writer.public(), since: now, retired: None }],
            manifest_recipients: manifest_recipients(options.encrypt, &writer.identities[..1]),
            secrets: seal_secrets(&writer.id_key, &writer.identities, &readers)?,
            settings: Settings { lock: options.lock, level: options.level, features: features.clone() },
        };
        Ok(Self { charter, writer, reader, reader_was_there })
    }

    /// Writes the key files; the ones that are new are returned.
    fn write_keys(&self, options: &InitOptions) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        let reader_path = match &options.keys_dir {
            Some(directory) => {
                let doing = format!("making the directory of keys {}", directory.display());
                std::fs::create_dir_all(directory).map_err(|why| Error::input(doing).because(why))?;
                let (writer_path, reader_path) = keys::paths(directory);
                self.writer.write(&writer_path)?;
                written.push(writer_path);
                options.reader_path.clone().or(Some(reader_path))
            }
            None => options.reader_path.clone(),
        };
        let Some(path) = reader_path else { return Ok(written) };
        let result = if self.reader_was_there { self.reader.rewrite(&path) } else { self.reader.write(&path) };
        if let Err(error) = result {
            remove_new_keys(&written);
            return Err(error);
        }
        if !self.reader_was_there {
            written.push(path);
        }
        Ok(written)
    }
}

/// Takes away the keys of a repository that was not made; the error on its way says why.
fn remove_new_keys(written: &[PathBuf]) {
    for path in written {
        let _gone = std::fs::remove_file(path);
    }
}

/// The reader key of a new repository (without an identity if readers were given), and whether it was there before.
fn reader_for(options: &InitOptions, repository: RepositoryId) -> Result<(ReaderKey, bool)> {
    if let Some(path) = options.reader_path.as_ref().filter(|path| path.exists()) {
        let doing = || format!("taking over the reader key {}", path.display());
        let mut reader = Keys::load(path)?.reader.ok_or_else(|| Error::input(format!("{}: it is none", doing())))?;
        if !reader.holds_root() {
            return Err(Error::input(format!("{}: it holds no root key", doing()))
                .hint("name a reader key that holds one, or a place where none is yet"));
        }
        reader.repositories.push(repository);
        return Ok((reader, true));
    }
    let signing = new_signing_key()?;
    let identities =
        if options.encrypt && options.readers.is_empty() { vec![Identity::generate()] } else { Vec::new() };
    let reader =
        ReaderKey { repositories: vec![repository], root: signing.public(), signing: Some(signing), identities };
    Ok((reader, false))
}

pub(super) fn new_signing_key() -> Result<SigningKey> {
    SigningKey::generate().ok_or_else(|| Error::failed("making a signing key"))
}

/// The recipients of the writers' own identities; nobody in a plain repository.
pub(super) fn manifest_recipients(encrypted: bool, identities: &[Identity]) -> Vec<String> {
    let all = identities.iter().map(|identity| identity.to_public().to_string());
    if encrypted { all.collect() } else { Vec::new() }
}

/// Seals what a new writer needs to the readers.
pub(super) fn seal_secrets(id_key: &[u8; 32], identities: &[Identity], readers: &[String]) -> Result<String> {
    let inner = charter::Inner {
        id_key: STANDARD.encode(id_key),
        manifest_identities: identities
            .iter()
            .map(|identity| identity.to_string().expose_secret().to_owned())
            .collect(),
    };
    let doing = "sealing the secrets of davit.json";
    let text = serde_json::to_vec(&inner).map_err(|why| Error::failed(doing).because(why))?;
    let recipients = Recipients::parse(readers.iter().map(String::as_str))
        .map_err(|why| Error::failed(format!("{doing}: {why}")))?;
    let sealed = seal::seal(&text, 1, &recipients).map_err(|why| Error::failed(doing).because(why))?;
    Ok(STANDARD.encode(sealed.bytes))
}

/// Reads the charter and checks it against what the keys pin.
pub(super) async fn read_charter(store: &SharedStore, pinned: &[RepositoryId], root: &PublicKey) -> Result<Charter> {
    let doing = format!("opening the repository at {}", store.describe());
    let key = layout::charter();
    match store.get(&key, None).await {
        Ok(object) => Charter::read(&object.body, pinned, root),
        Err(StoreError::NotFound(_)) => match deleted_charter(store, pinned, root).await {
            Some(charter) => {
                tracing::warn!(%key, "somebody deleted it; an older version is used");
                Ok(charter)
            }
            None => Err(Error::input(format!("{doing}: there is none"))
                .hint("davit init makes one; --repository names another place")),
        },
        Err(error) => Err(refused(doing)(error)),
    }
}

/// The charter that a delete marker hides, in a store that keeps versions.
async fn deleted_charter(store: &SharedStore, pinned: &[RepositoryId], root: &PublicKey) -> Option<Charter> {
    let key = layout::charter();
    let mut newest: Option<Charter> = None;
    for entry in store.versions(key.as_str()).await.ok()?.iter().filter(|entry| entry.key == key) {
        let Ok(object) = store.get(&key, Some(&entry.version)).await else { continue };
        if let Ok(charter) = Charter::read(&object.body, pinned, root)
            && newest.as_ref().is_none_or(|newest| newest.counter < charter.counter)
        {
            newest = Some(charter);
        }
    }
    newest
}
