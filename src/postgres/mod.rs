//! The edge to PostgreSQL: finding and reaching a server, reading its catalogue, running its client tools, and
//! making a throw-away one. It knows nothing of repositories or backups; the verbs put these together.

mod account;
pub mod catalog;
mod connect;
pub mod conninfo;
pub mod fault;
pub mod locks;
pub mod pooler;
pub mod quote;
pub mod script;
pub mod session;
mod socket;
pub mod tap;
pub mod throwaway;
mod tls;
pub mod tools;
pub mod waldump;

pub use connect::{connect, try_connect};
pub use conninfo::{ConnInfo, PgEnvironment};
pub use fault::{Fault, classify, explain};
pub use session::{Notice, Session};
