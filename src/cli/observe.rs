//! `davit observe`: an observer as a process of its own, such as in a pod. Its log goes to standard output, so that whoever
//! follows the pod's log has it off the node as it is written.

use crate::cli::args::ObserveArgs;
use crate::cli::exit::Exit;
use crate::cli::output::Ended;
use crate::cli::shell::Shell;
use crate::drill::orders::{END, Orders};
use crate::drill::streams::{Database, streams};
use crate::error::{Context, Error, Kind, Result};
use crate::probe::ledger::{Ledger, Table};
use crate::probe::{FileSink, Observer, Running, SharedSink, StreamPlan};
use crate::secret::Secret;
use std::io::BufRead;
use tokio::sync::mpsc;

/// The plan of an observer whose drill says on standard input what it is to do.
const FROM_INPUT: &str = "-";

/// Observes until it is told to stop.
pub(super) async fn run(args: &ObserveArgs, shell: &Shell) -> Result<Ended> {
    let mut input = read_lines();
    let orders = if args.plan == FROM_INPUT {
        let first = tokio::select! {
            first = input.recv() => first.unwrap_or_default(),
            () = shell.stop.gently.cancelled() => return Ok(Ended::silently(Exit::Done)),
        };
        Some(Orders::read(&first)?)
    } else {
        None
    };
    let attached = orders.is_some();
    let (name, plans, told) = match orders {
        Some(orders) => (orders.observer, orders.streams, orders.database),
        None => (args.name.clone(), plans(&args.plan)?, None),
    };
    let sink: SharedSink = match &args.log {
        Some(path) => FileSink::append(path)?,
        None => FileSink::writer(Box::new(std::io::stdout()), "standard output"),
    };
    let database = database(args, told, shell, &sink)?;
    let streams = streams(&plans, database.as_ref()).await?;
    let observer = Observer::new(name, shell.clock.clone(), sink).start(streams)?;
    answer_looks(&observer, input, attached, shell).await;
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

/// The lines of standard input, until it ends.
fn read_lines() -> mpsc::UnboundedReceiver<String> {
    let (said, lines) = mpsc::unbounded_channel();
    // The thread waits for input as long as the process lives; nothing waits for the thread.
    let reader = std::thread::Builder::new().name("davit-questions".to_owned()).spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::io::Result::ok) {
            if said.send(line).is_err() {
                return;
            }
        }
    });
    if let Err(error) = reader {
        tracing::warn!("nobody reads questions for the observer's clock: {error}");
    }
    lines
}

/// Each line on standard input is a question for the observer's clock. An observer that is attached to a drill ends with it:
/// whatever happens to the drill, its end of standard input is closed.
async fn answer_looks(
    observer: &Running,
    mut questions: mpsc::UnboundedReceiver<String>,
    attached: bool,
    shell: &Shell,
) {
    let mut open = true;
    loop {
        tokio::select! {
            () = shell.stop.gently.cancelled() => return,
            question = questions.recv(), if open => match question {
                Some(line) if attached && line.trim() == END => return,
                Some(question) => observer.look(question.trim()),
                None if attached => return,
                None => open = false,
            },
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

/// The database that SQL streams ask: what the command line or the environment of this machine says is nearer than what the
/// drill was told.
fn database(args: &ObserveArgs, told: Option<Secret>, shell: &Shell, sink: &SharedSink) -> Result<Option<Database>> {
    let from_environment = shell.settings.environment.get("DAVIT_OBSERVE_DATABASE")?.map(Secret::new);
    let Some(url) = args.database.clone().or(from_environment).or(told) else { return Ok(None) };
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
