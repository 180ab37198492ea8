//! `davit init`: makes the repository and its keys, and says what to do with them.

use crate::cli::args::{InitArgs, ObjectLockArg};
use crate::cli::object_lock;
use crate::cli::output::{Document, Ended};
use crate::cli::shell::Shell;
use crate::error::Result;
use crate::repository::{InitOptions, Initialised, Keys, Repository};
use crate::store::{Features, LockMode};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Makes a repository.
pub(super) async fn run(args: &InitArgs, shell: &Shell) -> Result<Ended> {
    let keys_dir = shell.settings.keys.value.clone();
    let lock = match args.object_lock {
        Some(ObjectLockArg::Governance) => Some(LockMode::Governance),
        Some(ObjectLockArg::Compliance) => Some(LockMode::Compliance),
        None => shell.settings.object_lock.value.mode(),
    };
    let options = InitOptions {
        encrypt: !args.plain,
        readers: args.reader.clone(),
        reader_path: args.reader_key.clone(),
        lock,
        keys_dir: Some(keys_dir.clone()),
        accept_unconditional_store: args.accept_unconditional_store,
        ..InitOptions::default()
    };
    // What cannot be made leaves no directory behind; where a repository is already, that is what to say first.
    let place = &shell.settings.repository.value;
    if !place.contains("://") && !Path::new(place).exists() {
        options.check()?;
    }
    let store = shell.store(true).await?;
    // Only a flag changes what is there; a setting asks for it each time anew.
    if let (true, Some(lock)) = (args.object_lock.is_some() && !asks_for_another(args), lock)
        && Repository::is_at(&store).await?
    {
        return object_lock::switch_on(lock, shell).await;
    }
    let made = Repository::init(store, &options, shell.clock.clone()).await?;
    let reader_key = args.reader_key.clone().unwrap_or_else(|| keys_dir.join(Keys::READER_FILE));
    Ended::with(&Made::of(&made, keys_dir.join(Keys::WRITER_FILE), reader_key, lock))
}

/// Whether flags are given that only a new repository can obey.
fn asks_for_another(args: &InitArgs) -> bool {
    args.plain || !args.reader.is_empty() || args.reader_key.is_some() || args.accept_unconditional_store
}

#[derive(Debug, Serialize)]
struct Made {
    repository: String,
    id: String,
    encrypted: bool,
    writer_key: PathBuf,
    reader_key: PathBuf,
    reader_key_was_there: bool,
    readers: Vec<String>,
    /// The readers' identities are kept by whoever gave their public halves.
    #[serde(skip)]
    only_root: bool,
    object_lock: Option<LockMode>,
    features: Features,
}

impl Made {
    fn of(made: &Initialised, writer_key: PathBuf, reader_key: PathBuf, object_lock: Option<LockMode>) -> Self {
        Self {
            repository: made.repository.store().describe(),
            id: made.repository.id().to_string(),
            encrypted: made.repository.encrypted(),
            writer_key,
            reader_key,
            reader_key_was_there: made.reader_was_there,
            readers: made.repository.readers().to_vec(),
            only_root: made.repository.encrypted() && made.reader.recipients().is_empty(),
            object_lock,
            features: made.features.clone(),
        }
    }

    fn about_the_reader_key(&self) -> String {
        let path = self.reader_key.display();
        if !self.encrypted {
            return format!(
                "  root key    {path}\n\nThis repository is NOT encrypted: whoever reads the store reads every row. Move the \
                 root key\nto another place all the same: it signs what everything else is judged by.\n"
            );
        }
        if self.only_root {
            let readers = self.readers.join(" or ");
            return format!(
                "  reader key  {path}   <- move it away\n\nwriter.key makes backups and cannot read one row of them. Rows open \
                 with the identity of\n{readers},\nwhich only you have. reader.key holds the root key, and no identity: to \
                 restore, put the\nAGE-SECRET-KEY-1… line where the file says. Move it to another place now, then delete it \
                 here.\n"
            );
        }
        let given = self.reader_key_was_there;
        let (line, next) = if given {
            ("used again", "It was there before; keep it where it is safe.")
        } else {
            (
                "move it away",
                "Move it to another place now\n(a password manager, and paper in a safe), then delete it here.",
            )
        };
        format!(
            "  reader key  {path}   <- {line}\n\nwriter.key makes backups and cannot read one row of them. reader.key opens \
             everything:\nwithout it nothing can be restored, by anyone. {next}\n"
        )
    }
}

impl Document for Made {
    fn text(&self) -> String {
        let lock = self.object_lock.map_or("", object_lock::line);
        format!(
            "made a repository\n\n  repository  {}\n  id          {}\n{lock}  writer key  {}\n{}\nnext: davit backup \
             postgres://user@host/database\n",
            self.repository,
            self.id,
            self.writer_key.display(),
            self.about_the_reader_key()
        )
    }
}
