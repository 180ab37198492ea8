//! The chain of a source's points: what each signature says, which point is the newest, what lies in the store.
//!
//! The signature is the commit. Its trusted comment carries repository, source, point, sequence number, the hash of the
//! manifest before and its own, so that the chain can be walked without opening one manifest.

use super::again::Judged;
use super::intent::ABORTED;
use super::minisign::{Prehash, Signature};
use super::record::RecordError;
use super::tombstone::Removed;
use super::{Repository, failed, layout};
use crate::error::{Error, Result};
use crate::id::{PointId, RepositoryId, RunId, Sha256, SourceName};
use crate::store::{ETag, Object, ObjectKey};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a manifest's signature says about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The point.
    pub point: PointId,
    /// Its place in the chain, from 1.
    pub sequence: u64,
    /// SHA-256 of the sealed manifest before it.
    pub previous: Option<Sha256>,
    /// SHA-256 of its own sealed manifest.
    pub manifest_sha256: Sha256,
}

/// The record at `heads/<source>`: the newest point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The source.
    pub source: SourceName,
    /// The newest sequence number.
    pub sequence: u64,
    /// The newest point.
    pub point: PointId,
    /// SHA-256 of its sealed manifest.
    pub manifest_sha256: Sha256,
}

/// What lies in a point's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PointFolder {
    /// A run began.
    pub intent: bool,
    /// The manifest, with its size.
    pub manifest: Option<u64>,
    /// The signature (or the word that closed the run).
    pub signature: bool,
    /// Verifications.
    pub evidence: Vec<RunId>,
}

/// What a point's signature key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// Nothing: the run is under way or has crashed.
    Absent,
    /// The run was closed before it could commit.
    Aborted,
    /// A committed point.
    Signed(Link),
    /// Something that nobody who may sign wrote.
    Damaged(String),
}

/// What a head key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadState {
    /// Nothing.
    Absent,
    /// The newest point as the last run knew it.
    Signed(Head, ETag),
    /// Something that nobody who may sign wrote.
    Damaged(String, ETag),
}

impl Link {
    /// What the signature of a removed point said.
    pub(super) fn of_removed(removed: &Removed) -> Self {
        Self {
            point: removed.point.clone(),
            sequence: removed.sequence,
            previous: removed.previous,
            manifest_sha256: removed.manifest_sha256,
        }
    }

    /// The trusted comment of its signature.
    pub(super) fn comment(&self, repository: RepositoryId, source: &SourceName) -> String {
        let previous = self.previous.map_or_else(|| "none".to_owned(), |hash| hash.to_string());
        format!(
            "davit manifest repository={repository} source={source} point={} sequence={} previous={previous} sha256={}",
            self.point, self.sequence, self.manifest_sha256
        )
    }

    fn parse(comment: &str) -> Option<Self> {
        let mut fields = BTreeMap::new();
        for field in comment.strip_prefix("davit manifest ")?.split(' ') {
            let (name, value) = field.split_once('=')?;
            fields.insert(name, value);
        }
        let previous = match *fields.get("previous")? {
            "none" => None,
            hash => Some(hash.parse().ok()?),
        };
        Some(Self {
            point: fields.get("point")?.parse().ok()?,
            sequence: fields.get("sequence")?.parse().ok()?,
            previous,
            manifest_sha256: fields.get("sha256")?.parse().ok()?,
        })
    }
}

impl Repository {
    /// The sources that have points, a head, a catalogue or tombstones; and those that were seen here before, because a
    /// store from which all of a source was taken has nothing left that names it.
    pub async fn sources(&self) -> Result<Vec<SourceName>> {
        let mut names = Vec::new();
        for folder in ["points/", "catalog/", "tombstones/"] {
            names.extend(self.store().folders(folder).await.map_err(failed("listing the sources"))?);
        }
        let doing = || failed("listing the sources");
        let mut heads = self.store().list("heads/");
        while let Some(entry) = heads.try_next().await.map_err(doing())? {
            names.extend(entry.key.as_str().strip_prefix("heads/").map(str::to_owned));
        }
        let mut sources: Vec<SourceName> = names.iter().filter_map(|name| name.parse().ok()).collect();
        sources.extend(self.0.memory.sources());
        sources.sort();
        sources.dedup();
        Ok(sources)
    }

    /// What lies in the folders of a source's points.
    pub async fn point_folders(&self, source: &SourceName) -> Result<BTreeMap<PointId, PointFolder>> {
        self.point_folders_after(source, None).await
    }

    /// The same of what comes after a key in the order of lists: of points that are newer than the one it belongs to, too.
    pub(super) async fn point_folders_after(
        &self,
        source: &SourceName,
        after: Option<&ObjectKey>,
    ) -> Result<BTreeMap<PointId, PointFolder>> {
        let prefix = layout::points(source);
        let mut folders: BTreeMap<PointId, PointFolder> = BTreeMap::new();
        let mut entries = self.store().list_after(&prefix, after);
        while let Some(entry) = entries.try_next().await.map_err(failed(format!("listing the points of {source}")))? {
            let rest = entry.key.as_str().strip_prefix(&prefix).unwrap_or_default();
            let Some((point, name)) = rest.split_once('/') else { continue };
            let Ok(point) = point.parse::<PointId>() else { continue };
            let folder = folders.entry(point).or_default();
            match name {
                "intent" => folder.intent = true,
                "manifest" => folder.manifest = Some(entry.size),
                "manifest.sig" => folder.signature = true,
                _ => folder.evidence.extend(name.strip_prefix("verified/").and_then(|run| run.parse().ok())),
            }
        }
        Ok(folders)
    }

