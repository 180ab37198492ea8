//! The talk with an observer: orders first, then questions for its clock; and its lines, as they come.

use super::feed::Feed;
use super::process::Wire;
use crate::clock::SharedClock;
use crate::drill::orders::{END, Orders};
use crate::drill::plan::Elsewhere;
use crate::error::Result;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// So many questions come quickly, because each may find a shorter way than the ones before.
const QUICK: u32 = 10;
/// How far apart those are.
const QUICKLY: Duration = Duration::from_millis(100);
/// How far apart the others are: clocks drift, and are stepped.
const SLOWLY: Duration = Duration::from_secs(2);
/// So long an observer may take to say its last lines before its input is closed, too.
const FAREWELL: Duration = Duration::from_secs(8);
/// So long a program may take to end once it says nothing more.
const LINGERS: Duration = Duration::from_secs(2);

/// A talk under way. Dropping it ends the observer.
pub(super) struct Talk {
    close: CancellationToken,
    asking: JoinHandle<()>,
    over: CancellationToken,
    reading: JoinHandle<()>,
    said: Arc<Mutex<String>>,
    end: tokio::sync::Mutex<JoinHandle<String>>,
    ending: tokio::task::AbortHandle,
    clock: SharedClock,
}

impl Talk {
    /// Gives an observer that was begun its orders, and hears it from now on.
    pub(super) fn begin(observer: &Elsewhere, wire: Wire, feed: &Arc<Feed>, clock: &SharedClock) -> Result<Self> {
        let is_sql = observer.streams.iter().any(|stream| stream.plan.ask.is_sql());
        let orders = Orders {
            observer: observer.wish.name.clone(),
            streams: observer.streams.iter().map(|stream| stream.plan.clone()).collect(),
            database: is_sql.then(|| observer.clients.clone()),
        };
        let orders = orders.line()?;
        let Wire { input, output, said, end } = wire;
        let (close, over) = (CancellationToken::new(), CancellationToken::new());
        let told = Told { close: close.clone(), over: over.clone() };
        let asking = ask(orders.reveal().to_owned(), input, Arc::clone(feed), clock.clone(), told);
        let reading = read(output, Arc::clone(feed), over.clone());
        let (asking, reading) = (tokio::spawn(asking), tokio::spawn(reading));
        let ending = end.abort_handle();
        Ok(Self { close, asking, over, reading, said, end: tokio::sync::Mutex::new(end), ending, clock: clock.clone() })
    }

    /// Asks once more, and says that this was all.
    pub(super) fn close(&self) {
        self.close.cancel();
    }

    /// Waits until it says nothing more; `false` where it goes on for too long.
    pub(super) async fn over(&self, patience: Duration) -> bool {
        tokio::select! {
            () = self.over.cancelled() => true,
            () = self.clock.sleep(patience) => false,
        }
    }

    /// How its program ended, as the end of a sentence; one that does not end is ended.
    pub(super) async fn how_it_ended(&self) -> String {
        let mut end = self.end.lock().await;
        tokio::select! {
            how = &mut *end => match how {
                Ok(how) => format!("; {how}{}", self.said()),
                Err(_) => self.said(),
            },
            () = self.clock.sleep(LINGERS) => {
                self.ending.abort();
                self.said()
            }
        }
    }

    /// What its program said last, as the end of a sentence.
    pub(super) fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_empty() { String::new() } else { format!("; it said: {said}") }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.asking.abort();
        self.reading.abort();
        self.ending.abort();
    }
}

/// What whoever asks is told by others.
struct Told {
    /// That it is enough.
    close: CancellationToken,
    /// That nothing more will be heard.
    over: CancellationToken,
}

/// Gives orders, asks what the clock reads until it is enough, and says that this was all.
async fn ask(
    orders: String,
    mut input: Box<dyn AsyncWrite + Send + Unpin>,
    feed: Arc<Feed>,
    clock: SharedClock,
    Told { close, over }: Told,
) {
    let mut line = orders;
    for number in 0.. {
        // Whoever does not listen any more is found out by what is not heard.
        if say(&mut input, &line).await.is_err() {
            return;
        }
        if close.is_cancelled() {
            break;
        }
        tokio::select! {
            () = clock.sleep(if number < QUICK { QUICKLY } else { SLOWLY }) => {}
            () = close.cancelled() => {}
        }
        line = feed.question();
    }
    if say(&mut input, &format!("{END}\n")).await.is_ok() {
        tokio::select! {
            () = over.cancelled() => {}
            () = clock.sleep(FAREWELL) => {}
        }
    }
    drop(input.shutdown().await);
}

async fn say(input: &mut (dyn AsyncWrite + Send + Unpin), line: &str) -> std::io::Result<()> {
    input.write_all(line.as_bytes()).await?;
    input.flush().await
}

/// Hears what it says, to the end.
async fn read(output: Box<dyn AsyncRead + Send + Unpin>, feed: Arc<Feed>, over: CancellationToken) {
    let mut lines = BufReader::new(output).split(b'\n');
    loop {
        match lines.next_segment().await {
            Ok(Some(line)) => {
                if let Err(error) = feed.take(&line) {
                    feed.over(&error.to_string());
                    break;
                }
            }
            Ok(None) => {
                feed.over("nothing more came from it");
                break;
            }
            Err(error) => {
                feed.over(&format!("it cannot be read any more: {error}"));
                break;
            }
        }
    }
    over.cancel();
}
