//! The file work of a local store: whole or not at all, synced, and never outside its directory.

use super::super::{ETag, Meta, ObjectKey, StoreError};
use super::blocking;
use crate::clock::Clock;
use crate::id::{Sha256, to_hex};
use crate::retry::Policy;
use jiff::Timestamp;
use rand::RngExt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

/// Where files are before they have their name. `~` is in no key, so it never meets an object.
const TEMPORARY: &str = "~tmp";
/// What whoever replaces or deletes holds.
const LOCK: &str = "~lock";
/// A file up to this size is tagged by its content, a larger one by inode, time and size.
const SMALL: u64 = 64 * 1024;
/// A folder that a delete removed under our feet is made again so often.
const PLACING_ATTEMPTS: u32 = 5;
/// How long the lock is waited for; it is held for one rename, so only a stopped process makes this long.
const LOCK_WAIT: Policy = Policy {
    attempts: u32::MAX,
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(50),
    deadline: Duration::from_secs(30),
};

/// The directory, as its own real path.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
}

/// The store's lock, given back when dropped.
#[derive(Debug)]
pub(super) struct Locked(#[expect(dead_code, reason = "the lock lives as long as the file is open")] File);

impl Files {
    pub(super) fn open(directory: &Path, create: bool) -> Result<Self, StoreError> {
        if create {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|error| failure("make", directory, &error))?;
        }
        let root = match fs::canonicalize(directory) {
            Ok(root) => root,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(StoreError::NoStore(directory.display().to_string()));
            }
            Err(error) => return Err(failure("open", directory, &error)),
        };
        if !root.is_dir() {
            return Err(not_a_directory(directory));
        }
        let files = Self { root };
        files.remove_abandoned();
        Ok(files)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Takes the lock that replacing and deleting need, in this process and between processes.
    pub(super) async fn lock(&self, clock: &dyn Clock) -> Result<Locked, StoreError> {
        let path = self.root.join(LOCK);
        let attempt = |_| {
            let path = path.clone();
            blocking(move || {
                let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
                let file = file.map_err(|error| failure("lock", &path, &error))?;
                match file.try_lock() {
                    Ok(()) => Ok(Locked(file)),
                    Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable {
                        target: path.display().to_string(),
                        detail: "another process holds the lock".to_owned(),
                    }),
                    Err(TryLockError::Error(error)) => Err(failure("lock", &path, &error)),
                }
            })
        };
        LOCK_WAIT.run(clock, &CancellationToken::new(), attempt).await
    }

    /// Writes an object under a name that is free.
    pub(super) fn create(&self, key: &ObjectKey, body: &[u8], now: Timestamp) -> Result<ETag, StoreError> {
        let path = self.path(key.as_str())?;
        let taken = || StoreError::AlreadyExists(key.to_string());
        if fs::symlink_metadata(&path).is_ok() {
            return Err(taken());
        }
        let (mut file, etag) = self.write(body, now)?;
        for _ in 0..PLACING_ATTEMPTS {
            self.make_folders(&path)?;
            match file.persist_noclobber(&path) {
                Ok(_) => return sync_folder(&path).map(|()| etag),
                Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => return Err(taken()),
                Err(refused) if refused.error.kind() == ErrorKind::NotFound => file = refused.file,
                Err(refused) => return Err(failure("write", &path, &refused.error)),
            }
        }
        Err(StoreError::Unavailable { target: key.to_string(), detail: "its folder keeps vanishing".to_owned() })
    }

    /// Replaces an object that still has the tag `expected`.
    pub(super) fn replace(
        &self,
        key: &ObjectKey,
        body: &[u8],
        now: Timestamp,
        expected: &ETag,
        _lock: &Locked,
    ) -> Result<ETag, StoreError> {
        let changed = || StoreError::Changed(key.to_string());
        match self.open_object(key) {
            Ok((meta, _)) if meta.etag == *expected => {}
            Ok(_) | Err(StoreError::NotFound(_)) => return Err(changed()),
            Err(error) => return Err(error),
        }
        let path = self.path(key.as_str())?;
        let (file, etag) = self.write(body, now)?;
        file.persist(&path).map_err(|refused| failure("write", &path, &refused.error))?;
        sync_folder(&path)?;
        Ok(etag)
    }

    /// Deletes an object and the folders it leaves empty.
    pub(super) fn delete(&self, key: &ObjectKey, _lock: &Locked) -> Result<(), StoreError> {
        let path = self.path(key.as_str())?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(failure("delete", &path, &error)),
        }
        sync_folder(&path)?;
        let above = path.ancestors().skip(1).take_while(|folder| *folder != self.root);
        for folder in above {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Opens an object and says what it is.
    pub(super) fn open_object(&self, key: &ObjectKey) -> Result<(Meta, File), StoreError> {
        let path = self.path(key.as_str())?;
        let failed = |error: io::Error| {
            if is_absent(&error) { StoreError::NotFound(key.to_string()) } else { failure("read", &path, &error) }
        };
        let seen = fs::symlink_metadata(&path).map_err(failed)?;
        if !seen.is_file() {
            return Err(StoreError::NotFound(key.to_string()));
        }
        let mut file = File::open(&path).map_err(failed)?;
        let facts = file.metadata().map_err(failed)?;
        if !facts.is_file() {
            return Err(is_a_link(&path));
        }
        let etag = tag(&mut file, &facts).map_err(failed)?;
        let modified = facts.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let modified = modified.unwrap_or(Timestamp::UNIX_EPOCH);
        Ok((Meta { size: facts.len(), etag, version: None, modified, lock: None, sha256: None }, file))
    }

    /// Opens an object at one of its bytes.
    pub(super) fn open_at(&self, key: &ObjectKey, from: u64) -> Result<(Meta, File), StoreError> {
        let (meta, mut file) = self.open_object(key)?;
        match file.seek(SeekFrom::Start(from)) {
            Ok(_) => Ok((meta, file)),
            Err(error) => Err(failure("read", Path::new(key.as_str()), &error)),
        }
    }

    /// Reads a whole object.
    pub(super) fn read_all(&self, key: &ObjectKey) -> Result<(Meta, Vec<u8>), StoreError> {
        let (meta, mut file) = self.open_object(key)?;
        let mut body = Vec::with_capacity(usize::try_from(meta.size).unwrap_or(0));
        file.read_to_end(&mut body).map_err(|error| failure("read", Path::new(key.as_str()), &error))?;
        if body.len() as u64 != meta.size {
            let detail = format!("{} of {} bytes came", body.len(), meta.size);
            return Err(StoreError::Damaged { target: key.to_string(), detail });
        }
        Ok((meta, body))
    }

    /// Where a name lies; no part of the way may be a link.
    pub(super) fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        let mut path = self.root.clone();
        for part in name.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            match fs::symlink_metadata(&path) {
                Ok(facts) if facts.is_symlink() => return Err(is_a_link(&path)),
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(failure("read", &path, &error)),
            }
        }
        Ok(path)
    }

    /// Writes a synced file that has no name yet. It is locked while it lives, so that nobody takes it for a
    /// dead writer's.
    fn write(&self, body: &[u8], now: Timestamp) -> Result<(NamedTempFile, ETag), StoreError> {
        let folder = self.root.join(TEMPORARY);
        let failed = |error: io::Error| failure("write", &folder, &error);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let mut builder = tempfile::Builder::new();
        let mut file = builder.permissions(Permissions::from_mode(0o640)).tempfile_in(&folder).map_err(failed)?;
        // A file system without locks still stores objects; it only keeps what a dead writer left.
        drop(file.as_file().try_lock());
        file.write_all(body).map_err(failed)?;
        file.as_file().set_modified(distinct(now)).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        let facts = file.as_file().metadata().map_err(failed)?;
        let etag = if facts.len() <= SMALL { content_tag(body) } else { place_tag(&facts) };
        Ok((file, etag))
    }

    /// Makes the folders of a file, each synced into the one above it.
    fn make_folders(&self, path: &Path) -> Result<(), StoreError> {
        let missing: Vec<&Path> =
            path.ancestors().skip(1).take_while(|folder| *folder != self.root && !folder.is_dir()).collect();
        for folder in missing.into_iter().rev() {
            match DirBuilder::new().mode(0o750).create(folder) {
                Ok(()) => sync_folder(folder)?,
                // Somebody else made it, or removed the one above: placing the file tells.
                Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {}
                Err(error) => return Err(failure("write", folder, &error)),
            }
        }
        Ok(())
    }

    /// Removes what writers that died left behind; a living one holds the lock of its file.
    fn remove_abandoned(&self) {
        for entry in fs::read_dir(self.root.join(TEMPORARY)).into_iter().flatten().flatten() {
            let free = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
            if free && let Err(error) = fs::remove_file(entry.path()) {
                tracing::debug!(path = %entry.path().display(), %error, "an abandoned file stays");
            }
        }
    }
}

