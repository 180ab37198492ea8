//! The observer itself, in simulated time: its bounds, its pace, and what it does when it cannot keep it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]
#![allow(
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::similar_names,
    reason = "tests show what they measured"
)]
#![allow(clippy::unchecked_time_subtraction, reason = "a clock that goes back should stop a test")]

mod observer_support;

use async_trait::async_trait;
use davit::clock::{Clock, EventClock, SystemClock};
use davit::measure::{Answer, Attempt, Interval, Outcome, Recovery, Sample};
use davit::observation::{Entry, Observation};
use davit::probe::ledger::Ledger;
use davit::probe::observer::Stream;
use davit::probe::tcp::TcpService;
use davit::probe::transport::Transport;
use davit::probe::{Ask, MemorySink, Observer, Reply, Service, SharedService, Sink, StreamPlan, Tally, Ticket};
use jiff::{SignedDuration, Timestamp};
use observer_support::cost::processor;
use observer_support::measured::measured;
use observer_support::{FAILING, Failing, Net};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(1);
const FAULT_AT: Duration = Duration::from_secs(30);

fn plan() -> StreamPlan {
    let ask = Ask::Tcp { address: "simulated:1".to_owned(), send: None, expect: None };
    StreamPlan::new("fresh", ask).paced(PERIOD, DEADLINE)
}

/// Runs the observer until `end`; gives what it wrote down and what it says it did.
fn observe(clock: &EventClock, service: SharedService, end: Duration) -> (Observation, Tally) {
    let sink = MemorySink::new();
    let observer = Observer::new("simulated", Arc::new(clock.clone()), sink.clone());
    let stop = CancellationToken::new();
    let streams = vec![Stream { plan: plan(), service }];
    let tally = clock.run(async {
        let ending = async {
            clock.sleep_until(end).await;
            stop.cancel();
        };
        futures_util::join!(observer.run(streams, &stop), ending).0
    });
    (sink.observation().unwrap(), tally.unwrap().unwrap())
}

fn over(net: &Net) -> SharedService {
    Arc::new(TcpService::over(Arc::new(net.clone()), "simulated:1", Some("ping"), Some("pong")))
}

/// One outage of known length; gives the interval of the measurement.
fn outage(
    seed: u64,
    failing: Failing,
    length: Duration,
    background: f64,
    stall: Option<(Duration, Duration)>,
) -> Interval {
    let clock = EventClock::at(Timestamp::UNIX_EPOCH);
    if let Some((at, length)) = stall {
        clock.stall(at, length);
    }
    // Where in a period the fault strikes is drawn, too.
    let fault = FAULT_AT + Duration::from_micros(StdRng::seed_from_u64(seed).random_range(0..100_000));
    let net = Net::new(&clock, seed, failing, (fault, fault + length), background);
    let (seen, _) = observe(&clock, over(&net), fault + length + Duration::from_secs(20));
    let recovery = measured(&seen, "fresh", Interval::exact(fault), Duration::from_secs(10));
    recovery.time().unwrap_or_else(|| panic!("seed {seed}, {failing:?}, {length:?}: {recovery:?}"))
}

fn outages(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let failing = FAILING[usize::try_from(seed).unwrap() % FAILING.len()];
        let length = Duration::from_millis(StdRng::seed_from_u64(seed + 10_000).random_range(200..60_000));
        let time = outage(seed, failing, length, 0.001, None);
        assert!(time.contains(length), "seed {seed}, {failing:?}: {length:?} is not in {time}");
        let quick = matches!(failing, Failing::Refuse | Failing::Reset);
        let first_failure = if quick { Duration::from_millis(8) } else { DEADLINE };
        let bound = 2 * PERIOD + first_failure + Duration::from_millis(10);
        assert!(time.width() <= bound, "seed {seed}, {failing:?}: {time} for {length:?} is wider than {bound:?}");
    }
}

#[test]
fn the_interval_contains_the_truth_and_is_narrow_in_the_first_500_of_1000_outages() {
    outages(0..500);
}

#[test]
fn the_interval_contains_the_truth_and_is_narrow_in_the_other_500_of_1000_outages() {
    outages(500..1_000);
}

