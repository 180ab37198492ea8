//! How the new database is made like the one that was backed up, as far as that is wanted.

use super::definitions::with_roles;
use super::request::Wanted;
use crate::backup::facts::DatabaseFacts;
use crate::backup::target::{self, Shape};

/// How the database of a point is made.
pub(super) fn shape(facts: &DatabaseFacts, wanted: &Wanted) -> Shape {
    bare(Shape::from(facts), wanted)
}

/// What a database gets at the moment of the swap.
pub(super) fn finishing(facts: &DatabaseFacts, wanted: &Wanted) -> Vec<String> {
    let statements = target::finishing(facts, !wanted.adjust.no_privileges);
    statements.iter().map(|statement| with_roles(statement, &wanted.adjust.role_map)).collect()
}

/// What a database is made with if its owner and tablespace are left out.
fn bare(mut shape: Shape, wanted: &Wanted) -> Shape {
    if wanted.adjust.no_owner {
        shape.owner = None;
    }
    if wanted.adjust.no_tablespaces || shape.tablespace.as_deref() == Some("pg_default") {
        shape.tablespace = None;
    }
    if let Some(owner) = shape.owner.as_mut()
        && let Some(other) = wanted.adjust.role_map.get(owner)
    {
        owner.clone_from(other);
    }
    shape
}
