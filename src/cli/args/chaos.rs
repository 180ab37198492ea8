//! The command line of faults.

use super::ClusterArgs;
use super::span;
use crate::units::Span;
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// `davit chaos …`
#[derive(Debug, Subcommand)]
pub enum ChaosCommand {
    /// List the faults: what each does, needs, how it is proven and how it heals
    List(ChaosListArgs),
    /// Inject one fault by hand, for a time, with proof and guards, and undo it
    Inject(Box<ChaosInjectArgs>),
    /// Show what is injected now, or was left by a runner that was killed
    #[command(after_help = "\
Exit 1 if there is an intent that is not closed: a fault is under way, or the janitor has work to do.

Examples:
  davit chaos status
  davit chaos status --output json")]
    Status,
    /// Ask a run to end its faults now, and wait until they are undone
    Stop(ChaosStopArgs),
    /// Say that a person noticed a fault: its drill measures how long that took
    Ack(ChaosAckArgs),
    /// Undo what a killed runner left, and look whether it is undone
    Janitor(ChaosJanitorArgs),
    /// Print the exact roles that faults need in a cluster
    Rbac(ChaosRbacArgs),
}

/// `davit chaos list`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  davit chaos list
  davit chaos list lock-storm                       everything about one fault, with its parameters")]
pub struct ChaosListArgs {
    /// Only this one, with its parameters
    #[arg(value_name = "FAULT")]
    pub fault: Option<String>,
}

/// `davit chaos inject`
#[derive(Debug, Args)]
#[command(after_help = "\
The undo is durable in the repository before the effect. Success of a call proves nothing: the fault counts when its \
own evidence is seen (exit 6 if it is not), and it is healed when reading back shows it (exit 5 if it does not).

A target is postgres://user@host/database or a source of davit.yaml, NAMESPACE/pods, NAMESPACE/pod/NAME, \
NAMESPACE/pods/app=web, NAMESPACE/deployment/NAME, node/NAME, nodes/LABEL=VALUE, namespace/NAME, tcp://HOST:PORT \
(with --set listen=ADDRESS, which clients use instead), dns://NAME (with --set listen=ADDRESS, whom clients ask).

A target lets faults in by saying so itself. A database: CREATE SCHEMA davit; CREATE TABLE davit.environment (name \
text, disposable boolean); INSERT INTO davit.environment VALUES ('staging', false). A namespace: kubectl annotate \
namespace shop davit.dev/chaos=allowed davit.dev/environment=staging.

Examples:
  davit chaos inject lock-storm --target shop --set tables=public.orders --for 20s --dry-run
  davit chaos inject backend-kill --target postgres://admin@db/shop --amount 25% --max-count 10
  davit chaos inject pod-delete --target shop/deployment/web --seed 42")]
pub struct ChaosInjectArgs {
    /// Which fault (davit chaos list)
    #[arg(value_name = "FAULT")]
    pub fault: String,
    /// What it is aimed at
    #[arg(long, value_name = "TARGET")]
    pub target: String,
    /// How long it lasts, where it lasts
    #[arg(long = "for", value_name = "SPAN", default_value = "30s", value_parser = span)]
    pub lasts: Span,
    /// A parameter of the fault (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Print victims, undo and guards; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Where victims and phase come from: the same seed hits the same ones [default: a fresh one, printed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many are hit: 3, 25% (rounded down) or all
    #[arg(long, value_name = "N", default_value = "1")]
    pub amount: String,
    /// Never hit more than so many [default: 1; where --amount is a percentage, none]
    #[arg(long, value_name = "N", help_heading = "Guards")]
    pub max_count: Option<usize>,
    /// Never hit more than so many of a hundred, rounded down [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100), help_heading = "Guards")]
    pub max_percent: Option<u8>,
    /// The environment that the target must say it belongs to
    #[arg(long, value_name = "NAME", help_heading = "Guards")]
    pub environment: Option<String>,
    /// The name of a production target, again
    #[arg(long, value_name = "NAME", help_heading = "Guards")]
    pub confirm: Option<String>,
    /// Only within this window, such as 'Mon-Fri 09:00-17:00 Europe/Berlin' (may be repeated)
    #[arg(long, value_name = "WINDOW", help_heading = "Guards")]
    pub window: Vec<String>,
    /// Only if this command ends with 0: no incident is open
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["incident_file", "incident_url"], help_heading = "Guards")]
    pub incident_command: Option<String>,
    /// Only if this file is empty or says none: no incident is open
    #[arg(long, value_name = "FILE", help_heading = "Guards")]
    pub incident_file: Option<PathBuf>,
    /// Only if this URL answers with nothing, or with none: no incident is open
    #[arg(long, value_name = "URL", conflicts_with = "incident_file", help_heading = "Guards")]
    pub incident_url: Option<String>,
    /// A namespace that is protected because observers run there (may be repeated)
    #[arg(long, value_name = "NAMESPACE", help_heading = "Guards")]
    pub protect: Vec<String>,
    /// How old the verified backup may be that an irreversible fault relies on
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = span, help_heading = "Guards")]
    pub backup_age: Span,
    /// Lift a guard for this run, by its name (may be repeated); it is recorded
    #[arg(long, value_name = "GUARD", help_heading = "Guards")]
    pub lift: Vec<String>,
    /// Heal as soon as this command ends with anything but 0 (may be repeated)
    #[arg(long, value_name = "COMMAND", help_heading = "Abort conditions")]
    pub abort_unless: Vec<String>,
    /// Heal as soon as fewer pods of the target are ready
    #[arg(long, value_name = "N", help_heading = "Abort conditions")]
    pub abort_below: Option<usize>,
    /// Heal as soon as the fault took longer than this in all, its proof included
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "Abort conditions")]
    pub abort_after: Option<Span>,
    /// The slowest control loop of the system: injection waits at random for a part of it
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub control_loop: Option<Span>,
    /// Which cluster, and what carries faults in it.
    #[command(flatten)]
    pub helper: HelperArgs,
}

