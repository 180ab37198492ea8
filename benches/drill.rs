//! What a drill itself costs: how late its probes are, and what the report of a whole day takes.
//!
//! `cargo bench --bench drill` measures for 20 s; `cargo bench --bench drill -- lateness 60` and `-- day 3` measure one
//! thing: probes for so many seconds, a day with so many streams of ten probes a second. Memory is that of the whole
//! process at its highest, so measure one thing at a time.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and stops where it cannot go on")]

use davit::clock::SystemClock;
use davit::id::Sha256;
use davit::measure::{Answer, Instant, Interval, Sample, SteadyRule};
use davit::probe::observer::Stream;
use davit::probe::tcp::TcpService;
use davit::probe::{Ask, MemorySink, Observer, StreamPlan};
use davit::report::journal::{
    Aims, Began, Event, FORMAT, Healing, Line, Mark, PackedSamples, ScenarioFacts, Stream as Probed, StreamRole,
};
use davit::report::render::{self, Form};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |default: u64| arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(default);
    match arguments.first().map(String::as_str) {
        Some("lateness") => lateness(number(60)),
        Some("day") => day(number(3)),
        _ => {
            lateness(20);
            day(1);
        }
    }
}

/// A server that answers whatever it is sent.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut heard = [0; 64];
                while let Ok(read @ 1..) = client.read(&mut heard) {
                    if client.write_all(&heard[..read]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// How late probes are sent, ten a second on each of three streams, counted from when they were due.
fn lateness(seconds: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (clock, sink, address) = (SystemClock::shared(), MemorySink::new(), echo().to_string());
        let stream = |name: &str| Stream {
            plan: StreamPlan::new(name, Ask::Tcp { address: address.clone(), send: None, expect: None }),
            service: Arc::new(TcpService::new(&address, Some("ping"), Some("ping"))),
        };
        let streams = ["one", "two", "three"].map(stream).to_vec();
        let observer = Observer::new("bench", clock.clone(), sink.clone()).start(streams).unwrap();
        clock.sleep(Duration::from_secs(seconds)).await;
        let tally = observer.stop().await.unwrap();
        let seen = sink.observation().unwrap();
        let samples = seen.streams.values().flat_map(|series| &series.samples);
        let sent = samples.filter(|sample| sample.answer != Answer::NotSent);
        let mut late: Vec<Duration> = sent.map(|sample| sample.sent.saturating_sub(sample.due)).collect();
        late.sort_unstable();
        let at = |percent: usize| late[(late.len() - 1) * percent / 100];
        println!(
            "{} probes on three streams, late by {:?} (p50), {:?} (p99), {:?} (most); {} stalls (bar: p99 < 2 ms)",
            late.len(),
            at(50),
            at(99),
            at(100),
            tally.stalls
        );
    });
}

/// Reads one line of what the kernel says of this process, in KiB.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// The report of a day at ten probes a second on each of so many streams.
fn day(streams: u64) {
    let clock = SystemClock::shared();
    let journal = journal(streams);
    let held = status("VmRSS");
    let began = clock.monotonic();
    let report = davit::report::drill::of(&journal).unwrap();
    let made = clock.monotonic();
    let page = render::drill(&report, Form::Html).unwrap();
    let drawn = clock.monotonic();
    println!(
        "a day, {streams} streams: report in {:?}, page of {} KiB in {:?} (bar: report < 2 s, page < 1,000 KiB); verdict {}",
        made.saturating_sub(began),
        page.len() >> 10,
        drawn.saturating_sub(made),
        report.verdict.word
    );
    println!(
        "  memory: {} MiB with the journal, {} MiB at the highest (bar: 64 MiB)",
        held >> 10,
        status("VmHWM") >> 10
    );
}

const ZERO: Duration = Duration::from_secs(1_000);
const FAULT: Duration = Duration::from_hours(12);
const OUTAGE: Duration = Duration::from_secs(42);

/// A day with an outage in its middle.
fn journal(streams: u64) -> Vec<Line> {
    let mut lines = vec![Line { at: ZERO, event: Event::Began(Box::new(began())) }];
    let mut say = |at: Duration, event: Event| lines.push(Line { at, event });
    let names: Vec<String> = (0..streams).map(|number| format!("stream-{number}")).collect();
    for name in &names {
        let stream = Probed {
            name: name.clone(),
            path: name.clone(),
            observer: "bench".to_owned(),
            what: "HTTP".to_owned(),
            role: StreamRole::Judged,
            every: Duration::from_millis(100),
            deadline: Duration::from_secs(1),
        };
        say(ZERO, Event::Stream(stream));
    }
    let (from, until) = (ZERO + Duration::from_secs(5), ZERO + Duration::from_secs(65));
    say(until, Event::Steady { after: false, from, until });
    for (instant, evidence) in [(Instant::Requested, "asked for"), (Instant::Effective, "gone")] {
        let at = Interval::exact(ZERO + FAULT);
        say(at.high, Event::Mark(Mark { instant, at, evidence: evidence.to_owned() }));
    }
    let end = ZERO + Duration::from_hours(24);
    for name in &names {
        let mut number = 0_u32;
        while Duration::from_millis(100) * number < Duration::from_hours(24) {
            let part: Vec<Sample> = (number..number + 20_000).map(sample).collect();
            say(end, Event::Samples { stream: name.clone(), samples: PackedSamples::of(&part) });
            number += 20_000;
        }
    }
    say(end, Event::Stalls(Vec::new()));
    say(
        end,
        Event::Healing(Healing { nothing: false, what: "it".to_owned(), proven: true, detail: "as before".to_owned() }),
    );
    say(end, Event::Ended);
    lines
}

fn sample(number: u32) -> Sample {
    let due = ZERO + Duration::from_millis(100) * number;
    // Some unevenness, the same in each run.
    let noise = u64::from(number.wrapping_mul(2_654_435_761) >> 20);
    let sent = due + Duration::from_nanos(20_000 + noise * 17);
    let down = (ZERO + FAULT..ZERO + FAULT + OUTAGE).contains(&sent);
    let (ended, answer) = if down {
        (sent + Duration::from_micros(300 + noise), Answer::Refused("connection refused".to_owned()))
    } else {
        (sent + Duration::from_micros(2_000 + noise), Answer::Good)
    };
    Sample { due, sent, ended, answer }
}

fn began() -> Began {
    Began {
        format: FORMAT,
        run: "20261120T020000Z-k3f9ab".parse().unwrap(),
        repetition: None,
        tool: "bench".to_owned(),
        seed: 7,
        operator: None,
        confirmed: None,
        wall: "2026-11-20T02:00:00Z".parse().unwrap(),
        scenario: ScenarioFacts {
            file: "bench.yaml".to_owned(),
            sha256: Sha256::of(b"bench"),
            title: "A day".to_owned(),
            why: "to measure".to_owned(),
            hypothesis: "it is quick".to_owned(),
            owner: None,
            service: "bench".to_owned(),
            environment: "test".to_owned(),
            target: "nothing".to_owned(),
            fault: "none".to_owned(),
            recovery: "platform".to_owned(),
            ends_validated: false,
            ends_with: None,
            unasked: None,
            writes: None,
            theory: Vec::new(),
        },
        aims: Aims { rto: Some(Duration::from_mins(15)), ..Aims::default() },
        steady: SteadyRule::default(),
        hold: Duration::from_secs(10),
        hold_probes: 59,
        availability: (0.999, 30),
        versions: BTreeMap::new(),
    }
}
