//! `davit key show|new|rotate|check`

use crate::cli::args::{KeyCommand, KeyNewArgs, KeyRotateArgs};
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::rewrap::{NotSealed, Rewrap};
use crate::cli::shell::Shell;
use crate::cli::table::table;
use crate::error::{Context, Error, Kind, Result};
use crate::humane::{bytes, counted};
use crate::journal::Progress;
use crate::repository::{Changed, Keys, PointKeys, ReaderKey, Refusal, Repository, Unread};
use age::x25519::Identity;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Shows, makes, rotates or checks keys.
pub(super) async fn run(command: &KeyCommand, shell: &Shell) -> Result<Ended> {
    match command {
        KeyCommand::Show => Ended::with(&Shown::of(&shell.settings.keys.value)?),
        KeyCommand::New(args) => new(args, shell).await,
        KeyCommand::Rotate(args) => rotate(args, shell).await,
        KeyCommand::Check => check(shell).await,
    }
}

/// The directory of the keys, also where `--keys` names one file in it.
fn directory_of(keys: &Path) -> PathBuf {
    if keys.is_file() { keys.parent().map(Path::to_path_buf).unwrap_or_default() } else { keys.to_path_buf() }
}

#[derive(Debug, Serialize)]
struct Shown {
    keys: PathBuf,
    writer: Option<ShownWriter>,
    reader: Option<ShownReader>,
}

#[derive(Debug, Serialize)]
struct ShownWriter {
    repository: String,
    epoch: u32,
    public_key: String,
    root_public_key: String,
}

#[derive(Debug, Serialize)]
struct ShownReader {
    repositories: Vec<String>,
    readers: Vec<String>,
    root_public_key: String,
    holds_root_key: bool,
}

impl Shown {
    fn of(path: &Path) -> Result<Self> {
        let keys = Keys::load(path)?;
        let writer = keys.writer.map(|key| ShownWriter {
            repository: key.repository().to_string(),
            epoch: key.epoch(),
            public_key: key.public().to_string(),
            root_public_key: key.root().to_string(),
        });
        let reader = keys.reader.map(|key| ShownReader {
            repositories: key.repositories().iter().map(ToString::to_string).collect(),
            readers: key.recipients(),
            root_public_key: key.root().to_string(),
            holds_root_key: key.holds_root(),
        });
        Ok(Self { keys: path.to_path_buf(), writer, reader })
    }
}

impl Document for Shown {
    fn text(&self) -> String {
        let mut text = format!("keys in {}\n", self.keys.display());
        if let Some(key) = &self.writer {
            text.extend(["\nwriter key: makes, lists, checks and removes points; opens no row\n"]);
            text.extend(["  repository  ", &key.repository, "\n  signs as    ", &key.public_key, "\n"]);
        } else {
            text.push_str("\nno writer key: no backups from here; davit key new --writer makes one from reader.key\n");
        }
        if let Some(key) = &self.reader {
            text.push_str(if key.readers.is_empty() {
                "\nreader key: opens no row until the AGE-SECRET-KEY-1… line of a reader is put into it\n"
            } else {
                "\nreader key: opens every row\n"
            });
            text.extend(["  repository  ", &key.repositories.join(", "), "\n"]);
            for reader in &key.readers {
                text.extend(["  reads as    ", reader, "\n"]);
            }
            let root = if key.holds_root_key { "held" } else { "not held: may not change readers or writers" };
            text.extend(["  root key    ", root, "\n"]);
            if self.writer.is_some() {
                text.push_str("\nBoth keys are in one place: whoever takes this machine over reads every backup.\n");
            }
        } else {
            text.push_str("\nno reader key: no restores from here\n");
        }
        text
    }
}

/// What a change of keys did.
#[derive(Debug, Serialize)]
struct KeysChanged {
    readers: Vec<String>,
    written: Vec<PathBuf>,
    moved: Option<PathBuf>,
    bytes_to_store_anew: u64,
    points_that_need_an_older_key: Vec<String>,
    points_sealed_again: Vec<String>,
    /// Points and sources that stay as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_sealed: Vec<NotSealed>,
    /// Sources and points of which nobody knows which key they need.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Refusal>,
    bytes_new: u64,
    #[serde(skip)]
    headline: String,
}

impl KeysChanged {
    fn of(changed: &Changed, headline: &str) -> Self {
        let needing = changed.need_older_key.iter().map(|point| point.point().to_string());
        Self {
            bytes_to_store_anew: changed.stored_anew_bytes,
            points_that_need_an_older_key: needing.collect(),
            refused: changed.refused.clone(),
            headline: headline.to_owned(),
            ..Self::none(&changed.repository)
        }
    }

