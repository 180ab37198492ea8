//! The archive: one entry after another, in the form that POSIX calls pax, with holes as GNU tar writes them (1.0).
//!
//! By hand, because a library that takes records apart at line ends loses names and attributes that have one in them.

use std::io::{self, Read, Write};

pub(super) const BLOCK: usize = 512;
/// Bytes of one header's records: names of 4 KiB and attributes of 64 KiB each are as large as the kernel allows.
const RECORDS_MAX: u64 = 8 << 20;
/// What an octal field of a header can say.
const SIZE_MAX: u64 = 0o77_777_777_777;
const ID_MAX: u32 = 0o7_777_777;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A file of this size, and where its data lie; the rest of it are holes.
    File {
        size: u64,
        data: Vec<(u64, u64)>,
    },
    Directory,
    Symlink(Vec<u8>),
    /// Another name of an entry that came before.
    Link(Vec<u8>),
    Fifo,
    Character(u32, u32),
    Block(u32, u32),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path below the volume; `.` is the volume itself.
    pub(super) path: Vec<u8>,
    pub(super) what: What,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, u32),
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// The data of a file that has no holes are all of it.
    pub(super) fn is_sparse(&self) -> bool {
        match &self.what {
            What::File { size: 0, .. } => false,
            What::File { size, data } => *data != [(0, *size)],
            _ => false,
        }
    }

    /// Bytes of data that follow the headers, without padding and without the map of holes.
    pub(super) fn data_bytes(&self) -> u64 {
        match &self.what {
            What::File { data, .. } => data.iter().map(|(_, length)| length).sum(),
            _ => 0,
        }
    }
}

fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts itself.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// An equals sign would end the key: GNU tar writes it as in a URL.
fn attribute_key(name: &[u8]) -> Vec<u8> {
    let mut key = b"SCHILY.xattr.".to_vec();
    for byte in name {
        match byte {
            b'=' => key.extend_from_slice(b"%3D"),
            b'%' => key.extend_from_slice(b"%25"),
            byte => key.push(*byte),
        }
    }
    key
}

fn attribute_name(key: &[u8]) -> Vec<u8> {
    let text = |from: &[u8], find: &[u8], with: u8| {
        let mut out = Vec::with_capacity(from.len());
        let mut rest = from;
        while let Some(at) = memchr::memmem::find(rest, find) {
            out.extend_from_slice(&rest[..at]);
            out.push(with);
            rest = &rest[at + find.len()..];
        }
        out.extend_from_slice(rest);
        out
    };
    text(&text(key, b"%3D", b'='), b"%25", b'%')
}

fn octal(field: &mut [u8], number: u64) {
    let digits = field.len() - 1;
    let text = format!("{number:0digits$o}");
    field[..digits].copy_from_slice(&text.as_bytes()[text.len() - digits..]);
}

struct Header<'a> {
    name: &'a [u8],
    link: &'a [u8],
    kind: u8,
    size: u64,
    mode: u32,
    owner: (u32, u32),
    modified: i64,
    device: (u32, u32),
}

fn header(of: &Header<'_>) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    // What is longer stands in a record before it.
    let (name, link) = (&of.name[..of.name.len().min(100)], &of.link[..of.link.len().min(100)]);
    block[..name.len()].copy_from_slice(name);
    octal(&mut block[100..108], u64::from(of.mode & 0o7777));
    octal(&mut block[108..116], u64::from(of.owner.0.min(ID_MAX)));
    octal(&mut block[116..124], u64::from(of.owner.1.min(ID_MAX)));
    octal(&mut block[124..136], of.size.min(SIZE_MAX));
    octal(&mut block[136..148], u64::try_from(of.modified).unwrap_or(0).min(SIZE_MAX));
    block[156] = of.kind;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], u64::from(of.device.0.min(ID_MAX)));
    octal(&mut block[337..345], u64::from(of.device.1.min(ID_MAX)));
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    octal(&mut block[148..155], u64::from(sum));
    block[154] = 0;
    block
}

