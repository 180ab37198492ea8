//! Reads a tar stream that somebody else made, believing nothing: regular files only, names that stay inside, sizes
//! with a limit, and an end that is there.
//!
//! POSIX pax headers and GNU long names are understood, because Velero's writer makes the first for long names.

use std::collections::BTreeSet;
use tokio::io::{AsyncRead, AsyncReadExt};

const BLOCK: usize = 512;

/// Bytes of one header's text.
const HEADER_TEXT_MAX: u64 = 64 * 1024;

/// What a stream may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files together.
    pub total_bytes: u64,
    /// Files.
    pub files: u64,
}

impl Default for Limits {
    /// etcd takes objects up to 1.5 MiB; the rest is room for what nobody should need.
    fn default() -> Self {
        Self { file_bytes: 16 << 20, total_bytes: 2 << 30, files: 2_000_000 }
    }
}

/// Why a stream is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum TarError {
    /// The stream ended in the middle, or could not be read.
    #[error("it is truncated or cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is not what it should be.
    #[error("{0}")]
    Wrong(String),
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Its name, which has no `..` and does not begin with a slash.
    pub(super) name: String,
    /// Its bytes.
    pub(super) body: Vec<u8>,
}

/// A tar stream.
pub(super) struct Tar<R> {
    from: R,
    limits: Limits,
    read: u64,
    names: BTreeSet<String>,
}

fn wrong<T>(what: impl Into<String>) -> Result<T, TarError> {
    Err(TarError::Wrong(what.into()))
}

impl<R: AsyncRead + Unpin> Tar<R> {
    /// Reads `from` within `limits`.
    pub(super) fn new(from: R, limits: Limits) -> Self {
        Self { from, limits, read: 0, names: BTreeSet::new() }
    }

    /// The next file; nothing after the end mark, which must be there.
    pub(super) async fn next(&mut self) -> Result<Option<File>, TarError> {
        let mut long_name = None;
        loop {
            let Some(header) = self.header().await? else {
                return match long_name {
                    None => Ok(None),
                    Some(_) => wrong("it ends after the name of a file"),
                };
            };
            let size = number(&header[124..136])?;
            match header[156] {
                b'0' | 0 => {
                    let name = match long_name.take() {
                        Some(name) => name,
                        None => short_name(&header)?,
                    };
                    return self.file(name, size).await.map(Some);
                }
                b'x' => {
                    if let Some(name) = pax_name(&self.text(size).await?)? {
                        long_name = Some(name);
                    }
                }
                b'g' => drop(self.text(size).await?),
                b'L' => {
                    let text = self.text(size).await?;
                    long_name = Some(utf8(text.split(|byte| *byte == 0).next().unwrap_or_default())?);
                }
                b'5' if size == 0 => long_name = None,
                other => {
                    let name = long_name.take().map_or_else(|| short_name(&header), Ok)?;
                    return wrong(format!("{name:?} is no regular file (type {:?})", char::from(other)));
                }
            }
        }
    }

