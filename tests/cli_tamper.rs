//! Every object of a real repository, tampered with in turn: `davit verify --all --depth stored` sees each one.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "how much was tried is said")]

mod cli_support;
mod support;

use cli_support::Desk;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use support::shop;

/// What is done to an object.
const DEEDS: [&str; 4] = ["flipped", "truncated", "dropped", "swapped"];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// A repository with two sources, a removed point, a verified one, a held one, a rotated reader.
fn one_of_everything() -> (Desk, PathBuf) {
    let server = shop::open();
    server.psql("postgres", "CREATE DATABASE bank");
    server.psql("bank", "CREATE TABLE accounts AS SELECT i AS id, md5(i::text) AS body FROM generate_series(1, 200) i");
    let desk = Desk::with_repository();
    desk.write("davit.yaml", "retention: {keep_last: 2}\n");
    let run = |arguments: &[&str]| {
        let said = desk.davit(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.stdout, said.stderr);
    };
    for day in 1..=3 {
        shop::trade(&server, day);
        run(&["backup", &server.url("shop")]);
    }
    run(&["key", "rotate"]);
    run(&["key", "rotate", "--rewrap"]);
    run(&["backup", &server.url("bank")]);
    run(&["retain"]);
    run(&["sweep"]);
    run(&["verify", "shop@latest", "--depth", "stored"]);
    run(&["hold", "bank@latest", "--reason", "the audit"]);
    run(&["verify", "--all", "--depth", "listed"]);
    let repository = desk.path().join("davit-repository");
    (desk, repository)
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success());
}

/// Tampers with `path`; `other` is swapped in.
fn tamper(deed: &str, path: &Path, other: &[u8]) {
    let mut body = std::fs::read(path).unwrap();
    match deed {
        "flipped" => {
            let middle = body.len() / 2;
            body[middle] ^= 1;
            std::fs::write(path, body).unwrap();
        }
        "truncated" => std::fs::write(path, &body[..body.len() - 1]).unwrap(),
        "dropped" => std::fs::remove_file(path).unwrap(),
        _ => std::fs::write(path, other).unwrap(),
    }
}

/// Everything that a verification found.
fn damage(document: &Value) -> Vec<Value> {
    let list = |value: &Value| value["damage"].as_array().cloned().unwrap_or_default();
    let points = document["points"].as_array().cloned().unwrap_or_default();
    points.iter().flat_map(list).chain(list(document)).collect()
}

/// Whether some damage names the object; where it is data, with its table and rows.
fn names(found: &[Value], object: &str) -> bool {
    found.iter().any(|damage| {
        let told = damage["chunk"].as_str().unwrap();
        let rows = |end: usize| damage["rows"][end].as_u64();
        object.starts_with(told) && !told.is_empty() && (damage["table"].is_null() || rows(1) > rows(0))
    })
}

/// Does to each object what `deeds` says, and looks each time. How often it did.
fn campaign(deeds: impl Fn(usize, &str) -> &'static [&'static str]) -> usize {
    let (desk, repository) = one_of_everything();
    let call = ["verify", "--all", "--depth", "stored"];
    let untouched = desk.path().join("untouched");
    let undo = || {
        std::fs::remove_dir_all(&repository).unwrap();
        copy(&untouched, &repository);
    };
    copy(&repository, &untouched);
    let said = desk.davit(&call);
    assert_eq!(said.code, 0, "untouched it is whole: {}{}", said.stdout, said.stderr);
    // What a verification found is evidence from then on, in the place of older evidence; each is to judge by itself.
    undo();
    // A lease says who may run now; nothing that is kept depends on it. `~` begins what the directory has for itself.
    let kept =
        |path: &PathBuf| !path.starts_with(repository.join("leases")) && !path.starts_with(repository.join("~lock"));
    let all: Vec<PathBuf> = files(&repository).into_iter().filter(kept).collect();
    let (mut unseen, mut tables, mut tried) = (Vec::new(), BTreeSet::new(), 0);
    for (number, path) in all.iter().enumerate() {
        let object = path.strip_prefix(&repository).unwrap().to_str().unwrap();
        let other = std::fs::read(&all[(number + 1) % all.len()]).unwrap();
        for deed in deeds(number, object) {
            tamper(deed, path, &other);
            let (code, document) = desk.json(&call);
            undo();
            tried += 1;
            let found = damage(&document);
            tables.extend(found.iter().filter_map(|damage| damage["table"].as_str().map(str::to_owned)));
            let seen = match object {
                "davit.json" => matches!(code, 2 | 3),
                _ => code == 1 && names(&found, object),
            };
            if !seen {
                unseen.push(format!("{deed} {object}: exit {code}, {document}"));
            }
        }
    }
    assert_eq!(unseen, Vec::<String>::new());
    let folders: BTreeSet<_> = all.iter().map(|path| path.strip_prefix(&repository).unwrap().iter().next()).collect();
    assert!(all.len() > 25 && folders.len() == 7, "{folders:?}");
    assert_eq!(tables.into_iter().collect::<Vec<_>>(), ["public.accounts", "public.customers", "public.orders"]);
    println!("{} objects, tampered with {tried} times, and each was seen and named", all.len());
    tried
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn every_object_that_is_tampered_with_is_seen_and_named() {
    // The whole matrix of objects and deeds runs in memory, and here as a soak; each object meets one deed, the charter all.
    campaign(|number, object| if object == "davit.json" { &DEEDS } else { &DEEDS[number % 4..=number % 4] });
}

#[test]
#[ignore = "every deed on every object, with a process for each look: make soak"]
fn soak_every_object_meets_every_deed() {
    assert!(campaign(|_, _| &DEEDS) > 100);
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn a_point_that_nobody_can_read_and_no_catalogue_knows_is_named_by_every_listing() {
    let (server, desk) = (shop::open(), Desk::with_repository());
    let mut points = Vec::new();
    for day in 1..=2 {
        shop::trade(&server, day);
        let (code, made) = desk.json(&["backup", &server.url("shop")]);
        assert_eq!(code, 0, "{made}");
        points.push(made["point"].as_str().unwrap().to_owned());
    }
    desk.write("davit.yaml", "retention: {keep_last: 1}\n");
    let repository = desk.path().join("davit-repository");
    let manifest = format!("points/shop/{}/manifest", points[0]);
    tamper("flipped", &repository.join(&manifest), b"");
    std::fs::remove_dir_all(repository.join("catalog/shop")).unwrap();
    for (arguments, code) in [
        (&["points"][..], 1),
        (&["points", "shop"], 1),
        (&["retain"], 3),
        (&["doctor"], 1),
        (&["verify", "--all", "--depth", "listed"], 1),
        (&["export", points[0].as_str()], 1),
    ] {
        let said = desk.davit(arguments);
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(said.code == code && all.contains(&points[0]), "{arguments:?}: {} {all}", said.code);
    }
    let (code, verified) = desk.json(&["verify", "--all", "--depth", "listed"]);
    assert!(code == 1 && names(&damage(&verified), &manifest), "{verified}");
    let said = desk.davit(&["points"]);
    assert!(said.stdout.contains(&points[1]), "the other one is listed all the same: {}", said.stdout);
    assert!(repository.join(&manifest).exists(), "nothing was removed");
    let said = desk.davit(&["key", "rotate"]);
    let not_known = format!("NOT LOOKED AT  shop: point {} of shop cannot be read", points[0]);
    assert!(said.code == 0 && said.stdout.contains(&not_known), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("; keep the older key"), "{}", said.stdout);
}
