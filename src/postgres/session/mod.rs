//! One connection to one database: its watched task, its cancel key, and queries whose errors say what they were for.

mod data;

pub use data::{client_encoding, prepare_data_session};

use super::conninfo::ConnInfo;
use super::fault;
use super::socket::{Place, Socket};
use super::tap::{RowSink, TapControl};
use crate::error::{Error, Result};
use futures_util::StreamExt;
use futures_util::future::poll_fn;
use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::error::Severity;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Connection, Row, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a goodbye or a cancel request may take.
const GOODBYE: Duration = Duration::from_secs(10);

/// No more warnings of the server than this are kept.
const NOTICES_KEPT: usize = 100;

/// An open connection. Dropping it closes the socket at once; `close` says goodbye first.
pub struct Session {
    /// The driver's client.
    pub client: Client,
    pub(super) facts: ServerFacts,
    conn: ConnInfo,
    canceller: Canceller,
    tap: Arc<TapControl>,
    ended: watch::Receiver<Option<String>>,
    notices: Arc<Mutex<VecDeque<Notice>>>,
    task: Task,
}

/// A warning that the server sent beside its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its SQLSTATE.
    pub code: String,
    /// What it says, in the server's language.
    pub message: String,
}

/// The connection's task; it never outlives the session.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Cancels what one session is running.
#[derive(Clone)]
pub struct Canceller {
    token: CancelToken,
    place: Place,
    tls: MakeRustlsConnect,
    tls_name: String,
    shown: String,
}

impl Canceller {
    /// Asks the server to cancel; the session's query then fails, unless it was just done.
    pub async fn cancel(&self) -> Result<()> {
        let doing = || format!("cancelling a query on {}", self.shown);
        match tokio::time::timeout(GOODBYE, self.send(&doing)).await {
            Ok(sent) => sent,
            Err(_) => Err(Error::failed(format!("{}: no answer in time", doing()))),
        }
    }

    async fn send(&self, doing: &impl Fn() -> String) -> Result<()> {
        let socket = self.place.open().await.map_err(|error| fault::explain_socket(error, &doing()).1)?;
        let Ok(tls) = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.tls.clone(), &self.tls_name);
        self.token.cancel_query_raw(socket, tls).await.map_err(|error| fault::explain(&error, doing()))
    }
}

async fn drive<S, T>(
    mut connection: Connection<S, T>,
    notices: Arc<Mutex<VecDeque<Notice>>>,
    ended: watch::Sender<Option<String>>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let why = loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notice(notice))) => {
                let text = format!("{}: {}", notice.severity(), notice.message());
                tracing::debug!(target: "davit::postgres", "{text}");
                if notice.parsed_severity() == Some(Severity::Warning) {
                    let mut kept = notices.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.len() < NOTICES_KEPT {
                        let (code, message) = (notice.code().code().to_owned(), notice.message().to_owned());
                        kept.push_back(Notice { code, message });
                    }
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => break fault::said(&error),
            None => break "the connection was closed".to_owned(),
        }
    };
    ended.send_replace(Some(why));
}

/// What every session knows of its server.
#[derive(Debug, Clone)]
pub(super) struct ServerFacts {
    pub(super) backend_pid: i32,
    pub(super) version_num: u32,
    pub(super) standby: bool,
    pub(super) read_only: bool,
}

