//! The directory of a throw-away server: private, marked as ours, and removed later if we are killed before we can.
//!
//! A server's directory holds `davit.marker`, locked as long as its davit lives. The kernel lets go of the lock however
//! that davit ends, so whoever can take the lock may clear the directory away; process ids, which are used again and mean
//! something else in each container, decide nothing.

use crate::error::{Error, Kind, Result};
use crate::postgres::account::{self, Account};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PREFIX: &str = "davit-server-";
const MARKER: &str = "davit.marker";

/// Linux takes no longer paths for Unix sockets, the socket's name and a final zero included.
const SOCKET_PATH_MAX: usize = 107;

/// The directories of one server.
#[derive(Debug)]
pub(super) struct Place {
    /// Removed when dropped.
    root: TempDir,
    /// Held locked; see above.
    _marker: File,
}

impl Place {
    /// Makes the directories below `parent` and gives `data` and `socket` to the account.
    pub(super) fn make(parent: &Path, account: &Account) -> Result<Self> {
        let doing = || format!("making a directory for a throw-away server in {}", parent.display());
        let failed = |error: std::io::Error| Error::failed(doing()).because(error);
        let root = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent).map_err(|error| {
            failed(error).hint("name a directory that can be written, with enough room for the restored database")
        })?;
        let mut marker = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .open(root.path().join(MARKER))
            .map_err(failed)?;
        marker.lock().map_err(failed)?;
        // Written after the lock is held: an empty marker is one that is still being made.
        writeln!(marker, "a throw-away PostgreSQL server of davit, process {}", std::process::id()).map_err(failed)?;
        let place = Self { root, _marker: marker };
        let longest = place.socket().join(".s.PGSQL.5432");
        if longest.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(Error::input(format!("{}: the path of its socket would be too long", doing()))
                .hint("name a directory with a shorter path"));
        }
        place.give_to(account).map_err(failed)?;
        Ok(place)
    }

    fn give_to(&self, account: &Account) -> std::io::Result<()> {
        // Others may pass through the root to reach what is theirs, but not list it.
        let way = if account::is_root() { 0o711 } else { 0o700 };
        std::fs::set_permissions(self.root.path(), std::fs::Permissions::from_mode(way))?;
        for directory in [self.data(), self.socket()] {
            std::fs::create_dir(&directory)?;
            std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))?;
            if account::is_root() {
                std::os::unix::fs::chown(&directory, Some(account.uid), Some(account.gid))?;
            }
        }
        Ok(())
    }

    /// The data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// The directory of the socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.root.path().join("s")
    }

    /// The server's log; ours, so that the server can only write to it.
    pub(super) fn log(&self) -> PathBuf {
        self.root.path().join("log")
    }

    /// Puts a file that only the account can read beside the data, for as long as it is needed.
    pub(super) fn secret_file(&self, text: &str, account: &Account) -> Result<SecretFile> {
        let path = self.socket().join("pw");
        let write = || {
            let mut file = OpenOptions::new().create_new(true).write(true).open(&path)?;
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
            if account::is_root() {
                std::os::unix::fs::fchown(&file, Some(account.uid), Some(account.gid))?;
            }
            file.write_all(text.as_bytes())
        };
        write().map_err(|error: std::io::Error| {
            Error::failed("handing the throw-away server its password").because(error)
        })?;
        Ok(SecretFile(path))
    }

    /// Refuses to begin where there is less room than this.
    pub(super) fn need_room(&self, bytes: u64) -> Result<()> {
        let Ok(room) = rustix::fs::statvfs(self.root.path()) else { return Ok(()) };
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free >= bytes {
            return Ok(());
        }
        Err(Error::new(
            Kind::Undecided,
            format!(
                "making a throw-away server: {} has {} MiB free, and {} MiB are needed",
                self.root.path().parent().unwrap_or(self.root.path()).display(),
                free >> 20,
                bytes >> 20
            ),
        )
        .hint("name a directory with more room"))
    }

    /// Removes everything.
    pub(super) fn remove(&self) -> Result<()> {
        remove(self.root.path())
    }
}

