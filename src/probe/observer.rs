//! The open loop: every probe is sent when it is due, whatever became of the ones before it.

use super::plan::StreamPlan;
use super::service::{Reply, SharedService, Ticket};
use super::sink::SharedSink;
use crate::clock::SharedClock;
use crate::error::{Context, Error, Kind, Result};
use crate::observation::{Answer, Entry, FORMAT, Sample};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The observer wakes this often even if nothing is due, so that it notices when it could not.
pub const BEAT: Duration = Duration::from_millis(50);

/// Waking later than this is a stall, and is written down. Half of the usual period of probes.
pub const STALL: Duration = Duration::from_millis(50);

/// How often a reply is looked for once more when the deadline has passed; each look lets the sockets be read first.
const LAST_LOOKS: usize = 4;

/// A stream with the thing that it asks.
#[derive(Clone)]
pub struct Stream {
    /// What is asked, how often, how patiently.
    pub plan: StreamPlan,
    /// Who answers.
    pub service: SharedService,
}

/// What one stream did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Probes acknowledged in time.
    pub good: u64,
    /// Probes that were told no.
    pub refused: u64,
    /// Probes without an answer.
    pub silent: u64,
    /// Probes that were due and not sent.
    pub gaps: u64,
    /// The most that were out at once, those being cleaned up included.
    pub out_at_most: u32,
    /// The latest that one was sent, counted from when it was due.
    pub late_at_most: Duration,
}

/// What an observer did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By name.
    pub streams: BTreeMap<String, Count>,
    /// How often it stood still.
    pub stalls: u64,
}

/// Runs streams of probes and writes down what they see.
#[derive(Clone)]
pub struct Observer {
    name: String,
    clock: SharedClock,
    sink: SharedSink,
}

/// A stream under way.
struct Lane {
    plan: StreamPlan,
    name: Arc<str>,
    service: SharedService,
    due: Duration,
    number: u64,
    out: u32,
    most: u32,
    count: Count,
}

/// A probe under way; gives its stream and its end.
type Probing = Pin<Box<dyn Future<Output = (usize, Answer)> + Send>>;

impl Observer {
    /// An observer of this name, whose log goes to `sink`.
    pub fn new(name: impl Into<String>, clock: SharedClock, sink: SharedSink) -> Self {
        Self { name: name.into(), clock, sink }
    }

    /// Observes in a thread of its own, so that no work of the caller makes it late.
    ///
    /// # Errors
    /// Where a plan cannot be kept, or the thread cannot be started.
    pub fn start(self, streams: Vec<Stream>) -> Result<Running> {
        check(&streams)?;
        let doing = || "starting an observer".to_owned();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context(Kind::Failed, doing)?;
        let stop = CancellationToken::new();
        let (stopped, observer) = (stop.clone(), self.clone());
        let thread = std::thread::Builder::new()
            .name("davit-observer".to_owned())
            .spawn(move || runtime.block_on(observer.run(streams, &stopped)))
            .context(Kind::Failed, doing)?;
        Ok(Running { observer: self, stop, thread: Some(thread) })
    }

    /// Observes until told to stop, then waits for the probes that are out.
    ///
    /// # Errors
    /// Where a plan cannot be kept.
    pub async fn run(&self, streams: Vec<Stream>, stop: &CancellationToken) -> Result<Tally> {
        check(&streams)?;
        self.begin(&streams);
        let mut lanes = self.lanes(streams);
        let mut out = FuturesUnordered::<Probing>::new();
        let mut last = self.clock.monotonic();
        let mut stalls = 0;
        while !stop.is_cancelled() || !out.is_empty() {
            let stopping = stop.is_cancelled();
            let due = lanes.iter().map(|lane| lane.due).min().filter(|_| !stopping).unwrap_or(Duration::MAX);
            let next = due.min(last + BEAT);
            tokio::select! {
                // Ends first: a reply that is there is taken before anything else is judged.
                biased;
                Some((lane, answer)) = out.next() => settle(&mut lanes[lane], &answer),
                () = stop.cancelled(), if !stopping => {}
                () = self.clock.sleep_until(next) => {}
            }
            let now = self.clock.monotonic();
            if now.saturating_sub(next) > STALL {
                stalls += 1;
                self.sink.put(&Entry::Stall { from: last, until: now });
            }
            last = now;
            if !stop.is_cancelled() {
                for (number, lane) in lanes.iter_mut().enumerate() {
                    out.extend(self.send_due(number, lane));
                }
            }
        }
        self.sink.put(&Entry::Ended { at: self.clock.monotonic() });
        let streams = lanes.into_iter().map(|lane| (lane.plan.name, lane.count)).collect();
        Ok(Tally { streams, stalls })
    }

