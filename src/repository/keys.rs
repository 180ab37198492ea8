//! The two key files. Both are age identity files that stock `age -i` reads; what else they hold is in comment lines.
//!
//! `writer.key` stays on the backup host: it makes points and opens manifests, and opens no row. `reader.key` belongs
//! elsewhere: it opens everything and holds the root key that the whole repository is judged by.

use super::minisign::{PublicKey, SigningKey};
use crate::error::{Context, Error, Kind, Result};
use crate::id::RepositoryId;
use crate::secret::Secret;
use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The keys at hand.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// What makes points.
    pub writer: Option<WriterKey>,
    /// What opens them.
    pub reader: Option<ReaderKey>,
}

/// What a backup host holds.
#[derive(Clone)]
pub struct WriterKey {
    pub(super) repository: RepositoryId,
    pub(super) root: PublicKey,
    pub(super) epoch: u32,
    pub(super) id_key: [u8; 32],
    pub(super) signing: SigningKey,
    pub(super) identities: Vec<Identity>,
}

/// What opens rows, and what everything else is authorised by.
#[derive(Clone)]
pub struct ReaderKey {
    /// One reader may serve several repositories of its owner.
    pub(super) repositories: Vec<RepositoryId>,
    pub(super) root: PublicKey,
    pub(super) signing: Option<SigningKey>,
    pub(super) identities: Vec<Identity>,
}

/// What to try where there are no keys: for the first day, and for the day on which the backup host is lost.
const NO_KEYS: &str = "--keys or DAVIT_KEYS says where they are; davit init makes them with a new repository, and for one that is there \
    davit key new --writer makes writer.key beside reader.key";

impl Keys {
    /// The name of the writer's file in a directory of keys.
    pub const WRITER_FILE: &str = "writer.key";
    /// The name of the reader's file in a directory of keys; `reader-….key` beside it are older ones.
    pub const READER_FILE: &str = "reader.key";

    /// Reads a key file, or `writer.key`, `reader.key` and older `reader-….key` in a directory.
    pub fn load(path: &Path) -> Result<Self> {
        let doing = || format!("reading keys from {}", path.display());
        let is_directory =
            std::fs::metadata(path).map_err(|why| Error::input(doing()).because(why).hint(NO_KEYS))?.is_dir();
        let mut keys = Self::default();
        if !is_directory {
            keys.add(path)?;
            return Ok(keys);
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).context(Kind::Input, doing)? {
            names.push(entry.context(Kind::Input, doing)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        let is_key = |name: &str| {
            name == Self::WRITER_FILE
                || name == Self::READER_FILE
                || name.strip_prefix("reader-").is_some_and(|rest| rest.strip_suffix(".key").is_some())
        };
        for name in names.iter().filter(|name| is_key(name)) {
            keys.add(&path.join(name))?;
        }
        if keys.writer.is_none() && keys.reader.is_none() {
            return Err(Error::input(format!(
                "reading keys from {}: neither writer.key nor reader.key is there",
                path.display()
            ))
            .hint(NO_KEYS));
        }
        Ok(keys)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let file = KeyFile::read(path)?;
        let doing = |why: String| Error::input(format!("reading key file {}: {why}", path.display()));
        match file.kind() {
            Some("writer") => self.writer = Some(WriterKey::from_file(&file).map_err(doing)?),
            Some("reader") => {
                let read = ReaderKey::from_file(&file).map_err(doing)?;
                match &mut self.reader {
                    Some(reader) => reader.join(read).map_err(doing)?,
                    none => *none = Some(read),
                }
            }
            _ => {
                return Err(doing("it is not a key file of davit (no line \"# davit-key: …\")".to_owned())
                    .hint("a bare age identity lacks the repository's root key: put its line into the reader.key that davit init made"));
            }
        }
        if let (Some(writer), Some(reader)) = (&self.writer, &self.reader)
            && (!reader.repositories.contains(&writer.repository) || writer.root != reader.root)
        {
            return Err(doing(format!("the reader key beside it is not for repository {}", writer.repository)));
        }
        Ok(())
    }

    /// The repositories they may be used with, and the root key that they pin.
    pub(super) fn pins(&self) -> Option<(Vec<RepositoryId>, PublicKey)> {
        let writer = self.writer.as_ref().map(|key| (vec![key.repository], key.root));
        writer.or_else(|| self.reader.as_ref().map(|key| (key.repositories.clone(), key.root)))
    }
}

impl WriterKey {
    /// The repository it is for.
    pub fn repository(&self) -> RepositoryId {
        self.repository
    }

    /// The public half of what it signs with.
    pub fn public(&self) -> PublicKey {
        self.signing.public()
    }

    /// The root key it pins.
    pub fn root(&self) -> PublicKey {
        self.root
    }

    /// The epoch it pins: an older one is refused.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    fn from_file(file: &KeyFile) -> std::result::Result<Self, String> {
        let identities = file.identities.clone();
        Ok(Self {
            repository: file.field("repository")?.parse().map_err(|why: Error| why.to_string())?,
            root: file.public_key("root-public")?,
            epoch: file.field("epoch")?.parse().map_err(|_| "its epoch is not a number".to_owned())?,
            id_key: file.secret("id-key")?,
            signing: file.signing_key("signing-seed")?,
            identities,
        })
    }

    /// The text of its file.
    pub fn to_file_text(&self) -> Secret {
        let mut text = String::from(
            "# Davit writer key: makes backups, lists, verifies and retains them, and cannot read a row.\n\
             # It belongs on the backup host. It opens manifests only.\n\
             # davit-key: writer 1\n",
        );
        add_line(&mut text, "repository", &self.repository.to_string());
        add_line(&mut text, "root-public", &self.root.to_string());
        add_line(&mut text, "epoch", &self.epoch.to_string());
        add_line(&mut text, "id-key", &STANDARD.encode(self.id_key));
        add_line(&mut text, "signing-public", &self.public().to_string());
        add_line(&mut text, "signing-seed", &STANDARD.encode(self.signing.seed()));
        add_identities(&mut text, &self.identities);
        Secret::new(text)
    }

    /// Writes its file, new and readable by its owner only.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_key_file(path, &self.to_file_text())
    }
}

