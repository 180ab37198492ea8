//! The objects of one kind, one after another, at one instant.
//!
//! `resourceVersion=0` is never asked for: it may be answered from a stale cache, and ignores the page size.

use super::Cluster;
use super::fault::{ApiError, Fault};
use super::kind::{Kind, encode};
use super::request::Call;
use super::split::{ListMeta, Splitter};
use bytes::Bytes;
use http_body_util::BodyExt;
use kube::client::Body;
use std::collections::VecDeque;
use std::time::Duration;

/// Objects per page: a server works on a page as a whole, and 500 is what its own tools ask for.
const PAGE: usize = 500;
/// How long the next piece of a page may take.
const PIECE: Duration = Duration::from_mins(1);
/// How often a page that breaks off is asked for again.
const REOPENED: u32 = 5;

/// The instant of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// Now.
    Consistent,
    /// As it was at this resource version.
    Exact(String),
}

/// What is listed.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// The kind.
    pub kind: &'a Kind,
    /// Only of this namespace.
    pub namespace: Option<&'a str>,
    /// Only with these labels.
    pub labels: Option<&'a str>,
    /// Only the one of this name.
    pub name: Option<&'a str>,
    /// As of when.
    pub at: At,
}

impl<'a> Query<'a> {
    /// All objects of a kind, as they are now.
    pub fn all(kind: &'a Kind) -> Self {
        Self { kind, namespace: None, labels: None, name: None, at: At::Consistent }
    }

    fn path(&self, token: Option<&str>) -> String {
        let mut path = format!("{}?limit={PAGE}", self.kind.path(self.namespace, None));
        if let Some(labels) = self.labels {
            path.extend(["&labelSelector=", &encode(labels)]);
        }
        if let Some(name) = self.name {
            path.extend(["&fieldSelector=metadata.name%3D", &encode(name)]);
        }
        match (token, &self.at) {
            // A token carries its instant.
            (Some(token), _) => path.extend(["&continue=", &encode(token)]),
            (None, At::Exact(version)) => {
                path.extend(["&resourceVersion=", &encode(version), "&resourceVersionMatch=Exact"]);
            }
            (None, At::Consistent) => {}
        }
        path
    }
}

/// A list on its way.
pub struct Listing<'a> {
    cluster: Cluster,
    query: Query<'a>,
    token: Option<String>,
    page: Option<(Body, Splitter)>,
    ready: VecDeque<Bytes>,
    /// Items of this page that were given out, and how many of them are passed over when it is read again.
    given: usize,
    skip: usize,
    reopened: u32,
    version: Option<String>,
    ended: bool,
}

impl Cluster {
    /// Begins a list; nothing is asked before the first object is.
    pub fn list<'a>(&self, query: Query<'a>) -> Listing<'a> {
        Listing {
            cluster: self.clone(),
            query,
            token: None,
            page: None,
            ready: VecDeque::new(),
            given: 0,
            skip: 0,
            reopened: 0,
            version: None,
            ended: false,
        }
    }
}

impl Listing<'_> {
    /// The next object as the server wrote it, on one line; `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                if self.skip > 0 {
                    self.skip -= 1;
                    continue;
                }
                self.given += 1;
                return Ok(Some(item));
            }
            if self.ended {
                return Ok(None);
            }
            if self.page.is_none() {
                self.open().await?;
            }
            match self.piece().await {
                Ok(()) => {}
                Err(why) if why.fault == Fault::Unreachable => self.again(why)?,
                Err(why) => return Err(why),
            }
        }
    }

    /// The instant of the list, once its first page is through.
    pub fn resource_version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    async fn open(&mut self) -> Result<(), ApiError> {
        let call = Call::get(self.query.path(self.token.as_deref()));
        let answer = self.cluster.patiently(&call).await?;
        self.page = Some((answer.into_body(), Splitter::default()));
        Ok(())
    }

    /// Reads a little more.
    async fn piece(&mut self) -> Result<(), ApiError> {
        let Some((body, splitter)) = &mut self.page else { return Ok(()) };
        let frame = tokio::time::timeout(PIECE, body.frame()).await;
        let frame = frame.map_err(|_| ApiError::of_silence("the list went no further for a minute"))?;
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) => splitter.feed(&piece, &mut self.ready).map_err(|why| ApiError::new(Fault::Other, why)),
                Err(_trailers) => Ok(()),
            },
            Some(Err(why)) => Err(ApiError::of_silence(format!("the list broke off: {why}"))),
            None if !splitter.is_whole() => Err(ApiError::of_silence("the list broke off")),
            None => {
                let Some((_, splitter)) = self.page.take() else { return Ok(()) };
                self.turn(splitter.finish().map_err(|why| ApiError::new(Fault::Other, why))?)
            }
        }
    }

    fn turn(&mut self, meta: ListMeta) -> Result<(), ApiError> {
        if self.skip > self.ready.len() {
            let text = "the list is another one when it is read again";
            return Err(ApiError::new(Fault::Interrupted, text));
        }
        if self.version.is_none() {
            self.version = meta.resource_version;
        }
        (self.given, self.reopened) = (0, 0);
        self.token = meta.r#continue.filter(|token| !token.is_empty());
        self.ended = self.token.is_none();
        Ok(())
    }

    /// The page broke off. At a fixed instant the same page comes again, and what was given of it is passed over; a
    /// list of "now" would be another one, so it goes on as of the instant that it began with.
    fn again(&mut self, why: ApiError) -> Result<(), ApiError> {
        let instant = self.page.take().and_then(|(_, splitter)| splitter.instant());
        self.ready.clear();
        self.reopened += 1;
        let fixed = self.token.is_some() || matches!(self.query.at, At::Exact(_));
        if self.reopened > REOPENED {
            return Err(why);
        }
        if !fixed && self.given > 0 {
            let Some(instant) = instant else { return Err(ApiError { fault: Fault::Interrupted, ..why }) };
            self.query.at = At::Exact(instant);
        }
        // All that was ever given of this page, however often it breaks off.
        self.skip = self.given;
        Ok(())
    }
}