    async fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block).await?;
        if block.iter().all(|byte| *byte == 0) {
            self.from.read_exact(&mut block).await?;
            return if block.iter().all(|byte| *byte == 0) {
                self.rest().await
            } else {
                wrong("its end mark is damaged")
            };
        }
        let sum = |signed: bool| -> i64 {
            let byte = |(at, byte): (usize, &u8)| match at {
                148..156 => 32,
                _ if signed => i64::from(byte.cast_signed()),
                _ => i64::from(*byte),
            };
            block.iter().enumerate().map(byte).sum()
        };
        let told = i64::try_from(number(&block[148..156])?).unwrap_or(-1);
        if told != sum(false) && told != sum(true) {
            return wrong("the checksum of a header is wrong");
        }
        Ok(Some(block))
    }

    /// Reads on to the true end, so that a gzip trailer is checked.
    async fn rest(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut more = [0; 4096];
        loop {
            let read = self.from.read(&mut more).await?;
            if read == 0 {
                return Ok(None);
            }
            self.read += read as u64;
            if more[..read].iter().any(|byte| *byte != 0) || self.read > self.limits.total_bytes {
                return wrong("something follows its end mark");
            }
        }
    }

    async fn file(&mut self, name: String, size: u64) -> Result<File, TarError> {
        stays_inside(&name)?;
        if size > self.limits.file_bytes {
            return wrong(format!("{name:?} has {size} bytes; more than {} are not read", self.limits.file_bytes));
        }
        if self.names.len() as u64 >= self.limits.files {
            return wrong(format!("it has more than {} files", self.limits.files));
        }
        if !self.names.insert(name.clone()) {
            return wrong(format!("{name:?} is in it twice"));
        }
        Ok(File { body: self.body(size).await?, name })
    }

    async fn text(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > HEADER_TEXT_MAX {
            return wrong(format!("a header has {size} bytes; more than {HEADER_TEXT_MAX} are not read"));
        }
        self.body(size).await
    }

    async fn body(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        self.read += size;
        if self.read > self.limits.total_bytes {
            return wrong(format!("it has more than {} bytes", self.limits.total_bytes));
        }
        let mut body = Vec::new();
        // Room is taken as bytes arrive: a header may promise what never comes.
        let came = (&mut self.from).take(size).read_to_end(&mut body).await?;
        if came as u64 != size {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        let padding = (BLOCK - usize::try_from(size % BLOCK as u64).unwrap_or_default()) % BLOCK;
        self.from.read_exact(&mut [0; BLOCK][..padding]).await?;
        Ok(body)
    }
}

fn utf8(bytes: &[u8]) -> Result<String, TarError> {
    String::from_utf8(bytes.to_vec()).or_else(|_| wrong("the name of a file is not UTF-8"))
}

fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn short_name(header: &[u8; BLOCK]) -> Result<String, TarError> {
    let name = utf8(until_zero(&header[0..100]))?;
    let ustar = &header[257..263] == b"ustar\0";
    let prefix = if ustar { utf8(until_zero(&header[345..500]))? } else { String::new() };
    Ok(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
}

/// An octal number; GNU's binary form is for sizes that no file of ours has.
fn number(field: &[u8]) -> Result<u64, TarError> {
    let text = std::str::from_utf8(field).unwrap_or("?");
    let text = text.trim_matches(|c| c == ' ' || c == '\0');
    if text.is_empty() {
        return Ok(0);
    }
    if !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return wrong("a number in a header is no octal number");
    }
    u64::from_str_radix(text, 8).or_else(|_| wrong("a number in a header is no octal number"))
}

/// The path of a pax header: records of `length key=value\n`. A size there would hide one from the header.
fn pax_name(mut text: &[u8]) -> Result<Option<String>, TarError> {
    let mut name = None;
    while !text.is_empty() {
        let space = text.iter().position(|byte| *byte == b' ').unwrap_or_default();
        let length: usize = std::str::from_utf8(&text[..space]).unwrap_or_default().parse().unwrap_or_default();
        if length <= space + 1 || length > text.len() || text[length - 1] != b'\n' {
            return wrong("a pax header is damaged");
        }
        let record = &text[space + 1..length - 1];
        if let Some(path) = record.strip_prefix(b"path=") {
            name = Some(utf8(path)?);
        }
        if record.starts_with(b"size=") || record.starts_with(b"linkpath=") || record.starts_with(b"GNU.sparse") {
            return wrong("a pax header names a size, a link or a sparse file");
        }
        text = &text[length..];
    }
    Ok(name)
}

