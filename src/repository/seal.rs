//! Sealing and opening: `age( zstd( bytes ) )`, or `zstd( bytes )` in a plain repository.
//!
//! Everything here is synchronous and heavy on the processor; callers run it off the async threads.

use crate::id::Sha256;
use age::x25519;
use std::io::{self, BufRead, Read, Write};
use std::str::FromStr;

/// What sealing adds to a chunk: the header with a stanza for each of a few readers, and 16 bytes for each 64 KiB.
const SEAL_ROOM: usize = 16 * 1024;

/// Whom bytes are sealed to; nobody means a plain repository.
#[derive(Debug, Clone, Default)]
pub struct Recipients(Vec<x25519::Recipient>);

impl Recipients {
    /// Reads `age1…` texts; the first that is none is the error.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let read = |text: &str| x25519::Recipient::from_str(text).map_err(|why| format!("{text:?}: {why}"));
        texts.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// Why sealed bytes could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// They are sealed to others.
    #[error("none of the keys at hand opens it")]
    NoKey,
    /// They are not what was sealed.
    #[error("{0}")]
    Damaged(String),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// A sealing under way: what is written goes through zstd and age into `W`.
pub struct SealWriter<W: Write>(zstd::Encoder<'static, Layer<W>>);

/// The layer below compression.
enum Layer<W: Write> {
    Age(Box<age::stream::StreamWriter<W>>),
    Plain(W),
}

impl<W: Write> Layer<W> {
    fn over(output: W, recipients: &Recipients) -> io::Result<Self> {
        if recipients.0.is_empty() {
            return Ok(Self::Plain(output));
        }
        let all = recipients.0.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(all).map_err(io::Error::other)?;
        Ok(Self::Age(Box::new(encryptor.wrap_output(output)?)))
    }

    fn finish(self) -> io::Result<W> {
        match self {
            Self::Age(inner) => inner.finish(),
            Self::Plain(inner) => Ok(inner),
        }
    }
}

impl<W: Write> Write for Layer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Age(inner) => inner.write(bytes),
            Self::Plain(inner) => inner.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Age(inner) => inner.flush(),
            Self::Plain(inner) => inner.flush(),
        }
    }
}

impl<W: Write> SealWriter<W> {
    /// Begins a sealing to `recipients` of `size` bytes, if that is known.
    pub fn new(output: W, level: i32, recipients: &Recipients, size: Option<u64>) -> io::Result<Self> {
        let mut encoder = zstd::Encoder::new(Layer::over(output, recipients)?, level)?;
        // age authenticates every byte; without it, zstd's own checksum is what a restore by hand has.
        encoder.include_checksum(recipients.0.is_empty())?;
        encoder.set_pledged_src_size(size)?;
        Ok(Self(encoder))
    }

    /// Ends the sealing and gives the output back.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()?.finish()
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Sealed bytes and their hash, made in one pass.
pub struct Sealed {
    /// What goes to the store.
    pub bytes: Vec<u8>,
    /// SHA-256 of it.
    pub sha256: Sha256,
}

/// Seals `plain`. It is compressed in one piece: zstd then looks back into `plain` itself, where a stream would copy
/// it into a window first and search in two places.
pub fn seal(plain: &[u8], level: i32, recipients: &Recipients) -> io::Result<Sealed> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_checksum(recipients.0.is_empty())?;
    let compressed = compressor.compress(plain)?;
    let mut layer = Layer::over(HashingSink::with_capacity(compressed.len() + SEAL_ROOM), recipients)?;
    layer.write_all(&compressed)?;
    let sink = layer.finish()?;
    Ok(Sealed { sha256: finish(sink.hash), bytes: sink.bytes })
}

