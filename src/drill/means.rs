//! What a drill works with: everything that a fault works with, what a restore takes besides, and a folder of its own.

use crate::backup::restore;
use crate::chaos;
use crate::clock::SharedClock;
use crate::error::{Context, Kind, Result};
use crate::id::RunId;
use crate::journal::SharedProgress;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// What a drill works with.
#[derive(Clone)]
pub struct Means {
    /// What faults work with; its token says stop.
    pub chaos: chaos::Means,
    /// What restores work with.
    pub restore: restore::Means,
    /// Who listens to the story.
    pub progress: SharedProgress,
    /// Where drills keep their journals and ledgers, a folder for each run.
    pub folder: PathBuf,
    /// Who asked for it.
    pub operator: Option<String>,
}

/// The secrets of a target, fetched from where they are kept.
#[derive(Debug, Clone)]
pub struct Access {
    /// How users reach the service.
    pub clients: Secret,
    /// The roots that clients over HTTPS trust, as PEM; those of this machine without them.
    pub ca: Option<String>,
    /// How to reach its database directly.
    pub primary: Option<Secret>,
    /// How to reach the server that takes over.
    pub standby: Option<Secret>,
    /// The server that a restore goes into.
    pub into: Option<Secret>,
    /// How observers elsewhere reach the service, by their names, where they go another way.
    pub observers: BTreeMap<String, Secret>,
    /// The roots that those observers trust who name some.
    pub observers_ca: BTreeMap<String, String>,
}

impl Means {
    /// Time.
    pub fn clock(&self) -> &SharedClock {
        &self.chaos.clock
    }

    /// Says stop.
    pub fn cancel(&self) -> &CancellationToken {
        &self.chaos.cancel
    }

    /// The folder of a run.
    pub fn folder_of(&self, run: &RunId) -> PathBuf {
        self.folder.join(run.as_str())
    }
}

/// Where drills keep their journals and ledgers, below the folder of all that is kept.
pub fn drills(state: &Path) -> PathBuf {
    state.join("drills")
}

/// Makes a folder that only its owner reads: journals name hosts.
pub(super) fn make_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let doing = || format!("making the drill's folder {}", folder.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).context(Kind::Failed, doing)
}
