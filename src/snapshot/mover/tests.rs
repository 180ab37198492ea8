//! Whatever lies in a volume comes back as it was, from our mover and from stock `tar`; whatever a stream says, nothing
//! is made outside of the volume.

use super::tape::{self, Entry, What};
use super::{FILLING, Moved, load, save};
use crate::error::Kind;
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat, setxattr, utimensat};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// What two volumes are compared by: everything that a program can see, but no inode numbers and times of access.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    content: Vec<u8>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
    links: u64,
}

fn seen(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).chain([folder.clone()]) {
            let facts = fs::symlink_metadata(&entry).unwrap();
            if facts.is_dir() && entry != folder {
                folders.push(entry.clone());
                continue;
            }
            let content = if facts.is_symlink() {
                fs::read_link(&entry).unwrap().as_os_str().as_bytes().to_vec()
            } else if facts.is_file() {
                fs::read(&entry).unwrap()
            } else {
                Vec::new()
            };
            let path = entry.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let attributes = if facts.is_file() || facts.is_dir() { attributes(&entry) } else { Vec::new() };
            let modified = (facts.mtime(), facts.mtime_nsec());
            let links = if facts.is_dir() { 0 } else { facts.nlink() };
            let owner = (facts.uid(), facts.gid());
            all.insert(path, Seen { mode: facts.mode(), owner, modified, content, attributes, links });
        }
    }
    all
}

fn attributes(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list = vec![0; 65536];
    let length = rustix::fs::listxattr(path, &mut list[..]).unwrap();
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut found: Vec<_> = names
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::getxattr(path, name, &mut value[..]).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect();
    found.sort();
    found
}

fn named(root: &Path, name: &[u8]) -> std::path::PathBuf {
    root.join(OsStr::from_bytes(name))
}

