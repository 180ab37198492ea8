use super::*;
use crate::error::Kind;
use std::os::unix::fs::PermissionsExt;

fn environment(vars: &[(&str, &str)], home: Option<&Path>) -> PgEnvironment {
    PgEnvironment {
        vars: vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        home: home.map(Path::to_owned),
    }
}

fn parse(text: &str) -> ConnInfo {
    ConnInfo::parse(text, &environment(&[("PGUSER", "me")], None)).unwrap()
}

fn refusal(text: &str) -> crate::error::Error {
    ConnInfo::parse(text, &environment(&[("PGUSER", "me")], None)).unwrap_err()
}

fn child(conn: &ConnInfo, name: &str) -> Option<String> {
    conn.child_environment().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

#[test]
fn what_is_written_wins_over_the_environment_and_the_rest_comes_from_there() {
    let env = environment(&[("PGUSER", "app"), ("PGHOST", "db1"), ("PGPORT", "6000"), ("PGPASSWORD", "env")], None);
    let conn = ConnInfo::parse("postgres://db2/shop", &env).unwrap();
    assert_eq!(conn.describe(), "postgres://app@db2:6000/shop");
    assert_eq!(child(&conn, "PGPASSWORD").as_deref(), Some("env"));
}

#[test]
fn the_database_is_called_like_the_user_where_none_is_named() {
    assert_eq!(parse("postgres://app@db").database(), "app");
    assert_eq!(parse("").database(), "me");
}

#[test]
fn the_description_and_debug_output_hold_no_password() {
    let conn = parse("postgres://me:hunter2@db/my%20shop");
    assert_eq!(conn.describe(), "postgres://me@db:5432/my%20shop");
    assert!(!format!("{conn:?}").contains("hunter2"));
    assert_eq!(child(&conn, "PGPASSWORD").as_deref(), Some("hunter2"));
}

#[test]
fn several_hosts_keep_their_own_ports() {
    let conn = parse("postgres://a:1,[::1]:2,c/x");
    assert_eq!(conn.describe(), "postgres://me@a:1,[::1]:2,c:5432/x");
    assert_eq!(child(&conn, "PGHOST").as_deref(), Some("a,::1,c"));
    assert_eq!(child(&conn.pinned(1), "PGPORT").as_deref(), Some("2"));
    assert_eq!(parse("host=a,b port=7").describe(), "postgres://me@a:7,b:7/me");
    assert_eq!(refusal("host=a,b,c port=7,8").kind(), Kind::Input);
}

#[test]
fn a_directory_as_host_is_a_unix_socket() {
    for text in ["postgres:///x?host=/run/pg&port=6", "postgres://%2Frun%2Fpg:6/x", "host=/run/pg port=6 dbname=x"] {
        assert_eq!(parse(text).describe(), "postgres://me@/x?host=/run/pg&port=6", "{text}");
    }
}

#[test]
fn the_password_file_is_asked_per_host() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".pgpass");
    std::fs::write(&file, "a:*:*:me:one\nb:*:*:me:two\nlocalhost:*:*:me:three\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let env = environment(&[("PGUSER", "me")], Some(home.path()));
    let conn = ConnInfo::parse("host=a,b,/tmp,d", &env).unwrap();
    let passwords: Vec<_> = conn.hosts.iter().map(|h| h.password.as_ref().map(|p| p.reveal().to_owned())).collect();
    assert_eq!(passwords, [Some("one".to_owned()), Some("two".to_owned()), Some("three".to_owned()), None]);

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let conn = ConnInfo::parse("host=a", &env).unwrap();
    assert_eq!(conn.hosts[0].password, None);
    assert!(conn.passfile_note.unwrap().contains("chmod 0600"));
}

#[test]
fn a_service_gives_what_the_text_leaves_open() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".pg_service.conf"), "[shop]\nhost=db\nuser=svc\ndbname=shop\n").unwrap();
    let env = environment(&[("PGSERVICE", "shop"), ("PGUSER", "env")], Some(home.path()));
    assert_eq!(ConnInfo::parse("", &env).unwrap().describe(), "postgres://svc@db:5432/shop");
    assert_eq!(ConnInfo::parse("user=me", &env).unwrap().describe(), "postgres://me@db:5432/shop");
    assert_eq!(ConnInfo::parse("service=shoop", &env).unwrap_err().hint_text(), Some("did you mean service=shop?"));
}

#[test]
fn verification_needs_roots_and_public_roots_need_full_verification() {
    assert_eq!(refusal("host=db sslmode=verify-full").kind(), Kind::Input);
    assert_eq!(refusal("host=db sslmode=require sslrootcert=system").kind(), Kind::Input);
    let conn = parse("host=db sslrootcert=system");
    assert_eq!(conn.tls.mode, SslMode::VerifyFull);
    let conn = parse("host=db sslmode=verify-ca sslrootcert=/ca.pem sslcert=/c.pem sslkey=/k.pem");
    assert_eq!(child(&conn, "PGSSLROOTCERT").as_deref(), Some("/ca.pem"));
    assert_eq!(child(&conn, "PGSSLKEY").as_deref(), Some("/k.pem"));
    assert_eq!(refusal("host=db sslcert=/c.pem").hint_text(), Some("add sslkey=FILE"));
}

#[test]
fn wrong_values_are_named_with_the_nearest_right_one() {
    assert_eq!(refusal("host=db sslmode=verfy-full").hint_text(), Some("did you mean sslmode=verify-full?"));
    assert_eq!(refusal("host=db connect_timeout=soon").kind(), Kind::Input);
    assert_eq!(refusal("host=db port=0").kind(), Kind::Input);
    assert_eq!(refusal("hostaddr=db").hint_text(), Some("a host name goes into host"));
    assert_eq!(refusal("host=db gssencmode=require").kind(), Kind::Input);
}

#[test]
fn a_connect_timeout_of_zero_waits_for_ever_and_one_second_is_two() {
    assert_eq!(parse("host=db connect_timeout=0").connect_timeout, None);
    assert_eq!(parse("host=db connect_timeout=1").connect_timeout, Some(Duration::from_secs(2)));
    assert_eq!(parse("host=db").connect_timeout, Some(resolve::CONNECT_TIMEOUT));
}

proptest::proptest! {
    #[test]
    fn a_description_reads_back_as_the_same_connection(
        user in "[^\\x00]{1,12}", database in "[^\\x00]{1,12}", directory in "/[^\\x00,]{0,12}", port in 1_u16..,
    ) {
        let quote = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
        let (user, database, directory) = (quote(&user), quote(&database), quote(directory.trim_end()));
        let text = format!("user='{user}' dbname='{database}' host='{directory}' port={port}");
        let conn = parse(&text);
        proptest::prop_assert_eq!(&parse(&conn.describe()), &conn);
    }

    #[test]
    fn no_text_is_too_strange_to_be_judged_without_showing_its_password(text in "(postgres://)?[^a-z]{0,40}(sekrit)?[^a-z]{0,40}") {
        if let Err(error) = ConnInfo::parse(&text, &environment(&[("PGUSER", "me")], None)) {
            proptest::prop_assert!(!format!("{error:?}").contains("sekrit"), "{:?}", error);
        }
    }
}
