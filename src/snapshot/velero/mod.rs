//! What Velero left: its backups can be listed, compared and restored, its schedules translated.
//!
//! Only the objects are read. Data of volumes that Velero put into a kopia repository or a cloud snapshot are named,
//! one by one, as not read.

mod archive;
mod backup;
mod hooks;
mod schedule;
mod tar;

pub use archive::{Contents, read_archive};
pub use backup::{Found, Opened, VolumeNote, list, open};
pub use hooks::HookHere;
pub use schedule::{Translated, Untranslated, translate};
pub use tar::Limits;