/// Opens sealed bytes whose plaintext is exactly `bytes` long.
pub fn open(stored: &[u8], keys: Opening<'_>, bytes: u64) -> Result<Vec<u8>, OpenError> {
    let mut reader = open_stream(stored, keys)?;
    let size = usize::try_from(bytes).map_err(|_| OpenError::Damaged(format!("{bytes} bytes do not fit")))?;
    // One byte more than declared is room enough to see that there is more, whatever the frame claims to hold.
    let mut plain = Vec::new();
    plain.try_reserve_exact(size + 1).map_err(|_| OpenError::Damaged(format!("{bytes} bytes do not fit")))?;
    reader.by_ref().take(bytes + 1).read_to_end(&mut plain)?;
    if plain.len() as u64 == bytes {
        return Ok(plain);
    }
    let more = if plain.len() as u64 > bytes { "more" } else { "fewer" };
    Err(OpenError::Damaged(format!("it holds {more} than the {bytes} bytes it should")))
}

/// What opens sealed bytes.
#[derive(Clone, Copy)]
pub enum Opening<'a> {
    /// These age identities.
    Keys(&'a [x25519::Identity]),
    /// Nothing is needed: the repository is plain.
    Plain,
}

/// Opens sealed bytes as a stream.
pub fn open_stream<'a, R: BufRead + Send + 'a>(
    stored: R,
    keys: Opening<'_>,
) -> Result<Box<dyn Read + Send + 'a>, OpenError> {
    let Opening::Keys(identities) = keys else {
        return Ok(Box::new(zstd::Decoder::with_buffer(stored)?));
    };
    let decryptor = age::Decryptor::new_buffered(stored).map_err(opening_error)?;
    let all = identities.iter().map(|identity| identity as &dyn age::Identity);
    let opened = decryptor.decrypt(all).map_err(opening_error)?;
    Ok(Box::new(zstd::Decoder::new(opened)?))
}

fn opening_error(error: age::DecryptError) -> OpenError {
    match error {
        age::DecryptError::NoMatchingKeys => OpenError::NoKey,
        other => OpenError::Damaged(other.to_string()),
    }
}

/// Collects bytes and hashes them while they are warm.
struct HashingSink {
    bytes: Vec<u8>,
    hash: aws_lc_rs::digest::Context,
}

impl HashingSink {
    fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), hash: aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256) }
    }
}

impl Write for HashingSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The SHA-256 of all bytes a context has seen.
pub(super) fn finish(context: aws_lc_rs::digest::Context) -> Sha256 {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    Sha256(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_pair() -> (Recipients, Vec<x25519::Identity>) {
        let identity = x25519::Identity::generate();
        (Recipients(vec![identity.to_public()]), vec![identity])
    }

    #[test]
    fn what_was_sealed_opens_with_its_key_and_with_no_other() {
        let (recipients, identities) = key_pair();
        let plain = b"1\talpha\n".repeat(40_000);
        let sealed = seal(&plain, 1, &recipients).unwrap();
        assert_eq!(sealed.sha256, Sha256::of(&sealed.bytes));
        let size = plain.len() as u64;
        assert_eq!(open(&sealed.bytes, Opening::Keys(&identities), size).unwrap(), plain);
        let strangers = key_pair().1;
        assert!(matches!(open(&sealed.bytes, Opening::Keys(&strangers), size), Err(OpenError::NoKey)));
    }

    #[test]
    fn a_frame_that_holds_more_or_less_than_declared_is_damage() {
        let (recipients, identities) = key_pair();
        let sealed = seal(&vec![0; 1_000_000], 1, &recipients).unwrap();
        for declared in [0, 999_999, 1_000_001] {
            let opened = open(&sealed.bytes, Opening::Keys(&identities), declared);
            assert!(matches!(opened, Err(OpenError::Damaged(_))), "{declared}");
        }
    }

    #[test]
    fn cut_off_or_changed_bytes_are_damage_sealed_or_plain() {
        let (recipients, identities) = key_pair();
        let plain: Vec<u8> = (0..200_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect();
        let size = plain.len() as u64;
        for (recipients, keys) in [(recipients, Opening::Keys(&identities)), (Recipients::default(), Opening::Plain)] {
            let sealed = seal(&plain, 1, &recipients).unwrap().bytes;
            assert_eq!(open(&sealed, keys, size).unwrap(), plain);
            assert!(open(&sealed[..sealed.len() - 1], keys, size).is_err());
            let mut changed = sealed.clone();
            changed[sealed.len() / 2] ^= 1;
            assert!(open(&changed, keys, size).is_err());
        }
    }
}
