//! Whether the last runs of a series were slower than those before them: one rank test, fixed beforehand.
//!
//! Recovery times have no known distribution, and few of them make no trend. What can be asked is whether the last three lie
//! so far above the earlier ones as chance would bring about in one of twenty series (Mann and Whitney, one-sided, exact).
//! Of two intervals the later one is slower only where it lies above the earlier one as a whole: what overlaps speaks
//! against nothing.

/// So many runs at the end of a series are held against the others.
pub const LAST: usize = 3;
/// At least so many others: fewer could not be called slower whatever they showed with any margin.
pub const BEFORE: usize = 5;
/// Chance brings about what is called slower in at most this share of series.
pub const LEVEL: f64 = 0.05;

/// What the test says of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ranked {
    /// There are so few runs that nothing can be said.
    TooFew {
        /// How many there are.
        runs: usize,
    },
    /// How likely chance alone would rank the last ones at least as high.
    Chance(f64),
}

impl Ranked {
    /// Whether the last runs were slower.
    pub fn slower(self) -> bool {
        matches!(self, Self::Chance(share) if share <= LEVEL)
    }
}

/// Ranks the last runs of a series, in the order of time, against the others. Each is an interval, low and high; what never
/// ended is infinite.
pub fn rank(runs: &[(f64, f64)]) -> Ranked {
    if runs.len() < LAST + BEFORE {
        return Ranked::TooFew { runs: runs.len() };
    }
    let (before, last) = runs.split_at(runs.len() - LAST);
    let above = |(low, _): &(f64, f64)| before.iter().filter(|(_, high)| low > high).count();
    let above: usize = last.iter().map(above).sum();
    let ways = ways(last.len(), before.len());
    let as_high: f64 = ways.iter().skip(above).sum();
    Ranked::Chance(as_high / ways.iter().sum::<f64>())
}

/// In how many orders of `last` and `before` runs so many pairs have the last one above: by that number.
fn ways(last: usize, before: usize) -> Vec<f64> {
    // Of orders of i last ones and n others the highest is one of the others, or one of the last, which is above all n.
    let mut known: Vec<Vec<f64>> = vec![vec![1.0]; last + 1];
    for n in 1..=before {
        for i in 1..=last {
            let mut all = vec![0.0; i * n + 1];
            for (above, count) in known[i].iter().enumerate() {
                all[above] += count;
            }
            for (above, count) in known[i - 1].iter().enumerate() {
                all[above + n] += count;
            }
            known[i] = all;
        }
    }
    known.pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(runs: &[f64]) -> Ranked {
        rank(&runs.iter().map(|run| (*run, *run)).collect::<Vec<_>>())
    }

    #[test]
    fn of_all_orders_of_eight_runs_at_most_one_in_twenty_is_called_slower() {
        let (mut called, mut all) = (0, 0);
        for chosen in 0_u32..256 {
            if chosen.count_ones() as usize != LAST {
                continue;
            }
            let (last, before): (Vec<u32>, Vec<u32>) = (0..8).partition(|rank| chosen & (1 << rank) != 0);
            let runs: Vec<f64> = before.into_iter().chain(last).map(f64::from).collect();
            all += 1;
            called += u32::from(exact(&runs).slower());
        }
        assert_eq!((called, all), (2, 56));
    }

    #[test]
    fn the_shares_are_those_of_the_tables() {
        let Ranked::Chance(all_above) = exact(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]) else { panic!() };
        assert!((all_above - 1.0 / 56.0).abs() < 1e-12, "{all_above}");
        // 13 of 15 pairs: 4 of 56 orders have as many.
        let Ranked::Chance(some) = exact(&[1.0, 2.0, 3.0, 4.0, 6.5, 5.0, 6.0, 8.0]) else { panic!() };
        assert!((some - 4.0 / 56.0).abs() < 1e-12, "{some}");
        assert_eq!(exact(&[9.0, 8.0, 7.0, 6.0, 5.0, 3.0, 2.0, 1.0]), Ranked::Chance(1.0));
        assert_eq!(exact(&[1.0; 7]), Ranked::TooFew { runs: 7 });
    }

    #[test]
    fn intervals_that_overlap_are_not_apart_and_what_never_ended_is_slower_than_what_did() {
        let mut runs = vec![(1.0, 2.0); 5];
        runs.extend([(1.9, 9.0); 3]);
        assert_eq!(rank(&runs), Ranked::Chance(1.0));
        let never = (f64::INFINITY, f64::INFINITY);
        runs.truncate(5);
        runs.extend([never; 3]);
        assert!(rank(&runs).slower());
        assert_eq!(rank(&[never; 8]), Ranked::Chance(1.0));
    }
}
