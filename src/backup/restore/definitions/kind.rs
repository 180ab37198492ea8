//! When a definition has its turn, by what `pg_restore` calls its kind.

/// Which half of the definitions it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backup::restore) enum Section {
    /// What must be there before the rows.
    PreData,
    /// What is built on the rows.
    PostData,
}

/// The turns of a restore, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::backup::restore) enum Turn {
    /// Before the rows, one after another.
    Before,
    /// As soon as the rows of its table are in: indexes, and constraints that live on them.
    OnTable,
    /// Partitions of an index, when both are built.
    IndexAttach,
    /// Foreign keys, when the indexes they rest on are built.
    ForeignKey,
    /// Whatever must not act on the rows while they come: triggers, rules, policies, checks that may scan.
    After,
    /// Privileges: after everything that the owner may have taken from himself.
    Privileges,
    /// Materialised views: filled with the privileges and policies of the source in place.
    Fill,
    /// Event triggers: they would act on every statement before.
    Last,
}

/// The turn of a definition called `kind` in `section`.
pub(in crate::backup::restore) fn turn(kind: &str, section: Section) -> Turn {
    match (kind, section) {
        ("ACL" | "DEFAULT ACL", _) => Turn::Privileges,
        ("MATERIALIZED VIEW DATA", _) => Turn::Fill,
        ("EVENT TRIGGER", _) => Turn::Last,
        // An extended statistic must be there when its table is analysed, and needs no rows.
        (_, Section::PreData) | ("STATISTICS", _) => Turn::Before,
        ("INDEX" | "CONSTRAINT", _) => Turn::OnTable,
        ("INDEX ATTACH", _) => Turn::IndexAttach,
        ("FK CONSTRAINT", _) => Turn::ForeignKey,
        _ => Turn::After,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_can_fire_has_its_turn_before_the_rows() {
        for kind in ["TRIGGER", "RULE", "POLICY", "ROW SECURITY", "EVENT TRIGGER", "PUBLICATION TABLE", "A NEW KIND"] {
            assert!(turn(kind, Section::PostData) >= Turn::After, "{kind}");
        }
    }

    #[test]
    fn privileges_of_either_half_come_after_the_rows_and_before_views_are_filled() {
        for section in [Section::PreData, Section::PostData] {
            assert_eq!(turn("ACL", section), Turn::Privileges);
        }
        assert!(Turn::Privileges < turn("MATERIALIZED VIEW DATA", Section::PostData));
    }
}
