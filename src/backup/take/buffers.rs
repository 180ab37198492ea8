//! The chunk buffers of a run: so many and no more, used again and again.
//!
//! This is what bounds the memory of a backup. A worker that finds no free buffer does not read on, so a slow store
//! slows the reading of rows and nothing grows.

use bytes::{Bytes, BytesMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// A fixed number of buffers of one size.
#[derive(Debug)]
pub(crate) struct Buffers {
    size: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: Vec<BytesMut>,
    /// How many may still be made.
    unmade: usize,
    waiting: Vec<Waker>,
}

impl Buffers {
    /// At most `count` buffers of `size` bytes; memory is taken when they are first used.
    pub(crate) fn new(count: usize, size: usize) -> Arc<Self> {
        let state = State { free: Vec::new(), unmade: count.max(1), waiting: Vec::new() };
        Arc::new(Self { size, state: Mutex::new(state) })
    }

    /// Takes a buffer, when one is free.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<BytesMut> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(buffer) = state.free.pop() {
            return Poll::Ready(buffer);
        }
        if state.unmade > 0 {
            state.unmade -= 1;
            return Poll::Ready(BytesMut::with_capacity(self.size));
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Gives a buffer back.
    pub(crate) fn give(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Freezing and thawing may leave a buffer with less room; a fresh one takes its place.
        if buffer.capacity() >= self.size {
            state.free.push(buffer);
        } else {
            state.unmade += 1;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Gives back a buffer that was lent out as `Bytes`; if somebody still holds a part of it, its memory goes when
    /// they let go, and a fresh buffer may be made.
    pub(crate) fn give_bytes(&self, bytes: Bytes) {
        self.give(bytes.try_into_mut().unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn there_are_never_more_than_the_number_given_and_memory_is_used_again() {
        let buffers = Buffers::new(2, 100);
        let mut one = poll_fn(|cx| buffers.poll_take(cx)).await;
        let two = poll_fn(|cx| buffers.poll_take(cx)).await;
        let mut third = tokio_test_pending(&buffers);
        assert!(third.as_mut().now_or_never().is_none(), "a third buffer was given out");
        one.extend_from_slice(b"rows");
        let place = one.as_ptr();
        let lent = one.freeze();
        buffers.give_bytes(lent);
        let again = third.await;
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        drop(two);
    }

    #[tokio::test]
    async fn a_buffer_that_somebody_still_reads_is_replaced() {
        let buffers = Buffers::new(1, 100);
        let mut one = poll_fn(|cx| buffers.poll_take(cx)).await;
        one.extend_from_slice(b"rows");
        let lent = one.freeze();
        let reader = lent.clone();
        buffers.give_bytes(lent);
        let fresh = poll_fn(|cx| buffers.poll_take(cx)).await;
        assert_ne!(fresh.as_ptr(), reader.as_ptr());
        assert_eq!(reader, "rows");
    }

    use futures_util::FutureExt;
    use std::pin::Pin;

    fn tokio_test_pending(buffers: &Arc<Buffers>) -> Pin<Box<dyn Future<Output = BytesMut> + '_>> {
        Box::pin(poll_fn(|cx| buffers.poll_take(cx)))
    }
}
