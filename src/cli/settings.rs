//! `davit config show` and `davit config check`

use crate::cli::args::{ConfigCommand, SchemaArg};
use crate::cli::exit::Exit;
use crate::cli::output::{self, Document, Ended};
use crate::cli::table::table;
use crate::config::raw::{Databases, RawHook};
use crate::config::setting::{Origin, Setting};
use crate::config::{Environment, Overrides, Settings, Source};
use crate::error::{Kind, Result};
use crate::humane::counted;
use crate::retention::policy::{Rules, Tier};
use crate::secret::redact;
use serde::Serialize;
use std::fmt::Display;

/// Shows or checks the settings. A broken file is what `check` is for, so nothing is settled before.
pub(super) fn run(command: &ConfigCommand, overrides: &Overrides, environment: &Environment) -> Result<Ended> {
    match command {
        ConfigCommand::Show => Ended::with(&Shown::of(&Settings::load(overrides, environment)?)),
        ConfigCommand::Check => Ended::with(&check(overrides, environment)?),
        ConfigCommand::Schema { kind } => {
            output::print(match kind {
                SchemaArg::Scenario => crate::scenario::SCHEMA,
                SchemaArg::Drill => crate::report::SCHEMA,
                SchemaArg::Month => crate::report::month::SCHEMA,
            })?;
            Ok(Ended::silently(Exit::Done))
        }
    }
}

/// Every value and where it came from.
#[derive(Debug, Serialize)]
struct Shown {
    settings: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    value: String,
    source: String,
}

impl Document for Shown {
    fn text(&self) -> String {
        let row = |row: &Row| [row.name.clone(), row.value.clone(), row.source.clone()];
        table(["setting", "value", "source"], self.settings.iter().map(row))
    }
}

impl Shown {
    fn of(settings: &Settings) -> Self {
        let mut shown = Self { settings: Vec::new() };
        if let Some(file) = &settings.file {
            shown.add("config", file.value.display(), &file.origin);
        }
        shown.add("repository", redact(&settings.repository.value), &settings.repository.origin);
        shown.add("keys", settings.keys.value.display(), &settings.keys.origin);
        let state = settings.state.value.as_ref().map(|path| path.display().to_string());
        shown.add("state", or(state, "none"), &settings.state.origin);
        shown.add("scratch", settings.scratch.value.display(), &settings.scratch.origin);
        let tools: Vec<String> = settings.client_tools.value.iter().map(|path| path.display().to_string()).collect();
        let tools = if tools.is_empty() { "PATH, then the usual places".to_owned() } else { tools.join(", ") };
        shown.add("client_tools", tools, &settings.client_tools.origin);
        let lock = settings.object_lock.value.mode().map(|mode| format!("{mode:?}").to_lowercase());
        shown.add("object_lock", or(lock, "off"), &settings.object_lock.origin);
        shown.inherited("", &settings.jobs, &settings.limit_rate, &settings.lock_budget);
        shown.add("snapshot_budget", settings.snapshot_budget.value, &settings.snapshot_budget.origin);
        let budget = or(settings.retry_budget.value, "8 attempts");
        shown.add("retry_budget", budget, &settings.retry_budget.origin);
        shown.add("lease_term", settings.lease_term.value, &settings.lease_term.origin);
        shown.add("xmin_age_budget", settings.xmin_age_budget.value, &settings.xmin_age_budget.origin);
        shown.add("retention", rules(&settings.retention.value), &settings.retention.origin);
        for source in settings.sources.values() {
            shown.source(source);
        }
        for hook in &settings.hooks {
            shown.add("hooks", words(&hook.value), &hook.origin);
        }
        shown
    }

    fn inherited<R: Display + Copy>(
        &mut self,
        prefix: &str,
        jobs: &Setting<u32>,
        rate: &Setting<Option<R>>,
        budget: &Setting<impl Display>,
    ) {
        self.add(&format!("{prefix}jobs"), jobs.value, &jobs.origin);
        let text = rate.value.map(|rate| format!("{rate}/s"));
        self.add(&format!("{prefix}limit_rate"), or(text, "none"), &rate.origin);
        self.add(&format!("{prefix}lock_budget"), &budget.value, &budget.origin);
    }

    fn source(&mut self, source: &Source) {
        let prefix = format!("sources.{}.", source.name);
        self.add(&format!("{prefix}url"), &source.url.value, &source.url.origin);
        let databases = match &source.databases.value {
            Databases::OfUrl => "the one of the url".to_owned(),
            Databases::List(names) => names.join(", "),
            Databases::All => "all".to_owned(),
        };
        self.add(&format!("{prefix}databases"), databases, &source.databases.origin);
        self.add(&format!("{prefix}engine"), source.engine.value, &source.engine.origin);
        let left_out = &source.exclude.value;
        for (name, left_out) in [("tables", &left_out.tables), ("rows", &left_out.rows)] {
            let patterns: Vec<String> = left_out.iter().map(ToString::to_string).collect();
            if !patterns.is_empty() {
                self.add(&format!("{prefix}exclude.{name}"), patterns.join(", "), &source.exclude.origin);
            }
        }
        self.inherited(&prefix, &source.jobs, &source.limit_rate, &source.lock_budget);
        let budget = &source.snapshot_budget;
        self.add(&format!("{prefix}snapshot_budget"), budget.value, &budget.origin);
        let budget = &source.xmin_age_budget;
        self.add(&format!("{prefix}xmin_age_budget"), budget.value, &budget.origin);
        self.add(&format!("{prefix}retention"), rules(&source.retention.value), &source.retention.origin);
        self.add(&format!("{prefix}unlogged"), source.unlogged.value, &source.unlogged.origin);
        let least = &source.min_content.value;
        for (name, number) in [("tables", least.tables), ("rows", least.rows), ("bytes", least.bytes)] {
            if number > 0 {
                self.add(&format!("{prefix}min_content.{name}"), number, &source.min_content.origin);
            }
        }
        for check in &source.checks.value {
            self.add(&format!("{prefix}checks"), check.display(), &source.checks.origin);
        }
    }

