//! Reading from a real standby.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use davit::postgres::{ConnInfo, Fault, PgEnvironment, Session, catalog, classify, connect};
use std::time::Duration;
use support::postgres::PgServer;

async fn session(text: &str) -> Session {
    connect(&ConnInfo::parse(text, &PgEnvironment::default()).unwrap(), "test").await.unwrap()
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_standby_is_the_same_cluster_and_says_how_it_treats_readers() {
    let primary = PgServer::start();
    primary.psql("postgres", "CREATE SEQUENCE counter; CREATE UNLOGGED SEQUENCE fleeting; SELECT nextval('counter')");
    let standby = primary.standby(&["max_standby_streaming_delay=7s", "max_standby_archive_delay=-1"]);
    let (there, here) = (session(&primary.url("postgres")).await, session(&standby.url("postgres")).await);
    assert!(here.is_standby() && !there.is_standby());
    assert_eq!(catalog::identity(&here).await.unwrap(), catalog::identity(&there).await.unwrap());
    assert!(catalog::lsn(&here).await.unwrap().unwrap().contains('/'));
    assert_eq!(catalog::standby(&there).await.unwrap(), None);
    let facts = catalog::standby(&here).await.unwrap().unwrap();
    assert_eq!((facts.delay_max, facts.archive_delay_max, facts.feedback), (Some(Duration::from_secs(7)), None, false));
    let sequences = catalog::sequences(&here).await.unwrap();
    assert_eq!(sequences.len(), 2);
    let values = catalog::sequence_values(&here, &sequences).await.unwrap();
    assert_eq!(values.iter().map(|value| value.name.as_str()).collect::<Vec<_>>(), ["counter"]);

    let both = format!("host=127.0.0.1,127.0.0.1 port={},{} user=postgres", standby.port, primary.port);
    let wanted = |target: &str| format!("{both} target_session_attrs={target}");
    assert_eq!(session(&wanted("read-write")).await.conn().describe(), there.conn().describe());
    assert_eq!(session(&wanted("standby")).await.conn().describe(), here.conn().describe());
    assert_eq!(session(&wanted("prefer-standby")).await.conn().describe(), here.conn().describe());
    assert_eq!(session(&wanted("any")).await.conn().describe(), here.conn().describe());
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_reader_that_replay_pushed_aside_is_told_so() {
    // An automatic worker with an older snapshot would keep the rows that VACUUM is to take.
    let primary = PgServer::start_with(15, &["autovacuum=off"]);
    primary.psql("postgres", "CREATE TABLE rows AS SELECT i FROM generate_series(1, 100) i");
    let standby = primary.standby(&["max_standby_streaming_delay=50ms"]);
    let reader = session(&standby.url("postgres")).await;
    support::wait_until(20, "the rows on the standby", || {
        standby.psql("postgres", "SELECT to_regclass('rows')") == "rows"
    });
    reader.execute("", "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM rows").await.unwrap();
    primary.psql("postgres", "DELETE FROM rows");
    primary.psql("postgres", "VACUUM rows");
    let error = reader.client.batch_execute("SELECT pg_sleep(60)").await.unwrap_err();
    assert_eq!(classify(&error), Fault::StandbyConflict);
    let explained = reader.explain(&error, "reading rows");
    assert!(explained.hint_text().unwrap().contains("max_standby_streaming_delay"), "{explained:?}");
}
