//! What a person's own machine brings: client programs with a known hole, and a terminal with or without colours.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod cli_support;
mod support;

use cli_support::Desk;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use support::postgres::{PgServer, bin_dir};

/// Client programs that say they are of this version and are those of version 15.
fn programs(version: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["pg_dump", "pg_restore", "pg_dumpall"] {
        let (stock, here) = (bin_dir(15).join(name).display().to_string(), folder.path().join(name));
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *--version*) echo \"{name} (PostgreSQL) {version}\"; exit;; esac\nexec {stock} \"$@\"\n"
        );
        std::fs::write(&here, script).unwrap();
        std::fs::set_permissions(&here, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn programs_with_a_known_hole_read_our_archives_with_a_warning_and_nobody_else_s() {
    let (server, desk) = (PgServer::start(), Desk::with_repository());
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", "CREATE TABLE t AS SELECT 1 AS id");
    let old = programs("15.10");
    desk.write("davit.yaml", &format!("client_tools: [{}]\n", old.path().display()));
    let said = desk.davit(&["backup", &server.url("shop")]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let into = server.url("again");
    let said = desk.davit(&["restore", "shop@latest", "--into", &into, "--create"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    for text in ["warning: ", "CVE-2026-116314", "15.20", "signed by your own backup"] {
        assert!(said.stderr.contains(text), "{text}: {}", said.stderr);
    }
    let dump = desk.path().join("theirs.dump");
    let mut command = Command::new(bin_dir(15).join("pg_dump"));
    assert!(command.args(["-Fc", "-d", &server.url("shop"), "-f"]).arg(&dump).status().unwrap().success());
    let (theirs, into) = (dump.to_str().unwrap(), server.url("theirs"));
    let restore = ["restore", theirs, "--into", &into, "--create", "--trust"];
    let said = desk.davit(&restore);
    assert_eq!(said.code, 3, "{}", said.stderr);
    for text in ["is not read", "CVE-2026-116314", "update the PostgreSQL client tools"] {
        assert!(said.stderr.contains(text), "{text}: {}", said.stderr);
    }
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname ~ '^theirs'"), "0");
    let good = programs("15.20");
    desk.write("davit.yaml", &format!("client_tools: [{}]\n", good.path().display()));
    let said = desk.davit(&restore);
    assert_eq!(said.code, 0, "{}", said.stderr);
}

/// What a command prints on a terminal of its own, with these variables.
fn on_a_terminal(desk: &Desk, arguments: &str, variables: &[(&str, &str)]) -> String {
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_davit"));
    let plain = desk.command(&[]);
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(desk.path()).env_clear();
    script.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("SHELL", "/bin/sh");
    script.envs(variables.iter().copied()).stdin(std::process::Stdio::null());
    String::from_utf8(script.output().unwrap().stdout).unwrap()
}

#[test]
#[ignore = "needs the program script: make test"]
fn a_terminal_gets_colours_unless_it_asks_for_none_and_a_file_gets_none() {
    const RED: &str = "\u{1b}[31m";
    let desk = Desk::with_repository();
    let error = "verify nothing@latest";
    let coloured = on_a_terminal(&desk, error, &[("TERM", "xterm")]);
    assert!(coloured.contains("\u{1b}[1m") && coloured.contains(RED) && coloured.contains("error"), "{coloured:?}");
    for variables in [[("TERM", "xterm"), ("NO_COLOR", "1")], [("TERM", "dumb"), ("LANG", "C")]] {
        let plain = on_a_terminal(&desk, error, &variables);
        assert!(plain.contains("error: ") && !plain.contains(RED), "{variables:?}: {plain:?}");
    }
    let said = desk.davit(&["verify", "nothing@latest"]);
    assert!(!said.stderr.contains('\u{1b}') && said.stderr.contains("error: "), "{:?}", said.stderr);
}
