//! Makes the files of a stream in a volume. Links are never followed, nothing is made outside of the volume, and a
//! volume that holds files already is left alone.

use super::tape::{self, Entry, What};
use super::{FILLING, Moved};
use crate::error::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, fchmod,
    fchown, fsetxattr, ftruncate, futimens, linkat, makedev, mkdirat, mknodat, openat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PIECE: usize = 256 << 10;
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Fills the volume at `root` from a stream. `run` names the restore: only what the same one began is begun again.
pub fn load(root: &Path, run: &str, from: &mut impl Read) -> Result<Moved> {
    let doing = || format!("filling {}", root.display());
    let opened = rustix::fs::open(root, FOLDER, Mode::empty());
    let folder = opened.map_err(|why| Error::input(doing()).because(io::Error::from(why)))?;
    let begun = begin(root, run).map_err(|why| Error::failed(doing()).because(why))?;
    if !begun {
        // The stream is read to its end: who sends it takes a broken pipe for a broken connection.
        read_over(from).map_err(|why| Error::failed(doing()).because(why))?;
        return Ok(Moved { left_alone: true, ..Moved::default() });
    }
    let mut filler = Filler { root: folder, near: None, moved: Moved::default(), folders: Vec::new() };
    filler.all(from).map_err(|why| Error::failed(doing()).because(why))?;
    let (own, below): (Vec<Entry>, Vec<Entry>) =
        std::mem::take(&mut filler.folders).into_iter().partition(|entry| entry.path == b".");
    filler.end_folders(below);
    // Whoever finds no mark takes the volume for whole: it goes when everything is on the disk, and the folder that it lies
    // in is ended after it.
    let on_disk = |filler: &Filler| {
        rustix::fs::syncfs(&filler.root).map_err(|why| Error::failed(doing()).because(io::Error::from(why)))
    };
    on_disk(&filler)?;
    // What could not be made may work the next time; the mark lets the same restore try again.
    if filler.moved.failed == 0 {
        std::fs::remove_file(root.join(FILLING)).map_err(|why| Error::failed(doing()).because(why))?;
    }
    filler.end_folders(own);
    on_disk(&filler)?;
    Ok(filler.moved)
}

/// Notes in the volume that it is being filled; false if files are in it that are not of this restore.
fn begin(root: &Path, run: &str) -> io::Result<bool> {
    let mark = root.join(FILLING);
    match std::fs::read_to_string(&mark) {
        Ok(text) => return Ok(text == run),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        Err(why) => return Err(why),
    }
    for entry in std::fs::read_dir(root)? {
        if entry?.file_name().as_bytes() != b"lost+found" {
            return Ok(false);
        }
    }
    std::fs::write(&mark, run)?;
    File::open(&mark)?.sync_all()?;
    Ok(true)
}

struct Filler {
    root: OwnedFd,
    /// The folder that was worked in last: most entries lie beside the one before them.
    near: Option<(Vec<u8>, OwnedFd)>,
    moved: Moved,
    /// Folders get their modes and times when everything is in them.
    folders: Vec<Entry>,
}

impl Filler {
    fn all(&mut self, from: &mut impl Read) -> io::Result<()> {
        while let Some(entry) = tape::read_entry(from)? {
            self.moved.entries += 1;
            self.moved.bytes += entry.data_bytes();
            if entry.path == b"." {
                self.folders.push(entry);
                continue;
            }
            let (parent, name) = match entry.path.iter().rposition(|byte| *byte == b'/') {
                Some(at) => (entry.path[..at].to_vec(), entry.path[at + 1..].to_vec()),
                None => (Vec::new(), entry.path.clone()),
            };
            let made = match self.parent(&parent) {
                Ok(()) => self.make(&entry, &name, from)?,
                Err(why) => Err((why, false)),
            };
            if let Err((why, consumed)) = made {
                self.moved.fails(&entry.path, &why.to_string());
                if !consumed {
                    skip(from, &entry)?;
                }
            }
        }
        Ok(())
    }

