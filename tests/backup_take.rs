//! A backup of a database with something of everything: nothing is missing, and every sum is right.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unused_self,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

mod backup_support;
mod support;

use backup_support::{Content, backup, copied, repository, request};
use davit::backup::facts::kind;
use support::postgres::PgServer;

const ZOO: &str = r#"
CREATE EXTENSION pg_trgm; CREATE EXTENSION hstore;
CREATE SCHEMA "Odd Schema";
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s "fine"');
CREATE TYPE pair AS (a int, b text);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE TABLE everything (id int PRIMARY KEY, n numeric, f float8, r real, t text, b bytea, j jsonb, js json, at timestamptz,
    d date, i interval, u uuid, ip inet, arr int[], texts text[], p positive, m mood, c pair, s span, h hstore, x xml,
    v tsvector, bits bit varying, ok boolean, money money);
INSERT INTO everything SELECT g, g / 7.0, g / 7.0::float8, g / 7.0::real, E'tab\t, line\nand \\ back ' || chr(233 + g),
    decode(lpad(to_hex(g), 8, '0'), 'hex'), jsonb_build_object('g', g, 'list', array[g, null]), '{"a" :  1}',
    timestamptz '2026-01-01 00:00:00+02' + g * interval '1 day', date '2026-01-01' + g, g * interval '1 month 3 hours',
    ('00000000-0000-0000-0000-' || lpad(g::text, 12, '0'))::uuid, ('10.0.0.' || g)::inet, array[g, null, -g],
    array['a,b', 'say "x"', null, ''], g, 'it''s "fine"', '(1,"x,\\"y\\"")'::pair, span(g, g + 0.1), 'k=>"v v"', '<a>1</a>',
    'fat cat'::tsvector, B'101', g % 2 = 0, g::money FROM generate_series(1, 50) g;
INSERT INTO everything (id) VALUES (1000);
CREATE TABLE generated (id int GENERATED ALWAYS AS IDENTITY, gone int, a int, twice int GENERATED ALWAYS AS (a * 2) STORED);
INSERT INTO generated (gone, a) SELECT 1, g FROM generate_series(1, 5) g; ALTER TABLE generated DROP COLUMN gone;
CREATE TABLE only_generated (one int GENERATED ALWAYS AS (1) STORED); INSERT INTO only_generated DEFAULT VALUES;
CREATE TABLE "Odd Schema"."a ""quoted"" tàble" ("Select" int, "sp ace" text); INSERT INTO "Odd Schema"."a ""quoted"" tàble" VALUES (1, 'x');
CREATE TABLE "user" ("order" int); INSERT INTO "user" VALUES (7);
CREATE TABLE no_columns (); INSERT INTO no_columns SELECT FROM generate_series(1, 3);
CREATE TABLE no_rows (id int);
CREATE UNLOGGED TABLE fleeting (id int); INSERT INTO fleeting VALUES (1);
CREATE TABLE parent (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE leaf_1 PARTITION OF parent FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE sub PARTITION OF parent FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (id);
CREATE TABLE leaf_2 PARTITION OF sub DEFAULT;
INSERT INTO parent VALUES (1, '2026-01-05'), (2, '2026-02-05'), (3, '2026-02-06');
CREATE TABLE base (id int); CREATE TABLE child (more text) INHERITS (base);
INSERT INTO base VALUES (1); INSERT INTO child VALUES (2, 'two');
CREATE TABLE typed OF pair; INSERT INTO typed VALUES (1, 'one');
CREATE SEQUENCE counter; SELECT setval('counter', 41); CREATE SEQUENCE fresh START 5;
CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE far_away (id int) SERVER elsewhere;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM base; CREATE VIEW seen AS SELECT * FROM base;
CREATE RULE quiet AS ON DELETE TO base DO INSTEAD NOTHING;
SELECT lo_from_bytea(4711, '\x00ff'); SELECT lo_from_bytea(990000, decode(repeat('ab', 300000), 'hex')); SELECT lo_create(4712);
COMMENT ON TABLE base IS 'it''s base';
CREATE ROLE zoo_reader; GRANT SELECT ON base TO zoo_reader; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO zoo_reader;
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn everything_in_a_database_is_in_its_backup() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE zoo");
    server.psql("zoo", ZOO);
    let (repository, _) = repository().await;
    let report = backup(request(&server, "zoo"), &repository).await.unwrap();
    let content = Content::of(&repository, &report).await;
    let names: Vec<String> = content.tables().iter().map(|(facts, _)| facts.table.clone()).collect();
    for table in ["parent", "sub", "far_away", "counted", "seen"] {
        assert!(!names.iter().any(|name| name == table), "{table} has no rows of its own");
    }
    assert_eq!(report.tables, 13, "{names:?}");
    for table in ["everything", "user", "no_rows", "fleeting", "leaf_1", "leaf_2", "child", "typed"] {
        let expected = copied(&server, "zoo", &format!("SELECT * FROM public.\"{table}\""));
        assert_eq!(content.rows_of(table).await, expected, "{table}");
    }
    assert_eq!(content.rows_of("base").await, "1\n", "the children's rows are their own");
    assert_eq!(content.rows_of("no_columns").await, "\n\n\n");
    assert_eq!(content.rows_of("only_generated").await, "\n");
    assert_eq!(content.rows_of("generated").await, "1\t1\n2\t2\n3\t3\n4\t4\n5\t5\n");
    assert_eq!(content.rows_of("a \"quoted\" tàble").await, "1\tx\n");
    let columns: Vec<String> = content.table("generated").0.columns.iter().map(|column| column.name.clone()).collect();
    assert_eq!(columns, ["id", "a"]);
    assert_eq!(
        content.sequences(),
        [("counter".to_owned(), 41, true), ("fresh".to_owned(), 5, false), ("generated_id_seq".to_owned(), 5, true)]
    );
    large_objects(&content).await;
    definitions(&content).await;
}

