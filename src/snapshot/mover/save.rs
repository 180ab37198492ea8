//! Walks a volume and writes all of it as one stream, in the order of names, so that an unchanged volume gives the same
//! bytes again.

use super::tape::{self, Entry, What};
use super::{FILLING, Moved};
use crate::error::{Error, Result};
use rustix::fs::{OFlags, SeekFrom, fgetxattr, flistxattr, major, minor, seek};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;
/// The kernel gives no larger list of attributes, and no larger attribute.
const ATTRIBUTE_MAX: usize = 64 << 10;
/// Folders in folders; more than that, and it is a circle of mounts or an accident.
const DEEPEST: usize = 1000;

/// Why the walk does not go on.
enum Stop {
    /// The stream is broken: nobody listens any more.
    Stream(io::Error),
    /// What is here is not for files.
    Refused(Error),
}

impl From<io::Error> for Stop {
    fn from(why: io::Error) -> Self {
        Self::Stream(why)
    }
}

/// Writes every file below `root`. What cannot be read is counted and named; it is not in the stream.
pub fn save(root: &Path, out: &mut impl Write) -> Result<Moved> {
    let doing = || format!("writing the files of {}", root.display());
    let mut walk = Walk { root, out, moved: Moved::default(), links: HashMap::new(), piece: vec![0; PIECE] };
    let facts = std::fs::symlink_metadata(root).map_err(|why| Error::input(doing()).because(why))?;
    let walked = walk.folder(b"", &facts, 0).and_then(|()| Ok(tape::end(walk.out)?));
    match walked.and_then(|()| Ok(walk.out.flush()?)) {
        Ok(()) => Ok(walk.moved),
        Err(Stop::Stream(why)) => Err(Error::failed(doing()).because(why)),
        Err(Stop::Refused(error)) => Err(error),
    }
}

struct Walk<'a, W> {
    root: &'a Path,
    out: &'a mut W,
    moved: Moved,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    piece: Vec<u8>,
}

