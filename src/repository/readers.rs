//! Who may read and write: adding, removing and replacing readers and writers.
//!
//! Every change is a new charter, signed by the root key. A changed set of readers is a new epoch: the next backup
//! stores everything once for it. Points that were made before stay as they are, unless they are sealed again.

use super::charter::{Charter, Epoch, Retired, Writer};
use super::init::{manifest_recipients, new_signing_key, seal_secrets};
use super::keys::{ReaderKey, WriterKey};
use super::seal::Recipients;
use super::{OpenContext, PointSummary, Refusal, Repository, Unread, failed, init, layout, state};
use crate::error::{Error, Kind, Result};
use crate::store::{Put, StoreError};
use age::x25519::Identity;
use std::collections::BTreeMap;

/// A repository after its readers or writers changed.
#[derive(Debug)]
pub struct Changed {
    /// The repository under its new charter.
    pub repository: Repository,
    /// A reader key that was made.
    pub reader: Option<ReaderKey>,
    /// A writer key that was made.
    pub writer: Option<WriterKey>,
    /// About how many bytes the next backups store anew for the new set of readers.
    pub stored_anew_bytes: u64,
    /// Points that none of the present readers opens: an older reader key is needed for them.
    pub need_older_key: Vec<PointSummary>,
    /// Sources and points of which nobody knows which key they need.
    pub refused: Vec<Refusal>,
}

/// Which points who can open.
#[derive(Debug, Clone)]
pub struct KeyCheck {
    /// The present readers.
    pub readers: Vec<String>,
    /// Each point, newest first.
    pub points: Vec<PointKeys>,
    /// Those of which nobody here can say more than that they are there.
    pub unread: Vec<Unread>,
}

/// Who can open all chunks of a point.
#[derive(Debug, Clone)]
pub struct PointKeys {
    /// The point.
    pub point: PointSummary,
    /// The readers (`age1…`) of which each opens all of it.
    pub readers: Vec<String>,
    /// Whether the keys at hand open all of it.
    pub at_hand: bool,
}

impl Repository {
    /// Tells for each point who can open all its chunks.
    pub async fn key_check(&self) -> Result<KeyCheck> {
        let at_hand = self.keys().reader.as_ref().map(ReaderKey::recipients).unwrap_or_default();
        let (points, unread) = self.points_and_unread(None).await?;
        let points = points.into_iter().map(|point| {
            let readers = self.who_opens(&point);
            let opens = |epoch: &u32| {
                let needed = self.charter().readers_of(*epoch).unwrap_or_default();
                needed.iter().any(|reader| at_hand.contains(reader))
            };
            let at_hand = !self.encrypted() || point.epochs.iter().all(opens);
            PointKeys { point, readers, at_hand }
        });
        Ok(KeyCheck { readers: self.readers().to_vec(), points: points.collect(), unread })
    }

    /// The readers that open every epoch of a point.
    fn who_opens(&self, point: &PointSummary) -> Vec<String> {
        let mut epochs = point.epochs.iter().map(|epoch| self.charter().readers_of(*epoch).unwrap_or_default());
        let first = epochs.next().map(<[String]>::to_vec).unwrap_or_default();
        epochs.fold(first, |all, readers| all.into_iter().filter(|reader| readers.contains(reader)).collect())
    }

    /// Lets another reader open what is stored from now on.
    pub async fn add_reader(&self, recipient: &str) -> Result<Changed> {
        self.refuse_plain("adding a reader")?;
        let mut readers = self.readers().to_vec();
        if readers.iter().any(|reader| reader == recipient) {
            return Err(Error::refused(format!("adding reader {recipient}: it is one already")));
        }
        readers.push(recipient.to_owned());
        self.change_readers(readers, None).await
    }

    /// Keeps a reader from opening what is stored from now on; refused while a kept point opens for no other one.
    pub async fn remove_reader(&self, recipient: &str) -> Result<Changed> {
        self.refuse_plain("removing a reader")?;
        let readers: Vec<String> = self.readers().iter().filter(|reader| *reader != recipient).cloned().collect();
        if readers.len() == self.readers().len() {
            return Err(Error::input(format!("removing reader {recipient}: it is none"))
                .hint(format!("the readers are {}", self.readers().join(", "))));
        }
        if readers.is_empty() {
            return Err(Error::refused(format!("removing reader {recipient}: it is the last one"))
                .hint("davit key rotate puts another one in its place"));
        }
        let needing = self.closed_to(&readers, self.points(None).await?);
        if let Some(point) = needing.first() {
            return Err(Error::refused(format!(
                "removing reader {recipient}: {} kept points open for no other reader, {} among them",
                needing.len(),
                point.link.point
            ))
            .hint("seal them again with davit key rotate --rewrap, or wait until retain has removed them"));
        }
        self.change_readers(readers, None).await
    }