impl ReaderKey {
    /// The repositories it is for.
    pub fn repositories(&self) -> &[RepositoryId] {
        &self.repositories
    }

    /// The root key: held if [`Self::holds_root`], pinned in any case.
    pub fn root(&self) -> PublicKey {
        self.root
    }

    /// Whether it can sign for the root.
    pub fn holds_root(&self) -> bool {
        self.signing.is_some()
    }

    /// The age recipients it opens for (`age1…`).
    pub fn recipients(&self) -> Vec<String> {
        self.identities.iter().map(|identity| identity.to_public().to_string()).collect()
    }

    fn from_file(file: &KeyFile) -> std::result::Result<Self, String> {
        let root = file.public_key("root-public")?;
        let seed_is_there = file.fields.contains_key("root-seed");
        let signing = if seed_is_there { Some(file.signing_key("root-seed")?) } else { None };
        if signing.as_ref().is_some_and(|key| key.public() != root) {
            return Err("its root-seed and root-public do not belong together".to_owned());
        }
        file.field("repository")?;
        let repositories = file.repositories.iter().map(|id| id.parse().map_err(|why: Error| why.to_string()));
        let repositories = repositories.collect::<std::result::Result<_, _>>()?;
        Ok(Self { repositories, root, signing, identities: file.identities.clone() })
    }

    /// Takes over what an older key of the same repository opens.
    pub(crate) fn join(&mut self, other: Self) -> std::result::Result<(), String> {
        if other.root != self.root {
            return Err("it pins another root key than the reader key beside it".to_owned());
        }
        self.repositories.retain(|id| other.repositories.contains(id));
        self.identities.extend(other.identities);
        self.signing = self.signing.take().or(other.signing);
        Ok(())
    }

    /// The text of its file.
    pub fn to_file_text(&self) -> Secret {
        let mut text = String::from(
            "# Davit reader key: opens every backup of this repository. Keep it away from the backup host, and keep a copy.\n\
             # Stock age opens objects with it: age -d -i reader.key OBJECT | zstd -d\n\
             # davit-key: reader 1\n",
        );
        for repository in &self.repositories {
            add_line(&mut text, "repository", &repository.to_string());
        }
        add_line(&mut text, "root-public", &self.root.to_string());
        if let Some(signing) = &self.signing {
            add_line(&mut text, "root-seed", &STANDARD.encode(signing.seed()));
        }
        if self.identities.is_empty() {
            text.push_str("# Put the AGE-SECRET-KEY-1… line of the reader on a line of its own below this one.\n");
        }
        add_identities(&mut text, &self.identities);
        Secret::new(text)
    }

