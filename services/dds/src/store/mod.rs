//! Statements of the vault: one per table and batch, column arrays in, keys sorted.
//!
//! Statements of one shape differ only in names, so each shape is written once, in [`table`], and made from the
//! description of the vault when it is first used. What joins tables is written out where it is used.

use std::collections::HashSet;

use uuid::Uuid;

pub mod hubs;
pub mod links;
pub mod orders;
pub mod satellites;
pub mod searches;
pub mod table;

/// Orders that the transaction itself has created.
///
/// Every writer comes to an order's links and satellites through its hub row, and waits there for the one
/// that creates it. So nothing of such an order can be stored yet, and its rows are copied in: half the
/// work of an insert that looks for conflicts.
pub type Fresh = HashSet<Uuid>;
