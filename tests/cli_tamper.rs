//! Every object of a real repository, tampered with in turn: `davit verify --all --depth stored` sees each one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod cli_support;
mod support;

use cli_support::Desk;
use serde_json::Value;
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
    run(&["backup", &server.url("bank")]);
    run(&["retain"]);
    run(&["sweep"]);
    run(&["verify", "shop@latest", "--depth", "stored"]);
    run(&["hold", "bank@latest", "--reason", "the audit"]);
    run(&["verify", "--all", "--depth", "listed"]);
    let repository = desk.path().join("davit-repository");
    (desk, repository)
}

/// Tampers with `path`; gives its bytes back to undo it. `other` is swapped in.
fn tamper(deed: &str, path: &Path, other: &[u8]) -> Vec<u8> {
    let body = std::fs::read(path).unwrap();
    match deed {
        "flipped" => {
            let mut flipped = body.clone();
            flipped[body.len() / 2] ^= 1;
            std::fs::write(path, flipped).unwrap();
        }
        "truncated" => std::fs::write(path, &body[..body.len() - 1]).unwrap(),
        "dropped" => std::fs::remove_file(path).unwrap(),
        _ => std::fs::write(path, other).unwrap(),
    }
    body
}

/// Whether some damage names the object; for a chunk of rows, with its table and rows.
fn names(document: &Value, object: &str) -> bool {
    let beside = document["damage"].as_array().cloned().unwrap_or_default();
    let points = document["points"].as_array().cloned().unwrap_or_default();
    let of_points = points.iter().flat_map(|point| point["damage"].as_array().cloned().unwrap_or_default());
    beside.into_iter().chain(of_points).any(|damage| {
        let told = damage["chunk"].as_str().unwrap_or_default();
        let told_rows = damage["table"].is_null() || damage["rows"][1].as_u64() > damage["rows"][0].as_u64();
        (told == object || object.starts_with(told)) && told_rows
    })
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn every_object_that_is_tampered_with_is_seen_and_named() {
    let (desk, repository) = one_of_everything();
    let call = ["verify", "--all", "--depth", "stored"];
    let said = desk.davit(&call);
    assert_eq!(said.code, 0, "untouched it is whole: {}{}", said.stdout, said.stderr);
    // A lease says who may run now; nothing that is kept depends on it.
    let all: Vec<PathBuf> =
        files(&repository).into_iter().filter(|path| !path.starts_with(repository.join("leases"))).collect();
    let (mut unseen, mut tables) = (Vec::new(), std::collections::BTreeSet::new());
    for (number, path) in all.iter().enumerate() {
        let object = path.strip_prefix(&repository).unwrap().to_str().unwrap();
        let other = std::fs::read(&all[(number + 1) % all.len()]).unwrap();
        // The exhaustive matrix runs in memory; here each object meets one deed, and the charter all of them.
        let deeds = if object == "davit.json" { &DEEDS[..] } else { &DEEDS[number % 4..=number % 4] };
        for deed in deeds {
            let evidence: Vec<PathBuf> = files(&repository);
            let body = tamper(deed, path, &other);
            let (code, document) = desk.json(&call);
            std::fs::write(path, body).unwrap();
            // What this verification found is evidence now; the next one is to judge by itself.
            files(&repository)
                .iter()
                .filter(|path| !evidence.contains(path))
                .for_each(|new| std::fs::remove_file(new).unwrap());
            let seen =
                if object == "davit.json" { matches!(code, 2 | 3) } else { code == 1 && names(&document, object) };
            if !seen {
                unseen.push(format!("{deed} {object}: exit {code}, {document}"));
            }
            let damage = document["points"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|p| p["damage"].as_array().unwrap().clone());
            tables.extend(damage.filter_map(|damage| damage["table"].as_str().map(str::to_owned)));
        }
    }
    assert_eq!(unseen, Vec::<String>::new());
    assert!(all.len() > 25, "{}", all.len());
    assert_eq!(tables.into_iter().collect::<Vec<_>>(), ["public.accounts", "public.customers", "public.orders"]);
}
