//! The files of a drill beside its journal: what they are when nothing more is written into them, and whether they still are.

use super::means::drills;
use crate::error::{Context, Error, Kind, Result};
use crate::id::Hashing;
use crate::report::DrillReport;
use crate::report::journal::{FILE, FileKept};
use serde::Serialize;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

/// So much of a file is read at once.
const PIECE: usize = 1 << 16;

/// Whether a file is still the one that a report names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Still {
    /// It is.
    Unchanged,
    /// It is another one.
    Changed,
    /// It is not in the folder of the drill.
    Missing,
}

/// What became of a file that a report names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSeen {
    /// Its name.
    pub name: String,
    /// Whether it is still the same.
    pub is: Still,
}

/// All files in the folder of a drill but its journal, which is still written to; by name.
pub(super) fn beside(folder: &Path) -> Result<Vec<FileKept>> {
    let doing = || format!("reading the files of the drill in {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).context(Kind::Failed, doing)? {
        let entry = entry.context(Kind::Failed, doing)?;
        let is_file = entry.file_type().context(Kind::Failed, doing)?.is_file();
        match entry.file_name().into_string() {
            Ok(name) if is_file && name != FILE => files.push(look(folder, &name)?),
            _ => {}
        }
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

fn look(folder: &Path, name: &str) -> Result<FileKept> {
    let path = folder.join(name);
    let doing = || format!("reading {}", path.display());
    let mut file = BufReader::new(File::open(&path).context(Kind::Failed, doing)?);
    let (mut hashing, mut piece, mut lines) = (Hashing::default(), vec![0; PIECE], 0);
    loop {
        let length = file.read(&mut piece).context(Kind::Failed, doing)?;
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else { break };
        lines += memchr::memchr_iter(b'\n', read).count() as u64;
        hashing.write_all(read).context(Kind::Failed, doing)?;
    }
    let (bytes, sha256) = hashing.finish();
    Ok(FileKept { name: name.to_owned(), lines, bytes, sha256 })
}

/// Holds the files that a report names against those in the folder of its drill, below the folder of all that is kept; nothing
/// where this machine has no folder of it.
///
/// # Errors
/// Where a file is there and cannot be read, or its name leads elsewhere.
pub fn files_of(report: &DrillReport, state: &Path) -> Result<Option<Vec<FileSeen>>> {
    let folder = drills(state).join(report.run.as_str());
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut seen = Vec::new();
    for file in &report.files {
        if Path::new(&file.name).file_name() != Some(file.name.as_ref()) {
            return Err(Error::check(format!(
                "looking for the files of run {}: {:?} is no name of one",
                report.run, file.name
            ))
            .hint("no drill writes such a name: make the report anew with davit report drill RUN"));
        }
        let is = if folder.join(&file.name).is_file() {
            let now = look(&folder, &file.name)?;
            if (now.bytes, now.sha256) == (file.bytes, file.sha256) { Still::Unchanged } else { Still::Changed }
        } else {
            Still::Missing
        };
        seen.push(FileSeen { name: file.name.clone(), is });
    }
    Ok(Some(seen))
}
