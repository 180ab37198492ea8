//! A deterministic scheduler: every call of every actor waits at a gate, before its effect and before its answer,
//! until a seeded choice lets exactly one go on. Between any two calls an actor can be paused for hours, or crash.

use crate::clock::Clock;
use crate::store::StoreError;
use crate::store::gated::{Call, Gate};
use async_trait::async_trait;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How likely things are, in thousandths per step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Odds {
    /// The actor whose turn it is dies here.
    pub(super) crash: u32,
    /// It sleeps for minutes …
    pub(super) nap: u32,
    /// … or for longer than any run may take.
    pub(super) coma: u32,
}

impl Odds {
    /// Everything goes through.
    pub(super) const CALM: Self = Self { crash: 0, nap: 0, coma: 0 };
}

/// A nap and a coma, at most; a coma is at least as long as the longest run that the simulation allows.
const NAP: Duration = Duration::from_hours(2);
pub(super) const COMA: Duration = Duration::from_hours(60);

/// Who acts, by the order of starting.
pub(super) type Actor = usize;

/// Time and turns of one history.
#[derive(Debug)]
pub(super) struct Scheduler {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: StdRng,
    odds: Odds,
    wall: Timestamp,
    monotonic: Duration,
    next_ticket: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Until when an actor sleeps.
    asleep: BTreeMap<Actor, Duration>,
    /// Who falls asleep at which call, and for how long.
    lulls: Vec<(Actor, &'static str, Duration)>,
    story: Vec<String>,
    /// Whether a chunk was deleted or a signature put since somebody looked.
    touched: bool,
}

#[derive(Debug)]
struct Waiting {
    actor: Actor,
    what: String,
    until: Duration,
    go: oneshot::Sender<()>,
}

impl Scheduler {
    pub(super) fn new(seed: u64, odds: Odds) -> Arc<Self> {
        let wall = Timestamp::from_second(1_800_000_000).unwrap_or(Timestamp::UNIX_EPOCH);
        Arc::new(Self {
            state: Mutex::new(State {
                rng: StdRng::seed_from_u64(seed),
                odds,
                wall,
                monotonic: Duration::ZERO,
                next_ticket: 0,
                waiting: BTreeMap::new(),
                asleep: BTreeMap::new(),
                lulls: Vec::new(),
                story: Vec::new(),
                touched: false,
            }),
        })
    }

    /// The gate that one actor's store calls pass.
    pub(super) fn gate(self: &Arc<Self>, actor: Actor) -> Arc<dyn Gate> {
        Arc::new(ActorsGate { scheduler: Arc::clone(self), actor })
    }

    /// The clock by which one actor sleeps.
    pub(super) fn clock(self: &Arc<Self>, actor: Actor) -> Arc<dyn Clock> {
        Arc::new(ActorsClock { scheduler: Arc::clone(self), actor })
    }

    /// What happened, for the message of a failed history.
    pub(super) fn story(&self) -> String {
        self.state().story.join("\n")
    }

    /// Notes something in the story.
    pub(super) fn note(&self, what: impl Into<String>) {
        let mut state = self.state();
        let line = format!("{:>9.1}h      {}", state.monotonic.as_secs_f64() / 3600.0, what.into());
        state.story.push(line);
    }

    /// Draws a number below `end`.
    pub(super) fn draw(&self, end: usize) -> usize {
        self.state().rng.random_range(0..end)
    }

    pub(super) fn set_odds(&self, odds: Odds) {
        self.state().odds = odds;
    }

    /// Makes an actor sleep at its next call whose target ends so.
    pub(super) fn lull(&self, actor: Actor, at: &'static str, pause: Duration) {
        self.state().lulls.push((actor, at, pause));
    }

    /// Whether an actor sleeps.
    pub(super) fn is_asleep(&self, actor: Actor) -> bool {
        let state = self.state();
        state.asleep.get(&actor).is_some_and(|until| *until > state.monotonic)
    }

    /// Lets time pass.
    pub(super) fn advance(&self, by: Duration) {
        self.state().advance(by);
    }

    /// Lets actors go on, one at a time, until at most `left` are alive or `stop` says so; tells how they ended, or
    /// that they died. `stop` is asked whenever a chunk was deleted or a signature put.
    pub(super) async fn run<T>(
        &self,
        actors: &mut BTreeMap<Actor, JoinHandle<T>>,
        left: usize,
        mut stop: impl FnMut() -> bool,
    ) -> BTreeMap<Actor, Option<T>> {
        let mut ended = BTreeMap::new();
        loop {
            // Paused time moves on only when no task can run and no blocking work is under way: everybody waits.
            tokio::time::sleep(Duration::from_millis(1)).await;
            if std::mem::take(&mut self.state().touched) && stop() {
                return ended;
            }
            let done: Vec<Actor> =
                actors.iter().filter(|(_, handle)| handle.is_finished()).map(|(actor, _)| *actor).collect();
            for actor in done {
                if let Some(handle) = actors.remove(&actor) {
                    self.state().forget(actor);
                    ended.insert(actor, handle.await.ok());
                }
            }
            if actors.len() <= left {
                return ended;
            }
            if let Some(dead) = self.turn()
                && let Some(handle) = actors.remove(&dead)
            {
                handle.abort();
                ended.insert(dead, None);
            }
        }
    }

