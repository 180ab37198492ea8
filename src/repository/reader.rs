//! Reading a point: the signature over the sealed bytes first, and only then what they say.

use super::again::Judged;
use super::chain::{Commit, Link};
use super::manifest::{End, FORMAT, Header, Line, ObjectLine, Range};
use super::minisign::prehash;
use super::seal::{self, Opening};
use super::{Repository, failed, layout};
use crate::error::{Error, Result};
use crate::id::{PointId, Sha256, SourceName};
use crate::store::{Object, ObjectKey, StoreError};
use bytes::Bytes;
use std::io::{BufRead, BufReader, Read};
use tokio::sync::mpsc;

/// Lines that travel together from the opening thread to the reader.
const BATCH: usize = 256;
/// The longest line: an object with every fact of a table of 1,600 columns stays far below.
const LONGEST_LINE: u64 = 256 << 20;

/// A committed manifest, line by line.
pub struct ManifestReader {
    link: Link,
    header: Header,
    stored: u64,
    lines: mpsc::Receiver<Result<Vec<Line>>>,
    batch: std::vec::IntoIter<Line>,
    ended: bool,
    /// Chunks and objects that went by, to be compared with the totals at the end.
    seen: (u64, u32),
}

/// A committed manifest as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// What it is.
    pub header: Header,
    /// The ranges, as the workers finished them.
    pub ranges: Vec<Range>,
    /// The objects.
    pub objects: Vec<ObjectLine>,
    /// Totals.
    pub end: End,
    /// SHA-256 of the sealed manifest: what evidence is bound to.
    pub manifest_sha256: Sha256,
}

impl ManifestReader {
    /// What the signature says.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// SHA-256 of the sealed manifest.
    pub fn manifest_sha256(&self) -> Sha256 {
        self.link.manifest_sha256
    }

    /// Size of the sealed manifest.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// The next line after the header; `None` after the end. A manifest that stops before its end is an error.
    pub async fn next(&mut self) -> Result<Option<Line>> {
        loop {
            if self.ended {
                return Ok(None);
            }
            if let Some(line) = self.batch.next() {
                self.count(&line)?;
                return Ok(Some(line));
            }
            match self.lines.recv().await {
                Some(batch) => self.batch = batch?.into_iter(),
                None => return Err(self.truncated()),
            }
        }
    }

    fn count(&mut self, line: &Line) -> Result<()> {
        match line {
            Line::Range(range) => self.seen.0 += range.chunks.len() as u64,
            Line::Object(_) => self.seen.1 += 1,
            Line::End(end) if (end.chunks, end.objects) == self.seen => self.ended = true,
            Line::End(_) | Line::Header(_) => {
                return Err(Error::check(format!(
                    "reading the manifest of {}: its lines are not those that it counts at its end",
                    self.link.point
                )));
            }
        }
        Ok(())
    }

    fn truncated(&self) -> Error {
        Error::check(format!("reading the manifest of {}: it has no end", self.link.point))
    }
}

impl Repository {
    /// Opens a committed manifest. Nothing of it is looked at before its signature was found to cover it.
    pub async fn read_point(&self, source: &SourceName, point: &PointId) -> Result<ManifestReader> {
        let doing = || format!("reading point {point} of {source}");
        let (link, signature) = match self.signature_of(source, point).await? {
            Ok(signed) => signed,
            Err(commit) => return Err(not_committed(doing(), &commit)),
        };
        let key = layout::manifest(source, point);
        let body = self.signed_body(&key, link.manifest_sha256).await.map_err(|error| error.during(doing()))?;
        let hashed = body.clone();
        let prehash = self.off_async(move || prehash(&hashed)).await?;
        if !self.covers(source, &link, &signature, &prehash) {
            return Err(Error::check(format!("{}: the signature does not cover the manifest", doing()))
                .hint("somebody changed it; davit verify tells more"));
        }
        let stored = body.len() as u64;
        let mut lines = self.open_lines(key, body);
        let mut batch = match lines.recv().await {
            Some(batch) => batch?.into_iter(),
            None => return Err(Error::check(format!("{}: the manifest is empty", doing()))),
        };
        let Some(Line::Header(header)) = batch.next() else {
            return Err(Error::check(format!("{}: the manifest has no header", doing())));
        };
        self.check_header(source, &link, &header)?;
        Ok(ManifestReader { link, header: *header, stored, lines, batch, ended: false, seen: (0, 0) })
    }

    /// Reads a committed manifest as a whole.
    pub async fn load_point(&self, source: &SourceName, point: &PointId) -> Result<Point> {
        let mut reader = self.read_point(source, point).await?;
        let (mut ranges, mut objects, mut end) = (Vec::new(), Vec::new(), End::default());
        while let Some(line) = reader.next().await? {
            match line {
                Line::Range(range) => ranges.push(range),
                Line::Object(object) => objects.push(*object),
                Line::End(totals) => end = totals,
                Line::Header(_) => {}
            }
        }
        let manifest_sha256 = reader.manifest_sha256();
        Ok(Point { header: reader.header, ranges, objects, end, manifest_sha256 })
    }

