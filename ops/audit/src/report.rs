//! What the checks found, for people and for scripts.

use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use sqlx::PgPool;
use strata_pipeline::retention;

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

    /// The outcome in a word.
    pub fn result(&self) -> &'static str {
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
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// True when every layer is what the one before makes it.
    pub fn is_clean(&self) -> bool {
        self.differences() == 0
    }

    /// Rows that differ in all checks together.
    pub fn differences(&self) -> i64 {
        self.checks.iter().map(|check| check.differences).sum()
    }

    /// The checks that found a difference.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.differences > 0)
    }

    /// One JSON object; of each check that fails the first `rows` that differ.
    pub fn json(&self, rows: usize) -> Value {
        json!({
            "clean": self.is_clean(),
            "seconds": self.took.as_secs_f64(),
            "checks": self.checks.iter().map(|check| check.json(rows)).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    /// Keeps the outcome where the fleet can see it, and removes those that are older than `keep`.
    pub async fn store(&self, pool: &PgPool, keep: Duration) -> Result<(), sqlx::Error> {
        let failed: Value = self.failed().map(|check| check.json(STORED)).collect();
        sqlx::query(
            "insert into ops.reconciliations (duration_ms, checks, differences, detail) \
             values ($1, $2, $3, $4::text::jsonb)",
        )
        .bind(i64::try_from(self.took.as_millis()).unwrap_or(i64::MAX))
        .bind(i32::try_from(self.checks.len()).unwrap_or(i32::MAX))
        .bind(self.differences())
        .bind(failed.to_string())
        .execute(pool)
        .await?;
        retention::remove_outcomes(pool, Utc::now() - keep).await
    }
}
