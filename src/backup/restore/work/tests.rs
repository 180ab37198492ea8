//! How the work on the zoo and on tables of other sizes is laid out.

use super::*;
use crate::backup::facts::ConstraintFacts;
use crate::backup::restore::definitions::tests::zoo;
use crate::backup::restore::graph::{Schedule, Turn as Next};
use crate::rowsum::RowSum;

fn table(schema: &str, name: &str, bytes: u64, indexes: Vec<IndexFacts>) -> Table {
    let ranges = u32::try_from(bytes.div_ceil(16 << 20)).unwrap();
    Table {
        object: 0,
        key: TableKey::new(schema, name),
        columns: vec![],
        types: vec![],
        ranges,
        bytes,
        rows: RowSum::default(),
        indexes,
        condition: None,
        heap_bytes: 0,
        route: None,
    }
}

fn primary_key(name: &str, definition: &str, deferrable: (bool, bool)) -> IndexFacts {
    let constraint = ConstraintFacts { name: name.to_owned(), r#type: 'p', definition: String::new(), deferrable };
    IndexFacts { name: name.to_owned(), definition: definition.to_owned(), unique: true, constraint: Some(constraint) }
}

const SHAPE: Shape = Shape { jobs: 2, read_back: true, large_object_bytes: 0, into_existing: false, keys_first: false };

/// What is done, in the order in which one worker would do it.
fn outline(tables: &[Table], shape: Shape) -> Vec<Work> {
    let mut schedule = Schedule::new(lay_out(tables, &zoo(), shape).graph).unwrap();
    let mut done = Vec::new();
    while let Next::Do(id) = schedule.next() {
        done.push(schedule.work(id).clone());
        schedule.done(id);
    }
    assert_eq!(schedule.next(), Next::Done);
    done
}

fn zoo_tables(orders: u64) -> Vec<Table> {
    let pkey =
        primary_key("orders_pkey", "CREATE UNIQUE INDEX orders_pkey ON public.orders USING btree (id)", (false, false));
    let small =
        ["customers", "empty", "events_2025", "events_2026_a", "events_2026_rest", "points_of_event", "guarded"];
    let mut tables: Vec<Table> = small.iter().map(|name| table("public", name, 1 << 10, vec![])).collect();
    tables.push(table("public", "orders", orders, vec![pkey]));
    tables
}

#[test]
fn the_indexes_of_a_large_table_are_built_side_by_side_and_its_key_becomes_a_constraint_after() {
    let work = outline(&zoo_tables(1 << 30), SHAPE);
    let builds: Vec<&str> = work
        .iter()
        .filter_map(|work| if let Work::Build(steps) = work { Some(steps.what.as_str()) } else { None })
        .collect();
    assert_eq!(builds.len(), 4, "{builds:?}");
    let place = |wanted: &dyn Fn(&str) -> bool| {
        work.iter().position(|work| match work {
            Work::Build(steps) => steps.definition.statements.iter().any(|sql| wanted(sql)),
            Work::Define(all) => all.iter().flat_map(|steps| &steps.definition.statements).any(|sql| wanted(sql)),
            _ => false,
        })
    };
    let built = place(&|sql| sql.starts_with("CREATE UNIQUE INDEX orders_pkey ")).unwrap();
    let used =
        place(&|sql| sql.contains("ADD CONSTRAINT \"orders_pkey\" PRIMARY KEY USING INDEX \"orders_pkey\";")).unwrap();
    let replica = place(&|sql| sql.contains("REPLICA IDENTITY USING INDEX orders_pkey")).unwrap();
    assert!(built < used && used == replica);
    assert!(
        place(&|sql| sql.contains("ADD CONSTRAINT one_at_a_time EXCLUDE")).is_some(),
        "exclusion is no unique index"
    );
}

#[test]
fn one_large_table_is_shared_by_the_writers_and_one_of_several_is_frozen_by_its_own() {
    let shares = |work: &[Work]| work.iter().filter(|work| matches!(work, Work::LoadShare { .. })).count();
    let frozen = |work: &[Work]| work.iter().filter(|work| matches!(work, Work::Load { freeze: true, .. })).count();
    let skewed = outline(&zoo_tables(1 << 30), SHAPE);
    assert_eq!((shares(&skewed), frozen(&skewed)), (2, 0));
    let even: Vec<Table> = (0..8).map(|n| table("public", &format!("t{n}"), 1 << 28, vec![])).collect();
    let even = outline(&even, SHAPE);
    assert_eq!((shares(&even), frozen(&even)), (0, 8));
}

#[test]
fn a_thousand_small_tables_are_a_few_dozen_pieces_of_work() {
    let tables: Vec<Table> = (0..1000).map(|n| table("public", &format!("t{n}"), 1000 + n, vec![])).collect();
    let work = outline(&tables, SHAPE);
    assert!(work.len() < 100, "{}", work.len());
    let loaded: usize =
        work.iter().map(|work| if let Work::Load { tables, .. } = work { tables.len() } else { 0 }).sum();
    assert_eq!(loaded, 1000);
}

#[test]
fn foreign_keys_come_after_the_keys_and_attached_indexes_they_rest_on() {
    let work = outline(&zoo_tables(1 << 30), SHAPE);
    let place = |what: &str| {
        work.iter().position(|work| match work {
            Work::Define(all) | Work::Reference(all) => all.iter().any(|steps| steps.what == what),
            _ => false,
        })
    };
    let key = place("constraint public.customers customers_pkey").unwrap();
    let reference = place("fk constraint public.orders orders_customer_fkey").unwrap();
    assert!(key < reference);
    let attached = place("index attach public.events_2026_rest_pkey").unwrap();
    assert!(attached < place("fk constraint public.points_of_event points_of_event_event_at_kind_fkey").unwrap());
}

#[test]
fn a_large_table_gets_its_foreign_key_while_it_is_empty_and_the_key_is_looked_at_when_it_is_full() {
    let shape = Shape { keys_first: true, ..SHAPE };
    let work = outline(&zoo_tables(1 << 30), shape);
    let place = |wanted: &dyn Fn(&Work) -> bool| work.iter().position(wanted).unwrap();
    let makes = |work: &Work, what: &str| match work {
        Work::Define(all) | Work::Reference(all) => all.iter().any(|steps| steps.what == what),
        _ => false,
    };
    let key = place(&|work| makes(work, "constraint public.customers customers_pkey"));
    let made = place(&|work| makes(work, "fk constraint public.orders orders_customer_fkey"));
    let loaded = place(&|work| matches!(work, Work::LoadShare { .. }));
    let held = place(&|work| matches!(work, Work::Hold { name, .. } if name == "orders_customer_fkey"));
    assert!(key < made && made < loaded && loaded < held, "{key} {made} {loaded} {held}");
    let agenda = lay_out(&zoo_tables(1 << 30), &zoo(), shape);
    assert_eq!(agenda.unlooked.len(), 1);
    // Where the table is small, or nobody may look away, it stays as it was.
    for (orders, shape) in [(1 << 20, shape), (1 << 30, SHAPE)] {
        let work = outline(&zoo_tables(orders), shape);
        assert!(!work.iter().any(|work| matches!(work, Work::Hold { .. })));
        assert_eq!(lay_out(&zoo_tables(orders), &zoo(), shape).unlooked.len(), 0);
    }
}

#[test]
fn indexes_of_tables_without_rows_of_their_own_are_made_early_and_those_of_views_late() {
    let agenda = lay_out(&zoo_tables(1 << 20), &zoo(), SHAPE);
    let names = |entries: &[Definition]| entries.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>();
    assert!(names(&agenda.early).contains(&"events events_pkey".to_owned()));
    assert_eq!(names(&agenda.late), ["per_mood_feeling"]);
}

#[test]
fn a_deferrable_key_stays_deferrable() {
    let key = TableKey::new("public", "t");
    let table_of = |deferrable| {
        table("public", "t", 1, vec![primary_key("k", "CREATE UNIQUE INDEX k ON public.t USING btree (a)", deferrable)])
    };
    let of = |deferrable| using_index(&key, &table_of(deferrable).indexes[0]).unwrap();
    assert!(of((false, false)).ends_with("USING INDEX \"k\";"));
    assert!(of((true, true)).ends_with("USING INDEX \"k\" DEFERRABLE INITIALLY DEFERRED;"));
}
