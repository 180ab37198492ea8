//! What an object holds, told by its first bytes and never by its name, and its content as a stream.
//!
//! A compressed stream must be seen to its end: one that stops before its trailer is an error that says so, and is
//! told from a store that stopped sending.

use crate::error::{Error, Kind, Result};
use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use serde::Serialize;
use std::fmt;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader, ReadBuf};

/// How much is looked at to tell what it is: a tar archive says so behind its first 257 bytes.
const HEAD_BYTES: usize = 512;

/// How an object is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Not at all.
    Plain,
    /// gzip, of any number of members.
    Gzip,
    /// zstd, of any number of frames.
    Zstd,
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// What is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum Content {
    /// SQL, as `pg_dump` and `pg_dumpall` print it.
    Sql,
    /// A custom-format archive (`pg_dump -Fc`).
    Archive {
        /// The number behind the dot of its format, `14` of 1.14.
        format: u8,
    },
}

impl From<Content> for &'static str {
    fn from(content: Content) -> Self {
        match content {
            Content::Sql => "sql",
            Content::Archive { .. } => "archive",
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str((*self).into())
    }
}

/// A dump that is open.
pub struct Opened {
    /// How it is compressed.
    pub codec: Codec,
    /// What is inside.
    pub content: Content,
    /// The content.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// How much of the object has been read.
    pub taken: Taken,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("codec", &self.codec).field("content", &self.content).finish_non_exhaustive()
    }
}

/// How many bytes of an object have been read; it goes on counting while others read.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    bytes: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

impl Taken {
    /// Bytes so far, as they lie in the store.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Looks what `body` holds and opens it.
///
/// # Errors
///
/// Input if it is empty or nothing that can be restored; the text says what it is instead.
pub async fn open(body: impl AsyncRead + Send + Unpin + 'static, name: &str) -> Result<Opened> {
    let taken = Taken::default();
    let counted = Counted { inner: body, taken: taken.clone() };
    let (head, raw) = peek(counted).await.map_err(|error| explain(error).during(name.to_owned()))?;
    if head.is_empty() {
        return Err(Error::input(format!("{name} is empty: 0 bytes"))
            .hint("the backup that wrote it failed; take an older one"));
    }
    let codec = codec_of(&head);
    let decoded: Box<dyn AsyncRead + Send + Unpin> = match codec {
        Codec::Plain => Box::new(raw),
        Codec::Gzip => {
            let mut decoder = GzipDecoder::new(BufReader::with_capacity(64 << 10, raw));
            decoder.multiple_members(true);
            Box::new(Decoded { inner: decoder, codec, taken: taken.clone() })
        }
        Codec::Zstd => {
            let mut decoder = ZstdDecoder::new(BufReader::with_capacity(64 << 10, raw));
            decoder.multiple_members(true);
            Box::new(Decoded { inner: decoder, codec, taken: taken.clone() })
        }
    };
    let (inside, reader) = peek(decoded).await.map_err(|error| explain(error).during(name.to_owned()))?;
    let content = content_of(&inside).map_err(|what| refusal(name, codec, what))?;
    Ok(Opened { codec, content, reader: Box::new(reader), taken })
}

/// The first bytes, and the whole again.
async fn peek<R: AsyncRead + Send + Unpin>(
    mut reader: R,
) -> io::Result<(Vec<u8>, tokio::io::Chain<Cursor<Vec<u8>>, R>)> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    (&mut reader).take(HEAD_BYTES as u64).read_to_end(&mut head).await?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// The codec whose magic number begins this.
pub fn codec_of(head: &[u8]) -> Codec {
    match head {
        [0x1f, 0x8b, ..] => Codec::Gzip,
        // A frame, or a skippable frame before it (as parallel writers make them).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Codec::Zstd,
        _ => Codec::Plain,
    }
}

/// What is inside of the compression; the error says what it is instead.
fn content_of(head: &[u8]) -> Result<Content, NotADump> {
    const MAGIC: &[(&[u8], NotADump)] = &[
        (b"\x1f\x8b", NotADump::Twice),
        (b"\x28\xb5\x2f\xfd", NotADump::Twice),
        (b"BZh", NotADump::OtherCodec("bzip2")),
        (b"\xfd7zXZ\0", NotADump::OtherCodec("xz")),
        (b"\x04\x22\x4d\x18", NotADump::OtherCodec("lz4")),
        (b"PK\x03\x04", NotADump::OtherCodec("zip")),
        (b"age-encryption.org/", NotADump::Encrypted("age")),
        (b"-----BEGIN AGE", NotADump::Encrypted("age")),
        (b"-----BEGIN PGP", NotADump::Encrypted("OpenPGP")),
        (b"Salted__", NotADump::Encrypted("openssl enc")),
        (b"\xff\xfe", NotADump::Utf16),
        (b"\xfe\xff", NotADump::Utf16),
        (b"<?xml", NotADump::Markup),
        (b"<!DOCTYPE", NotADump::Markup),
        (b"<html", NotADump::Markup),
        (b"<Error", NotADump::Markup),
    ];
    if head.is_empty() {
        return Err(NotADump::Nothing);
    }
    if let Some(version) = head.strip_prefix(b"PGDMP") {
        // Major and minor number of the format follow; a head that ends here is pg_restore's to refuse.
        return Ok(Content::Archive { format: version.get(1).copied().unwrap_or(0) });
    }
    if head.get(257..262) == Some(b"ustar") || head.starts_with(b"toc.dat\0") {
        return Err(NotADump::Tar);
    }
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(*what);
    }
    // SQL has no such bytes at all; a stray one deep in the text is the server's to refuse.
    if head.contains(&0) { Err(NotADump::Binary) } else { Ok(Content::Sql) }
}