/// The map of a file with holes, as lines of decimal numbers in whole blocks. A hole at the end is told by an empty
/// piece there, as GNU tar wants it.
fn map_of(data: &[(u64, u64)], size: u64) -> Vec<u8> {
    use std::fmt::Write as _;
    let end = data.last().map_or(0, |(offset, length)| offset + length);
    let last = (end < size).then_some((size, 0));
    let mut text = format!("{}\n", data.len() + usize::from(last.is_some()));
    for (offset, length) in data.iter().chain(&last) {
        let _written = writeln!(text, "{offset}\n{length}");
    }
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// Writes the headers of an entry; its data follow, then [`pad`].
pub(super) fn write_entry(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let mut records = Vec::new();
    let (seconds, nanoseconds) = entry.modified;
    record(&mut records, b"mtime", time_text(seconds, nanoseconds).as_bytes());
    let plain = |text: &[u8]| text.len() <= 100 && text.is_ascii() && !text.contains(&0);
    let empty: &[u8] = b"";
    let mut map = Vec::new();
    let (kind, link, size, device) = match &entry.what {
        What::File { size, data } if entry.is_sparse() => {
            map = map_of(data, *size);
            record(&mut records, b"GNU.sparse.major", b"1");
            record(&mut records, b"GNU.sparse.minor", b"0");
            record(&mut records, b"GNU.sparse.name", &entry.path);
            record(&mut records, b"GNU.sparse.realsize", size.to_string().as_bytes());
            (b'0', empty, map.len() as u64 + entry.data_bytes(), (0, 0))
        }
        What::File { size, .. } => (b'0', empty, *size, (0, 0)),
        What::Directory => (b'5', empty, 0, (0, 0)),
        What::Symlink(target) => (b'2', target.as_slice(), 0, (0, 0)),
        What::Link(target) => (b'1', target.as_slice(), 0, (0, 0)),
        What::Fifo => (b'6', empty, 0, (0, 0)),
        What::Character(major, minor) => (b'3', empty, 0, (*major, *minor)),
        What::Block(major, minor) => (b'4', empty, 0, (*major, *minor)),
    };
    if map.is_empty() && !plain(&entry.path) {
        record(&mut records, b"path", &entry.path);
    }
    if !plain(link) {
        record(&mut records, b"linkpath", link);
    }
    if size > SIZE_MAX {
        record(&mut records, b"size", size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.owner.0), (b"gid", entry.owner.1)] {
        if id > ID_MAX {
            record(&mut records, key, id.to_string().as_bytes());
        }
    }
    for (name, value) in &entry.attributes {
        record(&mut records, &attribute_key(name), value);
    }
    let records_header = Header {
        name: b"./PaxHeaders/davit",
        link: b"",
        kind: b'x',
        size: records.len() as u64,
        mode: 0o644,
        owner: (0, 0),
        modified: 0,
        device: (0, 0),
    };
    out.write_all(&header(&records_header))?;
    out.write_all(&records)?;
    pad(out, records.len() as u64)?;
    let (mode, owner) = (entry.mode, entry.owner);
    out.write_all(&header(&Header { name: &entry.path, link, kind, size, mode, owner, modified: seconds, device }))?;
    out.write_all(&map)
}

/// `-0.5` s is half a second before 1970.
fn time_text(seconds: i64, nanoseconds: u32) -> String {
    if seconds < 0 && nanoseconds > 0 {
        let sign_and_whole = if seconds == -1 { "-0".to_owned() } else { (seconds + 1).to_string() };
        return format!("{sign_and_whole}.{:09}", 1_000_000_000 - nanoseconds);
    }
    format!("{seconds}.{nanoseconds:09}")
}

fn time_of(text: &str) -> Option<(i64, u32)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = part.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    Some(if negative && nanoseconds > 0 { (seconds - 1, 1_000_000_000 - nanoseconds) } else { (seconds, nanoseconds) })
}

/// Fills the last block of what had this many bytes.
pub(super) fn pad(out: &mut impl Write, bytes: u64) -> io::Result<()> {
    let over = usize::try_from(bytes % BLOCK as u64).unwrap_or(0);
    if over == 0 { Ok(()) } else { out.write_all(&[0; BLOCK][over..]) }
}

/// Ends the archive.
pub(super) fn end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

fn wrong<T>(what: impl Into<String>) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, what.into()))
}

/// Records of one pax header, last word wins.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads the next entry, its data not yet; nothing after the end mark, which must be there.
pub(super) fn read_entry(from: &mut impl Read) -> io::Result<Option<Entry>> {
    let mut records = Records::new();
    loop {
        let mut block = [0; BLOCK];
        from.read_exact(&mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            from.read_exact(&mut block)?;
            return if block.iter().all(|byte| *byte == 0) { Ok(None) } else { wrong("its end mark is damaged") };
        }
        check_sum(&block)?;
        if block[156] == b'x' {
            records = read_records(from, number(&block[124..136])?)?;
            continue;
        }
        return entry_of(from, &block, &records).map(Some);
    }
}

fn check_sum(block: &[u8; BLOCK]) -> io::Result<()> {
    let blank = u32::from(b' ') * 8;
    let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + blank;
    if number(&block[148..155])? == u64::from(sum) { Ok(()) } else { wrong("a header is damaged") }
}

fn number(field: &[u8]) -> io::Result<u64> {
    let text = field.split(|byte| *byte == 0 || *byte == b' ').find(|part| !part.is_empty()).unwrap_or_default();
    let digits = std::str::from_utf8(text).ok().and_then(|text| u64::from_str_radix(text, 8).ok());
    digits.map_or_else(|| wrong("a number of a header is none"), Ok)
}

