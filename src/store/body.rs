//! Bodies that are what was announced: their length on the way out, their hash on the way in.

use super::{ObjectKey, StoreError};
use crate::id::Sha256;
use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::Sleep;

/// Passes bytes on and turns an early end into an error, so that a cut connection never reads as a short object.
pub(super) struct ExactBody<R> {
    inner: R,
    missing: u64,
}

impl<R> ExactBody<R> {
    /// A body of `inner` that must give exactly `length` bytes.
    pub(super) fn new(inner: R, length: u64) -> Self {
        Self { inner, missing: length }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for ExactBody<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let came = (buf.filled().len() - before) as u64;
        let text = match self.missing.checked_sub(came) {
            None => "the body is longer than announced".to_owned(),
            Some(missing) if came == 0 && missing > 0 => format!("the body ended {missing} bytes early"),
            Some(missing) => {
                self.missing = missing;
                return Poll::Ready(Ok(()));
            }
        };
        // A reader that fails must not have read anything.
        buf.set_filled(before);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)))
    }
}

/// How much of a body is handed on at once where it is passed through.
const PIECE: usize = 256 * 1024;

/// The next bytes of a body; none at its end.
pub(super) async fn next_piece(body: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut piece = BytesMut::with_capacity(PIECE);
    body.read_buf(&mut piece).await?;
    Ok(piece.freeze())
}

/// Gives up a body of which no byte comes for too long. Time in which nobody asks for a byte does not count.
pub(super) struct Patient<R> {
    inner: R,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<R> Patient<R> {
    /// A body of `inner` that may keep its reader waiting for `patience`.
    pub(super) fn new(inner: R, patience: Duration) -> Self {
        Self { inner, patience, waiting: None }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Patient<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.inner).poll_read(cx, buf) {
            self.waiting = None;
            return Poll::Ready(outcome);
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        std::task::ready!(waiting.as_mut().poll(cx));
        let text = format!("no byte came for {} s", patience.as_secs());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

/// Refuses bytes that do not have the hash that goes with them, as an S3 server does.
pub(super) fn check_sha256(key: &ObjectKey, body: &[u8], announced: &Sha256) -> Result<(), StoreError> {
    if Sha256::of(body) == *announced {
        return Ok(());
    }
    Err(StoreError::Damaged {
        target: key.to_string(),
        detail: "they do not have the SHA-256 that goes with them".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(body: &[u8], announced: u64) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        ExactBody::new(body, announced).read_to_end(&mut all).await?;
        Ok(all)
    }

    #[tokio::test]
    async fn only_a_body_of_the_announced_length_ends_well() {
        assert_eq!(read(b"four", 4).await.unwrap(), b"four");
        assert_eq!(read(b"", 0).await.unwrap(), b"");
        assert_eq!(read(b"fou", 4).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(b"fours", 4).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_given_up() {
        let (mut sender, receiver) = tokio::io::duplex(16);
        let mut body = Patient::new(receiver, Duration::from_mins(1));
        tokio::io::AsyncWriteExt::write_all(&mut sender, b"some").await.unwrap();
        assert_eq!(&next_piece(&mut body).await.unwrap()[..], b"some");
        // Time in which nobody reads is no standstill.
        tokio::time::sleep(Duration::from_mins(10)).await;
        let begun = tokio::time::Instant::now();
        assert_eq!(next_piece(&mut body).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 60);
    }
}
