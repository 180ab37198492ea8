//! The map of the modules as data: who may name whom. A forbidden `crate::…` fails here with its line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Layers from the ground up. A module names modules of lower layers only, and those of `SAME_LAYER`.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "ground",
        &["error", "id", "secret", "clock", "retry", "rowsum", "journal", "humane", "observation", "units", "yaml"],
    ),
    ("edges", &["store", "repository", "postgres", "cluster", "probe"]),
    ("core", &["measure", "scenario", "report"]),
    ("verbs", &["backup", "snapshot", "retention", "chaos"]),
    ("story", &["drill"]),
    ("shell", &["cli", "config", "telemetry"]),
];

/// Arrows within a layer that are allowed.
const SAME_LAYER: &[(&str, &str)] = &[
    // Everything that can fail says so; time and ids are named by what waits and what writes.
    ("id", "error"),
    ("secret", "error"),
    ("retry", "clock"),
    ("journal", "error"),
    ("journal", "id"),
    ("journal", "clock"),
    ("clock", "error"),
    ("observation", "error"),
    ("yaml", "error"),
    ("yaml", "secret"),
    // A repository is a store with an order in it.
    ("repository", "store"),
    // A report and an objective are said in the words of the measurement.
    ("report", "measure"),
    ("scenario", "measure"),
    // The commands read settings and show progress.
    ("cli", "config"),
    ("cli", "telemetry"),
    ("telemetry", "config"),
];

/// Where printing to the terminal is allowed.
const MAY_PRINT: &[&str] = &["cli", "telemetry", "main"];

/// No file is longer than this.
const LINES_MAX: usize = 600;

fn source_files() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.sort();
    found
}

/// The top module a file belongs to: `backup` for `src/backup/take/run.rs`, `id` for `src/id.rs`.
fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn layers() -> BTreeMap<&'static str, usize> {
    let numbered = LAYERS.iter().enumerate();
    numbered.flat_map(|(number, (_, modules))| modules.iter().map(move |module| (*module, number))).collect()
}

/// The modules that a line of code names as `crate::…` (the library is `davit::…` from the binary).
fn named_modules(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap();
    let after = code.match_indices("crate::").map(|(at, found)| &code[at + found.len()..]);
    after
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list.split(',').map(first_word).collect(),
            None => vec![first_word(rest)],
        })
        .filter(|module| !module.is_empty())
        .collect()
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn modules_name_lower_layers_only() {
    let layers = layers();
    let mut broken = Vec::new();
    for path in source_files() {
        let module = module_of(&path);
        if module == "lib" || module == "main" {
            continue;
        }
        let layer = *layers.get(module.as_str()).unwrap_or_else(|| panic!("{module} has no layer: add it to LAYERS"));
        for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            for named in named_modules(line) {
                let Some(named_layer) = layers.get(named.as_str()) else { continue };
                let same = SAME_LAYER.contains(&(module.as_str(), named.as_str()));
                if named != module && *named_layer >= layer && !same {
                    broken.push(format!("{}:{}: {module} names {named}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "arrows that point up or sideways:\n{}", broken.join("\n"));
}

#[test]
fn only_the_shell_prints() {
    let mut broken = Vec::new();
    for path in source_files().iter().filter(|path| !MAY_PRINT.contains(&module_of(path).as_str())) {
        for (number, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
            if ["println!(", "eprintln!(", "print!(", "eprint!("].iter().any(|call| line.contains(call)) {
                broken.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(broken.is_empty(), "printing below the shell:\n{}", broken.join("\n"));
}

#[test]
fn no_file_is_longer_than_the_ceiling() {
    let too_long: Vec<_> = source_files()
        .into_iter()
        .map(|path| (std::fs::read_to_string(&path).unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .collect();
    assert!(too_long.is_empty(), "past {LINES_MAX} lines a second idea has moved in: {too_long:#?}");
}

#[test]
fn the_parser_of_this_test_sees_the_forms_that_are_used() {
    assert_eq!(named_modules("use crate::store::Store;"), ["store"]);
    assert_eq!(named_modules("use crate::{error, id::PointId};"), ["error", "id"]);
    assert_eq!(named_modules("    crate::cli::run() // crate::store"), ["cli"]);
    assert!(named_modules("// crate::cli is above us").is_empty());
}

#[test]
fn each_dependency_has_a_sentence() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let said: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).collect();
    let named = |name: &str| said.iter().any(|names| names.split(", ").any(|said| said == name));
    let own = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let silent: Vec<&str> = own
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .filter(|name| !named(name))
        .collect();
    assert_eq!(silent, Vec::<&str>::new(), "ARCHITECTURE.md says of each what it is for");
}
