//! What a bad disk or an intruder does: one bit of one object, flipped.

use crate::error::{Context, Error, Kind, Result};
use std::path::{Path, PathBuf};

/// An object with one wrong bit.
pub(super) struct Tampered {
    /// Its file.
    pub(super) object: PathBuf,
    good: Vec<u8>,
}

/// Flips a bit in the middle of the largest chunk, which holds rows.
pub(super) fn flip_one_bit(repository: &Path) -> Result<Tampered> {
    let doing = || format!("tampering with {}", repository.display());
    let mut largest: Option<(u64, PathBuf)> = None;
    for folder in std::fs::read_dir(repository.join("chunks")).context(Kind::Failed, doing)? {
        let folder = folder.context(Kind::Failed, doing)?.path();
        for object in std::fs::read_dir(folder).context(Kind::Failed, doing)? {
            let object = object.context(Kind::Failed, doing)?;
            let size = object.metadata().context(Kind::Failed, doing)?.len();
            if largest.as_ref().is_none_or(|(most, _)| size > *most) {
                largest = Some((size, object.path()));
            }
        }
    }
    let Some((_, object)) = largest else {
        return Err(Error::failed(doing()).because("there is no chunk"));
    };
    let good = std::fs::read(&object).context(Kind::Failed, doing)?;
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    if let Some(byte) = bad.get_mut(middle) {
        *byte ^= 1;
    }
    std::fs::write(&object, bad).context(Kind::Failed, doing)?;
    Ok(Tampered { object, good })
}

impl Tampered {
    /// Puts the good bytes back.
    pub(super) fn repair(self) -> Result<()> {
        let doing = || format!("repairing {}", self.object.display());
        std::fs::write(&self.object, &self.good).context(Kind::Failed, doing)
    }
}
