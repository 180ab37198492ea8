use super::*;
use crate::postgres::PgEnvironment;

fn table(name: &str, access: Access) -> Table {
    Table {
        oid: 1,
        schema: "public".into(),
        name: name.into(),
        kind: TableKind::Ordinary,
        owner: String::new(),
        unlogged: false,
        access_method: Some("heap".into()),
        partition: false,
        parents: Vec::new(),
        of_type: None,
        columns: Vec::new(),
        generated: Vec::new(),
        filenode: Some(1),
        pages_estimate: 1,
        rows_estimate: None,
        index_count: 3,
        access,
        extension: None,
    }
}

fn request() -> Request {
    let conn = ConnInfo::parse("postgres://u@localhost/shop", &PgEnvironment::default()).unwrap();
    Request::new("shop".parse().unwrap(), conn)
}

fn budget(total: u64, connections_free: u64) -> LockBudget {
    LockBudget { per_transaction: 64, total, used: 0, connections: 100, connections_used: 100 - connections_free }
}

#[test]
fn a_table_whose_rows_would_be_hidden_or_denied_is_refused_by_name_unless_it_is_left_out() {
    let tables = [table("open", Access::Full), table("secret", Access::RowsHidden), table("closed", Access::Denied)];
    let error = refuse_unreadable(&tables, &request(), false).unwrap_err();
    assert_eq!(error.to_string(), "reading \"public\".\"secret\": row security would hide rows from us");
    assert_eq!(error.kind().exit_code(), 3);
    let mut request = request();
    request.exclude = vec!["secret".parse().unwrap()];
    let error = refuse_unreadable(&tables, &request, false).unwrap_err();
    assert_eq!(error.to_string(), "reading \"public\".\"closed\": no privilege");
    request.exclude_rows = vec!["closed".parse().unwrap()];
    assert!(refuse_unreadable(&tables, &request, false).is_ok());
}

#[test]
fn fewer_jobs_are_taken_where_locks_or_connections_do_not_suffice() {
    let tables: Vec<Table> = (0..1000).map(|n| table(&format!("t{n}"), Access::Full)).collect();
    let tables: Vec<&Table> = tables.iter().collect();
    assert_eq!(jobs_that_fit(&budget(64_000, 90), &tables, 8), Ok(8));
    // 1,000 tables and 8 + 2 holders are 10,000 places for holders, of which there are two per lock.
    assert_eq!(jobs_that_fit(&budget(5_000, 90), &tables, 8), Ok(5));
    assert_eq!(jobs_that_fit(&budget(64_000, 5), &tables, 8), Ok(2));
    let why = jobs_that_fit(&budget(1_200, 90), &tables, 8).unwrap_err();
    assert!(why.contains("max_locks_per_transaction = "), "{why}");
    let why = jobs_that_fit(&budget(64_000, 3), &tables, 8).unwrap_err();
    assert!(why.contains("1 jobs need 4 connections, and the server has 3 left"), "{why}");
}

#[test]
fn the_parallel_engine_is_refused_by_name_only_if_it_was_asked_for() {
    let mut request = request();
    let decision = unable(&request, "too few locks".into()).unwrap();
    assert_eq!((decision.engine, decision.reason.as_deref()), (Engine::Stream, Some("too few locks")));
    request.engine = EngineChoice::Parallel;
    let error = unable(&request, "too few locks".into()).unwrap_err();
    assert_eq!(error.to_string(), "backing up shop in parallel: too few locks");
}

#[test]
fn a_standby_without_feedback_is_warned_about_when_the_reading_may_outlast_its_patience() {
    let standby =
        Standby { delay_max: Some(Duration::from_secs(30)), archive_delay_max: None, feedback: false, lag: None };
    assert!(standby_warning(&standby, 100 * 1024 * 1024, 1).is_none());
    let warning = standby_warning(&standby, 10 * 1024 * 1024 * 1024, 2).unwrap();
    assert!(warning.contains("up to 257 s"), "{warning}");
    assert!(standby_warning(&Standby { feedback: true, ..standby }, u64::MAX, 1).is_none());
}

#[test]
fn a_clock_an_hour_off_is_told_with_its_direction() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    assert_eq!(skew(now, Timestamp::from_second(1_800_000_299).unwrap()), None);
    assert_eq!(skew(now, Timestamp::from_second(1_800_003_700).unwrap()).unwrap(), "1 h 1 min behind");
    assert_eq!(skew(now, Timestamp::from_second(1_799_996_340).unwrap()).unwrap(), "1 h 1 min ahead of");
}