fn age(path: &Path, seconds: i64, nanoseconds: u32) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A volume with something of everything.
fn zoo(root: &Path) {
    fs::write(root.join("plain"), "some text\n").unwrap();
    fs::set_permissions(root.join("plain"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::create_dir_all(root.join("a/deep/folder")).unwrap();
    for name in [&b"not \xff\xfe utf-8"[..], b"line\nend", b"x = y", b"\"quotes' and \\"] {
        fs::write(named(root, name), name).unwrap();
    }
    let long = "n".repeat(200);
    fs::create_dir(root.join(&long)).unwrap();
    fs::write(root.join(&long).join(&long), "long").unwrap();
    symlink("/etc/passwd", root.join("a/link")).unwrap();
    symlink(OsStr::from_bytes(&[b't'; 300]), root.join("a/long-link")).unwrap();
    fs::hard_link(root.join("plain"), root.join("a/deep/again")).unwrap();
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    fs::write(root.join("attributed"), "x").unwrap();
    for (name, value) in
        [("user.plain", &b"value"[..]), ("user.line\nend=%", b"\0\n=\xff\n17 x=y\n"), ("user.empty", b"")]
    {
        setxattr(root.join("attributed"), name, value, XattrFlags::empty()).unwrap();
        setxattr(root.join("a"), name, value, XattrFlags::empty()).unwrap();
    }
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(&[7; 5000], 10 << 20).unwrap();
    sparse.write_all_at(b"end", (40 << 20) + 1).unwrap();
    fs::File::create(root.join("hole")).unwrap().set_len(1 << 20).unwrap();
    fs::write(root.join("large"), (0..3_000_001_u32).map(|n| u8::try_from(n % 251).unwrap()).collect::<Vec<u8>>())
        .unwrap();
    // A folder whose owner may not write in it comes back with what is in it.
    fs::write(root.join("a/deep/folder/kept"), "kept").unwrap();
    fs::set_permissions(root.join("a/deep/folder"), fs::Permissions::from_mode(0o555)).unwrap();
    age(&root.join("plain"), 1_000_000_000, 123_456_789);
    age(&root.join("empty"), -2, 500_000_000);
    age(&root.join("a/link"), 77, 1);
    age(&root.join("a/deep/folder"), 5, 5);
    age(&root.join("a"), 1_700_000_000, 999_999_999);
    age(root, 1_600_000_000, 1);
}

fn saved(root: &Path) -> (Vec<u8>, Moved) {
    let mut stream = Vec::new();
    let moved = save(root, &mut stream).unwrap();
    (stream, moved)
}

/// Folders without the right to write would stay behind.
fn forget(directory: tempfile::TempDir) {
    fs::set_permissions(directory.path().join("a/deep/folder"), fs::Permissions::from_mode(0o755)).ok();
    drop(directory);
}

#[test]
fn whatever_lies_in_a_volume_comes_back_as_it_was() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    zoo(from.path());
    let (stream, moved) = saved(from.path());
    assert_eq!((moved.failed, moved.changed), (0, 0), "{:?}", moved.examples);
    assert!(stream.len() < 6 << 20, "holes are not in the stream: {}", stream.len());
    let loaded = load(to.path(), "run", &mut stream.as_slice()).unwrap();
    assert_eq!((loaded.failed, loaded.unset), (0, 0), "{:?}", loaded.examples);
    assert_eq!((loaded.entries, loaded.bytes), (moved.entries, moved.bytes));
    let (before, after) = (seen(from.path()), seen(to.path()));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (path, one) in &before {
        assert!(*one == after[path], "{}", String::from_utf8_lossy(path));
    }
    let blocks = |name: &str| fs::metadata(to.path().join(name)).unwrap().blocks() * 512;
    assert!(blocks("sparse") < 1 << 20 && blocks("hole") < 64 << 10);
    let number = |name: &str| fs::metadata(to.path().join(name)).unwrap().ino();
    assert_eq!(number("plain"), number("a/deep/again"));
    // The same volume gives the same bytes, so that nothing is stored twice.
    assert_eq!(saved(to.path()).0, stream);
    forget(from);
    forget(to);
}

#[test]
fn stock_tar_unpacks_what_was_saved() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    zoo(from.path());
    let (stream, _) = saved(from.path());
    let mut tar = std::process::Command::new("tar")
        .args(["-x", "-p", "--same-owner", "--xattrs", "--xattrs-include=*", "-f", "-", "-C"])
        .arg(to.path())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut tar.stdin.take().unwrap(), &stream).unwrap();
    assert!(tar.wait().unwrap().success());
    let (before, after) = (seen(from.path()), seen(to.path()));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (path, one) in &before {
        let other = &after[path];
        assert!(one.content == other.content && one.mode == other.mode, "{}", String::from_utf8_lossy(path));
        assert_eq!((one.owner, one.modified, one.links), (other.owner, other.modified, other.links));
    }
    let blocks = fs::metadata(to.path().join("sparse")).unwrap().blocks() * 512;
    assert!(blocks < 1 << 20, "{blocks}");
    forget(from);
    forget(to);
}

#[test]
fn a_stream_that_is_cut_anywhere_is_an_error_and_the_same_restore_goes_on() {
    let from = tempfile::tempdir().unwrap();
    fs::create_dir(from.path().join("d")).unwrap();
    fs::write(from.path().join("d/file"), [9; 1500]).unwrap();
    symlink("x", from.path().join("link")).unwrap();
    let (stream, _) = saved(from.path());
    for end in (0..stream.len()).step_by(97) {
        let to = tempfile::tempdir().unwrap();
        assert!(load(to.path(), "run", &mut &stream[..end]).is_err(), "cut at {end}");
        let other = load(to.path(), "another run", &mut stream.as_slice()).unwrap();
        assert!(other.left_alone, "what another restore began is its own");
        let again = load(to.path(), "run", &mut stream.as_slice()).unwrap();
        assert_eq!((again.failed, again.left_alone), (0, false));
        let names: Vec<Vec<u8>> = seen(to.path()).into_keys().collect();
        assert_eq!(names, seen(from.path()).into_keys().collect::<Vec<_>>());
    }
}