/// What a health check in the manner of krkn's reports of the same outage: a request that may take 3 s, a pause of 2 s, and
/// again; a change of the answer ends a span and begins none, the next look does. `None` where no recovery is reported.
fn as_krkn(seed: u64, failing: Failing, length: Duration) -> Option<Duration> {
    let clock = EventClock::at(Timestamp::UNIX_EPOCH);
    let fault = FAULT_AT + Duration::from_micros(StdRng::seed_from_u64(seed).random_range(0..100_000));
    let net = Net::new(&clock, seed, failing, (fault, fault + length), 0.001);
    let end = fault + length + Duration::from_secs(20);
    clock
        .run(async {
            let (mut span, mut reported): (Option<(bool, Duration)>, Option<Duration>) = (None, None);
            while clock.monotonic() < end {
                let asked = async {
                    let mut wire = net.connect("simulated:1").await?;
                    wire.write_all(b"ping").await?;
                    wire.read_exact(&mut [0; 4]).await
                };
                let good = tokio::select! {
                    answer = asked => answer.is_ok(),
                    () = clock.sleep(Duration::from_secs(3)) => false,
                };
                match span {
                    None => span = Some((good, clock.monotonic())),
                    Some((was, from)) if was != good => {
                        if good {
                            reported = reported.max(Some(clock.monotonic() - from));
                        }
                        span = None;
                    }
                    Some(_) => {}
                }
                clock.sleep(Duration::from_secs(2)).await;
            }
            reported
        })
        .unwrap()
}

#[test]
#[ignore = "a comparison that prints a table: make soak"]
fn soak_what_another_method_would_have_reported_for_the_same_thousand_outages() {
    for failing in FAILING {
        let (mut silent, mut wrong, mut errors) = (0, 0, Vec::new());
        let seeds = (0..1_000_u64).filter(|seed| FAILING[usize::try_from(*seed).unwrap() % FAILING.len()] == failing);
        for seed in seeds {
            let length = Duration::from_millis(StdRng::seed_from_u64(seed + 10_000).random_range(200..60_000));
            let ours = outage(seed, failing, length, 0.001, None);
            assert!(ours.contains(length));
            match as_krkn(seed, failing, length) {
                None => silent += 1,
                Some(told) => {
                    wrong += u32::from(!ours.contains(told));
                    errors.push(told.as_secs_f64() - length.as_secs_f64());
                }
            }
        }
        errors.sort_by(f64::total_cmp);
        let at = |percent: usize| errors[(errors.len() - 1) * percent / 100];
        eprintln!(
            "{failing:?}: {silent} of {} not reported; error of the others {:+.2} s to {:+.2} s, half of them below {:+.2} s; \
             {wrong} lie outside of the interval that holds the truth",
            silent + errors.len(),
            at(0),
            at(100),
            at(50)
        );
    }
}

#[test]
fn a_stall_of_the_observer_widens_the_interval_and_never_makes_it_wrong() {
    let mut widened = 0;
    for seed in 0..60 {
        let failing = FAILING[usize::try_from(seed).unwrap() % FAILING.len()];
        let mut random = StdRng::seed_from_u64(seed + 20_000);
        let length = Duration::from_millis(random.random_range(2_000..15_000));
        let at = FAULT_AT + Duration::from_millis(random.random_range(0..15_000));
        let stalled = Duration::from_millis(random.random_range(300..3_000));
        let plain = outage(seed, failing, length, 0.0, None);
        let time = outage(seed, failing, length, 0.0, Some((at, stalled)));
        assert!(time.contains(length), "seed {seed}, {failing:?}: {length:?} is not in {time}, stalled at {at:?}");
        assert!(time.width() <= plain.width() + stalled + DEADLINE + 2 * PERIOD, "seed {seed}: {time}, {plain}");
        widened += u32::from(time.width() > plain.width());
    }
    assert!(widened > 5, "only {widened} intervals were widened");
}

/// Answers after a time of its own, and counts how many wait.
struct Slow {
    answers_after: Option<Duration>,
    out: AtomicU32,
    most: AtomicU32,
}

impl Slow {
    fn new(answers_after: Option<Duration>) -> Arc<Self> {
        Arc::new(Self { answers_after, out: AtomicU32::new(0), most: AtomicU32::new(0) })
    }
}

