//! Backups with no more than one of the two grants that our own hint names: what they hold, what they cannot hold, and where
//! that is said.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod cli_support;
mod support;

use cli_support::Desk;
use serde_json::Value;
use support::postgres::PgServer;
use support::shop;

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
#[ignore = "needs PostgreSQL servers: make test"]
fn either_grant_of_the_hint_is_enough_and_a_restore_says_whose_passwords_could_not_be_read() {
    let server = shop::open();
    server.psql(
        "shop",
        "CREATE ROLE app LOGIN PASSWORD 'secret'; CREATE ROLE team; GRANT team TO app; CREATE ROLE keeper LOGIN;
         CREATE ROLE grantee LOGIN;
         CREATE SCHEMA odd AUTHORIZATION app; CREATE TABLE odd.things (id bigserial PRIMARY KEY, note text);
         INSERT INTO odd.things (note) SELECT 'thing ' || g FROM generate_series(1, 50) g;
         ALTER TABLE odd.things OWNER TO app; ALTER TABLE orders OWNER TO team",
    );
    let desk = Desk::with_repository();
    let url = |role: &str| server.url("shop").replace("postgres@", &format!("{role}@"));
    for role in ["keeper", "grantee"] {
        let refused = desk.davit(&["backup", &url(role)]);
        assert!(refused.code == 3 && refused.stderr.contains("GRANT pg_read_all_data"), "{refused:?}");
    }
    let no_warnings = (0, Value::from(Vec::<Value>::new()));
    // Whoever reads all data reads passwords, too.
    server.psql("postgres", "GRANT pg_read_all_data TO keeper");
    let (code, full) = desk.json(&["backup", &url("keeper")]);
    assert_eq!((code, full["warnings"].clone()), no_warnings, "{full:#}");
    let other = PgServer::start();
    let into = other.url("shop");
    let (code, done) = desk.json(&["restore", "shop@latest", "--into", &into, "--create", "--with-globals"]);
    assert_eq!((code, done["notes"].clone()), no_warnings, "{done:#}");
    assert_eq!(shop::digest(&other, "shop"), shop::digest(&server, "shop"));
    let password = "SELECT rolcanlogin, rolpassword IS NULL FROM pg_authid WHERE rolname = 'app'";
    assert_eq!(other.psql("postgres", password), "t|f");

    for schema in ["public", "odd"] {
        let all = format!("IN SCHEMA {schema} TO grantee");
        server.psql("shop", &format!("GRANT USAGE ON SCHEMA {schema} TO grantee; GRANT SELECT ON ALL TABLES {all}"));
        server.psql("shop", &format!("GRANT SELECT ON ALL SEQUENCES {all}"));
    }
    let (code, made) = desk.json(&["backup", &url("grantee")]);
    assert_eq!(code, 0, "{made:#}");
    let hidden = "the passwords of roles cannot be read with this account and are not in the backup";
    assert!(texts(&made["warnings"]).iter().any(|text| text.starts_with(hidden)), "{made:#}");
    assert_eq!((&made["tables"], &made["sequences"]), (&Value::from(3), &Value::from(1)), "{made:#}");

    // Where nobody is known the roles come with it; who needs a password is named before and after.
    let other = PgServer::start();
    let into = other.url("shop");
    let restore = ["restore", "shop@latest", "--into", &into, "--create", "--with-globals"];
    let (code, planned) = desk.json(&[&restore[..], &["--dry-run"]].concat());
    assert_eq!(code, 0, "{planned:#}");
    let named =
        |list: &Value| texts(list).iter().filter(|text| text.contains("without one: app, grantee, keeper;")).count();
    assert_eq!(named(&planned["warnings"]), 1, "{planned:#}");
    let (code, done) = desk.json(&restore);
    assert_eq!((code, named(&done["notes"])), (0, 1), "{done:#}");
    assert_eq!(shop::digest(&other, "shop"), shop::digest(&server, "shop"));
    let things = "SELECT count(*), max(id), (SELECT last_value FROM odd.things_id_seq) FROM odd.things";
    assert_eq!(other.psql("shop", things), "50|50|50");
    assert_eq!(other.psql("postgres", password), "t|t");
    assert_eq!(other.psql("postgres", "SELECT pg_has_role('app', 'team', 'member')"), "t");

    // Roles that are there keep the passwords they have, and nothing is said of them.
    let again = ["restore", "shop@latest", "--into", &other.url("again"), "--create", "--with-globals"];
    let (code, done) = desk.json(&again);
    assert_eq!((code, done["notes"].clone()), no_warnings, "{done:#}");
}
