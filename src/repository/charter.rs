//! `davit.json`: what a repository is, who may read and write it. Signed by the root key, which the key files pin.

use super::minisign::{self, PublicKey, Signature, SigningKey};
use crate::error::{Error, Result};
use crate::id::{ChunkId, RepositoryId, SourceName};
use crate::store::{Features, LockMode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The newest repository format this build reads and the only one it writes.
pub const FORMAT: u32 = 1;

/// The body of `davit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charter {
    /// [`FORMAT`].
    pub format: u32,
    /// Which repository this is.
    pub repository: RepositoryId,
    /// Grows by one with every change; a lower one than seen before is a rollback.
    pub counter: u64,
    /// When the repository was made.
    pub made: Timestamp,
    /// The key that signs this.
    pub root: PublicKey,
    /// Whether objects are sealed; a plain repository is readable by whoever reads the store.
    pub encrypted: bool,
    /// The epoch that new chunks are sealed in.
    pub epoch: u32,
    /// Every set of readers there was.
    pub epochs: Vec<Epoch>,
    /// Who may sign points.
    pub writers: Vec<Writer>,
    /// Whom manifests and records are sealed to besides the readers.
    pub manifest_recipients: Vec<String>,
    /// The inner secrets sealed to the readers (base64), so that a new writer needs nothing but a reader key.
    pub secrets: String,
    /// What every run obeys.
    pub settings: Settings,
}

/// A set of readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: u32,
    /// Since when.
    pub since: Timestamp,
    /// The readers (`age1…`), sorted.
    pub readers: Vec<String>,
}

/// Somebody who may sign points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writer {
    /// The key.
    pub key: PublicKey,
    /// Since when.
    pub since: Timestamp,
    /// Set when the key may sign nothing new.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retired: Option<Retired>,
}

/// The end of a writer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// When.
    pub at: Timestamp,
    /// The newest sequence number of each source then: what the key signed up to there stays good.
    pub heads: BTreeMap<SourceName, u64>,
}

/// What every run obeys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How objects are locked, if they are.
    pub lock: Option<LockMode>,
    /// zstd level.
    pub level: i32,
    /// What the store was seen to do when the repository was made.
    pub features: Features,
}

/// What the charter keeps sealed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inner {
    /// The key that chunk ids are made with, base64.
    pub(super) id_key: String,
    /// Age identities that open manifests, newest first.
    pub(super) manifest_identities: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    body: String,
    signature: String,
}

impl Charter {
    /// The readers of an epoch.
    pub fn readers_of(&self, epoch: u32) -> Option<&[String]> {
        self.epochs.iter().find(|known| known.epoch == epoch).map(|known| known.readers.as_slice())
    }

    /// The readers that new chunks are sealed to.
    pub fn readers(&self) -> &[String] {
        self.readers_of(self.epoch).unwrap_or_default()
    }

    /// Signs it: the bytes of `davit.json`.
    pub(super) fn sign(&self, root: &SigningKey) -> Result<Vec<u8>> {
        let doing = |why| Error::failed("writing davit.json").because(why);
        let body = serde_json::to_string_pretty(self).map_err(doing)?;
        let signature = root.sign(&minisign::prehash(body.as_bytes()), &self.comment());
        serde_json::to_vec(&Signed { body, signature }).map_err(doing)
    }

    fn comment(&self) -> String {
        format!("davit charter repository={} counter={}", self.repository, self.counter)
    }

    /// Reads `davit.json`, believing nothing of it before the signature of the pinned root key holds.
    pub(super) fn read(bytes: &[u8], repositories: &[RepositoryId], root: &PublicKey) -> Result<Self> {
        let mismatch = |why: &str| {
            Error::refused(format!("checking davit.json against the keys at hand: {why}"))
                .hint("the keys are of another repository, or somebody changed davit.json; keep this store as evidence and look at its older versions")
        };
        let signed: Signed = serde_json::from_slice(bytes).map_err(|_| mismatch("it is not a signed charter"))?;
        let same = serde_json::to_vec(&signed).is_ok_and(|again| again == bytes);
        let signature = Signature::parse(&signed.signature).filter(|_| same);
        let signature = signature.ok_or_else(|| mismatch("its signature is damaged"))?;
        if !signature.is_by(root, &minisign::prehash(signed.body.as_bytes())) {
            return Err(mismatch("it is not signed by the root key that they pin"));
        }
        let charter = Self::parse(&signed.body)?;
        if !repositories.contains(&charter.repository)
            || charter.root != *root
            || signature.trusted() != charter.comment()
        {
            return Err(mismatch("it is the charter of another repository"));
        }
        Ok(charter)
    }

