//! One kind: its list, packed and stored while it comes.

use super::fill::Fill;
use super::object::{self, Read};
use super::{plan, related::References, rules};
use crate::cluster::{ApiError, At, Fault, Kind, Query};
use crate::error::{Error, Result};
use crate::repository::manifest::{Chunk, ObjectLine, Range};
use crate::rowsum::RowSum;
use crate::snapshot::facts::{KindCoverage, KindFacts, PackFacts, kind as line};
use crate::snapshot::object::SavedKind;
use crate::snapshot::pack::{Entry, Pack, Packer, cut_every};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// Packs of one kind that are stored side by side.
const PUTS: usize = 4;
/// From so many bytes of a kind that was never saved the size of its objects is judged.
const FIRST_LOOK: usize = 1 << 20;
/// How often a list is begun again.
const BEGUN: u32 = 3;
/// Chunks in one line of the manifest.
const RANGE: usize = 64;

/// Says of an object, by its entry and its text, whether it is wanted.
pub(super) type Rule<'a> = &'a (dyn Fn(&Entry, &[u8]) -> bool + Sync);

/// Which objects of a kind are wanted.
#[derive(Clone, Copy)]
pub(super) enum Of<'a> {
    /// All in the namespace.
    Namespace,
    /// The cluster-scoped one of this name.
    One(&'a str),
    /// The cluster-scoped ones that pass.
    Related(Rule<'a>),
}

/// What came of one kind.
pub(super) struct Outcome {
    pub(super) coverage: KindCoverage,
    /// Uids of its objects, and those of their controllers.
    pub(super) uids: Vec<(String, Option<String>)>,
    pub(super) references: References,
}

/// Why a kind could not be read to its end.
enum Broken {
    List(ApiError),
    /// The repository failed: the whole run ends.
    Run(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Run(error)
    }
}

/// Saves the objects of one kind. What the server refuses is in the outcome; an error ends the run.
pub(super) async fn take(fill: &Fill<'_>, kind: &Kind, of: Of<'_>) -> Result<Outcome> {
    let related = !matches!(of, Of::Namespace);
    let mut at = At::Exact(fill.resource_version.clone());
    let mut begun = 0;
    loop {
        begun += 1;
        let mut one = OneKind::new(fill, kind, related);
        let query = Query {
            kind,
            namespace: kind.namespaced.then_some(fill.plan.request.namespace.as_str()),
            labels: if related { None } else { fill.plan.request.scope.selector.as_deref() },
            name: if let Of::One(name) = of { Some(name) } else { None },
            at: at.clone(),
        };
        match one.read(query, of).await {
            Ok(()) => return one.end(None, &at).await,
            Err(Broken::Run(error)) => return Err(error),
            Err(Broken::List(why)) if plan::is_about_the_instant(&why) && begun <= BEGUN => {
                tracing::debug!(kind = %kind.group_resource(), %why, "the list begins again, as of now");
                at = At::Consistent;
            }
            Err(Broken::List(why)) if why.code == 405 => {
                one.coverage.note = Some("it cannot be listed".to_owned());
                return one.end(None, &at).await;
            }
            Err(Broken::List(why)) => return one.end(Some(why), &at).await,
        }
    }
}

/// A pack on its way into the store; dropping it gives it up.
type Putting = AbortOnDropHandle<Result<[Chunk; 2]>>;

struct OneKind<'a> {
    fill: &'a Fill<'a>,
    kind: &'a Kind,
    name: String,
    packer: Option<Packer>,
    cut_every: u32,
    /// Objects that wait until the cuts are known.
    waiting: Vec<Read>,
    waiting_bytes: usize,
    putting: FuturesOrdered<Putting>,
    chunks: Vec<Chunk>,
    packs: Vec<PackFacts>,
    total: RowSum,
    coverage: KindCoverage,
    uids: Vec<(String, Option<String>)>,
    references: References,
}

impl<'a> OneKind<'a> {
    fn new(fill: &'a Fill<'a>, kind: &'a Kind, related: bool) -> Self {
        let name = kind.group_resource();
        let coverage = KindCoverage {
            kind: name.clone(),
            version: kind.version.clone(),
            related,
            note: kind.storage.as_ref().filter(|storage| **storage != kind.version).map(|storage| {
                format!(
                    "it is stored at version {storage}, which is not served: fields that {} lacks cannot be read",
                    kind.version
                )
            }),
            ..KindCoverage::default()
        };
        // What the last point says decides the cuts at once; a new kind shows its size first.
        let before = fill.before.get(&(name.clone(), related));
        let every = before.map(|before| cut_every(Some(before.cut_every), before.objects, before.bytes));
        Self {
            fill,
            kind,
            name,
            packer: every.map(Packer::new),
            cut_every: every.unwrap_or(0),
            waiting: Vec::new(),
            waiting_bytes: 0,
            putting: FuturesOrdered::new(),
            chunks: Vec::new(),
            packs: Vec::new(),
            total: RowSum::default(),
            coverage,
            uids: Vec::new(),
            references: References::default(),
        }
    }