    fn begin(&self, streams: &[Stream]) {
        self.sink.put(&Entry::Began {
            format: FORMAT,
            observer: self.name.clone(),
            wall: self.clock.now(),
            at: self.clock.monotonic(),
            streams: streams.iter().map(|stream| stream.plan.facts()).collect(),
        });
    }

    /// The streams, their first probes spread over a period so that they do not all wake at once.
    fn lanes(&self, streams: Vec<Stream>) -> Vec<Lane> {
        let (start, all) = (self.clock.monotonic(), u32::try_from(streams.len()).unwrap_or(u32::MAX).max(1));
        let lane = |(number, stream): (u32, Stream)| Lane {
            name: Arc::from(stream.plan.name.as_str()),
            due: start + stream.plan.every * number / all,
            most: stream.plan.connections(),
            plan: stream.plan,
            service: stream.service,
            number: 0,
            out: 0,
            count: Count::default(),
        };
        (0..).zip(streams).map(lane).collect()
    }

    /// Sends what is due. Of several probes that were missed only the last one is sent: the others would be bunched up.
    fn send_due(&self, number: usize, lane: &mut Lane) -> Option<Probing> {
        let now = self.clock.monotonic();
        while lane.due + lane.plan.every <= now {
            self.gap(lane, now, "the observer was late");
        }
        if lane.due > now {
            return None;
        }
        if lane.out >= lane.most {
            let why = format!("{} probes are out already", lane.out);
            self.gap(lane, now, &why);
            return None;
        }
        let probe = Probe {
            lane: number,
            due: lane.due,
            deadline: lane.plan.deadline,
            number: lane.number,
            stream: Arc::clone(&lane.name),
            service: Arc::clone(&lane.service),
            clock: self.clock.clone(),
            sink: self.sink.clone(),
        };
        lane.due += lane.plan.every;
        lane.number += 1;
        lane.out += 1;
        lane.count.out_at_most = lane.count.out_at_most.max(lane.out);
        lane.count.late_at_most = lane.count.late_at_most.max(now.saturating_sub(probe.due));
        Some(Box::pin(probe.run()))
    }

    fn gap(&self, lane: &mut Lane, at: Duration, why: &str) {
        let (stream, why) = (lane.plan.name.clone(), why.to_owned());
        self.sink.put(&Entry::Gap { stream, due: lane.due, at, why });
        lane.count.gaps += 1;
        lane.number += 1;
        lane.due += lane.plan.every;
    }
}

fn check(streams: &[Stream]) -> Result<()> {
    for (number, stream) in streams.iter().enumerate() {
        stream.plan.check()?;
        if streams[..number].iter().any(|before| before.plan.name == stream.plan.name) {
            return Err(Error::input(format!("planning probes: two streams are called {:?}", stream.plan.name)));
        }
    }
    Ok(())
}

fn settle(lane: &mut Lane, answer: &Answer) {
    lane.out -= 1;
    match answer {
        Answer::Good => lane.count.good += 1,
        Answer::Refused(_) => lane.count.refused += 1,
        Answer::Silent => lane.count.silent += 1,
        Answer::NotSent => lane.count.gaps += 1,
    }
}

/// One probe, from its send until its connection is let go.
struct Probe {
    lane: usize,
    due: Duration,
    deadline: Duration,
    number: u64,
    stream: Arc<str>,
    service: SharedService,
    clock: SharedClock,
    sink: SharedSink,
}