#[test]
fn a_fill_that_was_cut_off_at_its_end_goes_on_in_folders_that_nobody_may_write_in() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(from.path().join("closed/deep")).unwrap();
    fs::write(from.path().join("closed/deep/file"), "kept").unwrap();
    let close = |at: &Path, mode| {
        for folder in ["closed/deep", "closed"] {
            fs::set_permissions(at.join(folder), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    close(from.path(), 0o555);
    let (stream, _) = saved(from.path());
    load(to.path(), "run", &mut stream.as_slice()).unwrap();
    let modes = || ["closed", "closed/deep"].map(|folder| fs::metadata(to.path().join(folder)).unwrap().mode() & 0o777);
    assert_eq!(modes(), [0o555; 2]);
    // All modes are set, and then the mover is killed before the mark goes.
    fs::write(to.path().join(FILLING), "run").unwrap();
    assert!(load(to.path(), "run", &mut &stream[..stream.len() - 1024]).is_err());
    assert_eq!(modes(), [0o700; 2], "whoever is not root could put nothing into them");
    let again = load(to.path(), "run", &mut stream.as_slice()).unwrap();
    assert_eq!((again.failed, modes()), (0, [0o555; 2]), "{:?}", again.examples);
    assert_eq!(fs::read_to_string(to.path().join("closed/deep/file")).unwrap(), "kept");
    // Folders without the right to write would stay behind.
    close(from.path(), 0o755);
    close(to.path(), 0o755);
}

#[test]
fn a_volume_with_files_is_left_alone() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("file"), "new").unwrap();
    fs::write(to.path().join("file"), "live").unwrap();
    let (stream, _) = saved(from.path());
    assert!(load(to.path(), "run", &mut stream.as_slice()).unwrap().left_alone);
    assert_eq!(fs::read_to_string(to.path().join("file")).unwrap(), "live");
    assert!(!to.path().join(FILLING).exists());
    // What a file system keeps for itself is no file.
    fs::remove_file(to.path().join("file")).unwrap();
    fs::create_dir(to.path().join("lost+found")).unwrap();
    assert!(!load(to.path(), "run", &mut stream.as_slice()).unwrap().left_alone);
    assert_eq!(fs::read_to_string(to.path().join("file")).unwrap(), "new");
}

#[test]
fn a_report_fits_into_what_is_kept_of_stderr_whatever_files_are_called() {
    let mut moved = Moved::default();
    for number in 0..100 {
        moved.changes(format!("{}/{number}", "\u{6587}".repeat(300)).as_bytes());
    }
    // Bytes that are no text take three each.
    moved.changes(&[0xFF; 300]);
    let report = serde_json::to_string(&moved).unwrap();
    assert!(report.len() < 3500, "{}", report.len());
    let kept = format!("{}\n{}{report}\n", "x".repeat(9000), super::REPORT);
    let kept = &kept[kept.len() - (4 << 10)..];
    assert_eq!(Moved::find(kept), Some(moved));
}