/// Which cluster, and where the pods run that carry faults in it.
#[derive(Debug, Args)]
pub struct HelperArgs {
    /// Image of the helper pods that carry faults in other pods [default: davit of this version]
    #[arg(long, value_name = "IMAGE", help_heading = "Cluster")]
    pub helper_image: Option<String>,
    /// Namespace of the helper pods
    #[arg(long, value_name = "NAME", default_value = "davit-chaos", help_heading = "Cluster")]
    pub helper_namespace: String,
    /// Account of the helper pods that undo a fault in the cluster when its time is over
    #[arg(long, value_name = "NAME", default_value = "davit-chaos", help_heading = "Cluster")]
    pub helper_account: String,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `davit chaos stop`
#[derive(Debug, Args)]
#[command(after_help = "\
The run heals what it injected, wherever it runs. If its runner was killed, the janitor is the one to ask.

Examples:
  davit chaos stop 20261120T010000Z-k3f9ab")]
pub struct ChaosStopArgs {
    /// Which run (davit chaos status)
    #[arg(value_name = "RUN")]
    pub run: String,
}

/// `davit chaos ack`
#[derive(Debug, Args)]
#[command(after_help = "\
For whoever gets the alert, on any machine that reaches the repository. The run dates it by its own clock, to a second \
or so; the clock of this machine is only shown. The first one counts. Exit 2 if the run is over.

Examples:
  davit chaos ack                                   the only fault that is under way
  davit chaos ack 20261120T010000Z-k3f9ab --note 'paged by the alert of slow logins'")]
pub struct ChaosAckArgs {
    /// Which run (davit chaos status) [default: the only one under way]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// What made you notice, for the report
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}

/// `davit chaos janitor`
#[derive(Debug, Args)]
#[command(after_help = "\
Works from the intents in the repository alone, on any machine that reaches the target. A fault that was hit through \
this machine's processes or files is undone on that machine. Refuses while the runner lives. Exit 5 if something is \
not proven to be undone.

Examples:
  davit chaos janitor
  davit chaos janitor --run 20261120T010000Z-k3f9ab")]
pub struct ChaosJanitorArgs {
    /// Only what this run left
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Which cluster, and what carries faults in it.
    #[command(flatten)]
    pub helper: HelperArgs,
}

/// `davit chaos rbac`
#[derive(Debug, Args)]
#[command(after_help = "\
Prints YAML for kubectl apply: nothing that the named faults do not need. A target that is found through something \
else (NAMESPACE/deployment/NAME, nodes/running:NAMESPACE/app=web) takes the right to read that: name it with --target.

Examples:
  davit chaos rbac pod-delete --namespace shop | kubectl apply -f -
  davit chaos rbac pod-delete --target shop/deployment/web
  davit chaos rbac pod-delete node-drain --namespace shop --account davit-drills")]
pub struct ChaosRbacArgs {
    /// Which faults
    #[arg(value_name = "FAULT", required = true)]
    pub faults: Vec<String>,
    /// The namespace of the targets
    #[arg(long, value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// What they are aimed at, as for inject: its namespace, and what finding it takes
    #[arg(long, value_name = "TARGET", conflicts_with = "namespace")]
    pub target: Option<String>,
    /// The service account that gets the roles
    #[arg(long, value_name = "NAME", default_value = "davit-chaos")]
    pub account: String,
    /// Namespace of the helper pods
    #[arg(long, value_name = "NAME", default_value = "davit-chaos")]
    pub helper_namespace: String,
    /// Namespace of the account [default: that of the helper pods]
    #[arg(long, value_name = "NAME")]
    pub account_namespace: Option<String>,
}

/// `davit carrier`
#[derive(Debug, Subcommand)]
pub enum CarrierCommand {
    /// Hold every byte of a connection back
    Proxy {
        /// Where it listens
        #[arg(long, value_name = "ADDRESS")]
        listen: SocketAddr,
        /// Where it leads to
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// How long each byte is held back
        #[arg(long, value_name = "SPAN", value_parser = span)]
        latency: Span,
        /// How long it runs
        #[arg(long = "for", value_name = "SPAN", value_parser = span)]
        lasts: Span,
    },
    /// Wait, then undo what an intent says
    Fuse {
        /// When, in seconds since 1970
        #[arg(long, value_name = "SECONDS")]
        at: i64,
        /// The intent, as JSON
        #[arg(long, value_name = "JSON")]
        intent: String,
    },
}
