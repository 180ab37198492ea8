//! PostgreSQL's own programs: which are on this machine, how new they are, and how they are run.

mod process;
mod version;

pub use process::{Running, Tool};
pub use version::{ArchiveHole, Version};

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// What a directory must hold to be of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// `pg_dump` and its kin.
    Client,
    /// What makes and runs a server.
    Server,
}

impl Need {
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Client => &["pg_dump", "pg_restore", "pg_dumpall"],
            Self::Server => &["initdb", "postgres"],
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Client => "PostgreSQL client tools (pg_dump, pg_restore, pg_dumpall)",
            Self::Server => "a PostgreSQL server (initdb, postgres)",
        }
    }

    fn install(self, major: u32) -> String {
        let (debian, redhat, brew) = match self {
            Self::Client => (format!("postgresql-client-{major}"), format!("postgresql{major}"), "libpq"),
            Self::Server => (format!("postgresql-{major}"), format!("postgresql{major}-server"), "postgresql"),
        };
        format!(
            "install them: apt-get install {debian} (Debian, Ubuntu), dnf install {redhat} (RPM, from postgresql.org), \
             brew install {brew}@{major}; or name their directory in davit.yaml"
        )
    }
}

/// Places where packages put their programs; a `*` stands for any one name.
const PLACES: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/usr/local/pgsql-*/bin",
    "/opt/homebrew/opt/*/bin",
    "/usr/local/opt/*/bin",
    "/home/linuxbrew/.linuxbrew/opt/*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// One directory of PostgreSQL's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    directory: PathBuf,
    version: Version,
}

impl Tools {
    /// Finds client tools of at least this major: in `dirs` (as set by the user) if they will do, else in `path` (the
    /// text of `PATH`) and the usual places; the same major before a later one, a later minor before an earlier one.
    ///
    /// # Errors
    /// `Kind::Refused`, naming what was found and the package to install.
    pub fn find(major_at_least: u32, dirs: &[PathBuf], path: Option<&str>) -> Result<Self> {
        find(Need::Client, major_at_least, dirs, path)
    }

    /// Finds the programs that make and run a server, by the same rules.
    pub fn find_server(major_at_least: u32, dirs: &[PathBuf], path: Option<&str>) -> Result<Self> {
        find(Need::Server, major_at_least, dirs, path)
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How new they are.
    pub fn version(&self) -> Version {
        self.version
    }

    /// One of the programs this was found for.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A program that need not be there, such as `pg_amcheck`.
    pub fn optional(&self, name: &str) -> Option<PathBuf> {
        Some(self.program(name)).filter(|program| is_program(program))
    }

    /// The hole in `pg_restore` that lets a crafted archive run code (CVE-2026-116314), if these tools have it.
    pub fn archive_hole(&self) -> Option<ArchiveHole> {
        version::archive_hole(self.version)
    }
}

fn find(need: Need, major_at_least: u32, dirs: &[PathBuf], path: Option<&str>) -> Result<Tools> {
    let configured = inspect(need, dirs.iter().cloned());
    if let Some(best) = best(&configured, major_at_least) {
        return Ok(best);
    }
    let in_path = path.into_iter().flat_map(std::env::split_paths);
    let elsewhere = inspect(need, in_path.chain(PLACES.iter().flat_map(|place| expand(place))));
    if let Some(best) = best(&elsewhere, major_at_least) {
        return Ok(best);
    }
    let what = format!("looking for {} of version {major_at_least} or later", need.what());
    let newest = configured.iter().chain(&elsewhere).max_by_key(|tools| tools.version);
    Err(match newest {
        Some(tools) => {
            Error::refused(format!("{what}: the newest found is {} in {}", tools.version, tools.directory.display()))
        }
        None => Error::refused(format!("{what}: there are none on this machine")),
    }
    .hint(need.install(major_at_least)))
}

fn best(candidates: &[Tools], major_at_least: u32) -> Option<Tools> {
    candidates
        .iter()
        .filter(|tools| tools.version.major >= major_at_least)
        .min_by_key(|tools| (tools.version.major, u32::MAX - tools.version.minor))
        .cloned()
}

/// Those of the directories that hold what is needed, with its version; each one once.
fn inspect(need: Need, directories: impl Iterator<Item = PathBuf>) -> Vec<Tools> {
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut found = Vec::new();
    for directory in directories {
        let Some(main) = need.programs().iter().map(|name| directory.join(name)).next_back() else { continue };
        if !need.programs().iter().all(|name| is_program(&directory.join(name))) {
            continue;
        }
        let real = main.canonicalize().unwrap_or(main);
        // Debian's /usr/bin/pg_dump is a script that picks a version by rules of its own; the real ones come later.
        if real.file_name().is_some_and(|name| name == "pg_wrapper") || seen.contains(&real) {
            continue;
        }
        // A directory of links to some of the programs: the others are where the links lead.
        let home = real.parent().filter(|home| need.programs().iter().all(|name| is_program(&home.join(name))));
        let directory = home.map(Path::to_path_buf).unwrap_or(directory);
        let program = directory.join(if need == Need::Client { "pg_restore" } else { "postgres" });
        seen.push(real);
        if let Some(version) = ask_version(&program) {
            found.push(Tools { directory, version });
        }
    }
    found
}

fn ask_version(program: &Path) -> Option<Version> {
    let output = std::process::Command::new(program).arg("--version").env_clear().env("LC_ALL", "C").output().ok()?;
    Version::parse(&String::from_utf8_lossy(&output.stdout))
}

/// Whether it is a file that can be executed.
pub fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The directories a pattern stands for, in the order of their names.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = match part.split_once('*') {
            None => found.into_iter().map(|directory| directory.join(part)).collect(),
            Some((before, after)) => found.iter().flat_map(|directory| entries(directory, before, after)).collect(),
        };
    }
    found
}

