use super::*;
use crate::clock::{PausedClock, SimClock};
use crate::error::Kind;
use crate::store::MemoryStore;
use crate::store::StoreError;
use crate::store::gated::{Call, Gate, GatedStore};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

fn paused() -> (SharedStore, SharedClock) {
    let clock = PausedClock::shared();
    (MemoryStore::new(Arc::clone(&clock)), clock)
}

fn since(clock: &SharedClock, start: Duration) -> Duration {
    clock.monotonic().saturating_sub(start)
}

fn claim(holder: &str) -> Claim {
    Claim { name: "backup-shop".to_owned(), holder: holder.to_owned(), term: TERM }
}

async fn take(store: &SharedStore, clock: &SharedClock, holder: &str) -> Result<Lease> {
    Lease::take(store, clock, &claim(holder), &CancellationToken::new()).await
}

async fn acquire(store: &SharedStore, clock: &SharedClock, holder: &str) -> Result<Lease> {
    Lease::acquire(store, clock, &claim(holder), &CancellationToken::new()).await
}

#[tokio::test(start_paused = true)]
async fn a_second_runner_is_refused_with_the_holders_name_and_age() {
    let (store, clock) = paused();
    let first = acquire(&store, &clock, "host-a (pid 7)").await.unwrap();
    clock.sleep(Duration::from_secs(190)).await;
    let asked = clock.monotonic();
    let error = acquire(&store, &clock, "host-b (pid 9)").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(error.to_string(), "taking the lease backup-shop: host-a (pid 7) has held it for 3m 25s");
    assert!(since(&clock, asked) <= TERM / RENEWALS_PER_TERM + TERM / LOOKS_PER_TERM);
    first.check().unwrap();
}

#[tokio::test]
async fn a_dead_holders_lease_is_taken_over_after_its_term_and_never_before() {
    let sim = SimClock::at(Timestamp::from_second(1_800_000_000).unwrap());
    let clock: SharedClock = Arc::new(sim.clone());
    let store: SharedStore = MemoryStore::new(Arc::clone(&clock));
    let dead = take(&store, &clock, "dead").await.unwrap();
    // The wall clock says that it ran out long ago; only an unchanged object on a running clock counts.
    sim.advance(Duration::from_hours(24));
    let asked = clock.monotonic();
    let next = take(&store, &clock, "next").await.unwrap();
    assert!(since(&clock, asked) >= TERM, "taken over after {:?}", since(&clock, asked));
    assert_eq!((dead.fence(), next.fence()), (1, 2));
    assert!(dead.check().is_err());
    let error = dead.renew().await.unwrap_err();
    assert_eq!(error.to_string(), "keeping the lease backup-shop: next holds it now");
    assert!(dead.lost().is_cancelled());
    next.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_free_at_once_and_its_number_goes_on() {
    let (store, clock) = paused();
    for fence in 1..=3 {
        let lease = acquire(&store, &clock, "runner").await.unwrap();
        assert_eq!(lease.fence(), fence);
        lease.release().await.unwrap();
    }
    assert_eq!(clock.monotonic(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn of_sixteen_runners_at_once_exactly_one_holds_the_lease() {
    let (store, clock) = paused();
    let contenders: Vec<_> = (0..16)
        .map(|number| {
            let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
            tokio::spawn(async move { acquire(&store, &clock, &format!("runner {number}")).await })
        })
        .collect();
    let mut winners = Vec::new();
    for contender in contenders {
        match contender.await.unwrap() {
            Ok(lease) => winners.push(lease),
            Err(error) => assert_eq!(error.kind(), Kind::Refused),
        }
    }
    assert_eq!(winners.len(), 1);
    winners[0].check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn sixteen_runners_after_a_dead_one_get_one_successor_and_no_number_twice() {
    let (store, clock) = paused();
    drop(take(&store, &clock, "dead").await.unwrap());
    let mut fences = BTreeSet::from([1]);
    for round in 0..4 {
        let contenders: Vec<_> = (0..16)
            .map(|number| {
                let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
                tokio::spawn(async move { acquire(&store, &clock, &format!("runner {number}")).await })
            })
            .collect();
        let mut winners = Vec::new();
        for contender in contenders {
            winners.extend(contender.await.unwrap());
        }
        assert_eq!(winners.len(), 1, "round {round}");
        assert!(fences.iter().all(|fence| *fence < winners[0].fence()));
        fences.insert(winners[0].fence());
        // The winner dies without a word.
    }
    assert_eq!(fences.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_knows_it_before_its_term_is_over() {
    let (line, store, clock) = Line::over_memory();
    let lease = acquire(&store, &clock, "cut off").await.unwrap();
    clock.sleep(TERM * 3).await;
    lease.check().unwrap();
    line.cut.store(true, Ordering::SeqCst);
    let cut = clock.monotonic();
    lease.lost().cancelled().await;
    assert!(since(&clock, cut) <= TERM, "{:?}", since(&clock, cut));
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_machine_was_suspended_for_its_term_knows_it_at_once() {
    let machine = PausedClock::begun();
    let clock: SharedClock = Arc::clone(&machine) as SharedClock;
    let line = Arc::new(Line::default());
    let memory: SharedStore = MemoryStore::new(Arc::clone(&clock));
    let store: SharedStore = GatedStore::new(memory, Arc::clone(&line) as Arc<dyn Gate>);
    let lease = acquire(&store, &clock, "laptop").await.unwrap();
    clock.sleep(Duration::from_secs(5)).await;
    line.cut.store(true, Ordering::SeqCst);
    machine.suspend(TERM * 10);
    let heard = tokio::time::timeout(Duration::from_secs(2), lease.lost().cancelled()).await;
    assert!(heard.is_ok(), "it goes on as if the lease were its own");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_settled_by_reading_back() {
    let (line, store, clock) = Line::over_memory();
    line.forgetful.store(true, Ordering::SeqCst);
    let lease = take(&store, &clock, "lucky").await.unwrap();
    lease.renew().await.unwrap();
    lease.check().unwrap();
    assert_eq!(lease.fence(), 1);
    lease.release().await.unwrap();
}

/// Cuts a store off, or loses the answers to writes that happened.
#[derive(Debug, Default)]
struct Line {
    cut: AtomicBool,
    forgetful: AtomicBool,
}

impl Line {
    fn over_memory() -> (Arc<Self>, SharedStore, SharedClock) {
        let (memory, clock) = paused();
        let line = Arc::new(Self::default());
        let gate: Arc<dyn Gate> = Arc::clone(&line) as Arc<dyn Gate>;
        (line, GatedStore::new(memory, gate), clock)
    }
}

#[async_trait]
impl Gate for Line {
    async fn before(&self, call: Call<'_>) -> Result<(), StoreError> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable {
                target: call.target.to_owned(),
                detail: format!("{} is cut off", call.name),
            });
        }
        Ok(())
    }

    async fn after(&self, call: Call<'_>) -> Result<(), StoreError> {
        if call.writes && self.forgetful.load(Ordering::SeqCst) {
            return Err(StoreError::OutcomeUnknown { target: call.target.to_owned(), detail: "no answer".to_owned() });
        }
        Ok(())
    }
}
