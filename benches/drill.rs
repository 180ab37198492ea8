//! What a drill itself costs: how late its probes are, what the report of a whole day takes, and the ledger of one.
//!
//! `cargo bench --bench drill` measures for 20 s; `cargo bench --bench drill -- lateness 60`, `-- day 3 10` and
//! `-- ledger 864000` measure one thing: probes for so many seconds, the report of a day with so many streams of ten probes
//! a second and so many writes a second, the end of a drill that made so many writes. Memory is that of the whole process at
//! its highest, so measure one thing at a time.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and stops where it cannot go on")]

use davit::clock::SystemClock;
use davit::id::Sha256;
use davit::measure::{Answer, Attempt, Instant, Interval, Outcome, Sample, SteadyRule};
use davit::probe::ledger::{Account, Ledger};
use davit::probe::observer::Stream;
use davit::probe::tcp::TcpService;
use davit::probe::{Ask, MemorySink, Observer, StreamPlan};
use davit::report::journal::{
    Aims, Began, Event, FORMAT, Healing, Line, Mark, PackedRead, PackedSamples, PackedWrites, ScenarioFacts,
    Stream as Probed, StreamRole, Survival, text,
};
use davit::report::render::{self, Form};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let argument = |at: usize, default: u64| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let number = |default: u64| argument(1, default);
    match arguments.first().map(String::as_str) {
        Some("lateness") => lateness(number(60)),
        Some("day") => day(number(3), argument(2, WRITES)),
        Some("ledger") => ledger(number(WRITES * 86_400)),
        _ => {
            lateness(20);
            day(1, WRITES);
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

/// The report of a day at ten probes a second on each of so many streams, and so many writes a second.
fn day(streams: u64, writes: u64) {
    let clock = SystemClock::shared();
    let journal = journal(streams, writes);
    let held = status("VmRSS");
    let began = clock.monotonic();
    let report = davit::report::drill::of(&journal).unwrap();
    let made = clock.monotonic();
    let page = render::drill(&report, Form::Html).unwrap();
    let drawn = clock.monotonic();
    println!(
        "a day, {streams} streams, {writes} writes a second: report in {:?}, page of {} KiB in {:?} (bar: report < 2 s, page < 1,000 KiB); verdict {}",
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

/// A drill makes so many writes a second where its scenario does not say it.
const WRITES: u64 = 10;
const DAY: Duration = Duration::from_hours(24);

/// A day with an outage in its middle.
fn journal(streams: u64, writes: u64) -> Vec<Line> {
    // First of all: what packing takes for a moment is free again before the journal is large.
    let written = written(writes);
    let mut lines = vec![Line { at: ZERO, event: Event::Began(Box::new(began(writes))) }];
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
    let end = ZERO + DAY;
    for name in &names {
        let mut number = 0_u32;
        while Duration::from_millis(100) * number < DAY {
            let part: Vec<Sample> = (number..number + 20_000).map(sample).collect();
            say(end, Event::Samples { stream: name.clone(), samples: PackedSamples::of(&part) });
            number += 20_000;
        }
    }
    say(end, Event::Stalls(Vec::new()));
    for event in written {
        say(end, event);
    }
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

/// What a day of writes comes to in a journal: they are made up as they are packed, and never held all at once.
fn written(writes: u64) -> Vec<Event> {
    if writes == 0 {
        return Vec::new();
    }
    let all = || (0..writes * 86_400).map(|number| write(number, writes));
    let reads: Vec<PackedRead> = (0..2).map(|_| PackedRead::of(all().filter_map(|write| row(&write)), all())).collect();
    let mut events: Vec<Event> = PackedWrites::parts(all()).map(Event::Writes).collect();
    events.extend(reads.into_iter().map(Event::Read));
    let gone =
        || all().filter(|write| write.timeline == Some(1) && write.outcome == Outcome::Ok && row(write).is_none());
    let fork = gone().filter_map(|write| write.lsn).map(|(before, _)| before).min();
    let old_commits = gone().filter_map(|write| u32::try_from(write.xid?).ok()).collect();
    let (before, after, old_commits) = (Some(1), Some(2), Some(old_commits));
    events.push(Event::Survival(Survival { before, after, fork, old_commits }));
    events
}

/// Something that looks like chance, the same in each run.
fn chance(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB)
}

fn position(id: u64) -> u64 {
    (1 << 32) + id * 300 + chance(id) % 256
}

/// The write whose end was seen as this one. Neighbours are swapped now and then, as several writers do it.
fn write(number: u64, a_second: u64) -> Attempt {
    let id = match number % 8 {
        3 => number + 1,
        4 => number - 1,
        _ => number,
    };
    let micros = |most: u64| Duration::from_micros(chance(id) % most);
    let invoked = ZERO + Duration::from_nanos(1_000_000_000 / a_second * id) + micros(5_000);
    let ended = invoked + Duration::from_millis(2) + micros(3_000);
    let down = (ZERO + FAULT..ZERO + FAULT + OUTAGE).contains(&invoked);
    let outcome = match (down, id % 2) {
        (false, _) => Outcome::Ok,
        (true, 0) => Outcome::Fail,
        (true, _) => Outcome::Unknown,
    };
    let timeline = Some(if invoked < ZERO + FAULT { 1 } else { 2 });
    let (lsn, xid) = (Some((position(id), position(id) + 200)), Some(id + 700));
    Attempt { id, payload: chance(!id), invoked, ended, outcome, timeline, lsn, xid }
}

/// Its row in the table: the last six seconds before the outage are lost, and some of what was acknowledged after it.
fn row(write: &Attempt) -> Option<(u64, u64)> {
    let since = |at: Duration| write.invoked.checked_sub(ZERO + FAULT).is_some_and(|since| since < at);
    let before = (ZERO + FAULT).checked_sub(write.invoked).is_some_and(|before| before < Duration::from_secs(6));
    let after = since(OUTAGE * 2) && write.id.is_multiple_of(50);
    let there = write.outcome == Outcome::Ok && !before && !after;
    there.then_some((write.id, write.payload))
}

/// The end of a drill that made so many writes: its ledger is read again, the table twice at the writer and once at the
/// standby, and all of it is packed and written into the journal.
fn ledger(writes: u64) {
    let clock = SystemClock::shared();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let ledger = Ledger::create(&path, 7, clock.clone()).unwrap();
    for from in (0..writes).step_by(8) {
        // Ids are given out in their order; ends come as they come.
        let payloads: Vec<u64> = (from..writes.min(from + 8)).map(|_| ledger.begin().unwrap().payload).collect();
        for number in from..writes.min(from + 8) {
            let write = write(number, WRITES);
            if let Some(&payload) = payloads.get(usize::try_from(write.id - from).unwrap()) {
                ledger.settle(&Attempt { payload, ..write.clone() }).unwrap();
            }
        }
    }
    ledger.sync().unwrap();
    drop(ledger);
    let (before, began) = (status("VmHWM"), clock.monotonic());
    let account = Ledger::reread(&path).unwrap();
    let (reread, reread_peak) = (clock.monotonic(), status("VmHWM"));
    let table = |account: &Account| account.attempts([]).filter_map(|write| row(&write)).collect::<Vec<_>>();
    let first = PackedRead::of(table(&account), account.attempts([]));
    let (mut rows, mut there) = (table(&account), table(&account));
    rows.sort_unstable();
    there.sort_unstable();
    assert_eq!(rows, there);
    drop(there);
    let last = PackedRead::of(rows, account.attempts([]));
    assert_eq!(first, last);
    let events = PackedWrites::parts(account.attempts([])).map(Event::Writes).chain([first, last].map(Event::Read));
    let bytes: usize = events.map(|event| text(&Line { at: ZERO, event }).unwrap().len()).sum();
    let packed = clock.monotonic();
    println!(
        "a ledger of {writes} writes, {} MiB: read again in {:?}, packed with three reads in {:?}; {} MiB of the journal",
        std::fs::metadata(&path).unwrap().len() >> 20,
        reread.saturating_sub(began),
        packed.saturating_sub(reread),
        bytes >> 20
    );
    println!(
        "  memory: {} MiB once it was written, {} MiB once it was read again, {} MiB at the highest (bar: 64 MiB)",
        before >> 10,
        reread_peak >> 10,
        status("VmHWM") >> 10
    );
}

fn began(writes: u64) -> Began {
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
            writes: (writes > 0).then_some(f64::from(u32::try_from(writes).unwrap())),
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