    /// Nothing yet.
    fn none(repository: &Repository) -> Self {
        Self {
            readers: repository.readers().to_vec(),
            written: Vec::new(),
            moved: None,
            bytes_to_store_anew: 0,
            points_that_need_an_older_key: Vec::new(),
            points_sealed_again: Vec::new(),
            not_sealed: Vec::new(),
            refused: Vec::new(),
            bytes_new: 0,
            headline: String::new(),
        }
    }
}

impl Document for KeysChanged {
    fn text(&self) -> String {
        let mut page = Page::default();
        page.line(&self.headline);
        for path in &self.written {
            page.line(format!("  written   {}", path.display()));
        }
        if let Some(path) = &self.moved {
            page.line(format!("  kept as   {} (older points need it)", path.display()));
        }
        for reader in &self.readers {
            page.line(format!("  reader    {reader}"));
        }
        if self.bytes_to_store_anew > 0 {
            page.line(format!("the next backups store about {} anew", bytes(self.bytes_to_store_anew)));
        }
        let needing = self.points_that_need_an_older_key.len() as u64;
        if needing > 0 {
            let points = counted(needing, "point");
            page.line(format!("{points} opened only by an older reader key: keep it, or davit key rotate --rewrap"));
        }
        for one in &self.refused {
            page.line(format!("  NOT LOOKED AT  {}: {}; keep the older key", one.source, one.message));
        }
        for one in &self.not_sealed {
            page.line(format!("  NOT SEALED AGAIN  {}: {}", one.what, one.why));
            if let Some(hint) = &one.hint {
                page.line(format!("                    {hint}"));
            }
        }
        page.text()
    }

    fn exit(&self) -> Exit {
        NotSealed::worst(&self.not_sealed)
    }
}

async fn new(args: &KeyNewArgs, shell: &Shell) -> Result<Ended> {
    let repository = shell.repository(None).await?;
    let Some(path) = &args.reader_key else { return new_writer(args, shell, &repository).await };
    let identity = Identity::generate();
    // The file first: if we die after it, it is a key nobody is sealed to; the other way round, points nobody opens.
    repository.reader_key_for(&identity, false).write(path)?;
    let reader = identity.to_public().to_string();
    let changed = match repository.add_reader(&reader).await {
        Ok(changed) => changed,
        Err(error) => return Err(forget_unused((path, &reader), error, &repository, shell).await),
    };
    let mut document = KeysChanged::of(&changed, "made another reader");
    document.written.push(path.clone());
    Ended::with(&document)
}

async fn new_writer(args: &KeyNewArgs, shell: &Shell, repository: &Repository) -> Result<Ended> {
    let path = directory_of(&shell.settings.keys.value).join(Keys::WRITER_FILE);
    if path.exists() {
        return Err(Error::refused(format!("writing key file {}: there is one already", path.display()))
            .hint("move it away, or name another directory with --keys that holds only reader.key"));
    }
    let changed = repository.new_writer(args.retire_others).await?;
    let writer = changed.writer.as_ref().ok_or_else(|| Error::failed("making a writer key: none came back"))?;
    writer.write(&path)?;
    let retired = if args.retire_others { "; every other one may sign nothing new" } else { "" };
    let headline = format!("made a writer key{retired}");
    let mut document = KeysChanged::of(&changed, &headline);
    document.written.push(path);
    Ended::with(&document)
}

async fn rotate(args: &KeyRotateArgs, shell: &Shell) -> Result<Ended> {
    let repository = shell.repository(None).await?;
    if args.rewrap {
        return rewrap(shell, &repository).await;
    }
    if let Some(reader) = &args.add_reader {
        let changed = repository.add_reader(reader).await?;
        return Ended::with(&KeysChanged::of(&changed, "added a reader"));
    }
    if let Some(reader) = &args.remove_reader {
        let changed = repository.remove_reader(reader).await?;
        return Ended::with(&KeysChanged::of(&changed, "removed a reader"));
    }
    replace_readers(shell, &repository).await
}

/// A new reader in the place of all present ones.
async fn replace_readers(shell: &Shell, repository: &Repository) -> Result<Ended> {
    let directory = directory_of(&shell.settings.keys.value);
    let stamp = shell.clock.now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let (current, new) = (directory.join(Keys::READER_FILE), directory.join(format!("reader-new-{stamp}.key")));
    let old = directory.join(format!("reader-until-{stamp}.key"));
    let identity = Identity::generate();
    // The file first, under a name that is read, too: at no instant is something sealed to a key that is nowhere.
    let key: ReaderKey = repository.reader_key_for(&identity, true);
    key.write(&new)?;
    let reader = identity.to_public().to_string();
    let changed = match repository.rotate_readers(&[], Some(&reader)).await {
        Ok(changed) => changed,
        Err(error) => return Err(forget_unused((&new, &reader), error, repository, shell).await),
    };
    let mut document = KeysChanged::of(&changed, "a new reader has taken the place of all others");
    if current.exists() {
        rename(&current, &old)?;
        document.moved = Some(old);
    }
    rename(&new, &current)?;
    document.written.push(current);
    Ended::with(&document)
}

