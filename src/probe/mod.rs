//! Open-loop client transactions, and the ledger of every write that they tried.
//!
//! How a drill uses it:
//!
//! 1. Describe the streams ([`StreamPlan`]) and give each its [`Service`]: [`sql::SqlService`] over a [`sql::Dial`] (the
//!    caller's way to open a connection, TLS and all), [`http::HttpService`], [`tcp::TcpService`], [`dns::DnsService`].
//! 2. [`Observer::start`] runs them in a thread of its own and writes [`Entry`](crate::observation::Entry) lines into a
//!    [`Sink`]: a file, standard output, memory, or several at once. All its times are those of the clock that it was
//!    given, so a drill that stamps its own instants with the same clock needs no conversion. An observer in a pod
//!    (`davit observe`) has its own clock; its `look` lines say what that clock read.
//! 3. For writes, make the table ([`ledger::Table::create`]), open a [`ledger::Ledger`] (a local file; in a pod one that
//!    travels in the log), and give it to [`sql::SqlService::writing`]; a [`load::Load`] writes many at once. Afterwards [`ledger::Ledger::reread`] gives the
//!    attempts, and [`ledger::Table::read`] the rows, both as `measure::classify` wants them.
//!
//! It measures; it judges nothing. What a log means is in `measure`.

pub mod dns;
pub mod http;
pub mod ledger;
pub mod load;
pub mod observer;
pub mod plan;
pub mod service;
pub mod sink;
pub mod sql;
pub mod tcp;
pub mod tls;
pub mod transport;

pub use observer::{Observer, Running, Tally};
pub use plan::{Ask, Connection, StreamPlan};
pub use service::{Reply, Service, SharedService, Ticket};
pub use sink::{FileSink, MemorySink, SharedSink, Sink, Tee};
