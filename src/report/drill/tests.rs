//! Journals as a drill writes them, made by hand, and what their reports say.

#![allow(clippy::unchecked_time_subtraction, reason = "the instants of a drill that never was are constants")]

use super::*;
use crate::id::Sha256;
use crate::measure::{Answer, Attempt, Instant, Interval, Outcome, Sample, Stall, SteadyRule};
use crate::report::journal::*;
use crate::report::render::{self, Form};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A drill that never was: the service is down from `fault` for `outage`, and the last `lost` writes before it are gone.
#[derive(Clone)]
pub(in crate::report) struct Made {
    pub(in crate::report) run: &'static str,
    pub(in crate::report) title: &'static str,
    pub(in crate::report) fault_name: &'static str,
    pub(in crate::report) service: &'static str,
    pub(in crate::report) began: &'static str,
    pub(in crate::report) outage: Duration,
    pub(in crate::report) lost: u64,
    pub(in crate::report) aims: Aims,
    pub(in crate::report) proven: bool,
    pub(in crate::report) steady: bool,
    pub(in crate::report) healed: bool,
    pub(in crate::report) watched: Duration,
    pub(in crate::report) stalls: Vec<Stall>,
    pub(in crate::report) every: Duration,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            run: "20261120T020000Z-k3f9ab",
            title: "The primary crashes, an asynchronous standby takes over",
            fault_name: "primary-crash",
            service: "covetpy-database",
            began: "2026-11-20T02:00:00Z",
            outage: ms(12_400),
            lost: 57,
            aims: Aims { rto: Some(Duration::from_mins(15)), rpo: Some(Duration::from_mins(5)), ..Aims::default() },
            proven: true,
            steady: true,
            healed: true,
            watched: Duration::from_secs(90),
            stalls: Vec::new(),
            every: ms(100),
        }
    }
}

/// The observer's clock does not begin at zero.
const ZERO: Duration = Duration::from_secs(1000);
const FAULT: Duration = Duration::from_secs(1030);

impl Made {
    /// Its journal.
    pub(in crate::report) fn journal(&self) -> Vec<Line> {
        let mut lines = vec![Line { at: ZERO, event: Event::Began(Box::new(self.began())) }];
        let mut say = |at: Duration, event: Event| lines.push(Line { at, event });
        self.opening(&mut say);
        let before = (ZERO + ms(1000), FAULT - ms(5000));
        say(before.1, Event::Steady { after: false, from: before.0, until: before.1 });
        if self.steady {
            self.fault(&mut say);
        }
        let up = FAULT + self.outage;
        let end = FAULT + self.watched;
        for (number, name) in ["sql-fresh", "sql-pooled", "sql-reads"].into_iter().enumerate() {
            let later = if number == 1 { ms(380) } else { Duration::ZERO };
            let samples = self.samples(up + later, number == 2, end);
            say(end, Event::Samples { stream: name.to_owned(), samples: PackedSamples::of(&samples) });
        }
        say(end, Event::Stalls(self.stalls.clone()));
        if self.steady && self.proven {
            let writes = self.writes(up, end);
            let kept = writes.iter().filter(|write| write.outcome == Outcome::Ok && !self.gone(write));
            let rows: Vec<(u64, u64)> = kept.map(|write| (write.id, write.payload)).collect();
            say(end, Event::Writes(PackedWrites::of(&writes)));
            say(
                end,
                Event::Survival(Survival {
                    before: Some(3),
                    after: Some(4),
                    fork: Some(0x1_4A00_0000 + 20_000 * 90),
                    old_commits: Some(self.lost_xids(&writes)),
                }),
            );
            for _ in 0..2 {
                say(end, Event::Read(PackedRead::of(rows.iter().copied(), &writes)));
            }
            self.closing(end, &mut say);
        }
        say(end, Event::Ended);
        lines
    }

