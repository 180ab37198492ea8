//! A script that is read ahead of whoever plays it: bytes are fetched and decompressed while statements run.

use crate::backup::foreign::codec;
use crate::error::{Error, Result};
use crate::postgres::script::{DumpKind, Lexer, Limits, Token};
use bytes::{Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Bytes of one piece read ahead.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces that wait at most.
const PIECES_AHEAD: usize = 4;

/// Tokens of a script, from any reader.
#[derive(Debug)]
pub struct Script {
    lexer: Lexer,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    _reading: Reading,
    put_back: Option<Token>,
    ended: bool,
    name: String,
}

/// The task that reads ahead; it never outlives the script.
#[derive(Debug)]
struct Reading(JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Script {
    /// Begins to read; `name` is for messages.
    pub fn read(reader: impl AsyncRead + Send + Unpin + 'static, limits: Limits, name: impl Into<String>) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let reading = Reading(tokio::spawn(read_ahead(reader, sender)));
        Self { lexer: Lexer::new(limits), pieces, _reading: reading, put_back: None, ended: false, name: name.into() }
    }

    /// What is read, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next token; `None` at the end of the script.
    pub async fn next(&mut self) -> Result<Option<Token>> {
        if let Some(token) = self.put_back.take() {
            return Ok(Some(token));
        }
        loop {
            if let Some(token) = self.lexer.next_token().map_err(|error| self.named(error.into()))? {
                return Ok(Some(token));
            }
            if self.ended {
                return Ok(None);
            }
            match self.piece().await? {
                Some(piece) => self.lexer.push(&piece),
                None => self.lexer.finish(),
            }
        }
    }

    /// What wrote the script, from its first words; reads no further than needed.
    ///
    /// # Errors
    ///
    /// Input if there is nothing in it, or if it is a cluster dump and no database was named.
    pub async fn kind(&mut self, database_named: bool) -> Result<Option<DumpKind>> {
        while let Some(token) = self.next().await? {
            match token {
                Token::Begin(DumpKind::Cluster) if !database_named => return Err(self.is_of_cluster()),
                Token::Begin(kind) => return Ok(Some(kind)),
                Token::Statement(_) | Token::CopyBegin(_) => return Ok(None),
                _ => {}
            }
        }
        Err(Error::input(format!("{} holds no SQL at all", self.name)).hint("look what wrote it; take an older one"))
    }

    pub(super) fn is_of_cluster(&self) -> Error {
        Error::input(format!("{} is a dump of a whole server (pg_dumpall)", self.name))
            .hint("say which database with --database NAME; --with-globals adds its roles")
    }

    /// Whether all bytes have been read.
    pub fn is_at_end(&self) -> bool {
        self.ended
    }

    /// Gives a token back; the next call of `next` returns it again.
    pub fn put_back(&mut self, token: Token) {
        self.put_back = Some(token);
    }

    /// Reads what is left without looking at it, so that the end of the stream is seen to be whole.
    pub async fn drain(&mut self) -> Result<()> {
        while !self.ended {
            self.piece().await?;
        }
        Ok(())
    }

    /// The next bytes; `None` at the end of the stream.
    async fn piece(&mut self) -> Result<Option<Bytes>> {
        match self.pieces.recv().await {
            Some(Ok(piece)) if piece.is_empty() => {
                self.ended = true;
                Ok(None)
            }
            Some(Ok(piece)) => Ok(Some(piece)),
            Some(Err(error)) => Err(self.named(codec::explain(error))),
            // A stream that is whole says so with an empty piece.
            None => Err(self.named(Error::failed("reading the dump: the reader stopped in the middle"))),
        }
    }

    fn named(&self, error: Error) -> Error {
        error.during(self.name.clone())
    }
}

async fn read_ahead(mut reader: impl AsyncRead + Send + Unpin, sender: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        // A decoder gives a little at a time; whole pieces are cheaper to pass on.
        let read = async {
            while piece.len() < PIECE_BYTES
                && (&mut reader).take((PIECE_BYTES - piece.len()) as u64).read_buf(&mut piece).await? > 0
            {}
            Ok(())
        };
        let outcome: io::Result<()> = read.await;
        let whole = piece.len() == PIECE_BYTES;
        if !piece.is_empty() && sender.send(Ok(piece.freeze())).await.is_err() {
            return;
        }
        let last = match outcome {
            Ok(()) if whole => continue,
            Ok(()) => Ok(Bytes::new()),
            Err(error) => Err(error),
        };
        // If nobody reads any more, there is nobody to tell.
        let _told = sender.send(last).await;
        return;
    }
}
