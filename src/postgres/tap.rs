//! A fast way out for the rows of `COPY … TO STDOUT`.
//!
//! The client library makes an object of each row and passes it between two tasks; at ten million rows that costs
//! more than hashing them. A [`Tap`] sits between the socket (or its TLS stream) and the library: it reads in large
//! pieces, hands the payload of `CopyData` messages to a [`RowSink`] and lets everything else through. A row is
//! never gathered: its length stands in front of it, so the sink knows what comes and takes it piece by piece.
//! The sink's back-pressure is the socket's.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// How much is read from the socket at once.
const READ: usize = 256 * 1024;

/// A large COPY is read in pieces of at least this size if waiting for a moment gives them. PostgreSQL sends 8 KiB at a
/// time; being woken for each of them costs both sides more than the bytes do.
const PIECE: usize = 64 * 1024;
/// The moment.
const MOMENT: Duration = Duration::from_millis(1);
/// Rows of a COPY, in bytes, before it counts as a large one: small tables are not held up.
const LARGE: u64 = 1024 * 1024;

/// Tag and length of a message.
const HEADER: usize = 5;

/// Where the rows of one COPY go.
pub trait RowSink: Any + Send {
    /// How many bytes can be taken now. `left` bytes of the row are still to come (at least one); `fresh` says that
    /// none of it was given yet. `Pending` holds the connection back until the waker is called.
    fn poll_room(&mut self, left: usize, fresh: bool, cx: &mut Context<'_>) -> Poll<usize>;

    /// Takes a piece no larger than the room given; `last` says that the row ends with it.
    fn put(&mut self, piece: &[u8], last: bool);
}

/// The handle of a [`Tap`]: installs the sink and tells what the server said of the rows it sent.
#[derive(Default)]
pub struct TapControl {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: bool,
    sink: Option<Box<dyn RowSink>>,
    copied: Option<u64>,
}

impl TapControl {
    /// Whether the tap sees no messages, because TLS is spoken above it.
    pub fn is_idle(&self) -> bool {
        self.lock().idle
    }

    /// The rows of the next COPY go to `sink`.
    pub fn install(&self, sink: Box<dyn RowSink>) {
        let mut state = self.lock();
        state.sink = Some(sink);
        state.copied = None;
    }

