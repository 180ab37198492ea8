//! The scenario file as a JSON schema, for editors that complete and check while one writes.

/// JSON Schema (2020-12) of a scenario file.
pub const SCHEMA: &str = include_str!("../../docs/report-schema/scenario.schema.json");
