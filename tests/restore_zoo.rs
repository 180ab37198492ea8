//! A database with one of everything is restored and is the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod restore_support;
mod support;

use davit::backup::restore::{self, Existing, Proof, Wanted};
use restore_support::{back_up, conn, zoo_server};
use support::postgres::{PgServer, bin_dir};

/// Definitions in their order and rows in any, as stock `pg_dump` sees them.
fn dump(server: &PgServer, database: &str) -> (Vec<String>, Vec<String>) {
    let output = std::process::Command::new(bin_dir(15).join("pg_dump"))
        .args(["--inserts", "--create", "-d", &server.url(database)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap().replace(database, "DATABASE");
    let lines = text.lines().filter(|line| !line.contains("restrict ")).map(str::to_owned);
    let (mut rows, definitions): (Vec<String>, Vec<String>) = lines.partition(|line| line.starts_with("INSERT "));
    rows.sort();
    (definitions, rows)
}

fn assert_same(server: &PgServer, one: &str, other: &str) {
    let (one, other) = (dump(server, one), dump(server, other));
    for (left, right) in [(one.0, other.0), (one.1, other.1)] {
        for (number, pair) in left.iter().zip(&right).enumerate() {
            assert_eq!(pair.0, pair.1, "line {}", number + 1);
        }
        assert_eq!(left.len(), right.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn everything_a_database_can_hold_comes_back() {
    let server = zoo_server();
    for sql in [
        "ALTER DATABASE menagerie SET work_mem = '7MB'",
        "GRANT CONNECT ON DATABASE menagerie TO zoo_reader",
        "COMMENT ON DATABASE menagerie IS 'animals'",
        "ALTER DATABASE menagerie OWNER TO zoo_owner",
        "ALTER ROLE zoo_reader IN DATABASE menagerie SET jit = off",
        "ALTER DATABASE menagerie CONNECTION LIMIT 17",
    ] {
        server.psql("postgres", sql);
    }
    let made = back_up(&server, "menagerie").await;
    for (jobs, proof) in [(1, Proof::Sent), (4, Proof::ReadBack)] {
        let means = made.means(jobs);
        let name = format!("again{jobs}");
        let wanted = Wanted { existing: Existing::Create, proof, ..Wanted::default() };
        let plan =
            restore::plan(&means, &"menagerie@latest".parse().unwrap(), &conn(&server, &name), wanted).await.unwrap();
        let report = restore::run(&means, plan).await.unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!((report.verified, report.lost.len()), (proof, 0));
        assert_same(&server, "menagerie", &name);
    }
}
