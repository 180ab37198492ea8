//! TLS to real servers: each `sslmode` lets through what libpq lets through, and no more.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use davit::error::{Error, Kind};
use davit::postgres::{ConnInfo, PgEnvironment, Session, connect};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;
use support::pki::Pki;
use support::postgres::PgServer;

/// Lets the server show this certificate.
fn install(pki: &Pki, server: &PgServer, name: &str, hba: &str) {
    let data = server.data();
    let owner = data.metadata().unwrap();
    let files =
        [(format!("{name}.pem"), "server.crt"), (format!("{name}.key"), "server.key"), ("ca.pem".into(), "root.crt")];
    for (from, to) in files {
        let to = data.join(to);
        std::fs::copy(pki.path(&from), &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    std::fs::write(data.join("pg_hba.conf"), format!("{hba}\nhost all postgres 127.0.0.1/32 trust\n")).unwrap();
    server.psql("postgres", "ALTER SYSTEM SET ssl = on");
    server.psql("postgres", "ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
    server.psql("postgres", "SELECT pg_reload_conf()");
    support::wait_until(10, "TLS being on", || {
        let offered = server.psql_command("postgres").env("PGSSLMODE", "require").args(["-c", "SELECT 1"]).output();
        offered.unwrap().status.success()
    });
}

fn at(server: &PgServer, more: &str) -> String {
    format!("host=db.test hostaddr=127.0.0.1 port={} user=postgres dbname=postgres {more}", server.port)
}

async fn try_it(text: &str) -> Result<Session, Error> {
    connect(&ConnInfo::parse(text, &PgEnvironment::default())?, "tls").await
}

async fn encrypted(text: &str) -> bool {
    let session = try_it(text).await.unwrap();
    let rows = session.texts("", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await.unwrap();
    rows[0][0].as_deref() == Some("t")
}

async fn refused(text: &str) -> Error {
    try_it(text).await.map(|_| ()).unwrap_err()
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15 and openssl: make test"]
async fn each_mode_checks_what_it_promises() {
    let (server, pki) = (PgServer::start(), Pki::new());
    assert!(!encrypted(&at(&server, "sslmode=prefer")).await, "the server has no TLS yet");
    assert!(refused(&at(&server, "sslmode=require")).await.hint_text().unwrap().contains("ssl=off"));
    install(&pki, &server, "server", "");
    let (ca, other) = (pki.path("ca.pem"), pki.path("other.pem"));
    let (ca, other) = (ca.display(), other.display());
    assert!(!encrypted(&at(&server, "sslmode=disable")).await);
    assert!(!encrypted(&at(&server, "sslmode=allow")).await);
    assert!(encrypted(&at(&server, "sslmode=prefer")).await);
    assert!(encrypted(&at(&server, "sslmode=require")).await);
    assert!(encrypted(&at(&server, &format!("sslmode=verify-full sslrootcert={ca}"))).await);
    assert!(
        encrypted(&at(&server, &format!("sslmode=verify-full sslrootcert={ca} ssl_min_protocol_version=TLSv1.3")))
            .await
    );
    assert!(
        encrypted(&at(&server, &format!("sslmode=require sslrootcert={ca} ssl_max_protocol_version=TLSv1.2"))).await
    );

    let nameless =
        |mode: &str| format!("hostaddr=127.0.0.1 port={} user=postgres sslmode={mode} sslrootcert={ca}", server.port);
    let error = refused(&nameless("verify-full")).await;
    assert!(error.hint_text().unwrap().contains("another name"), "{error:?}");
    assert!(encrypted(&nameless("verify-ca")).await);
    for mode in ["verify-full", "verify-ca", "require"] {
        let error = refused(&at(&server, &format!("sslmode={mode} sslrootcert={other}"))).await;
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.hint_text().unwrap().contains("not issued by a root"), "{mode}: {error:?}");
    }
    let error = refused(&at(&server, "sslrootcert=system")).await;
    assert!(error.hint_text().unwrap().contains("not issued by a root"), "{error:?}");
    let error = refused(&at(&server, "sslmode=verify-ca sslrootcert=/nonexistent/ca.pem")).await;
    assert!(error.to_string().contains("/nonexistent/ca.pem"), "{error}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15 and openssl: make test"]
async fn a_self_signed_certificate_is_trusted_where_it_is_the_root_and_a_revoked_one_is_not() {
    let (server, pki) = (PgServer::start(), Pki::new());
    install(&pki, &server, "self", "");
    let own = pki.path("self.pem");
    assert!(encrypted(&at(&server, &format!("sslmode=verify-full sslrootcert={}", own.display()))).await);
    let wrong_name = format!(
        "hostaddr=127.0.0.1 port={} user=postgres sslmode=verify-full sslrootcert={}",
        server.port,
        own.display()
    );
    assert!(refused(&wrong_name).await.hint_text().unwrap().contains("another name"));

    install(&pki, &server, "server", "");
    std::fs::write(pki.path("index.txt"), "").unwrap();
    std::fs::write(pki.path("number"), "01\n").unwrap();
    let settings = "[ca]\ndefault_ca=c\n[c]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\n\
                    default_crl_days=9\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n";
    std::fs::write(pki.path("ca.cnf"), settings).unwrap();
    let crl = |pki: &Pki| {
        pki.openssl("ca -config ca.cnf -gencrl -keyfile ca.key -cert ca.pem -out ca.crl");
        at(
            &server,
            &format!(
                "sslmode=verify-full sslrootcert={} sslcrl={}",
                pki.path("ca.pem").display(),
                pki.path("ca.crl").display()
            ),
        )
    };
    assert!(encrypted(&crl(&pki)).await, "an empty list revokes nothing");
    pki.openssl("ca -config ca.cnf -revoke server.pem -keyfile ca.key -cert ca.pem");
    let error = refused(&crl(&pki)).await;
    assert!(error.to_string().to_lowercase().contains("revoked"), "{error}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15 and openssl: make test"]
async fn a_client_certificate_opens_the_door_for_us_and_for_our_tools() {
    let (server, pki) = (PgServer::start(), Pki::new());
    server.psql("postgres", "CREATE ROLE app LOGIN");
    install(&pki, &server, "server", "hostssl all app 127.0.0.1/32 cert");
    let of_app = |more: &str| {
        at(&server, &format!("user=app sslmode=verify-full sslrootcert={} {more}", pki.path("ca.pem").display()))
    };
    let with_key =
        of_app(&format!("sslcert={} sslkey={}", pki.path("app.pem").display(), pki.path("app.key").display()));
    let session = try_it(&with_key).await.unwrap();
    assert_eq!(session.conn().user(), "app");
    let mut psql = Command::new(support::postgres::bin_dir(15).join("psql"));
    let output = psql
        .env_clear()
        .envs(session.conn().child_environment())
        .args(["-X", "-A", "-t", "-c", "SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "app|t", "{}", String::from_utf8_lossy(&output.stderr));

    assert!(refused(&of_app("")).await.to_string().contains("certificate"));
    std::fs::set_permissions(pki.path("app.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = refused(&with_key).await;
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.hint_text().unwrap().starts_with("chmod 0600"), "{error:?}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15 and openssl: make test"]
async fn passwords_can_be_bound_to_the_channel_and_plain_or_encrypted_is_found_by_trying() {
    let (server, pki) = (PgServer::start(), Pki::new());
    server
        .psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'right'; CREATE ROLE plain LOGIN; CREATE ROLE secret LOGIN");
    install(
        &pki,
        &server,
        "server",
        "host all app 127.0.0.1/32 scram-sha-256\nhostnossl all plain 127.0.0.1/32 trust\nhostssl all secret 127.0.0.1/32 trust",
    );
    let bound = at(&server, "user=app password=right channel_binding=require");
    assert!(encrypted(&format!("{bound} sslmode=require")).await);
    let error = refused(&format!("{bound} sslmode=disable")).await;
    assert!(error.to_string().contains("channel binding"), "{error}");
    assert!(!encrypted(&at(&server, "user=plain sslmode=prefer")).await);
    assert!(encrypted(&at(&server, "user=secret sslmode=allow")).await);
    assert!(refused(&at(&server, "user=plain sslmode=require")).await.hint_text().unwrap().contains("pg_hba.conf"));
}

#[tokio::test]
#[ignore = "needs PostgreSQL 17 and openssl: make test"]
async fn a_query_is_cancelled_over_tls_negotiated_or_direct() {
    let (server, pki) = (PgServer::start_with(17, &[]), Pki::new());
    install(&pki, &server, "server", "");
    for negotiation in ["postgres", "direct"] {
        let roots = format!("sslmode=verify-full sslrootcert={}", pki.path("ca.pem").display());
        let session = try_it(&at(&server, &format!("{roots} sslnegotiation={negotiation}"))).await.unwrap();
        let canceller = session.canceller();
        let sleeping = session.execute("sleeping", "SELECT pg_sleep(1000)");
        let cancelling = async {
            let other = connect(session.conn(), "look").await.unwrap();
            let pid = session.backend_pid();
            let busy = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'");
            while other.texts("", &busy).await.unwrap().is_empty() {}
            canceller.cancel().await.unwrap();
        };
        let (slept, ()) = tokio::join!(sleeping, cancelling);
        assert!(slept.unwrap_err().to_string().contains("57014"), "{negotiation}");
    }
}
