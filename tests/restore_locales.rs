//! A target whose system lacks a locale of the backup: it is told by name with what to do, and nothing is changed.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod cli_support;
mod support;

use cli_support::Desk;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use support::postgres::PgServer;

/// A locale that no other machine has: a copy of one that every machine has, in a folder of its own.
const OWN: &str = "xx_XX.UTF-8";

/// A server that knows it.
fn at_home() -> (PgServer, tempfile::TempDir) {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["C.utf8", "xx_XX.utf8"] {
        let copied = Command::new("cp").args(["-r", "/usr/lib/locale/C.utf8"]).arg(folder.path().join(name)).status();
        assert!(copied.unwrap().success());
    }
    let mut server = PgServer::start();
    server.stop();
    server.launch_with(&[], &[("LOCPATH", folder.path().to_str().unwrap())]);
    (server, folder)
}

fn databases(server: &PgServer) -> String {
    server.psql("postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate")
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_locale_or_a_collation_that_the_target_lacks_is_named_with_what_to_do() {
    let ((home, _locales), there, desk) = (at_home(), PgServer::start(), Desk::with_repository());
    home.psql("postgres", &format!("CREATE DATABASE shop TEMPLATE template0 LC_COLLATE '{OWN}' LC_CTYPE '{OWN}'"));
    home.psql(
        "shop",
        "CREATE TABLE words AS SELECT unnest(ARRAY['b', 'a', 'ä']) AS word; CREATE INDEX ON words (word)",
    );
    home.psql("postgres", "CREATE DATABASE wiki");
    home.psql(
        "wiki",
        &format!("CREATE COLLATION odd (locale = '{OWN}'); CREATE TABLE words (word text COLLATE odd); CREATE TABLE plain (id int)"),
    );
    for database in ["shop", "wiki"] {
        let said = desk.davit(&["backup", &home.url(database)]);
        assert_eq!(said.code, 0, "{}", said.stderr);
    }
    let restore = |source: &str, server: &PgServer, more: &[&str]| {
        let (point, url) = (format!("{source}@latest"), server.url("copy"));
        desk.davit(&[&["restore", &point, "--into", &url, "--create"], more].concat())
    };
    let said = restore("shop", &there, &[]);
    assert_eq!(said.code, 3, "{}", said.stderr);
    for text in ["creating database copy_davit_", OWN, "install it there", "davit export POINT | psql"] {
        assert!(said.stderr.contains(text), "{text}: {}", said.stderr);
    }
    // A proof on this machine cannot be had; that says nothing against the backup.
    let said = desk.davit(&["verify", "shop@latest", "--depth", "restored"]);
    assert_eq!(said.code, 6, "{}{}", said.stdout, said.stderr);
    let told = format!("{}{}", said.stdout, said.stderr);
    assert!(told.contains(&format!("lacks the locale {OWN}")), "{told}");

    let said = restore("wiki", &there, &[]);
    assert_eq!(said.code, 4, "{}", said.stderr);
    for text in ["collation public.odd", OWN, "install it there"] {
        assert!(said.stderr.contains(text), "{text}: {}", said.stderr);
    }
    assert_eq!(databases(&there), "postgres");

    // Where it is, all comes back; and what the hints say works.
    let said = restore("shop", &home, &[]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let said = desk.davit(&["verify", "shop@latest", "--depth", "restored", "--into", &home.url("postgres")]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    there.psql("postgres", "CREATE DATABASE copy");
    let said = desk.davit(&["export", "shop@latest"]);
    desk.write("shop.sql", &said.stdout);
    let loaded = there.psql_command("copy").arg("-f").arg(desk.path().join("shop.sql")).output().unwrap();
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    assert_eq!(there.psql("copy", "SELECT count(*) FROM words"), "3");
    let url = there.url("copy");
    let said = desk.davit(&["restore", "wiki@latest", "--into", &url, "--table", "plain"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
}
