//! `davit chaos list`

use crate::chaos::{self, Facts};
use crate::cli::args::ChaosListArgs;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::table::table;
use crate::error::Result;
use serde::Serialize;

/// Lists the faults.
pub(super) fn run(args: &ChaosListArgs) -> Result<Ended> {
    let faults = match &args.fault {
        Some(name) => vec![chaos::find(name)?.facts()],
        None => chaos::all().into_iter().map(chaos::Fault::facts).collect(),
    };
    Ended::with(&Listed { faults, whole: args.fault.is_some() })
}

#[derive(Debug, Serialize)]
struct Listed {
    faults: Vec<Facts>,
    #[serde(skip)]
    whole: bool,
}

impl Document for Listed {
    fn text(&self) -> String {
        let mut page = Page::default();
        if !self.whole {
            let rows = self.faults.iter().map(|facts| {
                let targets = facts.targets.iter().map(|kind| kind.word()).collect::<Vec<_>>().join(", ");
                [facts.name.to_owned(), facts.class.word().to_owned(), targets, facts.summary.to_owned()]
            });
            page.block(table(["fault", "class", "target", "what it does"], rows));
            page.line("\ndavit chaos list FAULT shows what one needs, how it is proven and how it heals");
            return page.text();
        }
        for facts in &self.faults {
            page.line(format!("{}: {}\n", facts.name, facts.summary));
            let many = if facts.many { "as many as asked for" } else { "the target as a whole" };
            for (name, text) in [
                ("class", facts.class.word()),
                ("hits", many),
                ("needs", facts.needs),
                ("proof", facts.proof),
                ("heals", facts.heals),
                ("expires", facts.expires),
            ] {
                page.line(format!("  {name:<8} {text}"));
            }
            for parameter in facts.parameters {
                let default = match parameter.default {
                    None => " (needed)".to_owned(),
                    Some("") => String::new(),
                    Some(default) => format!(" [{default}]"),
                };
                page.line(format!("  --set {}=…  {}{default}", parameter.name, parameter.what));
            }
        }
        page.text()
    }
}