struct Out<'a>(&'a Slow);

impl Drop for Out<'_> {
    fn drop(&mut self) {
        self.0.out.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Service for Slow {
    async fn probe(&self, ticket: Ticket) -> Reply {
        let out = self.out.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(out, Ordering::SeqCst);
        let _out = Out(self);
        match self.answers_after {
            Some(after) => ticket.clock.sleep(after).await,
            // It does not let go when it is told to, either.
            None => std::future::pending().await,
        }
        Reply::Good
    }
}

#[test]
fn a_slow_service_does_not_hold_up_the_next_probe_and_its_answers_are_bad_after_the_deadline() {
    let clock = EventClock::at(Timestamp::UNIX_EPOCH);
    let (seen, tally) = observe(&clock, Slow::new(Some(Duration::from_millis(950))), Duration::from_secs(10));
    let samples = &seen.streams["fresh"].samples;
    assert!(samples.len() >= 100 && samples.iter().all(Sample::good), "{tally:?}");
    assert!(samples.iter().all(|sample| sample.sent == sample.due), "each is sent when it is due");
    let (seen, tally) = observe(&clock, Slow::new(Some(Duration::from_millis(1_050))), Duration::from_secs(20));
    assert!(seen.streams["fresh"].samples.iter().all(|sample| sample.answer == Answer::Silent), "{tally:?}");
}

#[test]
fn a_service_that_never_lets_go_holds_no_more_connections_than_stated_and_the_rest_are_gaps() {
    let clock = EventClock::at(Timestamp::UNIX_EPOCH);
    let service = Slow::new(None);
    let (seen, tally) = observe(&clock, service.clone(), Duration::from_secs(30));
    let stated = plan().connections();
    assert_eq!(stated, 20);
    assert!(service.most.load(Ordering::SeqCst) <= stated);
    assert_eq!(service.out.load(Ordering::SeqCst), 0, "in the end all are let go");
    let count = tally.streams["fresh"];
    assert_eq!((count.good, count.refused), (0, 0));
    // Where one is let go in the very instant in which the next is due, either may come first.
    assert!(count.silent + count.gaps >= 300 && count.silent >= 280 && count.out_at_most <= stated, "{count:?}");
    assert!(seen.whole);
}

#[test]
fn a_machine_that_stood_still_is_written_down_and_missed_probes_are_gaps() {
    let clock = EventClock::at(Timestamp::UNIX_EPOCH);
    clock.stall(Duration::from_secs(5), Duration::from_millis(1_230));
    let (seen, tally) = observe(&clock, Slow::new(Some(Duration::from_millis(3))), Duration::from_secs(10));
    assert_eq!((seen.stalls.len(), tally.stalls), (1, 1));
    assert!(seen.stalls[0].length() >= Duration::from_millis(1_230), "{:?}", seen.stalls);
    let count = tally.streams["fresh"];
    assert_eq!(count.gaps, 12, "{count:?}");
    assert!(count.late_at_most < PERIOD, "{count:?}");
}

#[test]
fn a_step_of_the_wall_clock_by_an_hour_changes_no_duration() {
    let run = |steps: &[i64]| {
        let clock = EventClock::at(Timestamp::UNIX_EPOCH);
        let net = Net::new(&clock, 3, Failing::Reset, (FAULT_AT, FAULT_AT + Duration::from_secs(7)), 0.001);
        for (second, hours) in (31..).zip(steps) {
            let (clock, hours) = (clock.clone(), *hours);
            clock.step_wall_at(Duration::from_secs(second), SignedDuration::from_hours(hours));
        }
        let (seen, tally) = observe(&clock, over(&net), FAULT_AT + Duration::from_secs(30));
        (measured(&seen, "fresh", Interval::exact(FAULT_AT), Duration::from_secs(10)), tally, clock.now())
    };
    let (plain, stepped) = (run(&[]), run(&[1, -2]));
    assert!(matches!(plain.0, Recovery::Restored(_)));
    assert_eq!((plain.0, plain.1), (stepped.0, stepped.1));
    assert_ne!(plain.2, stepped.2, "the wall clock was stepped");
}

#[test]
fn without_a_sample_after_the_fault_nothing_is_known() {
    let clock = EventClock::at(Timestamp::UNIX_EPOCH);
    let net = Net::new(&clock, 3, Failing::Reset, (FAULT_AT, FAULT_AT + Duration::from_secs(7)), 0.0);
    let (seen, _) = observe(&clock, over(&net), FAULT_AT - Duration::from_secs(1));
    let recovery = measured(&seen, "fresh", Interval::exact(FAULT_AT), Duration::from_secs(10));
    assert_eq!(recovery, Recovery::NoData);
    let text: String = [Entry::Ended { at: Duration::ZERO }].iter().map(Entry::line).collect();
    assert!(Observation::read(text.as_bytes()).unwrap().streams.is_empty());
}

/// Counts lines and their bytes, and keeps nothing.
#[derive(Default)]
struct Counting {
    lines: AtomicU64,
    bytes: AtomicU64,
}

impl Sink for Counting {
    fn put(&self, entry: &Entry) {
        self.lines.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(entry.line().len() as u64, Ordering::Relaxed);
    }
}

/// The resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "takes a minute of processor time: make soak"]
fn soak_a_day_at_ten_probes_a_second_needs_no_memory_that_grows() {
    let clock = EventClock::at(Timestamp::UNIX_EPOCH);
    let sink = Arc::new(Counting::default());
    let observer = Observer::new("simulated", Arc::new(clock.clone()), sink.clone());
    let stop = CancellationToken::new();
    let streams = vec![Stream { plan: plan(), service: Slow::new(Some(Duration::from_millis(3))) }];
    let before = resident();
    let mut grown = 0;
    clock.run(async {
        let ending = async {
            for hour in 1..=24 {
                clock.sleep_until(Duration::from_hours(hour)).await;
                grown = grown.max(resident().saturating_sub(before));
            }
            stop.cancel();
        };
        futures_util::join!(observer.run(streams, &stop), ending).0.unwrap();
    });
    let (lines, bytes) = (sink.lines.load(Ordering::Relaxed), sink.bytes.load(Ordering::Relaxed));
    eprintln!("24 h at 10 Hz: {lines} lines, {} MiB of log, memory grew by {grown} KiB", bytes >> 20);
    assert!(lines > 864_000);
    assert!(grown < 8 * 1024, "{grown} KiB");
}

#[test]
#[ignore = "measures this machine: make soak"]
fn soak_a_ledger_costs_less_than_a_twentieth_of_a_core_at_a_thousand_writes_a_second() {
    const WRITES: u64 = 20_000;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path().join("ledger");
    let clock = SystemClock::shared();
    let ledger = Ledger::create(&path, 1, clock.clone()).unwrap();
    let begin = clock.monotonic();
    // A name of its own for the thread that writes, so that its time can be told from that of other tests.
    let writing = std::thread::Builder::new().name("davit-cost".to_owned());
    let spent = std::thread::scope(|scope| {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let before = processor(&["davit-cost", "davit-ledger"]);
            for number in 0..WRITES {
                let due = begin + Duration::from_millis(number);
                let early = due.saturating_sub(clock.monotonic());
                if !early.is_zero() {
                    runtime.block_on(clock.sleep(early));
                }
                let row = ledger.begin().unwrap();
                let (invoked, ended) = (row.invoked, clock.monotonic());
                let (outcome, lsn) = (Outcome::Ok, Some((number, number)));
                let (timeline, xid) = (Some(1), Some(number));
                let attempt = Attempt { id: row.id, payload: row.payload, invoked, ended, outcome, timeline, lsn, xid };
                ledger.settle(&attempt).unwrap();
            }
            processor(&["davit-cost", "davit-ledger"]) - before
        };
        writing.spawn_scoped(scope, work).unwrap().join().unwrap()
    });
    let took = clock.monotonic() - begin;
    let share = spent.as_secs_f64() / took.as_secs_f64() * 100.0;
    ledger.sync().unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len() / WRITES;
    eprintln!("{WRITES} writes in {took:.1?}: {share:.2} % of a core, waiting included; {bytes} bytes each");
    assert_eq!(Ledger::reread(&path).unwrap().settled().count() as u64, WRITES);
    assert!(share < 5.0, "{share}");
}
