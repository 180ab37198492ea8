//! Cuts the rows of one range into chunks and sums them up; no I/O, no waiting.
//!
//! The rule never looks at anything but the bytes of the range itself, so that unchanged rows give unchanged
//! chunks: a row that does not fit begins the next chunk; a row larger than a chunk begins a chunk of its own, fills
//! it and goes on in the next. A row is counted where it ends.

use crate::rowsum::{RowSum, Rows};
use bytes::BytesMut;

/// The size at which a chunk of text is closed.
pub const CHUNK_BYTES: usize = 16 * 1024 * 1024;

/// A closed chunk.
#[derive(Debug)]
pub(crate) struct Filled {
    /// The text.
    pub(crate) text: BytesMut,
    /// The rows that end in it, and their sum.
    pub(crate) rows: RowSum,
}

/// The chunk that is being filled, and the row under way.
pub(crate) struct Chunker {
    limit: usize,
    text: BytesMut,
    rows: RowSum,
    row: Row,
    broken: bool,
}

/// The row under way.
enum Row {
    /// It began in this chunk, at this offset.
    Here(usize),
    /// It began in an earlier chunk; the hash of what came before this chunk.
    Elsewhere(Rows),
}

impl Chunker {
    /// A chunker whose chunks hold at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, text: BytesMut::new(), rows: RowSum::default(), row: Row::Here(0), broken: false }
    }

    /// How many bytes of a row of which `left` are to come fit into this chunk; 0 says that it must be closed first.
    pub(crate) fn room(&self, left: usize, fresh: bool) -> usize {
        let free = self.limit - self.text.len();
        if fresh && left > free && !self.text.is_empty() { 0 } else { left.min(free) }
    }

    /// Whether the chunk has a buffer to fill.
    pub(crate) fn is_open(&self) -> bool {
        self.text.capacity() > 0
    }

    /// Begins a chunk in `buffer`, which is empty and has room for a whole chunk.
    pub(crate) fn open(&mut self, buffer: BytesMut) {
        self.text = buffer;
    }

    /// Adds a piece of a row that fits; `last` says that the row, line feed included, ends with it.
    pub(crate) fn put(&mut self, piece: &[u8], last: bool) {
        self.text.extend_from_slice(piece);
        if last {
            self.end_row();
        }
    }

    fn end_row(&mut self) {
        let end = self.text.len();
        match &mut self.row {
            Row::Here(begin) => match self.text.get(*begin..end) {
                Some([line @ .., b'\n']) => self.rows.add_row(line),
                _ => self.broken = true,
            },
            Row::Elsewhere(earlier) => {
                self.rows += earlier.sum(&self.text);
                self.broken |= !earlier.is_between_rows();
            }
        }
        self.row = Row::Here(end);
    }

    /// Closes the chunk, if there is anything in it.
    pub(crate) fn close(&mut self) -> Option<Filled> {
        if self.text.is_empty() {
            return None;
        }
        match &mut self.row {
            Row::Here(begin) if *begin < self.text.len() => {
                let mut earlier = Rows::new();
                self.rows += earlier.sum(&self.text[*begin..]);
                self.row = Row::Elsewhere(earlier);
            }
            Row::Here(begin) => *begin = 0,
            Row::Elsewhere(earlier) => self.rows += earlier.sum(&self.text),
        }
        Some(Filled { text: std::mem::take(&mut self.text), rows: std::mem::take(&mut self.rows) })
    }

    /// Takes the buffer back if nothing was written into it.
    pub(crate) fn take_empty(&mut self) -> Option<BytesMut> {
        (self.is_open() && self.text.is_empty()).then(|| std::mem::take(&mut self.text))
    }

    /// Whether every row so far ended with a line feed, as COPY text does.
    pub(crate) fn is_sound(&self) -> bool {
        !self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 16;

    /// Cuts `rows` (without line feeds), giving each row in pieces of at most `step` bytes.
    fn cut(rows: &[Vec<u8>], step: usize) -> Vec<Filled> {
        let mut chunker = Chunker::new(LIMIT);
        chunker.open(BytesMut::with_capacity(LIMIT));
        let mut chunks = Vec::new();
        for row in rows {
            let mut line = row.clone();
            line.push(b'\n');
            let mut rest = &line[..];
            while !rest.is_empty() {
                let room = chunker.room(rest.len(), rest.len() == line.len());
                if room == 0 {
                    chunks.extend(chunker.close());
                    chunker.open(BytesMut::with_capacity(LIMIT));
                    continue;
                }
                let (piece, more) = rest.split_at(room.min(step).min(rest.len()));
                chunker.put(piece, more.is_empty());
                rest = more;
            }
        }
        chunks.extend(chunker.close());
        assert!(chunker.is_sound());
        chunks
    }

    fn texts(chunks: &[Filled]) -> Vec<&str> {
        chunks.iter().map(|chunk| std::str::from_utf8(&chunk.text).unwrap()).collect()
    }

    #[test]
    fn a_row_that_does_not_fit_begins_the_next_chunk() {
        let rows = [b"123456".to_vec(), b"12345678".to_vec(), b"1".to_vec()];
        assert_eq!(texts(&cut(&rows, 99)), ["123456\n12345678\n", "1\n"]);
        let rows = [b"123456".to_vec(), b"123456789".to_vec()];
        assert_eq!(texts(&cut(&rows, 99)), ["123456\n", "123456789\n"]);
    }

    #[test]
    fn a_row_larger_than_a_chunk_goes_on_in_the_next_and_is_counted_where_it_ends() {
        let rows = [b"a".to_vec(), vec![b'x'; 35], b"b".to_vec()];
        let chunks = cut(&rows, 99);
        assert_eq!(texts(&chunks), ["a\n", "xxxxxxxxxxxxxxxx", "xxxxxxxxxxxxxxxx", "xxx\nb\n"]);
        let counts: Vec<u64> = chunks.iter().map(|chunk| chunk.rows.rows).collect();
        assert_eq!(counts, [1, 0, 0, 2]);
    }

    #[test]
    fn a_line_feed_alone_in_the_last_chunk_still_ends_the_row() {
        let rows = [vec![b'x'; LIMIT]];
        let chunks = cut(&rows, 99);
        assert_eq!(texts(&chunks), ["xxxxxxxxxxxxxxxx", "\n"]);
        let mut expected = RowSum::default();
        expected.add_row(&rows[0]);
        assert_eq!(chunks[1].rows, expected);
    }

    #[test]
    fn what_does_not_end_with_a_line_feed_is_no_row() {
        let mut chunker = Chunker::new(LIMIT);
        chunker.open(BytesMut::with_capacity(LIMIT));
        chunker.put(b"1\t2", true);
        assert!(!chunker.is_sound());
    }

    proptest! {
        #[test]
        fn cuts_and_sums_depend_on_the_rows_alone(
            rows in prop::collection::vec(prop::collection::vec(b'a'..=b'z', 0..60), 0..20),
            step in 1usize..70,
        ) {
            let chunks = cut(&rows, step);
            let whole = cut(&rows, usize::MAX);
            prop_assert_eq!(texts(&chunks), texts(&whole));
            let mut sum = RowSum::default();
            for chunk in &chunks {
                sum += chunk.rows;
            }
            let mut expected = RowSum::default();
            for row in &rows {
                expected.add_row(row);
            }
            prop_assert_eq!(sum, expected);
            let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.text.to_vec()).collect();
            let lines: Vec<u8> = rows.iter().flat_map(|row| [row.as_slice(), b"\n"].concat()).collect();
            prop_assert_eq!(joined, lines);
            prop_assert!(chunks.iter().all(|chunk| chunk.text.len() <= LIMIT && !chunk.text.is_empty()));
        }
    }
}