    async fn read(&mut self, query: Query<'_>, of: Of<'_>) -> Result<(), Broken> {
        let mut listing = self.fill.plan.cluster.list(query);
        loop {
            match listing.next().await {
                Ok(Some(item)) => self.take_item(&item, of).await?,
                Ok(None) => {
                    self.coverage.resource_version = listing.resource_version().map(str::to_owned);
                    return Ok(());
                }
                Err(why) => return Err(Broken::List(why)),
            }
        }
    }

    async fn take_item(&mut self, item: &Bytes, of: Of<'_>) -> Result<()> {
        if let Some(reason) = rules::object_left_out(&self.name, item) {
            *self.coverage.left_out.entry(reason.to_owned()).or_default() += 1;
            return Ok(());
        }
        let object = object::read(self.kind, item)?;
        if let Of::Related(wanted) = of
            && !wanted(&object.entry, &object.line)
        {
            return Ok(());
        }
        self.references.scan(self.kind, &object.line, &self.fill.custom_groups);
        self.uids.push((object.entry.uid.clone(), object.entry.controller.clone()));
        self.coverage.objects += 1;
        self.coverage.bytes += object.line.len() as u64;
        if self.packer.is_some() {
            return self.pack(object).await;
        }
        self.waiting_bytes += object.line.len();
        self.waiting.push(object);
        if self.waiting_bytes >= FIRST_LOOK {
            self.decide_cuts().await?;
        }
        Ok(())
    }

    /// The first objects show how large they are on average.
    async fn decide_cuts(&mut self) -> Result<()> {
        if self.packer.is_none() {
            self.cut_every = cut_every(None, self.waiting.len() as u64, self.waiting_bytes as u64);
            self.packer = Some(Packer::new(self.cut_every));
            for object in std::mem::take(&mut self.waiting) {
                self.pack(object).await?;
            }
        }
        Ok(())
    }

    async fn pack(&mut self, object: Read) -> Result<()> {
        let (steady, moving) = object.parted();
        let full = match &mut self.packer {
            Some(packer) => packer.add(object.entry, (&steady, &moving))?,
            None => Vec::new(),
        };
        for pack in full {
            self.put(pack).await?;
        }
        Ok(())
    }

    async fn put(&mut self, pack: Pack) -> Result<()> {
        self.packs.push(PackFacts {
            first: pack.first,
            last: pack.last,
            objects: u32::try_from(pack.objects.rows).unwrap_or(u32::MAX),
        });
        self.total += pack.objects;
        let room = self.fill.room(pack.steady.len() + pack.moving.len()).await?;
        let writer = Arc::clone(&self.fill.writer);
        self.putting.push_back(AbortOnDropHandle::new(tokio::spawn(async move {
            let steady = writer.put_chunk(pack.steady, pack.objects);
            let moving = writer.put_chunk(pack.moving, RowSum::default());
            let put = futures_util::future::try_join(steady, moving).await;
            drop(room);
            let (steady, moving) = put?;
            Ok([steady.chunk, moving.chunk])
        })));
        while self.putting.len() >= PUTS {
            self.settle_one().await?;
        }
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<()> {
        if let Some(chunks) = self.putting.next().await {
            let chunks = chunks.map_err(|why| Error::failed("storing a pack").because(why))?;
            self.chunks.extend(chunks?);
        }
        Ok(())
    }

    /// Names what was stored in the manifest.
    async fn end(mut self, refused: Option<ApiError>, at: &At) -> Result<Outcome> {
        self.decide_cuts().await?;
        let last = self.packer.as_mut().map(Packer::close).transpose()?.flatten();
        if let Some(pack) = last {
            self.put(pack).await?;
        }
        while !self.putting.is_empty() {
            self.settle_one().await?;
        }
        self.coverage.at_instant = refused.is_none() && matches!(at, At::Exact(_));
        self.coverage.error = refused.map(|why| words(&why));
        if self.coverage.objects > 0 {
            self.write().await?;
        }
        self.fill.read(&self.coverage);
        Ok(Outcome { coverage: self.coverage, uids: self.uids, references: self.references })
    }

    async fn write(&mut self) -> Result<()> {
        let number = self.fill.number();
        let (mut ranges, mut chunks, mut bytes) = (0, 0, 0);
        for part in self.chunks.chunks(RANGE) {
            bytes += part.iter().map(|chunk| chunk.bytes).sum::<u64>();
            chunks += part.len() as u64;
            let range = Range { object: number, range: ranges, pages: None, chunks: part.to_vec() };
            self.fill.writer.add_range(range).await?;
            ranges += 1;
        }
        let facts = KindFacts {
            saved: SavedKind::from(self.kind),
            served: self.kind.served.clone(),
            custom: self.kind.custom,
            cut_every: self.cut_every,
            packs: std::mem::take(&mut self.packs),
        };
        let details = serde_json::to_value(facts).map_err(|why| Error::failed("describing a kind").because(why))?;
        let of = if self.coverage.related { line::RELATED } else { line::OBJECTS };
        let object = ObjectLine {
            object: number,
            kind: of.to_owned(),
            name: self.name.clone(),
            rows: self.total,
            bytes,
            ranges,
            chunks,
            details,
        };
        self.fill.writer.add_object(object).await
    }
}

/// A refusal in words for the coverage.
fn words(why: &ApiError) -> String {
    match why.fault {
        Fault::NotFound => format!("it is not served any more: {why}"),
        _ => why.to_string(),
    }
}