fn read_records(from: &mut impl Read, size: u64) -> io::Result<Records> {
    if size > RECORDS_MAX {
        return wrong("the records of a header are larger than any file has");
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut text = vec![0; size.next_multiple_of(BLOCK)];
    from.read_exact(&mut text)?;
    let mut rest = &text[..size];
    let mut records = Records::new();
    while !rest.is_empty() {
        let blank = memchr::memchr(b' ', rest);
        let length = blank.and_then(|blank| std::str::from_utf8(&rest[..blank]).ok()?.parse::<usize>().ok());
        let (Some(blank), Some(length)) = (blank, length) else { return wrong("a record has no length") };
        if length > rest.len() || length < blank + 3 || rest[length - 1] != b'\n' {
            return wrong("a record has a wrong length");
        }
        let pair = &rest[blank + 1..length - 1];
        let Some(equals) = memchr::memchr(b'=', pair) else { return wrong("a record has no value") };
        records.push((pair[..equals].to_vec(), pair[equals + 1..].to_vec()));
        rest = &rest[length..];
    }
    Ok(records)
}

fn entry_of(from: &mut impl Read, block: &[u8; BLOCK], records: &Records) -> io::Result<Entry> {
    let find = |key: &[u8]| records.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_slice());
    let count = |key: &[u8], field: &[u8]| match find(key) {
        Some(value) => match std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok()) {
            Some(number) => Ok(number),
            None => wrong("a number of a record is none"),
        },
        None => number(field),
    };
    let text = |field: &[u8]| field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    let size = count(b"size", &block[124..136])?;
    let link = find(b"linkpath").map_or_else(|| text(&block[157..257]), <[u8]>::to_vec);
    let sparse = find(b"GNU.sparse.name");
    let path = sparse.or_else(|| find(b"path")).map_or_else(|| text(&block[..100]), <[u8]>::to_vec);
    let device = || Ok::<_, io::Error>((small(number(&block[329..337])?)?, small(number(&block[337..345])?)?));
    let what = match block[156] {
        b'0' | 0 if sparse.is_some() => {
            let data = read_map(from, size)?;
            What::File { size: count(b"GNU.sparse.realsize", b"0")?, data }
        }
        b'0' | 0 => What::File { size, data: if size == 0 { Vec::new() } else { vec![(0, size)] } },
        b'1' => What::Link(inside(link)?),
        b'2' => What::Symlink(link),
        b'3' => device().map(|(major, minor)| What::Character(major, minor))?,
        b'4' => device().map(|(major, minor)| What::Block(major, minor))?,
        b'5' => What::Directory,
        b'6' => What::Fifo,
        other => return wrong(format!("an entry of the unknown kind {other}")),
    };
    let modified = match find(b"mtime") {
        Some(value) => match std::str::from_utf8(value).ok().and_then(time_of) {
            Some(time) => time,
            None => return wrong("a time of a record is none"),
        },
        None => (i64::try_from(number(&block[136..148])?).unwrap_or(0), 0),
    };
    let prefix = b"SCHILY.xattr.";
    let attributes = records.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix[..])?, value)));
    Ok(Entry {
        path: inside(path)?,
        what,
        mode: small(number(&block[100..108])?)?,
        owner: (small(count(b"uid", &block[108..116])?)?, small(count(b"gid", &block[116..124])?)?),
        modified,
        attributes: attributes.map(|(key, value)| (attribute_name(key), value.clone())).collect(),
    })
}

fn small(number: u64) -> io::Result<u32> {
    u32::try_from(number).or_else(|_| wrong("a number of a header is too large"))
}

/// A path that stays inside the volume: nothing else is ever made.
fn inside(path: Vec<u8>) -> io::Result<Vec<u8>> {
    let bad = |part: &[u8]| part.is_empty() || part == b".." || part == b"." || part.contains(&0);
    if path == b"." || !path.split(|byte| *byte == b'/').any(bad) {
        return Ok(path);
    }
    wrong(format!("the path {:?} leads out of the volume", String::from_utf8_lossy(&path)))
}

/// The map of a file with holes; `size` is what the entry has with it.
fn read_map(from: &mut impl Read, size: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut numbers = Vec::new();
    let mut wanted = None;
    let mut line: u64 = 0;
    let mut read: u64 = 0;
    let mut block = [0; BLOCK];
    while wanted.is_none_or(|wanted| numbers.len() < wanted) {
        if read + BLOCK as u64 > size || read > RECORDS_MAX {
            return wrong("the map of a file with holes does not end");
        }
        from.read_exact(&mut block)?;
        read += BLOCK as u64;
        for byte in block {
            match byte {
                b'0'..=b'9' => match line.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(byte - b'0'))) {
                    Some(next) => line = next,
                    None => return wrong("a number of a map of holes is too large"),
                },
                b'\n' => {
                    match wanted {
                        None => wanted = Some(usize::try_from(line).unwrap_or(usize::MAX).saturating_mul(2)),
                        Some(_) => numbers.push(line),
                    }
                    line = 0;
                    if wanted.is_some_and(|wanted| numbers.len() >= wanted) {
                        break;
                    }
                }
                _ => return wrong("a map of holes has something else than numbers"),
            }
        }
    }
    let pairs = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let data: Vec<(u64, u64)> = pairs.filter(|(_, length)| *length > 0).collect();
    let mut before = 0;
    for (offset, length) in &data {
        match offset.checked_add(*length) {
            Some(after) if *offset >= before => before = after,
            _ => return wrong("a map of holes goes backwards"),
        }
    }
    if data.iter().map(|(_, length)| length).sum::<u64>() + read == size {
        Ok(data)
    } else {
        wrong("a map of holes does not fit its data")
    }
}
