//! From a kubeconfig, or the account of the pod we run in, to a connection.

use super::{Cluster, Inner};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// Where the address and the credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In these kubeconfig files; the first one that says something wins.
    Files(Vec<PathBuf>),
    /// In the pod that this runs in.
    InCluster,
}

/// Which server, as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Where that is written.
    pub place: Place,
    /// The context of the kubeconfig, if not its current one.
    pub context: Option<String>,
}

impl Cluster {
    /// Prepares a connection; the first request makes it.
    pub fn connect(connect: &Connect, clock: SharedClock, cancel: CancellationToken) -> Result<Self> {
        let mut config = match &connect.place {
            Place::Files(files) => from_files(files, connect.context.as_deref())?,
            Place::InCluster => Config::incluster().map_err(|why| {
                Error::input("reading the account of this pod")
                    .because(why)
                    .hint("does the pod have automountServiceAccountToken: true?")
            })?,
        };
        // Waiting and trying again is ours: a POST that was answered 503 may have been done.
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT);
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config)
            .map_err(|why| Error::input(format!("preparing the connection to {server}")).because(why))?;
        let (pace, lost) = (Arc::default(), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner { client, clock, cancel, server, pace, lost })))
    }
}

fn from_files(files: &[PathBuf], context: Option<&str>) -> Result<Config> {
    let mut merged = Kubeconfig::default();
    for file in files {
        let doing = || format!("reading the kubeconfig {}", file.display());
        let read = Kubeconfig::read_from(file).map_err(|why| match why {
            KubeconfigError::ReadConfig(why, _) => {
                Error::input(doing()).because(why).hint("--kubeconfig or KUBECONFIG says where it is")
            }
            why => Error::input(doing()).because(why),
        })?;
        merged = merged.merge(read).map_err(|why| Error::input(doing()).because(why))?;
    }
    let wanted = context.or(merged.current_context.as_deref()).filter(|name| !name.is_empty());
    let shown = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(":");
    let names: Vec<String> = merged.contexts.iter().map(|context| context.name.clone()).collect();
    let Some(wanted) = wanted.map(str::to_owned) else {
        return Err(Error::input(format!("reading {shown}: it names no current context")).hint(choices(&names)));
    };
    if !names.contains(&wanted) {
        let nearest = names.iter().min_by_key(|name| strsim::levenshtein(name, &wanted));
        let near = nearest.filter(|name| strsim::levenshtein(name, &wanted) <= wanted.len().max(4) / 2);
        let error = Error::input(format!("reading {shown}: it has no context {wanted:?}"));
        return Err(match near {
            Some(near) => error.hint(format!("did you mean {near}? {}", choices(&names))),
            None => error.hint(choices(&names)),
        });
    }
    let options = KubeConfigOptions { context: Some(wanted.clone()), ..KubeConfigOptions::default() };
    // Credentials in files are read here, before the first request.
    let config = futures_util::FutureExt::now_or_never(Config::from_custom_kubeconfig(merged, &options));
    let config = config.ok_or_else(|| Error::failed(format!("reading context {wanted} of {shown}")))?;
    config.map_err(|why| Error::input(format!("reading context {wanted} of {shown}")).because(why))
}

fn choices(names: &[String]) -> String {
    match names {
        [] => "it names no contexts at all; is it a kubeconfig?".to_owned(),
        names => format!("its contexts are {}", names.join(", ")),
    }
}
