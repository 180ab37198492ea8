//! The test servers themselves: a broken one would make every other live test meaningless.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use support::pgbouncer::PgBouncer;
use support::postgres::PgServer;
use support::s3::S3;

#[test]
#[ignore = "needs PostgreSQL servers: make test"]
fn every_supported_major_answers_as_itself() {
    for major in [14, 15, 16, 17, 18] {
        let server = PgServer::start_with(major, &[]);
        let version: u32 = server.psql("postgres", "SHOW server_version_num").parse().unwrap();
        assert_eq!(version / 10_000, major);
    }
}

#[test]
#[ignore = "needs a PostgreSQL server and PgBouncer: make test"]
fn a_pooler_passes_queries_on() {
    let server = PgServer::start();
    let pooler = PgBouncer::start(&server, "transaction");
    let output =
        std::process::Command::new("psql").args(["-XAtc", "SELECT 42", &pooler.url("postgres")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "42", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "needs an S3 server: make test"]
fn a_locking_bucket_keeps_versions() {
    let s3 = S3::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        s3.locking_bucket("locked").await;
        let versioning = s3.client().get_bucket_versioning().bucket("locked").send().await.unwrap();
        assert_eq!(versioning.status().unwrap().as_str(), "Enabled");
    });
}