    /// What is looked at, which guards were asked, who was chosen.
    fn opening(&self, say: &mut impl FnMut(Duration, Event)) {
        for (name, role, what) in [
            ("sql-fresh", StreamRole::Judged, "SQL, writing, a fresh connection each time"),
            ("sql-pooled", StreamRole::Judged, "SQL, writing, over pooled connections"),
            ("sql-reads", StreamRole::Shown, "SQL, reading, a fresh connection each time"),
        ] {
            let stream = Stream {
                name: name.to_owned(),
                path: name.to_owned(),
                observer: "this machine".to_owned(),
                what: what.to_owned(),
                role,
                every: self.every,
                deadline: ms(1000),
            };
            say(ZERO, Event::Stream(stream));
        }
        for (name, detail) in [
            ("environment", "the database says that it belongs to staging"),
            ("lease", "no other drill runs"),
            ("open-intent", "no fault is left over"),
        ] {
            say(
                ZERO,
                Event::Guard(Guard { name: name.to_owned(), allowed: true, lifted: false, detail: detail.to_owned() }),
            );
        }
        say(
            ZERO,
            Event::Planned {
                candidates: 1,
                victims: vec![PlannedVictim {
                    name: "server at 127.0.0.1:5432 (process 4711 and its children)".to_owned(),
                    key: "4711".to_owned(),
                }],
                cap: "1 and at most 100 %".to_owned(),
                phase: ms(4211),
                undo: "nothing; a standby takes over".to_owned(),
            },
        );
    }

    /// The steady state afterwards, and that everything was put back.
    fn closing(&self, end: Duration, say: &mut impl FnMut(Duration, Event)) {
        say(end, Event::Steady { after: true, from: end - ms(20_000), until: end });
        say(
            end,
            Event::Mark(Mark {
                instant: Instant::Validated,
                at: Interval::exact(end),
                evidence: "the ledger was compared twice".to_owned(),
            }),
        );
        say(
            end,
            Event::Healing(Healing {
                nothing: self.healed,
                what: "primary-crash of server at 127.0.0.1:5432".to_owned(),
                proven: self.healed,
                detail: if self.healed {
                    "the server is down; the standby took over"
                } else {
                    "the server cannot be reached"
                }
                .to_owned(),
            }),
        );
    }

    fn fault(&self, say: &mut impl FnMut(Duration, Event)) {
        let exact = Interval::exact;
        let mut mark = |instant, at: Interval, evidence: &str| {
            say(at.high, Event::Mark(Mark { instant, at, evidence: evidence.to_owned() }));
        };
        mark(Instant::Requested, exact(FAULT - ms(30)), "SIGKILL sent to process 4711 and its children");
        if self.proven {
            mark(Instant::Effective, Interval::new(FAULT - ms(12), FAULT), "process 4711 and its 14 children are gone");
            mark(Instant::Detected, exact(FAULT + ms(2100)), "two probes in a row failed");
            mark(Instant::Decided, exact(FAULT + ms(4100)), "promotion asked for");
            mark(
                Instant::Writer,
                Interval::new(FAULT + ms(11_200), FAULT + ms(11_260)),
                "pg_is_in_recovery is false, timeline 4",
            );
            say(
                FAULT + ms(11_300),
                Event::Step {
                    what: "promote the standby".to_owned(),
                    from: FAULT + ms(4100),
                    ok: true,
                    detail: "on timeline 4".to_owned(),
                },
            );
            say(
                FAULT + ms(11_300),
                Event::Touched { victims: vec!["server at 127.0.0.1:5432 (process 4711 and its children)".to_owned()] },
            );
        } else {
            let why = "not all of its processes were gone within 10 s".to_owned();
            say(FAULT + ms(10_000), Event::Unproven { why });
            let healing = Healing {
                nothing: true,
                what: "primary-crash".to_owned(),
                proven: true,
                detail: "the same server answers".to_owned(),
            };
            say(FAULT + ms(10_000), Event::Healing(healing));
        }
    }

    fn began(&self) -> Began {
        Began {
            format: FORMAT,
            run: serde_json::from_value(self.run.into()).unwrap(),
            repetition: None,
            tool: "davit 0.1.0".to_owned(),
            seed: 4_503_599_627,
            operator: Some("drill account".to_owned()),
            confirmed: None,
            wall: self.began.parse::<Timestamp>().unwrap(),
            scenario: ScenarioFacts {
                file: format!("scenarios/{}.yaml", self.fault_name),
                sha256: Sha256::of(self.title.as_bytes()),
                title: self.title.to_owned(),
                why: "An asynchronous standby is always a little behind. This drill says how much that little is."
                    .to_owned(),
                hypothesis: format!(
                    "if {} strikes, then {} is restored within 15m and loses no more than 5m of acknowledged writes",
                    self.fault_name, self.service
                ),
                owner: Some("database team".to_owned()),
                service: self.service.to_owned(),
                environment: "staging".to_owned(),
                target: "processes on this machine, clients at {env: DRILL_CLIENTS_URL}".to_owned(),
                fault: self.fault_name.to_owned(),
                recovery: "promote standby".to_owned(),
                ends_validated: false,
                ends_with: None,
                unasked: None,
                writes: None,
                theory: Vec::new(),
            },
            aims: self.aims,
            steady: SteadyRule { p95: Some(ms(500)), p99: Some(ms(1000)), errors: Some(0.001), throughput: None },
            hold: Duration::from_secs(10),
            hold_probes: 59,
            availability: (0.999, 30),
            versions: BTreeMap::from([
                ("PostgreSQL".to_owned(), "15.14".to_owned()),
                ("synchronous_commit".to_owned(), "off".to_owned()),
            ]),
        }
    }