    /// Puts a new reader in the place of `old` ones (all present ones, if none is named). The new key is made here
    /// unless `new` names its recipient. Points made before open with the old key alone until they are sealed again.
    pub async fn rotate_readers(&self, old: &[String], new: Option<&str>) -> Result<Changed> {
        self.refuse_plain("rotating the readers")?;
        let leaving = |reader: &&String| old.is_empty() || old.contains(reader);
        let mut readers: Vec<String> = self.readers().iter().filter(|reader| !leaving(reader)).cloned().collect();
        let made = if let Some(recipient) = new {
            readers.push(recipient.to_owned());
            None
        } else {
            let identity = Identity::generate();
            readers.push(identity.to_public().to_string());
            Some(self.reader_key_for(&identity, true))
        };
        self.change_readers(readers, made).await
    }

    fn refuse_plain(&self, doing: &str) -> Result<()> {
        if self.encrypted() {
            return Ok(());
        }
        Err(Error::refused(format!("{doing}: the repository is not encrypted, whoever reads the store reads it")))
    }

    async fn change_readers(&self, mut readers: Vec<String>, made: Option<ReaderKey>) -> Result<Changed> {
        readers.sort();
        readers.dedup();
        Recipients::parse(readers.iter().map(String::as_str))
            .map_err(|why| Error::input(format!("reading a reader: {why}")).hint("a reader looks like age1…"))?;
        let secrets = self.secrets_for(&readers, &self.0.manifest_identities)?;
        let now = self.clock().now();
        // Before anything changes, and whatever is the matter with one source: that is no reason to keep an old key.
        let (points, refused) = self.points_and_refusals().await?;
        let repository = self
            .amend(made.as_ref(), |charter| {
                let epoch = charter.epochs.iter().map(|epoch| epoch.epoch).max().unwrap_or(0) + 1;
                charter.epochs.push(Epoch { epoch, since: now, readers });
                charter.epoch = epoch;
                charter.secrets = secrets;
            })
            .await?;
        let stored_anew_bytes = stored_by_newest(&points);
        let need_older_key = repository.closed_to(repository.readers(), points);
        Ok(Changed { repository, reader: made, writer: None, stored_anew_bytes, need_older_key, refused })
    }

    /// Makes a key for a backup host, from a reader key and the store alone. With `retire_others` every other writer
    /// may sign nothing new, and new manifests do not open for them.
    pub async fn new_writer(&self, retire_others: bool) -> Result<Changed> {
        let id_key = self.0.id_key.ok_or_else(|| self.no_secrets())?;
        let mut identities = self.0.manifest_identities.clone();
        if retire_others || identities.is_empty() {
            identities.insert(0, Identity::generate());
        }
        let signing = new_signing_key()?;
        let (repository, root, epoch) = (self.id(), self.charter().root, self.charter().epoch);
        let writer = WriterKey { repository, root, epoch, id_key, signing, identities };
        let secrets = self.secrets_for(self.readers(), &writer.identities)?;
        let mut heads = BTreeMap::new();
        for source in self.sources().await? {
            let newest = self.survey(&source).await?.newest;
            heads.insert(source, newest.map_or(0, |link| link.sequence));
        }
        // The store's clock says when records were written, so it says when a key was retired, too.
        let now = self.store().clock().await.ok().flatten().unwrap_or_else(|| self.clock().now());
        let (public, recipients) = (writer.public(), manifest_recipients(self.encrypted(), &writer.identities[..1]));
        let repository = self
            .amend(None, |charter| {
                if retire_others {
                    let active = charter.writers.iter_mut().filter(|known| known.retired.is_none());
                    active.for_each(|known| known.retired = Some(Retired { at: now, heads: heads.clone() }));
                }
                charter.writers.push(Writer { key: public, since: now, retired: None });
                charter.manifest_recipients = recipients;
                charter.secrets = secrets;
            })
            .await?;
        let (need_older_key, refused) = (Vec::new(), Vec::new());
        Ok(Changed { repository, reader: None, writer: Some(writer), stored_anew_bytes: 0, need_older_key, refused })
    }

