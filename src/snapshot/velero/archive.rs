//! The objects in a Velero archive (format 1.1.0, made by every release since 1.4).

use super::super::object::{self, Saved, SavedKind};
use super::tar::{File, Limits, Tar};
use crate::error::{Error, Result};
use async_compression::tokio::bufread::GzipDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::io::{AsyncBufRead, AsyncRead, BufReader};

/// What an archive holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// Its format, as `metadata/version` says.
    pub format: String,
    /// The objects.
    pub objects: Vec<Saved>,
}

/// Where an object lies in an archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    group_resource: String,
    namespace: Option<String>,
    name: String,
}

/// Reads `NAME.tar.gz`.
pub async fn read_archive(from: impl AsyncRead + Send + Unpin, limits: Limits) -> Result<Contents> {
    let reader = BufReader::new(from);
    read(reader, limits).await.map_err(|error| {
        error
            .during("reading the archive of objects")
            .hint("a Velero backup that is damaged cannot be restored; use another one")
    })
}

async fn read(from: impl AsyncBufRead + Send + Unpin, limits: Limits) -> Result<Contents> {
    let mut decoder = GzipDecoder::new(from);
    // Several gzip members after one another are one stream (RFC 1952); what follows the last must be one too.
    decoder.multiple_members(true);
    let mut tar = Tar::new(decoder, limits);
    let mut contents = Contents::default();
    let mut plain: BTreeMap<At, Value> = BTreeMap::new();
    let mut versioned: BTreeMap<At, Value> = BTreeMap::new();
    while let Some(file) = tar.next().await.map_err(|error| Error::check(error.to_string()))? {
        if file.name == "metadata/version" {
            contents.format = format_of(&file)?;
            continue;
        }
        let Some((at, is_versioned)) = place(&file.name)? else { continue };
        if is_versioned {
            versioned.entry(at.clone()).or_insert(parse(&file, &at)?);
        } else {
            let body = parse(&file, &at)?;
            plain.insert(at, body);
        }
    }
    if contents.format.is_empty() {
        return Err(Error::check("it has no metadata/version: it is no archive of Velero"));
    }
    // The preferred version lies there twice; other versions only where nothing else is.
    for (at, body) in versioned {
        plain.entry(at).or_insert(body);
    }
    contents.objects = plain.into_iter().map(|(at, body)| saved(&at, &body)).collect();
    Ok(contents)
}

fn format_of(file: &File) -> Result<String> {
    let format = String::from_utf8_lossy(&file.body).trim().to_owned();
    if format == "1" || format.starts_with("1.") {
        return Ok(format);
    }
    Err(Error::check(format!("its format is {format:?}; formats 1 and 1.1.0 are known")))
}

