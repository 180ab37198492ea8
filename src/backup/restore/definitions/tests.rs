//! The definitions of the zoo (`tests/fixtures/zoo.sql`) as `pg_restore` 15 renders them.

use super::belonging::Belonging;
use super::*;

pub(in crate::backup::restore) fn zoo() -> Definitions {
    Definitions::read(
        include_bytes!("../../../../tests/fixtures/archives/zoo_15_pre.sql"),
        include_bytes!("../../../../tests/fixtures/archives/zoo_15_post.sql"),
    )
    .unwrap()
}

fn find<'a>(definitions: &'a Definitions, what: &str) -> &'a Definition {
    let found: Vec<_> = definitions.entries.iter().filter(|entry| entry.describe() == what).collect();
    assert_eq!(found.len(), 1, "{what}");
    found[0]
}

#[test]
fn every_entry_has_a_number_and_its_statements() {
    let zoo = zoo();
    let mut ids: Vec<u32> = zoo.entries.iter().map(|entry| entry.id).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), ids[0] > 0), (all, true));
    assert!(zoo.entries.iter().all(|entry| !entry.statements.is_empty()));
    assert!(all > 100, "{all}");
}

#[test]
fn what_makes_a_relation_says_its_name_however_odd() {
    let zoo = zoo();
    let key = find(&zoo, "table Odd \"Schema\".line break").relation().unwrap();
    assert_eq!((key.schema.as_str(), key.table.as_str()), ("Odd \"Schema\"", "line\nbreak"));
    assert_eq!(find(&zoo, "materialized view public.per_mood").relation().unwrap().to_string(), "public.per_mood");
    // An identity's sequence is made by altering its table.
    assert_eq!(
        find(&zoo, "sequence public.customers_id_seq").relation().unwrap().to_string(),
        "public.customers_id_seq"
    );
    assert_eq!(find(&zoo, "constraint public.orders orders_pkey").constraint().as_deref(), Some("orders_pkey"));
}

#[test]
fn roles_tablespaces_and_extensions_are_known_before_anything_runs() {
    let mut zoo = zoo();
    let names = |roles: BTreeSet<String>| roles.into_iter().collect::<Vec<_>>();
    assert_eq!(names(zoo.roles()), ["postgres", "zoo_admin", "zoo_owner", "zoo_reader"]);
    assert_eq!(names(zoo.extensions()), ["citext", "hstore"]);
    assert!(zoo.tablespaces().is_empty());
    let map = [("zoo_owner".to_owned(), "me".to_owned())].into();
    zoo.map_roles(&map);
    assert_eq!(names(zoo.roles()), ["me", "postgres", "zoo_admin", "zoo_reader"]);
    let policy = &find(&zoo, "policy public.guarded to_all").statements[0];
    assert!(policy.contains("' TO zoo_reader'"), "a string is no role: {policy}");
}

#[test]
fn a_setting_holds_for_every_entry_after_it_and_runs_once_in_a_session() {
    let zoo = zoo();
    let mut so_far = BTreeMap::new();
    let table = find(&zoo, "table public.customers");
    assert_eq!(table.to_run(&mut so_far).len(), table.statements.len() + 2);
    let orders = find(&zoo, "table public.orders");
    assert_eq!(orders.to_run(&mut so_far), orders.statements);
}

#[test]
fn a_tablespace_is_read_from_the_setting_that_precedes_an_entry() {
    let script = "-- TOC entry 5 (class 1259 OID 1)\n-- Name: t; Type: TABLE; Schema: public; Owner: o\n\n\
                  CREATE TABLE public.t (a int);\n\nSET default_tablespace = \"Fast Disk\";\n\n\
                  -- TOC entry 6 (class 1259 OID 2)\n-- Name: u; Type: TABLE; Schema: public; Owner: o\n\n\
                  CREATE TABLE public.u (a int);\n";
    let definitions = Definitions::read(script.as_bytes(), b"").unwrap();
    assert_eq!(definitions.tablespaces().into_iter().collect::<Vec<_>>(), ["Fast Disk"]);
    assert!(definitions.entries[0].settings.is_empty());
}

fn belonging(tables: &[(&str, &str)]) -> Belonging {
    of_tables(&zoo(), &tables.iter().map(|(schema, table)| TableKey::new(schema, table)).collect())
}

fn kinds(belonging: &Belonging) -> Vec<String> {
    belonging.definitions.entries.iter().map(Definition::describe).collect()
}

#[test]
fn with_a_table_comes_all_that_is_part_of_it() {
    let orders = belonging(&[("public", "orders")]);
    let kinds = kinds(&orders);
    for part in [
        "table public.orders",
        "sequence public.orders_id_seq",
        "sequence owned by public.orders_id_seq",
        "default public.orders id",
        "constraint public.orders one_at_a_time",
        "index public.orders_expression",
        "statistics public.orders_stats",
        "trigger public.orders loud_always",
        "fk constraint public.orders orders_customer_fkey",
    ] {
        assert!(kinds.iter().any(|kind| kind == part), "{part} is not among {kinds:?}");
    }
    assert!(!kinds.iter().any(|kind| kind.contains("customers ")), "{kinds:?}");
    assert_eq!(orders.sequences.iter().map(ToString::to_string).collect::<Vec<_>>(), ["public.orders_id_seq"]);
    assert_eq!(orders.needed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["public.customers"]);
    assert_eq!(orders.left_out, ["publication table public.zoo_pub orders"]);
}

#[test]
fn what_only_looks_at_a_table_is_named_and_left_out() {
    let customers = belonging(&[("public", "customers")]);
    for view in
        ["materialized view public.per_mood", "view public.happy", "fk constraint public.orders orders_customer_fkey"]
    {
        assert!(customers.left_out.iter().any(|left| left == view), "{view}: {:?}", customers.left_out);
    }
    assert!(kinds(&customers).iter().any(|kind| kind == "acl public.TABLE customers"));
    assert!(kinds(&customers).iter().any(|kind| kind == "comment public.COLUMN customers.email"));
}

#[test]
fn with_a_partitioned_table_come_its_partitions_and_a_partition_alone_is_attached_last() {
    let events = belonging(&[("public", "events")]);
    assert_eq!(events.tables.len(), 5);
    assert_eq!(kinds(&events).iter().filter(|kind| kind.starts_with("index attach")).count(), 8);
    let part = belonging(&[("public", "events_2025")]);
    assert_eq!(part.needed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["public.events"]);
    let attach = part.definitions.entries.iter().find(|entry| entry.kind == "TABLE ATTACH").unwrap();
    assert_eq!(attach.turn, Turn::After);
    assert!(!kinds(&part).iter().any(|kind| kind.starts_with("index attach")));
}

#[test]
fn a_new_database_with_one_table_has_what_the_table_stands_on_and_nothing_that_needs_others() {
    let customers = belonging(&[("public", "customers")]);
    let (entries, left_out) = foundations(&zoo(), &customers);
    let names: Vec<String> = entries.entries.iter().map(Definition::describe).collect();
    for there in
        ["extension citext", "type public.mood", "table public.customers", "constraint public.customers customers_pkey"]
    {
        assert!(names.iter().any(|name| name == there), "{there} is not among {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("orders") || name.starts_with("view")), "{names:?}");
    assert!(left_out.contains(&"view public.happy".to_owned()), "{left_out:?}");
}
