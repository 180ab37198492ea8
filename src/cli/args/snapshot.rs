//! The command line of snapshots of Kubernetes namespaces.

use super::recover::{SnapshotDiffArgs, SnapshotImportCommand, SnapshotRestoreArgs};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `davit snapshot …`
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Make one recovery point of each namespace
    Create(Box<SnapshotCreateArgs>),
    /// Show what a recovery point holds: every kind, what was left out and why, what is missing
    Show(SnapshotShowArgs),
    /// Compare a recovery point with another one, or with what is live
    Diff(SnapshotDiffArgs),
    /// Bring a recovery point back, or print what that would do
    Restore(Box<SnapshotRestoreArgs>),
    /// Prove that a recovery point is whole
    Verify(SnapshotVerifyArgs),
    /// Use what another tool left
    #[command(subcommand)]
    Import(SnapshotImportCommand),
}

/// Which cluster.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterArgs {
    /// Where the cluster is described [env: KUBECONFIG] [default: ~/.kube/config, else the account of this pod]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Which context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// `davit snapshot create`
#[derive(Debug, Args)]
#[command(after_help = "\
Every kind that the cluster serves is listed, all of them at one instant. What cannot be seen (a kind that this \
account may not list, an API service that is down) makes the snapshot incomplete: it is stored and marked, the exit \
code is 1, and nothing calls it good. Secrets are sealed like everything else.

Pods may declare commands to run before and after (davit.dev/pre-command, davit.dev/post-command; Velero's \
annotations are honoured), and a command whose output is stored as a source of its own (davit.dev/output-command).

Examples:
  davit snapshot create shop
  davit snapshot create shop pay --tier monthly
  davit snapshot create shop --exclude secrets,'*.metrics.k8s.io'
  davit snapshot create shop --volumes files --mover-image registry.example/davit:0.1.0
  davit snapshot create shop --dry-run              what would be listed, and what not")]
pub struct SnapshotCreateArgs {
    /// The namespaces
    #[arg(value_name = "NAMESPACE", required = true)]
    pub namespaces: Vec<String>,
    /// Only objects with these labels, as kubectl understands them
    #[arg(long, value_name = "L")]
    pub selector: Option<String>,
    /// Only these kinds (deployments, deployments.apps, deploy, or *.GROUP)
    #[arg(long, value_name = "K,…", value_delimiter = ',')]
    pub include: Vec<String>,
    /// Not these kinds
    #[arg(long, value_name = "K,…", value_delimiter = ',')]
    pub exclude: Vec<String>,
    /// What the point is to hold: the namespace's objects, or also the cluster-scoped ones that they lean on
    #[arg(long, value_name = "SCOPE", default_value = "with-cluster")]
    pub scope: ScopeArg,
    /// What is saved of volumes
    #[arg(long, value_name = "HOW", default_value = "none")]
    pub volumes: VolumesArg,
    /// With --volumes files: the image of the pods that read; it has davit in it
    #[arg(long, value_name = "IMAGE", required_if_eq("volumes", "files"))]
    pub mover_image: Option<String>,
    /// With --volumes files: Secrets of the namespace that the image is pulled with, beside those of the pod that uses a claim
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "mover_image")]
    pub mover_pull_secret: Vec<String>,
    /// Do not run the commands that pods declare
    #[arg(long)]
    pub no_hooks: bool,
    /// Call the source so, and not by the namespace's name (one namespace only)
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// The only retention tier that may keep the point (hourly, daily, weekly, monthly, yearly)
    #[arg(long, value_name = "T")]
    pub tier: Option<String>,
    /// The source may be another namespace from now on: the old one was deleted, or the cluster is another one
    #[arg(long)]
    pub rebind: bool,
    /// Print what would be listed, and make no point
    #[arg(long)]
    pub dry_run: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// How volumes are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VolumesArg {
    /// Their claims only.
    None,
    /// Their files, too, by a pod for each that reads them.
    Files,
    /// Snapshots that the storage makes (CSI); they stay in the storage, and the point has what finds them.
    Csi,
}

/// `davit mover`
#[derive(Debug, Subcommand)]
pub enum MoverCommand {
    /// Wait until the pod ends
    Wait,
    /// Write the files of a directory to stdout, as a tar archive
    Save {
        /// The directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Make the files of a tar archive on stdin in an empty directory
    Load {
        /// The directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Which restore it is: only the same one goes on with what it began
        #[arg(long, value_name = "ID")]
        run: String,
    },
}

/// What a snapshot is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScopeArg {
    /// The namespace's objects.
    Namespace,
    /// Also the cluster-scoped objects that they lean on.
    WithCluster,
}

/// `davit snapshot show`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  davit snapshot show shop@latest
  davit snapshot show velero:s3://bucket/prefix/NAME
  davit snapshot show shop@latest --output json | jq .missing")]
pub struct SnapshotShowArgs {
    /// A recovery point: an id, SOURCE@latest, or SOURCE@TIME
    #[arg(value_name = "POINT")]
    pub point: String,
    /// Also the kinds of which there were no objects
    #[arg(long)]
    pub all: bool,
}

/// `davit snapshot verify`
#[derive(Debug, Args)]
#[command(after_help = "\
The depths, each of which includes the one before:
  listed     every object that the point names is in the repository, with its size
  stored     every object's SHA-256 is right
  restored   restored into a scratch namespace that is removed again: every object is put to the server as a dry \
run, and what does nothing by itself is made, inert, and read back. Nothing outside that namespace is touched. Files \
of volumes are not put back: what is known of them is that every chunk is right

An incomplete snapshot never verifies: the exit code is 1, and what is missing is named. An object that should have \
been asked about and could not be is exit 6, never \"verified\". The evidence is signed and \
stored beside the point.

Examples:
  davit snapshot verify shop@latest
  davit snapshot verify shop@latest --depth restored")]
pub struct SnapshotVerifyArgs {
    /// A recovery point: an id, SOURCE@latest, or SOURCE@TIME
    #[arg(value_name = "POINT")]
    pub point: String,
    /// How deep to look
    #[arg(long, value_name = "DEPTH", default_value = "stored")]
    pub depth: SnapshotDepthArg,
    /// With --depth restored: also make these kinds of the namespace, which may act on their own
    #[arg(long, value_name = "K,…", value_delimiter = ',')]
    pub live: Vec<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// How deep a verification of a snapshot looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SnapshotDepthArg {
    /// Every object is there with its size.
    Listed,
    /// Every object's SHA-256 is right.
    Stored,
    /// Restored into a scratch namespace and compared.
    Restored,
}
