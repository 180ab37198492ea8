//! Which machine this is: what was done to files and processes of one is neither undone nor looked at on another, where a
//! file that is not there proves nothing.

use serde::{Deserialize, Serialize};

/// What tells a machine from others, as far as it may be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What it calls itself.
    pub host: String,
    /// What it was given when it was set up; containers often have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Since when it runs: a number that is another one after each start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| {
            let text = std::fs::read_to_string(path).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        Self {
            host: read("/proc/sys/kernel/hostname").unwrap_or_else(|| "unknown host".to_owned()),
            id: read("/etc/machine-id"),
            boot: read("/proc/sys/kernel/random/boot_id"),
        }
    }

    /// Whether both are one machine. Copies of a machine have its id, so the name counts as well, unless neither was
    /// started anew since: then it was given another name.
    pub fn is(&self, other: &Self) -> bool {
        let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
        let known = |one: &Option<String>, other: &Option<String>| one.is_some() && other.is_some();
        if known(&self.id, &other.id) && self.id != other.id {
            return false;
        }
        self.host == other.host || same(&self.id, &other.id) && same(&self.boot, &other.boot)
    }

    /// Whether it was started anew since then: no process of that time is left, whatever number it had.
    pub fn was_restarted(&self, since: &Self) -> bool {
        self.boot.is_some() && since.boot.is_some() && self.boot != since.boot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::{Prepared, Victim};
    use serde_json::json;

    fn machine(host: &str, id: &str, boot: &str) -> Machine {
        let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Machine { host: host.to_owned(), id: known(id), boot: known(boot) }
    }

    #[test]
    fn machines_are_told_apart_by_what_is_known_of_both() {
        let first = machine("db-1", "a", "x");
        for (other, same) in [
            (machine("db-1", "a", "x"), true),
            // Started anew.
            (machine("db-1", "a", "y"), true),
            // Given another name.
            (machine("db-9", "a", "x"), true),
            // A copy of it.
            (machine("db-2", "a", "z"), false),
            (machine("db-1", "b", "z"), false),
            (machine("db-1", "", "z"), true),
            (machine("db-2", "", "z"), false),
            // Two containers of one machine.
            (machine("db-2", "", "x"), false),
        ] {
            assert_eq!((first.is(&other), other.is(&first)), (same, same), "{other:?}");
        }
        assert!(first.was_restarted(&machine("db-1", "a", "w")) && !first.was_restarted(&machine("db-1", "a", "")));
        assert!(Machine::here().is(&Machine::here()));
    }

    #[test]
    fn what_another_machine_was_done_to_is_named_and_what_names_none_is_undone_anywhere() {
        let prepared = |prior: serde_json::Value| Prepared {
            victim: Victim::new("4711", "process 4711"),
            prior,
            undo: String::new(),
        };
        let noted = |host: &str| prepared(json!({ "machine": machine(host, "", "") }));
        let here = machine("db-1", "a", "x");
        let said = noted("db-2").elsewhere(&here).unwrap();
        assert_eq!(said, "it was done on db-2, and this is db-1: run davit chaos janitor on db-2");
        assert_eq!(noted("db-1").elsewhere(&here), None);
        for older in [json!({ "process": 4711 }), serde_json::Value::Null] {
            assert_eq!(prepared(older).elsewhere(&here), None);
        }
    }
}