    /// Makes a key file for a reader who is one already: `identity` opens, the root key comes along if `with_root`.
    pub fn reader_key_for(&self, identity: &Identity, with_root: bool) -> ReaderKey {
        let signing = self.keys().reader.as_ref().and_then(|reader| reader.signing.clone()).filter(|_| with_root);
        ReaderKey {
            repositories: vec![self.id()],
            root: self.charter().root,
            signing,
            identities: vec![identity.clone()],
        }
    }

    fn secrets_for(&self, readers: &[String], identities: &[Identity]) -> Result<String> {
        let id_key = self.0.id_key.ok_or_else(|| self.no_secrets())?;
        seal_secrets(&id_key, identities, readers)
    }

    fn no_secrets(&self) -> Error {
        Error::input("opening the secrets of davit.json: no key at hand opens them").hint(format!(
            "the readers are {}; name the directory that holds such a reader.key with --keys",
            self.readers().join(", ")
        ))
    }

    /// Changes the charter under the root key; a change of somebody else in between is an error, not overwritten.
    pub(super) async fn amend(&self, made: Option<&ReaderKey>, change: impl FnOnce(&mut Charter)) -> Result<Self> {
        let doing = "changing davit.json";
        let root = self.keys().reader.as_ref().and_then(|reader| reader.signing.as_ref());
        let root = root.ok_or_else(|| {
            Error::input(format!("{doing}: no key at hand may sign it"))
                .hint("the root key is in reader.key; name the directory that holds it with --keys")
        })?;
        let key = layout::charter();
        let object = self.store().get(&key, None).await.map_err(failed(doing))?;
        let mut charter = Charter::read(&object.body, &[self.id()], &self.charter().root)?;
        if charter.counter != self.charter().counter {
            return Err(Error::refused(format!("{doing}: somebody else has just changed it")).hint("try again"));
        }
        change(&mut charter);
        charter.counter += 1;
        let signed = charter.sign(root)?;
        match self.store().put_if_match(&key, Put::new(signed.clone()), &object.meta.etag).await {
            Ok(_) => {}
            // An answer that was lost and asked for again says so, too, when it was we who changed it.
            Err(StoreError::Changed(_)) if self.store().get(&key, None).await.is_ok_and(|now| now.body == signed) => {}
            Err(StoreError::Changed(_)) => {
                return Err(Error::refused(format!("{doing}: somebody else has just changed it")).hint("try again"));
            }
            Err(error) => return Err(failed(doing)(error)),
        }
        // From here on it is changed: no error may sound as if it were not.
        let met = self.0.memory.meet_counter(charter.counter);
        met.and_then(|()| self.reopened(charter, made)).map_err(|error| error.as_kind(Kind::Failed))
    }

    /// The same repository under another charter, with a key that was just made beside those at hand.
    fn reopened(&self, charter: Charter, made: Option<&ReaderKey>) -> Result<Self> {
        let mut keys = self.keys().clone();
        if let (Some(made), Some(reader)) = (made, &mut keys.reader) {
            reader.identities.extend(made.identities.iter().cloned());
        }
        let memory = state::Memory::continued(&self.0.memory);
        let cx = OpenContext {
            clock: self.clock().clone(),
            cancel: self.cancel().clone(),
            state_dir: None,
            expect_seq: self.0.expect_seq,
        };
        Self::assemble(self.store().clone(), keys, charter, memory, cx)
    }

    /// Those of the points that have an epoch which none of `readers` opens.
    fn closed_to(&self, readers: &[String], points: Vec<PointSummary>) -> Vec<PointSummary> {
        let opens = |epoch: &u32| {
            let can = self.charter().readers_of(*epoch).unwrap_or_default();
            can.iter().any(|reader| readers.contains(reader))
        };
        points.into_iter().filter(|point| !point.epochs.iter().all(opens)).collect()
    }

    /// Reads the charter again, as another process may have changed it.
    pub async fn refreshed(&self) -> Result<Self> {
        let charter = init::read_charter(self.store(), &[self.id()], &self.charter().root).await?;
        self.0.memory.meet_counter(charter.counter)?;
        self.reopened(charter, None)
    }
}

/// Bytes in the store of the newest point of every source: what a new epoch uploads once.
fn stored_by_newest(points: &[PointSummary]) -> u64 {
    let mut newest: BTreeMap<_, u64> = BTreeMap::new();
    for point in points {
        newest.entry(&point.source).or_insert(point.end.stored);
    }
    newest.values().sum()
}
