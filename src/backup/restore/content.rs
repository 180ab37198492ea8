//! What a recovery point holds, database by database, as its manifest says.

use super::feed::ObjectName;
use super::table::Table;
use crate::backup::facts::{
    DatabaseFacts, OfDatabase, PointFacts, SequenceFacts, SequenceValue, StreamFacts, TableFacts, kind,
};
use crate::error::{Error, Result};
use crate::repository::Point;
use crate::repository::manifest::{ObjectLine, PointKind, Range};
use crate::rowsum::RowSum;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::Arc;

/// The chunks of one object.
#[derive(Debug, Clone)]
pub(in crate::backup) struct Chunks {
    pub(in crate::backup) name: Arc<ObjectName>,
    /// In the order of their numbers.
    pub(in crate::backup) ranges: Vec<Arc<Range>>,
    pub(in crate::backup) bytes: u64,
}

/// One database of a point.
#[derive(Debug)]
pub(in crate::backup) struct Content {
    pub(in crate::backup) facts: DatabaseFacts,
    pub(in crate::backup) tables: Vec<Table>,
    /// The chunks of each table.
    pub(in crate::backup) rows: Vec<Chunks>,
    /// The definitions as an archive.
    pub(in crate::backup) archive: Option<Chunks>,
    pub(in crate::backup) large_objects: Option<Chunks>,
    pub(in crate::backup) sequences: Vec<SequenceValue>,
    /// A whole plain dump, from the stream engine.
    pub(in crate::backup) dump: Option<(StreamFacts, Chunks)>,
}

/// A whole point.
#[derive(Debug)]
pub(in crate::backup) struct Contents {
    pub(in crate::backup) facts: PointFacts,
    pub(in crate::backup) globals: Option<Chunks>,
    pub(in crate::backup) databases: Vec<Content>,
}

impl Content {
    fn new(facts: DatabaseFacts) -> Self {
        Self {
            facts,
            tables: Vec::new(),
            rows: Vec::new(),
            archive: None,
            large_objects: None,
            sequences: Vec::new(),
            dump: None,
        }
    }
}

impl Contents {
    /// Reads what the manifest says.
    pub(in crate::backup) fn read(point: Point) -> Result<Self> {
        let doing = format!("reading the manifest of {}", point.header.point);
        if point.header.kind != PointKind::Database {
            return Err(Error::input(format!("{doing}: it is not of a database")));
        }
        let facts = details(&point.header.details, &doing)?;
        let mut ranges: HashMap<u32, Vec<Arc<Range>>> = HashMap::new();
        for range in point.ranges {
            ranges.entry(range.object).or_default().push(Arc::new(range));
        }
        let mut contents = Self { facts, globals: None, databases: Vec::new() };
        let is_database = |object: &&ObjectLine| object.kind == kind::DATABASE;
        for object in point.objects.iter().filter(is_database) {
            contents.databases.push(Content::new(details(&object.details, &doing)?));
        }
        for object in point.objects {
            let ranges = ranges.remove(&object.object).unwrap_or_default();
            contents.add(&object, ranges, &doing)?;
        }
        if ranges.is_empty() {
            return Ok(contents);
        }
        Err(Error::check(format!("{doing}: it has chunks of an object that it does not name")))
    }

    fn add(&mut self, object: &ObjectLine, mut ranges: Vec<Arc<Range>>, doing: &str) -> Result<()> {
        ranges.sort_by_key(|range| range.range);
        adds_up(object, &ranges, doing)?;
        let is_table = object.kind == kind::TABLE;
        let is_script = object.kind == kind::DUMP;
        let name = Arc::new(ObjectName { name: object.name.clone(), is_table, is_script });
        let chunks = Chunks { name, ranges, bytes: object.bytes };
        match object.kind.as_str() {
            kind::GLOBALS => self.globals = Some(chunks),
            kind::TABLE => {
                let facts: TableFacts = details(&object.details, doing)?;
                let database = self.database(&facts.database, doing)?;
                database.tables.push(Table::new(object.object, object.ranges, object.bytes, object.rows, facts));
                database.rows.push(chunks);
            }
            kind::ARCHIVE => {
                let of: OfDatabase = details(&object.details, doing)?;
                self.database(&of.database, doing)?.archive = Some(chunks);
            }
            kind::LARGE_OBJECTS => {
                let of: OfDatabase = details(&object.details, doing)?;
                self.database(&of.database, doing)?.large_objects = Some(chunks);
            }
            kind::SEQUENCES => {
                let facts: SequenceFacts = details(&object.details, doing)?;
                self.database(&facts.database, doing)?.sequences.extend(facts.sequences);
            }
            kind::DUMP => {
                let facts: StreamFacts = details(&object.details, doing)?;
                let database = facts.database.clone();
                self.database(&database, doing)?.dump = Some((facts, chunks));
            }
            // The definitions as SQL are there for whoever has no pg_restore.
            kind::DATABASE | kind::PRE_DATA | kind::POST_DATA => {}
            other => {
                return Err(Error::refused(format!("{doing}: it holds {other:?}, which this davit does not know"))
                    .hint("use a newer davit"));
            }
        }
        Ok(())
    }

    fn database(&mut self, name: &str, doing: &str) -> Result<&mut Content> {
        let found = self.databases.iter_mut().find(|content| content.facts.database == name);
        found.ok_or_else(|| Error::check(format!("{doing}: it does not describe database {name}")))
    }
}

fn details<T: DeserializeOwned>(value: &serde_json::Value, doing: &str) -> Result<T> {
    T::deserialize(value).map_err(|error| Error::check(doing).because(error).hint("use a newer davit"))
}

/// A manifest is signed, but a mistake of its writer should be met before anything is changed.
fn adds_up(object: &ObjectLine, ranges: &[Arc<Range>], doing: &str) -> Result<()> {
    let mut rows = RowSum::default();
    let (mut bytes, mut chunks) = (0, 0);
    for chunk in ranges.iter().flat_map(|range| &range.chunks) {
        rows += chunk.rows;
        bytes += chunk.bytes;
        chunks += 1;
    }
    let in_turn = ranges.iter().zip(0u32..).all(|(range, number)| range.range == number);
    let same = rows == object.rows && bytes == object.bytes && chunks == object.chunks;
    if in_turn && same && ranges.len() == object.ranges as usize {
        return Ok(());
    }
    Err(Error::check(format!("{doing}: the chunks of {} do not add up to what it says", object.name)))
}
