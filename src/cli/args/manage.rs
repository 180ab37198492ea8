//! The command line of what is done now and then: keys, settings, the repository itself.

use super::ClusterArgs;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `davit init`
#[derive(Debug, Args)]
#[command(after_help = "\
Two keys are made. writer.key stays where backups run: it can make, list, check and remove recovery points, but cannot \
read one row of them. reader.key opens everything and is the root of trust: move it to another place, such as a password \
manager and a printed copy in a safe. Without reader.key nothing can be restored, by anyone.

Examples:
  davit init
  davit init --repository s3://shop-backups/davit --keys /etc/davit/keys
  davit init --reader-key /media/usb/reader.key     write the reader key somewhere else at once
  davit init --object-lock governance               the store refuses to delete a backup early,
                                                    also in a repository that is there already")]
pub struct InitArgs {
    /// Seal to this age public key (may be repeated); reader.key then holds only the root key
    #[arg(long, value_name = "age1…")]
    pub reader: Vec<String>,
    /// Write the reader key to this file instead of the keys directory; one that is there serves this repository too
    #[arg(long, value_name = "FILE")]
    pub reader_key: Option<PathBuf>,
    /// Have every object locked by the store until its recovery point may go
    #[arg(long, value_name = "MODE")]
    pub object_lock: Option<ObjectLockArg>,
    /// Do not encrypt: whoever reads the store reads every row
    #[arg(long, conflicts_with_all = ["reader", "reader_key"])]
    pub plain: bool,
    /// Accept a store without conditional writes; never let two runs meet there
    #[arg(long)]
    pub accept_unconditional_store: bool,
}

/// How strongly objects are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ObjectLockArg {
    /// Accounts with a special permission may shorten a lock.
    Governance,
    /// Nobody may shorten a lock.
    Compliance,
}

/// `davit key …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Show which keys are here and what they can do; never the keys themselves
    #[command(after_help = "\
Examples:
  davit key show
  davit key show --keys /media/usb                  what is on the stick")]
    Show,
    /// Make a new writer key (after the backup host was lost) or another reader
    New(KeyNewArgs),
    /// Add or remove readers, or replace the writer key
    Rotate(KeyRotateArgs),
    /// Say for every recovery point who can open all of it
    #[command(after_help = "\
Reads the manifests, not the rows. Exit 1 if a point opens for none of the present readers.

Examples:
  davit key check
  davit key check --keys /media/usb                 try once a quarter whether the key in the safe opens everything")]
    Check,
}

/// `davit key new`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["writer", "reader_key"])))]
#[command(after_help = "\
Examples:
  davit key new --writer                            needs reader.key; writes writer.key into the keys directory
  davit key new --writer --retire-others            the old backup host was stolen
  davit key new --reader-key /media/usb/reader.key  a second reader, who opens what is stored from now on")]
pub struct KeyNewArgs {
    /// Make a new writer.key in the keys directory, authorised by the root key in reader.key
    #[arg(long)]
    pub writer: bool,
    /// No other writer key may sign anything new
    #[arg(long, requires = "writer")]
    pub retire_others: bool,
    /// Make a reader key in this file and add it to the readers
    #[arg(long, value_name = "FILE")]
    pub reader_key: Option<PathBuf>,
}

/// `davit key rotate`
#[derive(Debug, Args)]
#[command(after_help = "\
A new set of readers is a new epoch: the next backup stores every chunk once more, sealed to the new set, and says how \
many bytes that took. Points made before stay as they are unless --rewrap seals them again. Needs reader.key. Without \
--add-reader, --remove-reader and --rewrap a new reader takes the place of all present ones: its key is written as \
reader.key, and the old one stays beside it under another name, because older points need it.

Examples:
  davit key rotate --rewrap                         only seal kept points again, to the present readers
  davit key rotate --add-reader age1…
  davit key rotate --remove-reader age1…
  davit key rotate                                  a new reader for all present ones")]
pub struct KeyRotateArgs {
    /// Seal new points to this age public key too
    #[arg(long, value_name = "age1…")]
    pub add_reader: Option<String>,
    /// Seal new points to this one no longer; refused while a kept point opens for no other reader
    #[arg(long, value_name = "age1…", conflicts_with = "add_reader")]
    pub remove_reader: Option<String>,
    /// Seal the points that are kept again, to the present readers
    #[arg(long, conflicts_with_all = ["add_reader", "remove_reader"])]
    pub rewrap: bool,
}

/// `davit config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting, where it came from, and no secret
    #[command(after_help = "\
Flags win over environment variables, which win over davit.yaml, which wins over defaults.

Examples:
  davit config show
  davit config show --config /etc/davit/davit.yaml --output json")]
    Show,
    /// Name everything that is wrong with the settings; fetches secrets, contacts nobody
    #[command(after_help = "\
Exit 2 if anything is wrong. davit doctor then looks whether the servers and the store can be reached.

Examples:
  davit config check
  davit config check --config new.yaml")]
    Check,
    /// Print the JSON schema of a kind of file, for editors that check while one writes
    #[command(after_help = "\
Examples:
  davit config schema scenario > scenario.schema.json")]
    Schema {
        /// Of which kind of file
        #[arg(value_name = "KIND")]
        kind: SchemaArg,
    },
}

/// A kind of file that has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaArg {
    /// A drill's scenario.
    Scenario,
    /// The report of a drill, in its canonical form.
    Drill,
    /// The report of a month, in its canonical form.
    Month,
}

/// `davit doctor`
#[derive(Debug, Args)]
#[command(after_help = "\
Each line is ok, warn or fail, with what to do. Nothing is changed, except that the store is asked to keep and remove a \
few small objects to see what it can do. Exit 1 if a check failed.

A cluster is looked at where one is named, or a namespace is, here or by hooks in the settings: what it serves, what this \
account may not see of the namespace, and whether a webhook with nobody behind it would stop a restore.

Examples:
  davit doctor
  davit doctor shop --output json
  davit doctor --context production --namespace shop")]
pub struct DoctorArgs {
    /// Only this source [default: all of davit.yaml]
    #[arg(value_name = "SOURCE")]
    pub source: Option<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Whether this namespace could be saved and restored [default: those of the hooks in davit.yaml]
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}
