//! The command line of bringing snapshots back: diff, restore, import.

use super::ClusterArgs;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `davit snapshot diff`
#[derive(Debug, Args)]
#[command(after_help = "\
Fields that belong to the server are not compared, lists are matched by their keys, and two spellings of one amount \
are equal. Of Secrets only the keys are told. Between two points that were taken with the objects of the cluster that their \
namespace leaned on, one that came or went is told, too; with what is live only those of the point are looked for. Exit 0: the \
same; exit 1: different; exit 6: no difference in what could be compared, and not everything could.

Examples:
  davit snapshot diff shop@latest                   against the namespace as it is now
  davit snapshot diff shop@2026-11-20T01:00:00Z shop@latest
  davit snapshot diff velero:s3://bucket/velero/daily-20260124010000 --live")]
pub struct SnapshotDiffArgs {
    /// A recovery point, or velero:URL/NAME
    #[arg(value_name = "POINT")]
    pub left: String,
    /// Another one [default: what is live]
    #[arg(value_name = "POINT", conflicts_with = "live")]
    pub right: Option<String>,
    /// Compare with what is live
    #[arg(long)]
    pub live: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `davit snapshot restore`
#[derive(Debug, Args)]
#[command(after_help = "\
Without --on-conflict nothing is begun where an object is there already and differs. A Namespace, a custom resource \
definition, a PersistentVolume and a PersistentVolumeClaim are never deleted, by no flag. What a controller makes is \
left to it. Interrupted, the same command goes on where it was. Objects that could not be restored are listed with \
the server's reason, and the exit code is 1.

Examples:
  davit snapshot restore shop@latest --plan
  davit snapshot restore shop@latest --into shop-copy
  davit snapshot restore shop@latest --on-conflict replace --prune
  davit snapshot restore shop@latest --only secrets/payment,configmaps/*
  davit snapshot restore velero:s3://bucket/velero/daily-20260124010000 --into shop")]
#[command(next_help_heading = "What comes back")]
pub struct SnapshotRestoreArgs {
    /// A recovery point, or velero:URL/NAME
    #[arg(value_name = "POINT")]
    pub point: String,
    /// Only these objects (deployments.apps/web, secrets/*, jobs.batch)
    #[arg(long, value_name = "K/NAME,…", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Also change these cluster-scoped objects where they are there and differ
    #[arg(long, value_name = "K/NAME,…", value_delimiter = ',')]
    pub include_cluster: Vec<String>,
    /// Also restore what a controller would make
    #[arg(long, value_name = "K,…", value_delimiter = ',')]
    pub restore_derived: Vec<String>,
    /// Give these kinds their status back
    #[arg(long, value_name = "K,…", value_delimiter = ',')]
    pub with_status: Vec<String>,
    /// Give the fields back to the managers that applied them
    #[arg(long)]
    pub keep_managers: bool,
    /// Services keep their node ports
    #[arg(long)]
    pub keep_node_ports: bool,
    /// Leave what Argo CD or Flux tracks to it
    #[arg(long)]
    pub skip_gitops: bool,
    /// Restore an incomplete point: what it lacks stays lacking, and the exit code is 1
    #[arg(long)]
    pub allow_incomplete: bool,
    /// Leave the volumes of new claims empty, although the point has their files
    #[arg(long)]
    pub no_volumes: bool,
    /// The image of the pods that bring files back [default: the one that saved them]
    #[arg(long, value_name = "IMAGE")]
    pub mover_image: Option<String>,
    /// Secrets of the namespace that it is pulled with, beside those of who will use a claim [default: those of the save]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub mover_pull_secret: Vec<String>,
    /// Into another namespace
    #[arg(long, value_name = "NS", help_heading = "What becomes of it")]
    pub into: Option<String>,
    /// Another storage class for a (may be repeated)
    #[arg(long, value_name = "a=b", help_heading = "What becomes of it")]
    pub map_storage_class: Vec<String>,
    /// Other images where their names begin with a (may be repeated)
    #[arg(long, value_name = "a=b", help_heading = "What becomes of it")]
    pub map_image: Vec<String>,
    /// Change objects by the rules of this file (JSON patches and merge patches, with conditions)
    #[arg(long, value_name = "FILE", help_heading = "What becomes of it")]
    pub modify: Option<PathBuf>,
    /// What becomes of objects that are there and differ
    #[arg(long, value_name = "HOW", default_value = "fail", help_heading = "What is there already")]
    pub on_conflict: OnConflictArg,
    /// Delete and make anew objects of these kinds that differ
    #[arg(long, value_name = "K,…", value_delimiter = ',', help_heading = "What is there already")]
    pub recreate: Vec<String>,
    /// Delete objects that the snapshot does not have, after the namespace's name was typed twice
    #[arg(long, conflicts_with_all = ["only", "include_cluster"], help_heading = "What is there already")]
    pub prune: bool,
    /// The namespace's name, instead of typing it
    #[arg(long, value_name = "NS", requires = "prune", help_heading = "What is there already")]
    pub yes_prune: Option<String>,
    /// Print what would be done, as far as the server can say, and do nothing
    #[arg(long, help_heading = "How")]
    pub plan: bool,
    /// Restore only if that is what the plan of this digest said; else nothing is touched (exit 3)
    #[arg(long, value_name = "DIGEST", conflicts_with = "plan", help_heading = "How")]
    pub expect_plan: Option<String>,
    /// Make the namespace for the plan (and keep it), so that the server can be asked about what goes into it
    #[arg(long, requires = "plan", help_heading = "How")]
    pub with_namespace: bool,
    /// How many changes are under way at once
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "How")]
    pub in_flight: u16,
    /// Which cluster.
    #[command(flatten, next_help_heading = "Which cluster")]
    pub cluster: ClusterArgs,
}

/// What becomes of objects that are there and differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnConflictArg {
    /// Nothing is begun.
    Fail,
    /// They stay as they are.
    Skip,
    /// What the snapshot says is patched in.
    Merge,
    /// They become what the snapshot says.
    Replace,
}

/// `davit snapshot import …`
#[derive(Debug, Subcommand)]
pub enum SnapshotImportCommand {
    /// List what Velero left in a bucket, or translate its schedules
    Velero(ImportVeleroArgs),
}

/// `davit snapshot import velero`
#[derive(Debug, Args)]
#[command(after_help = "\
A backup in the list is restored or compared where it lies:
  davit snapshot restore velero:s3://bucket/prefix/NAME
  davit snapshot diff velero:s3://bucket/prefix/NAME
Only objects are read; volume data that Velero kept are named with where they are.

A file with Schedule or Backup objects is translated instead: what it would be here, and every field that has no \
equivalent.

Examples:
  davit snapshot import velero s3://bucket/prefix
  davit snapshot import velero s3://bucket/prefix --show daily-20260124010000
  davit snapshot import velero schedule.yaml")]
pub struct ImportVeleroArgs {
    /// The bucket and prefix of Velero's BackupStorageLocation, or a YAML file
    #[arg(value_name = "URL|FILE")]
    pub from: String,
    /// Show one backup: its kinds, its errors, and where volume data are
    #[arg(long, value_name = "NAME")]
    pub show: Option<String>,
}
