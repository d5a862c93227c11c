//! The order stream: stg → dds, order by order in the order of their keys.

pub mod counters;
mod inputs;
mod menus;
mod repeats;
mod staged;
#[cfg(test)]
mod tests;
mod vault;

pub use menus::Menus;

use std::collections::BTreeSet;

use strata_observe::Fleet;
use strata_streams::order::ORDER;

use super::Progress;
use super::inputs::Inputs;
use super::ordered::least;
use super::report::Check;
use super::share;
use super::snapshot::Snapshot;
use super::vault::VaultChecks;
use staged::Staged;
use vault::OrderVault;

/// What was found of the orders.
pub struct Found {
    /// From Kafka to the raw layer, and from there to the vault.
    pub staged: Vec<Check>,
    /// Of every table of the vault; rows of users are still to come.
    pub tables: VaultChecks,
    /// Of the vault's orders.
    pub vault: [Check; 2],
    /// What is worth knowing besides.
    pub notes: Vec<String>,
    /// The tables around the products.
    pub menus: Menus,
}

/// Compares Kafka, the raw layer and the vault.
pub fn check(snapshot: &Snapshot<'_>, fleet: &Fleet, progress: Progress<'_>) -> anyhow::Result<Found> {
    progress("orders: hubs");
    let mut vault = OrderVault::open(snapshot)?;
    progress("orders: raw layer");
    let (mut staged, mut staged_rows) = Staged::read(snapshot)?;
    progress("orders: Kafka");
    let (mut inputs, mut input_rows) =
        Inputs::read(snapshot, fleet, &ORDER, "order", |record, at, sorter| {
            inputs::keep(record, at, sorter)
        })?;
    let mut told = None;
    while let Some(key) = least(vault.tables().chain([&mut staged_rows, &mut input_rows]))? {
        if told.replace(share(key)) != Some(share(key)) {
            progress(&format!("orders: {} % compared", share(key)));
        }
        let order = vault.order(key)?;
        let newest = staged.compare(&mut staged_rows, key, &order)?;
        input_rows.rows(key, |row| {
            let record: inputs::Kept = row.json()?;
            inputs.judge(record.at, record.fate(newest, &staged.excused, &order));
            Ok(())
        })?;
    }
    let (check, note) = inputs.finish();
    let mut notes = vec![note];
    notes.append(&mut staged.notes);
    let mut checks = vec![check];
    checks.extend(staged.checks());
    let OrderVault { checks: tables, pairs, histories, menus, .. } = vault.finish()?;
    Ok(Found { staged: checks, tables, vault: [pairs, histories], notes, menus })
}

/// Business keys of orders that dds need not have as stg has them.
type Excused = BTreeSet<i64>;