    /// Opens the folder that an entry lies in, name by name: none of them may be a link.
    fn parent(&mut self, path: &[u8]) -> Result<(), Errno> {
        if self.near.as_ref().is_some_and(|(near, _)| near == path) {
            return Ok(());
        }
        let mut at = rustix::io::dup(&self.root)?;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            at = openat(&at, name, FOLDER, Mode::empty())?;
        }
        self.near = Some((path.to_vec(), at));
        Ok(())
    }

    /// Makes one entry. The outer error is the stream's; the inner one says whether the entry's data were read.
    fn make(&mut self, entry: &Entry, name: &[u8], from: &mut impl Read) -> io::Result<Result<(), (Errno, bool)>> {
        let Some((_, folder)) = &self.near else { return Ok(Err((Errno::NOENT, false))) };
        let folder = folder.as_fd();
        if !matches!(entry.what, What::Directory) {
            // Left by a run that was cut off.
            match unlinkat(folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(why) => return Ok(Err((why, false))),
            }
        }
        let private = Mode::RUSR | Mode::WUSR;
        let made = match &entry.what {
            What::File { size, data } => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = match openat(folder, name, flags, private) {
                    Ok(file) => File::from(file),
                    Err(why) => return Ok(Err((why, false))),
                };
                let wrote = write_data(&file, *size, data, from)?;
                tape_pad(from, entry.data_bytes())?;
                if let Err(why) = wrote {
                    return Ok(Err((why, true)));
                }
                self.dress_file(entry, &file);
                return Ok(Ok(()));
            }
            What::Directory => match mkdirat(folder, name, Mode::RWXU) {
                Err(why) if why != Errno::EXIST => Err(why),
                made => {
                    if made.is_err() {
                        open_again(folder, name);
                    }
                    self.folders.push(entry.clone());
                    return Ok(Ok(()));
                }
            },
            What::Symlink(target) => symlinkat(target.as_slice(), folder, name),
            What::Link(first) => {
                let linked = self.link(first, folder, name);
                return Ok(linked.map_err(|why| (why, true)));
            }
            What::Fifo => mknodat(folder, name, FileType::Fifo, private, 0),
            What::Character(major, minor) => {
                mknodat(folder, name, FileType::CharacterDevice, private, makedev(*major, *minor))
            }
            What::Block(major, minor) => mknodat(folder, name, FileType::BlockDevice, private, makedev(*major, *minor)),
        };
        if made.is_ok() {
            dress_other(&mut self.moved, entry, folder, name);
        }
        Ok(made.map_err(|why| (why, true)))
    }

    /// Another name of a file that was made before; its folders are opened name by name, too.
    fn link(&self, first: &[u8], folder: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        let mut at = rustix::io::dup(&self.root)?;
        let mut parts: Vec<&[u8]> = first.split(|byte| *byte == b'/').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            at = openat(&at, part, FOLDER, Mode::empty())?;
        }
        linkat(&at, last, folder, name, AtFlags::empty())
    }

    /// Owner first: changing it takes some bits of the mode away.
    fn dress_file(&mut self, entry: &Entry, file: &File) {
        let path = &entry.path;
        let (user, group) = (Uid::from_raw(entry.owner.0), Gid::from_raw(entry.owner.1));
        let owned = fchown(file, Some(user), Some(group)).or_else(|why| {
            // An account without rights gives files of its own to its own groups; the owner may be right already.
            fchown(file, None, Some(group)).and_then(|()| if owner_is(file, entry) { Ok(()) } else { Err(why) })
        });
        if let Err(why) = owned {
            self.moved.lacks(path, &format!("its owner {}:{}: {why}", entry.owner.0, entry.owner.1));
        }
        for (name, value) in &entry.attributes {
            if let Err(why) = fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                self.moved.lacks(path, &format!("its attribute {}: {why}", String::from_utf8_lossy(name)));
            }
        }
        if let Err(why) = fchmod(file, Mode::from_raw_mode(entry.mode)) {
            self.moved.lacks(path, &format!("its mode {:o}: {why}", entry.mode));
        }
        if let Err(why) = futimens(file, &times(entry)) {
            self.moved.lacks(path, &format!("its time: {why}"));
        }
    }

    /// Modes and times of folders, from the last to the first: what is below is complete then.
    fn end_folders(&mut self, folders: Vec<Entry>) {
        for entry in folders.into_iter().rev() {
            let path = if entry.path == b"." { &b""[..] } else { entry.path.as_slice() };
            self.near = None;
            match self.parent(path) {
                Ok(()) => {
                    if let Some((_, folder)) = self.near.take() {
                        self.dress_file(&entry, &File::from(folder));
                    }
                }
                Err(why) => self.moved.fails(&entry.path, &why.to_string()),
            }
        }
    }
}

