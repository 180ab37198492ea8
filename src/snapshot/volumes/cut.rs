//! Cuts a stream of files into chunks. Where it is cut depends on the bytes around the cut alone, so that a file that
//! grew or went moves no cut behind it.

use crate::error::{Error, Result};
use crate::repository::PointWriter;
use crate::repository::manifest::Chunk;
use crate::rowsum::RowSum;
use bytes::BytesMut;
use fastcdc::v2020::FastCDC;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A chunk has at least, on average and at most so many bytes.
const LEAST: u32 = 512 << 10;
const AVERAGE: u32 = 2 << 20;
const MOST: u32 = 8 << 20;
/// Chunks that are stored side by side.
const PUTS: usize = 3;

/// Stores a stream to its end; gives its chunks in order.
pub(super) async fn store(mut stream: impl AsyncRead + Unpin, writer: &PointWriter) -> Result<Vec<Chunk>> {
    let mut chunks = Vec::new();
    let mut putting = FuturesOrdered::new();
    let mut waiting = BytesMut::new();
    let mut ended = false;
    loop {
        while !ended && waiting.len() < MOST as usize {
            waiting.reserve(MOST as usize - waiting.len());
            let read = stream.read_buf(&mut waiting).await;
            ended = read.map_err(|why| Error::failed("reading the stream of a mover").because(why))? == 0;
        }
        if waiting.is_empty() {
            break;
        }
        let piece = waiting.split_to(first_cut(&waiting)).freeze();
        putting.push_back(writer.put_chunk(piece, RowSum::default()));
        if putting.len() >= PUTS
            && let Some(put) = putting.next().await
        {
            chunks.push(put?.chunk);
        }
    }
    while let Some(put) = putting.next().await {
        chunks.push(put?.chunk);
    }
    Ok(chunks)
}

fn first_cut(bytes: &[u8]) -> usize {
    FastCDC::new(bytes, LEAST, AVERAGE, MOST).next().map_or(bytes.len(), |chunk| chunk.length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeSet;

    fn cuts(mut bytes: &[u8]) -> Vec<&[u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(first_cut(&bytes[..bytes.len().min(MOST as usize)]));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }

    #[test]
    fn bytes_that_come_and_go_move_no_cut_behind_them() {
        let mut random = StdRng::seed_from_u64(3);
        let before: Vec<u8> = (0..40 << 20).map(|_| random.random()).collect();
        let after = [&before[..9_000_000], b"some more", &before[9_000_100..]].concat();
        let known: BTreeSet<&[u8]> = cuts(&before).into_iter().collect();
        let new = cuts(&after).into_iter().filter(|piece| !known.contains(piece)).count();
        assert!(known.len() > 10 && known.len() < 80, "{}", known.len());
        assert!((1..=3).contains(&new), "{new} of {}", known.len());
    }
}