/// What an object can be that is not a dump we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotADump {
    Nothing,
    Twice,
    OtherCodec(&'static str),
    Encrypted(&'static str),
    Tar,
    Utf16,
    Markup,
    Binary,
}

fn refusal(name: &str, codec: Codec, what: NotADump) -> Error {
    let (text, hint) = match what {
        NotADump::Nothing => (
            format!("{name} holds nothing: {codec} of 0 bytes"),
            "a pg_dump that failed before gzip leaves this; take an older one".to_owned(),
        ),
        NotADump::Twice => (
            format!("{name} is compressed twice"),
            "take off one layer and put the result back, then restore that".into(),
        ),
        NotADump::OtherCodec(other) => (
            format!("{name} is compressed with {other}"),
            "gzip and zstd are read; decompress it and compress it with one of these".into(),
        ),
        NotADump::Encrypted(how) => (format!("{name} is encrypted ({how})"), "decrypt it first".into()),
        NotADump::Tar => (
            format!("{name} is a tar archive"),
            "a pg_dump -Ft or -Fd must be restored with pg_restore, or turned into SQL by: pg_restore -f - FILE".into(),
        ),
        NotADump::Utf16 => (
            format!("{name} is text in UTF-16, as PowerShell's > writes it"),
            "turn it into UTF-8: iconv -f UTF-16 -t UTF-8".into(),
        ),
        NotADump::Markup => {
            (format!("{name} is a web page or an error message, not a dump"), "look into it; take an older one".into())
        }
        NotADump::Binary => (format!("{name} is not a dump: it holds binary data"), "look what wrote it".into()),
    };
    Error::input(text).hint(hint)
}

/// Counts what is read, and remembers a failure of the store as such.
struct Counted<R> {
    inner: R,
    taken: Taken,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let outcome = ready!(Pin::new(&mut this.inner).poll_read(cx, buf));
        this.taken.bytes.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        if outcome.is_err() {
            this.taken.failed.store(true, Ordering::Relaxed);
        }
        Poll::Ready(outcome)
    }
}

/// Says of a failed decompression what it means.
struct Decoded<R> {
    inner: R,
    codec: Codec,
    taken: Taken,
}

impl<R: AsyncRead + Unpin> AsyncRead for Decoded<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = ready!(Pin::new(&mut this.inner).poll_read(cx, buf));
        Poll::Ready(outcome.map_err(|error| {
            if this.taken.failed.load(Ordering::Relaxed) {
                return error;
            }
            let (codec, bytes) = (this.codec, this.taken.bytes());
            io::Error::other(match error.kind() {
                io::ErrorKind::UnexpectedEof => Broken::Truncated { codec, bytes },
                _ => Broken::Damaged { codec, bytes, cause: error },
            })
        }))
    }
}

/// Why a compressed stream cannot be read on.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("truncated: its {bytes} bytes end before the {codec} stream does")]
    Truncated { codec: Codec, bytes: u64 },
    #[error("damaged: the {codec} stream cannot be read on after about {bytes} bytes: {cause}")]
    Damaged { codec: Codec, bytes: u64, cause: io::Error },
}

