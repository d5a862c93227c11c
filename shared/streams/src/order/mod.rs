//! Orders: enriched from the reference data, spread over the vault, counted by user, product and category.

pub mod countable;
pub mod counters;
pub mod enrich;
pub mod reference;
pub mod rows;
pub mod stored;
pub mod vault;
