//! What of the network a drill brings itself: a proxy and a name server in the path of clients.

use crate::chaos;
use crate::chaos::proxy::Proxy;
use crate::chaos::resolver::{Resolver, own_upstream};
use crate::error::{Context, Error, Kind, Result};
use crate::scenario::{Place, ProcessTarget, Scenario};
use std::net::SocketAddr;
use std::sync::Arc;

/// Starts the proxy and the name server that a scenario asks for; they end with the means.
///
/// # Errors
/// `Kind::Input` where an address is none or taken.
pub async fn prepare_network(means: &mut chaos::Means, scenario: &Scenario) -> Result<()> {
    let Place::Processes(target) = &scenario.target.place else { return Ok(()) };
    start_proxy(means, target)?;
    start_resolver(means, target).await
}

fn start_proxy(means: &mut chaos::Means, target: &ProcessTarget) -> Result<()> {
    let Some(wanted) = &target.proxy else { return Ok(()) };
    let doing = || format!("starting the proxy at {:?}", wanted.listen);
    let listen: SocketAddr = wanted.listen.parse().context(Kind::Input, doing)?;
    let proxy = Proxy::start(listen, &wanted.to, means.clock.clone())
        .map_err(|error| error.during(doing()).as_kind(Kind::Input))?;
    means.proxies.insert(wanted.to.clone(), Arc::new(proxy));
    Ok(())
}

async fn start_resolver(means: &mut chaos::Means, target: &ProcessTarget) -> Result<()> {
    let Some(wanted) = &target.resolver else { return Ok(()) };
    let doing = || format!("starting the name server at {:?}", wanted.listen);
    let listen: SocketAddr = wanted.listen.parse().context(Kind::Input, doing)?;
    let upstream: SocketAddr = match &wanted.upstream {
        Some(upstream) => upstream.parse().context(Kind::Input, || format!("reading the name server {upstream:?}"))?,
        None => own_upstream().ok_or_else(|| {
            Error::input(format!("{}: this machine names no name server to ask", doing()))
                .hint("write `upstream: ADDRESS:53` beside `listen`")
        })?,
    };
    let resolver = Resolver::start(listen, upstream, means.clock.clone()).await;
    means.resolver = Some(Arc::new(resolver.map_err(|error| error.during(doing()).as_kind(Kind::Input))?));
    Ok(())
}