    fn add(&mut self, name: &str, value: impl Display, origin: &Origin) {
        self.settings.push(Row { name: name.to_owned(), value: value.to_string(), source: origin.to_string() });
    }
}

/// `namespace vault, pods app=vault: output vault read`
fn words(hook: &RawHook) -> String {
    let commands = [("before", &hook.before), ("after", &hook.after), ("output", &hook.output)];
    let commands = commands.into_iter().filter_map(|(when, command)| Some((when, command.as_ref()?)));
    let commands: Vec<String> = commands.map(|(when, command)| format!("{when} {}", command.join(" "))).collect();
    format!("namespace {}, pods {}: {}", hook.namespace, hook.pods, commands.join("; "))
}

fn or(value: Option<impl Display>, none: &str) -> String {
    value.map_or_else(|| none.to_owned(), |value| value.to_string())
}

/// `daily 30 days, weekly 90 days, keep last 3, in Europe/Berlin`
pub(super) fn rules(rules: &Rules) -> String {
    if rules.are_empty() {
        return "keep everything".to_owned();
    }
    let tiers = Tier::ALL.iter().filter_map(|tier| rules.of(*tier).map(|keep| format!("{tier} {keep}")));
    let mut parts: Vec<String> = tiers.collect();
    parts.extend(rules.keep_last.map(|count| format!("keep last {count}")));
    parts.extend(rules.keep_within.as_ref().map(|term| format!("keep within {term}")));
    parts.extend(rules.time_zone.iana_name().filter(|name| *name != "UTC").map(|name| format!("in {name}")));
    parts.join(", ")
}

/// What `config check` found.
#[derive(Debug, Serialize)]
struct Checked {
    file: Option<String>,
    ok: bool,
    sources: usize,
    problems: Vec<Found>,
}

#[derive(Debug, Serialize)]
struct Found {
    line: Option<u64>,
    problem: String,
    hint: Option<String>,
}

impl Document for Checked {
    fn text(&self) -> String {
        let file = self.file.as_deref().unwrap_or("no settings file");
        if self.ok {
            let sources = counted(self.sources as u64, "source");
            return format!("{file}: fine, {sources}\n");
        }
        let mut text = format!("{file}: {}\n", counted(self.problems.len() as u64, "problem"));
        for found in &self.problems {
            let line = found.line.map(|line| format!("line {line}: ")).unwrap_or_default();
            text.extend(["  ", &line, &found.problem, "\n"]);
            if let Some(hint) = &found.hint {
                text.extend(["    hint: ", hint, "\n"]);
            }
        }
        text
    }

    fn exit(&self) -> Exit {
        if self.ok { Exit::Done } else { Exit::Not(Kind::Input) }
    }
}

fn check(overrides: &Overrides, environment: &Environment) -> Result<Checked> {
    let (settings, problems) = Settings::examine(overrides, environment)?;
    let mut found: Vec<Found> = problems
        .into_iter()
        .map(|problem| Found { line: problem.line, problem: problem.text, hint: problem.hint })
        .collect();
    for source in settings.sources.values() {
        // Only this fetches every secret: a command fetches no more than it needs.
        if let Err(error) = settings.connection_of(source) {
            let problem = redact(&error.to_string()).into_owned();
            found.push(Found { line: Some(source.line), problem, hint: error.hint_text().map(str::to_owned) });
        }
        for path in source.checks.value.iter().filter(|path| !path.is_file()) {
            let problem = format!("reading the checks of source {}: no file {}", source.name, path.display());
            found.push(Found { line: Some(source.line), problem, hint: None });
        }
    }
    for directory in settings.client_tools.value.iter().filter(|directory| !directory.is_dir()) {
        let problem = format!("looking for client tools: no directory {}", directory.display());
        found.push(Found { line: None, problem, hint: None });
    }
    // Namespaces are no sources of the file: who has hooks saves some.
    let nothing = settings.sources.is_empty() && settings.hooks.is_empty();
    if settings.file.is_some() && nothing && found.is_empty() {
        let hint = Some("add sources: with a name and a url for each; see docs/examples/davit.yaml".to_owned());
        found.push(Found { line: None, problem: "there are no sources, so nothing is backed up".to_owned(), hint });
    }
    found.sort_by_key(|found| found.line);
    let file = settings.file.as_ref().map(|file| file.value.display().to_string());
    Ok(Checked { file, ok: found.is_empty(), sources: settings.sources.len(), problems: found })
}