impl<W: Write> Walk<'_, W> {
    fn at(&self, path: &[u8]) -> PathBuf {
        self.root.join(std::ffi::OsStr::from_bytes(path))
    }

    /// A folder and everything below it; the path of the volume itself is empty.
    fn folder(&mut self, path: &[u8], facts: &Metadata, depth: usize) -> Result<(), Stop> {
        let at = self.at(path);
        if is_data_of_postgres(&at) {
            return Err(Stop::Refused(
                Error::refused(format!(
                    "reading the files of {}: a PostgreSQL data directory is there, and files that are copied while a \
                     server writes them are no database",
                    at.display()
                ))
                .hint("davit backup saves databases; davit.dev/volume: skip on the claim leaves the volume out"),
            ));
        }
        let names = match names_in(&at) {
            Ok(names) if depth < DEEPEST => names,
            Ok(_) => {
                self.moved.fails(path, "folders are nested too deeply");
                return Ok(());
            }
            Err(why) if path.is_empty() => {
                return Err(Stop::Refused(Error::failed(format!("reading {}", at.display())).because(why)));
            }
            Err(why) => {
                // The folder itself comes back, empty.
                self.moved.fails(path, &why.to_string());
                Vec::new()
            }
        };
        let shown = if path.is_empty() { &b"."[..] } else { path };
        let attributes = File::open(&at).map(|folder| self.attributes(shown, &folder)).unwrap_or_default();
        self.write(shown, What::Directory, facts, attributes)?;
        for name in names {
            // What the file system keeps for itself, and what a restore left that was cut off.
            if path.is_empty() && (name == b"lost+found" || name == FILLING.as_bytes()) {
                continue;
            }
            let below = if path.is_empty() { name } else { [path, b"/", &name].concat() };
            match std::fs::symlink_metadata(self.at(&below)) {
                Ok(facts) if facts.is_dir() => self.folder(&below, &facts, depth + 1)?,
                Ok(facts) => self.other(&below, &facts)?,
                // It was deleted since the folder was read: as if it had been a moment earlier.
                Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                Err(why) => self.moved.fails(&below, &why.to_string()),
            }
        }
        Ok(())
    }

    fn other(&mut self, path: &[u8], facts: &Metadata) -> Result<(), Stop> {
        if facts.nlink() > 1 {
            let file = (facts.dev(), facts.ino());
            if let Some(first) = self.links.get(&file) {
                let what = What::Link(first.clone());
                return self.write(path, what, facts, Vec::new());
            }
            if facts.is_file() {
                return self.file(path);
            }
            self.links.insert(file, path.to_vec());
        }
        let kind = facts.file_type();
        let device = (major(facts.rdev()), minor(facts.rdev()));
        let what = if kind.is_file() {
            return self.file(path);
        } else if kind.is_symlink() {
            match std::fs::read_link(self.at(path)) {
                Ok(target) => What::Symlink(target.into_os_string().into_vec()),
                Err(why) => {
                    self.moved.fails(path, &why.to_string());
                    return Ok(());
                }
            }
        } else if kind.is_fifo() {
            What::Fifo
        } else if kind.is_char_device() {
            What::Character(device.0, device.1)
        } else if kind.is_block_device() {
            What::Block(device.0, device.1)
        } else {
            // A socket means nothing without the process that listens at it, which makes it anew.
            return Ok(());
        };
        self.write(path, what, facts, Vec::new())
    }

    fn file(&mut self, path: &[u8]) -> Result<(), Stop> {
        let opened = open(&self.at(path)).and_then(|file| Ok((file.metadata()?, file)));
        let (facts, file) = match opened {
            Ok((facts, file)) if facts.is_file() => (facts, file),
            Ok(_) => {
                self.moved.changes(path);
                return Ok(());
            }
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(why) => {
                self.moved.fails(path, &why.to_string());
                return Ok(());
            }
        };
        if facts.nlink() > 1 {
            self.links.insert((facts.dev(), facts.ino()), path.to_vec());
        }
        let attributes = self.attributes(path, &file);
        let size = facts.size();
        let data = data_of(&file, &facts);
        self.write(path, What::File { size, data: data.clone() }, &facts, attributes)?;
        let mut bytes = 0;
        for (offset, length) in data {
            self.piece_of(path, &file, offset, length)?;
            bytes += length;
        }
        tape::pad(self.out, bytes)?;
        self.moved.bytes += bytes;
        let after = file.metadata().map(|after| (after.size(), after.mtime(), after.mtime_nsec()));
        if after.ok() != Some((size, facts.mtime(), facts.mtime_nsec())) {
            self.moved.changes(path);
        }
        Ok(())
    }

    /// Exactly these bytes: a file that became shorter is filled up with zeros, as its header has promised its size.
    fn piece_of(&mut self, path: &[u8], file: &File, mut offset: u64, mut length: u64) -> Result<(), Stop> {
        let mut broken = false;
        while length > 0 {
            let wanted = usize::try_from(length).unwrap_or(PIECE).min(PIECE);
            let read = match file.read_at(&mut self.piece[..wanted], offset) {
                Ok(0) => wanted_zeros(&mut self.piece[..wanted]),
                Ok(read) => read,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                Err(why) => {
                    if !broken {
                        self.moved.fails(path, &why.to_string());
                        broken = true;
                    }
                    wanted_zeros(&mut self.piece[..wanted])
                }
            };
            self.out.write_all(&self.piece[..read])?;
            offset += read as u64;
            length -= read as u64;
        }
        Ok(())
    }

    fn attributes(&mut self, path: &[u8], file: &File) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut list = vec![0; ATTRIBUTE_MAX];
        let length = match flistxattr(file, &mut list[..]) {
            Ok(length) => length,
            Err(Errno::NOTSUP | Errno::NOSYS) => return Vec::new(),
            Err(why) => {
                self.moved.fails(path, &format!("its attributes: {why}"));
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        let mut value = vec![0; ATTRIBUTE_MAX];
        for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            match fgetxattr(file, name, &mut value[..]) {
                Ok(length) => found.push((name.to_vec(), value[..length].to_vec())),
                // It went meanwhile, or is only for the kernel's eyes.
                Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(why) => self.moved.fails(path, &format!("its attribute {}: {why}", String::from_utf8_lossy(name))),
            }
        }
        found.sort();
        found
    }

    fn write(
        &mut self,
        path: &[u8],
        what: What,
        facts: &Metadata,
        attributes: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<(), Stop> {
        let entry = Entry {
            path: path.to_vec(),
            what,
            mode: facts.mode() & 0o7777,
            owner: (facts.uid(), facts.gid()),
            modified: (facts.mtime(), u32::try_from(facts.mtime_nsec()).unwrap_or(0)),
            attributes,
        };
        self.moved.entries += 1;
        Ok(tape::write_entry(self.out, &entry)?)
    }
}

fn wanted_zeros(piece: &mut [u8]) -> usize {
    piece.fill(0);
    piece.len()
}

/// A server of any version has both.
fn is_data_of_postgres(folder: &Path) -> bool {
    folder.join("PG_VERSION").is_file() && folder.join("global/pg_control").exists()
}

fn names_in(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.push(entry?.file_name().into_vec());
    }
    names.sort();
    Ok(names)
}

/// Opens a file without following a link that took its place, without waiting for a pipe, and without a new time of
/// access where that is allowed.
fn open(path: &Path) -> io::Result<File> {
    let with = |flags: OFlags| {
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        OpenOptions::new().read(true).custom_flags(flags).open(path)
    };
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    with(flags | OFlags::NOATIME).or_else(|_| with(flags))
}

/// Where the data of a file lie. A file system that knows nothing of holes has data everywhere.
fn data_of(file: &File, facts: &Metadata) -> Vec<(u64, u64)> {
    let size = facts.size();
    let whole = || if size == 0 { Vec::new() } else { vec![(0, size)] };
    if facts.blocks().saturating_mul(512) >= size {
        return whole();
    }
    let mut data = Vec::new();
    let mut at = 0;
    while at < size {
        let begin = match seek(file, SeekFrom::Data(at)) {
            Ok(begin) => begin,
            // There is none behind.
            Err(Errno::NXIO) => return data,
            Err(_) => return whole(),
        };
        let Ok(end) = seek(file, SeekFrom::Hole(begin)) else { return whole() };
        let end = end.min(size);
        if begin >= end {
            return data;
        }
        data.push((begin, end - begin));
        at = end;
    }
    data
}