impl Session {
    /// Takes over a new connection; its task runs until the session is dropped or the server ends it.
    pub(super) async fn start<S, T>(
        client: Client,
        connection: Connection<S, T>,
        conn: ConnInfo,
        place: Place,
        tls: MakeRustlsConnect,
        tap: Arc<TapControl>,
    ) -> std::result::Result<Self, tokio_postgres::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (ended_tx, ended) = watch::channel(None);
        let notices = Arc::new(Mutex::new(VecDeque::new()));
        let task = Task(tokio::spawn(drive(connection, notices.clone(), ended_tx)));
        let canceller =
            Canceller { token: client.cancel_token(), place, tls, tls_name: conn.tls_name(), shown: conn.describe() };
        let facts = ServerFacts { backend_pid: 0, version_num: 0, standby: false, read_only: false };
        let mut session = Self { client, facts, conn, canceller, tap, ended, notices, task };
        session.facts = session.ask_facts().await?;
        Ok(session)
    }

    async fn ask_facts(&self) -> std::result::Result<ServerFacts, tokio_postgres::Error> {
        // A simple query, because poolers lose prepared statements.
        let answer = self
            .client
            .simple_query(
                "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('server_version_num'), \
                 pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')",
            )
            .await?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let text = |column: usize| row.and_then(|row| row.get(column)).unwrap_or_default();
        Ok(ServerFacts {
            backend_pid: text(0).parse().unwrap_or_default(),
            version_num: text(1).parse().unwrap_or_default(),
            standby: text(2) == "t",
            read_only: text(3) == "on",
        })
    }

    /// The connection, pinned to the one host that answered: what further sessions and child processes should use.
    pub fn conn(&self) -> &ConnInfo {
        &self.conn
    }

    /// `server_version_num`, such as 150012.
    pub fn version_num(&self) -> u32 {
        self.facts.version_num
    }

    /// The major version, such as 15.
    pub fn major(&self) -> u32 {
        self.facts.version_num / 10_000
    }

    /// Whether the server was a standby when the session began.
    pub fn is_standby(&self) -> bool {
        self.facts.standby
    }

    /// The process that serves this session.
    pub fn backend_pid(&self) -> i32 {
        self.facts.backend_pid
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.ended.borrow().is_some()
    }

    /// Waits until the connection is gone, and says why. Cancel safe; several may wait.
    pub async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "the connection's task ended".into(),
        }
    }

    /// Asks the server to cancel what this session is running.
    pub async fn cancel(&self) -> Result<()> {
        self.canceller.cancel().await
    }

    /// A handle that can cancel this session's query from elsewhere.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// An error of this session's client for people; where the connection is gone it says why.
    pub fn explain(&self, error: &tokio_postgres::Error, doing: impl Into<String>) -> Error {
        let explained = fault::explain(error, doing);
        if fault::classify(error) != fault::Fault::Gone {
            return explained;
        }
        match self.ended.borrow().as_ref() {
            Some(why) => Error::new(explained.kind(), explained.to_string())
                .because(why.clone())
                .hint(explained.hint_text().unwrap_or_default()),
            None => explained,
        }
    }

    /// Warnings the server sent since this was last asked.
    pub fn take_notices(&self) -> Vec<Notice> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Says goodbye and waits until the server has closed the connection.
    pub async fn close(self) {
        let Self { client, mut ended, task, .. } = self;
        // The driver sends Terminate when its client is gone; a hung network must not hold us up.
        drop(client);
        if tokio::time::timeout(GOODBYE, ended.wait_for(Option::is_some)).await.is_err() {
            tracing::debug!("the server did not close the connection in time");
        }
        drop(task);
    }

    /// Empties the search path, so that types and functions in definitions come out qualified. It stays empty for this
    /// session (`RESET search_path` brings the old one back); never called through a pooler, which would keep it.
    pub(super) async fn empty_search_path(&self) -> Result<()> {
        self.rows("emptying the search path", "SELECT pg_catalog.set_config('search_path', '', false)", &[]).await?;
        Ok(())
    }

    /// Runs `COPY … TO STDOUT` and lets its rows go to `sink`; gives it back with the count that the server says it
    /// sent. A call that is dropped before its end leaves the session unusable.
    pub async fn copy_out<S: RowSink>(&self, doing: &str, sql: &str, sink: S) -> Result<(S, u64)> {
        let explain = |error: &tokio_postgres::Error| self.explain(error, doing);
        self.tap.install(Box::new(sink));
        let stream = self.client.copy_out(sql).await.map_err(|error| explain(&error))?;
        // No row comes this way; what comes is the end, or an error.
        let mut stream = std::pin::pin!(stream);
        if let Some(outcome) = stream.next().await {
            outcome.map_err(|error| explain(&error))?;
            return Err(Error::failed(format!("{doing}: a row went past the tap")));
        }
        // The command tag follows the end of the data.
        self.texts(doing, "").await?;
        let (sink, copied) = self.tap.remove();
        let sink = sink.and_then(|sink| (sink as Box<dyn Any>).downcast::<S>().ok());
        match sink.zip(copied) {
            Some((sink, copied)) => Ok((*sink, copied)),
            None => Err(Error::failed(format!("{doing}: the server did not say how many rows it sent"))),
        }
    }

    /// Runs statements that return nothing.
    pub async fn execute(&self, doing: &str, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|error| self.explain(&error, doing))
    }

    /// Runs a query with parameters.
    pub async fn rows(&self, doing: &str, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.client.query(sql, params).await.map_err(|error| self.explain(&error, doing))
    }

    /// Runs a query that gives exactly one row.
    pub async fn row(&self, doing: &str, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Row> {
        let mut rows = self.rows(doing, sql, params).await?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            _ => Err(Error::failed(format!("{doing}: the server did not answer with exactly one row"))),
        }
    }

    /// Runs a query whose result is read as text, without preparing it; safe through any pooler.
    pub async fn texts(&self, doing: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let answer = self.client.simple_query(sql).await.map_err(|error| self.explain(&error, doing))?;
        Ok(answer
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
                _ => None,
            })
            .collect())
    }
}