/// Where a file of the archive belongs, and whether its path names a version.
fn place(name: &str) -> Result<Option<(At, bool)>> {
    let parts: Vec<&str> = name.split('/').collect();
    let at = |group_resource: &str, namespace: Option<&str>, file: &str| -> Result<At> {
        let name = file.strip_suffix(".json").filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Error::check(format!("{name:?} in it is no object")))?;
        Ok(At {
            group_resource: group_resource.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    };
    let known = match parts.as_slice() {
        ["resources", kind, "namespaces", namespace, file] => (at(kind, Some(namespace), file)?, false),
        ["resources", kind, "cluster", file] => (at(kind, None, file)?, false),
        ["resources", kind, _version, "namespaces", namespace, file] => (at(kind, Some(namespace), file)?, true),
        ["resources", kind, _version, "cluster", file] => (at(kind, None, file)?, true),
        ["metadata", ..] => return Ok(None),
        _ => return Err(Error::check(format!("{name:?} in it is not where Velero puts objects"))),
    };
    Ok(Some(known))
}

/// Reads an object, which must be the one that its path says.
fn parse(file: &File, at: &At) -> Result<Value> {
    let wrong = |what: &str| Error::check(format!("{:?} in it: {what}", file.name));
    let body: Value = serde_json::from_slice(&file.body).map_err(|error| wrong(&error.to_string()))?;
    let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
    if !body.is_object()
        || object::metadata(&body).is_none()
        || text("kind").is_empty()
        || text("apiVersion").is_empty()
    {
        return Err(wrong("it is no object of Kubernetes"));
    }
    if object::name(&body) != at.name || object::namespace(&body) != at.namespace.as_deref() {
        return Err(wrong("its name or namespace is another than its path says"));
    }
    let group = at.group_resource.split_once('.').map_or("", |(_, group)| group);
    let own = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    if group != own {
        return Err(wrong("its group is another than its path says"));
    }
    Ok(body)
}

fn saved(at: &At, body: &Value) -> Saved {
    let kind = SavedKind::of_body(&at.group_resource, at.namespace.is_some(), body);
    let mut saved = Saved::new(kind, body);
    saved.marks.related = at.namespace.is_none();
    saved
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tar::tests::archive;
    use super::*;
    use async_compression::tokio::write::GzipEncoder;
    use serde_json::json;
    use tokio::io::AsyncWriteExt;

    pub(in super::super) async fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzipEncoder::new(Vec::new());
        encoder.write_all(bytes).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoder.into_inner()
    }

    fn body(api_version: &str, kind: &str, name: &str, namespace: Option<&str>) -> Vec<u8> {
        let mut body = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "uid": "u"}});
        if let Some(namespace) = namespace {
            body["metadata"]["namespace"] = json!(namespace);
        }
        body.to_string().into_bytes()
    }

    async fn contents(files: &[(&str, &[u8])]) -> Result<Contents> {
        read_archive(gzipped(&archive(files)).await.as_slice(), Limits::default()).await
    }

    async fn refused(files: &[(&str, &[u8])]) -> String {
        let error = contents(files).await.unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::CheckFailed);
        error.to_string()
    }

    #[tokio::test]
    async fn each_object_is_read_once_whatever_versions_lie_there() {
        let web = body("apps/v1", "Deployment", "web", Some("shop"));
        let role = body("rbac.authorization.k8s.io/v1", "ClusterRole", "system:x", None);
        let old = body("autoscaling/v1", "HorizontalPodAutoscaler", "h", Some("shop"));
        let contents = contents(&[
            ("metadata/version", b"1.1.0\n"),
            ("resources/deployments.apps/namespaces/shop/web.json", &web),
            ("resources/deployments.apps/v1-preferredversion/namespaces/shop/web.json", &web),
            ("resources/clusterroles.rbac.authorization.k8s.io/cluster/system:x.json", &role),
            ("resources/horizontalpodautoscalers.autoscaling/v1/namespaces/shop/h.json", &old),
        ])
        .await
        .unwrap();
        let told: Vec<String> =
            contents.objects.iter().map(|one| format!("{} {}", one.identity.place(), one.kind.api_version())).collect();
        assert_eq!(
            told,
            [
                "clusterroles.rbac.authorization.k8s.io/system:x rbac.authorization.k8s.io/v1",
                "deployments.apps/web apps/v1",
                "horizontalpodautoscalers.autoscaling/h autoscaling/v1"
            ]
        );
        assert!(contents.objects[0].marks.related && !contents.objects[1].marks.related);
        assert_eq!(contents.format, "1.1.0");
    }

    #[tokio::test]
    async fn objects_that_are_not_what_their_path_says_are_refused() {
        let version: (&str, &[u8]) = ("metadata/version", b"1.1.0");
        let web = body("v1", "Pod", "web", Some("shop"));
        for (path, what) in [
            ("resources/pods/namespaces/other/web.json", "its name or namespace is another"),
            ("resources/pods/namespaces/shop/api.json", "its name or namespace is another"),
            ("resources/pods/cluster/web.json", "its name or namespace is another"),
            ("resources/pods.apps/namespaces/shop/web.json", "its group is another"),
            ("resources/pods/web.json", "is not where Velero puts objects"),
            ("etc/passwd", "is not where Velero puts objects"),
            ("resources/pods/namespaces/shop/web", "is no object"),
        ] {
            let told = refused(&[version, (path, &web)]).await;
            assert!(told.contains(what), "{path}: {told}");
        }
        for (bytes, what) in
            [(&b"{"[..], "EOF"), (b"[]", "it is no object"), (b"{\"kind\": \"Pod\"}", "it is no object")]
        {
            let told = refused(&[version, ("resources/pods/namespaces/shop/web.json", bytes)]).await;
            assert!(told.contains(what), "{told}");
        }
        assert!(refused(&[("metadata/version", b"2.0.0")]).await.contains("formats 1 and 1.1.0 are known"));
        assert!(refused(&[]).await.contains("no metadata/version"));
    }

    #[tokio::test]
    async fn a_truncated_archive_is_an_error_and_never_a_part_of_it() {
        let web = body("v1", "Pod", "web", Some("shop"));
        let whole =
            gzipped(&archive(&[("metadata/version", b"1.1.0"), ("resources/pods/namespaces/shop/web.json", &web)]))
                .await;
        for end in [0, 1, 10, whole.len() / 2, whole.len() - 9, whole.len() - 8, whole.len() - 1] {
            assert!(read_archive(&whole[..end], Limits::default()).await.is_err(), "cut at {end} of {}", whole.len());
        }
    }

    #[tokio::test]
    async fn an_archive_that_unpacks_to_more_than_the_limit_is_refused() {
        let zeros = vec![0; 1 << 20];
        let bytes =
            gzipped(&archive(&[("metadata/version", b"1.1.0"), ("resources/pods/namespaces/a/b.json", &zeros)])).await;
        assert!(bytes.len() < 10_000);
        let error =
            read_archive(bytes.as_slice(), Limits { file_bytes: 1 << 16, ..Limits::default() }).await.unwrap_err();
        assert!(error.to_string().contains("more than 65536 are not read"), "{error}");
    }
}
