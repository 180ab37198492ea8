//! Settings: flags over environment over `davit.yaml` over defaults, every value with its source.
//!
//! Two stages, so that a value is judged only once all layers are known: `raw` is what the file says, [`Settings`] is
//! what it means. Only this folder reads the environment, and secrets are fetched only when they are needed.

pub mod dotenv;
pub mod environment;
pub mod problem;
pub mod raw;
pub mod secret;
pub mod setting;
pub mod settings;

pub use environment::Environment;
pub use settings::{Overrides, Settings, Source};
