//! What an export needs of a point: the parts of one database, each with its chunks in order.

use crate::backup::facts::{DatabaseFacts, OfDatabase, SequenceFacts, SequenceValue, StreamFacts, TableFacts, kind};
use crate::error::{Error, Result};
use crate::repository::Point;
use crate::repository::manifest::{Chunk, ObjectLine, PointKind, Range};
use crate::rowsum::RowSum;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

/// The parts of one database.
pub(super) struct Parts {
    pub(super) facts: DatabaseFacts,
    pub(super) pre_data: Vec<Chunk>,
    pub(super) post_data: Vec<Chunk>,
    pub(super) tables: Vec<TablePart>,
    pub(super) large_objects: Vec<Chunk>,
    pub(super) sequences: Vec<SequenceValue>,
    /// Instead of all these: a whole dump from the stream engine.
    pub(super) dump: Option<DumpPart>,
}

/// One table.
pub(super) struct TablePart {
    pub(super) facts: TableFacts,
    pub(super) rows: RowSum,
    pub(super) chunks: Vec<Chunk>,
}

/// A whole dump.
pub(super) struct DumpPart {
    pub(super) chunks: Vec<Chunk>,
    pub(super) rows: u64,
    pub(super) tables: u64,
}

impl Parts {
    /// Takes one database out of a point.
    pub(super) fn of(point: Point, database: Option<&str>) -> Result<Self> {
        let Point { header, ranges, objects, .. } = point;
        let id = header.point;
        if header.kind != PointKind::Database {
            return Err(Error::input(format!("point {id} is not of a database")));
        }
        let mut databases = Vec::new();
        for object in objects.iter().filter(|object| object.kind == kind::DATABASE) {
            databases.push(details::<DatabaseFacts>(object)?);
        }
        let facts = chosen(&id.to_string(), databases, database)?;
        let mut chunks = Chunks::of(ranges);
        let mut parts = Self {
            facts,
            pre_data: Vec::new(),
            post_data: Vec::new(),
            tables: Vec::new(),
            large_objects: Vec::new(),
            sequences: Vec::new(),
            dump: None,
        };
        for object in &objects {
            parts.add(object, &mut chunks)?;
        }
        let has_definitions = !parts.pre_data.is_empty() || parts.dump.is_some();
        if !has_definitions {
            return Err(Error::failed(format!("point {id} holds no definitions as SQL")));
        }
        Ok(parts)
    }

    fn add(&mut self, object: &ObjectLine, chunks: &mut Chunks) -> Result<()> {
        let ours = |name: &str| name == self.facts.database;
        match object.kind.as_str() {
            kind::PRE_DATA if ours(&details::<OfDatabase>(object)?.database) => self.pre_data = chunks.take(object)?,
            kind::POST_DATA if ours(&details::<OfDatabase>(object)?.database) => {
                self.post_data = chunks.take(object)?;
            }
            kind::LARGE_OBJECTS if ours(&details::<OfDatabase>(object)?.database) => {
                self.large_objects = chunks.take(object)?;
            }
            kind::TABLE => {
                let facts: TableFacts = details(object)?;
                if ours(&facts.database) {
                    let chunks = chunks.take(object)?;
                    self.tables.push(TablePart { facts, rows: object.rows, chunks });
                }
            }
            kind::SEQUENCES => {
                let facts: SequenceFacts = details(object)?;
                if ours(&facts.database) {
                    self.sequences = facts.sequences;
                }
            }
            kind::DUMP => {
                let facts: StreamFacts = details(object)?;
                if ours(&facts.database) {
                    let rows = facts.tables.iter().map(|table| table.rows.rows).sum();
                    let tables = facts.tables.len() as u64;
                    self.dump = Some(DumpPart { chunks: chunks.take(object)?, rows, tables });
                }
            }
            // Roles are the server's; archives are for pg_restore.
            _ => {}
        }
        Ok(())
    }

    pub(super) fn table_count(&self) -> u64 {
        self.dump.as_ref().map_or(self.tables.len() as u64, |dump| dump.tables)
    }

    pub(super) fn rows(&self) -> u64 {
        self.dump.as_ref().map_or_else(|| self.tables.iter().map(|table| table.rows.rows).sum(), |dump| dump.rows)
    }

    pub(super) fn bytes(&self) -> u64 {
        let of_dump = self.dump.iter().flat_map(|dump| &dump.chunks);
        let of_tables = self.tables.iter().flat_map(|table| &table.chunks);
        let others = [&self.pre_data, &self.post_data, &self.large_objects];
        of_dump.chain(of_tables).chain(others.into_iter().flatten()).map(|chunk| chunk.bytes).sum()
    }
}

/// The database that is meant.
fn chosen(point: &str, databases: Vec<DatabaseFacts>, wanted: Option<&str>) -> Result<DatabaseFacts> {
    let names: Vec<String> = databases.iter().map(|facts| facts.database.clone()).collect();
    let mut databases = databases;
    match wanted {
        None if databases.len() == 1 => Ok(databases.remove(0)),
        None => Err(Error::input(format!("point {point} holds {} databases", names.len()))
            .hint(format!("say which with --database: {}", names.join(", ")))),
        Some(wanted) => databases.into_iter().find(|facts| facts.database == wanted).ok_or_else(|| {
            Error::input(format!("point {point} holds no database {wanted}"))
                .hint(format!("it holds {}", names.join(", ")))
        }),
    }
}

/// The chunks of every object, its ranges in order.
struct Chunks(HashMap<u32, Vec<(u32, Vec<Chunk>)>>);

impl Chunks {
    fn of(ranges: Vec<Range>) -> Self {
        let mut chunks: HashMap<u32, Vec<(u32, Vec<Chunk>)>> = HashMap::new();
        for range in ranges {
            chunks.entry(range.object).or_default().push((range.range, range.chunks));
        }
        Self(chunks)
    }

    fn take(&mut self, object: &ObjectLine) -> Result<Vec<Chunk>> {
        let mut ranges = self.0.remove(&object.object).unwrap_or_default();
        ranges.sort_by_key(|(number, _)| *number);
        let in_turn = ranges.iter().zip(0..).all(|((number, _), turn)| *number == turn);
        let chunks: Vec<Chunk> = ranges.into_iter().flat_map(|(_, chunks)| chunks).collect();
        if in_turn && chunks.len() as u64 == object.chunks {
            return Ok(chunks);
        }
        Err(Error::check(format!("the manifest does not name all chunks of {}", object.name)))
    }
}

fn details<T: DeserializeOwned>(object: &ObjectLine) -> Result<T> {
    T::deserialize(&object.details).map_err(|error| {
        Error::check(format!("reading the manifest's facts of {}", object.name))
            .because(error)
            .hint("use a newer davit")
    })
}