    /// Writes its file, new and readable by its owner only.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_key_file(path, &self.to_file_text())
    }

    /// Replaces its file by this, in one step.
    pub(super) fn rewrite(&self, path: &Path) -> Result<()> {
        let beside = path.with_extension("key.new");
        self.write(&beside)?;
        std::fs::rename(&beside, path).context(Kind::Failed, || format!("replacing key file {}", path.display()))
    }
}

fn add_line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ignored = writeln!(text, "# davit-{name}: {value}");
}

fn add_identities(text: &mut String, identities: &[Identity]) {
    for identity in identities {
        let _ignored = writeln!(text, "# public key: {}", identity.to_public());
        let _ignored = writeln!(text, "{}", identity.to_string().expose_secret());
    }
}

fn write_key_file(path: &Path, text: &Secret) -> Result<()> {
    let doing = || format!("writing key file {}", path.display());
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|why| {
        let exists = why.kind() == std::io::ErrorKind::AlreadyExists;
        let error = Error::new(if exists { Kind::Refused } else { Kind::Input }, doing()).because(why);
        if exists { error.hint("a key is never overwritten; name another directory with --keys") } else { error }
    })?;
    file.write_all(text.reveal().as_bytes()).and_then(|()| file.sync_all()).context(Kind::Failed, doing)
}

/// A key file as it was read: comment fields and age identities.
struct KeyFile {
    fields: BTreeMap<String, String>,
    repositories: Vec<String>,
    identities: Vec<Identity>,
}

impl KeyFile {
    /// Nothing that is longer is a key file.
    const LONGEST: u64 = 1 << 16;

    fn read(path: &Path) -> Result<Self> {
        let doing = || format!("reading key file {}", path.display());
        let facts = std::fs::metadata(path).context(Kind::Input, doing)?;
        refuse_what_others_can_read(path, &facts)?;
        if facts.len() > Self::LONGEST {
            return Err(Error::input(format!("{}: it is too long to be a key file", doing())));
        }
        let text = std::fs::read_to_string(path).context(Kind::Input, doing)?;
        Self::parse(&text).map_err(|why| Error::input(format!("{}: {why}", doing())))
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut file = Self { fields: BTreeMap::new(), repositories: Vec::new(), identities: Vec::new() };
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if let Some(comment) = line.strip_prefix('#') {
                if let Some((name, value)) = comment.trim().strip_prefix("davit-").and_then(|c| c.split_once(": ")) {
                    if name == "repository" {
                        file.repositories.push(value.trim().to_owned());
                    }
                    file.fields.insert(name.to_owned(), value.trim().to_owned());
                }
            } else if line.starts_with("AGE-PLUGIN-") {
                return Err("keys that live in an age plugin are not supported".to_owned());
            } else if !line.is_empty() {
                // The line itself is never shown: it may be a mistyped secret.
                let identity = line.parse().map_err(|_| format!("line {} is not an age identity", number + 1))?;
                file.identities.push(identity);
            }
        }
        Ok(file)
    }

    fn kind(&self) -> Option<&str> {
        self.fields.get("key").and_then(|kind| kind.strip_suffix(" 1"))
    }

    fn field(&self, name: &str) -> std::result::Result<&str, String> {
        self.fields.get(name).map(String::as_str).ok_or_else(|| format!("the line \"# davit-{name}: …\" is missing"))
    }

    fn secret(&self, name: &str) -> std::result::Result<[u8; 32], String> {
        let bytes = STANDARD.decode(self.field(name)?).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| format!("its {name} is not 32 bytes in base64"))
    }

    fn public_key(&self, name: &str) -> std::result::Result<PublicKey, String> {
        PublicKey::parse(self.field(name)?).ok_or_else(|| format!("its {name} is not a public key such as RW…"))
    }

    fn signing_key(&self, name: &str) -> std::result::Result<SigningKey, String> {
        SigningKey::from_seed(self.secret(name)?).ok_or_else(|| format!("its {name} is not a key"))
    }
}

