//! Records of libraries and of our own, for somebody who looks for a cause.

use crate::error::{Error, Result};
use crate::secret::redact;
use crate::telemetry::Form;
use indicatif::MultiProgress;
use std::io::{self, Write};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::Story;

/// Sends `tracing` records to stderr, beside the bars of `story`.
///
/// # Errors
/// `filter` (from `DAVIT_LOG`) is not one.
pub fn install(story: &Story, filter: Option<&str>, verbose: u8) -> Result<()> {
    let filter = match (filter, verbose) {
        (Some(text), _) => EnvFilter::try_new(text).map_err(|error| {
            Error::input(format!("reading the environment variable DAVIT_LOG: {error}"))
                .hint("write a level (info, debug) or parts such as davit=debug,aws_smithy_runtime=info")
        })?,
        // The Kubernetes client calls every refusal an error, also those that we wait out.
        (None, 0) => EnvFilter::new("error,kube_client=off,davit=warn"),
        (None, 1) => EnvFilter::new("warn,kube_client=off,davit=info"),
        (None, _) => EnvFilter::new("info,davit=debug"),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(BesideBars(story.multi.clone()))
        .with_ansi(anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never);
    // Only a second call in one process can fail here, as tests make; the first subscriber stays.
    drop(match story.form {
        Form::Text => builder.compact().try_init(),
        Form::Json => builder.json().flatten_event(true).try_init(),
    });
    Ok(())
}

/// Makes writers that keep records and bars apart.
struct BesideBars(MultiProgress);

/// Collects one record and writes it at once.
struct Record {
    multi: MultiProgress,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for BesideBars {
    type Writer = Record;

    fn make_writer(&'a self) -> Record {
        Record { multi: self.0.clone(), text: Vec::new() }
    }
}

impl Write for Record {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        let text = redact(&text);
        self.multi.suspend(|| drop(io::stderr().lock().write_all(text.as_bytes())));
    }
}