    /// Gives one waiting call its turn; or somebody dies, which it tells.
    fn turn(&self) -> Option<Actor> {
        let mut state = self.state();
        let step = Duration::from_millis(state.rng.random_range(1..2_000));
        state.advance(step);
        let now = state.monotonic;
        let ready: Vec<u64> = state
            .waiting
            .iter()
            .filter(|(_, waiting)| {
                waiting.until.max(state.asleep.get(&waiting.actor).copied().unwrap_or_default()) <= now
            })
            .map(|(ticket, _)| *ticket)
            .collect();
        let Some(ticket) = state.pick(&ready) else {
            state.skip_to_the_first_waker();
            return None;
        };
        let chance = state.rng.random_range(0..1_000);
        let odds = state.odds;
        let waiting = state.waiting.get(&ticket).map(|waiting| (waiting.actor, waiting.what.clone()));
        let (actor, what) = waiting?;
        if let Some(at) = state.lulls.iter().position(|(who, at, _)| *who == actor && what.ends_with(at)) {
            let (_, _, pause) = state.lulls.remove(at);
            state.tell(actor, &format!("is lulled at {what}"));
            state.asleep.insert(actor, now + pause);
            return None;
        }
        if chance < odds.crash {
            state.tell(actor, &format!("dies at {what}"));
            state.forget(actor);
            return Some(actor);
        }
        if chance < odds.crash + odds.nap + odds.coma {
            let longest = if chance < odds.crash + odds.nap { NAP } else { COMA * 2 };
            let pause = longest.mul_f64(state.rng.random_range(0.5..1.0));
            state.tell(actor, &format!("sleeps {:.1}h at {what}", pause.as_secs_f64() / 3600.0));
            state.asleep.insert(actor, now + pause);
            return None;
        }
        state.tell(actor, &what);
        if let Some(waiting) = state.waiting.remove(&ticket) {
            // Whoever waits no longer was cancelled by its own actor.
            let _gone = waiting.go.send(());
        }
        None
    }

    async fn wait(&self, actor: Actor, what: String, pause: Duration) {
        let (go, gone) = oneshot::channel();
        {
            let mut state = self.state();
            let until = state.monotonic + pause;
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.waiting.insert(ticket, Waiting { actor, what, until, go });
        }
        if gone.await.is_err() {
            // The actor died here; its task is being aborted.
            std::future::pending::<()>().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn advance(&mut self, by: Duration) {
        self.monotonic += by;
        self.wall += by;
    }

    fn pick(&mut self, ready: &[u64]) -> Option<u64> {
        if ready.is_empty() {
            return None;
        }
        Some(ready[self.rng.random_range(0..ready.len())])
    }

    fn skip_to_the_first_waker(&mut self) {
        let wakes = |waiting: &Waiting| waiting.until.max(self.asleep.get(&waiting.actor).copied().unwrap_or_default());
        let first = self.waiting.values().map(wakes).min();
        if let Some(first) = first {
            self.advance(first.saturating_sub(self.monotonic));
        }
    }

    fn forget(&mut self, actor: Actor) {
        self.waiting.retain(|_, waiting| waiting.actor != actor);
        self.asleep.remove(&actor);
    }

    fn tell(&mut self, actor: Actor, what: &str) {
        let line = format!("{:>9.1}h  {actor:>2}  {what}", self.monotonic.as_secs_f64() / 3600.0);
        self.story.push(line);
    }
}

#[derive(Debug)]
struct ActorsGate {
    scheduler: Arc<Scheduler>,
    actor: Actor,
}

#[async_trait]
impl Gate for ActorsGate {
    async fn before(&self, call: Call<'_>) -> Result<(), StoreError> {
        self.scheduler.wait(self.actor, format!("{} {}", call.name, call.target), Duration::ZERO).await;
        Ok(())
    }

    async fn after(&self, call: Call<'_>) -> Result<(), StoreError> {
        // The answer to a question can come late, too, but what it asked for is not changed by that: only the time
        // between an effect and its answer is worth a choice.
        if call.name.starts_with("delete") && call.target.starts_with("chunks/")
            || call.target.ends_with("manifest.sig")
        {
            self.scheduler.state().touched = true;
        }
        if call.writes {
            let what = format!("answer to {} {}", call.name, call.target);
            self.scheduler.wait(self.actor, what, Duration::ZERO).await;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct ActorsClock {
    scheduler: Arc<Scheduler>,
    actor: Actor,
}

#[async_trait]
impl Clock for ActorsClock {
    fn now(&self) -> Timestamp {
        self.scheduler.state().wall
    }

    fn monotonic(&self) -> Duration {
        self.scheduler.state().monotonic
    }

    async fn sleep(&self, duration: Duration) {
        self.scheduler.wait(self.actor, "sleeping".to_owned(), duration).await;
    }
}
