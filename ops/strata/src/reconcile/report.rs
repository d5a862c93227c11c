//! What the checks found, for people and for scripts.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::layers::grouped;
use crate::table::{Align, Table};

/// Differences of a check that are kept by name.
const NAMED: usize = 1000;

/// Differences of a check that are stored by name.
const STORED: usize = 20;

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
}

impl Check {
    /// Starts a check without differences.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), compared: 0, differences: 0, named: Vec::new() }
    }

    /// Adds a difference.
    pub fn differs(&mut self, row: impl FnOnce() -> String) {
        if self.named.len() < NAMED {
            self.named.push(row());
        }
        self.differences += 1;
    }

    fn result(&self) -> &'static str {
        if self.differences == 0 { "ok" } else { "DIFFERS" }
    }

    fn json(&self, rows: usize) -> Value {
        json!({
            "check": self.name,
            "compared": self.compared,
            "differences": self.differences,
            "result": self.result().to_lowercase(),
            "rows": self.named.iter().take(rows).collect::<Vec<_>>(),
        })
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
        self.differences() == 0
    }

    fn differences(&self) -> i64 {
        self.checks.iter().map(|check| check.differences).sum()
    }

    fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.differences > 0)
    }

    /// Prints a line a check and names the first `rows` that differ of each.
    pub fn print(&self, took: Duration, rows: usize) {
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
        for check in self.failed() {
            println!("\n{}", check.name);
            let named = check.named.iter().take(rows);
            let more = check.differences - named.len() as i64;
            named.for_each(|row| println!("  {row}"));
            if more > 0 {
                println!("  and {} more", grouped(more));
            }
        }
        for note in &self.notes {
            println!("\nnote: {note}");
        }
        let verdict = match self.differences() {
            0 => "all layers agree".to_owned(),
            1 => "1 difference".to_owned(),
            n => format!("{} differences", grouped(n)),
        };
        println!("\n{verdict}; {} checks in {:.1} s", self.checks.len(), took.as_secs_f64());
    }

    /// The same as one JSON object.
    pub fn json(&self, took: Duration, rows: usize) -> Value {
        json!({
            "clean": self.is_clean(),
            "seconds": took.as_secs_f64(),
            "checks": self.checks.iter().map(|check| check.json(rows)).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    /// Keeps the outcome where the fleet can see it.
    pub async fn store(&self, pool: &PgPool, took: Duration) -> Result<(), sqlx::Error> {
        let failed: Value = self.failed().map(|check| check.json(STORED)).collect();
        sqlx::query(
            "insert into ops.reconciliations (duration_ms, checks, differences, detail) \
             values ($1, $2, $3, $4::text::jsonb)",
        )
        .bind(i64::try_from(took.as_millis()).unwrap_or(i64::MAX))
        .bind(i32::try_from(self.checks.len()).unwrap_or(i32::MAX))
        .bind(self.differences())
        .bind(failed.to_string())
        .execute(pool)
        .await?;
        Ok(())
    }
}
