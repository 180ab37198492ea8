//! A scenario as it is written: its shape, and nothing else.

use super::alerts::RawAlert;
use super::amounts::{Aim, Rate, Share, Victims};
use super::observers::RawObserver;
use super::target::{ClusterTarget, ProcessTarget};
use super::theory::RawTheory;
use super::{IncidentWish, RtoEnds};
use crate::secret::SecretRef;
use crate::units::{Bytes, Span};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) title: Spanned<String>,
    pub(super) why: Spanned<String>,
    pub(super) hypothesis: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) objectives: RawObjectives,
    pub(super) target: Spanned<RawTarget>,
    #[serde(default)]
    pub(super) steady_state: RawSteady,
    #[serde(default)]
    pub(super) load: RawLoad,
    pub(super) fault: RawFault,
    pub(super) recovery: Spanned<RawRecovery>,
    #[serde(default)]
    pub(super) observers: Vec<Spanned<RawObserver>>,
    #[serde(default)]
    pub(super) theory: Vec<Spanned<RawTheory>>,
    #[serde(default)]
    pub(super) alerts: Vec<Spanned<RawAlert>>,
    #[serde(default)]
    pub(super) checks: Vec<Spanned<RawCheck>>,
    #[serde(default)]
    pub(super) cleanup: Vec<RawStep>,
    #[serde(default)]
    pub(super) guards: RawGuards,
    #[serde(default)]
    pub(super) limits: RawLimits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawObjectives {
    pub(super) rto: Aim,
    pub(super) rpo: Aim,
    #[serde(default)]
    pub(super) detection: Aim,
    #[serde(default)]
    pub(super) redundancy: Aim,
    #[serde(default)]
    pub(super) acknowledgement: Aim,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTarget {
    pub(super) service: String,
    pub(super) environment: String,
    #[serde(rename = "in")]
    pub(super) place: Option<RawPlace>,
    pub(super) processes: Option<ProcessTarget>,
    pub(super) cluster: Option<ClusterTarget>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawPlace {
    Processes,
    Cluster,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSteady {
    #[serde(rename = "for")]
    pub(super) span: Option<Span>,
    pub(super) p95: Option<Span>,
    pub(super) p99: Option<Span>,
    pub(super) errors: Option<Share>,
    pub(super) throughput: Option<Rate>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLoad {
    pub(super) probes: Option<Rate>,
    pub(super) deadline: Option<Span>,
    pub(super) writes: Option<Rate>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFault {
    pub(super) name: Spanned<String>,
    pub(super) lasts: Option<Span>,
    pub(super) victims: Option<Victims>,
    #[serde(default)]
    pub(super) with: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGuards {
    #[serde(default)]
    pub(super) windows: Vec<String>,
    pub(super) incident: Option<IncidentWish>,
    #[serde(default)]
    pub(super) protect: Vec<String>,
    pub(super) backup_age: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) watch: Option<Span>,
    pub(super) cleanup: Option<Span>,
    pub(super) hold: Option<Span>,
    pub(super) control_loop: Option<Span>,
    pub(super) abort_errors: Option<Share>,
    pub(super) abort_below: Option<usize>,
    pub(super) abort_after: Option<Span>,
    pub(super) replica_lag: Option<Bytes>,
    pub(super) availability: Option<Share>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCheck {
    pub(super) name: String,
    pub(super) sql: Option<String>,
    pub(super) http: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) command: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStep {
    pub(super) name: String,
    pub(super) command: Vec<String>,
}

/// `platform`, or the same with what it needs: `{by: restore from latest-verified, source: shop}`.
#[derive(Debug, Default)]
pub(super) struct RawRecovery {
    pub(super) by: String,
    pub(super) source: Option<String>,
    pub(super) tables: Vec<String>,
    pub(super) decision: Option<Span>,
    pub(super) command: Vec<String>,
    pub(super) into: Option<SecretRef>,
    pub(super) provision: Vec<String>,
    pub(super) rto_ends: Option<RtoEnds>,
}

const RECOVERY_KEYS: [&str; 8] = ["by", "source", "tables", "into", "provision", "decision", "command", "rto_ends"];

impl<'de> Deserialize<'de> for RawRecovery {
    // By hand, because an untagged enum would forget which key was wrong and in which line.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RecoveryVisitor)
    }
}

struct RecoveryVisitor;

impl<'de> Visitor<'de> for RecoveryVisitor {
    type Value = RawRecovery;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`platform`, `promote standby`, or a block of `by:` and what it needs")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawRecovery, E> {
        Ok(RawRecovery { by: text.to_owned(), ..RawRecovery::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawRecovery, A::Error> {
        let mut recovery = RawRecovery::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "by" => recovery.by = map.next_value()?,
                "source" => recovery.source = Some(map.next_value()?),
                "tables" => recovery.tables = map.next_value()?,
                "decision" => recovery.decision = Some(map.next_value()?),
                "command" => recovery.command = map.next_value()?,
                "into" => recovery.into = Some(map.next_value()?),
                "provision" => recovery.provision = map.next_value()?,
                "rto_ends" => recovery.rto_ends = Some(map.next_value()?),
                _ => return Err(de::Error::unknown_field(&name, &RECOVERY_KEYS)),
            }
        }
        if recovery.by.is_empty() {
            return Err(de::Error::missing_field("by"));
        }
        Ok(recovery)
    }
}