/// An error of reading a dump for people: the object's own fault is bad input, the store's is not.
pub(super) fn explain(error: io::Error) -> Error {
    let own = error.get_ref().and_then(|inner| inner.downcast_ref::<Broken>()).is_some();
    let kind = if own { Kind::Input } else { Kind::Failed };
    let explained = Error::new(kind, "reading the dump").because(error);
    if own { explained.hint("take an older one, or copy it again from where it was made") } else { explained }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
    use tokio::io::AsyncWriteExt;

    const SQL: &[u8] = b"-- PostgreSQL database dump\nSELECT 1;\n";

    async fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzipEncoder::new(Vec::new());
        encoder.write_all(text).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoder.into_inner()
    }

    async fn zstd(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZstdEncoder::new(Vec::new());
        encoder.write_all(text).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoder.into_inner()
    }

    async fn read(body: Vec<u8>) -> Result<(Codec, Content, Vec<u8>)> {
        let mut opened = open(Cursor::new(body), "x.sql").await?;
        let mut content = Vec::new();
        opened.reader.read_to_end(&mut content).await.map_err(explain)?;
        Ok((opened.codec, opened.content, content))
    }

    #[tokio::test]
    async fn the_first_bytes_tell_what_it_is_and_all_members_are_read() {
        assert_eq!(read(SQL.to_vec()).await.unwrap(), (Codec::Plain, Content::Sql, SQL.to_vec()));
        let twice = [SQL, SQL].concat();
        let members = [gzip(SQL).await, gzip(SQL).await].concat();
        assert_eq!(read(members).await.unwrap(), (Codec::Gzip, Content::Sql, twice.clone()));
        let frames = [zstd(SQL).await, zstd(SQL).await].concat();
        assert_eq!(read(frames).await.unwrap(), (Codec::Zstd, Content::Sql, twice));
        let archive = gzip(b"PGDMP\x01\x0e\0").await;
        assert_eq!(read(archive).await.unwrap().1, Content::Archive { format: 14 });
    }

    #[tokio::test]
    async fn a_stream_cut_at_any_byte_is_truncated_and_never_whole() {
        for whole in [gzip(SQL).await, zstd(SQL).await] {
            for length in 4..whole.len() {
                let error = read(whole[..length].to_vec()).await.unwrap_err();
                assert_eq!(error.kind(), Kind::Input, "{length}: {error}");
                assert!(error.to_string().contains("truncated"), "{length}: {error}");
            }
        }
    }

    #[tokio::test]
    async fn a_flipped_byte_in_a_gzip_stream_is_never_read_as_whole() {
        let whole = gzip(SQL).await;
        // The header's time and system may change without harm; the rest may not.
        for place in 10..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 0x55;
            let error = read(flipped).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Input, "{place}: {error}");
        }
    }

    #[tokio::test]
    async fn what_is_not_a_dump_is_called_what_it_is() {
        let tar = [&b"toc.dat"[..], &[0; 250], b"ustar\0", &[0; 300]].concat();
        for (body, words) in [
            (Vec::new(), "x.sql is empty: 0 bytes"),
            (gzip(b"").await, "x.sql holds nothing: gzip of 0 bytes"),
            (gzip(&gzip(SQL).await).await, "x.sql is compressed twice"),
            (b"BZh9".to_vec(), "x.sql is compressed with bzip2"),
            (b"age-encryption.org/v1\n".to_vec(), "x.sql is encrypted (age)"),
            (tar, "x.sql is a tar archive"),
            (b"\xff\xfe-\0-\0".to_vec(), "x.sql is text in UTF-16, as PowerShell's > writes it"),
            (b"<?xml version='1.0'?><Error/>".to_vec(), "x.sql is a web page or an error message, not a dump"),
            (b"\x7fELF\0".to_vec(), "x.sql is not a dump: it holds binary data"),
        ] {
            let error = read(body).await.unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Input, words));
            assert!(error.hint_text().is_some());
        }
        assert_eq!(gzip(b"").await.len(), 20, "the famous 20 bytes");
    }

    #[tokio::test]
    async fn a_store_that_stops_sending_is_not_called_a_bad_dump() {
        let body = gzip(SQL).await;
        let half = Cursor::new(body[..20].to_vec());
        let cut = half.chain(tokio_util::io::StreamReader::new(futures_util::stream::iter([Err::<bytes::Bytes, _>(
            io::Error::new(io::ErrorKind::UnexpectedEof, "connection reset"),
        )])));
        let error = open(cut, "x.sql").await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (Kind::Failed, "x.sql: reading the dump: connection reset")
        );
    }
}