    /// What a point's signature key holds, checked as far as the manifest is not needed for it.
    pub async fn commit_of(&self, source: &SourceName, point: &PointId) -> Result<Commit> {
        Ok(match self.signature_of(source, point).await? {
            Ok((link, _)) => Commit::Signed(link),
            Err(other) => other,
        })
    }

    /// A point's signature, or what else its key holds.
    pub(super) async fn signature_of(
        &self,
        source: &SourceName,
        point: &PointId,
    ) -> Result<std::result::Result<(Link, Signature), Commit>> {
        let key = layout::signature(source, point);
        let (repository, place) = (self.clone(), (source.clone(), point.clone()));
        let judge = move |object: Object| repository.judge_signature(&place.0, &place.1, &object.body);
        let current = match self.get_judged(&key, judge).await? {
            Judged::Good(signed) => Ok(signed),
            Judged::Bad(commit) => Err(commit),
            Judged::Missing => Err(Commit::Absent),
        };
        // Whether the bucket kept versions when the repository was made says nothing about now.
        if current.is_ok() {
            return Ok(current);
        }
        let older = self.older_version(&key, |body| self.judge_signature(source, point, body).is_ok()).await?;
        let Some(older) = older else { return Ok(current) };
        tracing::warn!(%key, "the current version is not the signature; an older one is used");
        Ok(self.judge_signature(source, point, &older))
    }

    /// What the bytes under a point's signature key are.
    fn judge_signature(
        &self,
        source: &SourceName,
        point: &PointId,
        body: &[u8],
    ) -> std::result::Result<(Link, Signature), Commit> {
        if body == ABORTED {
            return Err(Commit::Aborted);
        }
        let damaged = |what: &str| Err(Commit::Damaged(what.to_owned()));
        let Some(signature) = std::str::from_utf8(body).ok().and_then(Signature::parse) else {
            return damaged("it is not a signature");
        };
        let Some(link) = Link::parse(signature.trusted()) else {
            return damaged("it does not say what it signs");
        };
        if link.point != *point || link.comment(self.id(), source) != signature.trusted() {
            return damaged("it belongs to another point");
        }
        if !self.signed_for(source, link.sequence, |key| signature.comment_is_by(key)) {
            return damaged("nobody who may sign for this repository signed it");
        }
        Ok((link, signature))
    }

    /// Whether a point's signature covers a manifest with this prehash.
    pub(super) fn covers(&self, source: &SourceName, link: &Link, signature: &Signature, prehash: &Prehash) -> bool {
        self.signed_for(source, link.sequence, |key| signature.is_by(key, prehash))
    }

    /// What the head key of a source holds.
    pub async fn head(&self, source: &SourceName) -> Result<HeadState> {
        let key = layout::head(source);
        let (repository, judged_key) = (self.clone(), key.clone());
        let judge = move |object: Object| match repository.judge_head(&judged_key, &object) {
            Ok(head) => Ok((head, object.meta.etag)),
            Err(RecordError::Damaged { what, .. }) => Err(Ok((what, object.meta.etag))),
            Err(error) => Err(Err(Error::from(error))),
        };
        Ok(match self.get_judged(&key, judge).await? {
            Judged::Good((head, etag)) => HeadState::Signed(head, etag),
            Judged::Bad(Ok((what, etag))) => HeadState::Damaged(what, etag),
            Judged::Bad(Err(error)) => return Err(error),
            Judged::Missing => HeadState::Absent,
        })
    }

    fn judge_head(&self, key: &ObjectKey, object: &Object) -> std::result::Result<Head, RecordError> {
        let damaged = |what: &str| RecordError::Damaged { key: key.to_string(), what: what.to_owned() };
        let (head, signature, signed) = self.open_envelope::<Head>(key, &object.body)?;
        let prehash = super::minisign::prehash(&signed);
        if layout::head(&head.source) != *key {
            return Err(damaged("it is of another source"));
        }
        if self.signed_for(&head.source, head.sequence, |signer| signature.is_by(signer, &prehash)) {
            return Ok(head);
        }
        Err(damaged("nobody who may sign for this repository signed it"))
    }

    /// Refuses a source whose newest point is older than one that was seen here before, else remembers it.
    pub fn meet_newest(&self, source: &SourceName, sequence: u64) -> Result<()> {
        self.0.memory.meet_sequence(source, sequence)
    }

    /// The number of the newest point of a source that was seen here.
    pub(super) fn newest_seen(&self, source: &SourceName) -> u64 {
        self.0.memory.newest(source)
    }

    /// Refuses a source whose newest point, as it was just met, is older than the one that a witness names.
    pub(super) fn meet_witness(&self, source: &SourceName) -> Result<()> {
        let newest = self.newest_seen(source);
        match self.0.expect_seq {
            Some(expected) if newest < expected => Err(Error::refused(format!(
                "checking {source}: its newest point is number {newest}, but --expect-seq says {expected}"
            ))
            .hint("somebody took newer points away; look at older versions of the store's objects")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn a_link_reads_back_from_the_comment_it_writes() {
        let source: SourceName = "shop".parse().unwrap();
        for previous in [None, Some(Sha256([8; 32]))] {
            let point = PointId::at(Timestamp::UNIX_EPOCH);
            let link = Link { point, sequence: 12, previous, manifest_sha256: Sha256([9; 32]) };
            assert_eq!(Link::parse(&link.comment(RepositoryId([1; 16]), &source)), Some(link));
        }
        assert_eq!(Link::parse("davit record object=x"), None);
    }
}
