//! What runs in a mover pod: writes the files of a volume as one stream, or makes files of such a stream.
//!
//! The stream is a tar archive with pax records, so that stock `tar` unpacks it in an emergency: names in any bytes,
//! owners, modes, times to the nanosecond, extended attributes, hard and symbolic links, devices, holes. The mover has
//! no key, no credentials and no network; what it could not read or set it counts and names.

mod load;
mod save;
mod tape;

pub use load::load;
pub use save::save;

use serde::{Deserialize, Serialize};

/// Names of this many files that could not be read or set are told; the rest are counted.
const EXAMPLES: usize = 12;

/// The first word of the mover's last line on stderr.
pub const REPORT: &str = "davit-mover-report:";

/// While a volume is being filled, a file of this name lies in it, with the run that fills it.
pub const FILLING: &str = ".davit-filling";

/// What a mover did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Files, directories, links and whatever else has a name.
    pub entries: u64,
    /// Bytes of files, without their holes.
    pub bytes: u64,
    /// What could not be read, or could not be made.
    pub failed: u64,
    /// Owners, modes, times and attributes that could not be set on what was made.
    #[serde(default)]
    pub unset: u64,
    /// Files that changed while they were read.
    pub changed: u64,
    /// Some of what failed or changed, with the reason.
    pub examples: Vec<String>,
    /// Nothing was done, because the volume held files already.
    #[serde(default)]
    pub left_alone: bool,
}

impl Moved {
    fn example(&mut self, path: &[u8], why: &str) {
        if self.examples.len() < EXAMPLES {
            let path = String::from_utf8_lossy(path);
            // One line each, and all of them together short enough for what is kept of stderr: that counts bytes.
            let mut path: String = path.chars().filter(|c| !c.is_control()).collect();
            path.truncate(path.floor_char_boundary(120));
            self.examples.push(format!("{path}: {why}"));
        }
    }

    fn fails(&mut self, path: &[u8], why: &str) {
        self.failed += 1;
        self.example(path, why);
    }

    fn lacks(&mut self, path: &[u8], why: &str) {
        self.unset += 1;
        self.example(path, why);
    }

    fn changes(&mut self, path: &[u8]) {
        self.changed += 1;
        self.example(path, "it changed while it was read");
    }

    /// Finds the report in what a mover wrote to stderr.
    pub fn find(stderr: &str) -> Option<Self> {
        let line = stderr.lines().rev().find_map(|line| line.strip_prefix(REPORT))?;
        serde_json::from_str(line.trim()).ok()
    }
}

#[cfg(test)]
mod tests;
