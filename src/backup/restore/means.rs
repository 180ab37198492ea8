//! What a restore or a verification takes besides the question: the repository, tools, hands and ears.

use crate::journal::SharedProgress;
use crate::postgres::tools::Tools;
use crate::repository::Repository;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// What a restore or a verification works with.
#[derive(Clone)]
pub struct Means {
    /// Where the recovery points are.
    pub repository: Repository,
    /// Directories with PostgreSQL's programs, as the user set them.
    pub tool_dirs: Vec<PathBuf>,
    /// The text of `PATH`.
    pub path: Option<String>,
    /// Connections that work side by side.
    pub jobs: usize,
    /// Who listens.
    pub progress: SharedProgress,
    /// Ends the run; what was begun is undone.
    pub cancel: CancellationToken,
}

impl Means {
    /// Client tools of at least this major.
    pub(in crate::backup) fn tools(&self, major: u32) -> crate::error::Result<Tools> {
        Tools::find(major, &self.tool_dirs, self.path.as_deref())
    }

    /// Connections that work side by side: at least one, and no more than a server is likely to have.
    pub(in crate::backup) fn workers(&self) -> usize {
        const MOST: usize = 64;
        self.jobs.clamp(1, MOST)
    }
}
