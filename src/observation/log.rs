//! The observation log: one JSON object per line, only ever appended to.
//!
//! A line is written when what it tells has happened, so a log that ends in the middle (its observer was killed, its node
//! is gone) is a shorter log and nothing worse; a torn last line is left out. Times are nanoseconds on the observer's clock.

use super::{Answer, Sample, Stall};
use crate::error::{Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::time::Duration;

/// The version of the lines; a reader refuses what is newer.
pub const FORMAT: u32 = 1;

/// What a reader must know of a stream to judge its samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFacts {
    /// Its name; every sample carries it.
    pub name: String,
    /// What it asks, in words: `SQL, a fresh connection each time`.
    pub what: String,
    /// A probe is due this often.
    #[serde(with = "nanos")]
    pub every: Duration,
    /// A probe that is not answered within this has failed.
    #[serde(with = "nanos")]
    pub deadline: Duration,
    /// It never holds more connections than this.
    pub connections: u32,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Entry {
    /// An observer began.
    Began {
        /// The version of the lines.
        format: u32,
        /// Its name.
        observer: String,
        /// What its wall clock read: a label.
        wall: Timestamp,
        /// What its monotonic clock read at that moment.
        #[serde(with = "nanos")]
        at: Duration,
        /// What it is going to ask.
        streams: Vec<StreamFacts>,
    },
    /// A probe that was sent has ended.
    Sample {
        /// Of which stream.
        stream: String,
        /// See [`Sample`].
        #[serde(with = "nanos")]
        due: Duration,
        /// See [`Sample`].
        #[serde(with = "nanos")]
        sent: Duration,
        /// See [`Sample`].
        #[serde(with = "nanos")]
        ended: Duration,
        /// See [`Sample`].
        answer: Answer,
    },
    /// A probe was due and was not sent.
    Gap {
        /// Of which stream.
        stream: String,
        /// When it was due.
        #[serde(with = "nanos")]
        due: Duration,
        /// When that was decided.
        #[serde(with = "nanos")]
        at: Duration,
        /// Why.
        why: String,
    },
    /// The observer stood still.
    Stall {
        /// See [`Stall`].
        #[serde(with = "nanos")]
        from: Duration,
        /// See [`Stall`].
        #[serde(with = "nanos")]
        until: Duration,
    },
    /// Something a server said beside its answer.
    Notice {
        /// On which stream.
        stream: String,
        /// When it was seen.
        #[serde(with = "nanos")]
        at: Duration,
        /// `01000`, or empty.
        code: String,
        /// What it said.
        text: String,
    },
    /// Somebody asked what the observer's clock reads.
    Look {
        /// The asker's own word for it.
        question: String,
        /// What it read.
        #[serde(with = "nanos")]
        at: Duration,
    },
    /// A line of a ledger that travels in this log.
    Ledger {
        /// The line, sum included.
        line: String,
    },
    /// The observer ended as it was told to. A log without this line was cut off.
    Ended {
        /// When.
        #[serde(with = "nanos")]
        at: Duration,
    },
}

/// Durations as whole nanoseconds, which 64 bits hold for 584 years.
pub(crate) mod nanos {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}

impl Entry {
    /// The entry as its line, with the line feed.
    pub fn line(&self) -> String {
        // Only a map with keys that are no strings could fail, and there is none.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }

    /// The line of a sample.
    pub fn sample(stream: &str, sample: &Sample) -> Self {
        let Sample { due, sent, ended, answer } = sample.clone();
        Self::Sample { stream: stream.to_owned(), due, sent, ended, answer }
    }
}

/// The samples of one stream, gaps included, in the order in which they ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// What the stream was.
    pub facts: StreamFacts,
    /// What it saw.
    pub samples: Vec<Sample>,
}

/// A log, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Who observed.
    pub observer: String,
    /// What its wall and its monotonic clock read when it began.
    pub began: Option<(Timestamp, Duration)>,
    /// By name, those without a sample included: a stream that saw nothing is not a stream that saw no failure.
    pub streams: BTreeMap<String, Series>,
    /// When the observer stood still.
    pub stalls: Vec<Stall>,
    /// What servers said beside their answers: stream, when, code, text.
    pub notices: Vec<(String, Duration, String, String)>,
    /// What its clock read when it was asked: the asker's word, the reading.
    pub looks: Vec<(String, Duration)>,
    /// The lines of the ledger that travelled in it.
    pub ledger: Vec<String>,
    /// Whether it ended as it was told to; otherwise what came after the last line is not known.
    pub whole: bool,
}

impl Observation {
    /// Reads a log.
    ///
    /// # Errors
    /// `Kind::Failed` where it cannot be read or a line before the last is none of ours; `Kind::Input` for a newer format.
    pub fn read(log: impl BufRead) -> Result<Self> {
        Self::between(log, Duration::ZERO, Duration::MAX)
    }

    /// The same, but of the samples only those that were due within this time: a day of probes is larger than what
    /// one outage needs of it.
    pub fn between(log: impl BufRead, from: Duration, until: Duration) -> Result<Self> {
        Self::read_along(log, from, until, |_| Ok(()))
    }