/// A run that was cut off may have set the mode of a folder already, and perhaps nobody may write in it. It gets that again
/// when everything is in it. Where it cannot be changed, what is put into it says so.
fn open_again(folder: BorrowedFd<'_>, name: &[u8]) {
    // A link would be followed.
    let there = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    let is_folder = |mode| FileType::from_raw_mode(mode) == FileType::Directory;
    if there.is_ok_and(|there| is_folder(there.st_mode) && !Mode::from_raw_mode(there.st_mode).contains(Mode::RWXU)) {
        chmodat(folder, name, Mode::RWXU, AtFlags::empty()).ok();
    }
}

fn owner_is(file: &File, entry: &Entry) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|facts| (facts.uid(), facts.gid()) == entry.owner)
}

fn times(entry: &Entry) -> Timestamps {
    let (seconds, nanoseconds) = entry.modified;
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}

/// What is no file and no folder: links have no mode, and none of these is opened.
fn dress_other(moved: &mut Moved, entry: &Entry, folder: BorrowedFd<'_>, name: &[u8]) {
    let (user, group) = (Uid::from_raw(entry.owner.0), Gid::from_raw(entry.owner.1));
    let owned = chownat(folder, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW);
    let is_link = matches!(entry.what, What::Symlink(_));
    if let Err(why) = owned {
        let there = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        if there.map(|there| (there.st_uid, there.st_gid)) != Ok(entry.owner) {
            moved.lacks(&entry.path, &format!("its owner {}:{}: {why}", entry.owner.0, entry.owner.1));
        }
    }
    if !is_link && let Err(why) = chmodat(folder, name, Mode::from_raw_mode(entry.mode), AtFlags::empty()) {
        moved.lacks(&entry.path, &format!("its mode {:o}: {why}", entry.mode));
    }
    if let Err(why) = utimensat(folder, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW) {
        moved.lacks(&entry.path, &format!("its time: {why}"));
    }
}

/// Writes the data of a file and leaves its holes. An error of the file is the inner one: the stream goes on.
fn write_data(file: &File, size: u64, data: &[(u64, u64)], from: &mut impl Read) -> io::Result<Result<(), Errno>> {
    let mut piece = vec![0; PIECE];
    let mut failed = None;
    for (offset, length) in data {
        let (mut at, mut left) = (*offset, *length);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            from.read_exact(&mut piece[..wanted])?;
            if failed.is_none()
                && let Err(why) = file.write_all_at(&piece[..wanted], at)
            {
                failed = Some(Errno::from_io_error(&why).unwrap_or(Errno::IO));
            }
            at += wanted as u64;
            left -= wanted as u64;
        }
    }
    Ok(match failed {
        Some(why) => Err(why),
        None => ftruncate(file, size),
    })
}

fn tape_pad(from: &mut impl Read, bytes: u64) -> io::Result<()> {
    let over = usize::try_from(bytes % tape::BLOCK as u64).unwrap_or(0);
    if over > 0 {
        from.read_exact(&mut [0; tape::BLOCK][over..])?;
    }
    Ok(())
}

fn read_over(from: &mut impl Read) -> io::Result<()> {
    while let Some(entry) = tape::read_entry(from)? {
        skip(from, &entry)?;
    }
    Ok(())
}

/// Reads over the data of an entry that could not be made.
fn skip(from: &mut impl Read, entry: &Entry) -> io::Result<()> {
    let bytes = entry.data_bytes().next_multiple_of(tape::BLOCK as u64);
    let skipped = io::copy(&mut from.take(bytes), &mut io::sink())?;
    if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
