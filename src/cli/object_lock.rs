//! Object lock, where the settings ask for it and the repository was made without: said at each backup, and switched on by
//! `davit init --object-lock MODE`.

use crate::cli::output::{Document, Ended};
use crate::cli::shell::Shell;
use crate::error::Result;
use crate::repository::Repository;
use crate::store::{Features, LockMode};
use serde::Serialize;

/// What is wrong where the settings ask for other locks than the repository makes, and what to do.
pub(super) fn not_made(shell: &Shell, repository: &Repository) -> Option<(String, String)> {
    let wanted = shell.settings.object_lock.value.mode()?;
    let made = repository.settings().lock;
    let word = word(wanted);
    let now = match made {
        Some(made) if made == wanted => return None,
        // A weaker promise than the one that is kept already is no loss; the stronger one stays.
        Some(LockMode::Compliance) => return None,
        Some(LockMode::Governance) => "locks in governance mode",
        None => "locks nothing: what is stored can be deleted at any time",
    };
    Some((
        format!("the settings ask for object lock ({word}), but the repository {now}"),
        format!("davit init --object-lock {word}, where reader.key is, switches it on; or take object_lock out"),
    ))
}

const fn word(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => "governance",
        LockMode::Compliance => "compliance",
    }
}

/// How a repository locks, for people.
pub(super) const fn line(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => "  locks       governance: accounts with a special permission may delete early\n",
        LockMode::Compliance => "  locks       compliance: nobody may delete early\n",
    }
}

/// Switches locks on in a repository that is there.
pub(super) async fn switch_on(mode: LockMode, shell: &Shell) -> Result<Ended> {
    let repository = shell.repository(None).await?.lock_from_now_on(mode).await?;
    Ended::with(&SwitchedOn {
        repository: repository.store().describe(),
        id: repository.id().to_string(),
        encrypted: repository.encrypted(),
        changed: true,
        object_lock: mode,
        features: repository.features().clone(),
    })
}

#[derive(Debug, Serialize)]
struct SwitchedOn {
    repository: String,
    id: String,
    encrypted: bool,
    changed: bool,
    object_lock: LockMode,
    features: Features,
}

impl Document for SwitchedOn {
    fn text(&self) -> String {
        format!(
            "switched on object lock\n\n  repository  {}\n  id          {}\n{}\nEvery backup from now on is locked as long \
             as a rule promises to keep it.\nnext: davit retain locks the points that are there, too, as far as rules promise to keep them\n",
            self.repository,
            self.id,
            line(self.object_lock)
        )
    }
}
