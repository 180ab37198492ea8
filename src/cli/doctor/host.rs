//! What can be told without asking anybody else: settings, keys, programs, room.

use super::findings::Findings;
use crate::cli::shell::Shell;
use crate::humane::{bytes, counted};
use crate::postgres::tools::Tools;
use crate::repository::Keys;
use std::path::Path;

/// The oldest server that is supported.
const OLDEST_MAJOR: u32 = 14;
/// With less room than this a disk is as good as full.
const ROOM_MIN: u64 = 1 << 30;

/// The settings file; a broken one has ended the command before.
pub(super) fn settings(findings: &mut Findings, shell: &Shell) {
    let settings = &shell.settings;
    match &settings.file {
        None => findings.ok("settings", "no davit.yaml; a source is given by its URL"),
        Some(file) if settings.sources.is_empty() => {
            let detail = format!("{} names no sources", file.value.display());
            findings.warn("settings", detail, "add sources: with a name and a url for each");
        }
        Some(file) => {
            let sources = counted(settings.sources.len() as u64, "source");
            findings.ok("settings", format!("{}, {sources}", file.value.display()));
        }
    }
    let never = settings.sources.values().filter(|source| source.retention.value.are_empty());
    let names: Vec<&str> = never.map(|source| source.name.as_str()).collect();
    if !names.is_empty() {
        let detail = format!("no rules for {}: nothing is ever removed", names.join(", "));
        findings.warn("retention", detail, "add retention: {daily: 30 days, weekly: 90 days, monthly: 1 year}");
    } else if !settings.sources.is_empty() {
        findings.ok("retention", "every source has rules");
    }
}

/// The keys, and whether they are where they should be.
pub(super) fn keys(findings: &mut Findings, shell: &Shell) -> Option<Keys> {
    let path = &shell.settings.keys.value;
    let keys = match Keys::load(path) {
        Ok(keys) => keys,
        Err(error) => {
            findings.error("keys", &error);
            return None;
        }
    };
    match &keys.writer {
        Some(writer) => {
            findings.ok("keys", format!("writer key of repository {} in {}", writer.repository(), path.display()));
        }
        None => findings.warn(
            "keys",
            format!("no writer key in {}: restores work from here, backups do not", path.display()),
            "on a backup host, davit key new --writer makes one from reader.key",
        ),
    }
    match (&keys.writer, &keys.reader) {
        (Some(_), Some(_)) => findings.warn(
            "reader key",
            "it lies beside the writer key: whoever takes this machine over reads every backup",
            "move reader.key to another place, and keep a copy on paper",
        ),
        (Some(_), None) => findings.ok("reader key", "not on this machine, as it should be"),
        (None, _) => {}
    }
    Some(keys)
}

/// Where rollbacks of the repository are noticed.
pub(super) fn state(findings: &mut Findings, shell: &Shell) {
    const HINT: &str = "set state: in davit.yaml or DAVIT_STATE to a directory that lasts";
    let Some(path) = &shell.settings.state.value else {
        findings.warn("state", "nowhere to remember sequence numbers: a rolled back repository may go unseen", HINT);
        return;
    };
    let existing = path.ancestors().find(|ancestor| ancestor.exists());
    let writable = existing.is_some_and(|path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok());
    if writable {
        findings.ok("state", format!("sequence numbers are remembered in {}", path.display()));
    } else {
        findings.warn(
            "state",
            format!("{} cannot be written: a rolled back repository may go unseen", path.display()),
            HINT,
        );
    }
}

/// PostgreSQL's programs on this machine.
pub(super) fn tools(findings: &mut Findings, shell: &Shell) {
    let directories = &shell.settings.client_tools.value;
    let path = shell.settings.environment.search_path();
    match Tools::find(OLDEST_MAJOR, directories, path.as_deref()) {
        Err(error) => findings.error("client tools", &error),
        Ok(tools) => match tools.archive_hole() {
            None => findings.ok("client tools", format!("{} in {}", tools.version(), tools.directory().display())),
            Some(hole) => findings.warn(
                "client tools",
                format!("{hole}"),
                "install the fixed version; until then archives without our signature are refused",
            ),
        },
    }
    match Tools::find_server(OLDEST_MAJOR, directories, path.as_deref()) {
        Ok(tools) => findings.ok("server programs", format!("{} in {}", tools.version(), tools.directory().display())),
        Err(error) => findings.warn(
            "server programs",
            format!("{error}: davit verify --depth restored needs --into here"),
            error.hint_text().unwrap_or("install a PostgreSQL server package"),
        ),
    }
}

/// Room for throw-away servers.
pub(super) fn room(findings: &mut Findings, shell: &Shell) {
    room_in(
        findings,
        "room",
        &shell.settings.scratch.value,
        "for the throw-away server of davit verify --depth restored",
    );
}

/// How much room a directory has.
pub(super) fn room_in(findings: &mut Findings, check: &str, directory: &Path, what_for: &str) {
    let Ok(room) = rustix::fs::statvfs(directory) else { return };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let detail = format!("{} free in {} {what_for}", bytes(free), directory.display());
    if free < ROOM_MIN {
        findings.warn(check, detail, "make room, or use another disk");
    } else {
        findings.ok(check, detail);
    }
}
