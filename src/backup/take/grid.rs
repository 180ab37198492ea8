//! The constant grid on which a table is cut: ranges of 2^k pages, aligned to page 0.
//!
//! A grid is chosen once per table and carried from manifest to manifest. What is learned about sizes later changes
//! only the order of work, never a cut: one moved cut, and deduplication of that table is gone.

/// Pages per range where nothing speaks for fewer: 16 MiB of heap with the usual page of 8 KiB.
pub(crate) const DEFAULT_PAGES: u32 = 2048;

/// A grid: pages per range, a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid(u32);

/// Heap pages of one range; the last range of a table has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pages {
    /// The first page.
    pub(crate) first: u64,
    /// The page after the last one; `None` for the last range, which takes what was added meanwhile, too.
    pub(crate) end: Option<u64>,
}

impl Grid {
    /// The grid for a table that has none yet. Values kept out of line are read with the range their row is in, so
    /// a table that is mostly such values gets shorter ranges.
    pub(crate) fn choose(heap_bytes: u64, out_of_line_bytes: u64) -> Self {
        let share = u128::from(heap_bytes.max(1)) * u128::from(DEFAULT_PAGES)
            / (u128::from(heap_bytes.max(1)) + u128::from(out_of_line_bytes));
        let pages = u32::try_from(share).unwrap_or(DEFAULT_PAGES).clamp(1, DEFAULT_PAGES);
        // The power of two at or below it.
        Self(1 << pages.ilog2())
    }

    /// A grid as a manifest recorded it; `None` if no such grid can be (the caller chooses anew).
    pub(crate) fn recorded(pages: u32) -> Option<Self> {
        pages.is_power_of_two().then_some(Self(pages))
    }

    /// Pages per range.
    pub(crate) fn pages(self) -> u32 {
        self.0
    }

    /// How many ranges a heap of so many pages has; an empty one has one.
    pub(crate) fn ranges(self, heap_pages: u64) -> u32 {
        u32::try_from(heap_pages.div_ceil(u64::from(self.0)).max(1)).unwrap_or(u32::MAX)
    }

    /// The pages of range `number` of `count`.
    pub(crate) fn range(self, number: u32, count: u32) -> Pages {
        let first = u64::from(number) * u64::from(self.0);
        Pages { first, end: (number + 1 < count).then(|| first + u64::from(self.0)) }
    }
}

impl Pages {
    /// The condition that selects the rows of these pages.
    pub(crate) fn condition(self) -> String {
        let from = format!("ctid >= '({},0)'", self.first);
        match self.end {
            // Nothing lies before page 0: without a lower bound the last range of one is the whole table.
            None if self.first == 0 => "true".to_owned(),
            None => from,
            Some(end) => format!("{from} AND ctid < '({end},0)'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn plain_tables_get_the_default_and_wide_ones_shorter_ranges() {
        assert_eq!(Grid::choose(1600 * MIB, 0).pages(), DEFAULT_PAGES);
        assert_eq!(Grid::choose(100 * MIB, 100 * MIB).pages(), 1024);
        assert_eq!(Grid::choose(MIB, 100_000 * MIB).pages(), 1);
        assert_eq!(Grid::choose(0, 0).pages(), DEFAULT_PAGES);
    }

    #[test]
    fn a_grid_that_is_no_power_of_two_is_not_taken_over() {
        assert_eq!(Grid::recorded(512), Some(Grid(512)));
        assert_eq!(Grid::recorded(0), None);
        assert_eq!(Grid::recorded(1000), None);
    }

    #[test]
    fn conditions_name_whole_pages_and_leave_the_last_range_open() {
        let grid = Grid(2048);
        assert_eq!(grid.range(0, 3).condition(), "ctid >= '(0,0)' AND ctid < '(2048,0)'");
        assert_eq!(grid.range(2, 3).condition(), "ctid >= '(4096,0)'");
        assert_eq!(grid.range(0, 1).condition(), "true");
    }

    proptest! {
        #[test]
        fn ranges_meet_without_gap_or_overlap_and_stay_where_they_are_when_the_table_grows(
            power in 0u32..12, pages in 0u64..1_000_000, more in 0u64..1_000_000,
        ) {
            let grid = Grid(1 << power);
            let count = grid.ranges(pages);
            let mut next = 0;
            for number in 0..count {
                let range = grid.range(number, count);
                prop_assert_eq!(range.first, next);
                prop_assert_eq!(range.end.is_none(), number + 1 == count);
                next = range.end.unwrap_or(u64::MAX);
            }
            let grown = grid.ranges(pages + more);
            for number in 0..count - 1 {
                prop_assert_eq!(grid.range(number, count), grid.range(number, grown));
            }
        }
    }
}
