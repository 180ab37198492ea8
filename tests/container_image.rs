//! What `deploy/Dockerfile` copies is enough to compile, and names the versions that the rest of the project does. No
//! container engine runs here: the last test compiles from a folder that has what the image's build would have.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn dockerfile() -> String {
    std::fs::read_to_string(root().join("deploy/Dockerfile")).unwrap()
}

/// What is copied from the repository into the stage that compiles.
fn copied() -> Vec<String> {
    let text = dockerfile();
    let build = text.split("\nFROM ").nth(1).unwrap();
    let lines = build.lines().filter_map(|line| line.strip_prefix("COPY "));
    lines
        .flat_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words[..words.len() - 1].iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
        })
        .collect()
}

fn files_of(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_of(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The text between `start` and the next quote.
fn quoted_after<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next()).collect()
}

#[test]
fn every_file_that_is_compiled_in_is_copied_into_the_build_of_the_image() {
    let copied = copied();
    assert!(copied.iter().any(|path| path == "src"), "{copied:?}");
    let mut sources = Vec::new();
    files_of(&root().join("src"), &mut sources);
    let mut compiled_in = 0;
    for source in sources.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        // Modules of tests are not compiled for the image.
        if source.ends_with("tests.rs") || source.iter().any(|part| part == "tests") {
            continue;
        }
        let text = std::fs::read_to_string(source).unwrap();
        for file in quoted_after(&text, "include_str!(").into_iter().chain(quoted_after(&text, "include_bytes!(")) {
            let path = source.parent().unwrap().join(file).canonicalize().unwrap();
            let path = path.strip_prefix(root().canonicalize().unwrap()).unwrap().to_owned();
            compiled_in += 1;
            assert!(
                copied.iter().any(|folder| path.starts_with(folder)),
                "{} compiles {} in, and deploy/Dockerfile copies only {copied:?}",
                source.display(),
                path.display()
            );
        }
    }
    assert!(compiled_in > 3, "the schemas are among them");
}

#[test]
fn the_image_is_made_with_our_compiler_and_has_the_tools_of_every_major_that_is_tested() {
    let (text, manifest) = (dockerfile(), std::fs::read_to_string(root().join("Cargo.toml")).unwrap());
    let compiler = quoted_after(&manifest, "rust-version = ")[0];
    assert!(text.contains(&format!("FROM rust:{compiler}-slim-")), "Cargo.toml asks for Rust {compiler}");
    let majors: Vec<u32> =
        quoted_after(&text, "ARG POSTGRESQL_MAJORS=")[0].split(' ').map(|major| major.parse().unwrap()).collect();
    assert_eq!(majors, (14..=18).collect::<Vec<_>>(), "the README promises these");
    assert!(std::fs::read_to_string(root().join("README.md")).unwrap().contains("14 to 18"));
    assert!(text.contains("\nUSER 65532:65532\n"), "it runs without rights");
}

#[test]
#[ignore = "compiles everything of davit again: make soak"]
fn soak_what_the_image_is_built_from_compiles() {
    let folder = tempfile::tempdir().unwrap();
    for path in copied() {
        let (from, to) = (root().join(&path), folder.path().join(&path));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        assert!(Command::new("cp").arg("-r").args([&from, &to]).status().unwrap().success());
    }
    let target = Path::new(env!("CARGO_BIN_EXE_davit")).ancestors().nth(2).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["check", "--locked", "--bin", "davit"])
        .current_dir(folder.path())
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
