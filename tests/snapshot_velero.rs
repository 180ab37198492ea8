//! What a real Velero left in a real bucket is listed, shown, compared and restored: not its format as we read it, but what
//! it writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the peer of benchmarks polls, and tells its version"
)]
#![allow(unreachable_pub, dead_code, reason = "the modules of tests use parts of each other")]

mod cli_support;
mod control_support;
#[path = "snapshot_cases/generator.rs"]
mod generator;
#[path = "../benches/peers/velero.rs"]
mod peer;
mod support;

use cli_support::{Desk, Said};
use control_support::ControlPlane;
use davit::snapshot::clean::Keep;
use davit::snapshot::diff::{compare_sets, schemas_of};
use davit::snapshot::map::Mapping;
use davit::snapshot::object::{self, Saved};
use peer::{BUCKET, Velero};
use serde_json::{Value, json};
use support::s3::S3;

const WIDGETS: &str = include_str!("fixtures/snapshot/widgets.yaml");
const FROM: &str = "mixed";
const TO: &str = "mixed-copy";

/// Objects of each kind of the generator, Secrets among them, and of a custom kind with its definition.
fn make(plane: &ControlPlane) -> usize {
    plane.apply(WIDGETS);
    plane.await_object(&["crd", "widgets.example.com"], |body| body["status"]["acceptedNames"]["kind"].is_string());
    support::wait_until(30, "widgets", || plane.kubectl(&["get", "widgets"], "").is_ok());
    plane.namespace(FROM);
    let mut objects = generator::objects(5, generator::KINDS);
    objects.push(
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}),
    );
    plane.kubectl(&["create", "-n", FROM, "-f", "-"], &generator::list(&objects)).unwrap();
    objects.len()
}

fn own(saved: Vec<Saved>) -> Vec<Saved> {
    saved.into_iter().filter(|one| object::controller(&one.body.open()).is_none()).collect()
}

fn ended(said: &Said, code: i32, text: &str) {
    let all = format!("{}{}", said.stdout, said.stderr);
    assert!(said.code == code && all.contains(text), "exit {code} and {text:?}: {}\n{all}", said.code);
}

/// A copy of a backup under another name, whose archive ends after a part of its bytes.
async fn cut(s3: &S3, backup: &str, name: &str, part: impl Fn(usize) -> usize) {
    let (client, folder) = (s3.client(), format!("backups/{backup}/"));
    let listed = client.list_objects_v2().bucket(BUCKET).prefix(&folder).send().await.unwrap();
    for key in listed.contents().iter().filter_map(|object| object.key()) {
        let body = client.get_object().bucket(BUCKET).key(key).send().await.unwrap().body.collect().await.unwrap();
        let mut bytes = body.into_bytes().to_vec();
        if key.ends_with(&format!("/{backup}.tar.gz")) {
            bytes.truncate(part(bytes.len()));
        }
        // It says itself which one it is.
        if key.ends_with("/velero-backup.json") {
            bytes = String::from_utf8(bytes).unwrap().replace(&format!("\"{backup}\""), &format!("\"{name}\"")).into();
        }
        let file = key.strip_prefix(&folder).unwrap().replace(backup, name);
        let put = client.put_object().bucket(BUCKET).key(format!("backups/{name}/{file}"));
        put.body(bytes.into()).send().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: takes Velero, which is built first: make soak"]
async fn soak_what_a_real_velero_saved_is_listed_shown_compared_and_restored() {
    let (plane, s3) = (ControlPlane::start(), S3::start());
    let made = make(&plane);
    peer::install(&plane, &s3).await;
    let velero = Velero::start(&plane, &s3, "real", &[]).await;
    let took = velero.backup("nightly", FROM).await;
    assert!(took.items >= made as u64, "{} items", took.items);
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    for (name, value) in s3.environment() {
        desk.set(name, &value);
    }
    let url = format!("s3://{BUCKET}");
    let point = format!("velero:{url}/nightly");

    let (code, listed) = desk.json(&["snapshot", "import", "velero", &url]);
    assert_eq!(code, 0, "{listed:#}");
    let backups = listed["backups"].as_array().unwrap();
    let nightly = backups.iter().find(|backup| backup["name"] == "nightly").unwrap_or_else(|| panic!("{listed:#}"));
    assert_eq!((&nightly["phase"], &nightly["unusable"]), (&json!("Completed"), &Value::Null));
    assert_eq!((&nightly["items"], &nightly["namespaces"]), (&json!(took.items), &json!([FROM])));
    let (code, shown) = desk.json(&["snapshot", "import", "velero", &url, "--show", "nightly"]);
    assert_eq!((code, &shown["complete"]), (0, &json!(true)), "{shown:#}");
    for kind in ["secrets", "widgets.example.com", "customresourcedefinitions.apiextensions.k8s.io", "deployments.apps"]
    {
        assert!(shown["kinds"][kind].as_u64().is_some_and(|objects| objects > 0), "{kind}: {shown:#}");
    }
    ended(&desk.davit(&["snapshot", "diff", &point]), 0, "no difference");
    ended(&desk.davit(&["snapshot", "verify", &point, "--depth", "restored"]), 0, "restored and compared");

    // An archive that was cut off is called that, whoever asks, and nothing is made of it.
    cut(&s3, "nightly", "half", |bytes| bytes / 2).await;
    cut(&s3, "nightly", "nearly", |bytes| bytes - 1).await;
    for name in ["half", "nearly"] {
        let broken = format!("velero:{url}/{name}");
        ended(&desk.davit(&["snapshot", "restore", &broken, "--into", TO]), 1, "it is truncated");
        ended(&desk.davit(&["snapshot", "diff", &broken]), 1, "it is truncated");
        ended(&desk.davit(&["snapshot", "import", "velero", &url, "--show", name]), 1, "it is truncated");
    }
    assert!(plane.get(&["namespace", TO]).is_none());

    ended(&desk.davit(&["snapshot", "restore", &point, "--into", TO]), 0, "restored Velero backup nightly");
    let mut before = own(plane.saved(FROM).await);
    let mapping = Mapping { namespaces: [(FROM.to_owned(), TO.to_owned())].into(), ..Mapping::default() };
    mapping.apply(&mut before).unwrap();
    let after = own(plane.saved(TO).await);
    let definition = plane.related("customresourcedefinitions.apiextensions.k8s.io", "widgets.example.com");
    let diff = compare_sets(&before, &after, &schemas_of(&[definition]), &Keep::default());
    assert_eq!(diff.lines(), Vec::<String>::new());
    assert!(diff.same >= made as u64, "{} of {made} are the same", diff.same);
}