    /// The bytes under `key` that have this hash: the current version, or an older one that something hides.
    async fn signed_body(&self, key: &ObjectKey, sha256: Sha256) -> Result<Bytes> {
        let judge = move |object: Object| if Sha256::of(&object.body) == sha256 { Ok(object.body) } else { Err(()) };
        let current = match self.get_judged(key, judge).await? {
            Judged::Good(body) => return Ok(body),
            Judged::Bad(()) => "it is not what was signed",
            Judged::Missing => "it is not there",
        };
        if let Some(body) = self.older_version(key, |body| Sha256::of(body) == sha256).await? {
            tracing::warn!(%key, "the current version is not what was signed; an older one is used");
            return Ok(body);
        }
        Err(Error::check(format!("reading {key}: {current}")).hint("davit verify tells what else is damaged"))
    }

    /// The newest version of `key` that is `wanted`, in a store that keeps versions: neither a delete marker nor a
    /// newer version hides what is locked.
    pub(super) async fn older_version(
        &self,
        key: &ObjectKey,
        wanted: impl Fn(&Bytes) -> bool + Send + Sync,
    ) -> Result<Option<Bytes>> {
        let versions = match self.store().versions(key.as_str()).await {
            Ok(versions) => versions,
            // Credentials for reading often cannot list versions; then there is nothing more to look at.
            Err(StoreError::Unsupported(_) | StoreError::Denied { .. }) => return Ok(None),
            Err(error) => return Err(failed(format!("looking at older versions of {key}"))(error)),
        };
        for entry in versions.iter().filter(|entry| entry.key == *key && !entry.delete_marker) {
            let Ok(object) = self.store().get(key, Some(&entry.version)).await else { continue };
            if wanted(&object.body) {
                return Ok(Some(object.body));
            }
        }
        Ok(None)
    }

    /// The header must say what the signature and the place say.
    fn check_header(&self, source: &SourceName, link: &Link, header: &Header) -> Result<()> {
        let doing = format!("reading point {} of {source}", link.point);
        let same = header.repository == self.id()
            && header.source == *source
            && header.point == link.point
            && header.sequence == link.sequence
            && header.previous == link.previous;
        if same {
            return Ok(());
        }
        Err(Error::check(format!(
            "{doing}: the manifest says that it is number {} of {}, point {}",
            header.sequence, header.source, header.point
        )))
    }

    /// Opens and parses lines on a thread of their own, a few batches ahead.
    fn open_lines(&self, key: ObjectKey, body: Bytes) -> mpsc::Receiver<Result<Vec<Line>>> {
        let (sender, receiver) = mpsc::channel(2);
        let repository = self.clone();
        tokio::task::spawn_blocking(move || {
            let result = send_lines(&key, &body, repository.opening(), &sender);
            if let Err(error) = result {
                // A reader that went away needs no answer.
                let _unread = sender.blocking_send(Err(error));
            }
        });
        receiver
    }
}

fn not_committed(doing: String, commit: &Commit) -> Error {
    match commit {
        Commit::Absent => {
            Error::check(format!("{doing}: it has no signature, so it was never committed or was tampered with"))
                .hint("davit points lists what there is")
        }
        Commit::Aborted => Error::check(format!("{doing}: its run was closed before it could commit")),
        Commit::Damaged(what) => Error::check(format!("{doing}: its signature is damaged: {what}")),
        Commit::Signed(_) => Error::failed(doing),
    }
}

fn send_lines(
    key: &ObjectKey,
    body: &Bytes,
    keys: Opening<'_>,
    sender: &mpsc::Sender<Result<Vec<Line>>>,
) -> Result<()> {
    let damaged = |what: String| Error::check(format!("reading {key}: {what}"));
    let opened = seal::open_stream(&body[..], keys).map_err(|why| match why {
        seal::OpenError::NoKey => Error::input(format!("opening {key}: none of the keys at hand opens it"))
            .hint("davit key check tells which key a point needs"),
        seal::OpenError::Damaged(what) => damaged(what),
    })?;
    let mut reader = BufReader::with_capacity(1 << 16, opened);
    let mut batch = Vec::with_capacity(BATCH);
    let mut text = Vec::new();
    let mut first = true;
    loop {
        text.clear();
        let read =
            reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut text).map_err(|why| damaged(why.to_string()))?;
        if read == 0 {
            break;
        }
        if first {
            refuse_newer(key, &text)?;
        }
        batch.push(serde_json::from_slice(&text).map_err(|why| damaged(why.to_string()))?);
        // The header goes alone, so that whoever wants nothing else is served at once.
        if (first || batch.len() == BATCH) && sender.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
            return Ok(());
        }
        first = false;
    }
    let _unread = sender.blocking_send(Ok(batch));
    Ok(())
}

/// A manifest of a newer format is named as such, whatever else its header holds.
fn refuse_newer(key: &ObjectKey, line: &[u8]) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct First {
        header: Versioned,
    }
    #[derive(serde::Deserialize)]
    struct Versioned {
        format: u32,
    }
    match serde_json::from_slice::<First>(line) {
        Ok(First { header }) if header.format > FORMAT => Err(Error::refused(format!(
            "reading {key}: it is of format {}, and this davit reads up to format {FORMAT}",
            header.format
        ))
        .hint("use a newer davit")),
        Ok(_) => Ok(()),
        Err(why) => Err(Error::check(format!("reading {key}: its first line is no header: {why}"))),
    }
}

impl std::fmt::Debug for ManifestReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ManifestReader({:?})", self.link)
    }
}
