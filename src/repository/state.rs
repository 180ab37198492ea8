//! What this machine remembers of a repository: the counter of its charter and the newest sequence number of each
//! source. The bucket cannot witness against itself; a lower number than remembered is a rollback.

use crate::error::{Context, Error, Kind, Result};
use crate::id::{RepositoryId, SourceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The memory, in a file if there is a place for one.
#[derive(Debug)]
pub(super) struct Memory {
    path: Option<PathBuf>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    counter: u64,
    sources: BTreeMap<SourceName, u64>,
}

impl Seen {
    fn join(&mut self, other: Self) {
        self.counter = self.counter.max(other.counter);
        for (source, sequence) in other.sources {
            let known = self.sources.entry(source).or_default();
            *known = sequence.max(*known);
        }
    }
}

impl Memory {
    /// The memory of `repository` in `directory`; without one, nothing outlives the process.
    pub(super) fn load(directory: Option<&Path>, repository: RepositoryId) -> Result<Self> {
        let path = directory.map(|directory| directory.join(format!("{repository}.json")));
        let seen = match &path {
            Some(path) => read(path)?,
            None => Seen::default(),
        };
        Ok(Self { path, seen: Mutex::new(seen) })
    }

    /// The same memory for another handle on the same repository.
    pub(super) fn continued(other: &Self) -> Self {
        let seen = other.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { path: other.path.clone(), seen: Mutex::new(seen) }
    }

    /// Refuses a charter that is older than one seen before, else remembers it.
    pub(super) fn meet_counter(&self, counter: u64) -> Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if counter < seen.counter {
            let what =
                format!("checking davit.json: its counter is {counter}, but {} was seen here before", seen.counter);
            return Err(self.rolled_back(what));
        }
        if counter > seen.counter {
            seen.counter = counter;
            self.save(&seen)?;
        }
        Ok(())
    }

    /// Refuses a newest point of `source` that is older than one seen before, else remembers it.
    pub(super) fn meet_sequence(&self, source: &SourceName, sequence: u64) -> Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.sources.get(source).copied().unwrap_or(0);
        if sequence < before {
            let now = match sequence {
                0 => "nothing of it is there any more".to_owned(),
                number => format!("its newest point is number {number}"),
            };
            return Err(self.rolled_back(format!("checking {source}: {now}, but number {before} was seen here before")));
        }
        if sequence > before {
            seen.sources.insert(source.clone(), sequence);
            self.save(&seen)?;
        }
        Ok(())
    }

    /// The newest sequence number seen of a source.
    pub(super) fn newest(&self, source: &SourceName) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).sources.get(source).copied().unwrap_or(0)
    }

    /// The sources of which a point was seen.
    pub(super) fn sources(&self) -> Vec<SourceName> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).sources.keys().cloned().collect()
    }

    fn rolled_back(&self, what: String) -> Error {
        let error = Error::refused(what);
        match &self.path {
            Some(path) => error.hint(format!(
                "somebody took newer objects away; if that was you, remove {} and try again",
                path.display()
            )),
            None => error.hint("somebody took newer objects away while this ran"),
        }
    }

    fn save(&self, seen: &Seen) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let doing = || format!("remembering the state of the repository in {}", path.display());
        // Other processes remember here, too; nobody takes away what another one saw.
        let mut seen = seen.clone();
        seen.join(read(path)?);
        let directory = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory).context(Kind::Input, doing)?;
        // Written beside and renamed: a crash leaves the old memory or the new one, never half of one.
        let mut file = tempfile::NamedTempFile::new_in(directory).context(Kind::Input, doing)?;
        let text = serde_json::to_vec(&seen).context(Kind::Failed, doing)?;
        file.write_all(&text).and_then(|()| file.as_file().sync_all()).context(Kind::Failed, doing)?;
        file.persist(path).map_err(|why| why.error).context(Kind::Failed, doing)?;
        Ok(())
    }
}

fn read(path: &Path) -> Result<Seen> {
    let doing = || format!("reading the remembered state of the repository from {}", path.display());
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).context(Kind::Input, doing),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(Seen::default()),
        Err(why) => Err(why).context(Kind::Input, doing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_once_is_the_least_that_is_accepted_later() {
        let directory = tempfile::tempdir().unwrap();
        let repository = RepositoryId([4; 16]);
        let source: SourceName = "shop".parse().unwrap();
        let memory = Memory::load(Some(directory.path()), repository).unwrap();
        memory.meet_counter(3).unwrap();
        memory.meet_sequence(&source, 9).unwrap();
        let later = Memory::load(Some(directory.path()), repository).unwrap();
        assert_eq!(later.meet_counter(2).unwrap_err().kind(), Kind::Refused);
        assert_eq!(later.meet_sequence(&source, 8).unwrap_err().kind(), Kind::Refused);
        later.meet_counter(3).unwrap();
        later.meet_sequence(&source, 10).unwrap();
        memory.meet_sequence(&"bank".parse().unwrap(), 2).unwrap();
        let both = Memory::load(Some(directory.path()), repository).unwrap();
        assert_eq!(both.newest(&source), 10, "two processes at once take nothing from each other");
        let stranger = Memory::load(Some(directory.path()), RepositoryId([5; 16])).unwrap();
        stranger.meet_counter(1).unwrap();
    }
}
