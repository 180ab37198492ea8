//! What a drill writes down while it runs: typed lines, only ever appended, from which alone its report is made.
//!
//! A line is written before what follows it is done. Probes, writes and whole reads are many, and lie packed in lines of
//! their own. Offsets are of the observer's one monotonic clock; the wall clock is read once, for labels.

mod events;
mod pack;

pub use crate::observation::PackedWrites;
pub use events::{
    Acknowledged, Aims, AlertSeen, Began, CheckSeen, Cut, Differing, Event, FileKept, Guard, Healing, LagSeen, Line,
    Mark, Observer, PlannedVictim, ReplicaSeen, ReplicaState, RestorePhase, Restored, ScenarioFacts, Stage, Stream,
    StreamRole, Survival, Theory, Watched,
};
pub use pack::{PackedRead, PackedSamples};

use crate::error::{Error, Result};
use crate::id::{Hashing, Sha256};
use std::io::{BufRead, Write};

/// The name of a journal in the folder of its drill.
pub const FILE: &str = "journal.jsonl";

/// The newest journal format that this build reads, and the only one it writes. The second one may have observers elsewhere.
pub const FORMAT: u32 = 2;

/// Reads a journal from its lines. A last line that was cut off by a crash is left out; any other one that is none of
/// ours is an error.
pub fn read(lines: impl BufRead) -> Result<Vec<Line>> {
    let mut journal = Vec::new();
    let mut torn: Option<usize> = None;
    for (number, line) in lines.lines().enumerate() {
        let line = line.map_err(|why| Error::failed("reading a drill's journal").because(why))?;
        if line.trim().is_empty() {
            continue;
        }
        if let Some(torn) = torn {
            return Err(Error::failed(format!("reading a drill's journal: line {} is damaged", torn + 1)));
        }
        match serde_json::from_str(&line) {
            Ok(line) => journal.push(line),
            Err(_) => torn = Some(number),
        }
    }
    Ok(journal)
}

/// A line as its text, with the line feed.
pub fn text(line: &Line) -> Result<String> {
    let mut text = serde_json::to_string(line).map_err(unwritten)?;
    text.push('\n');
    Ok(text)
}

fn unwritten(why: serde_json::Error) -> Error {
    Error::failed("writing a drill's journal").because(why)
}

/// The bytes of a journal's file, and their SHA-256. The same from the file and from the repository, which keeps the lines
/// and not the file: so a field that older journals lack must be left out where it says nothing.
pub fn digest(journal: &[Line]) -> Result<(u64, Sha256)> {
    let mut hashing = Hashing::default();
    for line in journal {
        serde_json::to_writer(&mut hashing, line).map_err(unwritten)?;
        hashing.write_all(b"\n").map_err(|why| Error::failed("hashing a drill's journal").because(why))?;
    }
    Ok(hashing.finish())
}
