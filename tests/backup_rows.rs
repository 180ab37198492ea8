//! Rows on their way out of a server: whole, in order, over every kind of connection, and with an end that is told.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use davit::postgres::tap::RowSink;
use davit::postgres::{ConnInfo, PgEnvironment, Session, connect};
use std::process::Command;
use std::task::{Context, Poll};
use support::postgres::PgServer;

/// Keeps what it is given.
#[derive(Debug, Default)]
struct Text(Vec<u8>);

impl RowSink for Text {
    fn poll_room(&mut self, left: usize, _fresh: bool, _cx: &mut Context<'_>) -> Poll<usize> {
        Poll::Ready(left)
    }

    fn put(&mut self, piece: &[u8], _last: bool) {
        self.0.extend_from_slice(piece);
    }
}

async fn session(url: &str) -> Session {
    let conn = ConnInfo::parse(url, &PgEnvironment::default()).unwrap();
    connect(&conn, "test").await.unwrap()
}

fn with_certificate(server: &mut PgServer) {
    let (certificate, key) = (server.data().join("server.crt"), server.data().join("server.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout"]);
    assert!(openssl.arg(&key).arg("-out").arg(&certificate).output().unwrap().status.success());
    assert!(Command::new("chmod").arg("600").arg(&key).status().unwrap().success());
    assert!(Command::new("chown").arg("postgres").arg(&key).arg(&certificate).status().unwrap().success());
    server.stop();
    server.launch(&["ssl=on"]);
}

const MANY: &str = "COPY (SELECT i, repeat('x', i % 3000) FROM generate_series(1, 20000) i) TO STDOUT";

fn many() -> String {
    let lines: Vec<String> = (1..=20000).map(|i| format!("{i}\t{}", "x".repeat(i % 3000))).collect();
    lines.join("\n") + "\n"
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: make test"]
async fn rows_come_whole_over_tcp_a_unix_socket_and_tls() {
    let mut server = PgServer::start();
    with_certificate(&mut server);
    let urls = [
        format!("{}?sslmode=disable", server.url("postgres")),
        format!("{}?sslmode=prefer", server.url("postgres")),
        format!("{}?sslmode=require", server.url("postgres")),
        format!("postgres://postgres@/postgres?host={}&port={}", server.socket_dir().display(), server.port),
    ];
    for url in urls {
        let session = session(&url).await;
        for _ in 0..2 {
            let (text, rows) = session.copy_out("reading rows", MANY, Text::default()).await.unwrap();
            assert_eq!(rows, 20000, "{url}");
            assert!(text.0 == many().as_bytes(), "{url}: the text differs");
        }
        let tls = session.texts("asking", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await.unwrap();
        assert_eq!(
            tls[0][0].as_deref(),
            Some(if url.contains("require") || url.contains("prefer") { "t" } else { "f" })
        );
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_copy_that_fails_half_way_is_an_error_and_the_session_goes_on() {
    let server = PgServer::start();
    let session = session(&server.url("postgres")).await;
    let broken = "COPY (SELECT 1000 / (10000 - i) FROM generate_series(1, 20000) i) TO STDOUT";
    let error = session.copy_out("reading rows", broken, Text::default()).await.unwrap_err();
    assert!(error.to_string().contains("division by zero"), "{error}");
    assert_eq!(session.copy_out("reading rows", MANY, Text::default()).await.unwrap().1, 20000);
    assert_eq!(session.texts("asking", "SELECT 1").await.unwrap()[0][0].as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_canceller_ends_a_copy_on_the_server() {
    let mut server = PgServer::start();
    with_certificate(&mut server);
    for mode in ["disable", "require"] {
        let session = session(&format!("{}?sslmode={mode}", server.url("postgres"))).await;
        let canceller = session.canceller();
        let endless = "COPY (SELECT pg_sleep(0.01) FROM generate_series(1, 1000000)) TO STDOUT";
        let copying = session.copy_out("reading rows", endless, Text::default());
        let cancelling = async {
            // Its text is there as soon as it is parsed; a cancellation would then meet an idle session.
            let running = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            // The copy goes on between two looks: it is polled by the same task.
            while server.psql("postgres", running) != "1" {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            canceller.cancel().await
        };
        let (rows, sent) = tokio::join!(copying, cancelling);
        sent.unwrap();
        assert!(rows.unwrap_err().to_string().contains("57014"));
    }
}
