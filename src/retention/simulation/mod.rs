//! Seeded histories of backups, retains and sweeps with pauses and crashes between any two calls of the store:
//! no committed point ever loses a chunk, and when calm returns nothing but what points name is left.

mod history;
mod scheduler;

use history::{Ended, History, LONGEST_RUN, Tally};
use scheduler::{COMA, Odds};
use std::time::Duration;

/// Deaths and sleeps as they happen in a history with a few thousand steps.
const STORMY: Odds = Odds { crash: 4, nap: 8, coma: 4 };

/// Time stands still while anybody can work, and blocking work is done in the order in which it was given.
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).max_blocking_threads(1).build().unwrap()
}

/// Plays one history; a violation panics with the seed and the whole story.
fn play(seed: u64, odds: Odds) -> Tally {
    let played = std::panic::catch_unwind(|| runtime().block_on(history(seed, odds)));
    played.unwrap_or_else(|_| panic!("seed {seed} fails; play({seed}, STORMY) repeats it"))
}

async fn history(seed: u64, odds: Odds) -> Tally {
    let mut history = History::new(seed, odds).await;
    let scheduler = history.scheduler.clone();
    for _ in 0..scheduler.draw(10) + 6 {
        match scheduler.draw(10) {
            0..=3 => history.backup("shop"),
            4 => history.backup("wiki"),
            5..=6 => history.retain(u32::try_from(scheduler.draw(2) + 1).unwrap()),
            _ => history.sweep(),
        };
        // Up to three actors go on from before: side by side with the next one, or in their sleep.
        history.go_on(scheduler.draw(4)).await;
        scheduler.advance(Duration::from_hours(scheduler.draw(24) as u64));
    }
    history.calm_down().await;
    history.tally
}

fn play_all(seeds: std::ops::Range<u64>) -> Tally {
    let mut tally = Tally::default();
    seeds.for_each(|seed| tally += play(seed, STORMY));
    tally
}

#[test]
fn no_committed_point_loses_a_chunk_in_any_of_these_histories() {
    let tally = play_all(0..40);
    assert!(tally.commits > 50 && tally.chunks_taken > 30 && tally.points_removed > 10, "{tally:?}");
    assert!(tally.deaths > 10 && tally.refused_commits > 10 && tally.waited > 10, "{tally:?}");
    assert!(tally.named_again > 0 && tally.sweeps_failed == 0, "{tally:?}");
}

/// Ten thousand more, a thousand to a test, so that they run side by side and any part can be run alone.
mod soak_no_committed_point_loses_a_chunk_in_ten_thousand_histories {
    use super::play_all;

    macro_rules! a_thousand_histories {
        ($($name:ident: $first:literal,)*) => {$(
            #[test]
            #[ignore = "long: make soak"]
            fn $name() {
                let tally = play_all($first..$first + 1_000);
                assert!(tally.refused_commits > 10 && tally.chunks_taken > 100, "{tally:?}");
            }
        )*};
    }

    a_thousand_histories! {
        from_1000: 1_000,
        from_2000: 2_000,
        from_3000: 3_000,
        from_4000: 4_000,
        from_5000: 5_000,
        from_6000: 6_000,
        from_7000: 7_000,
        from_8000: 8_000,
        from_9000: 9_000,
        from_10000: 10_000,
    }
}

#[test]
fn a_run_that_slept_longer_than_the_longest_run_while_a_sweep_passed_cannot_commit() {
    runtime().block_on(async {
        let mut history = History::new(7, Odds::CALM).await;
        let scheduler = history.scheduler.clone();
        let sleeper = history.backup("shop");
        scheduler.lull(sleeper, "/manifest.sig", COMA);
        // These sweeps mark what the run stores, and wait for it.
        while !scheduler.is_asleep(sleeper) {
            history.sweep();
            let ended = history.go_on(1).await;
            assert!(!ended.contains_key(&sleeper), "{ended:?}\n{}", scheduler.story());
        }
        history.sweep();
        history.go_on(1).await;
        assert!(history.tally.waited > 0 && history.tally.chunks_taken == 0, "{}", scheduler.story());
        scheduler.advance(LONGEST_RUN + Duration::from_hours(1));
        history.sweep();
        history.go_on(1).await;
        assert!(history.tally.chunks_taken > 0, "{}", scheduler.story());

        let ended = history.go_on(0).await.remove(&sleeper).flatten();
        let Some(Ended::Backup(Err(error))) = ended else { panic!("{ended:?}\n{}", scheduler.story()) };
        assert!(error.contains("the run was closed by a sweep"), "{error}");
        history.calm_down().await;
        assert_eq!(history.tally.commits, 0);
    });
}