    /// Ends the diversion; gives the sink back, and the row count of the last command tag if the COPY came to its end.
    pub fn remove(&self) -> (Option<Box<dyn RowSink>>, Option<u64>) {
        let mut state = self.lock();
        (state.sink.take(), state.copied.take())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the next byte in the buffer belongs to.
enum Place {
    /// The header of a message.
    Header,
    /// A row for the sink.
    Row { left: usize, fresh: bool },
    /// A message for the library.
    Pass { left: usize },
}

/// What a look at the buffer gave.
enum Step {
    /// Nothing for the reader; more must be read from the socket.
    Starved,
    /// Something for the reader.
    Deliver,
}

impl Step {
    /// The step where the buffer holds no whole next thing.
    fn after(delivered: bool) -> Self {
        if delivered { Self::Deliver } else { Self::Starved }
    }
}

/// A stream whose rows can be diverted.
pub struct Tap<S> {
    inner: S,
    control: Arc<TapControl>,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    place: Place,
    /// Bytes of rows that the COPY under way has sent.
    diverted: u64,
    /// Set while more is let come in.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<S> Tap<S> {
    /// Wraps a stream of the server's messages.
    pub fn new(inner: S, control: Arc<TapControl>) -> Self {
        Self { inner, control, buffer: Vec::new(), begin: 0, end: 0, place: Place::Header, diverted: 0, pause: None }
    }

    /// The same, but the first byte is the server's answer to the question for TLS.
    #[must_use]
    pub fn after_answer(mut self) -> Self {
        self.place = Place::Pass { left: 1 };
        self
    }

    /// Moves what is in the buffer to where it belongs.
    fn deliver(&mut self, state: &mut State, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<Step>> {
        // The reader may have handed over a buffer with something in it.
        let before = out.filled().len();
        loop {
            let held = &self.buffer[self.begin..self.end];
            let Some(first) = held.first() else { return Poll::Ready(Ok(Step::after(out.filled().len() > before))) };
            match self.place {
                Place::Header => {
                    let Some(length) = message_length(held)? else {
                        return Poll::Ready(Ok(Step::after(out.filled().len() > before)));
                    };
                    match (first, &state.sink) {
                        (b'd', Some(_)) if length > 4 => {
                            self.begin += HEADER;
                            self.place = Place::Row { left: length - 4, fresh: true };
                        }
                        (b'C', Some(_)) => {
                            let Some(message) = held.get(HEADER..=length) else {
                                return Poll::Ready(Ok(Step::after(out.filled().len() > before)));
                            };
                            state.copied = copied_rows(message);
                            self.diverted = 0;
                            self.place = Place::Pass { left: length + 1 };
                        }
                        _ => self.place = Place::Pass { left: length + 1 },
                    }
                }
                Place::Row { left, fresh } => {
                    let Some(sink) = &mut state.sink else {
                        return Poll::Ready(Err(io::Error::other("the sink was taken away in the middle of a row")));
                    };
                    let Poll::Ready(room) = sink.poll_room(left, fresh, cx) else {
                        let something = out.filled().len() > before;
                        return if something { Poll::Ready(Ok(Step::Deliver)) } else { Poll::Pending };
                    };
                    let piece = &held[..left.min(room).min(held.len())];
                    let left = left - piece.len();
                    sink.put(piece, left == 0);
                    self.begin += piece.len();
                    self.diverted += piece.len() as u64;
                    self.place = if left == 0 { Place::Header } else { Place::Row { left, fresh: false } };
                }
                Place::Pass { left } => {
                    let piece = &held[..left.min(held.len()).min(out.remaining())];
                    if piece.is_empty() {
                        return Poll::Ready(Ok(Step::Deliver));
                    }
                    out.put_slice(piece);
                    let left = left - piece.len();
                    self.begin += piece.len();
                    self.place = if left == 0 { Place::Header } else { Place::Pass { left } };
                }
            }
        }
    }
}

/// The length that a message header gives (itself included, the tag not), once the header is whole.
fn message_length(held: &[u8]) -> io::Result<Option<usize>> {
    let Some(&[_, a, b, c, d]) = held.first_chunk::<HEADER>() else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length < 4 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of the server is shorter than its header"));
    }
    Ok(Some(length))
}

/// The count in a command tag such as `COPY 42`.
fn copied_rows(tag: &[u8]) -> Option<u64> {
    let tag = std::str::from_utf8(tag.strip_suffix(b"\0")?).ok()?;
    tag.strip_prefix("COPY ")?.parse().ok()
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let control = Arc::clone(&this.control);
        let mut state = control.lock();
        if state.idle && this.begin == this.end {
            drop(state);
            return Pin::new(&mut this.inner).poll_read(cx, out);
        }
        if this.buffer.is_empty() {
            this.buffer.resize(READ, 0);
        }
        loop {
            if let Step::Deliver = ready!(this.deliver(&mut state, cx, out))? {
                return Poll::Ready(Ok(()));
            }
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            this.buffer.copy_within(this.begin..this.end, 0);
            this.end -= this.begin;
            this.begin = 0;
            let mut free = ReadBuf::new(&mut this.buffer[this.end..]);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut free))?;
            let read = free.filled().len();
            if read == 0 {
                // An end inside a message is for the library to judge; it sees a closed connection.
                return Poll::Ready(Ok(()));
            }
            this.end += read;
            if read < PIECE && this.diverted > LARGE {
                this.pause = Some(Box::pin(tokio::time::sleep(MOMENT)));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Tap<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// A TLS connector that moves the tap from the socket to the TLS stream, because below TLS there are no messages.
pub struct TapTls<T> {
    inner: T,
    lower: Arc<TapControl>,
    upper: Arc<TapControl>,
}

impl<T> TapTls<T> {
    /// Wraps a connector; `lower` is the tap on the socket.
    pub fn new(inner: T, lower: Arc<TapControl>, upper: Arc<TapControl>) -> Self {
        Self { inner, lower, upper }
    }
}

impl<S, T> TlsConnect<S> for TapTls<T>
where
    T: TlsConnect<S>,
    T::Future: Send + 'static,
{
    type Stream = Tap<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let Self { inner, lower, upper } = self;
        lower.lock().idle = true;
        let connecting = inner.connect(stream);
        Box::pin(async move { connecting.await.map(|stream| Tap::new(stream, upper)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Takes at most seven bytes at a time, and refuses every second time.
    #[derive(Clone, Default)]
    struct Collect {
        rows: Arc<Mutex<Vec<Vec<u8>>>>,
        row: Vec<u8>,
        refuse: bool,
    }

    impl RowSink for Collect {
        fn poll_room(&mut self, left: usize, fresh: bool, cx: &mut Context<'_>) -> Poll<usize> {
            assert_eq!(fresh, self.row.is_empty());
            self.refuse = !self.refuse;
            if self.refuse {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(left.min(7))
        }

        fn put(&mut self, piece: &[u8], last: bool) {
            self.row.extend_from_slice(piece);
            if last {
                self.rows.lock().unwrap().push(std::mem::take(&mut self.row));
            }
        }
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag], &length[..], body].concat()
    }

    /// Sends `sent` in pieces of `step` bytes through a tap; gives what came through.
    async fn through(sent: &[u8], step: usize, control: &Arc<TapControl>) -> Vec<u8> {
        let (mut server, client) = tokio::io::duplex(step);
        let mut tap = Tap::new(client, Arc::clone(control));
        let sent = sent.to_vec();
        let sending = tokio::spawn(async move {
            for piece in sent.chunks(step) {
                server.write_all(piece).await.unwrap();
            }
        });
        let mut passed = Vec::new();
        tap.read_to_end(&mut passed).await.unwrap();
        sending.await.unwrap();
        passed
    }

    #[tokio::test]
    async fn rows_go_to_the_sink_and_everything_else_goes_through() {
        let long = vec![b'x'; 700_000];
        let around = [message(b'2', b""), message(b'H', b"\0\0\0")].concat();
        let end = [message(b'c', b""), message(b'C', b"COPY 3\0"), message(b'Z', b"I")].concat();
        let rows: Vec<&[u8]> = vec![b"1\ta\n", b"\n", &long];
        let data: Vec<u8> = rows.iter().flat_map(|row| message(b'd', row)).collect();
        let sent = [&around[..], &data, &end].concat();
        for step in [1, 5, 4096, 1 << 20] {
            let control = Arc::new(TapControl::default());
            let sink = Collect::default();
            control.install(Box::new(sink.clone()));
            let passed = through(&sent, step, &control).await;
            assert_eq!(passed, [&around[..], &end].concat(), "step {step}");
            assert_eq!(*sink.rows.lock().unwrap(), rows, "step {step}");
            assert_eq!(control.remove().1, Some(3));
        }
    }

    #[tokio::test]
    async fn without_a_sink_or_below_tls_nothing_is_touched() {
        let sent = [message(b'd', b"1\ta\n"), message(b'C', b"COPY 1\0")].concat();
        let control = Arc::new(TapControl::default());
        assert_eq!(through(&sent, 3, &control).await, sent);
        assert_eq!(control.remove().1, None);
        control.lock().idle = true;
        assert_eq!(through(b"\x16\x03\x01\0\0\0\0", 3, &control).await, b"\x16\x03\x01\0\0\0\0");
    }

    #[tokio::test]
    async fn the_answer_to_the_question_for_tls_is_no_message() {
        let sent = [b"N".to_vec(), message(b'R', b"\0\0\0\0")].concat();
        let mut tap = Tap::new(&sent[..], Arc::new(TapControl::default())).after_answer();
        let mut passed = Vec::new();
        tap.read_to_end(&mut passed).await.unwrap();
        assert_eq!(passed, sent);
    }

    #[tokio::test]
    async fn a_length_that_cannot_be_is_an_error() {
        let control = Arc::new(TapControl::default());
        let mut tap = Tap::new(&b"d\0\0\0\x01xx"[..], control);
        assert!(tap.read_to_end(&mut Vec::new()).await.is_err());
    }
}
