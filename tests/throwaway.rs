//! Throw-away servers: private while they live, and gone afterwards however their davit ended.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "the process to be killed learns by a variable where to work")]

mod support;

use davit::clock::SystemClock;
use davit::error::{Error, Kind};
use davit::postgres::connect;
use davit::postgres::throwaway::{Egress, Server, ThrowawayOptions, remove_leftovers};
use davit::postgres::tools::Tools;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use tokio_util::sync::CancellationToken;

const KILLED_IN: &str = "DAVIT_TEST_KILLED_IN";

fn options(major: u32, parent: &Path) -> ThrowawayOptions {
    let tools = Tools::find_server(major, &[support::postgres::bin_dir(major)], None).unwrap();
    assert_eq!(tools.version().major, major);
    ThrowawayOptions::new(tools, parent, SystemClock::shared(), CancellationToken::new())
}

fn parent() -> tempfile::TempDir {
    let parent = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(parent.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    parent
}

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

async fn refusal(options: ThrowawayOptions) -> Error {
    Server::start(options).await.map(|server| server.pid()).unwrap_err()
}

#[tokio::test]
#[ignore = "needs PostgreSQL servers: make test"]
async fn a_server_of_each_major_is_reached_by_its_socket_only_and_leaves_nothing() {
    for major in [14, 15, 16, 17, 18] {
        let parent = parent();
        let server = Server::start(options(major, parent.path())).await.unwrap();
        let session = connect(server.conn(), "test").await.unwrap();
        assert_eq!(session.major(), major);
        let facts = session
            .row("", "SELECT current_setting('listen_addresses'), current_user::text, current_setting('TimeZone')", &[])
            .await
            .unwrap();
        assert_eq!((facts.get::<_, String>(0), facts.get::<_, String>(1)), (String::new(), "davit".into()));
        let data = server.data_directory();
        assert_eq!(data.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        if support::process::is_root() {
            assert_ne!(data.metadata().unwrap().uid(), 0);
            assert_eq!(server.account(), "nobody");
        }
        let pid = server.pid().unwrap();
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(!environment.contains("CARGO") && !environment.contains("/root"), "{environment}");
        session.close().await;
        server.stop().await.unwrap();
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert_eq!(entries(parent.path()), 0);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15: make test"]
async fn code_in_the_server_sees_no_network_where_the_kernel_allows() {
    let parent = parent();
    let server = Server::start(options(15, parent.path())).await.unwrap();
    let session = connect(server.conn(), "test").await.unwrap();
    session
        .execute("", "CREATE TABLE seen (line text); COPY seen FROM PROGRAM 'tail -n +3 /proc/net/dev'")
        .await
        .unwrap();
    let devices = session.texts("", "SELECT split_part(ltrim(line), ':', 1) FROM seen").await.unwrap();
    match server.egress() {
        Egress::Cut => assert_eq!(devices, [[Some("lo".to_owned())]]),
        Egress::Open(why) => assert!(!why.is_empty()),
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_wrong_password_does_not_get_in() {
    let parent = parent();
    let server = Server::start(options(15, parent.path())).await.unwrap();
    let wrong = server.conn().with_user("davit", Some(&davit::secret::Secret::new("guess")));
    assert!(connect(&wrong, "test").await.map(|_| ()).unwrap_err().to_string().contains("28P01"));
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15: make test"]
async fn what_the_machine_lacks_is_undecided_by_name() {
    let parent = parent();
    let mut wanted = options(15, parent.path());
    wanted.locale.collate = "tlh_KX.UTF-8".into();
    let error = refusal(wanted).await;
    assert_eq!(error.kind(), Kind::Undecided);
    assert!(error.to_string().contains("lacks the locale tlh_KX.UTF-8"), "{error}");
    let mut wanted = options(15, parent.path());
    wanted.room_bytes = u64::MAX;
    assert_eq!(refusal(wanted).await.kind(), Kind::Undecided);
    let mut wanted = options(15, parent.path());
    wanted.settings.push(("shared_preload_libraries".into(), "no_such_library".into()));
    let error = refusal(wanted).await;
    assert!(error.to_string().contains("no_such_library"), "{error}");
    assert_eq!(entries(parent.path()), 0, "a failed start leaves nothing");
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_start_that_is_given_up_or_cancelled_leaves_nothing() {
    let parent = parent();
    let starting = Server::start(options(15, parent.path()));
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(300), starting).await;
    drop(given_up);
    let cancelled = options(15, parent.path());
    cancelled.cancel.cancel();
    assert_eq!(refusal(cancelled).await.kind(), Kind::Failed);
    assert_eq!(entries(parent.path()), 0);
}

/// Not a test by itself: the process that the next test kills.
#[tokio::test]
#[ignore = "is run by the test of killed processes"]
async fn victim() {
    let Ok(parent) = std::env::var(KILLED_IN) else { return };
    let server = Server::start(options(15, Path::new(&parent))).await.unwrap();
    std::fs::write(Path::new(&parent).join("pid"), server.pid().unwrap().to_string()).unwrap();
    std::future::pending::<()>().await;
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_killed_davit_takes_its_server_along_and_the_next_one_clears_the_directory() {
    let parent = parent();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "victim"])
        .env(KILLED_IN, parent.path())
        .spawn()
        .unwrap();
    let pid_file = parent.path().join("pid");
    support::wait_until(60, "the victim's server", || std::fs::read_to_string(&pid_file).is_ok_and(|t| !t.is_empty()));
    let server = std::fs::read_to_string(&pid_file).unwrap();
    assert_eq!(remove_leftovers(parent.path()).len(), 0, "its davit lives");
    victim.kill().unwrap();
    victim.wait().unwrap();
    support::wait_until(20, "the end of the orphaned server", || {
        std::fs::read_to_string(format!("/proc/{server}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
    assert_eq!(remove_leftovers(parent.path()).len(), 1);
    assert_eq!(entries(parent.path()), 1, "only the victim's note is left");
}
