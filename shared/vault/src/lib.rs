//! Data Vault arithmetic: hash keys, hashdiffs, the rules of satellites, and what tables as data consist of. Pure, no I/O.
//!
//! The hash inputs are defined here and nowhere else; no statement computes a key in SQL.

pub mod key;
pub mod model;
pub mod satellite;

pub use key::{hashdiff, hub_key, link_key};
pub use satellite::{LoadPosition, SatelliteRecord, Sent, StoredVersion, changes};
