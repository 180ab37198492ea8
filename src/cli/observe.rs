//! `davit observe`: an observer as a process of its own, such as in a pod. Its log goes to standard output, so that whoever
//! follows the pod's log has it off the node as it is written.

use crate::cli::args::ObserveArgs;
use crate::cli::exit::Exit;
use crate::cli::output::Ended;
use crate::cli::shell::Shell;
use crate::drill::streams::{Database, streams};
use crate::error::{Context, Error, Kind, Result};
use crate::probe::ledger::{Ledger, Table};
use crate::probe::{FileSink, Observer, Running, SharedSink, StreamPlan};
use crate::secret::Secret;
use std::io::BufRead;
use tokio::sync::mpsc;

/// Observes until it is told to stop.
pub(super) async fn run(args: &ObserveArgs, shell: &Shell) -> Result<Ended> {
    let plans = plans(&args.plan)?;
    let sink: SharedSink = match &args.log {
        Some(path) => FileSink::append(path)?,
        None => FileSink::writer(Box::new(std::io::stdout()), "standard output"),
    };
    let database = database(args, shell, &sink)?;
    let streams = streams(&plans, database.as_ref()).await?;
    let observer = Observer::new(args.name.clone(), shell.clock.clone(), sink).start(streams)?;
    answer_looks(&observer, shell).await;
    let tally = observer.stop().await?;
    for (name, count) in &tally.streams {
        shell.progress().note(format!(
            "{name}: {} good, {} refused, {} silent, {} not sent",
            count.good, count.refused, count.silent, count.gaps
        ));
    }
    if let Some((ledger, _)) = database.and_then(|database| database.ledger) {
        ledger.sync()?;
    }
    Ok(Ended::silently(Exit::Done))
}

/// Each line on standard input is a question for the observer's clock.
async fn answer_looks(observer: &Running, shell: &Shell) {
    let (asked, mut questions) = mpsc::unbounded_channel();
    // The thread waits for input as long as the process lives; nothing waits for the thread.
    let reader = std::thread::Builder::new().name("davit-questions".to_owned()).spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::io::Result::ok) {
            if asked.send(line).is_err() {
                return;
            }
        }
    });
    if let Err(error) = reader {
        tracing::warn!("nobody reads questions for the observer's clock: {error}");
    }
    loop {
        tokio::select! {
            () = shell.stop.gently.cancelled() => return,
            Some(question) = questions.recv() => observer.look(question.trim()),
        }
    }
}

fn plans(text: &str) -> Result<Vec<StreamPlan>> {
    let doing = || "reading the plan of an observer".to_owned();
    let text = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).context(Kind::Input, || format!("{} from {path}", doing()))?,
        None => text.to_owned(),
    };
    let plans: Vec<StreamPlan> = serde_json::from_str(&text).context(Kind::Input, doing)?;
    if plans.is_empty() {
        return Err(Error::input(format!("{}: it has no stream", doing())));
    }
    Ok(plans)
}

fn database(args: &ObserveArgs, shell: &Shell, sink: &SharedSink) -> Result<Option<Database>> {
    let from_environment = shell.settings.environment.get("DAVIT_OBSERVE_DATABASE")?.map(Secret::new);
    let Some(url) = args.database.clone().or(from_environment) else { return Ok(None) };
    let conn = shell.connection(&url)?;
    let ledger = match &args.run {
        Some(run) => {
            let table = Table::known(run)?;
            let clock = shell.clock.clone();
            let ledger = match &args.ledger {
                Some(path) => Ledger::create(path, args.seed, clock)?,
                None => Ledger::travelling(sink.clone(), args.seed, args.number, clock)?,
            };
            Some((ledger, table.name().to_owned()))
        }
        None => None,
    };
    Ok(Some(Database { conn, ledger }))
}