/// Removes a key file that was made for a change that did not happen. Where it may have happened, the file stays: the charter
/// itself must say that nothing is sealed to that key.
async fn forget_unused((path, reader): (&Path, &str), error: Error, repository: &Repository, shell: &Shell) -> Error {
    let now = repository.refreshed().await;
    let is_no_reader = now.is_ok_and(|now| !now.readers().iter().any(|known| known == reader));
    let nothing_changed = is_no_reader && matches!(error.kind(), Kind::Input | Kind::Refused);
    if !nothing_changed || std::fs::remove_file(path).is_err() {
        let text = format!("the new key stays in {}: the repository may be sealed to it already", path.display());
        shell.story.warn(text, Some("davit key show and davit points tell whether it is".to_owned()));
    }
    error
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).context(Kind::Failed, || format!("renaming {} to {}", from.display(), to.display()))
}

/// Seals kept points again, to the present readers.
async fn rewrap(shell: &Shell, repository: &Repository) -> Result<Ended> {
    let rewrap = Rewrap {
        repository,
        holder: shell.settings.environment.holder(),
        term: shell.settings.lease_term.value.0,
        stop: shell.stop.gently.clone(),
        progress: shell.progress(),
    };
    let done = rewrap.run().await?;
    let sealed = counted(done.sealed.len() as u64, "point");
    Ended::with(&KeysChanged {
        points_sealed_again: done.sealed.iter().map(ToString::to_string).collect(),
        not_sealed: done.not_sealed,
        bytes_new: done.bytes_new,
        headline: format!("sealed {sealed} again to the present readers"),
        ..KeysChanged::none(repository)
    })
}

/// Who can open what.
#[derive(Debug, Serialize)]
struct Checked {
    ok: bool,
    readers: Vec<String>,
    points: Vec<CheckedPoint>,
    /// Points of which the keys here open nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<Unread>,
}

#[derive(Debug, Serialize)]
struct CheckedPoint {
    point: String,
    source: String,
    readers: Vec<String>,
    opened_by_keys_here: bool,
    opened_by_present_readers: bool,
}

async fn check(shell: &Shell) -> Result<Ended> {
    let repository = shell.repository(None).await?;
    let check = repository.key_check().await?;
    let present = |keys: &PointKeys| keys.readers.iter().any(|reader| check.readers.contains(reader));
    let point = |keys: &PointKeys| CheckedPoint {
        point: keys.point.point().to_string(),
        source: keys.point.source.to_string(),
        readers: keys.readers.clone(),
        opened_by_keys_here: keys.at_hand,
        opened_by_present_readers: !repository.encrypted() || present(keys),
    };
    let points: Vec<CheckedPoint> = check.points.iter().map(point).collect();
    // A key that opens nothing is no key for the safe, whoever else could open it.
    let at_hand = repository.keys().reader.is_some();
    let opens = |point: &CheckedPoint| point.opened_by_present_readers && (point.opened_by_keys_here || !at_hand);
    let ok = check.unread.is_empty() && points.iter().all(opens);
    Ended::with(&Checked { ok, readers: check.readers, points, unread: check.unread })
}

impl Document for Checked {
    fn text(&self) -> String {
        if self.points.is_empty() && self.unread.is_empty() {
            return "no recovery points yet\n".to_owned();
        }
        let row = |point: &CheckedPoint| {
            let readers = point.readers.join(" ");
            let readers =
                if point.opened_by_present_readers { readers } else { format!("NONE OF THE PRESENT ONES; {readers}") };
            let here = if point.opened_by_keys_here { "yes" } else { "no" };
            [point.source.clone(), point.point.clone(), here.to_owned(), readers]
        };
        let unread = |one: &Unread| {
            [one.source.to_string(), one.point.to_string(), "NO".to_owned(), format!("not known here: {}", one.why)]
        };
        let rows = self.unread.iter().map(unread).chain(self.points.iter().map(row));
        let mut text = table(["source", "point", "opens here", "readers that open all of it"], rows);
        if let Some(hint) = self.unread.iter().find_map(|one| one.hint.as_ref()) {
            text.extend(["\n", hint, "\n"]);
        }
        if !self.ok && self.points.iter().any(|point| !point.opened_by_keys_here) {
            text.push_str("\nthe reader key here does not open them all: another one does, or an older one\n");
        }
        if self.points.iter().any(|point| !point.opened_by_present_readers) {
            text.push_str(
                "\nkeep the older reader key until davit key rotate --rewrap has sealed those points again\n",
            );
        }
        text
    }

    fn exit(&self) -> Exit {
        if self.ok { Exit::Done } else { Exit::Not(Kind::CheckFailed) }
    }
}