/// `now` with random digits below the millisecond, so that no two files share their time.
fn distinct(now: Timestamp) -> SystemTime {
    let whole = now.as_millisecond();
    let base = Timestamp::from_millisecond(whole).unwrap_or(now);
    let digits = Duration::from_nanos(rand::rng().random_range(0..1_000_000));
    SystemTime::from(base.checked_add(digits).unwrap_or(base))
}

fn tag(file: &mut File, facts: &Metadata) -> io::Result<ETag> {
    if facts.len() > SMALL {
        return Ok(place_tag(facts));
    }
    let mut body = Vec::new();
    file.read_to_end(&mut body)?;
    file.rewind()?;
    Ok(content_tag(&body))
}

/// Small files are those that are replaced; a tag of their content cannot be fooled by a re-used inode.
fn content_tag(body: &[u8]) -> ETag {
    ETag(format!("c{}", to_hex(&Sha256::of(body).0[..16])))
}

fn place_tag(facts: &Metadata) -> ETag {
    ETag(format!("i{:x}-{:x}-{:x}-{:x}", facts.ino(), facts.mtime(), facts.mtime_nsec(), facts.len()))
}

/// Makes the name of a file survive a power cut.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failure("sync", folder, &error)),
        _ => Ok(()),
    }
}

/// Whether an error says that there is no such file; `a/b` where `a` is a file says so too.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn is_a_link(path: &Path) -> StoreError {
    StoreError::Misconfigured(format!("{} is a link or no plain file, and links are not followed", path.display()))
}

fn not_a_directory(path: &Path) -> StoreError {
    StoreError::Misconfigured(format!("{} is a file, not a directory", path.display()))
}

/// What a failed system call means to a caller.
pub(super) fn failure(action: &str, path: &Path, error: &io::Error) -> StoreError {
    let target = path.display().to_string();
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StoreError::Denied { action: action.to_owned(), target }
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => StoreError::Full(target),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => not_a_directory(path),
        ErrorKind::Interrupted | ErrorKind::TimedOut | ErrorKind::ResourceBusy | ErrorKind::StaleNetworkFileHandle => {
            StoreError::Unavailable { target, detail: error.to_string() }
        }
        _ => StoreError::Other(format!("{action} {target}: {error}")),
    }
}
