//! Whom a partition cuts off.

use super::RBAC;
use crate::chaos::cluster::{fits, list, meta, pods, services};
use crate::chaos::fault::{Place, Rule, Scene};
use crate::chaos::pod;
use crate::chaos::select::Victim;
use crate::error::{Error, Result};
use serde_json::json;
use std::net::IpAddr;

/// What finding them takes besides.
pub(super) const PEERS_RBAC: [Rule; 5] = [
    RBAC[0],
    RBAC[1],
    RBAC[2],
    RBAC[3],
    Rule { group: "", resource: "services", verbs: &["list"], place: Place::Target },
];

/// The addresses that are cut off, parted by commas; none for everybody.
pub(super) async fn peers(scene: &Scene<'_>, victim: &Victim) -> Result<String> {
    let given = |name: &str| scene.parameters.get(name).filter(|text| !text.is_empty());
    let mut found: Vec<String> = Vec::new();
    if let Some(addresses) = given("peer") {
        for address in addresses.split(',').map(str::trim) {
            let read: Result<IpAddr, _> = address.parse();
            let read = read.map_err(|_| Error::input(format!("reading the parameter peer={addresses:?}")))?;
            found.push(read.to_string());
        }
    }
    if let Some(labels) = given("peers") {
        let (cluster, namespace) = (scene.means.cluster()?, Some(pod::fact(victim, "namespace")?));
        let peers = list(cluster, &pods(), namespace, Some(labels)).await?;
        let peers: Vec<_> = peers.iter().filter(|peer| meta(peer, "uid") != victim.key).collect();
        found.extend(peers.iter().filter_map(|peer| peer["status"]["podIP"].as_str().map(str::to_owned)));
        if found.is_empty() {
            return Err(Error::refused(format!("looking for the pods {labels}: none of them has an address")));
        }
        // Whoever asks a service is answered from its address, not from that of a pod.
        for service in list(cluster, &services(), namespace, None).await? {
            let selector = json!({ "matchLabels": service["spec"]["selector"] });
            let leads = service["spec"]["selector"].is_object()
                && peers.iter().any(|peer| fits(&selector, &peer["metadata"]["labels"]));
            let address = service["spec"]["clusterIP"].as_str().filter(|address| address.parse::<IpAddr>().is_ok());
            found.extend(address.filter(|_| leads).map(str::to_owned));
        }
    }
    Ok(found.join(","))
}
