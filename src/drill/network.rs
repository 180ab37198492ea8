//! What of the network a drill brings itself: a proxy in the path of clients.

use crate::chaos;
use crate::chaos::proxy::Proxy;
use crate::error::{Context, Kind, Result};
use crate::scenario::{Place, Scenario};
use std::net::SocketAddr;
use std::sync::Arc;

/// Starts the proxy that a scenario asks for; it ends with the means.
///
/// # Errors
/// `Kind::Input` where its address is none or taken.
pub async fn prepare_network(means: &mut chaos::Means, scenario: &Scenario) -> Result<()> {
    let Place::Processes(target) = &scenario.target.place else { return Ok(()) };
    let Some(wanted) = &target.proxy else { return Ok(()) };
    let doing = || format!("starting the proxy at {:?}", wanted.listen);
    let listen: SocketAddr = wanted.listen.parse().context(Kind::Input, doing)?;
    let proxy = Proxy::start(listen, &wanted.to, means.clock.clone())
        .map_err(|error| error.during(doing()).as_kind(Kind::Input))?;
    means.proxies.insert(wanted.to.clone(), Arc::new(proxy));
    Ok(())
}