fn remove(root: &Path) -> Result<()> {
    match std::fs::remove_dir_all(root) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(Kind::Stuck, format!("removing the throw-away server in {}", root.display())).because(error))
        }
        _ => Ok(()),
    }
}

/// A file that goes when this is dropped.
#[derive(Debug)]
pub(super) struct SecretFile(PathBuf);

impl SecretFile {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!("removing {}: {error}", self.0.display());
        }
    }
}

/// Clears away servers in `parent` whose davit was killed, and gives their directories.
pub fn remove_leftovers(parent: &Path) -> Vec<PathBuf> {
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_leftover(&entry.path()).unwrap_or(false) {
            let root = entry.path();
            end_server(&root.join("data"));
            match remove(&root) {
                Ok(()) => removed.push(root),
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }
    removed
}

/// Only what belongs to us is touched: in a shared directory anybody can make one that looks like ours.
fn is_leftover(root: &Path) -> std::io::Result<bool> {
    let metadata = root.symlink_metadata()?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    let mut marker = OpenOptions::new().read(true).write(true).open(root.join(MARKER))?;
    if marker.try_lock().is_err() {
        return Ok(false);
    }
    let mut text = String::new();
    marker.read_to_string(&mut text)?;
    Ok(!text.is_empty())
}

/// Ends the postmaster of this data directory. The pid file is the server's to write, so the process must also stand in
/// the directory, which nobody else can.
fn end_server(data: &Path) {
    let pid = std::fs::read_to_string(data.join("postmaster.pid"))
        .ok()
        .and_then(|text| text.lines().next()?.trim().parse::<i32>().ok());
    let (Some(pid), Ok(data)) = (pid, data.canonicalize()) else { return };
    let stands_there = || std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data);
    let Some(process) = Pid::from_raw(pid).filter(|_| stands_there()) else { return };
    for signal in [Signal::QUIT, Signal::KILL] {
        if let Err(error) = kill_process(process, signal) {
            tracing::debug!("ending the server in {}: {error}", data.display());
        }
        if super::process::gone_within(super::process::SHUTDOWN, || !stands_there()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Account {
        account::own().unwrap()
    }

    #[test]
    fn a_directory_is_left_alone_while_its_davit_lives_and_cleared_away_after() {
        let parent = tempfile::tempdir_in("/tmp").unwrap();
        let living = Place::make(parent.path(), &own()).unwrap();
        assert_eq!(remove_leftovers(parent.path()), Vec::<PathBuf>::new());
        // What a killed process leaves: the directory, and nobody who holds the lock.
        let Place { root, _marker: marker } = living;
        let root = root.keep();
        drop(marker);
        assert!(root.exists());
        assert_eq!(remove_leftovers(parent.path()), std::slice::from_ref(&root));
        assert!(!root.exists());
    }

    #[test]
    fn what_only_looks_like_ours_is_not_touched() {
        let parent = tempfile::tempdir_in("/tmp").unwrap();
        let without_marker = parent.path().join("davit-server-x");
        std::fs::create_dir(&without_marker).unwrap();
        let being_made = parent.path().join("davit-server-y");
        std::fs::create_dir(&being_made).unwrap();
        std::fs::write(being_made.join(MARKER), "").unwrap();
        let elsewhere = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::write(elsewhere.path().join(MARKER), "x").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), parent.path().join("davit-server-z")).unwrap();
        assert_eq!(remove_leftovers(parent.path()), Vec::<PathBuf>::new());
        assert!(without_marker.exists() && being_made.exists() && elsewhere.path().exists());
    }

    #[test]
    fn too_little_room_and_too_long_a_path_are_said_by_name() {
        let parent = tempfile::tempdir_in("/tmp").unwrap();
        let place = Place::make(parent.path(), &own()).unwrap();
        let error = place.need_room(u64::MAX).unwrap_err();
        assert_eq!(error.kind(), Kind::Undecided);
        assert!(error.to_string().contains(&parent.path().display().to_string()), "{error}");
        let deep = parent.path().join("d".repeat(90));
        std::fs::create_dir(&deep).unwrap();
        assert_eq!(Place::make(&deep, &own()).unwrap_err().kind(), Kind::Input);
        assert_eq!(std::fs::read_dir(&deep).unwrap().count(), 0);
    }
}
