//! Who can snapshot a volume: the driver that serves it, and the class of snapshots that is meant for that driver.

use super::claims;
use super::csi::kind;
use crate::cluster::{ApiError, Cluster, Fault, Kind, Query};
use crate::snapshot::object;
use std::collections::BTreeMap;

/// On a class of snapshots: whether it is the one that is meant.
pub(super) const DEFAULT: &str = "snapshot.storage.kubernetes.io/is-default-class";

/// The class of each driver for single snapshots.
pub(super) async fn classes(cluster: &Cluster) -> Result<BTreeMap<String, String>, String> {
    let kind = kind("volumesnapshotclasses", "VolumeSnapshotClass", false);
    clear(cluster, &kind, DEFAULT).await.map_err(|why| match why.fault {
        Fault::NotFound => "the cluster knows no VolumeSnapshots: its snapshot controller is not installed".to_owned(),
        _ => format!("its snapshot classes cannot be listed: {why}"),
    })
}

/// The class of each driver: its default one, or its only one.
pub(super) async fn clear(cluster: &Cluster, kind: &Kind, default: &str) -> Result<BTreeMap<String, String>, ApiError> {
    let mut found: BTreeMap<String, Vec<(bool, String)>> = BTreeMap::new();
    for class in claims::all(cluster, Query::all(kind)).await? {
        let driver = class["driver"].as_str().unwrap_or_default().to_owned();
        let other = object::annotation(&class, default) != Some("true");
        found.entry(driver).or_default().push((other, object::name(&class).to_owned()));
    }
    Ok(found.into_iter().filter_map(|(driver, classes)| Some((driver, meant(classes)?))).collect())
}

/// Of the classes of a driver, each with whether it is another than the default.
fn meant(mut classes: Vec<(bool, String)>) -> Option<String> {
    classes.sort();
    let clear = classes.len() == 1 || classes.iter().filter(|(other, _)| !other).count() == 1;
    clear.then(|| classes.swap_remove(0).1)
}

/// The CSI driver that serves a volume.
pub(super) async fn driver(cluster: &Cluster, volume: Option<&str>) -> Result<String, String> {
    let name = volume.ok_or("it is bound to no volume")?;
    let volumes =
        Kind { resource: "persistentvolumes".to_owned(), kind: "PersistentVolume".to_owned(), ..Kind::namespaces() };
    let volume =
        cluster.one(&volumes, None, name).await.map_err(|why| format!("its volume cannot be looked at: {why}"))?;
    let driver = volume.as_ref().and_then(|volume| volume["spec"]["csi"]["driver"].as_str());
    let driver =
        driver.ok_or("no CSI driver serves it, so nothing can snapshot it (--volumes files saves its files)")?;
    Ok(driver.to_owned())
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn the_default_class_is_meant_or_the_only_one_and_no_other() {
        let of = |classes: &[(bool, &str)]| {
            meant(classes.iter().map(|(other, name)| (*other, (*name).to_owned())).collect())
        };
        assert_eq!(of(&[(true, "slow")]).as_deref(), Some("slow"));
        assert_eq!(of(&[(true, "a"), (false, "fast")]).as_deref(), Some("fast"));
        assert_eq!(of(&[(true, "a"), (true, "b")]), None);
        assert_eq!(of(&[(false, "a"), (false, "b")]), None);
    }
}
