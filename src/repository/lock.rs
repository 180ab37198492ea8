//! Object locks: how long what a point names cannot be deleted.
//!
//! Locks are set in coarse steps, so that a chunk which a daily backup uses again every day is locked anew once a week.

use jiff::Timestamp;

/// A number of weeks since 1970.
pub(super) type LockStep = u16;

const STEP_SECONDS: i64 = 7 * 24 * 3600;

/// When the step ends that covers `until`: what a lock that must last until then is set to.
pub fn step_end(until: Timestamp) -> Timestamp {
    lock_step(until).1
}

/// The step that covers `until`, and when it ends.
pub(super) fn lock_step(until: Timestamp) -> (LockStep, Timestamp) {
    let seconds = until.as_second().max(0).saturating_add(i64::from(until.subsec_nanosecond() > 0));
    let step = u16::try_from((seconds + STEP_SECONDS - 1) / STEP_SECONDS).unwrap_or(u16::MAX >> 1).min(u16::MAX >> 1);
    (step, Timestamp::from_second(i64::from(step) * STEP_SECONDS).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_ends_at_or_after_the_instant_it_covers_and_within_a_week() {
        for second in [0, 1, STEP_SECONDS - 1, STEP_SECONDS, 1_800_000_000, 1_800_000_123] {
            let until = Timestamp::from_second(second).unwrap();
            let (step, end) = lock_step(until);
            assert!(end >= until && end.as_second() - second < STEP_SECONDS, "{second}");
            assert_eq!(lock_step(end), (step, end), "{second}");
        }
    }
}