async fn large_objects(content: &Content) {
    let text = content.text(content.only(kind::LARGE_OBJECTS)).await;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let heads: Vec<(&str, &str)> = lines.iter().map(|line| (line[0], line[1])).collect();
    assert_eq!(heads, [("4711", "0"), ("990000", "0"), ("990000", "262144")]);
    assert_eq!(lines[0][2], "\\\\x00ff");
    assert_eq!(lines[2][2].len(), "\\\\x".len() + 2 * (300_000 - 262_144));
}

async fn definitions(content: &Content) {
    let pre = content.text(content.only(kind::PRE_DATA)).await;
    let post = content.text(content.only(kind::POST_DATA)).await;
    for needle in [
        "CREATE TYPE public.mood AS ENUM",
        "CREATE TABLE public.parent",
        "CREATE FOREIGN TABLE public.far_away",
        "SELECT pg_catalog.lo_create('4712')",
        "COMMENT ON TABLE public.base",
        "GRANT SELECT ON TABLE public.base",
    ] {
        assert!(pre.contains(needle), "{needle}");
    }
    for needle in ["REFRESH MATERIALIZED VIEW public.counted", "CREATE RULE quiet", "PRIMARY KEY (id)"] {
        assert!(post.contains(needle), "{needle}");
    }
    let globals = content.text(content.only(kind::GLOBALS)).await;
    assert!(globals.contains("CREATE ROLE zoo_reader"), "{globals}");
    let facts = content.database();
    assert_eq!((facts.database.as_str(), facts.encoding.as_str()), ("zoo", "UTF8"));
    assert!(facts.extensions.iter().any(|extension| extension.name == "hstore"));
    assert!(facts.not_included.iter().any(|note| note.contains("far_away")), "{:?}", facts.not_included);
    assert_eq!(facts.session_settings["row_security"], "off");
    assert!(facts.roles.contains(&"zoo_reader".to_owned()), "{:?}", facts.roles);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_second_backup_of_unchanged_rows_stores_almost_nothing() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", "CREATE TABLE big AS SELECT g AS id, md5(g::text) || md5((g + 1)::text) AS note FROM generate_series(1, 400000) g");
    let (repository, _) = repository().await;
    let first = backup(request(&server, "shop"), &repository).await.unwrap();
    let content = Content::of(&repository, &first).await;
    let (facts, object) = content.table("big");
    assert_eq!(facts.grid_pages, Some(2048));
    assert!(object.ranges > 1, "{object:?}");
    let expected = copied(&server, "shop", "SELECT id, note FROM public.big");
    assert!(content.text(object).await == expected, "the text differs");
    let second = backup(request(&server, "shop"), &repository).await.unwrap();
    assert_eq!((second.rows, second.amounts.chunks), (first.rows, first.amounts.chunks));
    assert!(
        second.amounts.bytes_new * 1000 < second.amounts.bytes_stored,
        "{} of {}",
        second.amounts.bytes_new,
        second.amounts.bytes_stored
    );
    server.psql("shop", "DELETE FROM big WHERE id BETWEEN 100 AND 110");
    let third = backup(request(&server, "shop"), &repository).await.unwrap();
    // The ranges behind the first one are as they were.
    assert!(third.amounts.chunks_new <= 4 + 2, "{third:?}");
}
