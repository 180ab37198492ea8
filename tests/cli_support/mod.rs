//! Runs the program as a person does, in a directory of its own and with an environment of its own.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory to call `davit` in. Nothing of the caller's environment reaches it but `PATH`.
pub struct Desk {
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// What a call gave.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// The result.
    pub stdout: String,
    /// The story.
    pub stderr: String,
}

impl Desk {
    /// An empty desk.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// A desk with a repository and its keys.
    pub fn with_repository() -> Self {
        let desk = Self::new();
        let said = desk.davit(&["init"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        // From the first look on this machine remembers the repository's counter.
        let said = desk.davit(&["points"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        desk
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Sets a variable for all calls after this.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.path().join(name), text).unwrap();
        self
    }

    /// The command, for those who need more than its end.
    #[expect(clippy::disallowed_methods, reason = "tests find programs where the caller does")]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_davit"));
        command.args(arguments).current_dir(self.path()).env_clear().stdin(std::process::Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end.
    pub fn davit(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or(-1);
        Said { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs it with `--output json`, and reads its one document.
    pub fn json(&self, arguments: &[&str]) -> (i32, serde_json::Value) {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        let said = self.davit(&all);
        let document = serde_json::from_str(&said.stdout);
        (said.code, document.unwrap_or_else(|error| panic!("{error}: {}\n{}", said.stdout, said.stderr)))
    }

    /// Every file below, with its size and content hash: what "nothing was changed" means.
    pub fn inventory(&self) -> Vec<(PathBuf, u64, blake3::Hash)> {
        let mut found = Vec::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    found.push((path, bytes.len() as u64, blake3::hash(&bytes)));
                }
            }
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }

    /// A call as it looks on the screen, with this desk's path replaced.
    pub fn transcript(&self, arguments: &[&str]) -> String {
        let said = self.davit(arguments);
        let path = self.path().display().to_string();
        let shown = format!("$ davit {}\n{}{}(exit {})\n", arguments.join(" "), said.stdout, said.stderr, said.code);
        shown.replace(&path, "DESK")
    }
}

/// The names and types in a document, one per line; lists by their first element.
pub fn shape(document: &Value) -> String {
    fn walk(path: &str, value: &Value, lines: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(&path, value, lines);
                }
            }
            Value::Array(elements) => match elements.first() {
                Some(first) => walk(&format!("{path}[]"), first, lines),
                None => lines.push(format!("{path}[]")),
            },
            Value::Null => lines.push(format!("{path}: null")),
            Value::Bool(_) => lines.push(format!("{path}: bool")),
            Value::Number(_) => lines.push(format!("{path}: number")),
            Value::String(_) => lines.push(format!("{path}: string")),
        }
    }
    let mut lines = Vec::new();
    walk("", document, &mut lines);
    lines.join("\n")
}

/// Holds a document to its golden shape, and the documentation to naming every field of it. Where a field is a map whose
/// names are data, `*` stands for them.
pub fn documented(name: &str, document: &Value, maps: &[&str]) {
    assert_eq!(document["schema_version"], 1, "{document}");
    let mut document = document.clone();
    for map in maps {
        let found = document.pointer_mut(map).unwrap_or_else(|| panic!("{name} has no {map}"));
        let first = found.as_object().unwrap().values().next().cloned();
        *found = serde_json::json!({ "*": first });
    }
    let shape = shape(&document);
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "../golden/json", omit_expression => true }, {
        insta::assert_snapshot!(name, shape);
    });
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    let fields = shape.lines().flat_map(|line| line.split(':').next().unwrap().split('.'));
    let fields = fields.map(|field| field.trim_end_matches("[]")).filter(|field| *field != "*");
    let named = |field: &&str| docs.contains(&format!("`{field}`")) || docs.contains(&format!("`{field}[]`"));
    let unnamed: std::collections::BTreeSet<&str> = fields.filter(|field| !named(field)).collect();
    assert!(unnamed.is_empty(), "docs/json.md does not name {unnamed:?} of {name}");
}
