//! The manifest on its way: lines go through zstd and age into memory while the run goes, so that committing a million
//! chunks takes no pause and no file.

use crate::error::{Error, Result};
use crate::id::Sha256;
use crate::repository::manifest::Line;
use crate::repository::minisign::{Prehash, Prehasher};
use crate::repository::seal::{Recipients, SealWriter, finish};
use aws_lc_rs::digest;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, Write};

/// A manifest being written.
pub(super) struct ManifestStream {
    writer: SealWriter<Blocks>,
    line: Vec<u8>,
}

/// A sealed manifest.
pub(super) struct SealedManifest {
    pub(super) body: Bytes,
    pub(super) sha256: Sha256,
    pub(super) prehash: Prehash,
}

impl ManifestStream {
    pub(super) fn new(level: i32, recipients: &Recipients) -> Result<Self> {
        let writer = SealWriter::new(Blocks::new(), level, recipients, None);
        let writer = writer.map_err(|why| Error::failed("beginning the manifest").because(why))?;
        Ok(Self { writer, line: Vec::new() })
    }

    pub(super) fn write(&mut self, line: &Line) -> Result<()> {
        let doing = "writing a line of the manifest";
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).map_err(|why| Error::failed(doing).because(why))?;
        self.line.push(b'\n');
        self.writer.write_all(&self.line).map_err(|why| Error::failed(doing).because(why))
    }

    pub(super) fn finish(self) -> Result<SealedManifest> {
        let blocks = self.writer.finish().map_err(|why| Error::failed("ending the manifest").because(why))?;
        Ok(blocks.join())
    }
}

/// Bytes in blocks, so that growing never copies what is there, hashed as they come.
struct Blocks {
    full: VecDeque<Vec<u8>>,
    last: Vec<u8>,
    sha256: digest::Context,
    prehasher: Prehasher,
}

impl Blocks {
    const SIZE: usize = 1 << 20;

    fn new() -> Self {
        Self {
            full: VecDeque::new(),
            last: Vec::new(),
            sha256: digest::Context::new(&digest::SHA256),
            prehasher: Prehasher::default(),
        }
    }

    /// One piece of memory; each block is freed as soon as it was copied.
    fn join(self) -> SealedManifest {
        let Self { mut full, last, sha256, prehasher } = self;
        let mut body = Vec::with_capacity(full.len() * Self::SIZE + last.len());
        while let Some(block) = full.pop_front() {
            body.extend_from_slice(&block);
        }
        body.extend_from_slice(&last);
        SealedManifest { body: body.into(), sha256: finish(sha256), prehash: prehasher.finish() }
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(Self::SIZE - self.last.len());
        let bytes = &bytes[..taken];
        self.sha256.update(bytes);
        self.prehasher.update(bytes);
        self.last.extend_from_slice(bytes);
        if self.last.len() == Self::SIZE {
            self.full.push_back(std::mem::replace(&mut self.last, Vec::with_capacity(Self::SIZE)));
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::minisign::prehash;

    #[test]
    fn blocks_join_to_what_was_written_with_its_hashes() {
        let bytes: Vec<u8> = (0..5 * Blocks::SIZE / 2).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut blocks = Blocks::new();
        bytes.chunks(70_001).for_each(|piece| blocks.write_all(piece).unwrap());
        let sealed = blocks.join();
        assert!(sealed.body == bytes);
        assert_eq!(sealed.sha256, Sha256::of(&bytes));
        assert_eq!(sealed.prehash, prehash(&bytes));
    }
}