    fn parse(body: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let broken = |why| Error::failed("reading davit.json").because(why);
        let Versioned { format } = serde_json::from_str(body).map_err(broken)?;
        if format > FORMAT {
            return Err(Error::refused(format!(
                "opening a repository of format {format}: this davit reads up to format {FORMAT}"
            ))
            .hint("use a newer davit"));
        }
        serde_json::from_str(body).map_err(broken)
    }
}

/// The key that ids of chunks are made with under one set of readers.
#[derive(Clone)]
pub(super) struct IdKey([u8; 32]);

impl IdKey {
    /// Ids differ between sets of readers, so that a chunk is never used again for readers it is not sealed to.
    pub(super) fn derive(id_key: &[u8; 32], readers: &[String]) -> Self {
        let mut sorted: Vec<&str> = readers.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        let mut hasher = blake3::Hasher::new_derive_key("davit 2026-11-21 chunk ids of a set of readers");
        hasher.update(id_key);
        for reader in sorted {
            hasher.update(reader.as_bytes());
            hasher.update(b"\n");
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The id of a plaintext.
    pub(super) fn id_of(&self, plain: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(&self.0, plain).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charter(root: &SigningKey) -> Charter {
        Charter {
            format: FORMAT,
            repository: RepositoryId([1; 16]),
            counter: 7,
            made: Timestamp::UNIX_EPOCH,
            root: root.public(),
            encrypted: true,
            epoch: 1,
            epochs: vec![Epoch { epoch: 1, since: Timestamp::UNIX_EPOCH, readers: vec!["age1x".into()] }],
            writers: Vec::new(),
            manifest_recipients: Vec::new(),
            secrets: String::new(),
            settings: Settings { lock: None, level: 1, features: Features::default() },
        }
    }

    #[test]
    fn a_charter_is_believed_under_the_pinned_root_only() {
        let (root, attacker) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let good = charter(&root);
        let bytes = good.sign(&root).unwrap();
        assert_eq!(Charter::read(&bytes, &[good.repository], &root.public()).unwrap(), good);
        let forged = charter(&attacker).sign(&attacker).unwrap();
        let error = Charter::read(&forged, &[good.repository], &root.public()).unwrap_err();
        assert_eq!(error.kind().exit_code(), 3);
        let elsewhere = Charter::read(&bytes, &[RepositoryId([2; 16])], &root.public());
        assert_eq!(elsewhere.unwrap_err().kind().exit_code(), 3);
    }

    #[test]
    fn no_byte_of_a_charter_can_change_unnoticed() {
        let root = SigningKey::generate().unwrap();
        let good = charter(&root);
        let bytes = good.sign(&root).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Charter::read(&changed, &[good.repository], &root.public()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_name_even_if_it_has_fields_we_do_not_know() {
        let root = SigningKey::generate().unwrap();
        let newer = serde_json::to_string(&charter(&root)).unwrap().replace("\"format\":1", "\"format\":2,\"more\":1");
        let error = Charter::parse(&newer).unwrap_err();
        assert_eq!(error.kind().exit_code(), 3);
        assert!(error.to_string().contains("format 2"), "{error}");
    }

    #[test]
    fn ids_depend_on_the_set_of_readers_and_not_on_their_order() {
        let readers = ["age1b".to_owned(), "age1a".to_owned()];
        let turned = [readers[1].clone(), readers[0].clone()];
        let id = |readers: &[String]| IdKey::derive(&[3; 32], readers).id_of(b"rows");
        assert_eq!(id(&readers), id(&turned));
        assert_ne!(id(&readers), id(&readers[..1]));
    }
}