#[test]
fn a_data_directory_of_postgresql_is_refused_with_what_to_do() {
    let from = tempfile::tempdir().unwrap();
    fs::create_dir_all(from.path().join("pgdata/global")).unwrap();
    fs::write(from.path().join("pgdata/PG_VERSION"), "15\n").unwrap();
    fs::write(from.path().join("pgdata/global/pg_control"), "").unwrap();
    let error = save(from.path(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.hint_text().unwrap().contains("davit backup"), "{error}");
}

fn entry(path: &[u8], what: What) -> Entry {
    let (mode, owner) = (0o644, (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()));
    Entry { path: path.to_vec(), what, mode, owner, modified: (0, 0), attributes: Vec::new() }
}

fn stream(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (entry, data) in entries {
        tape::write_entry(&mut stream, entry).unwrap();
        stream.extend_from_slice(data);
        tape::pad(&mut stream, data.len() as u64).unwrap();
    }
    tape::end(&mut stream).unwrap();
    stream
}

#[test]
fn no_stream_reaches_out_of_the_volume() {
    let file = || What::File { size: 4, data: vec![(0, 4)] };
    for path in [&b"../escaped"[..], b"/tmp/escaped", b"a/../../escaped", b"a//b", b"", b"a/.", b"a\0b"] {
        let volume = tempfile::tempdir().unwrap();
        let hostile = stream(&[(entry(path, file()), b"evil")]);
        assert!(load(volume.path(), "run", &mut hostile.as_slice()).is_err(), "{path:?}");
    }
    let (outside, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("kept"), "kept").unwrap();
    let target = outside.path().as_os_str().as_bytes().to_vec();
    let kept = outside.path().join("kept").as_os_str().as_bytes().to_vec();
    let hostile = stream(&[
        (entry(b"door", What::Symlink(target)), b""),
        (entry(b"door/escaped", file()), b"evil"),
        (entry(b"door/pipe", What::Fifo), b""),
        (entry(b"door/folder", What::Directory), b""),
        (entry(b"stolen", What::Link(b"door/kept".to_vec())), b""),
        (entry(b"file", What::Symlink(kept)), b""),
        // A link that is there is replaced and not written through.
        (entry(b"file", file()), b"evil"),
        (entry(b"after", file()), b"fine"),
    ]);
    let moved = load(volume.path(), "run", &mut hostile.as_slice()).unwrap();
    assert_eq!(moved.failed, 4, "{:?}", moved.examples);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.path().join("kept")).unwrap(), "kept");
    assert_eq!(fs::read_to_string(volume.path().join("after")).unwrap(), "fine");
}

#[test]
fn a_damaged_header_or_record_is_an_error() {
    let good = stream(&[(entry(b"file", What::File { size: 4, data: vec![(0, 4)] }), b"data")]);
    for at in [0, 124, 156, 512, 520, 1024, 1100, 1156] {
        let volume = tempfile::tempdir().unwrap();
        let mut bad = good.clone();
        bad[at] ^= 0x41;
        assert!(load(volume.path(), "run", &mut bad.as_slice()).is_err(), "at {at}");
    }
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..most)
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    bytes(60).prop_filter("a name", |name| {
        !name.iter().any(|byte| [0, b'/'].contains(byte)) && ![&b"."[..], b".."].contains(&&name[..])
    })
}

fn any_what() -> impl Strategy<Value = What> {
    prop_oneof![
        Just(What::Directory),
        Just(What::Fifo),
        bytes(300).prop_filter("no zero", |target| !target.contains(&0)).prop_map(What::Symlink),
        part().prop_map(What::Link),
        (any::<u16>(), any::<u16>()).prop_map(|(major, minor)| What::Block(major.into(), minor.into())),
        prop::collection::vec((0_u64..5000, 1_u64..2000), 0..5).prop_map(|pieces| {
            let mut at = 0;
            let mut data: Vec<(u64, u64)> = Vec::new();
            for (gap, length) in pieces {
                match data.last_mut() {
                    Some(last) if gap == 0 => last.1 += length,
                    _ => data.push((at + gap, length)),
                }
                at += gap + length;
            }
            What::File { size: at + 100, data }
        }),
    ]
}

proptest! {
    #[test]
    fn every_entry_is_read_as_it_was_written(
        parts in prop::collection::vec(part(), 1..5), what in any_what(), mode in 0_u32..0o10000, owner in any::<(u32, u32)>(),
        seconds in -3_000_000_000_i64..40_000_000_000, nanoseconds in 0_u32..1_000_000_000,
        attributes in prop::collection::vec((bytes(40).prop_filter("a name", |name| !name.contains(&0)), prop::collection::vec(any::<u8>(), 0..200)), 0..4)
    ) {
        let entry = Entry { path: parts.join(&b'/'), what, mode, owner, modified: (seconds, nanoseconds), attributes };
        let data: Vec<u8> = (0..entry.data_bytes()).map(|n| u8::try_from(n % 256).unwrap()).collect();
        let stream = stream(&[(entry.clone(), &data)]);
        let mut from = stream.as_slice();
        let back = tape::read_entry(&mut from).unwrap().unwrap();
        prop_assert_eq!(&back, &entry);
        prop_assert_eq!(&from[..data.len()], &data[..]);
    }
}
