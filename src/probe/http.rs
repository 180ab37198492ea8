//! A probe that makes one HTTP request: HTTP/1.1, in the clear or over TLS, on a fresh or on a kept connection.

use super::plan::Connection;
use super::service::{Reply, Service, Ticket};
use super::tls::{self, Trust};
use super::transport::{Tcp, Transport, Wire, said};
use crate::error::{Context, Error, Kind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::TlsConnector;

/// No more of a body than this is read.
const BODY_MAX: usize = 1 << 20;

/// What a good answer looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Good {
    /// The status; without it, any from 200 to 299.
    pub status: Option<u16>,
    /// What the body must contain.
    pub contains: Option<String>,
}

/// Asks over HTTP.
pub struct HttpService {
    transport: Arc<dyn Transport>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    address: String,
    host: String,
    path: String,
    good: Good,
    connection: Connection,
    idle: Mutex<Vec<Kept>>,
}

/// An open connection: where requests go in, and what moves its bytes while it is polled.
struct Kept {
    requests: http1::SendRequest<Empty<Bytes>>,
    moving: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
}

impl HttpService {
    /// Asks for this URL; over TLS the machine's own roots are trusted, unless [`HttpService::trusting`] says otherwise.
    ///
    /// # Errors
    /// `Kind::Input` for a URL that is none.
    pub fn new(url: &str, connection: Connection, good: Good) -> Result<Self> {
        Self::over(Arc::new(Tcp), url, connection, good)
    }

    /// The same over another transport.
    ///
    /// # Errors
    /// `Kind::Input` for a URL that is none.
    pub fn over(transport: Arc<dyn Transport>, url: &str, connection: Connection, good: Good) -> Result<Self> {
        let doing = || format!("reading the URL {} of a probe", crate::secret::redact(url));
        let uri: Uri = url.parse().context(Kind::Input, doing)?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(Error::input(doing()).hint("write http://… or https://…")),
        };
        let name = uri.host().ok_or_else(|| Error::input(format!("{}: it names no host", doing())))?;
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure {
            Some((tls::connector(Trust::System)?, tls::server_name(name).context(Kind::Input, doing)?))
        } else {
            None
        };
        Ok(Self {
            transport,
            tls,
            address: format!("{name}:{port}"),
            host: uri
                .authority()
                .map_or_else(String::new, |all| all.as_str().rsplit('@').next().unwrap_or("").to_owned()),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            good,
            connection,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// The same with other roots, where it asks over TLS.
    ///
    /// # Errors
    /// `Kind::Input` for roots that are none.
    pub fn trusting(mut self, trust: Trust<'_>) -> Result<Self> {
        if let Some((connector, _)) = &mut self.tls {
            *connector = tls::connector(trust)?;
        }
        Ok(self)
    }

    async fn open(&self) -> Result<Kept, String> {
        let wire = self.transport.connect(&self.address).await.map_err(|error| said(&error))?;
        let wire: Box<dyn Wire> = match &self.tls {
            None => wire,
            Some((connector, name)) => {
                let secured = connector.connect(name.clone(), wire).await;
                Box::new(secured.map_err(|error| tls::refused(&error))?)
            }
        };
        let (requests, moving) = http1::handshake(TokioIo::new(wire)).await.map_err(|error| broken(&error))?;
        Ok(Kept { requests, moving: Box::pin(moving) })
    }

    /// A connection that an earlier probe left and that is not known to be closed.
    fn kept(&self) -> Option<Kept> {
        loop {
            let mut kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if (&mut kept.moving).now_or_never().is_none() && kept.requests.is_ready() {
                return Some(kept);
            }
        }
    }

    /// The body of one good answer.
    ///
    /// # Errors
    /// Why there is none, in few words.
    pub async fn fetch(&self) -> Result<Bytes, String> {
        let (status, body) = self.request().await?;
        self.judge(status, &body).map(|()| body)
    }

    async fn ask(&self) -> Result<(), String> {
        let (status, body) = self.request().await?;
        self.judge(status, &body)
    }

    /// Whether an answer is a good one.
    fn judge(&self, status: u16, body: &Bytes) -> Result<(), String> {
        let fits = self.good.status.map_or((200..300).contains(&status), |wanted| wanted == status);
        if !fits {
            return Err(format!("status {status}"));
        }
        match &self.good.contains {
            Some(text) if memchr::memmem::find(body, text.as_bytes()).is_none() => Err("another body".to_owned()),
            _ => Ok(()),
        }
    }

    async fn request(&self) -> Result<(u16, Bytes), String> {
        let mut kept = match self.kept() {
            Some(kept) => kept,
            None => self.open().await?,
        };
        let request = Request::get(&self.path)
            .header(header::HOST, &self.host)
            .header(header::USER_AGENT, concat!("davit/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let asked = exchange(&mut kept, request).await;
        if asked.is_ok() && self.connection == Connection::Pooled {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        }
        asked
    }
}

/// One request and its whole answer.
async fn exchange(kept: &mut Kept, request: Request<Empty<Bytes>>) -> Result<(u16, Bytes), String> {
    let asking = kept.requests.send_request(request);
    let answer = async {
        let response: Response<Incoming> = asking.await.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await.map_err(|error| error.to_string())?;
        Ok::<_, String>((status, body.to_bytes()))
    };
    match select(Box::pin(answer), &mut kept.moving).await {
        Either::Left((answer, _)) => answer,
        // The connection has ended; the answer may be complete all the same.
        Either::Right((_, answer)) => answer.await,
    }
}

/// hyper says what it was doing; the socket below says what happened.
fn broken(error: &hyper::Error) -> String {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return said(io);
        }
        source = cause.source();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return "connection closed".to_owned();
    }
    error.to_string()
}

#[async_trait]
impl Service for HttpService {
    async fn probe(&self, ticket: Ticket) -> Reply {
        tokio::select! {
            biased;
            asked = self.ask() => asked.map_or_else(Reply::Refused, |()| Reply::Good),
            () = ticket.give_up.cancelled() => Reply::Refused("given up".to_owned()),
        }
    }
}