fn entries(directory: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(before) && name.ends_with(after)
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A directory with programs that only tell a version.
    fn pretend(version: &str, need: Need) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in need.programs() {
            let program = directory.path().join(name);
            std::fs::write(&program, format!("#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        directory
    }

    fn paths(directories: &[&tempfile::TempDir]) -> Vec<PathBuf> {
        directories.iter().map(|directory| directory.path().to_owned()).collect()
    }

    #[test]
    fn the_same_major_is_preferred_and_of_it_the_latest_minor() {
        let (old, same, newer_same, newer) = (
            pretend("14.20", Need::Client),
            pretend("15.18", Need::Client),
            pretend("15.20 (Debian 15.20-1)", Need::Client),
            pretend("17.1", Need::Client),
        );
        let dirs = paths(&[&newer, &old, &same, &newer_same]);
        let found = Tools::find(15, &dirs, None).unwrap();
        assert_eq!((found.directory(), found.version().to_string()), (newer_same.path(), "15.20".to_owned()));
        assert_eq!(Tools::find(16, &dirs, None).unwrap().directory(), newer.path());
        let path = std::env::join_paths(&dirs).unwrap();
        assert_eq!(Tools::find(16, &[], path.to_str()).unwrap().version().major, 17);
    }

    #[test]
    fn a_directory_of_links_leads_to_the_one_that_has_every_program() {
        let real = pretend("15.20", Need::Server);
        let links = tempfile::tempdir().unwrap();
        for name in Need::Server.programs() {
            std::os::unix::fs::symlink(real.path().join(name), links.path().join(name)).unwrap();
        }
        let found = Tools::find_server(15, &paths(&[&links]), None).unwrap();
        assert_eq!(found.directory(), real.path().canonicalize().unwrap());
    }

    #[test]
    fn too_old_tools_are_named_with_the_package_to_install() {
        let old = pretend("9.6.24", Need::Server);
        let error = Tools::find_server(99, &paths(&[&old]), None).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Refused);
        assert!(error.to_string().contains("the newest found is"), "{error}");
        assert!(error.hint_text().unwrap().contains("apt-get install postgresql-99"), "{error:?}");
    }

    #[test]
    fn patterns_stand_for_the_directories_that_are_there() {
        let root = tempfile::tempdir().unwrap();
        for name in ["pgsql-15", "pgsql-16", "other"] {
            std::fs::create_dir_all(root.path().join(name).join("bin")).unwrap();
        }
        let pattern = format!("{}/pgsql-*/bin", root.path().display());
        let names: Vec<_> = expand(&pattern).iter().map(|p| p.strip_prefix(root.path()).unwrap().to_owned()).collect();
        assert_eq!(names, [PathBuf::from("pgsql-15/bin"), PathBuf::from("pgsql-16/bin")]);
    }
}