    /// Probes; what looks like chance is a fixed pattern.
    fn samples(&self, up: Duration, survives: bool, end: Duration) -> Vec<Sample> {
        let count = end.saturating_sub(ZERO).as_nanos() / self.every.as_nanos();
        let count = u32::try_from(count).unwrap();
        let sample = |number: u32| {
            let due = ZERO + self.every * number;
            let wobble = u64::from(number.wrapping_mul(2_654_435_761) >> 24);
            let latency = Duration::from_micros(1400 + wobble * 14 + if number.is_multiple_of(97) { 9000 } else { 0 });
            let down = self.steady && due + latency > FAULT - ms(6) && due < up && !survives;
            let broken = !self.steady && number.is_multiple_of(11);
            let (answer, took) = match (down || broken, due + ms(40) < FAULT + ms(3000)) {
                (false, _) => (Answer::Good, latency),
                (true, true) => (Answer::Refused("connection refused".to_owned()), ms(1)),
                (true, false) if number.is_multiple_of(3) => (Answer::Silent, ms(1000)),
                (true, false) => (Answer::Refused("the database system is starting up".to_owned()), ms(2)),
            };
            Sample { due, sent: due + Duration::from_micros(60), ended: due + took, answer }
        };
        (0..count).map(sample).collect()
    }

    /// Two hundred writes a second while the service is up.
    fn writes(&self, up: Duration, end: Duration) -> Vec<Attempt> {
        // A day of probes is what its test is about, not a day of writes.
        let every = if self.watched > Duration::from_hours(1) { Duration::from_mins(1) } else { ms(5) };
        let count = u64::try_from(end.saturating_sub(ZERO).as_nanos() / every.as_nanos()).unwrap();
        let write = |id: u64| {
            let invoked = ZERO + every * u32::try_from(id).unwrap();
            let ended = invoked + Duration::from_micros(1900);
            let down = ended > FAULT - ms(12) && invoked < up;
            let timeline = if invoked < FAULT { 3 } else { 4 };
            let outcome = if down { Outcome::Fail } else { Outcome::Ok };
            Attempt {
                id,
                payload: id * 31,
                invoked,
                ended,
                outcome,
                timeline: Some(timeline),
                lsn: None,
                xid: Some(id + 700),
            }
        };
        (0..count).map(write).collect()
    }

    /// What the log that died with the old primary shows as committed after the fork.
    fn lost_xids(&self, writes: &[Attempt]) -> Vec<u32> {
        let lost = writes.iter().filter(|write| self.gone(write));
        lost.filter_map(|write| u32::try_from(write.xid?).ok()).collect()
    }

    /// Whether a write is among the last ones before the fault.
    fn gone(&self, write: &Attempt) -> bool {
        let last = u64::try_from((FAULT - ms(12) - Duration::from_micros(1900) - ZERO).as_millis() / 5).unwrap();
        write.id <= last && write.id + self.lost > last
    }

    pub(in crate::report) fn report(&self) -> DrillReport {
        super::of(&self.journal()).unwrap()
    }
}

