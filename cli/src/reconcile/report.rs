//! What the checks found, for people and for scripts.

use std::time::Duration;

use serde_json::{Value, json};

use crate::layers::grouped;
use crate::table::{Align, Table};

/// Differences that are named of each check.
const NAMED: usize = 5;

/// The outcome of one check.
#[derive(Debug)]
pub struct Check {
    /// What must hold.
    pub name: String,
    /// Rows that were looked at.
    pub compared: i64,
    /// Rows that are not as they should be.
    pub differences: i64,
    /// The first of them.
    pub named: Vec<String>,
    /// Why nothing could be said, where that is so.
    pub undecided: Option<String>,
}

impl Check {
    /// Starts a check without differences.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), compared: 0, differences: 0, named: Vec::new(), undecided: None }
    }

    /// Adds a difference.
    pub fn differs(&mut self, row: impl FnOnce() -> String) {
        if self.named.len() < NAMED {
            self.named.push(row());
        }
        self.differences += 1;
    }

    fn result(&self) -> &'static str {
        match (&self.undecided, self.differences) {
            (Some(_), 0) => "undecided",
            (_, 0) => "ok",
            _ => "DIFFERS",
        }
    }
}

/// All checks of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The checks in the order of the layers.
    pub checks: Vec<Check>,
    /// Things worth knowing that are no differences.
    pub notes: Vec<String>,
}

impl Report {
    /// True when every layer is what the one before makes it.
    pub fn is_clean(&self) -> bool {
        self.checks.iter().all(|check| check.differences == 0)
    }

    /// Prints a line a check and names the first rows that differ.
    pub fn print(&self, took: Duration) {
        let mut table = Table::new(&[
            ("check", Align::Left),
            ("rows", Align::Right),
            ("differences", Align::Right),
            ("result", Align::Left),
        ]);
        for check in &self.checks {
            table.push([
                check.name.clone(),
                grouped(check.compared),
                grouped(check.differences),
                check.result().to_owned(),
            ]);
        }
        table.print();
        for check in self.checks.iter().filter(|check| check.differences > 0 || check.undecided.is_some()) {
            println!("\n{}", check.name);
            if let Some(why) = &check.undecided {
                println!("  undecided: {why}");
            }
            for row in &check.named {
                println!("  {row}");
            }
            let more = check.differences - check.named.len() as i64;
            if more > 0 {
                println!("  and {} more", grouped(more));
            }
        }
        for note in &self.notes {
            println!("\nnote: {note}");
        }
        let differences: i64 = self.checks.iter().map(|check| check.differences).sum();
        let verdict = match differences {
            0 => "all layers agree".to_owned(),
            1 => "1 difference".to_owned(),
            n => format!("{} differences", grouped(n)),
        };
        println!("\n{verdict}; {} checks in {:.1} s", self.checks.len(), took.as_secs_f64());
    }

    /// The same as one JSON object.
    pub fn json(&self, took: Duration) -> Value {
        let checks: Vec<Value> = self
            .checks
            .iter()
            .map(|check| {
                json!({
                    "check": check.name,
                    "compared": check.compared,
                    "differences": check.differences,
                    "result": check.result().to_lowercase(),
                    "rows": check.named,
                    "undecided": check.undecided,
                })
            })
            .collect();
        json!({
            "clean": self.is_clean(),
            "seconds": took.as_secs_f64(),
            "checks": checks,
            "notes": self.notes,
        })
    }
}