fn stays_inside(name: &str) -> Result<(), TarError> {
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if name.starts_with('/') || name.contains(['\\', '\0']) || name.split('/').any(odd) {
        return wrong(format!("the name {name:?} could lead out of it"));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header as Go's writer makes it.
    pub(in super::super) fn header(name: &str, kind: u8, size: u64) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
        block[100..107].copy_from_slice(b"0000755");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].copy_from_slice(b"        ");
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }

    pub(in super::super) fn file(name: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        if name.len() > 100 {
            let record = |length: usize| format!("{length} path={name}\n");
            let mut length = record(0).len();
            while record(length).len() != length {
                length = record(length).len();
            }
            let text = record(length).into_bytes();
            bytes.extend(header("pax", b'x', text.len() as u64));
            bytes.extend(padded(&text));
        }
        bytes.extend(header(name, b'0', body.len() as u64));
        bytes.extend(padded(body));
        bytes
    }

    fn padded(body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(BLOCK), 0);
        body
    }

    pub(in super::super) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes: Vec<u8> = files.iter().flat_map(|(name, body)| file(name, body)).collect();
        bytes.extend([0; 2 * BLOCK]);
        bytes
    }

    async fn read(bytes: &[u8], limits: Limits) -> Result<Vec<File>, TarError> {
        let mut tar = Tar::new(bytes, limits);
        let mut files = Vec::new();
        while let Some(file) = tar.next().await? {
            files.push(file);
        }
        Ok(files)
    }

    async fn refused(bytes: &[u8]) -> String {
        let limits = Limits { file_bytes: 1000, total_bytes: 3000, files: 3 };
        read(bytes, limits).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn files_come_back_with_short_long_and_foreign_names() {
        let long = format!("resources/{}/x.json", "l".repeat(150));
        let bytes = archive(&[("a", b""), (&long, b"x"), ("ä/ö", &[7; 513])]);
        let files = read(&bytes, Limits::default()).await.unwrap();
        let told: Vec<(&str, usize)> = files.iter().map(|file| (file.name.as_str(), file.body.len())).collect();
        assert_eq!(told, [("a", 0), (long.as_str(), 1), ("ä/ö", 513)]);
        assert_eq!(files[2].body, [7; 513]);
    }

    #[tokio::test]
    async fn hostile_archives_are_refused_with_the_reason() {
        for name in ["../x", "/etc/passwd", "a/../b", "a//b", "a\\b", "./a"] {
            assert!(refused(&archive(&[(name, b"x")])).await.contains("could lead out of it"), "{name}");
        }
        for kind in *b"123467" {
            let bytes = [header("link", kind, 0), vec![0; 1024]].concat();
            assert!(refused(&bytes).await.contains("\"link\" is no regular file"), "{kind}");
        }
        assert!(refused(&archive(&[("a", b""), ("a", b"")])).await.contains("is in it twice"));
        assert!(refused(&archive(&[("a", &[1; 1001])])).await.contains("has 1001 bytes"));
        assert!(
            refused(&archive(&[("a", &[1; 999]), ("b", &[1; 999]), ("c", &[1; 999]), ("d", b"")]))
                .await
                .contains("more than 3")
        );
        assert!(
            refused(&archive(&[("a", &[1; 999]), ("b", &[1; 1000]), ("c", &[1; 1000]), ("d", &[1; 9])]))
                .await
                .contains("more than 3")
        );
        assert!(refused(&header("huge", b'0', 1 << 32)).await.contains("bytes; more than 1000"));
        assert!(
            refused(&[header("pax", b'x', 17), padded(b"17 size=99999999\n")].concat()).await.contains("pax header")
        );
        let mut damaged = archive(&[("a", b"x")]);
        damaged[0] = b'b';
        assert!(refused(&damaged).await.contains("checksum"));
        assert!(refused(&[archive(&[("a", b"x")]), vec![1]].concat()).await.contains("follows its end mark"));
        let mut foreign = header("a", b'0', 0);
        foreign[0] = 0xff;
        foreign[148..156].copy_from_slice(b"        ");
        let sum: u64 = foreign.iter().map(|byte| u64::from(*byte)).sum();
        foreign[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        assert!(refused(&foreign).await.contains("not UTF-8"));
    }

    #[tokio::test]
    async fn an_archive_cut_anywhere_is_refused_and_never_taken_for_a_shorter_one() {
        let whole = archive(&[("a", &[1; 700]), ("b", b"x")]);
        for end in 0..whole.len() {
            assert!(read(&whole[..end], Limits::default()).await.is_err(), "cut at {end}");
        }
        assert_eq!(read(&whole, Limits::default()).await.unwrap().len(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..2048), at in 0usize..600) {
            let valid = file("resources/pods/namespaces/a/b.json", b"{}");
            let at = at.min(bytes.len());
            bytes.splice(at..at, valid);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let files = runtime.block_on(read(&bytes, Limits::default()));
            prop_assert!(files.is_err() || files.is_ok_and(|files| files.len() <= 1));
        }
    }
}