/// The four ways a drill can end.
pub(in crate::report) fn four() -> [(&'static str, Made); 4] {
    let minute = Some(Duration::from_mins(1));
    let met = Made::default();
    let missed = Made {
        run: "20261121T020000Z-m7q2xz",
        began: "2026-11-21T02:00:00Z",
        outage: ms(74_300),
        watched: Duration::from_secs(150),
        lost: 412,
        aims: Aims { rto: minute, rpo: Some(Duration::from_secs(1)), ..Aims::default() },
        ..Made::default()
    };
    let undecided = Made {
        run: "20261121T030000Z-u4w8ce",
        began: "2026-11-21T03:00:00Z",
        outage: ms(59_700),
        watched: Duration::from_secs(130),
        aims: Aims { rto: minute, rpo: Some(Duration::from_mins(5)), ..Aims::default() },
        stalls: vec![Stall { from: FAULT + ms(59_400), until: FAULT + ms(60_700) }],
        ..Made::default()
    };
    let invalid = Made {
        run: "20261121T040000Z-i9r5bn",
        began: "2026-11-21T04:00:00Z",
        proven: false,
        outage: Duration::ZERO,
        watched: Duration::from_secs(40),
        ..Made::default()
    };
    [("met", met), ("missed", missed), ("undecided", undecided), ("invalid", invalid)]
}

#[test]
fn each_of_the_four_ends_has_its_word_and_its_exit_code() {
    let ends: Vec<(String, u8)> =
        four().map(|(_, made)| made.report().verdict).map(|verdict| (verdict.word, verdict.exit_code)).to_vec();
    let words = [("met", 0), ("missed", 1), ("undecided", 6), ("invalid", 6)];
    assert_eq!(ends, words.map(|(word, code)| (word.to_owned(), code)));
}

#[test]
fn a_miss_is_not_hidden_behind_a_doubt() {
    let [_, _, (_, undecided), _] = four();
    let aims = Aims { rpo: Some(ms(100)), ..undecided.aims };
    let report = Made { aims, ..undecided }.report();
    let words: Vec<&str> = report.objectives.iter().filter_map(|row| row.verdict.as_deref()).collect();
    assert!(words.contains(&"undecided") && words.contains(&"missed"), "{words:?}");
    assert_eq!((report.verdict.word.as_str(), report.verdict.exit_code), ("missed", 6));
    let sentence = report.verdict.sentence;
    assert!(sentence.starts_with("57 of "), "what was missed comes first: {sentence}");
    assert!(sentence.contains("; undecided: recovery time (RTO), "), "{sentence}");
}

#[test]
fn the_recovery_time_contains_the_outage_on_every_path() {
    let report = Made::default().report();
    let rto: Vec<&ObjectiveRow> = report.objectives.iter().filter(|row| row.key == "rto").collect();
    assert_eq!(rto.len(), 2);
    let fresh = rto.iter().find(|row| row.by == "sql-fresh").unwrap().actual.unwrap();
    assert!(fresh.low <= 12.4 && 12.4 <= fresh.high, "{fresh}");
    // Two periods, the answer, and how exactly the fault is known.
    assert!(fresh.high - fresh.low < 0.25, "{fresh}");
    assert_eq!(report.streams[2].recovery, "no probe failed: no outage longer than 113 ms");
}

#[test]
fn users_felt_it_when_the_first_of_them_did_whoever_waited_longest() {
    let mut journal = Made::default().journal();
    for line in &mut journal {
        if let Event::Samples { stream, samples } = &mut line.event
            && stream == "sql-pooled"
        {
            // The path that comes back last is gone two seconds later than the other one.
            let held = |sample: &Sample| (FAULT - ms(50)..FAULT + ms(2000)).contains(&sample.due);
            let later = samples
                .samples()
                .map(|sample| if held(&sample) { Sample { answer: Answer::Good, ..sample } } else { sample });
            *samples = PackedSamples::of(&later.collect::<Vec<_>>());
        }
    }
    let report = super::of(&journal).unwrap();
    let moment = |symbol: &str| report.timeline.iter().find(|moment| moment.symbol == symbol).unwrap();
    assert_eq!(moment("t8").evidence, "probes of sql-pooled");
    let felt = moment("t2");
    assert_eq!(felt.evidence, "probes of sql-fresh");
    assert!(felt.since_fault.unwrap().high < 0.2, "{felt:?}");
}

#[test]
fn an_error_is_told_beside_what_the_pace_of_the_probes_allows() {
    let report = Made::default().report();
    let fresh = report.streams[0].error.unwrap();
    // Two periods of 100 ms and the 12 ms of the proof; and twice the deadline of 1 s.
    assert_eq!((fresh.best, fresh.worst), (0.212, 2.212));
    let time = report.streams[0].recovery_time.unwrap();
    assert!((fresh.measured - (time.high - time.low)).abs() < 1e-6, "{fresh:?} {time}");
    assert!(fresh.best <= fresh.measured && fresh.measured <= fresh.worst, "{fresh:?}");
    assert_eq!(report.streams[2].error, None, "it was never down");
    // Where nothing was sent around the end, the pace was not kept.
    let mut journal = Made::default().journal();
    for line in &mut journal {
        if let Event::Samples { samples, .. } = &mut line.event {
            let silence = FAULT + ms(11_000)..FAULT + ms(15_000);
            let sent: Vec<Sample> = samples.samples().filter(|sample| !silence.contains(&sample.due)).collect();
            *samples = PackedSamples::of(&sent);
        }
    }
    let stalled = super::of(&journal).unwrap().streams[0].error.unwrap();
    assert!(stalled.measured > stalled.worst, "{stalled:?}");
    assert!(stalled.words().ends_with("it was not kept)"), "{}", stalled.words());
}

#[test]
fn a_loss_is_told_in_time_and_writes() {
    let report = Made::default().report();
    let integrity = report.integrity.unwrap();
    assert_eq!((integrity.shape.as_str(), integrity.log_agrees), ("suffix", Some(true)));
    let lost = integrity.classes.iter().find(|class| class.class == "lost").unwrap();
    assert_eq!((lost.count, lost.examples.len()), (57, 10));
    let age = integrity.loss_seconds.unwrap();
    assert!(age.low < 0.285 && 0.28 < age.high && age.high < 0.31, "{age}");
}

#[test]
fn the_budget_is_used_up_by_those_who_were_not_served() {
    let whole = Made::default().report().error_budget.unwrap();
    let affected = whole.affected.clone().unwrap();
    // The other path came back 380 ms earlier: three or four of its requests were answered while this one was down.
    assert!(affected.requests - affected.failed <= 4 && affected.failed > 240, "{affected:?}");
    let mut journal = Made::default().journal();
    for line in &mut journal {
        if let Event::Samples { stream, samples } = &mut line.event
            && stream == "sql-fresh"
        {
            let served = samples.samples().map(|sample| Sample { answer: Answer::Good, ..sample });
            *samples = PackedSamples::of(&served.collect::<Vec<_>>());
        }
    }
    let half = super::of(&journal).unwrap().error_budget.unwrap();
    assert_eq!((half.burned, half.down_seconds), (whole.burned, whole.down_seconds), "the worst path is the same");
    let affected = half.affected.clone().unwrap();
    assert_eq!((affected.requests, affected.share), (affected.failed * 2, 0.5));
    assert!((affected.burned.high - half.burned.high / 2.0).abs() < 2e-6, "{affected:?}");
    assert_eq!(half.used(), affected.burned);
}

#[test]
fn a_log_that_disagrees_with_the_ledger_makes_the_run_invalid() {
    let mut journal = Made::default().journal();
    for line in &mut journal {
        if let Event::Survival(survival) = &mut line.event {
            survival.old_commits = Some(vec![1, 2, 3]);
        }
    }
    let report = super::of(&journal).unwrap();
    assert_eq!(report.verdict.word, "invalid");
    assert!(
        report.verdict.sentence.contains("the ledger and the server's log disagree"),
        "{}",
        report.verdict.sentence
    );
}

#[test]
fn what_is_not_proven_or_not_steady_or_not_ended_is_never_a_pass() {
    let unproven = Made { proven: false, ..Made::default() }.report();
    assert!(unproven.verdict.sentence.contains("the fault is not proven"), "{}", unproven.verdict.sentence);
    let restless = Made { steady: false, ..Made::default() }.report();
    assert!(restless.verdict.sentence.contains("% of the probes failed, allowed are"), "{}", restless.verdict.sentence);
    assert_eq!(restless.cleanup.sentence, "nothing was injected, so there was nothing to undo");
    let mut journal = Made::default().journal();
    journal.pop();
    let killed = super::of(&journal).unwrap();
    assert!(killed.verdict.sentence.contains("the journal ends early"), "{}", killed.verdict.sentence);
    let blind: Vec<Line> =
        Made::default().journal().into_iter().filter(|line| !matches!(&line.event, Event::Samples { .. })).collect();
    let blind = super::of(&blind).unwrap();
    assert!(blind.verdict.sentence.contains("no probe was sent"), "{}", blind.verdict.sentence);
    let unread: Vec<Line> =
        Made::default().journal().into_iter().filter(|line| !matches!(&line.event, Event::Read(_))).collect();
    let unread = super::of(&unread).unwrap();
    assert!(unread.verdict.sentence.contains("not read back"), "{}", unread.verdict.sentence);
    for report in [unproven, restless, killed, blind, unread] {
        assert_eq!((report.verdict.word.as_str(), report.verdict.exit_code), ("invalid", 6));
        assert_eq!(report.validity.word, "invalid");
        assert!(!report.actions.is_empty());
    }
}

#[test]
fn a_cleanup_that_is_not_proven_outweighs_everything() {
    let report = Made { healed: false, ..Made::default() }.report();
    assert_eq!((report.verdict.word.as_str(), report.verdict.exit_code), ("met", 5));
    assert!(report.verdict.sentence.starts_with("cleanup NOT PROVEN"), "{}", report.verdict.sentence);
    assert_eq!(report.actions[0].severity, "now");
}

#[test]
fn an_action_has_an_owner_and_a_day_by_how_bad_it_is() {
    let day = |made: &Made, severity: &str| {
        let actions = made.report().actions;
        let action = actions.iter().find(|action| action.severity == severity).unwrap();
        assert_eq!(action.owner.as_deref(), Some("database team"));
        action.due.unwrap().to_string()
    };
    let [_, (_, missed), (_, undecided), (_, invalid)] = four();
    assert_eq!(day(&Made { healed: false, ..Made::default() }, "now"), "2026-11-20");
    assert_eq!(day(&missed, "high"), "2026-12-05");
    assert_eq!([day(&undecided, "normal"), day(&invalid, "normal")], ["2026-12-21", "2026-12-21"]);
    // Reports from before there was a day can still be read.
    let mut old: serde_json::Value = serde_json::from_str(&missed.report().json().unwrap()).unwrap();
    old["actions"][0].as_object_mut().unwrap().remove("due");
    assert_eq!(DrillReport::parse(&old.to_string()).unwrap().actions[0].due, None);
}

#[test]
fn a_journal_that_was_stored_gives_the_same_report_byte_for_byte() {
    for (_, made) in four() {
        stored_is_the_same(&made.journal());
    }
}

/// A journal that was stored gives the same report, byte for byte.
pub(super) fn stored_is_the_same(journal: &[Line]) {
    let text: String = journal.iter().map(|line| super::super::journal::text(line).unwrap()).collect();
    let stored = read(text.as_bytes()).unwrap();
    let file = &super::of(&stored).unwrap().files[0];
    assert_eq!((file.name.as_str(), file.lines), ("journal.jsonl", journal.len() as u64));
    assert_eq!((file.bytes, file.sha256), (text.len() as u64, Sha256::of(text.as_bytes())));
    assert_eq!(stored, journal);
    let (one, other) = (super::of(journal).unwrap().json().unwrap(), super::of(&stored).unwrap().json().unwrap());
    assert_eq!(one, other);
    assert_eq!(DrillReport::parse(&one).unwrap().json().unwrap(), one);
}

#[test]
fn who_named_a_production_target_again_has_approved_its_drill() {
    let mut journal = Made::default().journal();
    assert_eq!(super::of(&journal).unwrap().identity.approver, None);
    assert!(!super::super::journal::text(&journal[0]).unwrap().contains("confirmed"), "older journals lack it");
    if let Event::Began(began) = &mut journal[0].event {
        began.confirmed = Some("covetpy-database".to_owned());
    }
    stored_is_the_same(&journal);
    let report = super::of(&journal).unwrap();
    let words = "drill account, by typing covetpy-database again";
    assert_eq!(report.identity.approver.as_deref(), Some(words));
    for form in [Form::Text, Form::Markdown, Form::Html, Form::Json] {
        assert!(render::drill(&report, form).unwrap().contains(words), "{form:?}");
    }
}

#[test]
fn a_wall_clock_that_was_stepped_changes_no_duration() {
    let (calm, mut stepped) =
        (Made::default().report(), Made { began: "2026-11-20T03:00:00Z", ..Made::default() }.report());
    stepped.identity.began = calm.identity.began;
    stepped.files.clone_from(&calm.files);
    for (moment, other) in stepped.timeline.iter_mut().zip(&calm.timeline) {
        moment.wall = other.wall;
    }
    assert_eq!(stepped, calm);
}

#[test]
fn a_torn_last_line_is_left_out_and_any_other_is_refused() {
    let text: String =
        Made::default().journal().iter().map(|line| super::super::journal::text(line).unwrap()).collect();
    let cut = &text[..text.len() - 5];
    assert_eq!(read(cut.as_bytes()).unwrap().len() + 1, read(text.as_bytes()).unwrap().len());
    let damaged = text.replacen("\"guard\"", "\"gard\"", 1);
    assert!(read(damaged.as_bytes()).unwrap_err().to_string().contains("line 5 is damaged"));
}