#[cfg(unix)]
fn refuse_what_others_can_read(path: &Path, facts: &std::fs::Metadata) -> Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let mode = facts.permissions().mode() & 0o777;
    if is_private(facts.uid(), mode) {
        return Ok(());
    }
    Err(Error::refused(format!("reading key file {}: others can read it (mode {mode:o})", path.display()))
        .hint(format!("chmod 600 {}", path.display())))
}

/// As libpq has it for the key of a client: a file of root may be read by its group (that is how a Secret is mounted for
/// a pod without root), any other one by its owner only.
#[cfg(unix)]
const fn is_private(owner: u32, mode: u32) -> bool {
    let group_may = if owner == 0 { 0o040 } else { 0 };
    mode & 0o077 & !group_may == 0
}

#[cfg(not(unix))]
fn refuse_what_others_can_read(_path: &Path, _facts: &std::fs::Metadata) -> Result<()> {
    Ok(())
}

impl fmt::Debug for WriterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriterKey({}, {}, [redacted])", self.repository, self.public())
    }
}

impl fmt::Debug for ReaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReaderKey({:?}, {:?}, [redacted])", self.repositories, self.recipients())
    }
}

/// Where `init` writes the two files of a directory of keys.
pub fn paths(directory: &Path) -> (PathBuf, PathBuf) {
    (directory.join(Keys::WRITER_FILE), directory.join(Keys::READER_FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (WriterKey, ReaderKey) {
        let root = SigningKey::generate().unwrap();
        let repository = RepositoryId::random();
        let writer = WriterKey {
            repository,
            root: root.public(),
            epoch: 3,
            id_key: [5; 32],
            signing: SigningKey::generate().unwrap(),
            identities: vec![Identity::generate()],
        };
        let identities = vec![Identity::generate()];
        (writer, ReaderKey { repositories: vec![repository], root: root.public(), signing: Some(root), identities })
    }

    #[test]
    fn both_files_come_back_from_a_directory_as_they_were_written() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, reader) = keys();
        let (writer_path, reader_path) = paths(directory.path());
        writer.write(&writer_path).unwrap();
        reader.write(&reader_path).unwrap();
        let loaded = Keys::load(directory.path()).unwrap();
        assert_eq!(loaded.writer.unwrap().to_file_text(), writer.to_file_text());
        assert_eq!(loaded.reader.unwrap().to_file_text(), reader.to_file_text());
        assert_eq!(writer.write(&writer_path).unwrap_err().kind(), Kind::Refused);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_that_helps() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("writer.key");
        keys().0.write(&path).unwrap();
        // Of root's files the group may read; the tests may run as root.
        for mode in [0o660, 0o604, 0o644] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = Keys::load(&path).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            assert_eq!(error.hint_text(), Some(format!("chmod 600 {}", path.display()).as_str()));
        }
    }

    #[test]
    fn only_a_file_of_root_may_be_read_by_its_group() {
        assert!(is_private(0, 0o440) && is_private(0, 0o640) && is_private(1000, 0o600) && is_private(1000, 0o400));
        for (owner, mode) in [(1000, 0o640), (1000, 0o440), (0, 0o660), (0, 0o604), (0, 0o444), (0, 0o450)] {
            assert!(!is_private(owner, mode), "{owner} {mode:o}");
        }
    }

    #[test]
    fn what_is_no_key_file_is_named_without_showing_it() {
        let text = keys().0.to_file_text();
        for (text, expected) in [
            (text.reveal().replace("AGE-SECRET-KEY-1", "AGE-SECRET-KEY-2"), "is not an age identity"),
            (text.reveal().replace("# davit-epoch", "# epoch"), "davit-epoch"),
            (text.reveal().replace("# davit-key", "# key"), "not a key file of davit"),
            ("AGE-PLUGIN-YUBIKEY-1QQ".to_owned(), "plugin"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("some.key");
            write_key_file(&path, &Secret::new(text)).unwrap();
            let message = Keys::load(&path).unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains("SECRET"), "{message}");
        }
    }

    #[test]
    fn keys_of_two_repositories_are_not_used_together() {
        let directory = tempfile::tempdir().unwrap();
        let (writer_path, reader_path) = paths(directory.path());
        keys().0.write(&writer_path).unwrap();
        keys().1.write(&reader_path).unwrap();
        assert_eq!(Keys::load(directory.path()).unwrap_err().kind(), Kind::Input);
    }
}
