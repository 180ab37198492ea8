//! Where an observer's entries go.

use crate::error::{Context, Kind, Result};
use crate::observation::Entry;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Takes entries as they come. Must be quick: an observer that waits for a disk does not observe.
pub trait Sink: Send + Sync {
    /// Takes one entry.
    fn put(&self, entry: &Entry);

    /// Waits until everything taken so far is where it belongs.
    ///
    /// # Errors
    /// Where something did not get there.
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// A sink that is passed around.
pub type SharedSink = Arc<dyn Sink>;

/// Keeps everything in memory; for short observations and tests.
#[derive(Debug, Default)]
pub struct MemorySink {
    entries: Mutex<Vec<Entry>>,
}

impl MemorySink {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What came so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What came so far, as the measurement wants it.
    ///
    /// # Errors
    /// Never for the entries of an observer.
    pub fn observation(&self) -> Result<crate::observation::Observation> {
        let mut seen = crate::observation::Observation::default();
        for entry in self.entries() {
            seen.add(entry)?;
        }
        Ok(seen)
    }
}

impl Sink for MemorySink {
    fn put(&self, entry: &Entry) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry.clone());
    }
}

/// Several sinks at once.
pub struct Tee(pub Vec<SharedSink>);

impl Sink for Tee {
    fn put(&self, entry: &Entry) {
        for sink in &self.0 {
            sink.put(entry);
        }
    }

    fn flush(&self) -> Result<()> {
        self.0.iter().try_for_each(|sink| sink.flush())
    }
}

enum Order {
    Line(String),
    Flush(Sender<Result<()>>),
}

/// Appends lines to a file or to standard output, from a thread of its own.
#[derive(Debug)]
pub struct FileSink {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl FileSink {
    /// Appends to this file, which is made if it is not there.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn append(path: &Path) -> Result<Arc<Self>> {
        let doing = || format!("opening the observation log {}", path.display());
        let file = File::options().create(true).append(true).open(path).context(Kind::Failed, doing)?;
        let synced = file.try_clone().context(Kind::Failed, doing)?;
        Ok(Self::over(Box::new(file), Some(synced), path.display().to_string()))
    }

    /// Writes to this writer, such as standard output.
    pub fn writer(writer: Box<dyn Write + Send>, name: &str) -> Arc<Self> {
        Self::over(writer, None, name.to_owned())
    }

    fn over(writer: Box<dyn Write + Send>, file: Option<File>, name: String) -> Arc<Self> {
        let (orders, taken) = channel();
        let thread = std::thread::Builder::new().name("davit-log".to_owned());
        let thread = thread.spawn(move || work(&taken, writer, file.as_ref(), &name));
        if let Err(error) = &thread {
            tracing::error!("starting the writer of an observation log: {error}");
        }
        Arc::new(Self { orders: Some(orders), thread: thread.ok() })
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // Without its thread nothing is written, and `flush` says so.
            drop(orders.send(order));
        }
    }
}

/// Writes what comes, all that is waiting in one piece.
fn work(taken: &Receiver<Order>, mut writer: Box<dyn Write + Send>, file: Option<&File>, name: &str) {
    let mut failed: Option<std::io::Error> = None;
    let mut pending = String::new();
    while let Ok(first) = taken.recv() {
        let mut flushed = Vec::new();
        for order in std::iter::once(first).chain(taken.try_iter()) {
            match order {
                Order::Line(line) => pending.push_str(&line),
                Order::Flush(done) => flushed.push(done),
            }
        }
        let mut written = writer.write_all(pending.as_bytes()).and_then(|()| writer.flush());
        if let (Some(file), false) = (file, flushed.is_empty()) {
            written = written.and_then(|()| file.sync_data());
        }
        pending.clear();
        if let Err(error) = written {
            tracing::error!("writing the observation log {name}: {error}");
            failed = failed.or(Some(error));
        }
        for done in flushed {
            let outcome = match &failed {
                None => Ok(()),
                Some(error) => {
                    let error = std::io::Error::new(error.kind(), error.to_string());
                    Err(error).context(Kind::Failed, || format!("writing the observation log {name}"))
                }
            };
            drop(done.send(outcome));
        }
    }
}

impl Sink for FileSink {
    fn put(&self, entry: &Entry) {
        self.order(Order::Line(entry.line()));
    }

    fn flush(&self) -> Result<()> {
        let (done, outcome) = channel();
        self.order(Order::Flush(done));
        outcome.recv().context(Kind::Failed, || "writing an observation log".to_owned())?
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Observation;
    use std::time::Duration;

    #[test]
    fn what_was_put_is_in_the_file_after_a_flush_and_a_second_observer_appends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for at in [1, 2] {
            let sink = FileSink::append(&path).unwrap();
            sink.put(&Entry::Look { question: "?".to_owned(), at: Duration::from_secs(at) });
            sink.flush().unwrap();
            let read = Observation::read(&*std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(read.looks.len() as u64, at);
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_says_so() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let sink = FileSink::writer(Box::new(full), "/dev/full");
        sink.put(&Entry::Ended { at: Duration::ZERO });
        assert!(sink.flush().unwrap_err().to_string().contains("/dev/full"));
    }
}
