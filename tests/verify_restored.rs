//! Points are restored into a throw-away server and compared; what is wrong with them is found and named.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod restore_support;
mod support;

use davit::backup::restore::{self, Existing, Proof, Wanted};
use davit::backup::verify::{self, Request, SqlCheck, Verdict, Verification, VerifyReport, Which};
use davit::repository::{Check, Depth};
use restore_support::{Made, back_up, back_up_with, conn, zoo_server};
use std::os::unix::fs::PermissionsExt;
use support::postgres::PgServer;

/// A shop with a row that refers to none and one that a check would refuse, which is right as long as neither
/// constraint claims to have looked. Filling its view runs what the setting `spoil.how` says: nothing at the source, and
/// in a restored copy, where that is the last step, what a broken restore might have left behind.
const SPOILABLE: &str = "
    CREATE TABLE customers (id int PRIMARY KEY); INSERT INTO customers VALUES (1);
    CREATE TABLE orders (id int PRIMARY KEY, customer int, amount int);
    INSERT INTO orders VALUES (1, 1, 5), (2, 7, 5), (3, 1, -5);
    ALTER TABLE orders ADD CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers NOT VALID;
    ALTER TABLE orders ADD CONSTRAINT amount_is_positive CHECK (amount > 0) NOT VALID;
    CREATE INDEX by_customer ON orders (customer);
    CREATE FUNCTION upwards(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($1, $2)';
    CREATE FUNCTION downwards(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($2, $1)';
    CREATE OPERATOR CLASS fickle FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=,
        OPERATOR 5 >, FUNCTION 1 upwards(int, int);
    CREATE TABLE numbers AS SELECT n FROM generate_series(1, 1000) n; CREATE INDEX in_order ON numbers (n fickle);
    CREATE FUNCTION spoil() RETURNS int LANGUAGE plpgsql VOLATILE AS $$
        BEGIN EXECUTE COALESCE(current_setting('spoil.how', true), 'SELECT'); RETURN 1; END $$;
    CREATE MATERIALIZED VIEW spoiled AS SELECT public.spoil() AS id;";

/// A check, what spoils a restored `SPOILABLE` so that it alone has something to say, and what it says.
const DEFECTS: [(&str, &str, &str); 4] = [
    (
        "foreign-keys",
        "UPDATE pg_constraint SET convalidated = true WHERE conname = 'of_customer'",
        "of_customer of public.orders do not hold",
    ),
    (
        "constraints",
        "UPDATE pg_constraint SET convalidated = true WHERE conname = 'amount_is_positive'",
        "amount_is_positive of public.orders do not hold",
    ),
    (
        "indexes",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.by_customer'::regclass",
        "public.by_customer cannot be used",
    ),
    // Its entries are upwards, and from now on that is the wrong way round.
    (
        "amcheck",
        "UPDATE pg_amproc SET amproc = 'public.downwards'::regproc WHERE amproc = 'public.upwards'::regproc",
        "item order invariant violated for index \"in_order\"",
    ),
];

fn request(made: &Made, depth: Depth) -> Request {
    let spec = format!("{}@latest", made.source).parse().unwrap();
    let mut request = Request::new(Which::Point(spec), depth);
    request.account = Some("postgres".into());
    request
}

async fn verify(made: &Made, request: &Request) -> Verification {
    Box::pin(verify::run(&made.means(2), request)).await.unwrap_or_else(|error| panic!("{error:?}"))
}

async fn only(made: &Made, request: &Request) -> VerifyReport {
    verify(made, request).await.points.remove(0)
}

fn check<'a>(report: &'a VerifyReport, name: &str) -> &'a Check {
    report.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name}: {report:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_good_point_is_proven_and_the_evidence_is_signed_and_bound_to_it() {
    let server = zoo_server();
    let made = back_up(&server, "menagerie").await;
    let mut wanted = request(&made, Depth::Restored);
    let scratch = tempfile::tempdir().unwrap();
    // The server runs as another account.
    std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
    wanted.scratch_dir = scratch.path().to_owned();
    wanted.checks = vec![
        SqlCheck { name: "no-orphans.sql".into(), sql: "SELECT id FROM orders WHERE customer IS NULL".into() },
        SqlCheck { name: "counts.sql".into(), sql: "SELECT count(*) = 20000 FROM orders; SELECT true".into() },
    ];
    let report = only(&made, &wanted).await;
    assert_eq!((report.verdict, report.ok), (Verdict::Ok, true), "{report:#?}");
    assert_eq!(check(&report, "amcheck").ok, Some(true));
    assert!(check(&report, "rows").detail.contains("16 tables, 23489 rows"), "{report:#?}");
    assert!(check(&report, "constraints").detail.contains("1 are NOT VALID"));
    let points = made.repository.points(Some(&made.source)).await.unwrap();
    assert!(points[0].is_proven());
    let evidence = made.repository.evidence(&made.source, points[0].point(), &points[0].verified[0].run).await.unwrap();
    assert_eq!(evidence.unwrap().manifest_sha256, points[0].link.manifest_sha256);
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_server_that_the_user_names_serves_as_well_and_is_left_as_it_was() {
    let server = zoo_server();
    let made = back_up(&server, "menagerie").await;
    let mut wanted = request(&made, Depth::Restored);
    wanted.into = Some(conn(&server, "postgres"));
    wanted.checks = vec![SqlCheck { name: "never.sql".into(), sql: "SELECT 1 FROM orders LIMIT 3".into() }];
    let report = only(&made, &wanted).await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert_eq!(check(&report, "check never.sql").detail, "statement 1: it gave 3 rows");
    assert_eq!(report.damage, []);
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'davit%'"), "0");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn one_changed_row_in_the_restored_copy_is_named_with_its_chunk() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    // Filling the view changes a row each time: at the source, and again in every restored copy.
    server.psql(
        "shop",
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'v' FROM generate_series(1, 5000) n;
         CREATE FUNCTION spoil() RETURNS int LANGUAGE sql VOLATILE
             AS 'UPDATE public.t SET v = v || ''!'' WHERE id = 4321 RETURNING id';
         CREATE MATERIALIZED VIEW spoiled AS SELECT public.spoil() AS id",
    );
    let made = back_up(&server, "shop").await;
    let report = only(&made, &request(&made, Depth::Restored)).await;
    assert_eq!(report.verdict, Verdict::Failed);
    let [damage] = &report.damage[..] else { panic!("{report:#?}") };
    assert_eq!(damage.table.as_deref(), Some("public.t"));
    // The row was rewritten at the source, so it is the last one there.
    assert_eq!(damage.rows, Some((4999, 5000)));
    assert!(damage.chunk.starts_with("chunks/"), "{damage:?}");
    assert!(check(&report, "rows").detail.contains("1 rows are there that were not backed up"));
    assert!(!made.repository.points(Some(&made.source)).await.unwrap()[0].is_proven());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_sequence_that_stands_elsewhere_in_the_restored_copy_fails_the_proof_and_the_restore() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    // Filling the view sets the sequence back: at the source, where it is set right again, and in every restored copy.
    server.psql(
        "shop",
        "CREATE TABLE t (id bigserial PRIMARY KEY, v text); INSERT INTO t (v) SELECT 'v' FROM generate_series(1, 500);
         CREATE TABLE behind (id bigserial PRIMARY KEY); INSERT INTO behind VALUES (7), (8);
         CREATE FUNCTION spoil() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT setval(''public.t_id_seq'', 7)';
         CREATE MATERIALIZED VIEW spoiled AS SELECT public.spoil() AS id; SELECT setval('t_id_seq', 500)",
    );
    let made = back_up(&server, "shop").await;
    let report = only(&made, &request(&made, Depth::Restored)).await;
    assert_eq!(report.verdict, Verdict::Failed);
    let expected = "\"public\".\"t_id_seq\": it stood at 500 and stands at 7 here";
    let seen = check(&report, "sequences");
    assert_eq!((seen.ok, seen.detail.as_str()), (Some(false), expected), "{report:#?}");
    let means = made.means(2);
    for (name, proof, moved) in [("copy", Proof::ReadBack, true), ("quick", Proof::Sent, false)] {
        let wanted = Wanted { existing: Existing::Create, proof, ..Wanted::default() };
        let plan = restore::plan(&means, &"shop@latest".parse().unwrap(), &conn(&server, name), wanted).await.unwrap();
        let error = restore::run(&means, plan).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error.contains("t_id_seq\": it stood at 500 and stands at 7"), moved, "{error}");
        let there = server.psql("postgres", &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'"));
        assert_eq!(there, if moved { "0" } else { "1" }, "{name}");
    }
    // One that is behind its column was so at the source, and is no failure; one that a view drew from has gone on.
    server.psql(
        "shop",
        "DROP MATERIALIZED VIEW spoiled;
         CREATE MATERIALIZED VIEW drawn AS SELECT nextval('t_id_seq') AS id; SELECT setval('t_id_seq', 600)",
    );
    let made = back_up(&server, "shop").await;
    let report = only(&made, &request(&made, Depth::Restored)).await;
    assert_eq!(report.verdict, Verdict::Ok, "{report:#?}");
    let detail = &check(&report, "sequences").detail;
    assert!(detail.contains("public.behind_id_seq") && detail.contains("as at the source"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn each_defect_of_a_restored_copy_is_seen_by_the_check_for_it_and_by_no_other() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", SPOILABLE);
    let made = back_up(&server, "shop").await;
    let mut wanted = request(&made, Depth::Restored);
    // In a throw-away server nobody who fills a view may touch the catalogue; here a superuser fills it.
    wanted.into = Some(conn(&server, "postgres"));
    let whole = only(&made, &wanted).await;
    assert_eq!(whole.verdict, Verdict::Ok, "nothing is wrong before it is spoiled: {whole:#?}");
    for (name, spoil, says) in DEFECTS {
        // Every later session of this role has it, those of the restore too.
        server.psql("postgres", &format!("ALTER ROLE postgres SET spoil.how = '{}'", spoil.replace('\'', "''")));
        let report = only(&made, &wanted).await;
        assert_eq!((report.verdict, report.damage.len()), (Verdict::Failed, 0), "{name}: {report:#?}");
        let open: Vec<&Check> = report.checks.iter().filter(|check| check.ok != Some(true)).collect();
        let [seen] = open[..] else { panic!("{name}: {report:#?}") };
        assert_eq!((seen.name.as_str(), seen.ok), (name, Some(false)), "{report:#?}");
        assert!(seen.detail.contains(says), "{name}: {}", seen.detail);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_missing_role_fails_the_proof() {
    let server = zoo_server();
    let without = |kind: &str, bytes: Vec<u8>| match kind {
        "globals" => {
            let text = String::from_utf8(bytes).unwrap();
            text.lines().filter(|line| !line.contains("zoo_reader")).collect::<Vec<_>>().join("\n").into_bytes()
        }
        _ => bytes,
    };
    let made = back_up_with(&server, "menagerie", &without).await;
    let report = only(&made, &request(&made, Depth::Restored)).await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert!(check(&report, "restore").detail.contains("role zoo_reader"), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn one_flipped_byte_is_found_by_reading_and_by_restoring_and_named_by_its_rows() {
    let server = zoo_server();
    let made = back_up(&server, "menagerie").await;
    let (chunk, first, end) = made.flip_a_byte_of("public.orders").await;
    let listed = only(&made, &request(&made, Depth::Listed)).await;
    assert_eq!((listed.verdict, listed.damage.len()), (Verdict::Ok, 0), "it is there, with its size");
    let stored = only(&made, &request(&made, Depth::Stored)).await;
    let [damage] = &stored.damage[..] else { panic!("{stored:#?}") };
    assert_eq!((damage.table.as_deref(), damage.rows), (Some("public.orders"), Some((first, end))));
    assert_eq!(damage.chunk, chunk);
    let restored = only(&made, &request(&made, Depth::Restored)).await;
    assert_eq!(restored.verdict, Verdict::Failed);
    let detail = &check(&restored, "restore").detail;
    assert!(detail.contains(&chunk) && detail.contains(&format!("rows {} to {end}", first + 1)), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn of_a_damaged_row_that_spans_chunks_only_that_row_is_lost() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'v' FROM generate_series(1, 100) n;
         INSERT INTO t VALUES (101, repeat('0123456789', 150000)); INSERT INTO t SELECT n, 'v' FROM generate_series(102, 200) n",
    );
    let made = back_up(&server, "shop").await;
    let (chunk, first, end) = made.drop_a_chunk_of("public.t").await;
    assert_eq!((first, end), (100, 100), "no row ends in the middle of one");
    let wanted = Wanted { existing: Existing::Create, allow_damage: true, ..Wanted::default() };
    let means = made.means(2);
    let plan = restore::plan(&means, &"shop@latest".parse().unwrap(), &conn(&server, "rest"), wanted).await.unwrap();
    let report = restore::run(&means, plan).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(server.psql("rest", "SELECT count(*), min(id), max(id) FROM t WHERE id <> 101"), "199|1|200");
    assert_eq!((report.rows, report.kind()), (199, Some(davit::error::Kind::CheckFailed)));
    assert_eq!(report.lost[0].chunk, chunk);
    let lost: Vec<_> = report.lost.iter().map(|damage| damage.rows).collect();
    assert_eq!(lost, [Some((100, 100)), Some((100, 101))], "{:#?}", report.lost);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn what_this_machine_lacks_is_undecided_and_never_verified() {
    let server = zoo_server();
    let made = back_up(&server, "menagerie").await;
    let mut wanted = request(&made, Depth::Restored);
    let elsewhere = PgServer::start();
    wanted.into = Some(conn(&elsewhere, "postgres"));
    let verification = verify(&made, &wanted).await;
    assert_eq!(verification.kind().map(davit::error::Kind::exit_code), Some(6));
    let report = &verification.points[0];
    assert!(check(report, "restore").detail.contains("role zoo_owner"), "{report:#?}");
    let points = made.repository.points(Some(&made.source)).await.unwrap();
    assert!(report.evidence.is_some() && points[0].verified.is_empty(), "kept, but it counts for nothing: {points:?}");
}