    /// The same, with a look at what was read so far after each line: who looks may take samples out, so that a log that is
    /// larger than memory can be read.
    pub fn read_along(
        log: impl BufRead,
        from: Duration,
        until: Duration,
        mut look: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<Self> {
        let mut seen = Self::default();
        let mut torn: Option<usize> = None;
        for (number, line) in log.split(b'\n').enumerate() {
            let line = line.map_err(|error| Error::failed("reading an observation log").because(error))?;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if let Some(torn) = torn {
                return Err(Error::failed(format!("reading an observation log: line {} is damaged", torn + 1)));
            }
            match serde_json::from_slice(&line) {
                Ok(entry) => {
                    seen.take(entry, from, until)?;
                    look(&mut seen)?;
                }
                Err(_) => torn = Some(number),
            }
        }
        Ok(seen)
    }

    /// Takes one more entry.
    pub fn add(&mut self, entry: Entry) -> Result<()> {
        self.take(entry, Duration::ZERO, Duration::MAX)
    }

    fn take(&mut self, entry: Entry, from: Duration, until: Duration) -> Result<()> {
        match entry {
            Entry::Began { format, observer, wall, at, streams } => {
                if format > FORMAT {
                    return Err(Error::input(format!("reading an observation log: its format is {format}"))
                        .hint("a newer Davit wrote it: read it with that one"));
                }
                (self.observer, self.began) = (observer, Some((wall, at)));
                for facts in streams {
                    self.streams.insert(facts.name.clone(), Series { facts, samples: Vec::new() });
                }
            }
            Entry::Sample { stream, due, sent, ended, answer } => {
                if due >= from && due <= until {
                    self.series(&stream)?.samples.push(Sample { due, sent, ended, answer });
                }
            }
            Entry::Gap { stream, due, at, why: _ } => {
                if due >= from && due <= until {
                    let sample = Sample { due, sent: at, ended: at, answer: Answer::NotSent };
                    self.series(&stream)?.samples.push(sample);
                }
            }
            Entry::Stall { from, until } => self.stalls.push(Stall { from, until }),
            Entry::Notice { stream, at, code, text } => self.notices.push((stream, at, code, text)),
            Entry::Look { question, at } => self.looks.push((question, at)),
            Entry::Ledger { line } => self.ledger.push(line),
            Entry::Ended { .. } => self.whole = true,
        }
        Ok(())
    }

    fn series(&mut self, stream: &str) -> Result<&mut Series> {
        self.streams
            .get_mut(stream)
            .ok_or_else(|| Error::failed(format!("reading an observation log: it never said what {stream:?} is")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Vec<Entry> {
        let ms = Duration::from_millis;
        let stream = "orders".to_owned();
        let facts = StreamFacts {
            name: stream.clone(),
            what: "TCP".to_owned(),
            every: ms(100),
            deadline: ms(1000),
            connections: 20,
        };
        let (wall, at) = (Timestamp::UNIX_EPOCH, ms(5));
        let sample = |due, answer| Sample { due: ms(due), sent: ms(due), ended: ms(due + 3), answer };
        vec![
            Entry::Began { format: FORMAT, observer: "here".to_owned(), wall, at, streams: vec![facts] },
            Entry::sample(&stream, &sample(100, Answer::Good)),
            Entry::sample(&stream, &sample(200, Answer::Refused("connection \"reset\"".to_owned()))),
            Entry::Stall { from: ms(250), until: ms(390) },
            Entry::Gap { stream: stream.clone(), due: ms(300), at: ms(390), why: "late".to_owned() },
            Entry::Notice { stream, at: ms(400), code: "01000".to_owned(), text: "cancelled".to_owned() },
            Entry::Look { question: "7".to_owned(), at: ms(450) },
            Entry::Ended { at: ms(500) },
        ]
    }

    fn text(entries: &[Entry]) -> String {
        entries.iter().map(Entry::line).collect()
    }

    #[test]
    fn a_log_comes_back_as_it_was_written() {
        let text = text(&log());
        let read = Observation::read(text.as_bytes()).unwrap();
        let answers: Vec<&Answer> = read.streams["orders"].samples.iter().map(|sample| &sample.answer).collect();
        assert_eq!(answers, [&Answer::Good, &Answer::Refused("connection \"reset\"".to_owned()), &Answer::NotSent]);
        assert_eq!(read.stalls[0].length(), Duration::from_millis(140));
        assert_eq!((read.looks.len(), read.notices.len(), read.whole), (1, 1, true));
        let late = Observation::between(text.as_bytes(), Duration::from_millis(150), Duration::MAX).unwrap();
        assert_eq!(late.streams["orders"].samples.len(), 2);
    }

    #[test]
    fn a_log_that_was_cut_off_is_a_shorter_log_and_says_so() {
        let text = text(&log());
        let whole = Observation::read(text.as_bytes()).unwrap();
        for end in 0..text.len() {
            let cut = Observation::read(&text.as_bytes()[..end]).unwrap();
            assert!(!cut.whole || end + 1 >= text.len());
            let samples = |seen: &Observation| seen.streams.get("orders").map_or(0, |series| series.samples.len());
            assert!(samples(&cut) <= samples(&whole));
        }
    }

    #[test]
    fn damage_before_the_end_and_newer_formats_are_refused() {
        let text = text(&log()).replace("\"stall\"", "\"stal\"");
        assert!(Observation::read(text.as_bytes()).unwrap_err().to_string().contains("line 4"));
        let newer = self::text(&log()).replace("\"format\":1", "\"format\":2");
        assert_eq!(Observation::read(newer.as_bytes()).unwrap_err().kind(), crate::error::Kind::Input);
        let stranger = log()[1].line();
        assert!(Observation::read(stranger.as_bytes()).is_err());
    }

    #[test]
    fn a_line_is_short_enough_for_a_day() {
        let sample = Sample {
            due: Duration::from_hours(24),
            sent: Duration::from_hours(24),
            ended: Duration::from_hours(24),
            answer: Answer::Good,
        };
        assert!(Entry::sample("sql-fresh", &sample).line().len() < 140);
    }
}
