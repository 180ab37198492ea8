//! One request and its answer, with the waiting that a server may ask for.

use super::Cluster;
use super::fault::{ApiError, Fault};
use super::kind::{Kind, encode};
use crate::retry::{Policy, Retry, Retryable};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long an answer may take to begin; the server itself gives up after a minute.
const ANSWER: Duration = Duration::from_secs(70);
/// An object is at most a few megabytes; discovery of a large cluster is about one.
const LARGEST_BODY: usize = 64 << 20;
/// Who we are in the audit log of a cluster.
const OURSELVES: &str = concat!("davit/", env!("CARGO_PKG_VERSION"));
/// What is read of a refusal.
const LARGEST_REFUSAL: usize = 1 << 20;

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) accept: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn get(path: impl Into<String>) -> Self {
        let (accept, content_type) = ("application/json", "application/json");
        Self { method: Method::GET, path: path.into(), accept, content_type, body: Bytes::new() }
    }

    fn request(&self) -> Result<Request<Body>, ApiError> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(ACCEPT, self.accept)
            .header(USER_AGENT, OURSELVES);
        if !self.body.is_empty() {
            request = request.header(CONTENT_TYPE, self.content_type);
        }
        let request = request.body(Body::from(self.body.clone()));
        request.map_err(|why| ApiError::new(Fault::Invalid, format!("{} is no path: {why}", self.path)))
    }
}

impl Cluster {
    /// Sends a request once, when it is its turn. Anything but success is an error.
    pub(super) async fn once(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let request = call.request()?;
        let stopped = || ApiError::new(Fault::Other, "the run was stopped");
        let turn = tokio::select! {
            turn = self.0.pace.turn() => turn,
            () = self.0.cancel.cancelled() => return Err(stopped()),
        };
        let answer = tokio::select! {
            answer = tokio::time::timeout(ANSWER, self.0.client.send(request)) => answer,
            () = self.0.cancel.cancelled() => return Err(stopped()),
        };
        let answer =
            answer.map_err(|_| ApiError::of_silence("no answer within 70 seconds"))?.map_err(|why| silence(&why))?;
        let code = answer.status().as_u16();
        if !is_absence(code) {
            self.0.lost.store(false, Ordering::Relaxed);
        }
        if answer.status().is_success() {
            turn.taken(self.0.clock.monotonic());
            return Ok(answer);
        }
        let header = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = header.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let body = Limited::new(answer.into_body(), LARGEST_REFUSAL).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let refusal = ApiError::of_answer(code, after, &body);
        if refusal.fault == Fault::TooMany {
            turn.refused(self.0.clock.monotonic());
        }
        Err(refusal)
    }

    /// Sends a request that changes nothing, as often as it takes and the limits allow, until its answer begins.
    pub(super) async fn patiently(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        self.insist(|| self.once(call)).await
    }

    /// Sends a request that changes nothing, as often as it takes and the limits allow, until its answer is here whole.
    pub(super) async fn read(&self, call: &Call) -> Result<Bytes, ApiError> {
        self.insist(|| async { whole(self.once(call).await?).await }).await
    }

    async fn insist<T, F, Fut>(&self, attempt: F) -> Result<T, ApiError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, ApiError>>,
    {
        let policy = if self.0.lost.load(Ordering::Relaxed) { Policy::ONCE } else { Policy::API };
        let answer = policy.run(self.0.clock.as_ref(), &self.0.cancel, |_| attempt()).await;
        if answer.as_ref().is_err_and(|why| why.fault == Fault::Unreachable || is_absence(why.code)) {
            self.0.lost.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Sends a request that may change something: again only after 429, which says that nothing was done.
    pub(super) async fn carefully(&self, call: &Call) -> Result<Bytes, ApiError> {
        let answer = self.again_where(call, |why| why.fault == Fault::TooMany).await?;
        whole(answer).await
    }

    /// Sends a request that only asks what the server would say: again until it has said it.
    pub(super) async fn try_out(&self, call: &Call) -> Result<Bytes, ApiError> {
        let answer = self.again_where(call, |why| !why.is_verdict()).await?;
        whole(answer).await
    }

    async fn again_where(&self, call: &Call, again: fn(&ApiError) -> bool) -> Result<Response<Body>, ApiError> {
        let attempt = |_| async move { self.once(call).await.map_err(|why| Failed { why, again }) };
        Policy::API.run(self.0.clock.as_ref(), &self.0.cancel, attempt).await.map_err(|failed| failed.why)
    }

    /// Gets a document whose form is known.
    pub(super) async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        parse(path, &self.read(&Call::get(path)).await?)
    }

    /// Looks for one object by listing it: an account that may list need not be allowed to get.
    pub async fn one(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<Option<Value>, ApiError> {
        #[derive(serde::Deserialize)]
        struct List {
            items: Option<Vec<Value>>,
        }
        let path = format!("{}?fieldSelector=metadata.name%3D{}", kind.path(namespace, None), encode(name));
        match self.get_json::<List>(&path).await {
            Ok(list) => Ok(list.items.unwrap_or_default().into_iter().next().map(|object| kind.said_by(object))),
            // Whoever administers one namespace may get it and cannot list all.
            Err(why) if why.fault == Fault::Forbidden => match self.get(kind, namespace, name).await {
                Ok(object) => Ok(Some(object)),
                Err(second) if second.fault == Fault::NotFound => Ok(None),
                Err(_) => Err(why),
            },
            Err(why) => Err(why),
        }
    }
}

/// Whether this is what somebody in between says when nobody is behind them: `kubectl proxy` says 500.
const fn is_absence(code: u16) -> bool {
    matches!(code, 500 | 502 | 504)
}

/// An error, and what says whether it is worth another try.
struct Failed {
    why: ApiError,
    again: fn(&ApiError) -> bool,
}

impl Retryable for Failed {
    fn retry(&self) -> Retry {
        if (self.again)(&self.why) { Retry::Later } else { Retry::Never }
    }

    fn pause(&self) -> Option<Duration> {
        self.why.pause()
    }
}

/// The whole body of an answer.
async fn whole(answer: Response<Body>) -> Result<Bytes, ApiError> {
    let body = tokio::time::timeout(ANSWER, Limited::new(answer.into_body(), LARGEST_BODY).collect()).await;
    let body = body.map_err(|_| ApiError::of_silence("the answer did not end within 70 seconds"))?;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|why| ApiError::of_silence(format!("the answer broke off: {why}")))
}

pub(super) fn parse<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|why| ApiError::new(Fault::Other, format!("the answer to {path} cannot be read: {why}")))
}

/// What the client says when there is no answer.
fn silence(why: &kube::Error) -> ApiError {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(why);
    while let Some(next) = cause {
        let words = next.to_string();
        // Each layer of the client repeats the one below it; only the innermost words say something.
        if !words.is_empty() {
            text = words;
        }
        cause = next.source();
    }
    match why {
        kube::Error::Auth(_) => ApiError::new(Fault::Unauthorized, format!("the credentials cannot be had: {text}")),
        _ => ApiError::of_silence(text),
    }
}