impl Probe {
    async fn run(self) -> (usize, Answer) {
        let give_up = CancellationToken::new();
        let sent = self.clock.monotonic();
        let mut probing = self.service.probe(Ticket {
            number: self.number,
            sent,
            deadline: self.deadline,
            give_up: give_up.clone(),
            clock: self.clock.clone(),
            stream: Arc::clone(&self.stream),
            sink: self.sink.clone(),
        });
        let reply = tokio::select! {
            biased;
            reply = &mut probing => Some(reply),
            () = self.clock.sleep_until(sent + self.deadline) => None,
        };
        // The answer may lie in the socket already, where an observer that slept has not looked yet.
        let reply = match reply {
            Some(reply) => Some(reply),
            None => last_looks(&mut probing).await,
        };
        let ended = self.clock.monotonic();
        let answer = match &reply {
            Some(Reply::Good) => Answer::Good,
            Some(Reply::Refused(why)) => Answer::Refused(why.clone()),
            None => Answer::Silent,
        };
        let sample = Sample { due: self.due, sent, ended, answer: answer.clone() };
        self.sink.put(&Entry::sample(&self.stream, &sample));
        if reply.is_none() {
            give_up.cancel();
            tokio::select! {
                biased;
                _ = &mut probing => {}
                () = self.clock.sleep_until(ended + self.deadline) => {}
            }
        }
        (self.lane, answer)
    }
}

async fn last_looks<F: Future + Unpin>(probing: &mut F) -> Option<F::Output> {
    for _ in 0..LAST_LOOKS {
        tokio::task::yield_now().await;
        if let Some(reply) = (&mut *probing).now_or_never() {
            return Some(reply);
        }
    }
    None
}

/// An observer at work in its own thread. Dropping it stops it without waiting.
pub struct Running {
    observer: Observer,
    stop: CancellationToken,
    thread: Option<JoinHandle<Result<Tally>>>,
}

impl Running {
    /// Writes down what the observer's clock reads, under the asker's own word.
    pub fn look(&self, question: &str) {
        let at = self.observer.clock.monotonic();
        self.observer.sink.put(&Entry::Look { question: question.to_owned(), at });
    }

    /// Sends no more probes, waits for those that are out, and for the log to be written.
    ///
    /// # Errors
    /// Where the log could not be written.
    pub async fn stop(mut self) -> Result<Tally> {
        self.stop.cancel();
        let (thread, sink) = (self.thread.take(), self.observer.sink.clone());
        let ended = tokio::task::spawn_blocking(move || {
            let tally = thread.map(JoinHandle::join);
            sink.flush()?;
            match tally {
                Some(Ok(tally)) => tally,
                Some(Err(_)) | None => Err(Error::failed("stopping an observer: it broke off")),
            }
        });
        ended.await.context(Kind::Failed, || "stopping an observer".to_owned())?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::suspended;
    use crate::observation::Stall;
    use crate::probe::plan::Ask;
    use crate::probe::sink::MemorySink;

    /// Answers everybody.
    struct Up;

    #[async_trait::async_trait]
    impl crate::probe::Service for Up {
        async fn probe(&self, _ticket: crate::probe::Ticket) -> crate::probe::Reply {
            crate::probe::Reply::Good
        }
    }

    #[tokio::test]
    async fn a_machine_that_was_suspended_stood_still_and_what_lasted_meanwhile_is_not_shorter_for_it() {
        let (clock, sink) = (suspended::clock(), MemorySink::new());
        let ask = Ask::Tcp { address: "up:1".to_owned(), send: None, expect: None };
        let plan = StreamPlan::new("up", ask).paced(Duration::from_secs(1), Duration::from_secs(1));
        let streams = vec![Stream { plan, service: Arc::new(Up) }];
        let running = Observer::new("here", clock.clone(), sink.clone()).start(streams).unwrap();
        let good = |sink: &MemorySink| {
            let seen = sink.observation().unwrap();
            seen.streams.get("up").map_or(0, |up| up.samples.iter().filter(|one| one.good()).count())
        };
        while good(&sink) == 0 {
            clock.sleep(Duration::from_millis(10)).await;
        }
        let (before, answered) = (clock.monotonic(), good(&sink));
        suspended::for_seconds(30);
        while good(&sink) <= answered {
            clock.sleep(Duration::from_millis(10)).await;
        }
        assert!(clock.monotonic() >= before + Duration::from_secs(30));
        running.stop().await.unwrap();
        let stalls = sink.observation().unwrap().stalls;
        assert!(Stall::total(&stalls) >= Duration::from_secs(30), "{stalls:?}");
        assert!(
            stalls.iter().any(|stall| stall.from <= before && stall.until >= before + Duration::from_secs(30)),
            "{stalls:?}"
        );
    }
}
