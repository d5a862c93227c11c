//! Data Vault arithmetic: hash keys, hashdiffs and the rules of satellites. Pure, no I/O.
//!
//! The hash inputs are defined here and nowhere else; no statement computes a key in SQL.

pub mod key;
pub mod satellite;

pub use key::{hashdiff, hub_key, link_key};
pub use satellite::{LoadPosition, SatelliteRecord, Sent, StoredVersion, changes};
